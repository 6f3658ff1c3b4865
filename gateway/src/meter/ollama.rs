//! Ollama's own chat and generate: one document, or a line for each piece; and what it embeds.
//!
//! The counts stand in the document itself, in the last one of a stream. A prompt that was still in memory is not counted, so an answer
//! without its count says only what it put out. What is embedded has no output, and alone does not say that it is done.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use schemas::{
    json::{Kind, Value},
    tokens::Vector,
};

use super::{
    fold::{Reported, Unreadable},
    shape::{Mark, Shape, WHOLE, at, in_front, never, untold},
    tools::{Place, Tools, Where},
};
use crate::json;

const NAMES: [&str; 2] = ["prompt_eval_count", "eval_count"];

static TOOLS: Tools = Tools { whole: &[&CALLS], frame: &[&CALLS] };
static CALLS: Where = Where {
    sign: LazyLock::new(|| Finder::new("\"tool_calls\"")),
    places: &[Place::call(&["message", "tool_calls", "*", "function", "name"])],
};

/// An answer, or a piece of it.
pub(super) static CHAT: Shape = Shape {
    text: LazyLock::new(|| ["\"content\"", "\"thinking\"", "\"response\""].map(Finder::new).into()),
    sign: None,
    id: &[],
    model: &[&["model"]],
    tier: &[],
    latency: &[],
    usage: &[WHOLE],
    error: &[&["error"]],
    failed: never,
    read,
    tools: &TOOLS,
    raw: |document| {
        let named = NAMES.iter().filter_map(|name| Some(format!("\"{name}\":{}", at(document, &[name])?.raw())));
        format!("{{{}}}", named.collect::<Vec<_>>().join(","))
    },
    mark: |_, piece| {
        let done = at(piece, &["done"]).is_some_and(|value| matches!(value.kind(), Kind::Bool(true)));
        if done { Mark::Last } else { Mark::None }
    },
    call: untold,
    background: in_front,
};

/// Whether a document is a piece of a stream: each says whether it is the last one, but for an error, which comes in place of that.
pub(super) fn is_piece(document: Value<'_>) -> bool {
    let says = at(document, &["message"]).or_else(|| at(document, &["response"])).is_some();
    says && at(document, &["done"]).is_some_and(|value| matches!(value.kind(), Kind::Bool(_)))
}

fn read(document: Value<'_>) -> Result<Option<Reported>, Unreadable> {
    let named = json::members(document, &NAMES).ok_or(Unreadable)?;
    let (input, output) = (named.count(0), named.count(1));
    if input.is_none() && output.is_none() {
        return Ok(None);
    }
    let vector = Vector { uncached_input: input.unwrap_or(0), output: output.unwrap_or(0), ..Vector::default() };
    let embeds = at(document, &["done"]).is_none();
    Ok(Some(Reported::of(vector, input.is_some() && (output.is_some() || embeds))))
}
