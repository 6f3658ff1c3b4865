//! Every dialect as its clients speak it: where a call goes and with which credential, what passes, and what is settled.

use base64::Engine as _;
use schemas::{
    config::{ModelRoute, Retry, Target},
    event::{Api, Event, Learned, Outcome},
    tokens::{Completeness, Doubt, Usage, Vector},
};
use serde_json::{Value, json};

use crate::{
    provider::{Replay, Step, json, say, stream},
    stage::{KEY, OTHER, SECRET, Setting, Stage, Written},
};

const SIGNED: &str = "authorization: aws4-hmac-sha256 credential=akidexample/";

/// A call, what the provider must have been asked, and what it answers with.
struct Case {
    path: &'static str,
    body: Value,
    /// What the head and the body of the provider's request have to contain, in lower case.
    asked: &'static [&'static str],
    api: Api,
    answer: Vec<Step>,
    used: Vector,
}

pub(crate) fn used(input: u64, output: u64) -> Vector {
    Vector { uncached_input: input, output, ..Vector::default() }
}

/// An answer of a type, of which the connection closes behind it.
pub(crate) fn typed(kind: &str, body: &[u8]) -> Vec<Step> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n");
    vec![say(&head), Step::Say(body.to_vec())]
}

/// A message of an event stream, as Bedrock sends it.
pub(crate) fn message(kind: &str, payload: &Value) -> Vec<u8> {
    let headers: Vec<u8> = [(":message-type", "event"), (":event-type", kind)]
        .iter()
        .flat_map(|(name, value)| {
            let size = u16::try_from(value.len()).unwrap().to_be_bytes();
            [&[u8::try_from(name.len()).unwrap()], name.as_bytes(), &[7], &size, value.as_bytes()].concat()
        })
        .collect();
    let payload = payload.to_string().into_bytes();
    let number = |size: usize| u32::try_from(size).unwrap().to_be_bytes();
    let mut bytes = [number(16 + headers.len() + payload.len()), number(headers.len())].concat();
    bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
    bytes.extend([headers, payload].concat());
    bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
    bytes
}

async fn check(case: Case) {
    let replay = Replay::start(case.answer.clone()).await;
    let stage = Stage::new(replay.address).await;
    let answer = stage.post(case.path, &case.body).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{}", case.path);
    let bytes = answer.bytes().await.unwrap();
    let sent = case.answer.iter().map(|step| if let Step::Say(bytes) = step { bytes.clone() } else { Vec::new() });
    let sent = sent.collect::<Vec<_>>().concat();
    assert!(sent.ends_with(&bytes) && !bytes.is_empty(), "{}: every byte passes", case.path);
    let asked = replay.asked().remove(0);
    let text = format!("{}{}", asked.head, String::from_utf8_lossy(&asked.body).to_lowercase());
    for wanted in case.asked {
        assert!(text.contains(wanted), "{}: {wanted} is not in {text}", case.path);
    }
    assert!(!text.contains(KEY), "{}", case.path);
    let (_, written) = stage.end().await;
    let settled = written.one();
    assert_eq!((settled.attempt.api, settled.outcome), (case.api, Outcome::Complete), "{}", case.path);
    assert_eq!(settled.usage.total(), Some(case.used), "{}", case.path);
    assert_eq!(settled.usage.completeness, Completeness::Exact, "{}", case.path);
}

pub(crate) const GEMINI: &str = r#"{"candidates":[{"content":{"parts":[{"text":"hi"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":7,"candidatesTokenCount":2,"thoughtsTokenCount":3,"totalTokenCount":12},"modelVersion":"gemini-2.5-flash","responseId":"g1"}"#;
pub(crate) const CONVERSE: &str = r#"{"output":{"message":{"role":"assistant","content":[{"text":"hi"}]}},"stopReason":"end_turn","usage":{"inputTokens":4,"outputTokens":2,"totalTokens":6}}"#;
const COUNTED: &str =
    r#"{"id":"c","model":"gpt","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}"#;
const RESPONSE: &str = r#"{"id":"resp_1","object":"response","created_at":1795880000,"status":"completed","background":false,"model":"gpt-5-mini-2025-08-07","output":[],"usage":{"input_tokens":9,"input_tokens_details":{"cached_tokens":4},"output_tokens":5,"total_tokens":14}}"#;
pub(crate) const COHERE: &str = r#"{"id":"c1","finish_reason":"COMPLETE","message":{"content":[{"type":"text","text":"hi"}]},"usage":{"billed_units":{"input_tokens":3,"output_tokens":1},"tokens":{"input_tokens":60,"output_tokens":2}}}"#;

#[tokio::test]
async fn gemini_is_asked_by_path_and_read_by_its_last_chunk() {
    let contents = json!({ "contents": [{ "role": "user", "parts": [{ "text": "hi" }] }] });
    check(Case {
        path: "/v1beta/models/gemini-2.5-flash:generateContent",
        body: contents.clone(),
        asked: &["post /v1beta/models/gemini-2.5-flash:generatecontent http/1.1", "x-goog-api-key: sk-provider-secret"],
        api: Api::GeminiGenerateContent,
        answer: json("200 OK", GEMINI),
        used: Vector { reasoning: 3, ..used(7, 5) },
    })
    .await;
    let first = r#"data: {"candidates":[{"content":{"parts":[{"text":"h"}]}}],"usageMetadata":{"promptTokenCount":7,"candidatesTokenCount":9}}"#;
    let stream = format!("{first}\r\n\r\ndata: {GEMINI}\r\n\r\n");
    check(Case {
        path: "/gemini/v1beta/models/fast:streamGenerateContent?alt=sse",
        body: contents,
        asked: &["post /v1beta/models/gemini-2.5-flash:streamgeneratecontent?alt=sse http/1.1"],
        api: Api::GeminiGenerateContent,
        answer: typed("text/event-stream", stream.as_bytes()),
        used: Vector { reasoning: 3, ..used(7, 5) },
    })
    .await;
}

#[tokio::test]
async fn bedrock_is_signed_and_its_binary_stream_is_read() {
    let body = json!({ "messages": [{ "role": "user", "content": [{ "text": "hi" }] }] });
    check(Case {
        path: "/model/us.anthropic.claude-v1%3A0/converse",
        body: body.clone(),
        asked: &[
            "post /model/us.anthropic.claude-v1%3a0/converse http/1.1",
            SIGNED,
            "/us-east-1/bedrock/aws4_request",
            "x-amz-date: ",
        ],
        api: Api::BedrockConverse,
        answer: json("200 OK", CONVERSE),
        used: used(4, 2),
    })
    .await;
    let stream = [
        message("contentBlockDelta", &json!({ "contentBlockIndex": 0, "delta": { "text": "hi" } })),
        message("messageStop", &json!({ "stopReason": "end_turn" })),
        message(
            "metadata",
            &json!({ "usage": { "inputTokens": 4, "outputTokens": 2, "cacheReadInputTokens": 8, "cacheReadInputTokenCount": 8 } }),
        ),
    ];
    check(Case {
        path: "/bedrock/model/us.anthropic.claude-v1%3A0/converse-stream",
        body: body.clone(),
        asked: &["/converse-stream http/1.1", SIGNED],
        api: Api::BedrockConverseStream,
        answer: typed("application/vnd.amazon.eventstream", &stream.concat()),
        used: Vector { cache_read: 8, ..used(4, 2) },
    })
    .await;
    let metrics = json!({ "type": "message_stop", "amazon-bedrock-invocationMetrics": { "inputTokenCount": 4, "outputTokenCount": 2 } });
    let chunk = json!({ "bytes": base64::engine::general_purpose::STANDARD.encode(metrics.to_string()) });
    check(Case {
        path: "/model/us.anthropic.claude-v1%3A0/invoke-with-response-stream",
        body: json!({ "anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": [] }),
        asked: &["/invoke-with-response-stream http/1.1"],
        api: Api::BedrockInvokeStream,
        answer: typed("application/vnd.amazon.eventstream", &message("chunk", &chunk)),
        used: used(4, 2),
    })
    .await;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-amzn-bedrock-input-token-count: 4\r\n\
                x-amzn-bedrock-output-token-count: 2\r\nconnection: close\r\n\r\n";
    check(Case {
        path: "/model/us.anthropic.claude-v1%3A0/invoke",
        body: json!({ "prompt": "hi" }),
        asked: &["/invoke http/1.1"],
        api: Api::BedrockInvoke,
        answer: vec![say(head), say(r#"{"completion":"hi"}"#)],
        used: used(4, 2),
    })
    .await;
}

#[tokio::test]
async fn what_bedrock_is_asked_in_headers_is_settled_as_it_was_served() {
    const CLAUDE: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
    let body = json!({ "anthropic_version": "v", "max_tokens": 9, "messages": [{ "role": "user", "content": "hi" }] });
    let path = format!("/model/{CLAUDE}/invoke");
    let asked = [("x-amzn-bedrock-service-tier", "priority"), ("x-amzn-bedrock-guardrailidentifier", "g")];
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-amzn-bedrock-input-token-count: 4\r\n\
                x-amzn-bedrock-output-token-count: 2\r\nx-amzn-bedrock-service-tier: priority\r\nconnection: close\r\n\r\n";
    let replay =
        Replay::start(vec![say(head), say(r#"{"type":"message","content":[],"usage":{"service_tier":"standard"}}"#)])
            .await;
    let stage = Stage::new(replay.address).await;
    let call = asked.iter().fold(stage.post(&path, &body), |call, (name, value)| call.header(*name, *value));
    assert_eq!(call.send().await.unwrap().status(), 200);
    let (_, written) = stage.end().await;
    let settled = written.one();
    assert_eq!(settled.service_tier, "priority");
    assert_eq!(settled.usage.total(), Some(Vector { guardrails: 1, ..used(4, 2) }));
}

#[tokio::test]
async fn cohere_is_asked_by_its_own_paths_and_rankings_are_counted_in_searches() {
    check(Case {
        path: "/v2/chat",
        body: json!({ "model": "command-r", "messages": [] }),
        asked: &["post /v2/chat http/1.1", "authorization: bearer sk-provider-secret"],
        api: Api::CohereChat,
        answer: json("200 OK", COHERE),
        used: used(3, 1),
    })
    .await;
    check(Case {
        path: "/v1/rerank",
        body: json!({ "model": "rerank-v3.5", "query": "a", "documents": ["b"] }),
        asked: &["post /v1/rerank http/1.1"],
        api: Api::CohereRerank,
        answer: json("200 OK", r#"{"results":[],"meta":{"billed_units":{"search_units":2}}}"#),
        used: Vector { search_units: 2, ..used(0, 0) },
    })
    .await;
    check(Case {
        path: "/v2/rerank",
        body: json!({ "model": "rerank-v3.5", "query": "a", "documents": ["b"] }),
        asked: &["post /v2/rerank http/1.1"],
        api: Api::CohereRerank,
        answer: json("200 OK", r#"{"results":[],"meta":{"billed_units":{"search_units":1}}}"#),
        used: Vector { search_units: 1, ..used(0, 0) },
    })
    .await;
}

#[tokio::test]
async fn what_azures_clients_name_is_asked_at_azure_or_where_that_model_is() {
    let answered = COUNTED.replace(r#""choices":[]"#, r#""choices":[{"index":0}]"#);
    check(Case {
        path: "/openai/deployments/deployed/chat/completions",
        body: json!({ "messages": [] }),
        asked: &[
            "post /openai/deployments/my-gpt/chat/completions?api-version=2026-01-01 http/1.1",
            "api-key: sk-provider-secret",
        ],
        api: Api::OpenAiChat,
        answer: json("200 OK", &answered),
        used: used(9, 2),
    })
    .await;
    check(Case {
        path: "/openai/v1/chat/completions?api-version=preview",
        body: json!({ "model": "deployed", "messages": [] }),
        asked: &["post /openai/v1/chat/completions?api-version=preview http/1.1", "\"model\":\"my-gpt\""],
        api: Api::OpenAiChat,
        answer: json("200 OK", &answered),
        used: used(9, 2),
    })
    .await;
    check(Case {
        path: "/openai/deployments/gpt-4o-mini/chat/completions?api-version=1",
        body: json!({ "messages": [] }),
        asked: &["post /v1/chat/completions?api-version=1 http/1.1", "{\"model\":\"gpt-4o-mini\",\"messages\":[]}"],
        api: Api::OpenAiChat,
        answer: json("200 OK", &answered),
        used: used(9, 2),
    })
    .await;
}

#[tokio::test]
async fn openais_other_apis_are_served() {
    check(Case {
        path: "/v1/responses",
        body: json!({ "model": "gpt-5-mini", "input": "hi" }),
        asked: &["post /v1/responses http/1.1"],
        api: Api::OpenAiResponses,
        answer: json("200 OK", RESPONSE),
        used: Vector { cache_read: 4, ..used(5, 5) },
    })
    .await;
    let text = "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"text\":\"hi\",\"finish_reason\":\"stop\"}]}\n\n";
    check(Case {
        path: "/v1/completions",
        body: json!({ "model": "gpt-3.5-turbo-instruct", "prompt": "hi", "stream": true, "stream_options": { "include_usage": true } }),
        asked: &["post /v1/completions http/1.1"],
        api: Api::OpenAiCompletions,
        answer: typed("text/event-stream", format!("{text}data: {COUNTED}\n\ndata: [DONE]\n\n").as_bytes()),
        used: used(9, 2),
    })
    .await;
    check(Case {
        path: "/v1/moderations",
        body: json!({ "model": "gpt-mod", "input": "hi" }),
        asked: &["post /v1/moderations http/1.1"],
        api: Api::OpenAiModerations,
        answer: json("200 OK", r#"{"id":"m","model":"omni-moderation","results":[]}"#),
        used: used(0, 0),
    })
    .await;
}

#[tokio::test]
async fn a_form_goes_to_the_model_that_it_names() {
    let heard = r#"{"text":"hi","usage":{"type":"tokens","input_tokens":14,"input_token_details":{"text_tokens":4,"audio_tokens":10},"output_tokens":5,"total_tokens":19}}"#;
    let replay = Replay::start(json("200 OK", heard)).await;
    let stage = Stage::new(replay.address).await;
    let body = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nheard\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF\r\n--b--\r\n";
    let call = stage.http.post(stage.url("/v1/audio/transcriptions")).bearer_auth(KEY);
    let call = call.header("content-type", "multipart/form-data; boundary=b").body(body);
    assert_eq!(call.send().await.unwrap().text().await.unwrap(), heard);
    let asked = replay.asked().remove(0);
    assert_eq!(String::from_utf8(asked.body).unwrap(), body.replace("heard", "whisper-1"));
    assert!(asked.head.contains("content-type: multipart/form-data; boundary=b"));
    let (_, written) = stage.end().await;
    assert_eq!(written.one().usage.total(), Some(Vector { audio_input: 10, ..used(4, 5) }));
}

/// Azure's clients send no field with the model, which stands in the path.
#[tokio::test]
async fn a_form_goes_to_the_model_that_its_path_names() {
    let heard = r#"{"text":"hi","usage":{"type":"tokens","input_tokens":14,"output_tokens":5,"total_tokens":19}}"#;
    let file = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF\r\n--b--\r\n";
    let named = format!("--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n{file}");
    for (model, path, body) in [
        ("deployed", "/openai/deployments/my-gpt/audio/transcriptions?api-version=2026-01-01", file),
        ("heard", "/v1/audio/transcriptions", named.as_str()),
    ] {
        let replay = Replay::start(json("200 OK", heard)).await;
        let stage = Stage::new(replay.address).await;
        let call = stage.http.post(stage.url(&format!("/openai/deployments/{model}/audio/transcriptions")));
        let call = call.bearer_auth(KEY).header("content-type", "multipart/form-data; boundary=b").body(file);
        assert_eq!(call.send().await.unwrap().text().await.unwrap(), heard, "{model}");
        let asked = replay.asked().remove(0);
        assert!(asked.head.starts_with(&format!("post {path} http/1.1")), "{}", asked.head);
        assert_eq!(String::from_utf8(asked.body).unwrap(), body);
        assert_eq!(stage.end().await.1.one().outcome, Outcome::Complete);
    }
}

#[tokio::test]
async fn a_form_goes_on_to_the_next_target_as_any_call() {
    let heard = r#"{"text":"hi","usage":{"type":"tokens","input_tokens":14,"output_tokens":5,"total_tokens":19}}"#;
    let one =
        Replay::start(json("500 Internal Server Error", r#"{"error":{"message":"no","type":"server_error"}}"#)).await;
    let two = Replay::start(json("200 OK", heard)).await;
    let target = |provider: &str, model: &str| Target::new(provider.into(), Some(model.into()));
    let retry = Retry { attempts: 2, backoff: std::time::Duration::from_millis(20), ..Retry::default() };
    let targets = vec![target("one", "whisper-1"), target("two", "gpt-4o-transcribe")];
    let models = vec![ModelRoute { name: "heard-by-two".into(), targets, retry, ..ModelRoute::default() }];
    let others = vec![("one", one.address), ("two", two.address)];
    let stage = Stage::with(one.address, Setting { models, others, ..Setting::default() }).await;
    let body = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nheard-by-two\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF\r\n--b--\r\n";
    let call = stage.http.post(stage.url("/v1/audio/transcriptions")).bearer_auth(KEY);
    let call = call.header("content-type", "multipart/form-data; boundary=b").body(body);
    assert_eq!(call.send().await.unwrap().text().await.unwrap(), heard);
    let asked = two.asked().remove(0);
    assert_eq!(String::from_utf8(asked.body).unwrap(), body.replace("heard-by-two", "gpt-4o-transcribe"));
    let _ = stage.end().await;
}

#[tokio::test]
async fn sound_passes_and_what_it_used_is_said_to_be_missing() {
    let replay = Replay::start(typed("audio/mpeg", &[0, 159, 146, 150, 255])).await;
    let stage = Stage::new(replay.address).await;
    let answer = stage
        .post("/v1/audio/speech", &json!({ "model": "tts-1", "input": "hi", "voice": "alloy" }))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.bytes().await.unwrap(), &[0, 159, 146, 150, 255][..]);
    let (_, written) = stage.end().await;
    // Its provider has done what it was asked for.
    assert_eq!(written.one().outcome, Outcome::Complete);
    assert_eq!(written.one().usage.completeness, Completeness::Missing(Doubt::NotReported));
}

/// What was told, and what is awaited to be.
fn learned(written: &Written) -> (Vec<&Learned>, Vec<&Learned>) {
    let all = written
        .events
        .iter()
        .filter_map(|event| if let Event::Learned(learned) = event { Some(&**learned) } else { None });
    all.partition(|learned| !learned.awaits)
}

#[tokio::test]
async fn a_background_response_is_counted_by_its_id_however_often_it_is_asked_for() {
    let begun = time_ago(60);
    let unfinished = RESPONSE.replace("completed", "queued").replace("\"background\":false", "\"background\":true");
    let unfinished = unfinished.replace("1795880000", &begun.to_string());
    let queued = unfinished.split_once("\"usage\":").map(|(head, _)| format!("{head}\"usage\":null}}")).unwrap();
    // Some state fractions of a second.
    let finished = unfinished.replace("queued", "completed").replace(&begun.to_string(), &format!("{begun}.5"));
    let mut claims = Vec::new();
    for (asks, answer, told) in [(0, queued, 0), (3, finished, 3)] {
        let replay = Replay::start(json("200 OK", &answer)).await;
        let stage = Stage::new(replay.address).await;
        if asks == 0 {
            let body = json!({ "model": "gpt-5-mini", "input": "hi", "background": true });
            assert_eq!(stage.post("/v1/responses", &body).send().await.unwrap().text().await.unwrap(), answer);
        }
        for _ in 0..asks {
            let asked = stage.http.get(stage.url("/v1/responses/resp_1")).bearer_auth(KEY).send().await.unwrap();
            assert_eq!(asked.text().await.unwrap(), answer);
        }
        let (_, written) = stage.end().await;
        for settled in written.settled() {
            // It is not counted with an answer. Who had it made does not know what it uses, who reads it uses nothing.
            let wanted = if asks == 0 { Usage::missing(Doubt::NotReported) } else { Usage::none() };
            assert_eq!(settled.usage, wanted);
        }
        let (learned, awaited) = learned(&written);
        assert_eq!((learned.len(), awaited.len()), (told, usize::from(asks == 0)));
        if let Some(awaits) = awaited.first() {
            let place = |wanted: &dyn Fn(&Event) -> bool| written.events.iter().position(wanted).unwrap();
            let end = place(&|event| matches!(event, Event::Settled(_)));
            assert!(end < place(&|event| matches!(event, Event::Learned(_))), "it is of an attempt that has ended");
            assert_eq!((&*awaits.id, awaits.is.response_id.as_str()), ("resp_1", "resp_1"));
        }
        claims.extend(
            learned.iter().map(|learned| (learned.claims().next().unwrap(), learned.content, learned.is.attempt.call)),
        );
        for learned in learned {
            assert_eq!(learned.is.usage.total(), Some(Vector { cache_read: 4, ..used(5, 5) }));
            assert_eq!(
                (learned.is.attempt.api, learned.is.attempt.admitted_at.as_micros()),
                (Api::OpenAiResponses, begun * 1_000_000)
            );
        }
        if told > 0 {
            assert!(replay.asked()[0].head.starts_with("get /v1/responses/resp_1 http/1.1"));
        }
    }
    assert!(claims.windows(2).all(|pair| pair[0] == pair[1]), "the same is told each time");
}

#[tokio::test]
async fn a_background_response_whose_own_stream_tells_what_it_used_is_told_and_awaited_under_one_id() {
    let begun = time_ago(60).to_string();
    let response = RESPONSE.replace("\"background\":false", "\"background\":true").replace("1795880000", &begun);
    let frame =
        format!("event: response.completed\ndata: {{\"type\":\"response.completed\",\"response\":{response}}}\n\n");
    let replay = Replay::start(stream(vec![say(&frame)])).await;
    let stage = Stage::new(replay.address).await;
    let body = json!({ "model": "gpt-5-mini", "input": "hi", "background": true, "stream": true });
    assert_eq!(stage.post("/v1/responses", &body).send().await.unwrap().text().await.unwrap(), frame);
    // Who reads it later at the same service tells the same.
    let asked = stage.http.get(stage.url("/v1/responses/resp_1")).bearer_auth(OTHER).send().await.unwrap();
    assert_eq!(asked.text().await.unwrap(), frame);
    let (_, written) = stage.end().await;
    let (told, awaited) = learned(&written);
    assert_eq!((told.len(), awaited.len()), (2, 1));
    let tenants: Vec<&str> = told.iter().map(|told| told.is.attempt.subject.tenant.as_str()).collect();
    assert_eq!(tenants, ["acme", "globex"]);
    assert_eq!(
        told.iter().map(|told| told.is.apart).collect::<Vec<_>>(),
        [true, false],
        "who had it made was its request"
    );
    let first = told[0].content;
    for told in &told {
        assert_eq!((told.claim_of_id(), told.content), (awaited[0].claim_of_id(), first));
        assert_eq!(told.lane(2), awaited[0].lane_of_id(2));
    }
    assert_eq!(told[0].is.attempt.model, "gpt-5-mini", "limits know it by the name that was asked for");
}

#[tokio::test]
async fn a_background_response_is_told_whatever_it_says_of_its_time_and_never_as_of_later() {
    let begun = time_ago(60);
    let check = async |created: &str, known: bool| {
        let answer = RESPONSE.replace("\"background\":false", "\"background\":true").replace("1795880000", created);
        let replay = Replay::start(json("200 OK", &answer)).await;
        let stage = Stage::new(replay.address).await;
        let before = schemas::time::now();
        let body = json!({ "model": "gpt-5-mini", "input": "hi", "background": true });
        assert_eq!(stage.post("/v1/responses", &body).send().await.unwrap().text().await.unwrap(), answer);
        let asked = stage.http.get(stage.url("/v1/responses/resp_1")).bearer_auth(OTHER).send().await.unwrap();
        assert_eq!(asked.text().await.unwrap(), answer);
        let (_, written) = stage.end().await;
        for settled in written.settled() {
            let wanted = if settled.attempt.api.is_free() { Usage::none() } else { Usage::missing(Doubt::NotReported) };
            assert_eq!(settled.usage, wanted, "{created}");
        }
        let (told, awaited) = learned(&written);
        assert_eq!((told.len(), awaited.len()), (2, 1), "{created}");
        for told in told.into_iter().chain(awaited) {
            let at = told.at;
            let fits =
                if known { at.as_micros() == begun * 1_000_000 } else { (before..=schemas::time::now()).contains(&at) };
            assert!(fits && told.is.attempt.admitted_at <= schemas::time::now(), "{created}: {at}");
        }
    };
    for created in ["null", "0", "-5", "\"2026-11-30T05:00:00Z\"", "[]", "9795880000", "1795880000000", "1e300"] {
        check(created, false).await;
    }
    for created in [format!("{begun}"), format!("\"{begun}\""), format!("{begun}.75"), format!("{begun}e0")] {
        check(&created, true).await;
    }
}

fn time_ago(seconds: i64) -> i64 {
    schemas::time::now().as_micros() / 1_000_000 - seconds
}

#[tokio::test]
async fn what_is_not_known_passes_where_it_is_open_and_says_what_it_can() {
    let answer = r#"{"object":"thing","usage":{"input_tokens":3,"output_tokens":4}}"#;
    let replay = Replay::start(json("200 OK", answer)).await;
    let stage = Stage::new(replay.address).await;
    let call = stage.http.put(stage.url("/passthrough/openai/things/1?a=b")).bearer_auth(KEY).json(&json!({ "x": 1 }));
    assert_eq!(call.send().await.unwrap().text().await.unwrap(), answer);
    let asked = replay.asked().remove(0);
    assert!(asked.head.starts_with("put /v1/things/1?a=b http/1.1") && asked.head.contains(SECRET));
    let call = stage.http.get(stage.url("/passthrough/gemini/v1beta/files")).bearer_auth(KEY);
    let refused = call.send().await.unwrap();
    assert_eq!(refused.status(), 404);
    assert_eq!(refused.json::<Value>().await.unwrap()["error"]["code"], "TG3021");
    let (_, written) = stage.end().await;
    let settled = written.one();
    assert_eq!((settled.attempt.api, settled.usage.total()), (Api::Passthrough, Some(used(3, 4))));
}

#[tokio::test]
async fn what_is_read_through_an_api_that_is_not_known_uses_nothing_however_often() {
    let batch = r#"{"id":"batch_1","object":"batch","model":"m","usage":{"input_tokens":9,"output_tokens":5,"total_tokens":14,"cost":1}}"#;
    let chat = r#"{"id":"c1","model":"m","choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":9,"completion_tokens":5,"cost":1}}"#;
    for (path, answer) in [("responses/resp_1", RESPONSE), ("batches/batch_1", batch), ("chat/completions/c1", chat)] {
        let replay = Replay::start(json("200 OK", answer)).await;
        let stage = Stage::new(replay.address).await;
        for _ in 0..2 {
            let call = stage.http.get(stage.url(&format!("/passthrough/openai/{path}"))).bearer_auth(KEY);
            assert_eq!(call.send().await.unwrap().text().await.unwrap(), answer);
        }
        let (_, written) = stage.end().await;
        assert_eq!(written.settled().len(), 2, "{path}");
        for settled in written.settled() {
            assert_eq!((settled.attempt.api, &settled.usage), (Api::PassthroughRetrieve, &Usage::none()), "{path}");
            assert!(settled.raw_usage.contains("14") || settled.raw_usage.contains("completion_tokens"), "{path}");
            assert_eq!(settled.provider_cost, None, "{path}");
        }
        assert!(learned(&written).0.is_empty(), "{path}");
    }
}

#[tokio::test]
async fn a_background_response_is_told_by_its_id_through_whatever_it_is_read() {
    let begun = time_ago(60).to_string();
    let answer = RESPONSE.replace("\"background\":false", "\"background\":true").replace("1795880000", &begun);
    let replay = Replay::start(json("200 OK", &answer)).await;
    let stage = Stage::new(replay.address).await;
    let made =
        stage.http.post(stage.url("/passthrough/openai/responses")).bearer_auth(KEY).json(&json!({ "input": "hi" }));
    assert_eq!(made.send().await.unwrap().text().await.unwrap(), answer);
    for path in ["/passthrough/openai/responses/resp_1", "/v1/responses/resp_1"] {
        let read = stage.http.get(stage.url(path)).bearer_auth(OTHER).send().await.unwrap();
        assert_eq!(read.text().await.unwrap(), answer);
    }
    let (_, written) = stage.end().await;
    for settled in written.settled() {
        let wanted = if settled.attempt.api.is_free() { Usage::none() } else { Usage::missing(Doubt::NotReported) };
        assert_eq!(settled.usage, wanted);
    }
    let (told, awaited) = learned(&written);
    assert_eq!((told.len(), awaited.len()), (3, 1));
    for told in told {
        assert_eq!((told.claim_of_id(), told.is.attempt.api), (awaited[0].claim_of_id(), Api::OpenAiResponses));
        assert_eq!(told.is.usage.total(), Some(Vector { cache_read: 4, ..used(5, 5) }));
    }
}

#[tokio::test]
async fn what_is_not_recognised_is_missing_and_not_nothing() {
    let replay = Replay::start(json("200 OK", r#"{"object":"thing"}"#)).await;
    let stage = Stage::new(replay.address).await;
    let call = stage.http.post(stage.url("/passthrough/openai/things")).bearer_auth(KEY).body("not json");
    assert_eq!(call.send().await.unwrap().status(), 200);
    let (_, written) = stage.end().await;
    assert_eq!(written.one().usage.completeness, Completeness::Missing(Doubt::NotReported));
}

#[tokio::test]
async fn errors_have_the_shape_of_the_clients_dialect() {
    let replay = Replay::start(json("200 OK", GEMINI)).await;
    let stage = Stage::new(replay.address).await;
    let refused = async |path: &str, body: Value| {
        let answer = stage.post(path, &body).send().await.unwrap();
        let (status, kind) = (answer.status().as_u16(), answer.headers().get("x-amzn-errortype").cloned());
        (status, kind, answer.json::<Value>().await.unwrap())
    };
    let (status, _, body) = refused("/v1beta/models/unknown:generateContent", json!({ "contents": [] })).await;
    assert_eq!((status, &body["error"]["code"], &body["error"]["status"]), (404, &json!(404), &json!("NOT_FOUND")));
    let (status, kind, body) = refused("/model/unknown/converse", json!({ "messages": [] })).await;
    assert_eq!((status, kind.unwrap().to_str().unwrap()), (404, "ResourceNotFoundException"));
    assert!(body["message"].is_string());
    let (status, _, body) = refused("/v2/chat", json!({ "model": "unknown", "messages": [] })).await;
    assert!(status == 404 && body["message"].is_string() && body["code"] == "TG3006");
    // What is no conversation is served in the dialect of its provider.
    let (status, _, body) = refused("/v1/completions", json!({ "model": "gemini-2.5-flash", "prompt": "hi" })).await;
    assert_eq!((status, &body["error"]["code"]), (404, &json!("TG3006")));
    assert!(replay.asked().is_empty());
    let _ = stage.end().await;
}
