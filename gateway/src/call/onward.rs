//! A stream that goes on at another target after it broke off, where its client has asked for that.
//!
//! The client says so with `x-tollgate-failover: mid-stream`. What its answer has said by then the next target is given as the beginning
//! of its own, and what that says follows in the same stream, which opens and ends once. Every attempt is admitted, recorded and charged
//! by itself, as those before the first token are, and follows for the same causes. An error that ends an answer is held back until it is
//! known that nobody goes on: then it is the end that the client sees. Else the stream breaks off, or ends, as the last answer did.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderName, Response, header};
use http_body::Frame;
use schemas::{error_code::ErrorCode, event::Api};

use super::{
    Arrival,
    aim::{self, Aim},
    cached::Looked,
    tries::{self, Came, Progress, SERVED_BY},
};
use crate::{
    attempt::{Attempt, Wreck},
    error::Fault,
    heading::Failed,
    meter::{Answer, Framing, Meter, data_of},
    relay::{Broken, Flow},
    request::Parsed,
    route::Order,
    splice::{Splice, is_error, refuses},
    worker::Worker,
};

/// The header by which a client asks for it.
const FAILOVER: HeaderName = HeaderName::from_static("x-tollgate-failover");

/// What is needed to go on with a call whose answer is under way.
pub(super) struct Onward {
    /// What the client asks for.
    asked: Arc<Parsed>,
    /// Where an answer is left that broke off.
    pub(super) wreck: Arc<Wreck>,
    /// What was asked of the target that answers, and how far the call is.
    at: Mutex<Option<(Aim, Progress)>>,
}

impl Onward {
    /// An answer is under way.
    pub(super) fn note(&self, aim: Aim, at: Progress) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = Some((aim, at));
    }
}

/// Whether the client asks for it, and can have it.
pub(super) fn wanted(
    worker: &Worker,
    arrival: &Arrival,
    aim: &Aim,
    order: &Order,
) -> Result<Option<Arc<Onward>>, Fault> {
    let mut said = arrival.head.headers.get_all(FAILOVER).iter();
    let Some(said) = said.next() else { return Ok(None) };
    if said.as_bytes() != b"mid-stream" {
        return Err(Fault::new(ErrorCode::BadHeaders, "x-tollgate-failover takes `mid-stream`, once"));
    }
    let route = arrival.view.policy.models.get(order.route);
    let why = match refuses(arrival.way.api, aim.asked.body()) {
        Some(why) => Some(why),
        None if route.is_some_and(|route| route.judge.is_some()) => Some("the model has a judge, who answers alone"),
        None if !aim::all_speak(worker, arrival, order) => Some("a target of the model speaks another dialect"),
        None => None,
    };
    match why {
        Some(why) => Err(Fault::new(ErrorCode::NotGoneOn, why)),
        // Of a whole answer nothing goes to the client before all of it is there.
        None => Ok(aim.asked.stream.then(|| {
            let asked = Arc::clone(&aim.asked);
            Arc::new(Onward { asked, wreck: Arc::default(), at: Mutex::default() })
        })),
    }
}

/// The answer, which goes on if it breaks off.
pub(super) fn follow(
    worker: &Arc<Worker>,
    arrival: &Arrival,
    onward: Arc<Onward>,
    response: Response<Body>,
) -> Response<Body> {
    let kind = response.headers().get(header::CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
    if !response.status().is_success() || Framing::of(kind) != Framing::Events {
        return response;
    }
    let (head, body) = response.into_parts();
    // Nothing is kept that several have made.
    let arrival = Arrival { cache: Looked::Passed, ..arrival.clone() };
    let call = Box::new(Call { worker: Arc::clone(worker), arrival, onward });
    let (state, cutter) = (State::Relaying(body), cutter());
    let (splice, failure) = (Splice::default(), None);
    let following = Following { state, cutter, splice, failure, out: VecDeque::new(), call };
    Response::from_parts(head, Body::new(following))
}

/// What goes on.
struct Call {
    worker: Arc<Worker>,
    arrival: Arrival,
    onward: Arc<Onward>,
}

struct Following {
    state: State,
    /// Cuts the answer into frames.
    cutter: Meter,
    splice: Splice,
    /// The event by which the answer says that it has failed.
    failure: Option<Bytes>,
    out: VecDeque<Bytes>,
    call: Box<Call>,
}

/// Another answer, if there is one.
type Next = Pin<Box<dyn Future<Output = Option<Response<Body>>> + Send>>;

enum State {
    Relaying(Body),
    /// It broke off, and somebody is looked for who goes on; if nobody does, it breaks off for the client, or just ends.
    Seeking(Next, Option<axum::Error>),
    Breaking(axum::Error),
    Done,
}

fn cutter() -> Meter {
    let (api, framing) = (Api::AnthropicMessages, Framing::Events);
    let mut meter = Meter::new(Answer { api, status: 200, framing, strip_usage: false });
    meter.by_frame();
    meter
}

impl Call {
    /// Whether another attempt may follow the one that is under way.
    fn may_go_on(&self) -> bool {
        let under_way = self.onward.at.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.as_ref().is_some_and(|(_, at)| {
            let route = self.arrival.view.policy.models.get(at.order.route);
            route.is_some_and(|route| at.may_go_on(&route.retry))
        })
    }

    /// What comes after an answer that broke off when it had said this, if it was left to be gone on with; and whether it just ended.
    fn next(&self, begun: Option<&str>) -> Option<(Next, bool)> {
        let (flow, why) = self.onward.wreck.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let under_way = self.onward.at.lock().unwrap_or_else(PoisonError::into_inner).take();
        let asked = under_way.zip(begun).and_then(|((aim, at), begun)| {
            let asked = &self.onward.asked;
            let body = if begun.is_empty() { asked.body().clone() } else { asked.with_message("assistant", begun)? };
            Some((aim, at, body))
        });
        Some((self.seek(flow, why, asked), why == Broken::Ended))
    }

    /// Asks whoever is next, if there is something to be asked. Where nobody goes on the end of the call is written down first.
    fn seek(&self, mut flow: Box<Flow>, why: Broken, asked: Option<(Aim, Progress, Bytes)>) -> Next {
        let (worker, arrival) = (Arc::clone(&self.worker), self.arrival.clone());
        Box::pin(async move {
            let Some((aim, at, body)) = asked else {
                if let Some(ticket) = flow.attempt().conclude() {
                    let _ = ticket.await;
                }
                return None;
            };
            let failed = Failed::broke(Some(flow), why, &aim.upstream);
            let came = match aim::asking(&worker, &arrival, aim, body).await {
                Ok(aim) => tries::further(&worker, &arrival, (aim, at), failed).await,
                Err(_) => Ok(Came::Failed(failed)),
            };
            match came {
                Ok(Came::Answered(response)) => Some(response).filter(|response| response.status().is_success()),
                Ok(Came::Failed(mut failed)) => {
                    if let Some(ticket) = failed.attempt().and_then(Attempt::conclude) {
                        // Whether or not it could be written now, the stream is over; the record stays in the buffer.
                        let _ = ticket.await;
                    }
                    None
                }
                Ok(Came::Refused(_)) | Err(_) => None,
            }
        })
    }
}

impl Following {
    /// Gives the frames that have come whole.
    fn take(&mut self) {
        while let Some(frame) = self.cutter.pop() {
            if frame.bytes.starts_with(b":") {
                self.out.push_back(frame.bytes);
                continue;
            }
            let data = data_of(&frame.bytes);
            let data = String::from_utf8_lossy(&data);
            // What follows an error makes it one that ended nothing.
            self.fail();
            if is_error(&data) && self.call.may_go_on() {
                self.failure = Some(frame.bytes.clone());
                continue;
            }
            self.out.extend(self.splice.take(frame.bytes.clone(), &data));
        }
    }

    /// Tells the client of the error that was held back, if there is one.
    fn fail(&mut self) {
        self.out.extend(self.failure.take());
    }

    /// Nobody goes on.
    fn end(&mut self, error: Option<axum::Error>) {
        if error.is_none() {
            self.cutter.close();
            self.take();
        }
        self.fail();
        self.state = error.map_or(State::Done, State::Breaking);
    }

    /// Another answer goes on; the client is told whose, between two frames.
    fn go_on(&mut self, response: Response<Body>) {
        if let Some(Ok(who)) = response.headers().get(SERVED_BY).map(|who| who.to_str()) {
            self.out.push_back(Bytes::from(format!(": tollgate: {who} goes on\n\n")));
        }
        self.splice.go_on();
        // With it goes the frame that did not come whole, and the error.
        (self.cutter, self.failure) = (cutter(), None);
        self.state = State::Relaying(response.into_body());
    }

    /// What came of the body that is relayed.
    fn came(&mut self, frame: Option<Result<Frame<Bytes>, axum::Error>>) {
        match frame {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    self.cutter.push(data);
                }
            }
            Some(Err(error)) => match self.call.next(self.splice.begun()) {
                Some((next, has_ended)) => self.state = State::Seeking(next, (!has_ended).then_some(error)),
                None => self.end(Some(error)),
            },
            None => self.end(None),
        }
        self.take();
    }
}

impl http_body::Body for Following {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        loop {
            if let Some(bytes) = this.out.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            match &mut this.state {
                State::Relaying(body) => {
                    let frame = ready!(Pin::new(body).poll_frame(cx));
                    this.came(frame);
                }
                State::Seeking(next, _) => match ready!(next.as_mut().poll(cx)) {
                    Some(response) => this.go_on(response),
                    None => {
                        if let State::Seeking(_, error) = std::mem::replace(&mut this.state, State::Done) {
                            this.end(error);
                        }
                    }
                },
                State::Breaking(_) => {
                    let State::Breaking(error) = std::mem::replace(&mut this.state, State::Done) else { continue };
                    return Poll::Ready(Some(Err(error)));
                }
                State::Done => return Poll::Ready(None),
            }
        }
    }
}
