//! What a dialect makes of the documents of an answer: one trait, and the one table of who reads which API.
//!
//! A dialect whose answers state usage in one object is a [`Shape`](super::shape::Shape), which is data; the few that say it in
//! another way implement [`Fold`] themselves. Neither knows how the body was cut into documents.

use std::fmt;

use memchr::memmem::Finder;
use schemas::{
    event::Api,
    json::Value,
    money::Pico,
    tokens::{Part, Vector},
};

use super::{
    Seen,
    anthropic_messages::Messages,
    bedrock::{self, Invoke},
    cohere, gemini,
    guess::Guess,
    ollama,
    openai_chat::Chat,
    openai_responses, openai_usage,
    shape::Shaped,
    tally::{Counts, Facts},
    tools::Tools,
    visible::after_colon,
};
use crate::json;

/// Reads the documents of one answer.
pub(super) trait Fold: fmt::Debug + Send {
    /// Takes a document of a stream, by the name that its framing gives it; most give none.
    fn event(&mut self, facts: &mut Facts, name: &str, data: &[u8]) -> Result<Seen, Unreadable>;

    /// Takes the document that a whole answer is.
    fn whole(&mut self, facts: &mut Facts, document: Value<'_>) -> Result<(), Unreadable>;

    /// What it knows of the counts.
    fn counts(&self, facts: &Facts) -> Counts;

    /// Whether all of a stream came, marked or not.
    fn has_ended(&self) -> bool {
        false
    }

    /// Where its answers call tools, for one that is not read whole.
    fn tools(&self) -> &'static Tools;

    /// Takes a header of the answer.
    fn header(&mut self, _facts: &mut Facts, _name: &str, _value: &str) {}
}

/// Who reads the answers of an API; nobody where they cost nothing.
pub(super) fn of(api: Api) -> Option<Box<dyn Fold>> {
    Some(match api {
        Api::OpenAiChat | Api::OpenAiCompletions | Api::OpenAiTranscriptions => Box::new(Chat::default()),
        Api::OpenAiImages => Box::new(Chat::of_images()),
        Api::OpenAiEmbeddings | Api::OpenAiModerations => Box::new(Chat::without_output()),
        Api::OpenAiRerank => Box::new(Shaped::new(&openai_usage::RANKING)),
        Api::OpenAiSpeech => Box::new(Chat::of_sound()),
        Api::OpenAiResponses | Api::OpenAiResponsesCompact | Api::OpenAiResponsesRetrieve => {
            Box::new(Shaped::new(&openai_responses::RESPONSE))
        }
        Api::AnthropicMessages => Box::new(Messages::default()),
        Api::AnthropicComplete => Box::new(Shaped::new(&super::anthropic_messages::COMPLETION)),
        Api::GeminiGenerateContent => Box::new(Shaped::new(&gemini::CONTENT)),
        Api::GeminiEmbeddings => Box::new(Shaped::new(&gemini::EMBEDDINGS)),
        Api::BedrockConverse | Api::BedrockConverseStream => Box::new(Shaped::new(&bedrock::CONVERSE)),
        Api::BedrockInvoke | Api::BedrockInvokeStream => Box::new(Invoke::default()),
        Api::CohereChat | Api::CohereV1Chat => Box::new(Shaped::new(&cohere::CHAT)),
        Api::CohereEmbed | Api::CohereRerank => Box::new(Shaped::new(&cohere::UNITS)),
        Api::OllamaChat => Box::new(Shaped::new(&ollama::CHAT)),
        Api::Passthrough | Api::PassthroughRetrieve => Box::new(Guess::default()),
        Api::AnthropicCountTokens
        | Api::OpenAiResponsesInputTokens
        | Api::GeminiCountTokens
        | Api::BedrockCountTokens => return None,
    })
}

/// A document that is not what its dialect sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

/// What a usage object says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reported {
    pub(super) vector: Vector,
    /// Whether it says all that it should.
    pub(super) whole: bool,
    /// What the provider says it costs.
    pub(super) cost: Option<Pico>,
    /// Whether something of it is stated in what no class counts.
    pub(super) not_counted: bool,
    /// Whether it has all searches, so that what the answer shows of them says nothing.
    pub(super) states_searches: bool,
}

impl Reported {
    /// A report of these counts, which is whole if it says so.
    pub(super) const fn of(vector: Vector, whole: bool) -> Self {
        Self { vector, whole, cost: None, not_counted: false, states_searches: false }
    }

    /// The same where all output is sound.
    pub(super) const fn as_sound(mut self) -> Self {
        self.vector.audio_output = self.vector.all_output();
        (self.vector.output, self.vector.reasoning) = (0, 0);
        self
    }

    /// The same where so much of input and output is images, which are priced apart.
    pub(super) fn with_images(mut self, (input, output): (u64, u64)) -> Self {
        (self.vector.image_input, self.vector.uncached_input) = take(input, self.vector.uncached_input);
        (self.vector.image_output, self.vector.output) = take(output, self.vector.output);
        self.vector.reasoning = self.vector.reasoning.min(self.vector.output);
        self
    }

    /// As the counts of the model that answered.
    pub(super) fn parts(self) -> Vec<Part> {
        vec![Part { model: None, vector: self.vector }]
    }
}

/// As much of `wanted` as there is, and what is left.
pub(super) fn take(wanted: u64, available: u64) -> (u64, u64) {
    let taken = wanted.min(available);
    (taken, available - taken)
}

/// Whether `key` has an object for a value anywhere. What is within text has its quotes escaped and is not found.
pub(super) fn has_object(json: &[u8], key: &Finder<'_>) -> bool {
    key.find_iter(json).any(|at| after_colon(json, at + key.needle().len()).starts_with(b"{"))
}

/// A provider's name for an error: its code where that is text, else its type or status.
pub(super) fn kind(error: Value<'_>) -> Option<String> {
    let named = json::members(error, &["code", "type", "status"])?;
    (0..=2).find_map(|place| named.text(place))
}
