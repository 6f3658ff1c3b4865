//! `lag` and `lead` of numbers, with a default of another type: what they give has a type that both have, as in Postgres. The engine would
//! cast the default to the type of what is looked at: where that is an integer, 0.5 is 0. NULL rows away there is nothing, where the engine
//! would take the row itself; and the default may be of the row, which the engine takes as a constant alone.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, new_null_array},
    datatypes::{DataType, FieldRef},
};
use datafusion::{
    common::{Result, plan_err},
    logical_expr::{
        Case, Documentation, Expr, LimitEffect, PartitionEvaluator, ReversedUDWF, Signature, Volatility, WindowUDF,
        WindowUDFImpl,
        binary::binary_numeric_coercion,
        expr::{WindowFunction, WindowFunctionParams},
        function::{ExpressionArgs, PartitionEvaluatorArgs, WindowUDFFieldArgs},
        lit,
        planner::{ExprPlanner, PlannerResult, RawWindowExpr},
    },
    physical_expr::{PhysicalExpr, expressions::Literal},
};

use super::beside::float_of;

/// What they are called.
pub(super) const NAMES: &[&str] = &["lag", "lead"];

/// The engine's own, of one type.
pub(super) fn shifted(inner: Arc<WindowUDF>) -> Arc<WindowUDF> {
    Arc::new(WindowUDF::from(Shifted { inner, signature: Signature::user_defined(Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Shifted {
    inner: Arc<WindowUDF>,
    signature: Signature,
}

impl WindowUDFImpl for Shifted {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [_] | [_, _] => Ok(types.to_vec()),
            [value, offset, default] => Ok(match common(value, default) {
                Some(kind) => vec![kind.clone(), offset.clone(), kind],
                None => types.to_vec(),
            }),
            _ => {
                let name = self.name();
                plan_err!(
                    "{name}() takes a value, how many rows lie between, and what stands for one that is not there"
                )
            }
        }
    }

    fn expressions(&self, args: ExpressionArgs) -> Vec<Arc<dyn PhysicalExpr>> {
        self.inner.expressions(args)
    }

    fn partition_evaluator(&self, args: PartitionEvaluatorArgs) -> Result<Box<dyn PartitionEvaluator>> {
        let offset = args.input_exprs().get(1).and_then(|offset| offset.downcast_ref::<Literal>());
        if offset.is_some_and(|offset| offset.value().is_null()) {
            let fields = [0, 2].into_iter().filter_map(|at| args.input_fields().get(at));
            let kind = fields.map(|field| field.data_type()).find(|kind| !kind.is_null());
            return Ok(Box::new(Nothing { kind: kind.cloned().unwrap_or(DataType::Null) }));
        }
        self.inner.partition_evaluator_factory(args)
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        self.inner.field(args)
    }

    fn reverse_expr(&self) -> ReversedUDWF {
        match self.inner.reverse_expr() {
            ReversedUDWF::Reversed(other) => ReversedUDWF::Reversed(shifted(other)),
            same => same,
        }
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn limit_effect(&self, args: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        self.inner.inner().limit_effect(args)
    }
}

/// NULL for each row.
#[derive(Debug)]
struct Nothing {
    kind: DataType,
}

impl PartitionEvaluator for Nothing {
    fn evaluate_all(&mut self, _: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        Ok(new_null_array(&self.kind, rows))
    }
}

/// Plans one with a default of the row: `CASE lag(true, n, false) WHEN true THEN lag(x, n) WHEN false THEN default END`.
#[derive(Debug)]
pub(super) struct Defaulted;

impl ExprPlanner for Defaulted {
    fn plan_window(&self, of: RawWindowExpr) -> Result<PlannerResult<RawWindowExpr>> {
        let is_ours = NAMES.contains(&of.func_def.name()) && of.null_treatment.is_none();
        let (value, offset, default) = match of.args.as_slice() {
            [value, offset, default] if is_ours && !is_constant(default) => {
                (value.clone(), offset.clone(), default.clone())
            }
            _ => return Ok(PlannerResult::Original(of)),
        };
        let call = |args: Vec<Expr>| {
            let params = WindowFunctionParams {
                args,
                partition_by: of.partition_by.clone(),
                order_by: of.order_by.clone(),
                window_frame: of.window_frame.clone(),
                filter: of.filter.clone(),
                null_treatment: None,
                distinct: of.distinct,
            };
            Box::new(Expr::from(WindowFunction { fun: of.func_def.clone(), params }))
        };
        let is_there = call(vec![lit(true), offset.clone(), lit(false)]);
        let branches =
            vec![(Box::new(lit(true)), call(vec![value, offset])), (Box::new(lit(false)), Box::new(default))];
        Ok(PlannerResult::Planned(Expr::Case(Case::new(Some(is_there), branches, None))))
    }
}

/// Whether the engine takes it for a constant as it stands, or once it has its value.
fn is_constant(default: &Expr) -> bool {
    match default {
        Expr::Literal(..) | Expr::Placeholder(_) => true,
        Expr::Cast(of) => is_constant(&of.expr),
        Expr::Negative(of) => is_constant(of),
        _ => false,
    }
}

/// The type of two numbers of which one is no integer; nothing where what is looked at keeps its own.
fn common(value: &DataType, default: &DataType) -> Option<DataType> {
    let are_integers = value.is_integer() && default.is_integer();
    if are_integers || value == default || !value.is_numeric() || !default.is_numeric() {
        return None;
    }
    float_of([value, default].into_iter()).or_else(|| binary_numeric_coercion(value, default))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType::{Decimal128, Float32, Float64, Int32, Int64, Null, UInt64, Utf8};

    use super::common;

    #[test]
    fn two_numbers_are_of_one_type() {
        for (value, default, wanted) in [
            (Int64, Decimal128(2, 1), Some(Decimal128(21, 1))),
            (Decimal128(2, 1), Decimal128(3, 2), Some(Decimal128(3, 2))),
            (Decimal128(2, 1), Float64, Some(Float64)),
            (Float32, Decimal128(2, 1), Some(Float32)),
            (Int64, Float64, Some(Float64)),
            (Int64, Int32, None),
            (UInt64, Int64, None),
            (Int64, Null, None),
            (Decimal128(2, 1), Utf8, None),
        ] {
            assert_eq!(common(&value, &default), wanted, "{value} {default}");
        }
    }
}
