//! Queries that stand for a value and find no row.

use serde_json::json;

use super::{
    agrees::check,
    world::{World, charged, everyone},
};

/// The answers are those of Postgres.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_without_a_row_is_null() {
    let world = World::new(&[charged("acme", 1, "alice", Some(1), 1)], 1).await;
    for (value, wanted) in [
        ("(SELECT 1 WHERE false)", json!(null)),
        ("(SELECT 1 WHERE false) IS NULL", json!(true)),
        ("(SELECT now() WHERE false) IS NOT NULL", json!(false)),
        ("(SELECT true WHERE false) IS NULL", json!(true)),
        ("coalesce((SELECT 5 FROM usage WHERE user_id = 'nobody'), 7)", json!(7)),
        ("(SELECT 5 FROM usage LIMIT 1)", json!(5)),
        ("(SELECT 5 FROM usage LIMIT 0) + 1", json!(null)),
        ("(SELECT count(*) FROM usage WHERE user_id = 'nobody' HAVING count(*) > 0) IS NULL", json!(true)),
        ("coalesce((SELECT count(*) FROM usage WHERE user_id = 'nobody' GROUP BY model), 0)", json!(0)),
        // It always has a row.
        ("(SELECT count(*) FROM usage WHERE user_id = 'nobody')", json!(0)),
        ("(SELECT count(*) FROM usage WHERE user_id = 'nobody') IS NULL", json!(false)),
        ("x IS NULL AS v FROM (SELECT (SELECT 1 WHERE false) AS x) t", json!(true)),
        ("count(*) AS v FROM usage WHERE (SELECT 1 WHERE false) IS NULL", json!(1)),
        (
            "(SELECT count(*) FROM (VALUES (1)) b(y) WHERE y = x GROUP BY y) IS NULL AS v FROM (VALUES (2)) a(x)",
            json!(true),
        ),
        ("(SELECT count(*) FROM (VALUES (1)) b(y) WHERE y = x GROUP BY y) AS v FROM (VALUES (1)) a(x)", json!(1)),
        ("x IS NULL AS v FROM (VALUES ((SELECT 1 WHERE false))) t(x)", json!(true)),
        ("sum(x) AS v FROM (VALUES (1), ((SELECT 2 WHERE false)), ((SELECT 3 LIMIT 1))) t(x)", json!(4)),
        ("column2 AS v FROM (VALUES (1, EXISTS (SELECT 1 FROM usage))) t", json!(true)),
        // Of a query around.
        (
            "count(*) AS v FROM (SELECT (SELECT 1 WHERE false) AS k) t WHERE EXISTS (SELECT 1 WHERE t.k IS NULL)",
            json!(1),
        ),
        (
            "n AS v FROM (SELECT (SELECT 1 WHERE false) AS k) t, \
             LATERAL (SELECT input_tokens AS n FROM usage WHERE t.k IS NULL) u",
            json!(1),
        ),
        // Within what is called by all that it is written with.
        ("count(*) FILTER (WHERE input_tokens >= (SELECT 1 LIMIT 1)) AS v FROM usage", json!(1)),
        ("count(DISTINCT model) FILTER (WHERE input_tokens > (SELECT 1 WHERE false)) AS v FROM usage", json!(0)),
        ("sum(input_tokens) OVER (ORDER BY (SELECT 1 WHERE false), call_id) AS v FROM usage", json!(1)),
        ("rank() OVER (ORDER BY sum(input_tokens) - coalesce((SELECT 1 WHERE false), 0)) AS v FROM usage", json!(1)),
    ] {
        check(&world, value, wanted).await;
    }
    let named = world.answer(&everyone(), "SELECT (SELECT 1 WHERE false) AS a, 2 AS b").await.unwrap();
    assert_eq!(named["rows"], json!([{"a": null, "b": 2}]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_query_within_can_say_has_other_words() {
    let world = World::new(&[charged("acme", 1, "alice", Some(1), 1)], 1).await;
    for (sql, wanted) in [
        ("SELECT (SELECT c.cost_usd FROM charges c WHERE c.call_id = u.call_id) FROM usage u", "write max(x)"),
        ("SELECT model IN (SELECT model FROM usage) AS v FROM usage", "write EXISTS"),
    ] {
        let refused = world.ask(&everyone(), sql).await.unwrap_err();
        assert!(refused.contains(wanted), "{sql}: {refused}");
    }
    let instead = "EXISTS (SELECT 1 FROM usage b WHERE b.model = a.model) AS v FROM usage a";
    check(&world, instead, json!(true)).await;
}
