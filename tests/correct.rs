//! Corrections by the real binary: other systems tell of usage, prices are corrected afterwards, other limits are tried on the past.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{fs, path::Path};

use serde_json::{Value, json};

#[expect(dead_code, reason = "each test of the real binary uses a part of it")]
#[path = "support/house.rs"]
mod house;

use house::Process;

const LIMITS: &str = "[ { name: spend, scope: { tenant: acme }, unit: usd, amount: \"0.01\", window: total, mode: hard },\
    { name: every, scope: {}, unit: tokens, amount: 1000000, window: month, mode: soft } ]";

const DEARER: &str = "models:\n  - provider: sandbox\n    names: [\"sandbox/*\"]\n    context_window: 1000000\n    source: a test\n    \
    source_date: 2026-11-22\n    prices:\n      - { per_million: { input: 10.00, output: 20.00 } }\n";

/// An event of 1,000 tokens of input, which are a tenth of a cent.
fn event(id: &str, time: &str) -> Value {
    json!({ "specversion": "1.0", "id": id, "source": "urn:test", "type": "tollgate.usage.v1", "time": time,
        "data": { "provider": "sandbox", "model": "sandbox/1", "tokens": { "input": 1000 } } })
}

/// Posts events; gives the status, and the code or how many were taken.
fn tell(house: &Process, key: &str, kind: &str, body: &Value) -> (u16, String) {
    let client = reqwest::blocking::Client::new();
    let request = client.post(format!("http://{}/v1/events", house.gateway)).bearer_auth(key);
    let answer = request.header("content-type", kind).body(body.to_string()).send().unwrap();
    let (status, body) = (answer.status().as_u16(), answer.json::<Value>().unwrap());
    let taken = body["accepted"].as_u64().map(|taken| taken.to_string());
    (status, taken.unwrap_or_else(|| body["error"]["code"].as_str().unwrap_or_default().to_owned()))
}

const SINGLE: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json; charset=utf-8";

/// The numbers of a report's line for all tenants: attempts, before, after.
fn all(said: &str) -> Vec<String> {
    let line = said.lines().find(|line| line.starts_with("all ")).unwrap();
    line.split_whitespace().skip(1).map(str::to_owned).collect()
}

fn write(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn what_is_told_and_corrected_counts_once_and_is_proved() {
    // A build without the lake has no other TLS that would do it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let mut house = Process::house(dir.path(), LIMITS);
    house.start();
    let now = schemas::time::now().to_string();
    let check = |key: &str, kind: &str, body: &Value, wanted: (u16, &str)| {
        assert_eq!(tell(&house, key, kind, body), (wanted.0, wanted.1.to_owned()), "{kind} {body}");
    };
    check("tg-acme", SINGLE, &event("1", &now), (202, "1"));
    check("tg-acme", SINGLE, &event("1", &now), (202, "1"));
    check("tg-acme", BATCH, &json!([event("1", &now), event("2", &now)]), (202, "2"));
    check("tg-globex", SINGLE, &event("1", &now), (202, "1"));
    // Of what has no price a hard limit in dollars would count nothing, so that none of it is taken.
    let mut unpriced = event("9", &now);
    unpriced["data"]["model"] = json!("nobody-knows");
    check("tg-acme", BATCH, &json!([event("9/1", &now), unpriced]), (422, "TG3022"));
    check("tg-acme", BATCH, &json!([event("3", &now), event("4", "2026-01-01T00:00:00Z")]), (400, "TG3016"));
    check("tg-acme", "text/plain", &event("3", &now), (400, "TG3016"));
    check("tg-nobody", SINGLE, &event("3", &now), (401, "TG3002"));
    let many: Vec<Value> = (0..501).map(|id| event(&id.to_string(), &now)).collect();
    check("tg-acme", BATCH, &json!(many), (400, "TG3016"));
    assert_eq!(house.chat("tg-acme", 64).unwrap().0, 200);
    assert_eq!(house.stop(), 0);
    house.prove();

    // Three events of a tenth of a cent and a call: ten times as dear, acme's cent is overdrawn.
    let prices = write(dir.path(), "dearer.yaml", DEARER);
    let looked = house.command(&["rerate", "--prices", &prices]);
    assert_eq!(all(&looked)[0], "4", "{looked}");
    let applied = house.command(&["rerate", "--prices", &prices, "--apply"]);
    assert!(applied.contains("\n4 attempts corrected"), "{applied}");
    assert_eq!(all(&applied), all(&looked));
    house.prove();
    let again = house.command(&["rerate", "--prices", &prices, "--apply"]);
    assert!(again.contains("\n0 attempts corrected") && all(&again)[1] == all(&looked)[2], "{again}");
    let limits = write(
        dir.path(),
        "limits.yaml",
        "limits: [ { name: few, scope: { tenant: \"*\" }, unit: requests, amount: 2, window: total, mode: hard } ]\n",
    );
    // The events are use, and the call is one too many; it is the one thing that could be refused.
    let judged = house.command(&["backtest", "--limits", &limits, "--calls"]);
    assert!(judged.contains("\n1 attempts would have been refused") && judged.contains(" 1 few\n"), "{judged}");

    house.start();
    let (status, _, body) = house.chat("tg-acme", 8).unwrap();
    assert_eq!((status, body["error"]["limit"]["name"].as_str()), (429, Some("spend")), "{body}");
    assert_eq!(house.chat("tg-globex", 8).unwrap().0, 200);
    assert_eq!(house.stop(), 0);
    house.prove();
}

#[test]
fn a_period_in_which_nothing_can_lie_is_refused() {
    let check = |command: &[&str], from: &str, to: &str| {
        let mut tollgate = std::process::Command::new(env!("CARGO_BIN_EXE_tollgate"));
        let output = tollgate.args(command).args(["--from", from, "--to", to]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{command:?} {said}");
        assert!(said.contains("is not before `--to`"), "{said}");
    };
    for command in [["rerate", "--prices", "none.yaml"], ["backtest", "--limits", "none.yaml"]] {
        check(&command, "2026-11-02", "2026-11-01");
        check(&command, "2026-11-01T00:00:00Z", "2026-11-01");
    }
}
