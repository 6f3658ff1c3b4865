//! The roles apart, on a real Kafka: gateways that share a limit through the log alone, while members, brokers and gateways
//! of the fleet are killed, stopped and started under load.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{
    collections::HashSet,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

#[path = "support/house.rs"]
#[expect(dead_code, reason = "a process of all roles is for other tests")]
mod house;
#[path = "support/kafka.rs"]
#[expect(dead_code, reason = "this broker is of this test alone")]
mod kafka;

use house::{Process, Stop, number};

const REQUESTS: i64 = 60;

/// Tokens that are enough for some hundred calls of the load.
const LEASED: i64 = 10_000;

const LIMITS: &str = "[ \
    { name: acme-requests, scope: { tenant: acme }, unit: requests, amount: 60, window: month, mode: hard }, \
    { name: globex-tokens, scope: { tenant: globex }, unit: tokens, amount: 100000000, window: month, mode: hard } ]";

/// Two gateways, two members of metering, a lake writer and a query service.
struct Fleet {
    gateways: [Process; 2],
    metering: [Process; 2],
    lake: Process,
    query: Process,
}

impl Fleet {
    fn start(dir: &Path, brokers: &str) -> Self {
        let process = |name: &str, roles| {
            let log = format!(
                "{{ kind: kafka, brokers: \"{brokers}\", outbox: {}/{name}-outbox, prefix: fleet, lanes: 4 }}",
                dir.display()
            );
            Process::new(name, dir, &log, LIMITS, Some(roles))
        };
        let mut fleet = Self {
            gateways: [process("gateway-1", "gateway"), process("gateway-2", "gateway")],
            metering: [process("metering-1", "metering"), process("metering-2", "metering")],
            lake: process("lake", "lake"),
            query: process("query", "query"),
        };
        fleet.metering[0].start();
        let Self { gateways, metering, lake, query } = &mut fleet;
        let others: Vec<&mut Process> = gateways.iter_mut().chain([&mut metering[1], lake, query]).collect();
        others.into_iter().for_each(Process::spawn);
        for process in fleet.gateways.iter().chain([&fleet.metering[1], &fleet.lake, &fleet.query]) {
            process.wait_for("readiness", || process.is_ready());
        }
        fleet
    }

    /// The ids of calls that have a row in `usage`, and that no id has two.
    fn rows_of(&self, tenant: &str) -> HashSet<String> {
        let rows = self.query.rows(&format!("SELECT call_id FROM usage WHERE tenant = '{tenant}'"));
        let ids: HashSet<String> = rows.iter().map(|row| row["call_id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(ids.len(), rows.len(), "a call has two rows");
        ids
    }

    fn settled(&self, limit: &str) -> i64 {
        let rows = self.query.rows(&format!("SELECT settled FROM balances WHERE limit_name = '{limit}'"));
        rows.first().map_or(-1, |row| number(row, "settled"))
    }
}

#[test]
fn a_fleet_on_kafka_keeps_its_limits_and_its_rows_whatever_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut broker) = kafka::Own::start(dir.path()) else { return };
    let mut fleet = Fleet::start(dir.path(), broker.address());
    two_gateways_use_one_limit_up(&fleet);
    // Load on both gateways, of a tenant whose limit does not end, until the last fault has healed.
    let (answered, stop) = (Mutex::new(HashSet::new()), AtomicBool::new(false));
    let (one, two) = (&fleet.gateways[0], &fleet.gateways[1]);
    thread::scope(|scope| {
        for gateway in [one, one, two, two] {
            scope.spawn(|| load(gateway, &answered, &stop));
        }
        // A wait that fails ends the load too, or the scope would wait for it for ever.
        let _stop = Stop(&stop);
        let grows = |by: usize, what: &str| {
            let before = answered.lock().unwrap().len();
            one.wait_for(what, || answered.lock().unwrap().len() >= before + by);
        };
        grows(200, "calls");
        fleet.metering[0].kill_9();
        grows(200, "calls while a member of metering is dead");
        // The other member has taken its lanes over, and what is leased is for more than the next moment.
        let sql = "SELECT leased - settled - held AS left FROM balances WHERE limit_name = 'globex-tokens'";
        fleet.query.wait_for("leases for an outage", || number(&fleet.query.rows(sql)[0], "left") > LEASED);
        broker.stop();
        grows(50, "calls while the broker is away");
        broker.restart().unwrap();
        grows(200, "calls after the broker is back");
        two.kill_9();
        let before = answered.lock().unwrap().len();
        one.wait_for("calls of the other gateway", || answered.lock().unwrap().len() >= before + 100);
    });
    fleet.metering[0].ended();
    fleet.gateways[1].ended();
    fleet.gateways[1].start();
    fleet.metering[0].start();
    adds_up(&fleet, &answered.into_inner().unwrap());
    let Fleet { gateways, metering, lake, query } = &mut fleet;
    for process in gateways.iter_mut().chain([lake]) {
        assert_eq!(process.stop(), 0);
    }
    // Beside the members of metering, which have said the last of it by now.
    query.prove();
    for process in metering.iter_mut().chain([query]) {
        assert_eq!(process.stop(), 0);
    }
}

fn load(gateway: &Process, answered: &Mutex<HashSet<String>>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        match gateway.chat("tg-globex", 16) {
            Some((200, id, _)) => drop(answered.lock().unwrap().insert(id)),
            _ => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// No call above the limit passes on any gateway, and the last one that it has room for passes on some.
fn two_gateways_use_one_limit_up(fleet: &Fleet) {
    let passed = Mutex::new(HashSet::new());
    let deadline = Instant::now() + Duration::from_secs(60);
    thread::scope(|scope| {
        for turn in 0..8 {
            let (gateway, passed) = (&fleet.gateways[turn % 2], &passed);
            scope.spawn(move || {
                let mut refused = 0;
                while refused < 3 && Instant::now() < deadline {
                    let (status, id, body) = gateway.chat("tg-acme", 8).unwrap();
                    assert!([200, 429, 503].contains(&status), "{status} {body}");
                    if status == 200 {
                        passed.lock().unwrap().insert(id);
                    } else {
                        refused += 1;
                    }
                }
            });
        }
    });
    // What one gateway has leased and not used comes back when the other asks for it.
    let more =
        || fleet.gateways.iter().filter_map(|gateway| gateway.chat("tg-acme", 8)).filter(|(status, ..)| *status == 200);
    fleet.query.wait_for("the last of the limit", || {
        passed.lock().unwrap().extend(more().map(|(_, id, _)| id));
        passed.lock().unwrap().len() as i64 >= REQUESTS
    });
    assert_eq!(more().count(), 0, "a call passed above the limit");
    let passed = passed.into_inner().unwrap();
    assert_eq!(passed.len() as i64, REQUESTS);
    fleet.query.wait_for("the rows and the balance", || {
        fleet.rows_of("acme") == passed && fleet.settled("acme-requests") == REQUESTS
    });
}

/// Every call that was answered has one row; and rows and balance say the same.
fn adds_up(fleet: &Fleet, answered: &HashSet<String>) {
    fleet.query.wait_for("every answered call", || answered.is_subset(&fleet.rows_of("globex")));
    fleet.query.wait_for("the balance", || {
        let sql = "SELECT coalesce(sum(input_tokens + output_tokens), 0) AS tokens FROM usage WHERE tenant = 'globex'";
        number(&fleet.query.rows(sql)[0], "tokens") == fleet.settled("globex-tokens")
    });
}
