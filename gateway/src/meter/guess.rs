//! An answer of an API that is not known: its usage, where it comes in an envelope that is.
//!
//! The first document whose members are those of a known dialect decides how the rest is read. What is not recognised is not
//! reported, and never nothing.

use std::sync::LazyLock;

use schemas::json::{Tree, Value};

use super::{
    Seen,
    anthropic_messages::{self, Messages},
    bedrock, cohere,
    fold::{Fold, Unreadable},
    gemini, gemini_interactions, ollama,
    openai_chat::{self, Chat},
    openai_responses, openai_usage,
    shape::{Mark, Shape, Shaped, at, in_front, never, untold, verbatim},
    tally::{Counts, Facts},
    tools::Tools,
};

/// What was recognised so far.
#[derive(Debug, Default)]
pub(super) struct Guess(Option<Box<dyn Fold>>);

impl Guess {
    fn look(&mut self, facts: &mut Facts, document: Value<'_>) {
        if self.0.is_none() {
            self.0 = recognised(document);
            facts.is_response = self.0.is_some() && is_response(document);
        }
    }
}

impl Fold for Guess {
    fn event(&mut self, facts: &mut Facts, name: &str, data: &[u8]) -> Result<Seen, Unreadable> {
        if self.0.is_none()
            && let Ok(tree) = Tree::read_answer(data)
        {
            self.look(facts, tree.root());
        }
        match &mut self.0 {
            Some(fold) => fold.event(facts, name, data),
            None => Ok(Seen::Ordinary),
        }
    }

    fn whole(&mut self, facts: &mut Facts, document: Value<'_>) -> Result<(), Unreadable> {
        self.look(facts, document);
        self.0.as_mut().map_or(Ok(()), |fold| fold.whole(facts, document))
    }

    fn counts(&self, facts: &Facts) -> Counts {
        self.0.as_ref().map_or(Counts::None, |fold| fold.counts(facts))
    }

    fn tools(&self) -> &'static Tools {
        &ANY
    }

    fn has_ended(&self) -> bool {
        // Where nothing says how an answer ends, that its body ended is all that can be known.
        self.0.as_ref().is_none_or(|fold| fold.has_ended())
    }
}

/// What no envelope was looked for in may call tools as any dialect does; Ollama's calls stand where Cohere's do.
static ANY: Tools = Tools {
    whole: &[
        &openai_chat::WHOLE,
        &openai_responses::WHOLE,
        &anthropic_messages::WHOLE,
        &anthropic_messages::RAN,
        &anthropic_messages::WITHIN,
        &bedrock::WHOLE,
        &cohere::WHOLE,
        &gemini::CALLS,
        &gemini::QUERIES,
        &gemini::IMAGES,
        &gemini::MAPS,
        &gemini_interactions::WHOLE,
    ],
    frame: &[],
};

/// A batch of OpenAI's. What its requests used is not known when it is made, whatever it says of that, and who reads it later uses nothing.
static BATCH: Shape = Shape {
    text: LazyLock::new(Vec::new),
    sign: None,
    id: &[&["id"]],
    model: &[&["model"]],
    tier: &[],
    latency: &[],
    usage: &[&["usage"]],
    error: &[&["error"]],
    failed: never,
    read: |_| Ok(None),
    raw: verbatim,
    tools: &Tools::NONE,
    mark: |_, _| Mark::None,
    call: untold,
    background: in_front,
};

/// Whether a document is a response of OpenAI's form, or an event of one.
fn is_response(document: Value<'_>) -> bool {
    let word = |name: &str| at(document, &[name]).and_then(Value::word);
    let is_event = || word("type").is_some_and(|kind| kind.starts_with("response."));
    at(document, &["response", "usage"]).is_some() || word("object").as_deref() == Some("response") || is_event()
}

/// Who reads documents like this one.
fn recognised(document: Value<'_>) -> Option<Box<dyn Fold>> {
    let has = |path: &[&str]| at(document, path).is_some();
    let kind = at(document, &["type"]).and_then(Value::word);
    let object = at(document, &["object"]).and_then(Value::word);
    let fold: Box<dyn Fold> = if has(&["usageMetadata"]) {
        Box::new(Shaped::new(&gemini::CONTENT))
    } else if is_response(document) {
        Box::new(Shaped::new(&openai_responses::RESPONSE))
    } else if object.as_deref() == Some("batch") {
        Box::new(Shaped::new(&BATCH))
    } else if gemini_interactions::is_one(document) {
        Box::new(Shaped::new(&gemini_interactions::INTERACTION))
    } else if matches!(kind.as_deref(), Some("message_start" | "message")) {
        Box::new(Messages::default())
    } else if has(&["usage", "inputTokens"]) {
        Box::new(Shaped::new(&bedrock::CONVERSE))
    } else if has(&["usage", "billed_units"]) || has(&["delta", "usage", "billed_units"]) {
        Box::new(Shaped::new(&cohere::CHAT))
    } else if has(&["meta", "billed_units"]) {
        Box::new(Shaped::new(&cohere::UNITS))
    } else if has(&["results"]) && has(&["usage", "search_units"]) {
        Box::new(Shaped::new(&openai_usage::RANKING))
    } else if has(&["prompt_eval_count"]) || has(&["eval_count"]) {
        Box::new(Shaped::new(&ollama::CHAT))
    } else if has(&["usage"]) || has(&["choices"]) || has(&["x_groq"]) {
        Box::new(Chat::default())
    } else if ollama::is_piece(document) {
        Box::new(Shaped::new(&ollama::CHAT))
    } else {
        return None;
    };
    Some(fold)
}
