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

/// An answer that ends in a refusal, whole and streamed, and what is to be told of why.
struct Case<'a> {
    what: &'a str,
    provider: Provider,
    body: &'a Value,
    events: &'a [(&'a str, Value)],
    /// Where there is a place for a text.
    text: &'a str,
    /// Where there is one for details.
    details: &'a Value,
    listed: &'a [&'a str],
}

/// What an answer tells of why, in the place that the dialect has for it.
fn why(client: Client, body: &Value) -> Value {
    match client {
        Client::OpenAiChat => {
            let choice = &body["choices"][0];
            assert_eq!(choice["finish_reason"], "content_filter", "{body}");
            choice["message"]["refusal"].clone()
        }
        Client::OpenAiResponses => {
            assert_eq!(body["incomplete_details"]["reason"], "content_filter", "{body}");
            body["output"].as_array().unwrap().last().unwrap()["content"][0]["refusal"].clone()
        }
        Client::AnthropicMessages => {
            assert_eq!(body["stop_reason"], "refusal", "{body}");
            body["stop_details"].clone()
        }
    }
}

fn check(case: &Case<'_>) {
    for client in [Client::OpenAiChat, Client::OpenAiResponses, Client::AnthropicMessages] {
        let wanted = if client == Client::AnthropicMessages { case.details.clone() } else { json!(case.text) };
        let (whole, listed) = whole(case.provider, client, case.body);
        assert_eq!((why(client, &whole), listed), (wanted.clone(), strings(case.listed)), "{}", case.what);
        let streamed = streamed(case.provider, client, case.events);
        assert_eq!(why(client, &streamed), wanted, "{}", case.what);
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
    check(&Case {
        what: "both",
        provider: Provider::AnthropicMessages,
        body: &body,
        events: &events,
        text: said,
        details: &details,
        listed: &[],
    });
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
    let (provider, details) = (Provider::Gemini, said(text));
    let (what, listed, events) = ("prompt", ["promptFeedback.safetyRatings"], [("", blocked.clone())]);
    check(&Case { what, provider, body: &blocked, events: &events, text, details: &details, listed: &listed });
    let candidate = |reason: &str, message: &str| {
        json!({ "candidates": [{
            "content": { "role": "model", "parts": [{ "text": "ho" }] }, "finishReason": reason, "finishMessage": message,
            "safetyRatings": ratings, "index": 0,
        }] })
    };
    let stopped = candidate("RECITATION", "Said before.");
    let text = "the provider's filter stopped it (RECITATION): Said before.";
    let details = said(text);
    let (what, listed, events) = ("answer", ["candidates[0].safetyRatings"], [("", stopped.clone())]);
    check(&Case { what, provider, body: &stopped, events: &events, text, details: &details, listed: &listed });
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

/// A model of OpenAI refuses in words, and ends as ever.
#[test]
fn a_refusal_in_words_is_told_as_claude_would() {
    let chat = |name: &str, said: &Value, reason: Option<&str>| json!({ "choices": [{ "index": 0, name: said, "finish_reason": reason }] });
    let said = json!({ "role": "assistant", "content": null, "refusal": "I cannot." });
    let delta = |said: Value, reason: Option<&str>| ("", chat("delta", &said, reason));
    for (reason, stop) in [("stop", "refusal"), ("length", "max_tokens")] {
        let body = chat("message", &said, Some(reason));
        let events = [
            delta(json!({ "role": "assistant", "content": "", "refusal": null }), None),
            delta(json!({ "refusal": "I " }), None),
            delta(json!({ "refusal": "cannot." }), None),
            delta(json!({}), Some(reason)),
        ];
        let (message, listed) = whole(Provider::OpenAiChat, Client::AnthropicMessages, &body);
        assert!(listed.is_empty(), "{listed:?}");
        for message in [message, streamed(Provider::OpenAiChat, Client::AnthropicMessages, &events)] {
            let details = json!({ "type": "refusal", "category": null, "explanation": "I cannot." });
            let found = [&message["stop_reason"], &message["stop_details"], &message["content"]];
            assert_eq!(found, [&json!(stop), &details, &json!([])], "{reason}");
        }
        let (response, _) = whole(Provider::OpenAiChat, Client::OpenAiResponses, &body);
        assert_eq!(response["output"][0]["content"][0]["refusal"], "I cannot.");
    }
}

/// Azure says with every choice what its filter found.
#[test]
fn what_a_filter_found_is_listed_where_it_stopped_the_answer() {
    let found = json!({ "hate": { "filtered": true, "severity": "high" } });
    let chat = |name: &str, reason: &str| {
        json!({ "choices": [{
            "index": 0, name: { "content": "No." }, "finish_reason": reason, "logprobs": { "content": null },
            "content_filter_results": found, "later": 1,
        }] })
    };
    let all = ["choices[0].content_filter_results", "choices[0].later"];
    for (reason, wanted) in [("content_filter", &all[..]), ("stop", &all[1..])] {
        let (_, listed) = whole(Provider::OpenAiChat, Client::AnthropicMessages, &chat("message", reason));
        assert_eq!(listed, wanted, "{reason}");
        let body = streamed(Provider::OpenAiChat, Client::OpenAiChat, &[("", chat("delta", reason))]);
        assert_eq!(body["tollgate"]["not_carried"], json!(wanted), "{reason}");
    }
}
