//! Golden matrices: one request × every provider, one answer × every client, as files that are read when they change.
//!
//! A case is a folder: `request.json` of the client that the folder's name begins with, or `answer.json` or `stream` of the provider.
//! `TOLLGATE_GOLDEN=write cargo test --test translate golden` writes what is expected anew; then `git diff` is the review.

use std::{fs, path::Path};

use gateway::translate::{Client, End, Flavor, Provider, Request, Stream, To, Told, answer};
use schemas::tokens::Vector;
use serde_json::{Value, json};

use crate::{
    accumulate,
    corpus::PROVIDERS,
    recorded::{assembled, essence},
};

const CLIENTS: [(Client, &str); 3] =
    [(Client::OpenAiChat, "chat"), (Client::OpenAiResponses, "responses"), (Client::AnthropicMessages, "messages")];
const TARGETS: [(Provider, &str); 5] = [
    (Provider::OpenAiChat, "chat"),
    (Provider::AnthropicMessages, "messages"),
    (Provider::Gemini, "gemini"),
    (Provider::BedrockConverse, "converse"),
    (Provider::CohereChat, "cohere"),
];

const USAGE: Vector = Vector {
    uncached_input: 100,
    cache_read: 40,
    cache_write_5m: 5,
    cache_write_1h: 0,
    output: 60,
    audio_input: 0,
    audio_output: 0,
    web_searches: 0,
    search_units: 0,
    guardrails: 0,
    tool_calls: 0,
    image_input: 0,
    image_output: 0,
    cache_read_audio: 0,
    code_sessions: 0,
    reasoning: 12,
};

fn said(case: &Path, name: &str, found: &str, wrong: &mut Vec<String>) {
    let file = case.join(name);
    if std::env::var("TOLLGATE_GOLDEN").as_deref() == Ok("write") {
        return fs::write(file, found).unwrap();
    }
    let expected = fs::read_to_string(&file).unwrap_or_default();
    if expected != found {
        wrong.push(format!("{}:\n{found}", file.display()));
    }
}

fn model(provider: Provider) -> &'static str {
    PROVIDERS.into_iter().find(|(known, ..)| *known == provider).unwrap().2
}

/// A body one member a line, in the order in which it is written.
fn lines(body: &str) -> String {
    let (mut out, mut depth, mut in_text, mut escaped) = (String::new(), 0_usize, false, false);
    let mut chars = body.chars().peekable();
    while let Some(char) = chars.next() {
        let is_mark = !in_text;
        in_text ^= char == '"' && !escaped;
        escaped = char == '\\' && !escaped;
        match char {
            '{' | '[' if is_mark && !is_empty(&chars) => {
                depth += 1;
                out.push(char);
                out.push_str(&format!("\n{}", "  ".repeat(depth)));
            }
            '}' | ']' if is_mark && !out.ends_with(['{', '[']) => {
                depth -= 1;
                out.push_str(&format!("\n{}{char}", "  ".repeat(depth)));
            }
            ',' if is_mark => out.push_str(&format!(",\n{}", "  ".repeat(depth))),
            ':' if is_mark => out.push_str(": "),
            ' ' | '\n' if is_mark => {}
            _ => out.push(char),
        }
    }
    out + "\n"
}

/// Whether what has just been opened is closed at once.
fn is_empty(rest: &std::iter::Peekable<std::str::Chars<'_>>) -> bool {
    rest.clone().find(|char| !char.is_ascii_whitespace()).is_some_and(|next| matches!(next, '}' | ']'))
}

fn requests(case: &Path, client: Client, wrong: &mut Vec<String>) {
    let body = fs::read(case.join("request.json")).unwrap();
    for (provider, name) in TARGETS {
        let to = To {
            provider,
            model: model(provider),
            max_output: Some(8_192),
            old_cap: false,
            flavor: Flavor::OpenAi,
            ask_usage: true,
        };
        let found = match Request::read(client, &body).and_then(|request| request.write(&to)) {
            Ok(written) => {
                let dropped = serde_json::to_string(&written.dropped).unwrap();
                lines(&format!(r#"{{"body":{},"not_carried":{dropped}}}"#, written.body))
            }
            Err(why) => lines(&json!({ "refused": why.to_string(), "code": why.code().code() }).to_string()),
        };
        said(case, &format!("{name}.json"), &found, wrong);
    }
}

pub(crate) fn told(client: Client) -> Told {
    let asked: &[u8] = match client {
        Client::OpenAiResponses => {
            br#"{"model":"asked-for","input":"hi","instructions":"Be brief.","temperature":0.5}"#
        }
        Client::OpenAiChat => br#"{"model":"asked-for","messages":[],"stream_options":{"include_usage":true}}"#,
        Client::AnthropicMessages => br#"{"model":"asked-for","messages":[]}"#,
    };
    Request::read(client, asked).unwrap().told("0190b3c4", 1_790_000_000, 17)
}

fn answers(case: &Path, provider: Provider, wrong: &mut Vec<String>) {
    for (client, name) in CLIENTS {
        if let Ok(body) = fs::read(case.join("answer.json")) {
            let written = answer(provider, model(provider), client, &body, &told(client), Some(&USAGE)).unwrap();
            let dropped = serde_json::to_string(&written.dropped).unwrap();
            let found = lines(&format!(r#"{{"body":{},"not_carried":{dropped}}}"#, written.body));
            said(case, &format!("{name}.json"), &found, wrong);
        }
        let Ok(events) = fs::read_to_string(case.join("stream.sse")) else { continue };
        let mut stream = Stream::new(provider, model(provider), client, told(client));
        let mut frames = String::new();
        for (event, data) in accumulate::frames(&events) {
            frames.push_str(&stream.push(&event, data.as_bytes()).unwrap());
        }
        frames.push_str(&stream.end(End::Complete, Some(&USAGE)));
        said(case, &format!("{name}.sse"), &frames, wrong);
    }
}

#[test]
fn the_matrices_are_as_they_were_reviewed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/translate");
    let (mut cases, mut wrong) = (0, Vec::new());
    for case in fs::read_dir(root).unwrap().map(|case| case.unwrap().path()) {
        let name = case.file_name().unwrap().to_str().unwrap().to_owned();
        let (kind, whose) = name.split_once('-').unwrap();
        let whose = whose.split('-').next().unwrap();
        match kind {
            "request" => requests(&case, CLIENTS.into_iter().find(|(_, name)| *name == whose).unwrap().0, &mut wrong),
            _ => answers(&case, TARGETS.into_iter().find(|(_, name)| *name == whose).unwrap().0, &mut wrong),
        }
        cases += 1;
    }
    assert!(wrong.is_empty(), "{} files differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(cases >= 10, "only {cases} cases");
}

/// Whoever asked for a stream gets one of an answer that came whole, which says the same, to its end.
#[test]
fn an_answer_that_comes_whole_is_a_stream_to_who_asked_for_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/translate");
    let mut answers = 0;
    for case in fs::read_dir(root).unwrap().map(|case| case.unwrap().path()) {
        let Ok(body) = fs::read(case.join("answer.json")) else { continue };
        let name = case.file_name().unwrap().to_str().unwrap();
        let whose = name.strip_prefix("answer-").unwrap().split('-').next().unwrap();
        let provider = TARGETS.into_iter().find(|(_, name)| *name == whose).unwrap().0;
        for (client, dialect) in CLIENTS {
            let whole = answer(provider, model(provider), client, &body, &told(client), Some(&USAGE)).unwrap().body;
            let whole: Value = serde_json::from_str(&whole).unwrap();
            let stream = Stream::new(provider, model(provider), client, told(client));
            let frames = stream.whole(&body, Some(&USAGE)).unwrap();
            let assembled = assembled(client, &frames);
            assert_eq!(essence(client, &assembled), essence(client, &whole), "{name} to {dialect}");
            let output = if client == Client::OpenAiChat { "completion_tokens" } else { "output_tokens" };
            assert_eq!(assembled["usage"][output], 60, "{name} to {dialect}");
            let mark = ["data: [DONE]\n\n", "event: response.completed\n", "event: message_stop\n"];
            assert!(mark.iter().any(|mark| frames.contains(mark)) || whole["status"] == "incomplete", "{frames}");
            answers += 1;
        }
    }
    assert!(answers >= 15, "only {answers} answers");
}

/// Gemini's array of chunks is what its stream would be.
#[test]
fn a_list_of_chunks_is_one_answer() {
    let chunk = |text: &str, reason: Option<&str>| json!({ "candidates": [{ "index": 0, "finishReason": reason, "content": { "role": "model", "parts": [{ "text": text }] } }] });
    let body = json!([chunk("a", None), chunk("b", None), chunk("c", Some("STOP"))]).to_string();
    let stream = Stream::new(Provider::Gemini, "gemini-3-flash", Client::OpenAiChat, told(Client::OpenAiChat));
    let frames = stream.whole(body.as_bytes(), None).unwrap();
    let whole = assembled(Client::OpenAiChat, &frames);
    assert_eq!(
        (&whole["choices"][0]["message"]["content"], &whole["choices"][0]["finish_reason"]),
        (&json!("abc"), &json!("stop"))
    );
    let failed = json!([{ "error": { "code": 503, "message": "overloaded", "status": "UNAVAILABLE" } }]).to_string();
    let stream = Stream::new(Provider::Gemini, "gemini-3-flash", Client::OpenAiChat, told(Client::OpenAiChat));
    assert!(stream.whole(failed.as_bytes(), None).unwrap_err().to_string().contains("overloaded"));
}

/// What an answer holds comes back with the next request: the proofs, ids and words of a turn survive the client.
#[test]
fn a_turn_that_comes_back_is_what_its_provider_said() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/translate");
    for (case, provider) in [
        ("answer-messages-thinking", Provider::AnthropicMessages),
        ("answer-gemini-thinking", Provider::Gemini),
        ("answer-converse-thinking", Provider::BedrockConverse),
        ("answer-cohere-plan", Provider::CohereChat),
    ] {
        let body = fs::read(root.join(case).join("answer.json")).unwrap();
        let whole: Value = serde_json::from_slice(&body).unwrap();
        for (client, name) in CLIENTS {
            let written = answer(provider, model(provider), client, &body, &told(client), None).unwrap().body;
            let given: Value = serde_json::from_str(&written).unwrap();
            let to = To {
                provider,
                model: model(provider),
                max_output: None,
                old_cap: false,
                flavor: Flavor::OpenAi,
                ask_usage: true,
            };
            let again = Request::read(client, next(client, &given).to_string().as_bytes()).unwrap().write(&to).unwrap();
            let again: Value = serde_json::from_str(&again.body).unwrap();
            let (turn, first) = match provider {
                Provider::Gemini => (&again["contents"][1]["parts"], &whole["candidates"][0]["content"]["parts"]),
                Provider::BedrockConverse => (&again["messages"][1]["content"], &whole["output"]["message"]["content"]),
                Provider::CohereChat => (&again["messages"][1], &whole["message"]),
                _ => (&again["messages"][1]["content"], &whole["content"]),
            };
            assert_eq!(turn, first, "{case} by {name}");
        }
    }
}

/// The next request of a client that sends the answer back as it came.
pub(crate) fn next(client: Client, given: &Value) -> Value {
    match client {
        Client::OpenAiChat => json!({ "model": "m", "messages": [
            { "role": "user", "content": "hi" }, given["choices"][0]["message"], { "role": "user", "content": "on" },
        ] }),
        Client::AnthropicMessages => json!({ "model": "m", "max_tokens": 9, "messages": [
            { "role": "user", "content": "hi" }, { "role": "assistant", "content": given["content"] },
            { "role": "user", "content": "on" },
        ] }),
        Client::OpenAiResponses => {
            let mut input = vec![json!({ "role": "user", "content": "hi" })];
            input.extend(given["output"].as_array().unwrap().iter().cloned());
            input.push(json!({ "role": "user", "content": "on" }));
            json!({ "model": "m", "input": input })
        }
    }
}
