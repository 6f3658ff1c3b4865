//! An outage of the log under load, and what gateways say once the limit is used up after it; by the real binary on a real Kafka.
//!
//! Gateways live off their leases while the broker stands still, then refuse for want of more; one is killed and started again
//! meanwhile. When the broker goes on the rest of the limit can be used, to the last call; and then every gateway knows by itself that
//! there is no more, and says so at once.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

#[expect(dead_code, reason = "each test of the real binary uses a part of it")]
#[path = "support/house.rs"]
mod house;
#[expect(dead_code, reason = "this broker is of this test alone")]
#[path = "support/kafka.rs"]
mod kafka;

use house::{Process, Stop, number};

const AMOUNT: u64 = 400;

/// How long a gateway may take to say that a limit is used up that it knows to be: a wait for a lease takes twice as long.
const AT_ONCE: Duration = Duration::from_secs(1);

/// What the clients of one gateway were answered.
#[derive(Default)]
struct Told {
    passed: AtomicU64,
    /// By the code that says that no lease came in time.
    late: AtomicU64,
}

fn process(dir: &Path, broker: &str, name: &str, role: &'static str) -> Process {
    let outbox = dir.join(format!("{name}-outbox"));
    let log =
        format!("{{ kind: kafka, brokers: \"{broker}\", outbox: {}, prefix: outage, lanes: 4 }}", outbox.display());
    let limits = format!(
        "[ {{ name: all, scope: {{ tenant: acme }}, unit: requests, amount: {AMOUNT}, window: total, mode: hard }} ]"
    );
    Process::new(name, dir, &log, &limits, Some(role))
}

/// Calls a gateway again and again; a call that finds it away is none.
fn load(gateway: &str, told: &Told, stop: &AtomicBool) {
    let client = reqwest::blocking::Client::new();
    let body = serde_json::json!({ "model": "sandbox/4", "messages": [{ "role": "user", "content": "hi" }] });
    while !stop.load(Relaxed) {
        let url = format!("http://{gateway}/v1/chat/completions");
        if let Ok(answer) = client.post(url).bearer_auth("tg-acme").json(&body).send() {
            let (passed, said) = (answer.status() == 200, answer.text().unwrap_or_default());
            told.passed.fetch_add(u64::from(passed), Relaxed);
            told.late.fetch_add(u64::from(said.contains("TG2004")), Relaxed);
        }
        thread::sleep(Duration::from_millis(40));
    }
}

#[test]
fn a_limit_that_is_used_up_after_an_outage_is_known_to_be_at_every_gateway() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let Some(broker) = kafka::Own::start(dir) else { return };
    let mut metering = process(dir, broker.address(), "metering", "metering");
    metering.start();
    let mut others =
        [("lake", "lake"), ("query", "query")].map(|(name, role)| process(dir, broker.address(), name, role));
    let mut gateways = ["one", "two", "three"].map(|name| process(dir, broker.address(), name, "gateway"));
    gateways.iter_mut().chain(&mut others).for_each(Process::spawn);
    gateways.iter().chain(&others).for_each(|process| process.wait_for("readiness", || process.is_ready()));

    let (told, stop) =
        ([const { Told { passed: AtomicU64::new(0), late: AtomicU64::new(0) } }; 3], AtomicBool::new(false));
    let addresses = gateways.each_ref().map(|gateway| gateway.gateway.clone());
    thread::scope(|scope| {
        let _stops = Stop(&stop);
        for (address, told) in addresses.iter().zip(&told) {
            let stop = &stop;
            scope.spawn(move || load(address, told, stop));
        }
        for (gateway, told) in gateways.iter().zip(&told) {
            gateway.wait_for("calls", || told.passed.load(Relaxed) > 5);
        }
        broker.signal("-STOP");
        for (gateway, told) in gateways.iter().zip(&told) {
            gateway.wait_for("refusals for want of the log", || told.late.load(Relaxed) > 1);
        }
        gateways[2].kill_9();
        gateways[2].ended();
        gateways[2].spawn();
        broker.signal("-CONT");
        gateways[2].wait_for("readiness", || gateways[2].is_ready());
        for gateway in &gateways {
            let mut last = String::new();
            gateway.wait_for("the end of the limit", || {
                let said = gateway.chat("tg-acme", 4).unwrap().2["error"]["code"].as_str().unwrap_or("200").to_owned();
                if said != last {
                    println!("{}: {said}", gateway.name);
                    last.clone_from(&said);
                }
                said == "TG2001"
            });
        }
    });
    for gateway in gateways.iter().chain(&gateways) {
        let asked = Instant::now();
        let (status, _, body) = gateway.chat("tg-acme", 4).unwrap();
        assert_eq!((status, body["error"]["code"].as_str()), (429, Some("TG2001")), "{}: {body}", gateway.name);
        assert!(asked.elapsed() < AT_ONCE, "{} took {:?}", gateway.name, asked.elapsed());
    }
    // Of the calls that were open when a gateway died nobody knows, so they count.
    let sql = "SELECT settled, held FROM balances WHERE limit_name = 'all'";
    others[1].wait_for("the balance", || {
        let rows = others[1].rows(sql);
        rows.first().is_some_and(|row| number(row, "settled") + number(row, "held") == AMOUNT as i64)
    });
    for process in gateways.iter_mut().chain(&mut others).chain([&mut metering]) {
        assert_eq!(process.stop(), 0, "{}", process.name);
    }
}
