//! What a stream says frame by frame, for one that may have to be ended in the middle: how much output is in it, what it has opened,
//! and the frames with which it would end properly.
//!
//! The count is never less than what the text can be billed as: tokens by the model's own table where that is known and loaded, summed
//! over the frames, else bytes, of which no tokenizer makes more tokens, or as many of them to a token as the operator states of the
//! model. Names and arguments of tools count like text. Where the provider reports on the way, its word takes the place of bytes. It
//! knows no limit and does no I/O.

use std::collections::BTreeSet;

use schemas::{
    event::Api,
    json::{Kind, Tree, Value},
    price::Encoding,
    tokens::Vector,
};
use serde_json::json;

use crate::{
    json::members,
    meter::{data_of, estimate, output_of_chat, output_of_gemini},
    translate::{Client, usage_in},
};

/// What opens the call of a tool beside its name and arguments, generously.
const TOOL_TOKENS: u64 = 16;

/// A report that would have a token be of more bytes than this is not believed: some providers send zeros until the end.
const BYTES_MAX: u64 = 16;

/// A stream as it was relayed so far.
#[derive(Debug)]
pub(crate) struct Script {
    api: Api,
    count: Count,
    /// The answer's id, model and time, as JSON.
    names: [Option<String>; 3],
    /// The choices or blocks that have begun and not ended.
    open: BTreeSet<u64>,
}

/// The output so far, from above: in parts, of which `per_token` are a token.
#[derive(Debug)]
struct Count {
    encoding: Encoding,
    per_token: u64,
    /// By the text alone.
    said: u64,
    /// By what the provider reported, and the text since.
    known: u64,
    is_reported: bool,
}

/// What a frame brings.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Brings {
    /// Output, in parts of a token.
    parts: u64,
    /// All output up to this frame, as the provider reports it.
    reported: Option<u64>,
    pub(crate) opens: Vec<u64>,
    pub(crate) closes: Vec<u64>,
}

impl Script {
    /// Whether streams of an API can be looked into, and ended in the middle.
    pub(crate) const fn is_of(api: Api) -> bool {
        matches!(api, Api::OpenAiChat | Api::AnthropicMessages | Api::GeminiGenerateContent)
    }

    /// For a model of this encoding, whose tokens have so many bytes each, or more.
    pub(crate) fn new(api: Api, encoding: Encoding, bytes_per_token: u8) -> Self {
        let per_token = u64::from(bytes_per_token.max(1));
        let count = Count { encoding, per_token, said: 0, known: 0, is_reported: false };
        Self { api, count, names: [None, None, None], open: BTreeSet::new() }
    }

    /// Looks into a frame that has come.
    pub(crate) fn look(&mut self, frame: &[u8]) -> Brings {
        let data = data_of(frame);
        let data = data.trim_ascii();
        if data.is_empty() || data == b"[DONE]" {
            return Brings::default();
        }
        let tree = Tree::read_answer(data);
        let brings = tree.ok().and_then(|tree| match self.api {
            Api::AnthropicMessages => self.message(tree.root()),
            Api::GeminiGenerateContent => self.content(tree.root()),
            _ => self.chunk(tree.root()),
        });
        let brings =
            brings.unwrap_or_else(|| Brings { parts: self.count.tokens(size(data.len())), ..Brings::default() });
        self.count.take(&brings);
        brings
    }

    /// The most output that can be in what was looked into.
    pub(crate) const fn seen(&self) -> u64 {
        self.count.known.div_ceil(self.count.per_token)
    }

    /// Whether the provider says on the way how much it is.
    pub(crate) const fn is_reported(&self) -> bool {
        self.count.is_reported
    }

    /// The frame was given to the client.
    pub(crate) fn pass(&mut self, brings: &Brings) {
        self.open.extend(&brings.opens);
        self.open.retain(|place| !brings.closes.contains(place));
    }

    fn chunk(&mut self, root: Value<'_>) -> Option<Brings> {
        let named = members(root, &["id", "model", "created", "choices", "usage"])?;
        for (kept, place) in self.names.iter_mut().zip(0..) {
            *kept = kept.take().or_else(|| named.value(place).map(|value| value.raw().to_owned()));
        }
        let mut brings = Brings { reported: named.value(4).and_then(output_of_chat), ..Brings::default() };
        for choice in named.value(3).and_then(Value::items).into_iter().flatten() {
            let named = members(choice, &["index", "delta", "finish_reason", "text"])?;
            let said = [1, 3].into_iter().filter_map(|place| named.value(place));
            brings.add(said.map(|value| self.count.said(value)));
            brings.place(named.count(0), named.value(2).is_some());
        }
        Some(brings)
    }

    fn message(&self, root: Value<'_>) -> Option<Brings> {
        let named = members(root, &["type", "index", "content_block", "delta"])?;
        let mut brings = Brings::default();
        match named.text(0).as_deref() {
            Some("content_block_start") => {
                brings.add(named.value(2).map(|block| self.count.said(block)));
                brings.place(named.count(1), false);
            }
            Some("content_block_delta") => brings.add(named.value(3).map(|delta| self.count.said(delta))),
            Some("content_block_stop") => brings.place(named.count(1), true),
            _ => {}
        }
        Some(brings)
    }

    fn content(&mut self, root: Value<'_>) -> Option<Brings> {
        let named = members(root, &["responseId", "modelVersion", "candidates", "usageMetadata"])?;
        for (kept, place) in self.names.iter_mut().zip(0..2) {
            *kept = kept.take().or_else(|| named.value(place).map(|value| value.raw().to_owned()));
        }
        let mut brings = Brings { reported: named.value(3).and_then(output_of_gemini), ..Brings::default() };
        for candidate in named.value(2).and_then(Value::items).into_iter().flatten() {
            let named = members(candidate, &["index", "content", "finishReason"])?;
            brings.add(named.value(1).map(|content| self.count.said(content)));
            brings.place(named.count(0), named.value(2).is_some());
        }
        Some(brings)
    }
}

impl Brings {
    fn add(&mut self, parts: impl IntoIterator<Item = u64>) {
        self.parts = parts.into_iter().fold(self.parts, u64::saturating_add);
    }

    fn place(&mut self, index: Option<u64>, ends: bool) {
        if ends { &mut self.closes } else { &mut self.opens }.push(index.unwrap_or(0));
    }
}

impl Count {
    const fn tokens(&self, tokens: u64) -> u64 {
        tokens.saturating_mul(self.per_token)
    }

    fn take(&mut self, brings: &Brings) {
        self.said = self.said.saturating_add(brings.parts);
        self.known = self.known.saturating_add(brings.parts);
        // Where the table is known the text is counted well enough. What is reported may leave out this very frame.
        let believed = brings.reported.filter(|reported| {
            self.encoding == Encoding::None && *reported > 0 && reported.saturating_mul(BYTES_MAX) >= self.said
        });
        if let Some(reported) = believed {
            self.is_reported = true;
            self.known = self.known.min(self.tokens(reported).saturating_add(brings.parts));
        }
    }

    /// The output in a delta or a block.
    fn said(&self, value: Value<'_>) -> u64 {
        match value.kind() {
            Kind::Text(text) => {
                let text = text.decoded();
                estimate::at_once(self.encoding, &text).map_or(size(text.len()), |tokens| self.tokens(tokens))
            }
            Kind::List(items) => items.map(|item| self.said(item)).fold(0, u64::saturating_add),
            Kind::Object(members) => {
                let said = members.map(|(name, value)| match &*name.decoded() {
                    // Form, not speech.
                    "type" | "id" | "role" | "index" | "signature" | "thoughtSignature" => 0,
                    "name" => self.said(value).saturating_add(self.tokens(TOOL_TOKENS)),
                    _ => self.said(value),
                });
                said.fold(0, u64::saturating_add)
            }
            Kind::Null | Kind::Bool(_) => 0,
            Kind::Number(number) => size(number.len()),
        }
    }
}

impl Script {
    /// The frames that end the stream here as one that reached its cap, with the usage so far; `why` goes along.
    pub(crate) fn ending(&self, why: &serde_json::Value, usage: Option<&Vector>, wants_usage: bool) -> String {
        match self.api {
            Api::AnthropicMessages => self.end_message(why, usage),
            Api::GeminiGenerateContent => self.end_content(why, usage),
            _ => self.end_chat(why, usage.filter(|_| wants_usage)),
        }
    }

    /// What the stream calls itself, as it said it.
    fn name(&self, place: usize) -> serde_json::Value {
        let kept = self.names.get(place).and_then(Option::as_deref);
        kept.and_then(|raw| serde_json::from_str(raw).ok()).unwrap_or_default()
    }

    fn end_chat(&self, why: &serde_json::Value, usage: Option<&Vector>) -> String {
        let frame = |choices: serde_json::Value| json!({ "id": self.name(0), "object": "chat.completion.chunk", "created": self.name(2), "model": self.name(1), "choices": choices });
        let choice = |index: &u64| json!({ "index": index, "delta": {}, "logprobs": null, "finish_reason": "length" });
        let mut last = frame(self.open.iter().map(choice).collect());
        last["tollgate"] = why.clone();
        let mut ending = format!("data: {last}\n\n");
        if let Some(usage) = usage {
            let mut frame = frame(json!([]));
            frame["usage"] = usage_in(Client::OpenAiChat, usage);
            ending.push_str(&format!("data: {frame}\n\n"));
        }
        ending.push_str("data: [DONE]\n\n");
        ending
    }

    fn end_message(&self, why: &serde_json::Value, usage: Option<&Vector>) -> String {
        let event = |name: &str, data: serde_json::Value| format!("event: {name}\ndata: {data}\n\n");
        let stop = |index: &u64| event("content_block_stop", json!({ "type": "content_block_stop", "index": index }));
        let usage =
            usage.map_or_else(|| json!({ "output_tokens": null }), |usage| usage_in(Client::AnthropicMessages, usage));
        let delta = json!({
            "type": "message_delta", "delta": { "stop_reason": "max_tokens", "stop_sequence": null },
            "usage": usage, "tollgate": why,
        });
        let mut ending: String = self.open.iter().map(stop).collect();
        ending.push_str(&event("message_delta", delta));
        ending.push_str(&event("message_stop", json!({ "type": "message_stop" })));
        ending
    }

    fn end_content(&self, why: &serde_json::Value, usage: Option<&Vector>) -> String {
        let candidate = |index: &u64| json!({ "index": index, "content": { "role": "model", "parts": [] }, "finishReason": "MAX_TOKENS" });
        let candidates: serde_json::Value = self.open.iter().map(candidate).collect();
        let mut last = json!({ "candidates": candidates, "responseId": self.name(0), "modelVersion": self.name(1), "tollgate": why });
        if let Some(usage) = usage {
            last["usageMetadata"] = json!({
                "promptTokenCount": usage.input(),
                "cachedContentTokenCount": usage.cache_read,
                "candidatesTokenCount": usage.all_output().saturating_sub(usage.reasoning),
                "thoughtsTokenCount": usage.reasoning,
                "totalTokenCount": usage.total(),
            });
        }
        format!("data: {last}\n\n")
    }
}

fn size(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
