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
    shape::{Mark, Shape, at, in_front, untold, verbatim},
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

/// Vectors. Vertex's `predict` counts the tokens of each text apart; some models report nothing. What else it makes, such as images, is
/// billed by the piece.
pub(super) static EMBEDDINGS: Shape = Shape {
    text: LazyLock::new(Vec::new),
    sign: None,
    id: &[],
    model: &[],
    tier: &[&["usageMetadata", "trafficType"]],
    latency: &[],
    usage: &[&["usageMetadata"], &["predictions"]],
    error: &[&["error"]],
    failed: |facts, document, is_whole| {
        if is_whole && !has_vectors(document) {
            facts.not_counted();
        }
        None
    },
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
    let sums = Sums::of(count, of);
    let says = named.value(0).is_some() || !output && named.value(9).is_some();
    Ok(Some(Reported::of(sums.vector(), says && exact)))
}

/// What Google counts: what was cached is in the prompt, what tools added and thoughts are in neither side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sums {
    prompt: u64,
    tools: u64,
    cached: u64,
    output: u64,
    thoughts: u64,
    /// The sound in the prompt, in what tools added and in what was cached.
    heard: u64,
    heard_by_tools: u64,
    heard_cached: u64,
    /// The sound in the output, and the images.
    spoken: u64,
    drawn: u64,
}

impl Sums {
    /// By their places among the names of a usage object: the counts in the order of the fields here, and behind them what details what was
    /// in the prompt, added by tools, cached and put out.
    pub(super) fn of(count: impl Fn(usize) -> u64, of: impl Fn(usize, Modality) -> u64) -> Self {
        Self {
            prompt: count(0),
            tools: count(1),
            cached: count(2),
            output: count(3),
            thoughts: count(4),
            heard: of(5, AUDIO),
            heard_by_tools: of(6, AUDIO),
            heard_cached: of(7, AUDIO),
            spoken: of(8, AUDIO),
            drawn: of(8, IMAGE),
        }
    }

    pub(super) fn vector(self) -> Vector {
        let (cached, rest) = take(self.cached, self.prompt);
        let (cache_read_audio, cache_read) = take(self.heard_cached, cached);
        // What of the sound was cached is counted there.
        let heard = self.heard.saturating_sub(self.heard_cached).saturating_add(self.heard_by_tools);
        let (audio_input, uncached_input) = take(heard, rest.saturating_add(self.tools));
        let (audio_output, rest) = take(self.spoken, self.output);
        // Images in the prompt cost what its text does; those of the answer do not.
        let (image_output, text) = take(self.drawn, rest);
        Vector {
            uncached_input,
            cache_read,
            cache_read_audio,
            audio_input,
            audio_output,
            image_output,
            output: text.saturating_add(self.thoughts),
            reasoning: self.thoughts,
            ..Vector::default()
        }
    }
}

/// A modality: its name and its number.
pub(super) type Modality = (&'static str, &'static str);
const IMAGE: Modality = ("IMAGE", "2");
const AUDIO: Modality = ("AUDIO", "4");

/// The tokens of a modality in a list of counts.
pub(super) fn of(details: Value<'_>, (name, number): Modality) -> u64 {
    let is_it = |value: Value<'_>| match value.kind() {
        Kind::Text(found) => found.decoded().eq_ignore_ascii_case(name),
        Kind::Number(found) => found == number,
        _ => false,
    };
    let count = |item: Value<'_>| {
        let named = json::members(item, &["modality", "tokenCount", "tokens"])?;
        let is_counted = named.value(0).is_some_and(is_it);
        named.count(1).or_else(|| named.count(2)).filter(|_| is_counted)
    };
    details.items().into_iter().flatten().filter_map(count).fold(0, u64::saturating_add)
}

/// Whether an answer has vectors of texts in it.
fn has_vectors(document: Value<'_>) -> bool {
    let Some(named) = json::members(document, &["embedding", "embeddings", "predictions"]) else { return false };
    let mut predictions = named.value(2).and_then(Value::items).into_iter().flatten();
    named.value(0).or(named.value(1)).is_some() || predictions.any(|made| at(made, &["embeddings"]).is_some())
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
