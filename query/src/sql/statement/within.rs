//! What queries within a SELECT name: those of its expressions, and those of its FROM that see what stands before them.

use std::{collections::HashSet, iter, ops::ControlFlow};

use datafusion::sql::sqlparser::ast::{Expr, OrderBy, Query, Select, TableFactor, TableWithJoins, Visit, Visitor};

use super::named::known;

/// Whether an expression is, or asks of, a query.
pub(super) const fn is_query(expr: &Expr) -> bool {
    matches!(expr, Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. })
}

/// Whether a query within names something as one of these columns is called.
pub(super) fn are_named_within(names: HashSet<String>, select: &Select, order: Option<&OrderBy>) -> bool {
    if names.is_empty() {
        return false;
    }
    let mut find = Within { names, within: 0 };
    Visit::visit(&select.projection, &mut find).is_break()
        || Visit::visit(&select.selection, &mut find).is_break()
        || Visit::visit(&select.having, &mut find).is_break()
        || order.is_some_and(|order| Visit::visit(order, &mut find).is_break())
        || select.from.iter().flat_map(laterals).any(|query| Visit::visit(query, &mut find).is_break())
}

fn laterals(from: &TableWithJoins) -> impl Iterator<Item = &Query> {
    let factors = iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation));
    factors.filter_map(|factor| match factor {
        TableFactor::Derived { lateral: true, subquery, .. } => Some(subquery.as_ref()),
        _ => None,
    })
}

/// Looks for names in queries within.
struct Within {
    names: HashSet<String>,
    /// How deep it is in such queries.
    within: usize,
}

impl Visitor for Within {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.within += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.within -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(ident) if self.within > 0 && self.names.contains(&known(ident)) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}
