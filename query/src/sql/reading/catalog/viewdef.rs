//! `pg_get_viewdef`: the query that a view stands for, by the view's number or name.
//!
//! It is longer than what may be the same for every row. So it is made a batch at a time, and is no constant before: what all rows of a
//! batch have of it is bounded as the text of any function is.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, StringArray},
    datatypes::{DataType, Int64Type},
};
use datafusion::{
    common::{Result, exec_err, plan_err},
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
};

use super::known;
use crate::sql::{error::refused, functions::MAX_BATCH_BYTES};

/// The function.
pub(crate) fn pg_get_viewdef() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(ViewDef { signature: Signature::user_defined(Volatility::Volatile) }))
}

/// Whether it is this.
pub(crate) fn is_viewdef(function: &ScalarUDF) -> bool {
    function.inner().is::<ViewDef>()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ViewDef {
    signature: Signature,
}

impl ScalarUDFImpl for ViewDef {
    fn name(&self) -> &'static str {
        "pg_get_viewdef"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [kind] if kind.is_string() => Ok(vec![DataType::Utf8]),
            [kind] if kind.is_integer() || kind.is_null() => Ok(vec![DataType::Int64]),
            _ => plan_err!("pg_get_viewdef() takes the number of a view, or its name"),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [view] = args.args.as_slice() else { return exec_err!("pg_get_viewdef() takes a view") };
        let views = view.to_array(args.number_rows)?;
        let queries: Vec<Option<&str>> = match views.data_type() {
            DataType::Utf8 => {
                let names = views.as_string::<i32>().iter();
                names.map(|name| known::query_of(name?.rsplit('.').next()?.trim_matches('"'))).collect()
            }
            _ => views.as_primitive::<Int64Type>().iter().map(|number| known::query_numbered(number?)).collect(),
        };
        let bytes: u128 = queries.iter().flatten().map(|query| query.len() as u128).sum();
        if bytes > MAX_BATCH_BYTES {
            return refused(format!("pg_get_viewdef() may make {MAX_BATCH_BYTES} bytes of text for a batch of rows"));
        }
        let queries: ArrayRef = Arc::new(queries.into_iter().collect::<StringArray>());
        Ok(ColumnarValue::Array(queries))
    }
}
