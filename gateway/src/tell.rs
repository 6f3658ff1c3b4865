//! `POST /v1/events`: usage that passed elsewhere, as CloudEvents over HTTP in binary, structured and batch mode.
//!
//! All events of a request are taken or none. What is taken is in the journal when it is answered, and has its effect once, however
//! often and to whichever gateway it is sent: so whoever has no answer sends the same again. It is never refused because a limit is
//! reached; what a hard limit in dollars could not count, for want of a price, is not taken and stays with who told it. What amendments
//! amend is looked up in the ledger first, for all of a request at once. Of what contradicts each other one is taken here, and the other
//! told so; between gateways metering decides, and `counted` says whether its word is here. Another proxy states what the calls used that
//! it was allowed to make, and nothing else.

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
    subject::Subject,
    time::{Time, now},
};
use serde_json::json;

use crate::{
    authenticate::unescaped,
    body,
    error::{Fault, json_of, told},
    external::{Amended, Corrector, Envelope, External, Scene, Wrong, is_counted},
    limits::{Contradicts, Number},
    lookup::Found,
    obey::{Caller, PolicyView},
    proxy::{Asker, Who},
    route,
    worker::Worker,
};

/// The most events of a request, and its most bytes: with some 2 KB of an event's own they are 2 MiB of the journal's buffer.
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
    let asker = Asker::of(&head.headers, head.uri.query(), (&**worker, &*view), now()).await?;
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
    let caller = caller(&asker, &events, &view)?;
    let amended = events.iter().filter_map(External::amends).collect();
    let found = worker.shared.ledger.look_up(caller.lane, amended).await?;
    let corrector = Corrector {
        subject: &caller.subject,
        of_all: caller.corrects || matches!(asker, Asker::Proxy(_)),
        corrects: caller.corrects,
        books: &view.books,
    };
    let Learning { told, waits } = learn(worker, &view, corrector, events, &found)?;
    let answer: Vec<&serde_json::Value> = told.iter().map(|(receipt, _)| receipt).collect();
    let answer = json!({ "accepted": answer.len(), "events": answer });
    let mut last = None;
    for learned in told.into_iter().filter_map(|(_, learned)| learned) {
        let lane = learned.lane(worker.shared.lanes);
        last = Some(worker.write(lane, &Event::Learned(Box::new(learned)), None));
    }
    drop(taken);
    if let Some(ticket) = last
        && ticket.await.is_err()
    {
        worker.shared.limits.take_back(&waits);
        let what = "the events may not have been written down; send the same again, each counts once";
        return Err(Fault::new(ErrorCode::JournalFull, what));
    }
    Ok(answer)
}

/// Whose events they are.
fn caller(asker: &Asker, events: &[External], view: &PolicyView) -> Result<Caller, Fault> {
    let wrong = |place, what: &str| Err(at(place, (ErrorCode::BadEvent, what.into())));
    let first = events.first().and_then(External::tenant);
    for (event, place) in events.iter().zip(1..) {
        match (asker, event.tenant()) {
            (Asker::Client(_), None) => {}
            (Asker::Client(_), Some(_)) => return wrong(place, "whose it is, the key says: leave out `data.tenant`"),
            (Asker::Proxy(_), _) if event.amends().is_none() => {
                return wrong(
                    place,
                    "a proxy amends calls that it was allowed; what passed elsewhere is told with a key",
                );
            }
            (Asker::Proxy(_), None) => return wrong(place, "a proxy states `data.tenant`: whose call it is"),
            (Asker::Proxy(_), tenant) if tenant != first => return wrong(place, "all of a request are of one tenant"),
            (Asker::Proxy(_), _) => {}
        }
    }
    let stated = first.map(|tenant| Who::Stated(Subject { tenant: tenant.to_owned(), ..Subject::default() }));
    asker.speaks_for(stated.unwrap_or(Who::Asker), Vec::new(), view, now())
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

/// What is told of the events of a request, and what of it waits for metering's word.
struct Learning {
    told: Vec<Told>,
    waits: Vec<Number>,
}

/// What the books learn of events; `found` is what the ledger says of attempts that they amend.
fn learn(
    worker: &Worker,
    view: &PolicyView,
    corrector: Corrector<'_>,
    events: Vec<External>,
    found: &Found,
) -> Result<Learning, Fault> {
    if worker.is_full() || worker.is_behind() {
        return Err(Fault::new(ErrorCode::JournalFull, "events cannot be written down now; try again"));
    }
    let limits = &worker.shared.limits;
    let scene = Scene { subject: corrector.subject, book: &view.book, gateway: &worker.shared.gateway };
    let (mut told, mut amended) = (Vec::with_capacity(events.len()), BTreeMap::<Key, External>::new());
    for (event, place) in events.into_iter().zip(1..) {
        let Some(key) = event.amends() else {
            let learned = event.learn(scene, limits);
            let counted = limits.has_learned(&learned);
            told.push((receipt((&learned.source, &learned.id), learned.is.attempt.call, counted), Some(learned)));
            continue;
        };
        let (said, call) = ((event.source().to_owned(), event.id().to_owned()), key.0);
        let receipt = |counted| receipt((&said.0, &said.1), call, counted);
        if let Some(first) = amended.get(&key) {
            if !event.is_again(first) {
                return Err(at(place, (ErrorCode::BadEvent, "a batch amends an attempt once".into())));
            }
            told.push((receipt(false), None));
            continue;
        }
        let standing = found.standings.all.get(&key).and_then(Option::as_ref);
        amended.insert(key, event.clone());
        match event.amend(corrector, standing, found.begins, limits).map_err(|wrong| at(place, wrong))? {
            Amended::Now(learned) => told.push((receipt(false), Some(*learned))),
            Amended::Before => told.push((receipt(true), None)),
        }
    }
    can_be_taken(worker, view, &told)?;
    let (places, new): (Vec<usize>, Vec<&Learned>) =
        told.iter().zip(1..).filter_map(|((_, learned), place)| Some((place, learned.as_ref()?))).unzip();
    let waits = limits.tell(&new).map_err(|(place, what)| contradicts(places[place], what))?;
    Ok(Learning { told, waits })
}

/// Another stands, or was taken here a moment ago.
fn contradicts(place: usize, what: Contradicts) -> Fault {
    let (code, what) = match what {
        Contradicts::ItsId => {
            (ErrorCode::EventDiffers, "its `source` and `id` are those of one that says something else, which stands")
        }
        Contradicts::ItsPlace => (
            ErrorCode::AmendedOtherwise,
            "another event was taken a moment ago that amends it from the same `was`; once that is in the ledger, begin from what it says",
        ),
    };
    at(place, (code, what.into())).never()
}

/// Whether all that is new can be remembered and counted, and contradicts nothing.
fn can_be_taken(worker: &Worker, view: &PolicyView, told: &[Told]) -> Result<(), Fault> {
    let limits = &worker.shared.limits;
    let mut said = BTreeMap::new();
    for ((_, learned), place) in told.iter().zip(1..) {
        let Some(learned) = learned else { continue };
        // The same twice in a batch is one event; other bytes by one id are not.
        let before = learned.claims().next().and_then(|claim| said.insert(claim, learned.content));
        if before.is_some_and(|before| before != learned.content) {
            return Err(contradicts(place, Contradicts::ItsId));
        }
        let book = view.books.get(learned.is.attempt.book).unwrap_or_else(|| Arc::clone(&view.book));
        is_counted(learned, &book, limits).map_err(|wrong| at(place, wrong))?;
    }
    let lanes = told.iter().filter_map(|(_, learned)| learned.as_ref());
    if lanes.map(|learned| learned.lane(worker.shared.lanes)).any(|lane| limits.remembers_enough(lane)) {
        let what = "as many events are remembered as can be; send more in one, or lower `metering.dedup_days`";
        return Err(Fault::new(ErrorCode::TooBusy, what));
    }
    Ok(())
}

/// What is said of an event that was taken, and whether metering is known to have counted it.
fn receipt((source, id): (&str, &str), call: CallId, counted: bool) -> serde_json::Value {
    json!({ "source": source, "id": id, "call_id": call.to_string(), "counted": counted })
}
