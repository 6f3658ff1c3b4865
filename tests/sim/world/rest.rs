//! Rest: faults heal, what is open ends, everything arrives; then the oracle adds up, and the last affordable unit is asked for.

use std::time::Duration;

use gateway::settlement::End;
use schemas::{limit::Unit, time::Time};

use super::{
    World,
    call::{Bill, Stage, Wish},
    oracle::Obligation,
    policy::ABANDON_AFTER,
};

/// Rounds until everything has to have come to rest: a minute of 20 ms each.
const ROUNDS: usize = 3_000;

/// Rounds that a caller tries for what it can afford, again and again: what is out waits for a recall and a return.
const TRIES: usize = 1_500;

/// Rounds that a caller tries who may be refused for other reasons.
const INSISTENCE: usize = 150;

/// Turns that metering makes in a round at most: it takes one request for a lease a lane and turn.
const TURNS: usize = 8;

impl World {
    pub(super) fn rest(&mut self) {
        self.heal();
        if !self.come_to_rest() {
            return;
        }
        self.oracle.quiet(self.clock.now());
        #[cfg(feature = "query")]
        self.shelf.add_up(&self.road, &mut self.oracle);
        if !self.amend() || !self.correct() {
            return;
        }
        // The third is under a soft limit, which refuses by what it knows.
        for tenant in 0..2 {
            let user = self.dice.index(2);
            // What was asked for before is settled first.
            if !self.come_to_rest() {
                return;
            }
            self.ask_for_the_last(tenant, user);
        }
        if self.come_to_rest() {
            self.oracle.quiet(self.clock.now());
            self.give_more();
            self.give_one_up();
            self.lower();
            if self.more.one_in(3) && self.oracle.violations.is_empty() && self.come_to_rest() {
                self.bring_late();
            }
        }
        self.recent.clear();
        self.road.forget();
        self.oracle.forget();
        self.road.lock().calm = false;
        let away = if self.dice.one_in(3) { self.dice.below(7_200) } else { self.dice.below(60) };
        self.clock.pass(Duration::from_secs(away));
    }

    fn heal(&mut self) {
        for place in 0..self.doors.len() {
            self.doors[place].cut_off = false;
            // Clocks are set right; those that were fast have opened windows that they stay in.
            self.doors[place].clock.set_skew(self.dice.below(400_000) as i64);
            self.doors[place].platter.lock().unwrap().full = false;
            self.start_door(place);
        }
        for place in 0..self.members.len() {
            if self.members[place].is_none() {
                self.start_again(place);
            }
        }
        self.road.lock().calm = true;
    }

    pub(super) fn come_to_rest(&mut self) -> bool {
        for _ in 0..ROUNDS {
            self.round();
            for place in 0..self.doors.len() {
                self.end_calls(place);
            }
            let open = |door: &super::Door| {
                door.process.as_ref().is_some_and(|process| process.calls.is_empty() && process.is_quiet())
            };
            if self.doors.iter().all(open) && self.road.lock().is_read() {
                (0..self.doors.len()).for_each(|place| self.obey(place));
                if self.doors.iter().all(open) {
                    return true;
                }
            }
            if !self.oracle.violations.is_empty() {
                return false;
            }
        }
        let left: Vec<String> = self
            .doors
            .iter()
            .map(|door| format!("{} {:?}", door.name, door.platter.lock().unwrap().unconfirmed()))
            .collect();
        self.oracle.broken(Obligation::ItComesToRest, format!("what is not confirmed: {left:?}"));
        false
    }

    /// A little time in which everything goes well.
    pub(super) fn round(&mut self) {
        self.clock.pass(Duration::from_millis(20));
        for place in 0..self.doors.len() {
            self.report(place);
            self.flush_all(place);
            self.doors[place].platter.lock().unwrap().sync();
            self.ship(place);
            let door = &mut self.doors[place];
            if let Some(process) = &mut door.process {
                (0..usize::from(super::LANES)).for_each(|lane| process.deliver(&self.road, lane, usize::MAX));
            }
        }
        for _ in 0..TURNS {
            (0..self.members.len()).for_each(|place| self.turn(place));
            if self.road.lock().is_read() {
                break;
            }
        }
        (0..self.doors.len()).for_each(|place| self.obey(place));
        self.shelve();
    }

    pub(super) fn end_calls(&mut self, place: usize) {
        let count = |world: &Self| world.doors[place].process.as_ref().map_or(0, |process| process.calls.len());
        for at in (0..count(self)).rev() {
            let Some(process) = &mut self.doors[place].process else { return };
            match process.calls[at].stage {
                Stage::Sent if process.calls[at].growing => {}
                Stage::Sent if process.calls[at].has_room() => self.end(place, at, End::Complete),
                Stage::Sent => self.end(place, at, End::Cut),
                Stage::Waiting => {
                    let call = process.calls.swap_remove(at);
                    process.finish(call.before, false);
                }
                Stage::Admitted => {}
            }
        }
    }

    /// Once faults heal, what a caller can afford to the last unit passes at any gateway.
    pub(super) fn ask_for_the_last(&mut self, tenant: usize, user: usize) {
        let nothing = Bill::default();
        let (model, provider) = (0, self.dice.index(2));
        let wish = Wish { tenant, user, provider, model, feature: None, bound: nothing, bill: nothing, hidden: false };
        let place = self.dice.index(self.doors.len());
        let before = self.passed;
        let mut least = i128::MAX;
        for _ in 0..TRIES {
            let now = self.doors[place].clock.now();
            let Some(view) = self.doors[place].process.as_ref().and_then(|process| process.view.load()) else { return };
            let book = usize::from(view.policy.book == self.books[1].hash());
            let tokens = self.affordable(&wish, book, now);
            least = least.min(tokens);
            if tokens < 1 || !self.oracle.violations.is_empty() {
                return;
            }
            let input = u64::try_from(tokens).unwrap_or(u64::MAX).min(1_000_000);
            let bill = Bill { input, output: 0 };
            if self.doors[place].process.as_ref().is_some_and(|process| process.calls.is_empty()) {
                self.call(place, Wish { bound: bill, bill, ..wish }, None);
            }
            self.round();
            let waits = |call: &super::call::Call| call.stage == Stage::Waiting;
            if self.doors[place].process.as_ref().is_some_and(|process| process.calls.first().is_some_and(waits)) {
                self.admit(place, 0);
            }
            if self.passed > before {
                self.probes += 1;
                return;
            }
        }
        let (tenant, door) = (super::policy::TENANTS[tenant], &self.doors[place].name);
        let detail = format!("{least} tokens of {tenant} are left and do not pass at {door}: {}", self.refused);
        self.oracle.broken(Obligation::TheLastUnitIsUsable, detail);
    }

    /// A gateway that has leased what may be open at a time is cut off for longer than metering waits for it. Then others want it.
    fn give_one_up(&mut self) {
        let place = self.dice.index(self.doors.len());
        let other = (place + 1) % self.doors.len();
        let bill = Bill { input: 1, output: 0 };
        let wish = Wish { tenant: 0, user: 0, provider: 0, model: 1, feature: None, bound: bill, bill, hidden: false };
        if !self.insist(place, wish) || !self.come_to_rest() {
            return;
        }
        self.doors[place].cut_off = true;
        self.clock.pass(ABANDON_AFTER + Duration::from_secs(1));
        if self.insist(other, wish) {
            self.call(place, wish, None);
        }
        self.doors[place].cut_off = false;
        if self.come_to_rest() {
            self.oracle.quiet(self.clock.now());
        }
    }

    /// Calls until the call is open, for a while.
    pub(super) fn insist(&mut self, place: usize, wish: Wish) -> bool {
        self.insist_for(place, wish, INSISTENCE)
    }

    /// The same, for so many rounds.
    pub(super) fn insist_for(&mut self, place: usize, wish: Wish, rounds: usize) -> bool {
        let before = self.passed;
        for _ in 0..rounds {
            let calls = |world: &Self| world.doors[place].process.as_ref().map(|process| process.calls.len());
            match calls(self) {
                Some(0) => drop(self.call(place, wish, None)),
                _ => self.admit(place, 0),
            }
            if self.passed > before {
                return true;
            }
            self.round();
        }
        false
    }

    fn affordable(&self, wish: &Wish, book: usize, now: Time) -> i128 {
        self.oracle.affordable(wish, book, now).unwrap_or(1)
    }

    /// So that calls go on passing, however long the world lasts: of what does not come back between two rests there is as much left
    /// as at first, and what is lost with a journal is lost of something more.
    fn give_more(&mut self) {
        let (first, now) = (super::policy::limits(), self.clock.now());
        let live = self.doors.iter().filter_map(|door| door.process.as_ref()).map(|process| process.me).collect();
        let lost = self.road.lock().leased_by_others(&live);
        for (limit, first) in self.limits.iter_mut().zip(&first) {
            if limit.unit == Unit::Concurrent {
                limit.amount = first.amount;
            } else if limit.window.stands() {
                limit.amount = first.amount + lost.get(&limit.id()).copied().unwrap_or(0);
            } else {
                limit.amount += (first.amount - self.oracle.left_of(limit, now)).max(0);
            }
        }
        let book = self.dice.index(2);
        self.publish(book);
    }
}
