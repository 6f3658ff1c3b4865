use serde_json::{Value, json};

use super::{LONGEST_TEXT, of};
use crate::table::{
    by_name,
    fixture::{self, Known},
};

fn stats(tenants: &[&str]) -> Value {
    let usage = by_name("usage").expect("usage");
    let mut rows = usage.builder();
    for (number, tenant) in (0..).zip(tenants) {
        let mut charged = fixture::charged(number, tenant);
        charged.settled.attempt.admitted_at = schemas::time::Time::from_micros(fixture::NOON.as_micros() + 1_501);
        let entry = fixture::entry(0, schemas::ledger::Fact::Charged(Box::new(charged)));
        (usage.push)(&mut rows, &fixture::placed(0, number, entry), &Known::default()).expect("a row");
    }
    serde_json::from_str(&of(usage, &rows.finish().expect("a batch")).expect("statistics")).expect("JSON")
}

#[test]
fn ends_hold_every_row_between_them() {
    let stats = stats(&["globex", "acme", "initech"]);
    assert_eq!(stats["numRecords"], 3);
    assert_eq!((&stats["minValues"]["tenant"], &stats["maxValues"]["tenant"]), (&json!("acme"), &json!("initech")));
    assert_eq!((&stats["minValues"]["log_offset"], &stats["maxValues"]["log_offset"]), (&json!(0), &json!(2)));
    // 1.501 ms after noon: the log has milliseconds only, so the ends are rounded apart.
    assert_eq!(stats["minValues"]["time"], "2026-11-20T12:00:00.001Z");
    assert_eq!(stats["maxValues"]["time"], "2026-11-20T12:00:00.002Z");
    assert_eq!(stats["nullCount"]["tenant"], 0);
}

#[test]
fn a_long_text_has_no_end_that_is_wrong() {
    let long = "x".repeat(LONGEST_TEXT + 1);
    let stats = stats(&["acme", &long]);
    assert!(stats["minValues"].get("tenant").is_none() && stats["maxValues"].get("tenant").is_none());
}
