//! `POST /v1/events`: usage that passed elsewhere, as CloudEvents over HTTP in binary, structured and batch mode.
//!
//! All events of a request are taken or none. What is taken is in the journal when it is answered, and has its effect once, however
//! often and to whichever gateway it is sent: so whoever has no answer sends the same again. It is never refused because a limit is
//! reached; what a hard limit in dollars could not count, for want of a price, is not taken and stays with who told it. What amendments
//! amend is looked up in the ledger first, for all of a request at once.

use std::{collections::BTreeMap, sync::Arc};

use axum::body::Body;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body::Body as _;
use schemas::{
    error_code::ErrorCode,
    event::{Event, Learned},
    id::CallId,
    json::Value,
    policy::Policy,
    standing::Key,
    time::{Time, now},
};
use serde_json::json;

use crate::{
    authenticate::{authenticate, unescaped},
    body,
    error::{Fault, json_of, told},
    external::{Amended, Corrector, Envelope, External, Scene, Wrong, is_counted},
    lookup::Found,
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
    told((dialect, call), StatusCode::ACCEPTED, run(worker, request).await.map(|answer| (call, answer)))
}

async fn run(worker: &Arc<Worker>, request: Request<Body>) -> Result<serde_json::Value, Fault> {
    let (head, body) = request.into_parts();
    let view = worker.view()?;
    let caller = authenticate(&head.headers, head.uri.query(), worker.register(&view), now())?;
    mode(&head.headers)?;
    let too_large = || Fault::new(ErrorCode::BodyTooLarge, format!("events have at most {BYTES_MAX} bytes a request"));
    if body.size_hint().lower() > BYTES_MAX as u64 {
        return Err(too_large());
    }
    let (bytes, taken) = body::read(&worker.shared, &head.headers, body).await?;
    if bytes.len() > BYTES_MAX {
        return Err(too_large());
    }
    let events = events(&view.policy, &head.headers, &bytes, now())?;
    let amended = events.iter().filter_map(External::amends).collect();
    let found = worker.shared.ledger.look_up(caller.lane, amended).await?;
    let told = learn(worker, &view, &caller, events, &found)?;
    let answer: Vec<&serde_json::Value> = told.iter().map(|(receipt, _)| receipt).collect();
    let answer = json!({ "accepted": answer.len(), "events": answer });
    let mut last = None;
    for learned in told.into_iter().filter_map(|(_, learned)| learned) {
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
    Ok(answer)
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

/// The events of a request at a time.
pub(crate) fn events(policy: &Policy, headers: &HeaderMap, bytes: &[u8], now: Time) -> Result<Vec<External>, Fault> {
    let mode = mode(headers)?;
    let tree = json_of(bytes)?;
    let read = |envelope: Result<Envelope<'_>, Wrong>| envelope.and_then(|envelope| envelope.read(policy, now));
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

/// What is wrong with one of the events.
fn at(place: usize, (code, what): Wrong) -> Fault {
    Fault::new(code, format!("event {place}: {what}"))
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

/// What is told of each event, and what the books learn of it, if that is anything new.
type Told = (serde_json::Value, Option<Learned>);

/// What the books learn of events; `found` is what the ledger says of attempts that they amend.
fn learn(
    worker: &Worker,
    view: &PolicyView,
    caller: &Caller,
    events: Vec<External>,
    found: &Found,
) -> Result<Vec<Told>, Fault> {
    if worker.is_full() || worker.is_behind() {
        return Err(Fault::new(ErrorCode::JournalFull, "events cannot be written down now; try again"));
    }
    let limits = &worker.shared.limits;
    let scene = Scene { subject: &caller.subject, book: &view.book, gateway: &worker.shared.gateway };
    let corrector = Corrector { subject: &caller.subject, corrects: caller.corrects, books: &view.books };
    let (mut told, mut amended) = (Vec::with_capacity(events.len()), BTreeMap::<Key, External>::new());
    for (event, place) in events.into_iter().zip(1..) {
        let Some(key) = event.amends() else {
            let learned = event.learn(scene, limits);
            told.push((receipt(&learned.source, &learned.id, learned.is.attempt.call), Some(learned)));
            continue;
        };
        let receipt = receipt(event.source(), event.id(), key.0);
        if let Some(first) = amended.get(&key) {
            if !event.is_again(first) {
                return Err(at(place, (ErrorCode::BadEvent, "a batch amends an attempt once".into())));
            }
            told.push((receipt, None));
            continue;
        }
        let standing = found.standings.all.get(&key).and_then(Option::as_ref);
        amended.insert(key, event.clone());
        match event.amend(corrector, standing, found.begins, limits).map_err(|wrong| at(place, wrong))? {
            Amended::Now(learned) => told.push((receipt, Some(*learned))),
            Amended::Before => told.push((receipt, None)),
        }
    }
    can_be_taken(worker, view, &told)?;
    Ok(told)
}

/// Whether all that is new can be remembered and counted, and contradicts nothing.
fn can_be_taken(worker: &Worker, view: &PolicyView, told: &[Told]) -> Result<(), Fault> {
    let limits = &worker.shared.limits;
    let mut said = BTreeMap::new();
    for ((_, learned), place) in told.iter().zip(1..) {
        let Some(learned) = learned else { continue };
        // The same twice in a batch is one event; other bytes by one id are not.
        let before = learned.claims().next().and_then(|claim| said.insert(claim, learned.content));
        if limits.contradicts(learned) || before.is_some_and(|before| before != learned.content) {
            let what = "its `source` and `id` are those of one that says something else, which stands";
            return Err(at(place, (ErrorCode::EventDiffers, what.into())).never());
        }
        let book = view.books.get(learned.is.attempt.book).unwrap_or_else(|| Arc::clone(&view.book));
        is_counted(learned, &book, limits).map_err(|wrong| at(place, wrong))?;
    }
    let lanes = told.iter().filter_map(|(_, learned)| learned.as_ref());
    if lanes.flat_map(|learned| learned.lanes(worker.shared.lanes)).any(|lane| limits.remembers_enough(lane)) {
        let what = "as many events are remembered as can be; send more in one, or lower `metering.dedup_days`";
        return Err(Fault::new(ErrorCode::TooBusy, what));
    }
    Ok(())
}

fn receipt(source: &str, id: &str, call: CallId) -> serde_json::Value {
    json!({ "source": source, "id": id, "call_id": call.to_string() })
}
