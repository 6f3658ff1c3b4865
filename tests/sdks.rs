//! The official SDKs of Google, OpenAI and Anthropic, for Python and Node, as clients of the real binary: native and translated answers, whole
//! and streamed, given for the first time and given again. The provider sees each call once.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::Bytes,
    http::{Uri, header},
    response::IntoResponse as _,
};
use serde_json::{Value, json};

#[expect(dead_code, reason = "each test of the real binary uses a part of it")]
#[path = "support/house.rs"]
mod house;
#[path = "support/node.rs"]
mod node;
#[path = "support/sdk.rs"]
mod sdk;

use house::Process;

fn gemini(parts: &Value, ends: bool, output: u64) -> Value {
    let mut candidate = json!({ "content": { "role": "model", "parts": parts }, "index": 0 });
    if ends {
        candidate["finishReason"] = "STOP".into();
    }
    json!({ "candidates": [candidate], "modelVersion": "gemini-2.5-flash", "responseId": "g1",
        "usageMetadata": { "promptTokenCount": 7, "candidatesTokenCount": output, "thoughtsTokenCount": 3, "totalTokenCount": 10 + output } })
}

fn events(list: &[Value]) -> String {
    let named = |data: &Value| data["type"].as_str().map(|kind| format!("event: {kind}\n")).unwrap_or_default();
    list.iter().map(|data| format!("{}data: {data}\n\n", named(data))).collect()
}

/// An answer of Anthropic's, in one piece or as events.
fn message(streams: bool) -> String {
    let whole = json!({ "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "content": [],
        "stop_reason": null, "stop_sequence": null, "usage": { "input_tokens": 7, "output_tokens": 1 } });
    let mut done = whole.clone();
    done["content"] = json!([{ "type": "text", "text": "Hello there, friend." },
        { "type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": { "city": "Paris" } }]);
    (done["stop_reason"], done["usage"]["output_tokens"]) = ("tool_use".into(), 9.into());
    if !streams {
        return done.to_string();
    }
    let block =
        |index: u64, block: Value| json!({ "type": "content_block_start", "index": index, "content_block": block });
    let delta = |index: u64, delta: Value| json!({ "type": "content_block_delta", "index": index, "delta": delta });
    let stop = |index: u64| json!({ "type": "content_block_stop", "index": index });
    events(&[
        json!({ "type": "message_start", "message": whole }),
        block(0, json!({ "type": "text", "text": "" })),
        delta(0, json!({ "type": "text_delta", "text": "Hello there, " })),
        delta(0, json!({ "type": "text_delta", "text": "friend." })),
        stop(0),
        block(1, json!({ "type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {} })),
        delta(1, json!({ "type": "input_json_delta", "partial_json": "{\"city\": " })),
        delta(1, json!({ "type": "input_json_delta", "partial_json": "\"Paris\"}" })),
        stop(1),
        json!({ "type": "message_delta", "delta": { "stop_reason": "tool_use", "stop_sequence": null }, "usage": { "output_tokens": 9 } }),
        json!({ "type": "message_stop" }),
    ])
}

fn answer(path: &str, body: &[u8]) -> (&'static str, String) {
    const JSON: &str = "application/json";
    const EVENTS: &str = "text/event-stream";
    let call = json!({ "functionCall": { "name": "get_weather", "args": { "city": "Paris" } } });
    if path.ends_with(":generateContent") {
        return (JSON, gemini(&json!([{ "text": "Hello there, friend." }, call]), true, 9).to_string());
    }
    if path.ends_with(":streamGenerateContent") {
        let first = gemini(&json!([{ "text": "Hello there, " }]), false, 4);
        return (EVENTS, events(&[first, gemini(&json!([{ "text": "friend." }, call]), true, 9)]));
    }
    if path.ends_with(":countTokens") {
        return (JSON, json!({ "totalTokens": 7 }).to_string());
    }
    if path.ends_with(":batchEmbedContents") {
        return (JSON, json!({ "embeddings": [{ "values": [0.5, 0.25] }] }).to_string());
    }
    assert_eq!(path, "/v1/messages");
    let streams = serde_json::from_slice::<Value>(body).unwrap()["stream"] == true;
    (if streams { EVENTS } else { JSON }, message(streams))
}

/// A provider of Gemini's and Anthropic's dialects, which counts the answers that can be kept.
fn provider(runtime: &tokio::runtime::Runtime) -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let (address, seen) = (listener.local_addr().unwrap(), Arc::<AtomicUsize>::default());
    let counted = Arc::clone(&seen);
    let serve = move |uri: Uri, body: Bytes| {
        let (kind, said) = answer(uri.path(), &body);
        let is_kept = !uri.path().ends_with(":countTokens") && !uri.path().ends_with(":batchEmbedContents");
        counted.fetch_add(usize::from(is_kept), Ordering::Relaxed);
        async move { ([(header::CONTENT_TYPE, kind)], said).into_response() }
    };
    let router = Router::new().fallback(serve);
    runtime.spawn(async move { axum::serve(listener, router).await });
    (address, seen)
}

fn configuration(provider: std::net::SocketAddr) -> String {
    format!(
        "providers:\n\
         \x20 - {{ name: google, dialect: gemini, base_url: \"http://{provider}\", api_key: sk-one }}\n\
         \x20 - {{ name: anthropic, dialect: anthropic, base_url: \"http://{provider}\", api_key: sk-two }}\n\
         models:\n\
         \x20 - {{ name: gemini-2.5-flash, targets: [ {{ provider: google }} ], cache: {{ ttl: 1h }} }}\n\
         \x20 - {{ name: gemini-embedding-001, targets: [ {{ provider: google }} ] }}\n\
         \x20 - {{ name: claude-sonnet-4-5, targets: [ {{ provider: anthropic }} ], cache: {{ ttl: 1h }} }}\n\
         tenants:\n\
         \x20 - {{ name: acme, keys: [ {{ name: ci, key: tg-acme }} ] }}\n\
         access: [ {{ token: tgq-all, tenants: [\"*\"] }} ]\n"
    )
}

/// Runs a script against the gateway, and gives how many calls it made twice.
fn run(command: &mut Command) -> usize {
    let done = command.output().unwrap();
    let (said, wrong) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{said}\n{wrong}");
    said.trim().parse().unwrap()
}

#[test]
fn every_sdk_reads_what_is_served_and_what_is_served_again() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (address, seen) = provider(&runtime);
    let dir = tempfile::tempdir().unwrap();
    let log = format!("{{ kind: disk, dir: {}/log }}", dir.path().display());
    let mut house = Process::of("house", dir.path(), &log, &configuration(address), None);
    house.start();
    let base = format!("http://{}", house.gateway);
    let script = |name: &str| -> PathBuf { Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/sdk").join(name) };
    let mut calls = run(Command::new(sdk::python()).arg(script("served.py")).arg(&base));
    match node::folder() {
        Some(node) => calls += run(Command::new("node").arg(script("served.mjs")).arg(node).arg(&base)),
        None => eprintln!("SKIPPED: there is no Node, so its SDKs asked nothing"),
    }
    // Each is made twice; what two SDKs ask in the same words is one question.
    let seen = seen.load(Ordering::Relaxed);
    assert!((14..=calls).contains(&seen), "the provider saw {seen} of {calls} calls");
    let hits = |model: &str| -> usize {
        let name = format!("tollgate_cache_hits{{model=\"{model}\"}}");
        house.metric(&name).and_then(|hits| hits.parse().ok()).unwrap_or(0)
    };
    assert_eq!(hits("gemini-2.5-flash") + hits("claude-sonnet-4-5"), 2 * calls - seen);
    assert_eq!(house.stop(), 0);
}
