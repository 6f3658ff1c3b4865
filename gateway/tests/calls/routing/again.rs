//! When a target is asked again: as it says itself, and as the model says.

use std::time::Instant;

use super::*;

#[tokio::test]
async fn a_target_is_asked_again_when_it_says_so_and_left_alone_when_that_is_long() {
    for said in ["retry-after-ms: 300", "retry-after: 0.3"] {
        let soon = format!("HTTP/1.1 429 Too Many Requests\r\n{said}\r\ncontent-length: 2\r\n\r\n{{}}");
        let one = Replay::in_turn(vec![vec![say(&soon)], answers("200 OK", WHOLE)]).await;
        let targets = vec![target("one", "gpt-4o-mini")];
        let stage = with(&one, &one, ModelRoute { targets, retry: retry(2), ..ModelRoute::default() }).await;
        let since = Instant::now();
        let answer = ask(&stage, json!({})).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (200, WHOLE));
        assert!(since.elapsed() >= Duration::from_millis(300), "{said}");
        drop(stage.end().await);
    }

    let late = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 60\r\ncontent-length: 2\r\n\r\n{}";
    let until = late.replace(": 60", ": Fri, 31 Dec 2100 23:59:59 GMT");
    let for_ever = late.replace(": 60", ": 99999999999999999999");
    for late in [late, &until, &for_ever] {
        let one = Replay::start(vec![say(late)]).await;
        let two = Replay::start(answers("200 OK", WHOLE)).await;
        let both = self::stage(&one, &two, 3).await;
        for (call, attempts) in [(1, Some("2")), (2, None)] {
            let answer = ask(&both, json!({})).send().await.unwrap();
            assert_eq!(
                (answer.status().as_u16(), &answer.headers()["x-tollgate-served-by"]),
                (200, &"two/gpt-4.1-mini".parse().unwrap())
            );
            assert_eq!(
                answer.headers().get("x-tollgate-attempts").map(|value| value.to_str().unwrap()),
                attempts,
                "call {call}"
            );
        }
        assert_eq!(one.asked().len(), 1, "{late}");
        drop(both.end().await);
    }
    let one = Replay::start(vec![say(late)]).await;

    let targets = vec![target("one", "gpt-4o-mini")];
    let alone = with(&one, &one, ModelRoute { targets, retry: retry(3), ..ModelRoute::default() }).await;
    let answer = ask(&alone, json!({})).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (429, &"60".parse().unwrap()));
    let (_, written) = alone.end().await;
    assert_eq!(attempts(&written).1.attempts, 1);
}

/// How long to wait no header of Google's says: it stands in the body of its error.
#[tokio::test]
async fn what_google_asks_to_wait_is_heeded_and_said_to_the_client_whose_body_stays_as_it_is() {
    let error = |message: &str, delay: &str| {
        let help = r#"{"@type":"type.googleapis.com/google.rpc.Help","links":[]}"#;
        let wait = format!(r#"{{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"{delay}"}}"#);
        format!("{{\"error\": {{\"message\":\"{message}\",\"details\":[{help},{wait}]}}}}\n")
    };
    let on = async |one: &Replay, attempts: u16| {
        let targets = vec![target("gemini", "gemini-2.5-flash")];
        with(one, one, ModelRoute { targets, retry: retry(attempts), ..ModelRoute::default() }).await
    };
    let generate = async |stage: &Stage| {
        let body = json!({ "contents": [{ "role": "user", "parts": [{ "text": "hi" }] }] });
        stage.post("/v1beta/models/m:generateContent", &body).send().await.unwrap()
    };
    let said = |answer: &reqwest::Response| {
        let said = |name: &str| Some(answer.headers().get(name)?.to_str().unwrap().to_owned());
        (answer.status().as_u16(), said("retry-after"), said("retry-after-ms"))
    };
    for status in ["429 Too Many Requests", "503 Service Unavailable"] {
        let number: u16 = status[..3].parse().unwrap();
        let one = Replay::in_turn(vec![answers(status, &error("m", "0.3s")), answers("200 OK", GEMINI)]).await;
        let stage = on(&one, 2).await;
        let since = Instant::now();
        let answer = generate(&stage).await;
        assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (200, GEMINI));
        assert!(since.elapsed() >= Duration::from_millis(300), "{status}");
        drop(stage.end().await);

        // Whether or not it could have been tried again, it is not, since that would be too long to wait.
        let late = error("m", "34.074824224s");
        for attempts in [1, 3] {
            let one = Replay::start(answers(status, &late)).await;
            let stage = on(&one, attempts).await;
            let answer = generate(&stage).await;
            assert_eq!(said(&answer), (number, Some("35".to_owned()), Some("34075".to_owned())));
            assert_eq!(answer.text().await.unwrap(), late);
            let (_, written) = stage.end().await;
            let settled = written.one();
            assert_eq!(
                (settled.outcome, settled.status, &settled.usage),
                (Outcome::ProviderError, number, &Usage::none())
            );
        }
        // A client of another dialect is told as well.
        let one = Replay::start(answers(status, &late)).await;
        let stage = on(&one, 3).await;
        let answer = ask(&stage, json!({})).send().await.unwrap();
        assert_eq!(said(&answer), (number, Some("35".to_owned()), Some("34075".to_owned())));
        assert_eq!(answer.json::<Value>().await.unwrap()["error"]["message"], "m");
        drop(stage.end().await);
    }

    // More is not looked at than an error has; all of it is passed on.
    let long = error(&"m".repeat(600 << 10), "34s");
    let one = Replay::start(answers("429 Too Many Requests", &long)).await;
    let stage = on(&one, 1).await;
    let answer = generate(&stage).await;
    assert_eq!(said(&answer), (429, None, None));
    assert!(answer.text().await.unwrap() == long);
    drop(stage.end().await);
}

#[tokio::test]
async fn a_providers_word_on_trying_again_is_heeded() {
    let says = |status: &str, again: &str| {
        say(&format!("HTTP/1.1 {status}\r\nx-should-retry: {again}\r\ncontent-length: 2\r\n\r\n{{}}"))
    };
    for (status, again, asked, answered) in [
        ("503 Service Unavailable", "maybe", 2, 200),
        ("503 Service Unavailable", "false", 1, 503),
        ("409 Conflict", "true", 2, 200),
        ("409 Conflict", "false", 1, 409),
    ] {
        let one = Replay::in_turn(vec![vec![says(status, again)], answers("200 OK", WHOLE)]).await;
        let targets = vec![target("one", "gpt-4o-mini")];
        let stage = with(&one, &one, ModelRoute { targets, retry: retry(2), ..ModelRoute::default() }).await;
        let answer = ask(&stage, json!({})).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), one.asked().len()), (answered, asked), "{status}, {again}");
        drop(stage.end().await);
    }
    // That it does not help there says nothing of another target.
    let one = Replay::start(vec![says("503 Service Unavailable", "false")]).await;
    let two = Replay::start(answers("200 OK", WHOLE)).await;
    let both = self::stage(&one, &two, 3).await;
    assert_eq!(ask(&both, json!({})).send().await.unwrap().status(), 200);
    drop(both.end().await);
}

#[tokio::test]
async fn our_own_credentials_being_refused_is_a_reason_for_the_next_and_none_to_ask_again() {
    let one = Replay::start(answers("401 Unauthorized", ERROR)).await;
    let two = Replay::start(answers("200 OK", WHOLE)).await;
    let both = stage(&one, &two, 3).await;
    assert_eq!(ask(&both, json!({})).send().await.unwrap().status(), 200);
    drop(both.end().await);
    let targets = vec![target("one", "gpt-4o-mini")];
    let alone = with(&one, &one, ModelRoute { targets, retry: retry(3), ..ModelRoute::default() }).await;
    assert_eq!(ask(&alone, json!({})).send().await.unwrap().status(), 502);
    drop(alone.end().await);
    assert_eq!(one.asked().len(), 2);
}

#[tokio::test]
async fn a_status_is_tried_again_where_the_model_says_so() {
    let one = Replay::start(answers("404 Not Found", ERROR)).await;
    let two = Replay::start(answers("200 OK", WHOLE)).await;
    let targets = vec![target("one", "gpt-4o-mini"), target("two", "gpt-4o-mini")];
    let on = Retry { on: vec![Cause::Status(404)], ..retry(2) };
    let stage = with(&one, &two, ModelRoute { targets, retry: on, ..ModelRoute::default() }).await;
    assert_eq!(ask(&stage, json!({})).send().await.unwrap().status(), 200);
    drop(stage.end().await);
}
