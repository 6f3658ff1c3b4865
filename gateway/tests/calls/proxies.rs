//! Other proxies that ask, over HTTP and as Envoy does: what is in the journal of a check, and what ends it.

use std::{net::SocketAddr, time::Duration};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::HeaderMap;
use http_body_util::{BodyExt as _, Full};
use schemas::{
    config::Server,
    event::{Admitted, Api, Event, Outcome},
    fixture,
    limit::{Limit, Unit, Window},
    tokens::{Completeness, Doubt},
};
use serde_json::{Value, json};

use crate::stage::{KEY, PROXY, Setting, Stage, Written, eventually};

const NOBODY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9);

async fn post(stage: &Stage, path: &str, key: &str, body: &Value) -> (u16, Value) {
    let answer = stage.http.post(stage.url(path)).bearer_auth(key).json(body).send().await.unwrap();
    let status = answer.status().as_u16();
    assert!(answer.headers().contains_key("x-tollgate-call-id"));
    (status, answer.json().await.unwrap())
}

fn code(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["error"]["code"].as_str().unwrap_or_default())
}

fn check(more: Value) -> Value {
    let mut check = json!({ "provider": "openai", "model": "gpt-4o-mini", "most": { "input": 100, "output": 50 } });
    check.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    check
}

#[tokio::test]
async fn a_check_is_an_attempt_and_its_settlement_is_the_end_of_it() {
    let stage = Stage::new(NOBODY).await;
    let asked =
        check(json!({ "subject": { "tenant": "globex", "user": "u" }, "tags": { "env": "prod" }, "call": "r1" }));
    let (status, answer) = post(&stage, "/v1/check", PROXY, &asked).await;
    assert_eq!((status, answer["gateway"].as_str()), (200, Some("g1")), "{answer}");
    let id = answer["call_id"].as_str().unwrap().to_owned();
    assert_eq!(code(&post(&stage, "/v1/check", PROXY, &asked).await), (409, "TG2008"), "a name is good for one call");
    let tokens = json!({ "input": 60, "cache_read": 20, "output": 7, "reasoning": 3 });
    let told = json!({ "call": "r1", "tokens": tokens, "status": 200, "response_id": "c1", "service_tier": "default" });
    // Nobody else settles it, and nobody else knows that it is there.
    for other in [KEY, "tgp-narrow"] {
        assert_eq!(code(&post(&stage, "/v1/settle", other, &told).await), (404, "TG2007"));
        assert_eq!(code(&post(&stage, "/v1/settle", other, &json!({ "call_id": id })).await), (404, "TG2007"));
    }
    for _ in 0..2 {
        let (status, answer) = post(&stage, "/v1/settle", PROXY, &told).await;
        assert_eq!((status, answer["call_id"].as_str()), (200, Some(&*id)), "the same again is answered the same");
    }
    let other = json!({ "call_id": id, "tokens": { "input": 1 } });
    assert_eq!(code(&post(&stage, "/v1/settle", PROXY, &other).await), (409, "TG2008"));
    let unknown = post(&stage, "/v1/settle", PROXY, &json!({ "call": "r2" })).await;
    assert_eq!(code(&unknown), (404, "TG2007"));
    assert!(unknown.1["error"]["message"].as_str().unwrap().contains("`g1`"), "{unknown:?}");
    let (drained, written) = stage.end().await;
    let settled = written.one();
    assert_eq!((settled.outcome, settled.status, settled.attempt.call.to_string()), (Outcome::Complete, 200, id));
    let subject = &settled.attempt.subject;
    assert_eq!((&*subject.tenant, &*subject.user, subject.tag("env")), ("globex", "u", Some("prod")));
    assert_eq!((&*settled.attempt.provider, &*settled.attempt.model), ("openai", "gpt-4o-mini"));
    assert_eq!(settled.usage.completeness, Completeness::Exact);
    assert_eq!(
        settled.usage.total().map(|total| (total.input(), total.cache_read, total.output, total.reasoning)),
        Some((80, 20, 7, 3))
    );
    assert_eq!((drained.cut, &*settled.response_id), (0, "c1"));
    assert!(!format!("{:?}", written.events).contains(PROXY));
}

#[tokio::test]
async fn what_is_not_settled_is_not_known() {
    let mut stage = Stage::new(NOBODY).await;
    let (status, _) = post(&stage, "/v1/check", KEY, &check(json!({ "expires_in": 1 }))).await;
    assert_eq!(status, 200);
    let (status, lost) = post(&stage, "/v1/check", KEY, &check(json!({ "call": "open" }))).await;
    assert_eq!(status, 200);
    let (_, missing) = post(&stage, "/v1/check", KEY, &check(json!({}))).await;
    let told = json!({ "call_id": missing["call_id"], "outcome": "client_gone" });
    assert_eq!(post(&stage, "/v1/settle", KEY, &told).await.0, 200);
    // The deadline is in the journal while the gateway runs.
    let dir = stage.dir.path().to_owned();
    eventually("the deadline passes", || {
        copied(&dir).settled().iter().any(|settled| settled.outcome == Outcome::Timeout)
    })
    .await;
    let (drained, dir) = stage.stop().await;
    assert_eq!(drained.cut, 1);
    let written = Written::read(dir.path());
    let ends: Vec<_> =
        written.settled().iter().map(|settled| (settled.outcome, settled.usage.completeness.clone())).collect();
    assert_eq!(ends.len(), 3);
    for end in [
        (Outcome::Timeout, Completeness::Missing(Doubt::TimedOut)),
        (Outcome::ClientGone, Completeness::Missing(Doubt::ClientLeft)),
        (Outcome::Cut, Completeness::Missing(Doubt::Truncated)),
    ] {
        assert!(ends.contains(&end), "{ends:?}");
    }
    let cut = written.settled().into_iter().find(|settled| settled.outcome == Outcome::Cut).unwrap();
    assert_eq!(cut.attempt.call.to_string(), lost["call_id"].as_str().unwrap());
}

#[tokio::test]
async fn a_gateway_that_goes_down_waits_for_settlements_and_opens_nothing() {
    let server = Server { drain: Duration::from_secs(60), ..Server::default() };
    let stage = Stage::with(NOBODY, Setting { server, ..Setting::default() }).await;
    let mut open = vec![post(&stage, "/v1/check", KEY, &check(json!({}))).await.1];
    stage.close();
    let refused = loop {
        let answer = post(&stage, "/v1/check", KEY, &check(json!({}))).await;
        if answer.0 != 200 {
            break answer;
        }
        open.push(answer.1);
    };
    assert_eq!(code(&refused), (503, "TG2009"));
    for check in &open {
        let told = json!({ "call_id": check["call_id"], "tokens": { "input": 1 } });
        assert_eq!(post(&stage, "/v1/settle", KEY, &told).await.0, 200);
    }
    let (drained, written) = stage.end().await;
    let complete = written.settled().iter().filter(|settled| settled.outcome == Outcome::Complete).count();
    assert_eq!((drained.cut, complete), (0, open.len()));
}

/// What stands in a journal that is in use.
fn copied(dir: &std::path::Path) -> Written {
    Written::read(copy(dir).path())
}

/// The journal as a process leaves it that is killed now.
fn copy(dir: &std::path::Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(dir).unwrap().flatten().filter(|file| file.file_type().unwrap().is_file()) {
        std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    copy
}

#[tokio::test]
async fn a_settlement_after_a_crash_is_told_what_the_journal_has_of_its_check() {
    let stage = Stage::new(NOBODY).await;
    let open = |name: &'static str| {
        let asked = check(json!({ "subject": { "tenant": "acme" }, "call": name }));
        let stage = &stage;
        async move { post(stage, "/v1/check", PROXY, &asked).await.1["call_id"].clone() }
    };
    let (done, failed, left) = (open("done").await, open("failed").await, open("left").await);
    let told = json!({ "call_id": done, "status": 200, "tokens": { "input": 60, "output": 7 }, "response_id": "r" });
    let refused = json!({ "call_id": failed, "status": 400 });
    for told in [&told, &refused] {
        assert_eq!(post(&stage, "/v1/settle", PROXY, told).await.0, 200);
    }
    let again = Stage::on(copy(stage.dir.path()), NOBODY, Setting::default()).await;
    let settle = |key: &'static str, told: Value| {
        let again = &again;
        async move {
            let answer = post(again, "/v1/settle", key, &told).await;
            let text = answer.1["error"]["message"].as_str().unwrap_or_default().to_owned();
            ((answer.0, code(&answer).1.to_owned()), text)
        }
    };
    for told in [&told, &refused] {
        assert_eq!(settle(PROXY, told.clone()).await.0, (200, String::new()), "it was heard before: {told}");
    }
    let (said, why) = settle(PROXY, json!({ "call_id": done, "tokens": { "input": 61 } })).await;
    assert_eq!(said, (409, "TG2008".into()));
    assert!(why.contains("before this gateway started again"), "{why}");
    let (said, why) = settle(PROXY, json!({ "call_id": left, "tokens": { "input": 61 } })).await;
    assert_eq!(said, (404, "TG2007".into()));
    assert!(why.contains("usage unknown") && why.contains("tollgate.usage.amended.v1"), "{why}");
    // Who may not speak for the tenant learns nothing; and a name of the proxy's own is in no journal.
    for (key, told) in [("tgp-narrow", json!({ "call_id": left })), (PROXY, json!({ "call": "left" }))] {
        let (said, why) = settle(key, told).await;
        assert_eq!(said, (404, "TG2007".into()));
        assert!(why.contains("has run since") && !why.contains("started again"), "{why}");
    }
    drop(stage.end().await);
}

#[tokio::test]
async fn a_provider_that_refused_is_known_to_have_charged_nothing() {
    let stage = Stage::new(NOBODY).await;
    for (outcome, status) in [("provider_error", 429), ("not_sent", 0), ("provider_error", 504)] {
        let (_, answer) = post(&stage, "/v1/check", KEY, &check(json!({}))).await;
        let mut told = json!({ "call_id": answer["call_id"], "outcome": outcome });
        if status > 0 {
            told["status"] = json!(status);
        }
        assert_eq!(post(&stage, "/v1/settle", KEY, &told).await.0, 200);
    }
    let (_, written) = stage.end().await;
    let usage: Vec<_> = written
        .settled()
        .iter()
        .map(|settled| (settled.status, settled.usage.total().map(|total| total.total())))
        .collect();
    assert_eq!(usage, [(429, Some(0)), (0, Some(0)), (504, None)]);
    assert!(written.settled().iter().all(|settled| settled.outcome == Outcome::ProviderError));
}

#[tokio::test]
async fn a_body_is_bounded_as_it_would_be_here() {
    let stage = Stage::new(NOBODY).await;
    let request = json!({ "model": "gpt-4o-mini", "stream": true, "messages": [{ "role": "user", "content": "hi" }] });
    let body = json!({ "provider": "openai", "request": request });
    assert_eq!(post(&stage, "/v1/check", KEY, &body).await.0, 200);
    let twice = r#"{"provider":"openai","request":{"model":"gpt-4o-mini","messages":[],"messages":[]}}"#;
    let answer = stage.http.post(stage.url("/v1/check")).bearer_auth(KEY).body(twice).send().await.unwrap();
    assert_eq!(answer.json::<Value>().await.unwrap()["error"]["code"], "TG3005");
    let differs = json!({ "provider": "openai", "model": "gpt-4o", "request": request });
    assert_eq!(code(&post(&stage, "/v1/check", KEY, &differs).await), (400, "TG3018"));
    // Where the path names the model, the check does.
    let gemini = json!({ "contents": [{ "role": "user", "parts": [{ "text": "hi" }] }] });
    let nameless = json!({ "provider": "gemini", "stream": true, "request": gemini });
    assert_eq!(post(&stage, "/v1/check", KEY, &nameless).await.0, 400);
    let named = json!({ "provider": "gemini", "model": "gemini-2.5-flash", "stream": true, "request": gemini });
    assert_eq!(post(&stage, "/v1/check", KEY, &named).await.0, 200);
    let (_, written) = stage.end().await;
    let facts = |admitted: &Admitted| (admitted.attempt.model.clone(), admitted.attempt.stream, admitted.attempt.api);
    let chat = ("gpt-4o-mini".to_owned(), true, Api::OpenAiChat);
    let other = ("gemini-2.5-flash".to_owned(), true, Api::GeminiGenerateContent);
    assert_eq!(written.admitted().into_iter().map(facts).collect::<Vec<_>>(), [chat, other]);
}

#[tokio::test]
async fn who_may_ask_for_whom() {
    let stage = Stage::new(NOBODY).await;
    let check = |key: &'static str, more: Value, wanted: (u16, &'static str)| {
        let (stage, body) = (&stage, check(more));
        async move {
            let answer = post(stage, "/v1/check", key, &body).await;
            assert_eq!(code(&answer), wanted, "{key} {body}: {}", answer.1);
        }
    };
    check("nobody", json!({}), (401, "TG3002")).await;
    check(KEY, json!({}), (200, "")).await;
    check(KEY, json!({ "subject": { "tenant": "acme" } }), (400, "TG3018")).await;
    check(KEY, json!({ "client_key": KEY }), (400, "TG3018")).await;
    check(PROXY, json!({}), (400, "TG3018")).await;
    check(PROXY, json!({ "client_key": KEY }), (200, "")).await;
    check(PROXY, json!({ "client_key": "nobody" }), (401, "TG3002")).await;
    check(PROXY, json!({ "subject": { "tenant": "nobody" } }), (403, "TG3019")).await;
    check("tgp-narrow", json!({ "subject": { "tenant": "globex" } }), (200, "")).await;
    check("tgp-narrow", json!({ "subject": { "tenant": "acme" } }), (403, "TG3019")).await;
    check("tgp-narrow", json!({ "client_key": KEY }), (403, "TG3019")).await;
    // A proxy's token opens nothing else.
    let chat = json!({ "model": "gpt-4o-mini", "messages": [] });
    assert_eq!(code(&post(&stage, "/v1/chat/completions", PROXY, &chat).await), (401, "TG3002"));
    let (_, written) = stage.end().await;
    let owners: Vec<_> = written.admitted().iter().map(|admitted| (*admitted.attempt.subject).clone()).collect();
    let named: Vec<_> = owners.iter().map(|owner| (&*owner.tenant, &*owner.key)).collect();
    assert_eq!(named, [("acme", "ci"), ("acme", "ci"), ("globex", "")]);
}

/// A message of Protobuf, field by field: text and messages by their bytes, numbers as varints.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn number(mut self, tag: u8, mut value: u64) -> Self {
        self.0.push(tag << 3);
        while value >= 128 {
            self.0.push(u8::try_from(value & 127).unwrap() | 128);
            value >>= 7;
        }
        self.0.push(u8::try_from(value).unwrap());
        self
    }

    fn bytes(mut self, tag: u8, bytes: &[u8]) -> Self {
        self.0.extend([tag << 3 | 2, u8::try_from(bytes.len()).unwrap()]);
        self.0.extend(bytes);
        self
    }

    fn entry(self, key: &str, value: &str) -> Self {
        self.bytes(1, &Self::default().bytes(1, key.as_bytes()).bytes(2, value.as_bytes()).0)
    }

    fn hits(self, hits: u64) -> Self {
        self.bytes(3, &Self::default().number(1, hits).0)
    }
}

/// A request of these descriptors, in Envoy's domain `d`.
fn request(descriptors: &[Message]) -> Vec<u8> {
    let start = Message::default().bytes(1, b"d");
    descriptors.iter().fold(start, |request, descriptor| request.bytes(2, &descriptor.0)).0
}

fn entries(pairs: &[(&str, &str)]) -> Message {
    pairs.iter().fold(Message::default(), |message, (key, value)| message.entry(key, value))
}

/// A unary call of gRPC as Envoy makes it; gives the status, the message of the status, and what was answered.
async fn call(stage: &Stage, path: &str, token: &str, message: &[u8]) -> (u16, String, Bytes) {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap());
    frame.extend_from_slice(message);
    let mut builder = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new());
    let client = builder.http2_only(true).build_http();
    let request = http::Request::post(stage.url(path))
        .header("te", "trailers")
        .header("content-type", "application/grpc")
        .header("authorization", format!("Bearer {token}"))
        .body(Full::new(frame.freeze()))
        .unwrap();
    let answer = client.request(request).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["content-type"]),
        (200, &"application/grpc".parse().unwrap())
    );
    let (head, body) = answer.into_parts();
    let body = body.collect().await.unwrap();
    let trailers = body.trailers().cloned();
    let said = |name: &str, headers: &HeaderMap| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let find = |name| said(name, trailers.as_ref().unwrap_or(&head.headers));
    let status = find("grpc-status").unwrap().parse().unwrap();
    let bytes = body.to_bytes();
    let answered = bytes.get(5..).map(|message| bytes.slice_ref(message)).unwrap_or_default();
    (status, find("grpc-message").unwrap_or_default(), answered)
}

const RATE_LIMIT: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";
const WHO: [(&str, &str); 3] = [("tenant", "globex"), ("provider", "openai"), ("model", "gpt-4o-mini")];
/// `overall_code` as a field: OK, and over the limit.
const OK: [u8; 2] = [8, 1];
const OVER: [u8; 2] = [8, 2];

#[tokio::test]
async fn envoys_hits_are_final_without_a_name_and_held_with_one() {
    let stage = Stage::new(NOBODY).await;
    let units = |input, output| {
        [entries(&[("unit", "input_tokens")]).hits(input), entries(&[("unit", "output_tokens")]).hits(output)]
    };
    let [input, output] = units(30, 5);
    let (status, _, answer) = call(&stage, RATE_LIMIT, PROXY, &request(&[entries(&WHO), input, output])).await;
    assert!(status == 0 && answer.starts_with(&OK), "{status} {answer:?}");
    assert!(answer.windows(18).any(|part| part == b"x-tollgate-call-id"));

    let named = [&WHO[..], &[("call", "r1")]].concat();
    let [input, output] = units(300, 50);
    let asked = request(&[entries(&named), input, output]);
    assert_eq!(call(&stage, RATE_LIMIT, PROXY, &asked).await.0, 0);
    let (status, _, answer) = call(&stage, RATE_LIMIT, PROXY, &asked).await;
    assert!(status == 0 && answer.starts_with(&OVER), "the same name again is no error that may pass");
    assert!(answer.windows(6).any(|part| part == b"TG2008"));
    let [input, output] = units(31, 6);
    let told = request(&[entries(&[("call", "r1"), ("settle", "true")]), input, output]);
    for _ in 0..2 {
        assert_eq!(call(&stage, RATE_LIMIT, PROXY, &told).await.0, 0);
    }
    let (_, written) = stage.end().await;
    let used: Vec<_> = written
        .settled()
        .iter()
        .map(|settled| (settled.usage.completeness.clone(), settled.usage.total().unwrap().total()))
        .collect();
    assert_eq!(used, [(Completeness::Exact, 35), (Completeness::Exact, 37)]);
    assert_eq!(written.admitted().len(), 2);
}

/// A limit, what is asked of it as often as answers follow, and which of those pass.
type Case = ((Unit, i128), (&'static str, &'static str, &'static str), Units, &'static [bool]);
type Units = &'static [(&'static str, u64)];

#[tokio::test]
async fn what_a_check_states_of_any_unit_is_held_of_its_limit() {
    let claude = ("anthropic.messages", "anthropic", "claude-sonnet-4-5");
    let chat = ("openai.chat", "openai", "gpt-4o-mini");
    let ranking = ("cohere.rerank", "cohere", "rerank-v3.5");
    let (half_a_dollar, half_a_cent, calls) =
        ((Unit::Usd, 500_000_000_000), (Unit::Usd, 5_000_000_000), (Unit::ToolCalls, 5));
    let cases: [Case; 6] = [
        (half_a_dollar, claude, &[("input", 100), ("output", 10), ("web_search", 100)], &[false]),
        (half_a_dollar, claude, &[("input", 100), ("output", 10), ("web_search", 49)], &[true, false]),
        (calls, chat, &[("input", 1), ("output", 1), ("tool_calls", 4)], &[true, false]),
        (calls, chat, &[("input", 1), ("output", 50), ("tool_calls", 2)], &[true, true, false]),
        (calls, chat, &[("input", 1), ("output", 50), ("tool_calls", 0)], &[true, true]),
        (half_a_cent, ranking, &[("search_unit", 1)], &[true, true, false]),
    ];
    for ((unit, amount), (api, provider, model), units, passes) in cases {
        // Held by a check that nobody settles, and spent at once by Envoy's hits.
        for by_envoy in [false, true] {
            let server = Server { drain: Duration::from_millis(1), ..Server::default() };
            let limits = vec![Limit { unit, ..fixture::limit(amount, Window::Month) }];
            let stage = Stage::with(NOBODY, Setting { server, limits, ..Setting::default() }).await;
            let mut passed = Vec::new();
            for _ in passes {
                passed.push(if by_envoy {
                    let what = entries(&[("api", api), ("provider", provider), ("model", model)]);
                    let units = units.iter().map(|(unit, most)| entries(&[("unit", *unit)]).hits(*most));
                    let asked: Vec<Message> = [what].into_iter().chain(units).collect();
                    let (status, said, answer) = call(&stage, RATE_LIMIT, KEY, &request(&asked)).await;
                    assert!(status == 0 && (answer.starts_with(&OK) || answer.starts_with(&OVER)), "{status} {said}");
                    answer.starts_with(&OK)
                } else {
                    let most = units.iter().map(|(unit, most)| ((*unit).to_owned(), json!(most)));
                    let most = Value::Object(most.collect());
                    let asked = json!({ "api": api, "provider": provider, "model": model, "most": most });
                    let answer = post(&stage, "/v1/check", KEY, &asked).await;
                    assert!(matches!(code(&answer), (200, "") | (429, "TG2001")), "{answer:?}");
                    answer.0 == 200
                });
            }
            assert_eq!(passed, passes, "{model} {units:?} by Envoy: {by_envoy}");
            drop(stage.end().await);
        }
    }
}

#[tokio::test]
async fn an_error_of_grpc_says_whose_fault_it_is() {
    let stage = Stage::new(NOBODY).await;
    let check = |token: &'static str, message: Vec<u8>, wanted: (u16, &'static str)| {
        let stage = &stage;
        async move {
            let (status, said, _) = call(stage, RATE_LIMIT, token, &message).await;
            assert_eq!(status, wanted.0, "{said}");
            assert!(said.starts_with(wanted.1), "{said}");
        }
    };
    check("nobody", request(&[entries(&WHO)]), (16, "TG3002")).await;
    check(PROXY, request(&[]), (3, "TG3018")).await;
    check(PROXY, vec![0xff; 9], (3, "TG3018: A check or settlement is not valid: the message is no RateLimitRequest"))
        .await;
    check(PROXY, request(&[entries(&[("call", "r9"), ("settle", "1")])]), (5, "TG2007")).await;
    // A key that is nobody's, or not for this proxy, is the client's doing: refused, and not an error that a failure mode lets pass.
    for (token, key, wanted) in [(PROXY, "x", b"TG3002"), ("tgp-narrow", KEY, b"TG3019")] {
        let stranger = request(&[entries(&[("authorization", key), ("provider", "p"), ("model", "m")])]);
        let (status, _, answer) = call(&stage, RATE_LIMIT, token, &stranger).await;
        assert!(status == 0 && answer.starts_with(&OVER) && answer.windows(6).any(|part| part == wanted));
    }
    let (status, _, answer) = call(&stage, "/grpc.health.v1.Health/Check", "none", &[]).await;
    assert_eq!((status, &answer[..]), (0, &[8, 1][..]));
    let plain = stage.http.post(stage.url(RATE_LIMIT)).body("{}").send().await.unwrap();
    assert_eq!(plain.status(), 415);
    let (_, written) = stage.end().await;
    assert!(!written.events.iter().any(|event| matches!(event, Event::Admitted(_))));
}

#[tokio::test]
async fn a_client_that_leaves_before_its_answer_leaves_no_check() {
    let stage = Stage::new(NOBODY).await;
    // Whatever moment it leaves at, what is open is settled when the gateway goes down, each once.
    for wait in 0..40 {
        let body = check(json!({}));
        let sent = stage.http.post(stage.url("/v1/check")).bearer_auth(KEY).json(&body).send();
        let _ = tokio::time::timeout(Duration::from_micros(wait * 50), sent).await;
    }
    let (_, written) = stage.end().await;
    assert_eq!(written.admitted().len(), written.settled().len());
    assert!(written.ends().values().all(|ends| *ends == 1), "{:?}", written.ends());
}
