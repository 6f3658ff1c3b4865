//! What a gateway answers by itself: as the sandbox, and when it is asked for its models.

use super::*;
use crate::stage::post_with;

#[tokio::test]
async fn the_sandbox_answers_in_both_dialects_over_both_versions() {
    let replay = Replay::start(json("200 OK", WHOLE)).await;
    let stage = Stage::new(replay.address).await;
    for is_http2 in [false, true] {
        for (path, stream) in [
            ("/v1/chat/completions", true),
            ("/v1/chat/completions", false),
            ("/anthropic/v1/messages", true),
            ("/v1/messages", false),
        ] {
            let body = json!({ "model": "sandbox/20", "max_tokens": 15, "stream": stream, "messages": [{ "role": "user", "content": "12345678" }] });
            let text = post_with(is_http2, &stage.url(path), &body).await;
            assert!(text.contains("\"length\"") || text.contains("\"max_tokens\""), "{text}");
        }
    }
    for stream in [false, true] {
        let body = json!({ "model": "sandbox/20", "max_output_tokens": 15, "stream": stream, "input": "12345678" });
        let text = stage.post("/v1/responses", &body).send().await.unwrap().text().await.unwrap();
        assert!(text.contains("\"incomplete\""), "{text}");
    }
    let answer = stage.post("/v1/embeddings", &json!({ "model": "sandbox/4", "input": "abcd" })).send().await.unwrap();
    assert_eq!(answer.json::<Value>().await.unwrap()["data"][0]["embedding"].as_array().unwrap().len(), 4);
    let count = json!({ "model": "sandbox/4", "messages": [{ "role": "user", "content": "abcdefgh" }] });
    let answer = stage.post("/v1/messages/count_tokens?beta=true", &count).send().await.unwrap();
    assert_eq!(answer.json::<Value>().await.unwrap(), json!({ "input_tokens": 2 }));
    let (_, written) = stage.end().await;
    assert_eq!((written.ends().len(), written.settled().len()), (12, 12));
    for settled in written.settled() {
        let total = settled.usage.total().unwrap();
        let wanted = match settled.attempt.api {
            schemas::event::Api::OpenAiEmbeddings => (1, 0),
            schemas::event::Api::AnthropicCountTokens => (0, 0),
            _ => (2, 15),
        };
        assert_eq!(
            (total.input(), total.all_output(), &settled.usage.completeness),
            (wanted.0, wanted.1, &Completeness::Exact)
        );
    }
}

#[tokio::test]
async fn models_are_listed_in_the_dialect_of_the_client() {
    let replay = Replay::start(json("200 OK", WHOLE)).await;
    let mut setting = Setting::default();
    setting.cors.origins = vec!["https://app.example.com".into()];
    let stage = Stage::with(replay.address, setting).await;
    let list =
        stage.http.get(stage.url("/v1/models")).bearer_auth(KEY).send().await.unwrap().json::<Value>().await.unwrap();
    assert_eq!(list["object"], "list");
    assert!(list["data"].as_array().unwrap().iter().any(|model| model["id"] == "alias"));
    let call = stage
        .http
        .get(stage.url("/v1/models?limit=1000"))
        .header("x-api-key", KEY)
        .header("anthropic-version", "2023-06-01");
    let list = call.send().await.unwrap().json::<Value>().await.unwrap();
    assert_eq!((&list["has_more"], &list["data"][0]["type"]), (&json!(false), &json!("model")));
    // Azure's clients and Google's ask elsewhere, Google's with a key in a header of its own.
    let list = stage.http.get(stage.url("/openai/models")).header("api-key", KEY).send().await.unwrap();
    assert_eq!(list.json::<Value>().await.unwrap()["object"], "list");
    let list = stage.http.get(stage.url("/v1beta/models")).header("x-goog-api-key", KEY).send().await.unwrap();
    let list = list.json::<Value>().await.unwrap();
    assert!(list["models"].as_array().unwrap().iter().any(|model| model["name"] == "models/fast"), "{list}");
    let one = stage.http.get(stage.url("/openai/v1/models/sandbox/12")).bearer_auth(KEY).send().await.unwrap();
    assert_eq!(one.json::<Value>().await.unwrap()["id"], "sandbox/12");
    assert_eq!(stage.http.head(stage.url("/v1/models")).bearer_auth(KEY).send().await.unwrap().status(), 200);
    assert_eq!(stage.http.get(stage.url("/v1/models/none")).bearer_auth(KEY).send().await.unwrap().status(), 404);
    assert_eq!(stage.http.get(stage.url("/v1/models")).send().await.unwrap().status(), 401);
    let ask = |origin: &str| {
        stage.http.request(reqwest::Method::OPTIONS, stage.url("/v1/chat/completions")).header("origin", origin)
    };
    let allowed = ask("https://app.example.com").send().await.unwrap();
    assert_eq!(
        (allowed.status().as_u16(), &allowed.headers()["access-control-allow-origin"]),
        (204, &"https://app.example.com".parse().unwrap())
    );
    assert_eq!(ask("https://evil.example.com").send().await.unwrap().status(), 405);
    drop(stage.end().await);
}
