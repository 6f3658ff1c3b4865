//! Instants, and the one place that reads the wall clock.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// What is beyond every calendar.
const NEVER: &str = "never";

/// An instant in UTC, in microseconds since 1970.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Time(i64);

/// The wall clock. Nobody else reads it: a role passes the instant on, so that folding the same log gives the same books.
#[expect(clippy::disallowed_methods, reason = "this is the place that every other reader is sent to")]
pub fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

impl Time {
    /// Before every event.
    pub const ZERO: Self = Self(0);
    /// After every event: the end of a window that never ends.
    pub const MAX: Self = Self(i64::MAX);

    /// An instant from microseconds since 1970.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// This instant, later by `span`; saturates.
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }

    /// This instant, earlier by `span`; saturates.
    pub fn earlier(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }

    /// Reads an instant in RFC 3339, or a day, which begins at its midnight in UTC. The error says what is wanted.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        Self::instant(text).or_else(|| Self::of_day(text)).ok_or("write 2026-11-01, or 2026-11-01T12:00:00Z")
    }

    /// Reads an instant in RFC 3339, and nothing else.
    pub fn instant(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|instant| Self(instant.as_microsecond()))
    }

    /// Midnight in UTC of a day such as `2026-11-01`.
    pub(crate) fn of_day(text: &str) -> Option<Self> {
        // Of a date with a time the library would take the date alone.
        let day: jiff::civil::Date = text.parse().ok().filter(|_| !text.contains(['T', 't', ' ']))?;
        Some(Self(day.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_microsecond()))
    }

    /// Reads an instant as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT` (IMF-fixdate, RFC 9110).
    pub fn of_http(text: &str) -> Option<Self> {
        let stated = text.strip_suffix(" GMT")?;
        let instant = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(format!("{stated} +0000")).ok()?;
        Some(Self(instant.as_microsecond()))
    }

    /// The second that this instant is in.
    pub fn second(self) -> Self {
        Self(self.0.saturating_sub(self.0.rem_euclid(1_000_000)))
    }

    /// How long after `earlier` this is; zero if it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Time {
    /// RFC 3339 with microseconds and `Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(instant) => write!(f, "{instant:.6}"),
            Err(_) => f.write_str(NEVER),
        }
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// As text, like [`Display`](fmt::Display): policies are read by people too.
impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        let never = (text == NEVER).then_some(Self::MAX);
        Self::instant(&text).or(never).ok_or_else(|| D::Error::custom("not an instant in RFC 3339"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_of_any_instant_is_not_after_it() {
        for (micros, second) in [(1_999_999, 1_000_000), (-1, -1_000_000), (i64::MIN, i64::MIN)] {
            assert_eq!(Time::from_micros(micros).second(), Time::from_micros(second));
        }
    }

    #[test]
    fn instants_of_http_are_read_and_nothing_like_them() {
        let check = |text: &str, micros: Option<i64>| {
            assert_eq!(Time::of_http(text), micros.map(Time::from_micros), "{text:?}");
        };
        check("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777_000_000));
        for other in ["", "60", "Mon, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37", "1994-11-06T08:49:37Z"] {
            check(other, None);
        }
    }

    #[test]
    fn a_day_is_its_midnight_and_an_instant_is_itself() {
        let check = |text: &str, shown: Result<&str, ()>| {
            assert_eq!(
                Time::parse(text).map(|time| time.to_string()).map_err(drop),
                shown.map(str::to_owned),
                "{text}"
            );
        };
        check("2026-11-01", Ok("2026-11-01T00:00:00.000000Z"));
        check("2026-11-01T12:30:00.5+02:00", Ok("2026-11-01T10:30:00.500000Z"));
        for bad in ["", "yesterday", "2026-13-01", "2026-11-01T12:00:00"] {
            check(bad, Err(()));
        }
    }
}
