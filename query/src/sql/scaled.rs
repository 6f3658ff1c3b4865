//! An interval times a number, and divided by one, as Postgres reckons: what is left of a month is of thirty days, and of a day of 24 hours.
//!
//! So is what is between two times, as whole days and a time. The engine has no such operators, so they are functions from the beginning: what a statement is planned with asks for its types at once.

use std::sync::Arc;

use arrow::{
    array::{AsArray, IntervalMonthDayNanoArray},
    datatypes::{DataType, Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, TimeUnit},
    error::ArrowError,
};
use datafusion::{
    common::{DFSchema, Result, ScalarValue, exec_datafusion_err, exec_err, plan_err},
    functions::utils::make_scalar_function,
    logical_expr::{
        ColumnarValue, Expr, ExprSchemable, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
        Volatility, lit,
        planner::{ExprPlanner, PlannerResult, RawBinaryExpr},
    },
    sql::sqlparser::ast::BinaryOperator,
};

use super::{
    functions::chain_name,
    parts::{epoch, in_micros},
};

const SPAN: DataType = DataType::Interval(IntervalUnit::MonthDayNano);
const MONTH_DAYS: f64 = 30.0;
const DAY_SECONDS: f64 = 86_400.0;

/// Plans `*` and `/` of an interval and a number.
#[derive(Debug)]
pub(super) struct Scale;

impl ExprPlanner for Scale {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let divides = match expr.op {
            BinaryOperator::Multiply => false,
            BinaryOperator::Divide => true,
            _ => return Ok(PlannerResult::Original(expr)),
        };
        if !is_interval(&expr.left, schema) && (divides || !is_interval(&expr.right, schema)) {
            return Ok(PlannerResult::Original(expr));
        }
        let scaled = Scaled { divides, signature: Signature::user_defined(Volatility::Immutable) };
        Ok(PlannerResult::Planned(ScalarUDF::from(scaled).call(vec![expr.left, expr.right])))
    }
}

/// What a clock shows, as an interval since midnight.
pub(super) fn since_midnight(clock: Expr) -> Expr {
    let second = ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(0, 0, 1_000_000_000)));
    let scaled = Scaled { divides: false, signature: Signature::user_defined(Volatility::Immutable) };
    ScalarUDF::from(scaled).call(vec![epoch(clock), lit(second)])
}

/// Whether an expression is an interval, or a difference of times. No other operators make one, and a long chain of them is not asked for its type at each.
fn is_interval(expr: &Expr, schema: &DFSchema) -> bool {
    match expr {
        Expr::BinaryExpr(of) if !matches!(of.op, Operator::Plus | Operator::Minus) => false,
        other => matches!(other.get_type(schema), Ok(DataType::Interval(_) | DataType::Duration(_))),
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Scaled {
    divides: bool,
    signature: Signature,
}

impl ScalarUDFImpl for Scaled {
    fn name(&self) -> &str {
        if self.divides { "/" } else { "*" }
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(chain_name(self.name(), args))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let is_number = |kind: &DataType| kind.is_numeric() || kind.is_null();
        let wrong = plan_err!("an interval is multiplied with a number, or divided by one");
        match types {
            [left, right] => match (span_of(left), span_of(right)) {
                (Some(span), None) if is_number(right) => Ok(vec![span, DataType::Float64]),
                (None, Some(span)) if is_number(left) && !self.divides => Ok(vec![DataType::Float64, span]),
                _ => wrong,
            },
            _ => wrong,
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(SPAN)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        make_scalar_function(
            |arrays| {
                let [left, right] = arrays else { return exec_err!("an interval and a number are multiplied") };
                let (spans, numbers) =
                    if *left.data_type() == DataType::Float64 { (right, left) } else { (left, right) };
                let spans = in_micros(spans)?;
                let numbers = numbers.as_primitive::<Float64Type>();
                let mut results = IntervalMonthDayNanoArray::builder(left.len());
                for (span, by) in spans.as_primitive::<IntervalMonthDayNanoType>().iter().zip(numbers) {
                    let (Some(span), Some(by)) = (span, by) else {
                        results.append_null();
                        continue;
                    };
                    if self.divides && by == 0.0 {
                        return Err(ArrowError::DivideByZero.into());
                    }
                    let result =
                        if self.divides { scaled(span, |part| part / by) } else { scaled(span, |part| part * by) };
                    results.append_value(result.ok_or_else(|| exec_datafusion_err!("interval out of range"))?);
                }
                let results = results.finish();
                Ok(Arc::new(results))
            },
            Vec::new(),
        )(&args.args)
    }
}

/// What is calculated with in the place of an interval or a difference; nothing of other types.
const fn span_of(kind: &DataType) -> Option<DataType> {
    match kind {
        DataType::Interval(_) => Some(SPAN),
        DataType::Duration(_) => Some(DataType::Duration(TimeUnit::Microsecond)),
        _ => None,
    }
}

/// An interval with each of its parts changed; nothing where that is too long.
fn scaled(span: IntervalMonthDayNano, change: impl Fn(f64) -> f64) -> Option<IntervalMonthDayNano> {
    let (months, days) = (change(span.months.into()), change(span.days.into()));
    let more = rounded(months.fract() * MONTH_DAYS);
    let seconds = rounded((days.fract() + more.fract()) * DAY_SECONDS);
    // Two parts of a day may be a day and more.
    let whole_days = (seconds / DAY_SECONDS).trunc();
    let micros = change(span.nanoseconds as f64 / 1e3) + (seconds - whole_days * DAY_SECONDS) * 1e6;
    let micros = micros.round_ties_even();
    let days = days.trunc() + more.trunc() + whole_days;
    // What is no number is not less either.
    let nanos = if micros.abs() < 9.2e15 { (micros as i64).checked_mul(1_000)? } else { return None };
    Some(IntervalMonthDayNano::new(whole(months)?, whole(days)?, nanos))
}

/// To millionths, as far as what is calculated with floats is meant.
fn rounded(part: f64) -> f64 {
    (part * 1e6).round_ties_even() / 1e6
}

fn whole(part: f64) -> Option<i32> {
    (part.abs() <= f64::from(i32::MAX)).then_some(part.trunc() as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answers are those of Postgres.
    #[test]
    fn parts_that_are_left_are_of_the_next_smaller_unit() {
        const HOUR: i64 = 3_600_000_000_000;
        let check = |(months, days, nanos): (i32, i32, i64), by: f64, wanted: Option<(i32, i32, i64)>| {
            let span = IntervalMonthDayNano::new(months, days, nanos);
            let wanted = wanted.map(|(months, days, nanos)| IntervalMonthDayNano::new(months, days, nanos));
            assert_eq!(scaled(span, |part| part * by), wanted, "{span:?} times {by}");
        };
        check((0, 1, 0), -1.0, Some((0, -1, 0)));
        check((0, 0, HOUR / 4), 3.0, Some((0, 0, HOUR / 4 * 3)));
        check((1, 0, 0), 0.5, Some((0, 15, 0)));
        check((1, 0, 0), 1.25, Some((1, 7, 12 * HOUR)));
        check((0, 1, 0), 1.5, Some((0, 1, 12 * HOUR)));
        check((1, 1, 0), 0.75, Some((0, 23, 6 * HOUR)));
        check((0, 0, 1_000_000_000), 1_793_491_200.0, Some((0, 0, 1_793_491_200_000_000_000)));
        check((0, 0, 1_000_000_000), 1e10, None);
        check((1, 0, 0), 1e10, None);
        check((0, 1, 0), f64::NAN, None);
    }
}
