//! Arrays that come for parameters: written out as constants, because nothing but a comparison with them is known here.
//!
//! `model = ANY($1)` becomes `model IN ('a', 'b')` before anything is planned. Together they may be as long as a statement may, and so cost
//! no more than one that has them in it.

use arrow::datatypes::DataType;
use bytes::{Buf as _, Bytes};
use datafusion::common::ScalarValue;
use uuid::Uuid;

use super::{
    message::format,
    parameter::{UUID, Values, binary, positional},
    value::Kind,
};
use crate::{
    reports::quoted,
    sql::{
        MAX_SQL_BYTES, QueryError, arrays, bytea,
        types::{self, Type},
    },
};

/// The number of an array of text.
const OF_TEXT: u32 = 1_009;

/// The numbers of types by which a client leaves it to the statement what a value is.
const UNSAID: [u32; 2] = [0, 705];

/// The numbers of text, which a statement may cast to an array.
const TEXTS: [u32; 2] = [25, 1_043];

/// What an array of this number is of; nothing if it is none.
pub(super) fn element(oid: u32) -> Option<Kind> {
    types::TYPES.iter().find(|of| u32::try_from(of.array) == Ok(oid)).map(kind)
}

/// What of a type is a value here; text of one that has no other.
fn kind(of: &Type) -> Kind {
    u32::try_from(of.oid).ok().and_then(Kind::from_oid).unwrap_or(Kind::Text)
}

/// The number of an array of what the statement says it is of, or else of what it is compared with.
pub(super) fn of(said: Option<Type>, compared: Option<&DataType>) -> u32 {
    let of = said.or_else(|| compared.map(types::of)).unwrap_or(types::TEXT);
    u32::try_from(of.array).unwrap_or(OF_TEXT)
}

impl Values {
    /// By parameter, what stands in the array that came for it, as constants of SQL. Those that have no type are arrays where the
    /// statement takes them for such, and text is where it is cast to one; they have that type from then on.
    pub(super) fn lists(&mut self, sql: &str) -> Result<Vec<Option<Vec<String>>>, QueryError> {
        let arrays = arrays::parameters(sql);
        self.types.resize(self.values.len().max(self.types.len()), 0);
        let (mut lists, mut bytes) = (Vec::with_capacity(self.values.len()), 0);
        for (at, (value, oid)) in self.values.iter().zip(&mut self.types).enumerate() {
            let number = at + 1;
            let (array, given) = (arrays.get(&number), *oid);
            match array {
                Some(said) if UNSAID.contains(&given) => *oid = of(*said, None),
                Some(Some(said)) if TEXTS.contains(&given) => *oid = of(Some(*said), None),
                _ => {}
            }
            let (Some(value), Some(own)) = (value, element(*oid)) else {
                lists.push(None);
                continue;
            };
            let said = array.and_then(|said| said.as_ref()).map(kind);
            let list = match format(&self.formats, at) {
                1 if !TEXTS.contains(&given) => in_binary(value.clone(), said),
                _ => in_text(value, own, said),
            };
            let list = list.ok_or_else(|| {
                QueryError::Invalid(format!(
                    "invalid input: the value of ${number} is no array of its type, or of what it is cast to"
                ))
            })?;
            bytes += list.iter().map(|element| element.len() + 1).sum::<usize>();
            if bytes > MAX_SQL_BYTES {
                return Err(QueryError::Refused(format!(
                    "the arrays of a statement may be {MAX_SQL_BYTES} bytes long"
                )));
            }
            lists.push(Some(list));
        }
        Ok(lists)
    }
}

/// What an array is read as, of this number and in this form: for the target of fuzz/, which is nobody else's.
#[doc(hidden)]
pub fn understood(oid: u32, is_binary: bool, value: &[u8]) -> Option<Vec<String>> {
    let of = element(oid)?;
    if is_binary { in_binary(Bytes::copy_from_slice(value), None) } else { in_text(value, of, None) }
}

fn in_text(value: &[u8], own: Kind, said: Option<Kind>) -> Option<Vec<String>> {
    let elements = arrays::elements(std::str::from_utf8(value).ok()?.trim_matches('\0'))?;
    elements.into_iter().map(|element| element.map_or_else(null, |text| as_said(own, said, &text))).collect()
}

/// An element as a constant of what the statement casts the array to, if it does.
fn as_said(own: Kind, said: Option<Kind>, text: &str) -> Option<String> {
    match said {
        Some(said) if said != own => literal(said, &cast(own, said, text)?),
        _ => literal(own, text),
    }
}

/// An element of one type as text of another, as Postgres casts it; nothing where it is none of that, or takes more than its digits to tell.
fn cast(own: Kind, said: Kind, text: &str) -> Option<String> {
    use Kind::{Date, Float4, Float8, Int2, Int4, Int8, Numeric, Text, Timestamp, TimestampTz};
    Some(match (own, said) {
        (Int2 | Int4 | Int8 | Float4 | Float8 | Numeric, Int2 | Int4 | Int8) => {
            let number = whole(own, text)?;
            match said {
                Int2 => i16::try_from(number).ok()?.to_string(),
                Int4 => i32::try_from(number).ok()?.to_string(),
                _ => number.to_string(),
            }
        }
        // As many digits as are those of the number, whatever is behind them.
        (Float4, Numeric) => format!("{:.5e}", text.parse::<f64>().ok()?).parse::<f64>().ok()?.to_string(),
        (Float8, Numeric) => format!("{:.14e}", text.parse::<f64>().ok()?).parse::<f64>().ok()?.to_string(),
        (Float4, Float8) | (Int2 | Int4 | Int8 | Float8 | Numeric, Float4) => {
            f64::from(text.parse::<f32>().ok()?).to_string()
        }
        (Timestamp, Date) => text.split(['T', ' ']).next()?.to_owned(),
        (Text, _)
        | (_, Text)
        | (Int2 | Int4 | Int8, Numeric | Float8)
        | (Numeric, Float8)
        | (Date, Timestamp | TimestampTz)
        | (Timestamp, TimestampTz) => text.to_owned(),
        _ => return None,
    })
}

/// A number without its decimals: a half goes to the even one of what is no decimal, and away from zero of what is.
fn whole(own: Kind, text: &str) -> Option<i64> {
    match own {
        Kind::Float4 | Kind::Float8 => format!("{:.0}", text.parse::<f64>().ok()?.round_ties_even()).parse().ok(),
        Kind::Numeric => {
            let digits = positional(text)?;
            let (whole, part) = digits.split_once('.').unwrap_or((digits.as_str(), ""));
            let away = i64::from(part.bytes().next().is_some_and(|digit| digit >= b'5'));
            let number = whole.parse::<i64>().ok()?;
            if digits.starts_with('-') { number.checked_sub(away) } else { number.checked_add(away) }
        }
        _ => text.parse().ok(),
    }
}

/// Its dimensions, whether there are NULLs, what it is of, and then each with its length.
fn in_binary(mut value: Bytes, said: Option<Kind>) -> Option<Vec<String>> {
    let dimensions = value.try_get_i32().ok()?;
    let (_, of) = (value.try_get_i32().ok()?, value.try_get_u32().ok()?);
    if dimensions == 0 {
        return Some(Vec::new());
    }
    let own = if of == UUID { Kind::Text } else { Kind::from_oid(of)? };
    let (length, _) = (value.try_get_i32().ok()?, value.try_get_i32().ok()?);
    let mut list = Vec::new();
    for _ in 0..length {
        // -1 for a NULL.
        let element = match usize::try_from(value.try_get_i32().ok()?) {
            Err(_) => null(),
            Ok(bytes) if bytes <= value.len() => as_said(own, said, &text(of, own, value.split_to(bytes))?),
            Ok(_) => None,
        };
        list.push(element?);
    }
    (dimensions == 1 && value.is_empty()).then_some(list)
}

/// An element in binary, of a type by its number and what that is here, as text.
fn text(of: u32, own: Kind, value: Bytes) -> Option<String> {
    if of == UUID {
        return Uuid::from_slice(&value).ok().map(|id| id.to_string());
    }
    match binary(own, value)? {
        ScalarValue::Binary(bytes) => bytes.as_deref().map(bytea::written),
        read => read.cast_to(&DataType::Utf8).ok()?.try_as_str().flatten().map(str::to_owned),
    }
}

fn null() -> Option<String> {
    Some("NULL".to_owned())
}

/// A value as a constant of SQL. Numbers are bare, since beside a column of numbers a text is compared as one.
fn literal(kind: Kind, text: &str) -> Option<String> {
    Some(match kind {
        Kind::Int2 | Kind::Int4 | Kind::Int8 => text.parse::<i64>().ok()?.to_string(),
        Kind::Numeric => positional(text)?,
        Kind::Float4 | Kind::Float8 => text.parse::<f64>().ok().filter(|number| number.is_finite())?.to_string(),
        Kind::Bool => match text {
            "t" | "true" => "TRUE".to_owned(),
            "f" | "false" => "FALSE".to_owned(),
            _ => return None,
        },
        Kind::Bytes => format!("X'{}'", bytea::written(&bytea::read(text)?).trim_start_matches("\\x")),
        _ => quoted(text),
    })
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::ast;

    use super::*;

    fn read(oid: u32, format: i16, value: &[u8]) -> Result<Vec<Option<Vec<String>>>, QueryError> {
        read_of("SELECT a FROM t WHERE a = ANY($1)", oid, format, value)
    }

    fn read_of(sql: &str, oid: u32, format: i16, value: &[u8]) -> Result<Vec<Option<Vec<String>>>, QueryError> {
        let values = vec![Some(Bytes::copy_from_slice(value))];
        Values { types: vec![oid], formats: vec![format], values }.lists(sql)
    }

    fn array(of: u32, elements: &[Option<&[u8]>]) -> Vec<u8> {
        let mut bytes = [1_i32.to_be_bytes(), 1_i32.to_be_bytes(), of.to_be_bytes()].concat();
        bytes.extend((elements.len() as i32).to_be_bytes());
        bytes.extend(1_i32.to_be_bytes());
        for element in elements {
            bytes.extend(element.map_or(-1, |element| element.len() as i32).to_be_bytes());
            bytes.extend_from_slice(element.unwrap_or_default());
        }
        bytes
    }

    #[test]
    fn arrays_are_read_in_text_and_in_binary() {
        let check = |oid: u32, format: i16, value: &[u8], wanted: &[&str]| {
            let wanted = wanted.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
            assert_eq!(read(oid, format, value).unwrap(), [Some(wanted)], "{oid} {format}");
        };
        check(1_009, 0, br#"{a,"it's",NULL}"#, &["'a'", "'it''s'", "NULL"]);
        check(0, 0, b"{a,b}", &["'a'", "'b'"]);
        check(1_007, 0, b"{1,-2}", &["1", "-2"]);
        check(1_231, 0, b"{1.50,2}", &["1.50", "2"]);
        check(1_000, 0, b"{t,f}", &["TRUE", "FALSE"]);
        check(1_022, 0, b"{1.0,2.5e-1}", &["1", "0.25"]);
        check(1_022, 1, &array(701, &[Some(&2.5_f64.to_be_bytes())]), &["2.5"]);
        check(1_009, 0, b"{}", &[]);
        check(1_009, 1, &array(25, &[Some(b"a"), None, Some(b"it's")]), &["'a'", "NULL", "'it''s'"]);
        check(1_015, 1, &array(1_043, &[Some(b"a")]), &["'a'"]);
        check(1_016, 1, &array(20, &[Some(&7_i64.to_be_bytes())]), &["7"]);
        check(1_007, 1, &array(23, &[Some(&(-7_i32).to_be_bytes())]), &["-7"]);
        check(0, 1, &array(23, &[Some(&7_i32.to_be_bytes())]), &["7"]);
        check(1_009, 1, &[0_i32.to_be_bytes(), 0_i32.to_be_bytes(), 25_i32.to_be_bytes()].concat(), &[]);
        let instant = array(1_184, &[Some(&0_i64.to_be_bytes())]);
        check(1_185, 1, &instant, &["'2000-01-01T00:00:00Z'"]);
        check(1_182, 1, &array(1_082, &[Some(&1_i32.to_be_bytes())]), &["'2000-01-02'"]);
        check(1_000, 1, &array(16, &[Some(&[1]), Some(&[0])]), &["TRUE", "FALSE"]);
        check(1_231, 1, &array(1_700, &[Some(&[0, 2, 0, 0, 0, 0, 0, 1, 0, 1, 19, 136])]), &["1.5"]);
        check(2_951, 1, &array(2_950, &[Some(&[17; 16])]), &["'11111111-1111-1111-1111-111111111111'"]);
        check(1_001, 0, br#"{"\\x00ff"}"#, &["X'00ff'"]);
        check(1_001, 1, &array(17, &[Some(&[0, 255])]), &["X'00ff'"]);
        check(705, 0, b"{a}", &["'a'"]);
        for (oid, format, wrong) in [
            (1_009, 0, &b"a,b"[..]),
            (1_007, 0, &b"{a}"[..]),
            (1_007, 0, &b"{1"[..]),
            (1_022, 0, &b"{NaN}"[..]),
            (1_009, 1, &b"{a,b}"[..]),
            (1_009, 1, &array(25, &[Some(b"a")])[..20]),
            (1_007, 1, &array(23, &[Some(b"abc")])[..]),
        ] {
            assert!(read(oid, format, wrong).is_err(), "{oid} {wrong:?}");
        }
        let long = format!("{{{}}}", vec!["12345678"; 8_000].join(","));
        assert!(read(1_009, 0, long.as_bytes()).is_err());
        assert!(read(1_009, 0, format!("{{{}}}", vec!["1234"; 1_000].join(",")).as_bytes()).is_ok());
    }

    #[test]
    fn an_array_is_of_what_the_statement_casts_it_to() {
        let check = |cast: &str, oid: u32, format: i16, value: &[u8], wanted: &[&str]| {
            let wanted = wanted.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
            let sql = format!("SELECT a FROM t WHERE a = ANY({cast})");
            assert_eq!(read_of(&sql, oid, format, value).unwrap(), [Some(wanted)], "{cast} {oid} {format}");
        };
        check("$1::int[]", 0, 0, b"{1,-2}", &["1", "-2"]);
        check("CAST($1 AS bigint[])", 1_009, 0, b"{1}", &["1"]);
        check("$1::int[]", 1_009, 1, &array(25, &[Some(b"7")]), &["7"]);
        check("$1::int[]", 25, 1, b"{1,2}", &["1", "2"]);
        check("$1::text[]", 1_043, 0, b"{a}", &["'a'"]);
        check("$1::text[]", 1_007, 1, &array(23, &[Some(&7_i32.to_be_bytes())]), &["'7'"]);
        check("$1::oid[]", 0, 1, &array(26, &[Some(&1_016_u32.to_be_bytes())]), &["1016"]);
        check("$1::numeric[]", 0, 0, b"{1e2}", &["100"]);
        check("$1::timestamptz[]", 0, 0, br#"{"2026-11-01 00:00"}"#, &["'2026-11-01 00:00'"]);
        let float = |number: f64| array(701, &[Some(&number.to_be_bytes())]);
        check("$1::bigint[]", 1_022, 1, &float(1000.5), &["1000"]);
        check("$1::bigint[]", 1_022, 1, &float(-0.4), &["0"]);
        check("$1::bigint[]", 1_022, 0, b"{1001.5,NULL,2}", &["1002", "NULL", "2"]);
        check("$1::bigint[]", 1_231, 0, b"{1000.5,-1000.5,1000.4,-0.6,1E+3}", &["1001", "-1001", "1000", "-1", "1000"]);
        check("$1::bigint[]", 1_231, 1, &array(1_700, &[Some(&[0, 2, 0, 0, 0, 0, 0, 1, 0, 1, 19, 136])]), &["2"]);
        check("$1::int[]", 1_016, 0, b"{7}", &["7"]);
        check("$1::numeric[]", 1_022, 1, &float(0.1), &["0.1"]);
        check("$1::numeric[]", 1_022, 1, &float(1.0 / 3.0), &["0.333333333333333"]);
        check("$1::numeric[]", 1_007, 0, b"{7}", &["7"]);
        check("$1::float8[]", 1_231, 0, b"{2.50}", &["2.5"]);
        check("$1::date[]", 1_115, 0, br#"{"2026-11-01 23:59:59"}"#, &["'2026-11-01'"]);
        check("$1::timestamptz[]", 1_182, 0, b"{2026-11-01}", &["'2026-11-01'"]);
        for (cast, oid, wrong) in [
            ("$1::int[]", 0, &b"{a}"[..]),
            ("$1::int[]", 1_016, b"{3000000000}"),
            ("$1::smallint[]", 1_022, b"{1e300}"),
            ("$1::bigint[]", 1_231, b"{NaN}"),
            ("$1::date[]", 1_185, br#"{"2026-11-01 00:00Z"}"#),
            ("$1::boolean[]", 1_007, b"{1}"),
        ] {
            assert!(read_of(&format!("SELECT a FROM t WHERE a = ANY({cast})"), oid, 0, wrong).is_err(), "{cast} {oid}");
        }
        assert_eq!(of(None, Some(&DataType::Int64)), 1_016);
        assert_eq!(of(types::called(&ast::DataType::Int(None)), Some(&DataType::Int64)), 1_007);
        assert_eq!(of(None, None), OF_TEXT);
    }

    #[test]
    fn what_is_no_array_is_left_alone() {
        let values = vec![Some(Bytes::from_static(b"{a}")), None];
        let mut values = Values { types: vec![25], formats: Vec::new(), values };
        assert_eq!(values.lists("SELECT a FROM t WHERE a = $1 OR a = ANY($2)").unwrap(), vec![None::<Vec<String>>; 2]);
        assert_eq!(values.types, [25, 1_009]);
        let values = vec![Some(Bytes::from_static(b"{a}"))];
        let mut values = Values { types: vec![0], formats: Vec::new(), values };
        let sql = "SELECT 'any($1)' FROM t WHERE /* any($1) */ a = $1 -- any($1)";
        assert_eq!(values.lists(sql).unwrap(), [None::<Vec<String>>]);
    }
}
