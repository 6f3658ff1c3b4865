//! Columns of unions of which one side has instants: what has no zone on the others is one of the session's
//! ([`Instants`](super::instant::Instants)). And those of which one side has floats: decimals on the others are floats too, as they are beside
//! each other elsewhere ([`beside`](super::beside)). So they are in the rows of VALUES, where two queries are joined by their columns, as
//! INTERSECT, EXCEPT and USING do it, and in `x IN (SELECT …)`.
//!
//! The engine would read a text in UTC, of a day and an instant it would make what clocks show, and of a float a decimal. A union that begins
//! with NULL would have no type for one around it. It looks at expressions one by one, and so the whole plan is looked through.

use std::{mem, sync::Arc};

use arrow::datatypes::DataType;
use datafusion::{
    common::{DFSchema, Result, tree_node::Transformed},
    logical_expr::{
        Expr, ExprSchemable, Join, LogicalPlan, LogicalPlanBuilder, Projection, Union, Values, cast as cast_to,
        utils::merge_schema,
    },
};

use super::{
    beside::{float_of, in_float, is_decimal},
    instant::Instants,
    steps,
};

/// A plan whose unions are of such columns.
pub(super) fn united(plan: LogicalPlan, instants: &Instants) -> Result<LogicalPlan> {
    steps::each(plan, |node, changed| match node {
        LogicalPlan::Union(union) => settled(union, instants, changed),
        LogicalPlan::Values(values) => listed(values),
        LogicalPlan::Join(join) => paired(join).transform_data(|join| sought(join, instants)),
        node => sought(node, instants),
    })
}

/// A union of such columns, which are of other types than it was planned with if there was one below it.
fn settled(mut union: Union, instants: &Instants, is_below: bool) -> Result<Transformed<LogicalPlan>> {
    let mut changed = is_below;
    for at in 0..union.schema.fields().len() {
        let kinds = || union.inputs.iter().filter_map(move |input| kind_of(input, at));
        let instant = kinds().find(|kind| matches!(kind, DataType::Timestamp(_, Some(_))));
        let clock = || kinds().find(|kind| matches!(kind, DataType::Timestamp(_, None)));
        // The type of the first is that of the union.
        let known = || kinds().find(|kind| !kind.is_null()).filter(|_| kinds().next().is_some_and(DataType::is_null));
        let kind = instant.or_else(clock).cloned().or_else(|| float_of(kinds())).or_else(|| known().cloned());
        let Some(kind) = kind else { continue };
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
    let Some(known) = kind_of(input, at) else { return Ok(None) };
    let (is_null, is_float) = (known.is_null(), kind.is_floating());
    let stays = match kind {
        _ if is_null => false,
        DataType::Timestamp(..) => matches!(known, DataType::Timestamp(_, Some(_))),
        _ => !is_float || !is_decimal(known),
    };
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
    let settled = if is_null {
        Some(cast_to(own, kind.clone()))
    } else if is_float {
        Some(in_float(own, kind))
    } else {
        instants.settled(&own, kind, true, below.schema())?
    };
    let Some(settled) = settled else { return Ok(None) };
    *column = settled.alias_qualified(relation, name);
    Ok(Some(LogicalPlan::Projection(Projection::try_new(columns, below)?)))
}

/// Rows whose numbers are floats where one of a column is, which the engine has cast to a decimal by then.
fn listed(mut values: Values) -> Result<Transformed<LogicalPlan>> {
    let (mut changed, nothing) = (false, DFSchema::empty());
    for (at, field) in values.schema.fields().iter().enumerate().filter(|(_, field)| is_decimal(field.data_type())) {
        let column = values.values.iter().filter_map(|row| row.get(at));
        let kinds: Vec<DataType> =
            column.filter_map(|value| written(value, field.data_type()).get_type(&nothing).ok()).collect();
        let Some(float) = float_of(kinds.iter()) else { continue };
        for value in values.values.iter_mut().filter_map(|row| row.get_mut(at)) {
            let own = written(value, field.data_type()).clone();
            (*value, changed) = (in_float(own, &float), true);
        }
    }
    if !changed {
        return Ok(Transformed::no(LogicalPlan::Values(values)));
    }
    Ok(Transformed::yes(LogicalPlanBuilder::values(values.values)?.build()?))
}

/// A value as it was before it was cast to the type of its column.
fn written<'a>(value: &'a Expr, kind: &DataType) -> &'a Expr {
    match value {
        Expr::Cast(cast) if cast.field.data_type() == kind => &cast.expr,
        other => other,
    }
}

/// Whether one of two is a float and the other a decimal.
fn are_mixed(left: &DataType, right: &DataType) -> bool {
    (left.is_floating() && is_decimal(right)) || (is_decimal(left) && right.is_floating())
}

/// A join whose sides are compared as floats where one of them is.
fn paired(mut join: Join) -> Transformed<LogicalPlan> {
    let mut changed = false;
    for (left, right) in &mut join.on {
        let kinds = (left.get_type(&**join.left.schema()), right.get_type(&**join.right.schema()));
        if let (Ok(of_left), Ok(of_right)) = kinds
            && are_mixed(&of_left, &of_right)
        {
            for side in [left, right] {
                *side = in_float(mem::take(side), &DataType::Float64);
            }
            changed = true;
        }
    }
    if changed { Transformed::yes(LogicalPlan::Join(join)) } else { Transformed::no(LogicalPlan::Join(join)) }
}

/// A step of a plan in which the same is done of what is looked for in a query.
fn sought(node: LogicalPlan, instants: &Instants) -> Result<Transformed<LogicalPlan>> {
    if !steps::has(&node, |part| matches!(part, Expr::InSubquery(_) | Expr::SetComparison(_)))? {
        return Ok(Transformed::no(node));
    }
    let schema = merge_schema(&node.inputs());
    steps::parts(node, |part| in_floats(part, &schema, instants))
}

fn in_floats(mut part: Expr, schema: &DFSchema, instants: &Instants) -> Result<Transformed<Expr>> {
    let (of, within) = match &mut part {
        Expr::InSubquery(of) => (of.expr.as_mut(), &mut of.subquery.subquery),
        Expr::SetComparison(of) => (of.expr.as_mut(), &mut of.subquery.subquery),
        _ => return Ok(Transformed::no(part)),
    };
    let mut changed = false;
    if let (Ok(own), Some(kind)) = (of.get_type(schema), kind_of(within, 0).cloned())
        && are_mixed(&own, &kind)
    {
        if let Some(other) = side(within, 0, &DataType::Float64, instants)? {
            *within = Arc::new(other);
        }
        *of = in_float(mem::take(of), &DataType::Float64);
        changed = true;
    }
    Ok(if changed { Transformed::yes(part) } else { Transformed::no(part) })
}
