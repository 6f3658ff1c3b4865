//! Usage that another system tells of: CloudEvents 1.0, read and made into what the books learn.
//!
//! `tollgate.usage.v1` is an attempt that passed elsewhere; `tollgate.usage.amended.v1` states an attempt better than it was stated
//! before. Whose it is, the key says and nothing in the event; so a system tells of its own tenant only. Every member is known or
//! refused. What an amendment amends is what the ledger says: the event repeats it (`was`), so that it amends nothing else, and both sides
//! are rated by the attempt's own book. It may only add: what a client could lower is no limit. For the same reason it gives no room
//! in limits, unless the configuration says of its key that what it says is the whole: that also takes the place of an estimate.

use std::sync::Arc;

use schemas::{
    config::{TAG_NAME, is_tag_name},
    decision::Claim,
    error_code::ErrorCode,
    event::{Api, Attempt, Learned, Outcome, Settled},
    id::{BookHash, CallId},
    json::{Kind, Value},
    limit::Unit,
    money::{Pico, ROW_MAX},
    policy::Policy,
    price::Book,
    standing::Key,
    subject::Subject,
    time::Time,
    tokens::{Completeness, TokenClass, Usage, Vector},
    wire,
};

use crate::{json::number, limits::Limits, meter::Measured, settlement};

/// The longest text of an attribute or a member.
const TEXT_MAX: usize = 256;
/// The largest count of one class: the sum of all classes of a batch is far from the largest number.
const COUNT_MAX: u64 = 1 << 50;
/// The most tags of an event.
const TAGS_MAX: usize = 16;
/// What the sources of this gateway's own events begin with: who could tell one first could make it cost nothing.
const OURS: &str = "urn:tollgate:";

mod amend;

pub use amend::{Amended, Corrector};

/// Why an event is not taken.
pub type Wrong = (ErrorCode, String);

/// The attributes of a CloudEvent, and its data.
#[derive(Clone, Debug, Default)]
pub struct Envelope<'t> {
    /// Must be `1.0`.
    pub specversion: String,
    /// What its source calls it.
    pub id: String,
    /// Who says it.
    pub source: String,
    /// What kind of event it is.
    pub kind: String,
    /// When it was said.
    pub time: Option<String>,
    /// What it says.
    pub data: Option<Value<'t>>,
}

/// An event, read and checked.
#[derive(Clone, Debug, PartialEq)]
pub struct External {
    source: String,
    id: String,
    said_at: Time,
    content: u64,
    /// The amended attempt and what was stated of it; nothing for a new one.
    amends: Option<(CallId, u16, Vector)>,
    time: Time,
    api: Api,
    provider: String,
    model: String,
    tokens: Vector,
    tags: Vec<(String, String)>,
    service_tier: String,
    cost: Option<Pico>,
    response_id: String,
    raw: String,
    /// Whether it names the API.
    api_stated: bool,
    /// The tenant that a proxy speaks for.
    tenant: Option<String>,
    /// Whether an attempt of a gateway had it made, which has counted as a request.
    is_made: bool,
}

/// What an event becomes part of.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// Whose key it came with.
    pub subject: &'a Subject,
    /// The price book in force.
    pub book: &'a Book,
    /// The gateway.
    pub gateway: &'a Arc<str>,
}

impl<'t> Envelope<'t> {
    /// The event of a structured message.
    pub fn of(value: Value<'t>) -> Result<Self, Wrong> {
        let members = value.members().ok_or_else(|| wrong("an event is an object"))?;
        let (mut envelope, mut seen) = (Self::default(), Vec::new());
        for (name, value) in members {
            let name = name.decoded().into_owned();
            if seen.contains(&name) {
                return Err(wrong(format!("`{name}` stands twice")));
            }
            match name.as_str() {
                "specversion" => envelope.specversion = text(&name, value)?,
                "id" => envelope.id = text(&name, value)?,
                "source" => envelope.source = text(&name, value)?,
                "type" => envelope.kind = text(&name, value)?,
                "time" => envelope.time = Some(text(&name, value)?),
                "data" => envelope.data = Some(value),
                "data_base64" => return Err(wrong("state `data` as JSON, not `data_base64`")),
                // Of no effect: what the data is, is said by the type, and whose it is by the key.
                "datacontenttype" | "dataschema" | "subject" => drop(text(&name, value)?),
                _ if is_extension(&name) => {}
                _ => return Err(wrong(format!("`{name}` is no attribute of a CloudEvent"))),
            }
            seen.push(name);
        }
        Ok(envelope)
    }

    /// Checks it at a time.
    pub fn read(self, policy: &Policy, now: Time) -> Result<External, Wrong> {
        let amends = match self.kind.as_str() {
            _ if self.specversion != "1.0" => return Err(wrong("`specversion` has to be 1.0")),
            "tollgate.usage.v1" => false,
            "tollgate.usage.amended.v1" => true,
            _ => return Err(wrong("`type` is tollgate.usage.v1 or tollgate.usage.amended.v1")),
        };
        if self.source.starts_with(OURS) {
            return Err(wrong(format!("a `source` that begins with {OURS} is the gateway's own")));
        }
        for (name, value) in [("id", &self.id), ("source", &self.source)] {
            if value.is_empty() || value.len() > TEXT_MAX {
                return Err(wrong(format!("`{name}` has 1 to {TEXT_MAX} bytes")));
            }
        }
        let data = self.data.ok_or_else(|| wrong("`data` is missing"))?;
        let stated = self.time.as_deref().map(|time| instant("time", time)).transpose()?;
        let said = format!("{}\n{}\n{}", self.kind, self.time.unwrap_or_default(), data.raw());
        let data = Data::read(data)?;
        let time = data.time.or(stated).ok_or_else(|| {
            wrong(if amends { "`time` is missing: when it was amended" } else { "`time` is missing" })
        })?;
        let said_at =
            if amends { stated.ok_or_else(|| wrong("`time` is missing: when it was amended"))? } else { time };
        let days = std::time::Duration::from_secs(u64::from(policy.metering.dedup_days) * 24 * 3_600);
        if now.since(said_at) > days {
            return Err(wrong(format!("{said_at} is more than {} days ago", policy.metering.dedup_days)));
        }
        if said_at.max(time) > now.after(Claim::SKEW) {
            return Err(wrong(format!("{} is still to come", said_at.max(time))));
        }
        let content = wire::hash(said.as_bytes());
        data.external(amends, (self.source, self.id, content), (said_at, time))
    }
}

/// Extension attributes are lower-case letters and digits; they have no effect here.
fn is_extension(name: &str) -> bool {
    (1..=20).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// The data of an event, before it is known to be whole.
#[derive(Default)]
struct Data {
    time: Option<Time>,
    api: Option<Api>,
    provider: String,
    model: String,
    tokens: Option<Vector>,
    was: Option<Vector>,
    call: Option<CallId>,
    attempt: Option<u64>,
    tags: Vec<(String, String)>,
    service_tier: String,
    cost: Option<Pico>,
    response_id: String,
    raw: String,
    tenant: Option<String>,
}

impl Data {
    fn read(value: Value<'_>) -> Result<Self, Wrong> {
        let members = value.members().ok_or_else(|| wrong("`data` is an object"))?;
        let (mut data, mut seen) = (Self { raw: value.raw().to_owned(), ..Self::default() }, Vec::new());
        for (name, value) in members {
            let name = name.decoded().into_owned();
            if seen.contains(&name) {
                return Err(wrong(format!("`data.{name}` stands twice")));
            }
            match name.as_str() {
                "time" => data.time = Some(instant("data.time", &text(&name, value)?)?),
                "api" => {
                    let api = text(&name, value)?;
                    let known = Api::ALL.into_iter().find(|known| known.name() == api);
                    data.api = Some(known.ok_or_else(|| wrong(format!("{api:?} is no API that is metered")))?);
                }
                "provider" => data.provider = text(&name, value)?,
                "model" => data.model = text(&name, value)?,
                "tokens" => data.tokens = Some(vector("tokens", value)?),
                "was" => data.was = Some(vector("was", value)?),
                "call_id" => {
                    let id = text(&name, value)?;
                    data.call = Some(CallId::parse(&id).ok_or_else(|| wrong(format!("{id:?} is no call id")))?);
                }
                "attempt" => data.attempt = Some(count(&name, value)?),
                "tags" => data.tags = tags(value)?,
                "service_tier" => data.service_tier = text(&name, value)?,
                "cost_usd" => data.cost = Some(dollars(value)?),
                "response_id" => data.response_id = text(&name, value)?,
                "tenant" => data.tenant = Some(text(&name, value)?),
                _ => return Err(wrong(format!("`data.{name}` is not known"))),
            }
            seen.push(name);
        }
        Ok(data)
    }

    fn external(
        self,
        amends: bool,
        (source, id, content): (String, String, u64),
        (said_at, time): (Time, Time),
    ) -> Result<External, Wrong> {
        let tokens = self.tokens.ok_or_else(|| wrong("`data.tokens` is missing"))?;
        if !amends && (self.provider.is_empty() || self.model.is_empty()) {
            return Err(wrong("`data.provider` and `data.model` have to be stated"));
        }
        let amends = match (amends, self.call, self.was) {
            (false, None, None) if self.attempt.is_none() && self.tenant.is_none() => None,
            (false, ..) => return Err(wrong("`call_id`, `attempt`, `was` and `tenant` are members of an amendment")),
            (true, Some(call), Some(was)) => {
                let attempt = u16::try_from(self.attempt.unwrap_or(1)).ok().filter(|attempt| *attempt > 0);
                let attempt = attempt.ok_or_else(|| wrong("`data.attempt` is 1 or more"))?;
                Some((call, attempt, was))
            }
            (true, ..) => return Err(wrong("an amendment names `data.call_id`, and `data.was` beside `data.tokens`")),
        };
        let of_provider = match self.provider.as_str() {
            "anthropic" => Api::AnthropicMessages,
            "google" | "gemini" | "vertex" => Api::GeminiGenerateContent,
            "bedrock" => Api::BedrockConverse,
            "cohere" => Api::CohereChat,
            _ => Api::OpenAiChat,
        };
        let Self { api, provider, model, tags, service_tier, cost, response_id, raw, tenant, .. } = self;
        let (api, api_stated) = (api.unwrap_or(of_provider), api.is_some());
        Ok(External {
            source,
            id,
            said_at,
            content,
            amends,
            time,
            api,
            provider,
            model,
            tokens,
            tags,
            service_tier,
            cost,
            response_id,
            raw,
            api_stated,
            tenant,
            is_made: false,
        })
    }
}

impl External {
    /// What it amends: the call, and the attempt at it; nothing where it tells of a new one.
    pub fn amends(&self) -> Option<Key> {
        self.amends.as_ref().map(|(call, attempt, _)| (*call, *attempt))
    }

    /// The tenant that it states, which only a proxy has to.
    pub fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    /// Whether another is the same event.
    pub fn is_again(&self, other: &Self) -> bool {
        (&self.source, &self.id, self.content) == (&other.source, &other.id, other.content)
    }

    /// What a response has used that is worked on apart from every answer that it stands in. However often it is read, and at whichever
    /// gateway, it is the same event. Nothing where the answer does not say it yet.
    pub(crate) fn of_response(attempt: &Attempt, source: &str, measured: &Measured, begun: Time) -> Option<Self> {
        let says = !measured.raw_usage.is_empty() && measured.usage.completeness == Completeness::Exact;
        let id = Some(&measured.response_id).filter(|id| says && !id.is_empty())?.clone();
        Some(Self {
            source: source.to_owned(),
            content: content(&id, &measured.usage),
            id,
            said_at: begun,
            amends: None,
            // Who had it made knows when, and of which model it was asked.
            time: if attempt.api.is_free() { begun } else { attempt.admitted_at },
            api: Api::OpenAiResponses,
            provider: attempt.provider.clone(),
            model: Some(&attempt.model).filter(|model| !model.is_empty()).unwrap_or(&measured.model_answered).clone(),
            tokens: measured.usage.total()?,
            tags: Vec::new(),
            service_tier: measured.service_tier.clone(),
            cost: measured.provider_cost,
            response_id: measured.response_id.clone(),
            raw: measured.raw_usage.clone(),
            api_stated: true,
            tenant: None,
            is_made: !attempt.api.is_free(),
        })
    }

    /// What the books learn of one that is new: the same call, whoever is told how often.
    pub fn learn(self, scene: Scene<'_>, limits: &Limits) -> Learned {
        let mut subject = scene.subject.clone();
        // A key's own tags win.
        let added = self.tags.into_iter().filter(|(name, _)| scene.subject.tag(name).is_none());
        subject.tags.extend(added);
        subject.tags.sort();
        let book: BookHash = scene.book.hash();
        let attempt = Attempt {
            call: CallId::of(self.time, &[&subject.tenant, &self.source, &self.id]),
            attempt: 1,
            admitted_at: self.time,
            subject: Arc::new(subject),
            api: self.api,
            provider: self.provider,
            model_requested: self.model.clone(),
            model: self.model,
            stream: false,
            book,
            gateway: Arc::clone(scene.gateway),
        };
        let usage = Usage::exact(self.tokens);
        let cost = settlement::rated(scene.book, &attempt, (&self.service_tier, ""), &usage);
        let moves = limits.moves(&attempt, |unit| match unit {
            Unit::Requests if self.is_made => 0,
            unit => unit.amount(&self.tokens, Some(cost.known)).unwrap_or(0),
        });
        let is = Settled {
            raw_usage: self.raw,
            service_tier: self.service_tier,
            provider_cost: self.cost,
            response_id: self.response_id,
            apart: self.is_made,
            ..Settled::bare(attempt, self.time, Outcome::Complete, usage)
        };
        Learned {
            source: self.source,
            id: self.id,
            at: self.said_at,
            content: self.content,
            was: None,
            is,
            moves,
            awaits: false,
        }
    }
}

/// By what two tellings of a response are the same, whichever version of a gateway reads it: its id and its counts.
fn content(id: &str, usage: &Usage) -> u64 {
    let counts = usage.parts.iter().flat_map(|part| {
        let counts = TokenClass::ALL.into_iter().map(|class| (class, part.vector.of(class)));
        let counted = counts.filter(|(_, count)| *count > 0);
        counted
            .map(|(class, count)| format!("\n{} {} {count}", part.model.as_deref().unwrap_or_default(), class.name()))
    });
    wire::hash(std::iter::once(id.to_owned()).chain(counts).collect::<String>().as_bytes())
}

/// Whether what is learned counts in every limit of dollars: in a hard one what has no price would count as nothing, in any what no row holds.
pub fn is_counted(learned: &Learned, book: &Book, limits: &Limits) -> Result<(), Wrong> {
    let is = &learned.is;
    let sides = std::iter::once(&is.usage).chain(learned.was.as_ref().map(|was| &was.usage));
    let cost = |usage| settlement::rated(book, &is.attempt, (&is.service_tier, &is.model_answered), usage);
    if cost(&is.usage).is_too_large() {
        return Err(wrong("it costs a million dollars or more, which no row holds; tell it in several events"));
    }
    let Some(why) = sides.into_iter().find_map(|usage| cost(usage).lacks) else { return Ok(()) };
    let Some(limit) = limits.hard_in_dollars(&is.attempt) else { return Ok(()) };
    let Attempt { provider, model, .. } = &is.attempt;
    let what = format!(
        "`{model}` of `{provider}` has no price for all that it used ({}), so limit `{limit}` cannot count it; add the price and send \
         the same again",
        why.name()
    );
    Err((ErrorCode::EventUnpriced, what))
}

fn wrong(what: impl Into<String>) -> Wrong {
    (ErrorCode::BadEvent, what.into())
}

pub(crate) fn text(name: &str, value: Value<'_>) -> Result<String, Wrong> {
    let text = value.word().ok_or_else(|| wrong(format!("`{name}` is a text")))?;
    if text.len() > TEXT_MAX || text.chars().any(char::is_control) {
        return Err(wrong(format!("`{name}` has at most {TEXT_MAX} bytes and no control characters")));
    }
    Ok(text.into_owned())
}

pub(crate) fn count(name: &str, value: Value<'_>) -> Result<u64, Wrong> {
    let count = match value.kind() {
        Kind::Number(digits) => number::count(digits).ok().filter(|count| *count <= COUNT_MAX),
        _ => None,
    };
    count.ok_or_else(|| wrong(format!("`{name}` is a count of at most {COUNT_MAX}")))
}

fn instant(name: &str, text: &str) -> Result<Time, Wrong> {
    Time::parse(text)
        .ok()
        .filter(|time| text.contains(['T', 't']) && *time > Time::ZERO)
        .ok_or_else(|| wrong(format!("`{name}` is an instant after 1970, such as 2026-11-01T12:00:00Z")))
}

pub(crate) fn dollars(value: Value<'_>) -> Result<Pico, Wrong> {
    let stated = match value.kind() {
        Kind::Number(digits) => number::scaled(digits, 12).map(Pico),
        Kind::Text(text) => Pico::parse_usd(&text.decoded()),
        _ => None,
    };
    let fits = stated.filter(|cost| (0..=ROW_MAX.0).contains(&cost.0));
    fits.ok_or_else(|| wrong("`cost_usd` is an amount of dollars"))
}

/// The counts of disjoint classes; a class that is not named has none.
pub(crate) fn vector(name: &str, value: Value<'_>) -> Result<Vector, Wrong> {
    let members = value.members().ok_or_else(|| wrong(format!("`{name}` is an object of counts")))?;
    let (mut vector, mut seen) = (Vector::default(), Vec::new());
    for (class, value) in members {
        let class = class.decoded().into_owned();
        if seen.contains(&class) {
            return Err(wrong(format!("`{name}.{class}` stands twice")));
        }
        let field = match TokenClass::parse(&class) {
            _ if class == "reasoning" => &mut vector.reasoning,
            _ if class == "tool_calls" => &mut vector.tool_calls,
            Some(TokenClass::UncachedInput) => &mut vector.uncached_input,
            Some(TokenClass::CacheRead) => &mut vector.cache_read,
            Some(TokenClass::CacheWrite5m) => &mut vector.cache_write_5m,
            Some(TokenClass::CacheWrite1h) => &mut vector.cache_write_1h,
            Some(TokenClass::Output) => &mut vector.output,
            Some(TokenClass::AudioInput) => &mut vector.audio_input,
            Some(TokenClass::AudioOutput) => &mut vector.audio_output,
            Some(TokenClass::ImageInput) => &mut vector.image_input,
            Some(TokenClass::ImageOutput) => &mut vector.image_output,
            Some(TokenClass::WebSearch) => &mut vector.web_searches,
            Some(TokenClass::SearchUnit) => &mut vector.search_units,
            Some(TokenClass::Guardrail) => &mut vector.guardrails,
            Some(TokenClass::CacheReadAudio) => &mut vector.cache_read_audio,
            Some(TokenClass::CodeSession) => &mut vector.code_sessions,
            None => return Err(wrong(format!("`{name}.{class}` is no class of tokens"))),
        };
        *field = count(&class, value)?;
        seen.push(class);
    }
    if vector.reasoning > vector.output {
        return Err(wrong(format!("`{name}.reasoning` is a part of `output`")));
    }
    Ok(vector)
}

pub(crate) fn tags(value: Value<'_>) -> Result<Vec<(String, String)>, Wrong> {
    let members = value.members().ok_or_else(|| wrong("`tags` is an object of texts"))?;
    let mut tags: Vec<(String, String)> = Vec::new();
    for (name, value) in members {
        let name = name.decoded().into_owned();
        if !is_tag_name(&name) {
            return Err(wrong(format!("{TAG_NAME}: {name:?}")));
        }
        if tags.iter().any(|(known, _)| *known == name) {
            return Err(wrong(format!("`tags` has a name twice: {name:?}")));
        }
        if tags.len() >= TAGS_MAX {
            return Err(wrong(format!("`tags` has at most {TAGS_MAX} names")));
        }
        let value = text("tags", value)?;
        tags.push((name, value));
    }
    Ok(tags)
}

#[cfg(test)]
mod tests;
