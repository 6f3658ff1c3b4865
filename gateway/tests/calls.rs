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
#[path = "calls/incoming.rs"]
mod incoming;
#[cfg(test)]
#[path = "calls/keys.rs"]
mod keys;
#[cfg(test)]
#[path = "calls/leased.rs"]
mod leased;
#[cfg(test)]
#[path = "calls/leaving.rs"]
mod leaving;
#[cfg(test)]
#[path = "calls/onward.rs"]
mod onward;
#[cfg(test)]
#[path = "calls/own.rs"]
mod own;
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
use stage::{KEY, SECRET, Setting, Stage, Written, chat};
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
