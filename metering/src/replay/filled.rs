//! Whether counters that were filled have what they were filled for: what ended, and what corrects it, although it does not name them.
//!
//! A fill is a fold of the ledger as far as the log had it then, and is taken as such. From there on each attempt that ends while the counter
//! is filled, and each correction of one that had ended by then, has to be moved into it to the unit, whether its limit is in force or not;
//! nothing else has. What is told of later, and so has moves of its own, is no part of that.

use std::collections::{BTreeMap, HashMap};

use schemas::{
    event::Settled,
    id::{CallId, InstanceId, LimitId},
    ledger::{Adjusted, Entry, Fact},
    limit::{Limit, Target, Unit},
    standing::{Key, key},
    time::Time,
};

use super::Difference;
use crate::backfill::{has, more, used_at_end};

/// Counters that were filled, and what they lack.
#[derive(Debug, Default)]
pub(super) struct Filled {
    /// Their limits, and the windows that they are of.
    rules: BTreeMap<LimitId, (Limit, Vec<(Time, Time)>)>,
    counters: HashMap<InstanceId, Counter>,
    /// Of attempts that fall under them: the counters that they name, and when they ended.
    of: BTreeMap<Key, (Vec<InstanceId>, Time)>,
}

#[derive(Debug)]
struct Counter {
    limit: LimitId,
    window: Time,
    /// Up to when it has what ended.
    until: Time,
    /// Whether it is being filled as far as the ledger was read.
    fills: bool,
    lacks: i128,
    /// What was corrected last that it has to have.
    call: Option<CallId>,
}

impl Filled {
    /// These counters of limits, in their windows, have what ended up to then.
    pub(super) fn of<'a>(counters: impl Iterator<Item = (&'a Limit, (InstanceId, (Time, Time)), Time)>) -> Self {
        let mut filled = Self::default();
        for (limit, (instance, window), until) in counters {
            let id = limit.id();
            let (_, windows) = filled.rules.entry(id).or_insert_with(|| (limit.clone(), Vec::new()));
            if !windows.contains(&window) {
                windows.push(window);
            }
            let counter = Counter { limit: id, window: window.0, until, fills: false, lacks: 0, call: None };
            filled.counters.insert(instance, counter);
        }
        filled
    }

    /// Takes the next entry of a lane.
    pub(super) fn take(&mut self, entry: &Entry) {
        if self.counters.is_empty() {
            return;
        }
        match &entry.fact {
            Fact::Charged(charged) if charged.settled.avoided.is_some() => {}
            Fact::Charged(charged) => {
                let settled = &charged.settled;
                self.ended((settled, entry.recorded_at), None, |unit| used_at_end(unit, charged));
            }
            Fact::Corrected(corrected) => {
                let settled = &corrected.charged.settled;
                let call = Some(settled.attempt.call);
                self.ended((settled, corrected.was.charged_at), call, |unit| more(unit, corrected));
            }
            Fact::Adjusted(adjusted) => self.moved(adjusted),
            Fact::Balance(instance) => {
                let Some(counter) = self.counters.get_mut(&instance.id) else { return };
                let fills = instance.windows.iter().any(|window| window.filled == Time::MAX);
                if fills && !counter.fills {
                    (counter.lacks, counter.call) = (0, None);
                }
                counter.fills = fills;
            }
            _ => {}
        }
    }

    fn ended(&mut self, (settled, at): (&Settled, Time), corrects: Option<CallId>, amount: impl Fn(Unit) -> i128) {
        let attempt = &settled.attempt;
        let target = Target { subject: &attempt.subject, provider: &attempt.provider, model: &attempt.model };
        let mut falls = false;
        for (id, (limit, windows)) in &self.rules {
            let Some(values) = limit.values_for(target) else { continue };
            let holds = |(start, end): &&(Time, Time)| *start <= attempt.admitted_at && attempt.admitted_at < *end;
            let Some((start, _)) = windows.iter().find(holds) else { continue };
            falls = true;
            let named = |window| InstanceId::of(*id, &values, Some(window));
            if settled.posted.iter().any(|posting| posting.instance == named(posting.window)) {
                continue;
            }
            let counter = self.counters.get_mut(&named(*start)).filter(|counter| has(counter.until, at));
            if let Some(counter) = counter {
                counter.lacks += amount(limit.unit);
                counter.call = corrects.or(counter.call);
            }
        }
        // What an attempt moves of what it does not name is of one that was told, or is corrected.
        if falls && (settled.posted.is_empty() || corrects.is_some()) {
            let names = settled.posted.iter().map(|posting| posting.instance).collect();
            self.of.insert(key(settled), (names, at));
        }
    }

    fn moved(&mut self, adjusted: &Adjusted) {
        let of = self.of.get(&(adjusted.call, adjusted.attempt));
        for posting in &adjusted.posted {
            let Some(counter) = self.counters.get_mut(&posting.instance) else { continue };
            let is_own =
                |(names, at): &(Vec<InstanceId>, Time)| names.contains(&posting.instance) || !has(counter.until, *at);
            if !of.is_some_and(is_own) {
                counter.lacks -= posting.used;
            }
        }
    }

    /// The first counter that does not have just that, where something was corrected.
    pub(super) fn end(&self) -> Option<Difference> {
        let lacking = self.counters.iter().filter(|(_, counter)| counter.lacks != 0);
        let (instance, counter, call) = lacking
            .filter_map(|(instance, counter)| Some((*instance, counter, counter.call?)))
            .min_by_key(|(instance, ..)| *instance)?;
        let limit = self.rules.get(&counter.limit).map_or_else(String::new, |(limit, _)| limit.name.clone());
        Some(Difference::Filled { limit, instance, window: counter.window, lacks: counter.lacks, call })
    }
}
