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

/// The answers are those of Postgres; what the engine would answer otherwise is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_names_what_is_around_it_is_answered_rightly_or_not() {
    let world = World::new(&[charged("acme", 1, "alice", Some(1), 1)], 1).await;
    const T: &str = "(VALUES (1), (2), (3)) t(x)";
    for (value, wanted) in [
        // What is compared is grouped by, and not the columns that it is made of.
        (
            "(SELECT count(*) FROM (VALUES (TIMESTAMP '2026-11-05 01:00'), (TIMESTAMP '2026-11-05 02:00')) u(t) WHERE u.t::date = s.d) \
             AS v FROM (VALUES (DATE '2026-11-05')) s(d)"
                .to_owned(),
            json!(2),
        ),
        (format!("sum(n) AS v FROM {T}, LATERAL (SELECT count(*) AS n FROM {T} WHERE t.x / 2 = 1) u"), json!(6)),
        (
            "count(*) AS v FROM (VALUES (0), (1)) s(d) WHERE (SELECT count(*) FROM (VALUES (2), (3), (4)) u(y) \
             WHERE u.y / 2 = d + 1 AND u.y > 0) = 1"
                .to_owned(),
            json!(1),
        ),
        // Both sides are called alike.
        (format!("count(*) AS v FROM {T} WHERE x >= ALL (SELECT x FROM {T})"), json!(1)),
        (format!("count(*) AS v FROM {T} WHERE x > ANY (SELECT x FROM {T})"), json!(2)),
        (format!("count(*) AS v FROM {T} WHERE x = ANY (SELECT x FROM {T} WHERE x < 3)"), json!(2)),
        (format!("count(*) AS v FROM {T} WHERE x <> ALL (SELECT x FROM {T} WHERE x < 3)"), json!(1)),
        ("count(*) AS v FROM usage WHERE input_tokens <> ALL (SELECT input_tokens FROM usage)".to_owned(), json!(0)),
        (
            format!("max(x) AS v FROM {T} GROUP BY x HAVING sum(x) >= ALL (SELECT sum(x) FROM {T} GROUP BY x)"),
            json!(3),
        ),
        (format!("count(*) AS v FROM {T} WHERE x = 3 OR x IN (SELECT y FROM (VALUES (1)) u(y) WHERE y = x)"), json!(2)),
    ] {
        check(&world, &value, wanted).await;
    }
    const U: &str = "(VALUES (1, 'a')) u(y, z) WHERE y = x";
    for (wrong, why) in [
        (format!("x FROM {T} WHERE 'a' NOT IN (SELECT z FROM {U})"), "write EXISTS"),
        (format!("x FROM {T} WHERE x <> ALL (SELECT y FROM {U})"), "write EXISTS"),
        (format!("x FROM {T} WHERE NOT (x IN (SELECT y FROM {U}))"), "write EXISTS"),
        (format!("x > ALL (SELECT x FROM {T}) FROM {T}"), "stand in WHERE"),
        (format!("x FROM {T} WHERE EXISTS (SELECT count(*) FROM {U})"), "compare with the sum"),
        (format!("x FROM {T} WHERE 0 IN (SELECT count(*) FROM {U})"), "compare with the sum"),
        (format!("(SELECT count(*) IS NULL FROM {U}) FROM {T}"), "ask it of that query"),
        (format!("(SELECT 'a' FROM {U} HAVING count(*) = 0) FROM {T}"), "use CASE"),
        (format!("b FROM {T} LEFT JOIN LATERAL (SELECT count(*) AS a, 'k' AS b FROM {U}) v ON true"), "a constant"),
    ] {
        let error = world.ask(&everyone(), &format!("SELECT {wrong}")).await.unwrap_err();
        assert!(error.contains(why), "{wrong}: {error}");
    }
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
