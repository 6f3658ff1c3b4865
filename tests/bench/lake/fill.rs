//! Filling: what metering writes of attempts goes into the log, and from there into the lake by the lake writer itself.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use journal::{Disk, Member, Options, Outputs, Polled, Road};
use query::{
    compact,
    config::ShelveConfig,
    lake::Lake,
    policies::PolicyLog,
    shelve::{self, Shelver},
    table,
    tail::Bounds,
};
use schemas::{
    config::MeteringConfig,
    event::Settled,
    id::{CallId, Lane, Offset, ProducerId},
    ledger::{Begun, BookInForce, Charged, Entry, Fact},
    policy::{Access, Digest, Policy, Record, Tenant, Tenants},
    time::Time,
    wire,
};
use tokio::runtime::{Builder, Handle};

use super::world::{TENANTS, World};

/// What is to be made.
pub(crate) struct Plan {
    pub(crate) dir: PathBuf,
    pub(crate) rows: u64,
    /// Over which they are spread.
    pub(crate) days: u64,
    /// Attempts of one commit.
    pub(crate) round: u64,
    pub(crate) seed: u64,
    /// Whether the ledger has the admissions too, as metering writes them: no table but the archive has anything of them.
    pub(crate) admissions: bool,
}

/// The token that reads everything.
pub(crate) const TOKEN: &str = "tollgate-bench";

/// Entries of one commit of the log.
const BATCH: usize = 10_000;

pub(crate) fn fill(plan: &Plan) {
    let road: Arc<dyn Road> = Disk::open(&plan.dir.join("log"), &Options::default()).unwrap();
    let lake = plan.dir.join("lake");
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut metering = Metering::new(plan, road.member().unwrap());
    let policies = metering.published(road.as_ref());
    let (mut calls, mut spent) = (0, Duration::ZERO);
    let begun = Instant::now();
    while calls < plan.rows {
        let round = metering.write(plan.round);
        let before = cpu();
        let lake = runtime.block_on(Lake::open(lake.to_str().unwrap(), 1)).unwrap();
        shelve(&road, &lake, &policies, runtime.handle());
        spent += cpu() - before;
        calls += round;
        let rate = u128::from(calls) * 1_000_000 / spent.as_micros().max(1);
        println!("{calls} calls after {:?}; shelving: {rate} a second of processor time", begun.elapsed());
    }
    road.close().unwrap();
}

/// Joins the files of each day, and makes their rollups, as the lake writer does beside shelving.
pub(crate) fn keep_up(dir: &Path) {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let before = cpu();
    runtime.block_on(async {
        let lake = Lake::open(dir.join("lake").to_str().unwrap(), 1).await.unwrap();
        for table in table::ALL {
            loop {
                let version = lake.refresh(table).await.unwrap();
                let done = compact::compact(&lake, table, &version).await.unwrap()
                    + compact::roll(&lake, table).await.unwrap();
                if done == 0 {
                    break;
                }
            }
        }
    });
    println!("compacted and rolled up in {:?} of processor time", cpu() - before);
}

/// Shelves all that the log has, in one commit a table, and lets the log go of it.
fn shelve(road: &Arc<dyn Road>, lake: &Arc<Lake>, policies: &Arc<PolicyLog>, runtime: &Handle) {
    const LONG: Duration = Duration::from_secs(86_400);
    let shelver = Shelver::start(shelve::Deps {
        road: Arc::clone(road),
        lake: Arc::clone(lake),
        policies: policies.clone(),
        observe: Box::new(|_| {}),
        runtime: runtime.clone(),
        writes: true,
        config: ShelveConfig {
            commit_rows: usize::MAX,
            commit_age: LONG,
            idle_commit: LONG,
            tail: Bounds { rows: usize::MAX, bytes: usize::MAX },
            compact: None,
            keep: Some(Duration::ZERO),
            ..ShelveConfig::default()
        },
    })
    .unwrap();
    while !shelver.status().caught_up {
        assert_eq!(shelver.status().degraded(), None);
        thread::sleep(Duration::from_millis(5));
    }
    shelver.stop().unwrap();
}

/// What the kernel has counted for this process, in whole hundredths of a second.
fn cpu() -> Duration {
    let told = std::fs::read_to_string("/proc/self/stat").unwrap();
    let numbers = told.rsplit_once(')').unwrap().1.split_whitespace();
    let ticks: u64 = numbers.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

/// Writes what metering would.
pub(crate) struct Metering {
    world: World,
    member: Box<dyn Member>,
    /// Attempts that were admitted, by when they end.
    open: BinaryHeap<Reverse<Open>>,
    ready: Vec<Bytes>,
    recorded_at: Time,
    admissions: bool,
    /// The last call that has ended.
    pub(crate) last: Option<CallId>,
}

/// An attempt that has not ended.
struct Open(Settled);

impl Metering {
    pub(crate) fn new(plan: &Plan, mut member: Box<dyn Member>) -> Self {
        while !matches!(member.poll(Duration::from_millis(10)).unwrap(), Polled::Assigned(Lane(0), _)) {}
        Self {
            world: World::new(plan.seed, plan.rows, plan.days),
            member,
            open: BinaryHeap::new(),
            ready: Vec::new(),
            recorded_at: Time::ZERO,
            admissions: plan.admissions,
            last: None,
        }
    }

    /// Publishes the prices and a policy under which [`TOKEN`] reads everything, and puts them in force.
    pub(crate) fn published(&mut self, road: &dyn Road) -> Arc<PolicyLog> {
        let book = self.world.book.hash();
        let tenants = (0..TENANTS).map(|tenant| Tenant { name: format!("tenant-{tenant:04}"), keys: Vec::new() });
        let policy = Policy {
            tenants: tenants.collect(),
            limits: Vec::new(),
            models: Vec::new(),
            access: vec![Access { token_sha256: Digest::of(TOKEN), tenants: Tenants::All }],
            proxies: Vec::new(),
            metering: MeteringConfig::default(),
            book,
            beside: std::collections::BTreeMap::new(),
        };
        let records = [Record::Book(Box::new(self.world.book.clone())), Record::Policy(Box::new(policy))];
        let bodies: Vec<Bytes> = records.iter().map(|record| wire::encode_policy(record).into()).collect();
        road.publish(&bodies).unwrap();
        let known = PolicyLog::default();
        records.into_iter().zip(0..).for_each(|(record, offset)| known.apply(Offset(offset), record));
        self.say(super::world::BEGIN, Fact::Book(BookInForce { policy: Offset(0), book }));
        Arc::new(known)
    }

    /// Writes what ends of the next attempts; gives how many do.
    pub(crate) fn write(&mut self, round: u64) -> u64 {
        let mut ended = 0;
        while ended < round {
            let next = self.world.next();
            let until = next.as_ref().map_or(Time::MAX, |next| next.attempt.admitted_at);
            while self.open.peek().is_some_and(|Reverse(open)| open.0.settled_at <= until) {
                let Some(Reverse(Open(settled))) = self.open.pop() else { break };
                self.charge(settled);
                ended += 1;
            }
            let Some(next) = next else { break };
            if self.admissions {
                let attempt = next.attempt.clone();
                let producer = Some(ProducerId::from_bytes([7; 16]));
                self.say(attempt.admitted_at, Fact::Admitted(Box::new(Begun { attempt, holds: Vec::new(), producer })));
            }
            self.open.push(Reverse(Open(next)));
        }
        self.commit();
        ended
    }

    fn charge(&mut self, settled: Settled) {
        self.last = Some(settled.attempt.call);
        let charges = metering::replay::charges(&settled, &settled.usage, Some(&self.world.book));
        self.say(settled.settled_at, Fact::Charged(Box::new(Charged { settled, charges })));
    }

    /// Writes an entry of a batch that metering takes in every five milliseconds.
    fn say(&mut self, at: Time, fact: Fact) {
        let batch = (at.as_micros() / 5_000 + 1) * 5_000;
        self.recorded_at = self.recorded_at.max(Time::from_micros(batch));
        self.ready.push(wire::encode_entry(&Entry { recorded_at: self.recorded_at, fact }).into());
        if self.ready.len() >= BATCH {
            self.commit();
        }
    }

    fn commit(&mut self) {
        let outputs = Outputs { ledger: std::mem::take(&mut self.ready), ..Outputs::default() };
        self.member.commit(Lane(0), &outputs).unwrap();
    }
}

impl Ord for Open {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let key = |open: &Self| (open.0.settled_at, *open.0.attempt.call.as_bytes());
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for Open {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Open {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Open {}
