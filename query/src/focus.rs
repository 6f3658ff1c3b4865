//! One month in FOCUS: what to ask of the view `focus`, and the answer as a file that others take.
//!
//! Amounts are decimals with at most twelve places and are written in full; times are UTC to the second; NULL is empty, never zero.

use std::time::Duration;

use arrow::{array::RecordBatch, compute::BatchCoalescer, ipc::reader::StreamReader};
use jiff::{ToSpan as _, civil::Date};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::{metadata::KeyValue, properties::WriterProperties},
};
use schemas::time::Time;

use crate::{error::Error, reports::quoted};

/// The versions of FOCUS that are written.
pub const VERSIONS: &[&str] = &["1.2"];

/// How long after its end a month is closed: what becomes known later is billed in the month in which it does. The view says the same.
pub(crate) const CLOSED_AFTER: Duration = Duration::from_secs(3 * 24 * 3_600);

/// What a row is told from the others by, in the order in which rows are written.
const ORDER: &str = "\"ChargePeriodStart\", \"SubAccountId\", \"SkuPriceId\", \"x_PrincipalId\", \"x_EndUserId\", \"Tags\", \"RegionId\", \
    \"ListUnitPrice\", \"ContractedUnitPrice\", \"x_PriceBookVersion\", \"x_PriceSource\", \"x_Entry\", \"BillingAccountId\"";

/// How many rows are given to Parquet at a time. Where its pages end goes by that, so it is never as the answer came: the file of a month
/// that is closed is the same, byte for byte, however its rows were read.
const ROWS: usize = 8_192;

/// A month in UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Month {
    first: Date,
    next: Date,
}

impl Month {
    /// Reads one such as 2026-11.
    ///
    /// # Errors
    /// What is wanted.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let first = (text.len() == 7).then(|| format!("{text}-01").parse::<Date>().ok()).flatten();
        let month = first.and_then(|first| Some(Self { first, next: first.checked_add(1.month()).ok()? }));
        month.ok_or("write a month such as 2026-11")
    }

    /// When nothing more comes to it.
    pub fn closes(&self) -> Option<Time> {
        Some(Time::parse(&self.next.to_string()).ok()?.after(CLOSED_AFTER))
    }

    /// The rows that are billed in it.
    pub fn sql(&self) -> String {
        format!("SELECT * FROM focus WHERE \"BillingPeriodStart\" = {} ORDER BY {ORDER}", at(self.first))
    }

    /// What would be billed in it and cannot be in FOCUS, because nobody knows what it costs: of what was stated anew the last, as the
    /// column `billing_period` of charges has it, and of usage that is missing by the same rule.
    pub fn left_out(&self) -> String {
        let (first, next, month) = (at(self.first), at(self.next), quoted(&format!("{:.7}", self.first.to_string())));
        let days = CLOSED_AFTER.as_secs() / 86_400;
        let closes = format!("date_trunc('month', u.time) + INTERVAL '1 month' + INTERVAL '{days} days'");
        format!(
            "SELECT reason, sum(quantity) AS quantity, count(DISTINCT concat(call_id, '/', attempt)) AS attempts FROM (\
             SELECT unpriced_reason AS reason, call_id, attempt, sum(quantity) AS quantity FROM charges \
             WHERE cost_usd IS NULL AND time < {next} GROUP BY unpriced_reason, call_id, attempt, token_class \
             HAVING sum(quantity) <> 0 AND max(billing_period) = {month} \
             UNION ALL SELECT 'usage_' || u.completeness, u.call_id, u.attempt, NULL FROM usage u LEFT JOIN (\
             SELECT DISTINCT call_id, attempt, time FROM charges WHERE entry = 'correction' AND completeness = 'exact' AND time < {next}\
             ) c ON u.call_id = c.call_id AND u.attempt = c.attempt AND u.time = c.time \
             WHERE u.completeness NOT IN ('exact', 'lower_bound', 'estimated') AND c.call_id IS NULL AND u.time < {next} \
             AND CASE WHEN u.recorded_at < {closes} THEN u.time >= {first} ELSE u.recorded_at >= {first} AND u.recorded_at < {next} END\
             ) AS unbilled GROUP BY reason ORDER BY reason"
        )
    }
}

fn at(day: Date) -> String {
    format!("TIMESTAMP {}", quoted(&format!("{day}T00:00:00Z")))
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A header line and a line a row.
    Csv,
    /// One Parquet file, whose metadata says which version it is.
    Parquet,
}

/// The file that an answer in Arrow's stream format comes to, and how many rows it has.
pub fn write(answer: &[u8], form: Form, version: &str) -> Result<(Vec<u8>, usize), Error> {
    let reader = StreamReader::try_new(answer, None)?;
    let schema = reader.schema();
    let rows: Vec<RecordBatch> = reader.collect::<Result<_, _>>()?;
    let count = rows.iter().map(RecordBatch::num_rows).sum();
    let head = RecordBatch::new_empty(schema.clone());
    let bytes = match form {
        Form::Csv => {
            const SECONDS: &str = "%Y-%m-%dT%H:%M:%SZ";
            let mut text = Vec::new();
            for (batch, header) in std::iter::once((&head, true)).chain(rows.iter().map(|batch| (batch, false))) {
                let builder =
                    arrow::csv::WriterBuilder::new().with_header(header).with_timestamp_tz_format(SECONDS.into());
                builder.with_timestamp_format(SECONDS.into()).build(&mut text).write(batch)?;
            }
            text
        }
        Form::Parquet => {
            let said = |key: &str, value: &str| KeyValue::new(key.to_owned(), value.to_owned());
            let metadata = vec![
                said("focus_version", version),
                said("decimal", "precision 38, scale 12"),
                said("generator", "tollgate"),
            ];
            let properties = WriterProperties::builder()
                .set_compression(Compression::ZSTD(ZstdLevel::default()))
                .set_key_value_metadata(Some(metadata))
                .build();
            let mut even = BatchCoalescer::new(schema.clone(), ROWS);
            let mut writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties))?;
            for batch in rows.into_iter().map(Some).chain([None]) {
                match batch {
                    Some(batch) => even.push_batch(batch)?,
                    None => even.finish_buffered_batch()?,
                }
                while let Some(batch) = even.next_completed_batch() {
                    writer.write(&batch)?;
                }
            }
            writer.into_inner()?
        }
    };
    Ok((bytes, count))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{ArrayRef, Int64Array, RecordBatch},
        ipc::writer::StreamWriter,
    };

    use super::{Form, Month, write};

    /// An answer of which so many rows come at a time.
    fn answer(rows: &RecordBatch, at_a_time: usize) -> Vec<u8> {
        let mut writer = StreamWriter::try_new(Vec::new(), &rows.schema()).unwrap();
        for first in (0..rows.num_rows()).step_by(at_a_time) {
            writer.write(&rows.slice(first, at_a_time.min(rows.num_rows() - first))).unwrap();
        }
        writer.into_inner().unwrap()
    }

    #[test]
    fn a_file_is_the_same_however_its_rows_came() {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values((0..45_000).map(|row| row * 7_919 % 1_009)));
        let rows = RecordBatch::try_from_iter([("x", column)]).unwrap();
        for form in [Form::Csv, Form::Parquet] {
            let whole = write(&answer(&rows, 45_000), form, "1.2").unwrap();
            assert_eq!(whole.1, 45_000);
            for at_a_time in [8_192, 7_001, 300] {
                assert!(write(&answer(&rows, at_a_time), form, "1.2").unwrap() == whole, "{form:?} {at_a_time}");
            }
        }
    }

    #[test]
    fn a_month_closes_three_days_after_its_end() {
        let month = Month::parse("2026-12").unwrap();
        assert_eq!(month.closes().unwrap().to_string(), "2027-01-04T00:00:00.000000Z");
        for bad in ["2026", "2026-13", "2026-1", "2026-11-01", "november"] {
            assert!(Month::parse(bad).is_err(), "{bad}");
        }
    }
}
