//! The last bytes wait for the journal: shown with a journal buffer that is flushed by hand.

use std::{sync::atomic::Ordering, task::Waker};

use http::{HeaderMap, HeaderValue, StatusCode, header};
use schemas::{
    config::{Cors, Server},
    event::{self, Api, CallEnd, Event},
    fixture,
    id::{CallId, Lane},
    price::Book,
    time::Time,
};
use serde_json::json;

use super::*;
use crate::{
    attempt::Flight,
    drainer::Drainer,
    emit::Emitter,
    limits::{Limits, Outlet, Permit, tests::Paper},
    sandbox,
    sweep::Flights,
    worker::{ByteBudget, Shared, Worker},
};

/// A worker whose events go to `paper` when it is flushed.
struct Bench {
    worker: Arc<Worker>,
    paper: Arc<Paper>,
    _dir: tempfile::TempDir,
}

fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let journal = journal::Journal::open(dir.path(), &journal::Options::default()).unwrap();
    let paper = Arc::new(Paper::default());
    let shared = Arc::new(Shared {
        gateway: "g".into(),
        lanes: 1,
        server: Server::default(),
        cors: Cors::default(),
        limits: Limits::over(journal.producer(), Arc::clone(&paper) as Arc<dyn Outlet>, 1),
        view: Arc::default(),
        journal,
        body_bytes: ByteBudget::new(1 << 20),
        cache: Arc::new(crate::cache::Cache::new(1 << 20)),
        drain_slots: Arc::new(tokio::sync::Semaphore::new(1)),
        connection_slots: Arc::new(tokio::sync::Semaphore::new(1)),
        connections: 0.into(),
        tls: None,
        identity: Arc::default(),
        checks: crate::proxy::Checks::default(),
        ledger: crate::lookup::Ledger::new(None),
        earlier: crate::proxy::Earlier::default(),
        makers: crate::makers::Makers::default(),
        since: schemas::time::Time::ZERO,
    });
    let flights = Arc::new(Flights::new());
    let closing = Arc::clone(&flights);
    let emitter = Emitter::new(Arc::clone(&shared.limits), Box::new(move |closed| closing.close(closed)));
    let worker = Arc::new(Worker {
        drainer: Drainer::new(
            Arc::clone(&shared.drain_slots),
            tokio::runtime::Handle::current(),
            shared.server.read_on,
        ),
        shared,
        emitter,
        flights,
        refusals: Arc::default(),
        upstreams: schemas::map::Map::default(),
        meters: crate::metrics::Meters::default(),
        view: crate::worker::CachedView::default(),
    });
    Bench { worker, paper, _dir: dir }
}

/// The answer of the sandbox to a chat request, on its way.
fn flow(bench: &Bench, stream: bool) -> Flow {
    let body = json!({ "model": "sandbox/8", "stream": stream, "messages": [{ "role": "user", "content": "hi" }],
        "stream_options": { "include_usage": true } });
    let body = Bytes::from(body.to_string());
    let flight = Flight::open(&bench.worker, Lane(0));
    let facts = event::Attempt {
        provider: "sandbox".into(),
        model: "sandbox/8".into(),
        model_requested: "sandbox/8".into(),
        stream,
        book: Book::builtin().hash(),
        ..fixture::attempt(CallId::fresh(), flight.opened_at)
    };
    let permit = Permit::default();
    let book = Arc::new(Book::builtin());
    let call = CallEnd::begun(Time::ZERO, 0, String::new());
    let attempt = Attempt::new(Arc::clone(&bench.worker), (flight, Lane(0)), facts, permit, book, call);
    let answer = sandbox::answer(Api::OpenAiChat, &body, Duration::ZERO, Time::ZERO);
    let mut headers = HeaderMap::new();
    let kind = if stream { "text/event-stream" } else { "application/json" };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let witness = Witness::new(Api::OpenAiChat, &headers, StatusCode::OK, crate::witness::Reading::default());
    let pace = Pace {
        comment: None,
        token_events: TokenEvents::After(Duration::from_secs(3_600)),
        idle: Duration::MAX,
        first_token: None,
    };
    let parsed = Arc::new(crate::request::parse(Api::OpenAiChat, &body).unwrap().0);
    Flow::new(attempt, AnswerBody::Sandbox(Box::new(answer.body)), (witness, None), End::Complete, pace, (parsed, None))
}

/// All that comes out until it waits or ends; whether it ended.
fn read(flow: &mut Flow) -> (String, Option<Result<(), Broken>>) {
    let mut seen = String::new();
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        match flow.poll_next(&mut cx) {
            Poll::Ready(Some(Ok(bytes))) => seen.push_str(std::str::from_utf8(&bytes).unwrap()),
            Poll::Ready(Some(Err(broken))) => return (seen, Some(Err(broken))),
            Poll::Ready(None) => return (seen, Some(Ok(()))),
            Poll::Pending => return (seen, None),
        }
    }
}

fn settled(bench: &Bench) -> usize {
    bench.paper.written.lock().unwrap().iter().filter(|event| matches!(event, Event::Settled(_))).count()
}

#[tokio::test]
async fn the_last_bytes_are_released_by_the_journal_only() {
    for stream in [true, false] {
        let bench = bench();
        let mut flow = flow(&bench, stream);
        let (before, ended) = read(&mut flow);
        assert_eq!((ended, settled(&bench)), (None, 0));
        assert_eq!(before.is_empty(), !stream, "what cannot be the last is not held back");
        assert!(!before.contains("[DONE]"));
        assert!(!bench.worker.emitter.flush().unwrap());
        assert_eq!((settled(&bench), bench.worker.flights.count()), (1, 0));
        let (after, ended) = read(&mut flow);
        assert_eq!(ended, Some(Ok(())));
        assert!(after.ends_with(if stream { "data: [DONE]\n\n" } else { "}" }), "{after}");
        drop(flow);
        assert!(!bench.worker.emitter.flush().unwrap());
        assert_eq!(settled(&bench), 1, "a flow that is over settles no second time");
    }
}

#[tokio::test]
async fn an_end_that_cannot_be_recorded_is_not_released() {
    for stream in [true, false] {
        let bench = bench();
        bench.paper.full.store(true, Ordering::Relaxed);
        let mut flow = flow(&bench, stream);
        assert_eq!(read(&mut flow).1, None);
        assert!(bench.worker.emitter.flush().is_err());
        assert_eq!(read(&mut flow), (String::new(), None), "what went before has a turn to be written");
        assert_eq!(read(&mut flow), (String::new(), Some(Err(Broken::Unrecorded))));
        // Its record is not lost: it is written when there is room again.
        bench.paper.full.store(false, Ordering::Relaxed);
        assert!(!bench.worker.emitter.flush().unwrap());
        assert_eq!((settled(&bench), bench.worker.flights.count()), (1, 0));
    }
}

#[tokio::test]
async fn a_flow_that_is_dropped_is_settled_as_a_client_that_left() {
    let bench = bench();
    let mut flow = flow(&bench, true);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(flow.poll_next(&mut cx), Poll::Ready(Some(Ok(_)))));
    drop(flow);
    assert!(!bench.worker.emitter.flush().unwrap());
    let written = bench.paper.written.lock().unwrap();
    let [Event::Settled(settled)] = &written[..] else { panic!("{written:?}") };
    assert_eq!(settled.outcome, event::Outcome::ClientGone);
}
