//! OpenAI's responses: items of parts of text, each told in pieces and then once more whole, and a last event that tells everything again.
//!
//! So what was given to the client is kept, as the dialect asks for it: an item that is cut short is told as far as it came. Beyond
//! [`KEPT_MAX`] it is not, and the last event says only why the stream ends.

use std::collections::{BTreeMap, BTreeSet};

use schemas::json::Value;
use serde_json::{Map, Value as Json, json};

use super::{Brings, Count, Ending, Tongue, event};
use crate::{
    json::members,
    meter::output_of_openai,
    translate::{Client, usage_in},
};

/// The most that is kept of what was given to a client: some times the text of the longest answers.
const KEPT_MAX: usize = 2 << 20;

/// What comes in pieces: the middle of its events' names, the list of the item that it stands in, if it stands in one, and its member.
const TEXTS: [(&str, &str, &str); 8] = [
    ("output_text", "content", "text"),
    ("refusal", "content", "refusal"),
    ("reasoning_text", "content", "text"),
    ("reasoning_summary_text", "summary", "text"),
    ("function_call_arguments", "", "arguments"),
    ("mcp_call_arguments", "", "arguments"),
    ("custom_tool_call_input", "", "input"),
    ("code_interpreter_call_code", "", "code"),
];

/// The lists of an item whose parts are told whole: the middle of these events' names, and the member that has the part's index.
const PARTS: [(&str, &str, &str); 2] =
    [("content_part", "content", "content_index"), ("reasoning_summary_part", "summary", "summary_index")];

/// What an event says to who reads it.
#[derive(Debug)]
pub(super) struct Said {
    sequence: Option<u64>,
    step: Step,
}

/// What an event does to the response that the client has.
#[derive(Debug)]
enum Step {
    None,
    Response(String),
    Item(u64, String),
    ItemDone(u64, String),
    Part(Thread, String),
    More(Thread, String),
    /// A text or a part has been told whole.
    Done(Thread),
}

/// What is told in pieces: of an item, a text by its place in [`TEXTS`], or a part by its place behind these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Thread {
    item: u64,
    kind: usize,
    index: u64,
}

#[derive(Debug, Default)]
pub(super) struct Responses {
    /// How much output was counted of each item when it was looked at.
    counted: BTreeMap<u64, u64>,
    sequence: u64,
    response: Option<String>,
    items: BTreeMap<u64, Item>,
    open: BTreeSet<Thread>,
    kept: usize,
}

#[derive(Debug)]
struct Item {
    body: Json,
    is_done: bool,
}

/// An event, as far as it is read.
struct Read<'t> {
    sequence: Option<u64>,
    item: u64,
    index: u64,
    response: Option<Value<'t>>,
    body: Option<Value<'t>>,
    delta: Option<Value<'t>>,
    /// A part, or a text that is told whole.
    whole: Option<Value<'t>>,
}

impl<'t> Read<'t> {
    fn of(root: Value<'t>) -> Option<(String, Self)> {
        let named = members(
            root,
            &[
                "type",
                "sequence_number",
                "output_index",
                "content_index",
                "summary_index",
                "response",
                "item",
                "delta",
                "part",
                "text",
                "refusal",
                "arguments",
                "input",
                "code",
            ],
        )?;
        let read = Self {
            sequence: named.count(1),
            item: named.count(2).unwrap_or(0),
            index: named.count(3).or_else(|| named.count(4)).unwrap_or(0),
            response: named.value(5),
            body: named.value(6),
            delta: named.value(7),
            whole: (8..=13).find_map(|place| named.value(place)),
        };
        Some((named.text(0)?, read))
    }

    fn thread(&self, kind: usize) -> Thread {
        Thread { item: self.item, kind, index: self.index }
    }
}

/// The place of what an event is about among texts and parts.
fn kind_of(middle: &str) -> Option<usize> {
    TEXTS.iter().chain(&PARTS).position(|(name, ..)| *name == middle)
}

impl Tongue for Responses {
    fn look(&mut self, count: &Count, _: &str, root: Value<'_>) -> Option<Brings> {
        let (kind, read) = Read::of(root)?;
        let kind = kind.strip_prefix("response.").unwrap_or_default();
        let raw = |value: Option<Value<'_>>| value.map(|value| value.raw().to_owned()).unwrap_or_default();
        let said = |value: Option<Value<'_>>| value.map_or(0, |value| count.said(value));
        let mut brings = Brings::default();
        let step = match kind.rsplit_once('.').unwrap_or((kind, "")) {
            ("created" | "in_progress" | "queued", "") => Step::Response(raw(read.response)),
            ("completed" | "incomplete" | "failed", "") => {
                let named = read.response.and_then(|response| members(response, &["usage", "output"]));
                brings.reported = named.as_ref().and_then(|named| named.value(0)).and_then(output_of_openai);
                let all = self.counted.values().copied().fold(0, u64::saturating_add);
                brings.add([said(named.and_then(|named| named.value(1))).saturating_sub(all)]);
                Step::None
            }
            ("output_item", "added") => {
                brings.add([said(read.body)]);
                Step::Item(read.item, raw(read.body))
            }
            ("output_item", "done") => {
                brings.add([self.beyond(read.item, said(read.body))]);
                Step::ItemDone(read.item, raw(read.body))
            }
            (middle, "delta") => {
                brings.add([said(read.delta)]);
                let text = read.delta.and_then(Value::word).map(String::from);
                kind_of(middle).zip(text).map_or(Step::None, |(kind, text)| Step::More(read.thread(kind), text))
            }
            (middle, "added") => {
                brings.add([said(read.whole)]);
                kind_of(middle).map_or(Step::None, |kind| Step::Part(read.thread(kind), raw(read.whole)))
            }
            (middle, "done") => {
                brings.add([self.beyond(read.item, said(read.whole))]);
                kind_of(middle).map_or(Step::None, |kind| Step::Done(read.thread(kind)))
            }
            _ => Step::None,
        };
        *self.counted.entry(read.item).or_default() += brings.parts;
        brings.said = Some(Box::new(Said { sequence: read.sequence, step }));
        Some(brings)
    }

    fn pass(&mut self, brings: Brings) {
        let Some(said) = brings.said else { return };
        self.sequence = said.sequence.unwrap_or(self.sequence).saturating_add(1);
        match said.step {
            Step::None => {}
            Step::Response(raw) => self.response = Some(raw),
            Step::Item(item, raw) => self.item(item, &raw, false),
            Step::ItemDone(item, raw) => self.item(item, &raw, true),
            Step::Part(thread, raw) => {
                self.open.insert(thread);
                let part = serde_json::from_str(&raw).unwrap_or_default();
                self.keep(raw.len(), |this| this.part(thread).map(|kept| *kept = part));
            }
            Step::More(thread, text) => {
                self.open.insert(thread);
                self.keep(text.len(), |this| this.more(thread, &text));
            }
            Step::Done(thread) => drop(self.open.remove(&thread)),
        }
    }

    fn ending(&self, ending: &Ending<'_>) -> Vec<u8> {
        let mut out = Out { sequence: self.sequence, events: String::new() };
        let mut output = Vec::new();
        for (index, item) in &self.items {
            let mut body = item.body.clone();
            if !item.is_done {
                self.close(*index, &item.body, &mut out);
                if let Some(status) = body.get_mut("status") {
                    *status = "incomplete".into();
                }
                out.send("output_item.done", json!({ "output_index": index, "item": body }));
            }
            output.push(body);
        }
        let response = self.response.as_deref().and_then(|raw| serde_json::from_str::<Map<String, Json>>(raw).ok());
        let mut response = response.unwrap_or_default();
        response.extend([
            ("status".to_owned(), "incomplete".into()),
            ("incomplete_details".to_owned(), json!({ "reason": "max_output_tokens" })),
            ("output".to_owned(), output.into()),
            (
                "usage".to_owned(),
                ending.usage.map(|usage| usage_in(Client::OpenAiResponses, usage)).unwrap_or_default(),
            ),
            ("tollgate".to_owned(), ending.why.clone()),
        ]);
        out.send("incomplete", json!({ "response": response }));
        out.events.into()
    }
}

impl Responses {
    /// How much of what is told whole was not counted when it was told in pieces.
    fn beyond(&self, item: u64, whole: u64) -> u64 {
        whole.saturating_sub(self.counted.get(&item).copied().unwrap_or(0))
    }

    /// Keeps so many bytes more, unless that is too much: then nothing is kept of this response.
    fn keep(&mut self, size: usize, what: impl FnOnce(&mut Self) -> Option<()>) {
        self.kept = self.kept.saturating_add(size);
        if self.kept > KEPT_MAX {
            (self.items, self.open) = (BTreeMap::new(), BTreeSet::new());
            return;
        }
        // What belongs to no item that was told of belongs nowhere.
        what(self);
    }

    fn item(&mut self, index: u64, raw: &str, is_done: bool) {
        if is_done {
            self.open.retain(|thread| thread.item != index);
        }
        let body = serde_json::from_str(raw).unwrap_or_default();
        self.keep(raw.len(), |this| this.items.insert(index, Item { body, is_done }).map(drop));
    }

    /// The part that a text belongs to, or the item itself.
    fn part(&mut self, thread: Thread) -> Option<&mut Json> {
        let (_, list, _) = TEXTS.iter().chain(&PARTS).nth(thread.kind)?;
        let body = &mut self.items.get_mut(&thread.item)?.body;
        if list.is_empty() {
            return Some(body);
        }
        let parts = body.as_object_mut()?.entry(*list).or_insert_with(|| json!([])).as_array_mut()?;
        let index = usize::try_from(thread.index).ok()?;
        // Parts come in order; one that leaves out others is none.
        if index == parts.len() {
            parts.push(json!({}));
        }
        parts.get_mut(index)
    }

    fn more(&mut self, thread: Thread, text: &str) -> Option<()> {
        let (.., member) = TEXTS.get(thread.kind)?;
        let kept = self.part(thread)?.as_object_mut()?.entry(*member).or_insert_with(|| "".into());
        match kept {
            Json::String(kept) => kept.push_str(text),
            other => *other = text.into(),
        }
        Some(())
    }

    /// Tells whole what of an item was told in pieces and not whole: its texts, then the parts that these stand in.
    fn close(&self, index: u64, body: &Json, out: &mut Out) {
        for thread in self.open.iter().filter(|thread| thread.item == index) {
            let Some((middle, list, member)) = TEXTS.iter().chain(&PARTS).nth(thread.kind) else { continue };
            let part =
                if list.is_empty() { body } else { &body[*list][usize::try_from(thread.index).unwrap_or(usize::MAX)] };
            let mut event = json!({ "item_id": body["id"], "output_index": index });
            if let Some((.., place)) = PARTS.iter().find(|(_, of, _)| of == list) {
                event[*place] = thread.index.into();
            }
            match TEXTS.get(thread.kind) {
                Some(_) => event[*member] = part[*member].clone(),
                None => event["part"] = part.clone(),
            }
            if *middle == "output_text" {
                event["logprobs"] = json!([]);
            }
            out.send(&format!("{middle}.done"), event);
        }
    }
}

/// The events of an ending.
struct Out {
    sequence: u64,
    events: String,
}

impl Out {
    fn send(&mut self, kind: &str, mut data: Json) {
        let kind = format!("response.{kind}");
        data["type"] = kind.as_str().into();
        data["sequence_number"] = self.sequence.into();
        self.sequence = self.sequence.saturating_add(1);
        self.events.push_str(&event(&kind, &data));
    }
}
