//! Streams that break off after their first token and go on at another target, where the client has asked for that.

use std::time::Duration;

use schemas::{
    config::{Cause, ModelRoute, Patience, Retry, Target},
    event::{CallEnd, Outcome, Settled},
    tokens::Completeness,
};
use serde_json::{Value, json};

use crate::{
    WHOLE,
    provider::{Replay, Step, json as answers, say, stream},
    stage::{Setting, Stage, Written, chat},
};

fn event(data: &Value) -> String {
    format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap())
}

fn start() -> String {
    let usage = json!({ "input_tokens": 9, "output_tokens": 1 });
    let message = json!({ "id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": [], "usage": usage });
    event(&json!({ "type": "message_start", "message": message }))
}

fn open(kind: &str) -> String {
    event(&json!({ "type": "content_block_start", "index": 0, "content_block": { "type": kind, "text": "" } }))
}

fn text(text: &str) -> String {
    event(&json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": text } }))
}

fn end() -> String {
    let stop = event(&json!({ "type": "content_block_stop", "index": 0 }));
    let delta =
        json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "usage": { "output_tokens": 4 } });
    format!("{stop}{}{}", event(&delta), event(&json!({ "type": "message_stop" })))
}

/// An answer that breaks off behind these bytes.
fn broken(frames: &str) -> Vec<Step> {
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    vec![say(head), say(&format!("{:x}\r\n{frames}\r\n", frames.len()))]
}

/// A stage on which `m` goes to two models of one provider.
async fn stage(replay: &Replay, providers: [&str; 2]) -> Stage {
    stage_of(replay, providers, Retry::default()).await
}

/// The same, on which a call goes on after these causes, of which a silence of some tenths of a second is one.
async fn stage_of(replay: &Replay, providers: [&str; 2], retry: Retry) -> Stage {
    let timeouts = Patience { idle: Some(Duration::from_millis(300)), ..Patience::default() };
    let target = |provider: &str, model: &str| Target { timeouts, ..Target::new(provider.into(), Some(model.into())) };
    let targets = vec![target(providers[0], "claude-sonnet-4-5"), target(providers[1], "claude-haiku-4-5")];
    let retry = Retry { attempts: 3, backoff: Duration::from_millis(20), ..retry };
    let models = vec![ModelRoute { name: "m".into(), targets, retry, ..ModelRoute::default() }];
    Stage::with(replay.address, Setting { models, ..Setting::default() }).await
}

fn ask(stage: &Stage, more: Value) -> reqwest::RequestBuilder {
    let mut body =
        json!({ "model": "m", "max_tokens": 100, "stream": true, "messages": [{ "role": "user", "content": "hi" }] });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    stage.post("/v1/messages", &body).header("x-tollgate-failover", "mid-stream")
}

fn attempts(written: &Written) -> (Vec<&Settled>, &CallEnd) {
    let settled = written.settled();
    let numbers: Vec<u16> = settled.iter().map(|settled| settled.attempt.attempt).collect();
    assert_eq!(numbers, (1..=settled.len() as u16).collect::<Vec<_>>(), "{:#?}", written.events);
    let (last, earlier) = settled.split_last().unwrap();
    assert!(earlier.iter().all(|settled| settled.call.is_none()));
    (settled.clone(), last.call.as_ref().unwrap())
}

#[tokio::test]
async fn a_stream_that_breaks_off_goes_on_at_the_next_target_as_one() {
    let first = format!("{}{}{}", start(), open("text"), text("one "));
    let scripts = vec![
        broken(&format!("{first}event: content_block_delta\ndata: {{\"type\":")),
        broken(&format!("{}{}{}", start(), open("text"), text(" two"))),
        stream(vec![say(&format!("{}{}{}{}", start(), open("text"), text(" three"), end()))]),
    ];
    let replay = Replay::in_turn(scripts).await;
    let stage = stage(&replay, ["anthropic", "anthropic"]).await;
    let answer = ask(&stage, json!({})).send().await.unwrap();
    assert_eq!(answer.headers()["x-tollgate-served-by"], "anthropic/claude-sonnet-4-5", "who began");
    let seen = answer.text().await.unwrap();
    let seam = |model: &str| format!(": tollgate: anthropic/{model} goes on\n\n");
    let wanted = format!(
        "{first}{}{}{}{}{}",
        seam("claude-haiku-4-5"),
        text("two"),
        seam("claude-sonnet-4-5"),
        text(" three"),
        end()
    );
    assert_eq!(seen, wanted);
    let asked: Vec<Value> = replay.asked().iter().map(|asked| serde_json::from_slice(&asked.body).unwrap()).collect();
    assert_eq!((asked.len(), asked[0]["messages"].as_array().unwrap().len()), (3, 1));
    for (number, said) in [(1, "one"), (2, "one two")] {
        assert_eq!(asked[number]["messages"][1], json!({ "role": "assistant", "content": said }));
        assert!(asked[number]["messages"].get(2).is_none());
    }
    let (_, written) = stage.end().await;
    let (settled, end) = attempts(&written);
    let outcomes: Vec<Outcome> = settled.iter().map(|settled| settled.outcome).collect();
    assert_eq!(outcomes, [Outcome::ProviderError, Outcome::ProviderError, Outcome::Complete]);
    assert!(settled[0].usage.completeness != Completeness::Exact && settled[0].usage.total().is_some());
    assert_eq!((end.attempts, end.outcome), (3, Outcome::Complete));
}

const OVERLOADED: &str =
    "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";

/// All that a client reads. Each time that it has read `one` the provider goes on.
async fn read(mut answer: reqwest::Response, replay: &Replay) -> String {
    let (mut seen, mut told) = (String::new(), 0);
    while let Some(chunk) = answer.chunk().await.unwrap() {
        seen.push_str(std::str::from_utf8(&chunk).unwrap());
        let said = seen.matches("\"one").count();
        (told..said).for_each(|_| replay.go_on());
        told = said;
    }
    seen
}

#[tokio::test]
async fn an_error_in_a_stream_and_an_end_without_the_last_event_are_gone_on_from() {
    let first = format!("{}{}{}", start(), open("text"), text("one "));
    let rest = stream(vec![say(&format!("{}{}{}{}", start(), open("text"), text("two"), end()))]);
    for last in [OVERLOADED, ""] {
        let ends = stream(vec![say(&first), Step::Wait, say(last)]);
        let replay = Replay::in_turn(vec![ends, rest.clone()]).await;
        let stage = stage(&replay, ["anthropic", "anthropic"]).await;
        let seen = read(ask(&stage, json!({})).send().await.unwrap(), &replay).await;
        let seam = ": tollgate: anthropic/claude-haiku-4-5 goes on\n\n";
        assert_eq!(seen, format!("{first}{seam}{}{}", text("two"), end()), "{last}");
        let (_, written) = stage.end().await;
        let (settled, end) = attempts(&written);
        assert_eq!((settled[0].outcome, end.attempts, end.outcome), (Outcome::ProviderError, 2, Outcome::Complete));
    }
}

#[tokio::test]
async fn an_error_that_comes_with_the_first_words_is_answered_by_another_from_the_start() {
    let failed = format!("{}{}{}{OVERLOADED}", start(), open("text"), text("one "));
    let whole = format!("{}{}{}{}", start(), open("text"), text("two"), end());
    let replay = Replay::in_turn(vec![stream(vec![say(&failed)]), stream(vec![say(&whole)])]).await;
    let stage = stage(&replay, ["anthropic", "anthropic"]).await;
    let seen = ask(&stage, json!({})).send().await.unwrap().text().await.unwrap();
    assert_eq!(seen, whole, "nobody has seen what was said before");
    assert_eq!(replay.asked()[0].body.len(), replay.asked()[1].body.len() + "sonnet".len() - "haiku".len());
    let (_, written) = stage.end().await;
    let (settled, end) = attempts(&written);
    assert_eq!((settled[0].outcome, end.attempts, end.outcome), (Outcome::ProviderError, 2, Outcome::Complete));
}

#[tokio::test]
async fn where_nobody_goes_on_the_client_has_the_end_that_came_and_the_call_ends_with_it() {
    let first = format!("{}{}{}", start(), open("text"), text("one"));
    // It says something that cannot be gone on with, nobody else takes it, or the last attempt fails as well.
    let thought = event(&json!({ "type": "content_block_start", "index": 1, "content_block": { "type": "thinking" } }));
    let refuses = answers("400 Bad Request", "{}");
    for last in [OVERLOADED, ""] {
        let ends = stream(vec![say(&first), Step::Wait, say(last)]);
        for (scripts, made) in [
            (vec![stream(vec![say(&format!("{first}{thought}")), Step::Wait, say(last)])], 1),
            (vec![ends.clone(), refuses.clone()], 2),
            (vec![ends.clone(), ends.clone(), ends.clone()], 3),
        ] {
            let replay = Replay::in_turn(scripts).await;
            let stage = stage(&replay, ["anthropic", "anthropic"]).await;
            let seen = read(ask(&stage, json!({})).send().await.unwrap(), &replay).await;
            assert!(seen.starts_with(&first) && seen.ends_with(last), "{seen}");
            assert_eq!(seen.matches("overloaded").count(), usize::from(!last.is_empty()), "{seen}");
            let (_, written) = stage.end().await;
            let (settled, end) = attempts(&written);
            assert_eq!((settled.len(), end.outcome, replay.asked().len()), (made, Outcome::ProviderError, made));
        }
    }
}

#[tokio::test]
async fn what_cannot_be_gone_on_with_breaks_off_as_ever() {
    let thought = format!("{}{}", start(), open("thinking"));
    let began = format!("{}{}{}", start(), open("text"), text("one"));
    for (first, rest, asked) in [(&thought, answers("200 OK", WHOLE), 1), (&began, answers("400 Bad Request", "{}"), 2)]
    {
        // Until something is said the next target is asked as ever, so what was thought has to come with its begin.
        let first = format!(
            "{first}{}",
            event(
                &json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "thinking_delta", "thinking": "hm" } })
            )
        );
        let replay = Replay::in_turn(vec![broken(&first), rest]).await;
        let stage = stage(&replay, ["anthropic", "anthropic"]).await;
        let mut answer = ask(&stage, json!({})).send().await.unwrap();
        let mut broke = false;
        loop {
            match answer.chunk().await {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => {
                    broke = true;
                    break;
                }
            }
        }
        assert!(broke, "the client must not take it for whole");
        let (_, written) = stage.end().await;
        let (settled, end) = attempts(&written);
        assert_eq!((end.outcome, settled.len()), (Outcome::ProviderError, replay.asked().len()));
        assert!(replay.asked().len() <= asked);
    }
}

#[tokio::test]
async fn a_stream_goes_on_after_the_causes_that_retry_names_and_after_no_other() {
    for (on, is_silent, goes_on) in [
        (Cause::Timeout, true, true),
        (Cause::Timeout, false, false),
        (Cause::Connection, true, false),
        (Cause::Connection, false, true),
    ] {
        let mut first = broken(&format!("{}{}{}", start(), open("text"), text("one ")));
        first.extend(is_silent.then_some(Step::Hang));
        let rest = stream(vec![say(&format!("{}{}{}{}", start(), open("text"), text("two"), end()))]);
        let replay = Replay::in_turn(vec![first, rest]).await;
        let stage = stage_of(&replay, ["anthropic", "anthropic"], Retry { on: vec![on], ..Retry::default() }).await;
        let answer = ask(&stage, json!({})).send().await.unwrap().text().await;
        assert_eq!(answer.is_ok(), goes_on, "{on:?} where it is silent: {is_silent}");
        let (_, written) = stage.end().await;
        assert_eq!(attempts(&written).0.len(), if goes_on { 2 } else { 1 });
    }
}

#[tokio::test]
async fn a_client_that_leaves_after_the_seam_ends_the_call_once() {
    let first = format!("{}{}{}", start(), open("text"), text("one"));
    let replay = Replay::in_turn(vec![broken(&first), vec![Step::Hang]]).await;
    let stage = stage(&replay, ["anthropic", "anthropic"]).await;
    let answer = ask(&stage, json!({})).send().await.unwrap();
    replay.was_asked(2).await;
    drop(answer);
    let (_, written) = stage.end().await;
    let (settled, end) = attempts(&written);
    assert_eq!((settled.len(), settled[0].outcome, end.attempts), (2, Outcome::ProviderError, 2));
}

#[tokio::test]
async fn who_cannot_have_it_is_told_before_anybody_is_asked() {
    let replay = Replay::start(answers("200 OK", WHOLE)).await;
    let same = stage(&replay, ["anthropic", "anthropic"]).await;
    let mixed = stage(&replay, ["anthropic", "openai"]).await;
    let of_chat =
        same.post("/v1/chat/completions", &chat(json!({ "stream": true }))).header("x-tollgate-failover", "mid-stream");
    let thinks = ask(&same, json!({ "thinking": { "type": "enabled", "budget_tokens": 1024 } }));
    for (call, code) in [
        (of_chat, "TG3051"),
        (thinks, "TG3051"),
        (ask(&mixed, json!({})), "TG3051"),
        (
            same.post("/v1/messages", &json!({ "model": "m", "max_tokens": 9, "messages": [] }))
                .header("x-tollgate-failover", "later"),
            "TG3015",
        ),
    ] {
        let answer = call.send().await.unwrap();
        assert_eq!(answer.status(), 400);
        let text = answer.text().await.unwrap();
        assert!(text.contains(code), "{text}");
    }
    assert_eq!(replay.asked().len(), 0);
    drop((same.end().await, mixed.end().await));
}
