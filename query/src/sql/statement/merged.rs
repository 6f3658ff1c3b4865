//! `a JOIN b USING (x)`: one column `x`, which is that of either side where there is a row.
//!
//! The engine's is that of the left side, or in `*` that of the table whose name comes first, and so NULL where only the other side has a
//! row; and it finds two of it in a condition, where a table after it is joined by it again, and where a query within names it. So a join is
//! written with ON here, and its column as the standard says what it is, wherever the query names it; those of `*` stand first. A NATURAL join
//! is one by all that both sides have. Where it cannot be told which table has the column ([`named`](super::named)) an outer join is refused, and
//! one whose columns `*` shows; others are left to the engine.

use std::{collections::HashSet, mem, ops::ControlFlow};

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, ExcludeSelectItem, Expr, Ident, Join, JoinConstraint, JoinOperator, ObjectName, ObjectNamePart,
    OrderBy, OrderByKind, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableFactor, VisitMut,
    VisitorMut, WildcardAdditionalOptions,
};

use super::{
    MAX_OPERATORS,
    labels::shown_as,
    named::{Columns, Scope, known},
};
use crate::sql::reading::rewrite::{call, taken};

const UNKNOWN: &str = "which table of a join with USING has its column cannot be told here: write ON a.x = b.x, and a.x, or of an \
                       outer join coalesce(a.x, b.x), in the place of x";

const OFTEN: &str = "a statement names columns of joins with USING too often: name them once, in a query within FROM";

const NATURAL: &str = "the columns of a NATURAL join cannot be told here: write USING (…) with them";

/// Writes out the columns of joins with USING, where it can be told whose they are.
#[derive(Default)]
pub(super) struct Joins {
    scope: Scope,
}

impl VisitorMut for Joins {
    type Break = String;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<String> {
        self.scope.enter(query);
        match query.body.as_mut() {
            SetExpr::Select(select) => written_out(select, query.order_by.as_mut(), &self.scope),
            _ => ControlFlow::Continue(()),
        }
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<String> {
        self.scope.leave();
        ControlFlow::Continue(())
    }

    /// That of a UNION: in the one of a query nothing is left to do.
    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<String> {
        written_out(select, None, &self.scope)
    }
}

fn written_out(select: &mut Select, mut order: Option<&mut OrderBy>, scope: &Scope) -> ControlFlow<String> {
    let all = select.projection.iter().any(|item| matches!(item, SelectItem::Wildcard(_)));
    let (mut loses, mut joins) = (false, false);
    for from in &mut select.from {
        loses |= from.joins.iter_mut().any(|join| is_lost(join, all));
        joins |= from.joins.iter_mut().any(is_by_name);
        let within = is_lost_within(&mut from.relation, all);
        if within || from.joins.iter_mut().any(|join| is_lost_within(&mut join.relation, all)) {
            return stop(UNKNOWN);
        }
    }
    if loses {
        return by_on(select, order, scope);
    }
    if !joins {
        return ControlFlow::Continue(());
    }
    // What cannot be told here the engine may know, or it says that it is ambiguous.
    let whole = (select.clone(), order.as_deref().cloned());
    match by_on(select, order.as_deref_mut(), scope) {
        ControlFlow::Break(why) if why != OFTEN => {
            *select = whole.0;
            if let (Some(order), Some(whole)) = (order, whole.1) {
                *order = whole;
            }
            ControlFlow::Continue(())
        }
        done => done,
    }
}

/// Writes the joins of a SELECT with ON.
fn by_on(select: &mut Select, order: Option<&mut OrderBy>, scope: &Scope) -> ControlFlow<String> {
    let mut froms = mem::take(&mut select.from);
    let mut sides = Sides::of(scope);
    for from in &mut froms {
        let mut own = Sides::of(scope);
        sides.put_within(&mut from.relation)?;
        own.add(table(&from.relation)?, scope.of_factor(&from.relation), Vec::new());
        for join in &mut from.joins {
            sides.put_within(&mut join.relation)?;
            own.put_within(&mut join.relation)?;
            own.join(join)?;
        }
        sides.tables.extend(own.tables);
        sides.shown.extend(own.shown);
        sides.columns.extend(own.columns);
    }
    sides.name(&mut select.projection)?;
    if let Some(OrderByKind::Expressions(list)) = order.map(|order| &mut order.kind) {
        for by in list {
            sides.order(&mut by.expr, &select.projection)?;
        }
    }
    sides.put(select)?;
    select.from = froms;
    ControlFlow::Continue(())
}

fn stop<T>(why: &str) -> ControlFlow<String, T> {
    ControlFlow::Break(why.to_owned())
}

/// Whose rows a join keeps, though the other side has none for them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keeps {
    None,
    Left,
    Right,
    Both,
}

fn parts(operator: &mut JoinOperator) -> Option<(Keeps, &mut JoinConstraint)> {
    Some(match operator {
        JoinOperator::Join(on) | JoinOperator::Inner(on) | JoinOperator::CrossJoin(on) => (Keeps::None, on),
        JoinOperator::Left(on) | JoinOperator::LeftOuter(on) => (Keeps::Left, on),
        JoinOperator::Right(on) | JoinOperator::RightOuter(on) => (Keeps::Right, on),
        JoinOperator::FullOuter(on) => (Keeps::Both, on),
        _ => return None,
    })
}

/// Whether the engine would take a column of a join from the wrong side, or show it in another place, where `*` stands among what is asked
/// for or not.
fn is_lost(join: &mut Join, all: bool) -> bool {
    parts(&mut join.join_operator).is_some_and(|(keeps, on)| {
        let is_one = matches!(on, JoinConstraint::Using(_) | JoinConstraint::Natural);
        let is_moved = all && matches!(on, JoinConstraint::Using(_));
        is_moved || (is_one && (matches!(keeps, Keeps::Right | Keeps::Both) || (keeps == Keeps::Left && all)))
    })
}

/// Whether tables are joined by columns that both have.
fn is_by_name(join: &mut Join) -> bool {
    let constraint = parts(&mut join.join_operator).map(|(_, on)| on);
    matches!(constraint, Some(JoinConstraint::Using(_) | JoinConstraint::Natural))
}

fn is_lost_within(factor: &mut TableFactor, all: bool) -> bool {
    let TableFactor::NestedJoin { table_with_joins: within, .. } = factor else { return false };
    within.joins.iter_mut().any(|join| is_lost(join, all) || is_lost_within(&mut join.relation, all))
        || is_lost_within(&mut within.relation, all)
}

/// The name of what stands in FROM.
fn table(factor: &TableFactor) -> ControlFlow<String, Vec<Ident>> {
    let name = match factor {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
            Some(vec![alias.name.clone()])
        }
        TableFactor::Table { name, .. } => name.0.iter().map(|part| part.as_ident().cloned()).collect(),
        _ => None,
    };
    name.map_or_else(|| stop(UNKNOWN), ControlFlow::Continue)
}

/// A column of a table.
pub(super) fn of_table(table: &[Ident], column: &str) -> Expr {
    let column = Ident::with_quote('"', column);
    Expr::CompoundIdentifier(table.iter().cloned().chain([column]).collect())
}

pub(super) fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

/// A part of what `*` stands for.
pub(super) enum Shown {
    /// A column of a join.
    One(String, Box<Expr>),
    /// The columns of a table, without these.
    All(Vec<Ident>, Vec<String>),
}

/// What the tables of FROM have together.
struct Sides<'a> {
    scope: &'a Scope,
    /// The tables, and their columns where these are known.
    tables: Vec<(Vec<Ident>, Option<Columns>)>,
    shown: Vec<Shown>,
    /// The columns of joins, and what each is: the first of these that is something.
    columns: Vec<(String, Vec<Expr>)>,
}

fn first_of(all: &[Expr]) -> Expr {
    match all {
        [one] => one.clone(),
        all => call("coalesce", all.iter().cloned()),
    }
}

impl<'a> Sides<'a> {
    const fn of(scope: &'a Scope) -> Self {
        Self { scope, tables: Vec::new(), shown: Vec::new(), columns: Vec::new() }
    }

    fn column(&self, name: &str) -> Option<&[Expr]> {
        self.columns.iter().find(|(known, _)| known == name).map(|(_, of)| of.as_slice())
    }

    /// The one of the tables that were joined so far which has a column; nothing where that is not known.
    fn owner(&self, name: &str) -> Option<&[Ident]> {
        if let [(table, _)] = self.tables.as_slice() {
            return Some(table);
        }
        let mut owner = None;
        for (table, columns) in &self.tables {
            if columns.as_ref()?.iter().any(|own| own == name) && owner.replace(table.as_slice()).is_some() {
                return None;
            }
        }
        owner
    }

    /// A column of what was joined so far.
    fn left(&self, name: &str) -> ControlFlow<String, Vec<Expr>> {
        match (self.column(name), self.owner(name)) {
            (Some(of), _) => ControlFlow::Continue(of.to_vec()),
            (None, Some(table)) => ControlFlow::Continue(vec![of_table(table, name)]),
            (None, None) => stop(UNKNOWN),
        }
    }

    /// The columns that what was joined so far has together with a table; nothing where that is not known, or one of them stands twice.
    fn common(&self, has: Option<&Columns>) -> Option<Vec<String>> {
        let has = has?;
        let mut common = Vec::new();
        for part in &self.shown {
            match part {
                Shown::One(name, _) => common.push(name.clone()),
                Shown::All(table, without) => {
                    let (_, columns) = self.tables.iter().find(|(known, _)| known == table)?;
                    common.extend(columns.as_ref()?.iter().filter(|name| !without.contains(name)).cloned());
                }
            }
        }
        common.retain(|name| has.contains(name));
        let different = common.iter().collect::<HashSet<_>>().len();
        (different == common.len()).then_some(common)
    }

    fn join(&mut self, join: &mut Join) -> ControlFlow<String> {
        let (right, has) = (table(&join.relation)?, self.scope.of_factor(&join.relation));
        let Some((keeps, constraint)) = parts(&mut join.join_operator) else { return stop(UNKNOWN) };
        let names = match &mut *constraint {
            JoinConstraint::None => Some(Vec::new()),
            JoinConstraint::On(on) => {
                self.put(on)?;
                self.add(right, has, Vec::new());
                return ControlFlow::Continue(());
            }
            JoinConstraint::Natural => match self.common(has.as_ref()) {
                None => return stop(NATURAL),
                names => names,
            },
            JoinConstraint::Using(names) => {
                names.iter().map(|name| name.0.last().and_then(ObjectNamePart::as_ident).map(known)).collect()
            }
        };
        let Some(names) = names else { return stop(UNKNOWN) };
        let (mut on, mut columns) = (None, Vec::new());
        for name in names {
            let (mut of, other) = (self.left(&name)?, of_table(&right, &name));
            let same = binary(first_of(&of), BinaryOperator::Eq, other.clone());
            on = Some(match on.take() {
                Some(before) => binary(before, BinaryOperator::And, same),
                None => same,
            });
            match keeps {
                Keeps::None | Keeps::Left => {}
                Keeps::Right => of = vec![other],
                Keeps::Both => of.push(other),
            }
            columns.push((name, of));
        }
        *constraint = on.map_or(JoinConstraint::None, JoinConstraint::On);
        self.add(right, has, columns);
        ControlFlow::Continue(())
    }

    /// Adds a table: the columns that it was joined by stand first, and once.
    fn add(&mut self, right: Vec<Ident>, has: Option<Columns>, columns: Vec<(String, Vec<Expr>)>) {
        let names: Vec<String> = columns.iter().map(|(name, _)| name.clone()).collect();
        let new = names.iter().filter(|name| self.column(name).is_none());
        let owned: Vec<(Vec<Ident>, String)> =
            new.filter_map(|name| Some((self.owner(name)?.to_vec(), name.clone()))).collect();
        let mut shown: Vec<Shown> =
            columns.iter().map(|(name, of)| Shown::One(name.clone(), Box::new(first_of(of)))).collect();
        for mut part in self.shown.drain(..) {
            if matches!(&part, Shown::One(name, _) if names.contains(name)) {
                continue;
            }
            if let Shown::All(table, without) = &mut part {
                without.extend(owned.iter().filter(|(owner, _)| *owner == *table).map(|(_, name)| name.clone()));
            }
            shown.push(part);
        }
        shown.push(Shown::All(right.clone(), names.clone()));
        self.shown = shown;
        self.tables.push((right, has));
        self.columns.retain(|(name, _)| !names.contains(name));
        self.columns.extend(columns);
    }

    /// Puts the columns in the place of their names, within queries too where these have none of that name.
    fn put(&self, place: &mut impl VisitMut) -> ControlFlow<String> {
        VisitMut::visit(place, &mut Put { sides: self, within: Vec::new(), left: MAX_OPERATORS })
    }

    /// The same in a LATERAL query.
    fn put_within(&self, factor: &mut TableFactor) -> ControlFlow<String> {
        match factor {
            TableFactor::Derived { lateral: true, subquery, .. } => self.put(subquery.as_mut()),
            _ => ControlFlow::Continue(()),
        }
    }

    /// Writes out `*`, and names the columns of joins, of which none has the name of another column.
    fn name(&self, projection: &mut Vec<SelectItem>) -> ControlFlow<String> {
        let all_of = |item: &SelectItem| match item {
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                let last = name.0.last().and_then(ObjectNamePart::as_ident).map(known);
                let table = self.tables.iter().find(|(table, _)| table.last().map(known) == last);
                Some(table.and_then(|(_, columns)| columns.clone()))
            }
            _ => None,
        };
        // What is shown of whole tables, as far as it is known, keeps its name.
        let beside: Vec<Option<Columns>> = projection.iter().filter_map(all_of).collect();
        let is_beside =
            |name: &String| beside.iter().any(|columns| columns.as_ref().is_none_or(|columns| columns.contains(name)));
        let mut written = Vec::new();
        for item in mem::take(projection) {
            match item {
                SelectItem::Wildcard(_) => written.extend(self.shown.iter().map(item_of)),
                item => written.push(item),
            }
        }
        let is_ours = |item: &SelectItem| match item {
            SelectItem::UnnamedExpr(Expr::Identifier(ident)) => self.column(&known(ident)).is_some(),
            _ => false,
        };
        if written.iter().filter(|item| is_ours(item)).count() > MAX_OPERATORS {
            return stop(OFTEN);
        }
        let mut used: HashSet<String> = written.iter().filter(|item| !is_ours(item)).filter_map(shown_as).collect();
        for item in &mut written {
            if !is_ours(item) {
                continue;
            }
            if let SelectItem::UnnamedExpr(expr) = item
                && let Expr::Identifier(ident) = &*expr
            {
                let name = known(ident);
                let first = if is_beside(&name) { 2 } else { 1 };
                let mut free = (first..).map(|at: u32| if at == 1 { name.clone() } else { format!("{name}_{at}") });
                let alias = Ident::with_quote('"', free.find(|name| used.insert(name.clone())).unwrap_or_default());
                *item = SelectItem::ExprWithAlias { expr: taken(expr), alias };
            }
        }
        *projection = written;
        ControlFlow::Continue(())
    }

    /// A column that rows are ordered by: one that is shown by this name, or one of a join. The engine knows by its name alone what has
    /// another name than its column.
    fn order(&self, by: &mut Expr, projection: &[SelectItem]) -> ControlFlow<String> {
        let Expr::Identifier(ident) = &*by else { return self.put(by) };
        let name = known(ident);
        let Some(of) = self.column(&name).map(first_of) else { return ControlFlow::Continue(()) };
        let is_its = |shown: &Expr| match shown {
            Expr::CompoundIdentifier(parts) => parts.last().is_some_and(|last| known(last) == name),
            _ => false,
        };
        let instead = match projection.iter().find(|item| shown_as(item).as_ref() == Some(&name)) {
            None => Some(of),
            Some(SelectItem::UnnamedExpr(shown) | SelectItem::ExprWithAlias { expr: shown, .. }) => {
                let is_one = matches!(shown, Expr::Identifier(ident) if known(ident) == name);
                Some(if is_one { of } else { shown.clone() }).filter(is_its)
            }
            Some(_) => None,
        };
        if let Some(instead) = instead {
            *by = instead;
        }
        ControlFlow::Continue(())
    }
}

/// A part of `*` by itself.
pub(super) fn item_of(shown: &Shown) -> SelectItem {
    let part = ObjectNamePart::Identifier;
    match shown {
        Shown::One(name, of) => {
            SelectItem::ExprWithAlias { expr: of.as_ref().clone(), alias: Ident::with_quote('"', name.clone()) }
        }
        Shown::All(table, without) => {
            let table = ObjectName(table.iter().cloned().map(part).collect());
            let without = without.iter().map(|name| ObjectName(vec![part(Ident::with_quote('"', name.clone()))]));
            let without: Vec<ObjectName> = without.collect();
            let opt_exclude = (!without.is_empty()).then_some(ExcludeSelectItem::Multiple(without));
            let options = WildcardAdditionalOptions { opt_exclude, ..WildcardAdditionalOptions::default() };
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(table), options)
        }
    }
}

struct Put<'a> {
    sides: &'a Sides<'a>,
    /// Of the queries within that it is in, the names of their own, where these are known.
    within: Vec<Option<Columns>>,
    /// How often a column may still be named.
    left: usize,
}

impl VisitorMut for Put<'_> {
    type Break = String;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<String> {
        self.within.push(self.sides.scope.own(query));
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<String> {
        self.within.pop();
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<String> {
        let Expr::Identifier(ident) = &*expr else { return ControlFlow::Continue(()) };
        let name = known(ident);
        let is_free = |own: &Option<Columns>| own.as_ref().is_some_and(|own| !own.contains(&name));
        if let Some(of) = self.sides.column(&name).filter(|_| self.within.iter().all(is_free)) {
            let Some(left) = self.left.checked_sub(1) else { return stop(OFTEN) };
            self.left = left;
            *expr = first_of(of);
        }
        ControlFlow::Continue(())
    }
}
