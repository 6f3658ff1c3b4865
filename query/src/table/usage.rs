//! `usage`: one row an attempt, as it was when it ended. Corrections are rows of `charges`, where the sum of all is what is so.

use schemas::{
    event::{Outcome, Settled},
    ledger::{Charge, Charged, Fact, Rated},
    money::Pico,
    time::Time,
    tokens::{Completeness, Vector},
};

use super::{
    Builder, Placed, Policies, PushError, TableDef,
    column::{Column, Kind, Value},
    who::{Alike, LOG, WHAT, WHO},
};

const COLUMNS: &[Column] = &[
    Column { name: "attempt", kind: Kind::Int, doc: "The attempt's number in its call, from 1." },
    Column {
        name: "outcome",
        kind: Kind::Text,
        doc: "How it ended: complete, provider_error, timeout, client_gone, cut, or unknown (found at restart).",
    },
    Column { name: "status", kind: Kind::Int, doc: "The provider's HTTP status; NULL if it never answered." },
    Column {
        name: "input_tokens",
        kind: Kind::Long,
        doc: "All input, cached included; NULL, like all counts, where completeness is missing.",
    },
    Column { name: "cache_read_tokens", kind: Kind::Long, doc: "The input read from the provider's cache." },
    Column { name: "cache_write_tokens", kind: Kind::Long, doc: "The input written to the provider's cache." },
    Column { name: "output_tokens", kind: Kind::Long, doc: "All output, reasoning included." },
    Column { name: "reasoning_tokens", kind: Kind::Long, doc: "The output that is reasoning." },
    Column { name: "audio_input_tokens", kind: Kind::Long, doc: "The input that is audio." },
    Column { name: "audio_output_tokens", kind: Kind::Long, doc: "The output that is audio." },
    Column { name: "search_count", kind: Kind::Long, doc: "Searches that the provider ran." },
    Column {
        name: "tool_calls",
        kind: Kind::Long,
        doc: "Calls of tools in the answer, of the client's and of the provider's.",
    },
    Column {
        name: "completeness",
        kind: Kind::Text,
        doc: "How sure the counts are: exact, lower_bound, estimated, or missing.",
    },
    Column {
        name: "completeness_reason",
        kind: Kind::Text,
        doc: "Why the counts are not exact, NULL where they are: client_left, truncated, timed_out, not_reported (the whole answer states no usage), unreadable, frame_too_large, crashed (found at restart), no_answer (the provider failed or did not answer), or not_counted (the answer states its use in what has no class, such as seconds).",
    },
    Column {
        name: "cost_usd",
        kind: Kind::Usd,
        doc: "The sum of its original charges; NULL if any of it has no price or is not known. Corrections are in charges.",
    },
    Column { name: "unpriced_reason", kind: Kind::Text, doc: "Why cost_usd is NULL." },
    Column {
        name: "provider_cost_usd",
        kind: Kind::Usd,
        doc: "The cost that the provider states: what it charges itself, which at a router with keys of one's own is its fee.",
    },
    Column {
        name: "cache_hit",
        kind: Kind::Flag,
        doc: "Whether Tollgate answered from its cache, without the provider: then it used nothing, cost nothing and counts in no limit.",
    },
    Column {
        name: "avoided_cost_usd",
        kind: Kind::Usd,
        doc: "Where Tollgate answered from its cache, what the provider's answer would have cost by the prices of that time, NULL if any of it has no price; else 0.",
    },
    Column {
        name: "duration_ms",
        kind: Kind::Long,
        doc: "Milliseconds from admission, when its holds were taken, to the end; NULL where nobody measured them: of what other systems tell without a status, and of what was found at restart.",
    },
    Column {
        name: "ttft_ms",
        kind: Kind::Long,
        doc: "Milliseconds from admission to the first byte of the answer. A wait for a lease before it is in the call's duration_ms.",
    },
    Column { name: "model_answered", kind: Kind::Text, doc: "The model that the answer names." },
    Column { name: "provider_response_id", kind: Kind::Text, doc: "The provider's id of the answer." },
    Column { name: "price_book", kind: Kind::Text, doc: "The hash of the price book in force at admission." },
    Column { name: "entry", kind: Kind::Text, doc: "original, reversal or correction." },
    Column { name: "corrects", kind: Kind::Text, doc: "The attempt that a reversal or correction is of." },
    Column {
        name: "requests",
        kind: Kind::Int,
        doc: "1, but 0 on what a response in the background used whose attempt has a row of its own: sum it to count attempts.",
    },
    Column { name: "raw_usage", kind: Kind::Text, doc: "The provider's own usage object, verbatim." },
];

pub(super) const TABLE: TableDef = TableDef::of_facts(
    "usage",
    "One row for each attempt at a provider, and for each answer from the cache.",
    &[WHO, WHAT, COLUMNS, LOG],
    &["cost_usd", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "requests"],
    push,
);

fn push(rows: &mut Builder, placed: &Placed, _: &dyn Policies) -> Result<(), PushError> {
    let Placed { entry, place, .. } = placed;
    let Fact::Charged(charged) = &entry.fact else { return Ok(()) };
    let settled = &charged.settled;
    let attempt = &settled.attempt;
    let alike = Alike::new(settled, attempt.admitted_at, entry.recorded_at);
    let total = settled.usage.total();
    let tokens = |of: fn(&Vector) -> u64| Value::or_null(total.as_ref().map(|vector| Value::count(of(vector))));
    let (cost, unpriced) = cost(charged);
    let book = attempt.book.to_string();
    let own = [
        Value::Int(i64::from(attempt.attempt)),
        Value::Text(settled.outcome.name()),
        if settled.status == 0 { Value::Null } else { Value::Int(i64::from(settled.status)) },
        tokens(Vector::input),
        tokens(|vector| vector.all_cache_read()),
        tokens(|vector| vector.cache_write_5m.saturating_add(vector.cache_write_1h)),
        tokens(Vector::all_output),
        tokens(|vector| vector.reasoning),
        tokens(|vector| vector.audio_input),
        tokens(|vector| vector.audio_output),
        tokens(|vector| vector.web_searches),
        tokens(|vector| vector.tool_calls),
        Value::Text(settled.usage.completeness.name()),
        Value::or_null(settled.usage.completeness.doubt().map(|why| Value::Text(why.name()))),
        Value::or_null(cost.map(Value::usd)),
        Value::or_null(unpriced.map(Value::Text)),
        Value::or_null(settled.provider_cost.map(Value::usd)),
        Value::Flag(settled.avoided.is_some()),
        Value::or_null(avoided(settled).map(Value::usd)),
        Value::or_null(duration(settled, attempt.admitted_at).map(Value::count)),
        Value::or_null(settled.ttft_ms.map(Value::count)),
        Value::text(&settled.model_answered),
        Value::text(&settled.response_id),
        Value::Text(&book),
        Value::Text("original"),
        Value::Null,
        Value::Int(i64::from(!settled.apart)),
        Value::text(&settled.raw_usage),
    ];
    alike.row(rows, &attempt.model, &own, *place)
}

/// What was saved; nothing if nobody can say.
fn avoided(settled: &Settled) -> Option<Pico> {
    let Some(avoided) = &settled.avoided else { return Some(Pico(0)) };
    avoided.cost.filter(|cost| cost.row().is_some())
}

/// Milliseconds from an instant to its end; nothing where nobody measured them. What another system tells at once has no status, as an
/// answer that was waited for has; what was found at a restart had ended before.
pub(super) fn duration(settled: &Settled, from: Time) -> Option<u64> {
    let is_told = settled.outcome == Outcome::Complete && settled.status == 0 && settled.avoided.is_none();
    let is_measured = !is_told && settled.outcome != Outcome::Unknown;
    is_measured.then(|| u64::try_from(settled.settled_at.since(from).as_millis()).unwrap_or(u64::MAX))
}

/// What an attempt cost, or why nobody can say.
pub(super) fn cost(charged: &Charged) -> (Option<Pico>, Option<&'static str>) {
    match charged.settled.usage.completeness {
        Completeness::Missing(_) => return (None, Some("usage_missing")),
        // At least nothing is no cost.
        Completeness::LowerBound(_) if charged.charges.is_empty() => return (None, Some("usage_lower_bound")),
        Completeness::Estimated(_) if charged.charges.is_empty() => return (None, Some("usage_estimated")),
        _ => {}
    }
    let mut sum = Pico::default();
    for Charge { price, .. } in &charged.charges {
        match price {
            Rated::Priced { cost, .. } => sum += *cost,
            Rated::Unpriced(why) => return (None, Some(why.name())),
        }
    }
    match sum.row() {
        Some(_) => (Some(sum), None),
        None => (None, Some(schemas::ledger::Unpriced::TooLarge.name())),
    }
}
