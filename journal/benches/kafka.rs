//! The road on a real Kafka: how long from an event appended to the decision that a follower holds, and how many events a
//! second from the topic to committed decisions, beside librdkafka's own consumer reading the same topic in the same run.
//!
//! `cargo bench -p journal --features kafka --bench kafka`. The broker is that of the tests; it works on the same cores.

#![expect(clippy::unwrap_used, reason = "a benchmark ends where it fails")]
#![expect(clippy::print_stdout, reason = "a benchmark says what it measured")]

use std::{
    path::Path,
    sync::Arc,
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
};
use schemas::id::{Lane, Offset, ProducerId, Seq};

#[path = "../../tests/support/kafka.rs"]
#[expect(dead_code, reason = "tests stop and start brokers; a benchmark does not")]
mod broker;

const WAIT: Duration = Duration::from_secs(10);
const CIRCLES: usize = 300;
const EVENTS: usize = 200_000;
const EVENT_BYTES: usize = 400;

fn main() {
    let Some(address) = broker::shared() else { return };
    let dir = tempfile::tempdir().unwrap();
    for lanes in [1, 16] {
        let kafka = open(address, &dir.path().join(format!("circle-{lanes}")), lanes);
        let (p50, p99) = percentiles(circle(&kafka));
        println!("append to decision, {lanes} lanes: p50 {p50:?}, p99 {p99:?}");
    }
    let options = options(address, &dir.path().join("flood"), 1);
    let kafka = Kafka::open(options.clone()).unwrap();
    ship(&*kafka);
    // Once unmeasured, so that all of it is in the topic; then nothing is sent again.
    consume(&options);
    let journal = kafka.journal().unwrap();
    journal.confirm(journal.producer(), Lane(0), Seq(EVENTS as u64));
    let plain = rate(consume(&options));
    let road = rate(metering(&kafka, (Lane(0), Seq(EVENTS as u64))).join().unwrap());
    println!("librdkafka's consumer: {plain} events/s of {EVENT_BYTES} bytes");
    println!("topic to committed ledger and decisions: {road} events/s, {:.2} of it", road as f64 / plain as f64);
}

fn options(address: &str, outbox: &Path, lanes: u16) -> Options {
    Options::new(vec![address.to_owned()], format!("bench-{}", ProducerId::fresh()), lanes, outbox.to_owned())
}

fn open(address: &str, outbox: &Path, lanes: u16) -> Arc<Kafka> {
    Kafka::open(options(address, outbox, lanes)).unwrap()
}

/// A metering that makes one entry of each record and one decision of each batch, until it has had the last record. Gives how
/// long that took from its last assignment on.
fn metering(road: &Kafka, last: (Lane, Seq)) -> JoinHandle<Duration> {
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
                    done = records.iter().any(|record| (record.lane, record.header.seq) == last);
                    let newest = records.last().unwrap();
                    let outputs = Outputs {
                        input: Offset(newest.offset.0 + 1),
                        decisions: vec![(Bytes::from_static(b"key"), Some(newest.body.clone()))],
                        ledger: records.into_iter().map(|record| record.body).collect(),
                    };
                    member.commit(lane, &outputs).unwrap();
                }
                Polled::Idle | Polled::Revoked(_) => {}
            }
        }
        begun.elapsed()
    })
}

fn circle(road: &Kafka) -> Vec<Duration> {
    let journal = road.journal().unwrap();
    let metering = metering(road, place(CIRCLES, road.lanes()));
    let mut follower = road.follower().unwrap();
    let mut took = Vec::with_capacity(CIRCLES);
    for number in 0..=CIRCLES {
        let body = format!("{number:0EVENT_BYTES$}");
        let (lane, seq) = place(number, road.lanes());
        let begun = Instant::now();
        journal.append(&[Draft { lane, body: body.as_bytes() }]).unwrap();
        while !follower.poll(WAIT).unwrap().iter().any(|change| change.state.as_deref() == Some(body.as_bytes())) {}
        took.push(begun.elapsed());
        journal.confirm(journal.producer(), lane, seq);
    }
    metering.join().unwrap();
    // The first one waits for the member to join.
    took.split_off(1)
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
