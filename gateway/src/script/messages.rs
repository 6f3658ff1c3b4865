//! Anthropic's messages: blocks, each with its start and its stop.

use schemas::json::Value;
use serde_json::json;

use super::{Brings, Count, Ending, Places, Tongue, event};
use crate::{
    json::members,
    translate::{Client, usage_in},
};

#[derive(Debug, Default)]
pub(super) struct Messages {
    open: Places,
}

/// The event that ends a block.
const STOP: &str = "content_block_stop";

impl Tongue for Messages {
    fn look(&mut self, count: &Count, _: &str, root: Value<'_>) -> Option<Brings> {
        let named = members(root, &["type", "index", "content_block", "delta"])?;
        let mut brings = Brings::default();
        match named.text(0).as_deref() {
            Some("content_block_start") => {
                brings.add(named.value(2).map(|block| count.said(block)));
                brings.place(STOP, named.count(1), false);
            }
            Some("content_block_delta") => brings.add(named.value(3).map(|delta| count.said(delta))),
            Some(STOP) => brings.place(STOP, named.count(1), true),
            _ => {}
        }
        Some(brings)
    }

    fn pass(&mut self, brings: Brings) {
        self.open.pass(brings);
    }

    fn ending(&self, ending: &Ending<'_>) -> Vec<u8> {
        let usage = ending.usage.map(|usage| usage_in(Client::AnthropicMessages, usage));
        let delta = json!({
            "type": "message_delta", "delta": { "stop_reason": "max_tokens", "stop_sequence": null },
            "usage": usage.unwrap_or_else(|| json!({ "output_tokens": null })), "tollgate": ending.why,
        });
        let stops = self.open.iter().map(|(name, index)| event(name, &json!({ "type": name, "index": index })));
        let last = [event("message_delta", &delta), event("message_stop", &json!({ "type": "message_stop" }))];
        stops.chain(last).collect::<String>().into()
    }
}
