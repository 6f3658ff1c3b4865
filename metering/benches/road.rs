//! The role on a real road: how many events a second from the log to committed decisions, and how long a settlement, or a request
//! for a lease, takes from the gateway's journal to the decision that a gateway holds.
//!
//! `cargo bench -p metering --bench road` on the embedded log, beside `fdatasync` of a plain file in the same run; and on a real
//! Kafka, if there can be one, which works on the same cores. One lane, one member.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark ends where it fails")]
#![expect(clippy::print_stdout, reason = "a benchmark says what it measured")]

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::Bytes;
use journal::{Disk, Draft, Follower, Journal, Options, Road};
use metering::Metering;
use schemas::{
    decision::State,
    event::Event,
    id::{Lane, ProducerId},
    policy::Record,
    time, wire,
};

#[path = "desk/calls.rs"]
#[expect(dead_code, reason = "an engine without a road is for the other benchmark")]
mod calls;

use calls::Desk;

#[path = "../../tests/support/kafka.rs"]
#[expect(dead_code, reason = "tests stop and start brokers; a benchmark does not")]
mod broker;

const WAIT: Duration = Duration::from_secs(60);
const EVENTS: usize = 200_000;
const CIRCLES: usize = 500;

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let dir = tempfile::tempdir_in(".").unwrap();
    measure("disk", ["flood", "circle", "lease"].map(|name| disk(&dir.path().join(name))));
    fsyncs(dir.path());
    if let Some(address) = broker::shared() {
        measure("Kafka", ["flooded", "circled", "leased"].map(|name| kafka(address, &dir.path().join(name))));
    }
}

fn disk(dir: &Path) -> Arc<dyn Road> {
    Disk::open(dir, &Options::default()).unwrap()
}

fn kafka(address: &str, outbox: &Path) -> Arc<dyn Road> {
    let prefix = format!("bench-{}", ProducerId::fresh());
    let options = journal::kafka::Options::new(vec![address.to_owned()], prefix, 1, outbox.to_owned());
    journal::kafka::Kafka::open(options).unwrap()
}

fn measure(name: &str, [flood, circle, lease]: [Arc<dyn Road>; 3]) {
    let rate = flooded(&flood);
    println!("{name}: {rate:.0} events a second from the log to committed ledger and decisions");
    let settle = |gateway: &Gateway, number: usize| {
        let [_, settled] = gateway.desk.call(number);
        settled
    };
    let (p50, p99) = percentiles(circled(&circle, settle));
    println!("{name}: from a settlement in the journal to the decision: p50 {p50:?}, p99 {p99:?}");
    let ask = |gateway: &Gateway, number: usize| gateway.desk.ask(number as u64 + 1, 1_000 * (number as i128 + 1));
    let (p50, p99) = percentiles(circled(&lease, ask));
    println!("{name}: from a request for two leases in the journal to their grant: p50 {p50:?}, p99 {p99:?}");
}

/// Metering on a road, until told to stop.
struct Running {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Running {
    fn start(road: &Arc<dyn Road>) -> Self {
        let (metering, stop) = (Metering::new(Arc::clone(road)), Arc::new(AtomicBool::new(false)));
        let flag = Arc::clone(&stop);
        Self { stop, thread: thread::spawn(move || metering.run(&flag).unwrap()) }
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

/// What a gateway has of a road: it writes events and hears how many were accepted.
struct Gateway {
    desk: Desk,
    journal: Arc<Journal>,
    follower: Box<dyn Follower>,
}

impl Gateway {
    fn new(road: &Arc<dyn Road>) -> Self {
        let desk = Desk::new(time::now());
        let records = [Record::Book(Box::new((*desk.book).clone())), Record::Policy(Box::new(desk.policy()))];
        let bodies: Vec<Bytes> = records.iter().map(|record| wire::encode_policy(record).into()).collect();
        road.publish(&bodies).unwrap();
        Self { desk, journal: road.journal().unwrap(), follower: road.follower().unwrap() }
    }

    fn write(&self, events: &[Event]) {
        let bodies: Vec<Vec<u8>> = events.iter().map(wire::encode_event).collect();
        let drafts: Vec<Draft<'_>> = bodies.iter().map(|body| Draft { lane: Lane(0), body }).collect();
        self.journal.append(&drafts).unwrap();
    }

    /// Waits for news of its events; gives how many were accepted.
    fn accepted(&mut self) -> u64 {
        let mine = |producer: ProducerId| producer == self.journal.producer();
        let waited = Instant::now();
        while waited.elapsed() < WAIT {
            for change in self.follower.poll(WAIT).unwrap() {
                let (Ok(key), Some(state)) = (wire::decode_key(&change.key), change.state) else { continue };
                if let Ok(State::Lane(state)) = wire::decode_state(&key, &state)
                    && let Some(mark) = state.producers.iter().find(|mark| mine(mark.producer))
                {
                    return mark.seq.0;
                }
            }
        }
        unreachable!("metering is silent");
    }
}

fn flooded(road: &Arc<dyn Road>) -> f64 {
    let mut gateway = Gateway::new(road);
    let mut end = journal::Position::default();
    for first in (0..EVENTS / 2).step_by(500) {
        let events: Vec<Event> = (first..first + 500).flat_map(|number| gateway.desk.call(number)).collect();
        gateway.write(&events);
        end = gateway.journal.position();
    }
    assert!(gateway.journal.wait_synced(end, WAIT));
    let waited = Instant::now();
    // On Kafka all of it is there before anything is counted: the outbox is measured elsewhere.
    while !gateway.journal.is_shipped() && waited.elapsed() < WAIT {
        thread::sleep(Duration::from_millis(10));
    }
    let metering = Running::start(road);
    // What comes before the first commit is joining and reading the policy.
    let first = gateway.accepted();
    let begun = Instant::now();
    let mut last = first;
    while last < EVENTS as u64 {
        last = gateway.accepted();
    }
    let took = begun.elapsed();
    metering.stop();
    (last - first) as f64 / took.as_secs_f64()
}

/// How long each of so many events takes to its decision, one after the other.
fn circled(road: &Arc<dyn Road>, event: impl Fn(&Gateway, usize) -> Event) -> Vec<Duration> {
    let mut gateway = Gateway::new(road);
    let metering = Running::start(road);
    let mut took = Vec::with_capacity(CIRCLES);
    for number in 0..=CIRCLES {
        let event = event(&gateway, number);
        let begun = Instant::now();
        let is_awaited = matches!(event, Event::LeaseRequested(_));
        gateway.write(&[event]);
        if is_awaited {
            gateway.journal.awaited();
        }
        while gateway.accepted() <= number as u64 {}
        took.push(begun.elapsed());
    }
    metering.stop();
    // The first one waits for metering to start.
    took.split_off(1)
}

fn fsyncs(dir: &Path) {
    let file = File::create(dir.join("plain")).unwrap();
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, (CIRCLES * 512) as u64).unwrap();
    let write = |number: usize| {
        let begun = Instant::now();
        file.write_all_at(&[7; 512], (number * 512) as u64).unwrap();
        file.sync_data().unwrap();
        begun.elapsed()
    };
    let (p50, p99) = percentiles((0..CIRCLES).map(write).collect());
    println!("disk: one fdatasync of 512 bytes: p50 {p50:?}, p99 {p99:?}; four: p99 {:?}", p99 * 4);
}

fn percentiles(mut took: Vec<Duration>) -> (Duration, Duration) {
    took.sort_unstable();
    (took[took.len() / 2], took[took.len() * 99 / 100])
}
