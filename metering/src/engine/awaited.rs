//! What is told by the id of a response: whoever reads it tells of it, and it is charged once, to the attempt that had it made.
//!
//! Any tenant of a provider's account may read a response, so the lane of its id decides, and the claim has no tenant. What the response used
//! is then learned in the lane of whoever had it made, by that attempt's book, in the counters that it fell under; and what was held for it
//! is released there, as an operator would release it. The attempt says that it awaits this in its own lane, behind its end, which passes
//! it on: so nothing is released before its end stands. Of a response that nobody here had made, or whose making was not heard of
//! yet, who tells it first is charged. Of several attempts that were answered with one response the first is charged, and all let go.
//!
//! What is awaited is as old as the attempt that awaits it, by the gateway that asked, and not as the provider says. It is charged once all
//! the same: it cannot have been told before it was asked for, so as long as the attempt is young enough, a claim of it would still be
//! known; and what is told is awaited no more, so that from then on the claim alone decides, and when that is forgotten what is stated.

use std::sync::Arc;

use schemas::{
    decision::{Awaited, Claim},
    event::{Attempt, Learned, Move, Posting, RELEASE, Settled, Was, Why},
    id::ClaimId,
    ledger::AlarmKind,
    limit::Unit,
    money::Pico,
    price::{self, Cost},
    time::Time,
    tokens::{Completeness, Usage},
    wire,
};

use super::{Engine, learned::said};
use crate::dedup::Origin;

/// The most attempts that await something in a lane at a time: some 1 KB each, 50 MB. What more of them hold stays held, and they are
/// counted.
const MOST_IN_ALL: usize = 50_000;
/// The most attempts that are remembered to await one response: what more of them hold stays held.
const MOST: usize = 16;

impl Engine {
    /// An attempt of this lane awaits something, or something is told in the lane of its id.
    pub(super) fn told_by_id(&mut self, origin: Origin, mut learned: Learned) {
        let claim = learned.claim_of_id();
        if learned.awaits {
            let decides = learned.lane_of_id(self.lanes);
            if decides == self.lane {
                self.await_it(origin, learned);
            } else {
                self.pass(decides, said(&learned), Vec::new(), Some(Box::new(learned)));
            }
            return;
        }
        match self.claims.get(&claim) {
            Some(known) if known.content == learned.content => return self.counts.relearned += 1,
            Some(_) => {
                self.counts.conflicts += 1;
                let detail =
                    format!("{} of {} was told otherwise before; the first stands", learned.id, learned.source);
                return self.alarm(origin, AlarmKind::Conflict, detail);
            }
            None => {}
        }
        // By the first that asked: it may have been told since then.
        let asked = self.awaited.get(&claim).and_then(|awaited| awaited.attempts.iter().map(|by| by.at).min());
        learned.at = asked.unwrap_or(learned.at);
        if self.is_too_old(origin, &learned) {
            return;
        }
        let awaiting = self.no_more_awaited(&claim);
        let learned = match awaiting.first() {
            Some(first) => self.of(first, learned),
            None => learned,
        };
        let cost = self.cost(&learned.is, &learned.is.usage);
        let lacks = cost.lacks.is_some();
        self.claims.insert(claim, Claim { at: self.state.recorded_at, content: learned.content, lacks });
        self.claimed.insert(claim);
        self.state.claims = self.claims.len() as u64;
        self.hand(origin, learned);
        for attempt in awaiting {
            self.release(origin, attempt, lacks.then_some(cost.known));
        }
    }

    /// What another lane has handed over: an attempt awaits what is told here, or something is of a tenant of this lane.
    pub(super) fn handed(&mut self, origin: Origin, learned: Learned) {
        if learned.awaits { self.await_it(origin, learned) } else { self.learn(origin, learned) }
    }

    /// An attempt awaits what is told in this lane.
    fn await_it(&mut self, origin: Origin, mut attempt: Learned) {
        let claim = attempt.claim_of_id();
        if let Some(told) = self.claims.get(&claim) {
            // What it used is charged, and not known here any more; but whether all of it had a price is.
            let priced = told.lacks.then_some(Pico(0));
            return self.release(origin, attempt, priced);
        }
        let of_it = self.awaited.get(&claim).map_or(0, |awaited| awaited.attempts.len());
        if self.awaiting >= MOST_IN_ALL || of_it >= MOST {
            return self.counts.not_awaited += 1;
        }
        // It ages from when it was asked for, or from when it came here, where the gateway's clock is ahead.
        attempt.at = attempt.is.attempt.admitted_at.min(self.state.recorded_at);
        self.awaited.entry(claim).or_insert(Awaited { attempts: Vec::new() }).attempts.push(attempt);
        self.awaiting += 1;
        self.claimed.insert(claim);
    }

    /// Nothing is awaited by this id any more; gives what was.
    pub(super) fn no_more_awaited(&mut self, claim: &ClaimId) -> Vec<Learned> {
        let attempts = self.awaited.remove(claim).map(|awaited| awaited.attempts).unwrap_or_default();
        self.awaiting -= attempts.len();
        attempts
    }

    /// What was told, as use of the attempt that awaits it. That has counted as a request when it ended, and a call is one.
    fn of(&self, awaiting: &Learned, told: Learned) -> Learned {
        let by = &awaiting.is.attempt;
        // What passed on without being known names neither; who tells of it does.
        let known = if by.api.is_passed_on() { &told.is.attempt } else { by };
        let attempt = Attempt {
            api: known.api,
            model: known.model.clone(),
            call: told.is.attempt.call,
            attempt: 1,
            stream: false,
            subject: Arc::clone(&by.subject),
            ..by.clone()
        };
        let settled_at = told.is.settled_at.max(by.admitted_at);
        let is = Settled { attempt, settled_at, apart: true, ..told.is };
        let cost = self.cost(&is, &is.usage).known;
        let total = is.usage.total().unwrap_or_default();
        let counts = |moved: &Move| {
            let unit = self.unit_of(moved.limit)?;
            let amount = unit.amount(&total, Some(cost)).filter(|amount| *amount != 0 && unit != Unit::Requests)?;
            Some(Move { amount, clears: 0, ..moved.clone() })
        };
        let moves = awaiting.moves.iter().filter_map(counts).collect();
        Learned { is, moves, ..told }
    }

    fn cost(&self, of: &Settled, usage: &Usage) -> Cost {
        price::sum(&self.rate(of, usage, of.attempt.book))
    }

    /// What an attempt holds for what is known by now is free: a correction which says that it used nothing by itself. Where not all of it
    /// has a price, `priced` is the sum of what has one, and the rest stays held where dollars are counted.
    fn release(&mut self, origin: Origin, awaiting: Learned, priced: Option<Pico>) {
        let stood = awaiting.is;
        let clears = |moved: &Move| match (self.unit_of(moved.limit), priced) {
            // What was used is not counted in a limit that is not known here yet, so it stays held there.
            (None, _) => 0,
            (Some(Unit::Usd), Some(priced)) => priced.0.min(moved.clears),
            (Some(_), _) => moved.clears,
        };
        let moves: Vec<Move> =
            awaiting.moves.into_iter().map(|moved| Move { clears: clears(&moved), ..moved }).collect();
        // Each stands for the posting in its place.
        let postings = stood.posted.iter().zip(&moves);
        let posted =
            postings.map(|(posting, moved)| Posting { provision: posting.provision - moved.clears, ..*posting });
        let posted: Vec<Posting> = posted.collect();
        let moves: Vec<Move> = moves.into_iter().filter(|moved| moved.clears != 0).collect();
        // Where nothing is held and nothing was said to be unknown there is nothing to correct.
        if moves.is_empty() && stood.usage.completeness == Completeness::Exact {
            return;
        }
        if posted.len() != stood.posted.len() {
            // A counter was gone from the gateway when it said what is held.
            return self.counts.not_awaited += 1;
        }
        let (call, attempt) = (stood.attempt.call, stood.attempt.attempt);
        let (usage, book) = (stood.usage.clone(), stood.attempt.book);
        let was = Was { why: Why::Released, usage, book, number: 0, charged_at: Time::ZERO };
        let mut is = Settled { posted, counters: Vec::new(), call: None, ..stood };
        is.usage = Usage::none();
        let released = Learned {
            source: RELEASE.to_owned(),
            id: format!("{call}/{attempt}/0"),
            at: self.state.recorded_at,
            content: wire::hash(RELEASE.as_bytes()),
            was: Some(was),
            is,
            moves,
            awaits: false,
        };
        self.hand(origin, released);
    }

    /// Has it learned in the lane of its tenant.
    fn hand(&mut self, origin: Origin, learned: Learned) {
        let own = learned.own_lane(self.lanes);
        if own == self.lane {
            self.learn(origin, learned);
        } else {
            self.pass(own, said(&learned), Vec::new(), Some(Box::new(learned)));
        }
    }
}
