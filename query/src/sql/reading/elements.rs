//! The elements of arrays that something is compared with, as long as their type says.

use datafusion::sql::sqlparser::ast::{
    Array, ArrayElemTypeDef, DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Value,
};

use super::{
    arrays,
    rewrite::{constant, written},
    types,
};

/// What stands in the array of a parameter, each as long as what it is cast to says.
pub(super) fn fitted(parameter: &Expr, list: Vec<Expr>) -> Vec<Expr> {
    match parameter {
        Expr::Nested(inner) => fitted(inner, list),
        Expr::Cast { expr, data_type: DataType::Array(ArrayElemTypeDef::SquareBracket(of, _)), .. } => {
            let list = fitted(expr, list);
            if types::called(of).is_some() && has_length(of) { cast_each(list, of) } else { list }
        }
        _ => list,
    }
}

/// Whether a type says how long its values are, or how many digits they have.
fn has_length(kind: &DataType) -> bool {
    matches!(kind, DataType::Char(None) | DataType::Character(None)) || kind.to_string().contains('(')
}

fn cast_each(list: Vec<Expr>, kind: &DataType) -> Vec<Expr> {
    let kind = kind.to_string();
    let kind = kind.strip_prefix("pg_catalog.").unwrap_or(&kind);
    list.into_iter().map(|element| written(&format!("CAST({element} AS {kind})"))).collect()
}

/// What stands in an array that is compared with; nothing if that is not known.
pub(super) fn listed(array: &Expr, of_catalog: bool) -> Option<Vec<Expr>> {
    match array {
        Expr::Array(Array { elem, .. }) => Some(elem.clone()),
        Expr::Nested(inner) => listed(inner, of_catalog),
        Expr::Cast { expr, data_type: DataType::Array(ArrayElemTypeDef::SquareBracket(of, _)), .. }
            if !of_catalog
                && types::called(of)
                    .is_some_and(|kind| kind.category == "N" && kind.name != "oid" || has_length(of)) =>
        {
            Some(cast_each(listed(expr, of_catalog)?, of))
        }
        Expr::Cast { expr, .. } => listed(expr, of_catalog),
        Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("current_schemas") => {
            Some(["'public'", "'pg_catalog'"].map(written).to_vec())
        }
        // Of constants.
        Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("string_to_array") => {
            let FunctionArguments::List(list) = &function.args else { return None };
            let [FunctionArg::Unnamed(FunctionArgExpr::Expr(text)), FunctionArg::Unnamed(FunctionArgExpr::Expr(by))] =
                list.args.as_slice()
            else {
                return None;
            };
            let (text, by) = (constant(text)?, constant(by)?);
            // Of nothing there are no parts, and by nothing there is one.
            let parts: Vec<&str> = match (text.as_str(), by.as_str()) {
                ("", _) => Vec::new(),
                (text, "") => vec![text],
                (text, by) => text.split(by).collect(),
            };
            Some(parts.into_iter().map(|part| Expr::Value(Value::SingleQuotedString(part.to_owned()).into())).collect())
        }
        Expr::Value(_) => {
            let elements = arrays::elements(&constant(array)?)?.into_iter();
            let value = |text: Option<String>| text.map_or(Value::Null, Value::SingleQuotedString);
            Some(elements.map(|element| Expr::Value(value(element).into())).collect())
        }
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) if of_catalog => Some(Vec::new()),
        _ => None,
    }
}
