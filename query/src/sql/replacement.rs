//! What `regexp_replace` puts in the place of a match, as Postgres reads it: constants, columns and parameters alike.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, StringArray},
    compute::cast,
    datatypes::DataType,
};
use datafusion::{
    common::{Result, ScalarValue},
    logical_expr::ColumnarValue,
};

/// The same as the engine reads it, of the same type.
pub(super) fn spelled(given: &ColumnarValue) -> Result<ColumnarValue> {
    let kind = given.data_type();
    let texts = |given: &ArrayRef| -> Result<ArrayRef> {
        let given = cast(given, &DataType::Utf8)?;
        let read: StringArray = given.as_string::<i32>().iter().map(|text| text.map(replacement)).collect();
        let read: ArrayRef = Arc::new(read);
        Ok(cast(&read, &kind)?)
    };
    Ok(match given {
        ColumnarValue::Array(array) => ColumnarValue::Array(texts(array)?),
        ColumnarValue::Scalar(value) => {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&texts(&value.to_array()?)?, 0)?)
        }
    })
}

/// What replaces a match, as the engine has it, which calls groups `${1}`. A backslash before a digit from 1 on or `&` is a group of it or all,
/// two are one, and any other is itself, as is what the engine has a meaning for: a dollar, and a digit after a backslash, from which a
/// group that no pattern has keeps it apart.
fn replacement(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let group = if letter == '\\' { letters.next_if(|next| matches!(next, '1'..='9' | '&' | '\\')) } else { None };
        match group {
            Some('\\') | None if letter == '\\' => {
                out.push('\\');
                if letters.peek().is_some_and(char::is_ascii_digit) {
                    out.push_str("${-}");
                }
            }
            Some('&') => out.push_str("${0}"),
            Some(number) => out.extend(["${", &*number.encode_utf8(&mut [0; 4]), "}"]),
            None if letter == '$' => out.push_str("$$"),
            None => out.push(letter),
        }
    }
    out
}
