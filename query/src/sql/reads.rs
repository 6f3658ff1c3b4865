//! `to_timestamp(text, pattern)` and `to_date(text, pattern)` with the patterns of Postgres, which reads generously: what stands between
//! the parts may differ, or be missing, a text may end early, and what follows the last part is not looked at.
//!
//! What names no offset is of the session's zone. Week numbers and names of days are not read; the engine's own formats are its own.

use std::sync::Arc;

use arrow::{
    array::{AsArray, Date32Array, TimestampMicrosecondArray},
    datatypes::{DataType, TimeUnit},
};
use datafusion::{
    common::{Result, exec_datafusion_err, exec_err, plan_err},
    functions::utils::make_scalar_function,
    logical_expr::{
        ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, expr::ScalarFunction,
    },
};
use jiff::{civil, tz::TimeZone};

use super::{
    error::refused,
    moment::{micros, place, shown_in},
    pattern::{self, Part},
};

/// The functions that read by a pattern.
pub(super) const NAMES: &[&str] = &["to_timestamp", TO_DATE];

const TO_DATE: &str = "to_date";
const DAY_SECONDS: i64 = 86_400;

/// The parts that are read and are numbers, with the digits that each has.
const NUMBERS: &[(&str, usize)] = &[
    ("%Y", 4),
    ("%y", 2),
    ("%m", 2),
    ("%-m", 2),
    ("%d", 2),
    ("%-d", 2),
    ("%j", 3),
    ("%-j", 3),
    ("%H", 2),
    ("%-H", 2),
    ("%I", 2),
    ("%-I", 2),
    ("%M", 2),
    ("%-M", 2),
    ("%S", 2),
    ("%-S", 2),
    ("%3f", 3),
    ("%6f", 6),
];

/// The others that are.
const WORDS: &[&str] = &["%p", "%P", "%b", "%B", "%:z", "%:::z"];

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// What stands for a call with a pattern of Postgres; nothing for others. What names no zone is read in this one.
pub(super) fn instead(call: &ScalarFunction, zone: &Arc<str>) -> Result<Option<Expr>> {
    let [text, pattern] = call.args.as_slice() else { return Ok(None) };
    let Some(pattern) = constant(pattern) else { return Ok(None) };
    let name = call.func.name();
    let parts = match pattern::parts(pattern) {
        Ok(Some(parts)) => parts,
        Ok(None) => return Ok(None),
        Err(why) => return refused(why),
    };
    let is_read = |field: &str| WORDS.contains(&field) || width(field).is_some();
    if parts.iter().any(|part| matches!(part, Part::Field(field) if !is_read(field))) {
        return refused(format!("{name} reads no weeks, quarters and names of days, which are in {pattern:?}"));
    }
    let signature = Signature::user_defined(Volatility::Immutable);
    let reads = Reads { is_date: name == TO_DATE, pattern: pattern.to_owned(), zone: Arc::clone(zone), signature };
    Ok(Some(ScalarUDF::from(reads).call(vec![text.clone()])))
}

fn constant(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        Expr::Cast(cast) if cast.field.data_type().is_string() => constant(&cast.expr),
        _ => None,
    }
}

fn width(field: &str) -> Option<usize> {
    NUMBERS.iter().find(|(known, _)| *known == field).map(|(_, width)| *width)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Reads {
    is_date: bool,
    pattern: String,
    zone: Arc<str>,
    signature: Signature,
}

impl ScalarUDFImpl for Reads {
    fn name(&self) -> &'static str {
        if self.is_date { TO_DATE } else { "to_timestamp" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [kind] if kind.is_string() || kind.is_null() => Ok(vec![DataType::Utf8]),
            _ => plan_err!("{} reads a text by a pattern", self.name()),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(if self.is_date { DataType::Date32 } else { DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())) })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        make_scalar_function(
            |arrays| {
                let [texts] = arrays else { return exec_err!("{} reads a text", self.name()) };
                let texts = texts.as_string::<i32>();
                let parts = pattern::parts(&self.pattern).ok().flatten().unwrap_or_default();
                let wrong = |text: &str| exec_datafusion_err!("{text:?} is no time as {:?} says", self.pattern);
                let read = |text: &str| Read::of(&parts, text).ok_or_else(|| wrong(text));
                Ok(if self.is_date {
                    let day =
                        |text: Option<&str>| text.map(|text| read(text)?.day().ok_or_else(|| wrong(text))).transpose();
                    Arc::new(texts.iter().map(day).collect::<Result<Date32Array>>()?)
                } else {
                    let Some(place) = place(&self.zone) else {
                        return exec_err!("no time can be read in the zone {:?}", self.zone);
                    };
                    let instant = |text: Option<&str>| {
                        text.map(|text| read(text)?.instant(&place).ok_or_else(|| wrong(text))).transpose()
                    };
                    let instants = texts.iter().map(instant).collect::<Result<TimestampMicrosecondArray>>()?;
                    Arc::new(instants.with_timezone("UTC"))
                })
            },
            Vec::new(),
        )(&args.args)
    }
}

/// What a text says.
#[derive(Debug)]
struct Read {
    year: i64,
    month: i64,
    day: i64,
    day_of_year: Option<i64>,
    hour: i64,
    minute: i64,
    second: i64,
    micros: i64,
    /// Whether hours are those of half a day, and of the second half.
    of_half: bool,
    is_second: bool,
    /// Seconds ahead of UTC.
    ahead: Option<i64>,
}

impl Read {
    fn of(parts: &[Part<'_>], text: &str) -> Option<Self> {
        let mut read = Self {
            year: 0,
            month: 1,
            day: 1,
            day_of_year: None,
            hour: 0,
            minute: 0,
            second: 0,
            micros: 0,
            of_half: false,
            is_second: false,
            ahead: None,
        };
        // Spaces that were passed over without a part of the pattern.
        let (mut rest, mut extra) = (text, 0_usize);
        for (at, part) in parts.iter().enumerate() {
            if at == 0 || matches!(part, Part::Field(_)) {
                let trimmed = rest.trim_ascii_start();
                extra += rest.len() - trimmed.len();
                rest = trimmed;
            }
            if rest.is_empty() {
                break;
            }
            match part {
                Part::Separator(_) => match rest.strip_prefix(is_separator) {
                    Some(after) => rest = after,
                    None => extra = extra.saturating_sub(1),
                },
                Part::Text(quoted) => {
                    for _ in quoted.chars() {
                        if extra > 0 {
                            extra -= 1;
                        } else {
                            rest = rest.strip_prefix(|_: char| true).unwrap_or(rest);
                        }
                    }
                }
                Part::Field(field) => {
                    // A number that another follows has all its digits.
                    let follows = match parts.get(at + 1) {
                        Some(Part::Field(next)) => width(next).is_some(),
                        Some(Part::Text(next)) => next.starts_with(|letter: char| letter.is_ascii_digit()),
                        Some(Part::Separator(_)) | None => false,
                    };
                    rest = read.field(field, rest, follows && !field.starts_with("%-"))?;
                }
            }
        }
        Some(read)
    }

    /// Reads a part, and gives what follows.
    fn field<'a>(&mut self, field: &str, text: &'a str, is_whole: bool) -> Option<&'a str> {
        let Some(width) = width(field) else { return self.word(field, text) };
        let (number, digits, rest) = number(text, width, is_whole)?;
        match field {
            "%Y" => self.year = number,
            "%y" => {
                self.year = match number {
                    0..70 if digits < 4 => number + 2_000,
                    70..100 if digits < 4 => number + 1_900,
                    year => year,
                }
            }
            "%m" | "%-m" => self.month = number,
            "%d" | "%-d" => self.day = number,
            "%j" | "%-j" => self.day_of_year = Some(number),
            "%H" | "%-H" => (self.hour, self.of_half) = (number, false),
            "%I" | "%-I" => (self.hour, self.of_half) = (number, true),
            "%M" | "%-M" => self.minute = number,
            "%S" | "%-S" => self.second = number,
            // `.5` is half a second.
            _ => {
                let missing = u32::try_from(6_usize.checked_sub(digits).filter(|_| digits <= width)?).ok()?;
                self.micros += number * 10_i64.pow(missing);
            }
        }
        Some(rest)
    }

    fn word<'a>(&mut self, field: &str, text: &'a str) -> Option<&'a str> {
        let begins = |word: &str| text.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word));
        let after = |length: usize| text.get(length..);
        match field {
            "%p" | "%P" => {
                self.is_second = begins("pm");
                if self.is_second || begins("am") { after(2) } else { None }
            }
            "%b" | "%B" => {
                let short = |name: &'static str| if field == "%b" { name.get(..3).unwrap_or(name) } else { name };
                let (number, name) = (1..).zip(MONTHS.map(short)).find(|(_, name)| begins(name))?;
                self.month = number;
                after(name.len())
            }
            _ => {
                let (sign, digits) = match text.strip_prefix('-') {
                    Some(digits) => (-1, digits),
                    None => (1, text.strip_prefix('+').unwrap_or(text)),
                };
                let (hours, _, rest) = number(digits, 2, true)?;
                let rest = if field == "%:z" { rest.strip_prefix(':').unwrap_or(rest) } else { rest };
                let (minutes, rest) = match rest {
                    rest if field == "%:z" && !rest.is_empty() => {
                        let (minutes, _, rest) = number(rest, 2, true)?;
                        (minutes, rest)
                    }
                    rest => (0, rest),
                };
                self.ahead = Some(sign * (hours * 60 + minutes) * 60).filter(|_| hours < 16 && minutes < 60);
                self.ahead.and(Some(rest))
            }
        }
    }

    fn date(&self) -> Option<civil::Date> {
        let year = i16::try_from(self.year).ok()?;
        if let Some(day) = self.day_of_year {
            let first = civil::Date::new(year, 1, 1).ok()?;
            let day = i16::try_from(day).ok().filter(|day| (1..=first.days_in_year()).contains(day))?;
            return first.with().day_of_year(day).build().ok();
        }
        civil::Date::new(year, i8::try_from(self.month).ok()?, i8::try_from(self.day).ok()?).ok()
    }

    /// Days since 1970.
    fn day(&self) -> Option<i32> {
        let midnight = self.date()?.to_datetime(civil::Time::midnight());
        let seconds = midnight.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second();
        i32::try_from(seconds.div_euclid(DAY_SECONDS)).ok()
    }

    /// Microseconds since 1970, of what clocks of a place show unless the text says where.
    fn instant(&self, place: &TimeZone) -> Option<i64> {
        let hour = match self.of_half {
            true if !(1..=12).contains(&self.hour) => return None,
            true => self.hour % 12 + if self.is_second { 12 } else { 0 },
            false => self.hour,
        };
        let [hour, minute, second] = [hour, self.minute, self.second].map(|part| i8::try_from(part).ok());
        let nanos = i32::try_from(self.micros.checked_mul(1_000)?).ok()?;
        let time = civil::Time::new(hour?, minute?, second?, nanos).ok()?;
        let clock = self.date()?.to_datetime(time);
        match self.ahead {
            Some(ahead) => micros(clock)?.checked_sub(ahead * 1_000_000),
            None => Some(shown_in(clock, place)?.as_microsecond()),
        }
    }
}

const fn is_separator(letter: char) -> bool {
    letter.is_ascii_whitespace() || letter.is_ascii_punctuation()
}

/// A number at the beginning of a text, its digits, and what follows.
fn number(text: &str, width: usize, is_whole: bool) -> Option<(i64, usize, &str)> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let digits = match is_whole {
        true if digits < width => return None,
        true => width,
        false => digits,
    };
    let (number, rest) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, digits, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answers are those of Postgres.
    #[test]
    fn times_are_read_as_patterns_say() {
        let check = |text: &str, pattern: &str, wanted: Option<&str>| {
            let parts = pattern::parts(pattern).unwrap().unwrap();
            let place = TimeZone::get("Europe/Berlin").unwrap();
            let micros = Read::of(&parts, text).and_then(|read| read.instant(&place));
            let got = micros.map(|micros| jiff::Timestamp::from_microsecond(micros).unwrap().to_string());
            assert_eq!(got.as_deref(), wanted, "{text} {pattern}");
        };
        let whole = "YYYY-MM-DD HH24:MI:SS.US";
        check("2026-11-01 00:00:00.000000", whole, Some("2026-10-31T23:00:00Z"));
        check("2026-07-01 12:30:15.25", whole, Some("2026-07-01T10:30:15.25Z"));
        check("2026-11-01", whole, Some("2026-10-31T23:00:00Z"));
        check("  2026/11/1 10:5", whole, Some("2026-11-01T09:05:00Z"));
        check("2026-10-25 02:30", whole, Some("2026-10-25T01:30:00Z"));
        check("20261101103000", "YYYYMMDDHH24MISS", Some("2026-11-01T09:30:00Z"));
        check("2026-11-01T10:30 and more", "YYYY-MM-DD\"T\"HH24:MI", Some("2026-11-01T09:30:00Z"));
        check("01 Nov 26, 12:05 am", "DD Mon YY, HH12:MI AM", Some("2026-10-31T23:05:00Z"));
        check("november 1 1999 1:05PM", "FMMonth FMDD YYYY HH:MIPM", Some("1999-11-01T12:05:00Z"));
        check("2026-305", "YYYY-DDD", Some("2026-10-31T23:00:00Z"));
        check("2026-11-01 10:30:00.5-07", "YYYY-MM-DD HH24:MI:SS.MSTZH", Some("2026-11-01T17:30:00.5Z"));
        check("2026-11-01 10:30+05:30", "YYYY-MM-DD HH24:MITZH:TZM", Some("2026-11-01T05:00:00Z"));
        for wrong in ["2026-13-01", "2026-02-29", "x", "2026-11-01 25:00", "2026-11-01 10:00:00.1234567", "2026-1x-01"]
        {
            check(wrong, whole, None);
        }
        check("2026110", "YYYYMMDD", None);
        check("13:00 PM", "HH12:MI AM", None);
        check("2026-366", "YYYY-DDD", None);
    }
}
