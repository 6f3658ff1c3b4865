//! `SELECT EXISTS (…)`: the engine knows that only as a condition of rows. Where it is shown it is whether their number is more than none.

use std::{mem, ops::ControlFlow};

use datafusion::sql::sqlparser::ast::{
    Expr, LimitClause, Query, Select, SetExpr, TableFactor, Value, ValueWithSpan, VisitMut, VisitorMut,
};

use super::columns::is_grouped;
use crate::sql::reading::rewrite::{taken, written};

/// Whether an expression is, or asks of, a query.
pub(super) const fn is_query(expr: &Expr) -> bool {
    matches!(expr, Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. })
}

/// Writes so what a SELECT shows. In queries within they are conditions, or shown by these.
pub(super) fn shown(select: &mut Select) {
    let _: ControlFlow<()> = VisitMut::visit(&mut select.projection, &mut Found::default());
}

#[derive(Default)]
struct Found {
    /// How deep it is in queries.
    within: usize,
}

impl VisitorMut for Found {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.within += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.within -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.within == 0
            && matches!(expr, Expr::Exists { .. })
            && let Expr::Exists { subquery, negated } = taken(expr)
        {
            *expr = counted(subquery, negated);
        }
        ControlFlow::Continue(())
    }
}

/// `EXISTS (SELECT … FROM t WHERE x)` → `(SELECT count(*) > 0 AS "exists" FROM t WHERE x)`, which may name tables around it, as it could not in
/// another query within FROM: that is where a query goes whose rows are not those that it reads.
fn counted(mut query: Box<Query>, negated: bool) -> Expr {
    let (is_so, name) = if negated { ("= 0", "?column?") } else { ("> 0", "exists") };
    let mut found =
        written(&format!("(SELECT count(*) {is_so} AS \"{name}\" FROM (SELECT 1 AS \"found\") AS \"found\")"));
    let Expr::Subquery(outer) = &mut found else { return found };
    let is_plain = is_plain(&query);
    if let SetExpr::Select(all) = outer.body.as_mut() {
        if is_plain && let SetExpr::Select(rows) = query.body.as_mut() {
            rows.projection = mem::take(&mut all.projection);
            outer.body = query.body;
        } else if let Some(TableFactor::Derived { subquery, .. }) = all.from.first_mut().map(|from| &mut from.relation)
        {
            *subquery = query;
        }
    }
    found
}

/// Whether a query has a row for each that it reads, or for the first of them.
fn is_plain(query: &Query) -> bool {
    let SetExpr::Select(select) = query.body.as_ref() else { return false };
    let is_limited = match &query.limit_clause {
        None => false,
        Some(LimitClause::LimitOffset {
            limit: Some(Expr::Value(ValueWithSpan { value: Value::Number(limit, _), .. })),
            offset: None,
            ..
        }) => !limit.parse().is_ok_and(|limit: u64| limit > 0),
        Some(_) => true,
    };
    let is_changed = query.with.is_some() || query.fetch.is_some() || select.distinct.is_some();
    !is_limited && !is_changed && select.having.is_none() && select.qualify.is_none() && !is_grouped(select)
}
