//! One call, from its head to the head of its answer: the order of the steps is the product's promise.
//!
//! Nothing is sent to a provider before it is admitted and written down; from then on the attempt belongs to something that
//! outlives this future, so that a client that leaves changes nothing about what is known.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, request};
use schemas::{
    bound::Bound,
    config::UsageInStream,
    error_code::ErrorCode,
    event::Api,
    id::{CallId, Lane},
    limit::OnExceed,
    price::{Encoding, ModelFacts},
    subject::Subject,
    time::{Time, now},
};

use crate::{
    admit::{Candidate, bound_of, off_thread},
    attempt::Attempt,
    authenticate::authenticate,
    body,
    error::{Dialect, Fault},
    heading::{self, Plan},
    limits::SUCCEEDED,
    metrics,
    obey::{Caller, PolicyView},
    request::{Cap, Edits, Parsed, parse},
    route::{self, short},
    settlement::End,
    upstream::Upstream,
    worker::Worker,
};

/// Bodies above this are looked at off the async threads.
pub(crate) const OFFLOAD: usize = 1 << 20;
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
    api: Api,
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
pub(crate) async fn serve(worker: Arc<Worker>, api: Api, request: Request<Body>) -> Response<Body> {
    let call = CallId::fresh();
    match run(&worker, api, call, request).await {
        Ok(response) => response,
        Err(fault) => {
            metrics::refused(fault.code);
            fault.response(route::dialect(api), call)
        }
    }
}

async fn run(worker: &Arc<Worker>, api: Api, call: CallId, request: Request<Body>) -> Result<Response<Body>, Fault> {
    let (head, body) = request.into_parts();
    let view = worker.view()?;
    let Caller { subject, lane } = authenticate(&head.headers, head.uri.query(), &view.keys)?;
    let arrival = Arrival { call, accepted_at: now(), api, view, subject, lane, head };
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
    let edits =
        Edits { model: Some(&aim.model), ask_usage: aim.upstream.provider.usage_in_stream == UsageInStream::Ask, cap };
    let plan = Plan::new(worker, &aim.upstream, &arrival.view, Arc::clone(&aim.parsed), aim.facts.encoding);
    let heading = heading::send(&aim.upstream, attempt, plan, &arrival.head, aim.parsed.edit(&edits)).await?;
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
    let candidate = arrival.candidate(&aim);
    let refused = match candidate.admit(worker).await? {
        Ok((attempt, cap)) => return Ok(Passed { attempt, cap, aim, instead: None }),
        Err(refused) => refused,
    };
    let reached = matches!(refused.refusal.code, ErrorCode::HardLimitReached | ErrorCode::SoftLimitReached);
    let OnExceed::Downgrade(model) = &refused.refusal.on_exceed else { return Err(refused.tell(worker)) };
    // Where that model cannot be asked this call, the client is told why its own could not.
    let Some(other) = self::aim(worker, arrival, aim.parsed.body().clone(), Some(model)).await.ok().filter(|_| reached)
    else {
        return Err(refused.tell(worker));
    };
    // The call was not refused, and would have been.
    refused.observe(worker);
    match arrival.candidate(&other).admit(worker).await? {
        Ok((attempt, cap)) => {
            let instead = Some(Instead { model: model.clone(), limit: refused.refusal.limit.clone() });
            Ok(Passed { attempt, cap, aim: other, instead })
        }
        Err(refused) => Err(refused.tell(worker)),
    }
}

impl Arrival {
    /// What is asked of the limits for this call.
    fn candidate<'a>(&'a self, aim: &'a Aim) -> Candidate<'a> {
        let session_id = self.head.headers.get(SESSION).and_then(|value| value.to_str().ok()).map(short);
        Candidate {
            call: self.call,
            accepted_at: self.accepted_at,
            view: &self.view,
            subject: &self.subject,
            lane: self.lane,
            api: self.api,
            provider: &aim.upstream.provider.name,
            model: &aim.model,
            model_requested: &aim.parsed.model,
            stream: aim.parsed.stream,
            facts: aim.facts,
            bound: &aim.bound,
            body: Some(aim.parsed.body()),
            may_slice: aim.parsed.stream && aim.facts.all_output_visible,
            session_id: session_id.unwrap_or_default(),
        }
    }
}

impl Worker {
    /// The policy in force. Without one nobody can be let in, nor refused; and nobody by a gateway whose records do not count.
    pub(crate) fn view(&self) -> Result<Arc<PolicyView>, Fault> {
        if self.shared.limits.is_succeeded() {
            return Err(Fault::new(ErrorCode::JournalCopied, SUCCEEDED));
        }
        self.view
            .load(&self.shared.view)
            .ok_or_else(|| Fault::new(ErrorCode::LogUnreachable, "the policy has not been read yet; try again"))
    }
}

/// Looks at a body, on this thread if it is short, as if `model` had been asked for, if one is given.
async fn aim(worker: &Arc<Worker>, arrival: &Arrival, body: Bytes, model: Option<&str>) -> Result<Aim, Fault> {
    let (api, at) = (arrival.api, arrival.accepted_at);
    if body.len() <= OFFLOAD {
        return look(worker, &arrival.view, (api, at), &body, model);
    }
    let (worker, view, model) = (Arc::clone(worker), Arc::clone(&arrival.view), model.map(str::to_owned));
    let work = move || look(&worker, &view, (api, at), &body, model.as_deref());
    tokio::task::spawn_blocking(work).await.map_err(|_| off_thread())?
}

/// Reads a body once for all that is asked of it: what is acted on, where it goes, and with that its bound.
fn look(
    worker: &Worker,
    view: &PolicyView,
    (api, at): (Api, Time),
    body: &Bytes,
    model: Option<&str>,
) -> Result<Aim, Fault> {
    let (parsed, tree) = parse(api, body).map_err(|problem| Fault::new(problem.code, problem.message))?;
    let (upstream, model) = destination(worker, view, api, model.unwrap_or(&parsed.model))?;
    let facts = view.book.facts(&upstream.provider.name, api.vendor(), &model);
    let bound = bound_of(api, &tree, &view.book, (&upstream.provider.name, &model, at), &facts, Encoding::None)?;
    Ok(Aim { parsed: Arc::new(parsed), upstream, model, facts, bound })
}

/// Chooses the provider, and the model there.
fn destination(worker: &Worker, view: &PolicyView, api: Api, name: &str) -> Result<(Arc<Upstream>, String), Fault> {
    let target = route::target(&view.policy.models, name)?;
    let Some(upstream) = worker.upstreams.get(target.provider) else {
        return Err(Fault::new(
            ErrorCode::ProviderUnreachable,
            format!("this gateway has no provider `{}`", target.provider),
        )
        .never());
    };
    if !upstream.speaks(route::dialect(api)) {
        let other = if route::dialect(api) == Dialect::OpenAi { "Anthropic" } else { "OpenAI" };
        let message = format!("`{}` is served in the dialect of {other} only", short(name));
        return Err(Fault::new(ErrorCode::UnknownModel, message));
    }
    if !upstream.has_key() {
        let message = format!("set `api_key` of provider `{}` in this gateway's configuration", target.provider);
        return Err(Fault::new(ErrorCode::ProviderHasNoKey, message).never());
    }
    Ok((Arc::clone(upstream), target.model.to_owned()))
}
