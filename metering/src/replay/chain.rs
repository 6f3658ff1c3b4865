//! Whether every correction took back what stood.
//!
//! What an attempt is charged is its original and then, one after the other, its corrections. To keep all attempts for the few that
//! are corrected would take the memory of the whole ledger, so this is a second pass that keeps only those. A rating by another book
//! has to take back exactly what stands. An amendment states by itself what was, since who sends it has no ledger to look at.

use std::collections::{BTreeMap, BTreeSet};

use schemas::{
    event::Why,
    id::CallId,
    ledger::{Charge, Entry, Fact},
};

use super::Difference;

/// What stands of the attempts that were corrected.
#[derive(Debug, Default)]
pub struct Chain {
    standing: BTreeMap<(CallId, u16), Option<Vec<Charge>>>,
    first: Option<Difference>,
}

impl Chain {
    pub(super) fn of(corrected: &BTreeSet<(CallId, u16)>) -> Self {
        Self { standing: corrected.iter().map(|key| (*key, None)).collect(), first: None }
    }

    /// Takes the next entry of a lane.
    pub fn take(&mut self, entry: Entry) {
        match entry.fact {
            Fact::Charged(charged) => {
                let attempt = &charged.settled.attempt;
                if let Some(standing) = self.standing.get_mut(&(attempt.call, attempt.attempt)) {
                    *standing = Some(charged.charges);
                }
            }
            Fact::Corrected(corrected) => {
                let attempt = &corrected.charged.settled.attempt;
                let (call, attempt) = (attempt.call, attempt.attempt);
                let stood = self.standing.insert((call, attempt), Some(corrected.charged.charges)).flatten();
                if corrected.was.why == Why::Rerated && stood.as_ref() != Some(&corrected.reversed) {
                    let (ledger, replay) = (corrected.reversed, stood.unwrap_or_default());
                    self.first.get_or_insert(Difference::Charges { call, attempt, ledger, replay });
                }
            }
            _ => {}
        }
    }

    /// The first correction that took back something else.
    pub fn end(self) -> Option<Difference> {
        self.first
    }
}
