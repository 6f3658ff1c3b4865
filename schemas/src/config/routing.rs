//! How a model's calls are dealt to its targets: in which order, which of them take a call at all, and what a failure leads to.
//!
//! Types and their reading; what they mean is `route` of the gateway. Every default is filled in here: a model with one target and
//! no word on retries is tried once, one with several up to three times.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    model::Target,
    provider::{Timeouts, WAITS},
    reader::{Fields, Reader, shown, shown_key},
    tenant::is_tag_name,
    yaml::{Node, Value},
};
use crate::{error_code::ErrorCode, limit::Dimension};

/// Which of the targets that take a call is tried first. Targets of a lower `priority` come before, whatever the strategy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// In the order of the file.
    #[default]
    Priority,
    /// By lot, as their weights say.
    Weighted,
    /// The one whose first token came soonest of late.
    LeastLatency,
    /// The one where a call of this size costs least.
    LeastCost,
    /// The one with the fewest open calls for its weight.
    LeastBusy,
    /// The same one for the same caller, as long as it is there.
    Sticky(By),
}

/// Who is the same caller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// Who names the same session.
    #[default]
    Session,
    /// Who has the same user.
    User,
    /// Who has the same key.
    Key,
    /// Who sends the same value in this header.
    Header(String),
}

/// What follows when an attempt fails before the first token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// How many attempts a call may take in all.
    pub attempts: u16,
    /// After what another one may follow.
    pub on: Vec<Cause>,
    /// How long it waits, about, before it asks a target again; twice as long each time.
    pub backoff: Duration,
    /// After this long no further attempt begins.
    pub within: Duration,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// No connection, or it broke before the first token.
    Connection,
    /// A deadline passed, or the provider says so (408).
    Timeout,
    /// The provider's rate limit (429).
    RateLimit,
    /// The provider failed (5xx).
    ServerError,
    /// The provider refused our credentials (401, 403).
    Credentials,
    /// A limit of ours refuses this target, so that nothing was sent.
    Limit,
    /// This very status.
    Status(u16),
}

/// What has to be so for a target to take a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Who calls; a trailing `*` matches every value that begins so.
    Is(Dimension, String),
    /// A header of the call, likewise.
    Header(String, String),
    /// Of this limit there is at least so much left, in percent of its amount.
    Left(String, u8),
}

/// The patience with a target, where it is another than with its provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patience {
    /// Until there is a connection.
    pub connect: Option<Duration>,
    /// From the request to the first byte of the answer.
    pub first_byte: Option<Duration>,
    /// From the request to the first token of a stream.
    pub first_token: Option<Duration>,
    /// From one byte of the answer to the next.
    pub idle: Option<Duration>,
    /// From the request to the end of the answer.
    pub total: Option<Duration>,
}

/// The most targets of a model: what is known of each is looked at with every call that several may take.
pub const MOST_TARGETS: usize = 16;
/// The largest weight: shares are percentages, more or less.
pub const MOST_WEIGHT: u8 = 100;
/// The most attempts of a call. Each may be billed.
const MOST_ATTEMPTS: u16 = 10;
/// How long a target may take for the first byte of a stream while another one can be asked instead: a model that thinks may say nothing
/// for a while, and a second answer costs a second time.
const FIRST_OF_STREAM: Duration = Duration::from_secs(60);
/// And for that of a whole answer, which comes when all of it is there.
const FIRST_OF_WHOLE: Duration = Duration::from_secs(180);
/// The attempts of a call that several targets may take, where nothing else is said.
const ATTEMPTS: u16 = 3;

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 1,
            on: vec![Cause::Connection, Cause::Timeout, Cause::RateLimit, Cause::ServerError, Cause::Credentials],
            backoff: Duration::from_millis(200),
            within: Duration::from_secs(240),
        }
    }
}

impl Retry {
    /// Whether another attempt may follow a failure for this reason; `status` is the provider's, or 0.
    pub fn follows(&self, cause: Option<Cause>, status: u16) -> bool {
        cause.is_some_and(|cause| self.on.contains(&cause)) || (status != 0 && self.on.contains(&Cause::Status(status)))
    }

    /// How long a target may take for its first byte while another one can be asked instead, so long after the call came; nothing where
    /// that would leave no time to ask it.
    pub fn patience(&self, is_stream: bool, spent: Duration) -> Option<Duration> {
        let most = if is_stream { FIRST_OF_STREAM } else { FIRST_OF_WHOLE };
        Some(most).filter(|most| self.on.contains(&Cause::Timeout) && spent.saturating_add(*most) < self.within)
    }
}

impl Cause {
    /// The reason that a provider's status is, if it is one.
    pub const fn of_status(status: u16) -> Option<Self> {
        Some(match status {
            401 | 403 => Self::Credentials,
            408 => Self::Timeout,
            429 => Self::RateLimit,
            500..=599 => Self::ServerError,
            _ => return None,
        })
    }
}

impl Patience {
    /// The provider's timeouts with these over them.
    pub fn over(&self, provider: &Timeouts) -> Timeouts {
        Timeouts {
            connect: self.connect.unwrap_or(provider.connect),
            first_byte: self.first_byte.unwrap_or(provider.first_byte),
            first_token: self.first_token.or(provider.first_token),
            idle: self.idle.unwrap_or(provider.idle),
            total: self.total.unwrap_or(provider.total),
        }
    }
}

/// What a target says beside its provider and model.
pub(super) const KNOWN_OF_TARGET: &[&str] =
    &["provider", "model", "weight", "priority", "when", "timeouts", "cooldown"];

/// Reads what a target says of its share and its patience; `limits` are the names that the configuration defines.
pub(super) fn target(reader: &mut Reader, fields: &Fields<'_>, limits: &[String], target: &mut Target) {
    target.weight = reader.or(fields, "weight", 1, |reader, node| reader.number(node, 0..=MOST_WEIGHT));
    target.priority = reader.or(fields, "priority", 0, |reader, node| reader.number(node, 0..=1_000));
    target.when = reader.or(fields, "when", Vec::new(), |reader, node| when(reader, node, limits));
    target.timeouts = patience_of(reader, fields);
    target.cooldown = reader.maybe(fields, "cooldown", Reader::duration_or_zero);
}

/// Reads the patience with a target.
pub(super) fn patience_of(reader: &mut Reader, fields: &Fields<'_>) -> Patience {
    reader.or(fields, "timeouts", Patience::default(), patience)
}

fn patience(reader: &mut Reader, node: &Node) -> Option<Patience> {
    let fields = reader.fields(node, "timeouts", WAITS)?;
    Some(Patience {
        connect: reader.maybe(&fields, "connect", Reader::duration),
        first_byte: reader.maybe(&fields, "first_byte", Reader::duration),
        first_token: reader.maybe(&fields, "first_token", Reader::duration),
        idle: reader.maybe(&fields, "idle", Reader::duration),
        total: reader.maybe(&fields, "total", Reader::duration),
    })
}

/// What `when` may name.
const CONDITIONS: &[&str] = &["tenant", "team", "project", "user", "key", "tag.NAME", "header.NAME", "left.LIMIT"];

fn when(reader: &mut Reader, node: &Node, limits: &[String]) -> Option<Vec<When>> {
    let fields = reader.any_fields(node, "when")?;
    let mut all = Vec::new();
    for (key, node) in fields.entries() {
        let name = key.name.as_str();
        if let Some(limit) = name.strip_prefix("left.") {
            if !limits.iter().any(|known| known == limit) {
                // The admin API may have made it, or will; until there is one all is left of it.
                let what = format!("no limit of this file is called {limit:?}");
                let remedy = "of a limit that is not there all is left: define it here or by the admin API";
                reader.warn(key.at, ErrorCode::DanglingReference, what, remedy);
            }
            let percent = reader.parsed(node, "a share such as 20%", |text| {
                text.strip_suffix('%')?.parse().ok().filter(|share| (1..=100).contains(share))
            });
            all.extend(percent.map(|percent| When::Left(limit.to_owned(), percent)));
            continue;
        }
        let header = name.strip_prefix("header.").filter(|name| is_header(name)).map(str::to_ascii_lowercase);
        let who = Dimension::parse(name).filter(|dimension| match dimension {
            Dimension::Model | Dimension::Provider => false,
            Dimension::Tag(tag) => is_tag_name(tag),
            _ => true,
        });
        if header.is_none() && who.is_none() {
            let remedy = format!("when knows {}", CONDITIONS.join(", "));
            let what = format!("unknown key {} in when", shown_key(name, CONDITIONS));
            reader.mistake(key.at, ErrorCode::UnknownConfigKey, what, remedy);
            continue;
        }
        let Some(value) = reader.text(node) else { continue };
        if value.strip_suffix('*').unwrap_or(&value).contains('*') {
            reader.bad(node.at, "a * before the end of a value", "write a value, or a beginning and *");
        }
        all.extend(header.map(|header| When::Header(header, value.clone())));
        all.extend(who.map(|who| When::Is(who, value)));
    }
    Some(all)
}

fn is_header(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// Reads how a model deals its calls to so many targets.
pub(super) fn strategy(reader: &mut Reader, fields: &Fields<'_>, targets: &[Target]) -> Strategy {
    use Strategy::{LeastBusy, LeastCost, LeastLatency, Priority, Sticky, Weighted};
    let names = ["priority", "weighted", "least_latency", "least_cost", "least_busy", "sticky"];
    let chosen = reader.maybe(fields, "strategy", |reader, node| {
        reader.one_of(node, &names.map(|name| (name, name))).map(|name| match name {
            "weighted" => Weighted,
            "least_latency" => LeastLatency,
            "least_cost" => LeastCost,
            "least_busy" => LeastBusy,
            "sticky" => Sticky(By::default()),
            _ => Priority,
        })
    });
    let by = reader.maybe(fields, "sticky", sticky);
    let (chosen, is_sticky) = match (chosen, by) {
        (None | Some(Sticky(_)), Some(by)) => (Sticky(by), true),
        (chosen, by) => (chosen.unwrap_or_default(), by.is_none()),
    };
    if !is_sticky {
        let at = fields.place("sticky").unwrap_or(fields.at);
        reader.warn(
            at,
            ErrorCode::ConfigHasNoEffect,
            "\"sticky\" has no effect beside another strategy",
            "take it out",
        );
    }
    let at = fields.place("strategy").or(fields.place("sticky"));
    if let Some(at) = at.filter(|_| targets.len() == 1) {
        let what = "a strategy has no effect on a model with one target";
        reader.warn(at, ErrorCode::ConfigHasNoEffect, what, "take it out, or add a target");
    }
    if let [only] = targets
        && (only.weight, only.priority, only.cooldown) != (1, 0, None)
    {
        let what = "weight, priority and cooldown have no effect on the only target of a model";
        reader.warn(fields.at, ErrorCode::ConfigHasNoEffect, what, "take them out, or add a target");
    }
    if matches!(chosen, Weighted) && targets.iter().all(|target| target.weight == 0) {
        let at = at.unwrap_or(fields.at);
        reader.bad(at, "no target has a weight above 0", "give one a weight");
    }
    chosen
}

fn sticky(reader: &mut Reader, node: &Node) -> Option<By> {
    let fields = reader.fields(node, "sticky", &["by"])?;
    reader.need(&fields, "by", |reader, node| {
        reader.parsed(node, "session, user, key or header:NAME", |text| match text {
            "session" => Some(By::Session),
            "user" => Some(By::User),
            "key" => Some(By::Key),
            _ => {
                let name = text.strip_prefix("header:")?;
                is_header(name).then(|| By::Header(name.to_ascii_lowercase()))
            }
        })
    })
}

/// Reads what a model does after a failure.
pub(super) fn retry(reader: &mut Reader, fields: &Fields<'_>, targets: usize) -> Retry {
    let default = Retry::default();
    let written = fields.get("retry").is_some();
    let attempts = if written || targets > 1 { ATTEMPTS } else { default.attempts };
    let unsaid = Retry { attempts, ..default };
    reader.or(fields, "retry", unsaid.clone(), |reader, node| {
        let fields = reader.fields(node, "retry", &["attempts", "on", "backoff", "within"])?;
        Some(Retry {
            attempts: reader
                .or(&fields, "attempts", unsaid.attempts, |reader, node| reader.number(node, 1..=MOST_ATTEMPTS)),
            on: reader.or(&fields, "on", unsaid.on, |reader, node| reader.list(node, "on", cause)),
            backoff: reader.or(&fields, "backoff", unsaid.backoff, Reader::duration_or_zero),
            within: reader.or(&fields, "within", unsaid.within, Reader::duration),
        })
    })
}

fn cause(reader: &mut Reader, node: &Node) -> Option<Cause> {
    if let Value::Scalar(scalar) = &node.value
        && scalar.text.bytes().all(|byte| byte.is_ascii_digit())
    {
        let status = scalar.text.parse().ok().filter(|status| (400..=599).contains(status));
        if status.is_none() {
            reader.bad(node.at, format!("{} is not the status of an error", shown(scalar)), "write 400 to 599");
        }
        return status.map(Cause::Status);
    }
    let causes = [
        ("connection", Cause::Connection),
        ("timeout", Cause::Timeout),
        ("rate_limit", Cause::RateLimit),
        ("server_error", Cause::ServerError),
        ("credentials", Cause::Credentials),
        ("limit", Cause::Limit),
    ];
    reader.one_of(node, &causes)
}
