//! The cases. Each gets fresh ground.

use std::{
    collections::{BTreeMap, HashSet},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, Instant},
};

use bytes::Bytes;
use schemas::{
    error_code::ErrorCode,
    id::{Lane, Offset},
    topics::Topic,
};

use crate::{
    Error, Polled, Position, Record,
    conformance::{Books, Ground, LONG, View, append, from_start, read, until},
};

fn events(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("event {number:04} {}", "x".repeat(60)))
}

fn bodies(records: &[Record]) -> Vec<&[u8]> {
    records.iter().map(|record| &record.body[..]).collect()
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

pub(crate) fn events_come_once_and_in_order(ground: &mut dyn Ground) {
    let road = ground.open();
    let journal = road.journal().unwrap();
    let mut books = Books::open(&*road);
    append(&*road, &journal, events(100));
    // `accept` checks offsets, sequences and hashes of each.
    let staged = books.stage(100);
    assert_eq!(staged.len(), usize::from(road.lanes()));
    let mut seen: Vec<_> = staged.values().flatten().map(|record| record.body.clone()).collect();
    seen.sort_unstable();
    assert_eq!(seen, events(100).map(Bytes::from).collect::<Vec<_>>());
    books.commit();
    append(&*road, &journal, events(20));
    let more = books.stage(20);
    assert!(more.values().flatten().all(|record| record.header.producer == journal.producer()));
}

pub(crate) fn uncommitted_input_comes_again(ground: &mut dyn Ground) {
    let road = ground.open();
    let journal = road.journal().unwrap();
    let mut books = Books::open(&*road);
    append(&*road, &journal, events(30));
    books.stage(30);
    books.commit();
    append(&*road, &journal, events(30));
    let first: Vec<_> = books.stage(30).into_values().flatten().map(|record| (record.header, record.body)).collect();
    drop((books, journal, road));
    let road = ground.open();
    let mut books = Books::open(&*road);
    let again: Vec<_> = books.stage(30).into_values().flatten().map(|record| (record.header, record.body)).collect();
    assert_eq!(first, again);
}

pub(crate) fn a_transaction_is_seen_whole_or_not_at_all(ground: &mut dyn Ground) {
    let road = ground.open();
    let journal = road.journal().unwrap();
    let mut books = Books::open(&*road);
    let mut view = View::open(&*road);
    let mut ledger = from_start(&*road, Topic::Ledger);
    books.settle_in(&*road);
    append(&*road, &journal, events(40));
    books.stage(40);
    view.catch_up();
    assert!(view.state.is_empty());
    assert!(ledger.poll(Duration::ZERO).unwrap().is_empty());
    books.commit();
    let entries = read(&mut *ledger, 40);
    view.reach(&books.state);
    let state = books.state.clone();
    // One that is dropped with its transaction open leaves nothing of it.
    append(&*road, &journal, events(10));
    books.stage(10);
    drop((books, journal, ledger, view, road));

    let road = ground.open();
    let mut books = Books::open(&*road);
    books.settle_in(&*road);
    assert_eq!(books.state, state);
    let again = read(&mut *from_start(&*road, Topic::Ledger), 40);
    let by_lane = |records: &[Record]| {
        let mut out: BTreeMap<_, Vec<_>> = BTreeMap::new();
        records.iter().for_each(|r| out.entry(r.lane).or_default().push((r.offset, r.body.clone())));
        out
    };
    assert_eq!(by_lane(&again), by_lane(&entries));
    let mut view = View::open(&*road);
    view.catch_up();
    assert_eq!(view.state, state);
    books.stage(10);
    books.commit();
    read(&mut *from_start(&*road, Topic::Ledger), 50);
}

pub(crate) fn decisions_are_the_last_word_on_each_key(ground: &mut dyn Ground) {
    let road = ground.open();
    let mut books = Books::open(&*road);
    books.settle_in(&*road);
    let mut early = View::open(&*road);
    early.catch_up();
    for round in 0..6 {
        for lane in (0..road.lanes()).map(Lane) {
            let put = (0..10).map(|key| (bytes(&format!("key {key}")), Some(bytes(&format!("{round} {key}")))));
            // Keys leave, and some of them come back.
            let gone = (0..10).filter(|key| key % 5 == round % 5).map(|key| (bytes(&format!("key {key}")), None));
            books.decide(lane, put.chain(gone).collect());
        }
    }
    early.reach(&books.state);
    let mut late = View::open(&*road);
    late.catch_up();
    assert_eq!(late.state, books.state);
    assert!(
        !late.state.contains_key(&(Lane(0), bytes("key 5"))) && late.state.contains_key(&(Lane(0), bytes("key 4")))
    );
    let state = books.state.clone();
    drop((books, early, late, road));
    let road = ground.open();
    let mut view = View::open(&*road);
    view.catch_up();
    assert_eq!(view.state, state);
}

pub(crate) fn followers_get_every_change(ground: &mut dyn Ground) {
    let road = ground.open();
    let mut books = Books::open(&*road);
    books.settle_in(&*road);
    let (mut first, done) = (View::open(&*road), AtomicBool::new(false));
    let (state, seen) = std::thread::scope(|scope| {
        let follower = scope.spawn(|| {
            let mut seen = HashSet::new();
            while !done.load(Relaxed) {
                first.step();
                seen.insert(first.state.len());
            }
            (first, seen)
        });
        for round in 0..60 {
            let key = (bytes(&format!("key {round}")), Some(bytes("state")));
            books.decide(Lane(0), vec![key]);
        }
        let mut second = View::open(&*road);
        second.reach(&books.state);
        done.store(true, Relaxed);
        let (mut first, seen) = follower.join().unwrap();
        first.reach(&books.state);
        (books.state.clone(), seen)
    });
    assert_eq!(state.len(), 61);
    assert!(seen.len() > 1, "it saw only {seen:?}");
}

pub(crate) fn policy_keeps_its_order(ground: &mut dyn Ground) {
    let road = ground.open();
    let mut reader = from_start(&*road, Topic::Policy);
    assert_eq!(reader.ends().unwrap(), [Offset(0)]);
    let texts: Vec<_> = (0..50).map(|number| bytes(&format!("policy {number}"))).collect();
    for batch in texts.chunks(4) {
        road.publish(batch).unwrap();
    }
    let records = read(&mut *reader, 50);
    assert_eq!(bodies(&records), texts);
    let middle = records[20].offset;
    let mut later = road.reader(Topic::Policy, &[middle]).unwrap();
    assert_eq!(bodies(&read(&mut *later, 30)), texts[20..]);
    drop((reader, later, road));

    let road = ground.open();
    let mut reader = from_start(&*road, Topic::Policy);
    assert_eq!(bodies(&read(&mut *reader, 50)), texts);
    let end = reader.ends().unwrap()[0];
    assert!(end > records[49].offset);
    let mut waiting = road.reader(Topic::Policy, &[end]).unwrap();
    road.publish(&[bytes("one more")]).unwrap();
    assert_eq!(bodies(&read(&mut *waiting, 1)), [b"one more"]);
    assert!(reader.ends().unwrap()[0] > end);
}

pub(crate) fn readers_do_not_disturb_each_other(ground: &mut dyn Ground) {
    let road = ground.open();
    let journal = road.journal().unwrap();
    let mut books = Books::open(&*road);
    books.settle_in(&*road);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let mut reader = from_start(&*road, Topic::Ledger);
                scope.spawn(move || {
                    read(&mut *reader, 200).into_iter().map(|record| record.body).collect::<HashSet<_>>()
                })
            })
            .collect();
        for _ in 0..10 {
            append(&*road, &journal, events(20));
            books.stage(20);
            books.commit();
        }
        for reader in readers {
            assert_eq!(reader.join().unwrap(), events(20).map(Bytes::from).collect());
        }
    });
}

pub(crate) fn a_crash_loop_is_recovered_whole(ground: &mut dyn Ground) {
    let mut last = None;
    for round in 0..3 {
        let road = ground.open();
        let journal = road.journal().unwrap();
        assert_eq!(journal.predecessor().map(|before| before.producer), last);
        let recovered: Vec<_> = journal.recovered().collect::<Result<_, _>>().unwrap();
        let producers: HashSet<_> = recovered.iter().map(|record| record.header.producer).collect();
        assert_eq!((recovered.len(), producers.len()), (round * 25, round));
        append(&*road, &journal, events(25));
        last = Some(journal.producer());
    }
    let road = ground.open();
    let journal = road.journal().unwrap();
    let before = journal.predecessor().unwrap();
    assert_eq!(before.last.values().map(|seq| seq.0).sum::<u64>(), 25);
    // And metering gets all of it, whoever wrote it.
    let mut books = Books::open(&*road);
    books.stage(75);
}

pub(crate) fn metering_s_word_lets_the_journal_go(ground: &mut dyn Ground) {
    let road = ground.open();
    let journal = road.journal().unwrap();
    let mut books = Books::open(&*road);
    append(&*road, &journal, events(300));
    books.stage(300);
    books.commit();
    journal.keep_from(journal.position());
    assert_eq!(journal.first(), Position(0));
    assert_eq!(journal.unconfirmed(), 300);
    let before = journal.bytes_retained();
    books.confirm(&*road, &journal, journal.producer());
    assert_eq!(journal.unconfirmed(), 0);
    append(&*road, &journal, events(50));
    until("the trim", || journal.bytes_retained() < before);
    books.stage(50);
    drop((books, journal, road));

    let road = ground.open();
    let journal = road.journal().unwrap();
    let recovered: Vec<_> = journal.recovered().collect::<Result<_, _>>().unwrap();
    assert!((50..350).contains(&recovered.len()));
    let expected: Vec<_> = events(50).collect();
    assert_eq!(bodies(&recovered[recovered.len() - 50..]), expected.iter().map(String::as_bytes).collect::<Vec<_>>());
    let mut books = Books::open(&*road);
    books.stage(50);
}

pub(crate) fn what_the_ledger_let_go_of_is_not_passed_over(ground: &mut dyn Ground) {
    let road = ground.open();
    let journal = road.journal().unwrap();
    let mut books = Books::open(&*road);
    for _ in 0..10 {
        append(&*road, &journal, events(60));
        books.stage(60);
        books.commit();
    }
    let lanes = usize::from(road.lanes());
    let start = vec![Offset(0); lanes];
    assert_eq!(road.kept().unwrap(), start);
    let mut reader = from_start(&*road, Topic::Ledger);
    let (records, ends) = (read(&mut *reader, 600), reader.ends().unwrap());
    let middle: Vec<Offset> = ends.iter().map(|end| Offset(end.0 / 2)).collect();
    ground.trim(&*road, &middle);
    let kept = road.kept().unwrap();
    assert!(kept.iter().zip(&middle).all(|(kept, middle)| kept.0 > 0 && kept <= middle), "{kept:?} of {middle:?}");
    drop((reader, road, journal, books));

    let road = ground.open();
    assert_eq!(road.kept().unwrap(), kept);
    let refused = road.reader(Topic::Ledger, &start).err().unwrap();
    assert!(matches!(refused, Error::NotKept { topic: Topic::Ledger, asked: 0, first, .. } if first == kept[0].0));
    assert_eq!(refused.code(), ErrorCode::LogTrimmed);
    let left: Vec<&Record> =
        records.iter().filter(|record| record.offset >= kept[usize::from(record.lane.0)]).collect();
    let mut reader = road.reader(Topic::Ledger, &kept).unwrap();
    assert_eq!(reader.ends().unwrap(), ends);
    let by_lane = |records: &[&Record], lane| -> Vec<Bytes> {
        records.iter().filter(|record| record.lane == lane).map(|record| record.body.clone()).collect()
    };
    let read_on = read(&mut *reader, left.len());
    let read_on: Vec<&Record> = read_on.iter().collect();
    for lane in (0..road.lanes()).map(Lane) {
        assert_eq!(by_lane(&read_on, lane), by_lane(&left, lane));
    }

    // All of it goes, and metering goes on.
    ground.trim(&*road, &ends);
    assert_eq!(road.kept().unwrap(), ends);
    let mut reader = road.reader(Topic::Ledger, &ends).unwrap();
    assert_eq!(reader.ends().unwrap(), ends);
    let journal = road.journal().unwrap();
    let mut books = Books::open(&*road);
    append(&*road, &journal, events(20));
    books.stage(20);
    books.commit();
    let more = read(&mut *reader, 20);
    assert!(more.iter().all(|record| record.offset >= ends[usize::from(record.lane.0)]));
}

pub(crate) fn idleness_is_not_an_error(ground: &mut dyn Ground) {
    let road = ground.open();
    let mut books = Books::open(&*road);
    books.settle_in(&*road);
    drop(books);
    let mut member = road.member().unwrap();
    until("an idle member", || match member.poll(Duration::from_millis(20)).unwrap() {
        Polled::Assigned(lane, _) => {
            member.resume(lane, Offset(0)).unwrap();
            false
        }
        polled => matches!(polled, Polled::Idle),
    });
    assert!(from_start(&*road, Topic::Ledger).poll(Duration::from_millis(20)).unwrap().is_empty());
    assert!(from_start(&*road, Topic::Policy).poll(Duration::from_millis(20)).unwrap().is_empty());
    let mut follower = road.follower().unwrap();
    until("catching up", || follower.poll(Duration::from_millis(20)).unwrap().is_empty() && follower.caught_up());
}

pub(crate) fn closing_wakes_all_that_wait(ground: &mut dyn Ground) {
    let road = ground.open();
    let journal = road.journal().unwrap();
    let mut books = Books::open(&*road);
    books.settle_in(&*road);
    drop(books);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let (road, journal) = (&road, &journal);
        let mut policy = from_start(&**road, Topic::Policy);
        let mut follower = road.follower().unwrap();
        let waiting = [
            scope.spawn(move || {
                loop {
                    if let Err(error) = policy.poll(LONG * 2) {
                        return error;
                    }
                }
            }),
            scope.spawn(move || {
                loop {
                    if let Err(error) = follower.poll(LONG * 2) {
                        return error;
                    }
                }
            }),
        ];
        append(&**road, journal, events(3));
        road.close().unwrap();
        for thread in waiting {
            assert!(matches!(thread.join().unwrap(), Error::Closed));
        }
    });
    assert!(begun.elapsed() < LONG);
    assert!(matches!(journal.append(&[]), Err(Error::Closed)));
    drop((journal, road));
    let road = ground.open();
    let mut books = Books::open(&*road);
    books.stage(3);
}
