//! What of its lease a gateway may not spend and gives back: what it is asked for, and what is taken beyond an amount.
//!
//! Where L-1 does not hold (an amount was lowered, another system told of more, a bill ran past its hold) a lease is good for what the
//! others leave of the amount, and no more. That is asked of each hold for as long as it is so, and what is beyond it is returned
//! whenever it is neither used nor held any more: a recall is obeyed once, and finds nothing of what is in use at that moment.

use schemas::{decision::WindowState, id::ProducerId, limit::Mode, time::Time};

use super::{Slot, Spent};
use crate::fault::{self, Fault};

impl Slot {
    /// Looks whether more is taken of some window than the amount, so that it need not be asked of each hold where it is not so.
    pub(super) fn look(&mut self, me: ProducerId) {
        let is_leased = self.terms.mode == Mode::Hard && !fault::is(Fault::OverdrawnSpent);
        self.is_over = is_leased && self.most_over(me, |_| true) > 0;
    }

    /// Whether L-1 may not hold.
    pub(crate) const fn is_over(&self) -> bool {
        self.is_over
    }

    /// By how much more is taken of a window than the amount, as far as is known here.
    pub(super) fn over(&self, me: ProducerId, window: Time) -> i128 {
        (-self.free(me, window)).max(0)
    }

    /// Whether a window has no room for so much even if nobody else held or had leased any of it: what was used nobody gives back.
    pub(crate) fn is_spent(&self, me: ProducerId, window: Time, need: i128) -> bool {
        self.settled(me, window) + self.unknown(me, window) + self.spent(window).held + need > self.limit.amount
    }

    /// The most of that among the windows that `lasts` says, and, where leases stand, the next: that is taken by the leases alone.
    fn most_over(&self, me: ProducerId, lasts: impl Fn(&WindowState) -> bool) -> i128 {
        let known = self.view.iter().flat_map(|view| &view.windows);
        let known = known.filter(|window| lasts(window)).map(|window| window.start);
        let ahead = self.terms.stands.then_some(Time::MAX);
        known.chain(ahead).map(|window| self.over(me, window)).max().unwrap_or(0)
    }

    /// Returns what it may not spend, as far as it is spare. In the window of which most is taken no hold could have been taken of it;
    /// what another one lacks then is asked for.
    pub(crate) fn give_back_over(&mut self, me: ProducerId, now: Time) {
        if !self.is_over {
            return;
        }
        let returned = self.spare().min(self.most_over(me, |window| now < window.end));
        if returned > 0 {
            self.give(returned);
            self.look(me);
        }
    }

    /// Returns what it was asked for and nobody here has taken meanwhile.
    pub(crate) fn give_back_recalled(&mut self) {
        if let Some(recall) = self.due.take() {
            self.recall = self.recall.max(recall);
            self.give_back();
        }
    }

    /// What of its lease is neither used nor held in any window that lasts, nor held in another. What may have been used is used.
    pub(crate) fn spare(&self) -> i128 {
        let lasting = self.windows.iter().filter(|spent| !spent.over || spent.held > 0);
        let busy = lasting.map(Spent::busy).max().unwrap_or(0);
        self.lease() - busy
    }

    /// Returns everything that is not used or held in any window.
    pub(crate) fn give_back(&mut self) {
        self.give(self.spare().max(0));
    }

    const fn give(&mut self, returned: i128) {
        self.returned += returned;
        self.version += 1;
        self.dirty = true;
    }
}
