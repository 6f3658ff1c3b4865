//! The life of an attempt as the oracle sees it: held, sent, billed or not, and settled.

use std::collections::{BTreeMap, BTreeSet};

use schemas::{
    event::Hold,
    id::{CallId, InstanceId, LimitId, ProducerId},
    limit::Unit,
};

use super::{
    Obligation, Oracle, Seen,
    tariff::{amount, stands, values},
};
use crate::world::{
    call::{Bill, Call, Ending},
    policy::SLICE,
};

impl Oracle {
    /// A gateway let an attempt pass; of the limits that have a name one after the other it knows this one.
    pub(crate) fn held(&mut self, producer: ProducerId, known: Option<LimitId>, call: &Call, book: usize) {
        let wish = call.wish;
        let key = (call.facts.call, call.facts.attempt);
        let holds = call.permit.as_ref().map(|permit| permit.holds.clone()).unwrap_or_default();
        let (mut matched, mut broken, mut back) = (Vec::new(), Vec::new(), Vec::new());
        for (place, rule) in self.rules.iter().enumerate() {
            let Some(values) = values(&rule.limit, &wish).filter(|_| rule.is_known(known)) else { continue };
            let shared: Vec<&str> = values.iter().map(|_| "other").collect();
            let is_its = |hold: &&Hold| {
                let window = (!stands(rule.limit.window)).then_some(hold.window);
                let shared =
                    rule.limit.max_instances.is_some() && InstanceId::of(rule.id, &shared, window) == hold.instance;
                shared || InstanceId::of(rule.id, &values, window) == hold.instance
            };
            match holds.iter().find(is_its) {
                Some(hold) => {
                    matched.push((*hold, place));
                    // Who has no counter of his own any more, or at last, may find the other in another window.
                    let window = (!stands(rule.limit.window)).then_some(hold.window);
                    let own = InstanceId::of(rule.id, &values, window) == hold.instance;
                    let counter = (producer, place, if own { values } else { shared });
                    let last = self.entered.entry(counter).or_insert(hold.window);
                    if hold.window < *last {
                        back.push(format!("{} at {producer} goes back to {}", rule.limit.name, hold.window));
                    }
                    *last = hold.window.max(*last);
                }
                None => broken.push(format!("{key:?} holds nothing of {}", rule.limit.name)),
            }
        }
        if matched.len() != holds.len() {
            broken.push(format!("{key:?} holds {} counters, of which {} are its own", holds.len(), matched.len()));
        }
        // What may be billed of it: all that it is bounded by, or a slice of what is seen while it is made.
        for (hold, place) in &matched {
            let limit = &self.rules[*place].limit;
            let output = if self.is_sliced(*place, &wish) { wish.bound.output.min(SLICE) } else { wish.bound.output };
            let most = amount(limit.unit, &wish, book, Bill { output, ..wish.bound });
            if self.rules[*place].is_hard() && hold.amount < most {
                broken.push(format!("{key:?} may use {most} of {} and holds {}", limit.name, hold.amount));
            }
        }
        broken.into_iter().for_each(|detail| self.broken(Obligation::EveryLimitIsHeld, detail));
        back.into_iter().for_each(|detail| self.broken(Obligation::WindowsDoNotGoBack, detail));
        for (hold, place) in &matched {
            let mine = self.mine.entry((producer, hold.instance)).or_default();
            let busy = mine.busy.entry(hold.window).or_default();
            *busy += hold.amount;
            let (busy, lease) = (*busy, mine.granted - mine.returned);
            if self.rules[*place].is_hard() && hold.amount > 0 && busy > lease {
                let detail = format!(
                    "{} of {} is used and held at {producer} with a lease of {lease}",
                    busy, self.rules[*place].limit.name
                );
                self.broken(Obligation::NoHoldBeyondTheLease, detail);
            }
        }
        self.opened(key, producer, &matched);
        let seen = Seen {
            producer,
            wish,
            book,
            taken: matched.clone(),
            first: matched.clone(),
            holds: matched,
            unheld: BTreeSet::new(),
            relayed: 0,
            ending: None,
            written: Vec::new(),
            sent: false,
            lost: false,
            gone: false,
            end: None,
            admitted: false,
            rows: 0,
            ends: 0,
            charges: 0,
            done: false,
            left: Vec::new(),
        };
        self.attempts.insert(key, seen);
    }

    /// The hold was given back unused.
    pub(crate) fn given_back(&mut self, call: &Call) {
        self.open.remove(&(call.facts.call, call.facts.attempt));
        if let Some(seen) = self.attempts.remove(&(call.facts.call, call.facts.attempt)) {
            for (hold, _) in &seen.taken {
                self.let_go(seen.producer, hold, 0);
            }
        }
    }

    /// The provider has the request: it may bill all of it.
    pub(crate) fn sent(&mut self, key: (CallId, u16)) {
        let Some(seen) = self.attempts.get_mut(&key) else { return };
        seen.sent = true;
        let seen = &self.attempts[&key];
        let (holds, wish, book) = (seen.holds.clone(), seen.wish, seen.book);
        for (hold, place) in holds {
            let (bill, bound) = self.billable(place, &wish, book, 0);
            let spent = self.spent.entry((hold.instance, hold.window)).or_default();
            spent.rule = place;
            spent.billed += bill;
            spent.excused += (bill - bound).max(0);
            let told = |sums: &BTreeMap<_, i128>| sums.get(&(hold.instance, hold.window)).copied().unwrap_or(0);
            let billed = spent.billed - spent.excused + told(&self.told.moved) - told(&self.told.amended);
            let most = self.allowed(&hold, place).max(told(&self.told.overdrawn));
            if self.rules[place].is_hard() && billed > most {
                let detail = format!("{billed} of {} is billed of {most}", self.rules[place].limit.name);
                self.broken(Obligation::HardLimitsAreNotBilledPast, detail);
            }
        }
    }

    /// It turns out that the provider bills nothing.
    pub(crate) fn not_billed(&mut self, key: (CallId, u16)) {
        let Some(seen) = self.attempts.get_mut(&key) else { return };
        let (holds, wish, book, relayed) = (seen.holds.clone(), seen.wish, seen.book, seen.relayed);
        seen.wish.bill = Bill::default();
        for (hold, place) in holds {
            let unit = self.rules[place].limit.unit;
            let (bill, bound) = self.billable(place, &wish, book, relayed);
            let spent = self.spent.entry((hold.instance, hold.window)).or_default();
            if unit != Unit::Requests {
                spent.billed -= bill;
                spent.excused -= (bill - bound).max(0);
            }
        }
    }

    /// An attempt has ended, of which its gateway can know this.
    pub(crate) fn settled(&mut self, key: (CallId, u16), ending: Ending) {
        self.open.remove(&key);
        let Some(seen) = self.attempts.get_mut(&key) else { return };
        seen.ending = Some(ending);
        let (known, whole) = (ending.known(), matches!(ending, Ending::Whole(_)));
        let (producer, wish, book, holds) = (seen.producer, seen.wish, seen.book, seen.taken.clone());
        for (hold, place) in holds {
            let unit = self.rules[place].limit.unit;
            let used = known.map_or(i128::from(unit == Unit::Requests), |known| amount(unit, &wish, book, known));
            let keeps = !whole && !matches!(unit, Unit::Requests | Unit::Concurrent);
            self.let_go(producer, &hold, used + if keeps { (hold.amount - used).max(0) } else { 0 });
        }
    }

    fn let_go(&mut self, producer: ProducerId, hold: &Hold, keep: i128) {
        if let Some(busy) =
            self.mine.get_mut(&(producer, hold.instance)).and_then(|mine| mine.busy.get_mut(&hold.window))
        {
            *busy += keep - hold.amount;
        }
    }
}
