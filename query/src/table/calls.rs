//! `calls`: one row a client call, written with its last attempt.

use schemas::{ledger::Fact, tokens::Vector};

use super::{
    Builder, Placed, Policies, PushError, TableDef,
    column::{Column, Kind, Value},
    usage,
    who::{Alike, LOG, WHAT, WHO},
};

const COLUMNS: &[Column] = &[
    Column { name: "attempts", kind: Kind::Int, doc: "How many attempts it took; 0 if the cache had the answer." },
    Column { name: "outcome", kind: Kind::Text, doc: "How it ended for the client." },
    Column {
        name: "input_tokens",
        kind: Kind::Long,
        doc: "All input of all its attempts; NULL if any of it is not known.",
    },
    Column {
        name: "output_tokens",
        kind: Kind::Long,
        doc: "All output of all its attempts; NULL if any of it is not known.",
    },
    Column { name: "cost_usd", kind: Kind::Usd, doc: "What all its attempts cost; NULL if any of it is not known." },
    Column {
        name: "duration_ms",
        kind: Kind::Long,
        doc: "Milliseconds from when the call came to its end, as its client saw it: with all waits and attempts; NULL where nobody measured them.",
    },
    Column {
        name: "ttft_ms",
        kind: Kind::Long,
        doc: "Milliseconds from the last attempt's admission to its first byte.",
    },
    Column { name: "balance_age_ms", kind: Kind::Long, doc: "The age of the oldest balance that admitted it." },
    Column {
        name: "session_id",
        kind: Kind::Text,
        doc: "The session that the client named; NULL where it named none, and of calls that a crash left open (outcome unknown).",
    },
    Column { name: "entry", kind: Kind::Text, doc: "original, reversal or correction." },
    Column { name: "corrects", kind: Kind::Text, doc: "The call that a reversal or correction is of." },
    Column { name: "requests", kind: Kind::Int, doc: "1, or -1 on a reversal: sum it to count calls." },
];

pub(super) const TABLE: TableDef = TableDef::of_facts(
    "calls",
    "One row for each client call that was admitted, or answered from the cache.",
    &[WHO, WHAT, COLUMNS, LOG],
    &["cost_usd", "input_tokens", "output_tokens", "requests"],
    push,
);

fn push(rows: &mut Builder, placed: &Placed, _: &dyn Policies) -> Result<(), PushError> {
    let Placed { entry, place, .. } = placed;
    let Fact::Charged(charged) = &entry.fact else { return Ok(()) };
    let settled = &charged.settled;
    let Some(end) = &settled.call else { return Ok(()) };
    let attempt = &settled.attempt;
    let alike = Alike::new(settled, end.accepted_at, entry.recorded_at);
    let total = end.used(&settled.usage);
    let tokens = |of: fn(&Vector) -> u64| Value::or_null(total.as_ref().map(|vector| Value::count(of(vector))));
    let own = [
        Value::Int(i64::from(end.attempts)),
        Value::Text(end.outcome.name()),
        tokens(Vector::input),
        tokens(Vector::all_output),
        Value::or_null(end.cost(usage::cost(charged).0).filter(|cost| cost.row().is_some()).map(Value::usd)),
        Value::or_null(usage::duration(settled, end.accepted_at).map(Value::count)),
        Value::or_null(settled.ttft_ms.map(Value::count)),
        Value::count(end.balance_age_ms),
        Value::text(&end.session_id),
        Value::Text("original"),
        Value::Null,
        Value::Int(1),
    ];
    alike.row(rows, &attempt.model, &own, *place)
}
