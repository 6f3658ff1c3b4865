//! One attempt at a provider, from its admission to its one settlement.
//!
//! Whatever happens (an answer, a refusal, a deadline, a client that left, a shutdown) ends in [`Attempt::settle`], which
//! consumes the permit; an attempt that is dropped settles itself. What is not known is never called zero: it stays held.

use std::sync::Arc;

use schemas::{
    event::{self, Api, CallEnd, Event, Outcome, Posting, Settled, Streamed},
    id::Lane,
    money::Pico,
    price::{self, Book, Key},
    time::{Time, now},
    tokens::{Completeness, Doubt, Part, Usage, Vector},
};

use crate::{
    emit::Ticket,
    limits::{Permit, Spent},
    meter::{self, Measured},
    sweep::{Flights, Watch},
    worker::Worker,
};

/// The ways in which an attempt ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The answer came to its end.
    Complete,
    /// The provider answered with an error, which costs nothing.
    Refused,
    /// The provider never saw the request.
    NotSent,
    /// It may have seen it; no answer came.
    NoAnswer,
    /// Its answer broke off.
    Truncated,
    /// A deadline passed.
    TimedOut,
    /// The client went away before the request was sent.
    ClientGoneBefore,
    /// The client went away, and the answer was read to its end without it.
    ClientGoneDrained,
    /// The client went away, and so did we.
    ClientGone,
    /// We ended it.
    Cut,
}

impl End {
    /// What the row of the attempt says.
    pub(crate) const fn outcome(self) -> Outcome {
        match self {
            Self::Complete => Outcome::Complete,
            Self::Refused | Self::NotSent | Self::NoAnswer | Self::Truncated => Outcome::ProviderError,
            Self::TimedOut => Outcome::Timeout,
            Self::ClientGoneBefore | Self::ClientGoneDrained | Self::ClientGone => Outcome::ClientGone,
            Self::Cut => Outcome::Cut,
        }
    }

    /// Why usage is not known, where there is no answer to say it.
    const fn doubt(self) -> Doubt {
        match self {
            Self::NoAnswer | Self::NotSent | Self::Refused => Doubt::NoAnswer,
            Self::Truncated | Self::Cut => Doubt::Truncated,
            Self::TimedOut => Doubt::TimedOut,
            Self::ClientGone | Self::ClientGoneBefore => Doubt::ClientLeft,
            Self::Complete | Self::ClientGoneDrained => Doubt::NotReported,
        }
    }

    /// How the body of the answer came to its end, for its meter.
    pub(crate) const fn of_body(self) -> meter::End {
        match self {
            Self::Complete | Self::ClientGoneDrained | Self::Refused => meter::End::Closed,
            Self::Truncated | Self::Cut | Self::NoAnswer | Self::NotSent => meter::End::Broken,
            Self::TimedOut => meter::End::TimedOut,
            Self::ClientGone | Self::ClientGoneBefore => meter::End::ClientLeft,
        }
    }
}

/// What an attempt used, by how it ended and what its meter read.
fn usage(end: End, measured: Option<Usage>) -> Usage {
    match (end, measured) {
        (End::Refused | End::NotSent | End::ClientGoneBefore, _) => Usage::none(),
        (_, Some(usage)) => usage,
        (_, None) => Usage::missing(end.doubt()),
    }
}

/// What an answer says of itself, beside what it used.
#[derive(Default)]
struct Said {
    raw_usage: String,
    model: String,
    service_tier: String,
    region: String,
    cost: Option<Pico>,
    response_id: String,
}

impl Said {
    fn of(measured: Measured) -> (Option<Usage>, Self) {
        let said = Self {
            raw_usage: measured.raw_usage,
            model: measured.model_answered,
            service_tier: measured.service_tier,
            region: measured.region,
            cost: measured.provider_cost,
            response_id: measured.response_id,
        };
        (Some(measured.usage), said)
    }
}

/// What belongs to the call rather than to the attempt.
#[derive(Clone, Debug, Default)]
pub(crate) struct Call {
    pub(crate) accepted_at: Time,
    pub(crate) balance_age_ms: u64,
    pub(crate) session_id: String,
}

/// An attempt that has been admitted and not settled.
pub(crate) struct Attempt {
    pub(crate) worker: Arc<Worker>,
    pub(crate) watch: Arc<Watch>,
    pub(crate) facts: event::Attempt,
    pub(crate) status: u16,
    pub(crate) was_sent: bool,
    ttft_ms: Option<u64>,
    flight: Flight,
    permit: Option<Permit>,
    book: Arc<Book>,
    call: Call,
}

/// The place of an attempt among those open at its worker, from before its admission. It closes with the attempt's last
/// record, or, if there never was a first one, when it is dropped.
pub(crate) struct Flight {
    pub(crate) admitted_at: Time,
    flights: Arc<Flights>,
    watch: Arc<Watch>,
    index: u32,
    lane: Lane,
    closes_with_record: bool,
}

impl Flight {
    pub(crate) fn open(worker: &Worker, lane: Lane) -> Self {
        let (index, admitted_at, watch) = worker.flights.open(lane, worker.shared.journal.position());
        Self { admitted_at, flights: Arc::clone(&worker.flights), watch, index, lane, closes_with_record: false }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if !self.closes_with_record {
            self.flights.close(&[self.index]);
        }
    }
}

impl Attempt {
    pub(crate) fn new(
        worker: Arc<Worker>,
        flight: Flight,
        facts: event::Attempt,
        permit: Permit,
        book: Arc<Book>,
        call: Call,
    ) -> Self {
        let (watch, permit) = (Arc::clone(&flight.watch), Some(permit));
        Self { worker, watch, facts, status: 0, was_sent: false, ttft_ms: None, flight, permit, book, call }
    }

    /// Writes that it was admitted; before the ticket is good the provider is not called.
    pub(crate) fn admitted(&mut self) -> Ticket {
        let holds = self.permit.as_ref().map(|permit| permit.holds.clone()).unwrap_or_default();
        // The facts go into the event and come back, since they are too many to be copied with every call.
        let attempt = self.take_facts();
        let event = Event::Admitted(Box::new(event::Admitted { attempt, holds }));
        let ticket = self.worker.write(self.flight.lane, &event, None);
        if let Event::Admitted(admitted) = event {
            self.facts = admitted.attempt;
        }
        ticket
    }

    /// Takes the facts and leaves what is needed to call it by name.
    fn take_facts(&mut self) -> event::Attempt {
        let hollow = event::Attempt {
            subject: Arc::clone(&self.facts.subject),
            provider: String::new(),
            model: String::new(),
            model_requested: String::new(),
            gateway: Arc::clone(&self.facts.gateway),
            ..self.facts
        };
        std::mem::replace(&mut self.facts, hollow)
    }

    /// The first byte of the answer's body is here.
    pub(crate) fn first_byte(&mut self) {
        if self.ttft_ms.is_none() {
            self.ttft_ms = Some(millis(now().since(self.facts.admitted_at).as_millis()));
        }
    }

    /// Writes where it stands, unless the journal is in trouble. Nobody waits for that.
    pub(crate) fn streamed(&self, so_far: Vector, reported: Vec<Part>) {
        if self.worker.emitter.failing() {
            return;
        }
        let posted = if reported.is_empty() { Vec::new() } else { self.would_post(&reported) };
        let streamed =
            Streamed { call: self.facts.call, attempt: self.facts.attempt, at: now(), so_far, reported, posted };
        drop(self.worker.write(self.flight.lane, &Event::Streamed(streamed), None));
    }

    /// What its limits would be settled with if nothing more were heard of it.
    fn would_post(&self, reported: &[Part]) -> Vec<Posting> {
        let Some(permit) = &self.permit else { return Vec::new() };
        let usage = Usage { parts: reported.to_vec(), completeness: Completeness::LowerBound(Doubt::Crashed) };
        let spent = Spent { usage: &usage, cost: self.cost(&Said::default(), &usage), whole: false };
        self.worker.shared.limits.would_post(&permit.holds, &spent)
    }

    /// Whether it has been settled.
    pub(crate) const fn is_settled(&self) -> bool {
        self.permit.is_none()
    }

    /// Ends it: its limits are settled and its last record is written. A second time it does nothing.
    pub(crate) fn settle(&mut self, end: End, measured: Option<Measured>) -> Option<Ticket> {
        let permit = self.permit.take()?;
        let (read, said) = measured.map_or_else(|| (None, Said::default()), Said::of);
        let usage = if self.facts.api == Api::AnthropicCountTokens { Usage::none() } else { usage(end, read) };
        let cost = self.cost(&said, &usage);
        let whole = matches!(usage.completeness, Completeness::Exact | Completeness::Estimated(_));
        let spent = Spent { usage: &usage, cost, whole };
        let (posted, counters) = self.worker.shared.limits.settle(self.flight.lane, permit, &spent);
        let settled_at = now();
        self.worker.meters.settled(&self.facts, end.outcome(), &usage, settled_at, self.ttft_ms);
        let settled = Settled {
            attempt: self.take_facts(),
            settled_at,
            outcome: end.outcome(),
            status: self.status,
            usage,
            raw_usage: said.raw_usage,
            model_answered: said.model,
            service_tier: said.service_tier,
            region: said.region,
            provider_cost: said.cost,
            response_id: said.response_id,
            ttft_ms: self.ttft_ms,
            posted,
            counters,
            call: Some(CallEnd {
                attempts: self.facts.attempt,
                outcome: end.outcome(),
                accepted_at: self.call.accepted_at,
                balance_age_ms: self.call.balance_age_ms,
                session_id: std::mem::take(&mut self.call.session_id),
                earlier: Vector::default(),
            }),
        };
        self.flight.closes_with_record = true;
        Some(self.worker.write(self.flight.lane, &Event::Settled(Box::new(settled)), Some(self.flight.index)))
    }

    /// What metering will charge: the same function of the same book.
    fn cost(&self, said: &Said, usage: &Usage) -> Result<Pico, schemas::ledger::Unpriced> {
        let key = Key {
            provider: &self.facts.provider,
            vendor: self.facts.api.vendor(),
            model: &self.facts.model,
            tier: &said.service_tier,
            at: self.facts.admitted_at,
        };
        price::cost(&price::rate(Some(&self.book), &key, &said.model, &usage.parts))
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let end = if self.was_sent { End::ClientGone } else { End::ClientGoneBefore };
        drop(self.settle(end, None));
    }
}

fn millis(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(end: End, read: Option<&Usage>, wanted: &Completeness) {
        assert_eq!(usage(end, read.cloned()).completeness, *wanted, "{end:?}");
    }

    #[test]
    fn what_is_not_known_is_never_zero() {
        let known = Usage::exact(Vector { uncached_input: 5, ..Vector::default() });
        for end in [End::Refused, End::NotSent, End::ClientGoneBefore] {
            check(end, None, &Completeness::Exact);
            assert_eq!(usage(end, Some(known.clone())), Usage::none());
        }
        for (end, why) in [
            (End::NoAnswer, Doubt::NoAnswer),
            (End::Truncated, Doubt::Truncated),
            (End::Cut, Doubt::Truncated),
            (End::TimedOut, Doubt::TimedOut),
            (End::ClientGone, Doubt::ClientLeft),
            (End::Complete, Doubt::NotReported),
        ] {
            check(end, None, &Completeness::Missing(why));
            check(end, Some(&known), &Completeness::Exact);
        }
    }
}
