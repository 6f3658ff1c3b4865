//! Several attempts of one call that are admitted as a whole, before any of them is sent: all hold what they can use, or none does.
//!
//! All are admitted at one instant and settle one by one. One of them is made after the others: until then it keeps its holds and stands in
//! no record, since nothing of it can have been used, and if it is never made they are given back.

use std::sync::Arc;

use schemas::{
    bound::{AtMost, Bound, Known, Unbounded, Why},
    error_code::ErrorCode,
    event::{self, CallEnd},
    id::{InstanceId, Lane},
    price::Book,
    time::now,
};

use super::{Candidate, NotAdmitted, cap, observe};
use crate::{
    attempt::{Attempt, Baton, Flight},
    error::Fault,
    limits::{Ask, Limits, Permit, Refusal},
    request::Cap,
    worker::Worker,
};

/// Attempts that are admitted together, and the one after them.
pub(crate) struct Together {
    /// With which they run, and by which the one after them goes on.
    pub(crate) baton: Arc<Baton>,
    /// In the order of their candidates.
    pub(crate) attempts: Vec<(Attempt, Option<Cap>)>,
    pub(crate) then: Reserved,
}

/// What an attempt holds that is not made yet.
pub(crate) struct Reserved {
    worker: Arc<Worker>,
    parts: Option<(Flight, event::Attempt)>,
    permit: Option<Permit>,
    bound: Bound,
    lane: Lane,
    book: Arc<Book>,
    cap: Option<Cap>,
}

/// An attempt that is to be made with others.
struct Planned<'a> {
    of: Candidate<'a>,
    flight: Flight,
    facts: event::Attempt,
    bound: Bound,
}

impl Reserved {
    /// Makes the attempt, one of those that run with a baton.
    fn run(mut self, baton: &Arc<Baton>) -> Option<(Attempt, Option<Cap>)> {
        let ((flight, facts), permit) = self.parts.take().zip(self.permit.take())?;
        let (worker, book) = (Arc::clone(&self.worker), Arc::clone(&self.book));
        let call = CallEnd::begun(facts.admitted_at, 0, String::new());
        let mut attempt = Attempt::new(worker, (flight, self.lane), facts, permit, book, call);
        attempt.runs_with(baton);
        attempt.bounded(&self.bound);
        Some((attempt, self.cap))
    }

    /// Makes the attempt, in the place of those that ran with a baton; nothing if their call is over.
    pub(crate) fn take(mut self, baton: &Baton) -> Option<(Attempt, Option<Cap>)> {
        let ((flight, facts), permit) = self.parts.take().zip(self.permit.take())?;
        let (worker, book) = (Arc::clone(&self.worker), Arc::clone(&self.book));
        let made = Attempt::after(baton, worker, (flight, self.lane), facts, permit, book);
        // What is not taken is given back.
        let mut attempt = made.map_err(|permit| self.permit = Some(permit)).ok()?;
        attempt.bounded(&self.bound);
        Some((attempt, self.cap))
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            self.worker.shared.limits.give_back(permit);
        }
    }
}

impl Limits {
    /// Takes a hold on every limit that any of the attempts falls under, for all of them, or on none.
    async fn admit_together(&self, asks: &[Ask<'_>]) -> Result<Vec<Permit>, Box<Refusal>> {
        self.obtain(|at| {
            let asked_at = now();
            let asks: Vec<Ask<'_>> = asks.iter().map(|ask| Ask { now: asked_at.max(ask.now), ..*ask }).collect();
            self.try_admit_together(&asks, at)
        })
        .await
    }
}

/// Takes a hold on every limit of these attempts of one call and of the one after them.
pub(crate) async fn together(
    worker: &Arc<Worker>,
    candidates: Vec<Candidate<'_>>,
    then: Candidate<'_>,
    seen: &mut Vec<InstanceId>,
) -> Result<Result<Together, Box<NotAdmitted>>, Fault> {
    worker.takes_calls()?;
    let (running, lane) = (candidates.len(), then.lane);
    let call = CallEnd::begun(then.accepted_at, 0, then.session_id.clone());
    let mut planned = plan(worker, candidates.into_iter().chain([then]));
    let permits = match held(worker, &mut planned).await? {
        Ok(permits) => permits,
        Err(refusal) => {
            let bound = sum(planned.iter().map(|planned| &planned.bound));
            // The row names the attempt that the limit is of.
            let limits = &worker.shared.limits;
            let of = planned.iter().position(|planned| limits.is_of(&refusal, &planned.facts)).unwrap_or_default();
            let refused = planned.into_iter().nth(of).ok_or_else(nobody)?;
            return Ok(Err(Box::new(NotAdmitted { refusal, facts: refused.facts, bound })));
        }
    };
    let age = permits.iter().map(|permit| permit.balance_age_ms).max().unwrap_or(0);
    let all = planned.into_iter().zip(permits).map(|(planned, permit)| planned.reserved(worker, permit, seen));
    // What is not made is given back, whether or not the others could be.
    let mut all = all.collect::<Vec<_>>().into_iter().collect::<Result<Vec<Reserved>, Fault>>()?;
    let then = all.pop().ok_or_else(nobody)?;
    let baton = Baton::new(worker, lane, running, CallEnd { balance_age_ms: age, ..call });
    let attempts = all.into_iter().filter_map(|reserved| reserved.run(&baton)).collect();
    Ok(Ok(Together { baton, attempts, then }))
}

fn nobody() -> Fault {
    Fault::new(ErrorCode::NoTarget, "there is nobody to ask")
}

fn plan<'a>(worker: &Arc<Worker>, candidates: impl Iterator<Item = Candidate<'a>>) -> Vec<Planned<'a>> {
    let numbered = (1..).zip(candidates);
    let planned = numbered.map(|(number, of)| {
        let flight = Flight::open(worker, of.lane);
        let facts = of.attempt(worker, number, flight.opened_at);
        let bound = of.bound.clone();
        Planned { of, flight, facts, bound }
    });
    planned.collect()
}

/// Holds what all of them need, first with the bounds in bytes, then, if that does not fit, in tokens where those can be counted.
async fn held(worker: &Arc<Worker>, planned: &mut [Planned<'_>]) -> Result<Result<Vec<Permit>, Box<Refusal>>, Fault> {
    let limits = &worker.shared.limits;
    let first = limits.admit_together(&asks(planned)).await;
    let Err(refusal) = &first else { return Ok(first) };
    let mut is_tighter = false;
    for planned in &mut *planned {
        if let Some(body) = planned.of.body.filter(|_| planned.of.may_fit(refusal)) {
            planned.bound = planned.of.tightened(body.clone()).await?;
            is_tighter = true;
        }
    }
    if is_tighter { Ok(limits.admit_together(&asks(planned)).await) } else { Ok(first) }
}

fn asks<'a>(planned: &'a [Planned<'_>]) -> Vec<Ask<'a>> {
    let asks = planned.iter().map(|planned| Ask {
        attempt: &planned.facts,
        bound: &planned.bound,
        slice: None,
        now: planned.flight.opened_at,
    });
    asks.collect()
}

/// The most that all of them can use.
fn sum<'a>(bounds: impl Iterator<Item = &'a Bound>) -> Bound {
    let nothing = AtMost { requests: 0, ..AtMost::NOTHING };
    let all = bounds.map(Bound::most).try_fold(nothing, |sum, most| {
        let most = most?;
        let cost = sum.cost.and_then(|cost| most.cost.map(|more| cost + more));
        let (input, output) = (sum.input.saturating_add(most.input), sum.output.saturating_add(most.output));
        let tool_calls = sum.tool_calls.saturating_add(most.tool_calls);
        Some(AtMost { input, output, tool_calls, requests: sum.requests + most.requests, cost, ..sum })
    });
    let unknown = || Unbounded { field: String::new(), why: Why::NotStated, most: None, known: Known::default() };
    all.map_or_else(|| Bound::Unbounded(unknown()), Bound::AtMost)
}

impl Planned<'_> {
    /// What it holds, unless it is too late for it.
    fn reserved(self, worker: &Arc<Worker>, permit: Permit, seen: &mut Vec<InstanceId>) -> Result<Reserved, Fault> {
        let facts = event::Attempt { admitted_at: permit.admitted_at, ..self.facts };
        let late = self.of.too_late(worker, &permit);
        for refusal in &permit.observed {
            observe(worker, &facts, &self.bound, refusal, seen);
        }
        let reserved = Reserved {
            cap: cap(&permit, &self.bound, self.of.api, &self.of.facts),
            worker: Arc::clone(worker),
            parts: Some((self.flight, facts)),
            permit: Some(permit),
            bound: self.bound,
            lane: self.of.lane,
            book: Arc::clone(&self.of.view.book),
        };
        late.map_or(Ok(reserved), Err)
    }
}
