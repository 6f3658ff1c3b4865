//! Functions about the server and its catalogs: all have one answer here, or one that is put together from their arguments.

use datafusion::sql::sqlparser::ast::{Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments};

use super::{Reading, catalog, rewrite, types};
use crate::reports::quoted;

/// What stands for a call, as text; nothing if it is a function like others.
pub(super) fn instead(function: &Function, reading: &Reading, of_catalog: bool) -> Option<String> {
    let name = function.name.to_string().to_lowercase();
    let args = arguments(&function.args);
    let arg = |at: usize| args.get(at).map_or_else(|| "NULL".to_owned(), ToString::to_string);
    Some(match name.as_str() {
        "version" => quoted(concat!("PostgreSQL 14.0 (Tollgate ", env!("CARGO_PKG_VERSION"), ")")),
        "current_schema" => quoted(catalog::SCHEMA),
        "current_database" | "current_catalog" => quoted(catalog::DATABASE),
        "current_user" | "session_user" | "current_role" | "user" => quoted(&reading.user),
        "pg_get_userbyid" => quoted(&reading.user),
        "pg_encoding_to_char" => quoted("UTF8"),
        "pg_is_in_recovery" | "pg_relation_is_publishable" => "false".to_owned(),
        "clock_timestamp" | "statement_timestamp" | "transaction_timestamp" | "pg_postmaster_start_time" => {
            "now()".to_owned()
        }
        "pg_backend_pid" => format!("CAST({} AS INTEGER)", reading.pid),
        "txid_current" | "pg_my_temp_schema" => "CAST(0 AS INTEGER)".to_owned(),
        "current_setting" => {
            let setting = args.first().and_then(|arg| rewrite::constant(arg));
            let known = setting.and_then(|name| {
                let mut all = reading.settings.iter();
                all.find(|(known, _)| known.eq_ignore_ascii_case(&name)).map(|(_, value)| quoted(value))
            });
            known.unwrap_or_else(|| NULL_TEXT.to_owned())
        }
        // As asyncpg asks before it looks a type up. Nothing depends on this one setting; others are put by SET.
        "set_config" if args.first().is_some_and(|arg| is_jit(arg)) => format!("CAST({} AS VARCHAR)", arg(1)),
        "pg_get_viewdef" => format!("pg_get_viewdef({})", arg(0)),
        "to_regclass" => number_of(args.first()?),
        "to_regtype" => type_number(&arg(0)),
        "format_type" => format!("format_type({}, {})", arg(0), arg(1)),
        // An argument is written several times, so it has to be one that does not grow.
        "quote_ident" if args.first().is_some_and(|arg| is_plain(arg)) => {
            let of = arg(0);
            format!(
                "CASE WHEN ({of}) ~ '^[a-z_][a-z0-9_]*$' THEN ({of}) ELSE concat('\"', replace(({of}), '\"', '\"\"'), '\"') END"
            )
        }
        "pg_table_is_visible" | "pg_type_is_visible" | "pg_function_is_visible" => "true".to_owned(),
        "has_schema_privilege"
        | "has_table_privilege"
        | "has_database_privilege"
        | "has_column_privilege"
        | "has_any_column_privilege" => "true".to_owned(),
        "pg_get_expr"
        | "shobj_description"
        | "pg_get_constraintdef"
        | "pg_get_indexdef"
        | "pg_get_serial_sequence"
        | "pg_get_partkeydef"
        | "pg_get_functiondef"
        | "pg_get_function_result"
        | "pg_get_function_arguments"
        | "pg_tablespace_location"
        | "pg_get_statisticsobjdef_columns"
        | "pg_get_triggerdef"
        | "pg_get_ruledef"
        | "inet_server_addr"
        | "inet_client_addr" => NULL_TEXT.to_owned(),
        "array" if of_catalog && rewrite::is_array_of(&function.args) => NULL_TEXT.to_owned(),
        "obj_description" | "col_description" if !of_catalog => NULL_TEXT.to_owned(),
        "obj_description" => description(&arg(0), "0"),
        "col_description" => description(&arg(0), &arg(1)),
        _ if of_catalog => return over_catalogs(&name, &arg(0)),
        _ => return None,
    })
}

/// Whether a setting is the one that nothing depends on.
fn is_jit(setting: &Expr) -> bool {
    rewrite::constant(setting).is_some_and(|name| name.eq_ignore_ascii_case("jit"))
}

/// What stands for a call in a statement about catalogs, where there is never an array and nothing has a size.
fn over_catalogs(name: &str, arg: &str) -> Option<String> {
    Some(match name {
        "pg_relation_size"
        | "pg_total_relation_size"
        | "pg_table_size"
        | "pg_indexes_size"
        | "pg_database_size"
        | "age" => "CAST(NULL AS BIGINT)".to_owned(),
        "array_agg" | "string_agg" | "json_agg" => format!("max(CAST({arg} AS VARCHAR))"),
        "json_build_object" | "array_remove" | "array_to_string" | "row_to_json" | "pg_size_pretty" => {
            NULL_TEXT.to_owned()
        }
        "unnest"
        | "generate_subscripts"
        | "array_length"
        | "array_upper"
        | "cardinality"
        | "information_schema._pg_expandarray" => "CAST(NULL AS INTEGER)".to_owned(),
        _ => return None,
    })
}

/// What a table, or its column of this number, means.
fn description(relation: &str, column: &str) -> String {
    format!(
        "(SELECT max(description) FROM pg_catalog.pg_description WHERE objoid = ({relation}) AND objsubid = ({column}))"
    )
}

const NULL_TEXT: &str = "CAST(NULL AS VARCHAR)";

fn arguments(args: &FunctionArguments) -> Vec<&Expr> {
    let FunctionArguments::List(list) = args else { return Vec::new() };
    let mut all = Vec::with_capacity(list.args.len());
    for arg in &list.args {
        if let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = arg {
            all.push(expr);
        }
    }
    all
}

/// Whether it is a name or a constant, whatever it is cast to.
fn is_plain(expr: &Expr) -> bool {
    match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Value(_) => true,
        Expr::Cast { expr, .. } | Expr::Nested(expr) => is_plain(expr),
        _ => false,
    }
}

/// The number of the relation that an expression names, once it is known.
pub(super) fn number_of(relation: &Expr) -> String {
    match rewrite::constant(relation).map(|name| catalog::regclass::number_of(&name)) {
        Some(Some(number)) => format!("CAST({number} AS INTEGER)"),
        Some(None) => "CAST(NULL AS INTEGER)".to_owned(),
        None => format!("regclass({relation})"),
    }
}

/// The number of a type by its name.
fn type_number(name: &str) -> String {
    let known = types::TYPES.iter().map(|kind| format!(" WHEN {} THEN {}", quoted(kind.name), kind.oid));
    format!("CASE CAST({name} AS VARCHAR){} ELSE NULL END", known.collect::<String>())
}
