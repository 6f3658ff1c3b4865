//! Queries within others that name columns around them, put so that the engine joins them rightly, and refused where it would not.
//!
//! The engine makes a join of such a query, and groups what it sums by the columns of the equalities with what is around: of
//! `u.time::date = t.day` by `u.time`. So what is compared is a column of its own there. What is compared with `ANY` or `ALL` of a query is
//! called otherwise than what is around it, which the engine takes for each other where both are called alike.
//!
//! A join has no NULL for what has no partner in a `NOT IN`, nor the one row that a sum of nothing has in `EXISTS`, `IN` or `HAVING`.

use std::sync::Arc;

use datafusion::{
    common::{
        Column, Result,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    logical_expr::{
        BinaryExpr, Expr, Filter, LogicalPlan, LogicalPlanBuilder, Operator, Subquery,
        expr::{InSubquery, SetQuantifier},
        utils::{conjunction, split_conjunction_owned},
    },
};

use super::{error::QueryError, steps};

const NOT_IN: &str = "IN over a query that names columns around it stands in WHERE, joined by AND or OR, and NOT IN cannot be answered; write EXISTS or NOT EXISTS with an equality";
const SELECTED: &str =
    "ANY and ALL of a query stand in WHERE or HAVING; select what is compared, or the least or greatest of the query";
const SUM_IN: &str = "EXISTS and IN over a sum or count of a query that names columns around it cannot be answered; compare with the sum itself, as (SELECT count(*) …) > 0";
const HAVING: &str =
    "HAVING without GROUP BY in a query that names columns around it cannot be answered; use CASE in its SELECT";
const NOTHING: &str =
    "whether a sum is NULL cannot be asked within a query that names columns around it; ask it of that query";
const CONSTANT: &str = "a constant beside a sum in a LATERAL query cannot be answered; select it around that query";

/// The plan with such queries as the engine answers them rightly, or why it cannot.
pub(super) fn sound(plan: LogicalPlan) -> Result<LogicalPlan, QueryError> {
    let mut number = 0;
    let plan = plan.transform_up_with_subqueries(|node| {
        let compares = steps::has(&node, |part| matches!(part, Expr::SetComparison(_)))?;
        let node = if compares { steps::parts(node, compared)? } else { Transformed::no(node) };
        node.transform_data(|node| keyed_below(node, &mut number))
    })?;
    match refusal(&plan.data)? {
        Some(why) => Err(QueryError::Refused(why.into())),
        None => Ok(plan.data),
    }
}

/// What is compared with any or all of a query, by `IN` where that means the same, or with the query under a name of its own.
fn compared(expr: Expr) -> Result<Transformed<Expr>> {
    let Expr::SetComparison(mut of) = expr else { return Ok(Transformed::no(expr)) };
    let negated = match (of.op, of.quantifier) {
        (Operator::Eq, SetQuantifier::Any) => Some(false),
        (Operator::NotEq, SetQuantifier::All) => Some(true),
        _ => None,
    };
    if let Some(negated) = negated {
        return Ok(Transformed::yes(Expr::InSubquery(InSubquery::new(of.expr, of.subquery, negated))));
    }
    let columns = of.subquery.subquery.schema().columns().into_iter().take(1);
    let named = LogicalPlanBuilder::new_from_arc(Arc::clone(&of.subquery.subquery))
        .project(columns.map(|column| Expr::Column(column).alias("compared")).collect::<Vec<_>>())?
        .alias("compared")?;
    of.subquery.subquery = Arc::new(named.build()?);
    Ok(Transformed::yes(Expr::SetComparison(of)))
}

/// A sum over conditions that compare columns alone with what is around.
fn keyed_below(node: LogicalPlan, number: &mut usize) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Aggregate(of) = &node else { return Ok(Transformed::no(node)) };
    let input = LogicalPlan::clone(&of.input).transform_down(|below| match below {
        LogicalPlan::Filter(filter) => keyed(filter, number),
        LogicalPlan::Aggregate(_) => Ok(Transformed::new(below, false, TreeNodeRecursion::Jump)),
        other => Ok(Transformed::no(other)),
    })?;
    if !input.transformed {
        return Ok(Transformed::no(node));
    }
    Ok(Transformed::yes(node.with_new_exprs(node.expressions(), vec![input.data])?))
}

fn keyed(filter: Filter, number: &mut usize) -> Result<Transformed<LogicalPlan>> {
    let mut keys = Vec::new();
    let mut side = |own: Box<Expr>, other: &Expr| {
        let is_made = !matches!(*own, Expr::Column(_)) && !own.contains_outer() && !own.column_refs().is_empty();
        if !is_made || !other.contains_outer() {
            return own;
        }
        *number += 1;
        let name = format!("key {number}");
        keys.push(own.alias(&name));
        Box::new(Expr::Column(Column::new_unqualified(name)))
    };
    let conditions: Vec<Expr> = split_conjunction_owned(filter.predicate.clone())
        .into_iter()
        .map(|condition| match condition {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
                let left = side(left, &right);
                let right = side(right, &left);
                Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right })
            }
            other => other,
        })
        .collect();
    let (Some(conditions), false) = (conjunction(conditions), keys.is_empty()) else {
        return Ok(Transformed::no(LogicalPlan::Filter(filter)));
    };
    let columns: Vec<Expr> = filter.input.schema().columns().into_iter().map(Expr::Column).collect();
    let beside: Vec<Expr> = columns.iter().cloned().chain(keys).collect();
    let plan = LogicalPlanBuilder::new_from_arc(filter.input).project(beside)?.filter(conditions)?.project(columns)?;
    Ok(Transformed::yes(plan.build()?))
}

/// Why the engine would not answer rightly.
fn refusal(plan: &LogicalPlan) -> Result<Option<&'static str>> {
    let mut found = None;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Subquery(of) = node {
            found = found.or(lateral(of));
        }
        let is_filter = matches!(node, LogicalPlan::Filter(_));
        node.apply_expressions(|expr| {
            let is_selected = !is_filter && expr.exists(|part| Ok(matches!(part, Expr::SetComparison(_))))?;
            found = found.or(is_selected.then_some(SELECTED)).or(refused(expr, is_filter)?);
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(found)
}

/// The same of an expression; of a condition NULL is as good as false as far as AND and OR go.
fn refused(expr: &Expr, is_condition: bool) -> Result<Option<&'static str>> {
    let mut found = match expr {
        Expr::InSubquery(of) if is_around(&of.subquery) && (of.negated || !is_condition) => Some(NOT_IN),
        Expr::InSubquery(InSubquery { subquery, .. }) if is_around(subquery) => sum(&subquery.subquery).map(|_| SUM_IN),
        Expr::Exists(of) if is_around(&of.subquery) => sum(&of.subquery.subquery).map(|_| SUM_IN),
        Expr::ScalarSubquery(of) if is_around(of) => having(of).or_else(|| nothing(of)),
        _ => None,
    };
    let goes_on = matches!(expr, Expr::BinaryExpr(of) if matches!(of.op, Operator::And | Operator::Or));
    expr.apply_children(|part| {
        found = found.or(refused(part, is_condition && goes_on)?);
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// Whether a query names columns around it.
fn is_around(query: &Subquery) -> bool {
    !query.outer_ref_columns.is_empty()
}

fn lateral(query: &Subquery) -> Option<&'static str> {
    if !is_around(query) {
        return None;
    }
    let is_constant = |steps: &Vec<&LogicalPlan>| {
        steps.iter().any(|step| match step {
            LogicalPlan::Projection(of) => of.expr.iter().any(|expr| expr.column_refs().is_empty()),
            _ => false,
        })
    };
    having(query).or_else(|| sum(&query.subquery).filter(is_constant).map(|_| CONSTANT))
}

fn having(query: &Subquery) -> Option<&'static str> {
    let is_filter = |step: &&LogicalPlan| matches!(step, LogicalPlan::Filter(_));
    sum(&query.subquery).filter(|steps| steps.iter().any(is_filter)).map(|_| HAVING)
}

/// Of a query that stands for a value: the engine puts NULL where no row was summed, whatever is asked of that.
fn nothing(query: &Subquery) -> Option<&'static str> {
    let asks = |expr: &Expr| expr.exists(|part| Ok(matches!(part, Expr::IsNull(_) | Expr::IsNotNull(_))));
    let is_asked = |step: &&LogicalPlan| match step {
        LogicalPlan::Projection(of) => of.expr.iter().any(|expr| asks(expr).unwrap_or(true)),
        _ => false,
    };
    sum(&query.subquery).filter(|steps| steps.iter().any(is_asked)).map(|_| NOTHING)
}

/// The steps above a sum without groups, if the plan is of one.
fn sum(plan: &LogicalPlan) -> Option<Vec<&LogicalPlan>> {
    let (mut node, mut steps) = (plan, Vec::new());
    loop {
        match node {
            LogicalPlan::Aggregate(of) => return of.group_expr.is_empty().then_some(steps),
            LogicalPlan::Projection(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Limit(_) => {
                steps.push(node);
                node = node.inputs().into_iter().next()?;
            }
            _ => return None,
        }
    }
}
