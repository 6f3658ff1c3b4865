//! Gemini's `generateContent` and embeddings, at Google AI and at Vertex.
//!
//! Every document of a stream has all counts so far; the last one counts, and what is absent there is none. The prompt includes what
//! was cached and leaves out what tools added; the output leaves out thoughts, which are billed as output. Some servers send
//! enums as numbers, so a modality is a name or its number.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use schemas::{
    json::{Kind, Value},
    tokens::Vector,
};

use super::{
    fold::{Reported, Unreadable, take},
    shape::{Mark, Shape, at, in_front, never, untold, verbatim},
    tally::Facts,
    tools::{Place, Tools, Where},
};
use crate::{
    failing::{self, Ended, Said},
    json,
};

/// Functions of the client, code that Google runs, and what it searched for. A call whose arguments come in pieces has its name in the first.
static TOOLS: Tools = Tools { whole: &[&CALLS, &QUERIES, &IMAGES, &MAPS], frame: &[&CALLS, &QUERIES, &IMAGES, &MAPS] };

pub(super) static CALLS: Where = Where {
    sign: LazyLock::new(|| Finder::new("\"parts\"")),
    places: &[
        Place::call(&["candidates", "*", "content", "parts", "*", "functionCall", "name"]),
        Place::call(&["candidates", "*", "content", "parts", "*", "executableCode", "language"]),
        Place::call(&["candidates", "*", "content", "parts", "*", "toolCall", "toolType"]),
    ],
};

pub(super) static QUERIES: Where = Where {
    sign: LazyLock::new(|| Finder::new("\"webSearchQueries\"")),
    places: &[Place::query(&["candidates", "*", "groundingMetadata", "webSearchQueries", "*"])],
};

pub(super) static IMAGES: Where = Where {
    sign: LazyLock::new(|| Finder::new("\"imageSearchQueries\"")),
    places: &[Place::other_query(&["candidates", "*", "groundingMetadata", "imageSearchQueries", "*"])],
};

/// Maps are billed by the answer that they gave something to.
pub(super) static MAPS: Where = Where {
    sign: LazyLock::new(|| Finder::new("\"maps\"")),
    places: &[Place::found(&["candidates", "*", "groundingMetadata", "groundingChunks", "*", "maps", "uri"])],
};

/// An answer, or a document of a streamed one.
pub(super) static CONTENT: Shape = Shape {
    text: LazyLock::new(|| vec![Finder::new("\"text\"")]),
    sign: None,
    id: &[&["responseId"]],
    model: &[&["modelVersion"]],
    tier: &[&["usageMetadata", "trafficType"], &["usageMetadata", "serviceTier"]],
    latency: &[],
    usage: &[&["usageMetadata"]],
    error: &[&["error"]],
    failed,
    read: |usage| read(usage, true),
    raw: verbatim,
    tools: &TOOLS,
    mark: |_, document| if is_final(document) { Mark::Finished } else { Mark::None },
    call: untold,
    background: in_front,
};

/// Vectors. Vertex's `predict` counts the tokens of each text apart; some models report nothing.
pub(super) static EMBEDDINGS: Shape = Shape {
    text: LazyLock::new(Vec::new),
    sign: None,
    id: &[],
    model: &[],
    tier: &[&["usageMetadata", "trafficType"]],
    latency: &[],
    usage: &[&["usageMetadata"], &["predictions"]],
    error: &[&["error"]],
    failed: never,
    read: |usage| if usage.items().is_some() { predictions(usage) } else { read(usage, false) },
    raw: |usage| match predictions(usage) {
        Ok(Some(reported)) => format!("{{\"token_count\":{}}}", reported.vector.uncached_input),
        _ => verbatim(usage),
    },
    tools: &Tools::NONE,
    mark: |_, _| Mark::None,
    call: untold,
    background: in_front,
};

/// Whether a document says why the answer ends, or why there is none.
fn is_final(document: Value<'_>) -> bool {
    let ends = |candidate: Value<'_>| at(candidate, &["finishReason"]).is_some();
    let candidates = at(document, &["candidates"]).and_then(Value::items);
    candidates.is_some_and(|mut candidates| candidates.any(ends))
        || at(document, &["promptFeedback", "blockReason"]).is_some()
}

/// What an answer may have in which there is nothing of one.
const HOLLOW: [&str; 6] = ["candidates", "promptFeedback", "usageMetadata", "modelVersion", "responseId", "createTime"];

/// Why the model has failed, where a document says so. An answer without candidates, or in which there is nothing of one, has failed as
/// well, unless its prompt was blocked; that has no word.
fn failed(facts: &mut Facts, document: Value<'_>, is_whole: bool) -> Option<String> {
    let named = json::members(document, &HOLLOW)?;
    let candidates = || named.value(0).and_then(Value::items).into_iter().flatten();
    let parts = |candidate| at(candidate, &["content", "parts"]).and_then(Value::items).into_iter().flatten();
    facts.said |= candidates().flat_map(parts).any(says);
    // One that is too large to be read has said something.
    let said = Said { calls: facts.called.calls > 0, anything: facts.said || facts.is_brief };
    let reasons = candidates().filter_map(|candidate| at(candidate, &["finishReason"]));
    let word = |reason: Value<'_>| reason.word().map_or_else(|| reason.raw().to_owned(), String::from);
    let failed = reasons.map(word).find(|reason| failing::gemini(reason, said) == Ended::Failed);
    let is_hollow = |candidate| at(candidate, &["finishReason"]).is_none() && parts(candidate).next().is_none();
    let is_nothing = || match named.value(0) {
        Some(_) => candidates().all(is_hollow),
        // Where the list is left out, what is there may be an answer of another kind.
        None => !named.others,
    };
    let is_blocked = || at(document, &["promptFeedback", "blockReason"]).is_some();
    failed.or_else(|| (is_whole && is_nothing()).then(String::new)).filter(|_| !is_blocked())
}

/// Whether a part says anything, and does not only think.
fn says(part: Value<'_>) -> bool {
    json::members(part, &["text", "thought", "thoughtSignature"]).is_some_and(|named| {
        let is_thought = named.value(1).is_some_and(|value| matches!(value.kind(), Kind::Bool(true)));
        !is_thought && (named.others || named.value(0).and_then(Value::word).is_some_and(|text| !text.is_empty()))
    })
}

const NAMES: [&str; 10] = [
    "promptTokenCount",
    "toolUsePromptTokenCount",
    "cachedContentTokenCount",
    "candidatesTokenCount",
    "thoughtsTokenCount",
    "promptTokensDetails",
    "toolUsePromptTokensDetails",
    "cacheTokensDetails",
    "candidatesTokensDetails",
    "totalTokenCount",
];

pub(super) fn read(usage: Value<'_>, output: bool) -> Result<Option<Reported>, Unreadable> {
    let named = json::members(usage, &NAMES).ok_or(Unreadable)?;
    if (0..=4).chain([9]).all(|place| named.value(place).is_none()) {
        return Ok(None);
    }
    let exact = !(0..=4).any(|place| named.miscounts(place));
    let count = |place| named.count(place).unwrap_or(0);
    let of = |place, modality| named.value(place).map_or(0, |details| self::of(details, modality));
    let sound = |place| of(place, AUDIO);
    let (prompt, tools, cached) = (count(0), count(1), count(2));
    let thoughts = count(4);
    let (cache_read, rest) = take(cached, prompt);
    // What of the sound was cached is counted there.
    let heard = sound(5).saturating_sub(sound(7)).saturating_add(sound(6));
    let (audio_input, uncached_input) = take(heard, rest.saturating_add(tools));
    let (audio_output, rest) = take(sound(8), count(3));
    // Images in the prompt cost what its text does; those of the answer do not.
    let (image_output, text) = take(of(8, IMAGE), rest);
    let vector = Vector {
        uncached_input,
        cache_read,
        audio_input,
        audio_output,
        image_output,
        output: text.saturating_add(thoughts),
        reasoning: thoughts,
        ..Vector::default()
    };
    let says = named.value(0).is_some() || !output && named.value(9).is_some();
    Ok(Some(Reported::of(vector, says && exact)))
}

/// A modality: its name and its number.
type Modality = (&'static str, &'static str);
const IMAGE: Modality = ("IMAGE", "2");
const AUDIO: Modality = ("AUDIO", "4");

/// The tokens of a modality in a list of counts.
fn of(details: Value<'_>, (name, number): Modality) -> u64 {
    let is_it = |value: Value<'_>| match value.kind() {
        Kind::Text(found) => found == *name,
        Kind::Number(found) => found == number,
        _ => false,
    };
    let count = |item: Value<'_>| {
        let named = json::members(item, &["modality", "tokenCount"])?;
        named.value(0).filter(|modality| is_it(*modality)).and_then(|_| named.count(1))
    };
    details.items().into_iter().flatten().filter_map(count).fold(0, u64::saturating_add)
}

fn predictions(list: Value<'_>) -> Result<Option<Reported>, Unreadable> {
    let mut sum = None;
    for prediction in list.items().ok_or(Unreadable)? {
        let statistics = at(prediction, &["embeddings", "statistics"]);
        let count = statistics.and_then(|statistics| json::members(statistics, &["token_count"])?.count(0));
        sum = count.map(|count| sum.unwrap_or(0_u64).saturating_add(count)).or(sum);
    }
    Ok(sum.map(|uncached_input| Reported::of(Vector { uncached_input, ..Vector::default() }, true)))
}
