//! What the oracle knows of usage that was told and of corrections: each has its effect once, in every lane, and exactly.

use std::collections::{BTreeMap, BTreeSet};

use schemas::{
    decision::{Holder, Instance},
    event::Learned,
    id::{CallId, InstanceId, Lane, LimitId},
    ledger::{Adjusted, Charge, Charged, Corrected},
    limit::Unit,
    time::Time,
};

use super::{
    Obligation, Oracle,
    books::cost,
    tariff::{amount, stands, values},
};
use crate::world::call::{Bill, Wish};

/// What was told, and what became of it.
#[derive(Default)]
pub(crate) struct Told {
    calls: BTreeMap<CallId, Tale>,
    /// Corrections by id, and how often they stand in the ledger.
    corrections: BTreeMap<String, Correction>,
    /// Which lanes have adjusted for which source and id.
    adjusted: BTreeSet<(Lane, String, String)>,
    /// What was added to counters.
    pub(super) moved: BTreeMap<(InstanceId, Time), i128>,
    /// What of that is of attempts that providers bill by themselves.
    pub(super) amended: BTreeMap<(InstanceId, Time), i128>,
    /// What was cleared of provisions.
    cleared: BTreeMap<(InstanceId, Time), i128>,
    /// How many amendments have lost against another and were not told so yet.
    losers: usize,
    /// What attempts are said to have used by the amendment that stands.
    stated: BTreeMap<(CallId, u16), Bill>,
    /// How far counters may be overdrawn: by what was added, and what was leased of them then.
    pub(super) overdrawn: BTreeMap<(InstanceId, Time), i128>,
}

/// One thing that was told.
struct Tale {
    wish: Wish,
    written: bool,
    excused: bool,
    rows: u32,
    /// Counters that were moved, or gone.
    moves: usize,
    /// How many it is about, at each of the gateways that it was told at.
    about: BTreeSet<usize>,
}

/// One correction: by which book, or, of an amendment, what stood before.
struct Correction {
    tale: Tale,
    book: usize,
    amends: Option<Amends>,
}

/// An amendment of an attempt.
struct Amends {
    stood: Bill,
    /// Whether it says the whole, and frees what was held for the rest.
    whole: bool,
    /// What was posted of each counter for the attempt.
    left: Vec<super::Left>,
    /// How many of them it has to move.
    due: std::ops::RangeInclusive<usize>,
    /// The other amendment, if there are two.
    rival: Option<String>,
}

impl Tale {
    const fn of(wish: Wish) -> Self {
        Self { wish, written: false, excused: false, rows: 0, moves: 0, about: BTreeSet::new() }
    }
}

impl Oracle {
    /// Another system tells of this, at a gateway that of the limits of a name knows this one.
    pub(crate) fn told(&mut self, call: CallId, wish: Wish, known: Option<LimitId>) {
        let about = self.rules.iter().filter(|rule| {
            let counts = amount(rule.limit.unit, &wish, 0, wish.bill) != 0;
            counts && rule.is_known(known) && values(&rule.limit, &wish).is_some()
        });
        let about = about.count();
        self.told.calls.entry(call).or_insert_with(|| Tale::of(wish)).about.insert(about);
    }

    /// An attempt is to cost what another book says.
    pub(crate) fn corrects(&mut self, learned: &Learned, book: usize) {
        let attempt = &learned.is.attempt;
        let key = (attempt.call, attempt.attempt);
        let stated = self.told.stated.get(&key).copied();
        let known = self.attempts.get(&key).map(|seen| Wish { bill: stated.unwrap_or(seen.wish.bill), ..seen.wish });
        let Some(wish) = known.or_else(|| Some(self.told.calls.get(&attempt.call)?.wish)) else {
            return self.broken(Obligation::ChargesAreExact, format!("{} corrects nothing known", learned.id));
        };
        self.told.corrections.insert(learned.id.clone(), Correction { tale: Tale::of(wish), book, amends: None });
    }

    /// What an attempt was billed, if there is a row of it, it was not lost on the way and its holds are out of nobody's reach.
    pub(crate) fn billed(&self, key: (CallId, u16)) -> Option<Bill> {
        let seen = self.attempts.get(&key).filter(|seen| !seen.lost && !seen.gone && seen.sent && seen.rows == 1)?;
        let forked = self.forked.keys().any(|(producer, _)| *producer == seen.producer);
        (!forked).then_some(seen.wish.bill)
    }

    /// An attempt is told to have used so much.
    pub(crate) fn amends(&mut self, learned: &Learned, bill: Bill, whole: bool) {
        let attempt = &learned.is.attempt;
        let Some(seen) = self.attempts.get(&(attempt.call, attempt.attempt)) else {
            return self.broken(Obligation::ChargesAreExact, format!("{} amends nothing known", learned.id));
        };
        let total = learned.was.as_ref().and_then(|was| was.usage.total()).unwrap_or_default();
        let stood = Bill { input: total.uncached_input, output: total.output };
        let (wish, book, left) = (Wish { bill, ..seen.wish }, seen.book, seen.left.clone());
        // Of a counter whose window metering keeps no more it may be said that it is gone, if whoever amends still knows its name.
        let moves = left.iter().filter(|left| self.due(left, (&wish, book, stood, whole)) != (0, 0));
        let (kept, gone): (Vec<&super::Left>, Vec<_>) = moves.partition(|left| {
            let kept = self.books.instances.get(&left.hold.instance).map(|(_, instance)| instance);
            let is_kept = kept.is_some_and(|kept| kept.windows.iter().any(|known| known.start == left.hold.window));
            is_kept && self.rules[left.rule].in_force
        });
        let due = kept.len()..=kept.len() + gone.len();
        let amends = Some(Amends { stood, whole, due, left, rival: None });
        let correction = Correction { tale: Tale::of(wish), book, amends };
        self.told.corrections.insert(learned.id.clone(), correction);
    }

    /// Two amendments of one attempt take the place of the same: one of them stands, and of the other an alarm is raised.
    pub(crate) fn rivals(&mut self, one: &str, other: &str) {
        for (of, rival) in [(one, other), (other, one)] {
            let amends = self.told.corrections.get_mut(of).and_then(|known| known.amends.as_mut());
            amends.into_iter().for_each(|amends| amends.rival = Some(rival.to_owned()));
        }
        self.told.losers += 1;
    }

    /// An alarm says that something was said otherwise before; false if that has no cause.
    pub(super) fn has_lost(&mut self) -> bool {
        self.told.losers.checked_sub(1).map(|left| self.told.losers = left).is_some()
    }

    /// It is in a journal, or no longer.
    pub(super) fn told_written(&mut self, learned: &Learned, written: bool) {
        let tale = match &learned.was {
            Some(_) => self.told.corrections.get_mut(&learned.id).map(|known| &mut known.tale),
            None => self.told.calls.get_mut(&learned.is.attempt.call),
        };
        if let Some(tale) = tale {
            tale.written |= written;
            tale.excused |= !written;
        }
    }

    /// A row of something that was told; false if it is none.
    pub(super) fn told_row(&mut self, charged: &Charged) -> bool {
        let settled = &charged.settled;
        let Some(tale) = self.told.calls.get_mut(&settled.attempt.call) else { return false };
        tale.rows += 1;
        let (rows, wish) = (tale.rows, tale.wish);
        if rows > 1 {
            self.broken(Obligation::NothingIsChargedTwice, format!("{} is told in {rows} rows", settled.attempt.call));
        }
        let usage = settled.usage.total().map(|total| Bill { input: total.uncached_input, output: total.output });
        let fits = |book| amount(Unit::Usd, &wish, book, wish.bill) == sum(&charged.charges);
        if usage != Some(wish.bill) || !(fits(0) || fits(1)) {
            let detail = format!("{:?} was told and {usage:?} is charged, {}", wish.bill, sum(&charged.charges));
            self.broken(Obligation::ChargesAreExact, detail);
        }
        true
    }

    pub(super) fn corrected(&mut self, corrected: &Corrected) {
        let Corrected { id, reversed, charged, .. } = corrected;
        let Some(Correction { tale, book, amends }) = self.told.corrections.get_mut(id) else {
            return self.broken(Obligation::NothingIsChargedTwice, format!("{id} is corrected by nobody"));
        };
        tale.rows += 1;
        let (rows, wish, book, stood) = (tale.rows, tale.wish, *book, amends.as_ref().map(|amends| amends.stood));
        if rows > 1 {
            self.broken(Obligation::NothingIsChargedTwice, format!("{id} corrects {rows} times"));
        }
        let (attempt, total) = (&charged.settled.attempt, charged.settled.usage.total().unwrap_or_default());
        let bill = Bill { input: total.uncached_input, output: total.output };
        self.counts_late(&charged.settled, Some(&corrected.was.usage));
        if stood.is_some() {
            self.told.stated.insert((attempt.call, attempt.attempt), bill);
        }
        let was = |book| amount(Unit::Usd, &wish, book, stood.unwrap_or(bill)) == sum(reversed);
        if sum(&charged.charges) != amount(Unit::Usd, &wish, book, bill) || !(was(0) || was(1)) {
            self.broken(Obligation::ChargesAreExact, format!("{id} takes back {} wrongly", sum(reversed)));
        }
        self.books.corrected += sum(&charged.charges) - sum(reversed);
    }

    pub(super) fn adjusted(&mut self, lane: Lane, adjusted: &Adjusted) {
        let Adjusted { source, id, call, posted, gone, .. } = adjusted;
        if source == metering::backfill::SOURCE {
            // Whether that is so is looked at when nothing is under way.
            for posting in posted {
                *self.told.moved.entry((posting.instance, posting.window)).or_default() += posting.used;
            }
            return;
        }
        if !self.told.adjusted.insert((lane, source.clone(), id.clone())) {
            self.broken(Obligation::NothingIsChargedTwice, format!("{id} of {source} moves lane {} twice", lane.0));
        }
        if self.told.corrections.get(id).is_some_and(|correction| correction.amends.is_some()) {
            return self.cleared(adjusted);
        }
        let corrects = self.told.corrections.get_mut(id).map(|correction| (true, &mut correction.tale));
        let told = corrects.or_else(|| self.told.calls.get_mut(call).map(|tale| (false, tale)));
        let Some((corrects, tale)) = told else {
            return self.broken(Obligation::BalancesAreTheLedger, format!("{id} of {source} was told by nobody"));
        };
        tale.moves += posted.len() + gone.len();
        let wish = tale.wish;
        let mut wrong = Vec::new();
        for posting in posted {
            let place = (posting.instance, posting.window);
            *self.told.moved.entry(place).or_default() += posting.used;
            let means = |rule: &&super::Rule| {
                values(&rule.limit, &wish).is_some_and(|values| {
                    let window = (!stands(rule.limit.window)).then_some(posting.window);
                    InstanceId::of(rule.id, &values, window) == posting.instance
                })
            };
            let Some(rule) = self.rules.iter().find(means) else {
                wrong.push(format!("{id} moves a counter that is not its own"));
                continue;
            };
            let fits = |book| amount(rule.limit.unit, &wish, book, wish.bill) == posting.used;
            if !corrects && !fits(0) && !fits(1) || corrects && rule.limit.unit != Unit::Usd {
                wrong.push(format!("{id} moves {} of {}", posting.used, rule.limit.name));
            }
        }
        wrong.into_iter().for_each(|detail| self.broken(Obligation::BalancesAreTheLedger, detail));
    }

    /// What an amendment adds to a counter, and what it clears of its provision.
    fn due(&self, left: &super::Left, (wish, book, stood, whole): (&Wish, usize, Bill, bool)) -> (i128, i128) {
        let unit = self.rules[left.rule].limit.unit;
        let more = match unit {
            Unit::Requests => 1 - left.used,
            _ => amount(unit, wish, book, wish.bill) - amount(unit, wish, book, stood),
        };
        (more, if whole { left.unknown } else { left.unknown.min(more) })
    }

    /// An amendment moves each counter of its attempt by what is known more, and clears of its provision as much, or all of it.
    fn cleared(&mut self, adjusted: &Adjusted) {
        let Adjusted { id, posted, .. } = adjusted;
        let correction = self.told.corrections.get_mut(id);
        let Some(Correction { tale, book, amends: Some(amends) }) = correction else { return };
        tale.moves += posted.len() + adjusted.gone.len();
        let (wish, book, stood, whole, left) = (tale.wish, *book, amends.stood, amends.whole, amends.left.clone());
        for posting in posted {
            let (place, cleared) = ((posting.instance, posting.window), -posting.provision);
            let own = left.iter().find(|left| (left.hold.instance, left.hold.window) == place);
            let Some(own) = own.copied() else {
                let detail = format!("{id} moves a counter that its attempt did not");
                self.broken(Obligation::BalancesAreTheLedger, detail);
                continue;
            };
            let (more, most) = self.due(&own, (&wish, book, stood, whole));
            if (posting.used, cleared) != (more, most) {
                let detail = format!(
                    "{id} moves {} and clears {cleared} of {}, and it is {more} and {most}",
                    posting.used, self.rules[own.rule].limit.name
                );
                self.broken(Obligation::AmendmentsAreExact, detail);
            }
            for (sums, amount) in [
                (&mut self.told.moved, posting.used),
                (&mut self.told.amended, posting.used),
                (&mut self.told.cleared, cleared),
            ] {
                *sums.entry(place).or_default() += amount;
            }
            let spent = self.spent.entry(place).or_default();
            spent.unknown -= cleared.min(own.sure);
            spent.said -= cleared;
        }
    }

    /// What has happened elsewhere is added whatever is left, and what is leased by then may still be spent.
    pub(super) fn overdraws(&mut self, old: Option<&Instance>, new: &Instance) {
        for window in &new.windows {
            let before = old.and_then(|old| old.windows.iter().find(|before| before.start == window.start));
            if window.adjusted > before.map_or(0, |before| before.adjusted) {
                let spent = |holder: &Holder| {
                    let totals = holder.used.iter().chain(&holder.unknown);
                    totals.filter(|(start, _)| *start == window.start).map(|(_, total)| *total).sum::<i128>()
                };
                let taken = new.holders.iter().map(|holder| spent(holder).max(holder.granted - holder.returned));
                let reached = window.adjusted + taken.sum::<i128>();
                let known = self.told.overdrawn.entry((new.id, window.start)).or_default();
                *known = reached.max(*known);
            }
        }
    }

    /// At rest: what is in a journal for good has a row and has moved every counter that it is about, and the counters are moved by
    /// that and nothing else.
    pub(super) fn told_is_done(&mut self) {
        let mut broken = Vec::new();
        for (call, tale) in &mut self.told.calls {
            if !tale.written || tale.excused {
                continue;
            }
            if tale.rows != 1 || !tale.about.contains(&tale.moves) {
                let Tale { rows, moves, about, .. } = tale;
                broken.push(format!("{call} was told: {rows} rows, {moves} of {about:?} counters"));
            }
            tale.excused = true;
        }
        let rows: BTreeMap<String, u32> =
            self.told.corrections.iter().map(|(id, correction)| (id.clone(), correction.tale.rows)).collect();
        for (id, Correction { tale, amends, .. }) in &mut self.told.corrections {
            let rival = amends.as_ref().and_then(|amends| rows.get(amends.rival.as_ref()?)).copied();
            let due = amends.as_ref().map_or(tale.moves..=tale.moves, |amends| amends.due.clone());
            let (due, wanted) = if rival == Some(1) { (0..=0, 0) } else { (due, 1) };
            if tale.written && !tale.excused && (tale.rows != wanted || !due.contains(&tale.moves)) {
                let (rows, moves) = (tale.rows, tale.moves);
                broken.push(format!("{id} was told and corrects {rows} times, and moves {moves} of {due:?} counters"));
            }
            tale.excused = true;
        }
        broken.into_iter().for_each(|detail| self.broken(Obligation::NoCallIsUnaccounted, detail));
        let mut broken = Vec::new();
        for (_, instance) in self.books.instances.values() {
            for window in &instance.windows {
                let moved = self.told.moved.get(&(instance.id, window.start)).copied().unwrap_or(0);
                if moved != window.adjusted {
                    let known = (instance.id, window.start);
                    broken.push(format!("{known:?} is adjusted by {}, the ledger says {moved}", window.adjusted));
                }
                let cleared = self.told.cleared.get(&(instance.id, window.start)).copied().unwrap_or(0);
                if cleared != window.cleared {
                    let known = (instance.id, window.start);
                    broken.push(format!("{known:?} has {} cleared, the ledger says {cleared}", window.cleared));
                }
            }
        }
        broken.into_iter().for_each(|detail| self.broken(Obligation::BalancesAreTheLedger, detail));
    }
}

fn sum(charges: &[Charge]) -> i128 {
    charges.iter().map(|charge| cost(&charge.price)).sum()
}
