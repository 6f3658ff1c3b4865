//! An answer as a client of OpenAI's Responses gets it, whole or event by event.
//!
//! Every block is an item, with its events from `added` to `done`, and the last event holds the whole response again, so a stream
//! keeps what it has said: that is the dialect, and its size is that of the answer.

use schemas::tokens::Vector;

use crate::translate::{
    Told,
    hub::{Answer, Block, Call, Event, Fault, Stop, What},
    json::{Json, Mold, object},
    seal::{Kind, Maker, Seal},
};

pub(crate) fn whole(answer: &Answer, told: &Told, usage: Option<&Vector>) -> Json {
    let ending = Ending::of(answer.stop.as_ref().unwrap_or(&Stop::End));
    let last = answer.parts.len().saturating_sub(1);
    let status = |place: usize| if place == last { ending.of_last() } else { "completed" };
    let items = answer.parts.iter().enumerate().filter_map(|(place, part)| item(told, place, part, status(place)));
    response(told, answer.model.as_deref(), items.collect(), &ending, usage, None)
}

/// How a response stands, and what is said of it.
struct Ending {
    status: &'static str,
    incomplete: Json,
    error: Json,
}

impl Ending {
    fn of(stop: &Stop) -> Self {
        let reason = match stop {
            Stop::Length => "max_output_tokens",
            Stop::Filter(_) | Stop::Refusal(_) => "content_filter",
            Stop::End | Stop::Tool | Stop::Sequence(_) => return Self::plain("completed"),
        };
        Self { status: "incomplete", incomplete: object! { "reason": reason }, error: Json::Null }
    }

    /// How the last item stands: what an answer stops at is not whole.
    fn of_last(&self) -> &'static str {
        if self.status == "incomplete" { "incomplete" } else { "completed" }
    }

    const fn plain(status: &'static str) -> Self {
        Self { status, incomplete: Json::Null, error: Json::Null }
    }

    fn failed(fault: &Fault) -> Self {
        let code = if fault.status == Some(429) { "rate_limit_exceeded" } else { "server_error" };
        let error = object! { "code": code, "message": fault.message.as_str() };
        Self { status: "failed", incomplete: Json::Null, error }
    }
}

fn response(
    told: &Told,
    model: Option<&str>,
    output: Vec<Json>,
    ending: &Ending,
    usage: Option<&Vector>,
    aside: Option<Json>,
) -> Json {
    let echo = |name: &str, absent: Json| {
        told.echo.iter().find(|(member, _)| *member == name).map_or(absent, |(_, value)| value.clone())
    };
    let mut body = object! {
        "id": format!("resp_{}", told.id), "object": "response", "created_at": told.created, "status": ending.status,
        "background": false, "error": ending.error.clone(), "incomplete_details": ending.incomplete.clone(),
        "model": model.unwrap_or(&told.model), "output": output, "previous_response_id": Json::Null, "store": false,
        "parallel_tool_calls": echo("parallel_tool_calls", true.into()), "tool_choice": echo("tool_choice", "auto".into()),
        "tools": echo("tools", Vec::new().into()), "metadata": echo("metadata", object! {}),
        "text": echo("text", object! { "format": object! { "type": "text" } }),
        "truncation": echo("truncation", "disabled".into()),
    };
    for name in ["instructions", "max_output_tokens", "reasoning", "temperature", "top_p", "user"] {
        body.put(name, echo(name, Json::Null));
    }
    body.put("usage", usage.map(write_usage));
    body.put_some("tollgate", aside);
    body
}

pub(crate) fn write_usage(usage: &Vector) -> Json {
    object! {
        "input_tokens": usage.input(),
        "input_tokens_details": object! {
            "cached_tokens": usage.all_cache_read(),
            "cache_write_tokens": usage.cache_write_5m.saturating_add(usage.cache_write_1h),
        },
        "output_tokens": usage.all_output(),
        "output_tokens_details": object! { "reasoning_tokens": usage.reasoning },
        "total_tokens": usage.total(),
    }
}

fn id(told: &Told, kind: &str, place: usize) -> String {
    format!("{kind}_{}_{place}", told.id)
}

/// An item of the output as its block made it.
fn item(told: &Told, place: usize, part: &What, status: &'static str) -> Option<Json> {
    Some(match part {
        What::Text(_) | What::Refusal(_) => object! {
            "id": id(told, "msg", place), "type": "message", "status": status, "role": "assistant",
            "content": vec![content(part)],
        },
        What::Thinking(text, seal) => {
            let mut summary = Vec::new();
            if !text.is_empty() {
                summary.push(object! { "type": "summary_text", "text": text });
            }
            reasoning(told, place, summary, Some(seal))
        }
        What::Sealed(seal) => reasoning(told, place, Vec::new(), Some(seal)),
        What::Call(call) => object! {
            "id": id(told, "fc", place), "type": "function_call", "status": status, "call_id": call.id.as_str(),
            "name": call.name.as_str(), "arguments": arguments(call),
        },
        _ => return None,
    })
}

/// A call without arguments has an empty object, which clients parse.
fn arguments(call: &Call) -> &str {
    if call.arguments.is_empty() { "{}" } else { &call.arguments }
}

fn reasoning(told: &Told, place: usize, summary: Vec<Json>, seal: Option<&Seal>) -> Json {
    let mut item = object! { "id": id(told, "rs", place), "type": "reasoning", "summary": summary };
    item.put_some("encrypted_content", seal.map(|seal| seal.pack(Maker::OpenAi, Kind::Redacted)));
    item
}

fn content(part: &What) -> Json {
    match part {
        What::Refusal(text) => object! { "type": "refusal", "refusal": text },
        What::Text(text) => {
            object! { "type": "output_text", "text": text, "annotations": Vec::new(), "logprobs": Vec::new() }
        }
        _ => Json::Null,
    }
}

/// An event, whose name is its type as well.
fn numbered(name: &'static str, sequence: Json, mut rest: Json) -> Json {
    let mut event = object! { "type": name, "sequence_number": sequence };
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
    sequence: u64,
    items: Vec<Json>,
    /// The open block, as far as it has come.
    open: Option<What>,
    /// Whether no more of it comes.
    is_over: bool,
    /// What says more of it.
    mold: Option<Mold>,
}

impl Writer {
    pub(crate) const fn new(told: Told) -> Self {
        Self { told, model: None, sequence: 0, items: Vec::new(), open: None, is_over: false, mold: None }
    }

    fn send(&mut self, name: &'static str, rest: Json, out: &mut String) {
        numbered(name, self.sequence.into(), rest).write_event(Some(name), out);
        self.sequence += 1;
    }

    fn begin(&mut self, out: &mut String) {
        if self.sequence == 0 {
            let ending = Ending::plain("in_progress");
            let response = response(&self.told, self.model.as_deref(), Vec::new(), &ending, None, None);
            self.send("response.created", object! { "response": response.clone() }, out);
            self.send("response.in_progress", object! { "response": response }, out);
        }
    }

    /// An event about the open item.
    fn about(&mut self, kind: &str, name: &'static str, place: Option<&'static str>, rest: Json, out: &mut String) {
        self.send(name, self.of_open(kind, place, rest), out);
    }

    fn of_open(&self, kind: &str, place: Option<&'static str>, mut rest: Json) -> Json {
        let index = self.items.len();
        let mut event = object! { "item_id": id(&self.told, kind, index), "output_index": index };
        event.put_some(place.unwrap_or_default(), place.map(|_| 0_u64));
        if let (Json::Object(event), Json::Object(rest)) = (&mut event, &mut rest) {
            event.append(rest);
        }
        event
    }

    fn added(&mut self, item: Json, out: &mut String) {
        let index = self.items.len();
        self.send("response.output_item.added", object! { "output_index": index, "item": item }, out);
    }

    fn done(&mut self, item: Json, out: &mut String) {
        let index = self.items.len();
        self.send("response.output_item.done", object! { "output_index": index, "item": item.clone() }, out);
        self.items.push(item);
        self.mold = None;
    }

    pub(crate) fn event(&mut self, event: Event, out: &mut String) {
        match event {
            Event::Model(model) => {
                self.model = Some(model);
                return;
            }
            Event::Stop(_) | Event::Fault(_) | Event::Aside(_) => return,
            Event::Close => {
                self.is_over = true;
                return;
            }
            _ => self.begin(out),
        }
        self.close("completed", out);
        match event {
            Event::Open(block) => self.open(block, out),
            Event::More(text) => self.more(&text, out),
            Event::Seal(proof) => {
                if let Some(What::Thinking(_, seal)) = &mut self.open {
                    *seal = proof;
                }
            }
            Event::Sealed(seal) => {
                let index = self.items.len();
                let item = reasoning(&self.told, index, Vec::new(), Some(&seal));
                self.added(item.clone(), out);
                self.done(item, out);
            }
            Event::Model(_) | Event::Stop(_) | Event::Fault(_) | Event::Aside(_) | Event::Close => {}
        }
    }

    fn open(&mut self, block: Block, out: &mut String) {
        self.mold = None;
        let part = match block {
            Block::Text => What::Text(String::new()),
            Block::Refusal => What::Refusal(String::new()),
            Block::Thinking => What::Thinking(String::new(), Seal::none()),
            Block::Call { id, name } => What::Call(Call { id, name, arguments: String::new() }),
        };
        let index = self.items.len();
        let item = match &part {
            What::Text(_) | What::Refusal(_) => object! {
                "id": id(&self.told, "msg", index), "type": "message", "status": "in_progress", "role": "assistant",
                "content": Vec::new(),
            },
            What::Thinking(..) => reasoning(&self.told, index, Vec::new(), None),
            What::Call(call) => object! {
                "id": id(&self.told, "fc", index), "type": "function_call", "status": "in_progress",
                "call_id": call.id.as_str(), "name": call.name.as_str(), "arguments": "",
            },
            _ => Json::Null,
        };
        self.added(item, out);
        match &part {
            What::Text(_) | What::Refusal(_) => {
                let rest = object! { "part": content(&part) };
                self.about("msg", "response.content_part.added", Some("content_index"), rest, out);
            }
            What::Thinking(..) => {
                let rest = object! { "part": object! { "type": "summary_text", "text": "" } };
                self.about("rs", "response.reasoning_summary_part.added", Some("summary_index"), rest, out);
            }
            _ => {}
        }
        self.open = Some(part);
    }

    fn more(&mut self, more: &str, out: &mut String) {
        let (kind, name, place) = match &mut self.open {
            Some(What::Text(text)) => {
                text.push_str(more);
                ("msg", "response.output_text.delta", Some("content_index"))
            }
            Some(What::Refusal(text)) => {
                text.push_str(more);
                ("msg", "response.refusal.delta", Some("content_index"))
            }
            Some(What::Thinking(text, _)) => {
                text.push_str(more);
                ("rs", "response.reasoning_summary_text.delta", Some("summary_index"))
            }
            Some(What::Call(call)) => {
                call.arguments.push_str(more);
                ("fc", "response.function_call_arguments.delta", None)
            }
            _ => return,
        };
        let mold = self.mold.take().unwrap_or_else(|| {
            let mut rest = object! { "delta": Json::Gap };
            if name == "response.output_text.delta" {
                rest.put("logprobs", Vec::new());
            }
            Mold::new(Some(name), &numbered(name, Json::Gap, self.of_open(kind, place, rest)))
        });
        mold.fill(Some(self.sequence), more, out);
        self.sequence += 1;
        self.mold = Some(mold);
    }

    /// Ends the item that is over. That is told when it is known whether the answer stopped at it: with what comes next.
    fn close(&mut self, status: &'static str, out: &mut String) {
        let Some(part) = self.open.take_if(|_| self.is_over) else { return };
        self.is_over = false;
        match &part {
            What::Text(text) => {
                let rest = object! { "text": text, "logprobs": Vec::new() };
                self.about("msg", "response.output_text.done", Some("content_index"), rest, out);
            }
            What::Refusal(text) => {
                let rest = object! { "refusal": text };
                self.about("msg", "response.refusal.done", Some("content_index"), rest, out);
            }
            What::Thinking(text, _) => {
                let rest = object! { "text": text };
                self.about("rs", "response.reasoning_summary_text.done", Some("summary_index"), rest, out);
                let rest = object! { "part": object! { "type": "summary_text", "text": text } };
                self.about("rs", "response.reasoning_summary_part.done", Some("summary_index"), rest, out);
            }
            What::Call(call) => {
                let rest = object! { "name": call.name.as_str(), "arguments": arguments(call) };
                self.about("fc", "response.function_call_arguments.done", None, rest, out);
            }
            _ => {}
        }
        if matches!(part, What::Text(_) | What::Refusal(_)) {
            let rest = object! { "part": content(&part) };
            self.about("msg", "response.content_part.done", Some("content_index"), rest, out);
        }
        if let Some(item) = item(&self.told, self.items.len(), &part, status) {
            self.done(item, out);
        }
    }

    pub(crate) fn end(&mut self, stop: &Stop, usage: Option<&Vector>, aside: Option<Json>, out: &mut String) {
        self.begin(out);
        let ending = Ending::of(stop);
        self.close(ending.of_last(), out);
        let name = if ending.status == "completed" { "response.completed" } else { "response.incomplete" };
        self.last(name, &ending, usage, aside, out);
    }

    pub(crate) fn fail(&mut self, fault: &Fault, out: &mut String) {
        self.begin(out);
        self.close("completed", out);
        self.last("response.failed", &Ending::failed(fault), None, None, out);
    }

    fn last(
        &mut self,
        name: &'static str,
        ending: &Ending,
        usage: Option<&Vector>,
        aside: Option<Json>,
        out: &mut String,
    ) {
        let items = std::mem::take(&mut self.items);
        let response = response(&self.told, self.model.as_deref(), items, ending, usage, aside);
        self.send(name, object! { "response": response }, out);
    }
}
