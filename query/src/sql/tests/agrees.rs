//! Calculations that the engine has of its own way, answered as Postgres answers them.

use arrow::{
    datatypes::{DataType, Schema, TimeUnit},
    ipc::reader::StreamReader,
};
use serde_json::{Value, json};

use super::world::{World, charged, everyone, only};
use crate::sql::{Question, encode::Format, types};

async fn world() -> World {
    let entries = [1, 2, 3].map(|number| charged("acme", number, "alice", Some(1), 1));
    World::new(&entries, 1).await
}

pub(super) async fn check(world: &World, value: &str, wanted: Value) {
    let sql = if value.contains(" AS v ") { format!("SELECT {value}") } else { format!("SELECT {value} AS v") };
    let got = world.ask(&everyone(), &sql).await;
    assert_eq!(got, Ok(json!([{ "v": wanted }])), "{sql}");
}

#[tokio::test(flavor = "multi_thread")]
async fn intervals_are_compared_by_their_length() {
    let world = world().await;
    for (condition, wanted) in [
        ("interval '36 hours' > interval '1 day'", true),
        ("interval '1 day' = interval '24 hours'", true),
        ("interval '1 day' <> interval '24 hours'", false),
        ("interval '1 month' = interval '30 days'", true),
        ("interval '1 month' <= interval '719 hours'", false),
        ("interval '1 day' IS DISTINCT FROM interval '24 hours'", false),
        ("interval '36 hours' BETWEEN interval '1 day' AND interval '2 days'", true),
        ("interval '24 hours' IN (interval '1 hour', interval '1 day')", true),
        ("interval '24 hours' NOT IN (interval '1 hour', interval '1 day')", false),
        ("CASE interval '24 hours' WHEN interval '1 day' THEN true ELSE false END", true),
        ("timestamp '2026-11-05' - timestamp '2026-11-01' < interval '3 days'", false),
        ("timestamp '2026-11-05' - timestamp '2026-11-01' = interval '4 days'", true),
        ("interval '100 hours' > timestamp '2026-11-05' - timestamp '2026-11-01'", true),
        ("age(timestamp '2026-11-03', timestamp '2026-11-01') > interval '47 hours'", true),
        ("(timestamp '2026-11-05' - timestamp '2026-11-01') / 2 = interval '2 days'", true),
        ("1.5 * (timestamp '2026-11-05' - timestamp '2026-11-01') = interval '6 days'", true),
        ("extract(day FROM (timestamp '2026-11-06' - timestamp '2026-11-01') / 2) = 2", true),
        ("extract(hour FROM (timestamp '2026-11-06' - timestamp '2026-11-01') / 2) = 12", true),
        ("interval '-36 hours' < interval '-1 day'", true),
        ("interval '36 hours' > '1 day'", true),
        ("'1 day' <> interval '24 hours'", false),
        ("timestamp '2026-11-05' - timestamp '2026-11-01' < '3 days'", false),
    ] {
        check(&world, condition, json!(wanted)).await;
    }
    const SPANS: &str =
        "FROM (VALUES (1, interval '36 hours'), (2, interval '1 day'), (3, interval '24 hours'), (4, NULL)) t(n, x)";
    check(&world, &format!("max(x) = interval '36 hours' AS v {SPANS}"), json!(true)).await;
    check(&world, &format!("min(x) = interval '1 day' AS v {SPANS}"), json!(true)).await;
    check(&world, &format!("count(DISTINCT x) AS v {SPANS}"), json!(2)).await;
    check(&world, &format!("n AS v {SPANS} WHERE x IS NOT NULL ORDER BY x DESC LIMIT 1"), json!(1)).await;
    check(&world, &format!("sum(r) AS v FROM (SELECT rank() OVER (ORDER BY x) AS r {SPANS}) s"), json!(9)).await;
    let old = "count(*) AS v FROM usage WHERE timestamptz '2026-11-05 00:00Z' - time < interval '3 days'";
    check(&world, old, json!(0)).await;
    check(&world, "count(*) AS v FROM usage WHERE timestamptz '2026-11-02 00:00Z' - time < '3 days'", json!(3)).await;
    check(&world, "(max(time) - min(time)) / 2 = interval '1 second' AS v FROM usage", json!(true)).await;
    for told_apart in [format!("SELECT x {SPANS} GROUP BY x"), format!("SELECT DISTINCT x {SPANS}")] {
        let error = world.ask(&everyone(), &told_apart).await.unwrap_err();
        assert!(error.starts_with("TG6001") && error.contains("epoch"), "{told_apart}: {error}");
    }
    // Files of other days are still not opened.
    let plan = "EXPLAIN SELECT user_id FROM usage WHERE time > timestamptz '2026-11-04 00:00Z' - interval '3 days'";
    let plan = world.ask(&everyone(), plan).await.unwrap().to_string();
    assert!(plan.contains("1793491200000000"), "{plan}");
}

/// By a generator of its own, against what Postgres reckons with.
#[tokio::test(flavor = "multi_thread")]
async fn any_two_intervals_are_compared_by_their_length() {
    let world = world().await;
    let mut seed = 11_i64;
    let mut next = |most: i64| {
        seed = (seed * 1_103_515_245 + 12_345) % (1 << 31);
        seed / 65_536 % most - most / 2
    };
    let (mut columns, mut wanted) = (Vec::new(), serde_json::Map::new());
    for number in 0..40 {
        let mut span = || {
            let (months, days, hours) = (next(3), next(60), next(1_500));
            (months * 720 + days * 24 + hours, format!("interval '{months} months {days} days {hours} hours'"))
        };
        let ((left, first), (right, second)) = (span(), span());
        columns.push(format!("{first} < {second} AS c{number}"));
        wanted.insert(format!("c{number}"), json!(left < right));
    }
    let got = world.ask(&everyone(), &format!("SELECT {}", columns.join(", "))).await;
    assert_eq!(got, Ok(json!([wanted])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_and_an_interval_are_a_time() {
    let world = world().await;
    for (value, wanted) in [
        ("date '2026-11-01' + interval '12 hours'", json!("2026-11-01T12:00:00.000000Z")),
        ("interval '12 hours' + date '2026-11-01'", json!("2026-11-01T12:00:00.000000Z")),
        ("date '2026-11-01' - interval '1 hour'", json!("2026-10-31T23:00:00.000000Z")),
        ("date '2026-11-30' - interval '1 month'", json!("2026-10-30T00:00:00.000000Z")),
        ("date '2026-11-05' - date '2026-11-01'", json!(4)),
        ("current_date - interval '1 hour' < current_date", json!(true)),
        ("count(*) AS v FROM usage WHERE time >= date '2026-11-02' - interval '1 day'", json!(3)),
        (
            "count(*) AS v FROM generate_series(date '2026-11-05' - interval '3 days', date '2026-11-05', '1 day'::interval)",
            json!(4),
        ),
        ("count(*) AS v FROM generate_series(date '2026-11-02', date '2026-11-05', interval '1 day')", json!(4)),
        (
            "count(*) AS v FROM generate_series(timestamp '2026-11-01 00:00', timestamp '2026-11-01 03:00', interval '1 hour')",
            json!(4),
        ),
        ("count(*) AS v FROM generate_series('2026-11-01 00:00'::timestamptz, '2026-11-01 03:00', '01:00')", json!(4)),
        (
            "max(g) AS v FROM generate_series('2026-11-01'::timestamp, '2026-11-02', '12 hours') g",
            json!("2026-11-02T00:00:00.000000Z"),
        ),
        (
            "count(*) AS v FROM generate_series(date '2026-03-01', date '2026-05-01', interval '1 month -1 day')",
            json!(3),
        ),
        (
            "count(*) AS v FROM generate_series(timestamp '2026-03-01', timestamp '2026-03-02', interval '1 day -1 hour')",
            json!(2),
        ),
        (
            "count(*) AS v FROM generate_series(timestamp '2026-03-03', timestamp '2026-03-01', interval '1 hour -1 day')",
            json!(3),
        ),
    ] {
        check(&world, value, wanted).await;
    }
    let still =
        "SELECT * FROM generate_series(timestamp '2026-03-01', timestamp '2026-03-02', interval '1 day -24 hours')";
    let error = world.ask(&everyone(), still).await.unwrap_err();
    assert!(error.contains("zero"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn quotients_have_their_decimals() {
    let world = world().await;
    for (value, wanted) in [
        ("1.0 * 3 / 1000000", json!("0.0000030000000000")),
        ("2 / 3::numeric", json!("0.666666666666666667")),
        ("1.0 / 3", json!("0.33333333333333333333")),
        ("-1.0 / 3", json!("-0.33333333333333333333")),
        ("7 / 2", json!(3)),
        ("(1.0 / 4) * (1.0 / 4)", json!("0.06250000000000000000")),
        ("coalesce(1.0 / nullif(3, 0), 0)", json!("0.33333333333333333333")),
        ("avg(CASE WHEN n = 1 THEN 1.0 ELSE 0 END) AS v FROM generate_series(1, 3) n", json!("0.3333333333333333")),
        (
            "count(*) FILTER (WHERE n = 1) * 1.0 / count(*) AS v FROM generate_series(1, 3) n",
            json!("0.3333333333333333"),
        ),
        ("sum(cost_usd) AS v FROM usage", json!("0.000000000003")),
        ("sum(output_tokens) / 4 AS v FROM usage", json!("7.500000000000000000")),
        ("sum(output_tokens - 1) / count(*) AS v FROM usage WHERE user_id = 'alice'", json!("9.000000000000000000")),
        ("sum(input_tokens) / nullif(sum(output_tokens), 0) AS v FROM usage", json!("0.100000000000000000")),
        ("100 * coalesce(sum(input_tokens), 0) / 7 AS v FROM usage", json!("42.857142857142857143")),
        ("sum(output_tokens)::bigint / 4 AS v FROM usage", json!(7)),
        ("sum(CASE WHEN output_tokens > 5 THEN 1 ELSE 0 END) / 2 AS v FROM usage", json!(1)),
    ] {
        check(&world, value, wanted).await;
    }
    check(&world, "NULL::float8 / 0", json!(null)).await;
    check(&world, "1::float8 / 4", json!(0.25)).await;
    for wrong in ["1.0 / 0", "1.0::float8 / 0", "0.5::real / 0::real", "99999999999999999999999999999.0 / 0.001"] {
        let error = world.ask(&everyone(), &format!("SELECT {wrong} AS v")).await.unwrap_err();
        assert!(error.starts_with("TG6002"), "{wrong}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_with_an_exponent_are_what_they_say() {
    let world = world().await;
    for (value, wanted) in [
        ("1e6", json!("1000000")),
        ("-1e6", json!("-1000000")),
        ("1.5e3", json!("1500")),
        ("1e-3", json!("0.001")),
        ("round(1e6)", json!("1000000")),
        ("round(1e6 / 7, 4)", json!("142857.1429")),
        ("1e6 > 999999", json!(true)),
        ("3 < 1e3", json!(true)),
        ("1e3 = 1000", json!(true)),
        ("1e40", json!(1e40)),
        ("-1e40", json!(-1e40)),
        ("sum(input_tokens) / 1e6 = sum(input_tokens) * 0.000001 AS v FROM usage", json!(true)),
        ("count(*) AS v FROM usage WHERE input_tokens < 1e6", json!(3)),
    ] {
        check(&world, value, wanted).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cast_to_numeric_loses_nothing() {
    let world = world().await;
    for (value, wanted) in [
        ("0.000000000001::numeric", json!("0.000000000001")),
        ("'0.000000000001'::numeric", json!("0.000000000001")),
        ("'1e6'::numeric", json!("1000000")),
        ("'-1.50'::decimal", json!("-1.50")),
        ("7::numeric", json!("7")),
        ("NULL::numeric", json!(null)),
        ("CAST(1.25 AS numeric(10, 1))", json!("1.3")),
        ("CAST(CAST(271.82 AS double) AS numeric)", json!("271.820000000000000000")),
        ("round(CAST(2.345 AS double)::numeric, 1)", json!("2.3")),
        ("sum(cost_usd::numeric) = sum(cost_usd) AS v FROM usage", json!(true)),
        ("sum(cost_usd::numeric) AS v FROM usage", json!("0.000000000003")),
        ("avg(round(input_tokens::numeric)) AS v FROM usage", json!("1.0000000000000000")),
        ("count(*) AS v FROM usage WHERE input_tokens::numeric > output_tokens::numeric", json!(0)),
        ("CASE WHEN 1 > 2 THEN 1::numeric ELSE 0.25::numeric END", json!("0.25")),
        ("0.25::numeric < 1::numeric", json!(true)),
        ("numeric '1.5'", json!("1.5")),
        ("decimal '-1e3'", json!("-1000")),
        ("x::numeric > round(y::numeric, 1) AS v FROM (VALUES (2.5::float8, 2.44::float8)) t(x, y)", json!(true)),
        ("x::numeric > round(y::numeric, 1) AS v FROM (VALUES (2, 2)) t(x, y)", json!(false)),
        ("round(x::numeric, -1) = 120 AS v FROM (VALUES (123.4::float8)) t(x)", json!(true)),
    ] {
        check(&world, value, wanted).await;
    }
    assert!(world.ask(&everyone(), "SELECT 'x'::numeric AS v").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_the_values_of_a_group_is_chosen() {
    let world = world().await;
    const ROWS: &str = "FROM (VALUES (1, 'b'), (2, 'a'), (2, 'b'), (4, 'a'), (NULL, 'c')) t(x, y)";
    for (value, wanted) in [
        ("percentile_disc(0.5) WITHIN GROUP (ORDER BY x)", json!(2)),
        ("percentile_disc(0.76) WITHIN GROUP (ORDER BY x)", json!(4)),
        ("percentile_disc(0) WITHIN GROUP (ORDER BY x DESC)", json!(4)),
        ("percentile_disc(0.3) WITHIN GROUP (ORDER BY y)", json!("a")),
        ("percentile_disc(0.5) WITHIN GROUP (ORDER BY x) FILTER (WHERE x > 9)", json!(null)),
        ("percentile_disc(0.5) WITHIN GROUP (ORDER BY x * 1.5)", json!("3.0")),
        ("mode() WITHIN GROUP (ORDER BY x)", json!(2)),
        ("mode() WITHIN GROUP (ORDER BY y)", json!("a")),
        ("mode() WITHIN GROUP (ORDER BY y DESC)", json!("b")),
        ("mode() WITHIN GROUP (ORDER BY interval '1 day' * x = interval '48 hours')", json!(false)),
    ] {
        check(&world, &format!("{value} AS v {ROWS}"), wanted).await;
    }
    let grouped = "SELECT user_id, percentile_disc(0.5) WITHIN GROUP (ORDER BY time) = min(time) + interval '1 second' AS v, \
                   mode() WITHIN GROUP (ORDER BY output_tokens) AS m FROM usage GROUP BY user_id";
    assert_eq!(world.ask(&everyone(), grouped).await, Ok(json!([{"user_id": "alice", "v": true, "m": 10}])));
    let wrong = world.ask(&everyone(), "SELECT percentile_disc(2) WITHIN GROUP (ORDER BY time) FROM usage").await;
    assert!(wrong.unwrap_err().contains("from 0 to 1"));
}

/// What the engine calls the same, since it leaves casts out of names, and what it reckons once for both.
#[tokio::test(flavor = "multi_thread")]
async fn windows_and_keys_that_differ_in_a_cast_are_told_apart() {
    let world = world().await;
    const SPANS: &str = "FROM (VALUES (1.375, 'a'), (1.25, 'A'), (3.0, 'b')) t(x, y)";
    for (columns, wanted) in [
        (
            "sum(x) OVER (PARTITION BY upper(y)) AS a, sum(x::float8) OVER (PARTITION BY upper(y)) AS b",
            json!([2.625, 2.625, 3.0]),
        ),
        ("1 AS a, sum(x::int) OVER w + 0 * sum(x) OVER w AS b", json!([2, 2, 3])),
        ("count(*) OVER (PARTITION BY x) AS a, count(*) OVER (PARTITION BY x::int) AS b", json!([2, 2, 1])),
        ("rank() OVER (ORDER BY x) AS a, rank() OVER (ORDER BY x::int) AS b", json!([1, 1, 3])),
        ("row_number() OVER (ORDER BY x) AS a, rank() OVER (ORDER BY x::int DESC) AS b", json!([2, 2, 1])),
        ("first_value(x) OVER (ORDER BY x) AS a, first_value(x::int) OVER (ORDER BY x) AS b", json!([1, 1, 1])),
        (
            "count(*) FILTER (WHERE x = 1) OVER () AS a, count(*) FILTER (WHERE x::int = 1) OVER () AS b",
            json!([2, 2, 2]),
        ),
    ] {
        let sql =
            format!("SELECT a, b FROM (SELECT x, {columns} {SPANS} WINDOW w AS (PARTITION BY upper(y))) s ORDER BY x");
        let rows = world.ask(&everyone(), &sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let got: Vec<f64> = rows.as_array().unwrap().iter().map(|row| number(&row["b"])).collect();
        let wanted: Vec<f64> = wanted.as_array().unwrap().iter().map(number).collect();
        assert_eq!(got, wanted, "{sql}");
    }
    const COUNT: &str = "count(*) AS v FROM (SELECT";
    check(&world, &format!("{COUNT} count(*) {SPANS} GROUP BY GROUPING SETS ((x), (x::int))) s"), json!(5)).await;
    let union = "x::int, x::bigint FROM (VALUES (1.4)) t(x) GROUP BY x::int, x::bigint UNION ALL SELECT 1, 1";
    check(&world, &format!("{COUNT} {union}) s"), json!(2)).await;
}

/// A number as answers have it, whose decimals are text.
fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| value.as_str().unwrap().parse().unwrap())
}

/// Three calls of ten tokens each.
#[tokio::test(flavor = "multi_thread")]
async fn a_sum_is_divided_as_a_decimal_wherever_it_was_taken() {
    let world = world().await;
    const SUM: &str = "(SELECT user_id, sum(output_tokens) AS s FROM usage GROUP BY user_id)";
    for (value, wanted) in [
        (format!("s / 4 = 7.5 AS v FROM {SUM} t"), true),
        (format!("100 / s > 3.3 AS v FROM {SUM} t"), true),
        (format!("v FROM (SELECT h / 2 = 3.75 AS v FROM (SELECT s / 4 AS h FROM {SUM} t) u) w"), true),
        (format!("sum(s / 4) = 7.5 AS v FROM {SUM} t"), true),
        (format!("max(s) / 4 = 7.5 AS v FROM {SUM} t"), true),
        (format!("(s + 1) / 2 > 15 AS v FROM {SUM} t WHERE s / 4 > 7 ORDER BY s / 4"), true),
        (format!("s / c = 10 AS v FROM {SUM} t JOIN (SELECT 'alice' AS user_id, 3 AS c) c USING (user_id)"), true),
        (format!("s / 4 = 7.5 AS v FROM (SELECT s FROM {SUM} t UNION ALL SELECT 30 LIMIT 1) u"), true),
        (
            format!(
                "s / 4 = 7.5 AS v FROM (SELECT DISTINCT coalesce(s, 0) AS s FROM {SUM} t WHERE s > 0 ORDER BY s) u"
            ),
            true,
        ),
        ("s / 4 = 7.5 AS v FROM (SELECT sum(output_tokens) OVER () AS s FROM usage LIMIT 1) t".to_owned(), true),
        ("(SELECT sum(output_tokens) FROM usage) / 4 = 7.5 AS v FROM (SELECT 1) t".to_owned(), true),
        (format!("s / 4 * 4 = s AS v FROM {SUM} t"), true),
        (format!("s::bigint / 4 = 7 AS v FROM {SUM} t"), true),
        ("n / 2 = 1 AS v FROM (SELECT count(*) AS n FROM usage) t".to_owned(), true),
        ("n / 2 = 5 AS v FROM (SELECT max(output_tokens) AS n FROM usage) t".to_owned(), true),
    ] {
        check(&world, &value, json!(wanted)).await;
    }
    let named = "WITH m AS (SELECT sum(output_tokens) AS s FROM usage) SELECT s / 4 FROM m";
    let described = world.engine.describe(&everyone(), Question::plain(named)).await.unwrap();
    assert_eq!(described.schema.field(0).data_type(), &DataType::Decimal128(38, 18));
    // What is reckoned from itself at each step is looked at once, and refused when it is written out.
    let mut often = format!("WITH t0 AS {SUM}");
    for level in 1..25 {
        often.push_str(&format!(", t{level} AS (SELECT greatest(s, s) AS s FROM t{})", level - 1));
    }
    let error = world.ask(&everyone(), &format!("{often} SELECT s / 4 FROM t24")).await.unwrap_err();
    assert!(error.contains("too often"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cast_to_an_integer_is_rounded() {
    let world = world().await;
    for (value, wanted) in [
        ("CAST(2.5 AS integer)", 3),
        ("CAST(-2.5 AS bigint)", -3),
        ("CAST(2.4 AS smallint)", 2),
        ("CAST(1.75 * 2 AS bigint)", 4),
        ("CAST(CASE WHEN 1 > 2 THEN 0 ELSE 0.5 END AS bigint)", 1),
        ("CAST(CAST(2.5 AS double) AS integer)", 2),
        ("CAST(CAST(3.5 AS double) AS integer)", 4),
        ("CAST(CAST(3.7 AS double) AS bigint)", 4),
        ("CAST(CAST(-3.7 AS real) AS bigint)", -4),
        ("CAST('7' AS integer)", 7),
    ] {
        check(&world, value, json!(wanted)).await;
    }
    for (value, wanted) in [("0.5", 0.0), ("2.5", 2.0), ("-3.5", -4.0), ("1.25", 1.0)] {
        check(&world, &format!("round(({value})::float8)"), json!(wanted)).await;
    }
    check(&world, "round(2.5)", json!("3")).await;
    for wrong in ["CAST(40000.0 AS smallint)", "CAST(CAST(1e300 AS double) AS bigint)"] {
        assert!(world.ask(&everyone(), &format!("SELECT {wrong} AS v")).await.is_err(), "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn types_are_as_long_as_they_say() {
    let world = world().await;
    for (value, wanted) in [
        ("16777217::float", json!(16_777_217.0)),
        ("123456789::float(53)", json!(123_456_789.0)),
        ("0.1::float = 0.1::float8", json!(true)),
        ("float '16777217'", json!(16_777_217.0)),
        ("'abcdef'::varchar(3)", json!("abc")),
        ("CAST('abcdef' AS character varying(2))", json!("ab")),
        ("varchar(3) 'abcdef'", json!("abc")),
        ("'abc'::char", json!("a")),
        ("12345::varchar(3)", json!("123")),
        ("'äöü'::varchar(2)", json!("äö")),
        ("NULL::varchar(3)", json!(null)),
        ("'2026-11-01 10:00:00.6'::timestamp(0)", json!("2026-11-01T10:00:01.000000Z")),
        ("timestamptz '2026-11-01 10:00:00.5Z'::timestamptz(0)", json!("2026-11-01T10:00:01.000000Z")),
        ("timestamp(1) '2026-11-01 10:00:00.66'", json!("2026-11-01T10:00:00.700000Z")),
        ("CAST(timestamp '1999-12-31 23:59:58.5' AS timestamp(0))", json!("1999-12-31T23:59:58.000000Z")),
        ("'2026-11-01 10:00:00.123456'::timestamp(9)", json!("2026-11-01T10:00:00.123456Z")),
        ("NULL::timestamp(0)", json!(null)),
        ("count(DISTINCT (time + interval '600 milliseconds')::timestamptz(0)) AS v FROM usage", json!(3)),
        (
            "max((time + interval '600 milliseconds')::timestamptz(0) - time) = interval '1 second' AS v FROM usage",
            json!(true),
        ),
        ("count(*) AS v FROM usage GROUP BY CAST(user_id AS varchar(2))", json!(3)),
    ] {
        check(&world, value, wanted).await;
    }
    for (value, wanted) in [
        ("ln(0)", "of zero"),
        ("log(-1)", "of a negative"),
        ("log(2, 0)", "of zero"),
        ("ln(input_tokens - 1) FROM usage", "of zero"),
        ("log(1, 10)", "division by zero"),
        ("exp(1000)", "overflow"),
        ("exp(input_tokens * 1000) FROM usage", "overflow"),
        ("power(10, 400)", "overflow"),
        ("power(-1, 0.5)", "complex"),
        ("power(0, -1)", "negative power"),
    ] {
        let error = world.ask(&everyone(), &format!("SELECT {value}")).await.unwrap_err();
        assert!(error.contains(wanted), "{value}: {error}");
    }
    check(&world, "ln(1)", json!(0.0)).await;
    check(&world, "power(-8, 3)", json!(-512.0)).await;
    check(&world, "exp('infinity'::float8) > 1", json!(true)).await;
    check(&world, "power(NULL::float8, 0.5)", json!(null)).await;
    check(&world, "sum(exp(x)) IS NULL AS v FROM (VALUES (1.5::float8)) t(x) WHERE x > 2", json!(true)).await;
    check(&world, "log(NULL::float8, 0)", json!(null)).await;
    check(&world, "log(1000)", json!(3.0)).await;
    check(&world, "trunc(log(0.001))", json!(-3.0)).await;
    check(&world, "log(10, 1000)", json!(3.0)).await;
    check(&world, "log(2, 8::real)", json!(3.0)).await;
    check(&world, "sum(floor(log(x))) AS v FROM (VALUES (1000), (9999)) t(x)", json!(6.0)).await;
    for (value, wanted) in [
        ("'abc'::char(2)", json!("ab")),
        ("CAST('abc' AS character(2))", json!("ab")),
        ("'abc'::char", json!("a")),
        ("char 'abc'", json!("abc")),
        ("character(2) 'abc'", json!("ab")),
        ("'ab'::char(4) = 'ab'", json!(true)),
        ("'ab  '::char(3) = 'ab'", json!(true)),
        ("length('ab  '::char(4))", json!(2)),
        ("'ab'::char(4) || 'x'", json!("abx")),
        ("12345::char(2)", json!("12")),
        ("'abc'::bpchar(2)", json!("ab")),
        ("'abc  '::bpchar", json!("abc")),
        ("NULL::char(2)", json!(null)),
    ] {
        check(&world, value, wanted).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_compared_part_by_part() {
    let world = world().await;
    for (value, wanted) in [
        ("(1, 2) = (1, 2)", json!(true)),
        ("(1, 2) <> (1, 2)", json!(false)),
        ("(1, NULL) = (2, NULL)", json!(false)),
        ("(1, NULL) = (1, NULL)", json!(null)),
        ("(1, 3) < (2, 1)", json!(true)),
        ("(2, 1) <= (2, 1)", json!(true)),
        ("(2, 1, 5) > (2, 1, 4)", json!(true)),
        ("(2, 1) >= (2, 2)", json!(false)),
        ("(1, 2) IN ((3, 4), (1, 2), (5, 6))", json!(true)),
        ("(1, 2) NOT IN ((3, 4), (1, 2))", json!(false)),
        ("count(*) AS v FROM usage WHERE (user_id, input_tokens) IN (('alice', 1), ('bob', 2))", json!(3)),
        ("count(*) AS v FROM (SELECT user_id FROM usage ORDER BY time FETCH FIRST 2 ROWS ONLY) t", json!(2)),
        ("5 BETWEEN SYMMETRIC 7 AND 3", json!(true)),
        ("5 NOT BETWEEN SYMMETRIC 7 AND 3", json!(false)),
        ("1 BETWEEN SYMMETRIC 5 AND NULL", json!(null)),
        ("interval '3 days 04:05:06' = interval '76 hours 5 minutes 6 seconds'", json!(true)),
        ("'-00:00:01.5'::interval = interval '-1.5 seconds'", json!(true)),
        ("regexp_replace('abc', '(b)', '<\\&>')", json!("a<b>c")),
        (r"regexp_replace('5', '(\d)', '$\1')", json!("$5")),
        ("regexp_replace('x5', 'x', 'US$1')", json!("US$15")),
        ("regexp_replace('abc', 'b', '$0')", json!("a$0c")),
        (r"regexp_replace('abc', '(b)', '\12')", json!("ab2c")),
        (r"regexp_replace('abc', 'b', '<\\&>')", json!(r"a<\&>c")),
        (r"regexp_replace('abc', 'b', '[\\]')", json!(r"a[\]c")),
        (r"regexp_replace('abc', '(b)', '\\1\0\n')", json!(r"a\1\0\nc")),
        (r"regexp_replace('abc', 'b', E'<\\&>$1')", json!("a<b>$1c")),
        (r"regexp_replace('abc', '(b)', r) AS v FROM (VALUES ('<\&$>')) t(r)", json!("a<b$>c")),
        (r"regexp_replace('abc', '(b)', r) AS v FROM (VALUES ('\\')) t(r)", json!(r"a\c")),
        ("min(regexp_replace('abc', 'b', r)) AS v FROM (VALUES ('$0'), ('x')) t(r)", json!("a$0c")),
        ("every(input_tokens = 1) AS v FROM usage", json!(true)),
        ("variance(input_tokens) AS v FROM usage", json!(0.0)),
    ] {
        check(&world, value, wanted).await;
    }
    let limited = "SELECT user_id FROM usage LIMIT $1 OFFSET $2";
    let described = world.engine.describe(&everyone(), Question::plain(limited)).await.unwrap();
    assert_eq!(described.parameters, [Some(DataType::Int64), Some(DataType::Int64)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_has_the_type_that_it_is_cast_to() {
    let world = world().await;
    for (asked, wanted) in [
        ("$1::int", "int4"),
        ("$1::smallint + $1::bigint", "int2"),
        ("CAST($1 AS bigint)", "int8"),
        ("$1::numeric", "numeric"),
        ("$1::float8", "float8"),
        ("$1::boolean", "bool"),
        ("$1::date", "date"),
        ("$1::timestamp", "timestamp"),
        ("$1::timestamptz", "timestamptz"),
        ("$1::interval", "interval"),
        ("$1::text", "text"),
        ("$1::varchar(3)", "text"),
        ("CASE WHEN $1 THEN 1 ELSE 2 END", "bool"),
        ("$1 BETWEEN 1 AND 5", "int8"),
        ("5 BETWEEN $1::int AND 7", "int4"),
        ("to_timestamp($1)", "float8"),
        ("interval '1 day' * $1", "float8"),
        ("time + $1 FROM usage", "interval"),
        ("time - $1 FROM usage", "timestamptz"),
        ("extract(hour FROM now()) / $1", "numeric"),
        ("mod(input_tokens, $1) FROM usage", "int8"),
        ("round(cost_usd, $1) FROM usage", "int4"),
        ("trunc(cost_usd, $1) FROM usage", "int4"),
        ("trunc($1, 2)", "numeric"),
        ("abs($1)", "float8"),
        ("power($1, 2)", "float8"),
        ("power(cost_usd, $1) FROM usage", "numeric"),
        ("power(cost_usd::float8, $1) FROM usage", "float8"),
        ("log($1)", "float8"),
        ("log(2, $1)", "numeric"),
        ("chr($1)", "int4"),
        ("ntile($1) OVER (ORDER BY time) FROM usage", "int4"),
        ("width_bucket(5, $1, 10, 4)", "float8"),
        ("width_bucket(cost_usd, $1, 10, 4) FROM usage", "numeric"),
        ("width_bucket(5, 0, 10, $1)", "int4"),
        ("make_timestamp(2026, $1, 1, 0, 0, 0)", "int4"),
        ("make_timestamp(2026, 1, 1, 0, 0, $1)", "float8"),
        ("date($1)", "date"),
        ("time AT TIME ZONE $1 FROM usage", "text"),
        ("$1", "text"),
        ("input_tokens FROM usage WHERE time >= $1::timestamptz", "timestamptz"),
        ("input_tokens FROM usage WHERE input_tokens > $1::integer", "int4"),
        ("input_tokens FROM usage WHERE input_tokens IN (SELECT $1::int)", "int4"),
        ("input_tokens FROM usage WHERE cost_usd > $1", "numeric"),
        ("input_tokens FROM usage LIMIT $1::int", "int4"),
    ] {
        let sql = format!("SELECT {asked}");
        let described = world.engine.describe(&everyone(), Question::plain(&*sql)).await.unwrap();
        let kinds: Vec<&str> =
            described.parameters.iter().map(|kind| kind.as_ref().map_or("text", |kind| types::of(kind).name)).collect();
        assert_eq!(kinds, [wanted], "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn seconds_have_their_parts() {
    let world = world().await;
    const TIME: &str = "timestamp '2026-11-01 00:03:01.75'";
    for (part, exact, float) in [
        ("second", "1.750000", 1.75),
        ("milliseconds", "1750.000", 1_750.0),
        ("microseconds", "1750000", 1_750_000.0),
        ("minute", "3", 3.0),
        ("decade", "202", 202.0),
        ("century", "21", 21.0),
        ("millennium", "3", 3.0),
    ] {
        check(&world, &format!("extract({part} FROM {TIME}) AS v FROM (SELECT 1) s"), json!(exact)).await;
        check(&world, &format!("date_part('{part}', {TIME})"), json!(float)).await;
    }
    check(&world, "date_part('second', interval '90.5 seconds')", json!(30.5)).await;
    check(&world, "extract(century FROM interval '2026 years')", json!("20")).await;
    check(&world, "extract(epoch FROM timestamp '2026-11-01 00:03:01.75')", json!(1_793_491_381.75)).await;
    check(&world, "date_part('epoch', timestamp '2026-11-01 00:03:01.75')", json!(1_793_491_381.75)).await;
    check(&world, "extract(epoch FROM date '2026-11-01')", json!(1_793_491_200.0)).await;
    check(&world, "extract(epoch FROM time '00:01:30.5')", json!(90.5)).await;
    // 60 days, 6:05:53.519381.
    const BETWEEN: &str = "timestamp '2026-12-31 06:05:53.519381' - timestamp '2026-11-01'";
    for (part, wanted) in [
        ("epoch", json!(5_205_953.519_381)),
        ("day", json!("60")),
        ("hour", json!("6")),
        ("minute", json!("5")),
        ("second", json!("53.519381")),
    ] {
        check(&world, &format!("extract({part} FROM {BETWEEN})"), wanted).await;
    }
    check(&world, "extract(hour FROM timestamp '2026-11-01' - timestamp '2026-11-02 05:00')", json!("-5")).await;
    check(&world, "extract(hour FROM interval '30 hours')", json!("30")).await;
    check(&world, "extract(epoch FROM interval '1 year 1 month 1.5 seconds')", json!(34_149_601.5)).await;
    check(&world, "extract(epoch FROM max(time) - min(time)) = 2 AS v FROM usage", json!(true)).await;
    check(&world, "count(*) AS v FROM usage WHERE extract(second FROM time) = 2", json!(1)).await;
    check(&world, "count(*) AS v FROM usage WHERE extract(year FROM time) = 2026", json!(3)).await;
    check(&world, "count(*) AS v FROM usage WHERE date_part('year', time) > 2025.5", json!(3)).await;
    // Years are brought to the files.
    for year in ["extract(year FROM time)", "date_part('year', time)"] {
        let plan = format!("EXPLAIN SELECT user_id FROM usage WHERE {year} = 2026");
        let plan = world.ask(&everyone(), &plan).await.unwrap().to_string();
        assert!(plan.contains("1767225600000000") && plan.contains("1798761600000000"), "{plan}");
    }
}

/// The answers are those of Postgres.
#[tokio::test(flavor = "multi_thread")]
async fn functions_and_words_of_postgres_are_known() {
    let world = world().await;
    for (value, wanted) in [
        ("substring('foobar' FROM 'o.b')", json!("oob")),
        ("substring('foobar', 'o(.)b')", json!("o")),
        ("substring('foobar', 'x')", json!(null)),
        ("substring('zb' FROM '(a)|b')", json!(null)),
        ("substring('xy' FROM 'x(a*)y')", json!("")),
        ("substring('foobar' FROM 2 FOR 3)", json!("oob")),
        ("substring(model FROM 'gpt-[0-9]') AS v FROM usage LIMIT 1", json!("gpt-5")),
        ("overlay('abcdef' PLACING 'zz' FROM 2 FOR 3)", json!("azzef")),
        ("ceiling(1.5) = 2", json!(true)),
        ("div(7, 2)", json!("3")),
        ("to_char(1234.5, 'FM999,990.00')", json!("1,234.50")),
        ("to_char(-485, '999S')", json!("485-")),
        ("to_char(2.675::float8, '9.99')", json!(" 2.67")),
        ("to_char(input_tokens, '0999') AS v FROM usage LIMIT 1", json!(" 0001")),
        ("to_char(NULL::numeric, '999')", json!(null)),
        ("scale(8.410)", json!(3)),
        ("scale(NULL::numeric)", json!(null)),
        ("date_trunc('decade', timestamp '2026-11-01 10:20')", json!("2020-01-01T00:00:00.000000Z")),
        ("date_trunc('centuries', time) AS v FROM usage LIMIT 1", json!("2001-01-01T00:00:00.000000Z")),
        ("date_trunc('millennium', timestamp '2026-12-31')", json!("2001-01-01T00:00:00.000000Z")),
        (
            "date_trunc('century', timestamptz '2000-12-31 23:30Z', 'Europe/Berlin') = timestamptz '2000-12-31 23:00Z'",
            json!(true),
        ),
        ("div(-7.5, 2)", json!("-3")),
        ("pg_typeof(extract(hour FROM now()))", json!("numeric")),
        ("pg_typeof(date_part('hour', now()))", json!("double precision")),
        ("isfinite(now())", json!(true)),
        ("isfinite(NULL::timestamp)", json!(null)),
        ("make_timestamp(2026, 11, 1, 10, 20, 30.5)", json!("2026-11-01T10:20:30.500000Z")),
        ("localtimestamp = now()::timestamp", json!(true)),
        ("'today'::date = current_date", json!(true)),
        ("'tomorrow'::date - current_date", json!(1)),
        ("date 'yesterday' < current_date", json!(true)),
        ("timestamp 'now' = now()::timestamp", json!(true)),
        ("now() >= 'today' AND now() < 'Tomorrow' AND 'yesterday' < now()", json!(true)),
        ("now() = 'now'", json!(true)),
        ("now()::timestamp BETWEEN 'today' AND 'tomorrow'", json!(true)),
        ("current_date = 'today'", json!(true)),
        ("coalesce(NULL::timestamptz, 'today') = current_date", json!(true)),
        ("interval '1 month - 1 day' = interval '29 days'", json!(true)),
        ("timestamp '2026-11-01' + time '10:00:01.5'", json!("2026-11-01T10:00:01.500000Z")),
        ("timestamp '2026-11-01' - time '01:00'", json!("2026-10-31T23:00:00.000000Z")),
        ("count(*) AS v FROM usage GROUP BY ()", json!(3)),
        ("EXISTS (SELECT 1 FROM usage WHERE user_id = 'alice' LIMIT 1)", json!(true)),
        ("NOT EXISTS (SELECT user_id FROM usage GROUP BY user_id HAVING count(*) > 3)", json!(true)),
        (
            "CASE WHEN EXISTS (SELECT 1 FROM calls c WHERE c.call_id = u.call_id) THEN 1 END AS v FROM usage u LIMIT 1",
            json!(1),
        ),
    ] {
        check(&world, value, wanted).await;
    }
    for (wrong, why) in [
        ("substring(substring('foobar', 'o.b'), 'o')", "no other"),
        ("make_timestamp(2026, 11, 31, 0, 0, 0)", "out of range"),
        ("to_char(1234.5, '9.9EEEE')", "no part of a number"),
        ("to_char(now(), '999')", "takes a number"),
        ("scale(1.5::float8)", "takes a numeric"),
        (
            "y AS b FROM (VALUES (1)) a(x), LATERAL (SELECT y FROM (VALUES (2), (3)) b(y) WHERE y > x ORDER BY y LIMIT 1)",
            "row_number()",
        ),
    ] {
        let error = world.ask(&everyone(), &format!("SELECT {wrong} AS v")).await.unwrap_err();
        assert!(error.contains(why), "{wrong}: {error}");
    }
}

/// What is changed on the way to its types, among others by what it stands beside.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_several_sets_keeps_its_name() {
    let world = world().await;
    for (key, value) in [
        ("coalesce(user_id, '-')", json!("alice")),
        ("time < '2026-11-01 00:00:02'", json!(true)),
        ("CASE WHEN NOT time BETWEEN '2026-11-01 13:30:00' AND '2026-11-05' THEN 'a' ELSE 'b' END", json!("a")),
        ("round(input_tokens::float8)", json!(1.0)),
        ("upper(coalesce(user_id, time::text))", json!("ALICE")),
    ] {
        for sets in [format!("ROLLUP ({key})"), format!("CUBE ({key}, model)"), format!("GROUPING SETS (({key}), ())")]
        {
            let sql = format!(
                "SELECT {key} AS k, grouping({key}) AS g, count(*) > 0 AS n FROM usage GROUP BY {sets} ORDER BY 1 DESC NULLS LAST, 2 LIMIT 1"
            );
            assert_eq!(world.ask(&everyone(), &sql).await, Ok(json!([{"k": value, "g": 0, "n": true}])), "{sql}");
        }
    }
}

/// As often as it takes to see sides that race.
#[tokio::test(flavor = "multi_thread")]
async fn the_sides_of_a_union_are_in_order() {
    let world = world().await;
    const SIDES: &str = "SELECT 1 AS a FROM usage UNION ALL SELECT 2 FROM usage UNION ALL SELECT 3 FROM usage";
    let of = |sides: &[i64]| -> Value { sides.iter().map(|side| json!({ "a": side })).collect() };
    for _ in 0..20 {
        for (sql, wanted) in [
            (SIDES.to_owned(), of(&[1, 1, 1, 2, 2, 2, 3, 3, 3])),
            (
                format!("SELECT t.a FROM (VALUES (1), (2), (3)) v(n) JOIN ({SIDES}) t ON v.n = t.a WHERE a > 1"),
                of(&[2, 2, 2, 3, 3, 3]),
            ),
            (format!("SELECT a FROM (SELECT a, count(*) FROM ({SIDES}) t GROUP BY a) s"), of(&[1, 2, 3])),
        ] {
            assert_eq!(world.ask(&only(&["acme"]), &sql).await, Ok(wanted), "{sql}");
        }
        for (sql, wanted) in [
            (format!("{SIDES} LIMIT 2"), of(&[1, 1])),
            (format!("SELECT a FROM ({SIDES}) t LIMIT 2 OFFSET 2"), of(&[1, 2])),
        ] {
            for caller in [everyone(), only(&["acme"])] {
                assert_eq!(world.ask(&caller, &sql).await, Ok(wanted.clone()), "{sql}");
            }
        }
    }
}

/// The answers are those of Postgres, to its own digits.
#[tokio::test(flavor = "multi_thread")]
async fn parts_of_a_time_are_no_integers() {
    let world = world().await;
    for (value, wanted) in [
        ("extract(minute FROM timestamp '2026-11-20 00:45') / 60", json!("0.750000000000000000")),
        ("round(extract(doy FROM date '2026-11-20') / 7, 10)", json!("46.2857142857")),
        ("date_part('month', date '2026-11-20') / 4", json!(2.75)),
        ("(extract(hour FROM timestamp '2026-11-20 10:00') / 4)::int", json!(3)),
        ("(date_part('hour', timestamp '2026-11-20 10:00') / 4)::int", json!(2)),
        ("extract(hour FROM interval '5 hours') / 2 = 2.5", json!(true)),
        ("ceil(extract(day FROM date '2026-11-20') / 7) = 3", json!(true)),
        ("cost_usd * (extract(day FROM time) / 4) = 0 AS v FROM usage LIMIT 1", json!(false)),
        ("avg(extract(hour FROM time) + extract(second FROM time) / 60) > 0 AS v FROM usage", json!(true)),
        ("count(*) AS v FROM usage WHERE extract(second FROM time) / 10 = 0.2", json!(1)),
        // A trend over times, whose squares no decimal would hold.
        (
            "(count(*) * sum(x * y) - sum(x) * sum(y)) / (count(*) * sum(x * x) - sum(x) * sum(x)) BETWEEN 1.9 AND 2.1 AS v \
             FROM (SELECT extract(epoch FROM timestamp '2026-11-20') + n AS x, 2 * n AS y FROM generate_series(1, 3000) t(n)) s",
            json!(true),
        ),
        ("extract(epoch FROM timestamp '2026-11-20 10:30') > '1e9'", json!(true)),
        ("extract(hour FROM timestamp '2026-11-20 10:00')::int % 4", json!(2)),
        ("extract(isodow FROM timestamp '2026-11-20') IN (5, 6)", json!(true)),
        ("extract(hour FROM timestamp '2026-11-20 10:00') || 'h'", json!("10h")),
        ("date_part('hour', timestamp '2026-11-20 10:00') || 'h'", json!("10h")),
        ("lpad(date_part('month', max(time))::text, 3, '0') AS v FROM usage", json!("011")),
        ("to_timestamp(extract(epoch FROM max(time))) = max(time) AS v FROM usage", json!(true)),
    ] {
        check(&world, value, wanted).await;
    }
    let by = "SELECT extract(year FROM time) AS y, date_part('year', time) AS z, count(*) AS n FROM usage \
              GROUP BY extract(year FROM time), date_part('year', time)";
    assert_eq!(world.ask(&everyone(), by).await, Ok(json!([{"y": "2026", "z": 2026.0, "n": 3}])));
    let described = world.engine.describe(&everyone(), Question::plain(by)).await.unwrap();
    let kinds: Vec<&str> = described.schema.fields().iter().map(|field| types::of(field.data_type()).name).collect();
    assert_eq!(kinds, ["numeric", "float8", "int8"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ranks_are_whole_numbers_as_counts_are() {
    let world = world().await;
    let ranks = "SELECT row_number() OVER w, rank() OVER w, dense_rank() OVER w, ntile(2) OVER w, count(*) OVER w, \
                 1 - rank() OVER w AS less FROM usage WINDOW w AS (ORDER BY time)";
    let described = world.engine.describe(&everyone(), Question::plain(ranks)).await.unwrap();
    let kinds: Vec<&str> = described.schema.fields().iter().map(|field| types::of(field.data_type()).name).collect();
    assert_eq!(kinds, ["int8"; 6]);
    const RANKED: &str = "(SELECT rank() OVER (ORDER BY time) AS n FROM usage) t";
    check(&world, &format!("n - 5 AS v FROM {RANKED} WHERE n = 2"), json!(-3)).await;
}

/// By the numbers of columns as well.
#[tokio::test(flavor = "multi_thread")]
async fn several_sets_are_of_columns_by_number() {
    let world = world().await;
    for (sets, wanted) in [
        ("ROLLUP (1, 2)", 3),
        ("CUBE (1, 2)", 4),
        ("GROUPING SETS ((1), (2, model), ())", 3),
        ("GROUPING SETS ((1, 2), (1), ())", 3),
        ("ROLLUP ((1, model), 2)", 3),
        ("CUBE ((user_id, 2), model)", 4),
        ("(1, 2)", 1),
    ] {
        let sql = format!("SELECT user_id, upper(model) AS m, count(*) AS v FROM usage GROUP BY {sets}");
        let rows = world.ask(&everyone(), &sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(rows.as_array().unwrap().len(), wanted, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn times_are_of_microseconds() {
    let world = world().await;
    const TIMES: &str = "SELECT now() AS a, current_timestamp AS b, coalesce(max(time), now()) AS c, \
        date_bin(interval '1 day', max(time), timestamptz '2026-11-01 00:00Z') AS d, timestamp '2026-11-01' AS e FROM usage";
    const SERIES: &str =
        "SELECT n FROM generate_series(timestamp '2026-11-01', timestamp '2026-11-03', interval '1 day') n ORDER BY n";
    for sql in [TIMES, SERIES] {
        let finer = |schema: &Schema| {
            let is_time = |kind: &DataType| matches!(kind, DataType::Timestamp(TimeUnit::Microsecond, _));
            schema.fields().iter().any(|field| !is_time(field.data_type()))
        };
        let described = world.engine.describe(&everyone(), Question::plain(sql)).await.unwrap();
        assert!(!finer(&described.schema), "{:?}", described.schema);
        let bytes = world.engine.whole(&everyone(), Question::plain(sql), Format::Arrow).await.unwrap();
        let rows = StreamReader::try_new(bytes.as_slice(), None).unwrap();
        assert!(!finer(&rows.schema()), "{sql}");
        assert!(rows.map(|batch| batch.unwrap().num_rows()).sum::<usize>() > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_twice_is_answered_twice() {
    let world = world().await;
    for sql in [
        "SELECT cast(avg(input_tokens) as int), avg(input_tokens) FROM usage",
        "SELECT (SELECT count(*) FROM usage), (SELECT count(*) FROM calls)",
        "SELECT user_id, user_id FROM usage ORDER BY user_id",
        "SELECT count(*), COUNT(*) FROM usage",
        "SELECT sum(cost_usd), sum(cost_usd::numeric) FROM usage",
        "SELECT sum(cost_usd), sum(cost_usd::numeric) FROM usage ORDER BY sum(cost_usd::numeric)",
        "SELECT avg(input_tokens), avg(input_tokens::float8) FROM usage HAVING avg(input_tokens::float8) > 0",
        "SELECT max(time) > '2026-11-01', max(time) > date '2026-11-01' FROM usage",
        "SELECT count(*) / 7, count(*)::numeric / 7 FROM usage",
        "SELECT time::date, time::text FROM usage GROUP BY time::date, time::text ORDER BY time::date, time::text",
        "SELECT time::date AS d, time AS t FROM usage GROUP BY d, t ORDER BY d, t",
        "SELECT input_tokens::int, count(*) FROM usage GROUP BY input_tokens::int, input_tokens HAVING input_tokens::int > 0",
        "SELECT (input_tokens + 1)::float8, input_tokens + 1 FROM usage GROUP BY 1, 2",
        "SELECT count(*) * 100 / 7, count(*) / 7.0 FROM usage",
        "SELECT sum(cost_usd::numeric), sum(cost_usd)::numeric / 3 FROM usage",
        "SELECT (input_tokens + 1) * 2, input_tokens + 1 * 2 FROM usage",
        "SELECT model, usage.model FROM usage",
        "SELECT model, sum(cost_usd) / 7 FROM usage GROUP BY model ORDER BY 2 DESC, 1",
        "SELECT round(avg(input_tokens), 3), row_number() OVER (ORDER BY model) + 1 FROM usage GROUP BY model ORDER BY 1, 2",
        "SELECT upper(model), count(*) * 100 FROM usage GROUP BY model ORDER BY 1, 2",
        "SELECT sum(cost_usd::numeric) + 1, sum(cost_usd) + 1 FROM usage GROUP BY model ORDER BY 1, 2",
        "SELECT 1 AS a, 2 AS a",
        "SELECT * FROM (SELECT 1 AS a, 2 AS a) t",
        "SELECT upper(model) AS model, model FROM usage",
        "SELECT count(*) AS c, count(DISTINCT model) AS c FROM usage",
        "SELECT 10 ^ 3, power(10, 3)",
        "SELECT *, a FROM (SELECT 1 AS a) t",
        "SELECT *, a + 1 AS a FROM (SELECT 1 AS a) t",
        "SELECT EXISTS (SELECT 1), EXISTS (SELECT 2)",
        "SELECT (SELECT 1 AS a), (SELECT 2 AS a)",
        "SELECT *, * FROM (SELECT 1 AS a) t",
        "SELECT a, * FROM (SELECT 1 AS a) t",
    ] {
        let rows = world.ask(&everyone(), sql).await.expect(sql);
        assert_eq!(rows[0].as_object().unwrap().len(), 2, "{sql}");
    }
}

/// The answers are those of Postgres.
#[tokio::test(flavor = "multi_thread")]
async fn columns_without_a_name_are_called_as_in_postgres() {
    let world = world().await;
    for (sql, wanted) in [
        (
            "WITH x AS (SELECT date(time), count(*) FROM usage GROUP BY 1) SELECT count FROM x WHERE date = '2026-11-01'",
            json!([{"count": 3}]),
        ),
        ("SELECT max + 1 AS v FROM (SELECT max(output_tokens), min(output_tokens) FROM usage) t", json!([{"v": 11}])),
        (
            "SELECT row_number FROM (SELECT *, row_number() OVER (ORDER BY time) FROM usage) t WHERE row_number > 2",
            json!([{"row_number": 3}]),
        ),
        (
            "SELECT count FROM (SELECT count(*) FROM usage UNION ALL SELECT 7) t ORDER BY count",
            json!([{"count": 3}, {"count": 7}]),
        ),
        (
            "SELECT upper FROM (SELECT upper(user_id), count(*) FROM usage GROUP BY user_id ORDER BY count(*), 1 LIMIT 1) t",
            json!([{"upper": "ALICE"}]),
        ),
        (
            "SELECT \"?column?\" FROM (SELECT sum(output_tokens) / 4 FROM usage GROUP BY user_id ORDER BY 1) t",
            json!([{"?column?": "7.500000000000000000"}]),
        ),
        ("SELECT count(*) AS n FROM (SELECT count(*), count(user_id), 1, 2 FROM usage) t", json!([{"n": 1}])),
        ("SELECT (SELECT 1)", json!([{"?column?": 1}])),
        (
            "SELECT (SELECT count(*) FROM usage), (SELECT max(output_tokens) FROM usage)",
            json!([{"count": 3, "max": 10}]),
        ),
    ] {
        assert_eq!(world.ask(&everyone(), sql).await, Ok(wanted), "{sql}");
    }
}

/// The answers are those of Postgres.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_rows_for_each_row_are_joined() {
    let world = world().await;
    const ROWS: &str = "WITH b AS (SELECT * FROM (VALUES (1, 10), (1, 30), (1, 20), (2, 5), (NULL, 7)) v(x, y)), \
         a AS (SELECT * FROM (VALUES (1), (2), (3)) v(x))";
    for (from, wanted) in [
        (
            "a LEFT JOIN LATERAL (SELECT b.y FROM b WHERE b.x = a.x ORDER BY b.y DESC LIMIT 2) t ON true",
            json!([[1, 20], [1, 30], [2, 5], [3, null]]),
        ),
        ("a, LATERAL (SELECT * FROM b c WHERE a.x = c.x ORDER BY y LIMIT 1 OFFSET 1) t", json!([[1, 20]])),
        (
            "a CROSS JOIN LATERAL (SELECT y FROM b WHERE b.x = a.x AND y < 30 ORDER BY 1 DESC FETCH FIRST ROW ONLY) t",
            json!([[1, 20], [2, 5]]),
        ),
        (
            "a JOIN LATERAL (SELECT -y AS y FROM b WHERE b.x + 1 = a.x ORDER BY y LIMIT 1) t ON t.y < -20",
            json!([[2, -30]]),
        ),
    ] {
        let sql = format!("{ROWS} SELECT a.x, t.y FROM {from} ORDER BY 1, 2");
        let rows = world.ask(&everyone(), &sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let got: Value = rows.as_array().unwrap().iter().map(|row| json!([row["x"], row["y"]])).collect();
        assert_eq!(got, wanted, "{sql}");
    }
    let last = "SELECT min(t.time) > (SELECT min(time) FROM usage) AS v, count(*) AS n FROM (SELECT DISTINCT user_id FROM usage) d \
                JOIN LATERAL (SELECT * FROM usage u WHERE u.user_id = d.user_id ORDER BY time DESC LIMIT 2) t ON true";
    assert_eq!(world.ask(&everyone(), last).await, Ok(json!([{"v": true, "n": 2}])));
    // What is not joined by equalities alone.
    for condition in ["b.x > a.x", "b.x = a.x AND b.y < a.x"] {
        let sql = format!("{ROWS} SELECT a.x FROM a, LATERAL (SELECT y FROM b WHERE {condition} ORDER BY y LIMIT 1) t");
        let error = world.ask(&everyone(), &sql).await.unwrap_err();
        assert!(error.contains("row_number()"), "{sql}: {error}");
    }
}

/// The answers are those of Postgres.
#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_is_joined_by_has_what_either_side_has() {
    let world = world().await;
    const BOTH: &str = "(VALUES (1, 'a'), (2, 'b')) a(x, y) FULL JOIN (VALUES (2, 'c'), (3, 'd')) b(x, z) USING (x)";
    const ONES: &str = "(VALUES (1), (2)) a(x) JOIN (VALUES (1), (2)) b(x) USING (x)";
    const RIGHT: &str = "(VALUES (1), (2)) a(x) RIGHT JOIN (VALUES (2), (3)) b(x) USING (x)";
    for (sql, wanted) in [
        (format!("SELECT sum(x) AS v FROM {BOTH}"), json!([{"v": 6}])),
        (format!("SELECT count(*) AS v FROM {BOTH} WHERE x = 3"), json!([{"v": 1}])),
        (format!("SELECT x FROM {RIGHT} ORDER BY x"), json!([{"x": 2}, {"x": 3}])),
        (format!("SELECT DISTINCT x FROM {RIGHT} ORDER BY x DESC"), json!([{"x": 3}, {"x": 2}])),
        (format!("SELECT * FROM {RIGHT} ORDER BY 1"), json!([{"x": 2}, {"x": 3}])),
        (
            format!("SELECT * FROM {BOTH} ORDER BY x"),
            json!([{"x": 1, "y": "a", "z": null}, {"x": 2, "y": "b", "z": "c"}, {"x": 3, "y": null, "z": "d"}]),
        ),
        (
            format!("SELECT x, count(y) AS n FROM {BOTH} GROUP BY x HAVING x > 1 ORDER BY x DESC"),
            json!([{"x": 3, "n": 0}, {"x": 2, "n": 1}]),
        ),
        (format!("SELECT DISTINCT x FROM {BOTH} ORDER BY x LIMIT 1"), json!([{"x": 1}])),
        (format!("SELECT a.x AS l, b.x AS r FROM {BOTH} WHERE x = 3"), json!([{"l": null, "r": 3}])),
        (
            "SELECT * FROM (VALUES (1), (2)) b(x) LEFT JOIN (VALUES (2)) a(x) USING (x) ORDER BY x".to_owned(),
            json!([{"x": 1}, {"x": 2}]),
        ),
        (
            format!("SELECT x, w FROM {BOTH} LEFT JOIN (VALUES (3, 'e')) c(x, w) USING (x) ORDER BY x DESC LIMIT 1"),
            json!([{"x": 3, "w": "e"}]),
        ),
        (
            "SELECT x, q, r FROM (VALUES (1, 1), (2, 1)) a(x, p) JOIN (VALUES (2, 2)) b(x, q) USING (x) \
             JOIN (VALUES (2, 3)) c(x, r) USING (x)"
                .to_owned(),
            json!([{"x": 2, "q": 2, "r": 3}]),
        ),
        (
            "WITH m AS (SELECT user_id, count(*) AS n FROM usage GROUP BY user_id), p AS (SELECT 'alice' AS user_id, 7 AS c) \
             SELECT user_id, n, p.c, r.c AS d FROM m LEFT JOIN p USING (user_id) LEFT JOIN p r USING (user_id) \
             WHERE user_id = 'alice' ORDER BY user_id"
                .to_owned(),
            json!([{"user_id": "alice", "n": 3, "c": 7, "d": 7}]),
        ),
        (
            "SELECT t, r, r2 FROM (VALUES (1, 2)) a(x, p) JOIN (VALUES (1, 3)) b(x, t) USING (x) \
             LEFT JOIN (VALUES (3, 4)) c(t, r) USING (t) LEFT JOIN (VALUES (3, 5)) d(t, r2) USING (t)"
                .to_owned(),
            json!([{"t": 3, "r": 4, "r2": 5}]),
        ),
        (
            "WITH a AS (SELECT 1 AS x, 2 AS y), b AS (SELECT * FROM a), c AS (SELECT y, 3 AS r FROM b) \
             SELECT * FROM a JOIN (SELECT x FROM b) b USING (x) JOIN c USING (y) FULL JOIN (VALUES (2, 4)) d(y, s) USING (y)"
                .to_owned(),
            json!([{"y": 2, "x": 1, "r": 3, "s": 4}]),
        ),
        (
            "SELECT DISTINCT attempt FROM usage JOIN calls USING (call_id) JOIN (VALUES (1, 1)) t(attempt, n) USING (attempt) \
             LEFT JOIN (VALUES (1, 2)) m(attempt, o) USING (attempt)"
                .to_owned(),
            json!([{"attempt": 1}]),
        ),
        (
            format!("SELECT x FROM {ONES} WHERE EXISTS (SELECT 1 FROM (VALUES (2)) d(w) WHERE w = x)"),
            json!([{"x": 2}]),
        ),
        (format!("SELECT x FROM {ONES} WHERE x > 1"), json!([{"x": 2}])),
        (
            format!("WITH m AS (SELECT x, count(*) AS n FROM {ONES} WHERE x < 2 GROUP BY x HAVING x > 0 ORDER BY x) SELECT n FROM m"),
            json!([{"n": 1}]),
        ),
        (
            "SELECT count(*) AS n FROM usage JOIN charges USING (tenant, call_id) WHERE tenant = 'birch'".to_owned(),
            json!([{"n": 0}]),
        ),
        (
            "SELECT x, n FROM (VALUES (1, 2)) a(x, y) JOIN (VALUES (1, 3)) b(x, z) USING (x) JOIN (VALUES (1, 4)) c(k, n) ON k = x"
                .to_owned(),
            json!([{"x": 1, "n": 4}]),
        ),
        (
            "SELECT * FROM (VALUES (1, 'a'), (2, 'b')) a(x, y) NATURAL FULL JOIN (VALUES ('c', 2), ('d', 3)) b(z, x) WHERE x > 1 ORDER BY x"
                .to_owned(),
            json!([{"x": 2, "y": "b", "z": "c"}, {"x": 3, "y": null, "z": "d"}]),
        ),
        (
            format!(
                "SELECT x FROM {ONES} WHERE EXISTS (SELECT 1 FROM (VALUES (2)) a(x) JOIN (VALUES (2)) c(x) USING (x) WHERE x = b.x)"
            ),
            json!([{"x": 2}]),
        ),
        (
            format!("WITH d AS (SELECT 1 AS w) SELECT x FROM {ONES} WHERE x IN (SELECT w FROM d WHERE w = x) ORDER BY x"),
            json!([{"x": 1}]),
        ),
        (
            format!("SELECT x FROM {ONES} WHERE EXISTS (SELECT 1 FROM (VALUES (7)) d(x) WHERE x = 7) ORDER BY x"),
            json!([{"x": 1}, {"x": 2}]),
        ),
        (
            "SELECT count(*) AS n FROM (SELECT tenant, count(*) FROM usage JOIN charges USING (tenant, call_id) \
             JOIN calls USING (tenant, call_id) GROUP BY tenant HAVING count(*) < 0) t"
                .to_owned(),
            json!([{"n": 0}]),
        ),
    ] {
        assert_eq!(world.ask(&everyone(), &sql).await, Ok(wanted), "{sql}");
    }
    // What it is joined by stands first, in the order in which that is written.
    let sql = "SELECT * FROM (VALUES (1, 2, 3)) a(x, y, p) JOIN (VALUES (1, 2, 4)) b(x, y, q) USING (y, x)";
    let described = world.engine.describe(&everyone(), Question::plain(sql)).await.unwrap();
    let names: Vec<&str> = described.schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["y", "x", "p", "q"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_is_taken_by_the_name_of_its_type() {
    let world = world().await;
    for (value, wanted) in [
        ("date(timestamp '2026-11-20 10:30') = date '2026-11-20'", json!(true)),
        ("date('2026-11-20') = date '2026-11-20'", json!(true)),
        ("count(*) AS v FROM usage WHERE date(time) = '2026-11-01'", json!(3)),
        ("sum(n) AS v FROM (SELECT date(time), count(*) AS n FROM usage GROUP BY date(time)) s", json!(3)),
        ("date 'epoch' = date '1970-01-01'", json!(true)),
        ("localtime = localtimestamp::time", json!(true)),
        ("age(timestamp '2026-11-01') = age(current_date, timestamp '2026-11-01')", json!(true)),
        ("count(DISTINCT date(time)) AS v FROM usage", json!(1)),
    ] {
        check(&world, value, wanted).await;
    }
    let both = world.ask(&everyone(), "SELECT time, date(time), time::date FROM usage LIMIT 1").await;
    assert!(both.is_ok(), "{both:?}");
    assert!(world.ask(&everyone(), "SELECT date(5)").await.unwrap_err().contains("takes a time"));
}
