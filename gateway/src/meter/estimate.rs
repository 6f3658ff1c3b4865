//! Tokens counted by us, where a provider reports none and where a bound should be tighter than its bytes.
//!
//! Pure but slow: about 10 MB of text a second, and the first call of an encoding loads its table (some 50 MB), so call it off
//! the async threads. Models of which no encoding is known are counted as if they were OpenAI's newest; an estimate says that
//! it is one. [`measure`] never counts less than the encoding does: text without a place where it certainly divides is counted
//! as its bytes, which also keeps one endless word from taking seconds.

use std::sync::atomic::{AtomicBool, Ordering};

use schemas::{
    bound::Measure,
    event::Api,
    price::Encoding,
    tokens::{Completeness, Doubt, Part, Usage, Vector},
};
use serde_json::Value;
use tiktoken_rs::{
    CoreBPE, cl100k_base_singleton, o200k_base_singleton,
    tokenizer::{self, Tokenizer},
};

use super::visible::Visible;

#[cfg(test)]
mod tests;

/// A message is wrapped in so many tokens, and the answer is opened by as many.
const MESSAGE_TOKENS: u64 = 3;
/// What an image costs that says nothing of its size: one of 1024 × 1024 at OpenAI's full detail.
const IMAGE_TOKENS: u64 = 765;
/// What a token of plain English has, for text that cannot be had or read.
const BYTES_PER_TOKEN: u64 = 4;
/// The most text that is encoded at once.
const SEGMENT: usize = 8 * 1024;

/// The encoding to estimate a model with.
fn encoding_of(model: &str) -> Encoding {
    match tokenizer::get_tokenizer(model) {
        None | Some(Tokenizer::O200kBase | Tokenizer::O200kHarmony) => Encoding::O200kBase,
        Some(_) => Encoding::Cl100kBase,
    }
}

fn table(encoding: Encoding) -> Option<&'static CoreBPE> {
    match encoding {
        Encoding::None => None,
        Encoding::O200kBase => Some(o200k_base_singleton()),
        Encoding::Cl100kBase => Some(cl100k_base_singleton()),
    }
}

/// Whether the table of each encoding is there.
static LOADED: [AtomicBool; 2] = [AtomicBool::new(false), AtomicBool::new(false)];

fn loaded(encoding: Encoding) -> Option<&'static AtomicBool> {
    match encoding {
        Encoding::None => None,
        Encoding::O200kBase => LOADED.first(),
        Encoding::Cl100kBase => LOADED.last(),
    }
}

/// Whether the table of an encoding is to be loaded before texts of it can be counted at once.
pub(crate) fn is_to_load(encoding: Encoding) -> bool {
    loaded(encoding).is_some_and(|flag| !flag.load(Ordering::Relaxed))
}

/// Loads the table of an encoding: not for an async thread.
pub(crate) fn load(encoding: Encoding) {
    table(encoding);
    if let Some(flag) = loaded(encoding) {
        flag.store(true, Ordering::Relaxed);
    }
}

/// The tokens of a short text, or more, if they can be counted at once.
pub(crate) fn at_once(encoding: Encoding, text: &str) -> Option<u64> {
    let ready = loaded(encoding).is_some_and(|flag| flag.load(Ordering::Relaxed));
    if ready { tokens(encoding, text) } else { None }
}

/// The tokens of a text, or more; nothing where the encoding is not known.
pub fn tokens(encoding: Encoding, text: &str) -> Option<u64> {
    let table = table(encoding)?;
    let count = |segment| match segment {
        Segment::Encode(text) => size(table.encode_ordinary(text).len()),
        Segment::Endless(bytes) => bytes,
    };
    Some(segments(text).map(count).fold(0, u64::saturating_add))
}

/// How to count the tokens of a text, or more; never less. Where the encoding is not known, its bytes.
pub fn measure(encoding: Encoding) -> Measure {
    match encoding {
        Encoding::None => Measure::Bytes,
        Encoding::O200kBase => Measure::Tokens(|text| counted(Encoding::O200kBase, text)),
        Encoding::Cl100kBase => Measure::Tokens(|text| counted(Encoding::Cl100kBase, text)),
    }
}

fn counted(encoding: Encoding, text: &str) -> u64 {
    tokens(encoding, text).unwrap_or_else(|| size(text.len()))
}

fn size(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// What a whole answer that reports no usage must have used, by the text of `request` and of the answer. Sound, documents and
/// reasoning out of sight are not in it.
pub fn usage(api: Api, model: &str, request: &[u8], visible: &Visible) -> Usage {
    let encoding = encoding_of(model);
    let output = if api.operation().has_output() { output_tokens(encoding, visible) } else { 0 };
    let uncached_input = input_tokens(encoding, request);
    let vector = Vector { uncached_input, output, ..visible.units() };
    Usage { parts: vec![Part { model: None, vector }], completeness: Completeness::Estimated(Doubt::NotReported) }
}

fn output_tokens(encoding: Encoding, visible: &Visible) -> u64 {
    let Some((texts, of)) = visible.beginning() else { return visible.bytes().div_ceil(BYTES_PER_TOKEN) };
    let tokens: u128 = texts.iter().map(|text| u128::from(counted(encoding, text))).sum();
    // What was not kept is taken to be like what was.
    let all = (tokens * u128::from(visible.bytes())).div_ceil(u128::from(of.max(1)));
    u64::try_from(all).unwrap_or(u64::MAX)
}

/// The members that hold the messages of a conversation, in any dialect.
const MESSAGES: [&str; 2] = ["messages", "contents"];
/// The members that hold texts beside them, or what is embedded.
const TEXTS: [&str; 11] = [
    "system",
    "systemInstruction",
    "instructions",
    "prompt",
    "inputText",
    "message",
    "chat_history",
    "preamble",
    "content",
    "requests",
    "texts",
];
/// The members that are shown to the model as they are written.
const FORMS: [&str; 4] = ["tools", "functions", "response_format", "toolConfig"];

fn input_tokens(encoding: Encoding, request: &[u8]) -> u64 {
    let Ok(Value::Object(request)) = serde_json::from_slice(request) else {
        return size(request.len()).div_ceil(BYTES_PER_TOKEN);
    };
    let all = |names: &'static [&'static str]| names.iter().filter_map(|name| request.get(*name));
    let messages = all(&MESSAGES).filter_map(Value::as_array).map(|messages| {
        let of = |message| MESSAGE_TOKENS.saturating_add(spoken(encoding, message));
        messages.iter().map(of).fold(MESSAGE_TOKENS, u64::saturating_add)
    });
    let instances = request.get("instances").and_then(Value::as_array).into_iter().flatten();
    let instances = instances.filter_map(|one| one.get("content")).map(|text| spoken(encoding, text));
    let inputs = request.get("input").into_iter().map(|input| embedded(encoding, input));
    let texts = all(&TEXTS).map(|text| spoken(encoding, text));
    let forms = all(&FORMS).map(|form| counted(encoding, &form.to_string()));
    messages.chain(inputs).chain(instances).chain(texts).chain(forms).fold(0, u64::saturating_add)
}

/// Texts, or texts that are tokens already.
fn embedded(encoding: Encoding, input: &Value) -> u64 {
    match input {
        Value::String(text) => counted(encoding, text),
        Value::Number(_) => 1,
        Value::Array(inputs) => inputs.iter().map(|input| embedded(encoding, input)).fold(0, u64::saturating_add),
        Value::Object(_) => spoken(encoding, input),
        _ => 0,
    }
}

/// What a message or a part of one says.
fn spoken(encoding: Encoding, value: &Value) -> u64 {
    match value {
        Value::String(text) => counted(encoding, text),
        Value::Array(parts) => parts.iter().map(|part| spoken(encoding, part)).fold(0, u64::saturating_add),
        Value::Object(members) => match members.get("type").and_then(Value::as_str) {
            Some("image" | "image_url" | "input_image") => IMAGE_TOKENS,
            Some("input_audio" | "file") => 0,
            _ => {
                let says = |(key, value): (&String, &Value)| if is_form(key) { 0 } else { spoken(encoding, value) };
                members.iter().map(says).fold(0, u64::saturating_add)
            }
        },
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

/// Whether a member is form and not speech.
fn is_form(key: &str) -> bool {
    matches!(key, "type" | "id" | "tool_call_id" | "tool_use_id" | "cache_control" | "source" | "signature" | "data")
}

enum Segment<'a> {
    Encode(&'a str),
    /// So many bytes in which no safe place was found.
    Endless(u64),
}

/// Divides a text where the encodings divide it too, so that the parts have as many tokens as the whole.
fn segments(text: &str) -> impl Iterator<Item = Segment<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if rest.len() <= SEGMENT {
            return Some(Segment::Encode(std::mem::take(&mut rest)));
        }
        let near = (0..=SEGMENT).rev().find(|at| rest.is_char_boundary(*at)).unwrap_or(0);
        let (segment, after) = match rest.get(..near).and_then(last_division) {
            Some(at) => (Segment::Encode(rest.get(..at)?), rest.get(at..)?),
            None => {
                let at = first_division(rest).unwrap_or(rest.len());
                (Segment::Endless(size(at)), rest.get(at..)?)
            }
        };
        rest = after;
        Some(segment)
    })
}

fn last_division(text: &str) -> Option<usize> {
    let mut after = None;
    text.char_indices().rev().find_map(|(at, letter)| {
        let divides = after.is_some_and(|after| divides(letter, after));
        after = Some(letter);
        divides.then(|| at + letter.len_utf8())
    })
}

fn first_division(text: &str) -> Option<usize> {
    let mut before = None;
    text.char_indices().find_map(|(at, letter)| {
        let divides = before.is_some_and(|before| divides(before, letter));
        before = Some(letter);
        divides.then_some(at)
    })
}

/// Whether both encodings end a piece between these two: a word that cannot take up what follows it. (A letter is followed in
/// one piece only by letters, marks and `'s` and the like; nothing looks back behind it.)
const fn divides(before: char, after: char) -> bool {
    let letter = matches!(before, 'a'..='z' | 'A'..='Z' | 'а'..='я' | '\u{3041}'..='\u{3096}' | '\u{30a1}'..='\u{30fa}'
        | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}');
    letter
        && matches!(
            after,
            ' ' | '\n'
                | '\r'
                | '\t'
                | ','
                | '.'
                | ':'
                | ';'
                | '!'
                | '?'
                | '('
                | ')'
                | '"'
                | '{'
                | '}'
                | '['
                | ']'
                | '<'
                | '>'
                | '='
                | '+'
                | '/'
                | '-'
                | '_'
                | '\u{3001}'
                | '\u{3002}'
                | '\u{ff0c}'
        )
}
