//! Gemini's content: candidates, and usage with every piece.

use schemas::json::Value;
use serde_json::{Value as Json, json};

use super::{Brings, Count, Ending, Names, Places, Tongue, event};
use crate::{json::members, meter::output_of_gemini};

#[derive(Debug, Default)]
pub(super) struct Content {
    /// Id and model.
    names: Names<2>,
    open: Places,
}

impl Tongue for Content {
    fn look(&mut self, count: &Count, _: &str, root: Value<'_>) -> Option<Brings> {
        let named = members(root, &["responseId", "modelVersion", "candidates", "usageMetadata"])?;
        self.names.keep(|place| named.value(place));
        let mut brings = Brings { reported: named.value(3).and_then(output_of_gemini), ..Brings::default() };
        for candidate in named.value(2).and_then(Value::items).into_iter().flatten() {
            let named = members(candidate, &["index", "content", "finishReason"])?;
            brings.add(named.value(1).map(|content| count.said(content)));
            brings.place("", named.count(0), named.value(2).is_some());
        }
        Some(brings)
    }

    fn pass(&mut self, brings: Brings) {
        self.open.pass(brings);
    }

    fn ending(&self, ending: &Ending<'_>) -> Vec<u8> {
        let candidate = |index: u64| json!({ "index": index, "content": { "role": "model", "parts": [] }, "finishReason": "MAX_TOKENS" });
        let candidates: Json = self.open.choices().map(candidate).collect();
        let (id, model) = (self.names.get(0), self.names.get(1));
        let mut last =
            json!({ "candidates": candidates, "responseId": id, "modelVersion": model, "tollgate": ending.why });
        if let Some(usage) = ending.usage {
            last["usageMetadata"] = json!({
                "promptTokenCount": usage.input(),
                "cachedContentTokenCount": usage.all_cache_read(),
                "candidatesTokenCount": usage.all_output().saturating_sub(usage.reasoning),
                "thoughtsTokenCount": usage.reasoning,
                "totalTokenCount": usage.total(),
            });
        }
        event("", &last).into()
    }
}
