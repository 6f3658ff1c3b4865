//! Answers that are none: an error where the first token should be, and a model that failed.

use super::*;
use crate::dialects::{COHERE, CONVERSE};

#[tokio::test]
async fn an_error_in_place_of_the_first_token_is_no_answer_yet() {
    let frame = |kind: &str, more: &str| format!("event: {kind}\ndata: {{\"type\":\"{kind}\",{more}}}\n\n");
    let start = frame(
        "message_start",
        r#""message":{"id":"m","model":"claude-x","usage":{"input_tokens":9,"output_tokens":1}}"#,
    );
    let overloaded = frame("error", r#""error":{"type":"overloaded_error","message":"Overloaded"}"#);
    let rest = [
        frame("content_block_start", r#""index":0,"content_block":{"type":"text","text":""}"#),
        frame("content_block_delta", r#""index":0,"delta":{"type":"text_delta","text":"hello"}"#),
        frame("content_block_stop", r#""index":0"#),
        frame("message_delta", r#""delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}"#),
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n".to_owned(),
    ]
    .concat();
    let good = format!("{start}{rest}");
    let bad = stream(vec![say(&start), say(&overloaded)]);
    let replay = Replay::in_turn(vec![bad, stream(vec![say(&good)])]).await;
    let targets = vec![target("anthropic", "claude-x")];
    let stage = with(&replay, &replay, ModelRoute { targets, retry: retry(2), ..ModelRoute::default() }).await;
    let body =
        json!({ "model": "m", "max_tokens": 9, "stream": true, "messages": [{ "role": "user", "content": "hi" }] });
    let answer = stage.post("/v1/messages", &body).send().await.unwrap();
    assert_eq!(answer.headers()["x-tollgate-attempts"], "2");
    assert_eq!(answer.text().await.unwrap(), good, "nothing of the first attempt");
    let (_, written) = stage.end().await;
    let (settled, end) = attempts(&written);
    assert_eq!((settled[0].outcome, settled[1].outcome), (Outcome::ProviderError, Outcome::Complete));
    // What the first one had reported is charged, and part of the call.
    assert!(
        matches!(settled[0].usage.completeness, Completeness::LowerBound(Doubt::Truncated)),
        "{:?}",
        settled[0].usage
    );
    assert_eq!((end.earlier, end.earlier_unknown), (settled[0].usage.total().unwrap(), false));
    assert_eq!(end.used(&settled[1].usage).map(|used| used.input()), Some(18));
}

/// Nobody has had anything of an answer in which the model failed.
#[tokio::test]
async fn an_answer_in_which_the_model_failed_is_tried_elsewhere() {
    let malformed =
        GEMINI.replace(r#"{"parts":[{"text":"hi"}]}"#, "{}").replace("\"STOP\"", "\"MALFORMED_FUNCTION_CALL\"");
    let nothing = r#"{"candidates":[],"usageMetadata":{"promptTokenCount":7,"totalTokenCount":7},"modelVersion":"gemini-2.5-flash"}"#;
    let tool = CONVERSE.replace(r#"{"text":"hi"}"#, "").replace("end_turn", "malformed_tool_use");
    let error = COHERE.replace(r#"{"type":"text","text":"hi"}"#, "").replace("COMPLETE", "ERROR");
    let frame = format!("data: {malformed}\r\n\r\n");
    for (provider, model, script, streams) in [
        ("gemini", "gemini-2.5-flash", answers("200 OK", &malformed), false),
        ("gemini", "gemini-2.5-flash", answers("200 OK", nothing), false),
        ("bedrock", "us.anthropic.claude-v1:0", answers("200 OK", &tool), false),
        ("cohere", "command-a", answers("200 OK", &error), false),
        ("gemini", "gemini-2.5-flash", stream(vec![say(&frame)]), true),
    ] {
        let good = match streams {
            true => stream(vec![say(TEXT), say(STOP), say(USAGE), say(DONE)]),
            false => answers("200 OK", WHOLE),
        };
        let replay = Replay::in_turn(vec![script, good]).await;
        let targets = vec![target(provider, model), target("one", "gpt-4o-mini")];
        let stage = with(&replay, &replay, ModelRoute { targets, retry: retry(2), ..ModelRoute::default() }).await;
        let answer = ask(&stage, json!({ "stream": streams })).send().await.unwrap();
        let said = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(said("x-tollgate-served-by").as_deref(), Some("one/gpt-4o-mini"), "{provider}, {streams}");
        assert!(answer.text().await.unwrap().contains("hello"), "{provider}, {streams}");
        let (_, written) = stage.end().await;
        let (settled, _) = attempts(&written);
        assert_eq!((settled[0].outcome, settled[1].outcome), (Outcome::ProviderError, Outcome::Complete), "{provider}");
        // What it used is charged.
        assert_eq!(settled[0].usage.completeness, Completeness::Exact, "{provider}, {streams}");
        assert!(settled[0].usage.total().unwrap().input() > 0, "{provider}, {streams}");
    }
}

/// Where no other attempt follows, the client is told what the provider said.
#[tokio::test]
async fn an_answer_in_which_the_model_failed_is_told_where_nobody_else_is_tried() {
    let failed = WHOLE.replace(r#""finish_reason":"stop""#, r#""finish_reason":"error""#);
    assert_ne!(failed, WHOLE);
    let malformed =
        GEMINI.replace(r#"{"parts":[{"text":"hi"}]}"#, "{}").replace("\"STOP\"", "\"MALFORMED_FUNCTION_CALL\"");
    for (on, provider, model, script, status, says) in [
        (Cause::RateLimit, "one", "gpt-4o-mini", &failed, 200, failed.as_str()),
        (Cause::RateLimit, "gemini", "gemini-2.5-flash", &malformed, 502, "MALFORMED_FUNCTION_CALL"),
        (Cause::ServerError, "one", "gpt-4o-mini", &failed, 200, WHOLE),
    ] {
        let replay = Replay::in_turn(vec![answers("200 OK", script), answers("200 OK", WHOLE)]).await;
        let targets = vec![target(provider, model), target("two", "gpt-4o-mini")];
        let retry = Retry { on: vec![on], ..retry(2) };
        let stage = with(&replay, &replay, ModelRoute { targets, retry, ..ModelRoute::default() }).await;
        let answer = ask(&stage, json!({})).send().await.unwrap();
        assert_eq!(answer.status(), status, "{on:?} {provider}");
        let told = answer.text().await.unwrap();
        assert!(told.contains(says), "{on:?} {provider}: {told}");
        let (_, written) = stage.end().await;
        let (settled, _) = attempts(&written);
        let followed = on == Cause::ServerError;
        assert_eq!((settled[0].outcome, settled.len()), (Outcome::ProviderError, 1 + usize::from(followed)), "{on:?}");
    }
}
