//! `LATERAL (SELECT … FROM usage u WHERE u.tenant = b.tenant ORDER BY u.time DESC LIMIT 1)`: the first rows for each row before it.
//!
//! The engine joins no query that names columns of a table around it and has a LIMIT. Here its rows are numbered, for each value that they
//! are joined by, and those are joined whose number is low enough: `(SELECT … FROM (SELECT …, row_number() OVER (PARTITION BY u.tenant ORDER BY
//! u.time DESC) … FROM usage u) WHERE … = b.tenant AND … <= 1)`. That needs a query over tables which names others in equalities of its WHERE
//! alone, all by their tables; any other stays as it is, and is refused once it is planned.

use std::{collections::HashSet, iter, mem, ops::ControlFlow};

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, Ident, LimitClause, ObjectNamePart, OrderBy, OrderByExpr, OrderByKind, Query,
    Select, SelectItem, SetExpr, TableFactor, Value, ValueWithSpan, Visit, WindowType, visit_expressions,
};

use super::{
    columns::{is_grouped, meant},
    found::is_query,
    merged::{Shown, binary, item_of, of_table},
    named::{Columns, Scope, known},
    standard::joined,
};
use crate::sql::reading::rewrite::written;

/// What the query is called in the one that takes of it, and the number of a row in it.
const RANKED: &str = "ranked";
const NUMBER: &str = "number of a row";

/// Numbers the rows of a query that is joined with each row before it, if it has a LIMIT and is one of those.
pub(super) fn ranked(query: &mut Query, scope: &Scope) {
    if let Some(ranked) = Ranked::of(query, scope) {
        ranked.put(query);
    }
}

/// What has to be known of such a query.
struct Ranked {
    /// How many rows are left out, and the number of the last one that is taken.
    skipped: u64,
    last: u64,
    order: Vec<OrderByExpr>,
    /// What its rows are joined by: of theirs, and of the row before it.
    keys: Vec<(Expr, Expr)>,
    /// Its other conditions.
    conditions: Vec<Expr>,
}

impl Ranked {
    fn of(query: &Query, scope: &Scope) -> Option<Self> {
        let Query { with: None, body, order_by, limit_clause: Some(limit), fetch: None, .. } = query else {
            return None;
        };
        let SetExpr::Select(select) = body.as_ref() else { return None };
        let LimitClause::LimitOffset { limit: Some(limit), offset, .. } = limit else { return None };
        let is_plain = select.distinct.is_none() && select.having.is_none() && select.qualify.is_none();
        if !is_plain || is_grouped(select) {
            return None;
        }
        let skipped = offset.as_ref().map_or(Some(0), |offset| whole(&offset.value))?;
        let last = skipped.checked_add(whole(limit)?)?;
        let own = Own { tables: tables(select)?, columns: scope.of_all(&select.from) };
        let order = ordered(order_by.as_ref(), &select.projection)?;
        if !own.all(&select.projection) || !own.all(&select.from) || order.iter().any(|by| !own.all(&by.expr)) {
            return None;
        }
        let (mut all, mut keys, mut conditions) = (Vec::new(), Vec::new(), Vec::new());
        parted(select.selection.as_ref()?, &mut all);
        for condition in all {
            match condition {
                condition if own.all(condition) => conditions.push(condition.clone()),
                Expr::BinaryOp { left, op: BinaryOperator::Eq, right } if own.all(left) && own.none(right) => {
                    keys.push((left.as_ref().clone(), right.as_ref().clone()));
                }
                Expr::BinaryOp { left, op: BinaryOperator::Eq, right } if own.none(left) && own.all(right) => {
                    keys.push((right.as_ref().clone(), left.as_ref().clone()));
                }
                _ => return None,
            }
        }
        (!keys.is_empty()).then_some(Self { skipped, last, order, keys, conditions })
    }

    /// Puts the query into one that takes of its rows.
    fn put(self, query: &mut Query) {
        let mut around = written(&format!("(SELECT 1 FROM (SELECT 1) AS \"{RANKED}\")"));
        let Expr::Subquery(outer) = &mut around else { return };
        let (SetExpr::Select(taking), SetExpr::Select(select)) = (outer.body.as_mut(), query.body.as_mut()) else {
            return;
        };
        let mut numbered = written("row_number() OVER ()");
        if let Expr::Function(Function { over: Some(WindowType::WindowSpec(window)), .. }) = &mut numbered {
            window.partition_by = self.keys.iter().map(|(own, _)| own.clone()).collect();
            window.order_by = self.order;
        }
        let ranked = [Ident::with_quote('"', RANKED)];
        let compared = |op: BinaryOperator, number: u64| {
            binary(of_table(&ranked, NUMBER), op, Expr::Value(Value::Number(number.to_string(), false).into()))
        };
        let mut taken = vec![compared(BinaryOperator::Gt, self.skipped), compared(BinaryOperator::LtEq, self.last)];
        let mut hidden = vec![NUMBER.to_owned()];
        select.projection.push(named(numbered, NUMBER));
        for (at, (own, other)) in self.keys.into_iter().enumerate() {
            let name = format!("key {at}");
            taken.push(binary(of_table(&ranked, &name), BinaryOperator::Eq, other));
            select.projection.push(named(own, &name));
            hidden.push(name);
        }
        let conditions = self.conditions;
        select.selection = (!conditions.is_empty()).then(|| joined(conditions, &BinaryOperator::And));
        (query.order_by, query.limit_clause) = (None, None);
        taking.projection = vec![item_of(&Shown::All(ranked.to_vec(), hidden))];
        taking.selection = Some(joined(taken, &BinaryOperator::And));
        if let Some(TableFactor::Derived { subquery, .. }) = taking.from.first_mut().map(|from| &mut from.relation) {
            mem::swap(subquery.as_mut(), query);
            mem::swap(query, outer.as_mut());
        }
    }
}

fn named(expr: Expr, name: &str) -> SelectItem {
    SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', name) }
}

/// The tables of a query, by their names, and all of their columns as far as they are known.
struct Own {
    tables: HashSet<String>,
    columns: Option<Columns>,
}

impl Own {
    /// Whether all that is named is of these tables.
    fn all(&self, part: &impl Visit) -> bool {
        self.is_each(part, true)
    }

    /// Whether all of it is of others.
    fn none(&self, part: &impl Visit) -> bool {
        self.is_each(part, false)
    }

    fn is_each(&self, part: &impl Visit, own: bool) -> bool {
        let is_so = |part: &Expr| match part {
            Expr::Identifier(name) => {
                own && self.columns.as_ref().is_some_and(|columns| columns.contains(&known(name)))
            }
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [.., table, _] => self.tables.contains(&known(table)) == own,
                _ => false,
            },
            // A window is of the rows of one value alone; and what is compared with NULL as well is not grouped yet (`regroup`).
            Expr::Function(function) => function.over.is_none(),
            Expr::IsDistinctFrom(..) | Expr::IsNotDistinctFrom(..) => false,
            part => !is_query(part),
        };
        let each = |part: &Expr| if is_so(part) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
        visit_expressions(part, each).is_continue()
    }
}

/// The tables of a query that reads nothing else.
fn tables(select: &Select) -> Option<HashSet<String>> {
    let factors = select
        .from
        .iter()
        .flat_map(|from| iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)));
    let name = |factor: &TableFactor| match factor {
        TableFactor::Table { alias: Some(alias), args: None, .. } => Some(known(&alias.name)),
        TableFactor::Table { name, args: None, .. } => name.0.last().and_then(ObjectNamePart::as_ident).map(known),
        _ => None,
    };
    factors.map(name).collect()
}

/// What rows are ordered by, where it is a column that is shown by what that is.
fn ordered(order: Option<&OrderBy>, shown: &[SelectItem]) -> Option<Vec<OrderByExpr>> {
    let Some(order) = order else { return Some(Vec::new()) };
    let OrderByKind::Expressions(keys) = &order.kind else { return None };
    let is_wild = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
    let all = shown.iter().any(is_wild);
    let by = |key: &OrderByExpr| {
        let of = meant(&key.expr, shown);
        let is_found = !matches!(key.expr, Expr::Value(_)) || (!all && *of != key.expr);
        is_found.then(|| OrderByExpr { expr: of.clone(), ..key.clone() })
    };
    keys.iter().map(by).collect()
}

/// The conditions that all have to hold.
fn parted<'a>(condition: &'a Expr, all: &mut Vec<&'a Expr>) {
    match condition {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            parted(left, all);
            parted(right, all);
        }
        Expr::Nested(of) => parted(of, all),
        condition => all.push(condition),
    }
}

fn whole(expr: &Expr) -> Option<u64> {
    match expr {
        Expr::Value(ValueWithSpan { value: Value::Number(number, _), .. }) => number.parse().ok(),
        _ => None,
    }
}
