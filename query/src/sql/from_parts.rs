//! `make_timestamp(year, month, day, hour, minute, second)`: what clocks show, of its parts. What is none is an error; the 24th hour is the next
//! day and the 60th second the next minute, as in Postgres.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray},
    datatypes::{DataType, Float64Type, Int64Type, TimeUnit},
};
use datafusion::{
    common::{Result, exec_datafusion_err, exec_err, plan_err},
    logical_expr::ScalarUDF,
};
use jiff::{civil::Date, tz::TimeZone};

use super::shape::Plain;

const MINUTE_MICROS: i64 = 60_000_000;
const TAKES: &str = "make_timestamp() takes a year, a month, a day, an hour, a minute and seconds";

/// The function.
pub(super) fn make_timestamp() -> Arc<ScalarUDF> {
    Plain {
        name: "make_timestamp",
        takes: |types| {
            let is_whole = |kind: &DataType| kind.is_integer() || kind.is_null();
            match types {
                [parts @ .., seconds]
                    if parts.len() == 5
                        && parts.iter().all(is_whole)
                        && (seconds.is_numeric() || seconds.is_null()) =>
                {
                    Ok(vec![DataType::Int64; 5].into_iter().chain([DataType::Float64]).collect())
                }
                _ => plan_err!("{TAKES}"),
            }
        },
        gives: |_| Ok(DataType::Timestamp(TimeUnit::Microsecond, None)),
        makes: times,
    }
    .shared()
}

fn times(arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let [years, months, days, hours, minutes, seconds] = arrays else { return exec_err!("{TAKES}") };
    let whole = |parts: &ArrayRef| parts.as_primitive::<Int64Type>().clone();
    let parts = [years, months, days, hours, minutes].map(whole);
    let seconds = seconds.as_primitive::<Float64Type>();
    let mut times = TimestampMicrosecondArray::builder(seconds.len());
    for (row, second) in seconds.iter().enumerate() {
        let known = second.filter(|_| parts.iter().all(|part| part.is_valid(row)));
        let Some(second) = known else {
            times.append_null();
            continue;
        };
        let parts = parts.each_ref().map(|part| part.value(row));
        let shown = shown(parts, second);
        times.append_value(shown.ok_or_else(|| exec_datafusion_err!("{}", wrong(parts, second)))?);
    }
    Ok(Arc::new(times.finish()))
}

fn wrong([year, month, day, hour, minute]: [i64; 5], second: f64) -> String {
    format!("date/time field value out of range: {year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

/// The microseconds since 1970 at which clocks in UTC show this; nothing where they never do.
fn shown([year, month, day, hour, minute]: [i64; 5], second: f64) -> Option<i64> {
    // The year before the first is the first before Christ, and is written -1.
    let year = match year {
        0 => return None,
        year if year < 0 => year + 1,
        year => year,
    };
    let date = Date::new(year.try_into().ok()?, month.try_into().ok()?, day.try_into().ok()?).ok()?;
    if !(0..=24).contains(&hour) || !(0..60).contains(&minute) || !(0.0..=60.0).contains(&second) {
        return None;
    }
    let of_day = (hour * 60 + minute) * MINUTE_MICROS + (second * 1e6).round_ties_even() as i64;
    if of_day > 24 * 60 * MINUTE_MICROS {
        return None;
    }
    let midnight = date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_microsecond();
    midnight.checked_add(of_day)
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn a_time_has_parts_that_clocks_show() {
        const NOVEMBER: i64 = 1_793_491_200_000_000;
        const FIRST: i64 = -62_135_596_800_000_000;
        for (parts, second, wanted) in [
            ([2026, 11, 1, 0, 0], 0.0, Some(NOVEMBER)),
            ([2026, 11, 1, 10, 20], 30.5, Some(NOVEMBER + 37_230_500_000)),
            ([2026, 10, 31, 24, 0], 0.0, Some(NOVEMBER)),
            ([2026, 10, 31, 23, 59], 60.0, Some(NOVEMBER)),
            ([2026, 10, 31, 24, 0], 0.1, None),
            ([2026, 11, 31, 0, 0], 0.0, None),
            ([2026, 11, 1, 25, 0], 0.0, None),
            ([2026, 11, 1, -1, 0], 0.0, None),
            ([2026, 11, 1, 0, 60], 0.0, None),
            ([2026, 11, 1, 0, 0], f64::NAN, None),
            ([99_999, 1, 1, 0, 0], 0.0, None),
            ([i64::MIN, 1, 1, i64::MAX, i64::MAX], 0.0, None),
            ([1, 1, 1, 0, 0], 0.0, Some(FIRST)),
            ([0, 1, 1, 0, 0], 0.0, None),
            ([-1, 12, 31, 24, 0], 0.0, Some(FIRST)),
        ] {
            assert_eq!(shown(parts, second), wanted, "{parts:?} {second}");
        }
    }
}
