//! `percentile_cont` of the numbers of a group, exact, as Postgres has it: between the two numbers that stand about that part of all, as far
//! as the part is between them. The engine knows that only to a millionth.

use std::{cmp::Ordering, mem, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, Float64Array},
    datatypes::{DataType, Field, FieldRef, Float64Type},
};
use datafusion::{
    common::{Result, ScalarValue, internal_err, plan_err, utils::SingleRowListArrayBuilder},
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
        function::{AccumulatorArgs, StateFieldsArgs},
        utils::AggregateOrderSensitivity,
    },
};

use super::ordered::part;

/// What it is called.
pub(super) const NAMES: [&str; 2] = [NAME, "quantile_cont"];

const NAME: &str = "percentile_cont";

/// `percentile_cont(part) WITHIN GROUP (ORDER BY number)`.
pub(super) fn percentile_cont() -> Arc<AggregateUDF> {
    let aliases = NAMES.iter().skip(1).map(|name| (*name).to_owned()).collect();
    Arc::new(AggregateUDF::from(Interpolated { aliases, signature: Signature::user_defined(Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Interpolated {
    aliases: Vec<String>,
    signature: Signature,
}

impl AggregateUDFImpl for Interpolated {
    fn name(&self) -> &'static str {
        NAME
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [DataType::Interval(_), ..] => plan_err!("{NAME} takes no intervals: take extract(epoch from …)"),
            [kind, part] if part.is_numeric() && (kind.is_numeric() || kind.is_null()) => {
                Ok(vec![DataType::Float64; 2])
            }
            _ => plan_err!("{NAME} is of numbers: write {NAME}(0.5) WITHIN GROUP (ORDER BY …)"),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let number = Field::new_list_field(DataType::Float64, true);
        Ok(vec![Arc::new(Field::new_list(format!("{}[numbers]", args.name), number, true))])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Numbers {
            part: part(&args, NAME)?,
            is_descending: args.order_bys.first().is_some_and(|order| order.options.descending),
            is_distinct: args.is_distinct,
            numbers: Vec::new(),
        }))
    }

    fn supports_within_group_clause(&self) -> bool {
        true
    }

    /// Numbers are put in order here.
    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// All numbers of a group.
#[derive(Debug)]
struct Numbers {
    part: f64,
    is_descending: bool,
    is_distinct: bool,
    numbers: Vec<f64>,
}

impl Numbers {
    fn add(&mut self, numbers: &ArrayRef) -> Result<()> {
        let Some(numbers) = numbers.as_primitive_opt::<Float64Type>() else { return internal_err!("no floats") };
        self.numbers.extend(numbers.iter().flatten());
        Ok(())
    }

    fn interpolated(&mut self) -> Option<f64> {
        if self.is_distinct {
            self.numbers.sort_unstable_by(f64::total_cmp);
            self.numbers.dedup();
        }
        let is_descending = self.is_descending;
        let order = |one: &f64, other: &f64| -> Ordering {
            let order = one.total_cmp(other);
            if is_descending { order.reverse() } else { order }
        };
        // No group has so many rows that they would be no exact float.
        let place = self.part * self.numbers.len().checked_sub(1)? as f64;
        let before = place.floor();
        let (_, first, rest) = self.numbers.select_nth_unstable_by(before as usize, order);
        let first = *first;
        if before == place {
            return Some(first);
        }
        let second = rest.iter().copied().min_by(order)?;
        Some(first + (place - before) * (second - first))
    }
}

impl Accumulator for Numbers {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(numbers) = values.first() else { return internal_err!("a number is missing") };
        self.add(numbers)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(self.interpolated()))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.numbers.capacity() * size_of::<f64>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let numbers = Float64Array::from(mem::take(&mut self.numbers));
        Ok(vec![SingleRowListArrayBuilder::new(Arc::new(numbers)).build_list_scalar()])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let Some(lists) = states.first().and_then(|state| state.as_list_opt::<i32>()) else {
            return internal_err!("numbers are a list");
        };
        lists.iter().flatten().try_for_each(|numbers| self.add(&numbers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answers are those of Postgres; and the same where the work is split.
    #[test]
    fn a_number_between_two_is_exact() {
        let check = |part: f64, is_descending: bool, numbers: &[Option<f64>], wanted: Option<f64>| {
            let empty = || Numbers { part, is_descending, is_distinct: false, numbers: Vec::new() };
            let mut whole = empty();
            for half in numbers.chunks(2) {
                let mut one = empty();
                one.update_batch(&[Arc::new(Float64Array::from(half.to_vec())) as ArrayRef]).unwrap();
                let states: Vec<ArrayRef> =
                    one.state().unwrap().iter().map(|state| state.to_array().unwrap()).collect();
                whole.merge_batch(&states).unwrap();
            }
            assert_eq!(whole.evaluate().unwrap(), ScalarValue::Float64(wanted), "{part} {is_descending} {numbers:?}");
        };
        let three = [Some(9.0), None, Some(1.0), Some(2.0)];
        check(0.7, false, &three, Some(4.799_999_999_999_999));
        check(0.7, true, &three, Some(1.6));
        check(0.5, false, &three, Some(2.0));
        check(0.0, true, &three, Some(9.0));
        check(1.0, false, &three, Some(9.0));
        check(0.123_456_789, false, &[Some(1e12), Some(0.0)], Some(123_456_789_000.0));
        check(0.3, false, &[Some(7.0)], Some(7.0));
        check(0.3, false, &[None], None);
        check(0.5, false, &[Some(f64::INFINITY), Some(1.0), Some(f64::INFINITY)], Some(f64::INFINITY));
    }

    #[test]
    fn one_of_equal_numbers_counts_if_they_are_to_be_distinct() {
        let numbers = vec![5.0, 1.0, 1.0, 1.0];
        let mut kept = Numbers { part: 0.5, is_descending: false, is_distinct: true, numbers };
        assert_eq!(kept.evaluate().unwrap(), ScalarValue::Float64(Some(3.0)));
        assert!(kept.size() > size_of_val(&kept));
    }
}
