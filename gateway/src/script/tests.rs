//! Streams frame by frame: what is counted, and how each dialect is ended, for its own clients and for others.

use serde_json::json;

use super::{count::TOOL_TOKENS, *};
use crate::{
    meter::eventstream,
    translate::{self, Client},
};

fn script(api: Api, bytes_per_token: u8) -> Script {
    Script::new(api, Encoding::None, bytes_per_token).unwrap()
}

/// The frames that end a stream.
fn ending(script: &Script, usage: Option<&Vector>, wants_usage: bool) -> Vec<u8> {
    script.ending(&Ending { why: &json!({ "code": "TG2001" }), usage, wants_usage })
}

fn ending_text(script: &Script, usage: Option<&Vector>, wants_usage: bool) -> String {
    String::from_utf8(ending(script, usage, wants_usage)).unwrap()
}

/// Looks into frames and passes them.
fn relay(script: &mut Script, frames: &[&str]) {
    for frame in frames {
        let brings = script.look(format!("event: x\ndata: {frame}\n\n").as_bytes());
        script.pass(brings);
    }
}

fn check(api: Api, frames: &[&str], output: u64, ends_with: &[&str]) {
    let mut script = script(api, 1);
    relay(&mut script, frames);
    let ending = ending_text(&script, None, true);
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
    // What has ended is not ended again.
    check(Api::OpenAiChat, &[said, ended], 3, &[&last(""), "[DONE]"]);
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
        let mut script = script(Api::OpenAiChat, bytes_per_token);
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
    let ending = |api: Api, wants| ending_text(&script(api, 1), Some(&usage), wants);
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
    let mut script = script(Api::GeminiGenerateContent, 1);
    let frame = |parts: serde_json::Value, tokens: Option<u64>| {
        let candidate = json!({ "index": 0, "content": { "role": "model", "parts": parts } });
        let usage = json!({ "promptTokenCount": 4, "candidatesTokenCount": tokens, "totalTokenCount": 4 });
        format!("data: {}\n\n", json!({ "candidates": [candidate], "usageMetadata": usage, "responseId": "r" }))
    };
    let mut look = |frame: String| {
        let brings = script.look(frame.as_bytes());
        script.pass(brings);
        script.seen()
    };
    assert_eq!(look(frame(json!([{ "text": "0123456789" }]), None)), 10);
    assert_eq!(look(frame(json!([{ "text": "0123456789", "thought": true }]), Some(5))), 15);
    // The names are the tool's own, whatever they are.
    let call = json!([{ "functionCall": { "name": "f", "args": { "status": "bc" } }, "thoughtSignature": "xyz" }]);
    assert_eq!(look(frame(call, None)), 15 + 1 + TOOL_TOKENS + r#"{"status":"bc"}"#.len() as u64);
    let ending = ending_text(&script, None, true);
    assert!(ending.contains(r#""finishReason":"MAX_TOKENS""#) && ending.contains(r#""responseId":"r""#), "{ending}");
}

/// A message of an event stream as Bedrock sends it.
fn message(kind: &str, payload: &serde_json::Value) -> Vec<u8> {
    let headers = [(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")];
    eventstream::write(&headers, payload.to_string().as_bytes())
}

/// The messages of an event stream.
fn messages(mut bytes: &[u8]) -> Vec<(String, serde_json::Value)> {
    let mut all = Vec::new();
    while let Some(length) = bytes.first_chunk::<4>() {
        let (one, rest) = bytes.split_at(u32::from_be_bytes(*length) as usize);
        let message = eventstream::read(one).unwrap();
        assert_eq!(message.message_type, "event");
        all.push((message.kind.to_owned(), serde_json::from_slice(message.payload).unwrap()));
        bytes = rest;
    }
    all
}

#[test]
fn a_converse_stream_ends_as_one_that_reached_its_cap() {
    let mut script = script(Api::BedrockConverseStream, 1);
    let mut relay = |kind: &str, payload: serde_json::Value| {
        let brings = script.look(&message(kind, &payload));
        script.pass(brings);
        script.seen()
    };
    assert_eq!(relay("messageStart", json!({ "role": "assistant", "p": "abcdef" })), 0);
    // A block of text has no start, and padding is no output.
    assert_eq!(relay("contentBlockDelta", json!({ "contentBlockIndex": 0, "delta": { "text": "abc" }, "p": "ab" })), 3);
    assert_eq!(relay("contentBlockStop", json!({ "contentBlockIndex": 0, "p": "abcd" })), 3);
    let tool = json!({ "toolUse": { "name": "f", "toolUseId": "tooluse_x" } });
    assert_eq!(relay("contentBlockStart", json!({ "contentBlockIndex": 1, "start": tool })), 3 + 1 + TOOL_TOKENS);
    let input = json!({ "contentBlockIndex": 1, "delta": { "toolUse": { "input": "{\"a\"" } } });
    assert_eq!(relay("contentBlockDelta", input), 8 + TOOL_TOKENS);
    let usage = Vector { uncached_input: 7, cache_read: 2, output: 30, ..Vector::default() };
    let ended = messages(&ending(&script, Some(&usage), false));
    let reason =
        json!({ "stopReason": "max_tokens", "additionalModelResponseFields": { "tollgate": { "code": "TG2001" } } });
    let usage = json!({ "inputTokens": 7, "cacheReadInputTokens": 2, "cacheWriteInputTokens": 0, "outputTokens": 30, "totalTokens": 39 });
    assert_eq!(
        ended,
        [
            ("contentBlockStop".to_owned(), json!({ "contentBlockIndex": 1 })),
            ("messageStop".to_owned(), reason),
            ("metadata".to_owned(), json!({ "usage": usage })),
        ]
    );
    // What cannot be read is all output, and an exception is none.
    let seen = script.seen();
    script
        .look(&eventstream::write(&[(":message-type", "exception"), (":exception-type", "x")], b"{\"message\":\"m\"}"));
    assert_eq!(script.seen(), seen);
    script.look(b"no message");
    assert_eq!(script.seen(), seen + 10);
}

#[test]
fn a_chat_of_coheres_ends_as_one_that_reached_its_cap() {
    let delta = |kind: &str, index: u64, message: &str| {
        format!(r#"{{"type":"{kind}","index":{index},"delta":{{"message":{message}}}}}"#)
    };
    let tool = r#"{"tool_calls":{"id":"call","type":"function","function":{"name":"f","arguments":""}}}"#;
    let frames = [
        r#"{"id":"i","type":"message-start","delta":{"message":{"role":"assistant","content":[],"tool_plan":"","tool_calls":[]}}}"#.to_owned(),
        r#"{"type":"tool-plan-delta","delta":{"message":{"tool_plan":"ab"}}}"#.to_owned(),
        delta("content-start", 0, r#"{"content":{"type":"text","text":""}}"#),
        delta("content-delta", 0, r#"{"content":{"text":"abc"}}"#),
        r#"{"type":"content-end","index":0}"#.to_owned(),
        // Calls of tools have indices of their own.
        delta("tool-call-start", 0, tool),
    ];
    let frames: Vec<&str> = frames.iter().map(String::as_str).collect();
    let end = r#"{"delta":{"finish_reason":"MAX_TOKENS"},"tollgate":{"code":"TG2001"},"type":"message-end"}"#;
    let tool_end = r#"{"index":0,"type":"tool-call-end"}"#;
    check(Api::CohereChat, &frames, 2 + 3 + 1 + TOOL_TOKENS, &[tool_end, end, "[DONE]"]);
    check(Api::CohereChat, &frames[..4], 5, &[r#"{"index":0,"type":"content-end"}"#, end, "[DONE]"]);
    let usage = Vector { uncached_input: 7, output: 30, ..Vector::default() };
    let told = ending_text(&script(Api::CohereChat, 1), Some(&usage), false);
    assert!(told.contains(r#""billed_units":{"input_tokens":7,"output_tokens":30}"#), "{told}");
}

/// Events of a response as OpenAI sends them: reasoning that is shown, a message, and a call of a tool.
const RESPONSE: [&str; 18] = [
    r#"{"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","created_at":7,"status":"in_progress","model":"m","output":[],"usage":null,"incomplete_details":null}}"#,
    r#"{"type":"response.in_progress","sequence_number":1,"response":{"id":"resp_1","object":"response","created_at":7,"status":"in_progress","model":"m","output":[],"usage":null,"incomplete_details":null}}"#,
    r#"{"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":{"id":"rs_1","type":"reasoning","summary":[]}}"#,
    r#"{"type":"response.reasoning_summary_part.added","sequence_number":3,"item_id":"rs_1","output_index":0,"summary_index":0,"part":{"type":"summary_text","text":""}}"#,
    r#"{"type":"response.reasoning_summary_text.delta","sequence_number":4,"item_id":"rs_1","output_index":0,"summary_index":0,"delta":"why","obfuscation":"abcdef"}"#,
    r#"{"type":"response.reasoning_summary_text.done","sequence_number":5,"item_id":"rs_1","output_index":0,"summary_index":0,"text":"why"}"#,
    r#"{"type":"response.reasoning_summary_part.done","sequence_number":6,"item_id":"rs_1","output_index":0,"summary_index":0,"part":{"type":"summary_text","text":"why"}}"#,
    r#"{"type":"response.output_item.done","sequence_number":7,"output_index":0,"item":{"id":"rs_1","type":"reasoning","summary":[{"type":"summary_text","text":"why"}]}}"#,
    r#"{"type":"response.output_item.added","sequence_number":8,"output_index":1,"item":{"id":"msg_1","type":"message","status":"in_progress","content":[],"role":"assistant"}}"#,
    r#"{"type":"response.content_part.added","sequence_number":9,"item_id":"msg_1","output_index":1,"content_index":0,"part":{"type":"output_text","annotations":[],"logprobs":[],"text":""}}"#,
    r#"{"type":"response.output_text.delta","sequence_number":10,"item_id":"msg_1","output_index":1,"content_index":0,"delta":"ab","logprobs":[]}"#,
    r#"{"type":"response.output_text.delta","sequence_number":11,"item_id":"msg_1","output_index":1,"content_index":0,"delta":"cd","logprobs":[]}"#,
    r#"{"type":"response.output_text.done","sequence_number":12,"item_id":"msg_1","output_index":1,"content_index":0,"text":"abcd","logprobs":[]}"#,
    r#"{"type":"response.content_part.done","sequence_number":13,"item_id":"msg_1","output_index":1,"content_index":0,"part":{"type":"output_text","annotations":[],"logprobs":[],"text":"abcd"}}"#,
    r#"{"type":"response.output_item.done","sequence_number":14,"output_index":1,"item":{"id":"msg_1","type":"message","status":"completed","content":[{"type":"output_text","annotations":[],"logprobs":[],"text":"abcd"}],"role":"assistant"}}"#,
    r#"{"type":"response.output_item.added","sequence_number":15,"output_index":2,"item":{"id":"fc_1","type":"function_call","status":"in_progress","arguments":"","call_id":"call_1","name":"f"}}"#,
    r#"{"type":"response.function_call_arguments.delta","sequence_number":16,"item_id":"fc_1","output_index":2,"delta":"{\"a\"","obfuscation":"abc"}"#,
    r#"{"type":"response.function_call_arguments.delta","sequence_number":17,"item_id":"fc_1","output_index":2,"delta":":1}"}"#,
];

/// What is told whole when a response is ended behind so many of its events.
fn ended_behind(events: usize) -> (u64, Vec<serde_json::Value>) {
    let mut script = script(Api::OpenAiResponses, 1);
    relay(&mut script, &RESPONSE[..events]);
    let usage = Vector { uncached_input: 7, output: 30, ..Vector::default() };
    let ending = ending_text(&script, Some(&usage), false);
    let data: Vec<serde_json::Value> = ending
        .split_terminator("\n\n")
        .map(|event| {
            let (name, data) = event.split_once('\n').unwrap();
            let data: serde_json::Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
            assert_eq!(name.strip_prefix("event: "), data["type"].as_str());
            data
        })
        .collect();
    (script.seen(), data)
}

#[test]
fn a_response_ends_as_one_that_reached_its_cap_wherever_it_is_cut() {
    for events in 1..=RESPONSE.len() {
        let (_, ending) = ended_behind(events);
        let before: Vec<serde_json::Value> =
            RESPONSE[..events].iter().map(|event| serde_json::from_str(event).unwrap()).collect();
        let all: Vec<&serde_json::Value> = before.iter().chain(&ending).collect();
        assert!(
            all.iter().zip(0_u64..).all(|(event, place)| event["sequence_number"] == place),
            "{events}: {ending:?}"
        );
        // Whatever was begun is ended, once.
        let count = |kind: &str| all.iter().filter(|event| event["type"] == kind).count();
        for (begun, ended) in [
            ("response.output_item.added", "response.output_item.done"),
            ("response.content_part.added", "response.content_part.done"),
            ("response.content_part.added", "response.output_text.done"),
            ("response.reasoning_summary_part.added", "response.reasoning_summary_part.done"),
            ("response.reasoning_summary_part.added", "response.reasoning_summary_text.done"),
        ] {
            // A text that never began needs no end.
            assert!(
                count(ended) == count(begun) || ended.contains("text") && count(ended) <= count(begun),
                "{events}: {ended}"
            );
        }
        let last = ending.last().unwrap();
        assert_eq!(last["type"], "response.incomplete");
        let response = &last["response"];
        assert_eq!((&response["id"], &response["status"]), (&json!("resp_1"), &json!("incomplete")));
        assert_eq!(response["incomplete_details"]["reason"], "max_output_tokens");
        assert_eq!(
            (&response["usage"]["output_tokens"], &response["tollgate"]["code"]),
            (&json!(30), &json!("TG2001"))
        );
        let done =
            all.iter().filter(|event| event["type"] == "response.output_item.done").map(|event| event["item"].clone());
        assert_eq!(response["output"], done.collect::<serde_json::Value>(), "{events}");
    }
}

#[test]
fn what_a_response_was_told_in_pieces_is_told_whole_as_far_as_it_came() {
    let (seen, ending) = ended_behind(12);
    assert_eq!(seen, 3 + 4, "what is told again is counted once");
    let kinds: Vec<_> = ending.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        ["response.output_text.done", "response.content_part.done", "response.output_item.done", "response.incomplete"]
    );
    let place = json!({ "item_id": "msg_1", "output_index": 1, "content_index": 0 });
    for event in &ending[..2] {
        assert!(place.as_object().unwrap().iter().all(|(name, value)| event[name] == *value), "{event}");
    }
    let part = json!({ "type": "output_text", "annotations": [], "logprobs": [], "text": "abcd" });
    assert_eq!((&ending[0]["text"], &ending[1]["part"]), (&json!("abcd"), &part));
    let item =
        json!({ "id": "msg_1", "type": "message", "status": "incomplete", "content": [part], "role": "assistant" });
    assert_eq!(ending[2]["item"], item);
    let (seen, ending) = ended_behind(RESPONSE.len());
    assert_eq!(seen, 3 + 4 + 1 + TOOL_TOKENS + 7);
    assert_eq!(
        (&ending[0]["type"], &ending[0]["arguments"]),
        (&json!("response.function_call_arguments.done"), &json!("{\"a\":1}"))
    );
    assert_eq!(
        (&ending[1]["item"]["arguments"], &ending[1]["item"]["status"]),
        (&json!("{\"a\":1}"), &json!("incomplete"))
    );
    assert_eq!(ending[2]["response"]["output"][1]["status"], "completed");
}

#[test]
fn of_a_response_nothing_is_told_that_was_not_given_to_the_client() {
    let mut script = script(Api::OpenAiResponses, 1);
    relay(&mut script, &RESPONSE[..11]);
    // It has come, and waits for more to be held.
    script.look(format!("data: {}\n\n", RESPONSE[11]).as_bytes());
    assert_eq!(script.seen(), 7);
    let ending = ending_text(&script, None, false);
    assert!(ending.contains(r#""text":"ab""#) && !ending.contains("abcd"), "{ending}");
    assert!(ending.contains(r#""sequence_number":11"#) && ending.contains(r#""usage":null"#), "{ending}");
}

#[test]
fn a_response_that_is_told_only_whole_counts_all_the_same() {
    let whole: Vec<&str> = RESPONSE.into_iter().filter(|event| !event.contains(".delta\"")).collect();
    let mut told_whole = script(Api::OpenAiResponses, 1);
    relay(&mut told_whole, &whole);
    assert_eq!(told_whole.seen(), 3 + 4 + 1 + TOOL_TOKENS);
    let completed =
        r#"{"type":"response.completed","response":{"output":[{"type":"message","content":[{"text":"abcdefgh"}]}]}}"#;
    let mut at_last = script(Api::OpenAiResponses, 1);
    relay(&mut at_last, &[RESPONSE[0], completed]);
    assert_eq!(at_last.seen(), 8);
}

#[test]
fn what_is_kept_of_a_response_has_an_end() {
    let mut script = script(Api::OpenAiResponses, 1);
    relay(&mut script, &RESPONSE[..10]);
    let delta = json!({ "type": "response.output_text.delta", "output_index": 1, "content_index": 0, "delta": "x".repeat(1 << 20) });
    let delta = delta.to_string();
    relay(&mut script, &[&delta, &delta, &delta]);
    let ending = ending_text(&script, None, false);
    assert!(ending.starts_with("event: response.incomplete") && ending.len() < 1_000, "{}", ending.len());
    assert_eq!(script.seen(), 3 + 3 * (1 << 20));
}

/// What of a stream reaches a client of another dialect: the frame before, if it goes through, and the ending, as they are carried.
fn carried(api: Api, from: translate::Provider, to: Client, (before, passes): (&[u8], bool), usage: &Vector) -> String {
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
    let mut script = script(api, 1);
    let brings = script.look(before);
    let before = if passes { before } else { &[][..] };
    if passes {
        script.pass(brings);
    }
    let ending = ending(&script, Some(usage), true);
    let is_binary = api == Api::BedrockConverseStream;
    let framing = if is_binary { crate::meter::Framing::Messages } else { crate::meter::Framing::Events };
    let mut meter = crate::meter::Meter::new(crate::meter::Answer { api, status: 200, framing, strip_usage: false });
    let mut told = String::new();
    let all = [before, &ending].concat();
    meter.push(all.clone().into());
    if is_binary {
        for (kind, payload) in messages(&all) {
            told.push_str(&stream.push(&kind, payload.to_string().as_bytes()).unwrap());
        }
    } else {
        for frame in String::from_utf8(all).unwrap().split_inclusive("\n\n") {
            told.push_str(&stream.push("", &data_of(frame.as_bytes())).unwrap());
        }
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
        (format!("{said}\n\n").as_bytes(), true),
        &usage,
    );
    let last = told.rsplit("event: ").next().unwrap();
    assert!(last.starts_with("response.incomplete") && last.contains("TG2001"), "{told}");
    assert!(last.contains(r#""input_tokens":41"#) && last.contains(r#""output_tokens":17"#), "{last}");
    let content = r#"data: {"responseId":"r","modelVersion":"m","candidates":[{"index":0,"content":{"role":"model","parts":[{"text":"abc"}]}}]}"#;
    let cohere = r#"data: {"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"abc"}}}}"#;
    let converse = message("contentBlockDelta", &json!({ "contentBlockIndex": 0, "delta": { "text": "abc" } }));
    for (api, from, said) in [
        (Api::GeminiGenerateContent, translate::Provider::Gemini, format!("{content}\n\n").into_bytes()),
        (Api::CohereChat, translate::Provider::CohereChat, format!("{cohere}\n\n").into_bytes()),
        (Api::BedrockConverseStream, translate::Provider::BedrockConverse, converse),
    ] {
        for (to, wanted) in [
            (Client::OpenAiChat, [r#""finish_reason":"length""#, r#""completion_tokens":17"#]),
            (Client::AnthropicMessages, [r#""stop_reason":"max_tokens""#, r#""output_tokens":17"#]),
        ] {
            let told = carried(api, from, to, (&said, true), &usage);
            let missing: Vec<_> =
                wanted.iter().chain(&["TG2001", "abc"]).filter(|part| !told.contains(**part)).collect();
            assert!(missing.is_empty(), "{missing:?} in {told}");
        }
    }
}

/// The first frame that says anything can be too large for what is held.
#[test]
fn a_stream_that_is_cut_before_its_first_frame_ends_as_one_that_reached_its_cap() {
    let usage = Vector { uncached_input: 41, output: 17, ..Vector::default() };
    let chat = r#"data: {"id":"c","model":"m","created":7,"choices":[{"index":0,"delta":{"content":"abc"}}]}"#;
    let content = r#"data: {"responseId":"r","modelVersion":"m","candidates":[{"index":0,"content":{"role":"model","parts":[{"text":"abc"}]}}]}"#;
    let cohere = r#"data: {"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"abc"}}}}"#;
    let claude = r#"data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"abc"}}"#;
    let converse = message("contentBlockDelta", &json!({ "contentBlockIndex": 0, "delta": { "text": "abc" } }));
    let event = |said: &str| format!("{said}\n\n").into_bytes();
    for (api, from, said) in [
        (Api::OpenAiChat, translate::Provider::OpenAiChat, event(chat)),
        (Api::GeminiGenerateContent, translate::Provider::Gemini, event(content)),
        (Api::CohereChat, translate::Provider::CohereChat, event(cohere)),
        (Api::AnthropicMessages, translate::Provider::AnthropicMessages, event(claude)),
        (Api::BedrockConverseStream, translate::Provider::BedrockConverse, converse),
    ] {
        for (to, wanted) in [
            (Client::OpenAiChat, [r#""finish_reason":"length""#, r#""completion_tokens":17"#, "[DONE]"]),
            (
                Client::OpenAiResponses,
                [r#""reason":"max_output_tokens""#, r#""output_tokens":17"#, "response.incomplete"],
            ),
            (Client::AnthropicMessages, [r#""stop_reason":"max_tokens""#, r#""output_tokens":17"#, "message_stop"]),
        ] {
            let told = carried(api, from, to, (&said, false), &usage);
            let missing: Vec<_> = wanted.iter().chain(&["TG2001"]).filter(|part| !told.contains(**part)).collect();
            assert!(missing.is_empty() && !told.contains("abc"), "{from:?}: {missing:?} in {told}");
        }
    }
}
