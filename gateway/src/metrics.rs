//! What is counted for operators: calls, tokens, durations, refusals. OpenTelemetry's GenAI names where there are any.
//!
//! Handles are looked up once for each provider and model and then kept; a model beyond the bound is counted as `other`, so
//! that clients cannot make series without end. Nothing here is part of any decision, nor of any bill.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use journal::Journal;
use metrics::{Counter, Histogram, counter, gauge, histogram};
use schemas::{
    error_code::ErrorCode,
    event::{Api, Attempt, Outcome},
    map::Map,
    money::Pico,
    time::Time,
    tokens::Usage,
};

/// A nanodollar in pico-dollars; what is left of a call below that is in the row of the call and not here.
const NANODOLLAR: i128 = 1_000;
/// The most models that have series of their own.
const MODELS: usize = 500;

/// The handles of one worker.
#[derive(Default)]
pub(crate) struct Meters(Mutex<Map<String, Map<String, ByApi>>>);

/// The series of one model.
type ByApi = Map<Api, Arc<Series>>;

struct Series {
    input: Histogram,
    output: Histogram,
    duration: Histogram,
    first: Histogram,
    outcomes: [Counter; Outcome::ALL.len()],
}

impl Meters {
    /// An attempt was settled.
    pub(crate) fn settled(&self, facts: &Attempt, outcome: Outcome, usage: &Usage, at: Time, ttft_ms: Option<u64>) {
        let series = self.series(facts);
        if let Some(total) = usage.total() {
            series.input.record(count(total.input()));
            series.output.record(count(total.all_output()));
        }
        series.duration.record(at.since(facts.admitted_at));
        if let Some(first) = ttft_ms.filter(|_| facts.stream) {
            series.first.record(Duration::from_millis(first));
        }
        if let Some(place) = Outcome::ALL.iter().position(|known| *known == outcome) {
            series.outcomes[place].increment(1);
        }
    }

    fn series(&self, facts: &Attempt) -> Arc<Series> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = |model: &str| map.get(&facts.provider).and_then(|models| models.get(model)?.get(&facts.api));
        if let Some(known) = known(&facts.model) {
            return Arc::clone(known);
        }
        let total: usize = map.values().map(Map::len).sum();
        let model = if total < MODELS { facts.model.as_str() } else { "other" };
        let models = map.entry(facts.provider.clone()).or_default();
        let apis = models.entry(model.to_owned()).or_default();
        Arc::clone(apis.entry(facts.api).or_insert_with(|| Arc::new(Series::new(facts, model))))
    }
}

impl Series {
    fn new(facts: &Attempt, model: &str) -> Self {
        let labels = [
            ("gen_ai.operation.name", facts.api.operation().name().to_owned()),
            ("gen_ai.provider.name", facts.provider.clone()),
            ("gen_ai.request.model", model.to_owned()),
        ];
        let tokens = |kind: &'static str| {
            let mut labels = labels.to_vec();
            labels.push(("gen_ai.token.type", kind.to_owned()));
            histogram!("gen_ai.client.token.usage", &labels)
        };
        let outcomes = Outcome::ALL.map(|outcome| {
            let mut labels = labels.to_vec();
            labels.push(("outcome", outcome.name().to_owned()));
            counter!("tollgate.attempts", &labels)
        });
        Self {
            input: tokens("input"),
            output: tokens("output"),
            duration: histogram!("gen_ai.client.operation.duration", &labels),
            first: histogram!("gen_ai.server.time_to_first_token", &labels),
            outcomes,
        }
    }
}

/// A call was answered with one of our own errors; what passed all the same is not in it.
pub(crate) fn refused(code: ErrorCode) {
    counter!("tollgate.refusals", "code" => code.code()).increment(1);
}

/// A call passed that a limit would have refused: one that only observes, or one that said to make the call otherwise.
pub(crate) fn observed(code: ErrorCode) {
    counter!("tollgate.refusals.observed", "code" => code.code()).increment(1);
}

/// A target of this provider is passed over for a while.
pub(crate) fn circuit_opened(provider: &str) {
    counter!("tollgate.circuits.opened", "provider" => provider.to_owned()).increment(1);
}

/// A call to this model, as the policy names it, was answered from the cache; that saved so much, as far as it has a price.
pub(crate) fn cache_hit(model: &str, avoided: Option<Pico>) {
    counter!("tollgate.cache.hits", "model" => model.to_owned()).increment(1);
    match avoided.map(|cost| u64::try_from(cost.0 / NANODOLLAR).unwrap_or(0)) {
        Some(nanodollars) => {
            counter!("tollgate.cache.avoided.nanodollars", "model" => model.to_owned()).increment(nanodollars);
        }
        None => counter!("tollgate.cache.avoided.unpriced", "model" => model.to_owned()).increment(1),
    }
}

/// A call to this model could have been answered from the cache, and was not.
pub(crate) fn cache_miss(model: &str) {
    counter!("tollgate.cache.misses", "model" => model.to_owned()).increment(1);
}

/// How many answers are kept, and in how many bytes.
pub(crate) fn cached((answers, bytes): (usize, u64)) {
    gauge!("tollgate.cache.answers").set(count(answers as u64));
    gauge!("tollgate.cache.bytes").set(count(bytes / 1024) * 1024.0);
}

/// Whether calls to a provider have a credential, where somebody is asked for it.
pub(crate) fn credential(provider: &str, is_there: bool) {
    gauge!("tollgate.credentials.ready", "provider" => provider.to_owned()).set(f64::from(u8::from(is_there)));
}

/// A credential came that lasts until then.
pub(crate) fn credential_until(provider: &str, until: Time) {
    let seconds = count(until.since(Time::ZERO).as_secs());
    gauge!("tollgate.credentials.end.timestamp.seconds", "provider" => provider.to_owned()).set(seconds);
}

/// The source of a credential gave none.
pub(crate) fn credential_failed(provider: &str) {
    counter!("tollgate.credentials.failures", "provider" => provider.to_owned()).increment(1);
}

/// How the gateway stands: what is open, and what its journal still has to get rid of.
pub(crate) fn standing(open_attempts: usize, connections: usize, journal: &Journal) {
    gauge!("tollgate.open.attempts").set(count(open_attempts as u64));
    gauge!("tollgate.connections").set(count(connections as u64));
    gauge!("tollgate.journal.unconfirmed.events").set(count(journal.unconfirmed()));
    gauge!("tollgate.journal.retained.bytes").set(count(journal.bytes_retained() / 1024) * 1024.0);
    gauge!("tollgate.journal.behind.seconds").set(journal.behind().as_secs_f64());
}

/// A count as the metrics library takes it; above 2^32 the exact value does not matter any more.
fn count(value: u64) -> f64 {
    f64::from(u32::try_from(value).unwrap_or(u32::MAX))
}
