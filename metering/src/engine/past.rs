//! What attempts come to that were admitted before a limit was in force, or by a gateway that did not know it yet; and the rules of limits that
//! are out of force: their counters are kept, by this lane or another, and filled, corrected and freed as if they were not.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use schemas::{
    event::{Move, Posting},
    id::{CallId, InstanceId, LimitId, Offset},
    ledger::{Adjusted, Fact},
    limit::{Dimension, Limit, Match, Schedule, Unit},
    policy::Policy,
    time::Time,
};

use super::Engine;
use crate::{
    backfill::{Counter, Fold, SOURCE},
    fault::{self, Fault},
    window,
};

/// How many counters are posted in one entry: some 60 bytes each.
const POSTED: usize = 1_000;

/// When more limits than these are out of force, those without a counter in this lane are forgotten: some 300 bytes each.
const MOST: usize = 1 << 16;

impl Engine {
    /// The limits of a policy that are new to this lane and count what was before; the lane's ledger has to be taken into them, and that
    /// put in after the policy.
    pub fn lacking(&self, policy: &Policy, next: Offset, at: Time) -> Option<Fold> {
        let new = policy.limits.iter().filter(|limit| limit.backfill && !self.schedules.contains_key(&limit.id()));
        // Of one tenant there is nothing in the lanes of others.
        let is_each = |limit: &Limit| limit.scope.contains(&(Dimension::Tenant, Match::Each));
        let is_here = |limit: &Limit| is_each(limit) || limit.home::<&str>(&[], self.lanes) == self.lane;
        let here = new.filter(|limit| next > self.state.policy && is_here(limit));
        let ahead = policy.metering.outage_budget.saturating_mul(2);
        let fold = Fold::new(here.filter_map(|limit| Some((limit.clone(), window::schedule(limit, at, ahead)?))));
        Some(fold).filter(|fold| !fold.is_empty())
    }

    /// Takes what the committed ledger says, and what is not committed yet.
    pub(super) fn past(&mut self, mut fold: Fold) {
        self.ledger.iter().for_each(|entry| fold.take(entry));
        self.fill(&fold.schedules().collect());
        self.post_past(fold.drain());
        self.refresh_late();
    }

    /// The counters of these limits have what was before them from here on, and so have those that are opened as long as it goes on.
    fn fill(&mut self, filled: &HashMap<LimitId, &Schedule>) {
        self.filled.extend(filled.keys().map(|id| (*id, true)));
        for instance in self.instances.all.values_mut() {
            let Some(schedule) = filled.get(&instance.limit) else { continue };
            let is_counted = |start: Time| schedule.window(start).is_some_and(|(first, _)| first == start);
            for window in instance.windows.iter_mut().filter(|window| is_counted(window.start)) {
                window.filled = Time::MAX;
                self.instances.dirty.insert(instance.id);
            }
        }
    }

    /// Whether a counter of a limit that is opened now has what was before it: not if its window is over, of which nothing was counted.
    pub(super) fn fills(&self, limit: LimitId, end: Time) -> bool {
        end > self.state.recorded_at && self.filled.get(&limit).copied().unwrap_or(false)
    }

    /// Takes the rules of limits that may be out of force. What is told in this lane may be of counters of any other.
    pub(super) fn retired(&mut self, limits: Vec<Arc<Limit>>) {
        self.past.extend(limits.into_iter().map(|limit| (limit.id(), limit)));
    }

    /// What a limit counts, whether it is in force or not; nothing of one that is not known here yet.
    pub(super) fn unit_of(&self, id: LimitId) -> Option<Unit> {
        self.rule_of(id).map(|limit| limit.unit)
    }

    fn rule_of(&self, id: LimitId) -> Option<&Limit> {
        self.limits.get(&id).or_else(|| self.past.get(&id).map(AsRef::as_ref))
    }

    /// Takes note of limits that were in force until now. A restored engine knows by their counters which are filled; where one has
    /// none, all that it counts is still to come.
    pub(super) fn retire(&mut self, before: HashMap<LimitId, Limit>) {
        if self.past.len() > MOST {
            let counted = self.counted();
            self.past.retain(|id, _| counted.contains(id));
        }
        self.past.extend(before.into_iter().map(|(id, limit)| (id, Arc::new(limit))));
        self.past.retain(|id, _| !self.limits.contains_key(id));
        if self.keys.is_none() {
            let counted = self.counted();
            let known = self.limits.iter().filter(|(id, limit)| limit.backfill && self.schedules.contains_key(*id));
            self.filled.extend(known.filter(|(id, _)| !counted.contains(*id)).map(|(id, _)| (*id, true)));
        }
    }

    /// Of limits that are out of force, or do not say `backfill` any more, no counter is filled from here on. What they have they keep.
    pub(super) fn fill_no_more(&mut self) {
        let mut over = HashSet::new();
        for (id, fills) in &mut self.filled {
            if *fills && !self.limits.get(id).is_some_and(|limit| limit.backfill) {
                *fills = false;
                over.insert(*id);
            }
        }
        if over.is_empty() {
            return;
        }
        let until = self.state.recorded_at;
        for instance in self.instances.all.values_mut().filter(|instance| over.contains(&instance.limit)) {
            for window in instance.windows.iter_mut().filter(|window| window.filled == Time::MAX) {
                window.filled = until;
                self.instances.dirty.insert(instance.id);
            }
        }
        // What ends in the same moment is told by its time from what has ended before.
        self.state.recorded_at = until.after(Duration::from_micros(1));
    }

    /// Forgets which limits were filled of which there is no counter any more.
    pub(super) fn forget_filled(&mut self) {
        if !self.filled.is_empty() {
            let counted = self.counted();
            self.filled.retain(|id, fills| *fills || counted.contains(id));
        }
    }

    /// Limits of which there are counters in this lane.
    fn counted(&self) -> HashSet<LimitId> {
        self.instances.all.values().map(|instance| instance.limit).collect()
    }

    /// Of what was written from a place on, counts what a limit did not hold of it when it was admitted.
    pub(super) fn count_late(&mut self, from: usize) {
        if self.late.is_empty() {
            return;
        }
        let instances = &self.instances.all;
        let filled = |id: InstanceId| Some(instances.get(&id)?.windows.first()?.filled);
        self.ledger.iter().skip(from).for_each(|entry| self.late.take_late(entry, &filled));
        let late = self.late.drain();
        self.post_past(late);
    }

    /// What is counted late is what counters that were filled lack, whether their limits are in force or not.
    pub(super) fn refresh_late(&mut self) {
        let now = self.state.recorded_at;
        let known = self.filled.iter().filter_map(|(id, fills)| {
            let limit = self.rule_of(*id)?;
            let published = self.schedules.get(id).cloned();
            Some((limit.clone(), published.or_else(|| window::schedule(limit, now, Duration::ZERO))?, *fills))
        });
        self.late = Fold::late(known);
    }

    fn post_past(&mut self, counted: Vec<(Counter, i128)>) {
        let mut posted: Vec<Posting> = Vec::with_capacity(counted.len());
        for ((limit, values, (start, end)), amount) in counted {
            // In a window that was over before the limit came nothing is counted.
            let amount = if fault::is(Fault::BackfilledTwice) { 2 * amount } else { amount };
            let is_known = self.instances.all.contains_key(&InstanceId::of(limit, &values, Some(start)));
            if end > self.state.recorded_at || is_known {
                posted.extend(self.add(&Move { home: self.lane, limit, values, window: start, amount, clears: 0 }));
            }
        }
        for posted in posted.chunks(POSTED).map(<[Posting]>::to_vec) {
            let (source, call) = (SOURCE.to_owned(), CallId::from_bytes([0; 16]));
            self.write(Fact::Adjusted(Adjusted {
                source,
                id: String::new(),
                call,
                attempt: 0,
                posted,
                gone: Vec::new(),
                late: Vec::new(),
            }));
        }
    }
}
