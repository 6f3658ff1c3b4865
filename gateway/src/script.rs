//! What a stream says frame by frame, for one that may have to be ended in the middle: how much output is in it, what it has opened,
//! and the frames with which it would end properly.
//!
//! The count is never less than what the text can be billed as: tokens by the model's own table where that is known and loaded, summed
//! over the frames, else bytes. Names and arguments of tools count like text. It knows no limit and does no I/O.

use std::collections::BTreeSet;

use schemas::{
    event::Api,
    json::{Kind, Tree, Value},
    price::Encoding,
};
use serde_json::json;

use crate::{
    json::members,
    meter::{Measured, data_of, estimate},
};

/// What opens the call of a tool beside its name and arguments, generously.
const TOOL_TOKENS: u64 = 16;

/// A stream as it was relayed so far.
#[derive(Debug)]
pub(crate) struct Script {
    api: Api,
    encoding: Encoding,
    /// The answer's id, model and time, as JSON.
    names: [Option<String>; 3],
    /// The choices or blocks that have begun and not ended.
    open: BTreeSet<u64>,
}

/// What a frame brings.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Brings {
    /// So many tokens of output, or fewer.
    pub(crate) output: u64,
    pub(crate) opens: Vec<u64>,
    pub(crate) closes: Vec<u64>,
}

impl Script {
    /// Whether streams of an API can be looked into, and ended in the middle.
    pub(crate) const fn is_of(api: Api) -> bool {
        matches!(api, Api::OpenAiChat | Api::AnthropicMessages)
    }

    pub(crate) const fn new(api: Api, encoding: Encoding) -> Self {
        Self { api, encoding, names: [None, None, None], open: BTreeSet::new() }
    }

    /// Looks into a frame that has come.
    pub(crate) fn look(&mut self, frame: &[u8]) -> Brings {
        let data = data_of(frame);
        let data = data.trim_ascii();
        if data.is_empty() || data == b"[DONE]" {
            return Brings::default();
        }
        let unread = || Brings { output: size(data.len()), ..Brings::default() };
        let Ok(tree) = Tree::read_answer(data) else { return unread() };
        let brings =
            if self.api == Api::AnthropicMessages { self.message(tree.root()) } else { self.chunk(tree.root()) };
        brings.unwrap_or_else(unread)
    }

    /// The frame was given to the client.
    pub(crate) fn pass(&mut self, brings: &Brings) {
        self.open.extend(&brings.opens);
        self.open.retain(|place| !brings.closes.contains(place));
    }

    fn chunk(&mut self, root: Value<'_>) -> Option<Brings> {
        let named = members(root, &["id", "model", "created", "choices"])?;
        for (kept, place) in self.names.iter_mut().zip(0..) {
            *kept = kept.take().or_else(|| named.value(place).map(|value| value.raw().to_owned()));
        }
        let mut brings = Brings::default();
        for choice in named.value(3).and_then(Value::items).into_iter().flatten() {
            let named = members(choice, &["index", "delta", "finish_reason", "text"])?;
            let index = named.count(0).unwrap_or(0);
            let said = [1, 3].into_iter().filter_map(|place| named.value(place)).map(|value| self.said(value));
            brings.output = brings.output.saturating_add(said.fold(0, u64::saturating_add));
            if named.value(2).is_some() { &mut brings.closes } else { &mut brings.opens }.push(index);
        }
        Some(brings)
    }

    fn message(&self, root: Value<'_>) -> Option<Brings> {
        let named = members(root, &["type", "index", "content_block", "delta"])?;
        let index = named.count(1).unwrap_or(0);
        Some(match named.text(0).as_deref() {
            Some("content_block_start") => Brings {
                output: named.value(2).map_or(0, |block| self.said(block)),
                opens: vec![index],
                ..Brings::default()
            },
            Some("content_block_delta") => {
                Brings { output: named.value(3).map_or(0, |delta| self.said(delta)), ..Brings::default() }
            }
            Some("content_block_stop") => Brings { closes: vec![index], ..Brings::default() },
            _ => Brings::default(),
        })
    }

    /// The output in a delta or a block.
    fn said(&self, value: Value<'_>) -> u64 {
        match value.kind() {
            Kind::Text(text) => estimate::at_once(self.encoding, &text.decoded()),
            Kind::List(items) => items.map(|item| self.said(item)).fold(0, u64::saturating_add),
            Kind::Object(members) => {
                let said = members.map(|(name, value)| match &*name.decoded() {
                    // Form, not speech.
                    "type" | "id" | "role" | "index" | "signature" => 0,
                    "name" => self.said(value).saturating_add(TOOL_TOKENS),
                    _ => self.said(value),
                });
                said.fold(0, u64::saturating_add)
            }
            Kind::Null | Kind::Bool(_) => 0,
            Kind::Number(number) => size(number.len()),
        }
    }

    /// The frames that end the stream here as one that reached its cap; `why` goes along.
    pub(crate) fn ending(&self, why: &serde_json::Value, measured: Option<&Measured>, wants_usage: bool) -> String {
        if self.api == Api::AnthropicMessages {
            self.end_message(why, measured)
        } else {
            self.end_chat(why, measured, wants_usage)
        }
    }

    fn end_chat(&self, why: &serde_json::Value, measured: Option<&Measured>, wants_usage: bool) -> String {
        let raw = |place: usize| -> serde_json::Value {
            let kept = self.names.get(place).and_then(Option::as_deref);
            kept.and_then(|raw| serde_json::from_str(raw).ok()).unwrap_or_default()
        };
        let frame = |choices: serde_json::Value| json!({ "id": raw(0), "object": "chat.completion.chunk", "created": raw(2), "model": raw(1), "choices": choices });
        let choice = |index: &u64| json!({ "index": index, "delta": {}, "logprobs": null, "finish_reason": "length" });
        let mut last = frame(self.open.iter().map(choice).collect());
        last["tollgate"] = why.clone();
        let mut ending = format!("data: {last}\n\n");
        let usage = measured.and_then(|measured| serde_json::from_str(&measured.raw_usage).ok());
        if let Some(usage) = usage.filter(|usage: &serde_json::Value| wants_usage && usage.is_object()) {
            let mut frame = frame(json!([]));
            frame["usage"] = usage;
            ending.push_str(&format!("data: {frame}\n\n"));
        }
        ending.push_str("data: [DONE]\n\n");
        ending
    }

    fn end_message(&self, why: &serde_json::Value, measured: Option<&Measured>) -> String {
        let event = |name: &str, data: serde_json::Value| format!("event: {name}\ndata: {data}\n\n");
        let stop = |index: &u64| event("content_block_stop", json!({ "type": "content_block_stop", "index": index }));
        let output = measured.and_then(|measured| measured.usage.total()).map(|total| total.all_output());
        let delta = json!({
            "type": "message_delta", "delta": { "stop_reason": "max_tokens", "stop_sequence": null },
            "usage": { "output_tokens": output }, "tollgate": why,
        });
        let mut ending: String = self.open.iter().map(stop).collect();
        ending.push_str(&event("message_delta", delta));
        ending.push_str(&event("message_stop", json!({ "type": "message_stop" })));
        ending
    }
}

fn size(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(api: Api, frames: &[&str], output: u64, ends_with: &[&str]) {
        let mut script = Script::new(api, Encoding::None);
        let mut count = 0;
        for frame in frames {
            let brings = script.look(format!("event: x\ndata: {frame}\n\n").as_bytes());
            count += brings.output;
            script.pass(&brings);
        }
        let ending = script.ending(&json!({ "code": "TG2001" }), None, true);
        let data: Vec<&str> = ending.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        assert_eq!((count, data.as_slice()), (output, ends_with), "{frames:?}");
    }

    #[test]
    fn a_chat_ends_as_one_that_reached_its_cap() {
        let said = r#"{"id":"c","model":"m","created":7,"choices":[{"index":0,"delta":{"role":"assistant","content":"abc"},"finish_reason":null}]}"#;
        let ended = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
        let tool = r#"{"choices":[{"index":1,"delta":{"tool_calls":[{"index":0,"id":"call","type":"function","function":{"name":"f","arguments":"{}"}}]}}]}"#;
        let last = |choices: &str| {
            format!(
                r#"{{"choices":[{choices}],"created":7,"id":"c","model":"m","object":"chat.completion.chunk","tollgate":{{"code":"TG2001"}}}}"#
            )
        };
        let open = |index: u8| format!(r#"{{"delta":{{}},"finish_reason":"length","index":{index},"logprobs":null}}"#);
        check(Api::OpenAiChat, &[said], 3, &[&last(&open(0)), "[DONE]"]);
        check(
            Api::OpenAiChat,
            &[said, tool, "[DONE]"],
            3 + 1 + TOOL_TOKENS + 2,
            &[&last(&format!("{},{}", open(0), open(1))), "[DONE]"],
        );
        check(Api::OpenAiChat, &[said, tool, ended], 6 + TOOL_TOKENS, &[&last(&open(1)), "[DONE]"]);
    }

    #[test]
    fn a_message_ends_as_one_that_reached_its_cap() {
        let start = r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"x","name":"f","input":{}}}"#;
        let delta =
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"a\""}}"#;
        let first = r#"{"type":"content_block_stop","index":0}"#;
        let stop = r#"{"index":1,"type":"content_block_stop"}"#;
        let last = r#"{"delta":{"stop_reason":"max_tokens","stop_sequence":null},"tollgate":{"code":"TG2001"},"type":"message_delta","usage":{"output_tokens":null}}"#;
        check(
            Api::AnthropicMessages,
            &[first, start, delta],
            5 + TOOL_TOKENS,
            &[stop, last, r#"{"type":"message_stop"}"#],
        );
        check(Api::AnthropicMessages, &["not json"], 8, &[last, r#"{"type":"message_stop"}"#]);
    }
}
