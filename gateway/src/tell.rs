//! `POST /v1/events`: usage that passed elsewhere, as CloudEvents over HTTP in binary, structured and batch mode.
//!
//! All events of a request are taken or none. What is taken is in the journal when it is answered, and has its effect once, however
//! often and to whichever gateway it is sent: so whoever has no answer sends the same again. It is never refused for a limit.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::Body as _;
use schemas::{
    error_code::ErrorCode,
    event::{Event, Learned},
    id::CallId,
    json::{Tree, Value},
    time::now,
};
use serde_json::json;

use crate::{
    authenticate::{authenticate, unescaped},
    body,
    error::{Fault, stamp},
    external::{Envelope, External, Scene, Wrong},
    metrics,
    obey::{Caller, PolicyView},
    route,
    worker::Worker,
};

/// The most events of a request, and its most bytes: with some 2 KB of an event's own, in each of the 16 lanes of a log at worst, they
/// are 32 MiB of the journal's buffer.
const EVENTS_MAX: usize = 500;
const BYTES_MAX: usize = 1 << 20;

/// How the events of a request are written.
enum Mode {
    Binary,
    Structured,
    Batch,
}

/// Answers a request.
pub(crate) async fn serve(worker: &Arc<Worker>, request: Request<Body>) -> Response<Body> {
    let call = CallId::fresh();
    let dialect = route::dialect_of_path(request.uri().path(), request.headers());
    match run(worker, request).await {
        Ok(answer) => {
            let mut response = Response::new(Body::from(Bytes::from(answer.to_string())));
            *response.status_mut() = StatusCode::ACCEPTED;
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            stamp(response.headers_mut(), call);
            response
        }
        Err(fault) => {
            metrics::refused(fault.code);
            fault.response(dialect, call)
        }
    }
}

async fn run(worker: &Arc<Worker>, request: Request<Body>) -> Result<serde_json::Value, Fault> {
    let (head, body) = request.into_parts();
    let view = worker.view()?;
    let caller = authenticate(&head.headers, head.uri.query(), worker.register(&view), now())?;
    let mode = mode(&head.headers)?;
    let too_large = || Fault::new(ErrorCode::BodyTooLarge, format!("events have at most {BYTES_MAX} bytes a request"));
    if body.size_hint().lower() > BYTES_MAX as u64 {
        return Err(too_large());
    }
    let (bytes, taken) = body::read(&worker.shared, &head.headers, body).await?;
    if bytes.len() > BYTES_MAX {
        return Err(too_large());
    }
    let events = events(&view, &mode, &head.headers, &bytes)?;
    let learned = learn(worker, &view, &caller, events)?;
    let answer: Vec<serde_json::Value> = learned.iter().map(receipt).collect();
    let mut last = None;
    for learned in learned {
        let lanes = learned.lanes(worker.shared.lanes);
        let event = Event::Learned(Box::new(learned));
        for lane in lanes {
            last = Some(worker.write(lane, &event, None));
        }
    }
    drop(taken);
    if let Some(ticket) = last
        && ticket.await.is_err()
    {
        let what = "the events may not have been written down; send the same again, each counts once";
        return Err(Fault::new(ErrorCode::JournalFull, what));
    }
    Ok(json!({ "accepted": answer.len(), "events": answer }))
}

fn mode(headers: &HeaderMap) -> Result<Mode, Fault> {
    let stated = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = stated.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "application/cloudevents+json" => Ok(Mode::Structured),
        "application/cloudevents-batch+json" => Ok(Mode::Batch),
        "application/json" if headers.contains_key("ce-specversion") => Ok(Mode::Binary),
        _ => Err(Fault::new(
            ErrorCode::BadEvent,
            "send application/cloudevents+json, application/cloudevents-batch+json, or application/json with ce-… headers",
        )),
    }
}

fn events(view: &PolicyView, mode: &Mode, headers: &HeaderMap, bytes: &[u8]) -> Result<Vec<External>, Fault> {
    let tree = Tree::read(bytes)
        .map_err(|error| Fault::new(ErrorCode::MalformedJson, format!("{:?} at byte {}", error.why, error.at)))?;
    let now = now();
    let read = |envelope: Result<Envelope<'_>, Wrong>| envelope.and_then(|envelope| envelope.read(&view.policy, now));
    let at = |place: usize, (code, what): Wrong| Fault::new(code, format!("event {place}: {what}"));
    match mode {
        Mode::Binary => read(binary(headers, tree.root())).map(|event| vec![event]).map_err(|wrong| at(1, wrong)),
        Mode::Structured => read(Envelope::of(tree.root())).map(|event| vec![event]).map_err(|wrong| at(1, wrong)),
        Mode::Batch => {
            let items = tree.root().items();
            let items = items.ok_or_else(|| Fault::new(ErrorCode::BadEvent, "a batch is a list of events"))?;
            if items.clone().count() > EVENTS_MAX {
                return Err(Fault::new(ErrorCode::BadEvent, format!("a batch has at most {EVENTS_MAX} events")));
            }
            let events = items.zip(1..).map(|(item, place)| read(Envelope::of(item)).map_err(|wrong| at(place, wrong)));
            events.collect()
        }
    }
}

/// The event of a request whose headers are its attributes.
fn binary<'t>(headers: &HeaderMap, data: Value<'t>) -> Result<Envelope<'t>, Wrong> {
    let attribute = |name: &str| {
        let value = headers.get(name).map(|value| value.to_str().map(|text| unescaped(text).into_owned()));
        value.transpose().map_err(|_| (ErrorCode::BadEvent, format!("`{name}` is not plain text")))
    };
    let text = |name| attribute(name).map(Option::unwrap_or_default);
    Ok(Envelope {
        specversion: text("ce-specversion")?,
        id: text("ce-id")?,
        source: text("ce-source")?,
        kind: text("ce-type")?,
        time: attribute("ce-time")?,
        data: Some(data),
    })
}

/// What the books learn of events.
fn learn(worker: &Worker, view: &PolicyView, caller: &Caller, events: Vec<External>) -> Result<Vec<Learned>, Fault> {
    if worker.is_full() || worker.is_behind() {
        return Err(Fault::new(ErrorCode::JournalFull, "events cannot be written down now; try again"));
    }
    let limits = &worker.shared.limits;
    let scene = Scene { subject: &caller.subject, book: &view.book, gateway: &worker.shared.gateway };
    let learned: Vec<Learned> = events.into_iter().map(|event| event.learn(scene, limits)).collect();
    let lanes = learned.iter().flat_map(|learned| learned.lanes(worker.shared.lanes));
    if lanes.into_iter().any(|lane| limits.remembers_enough(lane)) {
        let what = "as many events are remembered as can be; send more in one, or lower `metering.dedup_days`";
        return Err(Fault::new(ErrorCode::TooBusy, what));
    }
    Ok(learned)
}

fn receipt(learned: &Learned) -> serde_json::Value {
    json!({ "source": learned.source, "id": learned.id, "call_id": learned.is.attempt.call.to_string() })
}
