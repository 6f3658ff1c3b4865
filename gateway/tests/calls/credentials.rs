//! Credentials that change while calls go on. The token service is played, as it cannot be had here; the time is the test's own.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use gateway::Surroundings;
use schemas::{config::CredentialSource, time::Time};
use serde_json::Value;

use super::*;
use crate::stage::eventually;

const START: i64 = 1_800_000_000;

/// A setting in which one provider has its credential from elsewhere, by a clock in seconds.
fn setting(
    provider: &'static str,
    source: CredentialSource,
    env: Vec<(&'static str, String)>,
    clock: &Arc<AtomicI64>,
) -> Setting {
    let clock = Arc::clone(clock);
    let surroundings = Surroundings {
        env: Arc::new(move |name| env.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())),
        clock: Arc::new(move || Time::from_micros(clock.load(Ordering::SeqCst) * 1_000_000)),
        tick: Duration::from_millis(5),
    };
    Setting { sources: vec![(provider, source)], surroundings, ..Setting::default() }
}

/// A token service in Azure's shape; while it is well its n-th token is `very-secret-n`, for an hour.
async fn tokens(is_well: &Arc<AtomicBool>) -> (std::net::SocketAddr, Arc<AtomicI64>) {
    let (given, is_well) = (Arc::new(AtomicI64::new(0)), Arc::clone(is_well));
    let counted = Arc::clone(&given);
    let answer = move || {
        let (counted, is_well) = (Arc::clone(&counted), Arc::clone(&is_well));
        async move {
            if !is_well.load(Ordering::SeqCst) {
                return (http::StatusCode::UNAUTHORIZED, "{\"error\":\"invalid_client\"}".to_owned());
            }
            let n = counted.fetch_add(1, Ordering::SeqCst) + 1;
            (http::StatusCode::OK, format!("{{\"access_token\":\"very-secret-{n}\",\"expires_in\":3600}}"))
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = axum::Router::new().route("/t/oauth2/v2.0/token", axum::routing::post(answer));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, given)
}

async fn call(stage: &Stage, model: &str) -> (u16, Value) {
    let answer = stage.post("/v1/chat/completions", &chat(json!({ "model": model }))).send().await.unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    assert!(!text.contains("very-secret"), "{text}");
    (status, serde_json::from_str(&text).unwrap())
}

/// How often a provider was called with a token, over all calls.
fn called_with(replay: &Replay, secret: &str) -> usize {
    replay.asked().iter().filter(|asked| asked.head.contains(secret)).count()
}

#[tokio::test]
async fn a_token_changes_under_traffic_without_one_call_failing_and_ends_when_it_says() {
    let (is_well, clock) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicI64::new(START)));
    let (service, given) = tokens(&is_well).await;
    let env = vec![
        ("AZURE_AUTHORITY_HOST", format!("http://{service}")),
        ("AZURE_TENANT_ID", "t".to_owned()),
        ("AZURE_CLIENT_ID", "c".to_owned()),
        ("AZURE_CLIENT_SECRET", "very-secret-client".to_owned()),
    ];
    let replay = Replay::start(json("200 OK", WHOLE)).await;
    let stage = Stage::with(replay.address, setting("azure", CredentialSource::Azure, env, &clock)).await;
    // The first token is on its way when the gateway begins; only until then a call may be told so.
    while call(&stage, "deployed").await.0 == 503 {}
    for n in 2..5 {
        clock.fetch_add(3_050, Ordering::SeqCst);
        while called_with(&replay, &format!("authorization: bearer very-secret-{n}")) == 0 {
            assert_eq!(call(&stage, "deployed").await.0, 200);
        }
        assert_eq!(given.load(Ordering::SeqCst), n);
    }
    assert!(replay.asked().iter().all(|asked| !asked.head.contains("api-key")));
    // Its service fails: the last token is used to its end and not beyond.
    is_well.store(false, Ordering::SeqCst);
    clock.fetch_add(3_599, Ordering::SeqCst);
    for _ in 0..10 {
        assert_eq!(call(&stage, "deployed").await.0, 200);
    }
    clock.fetch_add(1, Ordering::SeqCst);
    let before = replay.asked().len();
    let (status, error) = call(&stage, "deployed").await;
    let message = error["error"]["message"].as_str().unwrap();
    assert_eq!((status, &error["error"]["code"]), (503, &json!("TG4008")));
    assert!(message.contains("provider `azure`: credentials azure: the last one ended"), "{message}");
    assert_eq!(replay.asked().len(), before, "the provider is not called");
    // Other providers have nothing to do with it.
    assert_eq!(call(&stage, "gpt-4o-mini").await.0, 200);
    is_well.store(true, Ordering::SeqCst);
    clock.fetch_add(100, Ordering::SeqCst);
    while call(&stage, "deployed").await.0 == 503 {}
    assert_eq!(called_with(&replay, "authorization: bearer very-secret-5"), 1);
    let (_, written) = stage.end().await;
    assert!(!format!("{:?}", written.events).contains("very-secret"));
}

#[tokio::test]
async fn what_never_came_is_told_with_the_reason() {
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let env = vec![("GCE_METADATA_HOST", gone.to_string())];
    let clock = Arc::new(AtomicI64::new(START));
    let replay = Replay::start(json("200 OK", WHOLE)).await;
    let stage = Stage::with(replay.address, setting("gemini", CredentialSource::Gcp, env, &clock)).await;
    loop {
        let path = "/v1beta/models/gemini-2.5-flash:generateContent";
        let answer = stage.post(path, &json!({ "contents": [] })).send().await.unwrap();
        assert_eq!(answer.status(), 503);
        let error: Value = answer.json().await.unwrap();
        assert_eq!(error["error"]["details"][0]["reason"], "TG4008");
        let message = error["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains("provider `gemini`: credentials gcp: "), "{message}");
        if message.contains("Google's metadata server at 127.0.0.1 does not answer") {
            break;
        }
    }
    assert!(replay.asked().is_empty());
    drop(stage.end().await);
}

#[tokio::test]
async fn an_error_that_repeats_the_key_before_is_passed_on_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    std::fs::write(&path, "very-secret-a\n").unwrap();
    let clock = Arc::new(AtomicI64::new(START));
    let late = [vec![Step::Wait], json("400 Bad Request", "{\"error\":\"got very-secret-a\"}")].concat();
    let replay = Replay::in_turn(vec![late, json("200 OK", WHOLE)]).await;
    let file = CredentialSource::File(path.clone());
    let stage = Stage::with(replay.address, setting("openai", file, Vec::new(), &clock)).await;
    let rotates = async {
        replay.was_asked(1).await;
        std::fs::write(&path, "very-secret-b\n").unwrap();
        clock.fetch_add(60, Ordering::SeqCst);
        while called_with(&replay, "authorization: bearer very-secret-b") == 0 {
            assert_eq!(call(&stage, "gpt-4o-mini").await.0, 200);
        }
        replay.go_on();
    };
    let ((status, error), ()) = tokio::join!(call(&stage, "gpt-4o-mini"), rotates);
    assert_eq!((status, error), (400, json!({ "error": "got *************" })));
    drop(stage.end().await);
}

#[tokio::test]
async fn a_key_in_a_file_is_read_again_and_at_once_when_the_provider_refuses_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    std::fs::write(&path, "very-secret-a\n").unwrap();
    let clock = Arc::new(AtomicI64::new(START));
    let replay =
        Replay::in_turn(vec![json("200 OK", WHOLE), json("401 Unauthorized", "{}"), json("200 OK", WHOLE)]).await;
    let file = CredentialSource::File(path.clone());
    let stage = Stage::with(replay.address, setting("openai", file, Vec::new(), &clock)).await;
    assert_eq!(call(&stage, "gpt-4o-mini").await.0, 200);
    // Whoever changes the key at the provider writes the file; the clock stands, so that only the refusal can tell.
    std::fs::write(&path, "very-secret-b\n").unwrap();
    let (status, error) = call(&stage, "gpt-4o-mini").await;
    assert_eq!((status, &error["error"]["code"]), (502, &json!("TG4002")));
    clock.fetch_add(1, Ordering::SeqCst);
    while called_with(&replay, "authorization: bearer very-secret-b") == 0 {
        assert_eq!(call(&stage, "gpt-4o-mini").await.0, 200);
    }
    assert!(called_with(&replay, "authorization: bearer very-secret-a") >= 2);
    // A file that is gone takes nothing away.
    std::fs::remove_file(&path).unwrap();
    clock.fetch_add(60, Ordering::SeqCst);
    for _ in 0..10 {
        assert_eq!(call(&stage, "gpt-4o-mini").await.0, 200);
    }
    std::fs::write(&path, "very-secret-c").unwrap();
    clock.fetch_add(120, Ordering::SeqCst);
    let used = || called_with(&replay, "authorization: bearer very-secret-c") > 0;
    while !used() {
        assert_eq!(call(&stage, "gpt-4o-mini").await.0, 200);
    }
    eventually("the new key is used", used).await;
    drop(stage.end().await);
}
