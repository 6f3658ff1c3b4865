//! One answer out of several: a stream of Anthropic's messages that broke off and another that goes on with its text, as their client sees it.
//!
//! Pure. Of the first answer every frame passes as it came, and what it has said is kept; the next one is asked to go on from there, as
//! the assistant's own beginning. Of it everything passes but what opens a message or a text block that is open already, with the numbers
//! of its blocks after those that were there. Only text can be gone on with: what has been thought or called is its model's own.

use std::ops::Range;

use bytes::Bytes;
use schemas::{
    event::Api,
    json::{Tree, Value},
};

use crate::json::member;

/// The most text that is kept of an answer to go on from; a longer one is not gone on with.
const MOST: usize = 256 << 10;

/// What a client has had of an answer so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Splice {
    text: String,
    /// How many blocks were opened.
    blocks: u64,
    is_block_open: bool,
    /// Whether something came that cannot be gone on with, or the end.
    is_closed: bool,
    /// What the numbers of blocks are moved by, once another answer goes on.
    offset: Option<u64>,
    /// Whether the text that comes next is joined to text without the white space that stood there.
    is_trimmed: bool,
}

/// Why a call cannot ask to be gone on with.
pub(crate) fn refuses(api: Api, body: &[u8]) -> Option<&'static str> {
    if api != Api::AnthropicMessages {
        return Some("only Anthropic's messages let another model go on with an answer (`/v1/messages`)");
    }
    let tree = Tree::read(body).ok()?;
    let thinks = member(tree.root(), "thinking").filter(|thinking| !thinking.is_null())?;
    let is_off = member(thinks, "type").and_then(Value::word).is_some_and(|kind| kind == "disabled");
    (!is_off).then_some("an answer with `thinking` cannot be gone on with by another model")
}

impl Splice {
    /// What another answer has to begin with, without the white space at its end, which Anthropic refuses there; nothing if this one cannot
    /// be gone on with.
    pub(crate) fn begun(&self) -> Option<&str> {
        (!self.is_closed).then(|| self.text.trim_end())
    }

    /// From here on another answer goes on.
    pub(crate) fn go_on(&mut self) {
        self.is_trimmed = self.text.len() > self.text.trim_end().len();
        self.offset = Some(self.blocks - u64::from(self.is_block_open));
    }

    /// What the client gets of a frame, of which this is the data; nothing if it has had that already.
    pub(crate) fn take(&mut self, frame: Bytes, data: &str) -> Option<Bytes> {
        let Ok(tree) = Tree::read_answer(data.as_bytes()) else { return Some(frame) };
        let event = tree.root();
        let kind = member(event, "type").and_then(Value::word).unwrap_or_default();
        let mut edits = Vec::new();
        let mut before = String::new();
        match &*kind {
            "message_start" if self.offset.is_some() => return None,
            "content_block_start" => {
                let is_text = at(event, ["content_block", "type"]).and_then(Value::word).is_some_and(|it| it == "text");
                self.is_closed |= !is_text;
                match self.offset.as_mut().filter(|_| self.is_block_open) {
                    Some(_) if is_text => return None,
                    // What is no text does not go on in a block of text.
                    Some(offset) => {
                        before = stop(*offset);
                        *offset += 1;
                    }
                    None => {}
                }
                (self.blocks, self.is_block_open) = (self.blocks + 1, true);
            }
            "content_block_delta" => {
                match at(event, ["delta", "text"]).and_then(|text| Some((text.span(), text.text()?))) {
                    Some((span, text)) => {
                        let text = text.decoded();
                        let said = if self.is_trimmed { text.trim_start() } else { &text };
                        if said.is_empty() && self.is_trimmed {
                            return None;
                        }
                        if said.len() < text.len() {
                            edits.push((span, serde_json::Value::from(said).to_string()));
                        }
                        self.is_trimmed = false;
                        self.is_closed |= self.text.len() + said.len() > MOST;
                        if !self.is_closed {
                            self.text.push_str(said);
                        }
                    }
                    None => self.is_closed = true,
                }
            }
            "content_block_stop" => self.is_block_open = false,
            "message_delta" | "message_stop" | "error" => self.is_closed = true,
            _ => {}
        }
        let moved = self.offset.filter(|offset| *offset > 0).zip(member(event, "index"));
        if let Some((place, index)) =
            moved.and_then(|(offset, index)| Some((offset + index.raw().parse::<u64>().ok()?, index)))
        {
            edits.push((index.span(), place.to_string()));
        }
        if edits.is_empty() && before.is_empty() {
            return Some(frame);
        }
        Some(Bytes::from(format!("{before}event: {kind}\ndata: {}\n\n", edited(data, edits))))
    }
}

/// Whether an event says that the answer has failed.
pub(crate) fn is_error(data: &str) -> bool {
    let tree =
        Some(data).filter(|data| data.contains("\"error\"")).and_then(|data| Tree::read_answer(data.as_bytes()).ok());
    tree.is_some_and(|tree| member(tree.root(), "type").and_then(Value::word).is_some_and(|kind| kind == "error"))
}

/// The end of a block.
fn stop(index: u64) -> String {
    format!("event: content_block_stop\ndata: {{\"type\":\"content_block_stop\",\"index\":{index}}}\n\n")
}

fn edited(data: &str, mut edits: Vec<(Range<usize>, String)>) -> String {
    // From behind, so that what comes before stays where it is.
    edits.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
    let mut data = data.to_owned();
    edits.into_iter().for_each(|(range, text)| data.replace_range(range, &text));
    data
}

fn at<'t>(value: Value<'t>, path: [&str; 2]) -> Option<Value<'t>> {
    path.into_iter().try_fold(value, member)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn frame(data: &serde_json::Value) -> (Bytes, String) {
        let kind = data["type"].as_str().unwrap();
        (Bytes::from(format!("event: {kind}\ndata: {data}\n\n")), data.to_string())
    }

    fn start(index: u64, kind: &str) -> serde_json::Value {
        json!({ "type": "content_block_start", "index": index, "content_block": { "type": kind } })
    }

    fn text(index: u64, text: &str) -> serde_json::Value {
        json!({ "type": "content_block_delta", "index": index, "delta": { "type": "text_delta", "text": text } })
    }

    fn block_stop(index: u64) -> serde_json::Value {
        json!({ "type": "content_block_stop", "index": index })
    }

    /// What the client has of events before and after a seam, as data, and what the second answer had to begin with.
    fn check(
        first: &[serde_json::Value],
        begun: Option<&str>,
        second: &[serde_json::Value],
        wanted: &[serde_json::Value],
    ) {
        let mut splice = Splice::default();
        for event in first {
            let (frame, data) = frame(event);
            assert_eq!(splice.take(frame.clone(), &data), Some(frame), "the first answer passes as it came");
        }
        assert_eq!(splice.begun(), begun, "{first:?}");
        if begun.is_none() {
            return;
        }
        splice.go_on();
        let mut seen = String::new();
        for event in second {
            let (frame, data) = frame(event);
            seen.push_str(std::str::from_utf8(&splice.take(frame, &data).unwrap_or_default()).unwrap());
        }
        let data: Vec<serde_json::Value> = seen
            .split("\n\n")
            .filter_map(|frame| frame.split_once("data: "))
            .map(|(_, data)| serde_json::from_str(data).unwrap())
            .collect();
        assert_eq!(data, wanted);
    }

    #[test]
    fn another_answer_goes_on_in_the_block_that_was_open() {
        let begin = json!({ "type": "message_start", "message": {} });
        let end = json!({ "type": "message_stop" });
        check(
            &[begin.clone(), start(0, "text"), text(0, "one "), text(0, "two\n")],
            Some("one two"),
            &[begin.clone(), start(0, "text"), text(0, " "), text(0, "\n three"), block_stop(0), end.clone()],
            &[text(0, "three"), block_stop(0), end.clone()],
        );
        // White space that nobody took away stays.
        check(
            &[start(0, "text"), text(0, "one")],
            Some("one"),
            &[start(0, "text"), text(0, " two")],
            &[text(0, " two")],
        );
        // Between two blocks the next one is the next.
        check(
            &[start(0, "text"), text(0, "one"), block_stop(0)],
            Some("one"),
            &[begin.clone(), start(0, "text"), text(0, "two"), block_stop(0), start(1, "tool_use")],
            &[start(1, "text"), text(1, "two"), block_stop(1), start(2, "tool_use")],
        );
        // What is no text ends the block that was open.
        check(
            &[start(0, "text"), text(0, "one")],
            Some("one"),
            &[start(0, "tool_use"), block_stop(0)],
            &[block_stop(0), start(1, "tool_use"), block_stop(1)],
        );
        check(std::slice::from_ref(&begin), Some(""), &[begin.clone(), start(0, "text")], &[start(0, "text")]);
    }

    #[test]
    fn what_is_not_text_or_has_ended_is_not_gone_on_with() {
        for event in [
            start(0, "thinking"),
            start(0, "tool_use"),
            json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "input_json_delta", "partial_json": "{" } }),
            json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" } }),
            text(0, &"a".repeat(MOST + 1)),
        ] {
            check(&[event], None, &[], &[]);
        }
    }

    #[test]
    fn a_call_says_beforehand_whether_it_can_be_gone_on_with() {
        let check = |api: Api, body: serde_json::Value, wanted: bool| {
            assert_eq!(refuses(api, body.to_string().as_bytes()).is_none(), wanted, "{body}");
        };
        check(Api::AnthropicMessages, json!({}), true);
        check(Api::AnthropicMessages, json!({ "thinking": { "type": "disabled" } }), true);
        check(Api::AnthropicMessages, json!({ "thinking": { "type": "enabled" } }), false);
        check(Api::OpenAiChat, json!({}), false);
    }
}
