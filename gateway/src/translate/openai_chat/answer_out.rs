//! An answer as a client of chat completions gets it, whole or chunk by chunk.

use schemas::tokens::Vector;

use crate::translate::{
    Told,
    hub::{Answer, Block, Event, Fault, Stop, What},
    json::{Json, Mold, object},
    openai_chat::order::After,
    seal::{Kind, Maker, Seal},
};

pub(crate) fn whole(answer: &Answer, told: &Told, usage: Option<&Vector>) -> Json {
    let (mut text, mut refusal, mut thoughts) = (None::<String>, None::<String>, String::new());
    let (mut details, mut calls, mut proof, mut after) = (Vec::new(), Vec::new(), None, After::default());
    for part in &answer.parts {
        match part {
            What::Text(more) => {
                after.say(more);
                text.get_or_insert_default().push_str(more);
            }
            What::Refusal(more) => refusal.get_or_insert_default().push_str(more),
            What::Thinking(more, seal) => {
                thoughts.push_str(more);
                details.push(shown(details.len(), more, seal, after));
            }
            What::Sealed(seal) if seal.kind == Kind::Call => proof = Some(seal),
            What::Sealed(seal) => details.push(hidden(details.len(), seal, None, after)),
            What::Call(call) => {
                details.extend(proof.take().map(|seal| hidden(details.len(), seal, Some(&call.id), after)));
                after.calls += 1;
                calls.push(object! {
                    "id": call.id.as_str(), "type": "function",
                    "function": object! { "name": call.name.as_str(), "arguments": whole_arguments(&call.arguments) },
                });
            }
            _ => {}
        }
    }
    let mut message = object! { "role": "assistant", "content": text, "refusal": refusal };
    if !thoughts.is_empty() {
        message.put("reasoning_content", thoughts);
    }
    message.put_full("reasoning_details", details);
    message.put_full("tool_calls", calls);
    let reason = reason(answer.stop.as_ref(), answer.has_calls());
    let choice = object! { "index": 0_u64, "message": message, "logprobs": Json::Null, "finish_reason": reason };
    let mut body = head(told, "chat.completion", answer.model.as_deref(), vec![choice]);
    body.put_some("usage", usage.map(write_usage));
    body
}

/// A call without arguments has an empty object, which clients parse.
fn whole_arguments(arguments: &str) -> &str {
    if arguments.is_empty() { "{}" } else { arguments }
}

fn head(told: &Told, object: &'static str, model: Option<&str>, choices: Vec<Json>) -> Json {
    object! {
        "id": format!("chatcmpl-{}", told.id), "object": object, "created": told.created,
        "model": model.unwrap_or(&told.model), "choices": choices,
    }
}

fn shown(place: usize, text: &str, seal: &Seal, after: After) -> Json {
    let mut detail = object! { "type": "reasoning.text", "index": place, "text": text };
    if !seal.data.is_empty() {
        detail.put("signature", seal.data.as_str());
    }
    if seal.kind == Kind::Plan {
        detail.put("id", "plan");
    }
    detail.put("format", seal.maker.format());
    after.write(&mut detail);
    detail
}

fn hidden(place: usize, seal: &Seal, call: Option<&str>, after: After) -> Json {
    let mut detail = object! { "type": "reasoning.encrypted", "index": place, "data": seal.data.as_str() };
    detail.put("format", seal.maker.format());
    // What is proved is told by the id: a call, or with none the text.
    if seal.maker == Maker::Google {
        detail.put("id", call);
    } else {
        after.write(&mut detail);
    }
    detail
}

fn reason(stop: Option<&Stop>, has_calls: bool) -> &'static str {
    match stop {
        Some(Stop::Length) => "length",
        Some(Stop::Filter(_) | Stop::Refusal(_)) => "content_filter",
        _ if has_calls => "tool_calls",
        _ => "stop",
    }
}

pub(crate) fn write_usage(usage: &Vector) -> Json {
    object! {
        "prompt_tokens": usage.input(), "completion_tokens": usage.all_output(), "total_tokens": usage.total(),
        "prompt_tokens_details": object! {
            "cached_tokens": usage.all_cache_read(), "audio_tokens": usage.audio_input,
            "cache_write_tokens": usage.cache_write_5m.saturating_add(usage.cache_write_1h),
        },
        "completion_tokens_details": object! {
            "reasoning_tokens": usage.reasoning, "audio_tokens": usage.audio_output,
        },
    }
}

pub(crate) fn error(fault: &Fault, kind: &str) -> Json {
    let code = fault.code.as_deref();
    object! { "error": object! { "message": fault.message.as_str(), "type": kind, "param": Json::Null, "code": code } }
}

/// Writes the chunks of a stream.
#[derive(Debug)]
pub(crate) struct Writer {
    told: Told,
    model: Option<String>,
    has_begun: bool,
    /// The thinking that is open.
    thought: String,
    /// The reasoning and its proofs. They go out at once, before the end: SDKs that put a stream together keep the last that came of a member
    /// which they do not know.
    details: Vec<Json>,
    calls: usize,
    /// What was said and called.
    after: After,
    is_calling: bool,
    proof: Option<Seal>,
    /// What says more of the open block.
    mold: Option<Mold>,
}

impl Writer {
    pub(crate) fn new(told: Told) -> Self {
        Self {
            told,
            model: None,
            has_begun: false,
            thought: String::new(),
            details: Vec::new(),
            calls: 0,
            after: After::default(),
            is_calling: false,
            proof: None,
            mold: None,
        }
    }

    fn chunk(&self, choices: Vec<Json>) -> Json {
        head(&self.told, "chat.completion.chunk", self.model.as_deref(), choices)
    }

    fn send(&self, chunk: &Json, out: &mut String) {
        chunk.write_event(None, out);
    }

    fn said(&self, delta: Json) -> Json {
        let choice = object! { "index": 0_u64, "delta": delta, "logprobs": Json::Null, "finish_reason": Json::Null };
        self.chunk(vec![choice])
    }

    fn begin(&mut self, out: &mut String) {
        if !self.has_begun {
            self.has_begun = true;
            let first = object! { "role": "assistant", "content": "", "refusal": Json::Null };
            self.send(&self.said(first), out);
        }
    }

    fn delta(&mut self, delta: Json, out: &mut String) {
        self.begin(out);
        if !delta.is_bare() {
            self.send(&self.said(delta), out);
        }
    }

    pub(crate) fn event(&mut self, event: Event, block: Option<&Block>, out: &mut String) {
        if matches!(event, Event::Model(_) | Event::Open(_)) {
            self.mold = None;
        }
        match event {
            Event::Model(model) => self.model = Some(model),
            Event::Open(Block::Call { id, name }) => {
                if let Some(seal) = self.proof.take() {
                    self.details.push(hidden(self.details.len(), &seal, Some(&id), self.after));
                }
                let function = object! { "name": name, "arguments": "" };
                let call = object! { "index": self.calls, "id": id, "type": "function", "function": function };
                self.calls += 1;
                self.after.calls += 1;
                self.is_calling = false;
                self.delta(object! { "tool_calls": vec![call] }, out);
            }
            Event::Open(_) => self.begin(out),
            Event::More(text) => self.more(&text, block, out),
            Event::Seal(seal) => {
                let thought = std::mem::take(&mut self.thought);
                self.details.push(shown(self.details.len(), &thought, &seal, self.after));
            }
            Event::Close => match block {
                Some(Block::Call { .. }) if !self.is_calling => self.more("{}", block, out),
                _ => {}
            },
            Event::Sealed(seal) if seal.kind == Kind::Call => self.proof = Some(seal),
            Event::Sealed(seal) => self.details.push(hidden(self.details.len(), &seal, None, self.after)),
            Event::Stop(_) | Event::Fault(_) | Event::Aside(_) => {}
        }
    }

    fn more(&mut self, text: &str, block: Option<&Block>, out: &mut String) {
        let Some(block) = block else { return };
        match block {
            Block::Thinking => self.thought.push_str(text),
            Block::Call { .. } => self.is_calling = true,
            Block::Text => self.after.say(text),
            Block::Refusal => {}
        }
        self.begin(out);
        let mold = self.mold.take().unwrap_or_else(|| self.mold(block));
        mold.fill(None, text, out);
        self.mold = Some(mold);
    }

    fn mold(&self, block: &Block) -> Mold {
        let delta = match block {
            Block::Text => object! { "content": Json::Gap },
            Block::Refusal => object! { "refusal": Json::Gap },
            Block::Thinking => object! { "reasoning_content": Json::Gap },
            Block::Call { .. } => {
                let place = self.calls.saturating_sub(1);
                let call = object! { "index": place, "function": object! { "arguments": Json::Gap } };
                object! { "tool_calls": vec![call] }
            }
        };
        Mold::new(None, &self.said(delta))
    }

    pub(crate) fn end(&mut self, stop: &Stop, usage: Option<&Vector>, aside: Option<Json>, out: &mut String) {
        let mut details = object! {};
        details.put_full("reasoning_details", std::mem::take(&mut self.details));
        self.delta(details, out);
        let reason = reason(Some(stop), self.calls > 0);
        let choice = object! { "index": 0_u64, "delta": object! {}, "logprobs": Json::Null, "finish_reason": reason };
        let mut last = self.chunk(vec![choice]);
        last.put_some("tollgate", aside);
        self.send(&last, out);
        if let Some(usage) = usage.filter(|_| self.told.wants_usage) {
            let mut chunk = self.chunk(Vec::new());
            chunk.put("usage", write_usage(usage));
            self.send(&chunk, out);
        }
        out.push_str("data: [DONE]\n\n");
    }

    pub(crate) fn fail(&self, fault: &Fault, kind: &str, out: &mut String) {
        error(fault, kind).write_event(None, out);
        out.push_str("data: [DONE]\n\n");
    }
}
