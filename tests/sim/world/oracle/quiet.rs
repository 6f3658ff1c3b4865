//! What the oracle adds up when nothing is under way: every call has its row, the ledger is the balances, and what is left of
//! a limit is left.

use std::collections::{BTreeMap, BTreeSet};

use schemas::{
    id::{CallId, InstanceId, Lane, ProducerId},
    limit::{Limit, Unit, Window},
    time::Time,
};

use super::{
    Obligation, Oracle,
    books::in_window,
    tariff::{amount, stands, values},
};
use crate::world::{
    LANES,
    call::{Bill, Wish},
    policy::TENANTS,
};

impl Oracle {
    /// Everything is shipped, read and followed, and no call is open.
    pub(crate) fn quiet(&mut self, now: Time) {
        self.leave_open();
        let missing: Vec<_> = self
            .attempts
            .iter()
            .filter(|(_, seen)| (seen.sent || seen.admitted) && !seen.lost && !self.is_gone(seen) && seen.rows == 0)
            .filter(|(_, seen)| !self.is_left_open(seen))
            .map(|(key, seen)| format!("{key:?} at {} has no row", seen.producer))
            .collect();
        missing.into_iter().for_each(|detail| self.broken(Obligation::NoCallIsUnaccounted, detail));
        self.calls_end();
        self.balances(now);
        self.nobody_calls();
        self.told_is_done();
        self.late_is_counted();
        // What is accounted for is over: it is looked at no more, but a late message of it is a second charge.
        let done: Vec<_> = self.attempts.iter().filter(|(_, seen)| seen.done).map(|(key, _)| *key).collect();
        for key in done {
            self.attempts.remove(&key);
        }
        self.attempts.values_mut().for_each(|seen| seen.done = true);
        let books = &self.books.instances;
        let lives = |producer: ProducerId, id: &InstanceId| {
            let holders = books.get(id).into_iter().flat_map(|(_, instance)| &instance.holders);
            holders.filter(|holder| !holder.closed()).any(|holder| holder.producer == producer)
        };
        self.mine.retain(|(producer, id), mine| mine.granted != mine.returned || lives(*producer, id));
    }

    /// Whether nobody can know how it ended: a restored disk took its end before metering had it.
    fn is_gone(&self, seen: &super::Seen) -> bool {
        seen.gone && seen.end.is_none_or(|(lane, producer, seq)| self.accepted(producer, lane) < seq.0)
    }

    /// Whether nobody ends it: its journal was put back to a copy, whose successor has taken nothing over in its lane. That it was
    /// admitted is in the ledger, for an operator who knows that the other copy is no more.
    fn is_left_open(&self, seen: &super::Seen) -> bool {
        let lane = Lane::of(TENANTS[seen.wish.tenant].as_bytes(), LANES);
        let torn = |producer| self.torn.contains(producer);
        torn(&seen.producer) && self.forked.keys().any(|(producer, forked)| *forked == lane && torn(producer))
    }

    /// Where another lane than that of its row has not heard more than the successor of its journal, that lane believes what the
    /// successor says of it.
    fn leave_open(&mut self) {
        let left = self.attempts.values().filter(|seen| seen.rows == 0 && !seen.done && self.is_left_open(seen));
        let holds: Vec<_> =
            left.flat_map(|seen| seen.holds.iter().map(|(hold, place)| (seen.producer, *hold, *place))).collect();
        for (producer, hold, place) in holds {
            let home = self.books.instances.get(&hold.instance).map(|(home, _)| *home);
            if home.is_some_and(|home| !self.forked.contains_key(&(producer, home))) {
                let spent = self.spent.entry((hold.instance, hold.window)).or_default();
                spent.rule = place;
                spent.overtaken += hold.amount;
            }
        }
    }

    /// No call is open, so each that has rows has its end, unless a disk that was restored has taken of them.
    fn calls_end(&mut self) {
        let mut ends: BTreeMap<CallId, (u32, u32, bool)> = BTreeMap::new();
        for ((call, _), seen) in &self.attempts {
            let (rows, ended, torn) = ends.entry(*call).or_default();
            *rows += seen.rows;
            *ended += seen.ends;
            *torn |= seen.gone || self.is_left_open(seen);
        }
        let wrong = ends.into_iter().filter(|(_, (rows, ended, torn))| *rows > 0 && *ended != 1 && !torn);
        let wrong: Vec<_> =
            wrong.map(|(call, (rows, ended, _))| format!("{call} ends {ended} times in {rows} rows")).collect();
        wrong.into_iter().for_each(|detail| self.broken(Obligation::ACallEndsOnce, detail));
    }

    /// No call is open, so none is said to be.
    fn nobody_calls(&mut self) {
        let concurrent = |rule: &&super::Rule| rule.limit.unit == Unit::Concurrent;
        let mut broken = Vec::new();
        for rule in self.rules.iter().filter(concurrent) {
            for (lane, instance) in self.books.instances.values().filter(|(_, instance)| instance.limit == rule.id) {
                // What is out of reach may be said to be open for ever, but no more of it than was leased.
                let out = |holder: &schemas::decision::Holder| self.forked.contains_key(&(holder.producer, *lane));
                let beyond = |holder: &schemas::decision::Holder| {
                    let lease = if out(holder) { (holder.granted - holder.returned).max(0) } else { 0 };
                    let unknown: i128 = holder.unknown.iter().map(|(_, unknown)| *unknown).sum();
                    (holder.held + unknown - lease).max(0)
                };
                let open: i128 = instance.holders.iter().map(beyond).sum();
                if open != 0 {
                    broken.push(format!("{open} calls of {} are said to be open", rule.limit.name));
                }
            }
        }
        broken.into_iter().for_each(|detail| self.broken(Obligation::NoMoreAreOpen, detail));
    }

    fn balances(&mut self, now: Time) {
        let mut broken = Vec::new();
        for ((id, window), spent) in &mut self.spent {
            let rule = &self.rules[spent.rule];
            let Some((_, instance)) = self.books.instances.get(id) else {
                if spent.used > 0 && !is_old(*window, rule.limit.window, now) {
                    broken.push(format!("{} has no balance", rule.limit.name));
                }
                continue;
            };
            let known = instance.windows.iter().any(|known| known.start == *window);
            if !known || is_old(*window, rule.limit.window, now) {
                continue;
            }
            let used = |holder: &schemas::decision::Holder| {
                holder.used.iter().find(|(start, _)| start == window).map_or(0, |(_, used)| *used)
            };
            let settled: i128 = instance.holders.iter().map(used).sum();
            let more = settled - spent.used;
            if more < spent.pinned - spent.short || more > spent.pinned + spent.overtaken {
                let known: Vec<_> = instance.holders.iter().map(|holder| (holder.producer, used(holder))).collect();
                broken.push(format!(
                    "{} from {window}: the balance is {settled}, {known:?}, the ledger says {}, {:?}, and {} before",
                    rule.limit.name, spent.used, spent.by, spent.pinned
                ));
            }
            // What was in doubt has arrived by now, or never will.
            (spent.pinned, spent.overtaken, spent.short) = (more, 0, 0);
        }
        broken.into_iter().for_each(|detail| self.broken(Obligation::BalancesAreTheLedger, detail));
        self.provisions();
    }

    /// What the ledger does not know the use of is held, as long as its window lasts, and no more than that.
    fn provisions(&mut self) {
        let mut broken = Vec::new();
        for ((id, window), spent) in &self.spent {
            let rule = &self.rules[spent.rule];
            let Some((lane, instance)) = self.books.instances.get(id).filter(|_| !stands(rule.limit.window)) else {
                continue;
            };
            let Some(known) = instance.windows.iter().find(|known| known.start == *window) else { continue };
            let unknown = instance.holders.iter().flat_map(|holder| &holder.unknown);
            let unknown = unknown.filter(|(start, _)| start == window).map(|(_, unknown)| *unknown);
            let held = unknown.sum::<i128>() - known.cleared;
            // Of what a copy of a journal says, lanes believe more or less of each other.
            let torn = instance.holders.iter().any(|holder| self.torn.contains(&holder.producer));
            let is_sure = !torn && spent.away == 0 && rule.limit.unit != Unit::Concurrent;
            if is_sure && held > spent.said + spent.doubted {
                let (name, said, doubted) = (&rule.limit.name, spent.said, spent.doubted);
                let detail = format!("{name} from {window}: {held} is held, and {said} is unknown, {doubted} perhaps");
                broken.push((Obligation::OnlyTheUnknownStaysHeld, detail));
            }
            // What is unknown of one whose journal was restored stays counted as leased, and no more than that is.
            let away = self.out_of_reach(*lane, instance, *window);
            if held + away + spent.away < spent.unknown {
                let detail = format!(
                    "{} from {window}: {held} is held and {away} out of reach, {} is unknown, {} perhaps",
                    rule.limit.name, spent.unknown, spent.away
                );
                broken.push((Obligation::TheUnknownStaysHeld, detail));
            }
        }
        broken.into_iter().for_each(|(obligation, detail)| self.broken(obligation, detail));
    }

    /// What is left of a limit, in the counter that has the least.
    pub(crate) fn left_of(&self, limit: &Limit, now: Time) -> i128 {
        let Some(rule) = self.rules.iter().find(|rule| rule.id == limit.id()) else { return 0 };
        let counters = self.books.instances.values().filter(|(_, instance)| instance.limit == rule.id);
        let values = counters.map(|(_, instance)| instance.values.iter().map(String::as_str).collect::<Vec<_>>());
        values.map(|values| self.left(rule, &values, now)).min().unwrap_or(limit.amount)
    }

    /// What is neither used nor may be of a limit that has one counter and one window, as everybody has read: the most that may pass.
    pub(crate) fn left_in_books(&self, limit: &Limit) -> i128 {
        let id = limit.id();
        let known = self.books.instances.values().find(|(_, instance)| instance.limit == id);
        let Some((_, instance)) = known else { return limit.amount };
        let spent = |window: Time| -> i128 {
            let by = |holder: &schemas::decision::Holder| {
                in_window(&holder.used, window) + in_window(&holder.unknown, window)
            };
            instance.holders.iter().map(by).sum()
        };
        let gone = instance.windows.iter().map(|known| known.adjusted - known.cleared + spent(known.start));
        limit.amount - gone.sum::<i128>()
    }

    /// What is left of every hard limit of a call, in tokens of input; nothing if it falls under none.
    pub(crate) fn affordable(&self, wish: &Wish, book: usize, now: Time) -> Option<i128> {
        let mut least: Option<i128> = None;
        let one = Bill { input: 1, output: 0 };
        for rule in self.rules.iter().filter(|rule| rule.is_hard() && rule.in_force) {
            let Some(values) = values(&rule.limit, wish) else { continue };
            let price = amount(rule.limit.unit, wish, book, one);
            let left = self.left(rule, &values, now);
            let tokens = match rule.limit.unit {
                Unit::Requests | Unit::Concurrent if left >= 1 => continue,
                Unit::Requests | Unit::Concurrent => 0,
                // Only output counts, and the probe has none; but of what is overdrawn nobody gets anything.
                Unit::OutputTokens if left >= 0 => continue,
                Unit::OutputTokens => 0,
                _ => left.max(0) / price,
            };
            least = Some(least.map_or(tokens, |least| least.min(tokens)));
        }
        least
    }

    fn left(&self, rule: &super::Rule, values: &[&str], now: Time) -> i128 {
        let standing = stands(rule.limit.window);
        let named = |window: Time| InstanceId::of(rule.id, values, (!standing).then_some(window));
        let spent = self
            .spent
            .iter()
            .filter(|((id, window), spent)| self.rules[spent.rule].id == rule.id && named(*window) == *id);
        // Of a counter that nobody has spent anything of, a lease may be out of reach all the same.
        let known = self.books.instances.values().map(|(_, instance)| instance);
        let known = known.filter(|instance| instance.limit == rule.id && instance.values == values);
        let known = known.flat_map(|instance| instance.windows.iter().map(|window| (instance.id, window.start)));
        let windows: BTreeSet<(InstanceId, Time)> = spent.map(|(place, _)| *place).chain(known).collect();
        // A gateway whose clock was fast stays in the window that it opened, so the probe may fall into any that is not over.
        let left = windows.iter().filter_map(|(id, window)| {
            let known = self.books.instances.get(id);
            let over = known.is_some_and(|(_, instance)| {
                instance.windows.iter().any(|known| known.start == *window && known.end <= now)
            });
            let away = known.map_or(0, |(lane, instance)| self.out_of_reach(*lane, instance, *window));
            let away = if over && !standing { return None } else { away };
            let gone = self.spent.get(&(*id, *window)).filter(|_| !over);
            let gone = gone
                .map_or(0, |spent| spent.used + spent.pinned.max(0) + spent.unknown + spent.overtaken + spent.doubted);
            let moved = self.told.moved.get(&(*id, *window)).filter(|_| !over).copied().unwrap_or(0);
            Some(rule.limit.amount - gone - moved - away)
        });
        left.min().unwrap_or(rule.limit.amount)
    }

    /// What is leased to producers whose journal was restored, beyond what they are known to have used and held.
    fn out_of_reach(&self, lane: Lane, instance: &schemas::decision::Instance, window: Time) -> i128 {
        let forked = instance.holders.iter().filter(|holder| self.forked.contains_key(&(holder.producer, lane)));
        forked
            .map(|holder| {
                holder.granted - holder.returned - in_window(&holder.used, window) - in_window(&holder.unknown, window)
            })
            .map(|away| away.max(0))
            .sum()
    }
}

/// Whether a window began so long ago that nobody can settle in it any more, or what is known of it may be forgotten.
fn is_old(start: Time, window: Window, now: Time) -> bool {
    let span = match window {
        Window::Second => 1,
        Window::Minute => 60,
        Window::Hour => 3_600,
        Window::Day => 86_400,
        Window::Week => 7 * 86_400,
        Window::Month => 31 * 86_400,
        Window::Total => return false,
    };
    now.as_micros() - start.as_micros() > span * 1_000_000
}
