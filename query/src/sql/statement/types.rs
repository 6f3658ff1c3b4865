//! Types as Postgres has them: `float` is of eight bytes, which the engine takes for four, and `varchar(8)` cuts what is longer, of which the
//! engine would leave the length out; and `timestamp(0)` rounds. `char(8)`, which is filled up with spaces, is refused.

use datafusion::sql::sqlparser::ast::{CastKind, CharacterLength, DataType, ExactNumberInfo, Expr, TypedString, Value};

use crate::sql::reading::rewrite::{call, taken};

/// The most decimals of a second that a time has, as Postgres has it.
const MICROS: u64 = 6;

/// `x::float` → `x::double precision`; `x::varchar(8)` → `left(x::varchar, 8)`, `x::timestamp(0)` → `timestamp(x::timestamp(6), 0)`, and so
/// a constant of that type.
pub(super) fn meant(expr: &mut Expr) {
    if let Expr::Cast { data_type, .. } | Expr::TypedString(TypedString { data_type, .. }) = expr
        && let DataType::Float(digits) = data_type
    {
        *data_type = match digits {
            ExactNumberInfo::Precision(..=24) => DataType::Real,
            _ => DataType::DoublePrecision,
        };
    }
    let (Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, data_type, .. }
    | Expr::TypedString(TypedString { data_type, .. })) = expr
    else {
        return;
    };
    if let DataType::Timestamp(Some(decimals), _) = data_type {
        let left = std::mem::replace(decimals, MICROS).min(MICROS);
        let (time, left) = (taken(expr), Value::Number(left.to_string(), false));
        *expr = call("\"timestamp\"", [time, Expr::Value(left.into())]);
        return;
    }
    let length = match data_type {
        DataType::Char(None) | DataType::Character(None) => 1,
        DataType::Varchar(length) | DataType::CharacterVarying(length) | DataType::CharVarying(length) => {
            match length {
                Some(CharacterLength::IntegerLength { length, .. }) => *length,
                Some(CharacterLength::Max) | None => return,
            }
        }
        _ => return,
    };
    *data_type = DataType::Varchar(None);
    let (text, length) = (taken(expr), Value::Number(length.to_string(), false));
    *expr = call("\"left\"", [text, Expr::Value(length.into())]);
}

/// Whether a type has a length that would be left out.
pub(super) const fn is_cut(kind: &DataType) -> bool {
    matches!(kind, DataType::Char(Some(_)) | DataType::Character(Some(_)) | DataType::Nvarchar(Some(_)))
}

/// Whether it is a decimal whose last digit is one of tens or more.
pub(super) const fn is_coarse(kind: &DataType) -> bool {
    matches!(
        kind,
        DataType::Numeric(ExactNumberInfo::PrecisionAndScale(_, ..0))
            | DataType::Decimal(ExactNumberInfo::PrecisionAndScale(_, ..0))
            | DataType::Dec(ExactNumberInfo::PrecisionAndScale(_, ..0))
    )
}
