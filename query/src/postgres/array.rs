//! Arrays that come for parameters: written out as constants, because nothing but a comparison with them is known here.
//!
//! `model = ANY($1)` becomes `model IN ('a', 'b')` before anything is planned. Together they may be as long as a statement may, and so cost
//! no more than one that has them in it.

use arrow::datatypes::DataType;
use bytes::{Buf as _, Bytes};

use super::{
    message::format,
    parameter::{Values, binary, positional},
    value::Kind,
};
use crate::{
    reports::quoted,
    sql::{MAX_SQL_BYTES, QueryError, arrays},
};

/// Arrays and what they are of, by number.
const OF: &[(u32, Kind)] = &[
    (1_000, Kind::Bool),
    (1_005, Kind::Int2),
    (1_007, Kind::Int4),
    (1_016, Kind::Int8),
    (1_009, Kind::Text),
    (1_015, Kind::Text),
    (1_014, Kind::Text),
    (1_003, Kind::Text),
    (1_002, Kind::Text),
    (2_951, Kind::Text),
    (1_028, Kind::Int4),
    (1_182, Kind::Date),
    (1_115, Kind::Timestamp),
    (1_185, Kind::TimestampTz),
    (1_231, Kind::Numeric),
    (1_021, Kind::Float4),
    (1_022, Kind::Float8),
];

/// The number of an array of text.
const OF_TEXT: u32 = 1_009;

/// What an array of this number is of; nothing if it is none.
pub(super) fn element(oid: u32) -> Option<Kind> {
    OF.iter().find(|(array, _)| *array == oid).map(|(_, of)| *of)
}

/// The number of an array of this.
pub(super) fn of(element: &DataType) -> u32 {
    let kind = Kind::of(element);
    OF.iter().find(|(_, of)| *of == kind).map_or(OF_TEXT, |(array, _)| *array)
}

impl Values {
    /// By parameter, what stands in the array that came for it, as constants of SQL. Those that have no type are arrays where the
    /// statement compares with them as such, and have one from then on.
    pub(super) fn lists(&mut self, sql: &str) -> Result<Vec<Option<Vec<String>>>, QueryError> {
        let compared = arrays::compared(sql);
        self.types.resize(self.values.len().max(self.types.len()), 0);
        let (mut lists, mut bytes) = (Vec::with_capacity(self.values.len()), 0);
        for (at, (value, oid)) in self.values.iter().zip(&mut self.types).enumerate() {
            let number = at + 1;
            if *oid == 0 && compared.contains(&number) {
                *oid = OF_TEXT;
            }
            let (Some(value), Some(of)) = (value, element(*oid)) else {
                lists.push(None);
                continue;
            };
            let list = match format(&self.formats, at) {
                0 => in_text(value, of),
                _ => in_binary(value.clone()),
            };
            let list = list.ok_or_else(|| {
                QueryError::Invalid(format!("invalid input: the value of ${number} is no array of its type"))
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
    if is_binary { in_binary(Bytes::copy_from_slice(value)) } else { in_text(value, of) }
}

fn in_text(value: &[u8], of: Kind) -> Option<Vec<String>> {
    let elements = arrays::elements(std::str::from_utf8(value).ok()?.trim_matches('\0'))?;
    elements.into_iter().map(|element| element.map_or_else(null, |text| literal(of, &text))).collect()
}

/// Its dimensions, whether there are NULLs, what it is of, and then each with its length.
fn in_binary(mut value: Bytes) -> Option<Vec<String>> {
    let dimensions = value.try_get_i32().ok()?;
    let (_, of) = (value.try_get_i32().ok()?, Kind::from_oid(value.try_get_u32().ok()?)?);
    if dimensions == 0 {
        return Some(Vec::new());
    }
    let (length, _) = (value.try_get_i32().ok()?, value.try_get_i32().ok()?);
    let mut list = Vec::new();
    for _ in 0..length {
        // -1 for a NULL.
        let element = match usize::try_from(value.try_get_i32().ok()?) {
            Err(_) => null(),
            Ok(bytes) if bytes <= value.len() => {
                let read = binary(of, value.split_to(bytes))?.cast_to(&DataType::Utf8).ok()?;
                literal(of, read.try_as_str().flatten()?)
            }
            Ok(_) => None,
        };
        list.push(element?);
    }
    (dimensions == 1 && value.is_empty()).then_some(list)
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
        _ => quoted(text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(oid: u32, format: i16, value: &[u8]) -> Result<Vec<Option<Vec<String>>>, QueryError> {
        let values = vec![Some(Bytes::copy_from_slice(value))];
        Values { types: vec![oid], formats: vec![format], values }.lists("SELECT a FROM t WHERE a = ANY($1)")
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
