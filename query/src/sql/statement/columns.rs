//! What columns are called that have no name of their own: where the engine would find two of one name, and where its own is not known
//! to clients of Postgres.

use std::{collections::HashMap, mem, ops::ControlFlow};

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectNamePart, Query, SelectItem, SetExpr,
    Value, visit_expressions_mut,
};

use crate::sql::reading::rewrite::{call, taken};

/// Aggregates that take any value, not only a constant or a group.
const AGGREGATES: &str = "\
    any_value approx_distinct approx_median avg bool_and bool_or count max median min stddev stddev_pop stddev_samp \
    string_agg sum var_pop var_samp variance";

/// What a column is called that says so itself; `*` for all that there are.
pub(super) fn shown_as(item: &SelectItem) -> Option<String> {
    let ident = |ident: &Ident| match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    };
    match item {
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(ident(name)),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last().map(ident),
        SelectItem::ExprWithAlias { alias, .. } => Some(ident(alias)),
        SelectItem::UnnamedExpr(_) => None,
        _ => Some("*".to_owned()),
    }
}

/// What Postgres calls a column that is cast, or put into a zone; nothing of another, for which the engine has a name of its own.
pub(super) fn column_of(expr: &Expr) -> Option<String> {
    match expr {
        Expr::AtTimeZone { .. } => Some("timezone".to_owned()),
        Expr::Cast { expr, .. } => {
            let mut of = expr.as_ref();
            while let Expr::Cast { expr, .. } | Expr::Nested(expr) = of {
                of = expr;
            }
            shown_as(&SelectItem::UnnamedExpr(of.clone())).or_else(|| column_of(of))
        }
        _ => None,
    }
}

/// What Postgres calls a column.
pub(super) fn called(expr: &Expr) -> String {
    let named = match expr {
        Expr::Cast { expr, .. } | Expr::Nested(expr) => return called(expr),
        Expr::Function(function) => name_of(function),
        Expr::Subquery(query) => match column(query) {
            Some(SelectItem::UnnamedExpr(of)) => return called(of),
            Some(item) => shown_as(item),
            None => None,
        },
        Expr::Case { .. } => Some("case".to_owned()),
        expr => shown_as(&SelectItem::UnnamedExpr(expr.clone())),
    };
    named.unwrap_or_else(|| "?column?".to_owned())
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

/// Takes off an expression what is left out of its name, when it was taken off its parts.
fn bare(expr: &mut Expr) {
    let of = match expr {
        Expr::Cast { expr: of, .. } | Expr::Nested(of) => mem::replace(&mut **of, Expr::Value(Value::Null.into())),
        Expr::TypedString(text) => Expr::Value(text.value.clone()),
        Expr::Subquery(query) => match column(query) {
            Some(SelectItem::UnnamedExpr(of)) => of.clone(),
            Some(SelectItem::ExprWithAlias { alias, .. }) => Expr::Identifier(alias.clone()),
            _ => return,
        },
        Expr::Function(function) if name_of(function).as_deref() == Some("coalesce") => {
            match (is_of_one(function), first(function)) {
                (true, Some(of)) => of.clone(),
                _ => return,
            }
        }
        _ => return,
    };
    *expr = of;
}

/// Tells aggregates apart that the engine would call the same, and refuse: `coalesce` of one value is that value, and has another name.
pub(super) fn tell_apart(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let mut known: HashMap<String, Vec<String>> = HashMap::new();
    let mut told = |expr: &mut Expr| -> ControlFlow<()> {
        let is_aggregate = match &*expr {
            Expr::Function(function) => {
                name_of(function).is_some_and(|name| AGGREGATES.split(' ').any(|known| known == name))
            }
            _ => false,
        };
        if !is_aggregate {
            return ControlFlow::Continue(());
        }
        let text = expr.to_string().to_lowercase();
        let ways = known.entry(alike(expr)).or_default();
        let at = ways.iter().position(|way| *way == text).unwrap_or(ways.len());
        if at == ways.len() {
            ways.push(text);
        }
        if let Expr::Function(function) = expr
            && let Some(of) = first(function)
        {
            (0..at).for_each(|_| wrap(of));
        }
        ControlFlow::Continue(())
    };
    let _: ControlFlow<()> = visit_expressions_mut(&mut select.projection, &mut told);
    let _: ControlFlow<()> = visit_expressions_mut(&mut select.having, &mut told);
    let _: ControlFlow<()> = visit_expressions_mut(&mut query.order_by, &mut told);
}

fn wrap(expr: &mut Expr) {
    let of = taken(expr);
    *expr = call("coalesce", [of]);
}

fn name_of(function: &Function) -> Option<String> {
    function.name.0.last().and_then(ObjectNamePart::as_ident).map(|name| name.value.to_lowercase())
}

fn is_of_one(function: &Function) -> bool {
    matches!(&function.args, FunctionArguments::List(list) if list.args.len() == 1)
}

/// The first argument of a function, if that is an expression.
fn first(function: &mut Function) -> Option<&mut Expr> {
    let FunctionArguments::List(list) = &mut function.args else { return None };
    match list.args.first_mut() {
        Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))) => Some(expr),
        _ => None,
    }
}

/// The one column of a query.
fn column(query: &Query) -> Option<&SelectItem> {
    match query.body.as_ref() {
        SetExpr::Select(select) => match select.projection.as_slice() {
            [item] => Some(item),
            _ => None,
        },
        _ => None,
    }
}
