//! Limits against the real books: a gateway's limits, the embedded log and metering, without the HTTP around them.
//!
//! Each test runs calls against a policy and adds up afterwards: what was admitted, what metering settled, and what a hard limit
//! allowed must agree to the unit.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use bytes::Bytes;
use gateway::{
    limits::{Ask, Limits, OutputHeld, Permit, Refusal, SLICE, Spent},
    obey::{Obey, View},
};
use journal::{Disk, Road};
use metering::Metering;
use schemas::{
    bound::{AtMost, Bound, OutputCap},
    decision::{Instance, Key, State},
    error_code::ErrorCode,
    event::{Attempt, Event, Opened, Outcome, Settled},
    fixture::{self, of_acme},
    id::{CallId, Lane},
    limit::{Dimension, Limit, Match, Mode, Scope, Unit, Window},
    money::Pico,
    policy::Record,
    price::{Book, Cost},
    subject::Subject,
    time,
    tokens::{Completeness, Doubt, Usage, Vector},
    wire,
};

/// A gateway's limits and the metering behind them, in one directory.
struct House {
    limits: Arc<Limits>,
    journal: Arc<journal::Journal>,
    road: Arc<Disk>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl House {
    fn open(dir: &Path, limits: Vec<Limit>) -> Self {
        let road = Disk::open(dir, &journal::Options::default()).unwrap();
        let book = Book::builtin();
        let policy = fixture::policy(limits, book.hash());
        let records = [Record::Book(Box::new(book)), Record::Policy(Box::new(policy))];
        let bodies: Vec<Bytes> = records.iter().map(|record| wire::encode_policy(record).into()).collect();
        road.publish(&bodies).unwrap();
        let journal = road.journal().unwrap();
        let predecessor = journal.predecessor().map(|before| {
            fixture::predecessor(before.producer, before.last.get(&Lane(0)).copied().unwrap_or_default())
        });
        let opened = Event::Opened(Opened { gateway: "g".into(), at: time::now(), predecessor });
        append(&journal, &opened);
        let limits = Limits::new(Arc::clone(&journal), 1);
        let obey = Obey::new(&*road, Arc::clone(&limits), Arc::new(View::default())).unwrap();
        let metering = Metering::new(Arc::clone(&road) as Arc<dyn Road>);
        let (stop, ready) = (Arc::new(AtomicBool::new(false)), obey.ready());
        let (first, second) = (Arc::clone(&stop), Arc::clone(&stop));
        let threads = vec![
            std::thread::spawn(move || metering.run(&first).unwrap()),
            std::thread::spawn(move || obey.run(&second).unwrap()),
        ];
        wait_for("the policy", || ready.load(Ordering::Relaxed));
        Self { limits, journal, road, stop, threads }
    }

    async fn admit(&self, user: &str, bound: u64) -> Result<Call, Box<Refusal>> {
        self.admit_of(user, bound, 0).await
    }

    async fn admit_of(&self, user: &str, bound: u64, output: u64) -> Result<Call, Box<Refusal>> {
        self.admit_as(attempt(user), at_most(bound, output)).await
    }

    async fn admit_as(&self, attempt: Attempt, at_most: AtMost) -> Result<Call, Box<Refusal>> {
        let ask =
            Ask { attempt: &attempt, bound: &Bound::AtMost(at_most), slice: Some(SLICE), now: attempt.admitted_at };
        let permit = self.limits.admit(ask).await?;
        let attempt = Attempt { admitted_at: permit.admitted_at, ..attempt };
        Ok(Call { attempt, permit })
    }

    /// Holds for so much output of a call that is under way.
    async fn extend(&self, call: &mut Call, room: u64) -> Result<(), Box<Refusal>> {
        let now = time::now();
        let extension = self.limits.extension(&call.permit, &call.attempt.subject, room, now).unwrap();
        let more = self.limits.extend(&extension).await?;
        call.permit.grow(more, room);
        Ok(())
    }

    fn settle(&self, call: Call, usage: Usage, whole: bool) {
        let cost = Cost::of(Pico(usage.total().map_or(0, |total| i128::from(total.total()))));
        let posted = self.limits.settle(call.permit, &Spent { usage: &usage, cost, whole });
        let mut settling = self.limits.settling();
        let counters = settling.counters(Lane(0), &posted);
        let bare = Settled::bare(call.attempt, time::now(), Outcome::Complete, usage);
        append(&self.journal, &Event::Settled(Box::new(Settled { status: 200, posted, counters, ..bare })));
        settling.written();
    }

    /// Every instance, once metering has accepted all that was written.
    fn books(&self) -> Vec<Instance> {
        self.journal.sync().unwrap();
        let mut follower = self.road.follower().unwrap();
        let mut instances = std::collections::HashMap::new();
        wait_for("metering to be done", || {
            for change in follower.poll(Duration::from_millis(10)).unwrap() {
                let key = wire::decode_key(&change.key).unwrap();
                if let Some(Ok(State::Instance(instance))) = change.state.map(|state| wire::decode_state(&key, &state))
                {
                    instances.insert(key, *instance);
                }
            }
            self.journal.unconfirmed() == 0
        });
        assert!(instances.keys().all(|key| matches!(key, Key::Instance(_))));
        instances.into_values().collect()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

struct Call {
    attempt: Attempt,
    permit: Permit,
}

fn append(journal: &journal::Journal, event: &Event) {
    journal.append(&[journal::Draft { lane: Lane(0), body: &wire::encode_event(event) }]).unwrap();
}

fn attempt(user: &str) -> Attempt {
    Attempt {
        subject: Arc::new(Subject { tenant: "acme".into(), user: user.into(), ..Subject::default() }),
        book: Book::builtin().hash(),
        ..fixture::attempt(CallId::fresh(), time::now())
    }
}

fn at_most(input: u64, output: u64) -> AtMost {
    let cost = Ok(Pico(i128::from(input)));
    AtMost { input, output, requests: 1, tool_calls: 0, cost, output_price: Pico(0), output_cap: OutputCap::NoOutput }
}

fn limit(name: &str, scope: Scope, unit: Unit, amount: i128, window: Window, mode: Mode) -> Limit {
    Limit { name: name.into(), scope, unit, mode, ..fixture::limit(amount, window) }
}

fn wait_for(what: &str, mut until: impl FnMut() -> bool) {
    let since = Instant::now();
    while !until() {
        assert!(since.elapsed() < Duration::from_secs(20), "waited too long for {what}");
        std::thread::yield_now();
    }
}

fn used(tokens: u64) -> Usage {
    Usage::exact(Vector { uncached_input: tokens, ..Vector::default() })
}

/// What is settled, held and leased of the only instance of a limit.
fn settled(books: &[Instance], limit: &Limit) -> (i128, i128, i128) {
    let instance = books.iter().find(|instance| instance.limit == limit.id()).unwrap();
    let window = instance.current().unwrap();
    (instance.settled(window), instance.held(window), instance.leased())
}

#[tokio::test]
async fn a_hard_limit_under_200_concurrent_calls_is_used_up_and_never_passed() {
    let dir = tempfile::tempdir().unwrap();
    let month = limit("m", of_acme(), Unit::Tokens, 10_000, Window::Month, Mode::Hard);
    let house = House::open(dir.path(), vec![month.clone()]);
    let worker = async |number: u64| {
        let mut spent = 0;
        // Every call is bounded by 10 tokens and uses between 1 and 10.
        loop {
            let call = match house.admit("u", 10).await {
                Ok(call) => call,
                // Metering is slow on a busy machine; the limit is not reached yet.
                Err(refusal) if refusal.code == ErrorCode::LeaseNotObtained => continue,
                Err(_) => break,
            };
            tokio::task::yield_now().await;
            let tokens = 1 + (number + spent) % 10;
            house.settle(call, used(tokens), true);
            spent += tokens;
        }
        spent
    };
    let spent: u64 = futures::future::join_all((0..200).map(worker)).await.into_iter().sum();
    let (settled, held, _) = settled(&house.books(), &month);
    assert_eq!(settled, i128::from(spent));
    assert_eq!(held, 0);
    assert!(settled <= month.amount, "{settled} is more than the limit");
    assert!(month.amount - settled < 10, "{settled}: a call of 10 would still have fitted");
}

#[tokio::test]
async fn a_vector_of_limits_is_held_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = limit("t", of_acme(), Unit::Tokens, 100_000, Window::Month, Mode::Hard);
    let dollars = limit("d", of_acme(), Unit::Usd, 55, Window::Total, Mode::Hard);
    let requests = limit("r", of_acme(), Unit::Requests, 1_000, Window::Day, Mode::Hard);
    let house = House::open(dir.path(), vec![tokens.clone(), dollars.clone(), requests.clone()]);
    let mut calls = Vec::new();
    let refusal = loop {
        match house.admit("u", 10).await {
            Ok(call) => calls.push(call),
            Err(refusal) => break refusal,
        }
    };
    assert_eq!((calls.len(), refusal.limit.as_str(), refusal.code), (5, "d", ErrorCode::HardLimitReached));
    assert_eq!(refusal.held, 50);
    for call in calls {
        house.settle(call, used(10), true);
    }
    let books = house.books();
    assert_eq!(settled(&books, &tokens).0, 50);
    assert_eq!(settled(&books, &requests).0, 5);
    assert_eq!((settled(&books, &tokens).1, settled(&books, &dollars).1, settled(&books, &requests).1), (0, 0, 0));
}

#[tokio::test]
async fn a_hierarchy_is_held_whole_and_leaks_nothing_however_its_calls_end() {
    use Dimension::{Key, Model, Project, Tag, Team, Tenant, User};
    let dir = tempfile::tempdir().unwrap();
    let level = |(dimension, unit, amount): (Dimension, Unit, i128)| {
        let scope = vec![(dimension.clone(), Match::Each)];
        Limit {
            max_instances: matches!(dimension, Tag(_)).then_some(2),
            ..limit(&dimension.name(), scope, unit, amount, Window::Month, Mode::Hard)
        }
    };
    let levels = [
        (Tenant, Unit::Tokens, 9_000),
        (Team, Unit::Usd, 4_000),
        (Project, Unit::Requests, 260),
        (User, Unit::InputTokens, 2_500),
        (Key, Unit::Tokens, 7_000),
        (Model, Unit::Concurrent, 40),
        (Tag("feature".into()), Unit::Tokens, 3_500),
    ];
    let limits: Vec<Limit> = levels.into_iter().map(level).collect();
    let house = House::open(dir.path(), limits.clone());
    let who = |number: usize| {
        let of = |name: &str, count: usize| format!("{name}-{}", number % count);
        let tags = vec![("feature".to_owned(), of("f", 5))];
        let (team, project, user) = (of("t", 2), of("p", 3), of("u", 4));
        Subject { tenant: "acme".into(), team, project, user, key: of("k", 2), tags }
    };
    // A third of the calls ends well, a third without anybody knowing, and of the rest the client leaves while it waits or before
    // anything is sent.
    let caller = async |number: usize| {
        let (mut used_up, mut unknown, mut last) = (0, 0, None);
        for turn in number..number + 12 {
            let patience = Duration::from_millis(if turn % 3 == 2 { 1 } else { 10_000 });
            let admitted = loop {
                let attempt = Attempt { subject: Arc::new(who(turn)), ..attempt("") };
                match tokio::time::timeout(patience, house.admit_as(attempt, at_most(10, 0))).await {
                    // Metering is slow on a busy machine; no limit is reached yet.
                    Ok(Err(refusal)) if refusal.code == ErrorCode::LeaseNotObtained => {}
                    ended => break ended,
                }
            };
            let call = match admitted {
                Ok(Ok(call)) => call,
                Ok(Err(refusal)) => {
                    last = Some(refusal.code);
                    continue;
                }
                Err(_) => continue,
            };
            assert_eq!(call.permit.holds.len(), 7, "all or nothing");
            tokio::task::yield_now().await;
            match turn % 3 {
                0 => {
                    house.settle(call, used(7), true);
                    used_up += 7;
                }
                1 => {
                    house.settle(call, Usage::missing(Doubt::NoAnswer), false);
                    unknown += 10;
                }
                _ => house.limits.give_back(call.permit),
            }
        }
        (used_up, unknown, last)
    };
    let ends = futures::future::join_all((0..200).map(caller)).await;
    let (used_up, unknown): (i128, i128) = ends.iter().fold((0, 0), |sum, end| (sum.0 + end.0, sum.1 + end.1));
    assert!(ends.iter().any(|end| end.2 == Some(ErrorCode::HardLimitReached)), "nothing was ever refused");
    house.limits.reports(time::now(), &[time::now()]).into_iter().for_each(|(_, event)| append(&house.journal, &event));
    let books = house.books();
    for limit in &limits {
        let (mut settled, mut held) = (0, 0);
        for instance in books.iter().filter(|instance| instance.limit == limit.id()) {
            let window = instance.current().unwrap();
            let (used, open) = (instance.settled(window), instance.held(window));
            assert!(used + open <= limit.amount, "{}: {used} + {open}", limit.name);
            settled += used;
            held += open;
        }
        let wanted = match limit.unit {
            Unit::Requests => (used_up / 7 + unknown / 10, 0),
            Unit::Concurrent => (0, 0),
            _ => (used_up, unknown),
        };
        assert_eq!((settled, held), wanted, "{}", limit.name);
    }
}

#[tokio::test]
async fn each_value_of_a_star_has_a_counter_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let scope = vec![(Dimension::Tenant, Match::Is("acme".into())), (Dimension::User, Match::Each)];
    let house = House::open(dir.path(), vec![limit("u", scope, Unit::Requests, 2, Window::Month, Mode::Hard)]);
    for user in ["a", "b"] {
        for _ in 0..2 {
            house.settle(house.admit(user, 1).await.unwrap(), used(1), true);
        }
        assert!(house.admit(user, 1).await.is_err());
    }
    assert!(house.admit("", 1).await.is_ok(), "a call without a user is not under a limit of users");
}

#[tokio::test]
async fn what_is_not_known_stays_held() {
    let dir = tempfile::tempdir().unwrap();
    let total = limit("t", of_acme(), Unit::Tokens, 100, Window::Total, Mode::Hard);
    let house = House::open(dir.path(), vec![total.clone()]);
    house.settle(house.admit("u", 40).await.unwrap(), Usage::missing(Doubt::NoAnswer), false);
    let some = Usage { completeness: Completeness::LowerBound(Doubt::ClientLeft), ..used(15) };
    house.settle(house.admit("u", 40).await.unwrap(), some, false);
    let refusal = house.admit("u", 21).await.err().unwrap();
    assert_eq!((refusal.settled, refusal.held), (15, 65));
    assert_eq!(settled(&house.books(), &total), (15, 65, 80));
    assert!(house.admit("u", 20).await.is_ok());
}

#[tokio::test]
async fn a_bill_beyond_its_bound_is_settled_in_full_and_then_nothing_passes() {
    let dir = tempfile::tempdir().unwrap();
    let total = limit("t", of_acme(), Unit::Tokens, 100, Window::Total, Mode::Hard);
    let house = House::open(dir.path(), vec![total.clone()]);
    house.settle(house.admit("u", 10).await.unwrap(), used(1_000), true);
    assert_eq!(house.admit("u", 1).await.err().unwrap().code, ErrorCode::HardLimitReached);
    assert_eq!(settled(&house.books(), &total).0, 1_000);
}

#[tokio::test]
async fn a_soft_limit_refuses_once_it_is_reached_and_an_observed_one_only_tells() {
    let dir = tempfile::tempdir().unwrap();
    let soft = limit("s", of_acme(), Unit::Tokens, 100, Window::Month, Mode::Soft);
    let observed = limit("o", of_acme(), Unit::Tokens, 50, Window::Month, Mode::Observe);
    let house = House::open(dir.path(), vec![soft.clone(), observed.clone()]);
    let open = house.admit("u", 500).await.unwrap();
    house.settle(house.admit("u", 60).await.unwrap(), used(60), true);
    house.settle(open, used(0), true);
    let call = house.admit("u", 60).await.unwrap();
    assert_eq!(call.permit.observed.len(), 1);
    house.settle(call, used(60), true);
    assert_eq!(house.admit("u", 1).await.err().unwrap().code, ErrorCode::SoftLimitReached);
    let books = house.books();
    assert_eq!((settled(&books, &soft).0, settled(&books, &observed).0), (120, 120));
}

#[tokio::test]
async fn a_restart_frees_what_was_leased_and_not_used() {
    let dir = tempfile::tempdir().unwrap();
    let total = limit("t", of_acme(), Unit::Tokens, 100, Window::Total, Mode::Hard);
    {
        let house = House::open(dir.path(), vec![total.clone()]);
        house.settle(house.admit("u", 30).await.unwrap(), used(30), true);
        house.books();
    }
    let house = House::open(dir.path(), vec![total.clone()]);
    house.settle(house.admit("u", 70).await.unwrap(), used(70), true);
    assert!(house.admit("u", 1).await.is_err());
    assert_eq!(settled(&house.books(), &total).0, 100);
}

#[tokio::test]
async fn a_standing_lease_serves_every_window() {
    let dir = tempfile::tempdir().unwrap();
    let second = limit("s", of_acme(), Unit::Requests, 5, Window::Second, Mode::Hard);
    let house = House::open(dir.path(), vec![second]);
    let (since, mut passed) = (Instant::now(), 0);
    while since.elapsed() < Duration::from_millis(2_500) {
        match house.admit("u", 1).await {
            Ok(call) => {
                house.settle(call, used(1), true);
                passed += 1;
            }
            Err(refusal) => assert_eq!(refusal.code, ErrorCode::HardLimitReached),
        }
        tokio::task::yield_now().await;
    }
    // Two and a half seconds touch three or four windows of five requests.
    assert!((10..=20).contains(&passed), "{passed} requests passed");
}

#[tokio::test]
async fn so_many_calls_are_open_at_a_time_and_no_more_however_they_end() {
    let dir = tempfile::tempdir().unwrap();
    let hard = limit("h", of_acme(), Unit::Concurrent, 2, Window::Total, Mode::Hard);
    let soft = limit("s", of_acme(), Unit::Concurrent, 3, Window::Total, Mode::Soft);
    let house = House::open(dir.path(), vec![hard.clone(), soft.clone()]);
    let (first, second) = (house.admit("u", 1).await.unwrap(), house.admit("u", 1).await.unwrap());
    let refusal = house.admit("u", 1).await.err().unwrap();
    assert_eq!((refusal.code, refusal.held, refusal.settled), (ErrorCode::HardLimitReached, 2, 0));
    assert!(refusal.retry_after.is_some_and(|wait| wait <= Duration::from_secs(1)), "{refusal:?}");
    house.settle(first, Usage::missing(Doubt::ClientLeft), false);
    let third = house.admit("u", 1).await.unwrap();
    house.settle(second, used(5), true);
    house.settle(third, Usage::missing(Doubt::NoAnswer), false);
    let books = house.books();
    assert_eq!((settled(&books, &hard).0, settled(&books, &hard).1, settled(&books, &soft).1), (0, 0, 0));
}

#[tokio::test]
async fn a_stream_that_is_held_by_the_slice_takes_more_as_long_as_there_is_some() {
    let dir = tempfile::tempdir().unwrap();
    let sliced = Limit { slices: true, ..limit("s", of_acme(), Unit::Tokens, 2_000, Window::Month, Mode::Hard) };
    let house = House::open(dir.path(), vec![sliced.clone()]);
    // All that it can be would never fit.
    let mut call = house.admit_of("u", 100, 50_000).await.unwrap();
    assert_eq!((call.permit.output, call.permit.holds[0].amount), (OutputHeld::BySlices, 100 + i128::from(SLICE)));
    let mut room = SLICE;
    let refusal = loop {
        match house.extend(&mut call, room + SLICE).await {
            Ok(()) => room += SLICE,
            Err(refusal) => break refusal,
        }
    };
    assert_eq!((room, refusal.code), (3 * SLICE, ErrorCode::HardLimitReached));
    assert_eq!(call.permit.holds[0].amount, 100 + i128::from(room));
    assert!(house.admit("u", 400).await.is_err(), "what it holds is not free");
    let some = Usage { completeness: Completeness::LowerBound(Doubt::Truncated), ..used(101) };
    house.settle(call, some, false);
    let (settled, held, _) = settled(&house.books(), &sliced);
    assert_eq!((settled, held), (101, i128::from(room) - 1));
}
