//! OpenAI's chat completions: choices that begin with their first piece and end with the reason for it.

use schemas::{json::Value, tokens::Vector};
use serde_json::{Value as Json, json};

use super::{Brings, Count, Ending, Names, Places, Tongue, event};
use crate::{
    json::members,
    meter::output_of_openai,
    translate::{Client, usage_in},
};

#[derive(Debug, Default)]
pub(super) struct Chat {
    /// Id, model and time.
    names: Names<3>,
    open: Places,
}

impl Tongue for Chat {
    fn look(&mut self, count: &Count, _: &str, root: Value<'_>) -> Option<Brings> {
        let named = members(root, &["id", "model", "created", "choices", "usage"])?;
        self.names.keep(|place| named.value(place));
        let mut brings = Brings { reported: named.value(4).and_then(output_of_openai), ..Brings::default() };
        for choice in named.value(3).and_then(Value::items).into_iter().flatten() {
            let named = members(choice, &["index", "delta", "finish_reason", "text"])?;
            let said = [1, 3].into_iter().filter_map(|place| named.value(place));
            brings.add(said.map(|value| count.said(value)));
            brings.place("", named.count(0), named.value(2).is_some());
        }
        Some(brings)
    }

    fn pass(&mut self, brings: Brings) {
        self.open.pass(brings);
    }

    fn ending(&self, ending: &Ending<'_>) -> Vec<u8> {
        let choice = |index: u64| json!({ "index": index, "delta": {}, "logprobs": null, "finish_reason": "length" });
        let mut last = self.frame(self.open.choices().map(choice).collect());
        last["tollgate"] = ending.why.clone();
        let usage = ending.usage.filter(|_| ending.wants_usage).map(|usage| event("", &self.usage(usage)));
        [event("", &last), usage.unwrap_or_default(), "data: [DONE]\n\n".to_owned()].concat().into()
    }
}

impl Chat {
    fn frame(&self, choices: Json) -> Json {
        let (id, model, created) = (self.names.get(0), self.names.get(1), self.names.get(2));
        json!({ "id": id, "object": "chat.completion.chunk", "created": created, "model": model, "choices": choices })
    }

    fn usage(&self, usage: &Vector) -> Json {
        let mut frame = self.frame(json!([]));
        frame["usage"] = usage_in(Client::OpenAiChat, usage);
        frame
    }
}
