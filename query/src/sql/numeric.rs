//! A cast to `numeric` of no stated digits, which keeps all that there are. The engine would round it to ten decimals.
//!
//! A decimal stays what it is, an integer gets no decimals, and everything else gets 18: a float those of its fifteen digits, as in
//! Postgres. Constants that are quoted have their own already.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Decimal128Array, Int32Array},
    compute::{cast, cast_with_options, kernels::cast_utils::parse_decimal},
    datatypes::{DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, Field, FieldRef, Float64Type},
};
use datafusion::{
    common::{Result, exec_datafusion_err, exec_err, format::DEFAULT_CAST_OPTIONS, plan_err},
    functions::utils::make_scalar_function,
    logical_expr::{
        ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, cast as cast_to,
        simplify::{ExprSimplifyResult, SimplifyContext},
    },
};

use super::{
    shape::{Plain, as_cast},
    statement::plain,
};

/// The decimals of what has no number of its own.
const SCALE: i8 = 18;
/// Longer texts are no numbers here: the parser counts digits in a byte.
const MAX_LETTERS: usize = 100;

/// The function that stands for the cast.
pub(super) fn numeric() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Numeric))
}

/// `scale(number)`: how many decimals it has, which all of a column have as many of.
pub(super) fn scale() -> Arc<ScalarUDF> {
    Plain {
        name: "scale",
        takes: |types| match types {
            [kind] if kind.is_decimal() || kind.is_integer() || kind.is_null() => Ok(vec![kind.clone()]),
            _ => plan_err!("scale() takes a numeric"),
        },
        gives: |_| Ok(DataType::Int32),
        makes: |arrays| {
            let [numbers] = arrays else { return exec_err!("scale() takes a numeric") };
            let scale = match numbers.data_type() {
                DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => i32::from(*scale),
                _ => 0,
            };
            Ok(Arc::new(Int32Array::new(vec![scale; numbers.len()].into(), numbers.logical_nulls())))
        },
    }
    .shared()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Numeric;

/// What a type becomes.
fn cast_of(kind: &DataType) -> Result<DataType> {
    Ok(match kind {
        kind if kind.is_decimal() => kind.clone(),
        kind if kind.is_integer() || kind.is_null() => DataType::Decimal128(20, 0),
        kind if kind.is_floating() || kind.is_string() => DataType::Decimal128(DECIMAL128_MAX_PRECISION, SCALE),
        DataType::Dictionary(_, value) => cast_of(value)?,
        other => return plan_err!("cannot cast {other} to numeric"),
    })
}

impl ScalarUDFImpl for Numeric {
    as_cast!("numeric");

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [kind] => cast_of(kind),
            _ => plan_err!("one value is cast"),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let [of] = args.arg_fields else { return plan_err!("one value is cast") };
        Ok(Arc::new(Field::new(self.name(), cast_of(of.data_type())?, of.is_nullable())))
    }

    /// A decimal is left alone, and an integer cast by the engine, which knows more of its own casts.
    fn simplify(&self, mut args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let kind = match args.as_slice() {
            [of] => info.get_data_type(of)?,
            _ => return Ok(ExprSimplifyResult::Original(args)),
        };
        let is_simple = kind.is_decimal() || kind.is_integer();
        Ok(match args.pop() {
            Some(of) if kind.is_decimal() => ExprSimplifyResult::Simplified(of),
            Some(of) if is_simple => ExprSimplifyResult::Simplified(cast_to(of, cast_of(&kind)?)),
            of => ExprSimplifyResult::Original(of.into_iter().collect()),
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        make_scalar_function(
            |arrays| {
                let [value] = arrays else { return exec_err!("one value is cast") };
                numbers(value)
            },
            Vec::new(),
        )(&args.args)
    }
}

fn numbers(values: &ArrayRef) -> Result<ArrayRef> {
    let (kind, to) = (values.data_type(), cast_of(values.data_type())?);
    let numbers: Decimal128Array = if kind.is_floating() {
        // Of a real six digits are its own.
        let decimals = if *kind == DataType::Float64 { 14 } else { 5 };
        let floats = cast(values, &DataType::Float64)?;
        let floats = floats.as_primitive::<Float64Type>().iter();
        floats.map(|float| float.map(|float| of_float(float, decimals)).transpose()).collect::<Result<_>>()?
    } else if to == DataType::Decimal128(DECIMAL128_MAX_PRECISION, SCALE) && !kind.is_decimal() {
        let texts = cast(values, &DataType::Utf8)?;
        let texts = texts.as_string::<i32>().iter();
        texts.map(|text| text.map(of_text).transpose()).collect::<Result<_>>()?
    } else {
        return Ok(cast_with_options(values, &to, &DEFAULT_CAST_OPTIONS)?);
    };
    Ok(Arc::new(numbers.with_data_type(to)))
}

/// A float by so many digits after its first; what is left of it is not more exact than that.
fn of_float(float: f64, decimals: usize) -> Result<i128> {
    if float.abs() < 1e-18 {
        return Ok(0);
    }
    let short = format!("{float:.decimals$e}");
    let short = short.parse::<f64>().map_err(|_| exec_datafusion_err!("{float} is no numeric"))?;
    of_text(&short.to_string())
}

fn of_text(text: &str) -> Result<i128> {
    let text = text.trim();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text),
    };
    let spelled = plain(digits).map_or_else(|| text.to_owned(), |plain| format!("{sign}{plain}"));
    Some(spelled.as_str())
        .filter(|spelled| spelled.len() <= MAX_LETTERS)
        .and_then(|spelled| parse_decimal::<Decimal128Type>(spelled, DECIMAL128_MAX_PRECISION, SCALE).ok())
        .ok_or_else(|| {
            exec_datafusion_err!("'{text}' is no numeric, or one of more than 38 digits, 18 of them decimals")
        })
}

#[cfg(test)]
mod tests {
    use super::{of_float, of_text};

    #[test]
    fn numbers_keep_their_digits() {
        let unit = 10_i128.pow(18);
        assert_eq!(of_text(" 1.5e3 ").unwrap(), 1_500 * unit);
        assert_eq!(of_text("-0.000000000001").unwrap(), -1_000_000);
        assert!(of_text("x").is_err());
        assert!(of_text("1e30").is_err());
        assert_eq!(of_float(271.82, 14).unwrap(), 27_182 * unit / 100);
        assert_eq!(of_float(0.1 + 0.2, 14).unwrap(), 3 * unit / 10);
        assert!(of_float(f64::NAN, 14).is_err());
        assert!(of_float(1e300, 14).is_err());
    }
}
