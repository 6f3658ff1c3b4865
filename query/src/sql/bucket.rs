//! `width_bucket(value, low, high, count)`: in which of so many parts of a range a value lies, as Postgres counts them.
//!
//! Decimals and integers are told apart exactly; beside a float all are floats.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, Int32Array},
    datatypes::{DataType, Decimal128Type, Float64Type, Int32Type},
};
use datafusion::{
    common::{Result, exec_err, plan_err},
    logical_expr::ScalarUDF,
};

use super::shape::Plain;

/// What decimals are told apart as: the digits of money.
const EXACT: DataType = DataType::Decimal128(38, 12);

/// The function.
pub(super) fn width_bucket() -> Arc<ScalarUDF> {
    Plain {
        name: "width_bucket",
        takes: |types| {
            let [range @ .., count] = types else { return plan_err!("{TAKES}") };
            let is_number = |kind: &DataType| kind.is_numeric() || kind.is_null();
            if range.len() != 3 || !types.iter().all(is_number) || count.is_floating() {
                return plan_err!("{TAKES}");
            }
            let is_exact = |kind: &DataType| match kind {
                DataType::Decimal128(precision, scale) => {
                    (0..=12).contains(scale) && i16::from(*precision) - i16::from(*scale) <= 26
                }
                kind => kind.is_integer() || kind.is_null(),
            };
            let of = if range.iter().all(is_exact) { EXACT } else { DataType::Float64 };
            Ok(vec![of.clone(), of.clone(), of, DataType::Int32])
        },
        gives: |_| Ok(DataType::Int32),
        makes: |arrays| {
            let [value, low, high, count] = arrays else { return exec_err!("{TAKES}") };
            let buckets: Int32Array = if *value.data_type() == EXACT {
                let [value, low, high] = [value, low, high].map(decimals);
                each(value.zip(low).zip(high), count, exact)?
            } else {
                let [value, low, high] = [value, low, high].map(floats);
                each(value.zip(low).zip(high), count, float)?
            };
            Ok(Arc::new(buckets))
        },
    }
    .shared()
}

const TAKES: &str = "width_bucket() takes a number, the ends of a range and a whole number of parts";

fn decimals(array: &ArrayRef) -> impl Iterator<Item = Option<i128>> {
    array.as_primitive::<Decimal128Type>().iter()
}

fn floats(array: &ArrayRef) -> impl Iterator<Item = Option<f64>> {
    array.as_primitive::<Float64Type>().iter()
}

/// The bucket of each row; NULL where anything is.
fn each<T: Copy + PartialOrd>(
    rows: impl Iterator<Item = ((Option<T>, Option<T>), Option<T>)>,
    counts: &ArrayRef,
    inside: fn(T, T, T, i32) -> Option<i32>,
) -> Result<Int32Array> {
    let mut buckets = Int32Array::builder(counts.len());
    for (((value, low), high), count) in rows.zip(counts.as_primitive::<Int32Type>()) {
        let (Some(value), Some(low), Some(high), Some(count)) = (value, low, high, count) else {
            buckets.append_null();
            continue;
        };
        if count <= 0 || count == i32::MAX {
            return exec_err!("width_bucket() takes a number of parts from 1 to {}", i32::MAX - 1);
        }
        let (is_up, is_down) = (low < high, low > high);
        // What is no number is neither.
        if !(is_up || is_down) || value.partial_cmp(&low).is_none() {
            return exec_err!("width_bucket() takes a range whose ends differ, and numbers only");
        }
        let (before, behind) = if is_up { (value < low, value >= high) } else { (value > low, value <= high) };
        let bucket = match (before, behind) {
            (true, _) => Some(0),
            (_, true) => Some(count + 1),
            _ => inside(value, low, high, count).map(|part| part.clamp(0, count - 1) + 1),
        };
        let Some(bucket) = bucket else { return exec_err!("width_bucket() takes no numbers that are so large") };
        buckets.append_value(bucket);
    }
    Ok(buckets.finish())
}

fn exact(value: i128, low: i128, high: i128, count: i32) -> Option<i32> {
    let since = value.checked_sub(low)?.checked_mul(i128::from(count))?;
    i32::try_from(since.checked_div(high.checked_sub(low)?)?).ok()
}

fn float(value: f64, low: f64, high: f64, count: i32) -> Option<i32> {
    let part = (value - low) / (high - low) * f64::from(count);
    part.is_finite().then_some(part.floor() as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_in_their_parts() {
        let check = |value: f64, low: f64, high: f64, count: i32, wanted: i32| {
            let counts: ArrayRef = Arc::new(Int32Array::from(vec![count]));
            let rows = |value| std::iter::once(((Some(value), Some(low)), Some(high)));
            assert_eq!(each(rows(value), &counts, float).unwrap().value(0), wanted, "{value}");
            let [value, low, high] = [value, low, high].map(|number| (number * 100.0).round() as i128);
            let rows = std::iter::once(((Some(value), Some(low)), Some(high)));
            assert_eq!(each(rows, &counts, exact).unwrap().value(0), wanted, "{value}");
        };
        check(5.35, 0.02, 10.06, 5, 3);
        check(0.0, 0.0, 1.0, 4, 1);
        check(1.0, 0.0, 1.0, 4, 5);
        check(-0.01, 0.0, 1.0, 4, 0);
        check(0.25, 0.0, 1.0, 4, 2);
        check(5.35, 10.06, 0.02, 5, 3);
        check(10.07, 10.06, 0.02, 5, 0);
        check(0.02, 10.06, 0.02, 5, 6);
        let counts: ArrayRef = Arc::new(Int32Array::from(vec![0]));
        assert!(each(std::iter::once(((Some(1.0), Some(0.0)), Some(2.0))), &counts, float).is_err());
        let counts: ArrayRef = Arc::new(Int32Array::from(vec![2]));
        for (value, high) in [(1.0, 0.0), (f64::NAN, 1.0), (0.5, f64::NAN)] {
            assert!(each(std::iter::once(((Some(value), Some(0.0)), Some(high))), &counts, float).is_err());
        }
    }
}
