//! `chr`, which makes no letter of the number 0: text has none, as in Postgres.

use std::sync::Arc;

use arrow::{
    array::AsArray,
    compute::cast,
    datatypes::{DataType, Int64Type},
};
use datafusion::{
    common::{Result, exec_err},
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl},
};

use super::shape::as_inner;

/// What it is called.
pub(super) const NAME: &str = "chr";

/// The function, over the engine's own.
pub(super) fn chr(inner: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Chr { inner }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Chr {
    inner: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for Chr {
    as_inner!(name, signature, return_type);

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        for of in &args.args {
            let numbers = cast(&of.to_array(1)?, &DataType::Int64)?;
            if numbers.as_primitive::<Int64Type>().iter().any(|number| number == Some(0)) {
                return exec_err!("null character not permitted");
            }
        }
        self.inner.invoke_with_args(args)
    }
}
