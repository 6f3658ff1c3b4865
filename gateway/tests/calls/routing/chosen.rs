//! Which target a call goes to first, and which ones it passes over.

use schemas::config::{By, Strategy};

use super::*;
use crate::{stage::KEY, translated::MESSAGE};

/// Which target comes first may change with its health, its price or its speed: that refuses nobody.
#[tokio::test]
async fn a_target_that_has_no_place_for_a_part_of_a_request_is_passed_over() {
    let [one, two] = [Replay::start(answers("200 OK", WHOLE)).await, Replay::start(answers("200 OK", WHOLE)).await];
    let targets = vec![target("anthropic", "claude-sonnet-4-5"), target("two", "gpt-4o-mini")];
    let stage = with(&one, &two, ModelRoute { targets, ..ModelRoute::default() }).await;
    let answer = ask(&stage, json!({ "logit_bias": { "1": 1 } })).send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["x-tollgate-served-by"]),
        (200, &"two/gpt-4o-mini".parse().unwrap())
    );
    drop(stage.end().await);
    assert_eq!((one.asked().len(), two.asked().len()), (0, 1));
}

/// Its id names nobody, and the first provider of the dialect has never heard of it.
#[tokio::test]
async fn a_response_is_read_where_it_was_made() {
    const QUEUED: &str =
        r#"{"id":"resp_7","object":"response","status":"queued","model":"m","output":[],"usage":null}"#;
    for path in ["/v1/responses", "/passthrough/two/responses"] {
        let one = Replay::start(answers("404 Not Found", ERROR)).await;
        let two = Replay::start(answers("200 OK", QUEUED)).await;
        let targets = vec![target("two", "gpt-4o-mini")];
        let stage = with(&one, &two, ModelRoute { targets, ..ModelRoute::default() }).await;
        let body = json!({ "model": "m", "input": "hi", "background": true });
        assert_eq!(stage.post(path, &body).send().await.unwrap().status(), 200, "{path}");
        for (id, status) in [("resp_7", 200), ("resp_8", 404)] {
            let url = stage.url(&format!("/v1/responses/{id}"));
            let read = stage.http.get(url).bearer_auth(KEY).send().await.unwrap();
            assert_eq!(read.status(), status, "{id} of {path}");
        }
        drop(stage.end().await);
        assert_eq!((one.asked().len(), two.asked().len()), (1, 2), "{path}");
    }
}

#[tokio::test]
async fn a_call_that_no_target_takes_is_told_so() {
    use schemas::{config::When, limit::Dimension};
    let one = Replay::start(answers("200 OK", WHOLE)).await;
    let only = |value: &str| vec![When::Is(Dimension::Tag("env".into()), value.into())];
    let targets = vec![
        Target { when: only("prod"), ..target("one", "gpt-4o-mini") },
        Target { when: only("dev*"), ..target("two", "gpt-4.1-mini") },
    ];
    let stage = with(&one, &one, ModelRoute { targets, retry: retry(2), ..ModelRoute::default() }).await;
    let answer = ask(&stage, json!({})).send().await.unwrap();
    assert_eq!(answer.status(), 404);
    assert!(answer.text().await.unwrap().contains("TG4007"));
    for (tag, model) in [("env=prod", "one/gpt-4o-mini"), ("env=dev-1", "two/gpt-4.1-mini")] {
        let answer = ask(&stage, json!({})).header("x-tollgate-tags", tag).send().await.unwrap();
        assert_eq!(answer.headers()["x-tollgate-served-by"], model);
    }
    drop(stage.end().await);
}

#[tokio::test]
async fn the_cheaper_the_less_busy_and_the_callers_own_come_first() {
    let one = Replay::start(answers("200 OK", WHOLE)).await;
    let served = async |stage: &Stage, session: &str| {
        let answer = ask(stage, json!({})).header("x-tollgate-session-id", session).send().await.unwrap();
        answer.headers()["x-tollgate-served-by"].to_str().unwrap().to_owned()
    };
    let route = |strategy| ModelRoute {
        targets: vec![target("one", "gpt-4o"), target("two", "gpt-4o-mini")],
        strategy,
        ..ModelRoute::default()
    };
    let cheap = with(&one, &one, route(Strategy::LeastCost)).await;
    assert_eq!(served(&cheap, "s").await, "two/gpt-4o-mini");
    drop(cheap.end().await);
    // One that is asked in another dialect is compared by what it charges there.
    let claude = Replay::start(answers("200 OK", MESSAGE)).await;
    let targets = vec![target("one", "gpt-4o"), target("anthropic", "claude-haiku-4-5")];
    let translated = ModelRoute { name: "m".into(), targets, strategy: Strategy::LeastCost, ..ModelRoute::default() };
    let setting = Setting { models: vec![translated], others: vec![("one", one.address)], ..Setting::default() };
    let cheap = Stage::with(claude.address, setting).await;
    assert_eq!(served(&cheap, "s").await, "anthropic/claude-haiku-4-5");
    drop(cheap.end().await);

    // Whichever the first call goes to, it stays there, and all others go to the other.
    let slow = Replay::start(stream(vec![say(TEXT), Step::Wait, say(STOP), say(USAGE), say(DONE)])).await;
    let busy = with(&slow, &slow, route(Strategy::LeastBusy)).await;
    let first = ask(&busy, json!({ "stream": true })).send().await.unwrap();
    let second = ask(&busy, json!({ "stream": true })).send().await.unwrap();
    let by = |answer: &reqwest::Response| answer.headers()["x-tollgate-served-by"].clone();
    assert_ne!(by(&first), by(&second));
    slow.go_on();
    slow.go_on();
    assert!(first.text().await.unwrap().ends_with(DONE) && second.text().await.unwrap().ends_with(DONE));
    drop(busy.end().await);

    let sticky = with(&one, &one, route(Strategy::Sticky(By::Session))).await;
    let mut homes = std::collections::BTreeSet::new();
    for session in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        let home = served(&sticky, session).await;
        assert_eq!(served(&sticky, session).await, home, "{session}");
        homes.insert(home);
    }
    assert_eq!(homes.len(), 2);
    drop(sticky.end().await);
}
