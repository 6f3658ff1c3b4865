//! The road on a real Kafka: how long from an event appended to the decision that a follower holds, hop by hop, beside a record and
//! a transaction of one record through librdkafka alone; and how many events a second from the topic to committed decisions, beside
//! librdkafka's own consumer reading the same topic in the same run.
//!
//! `cargo bench -p journal --features kafka --bench kafka`. The broker is that of the tests; it works on the same cores.

#![expect(clippy::unwrap_used, reason = "a benchmark ends where it fails")]
#![expect(clippy::print_stdout, reason = "a benchmark says what it measured")]

use std::{
    path::Path,
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::Bytes;
use journal::{
    Draft, Outputs, Polled, Position, Road,
    kafka::{Kafka, Options},
};
use rdkafka::{
    ClientConfig, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    message::Message as _,
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use schemas::id::{Lane, Offset, ProducerId, Seq};

#[path = "../../tests/support/kafka.rs"]
#[expect(dead_code, reason = "tests stop and start brokers; a benchmark does not")]
mod broker;

const WAIT: Duration = Duration::from_secs(10);
const CIRCLES: usize = 500;
/// So many of the slowest circles are shown.
const SLOWEST: usize = 8;
const EVENTS: usize = 200_000;
const EVENT_BYTES: usize = 400;

fn main() {
    let Some(address) = broker::shared() else { return };
    let dir = tempfile::tempdir().unwrap();
    for lanes in [1, 16] {
        let options = options(address, &dir.path().join(format!("circle-{lanes}")), lanes);
        say(lanes, circle(&Kafka::open(options.clone()).unwrap()));
        for transactional in [false, true] {
            let what = if transactional { "a transaction of one record" } else { "a record" };
            let (p50, p99) = percentiles(plain(&options, transactional));
            println!("{what} from librdkafka's producer to its consumer: p50 {p50:?}, p99 {p99:?}");
        }
    }
    let options = options(address, &dir.path().join("flood"), 1);
    let kafka = Kafka::open(options.clone()).unwrap();
    ship(&*kafka);
    // Once unmeasured, so that all of it is in the topic; then nothing is sent again.
    consume(&options);
    let journal = kafka.journal().unwrap();
    journal.confirm(journal.producer(), Lane(0), Seq(EVENTS as u64));
    let reading = rate(consume(&options));
    let road = rate(metering(&kafka, (Lane(0), Seq(EVENTS as u64)), |_, _| {}).join().unwrap());
    println!("librdkafka's consumer: {reading} events/s of {EVENT_BYTES} bytes");
    println!("topic to committed ledger and decisions: {road} events/s, {:.2} of it", road as f64 / reading as f64);
}

fn options(address: &str, outbox: &Path, lanes: u16) -> Options {
    Options::new(vec![address.to_owned()], format!("bench-{}", ProducerId::fresh()), lanes, outbox.to_owned())
}

/// When an event was where, after it was appended.
#[derive(Clone, Copy, Debug, Default)]
struct Hops {
    /// On the gateway's disk.
    synced: Duration,
    /// With metering, which has polled it.
    polled: Duration,
    /// What was made of it is committed, as metering hears.
    committed: Duration,
    /// With the gateway that follows.
    followed: Duration,
}

fn say(lanes: u16, mut hops: Vec<Hops>) {
    hops.sort_by_key(|hops| hops.followed);
    let say = |part: &str, hop: fn(&Hops) -> Duration| {
        let (p50, p99) = percentiles(hops.iter().map(hop).collect());
        println!("{part}: p50 {p50:?}, p99 {p99:?}");
    };
    say(&format!("append to decision, {lanes} lanes"), |hops| hops.followed);
    say("    to the disk", |hops| hops.synced);
    say("    from there to metering", |hops| hops.polled.saturating_sub(hops.synced));
    say("    the commit", |hops| hops.committed.saturating_sub(hops.polled));
    say("    from metering to the follower", |hops| hops.followed.saturating_sub(hops.polled));
    for hops in hops.iter().rev().take(SLOWEST) {
        println!("    among the slowest, each since the append: {hops:?}");
    }
}

/// A metering that makes one entry of each record and one decision of each batch, until it has had the last record. Gives how
/// long that took from its last assignment on; `seen` is told when records were polled and when what was made of them was committed.
fn metering(
    road: &Kafka,
    last: (Lane, Seq),
    mut seen: impl FnMut(Instant, Instant) + Send + 'static,
) -> JoinHandle<Duration> {
    let mut member = road.member().unwrap();
    thread::spawn(move || {
        let (mut done, mut begun) = (false, Instant::now());
        while !done {
            match member.poll(WAIT).unwrap() {
                Polled::Assigned(lane, _) => {
                    begun = Instant::now();
                    member.resume(lane, Offset(0)).unwrap();
                }
                Polled::Records(lane, records) => {
                    let polled = Instant::now();
                    done = records.iter().any(|record| (record.lane, record.header.seq) == last);
                    let newest = records.last().unwrap();
                    let outputs = Outputs {
                        input: Offset(newest.offset.0 + 1),
                        decisions: vec![(Bytes::from_static(b"key"), Some(newest.body.clone()))],
                        ledger: records.into_iter().map(|record| record.body).collect(),
                        passed: Vec::new(),
                    };
                    member.commit(lane, &outputs).unwrap();
                    seen(polled, Instant::now());
                }
                Polled::Idle | Polled::Revoked(_) => {}
            }
        }
        begun.elapsed()
    })
}

fn circle(road: &Kafka) -> Vec<Hops> {
    let journal = road.journal().unwrap();
    let (sender, receiver) = mpsc::channel();
    let metering = metering(road, place(CIRCLES, road.lanes()), move |polled, committed| {
        sender.send((polled, committed)).unwrap();
    });
    let mut follower = road.follower().unwrap();
    let mut took = Vec::with_capacity(CIRCLES);
    for number in 0..=CIRCLES {
        let body = format!("{number:0EVENT_BYTES$}");
        let (lane, seq) = place(number, road.lanes());
        let begun = Instant::now();
        let appended = journal.append(&[Draft { lane, body: body.as_bytes() }]).unwrap();
        assert!(journal.wait_synced(appended.end, WAIT));
        let synced = begun.elapsed();
        while !follower.poll(WAIT).unwrap().iter().any(|change| change.state.as_deref() == Some(body.as_bytes())) {}
        let followed = begun.elapsed();
        let (polled, committed) = receiver.recv().unwrap();
        let [polled, committed] = [polled, committed].map(|at| at.duration_since(begun));
        took.push(Hops { synced, polled, committed, followed });
        journal.confirm(journal.producer(), lane, seq);
    }
    metering.join().unwrap();
    // The first one waits for the member to join.
    took.split_off(1)
}

/// How long records take one after the other from librdkafka's producer to its consumer of committed records, in the topic of the
/// decisions.
fn plain(options: &Options, transactional: bool) -> Vec<Duration> {
    let (topic, mut config) = (format!("{}.decisions", options.prefix), ClientConfig::new());
    config.set("bootstrap.servers", options.brokers.join(",")).set("acks", "all").set("linger.ms", "0");
    let mut reading = config.clone();
    if transactional {
        config.set("transactional.id", format!("{}-plain", options.prefix));
    }
    let producer: BaseProducer = config.create().unwrap();
    if transactional {
        producer.init_transactions(WAIT).unwrap();
    }
    let consumer: BaseConsumer = reading.set("group.id", "plain").set("enable.auto.commit", "false").create().unwrap();
    let (_, end) = consumer.fetch_watermarks(&topic, 0, WAIT).unwrap();
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset(&topic, 0, rdkafka::Offset::Offset(end)).unwrap();
    consumer.assign(&partitions).unwrap();
    let mut trip = |_| {
        let begun = Instant::now();
        if transactional {
            producer.begin_transaction().unwrap();
        }
        let record = BaseRecord::<[u8], [u8]>::to(&topic).partition(0).key(b"plain").payload(&[b'7'; EVENT_BYTES]);
        producer.send(record).unwrap();
        if transactional {
            producer.commit_transaction(WAIT).unwrap();
        }
        let read = || consumer.poll(WAIT).and_then(Result::ok).is_some_and(|message| message.key() == Some(b"plain"));
        while !read() {
            assert!(begun.elapsed() < WAIT, "the record does not come");
        }
        producer.poll(Duration::ZERO);
        begun.elapsed()
    };
    (0..CIRCLES).map(&mut trip).collect()
}

/// Where the events go: to each lane in turn.
fn place(number: usize, lanes: u16) -> (Lane, Seq) {
    let lanes = usize::from(lanes);
    (Lane(u16::try_from(number % lanes).unwrap()), Seq((number / lanes + 1) as u64))
}

/// Has the events in the topic before anybody reads them.
fn ship(road: &dyn Road) {
    let journal = road.journal().unwrap();
    let body = format!("{:0EVENT_BYTES$}", 0);
    let mut end = Position::default();
    for _ in 0..EVENTS / 100 {
        end = journal.append(&[Draft { lane: Lane(0), body: body.as_bytes() }; 100]).unwrap().end;
    }
    assert!(journal.wait_synced(end, WAIT));
}

/// How long librdkafka's own consumer takes from its first record on.
fn consume(options: &Options) -> Duration {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", options.brokers.join(",")).set("group.id", "plain");
    let consumer: BaseConsumer = config.create().unwrap();
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset(&format!("{}.usage", options.prefix), 0, rdkafka::Offset::Beginning).unwrap();
    consumer.assign(&partitions).unwrap();
    let (mut left, mut begun) = (EVENTS, None);
    while left > 0 {
        if let Some(message) = consumer.poll(WAIT) {
            begun.get_or_insert_with(Instant::now);
            left -= usize::from(message.unwrap().payload().is_some());
        }
    }
    begun.map_or(Duration::ZERO, |begun| begun.elapsed())
}

fn rate(took: Duration) -> u128 {
    EVENTS as u128 * 1_000_000 / took.as_micros().max(1)
}

fn percentiles(mut took: Vec<Duration>) -> (Duration, Duration) {
    took.sort_unstable();
    (took[took.len() / 2], took[took.len() * 99 / 100])
}
