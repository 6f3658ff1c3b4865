//! Keys of windows without names of their own.
//!
//! Windows of the same keys are one step of a plan. What the engine reckons once for several places it calls in some of these as it was
//! called before, and in others, that have another name by then, not: the same keys differ, which it takes for a fault of its own.

use std::mem;

use datafusion::{
    common::{Result, tree_node::Transformed},
    logical_expr::{
        Expr, LogicalPlan,
        expr::{Alias, WindowFunction},
    },
};

/// A plan whose windows have keys without names. What each window is called stays.
pub(super) fn unnamed(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::Window(mut window) = node else { return Ok(Transformed::no(node)) };
        for expr in &mut window.window_expr {
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
        Ok(Transformed::yes(LogicalPlan::Window(window)))
    })?;
    Ok(plan.data)
}

fn bare(function: &mut WindowFunction) {
    let params = &mut function.params;
    let ordered = params.order_by.iter_mut().map(|by| &mut by.expr);
    for key in params.partition_by.iter_mut().chain(ordered) {
        *key = mem::take(key).unalias_nested().data;
    }
}
