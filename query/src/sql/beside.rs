//! Numbers beside others of another type, read as Postgres reads them; before types are settled, which would round them.
//!
//! What is quoted beside a decimal has the decimals that it is written with. Of a float and a decimal that are compared, or become one value (in
//! `greatest`, `coalesce`, the branches of a `CASE`), and of a `real` and a number of another type, floats are made.

use arrow::{
    compute::kernels::cast_utils::parse_decimal,
    datatypes::{DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, DecimalType},
};
use datafusion::{
    common::{DFSchema, Result, ScalarValue, config::ConfigOptions, tree_node::Transformed},
    logical_expr::{Expr, ExprSchemable, Operator, cast as cast_to, expr_rewriter::FunctionRewrite, lit},
};

/// Reads numbers beside others.
#[derive(Debug)]
pub(super) struct Beside;

impl FunctionRewrite for Beside {
    fn name(&self) -> &'static str {
        "beside"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        read(expr, schema)
    }
}

/// Reads a quoted number that is compared with a decimal as it is written. The engine would round it to the decimals of the
/// column first, and `cost_usd > '0.0000000000009'` would find other rows. Of a float and a decimal it would make decimals, of fewer places
/// than either has: `cost_usd::real > 0.0019` would not find what Postgres does, and of what is not a number, or too large for a decimal, it
/// could make none. And a `real` and an integer, or in a sum a decimal, it would take as two of four bytes: `16777217 = 16777216::real` would
/// be true.
fn read(mut expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let is_calculated = matches!(&expr, Expr::BinaryExpr(of) if of.op.is_numerical_operators());
    let sides = match &mut expr {
        Expr::BinaryExpr(of) if is_calculated => Some(vec![of.left.as_mut(), of.right.as_mut()]),
        compares => compared(compares),
    };
    let is_compared = sides.is_some_and(|sides| {
        let kinds = kinds_of(&sides, schema);
        let is_any = |is_it: fn(&DataType) -> bool| kinds.iter().flatten().any(is_it);
        let is_mixed = kinds.contains(&Some(DataType::Float32)) && is_any(|kind| kind.is_integer() || is_decimal(kind));
        let is_ours = is_mixed || (!is_calculated && is_any(is_decimal));
        is_ours && fitted(sides, kinds, &DataType::Float64)
    });
    let is_given = given(&mut expr).is_some_and(|sides| {
        let kinds = kinds_of(&sides, schema);
        let float = float_of(kinds.iter().flatten()).unwrap_or(DataType::Float64);
        kinds.iter().flatten().any(is_decimal) && fitted(sides, kinds, &float)
    });
    Ok(if is_compared || is_given { Transformed::yes(expr) } else { Transformed::no(expr) })
}

fn kinds_of(sides: &[&mut Expr], schema: &DFSchema) -> Vec<Option<DataType>> {
    sides.iter().map(|side| side.get_type(schema).ok()).collect()
}

/// The float that a decimal becomes where these become one; nothing where none of them is a float.
pub(super) fn float_of<'a>(kinds: impl Iterator<Item = &'a DataType>) -> Option<DataType> {
    let floats = kinds.filter(|kind| kind.is_floating());
    floats.fold(None, |longest, kind| match (longest, kind) {
        (Some(DataType::Float64), _) | (_, DataType::Float64) => Some(DataType::Float64),
        _ => Some(DataType::Float32),
    })
}

pub(super) const fn is_decimal(kind: &DataType) -> bool {
    matches!(kind, DataType::Decimal128(..))
}

/// Reads what is quoted, and makes floats of this type of all numbers if one of them is a float; whether there was such a thing.
fn fitted(sides: Vec<&mut Expr>, kinds: Vec<Option<DataType>>, float: &DataType) -> bool {
    let quoted: Vec<Option<ScalarValue>> = sides.iter().map(|side| quoted(side)).collect();
    let read = quoted.iter().flatten().map(ScalarValue::data_type);
    let are_floats = kinds.iter().flatten().cloned().chain(read).any(|kind| kind.is_floating());
    let mut changed = false;
    for ((side, of), quoted) in sides.into_iter().zip(kinds).zip(quoted) {
        let of = quoted.as_ref().map(ScalarValue::data_type).or(of);
        if let Some(quoted) = quoted {
            (*side, changed) = (lit(quoted), true);
        }
        if are_floats && of.is_some_and(|of| of.is_numeric() && of != *float) {
            (*side, changed) = (in_float(std::mem::take(side), float), true);
        }
    }
    changed
}

/// A number as a float; one that is written, as the nearest to it.
pub(super) fn in_float(number: Expr, float: &DataType) -> Expr {
    let nearest = match &number {
        Expr::Literal(ScalarValue::Decimal128(Some(value), precision, scale), _) => {
            Decimal128Type::format_decimal(*value, *precision, *scale).parse::<f64>().ok()
        }
        _ => None,
    };
    match nearest {
        Some(nearest) if *float == DataType::Float64 => lit(nearest),
        Some(nearest) => cast_to(lit(nearest), float.clone()),
        None => cast_to(number, float.clone()),
    }
}

/// What an expression gives one of, all of which are of one type.
fn given(expr: &mut Expr) -> Option<Vec<&mut Expr>> {
    match expr {
        Expr::Case(of) => {
            let thens = of.when_then_expr.iter_mut().map(|(_, then)| then.as_mut());
            Some(thens.chain(of.else_expr.as_deref_mut()).collect())
        }
        Expr::ScalarFunction(call) if CHOOSE.contains(&call.func.name()) => Some(call.args.iter_mut().collect()),
        _ => None,
    }
}

/// The functions that give one of their arguments. What `nullif` gives has the type in which it compares them.
const CHOOSE: &[&str] = &["coalesce", "greatest", "least", "nvl"];

/// What an expression compares with each other; nothing where it is no comparison.
pub(super) fn compared(expr: &mut Expr) -> Option<Vec<&mut Expr>> {
    match expr {
        Expr::BinaryExpr(of) if is_comparison(of.op) => Some(vec![&mut of.left, &mut of.right]),
        Expr::Between(of) => Some(vec![&mut of.expr, &mut of.low, &mut of.high]),
        Expr::InList(of) => Some(std::iter::once(of.expr.as_mut()).chain(&mut of.list).collect()),
        Expr::Case(of) => {
            let whens = of.when_then_expr.iter_mut().map(|(when, _)| when.as_mut());
            of.expr.as_mut().map(|base| std::iter::once(base.as_mut()).chain(whens).collect())
        }
        Expr::ScalarFunction(call) if call.func.name() == "nullif" => Some(call.args.iter_mut().collect()),
        _ => None,
    }
}

/// Whether an operator compares its sides with each other.
pub(super) const fn is_comparison(operator: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(operator, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

/// The number that a quoted constant is: a decimal, or what no decimal is.
fn quoted(expr: &Expr) -> Option<ScalarValue> {
    let Expr::Literal(literal, _) = expr else { return None };
    let text = literal.try_as_str().flatten()?;
    written(text).or_else(|| endless(text))
}

/// `NaN`, `Infinity` or `-Infinity`, in whatever case.
fn endless(text: &str) -> Option<ScalarValue> {
    let float = text.trim().parse::<f64>().ok()?;
    let is_word = !text.contains(|letter: char| letter.is_ascii_digit());
    (is_word && !float.is_finite()).then(|| ScalarValue::from(float))
}

/// A number with as many decimals as it is written with.
fn written(text: &str) -> Option<ScalarValue> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = whole.trim_start_matches(['-', '+']).len() + decimals.len();
    let (precision, scale) = (u8::try_from(digits).ok()?, i8::try_from(decimals.len()).ok()?);
    let fits =
        (1..=DECIMAL128_MAX_PRECISION).contains(&precision) && decimals.bytes().all(|byte| byte.is_ascii_digit());
    let number = parse_decimal::<Decimal128Type>(text, precision, scale).ok().filter(|_| fits)?;
    Some(ScalarValue::Decimal128(Some(number), precision, scale))
}
