//! One attempt at a provider, from its admission to its one settlement.
//!
//! Whatever happens (an answer, a refusal, a deadline, a client that left, a shutdown) ends in [`Attempt::settle`], which
//! consumes the permit; an attempt that is dropped settles itself. What is not known is never called zero: it stays held.

use std::sync::Arc;

use schemas::{
    event::{self, Event, Settled, Streamed},
    id::{InstanceId, Lane},
    price::Book,
    time::{Time, now},
    tokens::{Part, Vector},
};

use crate::{
    emit::Ticket,
    external::{External, Scene},
    limits::{Extension, Permit, Sliced},
    meter::Measured,
    settlement::{self, End, Ended},
    sweep::{Flights, Watch},
    worker::Worker,
};

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
    /// Whether it holds more than it was admitted with.
    has_grown: bool,
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
        Self {
            worker,
            watch,
            facts,
            status: 0,
            was_sent: false,
            ttft_ms: None,
            flight,
            permit,
            has_grown: false,
            book,
            call,
        }
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
        if !self.worker.emitter.failing() {
            drop(self.record(so_far, reported));
        }
    }

    /// Writes where it stands, and what it holds if that is more than it was admitted with.
    pub(crate) fn record(&self, so_far: Vector, reported: Vec<Part>) -> Ticket {
        let holds = self.permit.as_ref().map_or(&[][..], |permit| &permit.holds);
        let posted = settlement::so_far(&self.worker.shared.limits, holds, &self.book, &self.facts, &reported);
        let holds = if self.has_grown { holds.to_vec() } else { Vec::new() };
        let (call, attempt) = (self.facts.call, self.facts.attempt);
        let streamed = Streamed { call, attempt, at: now(), so_far, reported, posted, holds };
        self.worker.write(self.flight.lane, &Event::Streamed(streamed), None)
    }

    /// What is held slice by slice, if anything is.
    pub(crate) fn sliced(&self) -> Option<&Sliced> {
        self.permit.as_ref()?.sliced.as_deref()
    }

    /// What it needs to hold for so much output; nothing where nothing is held slice by slice any more.
    pub(crate) fn extension(&self, room: u64) -> Option<Extension> {
        let permit = self.permit.as_ref()?;
        self.worker.shared.limits.extension(permit, &self.facts.subject, room, now())
    }

    /// Takes over what more is held, for so much output.
    pub(crate) fn grow(&mut self, more: Permit, room: u64) {
        self.has_grown = true;
        if let Some(permit) = &mut self.permit {
            permit.grow(more, room);
        }
    }

    /// It goes on whatever this limit says.
    pub(crate) fn hold_no_more(&mut self, of: InstanceId) {
        if let Some(sliced) = self.permit.as_mut().and_then(|permit| permit.sliced.as_mut()) {
            sliced.of.retain(|instance| *instance != of);
        }
    }

    /// Whether it has been settled.
    pub(crate) const fn is_settled(&self) -> bool {
        self.permit.is_none()
    }

    /// Ends it: its limits are settled and its last record is written. A second time it does nothing.
    pub(crate) fn settle(&mut self, end: End, measured: Option<Measured>) -> Option<Ticket> {
        let permit = self.permit.take()?;
        if let Some(measured) = measured.as_ref().filter(|measured| measured.background.is_some()) {
            self.tell(measured);
        }
        let ended = Ended {
            attempt: self.take_facts(),
            end,
            measured,
            status: self.status,
            ttft_ms: self.ttft_ms,
            settled_at: now(),
            accepted_at: self.call.accepted_at,
            balance_age_ms: self.call.balance_age_ms,
            session_id: std::mem::take(&mut self.call.session_id),
        };
        let settled = settlement::settle(&self.worker.shared.limits, self.flight.lane, permit, &self.book, ended);
        let Settled { attempt, outcome, usage, settled_at, .. } = &settled;
        self.worker.meters.settled(attempt, *outcome, usage, *settled_at, self.ttft_ms);
        self.flight.closes_with_record = true;
        Some(self.worker.write(self.flight.lane, &Event::Settled(Box::new(settled)), Some(self.flight.index)))
    }
}

impl Attempt {
    /// Tells what was worked on apart from this answer, if the answer says what that has used. Before the attempt's own record, so that
    /// who has the end of the answer finds it in the journal.
    fn tell(&self, measured: &Measured) {
        let Some(told) = External::of_response(&self.facts, measured) else { return };
        let shared = &self.worker.shared;
        let scene = Scene { subject: &self.facts.subject, book: &self.book, gateway: &shared.gateway };
        let learned = told.learn(scene, &shared.limits);
        let lanes = learned.lanes(shared.lanes);
        let event = Event::Learned(Box::new(learned));
        for lane in lanes {
            drop(self.worker.write(lane, &event, None));
        }
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
