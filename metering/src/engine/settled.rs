//! An attempt ended: it is charged, and its counters are taken over. Here, and nowhere else, usage becomes money.

use schemas::{
    event::{Outcome, Settled},
    ledger::{Charged, Fact},
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
            settled.posted.iter_mut().for_each(|posting| posting.used = 0);
        }
        for counter in &settled.counters {
            // A counter at home in another lane travels there in a report of its own.
            self.take_counter(origin.producer, counter);
        }
        let book = self.books.get(&settled.attempt.book).map(AsRef::as_ref);
        let charges = charges(&settled, book);
        self.write(Fact::Charged(Box::new(Charged { settled: *settled, charges })));
    }
}
