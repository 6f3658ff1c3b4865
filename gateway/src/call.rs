//! One call, from its head to the head of its answer: the order of the steps is the product's promise.
//!
//! Nothing is sent to a provider before it is admitted and written down; from then on the attempt belongs to something that
//! outlives this future, so that a client that leaves changes nothing about what is known.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, header, request};
use schemas::{
    bound::{self, Bound, BoundError, OutputCap},
    config::UsageInStream,
    error_code::ErrorCode,
    event::{self, Api, Refused},
    id::{CallId, Lane},
    json::Tree,
    ledger::Unpriced,
    limit::{OnExceed, Unit},
    money::Pico,
    price::{Book, CapField, Encoding, Key, ModelFacts},
    subject::Subject,
    time::{Time, now},
};

use crate::{
    attempt::{Attempt, Call, Flight},
    authenticate::authenticate,
    body,
    error::{AtLimit, Fault, RATE},
    heading::{self, Plan},
    limits::{Ask, Permit, Refusal, SLICE},
    meter::estimate::measure,
    metrics,
    obey::{Caller, PolicyView},
    request::{Cap, CapMember, Edits, Given, Parsed, read},
    route::{self, short},
    script::Script,
    settlement::End,
    upstream::Upstream,
    way::Way,
    worker::Worker,
};

/// What a stream begins with where a whole slice is not to be had.
const SMALL_SLICES: [u64; 2] = [SLICE / 4, SLICE / 32];
/// Bodies above this are looked at off the async threads.
const OFFLOAD: usize = 1 << 20;
/// The header in which a client names its session.
const SESSION: HeaderName = HeaderName::from_static("x-tollgate-session-id");
/// The header that tells a client that the output of its call was capped.
const CAPPED: HeaderName = HeaderName::from_static("x-tollgate-capped");
/// The headers that tell a client which model its call was made with instead, and which limit said so.
const DOWNGRADED: HeaderName = HeaderName::from_static("x-tollgate-downgraded");
const DOWNGRADED_BY: HeaderName = HeaderName::from_static("x-tollgate-downgraded-by");

/// What is known of a call before its body is read.
struct Arrival {
    call: CallId,
    accepted_at: Time,
    way: Way,
    view: Arc<PolicyView>,
    subject: Arc<Subject>,
    lane: Lane,
    head: request::Parts,
}

/// What a call asks for, where it goes, and the most it can use there.
struct Aim {
    parsed: Arc<Parsed>,
    upstream: Arc<Upstream>,
    model: String,
    facts: ModelFacts,
    bound: Bound,
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
    let aim = aim(worker, &arrival, bytes, None).await?;
    let Passed { mut attempt, cap, aim, instead } = pass(worker, &arrival, aim).await?;
    if attempt.admitted().await.is_err() {
        drop(attempt.settle(End::NotSent, None));
        return Err(Fault::new(
            ErrorCode::JournalFull,
            "the call cannot be written down, so it is not made; try again",
        ));
    }
    let model = aim.upstream.is_named_in_body(&arrival.way).then_some(aim.model.as_str());
    let edits = Edits { model, ask_usage: aim.upstream.provider.usage_in_stream == UsageInStream::Ask, cap };
    let plan = Plan::new(worker, &aim.upstream, &arrival.view, Arc::clone(&aim.parsed), aim.facts.encoding);
    let heading =
        heading::send(&aim.upstream, attempt, plan, (&arrival.way, &arrival.head), aim.parsed.edit(&edits)).await?;
    let mut response = heading::answer(heading, call, &aim.upstream.provider).await?;
    drop(taken);
    if let Some(cap) = cap {
        response.headers_mut().insert(CAPPED, HeaderValue::from(cap.tokens));
    }
    for (name, value) in
        instead.iter().flat_map(|instead| [(DOWNGRADED, &instead.model), (DOWNGRADED_BY, &instead.limit)])
    {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

/// A call that may be made.
struct Passed {
    attempt: Attempt,
    cap: Option<Cap>,
    aim: Aim,
    /// What it is made with instead of what was asked for.
    instead: Option<Instead>,
}

/// The model that a limit names for calls that do not fit.
struct Instead {
    model: String,
    limit: String,
}

/// Admits a call as it is, or, where a limit that is reached says so, once as if another model had been asked for.
async fn pass(worker: &Arc<Worker>, arrival: &Arrival, aim: Aim) -> Result<Passed, Fault> {
    let refused = match admit(worker, arrival, &aim).await? {
        Ok((attempt, cap)) => return Ok(Passed { attempt, cap, aim, instead: None }),
        Err(refused) => refused,
    };
    let reached = matches!(refused.refusal.code, ErrorCode::HardLimitReached | ErrorCode::SoftLimitReached);
    let OnExceed::Downgrade(model) = &refused.refusal.on_exceed else { return Err(refused.tell(worker, arrival)) };
    // Where that model cannot be asked this call, the client is told why its own could not.
    let Some(other) = self::aim(worker, arrival, aim.parsed.body().clone(), Some(model)).await.ok().filter(|_| reached)
    else {
        return Err(refused.tell(worker, arrival));
    };
    // The call was not refused, and would have been.
    drop(self::refused(worker, arrival, &refused.facts, &refused.bound, &refused.refusal, true));
    match admit(worker, arrival, &other).await? {
        Ok((attempt, cap)) => {
            let instead = Some(Instead { model: model.clone(), limit: refused.refusal.limit.clone() });
            Ok(Passed { attempt, cap, aim: other, instead })
        }
        Err(refused) => Err(refused.tell(worker, arrival)),
    }
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

fn off_thread() -> Fault {
    Fault::new(ErrorCode::TooBusy, "the body could not be looked at; try again")
}

/// Looks at a body, on this thread if it is short, as if `model` had been asked for, if one is given.
async fn aim(worker: &Arc<Worker>, arrival: &Arrival, body: Bytes, model: Option<&str>) -> Result<Aim, Fault> {
    let (way, at) = (&arrival.way, arrival.accepted_at);
    let stated =
        arrival.head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if body.len() <= OFFLOAD {
        return look(worker, &arrival.view, (way, stated, at), &body, model);
    }
    let (worker, view, model) = (Arc::clone(worker), Arc::clone(&arrival.view), model.map(str::to_owned));
    let (way, stated) = (way.clone(), stated.to_owned());
    let work = move || look(&worker, &view, (&way, &stated, at), &body, model.as_deref());
    tokio::task::spawn_blocking(work).await.map_err(|_| off_thread())?
}

/// Reads a body once for all that is asked of it: what is acted on, where it goes, and with that its bound.
fn look(
    worker: &Worker,
    view: &PolicyView,
    (way, content_type, at): (&Way, &str, Time),
    body: &Bytes,
    model: Option<&str>,
) -> Result<Aim, Fault> {
    let given = Given { model: way.model.as_deref(), streams: way.streams, content_type };
    let read = read(way.api, body, &given);
    let (parsed, tree) = read.map_err(|problem| Fault::new(problem.code, problem.message))?;
    let (upstream, model) = destination(worker, view, way, model.unwrap_or(&parsed.model))?;
    let facts = view.book.facts(&upstream.provider.name, way.api.vendor(), &model);
    let bound = bound_of(way.api, &tree, &view.book, (&upstream.provider.name, &model, at), &facts, Encoding::None)?;
    Ok(Aim { parsed: Arc::new(parsed), upstream, model, facts, bound })
}

/// Chooses the provider, and the model there.
fn destination(worker: &Worker, view: &PolicyView, way: &Way, name: &str) -> Result<(Arc<Upstream>, String), Fault> {
    let named = match way.api {
        Api::Passthrough => route::named(way.provider.as_deref().unwrap_or_default(), name),
        // A response is where it was made; it names no model.
        Api::OpenAiResponsesRetrieve => {
            let serves =
                |provider: &str| worker.upstreams.get(provider).is_some_and(|upstream| upstream.serves(way.dialect()));
            route::any(&view.policy.models, serves)?
        }
        _ => route::target(&view.policy.models, name)?,
    };
    let Some(upstream) = worker.upstreams.get(named.provider) else {
        let message = format!("this gateway has no provider `{}`", short(named.provider));
        let code = if way.api == Api::Passthrough { ErrorCode::NoPassthrough } else { ErrorCode::ProviderUnreachable };
        return Err(Fault::new(code, message).never());
    };
    if way.api == Api::Passthrough && !upstream.provider.more.passthrough {
        let message =
            format!("say `passthrough: true` at provider `{}` in this gateway's configuration", named.provider);
        return Err(Fault::new(ErrorCode::NoPassthrough, message));
    }
    if way.api != Api::Passthrough && !upstream.speaks(way.dialect()) {
        let other = upstream.provider.dialect.name();
        let message = format!("`{}` is served in the dialect of {other} only", short(name));
        return Err(Fault::new(ErrorCode::UnknownModel, message));
    }
    if !upstream.has_key() {
        let message = format!("set `api_key` of provider `{}` in this gateway's configuration", named.provider);
        return Err(Fault::new(ErrorCode::ProviderHasNoKey, message).never());
    }
    Ok((Arc::clone(upstream), named.model.to_owned()))
}

/// The bound of a call in tokens, counted off the async threads. The body is read again for it: keeping every call's tree until
/// it is admitted would take several times the memory of its body, and counting takes far longer than reading.
async fn tightened(arrival: &Arrival, aim: &Aim) -> Result<Bound, Fault> {
    let (api, at, book) = (arrival.way.api, arrival.accepted_at, Arc::clone(&arrival.view.book));
    let (parsed, upstream) = (Arc::clone(&aim.parsed), Arc::clone(&aim.upstream));
    let (model, facts) = (aim.model.clone(), aim.facts);
    let work = move || {
        let tree = Tree::read(parsed.body()).map_err(|_| off_thread())?;
        bound_of(api, &tree, &book, (&upstream.provider.name, &model, at), &facts, facts.encoding)
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| off_thread())?
}

fn bound_of(
    api: Api,
    tree: &Tree<'_>,
    book: &Book,
    (provider, model, at): (&str, &str, Time),
    facts: &ModelFacts,
    encoding: Encoding,
) -> Result<Bound, Fault> {
    let key = Key { provider, vendor: api.vendor(), model, tier: "", at };
    bound::bound(api, tree, facts, book, &key, measure(encoding)).map_err(|error| {
        let code = match error {
            BoundError::NotAnObject => ErrorCode::MalformedJson,
            BoundError::Duplicate(_) => ErrorCode::DuplicateJsonKey,
            BoundError::NotACount(_) => ErrorCode::BadValue,
        };
        Fault::new(code, error.to_string())
    })
}

/// Takes a hold on every limit of the call, first with the bound in bytes, then, if that does not fit, in tokens.
async fn admit(worker: &Arc<Worker>, arrival: &Arrival, aim: &Aim) -> Result<Admission, Fault> {
    if worker.emitter.failing() {
        return Err(Fault::new(ErrorCode::JournalFull, "calls cannot be written down now; try again"));
    }
    let flight = Flight::open(worker, arrival.lane);
    let admitted_at = flight.admitted_at;
    let facts = facts(worker, arrival, aim, admitted_at);
    let mut tight = None;
    let can_slice = facts.stream && aim.facts.all_output_visible && Script::is_of(facts.api);
    let slice = can_slice.then_some(SLICE);
    let limits = &worker.shared.limits;
    let mut admitted = limits.admit(Ask { attempt: &facts, bound: &aim.bound, slice, now: admitted_at }).await;
    if let Err(refusal) = &admitted
        && may_fit(refusal, aim)
    {
        let bound = tight.insert(tightened(arrival, aim).await?);
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
    let session_id =
        arrival.head.headers.get(SESSION).and_then(|value| value.to_str().ok()).map(short).unwrap_or_default();
    let call = Call { accepted_at: arrival.accepted_at, balance_age_ms: permit.balance_age_ms, session_id };
    let book = Arc::clone(&arrival.view.book);
    Ok(Ok((Attempt::new(Arc::clone(worker), flight, facts, permit, book, call), cap)))
}

/// Whether counting tokens instead of bytes could make it fit.
fn may_fit(refusal: &Refusal, aim: &Aim) -> bool {
    let of_tokens = matches!(refusal.unit, Unit::Tokens | Unit::InputTokens | Unit::Usd);
    let for_want = matches!(refusal.code, ErrorCode::HardLimitReached | ErrorCode::LeaseNotObtained);
    of_tokens && for_want && aim.facts.encoding != Encoding::None && matches!(aim.bound, Bound::AtMost(_))
}

fn facts(worker: &Worker, arrival: &Arrival, aim: &Aim, admitted_at: Time) -> event::Attempt {
    event::Attempt {
        call: arrival.call,
        attempt: 1,
        admitted_at,
        subject: Arc::clone(&arrival.subject),
        api: arrival.way.api,
        provider: aim.upstream.provider.name.clone(),
        model: aim.model.clone(),
        model_requested: aim.parsed.model.clone(),
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
        api: arrival.way.api,
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
