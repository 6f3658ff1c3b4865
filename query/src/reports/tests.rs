//! Each report on a month whose answers are known by construction; every figure here was reckoned by hand from `month`.

use schemas::ledger::{Fact, Rated, Unpriced};
use serde_json::{Value, json};

use super::*;
use crate::sql::tests::world::{self, World, everyone, only};

mod days;
mod month;
mod paid;
mod passed;
mod priced;

/// The rows of a report, asked on the eleventh of November, with the columns that are named.
async fn rows(world: &World, name: &str, span: &Span, set: &[(&str, &str)], columns: &[&str]) -> Value {
    let period = Period::new(span, month::at(11, 0)).unwrap();
    let set: Vec<_> = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let sql = fill(by_name(name).unwrap(), &period, &set).unwrap();
    let rows = world.ask(&everyone(), &sql).await.unwrap_or_else(|error| panic!("{name}: {error}\n{sql}"));
    let row = |row: &Value| columns.iter().map(|column| shown(&row[*column])).collect::<Vec<_>>().join(" ");
    rows.as_array().unwrap().iter().map(row).collect()
}

/// A value without the zeros at its end; statistics to six places.
fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => format!("{:.6}", number.as_f64().unwrap()),
        other => other.to_string(),
    };
    let number = text.contains('.') && text.bytes().all(|byte| byte.is_ascii_digit() || b".-".contains(&byte));
    if number { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// All of November, or a span.
fn november() -> Span {
    Span::default()
}

fn span(from: &str, to: &str) -> Span {
    Span { from: Some(from.into()), to: Some(to.into()), ..Span::default() }
}

/// A question and its answer: the report, its time, what is said to it, the columns, the rows.
type Case<'a> = (&'a str, Span, &'a [(&'a str, &'a str)], &'a [&'a str], &'a [&'a str]);

async fn check(cases: &[Case<'_>]) {
    let world = month::world().await;
    for (name, span, set, columns, wanted) in cases {
        assert_eq!(rows(&world, name, span, set, columns).await, json!(wanted), "{name} {set:?}");
    }
}

/// Of a tenant all of whose use has no price no report says that it cost nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_price_at_all_is_null_and_never_zero() {
    let mut entry = world::charged("dark", 1, "alice", Some(100), 5);
    let Fact::Charged(charged) = &mut entry.fact else { panic!("it is charged") };
    for charge in &mut charged.charges {
        charge.price = Rated::Unpriced(Unpriced::UnknownModel);
    }
    let world = World::new(&[world::limits(0, &["dark"]), entry], 0).await;
    for (name, costs) in [
        ("spend", &["cost_usd"][..]),
        ("movers", &["cost_usd", "change_usd"]),
        ("pace", &["month_usd", "change_usd"]),
        ("variance", &["cost_usd", "change_usd", "price_usd", "mix_usd"]),
        ("as-of", &["now_usd"]),
        ("cash-and-accrual", &["used_usd", "billed_usd", "difference_usd"]),
        ("ownership", &["as_was_usd", "as_is_usd"]),
        ("untagged", &["cost_usd", "untagged_usd", "no_project_usd"]),
        ("showback", &["cost_usd"]),
        ("forecast", &["spent_usd", "forecast_usd"]),
    ] {
        let set: &[(&str, &str)] = if name == "untagged" { &[("tag", "none")] } else { &[] };
        let columns = [costs, &["unpriced_quantity"]].concat();
        let wanted = format!("{}100", "null ".repeat(costs.len()));
        assert_eq!(rows(&world, name, &november(), set, &columns).await, json!([wanted]), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_spent_what() {
    let berlin = Span { zone: Some("Europe/Berlin".into()), ..Span::default() };
    let known = Span { as_of: Some("2026-11-02".into()), ..Span::default() };
    let (spent, by_day) = (
        ["tenant", "cost_usd", "share", "requests", "tokens", "unpriced_quantity"],
        ["period", "tenant", "cost_usd", "unpriced_quantity"],
    );
    check(&[
        // 0.00045 + 0.0025 + 0.0001 + 0.0002 + 0.0001, and 0.0015 + 0.002.
        (
            "spend",
            november(),
            &[("grain", "total")],
            &spent,
            &["initech 0.0035 0.510949 4 6000 0", "acme 0.00335 0.489051 6 5457 7"],
        ),
        // Half past eleven in the evening is the next day in Berlin.
        (
            "spend",
            berlin,
            &[],
            &by_day,
            &[
                "2026-11-01 acme 0.00045 0",
                "2026-11-02 acme 0.0025 7",
                "2026-11-03 acme 0.0004 0",
                "2026-11-06 initech 0.0015 0",
                "2026-11-07 initech 0.002 0",
            ],
        ),
        ("spend", known, &[("grain", "month")], &by_day, &["2026-11 acme 0.00295 0"]),
        (
            "spend",
            november(),
            &[("grain", "total"), ("by", "team,tag:env")],
            &["team", "tag:env", "cost_usd"],
            &["null prod 0.0035", "search null 0.0025", "search prod 0.00085"],
        ),
        (
            "sessions",
            november(),
            &[("top", "1")],
            &["tenant", "session_id", "calls", "cost_usd"],
            &["initech null 4 0.0035"],
        ),
        (
            "movers",
            november(),
            &[],
            &["tenant", "cost_usd", "before_usd", "change_usd"],
            &["initech 0.0035 0 0.0035", "acme 0.00335 0 0.00335", "globex 0 0.00175 -0.00175"],
        ),
        (
            "pace",
            november(),
            &[],
            &["tenant", "month_usd", "same_point_usd", "last_month_usd"],
            &["initech 0.0035 0 0", "acme 0.00335 0 0", "globex 0 0 0.00175"],
        ),
        (
            "untagged",
            november(),
            &[],
            &["tenant", "cost_usd", "untagged_usd", "no_team_usd", "no_user_usd"],
            &["acme 0.00335 0.0025 0 0", "initech 0.0035 0 0.0035 0"],
        ),
        (
            "ownership",
            november(),
            &[],
            &["tenant", "team", "as_was_usd", "as_is_usd", "unpriced_quantity"],
            &["acme growth 0 0.00335 0", "acme search 0.00335 0 7", "initech null 0.0035 0.0035 0"],
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_thing_costs() {
    check(&[
        (
            "effective-prices",
            november(),
            &[],
            &["model", "token_class", "quantity", "cost_usd", "usd_per_mtok", "unpriced_quantity"],
            &[
                "gpt-5 null 5100 0.005 0.980392 0",
                "gpt-5 cache_read 2000 0.00025 0.125 0",
                "gpt-5 input 3000 0.00375 1.25 0",
                "gpt-5 output 100 0.001 10 0",
                "gpt-5-mini null 6350 0.00185 0.291339 0",
                "gpt-5-mini input 6200 0.00155 0.25 0",
                "gpt-5-mini output 150 0.0003 2 0",
                "gpt-unheard null 0 null null 7",
                "gpt-unheard input 0 null null 7",
            ],
        ),
        (
            "unit-economics",
            november(),
            &[("metric", "tickets")],
            &[
                "tenant",
                "cost_usd",
                "unknown_attempts",
                "requests",
                "successes",
                "sessions",
                "metric_value",
                "usd_per_metric",
            ],
            &["acme 0.00335 2 6 5 1 5 0.00067", "globex null 1 1 0 0 null null", "initech 0.0035 0 4 4 0 null null"],
        ),
        (
            "tokens",
            november(),
            &[("grain", "month")],
            &["model", "attempts", "unknown_attempts", "input_by_output"],
            &["gpt-5 3 0 50", "gpt-5-mini 6 1 41.333333", "gpt-unheard 1 0 null"],
        ),
        (
            "discounts",
            november(),
            &[],
            &["model", "list_usd", "cost_usd", "saved_usd", "unpriced_quantity"],
            &["gpt-5 0.005 0.005 0 0", "gpt-5-mini 0.00185 0.00185 0 0", "gpt-unheard null null null 7"],
        ),
        (
            "frontier",
            november(),
            &[],
            &["model", "attempts", "ttft_p50_ms", "duration_p50_ms", "usd_per_mtok", "unknown_attempts"],
            &["gpt-5-mini 4 100 2000 0.297297 0", "gpt-5 3 100 2000 0.980392 0", "gpt-unheard 1 100 2000 null 1"],
        ),
        (
            "tiers",
            november(),
            &[],
            &["model", "cost_usd", "other_tier_usd", "available_usd", "unknown_quantity"],
            &["gpt-5 0.005 0.0025 0.0025 0", "gpt-5-mini 0.00185 0.000925 0.000925 0", "gpt-unheard null null null 7"],
        ),
        (
            "what-if",
            november(),
            &[("model", "gpt-5")],
            &["tenant", "quantity", "cost_usd", "other_usd", "change_usd", "unknown_quantity"],
            &["acme 3100 0.0025 0.0005 -0.002 0", "initech 2000 0.0025 0.0005 -0.002 0"],
        ),
        (
            "what-if",
            november(),
            &[("model", "gpt-unheard")],
            &["tenant", "cost_usd", "other_usd", "unknown_quantity"],
            &["acme null null 7"],
        ),
        (
            "variance",
            span("2026-11-07", "2026-11-08"),
            &[],
            &["tenant", "before_usd", "cost_usd", "change_usd", "price_usd", "volume_usd", "mix_usd"],
            &["initech 0.0015 0.002 0.0005 0 0.0015 -0.001"],
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_saved_and_what_was_wasted() {
    check(&[
        // 2,000 tokens at 1.25 less 0.125 a million.
        (
            "cache-savings",
            november(),
            &[],
            &["tenant", "model", "hit_share", "read_tokens", "saved_usd", "net_usd", "unknown_tokens"],
            &[
                "acme gpt-5 0.666667 2000 0.00225 0.00225 0",
                "acme gpt-5-mini 0 0 0 0 0",
                "acme gpt-unheard 0 0 0 0 0",
                "initech gpt-5 0 0 0 0 0",
                "initech gpt-5-mini 0 0 0 0 0",
            ],
        ),
        (
            "response-cache",
            november(),
            &[],
            &["tenant", "model", "hits", "asked", "avoided_usd", "unknown_hits"],
            &["acme gpt-5-mini 1 4 0.00045 0"],
        ),
        (
            "failures",
            november(),
            &[],
            &["tenant", "kind", "outcome", "attempts", "cost_usd", "unknown_attempts"],
            &[
                "acme answered complete 5 0.00315 1",
                "acme broken_off client_gone 1 0.0001 1",
                "acme retried provider_error 1 0.0001 0",
                "globex failed timeout 1 null 1",
                "initech answered complete 4 0.0035 0",
            ],
        ),
        (
            "refused",
            november(),
            &[],
            &["limit_name", "code", "refused", "would_be", "could_have_cost_usd", "unknown_calls"],
            &["acme-month TG2001 5 5 0.02 3"],
        ),
        (
            "reasoning",
            span("2026-11-01", "2026-11-02"),
            &[],
            &["model", "output_tokens", "reasoning_tokens", "share", "reasoning_usd", "unpriced_tokens"],
            &["gpt-5 100 40 0.4 0.0004 0", "gpt-5-mini 100 0 0 0 0"],
        ),
        (
            "commitments",
            november(),
            &[],
            &["commitment_id", "committed", "used", "unused", "utilisation", "paid_usd", "on_demand_usd", "saved_usd"],
            &["ptu 6200 3100 3100 0.5 1 0.0025 -0.9975"],
        ),
        // All that openai was used for since October: 0.00335 + 0.0035 + 0.00175.
        (
            "credits",
            november(),
            &[],
            &["commitment_id", "bought", "paid_usd", "drawn", "remaining", "unpriced_quantity"],
            &["credit-1 10 9 0.0086 9.9914 7"],
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn how_budgets_stand_and_what_is_to_come() {
    // The mean of the 28 days before the eleventh: 0.00335 / 28, and twenty days are left.
    let forecast = ["tenant", "spent_usd", "forecast_usd", "unpriced_quantity"];
    check(&[
        (
            "budgets",
            november(),
            &[],
            &["limit_name", "amount", "settled", "remaining", "used_share"],
            &["acme-month 100 60 40 0.6"],
        ),
        (
            "overspend",
            span("2026-10-01", "2026-11-01"),
            &[],
            &["tenant", "limit_name", "mode", "amount", "settled", "over", "oldest_balance_ms"],
            &["globex globex-month hard 100 120 20 7"],
        ),
        (
            "forecast",
            november(),
            &[],
            &forecast,
            &["initech 0.0035 0.006 0", "acme 0.00335 0.005743 7", "globex 0 0.00125 0"],
        ),
        // Nothing was spent on it in the 28 days before.
        (
            "anomalies",
            span("2026-11-01", "2026-11-02"),
            &[],
            &["day", "tenant", "model", "cost_usd", "mean_usd", "score"],
            &["2026-11-01 acme gpt-5 0.0025 0 null", "2026-11-01 acme gpt-5-mini 0.00045 0 null"],
        ),
        // Against one day of 0.00125 in 28: a mean of 0.0000446, a deviation of 0.000232.
        (
            "anomalies",
            span("2026-11-07", "2026-11-08"),
            &[("by", "tenant,model"), ("least", "5")],
            &["tenant", "model", "cost_usd", "score"],
            &["initech gpt-5-mini 0.00075 15.973357", "initech gpt-5 0.00125 5.196152"],
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_billed_and_what_became_known_later() {
    check(&[
        // Billed in November: acme 0.00335, initech 0.0035, and the correction of globex 0.00025; in all 0.0071.
        (
            "showback",
            november(),
            &[],
            &["tenant", "item", "method", "cost_usd", "unpriced_quantity"],
            &[
                "acme gateway even 1 0",
                "acme license fixed 2.5 0",
                "acme own use none 0.00335 7",
                "acme support proportional 0.293641975309 0",
                "globex gateway even 1 0",
                "globex own use none 0.00125 0",
                "globex support proportional 0.109567901234 0",
                "initech gateway even 1 0",
                "initech own use none 0.0035 0",
                "initech support proportional 0.306790123457 0",
                "null license not split 7.5 0",
            ],
        ),
        // Alice used 0.00085 of the 0.00335 of acme.
        (
            "showback",
            november(),
            &[("by", "tenant,user_id")],
            &["tenant", "user_id", "item", "cost_usd"],
            &[
                "acme alice gateway 0.253731343284",
                "acme alice license 0.634328358209",
                "acme alice own use 0.00085",
                "acme alice support 0.07450617284",
                "acme bob gateway 0.746268656716",
                "acme bob license 1.865671641791",
                "acme bob own use 0.0025",
                "acme bob support 0.219135802469",
                "globex carol gateway 1",
                "globex carol own use 0.00125",
                "globex carol support 0.109567901234",
                "initech carol gateway 1",
                "initech carol own use 0.0035",
                "initech carol support 0.306790123457",
                "null null license 7.5",
            ],
        ),
        // Nobody used anything in September, and three is not lost.
        (
            "showback",
            Span { from: Some("2026-09-01".into()), ..Span::default() },
            &[],
            &["tenant", "item", "method", "cost_usd"],
            &["null gateway not split 3"],
        ),
        (
            "corrections",
            november(),
            &[],
            &[
                "billing_period",
                "charge_month",
                "tenant",
                "attempts",
                "taken_back_usd",
                "charged_anew_usd",
                "change_usd",
                "of_closed_month",
            ],
            &["2026-11 2026-10 globex 1 -0.0005 0.00075 0.00025 true"],
        ),
        (
            "cash-and-accrual",
            span("2026-10-01", "2026-12-01"),
            &[],
            &["month", "tenant", "used_usd", "billed_usd", "difference_usd"],
            &[
                "2026-10 globex 0.00175 0.0005 -0.00125",
                "2026-11 acme 0.00335 0.00335 0",
                "2026-11 globex 0 0.00125 0.00125",
                "2026-11 initech 0.0035 0.0035 0",
            ],
        ),
        (
            "completeness",
            span("2026-10-20", "2026-11-04"),
            &[],
            &["day", "tenant", "attempts", "is_complete", "late_day", "after_close", "unknown_attempts"],
            &[
                "2026-10-20 globex 1 true 1 1 0",
                "2026-11-01 acme 2 true 0 0 0",
                "2026-11-02 acme 1 true 0 0 1",
                "2026-11-03 acme 3 true 0 0 1",
                "2026-11-03 globex 1 true 0 0 1",
            ],
        ),
        (
            "policy-changes",
            november(),
            &[],
            &["changed_by", "kind", "tenant", "before_usd", "after_usd"],
            &["ops limit.update acme 0.00335 0"],
        ),
        (
            "as-of",
            Span { as_of: Some("2026-11-04".into()), ..span("2026-10-01", "2026-11-01") },
            &[],
            &["month", "tenant", "then_usd", "now_usd", "change_usd"],
            &["2026-10 globex 0.0005 0.00175 0.00125"],
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_is_exhausted_when_its_pace_says() {
    let world = month::world().await;
    // Ten days of thirty are over, 60 of 100 used: nothing is left after 16 days and two thirds.
    let sql = "SELECT elapsed_share, projected, CAST(to_unixtime(exhausted_at) - to_unixtime(window_start) AS DOUBLE) / 86400 AS days FROM budgets";
    let row = world.ask(&everyone(), sql).await.unwrap()[0].clone();
    let near = |name: &str, wanted: f64| assert!((row[name].as_f64().unwrap() - wanted).abs() < 0.01, "{name}: {row}");
    near("elapsed_share", 1.0 / 3.0);
    near("projected", 180.0);
    near("days", 10.0 * 100.0 / 60.0);
}

/// What a head says of its columns and parameters is what the query has.
#[tokio::test(flavor = "multi_thread")]
async fn every_view_and_report_is_what_its_head_says() {
    let world = month::world().await;
    for view in crate::sql::views::ALL.iter().map(|view| &view.described) {
        let answer = world.answer(&everyone(), &format!("SELECT * FROM {} LIMIT 1", view.name)).await.unwrap();
        let names: Vec<_> =
            answer["columns"].as_array().unwrap().iter().map(|column| column["name"].as_str().unwrap()).collect();
        assert_eq!(names, view.columns.iter().map(|column| column.name).collect::<Vec<_>>(), "{}", view.name);
        assert!(!view.about.is_empty() && !view.questions.is_empty(), "{}", view.name);
    }
    let mut answered: Vec<u8> = Vec::new();
    for report in ALL.iter() {
        let period = Period::new(&november(), month::at(11, 0)).unwrap();
        let answer = world.answer(&everyone(), &fill(report, &period, &[]).unwrap()).await.unwrap();
        let columns: Vec<_> =
            answer["columns"].as_array().unwrap().iter().map(|column| column["name"].as_str().unwrap()).collect();
        let by =
            report.parameters.iter().find(|parameter| parameter.name == "by").map_or("", |parameter| parameter.default);
        let expand = |name: &'static str| if name == "by" { by.split(',').collect() } else { vec![name] };
        assert_eq!(
            columns,
            report.columns.iter().flat_map(|column| expand(column.name)).collect::<Vec<_>>(),
            "{}",
            report.name
        );
        let drawn = report.chart.iter().skip(1).all(|name| {
            let name = name.trim_start_matches("all:");
            name == "by" || columns.contains(&name)
        });
        assert!(drawn && !report.about.is_empty() && !report.questions.is_empty(), "{}", report.name);
        answered.extend(&report.questions);
    }
    // The twenty-fifth is `tollgate reconcile`.
    let missing: Vec<u8> = (1..=32).filter(|question| !answered.contains(question) && *question != 25).collect();
    assert_eq!(missing, [0; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_shows_no_more_than_its_caller_may_see() {
    let world = month::world().await;
    let period = Period::new(&november(), month::at(11, 0)).unwrap();
    for report in ALL.iter() {
        let sql = fill(report, &period, &[]).unwrap();
        let rows = world.ask(&only(&["acme"]), &sql).await.unwrap().to_string();
        assert!(!rows.contains("globex") && !rows.contains("initech"), "{}: {rows}", report.name);
    }
    // A tenant's part of what is shared is the same whoever asks.
    let statement = fill(by_name("showback").unwrap(), &period, &[]).unwrap();
    let all = world.ask(&everyone(), &statement).await.unwrap();
    let of_acme: Vec<_> = all.as_array().unwrap().iter().filter(|row| row["tenant"] == "acme").cloned().collect();
    assert_eq!(world.ask(&only(&["acme"]), &statement).await, Ok(Value::from(of_acme)));
    // Shared costs and commitments are nobody's: who may read one tenant does not know of them.
    let count = world.ask(&only(&["acme"]), "SELECT count(*) AS n FROM commitments").await;
    assert_eq!(count, Ok(json!([{"n": 0}])));
    let fixed = world.ask(&only(&["acme"]), "SELECT name FROM shared_costs").await;
    assert_eq!(fixed, Ok(json!([{"name": "license"}])));
}

#[test]
fn what_is_said_to_a_report_is_a_constant_or_refused() {
    let period = Period::new(&november(), month::at(11, 0)).unwrap();
    let fill = |name: &str, set: &[(&str, &str)]| {
        let set: Vec<_> = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        super::fill(by_name(name).unwrap(), &period, &set)
    };
    let evil = "x') FROM usage --";
    assert!(fill("untagged", &[("tag", evil)]).unwrap().contains("tag(tags, 'x'') FROM usage --')"));
    assert!(fill("spend", &[("by", "tag:a\"b'c")]).unwrap().contains(r#"tag(tags, 'a"b''c') AS "tag:a""b'c""#));
    for (name, set, why) in [
        ("spend", ("by", "password"), "there is no dimension"),
        ("spend", ("grain", "minute"), "there is no grain"),
        ("sessions", ("top", "1; x"), "a whole number"),
        ("movers", ("top", "2.5"), "a whole number"),
        ("anomalies", ("least", "1; x"), "a plain number"),
        ("spend", ("by", "tenant,model,tenant"), "said twice"),
        ("budgets", ("by", "tenant"), "takes no \"by\"; it takes nothing"),
    ] {
        assert!(fill(name, &[set]).unwrap_err().contains(why), "{name}");
    }
    for (from, to, zone) in [
        ("2026-11-02", "2026-11-01", "UTC"),
        ("yesterday", "2026-11-01", "UTC"),
        ("2026-11-01", "2026-11-02", "Mars/Olympus"),
    ] {
        let span = Span { zone: Some(zone.into()), ..span(from, to) };
        assert!(Period::new(&span, month::at(11, 0)).is_err(), "{span:?}");
    }
}

#[test]
fn a_time_that_a_report_would_leave_out_of_account_is_refused() {
    let check = |name: &str, span: Span, why: &str| {
        let filled = fill(by_name(name).unwrap(), &Period::new(&span, month::at(11, 0)).unwrap(), &[]);
        assert!(filled.as_ref().is_err_and(|said| said.contains(why)), "{name}: {filled:?}");
    };
    check("budgets", span("2026-11-01", "2026-11-02"), "takes no --from");
    check("pace", Span { to: Some("2026-11-20".into()), ..november() }, "takes no --to");
    check("forecast", Span { to: Some("2026-11-20".into()), ..november() }, "takes no --to");
    check("ownership", Span { as_of: Some("2026-11-02".into()), ..november() }, "takes no --as-of");
    check("refused", Span { zone: Some("America/New_York".into()), ..november() }, "whole days in UTC");
    check("cash-and-accrual", span("2026-11-01T12:00:00Z", "2026-11-02"), "whole days in UTC");
}

#[test]
fn days_are_those_of_the_zone() {
    let berlin = Span { zone: Some("Europe/Berlin".into()), ..span("2026-10-25", "2026-10-26") };
    let [from, to] = Period::new(&berlin, month::at(11, 0)).unwrap().bounds();
    // The clock goes back that night: the day has 25 hours.
    assert_eq!(to.since(from), std::time::Duration::from_secs(25 * 3_600));
    assert_eq!(from.to_string(), "2026-10-24T22:00:00.000000Z");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_month_of_focus_never_changes_and_the_next_one_has_what_came_later() {
    let entries = month::entries();
    let then: Vec<_> = entries.iter().filter(|entry| entry.recorded_at < month::at(4, 0)).cloned().collect();
    let (then, now) = (World::new(&then, 3).await, month::world().await);
    let october = crate::focus::Month::parse("2026-10").unwrap();
    let rows = then.ask(&everyone(), &october.sql()).await.unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 1);
    assert_eq!(now.ask(&everyone(), &october.sql()).await.unwrap(), rows);
    let row = &rows[0];
    assert_eq!(
        (
            &row["BilledCost"],
            &row["PricingQuantity"],
            &row["ListUnitPrice"],
            &row["ConsumedQuantity"],
            &row["ChargeClass"]
        ),
        (
            &json!("0.000500000000"),
            &json!("0.002000000000"),
            &json!("0.250000000000"),
            &json!("2000.000000000000"),
            &json!(null)
        )
    );
    let details: Value = serde_json::from_str(row["SkuPriceDetails"].as_str().unwrap()).unwrap();
    assert_eq!(
        details,
        json!({"x_ModelId": "gpt-5-mini", "x_TokenDirection": "Input", "x_TokenCacheAction": "Uncached"})
    );

    // Ledger rows: the correction takes back and charges anew, and a call of October came after the month was closed.
    let later = "SELECT x_Entry AS entry, billedcost AS usd, consumedquantity AS q, to_char(ChargePeriodStart, '%m-%d') AS day FROM focus \
        WHERE BillingPeriodStart = TIMESTAMP '2026-11-01T00:00:00Z' AND CHARGECLASS = 'Correction' ORDER BY entry";
    let later = now.ask(&everyone(), later).await.unwrap();
    let told: Vec<String> = later
        .as_array()
        .unwrap()
        .iter()
        .map(|row| ["entry", "usd", "q", "day"].map(|name| shown(&row[name])).join(" "))
        .collect();
    assert_eq!(told, ["correction 0.00075 3000 10-15", "original 0.001 4000 10-20", "reversal -0.0005 -2000 10-15"]);
    let whole = now
        .ask(&everyone(), "SELECT (SELECT sum(BilledCost) FROM focus) - (SELECT sum(cost_usd) FROM charges) AS apart")
        .await
        .unwrap();
    assert_eq!(shown(&whole[0]["apart"]), "0");
    // The table and the view go by one rule.
    let by_view = "SELECT to_char(BillingPeriodStart, '%Y-%m') AS month, SubAccountId AS tenant, sum(BilledCost) AS usd FROM focus GROUP BY 1, 2";
    let by_table = "SELECT billing_period AS month, tenant, sum(cost_usd) AS usd FROM charges WHERE cost_usd IS NOT NULL GROUP BY 1, 2";
    let mut months = Vec::new();
    for sql in [by_view, by_table] {
        let rows = now.ask(&everyone(), &format!("SELECT * FROM ({sql}) ORDER BY month, tenant")).await.unwrap();
        let row = |row: &Value| ["month", "tenant", "usd"].map(|name| shown(&row[name])).join(" ");
        months.push(rows.as_array().unwrap().iter().map(row).collect::<Vec<_>>());
    }
    assert_eq!(months[0], months[1]);
}
