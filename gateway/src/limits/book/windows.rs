//! The windows of the limits, as metering published them, and how far back they may still be gone into.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use schemas::{
    id::LimitId,
    limit::{self, Schedule},
    map::Map,
    time::Time,
};

use crate::{
    fault::{self, Fault},
    limits::slot::Slot,
};

/// What is known of windows.
#[derive(Debug, Default)]
pub(super) struct Windows {
    boundaries: Map<LimitId, Arc<[Time]>>,
    /// Limits of one kind of window mostly have the same boundaries: these are all there are.
    known: HashSet<Arc<[Time]>>,
    /// By limit, the first instant that may still be spent in: what was known of the time before has been let go of.
    floors: HashMap<LimitId, Time>,
}

impl Windows {
    /// Takes over the windows of a limit.
    pub(super) fn publish(&mut self, Schedule { limit, boundaries }: Schedule) {
        if self.boundaries.get(&limit).is_some_and(|known| known.last() > boundaries.last()) {
            return;
        }
        let known = self.known.get(&boundaries[..]).cloned().unwrap_or_else(|| {
            self.known.retain(|known| Arc::strong_count(known) > 1);
            let new: Arc<[Time]> = boundaries.into();
            self.known.insert(Arc::clone(&new));
            new
        });
        self.boundaries.insert(limit, known);
    }

    /// The window of a limit that holds `at`, or the first that may still be spent in; nothing if it is not published.
    pub(super) fn of(&self, limit: LimitId, at: Time) -> Option<(Time, Time)> {
        // The clock may have gone back since something was let go of; the window does not.
        let floor = self.floors.get(&limit).copied().unwrap_or(Time::ZERO);
        limit::window(self.boundaries.get(&limit)?, at.max(floor))
    }

    /// The same, for a call; where a fault is planted, by a calendar of our own.
    pub(super) fn of_call(&self, limit: LimitId, at: Time) -> Option<(Time, Time)> {
        let window = self.of(limit, at)?;
        let off = |at: Time| at.after(Duration::from_secs(1_800));
        let own = fault::is(Fault::OwnCalendar) && window.1 != Time::MAX;
        Some(if own { (off(window.0), off(window.1)) } else { window })
    }

    /// Leads calls into the next window of a slot that serves every window; nothing where each has its own.
    pub(super) fn turn(&self, slot: &mut Slot, at: Time) -> Option<(Time, Time)> {
        let window = self.of_call(slot.limit_id, at).filter(|_| slot.terms.stands)?;
        slot.enter(window);
        Some(window)
    }

    /// The window of a limit that holds `at`, whatever was let go of.
    pub(super) fn at(&self, limit: LimitId, at: Time) -> Option<(Time, Time)> {
        limit::window(self.boundaries.get(&limit)?, at)
    }

    /// Nothing of a limit is spent before this instant any more; gives the latest that was said.
    pub(super) fn close(&mut self, limit: LimitId, until: Time) -> Time {
        let floor = self.floors.entry(limit).or_insert(until);
        *floor = until.max(*floor);
        *floor
    }
}
