//! The recorded exchanges, as they are translated, and what each answer says: read from the recording by code of its own.
//!
//! The corpus lies beside the checkout, or where `TOLLGATE_CORPUS` says; without it the tests say loudly that they did nothing, unless
//! `TOLLGATE_REQUIRE_CORPUS=1` makes that a failure.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use gateway::translate::{Client, End, Provider, Request, Stream, Told, answer};
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

pub(crate) struct Exchange {
    pub(crate) id: String,
    pub(crate) dialect: String,
    pub(crate) meta: Value,
}

pub(crate) fn corpus() -> Option<PathBuf> {
    // The tests of the gateway and those of the whole house look from different folders.
    let from = Path::new(env!("CARGO_MANIFEST_DIR"));
    let beside = || ["../shared/corpus", "../../shared/corpus"].map(|place| from.join(place)).into_iter();
    let beside = || beside().find(|place| place.exists()).unwrap_or_else(|| from.join("../shared/corpus"));
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

/// What an answer says, in the words of no dialect: its text, its calls, and whether it was cut short.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Said {
    pub(crate) text: String,
    pub(crate) thinking: String,
    pub(crate) calls: Vec<(String, Value)>,
}

/// What Gemini calls the filters that stopped something in the recordings.
const FILTERS: [&str; 6] = ["SAFETY", "RECITATION", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "MODEL_ARMOR"];

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

    pub(crate) fn of(dialect: &str, whole: &Value) -> Self {
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
                said.say(&whole["stop_details"]["explanation"]);
            }
            "gemini.generateContent" => {
                let (feedback, candidate) = (&whole["promptFeedback"], &whole["candidates"][0]);
                for (reason, more) in [
                    (&feedback["blockReason"], &feedback["blockReasonMessage"]),
                    (&candidate["finishReason"], &candidate["finishMessage"]),
                ] {
                    let Some(reason) = reason.as_str().filter(|reason| FILTERS.contains(reason)) else { continue };
                    let more = more.as_str().map_or_else(String::new, |more| format!(": {more}"));
                    said.text = format!("the provider's filter stopped it ({reason}){more}");
                }
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
        // It has three places, of which a server may use several for the same.
        let details = message["reasoning_details"].as_array().into_iter().flatten();
        let detailed: String = details.filter_map(|detail| detail["text"].as_str()).collect();
        let said = [&message["reasoning_content"], &message["reasoning"], &Value::from(detailed)];
        if let Some(said) = said.into_iter().find(|said| said.as_str().is_some_and(|said| !said.is_empty())) {
            self.think(said);
        }
        for call in message["tool_calls"].as_array().into_iter().flatten().filter(|call| call["function"].is_object()) {
            self.call(&call["function"]["name"], &call["function"]["arguments"]);
        }
        let old = &message["function_call"];
        if old["name"].as_str().is_some_and(|name| !name.is_empty()) {
            self.call(&old["name"], &old["arguments"]);
        }
    }
}

pub(crate) fn told(exchange: &Exchange, client: Client) -> Told {
    let asked: &[u8] = match client {
        Client::OpenAiResponses => br#"{"model":"asked-for","input":"hi","metadata":{"a":"b"}}"#,
        Client::OpenAiChat => br#"{"model":"asked-for","messages":[],"stream_options":{"include_usage":true}}"#,
        Client::AnthropicMessages => br#"{"model":"asked-for","messages":[]}"#,
    };
    Request::read(client, asked).unwrap().told(&exchange.id, 1_790_000_000, 17)
}

pub(crate) const USAGE: Vector = Vector {
    uncached_input: 10,
    cache_read: 20,
    cache_write_5m: 3,
    cache_write_1h: 4,
    output: 50,
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

/// The provider's whole answer that its stream amounts to.
pub(crate) fn rebuilt(dialect: &str, events: &[(String, String)]) -> Value {
    match dialect {
        "openai.chat" => accumulate::completion(&accumulate::values(events)),
        "anthropic.messages" => accumulate::message(&accumulate::values(events)),
        "gemini.generateContent" => accumulate::candidates(&accumulate::values(events)),
        "bedrock.converse" => accumulate::converse(events),
        _ => accumulate::cohere(&accumulate::values(events)),
    }
}

pub(crate) fn request(corpus: &Path, id: &str) -> Option<String> {
    let file = fs::read(corpus.join(format!("{id}.request.json"))).unwrap();
    let request: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(&file).unwrap();
    let recorded = request.get("recorded").is_none_or(|recorded| recorded.get() == "true");
    request.get("body").filter(|_| recorded).map(|body| body.get().to_owned())
}
