//! What is drawn of answers that are made up.

use serde_json::json;

use super::*;

fn report(name: &str) -> &'static Described {
    query::reports::by_name(name).unwrap()
}

fn answer(columns: &[&str], rows: &[Value]) -> Value {
    json!({"columns": columns.iter().map(|name| json!({"name": name})).collect::<Vec<_>>(), "rows": rows})
}

fn spent(rows: &[(&str, &str, Value)]) -> String {
    let row =
        |(period, tenant, usd): &(&str, &str, Value)| json!({"period": period, "tenant": tenant, "cost_usd": usd});
    let rows: Vec<Value> = rows.iter().map(row).collect();
    chart(report("spend"), &[], &answer(&["period", "tenant", "cost_usd"], &rows))
}

#[test]
fn what_is_null_is_not_drawn_and_every_name_is_escaped() {
    let svg = spent(&[
        ("2026-11-01", "<b>&\"", json!("1.5")),
        ("2026-11-02", "<b>&\"", json!(null)),
        ("2026-11-03", "x", json!("3")),
    ]);
    assert_eq!(svg.matches("<circle").count(), 2, "{svg}");
    assert!(svg.contains("&lt;b&gt;&amp;&quot;") && !svg.contains("<b>") && svg.ends_with("</svg>"), "{svg}");
    let rows = [("a", json!("-2")), ("b", json!("4")), ("c", json!(null))]
        .map(|(tenant, usd)| json!({"tenant": tenant, "change_usd": usd}));
    let bars = chart(report("movers"), &[], &answer(&["tenant", "change_usd"], &rows));
    assert_eq!(bars.matches("<rect").count(), 2, "{bars}");
    assert!(bars.contains("change_usd [USD]") && bars.contains(">not known<") && bars.contains(">-2</text>"), "{bars}");
}

#[test]
fn a_statistic_is_drawn_and_never_added_up() {
    let row = |provider: &str, class: Value, price: f64| json!({"period": "2026-11", "provider": provider, "model": "m", "token_class": class, "usd_per_mtok": price});
    let rows = [
        row("a", json!(null), 2.5),
        row("a", json!("input"), 1.0),
        row("a", json!("output"), 4.0),
        row("b", json!(null), 0.000_000_25),
    ];
    let svg = chart(report("effective-prices"), &[], &answer(&[], &rows));
    assert!(svg.contains(">a / m</text>") && svg.contains(">b / m</text>"), "{svg}");
    assert!(svg.contains(">3</text>") && !svg.contains(">4</text>"), "{svg}");
    assert_eq!(svg.matches("<circle").count(), 2, "{svg}");
    assert_eq!(rounded(0.000_000_25), "0.00000025");
}

#[test]
fn a_place_without_a_value_is_a_gap_and_less_than_none_is_below_it() {
    let a = |day: &'static str, usd: Value| (day, "a", usd);
    let svg = spent(&[
        a("2026-11-01", json!("1")),
        a("2026-11-02", json!("-3")),
        a("2026-11-03", json!(null)),
        ("2026-11-03", "b", json!("1")),
        a("2026-11-04", json!("1")),
        a("2026-11-09", json!("1")),
    ]);
    // The second is joined to the first; those after the gap to nothing, and days on which nobody used anything are a gap too.
    let line = svg.split("<path d=\"").find(|path| path.contains("stroke-width") && path.contains('L')).unwrap();
    let line = line.split('"').next().unwrap();
    assert_eq!((line.matches('M').count(), line.matches('L').count()), (3, 1), "{line}");
    assert!(
        svg.contains(">-3</text>") && svg.contains(">cost_usd [USD]</text>") && svg.contains(">period</text>"),
        "{svg}"
    );
    assert!(!svg.contains("NaN") && !spent(&[a("2026-11-01", json!("0"))]).contains("NaN"));
    // The hour that comes twice, in the order in which it does.
    let hours = ["2026-10-25T02:00+02:00", "2026-10-25T02:00+01:00", "2026-10-25T03:00+01:00"];
    let points: Vec<(&str, &str, Value)> = hours.iter().map(|hour| (*hour, "a", json!("1"))).collect();
    let svg = spent(&points);
    let at = hours.map(|hour| svg.find(hour).unwrap());
    assert!(at.is_sorted(), "{svg}");
}

#[test]
fn only_periods_that_follow_on_each_other_are_joined() {
    for (name, grain, places, joined) in [
        ("spend", None, ["2026-11-01", "2026-11-11", "2026-11-21"], 0),
        ("spend", Some("week"), ["2026-11-02", "2026-11-09", "2026-11-30"], 1),
        ("spend", Some("month"), ["2026-01", "2026-02", "2026-05"], 1),
        ("spend", Some("hour"), ["2026-10-25T02:00+02:00", "2026-10-25T02:00+01:00", "2026-10-25T05:00+01:00"], 1),
        ("cash-and-accrual", None, ["2026-01", "2026-04", "2026-07"], 0),
    ] {
        let row =
            |place: &str| json!({"period": place, "month": place, "tenant": "a", "cost_usd": "1", "billed_usd": "1"});
        let said: Vec<_> = grain.iter().map(|grain| ("grain".to_owned(), (*grain).to_owned())).collect();
        let svg = chart(report(name), &said, &answer(&["tenant"], &places.map(row)));
        let line = svg.split("<path d=\"").find(|path| path.contains("stroke-width")).unwrap();
        assert_eq!(line.split('"').next().unwrap().matches('L').count(), joined, "{name} {grain:?}: {svg}");
    }
}

#[test]
fn what_only_one_dimension_tells_apart_has_two_lines() {
    let row =
        |team: &str| json!({"period": "2026-11-01", "tenant": "a", "team": team, "project": "b", "cost_usd": "1"});
    let columns = ["period", "tenant", "team", "project", "cost_usd"];
    let svg = chart(report("spend"), &[], &answer(&columns, &["a", "b"].map(row)));
    assert!(svg.contains(">a / a / b</text>") && svg.contains(">a / b / b</text>"), "{svg}");
}

#[test]
fn what_is_too_much_is_one_of_others_where_it_adds_up() {
    let names: Vec<String> = (0..30).map(|at| format!("tenant {at}")).collect();
    let points: Vec<(&str, &str, Value)> = names.iter().map(|name| ("2026-11-01", name.as_str(), json!("2"))).collect();
    let svg = spent(&points);
    assert!(svg.contains(">22 others</text>") && svg.contains(">60</text>"), "{svg}");
    let row = |name: &String| json!({"limit_name": name, "instance": name, "used_share": 0.5});
    let rows: Vec<Value> = names.iter().map(row).collect();
    let bars = chart(report("budgets"), &[], &answer(&["limit_name", "instance", "used_share"], &rows));
    assert!(bars.contains(">5 others<") && bars.contains(">in the table<") && bars.contains(">tenant 3<"), "{bars}");
    let long = json!({"tenant": "t".repeat(60), "change_usd": "0"});
    let bars = chart(report("movers"), &[], &answer(&["tenant", "change_usd"], &[long]));
    assert!(bars.contains(&format!("<title>{}</title>{}…", "t".repeat(60), "t".repeat(45))), "{bars}");
}

#[test]
fn every_report_draws_something_or_says_that_there_is_nothing() {
    for report in query::reports::ALL.iter() {
        assert_eq!(chart(report, &[], &answer(&[], &[])), nothing("Nothing in this period."), "{}", report.name);
    }
    let rows = [json!({"period": "2026-11", "tenant": "a", "usd_per_metric": null, "usd_per_request": 0.5})];
    assert!(chart(report("unit-economics"), &[], &answer(&[], &rows)).contains("usd_per_request [USD"));
    let rows = [json!({"month": "2026-11", "tenant": "a", "change_usd": "0", "now_usd": "3"})];
    assert!(chart(report("as-of"), &[], &answer(&[], &rows)).contains("now_usd [USD]"));
    let rows = ["2026-11-01T00:00:00.000000Z", "2026-11-01T01:00:00.000000Z", "2026-11-02T00:00:00.000000Z"]
        .map(|time| json!({"time": time}));
    let days = chart(report("policy-changes"), &[], &answer(&["time"], &rows));
    assert!(days.contains(">2026-11-01<") && days.matches("<rect").count() == 2, "{days}");
    let rows = [json!({"tenant": "a", "change_usd": null})];
    let unknown = chart(report("movers"), &[], &answer(&["tenant", "change_usd"], &rows));
    assert_eq!(unknown, nothing("Nothing that is known of change_usd."));
}
