//! An answer as a client of Anthropic's messages gets it, whole or event by event.
//!
//! What the input amounts to is not known when a stream of another provider begins, and `message_start` has to say a number: the
//! gateway's estimate, which the usage of `message_delta` replaces. A refusal that a model put in words is where Claude explains its own, in
//! `stop_details` and not in the content, so that nobody takes it for an answer.

use schemas::tokens::Vector;

use crate::translate::{
    Told,
    hub::{Answer, Block, Event, Fault, Stop, What},
    ids::fit,
    json::{Json, Mold, object},
    seal::{Kind, Maker, Seal},
};

/// The longest id of a call. Anthropic takes back letters, digits, `_` and `-` only, and a conversation may come to it.
const ID_MAX: usize = 64;

pub(crate) fn whole(answer: &Answer, told: &Told, usage: Option<&Vector>) -> Json {
    let content = answer.parts.iter().filter_map(write_block).collect::<Vec<_>>();
    let mut message = head(told, answer.model.as_deref(), content);
    let stop = answer.stop.clone().unwrap_or(Stop::End);
    let words = |part: &What| if let What::Refusal(words) = part { Some(words.clone()) } else { None };
    let refusal: String = answer.parts.iter().filter_map(words).collect();
    message.put("stop_reason", reason(&stop, answer.has_calls(), &refusal));
    message.put("stop_sequence", sequence(&stop));
    message.put_some("stop_details", details(&stop, &refusal));
    message.put("usage", write_usage(usage));
    message
}

fn head(told: &Told, model: Option<&str>, content: Vec<Json>) -> Json {
    object! {
        "id": format!("msg_{}", told.id), "type": "message", "role": "assistant",
        "model": model.unwrap_or(&told.model), "content": content,
    }
}

fn write_block(part: &What) -> Option<Json> {
    Some(match part {
        What::Text(text) => object! { "type": "text", "text": text },
        What::Thinking(text, seal) => {
            object! { "type": "thinking", "thinking": text, "signature": seal.pack(Maker::Anthropic, Kind::Thinking) }
        }
        What::Sealed(seal) => redacted(seal),
        What::Call(call) => object! {
            "type": "tool_use", "id": fit(&call.id, ID_MAX), "name": call.name.as_str(),
            "input": input(&call.arguments),
        },
        _ => return None,
    })
}

/// Arguments as an object. A model can write what is none; then they are one with the text in it, since a client expects an object.
fn input(arguments: &str) -> Json {
    Json::raw_object(arguments).unwrap_or_else(|| object! { "arguments": arguments })
}

fn redacted(seal: &Seal) -> Json {
    object! { "type": "redacted_thinking", "data": seal.pack(Maker::Anthropic, Kind::Redacted) }
}

fn reason(stop: &Stop, has_calls: bool, refusal: &str) -> &'static str {
    match stop {
        Stop::Length => "max_tokens",
        Stop::Filter(_) | Stop::Refusal(_) => "refusal",
        Stop::Sequence(_) => "stop_sequence",
        Stop::End | Stop::Tool if has_calls => "tool_use",
        Stop::End | Stop::Tool if !refusal.is_empty() => "refusal",
        Stop::End | Stop::Tool => "end_turn",
    }
}

fn sequence(stop: &Stop) -> Option<&str> {
    if let Stop::Sequence(sequence) = stop { sequence.as_deref() } else { None }
}

/// Why it was refused: in the words of the model, or as the provider says it.
fn details(stop: &Stop, refusal: &str) -> Option<Json> {
    let (why, words) = (stop.why(), Some(refusal).filter(|words| !words.is_empty()));
    if why.is_none() && words.is_none() {
        return None;
    }
    let category = why.and_then(|why| why.category.as_deref());
    let explanation = words.or(why.and_then(|why| why.explanation.as_deref()));
    Some(object! { "type": "refusal", "category": category, "explanation": explanation })
}

fn write_usage(usage: Option<&Vector>) -> Json {
    let Some(usage) = usage else {
        return object! { "input_tokens": Json::Null, "output_tokens": Json::Null };
    };
    object! {
        "input_tokens": usage.uncached_input.saturating_add(usage.audio_input).saturating_add(usage.image_input),
        "cache_creation_input_tokens": usage.cache_write_5m.saturating_add(usage.cache_write_1h),
        "cache_read_input_tokens": usage.all_cache_read(),
        "cache_creation": object! {
            "ephemeral_5m_input_tokens": usage.cache_write_5m, "ephemeral_1h_input_tokens": usage.cache_write_1h,
        },
        "output_tokens": usage.all_output(),
    }
}

/// What goes with a stream's end; `cache_creation` has no place there.
pub(crate) fn write_delta_usage(usage: Option<&Vector>) -> Json {
    let Some(usage) = usage else {
        return object! { "output_tokens": Json::Null };
    };
    object! {
        "input_tokens": usage.uncached_input.saturating_add(usage.audio_input).saturating_add(usage.image_input),
        "cache_creation_input_tokens": usage.cache_write_5m.saturating_add(usage.cache_write_1h),
        "cache_read_input_tokens": usage.all_cache_read(),
        "output_tokens": usage.all_output(),
    }
}

pub(crate) fn error(fault: &Fault, kind: &str, id: &str) -> Json {
    let error = object! { "type": kind, "message": fault.message.as_str() };
    object! { "type": "error", "error": error, "request_id": id }
}

/// The event that says more of a block.
const DELTA: &str = "content_block_delta";

/// An event, whose name is its type as well.
fn named(name: &'static str, mut rest: Json) -> Json {
    let mut event = object! { "type": name };
    if let (Json::Object(event), Json::Object(rest)) = (&mut event, &mut rest) {
        event.append(rest);
    }
    event
}

/// Writes the events of a stream.
#[derive(Debug)]
pub(crate) struct Writer {
    told: Told,
    model: Option<String>,
    has_begun: bool,
    has_calls: bool,
    /// The words of a refusal, as far as they have come.
    refusal: String,
    index: usize,
    /// What says more of the open block.
    mold: Option<Mold>,
}

impl Writer {
    pub(crate) const fn new(told: Told) -> Self {
        Self { told, model: None, has_begun: false, has_calls: false, refusal: String::new(), index: 0, mold: None }
    }

    fn send(&self, name: &'static str, rest: Json, out: &mut String) {
        named(name, rest).write_event(Some(name), out);
    }

    fn begin(&mut self, out: &mut String) {
        if !self.has_begun {
            self.has_begun = true;
            let mut message = head(&self.told, self.model.as_deref(), Vec::new());
            message.put("stop_reason", Json::Null);
            message.put("stop_sequence", Json::Null);
            message.put("usage", object! { "input_tokens": self.told.expected_input, "output_tokens": 1_u64 });
            self.send("message_start", object! { "message": message }, out);
        }
    }

    fn start(&self, block: Json, out: &mut String) {
        self.send("content_block_start", object! { "index": self.index, "content_block": block }, out);
    }

    fn more(&mut self, text: &str, block: Option<&Block>, out: &mut String) {
        let mold = self.mold.get_or_insert_with(|| {
            let delta = match block {
                Some(Block::Thinking) => object! { "type": "thinking_delta", "thinking": Json::Gap },
                Some(Block::Call { .. }) => object! { "type": "input_json_delta", "partial_json": Json::Gap },
                _ => object! { "type": "text_delta", "text": Json::Gap },
            };
            Mold::new(Some(DELTA), &named(DELTA, object! { "index": self.index, "delta": delta }))
        });
        mold.fill(None, text, out);
    }

    fn stop(&mut self, out: &mut String) {
        self.send("content_block_stop", object! { "index": self.index }, out);
        self.index += 1;
        self.mold = None;
    }

    pub(crate) fn event(&mut self, event: Event, block: Option<&Block>, out: &mut String) {
        if !matches!(event, Event::Model(_) | Event::Stop(_) | Event::Fault(_) | Event::Aside(_)) {
            self.begin(out);
        }
        match event {
            Event::Model(model) => self.model = Some(model),
            Event::Open(block) => {
                self.mold = None;
                let block = match block {
                    Block::Refusal => return,
                    Block::Text => object! { "type": "text", "text": "" },
                    Block::Thinking => object! { "type": "thinking", "thinking": "", "signature": "" },
                    Block::Call { id, name } => {
                        self.has_calls = true;
                        let id = fit(&id, ID_MAX);
                        object! { "type": "tool_use", "id": id, "name": name, "input": object! {} }
                    }
                };
                self.start(block, out);
            }
            Event::More(text) if block == Some(&Block::Refusal) => self.refusal.push_str(&text),
            Event::Close if block == Some(&Block::Refusal) => {}
            Event::More(text) => self.more(&text, block, out),
            Event::Seal(seal) => {
                let signature = seal.pack(Maker::Anthropic, Kind::Thinking);
                let delta = object! { "type": "signature_delta", "signature": signature };
                self.send(DELTA, object! { "index": self.index, "delta": delta }, out);
            }
            Event::Close => self.stop(out),
            Event::Sealed(seal) => {
                self.start(redacted(&seal), out);
                self.stop(out);
            }
            Event::Stop(_) | Event::Fault(_) | Event::Aside(_) => {}
        }
    }

    pub(crate) fn end(&mut self, stop: &Stop, usage: Option<&Vector>, aside: Option<Json>, out: &mut String) {
        self.begin(out);
        let reason = reason(stop, self.has_calls, &self.refusal);
        let mut delta = object! { "stop_reason": reason, "stop_sequence": sequence(stop) };
        delta.put_some("stop_details", details(stop, &self.refusal));
        let mut last = object! { "delta": delta, "usage": write_delta_usage(usage) };
        last.put_some("tollgate", aside);
        self.send("message_delta", last, out);
        self.send("message_stop", object! {}, out);
    }

    pub(crate) fn fail(&self, fault: &Fault, kind: &str, out: &mut String) {
        let error = object! { "type": kind, "message": fault.message.as_str() };
        self.send("error", object! { "error": error }, out);
    }
}
