//! Whole numbers: exact, or an error.

use serde_json::{Value, json};

use super::world::{self, World, charged, everyone, only};

#[tokio::test(flavor = "multi_thread")]
async fn integers_are_exact_or_an_error() {
    let entries: Vec<_> = [world::limits(0, &["acme"])]
        .into_iter()
        .chain((1..200).map(|number| charged("acme", number, "alice", Some(100), 5)))
        .collect();
    let world = World::new(&entries, 100).await;
    let check = async |sql: &str, wanted: Result<Value, &str>| {
        for caller in [only(&["acme"]), everyone()] {
            let got = world.answer(&caller, sql).await;
            match (&got, &wanted) {
                (Ok(answer), Ok(rows)) => assert_eq!(answer["rows"], *rows, "{sql}"),
                (Err(error), Err(part)) => {
                    assert!(error.starts_with("TG6002") && error.contains(part), "{sql}: {error}")
                }
                _ => panic!("{sql}: {got:?}, not {wanted:?}"),
            }
        }
    };
    const MAX: &str = "9223372036854775807";
    let of_two = |sum: &str| format!("SELECT {sum} AS a FROM (VALUES ({MAX}),(1)) t(x)");
    check(&of_two("sum(x)"), Err("9223372036854775808")).await;
    check(&of_two("sum(x) OVER (ORDER BY x)"), Err("9223372036854775808")).await;
    check(&of_two("sum(DISTINCT x)"), Err("9223372036854775808")).await;
    check(&of_two("sum(x - 2)"), Ok(json!([{"a": 9_223_372_036_854_775_804_i64}]))).await;
    check(&of_two("sum(CAST(x AS DECIMAL(38, 0)))"), Ok(json!([{"a": "9223372036854775808"}]))).await;
    check("SELECT x % 2 AS g, sum(x) AS a FROM (VALUES (9223372036854775807),(1)) t(x) GROUP BY 1", Err("92233")).await;
    // That it passes the greatest on the way is no error.
    let and_back = "SELECT sum(x) AS a FROM (VALUES (9223372036854775807),(1),(-2)) t(x)";
    check(and_back, Ok(json!([{"a": 9_223_372_036_854_775_806_i64}]))).await;
    check(&format!("SELECT {MAX} + 1 AS a"), Err("verflow")).await;
    check(&format!("SELECT -{MAX} - 2 AS a"), Err("verflow")).await;
    check(&format!("SELECT {MAX} * 2 AS a"), Err("verflow")).await;
    check("SELECT -x AS a FROM (VALUES (-9223372036854775808)) t(x)", Err("verflow")).await;
    check("SELECT -x AS a FROM (VALUES (5), (NULL)) t(x)", Ok(json!([{"a": -5}, {"a": null}]))).await;
    for small in ["smallint", "int"] {
        check(&format!("SELECT a FROM (VALUES (-1::{small}, 'a')) v(a, b)"), Ok(json!([{"a": -1}]))).await;
        check(&format!("SELECT a FROM (VALUES (1::{small}), (-1::{small})) v(a)"), Ok(json!([{"a": 1}, {"a": -1}])))
            .await;
    }
    check("SELECT -a AS a FROM (VALUES (1::int + 1::int), (NULL)) v(a)", Ok(json!([{"a": -2}, {"a": null}]))).await;
    check("SELECT a FROM (VALUES (2147483647::int + 1::int)) v(a)", Err("2147483648")).await;
    check("SELECT row_number() OVER () - 5 AS a", Ok(json!([{"a": -4}]))).await;
    check("SELECT 9223372036854775808 + 1 AS a", Err("9223372036854775808")).await;
    check("SELECT sum(output_tokens * 9000000000000000) AS a FROM usage", Err("17910000000000000000")).await;
    check("SELECT sum(output_tokens * 9000000000000000000) AS a FROM usage", Err("verflow")).await;
    check(
        "SELECT user_id, sum(input_tokens + output_tokens) AS t, sum(DISTINCT output_tokens) AS d, \
         avg(input_tokens) AS m FROM usage GROUP BY user_id HAVING sum(input_tokens) > 5",
        Ok(json!([{"user_id": "alice", "t": 21_890, "d": 10, "m": 100.0}])),
    )
    .await;
    check(
        "SELECT sum(output_tokens) OVER (ORDER BY time ROWS 1 PRECEDING) AS a FROM usage ORDER BY time LIMIT 2",
        Ok(json!([{"a": 10}, {"a": 20}])),
    )
    .await;
    check("SELECT sum(input_tokens) AS a FROM usage WHERE user_id = 'x'", Ok(json!([{"a": null}]))).await;
    check("SELECT 2 + 3 * 4 - NULL AS n, 7 - 2 * 3 AS a, 1 + 0.5 AS d", Ok(json!([{"n": null, "a": 1, "d": "1.5"}])))
        .await;
    let named =
        "SELECT sum(output_tokens), max(attempt) + 1, -min(attempt), sum(cost_usd) * 2, 9223372036854775808 FROM usage";
    let answer = world.answer(&everyone(), named).await.unwrap();
    let columns = json!([
        {"name": "sum(usage.output_tokens)", "type": "BIGINT"},
        {"name": "max(usage.attempt) + Int64(1)", "type": "BIGINT"},
        {"name": "(- min(usage.attempt))", "type": "BIGINT"},
        {"name": "sum(usage.cost_usd) * Int64(2)", "type": "DECIMAL(38, 12)"},
        {"name": "UInt64(9223372036854775808)", "type": "UBIGINT"},
    ]);
    assert_eq!(answer["columns"], columns);
}

#[tokio::test(flavor = "multi_thread")]
async fn decimals_are_exact_or_an_error() {
    let world = World::new(&[world::limits(0, &["acme"])], 0).await;
    let nines = "9".repeat(38);
    let check = async |sql: &str, wanted: Result<Value, &str>| {
        let got = world.answer(&everyone(), &sql.replace("MAX", &format!("CAST('{nines}' AS DECIMAL(38, 0))"))).await;
        match (&got, &wanted) {
            (Ok(answer), Ok(value)) => assert_eq!(answer["rows"], json!([{ "a": value }]), "{sql}"),
            (Err(error), Err(part)) => assert!(error.starts_with("TG6002") && error.contains(part), "{sql}: {error}"),
            _ => panic!("{sql}: {got:?}, not {wanted:?}"),
        }
    };
    check("SELECT MAX AS a", Ok(json!(nines))).await;
    check("SELECT MAX + 1 AS a", Err("precision 38")).await;
    check("SELECT -MAX - 1 AS a", Err("precision 38")).await;
    check("SELECT MAX * 1.5 AS a", Err("")).await;
    check("SELECT MAX / 0.6 AS a", Err("")).await;
    check("SELECT MAX - 1 AS a", Ok(json!(format!("{}8", "9".repeat(37))))).await;
    check("SELECT sum(x) AS a FROM (VALUES (MAX), (1)) t(x)", Err("")).await;
    check("SELECT sum(x) AS a FROM (VALUES (MAX), (MAX)) t(x)", Err("")).await;
    check("SELECT sum(x) AS a FROM (VALUES (MAX), (MAX), (1 - MAX)) t(x)", Err("")).await;
    check("SELECT sum(x) AS a FROM (VALUES (MAX), (1), (-2)) t(x)", Ok(json!(format!("{}8", "9".repeat(37))))).await;
    check("SELECT sum(x) AS a FROM (VALUES (1, MAX), (1, 1)) t(g, x) GROUP BY g", Err("")).await;
    check(
        "SELECT sum(x) AS a FROM (VALUES (1, MAX), (1, -1)) t(g, x) GROUP BY g",
        Ok(json!(format!("{}8", "9".repeat(37)))),
    )
    .await;
    check("SELECT 1.10 * 3 AS a", Ok(json!("3.30"))).await;
    // A branch, a side and a column of another statement that are integers by themselves are not ones beside a decimal.
    check("SELECT CASE WHEN x > 1 THEN 0 ELSE x END - 0.2 AS a FROM (VALUES (0.5)) t(x)", Ok(json!("0.3"))).await;
    check("SELECT CASE WHEN x > 1 THEN 0 ELSE x END * 2 AS a FROM (VALUES (0.5)) t(x)", Ok(json!("1.0"))).await;
    let between = "WITH s AS (SELECT CASE WHEN x > 1 THEN 0 ELSE x END AS p FROM (VALUES (0.5)) t(x)) SELECT p - p * 2 AS a FROM s";
    check(between, Ok(json!("-0.5"))).await;
    check("SELECT sum(p * 2) AS a FROM (SELECT 0 AS p UNION ALL SELECT 0.5) s", Ok(json!("1.0"))).await;
    check(
        "SELECT -p AS a FROM (SELECT CASE WHEN x > 1 THEN 0 ELSE x END AS p FROM (VALUES (0.5)) t(x)) s",
        Ok(json!("-0.5")),
    )
    .await;
    // A quoted number is not rounded to the decimals of what it is compared with.
    for (condition, wanted) in [
        ("x = '0.5000000000001'", false),
        ("'0.4999999999999' < x", true),
        ("x BETWEEN '0.49999999' AND '0.50'", true),
        ("x IN ('0.50000001', '0.4')", false),
        ("x IN ('0.500')", true),
        ("x <> '+0.5'", false),
        ("x > '-1'", true),
    ] {
        check(&format!("SELECT {condition} AS a FROM (VALUES (0.5)) t(x)"), Ok(json!(wanted))).await;
    }
    check("SELECT x > '0.5x' AS a FROM (VALUES (0.5)) t(x)", Err("0.5x")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn distinct_from_binds_as_postgres_binds_it() {
    let world = World::new(&[], 0).await;
    let values = "(VALUES (true), (false), (NULL)) ";
    let from = format!("FROM {values}a(a), {values}b(b), {values}c(c), {values}d(d) ORDER BY a, b, c, d");
    for (written, meant) in [
        ("a IS DISTINCT FROM b AND c", "(a IS DISTINCT FROM b) AND c"),
        ("a IS NOT DISTINCT FROM b OR c AND d", "(a IS NOT DISTINCT FROM b) OR (c AND d)"),
        ("a AND b IS DISTINCT FROM c OR d", "(a AND (b IS DISTINCT FROM c)) OR d"),
        ("NOT a IS DISTINCT FROM b AND c", "(NOT (a IS DISTINCT FROM b)) AND c"),
        (
            "a IS DISTINCT FROM b AND c IS NOT DISTINCT FROM d OR a = b AND d",
            "((a IS DISTINCT FROM b) AND (c IS NOT DISTINCT FROM d)) OR ((a = b) AND d)",
        ),
        ("a IS DISTINCT FROM (b AND c) AND d", "(a IS DISTINCT FROM (b AND c)) AND d"),
        ("NOT (a OR b) AND (c OR d)", "(NOT (a OR b)) AND ((c OR d))"),
    ] {
        let answers = [written, meant].map(|text| format!("SELECT {text} AS x {from}"));
        let [got, wanted] = [world.ask(&everyone(), &answers[0]).await, world.ask(&everyone(), &answers[1]).await];
        assert_eq!(got.unwrap(), wanted.unwrap(), "{written}");
    }
}
