//! The most that a request can use, before it is sent.
//!
//! A bound holds whatever the provider does with the request, or it says that it does not: it counts only what a list of *allowed*
//! fields spells out, and any other field, tool or reference makes it [`Bound::Unbounded`]. It is a pure function of the request, the
//! model's facts and the book, so that a hold, its settlement and a replay agree. Null is absent; of a name that stands twice
//! nobody knows which one counts, so that is an error. It does not decide what becomes of a request that is unbounded.

use std::fmt;

use crate::{
    event::Api,
    json::Tree,
    ledger::Unpriced,
    money::Pico,
    price::{self, Book, Key, ModelFacts},
    tokens::TokenClass,
};

mod anthropic;
mod bedrock;
mod calls;
mod cohere;
mod cost;
mod form;
mod gemini;
mod invoke;
mod json;
mod media;
mod openai;
mod responses;
mod tally;
mod text;

pub use text::most_seen;

use json::Path;
use tally::{Makes, Tally};

/// The most tokens of a completion that states no cap, by its API.
const DEFAULT_CAP: u64 = 16;

/// What is asked beside the body, in headers, as far as it can change what is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// The tier that is asked for; empty where none is.
    pub tier: String,
    /// Whether a guardrail looks at the request.
    pub guarded: bool,
    /// The window that the model is asked to have, where it can have a larger one than its own.
    pub window: Option<u64>,
}

/// What another proxy states of a request that nobody here sees: the most of each that it can use.
///
/// What is not stated is not known, except units that a request of its API has only if it asks for them: of those it has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stated {
    /// Tokens of input, cached ones included.
    pub input: Option<u64>,
    /// Tokens of output, of all answers together.
    pub output: Option<u64>,
    /// Calls of tools; where that is not stated, as many as there are tokens of output.
    pub tool_calls: Option<u64>,
    /// Searches of the web that the provider runs.
    pub web_searches: Option<u64>,
    /// Searches that a ranking is billed by.
    pub search_units: Option<u64>,
    /// Calls that a guardrail looks at.
    pub guardrails: Option<u64>,
}

/// How many tokens a text is at most.
#[derive(Clone, Copy, Debug)]
pub enum Measure {
    /// Its bytes, of which every known tokenizer makes no more tokens.
    Bytes,
    /// What this says, where the model's encoding is known.
    Tokens(fn(&str) -> u64),
}

/// What a request can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Never more than this.
    AtMost(AtMost),
    /// Nothing in the request bounds it.
    Unbounded(Unbounded),
}

/// The most that a request can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtMost {
    /// Input tokens, cached ones included.
    pub input: u64,
    /// Output tokens of all answers together.
    pub output: u64,
    /// Requests: 1.
    pub requests: u64,
    /// Calls of tools.
    pub tool_calls: u64,
    /// What that costs at the dearest rates that it can be charged at, or why that is not known.
    pub cost: Result<Pico, Unpriced>,
    /// What a token of output costs at the dearest rate; nothing where that is not known.
    pub output_price: Pico,
    /// What `output` comes from.
    pub output_cap: OutputCap,
}

/// What caps the output of each answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputCap {
    /// There is no output to cap.
    NoOutput,
    /// The request states it, or it is the model's maximum and nothing that is written into the request could lower it.
    Stated(u64),
    /// The request states it where what serves the model may not heed it, or more than it there as well: to be written where it does.
    Misplaced(u64),
    /// The request does not; this is the model's maximum, to be written into the request.
    Absent(u64),
}

/// Why nothing in the request bounds it, and what may be held for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unbounded {
    /// The field, as a path such as `messages[0].content[1].image_url`; empty where it is the model itself.
    pub field: String,
    /// What is wrong with it.
    pub why: Why,
    /// The model's whole window and output maximum, where one pass of a model with known ones is all that can happen.
    pub most: Option<AtMost>,
    /// What is bounded all the same.
    pub known: Known,
}

/// What is bounded of a request that is not bounded as a whole: each at most so much, or nobody knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Input tokens.
    pub input: Option<u64>,
    /// Output tokens of all answers together, and what they come from.
    pub output: Option<(u64, OutputCap)>,
    /// Calls of tools.
    pub tool_calls: Option<u64>,
}

/// Why something is unbounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// The field is not known here, and might make the provider do anything.
    UnknownField,
    /// The value is not of a form that is known here.
    UnknownShape,
    /// The provider would run a tool and put what it returns into the input, as often as it likes.
    ServerTool,
    /// The model runs tools of its own.
    ModelRunsTools,
    /// The tool brings a prompt that the request does not show.
    HiddenToolPrompt,
    /// What it refers to lies at the provider or elsewhere.
    Reference,
    /// Audio is not counted from its bytes.
    Audio,
    /// A document is not counted from its bytes.
    Document,
    /// The catalogue does not say how many tokens an image can be.
    ImageMaximumUnknown,
    /// The request states no cap of the output, and the catalogue no maximum.
    OutputMaximumUnknown,
    /// Another proxy asks for the request and does not say.
    NotStated,
}

/// Why a request cannot be bounded at all: the client's mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BoundError {
    /// It is no object.
    #[error("the body is not a JSON object")]
    NotAnObject,
    /// A name stands twice.
    #[error("`{0}` stands twice: which one counts is not defined")]
    Duplicate(String),
    /// A count is not one.
    #[error("`{0}` is not a whole number, or is below zero")]
    NotACount(String),
}

impl Why {
    /// Whether one pass of the model over at most its window is all that can happen.
    const fn is_one_pass(self) -> bool {
        match self {
            Self::HiddenToolPrompt
            | Self::Reference
            | Self::Audio
            | Self::Document
            | Self::ImageMaximumUnknown
            | Self::OutputMaximumUnknown => true,
            Self::UnknownField | Self::UnknownShape | Self::ServerTool | Self::ModelRunsTools | Self::NotStated => {
                false
            }
        }
    }

    /// In words, after the name of the field.
    pub const fn text(self) -> &'static str {
        match self {
            Self::UnknownField => "is a field whose effect on usage is not known",
            Self::UnknownShape => "has a form whose effect on usage is not known",
            Self::ServerTool => "lets the provider run tools, whose results are input",
            Self::ModelRunsTools => "the model runs tools of its own, whose results are input",
            Self::HiddenToolPrompt => "is a tool that brings a prompt of its own, whose length is not in the request",
            Self::Reference => "refers to content that is not in the request",
            Self::Audio => "is audio, which its size does not bound",
            Self::Document => "is a document, which its size does not bound",
            Self::ImageMaximumUnknown => "is an image, and how many tokens one can be is not known for this model",
            Self::OutputMaximumUnknown => "caps no output, and the maximum of this model is not known",
            Self::NotStated => "is not stated, so nothing bounds it",
        }
    }

    /// What to do about it.
    const fn remedy(self) -> &'static str {
        match self {
            Self::UnknownField | Self::ServerTool | Self::HiddenToolPrompt => "leave it out",
            Self::UnknownShape => "write it as its API has it",
            Self::ModelRunsTools => "ask for a model that runs none",
            Self::Reference => "send the content itself",
            Self::Audio | Self::Document => "leave it out, or state the model's `context_window`",
            Self::ImageMaximumUnknown => "leave it out, or state the model's `image_tokens` or `context_window`",
            Self::OutputMaximumUnknown => "state a cap, or the model's `max_output_tokens`",
            Self::NotStated => "state it",
        }
    }
}

impl Unbounded {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self.why {
            Why::UnknownShape if self.field.is_empty() => "use an API whose requests are bounded",
            Why::OutputMaximumUnknown if self.field.is_empty() => "state the model's `max_output_tokens`",
            why => why.remedy(),
        }
    }
}

impl fmt::Display for Unbounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() && self.why != Why::ModelRunsTools {
            write!(f, "the request {}", self.why.text())
        } else if self.field.is_empty() {
            f.write_str(self.why.text())
        } else {
            write!(f, "`{}` {}", self.field, self.why.text())
        }
    }
}

impl Bound {
    /// The bound, or else the most that may be held for it.
    pub const fn most(&self) -> Option<&AtMost> {
        match self {
            Self::AtMost(most) => Some(most),
            Self::Unbounded(unbounded) => unbounded.most.as_ref(),
        }
    }

    /// What caps the output of each answer, where that is bounded or may be held.
    pub fn output_cap(&self) -> Option<OutputCap> {
        let known = || if let Self::Unbounded(unbounded) = self { Some(unbounded.known.output?.1) } else { None };
        self.most().map(|most| most.output_cap).or_else(known)
    }
}

/// The most that a request of `api` with this body can use of the model that `facts` and `key` are about.
///
/// `key.tier` is not used: the tier is the dearest that the request can reach. `beside` is what stands in headers.
pub fn bound(
    api: Api,
    (body, beside): (&Tree<'_>, &Beside),
    facts: &ModelFacts,
    book: &Book,
    key: &Key<'_>,
    measure: Measure,
) -> Result<Bound, BoundError> {
    let mut tally = Tally::new(facts, measure);
    let mut searches = [(TokenClass::SearchUnit, 0)];
    let mut reach = match api {
        api if api.is_free() => return Ok(Bound::AtMost(AtMost::NOTHING)),
        Api::OpenAiChat => openai::chat(body.root(), &mut tally)?,
        Api::OpenAiEmbeddings => openai::embeddings(body.root(), &mut tally)?,
        Api::OpenAiModerations => openai::moderations(body.root(), &mut tally)?,
        Api::OpenAiCompletions => openai::completion(body.root(), &mut tally)?,
        Api::OpenAiResponses => responses::response(body.root(), &mut tally)?,
        Api::AnthropicMessages => anthropic::messages(body.root(), &mut tally)?,
        Api::BedrockInvoke | Api::BedrockInvokeStream => invoke::request(body.root(), key.model, &mut tally)?,
        Api::CohereRerank => {
            searches = [(TokenClass::SearchUnit, cohere::rerank(body.root(), &mut tally)?)];
            cost::Reach::default()
        }
        Api::OpenAiImages => media::images(body.root(), key.model, &mut tally)?,
        Api::OpenAiSpeech => media::speech(body.root(), &mut tally)?,
        Api::OpenAiTranscriptions => media::transcription(body.root(), &mut tally)?,
        api => {
            match form_of(api) {
                Some(form) => form::request(body.root(), form, &mut tally)?,
                None => tally.unbounded(&Path::Body, Why::UnknownShape),
            }
            // Some of Gemini's models answer with images unasked.
            let images = api == Api::GeminiGenerateContent;
            cost::Reach { writes: tally.writes, images, ..cost::Reach::default() }
        }
    };
    let named = price::joined(&price::joined(&tally.tier, &beside.tier), reach.named.as_deref().unwrap_or_default());
    reach.named = Some(named).filter(|named| !price::standard(named).is_empty());
    reach.units = if tally.guarded || beside.guarded { &[(TokenClass::Guardrail, 1)] } else { &searches };
    if facts.runs_own_tools {
        tally.unbounded(&Path::Body, Why::ModelRunsTools);
    }
    let (output, output_cap) = self::output(api, facts, &mut tally);
    let calls_tools = api.operation().calls_tools();
    let tool_calls = if calls_tools { calls::most(body.root(), tally.answers, output) } else { 0 };
    let at_most = |input, reach: &cost::Reach<'_>| {
        // Cohere bills rankings by searches alone.
        let billed = if api == Api::CohereRerank { 0 } else { input };
        let dearest = cost::dearest(book, key, reach, billed, output);
        AtMost { tool_calls, ..AtMost::of(dearest, (input, output), output_cap) }
    };
    let Some((field, why)) = tally.unbounded.take() else {
        return Ok(Bound::AtMost(at_most(tally.input, &reach)));
    };
    let known = known(why, (tally.input, output, output_cap), (tool_calls, calls_tools));
    let larger = tally.window.max(beside.window).unwrap_or(0);
    let window =
        facts.context_window.map(|window| window.max(larger)).filter(|_| why.is_one_pass() && output != u64::MAX);
    let most = window.map(|window| at_most(window, &cost::Reach { audio: true, images: true, ..reach }));
    Ok(Bound::Unbounded(Unbounded { field, why, most, known }))
}

/// What is bounded of a request although something is not: what it cannot have, and what that leaves as it is. A missing maximum of the
/// output is noted last, so that where it is the reason the input has no other.
fn known(why: Why, (input, output, cap): (u64, u64, OutputCap), (calls, calls_tools): (u64, bool)) -> Known {
    let has_none = output == 0 && cap == OutputCap::NoOutput;
    let stands = |most: u64| why.is_one_pass() && most != u64::MAX;
    Known {
        input: (why == Why::OutputMaximumUnknown).then_some(input),
        output: (has_none || stands(output)).then_some((output, cap)),
        tool_calls: (has_none || !calls_tools || stands(calls)).then_some(calls),
    }
}

/// The most output of a request, and what it comes from.
fn output(api: Api, facts: &ModelFacts, tally: &mut Tally<'_>) -> (u64, OutputCap) {
    let answers = tally.answers;
    let makes = if api.operation().has_output() { tally.makes } else { Makes::Nothing };
    match (makes, tally.cap(), facts.max_output_tokens) {
        (Makes::Nothing, ..) => (0, OutputCap::NoOutput),
        (_, Some(cap), _) if tally.misplaced => (cap.saturating_mul(answers), OutputCap::Misplaced(cap)),
        (_, Some(cap), _) => (cap.saturating_mul(answers), OutputCap::Stated(cap)),
        (Makes::Uncapped, None, Some(most)) => (most.saturating_mul(answers), OutputCap::Stated(most)),
        _ if api == Api::OpenAiCompletions => (DEFAULT_CAP.saturating_mul(answers), OutputCap::Absent(DEFAULT_CAP)),
        (_, None, Some(most)) => (most.saturating_mul(answers), OutputCap::Absent(most)),
        (Makes::Uncapped, None, None) => {
            tally.unbounded(&Path::Body, Why::OutputMaximumUnknown);
            (u64::MAX, OutputCap::NoOutput)
        }
        (_, None, None) => {
            tally.unbounded(&Path::Field(&Path::Body, facts.cap_field.name()), Why::OutputMaximumUnknown);
            (u64::MAX, OutputCap::NoOutput)
        }
    }
}

/// The form of the requests of an API; nothing where they are not known.
const fn form_of(api: Api) -> Option<&'static form::Form> {
    Some(match api {
        Api::GeminiGenerateContent => &gemini::CONTENT,
        Api::GeminiEmbeddings => &gemini::EMBEDDINGS,
        Api::BedrockConverse | Api::BedrockConverseStream => &bedrock::CONVERSE,
        Api::CohereChat => &cohere::CHAT,
        Api::CohereEmbed => &cohere::UNITS,
        _ => return None,
    })
}

/// The most that a request can use of which only that is said. What is not said is not known. Nor is its tier: it may be any that has
/// a price.
pub fn stated(api: Api, most: &Stated, book: &Book, key: &Key<'_>) -> Bound {
    // Cohere bills rankings by searches alone, and states no tokens of them.
    let input = most.input.or((api == Api::CohereRerank).then_some(0));
    let (input, output, output_cap) = match (api, input, most.output) {
        (api, ..) if api.is_free() => return Bound::AtMost(AtMost::NOTHING),
        // Tokens do not bound what is billed by searches.
        (Api::CohereRerank | Api::OpenAiRerank, ..) if most.search_units.is_none() => {
            return Bound::not_stated("search_unit", api, most);
        }
        (api, Some(input), None) if !api.operation().has_output() => (input, 0, OutputCap::NoOutput),
        (_, Some(input), Some(output)) => (input, output, OutputCap::Stated(output)),
        (_, None, _) => return Bound::not_stated("input", api, most),
        (_, _, None) => return Bound::not_stated("output", api, most),
    };
    let tiers: Vec<&str> = book.rates(key, &[key.model]).map_or_else(|_| Vec::new(), |rates| rates.tiers().collect());
    let units = [
        (TokenClass::WebSearch, most.web_searches.unwrap_or(0)),
        (TokenClass::SearchUnit, most.search_units.unwrap_or(0)),
        (TokenClass::Guardrail, most.guardrails.unwrap_or(0)),
    ];
    let reach = cost::Reach {
        tiers: &tiers,
        writes: (true, true),
        audio: true,
        images: true,
        units: &units,
        ..cost::Reach::default()
    };
    let at_most = AtMost::of(cost::dearest(book, key, &reach, input, output), (input, output), output_cap);
    Bound::AtMost(AtMost { tool_calls: most.tool_calls.unwrap_or(output), ..at_most })
}

/// The window that a beta of Anthropic's gives a model which has a smaller one: `context-1m-2025-08-07` is a million tokens.
pub fn window(beta: &str) -> Option<u64> {
    let size = beta.trim().strip_prefix("context-")?.split('-').next()?;
    let (count, unit) = size.split_at_checked(size.len().checked_sub(1)?)?;
    let unit = match unit {
        "k" => 1_000,
        "m" => 1_000_000,
        _ => return None,
    };
    count.parse::<u64>().ok()?.checked_mul(unit)
}

impl Bound {
    /// What is not stated is not known; what is stated is, and what requests of the API cannot have.
    fn not_stated(field: &str, api: Api, most: &Stated) -> Self {
        let (has_output, calls_tools) = (api.operation().has_output(), api.operation().calls_tools());
        let output = if has_output { most.output } else { Some(0) };
        let tool_calls = if calls_tools { most.tool_calls.or(most.output) } else { Some(0) };
        let cap = |tokens| if has_output { OutputCap::Stated(tokens) } else { OutputCap::NoOutput };
        let known = Known { input: most.input, output: output.map(|tokens| (tokens, cap(tokens))), tool_calls };
        Self::Unbounded(Unbounded { field: field.to_owned(), why: Why::NotStated, most: None, known })
    }
}

impl AtMost {
    /// A request of so many tokens of input and output, no call of a tool being made of less than one.
    fn of(dearest: Result<(Pico, Pico), Unpriced>, (input, output): (u64, u64), output_cap: OutputCap) -> Self {
        let output_price = dearest.map_or(Pico(0), |(_, price)| price);
        let cost = dearest.map(|(cost, _)| cost);
        Self { input, output, requests: 1, tool_calls: output, cost, output_price, output_cap }
    }

    /// A request that uses no tokens.
    pub const NOTHING: Self = Self {
        input: 0,
        output: 0,
        requests: 1,
        tool_calls: 0,
        cost: Ok(Pico(0)),
        output_price: Pico(0),
        output_cap: OutputCap::NoOutput,
    };

    /// The same with at most so much output.
    #[must_use]
    pub fn with_output(self, output: u64) -> Self {
        let output = output.min(self.output);
        let less = self.output_price.0 * i128::from(self.output - output);
        Self { output, cost: self.cost.map(|cost| Pico(cost.0 - less)), ..self }
    }
}

#[cfg(test)]
mod tests;
