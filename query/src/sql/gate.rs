//! What may be looked at while a file is read: conditions that cannot fail.
//!
//! The engine hands conditions to the reader of a file, which leaves out rows before their other columns are read. A condition that fails
//! there comes back as if the file could not be read, while it is the question that is wrong. So only what compares columns with each
//! other or with constants passes; everything else stays above, where its errors are its own.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion::{
    logical_expr::Operator,
    physical_expr::{
        PhysicalExpr, ScalarFunctionExpr,
        expressions::{
            BinaryExpr, CastExpr, Column, DynamicFilterPhysicalExpr, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr,
            Literal, NotExpr,
        },
    },
};

use super::pass::{Pass, PassExec};

/// Functions that have an answer to everything.
const TOTAL: &[&str] = &["tag", "lower", "upper", "starts_with"];

/// Over the rows of a file.
#[derive(Clone, Debug)]
pub(super) struct Gate;

pub(super) type GateExec = PassExec<Gate>;

impl Pass for Gate {
    const NAME: &'static str = "GateExec";

    fn lets_down(condition: &Arc<dyn PhysicalExpr>, schema: &Schema) -> bool {
        cannot_fail(condition, schema)
    }
}

/// Whether a condition has an answer for every row.
fn cannot_fail(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> bool {
    if !expr.children().into_iter().all(|part| cannot_fail(part, schema)) {
        return false;
    }
    if let Some(of) = expr.downcast_ref::<BinaryExpr>() {
        use Operator::{And, Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq, Or};
        return matches!(of.op(), And | Or | Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom);
    }
    if let Some(cast) = expr.downcast_ref::<CastExpr>() {
        return cast.expr().data_type(schema).is_ok_and(|from| is_alike(&from, cast.cast_type()));
    }
    if let Some(call) = expr.downcast_ref::<ScalarFunctionExpr>() {
        return TOTAL.contains(&call.name());
    }
    expr.is::<Column>()
        || expr.is::<Literal>()
        || expr.is::<NotExpr>()
        || expr.is::<IsNullExpr>()
        || expr.is::<IsNotNullExpr>()
        || expr.is::<InListExpr>()
        || expr.is::<LikeExpr>()
        // Made by the engine out of comparisons of its parts.
        || expr.is::<DynamicFilterPhysicalExpr>()
}

/// Whether each value of one type is one of the other, written otherwise.
fn is_alike(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        (DataType::Timestamp(from, Some(_)), DataType::Timestamp(to, Some(_))) => from == to,
        (from, to) => from == to || from.is_string() && to.is_string(),
    }
}
