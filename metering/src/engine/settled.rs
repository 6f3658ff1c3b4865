//! An attempt ended: it is charged, and its counters are taken over. Here, and nowhere else, usage becomes money.
//!
//! It ends once. As long as its producer speaks for itself it alone ends what it has admitted; after that whoever took over does, and
//! whoever took over from that one. So of all who find an attempt open in copies of one journal one is heard, and nothing has to be kept
//! of an attempt for it. One whose admission was never accepted here, because its producer had been succeeded before it came, has nobody
//! who could know it: the first that finds it ends it, which is claimed.

use schemas::{
    decision::Claim,
    event::{Found, Learned, Settled},
    id::{BookHash, ClaimId},
    ledger::{Charge, Charged, Corrected, Fact},
    tokens::{Doubt, Usage},
};

use super::Engine;
use crate::{
    dedup::{self, Origin},
    fault::{self, Fault},
    replay::charges,
};

/// Who ends an attempt that was found open.
enum Whose {
    /// Who found it: its producer has handed over to it.
    Ours,
    /// Its producer, or another that took over: it has, or it will.
    Others,
    /// Nobody who was ever told of it.
    Nobodys,
}

impl Engine {
    pub(super) fn settled(&mut self, origin: Origin, mut settled: Box<Settled>) {
        match settled.found.map(|found| self.whose(origin, found)) {
            None | Some(Whose::Ours) => {}
            Some(Whose::Others) => return self.counts.ended_by_others += 1,
            Some(Whose::Nobodys) => {
                if !self.claim_end(&settled) {
                    return self.counts.ended_by_others += 1;
                }
                // Its producer's leases are free already, so it is a row, and charges nothing.
                settled.usage = Usage::missing(Doubt::Crashed);
                settled.posted.iter_mut().for_each(|posting| (posting.used, posting.provision) = (0, 0));
            }
        }
        for counter in &settled.counters {
            // A counter at home in another lane travels there in a report of its own.
            self.take_counter(origin.producer, counter);
        }
        let charges = self.rate(&settled, &settled.usage, settled.attempt.book);
        self.write(Fact::Charged(Box::new(Charged { settled: *settled, charges })));
    }

    /// Who ends an attempt that somebody found open.
    fn whose(&self, origin: Origin, found: Found) -> Whose {
        // One that is forgotten was succeeded so long ago that there is no other copy of its journal any more.
        let Some(mark) = dedup::mark(&self.state, found.producer) else { return Whose::Ours };
        if dedup::heir(&self.state, found.producer) == origin.producer || fault::is(Fault::EndedByAnybody) {
            Whose::Ours
        } else if found.seq <= mark.seq {
            Whose::Others
        } else {
            Whose::Nobodys
        }
    }

    /// Claims the end of an attempt whose admission was not accepted; false if it was claimed before.
    fn claim_end(&mut self, settled: &Settled) -> bool {
        let attempt = &settled.attempt;
        let place = format!("{}/{}", attempt.call, attempt.attempt);
        let claim = ClaimId::of([attempt.subject.tenant.as_str(), "end", "", &place]);
        let claimed = Claim { at: self.state.recorded_at, content: 0, lacks: false };
        let is_first = self.claims.insert(claim, claimed).is_none();
        self.claimed.insert(claim);
        self.state.claims = self.claims.len() as u64;
        is_first
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

    pub(super) fn rate(&self, settled: &Settled, usage: &Usage, book: BookHash) -> Vec<Charge> {
        let last = self.books.keys().max().filter(|_| fault::is(Fault::ChargedByAnotherBook));
        let book = last.copied().unwrap_or(book);
        charges(settled, usage, self.books.get(&book).map(AsRef::as_ref))
    }
}
