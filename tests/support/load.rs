//! 200 concurrent clients of a fleet, until they are stopped; each remembers how every call of it ended.
//!
//! Calls differ in tenant, in being streamed, in how long their answer takes, in what it bills and in what becomes of it: some of the
//! clients leave in the middle of a stream, and some answers break off or are errors. All amounts are multiples of
//! [`UNIT`], bounds included, so that what is left of a limit is one as well, and can be spent to the last token.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::provider::{FAILED, Fate, Order};

pub(crate) const CLIENTS: usize = 200;

/// More than what a request is framed by and the least text of a call.
pub(crate) const UNIT: u64 = 64;

/// The tenants, each with a key of its name.
pub(crate) const TENANTS: [&str; 4] = ["acme", "birch", "cedar", "dune"];

/// The bytes of bulky usage: less than the 64 KiB of it that are kept.
const BULK: usize = 60_000;

/// How long a client that was refused, or not answered, waits before it calls again.
const REST: Duration = Duration::from_millis(1_000);

/// A call, in [`UNIT`]s: what it may use at most, and what it will be billed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) bound: u64,
    pub(crate) bill: u64,
}

pub(crate) const SMALL: Size = Size { bound: 2, bill: 1 };
pub(crate) const LARGE: Size = Size { bound: 1_600, bill: 1_000 };

/// How a call ended, for its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// All of the answer came; the id that Tollgate gave the call.
    Answered(String),
    /// Tollgate refused it: status and code.
    Refused(u16, String),
    /// The provider's error came; the id that Tollgate gave the call.
    Failed(String),
    /// The client left when the answer had begun.
    Left,
    /// The connection broke, or there was none.
    Broken,
}

/// A call that was made.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) marker: String,
    pub(crate) gateway: usize,
    /// In tokens.
    pub(crate) bound: u64,
    /// What the provider was to make of it.
    pub(crate) fate: Fate,
    pub(crate) end: End,
}

/// What the clients share.
pub(crate) struct Desk {
    gateways: Vec<String>,
    client: reqwest::Client,
    next: AtomicU64,
    /// What a call is framed by: its bound is this and the cap of its output.
    frame: AtomicU64,
    large: AtomicBool,
    /// A gateway whose calls are answered at once, and with bulky usage.
    bulky: AtomicUsize,
    stop: AtomicBool,
    calls: Mutex<Vec<Call>>,
    /// How the last call of each client ended.
    last: Mutex<BTreeMap<usize, End>>,
}

pub(crate) struct Load {
    desk: Arc<Desk>,
    runtime: Runtime,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    /// Clients of these gateways, which do not call yet.
    pub(crate) fn new(gateways: Vec<String>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
        let desk = Arc::new(Desk {
            gateways,
            client,
            next: AtomicU64::new(0),
            frame: AtomicU64::new(0),
            large: AtomicBool::new(false),
            bulky: AtomicUsize::new(usize::MAX),
            stop: AtomicBool::new(false),
            calls: Mutex::default(),
            last: Mutex::default(),
        });
        Self { desk, runtime, clients: Vec::new() }
    }

    /// Learns what a call is framed by, from what a gateway says that one needs which no limit has room for.
    pub(crate) fn measure(&self) {
        let cap = 99_999_999;
        let marker = self.desk.marker();
        let order = Order { marker, input: 0, output: 0, pace: Duration::ZERO, bulk: 0, fate: Fate::Whole };
        let (end, answer) = self.runtime.block_on(self.desk.send(0, 0, &order, cap, Reads::Whole));
        let needed = answer["error"]["message"].as_str().and_then(|message| message.split("may need ").nth(1));
        let needed = needed.unwrap_or_else(|| panic!("{end:?} {answer}")).split(|c: char| !c.is_ascii_digit()).next();
        let frame = needed.unwrap().parse::<u64>().unwrap() - cap;
        assert!(frame > 0 && frame < UNIT, "{answer}");
        self.desk.frame.store(frame, Relaxed);
    }

    /// Lets all clients call.
    pub(crate) fn start(&mut self) {
        for number in 0..CLIENTS {
            let desk = Arc::clone(&self.desk);
            self.clients.push(self.runtime.spawn(async move { desk.client(number).await }));
        }
    }

    /// From now on calls are large, so that they soon reach the limit.
    pub(crate) fn grow(&self) {
        self.desk.large.store(true, Relaxed);
    }

    /// From now on calls to this gateway are answered at once, with as much usage as is kept; to none if there is none.
    pub(crate) fn inflate(&self, gateway: Option<usize>) {
        self.desk.bulky.store(gateway.unwrap_or(usize::MAX), Relaxed);
    }

    /// How many calls through a gateway ended so.
    pub(crate) fn count(&self, gateway: usize, is: impl Fn(&End) -> bool) -> usize {
        self.desk.calls.lock().unwrap().iter().filter(|call| call.gateway == gateway && is(&call.end)).count()
    }

    /// How many clients were refused with this code the last time they called; the others were answered, or not even refused.
    pub(crate) fn refused_last(&self, code: &str) -> usize {
        let is = |end: &&End| matches!(end, End::Refused(_, refused) if refused == code);
        self.desk.last.lock().unwrap().values().filter(is).count()
    }

    /// Ends the load, with the calls that are open.
    pub(crate) fn stop(&mut self) {
        self.desk.stop.store(true, Relaxed);
        for client in self.clients.drain(..) {
            self.runtime.block_on(client).unwrap();
        }
    }

    /// One call more; so many tokens at most, all of which are billed.
    pub(crate) fn one(&self, gateway: usize, tokens: u64) -> End {
        let frame = self.desk.frame.load(Relaxed);
        let (marker, bound) = (self.desk.marker(), tokens);
        let (pace, fate) = (Duration::ZERO, Fate::Whole);
        let order = Order { marker: marker.clone(), input: frame, output: tokens - frame, pace, bulk: 0, fate };
        let (end, _) = self.runtime.block_on(self.desk.send(gateway, 0, &order, tokens - frame, Reads::Whole));
        self.desk.calls.lock().unwrap().push(Call { marker, gateway, bound, fate, end: end.clone() });
        end
    }

    /// All calls that were made.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.desk.calls.lock().unwrap().clone()
    }
}

/// How a client reads an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reads {
    /// As one document.
    Whole,
    /// As a stream, to its end.
    Stream,
    /// As a stream, and not to its end.
    Beginning,
}

/// What becomes of one of so many calls: of forty one is an error, and of forty streams one breaks off, and one is left by its client.
fn turn(call: usize, stream: bool) -> (Fate, Reads) {
    let reads = if stream { Reads::Stream } else { Reads::Whole };
    match call % 40 {
        10 => (Fate::Fails, reads),
        20 if stream => (Fate::Breaks, reads),
        30 if stream => (Fate::Whole, Reads::Beginning),
        _ => (Fate::Whole, reads),
    }
}

impl Desk {
    fn marker(&self) -> String {
        format!("m{:07}", self.next.fetch_add(1, Relaxed))
    }

    async fn client(&self, number: usize) {
        let gateway = number % self.gateways.len();
        for call in 0.. {
            if self.stop.load(Relaxed) {
                return;
            }
            let (fate, reads) = turn(number + call, number.is_multiple_of(2));
            let size = if self.large.load(Relaxed) { LARGE } else { SMALL };
            let bulky = self.bulky.load(Relaxed) == gateway;
            // 200 clients make a hundred small calls a second at most: two cores run all of the fleet, unoptimised, and Kafka.
            let slow = if self.large.load(Relaxed) { 300 } else { 800 + 250 * (number as u64 % 10) };
            let (frame, marker) = (self.frame.load(Relaxed), self.marker());
            let order = Order {
                marker: marker.clone(),
                input: frame,
                output: size.bill * UNIT - frame,
                pace: Duration::from_millis(if bulky { 0 } else { slow }),
                bulk: if bulky { BULK } else { 0 },
                fate,
            };
            let bound = size.bound * UNIT;
            let (end, _) = self.send(gateway, number % TENANTS.len(), &order, bound - frame, reads).await;
            self.calls.lock().unwrap().push(Call { marker, gateway, bound, fate, end: end.clone() });
            let rests = !matches!(end, End::Answered(_));
            self.last.lock().unwrap().insert(number, end);
            if rests {
                tokio::time::sleep(REST).await;
            }
        }
    }

    /// Makes a call whose output is capped; gives how it ended, and what was said if it was refused.
    async fn send(&self, gateway: usize, tenant: usize, order: &Order, cap: u64, reads: Reads) -> (End, Value) {
        let stream = reads != Reads::Whole;
        let body = json!({ "model": "m", "max_tokens": cap, "stream": stream, "metadata": { "order": order.line() },
            "messages": [{ "role": "user", "content": "hi" }] });
        let request = self.client.post(format!("http://{}/v1/chat/completions", self.gateways[gateway]));
        let request = request.bearer_auth(format!("tg-{}", TENANTS[tenant]));
        let request = request.header("x-tollgate-tags", format!("marker={}", order.marker)).json(&body);
        let Ok(mut answer) = request.send().await else { return (End::Broken, Value::Null) };
        let id = answer.headers().get("x-tollgate-call-id").map(|id| id.to_str().unwrap().to_owned());
        let status = answer.status().as_u16();
        if reads == Reads::Beginning && status == 200 {
            let begun = answer.chunk().await;
            return (if matches!(begun, Ok(Some(_))) { End::Left } else { End::Broken }, Value::Null);
        }
        let Ok(text) = answer.text().await else { return (End::Broken, Value::Null) };
        if status == 200 {
            let whole = if stream { text.ends_with("data: [DONE]\n\n") } else { text.ends_with('}') };
            assert!(whole, "an answer ends without being broken off: {text}");
            return (End::Answered(id.unwrap()), Value::Null);
        }
        let said: Value = serde_json::from_str(&text).unwrap();
        if said["error"]["code"] == FAILED {
            return (End::Failed(id.unwrap()), Value::Null);
        }
        (End::Refused(status, said["error"]["code"].as_str().unwrap_or_default().to_owned()), said)
    }
}
