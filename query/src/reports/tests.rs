//! Each report on a month whose answers are known by construction; every figure here was reckoned by hand from `month`.

use schemas::ledger::{Fact, Rated, Unpriced};
use serde_json::{Value, json};

use super::*;
use crate::sql::tests::world::{self, World, everyone, only};

mod billed;
mod days;
mod filled;
mod month;
mod paid;
mod passed;
mod priced;
mod spent;

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

/// Of a tenant all of whose use has no price, or has none any more, no report says that it cost nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_price_at_all_is_null_and_never_zero() {
    let mut entry = world::charged("dark", 1, "alice", Some(100), 5);
    let Fact::Charged(charged) = &mut entry.fact else { panic!("it is charged") };
    for charge in &mut charged.charges {
        charge.price = Rated::Unpriced(Unpriced::UnknownModel);
    }
    let dark = World::new(&[world::limits(0, &["dark"]), entry], 0).await;
    let reports = [
        ("spend", &["cost_usd"][..]),
        ("movers", &["cost_usd", "change_usd"]),
        ("pace", &["month_usd", "change_usd"]),
        ("variance", &["cost_usd", "change_usd", "price_usd", "mix_usd"]),
        ("as-of", &["now_usd"]),
        ("cash-and-accrual", &["used_usd", "billed_usd", "difference_usd"]),
        ("ownership", &["as_was_usd", "as_is_usd"]),
        ("untagged", &["cost_usd", "untagged_usd", "no_project_usd"]),
        ("showback", &["cost_usd"]),
        ("forecast", &["spent_usd", "daily_usd", "forecast_usd", "low_usd", "high_usd"]),
        ("discounts", &["list_usd", "cost_usd", "saved_usd", "unlisted_usd"]),
    ];
    for (world, unpriced) in [(dark, 100), (priced::taken_back().await, 3_000_000)] {
        for (name, costs) in reports {
            let set: &[(&str, &str)] = if name == "untagged" { &[("tag", "none")] } else { &[] };
            let columns = [costs, &["unpriced_quantity"]].concat();
            let wanted = format!("{}{unpriced}", "null ".repeat(costs.len()));
            assert_eq!(rows(&world, name, &november(), set, &columns).await, json!([wanted]), "{name}");
        }
    }
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
        let drawn = report.chart.iter().skip(1).flat_map(|names| names.split('|')).all(|name| {
            let name = name.trim_start_matches("all:");
            name == "by" || columns.contains(&name)
        });
        assert!(
            !report.chart.is_empty() && drawn && !report.about.is_empty() && !report.questions.is_empty(),
            "{}",
            report.name
        );
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
