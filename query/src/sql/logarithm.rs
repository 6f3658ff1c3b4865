//! Logarithms, of what has one: of zero, and of less, they are errors, as in Postgres. The engine would give one that is infinite, or none. And
//! powers, which are errors where they are no number, or leave their type.

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
pub(super) const NAMES: &[&str] = &["exp", "ln", "log", "log10", "log2", POWER];

const POWER: &str = "power";

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
        let name = self.inner.name();
        // Beside what is not known nothing is wrong.
        let known = |row: usize| -> Option<Vec<f64>> {
            let numbers =
                numbers.iter().map(|of| (!of.is_null(row)).then(|| of.as_primitive::<Float64Type>().value(row)));
            numbers.collect()
        };
        if let Some(why) = (0..rows).find_map(|row| refused(name, &known(row)?)) {
            return exec_err!("{why}");
        }
        let result = self.inner.invoke_with_args(args)?;
        let results = cast(&result.to_array(rows)?, &DataType::Float64)?;
        let left = results.as_primitive::<Float64Type>().iter().take(rows).enumerate().any(|(row, result)| {
            let is_number = |number: &f64| number.is_finite();
            !result.is_none_or(f64::is_finite) && known(row).is_some_and(|numbers| numbers.iter().all(is_number))
        });
        if left { exec_err!("value out of range: overflow") } else { Ok(result) }
    }
}

/// What is wrong with what a function is of, in the words of Postgres.
fn refused(name: &str, numbers: &[f64]) -> Option<&'static str> {
    match (name, numbers) {
        (POWER, [base, by]) if *base < 0.0 && by.is_finite() && by.fract() != 0.0 => {
            Some("a negative number raised to a non-integer power yields a complex result")
        }
        (POWER | "exp", _) => None,
        _ if numbers.contains(&0.0) => Some("cannot take logarithm of zero"),
        _ if numbers.iter().any(|number| *number < 0.0) => Some("cannot take logarithm of a negative number"),
        // It is divided by the logarithm of the base.
        (_, [base, _]) if *base == 1.0 => Some("division by zero"),
        _ => None,
    }
}
