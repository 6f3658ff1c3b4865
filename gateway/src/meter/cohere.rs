//! Cohere's chat, of both versions, its embeddings and its reranking.
//!
//! What is charged are the billed units, which can be far less than the tokens beside them; a ranking is charged by its searches, which
//! are no tokens.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use schemas::{
    json::{Kind, Value},
    tokens::Vector,
};

use super::{
    fold::{Reported, Unreadable},
    shape::{Mark, Shape, at, first, in_front, never, untold, verbatim},
    tools::{Place, Tools, Where},
};
use crate::{
    failing::{self, Ended},
    json,
};

/// Calls as the newer version has them, and the older one, whose stream has all of them in one event.
static TOOLS: Tools = Tools { whole: &[&WHOLE], frame: &[&FRAME] };

pub(super) static WHOLE: Where = Where {
    sign: LazyLock::new(|| Finder::new("\"tool_calls\"")),
    places: &[Place::call(&["message", "tool_calls", "*", "function", "name"]), OLDER],
};
static FRAME: Where = Where {
    sign: LazyLock::new(|| Finder::new("\"tool_calls\"")),
    places: &[Place::call(&["delta", "message", "tool_calls", "function", "name"]), OLDER],
};
const OLDER: Place = Place::call(&["tool_calls", "*", "name"]);

/// An answer, or the last event of a streamed one, of either version.
pub(super) static CHAT: Shape = Shape {
    text: LazyLock::new(|| vec![Finder::new("\"text\""), Finder::new("\"arguments\""), Finder::new("\"thinking\"")]),
    sign: Some("\"billed_units\""),
    id: &[&["id"], &["response_id"], &["generation_id"]],
    model: &[],
    tier: &[],
    latency: &[],
    usage: &[&["delta", "usage"], &["usage"], &["response", "meta"], &["meta"]],
    error: &[&["delta", "error"]],
    failed: |facts, event, _| {
        let reason = first(event, &[&["delta", "finish_reason"], &["finish_reason"]]).and_then(Value::word)?;
        // In a stream thoughts are not told from the rest.
        let said = facts.may_have_said() || facts.visible.bytes() > 0 || says(event);
        (failing::cohere(&reason, said) == Ended::Failed).then(|| reason.into_owned())
    },
    read,
    raw: verbatim,
    tools: &TOOLS,
    mark: |_, event| {
        let is = |name: &str, value: &str| {
            at(event, &[name]).is_some_and(|found| found.text().is_some_and(|text| text == *value))
        };
        let ends = at(event, &["is_finished"]).is_some_and(|value| matches!(value.kind(), Kind::Bool(true)));
        if is("type", "message-end") || ends { Mark::Last } else { Mark::None }
    },
    call: untold,
    background: in_front,
};

/// Vectors and rankings.
pub(super) static UNITS: Shape = Shape {
    text: LazyLock::new(Vec::new),
    sign: None,
    id: &[&["id"]],
    model: &[],
    tier: &[],
    latency: &[],
    usage: &[&["meta", "billed_units"]],
    error: &[],
    failed: never,
    read,
    raw: verbatim,
    tools: &Tools::NONE,
    mark: |_, _| Mark::None,
    call: untold,
    background: in_front,
};

/// Whether an answer, of either version, has any text that is no thought.
fn says(answer: Value<'_>) -> bool {
    let mut parts = at(answer, &["message", "content"]).and_then(Value::items).into_iter().flatten();
    let older = || first(answer, &[&["text"], &["response", "text"]]).and_then(Value::word);
    parts.any(|part| at(part, &["thinking"]).is_none()) || older().is_some_and(|text| !text.is_empty())
}

fn read(usage: Value<'_>) -> Result<Option<Reported>, Unreadable> {
    let named = json::members(usage, &["billed_units", "tokens"]).ok_or(Unreadable)?;
    let units = named.value(0).or_else(|| named.value(1)).unwrap_or(usage);
    let named =
        json::members(units, &["input_tokens", "output_tokens", "image_tokens", "search_units"]).ok_or(Unreadable)?;
    if (0..=3).all(|place| named.value(place).is_none()) {
        return Ok(None);
    }
    let count = |place| named.count(place).unwrap_or(0);
    let vector = Vector {
        uncached_input: count(0).saturating_add(count(2)),
        output: count(1),
        search_units: count(3),
        ..Vector::default()
    };
    Ok(Some(Reported::of(vector, !(0..=3).any(|place| named.miscounts(place)))))
}
