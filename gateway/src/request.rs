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

use crate::json::{member, number};

pub use cap::{Cap, CapMember};

mod cap;
mod edit;
mod form;
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
const NAMES: [&str; 54] = [
    "model",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "n",
    "max_output_tokens",
    "generationConfig",
    "inferenceConfig",
    "background",
    "guardrailConfig",
    "tools",
    "messages",
    "input",
    "prompt",
    "system",
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
    "instructions",
    "previous_response_id",
    "conversation",
    "include",
    "text",
    "contents",
    "systemInstruction",
    "toolConfig",
    "cachedContent",
    "requests",
    "content",
    "documents",
    "texts",
    "query",
    "serviceTier",
    "performanceConfig",
    "additionalModelRequestFields",
];
/// The longest name of a model: it stands in every record of its call, in labels and in messages.
const MODEL_MAX: usize = 256;
const MODEL: usize = 0;
const STREAM: usize = 1;
const STREAM_OPTIONS: usize = 2;
const MAX_TOKENS: usize = 3;
const MAX_COMPLETION_TOKENS: usize = 4;
const CHOICES: usize = 5;
const MAX_OUTPUT_TOKENS: usize = 6;
const GENERATION_CONFIG: usize = 7;
const INFERENCE_CONFIG: usize = 8;
const BACKGROUND: usize = 9;
const GUARDRAIL: usize = 10;
const TOOLS: usize = 11;
/// How many of the names are acted on.
const ACTED_ON: usize = 12;
/// From this day on tools of Anthropic's for the web run code, for nothing.
const FREES_CODE: u32 = 20_260_209;

/// What is known of a request before its body is read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given<'a> {
    /// The model, where the path names it; the body is then not asked.
    pub model: Option<&'a str>,
    /// Whether the answer streams, where the path says it.
    pub streams: Option<bool>,
    /// The content type.
    pub content_type: &'a str,
}

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
    /// How many answers are asked for; 1 if it does not say. OpenAI chat and completions only.
    pub n: u64,
    /// Whether it is worked on apart from the answer, so that who leaves that does not end it; OpenAI's responses only.
    pub is_background: bool,
    /// Whether it has a guardrail look at it; Bedrock's Converse only.
    pub is_guarded: bool,
    /// Whether code that the provider runs for it costs nothing, if it says so; Anthropic's messages only.
    pub code_is_free: Option<bool>,
    /// The cap that stands under another name than these two, if the API has one and it is given.
    pub other_cap: Option<u64>,
    /// Whether the model was read from the body.
    named_in_body: bool,
    api: Api,
    body: Bytes,
    /// The fields of a form, as an object.
    form: Option<Bytes>,
    spans: Spans,
}

/// Where in the body the values stand that an edit may change, `null` included.
#[derive(Clone, Debug, Default)]
struct Spans {
    /// The offset behind the `{` that opens the body, or of the first mark of a form.
    open: usize,
    /// The model, if the body names one; where the path does it may be another.
    model: Option<Range<usize>>,
    max_tokens: Option<Range<usize>>,
    max_completion_tokens: Option<Range<usize>>,
    stream_options: Option<Options>,
    /// The cap under another name, and what it stands in.
    other_cap: Option<Range<usize>>,
    around: Option<Around>,
    /// Whether the body is an object, or a form, where a text stands without quotes, or nothing that is written into.
    kind: BodyKind,
}

/// What a body is to whom writes into it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum BodyKind {
    /// Nothing is written into it.
    #[default]
    Unread,
    /// A JSON object.
    Object,
    /// A form, where a text stands without quotes.
    Form,
}

/// An object in the body that something may be put into.
#[derive(Clone, Debug)]
struct Around {
    whole: Range<usize>,
    /// Whether it is `null`, so that there is nothing to keep in it.
    null: bool,
    /// Whether it has no member.
    empty: bool,
}

/// `stream_options` in the body.
#[derive(Clone, Debug)]
struct Options {
    around: Around,
    include_usage: Option<Range<usize>>,
}

/// The values of the members that are acted on, in the order of their names.
type Acted<'t> = [Option<Value<'t>>; ACTED_ON];

/// What to change in a body on its way to a provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Edits<'a> {
    /// The model's name at the target, where that stands in the body; the same name changes nothing.
    pub model: Option<&'a str>,
    /// Ask for usage in the stream, where there is one and the client did not ask.
    pub ask_usage: bool,
    /// The most output that the provider may produce, for each answer.
    pub cap: Option<Cap>,
}

/// Reads a request whose body says all, and gives the tree that it was read from.
pub fn parse(api: Api, body: &Bytes) -> Result<(Parsed, Tree<'_>), Problem> {
    read(api, body, &Given::default())
}

/// Reads a request, and gives the tree that it was read from, so that nobody reads it again; of what is no JSON, an empty one. Pure
/// and synchronous: up to a millisecond for a megabyte, so above that call it off the async threads.
pub fn read<'b>(api: Api, body: &'b Bytes, given: &Given<'_>) -> Result<(Parsed, Tree<'b>), Problem> {
    let nothing = || Tree::read(b"{}").map_err(|error| malformed(body, error));
    if api.is_passed_on() || api == Api::OpenAiResponsesRetrieve {
        return Ok((Parsed::unread(api, body, given), nothing()?));
    }
    if let Some(boundary) = form::boundary(given.content_type) {
        return Ok((form::parse(api, body, &boundary, given)?, nothing()?));
    }
    let tree = Tree::read(body).map_err(|error| malformed(body, error))?;
    let parsed = parsed(api, body, &tree, given)?;
    Ok((parsed, tree))
}

fn parsed(api: Api, body: &Bytes, tree: &Tree<'_>, given: &Given<'_>) -> Result<Parsed, Problem> {
    let acted = acted(tree)?;
    let (either, chooses) = (CapMember::may_be_either(api), matches!(api, Api::OpenAiChat | Api::OpenAiCompletions));
    let span = |place: usize| acted.get(place).copied().flatten().map(Value::span);
    let (options, wants_usage) = match acted[STREAM_OPTIONS].filter(|_| chooses) {
        Some(value) => options(value).map(|(options, wants)| (Some(options), wants))?,
        None => (None, false),
    };
    let streams = match given.streams {
        Some(streams) => streams,
        None => api.operation().has_output() && flag("stream", acted[STREAM])?,
    };
    let (other_cap, cap_span, around) = other_cap(api, &acted)?;
    Ok(Parsed {
        model: match given.model {
            Some(model) => bounded(model)?,
            None => match (acted[MODEL].filter(|model| !model.is_null()), unnamed(api)) {
                (None, Some(model)) => model.to_owned(),
                (value, _) => model(value)?,
            },
        },
        stream: streams,
        wants_usage,
        max_tokens: if api.operation().has_output() { count(&acted, MAX_TOKENS)? } else { None },
        max_completion_tokens: if either { count(&acted, MAX_COMPLETION_TOKENS)? } else { None },
        n: if chooses { count(&acted, CHOICES)?.unwrap_or(1) } else { 1 },
        is_guarded: matches!(api, Api::BedrockConverse | Api::BedrockConverseStream)
            && acted[GUARDRAIL].is_some_and(|config| !config.is_null()),
        code_is_free: (api == Api::AnthropicMessages).then(|| frees_code(acted[TOOLS])),
        is_background: api == Api::OpenAiResponses && flag("background", acted[BACKGROUND])?,
        other_cap,
        named_in_body: given.model.is_none(),
        api,
        body: body.clone(),
        form: None,
        spans: Spans {
            open: tree.root().span().start + 1,
            model: span(MODEL),
            max_tokens: span(MAX_TOKENS),
            max_completion_tokens: span(MAX_COMPLETION_TOKENS).filter(|_| either),
            stream_options: options,
            other_cap: cap_span,
            around,
            kind: BodyKind::Object,
        },
    })
}

/// The cap that an API has under a name of its own, where it stands, and what it stands in.
type OtherCap = (Option<u64>, Option<Range<usize>>, Option<Around>);

fn other_cap(api: Api, acted: &Acted<'_>) -> Result<OtherCap, Problem> {
    let Some(member) = CapMember::of(api) else { return Ok((None, None, None)) };
    let place = match member {
        CapMember::GenerationConfig => GENERATION_CONFIG,
        CapMember::InferenceConfig => INFERENCE_CONFIG,
        _ => return Ok((count(acted, MAX_OUTPUT_TOKENS)?, acted[MAX_OUTPUT_TOKENS].map(Value::span), None)),
    };
    let Some(value) = acted.get(place).copied().flatten() else { return Ok((None, None, None)) };
    let within = member.within().unwrap_or_default();
    let (around, caps) = inside(value, within, member.name())?;
    let tokens = caps.filter(|cap| !cap.is_null()).map(|cap| counted(member.name(), cap)).transpose()?;
    Ok((tokens, caps.map(Value::span), Some(around)))
}

/// An object in the body, and its member of this name, which may stand once.
fn inside<'t>(value: Value<'t>, name: &str, member: &str) -> Result<(Around, Option<Value<'t>>), Problem> {
    let whole = value.span();
    if value.is_null() {
        return Ok((Around { whole, null: true, empty: true }, None));
    }
    let members = value.members();
    let members = members.ok_or_else(|| problem(ErrorCode::BadValue, format!("`{name}` must be an object")))?;
    let empty = members.clone().next().is_none();
    let mut found = members.filter(|(found, _)| *found == *member).map(|(_, value)| value);
    let first = found.next();
    if found.next().is_some() {
        return Err(problem(ErrorCode::DuplicateJsonKey, format!("`{name}.{member}` may stand once")));
    }
    Ok((Around { whole, null: false, empty }, first))
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
        self.max_tokens.max(self.max_completion_tokens).max(self.other_cap)
    }

    /// Whether a cap allows less than the request does, and is not merely its own in another member.
    pub(crate) fn is_lowered_by(&self, cap: Cap) -> bool {
        self.output_cap().is_none_or(|own| cap.is_passed_by(own))
    }

    /// A request whose body is not acted on. What it says of a model is believed for the record only.
    fn unread(api: Api, body: &Bytes, given: &Given<'_>) -> Self {
        let said = || Tree::read(body).ok().and_then(|tree| model(acted(&tree).ok()?[MODEL]).ok());
        let model = given.model.map(str::to_owned).or_else(said).unwrap_or_default();
        Self::plain(api, body, model)
    }

    /// A request of which nothing but the model is known.
    fn plain(api: Api, body: &Bytes, model: String) -> Self {
        Self {
            model,
            stream: false,
            wants_usage: false,
            max_tokens: None,
            max_completion_tokens: None,
            n: 1,
            is_background: false,
            is_guarded: false,
            code_is_free: None,
            other_cap: None,
            named_in_body: true,
            api,
            body: body.clone(),
            form: None,
            spans: Spans::default(),
        }
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
    let (mut values, mut seen, mut twice) = (Acted::default(), 0_u64, None);
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

/// Whether any of these tools makes code free that Anthropic runs.
fn frees_code(tools: Option<Value<'_>>) -> bool {
    let mut kinds = tools.and_then(Value::items).into_iter().flatten().filter_map(|tool| member(tool, "type")?.word());
    kinds.any(|kind| {
        let day = ["web_search_", "web_fetch_"].into_iter().find_map(|web| kind.strip_prefix(web));
        day.and_then(|day| day.parse::<u32>().ok()).is_some_and(|day| day >= FREES_CODE)
    })
}

/// The model that an API documents for requests that name none.
fn unnamed(api: Api) -> Option<&'static str> {
    matches!(api, Api::OpenAiModerations).then_some("omni-moderation-latest")
}

fn model(value: Option<Value<'_>>) -> Result<String, Problem> {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        return Err(problem(ErrorCode::BadValue, "`model` is missing".to_owned()));
    };
    let model = value.text().filter(|model| !model.is_empty());
    let model = model.ok_or_else(|| problem(ErrorCode::BadValue, "`model` must be a name".to_owned()))?;
    bounded(&model.decoded())
}

/// The name of a model, if it is not too long.
fn bounded(model: &str) -> Result<String, Problem> {
    if model.len() > MODEL_MAX {
        return Err(problem(ErrorCode::BadValue, format!("`model` may have {MODEL_MAX} bytes")));
    }
    Ok(model.to_owned())
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
    given.map(|value| counted(NAMES.get(place).copied().unwrap_or_default(), value)).transpose()
}

fn counted(name: &str, value: Value<'_>) -> Result<u64, Problem> {
    number::count(value.raw()).map_err(|why| {
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
    let (around, ask) = inside(value, "stream_options", "include_usage")?;
    let wants = flag("stream_options.include_usage", ask)?;
    Ok((Options { around, include_usage: ask.map(Value::span) }, wants))
}
