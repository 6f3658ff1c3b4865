//! A limit that comes late begins where it would be, and says when a share of it is reached; by the real binary.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

#[expect(dead_code, reason = "each test of the real binary uses a part of it")]
#[path = "support/house.rs"]
mod house;

use house::{Process, number};

const LATE: &str = "[ { name: late, scope: { tenant: \"*\" }, unit: tokens, amount: 2000, window: month, mode: hard,\
    backfill: true, alerts: [0.05, 0.5, 1.0] } ]";

#[test]
fn a_limit_that_comes_late_counts_what_was_used_before_it_and_says_what_is_reached() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = Process::house(dir.path(), "[]");
    house.start();
    for _ in 0..3 {
        assert_eq!(house.chat("tg-acme", 64).unwrap().0, 200);
    }
    assert_eq!(house.chat("tg-globex", 8).unwrap().0, 200);
    assert_eq!(house.stop(), 0);
    let mut house = Process::house(dir.path(), LATE);
    house.start();
    let used = |tenant: &str| {
        let sql = format!("SELECT sum(input_tokens + output_tokens) AS n FROM usage WHERE tenant = '{tenant}'");
        number(&house.rows(&sql)[0], "n")
    };
    let settled = |tenant: &str| {
        let sql = format!("SELECT settled FROM balances WHERE limit_name = 'late' AND tenant = '{tenant}'");
        house.rows(&sql).first().map_or(-1, |row| number(row, "settled"))
    };
    for tenant in ["acme", "globex"] {
        house.wait_for("what was used before", || used(tenant) > 0 && settled(tenant) == used(tenant));
    }
    let before = used("acme");
    assert!((192..1_000).contains(&before), "{before}");
    let reached = |token: &str| -> Vec<(String, i64)> {
        let rows = house.ask(token, "SELECT tenant, share_percent FROM alerts ORDER BY tenant, share_percent").unwrap();
        let row = |row: &serde_json::Value| (row["tenant"].as_str().unwrap().to_owned(), number(row, "share_percent"));
        rows.iter().map(row).collect()
    };
    house.wait_for("the alert", || !reached("tgq-all").is_empty());
    assert_eq!(reached("tgq-all"), [("acme".to_owned(), 5)]);
    // What is left is used up to the last call that fits, and no further; on a busy machine a lease may not come in time.
    let mut passed = 0;
    house.wait_for("the end of the limit", || {
        let (status, _, body) = house.chat("tg-acme", 200).unwrap();
        passed += u32::from(status == 200);
        body["error"]["code"] == "TG2001"
    });
    assert!((4..=9).contains(&passed), "{passed} calls of some 205 tokens passed after {before}");
    house.wait_for("the balance", || settled("acme") == used("acme"));
    assert!(used("acme") <= 2_000);
    house.wait_for("the next share", || reached("tgq-acme").len() > 1);
    assert_eq!(reached("tgq-acme")[..2], [("acme".to_owned(), 5), ("acme".to_owned(), 50)]);
    assert_eq!(house.stop(), 0);
    house.prove();
}
