//! Plans that are gone through step by step from below, and again from where the types of columns have changed.

use datafusion::{
    common::{
        Result,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    logical_expr::{Expr, LogicalPlan, expr_rewriter::NamePreserver},
};

/// A plan each step of which is what `step` makes of it, which is told whether one before it has become another. Every step after such a one
/// looks at its columns anew.
pub(super) fn each(
    plan: LogicalPlan,
    mut step: impl FnMut(LogicalPlan, bool) -> Result<Transformed<LogicalPlan>>,
) -> Result<LogicalPlan> {
    let mut changed = false;
    let done = plan.transform_up_with_subqueries(|node| {
        let node = step(node, changed)?;
        changed |= node.transformed;
        Ok(if changed { Transformed::yes(node.data.recompute_schema()?) } else { node })
    })?;
    Ok(done.data)
}

/// Whether an expression of a step, or a part of one, is such a one.
pub(super) fn has(node: &LogicalPlan, is_it: impl Fn(&Expr) -> bool) -> Result<bool> {
    let mut found = false;
    node.apply_expressions(|expr| {
        found |= expr.exists(|part| Ok(is_it(part)))?;
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// A step each part of whose expressions is what `part` makes of it. Columns are called as before.
pub(super) fn parts(
    node: LogicalPlan,
    mut part: impl FnMut(Expr) -> Result<Transformed<Expr>>,
) -> Result<Transformed<LogicalPlan>> {
    let names = NamePreserver::new(&node);
    node.map_expressions(|expr| {
        let name = names.save(&expr);
        let done = expr.transform_up(&mut part)?;
        Ok(done.update_data(|expr| name.restore(expr)))
    })
}
