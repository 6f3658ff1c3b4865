//! What happens at a gateway without anything going wrong: calls come, wait, are sent and end; records go their way.

use gateway::{
    limits::{Ask, Limits, Tried},
    settlement::{self, End, Ended},
};
use schemas::{
    event::{Admitted, CallEnd, Event, Streamed},
    id::Lane,
    limit::OnExceed,
    time::Time,
};

use super::{
    LANES, World,
    call::{Before, Bill, Call, PATIENCE, Stage, Wish, ending},
    door::{WORKERS, worker_of},
    plant::Plant,
    policy::{LONGEST, MODELS, SLICE},
};

/// The most attempts of a call.
const ATTEMPTS: u16 = 4;

/// The most calls that are open at a gateway.
const MOST_OPEN: usize = 24;

/// What has to happen in some worlds; the second does in few.
pub(crate) const DOWNGRADED: &str = "a call is made with another model, since a limit is reached";
pub(crate) const FINISHES: &str = "a stream goes on to its end, though a limit is used up";

impl World {
    pub(super) fn new_call(&mut self, door: usize) {
        let wish = Wish::any(&mut self.dice);
        self.call(door, wish, None);
    }

    /// Somebody calls, or a call goes on after an attempt; says whether a gateway took it up.
    ///
    /// What the attempt before it came to is kept back until it is known whether the call ends with it.
    pub(super) fn call(&mut self, place: usize, wish: Wish, after: Option<(Box<Before>, Time)>) -> bool {
        let door = &mut self.doors[place];
        let Some(process) = &mut door.process else { return false };
        let Some(view) = process.view.load().filter(|_| process.calls.len() < MOST_OPEN) else {
            process.finish(after.map(|(before, _)| before), false);
            return false;
        };
        let book = usize::from(view.policy.book == self.books[1].hash());
        let number = 1 + after.as_ref().map_or(0, |(before, _)| before.account.settled().attempt.attempt);
        let mut facts = wish.facts(&mut self.dice, number, &door.name, view.policy.book, door.clock.now());
        let mut since = facts.admitted_at;
        if let Some((before, first)) = &after {
            (facts.call, since) = (before.account.settled().attempt.call, *first);
        }
        let before = after.map(|(before, _)| before);
        let position = before.as_ref().map_or_else(|| process.position(), |before| before.position);
        process.calls.push(Call {
            facts,
            bound: wish.at_most(book, wish.bound),
            wish,
            book: book_of(&view.book),
            priced: book,
            stage: Stage::Waiting,
            permit: None,
            bill: wish.bill,
            reported: Bill::default(),
            growing: false,
            has_grown: false,
            position,
            patience: door.clock.at() + PATIENCE,
            deadline: door.clock.at() + PATIENCE + LONGEST,
            before,
            since,
        });
        let last = process.calls.len() - 1;
        self.admit(place, last);
        true
    }

    /// One try to take its holds.
    pub(super) fn admit(&mut self, place: usize, at: usize) {
        let door = &mut self.doors[place];
        let Some(process) = &mut door.process else { return };
        let named = process.named();
        let call = &mut process.calls[at];
        // What is planted shows where a call asks by the clock that it began with, though windows have turned since.
        let stands_still = self.plant == Some(Plant::ClockBackAcrossWindows);
        let now = if stands_still { call.since } else { door.clock.now().max(call.since) };
        let slice = (!call.wish.hidden).then_some(SLICE);
        let ask = Ask { attempt: &call.facts, bound: &call.bound, slice, now };
        let (tried, _) = process.limits.try_admit(&ask, door.clock.at());
        match tried {
            Tried::Held(permit) => {
                call.facts.admitted_at = permit.admitted_at;
                call.permit = Some(permit);
                call.deadline = door.clock.at() + LONGEST;
                self.oracle.held(process.me, named, call, call.priced);
                if self.dice.one_in(200) {
                    // The journal has fallen behind since.
                    let call = process.calls.swap_remove(at);
                    self.oracle.given_back(&call);
                    process.limits.give_back(call.permit.unwrap());
                    process.finish(call.before, false);
                    return;
                }
                call.stage = Stage::Admitted;
                let (worker, lane) = (worker_of(call.position), lane_of(call));
                let holds = call.permit.as_ref().unwrap().holds.clone();
                let admitted = Event::Admitted(Box::new(Admitted { attempt: call.facts.clone(), holds }));
                let before = call.before.take();
                process.write(worker, lane, &admitted);
                process.finish(before, true);
                self.passed += 1;
            }
            Tried::Short(why) if door.clock.at() < call.patience => self.refused = format!("{why:?}"),
            Tried::Refused(why) | Tried::Short(why) => {
                self.refused = format!("{why:?}");
                let mut call = process.calls.swap_remove(at);
                if call.before.is_none() && why.on_exceed == OnExceed::Downgrade(MODELS[0].to_owned()) {
                    call.downgrade();
                    *self.happened.entry(DOWNGRADED).or_default() += 1;
                    process.calls.push(call);
                    let last = process.calls.len() - 1;
                    return self.admit(place, last);
                }
                process.finish(call.before, false);
            }
        }
    }

    /// Something happens to one of the calls of a gateway.
    pub(super) fn go_on(&mut self, place: usize) {
        let Some(process) = &mut self.doors[place].process else { return };
        if process.calls.is_empty() {
            return;
        }
        let at = self.dice.index(process.calls.len());
        match process.calls[at].stage {
            Stage::Waiting => self.admit(place, at),
            Stage::Admitted if self.dice.one_in(60) => self.end(place, at, End::ClientGoneBefore),
            Stage::Admitted => {}
            Stage::Sent if self.dice.one_in(2) => self.stream(place, at),
            Stage::Sent => {
                let call = &process.calls[at];
                let end = ending(&mut self.dice, call.reported != Bill::default());
                if end == End::Complete && (call.growing || !call.has_room()) {
                    let output = call.bill.output;
                    self.grow(place, at, output);
                } else {
                    self.end(place, at, end);
                }
            }
        }
    }

    /// The provider reports, and the gateway writes it down now and then.
    fn stream(&mut self, place: usize, at: usize) {
        let door = &mut self.doors[place];
        let Some(process) = &mut door.process else { return };
        let call = &mut process.calls[at];
        let before = call.reported;
        call.report(&mut self.dice);
        let sliced = call.permit.as_ref().and_then(|permit| permit.sliced.as_ref());
        if call.growing || sliced.is_some_and(|sliced| call.reported.output > sliced.room) {
            let output = std::mem::replace(&mut call.reported, before).output;
            return self.grow(place, at, output);
        }
        self.oracle.relayed((call.facts.call, call.facts.attempt), call.reported.output);
        if call.parts().is_empty() || self.dice.one_in(2) {
            return;
        }
        let streamed = stands(call, &process.limits, door.clock.now());
        let (worker, lane) = (worker_of(call.position), lane_of(call));
        process.write(worker, lane, &Event::Streamed(streamed));
    }

    /// More has to be held before so much output may be relayed.
    fn grow(&mut self, place: usize, at: usize, output: u64) {
        let door = &mut self.doors[place];
        let Some(process) = &mut door.process else { return };
        let call = &mut process.calls[at];
        let Some(permit) = call.permit.as_mut().filter(|_| !call.growing) else { return };
        let Some(sliced) = &permit.sliced else { return };
        let room = output.saturating_add(SLICE).min(sliced.most.output);
        let Some(extension) = process.limits.extension(permit, &call.facts.subject, room, door.clock.now()) else {
            return;
        };
        match process.limits.try_extend(&extension, door.clock.at()).0 {
            Tried::Held(more) => {
                let key = (call.facts.call, call.facts.attempt);
                self.oracle.extended(key, &more.holds);
                permit.grow(more, room);
                (call.growing, call.has_grown) = (true, true);
                let (worker, lane) = (worker_of(call.position), lane_of(call));
                let streamed = stands(call, &process.limits, door.clock.now());
                process.write(worker, lane, &Event::Streamed(streamed));
            }
            Tried::Short(_) if self.dice.one_in(2) => {}
            Tried::Refused(why) | Tried::Short(why) if why.on_exceed == OnExceed::Finish => {
                // Its limit lets it go on to its end, and learns what it used then.
                if let Some(sliced) = &mut permit.sliced {
                    sliced.of.retain(|instance| *instance != why.instance);
                    sliced.room = if sliced.of.is_empty() { sliced.most.output } else { sliced.room };
                }
                *self.happened.entry(FINISHES).or_default() += 1;
                self.oracle.finishes((call.facts.call, call.facts.attempt), why.instance);
            }
            Tried::Refused(_) | Tried::Short(_) => self.end(place, at, End::Cut),
        }
    }

    /// An attempt ends.
    pub(super) fn end(&mut self, place: usize, at: usize, end: End) {
        let door = &mut self.doors[place];
        let Some(process) = &mut door.process else { return };
        let mut call = process.calls.swap_remove(at);
        let (key, lane) = ((call.facts.call, call.facts.attempt), lane_of(&call));
        if matches!(end, End::Refused | End::NotSent) {
            self.oracle.not_billed(key);
        }
        // Not billed, and not every status says so.
        let status = match end {
            End::Refused if self.dice.one_in(2) => 400,
            End::Refused => 503,
            _ => 200,
        };
        if end == End::Complete {
            self.oracle.relayed(key, call.bill.output);
        }
        let (measured, ending) = (call.measured(end), call.known(end, status));
        let Some(mut permit) = call.permit.take() else { return };
        let (position, since) = (call.position, call.since);
        let (wish, again) = (call.wish, !self.dice.one_in(3));
        let ended = Ended {
            attempt: call.facts,
            end,
            measured,
            status,
            ttft_ms: None,
            settled_at: door.clock.now(),
            call: CallEnd::begun(door.clock.now(), 0, String::new()),
        };
        let number = key.1;
        let account = settlement::account(&call.book, ended);
        self.oracle.settled(key, ending);
        let failed = matches!(end, End::NoAnswer | End::Refused | End::TimedOut);
        let in_time = door.clock.now().since(since) < LONGEST;
        let goes_on = failed && again && in_time && number < ATTEMPTS;
        if goes_on {
            account.let_go(&process.limits, &mut permit);
        }
        let before = Box::new(Before { lane, position, account, permit });
        if goes_on {
            self.retry(place, wish, (before, since));
        } else {
            process.finish(Some(before), false);
        }
    }

    /// A failed attempt is made again, perhaps with a dearer model or elsewhere, under holds of its own.
    fn retry(&mut self, place: usize, wish: Wish, before: (Box<Before>, Time)) {
        let provider = if self.dice.one_in(2) { 1 - wish.provider } else { wish.provider };
        let wish = Wish { model: usize::from(self.dice.one_in(3)).max(wish.model), provider, ..wish };
        self.call(place, wish, Some(before));
    }

    /// A buffer goes to the journal; its calls whose admission is there are sent.
    pub(super) fn flush(&mut self, place: usize, worker: usize) {
        let Some(process) = &mut self.doors[place].process else { return };
        if process.flush(worker) {
            let of_worker = |call: &&mut Call| worker_of(call.position) == worker;
            for call in process.calls.iter_mut().filter(of_worker).filter(|call| call.stage == Stage::Admitted) {
                call.stage = Stage::Sent;
                let times = if self.plant == Some(Plant::SentTwice) { 2 } else { 1 };
                (0..times).for_each(|_| self.oracle.sent((call.facts.call, call.facts.attempt)));
            }
            for call in process.calls.iter_mut().filter(of_worker).filter(|call| call.growing) {
                call.growing = false;
                self.oracle.recorded((call.facts.call, call.facts.attempt));
            }
        }
        self.read(place);
    }

    pub(super) fn flush_all(&mut self, place: usize) {
        (0..WORKERS).for_each(|worker| self.flush(place, worker));
    }

    /// The oracle reads what a gateway has written since.
    pub(super) fn read(&mut self, place: usize) {
        let door = &mut self.doors[place];
        let platter = door.platter.lock().unwrap();
        for record in platter.readable(door.read, true) {
            self.oracle.wrote(record);
        }
        door.read = platter.end();
    }

    pub(super) fn ship(&mut self, place: usize) {
        let door = &mut self.doors[place];
        let early = self.plant == Some(Plant::ShippedBeforeFsync);
        if let Some(process) = door.process.as_mut().filter(|_| !door.cut_off) {
            process.ship(&door.clock, early);
        }
    }

    pub(super) fn deliver(&mut self, place: usize) {
        let (lane, most) = (self.dice.index(usize::from(LANES)), 1 + self.dice.index(30));
        let door = &mut self.doors[place];
        if let Some(process) = door.process.as_mut().filter(|_| !door.cut_off) {
            process.deliver(&self.road, lane, most);
        }
    }

    pub(super) fn obey(&mut self, place: usize) {
        let door = &mut self.doors[place];
        if let Some(process) = door.process.as_mut().filter(|_| !door.cut_off) {
            process.obey(&door.clock);
            self.read(place);
        }
    }

    /// No call lasts for ever.
    pub(super) fn time_out(&mut self, place: usize) {
        let door = &self.doors[place];
        let Some(process) = &door.process else { return };
        let at = door.clock.at();
        let over = |call: &Call| call.permit.is_some() && call.deadline <= at;
        let over: Vec<usize> = (0..process.calls.len()).rev().filter(|at| over(&process.calls[*at])).collect();
        for at in over {
            let was_sent =
                self.doors[place].process.as_ref().is_some_and(|process| process.calls[at].stage == Stage::Sent);
            self.end(place, at, if was_sent { End::TimedOut } else { End::ClientGoneBefore });
        }
    }

    /// Each second a gateway says how far it is.
    pub(super) fn report(&mut self, place: usize) {
        let door = &mut self.doors[place];
        let Some(process) = &mut door.process else { return };
        if door.clock.at().duration_since(process.reported).as_millis() >= 1_000 {
            process.report(&door.clock, LANES);
        }
    }
}

pub(super) fn lane_of(call: &Call) -> Lane {
    Lane::of(call.facts.subject.tenant.as_bytes(), LANES)
}

/// Where an attempt stands, as the gateway writes it down.
fn stands(call: &Call, limits: &Limits, at: Time) -> Streamed {
    let holds = call.permit.as_ref().map_or(&[][..], |permit| &permit.holds);
    let stands = (call.reported.vector(), call.parts());
    settlement::streamed(limits, (holds, call.has_grown), (&call.book, &call.facts), stands, at)
}

fn book_of(book: &std::sync::Arc<schemas::price::Book>) -> schemas::price::Book {
    (**book).clone()
}
