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

/// A member of an event, or of the response that is in it.
fn member<'e>(event: &'e Value, name: &str) -> Option<&'e Value> {
    [event, &event["response"]].into_iter().find_map(|object| object.get(name).filter(|value| value.is_object()))
}

/// A stream of 20,000 tokens under a limit of 2,000 is ended in its dialect: these are the types or reasons of its last events.
async fn is_cut(path: &str, more: Value, wanted: &[&str]) {
    let house = House::open(vec![sliced(2_000)]).await;
    let mut body = json!({ "model": "sandbox/20000", "stream": true });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer = house.post(path, body).await;
    assert_eq!((answer.status().as_u16(), answer.headers().get("x-tollgate-capped")), (200, None));
    let events = data(&answer.text().await.unwrap());
    let last: Vec<String> = events[events.len() - wanted.len()..].iter().map(ToString::to_string).collect();
    assert!(last.iter().zip(wanted).all(|(last, wanted)| last.contains(wanted)), "{last:?}");
    let why = events.iter().find_map(|event| member(event, "tollgate")).unwrap();
    assert_eq!((why["code"].as_str(), why["limit"]["name"].as_str()), (Some("TG2001"), Some("sliced")), "{why}");
    let ledger = house.ledger(1).await;
    let settled = &ledger.settled[0];
    assert_eq!(settled.outcome, Outcome::Cut);
    // Of what was relayed an estimate is settled, and told; the client counts by the same words.
    assert_eq!(settled.usage.completeness, Completeness::Estimated(Doubt::Truncated), "{:?}", settled.usage);
    assert_eq!(why["completeness"], "estimated");
    let used = settled.usage.total().unwrap();
    let usage = events.iter().rev().find_map(|event| member(event, "usage")).unwrap();
    let told = |names: [&str; 2]| names.iter().find_map(|name| usage[*name].as_u64());
    assert_eq!(told(["completion_tokens", "output_tokens"]), Some(used.output), "{usage}");
    assert_eq!(told(["prompt_tokens", "input_tokens"]), Some(used.input()), "{usage}");
    let said = |event: &Value| {
        let deltas = [&event["choices"][0]["delta"]["content"], &event["delta"]["text"], &event["delta"]];
        deltas.iter().find_map(|delta| delta.as_str()).map(str::len)
    };
    let text: usize = events.iter().filter_map(said).sum();
    assert!(used.output * 8 > text as u64 && used.output < text as u64, "{used:?} of {text} bytes");
    let (held, posted) = (*ledger.held.last().unwrap(), settled.posted[0]);
    assert_eq!(posted.used, i128::from(used.total()));
    assert!(text as i128 <= held && text > 1_000, "{text} bytes were relayed, {held} is held");
    assert!(held <= 2_000 && ledger.held.is_sorted(), "{:?}", ledger.held);
    assert_eq!(posted.used + posted.provision, held, "what is not known stays held");
}

#[tokio::test]
async fn a_stream_ends_with_the_money_in_the_dialect_of_its_client() {
    let said = json!([{ "role": "user", "content": "hi" }]);
    let asks = json!({ "messages": said, "stream_options": { "include_usage": true } });
    is_cut("/v1/chat/completions", asks, &[r#""finish_reason":"length""#, "completion_tokens", "[DONE]"]).await;
    let asks = json!({ "messages": said, "max_tokens": 20_000 });
    is_cut("/v1/messages", asks, &[r#""stop_reason":"max_tokens""#, "message_stop"]).await;
    let ends = [
        "response.output_text.done",
        "response.content_part.done",
        r#""status":"incomplete""#,
        r#""incomplete_details":{"reason":"max_output_tokens"}"#,
    ];
    is_cut("/v1/responses", json!({ "input": "hi" }), &ends).await;
}

/// A message of an event stream as Bedrock sends it.
fn message(kind: &str, payload: &Value) -> Vec<u8> {
    let headers = [(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")];
    eventstream::write(&headers, payload.to_string().as_bytes())
}

/// The payloads of an event stream.
fn payloads(mut bytes: &[u8]) -> Vec<Value> {
    let mut all = Vec::new();
    while let Some(length) = bytes.first_chunk::<4>() {
        let (one, rest) = bytes.split_at(u32::from_be_bytes(*length) as usize);
        all.push(serde_json::from_slice(eventstream::read(one).unwrap().payload).unwrap());
        bytes = rest;
    }
    all
}

/// A stream that never ends by itself is ended where 2,000 tokens are relayed, each a byte, and its provider is left.
async fn is_left(told: Told, path: &str, body: Value, read: fn(&[u8]) -> Vec<Value>, wanted: &[&str]) {
    let was_left = Arc::clone(&told.was_left);
    let house = House::told(vec![sliced(2_000)], told.start(sandbox())).await;
    let answer = house.post(path, body).await;
    assert_eq!(answer.status().as_u16(), 200, "{path}");
    let events = read(&answer.bytes().await.unwrap());
    let last: Vec<String> = events[events.len() - wanted.len()..].iter().map(ToString::to_string).collect();
    assert!(last.iter().zip(wanted).all(|(last, wanted)| last.contains(wanted)), "{last:?}");
    eventually("the provider was left", || was_left.load(Ordering::Relaxed)).await;
    let (settled, ledger) = (house.ledger(1).await.settled.remove(0), house.ledger(1).await);
    assert_eq!((settled.outcome, ledger.overrun), (Outcome::Cut, 0));
    assert_eq!(settled.usage.completeness, Completeness::Estimated(Doubt::Truncated), "{:?}", settled.usage);
    let said = |event: &Value| {
        let texts = [&event["delta"]["text"], &event["delta"]["message"]["content"]["text"]];
        texts.iter().find_map(|text| text.as_str()).map(str::len)
    };
    let (text, posted) = (events.iter().filter_map(said).sum::<usize>(), settled.posted[0]);
    assert!(text > 1_000 && text <= 2_000 && posted.used > 100, "{text} bytes, {posted:?}");
    assert_eq!(posted.used + posted.provision, *ledger.held.last().unwrap(), "what is not known stays held");
    assert!(posted.provision > 0 && posted.used + posted.provision <= 2_000, "{posted:?}");
}

fn told_by_bedrock() -> Told {
    let delta = json!({ "contentBlockIndex": 0, "delta": { "text": "one more. " }, "p": "abcdefgh" });
    let opening = message("messageStart", &json!({ "role": "assistant" }));
    Told::new(Dialect::Bedrock, &opening, &message("contentBlockDelta", &delta))
}

fn told_by_cohere() -> Told {
    let opening = r#"{"id":"i","type":"message-start","delta":{"message":{"role":"assistant"}}}"#;
    let start = r#"{"type":"content-start","index":0,"delta":{"message":{"content":{"type":"text","text":""}}}}"#;
    let delta = r#"{"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"one more. "}}}}"#;
    let opening = format!("data: {opening}\n\ndata: {start}\n\n");
    Told::new(Dialect::Cohere, opening.as_bytes(), format!("data: {delta}\n\n").as_bytes())
}

#[tokio::test]
async fn streams_of_bedrock_and_cohere_end_with_the_money_as_well() {
    let body = json!({ "messages": [{ "role": "user", "content": [{ "text": "hi" }] }] });
    let wanted = ["contentBlockIndex", r#""code":"TG2001""#, "outputTokens"];
    is_left(told_by_bedrock(), "/model/told/converse-stream", body, payloads, &wanted).await;
    let body = json!({ "model": "told", "stream": true, "messages": [{ "role": "user", "content": "hi" }] });
    let read = |bytes: &[u8]| data(std::str::from_utf8(bytes).unwrap());
    let wanted = ["content-end", r#""code":"TG2001""#, "[DONE]"];
    is_left(told_by_cohere(), "/v2/chat", body, read, &wanted).await;
}

/// What an official client makes of a stream that a limit ends.
async fn is_read(told: Told, provider: &str) {
    let house = House::told(vec![sliced(2_000)], told.start(sandbox())).await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/sdk/cut.py");
    let base = format!("http://{}", house.address);
    let read = std::process::Command::new(sdk::python()).args([script, &base, provider]).output().unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
}

#[tokio::test]
async fn the_official_clients_of_amazon_and_cohere_read_a_stream_that_is_cut() {
    is_read(told_by_bedrock(), "bedrock").await;
    is_read(told_by_cohere(), "cohere").await;
}

/// One that cannot be looked into is not let begin with a slice: all that it can be is held for at once.
#[tokio::test]
async fn a_stream_that_cannot_be_cut_is_held_whole_up_front() {
    let told = Told::new(Dialect::Bedrock, &[], &message("chunk", &json!({ "bytes": "e30=" }))).times(3);
    let house = House::told(vec![sliced(2_000)], told.start(sandbox())).await;
    let body = json!({ "inputText": "hi", "textGenerationConfig": { "maxTokenCount": 1_900 } });
    let answer = house.post("/model/told/invoke-with-response-stream", body).await;
    let status = answer.status().as_u16();
    assert!(status == 429, "{}", answer.text().await.unwrap());
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

/// A client that goes away does not buy what it could not have bought by staying: where only a slice is held, nobody asks for the rest.
#[tokio::test]
async fn a_stream_of_which_a_slice_is_held_ends_when_its_client_leaves() {
    let house = House::open(vec![sliced(2_000)]).await;
    let mut answer = house.chat("sandbox/20000", json!({ "stream": true })).await;
    let mut came = String::new();
    while !came.contains("gate ") {
        came.push_str(std::str::from_utf8(&answer.chunk().await.unwrap().unwrap()).unwrap());
    }
    drop(answer);
    let ledger = house.ledger(1).await;
    let (settled, posted) = (&ledger.settled[0], ledger.settled[0].posted[0]);
    assert_eq!((settled.outcome, ledger.overrun), (Outcome::ClientGone, 0));
    // What it was given is known, and not called nothing.
    assert_eq!(settled.usage.completeness, Completeness::Estimated(Doubt::ClientLeft), "{:?}", settled.usage);
    let used = settled.usage.total().unwrap();
    assert!(used.output > 0 && used.input() > 0 && posted.used == i128::from(used.total()), "{settled:?}");
    assert!(posted.used + posted.provision <= 2_000 && posted.provision > 0, "{posted:?}");
}

/// A provider that breaks off has been asked, and has answered so much: that is settled, and what more it may bill stays held.
#[tokio::test]
async fn of_an_answer_that_breaks_off_what_was_relayed_is_settled_and_the_rest_held() {
    let chunk = r#"data: {"id":"c","model":"told","choices":[{"index":0,"delta":{"content":"one more. "}}]}"#;
    let hundred = "one more. ".repeat(100);
    let body = json!({ "model": "told", "stream": true, "messages": [{ "role": "user", "content": "hi" }] });
    for (limit, frames, held) in [
        (sliced(2_000), 100, None::<u64>),
        (limit("whole", Unit::Tokens, 2_000), 100, Some(1_900)),
        // Where nothing was said nothing is known.
        (limit("whole", Unit::Tokens, 2_000), 0, Some(1_900)),
    ] {
        let told = Told::new(Dialect::OpenAi, b": hello\n\n", format!("{chunk}\n\n").as_bytes()).times(frames);
        let house = House::told(vec![limit], told.start(sandbox())).await;
        let mut body = body.clone();
        body["max_tokens"] = held.map_or(Value::Null, Value::from);
        let mut answer = house.post("/v1/chat/completions", body).await;
        let mut came = Vec::new();
        while let Ok(Some(bytes)) = answer.chunk().await {
            came.extend(bytes);
        }
        let text = data(std::str::from_utf8(&came).unwrap());
        let text: String = text.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect();
        assert_eq!(text, hundred[..frames * 10], "what has come is relayed");
        let ledger = house.ledger(1).await;
        let (settled, posted) = (&ledger.settled[0], ledger.settled[0].posted[0]);
        assert_eq!((settled.outcome, ledger.overrun), (Outcome::ProviderError, 0));
        assert!(posted.provision > 0, "{posted:?}");
        if frames == 0 {
            assert_eq!(settled.usage.completeness, Completeness::Missing(Doubt::Truncated));
            assert_eq!(posted.used, 0);
            continue;
        }
        assert_eq!(settled.usage.completeness, Completeness::Estimated(Doubt::Truncated), "{:?}", settled.usage);
        let used = settled.usage.total().unwrap();
        // Three tokens are repeated a hundred times.
        assert!((300..=400).contains(&used.output) && used.input() > 0, "{used:?}");
        assert_eq!(posted.used, i128::from(used.total()));
        match held {
            Some(held) => assert!(posted.used + posted.provision >= i128::from(held), "{posted:?}"),
            None => assert_eq!(posted.used + posted.provision, *ledger.held.last().unwrap()),
        }
    }
}

/// What a limit lets go on is held no more, so what was relayed of it counts in full, whatever its provider had reported before.
#[tokio::test]
async fn an_answer_that_may_finish_and_breaks_off_is_settled_for_all_that_was_relayed() {
    let chunk = r#"data: {"id":"c","model":"told","choices":[{"index":0,"delta":{"content":"one more. "}}]}"#;
    let start = r#"{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","model":"told","content":[],"stop_reason":null,"usage":{"input_tokens":9,"output_tokens":1}}}"#;
    let opened = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
    let delta = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"one more. "}}"#;
    let opening = format!("event: message_start\ndata: {start}\n\nevent: content_block_start\ndata: {opened}\n\n");
    let delta = format!("event: content_block_delta\ndata: {delta}\n\n");
    let openai = Told::new(Dialect::OpenAi, b": hello\n\n", format!("{chunk}\n\n").as_bytes());
    let anthropic = Told::new(Dialect::Anthropic, opening.as_bytes(), delta.as_bytes());
    // Slices were held for some five hundred. What an answer of OpenAI comes to is counted, three tokens a frame, and of another's
    // vocabulary four bytes are taken for one.
    for (told, path, output) in [(openai, "/v1/chat/completions", 900..=1_200), (anthropic, "/v1/messages", 740..=900)]
    {
        let finishing = Limit { on_exceed: OnExceed::Finish, ..sliced(600) };
        let house = House::told(vec![finishing], told.times(300).start(sandbox())).await;
        let body = json!({ "model": "told", "stream": true, "max_tokens": 10_000,
            "messages": [{ "role": "user", "content": "hi" }] });
        let mut answer = house.post(path, body).await;
        assert_eq!(answer.status().as_u16(), 200, "{path}");
        while let Ok(Some(_)) = answer.chunk().await {}
        let ledger = house.ledger(1).await;
        let (used, posted) = (ledger.settled[0].usage.total().unwrap(), ledger.settled[0].posted[0]);
        assert_eq!(ledger.settled[0].usage.completeness, Completeness::Estimated(Doubt::Truncated), "{path}");
        assert!(output.contains(&used.output), "{path}: {used:?}");
        assert_eq!((posted.used, posted.used > 600), (i128::from(used.total()), true), "{path}");
        assert!(ledger.overrun > 600, "{path}: {}", ledger.overrun);
    }
}

/// A provider that gives the whole answer to who asked for a stream has used it: it is relayed, and counts in full.
#[tokio::test]
async fn what_cannot_be_cut_is_held_for_whole_or_relayed_and_counted() {
    let whole = br#"{"id":"c","object":"chat.completion","model":"told","choices":[{"index":0,"message":{"role":"assistant","content":"said"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":120,"total_tokens":129}}"#;
    let body = json!({ "model": "told", "stream": true, "max_tokens": 5_000,
        "messages": [{ "role": "user", "content": "hi" }] });
    for (amount, passed) in [(100, 129), (10_000, 0)] {
        let told = Told::new(Dialect::OpenAi, whole, b"").in_json();
        let house = House::told(vec![sliced(amount)], told.start(sandbox())).await;
        let answer = house.post("/v1/chat/completions", body.clone()).await;
        assert_eq!(answer.status().as_u16(), 200, "{amount}");
        assert_eq!(answer.bytes().await.unwrap(), whole[..], "{amount}");
        let ledger = house.ledger(1).await;
        let settled = &ledger.settled[0];
        assert_eq!((settled.outcome, &settled.usage.completeness), (Outcome::Complete, &Completeness::Exact));
        assert_eq!((settled.posted[0].used, settled.posted[0].provision, ledger.overrun), (129, 0, passed));
    }
    // One array of Gemini's has no end but its own.
    let contents = json!({ "contents": [{ "role": "user", "parts": [{ "text": "hi" }] }],
        "generationConfig": { "maxOutputTokens": 5_000 } });
    for (query, status) in [("", 429), ("?alt=sse", 200)] {
        let told = Told::new(Dialect::Gemini, b": hello\n\n", b"").times(0);
        let house = House::told(vec![sliced(100)], told.start(sandbox())).await;
        let path = format!("/v1beta/models/told:streamGenerateContent{query}");
        assert_eq!(house.post(&path, contents.clone()).await.status().as_u16(), status, "{path}");
    }
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
async fn what_a_limit_refuses_is_made_with_the_model_that_it_names() {
    let only = |name: &str, model: &str, on_exceed| Limit {
        scope: vec![(Dimension::Model, Match::Is(model.into()))],
        on_exceed,
        ..limit(name, Unit::Requests, 1)
    };
    let large = only("large", "sandbox/30", OnExceed::Downgrade("sandbox/3".into()));
    let house = House::open(vec![large, only("small", "sandbox/3", OnExceed::Refuse)]).await;
    let header = |answer: &reqwest::Response, name: &str| {
        answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
    };
    for (status, tokens, instead) in [(200, Some(30), None), (200, Some(3), Some("sandbox/3")), (429, None, None)] {
        let answer = house.chat("sandbox/30", json!({})).await;
        assert_eq!(answer.status().as_u16(), status);
        assert_eq!(header(&answer, "x-tollgate-downgraded").as_deref(), instead);
        assert_eq!(header(&answer, "x-tollgate-downgraded-by").as_deref(), instead.map(|_| "large"));
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["usage"]["completion_tokens"].as_u64(), tokens, "{body}");
        let limit = body["error"]["limit"]["name"].as_str();
        assert_eq!(limit, (status == 429).then_some("small"), "the client is told of the limit of the other model");
    }
    let ledger = house.ledger(2).await;
    let models: Vec<_> =
        ledger.settled.iter().map(|settled| (&*settled.attempt.model, &*settled.attempt.model_requested)).collect();
    assert_eq!(models, [("sandbox/30", "sandbox/30"), ("sandbox/3", "sandbox/30")]);
}

/// The cap that a client states is for the model that it asks for; another one may answer less, and no more than that is held for it.
#[tokio::test]
async fn a_call_that_is_made_with_another_model_is_held_for_what_that_one_can_answer() {
    let of = |name: &str, model: &str, unit, amount| Limit {
        scope: vec![(Dimension::Model, Match::Is(model.into()))],
        ..limit(name, unit, amount)
    };
    let large = of("large", "sandbox/30", Unit::Requests, 1);
    let large = Limit { on_exceed: OnExceed::Downgrade("sandbox/3".into()), ..large };
    let house = House::open(vec![large, of("small", "sandbox/3", Unit::OutputTokens, 3)]).await;
    for (status, tokens, capped) in [(200, Some(20), None), (200, Some(3), Some("3")), (429, None, None)] {
        let answer = house.chat("sandbox/30", json!({ "max_tokens": 20 })).await;
        assert_eq!(answer.status().as_u16(), status);
        let header = answer.headers().get("x-tollgate-capped").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(header.as_deref(), capped);
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["usage"]["completion_tokens"].as_u64(), tokens, "{body}");
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
