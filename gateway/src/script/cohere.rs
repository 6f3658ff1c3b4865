//! Cohere's chat: contents and calls of tools, each kind with indices of its own, a start and an end.

use schemas::json::Value;
use serde_json::json;

use super::{Brings, Count, Ending, Places, Tongue, event};
use crate::json::members;

#[derive(Debug, Default)]
pub(super) struct Chat {
    open: Places,
}

/// What begins, and what ends it.
const PAIRS: [(&str, &str); 3] =
    [("content-start", "content-end"), ("tool-call-start", "tool-call-end"), ("citation-start", "citation-end")];

impl Tongue for Chat {
    fn look(&mut self, count: &Count, _: &str, root: Value<'_>) -> Option<Brings> {
        let named = members(root, &["type", "index", "delta"])?;
        let kind = named.text(0).unwrap_or_default();
        let mut brings = Brings::default();
        if kind != "message-end" {
            brings.add(named.value(2).map(|delta| count.said(delta)));
        }
        for (start, end) in PAIRS.into_iter().filter(|(start, end)| kind == *start || kind == *end) {
            brings.place(end, named.count(1), kind != start);
        }
        Some(brings)
    }

    fn pass(&mut self, brings: Brings) {
        self.open.pass(brings);
    }

    fn ending(&self, ending: &Ending<'_>) -> Vec<u8> {
        let mut delta = json!({ "finish_reason": "MAX_TOKENS" });
        if let Some(usage) = ending.usage {
            let units = json!({ "input_tokens": usage.input(), "output_tokens": usage.all_output() });
            delta["usage"] = json!({ "billed_units": units });
        }
        let last = json!({ "type": "message-end", "delta": delta, "tollgate": ending.why });
        let ends = self.open.iter().map(|(name, index)| event(name, &json!({ "type": name, "index": index })));
        let last = [event("message-end", &last), "data: [DONE]\n\n".to_owned()];
        ends.chain(last).collect::<String>().into()
    }
}
