//! Percentiles of values that are counted already: rollups keep their sketches.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray},
    compute::{cast, filter},
    datatypes::{DataType, FieldRef, Float64Type},
};
use datafusion::{
    common::{Result, ScalarValue, internal_err, plan_err},
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ScalarUDF, Signature, Volatility,
        function::{AccumulatorArgs, StateFieldsArgs},
    },
};

use super::{Groups, Of, Sketch, is_met, part, state_field};
use crate::sql::shape::Plain;

/// The percentile of the values of sketches.
pub(crate) fn percentile_of_sketches() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(Merged { signature: Signature::any(2, Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Merged {
    signature: Signature,
}

impl AggregateUDFImpl for Merged {
    fn name(&self) -> &'static str {
        "percentile_of_sketches"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![state_field(args.name)])
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let groups = Groups { part: part(&args)?, sketches: vec![Sketch::default()], bytes: 0 };
        Ok(Box::new(MergingAll(Of { groups })))
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Merging(Groups { part: part(&args)?, sketches: Vec::new(), bytes: 0 })))
    }
}

/// The same groups, whose values come as states do.
#[derive(Debug)]
struct Merging(Groups);

impl GroupsAccumulator for Merging {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        wanted: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        let (Some(wanted), Some(sketches)) = (wanted, values.first()) else {
            return self.0.merge_batch(values, groups, total);
        };
        let passes = |row: usize| is_met(Some(wanted), row);
        let groups: Vec<usize> =
            groups.iter().enumerate().filter(|(row, _)| passes(*row)).map(|(_, group)| *group).collect();
        self.0.merge_batch(&[filter(sketches, wanted)?], &groups, total)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        self.0.evaluate(emit_to)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.0.state(emit_to)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.0.merge_batch(values, groups, total)
    }

    fn convert_to_state(&self, values: &[ArrayRef], wanted: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let Some(sketches) = values.first().and_then(|values| values.as_binary_opt::<i32>()) else {
            return internal_err!("a sketch is binary");
        };
        let of = |(row, sketch): (usize, Option<&[u8]>)| {
            let known = sketch.filter(|_| is_met(wanted, row));
            Some(known.map_or_else(|| Sketch::default().to_bytes(), <[u8]>::to_vec))
        };
        Ok(vec![Arc::new(sketches.iter().enumerate().map(of).collect::<BinaryArray>())])
    }

    fn size(&self) -> usize {
        self.0.size()
    }
}

/// The same of all rows.
#[derive(Debug)]
struct MergingAll(Of);

impl Accumulator for MergingAll {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.merge_batch(values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.0.evaluate()
    }

    fn size(&self) -> usize {
        self.0.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.0.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.0.merge_batch(states)
    }
}

/// The sketch of each number by itself, as a rollup has it of many.
pub(crate) fn sketch_of_one() -> Arc<ScalarUDF> {
    Plain {
        name: "sketch_of_one",
        takes: |types| Ok(types.to_vec()),
        gives: |_| Ok(DataType::Binary),
        makes: |arrays| {
            let [numbers] = arrays else { return plan_err!("a sketch is of one number") };
            let numbers = cast(numbers, &DataType::Float64)?;
            let (mut sketches, mut one) = (BinaryBuilder::new(), Vec::new());
            for number in numbers.as_primitive::<Float64Type>() {
                one.clear();
                if let Some(number) = number {
                    Sketch::write(&[number], &mut one);
                }
                sketches.append_option(number.map(|_| &one));
            }
            Ok(Arc::new(sketches.finish()))
        },
    }
    .shared()
}
