//! Types as Postgres has them: `float` is of eight bytes, which the engine takes for four, and `varchar(8)` and `char(8)` cut what is longer,
//! of which the engine would leave the length out; and `timestamp(0)` rounds. Spaces at the end of a `char(8)` mean nothing in Postgres, which
//! fills it up with them to show it: here it has none.

use datafusion::sql::sqlparser::ast::{
    CastKind, CharacterLength, DataType, ExactNumberInfo, Expr, ObjectNamePart, TypedString, Value,
};

use crate::sql::reading::rewrite::{call, taken};

/// The most decimals of a second that a time has, as Postgres has it.
const MICROS: u64 = 6;

/// `x::float` → `x::double precision`; `x::varchar(8)` → `left(x::varchar, 8)`, `x::char(8)` → `rtrim(left(x::varchar, 8), ' ')`,
/// `x::timestamp(0)` → `timestamp(x::timestamp(6), 0)`, and so a constant of that type.
pub(super) fn meant(expr: &mut Expr) {
    if let Expr::Cast { data_type, .. } | Expr::TypedString(TypedString { data_type, .. }) = expr
        && let DataType::Float(digits) = data_type
    {
        *data_type = match digits {
            ExactNumberInfo::Precision(..=24) => DataType::Real,
            _ => DataType::DoublePrecision,
        };
    }
    let is_constant = matches!(expr, Expr::TypedString(_));
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
    let Some((length, is_padded)) = of_text(data_type, is_constant) else { return };
    if length.is_none() && !is_padded {
        return;
    }
    *data_type = DataType::Varchar(None);
    if let Some(length) = length {
        *expr = call("\"left\"", [taken(expr), Expr::Value(Value::Number(length, false).into())]);
    }
    if is_padded {
        *expr = call("rtrim", [taken(expr), Expr::Value(Value::SingleQuotedString(" ".to_owned()).into())]);
    }
}

/// How many letters a value of a type of text has, as far as the type says, and whether it is filled up with spaces. A constant `char '…'` is as
/// long as it is.
fn of_text(kind: &DataType, is_constant: bool) -> Option<(Option<String>, bool)> {
    Some(match kind {
        DataType::Char(None) | DataType::Character(None) => ((!is_constant).then(|| "1".to_owned()), true),
        DataType::Char(length) | DataType::Character(length) => (letters(*length), true),
        DataType::Varchar(length) | DataType::CharacterVarying(length) | DataType::CharVarying(length) => {
            (letters(*length), false)
        }
        // That of `char(8)` by the name that Postgres has for it.
        DataType::Custom(name, length) => {
            let last = name.0.last().and_then(ObjectNamePart::as_ident);
            last.filter(|name| name.value.eq_ignore_ascii_case("bpchar"))?;
            (length.first().filter(|length| length.bytes().all(|digit| digit.is_ascii_digit())).cloned(), true)
        }
        _ => return None,
    })
}

fn letters(length: Option<CharacterLength>) -> Option<String> {
    match length {
        Some(CharacterLength::IntegerLength { length, .. }) => Some(length.to_string()),
        Some(CharacterLength::Max) | None => None,
    }
}

/// Whether a type has a length that would be left out.
pub(super) const fn is_cut(kind: &DataType) -> bool {
    matches!(kind, DataType::Nvarchar(Some(_)))
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
