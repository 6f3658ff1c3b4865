//! Numbers of rows and ranks, as whole numbers with a sign, as counts are: the engine's have none, and go beyond what clients know as integers.

use arrow::datatypes::DataType;
use datafusion::{
    common::Result,
    logical_expr::{
        Expr, cast as cast_to,
        expr::{WindowFunction, WindowFunctionParams},
        planner::{ExprPlanner, PlannerResult, RawWindowExpr},
    },
};

/// The window functions that number rows.
const NUMBER: &[&str] = &["row_number", "rank", "dense_rank", "ntile"];

/// Plans them.
#[derive(Debug)]
pub(super) struct Ranked;

impl ExprPlanner for Ranked {
    fn plan_window(&self, of: RawWindowExpr) -> Result<PlannerResult<RawWindowExpr>> {
        if !NUMBER.contains(&of.func_def.name()) {
            return Ok(PlannerResult::Original(of));
        }
        let params = WindowFunctionParams {
            args: of.args,
            partition_by: of.partition_by,
            order_by: of.order_by,
            window_frame: of.window_frame,
            filter: of.filter,
            null_treatment: of.null_treatment,
            distinct: of.distinct,
        };
        let number = Expr::from(WindowFunction { fun: of.func_def, params });
        Ok(PlannerResult::Planned(cast_to(number, DataType::Int64)))
    }
}
