//! How large expressions become when queries are put into each other.
//!
//! `SELECT x || x AS x FROM (SELECT x || x AS x FROM …)` doubles at each level, and the optimizer writes the result out
//! before anything is run or counted. So each column's size, once written out, is added up on the plan and bounded.

use datafusion::{
    common::{Column, Result},
    logical_expr::{Expr, LogicalPlan},
};

use super::error::refused;

/// The largest expression that a column may come to, in references to columns.
const MAX_SIZE: u64 = 10_000;

/// Refuses a plan with a column that is too large when written out.
pub(crate) fn check(plan: &LogicalPlan) -> Result<()> {
    sizes(plan).map(|_| ())
}

/// By output column, how many references it comes to.
fn sizes(plan: &LogicalPlan) -> Result<Vec<u64>> {
    let mut inputs = Vec::new();
    for input in plan.inputs() {
        inputs.extend(sizes(input)?);
    }
    let columns = plan.schema().fields().len();
    let LogicalPlan::Projection(projection) = plan else {
        // Groups and windows begin anew; everything else passes its columns on, or some of them.
        inputs.resize(columns, 1);
        return Ok(inputs);
    };
    let input = projection.input.schema();
    let size = |column: &Column| {
        let index = input.maybe_index_of_column(column);
        index.and_then(|index| inputs.get(index)).copied().unwrap_or(1)
    };
    projection.expr.iter().map(|expr| written_out(expr, &size)).collect()
}

fn written_out(expr: &Expr, size: &impl Fn(&Column) -> u64) -> Result<u64> {
    let mut total = 1_u64;
    for (column, times) in expr.column_refs_counts() {
        total = total.saturating_add(size(column).saturating_mul(times as u64));
    }
    if total > MAX_SIZE {
        return refused("the expressions of nested queries repeat each other too often");
    }
    Ok(total)
}
