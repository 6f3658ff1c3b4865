//! `format(pattern, …)`: text with others put into it, as Postgres does: `%s` as it is, `%I` as a name, `%L` as a constant of SQL, `%%`
//! for the sign itself, and `%2$s` for the second argument.
//!
//! What one call makes of a batch is bounded while it is made. Widths are not supported.

use std::sync::Arc;

use arrow::{
    array::{Array, AsArray, StringArray, StringBuilder},
    datatypes::DataType,
};
use datafusion::{
    common::{Result, exec_err, plan_err},
    functions::utils::make_scalar_function,
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
};

use super::{
    error::refused,
    functions::{MAX_BATCH_BYTES, MAX_SCALAR_BYTES},
};

/// The function.
pub(super) fn format() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Format { signature: Signature::user_defined(Volatility::Immutable) }))
}

/// Whether it is this.
pub(super) fn is_format(function: &ScalarUDF) -> bool {
    function.inner().is::<Format>()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Format {
    signature: Signature,
}

impl ScalarUDFImpl for Format {
    fn name(&self) -> &'static str {
        "format"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types.first() {
            Some(pattern) if pattern.is_string() || pattern.is_null() => Ok(vec![DataType::Utf8; types.len()]),
            _ => plan_err!("format() takes a text, and what is put into it"),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let limit = if is_scalar { MAX_SCALAR_BYTES } else { MAX_BATCH_BYTES };
        make_scalar_function(
            |arrays| {
                let texts: Vec<&StringArray> = arrays.iter().map(|array| array.as_string::<i32>()).collect();
                let [patterns, values @ ..] = texts.as_slice() else { return exec_err!("format() takes a text") };
                let (mut made, mut results) = (0, StringBuilder::new());
                for (row, pattern) in patterns.iter().enumerate() {
                    let Some(pattern) = pattern else {
                        results.append_null();
                        continue;
                    };
                    let values: Vec<Option<&str>> =
                        values.iter().map(|array| array.is_valid(row).then(|| array.value(row))).collect();
                    let mut text = Text { made: String::new(), left: limit - made };
                    formatted(pattern, &values, &mut text)?;
                    made += text.made.len() as u128;
                    results.append_value(text.made);
                }
                Ok(Arc::new(results.finish()))
            },
            Vec::new(),
        )(&args.args)
    }
}

/// A text that may not become longer than there is room for.
struct Text {
    made: String,
    left: u128,
}

impl Text {
    fn push(&mut self, part: &str) -> Result<()> {
        if (self.made.len() + part.len()) as u128 > self.left {
            return refused("format() would make more text than a function may; ask for shorter text");
        }
        self.made.push_str(part);
        Ok(())
    }
}

/// Writes a pattern with values put into it.
fn formatted(pattern: &str, values: &[Option<&str>], text: &mut Text) -> Result<()> {
    let (mut rest, mut next) = (pattern, 0);
    while let Some((before, after)) = rest.split_once('%') {
        text.push(before)?;
        if let Some(after) = after.strip_prefix('%') {
            text.push("%")?;
            rest = after;
            continue;
        }
        let (number, after) =
            after.split_at(after.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(after.len()));
        let after = match after.strip_prefix('$') {
            Some(after) => {
                let Some(place) = number.parse::<usize>().ok().and_then(|place| place.checked_sub(1)) else {
                    return exec_err!("format() counts its arguments from 1");
                };
                next = place;
                after
            }
            None if number.is_empty() => after,
            None => return exec_err!("format() knows no widths: write lpad(…) or rpad(…)"),
        };
        let mut letters = after.chars();
        let kind = letters.next();
        let Some(value) = values.get(next) else { return exec_err!("too few arguments for format()") };
        next += 1;
        match (kind, value) {
            (Some('s'), value) => text.push(value.unwrap_or_default())?,
            (Some('I'), Some(name)) => text.push(&identifier(name))?,
            (Some('I'), None) => return exec_err!("NULL is no name that format() could write"),
            (Some('L'), value) => text.push(&value.map_or_else(|| "NULL".to_owned(), constant))?,
            _ => return exec_err!("format() knows %s, %I, %L and %%, and %1$s for the first argument"),
        }
        rest = letters.as_str();
    }
    text.push(rest)
}

/// A name as SQL has it: in quotes, unless it would be the same without.
fn identifier(name: &str) -> String {
    let plain = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    let is_plain = name.starts_with(plain) && name.chars().all(|letter| plain(letter) || letter.is_ascii_digit());
    if is_plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// A constant of SQL.
fn constant(text: &str) -> String {
    let escape = if text.contains('\\') { "E" } else { "" };
    format!("{escape}'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::{Text, formatted};

    /// The answers are those of Postgres.
    #[test]
    fn values_are_put_where_the_pattern_says() {
        let check = |pattern: &str, values: &[Option<&str>], wanted: Option<&str>| {
            let mut text = Text { made: String::new(), left: 40 };
            let got = formatted(pattern, values, &mut text).ok().map(|()| text.made);
            assert_eq!(got.as_deref(), wanted, "{pattern}");
        };
        check("", &[], Some(""));
        check("%s", &[Some("a")], Some("a"));
        check("%I.%I", &[Some("public"), Some("Us\"age")], Some("public.\"Us\"\"age\""));
        check("%L and %L", &[Some("it's"), None], Some("'it''s' and NULL"));
        check("%L", &[Some("a\\b")], Some("E'a\\\\b'"));
        check("100%%, %2$s, %1$s, %s", &[Some("a"), Some("b")], Some("100%, b, a, b"));
        check("é%sé", &[None], Some("éé"));
        for wrong in ["%", "%s%s", "%d", "%0$s", "%10s", "%2$", "%-2s", "%99999999999999999999$s"] {
            check(wrong, &[Some("a")], None);
        }
        check("%I", &[None], None);
        check("%1$s%1$s%1$s", &[Some("fourteen bytes")], None);
    }
}
