//! Bedrock's ConverseStream: blocks in binary messages, of which those of text have no start.
//!
//! Amazon's own clients read only what their model of the service names, so the reason for the end stands where that leaves room.

use schemas::json::Value;
use serde_json::json;

use super::{Brings, Count, Ending, Places, Tongue};
use crate::{json::members, meter::eventstream};

#[derive(Debug, Default)]
pub(super) struct Converse {
    open: Places,
}

/// The event that ends a block.
const STOP: &str = "contentBlockStop";

impl Tongue for Converse {
    fn look(&mut self, count: &Count, name: &str, root: Value<'_>) -> Option<Brings> {
        let named = members(root, &["contentBlockIndex", "start", "delta"])?;
        let mut brings = Brings::default();
        if matches!(name, "contentBlockStart" | "contentBlockDelta" | STOP) {
            brings.add([1, 2].into_iter().filter_map(|place| named.value(place)).map(|said| count.said(said)));
            brings.place(STOP, named.count(0), name == STOP);
        }
        Some(brings)
    }

    fn pass(&mut self, brings: Brings) {
        self.open.pass(brings);
    }

    fn ending(&self, ending: &Ending<'_>) -> Vec<u8> {
        let message = |kind: &str, payload: serde_json::Value| {
            let headers = [(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")];
            eventstream::write(&headers, payload.to_string().as_bytes())
        };
        let stop = json!({ "stopReason": "max_tokens", "additionalModelResponseFields": { "tollgate": ending.why } });
        let usage = ending.usage.map(|usage| {
            json!({ "usage": {
                "inputTokens": usage.uncached_input,
                "cacheReadInputTokens": usage.all_cache_read(),
                "cacheWriteInputTokens": usage.cache_write_5m.saturating_add(usage.cache_write_1h),
                "outputTokens": usage.all_output(),
                "totalTokens": usage.total(),
            } })
        });
        let stops = self.open.iter().map(|(name, index)| message(name, json!({ "contentBlockIndex": index })));
        let last = [message("messageStop", stop), message("metadata", usage.unwrap_or_else(|| json!({})))];
        stops.chain(last).flatten().collect()
    }
}
