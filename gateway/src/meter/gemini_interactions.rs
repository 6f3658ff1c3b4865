//! Gemini's interactions, which have no API of their own here: they pass through, and are known by their usage object.
//!
//! It counts what that of `generateContent` does, under other names. A stream ends with the whole interaction. Searches are counted in it, or
//! by what was asked of them; a stream that tells of one and does not count it states so much at least.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use schemas::{json::Value, tokens::Vector};

use super::{
    fold::{Reported, Unreadable},
    gemini::{self, Modality, Sums},
    shape::{Mark, Shape, at, in_front, never, untold, verbatim},
    tools::{Place, Tools, Where},
};
use crate::json;

static TOOLS: Tools = Tools { whole: &[&WHOLE], frame: &[&FRAME] };

/// What is called and asked, among the steps of newer answers and the outputs of older ones.
pub(super) static WHOLE: Where = Where {
    sign: LazyLock::new(|| Finder::new("_call\"")),
    places: &[
        Place::call_of(&["steps", "*", "type"], "_call"),
        Place::call_of(&["outputs", "*", "type"], "_call"),
        Place::query(&["steps", "*", "arguments", "queries", "*"]),
        Place::query(&["outputs", "*", "arguments", "queries", "*"]),
    ],
};

static FRAME: Where = Where {
    sign: LazyLock::new(|| Finder::new("_call\"")),
    places: &[
        Place::call_of(&["step", "type"], "_call"),
        Place::call_of(&["content", "type"], "_call"),
        Place::searched_of(&["step", "type"], SEARCH),
        Place::searched_of(&["content", "type"], SEARCH),
    ],
};

const SEARCH: &str = "google_search_call";

/// An interaction, whole or within the events of a stream.
pub(super) static INTERACTION: Shape = Shape {
    text: LazyLock::new(|| vec![Finder::new("\"text\"")]),
    sign: None,
    id: &[&["interaction", "id"], &["id"]],
    model: &[&["interaction", "model"], &["model"]],
    tier: &[&["interaction", "service_tier"], &["service_tier"]],
    latency: &[],
    usage: &[&["interaction", "usage"], &["usage"]],
    error: &[&["interaction", "error"], &["error"]],
    failed: never,
    read,
    raw: verbatim,
    tools: &TOOLS,
    mark: |_, event| match at(event, &["event_type"]).and_then(Value::word).as_deref() {
        Some("interaction.complete" | "interaction.completed") => Mark::Finished,
        Some("error") => Mark::Failed,
        _ => Mark::None,
    },
    call: untold,
    background: in_front,
};

/// Whether a document is one, or an event of one.
pub(super) fn is_one(document: Value<'_>) -> bool {
    let has = |path: &[&str]| at(document, path).is_some();
    let states = |name: &str| has(&["usage", name]);
    has(&["event_type"]) || states("total_input_tokens") || states("totalInputTokens")
}

/// The counts, under their names at Google AI and at Vertex.
const NAMES: [[&str; 2]; 11] = [
    ["total_input_tokens", "totalInputTokens"],
    ["total_tool_use_tokens", "totalToolUseTokens"],
    ["total_cached_tokens", "totalCachedTokens"],
    ["total_output_tokens", "totalOutputTokens"],
    ["total_thought_tokens", "totalThoughtTokens"],
    ["input_tokens_by_modality", "inputTokensByModality"],
    ["tool_use_tokens_by_modality", "toolUseTokensByModality"],
    ["cached_tokens_by_modality", "cachedTokensByModality"],
    ["output_tokens_by_modality", "outputTokensByModality"],
    ["grounding_tool_count", "groundingToolCount"],
    ["total_tokens", "totalTokens"],
];
/// The first of them are counts; without these two nothing is stated of input and of output.
const COUNTS: usize = 5;
const INPUT: usize = 0;
const OUTPUT: usize = 3;
const GROUNDING: usize = 9;

fn read(usage: Value<'_>) -> Result<Option<Reported>, Unreadable> {
    let named = NAMES.map(|names| json::members(usage, &names));
    let value = |place: usize| {
        let named = named.get(place)?.as_ref()?;
        named.value(0).or_else(|| named.value(1))
    };
    let number = |place: usize| {
        let named = named.get(place)?.as_ref()?;
        named.count(0).or_else(|| named.count(1))
    };
    if named.iter().any(Option::is_none) {
        return Err(Unreadable);
    }
    if (0..COUNTS).all(|place| value(place).is_none()) {
        return Ok(None);
    }
    let count = |place| number(place).unwrap_or(0);
    let of = |place, modality: Modality| value(place).map_or(0, |details| gemini::of(details, modality));
    let sums = Sums::of(count, of);
    let [web_searches, search_units] = value(GROUNDING).map_or([None; 2], grounding);
    let states_searches = web_searches.is_some();
    let [web_searches, search_units] = [web_searches, search_units].map(|count| count.unwrap_or(0));
    let exact = !(0..COUNTS).any(|place| value(place).is_some() && number(place).is_none());
    let states = number(INPUT).is_some() && number(OUTPUT).is_some();
    let vector = Vector { web_searches, search_units, ..sums.vector() };
    Ok(Some(Reported { states_searches, ..Reported::of(vector, states && exact) }))
}

/// Searches of the web and of something else, by what each tool counted; nothing of what none did.
fn grounding(counts: Value<'_>) -> [Option<u64>; 2] {
    counts.items().into_iter().flatten().fold([None; 2], |[web, other], tool| {
        let Some(named) = json::members(tool, &["type", "count"]) else { return [web, other] };
        let Some(count) = named.count(1) else { return [web, other] };
        let and = |sum: Option<u64>| Some(sum.unwrap_or(0).saturating_add(count));
        let is_web = named.text(0).is_some_and(|kind| kind.eq_ignore_ascii_case("google_search"));
        if is_web { [and(web), other] } else { [web, and(other)] }
    })
}
