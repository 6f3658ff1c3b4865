//! What attempts come to that were admitted before a limit was in force, or by a gateway that did not know it yet.

use schemas::{
    event::{Move, Posting},
    id::{CallId, InstanceId, Offset},
    ledger::{Adjusted, Fact},
    limit::{Dimension, Limit, Match},
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
        self.post_past(fold.drain());
    }

    /// Of what was written from a place on, counts what a limit did not hold of it when it was admitted.
    pub(super) fn count_late(&mut self, from: usize) {
        if self.late.is_empty() {
            return;
        }
        self.ledger.iter().skip(from).for_each(|entry| self.late.take(entry));
        let late = self.late.drain();
        self.post_past(late);
    }

    /// The limits and windows that are counted late are those in force.
    pub(super) fn refresh_late(&mut self) {
        let counted = self.limits.iter().filter(|(_, limit)| limit.backfill);
        let known = counted.filter_map(|(id, limit)| Some((limit.clone(), self.schedules.get(id)?.clone())));
        self.late = Fold::new(known);
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
