//! Streams that a limit ends: in the dialect of the client, where they can be cut at all.

use super::*;

/// A member of an event, or of the response that is in it.
fn member<'e>(event: &'e Value, name: &str) -> Option<&'e Value> {
    [event, &event["response"]].into_iter().find_map(|object| object.get(name).filter(|value| value.is_object()))
}

/// A stream of 20,000 tokens under a limit of 2,000 is ended in its dialect: these are the types or reasons of its last events.
async fn is_cut(path: &str, more: Value, wanted: &[&str]) {
    let house = House::open(vec![sliced(2_000)]).await;
    let mut body = json!({ "model": "sandbox/20000", "stream": true });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer = house.post(path, body).await;
    assert_eq!((answer.status().as_u16(), answer.headers().get("x-tollgate-capped")), (200, None));
    let events = data(&answer.text().await.unwrap());
    let last: Vec<String> = events[events.len() - wanted.len()..].iter().map(ToString::to_string).collect();
    assert!(last.iter().zip(wanted).all(|(last, wanted)| last.contains(wanted)), "{last:?}");
    let why = events.iter().find_map(|event| member(event, "tollgate")).unwrap();
    assert_eq!((why["code"].as_str(), why["limit"]["name"].as_str()), (Some("TG2001"), Some("sliced")), "{why}");
    let ledger = house.ledger(1).await;
    let settled = &ledger.settled[0];
    assert_eq!(settled.outcome, Outcome::Cut);
    // Of what was relayed an estimate is settled, and told; the client counts by the same words.
    assert_eq!(settled.usage.completeness, Completeness::Estimated(Doubt::Truncated), "{:?}", settled.usage);
    assert_eq!(why["completeness"], "estimated");
    let used = settled.usage.total().unwrap();
    let usage = events.iter().rev().find_map(|event| member(event, "usage")).unwrap();
    let told = |names: [&str; 2]| names.iter().find_map(|name| usage[*name].as_u64());
    assert_eq!(told(["completion_tokens", "output_tokens"]), Some(used.output), "{usage}");
    assert_eq!(told(["prompt_tokens", "input_tokens"]), Some(used.input()), "{usage}");
    let said = |event: &Value| {
        let deltas = [&event["choices"][0]["delta"]["content"], &event["delta"]["text"], &event["delta"]];
        deltas.iter().find_map(|delta| delta.as_str()).map(str::len)
    };
    let text: usize = events.iter().filter_map(said).sum();
    assert!(used.output * 8 > text as u64 && used.output < text as u64, "{used:?} of {text} bytes");
    let (held, posted) = (*ledger.held.last().unwrap(), settled.posted[0]);
    assert_eq!(posted.used, i128::from(used.total()));
    assert!(text as i128 <= held && text > 1_000, "{text} bytes were relayed, {held} is held");
    assert!(held <= 2_000 && ledger.held.is_sorted(), "{:?}", ledger.held);
    assert_eq!(posted.used + posted.provision, held, "what is not known stays held");
}

#[tokio::test]
async fn a_stream_ends_with_the_money_in_the_dialect_of_its_client() {
    let said = json!([{ "role": "user", "content": "hi" }]);
    let asks = json!({ "messages": said, "stream_options": { "include_usage": true } });
    is_cut("/v1/chat/completions", asks, &[r#""finish_reason":"length""#, "completion_tokens", "[DONE]"]).await;
    let asks = json!({ "messages": said, "max_tokens": 20_000 });
    is_cut("/v1/messages", asks, &[r#""stop_reason":"max_tokens""#, "message_stop"]).await;
    let ends = [
        "response.output_text.done",
        "response.content_part.done",
        r#""status":"incomplete""#,
        r#""incomplete_details":{"reason":"max_output_tokens"}"#,
    ];
    is_cut("/v1/responses", json!({ "input": "hi" }), &ends).await;
}

/// The payloads of an event stream.
fn payloads(mut bytes: &[u8]) -> Vec<Value> {
    let mut all = Vec::new();
    while let Some(length) = bytes.first_chunk::<4>() {
        let (one, rest) = bytes.split_at(u32::from_be_bytes(*length) as usize);
        all.push(serde_json::from_slice(eventstream::read(one).unwrap().payload).unwrap());
        bytes = rest;
    }
    all
}

/// A stream that never ends by itself is ended where 2,000 tokens are relayed, each a byte, and its provider is left.
async fn is_left(told: Told, path: &str, body: Value, read: fn(&[u8]) -> Vec<Value>, wanted: &[&str]) {
    let was_left = Arc::clone(&told.was_left);
    let house = House::told(vec![sliced(2_000)], told.start(sandbox())).await;
    let answer = house.post(path, body).await;
    assert_eq!(answer.status().as_u16(), 200, "{path}");
    let events = read(&answer.bytes().await.unwrap());
    let last: Vec<String> = events[events.len() - wanted.len()..].iter().map(ToString::to_string).collect();
    assert!(last.iter().zip(wanted).all(|(last, wanted)| last.contains(wanted)), "{last:?}");
    eventually("the provider was left", || was_left.load(Ordering::Relaxed)).await;
    let (settled, ledger) = (house.ledger(1).await.settled.remove(0), house.ledger(1).await);
    assert_eq!((settled.outcome, ledger.overrun), (Outcome::Cut, 0));
    assert_eq!(settled.usage.completeness, Completeness::Estimated(Doubt::Truncated), "{:?}", settled.usage);
    let said = |event: &Value| {
        let texts = [&event["delta"]["text"], &event["delta"]["message"]["content"]["text"]];
        texts.iter().find_map(|text| text.as_str()).map(str::len)
    };
    let (text, posted) = (events.iter().filter_map(said).sum::<usize>(), settled.posted[0]);
    assert!(text > 1_000 && text <= 2_000 && posted.used > 100, "{text} bytes, {posted:?}");
    assert_eq!(posted.used + posted.provision, *ledger.held.last().unwrap(), "what is not known stays held");
    assert!(posted.provision > 0 && posted.used + posted.provision <= 2_000, "{posted:?}");
}

fn told_by_cohere() -> Told {
    let opening = r#"{"id":"i","type":"message-start","delta":{"message":{"role":"assistant"}}}"#;
    let start = r#"{"type":"content-start","index":0,"delta":{"message":{"content":{"type":"text","text":""}}}}"#;
    let delta = r#"{"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"one more. "}}}}"#;
    let opening = format!("data: {opening}\n\ndata: {start}\n\n");
    Told::new(Dialect::Cohere, opening.as_bytes(), format!("data: {delta}\n\n").as_bytes())
}

#[tokio::test]
async fn streams_of_bedrock_and_cohere_end_with_the_money_as_well() {
    let body = json!({ "messages": [{ "role": "user", "content": [{ "text": "hi" }] }] });
    let wanted = ["contentBlockIndex", r#""code":"TG2001""#, "outputTokens"];
    is_left(told_by_bedrock(), "/model/told/converse-stream", body, payloads, &wanted).await;
    let body = json!({ "model": "told", "stream": true, "messages": [{ "role": "user", "content": "hi" }] });
    let read = |bytes: &[u8]| data(std::str::from_utf8(bytes).unwrap());
    let wanted = ["content-end", r#""code":"TG2001""#, "[DONE]"];
    is_left(told_by_cohere(), "/v2/chat", body, read, &wanted).await;
}

/// What an official client makes of a stream that a limit ends.
async fn is_read(told: Told, provider: &str) {
    let house = House::told(vec![sliced(2_000)], told.start(sandbox())).await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/sdk/cut.py");
    let base = format!("http://{}", house.address);
    let read = std::process::Command::new(sdk::python()).args([script, &base, provider]).output().unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
}

#[tokio::test]
async fn the_official_clients_of_amazon_and_cohere_read_a_stream_that_is_cut() {
    is_read(told_by_bedrock(), "bedrock").await;
    is_read(told_by_cohere(), "cohere").await;
}

/// One that cannot be looked into is not let begin with a slice: all that it can be is held for at once.
#[tokio::test]
async fn a_stream_that_cannot_be_cut_is_held_whole_up_front() {
    let told = Told::new(Dialect::Bedrock, &[], &message("chunk", &json!({ "bytes": "e30=" }))).times(3);
    let house = House::told(vec![sliced(2_000)], told.start(sandbox())).await;
    let body = json!({ "inputText": "hi", "textGenerationConfig": { "maxTokenCount": 1_900 } });
    let answer = house.post("/model/told/invoke-with-response-stream", body).await;
    let status = answer.status().as_u16();
    assert!(status == 429, "{}", answer.text().await.unwrap());
}

/// A provider that gives the whole answer to who asked for a stream has used it: it is relayed, and counts in full.
#[tokio::test]
async fn what_cannot_be_cut_is_held_for_whole_or_relayed_and_counted() {
    let whole = br#"{"id":"c","object":"chat.completion","model":"told","choices":[{"index":0,"message":{"role":"assistant","content":"said"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":120,"total_tokens":129}}"#;
    let body = json!({ "model": "told", "stream": true, "max_tokens": 5_000,
        "messages": [{ "role": "user", "content": "hi" }] });
    for (amount, passed) in [(100, 129), (10_000, 0)] {
        let told = Told::new(Dialect::OpenAi, whole, b"").in_json();
        let house = House::told(vec![sliced(amount)], told.start(sandbox())).await;
        let answer = house.post("/v1/chat/completions", body.clone()).await;
        assert_eq!(answer.status().as_u16(), 200, "{amount}");
        assert_eq!(answer.bytes().await.unwrap(), whole[..], "{amount}");
        let ledger = house.ledger(1).await;
        let settled = &ledger.settled[0];
        assert_eq!((settled.outcome, &settled.usage.completeness), (Outcome::Complete, &Completeness::Exact));
        assert_eq!((settled.posted[0].used, settled.posted[0].provision, ledger.overrun), (129, 0, passed));
    }
    // One array of Gemini's has no end but its own.
    let contents = json!({ "contents": [{ "role": "user", "parts": [{ "text": "hi" }] }],
        "generationConfig": { "maxOutputTokens": 5_000 } });
    for (query, status) in [("", 429), ("?alt=sse", 200)] {
        let told = Told::new(Dialect::Gemini, b": hello\n\n", b"").times(0);
        let house = House::told(vec![sliced(100)], told.start(sandbox())).await;
        let path = format!("/v1beta/models/told:streamGenerateContent{query}");
        assert_eq!(house.post(&path, contents.clone()).await.status().as_u16(), status, "{path}");
    }
}
