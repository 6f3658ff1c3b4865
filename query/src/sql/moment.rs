//! Times and dates in text, as statements and drivers write them: in the forms of ISO 8601 that Postgres takes.
//!
//! Pure: text → what a clock shows, and how far that is ahead of UTC where the text says so. Where it does not, an instant is of the
//! session's zone.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use jiff::{
    SignedDuration, Span, Timestamp,
    civil::{Date, DateTime, Time as Clock},
    tz::{Offset, TimeZone},
};
use schemas::time::Time;

const MICROS_A_SECOND: i64 = 1_000_000;

/// The furthest that clocks are ahead of UTC, or behind it, as Postgres has it.
const MAX_AHEAD_HOURS: i64 = 15;

/// A time as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) clock: DateTime,
    /// Seconds ahead of UTC.
    pub(crate) ahead: Option<i64>,
}

impl Written {
    /// The instant, in microseconds since 1970: where the text does not say how far its clock is ahead of UTC, what `else_at` makes of that.
    pub(crate) fn micros(self, else_at: impl FnOnce(DateTime) -> Option<i64>) -> Option<i64> {
        match self.ahead {
            Some(ahead) => micros(self.clock)?.checked_sub(ahead.checked_mul(MICROS_A_SECOND)?),
            None => else_at(self.clock),
        }
    }
}

/// An instant, in microseconds since 1970 in UTC.
pub(crate) fn instant(text: &str, zone: &str) -> Option<ScalarValue> {
    let micros = written(text)?.micros(|clock| of_zone(clock, zone))?;
    Some(ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into())))
}

/// What a clock shows. A zone behind it is passed over, as Postgres does.
pub(crate) fn clock(text: &str) -> Option<ScalarValue> {
    Some(ScalarValue::TimestampMicrosecond(Some(micros(written(text)?.clock)?), None))
}

/// A day. The time and the zone behind it are passed over.
pub(crate) fn day(text: &str) -> Option<ScalarValue> {
    let days = micros(written(text)?.clock)?.div_euclid(86_400 * MICROS_A_SECOND);
    Some(ScalarValue::Date32(Some(i32::try_from(days).ok()?)))
}

/// A text as the time that is wanted, by a word of Postgres or as it is written; nothing of one that is none, or where no time is wanted.
pub(crate) fn read(text: &str, wanted: &DataType, now: Time, zone: &str) -> Option<ScalarValue> {
    let said = said(text, now, zone);
    let text = said.as_deref().unwrap_or(text);
    match wanted {
        DataType::Timestamp(_, Some(_)) => instant(text, zone),
        DataType::Timestamp(_, None) => clock(text),
        DataType::Date32 => day(text),
        _ => None,
    }
}

/// What a word of Postgres stands for when it is read, as it is written otherwise; nothing of other text.
fn said(word: &str, now: Time, zone: &str) -> Option<String> {
    let clock = || Some(Timestamp::from_microsecond(now.as_micros()).ok()?.to_zoned(place(zone)?).datetime());
    let days = match word.trim().to_lowercase().as_str() {
        "epoch" => return Some("1970-01-01T00:00:00Z".to_owned()),
        "now" => return Some(clock()?.to_string()),
        "yesterday" => -1,
        "today" => 0,
        "tomorrow" => 1,
        _ => return None,
    };
    Some(clock()?.date().checked_add(Span::new().days(days)).ok()?.to_string())
}

/// The instant at which the clocks of a zone show what `micros` since 1970 comes to.
pub(crate) fn shown_at(micros: i64, zone: &str) -> Option<ScalarValue> {
    let clock = Timestamp::from_microsecond(micros).ok()?.to_zoned(TimeZone::UTC).datetime();
    Some(ScalarValue::TimestampMicrosecond(Some(of_zone(clock, zone)?), Some("UTC".into())))
}

/// What a clock of UTC shows, in microseconds since 1970.
pub(crate) fn micros(clock: DateTime) -> Option<i64> {
    Some(clock.to_zoned(TimeZone::UTC).ok()?.timestamp().as_microsecond())
}

fn of_zone(clock: DateTime, zone: &str) -> Option<i64> {
    Some(shown_in(clock, &place(zone)?)?.as_microsecond())
}

/// The clocks of a zone as the engine writes it: by its name, or by how far it is ahead of UTC.
pub(crate) fn place(zone: &str) -> Option<TimeZone> {
    match ahead(zone) {
        Some(ahead) => Some(TimeZone::fixed(Offset::from_seconds(i32::try_from(ahead).ok()?).ok()?)),
        None if zone == "UTC" => Some(TimeZone::UTC),
        None => TimeZone::get(zone).ok(),
    }
}

/// The instant at which the clocks of a place show something. Of an hour that is there twice it is in the second, of one that is not there in
/// the one after it, as in Postgres.
pub(crate) fn shown_in(clock: DateTime, place: &TimeZone) -> Option<Timestamp> {
    Some(place.to_ambiguous_zoned(clock).later().ok()?.timestamp())
}

/// A time or a day as it is written.
pub(crate) fn written(text: &str) -> Option<Written> {
    let (day, rest) = text.trim().split_at_checked("2026-11-01".len())?;
    let day: Date = day.parse().ok()?;
    let (time, must) = match rest.strip_prefix(['T', 't']) {
        Some(time) => (time, true),
        None => (rest.trim_start(), false),
    };
    let (time, zone) = time.find(['+', '-', 'Z', 'z']).map_or((time, ""), |at| time.split_at(at));
    let time = time.trim_end();
    // A letter or a space stands between a day and its time.
    if (must && time.is_empty()) || (!must && !time.is_empty() && !rest.starts_with(' ')) {
        return None;
    }
    let since = if time.is_empty() { 0 } else { micros_of(time)? };
    let clock = day.to_datetime(Clock::midnight()).checked_add(SignedDuration::from_micros(since)).ok()?;
    let ahead = match zone {
        "" => None,
        "Z" | "z" => Some(0),
        zone => Some(ahead(zone)?),
    };
    Some(Written { clock, ahead })
}

/// Microseconds since midnight. Seconds may be left out; 24:00 is the midnight after.
fn micros_of(time: &str) -> Option<i64> {
    let (hours, rest) = time.split_once(':')?;
    let (minutes, seconds) = rest.split_once(':').unwrap_or((rest, "0"));
    let (seconds, part) = seconds.split_once('.').unwrap_or((seconds, "0"));
    let (hours, minutes, seconds) = (number(hours, 24)?, number(minutes, 59)?, number(seconds, 60)?);
    if part.is_empty() || !part.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    // What is finer is rounded.
    let finer: i64 = format!("{part:0<7}").get(..7)?.parse().ok()?;
    let seconds = hours * 3_600 + minutes * 60 + seconds;
    let micros = seconds * MICROS_A_SECOND + (finer + 5) / 10;
    (micros <= 86_400 * MICROS_A_SECOND).then_some(micros)
}

/// How many seconds `+02`, `-0330` or `+05:30` is ahead of UTC.
fn ahead(zone: &str) -> Option<i64> {
    let (sign, digits) = match zone.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, zone.strip_prefix('+')?),
    };
    let mut parts = digits.split(':');
    let (hours, minutes, seconds) = match (parts.next()?, parts.next(), parts.next(), parts.next()) {
        (both, None, ..) if both.len() == 4 => (both.get(..2)?, both.get(2..)?, "0"),
        (hours, minutes, seconds, None) => (hours, minutes.unwrap_or("0"), seconds.unwrap_or("0")),
        _ => return None,
    };
    let (hours, minutes, seconds) = (number(hours, MAX_AHEAD_HOURS)?, number(minutes, 59)?, number(seconds, 59)?);
    Some(sign * (hours * 3_600 + minutes * 60 + seconds))
}

/// A number of one or two digits.
fn number(digits: &str, most: i64) -> Option<i64> {
    let is_one = matches!(digits.len(), 1 | 2) && digits.bytes().all(|digit| digit.is_ascii_digit());
    is_one.then(|| digits.parse().ok()).flatten().filter(|number| *number <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_taken_as_postgres_takes_them() {
        let check = |text: &str, zone: &str, wanted: Option<&str>| {
            let wanted = wanted.map(|at| at.parse::<jiff::Timestamp>().unwrap().as_microsecond());
            let wanted = wanted.map(|micros| ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into())));
            assert_eq!(instant(text, zone), wanted, "{text} {zone}");
        };
        for text in [
            "2026-11-01 10:00",
            "2026-11-01 10:00:00",
            "2026-11-01T10:00",
            " 2026-11-01 10:00:00.000 ",
            "2026-11-01 10:00+00",
            "2026-11-01 10:00:00+00:00",
            "2026-11-01 10:00 +00",
            "2026-11-01T10:00:00Z",
            "2026-11-01t10:00:00z",
            "2026-11-01 12:00+02",
            "2026-11-01 06:30-0330",
            "2026-11-01 15:30:00+05:30",
        ] {
            check(text, "UTC", Some("2026-11-01T10:00:00Z"));
        }
        check("2026-11-01", "UTC", Some("2026-11-01T00:00:00Z"));
        check("2026-11-01 24:00", "UTC", Some("2026-11-02T00:00:00Z"));
        check("2026-11-01 23:59:60", "UTC", Some("2026-11-02T00:00:00Z"));
        check("2026-11-01 10:00:00.1234565", "UTC", Some("2026-11-01T10:00:00.123457Z"));
        check("2026-11-01 10:00", "Asia/Tokyo", Some("2026-11-01T01:00:00Z"));
        check("2026-11-01", "Asia/Tokyo", Some("2026-10-31T15:00:00Z"));
        check("2026-11-01 10:00Z", "Asia/Tokyo", Some("2026-11-01T10:00:00Z"));
        check("2026-11-01 10:00", "+05:30", Some("2026-11-01T04:30:00Z"));
        check("2026-11-01 10:00", "-05:00", Some("2026-11-01T15:00:00Z"));
        check("2026-11-01 10:00", "Asia/Nowhere", None);
        check("2026-10-25 02:30", "Europe/Berlin", Some("2026-10-25T01:30:00Z"));
        check("2026-03-29 02:30", "Europe/Berlin", Some("2026-03-29T01:30:00Z"));
        for wrong in [
            "",
            "2026-11-01T",
            "2026-11-0110:00",
            "2026-13-01",
            "2026-11-01 10",
            "2026-11-01 10:",
            "2026-11-01 10:60",
            "2026-11-01 24:01",
            "2026-11-01 10:00:00.",
            "2026-11-01 10:00+",
            "2026-11-01 10:00+16",
            "2026-11-01 10:00+00:00:00:00",
            "2026-11-01 10:00 Zulu",
            "tomorrow",
            "2026-11-é1 10:00",
        ] {
            check(wrong, "UTC", None);
        }
    }

    #[test]
    fn what_has_no_zone_passes_it_over() {
        let ten = ScalarValue::TimestampMicrosecond(Some(1_793_527_200_000_000), None);
        for text in ["2026-11-01 10:00", "2026-11-01T10:00:00+02"] {
            assert_eq!(clock(text), Some(ten.clone()), "{text}");
        }
        // As JDBC writes a day.
        for text in ["2026-11-01", "2026-11-01 +01", "2026-11-01 23:59:59-07"] {
            assert_eq!(day(text), Some(ScalarValue::Date32(Some(20_758))), "{text}");
        }
        let tokyo = shown_at(1_793_527_200_000_000, "Asia/Tokyo");
        assert_eq!(tokyo, instant("2026-11-01 01:00Z", "UTC"));
    }

    #[test]
    fn words_are_of_the_day_of_a_zone() {
        // Ten o'clock in the morning of UTC.
        let now = Time::from_micros(1_793_527_200_000_000);
        for (word, zone, wanted) in [
            ("today", "UTC", Some("2026-11-01")),
            (" Tomorrow", "UTC", Some("2026-11-02")),
            ("yesterday", "UTC", Some("2026-10-31")),
            ("today", "Pacific/Kiritimati", Some("2026-11-02")),
            ("now", "Asia/Tokyo", Some("2026-11-01T19:00:00")),
            ("epoch", "Asia/Tokyo", Some("1970-01-01T00:00:00Z")),
            ("someday", "UTC", None),
        ] {
            assert_eq!(said(word, now, zone).as_deref(), wanted, "{word} {zone}");
        }
    }
}
