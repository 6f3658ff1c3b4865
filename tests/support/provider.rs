//! A provider in the dialect of OpenAI that remembers every call it saw and what it bills for it: a real HTTP server.
//!
//! What it is to do, each request says in a line of its `metadata`, which a gateway passes on and does not look into. It bills what it
//! was told to whatever becomes of the answer, as providers do, and reports exactly that bill; if the answer comes to its end.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use futures::stream;
use serde_json::{Value, json};
use tokio::{net::TcpListener, runtime::Runtime};

/// What a call is to be billed, and how it is to be answered.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    /// Which call it is; a marker is used once.
    pub(crate) marker: String,
    pub(crate) input: u64,
    pub(crate) output: u64,
    /// How long the answer takes.
    pub(crate) pace: Duration,
    /// Bytes that the usage is inflated with.
    pub(crate) bulk: usize,
    pub(crate) fate: Fate,
}

/// What becomes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It comes to its end.
    Whole,
    /// It is a stream, and breaks off in the middle.
    Breaks,
    /// It is an error, though the work was done.
    Fails,
}

/// What the provider's errors are called.
pub(crate) const FAILED: &str = "provider_failed";

/// What it was asked: how often each marker was seen, and what is billed for it.
pub(crate) type Seen = HashMap<String, (u32, u64)>;

pub(crate) struct Provider {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    _runtime: Runtime,
}

impl Order {
    /// The line that a request carries.
    pub(crate) fn line(&self) -> String {
        let Self { marker, input, output, pace, bulk, fate } = self;
        format!("{marker} {input} {output} {} {bulk} {fate:?}", pace.as_millis())
    }

    fn read(line: &str) -> Self {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |place: usize| words[place].parse::<u64>().unwrap();
        Self {
            marker: words[0].to_owned(),
            input: number(1),
            output: number(2),
            pace: Duration::from_millis(number(3)),
            bulk: usize::try_from(number(4)).unwrap(),
            fate: [Fate::Breaks, Fate::Fails]
                .into_iter()
                .find(|fate| format!("{fate:?}") == words[5])
                .unwrap_or(Fate::Whole),
        }
    }
}

impl Provider {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let (address, seen) = (listener.local_addr().unwrap(), Arc::<Mutex<Seen>>::default());
        let router = Router::new().route("/v1/chat/completions", post(answer)).with_state(Arc::clone(&seen));
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { address, seen, _runtime: runtime }
    }

    /// All that it saw until now.
    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }
}

async fn answer(State(seen): State<Arc<Mutex<Seen>>>, Json(body): Json<Value>) -> Response {
    let order = Order::read(body["metadata"]["order"].as_str().unwrap());
    seen.lock().unwrap().entry(order.marker.clone()).or_insert((0, order.input + order.output)).0 += 1;
    let usage = json!({ "prompt_tokens": order.input, "completion_tokens": order.output,
        "total_tokens": order.input + order.output, "note": "x".repeat(order.bulk) });
    let id = format!("chatcmpl-{}", order.marker);
    if order.fate == Fate::Fails {
        tokio::time::sleep(order.pace).await;
        let error = json!({ "error": { "message": "it failed", "type": "server_error", "code": FAILED } });
        return (StatusCode::INTERNAL_SERVER_ERROR, Json(error)).into_response();
    }
    if body["stream"] != true {
        tokio::time::sleep(order.pace).await;
        let choice =
            json!({ "index": 0, "finish_reason": "stop", "message": { "role": "assistant", "content": "ok" } });
        let answer = json!({ "id": id, "object": "chat.completion", "created": 1, "model": "m",
            "choices": [choice], "usage": usage });
        return Json(answer).into_response();
    }
    let chunk = |choices: Value, usage: &Value| {
        let chunk = json!({ "id": id, "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": choices, "usage": usage });
        format!("data: {chunk}\n\n")
    };
    let say = |text: &str| chunk(json!([{ "index": 0, "delta": { "content": text } }]), &Value::Null);
    let mut frames = vec![say("one "), say("two "), say("three")];
    frames.push(chunk(json!([{ "index": 0, "delta": {}, "finish_reason": "stop" }]), &Value::Null));
    if body["stream_options"]["include_usage"] == true {
        frames.push(chunk(json!([]), &usage));
    }
    frames.push("data: [DONE]\n\n".to_owned());
    let pause = order.pace / u32::try_from(frames.len()).unwrap();
    let mut told: Vec<std::io::Result<String>> = frames.into_iter().map(Ok).collect();
    if order.fate == Fate::Breaks {
        told.truncate(2);
        told.push(Err(std::io::Error::other("it breaks off")));
    }
    let paced = stream::unfold(told.into_iter(), move |mut told| async move {
        tokio::time::sleep(pause).await;
        told.next().map(|frame| (frame, told))
    });
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(paced)).into_response()
}
