//! Something is learned beside the life of a call: use that another system tells of, or a correction.
//!
//! It comes any number of times, on any way, and has its effect once: the lane of its tenant decides alone, and the claim of its source and
//! id is committed with what it does. So is that of the place of a correction: no two corrections of an attempt take the place of the same.
//! What it moves in other lanes is passed to them in that commit (`moved`). It is never refused, because it has happened; a hard limit that
//! it overdraws grants nothing until L-1 holds again. A claim is remembered for longer than the same could be told again; what is too old
//! to know that is set aside with an alarm.

use std::{collections::BTreeMap, time::Duration};

use schemas::{
    decision::{Awaited, Claim, WindowState},
    event::{Learned, Move, Posting},
    id::{CallId, ClaimId, InstanceId, Lane, LimitId},
    ledger::{Adjusted, AlarmKind, Fact, Late},
    limit::{Limit, Mode},
    time::Time,
};

use super::{Engine, tick::KEPT};
use crate::{
    dedup::Origin,
    fault::{self, Fault},
    invariant, window,
};

/// Who said something, what they call it, and the attempt that it is of.
pub(super) type Said = (String, String, CallId, u16);

pub(super) fn said(learned: &Learned) -> Said {
    let attempt = &learned.is.attempt;
    (learned.source.clone(), learned.id.clone(), attempt.call, attempt.attempt)
}

impl Engine {
    pub(super) fn learned(&mut self, origin: Origin, learned: Learned) {
        if learned.lane(self.lanes) == self.lane {
            return if learned.is_told_by_id() {
                self.told_by_id(origin, learned)
            } else {
                self.learn(origin, learned)
            };
        }
        // The tenant's lane decided everything in earlier versions, which told every lane.
        if learned.own_lane(self.lanes) == self.lane {
            return self.learn(origin, learned);
        }
        self.counts.relearned += 1;
    }

    /// Takes what is of a tenant of this lane.
    pub(super) fn learn(&mut self, origin: Origin, learned: Learned) {
        let now = self.state.recorded_at;
        if self.is_too_old(origin, &learned) {
            return;
        }
        let known = learned.claims().find_map(|claim| self.claims.get(&claim).copied());
        match known.filter(|_| !fault::is(Fault::CorrectedUnclaimed) || learned.was.is_none()) {
            Some(known) if known.content == learned.content => return self.counts.relearned += 1,
            Some(_) => {
                self.counts.conflicts += 1;
                if fault::is(Fault::PassedUndecided) {
                    self.pass_on(&learned);
                }
                let (source, id, call) = (&learned.source, &learned.id, learned.is.attempt.call);
                let detail =
                    format!("{id} of {source}, about call {call}, was said otherwise before; the first stands");
                return self.alarm(origin, AlarmKind::Conflict, detail);
            }
            None => {}
        }
        for claim in learned.claims() {
            self.claims.insert(claim, Claim { at: now, content: learned.content, lacks: false });
            self.claimed.insert(claim);
        }
        self.state.claims = self.claims.len() as u64;
        if fault::is(Fault::ClaimWithoutEffect) && self.state.claims.is_multiple_of(3) {
            return;
        }
        // A lane that there is not has no counter.
        let here = learned.moves.iter().filter(|moved| moved.home == self.lane || moved.home.0 >= self.lanes);
        let adjusted = self.adjust(said(&learned), here.cloned().collect());
        self.pass_on(&learned);
        self.charge(learned);
        self.write_adjusted(adjusted);
    }

    /// Whether it was said so long ago that nobody remembers whether it was learned; then an alarm says so.
    pub(super) fn is_too_old(&mut self, origin: Origin, learned: &Learned) -> bool {
        let is_old = self.state.recorded_at.since(learned.at) > self.remembers.saturating_add(Claim::GRACE);
        if is_old {
            let detail =
                format!("event {} of {} is of {}: too old to be taken", learned.id, learned.source, learned.at);
            self.alarm(origin, AlarmKind::Stale, detail);
        }
        is_old
    }

    /// Has the other lanes move what is at home there.
    fn pass_on(&mut self, learned: &Learned) {
        let mut homes: BTreeMap<Lane, Vec<Move>> = BTreeMap::new();
        for moved in learned.moves.iter().filter(|moved| moved.home != self.lane && moved.home.0 < self.lanes) {
            homes.entry(moved.home).or_default().push(moved.clone());
        }
        homes.into_iter().for_each(|(home, moves)| self.pass(home, said(learned), moves, None));
    }

    /// Moves counters of this lane, for the attempt that something was said of.
    pub(super) fn adjust(&mut self, (source, id, call, attempt): Said, moves: Vec<Move>) -> Adjusted {
        let (posted, gone, late) = (Vec::new(), Vec::new(), Vec::new());
        let mut adjusted = Adjusted { source, id, call, attempt, posted, gone, late };
        for moved in moves {
            let posting = if moved.home == self.lane { self.add(&moved) } else { None };
            match posting {
                Some(posting) => adjusted.posted.push(posting),
                None => match self.late(&moved) {
                    Some(late) => adjusted.late.push(late),
                    None => adjusted.gone.push(moved),
                },
            }
        }
        adjusted
    }

    pub(super) fn write_adjusted(&mut self, adjusted: Adjusted) {
        if !adjusted.posted.is_empty() || !adjusted.gone.is_empty() || !adjusted.late.is_empty() {
            self.write(Fact::Adjusted(adjusted));
        }
    }

    pub(super) fn add(&mut self, moved: &Move) -> Option<Posting> {
        let (instance, start) = self.find(moved)?;
        let counter = self.instances.all.get_mut(&instance)?;
        let window = counter.windows.iter_mut().find(|window| window.start == start)?;
        let clears = match moved.clears {
            clears if fault::is(Fault::ClearedTwice) => 2 * clears,
            _ if fault::is(Fault::NothingCleared) => 0,
            clears => clears,
        };
        let (adjusted, cleared) = (window.adjusted.checked_add(moved.amount)?, window.cleared.checked_add(clears)?);
        (window.adjusted, window.cleared) = (adjusted, cleared);
        self.instances.dirty.insert(instance);
        // Of one that is out of force leases stand, and are spent again as soon as it comes back.
        let hard = self.limits.get(&moved.limit).is_none_or(|limit| limit.mode == Mode::Hard);
        if hard && !invariant::l1(counter, start) {
            // What is leased and not held can still come back before it is spent.
            counter.recall += 1;
        }
        if moved.amount > 0 {
            self.note_overrun(instance, start);
        }
        Some(Posting { instance, window: start, used: moved.amount, provision: -clears })
    }

    /// The counter and the start of the window that are meant: of these values, or, where there may be no more of them, the shared
    /// one.
    pub(super) fn find(&mut self, moved: &Move) -> Option<(InstanceId, Time)> {
        self.find_of(moved.limit, &moved.values, moved.window).or_else(|| {
            let shared = self.limits.get(&moved.limit)?.shared(&moved.values);
            self.find_of(moved.limit, &shared, moved.window).filter(|_| shared != moved.values)
        })
    }

    /// The counter of these values. One that nobody has opened is opened, unless it is over for so long that it may have been known
    /// and forgotten.
    fn find_of(&mut self, limit: LimitId, values: &[String], at: Time) -> Option<(InstanceId, Time)> {
        let of = |window| InstanceId::of(limit, values, window);
        // What a limit counted that is in force no more is found by the start of its window.
        let known = [of(Some(at)), of(None)].into_iter().find_map(|id| Some((id, self.window_in(id, at)?.start)));
        if known.is_some() {
            return known;
        }
        let (_, (start, end)) = self.window_of(limit, values, at)?;
        let id = self.name(limit, values, start);
        if self.window_in(id, at).is_none() {
            if self.is_forgotten(end) {
                return None;
            }
            self.open(limit, values, start)?;
        }
        Some((id, self.window_in(id, at)?.start))
    }

    /// What a counter of this lane is moved by that may have been known and forgotten, where its window tells it from others. One of a
    /// client tag may have been among those that share one.
    fn late(&self, moved: &Move) -> Option<Late> {
        let Move { limit, values, window, amount, .. } = moved;
        let (rule, (start, end)) = self.window_of(*limit, values, *window)?;
        let is_known = self.is_forgotten(end) && !rule.window.stands() && rule.max_instances.is_none();
        is_known.then(|| Late { limit: *limit, values: values.clone(), start, end, amount: *amount })
    }

    /// A limit that counts these values in this lane, and its window at an instant.
    fn window_of(&self, limit: LimitId, values: &[String], at: Time) -> Option<(&Limit, (Time, Time))> {
        let rule = self.limits.get(&limit).filter(|rule| rule.home(values, self.lanes) == self.lane)?;
        let published = self.schedules.get(&limit).and_then(|schedule| schedule.window(at));
        Some((rule, published.or_else(|| window::schedule(rule, at, Duration::ZERO)?.window(at))?))
    }

    fn is_forgotten(&self, end: Time) -> bool {
        end != Time::MAX && self.state.recorded_at.since(end) > KEPT
    }

    fn window_in(&self, id: InstanceId, at: Time) -> Option<&WindowState> {
        let windows = &self.instances.all.get(&id)?.windows;
        windows.iter().find(|window| window.start <= at && at < window.end)
    }

    /// Forgets claims that nothing can be told of again: what is as old is too old.
    pub(super) fn forget_claims(&mut self, now: Time) {
        let kept = self.remembers.saturating_add(Claim::GRACE).saturating_add(Claim::SKEW);
        let old: Vec<ClaimId> =
            self.claims.iter().filter(|(_, claim)| now.since(claim.at) > kept).map(|(id, _)| *id).collect();
        let ends = |awaited: &Awaited| awaited.attempts.iter().all(|attempt| now.since(attempt.at) > kept);
        let over = self.awaited.iter().filter(|(_, awaited)| ends(awaited)).map(|(id, _)| *id).collect::<Vec<_>>();
        for id in old.into_iter().chain(over) {
            self.no_more_awaited(&id);
            self.claims.remove(&id);
            self.claimed.insert(id);
            self.touched = true;
        }
        self.state.claims = self.claims.len() as u64;
    }
}
