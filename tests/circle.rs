//! The circle, by the real binary: a call becomes an event, a balance, a decision, a row and an answer, also across `kill -9`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{
    collections::HashSet,
    io::Read as _,
    path::Path,
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::Value;

#[expect(dead_code, reason = "each test of the real binary uses a part of it")]
#[path = "support/house.rs"]
mod house;
#[path = "support/sdk.rs"]
mod sdk;

use house::{Process, Stop, number};

const MONTH: &str =
    "[ { name: acme-month, scope: { tenant: acme }, unit: tokens, amount: 100000000, window: month, mode: hard } ]";

#[test]
fn a_call_is_in_an_answer_soon_and_settles_its_limit() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = Process::house(dir.path(), MONTH);
    house.start();
    let (status, id, body) = house.chat("tg-acme", 64).unwrap();
    assert_eq!((status, body["usage"]["completion_tokens"].as_i64()), (200, Some(64)));
    let sql = format!("SELECT input_tokens, output_tokens, cost_usd, completeness FROM usage WHERE call_id = '{id}'");
    let mut rows = Vec::new();
    house.wait_for("the row", || {
        rows = house.rows(&sql);
        !rows.is_empty()
    });
    assert_eq!(
        (rows.len(), number(&rows[0], "output_tokens"), rows[0]["completeness"].as_str()),
        (1, 64, Some("exact"))
    );
    let tokens = number(&rows[0], "input_tokens") + number(&rows[0], "output_tokens");
    house.wait_for("the balance", || {
        let balance = house.rows("SELECT settled, held FROM balances WHERE limit_name = 'acme-month'");
        balance.len() == 1 && number(&balance[0], "settled") == tokens && number(&balance[0], "held") == 0
    });
    let charges = house.rows("SELECT sum(cost_usd) AS usd FROM charges");
    assert_eq!(
        charges[0]["usd"].as_str().unwrap().trim_end_matches('0'),
        rows[0]["cost_usd"].as_str().unwrap().trim_end_matches('0')
    );
    assert!(house.ask("tgq-acme", "SELECT * FROM usage").unwrap().len() == 1);
    assert!(house.ask("wrong", "SELECT 1").is_err());
    assert_eq!(house.stop(), 0);
}

#[test]
fn a_refused_call_is_refused_in_its_dialect_and_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let limits = "[ { name: two, scope: { tenant: acme }, unit: requests, amount: 2, window: month, mode: hard } ]";
    let mut house = Process::house(dir.path(), limits);
    house.start();
    for _ in 0..2 {
        assert_eq!(house.chat("tg-acme", 8).unwrap().0, 200);
    }
    let (status, _, body) = house.chat("tg-acme", 8).unwrap();
    assert_eq!((status, body["error"]["code"].as_str()), (429, Some("TG2001")));
    assert_eq!(house.chat("tg-globex", 8).unwrap().0, 200, "another tenant is not under the limit");
    house.wait_for("the refusal", || {
        let rows = house.rows("SELECT limit_name, code, sum(count) AS n FROM refusals GROUP BY limit_name, code");
        rows.len() == 1 && rows[0]["code"] == "TG2001" && number(&rows[0], "n") == 1
    });
}

#[test]
fn two_hundred_callers_use_a_limit_up_and_never_pass_it() {
    const AMOUNT: i64 = 40_000;
    let dir = tempfile::tempdir().unwrap();
    let limits = "[ { name: all, scope: { tenant: acme }, unit: tokens, amount: 40000, window: total, mode: hard } ]";
    let mut house = Process::house(dir.path(), limits);
    house.start();
    let (spent, needed) = (Mutex::new(0), Mutex::new(0));
    std::thread::scope(|scope| {
        for _ in 0..200 {
            scope.spawn(|| {
                loop {
                    let (status, _, body) = house.chat("tg-acme", 64).unwrap();
                    if status == 200 {
                        *spent.lock().unwrap() += body["usage"]["total_tokens"].as_i64().unwrap();
                        continue;
                    }
                    assert_eq!(status, 429, "{body}");
                    let message = body["error"]["message"].as_str().unwrap();
                    let held: i64 =
                        message.split(" settled, ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
                    if held == 0 {
                        let may_need = message.split("may need ").nth(1).unwrap();
                        *needed.lock().unwrap() =
                            may_need.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap();
                        break;
                    }
                }
            });
        }
    });
    let (spent, needed) = (spent.into_inner().unwrap(), needed.into_inner().unwrap());
    assert!(spent <= AMOUNT, "{spent} were spent of {AMOUNT}");
    assert!(spent + needed > AMOUNT, "{spent} were spent, and {needed} more were refused, of {AMOUNT}");
    house.wait_for("the balance", || {
        let balance = house.rows("SELECT settled, held FROM balances WHERE limit_name = 'all'");
        (number(&balance[0], "settled"), number(&balance[0], "held")) == (spent, 0)
    });
}

#[test]
fn kill_9_under_load_loses_nothing_and_charges_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = Process::house(dir.path(), MONTH);
    let answered = Mutex::new(HashSet::new());
    for round in 0..3 {
        house.start();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        match house.chat("tg-acme", 16) {
                            Some((200, id, _)) => drop(answered.lock().unwrap().insert(id)),
                            _ => std::thread::sleep(Duration::from_millis(5)),
                        }
                    }
                });
            }
            let _stop = Stop(&stop);
            let wanted = 100 * (round + 1);
            house.wait_for("calls", || answered.lock().unwrap().len() >= wanted);
            house.kill_9();
        });
        house.ended();
    }
    house.start();
    let answered = answered.into_inner().unwrap();
    let seen = || -> (Vec<String>, Vec<Value>) {
        let rows = house.rows("SELECT call_id, outcome, input_tokens, output_tokens FROM usage");
        (rows.iter().map(|row| row["call_id"].as_str().unwrap().to_owned()).collect(), rows)
    };
    house.wait_for("every call that was answered", || {
        let ids: HashSet<String> = seen().0.into_iter().collect();
        answered.is_subset(&ids)
    });
    let (ids, rows) = seen();
    assert_eq!(ids.len(), ids.iter().collect::<HashSet<_>>().len(), "a call has two rows");
    let extra = rows.iter().filter(|row| !answered.contains(row["call_id"].as_str().unwrap()));
    for row in extra {
        // Settled, but the client did not get the whole answer any more; or found unsettled.
        assert!(["complete", "unknown", "client_gone"].contains(&row["outcome"].as_str().unwrap()), "{row}");
    }
    let known = rows.iter().filter(|row| !row["input_tokens"].is_null());
    let tokens: i64 = known.map(|row| number(row, "input_tokens") + number(row, "output_tokens")).sum();
    house.wait_for("the balance", || {
        let balance = house.rows("SELECT sum(settled) AS settled FROM balances WHERE limit_name = 'acme-month'");
        number(&balance[0], "settled") == tokens
    });
    assert_eq!(house.stop(), 0);
    house.prove();
    costs_twice_as_much_at_twice_the_price(&house, dir.path());
}

fn costs_twice_as_much_at_twice_the_price(house: &Process, dir: &Path) {
    let prices = dir.join("prices.yaml");
    let double = "models: [ { provider: sandbox, names: [\"sandbox/*\"], source: a test, source_date: 2026-11-22, \
        prices: [ { per_million: { input: 2.00, output: 4.00 } } ] } ]";
    std::fs::write(&prices, double).unwrap();
    let said = house.command(&["rerate", "--prices", prices.to_str().unwrap()]);
    let sums: Vec<&str> = said.lines().last().unwrap().split_whitespace().collect();
    let [all, _attempts, before, after, delta] = sums[..] else { unreachable!("{said}") };
    let usd = |text: &str| text.parse::<f64>().unwrap();
    assert_eq!((all, delta), ("all", before), "{said}");
    assert!(usd(before) > 0.0 && (usd(after) - 2.0 * usd(before)).abs() < 1e-12, "{said}");
    let none = house.command(&["rerate", "--prices", prices.to_str().unwrap(), "--to", "2026-01-01"]);
    assert_eq!(none.lines().count(), 2, "{none}");
}

#[test]
fn a_crash_settles_what_the_provider_had_reported_and_holds_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let limits = "[ { name: hard, scope: { tenant: acme }, unit: tokens, amount: 1000000, window: total, mode: hard }, \
        { name: soft, scope: { tenant: acme }, unit: tokens, amount: 1000000, window: total, mode: soft } ]";
    let mut house = Process::house(dir.path(), limits);
    house.start();
    // The first call of this process: nothing was ever settled under its limits.
    let mut stream = house.stream("tg-acme", 20_000);
    let mut seen = vec![0; 64 * 1024];
    stream.read_exact(&mut seen).unwrap();
    assert!(seen.starts_with(b"event: message_start"));
    house.kill_9();
    house.ended();
    house.start();
    let mut rows = Vec::new();
    house.wait_for("the row", || {
        rows = house.rows("SELECT outcome, completeness, input_tokens, output_tokens FROM usage");
        rows.len() == 1
    });
    assert_eq!((rows[0]["outcome"].as_str(), rows[0]["completeness"].as_str()), (Some("unknown"), Some("lower_bound")));
    let used = number(&rows[0], "input_tokens") + number(&rows[0], "output_tokens");
    assert!(used > 0);
    house.wait_for("both balances", || {
        let balances = house.rows("SELECT settled, held FROM balances ORDER BY limit_name");
        balances.len() == 2 && balances.iter().all(|row| number(row, "settled") == used && number(row, "held") > 19_000)
    });
    assert_eq!(house.stop(), 0);
    house.prove();
}

#[test]
fn the_official_sdks_are_content() {
    let dir = tempfile::tempdir().unwrap();
    let limits = "[ { name: g, scope: { tenant: globex }, unit: requests, amount: 1, window: total, mode: hard }, \
        { name: each-model, scope: { tenant: acme, model: \"*\" }, unit: tokens, amount: 4000, window: day, mode: hard, stream: slices } ]";
    let mut house = Process::house(dir.path(), limits);
    house.start();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/sdk/check.py");
    let done = Command::new(sdk::python()).arg(script).arg(format!("http://{}", house.gateway)).output().unwrap();
    assert!(
        done.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
}
