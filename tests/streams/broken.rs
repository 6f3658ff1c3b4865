//! Streams that end too early: what was relayed is settled, and what more may be billed stays held.

use super::*;

/// A client that goes away does not buy what it could not have bought by staying: where only a slice is held, nobody asks for the rest.
#[tokio::test]
async fn a_stream_of_which_a_slice_is_held_ends_when_its_client_leaves() {
    let house = House::open(vec![sliced(2_000)]).await;
    let mut answer = house.chat("sandbox/20000", json!({ "stream": true })).await;
    let mut came = String::new();
    while !came.contains("gate ") {
        came.push_str(std::str::from_utf8(&answer.chunk().await.unwrap().unwrap()).unwrap());
    }
    drop(answer);
    let ledger = house.ledger(1).await;
    let (settled, posted) = (&ledger.settled[0], ledger.settled[0].posted[0]);
    assert_eq!((settled.outcome, ledger.overrun), (Outcome::ClientGone, 0));
    // What it was given is known, and not called nothing.
    assert_eq!(settled.usage.completeness, Completeness::Estimated(Doubt::ClientLeft), "{:?}", settled.usage);
    let used = settled.usage.total().unwrap();
    assert!(used.output > 0 && used.input() > 0 && posted.used == i128::from(used.total()), "{settled:?}");
    assert!(posted.used + posted.provision <= 2_000 && posted.provision > 0, "{posted:?}");
}

/// A provider that breaks off has been asked, and has answered so much: that is settled, and what more it may bill stays held.
#[tokio::test]
async fn of_an_answer_that_breaks_off_what_was_relayed_is_settled_and_the_rest_held() {
    let chunk = r#"data: {"id":"c","model":"told","choices":[{"index":0,"delta":{"content":"one more. "}}]}"#;
    let hundred = "one more. ".repeat(100);
    let body = json!({ "model": "told", "stream": true, "messages": [{ "role": "user", "content": "hi" }] });
    for (limit, frames, held) in [
        (sliced(2_000), 100, None::<u64>),
        (limit("whole", Unit::Tokens, 2_000), 100, Some(1_900)),
        // Where nothing was said nothing is known.
        (limit("whole", Unit::Tokens, 2_000), 0, Some(1_900)),
    ] {
        let told = Told::new(Dialect::OpenAi, b": hello\n\n", format!("{chunk}\n\n").as_bytes()).times(frames);
        let house = House::told(vec![limit], told.start(sandbox())).await;
        let mut body = body.clone();
        body["max_tokens"] = held.map_or(Value::Null, Value::from);
        let mut answer = house.post("/v1/chat/completions", body).await;
        let mut came = Vec::new();
        while let Ok(Some(bytes)) = answer.chunk().await {
            came.extend(bytes);
        }
        let text = data(std::str::from_utf8(&came).unwrap());
        let text: String = text.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect();
        assert_eq!(text, hundred[..frames * 10], "what has come is relayed");
        let ledger = house.ledger(1).await;
        let (settled, posted) = (&ledger.settled[0], ledger.settled[0].posted[0]);
        assert_eq!((settled.outcome, ledger.overrun), (Outcome::ProviderError, 0));
        assert!(posted.provision > 0, "{posted:?}");
        if frames == 0 {
            assert_eq!(settled.usage.completeness, Completeness::Missing(Doubt::Truncated));
            assert_eq!(posted.used, 0);
            continue;
        }
        assert_eq!(settled.usage.completeness, Completeness::Estimated(Doubt::Truncated), "{:?}", settled.usage);
        let used = settled.usage.total().unwrap();
        // Three tokens are repeated a hundred times.
        assert!((300..=400).contains(&used.output) && used.input() > 0, "{used:?}");
        assert_eq!(posted.used, i128::from(used.total()));
        match held {
            Some(held) => assert!(posted.used + posted.provision >= i128::from(held), "{posted:?}"),
            None => assert_eq!(posted.used + posted.provision, *ledger.held.last().unwrap()),
        }
    }
}

/// What a limit lets go on is held no more, so what was relayed of it counts in full, whatever its provider had reported before.
#[tokio::test]
async fn an_answer_that_may_finish_and_breaks_off_is_settled_for_all_that_was_relayed() {
    let chunk = r#"data: {"id":"c","model":"told","choices":[{"index":0,"delta":{"content":"one more. "}}]}"#;
    let start = r#"{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","model":"told","content":[],"stop_reason":null,"usage":{"input_tokens":9,"output_tokens":1}}}"#;
    let opened = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
    let delta = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"one more. "}}"#;
    let opening = format!("event: message_start\ndata: {start}\n\nevent: content_block_start\ndata: {opened}\n\n");
    let delta = format!("event: content_block_delta\ndata: {delta}\n\n");
    let openai = Told::new(Dialect::OpenAi, b": hello\n\n", format!("{chunk}\n\n").as_bytes());
    let anthropic = Told::new(Dialect::Anthropic, opening.as_bytes(), delta.as_bytes());
    // Slices were held for some five hundred. What an answer of OpenAI comes to is counted, three tokens a frame, and of another's
    // vocabulary four bytes are taken for one.
    for (told, path, output) in [(openai, "/v1/chat/completions", 900..=1_200), (anthropic, "/v1/messages", 740..=900)]
    {
        let finishing = Limit { on_exceed: OnExceed::Finish, ..sliced(600) };
        let house = House::told(vec![finishing], told.times(300).start(sandbox())).await;
        let body = json!({ "model": "told", "stream": true, "max_tokens": 10_000,
            "messages": [{ "role": "user", "content": "hi" }] });
        let mut answer = house.post(path, body).await;
        assert_eq!(answer.status().as_u16(), 200, "{path}");
        while let Ok(Some(_)) = answer.chunk().await {}
        let ledger = house.ledger(1).await;
        let (used, posted) = (ledger.settled[0].usage.total().unwrap(), ledger.settled[0].posted[0]);
        assert_eq!(ledger.settled[0].usage.completeness, Completeness::Estimated(Doubt::Truncated), "{path}");
        assert!(output.contains(&used.output), "{path}: {used:?}");
        assert_eq!((posted.used, posted.used > 600), (i128::from(used.total()), true), "{path}");
        assert!(ledger.overrun > 600, "{path}: {}", ledger.overrun);
    }
}
