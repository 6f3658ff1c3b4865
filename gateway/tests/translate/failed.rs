//! A model that fails to answer is told of as a failure in every dialect, whole and streamed, and never as an answer of nothing.

use gateway::translate::{Client, End, Provider, Request, Stream, Told, answer};
use serde_json::{Value, json};

use crate::corpus::{CLIENTS, PROVIDERS};

fn told(client: Client) -> Told {
    let asked = match client {
        Client::OpenAiResponses => json!({ "model": "m", "input": "hi" }),
        Client::OpenAiChat | Client::AnthropicMessages => json!({ "model": "m", "messages": [] }),
    };
    Request::read(client, asked.to_string().as_bytes()).unwrap().told("0190b3c4", 1, 1)
}

fn model(provider: Provider) -> &'static str {
    PROVIDERS.into_iter().find(|(known, ..)| *known == provider).unwrap().2
}

/// A whole answer is refused, and a stream of the event ends with an error; each says why.
fn check(provider: Provider, whole: &Value, (name, event): (&str, &Value), [why, streamed]: [&str; 2]) {
    for (client, dialect) in CLIENTS {
        let refused =
            answer(provider, model(provider), client, whole.to_string().as_bytes(), &told(client), None).unwrap_err();
        assert!(refused.to_string().contains(why), "{provider:?} to {dialect}: {refused}");
        let mut stream = Stream::new(provider, model(provider), client, told(client));
        let mut frames = stream.push(name, event.to_string().as_bytes()).unwrap();
        frames.push_str(&stream.push("", b"[DONE]").unwrap());
        frames.push_str(&stream.end(End::Complete, None));
        let mark = match client {
            Client::OpenAiChat => "data: {\"error\":",
            Client::OpenAiResponses => "event: response.failed\n",
            Client::AnthropicMessages => "event: error\n",
        };
        assert!(frames.contains(mark) && frames.contains(streamed), "{provider:?} to {dialect}: {frames}");
        for ended in ["\"finish_reason\":\"", "response.completed", "message_stop"] {
            assert!(!frames.contains(ended), "{provider:?} to {dialect}: {frames}");
        }
    }
}

fn candidate(reason: &str, parts: Value) -> Value {
    json!({ "candidates": [{
        "content": { "role": "model", "parts": parts }, "finishReason": reason, "finishMessage": "it was f(x)", "index": 0,
    }] })
}

#[test]
fn a_call_that_a_model_failed_to_make_is_a_failure() {
    let text = json!([{ "text": "I call it." }]);
    for reason in [
        "MALFORMED_FUNCTION_CALL",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MISSING_THOUGHT_SIGNATURE",
        "MALFORMED_RESPONSE",
    ] {
        let why = format!("the provider could not finish its answer ({reason}): it was f(x)");
        for parts in [json!([]), text.clone()] {
            let said = candidate(reason, parts);
            check(Provider::Gemini, &said, ("", &said), [&why, &why]);
        }
    }
    for reason in ["malformed_tool_use", "malformed_model_output"] {
        let end = json!({ "stopReason": reason });
        let whole = json!({ "output": { "message": { "role": "assistant", "content": text } }, "stopReason": reason });
        let why = format!("the provider could not finish its answer ({reason})");
        check(Provider::BedrockConverse, &whole, ("messageStop", &end), [&why, &why]);
    }
    let why = "the provider could not finish its answer (ERROR)";
    let whole = json!({ "message": { "role": "assistant", "content": text }, "finish_reason": "ERROR" });
    let end = json!({ "type": "message-end", "delta": { "finish_reason": "ERROR" } });
    check(Provider::CohereChat, &whole, ("", &end), [why, why]);
}

#[test]
fn an_answer_of_nothing_has_failed() {
    let none = json!({ "id": "c", "model": "m", "choices": [] });
    let why = ["it has neither content nor a reason for its end", "the provider's answer ended before its end"];
    check(Provider::OpenAiChat, &none, ("", &none), why);
    let later = candidate("LATER", json!([]));
    let why = "the provider could not finish its answer (LATER): it was f(x)";
    check(Provider::Gemini, &later, ("", &later), [why, why]);
    let message = json!({ "role": "assistant", "content": null });
    let choice = |name: &str| json!({ "choices": [{ "index": 0, name: message, "finish_reason": "later" }] });
    let why = "the provider could not finish its answer (later)";
    check(Provider::OpenAiChat, &choice("message"), ("", &choice("delta")), [why, why]);
}

/// As OpenRouter passes on what another provider said.
#[test]
fn why_a_choice_failed_is_told() {
    let error = json!({ "code": 502, "message": "Upstream exploded." });
    let choice = |name: &str, content: &Value| {
        let said = json!({ "role": "assistant", "content": content });
        json!({ "choices": [{ "index": 0, name: said, "finish_reason": "error", "error": error }] })
    };
    let why = "the provider could not finish its answer (error): Upstream exploded.";
    for content in [Value::Null, json!("ho")] {
        let (whole, event) = (choice("message", &content), choice("delta", &content));
        check(Provider::OpenAiChat, &whole, ("", &event), [why, why]);
    }
}

/// As servers of vLLM said it before they put it in `error`.
#[test]
fn an_error_at_the_top_is_told() {
    let error =
        json!({ "object": "error", "message": "It broke.", "type": "InternalServerError", "param": null, "code": 500 });
    check(Provider::OpenAiChat, &error, ("", &error), ["It broke.", "It broke."]);
}

/// In a stream of Bedrock a message says by its type that it is an error; what that says is in its data or in a header.
#[test]
fn an_error_in_a_stream_of_messages_is_told_and_an_unknown_event_is_listed() {
    let begun = json!({ "contentBlockIndex": 0, "delta": { "text": "ho" } }).to_string();
    let (provider, name) = (Provider::BedrockConverse, model(Provider::BedrockConverse));
    for (client, dialect) in CLIENTS {
        for (kind, says, data, why) in [
            ("throttlingException", "", r#"{"message":"Too many."}"#, "Too many."),
            ("InternalError", "It broke.", "", "It broke."),
            ("InternalError", "", "", "the provider could not finish its answer (InternalError)"),
        ] {
            let mut stream = Stream::new(provider, name, client, told(client));
            stream.push("contentBlockDelta", begun.as_bytes()).unwrap();
            let frames = stream.fault(kind, says, data.as_bytes());
            assert!(frames.contains(&format!("\"message\":\"{why}\"")), "{kind} to {dialect}: {frames}");
            assert!(stream.has_failed() && stream.end(End::Complete, None).is_empty(), "{kind} to {dialect}");
        }
        let mut stream = Stream::new(provider, name, client, told(client));
        let later = json!({ "contentBlockIndex": 0, "delta": { "text": "ha" } }).to_string();
        let ended = json!({ "stopReason": "end_turn" }).to_string();
        let events = [
            ("contentBlockDelta", begun.as_str()),
            ("newThing", r#"{"message":"later"}"#),
            ("contentBlockDelta", later.as_str()),
            ("messageStop", ended.as_str()),
        ];
        let said = events.map(|(name, data)| stream.push(name, data.as_bytes()).unwrap());
        let frames = [said.concat(), stream.end(End::Complete, None)].concat();
        assert!(frames.contains("\"ha\"") && !stream.has_failed(), "{dialect}: {frames}");
        assert!(frames.contains(r#""not_carried":["newThing of the answer"]"#), "{dialect}: {frames}");
    }
}

/// A reason that is not known, with something to give: the client gets it.
#[test]
fn what_was_said_is_given_and_the_reason_listed() {
    let call = json!([{ "functionCall": { "name": "f", "args": { "a": 1 } } }]);
    let cases = [("UNEXPECTED_TOOL_CALL", call, "\"f\""), ("LATER", json!([{ "text": "ho" }]), "\"ho\"")];
    for (reason, parts, wanted) in cases {
        for (client, dialect) in CLIENTS {
            let said = candidate(reason, parts.clone()).to_string();
            let whole =
                answer(Provider::Gemini, "gemini-3-flash", client, said.as_bytes(), &told(client), None).unwrap();
            assert!(whole.body.contains(wanted), "{dialect}: {}", whole.body);
            let listed = [format!("finishReason {reason}"), "candidates[0].finishMessage".to_owned()];
            assert_eq!(whole.dropped, listed, "{dialect}");
        }
    }
}
