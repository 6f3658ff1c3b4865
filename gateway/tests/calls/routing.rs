//! Models with several targets: what fails before its first token is tried elsewhere, each attempt is recorded, and a call ends once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use schemas::{
    config::{By, Cause, ModelRoute, Patience, Retry, Strategy, Target},
    event::{CallEnd, Event, Outcome, Settled},
    tokens::{Completeness, Doubt, Usage, Vector},
};
use serde_json::{Value, json};

use crate::{
    DONE, STOP, TEXT, USAGE, WHOLE,
    dialects::{COHERE, CONVERSE, GEMINI},
    provider::{Replay, Step, json as answers, say, stream},
    stage::{KEY, Setting, Stage, Written, chat},
    translated::MESSAGE,
};

const ERROR: &str = r#"{"error":{"message":"overloaded","type":"server_error","param":null,"code":null}}"#;

fn target(provider: &str, model: &str) -> Target {
    Target::new(provider.into(), Some(model.into()))
}

fn retry(attempts: u16) -> Retry {
    Retry { attempts, backoff: Duration::from_millis(20), ..Retry::default() }
}

/// A stage on which `m` goes first to `one`, then to `two`, in so many attempts.
async fn stage(one: &Replay, two: &Replay, attempts: u16) -> Stage {
    let targets = vec![target("one", "gpt-4o-mini"), target("two", "gpt-4.1-mini")];
    with(one, two, ModelRoute { targets, retry: retry(attempts), ..ModelRoute::default() }).await
}

async fn with(one: &Replay, two: &Replay, route: ModelRoute) -> Stage {
    let models = vec![ModelRoute { name: "m".into(), ..route }];
    let others = vec![("one", one.address), ("two", two.address)];
    Stage::with(one.address, Setting { models, others, ..Setting::default() }).await
}

fn ask(stage: &Stage, more: Value) -> reqwest::RequestBuilder {
    let mut body = chat(more);
    body["model"] = "m".into();
    stage.post("/v1/chat/completions", &body)
}

/// The attempts of the one call in the journal, and its end: each attempt is admitted once and settled once, the next one's admission
/// stands before the record of the one before, and only the last record ends the call.
fn attempts(written: &Written) -> (Vec<&Settled>, &CallEnd) {
    let settled = written.settled();
    let numbers: Vec<u16> = settled.iter().map(|settled| settled.attempt.attempt).collect();
    assert_eq!(numbers, (1..=settled.len() as u16).collect::<Vec<_>>(), "{:#?}", written.events);
    let order = written.events.iter().filter_map(|event| match event {
        Event::Admitted(admitted) => Some((admitted.attempt.attempt, "admitted")),
        Event::Settled(settled) => Some((settled.attempt.attempt, "settled")),
        _ => None,
    });
    let order: Vec<_> = order.collect();
    let mut wanted = vec![(1, "admitted")];
    for number in 2..=settled.len() as u16 {
        wanted.extend([(number, "admitted"), (number - 1, "settled")]);
    }
    wanted.push((settled.len() as u16, "settled"));
    assert_eq!(order, wanted);
    let (last, earlier) = settled.split_last().unwrap();
    assert!(earlier.iter().all(|settled| settled.call.is_none() && settled.attempt.call == last.attempt.call));
    let end = last.call.as_ref().unwrap();
    assert_eq!(end.attempts as usize, settled.len());
    (settled, end)
}

#[tokio::test]
async fn a_provider_that_fails_is_followed_by_the_next_and_both_are_recorded() {
    let one = Replay::start(answers("500 Internal Server Error", ERROR)).await;
    let two = Replay::start(answers("200 OK", WHOLE)).await;
    let stage = stage(&one, &two, 3).await;
    let answer = ask(&stage, json!({})).header("x-tollgate-session-id", "s1").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["x-tollgate-served-by"], "two/gpt-4.1-mini");
    assert_eq!(answer.headers()["x-tollgate-attempts"], "2");
    assert_eq!(answer.text().await.unwrap(), WHOLE);
    for (replay, model) in [(&one, "gpt-4o-mini"), (&two, "gpt-4.1-mini")] {
        let asked = replay.asked();
        assert_eq!(asked.len(), 1);
        assert_eq!(serde_json::from_slice::<Value>(&asked[0].body).unwrap()["model"], model);
    }
    let (_, written) = stage.end().await;
    let (settled, end) = attempts(&written);
    assert_eq!(
        (settled[0].outcome, settled[0].status, &*settled[0].attempt.provider),
        (Outcome::ProviderError, 500, "one")
    );
    assert_eq!((settled[1].outcome, settled[1].status, &*settled[1].attempt.provider), (Outcome::Complete, 200, "two"));
    assert_eq!(
        (end.outcome, &*end.session_id, end.earlier, end.earlier_unknown),
        (Outcome::Complete, "s1", Vector::default(), true)
    );
    assert_eq!(settled[0].usage.completeness, Completeness::Missing(Doubt::NoAnswer), "it may have worked on it");
    assert!(settled[1].attempt.admitted_at > settled[0].attempt.admitted_at);
}

#[tokio::test]
async fn what_a_provider_turns_down_costs_nothing_whether_or_not_all_of_its_error_comes() {
    for script in [
        answers("429 Too Many Requests", ERROR),
        vec![say("HTTP/1.1 429 Too Many Requests\r\ncontent-length: 20\r\nconnection: close\r\n\r\n{")],
    ] {
        let one = Replay::start(script).await;
        let two = Replay::start(answers("200 OK", WHOLE)).await;
        let stage = stage(&one, &two, 3).await;
        assert_eq!(ask(&stage, json!({})).send().await.unwrap().status(), 200);
        let (_, written) = stage.end().await;
        let (settled, end) = attempts(&written);
        assert_eq!(settled[0].usage, Usage::none());
        assert_eq!((end.earlier_cost.map(|cost| cost.0), end.earlier_unknown), (Some(0), false));
    }
}

#[tokio::test]
async fn one_target_is_asked_once_and_says_who_it_is() {
    let replay = Replay::start(answers("500 Internal Server Error", ERROR)).await;
    let stage = Stage::new(replay.address).await;
    let answer = stage.post("/v1/chat/completions", &chat(json!({}))).send().await.unwrap();
    assert_eq!(answer.status(), 500);
    assert_eq!(answer.headers()["x-tollgate-served-by"], "openai/gpt-4o-mini");
    assert!(answer.headers().get("x-tollgate-attempts").is_none());
    let (_, written) = stage.end().await;
    let (_, end) = attempts(&written);
    assert_eq!((end.attempts, end.outcome, replay.asked().len()), (1, Outcome::ProviderError, 1));
}

/// A role, comments and pings are no tokens, however many come.
#[tokio::test]
async fn a_stream_whose_first_token_does_not_come_in_time_is_left_for_another() {
    let short = Patience { first_token: Some(Duration::from_millis(200)), ..Patience::default() };
    let role = TEXT.replace("hello", "");
    let pings = (0..40).flat_map(|_| [say(": ping\n\n"), say(&role), Step::Wait]);
    let one =
        Arc::new(Replay::start(stream(pings.chain([say(TEXT), say(STOP), say(USAGE), say(DONE)]).collect())).await);
    let two = Replay::start(stream(vec![say(TEXT), say(STOP), say(USAGE), say(DONE)])).await;
    let targets = vec![Target { timeouts: short, ..target("one", "gpt-4o-mini") }, target("two", "gpt-4o-mini")];
    let stage = with(&one, &two, ModelRoute { targets, retry: retry(2), ..ModelRoute::default() }).await;
    let pinging = tokio::spawn({
        let one = Arc::clone(&one);
        async move {
            for _ in 0..40 {
                tokio::time::sleep(Duration::from_millis(50)).await;
                one.go_on();
            }
        }
    });
    let answer = ask(&stage, json!({ "stream": true })).send().await.unwrap();
    assert_eq!(answer.headers()["x-tollgate-attempts"], "2");
    assert_eq!(answer.text().await.unwrap(), format!("{TEXT}{STOP}{DONE}"), "nothing of the first attempt");
    assert!(!pinging.is_finished(), "it would have said something in the end");
    let (_, written) = stage.end().await;
    let (settled, _) = attempts(&written);
    assert_eq!(settled[0].outcome, Outcome::Timeout);
}

#[tokio::test]
async fn what_a_timeout_or_a_broken_answer_used_is_not_known_of_the_call_either() {
    let short = Patience { first_byte: Some(Duration::from_millis(100)), ..Patience::default() };
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    let role = TEXT.replace("hello", "");
    let chunk = format!("{:x}\r\n{role}\r\n", role.len());
    let mute = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    for (script, outcome, doubt) in [
        (vec![Step::Hang], Outcome::Timeout, Doubt::TimedOut),
        (vec![say(mute), Step::Hang], Outcome::Timeout, Doubt::TimedOut),
        (vec![say("connection: close")], Outcome::ProviderError, Doubt::NoAnswer),
        (vec![say(head), say(&chunk)], Outcome::ProviderError, Doubt::Truncated),
    ] {
        let one = Replay::start(script).await;
        let two = Replay::start(stream(vec![say(TEXT), say(STOP), say(USAGE), say(DONE)])).await;
        let targets = vec![Target { timeouts: short, ..target("one", "gpt-4o-mini") }, target("two", "gpt-4o-mini")];
        let stage = with(&one, &two, ModelRoute { targets, retry: retry(2), ..ModelRoute::default() }).await;
        let answer = ask(&stage, json!({ "stream": true })).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), &answer.headers()["x-tollgate-attempts"]), (200, &"2".parse().unwrap()));
        assert_eq!(answer.text().await.unwrap(), format!("{TEXT}{STOP}{DONE}"), "nothing of the first attempt");
        let (_, written) = stage.end().await;
        let (settled, end) = attempts(&written);
        assert_eq!((settled[0].outcome, &settled[0].usage.completeness), (outcome, &Completeness::Missing(doubt)));
        assert_eq!((end.outcome, end.earlier_unknown, end.earlier_cost), (Outcome::Complete, true, None));
    }
}

#[tokio::test]
async fn after_the_first_token_nothing_is_tried_again() {
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    let chunk = format!("{:x}\r\n{TEXT}\r\n", TEXT.len());
    let one = Replay::start(vec![say(head), say(&chunk), Step::Wait]).await;
    let two = Replay::start(answers("200 OK", WHOLE)).await;
    let stage = stage(&one, &two, 3).await;
    let mut answer = ask(&stage, json!({ "stream": true })).send().await.unwrap();
    assert_eq!(answer.chunk().await.unwrap().unwrap(), TEXT);
    one.go_on();
    assert!(answer.chunk().await.is_err(), "the client must not take it for whole");
    let (_, written) = stage.end().await;
    let (settled, end) = attempts(&written);
    assert_eq!((settled.len(), end.outcome, two.asked().len()), (1, Outcome::ProviderError, 0));
}

#[tokio::test]
async fn what_the_client_did_wrong_is_its_answer_at_once() {
    let one = Replay::start(answers("400 Bad Request", ERROR)).await;
    let two = Replay::start(answers("200 OK", WHOLE)).await;
    let stage = stage(&one, &two, 3).await;
    let answer = ask(&stage, json!({})).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (400, ERROR));
    let (_, written) = stage.end().await;
    assert_eq!((attempts(&written).1.attempts, two.asked().len()), (1, 0));
}

#[tokio::test]
async fn where_all_fail_the_client_has_the_last_answer_and_the_call_its_end() {
    let one = Replay::start(vec![say("connection: close")]).await;
    let two = Replay::start(answers("503 Service Unavailable", ERROR)).await;
    let stage = stage(&one, &two, 2).await;
    let answer = ask(&stage, json!({})).send().await.unwrap();
    assert_eq!(answer.headers()["x-tollgate-served-by"], "two/gpt-4.1-mini");
    assert_eq!(answer.headers()["x-tollgate-attempts"], "2");
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (503, ERROR));
    let (_, written) = stage.end().await;
    let (settled, end) = attempts(&written);
    assert_eq!((settled[1].status, end.outcome, end.attempts), (503, Outcome::ProviderError, 2));

    let gone = Replay::start(vec![say("connection: close")]).await;
    let stage = self::stage(&one, &gone, 2).await;
    let answer = ask(&stage, json!({})).send().await.unwrap();
    assert_eq!(answer.status(), 502);
    assert!(answer.text().await.unwrap().contains("the last of 2 attempts"));
    drop(stage.end().await);
}

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
    let one = Replay::start(answers("404 Not Found", ERROR)).await;
    let two = Replay::start(answers("200 OK", QUEUED)).await;
    let targets = vec![target("two", "gpt-4o-mini")];
    let stage = with(&one, &two, ModelRoute { targets, ..ModelRoute::default() }).await;
    let body = json!({ "model": "m", "input": "hi", "background": true });
    assert_eq!(stage.post("/v1/responses", &body).send().await.unwrap().status(), 200);
    for (id, status) in [("resp_7", 200), ("resp_8", 404)] {
        let url = stage.url(&format!("/v1/responses/{id}"));
        assert_eq!(stage.http.get(url).bearer_auth(KEY).send().await.unwrap().status(), status, "{id}");
    }
    drop(stage.end().await);
    assert_eq!((one.asked().len(), two.asked().len()), (1, 2));
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

#[tokio::test]
async fn a_client_that_leaves_between_two_attempts_ends_its_call_once() {
    let one = Replay::start(answers("500 Internal Server Error", ERROR)).await;
    let route = ModelRoute {
        targets: vec![target("one", "gpt-4o-mini")],
        retry: Retry { backoff: Duration::from_secs(5), ..retry(3) },
        ..ModelRoute::default()
    };
    // A client can also be gone before the head has been read; then the attempt is drained.
    for number in 1..20 {
        let stage = with(&one, &one, route.clone()).await;
        let call = tokio::spawn(ask(&stage, json!({})).send());
        one.was_asked(number).await;
        drop(stage.http.get(stage.url("/v1/models")).send().await);
        call.abort();
        let _ = call.await;
        let (drained, written) = stage.end().await;
        let (settled, end) = attempts(&written);
        assert_eq!((settled.len(), settled[0].outcome, drained.cut), (1, Outcome::ProviderError, 0));
        if end.outcome == Outcome::ClientGone {
            return;
        }
    }
    panic!("no client left in between");
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

#[tokio::test]
async fn a_target_has_its_own_patience_for_a_connection() {
    // Its queue is full, so that whoever comes is not answered.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = socket.listen(1).unwrap();
    let address = full.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(Ok(waits)) =
        tokio::time::timeout(Duration::from_millis(200), tokio::net::TcpStream::connect(address)).await
    {
        queued.push(waits);
        assert!(queued.len() < 100, "the queue has no end");
    }
    let two = Replay::start(answers("200 OK", WHOLE)).await;
    let timeouts = Patience { connect: Some(Duration::from_millis(100)), ..Patience::default() };
    let targets = vec![Target { timeouts, ..target("one", "gpt-4o-mini") }, target("two", "gpt-4o-mini")];
    let models = vec![ModelRoute { name: "m".into(), targets, retry: retry(2), ..ModelRoute::default() }];
    let others = vec![("one", address), ("two", two.address)];
    let stage = Stage::with(two.address, Setting { models, others, ..Setting::default() }).await;
    let answer = ask(&stage, json!({})).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["x-tollgate-attempts"]), (200, &"2".parse().unwrap()));
    let (_, written) = stage.end().await;
    let (settled, end) = attempts(&written);
    assert_eq!((settled[0].outcome, &settled[0].usage), (Outcome::ProviderError, &schemas::tokens::Usage::none()));
    assert_eq!(end.earlier_cost.map(|cost| cost.0), Some(0), "it was never asked");
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
