//! Rows as messages of Arrow's IPC format, each in an envelope of Flight.
//!
//! A message is smaller than what clients of gRPC take by default, unless a single row is larger. Columns are of types that clients in
//! all languages have, and may all be NULL: so what a statement is said to give, and what it gives, are the same to the letter.

use std::sync::Arc;

use arrow::{
    array::{Array as _, ArrayRef, RecordBatch, RecordBatchOptions},
    compute::{CastOptions, cast_with_options},
    datatypes::{DataType, Field, Schema, SchemaRef},
    error::ArrowError,
    ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions, write_message},
    util::display::FormatOptions,
};
use bytes::Bytes;
use datafusion::common::DataFusionError;
use tonic::Status;

use super::message::FlightData;
use crate::sql::{QueryError, Write, encode::Format};

/// The most bytes of the columns in a message of several rows: a quarter of what clients take by default.
const MAX_BODY: usize = 1 << 20;

/// What does not fit is an error, and never NULL.
const EXACT: CastOptions<'static> = CastOptions { safe: false, format_options: FormatOptions::new() };

/// The columns of an answer as it has them on this surface, or why it cannot.
pub(super) fn shown(schema: &Schema) -> Result<SchemaRef, QueryError> {
    Format::Arrow.writes(schema)?;
    Ok(nullable(schema))
}

/// Columns of types that clients in all languages have, each of which may be NULL.
pub(super) fn nullable(schema: &Schema) -> SchemaRef {
    let field = |field: &Arc<Field>| Field::new(field.name(), plain(field.data_type()), true);
    Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
}

/// The type that clients in all languages have of those that hold the same values.
pub(super) fn plain(kind: &DataType) -> DataType {
    match kind {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        DataType::Dictionary(_, values) => plain(values),
        kind => kind.clone(),
    }
}

/// A schema as descriptions carry it: a whole message with its length.
pub(super) fn schema(schema: &Schema) -> Result<Bytes, Status> {
    let mut bytes = Vec::new();
    let options = IpcWriteOptions::default();
    let encoded = encoded(schema, &options);
    write_message(&mut bytes, encoded, &options).map_err(failed)?;
    Ok(bytes.into())
}

/// A schema as a stream begins with it.
pub(super) fn head(schema: &Schema) -> FlightData {
    let encoded = encoded(schema, &IpcWriteOptions::default());
    FlightData { data_header: encoded.ipc_message.into(), ..FlightData::default() }
}

fn encoded(schema: &Schema, options: &IpcWriteOptions) -> arrow::ipc::writer::EncodedData {
    let mut none = DictionaryTracker::new(true);
    IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(schema, &mut none, options)
}

/// Writes rows of one schema.
pub(super) struct Writer {
    schema: SchemaRef,
    generator: IpcDataGenerator,
    dictionaries: DictionaryTracker,
    options: IpcWriteOptions,
    context: IpcWriteContext,
}

impl Writer {
    /// For rows that are shown so.
    pub(super) fn new(schema: SchemaRef) -> Self {
        Self {
            schema,
            generator: IpcDataGenerator::default(),
            dictionaries: DictionaryTracker::new(true),
            options: IpcWriteOptions::default(),
            context: IpcWriteContext::default(),
        }
    }

    /// Some rows, in as many messages as they need.
    pub(super) fn messages(&mut self, batch: &RecordBatch) -> Result<Vec<FlightData>, ArrowError> {
        let fitted = |(column, field): (&ArrayRef, &Arc<Field>)| match column.data_type() == field.data_type() {
            true => Ok(Arc::clone(column)),
            false => cast_with_options(column, field.data_type(), &EXACT),
        };
        let columns = batch.columns().iter().zip(self.schema.fields()).map(fitted).collect::<Result<Vec<_>, _>>()?;
        let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &rows)?;
        let mut messages = Vec::new();
        self.split(&batch, &mut messages)?;
        Ok(messages)
    }

    /// Halves what is too large; there is no deeper way down than the logarithm of the rows of a batch.
    fn split(&mut self, batch: &RecordBatch, messages: &mut Vec<FlightData>) -> Result<(), ArrowError> {
        let rows = batch.num_rows();
        if rows == 0 {
            return Ok(());
        }
        let (_, encoded) = self.generator.encode(batch, &mut self.dictionaries, &self.options, &mut self.context)?;
        if encoded.arrow_data.len() > MAX_BODY && rows > 1 {
            let half = rows / 2;
            self.split(&batch.slice(0, half), messages)?;
            return self.split(&batch.slice(half, rows - half), messages);
        }
        let (data_header, data_body) = (encoded.ipc_message.into(), encoded.arrow_data.into());
        messages.push(FlightData { data_header, data_body, ..FlightData::default() });
        Ok(())
    }
}

impl Write for Writer {
    type Piece = Vec<FlightData>;

    fn rows(&mut self, batch: &RecordBatch) -> Result<Vec<FlightData>, QueryError> {
        Ok(self.messages(batch).map_err(DataFusionError::from)?)
    }

    fn end(&mut self) -> Result<Option<Vec<FlightData>>, QueryError> {
        Ok(None)
    }
}

/// What cannot be written is a fault of ours.
pub(super) fn failed(error: ArrowError) -> Status {
    QueryError::from(DataFusionError::from(error)).into()
}

#[cfg(test)]
mod tests {
    use arrow::array::{DictionaryArray, Int64Array, StringArray, StringViewArray, types::Int32Type};
    use arrow::buffer::Buffer;
    use arrow::ipc::reader::StreamDecoder;

    use super::*;

    /// The rows of messages, as a client reads them.
    fn read(schema: &Schema, messages: &[FlightData]) -> Vec<RecordBatch> {
        let mut bytes = super::schema(schema).unwrap().to_vec();
        for message in messages {
            bytes.extend_from_slice(&[0xff; 4]);
            bytes.extend_from_slice(&u32::try_from(message.data_header.len()).unwrap().to_le_bytes());
            bytes.extend_from_slice(&message.data_header);
            bytes.extend_from_slice(&message.data_body);
        }
        let (mut decoder, mut buffer, mut batches) = (StreamDecoder::new(), Buffer::from_vec(bytes), Vec::new());
        while !buffer.is_empty() {
            batches.extend(decoder.decode(&mut buffer).unwrap());
        }
        batches
    }

    #[test]
    fn what_is_large_comes_in_messages_that_clients_take() {
        let texts: Vec<String> = (0..4_000).map(|row| format!("{row}").repeat(300)).collect();
        let names: DictionaryArray<Int32Type> = texts.iter().map(|text| Some(&text[..1])).collect();
        let batch = RecordBatch::try_from_iter([
            ("n", Arc::new(Int64Array::from_iter_values(0..4_000)) as ArrayRef),
            ("text", Arc::new(StringViewArray::from_iter_values(&texts)) as ArrayRef),
            ("name", Arc::new(names) as ArrayRef),
        ])
        .unwrap();
        let schema = shown(&batch.schema()).unwrap();
        assert!(schema.fields().iter().all(|field| field.is_nullable()));
        let messages = Writer::new(Arc::clone(&schema)).rows(&batch).unwrap();
        assert!(messages.len() > 4 && messages.iter().all(|message| message.data_body.len() <= MAX_BODY));
        let read = read(&schema, &messages);
        let mut row = 0;
        for batch in read {
            let text = batch.column(1).as_any().downcast_ref::<StringArray>().unwrap();
            for at in 0..batch.num_rows() {
                assert_eq!(text.value(at), texts[row]);
                row += 1;
            }
        }
        assert_eq!(row, 4_000);
        // One row is as large as it is.
        let wide =
            RecordBatch::try_from_iter([("t", Arc::new(StringArray::from(vec!["x".repeat(3 << 20)])) as ArrayRef)]);
        let wide = wide.unwrap();
        assert_eq!(Writer::new(wide.schema()).rows(&wide).unwrap().len(), 1);
        assert_eq!(Writer::new(wide.schema()).rows(&wide.slice(0, 0)).unwrap().len(), 0);
    }
}
