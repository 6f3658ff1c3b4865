use arrow::{
    array::{Array, TimestampMicrosecondArray},
    datatypes::Field,
};
use datafusion::common::config::ConfigOptions;

use super::*;

const MINUTE_MICROS: i64 = 60_000_000;

fn engines() -> Arc<ScalarUDF> {
    datafusion::functions::datetime::date_trunc()
}

fn truncated(function: &ScalarUDF, grain: &str, times: &ArrayRef) -> ArrayRef {
    let kind = times.data_type().clone();
    let args = ScalarFunctionArgs {
        args: vec![ColumnarValue::Scalar(ScalarValue::from(grain)), ColumnarValue::Array(Arc::clone(times))],
        arg_fields: vec![
            Arc::new(Field::new("grain", DataType::Utf8, false)),
            Arc::new(Field::new("time", kind.clone(), true)),
        ],
        number_rows: times.len(),
        return_field: Arc::new(Field::new("truncated", kind, true)),
        config_options: Arc::new(ConfigOptions::default()),
    };
    function.invoke_with_args(args).unwrap().into_array(times.len()).unwrap()
}

/// Some minutes past every quarter of an hour from one minute since 1970 to another, and a NULL.
fn times(minutes: std::ops::Range<i64>, zone: &str) -> ArrayRef {
    let times = minutes.step_by(15).map(|minute| Some(minute * MINUTE_MICROS + 123_456_789)).chain([None]);
    Arc::new(times.collect::<TimestampMicrosecondArray>().with_timezone(zone))
}

/// The minute since 1970 at which a day begins in UTC.
fn day(text: &str) -> i64 {
    use arrow::{compute::kernels::cast_utils::Parser, datatypes::Date32Type};
    i64::from(<Date32Type as Parser>::parse(text).unwrap()) * 1_440
}

/// The engine's own looks every instant up: what it answers is right, on days when clocks are changed too.
#[test]
fn what_is_calculated_is_what_the_calendar_says() {
    let zones = [
        "UTC",
        "+00:00",
        "+05:30",
        "-03:00",
        "Europe/Zurich",
        "America/New_York",
        "America/St_Johns",
        "Asia/Kolkata",
        "Asia/Kathmandu",
        "Australia/Lord_Howe",
        "Australia/Adelaide",
        "America/Sao_Paulo",
        "Africa/Casablanca",
    ];
    // Clocks are changed in Europe, in America, on Lord Howe and in Brazil; and before 1970.
    let days = [
        "2026-03-29",
        "2026-10-25",
        "2026-03-08",
        "2026-11-01",
        "2026-04-05",
        "2026-10-04",
        "2017-10-15",
        "1969-12-31",
    ];
    for zone in zones {
        for day in days.map(day) {
            let times = times(day - 1_440..day + 2 * 1_440, zone);
            for grain in ["second", "minute", "hour", "Day", "week", "month", "quarter", "year"] {
                let ours = truncated(&date_trunc(engines()), grain, &times);
                assert_eq!(&ours, &truncated(&engines(), grain, &times), "{grain} in {zone}");
            }
        }
    }
}

#[test]
fn hours_are_calculated_where_that_is_exact_and_nowhere_else() {
    let check = |zone: &str, from: &str, wanted: bool| {
        let times = times(day(from)..day(from) + 1_440, zone);
        let found = hours(&times, TimeUnit::Microsecond, zone).unwrap();
        assert_eq!(found.is_some(), wanted, "{zone} on {from}");
        assert_eq!(are_whole(day(from) / 60..day(from) / 60 + 24, zone), wanted, "{zone} on {from}");
    };
    check("Europe/Zurich", "2026-03-29", true);
    check("Europe/Zurich", "2026-10-25", true);
    check("America/New_York", "2026-11-01", true);
    check("Asia/Kolkata", "2026-11-01", false);
    // Half an hour from 11:00 to 10:30, in the middle of an hour of UTC; before and after that day it is one or the other.
    check("Australia/Lord_Howe", "2026-04-04", false);
    check("Australia/Lord_Howe", "2026-01-04", true);
    check("nowhere", "2026-11-01", false);
}

/// Whoever groups by what has no place in a calendar has no error where integers have an answer.
#[test]
fn instants_outside_of_the_calendar_are_no_hours_of_a_zone() {
    let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![i64::MAX]).with_timezone("Europe/Zurich"));
    assert!(hours(&times, TimeUnit::Microsecond, "Europe/Zurich").unwrap().is_none());
}

/// Havana's clocks go back at one in the morning, so that the midnight before comes twice, and every hour of the day finds the first.
#[test]
fn a_day_whose_midnight_comes_twice_is_one_day() {
    let ours = date_trunc(engines());
    let begins = |text: &str| day(text) * MINUTE_MICROS + 4 * 60 * MINUTE_MICROS;
    let of = |grain: &str, minutes| truncated(&ours, grain, &times(minutes, "America/Havana"));
    let midnight = begins("2026-11-01");
    let all = of("day", day("2026-11-01") + 4 * 60..day("2026-11-02") + 5 * 60);
    let alike = |found: &ArrayRef, wanted| {
        let found =
            found.as_any().downcast_ref::<TimestampMicrosecondArray>().unwrap().iter().flatten().collect::<Vec<_>>();
        assert!(!found.is_empty() && found.iter().all(|tick| *tick == wanted), "{found:?} {wanted}");
    };
    alike(&all, midnight);
    alike(&of("month", day("2026-11-01") + 4 * 60..day("2026-11-30")), midnight);
    alike(&of("day", day("2026-10-31") + 4 * 60..day("2026-11-01") + 4 * 60), begins("2026-10-31"));
    // An hour that comes twice is two.
    let hours = of("hour", day("2026-11-01") + 4 * 60..day("2026-11-01") + 6 * 60);
    let hours = hours.as_any().downcast_ref::<TimestampMicrosecondArray>().unwrap();
    let hours: std::collections::BTreeSet<i64> = hours.iter().flatten().collect();
    assert_eq!(hours.into_iter().collect::<Vec<_>>(), [midnight, midnight + 60 * MINUTE_MICROS]);
    let scalar = ScalarValue::TimestampMicrosecond(Some(midnight + 90 * MINUTE_MICROS), Some("America/Havana".into()));
    let one = earlier(ColumnarValue::Scalar(scalar), TimeUnit::Microsecond, "America/Havana").unwrap();
    alike(&one.into_array(1).unwrap(), midnight + 30 * MINUTE_MICROS);
}
