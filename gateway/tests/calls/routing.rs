//! Models with several targets: what fails before its first token is tried elsewhere, each attempt is recorded, and a call ends once.

use std::{sync::Arc, time::Duration};

use schemas::{
    config::{Cause, ModelRoute, Patience, Retry, Target},
    event::{CallEnd, Event, Outcome, Settled},
    tokens::{Completeness, Doubt, Usage, Vector},
};
use serde_json::{Value, json};

use crate::{
    DONE, STOP, TEXT, USAGE, WHOLE,
    dialects::GEMINI,
    provider::{Replay, Step, json as answers, say, stream},
    stage::{Setting, Stage, Written, chat},
};

#[path = "routing/again.rs"]
mod again;
#[path = "routing/chosen.rs"]
mod chosen;
#[path = "routing/failed.rs"]
mod failed;

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
