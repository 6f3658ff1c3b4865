//! The sandbox's answers in the shape of OpenAI's responses: whole, and as the events of a stream.
//!
//! One message of text and nothing else. An answer that its cap cuts short is incomplete, as OpenAI's are.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{GROUP, Reply, text};

impl Reply {
    /// The response object, as it is at first or at last.
    pub(super) fn response(&self, is_done: bool) -> Value {
        let (status, details) = match (is_done, self.is_capped) {
            (false, _) => ("in_progress", Value::Null),
            (true, true) => ("incomplete", json!({ "reason": "max_output_tokens" })),
            (true, false) => ("completed", Value::Null),
        };
        let usage = json!({
            "input_tokens": self.input, "input_tokens_details": { "cached_tokens": 0 },
            "output_tokens": self.output, "output_tokens_details": { "reasoning_tokens": 0 },
            "total_tokens": self.input + self.output,
        });
        json!({
            "id": format!("resp_{}", self.id), "object": "response", "created_at": self.created, "status": status,
            "background": false, "error": null, "incomplete_details": details, "instructions": null, "metadata": {},
            "model": self.model, "output": if is_done { json!([self.item(is_done)]) } else { json!([]) },
            "parallel_tool_calls": true, "temperature": 1.0, "tool_choice": "auto", "tools": [], "top_p": 1.0,
            "service_tier": "default", "usage": if is_done { usage } else { Value::Null },
        })
    }

    fn item(&self, is_done: bool) -> Value {
        let content = if is_done { json!([self.part(is_done)]) } else { json!([]) };
        let status = if is_done { "completed" } else { "in_progress" };
        json!({ "id": format!("msg_{}", self.id), "type": "message", "role": "assistant", "status": status, "content": content })
    }

    fn part(&self, is_done: bool) -> Value {
        let said = if is_done { text(0, self.output) } else { String::new() };
        json!({ "type": "output_text", "text": said, "annotations": [] })
    }

    /// The event at a place of a stream.
    pub(super) fn response_frame(&self, place: u64) -> Option<Bytes> {
        let groups = self.output.div_ceil(GROUP);
        let of_part = json!({ "item_id": format!("msg_{}", self.id), "output_index": 0, "content_index": 0 });
        let tail = place.checked_sub(groups + 3);
        let (kind, more) = match (place, tail) {
            (0, _) => ("response.created", json!({ "response": self.response(false) })),
            (1, _) => ("response.output_item.added", json!({ "output_index": 0, "item": self.item(false) })),
            (2, _) => ("response.content_part.added", json!({ "part": self.part(false) })),
            (_, None) => {
                let said = text((place - 3) * GROUP, ((place - 2) * GROUP).min(self.output));
                ("response.output_text.delta", json!({ "delta": said, "logprobs": [] }))
            }
            (_, Some(0)) => ("response.output_text.done", json!({ "text": text(0, self.output), "logprobs": [] })),
            (_, Some(1)) => ("response.content_part.done", json!({ "part": self.part(true) })),
            (_, Some(2)) => ("response.output_item.done", json!({ "output_index": 0, "item": self.item(true) })),
            (_, Some(3)) if self.is_capped => ("response.incomplete", json!({ "response": self.response(true) })),
            (_, Some(3)) => ("response.completed", json!({ "response": self.response(true) })),
            _ => return None,
        };
        let mut event = json!({ "type": kind, "sequence_number": place });
        let parts = [Some(&more), Some(&of_part).filter(|_| !kind.contains("item") && more.get("response").is_none())];
        if let Some(members) = event.as_object_mut() {
            let all = parts.into_iter().flatten().filter_map(Value::as_object).flatten();
            members.extend(all.map(|(name, value)| (name.clone(), value.clone())));
        }
        Some(Bytes::from(format!("event: {kind}\ndata: {event}\n\n")))
    }
}
