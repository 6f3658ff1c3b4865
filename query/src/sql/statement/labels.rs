//! What Postgres calls a column: by the name that it is given, else that of the column, the function or the query that it is made of, else that
//! of its type where it is cast.

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectNamePart, Query, SelectItem, SetExpr,
    TrimWhereField, TypedString, Value, ValueWithSpan,
};

use super::named::known;
use crate::sql::types;

/// What a column is called that says so itself; `*` for all that there are.
pub(super) fn shown_as(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(known(name)),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last().map(known),
        SelectItem::ExprWithAlias { alias, .. } => Some(known(alias)),
        SelectItem::UnnamedExpr(_) => None,
        _ => Some("*".to_owned()),
    }
}

/// What Postgres calls a column that is cast, or put into a zone; nothing of another, for which the engine has a name of its own.
pub(super) fn column_of(expr: &Expr) -> Option<String> {
    if let Some(of) = wrapped(expr) {
        return column_of(of);
    }
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
pub(in crate::sql) fn called(expr: &Expr) -> String {
    match wrapped(expr) {
        Some(of) => called(of),
        None => made_of(expr).unwrap_or_else(|| typed(expr)),
    }
}

/// The name of what a column is made of, which a cast does not change.
fn made_of(expr: &Expr) -> Option<String> {
    if let Some(of) = wrapped(expr) {
        return made_of(of);
    }
    let name = match expr {
        Expr::Identifier(name) => return Some(known(name)),
        Expr::CompoundIdentifier(parts) => return parts.last().map(known),
        Expr::Function(function) => return name_of(function),
        Expr::Cast { expr, .. } | Expr::Nested(expr) | Expr::Collate { expr, .. } => return made_of(expr),
        Expr::Case { else_result, .. } => return else_result.as_deref().and_then(made_of),
        Expr::Subquery(query) => match column(query)? {
            SelectItem::UnnamedExpr(of) => return Some(called(of)),
            item => return shown_as(item).filter(|name| name != "*"),
        },
        Expr::AtTimeZone { .. } => "timezone",
        Expr::Ceil { .. } => "ceil",
        Expr::Exists { negated: false, .. } => "exists",
        Expr::Extract { .. } => "extract",
        Expr::Floor { .. } => "floor",
        Expr::Overlay { .. } => "overlay",
        Expr::Position { .. } => "position",
        Expr::Substring { shorthand: true, .. } => "substr",
        Expr::Substring { .. } => "substring",
        Expr::Trim { trim_where: Some(TrimWhereField::Leading), .. } => "ltrim",
        Expr::Trim { trim_where: Some(TrimWhereField::Trailing), .. } => "rtrim",
        Expr::Trim { .. } => "btrim",
        _ => return None,
    };
    Some(name.to_owned())
}

/// What a column is called that is made of nothing with a name.
fn typed(expr: &Expr) -> String {
    let name = match expr {
        Expr::Nested(of) | Expr::Collate { expr: of, .. } => return typed(of),
        Expr::Cast { data_type, .. } | Expr::TypedString(TypedString { data_type, .. }) => {
            return types::called(data_type)
                .map_or_else(|| data_type.to_string().to_lowercase(), |known| known.name.to_owned());
        }
        Expr::Case { .. } => "case",
        Expr::Interval(_) => "interval",
        Expr::Value(ValueWithSpan { value: Value::Boolean(_), .. }) => "bool",
        _ => "?column?",
    };
    name.to_owned()
}

/// The one column of a query, which of a UNION is that of its first side.
pub(super) fn column(query: &Query) -> Option<&SelectItem> {
    let mut body = query.body.as_ref();
    loop {
        match body {
            SetExpr::Select(select) => match select.projection.as_slice() {
                [item] => return Some(item),
                _ => return None,
            },
            SetExpr::SetOperation { left, .. } => body = left.as_ref(),
            SetExpr::Query(query) => body = query.body.as_ref(),
            _ => return None,
        }
    }
}

/// What is wrapped to be told apart.
pub(super) fn wrapped(expr: &Expr) -> Option<&Expr> {
    let Expr::Function(function) = expr else { return None };
    let FunctionArguments::List(list) = &function.args else { return None };
    match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(of))] if name_of(function)? == "coalesce" => Some(of),
        _ => None,
    }
}

/// The name of a function.
pub(super) fn name_of(function: &Function) -> Option<String> {
    function.name.0.last().and_then(ObjectNamePart::as_ident).map(|name| name.value.to_lowercase())
}
