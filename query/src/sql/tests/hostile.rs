//! What a caller might try: to read other tenants, to reach files or settings, to take the process down.

use super::world::{self, World, charged, only};

/// Statements whose answer, or error, could show something of other tenants.
pub(crate) const NOSY: &[&str] = &[
    "SELECT * FROM usage",
    "SELECT * FROM usage LIMIT 2",
    "SELECT * FROM usage ORDER BY cost_usd DESC LIMIT 1",
    "SELECT count(*) FROM usage",
    "SELECT count(*), min(user_id), max(user_id), min(time), max(cost_usd) FROM usage",
    "SELECT count(*) FROM usage WHERE CAST(user_id AS BIGINT) >= 0",
    "SELECT CAST(user_id AS BIGINT) FROM usage",
    "SELECT count(*) FROM usage WHERE 1/(CASE WHEN tenant='globex' AND input_tokens=400 THEN 0 ELSE 1 END) = 1",
    "SELECT 1/(CASE WHEN tenant='globex' THEN 0 ELSE 1 END) FROM usage",
    "SELECT user_id FROM usage GROUP BY user_id HAVING 1/(CASE WHEN max(tenant)='globex' THEN 0 ELSE 1 END) = 1",
    "SELECT user_id FROM usage ORDER BY 1/(CASE WHEN tenant='globex' THEN 0 ELSE 1 END)",
    "SELECT u.user_id FROM usage u JOIN calls c ON CAST(u.user_id AS BIGINT) = c.input_tokens",
    "SELECT u.user_id FROM usage u JOIN charges c ON u.call_id = c.call_id AND 1/(CASE WHEN c.tenant='globex' THEN 0 ELSE 1 END) = 1",
    "SELECT * FROM calls WHERE call_id IN (SELECT call_id FROM usage WHERE tenant = 'globex')",
    "SELECT (SELECT count(*) FROM usage WHERE tenant <> 'acme') AS others",
    "SELECT EXISTS (SELECT 1 FROM usage WHERE tenant = 'globex') AS there",
    "WITH t AS (SELECT CAST(user_id AS BIGINT) AS n, tenant FROM usage) SELECT n FROM t WHERE tenant = 'acme'",
    "SELECT tenant, count(*) FROM usage GROUP BY tenant",
    "SELECT DISTINCT tenant FROM usage",
    "SELECT tenant FROM usage UNION SELECT tenant FROM refusals UNION SELECT tenant FROM balances",
    "SELECT * FROM usage WHERE tenant = 'globex'",
    "SELECT * FROM usage WHERE tenant >= 'b'",
    "SELECT * FROM usage WHERE tenant IS NULL OR tenant NOT IN ('acme')",
    "SELECT approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY input_tokens) AS p FROM usage",
    "SELECT approx_distinct(user_id) AS n FROM usage",
    "SELECT first_value(user_id) AS f, last_value(user_id) AS l FROM usage",
    "SELECT row_number() OVER () AS r, user_id FROM usage",
    "SELECT user_id, lag(user_id) OVER (ORDER BY time) AS before FROM usage",
    "SELECT avg(cost_usd), stddev(input_tokens) FROM usage",
    "EXPLAIN SELECT * FROM usage WHERE tenant = 'globex'",
    "EXPLAIN SELECT count(*) FROM usage",
    "SELECT * FROM balances",
    "SELECT * FROM limits",
    "SELECT count(*) FROM prices",
    "SELECT * FROM refusals",
    "SELECT * FROM alerts",
    "SELECT * FROM charges",
    "SELECT * FROM attempts",
    "SELECT * FROM daily_spend",
    "SELECT * FROM unpriced",
    "SELECT * FROM cache_savings",
    "SELECT * FROM other_prices",
    "SELECT * FROM refused_demand",
    "SELECT * FROM watermark",
    "SELECT limit_name, settled, held FROM refusals ORDER BY settled",
    "SELECT count(*) FROM refusals WHERE settled > 0.0000000005",
    "SELECT * FROM ownership",
    "SELECT * FROM overspend",
    "SELECT * FROM lateness",
    "SELECT BilledCost, Tags, SkuPriceDetails FROM focus",
    "SELECT nothing FROM focus",
    "EXPLAIN SELECT * FROM focus",
    "SELECT * FROM commitments",
    "SELECT log_offset FROM usage",
    "SELECT * FROM information_schema.tables ORDER BY table_name",
    "SELECT * FROM information_schema.columns ORDER BY table_name, ordinal_position",
    "SELECT * FROM information_schema.df_settings",
    "SELECT nothing FROM usage",
    "SELECT * FROM nothing",
    "SELECT sum(user_id) FROM usage",
    "SELECT input_tokens + 9223372036854775807 FROM usage",
    "SELECT CAST(cost_usd * 1000000000000 AS SMALLINT) FROM usage",
    "SELECT to_timestamp(user_id) FROM usage",
    "SELECT tag(user_id) FROM usage",
];

/// Statements that no caller may make.
pub(crate) const FORBIDDEN: &[&str] = &[
    "COPY usage TO 'x.parquet'",
    "COPY (SELECT 1) TO 'x.csv'",
    "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
    "CREATE TABLE t AS SELECT * FROM usage",
    "CREATE VIEW v AS SELECT * FROM usage",
    "DROP TABLE usage",
    "INSERT INTO usage SELECT * FROM usage",
    "DELETE FROM usage",
    "UPDATE usage SET tenant = 'acme'",
    "SET datafusion.execution.target_partitions = 64",
    "SET datafusion.runtime.memory_limit = '100G'",
    "SHOW ALL",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "EXPLAIN ANALYZE SELECT * FROM usage",
    "EXPLAIN VERBOSE SELECT * FROM usage",
    "EXPLAIN FORMAT TREE SELECT * FROM usage",
    "SELECT 1; SELECT 2",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM \"/etc/passwd\"",
    "SELECT * FROM 'lake://tables/usage'",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM range(1, 10)",
    "SELECT input_file_name() FROM usage",
    "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT * FROM t",
    "BEGIN",
];

/// Statements that would take much more than they may.
const BOMBS: &[&str] = &[
    "SELECT repeat('x', 4000000000)",
    "SELECT length(repeat('x', 4000000000))",
    "SELECT repeat(repeat(repeat('x', 1000), 1000), 1000)",
    "SELECT repeat(user_id, 1000000000) FROM usage",
    "SELECT lpad('x', 2000000000), rpad('x', 2000000000)",
    "SELECT lpad(user_id, 2000000000) FROM usage",
    "SELECT replace(repeat('x', 1000), 'x', repeat('y', 1000))",
    "SELECT range(0, 1000000000000)",
    "SELECT generate_series(0, 1000000000000)",
    "SELECT array_repeat(1, 1000000000000)",
    "SELECT array_resize(make_array(1), 1000000000000, 1)",
    "SELECT unnest(range(0, 1000000000000))",
    "SELECT [1, 2, 3]",
    "SELECT regexp_replace(user_id, '((a{100}){100}){100}', 'x') FROM usage",
    "SELECT regexp_like(user_id, '((a{100}){100}){100}') FROM usage",
    "SELECT regexp_count(user_id, '((a{100}){100}){100}') FROM usage",
    "SELECT count(*) FROM usage WHERE user_id ~ '((a{100}){100}){100}'",
    "SELECT user_id SIMILAR TO 'a%' FROM usage",
    "SELECT approx_percentile_cont(0.5, 1000000000000000) WITHIN GROUP (ORDER BY output_tokens) FROM usage",
    "SELECT approx_percentile_cont_with_weight(output_tokens, 0.5, 1000000000) WITHIN GROUP (ORDER BY input_tokens) FROM usage",
    "SELECT CAST(NULL AS BIGINT[2147483647]) AS a FROM usage",
    "SELECT TRY_CAST(NULL AS BIGINT[]) AS a FROM usage",
    "SELECT to_char(p1.valid_from, repeat('%+', 500)) FROM prices p1, prices p2",
    "SELECT string_agg(repeat('x', 4000000000), '') FROM usage",
    "SELECT string_agg(repeat('x', 1000), '') FROM generate_series(1, 1000000000) n",
];

pub(crate) fn own() -> Vec<schemas::ledger::Entry> {
    vec![
        world::book(0),
        world::limits(0, &["acme"]),
        charged("acme", 1, "12", Some(100), 1_500_000),
        charged("acme", 5, "34", Some(200), 2_000_000),
        charged("acme", 9, "bob", Some(300), 3_000_000),
        world::refused("acme", 11, 2),
        shared(99),
        world::heard(8_000),
        world::balance("acme", 12, 5_000_000),
        world::alerted("acme", 12, 80),
    ]
}

/// A call of acme that a limit refused of which others use `settled` less 99.
fn shared(settled: i128) -> schemas::ledger::Entry {
    let mut entry = world::refused("acme", 13, 1);
    if let schemas::ledger::Fact::Refused(refused) = &mut entry.fact {
        (refused.limit, refused.settled, refused.held) = ("all-tenants".into(), settled, settled);
    }
    entry
}

pub(crate) fn mixed() -> Vec<schemas::ledger::Entry> {
    let mut entries = vec![world::book(0), world::limits(0, &["acme", "globex"])];
    for (number, entry) in (0_u32..).zip(own().into_iter().skip(2)) {
        // Of others more is settled, and a call is open.
        let entry = match entry.fact {
            schemas::ledger::Fact::Heard(_) => world::busy(8_000, 7_000),
            schemas::ledger::Fact::Refused(refused) if refused.limit == "all-tenants" => shared(777_777),
            _ => entry,
        };
        entries.push(charged("aaaa", 100 + number, "bob.secret@aaaa.com", Some(500), 123_456_789));
        entries.push(entry);
        entries.push(charged("globex", 120 + number, "eve.secret@globex.com", Some(400), 987_654_321));
        entries.push(world::refused("globex", 140 + number, 77));
        entries.push(world::balance("globex", 150 + number, 77_000));
        entries.push(world::alerted("globex", 150 + number, 77));
    }
    entries
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_and_errors_are_the_same_whether_or_not_others_exist() {
    let (own, mixed) = (own(), mixed());
    for shelve in [false, true] {
        let alone = World::new(&own, if shelve { own.len() - 1 } else { 0 }).await;
        let among = World::new(&mixed, if shelve { mixed.len() - 3 } else { 0 }).await;
        for sql in NOSY {
            let acme = only(&["acme"]);
            let (alone, among) = (nosy(&alone, &acme, sql).await, nosy(&among, &acme, sql).await);
            assert_eq!(alone, among, "{sql}, shelved {shelve}");
            let text = format!("{among:?}");
            for secret in ["secret", "aaaa", "777777", "987654321", "000987", "123456789", "0.000000077"] {
                assert!(!text.contains(secret), "{sql} shows {secret}: {text}");
            }
            assert!(!text.contains("TG6005") && !text.contains("TG6011"), "{sql} fails inside: {text}");
        }
    }
}

/// A whole answer.
async fn nosy(world: &World, caller: &world::Caller, sql: &str) -> Result<serde_json::Value, String> {
    world.answer(caller, sql).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_queries_is_allowed() {
    let world = World::new(&mixed(), 4).await;
    for caller in [only(&["acme"]), world::everyone()] {
        for sql in FORBIDDEN {
            let error = world.ask(&caller, sql).await.expect_err(sql);
            assert!(error.starts_with("TG6001") || error.starts_with("TG6002"), "{sql}: {error}");
            assert!(!error.contains("root:"), "{sql}: {error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_statement_takes_more_than_it_may() {
    let world = World::new(&mixed(), 4).await;
    for sql in BOMBS {
        let error = world.ask(&world::everyone(), sql).await.expect_err(sql);
        assert!(["TG6001", "TG6002", "TG6004"].iter().any(|code| error.starts_with(code)), "{sql}: {error}");
    }
    let mut doubling = String::from("WITH t0 AS (SELECT user_id AS x FROM usage)");
    for level in 1..40 {
        doubling.push_str(&format!(", t{level} AS (SELECT x || x AS x FROM t{})", level - 1));
    }
    let error = world.ask(&world::everyone(), &format!("{doubling} SELECT length(x) FROM t39")).await.unwrap_err();
    assert!(error.starts_with("TG6001"), "{error}");
    let texts: Vec<_> = (0..65).map(|number| format!("concat(user_id, '{number}') AS c{number}")).collect();
    let error = world.ask(&world::everyone(), &format!("SELECT {} FROM usage", texts.join(","))).await.unwrap_err();
    assert!(error.starts_with("TG6001"), "{error}");
    let parts: Vec<_> = (1..200).map(|number| format!("ntile({number}) OVER () AS n{number}")).collect();
    let windows = format!("SELECT {} FROM prices p1, prices p2", parts.join(","));
    let error = world.ask(&world::everyone(), &windows).await.unwrap_err();
    assert!(error.starts_with("TG6004") || error.starts_with("TG6007"), "{error}");
    let window = "SELECT sum(p1.price_per_mtok_usd) OVER () AS s FROM prices p1, prices p2, prices p3";
    let error = world.ask(&world::everyone(), window).await.unwrap_err();
    assert!(error.starts_with("TG6004"), "{error}");
    let crossed = "SELECT a.user_id FROM prices p1, prices p2, prices p3, prices p4, usage a";
    let error = world.ask(&world::everyone(), crossed).await.unwrap_err();
    assert!(error.starts_with("TG6004"), "{error}");
    for copied in [
        "SELECT max(length(u.t)) FROM (SELECT repeat(user_id, 5000) AS t FROM usage) u, prices p1, prices p2",
        "SELECT count(*) FROM usage a JOIN (SELECT user_id, repeat(user_id, 5000) AS t FROM usage) u ON a.user_id = u.user_id \
         WHERE a.team || u.t <> ''",
        "SELECT (SELECT max(repeat(user_id, 500)) FROM usage) || price_id FROM prices",
        "SELECT first_value(repeat(price_id, 100)) OVER () FROM prices",
        "SELECT count(DISTINCT price_id || model) OVER (ORDER BY price_id) FROM prices",
    ] {
        let error = world.ask(&world::everyone(), copied).await.unwrap_err();
        assert!(error.starts_with("TG6001"), "{copied}: {error}");
    }
    let said = "SELECT count(f) FROM (SELECT first_value(t) OVER () AS f FROM (SELECT repeat(user_id, 10000) AS t FROM usage \
                UNION ALL SELECT p1.price_id FROM prices p1, prices p2))";
    let error = world.ask(&world::everyone(), said).await.unwrap_err();
    assert!(error.starts_with("TG6004"), "{error}");
    for long in [
        "SELECT p1.price_id FROM prices p1, prices p2, prices p3",
        "SELECT a FROM generate_series(1, 1000000000000000) a",
    ] {
        let error = world.ask(&world::everyone(), long).await.unwrap_err();
        assert!(error.starts_with("TG6007"), "{long}: {error}");
    }
}

#[test]
fn the_allow_list_names_only_what_exists() {
    let known: Vec<_> = super::super::functions::scalar().iter().map(|function| function.name().to_owned()).collect();
    for name in super::super::functions::names() {
        assert!(known.iter().any(|known| known == name), "{name} is no function of this engine");
    }
}
