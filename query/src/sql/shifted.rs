//! `lag` and `lead` of numbers, with a default of another type: what they give has a type that both have, as in Postgres. The engine would
//! cast the default to the type of what is looked at: where that is an integer, 0.5 is 0.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::{
    common::{Result, plan_err},
    logical_expr::{
        Documentation, LimitEffect, PartitionEvaluator, ReversedUDWF, Signature, Volatility, WindowUDF, WindowUDFImpl,
        binary::binary_numeric_coercion,
        function::{ExpressionArgs, PartitionEvaluatorArgs, WindowUDFFieldArgs},
    },
    physical_expr::PhysicalExpr,
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
        self.inner.partition_evaluator_factory(args)
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        self.inner.field(args)
    }

    fn reverse_expr(&self) -> ReversedUDWF {
        self.inner.reverse_expr()
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn limit_effect(&self, args: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        self.inner.inner().limit_effect(args)
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
