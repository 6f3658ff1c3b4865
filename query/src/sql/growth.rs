//! What a plan may not ask for, since the engine would make it before it counts anything.
//!
//! `SELECT x || x AS x FROM (SELECT x || x AS x FROM …)` doubles at each level, and the optimizer writes the result out
//! before anything is run or counted. So each column's size, once written out, is added up on the plan and bounded.

use datafusion::{
    common::{
        Column, Result,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    logical_expr::{Expr, LogicalPlan},
};

use super::{error::refused, functions, joined};

/// The largest expression that a column may come to, in references to columns.
const MAX_SIZE: u64 = 10_000;

/// The most calls of functions that make text longer: 64 × 16 MiB a batch = 1 GiB.
const MAX_GROWING: usize = 64;

/// Refuses a plan with a column that is too large when written out, with types of no known size, or with too much new text.
pub(crate) fn check(plan: &LogicalPlan) -> Result<()> {
    calls(plan)?;
    sizes(plan).map(|_| ())
}

/// Refuses what single expressions may not be, and too many of those that make text longer.
pub(crate) fn calls(plan: &LogicalPlan) -> Result<()> {
    let mut growing = 0;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                growing += usize::from(match part {
                    Expr::ScalarFunction(call) => functions::grows(&call.func),
                    Expr::AggregateFunction(call) => call.func.name() == joined::NAME,
                    _ => false,
                });
                allowed(part).map(|()| TreeNodeRecursion::Continue)
            })
        })
    })?;
    if growing > MAX_GROWING {
        return refused(format!("a query may have {MAX_GROWING} calls that make text longer; this one has {growing}"));
    }
    Ok(())
}

fn allowed(part: &Expr) -> Result<()> {
    match part {
        Expr::Cast(cast) if cast.field.data_type().is_nested() => refused("arrays, maps and structs are not supported"),
        Expr::TryCast(cast) if cast.field.data_type().is_nested() => {
            refused("arrays, maps and structs are not supported")
        }
        // Room for all of them would be taken at once.
        Expr::AggregateFunction(call) => {
            let most = match call.func.name() {
                "approx_percentile_cont" => 2,
                "approx_percentile_cont_with_weight" => 3,
                _ => return Ok(()),
            };
            if call.params.args.len() > most {
                return refused(format!("{} takes no number of centroids here", call.func.name()));
            }
            Ok(())
        }
        _ => Ok(()),
    }
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
