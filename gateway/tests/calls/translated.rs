//! Calls to providers of other dialects: what the provider is asked, what the client gets, and that it is settled as the provider's own.

use gateway::meter::eventstream;
use schemas::{
    config::{ModelRoute, Retry, Strategy, Target, UsageInStream},
    event::{Api, Outcome},
    tokens::{Completeness, Doubt, Vector},
};
use serde_json::{Value, json};

use crate::{
    dialects::{COHERE, CONVERSE, GEMINI, message, typed, used},
    provider::{Replay, Step, json},
    stage::{Setting, Stage},
};

pub(crate) const MESSAGE: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[{"type":"text","text":"hi"},{"type":"tool_use","id":"toolu_1","name":"f","input":{"b":1,"a":2}}],"stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":4,"output_tokens":2}}"#;

/// A call of a client, and what becomes of it.
struct Case {
    path: &'static str,
    body: Value,
    /// What the head and the body of the provider's request have to contain, in lower case.
    asked: &'static [&'static str],
    api: Api,
    answer: Vec<Step>,
    /// What the client's answer has to contain.
    told: &'static [&'static str],
    not_carried: Option<&'static str>,
    used: Vector,
}

async fn check(case: Case) {
    let replay = Replay::start(case.answer).await;
    let stage = Stage::new(replay.address).await;
    let answer = stage.post(case.path, &case.body).send().await.unwrap();
    let status = answer.status();
    let listed = answer.headers().get("x-tollgate-not-carried").map(|value| value.to_str().unwrap().to_owned());
    let streams = case.body["stream"] == true;
    let kind = if streams { "text/event-stream" } else { "application/json" };
    assert_eq!(answer.headers()["content-type"], kind, "{}", case.path);
    let told = answer.text().await.unwrap();
    assert_eq!(status, 200, "{}: {told}", case.path);
    assert_eq!(listed.as_deref(), case.not_carried, "{}", case.path);
    for wanted in case.told {
        assert!(told.contains(wanted), "{}: {wanted} is not in {told}", case.path);
    }
    let asked = replay.asked().remove(0);
    let text = format!("{}{}", asked.head, String::from_utf8_lossy(&asked.body).to_lowercase());
    for wanted in case.asked {
        assert!(text.contains(wanted), "{}: {wanted} is not in {text}", case.path);
    }
    let (_, written) = stage.end().await;
    let settled = written.one();
    assert_eq!((settled.attempt.api, settled.outcome), (case.api, Outcome::Complete), "{}", case.path);
    assert_eq!(settled.usage.total(), Some(case.used), "{}", case.path);
}

#[tokio::test]
async fn a_chat_reaches_gemini_and_bedrock() {
    let question = |model: &str, stream: bool| {
        json!({ "model": model, "stream": stream, "stream_options": { "include_usage": true }, "user": "u",
            "messages": [{ "role": "system", "content": "Be brief." }, { "role": "user", "content": "hi" }] })
    };
    check(Case {
        path: "/v1/chat/completions",
        body: question("gemini-2.5-flash", false),
        asked: &[
            "post /v1beta/models/gemini-2.5-flash:generatecontent http/1.1",
            r#"{"systeminstruction":{"parts":[{"text":"be brief."}]},"contents":[{"role":"user","parts":[{"text":"hi"}]}]"#,
        ],
        api: Api::GeminiGenerateContent,
        answer: json("200 OK", GEMINI),
        told: &[r#""content":"hi""#, r#""finish_reason":"stop""#, r#""prompt_tokens":7,"completion_tokens":5"#],
        not_carried: Some("user"),
        used: Vector { reasoning: 3, ..used(7, 5) },
    })
    .await;
    let stream = [
        message("messageStart", &json!({ "role": "assistant" })),
        message("contentBlockDelta", &json!({ "contentBlockIndex": 0, "delta": { "text": "hi" } })),
        message("contentBlockStop", &json!({ "contentBlockIndex": 0 })),
        message("newThing", &json!({ "p": "abc" })),
        message("messageStop", &json!({ "stopReason": "max_tokens" })),
        message("metadata", &json!({ "usage": { "inputTokens": 4, "outputTokens": 2, "cacheReadInputTokens": 8 } })),
    ];
    check(Case {
        path: "/v1/chat/completions",
        body: question("us.anthropic.claude-v1:0", true),
        asked: &["post /model/us.anthropic.claude-v1%3a0/converse-stream http/1.1", "authorization: aws4-hmac-sha256"],
        api: Api::BedrockConverseStream,
        answer: typed("application/vnd.amazon.eventstream", &stream.concat()),
        told: &[
            r#""delta":{"content":"hi"}"#,
            r#""finish_reason":"length""#,
            r#""not_carried":["newThing of the answer"]"#,
            r#""prompt_tokens":12,"completion_tokens":2,"total_tokens":14"#,
            "data: [DONE]\n\n",
        ],
        not_carried: Some("user"),
        used: Vector { cache_read: 8, ..used(4, 2) },
    })
    .await;
}

/// A message of Amazon's says in a header that it is no event.
#[tokio::test]
async fn why_bedrock_broke_off_a_stream_is_told() {
    let begun = message("contentBlockDelta", &json!({ "contentBlockIndex": 0, "delta": { "text": "hi" } }));
    let exception = [(":message-type", "exception"), (":exception-type", "throttlingException")];
    let error = [(":message-type", "error"), (":error-code", "InternalError"), (":error-message", "It broke.")];
    for (failed, why) in [
        (eventstream::write(&exception, br#"{"message":"Too many."}"#), "Too many."),
        (eventstream::write(&error, b""), "It broke."),
    ] {
        let stream = [begun.clone(), failed].concat();
        let replay = Replay::start(typed("application/vnd.amazon.eventstream", &stream)).await;
        let stage = Stage::new(replay.address).await;
        let question = json!({ "model": "us.anthropic.claude-v1:0", "stream": true, "messages": [{ "role": "user", "content": "hi" }] });
        let told = stage.post("/v1/chat/completions", &question).send().await.unwrap().text().await.unwrap();
        assert!(told.contains(&format!(r#""message":"{why}""#)), "{told}");
        stage.end().await;
    }
}

#[tokio::test]
async fn messages_reach_gemini_cohere_and_openai() {
    let question = |model: &str, stream: bool| json!({ "model": model, "stream": stream, "max_tokens": 99, "messages": [{ "role": "user", "content": "hi" }] });
    check(Case {
        path: "/v1/messages?beta=true",
        body: question("fast", true),
        asked: &[
            "post /v1beta/models/gemini-2.5-flash:streamgeneratecontent?alt=sse http/1.1",
            r#""maxoutputtokens":99"#,
        ],
        api: Api::GeminiGenerateContent,
        answer: typed("text/event-stream", format!("data: {GEMINI}\r\n\r\n").as_bytes()),
        told: &[
            "event: message_start\n",
            r#""delta":{"type":"text_delta","text":"hi"}"#,
            r#""stop_reason":"end_turn""#,
            r#""usage":{"input_tokens":7,"#,
            "event: message_stop\n",
        ],
        not_carried: None,
        used: Vector { reasoning: 3, ..used(7, 5) },
    })
    .await;
    check(Case {
        path: "/v1/messages",
        body: question("command-a", false),
        asked: &["post /v2/chat http/1.1", r#""model":"command-a""#, r#""max_tokens":99"#],
        api: Api::CohereChat,
        answer: json("200 OK", COHERE),
        told: &[r#""content":[{"type":"text","text":"hi"}]"#, r#""stop_reason":"end_turn""#, r#""input_tokens":3"#],
        not_carried: None,
        used: used(3, 1),
    })
    .await;
    let chunk = |rest: &str| format!("data: {{\"id\":\"c\",\"model\":\"gpt-5-mini\",\"choices\":{rest}}}\n\n");
    let frames = [
        chunk(r#"[{"index":0,"delta":{"role":"assistant","content":"hi"},"finish_reason":null}]"#),
        chunk(r#"[{"index":0,"delta":{},"finish_reason":"stop"}]"#),
        chunk(r#"[],"usage":{"prompt_tokens":6,"completion_tokens":1,"total_tokens":7}"#),
        "data: [DONE]\n\n".to_owned(),
    ];
    check(Case {
        path: "/v1/messages",
        body: question("gpt-5-mini", true),
        asked: &["post /v1/chat/completions http/1.1", r#""max_completion_tokens":99"#, r#""include_usage":true"#],
        api: Api::OpenAiChat,
        answer: typed("text/event-stream", frames.concat().as_bytes()),
        told: &[r#""text":"hi""#, r#""stop_reason":"end_turn""#, r#""input_tokens":6"#, r#""output_tokens":1"#],
        not_carried: None,
        used: used(6, 1),
    })
    .await;
}

#[tokio::test]
async fn responses_reach_anthropic_and_bedrock() {
    let question = |model: &str| {
        json!({ "model": model, "input": "hi", "instructions": "Be brief.", "max_output_tokens": 99,
            "tools": [{ "type": "function", "name": "f", "parameters": { "type": "object", "properties": { "b": {}, "a": {} } } }] })
    };
    check(Case {
        path: "/v1/responses",
        body: question("claude-x"),
        asked: &[
            "post /v1/messages http/1.1",
            "anthropic-version: 2023-06-01",
            r#""system":[{"type":"text","text":"be brief."}]"#,
        ],
        api: Api::AnthropicMessages,
        answer: json("200 OK", MESSAGE),
        told: &[
            r#""object":"response""#,
            r#""status":"completed""#,
            r#""type":"function_call""#,
            r#""arguments":"{\"b\":1,\"a\":2}""#,
            r#""instructions":"Be brief.""#,
            r#""total_tokens":6"#,
        ],
        not_carried: None,
        used: Vector { tool_calls: 1, ..used(4, 2) },
    })
    .await;
    check(Case {
        path: "/openai/v1/responses",
        body: question("us.anthropic.claude-v1:0"),
        asked: &["/converse http/1.1", r#""inferenceconfig":{"maxtokens":99}"#],
        api: Api::BedrockConverse,
        answer: json("200 OK", CONVERSE),
        told: &[r#""type":"output_text","text":"hi""#, r#""total_tokens":6"#],
        not_carried: None,
        used: used(4, 2),
    })
    .await;
}

/// A provider that passes over `stream` has answered all the same, and its client reads events only.
#[tokio::test]
async fn an_answer_that_comes_whole_is_a_stream_to_who_asked_for_one() {
    let said = json!([{ "role": "user", "content": "hi" }]);
    check(Case {
        path: "/v1/chat/completions",
        body: json!({ "model": "claude-x", "stream": true, "stream_options": { "include_usage": true },
            "max_completion_tokens": 99, "messages": said }),
        asked: &["post /v1/messages http/1.1", r#""stream":true"#],
        api: Api::AnthropicMessages,
        answer: json("200 OK", MESSAGE),
        told: &[
            r#""delta":{"content":"hi"}"#,
            r#""id":"toolu_1""#,
            r#""finish_reason":"tool_calls""#,
            r#""prompt_tokens":4,"completion_tokens":2"#,
            "data: [DONE]\n\n",
        ],
        not_carried: None,
        used: Vector { tool_calls: 1, ..used(4, 2) },
    })
    .await;
    check(Case {
        path: "/v1/responses",
        body: json!({ "model": "claude-x", "stream": true, "max_output_tokens": 99, "input": "hi" }),
        asked: &["post /v1/messages http/1.1", r#""stream":true"#],
        api: Api::AnthropicMessages,
        answer: json("200 OK", MESSAGE),
        told: &[
            "event: response.created\n",
            "event: response.output_text.delta\n",
            "event: response.function_call_arguments.done\n",
            "event: response.completed\n",
            r#""total_tokens":6"#,
        ],
        not_carried: None,
        used: Vector { tool_calls: 1, ..used(4, 2) },
    })
    .await;
    let whole = r#"{"id":"c","object":"chat.completion","model":"gpt-5-mini","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":6,"completion_tokens":1,"total_tokens":7}}"#;
    let message = |model: &str| json!({ "model": model, "stream": true, "max_tokens": 99, "messages": said });
    check(Case {
        path: "/v1/messages",
        body: message("gpt-5-mini"),
        asked: &["post /v1/chat/completions http/1.1", r#""stream":true"#],
        api: Api::OpenAiChat,
        answer: json("200 OK", whole),
        told: &[
            "event: message_start\n",
            r#""text":"hi""#,
            r#""stop_reason":"end_turn""#,
            r#""usage":{"input_tokens":6,"#,
            "event: message_stop\n",
        ],
        not_carried: None,
        used: used(6, 1),
    })
    .await;
    // Gemini's own form of a stream where nobody asks for events.
    let first = r#"{"candidates":[{"content":{"parts":[{"text":"oh, "}]}}],"modelVersion":"gemini-2.5-flash"}"#;
    check(Case {
        path: "/v1/messages",
        body: message("fast"),
        asked: &["post /v1beta/models/gemini-2.5-flash:streamgeneratecontent?alt=sse http/1.1"],
        api: Api::GeminiGenerateContent,
        answer: json("200 OK", &format!("[{first},\n{GEMINI}]")),
        told: &[r#""text":"oh, ""#, r#""text":"hi""#, r#""usage":{"input_tokens":7,"#, "event: message_stop\n"],
        not_carried: None,
        used: Vector { reasoning: 3, ..used(7, 5) },
    })
    .await;
}

/// Anthropic's clients read a number. A provider that states none leaves them what was settled, and others are told nothing.
#[tokio::test]
async fn a_message_says_the_estimate_where_its_provider_states_no_usage() {
    let whole = r#"{"id":"c","object":"chat.completion","model":"gpt-5-mini","choices":[{"index":0,"message":{"role":"assistant","content":"one two three"},"finish_reason":"stop"}]}"#;
    let chunk = |choice: &str| format!("data: {{\"id\":\"c\",\"model\":\"gpt-5-mini\",\"choices\":[{choice}]}}\n\n");
    let frames = [
        chunk(r#"{"index":0,"delta":{"role":"assistant","content":"one two three"},"finish_reason":null}"#),
        chunk(r#"{"index":0,"delta":{},"finish_reason":"stop"}"#),
        "data: [DONE]\n\n".to_owned(),
    ];
    let streamed = typed("text/event-stream", frames.concat().as_bytes());
    for (stream, answer) in [(false, json("200 OK", whole)), (true, json("200 OK", whole)), (true, streamed)] {
        for (path, wants) in [("/v1/messages", true), ("/v1/responses", false)] {
            let replay = Replay::start(answer.clone()).await;
            let stage = Stage::new(replay.address).await;
            let said = json!([{ "role": "user", "content": "hi" }]);
            let body = if wants {
                json!({ "model": "chatty-1", "stream": stream, "max_tokens": 99, "messages": said })
            } else {
                json!({ "model": "chatty-1", "stream": stream, "max_output_tokens": 99, "input": "hi" })
            };
            let told = stage.post(path, &body).send().await.unwrap().text().await.unwrap();
            let (_, written) = stage.end().await;
            let settled = written.one();
            assert_eq!(settled.usage.completeness, Completeness::Estimated(Doubt::NotReported), "{told}");
            let used = settled.usage.total().unwrap();
            assert!(used.output > 1 && used.uncached_input > 0, "{used:?}");
            let input = format!("\"input_tokens\":{},\"cache_creation_input_tokens\":0", used.uncached_input);
            let output = format!("\"output_tokens\":{}}}", used.output);
            assert_eq!((told.contains(&input), told.contains(&output)), (wants, wants), "{path}: {told}");
            assert_eq!(told.contains(r#""usage":null"#), !wants, "{path}: {told}");
        }
    }
}

/// A provider whose usage comes unasked, in a frame of its own behind why the answer ends.
#[tokio::test]
async fn usage_that_comes_unasked_behind_the_end_reaches_a_client_of_another_dialect() {
    let chunk = |choices: &str, usage: &str| {
        format!("data: {{\"id\":\"c\",\"model\":\"chatty-1\",\"choices\":[{choices}]{usage}}}\n\n")
    };
    let stream = [
        chunk(r#"{"index":0,"delta":{"content":"hi"},"finish_reason":null}"#, ""),
        chunk(r#"{"index":0,"delta":{},"finish_reason":"stop"}"#, ""),
        chunk("", r#","usage":{"prompt_tokens":12,"completion_tokens":7,"total_tokens":19}"#),
        "data: [DONE]\n\n".to_owned(),
    ];
    let responses = json!({ "model": "chatty-1", "stream": true, "input": "hi", "store": false });
    let messages = json!({ "model": "chatty-1", "stream": true, "max_tokens": 99, "messages": [{ "role": "user", "content": "hi" }] });
    for (path, body) in [("/v1/responses", responses), ("/v1/messages", messages)] {
        let replay = Replay::start(typed("text/event-stream", stream.concat().as_bytes())).await;
        let setting = Setting { usage_in_stream: UsageInStream::Always, ..Setting::default() };
        let stage = Stage::with(replay.address, setting).await;
        let told = stage.post(path, &body).send().await.unwrap().text().await.unwrap();
        for wanted in [r#""input_tokens":12"#, r#""output_tokens":7"#] {
            assert!(told.contains(wanted), "{path}: {wanted} is not in {told}");
        }
        assert!(!String::from_utf8(replay.asked().remove(0).body).unwrap().contains("stream_options"), "{path}");
        let (_, written) = stage.end().await;
        assert_eq!(written.one().usage.total(), Some(used(12, 7)), "{path}");
    }
}

/// A provider that only speaks like OpenAI: it is sent what all of them take.
#[tokio::test]
async fn responses_reach_who_has_chats_only() {
    let answer = r#"{"id":"c","object":"chat.completion","model":"chatty-1","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":6,"completion_tokens":1,"total_tokens":7}}"#;
    let input = json!([{ "role": "developer", "content": "Be brief." }, { "role": "user", "content": "hi" }]);
    check(Case {
        path: "/v1/responses",
        body: json!({ "model": "chatty-1", "input": input, "max_output_tokens": 99, "user": "u" }),
        asked: &[
            "post /v1/chat/completions http/1.1",
            r#""messages":[{"role":"system","content":"be brief."},{"role":"user","content":"hi"}]"#,
        ],
        api: Api::OpenAiChat,
        answer: json("200 OK", answer),
        told: &[r#""object":"response""#, r#""type":"output_text","text":"hi""#, r#""input_tokens":6"#],
        not_carried: Some("user"),
        used: used(6, 1),
    })
    .await;
    let replay = Replay::start(json("200 OK", answer)).await;
    let stage = Stage::new(replay.address).await;
    let counted = stage.post("/v1/responses/input_tokens", &json!({ "model": "chatty-1", "input": "hi" }));
    let refused = counted.send().await.unwrap();
    assert_eq!(refused.status(), 404);
    assert!(refused.text().await.unwrap().contains("provider `chats` has no responses"));
    assert!(replay.asked().is_empty());
    stage.end().await;
}

#[tokio::test]
async fn what_cannot_be_carried_is_refused_before_anything_is_sent() {
    let replay = Replay::start(json("200 OK", MESSAGE)).await;
    let stage = Stage::new(replay.address).await;
    let sound = json!({ "type": "input_audio", "input_audio": { "data": "aGk=", "format": "wav" } });
    let body = json!({ "model": "claude-x", "messages": [{ "role": "user", "content": [sound] }] });
    let answer = stage.post("/v1/chat/completions", &body).send().await.unwrap();
    assert_eq!(
        (answer.status(), answer.headers()["x-should-retry"].to_str().unwrap()),
        (400.try_into().unwrap(), "false")
    );
    let told: Value = answer.json().await.unwrap();
    assert_eq!(told["error"]["code"], "TG3025");
    assert!(told["error"]["message"].as_str().unwrap().contains("messages[0].content[0]"), "{told}");
    assert!(replay.asked().is_empty());
    let (_, written) = stage.end().await;
    assert!(written.settled().is_empty());
}

#[tokio::test]
async fn a_call_goes_on_at_a_provider_of_another_dialect() {
    let replay = Replay::in_turn(vec![json("500 Internal Server Error", "{}"), json("200 OK", MESSAGE)]).await;
    let target = |provider: &str, model: &str| Target::new(provider.into(), Some(model.into()));
    let model = ModelRoute {
        name: "either".into(),
        targets: vec![target("openai", "gpt-5-mini"), target("anthropic", "claude-x")],
        strategy: Strategy::Priority,
        retry: Retry { attempts: 2, ..Retry::default() },
        ..ModelRoute::default()
    };
    let stage = Stage::with(replay.address, Setting { models: vec![model], ..Setting::default() }).await;
    let body = json!({ "model": "either", "messages": [{ "role": "user", "content": "hi" }] });
    let answer = stage.post("/v1/chat/completions", &body).send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["x-tollgate-served-by"]),
        (200, &"anthropic/claude-x".parse().unwrap())
    );
    let told: Value = answer.json().await.unwrap();
    assert_eq!(told["choices"][0]["message"]["tool_calls"][0]["id"], "toolu_1");
    let asked = replay.asked();
    assert!(asked[0].head.starts_with("post /v1/chat/completions") && asked[1].head.starts_with("post /v1/messages"));
    let (_, written) = stage.end().await;
    let apis: Vec<Api> = written.settled().iter().map(|settled| settled.attempt.api).collect();
    assert_eq!(apis, [Api::OpenAiChat, Api::AnthropicMessages]);
    assert!(written.settled().iter().all(|settled| settled.attempt.model_requested == "either"));
}

#[tokio::test]
async fn errors_and_cut_streams_are_told_in_the_clients_dialect() {
    let error = r#"{"type":"error","error":{"type":"invalid_request_error","message":"max_tokens: too many"}}"#;
    let replay = Replay::start(json("400 Bad Request", error)).await;
    let stage = Stage::new(replay.address).await;
    let body = json!({ "model": "claude-x", "messages": [{ "role": "user", "content": "hi" }] });
    let answer = stage.post("/v1/chat/completions", &body).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    let told: Value = answer.json().await.unwrap();
    assert_eq!(told["error"]["message"], "max_tokens: too many");
    assert_eq!(told["error"]["param"], Value::Null);
    drop(stage);

    let cut = "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"ha\"},\"finish_reason\":null}]}\n\n";
    let replay = Replay::start(typed("text/event-stream", cut.as_bytes())).await;
    let stage = Stage::new(replay.address).await;
    let body = json!({ "model": "gpt-5-mini", "max_tokens": 9, "stream": true, "messages": [{ "role": "user", "content": "hi" }] });
    let told = stage.post("/v1/messages", &body).send().await.unwrap().text().await.unwrap();
    assert!(told.contains("\"text\":\"ha\"") && told.contains("event: error\n"), "{told}");
    let (_, written) = stage.end().await;
    assert_eq!(written.one().attempt.api, Api::OpenAiChat);
}

/// What a provider says that only speaks like OpenAI.
#[tokio::test]
async fn a_refusal_says_why_wherever_it_stands() {
    let detail = r#"[{"type":"extra_forbidden","loc":["body","top_k"],"msg":"Extra inputs are not permitted"}]"#;
    for (said, wanted) in [
        (r#"{"error":{"message":"no such model","type":"invalid_request_error"}}"#.to_owned(), "no such model"),
        (
            r#"{"object":"error","message":"no such model","type":"NotFoundError","code":404}"#.to_owned(),
            "no such model",
        ),
        (r#"{"detail":"Not Found"}"#.to_owned(), "Not Found"),
        (format!(r#"{{"detail":{detail}}}"#), detail),
        ("<html>".to_owned(), "the provider answered with status 422"),
    ] {
        let replay = Replay::start(json("422 Unprocessable Entity", &said)).await;
        let stage = Stage::new(replay.address).await;
        let body = json!({ "model": "chatty-1", "max_tokens": 9, "messages": [{ "role": "user", "content": "hi" }] });
        let told: Value = stage.post("/v1/messages", &body).send().await.unwrap().json().await.unwrap();
        assert_eq!(told["error"]["message"], wanted);
        stage.end().await;
    }
}

/// The client is told so, the provider's usage is read all the same, and nobody left.
#[tokio::test]
async fn a_stream_that_cannot_be_translated_is_read_to_its_end() {
    let frames = [
        "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"ha\"},\"finish_reason\":null}]}\n\n",
        "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":5},\"finish_reason\":null}]}\n\n",
        "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":6,\"completion_tokens\":2,\"total_tokens\":8}}\n\n",
        "data: [DONE]\n\n",
    ];
    let mut steps = typed("text/event-stream", frames[..2].concat().as_bytes());
    steps.extend([Step::Wait, Step::Say(frames[2..].concat().into_bytes())]);
    let replay = Replay::start(steps).await;
    let stage = Stage::new(replay.address).await;
    let body = json!({ "model": "gpt-5-mini", "max_tokens": 9, "stream": true, "messages": [{ "role": "user", "content": "hi" }] });
    let mut answer = stage.post("/v1/messages", &body).send().await.unwrap();
    let mut told = String::new();
    while !told.contains("event: error\n") {
        told.push_str(&String::from_utf8_lossy(&answer.chunk().await.unwrap().unwrap()));
    }
    replay.go_on();
    assert_eq!(answer.chunk().await.unwrap(), None);
    assert!(told.contains("cannot be translated"), "{told}");
    let (_, written) = stage.end().await;
    let settled = written.one();
    assert_eq!((settled.outcome, settled.usage.total()), (Outcome::Complete, Some(used(6, 2))));
}

#[tokio::test]
async fn reasoning_of_another_provider_is_left_behind_where_the_body_goes_on_as_it_came() {
    let foreign = json!({ "type": "thinking", "thinking": "hm", "signature": "chat:thinking:" });
    let call = json!({ "type": "tool_use", "id": "t", "name": "f", "input": {} });
    let body = json!({ "model": "claude-x", "max_tokens": 9, "messages": [
        { "role": "user", "content": "hi" }, { "role": "assistant", "content": [foreign, call] },
        { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "t", "content": "21" }] },
    ] });
    let replay = Replay::start(json("200 OK", MESSAGE)).await;
    let stage = Stage::new(replay.address).await;
    let answer = stage.post("/v1/messages", &body).send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["x-tollgate-not-carried"]),
        (200, &"messages[1].content[0] (reasoning)".parse().unwrap())
    );
    assert_eq!(answer.text().await.unwrap(), MESSAGE);
    let mut without = body;
    without["messages"][1]["content"].as_array_mut().unwrap().remove(0);
    assert_eq!(replay.asked().remove(0).body, without.to_string().into_bytes());
    stage.end().await;
}

#[tokio::test]
async fn what_headers_ask_of_the_clients_own_dialect_stays_here_and_is_listed() {
    let replay = Replay::start(json("200 OK", CONVERSE)).await;
    let stage = Stage::new(replay.address).await;
    let body = json!({ "model": "us.anthropic.claude-v1:0", "max_tokens": 9, "messages": [{ "role": "user", "content": "hi" }] });
    let call = stage.post("/v1/messages", &body).header("anthropic-beta", "context-1m-2025-08-07");
    let answer = call.header("x-amzn-bedrock-service-tier", "priority").send().await.unwrap();
    let listed = answer.headers()["x-tollgate-not-carried"].to_str().unwrap();
    assert!(
        ["anthropic-beta (header)", "x-amzn-bedrock-service-tier (header)"].iter().all(|name| listed.contains(name)),
        "{listed}"
    );
    let head = replay.asked().remove(0).head;
    assert!(!head.contains("anthropic-beta") && !head.contains("service-tier"), "{head}");
    stage.end().await;
}
