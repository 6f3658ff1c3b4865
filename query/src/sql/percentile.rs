//! `approx_percentile_cont`: of few values exact, of many by a histogram.
//!
//! A group keeps its values until there are [`FEW`]; from there on it counts them in buckets whose width goes with the size of the
//! value, 256 to each doubling. So a percentile is at most 1/256 of its value beside the right one, whatever the values are, in
//! whatever order they came and however the work was split; counting one takes a few nanoseconds, and histograms of parts add up. The
//! engine's own function sorts every batch and merges digests whose errors go with their order.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray, Float64Array, RecordBatch},
    datatypes::{DataType, Field, FieldRef, Float64Type, Schema},
};
use datafusion::{
    common::{Result, ScalarValue, internal_err, plan_err},
    functions_aggregate::approx_percentile_cont::approx_percentile_cont_udaf,
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, EmitTo, GroupsAccumulator,
        function::{AccumulatorArgs, StateFieldsArgs},
    },
};

use super::{shape::as_inner, sums::is_met};

mod merged;
mod sketch;

pub(crate) use merged::{percentile_of_sketches, sketch_of_one};
pub(crate) use sketch::Sketch;

/// The function.
pub(crate) fn approx_percentile_cont() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(Percentile { inner: approx_percentile_cont_udaf() }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Percentile {
    inner: Arc<AggregateUDF>,
}

impl AggregateUDFImpl for Percentile {
    as_inner!(name, signature);

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types).map(|_| DataType::Float64)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![state_field(args.name)])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Of { groups: Groups { part: part(&args)?, sketches: vec![Sketch::default()], bytes: 0 } }))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Groups { part: part(&args)?, sketches: Vec::new(), bytes: 0 }))
    }

    fn supports_within_group_clause(&self) -> bool {
        true
    }
}

/// What an aggregate of this name hands on.
fn state_field(name: &str) -> FieldRef {
    Arc::new(Field::new(format!("{name}[values]"), DataType::Binary, true))
}

/// Which part of the values lies below the percentile.
fn part(args: &AccumulatorArgs) -> Result<f64> {
    if args.is_distinct {
        return plan_err!("approx_percentile_cont(DISTINCT …) is not supported; group by the value first");
    }
    let Some(stated) = args.exprs.get(1) else { return plan_err!("approx_percentile_cont takes a percentile") };
    let nothing = RecordBatch::new_empty(Arc::new(Schema::empty()));
    let part = match stated.evaluate(&nothing) {
        Ok(ColumnarValue::Scalar(ScalarValue::Float64(Some(part)))) if (0.0..=1.0).contains(&part) => part,
        _ => return plan_err!("the percentile of approx_percentile_cont is a constant from 0 to 1"),
    };
    let is_descending = args.order_bys.first().is_some_and(|order| order.options.descending);
    Ok(if is_descending { 1.0 - part } else { part })
}

/// The values of every group.
#[derive(Debug)]
struct Groups {
    part: f64,
    sketches: Vec<Sketch>,
    /// What the sketches take beside their places in the vector.
    bytes: usize,
}

impl Groups {
    fn add(&mut self, group: usize, value: f64) {
        if let Some(sketch) = self.sketches.get_mut(group) {
            self.bytes += sketch.add(value);
        }
    }

    fn taken(&mut self, emit_to: EmitTo) -> Vec<Sketch> {
        let taken = emit_to.take_needed(&mut self.sketches);
        self.bytes = self.bytes.saturating_sub(taken.iter().map(Sketch::bytes).sum());
        taken
    }
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.sketches.resize_with(total, Sketch::default);
        let values = floats(values)?;
        if values.null_count() == 0 && filter.is_none() {
            values.values().iter().zip(groups).for_each(|(value, group)| self.add(*group, *value));
            return Ok(());
        }
        for (row, group) in groups.iter().enumerate() {
            if values.is_valid(row) && is_met(filter, row) {
                self.add(*group, values.value(row));
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let part = self.part;
        Ok(Arc::new(self.taken(emit_to).iter().map(|sketch| sketch.percentile(part)).collect::<Float64Array>()))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let states = self.taken(emit_to);
        Ok(vec![Arc::new(BinaryArray::from_iter_values(states.iter().map(Sketch::to_bytes)))])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.sketches.resize_with(total, Sketch::default);
        let Some(states) = values.first().and_then(|states| states.as_binary_opt::<i32>()) else {
            return internal_err!("the state of a percentile is binary");
        };
        for (state, group) in states.iter().zip(groups) {
            if let Some((state, sketch)) = state.zip(self.sketches.get_mut(*group)) {
                let Some(grown) = sketch.merge(state) else {
                    return internal_err!("what is kept for percentiles is damaged");
                };
                self.bytes += grown;
            }
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let values = floats(values)?;
        let mut states = BinaryBuilder::with_capacity(values.len(), values.len() * 9);
        for (row, value) in values.iter().enumerate() {
            let mut sketch = Sketch::default();
            if let Some(value) = value.filter(|_| is_met(filter, row)) {
                sketch.add(value);
            }
            states.append_value(sketch.to_bytes());
        }
        Ok(vec![Arc::new(states.finish())])
    }

    fn size(&self) -> usize {
        self.sketches.capacity() * size_of::<Sketch>() + self.bytes
    }
}

fn floats(values: &[ArrayRef]) -> Result<&Float64Array> {
    match values.first().and_then(|values| values.as_primitive_opt::<Float64Type>()) {
        Some(values) => Ok(values),
        None => internal_err!("a percentile is of DOUBLE"),
    }
}

/// The same of all rows.
#[derive(Debug)]
struct Of {
    groups: Groups,
}

impl Accumulator for Of {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        floats(values)?.iter().flatten().for_each(|value| self.groups.add(0, value));
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let part = self.groups.part;
        Ok(ScalarValue::Float64(self.groups.sketches.first().and_then(|sketch| sketch.percentile(part))))
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.groups.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Binary(self.groups.sketches.first().map(Sketch::to_bytes))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let groups = vec![0; states.first().map_or(0, |states| states.len())];
        self.groups.merge_batch(states, &groups, 1)
    }
}
