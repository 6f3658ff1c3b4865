//! What has to be true of a fleet when all faults have healed: provider, clients, log, balances and lake say the same, to the unit.
//!
//! What is looked at here owes nothing to Tollgate's own arithmetic: the provider knows what it billed, the clients know what they were
//! answered and what each call could use at most; and every row names its call by a tag that its client chose.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::{
    house::{Process, number},
    load::{Call, End},
    provider::{Fate, Seen},
};

/// What was made and seen, and the limit that all of it fell under.
pub(crate) struct Truth<'a> {
    pub(crate) seen: &'a Seen,
    pub(crate) calls: &'a [Call],
    pub(crate) limit: &'a str,
    pub(crate) amount: i64,
}

/// The sums that were found to agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) rows: usize,
    /// Rows of calls whose end nobody knows.
    pub(crate) unknown: usize,
    /// Rows of calls that the provider failed.
    pub(crate) failed: usize,
    /// Rows of calls that their clients left.
    pub(crate) left: usize,
    pub(crate) settled: i64,
    pub(crate) held: i64,
}

const ROWS: &str = "SELECT call_id, outcome, completeness, input_tokens + output_tokens AS tokens, tag('marker') AS marker, \
    provider_response_id AS response FROM usage";

/// Money by rows, by calls and by charges, with the tokens that were charged. A token costs a dollar in a million.
const MONEY: &str = "SELECT (SELECT count(*) FROM calls) AS calls, (SELECT sum(cost_usd) FROM usage) * 1000000 AS rows_usd, \
    (SELECT sum(cost_usd) FROM calls) * 1000000 AS calls_usd, (SELECT sum(cost_usd) FROM charges) * 1000000 AS charges_usd, \
    (SELECT sum(quantity) FROM charges) AS charged";

/// Waits until every call that has to have a row has one, and until the balance is that of the rows; then everything has to agree.
pub(crate) fn agree(query: &Process, truth: &Truth<'_>) -> Sums {
    let mut rows = HashMap::new();
    query.wait_for("a row of every call that the provider saw", || {
        rows = by_marker(&query.rows(ROWS));
        truth.seen.keys().all(|marker| rows.contains_key(marker))
    });
    let (mut settled, mut held) = (0, 0);
    let (mut unknown, mut failed, mut left) = (0, 0, 0);
    let calls: HashMap<&str, &Call> = truth.calls.iter().map(|call| (call.marker.as_str(), call)).collect();
    for (marker, row) in &rows {
        let call = calls[marker.as_str()];
        let seen = truth.seen.get(marker);
        if row["outcome"] == "unknown" {
            // Its gateway died with it. It may have reached the provider; no more than its bound can be billed, and what of that was not
            // reported stays held.
            assert!(matches!(call.end, End::Broken | End::Left), "{call:?}");
            let reported = if row["completeness"] == "missing" { 0 } else { number(row, "tokens") };
            let bill = seen.map_or(0, |(_, bill)| *bill as i64);
            assert!(
                row["completeness"] == "missing" && row["tokens"] == Value::Null || reported == bill,
                "{row} {bill}"
            );
            (unknown, settled, held) = (unknown + 1, settled + reported, held + call.bound as i64 - reported);
            continue;
        }
        let (_, bill) = seen.unwrap_or_else(|| panic!("the provider never saw {row}, {call:?}"));
        if row["outcome"] != "complete" {
            let counted = ended_before(row, call, *bill as i64);
            (failed, left) = match row["outcome"].as_str() {
                Some("provider_error") => (failed + 1, left),
                _ => (failed, left + 1),
            };
            (settled, held) = (
                settled + counted,
                held + if row["completeness"] == "exact" { 0 } else { call.bound as i64 - counted },
            );
            continue;
        }
        assert_eq!(call.fate, Fate::Whole, "{row} {call:?}");
        assert_eq!((&row["outcome"], &row["completeness"]), (&"complete".into(), &"exact".into()), "{row} {call:?}");
        assert_eq!(number(row, "tokens"), *bill as i64, "{row}");
        assert_eq!(row["response"], format!("chatcmpl-{marker}"));
        settled += number(row, "tokens");
    }
    for call in truth.calls {
        match &call.end {
            End::Answered(id) => {
                assert_eq!(rows.get(&call.marker).map(|row| &row["call_id"]), Some(&id.as_str().into()))
            }
            End::Failed(id) => {
                let row = rows.get(&call.marker).map(|row| (&row["call_id"], &row["outcome"]));
                assert_eq!(row, Some((&id.as_str().into(), &"provider_error".into())), "{call:?}");
            }
            End::Refused(..) => {
                assert!(!rows.contains_key(&call.marker) && !truth.seen.contains_key(&call.marker), "{call:?}");
            }
            End::Left | End::Broken => {}
        }
    }
    assert!(truth.seen.values().all(|(times, _)| *times == 1), "the provider saw a call twice");
    let billed: u64 = truth.seen.values().map(|(_, bill)| bill).sum();
    assert!(billed as i64 <= truth.amount, "{billed} of {} were billed", truth.amount);
    let balance = format!("SELECT amount, settled, held FROM balances WHERE limit_name = '{}'", truth.limit);
    let mut shown = Vec::new();
    query.wait_for("the balance", || {
        let row = query.rows(&balance).remove(0);
        shown = ["amount", "settled", "held"].map(|column| number(&row, column)).to_vec();
        // Rows of calls that the provider never saw come when they come; what was added up here has to be of all of them.
        shown == [truth.amount, settled, held] || by_marker(&query.rows(ROWS)).len() != rows.len()
    });
    if by_marker(&query.rows(ROWS)).len() != rows.len() {
        return agree(query, truth);
    }
    assert!(settled + held <= truth.amount);
    let money = query.rows(MONEY).remove(0);
    assert_eq!(number(&money, "calls"), rows.len() as i64);
    for sum in ["rows_usd", "calls_usd", "charges_usd", "charged"] {
        assert_eq!(number(&money, sum), settled, "{sum}");
    }
    Sums { rows: rows.len(), unknown, failed, left, settled, held }
}

/// What counts of a call that did not come to its end: what its row says that it used, of which what is not known is in no case more than
/// its bound, and stays held.
fn ended_before(row: &Value, call: &Call, bill: i64) -> i64 {
    let (outcome, completeness) = (row["outcome"].as_str().unwrap(), row["completeness"].as_str().unwrap());
    let counted = if completeness == "missing" { 0 } else { number(row, "tokens") };
    assert!((0..=call.bound as i64).contains(&counted), "{row} {call:?}");
    match (outcome, completeness) {
        // Read to its end without its client, or as far as it was relayed.
        ("client_gone", "exact") => assert_eq!((call.end.clone(), counted), (End::Left, bill), "{row} {call:?}"),
        ("client_gone", "estimated" | "missing") => assert_eq!(call.end, End::Left, "{row} {call:?}"),
        ("provider_error", "estimated") => {
            assert_eq!((call.fate, &call.end), (Fate::Breaks, &End::Broken), "{row} {call:?}");
            assert!(counted > 0, "{row} {call:?}");
        }
        // Nobody knows how far it had come.
        ("provider_error", "missing") => assert_eq!(call.fate, Fate::Fails, "{row} {call:?}"),
        _ => panic!("{row} {call:?}"),
    }
    counted
}

/// Rows by the marker of their call, which no two share, as no two share a call id.
fn by_marker(rows: &[Value]) -> HashMap<String, Value> {
    let ids: HashSet<&str> = rows.iter().map(|row| row["call_id"].as_str().unwrap()).collect();
    let marked: HashMap<String, Value> =
        rows.iter().map(|row| (row["marker"].as_str().unwrap().to_owned(), row.clone())).collect();
    assert_eq!((ids.len(), marked.len()), (rows.len(), rows.len()), "a call has two rows");
    marked
}
