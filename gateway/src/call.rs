//! One call, from its head to the head of its answer: the order of the steps is the product's promise.
//!
//! Nothing is sent to a provider before it is admitted and written down; from then on the attempt belongs to something that
//! outlives this future, so that a client that leaves changes nothing about what is known.

use std::sync::Arc;

use axum::body::Body;
use http::{Request, Response, request};
use schemas::{
    bound::{Bound, OutputCap},
    error_code::ErrorCode,
    event::{self, Api, CallEnd, Refused},
    id::{CallId, Lane},
    ledger::Unpriced,
    limit::Unit,
    money::Pico,
    price::{CapField, Encoding, ModelFacts},
    subject::Subject,
    time::{Time, now},
};

use crate::{
    attempt::{Attempt, Flight},
    authenticate::authenticate,
    body,
    error::{AtLimit, Fault, RATE},
    limits::{Ask, Permit, Refusal, SLICE},
    metrics,
    obey::{Caller, PolicyView},
    request::{Cap, CapMember},
    route::{SESSION, short},
    script::Script,
    way::Way,
    worker::Worker,
};

mod aim;
mod tries;

use aim::{Aim, aim};

/// What a stream begins with where a whole slice is not to be had.
const SMALL_SLICES: [u64; 2] = [SLICE / 4, SLICE / 32];

/// What is known of a call before its body is read.
#[derive(Clone)]
struct Arrival {
    call: CallId,
    accepted_at: Time,
    way: Way,
    view: Arc<PolicyView>,
    subject: Arc<Subject>,
    lane: Lane,
    head: request::Parts,
}

/// Answers a call to an API.
pub(crate) async fn serve(worker: Arc<Worker>, way: Way, request: Request<Body>) -> Response<Body> {
    let (call, dialect) = (CallId::fresh(), way.dialect());
    match run(&worker, way, call, request).await {
        Ok(response) => response,
        Err(fault) => {
            metrics::refused(fault.code);
            fault.response(dialect, call)
        }
    }
}

async fn run(worker: &Arc<Worker>, way: Way, call: CallId, request: Request<Body>) -> Result<Response<Body>, Fault> {
    let (head, body) = request.into_parts();
    let view = worker.view()?;
    let Caller { subject, lane } = authenticate(&head.headers, head.uri.query(), &view.keys)?;
    let arrival = Arrival { call, accepted_at: now(), way, view, subject, lane, head };
    let (bytes, taken) = body::read(&worker.shared, &arrival.head.headers, body).await?;
    let (aim, order) = aim(worker, &arrival, bytes, None).await?;
    let response = tries::answer(worker, &arrival, aim, order).await?;
    drop(taken);
    Ok(response)
}

/// What becomes of an attempt at its limits: it may be made, with this cap, or they refuse it.
type Admission = Result<(Attempt, Option<Cap>), Box<NotAdmitted>>;

/// An attempt that a limit refuses.
struct NotAdmitted {
    refusal: Box<Refusal>,
    facts: event::Attempt,
    bound: Bound,
}

impl NotAdmitted {
    fn tell(&self, worker: &Worker, arrival: &Arrival) -> Fault {
        refused(worker, arrival, &self.facts, &self.bound, &self.refusal, false)
    }
}

impl Worker {
    /// The policy in force. Without one nobody can be let in, nor refused.
    pub(crate) fn view(&self) -> Result<Arc<PolicyView>, Fault> {
        self.view
            .load(&self.shared.view)
            .ok_or_else(|| Fault::new(ErrorCode::LogUnreachable, "the policy has not been read yet; try again"))
    }
}

/// Takes a hold on every limit of the call, first with the bound in bytes, then, if that does not fit, in tokens. `failed` is the
/// attempt before, which goes on with this one if it is admitted.
async fn admit(
    worker: &Arc<Worker>,
    arrival: &Arrival,
    aim: &Aim,
    failed: Option<&mut Attempt>,
) -> Result<Admission, Fault> {
    if worker.emitter.failing() {
        return Err(Fault::new(ErrorCode::JournalFull, "calls cannot be written down now; try again"));
    }
    let place = Place::of(worker, arrival, failed);
    let admitted_at = place.admitted_at();
    let facts = facts(worker, arrival, aim, (place.number(), admitted_at));
    let mut tight = None;
    let can_slice = facts.stream && aim.facts.all_output_visible && Script::is_of(facts.api);
    let slice = can_slice.then_some(SLICE);
    let limits = &worker.shared.limits;
    let mut admitted = limits.admit(Ask { attempt: &facts, bound: &aim.bound, slice, now: admitted_at }).await;
    if let Err(refusal) = &admitted
        && may_fit(refusal, aim)
    {
        let bound = tight.insert(aim::tightened(arrival, aim).await?);
        admitted = limits.admit(Ask { attempt: &facts, bound, slice, now: admitted_at }).await;
    }
    let bound = tight.as_ref().unwrap_or(&aim.bound);
    // Near the end a stream begins with what is left, and ends there.
    for slice in SMALL_SLICES {
        let is_reached = |refusal: &Refusal| refusal.code == ErrorCode::HardLimitReached;
        if can_slice && admitted.as_ref().is_err_and(|refusal| is_reached(refusal)) {
            admitted = limits.admit(Ask { attempt: &facts, bound, slice: Some(slice), now: admitted_at }).await;
        }
    }
    let permit = match admitted {
        Ok(permit) => permit,
        Err(refusal) => {
            return Ok(Err(Box::new(NotAdmitted { refusal, facts, bound: bound.clone() })));
        }
    };
    for refusal in &permit.observed {
        drop(refused(worker, arrival, &facts, bound, refusal, true));
    }
    if permit.hard && worker.is_behind() {
        worker.shared.limits.give_back(permit);
        return Err(Fault::new(
            ErrorCode::JournalBehind,
            "calls under a hard limit wait until it has caught up; try again",
        ));
    }
    let cap = cap(&permit, bound, facts.api, &aim.facts);
    Ok(Ok((place.take(worker, arrival, facts, permit)?, cap)))
}

/// Where an attempt stands in its call: it is the first one, or follows one that failed.
enum Place<'a> {
    First(Flight),
    After(&'a mut Attempt, Time),
}

impl<'a> Place<'a> {
    fn of(worker: &Worker, arrival: &Arrival, failed: Option<&'a mut Attempt>) -> Self {
        match failed.and_then(|failed| failed.next_admission().map(|at| (failed, at))) {
            Some((failed, at)) => Self::After(failed, at),
            None => Self::First(Flight::open(worker, arrival.lane)),
        }
    }

    const fn admitted_at(&self) -> Time {
        match self {
            Self::First(flight) => flight.admitted_at,
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
        arrival: &Arrival,
        facts: event::Attempt,
        permit: Permit,
    ) -> Result<Attempt, Fault> {
        let age = permit.balance_age_ms;
        match self {
            Self::First(flight) => {
                let headers = &arrival.head.headers;
                let session = headers.get(SESSION).and_then(|value| value.to_str().ok()).map(short).unwrap_or_default();
                let call = CallEnd::begun(arrival.accepted_at, age, session);
                let book = Arc::clone(&arrival.view.book);
                Ok(Attempt::new(Arc::clone(worker), (flight, arrival.lane), facts, permit, book, call))
            }
            Self::After(failed, _) => failed.next(facts, permit, age).map_err(|permit| {
                worker.shared.limits.give_back(permit);
                Fault::new(ErrorCode::TooBusy, "the call is over; try again")
            }),
        }
    }
}

/// Whether counting tokens instead of bytes could make it fit.
fn may_fit(refusal: &Refusal, aim: &Aim) -> bool {
    let of_tokens = matches!(refusal.unit, Unit::Tokens | Unit::InputTokens | Unit::Usd);
    let for_want = matches!(refusal.code, ErrorCode::HardLimitReached | ErrorCode::LeaseNotObtained);
    of_tokens && for_want && aim.facts.encoding != Encoding::None && matches!(aim.bound, Bound::AtMost(_))
}

fn facts(worker: &Worker, arrival: &Arrival, aim: &Aim, (attempt, admitted_at): (u16, Time)) -> event::Attempt {
    event::Attempt {
        call: arrival.call,
        attempt,
        admitted_at,
        subject: Arc::clone(&arrival.subject),
        api: aim.way(arrival).api,
        provider: aim.upstream.provider.name.clone(),
        model: aim.model.clone(),
        model_requested: aim.asked.model.clone(),
        stream: aim.parsed.stream,
        book: arrival.view.policy.book,
        gateway: Arc::clone(&worker.shared.gateway),
    }
}

/// The cap that has to be written into the request, so that the hold is the most that can be billed.
fn cap(permit: &Permit, bound: &Bound, api: Api, facts: &ModelFacts) -> Option<Cap> {
    let OutputCap::Absent(tokens) = bound.most().filter(|_| permit.whole)?.output_cap else { return None };
    let member = match (CapMember::of(api), facts.cap_field) {
        (Some(own), _) => own,
        (None, CapField::MaxCompletionTokens) if api == Api::OpenAiChat => CapMember::MaxCompletionTokens,
        (None, _) => CapMember::MaxTokens,
    };
    Some(Cap { member, tokens })
}

/// Counts a refusal and says it to the client.
fn refused(
    worker: &Worker,
    arrival: &Arrival,
    facts: &event::Attempt,
    bound: &Bound,
    refusal: &Refusal,
    observed: bool,
) -> Fault {
    let estimated_cost = bound.most().map_or(Err(Unpriced::UnknownModel), |most| most.cost).ok();
    let record = Refused {
        at: facts.admitted_at,
        call: arrival.call,
        subject: Arc::clone(&arrival.subject),
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
    worker.refusals.count(refusal.instance, record);
    fault_of(refusal, facts.admitted_at)
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
