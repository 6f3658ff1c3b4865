//! What admission and settlement ask of the allocator: with warm leases the same number of pieces, however many limits a call is under.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says where")]

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use allocation_counter::measure;
use bytes::Bytes;
use gateway::{
    limits::{Ask, Limits, Outlet, Spent, Tried},
    obey::{Obey, View},
};
use journal::{Change, Draft, Error, Follower, Header, Reader, Record};
use schemas::{
    bound::{AtMost, Bound, OutputCap},
    decision::{Holder, Instance, Key, State, WindowState},
    event::Attempt,
    fixture,
    id::{CallId, InstanceId, Lane, Offset, ProducerId, Seq},
    limit::{Dimension, Limit, Match, Schedule, Unit, Window},
    money::Pico,
    policy,
    price::{Book, Cost},
    time::{self, Time},
    tokens::{Usage, Vector},
    wire,
};

const ME: ProducerId = ProducerId::from_bytes([7; 16]);

/// Calls that are made before any is measured: what is met for the first time is remembered.
const WARM: usize = 20;

/// Nothing is written.
struct Nowhere;

impl Outlet for Nowhere {
    fn append(&self, _: &[Draft<'_>]) -> Result<(), Error> {
        Ok(())
    }

    fn confirm(&self, _: ProducerId, _: Lane, _: Seq) {}
}

struct Decisions(Vec<Change>);

impl Follower for Decisions {
    fn poll(&mut self, _: Duration) -> Result<Vec<Change>, Error> {
        Ok(std::mem::take(&mut self.0))
    }

    fn caught_up(&self) -> bool {
        true
    }
}

struct Policies(Mutex<Vec<Vec<u8>>>);

impl Reader for Policies {
    fn poll(&mut self, _: Duration) -> Result<Vec<Record>, Error> {
        let header = Header { producer: ProducerId::NONE, seq: Seq(0), hash: 0 };
        let record = |(offset, body)| Record { lane: Lane(0), offset: Offset(offset), header, body: Bytes::from(body) };
        Ok((0..).zip(std::mem::take(&mut *self.0.lock().unwrap())).map(record).collect())
    }

    fn ends(&mut self) -> Result<Vec<Offset>, Error> {
        Ok(vec![Offset(2)])
    }
}

/// So many limits that every call is under, of every unit and of windows that stand and that do not.
fn limits(count: usize) -> Vec<Limit> {
    let units = [Unit::Usd, Unit::Tokens, Unit::Requests, Unit::OutputTokens, Unit::InputTokens];
    let windows = [Window::Month, Window::Hour, Window::Day];
    let limit = |place: usize| Limit {
        name: format!("limit-{place}"),
        scope: if place.is_multiple_of(2) { fixture::of_acme() } else { vec![(Dimension::Tenant, Match::Each)] },
        unit: units[place % units.len()],
        ..fixture::limit(1 << 60, windows[place % windows.len()])
    };
    (0..count).map(limit).collect()
}

/// A gateway's limits with leases that last for ever.
fn warm(limits: &[Limit], now: Time) -> Arc<Limits> {
    let book = Book::layered(&[]);
    let in_force = fixture::policy(limits.to_vec(), book.hash());
    let records = [policy::Record::Book(Box::new(book)), policy::Record::Policy(Box::new(in_force))];
    let (start, end) = (Time::from_micros(now.as_micros() - 3_600_000_000), now.after(Duration::from_secs(86_400)));
    let states = limits.iter().flat_map(|limit| {
        let id = limit.id();
        let each = limit.scope.iter().any(|(_, matcher)| *matcher == Match::Each);
        let values = if each { vec!["acme".to_owned()] } else { Vec::new() };
        let instance = Instance {
            id: InstanceId::of(id, &values, (!limit.window.stands()).then_some(start)),
            limit: id,
            values,
            amount: limit.amount,
            windows: vec![WindowState::new(start, end)],
            holders: vec![Holder { granted: limit.amount, ..Holder::new(ME) }],
            recall: 0,
        };
        let schedule = State::Schedule(Schedule { limit: id, boundaries: vec![start, end] });
        [(Key::Schedule(Lane(0), id), schedule), (Key::Instance(instance.id), State::Instance(Box::new(instance)))]
    });
    let changes = states.map(|(key, state)| Change {
        lane: Lane(0),
        key: wire::encode_key(&key).into(),
        state: Some(wire::encode_state(&state).into()),
    });
    let known = Limits::over(ME, Arc::new(Nowhere), 1);
    let follower = Box::new(Decisions(changes.collect()));
    let policies = Box::new(Policies(Mutex::new(records.iter().map(wire::encode_policy).collect())));
    let mut obey = Obey::over(follower, policies, Arc::clone(&known), Arc::new(View::default()));
    obey.turn(now, Instant::now()).unwrap();
    known
}

/// How many pieces of memory a call asks for under so many limits: to be admitted, and to be settled.
fn pieces(count: usize) -> (u64, u64) {
    let (now, at) = (time::now(), Instant::now());
    let limits = warm(&limits(count), now);
    let attempt = Attempt { ..fixture::attempt(CallId::from_bytes([1; 16]), now) };
    let (output_cap, cost) = (OutputCap::Stated(100), Ok(Pico(50_000)));
    let bound = Bound::AtMost(AtMost { input: 100, output: 100, requests: 1, cost, output_price: Pico(0), output_cap });
    let usage = Usage::exact(Vector { uncached_input: 80, output: 60, ..Vector::default() });
    let spent = Spent { usage: &usage, cost: Cost::of(Pico(40_000)), whole: true };
    let mut found = (0, 0);
    for _ in 0..WARM {
        let mut permit = None;
        let admitted = measure(|| {
            let ask = Ask { attempt: &attempt, bound: &bound, slice: None, now };
            let (tried, sent) = limits.try_admit(&ask, at);
            sent.unwrap();
            let Tried::Held(held) = tried else { panic!("{tried:?}") };
            permit = Some(held);
        });
        let permit = permit.unwrap();
        assert_eq!(permit.holds.len(), count);
        let settled = measure(|| drop(limits.settle(Lane(0), permit, &spent)));
        found = (admitted.count_total, settled.count_total);
    }
    found
}

#[test]
fn admission_with_warm_leases_allocates_the_same_however_many_limits_there_are() {
    let found = [1, 4, 16, 64].map(pieces);
    assert!(found[0].0 > 0, "what is held is kept somewhere, so nothing was counted: {found:?}");
    assert!(
        found.iter().all(|pieces| *pieces == found[0]),
        "admitted and settled under 1, 4, 16 and 64 limits: {found:?}"
    );
}
