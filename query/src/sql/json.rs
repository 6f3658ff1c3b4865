//! `json_object(object, name, value, …)`: the JSON object of a text with members added, and without those whose value is NULL.
//!
//! It makes the JSON columns of the view `focus`, so that a name with a quote in it stays a name.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array as _, ArrayRef, AsArray, StringBuilder},
    compute::cast,
    datatypes::DataType,
};
use datafusion::{
    common::Result,
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
};
use serde_json::{Map, Value};

/// The function.
pub(crate) fn json_object() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(JsonObject { signature: Signature::variadic_any(Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct JsonObject {
    signature: Signature,
}

impl ScalarUDFImpl for JsonObject {
    fn name(&self) -> &'static str {
        "json_object"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let texts =
            args.args.iter().map(|arg| Ok(cast(&arg.to_array(rows)?, &DataType::Utf8)?)).collect::<Result<Vec<_>>>()?;
        let texts: Vec<_> = texts.iter().map(|texts| texts.as_string::<i32>()).collect();
        let mut values = StringBuilder::new();
        for row in 0..rows {
            let mut cells = texts.iter().map(|column| column.is_valid(row).then(|| column.value(row)));
            let object = object(cells.next().flatten(), cells);
            values.append_option((!object.is_empty()).then(|| Value::Object(object.into_iter().collect()).to_string()));
        }
        let values: ArrayRef = Arc::new(values.finish());
        Ok(ColumnarValue::Array(values))
    }
}

/// The members of an object, by name; those that are added come over those that it has.
fn object<'a>(base: Option<&str>, mut cells: impl Iterator<Item = Option<&'a str>>) -> BTreeMap<String, Value> {
    let base = base.and_then(|text| serde_json::from_str::<Map<String, Value>>(text).ok()).unwrap_or_default();
    let mut members: BTreeMap<String, Value> = base.into_iter().collect();
    while let (Some(name), Some(value)) = (cells.next(), cells.next()) {
        if let (Some(name), Some(value)) = (name, value) {
            members.insert(name.to_owned(), value.into());
        }
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_added_escaped_and_null_ones_are_left_out() {
        let cells = [Some("model"), Some("a\"b"), Some("tier"), None, None, Some("x")];
        let made = object(Some(r#"{"env":"prod"}"#), cells.into_iter());
        assert_eq!(Value::Object(made.into_iter().collect()).to_string(), r#"{"env":"prod","model":"a\"b"}"#);
        assert!(object(Some("[1]"), std::iter::empty()).is_empty() && object(None, std::iter::empty()).is_empty());
    }
}
