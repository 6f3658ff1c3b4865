//! One call, from its head to the head of its answer: the order of the steps is the product's promise.
//!
//! Nothing is sent to a provider before it is admitted and written down; from then on the attempt belongs to something that
//! outlives this future, so that a client that leaves changes nothing about what is known.

use std::sync::Arc;

use axum::body::Body;
use http::{Request, Response, request};
use schemas::{
    error_code::ErrorCode,
    id::{CallId, Lane},
    subject::Subject,
    time::{Time, now},
};

use crate::{
    admit::Candidate,
    authenticate, body,
    error::Fault,
    limits::SUCCEEDED,
    metrics,
    obey::{Caller, PolicyView},
    route::{SESSION, short},
    script::Script,
    terms::Terms,
    way::Way,
    worker::Worker,
};

mod aim;
mod cached;
mod onward;
mod panel;
mod tries;

use aim::{Aim, aim};
use cached::Looked;
use onward::Onward;

/// Bodies above this are looked at off the async threads.
pub(crate) const OFFLOAD: usize = 1 << 20;

/// What is known of a call before its body is read.
#[derive(Clone)]
struct Arrival {
    call: CallId,
    accepted_at: Time,
    way: Way,
    view: Arc<PolicyView>,
    subject: Arc<Subject>,
    lane: Lane,
    terms: Option<Arc<Terms>>,
    head: request::Parts,
    /// What the cache has to do with it.
    cache: Looked,
    /// What its stream goes on with if that breaks off, where the client has asked for that.
    onward: Option<Arc<Onward>>,
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
    let accepted_at = now();
    let Caller { subject, lane, terms, .. } =
        authenticate::caller(&head.headers, head.uri.query(), worker.register(&view), accepted_at).await?;
    let mut arrival =
        Arrival { call, accepted_at, way, view, subject, lane, terms, head, cache: Looked::Not, onward: None };
    let (bytes, taken) = body::read(&worker.shared, &arrival.head.headers, body).await?;
    let aimed = aim(worker, &arrival, bytes.clone(), None).await;
    let (aim, order) = match (aimed, arrival.way.of_cohere()) {
        // Which of the two a path of both means, the model says.
        (Err(fault), Some(way)) if fault.code == ErrorCode::UnknownModel => {
            arrival.way = way;
            aim(worker, &arrival, bytes, None).await?
        }
        (aimed, _) => aimed?,
    };
    arrival.onward = onward::wanted(worker, &arrival, &aim, &order)?;
    if let Some(again) = cached::look(worker, &mut arrival, &aim, &order).await? {
        return Ok(again);
    }
    let mut response = tries::answer(worker, &arrival, aim, order).await?;
    arrival.cache.say(response.headers_mut());
    drop(taken);
    Ok(match &arrival.onward {
        Some(onward) => onward::follow(worker, &arrival, Arc::clone(onward), response),
        None => response,
    })
}

impl Arrival {
    /// What is asked of the limits for an attempt of this call.
    fn candidate<'a>(&'a self, aim: &'a Aim) -> Candidate<'a> {
        let api = aim.way(self).api;
        Candidate {
            call: self.call,
            accepted_at: self.accepted_at,
            view: &self.view,
            subject: &self.subject,
            lane: self.lane,
            api,
            provider: &aim.upstream.provider.name,
            model: &aim.model,
            model_requested: &aim.asked.model,
            stream: aim.parsed.stream,
            facts: aim.facts,
            bound: &aim.bound,
            beside: aim.beside.clone(),
            body: Some(aim.parsed.document()),
            // Who leaves what is worked on in the background does not end it.
            may_slice: aim.parsed.stream
                && !aim.parsed.is_background
                && aim.facts.all_output_visible
                && aim.is_framed(self)
                && Script::is_of(api),
            session_id: self.session(),
        }
    }

    /// The session that the client names.
    fn session(&self) -> String {
        let named = self.head.headers.get(SESSION).and_then(|value| value.to_str().ok());
        named.map(short).unwrap_or_default()
    }
}

impl Worker {
    /// The policy in force. Without one nobody can be let in, nor refused; and nobody by a gateway whose records do not count.
    pub(crate) fn view(&self) -> Result<Arc<PolicyView>, Fault> {
        self.counts()?;
        self.view
            .load(&self.shared.view)
            .ok_or_else(|| Fault::new(ErrorCode::LogUnreachable, "the policy has not been read yet; try again"))
    }

    /// Whether what it writes counts: not if another has taken its place in the books.
    pub(crate) fn counts(&self) -> Result<(), Fault> {
        if self.shared.limits.is_succeeded() { Err(Fault::new(ErrorCode::JournalCopied, SUCCEEDED)) } else { Ok(()) }
    }
}
