//! Days and instants calculated with as Postgres does, in microseconds.
//!
//! A day and an interval are a time of the clock; the engine would leave the interval's hours out. What is between two instants is so
//! in whatever zone each is shown. The engine calculates with nanoseconds itself (`now()`, literals, bins, series): answers have none.

use std::{mem, sync::Arc};

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::{
    common::{DFSchema, Result, config::ConfigOptions, tree_node::Transformed},
    logical_expr::{
        BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, Operator, Projection,
        expr_rewriter::FunctionRewrite,
        planner::{ExprPlanner, PlannerResult, RawBinaryExpr},
    },
    sql::sqlparser::ast::BinaryOperator,
};

use super::scaled::since_midnight;

/// Makes the sides of `+` and `-` fit each other: as a statement is planned, since types are asked for at once, and again for what became
/// known or was put into a zone after that.
#[derive(Debug)]
pub(super) struct Fit;

impl ExprPlanner for Fit {
    fn plan_binary_op(&self, mut expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let op = match expr.op {
            BinaryOperator::Plus => Operator::Plus,
            BinaryOperator::Minus => Operator::Minus,
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let is_clock = matches!(expr.right.get_type(schema), Ok(DataType::Time32(_) | DataType::Time64(_)));
        if is_clock && matches!(expr.left.get_type(schema), Ok(DataType::Timestamp(..))) {
            expr.right = since_midnight(mem::take(&mut expr.right));
        }
        fit(&mut expr.left, op, &mut expr.right, schema);
        Ok(PlannerResult::Original(expr))
    }
}

impl FunctionRewrite for Fit {
    fn name(&self) -> &'static str {
        "fit"
    }

    fn rewrite(&self, mut expr: Expr, schema: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        let changed = match &mut expr {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => fit(left, *op, right, schema),
            _ => false,
        };
        Ok(if changed { Transformed::yes(expr) } else { Transformed::no(expr) })
    }
}

/// Whether something had to be done. The right side is asked first: a chain is long on the left.
fn fit(left: &mut Expr, op: Operator, right: &mut Expr, schema: &DFSchema) -> bool {
    use DataType::{Date32, Date64, Interval, Timestamp};
    if !matches!(op, Operator::Plus | Operator::Minus) {
        return false;
    }
    let Ok(second) = right.get_type(schema) else { return false };
    if !matches!(second, Date32 | Date64 | Interval(_) | Timestamp(_, Some(_))) {
        return false;
    }
    let Ok(first) = left.get_type(schema) else { return false };
    match (&first, &second) {
        (Date32 | Date64, Interval(_)) => put(left, micros(None)),
        (Interval(_), Date32 | Date64) if op == Operator::Plus => put(right, micros(None)),
        (Timestamp(_, Some(_)), Timestamp(_, Some(_))) if op == Operator::Minus && first != second => {
            let utc = micros(Some("UTC".into()));
            put(left, utc.clone());
            put(right, utc);
        }
        _ => return false,
    }
    true
}

fn put(expr: &mut Expr, kind: DataType) {
    *expr = Expr::Cast(Cast::new(Box::new(mem::take(expr)), kind));
}

const fn micros(zone: Option<Arc<str>>) -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, zone)
}

/// A plan whose times are of microseconds.
pub(super) fn in_micros(plan: LogicalPlan) -> Result<LogicalPlan> {
    let is_other = |kind: &DataType| matches!(kind, DataType::Timestamp(unit, _) if *unit != TimeUnit::Microsecond);
    if !plan.schema().fields().iter().any(|field| is_other(field.data_type())) {
        return Ok(plan);
    }
    let shown = plan.schema().iter().map(|(relation, field)| {
        let column = Expr::from((relation, field));
        match field.data_type() {
            kind @ DataType::Timestamp(_, zone) if is_other(kind) => {
                let cast = Expr::Cast(Cast::new(Box::new(column), micros(zone.clone())));
                cast.alias_qualified(relation.cloned(), field.name())
            }
            _ => column,
        }
    });
    let shown: Vec<Expr> = shown.collect();
    Ok(LogicalPlan::Projection(Projection::try_new(shown, Arc::new(plan))?))
}
