//! Reasoning comes back to who made it as it was, whole or streamed: its order among words and calls, and what proves it.

use gateway::translate::{Client, End, Provider, Request, Stream, To, answer};
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
    let to = To { provider, model, max_output: Some(9), old_cap: false, is_openai: false, ask_usage: true };
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
