//! Streams frame by frame: what is counted, and how each dialect is ended, for its own clients and for others.

use super::*;
use crate::translate;

fn check(api: Api, frames: &[&str], output: u64, ends_with: &[&str]) {
    let mut script = Script::new(api, Encoding::None, 1);
    for frame in frames {
        let brings = script.look(format!("event: x\ndata: {frame}\n\n").as_bytes());
        script.pass(&brings);
    }
    let ending = script.ending(&json!({ "code": "TG2001" }), None, true);
    let data: Vec<&str> = ending.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert_eq!((script.seen(), data.as_slice()), (output, ends_with), "{frames:?}");
}

#[test]
fn a_chat_ends_as_one_that_reached_its_cap() {
    let said = r#"{"id":"c","model":"m","created":7,"choices":[{"index":0,"delta":{"role":"assistant","content":"abc"},"finish_reason":null}]}"#;
    let ended = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    let tool = r#"{"choices":[{"index":1,"delta":{"tool_calls":[{"index":0,"id":"call","type":"function","function":{"name":"f","arguments":"{}"}}]}}]}"#;
    let last = |choices: &str| {
        format!(
            r#"{{"choices":[{choices}],"created":7,"id":"c","model":"m","object":"chat.completion.chunk","tollgate":{{"code":"TG2001"}}}}"#
        )
    };
    let open = |index: u8| format!(r#"{{"delta":{{}},"finish_reason":"length","index":{index},"logprobs":null}}"#);
    check(Api::OpenAiChat, &[said], 3, &[&last(&open(0)), "[DONE]"]);
    check(
        Api::OpenAiChat,
        &[said, tool, "[DONE]"],
        3 + 1 + TOOL_TOKENS + 2,
        &[&last(&format!("{},{}", open(0), open(1))), "[DONE]"],
    );
    check(Api::OpenAiChat, &[said, tool, ended], 6 + TOOL_TOKENS, &[&last(&open(1)), "[DONE]"]);
}

#[test]
fn a_message_ends_as_one_that_reached_its_cap() {
    let start = r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"x","name":"f","input":{}}}"#;
    let delta =
        r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"a\""}}"#;
    let first = r#"{"type":"content_block_stop","index":0}"#;
    let stop = r#"{"index":1,"type":"content_block_stop"}"#;
    let last = r#"{"delta":{"stop_reason":"max_tokens","stop_sequence":null},"tollgate":{"code":"TG2001"},"type":"message_delta","usage":{"output_tokens":null}}"#;
    check(Api::AnthropicMessages, &[first, start, delta], 5 + TOOL_TOKENS, &[stop, last, r#"{"type":"message_stop"}"#]);
    check(Api::AnthropicMessages, &["not json"], 8, &[last, r#"{"type":"message_stop"}"#]);
}

/// The text of one chunk of a chat, and what its usage says that all output is by then.
fn chunk(text: &str, reported: Option<u64>) -> String {
    let usage = reported.map(|tokens| json!({ "prompt_tokens": 5, "completion_tokens": tokens }));
    let choice = json!({ "index": 0, "delta": { "content": text } });
    format!("data: {}\n\n", json!({ "id": "c", "model": "m", "choices": [choice], "usage": usage }))
}

#[test]
fn bytes_stand_for_tokens_until_the_operator_or_the_provider_says_better() {
    let check = |bytes_per_token, frames: &[(usize, Option<u64>)], wanted: &[u64]| {
        let mut script = Script::new(Api::OpenAiChat, Encoding::None, bytes_per_token);
        let seen: Vec<u64> = frames
            .iter()
            .map(|(bytes, reported)| {
                script.look(chunk(&"x".repeat(*bytes), *reported).as_bytes());
                script.seen()
            })
            .collect();
        assert_eq!(seen, wanted, "{bytes_per_token} {frames:?}");
    };
    check(1, &[(10, None), (10, None)], &[10, 20]);
    // Small pieces are not rounded up one by one.
    check(3, &[(2, None), (2, None), (2, None)], &[1, 2, 2]);
    // What is reported may leave out the frame that it stands in.
    check(1, &[(40, None), (8, Some(12)), (8, None)], &[40, 20, 28]);
    check(3, &[(60, None), (6, Some(12))], &[20, 14]);
    // Zeros until the end, and a count that stands still, are not the truth.
    check(1, &[(40, Some(0)), (40, Some(0))], &[40, 80]);
    check(1, &[(10, Some(3)), (100, Some(3))], &[10, 110]);
    // Never more than the text can be.
    check(1, &[(10, Some(900))], &[10]);
}

#[test]
fn a_chat_that_asked_for_usage_and_a_message_end_with_what_was_used() {
    let usage = Vector { uncached_input: 7, cache_read: 2, output: 30, ..Vector::default() };
    let ending = |api: Api, wants| Script::new(api, Encoding::None, 1).ending(&json!(null), Some(&usage), wants);
    let chat = ending(Api::OpenAiChat, true);
    assert!(chat.contains(r#""prompt_tokens":9"#) && chat.contains(r#""completion_tokens":30"#), "{chat}");
    assert!(!ending(Api::OpenAiChat, false).contains("usage"));
    let message = ending(Api::AnthropicMessages, false);
    assert!(message.contains(r#""output_tokens":30"#) && message.contains(r#""input_tokens":7"#), "{message}");
    assert!(message.contains(r#""cache_read_input_tokens":2"#), "{message}");
    let content = ending(Api::GeminiGenerateContent, false);
    assert!(content.contains(r#""candidatesTokenCount":30"#) && content.contains(r#""promptTokenCount":9"#));
}

#[test]
fn a_content_ends_as_one_that_reached_its_cap() {
    let mut script = Script::new(Api::GeminiGenerateContent, Encoding::None, 1);
    let frame = |parts: serde_json::Value, tokens: Option<u64>| {
        let candidate = json!({ "index": 0, "content": { "role": "model", "parts": parts } });
        let usage = json!({ "promptTokenCount": 4, "candidatesTokenCount": tokens, "totalTokenCount": 4 });
        format!("data: {}\n\n", json!({ "candidates": [candidate], "usageMetadata": usage, "responseId": "r" }))
    };
    let mut look = |frame: String| {
        let brings = script.look(frame.as_bytes());
        script.pass(&brings);
        script.seen()
    };
    assert_eq!(look(frame(json!([{ "text": "0123456789" }]), None)), 10);
    assert_eq!(look(frame(json!([{ "text": "0123456789", "thought": true }]), Some(5))), 15);
    let call = json!([{ "functionCall": { "name": "f", "args": { "a": "bc" } }, "thoughtSignature": "xyz" }]);
    assert_eq!(look(frame(call, None)), 15 + 1 + TOOL_TOKENS + 2);
    let ending = script.ending(&json!({ "code": "TG2001" }), None, true);
    assert!(ending.contains(r#""finishReason":"MAX_TOKENS""#) && ending.contains(r#""responseId":"r""#), "{ending}");
}

/// What of a stream reaches a client of another dialect: the frame before, and the ending, as they are carried.
fn carried(api: Api, from: translate::Provider, to: Client, before: &str, usage: &Vector) -> String {
    let said = json!([{ "role": "user", "content": "hi" }]);
    let asked = match to {
        Client::OpenAiResponses => json!({ "model": "m", "stream": true, "input": "hi" }),
        Client::AnthropicMessages => json!({ "model": "m", "stream": true, "max_tokens": 9, "messages": said }),
        Client::OpenAiChat => {
            json!({ "model": "m", "stream": true, "messages": said, "stream_options": { "include_usage": true } })
        }
    };
    let request = translate::Request::read(to, asked.to_string().as_bytes()).unwrap();
    let mut stream = translate::Stream::new(from, "m", to, request.told("id", 7, 1));
    let mut script = Script::new(api, Encoding::None, 1);
    let brings = script.look(before.as_bytes());
    script.pass(&brings);
    let ending = script.ending(&json!({ "code": "TG2001" }), Some(usage), true);
    let framing = crate::meter::Framing::Events;
    let mut meter = crate::meter::Meter::new(crate::meter::Answer { api, status: 200, framing, strip_usage: false });
    let mut told = String::new();
    for frame in [before, &ending].concat().split_inclusive("\n\n") {
        meter.push(frame.to_owned().into());
        told.push_str(&stream.push("", &data_of(frame.as_bytes())).unwrap());
    }
    meter.close();
    let measured = meter.measured(crate::meter::End::Closed);
    told + &stream.end(translate::End::Complete, measured.usage.total().as_ref())
}

#[test]
fn clients_of_other_dialects_are_told_the_usage_of_a_cut_stream_too() {
    let usage = Vector { uncached_input: 41, output: 17, ..Vector::default() };
    let said = r#"data: {"id":"c","model":"m","created":7,"choices":[{"index":0,"delta":{"role":"assistant","content":"abc"}}]}"#;
    let told = carried(
        Api::OpenAiChat,
        translate::Provider::OpenAiChat,
        Client::OpenAiResponses,
        &format!("{said}\n\n"),
        &usage,
    );
    let last = told.rsplit("event: ").next().unwrap();
    assert!(last.starts_with("response.incomplete") && last.contains("TG2001"), "{told}");
    assert!(last.contains(r#""input_tokens":41"#) && last.contains(r#""output_tokens":17"#), "{last}");
    let said = r#"data: {"responseId":"r","modelVersion":"m","candidates":[{"index":0,"content":{"role":"model","parts":[{"text":"abc"}]}}]}"#;
    let from = translate::Provider::Gemini;
    for (to, wanted) in [
        (Client::OpenAiChat, [r#""finish_reason":"length""#, r#""completion_tokens":17"#]),
        (Client::AnthropicMessages, [r#""stop_reason":"max_tokens""#, r#""output_tokens":17"#]),
    ] {
        let told = carried(Api::GeminiGenerateContent, from, to, &format!("{said}\n\n"), &usage);
        let missing: Vec<_> = wanted.iter().chain(&["TG2001"]).filter(|part| !told.contains(**part)).collect();
        assert!(missing.is_empty(), "{missing:?} in {told}");
    }
}
