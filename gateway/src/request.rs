//! What is acted on of a request's body, and nothing else.
//!
//! A member that matters may stand once, or the gateway could meter one and the provider run the other. Integral floats and
//! `null` are accepted where the providers accept them. The body is never written anew: [`Parsed::edit`] splices bytes into a
//! copy where something has to change, and hands on the very same bytes where nothing has. What bounds the input is not looked at
//! here but by `schemas::bound`, in the same tree; `user` and `metadata` say nothing that is trusted.

use std::ops::Range;

use bytes::Bytes;
use schemas::{
    error_code::ErrorCode,
    event::Api,
    json::{Kind, Malformed, Tree, Value, Why},
};

use crate::json::number;

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
/// The longest name of a model: it stands in every record of its call, in labels and in messages.
const MODEL_MAX: usize = 256;
const MODEL: usize = 0;
const STREAM: usize = 1;
const STREAM_OPTIONS: usize = 2;
const MAX_TOKENS: usize = 3;
const MAX_COMPLETION_TOKENS: usize = 4;
const CHOICES: usize = 5;
/// How many of the names are acted on.
const ACTED_ON: usize = 6;

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

/// The values of the members that are acted on, in the order of their names.
type Acted<'t> = [Option<Value<'t>>; ACTED_ON];

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

/// Reads a request, and gives the tree that it was read from, so that nobody reads it again. Pure and synchronous: up to a
/// millisecond for a megabyte, so above that call it off the async threads.
pub fn parse(api: Api, body: &Bytes) -> Result<(Parsed, Tree<'_>), Problem> {
    let tree = Tree::read(body).map_err(|error| malformed(body, error))?;
    let parsed = parsed(api, body, &tree)?;
    Ok((parsed, tree))
}

fn parsed(api: Api, body: &Bytes, tree: &Tree<'_>) -> Result<Parsed, Problem> {
    let acted = acted(tree)?;
    let chat = api == Api::OpenAiChat;
    let span = |place: usize| acted.get(place).copied().flatten().map(Value::span);
    let (options, wants_usage) = match acted[STREAM_OPTIONS].filter(|_| chat) {
        Some(value) => options(value).map(|(options, wants)| (Some(options), wants))?,
        None => (None, false),
    };
    Ok(Parsed {
        model: model(acted[MODEL])?,
        stream: matches!(api, Api::OpenAiChat | Api::AnthropicMessages) && flag("stream", acted[STREAM])?,
        wants_usage,
        max_tokens: if api == Api::OpenAiEmbeddings { None } else { count(&acted, MAX_TOKENS)? },
        max_completion_tokens: if chat { count(&acted, MAX_COMPLETION_TOKENS)? } else { None },
        n: if chat { count(&acted, CHOICES)?.unwrap_or(1) } else { 1 },
        api,
        body: body.clone(),
        spans: Spans {
            open: tree.root().span().start + 1,
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

fn malformed(body: &[u8], error: Malformed) -> Problem {
    let what = match error.why {
        _ if body.starts_with("\u{feff}".as_bytes()) => "it begins with a byte order mark".to_owned(),
        Why::NotUtf8 => format!("it is not UTF-8 from byte {} on", error.at),
        Why::TooLong => "it is longer than 2 GiB".to_owned(),
        Why::EndsEarly => format!("it ends too early, {}", place(body, error.at)),
        Why::NotJson => format!("it is not JSON, {}", place(body, error.at)),
        Why::TooDeep => format!("it is nested too deep, {}", place(body, error.at)),
        Why::TooLarge => format!("a number is too large, {}", place(body, error.at)),
    };
    problem(ErrorCode::MalformedJson, what)
}

/// Where the byte at an offset stands, or the last one where there is none.
fn place(body: &[u8], at: usize) -> String {
    let before = body.get(..at).unwrap_or(body);
    let line = before.rsplit(|byte| *byte == b'\n').next().map_or(0, <[u8]>::len);
    let lines = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    format!("at line {lines} column {}", line + usize::from(at < body.len()))
}

/// The values that are acted on; none of the names may stand twice.
fn acted<'t>(tree: &'t Tree<'_>) -> Result<Acted<'t>, Problem> {
    let members = tree.root().members();
    let members = members.ok_or_else(|| problem(ErrorCode::MalformedJson, "it is not an object".to_owned()))?;
    let (mut values, mut seen, mut twice) = (Acted::default(), 0_u32, None);
    for (name, value) in members {
        let Some((place, known)) = NAMES.iter().enumerate().find(|(_, known)| name == ***known) else { continue };
        if seen & (1 << place) != 0 {
            twice = Some(*known);
        }
        seen |= 1 << place;
        values.get_mut(place).into_iter().for_each(|slot| *slot = Some(value));
    }
    match twice {
        Some(name) => Err(problem(ErrorCode::DuplicateJsonKey, format!("`{name}` may stand once"))),
        None => Ok(values),
    }
}

fn model(value: Option<Value<'_>>) -> Result<String, Problem> {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        return Err(problem(ErrorCode::BadValue, "`model` is missing".to_owned()));
    };
    let model = value.text().filter(|model| !model.is_empty());
    let model = model.ok_or_else(|| problem(ErrorCode::BadValue, "`model` must be a name".to_owned()))?;
    if model.len() > MODEL_MAX {
        return Err(problem(ErrorCode::BadValue, format!("`model` may have {MODEL_MAX} bytes")));
    }
    Ok(model.decoded().into_owned())
}

fn flag(name: &str, value: Option<Value<'_>>) -> Result<bool, Problem> {
    match value.map(Value::kind) {
        Some(Kind::Bool(value)) => Ok(value),
        Some(Kind::Null) | None => Ok(false),
        Some(_) => Err(problem(ErrorCode::BadValue, format!("`{name}` must be true or false"))),
    }
}

fn count(acted: &Acted<'_>, place: usize) -> Result<Option<u64>, Problem> {
    let given = acted.get(place).copied().flatten().filter(|value| !value.is_null());
    let Some(value) = given else { return Ok(None) };
    number::count(value.raw()).map(Some).map_err(|why| {
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
fn options(value: Value<'_>) -> Result<(Options, bool), Problem> {
    let whole = value.span();
    if value.is_null() {
        return Ok((Options { whole, null: true, empty: true, include_usage: None }, false));
    }
    let members = value.members();
    let members =
        members.ok_or_else(|| problem(ErrorCode::BadValue, "`stream_options` must be an object".to_owned()))?;
    let empty = members.clone().next().is_none();
    let mut asks = members.filter(|(name, _)| *name == *"include_usage").map(|(_, value)| value);
    let ask = asks.next();
    if asks.next().is_some() {
        return Err(problem(ErrorCode::DuplicateJsonKey, "`stream_options.include_usage` may stand once".to_owned()));
    }
    let wants = flag("stream_options.include_usage", ask)?;
    Ok((Options { whole, null: false, empty, include_usage: ask.map(Value::span) }, wants))
}
