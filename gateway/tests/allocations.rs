//! What admission and settlement ask of the allocator: with warm leases the same number of pieces, however many limits a call is under.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says where")]

#[path = "calls/leased.rs"]
mod leased;

use std::{sync::Arc, time::Instant};

use allocation_counter::measure;
use gateway::limits::{Ask, Limits, Outlet, Spent, Tried};
use journal::{Draft, Error};
use schemas::{
    bound::Bound,
    event::Attempt,
    fixture,
    id::{CallId, Lane, ProducerId, Seq},
    limit::{Dimension, Limit, Match, Unit, Window},
    money::Pico,
    price::Cost,
    time::{self, Time},
    tokens::{Usage, Vector},
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
    let known = Limits::over(ME, Arc::new(Nowhere), 1);
    leased::all(limits, &known, (ME, 1), now);
    known
}

/// How many pieces of memory a call asks for under so many limits: to be admitted, and to be settled.
fn pieces(count: usize) -> (u64, u64) {
    let (now, at) = (time::now(), Instant::now());
    let limits = warm(&limits(count), now);
    let attempt = Attempt { ..fixture::attempt(CallId::from_bytes([1; 16]), now) };
    let bound = Bound::AtMost(fixture::at_most());
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
        let settled = measure(|| {
            let posted = limits.settle(permit, &spent);
            let mut settling = limits.settling();
            drop(settling.counters(Lane(0), &posted));
            settling.written();
        });
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
