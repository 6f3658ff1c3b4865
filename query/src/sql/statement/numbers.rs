//! Numbers with an exponent, written out: of `1e6` the engine would make one ten to the sixth of a decimal, and calculate with the one.
//! And casts to a `numeric` of no stated digits, of which the engine would make one of ten decimals.

use arrow::datatypes::DECIMAL128_MAX_PRECISION;
use datafusion::sql::sqlparser::ast::{CastKind, DataType, ExactNumberInfo, Expr, TypedString, Value, ValueWithSpan};

use crate::sql::reading::rewrite::{call, taken, written};

/// The most digits of a decimal.
const DIGITS: usize = DECIMAL128_MAX_PRECISION as usize;

/// `1e6` → `1000000.`, which is a decimal as it is in Postgres, and `1e-3` → `0.001`. What has no room among decimals is a float.
pub(super) fn spelled(expr: &mut Expr) {
    let Expr::Value(value) = expr else { return };
    let Value::Number(text, _) = &mut value.value else { return };
    if !text.contains(['e', 'E']) {
        return;
    }
    let number = text.replace('_', "");
    match plain(&number) {
        Some(plain) => *text = plain,
        None => *expr = written(&format!("CAST('{number}' AS DOUBLE PRECISION)")),
    }
}

/// `'1.25'::numeric` and `numeric '1.25'` → `'1.25'::numeric(3, 2)`; of a parameter one with 18 decimals; and `x::numeric` → a function that knows what `x` is.
pub(super) fn kept(expr: &mut Expr) {
    use ExactNumberInfo::{None as Unstated, PrecisionAndScale};
    if let Expr::TypedString(TypedString { data_type, value, .. }) = expr
        && matches!(data_type, DataType::Numeric(Unstated) | DataType::Decimal(Unstated))
    {
        let (data_type, of) = (data_type.clone(), Box::new(Expr::Value(value.clone())));
        *expr = Expr::Cast { kind: CastKind::Cast, expr: of, data_type, array: false, format: None };
    }
    let Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr: of, data_type, .. } = expr else { return };
    let (DataType::Numeric(digits @ Unstated) | DataType::Decimal(digits @ Unstated)) = data_type else { return };
    match of.as_mut() {
        Expr::Value(ValueWithSpan { value: Value::Placeholder(_), .. }) => *digits = PrecisionAndScale(38, 18),
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) => {
            *digits = PrecisionAndScale(38, 18);
            let (sign, number) = match text.trim().strip_prefix('-') {
                Some(number) => ("-", number),
                None => ("", text.trim()),
            };
            let number = plain(number).unwrap_or_else(|| number.to_owned());
            let (whole, decimals) = number.split_once('.').unwrap_or((number.as_str(), ""));
            let is_number = whole.bytes().chain(decimals.bytes()).all(|byte| byte.is_ascii_digit());
            let length = whole.len() + decimals.len();
            if is_number && (1..=DIGITS).contains(&length) {
                *digits = PrecisionAndScale(length as u64, i64::try_from(decimals.len()).unwrap_or_default());
                *text = format!("{sign}{}", number.trim_end_matches('.'));
            }
        }
        of => {
            let of = taken(of);
            *expr = call("\"numeric\"", [of]);
        }
    }
}

/// A number without its exponent; nothing if it has more digits than a decimal.
pub(crate) fn plain(text: &str) -> Option<String> {
    let (number, exponent) = text.split_once(['e', 'E'])?;
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let exponent = exponent.parse::<i32>().ok()?;
    let places = usize::try_from(exponent.unsigned_abs()).ok().filter(|places| *places <= 2 * DIGITS)?;
    let (whole, decimals) = if exponent < 0 {
        let padded = format!("{whole:0>places$}");
        let (whole, moved) = padded.split_at_checked(padded.len() - places)?;
        (whole.to_owned(), format!("{moved}{decimals}"))
    } else {
        let padded = format!("{decimals:0<places$}");
        let (moved, decimals) = padded.split_at_checked(places)?;
        (format!("{whole}{moved}"), decimals.to_owned())
    };
    let whole = whole.trim_start_matches('0');
    let fits = whole.len() + decimals.len() <= DIGITS;
    fits.then(|| format!("{}.{decimals}", if whole.is_empty() { "0" } else { whole }))
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn exponents_are_written_out() {
        for (text, wanted) in [
            ("1e6", Some("1000000.")),
            ("1.5e3", Some("1500.")),
            ("1.2345E+2", Some("123.45")),
            ("1e-3", Some("0.001")),
            ("12.5e-1", Some("1.25")),
            (".5e1", Some("5.")),
            ("1.e2", Some("100.")),
            ("0e5", Some("0.")),
            ("1e0", Some("1.")),
            ("1e37", Some("10000000000000000000000000000000000000.")),
            ("1e38", None),
            ("1e-39", None),
            ("1e999999999999", None),
        ] {
            assert_eq!(plain(text).as_deref(), wanted, "{text}");
        }
    }
}
