//! What was used counts from the moment when the journal has a record that says so.
//!
//! Counters are totals, and whoever reads two of them keeps the larger. So records go to the journal in the order of their counters, one
//! batch at a time, and until a batch is written what it settles is held and not used: no report and no request carries a counter that
//! holds the use of a record which a crash could take. A successor that finds the attempt open counts it once.

use std::sync::{MutexGuard, PoisonError};

use schemas::{
    event::{Counter, Posting},
    id::{InstanceId, Lane},
    map::Map,
    time::Time,
};
use smallvec::SmallVec;

use super::{Book, Limits};
use crate::fault::{self, Fault};

/// What the records of a batch settle, by counter.
#[derive(Debug, Default)]
pub(super) struct Batch(Map<InstanceId, Ending>);

/// What they settle of one counter.
#[derive(Debug, Default)]
pub(super) struct Ending {
    /// Each window with what was used of it and what stays held because it is not known.
    windows: SmallVec<[(Time, i128, i128); 1]>,
    /// Whether it is at home in a lane that none of the records goes to.
    elsewhere: bool,
}

/// The right to write the records of attempts that have ended. Dropped without [`Self::written`] it settles nothing, and the same records
/// can be written again.
pub struct Settling<'a> {
    limits: &'a Limits,
    batch: MutexGuard<'a, Batch>,
}

impl Ending {
    /// What is used and not known of a window.
    pub(super) fn of(&self, window: Time) -> (i128, i128) {
        let known = self.windows.iter().find(|(start, ..)| *start == window);
        known.map_or((0, 0), |(_, used, unknown)| (*used, *unknown))
    }

    /// What was held for all of it.
    pub(super) fn held(&self) -> i128 {
        self.windows.iter().map(|(_, used, unknown)| used + unknown).sum()
    }

    fn add(&mut self, posted: &Posting) {
        match self.windows.iter_mut().find(|(start, ..)| *start == posted.window) {
            Some((_, used, unknown)) => (*used, *unknown) = (*used + posted.used, *unknown + posted.provision),
            None => self.windows.push((posted.window, posted.used, posted.provision)),
        }
    }
}

impl Limits {
    /// Waits for who writes such records, and keeps others from it.
    pub fn settling(&self) -> Settling<'_> {
        let mut batch = self.settling.lock().unwrap_or_else(PoisonError::into_inner);
        batch.0.clear();
        Settling { limits: self, batch }
    }
}

impl Settling<'_> {
    /// The counters that go with the next record, which goes to the lane of its tenant.
    pub fn counters(&mut self, tenant: Lane, posted: &[Posting]) -> Vec<Counter> {
        let mut book = self.limits.lock();
        let mut counters = Vec::with_capacity(posted.len());
        for posting in posted {
            let Some(slot) = book.slot_mut(posting.instance) else { continue };
            let ending = self.batch.0.entry(posting.instance).or_default();
            ending.elsewhere |= slot.home != tenant;
            if !fault::is(Fault::CountedUnwritten) {
                ending.add(posting);
            }
            counters.push(slot.ending(posting.window, ending));
        }
        counters
    }

    /// The journal has all of the records. Counters at home in other lanes are reported there as well.
    pub fn written(self) {
        if self.batch.0.is_empty() {
            return;
        }
        let book: &mut Book = &mut self.limits.lock();
        for (instance, ending) in &self.batch.0 {
            let Some(slot) = book.slot_mut(*instance) else { continue };
            ending.windows.iter().for_each(|(window, used, unknown)| slot.settle(*window, *used, *unknown));
            if ending.elsewhere {
                let home = slot.mark();
                book.hurry(home);
            }
        }
    }

    /// A mistake: all of it counts before anything says so.
    pub(super) fn settle(self, posted: &[Posting]) {
        let mut book = self.limits.lock();
        for posting in posted {
            let slot = book.slot_mut(posting.instance);
            slot.into_iter().for_each(|slot| slot.settle(posting.window, posting.used, posting.provision));
        }
    }
}
