//! The cap that is sent is the one that is held: where a server may pass over the field that a client chose, it is not relied on.

use schemas::{
    config::{ModelRoute, Target},
    fixture,
    limit::{Limit, Mode, Unit, Window},
};

use super::*;

/// A stage where acme is under these limits, and `deepseek-*` goes to a provider of that name.
async fn under(limits: Vec<Limit>, replay: &Replay) -> Stage {
    let deepseek = ModelRoute {
        name: "deepseek-*".into(),
        targets: vec![Target::new("deepseek".into(), None)],
        ..ModelRoute::default()
    };
    let others = vec![("deepseek", replay.address)];
    Stage::with(replay.address, Setting { limits, models: vec![deepseek], others, ..Setting::default() }).await
}

fn output() -> Limit {
    Limit { unit: Unit::OutputTokens, ..fixture::limit(1_000_000, Window::Month) }
}

/// A request as a client writes it, with these members at its end.
fn body(model: &str, more: &str) -> String {
    format!(r#"{{"model" : "{model}", "messages":[{{"role":"user","content":"hi"}}]{more}}}"#)
}

async fn post(stage: &Stage, path: &str, body: &str) -> reqwest::Response {
    stage.http.post(stage.url(path)).bearer_auth(KEY).body(body.to_owned()).send().await.unwrap()
}

const CHAT: &str = "/v1/chat/completions";

#[tokio::test]
async fn what_is_held_is_the_cap_that_the_provider_heeds() {
    const OLD: &str = "gpt-4o-mini";
    const NEW: &str = "gpt-5-mini";
    #[rustfmt::skip]
    let cases = [
        // The model; what stands in the request; what is sent; what is held; what the client is told.
        (OLD, r#","max_tokens":5"#, r#","max_tokens":5"#, 5, None),
        (OLD, r#","max_completion_tokens":5"#, r#","max_tokens":5"#, 5, None),
        (OLD, r#","max_tokens":5,"max_completion_tokens":9"#, r#","max_tokens":5,"max_completion_tokens":5"#, 5, Some("5")),
        (OLD, r#","max_tokens":9,"max_completion_tokens":5"#, r#","max_tokens":9,"max_completion_tokens":5"#, 9, None),
        (OLD, r#","max_tokens":null,"max_completion_tokens":5"#, r#","max_tokens":5,"max_completion_tokens":null"#, 5, None),
        (OLD, r#","max_tokens":0"#, r#","max_tokens":16384"#, 16_384, Some("16384")),
        (OLD, r#","max_completion_tokens":0,"n":2"#, r#","max_tokens":16384,"n":2"#, 2 * 16_384, Some("16384")),
        (NEW, r#","max_completion_tokens":5"#, r#","max_completion_tokens":5"#, 5, None),
        (NEW, r#","max_tokens" : 5"#, r#","max_completion_tokens" : 5"#, 5, None),
        (NEW, r#","max_completion_tokens":0"#, r#","max_completion_tokens":128000"#, 128_000, Some("128000")),
        // Of this one no maximum is known.
        ("deepseek-v3.2", r#","max_completion_tokens":5"#, r#","max_tokens":5"#, 5, None),
        ("deepseek-v3.2", r#","max_tokens":5"#, r#","max_tokens":5"#, 5, None),
        // Azure refuses what it does not heed, and both together.
        ("deployed", r#","max_completion_tokens":5"#, r#","max_completion_tokens":5"#, 5, None),
        ("deployed", r#","max_tokens":5"#, r#","max_tokens":5"#, 5, None),
        ("deployed", r#","max_tokens":5,"max_completion_tokens":9"#, r#","max_tokens":5,"max_completion_tokens":9"#, 9, None),
    ];
    for (model, stated, sent, held, told) in cases {
        let replay = Replay::start(json("200 OK", WHOLE)).await;
        let stage = under(vec![output()], &replay).await;
        let answer = post(&stage, CHAT, &body(model, stated)).await;
        assert_eq!(answer.status(), 200, "{model}{stated}");
        let capped = answer.headers().get("x-tollgate-capped").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(capped.as_deref(), told, "{model}{stated}");
        let asked = String::from_utf8(replay.asked().remove(0).body).unwrap();
        let named = if model == "deployed" { "my-gpt" } else { model };
        let wanted = [body(model, sent), body(named, sent)];
        assert!(wanted.contains(&asked), "{model}{stated}: {asked}");
        let (_, written) = stage.end().await;
        let holds: Vec<i128> = written.admitted()[0].holds.iter().map(|hold| hold.amount).collect();
        assert_eq!(holds, [held], "{model}{stated}");
    }
}

#[tokio::test]
async fn a_stream_that_is_held_by_the_slice_has_its_cap_where_it_is_heeded() {
    let replay = Replay::start(stream(vec![say(TEXT), say(STOP), say(USAGE), say(DONE)])).await;
    let stage = under(vec![Limit { slices: true, ..output() }], &replay).await;
    let streamed = r#","stream":true,"stream_options":{"include_usage":true}"#;
    let answer = post(&stage, CHAT, &body("gpt-4o-mini", &format!(r#"{streamed},"max_completion_tokens":5"#))).await;
    assert_eq!(answer.text().await.unwrap(), [TEXT, STOP, USAGE, DONE].concat());
    let asked = String::from_utf8(replay.asked().remove(0).body).unwrap();
    assert_eq!(asked, body("gpt-4o-mini", &format!(r#"{streamed},"max_tokens":5"#)));
    drop(stage.end().await);
}

#[tokio::test]
async fn where_no_limit_needs_a_bound_a_body_passes_as_it_is() {
    let unit = |unit| Limit { unit, ..fixture::limit(1_000_000, Window::Month) };
    let soft = Limit { mode: Mode::Soft, ..output() };
    for limits in [vec![], vec![unit(Unit::Requests), unit(Unit::InputTokens)], vec![soft]] {
        for caps in
            ["", r#","max_completion_tokens":5"#, r#","max_tokens":0"#, r#","max_tokens":5,"max_completion_tokens":9"#]
        {
            let replay = Replay::start(json("200 OK", WHOLE)).await;
            let stage = under(limits.clone(), &replay).await;
            let answer = post(&stage, CHAT, &body("gpt-4o-mini", caps)).await;
            assert_eq!((answer.status().as_u16(), answer.headers().get("x-tollgate-capped")), (200, None), "{caps}");
            assert_eq!(String::from_utf8(replay.asked().remove(0).body).unwrap(), body("gpt-4o-mini", caps));
            drop(stage.end().await);
        }
    }
}

#[tokio::test]
async fn a_search_of_the_web_is_not_asked_for_under_a_hard_limit() {
    let capped = r#","max_tokens":5"#;
    for (model, more, is_asked) in [
        ("gpt-4o-mini", "", true),
        ("gpt-4o-mini:online", "", false),
        ("gpt-4o-mini:free:online", "", false),
        ("gpt-4o-mini", r#","plugins":[{"id":"web"}]"#, false),
        ("gpt-4o-mini", r#","web_search_options":{}"#, false),
    ] {
        let replay = Replay::start(json("200 OK", WHOLE)).await;
        let stage = under(vec![fixture::limit(1_000_000, Window::Month)], &replay).await;
        let answer = post(&stage, CHAT, &body(model, &format!("{capped}{more}"))).await;
        let (status, told) = (answer.status().as_u16(), answer.text().await.unwrap());
        assert_eq!((status == 200, replay.asked().len()), (is_asked, usize::from(is_asked)), "{model}{more}: {told}");
        assert!(is_asked || told.contains("TG2002"), "{model}{more}: {told}");
        drop(stage.end().await);
    }
}

#[tokio::test]
async fn a_moderation_passes_hard_limits_of_every_unit() {
    let units = [Unit::Tokens, Unit::InputTokens, Unit::OutputTokens, Unit::ToolCalls, Unit::Usd];
    let limit = |unit: Unit| Limit { unit, ..fixture::limit(1_000_000_000_000, Window::Month) };
    let replay = Replay::start(json("200 OK", r#"{"id":"m","model":"omni-moderation","results":[]}"#)).await;
    let stage = under(units.map(limit).to_vec(), &replay).await;
    let answer = post(&stage, "/v1/moderations", r#"{"model":"gpt-4o-mini","input":"hello"}"#).await;
    assert_eq!(answer.status(), 200);
    let (_, written) = stage.end().await;
    let posted: Vec<(i128, i128)> =
        written.one().posted.iter().map(|posting| (posting.used, posting.provision)).collect();
    assert_eq!(posted, [(0, 0); 5]);
}

#[tokio::test]
async fn who_asks_for_another_is_told_which_cap_to_write() {
    let stage = under(vec![output()], &Replay::start(json("200 OK", WHOLE)).await).await;
    for (provider, caps, told) in [
        ("openai", r#","max_tokens":5"#, Value::Null),
        ("openai", r#","max_completion_tokens":5"#, json!({ "member": "max_tokens", "tokens": 5 })),
        ("openai", r#","max_tokens":0"#, json!({ "member": "max_tokens", "tokens": 16_384 })),
        ("azure", r#","max_completion_tokens":5"#, Value::Null),
        ("elsewhere", r#","max_completion_tokens":5"#, json!({ "member": "max_tokens", "tokens": 5 })),
    ] {
        let check =
            format!(r#"{{"provider":"{provider}","api":"openai.chat","request":{}}}"#, body("gpt-4o-mini", caps));
        let answer = post(&stage, "/v1/check", &check).await;
        let (status, answer) = (answer.status().as_u16(), answer.json::<Value>().await.unwrap());
        assert_eq!((status, &answer["cap"]), (200, &told), "{provider}{caps}: {answer}");
    }
    drop(stage.end().await);
}
