//! What admission costs: processor time to hold a call on ten hard limits under warm leases and to settle it, among 10,000 tenants
//! of ten limits each, beside ten plain counters behind one lock; and what the limits take in memory.
//!
//! Run with `cargo bench -p gateway --bench admit`. One thread, timed by its processor time; each call is of the next tenant, so that
//! nothing is in the cache but by chance. The policy and the decisions come in as they do from the log, by way of `Obey`.

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
    limits::{Ask, Limits, Outlet, Spent, Tried},
    obey::{Obey, View},
};
use journal::{Change, Draft, Follower, Header, Reader, Record};
use schemas::{
    bound::{AtMost, Bound, OutputCap},
    decision::{Holder, Instance, Key, LaneState, State, WindowState},
    event::Attempt,
    fixture,
    id::{CallId, InstanceId, Lane, Offset, ProducerId, Seq},
    limit::{Dimension, Limit, Match, Schedule, Target, Unit, Window},
    money::Pico,
    policy::{self, Tenant},
    price::Book,
    subject::Subject,
    time::{self, Time},
    tokens::{Usage, Vector},
    wire,
};

const TENANTS: usize = 10_000;
const CALLS: usize = 400_000;
const ROUNDS: usize = 5;
const ME: ProducerId = ProducerId::from_bytes([7; 16]);

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let begun = resident();
    let now = time::now();
    let mut stage = Stage::new(now);
    println!("{TENANTS} tenants × 10 limits, policy read: {} MB resident", (resident() - begun) >> 20);
    stage.decide(now);
    let attempts: Vec<Attempt> = (0..TENANTS).map(|tenant| attempt(tenant, now)).collect();
    stage.calls(&attempts, now, TENANTS);
    println!("every tenant with ten leases and a call made: {} MB resident", (resident() - begun) >> 20);
    let mut plain = Plain::new();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        theirs.push(timed(|| plain.calls()));
        ours.push(timed(|| stage.calls(&attempts, now, CALLS)));
    }
    let (ours, theirs) = (median(ours), median(theirs));
    println!("ten plain counters held and settled: {theirs:.0} ns");
    println!("ten hard limits held and settled: {ours:.0} ns, {:.2}×", ours / theirs);
}

/// Nanoseconds of a call.
#[expect(clippy::cast_precision_loss, reason = "a duration for people")]
fn timed(work: impl FnOnce()) -> f64 {
    let begun = on_cpu();
    work();
    (on_cpu() - begun) as f64 / CALLS as f64
}

/// Nanoseconds that this thread has been on a processor.
fn on_cpu() -> u64 {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    stat.split(' ').next().and_then(|nanos| nanos.parse().ok()).expect("nanoseconds")
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
    decisions: Arc<Mutex<Vec<Change>>>,
    all: Vec<Limit>,
}

impl Stage {
    fn new(now: Time) -> Self {
        let all: Vec<Limit> = (0..TENANTS).flat_map(limits).collect();
        let book = Book::layered(&[]);
        let policy = policy::Policy {
            tenants: (0..TENANTS).map(|tenant| Tenant { name: name(tenant), keys: Vec::new() }).collect(),
            ..fixture::policy(all.clone(), book.hash())
        };
        let records = [policy::Record::Book(Box::new(book)), policy::Record::Policy(Box::new(policy))];
        let limits = Limits::over(ME, Arc::new(Nowhere), 1);
        let decisions: Arc<Mutex<Vec<Change>>> = Arc::default();
        let follower = Box::new(Decisions(Arc::clone(&decisions)));
        let policies = Box::new(Policies(records.iter().map(wire::encode_policy).collect()));
        let mut obey = Obey::over(follower, policies, Arc::clone(&limits), Arc::new(View::default()));
        obey.turn(now, Instant::now()).expect("the policy");
        Self { limits, obey, decisions, all }
    }

    /// Leases of every limit, as metering would have granted them.
    fn decide(&mut self, now: Time) {
        let (start, end) = (window(now), now.after(Duration::from_secs(86_400)));
        let mut states = vec![(Key::Lane(Lane(0)), State::Lane(LaneState::default()))];
        for (number, limit) in self.all.iter().enumerate() {
            let id = limit.id();
            states.push((
                Key::Schedule(Lane(0), id),
                State::Schedule(Schedule { limit: id, boundaries: vec![start, end] }),
            ));
            let subject = subject(number / 10);
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
        let change = |(key, state): &(Key, State)| Change {
            lane: Lane(0),
            key: wire::encode_key(key).into(),
            state: Some(wire::encode_state(state).into()),
        };
        *self.decisions.lock().expect("the decisions") = states.iter().map(change).collect();
        self.obey.turn(now, Instant::now()).expect("the decisions");
    }

    fn calls(&self, attempts: &[Attempt], now: Time, calls: usize) {
        let (output_cap, cost) = (OutputCap::Stated(100), Ok(Pico(50_000)));
        let bound =
            Bound::AtMost(AtMost { input: 100, output: 100, requests: 1, cost, output_price: Pico(0), output_cap });
        let usage = Usage::exact(Vector { uncached_input: 80, output: 60, ..Vector::default() });
        for attempt in attempts.iter().cycle().take(calls) {
            let ask = Ask { attempt, bound: &bound, slice: None, now };
            let (tried, sent) = self.limits.try_admit(&ask, Instant::now());
            sent.expect("a journal");
            let Tried::Held(permit) = tried else { panic!("{tried:?}") };
            assert_eq!(permit.holds.len(), 10);
            black_box(self.limits.settle(
                Lane(0),
                permit,
                &Spent { usage: &usage, cost: Ok(Pico(40_000)), whole: true },
            ));
        }
    }
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

    fn calls(&mut self) {
        for names in self.names.iter().cycle().take(CALLS) {
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

struct Decisions(Arc<Mutex<Vec<Change>>>);

impl Follower for Decisions {
    fn poll(&mut self, _: Duration) -> Result<Vec<Change>, journal::Error> {
        Ok(std::mem::take(&mut self.0.lock().expect("the decisions")))
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
