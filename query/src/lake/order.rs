//! The order of rows in a file, by day and the columns that a table is sorted by.
//!
//! A table is mostly sorted by a text of few values and a time. Those are packed into one number for each row, and numbers are sorted
//! several times faster than rows are compared. Rows that are in order already, as those of the archive are, stay where they are.

use std::{cmp::Ordering, collections::HashMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, Int32Array, StringArray, TimestampMicrosecondArray, UInt32Array},
    compute::{LexicographicalComparator, SortColumn, SortOptions, lexsort_to_indices},
    datatypes::TimestampMicrosecondType,
};

use crate::error::Error;

/// The places of the rows in their order, NULLs first and equal ones as they come; nothing if they are in it.
pub(super) fn order(days: Option<&Int32Array>, by: &[ArrayRef]) -> Result<Option<UInt32Array>, Error> {
    let nulls_first = Some(SortOptions { descending: false, nulls_first: true });
    let days_too = days.map(|days| Arc::new(days.clone()) as ArrayRef);
    let keys = days_too.into_iter().chain(by.iter().cloned());
    let keys: Vec<_> = keys.map(|values| SortColumn { values, options: nulls_first }).collect();
    let rows = keys.first().map_or(0, |key| key.values.len());
    let compared = LexicographicalComparator::try_new(&keys)?;
    if (1..rows).all(|row| compared.compare(row - 1, row) != Ordering::Greater) {
        return Ok(None);
    }
    match packed(days, by) {
        Some(order) => Ok(Some(order)),
        None => Ok(Some(lexsort_to_indices(&keys, None)?)),
    }
}

/// The order by day, a text and a time, if it is by those and none of the times is NULL.
fn packed(days: Option<&Int32Array>, by: &[ArrayRef]) -> Option<UInt32Array> {
    let [texts, times] = by else { return None };
    let (days, texts) = (days?, texts.as_string_opt::<i32>()?);
    let times: &TimestampMicrosecondArray = times.as_primitive_opt::<TimestampMicrosecondType>()?;
    if times.null_count() > 0 {
        return None;
    }
    let ranks = ranks(texts);
    let mut keys: Vec<(u128, u32)> = Vec::with_capacity(ranks.len());
    for (row, rank) in ranks.into_iter().enumerate() {
        let day = u128::from(days.value(row).cast_unsigned() ^ 1 << 31);
        let time = u128::from(times.value(row).cast_unsigned() ^ 1 << 63);
        keys.push((day << 96 | u128::from(rank) << 64 | time, u32::try_from(row).ok()?));
    }
    keys.sort_unstable();
    Some(keys.into_iter().map(|(_, row)| row).collect())
}

/// For each text its place among all that there are, from one; zero for NULL.
fn ranks(texts: &StringArray) -> Vec<u32> {
    let mut known: HashMap<&str, u32> = HashMap::new();
    let mut first: Vec<&str> = Vec::new();
    let mut numbers = Vec::with_capacity(texts.len());
    for text in texts {
        numbers.push(text.map(|text| {
            *known.entry(text).or_insert_with(|| {
                first.push(text);
                (first.len() - 1) as u32
            })
        }));
    }
    let mut sorted: Vec<u32> = (0..).zip(&first).map(|(number, _)| number).collect();
    sorted.sort_unstable_by_key(|number| first.get(*number as usize));
    let mut ranks = vec![0; sorted.len()];
    for (rank, number) in (1..).zip(sorted) {
        if let Some(place) = ranks.get_mut(number as usize) {
            *place = rank;
        }
    }
    let rank = |number: Option<u32>| number.and_then(|number| ranks.get(number as usize)).copied().unwrap_or(0);
    numbers.into_iter().map(rank).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_keys_are_in_the_order_of_what_they_stand_for() {
        let mut state = 7_u64;
        let mut lot = |end: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % end
        };
        for rows in [0, 1, 2, 50, 1_000] {
            let names = ["", "a", "ab", "b", "ü"];
            let texts: StringArray = (0..rows).map(|_| names.get(lot(6) as usize).copied()).collect();
            let times: TimestampMicrosecondArray = (0..rows).map(|_| Some(lot(40) as i64 - 20)).collect();
            let days: Int32Array = (0..rows).map(|_| Some(lot(5) as i32 - 2)).collect();
            let by: [ArrayRef; 2] = [Arc::new(texts.clone()), Arc::new(times.clone())];
            let key = |row: &u32| {
                let row = *row as usize;
                (days.value(row), texts.is_valid(row).then(|| texts.value(row)), times.value(row), row)
            };
            let mut wanted: Vec<u32> = (0..rows).collect();
            wanted.sort_by_key(key);
            let got = packed(Some(&days), &by).expect("packed");
            assert_eq!(got.values(), &wanted[..]);
            let order = order(Some(&days), &by).expect("an order");
            assert_eq!(order.is_none(), wanted.is_sorted(), "{rows}");
        }
    }

    #[test]
    fn other_columns_have_an_order_too() {
        let by: [ArrayRef; 1] = [Arc::new(StringArray::from(vec![Some("b"), None, Some("a")]))];
        assert_eq!(order(None, &by).unwrap(), Some(UInt32Array::from(vec![1, 2, 0])));
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![Some(1), None]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "a"]));
        let days = Int32Array::from(vec![0, 0]);
        assert_eq!(order(Some(&days), &[texts, times]).unwrap(), Some(UInt32Array::from(vec![1, 0])));
    }
}
