//! Whole numbers of others, as Postgres casts them: decimals to the nearest, halves away from zero; floats to the nearest, halves to the
//! even one, and so `round` does of a float. The engine would cut them off, and round halves of floats away from zero. What does not fit is
//! an error.
//!
//! And decimals of others with more places. The engine rounds them as Postgres does, but takes such a cast away where it is compared with a
//! constant, as if it lost nothing: `cost_usd::numeric(10, 2) = 0.01` would find what costs a cent and nothing else.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, Decimal128Array, Float32Array, Float64Array},
    compute::cast_with_options,
    datatypes::{DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, Float32Type, Float64Type},
};
use datafusion::{
    common::{
        DFSchema, Result, ScalarValue, config::ConfigOptions, exec_err, format::DEFAULT_CAST_OPTIONS,
        tree_node::Transformed,
    },
    functions::utils::make_scalar_function,
    logical_expr::{
        ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
        expr_rewriter::FunctionRewrite, lit,
    },
};

use super::shape::as_cast;

/// Says how many decimals `round` leaves in the 32 bits that the engine wants, before types are settled. Of a number that has yet to be
/// cast to these it knows nothing: the type of what is rounded would be another once that is done, and what it is compared with would
/// have been fitted to the first.
#[derive(Debug)]
pub(super) struct Places;

impl FunctionRewrite for Places {
    fn name(&self) -> &'static str {
        "places"
    }

    fn rewrite(&self, mut expr: Expr, _: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        if let Expr::ScalarFunction(call) = &mut expr
            && call.func.name() == "round"
            && let [_, places] = call.args.as_mut_slice()
            && let Some(number) = written(places)
        {
            *places = lit(number);
            return Ok(Transformed::yes(expr));
        }
        Ok(Transformed::no(expr))
    }
}

/// A number as it is written, or came for a parameter, whatever integer it is cast to.
fn written(places: &Expr) -> Option<i32> {
    match places {
        Expr::Literal(number, _) if number.data_type().is_integer() => match number.cast_to(&DataType::Int32) {
            Ok(ScalarValue::Int32(number)) => number,
            _ => None,
        },
        Expr::Cast(cast) if cast.field.data_type().is_integer() => written(&cast.expr),
        _ => None,
    }
}

/// Rounds what is cast to an integer, or to a decimal of fewer places, and floats. For what is of settled types.
#[derive(Debug)]
pub(super) struct Rounds;

impl FunctionRewrite for Rounds {
    fn name(&self) -> &'static str {
        "rounds"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        let (of, to) = match &expr {
            Expr::Cast(cast) if is_exact(cast.field.data_type()) => {
                (cast.expr.as_ref(), cast.field.data_type().clone())
            }
            Expr::ScalarFunction(call) if call.func.name() == "round" => match call.args.as_slice() {
                [of] if is_float(&of.get_type(schema)?) => (of, of.get_type(schema)?),
                _ => return Ok(Transformed::no(expr)),
            },
            _ => return Ok(Transformed::no(expr)),
        };
        let loses = match (of.get_type(schema)?, &to) {
            (DataType::Decimal128(_, places), DataType::Decimal128(_, left)) => *left < places,
            (DataType::Decimal128(_, places), _) => places > 0,
            // The engine makes decimals of floats.
            (kind, to) => is_float(&kind) && !to.is_decimal(),
        };
        if !loses {
            return Ok(Transformed::no(expr));
        }
        Ok(Transformed::yes(ScalarUDF::from(Whole { to }).call(vec![of.clone()])))
    }
}

fn is_exact(kind: &DataType) -> bool {
    kind.is_integer() || matches!(kind, DataType::Decimal128(..))
}

const fn is_float(kind: &DataType) -> bool {
    matches!(kind, DataType::Float32 | DataType::Float64)
}

/// What the function is called.
pub(super) const WHOLE: &str = "whole";

#[derive(Debug, PartialEq, Eq, Hash)]
struct Whole {
    to: DataType,
}

impl ScalarUDFImpl for Whole {
    as_cast!(WHOLE);

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.to.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        make_scalar_function(
            |arrays| {
                let [value] = arrays else { return exec_err!("one number is rounded") };
                let rounded = if self.to.is_decimal() { Arc::clone(value) } else { rounded(value)? };
                Ok(cast_with_options(&rounded, &self.to, &DEFAULT_CAST_OPTIONS)?)
            },
            Vec::new(),
        )(&args.args)
    }
}

fn rounded(numbers: &ArrayRef) -> Result<ArrayRef> {
    Ok(match numbers.data_type() {
        DataType::Float32 => {
            let rounded: Float32Array = numbers.as_primitive::<Float32Type>().unary(f32::round_ties_even);
            Arc::new(rounded)
        }
        DataType::Float64 => {
            let rounded: Float64Array = numbers.as_primitive::<Float64Type>().unary(f64::round_ties_even);
            Arc::new(rounded)
        }
        DataType::Decimal128(_, scale) => {
            let unit = u32::try_from(*scale).ok().and_then(|scale| 10_i128.checked_pow(scale)).unwrap_or(1);
            let rounded: Decimal128Array = numbers.as_primitive::<Decimal128Type>().unary(|part| nearest(part, unit));
            Arc::new(rounded.with_precision_and_scale(DECIMAL128_MAX_PRECISION, 0)?)
        }
        _ => Arc::clone(numbers),
    })
}

/// How often a unit is in a number; half of one counts.
fn nearest(number: i128, unit: i128) -> i128 {
    let (whole, rest) = (number / unit, number % unit);
    if rest.abs() >= unit - rest.abs() { whole + number.signum() } else { whole }
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn halves_are_away_from_zero() {
        for (number, wanted) in [(250, 3), (-250, -3), (249, 2), (-249, -2), (0, 0), (50, 1), (-50, -1), (300, 3)] {
            assert_eq!(nearest(number, 100), wanted, "{number}");
        }
    }
}
