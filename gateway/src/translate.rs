//! A call of one dialect, carried to a provider that speaks another, and its answer carried back.
//!
//! 1. [`Request::read`] reads what a client sent into the hub ([`hub`]), [`Request::write`] writes it for a provider. What cannot be
//!    carried is [`Refused`] with its path, or listed in [`Written::dropped`] where it is only a hint (README says what is); nothing is dropped
//!    silently, because whoever reads takes members by name and the rest is refused ([`fields`]).
//! 2. [`answer`] translates a whole answer, [`Stream`] one that comes event by event, or whole to who asked for events, [`error`] one that
//!    is none.
//!
//! A dialect is a room with the same files: `request_in` and `answer_out` where clients speak it, `request_out` and `answer_in` where
//! providers do. All meet in the hub, so none knows another. It is pure: ids and time are passed in, and usage is what the meter made
//! of the provider's own bytes. It fetches no URL, keeps no state between calls, and is never in the way of a call that needs no translation.

pub use schemas::config::Flavor;
use schemas::tokens::Vector;

mod anthropic;
mod bedrock;
mod cohere;
mod fields;
mod foreign;
mod gemini;
mod hub;
mod ids;
mod json;
mod media;
mod openai_chat;
mod openai_responses;
mod repeat;
mod seal;
mod stream;

pub use fields::{Blame, Refused};
pub(crate) use foreign::leave;
pub use stream::{End, Stream};

use fields::{Item, Ledger, document};
use hub::{Answer, Conversation, Event, Fault, Stop, What};
use ids::Ids;
use json::Json;

/// A dialect that clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// OpenAI's chat completions.
    OpenAiChat,
    /// OpenAI's Responses.
    OpenAiResponses,
    /// Anthropic's messages.
    AnthropicMessages,
}

/// A dialect that providers speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// OpenAI's chat completions.
    OpenAiChat,
    /// Anthropic's messages.
    AnthropicMessages,
    /// Gemini's generateContent.
    Gemini,
    /// Amazon Bedrock's Converse.
    BedrockConverse,
    /// Cohere's chat, second version.
    CohereChat,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug)]
pub struct To<'a> {
    /// What the provider speaks.
    pub provider: Provider,
    /// The model's name there.
    pub model: &'a str,
    /// The most that the model can answer, for a provider that wants a cap where the client gave none.
    pub max_output: Option<u64>,
    /// Whether the cap of a chat is `max_tokens`, as most but OpenAI name it.
    pub old_cap: bool,
    /// Whose chats it takes.
    pub flavor: Flavor,
    /// Whether a chat has to ask for usage in its stream.
    pub ask_usage: bool,
}

/// A client's request, read.
#[derive(Clone, Debug)]
pub struct Request(Conversation);

/// A body for the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The JSON.
    pub body: String,
    /// What was not carried, by path: for a header.
    pub dropped: Vec<String>,
}

/// What an answer says beside what the provider said.
#[derive(Clone, Debug)]
pub struct Told {
    id: String,
    model: String,
    created: u64,
    expected_input: u64,
    wants_usage: bool,
    echo: Vec<(&'static str, Json)>,
}

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    ///
    /// If it is none of its dialect, or says what no other dialect can.
    pub fn read(from: Client, body: &[u8]) -> Result<Self, Refused> {
        let tree = document(body)?;
        let fields = Item::root(&tree).object()?;
        let asked = match from {
            Client::OpenAiChat => openai_chat::request_in::read(fields),
            Client::OpenAiResponses => openai_responses::request_in::read(fields),
            Client::AnthropicMessages => anthropic::request_in::read(fields),
        };
        asked.map(Self)
    }

    /// Writes it for a provider.
    ///
    /// # Errors
    ///
    /// If the provider has no place for what changes the answer.
    pub fn write(&self, to: &To<'_>) -> Result<Written, Refused> {
        let mut ledger = self.0.ledger.clone();
        let body = match to.provider {
            Provider::OpenAiChat => openai_chat::request_out::write(&self.0, to, &mut ledger),
            Provider::AnthropicMessages => anthropic::request_out::write(&self.0, to, &mut ledger),
            Provider::Gemini => gemini::request_out::write(&self.0, to, &mut ledger),
            Provider::BedrockConverse => bedrock::request_out::write(&self.0, to, &mut ledger),
            Provider::CohereChat => cohere::request_out::write(&self.0, to, &mut ledger),
        };
        Ok(Written { body: body?.to_string(), dropped: ledger.lines() })
    }

    /// What its answer says beside what the provider said: the call's id, the time in seconds, and what the input may amount to.
    pub fn told(&self, id: &str, created: u64, expected_input: u64) -> Told {
        Told {
            id: id.to_owned(),
            model: self.0.model.clone(),
            created,
            expected_input,
            wants_usage: self.0.wants_usage,
            echo: self.0.echo.clone(),
        }
    }
}

/// Usage as a stream of a client's dialect ends with it.
pub(crate) fn usage_in(client: Client, usage: &Vector) -> serde_json::Value {
    let written = match client {
        Client::OpenAiChat => openai_chat::answer_out::write_usage(usage),
        Client::OpenAiResponses => openai_responses::answer_out::write_usage(usage),
        Client::AnthropicMessages => anthropic::answer_out::write_delta_usage(Some(usage)),
    };
    serde_json::from_str(&written.to_string()).unwrap_or_default()
}

/// Reads a provider's answers.
#[derive(Debug)]
enum Reader {
    Chat(Box<openai_chat::answer_in::Reader>),
    Messages(anthropic::answer_in::Reader),
    Gemini(gemini::answer_in::Reader),
    Converse(bedrock::answer_in::Reader),
    Cohere(cohere::answer_in::Reader),
}

impl Reader {
    fn new(from: Provider, told: &Told, model: &str) -> Self {
        let ids = Ids::new(&told.id);
        match from {
            Provider::OpenAiChat => Self::Chat(Box::new(openai_chat::answer_in::Reader::new(ids))),
            Provider::AnthropicMessages => Self::Messages(anthropic::answer_in::Reader::new()),
            Provider::Gemini => Self::Gemini(gemini::answer_in::Reader::new(ids)),
            Provider::BedrockConverse => {
                Self::Converse(bedrock::answer_in::Reader::new(bedrock::request_out::maker(model)))
            }
            Provider::CohereChat => Self::Cohere(cohere::answer_in::Reader::new(ids)),
        }
    }

    fn whole(&mut self, body: &[u8], ledger: &mut Ledger) -> Result<Vec<Event>, Refused> {
        let tree = document(body)?;
        let (root, mut out) = (Item::root(&tree), Vec::new());
        // Gemini's stream is a list of its chunks where nobody asks for events, or somebody on the way passes over that.
        if let Self::Gemini(reader) = self
            && root.is_list()
        {
            for chunk in root.list()? {
                reader.read(chunk.object()?, &mut out, ledger)?;
            }
            return Ok(out);
        }
        let fields = root.object()?;
        match self {
            Self::Chat(reader) => reader.read(fields, &mut out, ledger),
            Self::Messages(reader) => reader.whole(fields, &mut out, ledger),
            Self::Gemini(reader) => reader.read(fields, &mut out, ledger),
            Self::Converse(reader) => reader.whole(fields, &mut out, ledger),
            Self::Cohere(reader) => reader.whole(fields, &mut out, ledger),
        }?;
        Ok(out)
    }

    /// What a whole answer says. It is no error, and has a reason for its end: if it gives none it ended by itself, with what it says.
    fn said(&mut self, body: &[u8], ledger: &mut Ledger) -> Result<Vec<Event>, Refused> {
        let mut said = self.whole(body, ledger)?;
        self.finish(&mut said);
        let fault = said.iter().find_map(|event| if let Event::Fault(fault) = event { Some(fault) } else { None });
        if let Some(fault) = fault {
            return Err(Refused::form("", format!("it is an error: {}", fault.message)));
        }
        if !said.iter().any(|event| matches!(event, Event::Stop(_))) {
            if !said.iter().any(|event| matches!(event, Event::Open(_) | Event::Sealed(_))) {
                return Err(Refused::form("", "it has neither content nor a reason for its end"));
            }
            ledger.note("the reason for its end");
            said.push(Event::Stop(Stop::End));
        }
        Ok(said)
    }

    /// Says what waits for more, of an answer that may end without a reason.
    fn finish(&mut self, out: &mut Vec<Event>) {
        if let Self::Chat(reader) = self {
            reader.finish(out);
        }
    }

    fn event(&mut self, name: &str, data: &[u8], out: &mut Vec<Event>, ledger: &mut Ledger) -> Result<(), Refused> {
        let tree = document(data)?;
        let root = Item::root(&tree);
        match self {
            Self::Chat(reader) => reader.read(root.without(&openai_chat::answer_in::ASIDE)?, out, ledger),
            Self::Messages(reader) => reader.read(root.object()?, out, ledger),
            Self::Gemini(reader) => reader.read(root.object()?, out, ledger),
            Self::Converse(reader) => reader.read(name, root.object()?, out, ledger),
            Self::Cohere(reader) => reader.read(root.object()?, out, ledger),
        }
    }
}

/// Translates a whole answer of `model`.
///
/// # Errors
///
/// If it cannot be read as one of the provider's dialect.
pub fn answer(
    from: Provider,
    model: &str,
    to: Client,
    body: &[u8],
    told: &Told,
    usage: Option<&Vector>,
) -> Result<Written, Refused> {
    let (mut ledger, mut found) = (Ledger::default(), Answer::default());
    for event in Reader::new(from, told, model).said(body, &mut ledger)? {
        found.apply(event);
    }
    if to != Client::AnthropicMessages {
        found.parts.extend(found.stop.as_ref().and_then(Stop::refusal).map(What::Refusal));
    }
    let body = match to {
        Client::OpenAiChat => openai_chat::answer_out::whole(&found, told, usage),
        Client::OpenAiResponses => openai_responses::answer_out::whole(&found, told, usage),
        Client::AnthropicMessages => anthropic::answer_out::whole(&found, told, usage),
    };
    Ok(Written { body: body.to_string(), dropped: ledger.lines() })
}

/// Translates what a provider says instead of an answer. Of a body that is not in its form nothing is passed on.
pub fn error(from: Provider, to: Client, status: u16, body: &[u8], id: &str) -> String {
    let mut fault = read_fault(from, body).unwrap_or_default();
    fault.status = Some(status);
    if fault.message.is_empty() {
        fault.message = format!("the provider answered with status {status}");
    }
    write_fault(&fault, to, id).to_string()
}

fn read_fault(from: Provider, body: &[u8]) -> Result<Fault, Refused> {
    let tree = document(body)?;
    let root = Item::root(&tree);
    // Gemini's compatible and streamed endpoints put it into a list.
    let root = if root.is_list() { root.list()?.into_iter().next() } else { Some(root) };
    let Some(mut fields) = root.map(Item::object).transpose()? else { return Ok(Fault::default()) };
    match from {
        Provider::OpenAiChat => openai_chat::answer_in::refusal(fields),
        Provider::AnthropicMessages => anthropic::answer_in::fault(fields.need("error")?),
        Provider::Gemini => gemini::answer_in::fault(fields.need("error")?),
        Provider::BedrockConverse => bedrock::answer_in::fault(fields),
        Provider::CohereChat => cohere::answer_in::fault(fields),
    }
}

fn write_fault(fault: &Fault, to: Client, id: &str) -> Json {
    let kind = kind_of(fault.status.unwrap_or(500), to);
    match to {
        Client::OpenAiChat | Client::OpenAiResponses => openai_chat::answer_out::error(fault, kind),
        Client::AnthropicMessages => anthropic::answer_out::error(fault, kind, id),
    }
}

/// The word that a client's dialect has for an error of this status.
const fn kind_of(status: u16, to: Client) -> &'static str {
    match (to, status) {
        (Client::AnthropicMessages, 401) => "authentication_error",
        (Client::AnthropicMessages, 403) => "permission_error",
        (Client::AnthropicMessages, 404) => "not_found_error",
        (Client::AnthropicMessages, 413) => "request_too_large",
        (Client::AnthropicMessages, 429) => "rate_limit_error",
        (Client::AnthropicMessages, 503 | 529) => "overloaded_error",
        (Client::AnthropicMessages, 500..) => "api_error",
        (_, 429) => "rate_limit_exceeded",
        (_, 500..) => "server_error",
        _ => "invalid_request_error",
    }
}
