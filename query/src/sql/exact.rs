//! Integers and decimals that are right or an error, never wrapped.
//!
//! The engine's own operators and `sum` go round at 2⁶³, those of decimals at 2¹²⁷, beyond the digits of their type. Here the
//! operators are functions that fail, and a sum is kept in a wider type and given in its own at the end, or fails. Names of
//! columns stay, and types but for those of small integers, which are calculated as `BIGINT`.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, BooleanArray},
    compute::{cast, cast_with_options, kernels::numeric},
    datatypes::{DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Decimal128Type, Field, FieldRef},
};
use datafusion::{
    common::{
        DFSchema, Result, ScalarValue, config::ConfigOptions, exec_err, format::DEFAULT_CAST_OPTIONS,
        internal_datafusion_err, tree_node::Transformed,
    },
    functions_aggregate::sum::sum_udaf,
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, BinaryExpr, ColumnarValue, EmitTo, Expr, ExprSchemable,
        GroupsAccumulator, LogicalPlan, Operator, ReversedUDAF, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
        Signature, Volatility, cast as cast_to,
        expr_rewriter::FunctionRewrite,
        function::{AccumulatorArgs, StateFieldsArgs},
        lit,
        type_coercion::binary::BinaryTypeCoercer,
        utils::AggregateOrderSensitivity,
    },
    optimizer::analyzer::{AnalyzerRule, function_rewrite::ApplyFunctionRewrites, type_coercion::TypeCoercion},
    physical_expr_common::datum::apply,
};

use super::{
    functions::chain_name,
    lengths, quotient,
    shape::{as_cast, as_inner},
    steps::Renewed,
    sums::Sums,
    whole,
};

/// What makes operators exact, once the types of what they are over are settled: until then a `CASE` is of the type of its first branch,
/// and money beside a `0` would be taken for an integer. The types of what is put in are settled after it, and those of what queries within name.
pub(crate) fn rules() -> [Arc<dyn AnalyzerRule + Send + Sync>; 5] {
    let settled: Vec<Arc<dyn FunctionRewrite + Send + Sync>> =
        vec![Arc::new(Checked), Arc::new(lengths::Compared { settled: true }), Arc::new(whole::Rounds)];
    let settled = ApplyFunctionRewrites::new(settled);
    [Arc::new(Renewed), Arc::new(settled), Arc::new(Listed), Arc::new(Renewed), Arc::new(TypeCoercion::new())]
}

/// Casts what is calculated in `VALUES` to the types that these have: nothing settles them again, and of small integers it is of another.
#[derive(Debug)]
struct Listed;

impl AnalyzerRule for Listed {
    fn name(&self) -> &'static str {
        "listed"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let done = plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Values(mut list) => {
                let schema: &DFSchema = &list.schema;
                let mut changed = false;
                for (value, field) in list.values.iter_mut().flat_map(|row| row.iter_mut().zip(schema.fields())) {
                    if value.get_type(schema).is_ok_and(|kind| kind != *field.data_type()) {
                        (*value, changed) = (cast_to(std::mem::take(value), field.data_type().clone()), true);
                    }
                }
                let list = LogicalPlan::Values(list);
                Ok(if changed { Transformed::yes(list) } else { Transformed::no(list) })
            }
            other => Ok(Transformed::no(other)),
        })?;
        Ok(done.data)
    }
}

/// Puts checked functions in the place of operators that would go round.
#[derive(Debug)]
struct Checked;

impl FunctionRewrite for Checked {
    fn name(&self) -> &'static str {
        "checked"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        match expr {
            Expr::Negative(of) if kind(&of, schema)?.is_integer() => Ok(call(Arithmetic::Minus, vec![lit(0_i64), *of])),
            Expr::BinaryExpr(mut of) if of.op.is_numerical_operators() => {
                of = signed(of, schema);
                let (left, right) = (kind(&of.left, schema)?, kind(&of.right, schema)?);
                let divides = of.op == Operator::Divide;
                if (divides || of.op == Operator::Multiply) && quotient::is_ours(divides, &left, &right) {
                    return Ok(Transformed::yes(quotient::calculated(divides, *of.left, *of.right)));
                }
                let kind = BinaryTypeCoercer::new(&left, &of.op, &right).get_result_type()?;
                // The engine makes decimals of a signed and an unsigned one.
                let integer = kind.is_integer() || left.is_integer() && right.is_integer();
                match (kind, Arithmetic::of(of.op)) {
                    (_, Some(operator)) if integer => Ok(call(operator, vec![*of.left, *of.right])),
                    (DataType::Decimal128(DECIMAL128_MAX_PRECISION, _), Some(_)) => {
                        // What is calculated on is looked at once, at the end: in between nothing goes round, that would be an error.
                        [&mut of.left, &mut of.right].into_iter().for_each(|side| bare(side));
                        Ok(Transformed::yes(within(of)))
                    }
                    (DataType::Float32 | DataType::Float64, None) if divides => {
                        Ok(Transformed::yes(quotient::of_floats(*of.left, *of.right)))
                    }
                    (DataType::Decimal128(DECIMAL128_MAX_PRECISION, _), None) => Ok(Transformed::yes(within(of))),
                    _ => Ok(Transformed::no(Expr::BinaryExpr(of))),
                }
            }
            expr => Ok(Transformed::no(expr)),
        }
    }
}

fn within(of: BinaryExpr) -> Expr {
    ScalarUDF::from(Within).call(vec![Expr::BinaryExpr(of)])
}

/// Takes off a sum, difference or product of decimals that it is looked at.
fn bare(side: &mut Expr) {
    let is_calculated = |expr: &Expr| matches!(expr, Expr::BinaryExpr(of) if Arithmetic::of(of.op).is_some());
    if let Expr::ScalarFunction(call) = side
        && call.func.inner().is::<Within>()
        && call.args.first().is_some_and(is_calculated)
    {
        *side = call.args.swap_remove(0);
    }
}

/// Two integers that the engine has made decimals of, because one of them has no sign, as they were.
fn signed(mut of: BinaryExpr, schema: &DFSchema) -> BinaryExpr {
    let integer = |side: &Expr| match side {
        Expr::Cast(cast) if *cast.field.data_type() == DataType::Decimal128(20, 0) => kind(&cast.expr, schema).ok(),
        _ => None,
    };
    let kinds = [integer(&of.left), integer(&of.right)];
    if kinds.contains(&Some(DataType::UInt64)) && kinds.iter().flatten().filter(|kind| kind.is_integer()).count() == 2 {
        for side in [&mut of.left, &mut of.right] {
            if let Expr::Cast(cast) = &mut **side {
                **side = std::mem::take(&mut *cast.expr);
            }
        }
    }
    of
}

fn call(operator: Arithmetic, args: Vec<Expr>) -> Transformed<Expr> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Transformed::yes(ScalarUDF::from(CheckedFunction { operator, signature }).call(args))
}

/// Asks what is below a checked function only once: a chain of them is deep.
fn kind(expr: &Expr, schema: &DFSchema) -> Result<DataType> {
    match expr {
        Expr::ScalarFunction(below) if below.func.inner().is::<CheckedFunction>() => Ok(DataType::Int64),
        _ => expr.get_type(schema),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Arithmetic {
    Plus,
    Minus,
    Times,
}

impl Arithmetic {
    fn of(operator: Operator) -> Option<Self> {
        match operator {
            Operator::Plus => Some(Self::Plus),
            Operator::Minus => Some(Self::Minus),
            Operator::Multiply => Some(Self::Times),
            _ => None,
        }
    }
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

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(vec![DataType::Int64; types.len()])
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

/// Passes decimals on that have no more digits than their type.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Within;

impl ScalarUDFImpl for Within {
    as_cast!("within");

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        types.first().cloned().ok_or_else(|| internal_datafusion_err!("a decimal is missing"))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = args.args.as_slice() else { return exec_err!("{} takes a decimal", self.name()) };
        let rows = value.to_array(1)?;
        if let Some(decimals) = rows.as_primitive_opt::<Decimal128Type>() {
            decimals.validate_decimal_precision(DECIMAL128_MAX_PRECISION)?;
        }
        Ok(value.clone())
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

/// The same with a wide result, in which no sum goes round, where it has none: room for 10¹⁹ of the largest.
fn wide(field: &FieldRef) -> Option<FieldRef> {
    let kind = match *field.data_type() {
        DataType::Decimal128(DECIMAL128_MAX_PRECISION, scale) => DataType::Decimal256(DECIMAL256_MAX_PRECISION, scale),
        ref kind if kind.is_integer() => DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0),
        _ => return None,
    };
    Some(Arc::new(Field::new(field.name(), kind, true)))
}

/// What adds up wide where the result may go round, and what is made of `args` as they are where it cannot.
fn exact(
    args: AccumulatorArgs,
    make: impl Fn(AccumulatorArgs) -> Result<Box<dyn Accumulator>>,
) -> Result<Box<dyn Accumulator>> {
    let Some(return_field) = wide(&args.return_field) else { return make(args) };
    let (kind, wide) = (args.return_field.data_type().clone(), return_field.data_type().clone());
    let inner = make(AccumulatorArgs { return_field, ..args })?;
    Ok(Box::new(Exact { inner, wide, kind }))
}

impl AggregateUDFImpl for ExactSum {
    as_inner!(name, signature, return_type);

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
        let plain = args.expr_fields.iter().all(|field| *field.data_type() == DataType::Int64);
        if plain && *args.return_field.data_type() == DataType::Int64 && !args.is_distinct {
            return Ok(Box::new(Sums::default()));
        }
        let Some(return_field) = wide(&args.return_field) else { return self.inner.create_groups_accumulator(args) };
        let (kind, wide) = (args.return_field.data_type().clone(), return_field.data_type().clone());
        let inner = self.inner.create_groups_accumulator(AccumulatorArgs { return_field, ..args })?;
        Ok(Box::new(Exact { inner, wide, kind }))
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
    /// What it is kept as.
    wide: DataType,
    /// Of the result.
    kind: DataType,
}

impl<A> Exact<A> {
    fn widened(&self, values: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        Ok(values.iter().map(|values| cast(values, &self.wide)).collect::<Result<_, _>>()?)
    }
}

impl Accumulator for Exact<Box<dyn Accumulator>> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = self.widened(values)?;
        self.inner.update_batch(&values)
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
        let values = self.widened(values)?;
        self.inner.retract_batch(&values)
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
        let values = self.widened(values)?;
        self.inner.update_batch(&values, groups, filter, total)
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
        let values = self.widened(values)?;
        self.inner.convert_to_state(&values, filter)
    }

    fn size(&self) -> usize {
        self.inner.size()
    }
}
