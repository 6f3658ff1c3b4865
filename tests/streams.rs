//! Streams against limits, by a real gateway, its journal, metering and the sandbox provider, over HTTP.
//!
//! Each test sends calls, reads what the client gets, and then what the ledger says of them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use bytes::Bytes;
use gateway::{
    Drained, Gateway, GatewayDeps,
    limits::Limits,
    meter::eventstream,
    obey::{Obey, View},
};
use journal::{Disk, Road};
use metering::Metering;
use schemas::{
    config::{
        Cors, Dialect, MeteringConfig, ModelRoute, More, Provider, Secret, Server, Target, Timeouts, TokenEvents,
        UsageInStream,
    },
    event::{Outcome, Settled},
    id::Offset,
    ledger::Fact,
    limit::{Dimension, Limit, Match, Mode, OnExceed, OnUnbounded, Unit, Window},
    policy::{ApiKey, Digest, Policy, Record, Tenant},
    price::Book,
    tokens::{Completeness, Doubt},
    topics::Topic,
    wire,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

#[path = "streams/broken.rs"]
mod broken;
#[path = "streams/cut.rs"]
mod cut;
#[path = "streams/instead.rs"]
mod instead;
#[path = "support/sdk.rs"]
mod sdk;
#[path = "support/told.rs"]
mod told;

use told::Told;

/// A gateway, metering, and the log between them.
struct House {
    address: SocketAddr,
    http: reqwest::Client,
    road: Arc<Disk>,
    stop: Arc<AtomicBool>,
    shutdown: CancellationToken,
    gateway: Option<JoinHandle<Drained>>,
    threads: Vec<JoinHandle<()>>,
    _dir: tempfile::TempDir,
}

fn limit(name: &str, unit: Unit, amount: i128) -> Limit {
    Limit {
        name: name.into(),
        scope: vec![(Dimension::Tenant, Match::Is("acme".into()))],
        unit,
        amount,
        window: Window::Total,
        zone: "UTC".into(),
        mode: Mode::Hard,
        unbounded: OnUnbounded::Hold,
        values: Vec::new(),
        max_instances: None,
        on_exceed: OnExceed::Refuse,
        slices: false,
        alerts: Vec::new(),
        backfill: false,
    }
}

fn sliced(amount: i128) -> Limit {
    Limit { slices: true, ..limit("sliced", Unit::Tokens, amount) }
}

fn policy(limits: Vec<Limit>, book: &Book) -> Policy {
    let route = |name: &str, provider: &str| ModelRoute {
        name: name.into(),
        targets: vec![Target::new(provider.into(), None)],
        ..ModelRoute::default()
    };
    let key = ApiKey { name: "ci".into(), sha256: Digest::of("tg-acme"), ..ApiKey::default() };
    Policy {
        tenants: vec![Tenant { name: "acme".into(), keys: vec![key] }],
        limits,
        models: vec![route("sandbox/*", "sandbox"), route("told", "told")],
        access: Vec::new(),
        proxies: Vec::new(),
        metering: MeteringConfig { token_events: TokenEvents::Every, ..MeteringConfig::default() },
        book: book.hash(),
        beside: std::collections::BTreeMap::new(),
    }
}

fn sandbox() -> Provider {
    Provider {
        name: "sandbox".into(),
        dialect: Dialect::Sandbox,
        base_url: None,
        api_key: Secret::new(""),
        timeouts: Timeouts::default(),
        http2: false,
        max_connections: 100,
        allow_private: false,
        usage_in_stream: UsageInStream::Ask,
        forward: Vec::new(),
        frame_delay: Duration::from_millis(1),
        more: More::default(),
    }
}

impl House {
    async fn open(limits: Vec<Limit>) -> Self {
        Self::with(limits, Book::builtin(), sandbox()).await
    }

    /// The same with another provider beside the sandbox, whose model `told` shows all of its output.
    async fn told(limits: Vec<Limit>, provider: Provider) -> Self {
        let facts = "models: [ { provider: told, names: [told], context_window: 100000, max_output_tokens: 20000, \
                     all_output_visible: true } ]";
        Self::with(limits, Book::layered(&[Book::parse(facts, "test").unwrap()]), provider).await
    }

    /// The same with another price book, and a provider that may be the sandbox once more.
    async fn with(limits: Vec<Limit>, book: Book, provider: Provider) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let road = Disk::open(dir.path(), &journal::Options::default()).unwrap();
        let policy = policy(limits, &book);
        let records = [Record::Book(Box::new(book)), Record::Policy(Box::new(policy))];
        road.publish(&records.iter().map(|record| wire::encode_policy(record).into()).collect::<Vec<Bytes>>()).unwrap();
        let (journal, view) = (road.journal().unwrap(), Arc::new(View::default()));
        let limits = Limits::new(Arc::clone(&journal), 1);
        let obey = Obey::new(&*road, Arc::clone(&limits), Arc::clone(&view)).unwrap();
        let (ready, low_watermark) = (obey.ready(), obey.low_watermark());
        let deps = GatewayDeps {
            name: "g".into(),
            listen: "127.0.0.1:0".parse().unwrap(),
            tls: None,
            identity: Arc::default(),
            workers: 1,
            server: Server { drain: Duration::from_secs(2), ..Server::default() },
            cors: Cors::default(),
            providers: if provider.name == "sandbox" { vec![provider] } else { vec![sandbox(), provider] },
            surroundings: gateway::Surroundings::default(),
            limits,
            journal,
            road: Some(Arc::clone(&road) as Arc<dyn Road>),
            lanes: 1,
            view,
            low_watermark,
        };
        let metering = Metering::new(Arc::clone(&road) as Arc<dyn Road>);
        let (stop, shutdown) = (Arc::new(AtomicBool::new(false)), CancellationToken::new());
        let (first, second, going) = (Arc::clone(&stop), Arc::clone(&stop), shutdown.clone());
        let (tell, told) = tokio::sync::oneshot::channel();
        let gateway = std::thread::spawn(move || {
            let gateway = Gateway::new(deps).unwrap();
            tell.send(gateway.address()).unwrap();
            gateway.run(&going).unwrap()
        });
        let threads = vec![
            std::thread::spawn(move || metering.run(&first).unwrap()),
            std::thread::spawn(move || obey.run(&second).unwrap()),
        ];
        let address = told.await.unwrap();
        eventually("the policy", || ready.load(Ordering::Relaxed)).await;
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { address, http, road, stop, shutdown, gateway: Some(gateway), threads, _dir: dir }
    }

    async fn post(&self, path: &str, body: Value) -> reqwest::Response {
        let url = format!("http://{}{path}", self.address);
        self.http.post(url).bearer_auth("tg-acme").json(&body).send().await.unwrap()
    }

    async fn chat(&self, model: &str, more: Value) -> reqwest::Response {
        let mut body = json!({ "model": model, "messages": [{ "role": "user", "content": "hi" }] });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.post("/v1/chat/completions", body).await
    }

    /// What the ledger says, once so many attempts are in it.
    async fn ledger(&self, attempts: usize) -> Ledger {
        let mut reader = self.road.reader(Topic::Ledger, &[Offset(0)]).unwrap();
        let mut ledger = Ledger::default();
        eventually("the ledger", || {
            for record in reader.poll(Duration::ZERO).unwrap() {
                match wire::decode_entry(&record.body).unwrap().fact {
                    Fact::Charged(charged) => ledger.settled.push(charged.settled),
                    Fact::Streamed(streamed) => ledger.held.extend(streamed.holds.first().map(|hold| hold.amount)),
                    Fact::Overrun(overrun) => ledger.overrun = ledger.overrun.max(overrun.settled),
                    Fact::Refused(refused) => ledger.refused.push((refused.limit.clone(), refused.observed)),
                    _ => {}
                }
            }
            ledger.settled.len() >= attempts
        })
        .await;
        ledger
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.gateway.take().unwrap().join().unwrap();
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

#[derive(Default)]
struct Ledger {
    settled: Vec<Settled>,
    held: Vec<i128>,
    overrun: i128,
    refused: Vec<(String, bool)>,
}

async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(30), "{what}: not after 30 seconds");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The data of the events of a stream.
fn data(stream: &str) -> Vec<Value> {
    let lines = stream.lines().filter_map(|line| line.strip_prefix("data: "));
    lines.map(|line| serde_json::from_str(line).unwrap_or_else(|_| Value::from(line))).collect()
}

/// A message of an event stream as Bedrock sends it.
fn message(kind: &str, payload: &Value) -> Vec<u8> {
    let headers = [(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")];
    eventstream::write(&headers, payload.to_string().as_bytes())
}

fn told_by_bedrock() -> Told {
    let delta = json!({ "contentBlockIndex": 0, "delta": { "text": "one more. " }, "p": "abcdefgh" });
    let opening = message("messageStart", &json!({ "role": "assistant" }));
    Told::new(Dialect::Bedrock, &opening, &message("contentBlockDelta", &delta))
}

/// Of a model whose tokens are secret each byte counts as one, unless the operator knows that they are longer: then a limit pays for more.
#[tokio::test]
async fn what_a_limit_pays_for_of_a_stream_grows_with_what_is_known_of_its_tokens() {
    let facts = "models: [ { provider: sandbox, names: [\"sandbox/*\"], bytes_per_token: 4 } ]";
    let known = Book::layered(&[Book::parse(facts, "test").unwrap()]);
    let mut relayed = Vec::new();
    for book in [Book::builtin(), known] {
        let house = House::with(vec![sliced(2_000)], book, sandbox()).await;
        let answer = house.chat("sandbox/20000", json!({ "stream": true })).await.text().await.unwrap();
        let events = data(&answer);
        let text = events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str());
        relayed.push(text.map(str::len).sum::<usize>());
        let ledger = house.ledger(1).await;
        assert_eq!((ledger.settled[0].outcome, ledger.overrun), (Outcome::Cut, 0));
        let posted = ledger.settled[0].posted[0];
        assert!(posted.used + posted.provision <= 2_000, "{posted:?}");
    }
    assert!(relayed[0] <= 2_000 && relayed[1] > 3 * relayed[0] && relayed[1] <= 8_000, "{relayed:?}");
}

#[tokio::test]
async fn where_less_than_a_slice_is_left_a_stream_begins_with_that() {
    for (amount, status, last) in [(200, 200, "length"), (20, 429, "insufficient_quota")] {
        let house = House::open(vec![sliced(amount)]).await;
        let answer = house.chat("sandbox/20000", json!({ "stream": true })).await;
        assert_eq!(answer.status().as_u16(), status, "{amount}");
        let answer = answer.text().await.unwrap();
        assert!(answer.contains(last), "{amount}: {answer}");
    }
}

#[tokio::test]
async fn a_stream_that_fits_or_may_finish_comes_whole() {
    let finishing = Limit { on_exceed: OnExceed::Finish, ..sliced(2_000) };
    // All is counted by the byte, so that holds grow far beyond the 300 tokens of the first.
    for (limit, tokens, overrun) in [(sliced(100_000), 300_u64, false), (finishing, 3_000, true)] {
        let house = House::open(vec![limit]).await;
        let more = json!({ "stream": true, "stream_options": { "include_usage": true } });
        let answer = house.chat(&format!("sandbox/{tokens}"), more).await.text().await.unwrap();
        let events = data(&answer);
        let usage = events.iter().find_map(|event| event["usage"]["completion_tokens"].as_u64());
        assert_eq!((usage, events.last()), (Some(tokens), Some(&Value::from("[DONE]"))));
        let note = ": tollgate: limit \"sliced\" is used up, and lets this answer finish\n\n";
        assert_eq!(answer.matches(note).count(), usize::from(overrun), "it is told once, between two frames");
        let settled = &house.ledger(1).await.settled[0];
        assert_eq!((settled.outcome, &settled.usage.completeness), (Outcome::Complete, &Completeness::Exact));
        let ledger = house.ledger(1).await;
        assert_eq!(ledger.overrun > 2_000, overrun, "{}", ledger.overrun);
    }
}

#[tokio::test]
async fn a_call_is_open_until_it_is_over() {
    let house = House::open(vec![limit("at-once", Unit::Concurrent, 1)]).await;
    let mut open = house.chat("sandbox/4000", json!({ "stream": true })).await;
    assert!(open.chunk().await.unwrap().is_some());
    let refused = house.chat("sandbox/1", json!({})).await;
    assert_eq!((refused.status().as_u16(), refused.headers().contains_key("retry-after")), (429, true));
    let body: Value = refused.json().await.unwrap();
    assert_eq!((&body["error"]["type"], &body["error"]["limit"]["held"]), (&json!("rate_limit_exceeded"), &json!(1)));
    drop(open);
    // The drainer reads it to its end, or closes it: either way it is over.
    let started = Instant::now();
    while house.chat("sandbox/1", json!({})).await.status() != 200 {
        assert!(started.elapsed() < Duration::from_secs(90), "it still counts as open");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn what_a_header_asks_for_and_has_no_price_is_not_asked_under_a_limit_in_dollars() {
    let priced = "models: [ { provider: told, names: [told], context_window: 100000, max_output_tokens: 20000, source: a test, \
                  prices: [ { per_million: { input: 1, output: 1 } } ] } ]";
    let book = Book::layered(&[Book::parse(priced, "test").unwrap()]);
    let house =
        House::with(vec![limit("spend", Unit::Usd, 1_000_000_000_000)], book, told_by_bedrock().start(sandbox())).await;
    let body = json!({ "anthropic_version": "v", "max_tokens": 9, "messages": [{ "role": "user", "content": "hi" }] });
    let asked = [
        ("x-custom", "priority", 200),
        ("x-amzn-bedrock-service-tier", "default", 200),
        ("x-amzn-bedrock-service-tier", "priority", 429),
        ("x-amzn-bedrock-performanceconfig-latency", "optimized", 429),
        ("x-amzn-bedrock-guardrailidentifier", "g", 429),
    ];
    for (name, value, status) in asked {
        let call = house.http.post(format!("http://{}/model/told/invoke-with-response-stream", house.address));
        let answer = call.bearer_auth("tg-acme").header(name, value).json(&body).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{name}: {value}");
        if status == 429 {
            let told = answer.text().await.unwrap();
            assert!(told.contains("TG2003"), "{name}: {told}");
        }
    }
}
