//! Answers that nobody recorded, written by what providers document of their usage and by what gateways got wrong of it: each is metered
//! as it says, in one piece and byte by byte.

use base64::Engine as _;
use bytes::Bytes;
use gateway::meter::{Answer, End, Finish, Framing, Measured, Meter};
use schemas::{
    event::Api,
    money::Pico,
    tokens::{Completeness, Doubt, Part, Usage, Vector},
};
use serde_json::{Value, json};

/// An answer and what it used.
struct Case {
    what: &'static str,
    api: Api,
    framing: Framing,
    headers: &'static [(&'static str, &'static str)],
    body: Vec<u8>,
    used: Option<Vector>,
    completeness: &'static str,
}

const EXACT: &str = "exact";
const LEAST: &str = "lower_bound";
const MISSING: &str = "missing";

fn used(input: u64, output: u64) -> Vector {
    Vector { uncached_input: input, output, ..Vector::default() }
}

fn case(
    what: &'static str,
    api: Api,
    framing: Framing,
    body: Vec<u8>,
    used: Vector,
    completeness: &'static str,
) -> Case {
    let used = (completeness != MISSING).then_some(used);
    Case { what, api, framing, headers: &[], body, used, completeness }
}

/// A stream of events that are only data; the last may be `[DONE]`.
fn events(list: &[&str]) -> Vec<u8> {
    list.iter().map(|data| format!("data: {data}\n\n")).collect::<String>().into_bytes()
}

/// A stream of events that have the names of their types.
fn named(list: &[Value]) -> Vec<u8> {
    let frame = |data: &Value| format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap_or_default());
    list.iter().map(frame).collect::<String>().into_bytes()
}

/// A message of Amazon's event stream.
fn message(headers: &[(&str, &str)], payload: &Value) -> Vec<u8> {
    let headers: Vec<u8> = headers
        .iter()
        .flat_map(|(name, value)| {
            let size = u16::try_from(value.len()).unwrap_or_default().to_be_bytes();
            [&[name.len() as u8], name.as_bytes(), &[7], &size, value.as_bytes()].concat()
        })
        .collect();
    let payload = payload.to_string().into_bytes();
    let number = |size: usize| u32::try_from(size).unwrap_or_default().to_be_bytes();
    let mut bytes = [number(16 + headers.len() + payload.len()), number(headers.len())].concat();
    bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
    bytes.extend([headers, payload].concat());
    bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
    bytes
}

fn event(kind: &str, payload: &Value) -> Vec<u8> {
    message(&[(":message-type", "event"), (":event-type", kind)], payload)
}

fn chunk(document: &Value) -> Vec<u8> {
    let bytes = base64::engine::general_purpose::STANDARD.encode(document.to_string());
    event("chunk", &json!({ "bytes": bytes }))
}

fn measure(case: &Case, size: usize) -> Measured {
    let mut meter = Meter::new(Answer { api: case.api, status: 200, framing: case.framing, strip_usage: false });
    case.headers.iter().for_each(|(name, value)| meter.header(name, value));
    for piece in case.body.chunks(size) {
        meter.push(Bytes::copy_from_slice(piece));
        while meter.pop().is_some() {}
    }
    meter.close();
    while meter.pop().is_some() {}
    meter.measured(End::Closed)
}

fn check(cases: &[Case]) {
    let mut wrong = Vec::new();
    for case in cases {
        for size in [1 << 20, 1] {
            let measured = measure(case, size);
            let found = (measured.usage.total(), measured.usage.completeness.name());
            if found != (case.used, case.completeness) {
                wrong.push(format!("{}: {found:?}, not {:?}", case.what, (case.used, case.completeness)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const HELLO: &str =
    r#"{"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"hello there"},"finish_reason":null}]}"#;
const STOP: &str = r#"{"id":"c","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;

/// A frame of chat with usage beside a piece of the answer.
fn on_the_way(output: u64) -> String {
    format!(
        r#"{{"id":"c","model":"m","choices":[{{"index":0,"delta":{{"content":"a"}},"finish_reason":null}}],"usage":{{"prompt_tokens":5,"completion_tokens":{output},"total_tokens":{}}}}}"#,
        output + 5
    )
}

#[test]
fn chat_by_whoever_speaks_it() {
    let (one, two) = (on_the_way(1), on_the_way(2));
    let last =
        r#"{"id":"c","model":"m","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":9,"total_tokens":14}}"#;
    let moderated = r#"{"id":"c","model":"m","choices":[],"moderation":{"flagged":false}}"#;
    let classes = r#"{"id":"c","model":"m","choices":[],"usage":{"prompt_tokens":100,"completion_tokens":60,"total_tokens":160,"prompt_tokens_details":{"cached_tokens":40,"cache_write_tokens":10,"audio_tokens":20,"image_tokens":3,"new":{"a":[1]}},"completion_tokens_details":{"reasoning_tokens":12,"audio_tokens":8,"accepted_prediction_tokens":1,"rejected_prediction_tokens":2},"later":null},"x":{"usage":7}}"#;
    let failed = r#"{"error":{"message":"overloaded","type":"server_error","code":"overloaded"}}"#;
    let stream = |what, list: &[&str], vector, completeness| {
        case(what, Api::OpenAiChat, Framing::Events, events(list), vector, completeness)
    };
    let all =
        Vector { cache_read: 40, cache_write_5m: 10, audio_input: 20, audio_output: 8, reasoning: 12, ..used(30, 52) };
    check(&[
        stream("usage in each frame", &[&one, &two, STOP, last, "[DONE]"], used(5, 9), EXACT),
        stream("usage in each frame, cut behind the finish", &[&one, &two, STOP], used(5, 2), LEAST),
        stream("usage in each frame, cut", &[&one, &two], used(5, 2), LEAST),
        stream("no usage", &[HELLO, STOP, "[DONE]"], used(0, 0), MISSING),
        stream("moderation behind the usage", &[HELLO, STOP, last, moderated, "[DONE]"], used(5, 9), EXACT),
        stream("an error on the way", &[HELLO, failed], used(0, 0), MISSING),
        stream("an error behind the usage", &[HELLO, STOP, last, failed], used(5, 9), EXACT),
        stream("every class, and members that nobody knows", &[HELLO, STOP, classes, "[DONE]"], all, EXACT),
    ]);
}

#[test]
fn usage_of_openais_form_by_others() {
    let whole = |what, usage: Value, vector| {
        let body = json!({ "id": "c", "model": "m", "choices": [{ "message": { "content": "hi" } }], "usage": usage });
        case(what, Api::OpenAiChat, Framing::Whole, body.to_string().into_bytes(), vector, EXACT)
    };
    let perplexity = json!({ "prompt_tokens": 33, "completion_tokens": 7163, "total_tokens": 7196, "citation_tokens": 20016,
        "num_search_queries": 18, "reasoning_tokens": 73997, "cost": { "input_tokens_cost": 0.001, "total_cost": 0.82 } });
    let cases = [
        whole(
            "DeepSeek's hits and misses",
            json!({ "prompt_tokens": 50, "completion_tokens": 4, "prompt_cache_hit_tokens": 32, "prompt_cache_miss_tokens": 18 }),
            Vector { cache_read: 32, ..used(18, 4) },
        ),
        whole(
            "xAI's reasoning is outside",
            json!({ "prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 30, "completion_tokens_details": { "reasoning_tokens": 16 } }),
            Vector { reasoning: 16, ..used(10, 20) },
        ),
        whole(
            "Perplexity's research thinks apart",
            perplexity,
            Vector { reasoning: 73_997, web_searches: 18, ..used(33 + 20_016, 7163 + 73_997) },
        ),
        whole(
            "and apart also where it thinks less than it says",
            json!({ "prompt_tokens": 33, "completion_tokens": 500, "total_tokens": 533, "citation_tokens": 200,
                "reasoning_tokens": 40 }),
            Vector { reasoning: 40, ..used(233, 540) },
        ),
        whole(
            "unless its total has all of it",
            json!({ "prompt_tokens": 33, "completion_tokens": 500, "total_tokens": 773, "citation_tokens": 200,
                "reasoning_tokens": 40 }),
            Vector { reasoning: 40, ..used(233, 540) },
        ),
        whole(
            "null is no count",
            json!({ "prompt_tokens": 3, "completion_tokens": 0, "prompt_tokens_details": null }),
            used(3, 0),
        ),
    ];
    check(&cases);
    assert_eq!(measure(&cases[2], 1 << 20).provider_cost, Pico::parse_usd("0.82"));
    let own_keys = json!({ "prompt_tokens": 3, "completion_tokens": 1, "is_byok": true, "cost": 0.0005,
        "cost_details": { "upstream_inference_cost": 0.01 } });
    let own_keys = whole("OpenRouter with keys of one's own", own_keys, used(3, 1));
    assert_eq!(measure(&own_keys, 64).provider_cost, Pico::parse_usd("0.0005"), "it charges its fee, and no more");
    let groq = r#"{"id":"c","model":"m","choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":9},"x_groq":{"usage":{"prompt_tokens":5,"completion_tokens":9}}}"#;
    check(&[case(
        "Groq says it twice",
        Api::OpenAiChat,
        Framing::Events,
        events(&[HELLO, groq, "[DONE]"]),
        used(5, 9),
        EXACT,
    )]);
}

#[test]
fn what_openai_says_of_sound_and_images() {
    let usage = json!({ "type": "duration", "seconds": 9 });
    let heard = json!({ "text": "hi", "usage": usage });
    let by_time =
        case("seconds", Api::OpenAiTranscriptions, Framing::Whole, heard.to_string().into_bytes(), used(0, 0), MISSING);
    let measured = measure(&by_time, 64);
    assert_eq!(measured.raw_usage, usage.to_string(), "what is no tokens is kept all the same");
    assert_eq!(measured.usage, Usage::missing(Doubt::NotCounted), "it is reported, and not in tokens");
    let priced = json!({ "text": "hi", "usage": { "seconds": 9.2, "cost": 0.0005 } }).to_string().into_bytes();
    let priced = case("a price", Api::OpenAiTranscriptions, Framing::Whole, priced, used(0, 0), MISSING);
    assert_eq!(measure(&priced, 64).provider_cost, Pico::parse_usd("0.0005"));
    let done = json!({ "type": "transcript.text.done", "text": "hi", "usage": usage });
    let streamed = case("streamed", Api::OpenAiTranscriptions, Framing::Events, named(&[done]), used(0, 0), MISSING);
    assert_eq!(measure(&streamed, 64).usage, Usage::missing(Doubt::NotCounted));
    let heard = json!({ "type": "transcript.text.done", "text": "hi", "usage": { "type": "tokens", "input_tokens": 14,
        "input_token_details": { "text_tokens": 4, "audio_tokens": 10 }, "output_tokens": 5, "total_tokens": 19 } });
    let drawn = json!({ "type": "image_generation.completed", "b64_json": "aGk=", "usage": { "total_tokens": 290, "input_tokens": 18,
        "output_tokens": 272, "input_tokens_details": { "text_tokens": 18, "image_tokens": 0 } } });
    let edited = json!({ "created": 1, "data": [{ "b64_json": "aGk=" }], "usage": { "total_tokens": 1_321, "input_tokens": 225,
        "output_tokens": 1_096, "input_tokens_details": { "text_tokens": 31, "image_tokens": 194 },
        "output_tokens_details": { "text_tokens": 40, "image_tokens": 1_056 } } });
    let said =
        json!({ "type": "speech.audio.done", "usage": { "input_tokens": 3, "output_tokens": 40, "total_tokens": 43 } });
    let piece = json!({ "type": "transcript.text.delta", "delta": "hi" });
    check(&[
        by_time,
        case(
            "a streamed transcription",
            Api::OpenAiTranscriptions,
            Framing::Events,
            named(&[piece, heard]),
            Vector { audio_input: 10, ..used(4, 5) },
            EXACT,
        ),
        case(
            "a streamed image",
            Api::OpenAiImages,
            Framing::Events,
            named(&[drawn]),
            Vector { image_output: 272, ..used(18, 0) },
            EXACT,
        ),
        case(
            "an image that was edited, with a text",
            Api::OpenAiImages,
            Framing::Whole,
            edited.to_string().into_bytes(),
            Vector { image_input: 194, image_output: 1_056, ..used(31, 40) },
            EXACT,
        ),
        case(
            "streamed speech",
            Api::OpenAiSpeech,
            Framing::Events,
            named(&[said]),
            Vector { audio_output: 40, ..used(3, 0) },
            EXACT,
        ),
    ]);
}

#[test]
fn responses_and_how_they_end() {
    let ended = |kind: &str, status: &str, usage: Value| json!({ "type": kind, "response": { "id": "r", "model": "m", "status": status, "usage": usage } });
    let begun = ended("response.created", "in_progress", Value::Null);
    let zero = json!({ "input_tokens": 0, "output_tokens": 0, "total_tokens": 0 });
    let count = json!({ "input_tokens": 20, "input_tokens_details": { "cached_tokens": 8 }, "output_tokens": 7,
        "output_tokens_details": { "reasoning_tokens": 5 }, "total_tokens": 27 });
    let delta = json!({ "type": "response.output_text.delta", "item_id": "i", "delta": "hello" });
    let vector = Vector { cache_read: 8, reasoning: 5, ..used(12, 7) };
    let stream = |what, list: &[Value], vector, completeness| {
        case(what, Api::OpenAiResponses, Framing::Events, named(list), vector, completeness)
    };
    let incomplete = ended("response.incomplete", "incomplete", count.clone());
    let failed = ended("response.failed", "failed", count.clone());
    let error = json!({ "type": "error", "code": "server_error", "message": "no" });
    check(&[
        stream("incomplete", &[begun.clone(), delta.clone(), incomplete], vector, EXACT),
        stream("failed, and what it used", &[begun.clone(), delta.clone(), failed], vector, EXACT),
        stream(
            "failed, and nothing said",
            &[begun.clone(), ended("response.failed", "failed", Value::Null)],
            used(0, 0),
            MISSING,
        ),
        stream("an error on the way", &[begun.clone(), delta.clone(), error], used(0, 0), MISSING),
        stream(
            "zeros at the beginning, cut",
            &[ended("response.in_progress", "in_progress", zero), delta],
            used(0, 0),
            LEAST,
        ),
    ]);
}

#[test]
fn messages_by_anthropic_and_by_others() {
    let start =
        |usage: Value| json!({ "type": "message_start", "message": { "id": "m", "model": "claude", "usage": usage } });
    let text = json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": "hi" } });
    let delta =
        |usage: Value| json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "usage": usage });
    let stop = json!({ "type": "message_stop" });
    let stream = |what, list: &[Value], vector, completeness| {
        case(what, Api::AnthropicMessages, Framing::Events, named(list), vector, completeness)
    };
    let cached = json!({ "input_tokens": 4, "cache_read_input_tokens": 30, "cache_creation_input_tokens": 9,
        "cache_creation": { "ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 7 }, "output_tokens": 1 });
    let overloaded = json!({ "type": "error", "error": { "type": "overloaded_error", "message": "no" } });
    let split = Vector { cache_read: 30, cache_write_5m: 2, cache_write_1h: 7, ..used(4, 12) };
    let lowered = json!({ "input_tokens": 3883, "cache_read_input_tokens": 30464, "output_tokens": 9, "server_tool_use": { "web_search_requests": 2 } });
    let passes = json!({ "input_tokens": 50, "output_tokens": 8, "iterations": [
        { "type": "compaction", "input_tokens": 100, "cache_read_input_tokens": 40, "output_tokens": 20 },
        { "type": "advisor_message", "model": "claude-other", "input_tokens": 25, "output_tokens": 6 },
        { "type": "fallback_message", "model": "claude-failed", "input_tokens": 99, "output_tokens": 0 },
        { "type": "message", "input_tokens": 50, "output_tokens": 8, "later": {} },
    ] });
    let several = stream(
        "passes",
        &[start(json!({ "input_tokens": 1, "output_tokens": 1 })), text.clone(), delta(passes), stop.clone()],
        Vector { cache_read: 40, ..used(175, 34) },
        EXACT,
    );
    let other = Part { model: Some("claude-other".to_owned()), vector: used(25, 6) };
    assert_eq!(measure(&several, 1 << 20).usage.parts[1..], [other], "what another model did has its price");
    check(&[
        several,
        stream(
            "lifetimes in the start only",
            &[start(cached.clone()), text.clone(), delta(json!({ "output_tokens": 12 })), stop.clone()],
            split,
            EXACT,
        ),
        stream("the start alone", &[start(cached.clone()), text.clone()], Vector { output: 1, ..split }, LEAST),
        stream(
            "more was written by the end, and nobody says for how long",
            &[
                start(cached.clone()),
                text.clone(),
                delta(json!({ "cache_creation_input_tokens": 15, "output_tokens": 12 })),
                stop.clone(),
            ],
            Vector { cache_write_5m: 8, ..split },
            LEAST,
        ),
        stream("an error on the way", &[start(cached), text.clone(), overloaded], Vector { output: 1, ..split }, LEAST),
        stream(
            "the delta lowers the input",
            &[start(json!({ "input_tokens": 34824, "output_tokens": 1 })), text, delta(lowered), stop],
            Vector { cache_read: 30_464, web_searches: 2, ..used(3_883, 9) },
            EXACT,
        ),
    ]);
}

#[test]
fn gemini_streamed_and_not() {
    let text = r#"{"candidates":[{"content":{"parts":[{"text":"hi"}]}}],"usageMetadata":{"promptTokenCount":7,"candidatesTokenCount":3,"totalTokenCount":10}}"#;
    let bare = r#"{"candidates":[{"content":{"parts":[{"text":""}]},"finishReason":"STOP"}]}"#;
    let behind = r#"{"usageMetadata":{"promptTokenCount":7,"candidatesTokenCount":5,"thoughtsTokenCount":4,"totalTokenCount":16}}"#;
    let only = r#"{"candidates":[{"finishReason":"MAX_TOKENS"}],"usageMetadata":{"promptTokenCount":7,"thoughtsTokenCount":4,"totalTokenCount":11}}"#;
    let heard = r#"{"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":100,"cachedContentTokenCount":30,"toolUsePromptTokenCount":9,"candidatesTokenCount":50,"promptTokensDetails":[{"modality":"TEXT","tokenCount":40},{"modality":"AUDIO","tokenCount":60}],"cacheTokensDetails":[{"modality":"AUDIO","tokenCount":30}],"candidatesTokensDetails":[{"modality":"AUDIO","tokenCount":50}],"trafficType":"ON_DEMAND","later":[{}]}}"#;
    let drawn = r#"{"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":300,"candidatesTokenCount":1301,"thoughtsTokenCount":4,"promptTokensDetails":[{"modality":"TEXT","tokenCount":42},{"modality":"IMAGE","tokenCount":258}],"candidatesTokensDetails":[{"modality":"TEXT","tokenCount":11},{"modality":"IMAGE","tokenCount":1290}]}}"#;
    let failed = r#"{"error":{"code":503,"message":"no","status":"UNAVAILABLE"}}"#;
    let thought = Vector { reasoning: 4, ..used(7, 9) };
    let sound = Vector { cache_read_audio: 30, audio_input: 30, audio_output: 50, ..used(49, 0) };
    let stream = |what, list: &[&str], vector, completeness| {
        case(what, Api::GeminiGenerateContent, Framing::Events, events(list), vector, completeness)
    };
    check(&[
        stream("usage behind the finish", &[text, bare, behind], thought, EXACT),
        stream("the finish says nothing", &[text, bare], used(7, 3), LEAST),
        stream("cut", &[text], used(7, 3), LEAST),
        stream("thoughts only, where there were more", &[text, only], Vector { reasoning: 4, ..used(7, 4) }, EXACT),
        stream("sound, cached and not", &[heard], sound, EXACT),
        stream(
            "an image beside its text",
            &[drawn],
            Vector { image_output: 1_290, reasoning: 4, ..used(300, 15) },
            EXACT,
        ),
        stream("an error on the way", &[text, failed], used(7, 3), LEAST),
        case(
            "a list of documents",
            Api::GeminiGenerateContent,
            Framing::Whole,
            format!("[{text},{only}]").into_bytes(),
            Vector { reasoning: 4, ..used(7, 4) },
            EXACT,
        ),
    ]);
}

#[test]
fn bedrock_in_its_own_form_and_its_makers() {
    let said = event("contentBlockDelta", &json!({ "contentBlockIndex": 0, "delta": { "text": "hi" } }));
    let stopped = event("messageStop", &json!({ "stopReason": "end_turn" }));
    let metadata = event(
        "metadata",
        &json!({ "usage": { "inputTokens": 2, "outputTokens": 5, "totalTokens": 1329,
        "cacheWriteInputTokens": 1322, "cacheWriteInputTokenCount": 1322, "serverToolUsage": {},
        "cacheDetails": [{ "ttl": "1h", "inputTokens": 1000 }, { "ttl": "5m", "inputTokens": 322 }] } }),
    );
    let throttled = message(
        &[(":message-type", "exception"), (":exception-type", "throttlingException")],
        &json!({ "message": "no" }),
    );
    let written = Vector { cache_write_5m: 322, cache_write_1h: 1000, ..used(2, 5) };
    let stream = |what, list: &[&[u8]], vector, completeness| {
        case(what, Api::BedrockConverseStream, Framing::Messages, list.concat(), vector, completeness)
    };
    let invoke = |what, body: Value, vector, completeness| {
        case(what, Api::BedrockInvoke, Framing::Whole, body.to_string().into_bytes(), vector, completeness)
    };
    let pieces = |what, list: &[Value], vector, completeness| {
        let body = list.iter().flat_map(chunk).collect();
        case(what, Api::BedrockInvokeStream, Framing::Messages, body, vector, completeness)
    };
    let metrics = json!({ "generation": "", "prompt_token_count": null, "generation_token_count": 3,
        "amazon-bedrock-invocationMetrics": { "inputTokenCount": 8, "outputTokenCount": 3 } });
    let llama = [
        json!({ "generation": "a", "prompt_token_count": 8, "generation_token_count": 1 }),
        json!({ "generation": "b", "prompt_token_count": null, "generation_token_count": 2 }),
    ];
    let claude = json!({ "type": "message", "id": "m", "model": "claude", "stop_reason": "end_turn", "content": [],
        "usage": { "input_tokens": 4, "cache_read_input_tokens": 90, "output_tokens": 6 } });
    let headers = &[("x-amzn-bedrock-input-token-count", "4"), ("x-amzn-bedrock-output-token-count", "6")];
    check(&[
        stream("one count under two names, of two lifetimes", &[&said, &stopped, &metadata], written, EXACT),
        stream("cut before its usage", &[&said, &stopped], used(0, 0), MISSING),
        stream("an exception on the way", &[&said, &throttled], used(0, 0), MISSING),
        invoke(
            "Titan",
            json!({ "inputTextTokenCount": 5, "results": [{ "tokenCount": 9, "outputText": "hi" }] }),
            used(5, 9),
            EXACT,
        ),
        invoke("Titan's vectors", json!({ "inputTextTokenCount": 5, "embedding": [0.5, 1] }), used(5, 0), EXACT),
        invoke("half of it", json!({ "inputTextTokenCount": 5, "results": [{}] }), used(5, 0), LEAST),
        pieces("Llama, cut", &llama, used(8, 2), LEAST),
        pieces("Llama", &[llama[0].clone(), llama[1].clone(), metrics], used(8, 3), EXACT),
        Case {
            headers,
            ..invoke("headers that leave the cache out", claude, Vector { cache_read: 90, ..used(4, 6) }, EXACT)
        },
    ]);
}

#[test]
fn cohere_and_ollama() {
    let piece = json!({ "type": "content-delta", "index": 0, "delta": { "message": { "content": { "text": "hi" } } } });
    let end = json!({ "type": "message-end", "delta": { "finish_reason": "COMPLETE", "usage": {
        "billed_units": { "input_tokens": 7, "output_tokens": 28 }, "tokens": { "input_tokens": 69, "output_tokens": 83 }, "cached_tokens": 60 } } });
    let unbilled = json!({ "type": "message-end", "delta": { "usage": { "tokens": { "input_tokens": 69, "output_tokens": 83 } } } });
    let stream = |what, list: &[Value], vector, completeness| {
        case(what, Api::CohereChat, Framing::Events, named(list), vector, completeness)
    };
    let line = |value: Value| format!("{value}\n");
    let lines = |what, list: &[Value], vector, completeness| {
        let body = list.iter().cloned().map(line).collect::<String>().into_bytes();
        case(what, Api::OllamaChat, Framing::Lines, body, vector, completeness)
    };
    let ranked = json!({ "results": [], "meta": { "billed_units": { "search_units": 3 } } });
    let searched = json!({ "id": "r", "model": "m", "results": [], "usage": { "cost": 0.001, "search_units": 1 } });
    let counted = json!({ "model": "m", "results": [], "usage": { "total_tokens": 30 } });
    let ranking =
        |what, api, body: &Value, vector| case(what, api, Framing::Whole, body.to_string().into_bytes(), vector, EXACT);
    let (one, three) = (Vector { search_units: 1, ..used(0, 0) }, Vector { search_units: 3, ..used(0, 0) });
    let rankings = [
        ranking("OpenRouter's ranking", Api::OpenAiRerank, &searched, one),
        ranking("the same through", Api::Passthrough, &searched, one),
        ranking("Cohere's form by the path of others", Api::OpenAiRerank, &ranked, three),
        ranking("a ranking by tokens", Api::OpenAiRerank, &counted, used(30, 0)),
    ];
    check(&rankings);
    assert_eq!(measure(&rankings[0], 64).provider_cost, Pico::parse_usd("0.001"));
    let embedded = json!({ "model": "m", "embeddings": [[0.5, 1]], "prompt_eval_count": 8 });
    let many = json!({ "model": "m", "embeddings": vec![0.5; 70_000], "prompt_eval_count": 8 });
    for body in [&embedded, &many] {
        check(&[Api::OllamaChat, Api::Passthrough].map(|api| ranking("what is embedded", api, body, used(8, 0))));
    }
    let word = json!({ "model": "m", "message": { "content": "hi" }, "done": false });
    let failed = [Api::OllamaChat, Api::Passthrough].map(|api| {
        let list = [word.clone(), json!({ "error": "no" })];
        Case { api, ..lines("an error in place of the end", &list, used(0, 0), MISSING) }
    });
    check(&failed);
    let has_failed = |case: &Case| matches!(measure(case, 64).finish, Finish::ErrorInStream { .. });
    assert!(failed.iter().all(has_failed), "it is not complete");
    let broken = json!({ "type": "message-end", "delta": { "finish_reason": "ERROR", "error": "no", "usage": {
        "billed_units": { "input_tokens": 7, "output_tokens": 2 } } } });
    let broken = stream("an error at the end, and what is billed", &[piece.clone(), broken], used(7, 2), EXACT);
    assert!(matches!(measure(&broken, 64).finish, Finish::ErrorInStream { .. }), "it is not complete");
    check(&[
        broken,
        stream("what is billed counts", &[piece.clone(), end], used(7, 28), EXACT),
        stream("nothing is said to be billed", &[piece.clone(), unbilled], used(69, 83), EXACT),
        stream("cut", &[piece], used(0, 0), MISSING),
        case(
            "a ranking",
            Api::CohereRerank,
            Framing::Whole,
            ranked.to_string().into_bytes(),
            Vector { search_units: 3, ..used(0, 0) },
            EXACT,
        ),
        lines(
            "lines",
            &[word.clone(), json!({ "model": "m", "done": true, "prompt_eval_count": 4, "eval_count": 6 })],
            used(4, 6),
            EXACT,
        ),
        lines(
            "a prompt that was in memory",
            &[word.clone(), json!({ "model": "m", "done": true, "eval_count": 6 })],
            used(0, 6),
            LEAST,
        ),
        lines("lines, cut", &[word], used(0, 0), MISSING),
    ]);
}

#[test]
fn what_is_not_billed_by_tokens_is_not_called_exact_and_is_no_output() {
    let body = |usage: &Value| {
        let said = json!([{ "message": { "content": "hi" }, "finish_reason": "stop" }]);
        json!({ "id": "c", "model": "m", "text": "hi", "choices": said, "usage": usage }).to_string().into_bytes()
    };
    let whole = |what, api, usage: &Value, vector, completeness| {
        case(what, api, Framing::Whole, body(usage), vector, completeness)
    };
    let voxtral =
        json!({ "prompt_audio_seconds": 203, "prompt_tokens": 4, "total_tokens": 3264, "completion_tokens": 635 });
    let heard = Vector { audio_input: 2_625, ..used(4, 635) };
    let cached = json!({ "prompt_audio_seconds": 5, "prompt_tokens": 5, "total_tokens": 404, "completion_tokens": 24,
        "prompt_tokens_details": { "cached_tokens": 368 } });
    let silent =
        json!({ "prompt_audio_seconds": null, "prompt_tokens": 21, "total_tokens": 21, "completion_tokens": 0 });
    let unsaid = json!({ "prompt_audio_seconds": 30, "prompt_tokens": 4, "total_tokens": 500 });
    let last = json!({ "id": "c", "model": "m", "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }], "usage": voxtral });
    let sources = json!({ "prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10, "num_sources_used": 5 });
    let mixed = json!({ "prompt_tokens": 10, "completion_tokens": 1,
        "prompt_tokens_details": { "cached_tokens": 6, "audio_tokens": 5, "cached_tokens_details": { "text_tokens": 2, "audio_tokens": 4 } } });
    let cases = [
        whole("Mistral's sound in a chat", Api::OpenAiChat, &voxtral, heard, LEAST),
        whole("and in a transcription", Api::OpenAiTranscriptions, &voxtral, heard, LEAST),
        case(
            "and streamed",
            Api::OpenAiChat,
            Framing::Events,
            events(&[HELLO, &last.to_string(), "[DONE]"]),
            heard,
            LEAST,
        ),
        whole(
            "some of it cached",
            Api::OpenAiChat,
            &cached,
            Vector { cache_read: 368, audio_input: 12, ..used(0, 24) },
            LEAST,
        ),
        whole("the total may be either", Api::OpenAiTranscriptions, &unsaid, used(4, 0), LEAST),
        whole("xAI's sources", Api::OpenAiChat, &sources, used(7, 3), LEAST),
        whole("a total of both", Api::OpenAiChat, &json!({ "total_tokens": 49 }), used(0, 0), MISSING),
        whole("no sound", Api::OpenAiChat, &silent, used(21, 0), EXACT),
        whole(
            "sound that was cached",
            Api::OpenAiChat,
            &mixed,
            Vector { cache_read: 2, cache_read_audio: 4, audio_input: 1, ..used(3, 1) },
            EXACT,
        ),
    ];
    check(&cases);
    for case in &cases[..6] {
        let wanted = Completeness::LowerBound(Doubt::NotCounted);
        assert_eq!(measure(case, 64).usage.completeness, wanted, "{}", case.what);
    }
    let seconds = whole("only", Api::OpenAiTranscriptions, &json!({ "prompt_audio_seconds": 2 }), used(0, 0), MISSING);
    assert_eq!(measure(&seconds, 64).usage, Usage::missing(Doubt::NotCounted));
    let drawn = json!({ "predictions": [{ "mimeType": "image/png", "bytesBase64Encoded": "aGk=" }] });
    for body in [drawn, json!({})] {
        let body = body.to_string().into_bytes();
        let images = case("an image", Api::GeminiEmbeddings, Framing::Whole, body, used(0, 0), MISSING);
        assert_eq!(measure(&images, 64).usage, Usage::missing(Doubt::NotCounted), "it cannot be estimated");
    }
    for body in
        [json!({ "predictions": [{ "embeddings": { "values": [1] } }] }), json!({ "embedding": { "values": [1] } })]
    {
        let body = body.to_string().into_bytes();
        let vectors = case("a vector", Api::GeminiEmbeddings, Framing::Whole, body, used(0, 0), MISSING);
        assert_eq!(measure(&vectors, 64).usage, Usage::missing(Doubt::NotReported), "it can");
    }
}

#[test]
fn what_a_provider_ran_itself_has_a_class_of_its_own() {
    let ran = |tools: Value| {
        json!({ "id": "r", "object": "response", "model": "grok-4", "output": [], "usage": { "input_tokens": 7, "output_tokens": 3,
            "total_tokens": 10, "num_sources_used": 0, "server_side_tool_usage_details": tools } })
    };
    let xai = |what, tools, vector, completeness| {
        let body = ran(tools).to_string().into_bytes();
        case(what, Api::OpenAiResponses, Framing::Whole, body, vector, completeness)
    };
    let message = |content: Value, web: Value| {
        json!({ "type": "message", "id": "m", "model": "claude", "stop_reason": "end_turn", "content": content,
            "usage": { "input_tokens": 7, "output_tokens": 3, "server_tool_use": web } })
    };
    let claude = |what, content, web, code_sessions, tool_calls| {
        let body = message(content, web).to_string().into_bytes();
        let vector = Vector { code_sessions, tool_calls, ..used(7, 3) };
        case(what, Api::AnthropicMessages, Framing::Whole, body, vector, EXACT)
    };
    let bash = json!({ "type": "server_tool_use", "id": "s", "name": "bash_code_execution", "input": {} });
    let result = json!({ "type": "bash_code_execution_tool_result", "tool_use_id": "s", "content": {} });
    let of_code = json!({ "type": "code_execution_20260120", "tool_id": "s" });
    let fetched = json!({ "type": "web_fetch_tool_result", "tool_use_id": "t", "content": {}, "caller": of_code });
    let older =
        json!({ "type": "web_fetch_tool_result", "tool_use_id": "t", "content": {}, "caller": { "type": "direct" } });
    let (once, never) =
        (json!({ "web_fetch_requests": 1, "web_search_requests": 0 }), json!({ "web_search_requests": 0 }));
    let begun = json!({ "type": "message_start", "message": { "id": "m", "model": "claude", "usage": { "input_tokens": 7, "output_tokens": 1 } } });
    let block = |block: &Value| json!({ "type": "content_block_start", "index": 0, "content_block": block });
    let ended = |web: &Value| json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "usage": { "output_tokens": 3, "server_tool_use": web } });
    let stream = |what, list: &[&Value], web: &Value, code_sessions| {
        let blocks = list.iter().copied().map(block);
        let frames: Vec<Value> = [begun.clone()].into_iter().chain(blocks).chain([ended(web)]).collect();
        let vector = Vector { code_sessions, tool_calls: 1, ..used(7, 3) };
        case(what, Api::AnthropicMessages, Framing::Events, named(&frames), vector, EXACT)
    };
    let mut contained = message(json!([]), never.clone());
    contained["container"] = json!({ "id": "c", "expires_at": "2026-06-30T23:58:54Z" });
    let mut late = ended(&never);
    late["delta"]["container"] = contained["container"].clone();
    let (late, contained) = (named(&[begun.clone(), late]), contained.to_string().into_bytes());
    let session = Vector { code_sessions: 1, ..used(7, 3) };
    let one = Vector { search_units: 1, ..used(7, 3) };
    let mut tried = ran(json!({ "web_search_calls": 0, "x_search_calls": 1, "file_search_calls": 0 }));
    let search = json!({ "type": "web_search_call", "action": { "type": "search", "query": "", "sources": [] } });
    tried["output"] = json!([search, search, { "type": "file_search_call" }]);
    let tried = tried.to_string().into_bytes();
    let router = |what, name: &str, ran: Value, web_searches| {
        let mut body = json!({ "id": "c", "usage": { "prompt_tokens": 7, "completion_tokens": 3 } });
        body["usage"][name] = ran;
        let (body, vector) = (body.to_string().into_bytes(), Vector { web_searches, ..used(7, 3) });
        case(what, Api::OpenAiChat, Framing::Whole, body, vector, EXACT)
    };
    let several = Vector { web_searches: 2, search_units: 3, ..used(7, 3) };
    check(&[
        xai("a search of X", json!({ "web_search_calls": 0, "x_search_calls": 1 }), one, EXACT),
        xai(
            "of all",
            json!({ "web_search_calls": 2, "x_search_calls": 1, "document_search_calls": 2 }),
            several,
            EXACT,
        ),
        xai("code", json!({ "code_interpreter_calls": 1 }), used(7, 3), LEAST),
        xai("servers of others, which cost tokens", json!({ "mcp_calls": 4 }), used(7, 3), EXACT),
        case(
            "searches that were tried",
            Api::OpenAiResponses,
            Framing::Whole,
            tried,
            Vector { tool_calls: 3, ..one },
            EXACT,
        ),
        router("a search beside the model", "server_tool_use_details", json!({ "web_search_requests": 1 }), 1),
        router("the same by another name", "server_tool_use", json!({ "web_search_requests": 2 }), 2),
        router("none", "server_tool_use_details", json!({ "tool_calls_executed": 1 }), 0),
        case("files and no code", Api::AnthropicMessages, Framing::Whole, contained, session, EXACT),
        case("the same, streamed", Api::AnthropicMessages, Framing::Events, late, session, EXACT),
        claude("code", json!([bash, result]), never.clone(), 1, 1),
        claude("code that looked into the web", json!([bash, fetched, result]), once.clone(), 0, 1),
        claude("code beside that", json!([bash, older, result]), once.clone(), 1, 1),
        claude(
            "a name",
            json!([{ "type": "tool_use", "id": "t", "name": "bash_code_execution", "input": {} }]),
            never.clone(),
            0,
            1,
        ),
        stream("code, streamed", &[&bash, &result], &never, 1),
        stream("and the web by it", &[&bash, &fetched, &result], &once, 0),
    ]);
}

#[test]
fn what_passes_through_is_known_by_its_envelope() {
    let usage = json!({ "total_input_tokens": 7, "total_output_tokens": 20, "total_thought_tokens": 22, "total_cached_tokens": 0,
        "total_tool_use_tokens": 0, "total_tokens": 49 });
    let thought = Vector { reasoning: 22, ..used(7, 42) };
    let classes = json!({ "totalInputTokens": 100, "totalCachedTokens": 40, "totalOutputTokens": 5, "totalToolUseTokens": 9, "totalTokens": 114,
        "inputTokensByModality": [{ "modality": "text", "tokens": 50 }, { "modality": "audio", "tokens": 50 }],
        "cachedTokensByModality": [{ "modality": "AUDIO", "tokens": 40 }],
        "groundingToolCount": [{ "type": "google_search", "count": 2 }, { "type": "google_maps", "count": 1 }] });
    let all = Vector { cache_read_audio: 40, audio_input: 10, web_searches: 2, search_units: 1, ..used(59, 5) };
    let whole = |what, body: Value, vector, completeness| {
        case(what, Api::Passthrough, Framing::Whole, body.to_string().into_bytes(), vector, completeness)
    };
    let asked = json!([{ "type": "google_search_call", "arguments": { "queries": ["a", "b"] } }]);
    let begun = json!({ "event_type": "interaction.created", "interaction": { "id": "v1_x", "model": "gemini-3-flash", "status": "in_progress" } });
    let delta = json!({ "event_type": "step.delta", "index": 0, "delta": { "type": "text", "text": "hi" } });
    let ended = json!({ "event_type": "interaction.completed", "interaction": { "id": "v1_x", "model": "gemini-3-flash", "usage": usage } });
    let stream = |what, list: &[&Value], vector, completeness| {
        let list: Vec<String> = list.iter().map(|event| event.to_string()).collect();
        let list: Vec<&str> = list.iter().map(String::as_str).collect();
        case(what, Api::Passthrough, Framing::Events, events(&list), vector, completeness)
    };
    let search = json!({ "event_type": "step.start", "index": 0, "step": { "type": "google_search_call" } });
    let mut counted = ended.clone();
    counted["interaction"]["usage"]["grounding_tool_count"] = json!([{ "type": "google_search", "count": 2 }]);
    let mut mapped = ended.clone();
    mapped["interaction"]["usage"]["grounding_tool_count"] = json!([{ "type": "google_maps", "count": 1 }]);
    let called = Vector { tool_calls: 1, ..thought };
    let batch = json!({ "id": "batch_1", "object": "batch", "status": "validating",
        "usage": { "input_tokens": 0, "output_tokens": 0, "total_tokens": 0 } });
    check(&[
        whole("an interaction", json!({ "id": "v1_x", "model": "gemini-3-flash", "usage": usage }), thought, EXACT),
        whole("at Vertex", json!({ "id": "v1_x", "usage": classes }), all, EXACT),
        whole(
            "searches that its usage does not count",
            json!({ "id": "v1_x", "model": "gemini-3-flash", "steps": asked, "usage": usage }),
            Vector { web_searches: 2, tool_calls: 1, ..thought },
            EXACT,
        ),
        stream("streamed", &[&begun, &delta, &ended], thought, EXACT),
        stream("cut", &[&begun, &delta], used(0, 0), MISSING),
        stream("a search", &[&begun, &search, &ended], called, LEAST),
        stream("counted", &[&begun, &search, &counted], Vector { web_searches: 2, ..called }, EXACT),
        stream("maps beside it", &[&begun, &search, &mapped], Vector { search_units: 1, ..called }, LEAST),
        whole("half of it", json!({ "usage": { "total_input_tokens": 7, "total_tokens": 9 } }), used(7, 0), LEAST),
        whole("a total of both", json!({ "usage": { "total_tokens": 49 } }), used(0, 0), MISSING),
        whole("a batch that begins", batch, used(0, 0), MISSING),
    ]);
}
