//! `format_type(number, modifier)`: what a type is called in SQL, and for decimals how many digits its modifier says they have; and `pg_typeof(value)`.

use std::sync::Arc;

use arrow::{
    array::{AsArray, StringArray},
    datatypes::{DataType, Int64Type},
};
use datafusion::{
    common::{Result, ScalarValue, exec_err, plan_err},
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
};

use crate::sql::{reading::types, shape::Plain};

/// The function.
pub(crate) fn format_type() -> Arc<ScalarUDF> {
    Plain {
        name: "format_type",
        takes: |types| {
            let is_number = |kind: &DataType| kind.is_integer() || kind.is_null();
            match types {
                [of, modifier] if is_number(of) && is_number(modifier) => Ok(vec![DataType::Int64, DataType::Int64]),
                _ => plan_err!("format_type() takes the number of a type and its modifier"),
            }
        },
        gives: |_| Ok(DataType::Utf8),
        makes: |arrays| {
            let [numbers, modifiers] = arrays else { return exec_err!("format_type() takes a type") };
            let numbers = numbers.as_primitive::<Int64Type>().iter();
            let rows = numbers.zip(modifiers.as_primitive::<Int64Type>());
            let names: StringArray = rows.map(|(number, modifier)| Some(called(number?, modifier))).collect();
            Ok(Arc::new(names))
        },
    }
    .shared()
}

/// The function that says what a value is of.
pub(crate) fn pg_typeof() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(TypeOf { signature: Signature::any(1, Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TypeOf {
    signature: Signature,
}

impl ScalarUDFImpl for TypeOf {
    fn name(&self) -> &'static str {
        "pg_typeof"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [of] = args.args.as_slice() else { return exec_err!("pg_typeof() takes one value") };
        Ok(ColumnarValue::Scalar(ScalarValue::from(types::of(&of.data_type()).sql)))
    }
}

fn called(number: i64, modifier: Option<i64>) -> String {
    if let Some(of) = types::TYPES.iter().find(|kind| i64::from(kind.array) == number) {
        return format!("{}[]", of.sql);
    }
    let Some(kind) = types::TYPES.iter().find(|kind| i64::from(kind.oid) == number) else { return "-".to_owned() };
    match modifier.and_then(|modifier| modifier.checked_sub(4)).filter(|digits| *digits >= 0) {
        Some(digits) if kind.name == "numeric" => format!("numeric({},{})", digits >> 16, digits & 0xffff),
        _ => kind.sql.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::called;

    #[test]
    fn types_are_called_as_in_sql() {
        let check = |number: i64, modifier: Option<i64>, wanted: &str| assert_eq!(called(number, modifier), wanted);
        check(1_700, Some(((38 << 16) | 12) + 4), "numeric(38,12)");
        check(1_700, Some(-1), "numeric");
        check(1_700, None, "numeric");
        check(25, Some(i64::MIN), "text");
        check(1_184, Some(-1), "timestamp with time zone");
        check(1_016, None, "bigint[]");
        check(0, None, "-");
    }
}
