//! What columns are called that have no name of their own: where the engine would find two of one name, and where its own is not known
//! to clients of Postgres.

use std::{
    collections::{HashMap, HashSet},
    mem,
    ops::ControlFlow,
};

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, ObjectName,
    ObjectNamePart, OrderBy, OrderByKind, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr,
    SetQuantifier, TableAlias, Value, ValueWithSpan, WindowType, visit_expressions, visit_expressions_mut,
};

use super::{
    found::is_query,
    labels::{called, column, column_of, name_of, shown_as, wrapped},
    named::{Columns, Scope, known},
};
use crate::sql::{
    MAX_COLUMNS,
    reading::rewrite::{call, taken},
};

/// Functions of groups and windows that take any value, not only a constant or a group.
const OF_VALUES: &str = "\
    any_value approx_distinct approx_median avg bool_and bool_or count max median min stddev stddev_pop stddev_samp \
    string_agg sum var_pop var_samp variance first_value lag last_value lead nth_value";

/// What a column is called that says so itself, or a query within, which the engine calls as it calls the column of it.
fn own_name(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::UnnamedExpr(Expr::Subquery(query)) => column(query).and_then(shown_as).filter(|name| name != "*"),
        item => shown_as(item),
    }
}

/// What the wildcards of a SELECT show, but for those that leave something out.
#[derive(Default)]
struct Spread {
    /// Whether it is the columns of all tables.
    all: bool,
    /// The tables of which it is all columns, where they are named.
    tables: HashSet<String>,
    /// Its columns, as far as they are known.
    names: Columns,
}

impl Spread {
    fn of(select: &Select, is_alone: bool, scope: &Scope) -> Self {
        let mut spread = Self::default();
        for item in &select.projection {
            let (SelectItem::Wildcard(but) | SelectItem::QualifiedWildcard(_, but)) = item else { continue };
            if but.opt_exclude.is_some() || but.opt_except.is_some() {
                continue;
            }
            match item {
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(table), _) => {
                    spread.tables.insert(table.to_string().to_lowercase());
                }
                item => spread.all |= matches!(item, SelectItem::Wildcard(_)),
            }
        }
        if spread.all || (is_alone && !spread.tables.is_empty()) {
            spread.all = true;
            spread.names = scope.of_all(&select.from).unwrap_or_default();
        }
        spread
    }

    /// Whether a column is among them.
    fn has(&self, column: &Expr) -> bool {
        let is_of_table = |column: &str| column.rsplit_once('.').is_some_and(|(table, _)| self.tables.contains(table));
        self.all || is_of_table(&column.to_string().to_lowercase())
    }
}

/// Names what a query in FROM or WITH shows as Postgres calls it, for whoever names it from around the query: where an alias names its columns
/// they are as they were.
pub(super) fn named_within(query: &mut Query, alias: Option<&TableAlias>, scope: &mut Scope) {
    if alias.is_some_and(|alias| !alias.columns.is_empty()) {
        return;
    }
    scope.enter(query);
    let Query { body, order_by, .. } = query;
    if let Some(select) = first(body) {
        let [ordered, kept] = ordered_by(order_by, &select.projection);
        named(select, &ordered, scope, Some(&kept));
    }
    scope.leave();
}

/// What rows are ordered by: the columns that are named with their table, and those alone in what is made of them, which are of a table and to the
/// engine what is shown by that name. What is shown is ordered by its number, which is the same.
fn ordered_by(order: &mut Option<OrderBy>, shown: &[SelectItem]) -> [HashSet<String>; 2] {
    let (mut ordered, mut kept) = (HashSet::new(), HashSet::new());
    let keys = match order.as_mut().map(|order| &mut order.kind) {
        Some(OrderByKind::Expressions(keys)) => keys.as_mut_slice(),
        _ => &mut [],
    };
    let is_one = |item: &SelectItem| matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. });
    let is_all = shown.iter().all(is_one);
    for key in keys {
        if matches!(key.expr, Expr::Identifier(_) | Expr::Value(_)) {
            continue;
        }
        let is_it = |item: &SelectItem| matches!(item, SelectItem::UnnamedExpr(of) if shown_as(item).is_none() && *of == key.expr);
        if let Some(at) = shown.iter().position(is_it).filter(|_| is_all) {
            key.expr = Expr::Value(Value::Number((at + 1).to_string(), false).into());
            continue;
        }
        let _: ControlFlow<()> = visit_expressions(&key.expr, |part: &Expr| {
            match part {
                Expr::Identifier(name) => kept.extend([known(name)]),
                Expr::CompoundIdentifier(parts) => ordered.extend(parts.last().map(known)),
                _ => {}
            }
            ControlFlow::Continue(())
        });
    }
    [ordered, kept]
}

/// The SELECT by which the columns of a query are called.
fn first(body: &mut SetExpr) -> Option<&mut Select> {
    use SetQuantifier::{AllByName, ByName, DistinctByName};
    match body {
        SetExpr::Select(select) => Some(select.as_mut()),
        SetExpr::Query(query) => first(&mut query.body),
        // The sides are put together by the engine's names.
        SetExpr::SetOperation { set_quantifier: AllByName | ByName | DistinctByName, .. } => None,
        SetExpr::SetOperation { left, .. } => first(left),
        _ => None,
    }
}

/// Names columns that Postgres calls as they are called here, those that would have the name of another, by that and a number, and `within`
/// another query all that have none, but by those names.
pub(super) fn named(select: &mut Select, ordered: &HashSet<String>, scope: &Scope, within: Option<&HashSet<String>>) {
    // Of one table `model` and `usage.model` are the same.
    let is_alone = matches!(select.from.as_slice(), [from] if from.joins.is_empty());
    if is_alone {
        shown_again(select, scope);
    }
    let shown: Vec<String> = select.projection.iter().filter_map(own_name).collect();
    let all = shown.iter().any(|name| name == "*");
    let spread = Spread::of(select, is_alone, scope);
    let is_known = !all || !spread.names.is_empty();
    let mut names: HashSet<String> = shown.into_iter().chain(ordered.iter().chain(&spread.names).cloned()).collect();
    let (mut seen, mut plain, mut aliased) = (HashSet::new(), HashSet::new(), HashSet::new());
    for item in &mut select.projection {
        let own = own_name(item);
        let (name, is_new) = match (&*item, own) {
            (SelectItem::ExprWithAlias { .. } | SelectItem::UnnamedExpr(Expr::Subquery(_)), Some(own)) => {
                let is_other = !plain.contains(&own) && !spread.names.contains(&own);
                let is_first = is_other && aliased.insert(own.clone());
                ((!is_first).then_some(own), false)
            }
            (SelectItem::UnnamedExpr(expr), Some(own)) => {
                let column = if is_alone { own.clone() } else { alike(expr) };
                let is_first = seen.insert(column) && !aliased.contains(&own) && !spread.has(expr);
                plain.insert(own.clone());
                ((!is_first).then_some(own), false)
            }
            (SelectItem::UnnamedExpr(expr), None) => {
                let name = column_of(expr).or_else(|| {
                    let is_again = !seen.insert(alike(expr));
                    let name = called(expr);
                    let is_asked = match within {
                        Some(kept) => !kept.contains(&name),
                        None => matches!(expr, Expr::Subquery(_)),
                    };
                    (is_again || (is_asked && is_known && !is_hidden(expr))).then_some(name)
                });
                (name, is_known)
            }
            _ => continue,
        };
        let Some(name) = name else { continue };
        let first = if is_new { 1 } else { 2 };
        let mut free = (first..).map(|number| if number == 1 { name.clone() } else { format!("{name}_{number}") });
        let name = free.find(|name| names.insert(name.clone())).unwrap_or_default();
        let expr = match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => taken(expr),
            _ => continue,
        };
        *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', name) };
    }
}

/// Whether it is a query whose column only the engine knows the name of.
fn is_hidden(expr: &Expr) -> bool {
    let Expr::Subquery(query) = expr else { return false };
    !matches!(column(query), Some(SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. }))
}

/// Writes out all columns of a table where they are shown again.
fn shown_again(select: &mut Select, scope: &Scope) {
    use SelectItemQualifiedWildcardKind::ObjectName as OfTable;
    let is_whole = |item: &SelectItem| match item {
        SelectItem::Wildcard(but) | SelectItem::QualifiedWildcard(OfTable(_), but) => but.to_string().is_empty(),
        _ => false,
    };
    let often = select.projection.iter().filter(|item| is_whole(item)).count();
    let Some(columns) = (often > 1).then(|| scope.of_all(&select.from)).flatten() else { return };
    let different = columns.iter().collect::<HashSet<_>>().len();
    if different < columns.len() || columns.len().saturating_mul(often) > MAX_COLUMNS {
        return;
    }
    let mut is_first = true;
    for item in mem::take(&mut select.projection) {
        if is_whole(&item) && !mem::take(&mut is_first) {
            let column = |name: &String| Expr::Identifier(Ident::with_quote('"', name.as_str()));
            select.projection.extend(columns.iter().map(column).map(SelectItem::UnnamedExpr));
        } else {
            select.projection.push(item);
        }
    }
}

/// What is the same of two columns if the engine calls them the same, which knows no casts and no parentheses, and a query by its column.
pub(super) fn alike(expr: &Expr) -> String {
    let mut of = expr.clone();
    let _: ControlFlow<()> = visit_expressions_mut(&mut of, |part: &mut Expr| {
        bare(part);
        ControlFlow::Continue(())
    });
    of.to_string().to_lowercase()
}

/// Functions by other names, and those that the engine has for them.
const SAME: &[(&str, &str)] = &[
    ("ceiling", "ceil"),
    ("char_length", "character_length"),
    ("every", "bool_and"),
    ("length", "character_length"),
    ("pow", "power"),
    ("sign", "signum"),
    ("stddev_samp", "stddev"),
    ("substring", "substr"),
    ("var_samp", "var"),
    ("variance", "var"),
];

/// Takes off an expression what is left out of its name, when it was taken off its parts.
fn bare(expr: &mut Expr) {
    if let Expr::Function(function) = expr
        && let Some(name) = name_of(function)
        && let Some((_, own)) = SAME.iter().find(|(other, _)| *other == name)
    {
        function.name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new(*own))]);
    }
    let of = match expr {
        Expr::BinaryOp { left, op: BinaryOperator::PGExp, right } => call("power", [taken(left), taken(right)]),
        Expr::Cast { expr: of, .. } | Expr::Nested(of) => mem::replace(&mut **of, Expr::Value(Value::Null.into())),
        Expr::TypedString(text) => Expr::Value(text.value.clone()),
        Expr::Subquery(query) => match column(query) {
            Some(SelectItem::UnnamedExpr(of)) => of.clone(),
            Some(SelectItem::ExprWithAlias { alias, .. }) => Expr::Identifier(alias.clone()),
            _ => return,
        },
        _ => match wrapped(expr) {
            Some(of) => of.clone(),
            None => return,
        },
    };
    *expr = of;
}

/// Orders groups by what a number stands for, as `ORDER BY 2` of `SELECT model, sum(cost_usd) / 7 …`: the engine looks for a column of that name
/// among sums and groups alone. What names an alias, which in an expression is a column, and what is not the same twice it cannot be.
pub(super) fn numbered(query: &mut Query) {
    let Query { body, order_by: Some(order), .. } = query else { return };
    let (SetExpr::Select(select), OrderByKind::Expressions(keys)) = (body.as_ref(), &mut order.kind) else { return };
    if select.distinct.is_some() || !is_grouped(select) {
        return;
    }
    let shown = &select.projection;
    let is_alias = |item: &&SelectItem| matches!(item, SelectItem::ExprWithAlias { .. });
    let aliased: HashSet<String> = shown.iter().filter(is_alias).filter_map(shown_as).collect();
    if shown.iter().any(|item| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..))) {
        return;
    }
    for key in keys {
        if let Expr::Value(ValueWithSpan { value: Value::Number(number, _), .. }) = &key.expr
            && let Some(at) = number.parse::<usize>().ok().and_then(|number| number.checked_sub(1))
            && let Some(SelectItem::UnnamedExpr(of)) = shown.get(at)
            && is_made(of, &aliased)
        {
            key.expr = of.clone();
        }
    }
}

/// Whether rows are put together in groups, or all of them in one.
pub(super) fn is_grouped(select: &Select) -> bool {
    let by_keys = !matches!(&select.group_by, GroupByExpr::Expressions(keys, _) if keys.is_empty());
    by_keys || visit_expressions(&select.projection, |part| stopped(is_sum(part))).is_break()
}

fn is_sum(expr: &Expr) -> bool {
    matches!(expr, Expr::Function(function) if function.over.is_none() && is_of_values(function))
}

const fn stopped(stops: bool) -> ControlFlow<()> {
    if stops { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// Whether a column is made of others, and can be written again.
fn is_made(expr: &Expr, aliased: &HashSet<String>) -> bool {
    let is_column = shown_as(&SelectItem::UnnamedExpr(expr.clone())).is_some() || column_of(expr).is_some();
    let is_other = |part: &Expr| match part {
        Expr::Identifier(name) => aliased.contains(&known(name)),
        Expr::Function(function) => name_of(function).is_some_and(|name| name == "random"),
        part => is_query(part),
    };
    !is_column && !is_sum(expr) && visit_expressions(expr, |part| stopped(is_other(part))).is_continue()
}

/// Tells apart what the engine would call the same, and refuse.
pub(super) fn told_apart(query: &mut Query) {
    let Query { body, order_by, .. } = query;
    match body.as_mut() {
        SetExpr::Select(select) => {
            keys_apart(select, order_by);
            calls_apart(select, order_by);
        }
        // What a UNION is ordered by are its columns.
        body => {
            for select in selects(body) {
                keys_apart(select, &mut None);
                calls_apart(select, &mut None);
            }
        }
    }
}

/// The SELECTs of a query that are no queries of their own.
fn selects(body: &mut SetExpr) -> Vec<&mut Select> {
    match body {
        SetExpr::Select(select) => vec![select.as_mut()],
        SetExpr::SetOperation { left, right, .. } => {
            let mut all = selects(left);
            all.extend(selects(right));
            all
        }
        _ => Vec::new(),
    }
}

/// Tells keys of groups apart, as those that differ only in a cast: in the same way as calls.
fn keys_apart(select: &mut Select, order: &mut Option<OrderBy>) {
    let GroupByExpr::Expressions(keys, _) = &select.group_by else { return };
    let keys = keys.iter().flat_map(|key| match key {
        Expr::GroupingSets(sets) | Expr::Cube(sets) | Expr::Rollup(sets) => sets.iter().flatten().collect::<Vec<_>>(),
        key => vec![key],
    });
    let mut known: HashMap<String, Vec<String>> = HashMap::new();
    for key in keys {
        let key = meant(key, &select.projection);
        let (ways, text) = (known.entry(alike(key)).or_default(), unwrapped(key));
        if !ways.contains(&text) {
            // What is no cast keeps its name.
            let at = if matches!(key, Expr::Cast { .. }) { ways.len() } else { 0 };
            ways.insert(at, text);
        }
    }
    let ways: HashMap<String, usize> =
        known.into_values().flat_map(|ways| ways.into_iter().zip(0..)).filter(|(_, at)| *at > 0).collect();
    if ways.is_empty() {
        return;
    }
    let mut told = |expr: &mut Expr| -> ControlFlow<()> {
        let at = ways.get(&unwrapped(expr)).copied().unwrap_or_default();
        (0..at).for_each(|_| wrap(expr));
        ControlFlow::Continue(())
    };
    let _: ControlFlow<()> = visit_expressions_mut(&mut select.projection, &mut told);
    let _: ControlFlow<()> = visit_expressions_mut(&mut select.group_by, &mut told);
    let _: ControlFlow<()> = visit_expressions_mut(&mut select.having, &mut told);
    let _: ControlFlow<()> = visit_expressions_mut(order, &mut told);
}

/// What a key of groups stands for: a column that is asked for, by its number or its name, or what it says.
pub(super) fn meant<'a>(key: &'a Expr, shown: &'a [SelectItem]) -> &'a Expr {
    let item = match key {
        Expr::Value(ValueWithSpan { value: Value::Number(number, _), .. }) => {
            number.parse::<usize>().ok().and_then(|number| shown.get(number.checked_sub(1)?))
        }
        Expr::Identifier(_) => {
            let name = shown_as(&SelectItem::UnnamedExpr(key.clone()));
            shown.iter().find(|item| matches!(item, SelectItem::ExprWithAlias { .. }) && shown_as(item) == name)
        }
        _ => None,
    };
    match item {
        Some(SelectItem::UnnamedExpr(of) | SelectItem::ExprWithAlias { expr: of, .. }) => of,
        _ => key,
    }
}

/// The text of an expression, but for what it was wrapped in to be told apart.
fn unwrapped(expr: &Expr) -> String {
    let mut of = expr.clone();
    let _: ControlFlow<()> = visit_expressions_mut(&mut of, |part: &mut Expr| {
        if let Some(of) = wrapped(part).cloned() {
            *part = of;
        }
        ControlFlow::Continue(())
    });
    of.to_string()
}

/// Tells aggregates and windows apart: `coalesce` of one value is that value, and has another name.
fn calls_apart(select: &mut Select, order: &mut Option<OrderBy>) {
    let mut known: HashMap<String, Vec<String>> = HashMap::new();
    let mut told = |expr: &mut Expr| -> ControlFlow<()> {
        if !matches!(&*expr, Expr::Function(function) if function.over.is_some() || is_of_values(function)) {
            return ControlFlow::Continue(());
        }
        let text = expr.to_string().to_lowercase();
        let ways = known.entry(alike(expr)).or_default();
        let at = ways.iter().position(|way| *way == text).unwrap_or(ways.len());
        if at == ways.len() {
            ways.push(text);
        }
        if let Expr::Function(function) = expr
            && let Some(of) = told_by(function)
        {
            (0..at).for_each(|_| wrap(of));
        }
        ControlFlow::Continue(())
    };
    let _: ControlFlow<()> = visit_expressions_mut(&mut select.projection, &mut told);
    let _: ControlFlow<()> = visit_expressions_mut(&mut select.having, &mut told);
    let _: ControlFlow<()> = visit_expressions_mut(order, &mut told);
}

fn is_of_values(function: &Function) -> bool {
    name_of(function).is_some_and(|name| OF_VALUES.split(' ').any(|known| known == name))
}

fn wrap(expr: &mut Expr) {
    let of = taken(expr);
    *expr = call("coalesce", [of]);
}

/// The part of a call that tells it apart: its value, or else what chooses its rows, or the first key of its window.
fn told_by(function: &mut Function) -> Option<&mut Expr> {
    let takes_any = is_of_values(function);
    let Function { args, filter, over, .. } = function;
    let value = match args {
        FunctionArguments::List(list) if takes_any => match list.args.first_mut() {
            Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(value))) => Some(value),
            _ => None,
        },
        _ => None,
    };
    let key = match over {
        Some(WindowType::WindowSpec(window)) => {
            let ordered = window.order_by.iter_mut().map(|by| &mut by.expr);
            window.partition_by.iter_mut().chain(ordered).next()
        }
        _ => None,
    };
    value.into_iter().chain(filter.as_deref_mut()).chain(key).next()
}
