//! Keys of windows without names of their own, and keys of joins and of several sets of groups with one.
//!
//! Windows of the same keys are one step of a plan. What the engine reckons once for several places it calls in some of these as it was
//! called before, and in others, that have another name by then, not: the same keys differ, which it takes for a fault of its own.
//!
//! What two tables are joined by is reckoned beside their columns, and a cast is called as what it casts. The engine gives it a name of its
//! own there; functions of ours that stand for casts (`whole`, `timestamp`) have to have one as well.
//!
//! Where a key of a ROLLUP, a CUBE or GROUPING SETS is changed on the way to its types, the engine calls all of them together as they were
//! called before, and then finds none of them.

use std::mem;

use datafusion::{
    common::{DFSchema, Result, tree_node::Transformed},
    logical_expr::{
        Aggregate, Expr, ExprSchemable, GroupingSet, LogicalPlan,
        expr::{Alias, WindowFunction},
    },
};

/// A plan whose keys of several sets are called as they are now, whatever becomes of them.
pub(super) fn in_sets(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Aggregate(mut of) if of.group_expr.iter().any(|key| matches!(key, Expr::GroupingSet(_))) => {
            of.group_expr.iter_mut().for_each(kept);
            of.aggr_expr.iter_mut().for_each(asked);
            let of = Aggregate::try_new(of.input, of.group_expr, of.aggr_expr)?;
            Ok(Transformed::yes(LogicalPlan::Aggregate(of)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(plan.data)
}

/// Gives a key, or each of a set, its own name.
fn kept(key: &mut Expr) {
    match key {
        Expr::GroupingSet(GroupingSet::Rollup(keys) | GroupingSet::Cube(keys)) => keys.iter_mut().for_each(kept),
        Expr::GroupingSet(GroupingSet::GroupingSets(sets)) => sets.iter_mut().flatten().for_each(kept),
        Expr::Column(_) | Expr::Alias(_) => {}
        key => {
            let name = key.schema_name().to_string();
            *key = mem::take(key).alias(name);
        }
    }
}

/// The same of what `grouping` is asked of, which is found among them.
fn asked(sum: &mut Expr) {
    match sum {
        Expr::Alias(of) => asked(&mut of.expr),
        Expr::AggregateFunction(of) if of.func.name() == "grouping" => of.params.args.iter_mut().for_each(kept),
        _ => {}
    }
}

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
