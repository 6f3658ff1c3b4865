//! The reducer: the rollups of the rows of a file, and which of them are worth keeping.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryBuilder, Decimal128Array, Int32Array, Int64Array, RecordBatch,
        TimestampMicrosecondArray, UInt32Array, UInt64Array,
    },
    compute::{cast, take},
    datatypes::{DataType, Decimal128Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType},
};
use datafusion::common::HashMap;

use super::{
    DIGITS, MOST_PERCENT, RECORDED_AT, ROWS, Rollup, TIME, measured, measures,
    numbered::{Groups, Numbered},
    of_table, sketch_of,
    tags::Sets,
};
use crate::{error::Error, sql::Sketch, table::TableDef};

/// The rollup of the rows of a file.
pub(crate) struct Made {
    pub(crate) rollup: &'static Rollup,
    /// The tag that it is by.
    pub(crate) tag: Option<String>,
    pub(crate) rows: RecordBatch,
}

/// The rollups of the rows of a file that are worth keeping.
pub(crate) fn made(table: &'static TableDef, rows: &RecordBatch) -> Result<Vec<Made>, Error> {
    let all = Source::of(table, rows, of_table(table).flat_map(Rollup::columns))?;
    let most = rows.num_rows() * MOST_PERCENT / 100;
    let mut made: Vec<Made> = Vec::new();
    for rollup in of_table(table).filter(|rollup| !rollup.by_tag) {
        all.keep(table, (rollup, None), most, &mut made)?;
    }
    let by_tag: Vec<_> = of_table(table).filter(|rollup| rollup.by_tag).collect();
    if by_tag.is_empty() {
        return Ok(made);
    }
    // By all their tags at once there may be few already.
    let finer = made.iter().find(|made| by_tag.iter().all(|rollup| made.rollup.is_finer(rollup)));
    let (all, most) = match finer {
        Some(Made { rollup, rows, .. }) => (Source::of(table, rows, rollup.columns())?, rows.num_rows() / 2),
        None => (all, most),
    };
    let sets = Sets::of(&all)?;
    for tag in sets.most_had() {
        let tagged = sets.alone(&tag, &all)?;
        for rollup in &by_tag {
            tagged.keep(table, (rollup, Some(&tag)), most, &mut made)?;
        }
    }
    Ok(made)
}

/// Rows of a table, or of a rollup of it.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) rows: RecordBatch,
    time: TimestampMicrosecondArray,
    recorded_at: TimestampMicrosecondArray,
    /// How many each stands for, where that is not one.
    weights: Option<Int64Array>,
    measures: Vec<Numbers>,
    /// By row, which of the measures are NULL.
    unknown: ArrayRef,
    unknown_numbered: Arc<Numbered>,
    /// The columns that rollups of it are alike in.
    pub(super) numbered: HashMap<&'static str, Arc<Numbered>>,
}

/// A column of numbers.
#[derive(Clone)]
enum Numbers {
    Int(Int32Array),
    Long(Int64Array),
    Decimal(Decimal128Array),
}

impl Numbers {
    fn of(column: &ArrayRef) -> Result<Self, Error> {
        let numbers = match column.data_type() {
            DataType::Int32 => column.as_primitive_opt::<Int32Type>().cloned().map(Self::Int),
            DataType::Int64 => column.as_primitive_opt::<Int64Type>().cloned().map(Self::Long),
            _ => column.as_primitive_opt::<Decimal128Type>().cloned().map(Self::Decimal),
        };
        numbers.ok_or(Error::Shape)
    }

    fn array(&self) -> &dyn Array {
        match self {
            Self::Int(numbers) => numbers,
            Self::Long(numbers) => numbers,
            Self::Decimal(numbers) => numbers,
        }
    }

    /// Adds the numbers up, by group; nothing where a sum does not fit.
    fn sums(&self, groups: &Groups) -> Option<Vec<i128>> {
        let mut sums = vec![0_i128; groups.first.len()];
        for (row, group) in groups.of.iter().enumerate() {
            if self.array().is_valid(row)
                && let Some(sum) = sums.get_mut(*group)
            {
                let number = match self {
                    Self::Int(numbers) => i128::from(numbers.value(row)),
                    Self::Long(numbers) => i128::from(numbers.value(row)),
                    Self::Decimal(numbers) => numbers.value(row),
                };
                *sum = sum.checked_add(number)?;
            }
        }
        let most = 10_u128.pow(DIGITS.into());
        sums.iter().all(|sum| sum.unsigned_abs() < most).then_some(sums)
    }
}

impl Source {
    fn of(table: &TableDef, rows: &RecordBatch, columns: impl Iterator<Item = &'static str>) -> Result<Self, Error> {
        let column = |name: &str| rows.column_by_name(name).ok_or(Error::Shape);
        let times =
            |name: &str| column(name)?.as_primitive_opt::<TimestampMicrosecondType>().cloned().ok_or(Error::Shape);
        let measures =
            measures(table).map(|measure| Numbers::of(column(measure.name)?)).collect::<Result<Vec<_>, _>>()?;
        let mut unknown = vec![0_u32; rows.num_rows()];
        for (bit, numbers) in measures.iter().enumerate() {
            if numbers.array().null_count() > 0 {
                for (row, bits) in unknown.iter_mut().enumerate() {
                    *bits |= u32::from(numbers.array().is_null(row)) << bit;
                }
            }
        }
        let mut numbered = HashMap::new();
        for name in columns {
            if !numbered.contains_key(name) {
                numbered.insert(name, Arc::new(Numbered::of(column(name)?)?));
            }
        }
        let unknown: ArrayRef = Arc::new(UInt32Array::from(unknown));
        Ok(Self {
            rows: rows.clone(),
            time: times(TIME)?,
            recorded_at: times(RECORDED_AT)?,
            weights: rows.column_by_name(ROWS).and_then(|rows| rows.as_primitive_opt().cloned()),
            measures,
            unknown_numbered: Arc::new(Numbered::of(&unknown)?),
            unknown,
            numbered,
        })
    }

    /// The same rows with another column in the place of one.
    pub(super) fn with(&self, name: &'static str, column: ArrayRef, numbered: Numbered) -> Result<Self, Error> {
        let (schema, mut columns) = (self.rows.schema(), self.rows.columns().to_vec());
        *columns.get_mut(schema.index_of(name)?).ok_or(Error::Shape)? = column;
        let mut other = self.clone();
        other.rows = RecordBatch::try_new(schema, columns)?;
        other.numbered.insert(name, Arc::new(numbered));
        Ok(other)
    }

    /// Adds a rollup by a tag, if any, to those that are made, unless it has more rows than `most`.
    fn keep(
        &self,
        table: &'static TableDef,
        (rollup, tag): (&'static Rollup, Option<&str>),
        most: usize,
        made: &mut Vec<Made>,
    ) -> Result<(), Error> {
        // What a finer one has is added up already.
        let is_finer = |made: &&Made| made.tag.as_deref() == tag && made.rollup.is_finer(rollup);
        let reduced = match made.iter().filter(is_finer).min_by_key(|finer| finer.rows.num_rows()) {
            // Where there are few to read in its place it is not worth a file.
            Some(Made { rows, .. }) => {
                Self::of(table, rows, rollup.columns())?.reduce(table, rollup, rows.num_rows() / 2)?
            }
            None => self.reduce(table, rollup, most)?,
        };
        made.extend(reduced.map(|rows| Made { rollup, tag: tag.map(str::to_owned), rows }));
        Ok(())
    }

    /// The rows of a rollup; nothing if there are more than `most`.
    fn reduce(&self, table: &TableDef, rollup: &Rollup, most: usize) -> Result<Option<RecordBatch>, Error> {
        let grain = rollup.grain.micros();
        let time: TimestampMicrosecondArray = self.time.unary(|time| time.saturating_sub(time.rem_euclid(grain)));
        let time: ArrayRef = Arc::new(time.with_timezone("UTC"));
        let times = Numbered::of_times(&self.time, rollup.grain)?;
        let mut numbered = vec![&times, &*self.unknown_numbered];
        let mut keys = Vec::new();
        for column in rollup.columns() {
            numbered.push(self.numbered.get(column).ok_or(Error::Shape)?);
            keys.push(Arc::clone(self.rows.column_by_name(column).ok_or(Error::Shape)?));
        }
        let Some(groups) = Groups::new(self.rows.num_rows(), &numbered, most) else { return Ok(None) };
        // By tenant and time, as the rows of the table are, or by model and time.
        keys.insert(1, Arc::clone(&time));
        keys.push(Arc::clone(&self.unknown));
        let groups = groups.sorted(&keys)?;
        let mut sums = HashMap::new();
        for (measure, numbers) in measures(table).zip(&self.measures) {
            let Some(of) = numbers.sums(&groups) else { return Ok(None) };
            sums.insert(measure.name, of);
        }
        let firsts: UInt64Array = groups.first.iter().map(|row| u64::try_from(*row).unwrap_or(u64::MAX)).collect();
        let schema = rollup.schema(table);
        let mut columns = Vec::with_capacity(schema.fields().len());
        for field in schema.fields() {
            let name = field.name().as_str();
            let first = |column: &ArrayRef| take(column, &firsts, None);
            columns.push(match (name, sums.get(name)) {
                (TIME, _) => first(&time)?,
                (RECORDED_AT, _) => self.recorded_from(&groups),
                (ROWS, _) => self.weight(&groups),
                (_, Some(sums)) => {
                    let known = first(self.rows.column_by_name(name).ok_or(Error::Shape)?)?;
                    let sums = Decimal128Array::new(sums.clone().into(), known.logical_nulls());
                    Arc::new(sums.with_data_type(field.data_type().clone()))
                }
                _ if let Some(measure) = measured(name) => self.sketches(measure, &groups)?,
                _ => first(self.rows.column_by_name(name).ok_or(Error::Shape)?)?,
            });
        }
        Ok(Some(RecordBatch::try_new(schema, columns)?))
    }

    /// By group, the first time at which one of its rows was recorded.
    fn recorded_from(&self, groups: &Groups) -> ArrayRef {
        let mut times: Vec<Option<i64>> = vec![None; groups.first.len()];
        for (group, time) in groups.of.iter().zip(&self.recorded_at) {
            if let (Some(least), Some(time)) = (times.get_mut(*group), time) {
                *least = Some(least.map_or(time, |least| least.min(time)));
            }
        }
        Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))
    }

    /// By group, the sketch of a number.
    fn sketches(&self, measure: &str, groups: &Groups) -> Result<ArrayRef, Error> {
        let merged = self.rows.column_by_name(&sketch_of(measure)).cloned();
        let column = match &merged {
            Some(column) => Arc::clone(column),
            None => cast(self.rows.column_by_name(measure).ok_or(Error::Shape)?, &DataType::Float64)?,
        };
        // One after the other, since one of many numbers is large.
        let mut rows: Vec<(usize, usize)> = groups.of.iter().copied().zip(0..).collect();
        rows.sort_unstable();
        let mut sketches = BinaryBuilder::new();
        for rows in rows.chunk_by(|(group, _), (next, _)| group == next) {
            let mut sketch = Sketch::default();
            for (_, row) in rows.iter().filter(|(_, row)| column.is_valid(*row)) {
                match merged {
                    Some(_) => sketch.merge(column.as_binary::<i32>().value(*row)).ok_or(Error::Shape)?,
                    None => sketch.add(column.as_primitive::<Float64Type>().value(*row)),
                };
            }
            sketches.append_value(sketch.to_bytes());
        }
        Ok(Arc::new(sketches.finish()))
    }

    /// By group, how many rows of the table it stands for.
    fn weight(&self, groups: &Groups) -> ArrayRef {
        let mut counts = vec![0_i64; groups.first.len()];
        for (row, group) in groups.of.iter().enumerate() {
            if let Some(count) = counts.get_mut(*group) {
                *count += self.weights.as_ref().map_or(1, |weights| weights.value(row));
            }
        }
        Arc::new(Int64Array::from(counts))
    }
}
