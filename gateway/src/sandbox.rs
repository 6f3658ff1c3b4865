//! The built-in provider: deterministic answers of a stated size, in process, behind the upstream seam.
//!
//! A model `sandbox/<n>` answers with `n` tokens of text (embeddings: `n` dimensions), in the provider's dialect, streamed or
//! not, and reports its usage truthfully: a token of input is four bytes of text, rounded up; a token of output is a word; a
//! cap ends the answer as a real provider would. Frames are made when they are asked for, `frame_delay` apart.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::StatusCode;
use schemas::{event::Api, time::Time, wire};
use serde_json::{Value, json};
use tokio::time::Sleep;

use crate::{error::Dialect, route};

mod responses;

/// Tokens in one frame of a stream.
const GROUP: u64 = 4;
/// The longest answer.
const MAX_TOKENS: u64 = 1_000_000;
/// The most dimensions of an embedding.
const MAX_DIMENSIONS: u64 = 4_096;

const WORDS: [&str; 16] = [
    "the ", "gate ", "counts ", "each ", "token ", "that ", "passes ", "and ", "writes ", "it ", "down ", "before ",
    "anyone ", "can ", "spend ", "more ",
];

/// An answer: its status, whether it is a stream, and its body.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) is_stream: bool,
    pub(crate) body: Body,
}

/// A body, made as it is read.
pub(crate) struct Body {
    script: Script,
    next: u64,
    delay: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

enum Script {
    Whole(Bytes),
    Chat(Reply),
    Messages(Reply),
    Responses(Reply),
}

/// What an answer says.
struct Reply {
    id: String,
    model: String,
    created: i64,
    input: u64,
    output: u64,
    is_capped: bool,
    include_usage: bool,
}

/// Answers a request.
pub(crate) fn answer(api: Api, body: &[u8], delay: Duration, at: Time) -> Answer {
    let (status, is_stream, script) = match script(api, body, at) {
        Ok((is_stream, script)) => (StatusCode::OK, is_stream, script),
        Err((status, message)) => (status, false, Script::Whole(refusal(api, status, &message))),
    };
    Answer { status, is_stream, body: Body { script, next: 0, delay, sleep: None } }
}

fn script(api: Api, body: &[u8], at: Time) -> Result<(bool, Script), (StatusCode, String)> {
    let bad = |message: &str| (StatusCode::BAD_REQUEST, message.to_owned());
    let request: Value = serde_json::from_slice(body).map_err(|_| bad("the body is not JSON"))?;
    let model = request["model"].as_str().unwrap_or_default().to_owned();
    let Some(size) = model.strip_prefix("sandbox/").and_then(|size| size.parse::<u64>().ok()) else {
        return Err((StatusCode::NOT_FOUND, format!("the sandbox has no model `{model}`; ask for `sandbox/<tokens>`")));
    };
    let is_stream = request["stream"].as_bool().unwrap_or(false);
    let cap =
        ["max_completion_tokens", "max_tokens", "max_output_tokens"].iter().find_map(|name| request[*name].as_u64());
    let wanted = size.min(MAX_TOKENS);
    let reply = Reply {
        id: format!("{:016x}", wire::hash(body)),
        input: input_tokens(&request),
        output: cap.map_or(wanted, |cap| wanted.min(cap)),
        is_capped: cap.is_some_and(|cap| cap < wanted),
        created: at.as_micros() / 1_000_000,
        include_usage: request["stream_options"]["include_usage"].as_bool().unwrap_or(false),
        model,
    };
    match api {
        Api::OpenAiEmbeddings => Ok((false, Script::Whole(embeddings(&request, &reply, size)))),
        Api::AnthropicCountTokens => Ok((false, Script::Whole(json_bytes(&json!({ "input_tokens": reply.input }))))),
        Api::OpenAiChat if request["n"].as_u64().is_some_and(|n| n != 1) => {
            Err(bad("the sandbox answers with one choice"))
        }
        Api::OpenAiChat if is_stream => Ok((true, Script::Chat(reply))),
        Api::OpenAiChat => Ok((false, Script::Whole(json_bytes(&reply.chat())))),
        Api::OpenAiResponses if is_stream => Ok((true, Script::Responses(reply))),
        Api::OpenAiResponses => Ok((false, Script::Whole(json_bytes(&reply.response(true))))),
        Api::AnthropicMessages if cap.is_none() => Err(bad("max_tokens: Field required")),
        Api::AnthropicMessages if is_stream => Ok((true, Script::Messages(reply))),
        Api::AnthropicMessages => Ok((false, Script::Whole(json_bytes(&reply.message(true))))),
        other => Err((StatusCode::NOT_FOUND, format!("the sandbox does not serve {}", other.name()))),
    }
}

/// Four bytes of text are a token; where the input is tokens already, they are counted.
fn input_tokens(request: &Value) -> u64 {
    fn bytes(value: &Value) -> u64 {
        match value {
            Value::String(text) => text.len() as u64,
            Value::Number(_) => 4,
            Value::Array(items) => items.iter().map(bytes).sum(),
            Value::Object(members) => members
                .iter()
                .filter(|(name, _)| *name == "content" || *name == "text")
                .map(|(_, value)| bytes(value))
                .sum(),
            Value::Bool(_) | Value::Null => 0,
        }
    }
    ["messages", "system", "input", "instructions"].iter().map(|name| bytes(&request[*name])).sum::<u64>().div_ceil(4)
}

fn refusal(api: Api, status: StatusCode, message: &str) -> Bytes {
    let kind = if status == StatusCode::NOT_FOUND { "not_found_error" } else { "invalid_request_error" };
    json_bytes(&match route::dialect(api) {
        Dialect::Anthropic => json!({ "type": "error", "error": { "type": kind, "message": message } }),
        _ => json!({ "error": { "message": message, "type": kind, "param": null, "code": null } }),
    })
}

fn embeddings(request: &Value, reply: &Reply, size: u64) -> Bytes {
    let inputs = match &request["input"] {
        Value::Array(items) if !items.iter().any(Value::is_number) => items.len(),
        _ => 1,
    };
    let dimensions = request["dimensions"].as_u64().unwrap_or(size).clamp(1, MAX_DIMENSIONS);
    let as_base64 = request["encoding_format"].as_str() == Some("base64");
    let data: Vec<Value> = (0..inputs)
        .map(|index| {
            let floats = (0..dimensions).map(|place| component(index as u64, place));
            let embedding = if as_base64 {
                let bytes: Vec<u8> = floats.flat_map(f32::to_le_bytes).collect();
                Value::from(base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes))
            } else {
                floats.map(Value::from).collect()
            };
            json!({ "object": "embedding", "index": index, "embedding": embedding })
        })
        .collect();
    let usage = json!({ "prompt_tokens": reply.input, "total_tokens": reply.input });
    json_bytes(&json!({ "object": "list", "data": data, "model": reply.model, "usage": usage }))
}

/// A value between -1 and 1 that depends on its place only.
fn component(index: u64, place: u64) -> f32 {
    let step = u16::try_from((index * 31 + place * 17) % 2_001).unwrap_or(0);
    f32::from(step) / 1_000.0 - 1.0
}

fn json_bytes(value: &Value) -> Bytes {
    Bytes::from(value.to_string())
}

fn text(from: u64, to: u64) -> String {
    (from..to).map(|token| WORDS[(token % WORDS.len() as u64) as usize]).collect()
}

impl Reply {
    fn finish(&self) -> &'static str {
        if self.is_capped { "length" } else { "stop" }
    }

    fn chat_usage(&self) -> Value {
        json!({ "prompt_tokens": self.input, "completion_tokens": self.output, "total_tokens": self.input + self.output })
    }

    fn chat(&self) -> Value {
        let message = json!({ "role": "assistant", "content": text(0, self.output), "refusal": null });
        json!({
            "id": format!("chatcmpl-{}", self.id), "object": "chat.completion", "created": self.created, "model": self.model,
            "choices": [{ "index": 0, "message": message, "logprobs": null, "finish_reason": self.finish() }],
            "usage": self.chat_usage(), "service_tier": "default",
        })
    }

    fn chat_chunk(&self, choices: &Value, usage: &Value) -> Bytes {
        let mut chunk = json!({
            "id": format!("chatcmpl-{}", self.id), "object": "chat.completion.chunk", "created": self.created,
            "model": self.model, "choices": choices,
        });
        if self.include_usage {
            chunk["usage"] = usage.clone();
        }
        Bytes::from(format!("data: {chunk}\n\n"))
    }

    /// The frame at a place of a chat stream: role, text, finish, usage if asked for, end.
    fn chat_frame(&self, place: u64) -> Option<Bytes> {
        let groups = self.output.div_ceil(GROUP);
        let delta = |delta: Value, finish: Value| json!([{ "index": 0, "delta": delta, "finish_reason": finish }]);
        let tail = place.checked_sub(groups + 1);
        match (place, tail) {
            (0, _) => {
                Some(self.chat_chunk(&delta(json!({ "role": "assistant", "content": "" }), Value::Null), &Value::Null))
            }
            (_, None) => {
                let said = text((place - 1) * GROUP, (place * GROUP).min(self.output));
                Some(self.chat_chunk(&delta(json!({ "content": said }), Value::Null), &Value::Null))
            }
            (_, Some(0)) => Some(self.chat_chunk(&delta(json!({}), self.finish().into()), &Value::Null)),
            (_, Some(1)) if self.include_usage => Some(self.chat_chunk(&json!([]), &self.chat_usage())),
            (_, Some(after)) if after == 1 + u64::from(self.include_usage) => {
                Some(Bytes::from_static(b"data: [DONE]\n\n"))
            }
            _ => None,
        }
    }

    fn message(&self, is_whole: bool) -> Value {
        let output = if is_whole { self.output } else { 1.min(self.output) };
        let content = if is_whole { json!([{ "type": "text", "text": text(0, self.output) }]) } else { json!([]) };
        let stop = if is_whole { Value::from(self.stop()) } else { Value::Null };
        json!({
            "id": format!("msg_{}", self.id), "type": "message", "role": "assistant", "model": self.model,
            "content": content, "stop_reason": stop, "stop_sequence": null,
            "usage": {
                "input_tokens": self.input, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
                "output_tokens": output, "service_tier": "standard",
            },
        })
    }

    fn stop(&self) -> &'static str {
        if self.is_capped { "max_tokens" } else { "end_turn" }
    }

    /// The frame at a place of a messages stream.
    fn message_frame(&self, place: u64) -> Option<Bytes> {
        let groups = self.output.div_ceil(GROUP);
        let event = |value: Value| {
            let name = value["type"].as_str().unwrap_or_default().to_owned();
            Bytes::from(format!("event: {name}\ndata: {value}\n\n"))
        };
        let tail = place.checked_sub(groups + 2);
        Some(event(match (place, tail) {
            (0, _) => json!({ "type": "message_start", "message": self.message(false) }),
            (1, _) => {
                json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } })
            }
            (_, None) => {
                let said = text((place - 2) * GROUP, ((place - 1) * GROUP).min(self.output));
                json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": said } })
            }
            (_, Some(0)) => json!({ "type": "content_block_stop", "index": 0 }),
            (_, Some(1)) => json!({
                "type": "message_delta", "delta": { "stop_reason": self.stop(), "stop_sequence": null },
                "usage": { "output_tokens": self.output },
            }),
            (_, Some(2)) => json!({ "type": "message_stop" }),
            _ => return None,
        }))
    }
}

impl Body {
    fn frame(&self) -> Option<Bytes> {
        match &self.script {
            Script::Whole(body) => (self.next == 0).then(|| body.clone()),
            Script::Chat(reply) => reply.chat_frame(self.next),
            Script::Messages(reply) => reply.message_frame(self.next),
            Script::Responses(reply) => reply.response_frame(self.next),
        }
    }

    /// The next frame when it is due; nothing at the end.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if !self.delay.is_zero() {
            let delay = self.delay;
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(delay)));
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.sleep = None;
        }
        let frame = self.frame();
        self.next += 1;
        Poll::Ready(frame)
    }

    /// The size of a body that is not a stream.
    pub(crate) fn len(&self) -> Option<usize> {
        match &self.script {
            Script::Whole(body) => Some(body.len()),
            Script::Chat(_) | Script::Messages(_) | Script::Responses(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
