//! From the request that is sent to the head of its answer, and what is made of it.
//!
//! The request on its way and its attempt are one future; dropped before the head came, which happens when the client
//! leaves, it hands both to the drainer. What the client must not see of an answer (redirects, refused credentials) becomes
//! our own error here. Where another attempt may follow, an answer counts only with its first token: until then it can fail, and
//! what the client would be told is kept until it is known whether another attempt is made.

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
use http_body::Frame;
use http_body_util::{BodyExt as _, Limited};
use hyper_util::client::legacy::connect::CaptureConnection;
use memchr::memmem;
use schemas::{
    config::{Cause, Retry, Timeouts, TokenEvents},
    error_code::ErrorCode,
    event::Api,
    id::CallId,
    price::{Encoding, ModelFacts},
};
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    attempt::Attempt,
    authenticate::without_key,
    carry::Back,
    error::{Fault, stamp},
    gate::Gate,
    meter::estimate,
    obey::PolicyView,
    relay::{Broken, Flow, NotBegun, Pace, Relay},
    request::Parsed,
    script::Script,
    settlement::End,
    sweep::Fired,
    upstream::{Answer, AnswerBody, NoSlot, SendError, Sending, Upstream, answer_headers},
    way::Way,
    witness::{Reading, Witness},
    worker::Worker,
};

mod again;

use again::{follows, leave_alone, should_retry};

/// The longest error of a provider that is passed on.
const ERROR_MAX: usize = 1 << 20;
/// And the longest that it may take to come.
const ERROR_WITHIN: Duration = Duration::from_secs(30);

/// What is needed to relay an answer, once it comes.
pub(crate) struct Plan {
    parsed: Arc<Parsed>,
    reading: Reading,
    comment: Duration,
    token_events: TokenEvents,
    timeouts: Timeouts,
    encoding: Encoding,
    bytes_per_token: u8,
    slot: Option<OwnedSemaphorePermit>,
}

/// The request is on its way, or there is an answer, or the reason why there is none.
pub(crate) struct Heading {
    waiting: Option<(Sending, Attempt, Plan)>,
    /// Tells when there is a connection, where the patience for that is the target's own.
    connecting: Option<CaptureConnection>,
}

/// An attempt that failed before its first token.
pub(crate) struct Failed {
    held: Option<Held>,
    said: Said,
    from: Arc<Upstream>,
    status: u16,
    /// Why, if the reason is one after which another attempt may follow.
    pub(crate) cause: Option<Cause>,
    /// Whether the provider says that the same may be tried again.
    pub(crate) again: Option<bool>,
    /// How long the provider asks to be left alone.
    pub(crate) retry_after: Option<Duration>,
    /// What the client is told beside, if it is told the provider's answer.
    pub(crate) beside: HeaderMap,
    /// How that comes back, if the provider speaks another dialect.
    back: Option<Back>,
}

/// Where the attempt is.
enum Held {
    Alone(Box<Attempt>),
    InFlow(Box<Flow>),
}

/// What the client is told if nothing better comes.
enum Said {
    Fault(Fault),
    Answer(Box<Answer>),
}

impl Plan {
    pub(crate) fn new(
        worker: &Worker,
        timeouts: &Timeouts,
        view: &PolicyView,
        parsed: Arc<Parsed>,
        (facts, is_guarded, is_carried): (&ModelFacts, bool, bool),
    ) -> Self {
        let asks = matches!(parsed.api(), Api::OpenAiChat | Api::OpenAiCompletions);
        // What is carried to another dialect is not seen by its client, whose own has the usage in another place.
        let strip_usage = asks && parsed.stream && !parsed.wants_usage && !is_carried;
        let is_guarded = is_guarded || parsed.is_guarded;
        let code_is_free = parsed.code_is_free;
        let reading = Reading { strip_usage, is_guarded, choices: parsed.n, code_is_free };
        Self {
            parsed,
            reading,
            comment: worker.shared.server.keepalive_comment,
            token_events: view.policy.metering.token_events,
            timeouts: *timeouts,
            encoding: facts.encoding,
            bytes_per_token: facts.bytes_per_token,
            slot: None,
        }
    }

    /// The answer as it will be read.
    pub(crate) fn flow(self, mut attempt: Attempt, answer: Answer) -> Flow {
        attempt.status = answer.status.as_u16();
        let mut witness = Witness::new(attempt.facts.api, &answer.headers, answer.status, self.reading);
        // What is refused costs nothing, and may be long.
        let sliced = attempt.sliced().filter(|_| answer.status.is_success());
        let gate = sliced.map(|sliced| {
            let script = Script::new(attempt.facts.api, self.encoding, self.bytes_per_token);
            Gate::new(sliced, script.filter(|_| witness.by_frame()))
        });
        let at_end = if answer.status.is_success() { End::Complete } else { End::Refused };
        let comment = witness.takes_comments().then_some(self.comment);
        let Timeouts { first_token, idle, .. } = self.timeouts;
        let pace = Pace { comment, token_events: self.token_events, first_token, idle };
        Flow::new(attempt, answer.body, (witness, gate), at_end, pace, (self.parsed, self.slot))
    }
}

/// Sends a request whose attempt has been admitted and written down.
pub(crate) async fn send(
    upstream: &Arc<Upstream>,
    mut attempt: Attempt,
    mut plan: Plan,
    (way, head): (&Way, &request::Parts),
    body: Bytes,
) -> Result<Heading, Box<Failed>> {
    let encoding = plan.encoding;
    if attempt.sliced().is_some() && estimate::is_to_load(encoding) {
        // Once for each encoding: until its table is there, every byte would count as a token. Without it they still would.
        let _ = tokio::task::spawn_blocking(move || estimate::load(encoding)).await;
    }
    let timeouts = &plan.timeouts;
    let own_connect = timeouts.connect != upstream.provider.timeouts.connect;
    attempt.watch.allow(if own_connect { timeouts.connect } else { timeouts.first() });
    attempt.watch.end_within(timeouts.total);
    plan.slot = match upstream.slot().await {
        Ok(slot) => slot,
        Err(NoSlot) => {
            let message = format!("all connections to provider `{}` are in use; try again", attempt.facts.provider);
            let said = Said::Fault(Fault::new(ErrorCode::TooBusy, message));
            return Err(failed(attempt, End::NotSent, said, Some(Cause::Connection), upstream).await);
        }
    };
    attempt.was_sent = true;
    let query = head.uri.query().and_then(without_key);
    let (model, query) = (&attempt.facts.model, query.as_deref());
    let (sending, connecting) = upstream.send((way, model), &head.headers, query, body, own_connect);
    Ok(Heading { waiting: Some((sending, attempt, plan)), connecting })
}

/// The answer for the client.
pub(crate) async fn answer(
    heading: Heading,
    call: CallId,
    upstream: &Arc<Upstream>,
    retry: &Retry,
) -> Result<Response<Body>, Box<Failed>> {
    let provider = upstream.provider.name.as_str();
    let (mut attempt, plan, outcome) = heading.await;
    let mut answer = match outcome {
        Ok(answer) => answer,
        Err((end, why)) => {
            let (fault, cause) = no_answer(end, &why, provider);
            return Err(failed(attempt, end, Said::Fault(fault), cause, upstream).await);
        }
    };
    let status = answer.status;
    attempt.status = status.as_u16();
    let cause = Cause::of_status(attempt.status);
    let (again, retry_after) = (should_retry(&answer.headers), leave_alone(&mut answer, upstream).await);
    if retry_after.is_some() || cause == Some(Cause::Credentials) {
        attempt.back_off(retry_after);
    }
    if matches!(attempt.status, 401 | 403) {
        upstream.refused();
    }
    if let Some(fault) = not_for_clients(status, provider) {
        return Err(failed(attempt, End::Refused, Said::Fault(fault), cause, upstream).await);
    }
    if !status.is_success() {
        if attempt.goes_on() && follows(retry, (cause, attempt.status), again) {
            let mut failed = failed(attempt, End::Refused, Said::Answer(Box::new(answer)), cause, upstream).await;
            (failed.again, failed.retry_after) = (again, retry_after);
            return Err(failed);
        }
        attempt.is_last();
    }
    let mut headers = std::mem::take(&mut answer.headers);
    answer.headers = kept_for_meter(&headers);
    let flow = plan.flow(attempt, answer);
    answer_headers(&mut headers);
    if flow.changes_bytes() {
        headers.remove(header::CONTENT_LENGTH);
    }
    stamp(&mut headers, call);
    let relay = match Relay::new(flow).begun().await {
        Ok(relay) => relay,
        Err(NotBegun { broken, flow, said }) => {
            let mut failed = Failed::broke(flow, broken, upstream);
            if !said.is_empty() {
                // It is told as it came if no other attempt follows.
                let body = AnswerBody::came(said);
                failed.said = Said::Answer(Box::new(Answer { status, headers, body }));
                (failed.status, failed.cause) = (status.as_u16(), Some(Cause::ServerError));
            }
            return Err(failed);
        }
    };
    let body = match status.is_success() {
        true => Body::new(relay),
        false => match whole(relay, provider).await {
            Ok(body) => Body::from(without_secret(body, &mut headers, upstream)),
            // Its attempt was settled when it broke.
            Err(fault) => return Err(Failed::of(None, Said::Fault(fault), upstream)),
        },
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

impl Failed {
    fn of(held: Option<Held>, said: Said, from: &Arc<Upstream>) -> Box<Self> {
        let (from, beside) = (Arc::clone(from), HeaderMap::new());
        Box::new(Self { held, said, from, status: 0, cause: None, again: None, retry_after: None, beside, back: None })
    }

    /// What the provider says comes back this way.
    pub(crate) fn carried(mut self: Box<Self>, back: Option<Back>) -> Box<Self> {
        self.back = back;
        self
    }

    /// An answer whose attempt is settled, and that cannot be given to the client.
    pub(crate) fn after(fault: Fault, from: &Arc<Upstream>) -> Box<Self> {
        Self::of(None, Said::Fault(fault), from)
    }

    /// An attempt that is over for a reason of ours.
    pub(crate) fn ours(attempt: Attempt, fault: Fault, from: &Arc<Upstream>) -> Box<Self> {
        Self::of(Some(Held::Alone(Box::new(attempt))), Said::Fault(fault), from)
    }

    /// An answer that ended before all of it could go to the client. It has been settled.
    pub(crate) fn broke(flow: Option<Box<Flow>>, broken: Broken, from: &Arc<Upstream>) -> Box<Self> {
        // One that a limit has ended before any of it could go is refused, for the reason of that limit.
        let refused = flow.as_ref().filter(|_| broken == Broken::Cut).and_then(|flow| flow.refused().cloned());
        let fault = refused.unwrap_or_else(|| broke(broken, &from.provider.name));
        let held = flow.map(|mut flow| {
            flow.close();
            Held::InFlow(flow)
        });
        let cause = match broken {
            Broken::Upstream | Broken::Ended => Some(Cause::Connection),
            Broken::TimedOut => Some(Cause::Timeout),
            Broken::Cut | Broken::Unrecorded => None,
        };
        let failed = Self::of(held, Said::Fault(fault), from);
        Box::new(Self { cause, ..*failed })
    }

    /// What it was, in a few words.
    pub(crate) fn why(&self) -> String {
        match &self.said {
            Said::Fault(fault) => fault.message.clone().into_owned(),
            Said::Answer(_) => format!("provider `{}` answered {}", self.from.provider.name, self.status),
        }
    }

    /// The attempt, unless nothing is to be decided of it any more.
    pub(crate) fn attempt(&mut self) -> Option<&mut Attempt> {
        match self.held.as_mut()? {
            Held::Alone(attempt) => Some(attempt),
            Held::InFlow(flow) => Some(flow.attempt()),
        }
    }

    /// Whether another attempt may follow it.
    pub(crate) fn may_be_followed(&mut self, retry: &Retry) -> bool {
        let follows = follows(retry, (self.cause, self.status), self.again);
        self.attempt().is_some_and(|attempt| attempt.is_kept()) && follows
    }

    /// What the client is told, since no other attempt is made. The end of the call is written down first.
    pub(crate) async fn told(mut self: Box<Self>, call: CallId) -> Result<Response<Body>, Fault> {
        let attempts = self.attempt().map_or(1, |attempt| attempt.facts.attempt);
        if let Some(ticket) = self.attempt().and_then(Attempt::conclude) {
            // Whether or not it could be written now, the client is told the same; the record stays in the buffer.
            let _ = ticket.await;
        }
        let from = &*self.from.provider;
        match self.said {
            Said::Fault(fault) if attempts > 1 => Err(Fault {
                message: format!("{}; it was the last of {attempts} attempts", fault.message).into(),
                ..fault
            }),
            Said::Fault(fault) => Err(fault),
            Said::Answer(answer) => {
                let Answer { status, mut headers, body } = *answer;
                let body = whole(Unmetered(body), &from.name).await?;
                answer_headers(&mut headers);
                headers.extend(self.beside);
                stamp(&mut headers, call);
                let mut response = Response::new(Body::from(without_secret(body, &mut headers, &self.from)));
                *response.status_mut() = status;
                *response.headers_mut() = headers;
                match self.back {
                    Some(back) => back.answer(response, None, None).await,
                    None => Ok(response),
                }
            }
        }
    }
}

/// An answer of which nothing is read but what it says: its attempt has been settled.
struct Unmetered(AnswerBody);

impl http_body::Body for Unmetered {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.0.poll_data(cx).map(|data| data.map(|data| data.map(Frame::data).map_err(|_| Broken::Upstream)))
    }
}

/// The whole of an error, within bounds.
async fn whole<B>(body: B, provider: &str) -> Result<Vec<u8>, Fault>
where
    B: http_body::Body<Data = Bytes, Error = Broken> + Send,
{
    let whole = tokio::time::timeout(ERROR_WITHIN, Limited::new(body, ERROR_MAX).collect()).await;
    match whole {
        Ok(Ok(whole)) => Ok(Vec::from(whole.to_bytes())),
        Ok(Err(error)) => Err(match error.downcast_ref() {
            Some(broken) => broke(*broken, provider),
            None => Fault::new(ErrorCode::ProviderUnreadable, format!("provider `{provider}`: its error is endless")),
        }),
        Err(_) => Err(broke(Broken::TimedOut, provider)),
    }
}

/// What a provider says of an error, where it says what it was sent without the key in that.
fn without_secret(mut body: Vec<u8>, headers: &mut HeaderMap, from: &Upstream) -> Vec<u8> {
    from.with_secrets(|secret| {
        let places: Vec<usize> = memmem::find_iter(&body, secret).collect();
        for place in places {
            body.iter_mut().skip(place).take(secret.len()).for_each(|byte| *byte = b'*');
        }
        for value in headers.values_mut() {
            if memmem::find(value.as_bytes(), secret).is_some() {
                *value = HeaderValue::from_static("***");
            }
        }
    });
    body
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
                "provider `{provider}` answered {}; its credential in this gateway's configuration is at fault, not yours",
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

fn no_answer(end: End, why: &str, provider: &str) -> (Fault, Option<Cause>) {
    let (code, cause) = match end {
        End::TimedOut => (ErrorCode::ProviderTimeout, Some(Cause::Timeout)),
        End::Cut => (ErrorCode::TooBusy, None),
        _ => (ErrorCode::ProviderUnreachable, Some(Cause::Connection)),
    };
    (Fault::new(code, format!("provider `{provider}`: {why}")), cause)
}

/// What a client is told of an answer that ended before any of it could go to it.
fn broke(broken: Broken, provider: &str) -> Fault {
    let code = match broken {
        Broken::Upstream | Broken::Ended => ErrorCode::ProviderBrokeOff,
        Broken::TimedOut => ErrorCode::ProviderTimeout,
        Broken::Cut => ErrorCode::TooBusy,
        Broken::Unrecorded => ErrorCode::JournalFull,
    };
    Fault::new(code, format!("provider `{provider}`: {broken}"))
}

/// Settles an attempt that has no answer for the client, and waits until that is written down, unless another one may follow.
async fn failed(mut attempt: Attempt, end: End, said: Said, cause: Option<Cause>, from: &Arc<Upstream>) -> Box<Failed> {
    if let Some(ticket) = attempt.settle(end, None) {
        // Whether or not it could be written now, the client is told the same; the record stays in the buffer.
        let _ = ticket.await;
    }
    let status = attempt.status;
    let failed = Failed::of(Some(Held::Alone(Box::new(attempt))), said, from);
    Box::new(Failed { cause, status, ..*failed })
}

impl Future for Heading {
    type Output = (Attempt, Plan, Result<Answer, (End, String)>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let Some((sending, attempt, plan)) = &mut this.waiting else { return Poll::Pending };
        let outcome = match attempt.watch.fired(cx.waker()) {
            Some(Fired::TimedOut) if this.connecting.is_some() => {
                Err((End::NotSent, "no connection within the target's connect timeout".to_owned()))
            }
            Some(Fired::TimedOut) => Err((End::TimedOut, "no answer came in time".to_owned())),
            Some(Fired::Cut) => Err((End::Cut, "this gateway is going down; try again".to_owned())),
            None => match Pin::new(sending).poll(cx) {
                Poll::Pending => {
                    // Whatever made the connection woke this up.
                    let connected = |capture: &mut CaptureConnection| capture.connection_metadata().is_some();
                    if this.connecting.take_if(connected).is_some() {
                        attempt.watch.allow(plan.timeouts.first());
                    }
                    return Poll::Pending;
                }
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
        if let Some((sending, mut attempt, plan)) = self.waiting.take() {
            attempt.is_last();
            let drainer = attempt.worker.drainer.clone();
            drainer.take_sending(sending, attempt, plan);
        }
    }
}
