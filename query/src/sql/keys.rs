//! Keys of windows without names of their own, and keys of joins with one.
//!
//! Windows of the same keys are one step of a plan. What the engine reckons once for several places it calls in some of these as it was
//! called before, and in others, that have another name by then, not: the same keys differ, which it takes for a fault of its own.
//!
//! What two tables are joined by is reckoned beside their columns, and a cast is called as what it casts. The engine gives it a name of its
//! own there; functions of ours that stand for casts (`whole`, `timestamp`) have to have one as well.

use std::mem;

use datafusion::{
    common::{DFSchema, Result, tree_node::Transformed},
    logical_expr::{
        Expr, ExprSchemable, LogicalPlan,
        expr::{Alias, WindowFunction},
    },
};

/// A plan whose keys are called so. What each window is called stays.
pub(super) fn called(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Window(mut window) => {
            window.window_expr.iter_mut().for_each(unnamed);
            Ok(Transformed::yes(LogicalPlan::Window(window)))
        }
        LogicalPlan::Join(mut join) => {
            for (left, right) in &mut join.on {
                named(left, "left", join.left.schema())?;
                named(right, "right", join.right.schema())?;
            }
            Ok(Transformed::yes(LogicalPlan::Join(join)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(plan.data)
}

/// Gives what is reckoned a name that no column and no other key has.
fn named(key: &mut Expr, side: &str, schema: &DFSchema) -> Result<()> {
    if !matches!(key, Expr::Column(_) | Expr::Alias(_)) {
        let name = format!("{side} {key} {}", key.get_type(schema)?);
        *key = mem::take(key).alias(name);
    }
    Ok(())
}

fn unnamed(expr: &mut Expr) {
    match expr {
        Expr::Alias(Alias { expr, .. }) => {
            if let Expr::WindowFunction(function) = expr.as_mut() {
                bare(function);
            }
        }
        Expr::WindowFunction(_) => {
            let (relation, name) = expr.qualified_name();
            if let Expr::WindowFunction(function) = &mut *expr {
                bare(function);
            }
            if expr.qualified_name().1 != name {
                *expr = mem::take(expr).alias_qualified(relation, name);
            }
        }
        _ => {}
    }
}

fn bare(function: &mut WindowFunction) {
    let params = &mut function.params;
    let ordered = params.order_by.iter_mut().map(|by| &mut by.expr);
    for key in params.partition_by.iter_mut().chain(ordered) {
        *key = mem::take(key).unalias_nested().data;
    }
}
