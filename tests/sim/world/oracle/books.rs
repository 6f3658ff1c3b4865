//! What the oracle reads in committed messages: each charge once and exact, totals that only grow, grants within the amount.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use schemas::{
    decision::{Holder, Instance, Key, State},
    event::{Outcome, Settled},
    id::{InstanceId, Lane, LimitId, ProducerId, Seq},
    ledger::{AlarmKind, Charged, Entry, Fact, Rated},
    limit::Unit,
    time::Time,
    tokens::Completeness,
    wire,
};

use super::{
    Left, Obligation, Oracle,
    tariff::{amount, stands},
};
use crate::world::call::{Bill, Ending};

/// What was committed.
#[derive(Default)]
pub(crate) struct Books {
    pub(crate) instances: BTreeMap<InstanceId, (Lane, Instance)>,
    pub(crate) marks: BTreeMap<(Lane, ProducerId), Seq>,
    /// Where the ledger ends, by lane, and where in it the charges stand.
    pub(crate) ends: BTreeMap<Lane, u64>,
    pub(crate) charged: BTreeSet<(usize, u64)>,
    pub(crate) tokens: i128,
    pub(crate) cost: i128,
    /// What corrections add to it.
    pub(crate) corrected: i128,
}

impl Oracle {
    pub(super) fn entry(&mut self, place: (usize, u64), body: &Bytes) {
        let Ok(Entry { fact, .. }) = wire::decode_entry(body) else {
            return self.broken(Obligation::TheLogIsSane, "an entry cannot be read");
        };
        match fact {
            Fact::Admitted(admitted) => {
                let key = (admitted.attempt.call, admitted.attempt.attempt);
                let twice = self.attempts.get_mut(&key).is_none_or(|seen| std::mem::replace(&mut seen.admitted, true));
                if twice {
                    self.broken(Obligation::NothingIsChargedTwice, format!("{key:?} is admitted twice, or by nobody"));
                }
            }
            Fact::Charged(charged) => {
                self.books.charged.insert(place);
                self.charged(&charged);
            }
            Fact::Corrected(corrected) => self.corrected(&corrected),
            Fact::Adjusted(adjusted) => self.adjusted(Lane(u16::try_from(place.0).unwrap_or(u16::MAX)), &adjusted),
            Fact::Alarm(alarm) => {
                let lane = Lane(u16::try_from(place.0).unwrap_or(u16::MAX));
                let known = match alarm.kind {
                    AlarmKind::Forked => self.may_be_torn(alarm.producer, lane),
                    AlarmKind::Conflict => self.has_lost(),
                    _ => false,
                };
                if !known {
                    self.broken(Obligation::TheLogIsSane, format!("an alarm without a cause: {alarm:?}"));
                }
            }
            _ => {}
        }
    }

    /// Whether a journal that this producer wrote in, or whose last writer it succeeds, was restored behind what the lane has.
    fn may_be_torn(&self, producer: ProducerId, lane: Lane) -> bool {
        if self.beside.contains(&producer) {
            return true;
        }
        let before = self.before.get(&producer).copied();
        let torn = [Some(producer), before].into_iter().flatten().any(|producer| self.torn.contains(&producer));
        torn && self.forked.keys().any(|(producer, forked)| *forked == lane && self.torn.contains(producer))
    }

    /// Whether nobody takes over from a producer but who began on a copy of its journal while it lived.
    fn is_only_copied(&self, producer: ProducerId) -> bool {
        let mut after =
            self.before.iter().filter(|(_, before)| **before == producer).map(|(after, _)| after).peekable();
        after.peek().is_some() && after.all(|after| self.beside.contains(after))
    }

    fn charged(&mut self, charged: &Charged) {
        let settled = &charged.settled;
        let key = (settled.attempt.call, settled.attempt.attempt);
        let total = settled.usage.total();
        let usage = total.map(|total| Bill { input: total.uncached_input, output: total.output });
        let cost: i128 = charged.charges.iter().map(|charge| cost(&charge.price)).sum();
        self.books.tokens += total.map_or(0, |total| i128::from(total.total()));
        self.books.cost += cost;
        self.counts_late(settled, None);
        if self.told_row(charged) {
            return;
        }
        let Some(seen) = self.attempts.get_mut(&key) else {
            let detail =
                format!("{key:?} is charged and was never made, or is over: {:?} {:?}", settled.outcome, settled.usage);
            return self.broken(Obligation::NothingIsChargedTwice, detail);
        };
        seen.rows += 1;
        seen.ends += u32::from(settled.call.is_some());
        seen.charges += u32::from(!charged.charges.is_empty());
        let (rows, charges) = (seen.rows, seen.charges);
        if rows > 1 || charges > 1 {
            self.broken(Obligation::NothingIsChargedTwice, format!("{key:?} has {rows} rows and {charges} charges"));
        }
        if let Some(detail) = self.differs(charged, usage, cost) {
            self.broken(Obligation::ChargesAreExact, format!("{key:?} {detail}"));
        }
        self.posts(settled, usage);
    }

    /// What is wrong with the charge of an attempt: its usage is what its provider had said when it ended, whichever way, and costs what
    /// the book of its admission says.
    fn differs(&self, charged: &Charged, usage: Option<Bill>, cost: i128) -> Option<String> {
        let settled = &charged.settled;
        let seen = self.attempts.get(&(settled.attempt.call, settled.attempt.attempt))?;
        let wanted = usage.map_or(0, |usage| amount(Unit::Usd, &seen.wish, seen.book, usage));
        if wanted != cost {
            return Some(format!("of {usage:?} costs {cost} and has to cost {wanted}"));
        }
        let completeness = &settled.usage.completeness;
        // Who finds it open knows of it what was written down, and not more.
        let fits = match (settled.outcome, seen.ending) {
            (Outcome::Unknown, _) => usage.is_none_or(|usage| seen.written.contains(&usage)),
            (_, Some(Ending::Whole(bill))) => usage == Some(bill) && *completeness == Completeness::Exact,
            (_, Some(Ending::AtLeast(bill))) => {
                usage == Some(bill) && matches!(completeness, Completeness::LowerBound(_))
            }
            (_, Some(Ending::Unknown)) => usage.is_none() && matches!(completeness, Completeness::Missing(_)),
            (_, None) => false,
        };
        let said = (&settled.outcome, usage, completeness);
        (!fits).then(|| format!("ended as {:?} and is charged as {said:?}", seen.ending))
    }

    /// What the row of an attempt posts of each counter that it held.
    fn posts(&mut self, settled: &Settled, usage: Option<Bill>) {
        let key = (settled.attempt.call, settled.attempt.attempt);
        let Some(seen) = self.attempts.get(&key) else { return };
        let (producer, wish, book) = (seen.producer, seen.wish, seen.book);
        let found = settled.outcome == Outcome::Unknown;
        let holds = if found { seen.holds.clone() } else { seen.taken.clone() };
        let whole = settled.usage.completeness == Completeness::Exact;
        let mut left = Vec::with_capacity(holds.len());
        for (hold, place) in holds {
            let unit = self.rules[place].limit.unit;
            if unit == Unit::Concurrent {
                // An attempt that has its row is over, however it ended.
                continue;
            }
            let requests = unit == Unit::Requests;
            // Of an attempt that a crash left open and of which nothing was heard the request stays held, like all else.
            let counted = requests && (!found || usage.is_some());
            let used = match usage {
                _ if requests => i128::from(counted),
                Some(usage) => amount(unit, &wish, book, usage),
                None => 0,
            };
            // What a copy of a journal left open, its successor is believed only in lanes that have not heard more of it.
            let home = self.books.instances.get(&hold.instance).map(|(home, _)| *home);
            let refused = found && home.is_some_and(|home| self.forked.contains_key(&(producer, home)));
            let spent = self.spent.entry((hold.instance, hold.window)).or_default();
            spent.rule = place;
            spent.used += used;
            spent.short += if refused { used } else { 0 };
            spent.away += if refused { used } else { 0 };
            *spent.by.entry(producer).or_default() += used;
            // Of a limit that is not leased a refused successor leaves nothing held either.
            let nowhere = refused && !self.rules[place].is_hard();
            let unknown = if whole || counted || nowhere { 0 } else { (hold.amount - used).max(0) };
            spent.unknown += unknown;
            let posted = settled.posted.iter().find(|posting| posting.instance == hold.instance);
            let said = posted.map_or(0, |posting| posting.provision);
            spent.said += said;
            left.push(Left { hold, rule: place, used, unknown: said, sure: unknown });
        }
        if let Some(seen) = self.attempts.get_mut(&key) {
            seen.left = left;
        }
    }

    pub(super) fn decision(&mut self, lane: Lane, key: &Bytes, state: Option<&Bytes>) {
        let Ok(key) = wire::decode_key(key) else {
            return self.broken(Obligation::TheLogIsSane, "a key cannot be read");
        };
        match (key, state.map(|state| wire::decode_state(&key, state))) {
            (Key::Instance(id), Some(Ok(State::Instance(instance)))) => self.instance(lane, id, *instance),
            (Key::Instance(id), None) => drop(self.books.instances.remove(&id)),
            (Key::Lane(lane), Some(Ok(State::Lane(state)))) => {
                for mark in state.producers {
                    self.accepts((lane, mark.producer), mark.seq);
                    let known = self.books.marks.insert((lane, mark.producer), mark.seq);
                    if known.is_some_and(|known| known > mark.seq) {
                        self.broken(Obligation::TheLogIsSane, format!("the watermark of {} goes back", mark.producer));
                    }
                }
            }
            (_, Some(Err(error))) => self.broken(Obligation::TheLogIsSane, format!("a state cannot be read: {error}")),
            _ => {}
        }
    }

    fn instance(&mut self, lane: Lane, id: InstanceId, new: Instance) {
        let old = self.books.instances.get(&id).map(|(_, old)| old.clone());
        if let Some((elsewhere, _)) = self.books.instances.get(&id).filter(|(known, _)| *known != lane) {
            let detail = format!("{id} is kept in lane {} and in lane {}", elsewhere.0, lane.0);
            self.broken(Obligation::TheLogIsSane, detail);
        }
        let before =
            |producer| old.as_ref().and_then(|old| old.holders.iter().find(|holder| holder.producer == producer));
        let mut broken = Vec::new();
        let mut grew = false;
        for holder in &new.holders {
            let (granted, lease) =
                before(holder.producer).map_or((0, 0), |old| (old.granted, old.granted - old.returned));
            grew |= holder.granted > granted;
            if holder.granted < granted {
                broken.push((
                    Obligation::TheLogIsSane,
                    format!("what {} was granted of {id} goes down", holder.producer),
                ));
            }
            let given_up = self.rules.iter().any(|rule| rule.id == new.limit && rule.limit.unit == Unit::Concurrent);
            if !given_up && self.away.contains(&(holder.producer, lane)) && holder.granted - holder.returned < lease {
                let detail = format!("the lease of {} goes down although its journal was restored", holder.producer);
                broken.push((Obligation::LeasesOutOfReachStayCounted, detail));
            }
            let was_open = before(holder.producer).is_none_or(|old| !old.closed());
            if holder.closed() && was_open && self.is_only_copied(holder.producer) {
                let detail =
                    format!("the lease of {} is over, and only a copy of its journal says so", holder.producer);
                broken.push((Obligation::LeasesOutOfReachStayCounted, detail));
            }
            self.mine.entry((holder.producer, id)).or_default().granted = holder.granted;
            let known = before(holder.producer).map_or(&[][..], |old| &old.unknown);
            let kept = new.windows.iter().map(|window| window.start);
            let mut less = kept.filter(|window| in_window(&holder.unknown, *window) < in_window(known, *window));
            if less.next().is_some() {
                let detail = format!("what {} may have used of {id} goes down", holder.producer);
                broken.push((Obligation::TheUnknownStaysHeld, detail));
            }
        }
        self.allows(old.as_ref(), &new);
        self.overdraws(old.as_ref(), &new);
        if grew {
            broken.extend(self.l1(old.as_ref(), &new));
        }
        broken.into_iter().for_each(|(obligation, detail)| self.broken(obligation, detail));
        let (limit, start) = (new.limit, new.windows.first().map(|window| window.start));
        self.books.instances.insert(id, (lane, new));
        if old.is_none() {
            self.counted(limit, start);
        }
    }

    /// What may be billed of each window that metering shows.
    fn allows(&mut self, old: Option<&Instance>, new: &Instance) {
        // What was leased before an amount was lowered may be spent in every window to come, until it is called back.
        let leased = old.map_or(0, leased);
        for window in &new.windows {
            let first = leased.max(new.amount);
            let most = self.allowed.entry((new.id, window.start)).or_insert(first);
            *most = new.amount.max(*most);
        }
    }

    /// L-1 after a grant, in every window in which anybody may spend.
    ///
    /// Who is gone enters no window any more; of those that he was in he has what he used and what nobody knows. Who has been in a
    /// window goes back to none before it; there he has what he used and what he still holds.
    fn l1(&self, old: Option<&Instance>, new: &Instance) -> Vec<(Obligation, String)> {
        let Some(rule) = self.rules.iter().find(|rule| rule.id == new.limit && rule.is_hard()) else {
            return Vec::new();
        };
        let granted = |of: &Holder| {
            let before = old.and_then(|old| old.holders.iter().find(|old| old.producer == of.producer));
            of.granted - before.map_or(0, |before| before.granted)
        };
        let askers = new.holders.iter().filter(|holder| granted(holder) > 0);
        let asker = askers.filter_map(|holder| self.entered_by(holder.producer, new.id)).min();
        let mut broken = Vec::new();
        let amount = old.map_or(new.amount, |old| old.amount.max(new.amount));
        if !rule.amounts.contains(&new.amount) {
            broken.push((Obligation::NoGrantBeyondTheAmount, format!("{} was never {}", rule.limit.name, new.amount)));
        }
        for window in &new.windows {
            let taken = |holder: &Holder| {
                // What it used in it, and what it may have.
                let spent = in_window(&holder.used, window.start) + in_window(&holder.unknown, window.start);
                let lease = holder.granted - holder.returned;
                let busy = self.mine.get(&(holder.producer, new.id)).and_then(|mine| mine.busy.get(&window.start));
                let is_past = self.entered_by(holder.producer, new.id).is_some_and(|entered| entered > window.start);
                if is_past {
                    // A bill beyond its lease counts once it was heard of.
                    return spent.max(busy.copied().unwrap_or(0).min(lease));
                }
                // Who closes in this very commit had no more than its lease when the grant was made, whatever it leaves behind.
                let had = old.and_then(|old| old.holders.iter().find(|old| old.producer == holder.producer));
                let had = had.filter(|had| holder.closed() && !had.closed()).map(|had| had.granted - had.returned);
                lease.max(had.map_or(spent, |had| spent.min(had)))
            };
            let taken = window.adjusted - window.cleared + new.holders.iter().map(taken).sum::<i128>();
            // Nothing was granted for windows before that of whoever asked: there an amount may have been lowered since, and what
            // passed elsewhere been added to what is leased.
            let (place, is_before) = ((new.id, window.start), asker.is_some_and(|asker| window.start < asker));
            let known =
                [&self.allowed, &self.told.overdrawn].map(|known| known.get(&place).copied().filter(|_| is_before));
            let most = known.into_iter().flatten().fold(amount, i128::max);
            if taken > most {
                let (name, from) = (&rule.limit.name, window.start);
                let detail = format!("{taken} of {name} is taken from {from} after a grant, of {most}");
                broken.push((Obligation::NoGrantBeyondTheAmount, detail));
            }
        }
        // A lease that stands is a share of windows to come, in which nothing was used.
        if (stands(rule.limit.window) || new.windows.is_empty()) && leased(new) > amount {
            let detail = format!("{} of {} is leased after a grant, of {amount}", leased(new), rule.limit.name);
            broken.push((Obligation::NoGrantBeyondTheAmount, detail));
        }
        broken
    }

    /// The last window that a producer has been in, or asked for a lease for.
    fn entered_by(&self, producer: ProducerId, id: InstanceId) -> Option<Time> {
        let busy = self.mine.get(&(producer, id)).and_then(|mine| mine.busy.keys().next_back());
        busy.copied().max(self.asked.get(&(producer, id)).copied())
    }

    /// A counter was made: are there as many as there may be of the limit in its window, beside the one that all others share?
    fn counted(&mut self, limit: LimitId, start: Option<Time>) {
        let rule = self.rules.iter().find(|rule| rule.id == limit);
        let Some((rule, most)) = rule.and_then(|rule| Some((rule, rule.limit.max_instances?))) else { return };
        let of = |known: &&(Lane, Instance)| {
            let (_, known) = known;
            let other = known.values.iter().any(|value| value == "other");
            known.limit == limit && !other && known.windows.first().map(|window| window.start) == start
        };
        let counters = self.books.instances.values().filter(of).count();
        if counters > most as usize {
            let detail = format!("{} has {counters} counters of {most}", rule.limit.name);
            self.broken(Obligation::NoMoreAreCounted, detail);
        }
    }
}

/// A total of a window.
pub(super) fn in_window(totals: &[(Time, i128)], window: Time) -> i128 {
    totals.iter().find(|(start, _)| *start == window).map_or(0, |(_, total)| *total)
}

/// What those who live have leased.
pub(super) fn leased(instance: &Instance) -> i128 {
    let live = instance.holders.iter().filter(|holder| !holder.closed());
    live.map(|holder| holder.granted - holder.returned).sum()
}

pub(super) const fn cost(rated: &Rated) -> i128 {
    match rated {
        Rated::Priced { cost, .. } => cost.0,
        Rated::Unpriced(_) => 0,
    }
}
