//! What columns are called that have no name of their own: where the engine would find two of one name, and where its own is not known
//! to clients of Postgres.

use datafusion::sql::sqlparser::ast::{Expr, Ident, ObjectNamePart, Query, SelectItem, SetExpr};

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
        Expr::Function(function) => {
            function.name.0.last().and_then(ObjectNamePart::as_ident).map(|name| name.value.to_lowercase())
        }
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

/// What is the same of two columns if the engine calls them the same, which knows no casts, and a query by its column.
pub(super) fn alike(expr: &Expr) -> String {
    match expr {
        Expr::Cast { expr, .. } | Expr::Nested(expr) => alike(expr),
        Expr::Subquery(query) => match column(query) {
            Some(SelectItem::UnnamedExpr(of)) => alike(of),
            Some(item) => shown_as(item).unwrap_or_default(),
            None => expr.to_string().to_lowercase(),
        },
        expr => expr.to_string().to_lowercase(),
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
