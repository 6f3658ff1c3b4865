//! What a limit would have counted already, had it been in force: attempts that fall under it and were admitted without it.
//!
//! The log is the past, so where a policy brings a limit with `backfill` the loop reads it once ([`Fold`]), and the engine posts what comes
//! of it in the same commit. Attempts that are open then are counted when they end, by the same fold over what is written of each event.
//! A fold is what attempts and corrections come to, less what was counted of them by anything: however often it is made, nothing counts
//! twice. It is exact because such a limit names tenants, so that all that it counts is of the lane that it is at home in.

use std::collections::BTreeMap;

use schemas::{
    event::Settled,
    id::{InstanceId, LimitId},
    ledger::{Charge, Entry, Fact},
    limit::{Limit, Schedule, Target, Unit},
    price, standing,
    time::Time,
};

/// The source of what is posted for attempts that were admitted without a limit.
pub const SOURCE: &str = "tollgate:backfill";

/// A counter in one window: the limit, the values of its `*`, and the window.
pub type Counter = (LimitId, Vec<String>, (Time, Time));

/// Limits, and what they have not counted of the entries so far.
#[derive(Debug, Default)]
pub struct Fold {
    limits: Vec<(LimitId, Limit, Schedule)>,
    sums: BTreeMap<Counter, i128>,
    /// What was posted by corrections, by what others told, and by folds before.
    posted: BTreeMap<(InstanceId, Time), i128>,
    /// The attempt that was corrected last, and the counters that it had posted to from the first: there a correction posts itself.
    own: Option<(standing::Key, Vec<InstanceId>)>,
}

impl Fold {
    /// Of these limits, in the windows of their schedules.
    pub fn new(limits: impl Iterator<Item = (Limit, Schedule)>) -> Self {
        let limits = limits.map(|(limit, schedule)| (limit.id(), limit, schedule)).collect();
        Self { limits, ..Self::default() }
    }

    /// Whether there is no limit in it.
    pub const fn is_empty(&self) -> bool {
        self.limits.is_empty()
    }

    /// Takes the next entry of the lane.
    pub fn take(&mut self, entry: &Entry) {
        match &entry.fact {
            // What a gateway answered from its cache falls under no limit.
            Fact::Charged(charged) if charged.settled.avoided.is_some() => {}
            Fact::Charged(charged) => {
                let settled = &charged.settled;
                self.count(settled, |unit| used(unit, settled, &charged.charges));
            }
            Fact::Corrected(corrected) => {
                let (is, charges) = (&corrected.charged.settled, &corrected.charged.charges);
                let was = Settled { usage: corrected.was.usage.clone(), ..is.clone() };
                self.own = Some((standing::key(is), is.posted.iter().map(|posting| posting.instance).collect()));
                self.count(is, |unit| used(unit, is, charges) - used(unit, &was, &corrected.reversed));
            }
            Fact::Adjusted(adjusted) => {
                let key = (adjusted.call, adjusted.attempt);
                let own = self.own.as_ref().filter(|(of, _)| *of == key).map_or(&[][..], |(_, own)| own);
                for posting in adjusted.posted.iter().filter(|posting| !own.contains(&posting.instance)) {
                    *self.posted.entry((posting.instance, posting.window)).or_default() += posting.used;
                }
            }
            _ => {}
        }
    }

    fn count(&mut self, settled: &Settled, amount: impl Fn(Unit) -> i128) {
        let attempt = &settled.attempt;
        let target = Target { subject: &attempt.subject, provider: &attempt.provider, model: &attempt.model };
        for (id, limit, schedule) in &self.limits {
            let Some(values) = limit.values_for(target) else { continue };
            let Some(window) = schedule.window(attempt.admitted_at) else { continue };
            // A gateway whose clock went back counted it in a later window.
            let named = |window| InstanceId::of(*id, &values, Some(window));
            if settled.posted.iter().any(|posting| posting.instance == named(posting.window)) {
                continue;
            }
            let values = values.into_iter().map(str::to_owned).collect();
            *self.sums.entry((*id, values, window)).or_default() += amount(limit.unit);
        }
    }

    /// Gives what is to be posted, and begins anew.
    pub fn drain(&mut self) -> Vec<(Counter, i128)> {
        let posted = std::mem::take(&mut self.posted);
        let left = std::mem::take(&mut self.sums).into_iter().map(|(counter, sum)| {
            let (id, values, (start, _)) = &counter;
            let known = posted.get(&(InstanceId::of(*id, values, Some(*start)), *start)).copied().unwrap_or(0);
            (counter, sum - known)
        });
        left.filter(|(_, sum)| *sum != 0).collect()
    }
}

/// What an attempt used in a unit. What nobody knows of it is not counted, but that it was a request; what is told of another is none.
fn used(unit: Unit, settled: &Settled, charges: &[Charge]) -> i128 {
    if unit == Unit::Requests {
        return i128::from(!settled.apart);
    }
    let known = settled.usage.total().and_then(|total| unit.amount(&total, Some(price::sum(charges).known)));
    known.unwrap_or(0)
}

#[cfg(test)]
mod tests;
