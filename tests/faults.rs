//! Real faults on a real Kafka: three gateways, two members of metering, a lake writer and a query service, one hard limit, 200
//! concurrent clients, of which some leave in the middle of an answer, a provider that fails and breaks off now and then; and everything
//! that can be killed, stopped, filled, torn or copied, one after another, under load.
//!
//! Each fault is seen to have happened before the test goes on. Afterwards provider, clients, log, balances and lake agree to the unit
//! (`support/agreement.rs`), the limit was not passed by one token, and its last tokens can be spent.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on says where")]

use std::{
    fs,
    net::TcpStream,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

#[path = "support/agreement.rs"]
mod agreement;
#[path = "support/cramped.rs"]
mod cramped;
#[path = "support/faulty.rs"]
mod faulty;
#[path = "support/house.rs"]
#[expect(dead_code, reason = "a process of all roles is for other tests")]
mod house;
#[path = "support/kafka.rs"]
#[expect(dead_code, reason = "this broker is of this test alone")]
mod kafka;
#[path = "support/load.rs"]
mod load;
#[path = "support/offsets.rs"]
mod offsets;
#[path = "support/provider.rs"]
mod provider;

use agreement::{Truth, agree};
use cramped::Cramped;
use house::{Process, number};
use load::{CLIENTS, End, LARGE, Load, SMALL, TENANTS, UNIT};
use provider::Provider;

const LANES: u16 = 4;

/// Tokens of the one limit: far more than small calls use, and what 200 clients use up in some seconds once calls are large.
const AMOUNT: u64 = 200_000 * UNIT;

/// Tokens that are enough for some hundred small calls.
const LEASED: i64 = 10_000;

/// MiB of the disk of the second gateway: two segments of 64 and some.
const DISK: u32 = 144;

/// How long a transaction has to stand still to be taken for one that was stopped in its middle: the others commit in a tenth of it.
const STILL: Duration = Duration::from_secs(1);

struct Fleet {
    gateways: [Process; 3],
    metering: [Process; 2],
    lake: Process,
    query: Process,
    broker: String,
}

impl Fleet {
    fn start(dir: &Path, small: &Path, broker: &str, provider: &Provider) -> Self {
        let tenants = TENANTS.map(|name| format!("  - {{ name: {name}, keys: [ {{ name: ci, key: tg-{name} }} ] }}\n"));
        let rest = format!(
            "providers: [ {{ name: real, dialect: openai, base_url: \"http://{}/v1\", api_key: sk-test }} ]\n\
             models: [ {{ name: m, targets: [ {{ provider: real }} ], context_window: 1000000, max_output_tokens: 100000000, \
             encoding: none, prices: [ {{ per_million: {{ input: 1, output: 1 }} }} ] }} ]\n\
             tenants:\n{}access: [ {{ token: tgq-all, tenants: [\"*\"] }} ]\n\
             limits: [ {{ name: company, scope: {{ provider: real }}, unit: tokens, amount: {AMOUNT}, window: total, mode: hard }} ]\n",
            provider.address,
            tenants.concat(),
        );
        let process = |name: &str, roles, outbox: PathBuf| {
            let outbox = outbox.display();
            let log =
                format!("{{ kind: kafka, brokers: \"{broker}\", outbox: {outbox}, prefix: faults, lanes: {LANES} }}");
            Process::of(name, dir, &log, &rest, Some(roles))
        };
        let gateway = |name: &str, dir: &Path| process(name, "gateway", dir.join(name));
        let other = |name: &str, roles| process(name, roles, dir.join(name));
        let mut fleet = Self {
            gateways: [gateway("gateway-1", dir), gateway("gateway-2", small), gateway("gateway-3", dir)],
            metering: [other("metering-1", "metering"), other("metering-2", "metering")],
            lake: other("lake", "lake"),
            query: other("query", "query"),
            broker: broker.to_owned(),
        };
        fleet.metering[0].start();
        let Self { gateways, metering, lake, query, .. } = &mut fleet;
        let others: Vec<&mut Process> = gateways.iter_mut().chain([&mut metering[1], lake, query]).collect();
        others.into_iter().for_each(Process::spawn);
        for process in fleet.gateways.iter().chain([&fleet.metering[1], &fleet.lake, &fleet.query]) {
            process.wait_for("readiness", || process.is_ready());
        }
        fleet
    }

    /// The ends of the ledger's lanes: of what is committed, and of all.
    fn ledger(&self) -> Vec<(i64, i64)> {
        offsets::ends(&self.broker, "faults.ledger", LANES)
    }

    /// Waits until something new is committed in every lane.
    fn books_go_on(&self) {
        let before = self.ledger();
        self.query.wait_for("entries in every lane of the ledger", || {
            self.ledger().iter().zip(&before).all(|((now, _), (before, _))| now > before)
        });
    }

    /// What is left of the limit, in leases or not.
    fn left(&self) -> i64 {
        let sql = "SELECT amount - settled - held AS left FROM balances WHERE limit_name = 'company'";
        number(&self.query.rows(sql)[0], "left")
    }
}

impl Drop for Fleet {
    /// What the processes said last, where that explains why the test cannot go on.
    fn drop(&mut self) {
        if std::thread::panicking() {
            for process in self.gateways.iter().chain(&self.metering).chain([&self.lake, &self.query]) {
                let said = process.has_said("");
                let ours: Vec<&String> = said.iter().filter(|line| !line.contains("librdkafka")).collect();
                println!("{} said last: {:#?}", process.name, &ours[ours.len().saturating_sub(20)..]);
            }
        }
    }
}

#[test]
fn whatever_is_killed_filled_torn_or_copied_all_agree_to_the_unit() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut broker) = kafka::Own::start(dir.path()) else { return };
    let (disk, provider) = (Cramped::new(&dir.path().join("small"), DISK), Provider::start());
    let mut fleet = Fleet::start(dir.path(), disk.dir(), broker.address(), &provider);
    let mut load = Load::new(fleet.gateways.iter().map(|gateway| gateway.gateway.clone()).collect());
    load.measure();
    load.start();
    // Where the time goes, should it ever run out.
    let begun = Instant::now();
    let now = |what: &str| println!("{:6.1} s: {what}", begun.elapsed().as_secs_f64());
    for gateway in 0..3 {
        answers(&fleet, &load, gateway, 40);
    }
    now("a member of metering and the lake writer die");
    a_member_and_the_lake_die(&mut fleet, &load, dir.path());
    now("the broker goes");
    the_broker_goes_and_a_journal_is_torn(&mut fleet, &load, &mut broker, dir.path());
    now("a member is stopped");
    a_member_is_stopped_in_mid_transaction(&mut fleet, &load);
    now("a disk is full");
    a_disk_is_full(&mut fleet, &load, &disk);
    now("a journal is sent twice");
    a_journal_is_sent_twice_and_restored(&mut fleet, &load, dir.path());
    now("the limit is used up");
    the_limit_is_used_up(&mut fleet, &load);
    load.stop();
    now("all agrees");
    all_agrees(&mut fleet, &load, &provider);
    now("done");
}

/// Waits until so many more calls through a gateway were answered.
fn answers(fleet: &Fleet, load: &Load, gateway: usize, more: usize) {
    let answered = || load.count(gateway, |end| matches!(end, End::Answered(_)));
    let wanted = answered() + more;
    fleet.gateways[gateway].wait_for("answers", || answered() >= wanted);
}

fn a_member_and_the_lake_die(fleet: &mut Fleet, load: &Load, dir: &Path) {
    fleet.metering[1].kill();
    the_lake_dies_within_its_commits(fleet, &dir.join("lake"));
    // The other member has taken its lanes over.
    fleet.books_go_on();
    answers(fleet, load, 0, 30);
    fleet.metering[1].start();
}

/// The lake writer commits what it has when it is told to stop, each table by itself, files first and then the log; it dies behind so many
/// of these, and starts again.
fn the_lake_dies_within_its_commits(fleet: &mut Fleet, lake: &Path) {
    let mut within = 0;
    for files in [1, 2, 3, 5, 8] {
        let before = files_in(lake);
        fleet.lake.signal("-TERM");
        let mut writer = fleet.lake.child.take().unwrap();
        while writer.try_wait().unwrap().is_none() && files_in(lake) < before + files {
            std::thread::yield_now();
        }
        // It may have been done first.
        let _ = writer.kill();
        within += usize::from(writer.wait().unwrap().signal() == Some(9));
        fleet.lake.start();
    }
    assert!(within > 2, "{within} died within a commit");
}

/// How many files there are in a directory and all below it.
fn files_in(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| if entry.path().is_dir() { files_in(&entry.path()) } else { 1 }).sum()
}

/// The broker stops; a gateway dies while it is away, with a journal that nobody has all of, and of whose last write only a part came
/// to the disk, followed by what was there before. It starts again before the broker does.
fn the_broker_goes_and_a_journal_is_torn(fleet: &mut Fleet, load: &Load, broker: &mut kafka::Own, dir: &Path) {
    let sql = "SELECT leased - settled - held AS left FROM balances WHERE limit_name = 'company'";
    fleet.query.wait_for("leases for an outage", || number(&fleet.query.rows(sql)[0], "left") > LEASED);
    broker.stop();
    assert!(TcpStream::connect(&fleet.broker).is_err(), "the broker is away");
    for gateway in 0..3 {
        answers(fleet, load, gateway, 30);
    }
    let journal = dir.join("gateway-1");
    let unshipped = fleet.gateways[0].sum_of("tollgate_journal_unconfirmed_events", "");
    assert!(unshipped > 60, "{unshipped} events wait for the broker");
    fleet.gateways[0].kill();
    tear(&journal);
    fleet.gateways[0].spawn();
    // It looks for the log for a while before it calls it away.
    let waits = |reasons: &str| ["the roles are being started", "TG5001"].iter().any(|why| reasons.contains(why));
    fleet.gateways[0].wait_for("the reason", || waits(&fleet.gateways[0].reasons()));
    broker.restart().unwrap();
    fleet.gateways[0].wait_for("readiness", || fleet.gateways[0].is_ready());
    assert_eq!(fleet.gateways[0].has_said("what a crash left torn is cut").len(), 1);
    for gateway in 0..3 {
        answers(fleet, load, gateway, 30);
    }
}

/// Puts behind the last whole batch of a journal the first half of one, then noise.
fn tear(journal: &Path) {
    let last = last_segment(journal);
    let mut bytes = fs::read(&last).unwrap();
    let end = written(&bytes);
    // A batch begins with what the file begins with.
    let start = bytes[..end].windows(4).rposition(|four| four == &bytes[..4]).unwrap();
    // The last byte of the last batch may be a zero.
    let torn = end + 64;
    let half = bytes[start..start + (end - start) / 2].to_vec();
    bytes[torn..torn + half.len()].copy_from_slice(&half);
    bytes[torn + half.len()..torn + half.len() + 1_000].fill(0xa5);
    fs::write(&last, bytes).unwrap();
}

/// The bytes up to the last that is not zero.
fn written(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1
}

fn last_segment(journal: &Path) -> PathBuf {
    let files = fs::read_dir(journal).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|extension| extension == "log")).max().unwrap()
}

/// A member of metering stops in the middle of a transaction for longer than its session; another takes its lanes over; it goes on and
/// is fenced; then the other one dies.
fn a_member_is_stopped_in_mid_transaction(fleet: &mut Fleet, load: &Load) {
    const FAILED: &str = "a transaction failed";
    let failed = fleet.metering[0].has_said(FAILED).len();
    let (lane, committed) = stop_in_mid_transaction(fleet);
    let ends = |fleet: &Fleet| fleet.ledger()[usize::from(lane)].0;
    fleet.metering[1].wait_for("another owner of the lane", || ends(fleet) > committed);
    fleet.metering[0].signal("-CONT");
    fleet.metering[0].wait_for("the fence", || fleet.metering[0].has_said(FAILED).len() > failed);
    fleet.books_go_on();
    fleet.metering[1].kill();
    // The zombie is a member again, and has all lanes.
    fleet.books_go_on();
    answers(fleet, load, 0, 30);
    fleet.metering[1].start();
}

/// Stops the first member until it is stopped in the middle of a transaction; gives the lane and where what is committed of it ends.
fn stop_in_mid_transaction(fleet: &Fleet) -> (u16, i64) {
    let mut found = None;
    fleet.metering[0].wait_for("a transaction to stop in", || {
        fleet.metering[0].signal("-STOP");
        let (stopped, before) = (Instant::now(), fleet.ledger());
        let mut open: Vec<usize> = (0..before.len()).collect();
        while stopped.elapsed() < STILL && !open.is_empty() {
            let now = fleet.ledger();
            open.retain(|lane| now[*lane].0 < now[*lane].1 && now[*lane] == before[*lane]);
        }
        found = open.first().map(|lane| (u16::try_from(*lane).unwrap(), before[*lane].0));
        if found.is_none() {
            fleet.metering[0].signal("-CONT");
        }
        found.is_some()
    });
    found.unwrap()
}

/// The disk of a gateway's journal is full: it refuses what is new and settles what is open. It dies, and does not start before there is
/// room again.
fn a_disk_is_full(fleet: &mut Fleet, load: &Load, disk: &Cramped) {
    const GATEWAY: usize = 1;
    let full = |end: &End| matches!(end, End::Refused(503, code) if code == "TG5002");
    assert_eq!(load.count(GATEWAY, full), 0);
    disk.fill();
    load.inflate(Some(GATEWAY));
    fleet.gateways[GATEWAY].wait_for("refusals for want of room", || load.count(GATEWAY, full) > 20);
    load.inflate(None);
    disk.empty();
    answers(fleet, load, GATEWAY, 30);
    fleet.gateways[GATEWAY].kill();
    // What its journal had set aside for itself, others have taken.
    let journal = disk.dir().join("gateway-2");
    let last = fs::File::options().write(true).open(last_segment(&journal)).unwrap();
    let (size, written) = (last.metadata().unwrap().len(), written(&fs::read(last_segment(&journal)).unwrap()));
    last.set_len(written as u64).and_then(|()| last.set_len(size)).unwrap();
    let _ = fs::remove_file(journal.join("next"));
    disk.fill();
    fleet.gateways[GATEWAY].spawn();
    let gateway = &fleet.gateways[GATEWAY];
    gateway.wait_for("the reason", || gateway.reasons().contains("TG5002"));
    disk.empty();
    gateway.wait_for("readiness", || gateway.is_ready());
    answers(fleet, load, GATEWAY, 30);
}

/// A gateway dies with events that the log has and that it was not told of: it sends them again. Then its journal is restored from a
/// copy of an earlier day, which is seen, and counts nothing twice.
fn a_journal_is_sent_twice_and_restored(fleet: &mut Fleet, load: &Load, dir: &Path) {
    const GATEWAY: usize = 2;
    let of_metering = |fleet: &Fleet, name: &str, label: &str| -> u64 {
        fleet.metering.iter().map(|member| member.sum_of(name, label)).sum()
    };
    let twice = |fleet: &Fleet| of_metering(fleet, "tollgate_metering_events_duplicate", "");
    let before = twice(fleet);
    fleet.gateways[GATEWAY].kill();
    fleet.gateways[GATEWAY].start();
    fleet.metering[0].wait_for("events that come twice", || twice(fleet) > before);
    answers(fleet, load, GATEWAY, 30);
    let forked = |fleet: &Fleet| of_metering(fleet, "tollgate_metering_alarms", "forked");
    let (journal, copy) = (dir.join("gateway-3"), dir.join("copy"));
    assert_eq!((fleet.gateways[GATEWAY].stop(), forked(fleet)), (0, 0));
    assert!(Command::new("cp").arg("-a").args([&journal, &copy]).status().unwrap().success());
    fleet.gateways[GATEWAY].start();
    answers(fleet, load, GATEWAY, 30);
    assert_eq!(fleet.gateways[GATEWAY].stop(), 0);
    fs::remove_dir_all(&journal).unwrap();
    fs::rename(&copy, &journal).unwrap();
    fleet.gateways[GATEWAY].start();
    fleet.metering[0].wait_for("the alarm", || forked(fleet) > 0);
    answers(fleet, load, GATEWAY, 30);
}

/// Calls become so large that the limit ends, while a gateway and a member of metering die.
fn the_limit_is_used_up(fleet: &mut Fleet, load: &Load) {
    load.grow();
    answers(fleet, load, 0, 20);
    fleet.gateways[0].kill();
    fleet.metering[0].kill();
    fleet.gateways[0].spawn();
    fleet.metering[0].start();
    fleet.gateways[0].wait_for("readiness", || fleet.gateways[0].is_ready());
    let mut refused = 0;
    fleet.query.wait_for("the end of the limit", || {
        let now = load.refused_last("TG2001");
        if std::mem::replace(&mut refused, now) != now {
            println!("{now} of {CLIENTS} clients are refused, {} tokens are left", fleet.left());
        }
        now == CLIENTS
    });
}

fn all_agrees(fleet: &mut Fleet, load: &Load, provider: &Provider) {
    let agreed = |fleet: &Fleet| {
        let truth = Truth { seen: &provider.seen(), calls: &load.calls(), limit: "company", amount: AMOUNT as i64 };
        agree(&fleet.query, &truth)
    };
    let sums = agreed(fleet);
    assert!(sums.unknown > 50, "calls were open when gateways died: {sums:?}");
    assert!(sums.failed > 50 && sums.left > 20, "the provider failed, and clients left: {sums:?}");
    // The last tokens of the limit can be had at any gateway, whoever has them leased; and then there is none.
    let left = u64::try_from(fleet.left()).unwrap();
    assert!(left < LARGE.bound * UNIT, "{left}");
    let mut end = End::Broken;
    if left > 0 {
        fleet.query.wait_for("the last of the limit", || {
            end = load.one(1, left);
            matches!(end, End::Answered(_))
        });
    }
    for gateway in 0..3 {
        assert_eq!(load.one(gateway, SMALL.bill * UNIT), End::Refused(429, "TG2001".into()));
    }
    let sums = agreed(fleet);
    assert_eq!((sums.settled + sums.held) as u64, AMOUNT);
    let Fleet { gateways, lake, query, .. } = fleet;
    for process in gateways.iter_mut().chain([lake]) {
        assert_eq!(process.stop(), 0);
    }
    // Now all of it is in the tables, and a service that begins with them says the same.
    query.kill();
    query.start();
    let said = query.command(&["replay"]);
    assert!(said.contains("equal, to the unit") && said.contains(&format!(" {} attempts", sums.rows)), "{said}");
    assert_eq!(agreed(fleet), sums);
    for process in fleet.metering.iter_mut().chain([&mut fleet.query]) {
        assert_eq!(process.stop(), 0);
        let alarms = process.has_said("an alarm of the books");
        assert!(alarms.iter().all(|alarm| alarm.contains("forked")), "{alarms:?}");
    }
}
