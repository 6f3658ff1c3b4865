//! One attempt at a provider, from its admission to its one settlement.
//!
//! Whatever happens (an answer, a refusal, a deadline, a client that left, a shutdown) ends in [`Attempt::settle`], which
//! consumes the permit; an attempt that is dropped settles itself. What is not known is never called zero: it stays held.
//!
//! Where another attempt may follow a failure, what is not needed of its holds is let go of and its record is kept back until that is
//! decided: it says whether the call ends with it. The next attempt's admission is written before it, so that a crash at any moment
//! finds the call open or ended, once. An attempt that nobody follows up settles and writes its record when it is dropped.

use std::{
    sync::{Arc, Mutex, OnceLock, Weak},
    time::{Duration, Instant},
};

use schemas::{
    bound::{AtMost, Bound},
    event::{self, Api, CallEnd, Event, Hold, Outcome, Settled},
    id::{InstanceId, Lane},
    price::Book,
    time::{Time, now},
    tokens::{Completeness, Part, Vector},
};

use crate::{
    cache::{Made, copy::Note},
    emit::Ticket,
    health::Ride,
    limits::{Extension, Permit, Sliced},
    meter::Measured,
    metrics,
    relay::{Broken, Flow},
    settlement::{self, Account, End, Ended},
    sweep::{Flights, Watch},
    worker::Worker,
};

mod apart;
mod baton;

pub(crate) use apart::Apart;
pub(crate) use baton::Baton;

/// An attempt that has been admitted and not settled.
pub(crate) struct Attempt {
    pub(crate) worker: Arc<Worker>,
    pub(crate) watch: Arc<Watch>,
    pub(crate) facts: event::Attempt,
    pub(crate) status: u16,
    pub(crate) was_sent: bool,
    ttft_ms: Option<u64>,
    lane: Lane,
    /// Nothing once the next attempt of the call has it.
    flight: Option<Flight>,
    permit: Option<Permit>,
    /// The most that it can use, where that is known.
    most: Option<AtMost>,
    /// Whether it holds more than it was admitted with.
    has_grown: bool,
    book: Arc<Book>,
    /// What is known of the call; nothing once it is in a record.
    call: Option<CallEnd>,
    /// Whether another attempt may follow if it fails.
    may_go_on: bool,
    /// What it came to, kept back until it is decided whether the call goes on.
    kept: Option<Box<Kept>>,
    /// What the attempt before came to, to be settled and written after the admission of this one.
    before: Option<Box<Before>>,
    /// Who goes on with the call, where that is not decided where the attempt is made.
    baton: Option<Arc<Baton>>,
    /// Where its answer is left if it breaks off on its way to the client and the call may go on.
    wreck: Option<Weak<Wreck>>,
    /// Its place at a target that is one of several.
    ride: Option<Ride>,
    /// Where it says how its answer was made, if that is to be kept.
    note: Option<Note>,
    /// Where it says what it used, if its client has to be told and the answer may not say it.
    used: Option<Used>,
}

/// What an attempt used, as it was settled: nothing before that, and where nobody knows.
pub(crate) type Used = Arc<OnceLock<Vector>>;

/// Where an answer is left that broke off after some of it went to its client, with why.
pub(crate) type Wreck = Mutex<Option<(Box<Flow>, Broken)>>;

/// What an attempt came to, and what it still holds for that.
type Kept = (Account, Permit);

/// What an attempt came to that is written after the admission of the next, and its place among those open if nobody took that over.
struct Before {
    kept: Kept,
    flight: Option<Flight>,
}

/// The place of an attempt among those open at its worker, from before its admission. It closes with the attempt's last
/// record, or, if there never was a first one, when it is dropped.
pub(crate) struct Flight {
    /// No admission of it is earlier.
    pub(crate) opened_at: Time,
    flights: Arc<Flights>,
    watch: Arc<Watch>,
    index: u32,
    closes_with_record: bool,
}

impl Flight {
    pub(crate) fn open(worker: &Worker, lane: Lane) -> Self {
        let (index, opened_at, watch) = worker.flights.open(lane, worker.shared.journal.position());
        Self { opened_at, flights: Arc::clone(&worker.flights), watch, index, closes_with_record: false }
    }

    /// Writes the one record of a call that needs no provider; with that it is over.
    pub(crate) fn end(mut self, worker: &Worker, lane: Lane, settled: Settled) -> Ticket {
        self.closes_with_record = true;
        worker.end(lane, settled, Some(self.index))
    }

    /// The same for another attempt of the call, from before its admission.
    fn go_on(&mut self) {
        (self.opened_at, self.watch) = self.flights.go_on(self.index);
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
        (flight, lane): (Flight, Lane),
        facts: event::Attempt,
        permit: Permit,
        book: Arc<Book>,
        call: CallEnd,
    ) -> Self {
        let (watch, permit) = (Arc::clone(&flight.watch), Some(permit));
        Self {
            worker,
            watch,
            facts,
            status: 0,
            was_sent: false,
            ttft_ms: None,
            lane,
            flight: Some(flight),
            permit,
            most: None,
            has_grown: false,
            book,
            call: Some(call),
            may_go_on: false,
            kept: None,
            before: None,
            baton: None,
            wreck: None,
            ride: None,
            note: None,
            used: None,
        }
    }

    /// What its holds were taken for.
    pub(crate) fn bounded(&mut self, bound: &Bound) {
        self.most = bound.most().copied();
    }

    /// The earliest instant that the next attempt of the call can be admitted at: now. This one has failed.
    pub(crate) fn next_opening(&mut self) -> Option<Time> {
        let flight = self.flight.as_mut()?;
        flight.go_on();
        Some(flight.opened_at)
    }

    /// The next attempt of the call, which goes on with it; nothing if it ended with this one.
    pub(crate) fn next(&mut self, facts: event::Attempt, permit: Permit, balance_age_ms: u64) -> Result<Self, Permit> {
        let Some((mut kept, flight)) = self.kept.take().zip(self.flight.take()) else { return Err(permit) };
        let Some(mut call) = kept.0.go_on() else { return Err(permit) };
        call.balance_age_ms = call.balance_age_ms.max(balance_age_ms);
        let book = Arc::clone(&self.book);
        let mut next = Self::new(Arc::clone(&self.worker), (flight, self.lane), facts, permit, book, call);
        next.before = Some(Box::new(Before { kept: *kept, flight: None }));
        Ok(next)
    }

    /// When it ends the call is whoever's that goes on with it.
    pub(crate) fn runs_with(&mut self, baton: &Arc<Baton>) {
        self.baton = Some(Arc::clone(baton));
    }

    /// An attempt that goes on with a call after those that ran with this baton; nothing if the call is over.
    pub(crate) fn after(
        baton: &Baton,
        worker: Arc<Worker>,
        flight: (Flight, Lane),
        facts: event::Attempt,
        permit: Permit,
        book: Arc<Book>,
    ) -> Result<Self, Permit> {
        let Some((call, before)) = baton.pass() else { return Err(permit) };
        let mut next = Self::new(worker, flight, facts, permit, book, call);
        next.before = before.map(Box::new);
        Ok(next)
    }

    /// Another attempt may follow if this one fails.
    pub(crate) fn may_go_on(&mut self) {
        self.may_go_on = true;
    }

    /// If its answer breaks off it is left there, and another attempt may still follow.
    pub(crate) fn leaves(&mut self, wreck: &Arc<Wreck>) {
        self.wreck = Some(Arc::downgrade(wreck));
    }

    /// Where its answer is left if it breaks off, if anybody looks there.
    pub(crate) fn wreck(&self) -> Option<Arc<Wreck>> {
        self.wreck.as_ref()?.upgrade()
    }

    /// However it ends, the call ends with it.
    pub(crate) fn is_last(&mut self) {
        self.may_go_on = false;
    }

    /// Whether another attempt may follow if it fails.
    pub(crate) const fn goes_on(&self) -> bool {
        self.may_go_on
    }

    /// Whether it has failed and it is not decided yet whether the call goes on.
    pub(crate) const fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// Its place at a target that is one of several.
    pub(crate) fn rides(&mut self, ride: Option<Ride>) {
        self.ride = ride;
    }

    /// Its answer is kept, if it comes to its end and the provider says what it used: then this is noted.
    pub(crate) fn note(&mut self, note: Option<Note>) {
        self.note = note;
    }

    /// What it used is said there when it is settled.
    pub(crate) fn tells(&mut self, used: Option<Used>) {
        self.used = used;
    }

    /// Its target is to be left alone for a while: for so long, if it says how long.
    pub(crate) fn back_off(&mut self, wait: Option<Duration>) {
        if self.ride.as_mut().is_some_and(|ride| ride.back_off(wait, Instant::now())) {
            metrics::circuit_opened(&self.facts.provider);
        }
    }

    /// Writes that it was admitted; before the ticket is good the provider is not called.
    pub(crate) fn admitted(&mut self) -> Ticket {
        let holds = self.permit.as_ref().map(|permit| permit.holds.clone()).unwrap_or_default();
        // The facts go into the event and come back, since they are too many to be copied with every call.
        let attempt = self.take_facts();
        let event = Event::Admitted(Box::new(event::Admitted { attempt, holds }));
        let ticket = self.worker.write(self.lane, &event, None);
        if let Event::Admitted(admitted) = event {
            self.facts = admitted.attempt;
        }
        if let Some(before) = self.before.take() {
            drop(write_end(&self.worker, self.lane, *before));
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

    /// Something of the answer's body is here; says whether it is the first of it.
    pub(crate) fn came(&mut self) -> bool {
        if self.ttft_ms.is_some() {
            return false;
        }
        let ttft_ms = millis(now().since(self.facts.admitted_at).as_millis());
        self.ttft_ms = Some(ttft_ms);
        if let Some(ride) = &mut self.ride {
            ride.came(ttft_ms, Instant::now());
        }
        true
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
        let limits = &self.worker.shared.limits;
        let (of, stands) = ((&*self.book, &self.facts), (so_far, reported));
        let streamed = settlement::streamed(limits, (holds, self.has_grown), of, stands, now());
        self.worker.write(self.lane, &Event::Streamed(streamed), None)
    }

    /// What is held slice by slice, if anything is.
    pub(crate) fn sliced(&self) -> Option<&Sliced> {
        self.permit.as_ref()?.sliced.as_deref()
    }

    /// The most use that it holds for; nothing where it is not bounded.
    pub(crate) fn held_for(&self) -> Option<AtMost> {
        self.sliced().map(|sliced| sliced.most.with_output(sliced.room)).or(self.most)
    }

    /// Whether it may use more than it holds, because only a slice of it is held.
    pub(crate) fn may_outgrow(&self) -> bool {
        self.sliced().is_some_and(|sliced| !sliced.of.is_empty() && sliced.room < sliced.most.output)
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

    /// It goes on whatever this limit says. Where no other holds it back either it may use whatever it can, and not only what is held.
    pub(crate) fn hold_no_more(&mut self, of: InstanceId) {
        if let Some(sliced) = self.permit.as_mut().and_then(|permit| permit.sliced.as_mut()) {
            sliced.of.retain(|instance| *instance != of);
            if sliced.of.is_empty() {
                sliced.room = sliced.most.output;
            }
        }
    }

    /// Whether it has gone on beyond what it holds, as its limits say.
    pub(crate) fn is_let_finish(&self) -> bool {
        self.sliced().is_some_and(|sliced| sliced.of.is_empty())
    }

    /// What it holds.
    pub(crate) fn holds(&self) -> &[Hold] {
        self.permit.as_ref().map_or(&[], |permit| &permit.holds)
    }

    /// Whether it has been settled.
    pub(crate) const fn is_settled(&self) -> bool {
        self.permit.is_none()
    }

    /// Ends it: its limits are settled and its last record is written, or kept back if another attempt may follow. A second time it
    /// does nothing.
    pub(crate) fn settle(&mut self, end: End, measured: Option<Measured>) -> Option<Ticket> {
        let permit = self.permit.take()?;
        let apart = measured.as_ref().and_then(|measured| Apart::of(self, measured));
        let makes = |measured: &&Measured| match self.facts.api {
            Api::OpenAiResponses => true,
            Api::Passthrough => measured.is_response,
            _ => false,
        };
        if let Some(measured) = measured.as_ref().filter(makes) {
            self.worker.shared.makers.note(&measured.response_id, &self.facts.provider);
        }
        if self.ride.as_mut().is_some_and(|ride| ride.ended(end, self.status, Instant::now())) {
            metrics::circuit_opened(&self.facts.provider);
        }
        let ended = Ended {
            attempt: self.take_facts(),
            end,
            measured,
            status: self.status,
            ttft_ms: self.ttft_ms,
            settled_at: now(),
            call: self.call.take().unwrap_or_else(|| CallEnd::begun(Time::ZERO, 0, String::new())),
        };
        let account = settlement::account(&self.book, ended).with(apart);
        let Settled { attempt, outcome, usage, settled_at, .. } = account.settled();
        self.worker.meters.settled(attempt, *outcome, usage, *settled_at, self.ttft_ms);
        if let Some((used, total)) = self.used.take().zip(usage.total()) {
            // There is one settlement, so this is said once.
            let _ = used.set(total);
        }
        // What was only estimated would be given again as if it were known.
        let is_known = account.is_whole() && usage.completeness == Completeness::Exact;
        if let Some(note) = self.note.take().filter(|_| end == End::Complete && is_known) {
            note.set(Made::by(account.settled()));
        }
        if let Some(baton) = self.baton.take() {
            let ended = baton.ended((account, permit), self.flight.take())?;
            return Some(write_end(&self.worker, self.lane, ended));
        }
        if self.may_go_on && end.is_failure() {
            let mut permit = permit;
            account.let_go(&self.worker.shared.limits, &mut permit);
            self.kept = Some(Box::new((account, permit)));
            return None;
        }
        Some(write_end(&self.worker, self.lane, Before { kept: (account, permit), flight: self.flight.take() }))
    }

    /// The call ends with this attempt after all: its record is written, if it was kept back.
    pub(crate) fn conclude(&mut self) -> Option<Ticket> {
        let kept = self.kept.take()?;
        Some(write_end(&self.worker, self.lane, Before { kept: *kept, flight: self.flight.take() }))
    }
}

/// Settles the limits and writes the record, at once one after the other. With it the flight closes that goes with it.
fn write_end(worker: &Worker, lane: Lane, Before { kept: (mut account, permit), mut flight }: Before) -> Ticket {
    let apart = account.apart();
    let settled = account.post(&worker.shared.limits, permit);
    let closes = flight.as_mut().map(|flight| {
        flight.closes_with_record = true;
        flight.index
    });
    let Some(apart) = apart else { return worker.end(lane, settled, closes) };
    apart.write(worker, lane, settled, closes)
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let end = if self.was_sent { End::ClientGone } else { End::ClientGoneBefore };
        drop(self.settle(end, None));
        // Nobody waited for what would have come next.
        if let Some(call) = self.kept.as_mut().and_then(|kept| kept.0.call()) {
            call.outcome = Outcome::ClientGone;
        }
        drop(self.conclude());
    }
}

fn millis(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}
