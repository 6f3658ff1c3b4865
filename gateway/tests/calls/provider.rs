//! A provider that replays: it answers each request with scripted bytes at a pace, and cuts where the script ends.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// What it does next.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Writes bytes.
    Say(Vec<u8>),
    /// Waits until the test lets it go on.
    Wait,
    /// Keeps the connection open and says nothing more.
    Hang,
}

/// What it was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The head, in lower case.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

pub(crate) struct Replay {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    go: Arc<tokio::sync::Semaphore>,
}

pub(crate) fn say(text: &str) -> Step {
    Step::Say(text.as_bytes().to_vec())
}

/// A whole JSON answer.
pub(crate) fn json(status: &str, body: &str) -> Vec<Step> {
    let size = body.len();
    vec![say(&format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {size}\r\nset-cookie: a=b\r\n\r\n{body}"
    ))]
}

/// The head of a stream, then its frames; the connection closes after them.
pub(crate) fn stream(steps: Vec<Step>) -> Vec<Step> {
    let mut all = vec![say("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")];
    all.extend(steps);
    all
}

impl Replay {
    /// Answers every request with the same script.
    pub(crate) async fn start(script: Vec<Step>) -> Self {
        Self::in_turn(vec![script]).await
    }

    /// Answers each request with the next script, and all that come later with the last one.
    pub(crate) async fn in_turn(scripts: Vec<Vec<Step>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let go = Arc::new(tokio::sync::Semaphore::new(0));
        let (heard, gate) = (Arc::clone(&asked), Arc::clone(&go));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(answer(socket, scripts.clone(), Arc::clone(&heard), Arc::clone(&gate)));
            }
        });
        Self { address, asked, go }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Waits until it was asked so often.
    pub(crate) async fn was_asked(&self, times: usize) {
        crate::stage::eventually("the provider was asked", || self.asked().len() >= times).await;
    }

    pub(crate) fn go_on(&self) {
        self.go.add_permits(1);
    }
}

async fn answer(
    mut socket: TcpStream,
    scripts: Vec<Vec<Step>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    go: Arc<tokio::sync::Semaphore>,
) {
    let mut seen = Vec::new();
    loop {
        let Some(request) = request(&mut socket, &mut seen).await else { return };
        let script = {
            let mut asked = asked.lock().unwrap();
            asked.push(request);
            scripts[asked.len().min(scripts.len()) - 1].clone()
        };
        for step in &script {
            match step {
                Step::Say(bytes) => {
                    if socket.write_all(bytes).await.is_err() {
                        return;
                    }
                }
                Step::Wait => go.acquire().await.unwrap().forget(),
                Step::Hang => {
                    // Until the other side gives up.
                    let mut rest = [0; 64];
                    while socket.read(&mut rest).await.is_ok_and(|size| size > 0) {}
                    return;
                }
            }
        }
        let closes = script
            .iter()
            .any(|step| matches!(step, Step::Say(bytes) if bytes.windows(17).any(|part| part == b"connection: close")));
        if closes {
            return;
        }
    }
}

async fn request(socket: &mut TcpStream, seen: &mut Vec<u8>) -> Option<Asked> {
    let mut buffer = [0; 4_096];
    let end = loop {
        if let Some(end) = seen.windows(4).position(|part| part == b"\r\n\r\n") {
            break end + 4;
        }
        let size = socket.read(&mut buffer).await.ok().filter(|size| *size > 0)?;
        seen.extend_from_slice(&buffer[..size]);
    };
    let head = String::from_utf8_lossy(&seen[..end]).to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |text| text.trim().parse().unwrap());
    while seen.len() < end + length {
        let size = socket.read(&mut buffer).await.ok().filter(|size| *size > 0)?;
        seen.extend_from_slice(&buffer[..size]);
    }
    let rest = seen.split_off(end + length);
    let body = seen[end..].to_vec();
    *seen = rest;
    Some(Asked { head, body })
}

/// A provider that understands HTTP/2 only and answers everything with this JSON.
pub(crate) async fn http2_only(answer: &'static str) -> SocketAddr {
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let service = hyper::service::service_fn(move |_: hyper::Request<hyper::body::Incoming>| async move {
                let body = http_body_util::Full::new(bytes::Bytes::from_static(answer.as_bytes()));
                let mut response = hyper::Response::new(body);
                let kind = hyper::header::HeaderValue::from_static("application/json");
                response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
                Ok::<_, std::convert::Infallible>(response)
            });
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(socket), service));
        }
    });
    address
}
