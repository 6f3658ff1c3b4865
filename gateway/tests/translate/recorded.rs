//! Every recorded request of a client's dialect is carried to every provider or refused by name, and every recorded answer of a
//! provider reaches every client: whole, streamed and cut, saying what the provider said.

use std::{collections::BTreeMap, fs};

use gateway::translate::{Blame, Client, Flavor, Request, Stream, To, error};
use serde_json::Value;

use crate::{
    accumulate,
    corpus::{
        CLIENTS, Exchange, PROVIDERS, Said, USAGE, corpus, events, exchanges, provider, rebuilt, request, stream, told,
        whole,
    },
};

/// Answers that are refused, each with the reason.
const NOT_ASKED_FOR: &[(&str, &str)] =
    &[("da2d8efa26ba6a2f", "arguments in pieces, which Vertex AI sends only to who asks for them")];

/// A whole answer as a client gets it that asked for a stream.
fn at_once(exchange: &Exchange, client: Client, body: &[u8]) -> Result<String, String> {
    let (provider, _, model) = provider(exchange).unwrap();
    let stream = Stream::new(provider, model, client, told(exchange, client));
    stream.whole(body, Some(&USAGE)).map_err(|why| why.to_string())
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
            let to = To {
                provider,
                model,
                max_output: Some(8_192),
                old_cap: false,
                flavor: Flavor::OpenAi,
                ask_usage: true,
            };
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

/// What a client puts together of its frames.
pub(crate) fn assembled(client: Client, frames: &str) -> Value {
    let values = accumulate::values(&accumulate::frames(frames));
    match client {
        Client::OpenAiChat => accumulate::completion(&values),
        Client::OpenAiResponses => response(&values),
        Client::AnthropicMessages => accumulate::message(&values),
    }
}

/// A response: the last event has it whole, and what came before must say the same.
fn response(events: &[Value]) -> Value {
    let mut items = Vec::new();
    for (place, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], place, "sequence numbers count up");
        if event["type"] == "response.output_item.done" {
            assert_eq!(event["output_index"], items.len());
            items.push(event["item"].clone());
        }
    }
    let Some(last) = events.last().filter(|last| last["response"]["status"] != "in_progress") else {
        return Value::Null;
    };
    assert_eq!(last["response"]["output"], Value::from(items));
    last["response"].clone()
}

/// Whether the provider's stream was cut or failed.
fn is_broken(exchange: &Exchange, events: &[(String, String)]) -> bool {
    let fails = |(name, data): &(String, String)| name == "error" || data.contains("\"error\":{");
    exchange.meta["truncated"] == true || events.iter().any(fails)
}

/// A cut stream fails in its client's dialect, and what came before is there.
fn is_failed(client: Client, frames: &str) -> bool {
    match client {
        Client::OpenAiChat => frames.contains("data: {\"error\":"),
        Client::OpenAiResponses => frames.contains("event: response.failed\n"),
        Client::AnthropicMessages => frames.contains("event: error\n"),
    }
}

/// The same events, every second one with a space more.
fn spaced(events: &[(String, String)]) -> Vec<(String, String)> {
    let space =
        |place: usize, data: &str| if place.is_multiple_of(2) { data.to_owned() } else { data.replacen('{', "{ ", 1) };
    events.iter().enumerate().map(|(place, (name, data))| (name.clone(), space(place, data))).collect()
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
                // A frame that repeats the one before is not read; no two of these are alike.
                let spaced = stream(&exchange, client, &spaced(&events));
                assert_eq!(spaced.as_ref().ok(), frames.as_ref().ok(), "{} to {name}", exchange.id);
                if is_broken(&exchange, &events) {
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
                let frames = at_once(&exchange, client, &body);
                check("at once", frames.map(|frames| Said::of(name, &assembled(client, &frames))), &wanted);
            }
        }
    }
    println!("{wholes} whole, {streams} streamed, {cut} cut");
    let some = wrong.iter().take(30).cloned().collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} wrong:\n{some}", wrong.len());
    assert!(wholes > 2_000 && streams > 350 && cut > 30, "{wholes} whole, {streams} streamed, {cut} cut");
}

/// What of an answer does not depend on whether it was streamed.
pub(crate) fn essence(client: Client, whole: &Value) -> Value {
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
