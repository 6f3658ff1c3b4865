//! What one statement does to the process and to the questions of others: nothing, however deep it is and however long it
//! would take.

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::json;

use super::world::{self, World, charged, everyone, only};

async fn small() -> World {
    World::new(&[world::limits(0, &["acme"]), charged("acme", 1, "alice", Some(100), 5)], 0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deepest_statements_are_answered_or_refused() {
    let world = small().await;
    let chain = |term: &str, by: &str, times: usize| vec![term; times].join(by);
    let check = async |name: &str, sql: String, wanted: &str| {
        for caller in [only(&["acme"]), everyone()] {
            let got = match world.ask(&caller, &sql).await {
                Ok(_) => "ok".to_owned(),
                Err(error) => error,
            };
            assert!(wanted.split(' ').any(|wanted| got.starts_with(wanted)), "{name}: {got:.300}");
        }
    };
    for (length, wanted) in [(101, "ok"), (102, "TG6001")] {
        check("+", format!("SELECT {}", chain("1", "+", length)), wanted).await;
        check("||", format!("SELECT {} AS a FROM usage", chain("team", "||", length)), "ok TG6001 TG6002").await;
        check("columns", format!("SELECT {} AS a FROM usage", chain("output_tokens", "+", length)), wanted).await;
    }
    for (length, wanted) in [(401, "ok"), (402, "TG6001")] {
        check("UNION ALL", chain("SELECT 1", " UNION ALL ", length), "ok TG6001").await;
        check("::", format!("SELECT 1{}", "::BIGINT".repeat(length - 1)), wanted).await;
    }
    for (length, wanted) in [(200, "ok"), (201, "TG6001")] {
        for by in [" OR ", " AND "] {
            check(by, format!("SELECT a FROM (SELECT true AS a) t WHERE {}", chain("a=true", by, length)), wanted)
                .await;
            check(by, format!("SELECT user_id FROM usage WHERE {}", chain("user_id='x'", by, length)), wanted).await;
        }
    }
    let different: Vec<_> = (0..2_500).map(|number| format!("user_id = 'u{number}'")).collect();
    check("OR", format!("SELECT user_id FROM usage WHERE {}", different.join(" OR ")), "TG6001").await;
    check("OR", format!("SELECT user_id FROM usage WHERE {}", different[..200].join(" OR ")), "ok").await;
    check("=", format!("SELECT {} AS a", chain("true", "=", 401)), "ok").await;
    check("NOT", format!("SELECT {} true AS a", "NOT ".repeat(400)), "ok TG6002").await;
    check("IS", format!("SELECT 1{} AS a", " IS NULL".repeat(400)), "ok").await;
    let list: Vec<_> = (0..5_000).map(|number| format!("'u{number}'")).collect();
    check("IN", format!("SELECT user_id FROM usage WHERE user_id IN ({})", list.join(",")), "ok").await;
    let whens: Vec<_> = (0..390).map(|number| format!("WHEN '{number}' THEN {number}")).collect();
    check("WHEN", format!("SELECT CASE user_id {} END AS a FROM usage", whens.join(" ")), "ok").await;
    for depth in [10, 13, 100, 2_000] {
        let nested = |open: &str, close: &str| format!("SELECT {}1{} AS a", open.repeat(depth), close.repeat(depth));
        let wanted = if depth < 13 { "ok" } else { "ok TG6001 TG6002" };
        check("CASE", nested("CASE WHEN 1=1 THEN ", " END"), wanted).await;
        check("functions", nested("abs(", ")"), wanted).await;
        check("()", nested("(", ")"), wanted).await;
        check("-", nested("- ", ""), wanted).await;
        check("subqueries", nested("(SELECT ", ")"), wanted).await;
        let from = format!("{}SELECT 1 AS a{}", "SELECT a FROM (".repeat(depth), ") t".repeat(depth));
        check("derived", from, wanted).await;
        let others: String = (0..depth).map(|number| format!(", usage u{number}")).collect();
        let joined = format!("SELECT count(u0.user_id) AS a FROM usage{others}");
        check("FROM", joined, "ok TG6001 TG6004").await;
    }
    let mut ctes = String::from("WITH t0 AS (SELECT output_tokens AS a FROM usage)");
    for level in 1..250 {
        ctes.push_str(&format!(", t{level} AS (SELECT a + 1 AS a FROM t{} WHERE a > 0)", level - 1));
    }
    check("WITH", format!("{ctes} SELECT a FROM t249"), "ok TG6001").await;
}

/// 5,000 attempts: three of them crossed take hours.
pub(crate) async fn large() -> World {
    let entries: Vec<_> = (0..5_000).map(|number| charged("acme", number, "alice", Some(100), 5)).collect();
    World::new(&entries, 0).await
}

/// By crossing, by a condition that no row satisfies, and by counting on.
pub(crate) const ENDLESS: &[&str] = &[
    "SELECT count(a.output_tokens + d.output_tokens) FROM usage a, (SELECT b.output_tokens FROM usage b, usage c) d",
    "SELECT count(*) FROM usage a, (SELECT b.input_tokens FROM usage b, usage c) d WHERE a.input_tokens > d.input_tokens",
    "SELECT count(a % 2) FROM generate_series(1, 1000000000000000) a",
];

#[tokio::test]
async fn a_query_that_would_never_end_is_ended_and_delays_no_other() {
    const TIME: Duration = Duration::from_secs(3);
    let world = large().await.within(TIME);
    for sql in ENDLESS {
        for caller in [everyone(), only(&["acme"])] {
            let begun = Instant::now();
            let endless = join_all([world.ask(&caller, sql), world.ask(&caller, sql)]);
            let quick = async {
                for _ in 0..5 {
                    assert_eq!(world.ask(&caller, "SELECT 1 AS a").await, Ok(json!([{"a": 1}])));
                }
                begun.elapsed()
            };
            let (ended, quick) = futures::join!(endless, quick);
            for answer in ended {
                assert!(answer.as_ref().is_err_and(|error| error.starts_with("TG6006")), "{sql}: {answer:?}");
            }
            assert!(begun.elapsed() < TIME * 2, "{sql} ended after {:?}", begun.elapsed());
            assert!(quick < TIME, "others waited {quick:?} for {sql}");
            idle(&world).await;
        }
    }
}

/// Twelve of one token that would never end, and one of another beside them.
#[tokio::test(flavor = "multi_thread")]
async fn one_token_does_not_keep_others_waiting() {
    const TIME: Duration = Duration::from_secs(6);
    let world = large().await.within(TIME);
    let [heavy, light] = ["tgq-acme", "tgq-all"].map(|token| world.access.caller(token).unwrap());
    let endless = join_all((0..12).map(|_| world.ask(&heavy, ENDLESS[2])));
    let quick = async {
        let begun = Instant::now();
        while world.engine.idle_turns() > super::super::RUNNING / 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(world.ask(&light, "SELECT 1 AS a").await, Ok(json!([{"a": 1}])));
        begun.elapsed()
    };
    let (ended, quick) = futures::join!(endless, quick);
    assert!(quick < TIME, "another token waited {quick:?}");
    for answer in ended {
        let known = |error: &String| error.starts_with("TG6006") || error.starts_with("TG6004");
        assert!(answer.as_ref().is_err_and(known), "{answer:?}");
    }
    idle(&world).await;
}

#[tokio::test]
async fn a_dropped_answer_ends_its_query() {
    let world = large().await;
    for sql in ENDLESS {
        let started = tokio::time::timeout(Duration::from_secs(1), world.ask(&everyone(), sql)).await;
        assert!(started.is_err(), "{sql}: {started:?}");
        idle(&world).await;
    }
}

/// Waits until no thread of a query is left.
pub(crate) async fn idle(world: &World) {
    let begun = Instant::now();
    while world.engine.idle_turns() < super::super::RUNNING {
        assert!(begun.elapsed() < Duration::from_secs(20), "a query goes on");
        tokio::task::yield_now().await;
    }
}
