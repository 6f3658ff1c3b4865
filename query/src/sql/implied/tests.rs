use arrow::{
    array::{ArrayRef, AsArray, TimestampMicrosecondArray},
    compute::cast,
    datatypes::{Date32Type, Field, Int64Type, Schema, TimestampMicrosecondType},
};
use datafusion::{
    common::{ToDFSchema, config::ConfigOptions},
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, col},
};
use serde_json::json;

use super::*;
use crate::sql::{
    Question, clock,
    encode::Format,
    functions,
    reading::Reading,
    tests::world::{World, charged, everyone},
};

const HOUR: i64 = 3_600_000_000;

fn function(name: &str) -> Arc<ScalarUDF> {
    functions::scalar().into_iter().find(|function| function.name() == name).unwrap()
}

fn schema() -> DFSchema {
    let kind = |zone: &str| DataType::Timestamp(TimeUnit::Microsecond, Some(zone.into()));
    Schema::new(vec![Field::new("time", kind("UTC"), true), Field::new("other", kind("UTC"), true)])
        .to_dfschema()
        .unwrap()
}

fn in_zone(zone: &str) -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(zone.into()))
}

/// What the engine makes of times.
fn truncated(grain: &str, times: &ArrayRef) -> ArrayRef {
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
    function("date_trunc").invoke_with_args(args).unwrap().into_array(times.len()).unwrap()
}

/// The microseconds since 1970 at which a day begins in UTC.
fn day(text: &str) -> i64 {
    text.parse::<jiff::civil::Date>().unwrap().duration_since(jiff::civil::date(1970, 1, 1)).as_secs() * 1_000_000
}

fn holds(left: i64, op: Operator, right: i64) -> bool {
    match op {
        Operator::Eq => left == right,
        Operator::Lt => left < right,
        Operator::LtEq => left <= right,
        Operator::Gt => left > right,
        Operator::GtEq => left >= right,
        _ => panic!("{op}"),
    }
}

const OPERATORS: [Operator; 5] = [Operator::Eq, Operator::Lt, Operator::LtEq, Operator::Gt, Operator::GtEq];

/// Every time that satisfies a condition on what is made of it is in the range.
fn check(made: &Expr, times: &[i64], values: &[i64], constant: impl Fn(i64) -> ScalarValue) {
    let schema = schema();
    let mut wanted = values.to_vec();
    wanted.extend(values.iter().map(|value| value + 1));
    wanted.sort_unstable();
    wanted.dedup();
    for value in wanted {
        for op in OPERATORS {
            let bound = compared(made, op, &constant(value), &schema).unwrap();
            let inside = |time: i64| {
                bound.range.from.is_none_or(|from| from <= time) && bound.range.to.is_none_or(|to| time < to)
            };
            for (time, of) in times.iter().zip(values) {
                assert!(!holds(*of, op, value) || inside(*time), "{time} in {made} {op} {value}: {:?}", bound.range);
            }
        }
    }
}

/// Clocks are changed in Europe, in America, at midnight in Havana, on Lord Howe by half an hour, and in Brazil over a midnight.
#[test]
fn no_time_that_satisfies_a_condition_is_outside() {
    let zones = [
        "UTC",
        "Europe/Berlin",
        "Europe/London",
        "America/New_York",
        "America/Havana",
        "America/Sao_Paulo",
        "Asia/Kolkata",
        "Australia/Lord_Howe",
        "+05:30",
    ];
    let days = ["2026-03-29", "2026-10-25", "2026-11-01", "2026-03-08", "2026-04-05", "2017-10-15", "2018-02-18"];
    for zone in zones {
        let place = in_zone(zone);
        for day in days.map(day) {
            let times: Vec<i64> = (-60..108).map(|half| day + half * HOUR / 2 + 1_234_567).collect();
            let array: ArrayRef = Arc::new(TimestampMicrosecondArray::from(times.clone()).with_timezone(zone));
            let time = Expr::Cast(Cast::new(Box::new(col("time")), place.clone()));
            for grain in ["hour", "Day", "week", "month", "quarter", "year"] {
                let values = truncated(grain, &array);
                let values = values.as_primitive::<TimestampMicrosecondType>().values().to_vec();
                let made = function("date_trunc").call(vec![lit(grain), time.clone()]);
                check(&made, &times, &values, |value| {
                    ScalarValue::TimestampMicrosecond(Some(value), Some(zone.into()))
                });
            }
            let dates = cast(&array, &DataType::Date32).unwrap();
            let dates: Vec<i64> =
                dates.as_primitive::<Date32Type>().values().iter().map(|day| i64::from(*day)).collect();
            let made = Expr::Cast(Cast::new(Box::new(time), DataType::Date32));
            check(&made, &times, &dates, |date| ScalarValue::Date32(Some(i32::try_from(date).unwrap())));
            let made = clock::in_zone().call(vec![lit(zone), col("time")]);
            let clocks = cast(&shown_in(zone, &array), &DataType::Int64).unwrap();
            let clocks = clocks.as_primitive::<Int64Type>().values().to_vec();
            check(&made, &times, &clocks, |clock| ScalarValue::TimestampMicrosecond(Some(clock), None));
        }
    }
}

/// What clocks of a zone show.
fn shown_in(zone: &str, times: &ArrayRef) -> ArrayRef {
    let times = cast(times, &in_zone("UTC")).unwrap();
    let clock = DataType::Timestamp(TimeUnit::Microsecond, None);
    let args = ScalarFunctionArgs {
        args: vec![ColumnarValue::Scalar(ScalarValue::from(zone)), ColumnarValue::Array(Arc::clone(&times))],
        arg_fields: vec![
            Arc::new(Field::new("zone", DataType::Utf8, false)),
            Arc::new(Field::new("time", in_zone("UTC"), true)),
        ],
        number_rows: times.len(),
        return_field: Arc::new(Field::new("clock", clock, true)),
        config_options: Arc::new(ConfigOptions::default()),
    };
    clock::in_zone().invoke_with_args(args).unwrap().into_array(times.len()).unwrap()
}

#[test]
fn a_day_is_as_long_as_it_is() {
    let instant = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_microsecond();
    let check = |zone: &str, grain: &str, begin: &str, end: &str| {
        let time = Expr::Cast(Cast::new(Box::new(col("time")), in_zone(zone)));
        let made = function("date_trunc").call(vec![lit(grain), time]);
        let value = ScalarValue::TimestampMicrosecond(Some(instant(begin)), Some(zone.into()));
        let bound = compared(&made, Operator::Eq, &value, &schema()).unwrap();
        let wanted = Range { from: Some(instant(begin)), to: Some(instant(end)) };
        assert_eq!(bound.range, wanted, "{grain} in {zone}");
    };
    check("UTC", "day", "2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z");
    check("UTC", "hour", "2026-11-20T05:00:00Z", "2026-11-20T06:00:00Z");
    check("UTC", "week", "2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z");
    check("UTC", "month", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z");
    check("UTC", "quarter", "2026-10-01T00:00:00Z", "2027-01-01T00:00:00Z");
    // 25 hours and 23.
    check("Europe/Berlin", "day", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z");
    check("Europe/Berlin", "day", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z");
    check("America/New_York", "day", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z");
    check("America/New_York", "day", "2027-03-14T05:00:00Z", "2027-03-15T04:00:00Z");
    check("America/New_York", "month", "2026-11-01T04:00:00Z", "2026-12-01T05:00:00Z");
}

#[test]
fn what_follows_from_conditions_is_put_beside_them_once() {
    let schema = schema();
    let at = |micros| lit(ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into())));
    let of = |column: &str, grain: &str| function("date_trunc").call(vec![lit(grain), col(column)]);
    let begin = day("2026-11-20");
    let check = |condition: Expr, wanted: &[Expr]| {
        assert_eq!(added(&condition, &schema), wanted, "{condition}");
        // What is there already is not put there again.
        let both = conjunction([condition].into_iter().chain(wanted.iter().cloned())).unwrap();
        assert!(added(&both, &schema).is_empty(), "{both}");
    };
    let a_day = [col("time").gt_eq(at(begin)), col("time").lt(at(begin + 24 * HOUR))];
    check(of("time", "day").eq(at(begin)), &a_day);
    check(at(begin).eq(of("time", "day")), &a_day);
    check(of("time", "day").gt_eq(at(begin)), &a_day[..1]);
    check(at(begin).gt(of("time", "day")), &[col("time").lt(at(begin))]);
    check(
        of("time", "day").in_list(vec![at(begin), at(begin - 24 * HOUR)], false),
        &[col("time").gt_eq(at(begin - 24 * HOUR)), col("time").lt(at(begin + 24 * HOUR))],
    );
    check(
        of("time", "day").eq(at(begin)).or(of("time", "hour").eq(at(begin + 30 * HOUR))),
        &[col("time").gt_eq(at(begin)), col("time").lt(at(begin + 31 * HOUR))],
    );
    check(
        of("time", "hour").between(at(begin), at(begin + HOUR)),
        &[col("time").gt_eq(at(begin)), col("time").lt(at(begin + 2 * HOUR))],
    );
    check(
        of("time", "day").eq(at(begin)).and(of("time", "hour").eq(at(begin + HOUR))),
        &[col("time").gt_eq(at(begin + HOUR)), col("time").lt(at(begin + 2 * HOUR))],
    );
    let bins = ScalarValue::new_interval_mdn(0, 0, 6 * HOUR * 1_000);
    let bins = function("date_bin").call(vec![lit(bins), col("time")]);
    check(bins.lt_eq(at(begin)), &[col("time").lt(at(begin + 6 * HOUR))]);
    for nothing in [
        of("time", "day").not_eq(at(begin)),
        of("time", "day").eq(at(begin)).or(of("other", "day").eq(at(begin))),
        of("time", "day").eq(at(begin)).or(col("time").is_null()),
        of("time", "day").eq(col("other")),
        of("time", "day").in_list(vec![at(begin), col("other")], false),
        of("time", "day").in_list(vec![at(begin)], true),
        of("time", "century").eq(at(begin)),
        col("time").gt(at(begin)),
        col("time").gt(at(begin + 48 * HOUR)).and(of("time", "day").gt_eq(at(begin))),
    ] {
        check(nothing, &[]);
    }
}

/// The numbers of an answer to a session of Postgres whose zone is this.
async fn asked(world: &World, zone: Option<&str>, sql: &str) -> serde_json::Value {
    let reading = Reading {
        user: "alice".into(),
        pid: 0,
        settings: Arc::default(),
        zone: zone.map(Into::into),
        parameters: Vec::new(),
        lists: Vec::new(),
    };
    let question = Question::plain(sql).read(Arc::new(reading));
    let answer = world.engine.whole(&everyone(), question, Format::Json).await.expect(sql);
    serde_json::from_slice::<serde_json::Value>(&answer).unwrap()["rows"].take()
}

/// What is asked for as a sum over all rows knows nothing of ranges.
#[tokio::test(flavor = "multi_thread")]
async fn conditions_find_the_same_rows_and_fewer_files() {
    // Half hours of 2026-11-01, and of the day on which New York's clocks are set forward.
    let halves = (0..96).chain(6_380..6_480).map(|half| charged("acme", half * 1_800 + 7, "alice", Some(1), 1));
    let entries: Vec<_> = halves.collect();
    let world = World::new(&entries, entries.len()).await;
    let conditions = [
        "date_trunc('day', time) = '2026-11-01'",
        "date_trunc('day', time) = '2027-03-14'",
        "date_trunc('hour', time) = '2026-11-01 01:00'",
        "date_trunc('month', time) >= date '2026-12-01'",
        "date_trunc('week', time) <= '2026-10-26'",
        "time::date = '2026-11-01'",
        "time::date = '2027-03-14'",
        "CAST(time AS date) BETWEEN '2027-03-13' AND '2027-03-14'",
        "time::date IN ('2026-11-02', '2027-03-15')",
        "date_trunc('day', time AT TIME ZONE 'America/New_York') = '2026-11-01'",
        "(time AT TIME ZONE 'America/New_York')::date > '2026-11-01'",
        "date_bin('6 hours', time, '2026-11-01') = '2026-11-01 06:00'",
        "date_trunc('day', time)::date = '2027-03-14'",
    ];
    for zone in [None, Some("America/New_York"), Some("Europe/Berlin"), Some("Asia/Kolkata")] {
        for condition in conditions {
            let all = asked(&world, zone, &format!("SELECT count(*) FILTER (WHERE {condition}) AS n FROM usage")).await;
            let found = asked(&world, zone, &format!("SELECT count(*) AS n FROM usage WHERE {condition}")).await;
            assert_eq!(found, all, "{condition} in {zone:?}");
            let plan = asked(&world, zone, &format!("EXPLAIN SELECT user_id FROM usage WHERE {condition}")).await;
            let plan = plan.to_string();
            let (_, scan) = plan.split_once("partial_filters=[").unwrap_or_else(|| panic!("{condition}: {plan}"));
            assert!(scan.starts_with("usage.time ") && scan.contains("TimestampMicrosecond"), "{condition}: {plan}");
        }
    }
    let days = asked(&world, None, "SELECT count(*) AS n FROM usage WHERE time::date = '2026-11-01'").await;
    assert_eq!(days, json!([{"n": 48}]));
    // A view's day is the day of its rows.
    let plan = asked(&world, None, "EXPLAIN SELECT day, quantity FROM daily_spend WHERE day = '2026-11-01'").await;
    let begin = day("2026-11-01");
    for edge in
        [format!("time >= TimestampMicrosecond({begin}"), format!("time < TimestampMicrosecond({}", begin + 24 * HOUR)]
    {
        assert!(plan.to_string().contains(&edge), "{edge}: {plan}");
    }
}
