//! An attempt ended: it is charged, and its counters are taken over. Here, and nowhere else, usage becomes money.

use schemas::{
    event::{Learned, Outcome, Settled},
    id::BookHash,
    ledger::{Charge, Charged, Corrected, Fact},
    tokens::{Doubt, Usage},
};

use super::Engine;
use crate::{
    dedup::{self, Origin},
    replay::charges,
};

impl Engine {
    pub(super) fn settled(&mut self, origin: Origin, mut settled: Box<Settled>) {
        let forked = dedup::mark(&self.state, origin.producer).is_some_and(|mark| mark.forked);
        if forked && settled.outcome == Outcome::Unknown {
            // The other copy of the journal may have settled it: it is a row, and charges nothing. The lease stays counted as spent.
            settled.usage = Usage::missing(Doubt::Crashed);
            settled.posted.iter_mut().for_each(|posting| (posting.used, posting.provision) = (0, 0));
        }
        for counter in &settled.counters {
            // A counter at home in another lane travels there in a report of its own.
            self.take_counter(origin.producer, counter);
        }
        let charges = self.rate(&settled, &settled.usage, settled.attempt.book);
        self.write(Fact::Charged(Box::new(Charged { settled: *settled, charges })));
    }

    /// What was learned is charged; what it takes the place of is taken back, as it was charged.
    pub(super) fn charge(&mut self, learned: Learned) {
        let Learned { source, id, was, is, .. } = learned;
        let charges = self.rate(&is, &is.usage, is.attempt.book);
        let reversed = was.as_ref().map(|was| self.rate(&is, &was.usage, was.book));
        let charged = Charged { settled: is, charges };
        self.write(match was.zip(reversed) {
            Some((was, reversed)) => Fact::Corrected(Box::new(Corrected { source, id, was, reversed, charged })),
            None => Fact::Charged(Box::new(charged)),
        });
    }

    fn rate(&self, settled: &Settled, usage: &Usage, book: BookHash) -> Vec<Charge> {
        charges(settled, usage, self.books.get(&book).map(AsRef::as_ref))
    }
}
