//! One attempt at a provider, from its admission to its one settlement.
//!
//! Whatever happens (an answer, a refusal, a deadline, a client that left, a shutdown) ends in [`Attempt::settle`], which
//! consumes the permit; an attempt that is dropped settles itself. What is not known is never called zero: it stays held.

use std::sync::Arc;

use schemas::{
    event::{self, Api, CallEnd, Event, Outcome, Settled, Streamed},
    id::Lane,
    money::Pico,
    price::{self, Book, Key},
    time::{Time, now},
    tokens::{Completeness, Doubt, Part, Usage, Vector},
};

use crate::{
    emit::Ticket,
    limits::{Permit, Spent},
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

    /// Why usage is not known, where the answer does not state it by then.
    const fn doubt(self) -> Option<Doubt> {
        match self {
            Self::Complete | Self::Refused | Self::NotSent | Self::ClientGoneBefore | Self::ClientGoneDrained => None,
            Self::NoAnswer => Some(Doubt::NoAnswer),
            Self::Truncated | Self::Cut => Some(Doubt::Truncated),
            Self::TimedOut => Some(Doubt::TimedOut),
            Self::ClientGone => Some(Doubt::ClientLeft),
        }
    }
}

/// What a meter read from an answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    /// The usage by model, as far as it was reported; nothing where it was not.
    pub(crate) parts: Vec<Part>,
    /// Whether `parts` is the whole bill.
    pub(crate) is_final: bool,
    /// Why it is not, where the meter itself knows: it could not read, or estimated.
    pub(crate) doubt: Option<Completeness>,
    pub(crate) raw_usage: String,
    pub(crate) model: String,
    pub(crate) service_tier: String,
    pub(crate) region: String,
    pub(crate) cost: Option<Pico>,
    pub(crate) response_id: String,
}

impl Reading {
    /// The usage of an attempt that ended so.
    fn usage(&mut self, end: End) -> Usage {
        let parts = std::mem::take(&mut self.parts);
        match (end, end.doubt(), self.doubt.take()) {
            (End::Refused | End::NotSent | End::ClientGoneBefore, ..) => Usage::none(),
            _ if self.is_final => Usage { parts, completeness: Completeness::Exact },
            (.., Some(Completeness::Estimated(why))) => Usage { parts, completeness: Completeness::Estimated(why) },
            (_, Some(why), _) => doubtful(parts, why),
            (_, None, Some(Completeness::LowerBound(why) | Completeness::Missing(why))) => doubtful(parts, why),
            (_, None, _) => doubtful(parts, Doubt::NotReported),
        }
    }
}

fn doubtful(parts: Vec<Part>, why: Doubt) -> Usage {
    if parts.is_empty() { Usage::missing(why) } else { Usage { parts, completeness: Completeness::LowerBound(why) } }
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
    pub(crate) fn admitted(&self) -> Ticket {
        let holds = self.permit.as_ref().map(|permit| permit.holds.clone()).unwrap_or_default();
        let admitted = event::Admitted { attempt: self.facts.clone(), holds };
        self.worker.write(self.flight.lane, &Event::Admitted(Box::new(admitted)), None)
    }

    /// The first byte of the answer's body is here.
    pub(crate) fn first_byte(&mut self) {
        if self.ttft_ms.is_none() {
            self.ttft_ms = Some(millis(now().since(self.facts.admitted_at).as_millis()));
        }
    }

    /// Writes where it stands. Nobody waits for that.
    pub(crate) fn streamed(&self, so_far: Vector) {
        let streamed = Streamed { call: self.facts.call, attempt: self.facts.attempt, at: now(), so_far };
        drop(self.worker.write(self.flight.lane, &Event::Streamed(streamed), None));
    }

    /// Whether it has been settled.
    pub(crate) const fn is_settled(&self) -> bool {
        self.permit.is_none()
    }

    /// Ends it: its limits are settled and its last record is written. A second time it does nothing.
    pub(crate) fn settle(&mut self, end: End, mut reading: Reading) -> Option<Ticket> {
        let permit = self.permit.take()?;
        let usage = if self.facts.api == Api::AnthropicCountTokens { Usage::none() } else { reading.usage(end) };
        let cost = self.cost(&reading, &usage);
        let whole = matches!(usage.completeness, Completeness::Exact | Completeness::Estimated(_));
        let spent = Spent { usage: &usage, cost, whole };
        let (posted, counters) = self.worker.shared.limits.settle(self.flight.lane, permit, &spent);
        let settled_at = now();
        self.worker.meters.settled(&self.facts, end.outcome(), &usage, settled_at, self.ttft_ms);
        let settled = Settled {
            attempt: self.facts.clone(),
            settled_at,
            outcome: end.outcome(),
            status: self.status,
            usage,
            raw_usage: reading.raw_usage,
            model_answered: reading.model,
            service_tier: reading.service_tier,
            region: reading.region,
            provider_cost: reading.cost,
            response_id: reading.response_id,
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
    fn cost(&self, reading: &Reading, usage: &Usage) -> Result<Pico, schemas::ledger::Unpriced> {
        let key = Key {
            provider: &self.facts.provider,
            vendor: self.facts.api.vendor(),
            model: &self.facts.model,
            tier: &reading.service_tier,
            at: self.facts.admitted_at,
        };
        price::cost(&price::rate(Some(&self.book), &key, &reading.model, &usage.parts))
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let end = if self.was_sent { End::ClientGone } else { End::ClientGoneBefore };
        drop(self.settle(end, Reading::default()));
    }
}

fn millis(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(end: End, reading: &Reading, wanted: &Completeness) {
        let usage = reading.clone().usage(end);
        assert_eq!(usage.completeness, *wanted, "{end:?}");
        assert_eq!(usage.total().is_none(), matches!(wanted, Completeness::Missing(_)));
    }

    #[test]
    fn what_is_not_known_is_never_zero() {
        let nothing = Reading::default();
        let part = Part { model: None, vector: Vector { uncached_input: 5, ..Vector::default() } };
        let some = Reading { parts: vec![part], ..Reading::default() };
        let all = Reading { is_final: true, ..some.clone() };
        for end in [End::Refused, End::NotSent, End::ClientGoneBefore] {
            check(end, &nothing, &Completeness::Exact);
        }
        for (end, why) in [
            (End::NoAnswer, Doubt::NoAnswer),
            (End::Truncated, Doubt::Truncated),
            (End::TimedOut, Doubt::TimedOut),
            (End::ClientGone, Doubt::ClientLeft),
            (End::Complete, Doubt::NotReported),
        ] {
            check(end, &nothing, &Completeness::Missing(why));
            check(end, &some, &Completeness::LowerBound(why));
            check(end, &all, &Completeness::Exact);
        }
        let unreadable = Reading { doubt: Some(Completeness::Missing(Doubt::Unreadable)), ..nothing };
        check(End::ClientGoneDrained, &unreadable, &Completeness::Missing(Doubt::Unreadable));
        let guess = Reading { doubt: Some(Completeness::Estimated(Doubt::NotReported)), ..some };
        check(End::Complete, &guess, &Completeness::Estimated(Doubt::NotReported));
    }
}
