//! What a limit would have counted already, had it been in force: attempts that fall under it and were admitted without it.
//!
//! The log is the past, so where a policy brings a limit with `backfill` the loop reads it once ([`Fold`]), and the engine posts what comes
//! of it in the same commit. Attempts that are open then are counted when they end, by the same fold over what is written of each event.
//! A fold is what attempts and corrections come to, less what was counted of them by anything: however often it is made, nothing counts
//! twice. It is exact because such a limit names tenants, so that all that it counts is of the lane that it is at home in.
//!
//! What a counter has by a fold it does not name, so it remembers up to when it has what ended (`WindowState::filled`): as long as it is
//! kept, what corrects that is folded into it as well, whether its limit still says `backfill` or not, and is in force or not.

use std::{collections::BTreeMap, time::Duration};

use schemas::{
    event::Settled,
    id::{InstanceId, LimitId},
    ledger::{Charge, Charged, Corrected, Entry, Fact},
    limit::{Limit, Schedule, Target, Unit},
    price, standing,
    time::Time,
    tokens::Usage,
};

use crate::window;

/// The source of what is posted for attempts that were admitted without a limit.
pub const SOURCE: &str = "tollgate:backfill";

/// A counter in one window: the limit, the values of its `*`, and the window.
pub type Counter = (LimitId, Vec<String>, (Time, Time));

/// Up to when what ended is in a counter; nothing where there is no such counter.
type Filled<'a> = &'a dyn Fn(InstanceId) -> Option<Time>;

/// A limit, and whether counters are filled of it that are still to come.
#[derive(Debug)]
struct Rule {
    id: LimitId,
    limit: Limit,
    schedule: Schedule,
    fills: bool,
}

/// Limits, and what they have not counted of the entries so far.
#[derive(Debug, Default)]
pub struct Fold {
    rules: Vec<Rule>,
    sums: BTreeMap<Counter, i128>,
    /// What was posted by corrections, by what others told, and by folds before.
    posted: BTreeMap<(InstanceId, Time), i128>,
    /// The attempt that was corrected last, and the counters that it had posted to from the first: there a correction posts itself.
    own: Option<(standing::Key, Vec<InstanceId>)>,
}

impl Fold {
    /// Of these limits, in the windows of their schedules.
    pub fn new(limits: impl Iterator<Item = (Limit, Schedule)>) -> Self {
        Self::late(limits.map(|(limit, schedule)| (limit, schedule, true)))
    }

    /// Of limits that were filled, with whether they still are.
    pub(crate) fn late(limits: impl Iterator<Item = (Limit, Schedule, bool)>) -> Self {
        let rules = limits.map(|(limit, schedule, fills)| Rule { id: limit.id(), limit, schedule, fills }).collect();
        Self { rules, ..Self::default() }
    }

    /// Whether there is no limit in it.
    pub const fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Its limits, with the windows that it counts.
    pub(crate) fn schedules(&self) -> impl Iterator<Item = (LimitId, &Schedule)> {
        self.rules.iter().map(|rule| (rule.id, &rule.schedule))
    }

    /// Takes the next entry of the lane, of the past.
    pub fn take(&mut self, entry: &Entry) {
        self.take_in(entry, None);
    }

    /// Takes an entry that is new: only counters that were filled when an attempt ended have it.
    pub(crate) fn take_late(&mut self, entry: &Entry, filled: Filled<'_>) {
        self.take_in(entry, Some(filled));
    }

    fn take_in(&mut self, entry: &Entry, late: Option<Filled<'_>>) {
        match &entry.fact {
            // What a gateway answered from its cache falls under no limit.
            Fact::Charged(charged) if charged.settled.avoided.is_some() => {}
            Fact::Charged(charged) => {
                let settled = &charged.settled;
                self.count((settled, entry.recorded_at), late, |unit| used_at_end(unit, charged));
            }
            Fact::Corrected(corrected) => {
                let is = &corrected.charged.settled;
                self.own = Some((standing::key(is), is.posted.iter().map(|posting| posting.instance).collect()));
                self.count((is, corrected.was.charged_at), late, |unit| more(unit, corrected));
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

    fn count(&mut self, (settled, ended): (&Settled, Time), late: Option<Filled<'_>>, amount: impl Fn(Unit) -> i128) {
        let attempt = &settled.attempt;
        let target = Target { subject: &attempt.subject, provider: &attempt.provider, model: &attempt.model };
        for rule in &self.rules {
            let Some(values) = rule.limit.values_for(target) else { continue };
            let Some(window) = rule.window(attempt.admitted_at, late.is_some()) else { continue };
            // A gateway whose clock went back counted it in a later window.
            let named = |window| InstanceId::of(rule.id, &values, Some(window));
            if settled.posted.iter().any(|posting| posting.instance == named(posting.window)) {
                continue;
            }
            let until = late.map(|filled| filled(named(window.0)));
            let is_had = until.is_none_or(|until| until.map_or(rule.fills, |until| has(until, ended)));
            if !is_had {
                continue;
            }
            let values = values.into_iter().map(str::to_owned).collect();
            *self.sums.entry((rule.id, values, window)).or_default() += amount(rule.limit.unit);
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

impl Rule {
    /// The window that holds an instant. Counters are kept for longer than their windows are published.
    fn window(&self, at: Time, is_late: bool) -> Option<(Time, Time)> {
        let earlier = || window::schedule(&self.limit, at, Duration::ZERO)?.window(at);
        self.schedule.window(at).or_else(|| if is_late { earlier() } else { None })
    }
}

/// Whether a counter that was filled up to then has what ended at a time.
pub(crate) fn has(until: Time, ended: Time) -> bool {
    until > Time::ZERO && ended <= until
}

/// What a correction adds in a unit to what was used.
pub(crate) fn more(unit: Unit, corrected: &Corrected) -> i128 {
    let Corrected { was, reversed, charged, .. } = corrected;
    used(unit, &charged.settled.usage, &charged.charges) - used(unit, &was.usage, reversed)
}

/// What an attempt used in a unit when it ended. What is told of another one is no request.
pub(crate) fn used_at_end(unit: Unit, charged: &Charged) -> i128 {
    let Charged { settled, charges } = charged;
    if unit == Unit::Requests && settled.apart { 0 } else { used(unit, &settled.usage, charges) }
}

/// What an attempt used in a unit. What nobody knows of it is not counted, but that it was a request.
fn used(unit: Unit, usage: &Usage, charges: &[Charge]) -> i128 {
    let known = usage.total().and_then(|total| unit.amount(&total, Some(price::sum(charges).known)));
    known.unwrap_or_else(|| i128::from(unit == Unit::Requests))
}

#[cfg(test)]
mod tests;
