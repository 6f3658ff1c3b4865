//! Which counters an attempt falls under, named as those know them who keep no books of their own.
//!
//! Nothing is held here, and nothing changes.

use std::collections::BTreeSet;

use schemas::{
    event::{Attempt, Move, Posting},
    id::InstanceId,
    limit::{Limit, Mode, Unit},
    standing::Named,
    time::Time,
};

use super::{Limits, Refusal};

impl Limits {
    /// What an attempt that passed elsewhere moves of every limit that it falls under: what `of` makes of the limit's unit.
    pub fn moves(&self, attempt: &Attempt, of: impl Fn(Unit) -> i128) -> Vec<Move> {
        let book = self.lock();
        let touched = book.touched(attempt).into_iter();
        let moves = touched.filter_map(|(id, limit, values)| {
            let (home, amount) = (limit.home(&values, book.lanes()), of(limit.unit));
            let moved = Move { home, limit: id, values, window: attempt.admitted_at, amount, clears: 0 };
            // What had no price, or none to speak of, may be given one later: then this is where it counts.
            (amount != 0 || limit.unit == Unit::Usd).then_some(moved)
        });
        moves.collect()
    }

    /// The same of the counters that counted it and whose limits are out of force: `counted` are all that did, as the ledger says.
    pub(crate) fn moves_of_past(&self, counted: &BTreeSet<(InstanceId, Time)>, of: impl Fn(Unit) -> i128) -> Vec<Move> {
        let book = self.lock();
        let moves = counted.iter().filter_map(|(instance, window)| {
            let Named { home, limit, values, unit } = book.named_of_past(*instance)?;
            let amount = of(unit);
            let moved = Move { home, limit, values, window: *window, amount, clears: 0 };
            (amount != 0 || unit == Unit::Usd).then_some(moved)
        });
        moves.collect()
    }

    /// The counters of these postings, one for each, and what stays held of it.
    pub(crate) fn holding(&self, posted: &[Posting]) -> Vec<Move> {
        let book = self.lock();
        let holding = posted.iter().filter_map(|posting| {
            let slot = book.slot(posting.instance)?;
            let (home, limit, values) = (slot.home, slot.limit_id, slot.values().map(str::to_owned).collect());
            Some(Move { home, limit, values, window: posting.window, amount: 0, clears: posting.provision })
        });
        holding.collect()
    }

    /// Whether a counter that an attempt of a tenant has posted to is one that cannot be told from here yet.
    pub(crate) fn is_nameless(&self, tenant: &str, posting: &Posting) -> bool {
        self.lock().is_nameless(tenant, posting.instance)
    }

    /// The counter that an attempt of a tenant has posted to, if it is kept still: its limit may be out of force.
    pub fn named(&self, tenant: &str, posting: &Posting) -> Option<Named> {
        self.lock().named(tenant, posting.instance)
    }

    /// The name of a hard limit in dollars that an attempt falls under, if there is one.
    pub fn hard_in_dollars(&self, attempt: &Attempt) -> Option<String> {
        let touched = self.lock().touched(attempt);
        let is_meant = |limit: &Limit| limit.mode == Mode::Hard && limit.unit == Unit::Usd;
        touched.into_iter().find(|(_, limit, _)| is_meant(limit)).map(|(_, limit, _)| limit.name.clone())
    }

    /// Whether an attempt falls under the counter that a refusal is of.
    pub(crate) fn is_of(&self, refusal: &Refusal, attempt: &Attempt) -> bool {
        let book = self.lock();
        let slot = book.slot(refusal.instance);
        let mut touched = book.touched(attempt).into_iter().filter(|(_, limit, _)| limit.name == refusal.limit);
        touched.any(|(_, _, values)| slot.is_none_or(|slot| slot.is_of(&values)))
    }
}
