//! Other proxies ask: whether a call of theirs may be made, and what it used.
//!
//! A call that another proxy makes is an ordinary attempt. A check takes its holds and writes it down before it is answered; a
//! settlement ends it; what is neither settled nor heard of again ends at its deadline with its usage unknown, and stays held. So
//! it has the same rows, prices, refusals and recovery as a call that passes here.
//!
//! The life of a question: `http` takes it as JSON, which `stated` reads, or `grpc` as Envoy sends it to its rate limit service,
//! which `descriptors` reads. `asker` finds who asks and for whom, `desk` asks the limits, `open` keeps what is open.

use std::time::Duration;

use bytes::Bytes;
use schemas::{
    bound::Stated,
    error_code::ErrorCode,
    event::Api,
    id::CallId,
    money::Pico,
    policy::Digest,
    subject::Subject,
    tokens::{Completeness, Doubt, Part, Usage, Vector},
};

use crate::{
    meter::{Finish, Measured, visible::Visible},
    settlement::End,
};

mod asker;
pub(crate) mod descriptors;
mod desk;
mod earlier;
mod envoy;
pub(crate) mod grpc;
pub(crate) mod http;
mod open;
pub(crate) mod stated;

pub(crate) use asker::Asker;
pub(crate) use earlier::Earlier;
pub(crate) use open::Checks;

/// Why a question is not taken.
pub(crate) type Wrong = (ErrorCode, String);

/// How long a check stays open if it does not say.
const EXPIRES_IN: Duration = Duration::from_secs(600);
/// The longest that it may: as the longest call of our own by default.
const EXPIRES_MAX: Duration = Duration::from_secs(3_600);
/// The longest name of a call, and of whatever else is stated.
const TEXT_MAX: usize = 256;

/// Whether a call may be made.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Check {
    /// What the proxy calls it, to settle by.
    pub(crate) call: Option<String>,
    pub(crate) who: Who,
    pub(crate) provider: String,
    /// The model asked of the provider; empty where the request says it.
    pub(crate) model: String,
    pub(crate) api: Api,
    pub(crate) stream: bool,
    pub(crate) tags: Vec<(String, String)>,
    pub(crate) most: Most,
    pub(crate) expires_in: Duration,
}

/// Whose call it is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Who {
    /// The asker's own.
    Asker,
    /// That of the client with this key.
    Key(Digest),
    /// This one's.
    Stated(Subject),
}

/// The most that a call can use.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Most {
    /// So much of each, as far as that is stated.
    Stated(Stated),
    /// What this body can make a provider do.
    Request(Bytes),
}

/// How a call is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// As the check was answered.
    Id(CallId),
    /// As the check named it.
    Call(String),
}

/// What became of a call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settlement {
    pub(crate) name: Name,
    pub(crate) told: Told,
    /// The hash of what was sent, by which the same is known again.
    pub(crate) content: u64,
}

/// How an attempt ended, in the words of who made it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Told {
    pub(crate) outcome: Option<Ending>,
    pub(crate) status: u16,
    pub(crate) tokens: Option<Vector>,
    /// What is said of them; all there is, if nothing.
    pub(crate) completeness: Option<Stating>,
    pub(crate) model: String,
    pub(crate) service_tier: String,
    pub(crate) response_id: String,
    pub(crate) cost: Option<Pico>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Complete,
    ProviderError,
    Timeout,
    ClientGone,
    Cut,
    /// The provider never saw it.
    NotSent,
}

/// How sure the counts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stating {
    Exact,
    LowerBound,
    Estimated,
}

impl Ending {
    pub(crate) const ALL: [(&'static str, Self); 6] = [
        ("complete", Self::Complete),
        ("provider_error", Self::ProviderError),
        ("timeout", Self::Timeout),
        ("client_gone", Self::ClientGone),
        ("cut", Self::Cut),
        ("not_sent", Self::NotSent),
    ];
}

impl Stating {
    pub(crate) const ALL: [(&'static str, Self); 3] =
        [("exact", Self::Exact), ("lower_bound", Self::LowerBound), ("estimated", Self::Estimated)];
}

impl Told {
    /// How the attempt ends by that, and what its answer said. What is not stated is not known; but a provider that refused, or
    /// never saw the request, has charged nothing, as for calls of our own.
    pub(crate) fn ended(self) -> (End, Option<Measured>) {
        let failed = self.status >= 400;
        let outcome = self.outcome.unwrap_or(if failed { Ending::ProviderError } else { Ending::Complete });
        let end = match outcome {
            Ending::Complete => End::Complete,
            Ending::NotSent => End::NotSent,
            Ending::Timeout => End::TimedOut,
            Ending::ClientGone => End::ClientGone,
            Ending::Cut => End::Cut,
            // A proxy answers so itself where the provider may have begun to work.
            Ending::ProviderError if matches!(self.status, 502..=504) => End::NoAnswer,
            Ending::ProviderError if failed && self.tokens.is_none() => End::Refused,
            Ending::ProviderError => End::Truncated,
        };
        let doubt = match end {
            End::TimedOut => Doubt::TimedOut,
            End::ClientGone => Doubt::ClientLeft,
            End::Truncated | End::Cut => Doubt::Truncated,
            End::NoAnswer => Doubt::NoAnswer,
            _ => Doubt::NotReported,
        };
        let usage = match (self.tokens, self.completeness.unwrap_or(Stating::Exact)) {
            (None, _) => Usage::missing(doubt),
            (Some(vector), stating) => {
                let completeness = match stating {
                    Stating::Exact => Completeness::Exact,
                    Stating::LowerBound => Completeness::LowerBound(doubt),
                    Stating::Estimated => Completeness::Estimated(doubt),
                };
                Usage { parts: vec![Part { model: None, vector }], completeness }
            }
        };
        let measured = Measured {
            usage,
            raw_usage: String::new(),
            model_answered: self.model,
            response_id: self.response_id,
            service_tier: self.service_tier,
            region: String::new(),
            provider_cost: self.cost,
            finish: Finish::Complete,
            visible: Visible::default(),
            background: None,
            is_response: false,
        };
        (end, Some(measured))
    }
}

fn wrong(what: impl Into<String>) -> Wrong {
    (ErrorCode::BadCheck, what.into())
}

/// The API of calls to a provider, where nobody says.
fn api_of(provider: &str) -> Api {
    match provider {
        "anthropic" => Api::AnthropicMessages,
        "gemini" | "vertex" => Api::GeminiGenerateContent,
        "bedrock" => Api::BedrockConverse,
        "cohere" => Api::CohereChat,
        _ => Api::OpenAiChat,
    }
}

/// The API with this name.
fn api(name: &str) -> Result<Api, Wrong> {
    let known = Api::ALL.into_iter().find(|known| known.name() == name);
    known.ok_or_else(|| wrong("`api` is none that is metered; write one such as openai.chat or anthropic.messages"))
}

/// How long a check that states so many seconds stays open.
fn expiry(seconds: Option<u64>) -> Result<Duration, Wrong> {
    let most = EXPIRES_MAX.as_secs();
    let seconds = seconds.filter(|seconds| (1..=most).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| wrong(format!("`expires_in` is 1 to {most} seconds")))
}

/// A text that may stand in records and messages.
fn is_text(text: &str) -> bool {
    (1..=TEXT_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}
