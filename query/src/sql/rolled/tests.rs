//! That an answer is the same, byte for byte, whether it is made of rollups or of rows.

use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use proptest::{
    prelude::{Strategy, any},
    sample::{select, subsequence},
    test_runner::{Config, TestRunner},
};
use schemas::{
    event::{Outcome, Was, Why},
    ledger::{Charge, Corrected, Entry, Fact, Rated},
    money::Pico,
    tokens::TokenClass,
};
use tokio::runtime::Runtime;

use crate::{
    reports::{self, Period, Span},
    sql::{
        Head, Question,
        encode::{Encoder, Format},
        tests::world::{self, Caller, World, charged, everyone, only},
    },
};

/// Attempts every so many seconds, over forty hours.
const ATTEMPTS: u32 = 24_000;
const STEP: u32 = 6;

/// An attempt of `tenant`, one in some of which has no price, was never answered, is streamed and so on.
fn attempt(tenant: &str, number: u32) -> Entry {
    let missing = number.is_multiple_of(130);
    let user = ["alice", "bob", "carol", ""][number as usize % 4];
    let input = u64::from(number % 100);
    let mut entry = charged(tenant, number * STEP, user, (!missing).then_some(input), 1_500 * i128::from(input));
    let Fact::Charged(charged) = &mut entry.fact else { return entry };
    let attempt = &mut charged.settled.attempt;
    let subject = Arc::make_mut(&mut attempt.subject);
    subject.team = ["search", "growth", ""][number as usize / 700 % 3].into();
    subject.project = ["bot", ""][number as usize / 3 % 2].into();
    subject.key = ["ci", "prod"][number as usize / 900 % 2].into();
    subject.tags.push(("feature".into(), format!("f{}", number / 10 % 3)));
    // On some days no two have the same tags, so there are only rollups by one.
    if (number * STEP / 86_400).is_multiple_of(2) {
        subject.tags.push(("trace".into(), number.to_string()));
    }
    if number.is_multiple_of(17) {
        subject.tags.clear();
    }
    attempt.model = ["gpt-5-mini", "claude-x"][number as usize / 3 % 2].into();
    attempt.call = schemas::id::CallId::from_bytes(u128::from(number).to_be_bytes());
    charged.settled.ttft_ms = (!number.is_multiple_of(6)).then_some(u64::from(number % 700));
    charged.settled.outcome = if number.is_multiple_of(290) { Outcome::Timeout } else { Outcome::Complete };
    if number.is_multiple_of(2) && !missing {
        let price = match number.is_multiple_of(110) {
            true => Rated::Unpriced(schemas::ledger::Unpriced::UnknownModel),
            false => Rated::Priced {
                unit_price: Pico(9),
                cost: Pico(90),
                price_id: "output".into(),
                source: "builtin".into(),
            },
        };
        charged.charges.push(Charge { model: None, class: TokenClass::Output, quantity: 10, price });
    }
    // Some come hours late.
    if number.is_multiple_of(101) {
        entry.recorded_at = world::second(i64::from(number * STEP) + 40_000);
    }
    entry
}

/// The same, and what corrects it later.
fn entries(tenants: &[&str]) -> Vec<Entry> {
    let mut entries = vec![world::limits(0, &["acme", "globex"]), world::book(0)];
    for number in 0..ATTEMPTS {
        let tenant = ["acme", "globex", "acme", "initech", "globex"][number as usize % 5];
        if !tenants.contains(&tenant) {
            continue;
        }
        let entry = attempt(tenant, number);
        if number.is_multiple_of(97)
            && let Fact::Charged(was) = &entry.fact
        {
            let mut is = was.as_ref().clone();
            for charge in &mut is.charges {
                charge.quantity += 5;
            }
            let usage = was.settled.usage.clone();
            let so = Was {
                why: Why::Amended,
                usage,
                book: was.settled.attempt.book,
                number: 0,
                charged_at: schemas::time::Time::ZERO,
            };
            let id = number.to_string();
            let reversed = was.charges.clone();
            let corrected = Corrected { source: "bill".into(), id, was: so, reversed, charged: is };
            let recorded_at = world::second(i64::from(number * STEP) + 90_000);
            entries.push(Entry { recorded_at, fact: Fact::Corrected(Box::new(corrected)) });
        }
        entries.push(entry);
    }
    entries.push(world::heard(i64::from(ATTEMPTS * STEP)));
    entries
}

/// What worlds are made on that outlive the test that made them.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// The entries of all tenants, shelved in two commits and rolled up, and the same with an engine of its own. It is made once while anyone
/// has it, since that takes longer than most of what is asked of it.
fn shelved() -> (Arc<World>, World) {
    static MADE: Mutex<Weak<World>> = Mutex::new(Weak::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let world = made.upgrade().unwrap_or_else(|| {
        let make = || {
            let entries = entries(&["acme", "globex", "initech"]);
            RUNTIME.block_on(World::of(&entries, entries.len(), 2, false))
        };
        // On a thread that no runtime waits on.
        Arc::new(std::thread::scope(|threads| threads.spawn(make).join().unwrap()))
    });
    *made = Arc::downgrade(&world);
    let own = world.beside();
    (world, own)
}

/// An answer with all that is said of it.
async fn answer(world: &World, caller: &Caller, sql: &str, rollups: bool) -> Result<String, String> {
    let tenants = caller.tenants.clone();
    let writer = move |head: &Head| Encoder::new(Format::Json, head, &tenants);
    let asked = world.engine.ask(caller, Question::plain(sql).rollups(rollups), writer).await;
    let (_, mut rows) = asked.map_err(|error| error.to_string())?;
    let mut text = Vec::new();
    while let Some(piece) = rows.next().await.map_err(|error| error.to_string())? {
        text.extend_from_slice(&piece);
    }
    Ok(String::from_utf8(text).unwrap())
}

/// Whether a question is answered by rollups: then its columns have these names before they are finished.
async fn is_rolled(world: &World, caller: &Caller, sql: &str) -> bool {
    let plan = async |rollups| {
        let plan = answer(world, caller, &format!("EXPLAIN {sql}"), rollups).await.unwrap();
        plan.contains("group 0") || plan.contains("value 0")
    };
    // Neither of the two is run, so they need no memory of each other's.
    let (with, without) = tokio::join!(plan(true), plan(false));
    assert!(!without, "{sql}");
    with
}

async fn check_same(world: &World, caller: &Caller, sql: &str) {
    let (with, without) = (answer(world, caller, sql, true).await, answer(world, caller, sql, false).await);
    assert!(without.is_ok(), "{sql}: {without:?}");
    assert_eq!(with, without, "{sql}");
}

const TIMES: &[&str] = &[
    "date_trunc('hour', time)",
    "date_trunc('day', time)",
    "date_trunc('month', time)",
    "date_trunc('minute', time)",
    "date_trunc('day', time AT TIME ZONE 'Europe/Zurich')",
    "date_trunc('hour', time AT TIME ZONE 'Asia/Kolkata')",
    "date_trunc('week', time AT TIME ZONE 'Asia/Tokyo')",
    "date_part('hour', time)",
    "date_part('dow', time)",
    "date_part('hour', time)::int",
    "extract(hour FROM time)",
    "extract(isodow FROM time)::int",
    "CAST(time AS DATE)",
    "date_bin(INTERVAL '6 hours', time)",
    "time >= TIMESTAMP '2026-11-01T13:00:00Z'",
    "time > TIMESTAMP '2026-11-02T13:20:00Z'",
    "recorded_at < TIMESTAMP '2026-11-02T06:00:00Z'",
];

const DIMENSIONS: &[&str] = &[
    "tenant",
    "team",
    "project",
    "model",
    "provider",
    "user_id",
    "key_name",
    "tags",
    "tag('env')",
    "tag('feature')",
    "tag('trace') IS NULL",
    "tag('none')",
    "entry",
    "stream",
    "cost_usd IS NULL",
    "coalesce(team, 'none')",
    "upper(model)",
    "CASE WHEN model LIKE 'gpt%' THEN 'gpt' WHEN tenant = 'acme' THEN model ELSE team END",
];

const CONDITIONS: &[&str] = &[
    "time >= TIMESTAMP '2026-11-01T06:00:00Z'",
    "time < TIMESTAMP '2026-11-02T00:00:00Z'",
    "time <= TIMESTAMP '2026-11-02T17:59:59.999999Z'",
    "time > TIMESTAMP '2026-11-01T12:34:56Z'",
    "time BETWEEN TIMESTAMP '2026-11-01T00:00:00Z' AND TIMESTAMP '2026-11-02T11:00:00Z'",
    "time < now()",
    "recorded_at < TIMESTAMP '2200-01-01T00:00:00Z'",
    "recorded_at < TIMESTAMP '2026-11-02T18:00:00Z'",
    "tenant = 'acme'",
    "model IN ('gpt-5', 'claude-x')",
    "tag('env') = 'prod'",
    "user_id IS NOT NULL",
    "cost_usd IS NOT NULL",
    "cost_usd > 0",
    "team <> 'search' OR project IS NULL",
    "date_trunc('day', time) = TIMESTAMP '2026-11-02T00:00:00Z'",
];

const VALUES: &[&str] = &[
    "count(*)",
    "sum(requests)",
    "sum(cost_usd)",
    "count(cost_usd)",
    "sum(CASE WHEN cost_usd IS NULL THEN 1 ELSE 0 END)",
    "count(CASE WHEN cost_usd IS NULL THEN 1 END)",
    "coalesce(sum(cost_usd) FILTER (WHERE time < TIMESTAMP '2026-11-02T00:00:00Z'), 0)",
    "sum(CASE WHEN time >= TIMESTAMP '2026-11-01T20:00:00Z' THEN cost_usd END)",
    "sum(cost_usd) * 1.1",
    "sum(CAST(requests AS DECIMAL(38, 0))) FILTER (WHERE entry = 'original')",
    "count(DISTINCT team)",
    "count(DISTINCT user_id)",
    "min(model)",
    "max(time)",
    "avg(cost_usd)",
    "sum(CAST(cost_usd * 2 AS DECIMAL(20, 2)))",
];

const OF_CHARGES: &[&str] = &[
    "sum(quantity)",
    "sum(CASE WHEN cost_usd IS NULL THEN quantity END)",
    "sum(CASE WHEN token_class = 'output' THEN quantity ELSE 0 END)",
    "sum(list_cost_usd)",
    "max(price_per_mtok_usd)",
];

const OF_USAGE: &[&str] = &[
    "sum(input_tokens)",
    "count(input_tokens)",
    "sum(duration_ms)",
    "sum(ttft_ms)",
    "count(ttft_ms)",
    "sum(input_tokens + output_tokens)",
    "approx_percentile_cont(ttft_ms, 0.95)",
    "approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_ms)",
    "approx_percentile_cont(CAST(ttft_ms AS DOUBLE), 0.9) FILTER (WHERE outcome = 'complete')",
    "approx_percentile_cont(0.2) WITHIN GROUP (ORDER BY ttft_ms DESC)",
    "count(*) FILTER (WHERE outcome = 'complete' AND NOT cache_hit)",
];

const OF_CALLS: &[&str] = &["sum(duration_ms)", "count(DISTINCT outcome)", "sum(attempts)", "max(duration_ms)"];

/// Any question of groups, conditions and sums.
fn questions() -> impl Strategy<Value = String> {
    let tables = select(vec![("charges", OF_CHARGES), ("usage", OF_USAGE), ("calls", OF_CALLS)]);
    let parts = (
        tables,
        subsequence(TIMES, 0..=1),
        subsequence(DIMENSIONS, 0..=3),
        subsequence(CONDITIONS, 0..=2),
        subsequence(VALUES, 0..=2),
        any::<proptest::sample::Index>(),
    );
    parts.prop_map(|((table, own), times, dimensions, conditions, values, index)| {
        let groups: Vec<&str> = times.into_iter().chain(dimensions).collect();
        let values: Vec<&str> = values.into_iter().chain([*index.get(own)]).collect();
        let named = groups.iter().chain(&values).enumerate().map(|(number, of)| format!("{of} AS c{number}"));
        let mut sql = format!("SELECT {} FROM {table}", named.collect::<Vec<_>>().join(", "));
        if !conditions.is_empty() {
            sql.push_str(&format!(" WHERE ({})", conditions.join(") AND (")));
        }
        if !groups.is_empty() {
            let places = (1..=groups.len()).map(|place| place.to_string()).collect::<Vec<_>>().join(", ");
            sql.push_str(&format!(" GROUP BY {} ORDER BY {places}", groups.join(", ")));
        }
        sql
    })
}

#[test]
fn any_answer_is_the_same_by_rollups_and_by_rows() {
    let entries = entries(&["acme", "globex", "initech"]);
    // Some of them are not shelved; and most were, and compacted, since files of so few rows have no rollups.
    let make = || RUNTIME.block_on(World::of(&entries, entries.len() - 2_000, 40, true));
    let ((_made, whole), compacted) = std::thread::scope(|threads| {
        let compacted = threads.spawn(make);
        (shelved(), compacted.join().unwrap())
    });
    let (rolled, asked) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    let mut runner = TestRunner::new(Config { cases: 100, failure_persistence: None, ..Config::default() });
    let strategy = (questions(), select(vec![everyone(), only(&["acme", "initech"])]));
    runner
        .run(&strategy, |(sql, caller)| {
            let check = async |world: &World| {
                check_same(world, &caller, &sql).await;
                is_rolled(world, &caller, &sql).await
            };
            // Each has an engine, whose queries have threads of their own.
            let both = RUNTIME.block_on(async { tokio::join!(check(&whole), check(&compacted)) });
            asked.set(asked.get() + 2);
            rolled.set(rolled.get() + u32::from(both.0) + u32::from(both.1));
            Ok(())
        })
        .unwrap();
    assert!(rolled.get() * 8 > asked.get(), "{} of {} questions were answered by rollups", rolled.get(), asked.get());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_rollup_knows_is_answered_by_it_and_nothing_else() {
    let (_made, world) = shelved();
    let check = async |sql: &str, wanted: bool| {
        for caller in [everyone(), only(&["acme"])] {
            assert_eq!(is_rolled(&world, &caller, sql).await, wanted, "{sql} for {caller:?}");
            let rows = async |rollups| {
                let text = answer(&world, &caller, sql, rollups).await;
                let text = text.unwrap_or_else(|error| panic!("{sql} with rollups {rollups}: {error}"));
                let rows = serde_json::from_str::<serde_json::Value>(&text).unwrap()["rows"].take();
                let mut rows: Vec<String> = rows.as_array().unwrap().iter().map(ToString::to_string).collect();
                rows.sort();
                rows
            };
            assert_eq!(rows(true).await, rows(false).await, "{sql} for {caller:?}");
        }
    };
    check("SELECT tenant, sum(cost_usd) FROM charges GROUP BY tenant", true).await;
    check("SELECT date_trunc('hour', time), count(*) FROM usage GROUP BY 1", true).await;
    check("SELECT extract(hour FROM time) AS h, count(*) FROM usage GROUP BY 1", true).await;
    check("SELECT date_part('hour', time)::int AS h, count(*) FROM usage GROUP BY 1", true).await;
    check(
        "SELECT extract(dow FROM time)::int AS d, sum(cost_usd) FROM charges WHERE date_part('hour', time) IN (6, 7) GROUP BY 1",
        true,
    )
    .await;
    check("SELECT extract(hour FROM time) / 4 AS h, count(*) FROM usage GROUP BY 1", false).await;
    check("SELECT user_id, sum(quantity) FROM charges WHERE time >= '2026-11-02' GROUP BY 1", true).await;
    check("SELECT tag('env') AS env, sum(cost_usd) FROM charges GROUP BY 1", true).await;
    check("SELECT u.model AS m, sum(n) FROM (SELECT model, requests AS n FROM usage) u GROUP BY 1", true).await;
    check("SELECT count(*) AS n FROM calls WHERE outcome = 'complete'", true).await;
    check("SELECT DISTINCT tenant FROM usage", true).await;
    check("SELECT tenant, sum(cost_usd) AS c, sum(unpriced_quantity) AS u FROM daily_spend GROUP BY tenant", true)
        .await;
    check("SELECT day, sum(quantity) FROM daily_spend WHERE model = 'claude-x' GROUP BY day", true).await;
    check("SELECT sum(cost_usd) AS c, min(model) AS m FROM daily_spend", true).await;
    check("SELECT sum(unpriced_quantity) AS c FROM daily_spend", false).await;
    check("SELECT tenant, count(*), sum(cost_usd) FROM daily_spend GROUP BY tenant", false).await;
    check("SELECT tenant, sum(cost_usd) FROM daily_spend WHERE quantity > 40 GROUP BY tenant", false).await;
    check("SELECT tenant, max(cost_usd) FROM daily_spend GROUP BY tenant", false).await;
    check("SELECT model, approx_percentile_cont(ttft_ms, 0.95) FROM usage GROUP BY model", true).await;
    check("SELECT key_name, approx_percentile_cont(ttft_ms, 0.95) FROM usage GROUP BY 1", false).await;
    check("SELECT tenant, rank() OVER (ORDER BY sum(cost_usd)) FROM charges GROUP BY tenant", true).await;
    check("SELECT count(*) AS n FROM usage WHERE tenant IN (SELECT tenant FROM charges WHERE quantity > 98)", false)
        .await;
    check("SELECT sum(cost_usd * 2) AS n FROM charges", false).await;
    check("SELECT tenant, max(cost_usd) FROM charges GROUP BY tenant", false).await;
    check("SELECT user_id, team, count(*) FROM usage GROUP BY 1, 2", false).await;
    check("SELECT call_id, sum(cost_usd) FROM charges GROUP BY 1", false).await;
    check("SELECT model, count(*) FROM usage WHERE CAST(project AS BIGINT) IS NULL GROUP BY 1 LIMIT 0", false).await;
}

/// Groups come in one order, and the same failure first, whether or not the rows of others make a rollup worth keeping.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_whether_others_have_a_rollup() {
    let alone = entries(&["acme"]);
    let alone = World::of(&alone, alone.len(), 20, false).await;
    let (_made, among) = shelved();
    let caller = only(&["acme"]);
    for sql in [
        "SELECT team, model, sum(cost_usd) AS c FROM charges GROUP BY team, model",
        "SELECT date_trunc('hour', time) AS h, user_id, count(*) AS n FROM usage GROUP BY 1, 2 LIMIT 7",
        "SELECT cost_usd IS NULL AS u, recorded_at < TIMESTAMP '2026-11-02T06:00:00Z' AS r, count(*) AS n FROM usage GROUP BY 1, 2",
        "SELECT DISTINCT tag('feature') AS f FROM charges",
        "SELECT tag('feature') AS f, tenant, count(*) AS n FROM usage GROUP BY 1, 2",
        "SELECT tag('feature') AS f, tag('env') AS e, sum(cost_usd) AS c FROM charges GROUP BY 1, 2",
        "SELECT CAST(model AS BIGINT) AS m FROM (SELECT model, count(*) FROM usage GROUP BY model)",
        "SELECT 1 / (sum(requests) - 1) AS m FROM charges GROUP BY date_trunc('hour', time)",
        "EXPLAIN SELECT tenant, sum(cost_usd) FROM charges GROUP BY tenant",
    ] {
        let rows = |answer: Result<String, String>| {
            answer.map(|text| serde_json::from_str::<serde_json::Value>(&text).unwrap()["rows"].take())
        };
        let (alone, among) = tokio::join!(answer(&alone, &caller, sql, true), answer(&among, &caller, sql, true));
        assert_eq!(rows(alone), rows(among), "{sql}");
    }
}

/// Without a word of theirs: what reports ask of `charges` is what rollups keep.
#[tokio::test(flavor = "multi_thread")]
async fn reports_are_answered_by_rollups() {
    let (_made, world) = shelved();
    let span = Span { from: Some("2026-11-01".into()), ..Span::default() };
    let period = Period::new(&span, world::second(20 * 86_400)).unwrap();
    let filled = |name: &str, set: &[(&str, &str)]| {
        let set: Vec<_> = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        reports::fill(reports::by_name(name).unwrap(), &period, &set).unwrap()
    };
    for caller in [everyone(), only(&["acme", "globex"])] {
        for name in ["spend", "movers", "pace", "effective-prices", "variance", "anomalies", "forecast", "showback"] {
            assert!(is_rolled(&world, &caller, &filled(name, &[])).await, "{name} for {caller:?}");
        }
        for (by, grain) in [("tenant,model", "day"), ("project", "hour"), ("user_id", "total"), ("tag:feature", "week")]
        {
            let spend = filled("spend", &[("by", by), ("grain", grain)]);
            assert!(is_rolled(&world, &caller, &spend).await, "{by} for {caller:?}");
            check_same(&world, &caller, &spend).await;
        }
        check_same(&world, &caller, &filled("movers", &[("by", "team,model")])).await;
    }
}
