//! Admission: every limit that a call falls under is held, or the call is refused.
//!
//! Where what is leased does not suffice, metering is asked and the call waits a bounded time for its decision. Nothing is held
//! while it waits, so calls cannot block each other. A call that passes here and one that another proxy asks for are the same.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use schemas::{
    bound::{self, Beside, Bound, BoundError, OutputCap},
    error_code::ErrorCode,
    event::{self, Api, CallEnd, Refused},
    id::{CallId, InstanceId, Lane},
    json::Tree,
    ledger::Unpriced,
    limit::Unit,
    money::Pico,
    price::{Book, Encoding, Key, ModelFacts},
    subject::Subject,
    time::{Time, now},
};
use tokio::time;

use crate::{
    attempt::{Attempt, Flight},
    error::{AtLimit, Fault, RATE},
    limits::{Ask, Extension, Limits, OutputHeld, Permit, Refusal, SLICE, Tried},
    meter::estimate::measure,
    metrics,
    obey::PolicyView,
    request::{Cap, CapMember},
    worker::Worker,
};

mod together;

pub(crate) use together::{Together, together};

/// The longest that a call waits for a lease.
const PATIENCE: Duration = Duration::from_millis(2_000);
/// What a stream begins with where a whole slice is not to be had.
const SMALL_SLICES: [u64; 2] = [SLICE / 4, SLICE / 32];

/// An attempt that is to be made: who, where to, and the most that it can use.
pub(crate) struct Candidate<'a> {
    pub(crate) call: CallId,
    pub(crate) accepted_at: Time,
    pub(crate) view: &'a PolicyView,
    pub(crate) subject: &'a Arc<Subject>,
    pub(crate) lane: Lane,
    pub(crate) api: Api,
    pub(crate) provider: &'a str,
    pub(crate) model: &'a str,
    pub(crate) model_requested: &'a str,
    pub(crate) stream: bool,
    pub(crate) facts: ModelFacts,
    pub(crate) bound: &'a Bound,
    /// What is asked beside its body.
    pub(crate) beside: Beside,
    /// What is sent, so that its bound can be tightened; nothing where only the bound is known.
    pub(crate) body: Option<&'a Bytes>,
    /// Whether its output can be held slice by slice.
    pub(crate) may_slice: bool,
    pub(crate) session_id: String,
}

/// What becomes of an attempt at its limits: it may be made, with this cap, or they refuse it.
pub(crate) type Admission = Result<(Attempt, Option<Cap>), Box<NotAdmitted>>;

/// An attempt that a limit refuses.
pub(crate) struct NotAdmitted {
    pub(crate) refusal: Box<Refusal>,
    facts: event::Attempt,
    bound: Bound,
}

impl Limits {
    /// Takes a hold on every limit that the attempt falls under. It may wait for that, so each try is made at its own instant.
    pub async fn admit(&self, ask: Ask<'_>) -> Result<Permit, Box<Refusal>> {
        self.obtain(|at| self.try_admit(&Ask { now: now().max(ask.now), ..ask }, at)).await
    }

    /// Holds more for an attempt that is under way; what is held before does not change.
    pub async fn extend(&self, extension: &Extension) -> Result<Permit, Box<Refusal>> {
        self.obtain(|at| self.try_extend(extension, at)).await
    }

    /// Tries until everything is held, refused, or not to be had in time.
    async fn obtain<T>(
        &self,
        attempt: impl Fn(Instant) -> (Tried<T>, Result<(), journal::Error>),
    ) -> Result<T, Box<Refusal>> {
        let deadline = time::Instant::now() + PATIENCE;
        let mut changes = self.changes();
        loop {
            changes.mark_unchanged();
            // A request that the journal cannot take is as one that is not answered: the deadline speaks.
            let (tried, sent) = attempt(Instant::now());
            match tried {
                Tried::Held(permit) => return Ok(permit),
                Tried::Refused(refusal) => return Err(refusal),
                Tried::Short(late) => {
                    let decided = time::timeout_at(deadline, changes.changed()).await;
                    if sent.is_err() || decided.is_err() {
                        return Err(late);
                    }
                }
            }
        }
    }
}

impl Candidate<'_> {
    /// Takes a hold on every limit of the call, first with the bound in bytes, then, if that does not fit, in tokens. `failed` is the
    /// attempt before, which goes on with this one if it is admitted; `seen` are the counters that would have refused the call so far.
    pub(crate) async fn admit(
        self,
        worker: &Arc<Worker>,
        failed: Option<&mut Attempt>,
        seen: &mut Vec<InstanceId>,
    ) -> Result<Admission, Fault> {
        worker.takes_calls()?;
        let place = Place::of(worker, self.lane, failed);
        // Until it is admitted, that is when it began to ask.
        let opened_at = place.opened_at();
        let mut facts = self.attempt(worker, place.number(), opened_at);
        let mut tight = None;
        let slice = self.may_slice.then_some(SLICE);
        let limits = &worker.shared.limits;
        let mut admitted = limits.admit(Ask { attempt: &facts, bound: self.bound, slice, now: opened_at }).await;
        if let (Err(refusal), Some(body)) = (&admitted, self.body)
            && self.may_fit(refusal)
        {
            let bound = tight.insert(self.tightened(body.clone()).await?);
            admitted = limits.admit(Ask { attempt: &facts, bound, slice, now: opened_at }).await;
        }
        let bound = tight.as_ref().unwrap_or(self.bound);
        // Near the end a stream begins with what is left, and ends there.
        for slice in SMALL_SLICES {
            let is_reached = |refusal: &Refusal| refusal.code == ErrorCode::HardLimitReached;
            if self.may_slice && admitted.as_ref().is_err_and(|refusal| is_reached(refusal)) {
                admitted = limits.admit(Ask { attempt: &facts, bound, slice: Some(slice), now: opened_at }).await;
            }
        }
        let permit = match admitted {
            Ok(permit) => permit,
            Err(refusal) => return Ok(Err(Box::new(NotAdmitted { refusal, facts, bound: bound.clone() }))),
        };
        if let Some(fault) = self.too_late(worker, &permit) {
            worker.shared.limits.give_back(permit);
            return Err(fault);
        }
        facts.admitted_at = permit.admitted_at;
        for refusal in &permit.observed {
            observe(worker, &facts, bound, refusal, seen);
        }
        let cap = cap(&permit, bound, self.api, &self.facts);
        let mut attempt = place.take(worker, self, facts, permit)?;
        attempt.bounded(bound);
        Ok(Ok((attempt, cap)))
    }

    /// Why an attempt cannot be made although its limits hold enough for it.
    fn too_late(&self, worker: &Worker, permit: &Permit) -> Option<Fault> {
        if permit.hard && worker.is_behind() {
            let what = "calls under a hard limit wait until it has caught up; try again";
            return Some(Fault::new(ErrorCode::JournalBehind, what));
        }
        // What is held was priced when the call came, and what it used will be at its admission.
        let turned = permit.hard && self.view.book.turns_between(self.accepted_at, permit.admitted_at);
        turned.then(|| Fault::new(ErrorCode::TooBusy, "prices changed while the call waited; try again"))
    }

    fn attempt(&self, worker: &Worker, number: u16, admitted_at: Time) -> event::Attempt {
        event::Attempt {
            call: self.call,
            attempt: number,
            admitted_at,
            subject: Arc::clone(self.subject),
            api: self.api,
            provider: self.provider.to_owned(),
            model: self.model.to_owned(),
            model_requested: self.model_requested.to_owned(),
            stream: self.stream,
            book: self.view.policy.book,
            gateway: Arc::clone(&worker.shared.gateway),
        }
    }

    /// Whether counting tokens instead of bytes could make it fit.
    fn may_fit(&self, refusal: &Refusal) -> bool {
        let of_tokens = matches!(refusal.unit, Unit::Tokens | Unit::InputTokens | Unit::Usd);
        let for_want = matches!(refusal.code, ErrorCode::HardLimitReached | ErrorCode::LeaseNotObtained);
        of_tokens && for_want && self.facts.encoding != Encoding::None && matches!(self.bound, Bound::AtMost(_))
    }

    /// The bound in tokens, counted off the async threads. The body is read again for it: keeping every call's tree until it is
    /// admitted would take several times the memory of its body, and counting takes far longer than reading.
    async fn tightened(&self, body: Bytes) -> Result<Bound, Fault> {
        let (api, at, book) = (self.api, self.accepted_at, Arc::clone(&self.view.book));
        let (provider, model, facts) = (self.provider.to_owned(), self.model.to_owned(), self.facts);
        let beside = self.beside.clone();
        off_thread(move || {
            let tree = tree_of(&body)?;
            bound_of(api, (&tree, &beside), &book, (&provider, &model, at), &facts, facts.encoding)
        })
        .await
    }
}

impl Worker {
    /// Whether calls that are made now can be written down, and count.
    fn takes_calls(&self) -> Result<(), Fault> {
        self.counts()?;
        if self.is_full() {
            return Err(Fault::new(ErrorCode::JournalFull, "calls cannot be written down now; try again"));
        }
        Ok(())
    }
}

/// Where an attempt stands in its call: it is the first one, or follows one that failed.
enum Place<'a> {
    First(Flight),
    After(&'a mut Attempt, Time),
}

impl<'a> Place<'a> {
    fn of(worker: &Worker, lane: Lane, failed: Option<&'a mut Attempt>) -> Self {
        match failed.and_then(|failed| failed.next_opening().map(|at| (failed, at))) {
            Some((failed, at)) => Self::After(failed, at),
            None => Self::First(Flight::open(worker, lane)),
        }
    }

    /// The earliest instant that it can be admitted at.
    const fn opened_at(&self) -> Time {
        match self {
            Self::First(flight) => flight.opened_at,
            Self::After(_, at) => *at,
        }
    }

    const fn number(&self) -> u16 {
        match self {
            Self::First(_) => 1,
            Self::After(failed, _) => failed.facts.attempt.saturating_add(1),
        }
    }

    fn take(
        self,
        worker: &Arc<Worker>,
        of: Candidate<'_>,
        facts: event::Attempt,
        permit: Permit,
    ) -> Result<Attempt, Fault> {
        let age = permit.balance_age_ms;
        match self {
            Self::First(flight) => {
                let call = CallEnd::begun(of.accepted_at, age, of.session_id);
                let book = Arc::clone(&of.view.book);
                Ok(Attempt::new(Arc::clone(worker), (flight, of.lane), facts, permit, book, call))
            }
            Self::After(failed, _) => failed.next(facts, permit, age).map_err(|permit| {
                worker.shared.limits.give_back(permit);
                Fault::new(ErrorCode::TooBusy, "the call is over; try again")
            }),
        }
    }
}

impl NotAdmitted {
    /// Counts the refusal, and says it to the client.
    pub(crate) fn tell(&self, worker: &Worker) -> Fault {
        count(worker, &self.facts, &self.bound, &self.refusal, false);
        fault_of(&self.refusal, self.facts.admitted_at)
    }

    /// Counts the refusal of a call whose client is told how its attempt before failed: once for each counter.
    pub(crate) fn refuse(&self, worker: &Worker, counted: &mut Vec<InstanceId>) {
        if !counted.contains(&self.refusal.instance) {
            counted.push(self.refusal.instance);
            count(worker, &self.facts, &self.bound, &self.refusal, false);
        }
    }

    /// Counts it as one that would have been: the call is made otherwise.
    pub(crate) fn observe(&self, worker: &Worker, seen: &mut Vec<InstanceId>) {
        observe(worker, &self.facts, &self.bound, &self.refusal, seen);
    }
}

/// Looks at a body off the async threads.
pub(crate) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.map_err(|_| busy())?
}

fn busy() -> Fault {
    Fault::new(ErrorCode::TooBusy, "the body could not be looked at; try again")
}

/// What bounds a request, as it was read before.
pub(crate) fn tree_of(document: &Bytes) -> Result<Tree<'_>, Fault> {
    Tree::read(document).map_err(|_| busy())
}

/// The most that a body can make a model use.
pub(crate) fn bound_of(
    api: Api,
    (tree, beside): (&Tree<'_>, &Beside),
    book: &Book,
    (provider, model, at): (&str, &str, Time),
    facts: &ModelFacts,
    encoding: Encoding,
) -> Result<Bound, Fault> {
    let key = Key { provider, vendor: api.vendor(), model, tier: "", at };
    bound::bound(api, (tree, beside), facts, book, &key, measure(encoding)).map_err(|error| {
        let code = match error {
            BoundError::NotAnObject => ErrorCode::MalformedJson,
            BoundError::Duplicate(_) => ErrorCode::DuplicateJsonKey,
            BoundError::NotACount(_) => ErrorCode::BadValue,
        };
        Fault::new(code, error.to_string())
    })
}

/// The cap that has to be written into the request, so that the hold is the most that can be billed.
fn cap(permit: &Permit, bound: &Bound, api: Api, facts: &ModelFacts) -> Option<Cap> {
    let tokens = match (bound.output_cap()?, permit.output) {
        (OutputCap::Absent(tokens), OutputHeld::Whole) => tokens,
        // A stream that is held slice by slice is not looked at beyond its cap either.
        (OutputCap::Misplaced(tokens), OutputHeld::Whole | OutputHeld::BySlices) => tokens,
        _ => return None,
    };
    Some(Cap { member: CapMember::for_model(api, facts.cap_field), tokens })
}

/// Counts that a call would have been refused: once for each counter, however many attempts it takes.
fn observe(worker: &Worker, facts: &event::Attempt, bound: &Bound, refusal: &Refusal, seen: &mut Vec<InstanceId>) {
    if !seen.contains(&refusal.instance) {
        seen.push(refusal.instance);
        count(worker, facts, bound, refusal, true);
    }
}

/// Counts a refusal, or that there would have been one.
fn count(worker: &Worker, facts: &event::Attempt, bound: &Bound, refusal: &Refusal, observed: bool) {
    let estimated_cost = bound.most().map_or(Err(Unpriced::UnknownModel), |most| most.cost).ok();
    let record = Refused {
        at: facts.admitted_at,
        call: facts.call,
        subject: Arc::clone(&facts.subject),
        api: facts.api,
        provider: facts.provider.clone(),
        model: facts.model.clone(),
        model_requested: facts.model_requested.clone(),
        stream: facts.stream,
        count: 1,
        code: refusal.code,
        observed,
        limit: refusal.limit.clone(),
        unit: refusal.unit,
        amount: refusal.amount,
        settled: refusal.settled,
        held: refusal.held,
        estimated_cost,
        balance_age_ms: refusal.balance_age_ms,
        gateway: Arc::clone(&worker.shared.gateway),
    };
    if observed {
        metrics::observed(refusal.code);
    }
    worker.refusals.count(refusal.instance, record);
}

/// What a client is told of a refusal.
pub(crate) fn fault_of(refusal: &Refusal, at: Time) -> Fault {
    let shown = |amount: i128| if refusal.unit == Unit::Usd { Pico(amount).to_string() } else { amount.to_string() };
    let mut message = format!(
        "limit `{}` of {} {}: {} settled, {} held",
        refusal.limit,
        shown(refusal.amount),
        refusal.unit.name(),
        shown(refusal.settled),
        shown(refusal.held),
    );
    // Where that is not known the detail says why.
    if refusal.needed > 0 {
        message = format!("{message}, and this call may need {}", shown(refusal.needed));
    }
    if !refusal.detail.is_empty() {
        message = format!("{message}; {}", refusal.detail);
    }
    if let Some(reset) = refusal.reset_at.filter(|reset| *reset < Time::MAX) {
        message = format!("{message}; it resets at {reset}");
    }
    let fault = Fault::new(refusal.code, message);
    let mut fault = match refusal.retry_after {
        Some(wait) => fault.after(wait),
        None => fault.never(),
    };
    fault.limit = Some(Box::new(AtLimit {
        name: refusal.limit.clone(),
        unit: refusal.unit,
        amount: refusal.amount,
        settled: refusal.settled,
        held: refusal.held,
        reset_at: refusal.reset_at,
        is_rate: refusal.unit == Unit::Concurrent || refusal.reset_at.is_some_and(|reset| reset.since(at) <= RATE),
    }));
    fault
}
