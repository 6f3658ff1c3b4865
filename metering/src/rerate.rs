//! What past attempts would have cost by another book. Nothing is written: the ledger stays as it is.
//!
//! An attempt is rated as it was then, by the class, tier and time of its own facts; only the book is another. What has no price in
//! one of the books is counted apart and never as nothing.

use std::collections::BTreeMap;

use schemas::{
    ledger::{Charge, Entry, Fact, Rated},
    money::Pico,
    price::Book,
    time::Time,
};

use crate::replay::charges;

/// The sums of the attempts of one tenant and model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Attempts that had usage.
    pub attempts: u64,
    /// As the ledger has them.
    pub before: Side,
    /// By the other book.
    pub after: Side,
}

/// Charges by one book.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// What those that have a price cost.
    pub cost: Pico,
    /// How many have none.
    pub unpriced: u64,
}

/// Attempts of a time, rated again.
#[derive(Debug)]
pub struct Rerate<'b> {
    book: &'b Book,
    from: Time,
    to: Time,
    /// By tenant and model.
    pub sums: BTreeMap<(String, String), Sums>,
}

impl<'b> Rerate<'b> {
    /// Rates what was admitted at `from` or later and before `to`.
    pub const fn new(book: &'b Book, from: Time, to: Time) -> Self {
        Self { book, from, to, sums: BTreeMap::new() }
    }

    /// Takes the next entry of the ledger.
    pub fn take(&mut self, entry: &Entry) {
        let Fact::Charged(charged) = &entry.fact else { return };
        let attempt = &charged.settled.attempt;
        if attempt.admitted_at < self.from || attempt.admitted_at >= self.to || charged.charges.is_empty() {
            return;
        }
        let sums = self.sums.entry((attempt.subject.tenant.clone(), attempt.model.clone())).or_default();
        sums.attempts += 1;
        sums.before.add(&charged.charges);
        sums.after.add(&charges(&charged.settled, Some(self.book)));
    }
}

impl Side {
    fn add(&mut self, charges: &[Charge]) {
        for charge in charges {
            match charge.price {
                Rated::Priced { cost, .. } => self.cost += cost,
                Rated::Unpriced(_) => self.unpriced += 1,
            }
        }
    }
}
