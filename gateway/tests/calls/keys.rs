//! What a key is good for: until when, whether at all, for which models; in each dialect, for calls and for checks.

use serde_json::{Value, json};

use crate::{
    WHOLE,
    provider::{Replay, json as answer},
    stage::{PROXY, Stage, chat},
};

/// Status and code of a call with a key.
async fn called(stage: &Stage, key: &str, path: &str, body: &Value) -> (u16, String) {
    let answer = stage.http.post(stage.url(path)).bearer_auth(key).json(body).send().await.unwrap();
    let (status, body) = (answer.status().as_u16(), answer.json::<Value>().await.unwrap());
    (status, body["error"]["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_key_that_is_disabled_or_over_is_refused_with_its_own_code() {
    let replay = Replay::start(answer("200 OK", WHOLE)).await;
    let stage = Stage::new(replay.address).await;
    let body = chat(json!({}));
    let call = async |key: &str| called(&stage, key, "/v1/chat/completions", &body).await;
    for (key, status, code) in [
        ("tg-off", 401, "TG3040"),
        ("tg-old", 401, "TG3041"),
        ("tg-past", 401, "TG3041"),
        ("tg-none", 401, "TG3002"),
        ("tg-new", 200, ""),
        ("tg-former", 200, ""),
    ] {
        assert_eq!(call(key).await, (status, code.to_owned()), "{key}");
    }
    assert_eq!(replay.asked().len(), 2);
    let check = |key: &str| json!({ "client_key": key, "provider": "openai", "model": "gpt-4o-mini", "most": { "input": 1, "output": 1 } });
    assert_eq!(called(&stage, PROXY, "/v1/check", &check("tg-off")).await.1, "TG3040");
    assert_eq!(called(&stage, PROXY, "/v1/check", &check("tg-old")).await.1, "TG3041");
    let usage = stage.http.post(stage.url("/v1/events")).bearer_auth("tg-off").json(&json!({})).send().await.unwrap();
    assert_eq!(usage.status(), 401);
}

#[tokio::test]
async fn a_key_asks_for_its_models_only_and_sees_no_others() {
    let replay = Replay::start(answer("200 OK", WHOLE)).await;
    let stage = Stage::new(replay.address).await;
    assert_eq!(called(&stage, "tg-some", "/v1/chat/completions", &chat(json!({}))).await.0, 200);
    let other = chat(json!({ "model": "gpt-4o" }));
    assert_eq!(called(&stage, "tg-some", "/v1/chat/completions", &other).await, (403, "TG3042".to_owned()));
    let message = json!({ "model": "claude-x", "max_tokens": 1, "messages": [{ "role": "user", "content": "hi" }] });
    let refused = stage.http.post(stage.url("/v1/messages")).header("x-api-key", "tg-some").json(&message).send().await;
    let refused = refused.unwrap();
    assert_eq!((refused.status().as_u16(), &refused.headers()["x-should-retry"]), (403, &"false".parse().unwrap()));
    assert_eq!(refused.json::<Value>().await.unwrap()["error"]["type"], "permission_error");
    assert_eq!(called(&stage, "tg-some", "/passthrough/openai/v1/files", &json!({})).await, (403, "TG3042".to_owned()));
    assert_eq!(replay.asked().len(), 1);

    let list = stage.http.get(stage.url("/v1/models")).bearer_auth("tg-some").send().await.unwrap();
    let list = list.json::<Value>().await.unwrap();
    let names: Vec<&str> = list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert!(names.contains(&"gpt-4o-mini") && names.contains(&"sandbox/64"), "{names:?}");
    assert!(names.iter().all(|name| *name == "gpt-4o-mini" || name.starts_with("sandbox/")), "{names:?}");
    let one = async |id: &str| {
        let url = stage.url(&format!("/v1/models/{id}"));
        stage.http.get(url).bearer_auth("tg-some").send().await.unwrap().status().as_u16()
    };
    assert_eq!((one("sandbox/64").await, one("gpt-4o").await), (200, 403));
    let check = json!({ "client_key": "tg-some", "provider": "openai", "model": "gpt-4o", "most": { "input": 1, "output": 1 } });
    assert_eq!(called(&stage, PROXY, "/v1/check", &check).await, (403, "TG3042".to_owned()));
}
