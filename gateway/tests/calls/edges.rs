//! What comes in odd shapes: answers that are encoded or break off, and heads that cannot be trusted.

use std::io::Write as _;

use schemas::{
    fixture,
    limit::{Limit, OnExceed, Unit, Window},
};

use super::*;

const START: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"model\":\"claude-x\",\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}\n\n";
const DELTA: &str = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":2}}\n\n";
const END: &str = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

fn message() -> Value {
    json!({ "model": "claude-x", "max_tokens": 5, "stream": true, "messages": [{ "role": "user", "content": "hi" }] })
}

/// The frames as a server compresses them: in a piece each, or all in one.
fn gzip(frames: &[&str], at_once: bool) -> Vec<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    let mut pieces = Vec::new();
    for frame in frames {
        encoder.write_all(frame.as_bytes()).unwrap();
        if !at_once {
            encoder.flush().unwrap();
            pieces.push(std::mem::take(encoder.get_mut()));
        }
    }
    pieces.push(encoder.finish().unwrap());
    pieces
}

/// A stream that arrives in these very pieces.
fn pieces(headers: &str, pieces: &[Vec<u8>]) -> Vec<Step> {
    let mut script = vec![say(&format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{headers}transfer-encoding: chunked\r\n\r\n"
    ))];
    for piece in pieces {
        let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
        script.push(Step::Say(chunk));
    }
    script.push(say("0\r\n\r\n"));
    script
}

/// What a client has when its connection ends.
async fn raw(stage: &Stage, request: &str) -> String {
    let mut socket = tokio::net::TcpStream::connect(stage.address).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let reading = socket.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(10), reading).await.expect("the connection was ended");
    String::from_utf8(answer).unwrap()
}

fn request(path: &str, body: &Value) -> String {
    let body = body.to_string();
    let size = body.len();
    format!("POST {path} HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-length: {size}\r\n\r\n{body}")
}

#[tokio::test]
async fn an_encoded_stream_passes_byte_for_byte_in_whatever_pieces() {
    let openai = json!({ "stream": true, "stream_options": { "include_usage": true } });
    for (path, body, frames) in [
        ("/v1/chat/completions", chat(openai), [TEXT, USAGE, DONE]),
        ("/v1/chat/completions", chat(json!({ "stream": true })), [TEXT, USAGE, DONE]),
        ("/v1/messages", message(), [START, DELTA, END]),
    ] {
        for at_once in [false, true] {
            let sent = gzip(&frames, at_once);
            let replay = Replay::start(pieces("content-encoding: gzip\r\n", &sent)).await;
            let stage = Stage::new(replay.address).await;
            let answer = stage.post(path, &body).send().await.unwrap();
            assert_eq!(answer.headers()["content-encoding"], "gzip");
            assert_eq!(answer.bytes().await.unwrap(), sent.concat(), "{path}, at once: {at_once}");
            let (_, written) = stage.end().await;
            assert_eq!((written.one().outcome, input_and_output(&written)), (Outcome::Complete, Some((9, 2))));
        }
    }
}

/// Nobody can look at it on its way, nor end it: what it may be is known when its head has come.
#[tokio::test]
async fn an_encoded_stream_under_slices_is_held_for_whole_before_any_of_it_goes_or_refused() {
    for (encoding, amount, on_exceed, passes) in [
        ("gzip", 1_000_000, OnExceed::Refuse, true),
        ("gzip", 1_000, OnExceed::Finish, true),
        ("gzip", 1_000, OnExceed::Refuse, false),
        ("br", 1_000, OnExceed::Refuse, false),
    ] {
        let sent = gzip(&[TEXT, USAGE, DONE], false);
        let replay = Replay::start(pieces(&format!("content-encoding: {encoding}\r\n"), &sent)).await;
        let output =
            Limit { unit: Unit::OutputTokens, slices: true, on_exceed, ..fixture::limit(amount, Window::Month) };
        let stage = Stage::with(replay.address, Setting { limits: vec![output], ..Setting::default() }).await;
        let answer = stage.post("/v1/chat/completions", &chat(json!({ "stream": true }))).send().await.unwrap();
        let status = answer.status().as_u16();
        if passes {
            assert_eq!((status, &*answer.bytes().await.unwrap()), (200, &*sent.concat()));
        } else {
            let told: Value = answer.json().await.unwrap();
            assert_eq!(
                (status, &told["error"]["code"], &told["error"]["limit"]["amount"]),
                (429, &json!("TG2001"), &json!(1_000))
            );
        }
        let (_, written) = stage.end().await;
        let settled = written.one();
        // A slice is held for what nobody has seen.
        let posted: Vec<(i128, i128)> =
            settled.posted.iter().map(|posting| (posting.used, posting.provision)).collect();
        let (outcome, wanted) = if passes { (Outcome::Complete, (2, 0)) } else { (Outcome::Cut, (0, 512)) };
        assert_eq!((settled.outcome, posted), (outcome, vec![wanted]), "{encoding} under {amount}: {settled:?}");
    }
}

#[tokio::test]
async fn what_follows_the_last_frame_is_not_lost() {
    for (path, body, sent, wanted) in [
        ("/v1/chat/completions", chat(json!({ "stream": true })), [TEXT, USAGE, DONE].concat(), [TEXT, DONE].concat()),
        ("/v1/messages", message(), [START, DELTA, END].concat(), [START, DELTA, END].concat()),
    ] {
        let sent = [format!("{sent}: tra").into_bytes(), b"iling\n\n".to_vec()];
        let replay = Replay::start(pieces("", &sent)).await;
        let stage = Stage::new(replay.address).await;
        let answer = stage.post(path, &body).send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), format!("{wanted}: trailing\n\n"));
        drop(stage.end().await);
    }
}

#[tokio::test]
async fn a_part_of_a_frame_is_held_back_only_where_a_frame_may_be_withheld() {
    let (begun, rest) = START.split_at(40);
    let replay = Replay::start(stream(vec![say(begun), Step::Wait, say(rest), say(DELTA), say(END)])).await;
    let stage = Stage::new(replay.address).await;
    let mut answer = stage.post("/v1/messages", &message()).send().await.unwrap();
    let first = tokio::time::timeout(Duration::from_secs(10), answer.chunk()).await.expect("it is not held back");
    assert_eq!(first.unwrap().unwrap(), begun);
    replay.go_on();
    assert_eq!(answer.text().await.unwrap(), [rest, DELTA, END].concat());
    drop(stage.end().await);
}

#[tokio::test]
async fn what_had_come_of_an_answer_that_breaks_off_reaches_the_client() {
    let long = format!("{{\"id\":\"{}", "x".repeat(50_000));
    let short =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 90000\r\nconnection: close\r\n\r\n";
    let chunked =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    for (body, head, sent) in [
        (json!({}), short, "{\"id\"".to_owned()),
        (json!({}), short, long),
        (json!({ "stream": true }), chunked, format!("{:x}\r\n{TEXT}data: {{\r\n", TEXT.len() + 7)),
    ] {
        let replay = Replay::start(vec![say(head), say(&sent)]).await;
        let stage = Stage::new(replay.address).await;
        let answer = raw(&stage, &request("/v1/chat/completions", &chat(body))).await;
        let (_, got) = answer.split_once("\r\n\r\n").expect("a head");
        // The chunks need not be the same, but that which ends the answer is missing.
        let sent = sent.split_once("\r\n").map_or(sent.as_str(), |(_, chunk)| chunk.trim_end());
        let got: String = got.split("\r\n").filter(|line| usize::from_str_radix(line, 16).is_err()).collect();
        assert_eq!(got, sent);
        let (_, written) = stage.end().await;
        assert_eq!(written.one().outcome, Outcome::ProviderError);
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_before_its_first_byte_is_an_error_and_not_half_an_answer() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\nconnection: close\r\n\r\n";
    let replay = Replay::start(vec![say(head)]).await;
    let stage = Stage::new(replay.address).await;
    let answer = stage.post("/v1/chat/completions", &chat(json!({}))).send().await.unwrap();
    assert_eq!(answer.status(), 502);
    assert!(answer.text().await.unwrap().contains("TG4004"));
    let (_, written) = stage.end().await;
    assert_eq!(written.one().outcome, Outcome::ProviderError);
}

#[tokio::test]
async fn a_head_that_can_be_read_in_two_ways_is_refused_before_anything_is_read() {
    let replay = Replay::start(json("200 OK", WHOLE)).await;
    let stage = Stage::new(replay.address).await;
    let body = chat(json!({})).to_string();
    let send = async |path: &str, version: &str, headers: &str, body: &str| {
        let request = format!("POST {path} HTTP/{version}\r\nx-api-key: {KEY}\r\n{headers}\r\n\r\n{body}");
        raw(&stage, &request).await
    };
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    for headers in [
        "host: x\r\ntransfer-encoding: gzip, chunked",
        "host: x\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "host: x\r\ntransfer-encoding: chunked, chunked",
        "host: x\r\nhost: x\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked",
        "host: x\r\nexpect: 100-continue, more\r\ntransfer-encoding: chunked",
    ] {
        for path in ["/v1/chat/completions", "/v1/messages", "/openai/v1/models"] {
            let answer = send(path, "1.1", headers, &chunked).await;
            assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("TG3015"), "{headers}: {answer}");
            assert!(answer.contains("connection: close"), "{headers}: {answer}");
            assert_eq!(answer.contains("\"type\":\"error\""), path.contains("messages"), "{headers}: {answer}");
        }
    }
    let stated = format!("content-length: {}\r\nconnection: close", body.len());
    for (version, headers, body) in [
        ("1.1", "host: x\r\nconnection: close\r\ntransfer-encoding: Chunked", &chunked),
        ("1.1", &*format!("host: x\r\nexpect: 100-Continue\r\n{stated}"), &body),
        ("1.0", &stated, &body),
    ] {
        let answer = send("/v1/chat/completions", version, headers, body).await;
        assert!(answer.contains(" 200 OK\r\n") && answer.ends_with(WHOLE), "{headers}: {answer}");
    }
    let (_, written) = stage.end().await;
    assert_eq!((replay.asked().len(), written.settled().len()), (3, 3));
}
