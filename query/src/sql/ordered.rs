//! `percentile_disc` and `mode` of the values of a group, exact, as Postgres has them: one of the values, whatever their type.
//!
//! A group counts how often each value came, and puts them in order at its end. What it keeps for that is counted as its memory, as what
//! `percentile_cont` ([`interpolated`](super::interpolated)) keeps is. They are no window functions (`statement/check.rs`), since nobody counts what these keep.

use std::{
    cmp::Ordering,
    collections::{HashMap, hash_map::Entry},
    mem,
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch},
    datatypes::{DataType, Field, FieldRef, Schema, UInt64Type},
};
use datafusion::{
    common::{Result, ScalarValue, exec_datafusion_err, internal_err, plan_err},
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, Signature, Volatility,
        function::{AccumulatorArgs, StateFieldsArgs},
        utils::AggregateOrderSensitivity,
    },
};

/// What they are called.
pub(super) const NAMES: [&str; 2] = [PERCENTILE, MODE];

const PERCENTILE: &str = "percentile_disc";
const MODE: &str = "mode";

/// `percentile_disc(part) WITHIN GROUP (ORDER BY value)`: the first value to which that part of all come.
pub(super) fn percentile_disc() -> Arc<AggregateUDF> {
    of(PERCENTILE)
}

/// `mode() WITHIN GROUP (ORDER BY value)`: the value that came most often, the first of several.
pub(super) fn mode() -> Arc<AggregateUDF> {
    of(MODE)
}

fn of(name: &'static str) -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(Chosen { name, signature: Signature::user_defined(Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Chosen {
    name: &'static str,
    signature: Signature,
}

impl AggregateUDFImpl for Chosen {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match (self.name, types) {
            (_, [DataType::Interval(_), ..]) => {
                plan_err!("{} takes no intervals: take extract(epoch from …)", self.name)
            }
            (MODE, [kind]) => Ok(vec![kind.clone()]),
            (PERCENTILE, [kind, part]) if part.is_numeric() => Ok(vec![kind.clone(), DataType::Float64]),
            _ => plan_err!("write mode() or percentile_disc(0.5), and WITHIN GROUP (ORDER BY …)"),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [kind, ..] => Ok(kind.clone()),
            [] => plan_err!("{} is of a value", self.name),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let Some(of) = args.input_fields.first() else { return plan_err!("{} is of a value", self.name) };
        let list = |part: &str, kind: DataType| -> FieldRef {
            Arc::new(Field::new_list(format!("{}[{part}]", args.name), Field::new_list_field(kind, true), true))
        };
        Ok(vec![list("values", of.data_type().clone()), list("counts", DataType::UInt64)])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return plan_err!("{}(DISTINCT …) is not supported; group by the value first", self.name);
        }
        let part = if self.name == PERCENTILE { Some(part(&args, self.name)?) } else { None };
        let Some(of) = args.expr_fields.first() else { return plan_err!("{} is of a value", self.name) };
        Ok(Box::new(Counts {
            part,
            is_descending: args.order_bys.first().is_some_and(|order| order.options.descending),
            kind: of.data_type().clone(),
            counts: HashMap::new(),
            bytes: 0,
        }))
    }

    fn supports_within_group_clause(&self) -> bool {
        true
    }

    /// Values are put in order here.
    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// Which part of the values comes to the percentile.
pub(super) fn part(args: &AccumulatorArgs, name: &str) -> Result<f64> {
    let nothing = RecordBatch::new_empty(Arc::new(Schema::empty()));
    match args.exprs.get(1).map(|stated| stated.evaluate(&nothing)) {
        Some(Ok(ColumnarValue::Scalar(ScalarValue::Float64(Some(part))))) if (0.0..=1.0).contains(&part) => Ok(part),
        _ => plan_err!("the percentile of {name} is a constant from 0 to 1"),
    }
}

/// How often each value came.
#[derive(Debug)]
struct Counts {
    /// Of a percentile.
    part: Option<f64>,
    is_descending: bool,
    /// Of the values.
    kind: DataType,
    counts: HashMap<ScalarValue, u64>,
    /// What the values take beside their places in the map.
    bytes: usize,
}

/// What each value takes at its place, and in the order that is made at the end.
const PLACE_BYTES: usize = size_of::<(ScalarValue, u64)>() + size_of::<(&ScalarValue, u64)>() + 1;

impl Counts {
    fn add(&mut self, value: ScalarValue, times: u64) {
        if value.is_null() {
            return;
        }
        match self.counts.entry(value) {
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                *known = known.saturating_add(times);
            }
            Entry::Vacant(new) => {
                self.bytes += new.key().size().saturating_sub(size_of::<ScalarValue>());
                new.insert(times);
            }
        }
    }

    fn chosen(&self) -> Option<&ScalarValue> {
        let mut ordered: Vec<(&ScalarValue, u64)> = self.counts.iter().map(|(value, times)| (value, *times)).collect();
        ordered.sort_unstable_by(|(one, _), (other, _)| {
            let order = one.partial_cmp(other).unwrap_or(Ordering::Equal);
            if self.is_descending { order.reverse() } else { order }
        });
        let Some(part) = self.part else {
            let most = ordered.iter().map(|(_, times)| *times).max()?;
            return ordered.into_iter().find(|(_, times)| *times == most).map(|(value, _)| value);
        };
        let all: u64 = ordered.iter().map(|(_, times)| times).sum();
        // No group has so many rows that they would be no exact float.
        let wanted = part * all as f64;
        let mut come = 0_u64;
        let reached = ordered.into_iter().find(|(_, times)| {
            come += *times;
            come as f64 >= wanted
        });
        reached.map(|(value, _)| value)
    }
}

impl Accumulator for Counts {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(values) = values.first() else { return internal_err!("a value is missing") };
        for row in 0..values.len() {
            self.add(ScalarValue::try_from_array(values, row)?, 1);
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        match self.chosen() {
            Some(value) => Ok(value.clone()),
            None => ScalarValue::try_from(&self.kind),
        }
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.counts.capacity() * PLACE_BYTES + self.bytes
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let (values, counts): (Vec<_>, Vec<_>) = mem::take(&mut self.counts).into_iter().unzip();
        self.bytes = 0;
        let counts: Vec<ScalarValue> = counts.into_iter().map(ScalarValue::from).collect();
        Ok(vec![
            ScalarValue::List(ScalarValue::new_list(&values, &self.kind, true)),
            ScalarValue::List(ScalarValue::new_list(&counts, &DataType::UInt64, true)),
        ])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let lists = |at: usize| states.get(at).and_then(|state| state.as_list_opt::<i32>());
        let (Some(values), Some(counts)) = (lists(0), lists(1)) else {
            return internal_err!("values and their counts are lists");
        };
        for (values, counts) in values.iter().zip(counts.iter()) {
            let (Some(values), Some(counts)) = (values, counts) else { continue };
            let counts = counts
                .as_primitive_opt::<UInt64Type>()
                .ok_or_else(|| exec_datafusion_err!("counts of values are whole numbers"))?;
            for (row, times) in counts.iter().enumerate() {
                self.add(ScalarValue::try_from_array(&values, row)?, times.unwrap_or(0));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;

    use super::*;

    fn counts(part: Option<f64>, is_descending: bool) -> Counts {
        Counts { part, is_descending, kind: DataType::Int64, counts: HashMap::new(), bytes: 0 }
    }

    /// The answers are those of Postgres; and the same where the work is split.
    #[test]
    fn one_of_the_values_is_chosen() {
        let values = [Some(3), Some(1), None, Some(2), Some(2), Some(5), Some(3)];
        for (part, is_descending, wanted) in [
            (None, false, 2),
            (None, true, 3),
            (Some(0.0), false, 1),
            (Some(0.5), false, 2),
            (Some(0.51), false, 3),
            (Some(0.5), true, 3),
            (Some(0.9), false, 5),
            (Some(1.0), false, 5),
            (Some(1.0), true, 1),
        ] {
            let mut whole = counts(part, is_descending);
            for half in [&values[..3], &values[3..]] {
                let mut one = counts(part, is_descending);
                one.update_batch(&[Arc::new(Int64Array::from(half.to_vec())) as ArrayRef]).unwrap();
                let states = one.state().unwrap();
                let states: Vec<ArrayRef> = states.iter().map(|state| state.to_array().unwrap()).collect();
                whole.merge_batch(&states).unwrap();
            }
            assert_eq!(whole.evaluate().unwrap(), ScalarValue::Int64(Some(wanted)), "{part:?} {is_descending}");
        }
        assert_eq!(counts(Some(0.5), false).evaluate().unwrap(), ScalarValue::Int64(None));
    }

    #[test]
    fn what_is_kept_is_counted() {
        let mut kept = counts(None, false);
        let before = kept.size();
        for number in 0..1_000 {
            kept.add(ScalarValue::from(format!("{number:0>100}")), 1);
        }
        assert!(kept.size() > before + 1_000 * (100 + size_of::<ScalarValue>()), "{}", kept.size());
        let size = kept.size();
        kept.add(ScalarValue::from(format!("{:0>100}", 7)), 1);
        assert_eq!(kept.size(), size);
    }
}
