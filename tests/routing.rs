//! Routing by the real binary: every attempt is charged by itself, a call is one row, and the sums of both are what limits count.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::fs;

use serde_json::{Value, json};

#[expect(dead_code, reason = "each test of the real binary uses a part of it")]
#[path = "support/house.rs"]
mod house;

use house::{Process, number};

const LIMITS: &str = "[ { name: requests, scope: { tenant: acme }, unit: requests, amount: 100, window: total, mode: hard },\
    { name: tokens, scope: { tenant: acme }, unit: tokens, amount: 1000000, window: total, mode: hard },\
    { name: small, scope: { model: sandbox/4 }, unit: requests, amount: 2, window: total, mode: hard },\
    { name: watched, scope: { tenant: acme }, unit: requests, amount: 0, window: total, mode: observe } ]";

/// Who answered, and at the how manieth attempt.
fn call(house: &Process, model: &str) -> (String, String) {
    let body = json!({ "model": model, "messages": [{ "role": "user", "content": "hello" }] });
    let request = reqwest::blocking::Client::new().post(format!("http://{}/v1/chat/completions", house.gateway));
    let answer = request.bearer_auth("tg-acme").json(&body).send().unwrap();
    assert_eq!(answer.status(), 200, "{:?}", answer.text());
    let header = |name: &str| answer.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    (header("x-tollgate-served-by"), header("x-tollgate-attempts"))
}

fn one(house: &Process, sql: &str) -> Value {
    house.rows(sql).remove(0)
}

#[test]
fn each_attempt_is_charged_by_itself_and_a_call_is_one_row() {
    // A build without the lake has no other TLS that would do it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let mut house = Process::house(dir.path(), LIMITS);
    house.start();
    // Nobody listens there. After three failures in a row it is not asked any more.
    for attempts in ["2", "2", "2", ""] {
        assert_eq!(call(&house, "lame"), ("sandbox/sandbox/8".into(), attempts.into()));
    }
    // Two requests are all that the limit of the first model has.
    for model in ["sandbox/4", "sandbox/4", "sandbox/8"] {
        assert_eq!(call(&house, "full"), (format!("sandbox/{model}"), String::new()));
    }
    let count = |table: &str| number(&one(&house, &format!("SELECT count(*) AS n FROM {table}")), "n");
    house.wait_for("all rows", || count("calls") == 7 && count("usage") == 10);
    let sums = "count(DISTINCT call_id) AS calls, sum(input_tokens) AS input, sum(output_tokens) AS output, sum(cost_usd) AS usd";
    let of = |table: &str| one(&house, &format!("SELECT {sums} FROM {table}"));
    assert_eq!(of("usage"), of("calls"));
    let rows = house.rows("SELECT attempts, outcome, count(*) AS n FROM calls GROUP BY 1, 2 ORDER BY 1");
    assert_eq!(
        rows,
        [
            json!({ "attempts": 1, "outcome": "complete", "n": 4 }),
            json!({ "attempts": 2, "outcome": "complete", "n": 3 })
        ]
    );
    let rows = house.rows("SELECT model, attempt, outcome, count(*) AS n FROM usage GROUP BY 1, 2, 3 ORDER BY 1, 2");
    let row = |model: &str, attempt: u8, outcome: &str, n: u8| json!({ "model": model, "attempt": attempt, "outcome": outcome, "n": n });
    let wanted = [
        row("gpt-4o-mini", 1, "provider_error", 3),
        row("sandbox/4", 1, "complete", 2),
        row("sandbox/8", 1, "complete", 2),
        row("sandbox/8", 2, "complete", 3),
    ];
    assert_eq!(rows, wanted);
    let tokens = number(&one(&house, "SELECT sum(input_tokens + output_tokens) AS n FROM usage"), "n");
    let settled = |limit: &str| {
        number(&one(&house, &format!("SELECT settled FROM balances WHERE limit_name = '{limit}'")), "settled")
    };
    house.wait_for("the balances", || settled("tokens") == tokens);
    assert_eq!((settled("requests"), settled("small")), (10, 2), "a request is an attempt");
    let held = "SELECT sum(held) AS n FROM balances";
    house.wait_for("nothing to be held", || number(&one(&house, held), "n") == 0);
    // The third call was not refused, and would have been; and by a limit that only watches every call, once whatever its attempts.
    let refused =
        || house.rows("SELECT limit_name, sum(count) AS calls, observed FROM refusals GROUP BY 1, 3 ORDER BY 1");
    let row = |limit: &str, calls: u8| json!({ "limit_name": limit, "calls": calls, "observed": true });
    house.wait_for("the refusals", || refused().iter().any(|row| row["calls"].as_u64() >= Some(7)));
    assert_eq!(refused(), [row("small", 1), row("watched", 7)]);
    let observed = |code: &str| house.metric(&format!("tollgate_refusals_observed{{code=\"{code}\"}}"));
    assert_eq!((observed("TG2001").as_deref(), house.metric("tollgate_refusals{code=\"TG2001\"}")), (Some("8"), None));
    assert_eq!(house.stop(), 0);
    house.prove();
}

#[test]
fn a_limit_that_keeps_a_call_from_another_attempt_has_refused_it() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let mut house = Process::house(dir.path(), LIMITS);
    let model = "models:\n  - { name: brittle, targets: [ { provider: dead, model: gpt-4o-mini }, { provider: sandbox, model: sandbox/4 } ] }\n";
    house.edit("models:\n", model);
    house.start();
    for attempts in ["2", "2"] {
        assert_eq!(call(&house, "brittle"), ("sandbox/sandbox/4".into(), attempts.into()));
    }
    assert_eq!(house.chat_with("tg-acme", "brittle").unwrap().0, 502);
    let rows =
        || house.rows("SELECT observed, sum(count) AS calls FROM refusals WHERE limit_name = 'small' GROUP BY 1");
    house.wait_for("the refusal", || !rows().is_empty());
    assert_eq!(rows(), [json!({ "observed": false, "calls": 1 })]);
    assert_eq!(house.stop(), 0);
}

#[test]
fn a_call_between_two_attempts_survives_the_death_of_its_gateway_as_one_row() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let mut house = Process::house(dir.path(), LIMITS);
    house.start();
    // Nobody listens there, so that the first attempt is over at once, and the second one follows after seconds.
    let url = format!("http://{}/v1/chat/completions", house.gateway);
    let client = std::thread::spawn(move || {
        let body = json!({ "model": "slow", "messages": [{ "role": "user", "content": "hello" }] });
        let call = reqwest::blocking::Client::new().post(url).bearer_auth("tg-acme").json(&body);
        assert!(call.send().is_err(), "nobody is left to answer");
    });
    house.wait_for("the call", || house.metric("tollgate_open_attempts").is_some_and(|open| open == "1"));
    house.kill_9();
    house.ended();
    client.join().unwrap();
    house.start();
    let rows = |sql: &str| house.rows(sql);
    house.wait_for("the row", || !rows("SELECT call_id FROM calls").is_empty());
    assert_eq!(rows("SELECT attempts, outcome FROM calls"), [json!({ "attempts": 1, "outcome": "unknown" })]);
    let usage = rows("SELECT provider, attempt, outcome, completeness FROM usage");
    let wanted = json!({ "provider": "dead", "attempt": 1, "outcome": "unknown", "completeness": "missing" });
    assert_eq!(usage, [wanted]);
    // What nobody knows stays held: a request, and once.
    let requests = one(&house, "SELECT settled, held FROM balances WHERE limit_name = 'requests'");
    assert_eq!((number(&requests, "settled"), number(&requests, "held")), (0, 1));
    assert_eq!(house.stop(), 0);
    house.prove();
}

#[test]
fn a_target_is_left_to_others_before_its_limit_is_used_up() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let mut house = Process::house(dir.path(), LIMITS);
    let file = dir.path().join("tollgate.yaml");
    let model = "models:\n  - name: frugal\n    targets: [ { provider: sandbox, model: sandbox/4, when: { left.small: 60% } }, \
                 { provider: sandbox, model: sandbox/8 } ]\n";
    let config = fs::read_to_string(&file).unwrap().replacen("models:\n", model, 1);
    fs::write(&file, config).unwrap();
    house.start();
    // Of two requests half is left after the first.
    for model in ["sandbox/4", "sandbox/8", "sandbox/8"] {
        assert_eq!(call(&house, "frugal"), (format!("sandbox/{model}"), String::new()));
    }
    assert_eq!(house.stop(), 0);
}

#[test]
fn an_ensemble_is_reserved_as_a_whole_and_charged_attempt_by_attempt() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let mut house = Process::house(dir.path(), LIMITS);
    let model = "models:\n  - name: panel\n    targets: [ { provider: sandbox, model: sandbox/8 }, { provider: dead, model: gpt-4o-mini },\n    \
                 { provider: sandbox, model: sandbox/16 } ]\n    judge: { provider: sandbox, model: sandbox/4 }\n";
    house.edit("models:\n", model);
    // A call is one however many of its attempts are open.
    house.edit(
        "limits: [",
        "limits: [ { name: open, scope: { tenant: acme }, unit: concurrent, amount: 1, mode: hard },",
    );
    house.start();
    for _ in 0..2 {
        assert_eq!(call(&house, "panel"), ("sandbox/sandbox/4".into(), "4".into()));
    }
    let count = |table: &str| number(&one(&house, &format!("SELECT count(*) AS n FROM {table}")), "n");
    house.wait_for("all rows", || count("calls") == 2 && count("usage") == 8);
    let rows = house.rows("SELECT model, attempt, outcome, count(*) AS n FROM usage GROUP BY 1, 2, 3 ORDER BY 2");
    let row = |model: &str, attempt: u8, outcome: &str| json!({ "model": model, "attempt": attempt, "outcome": outcome, "n": 2 });
    let wanted = [
        row("sandbox/8", 1, "complete"),
        row("gpt-4o-mini", 2, "provider_error"),
        row("sandbox/16", 3, "complete"),
        row("sandbox/4", 4, "complete"),
    ];
    assert_eq!(rows, wanted);
    assert_eq!(
        house.rows("SELECT DISTINCT attempts, outcome FROM calls"),
        [json!({ "attempts": 4, "outcome": "complete" })]
    );
    let sums = "count(DISTINCT call_id) AS calls, sum(input_tokens) AS input, sum(output_tokens) AS output, sum(cost_usd) AS usd";
    let of = |table: &str| one(&house, &format!("SELECT {sums} FROM {table}"));
    assert_eq!(of("usage"), of("calls"));
    // The judge has read what the members said.
    let input = |model: &str| {
        number(&one(&house, &format!("SELECT min(input_tokens) AS n FROM usage WHERE model = '{model}'")), "n")
    };
    assert!(input("sandbox/4") > input("sandbox/8") + 24);
    let tokens = number(&one(&house, "SELECT sum(input_tokens + output_tokens) AS n FROM usage"), "n");
    let settled = |limit: &str| {
        number(&one(&house, &format!("SELECT settled FROM balances WHERE limit_name = '{limit}'")), "settled")
    };
    house.wait_for("the balances", || (settled("tokens"), settled("requests")) == (tokens, 8));
    house.wait_for("nothing to be held", || number(&one(&house, "SELECT sum(held) AS n FROM balances"), "n") == 0);

    // The third request of the judge's model does not fit, and the row says whose it was.
    let body = json!({ "model": "panel", "messages": [{ "role": "user", "content": "hello" }] });
    let refused = || {
        let request = house.client.post(format!("http://{}/v1/chat/completions", house.gateway));
        let answer = request.bearer_auth("tg-acme").json(&body).send().unwrap();
        (answer.status().as_u16(), answer.json::<Value>().unwrap())
    };
    let (status, told) = refused();
    assert_eq!((status, &told["error"]["limit"]["name"]), (429, &json!("small")));
    let rows = || house.rows("SELECT model, limit_name FROM refusals WHERE NOT observed");
    house.wait_for("the refusal", || !rows().is_empty());
    assert_eq!(rows(), [json!({ "model": "sandbox/4", "limit_name": "small" })]);

    // Each would fit by itself; all together do not, so nobody is asked.
    house.edit("amount: 1000000", "amount: 60000");
    house.reload("its policy is in force");
    house.wait_for("the smaller limit", || refused().1["error"]["limit"]["name"] == "tokens");
    assert_eq!(refused().0, 429);
    assert_eq!((count("usage"), number(&one(&house, "SELECT sum(held) AS n FROM balances"), "n")), (8, 0));
    assert_eq!(house.stop(), 0);
    house.prove();
}
