//! Logarithms, of what has one: of zero, and of less, they are errors, as in Postgres. The engine would give one that is infinite, or none.

use std::sync::Arc;

use arrow::{
    array::{Array, AsArray},
    compute::cast,
    datatypes::{DataType, FieldRef, Float64Type},
};
use datafusion::{
    common::{Result, exec_err},
    logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature},
};

/// Those that there are.
pub(super) const NAMES: &[&str] = &["ln", "log", "log10", "log2"];

/// One of them, over the engine's own.
pub(super) fn checked(inner: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Checked { inner }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    inner: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows =
            if args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_))) { 1 } else { args.number_rows };
        let mut numbers = Vec::with_capacity(args.args.len());
        for arg in &args.args {
            numbers.push(cast(&arg.to_array(rows)?, &DataType::Float64)?);
        }
        for row in 0..rows {
            // Beside what is not known nothing is wrong.
            if numbers.iter().any(|numbers| numbers.is_null(row)) {
                continue;
            }
            for numbers in &numbers {
                let number = numbers.as_primitive::<Float64Type>().value(row);
                if number == 0.0 {
                    return exec_err!("cannot take logarithm of zero");
                }
                if number < 0.0 {
                    return exec_err!("cannot take logarithm of a negative number");
                }
            }
        }
        self.inner.invoke_with_args(args)
    }
}
