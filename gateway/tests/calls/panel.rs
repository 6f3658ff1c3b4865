//! Models with a judge: all members are asked at once, each is an attempt of its own, and the judge answers the client.

use schemas::{
    config::{Judge, ModelRoute, Target, When},
    event::{CallEnd, Event, Outcome, Settled},
    limit::Dimension,
    tokens::Vector,
};
use serde_json::{Value, json};

use crate::{
    DONE, STOP, TEXT, USAGE, WHOLE,
    provider::{Replay, Step, json as answers, say, stream},
    stage::{Setting, Stage, Written, chat, eventually},
};

const ERROR: &str = r#"{"error":{"message":"overloaded","type":"server_error","param":null,"code":null}}"#;

fn target(provider: &str, model: &str) -> Target {
    Target::new(provider.into(), Some(model.into()))
}

/// A stage on which `m` is asked of `one` and `two`, and `chief` judges.
async fn stage(one: &Replay, two: &Replay, chief: &Replay, max_answer: u64) -> Stage {
    let targets = vec![target("one", "gpt-4o-mini"), target("two", "gpt-4.1-mini")];
    of(targets, [one, two, chief], max_answer).await
}

/// The same with other members.
async fn of(targets: Vec<Target>, [one, two, chief]: [&Replay; 3], max_answer: u64) -> Stage {
    let judge = Judge { target: target("chief", "gpt-4.1"), max_answer, instruction: Some("judge!".into()) };
    let models = vec![ModelRoute { name: "m".into(), targets, judge: Some(Box::new(judge)), ..ModelRoute::default() }];
    let others = vec![("one", one.address), ("two", two.address), ("chief", chief.address)];
    Stage::with(one.address, Setting { models, others, ..Setting::default() }).await
}

fn ask(stage: &Stage, more: Value) -> reqwest::RequestBuilder {
    let mut body = chat(more);
    body["model"] = "m".into();
    stage.post("/v1/chat/completions", &body)
}

fn whole(text: &str) -> String {
    WHOLE.replace("hello", text)
}

fn asked(replay: &Replay) -> Value {
    let asked = replay.asked();
    assert_eq!(asked.len(), 1);
    serde_json::from_slice(&asked[0].body).unwrap()
}

/// The attempts of the one call by their numbers, and its end, which is in the last record and only there.
fn attempts(written: &Written) -> (Vec<&Settled>, &CallEnd) {
    let mut settled = written.settled();
    let ends: Vec<&CallEnd> = settled.iter().filter_map(|settled| settled.call.as_ref()).collect();
    assert_eq!((ends.len(), settled.last().unwrap().call.is_some()), (1, true), "{:#?}", written.events);
    let end = ends[0];
    settled.sort_by_key(|settled| settled.attempt.attempt);
    let numbers: Vec<u16> = settled.iter().map(|settled| settled.attempt.attempt).collect();
    assert_eq!(numbers, (1..=settled.len() as u16).collect::<Vec<_>>());
    assert_eq!(written.admitted().len(), settled.len(), "each is admitted once");
    (settled, end)
}

/// Who was admitted and who was settled, in the order of the records.
fn order(written: &Written) -> Vec<(u16, bool)> {
    let order = written.events.iter().filter_map(|event| match event {
        Event::Admitted(admitted) => Some((admitted.attempt.attempt, true)),
        Event::Settled(settled) => Some((settled.attempt.attempt, false)),
        _ => None,
    });
    order.collect()
}

#[tokio::test]
async fn all_members_are_asked_at_once_and_the_judge_answers() {
    // Neither answers before both were asked.
    let held = |text: &str| [vec![Step::Wait], answers("200 OK", &whole(text))].concat();
    let (one, two) = (Replay::start(held("yes")).await, Replay::start(held("no")).await);
    let chief = Replay::start(answers("200 OK", &whole("maybe"))).await;
    let stage = stage(&one, &two, &chief, 1_000).await;
    let call = tokio::spawn(ask(&stage, json!({ "temperature": 0.5 })).send());
    one.was_asked(1).await;
    two.was_asked(1).await;
    assert_eq!(chief.asked().len(), 0);
    one.go_on();
    two.go_on();
    let answer = call.await.unwrap().unwrap();
    assert_eq!(answer.headers()["x-tollgate-served-by"], "chief/gpt-4.1");
    assert_eq!(answer.headers()["x-tollgate-attempts"], "3");
    assert_eq!(answer.text().await.unwrap(), whole("maybe"));
    let question = asked(&chief);
    assert_eq!((&question["model"], &question["temperature"]), (&json!("gpt-4.1"), &json!(0.5)));
    let text = "judge!\n\n<answer number=\"1\">\nyes\n</answer>\n\n<answer number=\"2\">\nno\n</answer>";
    assert_eq!(question["messages"][1], json!({ "role": "user", "content": text }));
    let (_, written) = stage.end().await;
    let (settled, end) = attempts(&written);
    let who: Vec<&str> = settled.iter().map(|settled| &*settled.attempt.provider).collect();
    assert_eq!(who, ["one", "two", "chief"]);
    assert!(settled.iter().all(|settled| settled.outcome == Outcome::Complete));
    let at = settled[0].attempt.admitted_at;
    assert!(settled.iter().all(|settled| settled.attempt.admitted_at == at), "they are admitted as a whole");
    let used = Vector { uncached_input: 18, output: 4, ..Vector::default() };
    assert_eq!((end.attempts, end.earlier, end.earlier_unknown), (3, used, false));
    assert!(end.earlier_cost.is_some_and(|cost| cost.0 > 0));
    let order = order(&written);
    assert_eq!(order[..2], [(1, true), (2, true)], "nobody is asked before all are written down");
    let last_member = order[4].0;
    assert_eq!(
        order[3..],
        [(3, true), (last_member, false), (3, false)],
        "the judge's admission stands before the last end"
    );
}

#[tokio::test]
async fn a_stream_begins_when_the_judge_does_and_members_are_asked_for_whole_answers() {
    let one = Replay::start(answers("200 OK", &whole("yes"))).await;
    let two = Replay::start(answers("500 Internal Server Error", ERROR)).await;
    let chief = Replay::start(stream(vec![say(TEXT), say(STOP), say(USAGE), say(DONE)])).await;
    let stage = stage(&one, &two, &chief, 1_000).await;
    let options = json!({ "stream": true, "stream_options": { "include_usage": true } });
    let answer = ask(&stage, options).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    assert_eq!(answer.text().await.unwrap(), format!("{TEXT}{STOP}{USAGE}{DONE}"));
    for member in [&one, &two] {
        let asked = asked(member);
        assert_eq!((&asked["stream"], &asked["stream_options"]), (&json!(false), &Value::Null));
    }
    let question = asked(&chief);
    assert_eq!(question["stream"], true);
    assert!(question["messages"][1]["content"].as_str().unwrap().ends_with("<answer number=\"1\">\nyes\n</answer>"));
    let (_, written) = stage.end().await;
    let (settled, end) = attempts(&written);
    let outcomes: Vec<Outcome> = settled.iter().map(|settled| settled.outcome).collect();
    assert_eq!(outcomes, [Outcome::Complete, Outcome::ProviderError, Outcome::Complete]);
    assert_eq!(settled.iter().map(|settled| settled.attempt.stream).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!((end.attempts, end.earlier_unknown), (3, true), "what the failure used nobody knows");
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_left_out_and_charged_all_the_same() {
    let one = Replay::start(answers("200 OK", &whole("yes"))).await;
    let two = Replay::start(answers("200 OK", &whole(&"long ".repeat(100)))).await;
    let chief = Replay::start(answers("200 OK", WHOLE)).await;
    let stage = stage(&one, &two, &chief, WHOLE.len() as u64).await;
    assert_eq!(ask(&stage, json!({})).send().await.unwrap().text().await.unwrap(), WHOLE);
    assert!(!asked(&chief)["messages"][1]["content"].as_str().unwrap().contains("long"));
    let (_, written) = stage.end().await;
    let settled = written.settled();
    assert_eq!(settled.iter().filter(|settled| settled.call.is_some()).count(), 1);
    let long = settled.iter().find(|settled| settled.attempt.provider == "two").unwrap();
    assert_eq!(long.usage.total().map(|used| used.total()), Some(11));
}

#[tokio::test]
async fn an_answer_that_could_be_longer_to_the_judge_than_was_held_for_is_left_out() {
    // A tokenizer may make 33 bytes of these 3.
    let dense = whole(&"\u{fdfa}".repeat(40));
    let most = dense.len() as u64;
    assert!(most < 33 * 40);
    let (one, two) =
        (Replay::start(answers("200 OK", &whole("yes"))).await, Replay::start(answers("200 OK", &dense)).await);
    let chief = Replay::start(answers("200 OK", WHOLE)).await;
    let stage = stage(&one, &two, &chief, most).await;
    assert_eq!(ask(&stage, json!({})).send().await.unwrap().text().await.unwrap(), WHOLE);
    let question = asked(&chief)["messages"][1]["content"].as_str().unwrap().to_owned();
    assert!(question.contains("yes") && !question.contains('\u{fdfa}'), "{question}");
    let _ = stage.end().await;
}

#[tokio::test]
async fn where_no_member_answers_the_judge_is_not_asked_and_the_call_ends_once() {
    for (status, body, retries) in [
        ("500 Internal Server Error", ERROR, None),
        ("400 Bad Request", ERROR, Some("false")),
        ("200 OK", r#"{"choices":[]}"#, None),
    ] {
        let one = Replay::start(answers(status, body)).await;
        let two = Replay::start(answers(status, body)).await;
        let chief = Replay::start(answers("200 OK", WHOLE)).await;
        let stage = stage(&one, &two, &chief, 1_000).await;
        let answer = ask(&stage, json!({})).send().await.unwrap();
        assert_eq!(answer.status(), 502);
        assert_eq!(answer.headers().get("x-should-retry").map(|value| value.to_str().unwrap()), retries, "{status}");
        let text = answer.text().await.unwrap();
        assert!(
            text.contains("TG4020") && text.contains("one/gpt-4o-mini") && text.contains("two/gpt-4.1-mini"),
            "{text}"
        );
        let (_, written) = stage.end().await;
        assert_eq!((attempts(&written).1.attempts, chief.asked().len()), (2, 0));
    }
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_call_once() {
    let one = Replay::start(answers("200 OK", WHOLE)).await;
    // It is waited for until the gateway goes down, since it may still be billed.
    let two = Replay::start(vec![Step::Hang]).await;
    let chief = Replay::start(answers("200 OK", WHOLE)).await;
    let stage = stage(&one, &two, &chief, 1_000).await;
    let call = tokio::spawn(ask(&stage, json!({})).send());
    one.was_asked(1).await;
    two.was_asked(1).await;
    call.abort();
    let (_, written) = stage.end().await;
    let (settled, end) = attempts(&written);
    assert_eq!((settled.len(), end.outcome, chief.asked().len()), (2, Outcome::ClientGone, 0));
}

#[tokio::test]
async fn a_judge_that_fails_is_the_answer_and_its_failure_an_attempt() {
    let one = Replay::start(answers("200 OK", WHOLE)).await;
    let chief = Replay::start(answers("503 Service Unavailable", ERROR)).await;
    let stage = stage(&one, &one, &chief, 1_000).await;
    let answer = ask(&stage, json!({})).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (503, ERROR));
    let (_, written) = stage.end().await;
    let (settled, end) = attempts(&written);
    assert_eq!((settled[2].outcome, end.outcome, end.attempts), (Outcome::ProviderError, Outcome::ProviderError, 3));
}

#[tokio::test]
async fn what_cannot_be_judged_is_refused_before_anybody_is_asked() {
    let one = Replay::start(answers("200 OK", WHOLE)).await;
    let stage = stage(&one, &one, &one, 1_000).await;
    let embed = json!({ "model": "m", "input": "hi" });
    for call in [ask(&stage, json!({ "n": 2 })), stage.post("/v1/embeddings", &embed)] {
        let answer = call.send().await.unwrap();
        assert_eq!(answer.status(), 400);
        assert!(answer.text().await.unwrap().contains("TG3050"));
    }
    eventually("nobody was asked", || one.asked().is_empty()).await;
    let (_, written) = stage.end().await;
    assert_eq!(written.settled().len(), 0);
}

#[tokio::test]
async fn a_member_that_cannot_be_asked_is_left_out_and_the_client_is_told() {
    let [one, two, chief] = [
        Replay::start(answers("200 OK", &whole("yes"))).await,
        Replay::start(answers("200 OK", &whole("no"))).await,
        Replay::start(answers("200 OK", &whole("maybe"))).await,
    ];
    // One has no place for a part of the request, one has no provider, and one is not for this call.
    let elsewhere = vec![When::Is(Dimension::Tag("env".into()), "prod".into())];
    let targets = vec![
        target("anthropic", "claude-sonnet-4-5"),
        target("one", "gpt-4o-mini"),
        target("gone", "x"),
        target("two", "gpt-4.1-mini"),
        Target { when: elsewhere, ..target("gone", "y") },
    ];
    let stage = of(targets, [&one, &two, &chief], 1_000).await;
    let answer = ask(&stage, json!({ "logit_bias": { "1": 1 } })).send().await.unwrap();
    assert_eq!(answer.headers()["x-tollgate-left-out"], "anthropic/claude-sonnet-4-5 (TG3025), gone/x (TG4001)");
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap()), (200, whole("maybe")));
    drop(stage.end().await);

    let pair = vec![target("one", "gpt-4o-mini"), target("two", "gpt-4.1-mini")];
    let all = of(pair, [&one, &two, &chief], 1_000).await;
    assert_eq!(ask(&all, json!({})).send().await.unwrap().headers().get("x-tollgate-left-out"), None);
    drop(all.end().await);
}

#[tokio::test]
async fn where_fewer_than_two_members_are_left_the_call_is_refused_with_why() {
    for (other, status, code) in
        [(target("anthropic", "claude-sonnet-4-5"), 400, "TG3025"), (target("gone", "x"), 502, "TG4001")]
    {
        let one = Replay::start(answers("200 OK", WHOLE)).await;
        let who = format!("{}/{} ({code})", other.provider, other.model.as_deref().unwrap());
        let stage = of(vec![target("one", "gpt-4o-mini"), other], [&one, &one, &one], 1_000).await;
        let answer = ask(&stage, json!({ "logit_bias": { "1": 1 } })).send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["x-should-retry"]),
            (status, &"false".parse().unwrap())
        );
        let told: Value = answer.json().await.unwrap();
        let message = told["error"]["message"].as_str().unwrap();
        assert!(told["error"]["code"] == code && message.contains(&who) && message.contains("of 2 only 1"), "{told}");
        let (_, written) = stage.end().await;
        assert_eq!((one.asked().len(), written.admitted().len()), (0, 0));
    }
    // And where none of the others answers, it is said of those who were left out as well.
    let fails = Replay::start(answers("500 Internal Server Error", ERROR)).await;
    let targets = vec![target("one", "gpt-4o-mini"), target("gone", "x"), target("two", "gpt-4.1-mini")];
    let stage = of(targets, [&fails, &fails, &fails], 1_000).await;
    let answer = ask(&stage, json!({})).send().await.unwrap();
    assert_eq!(answer.status(), 502);
    let text = answer.text().await.unwrap();
    assert!(text.contains("TG4020") && text.contains("of 3 members") && text.contains("gone/x (TG4001)"), "{text}");
    drop(stage.end().await);
}
