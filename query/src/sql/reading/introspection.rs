//! What asyncpg asks of types that it has no codec for, before it sends a value of them: with a query that calls itself, which none may here.
//!
//! All types that are told are base types and arrays of these, and the base types it knows by itself: so what is asked for is all that it
//! has to be told.

use datafusion::sql::sqlparser::ast::Query;

/// The columns of its query, as it names them.
const COLUMNS: [&str; 11] = [
    "oid",
    "ns",
    "name",
    "kind",
    "basetype",
    "elemtype",
    "elemdelim",
    "range_subtype",
    "attrtypoids",
    "attrnames",
    "depth",
];

/// The query that stands for it: whose types are `$1`, as there.
const INSTEAD: &str = "\
    SELECT oid, 'pg_catalog' AS ns, typname AS name, typtype AS kind, CAST(NULL AS INTEGER) AS basetype, \
    typelem AS elemtype, typdelim AS elemdelim, CAST(NULL AS INTEGER) AS range_subtype, \
    CAST(NULL AS VARCHAR) AS attrtypoids, CAST(NULL AS VARCHAR) AS attrnames, CAST(0 AS INTEGER) AS depth, \
    CAST(NULL AS VARCHAR) AS basetype_name, format_type(typelem, NULL) AS elemtype_name, \
    CAST(NULL AS VARCHAR) AS range_subtype_name \
    FROM pg_catalog.pg_type WHERE oid = ANY($1::oid[])";

/// The same for a query of asyncpg's; nothing for another.
pub(super) fn types(query: &Query) -> Option<&'static str> {
    let with = query.with.as_ref().filter(|with| with.recursive)?;
    let [tree] = with.cte_tables.as_slice() else { return None };
    let columns = tree.alias.columns.iter().map(|column| column.name.value.as_str());
    (tree.alias.name.value == "typeinfo_tree" && columns.eq(COLUMNS)).then_some(INSTEAD)
}
