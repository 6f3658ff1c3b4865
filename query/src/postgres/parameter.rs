//! The values of parameters, as clients send them, made into those that the engine takes.
//!
//! A value in text is read as the engine reads a constant of that type, times as Postgres does ([`moment`]); one in binary by the number of
//! its type.

use std::sync::Arc;

use arrow::datatypes::{DataType, IntervalMonthDayNano};
use bytes::{Buf as _, Bytes};
use datafusion::common::{DataFusionError, ScalarValue, exec_datafusion_err, exec_err};
use schemas::time;
use uuid::Uuid;

use super::{
    array,
    message::format,
    value::{DAYS_2000, Kind, MICROS_2000},
};
use crate::sql::{QueryError, bytea, in_units, moment};

const MICROS_A_DAY: i64 = 86_400_000_000;

/// The number of a type that is text here, and sixteen bytes in binary.
pub(super) const UUID: u32 = 2_950;

/// What came with a `Bind`.
#[derive(Clone, Debug)]
pub(super) struct Values {
    /// By parameter, the number of the type that the client gave it; 0 for none.
    pub(super) types: Vec<u32>,
    pub(super) formats: Vec<i16>,
    pub(super) values: Vec<Option<Bytes>>,
}

/// The type of the engine that a client means; nothing where it does not say, or where the statement says it better.
pub(super) fn meant(oid: u32) -> Option<DataType> {
    // The digits of a decimal say how many there are.
    Kind::from_oid(oid)
        .or_else(|| array::element(oid))
        .filter(|kind| *kind != Kind::Numeric)
        .map(|kind| kind.written_from(&None))
}

impl Values {
    /// The value in a place, where it is a whole number without a sign, as that of a session is.
    pub(super) fn number(&self, at: usize) -> Option<u32> {
        const TEXTS: [u32; 2] = [25, 1_043];
        let value = self.values.get(at)?.as_deref()?;
        let is_text = self.types.get(at).is_some_and(|oid| TEXTS.contains(oid));
        if is_text || format(&self.formats, at) == 0 {
            return std::str::from_utf8(value).ok()?.trim_matches('\0').trim().parse().ok();
        }
        let number: i64 = match value.len() {
            2 => i16::from_be_bytes(value.try_into().ok()?).into(),
            4 => i32::from_be_bytes(value.try_into().ok()?).into(),
            _ => i64::from_be_bytes(value.try_into().ok()?),
        };
        u32::try_from(number).ok()
    }

    /// The values, for parameters that are known to be of these types. Times without a zone are of this one where an instant is wanted.
    pub(super) fn scalars(self, known: &[Option<DataType>], zone: &str) -> Result<Vec<ScalarValue>, QueryError> {
        let scalar = |(at, value): (usize, &Option<Bytes>)| -> Result<ScalarValue, QueryError> {
            let given = self.types.get(at).copied().unwrap_or(0);
            let wanted = known.get(at).cloned().flatten();
            let said = Kind::from_oid(given).or_else(|| wanted.as_ref().map(Kind::of)).unwrap_or(Kind::Text);
            let wanted = wanted.or_else(|| meant(given));
            let Some(value) = value else {
                return Ok(ScalarValue::try_from(wanted.as_ref().unwrap_or(&DataType::Utf8))?);
            };
            if array::element(given).is_some() {
                // It was written out where it is compared with, and a statement that names it anywhere else is refused.
                return Ok(ScalarValue::Utf8(None));
            }
            let read = match format(&self.formats, at) {
                1 if given == UUID => Uuid::from_slice(value).ok().map(|id| ScalarValue::from(id.to_string())),
                0 => std::str::from_utf8(value).ok().map(|text| ScalarValue::from(text.trim_matches('\0'))),
                _ => binary(said, value.clone()),
            };
            let name = at + 1;
            let read = read.ok_or_else(|| QueryError::Invalid(format!("the value of ${name} is not of its type")))?;
            fitted(read, wanted.as_ref(), said, zone)
                .map_err(|_| QueryError::Invalid(format!("invalid input: the value of ${name} is not of its type")))
        };
        self.values.iter().enumerate().map(scalar).collect()
    }
}

/// A value as the type that is wanted. A decimal whose digits are the only word for its type keeps them all.
fn fitted(
    read: ScalarValue,
    wanted: Option<&DataType>,
    said: Kind,
    zone: &str,
) -> Result<ScalarValue, DataFusionError> {
    match (wanted, said, read.try_as_str().flatten()) {
        (Some(DataType::Boolean), _, Some("t" | "on" | "yes")) => Ok(ScalarValue::Boolean(Some(true))),
        (Some(DataType::Boolean), _, Some("f" | "off" | "no")) => Ok(ScalarValue::Boolean(Some(false))),
        (Some(DataType::Decimal128(..)), Kind::Numeric, Some(digits)) if !has_room(digits) => {
            match digits.parse::<f64>() {
                Ok(float) => Ok(ScalarValue::from(float)),
                Err(_) => exec_err!("no decimal"),
            }
        }
        // The column's scale may be smaller than the value's, which is to be compared and not rounded.
        (
            None | Some(DataType::Decimal128(..) | DataType::Int64 | DataType::Int32 | DataType::Int16),
            Kind::Numeric,
            Some(digits),
        ) => {
            let Some(digits) = positional(digits) else {
                return exec_err!("no decimal");
            };
            let scale = digits.split_once('.').map_or(0, |(_, part)| part.len());
            let scale = i8::try_from(scale).unwrap_or(i8::MAX);
            ScalarValue::from(digits.as_str()).cast_to(&DataType::Decimal128(38, scale.min(38)))
        }
        (Some(DataType::Binary), _, Some(text)) => {
            let bytes = bytea::read(text);
            bytes.map(|bytes| ScalarValue::Binary(Some(bytes))).ok_or_else(|| exec_datafusion_err!("no bytes"))
        }
        (Some(wanted @ DataType::Interval(_)), _, Some(text)) => {
            ScalarValue::from(in_units(text).as_deref().unwrap_or(text)).cast_to(wanted)
        }
        (Some(wanted @ (DataType::Timestamp(..) | DataType::Date32)), ..) => timed(read, wanted, zone).cast_to(wanted),
        (Some(wanted), ..) if *wanted != read.data_type() => read.cast_to(wanted),
        _ => Ok(read),
    }
}

/// Whether what is compared with decimals is one that these have room beside: another is compared as a float.
fn has_room(digits: &str) -> bool {
    const WHOLE: usize = 20;
    positional(digits).is_some_and(|digits| {
        let whole = digits.split_once('.').map_or(digits.as_str(), |(whole, _)| whole);
        whole.trim_start_matches('-').trim_start_matches('0').len() <= WHOLE
    })
}

/// A value where a time is wanted: text, or what has no zone where an instant is wanted, as Postgres takes it. Other text is left to the
/// engine.
fn timed(read: ScalarValue, wanted: &DataType, zone: &str) -> ScalarValue {
    let timed = match (&read, wanted) {
        (ScalarValue::TimestampMicrosecond(Some(micros), None), DataType::Timestamp(_, Some(_))) => {
            moment::shown_at(*micros, zone)
        }
        (ScalarValue::Date32(Some(days)), DataType::Timestamp(_, Some(_))) => {
            moment::shown_at(i64::from(*days) * MICROS_A_DAY, zone)
        }
        _ => read.try_as_str().flatten().and_then(|text| moment::read(text, wanted, time::now(), zone)),
    };
    timed.unwrap_or(read)
}

/// A decimal without an exponent; nothing if it is none, or has more digits than any type of the engine.
pub(super) fn positional(number: &str) -> Option<String> {
    let (number, exponent) = match number.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.parse::<i32>().ok().filter(|exponent| exponent.abs() <= 76)?),
        None => (number, 0),
    };
    let (sign, digits) = number.strip_prefix('-').map_or(("", number), |digits| ("-", digits));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{part}");
    if all.is_empty() || !all.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let point = i32::try_from(whole.len()).ok()?.checked_add(exponent)?;
    let before = usize::try_from(point.checked_neg()?).unwrap_or(0);
    let padded = format!("{}{all}", "0".repeat(before));
    let point = usize::try_from(point).unwrap_or(0);
    let padded = format!("{padded:0<point$}");
    let (whole, part) = padded.split_at_checked(point)?;
    let whole = if whole.is_empty() { "0" } else { whole };
    Some(if part.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part}") })
}

/// Reads a value in binary.
pub(super) fn binary(kind: Kind, mut value: Bytes) -> Option<ScalarValue> {
    let length = value.len();
    let of = |wanted: usize| (length == wanted).then_some(());
    Some(match kind {
        Kind::Bool => of(1).map(|()| ScalarValue::from(value.get_u8() != 0))?,
        Kind::Int2 => of(2).map(|()| ScalarValue::from(value.get_i16()))?,
        Kind::Int4 => of(4).map(|()| ScalarValue::from(value.get_i32()))?,
        Kind::Int8 => of(8).map(|()| ScalarValue::from(value.get_i64()))?,
        Kind::Float4 => of(4).map(|()| ScalarValue::from(value.get_f32()))?,
        Kind::Float8 => of(8).map(|()| ScalarValue::from(value.get_f64()))?,
        Kind::Text => ScalarValue::from(std::str::from_utf8(&value).ok()?),
        Kind::Bytes => ScalarValue::Binary(Some(value.to_vec())),
        Kind::Date => {
            of(4)?;
            ScalarValue::Date32(value.get_i32().checked_add(DAYS_2000))
        }
        Kind::Time => {
            of(8)?;
            ScalarValue::Time64Microsecond(Some(value.get_i64()))
        }
        Kind::Timestamp | Kind::TimestampTz => {
            of(8)?;
            let zone: Option<Arc<str>> = (kind == Kind::TimestampTz).then(|| "UTC".into());
            ScalarValue::TimestampMicrosecond(value.get_i64().checked_add(MICROS_2000), zone)
        }
        Kind::Interval => {
            of(16)?;
            let (micros, days, months) = (value.get_i64(), value.get_i32(), value.get_i32());
            ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(months, days, micros.checked_mul(1_000)?)))
        }
        Kind::Numeric => ScalarValue::from(digits(&value)?.as_str()),
    })
}

/// The digits of a decimal in binary, or the word for what is no number or has no end; nothing if it is none of them.
pub(super) fn digits(mut value: &[u8]) -> Option<String> {
    let mut word = || value.try_get_u16().ok();
    let (groups, weight, sign, scale) = (word()?, word()?, word()?, usize::from(word()?));
    let weight = i16::from_be_bytes(weight.to_be_bytes());
    let word_of = match sign {
        0xC000 => Some("NaN"),
        0xD000 => Some("Infinity"),
        0xF000 => Some("-Infinity"),
        _ => None,
    };
    if let Some(word) = word_of {
        return Some(word.to_owned());
    }
    // More than any type of the engine holds.
    if !matches!(sign, 0 | 0x4000) || groups > 40 || !(-40..40).contains(&weight) || scale > 80 {
        return None;
    }
    let groups = (0..groups).map(|_| word()).collect::<Option<Vec<_>>>()?;
    let group = |at: i16| usize::try_from(weight - at).ok().and_then(|at| groups.get(at)).copied().unwrap_or(0);
    let mut whole: String = (0..=weight.max(0)).rev().map(|at| format!("{:04}", group(at))).collect();
    whole = whole.trim_start_matches('0').to_owned();
    let part: String = (1..=20).map(|at| format!("{:04}", group(-at))).collect();
    let part = part.get(..scale)?;
    let sign = if sign == 0 { "" } else { "-" };
    let whole = if whole.is_empty() { "0" } else { &whole };
    Some(if part.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In text as drivers write it, in binary as microseconds, days and months.
    #[test]
    fn a_span_of_time_is_read_in_text_and_in_binary() {
        let read = |format: i16, value: &[u8]| {
            let values = vec![Some(Bytes::copy_from_slice(value))];
            Values { types: vec![1_186], formats: vec![format], values }.scalars(&[None], "UTC")
        };
        let is = |months, days, nanos| {
            vec![ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(months, days, nanos)))]
        };
        let check = |text: &str, wanted: Vec<ScalarValue>| {
            assert_eq!(read(0, text.as_bytes()).unwrap(), wanted, "{text}");
        };
        check("1 day", is(0, 1, 0));
        check("1 day 0:00:00", is(0, 1, 0));
        check("-1 day 21:00:00", is(0, -1, 75_600_000_000_000));
        check("14 days 0:00:00.000001", is(0, 14, 1_000));
        check("-00:01:30.5", is(0, 0, -90_500_000_000));
        check("1 year 2 mons 3 days 04:05", is(14, 3, 14_700_000_000_000));
        for wrong in ["", "soon", "1 day 0:x", "1 day :00", "1 day 1:2:3:4", "9223372036854775807:00"] {
            assert!(read(0, wrong.as_bytes()).is_err(), "{wrong}");
        }
        let binary = [&5_i64.to_be_bytes()[..], &(-1_i32).to_be_bytes()[..], &2_i32.to_be_bytes()[..]].concat();
        assert_eq!(read(1, &binary).unwrap(), is(2, -1, 5_000));
        assert!(read(1, &binary[1..]).is_err());
    }

    #[test]
    fn an_id_in_binary_is_text() {
        let id = "0192f0c1-2d3e-7f4a-8b5c-6d7e8f9a0b1c";
        let read = |format: i16, value: &[u8]| {
            let values = vec![Some(Bytes::copy_from_slice(value))];
            Values { types: vec![2_950], formats: vec![format], values }.scalars(&[Some(DataType::Utf8)], "UTC")
        };
        assert_eq!(read(1, id.parse::<Uuid>().unwrap().as_bytes()).unwrap(), [ScalarValue::from(id)]);
        assert_eq!(read(0, id.as_bytes()).unwrap(), [ScalarValue::from(id)]);
        assert!(read(1, &[0; 15]).is_err());
    }

    /// In text as drivers write them, whether they say so themselves or the statement does.
    #[test]
    fn bytes_are_read_in_text_and_in_binary() {
        for (oid, known, format, value) in [
            (17, None, 0, &b"\\x00ff"[..]),
            (17, None, 0, &b"\\000\\377"[..]),
            (0, Some(DataType::Binary), 0, &b"\\x00ff"[..]),
            (17, None, 1, &b"\x00\xff"[..]),
            (0, Some(DataType::Binary), 1, &b"\x00\xff"[..]),
        ] {
            let values = vec![Some(Bytes::copy_from_slice(value))];
            let read = Values { types: vec![oid], formats: vec![format], values }.scalars(&[known], "UTC");
            assert_eq!(read.unwrap(), [ScalarValue::Binary(Some(b"\x00\xff".to_vec()))], "{oid} {value:?}");
        }
        let values = vec![Some(Bytes::from_static(b"\\x0"))];
        assert!(Values { types: vec![17], formats: vec![0], values }.scalars(&[None], "UTC").is_err());
    }

    #[test]
    fn a_time_is_said_by_a_word() {
        let instant = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into()));
        for kind in [instant, DataType::Date32] {
            for word in ["today", " Yesterday", "tomorrow", "now", "epoch"] {
                let values = vec![Some(Bytes::copy_from_slice(word.as_bytes()))];
                let values = Values { types: vec![0], formats: vec![0], values };
                let read = values.scalars(&[Some(kind.clone())], "Asia/Tokyo");
                assert!(read.is_ok_and(|read| read.iter().all(|read| !read.is_null())), "{word} {kind}");
            }
        }
    }

    /// As drivers send them, in text and in binary.
    #[test]
    fn a_decimal_without_room_is_compared_as_a_float() {
        const NUMERIC: DataType = DataType::Decimal128(18, 12);
        let read = |known: &DataType, format: i16, value: &[u8]| {
            let values = vec![Some(Bytes::copy_from_slice(value))];
            Values { types: vec![1_700], formats: vec![format], values }.scalars(&[Some(known.clone())], "UTC")
        };
        for (text, wanted) in [("1e30", 1e30), ("Infinity", f64::INFINITY), ("-Infinity", f64::NEG_INFINITY)] {
            assert_eq!(read(&NUMERIC, 0, text.as_bytes()).unwrap(), [ScalarValue::from(wanted)], "{text}");
        }
        let is_nan = |read: Vec<ScalarValue>| matches!(read[..], [ScalarValue::Float64(Some(float))] if float.is_nan());
        assert!(is_nan(read(&NUMERIC, 0, b"NaN").unwrap()));
        assert!(is_nan(read(&NUMERIC, 1, &[0, 0, 0, 0, 0xC0, 0, 0, 0]).unwrap()));
        assert_eq!(read(&NUMERIC, 0, b"-1.5").unwrap(), [ScalarValue::Decimal128(Some(-15), 38, 1)]);
        assert!(read(&NUMERIC, 0, b"soon").is_err());
        assert!(read(&DataType::Int64, 0, b"NaN").is_err());
    }

    #[test]
    fn exponents_are_written_out() {
        let check = |number: &str, wanted: Option<&str>| assert_eq!(positional(number).as_deref(), wanted, "{number}");
        check("1E-13", Some("0.0000000000001"));
        check("-1.25e1", Some("-12.5"));
        check("1.5E+3", Some("1500"));
        check("12.340", Some("12.340"));
        check("0E-3", Some("0.000"));
        check(".5", Some("0.5"));
        for wrong in ["", "-", "1e", "1e99999999", "NaN", "1.2.3", "1 000", "--1"] {
            check(wrong, None);
        }
    }
}
