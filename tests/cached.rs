//! The cache by the real binary: what is given again costs nothing, counts in no limit, and its row says what it saved.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::fs;

use serde_json::json;

#[expect(dead_code, reason = "each test of the real binary uses a part of it")]
#[path = "support/house.rs"]
mod house;

use house::{Process, number};

const LIMITS: &str = "[ { name: calls, scope: { tenant: acme }, unit: requests, amount: 2, window: total, mode: hard },\
    { name: spend, scope: { tenant: \"*\" }, unit: usd, amount: \"1\", window: total, mode: hard } ]";
const DEARER: &str = "models:\n  - provider: sandbox\n    names: [\"sandbox/*\"]\n    context_window: 1000000\n    source: a test\n    \
    source_date: 2026-11-22\n    prices:\n      - { per_million: { input: 10.00, output: 20.00 } }\n";

#[test]
fn what_is_given_again_costs_nothing_counts_nowhere_and_says_what_it_saved() {
    // A build without the lake has no other TLS that would do it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let mut house = Process::house(dir.path(), LIMITS);
    let model = "name: \"sandbox/*\", targets: [ { provider: sandbox } ]";
    house.edit(model, &format!("{model}, cache: {{ ttl: 1h }}"));
    house.start();
    let (first, second) = (house.chat("tg-acme", 64).unwrap(), house.chat("tg-acme", 64).unwrap());
    assert_eq!((first.0, &first.2), (second.0, &second.2));
    assert_ne!(first.1, second.1, "each call has its own id");
    let stream = || house.stream("tg-acme", 8).text().unwrap();
    assert_eq!(stream(), stream());
    // Both requests of the limit are used up; what is kept is given all the same, and nothing else is.
    assert_eq!((house.chat("tg-acme", 64).unwrap().0, house.chat("tg-acme", 65).unwrap().0), (200, 429));
    assert_eq!(house.chat("tg-globex", 64).unwrap().0, 200, "it is another tenant's, and has no part in that");

    let asked = "SELECT call_id, cache_hit, cost_usd, avoided_cost_usd, output_tokens FROM usage WHERE tenant = 'acme' ORDER BY time";
    house.wait_for("all rows", || house.rows(asked).len() == 5);
    let rows = house.rows(asked);
    let (paid, hit) = (&rows[0], &rows[1]);
    assert_eq!((&paid["cache_hit"], &hit["cache_hit"]), (&json!(false), &json!(true)));
    assert_eq!((&paid["call_id"], &hit["call_id"]), (&json!(first.1), &json!(second.1)));
    assert_eq!((&hit["cost_usd"], &hit["avoided_cost_usd"]), (&paid["avoided_cost_usd"], &paid["cost_usd"]));
    assert_ne!(paid["cost_usd"], hit["cost_usd"]);
    assert_eq!((number(paid, "output_tokens"), number(hit, "output_tokens")), (64, 0));
    let sums = house.rows("SELECT sum(cost_usd) AS usd FROM usage GROUP BY tenant ORDER BY tenant");
    let charged = house.rows("SELECT sum(cost_usd) AS usd FROM charges GROUP BY tenant ORDER BY tenant");
    assert_eq!(sums, charged);
    let settled = "SELECT settled, held FROM balances WHERE limit_name = 'calls'";
    house.wait_for("the balance", || number(&house.rows(settled)[0], "settled") == 2);
    house.wait_for("the metrics", || house.metric("tollgate_cache_answers").is_some_and(|answers| answers == "3"));
    // A hit has nothing to amend.
    let amendment = json!({ "specversion": "1.0", "id": "1", "source": "urn:bill", "type": "tollgate.usage.amended.v1",
        "time": schemas::time::now().to_string(), "data": { "call_id": second.1, "was": {}, "tokens": { "output": 9 } } });
    let told = house.client.post(format!("http://{}/v1/events", house.gateway)).bearer_auth("tg-acme");
    let told = told.header("content-type", "application/cloudevents+json").body(amendment.to_string()).send().unwrap();
    let (status, text) = (told.status().as_u16(), told.text().unwrap());
    assert!(status == 409 && text.contains("TG3052"), "{status} {text}");
    assert_eq!(house.stop(), 0);
    house.prove();

    // There is nothing to correct of what cost nothing, and no limit would have refused it.
    let prices = dir.path().join("dearer.yaml");
    fs::write(&prices, DEARER).unwrap();
    let applied = house.command(&["rerate", "--prices", prices.to_str().unwrap(), "--apply"]);
    assert!(applied.contains("\n3 attempts corrected"), "{applied}");
    house.prove();
    let limits = dir.path().join("limits.yaml");
    let two =
        "limits: [ { name: two, scope: { tenant: \"*\" }, unit: requests, amount: 2, window: total, mode: hard } ]\n";
    fs::write(&limits, two).unwrap();
    let judged = house.command(&["backtest", "--limits", limits.to_str().unwrap()]);
    assert!(judged.contains("\n0 attempts would have been refused"), "{judged}");
}
