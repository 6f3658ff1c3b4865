//! Sums of `BIGINT` by group, kept in 128 bits: no sum of a table goes round in them.
//!
//! The same as [`super::exact`] makes of the engine's sum of wide decimals, without making a decimal of every value first.

use std::{mem::size_of, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, BooleanBufferBuilder, Decimal128Array},
    buffer::NullBuffer,
    compute::{cast, cast_with_options},
    datatypes::{DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, Int64Type},
};
use datafusion::{
    common::{Result, format::DEFAULT_CAST_OPTIONS, internal_datafusion_err},
    logical_expr::{EmitTo, GroupsAccumulator},
};

/// What a sum is kept and handed on as.
pub(super) const WIDE: DataType = DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0);

/// Whether a row meets the condition of an aggregate; where that is not known it does not.
pub(super) fn is_met(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
}

/// The sum of each group; nothing where it has no value.
#[derive(Debug, Default)]
pub(super) struct Sums {
    sums: Vec<i128>,
    known: Vec<bool>,
}

impl Sums {
    fn grow(&mut self, total: usize) {
        self.sums.resize(total, 0);
        self.known.resize(total, false);
    }

    fn add(&mut self, group: usize, value: i128) {
        if let Some((sum, known)) = self.sums.get_mut(group).zip(self.known.get_mut(group)) {
            *sum += value;
            *known = true;
        }
    }

    fn taken(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let (sums, known) = (emit_to.take_needed(&mut self.sums), emit_to.take_needed(&mut self.known));
        let mut nulls = BooleanBufferBuilder::new(known.len());
        known.iter().for_each(|known| nulls.append(*known));
        let sums = Decimal128Array::new(sums.into(), Some(NullBuffer::new(nulls.finish())));
        Ok(Arc::new(sums.with_data_type(WIDE)))
    }
}

impl GroupsAccumulator for Sums {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.grow(total);
        let values = values.first().and_then(|values| values.as_primitive_opt::<Int64Type>());
        let values = values.ok_or_else(|| internal_datafusion_err!("a sum of BIGINT got something else"))?;
        if values.null_count() == 0 && filter.is_none() {
            values.values().iter().zip(groups).for_each(|(value, group)| self.add(*group, i128::from(*value)));
            return Ok(());
        }
        for (row, group) in groups.iter().enumerate() {
            if values.is_valid(row) && is_met(filter, row) {
                self.add(*group, i128::from(values.value(row)));
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        Ok(cast_with_options(&self.taken(emit_to)?, &DataType::Int64, &DEFAULT_CAST_OPTIONS)?)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.taken(emit_to)?])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.grow(total);
        let sums = values.first().and_then(|values| values.as_primitive_opt::<Decimal128Type>());
        let sums = sums.ok_or_else(|| internal_datafusion_err!("a sum got a state of something else"))?;
        for (sum, group) in sums.iter().zip(groups) {
            if let Some(sum) = sum {
                self.add(*group, sum);
            }
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let values = values.first().ok_or_else(|| internal_datafusion_err!("a sum has an argument"))?;
        let mut wide = cast(values, &WIDE)?;
        if filter.is_some() {
            let is_out = |row| Some(!is_met(filter, row));
            wide = arrow::compute::nullif(&wide, &(0..wide.len()).map(is_out).collect())?;
        }
        Ok(vec![wide])
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<i128>() + self.known.capacity()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;

    use super::*;

    /// What a row is by itself is what it would be alone in its group, whatever becomes of the condition.
    #[test]
    fn what_is_handed_on_row_by_row_is_what_meets_the_condition() {
        let values: [ArrayRef; 1] = [Arc::new(Int64Array::from(vec![Some(1), Some(2), Some(4), None]))];
        let met = BooleanArray::from(vec![Some(true), Some(false), None, Some(true)]);
        for filter in [None, Some(&met)] {
            let mut alone = Sums::default();
            alone.update_batch(&values, &[0, 1, 2, 3], filter, 4).unwrap();
            let handed = Sums::default().convert_to_state(&values, filter).unwrap();
            assert_eq!(alone.state(EmitTo::All).unwrap(), handed, "{filter:?}");
        }
    }
}
