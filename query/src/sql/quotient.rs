//! Decimals divided, and their mean, to 16 decimals and more, as Postgres has them.
//!
//! The engine gives four more than what is divided has: of `1.0 * 3 / 1000000` nothing would be left. A result has up to 20 decimals, as
//! far as 38 digits allow, and 16 at least; what does not fit is an error. Halves are rounded away from zero. A product of what has
//! so many decimals keeps as many, where all of them would leave no room before the point.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, Decimal128Array},
    compute::{cast, kernels::numeric},
    datatypes::{DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, FieldRef, Float64Type, i256},
    error::ArrowError,
};
use datafusion::{
    common::{DFSchema, Result, exec_datafusion_err, exec_err, plan_err},
    functions::utils::make_scalar_function,
    functions_aggregate::average::avg_udaf,
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, Expr, ExprSchemable, GroupsAccumulator, Operator,
        ReversedUDAF, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
        function::{AccumulatorArgs, StateFieldsArgs},
        planner::{ExprPlanner, PlannerResult, RawBinaryExpr},
        type_coercion::binary::BinaryTypeCoercer,
    },
    sql::sqlparser::ast::BinaryOperator,
};

use super::{functions::chain_name, shape::as_inner, summed::Over};

/// The decimals of a result, where there is room for them.
const MOST: i16 = 20;
/// And where there is not.
const LEAST: i16 = 16;

/// The decimals that the mean is taken of, so that it has four more.
const MEAN_OF: i8 = 12;

/// The decimals that a product keeps without a loss: those of money, and of a quotient.
const EXACT: i16 = 28;

/// Plans `/` of decimals and of sums, and `*` of those with many places.
#[derive(Debug)]
pub(super) struct Divide;

impl ExprPlanner for Divide {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let divides = match expr.op {
            BinaryOperator::Divide => true,
            BinaryOperator::Multiply => false,
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let (Ok(left), Ok(right)) = (expr.left.get_type(schema), expr.right.get_type(schema)) else {
            return Ok(PlannerResult::Original(expr));
        };
        let over = Over::types(schema);
        let of_sum =
            divides && left.is_integer() && right.is_integer() && (over.is_sum(&expr.left) || over.is_sum(&expr.right));
        Ok(match of_sum || is_ours(divides, &left, &right) {
            true => PlannerResult::Planned(calculated(divides, expr.left, expr.right)),
            false => PlannerResult::Original(expr),
        })
    }
}

/// Whether these are a decimal and another, or an integer, and the engine would not divide or multiply them right.
pub(super) fn is_ours(divides: bool, left: &DataType, right: &DataType) -> bool {
    let scale = |kind: &DataType| match kind {
        DataType::Decimal128(_, scale) if *scale >= 0 => Some(i16::from(*scale)),
        _ => None,
    };
    match (scale(left), scale(right)) {
        (Some(left), Some(right)) => divides || left + right > EXACT,
        (Some(_), None) => divides && right.is_integer(),
        (None, Some(_)) => divides && left.is_integer(),
        (None, None) => false,
    }
}

/// One divided by the other, or multiplied with it.
pub(super) fn calculated(divides: bool, left: Expr, right: Expr) -> Expr {
    let signature = Signature::user_defined(Volatility::Immutable);
    ScalarUDF::from(Calculated { divides, signature }).call(vec![left, right])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Calculated {
    divides: bool,
    signature: Signature,
}

impl ScalarUDFImpl for Calculated {
    fn name(&self) -> &str {
        if self.divides { "/" } else { "*" }
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(chain_name(self.name(), args))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        // A decimal when this was planned may be a float since: a branch of a `CASE` beside one.
        if types.iter().any(DataType::is_floating) {
            return Ok(vec![DataType::Float64; types.len()]);
        }
        let exact = |kind: &DataType| match kind {
            DataType::Decimal128(..) => Ok(kind.clone()),
            kind if kind.is_integer() || kind.is_null() => Ok(DataType::Decimal128(20, 0)),
            other => plan_err!("a decimal is calculated with a number, not {other}"),
        };
        types.iter().map(exact).collect()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        if let [DataType::Float64, DataType::Float64] = types {
            return Ok(DataType::Float64);
        }
        let [DataType::Decimal128(digits, left), DataType::Decimal128(_, right)] = types else {
            return plan_err!("two decimals are calculated with");
        };
        let (digits, left, right) = (i16::from(*digits), i16::from(*left), i16::from(*right));
        let most = i16::from(DECIMAL128_MAX_PRECISION);
        let scale = if self.divides {
            (most - (digits - left + right)).clamp(LEAST, MOST).max(left)
        } else {
            (left + right).min(MOST.max(left).max(right))
        };
        let scale = scale.min(most);
        Ok(DataType::Decimal128(DECIMAL128_MAX_PRECISION, i8::try_from(scale).unwrap_or(i8::MAX)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        make_scalar_function(
            |arrays| {
                let [left, right] = arrays else { return exec_err!("two decimals are calculated with") };
                if *args.return_field.data_type() == DataType::Float64 {
                    return in_floats(self.divides, left, right);
                }
                let (DataType::Decimal128(_, of), DataType::Decimal128(_, by), DataType::Decimal128(digits, scale)) =
                    (left.data_type(), right.data_type(), args.return_field.data_type())
                else {
                    return exec_err!("two decimals are calculated with");
                };
                let (scale, of, by) = (*scale, i16::from(*of), i16::from(*by));
                let zeros = if self.divides { i16::from(scale) - of + by } else { of + by - i16::from(scale) };
                let zeros = u32::try_from(zeros).map_err(|_| exec_datafusion_err!("numeric field overflow"))?;
                let mut results = Decimal128Array::builder(left.len());
                for (left, right) in
                    left.as_primitive::<Decimal128Type>().iter().zip(right.as_primitive::<Decimal128Type>())
                {
                    match (left, right) {
                        (Some(_), Some(0)) if self.divides => return Err(ArrowError::DivideByZero.into()),
                        (Some(left), Some(right)) => {
                            let result =
                                if self.divides { divided(left, right, zeros) } else { multiplied(left, right, zeros) };
                            let result = result.filter(|result| fits(*result, *digits));
                            results.append_value(result.ok_or_else(|| {
                                exec_datafusion_err!("numeric field overflow: a result has no room in {digits} digits")
                            })?);
                        }
                        _ => results.append_null(),
                    }
                }
                let results = results.finish().with_precision_and_scale(*digits, scale)?;
                Ok(Arc::new(results))
            },
            Vec::new(),
        )(&args.args)
    }
}

/// One float divided by another, of settled types.
pub(super) fn of_floats(left: Expr, right: Expr) -> Expr {
    ScalarUDF::from(OfFloats { signature: Signature::any(2, Volatility::Immutable) }).call(vec![left, right])
}

/// `/` of floats, which by zero is an error as of other numbers, and not infinite.
#[derive(Debug, PartialEq, Eq, Hash)]
struct OfFloats {
    signature: Signature,
}

impl ScalarUDFImpl for OfFloats {
    fn name(&self) -> &'static str {
        "/"
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(chain_name(self.name(), args))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [left, right] => BinaryTypeCoercer::new(left, &Operator::Divide, right).get_result_type(),
            _ => plan_err!("two numbers are divided"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        make_scalar_function(
            |arrays| {
                let [left, right] = arrays else { return exec_err!("two numbers are divided") };
                in_floats(true, left, right)
            },
            Vec::new(),
        )(&args.args)
    }
}

/// Floats divided, or multiplied.
fn in_floats(divides: bool, left: &ArrayRef, right: &ArrayRef) -> Result<ArrayRef> {
    if !divides {
        return Ok(numeric::mul(left, right)?);
    }
    let by = cast(right, &DataType::Float64)?;
    let mut by = by.as_primitive::<Float64Type>().iter().enumerate();
    if by.any(|(at, by)| by == Some(0.0) && left.is_valid(at)) {
        return Err(ArrowError::DivideByZero.into());
    }
    Ok(numeric::div(left, right)?)
}

fn fits(value: i128, digits: u8) -> bool {
    10_u128.checked_pow(digits.into()).is_some_and(|most| value.unsigned_abs() < most)
}

/// A number with so many zeros after it, divided, with halves away from zero; nothing where that is too large.
fn divided(left: i128, right: i128, zeros: u32) -> Option<i128> {
    let (quotient, rest) = match 10_i128.checked_pow(zeros).and_then(|times| left.checked_mul(times)) {
        Some(left) => (left.checked_div(right)?, left.checked_rem(right)?),
        None => {
            let left = i256::from_i128(left).checked_mul(i256::from_i128(10).checked_pow(zeros)?)?;
            let right = i256::from_i128(right);
            (left.checked_div(right)?.to_i128()?, left.checked_rem(right)?.to_i128()?)
        }
    };
    // The rest is smaller than what is divided by: half of it and more is at least as much as what is missing to the whole.
    let away = rest.unsigned_abs() >= right.unsigned_abs() - rest.unsigned_abs();
    match (away, (left < 0) == (right < 0)) {
        (false, _) => Some(quotient),
        (true, true) => quotient.checked_add(1),
        (true, false) => quotient.checked_sub(1),
    }
}

/// A product without so many of its last digits, with halves away from zero; nothing where that is too large.
fn multiplied(left: i128, right: i128, less: u32) -> Option<i128> {
    let product = i256::from_i128(left).checked_mul(i256::from_i128(right))?;
    let unit = 10_i128.checked_pow(less)?;
    let whole = product.checked_div(i256::from_i128(unit))?.to_i128()?;
    let rest = product.checked_rem(i256::from_i128(unit))?.to_i128()?;
    let away = rest.abs() >= unit - rest.abs();
    match (away, product.is_negative()) {
        (false, _) => Some(whole),
        (true, false) => whole.checked_add(1),
        (true, true) => whole.checked_sub(1),
    }
}

/// `avg`.
pub(super) fn avg() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(Mean { inner: avg_udaf(), signature: Signature::user_defined(Volatility::Immutable) }))
}

/// The engine's own, over decimals with so many places that enough are left of the mean.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Mean {
    inner: Arc<AggregateUDF>,
    signature: Signature,
}

impl AggregateUDFImpl for Mean {
    as_inner!(name, aliases, return_type);

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let of = |kind: &DataType| match kind {
            DataType::Decimal128(_, scale) if *scale >= MEAN_OF => Ok(kind.clone()),
            // A number that may have 38 digits, and none behind the point, is left as it is.
            DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0)
            | DataType::Decimal32(..)
            | DataType::Decimal64(..)
            | DataType::Decimal256(..)
            | DataType::Duration(_) => Ok(kind.clone()),
            DataType::Decimal128(..) => Ok(DataType::Decimal128(DECIMAL128_MAX_PRECISION, MEAN_OF)),
            kind if kind.is_numeric() || kind.is_null() => Ok(DataType::Float64),
            other => plan_err!("avg() takes numbers, not {other}"),
        };
        match types {
            [kind] => Ok(vec![of(kind)?]),
            _ => plan_err!("avg() takes one argument"),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.inner.accumulator(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.inner.create_sliding_accumulator(args)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        self.inner.create_groups_accumulator(args)
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_are_rounded_away_from_zero() {
        let check = |left, right, zeros, wanted| assert_eq!(divided(left, right, zeros), wanted, "{left} / {right}");
        check(2, 3, 4, Some(6_667));
        check(-2, 3, 4, Some(-6_667));
        check(1, 3, 4, Some(3_333));
        check(1, 8, 2, Some(13));
        check(-1, 8, 2, Some(-13));
        check(1, -8, 2, Some(-13));
        check(-1, 3, 0, Some(0));
        check(i128::MAX, i128::MAX, 30, 10_i128.checked_pow(30));
        check(i128::MAX, 1, 30, None);
        check(i128::MIN, -1, 0, None);
        check(1, i128::MIN, 0, Some(0));
    }

    #[test]
    fn products_are_rounded_away_from_zero() {
        let check = |left, right, less, wanted| assert_eq!(multiplied(left, right, less), wanted, "{left} * {right}");
        check(5, 3, 1, Some(2));
        check(-5, 3, 1, Some(-2));
        check(7, 2, 1, Some(1));
        check(7, 2, 0, Some(14));
        check(i128::MAX, i128::MAX, 38, None);
        check(i128::MAX, 10_i128.pow(20), 20, Some(i128::MAX));
    }

    /// Against the quotient of whole numbers, which is at most half from it.
    #[test]
    fn any_quotient_is_the_nearest() {
        let mut seed = 7_u64;
        let mut next = |bits: u32| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            i128::from(seed >> (64 - bits)) - (1 << (bits - 1))
        };
        for _ in 0..1_000 {
            let (left, right) = (next(40), next(20));
            if right == 0 {
                continue;
            }
            let quotient = divided(left, right, 8).unwrap();
            let off = (quotient * right - left * 100_000_000).abs() * 2;
            assert!(off <= right.abs(), "{left} / {right}");
        }
    }
}
