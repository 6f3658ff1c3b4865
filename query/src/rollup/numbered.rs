//! Which rows are alike: each column is numbered once, and what is alike in several has the same numbers in them.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, TimestampMicrosecondArray, UInt64Array},
    compute::{min, take},
    row::{Row, RowConverter, SortField},
};
use datafusion::common::HashMap;

use super::Grain;
use crate::error::Error;

/// Which rows have the same value in a column: numbers from zero, as many as there are values.
pub(super) struct Numbered {
    pub(super) of: Vec<u32>,
    pub(super) values: u64,
}

impl Numbered {
    pub(super) fn of(column: &ArrayRef) -> Result<Self, Error> {
        let converter = RowConverter::new(vec![SortField::new(column.data_type().clone())])?;
        let values = converter.convert_columns(&[Arc::clone(column)])?;
        let mut known = HashMap::new();
        let mut before: Option<(Row<'_>, u32)> = None;
        let mut of = Vec::with_capacity(values.num_rows());
        for value in &values {
            // Rows are sorted by tenant, and much is the same in one after the other.
            let number = match before {
                Some((before, number)) if before == value => number,
                _ => {
                    let next = u32::try_from(known.len()).map_err(|_| Error::Shape)?;
                    *known.entry(value).or_insert(next)
                }
            };
            before = Some((value, number));
            of.push(number);
        }
        Ok(Self { of, values: known.len() as u64 })
    }

    /// Of times, by the hour or the day.
    pub(super) fn of_times(times: &TimestampMicrosecondArray, grain: Grain) -> Result<Self, Error> {
        let place = |time: i64| time.div_euclid(grain.micros());
        let first = min(times).map_or(0, place);
        let after = |time: &i64| u32::try_from(place(*time) - first).map_err(|_| Error::Shape);
        let of = times.values().iter().map(after).collect::<Result<Vec<_>, _>>()?;
        let values = of.iter().max().map_or(0, |last| u64::from(*last) + 1);
        Ok(Self { of, values })
    }
}

/// Which rows are alike.
pub(super) struct Groups {
    /// By row, its group.
    pub(super) of: Vec<usize>,
    /// By group, its first row.
    pub(super) first: Vec<usize>,
}

impl Groups {
    /// Those of rows that have the same in all these columns; nothing if there are more than `most`.
    pub(super) fn new(rows: usize, columns: &[&Numbered], most: usize) -> Option<Self> {
        let mut keys = vec![0_u64; rows];
        let mut values = 1_u64;
        for column in columns {
            if values.checked_mul(column.values).is_none() {
                // There are no more of them than rows, and rows have 32 bits.
                let so_far = Self::of_keys(&keys, usize::MAX)?;
                keys = so_far.of.into_iter().map(|group| group as u64).collect();
                values = so_far.first.len() as u64;
            }
            values = values.saturating_mul(column.values);
            for (key, value) in keys.iter_mut().zip(&column.of) {
                *key = *key * column.values + u64::from(*value);
            }
        }
        Self::of_keys(&keys, most)
    }

    fn of_keys(keys: &[u64], most: usize) -> Option<Self> {
        let mut known = HashMap::new();
        let (mut of, mut first) = (Vec::with_capacity(keys.len()), Vec::new());
        for (row, key) in keys.iter().enumerate() {
            let group = *known.entry(*key).or_insert(first.len());
            if group == first.len() {
                if group == most {
                    return None;
                }
                first.push(row);
            }
            of.push(group);
        }
        Some(Self { of, first })
    }

    /// The same in the order of their first rows in these columns.
    pub(super) fn sorted(mut self, keys: &[ArrayRef]) -> Result<Self, Error> {
        let converter = RowConverter::new(keys.iter().map(|key| SortField::new(key.data_type().clone())).collect())?;
        let firsts: UInt64Array = self.first.iter().map(|row| *row as u64).collect();
        let firsts = keys.iter().map(|key| take(key, &firsts, None)).collect::<Result<Vec<_>, _>>()?;
        let keys = converter.convert_columns(&firsts)?;
        let mut order: Vec<usize> = (0..self.first.len()).collect();
        order.sort_unstable_by(|left, right| keys.row(*left).cmp(&keys.row(*right)));
        let mut places = vec![0; order.len()];
        for (place, group) in order.iter().enumerate() {
            if let Some(slot) = places.get_mut(*group) {
                *slot = place;
            }
        }
        for group in &mut self.of {
            *group = places.get(*group).copied().unwrap_or_default();
        }
        self.first = order.iter().filter_map(|group| self.first.get(*group).copied()).collect();
        Ok(self)
    }
}
