//! What is answered, and how it looks.

use serde_json::json;

use super::world::{self, World, charged, everyone, only};
use crate::sql::encode::Format;

fn entries() -> Vec<schemas::ledger::Entry> {
    vec![
        world::limits(0, &["acme", "globex"]),
        world::book(0),
        charged("acme", 1, "alice", Some(100), 1_500_000),
        charged("acme", 2, "bob", Some(200), 2_000_000_000_001),
        charged("globex", 3, "carol", Some(400), 7_000_000),
        charged("acme", 4, "alice", None, 0),
        world::unpriced("acme", 6),
        world::refused("acme", 7, 3),
        world::balance("acme", 8, 1_000_000_000_000),
        world::balance("acme", 9, 2_000_000_000_000),
        world::balance("globex", 9, 5),
        world::alerted("acme", 9, 80_000_000_000_000),
        world::limits(10, &["acme"]),
        world::heard(11),
    ]
}

/// What acme asks, and what it is answered.
fn questions() -> Vec<(&'static str, serde_json::Value)> {
    vec![
        ("SELECT count(*) AS n, sum(input_tokens) AS t FROM usage", json!([{"n": 4, "t": 307}])),
        ("SELECT sum(cost_usd) AS c FROM usage", json!([{"c": "2.000001500001"}])),
        (
            "SELECT user_id, cost_usd, input_tokens, completeness FROM usage ORDER BY time",
            json!([
                {"user_id": "alice", "cost_usd": "0.000001500000", "input_tokens": 100, "completeness": "exact"},
                {"user_id": "bob", "cost_usd": "2.000000000001", "input_tokens": 200, "completeness": "exact"},
                {"user_id": "alice", "cost_usd": null, "input_tokens": null, "completeness": "missing"},
                {"user_id": "eve", "cost_usd": null, "input_tokens": 7, "completeness": "exact"},
            ]),
        ),
        (
            "SELECT tag('env') AS env, count(*) AS n FROM usage GROUP BY tag('env') ORDER BY 1",
            json!([{"env": "dev", "n": 1}, {"env": "prod", "n": 3}]),
        ),
        ("SELECT count(*) AS n FROM usage WHERE tag('env') = 'dev'", json!([{"n": 1}])),
        ("SELECT time FROM usage WHERE user_id = 'bob'", json!([{"time": "2026-11-01T00:00:02.000000Z"}])),
        (
            "SELECT date_trunc('day', time) AS day, count(*) AS n FROM calls GROUP BY 1",
            json!([{"day": "2026-11-01T00:00:00.000000Z", "n": 4}]),
        ),
        (
            "SELECT u.user_id, c.quantity, c.cost_usd FROM usage u JOIN charges c ON u.call_id = c.call_id ORDER BY c.time",
            json!([
                {"user_id": "alice", "quantity": 100, "cost_usd": "0.000001500000"},
                {"user_id": "bob", "quantity": 200, "cost_usd": "2.000000000001"},
                {"user_id": "eve", "quantity": 7, "cost_usd": null},
            ]),
        ),
        ("SELECT share_percent, settled FROM alerts", json!([{"share_percent": 80, "settled": "80.000000000000"}])),
        ("SELECT count, code FROM refusals", json!([{"count": 3, "code": "TG2001"}])),
        (
            "SELECT limit_name, settled, amount FROM balances",
            json!([{"limit_name": "acme-month", "settled": "2.000000000000", "amount": "100.000000000000"}]),
        ),
        ("SELECT limit_name, valid_to IS NULL AS now FROM limits", json!([{"limit_name": "acme-month", "now": true}])),
        (
            "SELECT sum(cost_usd) * 1.1 AS c, count(*) AS n FROM charges WHERE cost_usd > 0.5",
            json!([{"c": "2.2000000000011", "n": 1}]),
        ),
        (
            "SELECT approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_ms) AS p, \
             approx_percentile_cont(duration_ms, 0.95) AS q, \
             percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_ms) AS e, \
             round(avg(duration_ms) / 1000.0, 1) AS s, median(duration_ms) AS m FROM usage",
            json!([{"p": 2000.0, "q": 2000.0, "e": 2000.0, "s": 2.0, "m": 2000.0}]),
        ),
        ("SELECT count(*) > 40 AS many FROM prices", json!([{"many": true}])),
        (
            "SELECT 1 AS one, 'x' || 'y' AS xy, 1.50 AS d, NULL AS n",
            json!([{"one": 1, "xy": "xy", "d": "1.50", "n": null}]),
        ),
        (
            "SELECT table_name FROM information_schema.tables ORDER BY 1 LIMIT 2",
            json!([{"table_name": "alerts"}, {"table_name": "attempts"}]),
        ),
        (
            "WITH t AS (SELECT user_id, sum(input_tokens) AS n FROM usage GROUP BY user_id) \
             SELECT user_id, rank() OVER (ORDER BY n DESC) AS r FROM t WHERE n > 1 ORDER BY r",
            json!([{"user_id": "bob", "r": 1}, {"user_id": "alice", "r": 2}, {"user_id": "eve", "r": 3}]),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_are_answered_alike_from_lake_and_tail() {
    let all = entries();
    for shelved in [0, 5, all.len()] {
        let world = World::new(&all, shelved).await;
        for (sql, wanted) in questions() {
            let got = world.ask(&only(&["acme"]), sql).await;
            assert_eq!(got, Ok(wanted), "{sql} with {shelved} shelved");
        }
        let n = world.ask(&everyone(), "SELECT count(*) AS n, count(DISTINCT tenant) AS t FROM usage").await;
        assert_eq!(n, Ok(json!([{"n": 5, "t": 2}])));
        let ended = world.ask(&everyone(), "SELECT limit_name FROM limits WHERE valid_to IS NOT NULL").await;
        assert_eq!(ended, Ok(json!([{"limit_name": "globex-month"}])));
        let none = world.ask(&only(&[]), "SELECT count(*) AS n FROM usage").await;
        assert_eq!(none, Ok(json!([{"n": 0}])));
    }
}

/// The first question a reader pastes is one of the README's.
#[tokio::test(flavor = "multi_thread")]
async fn the_questions_of_the_readme_are_answered() {
    let readme = include_str!("../../../../README.md");
    let blocks = readme.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next());
    let questions: Vec<_> =
        blocks.flat_map(|block| block.split(';')).map(str::trim).filter(|q| !q.is_empty()).collect();
    assert!(questions.len() >= 3, "{questions:?}");
    let world = World::new(&entries(), 5).await;
    for question in questions {
        let answer = world.ask(&everyone(), question).await;
        assert!(answer.is_ok(), "{question}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_instant_is_now_through_a_whole_question() {
    let world = World::new(&entries(), 5).await;
    let check = async |sql: &str| {
        assert_eq!(world.ask(&only(&["acme"]), sql).await, Ok(json!([{"n": 4}])), "{sql}");
    };
    check("SELECT count(*) AS n FROM usage WHERE time < now() AND now() = current_timestamp").await;
    check("SELECT count(*) AS n FROM usage WHERE time <= date_trunc('month', now()) + INTERVAL '1 month'").await;
    check("SELECT count(*) AS n FROM usage WHERE CAST(time AS DATE) <= current_date AND current_time IS NOT NULL")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_says_how_complete_it_is() {
    let all = entries();
    let world = World::new(&all, 4).await;
    let as_of = |at, caller: world::Caller| world.cuts.as_of(world::second(at)).json(&caller.tenants);
    let through = "2026-11-01T00:00:11.000000Z";
    let check = |at, caller, wanted| assert_eq!(as_of(at, caller), wanted);
    check(12, everyone(), json!({"offsets": [all.len()], "complete_through": through, "waiting_for": []}));
    let silent = json!([{"gateway": "gw-1", "since": through, "why": "silent"}]);
    check(100, everyone(), json!({"offsets": [all.len()], "complete_through": through, "waiting_for": silent}));
    let apart = "2026-10-31T23:00:00.000000Z";
    check(100, only(&["acme"]), json!({"complete_through": apart, "waiting_for": [{"why": "silent"}]}));
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_are_joined_as_far_as_that_is_bounded() {
    let world = World::new(&entries(), 5).await;
    for caller in [only(&["acme"]), only(&["acme", "globex"])] {
        let acme = "FROM usage WHERE tenant = 'acme'";
        let ask = async |what: &str| world.ask(&caller, &format!("SELECT {what} AS u {acme}")).await;
        assert_eq!(ask("string_agg(user_id, ',' ORDER BY user_id)").await, Ok(json!([{"u": "alice,alice,bob,eve"}])));
        assert_eq!(ask("string_agg(DISTINCT user_id, ',')").await, Ok(json!([{"u": "alice,bob,eve"}])));
        let downward = "string_agg(DISTINCT user_id, ',' ORDER BY user_id DESC)";
        assert_eq!(ask(downward).await, Ok(json!([{"u": "eve,bob,alice"}])));
        assert_eq!(ask("string_agg(tenant, '/')").await, Ok(json!([{"u": "acme/acme/acme/acme"}])));
        assert_eq!(ask("string_agg(user_id, ',') FILTER (WHERE 1 = 2)").await, Ok(json!([{"u": null}])));
        for long in ["rpad(user_id, 9000), ','", "rpad(user_id, 9000), ',' ORDER BY time", "rpad(call_id, 9000), ','"] {
            let length = format!("length(string_agg({long}))");
            assert_eq!(ask(&length).await, Ok(json!([{"u": 4 * 9_000 + 3}])), "{long}");
        }
        assert_eq!(ask("length(string_agg(DISTINCT rpad(user_id, 9000), ','))").await, Ok(json!([{"u": 27_002}])));
        // 20,000 × 1,000 bytes, of which all but a few stand between texts.
        let between = "-".repeat(1_000);
        for joined in ["n::text, '-'", "n::text, '-' ORDER BY n", "DISTINCT n::text, '-'"] {
            let joined = joined.replace('-', &between);
            let sql = format!("SELECT length(string_agg({joined})) AS u FROM generate_series(1, 20000) n");
            let error = world.ask(&caller, &sql).await.unwrap_err();
            assert!(error.starts_with("TG6001") && error.contains("string_agg"), "{error}");
        }
        let many: Vec<_> = (0..65).map(|at| format!("string_agg(user_id, '{at}') AS u{at}")).collect();
        let error = world.ask(&caller, &format!("SELECT {} FROM usage", many.join(", "))).await.unwrap_err();
        assert!(error.starts_with("TG6001") && error.contains("longer"), "{error}");
    }
    let groups = "SELECT user_id, string_agg(model, '+') AS m FROM usage WHERE tenant = 'acme' GROUP BY user_id \
                  ORDER BY user_id LIMIT 1";
    let wanted = json!([{"user_id": "alice", "m": "gpt-5-mini+gpt-5-mini"}]);
    assert_eq!(world.ask(&everyone(), groups).await, Ok(wanted));
    let alike =
        "SELECT length(string_agg(user_id, ',' ORDER BY (SELECT 1 LIMIT 1))) AS n FROM usage WHERE tenant = 'acme'";
    assert_eq!(world.ask(&everyone(), alike).await, Ok(json!([{"n": 19}])));
}

#[tokio::test(flavor = "multi_thread")]
async fn text_shows_what_postgres_shows() {
    let world = World::new(&entries(), 5).await;
    let csv = async |sql: &str| {
        let answer = world.engine.answer(&everyone(), sql, Format::Csv).await.unwrap();
        String::from_utf8(answer).unwrap()
    };
    let values = "'Infinity'::float8 AS i, '-infinity'::float4 AS m, 'nan'::float8 AS x, \
                  timestamp '2026-11-20 00:45' - timestamp '2026-11-01' AS d, interval '1 mon 2 days 03:04:05.6' AS v";
    let (days, span) = ("19 days 00:45:00", "1 mon 2 days 03:04:05.6");
    let wanted = json!([{"i": "Infinity", "m": "-Infinity", "x": "NaN", "d": days, "v": span}]);
    assert_eq!(world.ask(&everyone(), &format!("SELECT {values}")).await, Ok(wanted));
    let wanted = format!("i,m,x,d,v\nInfinity,-Infinity,NaN,{days},{span}\n");
    assert_eq!(csv(&format!("SELECT {values}")).await, wanted);
    // NULL is no text without letters.
    for (sql, wanted) in [
        (
            "SELECT NULL::text AS n, '' AS \"e,\", 'a\"b' AS q, 'inf' AS t, NULL AS u",
            "n,\"e,\",q,t,u\n,\"\",\"a\"\"b\",inf,\n",
        ),
        ("SELECT NULL::text AS n", "n\n\n"),
        ("SELECT '' AS n", "n\n\"\"\n"),
        ("SELECT tenant FROM usage WHERE 1 = 2", "tenant\n"),
    ] {
        assert_eq!(csv(sql).await, wanted, "{sql}");
    }
    // And no text has a letter of no number.
    for sql in ["SELECT chr(0) AS a", "SELECT 'a\0b' AS a", "SELECT user_id || chr(input_tokens * 0) AS a FROM usage"] {
        let error = world.ask(&everyone(), sql).await.unwrap_err();
        assert!(error.starts_with("TG6002"), "{sql}: {error}");
    }
    assert_eq!(world.ask(&everyone(), "SELECT chr(228) AS a").await, Ok(json!([{"a": "ä"}])));
}

#[tokio::test(flavor = "multi_thread")]
async fn moments_are_written_as_in_postgres() {
    let world = World::new(&entries(), 5).await;
    let acme = only(&["acme"]);
    let count = async |condition: &str, wanted: u32| {
        let sql = format!("SELECT count(*) AS n FROM usage WHERE {condition}");
        assert_eq!(world.ask(&acme, &sql).await, Ok(json!([{"n": wanted}])), "{sql}");
    };
    count("time >= '2026-11-01 00:00' AND time < '2026-11-02'", 4).await;
    count("time BETWEEN '2026-11-01 00:00:02' AND '2026-11-01T00:01Z'", 3).await;
    count("time >= TIMESTAMP '2026-11-01 00:01'", 0).await;
    count("time >= '2026-11-01 00:00'::timestamptz", 4).await;
    count("to_char(time, 'YYYY-MM-DD HH24:MI') = '2026-11-01 00:00'", 4).await;
    count("to_char(time, '%Y-%m') = '2026-11'", 4).await;
    count("time >= TIMESTAMP '2026-11-02' + (-1) * INTERVAL '1 DAY'", 4).await;
    count("time >= timestamp 'epoch' + 1793491200 * interval '1 second'", 4).await;
    count("time - interval '1 day' / 2 < '2026-10-31 12:00:03'", 2).await;
    let quarter = "date_trunc('hour', time) + INTERVAL '15 minute' * FLOOR(EXTRACT(MINUTE FROM time) / 15)";
    count(&format!("{quarter} = '2026-11-01'"), 4).await;
    let quarters = format!("SELECT {quarter} AS begun, count(*) AS n FROM usage GROUP BY 1 ORDER BY 1");
    let wanted = json!([{"begun": "2026-11-01T00:00:00.000000Z", "n": 4}]);
    assert_eq!(world.ask(&acme, &quarters).await, Ok(wanted));
    count("mod(input_tokens, 100) = 0", 2).await;
    count("sign(input_tokens - 150) = -1", 2).await;
    let begin = "TO_TIMESTAMP('2026-11-01 00:00:00.000000', 'YYYY-MM-DD HH24:MI:SS.US')";
    count(&format!("time >= {begin} AND time < TO_DATE('2026-11-02', 'YYYY-MM-DD')"), 4).await;
    count("time < to_date('2026-11-01', 'YYYY-MM-DD')", 0).await;
    count("to_timestamp(concat('2026-11-', tenant), 'YYYY-MM-\"acme\"') = '2026-11-01'", 4).await;
    // A constant before files are chosen.
    let plan = world.ask(&acme, &format!("EXPLAIN SELECT user_id FROM usage WHERE time >= {begin}")).await;
    let plan = plan.unwrap().to_string();
    assert!(plan.contains("1793491200000000") && !plan.contains("to_timestamp"), "{plan}");
    let refused = world.ask(&acme, "SELECT to_timestamp('2026 1', 'YYYY Q')").await.unwrap_err();
    assert!(refused.contains("quarters"), "{refused}");
    let refused = world.ask(&acme, "SELECT to_char(time, 'Month YYYY') FROM usage").await.unwrap_err();
    assert!(refused.contains("FMMonth"), "{refused}");
    let zoned = "SELECT time AT TIME ZONE 'Europe/Berlin' FROM usage ORDER BY time LIMIT 1";
    assert!(world.ask(&acme, zoned).await.is_ok());
    // What is no moment stays an error.
    assert!(world.ask(&acme, "SELECT 1 FROM usage WHERE time > 'someday'").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_that_fails_is_the_fault_of_the_question() {
    let all = entries();
    let world = World::new(&all, all.len()).await;
    for condition in [
        "cost_usd / 0 > 1",
        "tag(tags, 'env')::int > 1",
        "time > to_timestamp('2026-11', '%Y-%m-%d')",
        "time > to_timestamp('2026-13-01', 'YYYY-MM-DD')",
        "date_part('x', time) = 1",
        "split_part(tags, 'a', 0) = ''",
        "make_date(2026, 13, output_tokens::int) IS NULL",
        "date_bin(interval '0 day', time) = time",
        "factorial(output_tokens + 100) > 1",
        "repeat(tags, (output_tokens * 1000000)::int) = ''",
    ] {
        for caller in [everyone(), only(&["acme"])] {
            let error = world.ask(&caller, &format!("SELECT count(*) AS n FROM usage WHERE {condition}")).await;
            let error = error.expect_err(condition);
            assert!(error.starts_with("TG6001") || error.starts_with("TG6002"), "{condition}: {error}");
            assert!(!error.contains("evaluating filter predicate"), "{condition}: {error}");
        }
    }
    // What cannot fail is looked at while files are read.
    let plain =
        "SELECT count(*) AS n FROM usage WHERE (user_id LIKE 'a%' OR tag('env') = 'prod') AND lower(model) <> ''";
    assert_eq!(world.ask(&everyone(), plain).await, Ok(json!([{"n": 4}])));
}
