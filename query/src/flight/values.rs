//! The values of parameters, as clients send them: a schema and a batch of one row.
//!
//! They are read on the threads of the query that they are for, which may use what it may use and no more. What could be larger than it
//! looks (compressed, encoded by dictionary, nested) is refused before it is read.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, RecordBatch},
    buffer::Buffer,
    datatypes::DataType,
    error::ArrowError,
    ipc::{self, convert::fb_to_schema, reader::read_record_batch},
};
use bytes::Bytes;
use datafusion::common::ScalarValue;
use schemas::time;

use crate::sql::{QueryError, moment};

/// The most columns.
const MAX_VALUES: usize = 1_000;

/// What came.
pub(super) struct Values {
    /// The header of a schema.
    pub(super) schema: Bytes,
    /// That of a batch.
    pub(super) header: Bytes,
    /// Its columns.
    pub(super) body: Bytes,
}

impl Values {
    /// The values, for parameters that are known to be of these types. A text is read as the type that is wanted, times as Postgres does;
    /// everything else is as a constant of its own type would be.
    pub(super) fn scalars(self, known: &[Option<DataType>], zone: &str) -> Result<Vec<ScalarValue>, QueryError> {
        // The library that reads them panics on some of what is no Arrow.
        let row = catch_unwind(AssertUnwindSafe(|| self.row()));
        let row = row.unwrap_or_else(|_| Err(invalid("the values of parameters are not of Arrow")))?;
        if row.num_columns() > known.len() {
            let (wanted, given) = (known.len(), row.num_columns());
            return Err(invalid(&format!("the statement has {wanted} parameters; {given} values came")));
        }
        let scalar = |(at, column): (usize, &ArrayRef)| -> Result<ScalarValue, QueryError> {
            let value = ScalarValue::try_from_array(column, 0)?;
            let unsure = value.is_null() || value.try_as_str().is_some();
            match known.get(at).and_then(Option::as_ref) {
                Some(wanted) if unsure && *wanted != value.data_type() => {
                    let text = value.try_as_str().flatten();
                    let time = text.and_then(|text| moment::read(text, wanted, time::now(), zone));
                    time.unwrap_or(value).cast_to(wanted).map_err(|_| {
                        QueryError::Invalid(format!("invalid input: the value of ${} is not of its type", at + 1))
                    })
                }
                _ => Ok(value),
            }
        };
        row.columns().iter().enumerate().map(scalar).collect()
    }

    fn row(&self) -> Result<RecordBatch, QueryError> {
        let not_a_row = |_| invalid("the values of parameters are no schema and batch of Arrow");
        let schema = ipc::root_as_message(&self.schema).map_err(not_a_row)?;
        let schema =
            schema.header_as_schema().ok_or_else(|| invalid("values of parameters begin with their schema"))?;
        let schema = Arc::new(fb_to_schema(schema));
        let flat = |kind: &DataType| {
            !kind.is_nested() && !matches!(kind, DataType::Dictionary(..) | DataType::RunEndEncoded(..))
        };
        if schema.fields().len() > MAX_VALUES || !schema.fields().iter().all(|field| flat(field.data_type())) {
            return Err(invalid(
                "the value of a parameter is one number, text, time or flag, and no list, structure or code",
            ));
        }
        let message = ipc::root_as_message(&self.header).map_err(not_a_row)?;
        let batch =
            message.header_as_record_batch().ok_or_else(|| invalid("after their schema comes the batch of values"))?;
        if batch.length() != 1 || batch.compression().is_some() {
            return Err(invalid("values of parameters come as one row, which is not compressed"));
        }
        let body = Buffer::from(self.body.clone());
        let row = read_record_batch(&body, batch, schema, &HashMap::new(), None, &message.version());
        row.map_err(|error: ArrowError| invalid(&format!("the values of parameters cannot be read: {error}")))
    }
}

fn invalid(why: &str) -> QueryError {
    QueryError::Invalid(why.to_owned())
}
