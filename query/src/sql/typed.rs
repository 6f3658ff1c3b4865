//! Parameters that are calculated with or compared, of the types that Postgres takes them for.
//!
//! The engine takes each for the same as what stands beside it: it would add a time to a time, take a decimal of other digits somewhere else for
//! a second type of one parameter, and know nothing of what an interval is multiplied with, which is a function here.

use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field};
use datafusion::{
    common::{DFSchema, Result},
    logical_expr::{
        Expr, ExprSchemable,
        planner::{ExprPlanner, PlannerResult, RawBinaryExpr},
    },
    sql::sqlparser::ast::BinaryOperator,
};

use super::lengths::SPAN;

/// A decimal of which nothing more is known; that of a value has its own digits. What is compared with a column is of its type, by which
/// clients of Flight make it.
pub(super) const NUMERIC: DataType = DataType::Decimal128(DECIMAL128_MAX_PRECISION, 18);

/// Says of what type a parameter is.
#[derive(Debug)]
pub(super) struct Typed;

impl ExprPlanner for Typed {
    /// Before anybody else asks what the sides are.
    fn plan_binary_op(&self, mut of: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let beside = match (&of.left, &of.right) {
            (Expr::Placeholder(_), Expr::Placeholder(_)) => None,
            (Expr::Placeholder(_), other) | (other, Expr::Placeholder(_)) => other.get_type(schema).ok(),
            _ => None,
        };
        if let Some(kind) = beside.and_then(|beside| of_other(&of.op, &beside)) {
            for side in [&mut of.left, &mut of.right] {
                if let Expr::Placeholder(parameter) = side {
                    parameter.field.get_or_insert_with(|| Arc::new(Field::new("", kind.clone(), true)));
                }
            }
        }
        Ok(PlannerResult::Original(of))
    }
}

/// The type of what is calculated or compared with something of another type; nothing where it is the same.
fn of_other(op: &BinaryOperator, beside: &DataType) -> Option<DataType> {
    use BinaryOperator::{Divide, Eq, Gt, GtEq, Lt, LtEq, Minus, Modulo, Multiply, NotEq, Plus};
    match (beside, op) {
        (DataType::Decimal128(..), Plus | Minus | Multiply | Divide | Modulo) => Some(NUMERIC),
        (DataType::Timestamp(..), Plus) => Some(SPAN),
        (DataType::Interval(_) | DataType::Duration(_), Multiply | Divide) => Some(DataType::Float64),
        // What clients know of a span of time is an interval.
        (DataType::Duration(_), Eq | NotEq | Lt | LtEq | Gt | GtEq) => Some(SPAN),
        _ => None,
    }
}
