//! What the journal still has of attempts that ended before this process began, for settlements that come after a restart.
//!
//! A check is open in the memory of one process. If that dies, its successor finds the check in the journal and ends it with its usage
//! unknown; if it was settled before, the journal has what was said. So a settlement that comes again can be told from one that comes too
//! late, and both from one of which nothing is known here: because it was never heard of, or because metering has accounted for it long
//! ago and the journal let go of it. Names that proxies gave are in no record; call ids are.

use schemas::{
    event::{Api, Outcome, Settled},
    id::CallId,
    tokens::{Completeness, Usage, Vector},
    wire,
};

use super::Told;
use crate::{latest::Latest, settlement};

/// The most that are kept, those that ended last: 100 bytes each, 10 MB.
const MOST: usize = 100_000;

/// The ends of earlier attempts.
#[derive(Debug)]
pub(crate) struct Earlier(Latest<CallId, Past>);

impl Default for Earlier {
    fn default() -> Self {
        Self(Latest::new(MOST))
    }
}

/// How an earlier attempt ended.
#[derive(Clone, Debug)]
pub(crate) struct Past {
    pub(crate) tenant: String,
    api: Api,
    /// What was said of it, by its hash.
    said: u64,
    /// Whether nobody said what it used: it was open when its process ended, or at its deadline.
    pub(crate) is_unknown: bool,
}

impl Earlier {
    /// Takes note of an end. What had a first byte here was no check.
    pub(crate) fn note(&mut self, settled: &Settled) {
        if settled.ttft_ms.is_some() {
            return;
        }
        let past = Past {
            tenant: settled.attempt.subject.tenant.clone(),
            api: settled.attempt.api,
            said: hash(settled.outcome, settled.status, &settled.usage, &words(settled)),
            is_unknown: matches!(settled.usage.completeness, Completeness::Missing(_)),
        };
        self.0.note(settled.attempt.call, past);
    }

    /// How a call ended, if that is still known.
    pub(crate) fn of(&self, call: CallId) -> Option<&Past> {
        self.0.get(&call)
    }
}

impl Past {
    /// Whether a settlement says what was said then.
    pub(crate) fn is_said_by(&self, told: Told) -> bool {
        let status = told.status;
        let (end, measured) = told.ended();
        let Some(measured) = measured else { return false };
        let words =
            [measured.model_answered, measured.service_tier, measured.response_id, cost(measured.provider_cost)];
        let usage = settlement::usage(end, (self.api.vendor(), status), Some(measured.usage));
        hash(end.outcome(), status, &usage, &words) == self.said
    }
}

fn words(settled: &Settled) -> [String; 4] {
    let Settled { model_answered, service_tier, response_id, provider_cost, .. } = settled;
    [model_answered.clone(), service_tier.clone(), response_id.clone(), cost(*provider_cost)]
}

fn cost(cost: Option<schemas::money::Pico>) -> String {
    cost.map(|cost| cost.0.to_string()).unwrap_or_default()
}

fn hash(outcome: Outcome, status: u16, usage: &Usage, words: &[String; 4]) -> u64 {
    let total: Option<Vector> = usage.total();
    wire::hash(format!("{outcome:?}\n{status}\n{:?}\n{total:?}\n{words:?}", usage.completeness).as_bytes())
}
