//! An amount that is lowered while more than is left of it is held: once everybody knows of it, what is left passes, and not a unit more.

use super::{
    REST, World,
    call::{Bill, Wish},
    oracle::Obligation,
};

/// What has to happen in some worlds.
pub(crate) const LOWERED: &str = "an amount is lowered below what is held of it";

/// What an open call holds, and what is left then.
const HELD: u64 = 400;
const LEFT: i128 = 40;

/// Rounds in which everybody hears of it, or in which a caller tries who has to be refused.
const ROUNDS: usize = 25;

impl World {
    /// At rest: the first limit is lowered for a while.
    pub(super) fn lower(&mut self) {
        let place = (self.steps / REST) as usize % self.doors.len();
        let wish = |bound, used| Wish {
            tenant: 0,
            user: 0,
            provider: 0,
            model: 0,
            feature: None,
            bound: Bill { input: bound, output: 0 },
            bill: Bill { input: used, output: 0 },
            hidden: false,
        };
        if !self.come_to_rest() || !self.insist(place, wish(HELD, 1)) {
            return;
        }
        let (before, now) = (self.limits[0].amount, self.clock.now());
        let left = self.oracle.left_of(&self.limits[0], now);
        self.limits[0].amount = before - left + LEFT;
        let book = self.more.index(2);
        self.publish(book);
        // Whoever is asked for what he has gives back what he can while the call is open.
        (0..ROUNDS).for_each(|_| self.round());
        if !self.come_to_rest() {
            return;
        }
        self.happens(LOWERED);
        let left = self.oracle.left_in_books(&self.limits[0]).max(0);
        let more = u64::try_from(left + 1).unwrap();
        if self.insist_for(place, wish(more, more), ROUNDS) {
            let detail = format!("{left} of {} are left, and {more} pass", self.limits[0].name);
            return self.oracle.broken(Obligation::NothingPassesBeyondWhatIsLeft, detail);
        }
        if self.come_to_rest() {
            self.ask_for_the_last(0, 0);
        }
        self.limits[0].amount = before;
        let book = self.more.index(2);
        self.publish(book);
        if self.come_to_rest() {
            self.oracle.quiet(self.clock.now());
        }
    }
}
