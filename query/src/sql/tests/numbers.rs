//! Numbers of fewer places beside others: found, grouped and told apart as Postgres does.

use serde_json::{Value, json};

use super::{
    agrees::check,
    world::{World, charged, everyone},
};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rounded_is_compared_as_it_is_rounded() {
    let world = World::new(&[1, 2, 3].map(|number| charged("acme", number, "alice", Some(1), 1)), 1).await;
    const ROWS: &str = "FROM (VALUES (0.014), (0.015), (0.016), (0.004), (NULL)) t(x)";
    for (condition, wanted) in [
        ("x::numeric(5, 2) = 0.01", 1),
        ("x::numeric(5, 2) = 0", 1),
        ("x::numeric(5, 2) <> 0.02", 2),
        ("x::numeric(5, 2) > 0.01", 2),
        ("0.01 >= x::numeric(5, 2)", 2),
        ("x::numeric(5, 2) IN (0.01, 0.02)", 3),
        ("x::numeric(5, 2) NOT IN (0.01, 0.02)", 1),
        ("x::numeric(5, 2) BETWEEN 0.015 AND 0.02", 2),
        ("x::numeric(5, 2) IS DISTINCT FROM 0.02", 3),
        ("(x / 3)::numeric(10, 2) = 0.01", 2),
        ("CASE WHEN x::numeric(5, 2) = 0 THEN 'free' ELSE 'dear' END = 'free'", 1),
        ("x::numeric(10, 4) = 0.014", 1),
        ("x = 0.01::numeric(5, 2)", 0),
        ("x::numeric(5, 2) = '0.01'", 1),
        // Beside a float a decimal is one.
        ("x::real > 0.015", 1),
        ("x::float8 = 0.015", 1),
        ("x = '0.015'::float8", 1),
        ("x::float8 IN (0.014, 0.015)", 2),
        ("x::float8 BETWEEN '0.014' AND 0.015", 2),
        ("x::float8 * 1e40::float8 > 0.5", 4),
    ] {
        check(&world, &format!("count(*) AS v {ROWS} WHERE {condition}"), json!(wanted)).await;
        check(&world, &format!("count(*) FILTER (WHERE {condition}) AS v {ROWS}"), json!(wanted)).await;
    }
    const CENTS: &str = "(VALUES (0.01), (0.02)) v(y)";
    for (asked, wanted) in [
        (format!("{ROWS} JOIN {CENTS} ON t.x::numeric(5, 2) = v.y"), 3),
        (
            format!("{ROWS} LEFT JOIN {CENTS} ON t.x::numeric(5, 2) = v.y AND t.x::numeric(5, 1) = v.y::numeric(5, 1)"),
            5,
        ),
        (format!("{ROWS} WHERE x::numeric(5, 2) IN (SELECT y FROM {CENTS})"), 3),
        (format!("{ROWS} WHERE EXISTS (SELECT 1 FROM {CENTS} WHERE t.x::numeric(5, 2) = v.y)"), 3),
        (format!("{ROWS} JOIN {CENTS} ON (t.x * 100)::int = (v.y * 100)::int"), 3),
        (
            "FROM usage a JOIN usage b ON a.time::timestamp(0) = b.time::timestamp(0) AND a.call_id = b.call_id".into(),
            3,
        ),
    ] {
        check(&world, &format!("count(*) AS v {asked}"), json!(wanted)).await;
    }
    let grouped =
        format!("SELECT x::numeric(5, 2) AS c, count(*) AS n {ROWS} GROUP BY 1 HAVING x::numeric(5, 2) = 0.02");
    assert_eq!(world.ask(&everyone(), &grouped).await, Ok(json!([{"c": "0.02", "n": 2}])));
    let mean = format!("avg(x)::numeric(12, 3) AS v {ROWS} HAVING avg(x)::numeric(12, 3) = 0.012");
    check(&world, &mean, json!("0.012")).await;
    check(&world, "count(*) AS v FROM usage WHERE cost_usd::numeric(10, 2) = 0", json!(3)).await;
    // What is the same for all rows is calculated once, and what only has more places is still compared as it stands.
    let plan = async |condition: &str| -> String {
        let sql = format!("EXPLAIN SELECT user_id FROM usage WHERE {condition}");
        world.ask(&everyone(), &sql).await.as_ref().map_or_else(String::clone, Value::to_string)
    };
    let constant = plan("cost_usd > 0.0151::numeric(10, 2)").await;
    assert!(constant.contains("0.020000000000") && !constant.contains("whole"), "{constant}");
    let finer = plan("cost_usd::numeric(38, 14) > 0.02").await;
    assert!(!finer.contains("CAST"), "{finer}");
    let error = world.ask(&everyone(), "SELECT count(*) FROM usage WHERE (cost_usd + 1000)::numeric(4, 2) = 1").await;
    assert!(error.is_err(), "{error:?}");
}

/// 2²⁴ + 1 is none of the floats of four bytes. The answers are those of Postgres.
#[tokio::test(flavor = "multi_thread")]
async fn a_real_beside_a_number_of_another_type_has_eight_bytes() {
    let world = World::new(&[charged("acme", 1, "alice", Some(1), 1)], 1).await;
    const ROW: &str = "FROM (VALUES (16777217, 16777216::real, 0.1::real)) t(x, y, z)";
    for (value, wanted) in [
        ("x = y", json!(false)),
        ("x::bigint <> y", json!(true)),
        ("x > y AND y < x", json!(true)),
        ("x BETWEEN y AND y", json!(false)),
        ("y IN (x, 1)", json!(false)),
        ("x IS DISTINCT FROM y", json!(true)),
        ("CASE x WHEN y THEN 1 ELSE 0 END", json!(0)),
        ("x - y", json!(1.0)),
        ("y + 1", json!(16_777_217.0)),
        ("x / 2::real", json!(8_388_608.5)),
        ("z + 1 < 1.10000001", json!(true)),
        ("z = 0.1", json!(false)),
        ("z * 1.0 = z::float8", json!(true)),
        ("z + z = 0.2::real", json!(true)),
        ("9007199254740993 = 9007199254740992::float8", json!(true)),
    ] {
        check(&world, &format!("{value} AS v {ROW}"), wanted).await;
    }
    check(&world, "count(*) AS v FROM (VALUES (16777217)) t(x) JOIN (VALUES (16777216::real)) u(y) ON x = y", json!(0))
        .await;
}

/// The answers are those of Postgres, but that what is quoted and no number is a float.
#[tokio::test(flavor = "multi_thread")]
async fn a_decimal_that_may_be_a_float_is_one() {
    let world = World::new(&[charged("acme", 1, "alice", Some(1), 1)], 1).await;
    const ROW: &str = "FROM (VALUES (extract(hour FROM timestamp '2026-11-20 10:30'), 1e25::float8, 'NaN'::float8, 0.5::real)) \
                       t(h, x, n, r)";
    for (value, wanted) in [
        ("CASE WHEN h < 0 THEN h ELSE x END", json!(1e25)),
        ("CASE WHEN h > 0 THEN h ELSE x END", json!(10.0)),
        ("CASE WHEN h > 0 THEN 1 WHEN h = 0 THEN h ELSE x END", json!(1.0)),
        ("CASE WHEN h > 0 THEN h ELSE x END / 4", json!(2.5)),
        ("CASE WHEN h > 0 THEN h ELSE r END / 4", json!(2.5)),
        ("round(coalesce(h, x) / 4)", json!(2.0)),
        ("(CASE WHEN h < 0 THEN h ELSE n END)::text", json!("NaN")),
        ("(CASE WHEN h < 0 THEN h ELSE 'NaN' END)::text", json!("NaN")),
        ("coalesce(nullif(h, 10), '-infinity')::text", json!("-Infinity")),
        ("coalesce(h, '1.5') = 10", json!(true)),
        ("h = 'NaN'", json!(false)),
        ("h < 'Infinity'", json!(true)),
        ("coalesce(h, x)", json!(10.0)),
        ("coalesce(nullif(h, 10), 0.1::float8)", json!(0.1)),
        ("greatest(h, x)", json!(1e25)),
        ("least(h, x, 11)", json!(10.0)),
        ("nullif(h, 10::float8)", json!(null)),
    ] {
        check(&world, &format!("{value} AS v {ROW}"), wanted).await;
    }
    for (asked, wanted) in [
        (format!("SELECT h {ROW} UNION ALL SELECT x {ROW}"), json!([10.0, 1e25])),
        (format!("SELECT x {ROW} UNION ALL SELECT h {ROW}"), json!([10.0, 1e25])),
        (format!("SELECT u / 4 FROM (SELECT h AS u {ROW} UNION ALL SELECT x {ROW}) s WHERE u < 11"), json!([2.5])),
        (format!("SELECT h {ROW} UNION ALL SELECT r {ROW}"), json!([0.5, 10.0])),
    ] {
        let sql = format!("SELECT v FROM ({asked}) s(v) ORDER BY v");
        let rows = world.ask(&everyone(), &sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let got: Value = rows.as_array().unwrap().iter().map(|row| row["v"].clone()).collect();
        assert_eq!(got, wanted, "{sql}");
    }
}

/// The answers are those of Postgres.
#[tokio::test(flavor = "multi_thread")]
async fn a_decimal_is_a_float_wherever_it_is_compared_with_one() {
    let world = World::new(&[charged("acme", 1, "alice", Some(1), 1)], 1).await;
    const ZERO: &str = "(VALUES (0.0)) a(x)";
    const SMALL: &str = "(VALUES (1e-20::float8)) b(x)";
    for (asked, wanted) in [
        (format!("FROM (SELECT x FROM {ZERO} INTERSECT SELECT x FROM {SMALL}) s"), 0),
        (format!("FROM (SELECT x FROM {ZERO} EXCEPT SELECT x FROM {SMALL}) s"), 1),
        ("FROM (SELECT 0.5 AS x INTERSECT SELECT 0.5::float8) s".to_owned(), 1),
        (format!("FROM {ZERO} WHERE x IN (SELECT x FROM {SMALL})"), 0),
        (format!("FROM {ZERO} WHERE x NOT IN (SELECT x FROM {SMALL})"), 1),
        (format!("FROM {SMALL} WHERE x IN (SELECT x FROM {ZERO})"), 0),
        (format!("FROM {ZERO} WHERE x = ANY (SELECT x FROM {SMALL})"), 0),
        (format!("FROM {ZERO} JOIN {SMALL} USING (x)"), 0),
        (format!("FROM {ZERO} NATURAL JOIN {SMALL}"), 0),
        ("FROM (VALUES (0.5)) a(x) JOIN (VALUES (0.5::float8)) b(x) USING (x)".to_owned(), 1),
        ("FROM (SELECT cost_usd FROM usage INTERSECT SELECT 'NaN'::float8) s".to_owned(), 0),
        (
            "FROM (SELECT 1.5 AS x UNION ALL SELECT 1e-20::float8) t \
             WHERE EXISTS (SELECT 1 FROM usage WHERE t.x > input_tokens)"
                .to_owned(),
            1,
        ),
    ] {
        check(&world, &format!("count(*) AS v {asked}"), json!(wanted)).await;
    }
    for (asked, wanted) in [
        ("VALUES (1.5), (1e-20::float8)", json!([1e-20, 1.5])),
        ("VALUES (1.5), (NULL), (2), (0.25::float8)", json!([0.25, 1.5, 2.0, null])),
        ("VALUES (1.5), (2.25)", json!(["1.50", "2.25"])),
        ("SELECT NULL UNION ALL SELECT 1e-20::float8 UNION ALL SELECT 2.25", json!([1e-20, 2.25, null])),
        ("SELECT NULL UNION ALL SELECT 2.25 UNION ALL SELECT 1e-20::float8", json!([1e-20, 2.25, null])),
        ("SELECT NULL UNION ALL SELECT 'b' UNION ALL SELECT 'a'", json!(["a", "b", null])),
    ] {
        let sql = format!("SELECT v FROM ({asked}) s(v) ORDER BY v");
        let rows = world.ask(&everyone(), &sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let got: Value = rows.as_array().unwrap().iter().map(|row| row["v"].clone()).collect();
        assert_eq!(got, wanted, "{sql}");
    }
    check(&world, "count(*) AS v FROM (VALUES (1.5), ('NaN'::float8)) t(x) WHERE x > 2", json!(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_within_names_a_column_by_the_type_that_it_has_at_last() {
    let world = World::new(&[charged("acme", 1, "alice", Some(1), 1)], 1).await;
    for (column, condition) in
        [("CASE WHEN input_tokens > 1 THEN 1 ELSE 1.5 END", "t.x > 1"), ("input_tokens::int + 1", "t.x = 2::int")]
    {
        let within = format!("EXISTS (SELECT 1 FROM usage WHERE {condition})");
        check(&world, &format!("count(*) AS v FROM (SELECT {column} AS x FROM usage) t WHERE {within}"), json!(1))
            .await;
    }
}

/// The answers are those of Postgres.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_whole_number_may_have_a_digit_more() {
    let world = World::new(&[charged("acme", 1, "alice", Some(1), 1)], 1).await;
    for condition in [
        "ceil(0.5) = 1",
        "ceiling(9.99) = 10",
        "floor(-0.5) = -1",
        "floor(-9.1) = -10",
        "ceil(0.5::float8) = 1",
        "floor('99999999999999999999999999999999999999'::numeric(38, 0)) > 0",
        "sum(ceil(x)) = 2 AS v FROM (VALUES (0.5), (0.25), (NULL)) t(x)",
        "ceil(max(x)) = 100 AS v FROM (VALUES (99.9)) t(x)",
        "ceil(CASE WHEN user_id = 'alice' THEN 0.5 ELSE 0.25 END) = 1 AS v FROM usage",
    ] {
        check(&world, condition, json!(true)).await;
    }
}

/// The answers are those of Postgres.
#[tokio::test(flavor = "multi_thread")]
async fn what_stands_for_a_row_that_is_not_there_is_not_rounded() {
    let world = World::new(&[charged("acme", 1, "alice", Some(1), 1)], 1).await;
    for (value, wanted) in [
        ("lag(x, 1, 0.5) OVER () AS v FROM (VALUES (1)) t(x)", json!("0.5")),
        ("lead(count(*), 1, 1.5) OVER () AS v FROM usage", json!("1.5")),
        ("lag(x, 1, 1.25) OVER () AS v FROM (VALUES (1.5)) t(x)", json!("1.25")),
        ("lag(x, 1, 1e-20::float8) OVER () AS v FROM (VALUES (1.5)) t(x)", json!(1e-20)),
        ("lag(x, 1, 'NaN'::float8) OVER () = 'NaN'::float8 AS v FROM (VALUES (1.5)) t(x)", json!(true)),
        ("lag(x, 1, 0.5) OVER () / 2 = 0.25 AS v FROM (VALUES (1)) t(x)", json!(true)),
        ("lag(x, 1, 0) OVER () AS v FROM (VALUES (1)) t(x)", json!(0)),
        ("lag(x) OVER () AS v FROM (VALUES (1)) t(x)", json!(null)),
        ("lag(x, NULL) OVER () AS v FROM (VALUES (1)) t(x)", json!(null)),
        ("count(y) AS v FROM (SELECT lead(x, NULL, 5) OVER (ORDER BY x) AS y FROM (VALUES (1), (2)) t(x)) s", json!(0)),
        ("count(y) AS v FROM (SELECT lag(x, NULL, x) OVER (ORDER BY x) AS y FROM (VALUES (1), (2)) t(x)) s", json!(0)),
        ("sum(y) AS v FROM (SELECT lag(x, 1, x * 10) OVER (ORDER BY x) AS y FROM (VALUES (1), (2)) t(x)) s", json!(11)),
        ("lag(x, 1, x + 0.5) OVER () AS v FROM (VALUES (7)) t(x)", json!("7.5")),
        ("sum(y) AS v FROM (SELECT lag(x, 1, 0.5) OVER (ORDER BY x) AS y FROM (VALUES (1), (2)) t(x)) s", json!("1.5")),
        (
            "sum(y) AS v FROM (SELECT lead(x, 1, 0.5) OVER (ORDER BY x DESC) AS y FROM (VALUES (1), (2)) t(x)) s",
            json!("1.5"),
        ),
    ] {
        check(&world, value, wanted).await;
    }
}

/// The answers are those of Postgres.
#[tokio::test(flavor = "multi_thread")]
async fn a_percentile_between_two_numbers_is_exact() {
    let world = World::new(&[1, 2, 3].map(|number| charged("acme", number, "alice", Some(1), 1)), 1).await;
    for (value, wanted) in [
        (
            "percentile_cont(0.123456789) WITHIN GROUP (ORDER BY x) AS v FROM (VALUES (0), (1000000000000)) t(x)",
            json!(123_456_789_000.0),
        ),
        (
            "percentile_cont(0.7) WITHIN GROUP (ORDER BY x) AS v FROM (VALUES (1::float8), (2), (9)) t(x)",
            json!(4.799_999_999_999_999),
        ),
        (
            "percentile_cont(0.7) WITHIN GROUP (ORDER BY x) AS v FROM (VALUES (1.5), (2), (9)) t(x)",
            json!(4.799_999_999_999_999),
        ),
        ("percentile_cont(0.7) WITHIN GROUP (ORDER BY x DESC) AS v FROM (VALUES (1), (2), (9)) t(x)", json!(1.6)),
        (
            "percentile_cont(0.5) WITHIN GROUP (ORDER BY x) FILTER (WHERE x > 9) AS v FROM (VALUES (1), (NULL)) t(x)",
            json!(null),
        ),
        ("percentile_cont(x, 0.5) AS v FROM (VALUES (1), (2)) t(x)", json!(1.5)),
        ("quantile_cont(x, 1) AS v FROM (VALUES (1), (2)) t(x)", json!(2.0)),
        ("percentile_cont(0.5) WITHIN GROUP (ORDER BY output_tokens) AS v FROM usage GROUP BY user_id", json!(10.0)),
    ] {
        check(&world, value, wanted).await;
    }
    let wrong =
        world.ask(&everyone(), "SELECT percentile_cont(2) WITHIN GROUP (ORDER BY input_tokens) FROM usage").await;
    assert!(wrong.unwrap_err().contains("from 0 to 1"));
}
