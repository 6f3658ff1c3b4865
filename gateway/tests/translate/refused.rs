//! Why a model refused, or a filter stopped it, is told where the client's dialect has a place for it, and else listed.

use gateway::translate::{Client, End, Provider, Stream, answer};
use serde_json::{Value, json};

use crate::{accumulate, corpus::PROVIDERS, golden::told};

fn model(provider: Provider) -> &'static str {
    PROVIDERS.into_iter().find(|(known, ..)| *known == provider).unwrap().2
}

/// A whole answer as a client gets it, and what is listed.
fn whole(provider: Provider, client: Client, body: &Value) -> (Value, Vec<String>) {
    let written = answer(provider, model(provider), client, body.to_string().as_bytes(), &told(client), None).unwrap();
    (serde_json::from_str(&written.body).unwrap(), written.dropped)
}

/// A streamed one, put together.
fn streamed(provider: Provider, client: Client, events: &[(&str, Value)]) -> Value {
    let mut stream = Stream::new(provider, model(provider), client, told(client));
    let mut frames = String::new();
    for (name, data) in events {
        frames.push_str(&stream.push(name, data.to_string().as_bytes()).unwrap());
    }
    frames.push_str(&stream.end(End::Complete, None));
    let events = accumulate::values(&accumulate::frames(&frames));
    match client {
        Client::OpenAiChat => accumulate::completion(&events),
        Client::OpenAiResponses => events.last().unwrap()["response"].clone(),
        Client::AnthropicMessages => accumulate::message(&events),
    }
}

fn check(
    what: &str,
    provider: Provider,
    body: &Value,
    events: &[(&str, Value)],
    text: &str,
    details: &Value,
    lines: &[&str],
) {
    let chat = |body: &Value| {
        let choice = &body["choices"][0];
        assert_eq!(choice["finish_reason"], "content_filter", "{what}: {body}");
        choice["message"]["refusal"].clone()
    };
    let responses = |body: &Value| {
        assert_eq!(body["incomplete_details"]["reason"], "content_filter", "{what}: {body}");
        body["output"].as_array().unwrap().last().unwrap()["content"][0]["refusal"].clone()
    };
    let messages = |body: &Value| {
        assert_eq!(body["stop_reason"], "refusal", "{what}: {body}");
        body["stop_details"].clone()
    };
    let clients: [(Client, &dyn Fn(&Value) -> Value, Value); 3] = [
        (Client::OpenAiChat, &chat, json!(text)),
        (Client::OpenAiResponses, &responses, json!(text)),
        (Client::AnthropicMessages, &messages, details.clone()),
    ];
    for (client, told_in, wanted) in clients {
        let (whole, listed) = whole(provider, client, body);
        assert_eq!((told_in(&whole), listed.as_slice()), (wanted.clone(), strings(lines).as_slice()), "{what}");
        let streamed = streamed(provider, client, events);
        assert_eq!(told_in(&streamed), wanted, "{what}");
    }
}

fn strings(lines: &[&str]) -> Vec<String> {
    lines.iter().map(ToString::to_string).collect()
}

#[test]
fn why_claude_refused_is_told() {
    let details = json!({ "type": "refusal", "category": "cyber", "explanation": "It could do harm." });
    let stop = json!({ "stop_reason": "refusal", "stop_sequence": null, "stop_details": details });
    let text = json!([{ "type": "text", "text": "Hello.." }]);
    let mut body = json!({ "id": "m", "type": "message", "role": "assistant", "model": "m", "content": text });
    body.as_object_mut().unwrap().extend(stop.as_object().unwrap().clone());
    let events = [
        ("", json!({ "type": "message_start", "message": { "model": "m", "content": [], "stop_reason": null } })),
        (
            "",
            json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "Hello.." } }),
        ),
        ("", json!({ "type": "content_block_stop", "index": 0 })),
        ("", json!({ "type": "message_delta", "delta": stop })),
        ("", json!({ "type": "message_stop" })),
    ];
    let said = "It could do harm. (cyber)";
    check("both", Provider::AnthropicMessages, &body, &events, said, &details, &[]);
    let (chat, _) = whole(Provider::AnthropicMessages, Client::OpenAiChat, &body);
    assert_eq!(chat["choices"][0]["message"]["content"], "Hello..");
    body["stop_details"] = json!({ "type": "refusal", "category": "cyber", "explanation": null, "later": 1 });
    let (chat, listed) = whole(Provider::AnthropicMessages, Client::OpenAiChat, &body);
    assert_eq!(chat["choices"][0]["message"]["refusal"], "cyber");
    assert_eq!(listed, ["stop_details.later"]);
    body["stop_details"] = Value::Null;
    let (chat, _) = whole(Provider::AnthropicMessages, Client::OpenAiChat, &body);
    assert_eq!(chat["choices"][0]["message"]["refusal"], Value::Null);
}

#[test]
fn why_gemini_stopped_is_told() {
    let ratings = json!([{ "category": "HARM_CATEGORY_HARASSMENT", "probability": "HIGH", "blocked": true }]);
    let feedback = json!({ "blockReason": "OTHER", "blockReasonMessage": "Not here.", "safetyRatings": ratings });
    let blocked = json!({ "promptFeedback": feedback, "modelVersion": "m" });
    let said = |text: &str| json!({ "type": "refusal", "category": null, "explanation": text });
    let text = "the provider's filter stopped it (OTHER): Not here.";
    let listed = ["promptFeedback.safetyRatings"];
    check("prompt", Provider::Gemini, &blocked, &[("", blocked.clone())], text, &said(text), &listed);
    let candidate = |reason: &str, message: &str| {
        json!({ "candidates": [{
            "content": { "role": "model", "parts": [{ "text": "ho" }] }, "finishReason": reason, "finishMessage": message,
            "safetyRatings": ratings, "index": 0,
        }] })
    };
    let stopped = candidate("RECITATION", "Said before.");
    let text = "the provider's filter stopped it (RECITATION): Said before.";
    let listed = ["candidates[0].safetyRatings"];
    check("answer", Provider::Gemini, &stopped, &[("", stopped.clone())], text, &said(text), &listed);
    // Of an end that is none of a filter's it is listed, unless the answer is whole.
    for (reason, listed) in [("MAX_TOKENS", vec!["candidates[0].finishMessage".to_owned()]), ("STOP", vec![])] {
        assert_eq!(whole(Provider::Gemini, Client::OpenAiChat, &candidate(reason, "So.")).1, listed, "{reason}");
    }
}

#[test]
fn what_is_told_of_an_answer_and_has_no_place_is_listed() {
    let edits = json!({ "applied_edits": [{ "type": "clear_tool_uses_20250919", "cleared_input_tokens": 5 }] });
    let message = json!({ "model": "m", "content": [{ "type": "text", "text": "ho" }], "stop_reason": "end_turn", "context_management": edits });
    let (_, listed) = whole(Provider::AnthropicMessages, Client::OpenAiChat, &message);
    assert_eq!(listed, ["context_management.applied_edits"]);
    let events = [
        ("", json!({ "type": "message_start", "message": { "model": "m", "content": [] } })),
        ("", json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "ho" } })),
        ("", json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "context_management": edits })),
    ];
    let body = streamed(Provider::AnthropicMessages, Client::OpenAiChat, &events);
    assert_eq!(body["tollgate"]["not_carried"], json!(["context_management.applied_edits"]));
    let none = json!({ "model": "m", "content": [{ "type": "text", "text": "ho" }], "stop_reason": "end_turn", "context_management": { "applied_edits": [] } });
    assert!(whole(Provider::AnthropicMessages, Client::OpenAiChat, &none).1.is_empty());
    let (trace, more) =
        (json!({ "guardrail": { "inputAssessment": {} } }), json!({ "stop_sequence": null, "later": 1 }));
    let converse = json!({
        "output": { "message": { "role": "assistant", "content": [{ "text": "No." }] } }, "stopReason": "guardrail_intervened",
        "trace": trace, "additionalModelResponseFields": more,
    });
    let (_, listed) = whole(Provider::BedrockConverse, Client::OpenAiChat, &converse);
    assert_eq!(listed, ["additionalModelResponseFields.later", "trace.guardrail"]);
    let events = [
        ("contentBlockDelta", json!({ "contentBlockIndex": 0, "delta": { "text": "No." } })),
        ("messageStop", json!({ "stopReason": "guardrail_intervened" })),
        ("metadata", json!({ "trace": trace })),
    ];
    let body = streamed(Provider::BedrockConverse, Client::OpenAiChat, &events);
    assert_eq!(body["tollgate"]["not_carried"], json!(["trace.guardrail"]));
}
