//! Every recorded request of a client's dialect is carried to every provider or refused by name, and every recorded answer of a
//! provider reaches every client: whole, streamed and cut, saying what the provider said.
//!
//! What was said is read from the recording by code of its own. The corpus lies beside the checkout, or where `TOLLGATE_CORPUS`
//! says; without it the tests say loudly that they did nothing, unless `TOLLGATE_REQUIRE_CORPUS=1` makes that a failure.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use gateway::translate::{Blame, Client, End, Provider, Request, Stream, To, Told, answer, error};
use schemas::tokens::Vector;
use serde_json::{Value, value::RawValue};

use crate::accumulate;

pub(crate) const CLIENTS: [(Client, &str); 3] = [
    (Client::OpenAiChat, "openai.chat"),
    (Client::OpenAiResponses, "openai.responses"),
    (Client::AnthropicMessages, "anthropic.messages"),
];
pub(crate) const PROVIDERS: [(Provider, &str, &str); 5] = [
    (Provider::OpenAiChat, "openai.chat", "gpt-5-mini"),
    (Provider::AnthropicMessages, "anthropic.messages", "claude-sonnet-4-5"),
    (Provider::Gemini, "gemini.generateContent", "gemini-3-flash"),
    (Provider::BedrockConverse, "bedrock.converse", "us.anthropic.claude-sonnet-4-5-v1:0"),
    (Provider::CohereChat, "cohere.v2.chat", "command-a-03-2025"),
];

/// Answers that are refused, each with the reason.
const NOT_ASKED_FOR: &[(&str, &str)] =
    &[("da2d8efa26ba6a2f", "arguments in pieces, which Vertex AI sends only to who asks for them")];

pub(crate) struct Exchange {
    pub(crate) id: String,
    pub(crate) dialect: String,
    pub(crate) meta: Value,
}

pub(crate) fn corpus() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus");
    let place = std::env::var_os("TOLLGATE_CORPUS").map_or_else(beside, PathBuf::from);
    if place.join("README.md").exists() {
        return Some(place);
    }
    assert_ne!(std::env::var("TOLLGATE_REQUIRE_CORPUS").as_deref(), Ok("1"), "no corpus at {}", place.display());
    eprintln!("SKIPPED: there is no corpus at {}, so no recorded exchange was translated", place.display());
    None
}

pub(crate) fn exchanges(corpus: &Path) -> Vec<Exchange> {
    let mut found = Vec::new();
    for entry in fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()) {
        let Some(id) = entry.file_name().and_then(|name| name.to_str()?.strip_suffix(".meta.json")) else { continue };
        let meta: Value = serde_json::from_slice(&fs::read(&entry).unwrap()).unwrap();
        let dialect = meta["dialect"].as_str().unwrap().replace("converse_stream", "converse");
        found.push(Exchange { id: id.to_owned(), dialect, meta });
    }
    found.sort_by(|a, b| a.id.cmp(&b.id));
    found
}

fn request(corpus: &Path, id: &str) -> Option<String> {
    let file = fs::read(corpus.join(format!("{id}.request.json"))).unwrap();
    let request: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(&file).unwrap();
    let recorded = request.get("recorded").is_none_or(|recorded| recorded.get() == "true");
    request.get("body").filter(|_| recorded).map(|body| body.get().to_owned())
}

/// Every text and every number in it, but names of members.
fn leaves(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| leaves(item, found)),
        Value::Object(members) => members.values().for_each(|item| leaves(item, found)),
        _ => {}
    }
}

/// The texts of a request that must reach the provider, whatever the dialect: what was said, what tools gave, names of tools.
fn said(body: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut take = |value: &Value| {
        if let Some(text) = value.as_str().filter(|text| !text.is_empty()) {
            found.push(text.to_owned());
        }
    };
    ["instructions", "system", "input"].into_iter().for_each(|name| take(&body[name]));
    // Reasoning of another provider is listed and not sent.
    let is_said = |item: &&Value| item["type"] != "reasoning" && item["type"] != "thinking";
    let turns = [&body["messages"], &body["input"], &body["system"]];
    for turn in turns.into_iter().filter_map(Value::as_array).flatten().filter(is_said) {
        [&turn["content"], &turn["output"], &turn["text"], &turn["name"]].into_iter().for_each(&mut take);
        for call in turn["tool_calls"].as_array().into_iter().flatten() {
            take(&call["function"]["name"]);
        }
        for part in [&turn["content"], &turn["output"]].into_iter().filter_map(Value::as_array).flatten() {
            [&part["text"], &part["content"]].into_iter().for_each(&mut take);
        }
    }
    // A choice can rule tools out, and then they need not be sent.
    let all = body["tool_choice"].is_null() || ["auto", "required"].iter().any(|word| body["tool_choice"] == *word);
    for tool in body["tools"].as_array().into_iter().flatten().filter(|_| all) {
        [&tool["description"], &tool["function"]["name"], &tool["function"]["description"]]
            .into_iter()
            .for_each(&mut take);
    }
    found
}

#[test]
fn every_recorded_request_is_carried_or_refused_by_name() {
    let Some(corpus) = corpus() else { return };
    let (mut carried, mut refused, mut wrong) = (0, BTreeMap::<String, usize>::new(), Vec::new());
    for exchange in exchanges(&corpus) {
        let Some((client, _)) = CLIENTS.into_iter().find(|(_, name)| *name == exchange.dialect) else { continue };
        let Some(body) = request(&corpus, &exchange.id) else { continue };
        let read = Request::read(client, body.as_bytes());
        for (provider, name, model) in PROVIDERS {
            let to = To { provider, model, max_output: Some(8_192), old_cap: false };
            match read.clone().and_then(|request| request.write(&to)) {
                Ok(written) => {
                    carried += 1;
                    let (mut texts, body): (_, Value) = (Vec::new(), serde_json::from_str(&body).unwrap());
                    leaves(&serde_json::from_str(&written.body).unwrap(), &mut texts);
                    let all = texts.join("\n");
                    for text in said(&body) {
                        let as_json = serde_json::from_str::<Value>(&text).ok();
                        let is_listed = written.dropped.iter().any(|what| what.ends_with(".name"));
                        if !all.contains(&text) && as_json.is_none_or(|json| !json.is_object()) && !is_listed {
                            wrong.push(format!("{} to {name}: {text:?} is gone", exchange.id));
                        }
                    }
                }
                Err(why) => {
                    // Others than OpenAI and Anthropic take what is not in their form.
                    if why.blame == Blame::Form
                        && exchange.meta["status"] == 200
                        && exchange.meta["api"] == exchange.dialect
                    {
                        wrong.push(format!("{} to {name}: {why}", exchange.id));
                    }
                    let places = why.at.split(|char: char| char.is_ascii_digit()).collect::<String>();
                    *refused.entry(format!("{places}: {}", why.why)).or_default() += 1;
                }
            }
        }
    }
    println!("{carried} carried; refused:\n{}", table(&refused));
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(carried > 2_500, "only {carried} were carried");
}

fn table(counts: &BTreeMap<String, usize>) -> String {
    counts.iter().map(|(what, count)| format!("  {count} × {what}\n")).collect()
}

/// What an answer says, in the words of no dialect: its text, its calls, and whether it was cut short.
#[derive(Debug, Default, PartialEq)]
struct Said {
    text: String,
    thinking: String,
    calls: Vec<(String, Value)>,
}

impl Said {
    fn call(&mut self, name: &Value, arguments: &Value) {
        let arguments = match arguments {
            Value::String(text) if text.is_empty() => Value::Object(serde_json::Map::new()),
            Value::String(text) => serde_json::from_str(text).unwrap_or_else(|_| arguments.clone()),
            Value::Null => Value::Object(serde_json::Map::new()),
            other => other.clone(),
        };
        self.calls.push((name.as_str().unwrap_or_default().to_owned(), arguments));
    }

    fn say(&mut self, text: &Value) {
        self.text.push_str(text.as_str().unwrap_or_default());
    }

    fn think(&mut self, text: &Value) {
        self.thinking.push_str(text.as_str().unwrap_or_default());
    }

    fn of(dialect: &str, whole: &Value) -> Self {
        let mut said = Self::default();
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        match dialect {
            "openai.chat" => said.chat(&whole["choices"][0]["message"]),
            "openai.responses" => {
                for item in list(&whole["output"]) {
                    list(&item["content"]).iter().for_each(|part| {
                        said.say(&part["text"]);
                        said.say(&part["refusal"]);
                    });
                    list(&item["summary"]).iter().for_each(|part| said.think(&part["text"]));
                    if item["type"] == "function_call" {
                        said.call(&item["name"], &item["arguments"]);
                    }
                }
            }
            "anthropic.messages" => {
                for block in list(&whole["content"]) {
                    said.say(if block["type"] == "text" { &block["text"] } else { &Value::Null });
                    said.think(&block["thinking"]);
                    if block["type"] == "tool_use" {
                        said.call(&block["name"], &block["input"]);
                    }
                }
            }
            "gemini.generateContent" => {
                for part in list(&whole["candidates"][0]["content"]["parts"]) {
                    if part["thought"] == true {
                        said.think(&part["text"])
                    } else {
                        said.say(&part["text"])
                    }
                    if part["functionCall"].is_object() {
                        said.call(&part["functionCall"]["name"], &part["functionCall"]["args"]);
                    }
                }
            }
            "bedrock.converse" => {
                for block in list(&whole["output"]["message"]["content"]) {
                    said.say(&block["text"]);
                    said.think(&block["reasoningContent"]["reasoningText"]["text"]);
                    let call = &block["toolUse"];
                    if call.is_object() && call["type"] != "server_tool_use" {
                        said.call(&call["name"], &call["input"]);
                    }
                }
            }
            _ => {
                said.think(&whole["message"]["tool_plan"]);
                for part in list(&whole["message"]["content"]) {
                    said.say(&part["text"]);
                    said.think(&part["thinking"]);
                }
                for call in list(&whole["message"]["tool_calls"]) {
                    said.call(&call["function"]["name"], &call["function"]["arguments"]);
                }
            }
        }
        said
    }

    fn chat(&mut self, message: &Value) {
        let content = &message["content"];
        self.say(content);
        for part in content.as_array().into_iter().flatten() {
            self.say(&part["text"]);
            part["thinking"].as_array().into_iter().flatten().for_each(|thought| self.think(&thought["text"]));
        }
        self.say(&message["refusal"]);
        self.think(&message["reasoning_content"]);
        self.think(&message["reasoning"]);
        for call in message["tool_calls"].as_array().into_iter().flatten().filter(|call| call["function"].is_object()) {
            self.call(&call["function"]["name"], &call["function"]["arguments"]);
        }
        let old = &message["function_call"];
        if old["name"].as_str().is_some_and(|name| !name.is_empty()) {
            self.call(&old["name"], &old["arguments"]);
        }
    }
}

fn told(exchange: &Exchange, client: Client) -> Told {
    let asked: &[u8] = match client {
        Client::OpenAiResponses => br#"{"model":"asked-for","input":"hi","metadata":{"a":"b"}}"#,
        Client::OpenAiChat => br#"{"model":"asked-for","messages":[],"stream_options":{"include_usage":true}}"#,
        Client::AnthropicMessages => br#"{"model":"asked-for","messages":[]}"#,
    };
    Request::read(client, asked).unwrap().told(&exchange.id, 1_790_000_000, 17)
}

const USAGE: Vector = Vector {
    uncached_input: 10,
    cache_read: 20,
    cache_write_5m: 3,
    cache_write_1h: 4,
    output: 50,
    audio_input: 0,
    audio_output: 0,
    web_searches: 0,
    reasoning: 7,
};

/// The events of a recorded stream, as they are shown to the translation.
pub(crate) fn events(corpus: &Path, id: &str) -> Option<Vec<(String, String)>> {
    if let Ok(body) = fs::read(corpus.join(format!("{id}.response.sse"))) {
        return Some(accumulate::frames(&String::from_utf8_lossy(&body)));
    }
    fs::read(corpus.join(format!("{id}.response.eventstream"))).ok().map(|body| accumulate::event_stream(&body))
}

/// The stream as a client gets it.
pub(crate) fn stream(exchange: &Exchange, client: Client, events: &[(String, String)]) -> Result<String, String> {
    let (provider, _, model) = provider(exchange).unwrap();
    let mut stream = Stream::new(provider, model, client, told(exchange, client));
    let mut out = String::new();
    for (name, data) in events {
        match stream.push(name, data.as_bytes()) {
            Ok(frames) => out.push_str(&frames),
            Err(why) => return Err(why.to_string()),
        }
    }
    out.push_str(&stream.end(End::Complete, Some(&USAGE)));
    assert_eq!(stream.end(End::Complete, None), "", "a stream ends once");
    Ok(out)
}

pub(crate) fn whole(exchange: &Exchange, client: Client, body: &[u8]) -> Result<String, String> {
    let (provider, _, model) = provider(exchange).unwrap();
    let written = answer(provider, model, client, body, &told(exchange, client), Some(&USAGE));
    written.map(|written| written.body).map_err(|why| why.to_string())
}

pub(crate) fn provider(exchange: &Exchange) -> Option<(Provider, &'static str, &'static str)> {
    PROVIDERS.into_iter().find(|(_, name, _)| *name == exchange.dialect)
}

/// What a client puts together of its frames.
fn assembled(client: Client, frames: &str) -> Value {
    let values = accumulate::values(&accumulate::frames(frames));
    match client {
        Client::OpenAiChat => accumulate::completion(&values),
        Client::OpenAiResponses => accumulate::response(&values),
        Client::AnthropicMessages => accumulate::message(&values),
    }
}

/// The provider's whole answer that its stream amounts to.
fn rebuilt(dialect: &str, events: &[(String, String)]) -> Value {
    match dialect {
        "openai.chat" => accumulate::completion(&accumulate::values(events)),
        "anthropic.messages" => accumulate::message(&accumulate::values(events)),
        "gemini.generateContent" => accumulate::candidates(&accumulate::values(events)),
        "bedrock.converse" => accumulate::converse(events),
        _ => accumulate::cohere(&accumulate::values(events)),
    }
}

/// A cut stream fails in its client's dialect, and what came before is there.
fn is_failed(client: Client, frames: &str) -> bool {
    match client {
        Client::OpenAiChat => frames.contains("data: {\"error\":"),
        Client::OpenAiResponses => frames.contains("event: response.failed\n"),
        Client::AnthropicMessages => frames.contains("event: error\n"),
    }
}

#[test]
fn every_recorded_answer_reaches_every_client() {
    let Some(corpus) = corpus() else { return };
    let (mut wholes, mut streams, mut cut, mut wrong) = (0, 0, 0, Vec::new());
    for exchange in exchanges(&corpus) {
        let Some((_, dialect, _)) = provider(&exchange) else { continue };
        if exchange.meta["status"].as_u64().unwrap() >= 400 {
            continue;
        }
        let excused = NOT_ASKED_FOR.iter().any(|(id, _)| *id == exchange.id);
        for (client, name) in CLIENTS {
            let mut check = |what: &str, found: Result<Said, String>, wanted: &Said| match found {
                Ok(found) if found == *wanted && !excused => {}
                Ok(_) if excused => wrong.push(format!("{} is excused but passes", exchange.id)),
                Err(_) if excused => {}
                other => wrong.push(format!("{} {dialect} {what} to {name}:\n  {other:?}\n  {wanted:?}", exchange.id)),
            };
            if let Some(events) = events(&corpus, &exchange.id) {
                let frames = stream(&exchange, client, &events);
                let is_broken = exchange.meta["truncated"] == true
                    || events.iter().any(|(name, data)| name == "error" || data.contains("\"error\":{"));
                if is_broken {
                    cut += 1;
                    // Where the cut fell behind the reason for the end, it is a whole answer.
                    let frames = frames.unwrap();
                    let ended = ["message_stop", "[DONE]", "response.completed", "response.incomplete"];
                    let ended = ended.iter().any(|mark| frames.contains(mark));
                    assert!(is_failed(client, &frames) || ended, "{} to {name}: {frames}", exchange.id);
                    continue;
                }
                streams += 1;
                let rebuilt = if excused { Value::Null } else { rebuilt(dialect, &events) };
                let wanted = Said::of(dialect, &rebuilt);
                check("stream", frames.clone().map(|frames| Said::of(name, &assembled(client, &frames))), &wanted);
                if excused {
                    continue;
                }
                // Streamed or whole, the client ends up with the same.
                let at_once: Value =
                    serde_json::from_str(&whole(&exchange, client, rebuilt.to_string().as_bytes()).unwrap()).unwrap();
                let (streamed, at_once) =
                    (essence(client, &assembled(client, &frames.unwrap())), essence(client, &at_once));
                if streamed != at_once {
                    wrong.push(format!("{} {dialect} to {name}:\n  {streamed}\n  {at_once}", exchange.id));
                }
            } else {
                wholes += 1;
                let body = fs::read(corpus.join(format!("{}.response.json", exchange.id))).unwrap();
                let wanted = Said::of(dialect, &serde_json::from_slice(&body).unwrap());
                let found = whole(&exchange, client, &body);
                check("whole", found.map(|body| Said::of(name, &serde_json::from_str(&body).unwrap())), &wanted);
            }
        }
    }
    println!("{wholes} whole, {streams} streamed, {cut} cut");
    let some = wrong.iter().take(30).cloned().collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} wrong:\n{some}", wrong.len());
    assert!(wholes > 2_000 && streams > 350 && cut > 30, "{wholes} whole, {streams} streamed, {cut} cut");
}

/// What of an answer does not depend on whether it was streamed.
fn essence(client: Client, whole: &Value) -> Value {
    let mut whole = whole.clone();
    let members = whole.as_object_mut().unwrap();
    // How often a usage is given, and in how much detail, does.
    ["usage", "tollgate", "object"].into_iter().for_each(|name| drop(members.remove(name)));
    if client == Client::OpenAiChat {
        let message = whole["choices"][0]["message"].as_object_mut().unwrap();
        message.retain(|name, value| !(value.is_null() || name == "content" && value == ""));
        whole["choices"][0].as_object_mut().unwrap().remove("logprobs");
    }
    plain(&mut whole);
    whole
}

/// Arguments mean the same with other white space.
fn plain(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(plain),
        Value::Object(members) => {
            if let Some(Value::String(arguments)) = members.get_mut("arguments")
                && let Ok(parsed) = serde_json::from_str::<Value>(arguments)
            {
                *arguments = parsed.to_string();
            }
            members.values_mut().for_each(plain);
        }
        _ => {}
    }
}

#[test]
fn every_recorded_error_is_told_in_the_clients_own_form() {
    let Some(corpus) = corpus() else { return };
    let mut told = 0;
    for exchange in exchanges(&corpus) {
        let status = u16::try_from(exchange.meta["status"].as_u64().unwrap()).unwrap();
        let Some((from, ..)) = provider(&exchange).filter(|_| status >= 400) else { continue };
        let body = fs::read(corpus.join(format!("{}.response.json", exchange.id))).unwrap();
        let recorded: Value = serde_json::from_slice(&body).unwrap();
        let mut texts = Vec::new();
        leaves(&recorded, &mut texts);
        for (client, name) in CLIENTS {
            let error: Value = serde_json::from_str(&error(from, client, status, &body, "id")).unwrap();
            let message = error["error"]["message"].as_str().unwrap().to_owned();
            assert!(texts.contains(&message), "{} to {name}: {message:?} is not in {recorded}", exchange.id);
            assert_eq!(error["type"] == "error", client == Client::AnthropicMessages);
            told += 1;
        }
    }
    assert!(told >= 40, "only {told} errors");
}
