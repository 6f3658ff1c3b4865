//! The configuration is read again while the real binary runs: what it says is in force at once, and what it gets wrong is not.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

#[expect(dead_code, reason = "each test of the real binary uses a part of it")]
#[path = "support/house.rs"]
mod house;

use std::{io::Read as _, thread};

use house::{Process, number};

const LIMITS: &str =
    "[ { name: calls, scope: { tenant: acme }, unit: requests, amount: 3, window: total, mode: hard } ]";

#[test]
fn a_configuration_that_is_read_again_is_in_force_and_stops_nothing() {
    // A build without the lake has no other TLS that would do it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let mut house = Process::house(dir.path(), LIMITS);
    house.start();
    let statuses = |count: usize, key: &str| (0..count).map(|_| house.chat(key, 1).unwrap().0).collect::<Vec<_>>();
    // A stream that goes on for some seconds, all through what follows.
    let mut stream = house.stream("tg-acme", 1_500);
    let reader = thread::spawn(move || {
        let mut text = String::new();
        stream.read_to_string(&mut text).map(|_| text)
    });
    assert_eq!(statuses(3, "tg-acme"), [200, 200, 429]);

    house.edit("amount: 3", "amount: 5");
    house.reload("its policy is in force");
    house.wait_for("the raised limit", || house.chat("tg-acme", 1).unwrap().0 == 200);
    assert_eq!(statuses(2, "tg-acme"), [200, 429]);

    // A mistake changes nothing, and it can be mended.
    house.edit("amount: 5", "amount: 9, windw: day");
    house.reload("nothing was changed");
    assert_eq!(statuses(1, "tg-acme"), [429]);
    house.edit("amount: 9, windw: day", "amount: 5");
    house.reload("was in force already");

    // A provider that this process does not have: until it starts again no model may go there.
    house.edit(
        "- { name: dead,",
        "- { name: new, dialect: openai, base_url: \"http://127.0.0.1:1/v1\", api_key: sk }\n  - { name: dead,",
    );
    house.edit("- { name: lame, targets: [ { provider: dead,", "- { name: lame, targets: [ { provider: new,");
    house.reload("nothing was changed");
    assert_eq!(house.chat_with("tg-globex", "lame").unwrap().0, 200);
    house.edit("- { name: lame, targets: [ { provider: new,", "- { name: lame, targets: [ { provider: dead,");
    house.reload("was in force already");

    // A key is new, another is gone, and so are calls that were made under the lowered limit.
    house.edit("key: tg-globex", "key: tg-other");
    house.edit("amount: 5", "amount: 1");
    house.reload("its policy is in force");
    house.wait_for("the new key", || house.chat("tg-other", 1).unwrap().0 == 200);
    assert_eq!((statuses(1, "tg-globex"), statuses(1, "tg-acme")), (vec![401], vec![429]));

    let text = reader.join().unwrap().unwrap();
    assert!(text.contains("message_stop") && !text.contains("\"tollgate\""), "the stream was cut: {text}");
    if cfg!(feature = "query") {
        let balance = || house.rows("SELECT amount, settled FROM balances WHERE limit_name = 'calls'").pop();
        house.wait_for("the books", || balance().is_some_and(|row| number(&row, "settled") == 5));
        assert_eq!(number(&balance().unwrap(), "amount"), 1);
    }
    assert_eq!(house.stop(), 0);
    house.prove();
}
