//! Columns of unions of which one side has instants: what has no zone on the others is one of the session's
//! ([`Instants`](super::instant::Instants)). And those of which one side has floats: decimals on the others are floats too, as they are beside
//! each other elsewhere ([`beside`](super::beside)).
//!
//! The engine would read a text in UTC, of a day and an instant it would make what clocks show, and of a float a decimal. It looks at
//! expressions one by one, and so the whole plan is looked through.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::{
    common::{Result, tree_node::Transformed},
    logical_expr::{Expr, LogicalPlan, Projection, Union},
};

use super::{
    beside::{float_of, in_float, is_decimal},
    instant::Instants,
};

/// A plan whose unions are of such columns.
pub(super) fn united(plan: LogicalPlan, instants: &Instants) -> Result<LogicalPlan> {
    let mut changed = false;
    let done = plan.transform_up_with_subqueries(|node| {
        let node = match node {
            LogicalPlan::Union(union) => settled(union, instants, changed)?,
            node if changed => Transformed::yes(node.recompute_schema()?),
            node => Transformed::no(node),
        };
        changed |= node.transformed;
        Ok(node)
    })?;
    Ok(done.data)
}

/// A union of such columns, which are of other types than it was planned with if there was one below it.
fn settled(mut union: Union, instants: &Instants, is_below: bool) -> Result<Transformed<LogicalPlan>> {
    let mut changed = is_below;
    for at in 0..union.schema.fields().len() {
        let kinds = || union.inputs.iter().filter_map(move |input| kind_of(input, at));
        let instant = kinds().find(|kind| matches!(kind, DataType::Timestamp(_, Some(_))));
        let clock = || kinds().find(|kind| matches!(kind, DataType::Timestamp(_, None)));
        let Some(kind) = instant.or_else(clock).cloned().or_else(|| float_of(kinds())) else { continue };
        for input in &mut union.inputs {
            if let Some(other) = side(input, at, &kind, instants)? {
                (*input, changed) = (Arc::new(other), true);
            }
        }
    }
    if !changed {
        return Ok(Transformed::no(LogicalPlan::Union(union)));
    }
    Ok(Transformed::yes(LogicalPlan::Union(Union::try_new_with_loose_types(union.inputs)?)))
}

fn kind_of(input: &LogicalPlan, at: usize) -> Option<&DataType> {
    input.schema().fields().get(at).map(|field| field.data_type())
}

/// A side of a union with another column; nothing where it may stay as it is.
fn side(input: &LogicalPlan, at: usize, kind: &DataType, instants: &Instants) -> Result<Option<LogicalPlan>> {
    let Some(own) = kind_of(input, at) else { return Ok(None) };
    let stays = if kind.is_floating() { !is_decimal(own) } else { matches!(own, DataType::Timestamp(_, Some(_))) };
    if stays {
        return Ok(None);
    }
    let (mut columns, below): (Vec<Expr>, _) = match input {
        LogicalPlan::Projection(of) => (of.expr.clone(), Arc::clone(&of.input)),
        other => (other.schema().iter().map(Expr::from).collect(), Arc::new(other.clone())),
    };
    let Some(column) = columns.get_mut(at) else { return Ok(None) };
    let (relation, name) = column.qualified_name();
    let own = column.clone().unalias();
    let settled = match kind.is_floating() {
        true => Some(in_float(own, kind)),
        false => instants.settled(&own, kind, true, below.schema())?,
    };
    let Some(settled) = settled else { return Ok(None) };
    *column = settled.alias_qualified(relation, name);
    Ok(Some(LogicalPlan::Projection(Projection::try_new(columns, below)?)))
}
