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

/// Posts events; gives the status and the body.
fn answer(house: &Process, key: &str, kind: &str, body: &Value) -> (u16, Value) {
    let client = reqwest::blocking::Client::new();
    let request = client.post(format!("http://{}/v1/events", house.gateway)).bearer_auth(key);
    let answer = request.header("content-type", kind).body(body.to_string()).send().unwrap();
    (answer.status().as_u16(), answer.json::<Value>().unwrap())
}

/// Posts two events in the same moment; gives what is told of each.
fn at_once(house: &Process, key: &str, events: &[Value; 2]) -> [(u16, String); 2] {
    let both = &std::sync::Barrier::new(2);
    let post = move |event| {
        both.wait();
        tell(house, key, SINGLE, event)
    };
    std::thread::scope(|scope| {
        let threads = events.each_ref().map(|event| scope.spawn(move || post(event)));
        threads.map(|thread| thread.join().unwrap())
    })
}

/// Posts events; gives the status, and the code or how many were taken.
fn tell(house: &Process, key: &str, kind: &str, body: &Value) -> (u16, String) {
    let (status, body) = answer(house, key, kind, body);
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
fn what_is_told_counts_once_and_who_says_otherwise_by_the_same_id_is_told_so() {
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
    let mut twice = event("8", &now);
    twice["data"]["tokens"]["input"] = json!(999);
    check("tg-acme", BATCH, &json!([event("8", &now), twice]), (409, "TG3033"));
    check("tg-acme", "text/plain", &event("3", &now), (400, "TG3016"));
    check("tg-nobody", SINGLE, &event("3", &now), (401, "TG3002"));
    let many: Vec<Value> = (0..501).map(|id| event(&id.to_string(), &now)).collect();
    check("tg-acme", BATCH, &json!(many), (400, "TG3016"));
    // Who says something else by a used id is told so at once, and nothing beside it is taken; by others it is free.
    let otherwise = |id: &str| {
        let mut otherwise = event(id, &now);
        otherwise["data"]["tokens"]["input"] = json!(999);
        otherwise
    };
    check("tg-acme", SINGLE, &otherwise("1"), (409, "TG3033"));
    check("tg-acme", BATCH, &json!([event("9", &now), otherwise("1")]), (409, "TG3033"));
    for round in 0..8 {
        let id = format!("race-{round}");
        let mut told = at_once(&house, "tg-globex", &[event(&id, &now), otherwise(&id)]);
        told.sort();
        assert_eq!(told, [(202, "1".to_owned()), (409, "TG3033".to_owned())]);
    }
    // Metering's word on what was taken is in the answer as soon as it is here.
    let counted = || answer(&house, "tg-acme", SINGLE, &event("1", &now)).1["events"][0]["counted"] == true;
    house.wait_for("the word that it counts", counted);
    check("tg-acme", SINGLE, &event("1", &now), (202, "1"));
    assert_eq!(house.chat("tg-acme", 64).unwrap().0, 200);
    assert_eq!(house.stop(), 0);
    house.prove();
}

#[test]
fn what_is_corrected_counts_once_and_is_proved() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let mut house = Process::house(dir.path(), LIMITS);
    house.start();
    let now = schemas::time::now().to_string();
    for (key, count) in [("tg-acme", 2), ("tg-globex", 9)] {
        let events: Vec<Value> = (0..count).map(|id| event(&id.to_string(), &now)).collect();
        assert_eq!(tell(&house, key, BATCH, &json!(events)), (202, count.to_string()), "{key}");
    }
    assert_eq!(house.chat("tg-acme", 64).unwrap().0, 200);
    assert_eq!(house.stop(), 0);
    house.prove();

    // Eleven events of a tenth of a cent and a call: ten times as dear, acme's cent is overdrawn.
    let prices = write(dir.path(), "dearer.yaml", DEARER);
    let looked = house.command(&["rerate", "--prices", &prices]);
    assert_eq!(all(&looked)[0], "12", "{looked}");
    let applied = house.command(&["rerate", "--prices", &prices, "--apply"]);
    assert!(applied.contains("\n12 attempts corrected"), "{applied}");
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
    // What is added to a call that was rated anew is rated as that was, though the book is not in force.
    let stands = || {
        let sum = "(SELECT sum(cost_usd) FROM charges WHERE tenant = 'acme')";
        house.rows(&format!("SELECT settled, {sum} AS cost FROM balances WHERE limit_name = 'spend'")).remove(0)
    };
    let before = stands();
    let call =
        house.rows("SELECT call_id, input_tokens, output_tokens FROM usage WHERE tenant = 'acme' AND status = 200");
    let (id, input, output) =
        (&call[0]["call_id"], house::number(&call[0], "input_tokens"), house::number(&call[0], "output_tokens"));
    let data = json!({ "call_id": id, "was": { "input": input, "output": output }, "tokens": { "input": input, "output": output + 10 } });
    let more = json!({ "specversion": "1.0", "id": "more", "source": "urn:test", "type": "tollgate.usage.amended.v1",
        "time": now, "data": data });
    assert_eq!(tell(&house, "tg-acme", SINGLE, &more), (202, "1".into()));
    house.wait_for("the amendment", || stands()["cost"] != before["cost"]);
    house.wait_for("the balance", || stands()["cost"] == stands()["settled"]);
    assert_eq!(house.stop(), 0);
    house.prove();
}

/// A price file of some models of ours, which nothing else prices.
fn ours(models: &str, price: &str) -> String {
    format!(
        "models: [ {{ provider: sandbox, names: [{models}], source: a test, source_date: 2026-11-22, prices: [ {{ {price} }} ] }} ]\n"
    )
}

#[test]
fn a_file_of_one_price_corrects_that_and_leaves_what_the_configuration_prices() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let own = write(dir.path(), "own.yaml", &ours("ours/1, ours/2", "per_million: { input: 1.00, output: 2.00 }"));
    let mut house = Process::house(dir.path(), LIMITS);
    house.edit("access: [", &format!("prices: [ {own} ]\naccess: ["));
    house.start();
    let now = schemas::time::now().to_string();
    for id in ["1", "2"] {
        let mut told = event(id, &now);
        told["data"]["model"] = json!(format!("ours/{id}"));
        assert_eq!(tell(&house, "tg-acme", SINGLE, &told), (202, "1".to_owned()));
    }
    assert_eq!(house.stop(), 0);
    house.prove();

    let one = write(dir.path(), "one.yaml", &ours("ours/2", "per_million: { input: 3.00 }"));
    let looked = house.command(&["rerate", "--prices", &one]);
    assert_eq!(all(&looked), ["2", "0.002", "0.004", "0.002"], "{looked}");
    let applied = house.command(&["rerate", "--prices", &one, "--apply"]);
    assert!(applied.contains("\n1 attempts corrected") && all(&applied) == all(&looked), "{applied}");
    house.prove();
    // Whatever the configuration says by now, what stands is what was corrected.
    house.edit(&format!("prices: [ {own} ]\n"), "");
    let again = house.command(&["rerate", "--prices", &one, "--apply"]);
    assert!(again.contains("\n0 attempts corrected"), "{again}");
    let back = house.command(&["rerate", "--prices", &own, "--apply"]);
    assert!(back.contains("\n1 attempts corrected"), "{back}");
    assert_eq!(all(&back), ["2", "0.004", "0.002", "-0.002"], "{back}");
    house.prove();

    // What nothing prices any more is shown, and applied only where that is meant.
    let over = write(dir.path(), "over.yaml", &ours("ours/1", "to: 2020-01-01, per_million: { input: 1.00 }"));
    let looked = house.command(&["rerate", "--prices", &over]);
    assert_eq!(all(&looked), ["2", "0.002", "0.001", "+1", "-0.001"], "{looked}");
    let mut refusing = std::process::Command::new(env!("CARGO_BIN_EXE_tollgate"));
    refusing.args(["rerate", "--apply", "--prices", &over, "--config"]).arg(dir.path().join("tollgate.yaml"));
    let refused = refusing.output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(64), "{said}");
    assert!(said.contains("1 charges") && said.contains("`ours/1`") && said.contains("--allow-unpriced"), "{said}");
    assert_eq!(house.command(&["rerate", "--prices", &over]), looked, "nothing is corrected");
    house.prove();
    let applied = house.command(&["rerate", "--prices", &over, "--apply", "--allow-unpriced"]);
    assert!(applied.contains("\n1 attempts corrected"), "{applied}");
    house.prove();
}

/// 700 tokens for ever: a stream that nobody saw the end of leaves too little of them for anything else.
const WHOLE: &str =
    "[ { name: whole, scope: { tenant: acme }, unit: tokens, amount: 700, window: total, mode: hard } ]";
const KEYS: &str = "{ name: ci, key: tg-acme, team: t, user: u }, { name: other, key: tg-acme-other }, \
    { name: books, key: tg-acme-books, corrects: true }";

/// Ends the process in the middle of a stream; gives the call of it, and what is known of its use, once it is started again.
fn abandoned(house: &mut Process, before: usize) -> (String, u64, u64) {
    use std::io::Read as _;
    let mut stream = house.stream("tg-acme", 600);
    assert_eq!(stream.status().as_u16(), 200);
    stream.read_exact(&mut [0; 64]).unwrap();
    house.kill_9();
    house.ended();
    house.start();
    let mut rows = Vec::new();
    house.wait_for("the row of the stream", || {
        rows = house
            .rows("SELECT call_id, input_tokens, output_tokens FROM usage WHERE outcome = 'unknown' ORDER BY time");
        rows.len() > before
    });
    let row = rows.pop().unwrap();
    let tokens = |column: &str| row[column].as_u64().unwrap_or(0);
    (row["call_id"].as_str().unwrap().to_owned(), tokens("input_tokens"), tokens("output_tokens"))
}

/// What is settled and what is held of the limit.
fn stands(house: &Process) -> (i64, i64) {
    let rows = house.rows("SELECT settled, held FROM balances WHERE limit_name = 'whole'");
    (house::number(&rows[0], "settled"), house::number(&rows[0], "held"))
}

#[test]
fn what_turns_out_to_be_known_of_an_abandoned_stream_is_amended_by_who_may_and_only_from_what_stands() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let mut house = Process::house(dir.path(), WHOLE);
    house.edit("{ name: ci, key: tg-acme, team: t, user: u }", KEYS);
    house.start();
    let (call, input, output) = abandoned(&mut house, 0);
    let now = schemas::time::now().to_string();
    let amendment = |id: &str, call: &str, was: (u64, u64), to: u64| {
        json!({ "specversion": "1.0", "id": id, "source": "urn:bill", "type": "tollgate.usage.amended.v1", "time": now,
            "data": { "call_id": call, "was": { "input": was.0, "output": was.1 }, "tokens": { "input": was.0, "output": to } } })
    };
    let check = |key: &str, body: &Value, wanted: (u16, &str)| {
        assert_eq!(tell(&house, key, SINGLE, body), (wanted.0, wanted.1.to_owned()), "{key} {body}");
    };
    let passes = || house.chat("tg-acme", 64).unwrap().0 == 200;
    let (settled, held) = stands(&house);
    assert!(held >= 600 && !passes(), "{settled} settled and {held} held");

    let nobodys = "01890a5d-ac96-774b-bcce-b302099a8057";
    check("tg-acme", &amendment("1", nobodys, (0, 0), 9), (404, "TG3028"));
    check("tg-globex", &amendment("1", &call, (input, output), output + 9), (404, "TG3028"));
    check("tg-acme-other", &amendment("1", &call, (input, output), output + 9), (403, "TG3029"));
    check("tg-acme", &amendment("1", &call, (input, output + 1), output + 9), (409, "TG3030"));

    // What it may only add gives no room. Of two in the same moment one is taken, and the other is told so.
    let both = ["2", "2b"].map(|id| amendment(id, &call, (input, output), output + 100));
    let told = at_once(&house, "tg-acme", &both);
    let place = told.iter().position(|(status, _)| *status == 202).unwrap();
    assert_eq!(told[1 - place], (409, "TG3031".to_owned()));
    house.wait_for("the amendment", || stands(&house) == (settled + 100, held - 100));
    assert!(!passes());
    check("tg-acme", &both[place], (202, "1"));
    check("tg-acme", &both[1 - place], (409, "TG3031"));
    check("tg-acme", &amendment("3", &call, (input, output), output + 100), (409, "TG3031"));

    // What is known to be the whole does, once, and by two events at once as well.
    let last = amendment("4", &call, (input, output + 100), output + 120);
    check("tg-acme-books", &last, (202, "1"));
    check("tg-acme-books", &last, (202, "1"));
    house.wait_for("room", || stands(&house) == (settled + 120, 0));
    house.wait_for("a call", passes);
    let (settled, _) = stands(&house);
    assert_eq!(house.stop(), 0);
    house.prove();
    let listed = house.command(&["release"]);
    assert!(listed.contains(", unknown 0\n"), "{listed}");

    // Of another nobody ever knows more, and the operator says so.
    house.edit("amount: 700", "amount: 1700");
    house.start();
    let (call, ..) = abandoned(&mut house, 1);
    let (before, held) = stands(&house);
    assert!(held >= 600 && before >= settled, "{before} settled and {held} held");
    // Its limit is taken out, and keeps what it holds.
    let (whole, other) = (WHOLE.replace("amount: 700", "amount: 1700"), format!("[ {OTHER} ]"));
    house.edit(&whole, &other);
    house.reload("its policy is in force");
    let in_force = || !house.rows("SELECT settled FROM balances WHERE limit_name = 'other'").is_empty();
    house.wait_for("the policy without it", in_force);
    assert_eq!(house.stop(), 0);
    let listed = house.command(&["release"]);
    assert!(listed.contains(&format!("{call} attempt 1")) && !listed.contains("may be released"), "{listed}");
    let released = house.command(&["release", "--call", &call]);
    assert!(released.contains("whole") && released.contains(&held.to_string()), "{released}");
    house.prove();
    assert!(!house.command(&["release"]).contains(&call));
    house.edit(&other, &whole);
    house.start();
    house.wait_for("the balance", || stands(&house) == (before, 0));
    assert_eq!(house.stop(), 0);
}

const BACK: &str =
    "{ name: back, scope: { tenant: acme }, unit: tokens, amount: 3000, window: month, mode: hard, backfill: true }";
const TWIN: &str =
    "{ name: twin, scope: { tenant: acme }, unit: tokens, amount: 90000, window: month, mode: hard, backfill: true }";
const OTHER: &str = "{ name: other, scope: { tenant: globex }, unit: requests, amount: 9, window: day, mode: hard }";

#[test]
fn a_limit_that_is_put_back_is_where_it_would_be_had_it_not_been_taken_out() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let mut house = Process::house(dir.path(), &format!("[ {BACK} ]"));
    house.start();
    let settled = |name: &str| {
        let rows = house.rows(&format!("SELECT settled FROM balances WHERE limit_name = '{name}'"));
        rows.last().map(|row| house::number(row, "settled"))
    };
    let (status, call, body) = house.chat("tg-acme", 64).unwrap();
    assert_eq!(status, 200, "{body}");
    let row = || house.rows(&format!("SELECT input_tokens, output_tokens FROM usage WHERE call_id = '{call}'")).pop();
    house.wait_for("its row", || row().is_some());
    let row = row().unwrap();
    let (input, output) = (house::number(&row, "input_tokens"), house::number(&row, "output_tokens"));
    house.wait_for("its balance", || settled("back") == Some(input + output));

    house.edit(BACK, OTHER);
    house.reload("its policy is in force");
    house.wait_for("the policy without it", || settled("other").is_some());
    let amended = |id: &str, from: i64, to: i64| {
        let data = json!({ "call_id": call, "was": { "input": input, "output": from }, "tokens": { "input": input, "output": to } });
        let body = json!({ "specversion": "1.0", "id": id, "source": "urn:bill", "type": "tollgate.usage.amended.v1",
            "time": schemas::time::now().to_string(), "data": data });
        assert_eq!(tell(&house, "tg-acme", SINGLE, &body), (202, "1".to_owned()), "{body}");
        let sum = "SELECT sum(quantity) AS used FROM charges WHERE tenant = 'acme'";
        house.wait_for("the amendment", || house::number(&house.rows(sum)[0], "used") == input + to);
    };
    amended("1", output, output + 1_000);
    amended("2", output + 1_000, output + 2_000);

    house.edit(OTHER, &format!("{BACK}, {TWIN}"));
    house.reload("its policy is in force");
    house.wait_for("what it would have counted", || {
        let stands = Some(input + output + 2_000);
        settled("twin") == stands && settled("back") == stands
    });
    let passed = (0..100).take_while(|_| house.chat("tg-acme", 64).unwrap().0 == 200).count();
    assert!((1..100).contains(&passed), "{passed}");
    assert_eq!(house.stop(), 0);
    house.prove();
    house.start();
    let stands = house.rows("SELECT settled FROM balances WHERE limit_name = 'back'");
    assert!(house::number(&stands[0], "settled") <= 3_000, "{stands:?}");
    assert_eq!(house.stop(), 0);
}

#[test]
fn what_was_backfilled_is_corrected_in_its_counter_with_backfill_taken_out_and_while_its_limit_is_away() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let mut house = Process::house(dir.path(), &format!("[ {OTHER} ]"));
    house.start();
    let settled = |house: &Process, name: &str| {
        let rows = house.rows(&format!("SELECT settled FROM balances WHERE limit_name = '{name}'"));
        rows.last().map(|row| house::number(row, "settled"))
    };
    let used = |house: &Process| {
        let sum = "SELECT sum(quantity) AS used FROM charges WHERE tenant = 'acme'";
        house::number(&house.rows(sum)[0], "used")
    };
    let calls: Vec<String> = (0..3).map(|_| house.chat("tg-acme", 64).unwrap().1).collect();
    let rows = "SELECT DISTINCT call_id FROM charges WHERE tenant = 'acme'";
    house.wait_for("their rows", || house.rows(rows).len() == 3);
    let count = |house: &Process, call: &str| {
        let row = house.rows(&format!("SELECT input_tokens, output_tokens FROM usage WHERE call_id = '{call}'")).pop();
        row.map(|row| (house::number(&row, "input_tokens"), house::number(&row, "output_tokens"))).unwrap()
    };
    let counts = |house: &Process, names: &[&str]| {
        let sum = used(house);
        house.wait_for("what was used", || names.iter().all(|name| settled(house, name) == Some(sum)));
    };
    let amended = |house: &Process, call: &str| {
        let ((input, output), before) = (count(house, call), used(house));
        let data = json!({ "call_id": call, "was": { "input": input, "output": output },
            "tokens": { "input": input, "output": output + 800 } });
        let body = json!({ "specversion": "1.0", "id": call, "source": "urn:bill", "type": "tollgate.usage.amended.v1",
            "time": schemas::time::now().to_string(), "data": data });
        assert_eq!(tell(house, "tg-acme", SINGLE, &body), (202, "1".to_owned()), "{body}");
        house.wait_for("the amendment", || used(house) == before + 800);
    };
    house.edit(OTHER, &format!("{BACK}, {TWIN}"));
    house.reload("its policy is in force");
    counts(&house, &["back", "twin"]);

    let kept = BACK.replace(", backfill: true", "");
    let third = OTHER.replace("other", "third");
    house.edit(BACK, &format!("{kept}, {OTHER}"));
    house.reload("its policy is in force");
    house.wait_for("the policy without its flag", || settled(&house, "other").is_some());
    amended(&house, &calls[0]);
    counts(&house, &["back", "twin"]);

    house.edit(&format!("{kept}, {OTHER}"), &third);
    house.reload("its policy is in force");
    house.wait_for("the policy without it", || settled(&house, "third").is_some());
    assert_eq!(house.stop(), 0);
    house.start();
    amended(&house, &calls[1]);
    counts(&house, &["twin"]);
    house.edit(&third, &kept);
    house.reload("its policy is in force");
    counts(&house, &["back", "twin"]);
    amended(&house, &calls[2]);
    counts(&house, &["back", "twin"]);
    let passed = (0..100).take_while(|_| house.chat("tg-acme", 64).unwrap().0 == 200).count();
    assert!(passed < 10, "{passed}");
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
