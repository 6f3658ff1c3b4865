//! Intervals told apart and put in order by how long they are, as Postgres does: a month is of 30 days, and a day of 24 hours.
//!
//! The engine compares months, days and what is shorter one after another, so that 36 hours would be less than a day. Here what compares
//! them compares their lengths, as numbers. Groups and distinct rows of intervals are refused: which one of those that are equal would be
//! shown nobody could say. Durations, which are what is between two instants, are numbers to the engine, and right beside each other.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, Decimal128Array},
    compute::cast,
    datatypes::{
        DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
        IntervalUnit,
    },
};
use datafusion::{
    common::{DFSchema, Result, ScalarValue, config::ConfigOptions, exec_err, tree_node::Transformed},
    functions::utils::make_scalar_function,
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, Distinct, Expr, ExprSchemable, LogicalPlan,
        ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, WindowFunctionDefinition, cast as cast_to,
        expr_rewriter::FunctionRewrite,
        function::AccumulatorArgs,
        lit,
        planner::{ExprPlanner, PlannerResult, RawBinaryExpr},
    },
    optimizer::analyzer::AnalyzerRule,
    sql::sqlparser::ast::BinaryOperator,
};

use super::{beside::compared, error::refused, interval::in_units, shape::as_cast};

pub(super) const SPAN: DataType = DataType::Interval(IntervalUnit::MonthDayNano);
/// In nanoseconds: 2³¹ months and as many days are less than 10²⁵.
const LENGTH: DataType = DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0);
const DAY_NANOS: i128 = 86_400_000_000_000;
const MONTH_DAYS: i128 = 30;

pub(super) fn length_of(span: IntervalMonthDayNano) -> i128 {
    let days = i128::from(span.months) * MONTH_DAYS + i128::from(span.days);
    days * DAY_NANOS + i128::from(span.nanoseconds)
}

/// Takes a quoted constant that is compared with an interval, or with what is between two instants, for an interval; and so one that is added
/// to these or to a time, or taken from an interval.
#[derive(Debug)]
pub(super) struct Quoted;

impl ExprPlanner for Quoted {
    fn plan_binary_op(&self, mut of: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, Minus, NotEq, Plus};
        if !matches!(of.op, Eq | NotEq | Lt | LtEq | Gt | GtEq | Plus | Minus) {
            return Ok(PlannerResult::Original(of));
        }
        let is_text = |expr: &Expr| matches!(expr, Expr::Literal(text, _) if text.data_type().is_string());
        let is_long = |expr: &Expr| match expr.get_type(schema) {
            Ok(DataType::Interval(_) | DataType::Duration(_)) => true,
            Ok(DataType::Timestamp(..)) => of.op == Plus,
            _ => false,
        };
        if is_text(&of.right) && is_long(&of.left) {
            of.right = span(of.right);
        } else if is_text(&of.left) && is_long(&of.right) {
            of.left = span(of.left);
        }
        Ok(PlannerResult::Original(of))
    }
}

/// A quoted constant as an interval.
fn span(text: Expr) -> Expr {
    let units = match &text {
        Expr::Literal(text, _) => text.try_as_str().flatten().and_then(in_units),
        _ => None,
    };
    cast_to(units.map_or(text, lit), SPAN)
}

/// Puts the length in the place of an interval where it is compared, once types are settled; and in windows before that, since the
/// engine would refuse their frames.
#[derive(Debug)]
pub(super) struct Compared {
    /// Whether types are settled.
    pub(super) settled: bool,
}

impl FunctionRewrite for Compared {
    fn name(&self) -> &'static str {
        "lengths"
    }

    fn rewrite(&self, mut expr: Expr, schema: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        if !self.settled && !matches!(expr, Expr::WindowFunction(_)) {
            return Ok(Transformed::no(expr));
        }
        let longest = |function: &AggregateUDF, args: &[Expr]| {
            let is_max = match function.name() {
                "max" => true,
                "min" => false,
                _ => return None,
            };
            args.iter().any(|arg| is_span(arg, schema)).then(|| extreme(is_max))
        };
        let sides = match &mut expr {
            Expr::AggregateFunction(of) => {
                if let Some(ours) = longest(&of.func, &of.params.args) {
                    of.func = ours;
                    return Ok(Transformed::yes(expr));
                }
                let counted = of.params.distinct && of.func.name() == "count";
                let args = of.params.args.iter_mut().filter(|_| counted);
                Some(args.chain(of.params.order_by.iter_mut().map(|key| &mut key.expr)).collect())
            }
            Expr::WindowFunction(of) => {
                if let WindowFunctionDefinition::AggregateUDF(function) = &of.fun
                    && let Some(ours) = longest(function, &of.params.args)
                {
                    of.fun = WindowFunctionDefinition::AggregateUDF(ours);
                }
                let keys = of.params.order_by.iter_mut().map(|key| &mut key.expr);
                Some(of.params.partition_by.iter_mut().chain(keys).collect())
            }
            Expr::InSubquery(of) if is_span(&of.expr, schema) => {
                return refused("an interval is not looked for in a subquery: look for extract(epoch from …)");
            }
            Expr::ScalarFunction(of)
                if ["nullif", "greatest", "least"].contains(&of.func.name())
                    && of.args.iter().any(|arg| is_span(arg, schema)) =>
            {
                return refused(format!("{} takes no intervals: write a CASE", of.func.name()));
            }
            compares => compared(compares),
        };
        let Some(sides) = sides else { return Ok(Transformed::no(expr)) };
        // Each key of an order is by itself; what is compared with each other is of one type.
        let mut changed = false;
        for side in sides {
            if is_span(side, schema) {
                (*side, changed) = (length(std::mem::take(side)), true);
            }
        }
        // A window may have got another function.
        let is_window = matches!(expr, Expr::WindowFunction(_));
        Ok(if changed || is_window { Transformed::yes(expr) } else { Transformed::no(expr) })
    }
}

fn is_span(expr: &Expr, schema: &DFSchema) -> bool {
    matches!(expr.get_type(schema), Ok(DataType::Interval(_)))
}

fn length(of: Expr) -> Expr {
    ScalarUDF::from(Length).call(vec![of])
}

/// Puts rows in order by the lengths of intervals, and refuses to tell rows apart by them.
#[derive(Debug)]
pub(super) struct Ordered;

impl AnalyzerRule for Ordered {
    fn name(&self) -> &'static str {
        "ordered by lengths"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(ordered).map(|done| done.data)
    }
}

fn ordered(mut plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let is_interval = |kind: &DataType| matches!(kind, DataType::Interval(_));
    let tells_apart = match &mut plan {
        LogicalPlan::Sort(sort) => {
            let mut changed = false;
            for key in &mut sort.expr {
                if is_span(&key.expr, sort.input.schema()) {
                    (key.expr, changed) = (length(std::mem::take(&mut key.expr)), true);
                }
            }
            return Ok(if changed { Transformed::yes(plan) } else { Transformed::no(plan) });
        }
        LogicalPlan::Aggregate(of) => {
            let groups = of.group_expr_len()?;
            of.schema.fields().iter().take(groups).any(|field| is_interval(field.data_type()))
        }
        LogicalPlan::Distinct(Distinct::All(input)) => {
            input.schema().fields().iter().any(|field| is_interval(field.data_type()))
        }
        LogicalPlan::Distinct(Distinct::On(of)) => of.on_expr.iter().any(|key| is_span(key, of.input.schema())),
        LogicalPlan::Join(of) => of.on.iter().any(|(left, _)| is_span(left, of.left.schema())),
        _ => false,
    };
    match tells_apart {
        true => {
            refused("intervals are no groups: some that are written otherwise are equal; take extract(epoch from …)")
        }
        false => Ok(Transformed::no(plan)),
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Length;

impl ScalarUDFImpl for Length {
    as_cast!("length of interval");

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(LENGTH)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        make_scalar_function(
            |arrays| {
                let [value] = arrays else { return exec_err!("an interval has a length") };
                let spans = cast(value, &SPAN)?;
                let lengths: Decimal128Array =
                    spans.as_primitive::<IntervalMonthDayNanoType>().unary::<_, Decimal128Type>(length_of);
                let lengths = lengths.with_precision_and_scale(DECIMAL128_MAX_PRECISION, 0)?;
                Ok(Arc::new(lengths))
            },
            Vec::new(),
        )(&args.args)
    }
}

/// `max` or `min` of intervals.
fn extreme(is_max: bool) -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(Extreme { is_max, signature: Signature::any(1, Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Extreme {
    is_max: bool,
    signature: Signature,
}

impl AggregateUDFImpl for Extreme {
    /// Not what it stands for: by that name the engine would leave rows out before, as it compares intervals.
    fn name(&self) -> &str {
        if self.is_max { "longest" } else { "shortest" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(SPAN)
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Found { is_max: self.is_max, best: None }))
    }
}

/// The longest interval until now, or the shortest.
#[derive(Debug)]
struct Found {
    is_max: bool,
    best: Option<IntervalMonthDayNano>,
}

impl Accumulator for Found {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [spans] = values else { return exec_err!("one interval is compared at a time") };
        let spans = cast(spans, &SPAN)?;
        for span in spans.as_primitive::<IntervalMonthDayNanoType>().iter().flatten() {
            let is_better = self.best.is_none_or(|best| match self.is_max {
                true => length_of(span) > length_of(best),
                false => length_of(span) < length_of(best),
            });
            if is_better {
                self.best = Some(span);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::IntervalMonthDayNano(self.best))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_postgres() {
        const HOUR: i64 = 3_600_000_000_000;
        let check = |(months, days, nanos): (i32, i32, i64), wanted: i128| {
            assert_eq!(length_of(IntervalMonthDayNano::new(months, days, nanos)), wanted);
        };
        check((0, 1, 0), 24 * i128::from(HOUR));
        check((1, 0, 0), 720 * i128::from(HOUR));
        check((1, -30, HOUR), HOUR.into());
        check((-1, 31, -25 * HOUR), -i128::from(HOUR));
        check((i32::MAX, i32::MAX, i64::MAX), 5_751_829_423_496_836_854_775_807);
    }
}
