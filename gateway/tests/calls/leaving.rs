//! Clients that leave and gateways that stop: each call ends once, and of what it used nothing is lost.

use super::*;

#[tokio::test]
async fn a_client_that_leaves_changes_nothing_about_what_is_known() {
    let after_head = stream(vec![say(TEXT), Step::Wait, say(STOP), say(USAGE), say(DONE)]);
    let before_head = [vec![Step::Wait], stream(vec![say(TEXT), say(STOP), say(USAGE), say(DONE)])].concat();
    for script in [after_head, before_head] {
        let replay = Replay::start(script).await;
        let stage = Stage::new(replay.address).await;
        let body = chat(json!({ "stream": true })).to_string();
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let mut client = tokio::net::TcpStream::connect(stage.address).await.unwrap();
        client.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        replay.was_asked(1).await;
        // The client closes its side; that the gateway closes its own shows that it has noticed.
        client.shutdown().await.unwrap();
        let _ = client.read_to_end(&mut Vec::new()).await;
        replay.go_on();
        let (_, written) = stage.end().await;
        assert_eq!(written.one().outcome, Outcome::ClientGone);
        assert_eq!(written.one().usage.completeness, Completeness::Exact);
        assert_eq!(input_and_output(&written), Some((9, 2)));
    }
}

#[tokio::test]
async fn where_nothing_is_read_on_an_answer_is_closed_when_its_client_leaves() {
    let replay = Replay::start(stream(vec![say(TEXT), Step::Wait, say(STOP), say(USAGE), say(DONE)])).await;
    let mut setting = Setting::default();
    setting.server.read_on = Duration::ZERO;
    let stage = Stage::with(replay.address, setting).await;
    let mut answer = stage.post("/v1/chat/completions", &chat(json!({ "stream": true }))).send().await.unwrap();
    assert!(answer.chunk().await.unwrap().is_some());
    drop(answer);
    // It ends while its provider still waits.
    let (drained, written) = stage.end().await;
    assert_eq!((drained.cut, written.one().outcome), (0, Outcome::ClientGone));
    assert_eq!(written.one().usage.completeness, Completeness::Estimated(Doubt::ClientLeft));
}

#[tokio::test]
async fn a_shutdown_lets_calls_end_and_cuts_the_rest() {
    let replay = Replay::start(stream(vec![say(TEXT), Step::Hang])).await;
    let mut setting = Setting::default();
    setting.server.drain = Duration::from_millis(100);
    let stage = Stage::with(replay.address, setting).await;
    let mut answer = stage.post("/v1/chat/completions", &chat(json!({ "stream": true }))).send().await.unwrap();
    assert!(answer.chunk().await.unwrap().is_some());
    let (drained, written) = stage.end().await;
    assert_eq!(drained.cut, 1);
    assert_eq!(written.one().outcome, Outcome::Cut);
    assert_eq!(written.one().usage.completeness, Completeness::Estimated(Doubt::Truncated));
}

#[tokio::test]
async fn what_a_dead_process_left_open_is_settled_as_unknown_once() {
    let replay = Replay::start(stream(vec![say(TEXT), Step::Hang])).await;
    let stage = Stage::new(replay.address).await;
    let mut answer = stage.post("/v1/chat/completions", &chat(json!({ "stream": true }))).send().await.unwrap();
    assert!(answer.chunk().await.unwrap().is_some());
    // What is on the disk now is what a killed process leaves.
    let left = tempfile::tempdir().unwrap();
    for file in
        std::fs::read_dir(stage.dir.path()).unwrap().flatten().filter(|file| file.file_type().unwrap().is_file())
    {
        std::fs::copy(file.path(), left.path().join(file.file_name())).unwrap();
    }
    let mut successor = Stage::on(left, replay.address, Setting::default()).await;
    let (_, left) = successor.stop().await;
    let mut third = Stage::on(left, replay.address, Setting::default()).await;
    let (_, left) = third.stop().await;
    let written = Written::read(left.path());
    let settled = written.one();
    assert_eq!((settled.outcome, settled.status), (Outcome::Unknown, 0));
    assert_eq!(settled.usage.completeness, Completeness::Missing(Doubt::Crashed));
    let predecessors =
        written.events.iter().filter(|event| matches!(event, Event::Opened(opened) if opened.predecessor.is_some()));
    assert_eq!(predecessors.count(), 4, "two successors, two lanes");
}

#[tokio::test]
async fn beyond_what_is_drained_a_client_that_leaves_is_settled_at_once() {
    let replay = Replay::start(stream(vec![say(TEXT), Step::Hang])).await;
    let mut setting = Setting::default();
    // The first estimate of a process reads its table of tokens.
    setting.server.drain = Duration::from_secs(3);
    let stage = Stage::with(replay.address, setting).await;
    let body = chat(json!({ "stream": true })).to_string();
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    for number in 1..=105 {
        let mut client = tokio::net::TcpStream::connect(stage.address).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        replay.was_asked(number).await;
        client.shutdown().await.unwrap();
        let _ = client.read_to_end(&mut Vec::new()).await;
    }
    let (drained, written) = stage.end().await;
    let ended = |outcome| written.settled().iter().filter(|settled| settled.outcome == outcome).count();
    assert_eq!((drained.cut, ended(Outcome::Cut), ended(Outcome::ClientGone)), (100, 100, 5));
    assert!(written.ends().values().all(|ends| *ends == 1) && written.ends().len() == 105);
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_let_go_and_cannot_stop_a_shutdown() {
    // 32 MB of answer: more than sockets buffer, and more than is drained.
    let body = chat(json!({ "model": "sandbox/1000000", "stream": true })).to_string();
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let (short, long) = (Duration::from_millis(100), Duration::from_secs(60));
    // Either the client's time is over, or the gateway's.
    for (patience, drain, cut) in [(short, long, 0), (long, short, 1)] {
        let mut setting = Setting::default();
        (setting.server.body_timeout, setting.server.drain) = (patience, drain);
        let stage = Stage::with("127.0.0.1:1".parse().unwrap(), setting).await;
        let mut client = tokio::net::TcpStream::connect(stage.address).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        client.readable().await.unwrap();
        let (drained, written) = stage.end().await;
        assert_eq!(drained.cut, cut);
        // Whether the cut or the end of the connection comes first depends on how much the sockets still took.
        let outcome = written.one().outcome;
        assert!(outcome == Outcome::ClientGone || (cut == 1 && outcome == Outcome::Cut), "{outcome:?}");
        drop(client);
    }
}
