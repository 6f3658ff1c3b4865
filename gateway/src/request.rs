//! What is acted on of a request's body, and nothing else.
//!
//! A member that matters may stand once, or the gateway could meter one and the provider run the other. Integral floats and
//! `null` are accepted where the providers accept them. The body is never written anew: [`Parsed::edit`] splices bytes into a
//! copy where something has to change, and hands on the very same bytes where nothing has. What bounds the input is not read
//! here but by `schemas::bound`; `user` and `metadata` say nothing that is trusted.

use std::ops::Range;

use bytes::Bytes;
use schemas::{error_code::ErrorCode, event::Api};

use crate::json::{self, Members, number};

mod edit;
#[cfg(test)]
mod tests;

/// A body that is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", code.code())]
pub struct Problem {
    /// TG3004, TG3005 or TG3011.
    pub code: ErrorCode,
    /// What is wrong and where, for the client. It quotes nothing of the body but names of members.
    pub message: String,
}

/// The members that are acted on, then those that bound the call and so may not stand twice either.
const NAMES: [&str; 32] = [
    "model",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "n",
    "messages",
    "input",
    "prompt",
    "system",
    "tools",
    "tool_choice",
    "functions",
    "function_call",
    "service_tier",
    "speed",
    "thinking",
    "reasoning",
    "reasoning_effort",
    "response_format",
    "output_config",
    "output_format",
    "modalities",
    "audio",
    "prediction",
    "web_search_options",
    "best_of",
    "dimensions",
    "encoding_format",
    "mcp_servers",
    "container",
    "context_management",
];
const MODEL: usize = 0;
const STREAM: usize = 1;
const STREAM_OPTIONS: usize = 2;
const MAX_TOKENS: usize = 3;
const MAX_COMPLETION_TOKENS: usize = 4;
const CHOICES: usize = 5;

/// A request, as far as it is acted on.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The model asked for; never empty.
    pub model: String,
    /// Whether a streamed answer is asked for.
    pub stream: bool,
    /// Whether the client asked for usage in the stream (`stream_options.include_usage`).
    pub wants_usage: bool,
    /// `max_tokens`, if it is given.
    pub max_tokens: Option<u64>,
    /// `max_completion_tokens`, if it is given; OpenAI chat only.
    pub max_completion_tokens: Option<u64>,
    /// How many answers are asked for; 1 if it does not say. OpenAI chat only.
    pub n: u64,
    api: Api,
    body: Bytes,
    spans: Spans,
}

/// Where in the body the values stand that an edit may change, `null` included.
#[derive(Clone, Debug, Default)]
struct Spans {
    /// The offset behind the `{` that opens the body.
    open: usize,
    model: Range<usize>,
    max_tokens: Option<Range<usize>>,
    max_completion_tokens: Option<Range<usize>>,
    stream_options: Option<Options>,
}

/// `stream_options` in the body.
#[derive(Clone, Debug)]
struct Options {
    whole: Range<usize>,
    /// Whether it is `null`, so that there is nothing to keep in it.
    null: bool,
    /// Whether it has no member.
    empty: bool,
    include_usage: Option<Range<usize>>,
}

/// What to change in a body on its way to a provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Edits<'a> {
    /// The model's name at the target; the same name changes nothing.
    pub model: Option<&'a str>,
    /// Ask for usage in the stream, where there is one and the client did not ask.
    pub ask_usage: bool,
    /// The most output that the provider may produce, for each answer.
    pub cap: Option<Cap>,
}

/// An output cap to write into a body: every cap that stands there is lowered to it, and if there is none it is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cap {
    /// The member to add.
    pub member: CapMember,
    /// Tokens.
    pub tokens: u64,
}

/// The members that cap the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CapMember {
    /// `max_tokens`: Anthropic, and OpenAI's older models.
    MaxTokens,
    /// `max_completion_tokens`: OpenAI's models that reason.
    MaxCompletionTokens,
}

impl CapMember {
    /// Its name in the body.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
        }
    }
}

/// Reads a request. Pure and synchronous: about 0.8 ms for a megabyte of dense text, so above that call it off the async threads.
pub fn parse(api: Api, body: &Bytes) -> Result<Parsed, Problem> {
    let text = std::str::from_utf8(body).map_err(|error| {
        problem(ErrorCode::MalformedJson, format!("it is not UTF-8 from byte {} on", error.valid_up_to()))
    })?;
    let named = json::members(text, &NAMES).map_err(|error| malformed(text, &error))?;
    if let Some(name) = named.twice.and_then(|place| NAMES.get(place)) {
        return Err(problem(ErrorCode::DuplicateJsonKey, format!("`{name}` may stand once")));
    }
    let chat = api == Api::OpenAiChat;
    let span = |place| named.span(place).map(|value| span(text, value));
    let (options, wants_usage) = match named.span(STREAM_OPTIONS).filter(|_| chat) {
        Some(value) => options(text, value).map(|(options, wants)| (Some(options), wants))?,
        None => (None, false),
    };
    Ok(Parsed {
        model: model(&named)?,
        stream: matches!(api, Api::OpenAiChat | Api::AnthropicMessages) && flag("stream", named.value(STREAM))?,
        wants_usage,
        max_tokens: if api == Api::OpenAiEmbeddings { None } else { count(&named, MAX_TOKENS)? },
        max_completion_tokens: if chat { count(&named, MAX_COMPLETION_TOKENS)? } else { None },
        n: if chat { count(&named, CHOICES)?.unwrap_or(1) } else { 1 },
        api,
        body: body.clone(),
        spans: Spans {
            open: text.find('{').map_or(0, |brace| brace + 1),
            model: span(MODEL).unwrap_or_default(),
            max_tokens: span(MAX_TOKENS),
            max_completion_tokens: span(MAX_COMPLETION_TOKENS).filter(|_| chat),
            stream_options: options,
        },
    })
}

impl Parsed {
    /// The body as it came.
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// The API that it was read for.
    pub const fn api(&self) -> Api {
        self.api
    }

    /// The most output that the request allows for each answer; the larger one where it gives two.
    pub fn output_cap(&self) -> Option<u64> {
        self.max_tokens.max(self.max_completion_tokens)
    }
}

fn problem(code: ErrorCode, message: String) -> Problem {
    Problem { code, message }
}

fn malformed(text: &str, error: &serde_json::Error) -> Problem {
    let message = if text.starts_with('\u{feff}') {
        "it begins with a byte order mark".to_owned()
    } else if error.is_data() {
        "it is not an object".to_owned()
    } else {
        let what = if error.is_eof() { "it ends too early" } else { "it is not JSON" };
        format!("{what}, at line {} column {}", error.line(), error.column())
    };
    problem(ErrorCode::MalformedJson, message)
}

fn span(text: &str, value: &str) -> Range<usize> {
    let start = json::offset(text, value);
    start..start + value.len()
}

fn model<const N: usize>(named: &Members<'_, N>) -> Result<String, Problem> {
    let Some(_) = named.value(MODEL) else {
        return Err(problem(ErrorCode::BadValue, "`model` is missing".to_owned()));
    };
    let model = named.text(MODEL).filter(|model| !model.is_empty());
    model.ok_or_else(|| problem(ErrorCode::BadValue, "`model` must be a name".to_owned()))
}

fn flag(name: &str, value: Option<&str>) -> Result<bool, Problem> {
    match value {
        Some("true") => Ok(true),
        Some("false") | None => Ok(false),
        Some(_) => Err(problem(ErrorCode::BadValue, format!("`{name}` must be true or false"))),
    }
}

fn count<const N: usize>(named: &Members<'_, N>, place: usize) -> Result<Option<u64>, Problem> {
    let Some(value) = named.value(place) else { return Ok(None) };
    number::count(value).map(Some).map_err(|why| {
        let name = NAMES.get(place).copied().unwrap_or_default();
        let rule = match why {
            number::NotACount::Negative => "may not be negative",
            number::NotACount::Fraction => "must be a whole number",
            number::NotACount::NotANumber => "must be a number",
        };
        problem(ErrorCode::BadValue, format!("`{name}` {rule}"))
    })
}

/// Reads `stream_options`, and whether it asks for usage.
fn options(text: &str, value: &str) -> Result<(Options, bool), Problem> {
    let whole = span(text, value);
    if value == "null" {
        return Ok((Options { whole, null: true, empty: true, include_usage: None }, false));
    }
    let inner = json::members(value, &["include_usage"])
        .map_err(|_| problem(ErrorCode::BadValue, "`stream_options` must be an object".to_owned()))?;
    if inner.twice.is_some() {
        return Err(problem(ErrorCode::DuplicateJsonKey, "`stream_options.include_usage` may stand once".to_owned()));
    }
    let wants = flag("stream_options.include_usage", inner.value(0))?;
    let empty = value.trim_start_matches('{').trim_start().starts_with('}');
    let include_usage = inner.span(0).map(|flag| span(text, flag));
    Ok((Options { whole, null: false, empty, include_usage }, wants))
}
