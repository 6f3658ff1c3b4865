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
    let answer = world.answer(&everyone(), "SELECT sum(output_tokens), max(attempt) + 1 FROM usage").await.unwrap();
    let columns = json!([
        {"name": "sum(usage.output_tokens)", "type": "BIGINT"},
        {"name": "max(usage.attempt) + Int64(1)", "type": "BIGINT"},
    ]);
    assert_eq!(answer["columns"], columns);
}
