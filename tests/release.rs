//! A gateway's disk is lost for good, and an operator releases what it had leased; by the real binary, on a real Kafka.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use gateway::recover::Left;
use journal::{
    Draft, Predecessor, Road as _,
    kafka::{Kafka, Options},
};
use schemas::{
    decision::{Key, LaneState, State},
    event::{Admitted, Event, Found, Opened},
    id::{Lane, Offset, Seq},
    ledger::Fact,
    time,
    topics::Topic,
    wire,
};

#[path = "support/faulty.rs"]
#[expect(dead_code, reason = "this test breaks nothing")]
mod faulty;
#[path = "support/house.rs"]
#[expect(dead_code, reason = "each test of the real binary uses a part of it")]
mod house;
#[path = "support/kafka.rs"]
#[expect(dead_code, reason = "this test needs no broker of its own")]
mod kafka;

use house::Process;

/// Ten calls for all, and tokens enough for any. Who is silent for two seconds may be released.
const LIMITS: &str = "[ \
    { name: calls, scope: { tenant: acme }, unit: requests, amount: 10, window: total, mode: hard }, \
    { name: everybody, scope: {}, unit: tokens, amount: 1000000, window: total, mode: hard } ]\n\
    metering: { outage_budget: 2s }";

const LANES: u16 = 4;

/// Each test has topics of its own.
fn prefix(dir: &Path) -> String {
    let name = dir.file_name().unwrap().to_str().unwrap();
    format!("release-{}-{}", std::process::id(), name.trim_start_matches('.'))
}

fn process(dir: &Path, brokers: &str, name: &str, role: &'static str) -> Process {
    let log = format!(
        "{{ kind: kafka, brokers: \"{brokers}\", outbox: {}, prefix: {}, lanes: {LANES} }}",
        dir.join(format!("{name}-outbox")).display(),
        prefix(dir)
    );
    Process::new(name, dir, &log, LIMITS, Some(role))
}

/// How long a poll of the log waits.
const WAIT: Duration = Duration::from_millis(200);

/// Runs the command with a gateway's name and gives what it said, and whether it did it.
fn release(dir: &Path, name: &str) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    let config = dir.join("metering.yaml");
    let Output { status, stdout, stderr } =
        command.args(["release", "--gateway", name, "--config"]).arg(config).output().unwrap();
    let said = [stdout, stderr].map(|said| String::from_utf8(said).unwrap()).concat();
    (status.success(), said)
}

/// The names of the gateways in the list, and whether each is called silent.
fn listed(metering: &Process) -> Vec<(String, bool)> {
    let said = metering.command(&["release"]);
    let gateways = said.lines().filter(|line| line.contains("last heard"));
    gateways.map(|line| (line.split(' ').next().unwrap().to_owned(), line.contains(", silent"))).collect()
}

/// The name of a gateway, once it is silent or as long as it is not.
fn name_of(metering: &Process, gateway: &Process, silent: bool) -> String {
    let port = gateway.gateway.rsplit(':').next().unwrap().to_owned();
    let mut found = None;
    metering.wait_for("the list", || {
        found = listed(metering).into_iter().find(|(name, is)| name.ends_with(&port) && *is == silent);
        found.is_some()
    });
    found.unwrap().0
}

/// Makes a call that passes; on a busy machine a lease may not come in time.
fn call(gateway: &Process, key: &str) {
    gateway.wait_for("a call", || gateway.chat(key, 8).unwrap().0 == 200);
}

/// How many calls pass until three are refused.
fn pass(gateway: &Process) -> usize {
    let (mut passed, mut refused) = (0, 0);
    while refused < 3 {
        let counted = if gateway.chat("tg-acme", 8).unwrap().0 == 200 { &mut passed } else { &mut refused };
        *counted += 1;
    }
    passed
}

/// How many attempts have ended by the ledger.
fn attempts(metering: &Process) -> u64 {
    let said = metering.command(&["replay"]);
    let before = said.split(" attempts").next().unwrap();
    before.rsplit(' ').next().unwrap().parse().unwrap()
}

/// Begins a stream that the gateway will not end.
fn open(gateway: &Process) -> reqwest::blocking::Response {
    open_of(gateway, "tg-acme")
}

fn open_of(gateway: &Process, key: &str) -> reqwest::blocking::Response {
    let mut found = None;
    gateway.wait_for("a stream", || {
        found = Some(gateway.stream(key, 20_000)).filter(|answer| answer.status().is_success());
        found.is_some()
    });
    let mut stream = found.unwrap();
    stream.read_exact(&mut vec![0; 64 * 1024]).unwrap();
    stream
}

#[test]
fn what_a_gateway_leaves_that_is_gone_for_good_is_released_and_proved() {
    let Some(brokers) = kafka::shared() else { return };
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mut metering = process(dir, brokers, "metering", "metering");
    metering.start();
    let [mut lost, mut cut_off, other] =
        ["lost", "cut-off", "other"].map(|name| process(dir, brokers, name, "gateway"));
    for gateway in [&mut lost, &mut cut_off] {
        gateway.start();
    }
    let mut other = other;
    other.start();
    call(&lost, "tg-acme");
    let _open = open(&lost);
    let name = name_of(&metering, &lost, false);
    let (done, said) = release(dir, &name);
    assert!(!done && said.contains("TG2010"), "{said}");
    assert!(release(dir, "nobody:1").1.contains("TG1015"));
    lost.kill_9();
    lost.ended();
    fs::remove_dir_all(dir.join("lost-outbox")).unwrap();
    let before = pass(&other);
    assert!((1..8).contains(&before), "{before} calls passed: the one that is gone has leased some of the ten");

    assert_eq!(name_of(&metering, &lost, true), name);
    let (done, said) = release(dir, &name);
    assert!(done && said.contains("\n  1 attempts without an end are settled as unknown\n"), "{said}");
    assert!(release(dir, &name).0, "and once more");
    assert!(listed(&metering).iter().all(|(listed, _)| *listed != name));
    metering.prove();
    // Two were used by the one that is gone.
    (before..8).for_each(|_| call(&other, "tg-acme"));
    assert_eq!(pass(&other), 0);

    // One that was only cut off finds that it is out, until it is started again.
    cut_off.signal("-STOP");
    let (done, said) = release(dir, &name_of(&metering, &cut_off, true));
    assert!(done, "{said}");
    cut_off.signal("-CONT");
    cut_off.wait_for("the word that it is out", || {
        let (status, _, body) = cut_off.chat("tg-globex", 8).unwrap();
        (status, body["error"]["code"].as_str()) == (503, Some("TG5007")) && !cut_off.is_ready()
    });
    assert_eq!(cut_off.stop(), 0);
    cut_off.start();
    call(&cut_off, "tg-globex");

    // What the release has ended is not ended again by the gateway that finds it open in its journal.
    let _open = open_of(&cut_off, "tg-globex");
    let rows = || attempts(&metering);
    cut_off.signal("-STOP");
    let (done, said) = release(dir, &name_of(&metering, &cut_off, true));
    assert!(done && said.contains("\n  1 attempts without an end are settled as unknown\n"), "{said}");
    let before = rows();
    cut_off.kill_9();
    cut_off.ended();
    cut_off.start();
    metering.wait_for("what it finds open", || metering.sum_of("tollgate_metering_ends_elsewhere", "") == 1);
    assert_eq!(rows(), before);
    // The machine whose disk was lost has a new one, and its old name.
    lost.start();
    call(&lost, "tg-globex");
    for gateway in [&mut lost, &mut cut_off, &mut other] {
        assert_eq!(gateway.stop(), 0);
    }
    metering.prove();
    assert_eq!(metering.stop(), 0);
}

/// A release that dies when it has taken the place of a gateway, and before it has written any end of what that left open.
fn release_that_dies(dir: &Path, brokers: &str, gateway: &str) {
    let outbox = dir.join("metering-outbox-commands");
    let road = Kafka::open(Options::new(vec![brokers.to_owned()], prefix(dir), LANES, outbox)).unwrap();
    let (journal, mut follower) = (road.journal().unwrap(), road.follower().unwrap());
    let mut states = BTreeMap::new();
    let mut follow = |states: &mut BTreeMap<Lane, LaneState>| {
        for change in follower.poll(WAIT).unwrap() {
            let key = wire::decode_key(&change.key).unwrap();
            if let (Key::Lane(lane), Some(state)) = (key, change.state)
                && let State::Lane(state) = wire::decode_state(&key, &state).unwrap()
            {
                states.insert(lane, state);
            }
        }
        follower.caught_up()
    };
    while !follow(&mut states) {}
    let marks = || states.iter().flat_map(|(lane, state)| state.producers.iter().map(move |mark| (*lane, mark)));
    let out = || marks().filter(|(_, mark)| mark.gateway == gateway && !mark.closed);
    let producer = out().next().unwrap().1.producer;
    let last = out().map(|(lane, mark)| (lane, mark.seq)).collect();
    let (before, mut left) = (Predecessor { producer, last, is_copied: false }, Left::of(Some(producer)));
    let mut reader = road.reader(Topic::Ledger, &road.kept().unwrap()).unwrap();
    let (ends, mut next) = (reader.ends().unwrap(), road.kept().unwrap());
    while ends.iter().zip(&next).any(|(end, next)| next < end) {
        for record in reader.poll(WAIT).unwrap() {
            next[usize::from(record.lane.0)] = Offset(record.offset.0 + 1);
            let found = Found { producer, seq: Seq(0) };
            match wire::decode_entry(&record.body).unwrap().fact {
                Fact::Admitted(begun) if begun.producer == Some(producer) => {
                    let admitted = Admitted { attempt: begun.attempt, holds: begun.holds };
                    left.take(found, record.lane, Event::Admitted(Box::new(admitted)));
                }
                Fact::Streamed(streamed) => left.take(found, record.lane, Event::Streamed(streamed)),
                Fact::Charged(charged) => left.take(found, record.lane, Event::Settled(Box::new(charged.settled))),
                _ => {}
            }
        }
    }
    for lane in before.last.keys() {
        let predecessor = Some(left.predecessor(&before, *lane));
        let opened = Opened { gateway: "tollgate command".into(), at: time::now(), predecessor };
        let body = wire::encode_event(&Event::Opened(opened));
        journal.append(&[Draft { lane: *lane, body: &body }]).unwrap();
    }
    journal.sync().unwrap();
    let closed = |state: &LaneState| state.producers.iter().all(|mark| mark.producer != producer || mark.closed);
    while !states.values().all(closed) {
        follow(&mut states);
    }
}

#[test]
fn a_release_that_dies_before_it_has_ended_what_was_open_is_gone_on_with() {
    let Some(brokers) = kafka::shared() else { return };
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mut metering = process(dir, brokers, "metering", "metering");
    metering.start();
    let mut rows = 0;
    for (name, elsewhere) in [("here", false), ("elsewhere", true)] {
        let mut lost = process(dir, brokers, name, "gateway");
        lost.start();
        call(&lost, "tg-globex");
        let _open = open(&lost);
        metering.wait_for("what is open, in the books", || {
            attempts(&metering) == rows + 1 && metering.command(&["release"]).contains(", held 1,")
        });
        lost.kill_9();
        lost.ended();
        fs::remove_dir_all(dir.join(format!("{name}-outbox"))).unwrap();
        let gateway = name_of(&metering, &lost, true);
        release_that_dies(dir, brokers, &gateway);
        if elsewhere {
            // The next is run on another machine.
            fs::remove_dir_all(dir.join("metering-outbox-commands")).unwrap();
        }
        metering.wait_for("the word that a release broke off", || {
            metering.command(&["release"]).contains("its release broke off, and 1 attempts still have no end")
        });
        let (done, said) = release(dir, &gateway);
        assert!(done && said.contains("\n  1 attempts without an end are settled as unknown\n"), "{said}");
        rows += 2;
        assert_eq!(attempts(&metering), rows);
        let (done, said) = release(dir, &gateway);
        assert!(done && said.contains("it has nothing any more"), "{said}");
        assert!(!metering.command(&["release"]).contains("broke off"));
        metering.prove();
    }
    assert_eq!(metering.stop(), 0);
}

/// A disk is lost, and what is put in its place is a copy of an earlier day. What the original had open is nobody's, which is said until
/// somebody says that it is gone.
#[test]
fn a_disk_that_is_lost_and_restored_from_a_copy_is_named_until_it_is_released() {
    let Some(brokers) = kafka::shared() else { return };
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mut metering = process(dir, brokers, "metering", "metering");
    metering.start();
    let mut gateway = process(dir, brokers, "gateway", "gateway");
    gateway.start();
    let _open = open(&gateway);
    let [outbox, copy] = ["gateway-outbox", "copy"].map(|name| dir.join(name));
    assert!(Command::new("cp").arg("-a").args([&outbox, &copy]).status().unwrap().success());
    call(&gateway, "tg-acme");
    metering.wait_for("the call in the books", || attempts(&metering) == 1);
    gateway.kill_9();
    gateway.ended();
    fs::remove_dir_all(&outbox).unwrap();
    fs::rename(&copy, &outbox).unwrap();
    gateway.start();
    call(&gateway, "tg-acme");
    metering.wait_for("the other call in the books", || attempts(&metering) == 2);
    let copied = || metering.sum_of("tollgate_metering_copied_journals", "");
    metering.wait_for("the copy", || copied() > 0);
    let mut listed = String::new();
    metering.wait_for("the word what to do", || {
        listed = metering.command(&["release"]);
        listed.contains("its journal goes on in a copy at") && listed.contains("--producer")
    });
    assert!(listed.contains("\n  attempts without an end: 1\n"), "{listed}");
    metering.wait_for("the same in the log", || !metering.has_said("its journal goes on in a copy").is_empty());
    let producer = listed.split("tollgate release --producer ").nth(1).unwrap().lines().next().unwrap();
    let said = metering.command(&["release", "--producer", producer]);
    assert!(said.contains("\n  1 attempts without an end are settled as unknown\n"), "{said}");
    assert_eq!(attempts(&metering), 3);
    metering.wait_for("the end of it", || copied() == 0);
    assert!(!metering.command(&["release"]).contains("goes on in a copy"));
    assert_eq!(gateway.stop(), 0);
    metering.prove();
    assert_eq!(metering.stop(), 0);
}

#[test]
fn on_the_embedded_log_the_command_opens_the_journal_that_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let limits = "[ { name: all, scope: { tenant: acme }, unit: tokens, amount: 1000000, window: total, mode: hard } ]";
    let mut house = Process::house(dir.path(), limits);
    house.start();
    let _open = open(&house);
    house.kill_9();
    house.ended();
    let list = house.command(&["release"]);
    let name = list.split(' ').next().unwrap();
    assert!(list.contains("\n  all ") && list.contains(" tokens leased ") && !list.contains(", silent"), "{list}");
    let said = house.command(&["release", "--gateway", name]);
    assert!(said.contains("it has nothing any more"), "{said}");
    assert!(!house.command(&["release"]).contains(name));
    house.prove();
}
