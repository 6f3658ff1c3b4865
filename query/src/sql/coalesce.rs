//! `coalesce` of a time, or a span of time, and a text, which is read as one: the engine finds no type that both are of.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::{
    common::Result,
    logical_expr::{
        ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
        simplify::{ExprSimplifyResult, SimplifyContext},
    },
};

use super::shape::as_inner;

/// The engine's own, of these too.
pub(super) fn coalesce(inner: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Coalesce { inner }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Coalesce {
    inner: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for Coalesce {
    as_inner!(name, signature, return_type, return_field_from_args);

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let Some(time) = types.iter().find(|kind| kind.is_temporal()) else { return self.inner.coerce_types(types) };
        let read: Vec<DataType> =
            types.iter().map(|kind| if kind.is_string() { time } else { kind }).cloned().collect();
        self.inner.coerce_types(&read)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.inner.simplify(args, info)
    }

    fn conditional_arguments<'a>(&self, args: &'a [Expr]) -> Option<(Vec<&'a Expr>, Vec<&'a Expr>)> {
        self.inner.conditional_arguments(args)
    }

    fn short_circuits(&self) -> bool {
        self.inner.short_circuits()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.inner.invoke_with_args(args)
    }
}
