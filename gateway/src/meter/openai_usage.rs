//! The usage object of OpenAI and those who speak its dialect, made disjoint.
//!
//! Input and output have two names each, those of chat and those of everything newer. `prompt_tokens` includes cached, cache-written and audio tokens, `completion_tokens` reasoning, audio and rejected
//! predictions. Where `total_tokens` exceeds their sum, the rest is reasoning that is billed as output but not listed there
//! (xAI, Gemini's endpoint of this dialect). Cached tokens have five names; where an answer has two, they say the same. A part that is said
//! to be more than its whole is cut to it, and the counts are then so much at least: one of the two is wrong, and nobody knows which.
//! What Perplexity's research cites is input, and what it thinks output, each counted and billed beside the two.
//! A ranking may be stated in searches, and then has no tokens. Sound at Mistral is in the total alone and billed by its seconds, a search
//! of xAI's in front of an answer by its sources: then the counts are so much at least. What xAI says of the tools that it ran is all that it
//! bills of them, whatever the answer shows that they tried; OpenRouter counts the searches that it ran beside those of the model.

use std::sync::LazyLock;

use schemas::{
    json::{Kind, Value},
    money::Pico,
    tokens::Vector,
};

use super::{
    fold::{Reported, Unreadable, take},
    shape::{Mark, Shape, in_front, never, untold, verbatim},
    tools::Tools,
};
use crate::json::{self, number};

/// A ranking: the usage object of this dialect, or that of Cohere where Cohere has it, whose rankings this form is taken from.
pub(super) static RANKING: Shape = Shape {
    text: LazyLock::new(Vec::new),
    sign: None,
    id: &[&["id"]],
    model: &[&["model"]],
    tier: &[&["service_tier"]],
    latency: &[],
    usage: &[&["usage"], &["meta", "billed_units"]],
    error: &[&["error"]],
    failed: never,
    read: |usage| read(usage, false),
    raw: verbatim,
    tools: &Tools::NONE,
    mark: |_, _| Mark::None,
    call: untold,
    background: in_front,
};

const NAMES: [&str; 27] = [
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "prompt_tokens_details",
    "completion_tokens_details",
    "num_cached_tokens",
    "prompt_cache_hit_tokens",
    "cached_tokens",
    "cost",
    "cost_in_usd_ticks",
    "prompt_token_details",
    "completion_token_details",
    "reasoning_tokens",
    "input_tokens",
    "output_tokens",
    "input_tokens_details",
    "output_tokens_details",
    "input_token_details",
    "num_search_queries",
    "search_units",
    "citation_tokens",
    "seconds",
    "prompt_audio_seconds",
    "num_sources_used",
    "server_side_tool_usage_details",
    "server_tool_use_details",
    "server_tool_use",
];
/// The members of a usage object by these names.
type Named<'t> = json::Members<'t, { NAMES.len() }>;
/// Where input, output and their details stand.
const INPUT: [usize; 2] = [0, 13];
const OUTPUT: [usize; 2] = [1, 14];
const TOTAL: usize = 2;
const INPUT_DETAILS: [usize; 4] = [3, 10, 15, 17];
const OUTPUT_DETAILS: [usize; 3] = [4, 11, 16];
const SEARCH_UNITS: usize = 19;
const CITATIONS: usize = 20;
const SECONDS: usize = 21;
const HEARD_SECONDS: usize = 22;
const SOURCES: usize = 23;
const SERVER_TOOLS: usize = 24;
/// What OpenRouter ran, under its two names.
const SERVER_TOOL_USE: [usize; 2] = [25, 26];

/// One of xAI's ticks: 1e-10 USD.
const PICO_PER_TICK: i128 = 100;

/// Reads a usage object; nothing if it states no count. `output` says whether this API has output. Errors: it is no object, or
/// what stands for its counts are none.
pub(super) fn read(usage: Value<'_>, output: bool) -> Result<Option<Reported>, Unreadable> {
    let named = json::members(usage, &NAMES).ok_or(Unreadable)?;
    let Some(Sums { prompt, completion, cited, unlisted, whole }) = sums(&named, output)? else { return Ok(None) };
    let count = |place| named.count(place).unwrap_or(0);
    // Of what is billed by time only the total has the tokens, and they were heard.
    let by_time = is_of_time(&named);
    let (prompt, unlisted, unlisted_sound) =
        if by_time { (prompt.saturating_add(unlisted), 0, unlisted) } else { (prompt, unlisted, 0) };

    let details = |place| json::members(named.value(place)?, &DETAILS);
    let (input, out) = (INPUT_DETAILS.into_iter().find_map(details), OUTPUT_DETAILS.into_iter().find_map(details));
    let detail = |details: &Option<json::Members<'_, 5>>, place| {
        details.as_ref().and_then(|named| named.count(place)).unwrap_or(0)
    };
    let cached = [detail(&input, CACHED), count(5), count(6), count(7)].into_iter().max().unwrap_or(0);
    let cached_sound = input.as_ref().and_then(|named| json::members(named.value(CACHED_PARTS)?, &["audio_tokens"]));
    let cached_sound = cached_sound.and_then(|named| named.count(0)).unwrap_or(0);
    let (written, spoken) = (detail(&input, WRITTEN), detail(&out, AUDIO));
    let heard = detail(&input, AUDIO).max(unlisted_sound);
    // What was cached may be sound as well, so that both together may be more than there is.
    let fits = cached.saturating_add(written).max(heard) <= prompt && cached_sound <= cached && spoken <= completion;
    // Each is taken out of what is left, so that the classes stay disjoint and add up whatever a provider sends.
    let (cached, rest) = take(cached, prompt);
    let (cache_read_audio, cache_read) = take(cached_sound, cached);
    let (cache_write_5m, rest) = take(written, rest);
    let (audio_input, uncached_input) = take(heard.saturating_sub(cache_read_audio), rest);
    let (audio_output, text) = take(spoken, completion);
    let stated = detail(&out, REASONING).max(count(12));
    // More reasoning than output is no part of it, nor is any of who cites, unless the total has it.
    let is_apart = stated > text.saturating_add(unlisted) || named.value(CITATIONS).is_some() && stated > unlisted;
    let apart = if is_apart { stated } else { 0 };
    let output = text.saturating_add(unlisted).saturating_add(apart);
    let ran = ran(&named);
    let not_counted = by_time || ran.is_not_counted;
    Ok(Some(Reported {
        vector: Vector {
            uncached_input: uncached_input.saturating_add(cited),
            cache_read,
            cache_read_audio,
            cache_write_5m,
            output,
            audio_input,
            audio_output,
            web_searches: count(18).max(ran.web_searches),
            reasoning: stated.max(unlisted).min(output),
            search_units: count(SEARCH_UNITS).saturating_add(ran.other_searches),
            ..Vector::default()
        },
        whole: whole && fits && !not_counted,
        not_counted,
        states_searches: ran.states_searches,
        cost: cost(named.value(8), named.value(9)),
    }))
}

/// All input and all output that a usage object states.
struct Sums {
    prompt: u64,
    completion: u64,
    /// Input beside the prompt.
    cited: u64,
    /// What the total has beyond these.
    unlisted: u64,
    /// Whether that is all that should be stated, and is stated in counts.
    whole: bool,
}

/// The sums; nothing if none is stated, or only one of input and output together: how much of that is output nobody knows.
fn sums(named: &Named<'_>, output: bool) -> Result<Option<Sums>, Unreadable> {
    let first = |places: [usize; 2]| places.into_iter().find_map(|place| named.count(place));
    let (prompt, completion, total) = (first(INPUT), first(OUTPUT), named.count(TOTAL));
    let mut counted = INPUT.into_iter().chain(OUTPUT).chain([TOTAL, SEARCH_UNITS]);
    let exact = !counted.clone().chain([CITATIONS]).any(|place| named.miscounts(place));
    let whole = match (prompt, completion, total) {
        (Some(_), Some(_), _) => true,
        (Some(_), None, Some(_)) | (None, Some(_), Some(_)) => true,
        (None, None, None) if counted.all(|place| named.value(place).is_none()) => return Ok(None),
        (None, None, None) if named.count(SEARCH_UNITS).is_some() => !output,
        (None, None, None) => return Err(Unreadable),
        (None, None, Some(_)) if output => return Ok(None),
        _ => !output && (prompt.is_some() || total.is_some()),
    };
    // Sound is in the total as well, so that without the output neither is known.
    let total = total.filter(|_| completion.is_some() || !is_of_time(named));
    let prompt = prompt.or_else(|| total?.checked_sub(completion.unwrap_or(0))).unwrap_or(0);
    let completion = completion.or_else(|| total?.checked_sub(prompt)).unwrap_or(0);
    let cited = named.count(CITATIONS).unwrap_or(0);
    let listed = prompt.saturating_add(completion).saturating_add(cited);
    let unlisted = total.map_or(0, |total| total.saturating_sub(listed));
    Ok(Some(Sums { prompt, completion, cited, unlisted, whole: whole && exact }))
}

/// Whether usage says how long a sound was, by which some models are billed.
pub(super) fn says_time(usage: Value<'_>) -> bool {
    json::members(usage, &NAMES).is_some_and(|named| named.value(SECONDS).is_some() || is_of_time(&named))
}

/// Whether so many seconds were heard; Mistral says it of every answer, and mostly that there is nothing to say.
fn is_of_time(named: &Named<'_>) -> bool {
    let is_number = named.value(HEARD_SECONDS).is_some_and(|value| matches!(value.kind(), Kind::Number(_)));
    is_number && named.count(HEARD_SECONDS) != Some(0)
}

/// What the provider ran itself, by its own count.
struct Ran {
    web_searches: u64,
    /// Searches of X and of documents, which have a price of their own.
    other_searches: u64,
    /// Whether there is more: code is billed by its runs, and a search in front of the answer by its sources.
    is_not_counted: bool,
    /// Whether that is all that it ran.
    states_searches: bool,
}

fn ran(named: &Named<'_>) -> Ran {
    let tools = named.value(SERVER_TOOLS).and_then(|tools| json::members(tools, &TOOLS));
    let count = |place| tools.as_ref().and_then(|tools| tools.count(place)).unwrap_or(0);
    let other_searches = (1..=3).map(count).fold(0, u64::saturating_add);
    let sources = named.count(SOURCES).unwrap_or(0);
    let requested = |place| json::members(named.value(place)?, &["web_search_requests"])?.count(0);
    let requested = SERVER_TOOL_USE.into_iter().filter_map(requested).max().unwrap_or(0);
    Ran {
        web_searches: count(0).max(requested),
        other_searches,
        is_not_counted: count(4) > 0 || sources > 0,
        states_searches: tools.as_ref().is_some_and(|tools| tools.count(0).is_some()),
    }
}

/// The tools of xAI that are billed by the call.
const TOOLS: [&str; 5] =
    ["web_search_calls", "x_search_calls", "file_search_calls", "document_search_calls", "code_interpreter_calls"];

const DETAILS: [&str; 5] =
    ["cached_tokens", "cache_write_tokens", "audio_tokens", "reasoning_tokens", "cached_tokens_details"];
const CACHED: usize = 0;
const WRITTEN: usize = 1;
const AUDIO: usize = 2;
const REASONING: usize = 3;
const CACHED_PARTS: usize = 4;

/// The tokens of images in input and output, of an answer that is images: all output, unless it is said what is text.
pub(super) fn images(usage: Value<'_>) -> (u64, u64) {
    let Some(named) = json::members(usage, &NAMES) else { return (0, u64::MAX) };
    let of = |places: &[usize]| {
        let details = places.iter().find_map(|place| json::members(named.value(*place)?, &["image_tokens"]))?;
        details.count(0)
    };
    (of(&INPUT_DETAILS).unwrap_or(0), of(&OUTPUT_DETAILS).unwrap_or(u64::MAX))
}

/// What a usage object says that it costs, whatever it counts.
pub(super) fn cost_of(usage: Value<'_>) -> Option<Pico> {
    let named = json::members(usage, &["cost", "cost_in_usd_ticks"])?;
    cost(named.value(0), named.value(1))
}

/// What the provider says that it costs: dollars, of which Perplexity has the sum among its parts, or xAI's ticks.
fn cost(usd: Option<Value<'_>>, ticks: Option<Value<'_>>) -> Option<Pico> {
    let usd = usd.and_then(total).and_then(|usd| number::scaled(usd.raw(), 12)).map(Pico);
    usd.or_else(|| Some(Pico(number::scaled(ticks?.raw(), 0)?.checked_mul(PICO_PER_TICK)?)))
}

fn total(cost: Value<'_>) -> Option<Value<'_>> {
    json::members(cost, &["total_cost"]).map_or(Some(cost), |parts| parts.value(0))
}
