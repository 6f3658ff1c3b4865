//! What was used counts from the moment when the journal has a record that says so.
//!
//! Counters are totals, and whoever reads two of them keeps the larger. So records go to the journal in the order of their counters, one
//! batch at a time, and until a batch is written what it settles is held and not used: no report and no request carries a counter that
//! holds the use of a record which a crash could take. A successor that finds the attempt open counts it once.

use std::sync::{MutexGuard, PoisonError};

use schemas::{
    event::{Counter, Posting},
    id::Lane,
    time::Time,
};

use super::{Limits, book::Place};
use crate::fault::{self, Fault};

/// The windows that the records of a batch settle in.
pub(super) type Batch = Vec<Ending>;

/// A window of a counter that records settle in, at home in a lane that they may not go to.
#[derive(Debug)]
pub(super) struct Ending {
    place: Place,
    window: Time,
    elsewhere: bool,
}

/// The right to write the records of attempts that have ended. Dropped without [`Self::written`] it settles nothing, and the same records
/// can be written again.
pub struct Settling<'a> {
    limits: &'a Limits,
    batch: MutexGuard<'a, Batch>,
}

impl Limits {
    /// Waits for who writes such records, and keeps others from it.
    pub fn settling(&self) -> Settling<'_> {
        Settling { limits: self, batch: self.settling.lock().unwrap_or_else(PoisonError::into_inner) }
    }
}

impl Settling<'_> {
    /// The counters that go with the next record, which goes to the lane of its tenant.
    pub fn counters(&mut self, tenant: Lane, posted: &[Posting]) -> Vec<Counter> {
        let mut book = self.limits.lock();
        let mut counters = Vec::with_capacity(posted.len());
        for posting in posted {
            let Some((place, slot)) = book.place_mut(posting.instance) else { continue };
            if !fault::is(Fault::CountedUnwritten) {
                slot.begin(posting.window, posting.used, posting.provision);
            }
            counters.push(slot.ending(posting.window));
            self.batch.push(Ending { place, window: posting.window, elsewhere: slot.home != tenant });
        }
        counters
    }

    /// The journal has all of the records. Counters at home in other lanes are reported there as well.
    pub fn written(mut self) {
        self.end(true);
    }

    /// A mistake: all of it counts before anything says so.
    pub(super) fn too_early(mut self, posted: &[Posting]) {
        for posting in posted {
            let mut book = self.limits.lock();
            let Some((place, slot)) = book.place_mut(posting.instance) else { continue };
            slot.begin(posting.window, posting.used, posting.provision);
            self.batch.push(Ending { place, window: posting.window, elsewhere: false });
        }
        self.end(true);
    }

    fn end(&mut self, is_written: bool) {
        if self.batch.is_empty() {
            return;
        }
        let mut book = self.limits.lock();
        for Ending { place, window, elsewhere } in self.batch.drain(..) {
            let Some(slot) = book.at_mut(place) else { continue };
            slot.end(window, is_written);
            if elsewhere && is_written {
                let home = slot.mark();
                book.hurry(home);
            }
        }
    }
}

impl Drop for Settling<'_> {
    fn drop(&mut self) {
        self.end(false);
    }
}
