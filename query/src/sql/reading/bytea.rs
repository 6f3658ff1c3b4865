//! Bytes as Postgres writes them and reads them: `\x00ff`, or letters among which a backslash escapes what is none.

use std::{fmt::Write as _, sync::Arc};

use arrow::{
    array::{AsArray, BinaryArray},
    compute::cast,
    datatypes::DataType,
};
use datafusion::{
    common::{Result, exec_datafusion_err, exec_err},
    logical_expr::ScalarUDF,
};

use crate::sql::shape::Plain;

/// Bytes as two digits each, behind what says so.
pub(crate) fn written(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 + bytes.len() * 2);
    text.push_str("\\x");
    for byte in bytes {
        let written = write!(text, "{byte:02x}");
        debug_assert!(written.is_ok(), "a text that grows takes everything");
    }
    text
}

/// The bytes of a text; nothing if it is none of either form.
pub(crate) fn read(text: &str) -> Option<Vec<u8>> {
    match text.strip_prefix("\\x") {
        Some(digits) => in_digits(digits),
        None => in_letters(text.as_bytes()),
    }
}

/// Two digits a byte; between bytes there may be spaces.
fn in_digits(digits: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(digits.len() / 2);
    let mut digits = digits.chars();
    while let Some(digit) = digits.next() {
        if digit.is_whitespace() {
            continue;
        }
        let (high, low) = (digit.to_digit(16)?, digits.next()?.to_digit(16)?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    Some(bytes)
}

/// As they stand, but for `\\` and `\000` to `\377`.
fn in_letters(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = match (byte, after) {
            (b'\\', [b'\\', after @ ..]) => {
                bytes.push(b'\\');
                after
            }
            (b'\\', [high @ b'0'..=b'3', middle @ b'0'..=b'7', low @ b'0'..=b'7', after @ ..]) => {
                bytes.push((high - b'0') * 64 + (middle - b'0') * 8 + (low - b'0'));
                after
            }
            (b'\\', _) => return None,
            (byte, after) => {
                bytes.push(*byte);
                after
            }
        };
    }
    Some(bytes)
}

/// The function that stands for a cast of text.
pub(super) fn of_text() -> Arc<ScalarUDF> {
    Plain {
        name: "bytea",
        takes: |types| Ok(types.to_vec()),
        gives: |_| Ok(DataType::Binary),
        makes: |arrays| {
            let [texts] = arrays else { return exec_err!("bytes of one text") };
            let texts = cast(texts, &DataType::Utf8)?;
            let bytes = texts.as_string::<i32>().iter().map(|text| -> Result<Option<Vec<u8>>> {
                let wrong = || exec_datafusion_err!("invalid input: a text is neither \\x and digits nor letters");
                text.map(|text| read(text).ok_or_else(wrong)).transpose()
            });
            let bytes = bytes.collect::<Result<Vec<_>>>()?;
            Ok(Arc::new(bytes.iter().map(Option::as_deref).collect::<BinaryArray>()))
        },
    }
    .shared()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_as_postgres_does() {
        let check = |text: &str, wanted: Option<&[u8]>| assert_eq!(read(text).as_deref(), wanted, "{text}");
        check("", Some(b""));
        check("\\x", Some(b""));
        check("\\x00fF", Some(b"\x00\xff"));
        check("\\x00 ff", Some(b"\x00\xff"));
        check("héllo", Some("héllo".as_bytes()));
        check("a\\\\b\\000\\377", Some(b"a\\b\x00\xff"));
        for wrong in ["\\x0", "\\x0g", "\\xé0", "\\", "\\n", "\\400", "\\12"] {
            check(wrong, None);
        }
        let all: Vec<u8> = (0..=u8::MAX).collect();
        assert_eq!(read(&written(&all)), Some(all));
    }
}
