//! Answers that are kept and given again: to whom, for how long, what of them, and what the journal says of it.

use std::time::Duration;

use schemas::{
    config::{Caching, ModelRoute, Server, Target},
    event::{Api, Outcome, Settled},
    money::Pico,
    tokens::{Part, Usage, Vector},
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    DONE, STOP, TEXT, USAGE, WHOLE,
    dialects::{GEMINI, used},
    provider::{Replay, Step, json, say, stream},
    stage::{KEY, OTHER, Setting, Stage, Written, chat},
};

const HOUR: Caching = Caching { ttl: Duration::from_secs(3_600), max_answer: 1 << 20 };
/// 9 tokens of input and 2 of output, at 0.15 and 0.60 dollars a million.
const COST: Pico = Pico(9 * 150_000 + 2 * 600_000);

async fn start(replay: &Replay, models: Vec<ModelRoute>) -> Stage {
    Stage::with(replay.address, Setting { models, ..Setting::default() }).await
}

fn model(name: &str, targets: &[(&str, Option<&str>)], cache: Caching) -> ModelRoute {
    let target = |(provider, model): &(&str, Option<&str>)| Target::new((*provider).into(), model.map(Into::into));
    ModelRoute {
        name: name.into(),
        targets: targets.iter().map(target).collect(),
        cache: Some(cache),
        ..ModelRoute::default()
    }
}

fn mini(cache: Caching) -> Vec<ModelRoute> {
    vec![model("gpt-4o-mini", &[("openai", None)], cache)]
}

/// What the head says of the cache, and the body.
async fn got(request: reqwest::RequestBuilder) -> (String, String) {
    let answer = request.send().await.unwrap();
    let said = answer.headers().get("x-tollgate-cache").map_or("", |value| value.to_str().unwrap()).to_owned();
    assert_eq!(answer.headers().contains_key("age"), said == "hit");
    (said, answer.text().await.unwrap())
}

/// Asks in turn, with these bodies; each is answered as the provider does, and the cache says this of it.
async fn check(stage: &Stage, path: &str, calls: &[(&Value, &str)]) {
    let mut first: Option<String> = None;
    for (body, wanted) in calls {
        let (said, text) = got(stage.post(path, body)).await;
        assert_eq!(said, *wanted, "{body}");
        assert_eq!(first.get_or_insert(text.clone()), &text, "{body}");
    }
}

/// The records of calls that were given what was kept: each is the only one of its call.
fn hits(written: &Written) -> Vec<&Settled> {
    let calls: Vec<_> = written.admitted().into_iter().map(|admitted| admitted.attempt.call).collect();
    let hits: Vec<_> = written.settled().into_iter().filter(|settled| settled.avoided.is_some()).collect();
    assert!(hits.iter().all(|hit| !calls.contains(&hit.attempt.call)));
    assert!(written.ends().values().all(|ends| *ends == 1));
    hits
}

#[tokio::test]
async fn the_same_call_is_answered_once_and_the_second_record_says_what_that_saved() {
    let replay = Replay::start(json("200 OK", WHOLE)).await;
    let stage = start(&replay, mini(HOUR)).await;
    let ask = || stage.post("/v1/chat/completions", &chat(json!({}))).header("x-tollgate-session-id", "s");
    let first = ask().send().await.unwrap();
    assert_eq!(first.headers()["x-tollgate-cache"], "miss");
    assert_eq!(first.text().await.unwrap(), WHOLE);
    let second = ask().send().await.unwrap();
    let (status, headers) = (second.status(), second.headers().clone());
    assert_eq!((status.as_u16(), second.text().await.unwrap().as_str()), (200, WHOLE));
    assert_eq!(
        [&headers["x-tollgate-cache"], &headers["age"], &headers["content-type"]],
        ["hit", "0", "application/json"]
    );
    assert_eq!(headers["x-tollgate-served-by"], "openai/gpt-4o-mini");
    assert_eq!(replay.asked().len(), 1);
    let (_, written) = stage.end().await;
    let (paid, hits) = (written.settled()[0], hits(&written));
    let [hit] = hits.as_slice() else { panic!("{hits:?}") };
    assert_eq!(headers["x-tollgate-call-id"], hit.attempt.call.to_string().as_str());
    assert_ne!(hit.attempt.call, paid.attempt.call);
    assert_eq!((hit.outcome, hit.status, &hit.usage), (Outcome::Complete, 0, &Usage::none()));
    assert!(hit.posted.is_empty() && hit.counters.is_empty() && paid.avoided.is_none());
    let avoided = hit.avoided.as_ref().unwrap();
    let vector = Vector { uncached_input: 9, output: 2, ..Vector::default() };
    assert_eq!((&avoided.parts, avoided.cost), (&vec![Part { model: None, vector }], Some(COST)));
    let alike = |settled: &Settled| {
        let attempt = settled.attempt.clone();
        (attempt.provider, attempt.model, attempt.api, attempt.book, settled.response_id.clone())
    };
    assert_eq!(alike(hit), alike(paid));
    let end = hit.call.as_ref().unwrap();
    assert_eq!((end.attempts, end.outcome, &*end.session_id), (0, Outcome::Complete, "s"));
}

#[tokio::test]
async fn a_stream_is_given_again_as_it_was_shown() {
    let replay = Replay::start(stream(vec![say(TEXT), say(STOP), say(USAGE), say(DONE)])).await;
    let stage = start(&replay, mini(HOUR)).await;
    let (shown, plain) =
        (chat(json!({ "stream": true, "stream_options": { "include_usage": true } })), chat(json!({ "stream": true })));
    check(&stage, "/v1/chat/completions", &[(&shown, "miss"), (&shown, "hit")]).await;
    check(&stage, "/v1/chat/completions", &[(&plain, "miss"), (&plain, "hit")]).await;
    let (_, text) = got(stage.post("/v1/chat/completions", &plain)).await;
    assert_eq!(text, format!("{TEXT}{STOP}{DONE}"), "what the client did not ask for is not kept");
    assert_eq!(replay.asked().len(), 2);
    let (_, written) = stage.end().await;
    let costs: Vec<_> =
        hits(&written).iter().map(|hit| (hit.attempt.stream, hit.avoided.clone().unwrap().cost)).collect();
    assert_eq!(costs, vec![(true, Some(COST)); 3]);
}

#[tokio::test]
async fn only_the_very_same_of_the_same_tenant_is_the_same() {
    let replay = Replay::start(json("200 OK", WHOLE)).await;
    let stage = start(&replay, mini(HOUR)).await;
    let (path, body) = ("/v1/chat/completions", chat(json!({})));
    let ask = |path: &str, body: &Value| stage.post(path, body);
    assert_eq!(got(ask(path, &body)).await.0, "miss");
    let other = stage.http.post(stage.url(path)).bearer_auth(OTHER).json(&body);
    for (another, wanted) in [
        (other.try_clone().unwrap(), "miss"),
        (ask(path, &chat(json!({ "temperature": 1 }))), "miss"),
        (ask("/v1/chat/completions?a=b", &body), "miss"),
        (ask("/openai/v1/chat/completions", &body), "miss"),
        (ask(path, &body).header("openai-beta", "x"), "miss"),
        (ask(path, &body).header("x-custom", "forwarded"), "miss"),
        (ask(path, &body).header("user-agent", "another").header("x-other", "1"), "hit"),
        (other, "hit"),
    ] {
        assert_eq!(got(another).await.0, wanted);
    }
    let nobody = stage.http.post(stage.url(path)).bearer_auth("tg-nobody").json(&body).send().await.unwrap();
    assert_eq!(nobody.status(), 401);
    let (_, written) = stage.end().await;
    let tenants: Vec<_> = hits(&written).iter().map(|hit| hit.attempt.subject.tenant.clone()).collect();
    assert_eq!(tenants, ["acme", "globex"]);
}

#[tokio::test]
async fn a_client_says_what_the_cache_may_do() {
    let replay = Replay::start(json("200 OK", WHOLE)).await;
    let stage = start(&replay, mini(HOUR)).await;
    let ask = |said: &'static str| stage.post("/v1/chat/completions", &chat(json!({}))).header("cache-control", said);
    let absent = ask("only-if-cached").send().await.unwrap();
    assert_eq!((absent.status().as_u16(), &absent.headers()["x-should-retry"]), (504, &"false".parse().unwrap()));
    let error: Value = absent.json().await.unwrap();
    assert_eq!(error["error"]["code"], "TG3034");
    for (said, wanted, asked) in [
        ("no-store", "bypass", 1),
        ("", "miss", 2),
        ("no-store", "bypass", 3),
        ("only-if-cached", "hit", 3),
        ("no-cache", "miss", 4),
        ("max-age=0", "miss", 5),
        ("max-age=3000", "hit", 5),
    ] {
        assert_eq!(got(ask(said)).await.0, wanted, "{said}");
        assert_eq!(replay.asked().len(), asked, "{said}");
    }
    drop(stage.end().await);
}

#[tokio::test]
async fn what_is_too_old_too_large_or_not_to_be_had_again_is_asked_each_time() {
    let replay = Replay::start(json("200 OK", WHOLE)).await;
    let soon = Caching { ttl: Duration::from_nanos(1), ..HOUR };
    let small = Caching { max_answer: WHOLE.len() as u64 - 1, ..HOUR };
    let stage = start(
        &replay,
        [
            mini(soon),
            vec![
                model("small", &[("openai", None)], small),
                model("fits", &[("openai", None)], Caching { max_answer: WHOLE.len() as u64, ..HOUR }),
            ],
        ]
        .concat(),
    )
    .await;
    let path = "/v1/chat/completions";
    let of = |model: &str, more: Value| {
        let mut body = chat(more);
        body["model"] = json!(model);
        body
    };
    let (old, large, fits) = (of("gpt-4o-mini", json!({})), of("small", json!({})), of("fits", json!({})));
    check(
        &stage,
        path,
        &[(&old, "miss"), (&old, "miss"), (&large, "miss"), (&large, "miss"), (&fits, "miss"), (&fits, "hit")],
    )
    .await;
    let stored = of("fits", json!({ "store": true }));
    check(&stage, path, &[(&stored, "bypass"), (&stored, "bypass")]).await;
    let plain = of("gpt-4o", json!({}));
    check(&stage, path, &[(&plain, ""), (&plain, "")]).await;
    let (_, written) = stage.end().await;
    assert_eq!((hits(&written).len(), written.admitted().len()), (1, 9));
}

#[tokio::test]
async fn what_was_refused_or_cut_is_not_kept() {
    let (refused, failed) = (json("400 Bad Request", "{}"), json("500 Internal Server Error", "{}"));
    let cut = stream(vec![say(TEXT)]);
    let short = vec![say(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\nconnection: close\r\n\r\n{\"id\"",
    )];
    for (script, streams) in [(refused, false), (failed, false), (cut, true), (short, false)] {
        let replay = Replay::in_turn(vec![script, json("200 OK", WHOLE)]).await;
        let stage = start(&replay, mini(HOUR)).await;
        let body = chat(json!({ "stream": streams }));
        if let Ok(answer) = stage.post("/v1/chat/completions", &body).send().await {
            // Of what breaks off the text may be an error.
            let _ = answer.text().await;
        }
        assert_eq!(got(stage.post("/v1/chat/completions", &body)).await.0, "miss");
        assert_eq!(got(stage.post("/v1/chat/completions", &body)).await.0, "hit");
        drop(stage.end().await);
    }
}

#[tokio::test]
async fn what_states_no_use_or_ends_without_its_mark_is_not_kept() {
    let silent = r#"{"id":"c","object":"chat.completion","model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}]}"#;
    for (script, streams) in [
        (json("200 OK", silent), false),
        (stream(vec![say(TEXT), say(STOP), say(DONE)]), true),
        (stream(vec![say(TEXT), say(STOP), say(USAGE)]), true),
    ] {
        let replay = Replay::start(script).await;
        let stage = start(&replay, mini(HOUR)).await;
        let body = chat(json!({ "stream": streams }));
        check(&stage, "/v1/chat/completions", &[(&body, "miss"), (&body, "miss")]).await;
        let (_, written) = stage.end().await;
        assert!(hits(&written).is_empty() && written.settled().iter().all(|end| end.outcome == Outcome::Complete));
    }
}

/// It may do better the next time.
#[tokio::test]
async fn an_answer_in_which_the_model_failed_is_not_kept() {
    let malformed = GEMINI.replace("\"STOP\"", "\"MALFORMED_FUNCTION_CALL\"");
    let frame = format!("data: {malformed}\r\n\r\n");
    let failed =
        WHOLE.replace(r#""finish_reason":"stop""#, r#""finish_reason":"error","error":{"code":502,"message":"m"}"#);
    let contents = json!({ "contents": [{ "role": "user", "parts": [{ "text": "hi" }] }] });
    for (script, path, body) in [
        (json("200 OK", &failed), "/v1/chat/completions", chat(json!({}))),
        (json("200 OK", &malformed), "/v1beta/models/quick:generateContent", contents),
        (stream(vec![say(&frame)]), "/v1/chat/completions", chat(json!({ "model": "quick", "stream": true }))),
    ] {
        let replay = Replay::start(script).await;
        let quick = model("quick", &[("gemini", Some("gemini-2.5-flash"))], HOUR);
        let stage = start(&replay, mini(HOUR).into_iter().chain([quick]).collect()).await;
        for _ in 0..2 {
            assert_eq!(got(stage.post(path, &body)).await.0, "miss", "{body}");
        }
        let (_, written) = stage.end().await;
        assert!(hits(&written).is_empty(), "{body}");
        assert!(written.settled().iter().all(|end| end.outcome == Outcome::ProviderError), "{body}");
    }
}

/// Its provider has said all that an answer says, and only the translation knows that there is none in it, or that nobody can read it.
#[tokio::test]
async fn a_stream_that_is_an_error_to_its_client_is_not_kept() {
    let later = GEMINI.replace(r#"{"text":"hi"}"#, "").replace("\"STOP\"", "\"LATER\"");
    let frame = format!("data: {later}\r\n\r\n");
    let odd = TEXT.replace("\"hello\"", "5");
    for (script, name, outcome) in [
        (stream(vec![say(USAGE), say(DONE)]), "gpt-4o-mini", Outcome::ProviderError),
        // What cannot be carried to this client was an answer at its provider.
        (stream(vec![say(TEXT), say(&odd), say(STOP), say(USAGE), say(DONE)]), "gpt-4o-mini", Outcome::Complete),
        (stream(vec![say(&frame)]), "quick", Outcome::ProviderError),
    ] {
        let replay = Replay::start(script).await;
        let quick = model("quick", &[("gemini", Some("gemini-2.5-flash"))], HOUR);
        let stage = start(&replay, mini(HOUR).into_iter().chain([quick]).collect()).await;
        let body = json!({ "model": name, "stream": true, "max_tokens": 9, "messages": [{ "role": "user", "content": "hi" }] });
        for _ in 0..2 {
            let (said, told) = got(stage.post("/v1/messages", &body)).await;
            assert_eq!(said, "miss", "{told}");
            assert!(told.contains("event: error\n"), "{told}");
        }
        let (_, written) = stage.end().await;
        assert!(hits(&written).is_empty());
        assert!(written.settled().iter().all(|end| end.outcome == outcome), "{name} {outcome:?}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_leaves_nothing() {
    let replay = Replay::start(stream(vec![say(TEXT), Step::Wait, say(STOP), say(USAGE), say(DONE)])).await;
    let stage = start(&replay, mini(HOUR)).await;
    let body = chat(json!({ "stream": true }));
    let text = body.to_string();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\naccept: */*\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        text.len()
    );
    let mut client = tokio::net::TcpStream::connect(stage.address).await.unwrap();
    client.write_all(format!("{head}{text}").as_bytes()).await.unwrap();
    replay.was_asked(1).await;
    // The client closes its side; that the gateway closes its own shows that it has noticed.
    client.shutdown().await.unwrap();
    let _ = client.read_to_end(&mut Vec::new()).await;
    replay.go_on();
    let again = stage.post("/v1/chat/completions", &body).send().await.unwrap();
    assert_eq!(again.headers()["x-tollgate-cache"], "miss");
    replay.go_on();
    assert_eq!(again.text().await.unwrap(), format!("{TEXT}{STOP}{DONE}"));
    assert_eq!(got(stage.post("/v1/chat/completions", &body)).await.0, "hit");
    drop(stage.end().await);
}

#[tokio::test]
async fn a_translated_answer_is_kept_in_the_words_of_its_client() {
    let replay = Replay::start(json("200 OK", GEMINI)).await;
    let stage = start(&replay, vec![model("fast-again", &[("gemini", Some("gemini-2.5-flash"))], HOUR)]).await;
    let body = json!({ "model": "fast-again", "user": "u", "messages": [{ "role": "user", "content": "hi" }] });
    check(&stage, "/v1/chat/completions", &[(&body, "miss"), (&body, "hit")]).await;
    let answer = stage.post("/v1/chat/completions", &body).send().await.unwrap();
    assert_eq!([&answer.headers()["x-tollgate-cache"], &answer.headers()["x-tollgate-not-carried"]], ["hit", "user"]);
    assert_eq!(answer.json::<Value>().await.unwrap()["object"], "chat.completion");
    assert_eq!(replay.asked().len(), 1);
    let (_, written) = stage.end().await;
    let hits = hits(&written);
    assert_eq!(
        (hits.len(), hits[0].attempt.api, &*hits[0].attempt.model),
        (2, Api::GeminiGenerateContent, "gemini-2.5-flash")
    );
    assert_eq!((&*hits[0].attempt.model_requested, &*hits[0].attempt.provider), ("fast-again", "gemini"));
    let vector = Vector { reasoning: 3, ..used(7, 5) };
    assert_eq!(hits[0].avoided.as_ref().unwrap().parts, [Part { model: None, vector }]);
}

#[tokio::test]
async fn a_translated_stream_is_kept_too_and_nothing_that_the_gateway_says_on_the_way() {
    let frame = format!("data: {GEMINI}\r\n\r\n");
    let replay = Replay::start(stream(vec![Step::Wait, say(&frame)])).await;
    let server =
        Server { keepalive_comment: Duration::from_millis(1), drain: Duration::from_secs(2), ..Server::default() };
    let models = vec![model("fast-again", &[("gemini", Some("gemini-2.5-flash"))], HOUR)];
    let stage = Stage::with(replay.address, Setting { models, server, ..Setting::default() }).await;
    let body = json!({ "model": "fast-again", "stream": true, "max_tokens": 9, "messages": [{ "role": "user", "content": "hi" }] });
    let mut answer = stage.post("/v1/messages", &body).send().await.unwrap();
    let mut seen = answer.chunk().await.unwrap().unwrap().to_vec();
    assert!(seen.starts_with(b": keep-alive\n\n"), "the provider has said nothing yet");
    replay.go_on();
    seen.extend(answer.bytes().await.unwrap());
    let (said, again) = got(stage.post("/v1/messages", &body)).await;
    assert_eq!(said, "hit");
    assert_eq!(String::from_utf8(seen).unwrap().replace(": keep-alive\n\n", ""), again);
    assert!(again.starts_with("event: message_start\n") && again.contains("event: message_stop\n"), "{again}");
    let (_, written) = stage.end().await;
    assert_eq!(hits(&written).len(), 1);
}

#[tokio::test]
async fn an_answer_of_a_target_that_the_call_does_not_go_to_is_not_given() {
    let replay = Replay::start(json("200 OK", WHOLE)).await;
    let when = |tag: &str, model: &str| Target {
        when: vec![schemas::config::When::Header("x-tier".into(), tag.into())],
        ..Target::new("openai".into(), Some(model.into()))
    };
    let route =
        ModelRoute { targets: vec![when("gold", "gpt-4o"), when("lead", "gpt-4o-mini")], ..model("tiered", &[], HOUR) };
    let stage = start(&replay, vec![route]).await;
    let body = json!({ "model": "tiered", "messages": [{ "role": "user", "content": "hi" }] });
    let ask = |tier: &'static str| stage.post("/v1/chat/completions", &body).header("x-tier", tier);
    for (tier, wanted) in [("gold", "miss"), ("gold", "hit"), ("lead", "miss"), ("lead", "hit")] {
        assert_eq!(got(ask(tier)).await.0, wanted, "{tier}");
    }
    assert_eq!(ask("tin").send().await.unwrap().status(), 404, "who may not ask is not told either");
    drop(stage.end().await);
}

#[tokio::test]
async fn a_body_of_two_megabytes_is_the_same_too() {
    let answer = r#"{"object":"list","model":"text-embedding-3-small","data":[{"object":"embedding","index":0,"embedding":[0.5]}],"usage":{"prompt_tokens":9,"total_tokens":9}}"#;
    let replay = Replay::start(json("200 OK", answer)).await;
    let stage = start(&replay, vec![model("text-embedding-3-small", &[("openai", None)], HOUR)]).await;
    let of =
        |last: &str| json!({ "model": "text-embedding-3-small", "input": format!("{}{last}", "x".repeat(2 << 20)) });
    check(&stage, "/v1/embeddings", &[(&of("a"), "miss"), (&of("a"), "hit"), (&of("b"), "miss"), (&of("b"), "hit")])
        .await;
    drop(stage.end().await);
}

/// Asks so often at once, and lets the provider go on once it was asked.
async fn at_once(stage: &Stage, replay: &Replay, calls: usize) -> Vec<(String, String)> {
    let ask = || tokio::spawn(got(stage.post("/v1/chat/completions", &chat(json!({})))));
    let first = ask();
    replay.was_asked(1).await;
    let others: Vec<_> = (1..calls).map(|_| ask()).collect();
    // What the gateway has taken in before it is asked for another body has come to its cache.
    let other = stage.post("/v1/chat/completions", &chat(json!({ "seed": 1 }))).send();
    replay.go_on();
    drop(other.await.unwrap());
    let mut answers = vec![first.await.unwrap()];
    for other in others {
        answers.push(other.await.unwrap());
    }
    answers
}

#[tokio::test]
async fn calls_that_come_together_are_answered_by_one() {
    let replay = Replay::in_turn(vec![[vec![Step::Wait], json("200 OK", WHOLE)].concat(), json("200 OK", WHOLE)]).await;
    let stage = start(&replay, mini(HOUR)).await;
    let answers = at_once(&stage, &replay, 6).await;
    assert_eq!(answers[0], ("miss".to_owned(), WHOLE.to_owned()));
    assert!(answers[1..].iter().all(|answer| *answer == ("hit".to_owned(), WHOLE.to_owned())), "{answers:?}");
    assert_eq!(replay.asked().len(), 2, "with the one that was another call");
    let (_, written) = stage.end().await;
    let hits = hits(&written);
    assert!(hits.len() == 5 && hits.iter().all(|hit| hit.avoided.as_ref().unwrap().cost == Some(COST)));
}

#[tokio::test]
async fn where_the_first_fails_the_others_go_on_by_themselves() {
    let failed = [vec![Step::Wait], json("500 Internal Server Error", "{}")].concat();
    let replay = Replay::in_turn(vec![failed, json("200 OK", WHOLE)]).await;
    let stage = start(&replay, mini(HOUR)).await;
    let answers = at_once(&stage, &replay, 4).await;
    assert_eq!(answers[0], ("miss".to_owned(), "{}".to_owned()));
    assert!(answers[1..].iter().all(|answer| answer.1 == WHOLE), "{answers:?}");
    let (_, written) = stage.end().await;
    assert!(written.ends().values().all(|ends| *ends == 1));
}
