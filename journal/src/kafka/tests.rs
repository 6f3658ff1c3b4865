//! The suite on Kafka, and what only Kafka promises: lanes that change hands, owners that come too late, brokers that go.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use futures::executor::block_on;
use rdkafka::{
    TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    message::{Headers as _, Message as _},
    producer::{BaseRecord, Producer as _},
};
use schemas::{
    error_code::ErrorCode,
    id::{Lane, Offset, ProducerId, Seq},
    time::Time,
    topics::Topic,
};
use tempfile::TempDir;

use super::{
    Kafka, Options,
    client::{Client, Polled as Read, place},
    cursor::Cursor,
    voice::Voice,
};
use crate::{
    Draft, Error, Member, Outputs, Polled, Record, Road,
    conformance::{Books, Ground, View, append, from_start, read, until},
    journal,
};

#[expect(dead_code, reason = "a broker that stands still is for the tests of the binary")]
#[path = "../../../tests/support/kafka.rs"]
mod broker;
mod proxy;

/// The lanes of the tests: more than one, and few enough for a busy machine.
const LANES: u16 = 3;

const POLL: Duration = Duration::from_millis(200);

/// Topics of their own on a broker, and an outbox.
struct Cluster {
    _dir: TempDir,
    options: Options,
}

impl Cluster {
    /// Nothing if there is no broker, which has been said then.
    fn new() -> Option<Self> {
        broker::shared().map(Self::at)
    }

    fn at(address: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let prefix = format!("test-{}", ProducerId::fresh());
        let mut options = Options::new(vec![address.to_owned()], prefix, LANES, dir.path().join("outbox"));
        options.patience = Duration::from_secs(60);
        options.journal = journal::Options { segment_bytes: 4096, ..journal::Options::default() };
        Self { _dir: dir, options }
    }

    fn kafka(&self) -> Arc<Kafka> {
        Kafka::open(self.options.clone()).unwrap()
    }
}

impl Ground for Cluster {
    fn open(&mut self) -> Arc<dyn Road> {
        self.kafka()
    }

    fn trim(&self, road: &dyn Road, below: &[Offset]) {
        // Who keeps what is the cluster's business.
        let kept = road.kept().unwrap();
        road.trim(below, Time::MAX).unwrap();
        assert_eq!(road.kept().unwrap(), kept);
        let client = Client::new(&self.options);
        let admin: AdminClient<Voice> = client.config().create_with_context(client.voice()).unwrap();
        let (name, mut places) = (client.topic(Topic::Ledger), TopicPartitionList::new());
        for (lane, below) in below.iter().enumerate() {
            places.add_partition_offset(&name, i32::try_from(lane).unwrap(), place(*below)).unwrap();
        }
        block_on(admin.delete_records(&places, &AdminOptions::new())).unwrap();
    }
}

mod suite {
    use super::Cluster;

    crate::conformance::suite!(match Cluster::new() {
        Some(cluster) => cluster,
        None => return,
    });
}

fn events(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("event {number}"))
}

/// The ledger has each event once, and nothing else; what is after it there is no record.
fn check_once(road: &dyn Road, count: usize) {
    let mut reader = from_start(road, Topic::Ledger);
    let records = read(&mut *reader, count);
    let mut seen: Vec<_> = records.iter().map(|record| record.body.clone()).collect();
    let mut wanted: Vec<_> = events(count).map(Bytes::from).collect();
    seen.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(seen, wanted);
    let mut ends = vec![Offset(0); usize::from(LANES)];
    for record in records {
        ends[usize::from(record.lane.0)] = Offset(record.offset.0 + 1);
    }
    assert_eq!(reader.ends().unwrap(), ends);
}

#[test]
fn lanes_change_hands_and_no_event_is_charged_twice() {
    let Some(cluster) = Cluster::new() else { return };
    let road = cluster.kafka();
    let journal = road.journal().unwrap();
    let mut first = Books::open(&*road);
    first.settle_in(&*road);
    let mut all = events(90);
    append(&*road, &journal, all.by_ref().take(30));
    first.stage(30);
    first.commit();
    let mut second = Books::open(&*road);
    until("both members have lanes", || {
        first.step();
        second.step();
        first.lanes() + second.lanes() == usize::from(LANES) && second.lanes() > 0
    });
    append(&*road, &journal, all.by_ref().take(30));
    until("both have read their part", || {
        first.step();
        second.step();
        first.staged() + second.staged() == 30
    });
    second.commit();
    first.commit();
    append(&*road, &journal, all);
    until("both have read the rest", || {
        first.step();
        second.step();
        first.staged() + second.staged() == 30
    });
    // It goes with its part read and not committed; the other one reads it again.
    let left = 30 - second.staged();
    assert!(left > 0);
    drop(first);
    second.settle_in(&*road);
    second.stage(30);
    second.commit();
    check_once(&*road, 90);
}

/// Polls a member until it has read `count` records of `lane`, and gives what follows from them.
fn outputs(member: &mut dyn Member, lane: Lane, count: usize) -> Outputs {
    let mut records: Vec<Record> = Vec::new();
    until("the records", || {
        match member.poll(POLL).unwrap() {
            Polled::Assigned(lane, _) => member.resume(lane, Offset(0)).unwrap(),
            Polled::Records(of, more) if of == lane => records.extend(more),
            _ => {}
        }
        records.len() >= count
    });
    // The outbox may have sent them more than once by now.
    records.truncate(count);
    let input = Offset(records[count - 1].offset.0 + 1);
    let ledger = records.into_iter().map(|record| record.body).collect();
    let decisions = vec![(Bytes::from_static(b"k"), Some(Bytes::from_static(b"v")))];
    Outputs { input, ledger, decisions, passed: Vec::new() }
}

fn append_to(journal: &journal::Journal, lane: Lane, count: usize) {
    for body in events(count) {
        journal.append(&[Draft { lane, body: body.as_bytes() }]).unwrap();
    }
}

#[test]
fn an_owner_that_comes_too_late_commits_nothing() {
    let Some(mut cluster) = Cluster::new() else { return };
    cluster.options.stall = cluster.options.session;
    let road = cluster.kafka();
    let lane = Lane(1);
    append_to(&road.journal().unwrap(), lane, 20);
    let mut late = road.member().unwrap();
    let too_late = outputs(&mut *late, lane, 20);
    // It does not poll any more, as if it were stopped; the group gives its lanes away.
    let mut next = road.member().unwrap();
    let in_time = outputs(&mut *next, lane, 20);
    next.commit(lane, &in_time).unwrap();
    let fenced = late.commit(lane, &too_late);
    assert!(matches!(fenced, Err(Error::Fenced(of)) if of == lane), "{fenced:?}");
    check_once(&*road, 20);
    // Once it polls, it is a member like any other again.
    let mut states = BTreeMap::new();
    until("a lane for each", || {
        let _ = next.poll(Duration::from_millis(20)).unwrap();
        if let Polled::Assigned(lane, state) = late.poll(POLL).unwrap() {
            states.insert(lane, state);
        }
        !states.is_empty()
    });
}

#[test]
fn what_is_passed_to_another_lane_stands_with_its_transaction_or_not_at_all() {
    let Some(mut cluster) = Cluster::new() else { return };
    cluster.options.stall = cluster.options.session;
    let road = cluster.kafka();
    let (lane, other, journal) = (Lane(1), Lane(2), road.journal().unwrap());
    append_to(&journal, lane, 5);
    let passing = |outputs: Outputs, body| Outputs { passed: vec![(other, Bytes::from_static(body))], ..outputs };
    let mut late = road.member().unwrap();
    let too_late = passing(outputs(&mut *late, lane, 5), b"too late");
    let mut next = road.member().unwrap();
    let in_time = passing(outputs(&mut *next, lane, 5), b"in time");
    next.commit(lane, &in_time).unwrap();
    assert!(matches!(late.commit(lane, &too_late), Err(Error::Fenced(_))));
    // What a gateway writes behind it is read after it.
    append_to(&journal, other, 1);
    let mut came: Vec<Record> = Vec::new();
    until("what comes after it", || {
        match next.poll(POLL).unwrap() {
            Polled::Assigned(lane, _) => next.resume(lane, Offset(0)).unwrap(),
            Polled::Records(of, more) if of == other => came.extend(more),
            _ => {}
        }
        came.iter().any(|record| record.header.producer != ProducerId::NONE)
    });
    let passed = came.iter().filter(|record| record.header.producer == ProducerId::NONE);
    let passed: Vec<_> = passed.map(|record| (record.header.seq, &record.body[..])).collect();
    assert_eq!(passed, [(Seq(0), &b"in time"[..])]);
}

#[test]
fn a_transaction_that_its_owner_left_open_is_nothing() {
    let Some(cluster) = Cluster::new() else { return };
    let road = cluster.kafka();
    let client = Client::new(&cluster.options);
    let id = format!("{}-metering-0", cluster.options.prefix);
    let zombie = client.producer(&[("transactional.id", &id)]).unwrap();
    zombie.init_transactions(Duration::from_secs(60)).unwrap();
    zombie.begin_transaction().unwrap();
    for topic in [Topic::Ledger, Topic::Decisions] {
        let topic = client.topic(topic);
        let record = BaseRecord::<[u8], [u8]>::to(&topic).partition(0).key(b"key").payload(b"never");
        zombie.send(record).map_err(|(error, _)| error).unwrap();
    }
    zombie.flush(Duration::from_secs(60)).unwrap();

    append(&*road, &road.journal().unwrap(), events(9));
    let mut books = Books::open(&*road);
    books.settle_in(&*road);
    assert!(books.state.is_empty());
    zombie.commit_transaction(Duration::from_secs(60)).unwrap_err();
    books.stage(9);
    books.commit();
    check_once(&*road, 9);
}

#[test]
fn what_goes_before_it_is_read_is_said_to_have_gone() {
    let Some(mut cluster) = Cluster::new() else { return };
    let road = cluster.open();
    let journal = road.journal().unwrap();
    let mut books = Books::open(&*road);
    append(&*road, &journal, events(30));
    books.stage(30);
    books.commit();
    let ends = from_start(&*road, Topic::Ledger).ends().unwrap();
    cluster.trim(&*road, &ends);
    // As a reader that the cluster overtook.
    let mut cursor = Cursor::new(&Arc::new(Client::new(&cluster.options)), Topic::Ledger).unwrap();
    cursor.go(BTreeMap::from([(Lane(0), place(Offset(0)))])).unwrap();
    let mut said = None;
    until("the error", || {
        said = cursor.drain(POLL, |_| false).err();
        said.is_some()
    });
    assert!(matches!(said, Some(Error::NotKept { asked: 0, first, .. }) if first == ends[0].0), "{said:?}");
}

/// Whoever reads such a lane is given something whenever it asks, so the cluster never says that this was all.
#[test]
fn a_lane_that_is_written_all_the_time_says_where_it_ends() {
    let Some(cluster) = Cluster::new() else { return };
    let road = cluster.kafka();
    let client = Client::new(&cluster.options);
    let writer = client.producer(&[("linger.ms", "0")]).unwrap();
    let topic = client.topic(Topic::Ledger);
    let (ended, (said, ends)) = (AtomicBool::new(false), mpsc::channel());
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                let record = BaseRecord::<[u8], [u8]>::to(&topic).partition(0).payload(b"more");
                writer.send(record).map_err(|(error, _)| error).unwrap();
                writer.flush(Duration::from_secs(60)).unwrap();
            }
        });
        let mut reader = from_start(&*road, Topic::Ledger);
        until("records", || !reader.poll(POLL).unwrap().is_empty());
        scope.spawn(move || said.send(reader.ends().unwrap()));
        let ends = ends.recv_timeout(Duration::from_secs(60));
        ended.store(true, Ordering::Relaxed);
        assert!(ends.is_ok_and(|ends| ends[0] > Offset(0)), "the end was not found while others wrote");
    });
}

#[test]
fn topics_that_are_not_as_they_have_to_be_are_refused() {
    let Some(cluster) = Cluster::new() else { return };
    drop(cluster.kafka());
    let more = Options { lanes: LANES + 1, ..cluster.options.clone() };
    assert_eq!(Kafka::open(more).unwrap_err().code(), ErrorCode::LanesDiffer);

    for (topic, setting, value) in [
        (Topic::Policy, "retention.ms", "1000"),
        (Topic::Policy, "retention.bytes", "1000"),
        (Topic::Decisions, "cleanup.policy", "delete"),
        (Topic::Decisions, "cleanup.policy", "compact,delete"),
        (Topic::Ledger, "cleanup.policy", "compact"),
        (Topic::Usage, "retention.ms", "1000"),
        (Topic::Ledger, "max.message.bytes", "1000000"),
    ] {
        let cluster = Cluster::at(&cluster.options.brokers[0]);
        let client = Client::new(&cluster.options);
        let admin: AdminClient<Voice> = client.config().create_with_context(client.voice()).unwrap();
        let (name, lanes) = (client.topic(topic), i32::from(client.partitions(topic)));
        let mut new = NewTopic::new(&name, lanes, TopicReplication::Fixed(1)).set(setting, value);
        if setting != "max.message.bytes" {
            new = new.set("max.message.bytes", "16777216");
        }
        block_on(admin.create_topics([&new], &AdminOptions::new())).unwrap();
        let refused = Kafka::open(cluster.options.clone()).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::TopicConfiguration, "{topic:?} {setting} {value}: {refused}");
        assert!(refused.to_string().contains(setting), "{topic:?} {setting} {value}: {refused}");
    }
}

#[test]
fn a_cluster_that_is_not_there_is_said_to_be_so() {
    let mut cluster = Cluster::at("127.0.0.1:1");
    cluster.options.patience = Duration::ZERO;
    let refused = Kafka::open(cluster.options.clone()).unwrap_err();
    assert!(matches!(refused, Error::Unreachable(_)), "{refused}");
}

/// All records of `usage`, as anybody's consumer sees them: lane, header by name, and times seen.
fn raw_usage(client: &Arc<Client>, done: impl Fn(&[(Lane, BTreeMap<String, Vec<u8>>)]) -> bool) {
    let mut cursor = Cursor::new(client, Topic::Usage).unwrap();
    cursor.go((0..LANES).map(|lane| (Lane(lane), rdkafka::Offset::Beginning)).collect()).unwrap();
    let mut seen = Vec::new();
    until("the records of usage", || {
        let take = |read: Read<'_, '_>| {
            if let Read::Message(message) = read {
                let headers = message.headers().unwrap().iter();
                let headers = headers.map(|header| (header.key.to_owned(), header.value.unwrap().to_vec())).collect();
                seen.push((super::client::lane(message.partition()), headers));
            }
            false
        };
        cursor.drain(POLL, take).unwrap();
        done(&seen)
    });
}

#[test]
fn what_metering_does_not_confirm_is_sent_again_and_says_what_it_is() {
    let Some(cluster) = Cluster::new() else { return };
    let road = cluster.kafka();
    let client = Arc::new(Client::new(&cluster.options));
    let journal = road.journal().unwrap();
    append_to(&journal, Lane(0), 4);
    append_to(&journal, Lane(2), 4);
    raw_usage(&client, |seen| seen.len() == 8);
    journal.confirm(journal.producer(), Lane(2), Seq(4));
    journal.confirm(journal.producer(), Lane(0), Seq(2));
    raw_usage(&client, |seen| {
        let of = |lane: u16| {
            let of = seen.iter().filter(|(of, _)| *of == Lane(lane));
            of.map(|(_, headers)| u64::from_be_bytes(headers["seq"][..].try_into().unwrap())).collect::<Vec<_>>()
        };
        for (_, headers) in seen {
            assert_eq!(headers["producer"], journal.producer().as_bytes());
            assert_eq!(headers["ce_specversion"], b"1.0");
            assert_eq!(headers["ce_type"], b"tollgate.v1.Event");
            assert!(headers["ce_id"].starts_with(journal.producer().to_string().as_bytes()));
        }
        // All that is not confirmed, and nothing that is.
        of(2) == [1, 2, 3, 4] && of(0) == [1, 2, 3, 4, 3, 4]
    });
}

#[test]
fn a_broker_that_goes_and_comes_back_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut broker) = broker::Own::start(dir.path()) else { return };
    let mut cluster = Cluster::at(broker.address());
    // So that clients are replaced while the broker is away, too.
    cluster.options.silence = Duration::from_secs(1);
    let road = cluster.kafka();
    let journal = road.journal().unwrap();
    let mut books = Books::open(&*road);
    books.settle_in(&*road);
    let mut all = events(60);
    append(&*road, &journal, all.by_ref().take(20));
    books.stage(20);
    books.commit();
    for gone in [broker::Own::stop, broker::Own::kill] {
        gone(&mut broker);
        append(&*road, &journal, all.by_ref().take(20));
        (0..8).for_each(|_| books.step());
        broker.restart().unwrap();
        until("the events", || {
            books.step();
            books.staged() == 20
        });
        books.commit();
    }
    check_once(&*road, 60);
}

#[test]
fn clients_that_are_told_of_no_broker_find_the_cluster_again() {
    let Some(broker) = broker::shared() else { return };
    let proxy = proxy::Proxy::before(broker);
    let mut cluster = Cluster::at(proxy.address());
    cluster.options.silence = Duration::from_secs(1);
    let road = cluster.kafka();
    let journal = road.journal().unwrap();
    let mut books = Books::open(&*road);
    let (mut reader, mut view) = (from_start(&*road, Topic::Ledger), View::open(&*road));
    books.settle_in(&*road);
    let mut all = events(40);
    append(&*road, &journal, all.by_ref().take(20));
    books.stage(20);
    books.commit();
    read(&mut *reader, 20);
    view.reach(&books.state);

    // Whether a client loses its brokers over it is a race within librdkafka, so they are told some times.
    for nobody in [true, false].repeat(6) {
        proxy.list_nobody(nobody);
        proxy.cut();
        let answers = proxy.answers();
        until("clients that ask for brokers", || {
            books.step();
            proxy.answers() > answers + 4
        });
    }
    append(&*road, &journal, all);
    let mut committed = 0;
    until("the events", || {
        committed += books.step_and_commit();
        committed == 20
    });
    read(&mut *reader, 20);
    view.reach(&books.state);
    check_once(&*road, 40);
}
