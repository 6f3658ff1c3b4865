//! The statistics of a file, as the table's log holds them: how many rows, and the ends of the columns that queries choose by.

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    compute::{max, max_string, min, min_string},
    datatypes::{DataType, Int64Type, TimestampMicrosecondType},
};
use schemas::time::Time;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    error::Error,
    table::{LOG_OFFSET, TableDef},
};

/// The columns with statistics.
pub(super) const COLUMNS: &[&str] = &["tenant", "time", "recorded_at", LOG_OFFSET];

/// Longer texts have no statistics: a cut maximum would be wrong.
const LONGEST_TEXT: usize = 256;

/// The statistics of rows, as JSON.
pub(super) fn of(table: &'static TableDef, rows: &RecordBatch) -> Result<String, Error> {
    let (mut low, mut high, mut nulls) = (Map::new(), Map::new(), Map::new());
    for name in COLUMNS.iter().filter(|name| table.stored_columns().any(|column| column.name == **name)) {
        let column = rows.column_by_name(name).ok_or(Error::Shape)?;
        nulls.insert((*name).into(), column.null_count().into());
        if let Some((least, most)) = ends(column) {
            low.insert((*name).into(), least);
            high.insert((*name).into(), most);
        }
    }
    Ok(json!({ "numRecords": rows.num_rows(), "minValues": low, "maxValues": high, "nullCount": nulls }).to_string())
}

fn ends(column: &ArrayRef) -> Option<(Value, Value)> {
    match column.data_type() {
        DataType::Utf8 => {
            let texts = column.as_string_opt::<i32>()?;
            let (least, most) = (min_string(texts)?, max_string(texts)?);
            (least.len() <= LONGEST_TEXT && most.len() <= LONGEST_TEXT).then(|| (least.into(), most.into()))
        }
        DataType::Int64 => {
            let values = column.as_primitive_opt::<Int64Type>()?;
            Some((min(values)?.into(), max(values)?.into()))
        }
        DataType::Timestamp(..) => {
            let values = column.as_primitive_opt::<TimestampMicrosecondType>()?;
            Some((millis(min(values)?), millis(max(values)?.saturating_add(999))))
        }
        _ => None,
    }
}

/// Statistics of times have milliseconds only: the least is rounded down, and the caller rounds the greatest up.
fn millis(micros: i64) -> Value {
    let text = Time::from_micros(micros.div_euclid(1_000) * 1_000).to_string();
    text.replace("000Z", "Z").into()
}

/// What is read back of them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stats {
    #[serde(default)]
    pub(super) num_records: u64,
    #[serde(default)]
    pub(super) min_values: Ends,
    #[serde(default)]
    pub(super) max_values: Ends,
}

/// The ends of one side.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Ends {
    pub(super) tenant: Option<String>,
    pub(super) recorded_at: Option<String>,
    pub(super) log_offset: Option<i64>,
}

#[cfg(test)]
mod tests;
