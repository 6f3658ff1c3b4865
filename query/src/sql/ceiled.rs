//! `ceil` and `floor` of a decimal, which may have a digit more than it: of 9.9 it is 10. The engine's have no room for one.

use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType};
use datafusion::{
    common::Result,
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl},
};

use super::shape::as_inner;

/// What they are called.
const NAMES: &[&str] = &["ceil", "floor"];

/// A function of the engine with room for one, if it is one of these; others as they are.
pub(super) fn ceiled(inner: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    if NAMES.contains(&inner.name()) { Arc::new(ScalarUDF::from(Ceiled { inner })) } else { inner }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Ceiled {
    inner: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for Ceiled {
    as_inner!(name, signature);

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(wider(self.inner.return_type(types)?))
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        for number in &mut args.args {
            let kind = wider(number.data_type());
            if kind != number.data_type() {
                *number = number.cast_to(&kind, None)?;
            }
        }
        self.inner.invoke_with_args(args)
    }
}

/// A decimal of one digit more, if there is room; other types as they are.
fn wider(kind: DataType) -> DataType {
    match kind {
        DataType::Decimal128(digits, scale) if digits < DECIMAL128_MAX_PRECISION => {
            DataType::Decimal128(digits + 1, scale)
        }
        other => other,
    }
}
