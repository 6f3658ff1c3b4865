//! Calls through a real gateway to a provider that replays, with real HTTP clients and a real journal on disk.

#[cfg(test)]
#[path = "calls/caching.rs"]
mod caching;
#[cfg(test)]
#[path = "calls/caps.rs"]
mod caps;
#[cfg(test)]
#[path = "calls/credentials.rs"]
mod credentials;
#[cfg(test)]
#[path = "calls/dialects.rs"]
mod dialects;
#[cfg(test)]
#[path = "calls/edges.rs"]
mod edges;
#[cfg(test)]
#[path = "calls/keys.rs"]
mod keys;
#[cfg(test)]
#[path = "calls/leased.rs"]
mod leased;
#[cfg(test)]
#[path = "calls/onward.rs"]
mod onward;
#[cfg(test)]
#[path = "calls/panel.rs"]
mod panel;
#[cfg(test)]
#[path = "calls/provider.rs"]
mod provider;
#[cfg(test)]
#[path = "calls/proxies.rs"]
mod proxies;
#[cfg(test)]
#[path = "calls/routing.rs"]
mod routing;
#[cfg(test)]
#[path = "calls/stage.rs"]
mod stage;
#[cfg(test)]
#[path = "calls/translated.rs"]
mod translated;

use std::time::Duration;

use provider::{Replay, Step, json, say, stream};
use schemas::{
    config::{Timeouts, UsageInStream},
    event::{Event, Outcome},
    tokens::{Completeness, Doubt},
};
use serde_json::{Value, json};
use stage::{KEY, SECRET, Setting, Stage, Written, chat, post_with};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const WHOLE: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11},"service_tier":"default"}"#;
const TEXT: &str = "data: {\"id\":\"c\",\"model\":\"gpt-4o-mini\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hello\"},\"finish_reason\":null}],\"usage\":null}\n\n";
const STOP: &str = "data: {\"id\":\"c\",\"model\":\"gpt-4o-mini\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":null}\n\n";
const USAGE: &str = "data: {\"id\":\"c\",\"model\":\"gpt-4o-mini\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2,\"total_tokens\":11}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

fn input_and_output(written: &Written) -> Option<(u64, u64)> {
    written.one().usage.total().map(|total| (total.input(), total.all_output()))
}

#[tokio::test]
async fn a_whole_answer_passes_byte_for_byte_and_is_settled() {
    let replay = Replay::start(json("200 OK", WHOLE)).await;
    let stage = Stage::new(replay.address).await;
    let call =
        stage.post("/v1/chat/completions?beta=true", &chat(json!({}))).header("x-custom", "1").header("cookie", "c=d");
    let answer = call.header("openai-organization", "org").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.headers().get("set-cookie").is_none());
    let id = answer.headers()["x-tollgate-call-id"].to_str().unwrap().to_owned();
    assert_eq!(answer.headers()["x-request-id"], id.as_str());
    assert_eq!(answer.text().await.unwrap(), WHOLE);
    let asked = replay.asked().remove(0);
    assert!(asked.head.starts_with("post /v1/chat/completions?beta=true http/1.1"), "{}", asked.head);
    assert!(asked.head.contains(&format!("authorization: bearer {SECRET}")) && asked.head.contains("x-custom: 1"));
    assert!(asked.head.contains("accept-encoding: identity"));
    assert!(!asked.head.contains(KEY) && !asked.head.contains("cookie") && !asked.head.contains("organization"));
    assert_eq!(asked.body, chat(json!({})).to_string().into_bytes());
    let (_, written) = stage.end().await;
    let settled = written.one();
    assert_eq!((settled.outcome, settled.status, settled.attempt.call.to_string()), (Outcome::Complete, 200, id));
    assert_eq!((&*settled.model_answered, &*settled.response_id), ("gpt-4o-mini-2024-07-18", "chatcmpl-1"));
    assert_eq!(settled.usage.completeness, Completeness::Exact);
    assert_eq!(input_and_output(&written), Some((9, 2)));
    assert!(!format!("{:?}", written.events).contains(SECRET));
}

#[tokio::test]
async fn usage_is_always_asked_for_and_shown_only_to_those_who_asked() {
    for (options, shows) in
        [(json!({}), false), (json!({ "include_usage": false }), false), (json!({ "include_usage": true }), true)]
    {
        let replay = Replay::start(stream(vec![say(TEXT), Step::Wait, say(STOP), say(USAGE), say(DONE)])).await;
        let stage = Stage::new(replay.address).await;
        let body = chat(json!({ "stream": true, "stream_options": options }));
        let mut answer = stage.post("/openai/v1/chat/completions", &body).send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        let mut seen = answer.chunk().await.unwrap().unwrap().to_vec();
        replay.go_on();
        seen.extend(answer.bytes().await.unwrap());
        let usage = if shows { USAGE } else { "" };
        assert_eq!(String::from_utf8(seen).unwrap(), format!("{TEXT}{STOP}{usage}{DONE}"));
        let asked: Value = serde_json::from_slice(&replay.asked()[0].body).unwrap();
        assert_eq!(asked["stream_options"]["include_usage"], true);
        let (_, written) = stage.end().await;
        assert_eq!(written.one().outcome, Outcome::Complete);
        assert_eq!(input_and_output(&written), Some((9, 2)));
        assert!(written.events.iter().any(|event| matches!(event, Event::Streamed(_))));
    }
}

#[tokio::test]
async fn a_provider_that_must_not_be_asked_is_not_and_the_answer_is_estimated() {
    let replay = Replay::start(stream(vec![say(TEXT), say(STOP), say(DONE)])).await;
    let stage =
        Stage::with(replay.address, Setting { usage_in_stream: UsageInStream::Never, ..Setting::default() }).await;
    let answer = stage.post("/v1/chat/completions", &chat(json!({ "stream": true }))).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), format!("{TEXT}{STOP}{DONE}"));
    assert!(!String::from_utf8(replay.asked()[0].body.clone()).unwrap().contains("stream_options"));
    let (_, written) = stage.end().await;
    assert_eq!(written.one().usage.completeness, Completeness::Estimated(Doubt::NotReported));
    assert!(input_and_output(&written).is_some_and(|(input, output)| input > 0 && output > 0));
}

#[tokio::test]
async fn the_record_is_in_the_journal_before_the_client_has_the_end() {
    let replay = Replay::start(stream(vec![say(TEXT), Step::Wait, say(USAGE), say(DONE), Step::Hang])).await;
    let mut stage = Stage::new(replay.address).await;
    let body = chat(json!({ "stream": true, "stream_options": { "include_usage": true } }));
    let mut answer = stage.post("/v1/chat/completions", &body).send().await.unwrap();
    let mut seen = answer.chunk().await.unwrap().unwrap().to_vec();
    replay.go_on();
    while !seen.ends_with(DONE.as_bytes()) {
        seen.extend(answer.chunk().await.unwrap().unwrap());
    }
    // The upstream connection is still open; the client has all, so the journal has.
    let copy = tempfile::tempdir().unwrap();
    for file in
        std::fs::read_dir(stage.dir.path()).unwrap().flatten().filter(|file| file.file_type().unwrap().is_file())
    {
        std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    let written = Written::read(copy.path());
    assert_eq!(written.one().outcome, Outcome::Complete);
    drop(answer);
    let _ = stage.stop().await;
}

#[tokio::test]
async fn an_error_that_repeats_the_secret_is_passed_on_without_it() {
    let says = |secret: &str| format!("{{\"error\":{{\"message\":\"got 'Bearer {secret}' and {secret}\"}}}}");
    let error = says(SECRET);
    let size = error.len();
    let script = say(&format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nx-got: Bearer {SECRET}\r\ncontent-length: {size}\r\n\r\n{error}"
    ));
    let replay = Replay::start(vec![script]).await;
    let stage = Stage::new(replay.address).await;
    let answer = stage.post("/v1/chat/completions", &chat(json!({}))).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    assert_eq!(answer.headers()["x-got"], "***");
    assert_eq!(answer.text().await.unwrap(), says(&"*".repeat(SECRET.len())));
    drop(stage.end().await);
}

#[tokio::test]
async fn what_a_provider_refuses_costs_nothing_and_what_it_failed_at_is_not_known() {
    let error = r#"{"error":{"message":"too long","type":"invalid_request_error","param":null,"code":null}}"#;
    for (status, ours, passes, is_free) in [
        ("400 Bad Request", 400, true, true),
        ("429 Too Many Requests", 429, true, true),
        ("500 Internal Server Error", 500, true, false),
        ("503 Service Unavailable", 503, true, false),
        ("401 Unauthorized", 502, false, true),
        ("403 Forbidden", 502, false, true),
        ("302 Found", 502, false, true),
    ] {
        let replay = Replay::start(json(status, error)).await;
        let stage = Stage::new(replay.address).await;
        let answer = stage.post("/v1/chat/completions", &chat(json!({}))).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), ours, "{status}");
        let text = answer.text().await.unwrap();
        assert_eq!(text == error, passes, "{text}");
        let (_, written) = stage.end().await;
        let settled = written.one();
        assert_eq!((settled.outcome, settled.status.to_string()), (Outcome::ProviderError, status[..3].to_owned()));
        assert_eq!(input_and_output(&written), is_free.then_some((0, 0)), "{status}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_cut_for_the_client_and_never_called_complete() {
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    let chunk = format!("{:x}\r\n{TEXT}\r\n", TEXT.len());
    let cut = vec![say(head), say(&chunk)];
    let short = vec![say(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\nconnection: close\r\n\r\n{\"id\"",
    )];
    let silent = vec![say("connection: close")];
    // What a stream has said is known to have been used.
    for (script, is_stream, wanted) in [
        (cut, true, Completeness::Estimated(Doubt::Truncated)),
        (short, false, Completeness::Missing(Doubt::Truncated)),
        (silent, false, Completeness::Missing(Doubt::NoAnswer)),
    ] {
        let replay = Replay::start(script).await;
        let stage = Stage::new(replay.address).await;
        let body = chat(json!({ "stream": is_stream }));
        let whole = match stage.post("/v1/chat/completions", &body).send().await {
            Ok(answer) if answer.status() == 200 => answer.text().await.is_ok(),
            _ => false,
        };
        assert!(!whole, "the client must not take it for whole");
        let (_, written) = stage.end().await;
        let settled = written.one();
        assert_eq!(settled.outcome, Outcome::ProviderError);
        assert_eq!(settled.usage.completeness, wanted, "{settled:?}");
    }
}

#[tokio::test]
async fn deadlines_end_what_is_silent() {
    let timeouts =
        Timeouts { first_byte: Duration::from_millis(100), idle: Duration::from_millis(100), ..Timeouts::default() };
    for (script, status, wanted) in [
        (vec![Step::Hang], 502, Completeness::Missing(Doubt::TimedOut)),
        (stream(vec![say(TEXT), Step::Hang]), 200, Completeness::Estimated(Doubt::TimedOut)),
    ] {
        let replay = Replay::start(script).await;
        let stage = Stage::with(replay.address, Setting { timeouts, ..Setting::default() }).await;
        let answer = stage.post("/v1/chat/completions", &chat(json!({ "stream": true }))).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status);
        assert_eq!(answer.text().await.is_ok(), status == 502);
        let (_, written) = stage.end().await;
        let settled = written.one();
        assert_eq!(settled.outcome, Outcome::Timeout);
        assert_eq!(settled.usage.completeness, wanted);
    }
}

#[tokio::test]
async fn a_provider_that_cannot_be_reached_was_never_asked() {
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let stage = Stage::new(gone).await;
    let answer = stage.post(
        "/v1/messages",
        &json!({ "model": "claude-x", "max_tokens": 5, "messages": [{ "role": "user", "content": "hi" }] }),
    );
    let answer = answer.send().await.unwrap();
    assert_eq!(answer.status(), 502);
    let error: Value = answer.json().await.unwrap();
    assert_eq!((&error["type"], &error["error"]["code"]), (&json!("error"), &json!("TG4001")));
    let (_, written) = stage.end().await;
    assert_eq!((written.one().outcome, input_and_output(&written)), (Outcome::ProviderError, Some((0, 0))));
}

#[tokio::test]
async fn a_client_that_leaves_changes_nothing_about_what_is_known() {
    let after_head = stream(vec![say(TEXT), Step::Wait, say(STOP), say(USAGE), say(DONE)]);
    let before_head = [vec![Step::Wait], stream(vec![say(TEXT), say(STOP), say(USAGE), say(DONE)])].concat();
    for script in [after_head, before_head] {
        let replay = Replay::start(script).await;
        let stage = Stage::new(replay.address).await;
        let body = chat(json!({ "stream": true })).to_string();
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let mut client = tokio::net::TcpStream::connect(stage.address).await.unwrap();
        client.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        replay.was_asked(1).await;
        // The client closes its side; that the gateway closes its own shows that it has noticed.
        client.shutdown().await.unwrap();
        let _ = client.read_to_end(&mut Vec::new()).await;
        replay.go_on();
        let (_, written) = stage.end().await;
        assert_eq!(written.one().outcome, Outcome::ClientGone);
        assert_eq!(written.one().usage.completeness, Completeness::Exact);
        assert_eq!(input_and_output(&written), Some((9, 2)));
    }
}

#[tokio::test]
async fn where_nothing_is_read_on_an_answer_is_closed_when_its_client_leaves() {
    let replay = Replay::start(stream(vec![say(TEXT), Step::Wait, say(STOP), say(USAGE), say(DONE)])).await;
    let mut setting = Setting::default();
    setting.server.read_on = Duration::ZERO;
    let stage = Stage::with(replay.address, setting).await;
    let mut answer = stage.post("/v1/chat/completions", &chat(json!({ "stream": true }))).send().await.unwrap();
    assert!(answer.chunk().await.unwrap().is_some());
    drop(answer);
    // It ends while its provider still waits.
    let (drained, written) = stage.end().await;
    assert_eq!((drained.cut, written.one().outcome), (0, Outcome::ClientGone));
    assert_eq!(written.one().usage.completeness, Completeness::Estimated(Doubt::ClientLeft));
}

#[tokio::test]
async fn a_shutdown_lets_calls_end_and_cuts_the_rest() {
    let replay = Replay::start(stream(vec![say(TEXT), Step::Hang])).await;
    let mut setting = Setting::default();
    setting.server.drain = Duration::from_millis(100);
    let stage = Stage::with(replay.address, setting).await;
    let mut answer = stage.post("/v1/chat/completions", &chat(json!({ "stream": true }))).send().await.unwrap();
    assert!(answer.chunk().await.unwrap().is_some());
    let (drained, written) = stage.end().await;
    assert_eq!(drained.cut, 1);
    assert_eq!(written.one().outcome, Outcome::Cut);
    assert_eq!(written.one().usage.completeness, Completeness::Estimated(Doubt::Truncated));
}

#[tokio::test]
async fn what_a_dead_process_left_open_is_settled_as_unknown_once() {
    let replay = Replay::start(stream(vec![say(TEXT), Step::Hang])).await;
    let stage = Stage::new(replay.address).await;
    let mut answer = stage.post("/v1/chat/completions", &chat(json!({ "stream": true }))).send().await.unwrap();
    assert!(answer.chunk().await.unwrap().is_some());
    // What is on the disk now is what a killed process leaves.
    let left = tempfile::tempdir().unwrap();
    for file in
        std::fs::read_dir(stage.dir.path()).unwrap().flatten().filter(|file| file.file_type().unwrap().is_file())
    {
        std::fs::copy(file.path(), left.path().join(file.file_name())).unwrap();
    }
    let mut successor = Stage::on(left, replay.address, Setting::default()).await;
    let (_, left) = successor.stop().await;
    let mut third = Stage::on(left, replay.address, Setting::default()).await;
    let (_, left) = third.stop().await;
    let written = Written::read(left.path());
    let settled = written.one();
    assert_eq!((settled.outcome, settled.status), (Outcome::Unknown, 0));
    assert_eq!(settled.usage.completeness, Completeness::Missing(Doubt::Crashed));
    let predecessors =
        written.events.iter().filter(|event| matches!(event, Event::Opened(opened) if opened.predecessor.is_some()));
    assert_eq!(predecessors.count(), 4, "two successors, two lanes");
}

#[tokio::test]
async fn bad_requests_get_a_clear_error_and_change_nothing() {
    let replay = Replay::start(json("200 OK", WHOLE)).await;
    let mut setting = Setting::default();
    setting.server.max_body = 1_000;
    let stage = Stage::with(replay.address, setting).await;
    let good = chat(json!({})).to_string();
    let long = chat(json!({ "user": "x".repeat(2_000) })).to_string();
    let check = async |path: &str, key: Option<&str>, body: &str, status: u16, code: &str| {
        let mut call = stage.http.post(stage.url(path)).body(body.to_owned());
        if let Some(key) = key {
            call = call.bearer_auth(key);
        }
        let answer = call.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{path} {code}");
        assert!(answer.headers().contains_key("x-tollgate-call-id"));
        let error: Value = answer.json().await.unwrap();
        assert_eq!(error["error"]["code"], code);
        assert_eq!(error["type"] == "error", path.contains("messages"));
    };
    let key = Some(KEY);
    check("/v1/chat/completions", None, &good, 401, "TG3001").await;
    check("/v1/chat/completions", Some("tg-other"), &good, 401, "TG3002").await;
    check("/v1/messages", Some("tg-other"), &good, 401, "TG3002").await;
    check("/v1/chat/completions", key, "{\"model\":", 400, "TG3004").await;
    check("/v1/chat/completions", key, "[]", 400, "TG3004").await;
    check("/v1/chat/completions", key, "{\"model\":\"gpt-4o\",\"model\":\"gpt-5\"}", 400, "TG3005").await;
    check("/v1/chat/completions", key, "{\"model\":\"unheard-of\",\"messages\":[]}", 404, "TG3006").await;
    // It is answered in the dialect of its provider, and only conversations are carried over.
    check("/v1/messages/count_tokens", key, &good, 404, "TG3006").await;
    check("/v1/chat/completions", key, &long, 413, "TG3007").await;
    check("/v1/files", key, &good, 404, "TG3009").await;
    check("/anthropic/v1/messages/batches", key, &good, 404, "TG3009").await;
    let nowhere = chat(json!({ "model": "nowhere" })).to_string();
    check("/v1/chat/completions", key, &nowhere, 502, "TG4001").await;
    let answer = stage.http.get(stage.url("/v1/chat/completions")).bearer_auth(KEY).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["allow"]), (405, &"POST".parse().unwrap()));
    let (_, written) = stage.end().await;
    assert!(replay.asked().is_empty());
    assert_eq!((written.admitted().len(), written.settled().len()), (0, 0));
}

#[tokio::test]
async fn slow_heads_and_slow_bodies_are_ended() {
    let replay = Replay::start(json("200 OK", WHOLE)).await;
    let mut setting = Setting::default();
    setting.server.header_timeout = Duration::from_millis(100);
    setting.server.body_timeout = Duration::from_millis(100);
    let stage = Stage::with(replay.address, setting).await;
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-length: 100\r\n\r\n{{"
    );
    for (sent, wanted) in [("", ""), ("PR", ""), ("POST /v1/chat", ""), (head.as_str(), "HTTP/1.1 408")] {
        let mut socket = tokio::net::TcpStream::connect(stage.address).await.unwrap();
        socket.write_all(sent.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ =
            tokio::time::timeout(Duration::from_secs(10), socket.read_to_end(&mut answer)).await.expect("it was ended");
        assert!(String::from_utf8_lossy(&answer).starts_with(wanted), "{sent:?}");
    }
    drop(stage.end().await);
}

#[tokio::test]
async fn compressed_requests_go_on_decoded() {
    let replay = Replay::start(json("200 OK", WHOLE)).await;
    let stage = Stage::new(replay.address).await;
    let body = chat(json!({})).to_string();
    let packed = zstd::encode_all(body.as_bytes(), 1).unwrap();
    let call = stage
        .http
        .post(stage.url("/v1/chat/completions"))
        .bearer_auth(KEY)
        .header("content-encoding", "zstd")
        .body(packed);
    assert_eq!(call.send().await.unwrap().status(), 200);
    assert_eq!(replay.asked()[0].body, body.into_bytes());
    assert!(!replay.asked()[0].head.contains("content-encoding"));
    drop(stage.end().await);
}

#[tokio::test]
async fn the_sandbox_answers_in_both_dialects_over_both_versions() {
    let replay = Replay::start(json("200 OK", WHOLE)).await;
    let stage = Stage::new(replay.address).await;
    for is_http2 in [false, true] {
        for (path, stream) in [
            ("/v1/chat/completions", true),
            ("/v1/chat/completions", false),
            ("/anthropic/v1/messages", true),
            ("/v1/messages", false),
        ] {
            let body = json!({ "model": "sandbox/20", "max_tokens": 15, "stream": stream, "messages": [{ "role": "user", "content": "12345678" }] });
            let text = post_with(is_http2, &stage.url(path), &body).await;
            assert!(text.contains("\"length\"") || text.contains("\"max_tokens\""), "{text}");
        }
    }
    for stream in [false, true] {
        let body = json!({ "model": "sandbox/20", "max_output_tokens": 15, "stream": stream, "input": "12345678" });
        let text = stage.post("/v1/responses", &body).send().await.unwrap().text().await.unwrap();
        assert!(text.contains("\"incomplete\""), "{text}");
    }
    let answer = stage.post("/v1/embeddings", &json!({ "model": "sandbox/4", "input": "abcd" })).send().await.unwrap();
    assert_eq!(answer.json::<Value>().await.unwrap()["data"][0]["embedding"].as_array().unwrap().len(), 4);
    let count = json!({ "model": "sandbox/4", "messages": [{ "role": "user", "content": "abcdefgh" }] });
    let answer = stage.post("/v1/messages/count_tokens?beta=true", &count).send().await.unwrap();
    assert_eq!(answer.json::<Value>().await.unwrap(), json!({ "input_tokens": 2 }));
    let (_, written) = stage.end().await;
    assert_eq!((written.ends().len(), written.settled().len()), (12, 12));
    for settled in written.settled() {
        let total = settled.usage.total().unwrap();
        let wanted = match settled.attempt.api {
            schemas::event::Api::OpenAiEmbeddings => (1, 0),
            schemas::event::Api::AnthropicCountTokens => (0, 0),
            _ => (2, 15),
        };
        assert_eq!(
            (total.input(), total.all_output(), &settled.usage.completeness),
            (wanted.0, wanted.1, &Completeness::Exact)
        );
    }
}

#[tokio::test]
async fn models_are_listed_in_the_dialect_of_the_client() {
    let replay = Replay::start(json("200 OK", WHOLE)).await;
    let mut setting = Setting::default();
    setting.cors.origins = vec!["https://app.example.com".into()];
    let stage = Stage::with(replay.address, setting).await;
    let list =
        stage.http.get(stage.url("/v1/models")).bearer_auth(KEY).send().await.unwrap().json::<Value>().await.unwrap();
    assert_eq!(list["object"], "list");
    assert!(list["data"].as_array().unwrap().iter().any(|model| model["id"] == "alias"));
    let call = stage
        .http
        .get(stage.url("/v1/models?limit=1000"))
        .header("x-api-key", KEY)
        .header("anthropic-version", "2023-06-01");
    let list = call.send().await.unwrap().json::<Value>().await.unwrap();
    assert_eq!((&list["has_more"], &list["data"][0]["type"]), (&json!(false), &json!("model")));
    // Azure's clients and Google's ask elsewhere, Google's with a key in a header of its own.
    let list = stage.http.get(stage.url("/openai/models")).header("api-key", KEY).send().await.unwrap();
    assert_eq!(list.json::<Value>().await.unwrap()["object"], "list");
    let list = stage.http.get(stage.url("/v1beta/models")).header("x-goog-api-key", KEY).send().await.unwrap();
    let list = list.json::<Value>().await.unwrap();
    assert!(list["models"].as_array().unwrap().iter().any(|model| model["name"] == "models/fast"), "{list}");
    let one = stage.http.get(stage.url("/openai/v1/models/sandbox/12")).bearer_auth(KEY).send().await.unwrap();
    assert_eq!(one.json::<Value>().await.unwrap()["id"], "sandbox/12");
    assert_eq!(stage.http.head(stage.url("/v1/models")).bearer_auth(KEY).send().await.unwrap().status(), 200);
    assert_eq!(stage.http.get(stage.url("/v1/models/none")).bearer_auth(KEY).send().await.unwrap().status(), 404);
    assert_eq!(stage.http.get(stage.url("/v1/models")).send().await.unwrap().status(), 401);
    let ask = |origin: &str| {
        stage.http.request(reqwest::Method::OPTIONS, stage.url("/v1/chat/completions")).header("origin", origin)
    };
    let allowed = ask("https://app.example.com").send().await.unwrap();
    assert_eq!(
        (allowed.status().as_u16(), &allowed.headers()["access-control-allow-origin"]),
        (204, &"https://app.example.com".parse().unwrap())
    );
    assert_eq!(ask("https://evil.example.com").send().await.unwrap().status(), 405);
    drop(stage.end().await);
}

#[tokio::test]
async fn a_silent_stream_gets_comments_between_frames() {
    let replay = Replay::start(stream(vec![say(TEXT), Step::Wait, say(USAGE), say(DONE)])).await;
    let mut setting = Setting::default();
    setting.server.keepalive_comment = Duration::from_millis(50);
    let stage = Stage::with(replay.address, setting).await;
    let mut answer = stage.post("/v1/chat/completions", &chat(json!({ "stream": true }))).send().await.unwrap();
    let mut seen = String::new();
    while !seen.contains(": keep-alive\n\n") {
        seen.push_str(std::str::from_utf8(&answer.chunk().await.unwrap().unwrap()).unwrap());
    }
    replay.go_on();
    while let Some(chunk) = answer.chunk().await.unwrap() {
        seen.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    assert_eq!(seen.replace(": keep-alive\n\n", ""), format!("{TEXT}{DONE}"));
    drop(stage.end().await);
}

#[tokio::test]
async fn many_calls_at_once_are_each_settled_once() {
    let replay = Replay::start(json("200 OK", WHOLE)).await;
    let stage = Stage::new(replay.address).await;
    let calls = (0..200).map(|number| {
        let body =
            if number % 2 == 0 { chat(json!({})) } else { chat(json!({ "model": "sandbox/8", "stream": true })) };
        let call = stage.post("/v1/chat/completions", &body);
        async move { call.send().await.unwrap().text().await.unwrap().len() }
    });
    let sizes = futures::future::join_all(calls).await;
    assert!(sizes.iter().all(|size| *size > 0));
    let (drained, written) = stage.end().await;
    assert_eq!(drained.cut, 0);
    assert_eq!((written.ends().len(), written.settled().len(), written.admitted().len()), (200, 200, 200));
}

#[tokio::test]
async fn a_provider_that_speaks_http2_is_spoken_to_in_http2() {
    let provider = provider::http2_only(WHOLE).await;
    for (http2, status) in [(true, 200), (false, 502)] {
        let stage = Stage::with(provider, Setting { http2, ..Setting::default() }).await;
        let answer = stage.post("/v1/chat/completions", &chat(json!({}))).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status);
        let (_, written) = stage.end().await;
        assert_eq!(written.one().outcome, if http2 { Outcome::Complete } else { Outcome::ProviderError });
        assert!(!http2 || input_and_output(&written) == Some((9, 2)));
    }
}

#[tokio::test]
async fn a_provider_has_no_more_connections_than_it_is_given() {
    let replay = Replay::start(stream(vec![say(TEXT), Step::Wait, say(USAGE), say(DONE)])).await;
    let timeouts = Timeouts { connect: Duration::from_millis(100), ..Timeouts::default() };
    let stage = Stage::with(replay.address, Setting { timeouts, max_connections: 1, ..Setting::default() }).await;
    let mut first = stage.post("/v1/chat/completions", &chat(json!({ "stream": true }))).send().await.unwrap();
    assert!(first.chunk().await.unwrap().is_some());
    let second = stage.post("/v1/chat/completions", &chat(json!({}))).send().await.unwrap();
    assert_eq!(second.status(), 503);
    replay.go_on();
    assert!(first.bytes().await.unwrap().ends_with(DONE.as_bytes()));
    let (_, written) = stage.end().await;
    assert_eq!((replay.asked().len(), written.settled().len()), (1, 2));
}

#[tokio::test]
async fn bodies_in_memory_are_bounded_over_all_calls() {
    let replay = Replay::start(json("200 OK", WHOLE)).await;
    let mut setting = Setting::default();
    (setting.server.max_body, setting.server.max_body_in_flight) = (1_000, 1_500);
    let stage = Stage::with(replay.address, setting).await;
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-length: 1000\r\n\
         expect: 100-continue\r\n\r\n"
    );
    let begin = async || {
        let mut slow = tokio::net::TcpStream::connect(stage.address).await.unwrap();
        slow.write_all(head.as_bytes()).await.unwrap();
        let mut asked = [0; 12];
        slow.read_exact(&mut asked).await.unwrap();
        assert_eq!(&asked, b"HTTP/1.1 100");
        slow
    };
    let mut slow = begin().await;
    let long = chat(json!({ "user": "x".repeat(800) }));
    let post = async || stage.post("/v1/chat/completions", &long).send().await.unwrap().status();
    assert_eq!(post().await, 200, "a length that is only stated takes no room");
    let refused = async {
        slow.write_all(&[b' '; 900]).await.unwrap();
        while post().await != 503 {
            // The room is for whoever comes first: if that was the other one, the slow body was refused, and begins anew.
            if slow.try_read(&mut [0; 64]).is_ok_and(|answer| answer > 2) {
                slow = begin().await;
                slow.write_all(&[b' '; 900]).await.unwrap();
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), refused).await.expect("what has come of a body takes room");
    // It closes its side once it has given up the slow body, and the room with it.
    slow.shutdown().await.unwrap();
    let _ = slow.read_to_end(&mut Vec::new()).await;
    let taken = stage.post("/v1/chat/completions", &long).send().await.unwrap();
    assert_eq!(taken.status(), 200);
    drop(stage.end().await);
}

#[tokio::test]
async fn beyond_what_is_drained_a_client_that_leaves_is_settled_at_once() {
    let replay = Replay::start(stream(vec![say(TEXT), Step::Hang])).await;
    let mut setting = Setting::default();
    // The first estimate of a process reads its table of tokens.
    setting.server.drain = Duration::from_secs(3);
    let stage = Stage::with(replay.address, setting).await;
    let body = chat(json!({ "stream": true })).to_string();
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    for number in 1..=105 {
        let mut client = tokio::net::TcpStream::connect(stage.address).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        replay.was_asked(number).await;
        client.shutdown().await.unwrap();
        let _ = client.read_to_end(&mut Vec::new()).await;
    }
    let (drained, written) = stage.end().await;
    let ended = |outcome| written.settled().iter().filter(|settled| settled.outcome == outcome).count();
    assert_eq!((drained.cut, ended(Outcome::Cut), ended(Outcome::ClientGone)), (100, 100, 5));
    assert!(written.ends().values().all(|ends| *ends == 1) && written.ends().len() == 105);
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_let_go_and_cannot_stop_a_shutdown() {
    // 32 MB of answer: more than sockets buffer, and more than is drained.
    let body = chat(json!({ "model": "sandbox/1000000", "stream": true })).to_string();
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let (short, long) = (Duration::from_millis(100), Duration::from_secs(60));
    // Either the client's time is over, or the gateway's.
    for (patience, drain, cut) in [(short, long, 0), (long, short, 1)] {
        let mut setting = Setting::default();
        (setting.server.body_timeout, setting.server.drain) = (patience, drain);
        let stage = Stage::with("127.0.0.1:1".parse().unwrap(), setting).await;
        let mut client = tokio::net::TcpStream::connect(stage.address).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        client.readable().await.unwrap();
        let (drained, written) = stage.end().await;
        assert_eq!(drained.cut, cut);
        // Whether the cut or the end of the connection comes first depends on how much the sockets still took.
        let outcome = written.one().outcome;
        assert!(outcome == Outcome::ClientGone || (cut == 1 && outcome == Outcome::Cut), "{outcome:?}");
        drop(client);
    }
}
