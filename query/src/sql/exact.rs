//! Whole numbers that are right or an error, never wrapped.
//!
//! The engine's own `+ - *` and `sum` of integers go round at 2⁶³. Here the operators are functions that fail, and a sum is
//! kept as a decimal of 38 digits and made an integer again at its end, or fails. Names and types of columns stay.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, BooleanArray},
    compute::{cast, cast_with_options, kernels::numeric},
    datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, FieldRef},
};
use datafusion::{
    common::{DFSchema, Result, ScalarValue, exec_err, format::DEFAULT_CAST_OPTIONS},
    functions_aggregate::sum::sum_udaf,
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, EmitTo, Expr, ExprSchemable, GroupsAccumulator,
        ReversedUDAF, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
        expr::ScalarFunction,
        function::{AccumulatorArgs, StateFieldsArgs},
        planner::{ExprPlanner, PlannerResult, RawBinaryExpr},
        utils::AggregateOrderSensitivity,
    },
    physical_expr_common::datum::apply,
    sql::sqlparser::ast::BinaryOperator,
};

use super::functions::chain_name;

/// What a sum of integers is kept as: room for 10¹⁹ of the largest.
const WIDE: DataType = DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0);

/// Plans `+ - *` of integers as functions that fail where the result is none.
#[derive(Debug)]
pub(crate) struct Checked;

impl ExprPlanner for Checked {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let operator = match expr.op {
            BinaryOperator::Plus => Arithmetic::Plus,
            BinaryOperator::Minus => Arithmetic::Minus,
            BinaryOperator::Multiply => Arithmetic::Times,
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let known =
            |side: &Expr| matches!(side, Expr::ScalarFunction(below) if below.func.inner().is::<CheckedFunction>());
        let integer = |side: &Expr| known(side) || side.get_type(schema).is_ok_and(|kind| kind.is_integer());
        if !integer(&expr.left) || !integer(&expr.right) {
            return Ok(PlannerResult::Original(expr));
        }
        let signature = Signature::exact(vec![DataType::Int64, DataType::Int64], Volatility::Immutable);
        let function = Arc::new(ScalarUDF::from(CheckedFunction { operator, signature }));
        let call = ScalarFunction::new_udf(function, vec![expr.left, expr.right]);
        Ok(PlannerResult::Planned(Expr::ScalarFunction(call)))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Arithmetic {
    Plus,
    Minus,
    Times,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CheckedFunction {
    operator: Arithmetic,
    signature: Signature,
}

impl ScalarUDFImpl for CheckedFunction {
    fn name(&self) -> &'static str {
        match self.operator {
            Arithmetic::Plus => "+",
            Arithmetic::Minus => "-",
            Arithmetic::Times => "*",
        }
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(chain_name(self.name(), args))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = args.args.as_slice() else { return exec_err!("{} takes two numbers", self.name()) };
        apply(
            left,
            right,
            match self.operator {
                Arithmetic::Plus => numeric::add,
                Arithmetic::Minus => numeric::sub,
                Arithmetic::Times => numeric::mul,
            },
        )
    }
}

/// `sum`.
pub(crate) fn sum() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(ExactSum { inner: sum_udaf() }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ExactSum {
    inner: Arc<AggregateUDF>,
}

/// The same with a wide result, where it is an integer.
fn wide(field: &FieldRef) -> Option<FieldRef> {
    field.data_type().is_integer().then(|| Arc::new(Field::new(field.name(), WIDE, true)))
}

/// What adds up wide where the result is an integer, and what is made of `args` as they are where it is none.
fn exact(
    args: AccumulatorArgs,
    make: impl Fn(AccumulatorArgs) -> Result<Box<dyn Accumulator>>,
) -> Result<Box<dyn Accumulator>> {
    let Some(return_field) = wide(&args.return_field) else { return make(args) };
    let kind = args.return_field.data_type().clone();
    let inner = make(AccumulatorArgs { return_field, ..args })?;
    Ok(Box::new(Exact { inner, kind }))
}

impl AggregateUDFImpl for ExactSum {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        exact(args, |args| self.inner.accumulator(args))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        exact(args, |args| self.inner.create_sliding_accumulator(args))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let return_field = wide(&args.return_field).unwrap_or_else(|| Arc::clone(&args.return_field));
        self.inner.state_fields(StateFieldsArgs { return_field, ..args })
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let Some(return_field) = wide(&args.return_field) else { return self.inner.create_groups_accumulator(args) };
        let kind = args.return_field.data_type().clone();
        let inner = self.inner.create_groups_accumulator(AccumulatorArgs { return_field, ..args })?;
        Ok(Box::new(Exact { inner, kind }))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// Adds up wide, and gives what was asked for.
#[derive(Debug)]
struct Exact<A> {
    inner: A,
    /// Of the result.
    kind: DataType,
}

fn widened(values: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
    Ok(values.iter().map(|values| cast(values, &WIDE)).collect::<Result<_, _>>()?)
}

impl Accumulator for Exact<Box<dyn Accumulator>> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(&widened(values)?)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.inner.evaluate()?.cast_to_with_options(&self.kind, &DEFAULT_CAST_OPTIONS)
    }

    fn size(&self) -> usize {
        self.inner.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.retract_batch(&widened(values)?)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }
}

impl GroupsAccumulator for Exact<Box<dyn GroupsAccumulator>> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.inner.update_batch(&widened(values)?, groups, filter, total)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        Ok(cast_with_options(&self.inner.evaluate(emit_to)?, &self.kind, &DEFAULT_CAST_OPTIONS)?)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.inner.state(emit_to)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.inner.merge_batch(values, groups, total)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        self.inner.convert_to_state(&widened(values)?, filter)
    }

    fn size(&self) -> usize {
        self.inner.size()
    }
}
