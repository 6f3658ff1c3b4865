//! Numbers beside others of another type, read as Postgres reads them; before types are settled, which would round them.
//!
//! What is quoted beside a decimal has the decimals that it is written with. Of a float and a decimal, and of a `real` and a number of
//! another type, floats of eight bytes are made.

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
/// than either has: `cost_usd::real > 0.0019` would not find what Postgres does. And a `real` and an integer, or in a sum a decimal, it would
/// take as two of four bytes: `16777217 = 16777216::real` would be true.
fn read(mut expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let is_calculated = matches!(&expr, Expr::BinaryExpr(of) if of.op.is_numerical_operators());
    let sides = match &mut expr {
        Expr::BinaryExpr(of) if is_calculated => Some(vec![of.left.as_mut(), of.right.as_mut()]),
        compares => compared(compares),
    };
    let Some(sides) = sides else { return Ok(Transformed::no(expr)) };
    let kinds: Vec<Option<DataType>> = sides.iter().map(|side| side.get_type(schema).ok()).collect();
    let is_decimal = |kind: &DataType| matches!(kind, DataType::Decimal128(..));
    let is_any = |is_it: &dyn Fn(&DataType) -> bool| kinds.iter().flatten().any(is_it);
    let is_mixed =
        kinds.contains(&Some(DataType::Float32)) && is_any(&|kind: &DataType| kind.is_integer() || is_decimal(kind));
    if !is_mixed && (is_calculated || !is_any(&is_decimal)) {
        return Ok(Transformed::no(expr));
    }
    let are_floats = is_any(&DataType::is_floating);
    let mut changed = false;
    for (side, of) in sides.into_iter().zip(kinds) {
        let decimal = match &*side {
            Expr::Literal(literal, _) => literal.try_as_str().flatten().and_then(written),
            _ => None,
        };
        let is_other = decimal.is_some() || of.is_some_and(|of| is_decimal(&of) || of == DataType::Float32);
        if let Some(decimal) = decimal {
            (*side, changed) = (lit(decimal), true);
        }
        if are_floats && is_other {
            (*side, changed) = (in_float(std::mem::take(side)), true);
        }
    }
    Ok(if changed { Transformed::yes(expr) } else { Transformed::no(expr) })
}

/// A number as a float; one that is written, as the nearest to it.
fn in_float(number: Expr) -> Expr {
    let float = match &number {
        Expr::Literal(ScalarValue::Decimal128(Some(value), precision, scale), _) => {
            Decimal128Type::format_decimal(*value, *precision, *scale).parse::<f64>().ok()
        }
        _ => None,
    };
    float.map_or_else(|| cast_to(number, DataType::Float64), lit)
}

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
        _ => None,
    }
}

/// Whether an operator compares its sides with each other.
pub(super) const fn is_comparison(operator: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(operator, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
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
