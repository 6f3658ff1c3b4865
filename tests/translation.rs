//! The official SDKs read what translation writes: every recorded answer as each client gets it, put together by the SDK's own
//! accumulators from a local server, and every recorded request as it goes to Gemini, Bedrock and Cohere, by their SDKs' own types.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{
    fs,
    io::Write as _,
    process::{Command, Output, Stdio},
};

use gateway::translate::{Client, Flavor, Provider, Request, To};
use serde_json::{Value, json};

#[path = "../gateway/tests/translate/accumulate.rs"]
mod accumulate;
#[path = "../gateway/tests/translate/corpus.rs"]
mod corpus;
#[path = "support/node.rs"]
mod node;
#[path = "support/sdk.rs"]
mod sdk;

use corpus::{CLIENTS, Exchange, PROVIDERS, Said};

/// An answer as a client gets it, with what is said in it.
fn answers(place: &std::path::Path, exchange: &Exchange) -> Vec<Value> {
    let Some((_, dialect, _)) = corpus::provider(exchange) else { return Vec::new() };
    if exchange.meta["status"].as_u64().unwrap() >= 400 {
        return Vec::new();
    }
    let case = |client: &str, kind: &str, body: String, said: &Said, fails: bool| {
        json!({ "id": exchange.id, "from": dialect, "kind": kind, "client": client, "body": body, "fails": fails,
            "text": said.text, "thinking": said.thinking, "calls": said.calls })
    };
    let mut cases = Vec::new();
    for (client, name) in CLIENTS {
        if let Some(events) = corpus::events(place, &exchange.id) {
            let Ok(frames) = corpus::stream(exchange, client, &events) else { continue };
            let fails = match client {
                Client::OpenAiChat => frames.contains("data: {\"error\":"),
                Client::OpenAiResponses => frames.contains("event: response.failed\n"),
                Client::AnthropicMessages => frames.contains("event: error\n"),
            };
            let said = if fails { Said::default() } else { Said::of(dialect, &corpus::rebuilt(dialect, &events)) };
            cases.push(case(name, "stream", frames, &said, fails));
        } else {
            let body = fs::read(place.join(format!("{}.response.json", exchange.id))).unwrap();
            let said = Said::of(dialect, &serde_json::from_slice(&body).unwrap());
            let whole = corpus::whole(exchange, client, &body).unwrap();
            cases.push(case(name, "whole", whole, &said, false));
        }
    }
    cases
}

/// A request as it goes to the providers whose SDKs can check it.
fn requests(place: &std::path::Path, exchange: &Exchange) -> Vec<Value> {
    let Some((client, _)) = CLIENTS.into_iter().find(|(_, name)| *name == exchange.dialect) else { return Vec::new() };
    let Some(body) = corpus::request(place, &exchange.id) else { return Vec::new() };
    let Ok(request) = Request::read(client, body.as_bytes()) else { return Vec::new() };
    let checked = [Provider::Gemini, Provider::BedrockConverse, Provider::CohereChat];
    let targets = PROVIDERS.into_iter().filter(|(provider, ..)| checked.contains(provider));
    let written = targets.filter_map(|(provider, name, model)| {
        let to = To { provider, model, max_output: None, old_cap: false, flavor: Flavor::OpenAi, ask_usage: true };
        let written = request.write(&to).ok()?;
        Some(json!({ "id": exchange.id, "kind": "request", "to": name, "body": written.body }))
    });
    written.collect()
}

#[test]
fn the_official_sdks_read_what_is_translated() {
    let Some(place) = corpus::corpus() else { return };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("cases.jsonl");
    let mut out = std::io::BufWriter::new(fs::File::create(&file).unwrap());
    let mut count = 0;
    for exchange in corpus::exchanges(&place) {
        for case in answers(&place, &exchange).into_iter().chain(requests(&place, &exchange)) {
            writeln!(out, "{case}").unwrap();
            count += 1;
        }
    }
    out.flush().unwrap();
    drop(out);
    assert!(count > 4_000, "only {count} cases");
    let script = |name: &str| format!("{}/tests/support/sdk/{name}", env!("CARGO_MANIFEST_DIR"));
    let piped = |command: &mut Command| command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Each takes some ten seconds of one core, so they run beside each other.
    let python = piped(Command::new(sdk::python()).arg(script("translated.py")).arg(&file));
    let node =
        node::folder().map(|folder| piped(Command::new("node").arg(script("translated.mjs")).arg(folder).arg(&file)));
    content(&python.wait_with_output().unwrap());
    match node {
        Some(node) => content(&node.wait_with_output().unwrap()),
        None => eprintln!("SKIPPED: there is no Node, so its SDKs read nothing"),
    }
}

fn content(done: &Output) {
    let (said, wrong) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{said}\n{wrong}");
    println!("{said}");
}
