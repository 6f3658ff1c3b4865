//! An attempt ended: it is charged, and its counters are taken over. Here, and nowhere else, usage becomes money.

use schemas::{
    event::Settled,
    ledger::{Charged, Fact},
};

use super::Engine;
use crate::{dedup::Origin, replay::charges};

impl Engine {
    pub(super) fn settled(&mut self, origin: Origin, settled: Box<Settled>) {
        for counter in &settled.counters {
            // A counter at home in another lane travels there in a report of its own.
            self.take_counter(origin.producer, counter);
        }
        let book = self.books.get(&settled.attempt.book).map(AsRef::as_ref);
        let charges = charges(&settled, book);
        self.write(Fact::Charged(Box::new(Charged { settled: *settled, charges })));
    }
}
