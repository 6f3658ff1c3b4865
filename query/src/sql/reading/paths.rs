//! The search path, as clients ask for it: with arrays, whose places they make rows of.

use datafusion::sql::sqlparser::ast::{Expr, Query, SetExpr, TableFactor};

use super::{Reading, catalog};
use crate::reports::quoted;

/// The schemas that names are looked for in.
pub(super) fn schemas(reading: &Reading) -> impl Iterator<Item = String> {
    let path = reading.settings.get("search_path").map_or(catalog::SCHEMA, String::as_str);
    path.split(',').map(move |schema| match schema.trim() {
        "\"$user\"" | "$user" => reading.user.to_string(),
        schema => schema.to_owned(),
    })
}

/// Whether a query is for the schemas of the search path, as Grafana writes it.
pub(super) fn is_search_path(query: &Query) -> bool {
    plain(query).starts_with(
        "selectcasewhentrim(s[i])='\"$user\"'thenuserelsetrim(s[i])endfromgenerate_series(array_lower(string_to_array(\
         current_setting('search_path'),','),1),",
    )
}

/// The query that stands for one for the schemas of the search path and their numbers, as pgjdbc writes it to find a type; nothing if it is
/// another.
pub(super) fn numbered(query: &Query, reading: &Reading) -> Option<String> {
    const SCHEMAS: &str = "selects.r,(current_schemas(false))[s.r]asnspnamefromgenerate_series(1,array_upper(\
                           current_schemas(false),1))";
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let [from] = select.from.as_slice() else { return None };
    // What else is asked is not written out for nothing.
    if !matches!(from.relation, TableFactor::Table { args: Some(_), .. }) || !plain(query).starts_with(SCHEMAS) {
        return None;
    }
    let known = schemas(reading).filter(|schema| catalog::is_schema(schema));
    let mut rows: Vec<String> = (1..).zip(known).map(|(at, schema)| format!("({at}, {})", quoted(&schema))).collect();
    if rows.is_empty() {
        // No schema is called so.
        rows.push("(0, '')".to_owned());
    }
    let rows = rows.join(", ");
    Some(format!("SELECT column1 AS r, column2 AS nspname FROM (VALUES {rows}) AS path"))
}

/// Whether an expression is the array of the search path's schemas.
pub(super) fn is_schemas(array: &Expr) -> bool {
    match array {
        Expr::Nested(inner) => is_schemas(inner),
        Expr::Function(function) => function.name.to_string().eq_ignore_ascii_case("current_schemas"),
        _ => false,
    }
}

/// A query without what does not matter to how it is written.
fn plain(query: &Query) -> String {
    query.to_string().to_lowercase().split_whitespace().collect()
}
