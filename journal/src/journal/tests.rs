//! The journal loses nothing it took, names its predecessor, and lets go only of what is confirmed and closed.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use schemas::{
    error_code::ErrorCode,
    id::{Lane, ProducerId, Seq},
    wire,
};

use super::{Fsync, Gap, Journal, Options, Position};
use crate::{
    Draft, Record,
    error::Error,
    fault::{Faults, Point},
};

const SOON: Duration = Duration::from_secs(20);

/// Set in the environment of a child that is to be killed: the journal it appends to.
const CHILD_DIR: &str = "TOLLGATE_TEST_CHILD_JOURNAL";

fn options() -> Options {
    Options { lanes: 3, segment_bytes: 4096, most_bytes: 1 << 20, ..Options::default() }
}

fn open(dir: &Path) -> Arc<Journal> {
    Journal::open(dir, &options()).unwrap()
}

fn append(journal: &Journal, lane: u16, body: &str) -> Position {
    journal.append(&[Draft { lane: Lane(lane), body: body.as_bytes() }]).unwrap().first
}

fn recovered(journal: &Journal) -> Vec<Record> {
    journal.recovered().collect::<Result<_, _>>().unwrap()
}

fn bodies(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| std::str::from_utf8(&record.body).unwrap()).collect()
}

/// Reads all that was appended, once it is on the platter.
fn read(journal: &Journal, from: Position) -> Vec<Record> {
    let end = journal.position();
    assert!(journal.wait_synced(end, SOON));
    let mut reader = journal.read_from(from).unwrap();
    let mut out = Vec::new();
    while reader.next() < end {
        out.extend(reader.poll(SOON).unwrap());
    }
    out
}

/// Waits for what another thread is about to do.
fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::yield_now();
    }
}

#[test]
fn sequences_run_from_one_in_each_lane() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let drafts = [0, 2, 0, 1, 2, 2].map(|lane| Draft { lane: Lane(lane), body: b"body" });
    let appended = journal.append(&drafts).unwrap();
    assert_eq!((appended.first, appended.end), (Position(0), Position(6)));
    append(&journal, 0, "last");
    let records = read(&journal, Position(0));
    let seen: Vec<_> = records.iter().map(|record| (record.lane.0, record.header.seq.0)).collect();
    assert_eq!(seen, [(0, 1), (2, 1), (0, 2), (1, 1), (2, 2), (2, 3), (0, 3)]);
    for record in records {
        assert_eq!(record.header.producer, journal.producer());
        assert_eq!(record.header.hash, wire::hash(&record.body));
    }
}

#[test]
fn each_open_is_a_new_producer_that_names_the_last_one() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    assert_eq!(first.predecessor(), None);
    let producer = first.producer();
    for number in 0..100 {
        append(&first, number % 2, &format!("first {number:050}"));
    }
    drop(first);
    // Opened and never written: nobody has heard of it.
    drop(open(dir.path()));
    let second = open(dir.path());
    let predecessor = second.predecessor().unwrap().clone();
    assert_eq!(predecessor.producer, producer);
    assert_eq!(predecessor.last, BTreeMap::from([(Lane(0), Seq(50)), (Lane(1), Seq(50))]));
    append(&second, 2, "second");
    assert_eq!(recovered(&second).len(), 100);
    drop(second);
    let third = open(dir.path());
    assert_eq!(third.predecessor().unwrap().last, BTreeMap::from([(Lane(2), Seq(1))]));
    assert_eq!(recovered(&third).len(), 101);
    assert_eq!(third.unconfirmed(), 101);
}

#[test]
fn the_last_sequences_outlive_the_records() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    append(&journal, 1, "only one in its lane");
    for number in 0..200 {
        append(&journal, 0, &format!("{number:0100}"));
    }
    journal.keep_from(journal.position());
    journal.sync().unwrap();
    let producer = journal.producer();
    journal.confirm(producer, Lane(0), Seq(200));
    journal.confirm(producer, Lane(1), Seq(1));
    eventually("the trim", || journal.first() > Position(100));
    drop(journal);
    let last = BTreeMap::from([(Lane(0), Seq(200)), (Lane(1), Seq(1))]);
    assert_eq!(open(dir.path()).predecessor().unwrap().last, last);
}

#[test]
fn a_log_that_lacks_what_was_let_go_of_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    append(&journal, 1, "the only one of its lane");
    for number in 0..100 {
        append(&journal, 0, &format!("{number:0100}"));
    }
    journal.sync().unwrap();
    journal.keep_from(journal.position());
    let (before, confirmed) = (journal.producer(), [(0, 60), (1, 1)]);
    confirmed.iter().for_each(|(lane, seq)| journal.confirm(before, Lane(*lane), Seq(*seq)));
    eventually("the trim", || journal.first() > Position(1));
    assert_eq!(journal.gap(), None, "a new journal has nothing behind it");
    drop(journal);
    let first = open(dir.path()).first().0;
    let check = |confirmed: &[(u16, u64)], gap| {
        let journal = open(dir.path());
        confirmed.iter().for_each(|(lane, seq)| journal.confirm(before, Lane(*lane), Seq(*seq)));
        assert_eq!(journal.gap(), gap, "{confirmed:?}");
    };
    let gap = |lane, confirmed, kept| Some(Gap { lane: Lane(lane), confirmed: Seq(confirmed), kept: Seq(kept) });
    check(&[(0, 60), (1, 1)], None);
    // All of it is kept that metering lacks.
    check(&[(0, first - 1), (1, 1)], None);
    check(&[(0, first - 2), (1, 1)], gap(0, first - 2, first));
    check(&[(0, 60)], gap(1, 0, 2));
    check(&[], gap(0, 0, first));
}

/// Copied, restored, moved: what counts is whether the files are those that were written.
#[test]
fn a_copy_of_a_directory_is_known_as_one_until_somebody_has_written_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second, moved) = (dir.path().join("first"), dir.path().join("second"), dir.path().join("moved"));
    let is_copied = |dir: &Path| open(dir).predecessor().unwrap().is_copied;
    append(&open(&first), 0, "first");
    assert!(!is_copied(&first));
    assert!(Command::new("cp").arg("-r").args([&first, &second]).status().unwrap().success());
    assert!(is_copied(&second) && is_copied(&second), "nobody has heard of the first that opened it");
    let copy = open(&second);
    append(&copy, 0, "second");
    let producer = copy.producer();
    drop(copy);
    let third = open(&second);
    assert_eq!(third.predecessor().map(|before| (before.producer, before.is_copied)), Some((producer, false)));
    drop(third);
    std::fs::rename(&first, &moved).unwrap();
    assert!(!is_copied(&moved));
    // What an older version wrote says nothing of its place.
    std::fs::remove_file(moved.join("place")).unwrap();
    assert!(!is_copied(&moved));
}

#[test]
fn only_what_is_confirmed_and_closed_goes() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let places: Vec<_> = (0..200).map(|number| append(&journal, number % 2, &format!("{number:0100}"))).collect();
    journal.sync().unwrap();
    let all = journal.bytes_retained();
    let me = journal.producer();
    // Lane 1 is not confirmed at all, and somebody else's word does not count.
    journal.keep_from(places[150]);
    journal.confirm(me, Lane(0), Seq(100));
    journal.confirm(ProducerId::fresh(), Lane(1), Seq(100));
    append(&journal, 0, "the flusher looks");
    journal.sync().unwrap();
    assert_eq!((journal.first(), journal.unconfirmed()), (Position(0), 101));
    journal.confirm(me, Lane(1), Seq(40));
    eventually("the trim of what is confirmed", || journal.first() > Position(0));
    assert!(journal.first() <= places[80]);
    journal.confirm(me, Lane(1), Seq(100));
    eventually("the trim up to the open attempt", || journal.bytes_retained() < all / 2);
    assert!(journal.first() <= places[150] && journal.first() > places[80]);
    assert_eq!(bodies(&read(&journal, places[150])).len(), 51);
    assert_eq!(journal.unconfirmed(), 1);
    drop(journal);
    let journal = open(dir.path());
    assert!(journal.first() <= places[150] && journal.first() > places[80]);
    assert_eq!(bodies(&read(&journal, places[150])).len(), 51);
}

#[test]
fn a_full_journal_refuses_until_something_is_confirmed() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), &Options { most_bytes: 20_000, ..options() }).unwrap();
    let body = "x".repeat(500);
    let draft = [Draft { lane: Lane(0), body: body.as_bytes() }];
    let mut taken = 0;
    let mut told = 0;
    let error = loop {
        told += u64::from(journal.has_room());
        match journal.append(&draft) {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), ErrorCode::JournalFull);
    assert!(matches!(error, Error::Full { .. }) && taken > 30 && told < taken, "{error}: {told} of {taken}");
    journal.sync().unwrap();
    journal.keep_from(journal.position());
    journal.confirm(journal.producer(), Lane(0), Seq(taken));
    eventually("room", || journal.append(&draft).is_ok());
    assert!(journal.has_room());
}

#[test]
fn a_full_disk_stops_admission_before_settlement() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Faults::default();
    let journal = Journal::open(dir.path(), &Options { faults: faults.clone(), ..options() }).unwrap();
    faults.plant(Point::Create, rustix::io::Errno::NOSPC);
    append(&journal, 0, &"x".repeat(2500));
    journal.sync().unwrap();
    eventually("the warning", || !journal.has_room());
    append(&journal, 0, "settled");
    // The disk has room again.
    journal.sync().unwrap();
    eventually("room", || journal.has_room());
}

#[test]
fn an_open_journal_is_locked() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let error = Journal::open(dir.path(), &options()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::DirectoryLocked);
    let named = format!("{} is in use by process {}", dir.path().join("lock").display(), std::process::id());
    assert_eq!(error.to_string(), named);
    drop(journal);
    open(dir.path());
}

#[test]
fn nothing_is_read_before_it_is_on_the_platter() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Faults::default();
    let journal = Journal::open(dir.path(), &Options { faults: faults.clone(), ..options() }).unwrap();
    faults.plant(Point::Sync, rustix::io::Errno::IO);
    append(&journal, 0, "never");
    eventually("the failed fsync", || journal.append(&[Draft { lane: Lane(0), body: b"more" }]).is_err());
    assert_eq!(journal.synced(), Position(0));
    assert!(journal.read_from(Position(0)).unwrap().poll(Duration::ZERO).unwrap().is_empty());
    assert!(journal.behind() > Duration::ZERO);
    let error = journal.append(&[Draft { lane: Lane(0), body: b"more" }]).unwrap_err();
    assert_eq!(error.code(), ErrorCode::JournalFull);
    // Its opening is over all the same: a reader is not left waiting.
    assert!(journal.close().is_err());
    assert!(matches!(journal.read_from(Position(0)).unwrap().poll(SOON), Err(Error::Closed)));
}

#[test]
fn always_means_at_return() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), &Options { fsync: Fsync::Always, ..options() }).unwrap();
    for number in 0..20 {
        append(&journal, 0, "x");
        assert_eq!(journal.synced(), Position(number + 1));
    }
}

#[test]
fn threads_share_a_journal() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let journal = &journal;
            scope.spawn(move || {
                for number in 0..300 {
                    append(journal, thread % 3, &format!("{thread} {number:05}"));
                }
            });
        }
    });
    let records = read(&journal, Position(0));
    let mut seqs = [0; 3];
    let mut threads: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (offset, record) in records.iter().enumerate() {
        let seq = &mut seqs[usize::from(record.lane.0)];
        *seq += 1;
        assert_eq!((record.offset.0, record.header.seq.0), (offset as u64, *seq));
        let (thread, number) = bodies(std::slice::from_ref(record))[0].split_once(' ').unwrap();
        threads.entry(thread).or_default().push(number);
    }
    assert_eq!(seqs, [600, 300, 300]);
    for numbers in threads.values() {
        assert!(numbers.is_sorted() && numbers.len() == 300);
    }
}

#[test]
fn a_reader_keeps_up_with_rolling_and_trimming() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), &Options { segment_bytes: 1024, ..options() }).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..3000 {
                append(&journal, 0, &format!("{number:0100}"));
            }
        });
        let mut reader = journal.read_from(Position(0)).unwrap();
        let mut read = 0;
        while read < 3000 {
            for record in reader.poll(SOON).unwrap() {
                assert_eq!(record.body, format!("{read:0100}"));
                read += 1;
                assert_eq!((record.offset.0 + 1, record.header.seq.0), (read, read));
            }
            journal.keep_from(reader.next());
            journal.confirm(journal.producer(), Lane(0), Seq(read));
        }
    });
    append(&journal, 0, "the last one");
    eventually("the trim", || journal.first() > Position(2900));
}

/// The child: appends until it is killed, and says after each append that it returned.
fn append_for_ever(dir: &Path) {
    let journal = open(dir);
    let mut out = std::io::stdout();
    for number in 0_u64.. {
        append(&journal, 0, &format!("{number} {}", "x".repeat(200)));
        journal.keep_from(Position(0));
        writeln!(out, "\nappended {number}").and_then(|()| out.flush()).unwrap();
    }
}

#[test]
fn a_killed_process_loses_nothing_that_it_appended() {
    if let Some(dir) = std::env::var_os(CHILD_DIR) {
        return append_for_ever(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut kept = 0;
    for round in 1..=4 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "journal::tests::a_killed_process_loses_nothing_that_it_appended", "--nocapture"])
            .env(CHILD_DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut appended = 0;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            if let Some(number) = line.unwrap().strip_prefix("appended ") {
                appended = number.parse::<u64>().unwrap() + 1;
            }
            if appended == 150 * round {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(appended >= 150 * round);
        let journal = open(dir.path());
        let records = recovered(&journal);
        let predecessor = journal.predecessor().unwrap();
        let own: Vec<_> = records.iter().filter(|record| record.header.producer == predecessor.producer).collect();
        assert!(own.len() as u64 >= appended, "{} of {appended}", own.len());
        for (index, record) in own.iter().enumerate() {
            assert_eq!(record.header.seq.0, index as u64 + 1);
            assert!(record.body.starts_with(format!("{index} ").as_bytes()));
        }
        assert_eq!(predecessor.last[&Lane(0)].0, own.len() as u64);
        assert_eq!(records.len(), kept + own.len());
        kept = records.len();
    }
}
