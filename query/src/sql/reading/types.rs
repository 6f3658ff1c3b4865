//! The types of Postgres that stand for the engine's, as its catalogs name them.

use arrow::datatypes::DataType;

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
}

const fn known(oid: i32, name: &'static str, sql: &'static str, length: i32, category: &'static str) -> Type {
    Type { oid, name, sql, length, category }
}

/// Those that answers and catalogs have.
pub(crate) const TYPES: &[Type] = &[
    known(16, "bool", "boolean", 1, "B"),
    known(17, "bytea", "bytea", -1, "U"),
    known(18, "char", "\"char\"", 1, "S"),
    known(19, "name", "name", 64, "S"),
    known(20, "int8", "bigint", 8, "N"),
    known(21, "int2", "smallint", 2, "N"),
    known(23, "int4", "integer", 4, "N"),
    known(25, "text", "text", -1, "S"),
    known(26, "oid", "oid", 4, "N"),
    known(114, "json", "json", -1, "U"),
    known(700, "float4", "real", 4, "N"),
    known(701, "float8", "double precision", 8, "N"),
    known(1_042, "bpchar", "character", -1, "S"),
    known(1_043, "varchar", "character varying", -1, "S"),
    known(1_082, "date", "date", 4, "D"),
    known(1_083, "time", "time without time zone", 8, "D"),
    known(1_114, "timestamp", "timestamp without time zone", 8, "D"),
    known(1_184, "timestamptz", "timestamp with time zone", 8, "D"),
    known(1_186, "interval", "interval", 16, "T"),
    known(1_700, "numeric", "numeric", -1, "N"),
    known(2_950, "uuid", "uuid", 16, "U"),
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

const TEXT: Type = known(25, "text", "text", -1, "S");

/// Precision and scale of a decimal, as Postgres puts them into one number; -1 where there are none.
pub(crate) fn modifier(kind: &DataType) -> i32 {
    match kind {
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) if *scale >= 0 => {
            ((i32::from(*precision) << 16) | i32::from(*scale)) + 4
        }
        _ => -1,
    }
}
