//! From the request that is sent to the head of its answer, and what is made of it.
//!
//! The request on its way and its attempt are one future; dropped before the head came, which happens when the client
//! leaves, it hands both to the drainer. What the client must not see of an answer (redirects, refused credentials) becomes
//! our own error here.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header, request};
use http_body_util::{BodyExt as _, Limited};
use memchr::memmem;
use schemas::{
    config::{Provider, TokenEvents},
    error_code::ErrorCode,
    event::Api,
    id::CallId,
    price::Encoding,
};
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    attempt::Attempt,
    authenticate::without_key,
    error::{Fault, stamp},
    gate::Gate,
    meter::estimate,
    obey::PolicyView,
    relay::{Broken, Flow, Pace, Relay},
    request::Parsed,
    script::Script,
    settlement::End,
    sweep::Fired,
    upstream::{Answer, NoSlot, SendError, Sending, Upstream, answer_headers},
    way::Way,
    witness::Witness,
    worker::Worker,
};

/// The longest error of a provider that is passed on.
const ERROR_MAX: usize = 1 << 20;

/// What is needed to relay an answer, once it comes.
pub(crate) struct Plan {
    parsed: Arc<Parsed>,
    /// Whether the client did not ask for usage, but we did.
    strips_usage: bool,
    comment: Duration,
    token_events: TokenEvents,
    idle: Duration,
    encoding: Encoding,
    slot: Option<OwnedSemaphorePermit>,
}

/// The request is on its way, or there is an answer, or the reason why there is none.
pub(crate) struct Heading {
    waiting: Option<(Sending, Attempt, Plan)>,
}

impl Plan {
    pub(crate) fn new(
        worker: &Worker,
        upstream: &Upstream,
        view: &PolicyView,
        parsed: Arc<Parsed>,
        encoding: Encoding,
    ) -> Self {
        let asks = matches!(parsed.api(), Api::OpenAiChat | Api::OpenAiCompletions);
        let strips_usage = asks && parsed.stream && !parsed.wants_usage;
        Self {
            parsed,
            strips_usage,
            comment: worker.shared.server.keepalive_comment,
            token_events: view.policy.metering.token_events,
            idle: upstream.provider.timeouts.idle,
            encoding,
            slot: None,
        }
    }

    /// The answer as it will be read.
    pub(crate) fn flow(self, mut attempt: Attempt, answer: Answer) -> Flow {
        attempt.status = answer.status.as_u16();
        attempt.watch.allow(self.idle);
        let mut witness = Witness::new(attempt.facts.api, &answer.headers, answer.status, self.strips_usage);
        // What is refused costs nothing, and may be long.
        let sliced = attempt.sliced().filter(|_| answer.status.is_success());
        let gate = sliced.map(|sliced| {
            let encoding = self.encoding;
            if estimate::is_to_load(encoding) {
                drop(tokio::task::spawn_blocking(move || estimate::load(encoding)));
            }
            let can = Script::is_of(attempt.facts.api) && witness.by_frame();
            let script = can.then(|| Script::new(attempt.facts.api, self.encoding));
            Gate::new(sliced, script)
        });
        let at_end = if answer.status.is_success() { End::Complete } else { End::Refused };
        let pace = Pace { comment: witness.takes_comments().then_some(self.comment), token_events: self.token_events };
        Flow::new(attempt, answer.body, (witness, gate), at_end, pace, (self.parsed, self.slot))
    }
}

/// Sends a request whose attempt has been admitted and written down.
pub(crate) async fn send(
    upstream: &Upstream,
    mut attempt: Attempt,
    mut plan: Plan,
    (way, head): (&Way, &request::Parts),
    body: Bytes,
) -> Result<Heading, Fault> {
    let timeouts = &upstream.provider.timeouts;
    attempt.watch.allow(timeouts.first_byte);
    attempt.watch.end_within(timeouts.total);
    plan.slot = match upstream.slot().await {
        Ok(slot) => slot,
        Err(NoSlot) => {
            let message = format!("all connections to provider `{}` are in use; try again", attempt.facts.provider);
            return Err(ended(attempt, End::NotSent, Fault::new(ErrorCode::TooBusy, message)).await);
        }
    };
    attempt.was_sent = true;
    let query = head.uri.query().and_then(without_key);
    let sending = upstream.send(way, &attempt.facts.model, &head.headers, query.as_deref(), body);
    Ok(Heading { waiting: Some((sending, attempt, plan)) })
}

/// The answer for the client.
pub(crate) async fn answer(heading: Heading, call: CallId, from: &Provider) -> Result<Response<Body>, Fault> {
    let provider = from.name.as_str();
    let (mut attempt, plan, outcome) = heading.await;
    let mut answer = match outcome {
        Ok(answer) => answer,
        Err((end, why)) => {
            let fault = no_answer(end, &why, provider);
            return Err(ended(attempt, end, fault).await);
        }
    };
    if let Some(fault) = not_for_clients(answer.status, provider) {
        attempt.status = answer.status.as_u16();
        return Err(ended(attempt, End::Refused, fault).await);
    }
    let mut headers = std::mem::take(&mut answer.headers);
    answer.headers = kept_for_meter(&headers);
    let status = answer.status;
    let flow = plan.flow(attempt, answer);
    answer_headers(&mut headers);
    if flow.changes_bytes() {
        headers.remove(header::CONTENT_LENGTH);
    }
    stamp(&mut headers, call);
    let relay = Relay::new(flow).begun().await.map_err(|broken| broke(broken, provider))?;
    let body = match status.is_success() {
        true => Body::new(relay),
        false => Body::from(without_secret(relay, &mut headers, from).await?),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// What a provider says of an error, where it says what it was sent without the key in that.
async fn without_secret(relay: Relay, headers: &mut HeaderMap, from: &Provider) -> Result<Vec<u8>, Fault> {
    let whole = Limited::new(relay, ERROR_MAX).collect().await.map_err(|error| match error.downcast_ref() {
        Some(broken) => broke(*broken, &from.name),
        None => Fault::new(ErrorCode::ProviderUnreadable, format!("provider `{}`: its error is endless", from.name)),
    })?;
    let mut body = Vec::from(whole.to_bytes());
    let secret = from.api_key.expose().as_bytes();
    if !secret.is_empty() {
        let places: Vec<usize> = memmem::find_iter(&body, secret).collect();
        for place in places {
            body.iter_mut().skip(place).take(secret.len()).for_each(|byte| *byte = b'*');
        }
        for value in headers.values_mut() {
            if memmem::find(value.as_bytes(), secret).is_some() {
                *value = HeaderValue::from_static("***");
            }
        }
    }
    Ok(body)
}

/// The headers that say how the body has to be read, and those that report.
fn kept_for_meter(headers: &HeaderMap) -> HeaderMap {
    let reports = |name: &HeaderName| name.as_str().starts_with("x-amzn-bedrock-");
    let kept = headers
        .iter()
        .filter(|(name, _)| [header::CONTENT_TYPE, header::CONTENT_ENCODING].contains(name) || reports(name));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// What a provider says to us and not to its client.
fn not_for_clients(status: StatusCode, provider: &str) -> Option<Fault> {
    match status.as_u16() {
        401 | 403 => {
            let message = format!(
                "provider `{provider}` answered {}; its `api_key` in this gateway's configuration is at fault, not yours",
                status.as_u16()
            );
            Some(Fault::new(ErrorCode::ProviderRefusedCredentials, message).never())
        }
        100..=199 | 300..=399 => {
            let message = format!("provider `{provider}` answered {}, which is not followed", status.as_u16());
            Some(Fault::new(ErrorCode::ProviderUnreadable, message).never())
        }
        _ => None,
    }
}

fn no_answer(end: End, why: &str, provider: &str) -> Fault {
    let code = match end {
        End::TimedOut => ErrorCode::ProviderTimeout,
        End::Cut => ErrorCode::TooBusy,
        _ => ErrorCode::ProviderUnreachable,
    };
    Fault::new(code, format!("provider `{provider}`: {why}"))
}

/// An answer that ended before any of it could go to the client. It has been settled.
fn broke(broken: Broken, provider: &str) -> Fault {
    let code = match broken {
        Broken::Upstream => ErrorCode::ProviderBrokeOff,
        Broken::TimedOut => ErrorCode::ProviderTimeout,
        Broken::Cut => ErrorCode::TooBusy,
        Broken::Unrecorded => ErrorCode::JournalFull,
    };
    Fault::new(code, format!("provider `{provider}`: {broken}"))
}

/// Settles an attempt that has no answer for the client, and waits until that is written down.
async fn ended(mut attempt: Attempt, end: End, fault: Fault) -> Fault {
    if let Some(ticket) = attempt.settle(end, None) {
        // Whether or not it could be written now, the client is told the same; the record stays in the buffer.
        let _ = ticket.await;
    }
    fault
}

impl Future for Heading {
    type Output = (Attempt, Plan, Result<Answer, (End, String)>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some((sending, attempt, _)) = &mut self.waiting else { return Poll::Pending };
        let outcome = match attempt.watch.fired(cx.waker()) {
            Some(Fired::TimedOut) => Err((End::TimedOut, "no answer came in time".to_owned())),
            Some(Fired::Cut) => Err((End::Cut, "this gateway is going down; try again".to_owned())),
            None => match Pin::new(sending).poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(answer)) => Ok(answer),
                Poll::Ready(Err(SendError::NotSent(why))) => Err((End::NotSent, why)),
                Poll::Ready(Err(SendError::NoAnswer(why))) => Err((End::NoAnswer, why)),
            },
        };
        match self.waiting.take() {
            Some((_, attempt, plan)) => Poll::Ready((attempt, plan, outcome)),
            None => Poll::Pending,
        }
    }
}

impl Drop for Heading {
    fn drop(&mut self) {
        if let Some((sending, attempt, plan)) = self.waiting.take() {
            let drainer = attempt.worker.drainer.clone();
            drainer.take_sending(sending, attempt, plan);
        }
    }
}
