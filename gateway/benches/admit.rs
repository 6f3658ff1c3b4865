//! What admission costs: processor time to hold a call on ten hard limits under warm leases, and to settle it, among 10,000 tenants
//! of ten limits each, beside ten plain counters behind one lock; and what the limits take in memory.
//!
//! Run with `cargo bench -p gateway --bench admit`. One thread that never waits, so the wall tells its processor time where nothing
//! else wants the core (the kernel's own account of a thread moves by milliseconds); of the rounds the median counts. A round holds a
//! call of each tenant and then settles all of them, so neither finds anything in the nearest caches; the plain counters do both at
//! once. The same is then done with calls of the first hundred tenants only, which find theirs there. The policy and the decisions
//! come in as they do from the log, by way of `Obey`. Memory is what the process has grown by when the log has been read and each
//! tenant has made a call, a hundred of them at a time: with what reading it left behind.

#![expect(clippy::expect_used, clippy::panic, reason = "a benchmark ends where it fails")]

use std::{
    collections::HashMap,
    fs,
    hint::black_box,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use gateway::{
    limits::{Ask, Limits, Outlet, Permit, Spent, Tried},
    obey::{Obey, View},
};
use journal::{Change, Draft, Follower, Header, Reader, Record};
use schemas::{
    bound::Bound,
    config::MeteringConfig,
    decision::{Holder, Instance, Key, State, WindowState},
    event::Attempt,
    fixture,
    id::{CallId, InstanceId, Lane, Offset, ProducerId, Seq},
    limit::{Dimension, Limit, Match, Schedule, Target, Unit, Window},
    money::Pico,
    policy::{self, Tenant},
    price::{Book, Cost},
    subject::Subject,
    time::{self, Time},
    tokens::{Usage, Vector},
    wire,
};

const TENANTS: usize = 10_000;
const ROUNDS: usize = 101;
/// So many tenants' counters fit into a near cache.
const BUSY: usize = 100;
/// So many tenants' decisions come at a time.
const BATCH: usize = 100;
const ME: ProducerId = ProducerId::from_bytes([7; 16]);

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let begun = resident();
    let now = time::now();
    let mut stage = Stage::new(now);
    println!("{TENANTS} tenants × 10 limits, policy read: {} MB resident", (resident() - begun) >> 20);
    stage.decide();
    for first in (0..TENANTS).step_by(BATCH) {
        let attempts: Vec<Attempt> = (first..first + BATCH).map(|tenant| attempt(tenant, now)).collect();
        stage.calls(&attempts, now);
    }
    println!("every tenant with ten leases and a call made: {} MB resident", (resident() - begun) >> 20);
    let attempts: Vec<Attempt> = (0..TENANTS).map(|tenant| attempt(tenant, now)).collect();
    let mut plain = Plain::new();
    for tenants in [TENANTS, BUSY] {
        let (mut held, mut settled, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            theirs.push(timed(tenants, || plain.calls(tenants)).1);
            let (hold, settle) = stage.calls(&attempts[..tenants], now);
            held.push(hold);
            settled.push(settle);
        }
        let [held, settled, theirs] = [held, settled, theirs].map(median);
        println!("calls of {tenants} tenants: ten plain counters held and settled: {theirs:.0} ns");
        println!(
            "calls of {tenants} tenants: ten hard limits held: {held:.0} ns; settled: {settled:.0} ns; together {:.2}×",
            (held + settled) / theirs
        );
    }
}

/// What came of so many calls, and nanoseconds of each.
#[expect(clippy::cast_precision_loss, reason = "a duration for people")]
fn timed<T>(calls: usize, work: impl FnOnce() -> T) -> (T, f64) {
    let begun = Instant::now();
    let made = work();
    (made, begun.elapsed().as_nanos() as f64 / calls as f64)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Bytes that this process has in memory.
fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("pages");
    pages * 4_096
}

/// The limits of one gateway, with what it follows.
struct Stage {
    limits: Arc<Limits>,
    obey: Obey,
}

impl Stage {
    fn new(now: Time) -> Self {
        let book = Book::layered(&[]);
        let policy = policy::Policy {
            tenants: (0..TENANTS).map(|tenant| Tenant { name: name(tenant), keys: Vec::new() }).collect(),
            metering: MeteringConfig { outage_budget: Duration::from_secs(86_400), ..MeteringConfig::default() },
            ..fixture::policy((0..TENANTS).flat_map(limits).collect(), book.hash())
        };
        let records = [policy::Record::Book(Box::new(book)), policy::Record::Policy(Box::new(policy))];
        let limits = Limits::over(ME, Arc::new(Nowhere), 1);
        let follower = Box::new(Decisions { now, tenants: 0 });
        let policies = Box::new(Policies(records.iter().map(wire::encode_policy).collect()));
        let obey = Obey::over(follower, policies, Arc::clone(&limits), Arc::new(View::default()));
        drop(records);
        let mut stage = Self { limits, obey };
        stage.turn();
        stage
    }

    fn turn(&mut self) {
        self.obey.turn(time::now(), Instant::now()).expect("a log");
    }

    /// Reads the leases of every tenant.
    fn decide(&mut self) {
        (0..TENANTS / BATCH).for_each(|_| self.turn());
    }

    /// A call of each tenant, held and then settled: nanoseconds of both.
    fn calls(&self, attempts: &[Attempt], now: Time) -> (f64, f64) {
        let bound = Bound::AtMost(fixture::at_most());
        let hold = |attempt| {
            let ask = Ask { attempt, bound: &bound, slice: None, now };
            let (tried, sent) = self.limits.try_admit(&ask, Instant::now());
            sent.expect("a journal");
            let Tried::Held(permit) = tried else { panic!("{tried:?}") };
            assert_eq!(permit.holds.len(), 10);
            permit
        };
        let (permits, held) = timed(attempts.len(), || attempts.iter().map(hold).collect::<Vec<Permit>>());
        let usage = Usage::exact(Vector { uncached_input: 80, output: 60, ..Vector::default() });
        let spent = Spent { usage: &usage, cost: Cost::of(Pico(40_000)), whole: true };
        let ((), settled) = timed(attempts.len(), || {
            for permit in permits {
                let posted = self.limits.settle(permit, &spent);
                let mut settling = self.limits.settling();
                drop(black_box(settling.counters(Lane(0), &posted)));
                settling.written();
            }
        });
        (held, settled)
    }
}

/// A lease of each limit of a tenant, as metering would have granted it.
fn leases(tenant: usize, now: Time) -> Vec<(Key, State)> {
    let (start, end) = (window(now), now.after(Duration::from_secs(86_400)));
    let mut states = vec![(Key::Lane(Lane(0)), State::Lane(fixture::heard(ME, now)))];
    for limit in limits(tenant) {
        let id = limit.id();
        let schedule = Schedule { limit: id, boundaries: vec![start, end] };
        states.push((Key::Schedule(Lane(0), id), State::Schedule(schedule)));
        let subject = subject(tenant);
        let target = Target { subject: &subject, provider: "openai", model: "gpt-4o-mini" };
        let values = limit.values_for(target).expect("a match");
        let instance = InstanceId::of(id, &values, (!limit.window.stands()).then_some(start));
        let state = Instance {
            id: instance,
            limit: id,
            values: values.into_iter().map(str::to_owned).collect(),
            amount: limit.amount,
            windows: vec![WindowState::new(start, end)],
            holders: vec![Holder { granted: limit.amount, ..Holder::new(ME) }],
            recall: 0,
        };
        states.push((Key::Instance(instance), State::Instance(Box::new(state))));
    }
    states
}

/// Ten limits of a tenant that each call of it falls under.
fn limits(tenant: usize) -> Vec<Limit> {
    use Dimension::{Key, Model, Project, Team, Tenant, User};
    let each =
        [None, None, None, Some(User), Some(User), Some(Key), Some(Model), Some(Team), Some(Project), Some(User)];
    let units = [Unit::Usd, Unit::Tokens, Unit::Requests, Unit::OutputTokens, Unit::InputTokens];
    let windows = [Window::Month, Window::Day, Window::Hour, Window::Minute];
    let limit = |(place, each): (usize, Option<Dimension>)| {
        let own = (Tenant, Match::Is(name(tenant)));
        Limit {
            name: format!("limit-{place}-of-{tenant}"),
            scope: [own].into_iter().chain(each.map(|each| (each, Match::Each))).collect(),
            unit: units[place % units.len()],
            ..fixture::limit(1 << 60, windows[place % windows.len()])
        }
    };
    each.into_iter().enumerate().map(limit).collect()
}

fn name(tenant: usize) -> String {
    format!("tenant-{tenant}")
}

fn subject(tenant: usize) -> Subject {
    let [team, project, user, key] = ["search", "bot", "alice", "ci"].map(str::to_owned);
    Subject { tenant: name(tenant), team, project, user, key, ..Subject::default() }
}

fn attempt(tenant: usize, now: Time) -> Attempt {
    Attempt { subject: Arc::new(subject(tenant)), ..fixture::attempt(CallId::from_bytes([1; 16]), now) }
}

/// One that lasts: nothing here turns it.
fn window(now: Time) -> Time {
    Time::from_micros(now.as_micros() - 3_600_000_000)
}

/// What anybody would write who counts by ten names under one lock, and knows no lease, no window and no log.
struct Plain {
    names: Vec<[String; 10]>,
    counters: Mutex<HashMap<String, (i64, i64)>>,
}

impl Plain {
    fn new() -> Self {
        let names: Vec<[String; 10]> =
            (0..TENANTS).map(|tenant| std::array::from_fn(|place| format!("limit-{place}-of-{tenant}"))).collect();
        let counters = names.iter().flatten().map(|name| (name.clone(), (0, 1 << 60))).collect();
        Self { names, counters: Mutex::new(counters) }
    }

    fn calls(&mut self, tenants: usize) {
        for names in &self.names[..tenants] {
            let mut counters = self.counters.lock().expect("the counters");
            let fits = names.iter().all(|name| counters.get(name).is_some_and(|(used, amount)| used + 200 <= *amount));
            for name in names.iter().filter(|_| fits) {
                counters.entry(name.clone()).or_default().0 += 200;
            }
            drop(counters);
            let mut counters = self.counters.lock().expect("the counters");
            for name in names {
                counters.entry(name.clone()).or_default().0 -= 60;
            }
        }
    }
}

/// A journal that keeps nothing.
struct Nowhere;

impl Outlet for Nowhere {
    fn append(&self, drafts: &[Draft<'_>]) -> Result<(), journal::Error> {
        black_box(drafts);
        Ok(())
    }

    fn confirm(&self, _: ProducerId, _: Lane, _: Seq) {}
}

/// The decisions, by tenant: as in a log, no more of them is in memory than is read at a time.
struct Decisions {
    now: Time,
    tenants: usize,
}

impl Follower for Decisions {
    fn poll(&mut self, _: Duration) -> Result<Vec<Change>, journal::Error> {
        let change = |(key, state): (Key, State)| Change {
            lane: Lane(0),
            key: wire::encode_key(&key).into(),
            state: Some(wire::encode_state(&state).into()),
        };
        let first = self.tenants;
        self.tenants = TENANTS.min(first + BATCH);
        Ok((first..self.tenants).flat_map(|tenant| leases(tenant, self.now)).map(change).collect())
    }

    fn caught_up(&self) -> bool {
        true
    }
}

struct Policies(Vec<Vec<u8>>);

impl Reader for Policies {
    fn poll(&mut self, _: Duration) -> Result<Vec<Record>, journal::Error> {
        let header = Header { producer: ProducerId::NONE, seq: Seq(0), hash: 0 };
        let record = |(offset, body): (u64, Vec<u8>)| Record {
            lane: Lane(0),
            offset: Offset(offset),
            header,
            body: Bytes::from(body),
        };
        Ok((0..).zip(std::mem::take(&mut self.0)).map(record).collect())
    }

    fn ends(&mut self) -> Result<Vec<Offset>, journal::Error> {
        Ok(vec![Offset(2)])
    }
}
