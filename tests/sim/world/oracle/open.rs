//! What the oracle knows of attempts while they are open: how many there are, and how much of each is held, written down and relayed.

use schemas::{
    event::Hold,
    id::{CallId, InstanceId, ProducerId},
    limit::Unit,
};

use super::{Obligation, Oracle, tariff::amount};
use crate::world::call::{Bill, Wish};

impl Oracle {
    /// An attempt is open from its hold on, until it is settled or its process is gone.
    pub(super) fn opened(&mut self, key: (CallId, u16), producer: ProducerId, holds: &[(Hold, usize)]) {
        let counted = holds.iter().filter(|(_, place)| self.rules[*place].limit.unit == Unit::Concurrent);
        let counted: Vec<_> = counted.map(|(hold, place)| (hold.instance, *place)).collect();
        self.open.insert(key, (producer, counted.clone()));
        for (instance, place) in counted {
            let open = self.open.values().filter(|(_, held)| held.contains(&(instance, place))).count() as i128;
            let rule = &self.rules[place];
            if rule.is_hard() && open > rule.most {
                let detail = format!("{open} calls of {} are open, of {}", rule.limit.name, rule.most);
                self.broken(Obligation::NoMoreAreOpen, detail);
            }
        }
    }

    /// A process is gone, and its calls with it.
    pub(crate) fn died(&mut self, producer: ProducerId) {
        self.open.retain(|_, (owner, _)| *owner != producer);
    }

    /// What an attempt is billed of a limit, and what it is bounded by: of one that is held slice by slice, what was relayed.
    pub(super) fn billable(&self, place: usize, wish: &Wish, book: usize, relayed: u64) -> (i128, i128) {
        let (unit, sliced) = (self.rules[place].limit.unit, self.is_sliced(place, wish));
        let of = |bill: Bill| amount(unit, wish, book, if sliced { Bill { output: relayed, ..bill } } else { bill });
        (of(wish.bill), of(wish.bound))
    }

    /// Whether of a limit only a slice is held at a time: of output that is seen while it is made, and of no other.
    pub(super) fn is_sliced(&self, place: usize, wish: &Wish) -> bool {
        self.rules[place].limit.slices && !wish.hidden
    }

    /// A gateway holds more for an attempt that is under way.
    pub(crate) fn extended(&mut self, key: (CallId, u16), more: &[Hold]) {
        let Some(seen) = self.attempts.get_mut(&key) else { return };
        let mut over = Vec::new();
        for hold in more {
            let Some((taken, place)) = seen.taken.iter_mut().find(|(taken, _)| taken.instance == hold.instance) else {
                over.push(format!("{key:?} holds more of {}, of which it held nothing", hold.instance));
                continue;
            };
            taken.amount += hold.amount;
            let mine = self.mine.entry((seen.producer, hold.instance)).or_default();
            let busy = mine.busy.entry(hold.window).or_default();
            *busy += hold.amount;
            let lease = mine.granted - mine.returned;
            if self.rules[*place].is_hard() && *busy > lease {
                over.push(format!(
                    "{busy} of {} is used and held with a lease of {lease}",
                    self.rules[*place].limit.name
                ));
            }
        }
        over.into_iter().for_each(|detail| self.broken(Obligation::NoHoldBeyondTheLease, detail));
    }

    /// What it holds more is in the journal.
    pub(crate) fn recorded(&mut self, key: (CallId, u16)) {
        if let Some(seen) = self.attempts.get_mut(&key) {
            seen.holds.clone_from(&seen.taken);
        }
    }

    /// A failing disk took what was written of that: all that is certain is what it held at first.
    pub(super) fn forgotten(&mut self, key: (CallId, u16)) {
        let Some(seen) = self.attempts.get_mut(&key) else { return };
        for ((hold, place), (first, _)) in seen.taken.iter().zip(&seen.first) {
            let spent = self.spent.entry((hold.instance, hold.window)).or_default();
            spent.rule = *place;
            spent.doubted += hold.amount - first.amount;
        }
        seen.holds.clone_from(&seen.first);
    }

    /// A limit that is used up lets it go on to its end: what it uses beyond its hold is settled, and may pass the amount.
    pub(crate) fn finishes(&mut self, key: (CallId, u16), instance: InstanceId) {
        let Some(seen) = self.attempts.get_mut(&key) else { return };
        let rule = seen.taken.iter().find(|(hold, _)| hold.instance == instance).map(|(_, place)| *place);
        if !rule.is_some_and(|place| self.rules[place].may_finish) {
            self.broken(Obligation::NothingIsRelayedUnheld, format!("{key:?} goes on though {instance} is used up"));
        } else {
            seen.unheld.insert(instance);
        }
    }

    /// So much of a stream was given to its client.
    pub(crate) fn relayed(&mut self, key: (CallId, u16), output: u64) {
        let Some(seen) = self.attempts.get_mut(&key) else { return };
        let before = std::mem::replace(&mut seen.relayed, output);
        let (holds, wish, book, unheld) = (seen.holds.clone(), seen.wish, seen.book, seen.unheld.clone());
        let mut broken = Vec::new();
        for (hold, place) in holds {
            if !self.is_sliced(place, &wish) {
                continue;
            }
            let rule = &self.rules[place];
            let (needs, more) = (self.billable(place, &wish, book, output), self.billable(place, &wish, book, before));
            let goes_on = unheld.contains(&hold.instance);
            if needs.1 > hold.amount && !goes_on {
                let detail = format!(
                    "{key:?} needs {} of {} for what was relayed and holds {}",
                    needs.1, rule.limit.name, hold.amount
                );
                broken.push((Obligation::NothingIsRelayedUnheld, detail));
            }
            let spent = self.spent.entry((hold.instance, hold.window)).or_default();
            spent.billed += needs.0 - more.0;
            if goes_on {
                spent.excused += needs.0 - more.0.max(hold.amount.min(needs.0));
            }
            let billed = spent.billed - spent.excused;
            let most = self.allowed(&hold, place);
            let rule = &self.rules[place];
            if rule.is_hard() && billed > most {
                let detail = format!("{billed} of {} is relayed of {most}", rule.limit.name);
                broken.push((Obligation::HardLimitsAreNotBilledPast, detail));
            }
        }
        broken.into_iter().for_each(|(obligation, detail)| self.broken(obligation, detail));
    }
}
