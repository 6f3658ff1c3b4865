//! What comes in from clients: wrong, slow, packed, or more than there is room for.

use super::*;

#[tokio::test]
async fn bad_requests_get_a_clear_error_and_change_nothing() {
    let replay = Replay::start(json("200 OK", WHOLE)).await;
    let mut setting = Setting::default();
    setting.server.max_body = 1_000;
    let stage = Stage::with(replay.address, setting).await;
    let good = chat(json!({})).to_string();
    let long = chat(json!({ "user": "x".repeat(2_000) })).to_string();
    let check = async |path: &str, key: Option<&str>, body: &str, status: u16, code: &str| {
        let mut call = stage.http.post(stage.url(path)).body(body.to_owned());
        if let Some(key) = key {
            call = call.bearer_auth(key);
        }
        let answer = call.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{path} {code}");
        assert!(answer.headers().contains_key("x-tollgate-call-id"));
        let error: Value = answer.json().await.unwrap();
        assert_eq!(error["error"]["code"], code);
        assert_eq!(error["type"] == "error", path.contains("messages"));
    };
    let key = Some(KEY);
    check("/v1/chat/completions", None, &good, 401, "TG3001").await;
    check("/v1/chat/completions", Some("tg-other"), &good, 401, "TG3002").await;
    check("/v1/messages", Some("tg-other"), &good, 401, "TG3002").await;
    check("/v1/chat/completions", key, "{\"model\":", 400, "TG3004").await;
    check("/v1/chat/completions", key, "[]", 400, "TG3004").await;
    check("/v1/chat/completions", key, "{\"model\":\"gpt-4o\",\"model\":\"gpt-5\"}", 400, "TG3005").await;
    check("/v1/chat/completions", key, "{\"model\":\"unheard-of\",\"messages\":[]}", 404, "TG3006").await;
    // It is answered in the dialect of its provider, and only conversations are carried over.
    check("/v1/messages/count_tokens", key, &good, 404, "TG3006").await;
    check("/v1/chat/completions", key, &long, 413, "TG3007").await;
    check("/v1/files", key, &good, 404, "TG3009").await;
    check("/anthropic/v1/messages/batches", key, &good, 404, "TG3009").await;
    let nowhere = chat(json!({ "model": "nowhere" })).to_string();
    check("/v1/chat/completions", key, &nowhere, 502, "TG4001").await;
    let answer = stage.http.get(stage.url("/v1/chat/completions")).bearer_auth(KEY).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["allow"]), (405, &"POST".parse().unwrap()));
    let (_, written) = stage.end().await;
    assert!(replay.asked().is_empty());
    assert_eq!((written.admitted().len(), written.settled().len()), (0, 0));
}

#[tokio::test]
async fn slow_heads_and_slow_bodies_are_ended() {
    let replay = Replay::start(json("200 OK", WHOLE)).await;
    let mut setting = Setting::default();
    setting.server.header_timeout = Duration::from_millis(100);
    setting.server.body_timeout = Duration::from_millis(100);
    let stage = Stage::with(replay.address, setting).await;
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-length: 100\r\n\r\n{{"
    );
    for (sent, wanted) in [("", ""), ("PR", ""), ("POST /v1/chat", ""), (head.as_str(), "HTTP/1.1 408")] {
        let mut socket = tokio::net::TcpStream::connect(stage.address).await.unwrap();
        socket.write_all(sent.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ =
            tokio::time::timeout(Duration::from_secs(10), socket.read_to_end(&mut answer)).await.expect("it was ended");
        assert!(String::from_utf8_lossy(&answer).starts_with(wanted), "{sent:?}");
    }
    drop(stage.end().await);
}

#[tokio::test]
async fn compressed_requests_go_on_decoded() {
    let replay = Replay::start(json("200 OK", WHOLE)).await;
    let stage = Stage::new(replay.address).await;
    let body = chat(json!({})).to_string();
    let packed = zstd::encode_all(body.as_bytes(), 1).unwrap();
    let call = stage
        .http
        .post(stage.url("/v1/chat/completions"))
        .bearer_auth(KEY)
        .header("content-encoding", "zstd")
        .body(packed);
    assert_eq!(call.send().await.unwrap().status(), 200);
    assert_eq!(replay.asked()[0].body, body.into_bytes());
    assert!(!replay.asked()[0].head.contains("content-encoding"));
    drop(stage.end().await);
}

#[tokio::test]
async fn bodies_in_memory_are_bounded_over_all_calls() {
    let replay = Replay::start(json("200 OK", WHOLE)).await;
    let mut setting = Setting::default();
    (setting.server.max_body, setting.server.max_body_in_flight) = (1_000, 1_500);
    let stage = Stage::with(replay.address, setting).await;
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-length: 1000\r\n\
         expect: 100-continue\r\n\r\n"
    );
    let begin = async || {
        let mut slow = tokio::net::TcpStream::connect(stage.address).await.unwrap();
        slow.write_all(head.as_bytes()).await.unwrap();
        let mut asked = [0; 12];
        slow.read_exact(&mut asked).await.unwrap();
        assert_eq!(&asked, b"HTTP/1.1 100");
        slow
    };
    let mut slow = begin().await;
    let long = chat(json!({ "user": "x".repeat(800) }));
    let post = async || stage.post("/v1/chat/completions", &long).send().await.unwrap().status();
    assert_eq!(post().await, 200, "a length that is only stated takes no room");
    let refused = async {
        slow.write_all(&[b' '; 900]).await.unwrap();
        while post().await != 503 {
            // The room is for whoever comes first: if that was the other one, the slow body was refused, and begins anew.
            if slow.try_read(&mut [0; 64]).is_ok_and(|answer| answer > 2) {
                slow = begin().await;
                slow.write_all(&[b' '; 900]).await.unwrap();
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), refused).await.expect("what has come of a body takes room");
    // It closes its side once it has given up the slow body, and the room with it.
    slow.shutdown().await.unwrap();
    let _ = slow.read_to_end(&mut Vec::new()).await;
    let taken = stage.post("/v1/chat/completions", &long).send().await.unwrap();
    assert_eq!(taken.status(), 200);
    drop(stage.end().await);
}
