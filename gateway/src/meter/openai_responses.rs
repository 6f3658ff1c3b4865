//! OpenAI's responses, and what others send in that dialect.
//!
//! Usage stands in the response object, which a stream repeats within its events and which is final in the last one. A response
//! that is worked on in the background has none at first; whoever asks for it later is told, as often as he asks.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use schemas::json::{Kind, Value};

use super::{
    Begun, openai_usage,
    shape::{Mark, Shape, at, never, verbatim},
    tools::{Once, Place, Tools, Where},
};
use crate::json::{self, number};

/// Calls of the client's tools and of the provider's are items of the output whose kinds end so; a stream announces each and tells it
/// again when it is done, some only one of the two. A search of the
/// web is such a call whose action is to search, and not to open a page or to look into it; that is known when the item is done. The last event has all of
/// them again, and the first of them for who resumes a stream.
static TOOLS: Tools = Tools { whole: &[&WHOLE], frame: &[&DONE, &ALL] };

static DONE: Where = Where {
    sign: LazyLock::new(|| Finder::new("\"response.output_item.done\"")),
    places: &[
        Place::search_of(&["item", "action", "type"], "search"),
        Place::other_of(&["item", "type"], FILES),
        Place::untold_of(&["item", "type"], CODE),
        Place::untold_of(&["item", "type"], IMAGE),
    ],
};
static ALL: Where = Where {
    sign: LazyLock::new(|| Finder::new("\"output\"")),
    places: &[
        Place::of_all(Once::Call, &["response", "output", "*", "type"], "_call"),
        Place::of_all(Once::Search, &["response", "output", "*", "action", "type"], "search"),
        Place::of_all(Once::Other, &["response", "output", "*", "type"], FILES),
        Place::untold_of(&["response", "output", "*", "type"], CODE),
        Place::untold_of(&["response", "output", "*", "type"], IMAGE),
    ],
};

pub(super) static WHOLE: Where = Where {
    sign: LazyLock::new(|| Finder::new("_call\"")),
    places: &[
        Place::call_of(&["output", "*", "type"], "_call"),
        Place::search_of(&["output", "*", "action", "type"], "search"),
        Place::other_of(&["output", "*", "type"], FILES),
        Place::untold_of(&["output", "*", "type"], CODE),
        Place::untold_of(&["output", "*", "type"], IMAGE),
    ],
};

/// A search of files is billed by itself, the container that code runs in by the session, an image by tokens that no usage object has.
const FILES: &str = "file_search_call";
const CODE: &str = "code_interpreter_call";
const IMAGE: &str = "image_generation_call";

/// A response, whole or within the events of a stream.
pub(super) static RESPONSE: Shape = Shape {
    // Whole texts are repeated at the end of each part, so only what is new is text.
    text: LazyLock::new(|| vec![Finder::new("\"delta\"")]),
    sign: Some("\"usage\""),
    id: &[&["response", "id"], &["id"]],
    model: &[&["response", "model"], &["model"]],
    tier: &[&["response", "service_tier"], &["service_tier"]],
    latency: &[],
    usage: &[&["response", "usage"], &["usage"]],
    error: &[&["response", "error"], &["error"]],
    failed: never,
    read: |usage| openai_usage::read(usage, true),
    tools: &TOOLS,
    raw: verbatim,
    mark: |_, event| match at(event, &["type"]).and_then(Value::word).as_deref() {
        Some("response.completed" | "response.incomplete") => Mark::Last,
        Some("response.failed" | "error") => Mark::Failed,
        _ => Mark::None,
    },
    call: |event| {
        let named = json::members(event, &["type", "item", "output_index"])?;
        let kind = named.value(0)?.word()?;
        let item = json::members(named.value(1)?, &["type"])?.value(0)?.word()?;
        let tells = matches!(&*kind, "response.output_item.added" | "response.output_item.done");
        // All say at which place. Of one who does not it is known only that there is a call.
        (tells && item.ends_with("_call")).then(|| named.count(2).unwrap_or(0))
    },
    background: |event| {
        let response = at(event, &["response"]).unwrap_or(event);
        let named = json::members(response, &["background", "created_at"])?;
        named.value(0).filter(|value| matches!(value.kind(), Kind::Bool(true)))?;
        Some(named.value(1).and_then(second).map_or(Begun::Unsaid, Begun::At))
    },
};

/// The second that a time is in. Some give fractions of one, and some write it as a text.
fn second(time: Value<'_>) -> Option<u64> {
    let micros = match time.kind() {
        Kind::Number(digits) => number::scaled(digits, 6)?,
        Kind::Text(text) => number::scaled(&text.decoded(), 6)?,
        _ => return None,
    };
    u64::try_from(micros / 1_000_000).ok().filter(|second| *second > 0)
}
