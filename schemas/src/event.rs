//! What gateways report: the facts of calls, and the counters of the leases they spend.
//!
//! Every counter message carries totals, never differences, so that a message lost, repeated or overtaken changes nothing.

use std::sync::Arc;

use crate::{
    error_code::ErrorCode,
    id::{BookHash, CallId, InstanceId, Lane, LimitId, ProducerId, Seq},
    limit::Unit,
    money::Pico,
    subject::Subject,
    time::Time,
    tokens::{Part, Usage, Vector},
};

mod api;
mod learned;

pub use api::{Api, Operation};
pub use learned::{Learned, Move, Moved, RELEASE, RESPONSES, Was, Why};

/// One record of the `usage` topic.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A journal was opened: the first event of a producer in each lane.
    Opened(Opened),
    /// An attempt was admitted; written before the provider is called.
    Admitted(Box<Admitted>),
    /// An attempt is still running.
    Streamed(Streamed),
    /// An attempt ended, and with the last attempt its call.
    Settled(Box<Settled>),
    /// Calls were refused.
    Refused(Box<Refused>),
    /// A gateway needs more of some instances, all of this lane.
    LeaseRequested(LeaseRequested),
    /// A gateway's counters and its low watermark.
    Reported(Reported),
    /// Something beside the life of a call: use that another system tells, or a correction.
    Learned(Box<Learned>),
    /// What another lane took of that moves counters of this one.
    Moved(Moved),
}

/// A journal was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The gateway's name, as the `gateway` column shows it.
    pub gateway: String,
    /// When.
    pub at: Time,
    /// The producer before this one in the same journal, if there was one.
    pub predecessor: Option<Predecessor>,
}

/// What the successor knows of the producer before it, in this lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Predecessor {
    /// Who it was.
    pub producer: ProducerId,
    /// The last sequence it wrote in this lane; 0 for none. If metering has seen more, the journal is a copy.
    pub last: Seq,
    /// What it had held of instances at home in this lane for attempts whose end is unknown, less `used`; it is a provision.
    pub provisions: Vec<Hold>,
    /// What those attempts are known to have used of them; it counts as used.
    pub used: Vec<Hold>,
    /// Its last counters of instances at home in this lane that it used in calls of other lanes: it may have died before it
    /// reported them here.
    pub counters: Vec<Counter>,
    /// Whether the journal is known to be a copy of its own, which it may go on with.
    pub copied: bool,
}

/// The facts of an attempt that every record of it repeats.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// The client call it belongs to.
    pub call: CallId,
    /// Its number in the call, from 1.
    pub attempt: u16,
    /// When it was admitted: when its holds were taken, after any wait for a lease. Selects price, window and day.
    pub admitted_at: Time,
    /// Who called.
    pub subject: Arc<Subject>,
    /// The API, such as `openai.chat`.
    pub api: Api,
    /// The provider's configured name.
    pub provider: String,
    /// The model asked of the provider.
    pub model: String,
    /// The model that the client asked for.
    pub model_requested: String,
    /// Whether the answer is a stream.
    pub stream: bool,
    /// The price book in force at admission.
    pub book: BookHash,
    /// The gateway that served it.
    pub gateway: Arc<str>,
}

/// An amount of one instance that an attempt holds, in the limit's unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The instance.
    pub instance: InstanceId,
    /// The start of the window it counts in.
    pub window: Time,
    /// How much.
    pub amount: i128,
}

/// A gateway's counters of one instance, as totals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// The instance.
    pub instance: InstanceId,
    /// The window that `used` and `unknown` are of.
    pub window: Time,
    /// Used in that window by this producer.
    pub used: i128,
    /// Returned of its lease by this producer, ever.
    pub returned: i128,
    /// What it may have used in that window beyond `used`: provisions for attempts that ended without anybody knowing.
    pub unknown: i128,
    /// Held now in all windows, by attempts that are open. Not monotone: the report with the largest `version` is the truth.
    pub held: i128,
    /// Grows with every change of this instance at this producer.
    pub version: u64,
    /// The last recall of the instance that this producer has obeyed.
    pub recall: u64,
}

impl Counter {
    /// Nothing used, returned or held, and no version yet.
    pub const fn unused(instance: InstanceId, window: Time) -> Self {
        Self { instance, window, used: 0, returned: 0, unknown: 0, held: 0, version: 0, recall: 0 }
    }
}

/// An attempt was admitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Admitted {
    /// The attempt.
    pub attempt: Attempt,
    /// What it holds. Nobody matches a scope again after this.
    pub holds: Vec<Hold>,
}

/// Where an attempt stands, cumulatively.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Streamed {
    /// The call.
    pub call: CallId,
    /// The attempt.
    pub attempt: u16,
    /// When.
    pub at: Time,
    /// The least it has used so far: what was reported, and a careful count of the text seen.
    pub so_far: Vector,
    /// What the provider has reported so far. If nothing more is ever heard of the attempt, this settles, and nothing else.
    pub reported: Vec<Part>,
    /// What that makes of each instance it holds; empty where nothing was reported.
    pub posted: Vec<Posting>,
    /// What it holds by now, as totals, once that is more than it was admitted with; empty before.
    pub holds: Vec<Hold>,
}

/// How an attempt or a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The answer came to its end.
    Complete,
    /// The provider refused, failed or broke off.
    ProviderError,
    /// A deadline passed.
    Timeout,
    /// The client went away.
    ClientGone,
    /// We ended the stream.
    Cut,
    /// The process ended first; found at restart.
    Unknown,
}

impl Outcome {
    /// Every outcome, in wire order.
    pub const ALL: [Self; 6] =
        [Self::Complete, Self::ProviderError, Self::Timeout, Self::ClientGone, Self::Cut, Self::Unknown];

    /// The name in the `outcome` column.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::ProviderError => "provider_error",
            Self::Timeout => "timeout",
            Self::ClientGone => "client_gone",
            Self::Cut => "cut",
            Self::Unknown => "unknown",
        }
    }
}

/// An attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Settled {
    /// The attempt.
    pub attempt: Attempt,
    /// When it ended.
    pub settled_at: Time,
    /// How.
    pub outcome: Outcome,
    /// The provider's HTTP status; 0 if it never answered.
    pub status: u16,
    /// What it used.
    pub usage: Usage,
    /// The provider's own usage object, verbatim; empty if it sent none.
    pub raw_usage: String,
    /// The model that answered, empty if it did not say.
    pub model_answered: String,
    /// The service tier that the answer states.
    pub service_tier: String,
    /// The region that the answer states.
    pub region: String,
    /// The cost that the provider states.
    pub provider_cost: Option<Pico>,
    /// The provider's id of the answer.
    pub response_id: String,
    /// Milliseconds from admission to the first byte of the answer's body.
    pub ttft_ms: Option<u64>,
    /// What it used of each instance it held.
    pub posted: Vec<Posting>,
    /// The counters of those instances after it. Metering takes those that are at home in this lane; the others are for a
    /// successor, should this producer die before it has reported them.
    pub counters: Vec<Counter>,
    /// The call, if this was its last attempt.
    pub call: Option<CallEnd>,
    /// What it saved, if no provider was asked because the gateway still had the answer. Then it used nothing and held nothing.
    pub avoided: Option<Avoided>,
    /// Where its admission was found, if its producer left it open and another says how it ended.
    pub found: Option<Found>,
    /// Whether it is what another attempt used apart from its answer, and was told by the id of that: the other was the request.
    pub apart: bool,
}

/// The record of an admission that somebody else than its producer found without an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Who admitted the attempt.
    pub producer: ProducerId,
    /// Its place among what that producer wrote in the lane; 0 where it was found in the ledger, so that metering has accepted it.
    pub seq: Seq,
}

/// What an answer that a gateway had kept saved the call that it was given to again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Avoided {
    /// What the attempt used that it was made by.
    pub parts: Vec<Part>,
    /// What that costs by the book in force when it was given again; nothing if any of it has no price.
    pub cost: Option<Pico>,
}

impl Settled {
    /// An end without more: no answer said anything, nothing was held, and the call goes on.
    pub const fn bare(attempt: Attempt, settled_at: Time, outcome: Outcome, usage: Usage) -> Self {
        Self {
            attempt,
            settled_at,
            outcome,
            status: 0,
            usage,
            raw_usage: String::new(),
            model_answered: String::new(),
            service_tier: String::new(),
            region: String::new(),
            provider_cost: None,
            response_id: String::new(),
            ttft_ms: None,
            posted: Vec::new(),
            counters: Vec::new(),
            call: None,
            avoided: None,
            found: None,
            apart: false,
        }
    }

    /// Whether it passed elsewhere and was told: it ended as a whole in the moment that it began, and no provider answered a gateway. It
    /// names no counters; those that it was counted in are in what was adjusted for it.
    pub fn is_told(&self) -> bool {
        let is_ours = self.status != 0 || self.found.is_some() || !self.posted.is_empty();
        !is_ours && self.outcome == Outcome::Complete && self.settled_at == self.attempt.admitted_at
    }
}

/// What an attempt used of one instance, and what stays held because it is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posting {
    /// The instance.
    pub instance: InstanceId,
    /// The window it was admitted in.
    pub window: Time,
    /// Used.
    pub used: i128,
    /// What it may have used beyond that: it stays taken until a correction clears it, or its window ends.
    pub provision: i128,
}

/// The end of a client call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallEnd {
    /// How many attempts it took.
    pub attempts: u16,
    /// How it ended for the client.
    pub outcome: Outcome,
    /// When the call was accepted.
    pub accepted_at: Time,
    /// The age of the oldest balance that admitted it.
    pub balance_age_ms: u64,
    /// The session that the client named; empty if none, or if the call was found open after a crash: its admission does not tell.
    pub session_id: String,
    /// What its attempts before this one used, as far as that is known.
    pub earlier: Vector,
    /// What those cost; nothing if the cost of any is not known, or if there were none.
    pub earlier_cost: Option<Pico>,
    /// Whether it is not known of any of them what it used.
    pub earlier_unknown: bool,
}

impl CallEnd {
    /// A call before its first attempt has ended.
    pub fn begun(accepted_at: Time, balance_age_ms: u64, session_id: String) -> Self {
        Self {
            attempts: 0,
            outcome: Outcome::Unknown,
            accepted_at,
            balance_age_ms,
            session_id,
            earlier: Vector::default(),
            earlier_cost: None,
            earlier_unknown: false,
        }
    }

    /// The call, should another attempt follow the one that ended it with this use and cost.
    #[must_use]
    pub fn goes_on(self, usage: &Usage, cost: Option<Pico>) -> Self {
        let used = usage.total();
        let before = if self.attempts <= 1 { Some(Pico(0)) } else { self.earlier_cost };
        Self {
            earlier: self.earlier + used.unwrap_or_default(),
            earlier_cost: before.zip(cost.filter(|_| used.is_some())).map(|(before, cost)| before + cost),
            earlier_unknown: self.earlier_unknown || used.is_none(),
            ..self
        }
    }

    /// What all its attempts used, if the last used so much; nothing where any of it is not known.
    pub fn used(&self, last: &Usage) -> Option<Vector> {
        last.total().filter(|_| !self.earlier_unknown).map(|last| last + self.earlier)
    }

    /// What all its attempts cost, if the last cost so much; nothing where any of it is not known.
    pub fn cost(&self, last: Option<Pico>) -> Option<Pico> {
        if self.attempts <= 1 { last } else { last.zip(self.earlier_cost).map(|(last, earlier)| last + earlier) }
    }
}

/// Calls of one caller to one model that one instance refused in one second. Of many callers or models of one key it may name none.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// The first of them.
    pub at: Time,
    /// One of them.
    pub call: CallId,
    /// Who called.
    pub subject: Arc<Subject>,
    /// The API.
    pub api: Api,
    /// The provider chosen, empty if none was.
    pub provider: String,
    /// The model chosen, empty if it is none in particular.
    pub model: String,
    /// The model asked for.
    pub model_requested: String,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// How many.
    pub count: u64,
    /// Why.
    pub code: ErrorCode,
    /// Whether the call was refused, or only would have been.
    pub observed: bool,
    /// The limit's name.
    pub limit: String,
    /// Its unit.
    pub unit: Unit,
    /// Its amount.
    pub amount: i128,
    /// What was settled of it.
    pub settled: i128,
    /// What was held of it.
    pub held: i128,
    /// What they could have cost together; nothing if that is not known of each.
    pub estimated_cost: Option<Pico>,
    /// The age of the balance that the decision used.
    pub balance_age_ms: u64,
    /// The gateway.
    pub gateway: Arc<str>,
}

/// A request for more of some instances, granted whole or not at all. A want of nothing opens the instance: so a gateway makes
/// soft and observed instances known, which need no lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRequested {
    /// When.
    pub at: Time,
    /// Numbers the requests of this producer in this lane, from 1.
    pub number: u64,
    /// What for.
    pub wants: Vec<Want>,
}

/// A larger lease of one instance. It names totals, so a request that comes twice is granted once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// The limit.
    pub limit: LimitId,
    /// The values of its `*`.
    pub values: Vec<String>,
    /// The window; where leases stand, the one that the gateway is in.
    pub window: Time,
    /// The least lease that helps, in all; 0 if none is needed.
    pub need: i128,
    /// The lease that would last for a while, in all.
    pub want: i128,
    /// What the producer has used and held when it asks.
    pub counter: Counter,
}

/// Counters at home in this lane, and how far this gateway has reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reported {
    /// When.
    pub at: Time,
    /// The admission time of the oldest call that is open or not shipped; `at` if there is none.
    pub low_watermark: Time,
    /// The counters that changed since the last report.
    pub counters: Vec<Counter>,
    /// Whether the gateway has gone down in order: nothing more comes of this producer.
    pub last: bool,
}

impl Event {
    /// The lane that the facts of this event's tenant travel in; nothing for events that are addressed to a lane.
    pub fn tenant_lane(&self, lanes: u16) -> Option<Lane> {
        let tenant = match self {
            Self::Admitted(admitted) => &admitted.attempt.subject.tenant,
            Self::Settled(settled) => &settled.attempt.subject.tenant,
            Self::Refused(refused) => &refused.subject.tenant,
            Self::Opened(_)
            | Self::Streamed(_)
            | Self::LeaseRequested(_)
            | Self::Reported(_)
            | Self::Learned(_)
            | Self::Moved(_) => return None,
        };
        Some(Lane::of(tenant.as_bytes(), lanes))
    }
}
