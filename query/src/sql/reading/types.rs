//! The types of Postgres that stand for the engine's, as its catalogs name them.

use arrow::datatypes::DataType;
use datafusion::sql::sqlparser::ast;

/// A type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Type {
    /// Its number.
    pub(crate) oid: i32,
    /// Its name among types.
    pub(crate) name: &'static str,
    /// Its name in SQL.
    pub(crate) sql: &'static str,
    /// The bytes of each value; -1 where they differ.
    pub(crate) length: i32,
    /// What kind of type it is, by a letter.
    pub(crate) category: &'static str,
    /// The number of the arrays of it: parameters may be such, answers never are.
    pub(crate) array: i32,
}

const fn known(
    oid: i32,
    name: &'static str,
    sql: &'static str,
    length: i32,
    category: &'static str,
    array: i32,
) -> Type {
    Type { oid, name, sql, length, category, array }
}

/// Those that answers and catalogs have.
pub(crate) const TYPES: &[Type] = &[
    known(16, "bool", "boolean", 1, "B", 1_000),
    known(17, "bytea", "bytea", -1, "U", 1_001),
    known(18, "char", "\"char\"", 1, "S", 1_002),
    known(19, "name", "name", 64, "S", 1_003),
    known(20, "int8", "bigint", 8, "N", 1_016),
    known(21, "int2", "smallint", 2, "N", 1_005),
    known(23, "int4", "integer", 4, "N", 1_007),
    known(25, "text", "text", -1, "S", 1_009),
    known(26, "oid", "oid", 4, "N", 1_028),
    known(114, "json", "json", -1, "U", 199),
    known(700, "float4", "real", 4, "N", 1_021),
    known(701, "float8", "double precision", 8, "N", 1_022),
    known(1_042, "bpchar", "character", -1, "S", 1_014),
    known(1_043, "varchar", "character varying", -1, "S", 1_015),
    known(1_082, "date", "date", 4, "D", 1_182),
    known(1_083, "time", "time without time zone", 8, "D", 1_183),
    known(1_114, "timestamp", "timestamp without time zone", 8, "D", 1_115),
    known(1_184, "timestamptz", "timestamp with time zone", 8, "D", 1_185),
    known(1_186, "interval", "interval", 16, "T", 1_187),
    known(1_700, "numeric", "numeric", -1, "N", 1_231),
    known(2_950, "uuid", "uuid", 16, "U", 2_951),
];

/// What stands for a type of the engine; text for what has no other.
pub(crate) fn of(kind: &DataType) -> Type {
    let oid = match kind {
        DataType::Boolean => 16,
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => 21,
        DataType::Int32 | DataType::UInt16 => 23,
        DataType::Int64 | DataType::UInt32 => 20,
        DataType::Float16 | DataType::Float32 => 700,
        DataType::Float64 => 701,
        DataType::UInt64 | DataType::Decimal128(..) | DataType::Decimal256(..) => 1_700,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => 17,
        DataType::Date32 | DataType::Date64 => 1_082,
        DataType::Time32(_) | DataType::Time64(_) => 1_083,
        DataType::Timestamp(_, None) => 1_114,
        DataType::Timestamp(_, Some(_)) => 1_184,
        DataType::Interval(_) | DataType::Duration(_) => 1_186,
        DataType::Dictionary(_, value) => return of(value),
        _ => 25,
    };
    TYPES.iter().find(|known| known.oid == oid).copied().unwrap_or(TEXT)
}

/// What has no type of its own.
pub(crate) const TEXT: Type = known(25, "text", "text", -1, "S", 1_009);

/// The type that a statement calls so, however long it says that a value is; nothing if there is none here.
pub(crate) fn called(name: &ast::DataType) -> Option<Type> {
    let name = name.to_string().to_lowercase().replace('"', "");
    let name = name.strip_prefix("pg_catalog.").unwrap_or(&name);
    let (before, length) = name.split_once('(').unwrap_or((name, ""));
    let after = length.split_once(')').map_or("", |(_, after)| after);
    let name = match format!("{}{after}", before.trim_end()).as_str() {
        "int" => "integer".to_owned(),
        "dec" | "decimal" => "numeric".to_owned(),
        "float" => "double precision".to_owned(),
        "char" => "character".to_owned(),
        name => name.to_owned(),
    };
    TYPES.iter().find(|known| known.sql == name || known.name == name).copied()
}

/// Precision and scale of a decimal, as Postgres puts them into one number; -1 where there are none.
pub(crate) fn modifier(kind: &DataType) -> i32 {
    match kind {
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) if *scale >= 0 => {
            ((i32::from(*precision) << 16) | i32::from(*scale)) + 4
        }
        _ => -1,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use datafusion::sql::sqlparser::{dialect::PostgreSqlDialect, parser::Parser};

    use super::*;

    #[test]
    fn types_are_known_by_what_statements_call_them() {
        let check = |name: &str, wanted: Option<&str>| {
            let mut parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(name).unwrap();
            let called = called(&parser.parse_data_type().unwrap());
            assert_eq!(called.map(|known| known.name), wanted, "{name}");
        };
        for (name, wanted) in [
            ("int", "int4"),
            ("INTEGER", "int4"),
            ("int8", "int8"),
            ("bigint", "int8"),
            ("smallint", "int2"),
            ("pg_catalog.int4", "int4"),
            ("oid", "oid"),
            ("text", "text"),
            ("varchar(3)", "varchar"),
            ("character varying", "varchar"),
            ("char", "bpchar"),
            ("numeric(18, 4)", "numeric"),
            ("decimal", "numeric"),
            ("float8", "float8"),
            ("double precision", "float8"),
            ("real", "float4"),
            ("bool", "bool"),
            ("date", "date"),
            ("timestamp", "timestamp"),
            ("timestamptz", "timestamptz"),
            ("timestamp with time zone", "timestamptz"),
            ("interval", "interval"),
            ("uuid", "uuid"),
            ("bytea", "bytea"),
        ] {
            check(name, Some(wanted));
        }
        check("int[]", None);
        check("mood", None);
    }

    #[test]
    fn every_number_is_of_one_type() {
        let numbers: BTreeSet<i32> = TYPES.iter().flat_map(|known| [known.oid, known.array]).collect();
        assert_eq!(numbers.len(), TYPES.len() * 2);
    }
}
