//! Logarithms, of what has one: of zero, and of less, they are errors, as in Postgres. The engine would give one that is infinite, or none. To
//! any base they are whole where there is such a one (`log(1000)` is 3); the engine's are quotients, just below. And powers, which are errors
//! where they are no number, or leave their type.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Float64Array},
    compute::cast,
    datatypes::{DataType, Float64Type},
};
use datafusion::{
    common::{DataFusionError, Result, ScalarValue, exec_err},
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl},
};

use super::shape::as_inner;

/// Those that there are.
pub(super) const NAMES: &[&str] = &["exp", "ln", LOG, "log10", "log2", POWER];

const LOG: &str = "log";
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
    as_inner!(name, aliases, signature, return_type, return_field_from_args);

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { args.number_rows };
        let floats = |arg: &ColumnarValue| Ok::<_, DataFusionError>(cast(&arg.to_array(rows)?, &DataType::Float64)?);
        let (first, second) = (args.args.first().map(floats).transpose()?, args.args.get(1).map(floats).transpose()?);
        let Some(first) = first.as_deref().map(|numbers| numbers.as_primitive::<Float64Type>()) else {
            return self.inner.invoke_with_args(args);
        };
        let second = second.as_deref().map(|numbers| numbers.as_primitive::<Float64Type>());
        let value = |of: &Float64Array, row: usize| of.is_valid(row).then(|| of.value(row));
        // Beside what is not known nothing is wrong.
        let known = |row: usize| {
            Some((
                value(first, row)?,
                match second {
                    Some(second) => Some(value(second, row)?),
                    None => None,
                },
            ))
        };
        let name = self.inner.name();
        if let Some(why) = (0..rows).find_map(|row| known(row).and_then(|(first, second)| refused(name, first, second)))
        {
            return exec_err!("{why}");
        }
        let result = if name == LOG {
            let logarithms: ArrayRef = Arc::new(logarithms(first, second));
            let logarithms = cast(&logarithms, args.return_field.data_type())?;
            match is_scalar {
                true => ColumnarValue::Scalar(ScalarValue::try_from_array(&logarithms, 0)?),
                false => ColumnarValue::Array(logarithms),
            }
        } else {
            self.inner.invoke_with_args(args)?
        };
        let results = cast(&result.to_array(rows)?, &DataType::Float64)?;
        let left = results.as_primitive::<Float64Type>().iter().take(rows).enumerate().any(|(row, result)| {
            let of_numbers =
                |(first, second): (f64, Option<f64>)| first.is_finite() && second.is_none_or(f64::is_finite);
            !result.is_none_or(f64::is_finite) && known(row).is_some_and(of_numbers)
        });
        if left { exec_err!("value out of range: overflow") } else { Ok(result) }
    }
}

/// Logarithms of numbers, to the base of ten where no other stands before them.
fn logarithms(first: &Float64Array, second: Option<&Float64Array>) -> Float64Array {
    match second {
        Some(numbers) => first.iter().zip(numbers).map(|(base, number)| Some(to_base(base?, number?))).collect(),
        None => first.unary(|number| to_base(10.0, number)),
    }
}

fn to_base(base: f64, number: f64) -> f64 {
    let near = if base == 10.0 {
        number.log10()
    } else if base == 2.0 {
        number.log2()
    } else {
        number.ln() / base.ln()
    };
    let whole = near.round();
    if base.powf(whole) == number { whole } else { near }
}

/// What is wrong with what a function is of, in the words of Postgres.
fn refused(name: &str, first: f64, second: Option<f64>) -> Option<&'static str> {
    let is_any = |wrong: fn(f64) -> bool| wrong(first) || second.is_some_and(wrong);
    match (name, second) {
        (POWER, Some(by)) if first < 0.0 && by.is_finite() && by.fract() != 0.0 => {
            Some("a negative number raised to a non-integer power yields a complex result")
        }
        (POWER | "exp", _) => None,
        _ if is_any(|number| number == 0.0) => Some("cannot take logarithm of zero"),
        _ if is_any(|number| number < 0.0) => Some("cannot take logarithm of a negative number"),
        // It is divided by the logarithm of the base.
        (_, Some(_)) if first == 1.0 => Some("division by zero"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::to_base;

    #[test]
    fn a_whole_logarithm_is_whole() {
        for (base, number, wanted) in [
            (10.0, 1_000.0, 3.0),
            (10.0, 1e15, 15.0),
            (10.0, 0.001, -3.0),
            (10.0, 1.0, 0.0),
            (2.0, 8.0, 3.0),
            (3.0, 243.0, 5.0),
            (7.0, 1.0 / 49.0, -2.0),
            (10.0, f64::INFINITY, f64::INFINITY),
        ] {
            assert_eq!(to_base(base, number).total_cmp(&wanted), std::cmp::Ordering::Equal, "{base} {number}");
        }
        assert!((to_base(10.0, 2.0) - std::f64::consts::LOG10_2).abs() < 1e-15);
    }
}
