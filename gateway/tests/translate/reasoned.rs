//! Reasoning comes back to who made it as it was, whole or streamed: its order among words and calls, and what proves it.

use gateway::translate::{Client, End, Flavor, Provider, Request, Stream, To, answer};
use serde_json::{Value, json};

use crate::{
    accumulate,
    golden::{next, told},
};

/// A whole answer as a client gets it, and what is listed.
fn whole(provider: Provider, model: &str, client: Client, body: &Value) -> (Value, Vec<String>) {
    let written = answer(provider, model, client, body.to_string().as_bytes(), &told(client), None).unwrap();
    (serde_json::from_str(&written.body).unwrap(), written.dropped)
}

/// A streamed one, put together.
fn streamed(provider: Provider, model: &str, client: Client, events: &[Value]) -> Value {
    let mut stream = Stream::new(provider, model, client, told(client));
    let mut frames = String::new();
    for data in events {
        frames.push_str(&stream.push("", data.to_string().as_bytes()).unwrap());
    }
    frames.push_str(&stream.end(End::Complete, None));
    let events = accumulate::values(&accumulate::frames(&frames));
    match client {
        Client::OpenAiChat => accumulate::completion(&events),
        Client::OpenAiResponses => events.last().unwrap()["response"].clone(),
        Client::AnthropicMessages => accumulate::message(&events),
    }
}

/// The request that goes on from an answer, as the provider gets it, and what is listed.
fn again(provider: Provider, model: &str, client: Client, given: &Value) -> (Value, Vec<String>) {
    let to = To { provider, model, max_output: Some(9), old_cap: false, flavor: Flavor::Common, ask_usage: true };
    let asked = Request::read(client, next(client, given).to_string().as_bytes()).unwrap();
    let written = asked.write(&to).unwrap();
    (serde_json::from_str(&written.body).unwrap(), written.dropped)
}

/// Claude refuses thinking that is rearranged.
#[test]
fn thinking_between_calls_stays_there() {
    let call = |id: &str| json!({ "type": "tool_use", "id": id, "name": "f", "input": { "a": 1 } });
    let content = json!([
        { "type": "thinking", "thinking": "hm", "signature": "EuA" }, { "type": "redacted_thinking", "data": "Emw" },
        { "type": "text", "text": "first \u{e9}" }, call("t1"), { "type": "thinking", "thinking": "so", "signature": "EuB" },
        { "type": "redacted_thinking", "data": "Emx" }, { "type": "text", "text": "then" }, call("t2"),
    ]);
    let body = json!({ "model": "m", "content": content, "stop_reason": "tool_use", "stop_sequence": null });
    let mut events = vec![json!({ "type": "message_start", "message": { "model": "m", "content": [] } })];
    for (index, block) in content.as_array().unwrap().iter().enumerate() {
        events.push(json!({ "type": "content_block_start", "index": index, "content_block": block }));
        events.push(json!({ "type": "content_block_stop", "index": index }));
    }
    events.push(json!({ "type": "message_delta", "delta": { "stop_reason": "tool_use" } }));
    let (provider, model) = (Provider::AnthropicMessages, "claude-sonnet-4-5");
    for client in [Client::OpenAiChat, Client::OpenAiResponses, Client::AnthropicMessages] {
        let given = [whole(provider, model, client, &body).0, streamed(provider, model, client, &events)];
        for given in given {
            let (body, _) = again(provider, model, client, &given);
            assert_eq!(body["messages"][1]["content"], content, "{client:?}: {given}");
        }
    }
}

/// What OpenRouter proves its reasoning by.
#[test]
fn what_a_chat_proves_its_reasoning_by_goes_back_as_it_was() {
    let details = json!([
        { "type": "reasoning.text", "text": "Two calls.", "signature": "EuA:/+", "id": "r1", "format": "anthropic-claude-v1", "index": 0 },
        { "type": "reasoning.encrypted", "data": "EncX", "id": "t1", "format": "google-gemini-v1", "index": 1 },
        { "type": "reasoning.encrypted", "data": "EncY", "id": "t2", "format": "google-gemini-v1", "index": 1 },
        { "type": "reasoning.summary", "summary": "In sum.", "format": "openai-responses-v1", "index": 2 },
    ]);
    let call = |id: &str| json!({ "id": id, "type": "function", "function": { "name": "f", "arguments": "{}" } });
    let body = json!({ "model": "m", "choices": [{ "index": 0, "finish_reason": "tool_calls", "message": {
        "role": "assistant", "content": "A", "reasoning": "Two calls.In sum.", "reasoning_details": details, "tool_calls": [call("t1"), call("t2")],
    } }] });
    let delta = |delta: Value, reason: Option<&str>| json!({ "model": "m", "choices": [{ "index": 0, "delta": delta, "finish_reason": reason }] });
    let first = |text: &str| {
        json!({ "content": "", "reasoning": text, "reasoning_details": [
            { "type": "reasoning.text", "text": text, "id": "r1", "format": "anthropic-claude-v1", "index": 0 },
        ] })
    };
    let mut second = call("t2");
    second["index"] = json!(1);
    let rest = |place: usize| json!({ "content": "", "reasoning": null, "reasoning_details": [details[place]] });
    let summary = json!({ "reasoning": "In sum.", "reasoning_details": [details[3]] });
    let signature = json!([{ "type": "reasoning.text", "signature": "EuA:/+", "id": "r1", "format": "anthropic-claude-v1", "index": 0 }]);
    let in_pieces = |data: &str| json!({ "reasoning_details": [{ "type": "reasoning.encrypted", "data": data, "id": "t1", "format": "google-gemini-v1", "index": 1 }] });
    let events = [
        delta(first("Two "), None),
        delta(first("calls."), None),
        delta(json!({ "content": "", "reasoning_details": signature }), None),
        delta(in_pieces("Enc"), None),
        delta(in_pieces("X"), None),
        delta(rest(2), None),
        delta(summary, None),
        delta(json!({ "content": "A" }), None),
        delta(json!({ "tool_calls": [call("t1")] }), None),
        delta(json!({ "tool_calls": [second] }), None),
        delta(json!({}), Some("tool_calls")),
    ];
    let (provider, model) = (Provider::OpenAiChat, "m");
    for client in [Client::OpenAiChat, Client::OpenAiResponses, Client::AnthropicMessages] {
        let (at_once, listed) = whole(provider, model, client, &body);
        assert!(listed.is_empty(), "{client:?}: {listed:?}");
        for given in [at_once, streamed(provider, model, client, &events)] {
            let (body, listed) = again(provider, model, client, &given);
            let message = &body["messages"][1];
            assert_eq!(message["reasoning_details"], details, "{client:?}: {given}");
            assert_eq!(
                (&message["content"], &message["reasoning_content"]),
                (&json!("A"), &json!("Two calls.In sum."))
            );
            assert_eq!(message["tool_calls"].as_array().map(Vec::len), Some(2), "{message}");
            assert!(listed.is_empty(), "{client:?}: {listed:?}");
        }
        // Nobody else gets what only that provider could check.
        let (body, listed) =
            again(Provider::AnthropicMessages, "claude-sonnet-4-5", client, &whole(provider, model, client, &body).0);
        assert!(!body.to_string().contains("EncX") && listed.len() >= 4, "{client:?}: {body} {listed:?}");
    }
}

/// A proof can come while the arguments of a call are on their way, or beside the last of them.
#[test]
fn a_proof_that_comes_within_a_call_leaves_the_call_whole() {
    let detail = |data: &str, index: u64| json!({ "type": "reasoning.encrypted", "data": data, "format": "openai-responses-v1", "index": index });
    let delta = |delta: Value, reason: Option<&str>| json!({ "model": "m", "choices": [{ "index": 0, "delta": delta, "finish_reason": reason }] });
    let begins = |index: u64, id: &str| json!({ "index": index, "id": id, "type": "function", "function": { "name": "f", "arguments": "" } });
    let goes_on = |index: u64, more: &str| json!({ "index": index, "function": { "arguments": more } });
    let events = [
        delta(json!({ "tool_calls": [begins(0, "t1")] }), None),
        delta(json!({ "reasoning_details": [detail("Enc", 0)] }), None),
        delta(json!({ "tool_calls": [begins(1, "t2")] }), None),
        delta(json!({ "tool_calls": [goes_on(0, "{\"a\""), goes_on(1, "{\"b\":")] }), None),
        delta(
            json!({ "reasoning_details": [detail("X", 1)], "tool_calls": [goes_on(0, ":1}"), goes_on(1, "2}")] }),
            None,
        ),
        delta(json!({ "reasoning_details": [detail("Y", 2)] }), Some("tool_calls")),
    ];
    let (provider, model) = (Provider::OpenAiChat, "m");
    for client in [Client::OpenAiChat, Client::OpenAiResponses, Client::AnthropicMessages] {
        let given = streamed(provider, model, client, &events);
        let (body, listed) = again(provider, model, client, &given);
        let message = &body["messages"][1];
        assert_eq!(message["reasoning_details"], json!([detail("Enc", 0), detail("X", 1), detail("Y", 2)]), "{given}");
        let call = |place: usize| {
            let arguments = message["tool_calls"][place]["function"]["arguments"].as_str().unwrap();
            serde_json::from_str::<Value>(arguments).unwrap()
        };
        assert_eq!([call(0), call(1)], [json!({ "a": 1 }), json!({ "b": 2 })], "{client:?}: {given}");
        assert!(listed.is_empty(), "{client:?}: {listed:?}");
    }
}

/// Some servers put a line break, or what the model thinks, between the pieces of a call.
#[test]
fn what_comes_within_a_call_is_said_behind_it() {
    let delta = |delta: Value, reason: Option<&str>| json!({ "model": "m", "choices": [{ "index": 0, "delta": delta, "finish_reason": reason }] });
    let begins = |index: u64, more: &str| json!({ "index": index, "id": format!("t{index}"), "type": "function", "function": { "name": "f", "arguments": more } });
    let goes_on = |index: u64, more: &str| json!({ "index": index, "function": { "arguments": more } });
    let (first, rest) = (json!({ "tool_calls": [begins(0, "{\"a\"")] }), json!({ "tool_calls": [goes_on(0, ":1}")] }));
    let a = json!({ "a": 1 });
    let check = |deltas: &[Value], wanted: Value| {
        let events = deltas.iter().map(|said| delta(said.clone(), None));
        let events: Vec<Value> = events.chain([delta(json!({}), Some("tool_calls"))]).collect();
        let given = streamed(Provider::OpenAiChat, "m", Client::AnthropicMessages, &events);
        let said = |block: &Value| ["text", "thinking", "input"].iter().find_map(|name| block.get(name).cloned());
        let blocks: Vec<Value> = given["content"].as_array().unwrap().iter().filter_map(said).collect();
        assert_eq!(Value::from(blocks), wanted, "{deltas:?}: {given}");
        assert_eq!(given["stop_reason"], "tool_use", "{given}");
        for client in [Client::OpenAiChat, Client::OpenAiResponses] {
            let given = streamed(Provider::OpenAiChat, "m", client, &events);
            assert!(given["status"] == "completed" || given["choices"][0]["finish_reason"] == "tool_calls", "{given}");
        }
    };
    let text = |text: &str| json!({ "content": text });
    check(&[first.clone(), text("\n"), rest.clone()], json!([a, "\n"]));
    check(&[first.clone(), json!({ "reasoning_content": "th" }), rest.clone()], json!([a, "th"]));
    check(&[first.clone(), text("m"), rest.clone(), text("id")], json!([a, "mid"]));
    let beside = |text: &str, calls: &Value| json!({ "content": text, "tool_calls": calls["tool_calls"] });
    check(&[beside("x", &first), beside(" y", &rest)], json!(["x", a, " y"]));
    // It ends no other call either.
    let second = json!({ "tool_calls": [begins(1, "{\"b\"")] });
    let both = json!({ "tool_calls": [goes_on(1, ":2}"), goes_on(0, ":1}")] });
    check(
        &[first.clone(), json!({ "reasoning_content": "th" }), second, text("x"), both],
        json!([a, { "b": 2 }, "th", "x"]),
    );
    // Nor does it wait for what never comes.
    check(&[json!({ "tool_calls": [begins(0, "")] }), text("x")], json!([{}, "x"]));
    // What has waited for too long goes before more of the call, which cannot go on then.
    let mut stream = Stream::new(Provider::OpenAiChat, "m", Client::OpenAiChat, told(Client::OpenAiChat));
    let long = text(&"x".repeat(1 << 20));
    let [first, long, rest] = [first, long, rest].map(|said| delta(said, None).to_string());
    assert!(stream.push("", first.as_bytes()).is_ok());
    assert!(stream.push("", long.as_bytes()).unwrap().len() > 1 << 20);
    assert!(stream.push("", rest.as_bytes()).is_err());
}

/// Some servers mark the end of a stream and give no reason for it, or say more behind that.
#[test]
fn what_waits_at_the_end_of_a_stream_is_said() {
    let detail = json!({ "type": "reasoning.encrypted", "data": "E", "format": "openai-responses-v1", "index": 0 });
    let delta = |delta: Value, reason: Option<&str>| json!({ "model": "m", "choices": [{ "index": 0, "delta": delta, "finish_reason": reason }] });
    let call = |index: u64, id: &str| json!({ "index": index, "id": id, "type": "function", "function": { "name": "f", "arguments": "" } });
    let calls = delta(json!({ "tool_calls": [call(0, "t1"), call(1, "t2")] }), None);
    let proof = delta(json!({ "reasoning_details": [detail] }), None);
    for reason in [None, Some("tool_calls")] {
        let end = reason.map(|reason| delta(json!({}), Some(reason)));
        let events: Vec<Value> = std::iter::once(calls.clone()).chain(end).chain([proof.clone()]).collect();
        let mut stream =
            Stream::new(Provider::OpenAiChat, "m", Client::AnthropicMessages, told(Client::AnthropicMessages));
        let mut frames = String::new();
        for data in events.iter().map(Value::to_string).chain(["[DONE]".to_owned()]) {
            frames.push_str(&stream.push("", data.as_bytes()).unwrap());
        }
        frames.push_str(&stream.end(End::Complete, None));
        let given = accumulate::message(&accumulate::values(&accumulate::frames(&frames)));
        let kinds: Vec<&Value> = given["content"].as_array().unwrap().iter().map(|block| &block["type"]).collect();
        assert_eq!(kinds, ["tool_use", "tool_use", "redacted_thinking"], "{given}");
        let (body, _) = again(Provider::OpenAiChat, "m", Client::AnthropicMessages, &given);
        assert_eq!(body["messages"][1]["reasoning_details"], json!([detail]), "{body}");
    }
}
