//! `age(end, start)`: how long it is from one time to another in months, days and what clocks show, as Postgres counts.
//!
//! What instants are to it is what the clocks of their zone show, which is the session's.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, IntervalMonthDayNanoArray, timezone::Tz},
    datatypes::{DataType, IntervalMonthDayNano, IntervalUnit, TimeUnit, TimestampMicrosecondType},
};
use datafusion::{
    common::{Result, exec_datafusion_err, exec_err, plan_err},
    logical_expr::ScalarUDF,
};
use jiff::{civil::DateTime, tz::TimeZone};

use super::{shape::Plain, trunc::seconds_ahead};

const SECOND: i64 = 1_000_000;
const DAY_NANOS: i64 = 86_400_000_000_000;

/// The function.
pub(super) fn age() -> Arc<ScalarUDF> {
    Plain {
        name: "age",
        takes: |types| {
            let [end, start] = types else { return plan_err!("age() takes two times: write age(now(), time)") };
            let time = |kind: &DataType| match kind {
                DataType::Timestamp(_, zone) => Ok(DataType::Timestamp(TimeUnit::Microsecond, zone.clone())),
                DataType::Date32 | DataType::Date64 => Ok(DataType::Timestamp(TimeUnit::Microsecond, None)),
                kind if kind.is_string() || kind.is_null() => Ok(DataType::Timestamp(TimeUnit::Microsecond, None)),
                other => plan_err!("age() takes times, not {other}"),
            };
            Ok(vec![time(end)?, time(start)?])
        },
        gives: |_| Ok(DataType::Interval(IntervalUnit::MonthDayNano)),
        makes: |arrays| {
            let clocks = arrays.iter().map(shown).collect::<Result<Vec<_>>>()?;
            let [ends, starts] = clocks.as_slice() else { return exec_err!("age() takes two times") };
            let between = |(end, start): (&Option<DateTime>, &Option<DateTime>)| Some(between((*end)?, (*start)?));
            let ages: IntervalMonthDayNanoArray = ends.iter().zip(starts).map(between).collect();
            Ok(Arc::new(ages))
        },
    }
    .shared()
}

/// What clocks show at times.
fn shown(times: &ArrayRef) -> Result<Vec<Option<DateTime>>> {
    let place = match times.data_type() {
        DataType::Timestamp(_, Some(zone)) => Some(zone.parse::<Tz>()?),
        _ => None,
    };
    let clock = |tick: i64| {
        let ahead = match place {
            Some(place) => seconds_ahead(tick.div_euclid(SECOND), place)?,
            None => 0,
        };
        let tick = tick.checked_add(ahead.checked_mul(SECOND)?)?;
        Some(jiff::Timestamp::from_microsecond(tick).ok()?.to_zoned(TimeZone::UTC).datetime())
    };
    let shown = |tick: Option<i64>| match tick {
        Some(tick) => clock(tick).map(Some).ok_or_else(|| exec_datafusion_err!("timestamp out of range")),
        None => Ok(None),
    };
    times.as_primitive::<TimestampMicrosecondType>().iter().map(shown).collect()
}

/// How long it is from the second to the first. Days that are missing are of the month of the earlier.
fn between(end: DateTime, start: DateTime) -> IntervalMonthDayNano {
    let (earlier, later, sign) = if end < start { (end, start, -1) } else { (start, end, 1) };
    let month = |at: DateTime| i32::from(at.year()) * 12 + i32::from(at.month());
    let (mut months, mut days) = (month(later) - month(earlier), i32::from(later.day()) - i32::from(earlier.day()));
    let mut nanos = nanos_of(later) - nanos_of(earlier);
    if nanos < 0 {
        (nanos, days) = (nanos + DAY_NANOS, days - 1);
    }
    while days < 0 {
        (days, months) = (days + i32::from(earlier.date().days_in_month()), months - 1);
    }
    IntervalMonthDayNano::new(sign * months, sign * days, i64::from(sign) * nanos)
}

/// Nanoseconds since midnight.
fn nanos_of(at: DateTime) -> i64 {
    let minutes = i64::from(at.hour()) * 60 + i64::from(at.minute());
    (minutes * 60 + i64::from(at.second())) * 1_000_000_000 + i64::from(at.subsec_nanosecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answers are those of Postgres.
    #[test]
    fn what_lies_between_is_counted_as_by_a_calendar() {
        let check = |end: &str, start: &str, (months, days, seconds): (i32, i32, i64)| {
            let got = between(end.parse().unwrap(), start.parse().unwrap());
            assert_eq!(got, IntervalMonthDayNano::new(months, days, seconds * 1_000_000_000), "{end} {start}");
        };
        check("2026-11-30T12:00", "2026-11-01T00:00", (0, 29, 43_200));
        check("2026-03-01T00:00", "2026-02-28T00:00", (0, 1, 0));
        check("2026-03-01T00:00", "2026-01-31T00:00", (1, 1, 0));
        check("2001-04-10T00:00", "1957-06-13T00:00", (43 * 12 + 9, 27, 0));
        check("2026-11-01T00:00", "2026-11-30T12:00", (0, -29, -43_200));
        check("2026-11-02T00:00", "2026-11-01T00:00:01", (0, 0, 86_399));
        check("2026-11-01T00:00", "2026-11-01T00:00", (0, 0, 0));
    }
}
