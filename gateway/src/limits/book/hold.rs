//! The try to hold: everything that a call needs, or nothing and a request for what is short.

use std::time::{Duration, Instant};

use schemas::{
    bound::Bound,
    error_code::ErrorCode,
    event::LeaseRequested,
    id::{InstanceId, Lane},
    limit::{Mode, Target, Unit},
    time::Time,
};

use super::{Book, Heard, Requests, Rule, list, slab::Place, ways};
use crate::{
    fault::{self, Fault},
    limits::{
        Ask, Extension, OutputHeld, Permit, Refusal, Sliced, age_ms,
        amount::{amount, is_nothing},
        slot::Slot,
    },
};

/// A request that was not answered after this long is sent again: its answer may have been lost with a metering member.
pub(super) const ASK_AGAIN: Duration = Duration::from_millis(1_000);

/// How long a refused caller should wait where others hold what it needs.
const RETRY_SOON: Duration = Duration::from_secs(1);

/// What came of a try to hold.
#[derive(Debug)]
pub enum Tried<T = Permit> {
    /// Everything is held.
    Held(T),
    /// It cannot be.
    Refused(Box<Refusal>),
    /// Something has to be leased first; the refusal says what if it does not come in time.
    Short(Box<Refusal>),
}

impl<T> Tried<T> {
    /// The same of something else that is held.
    pub(super) fn map<U>(self, held: impl FnOnce(T) -> U) -> Tried<U> {
        match self {
            Self::Held(permit) => Tried::Held(held(permit)),
            Self::Refused(refusal) => Tried::Refused(refusal),
            Self::Short(refusal) => Tried::Short(refusal),
        }
    }
}

/// One instance that a call falls under, and what of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Need {
    pub(super) place: Place,
    pub(super) window: (Time, Time),
    pub(super) amount: i128,
    /// Whether it is known that the call uses nothing of it.
    pub(super) nothing: bool,
    /// Whether it is a slice of what the call can use.
    sliced: bool,
}

/// An instance whose lease should be larger.
struct Lack {
    home: Lane,
    place: Place,
    window: Time,
    /// What one call needs.
    call: i128,
    /// Whether the call cannot be made before.
    is_short: bool,
}

impl Need {
    /// Before it is known how much it is.
    const fn unknown(place: Place, window: (Time, Time)) -> Self {
        Self { place, window, amount: 0, nothing: false, sliced: false }
    }

    const fn lack(&self, slot: &Slot, is_short: bool) -> Lack {
        Lack { home: slot.home, place: self.place, window: self.window.0, call: self.amount, is_short }
    }
}

impl Book {
    /// Tries to hold everything a call needs; `requests` takes what has to be asked for.
    pub(crate) fn try_hold(&mut self, ask: &Ask<'_>, requests: &mut Requests) -> Tried {
        let mut needs = std::mem::take(&mut self.needs);
        let tried = self.hold_at_one_instant(*ask, requests, &mut needs);
        self.needs = needs;
        tried
    }

    /// One instant chooses the window of every limit. A limit whose window has turned for others, or before the clock went back, does
    /// not go back: then the instant is the begin of that window, in all of them. It only grows, so there is a turn a limit at most.
    fn hold_at_one_instant(&mut self, mut ask: Ask<'_>, requests: &mut Requests, needs: &mut Vec<Need>) -> Tried {
        let observed = loop {
            needs.clear();
            let observed = match self.needs(&ask, requests, needs) {
                Ok(observed) => observed,
                Err(tried) => return tried,
            };
            match needs.iter().map(|need| need.window.0).max().filter(|begin| *begin > ask.now) {
                Some(begin) if self.are_published(&ask, begin) => ask.now = begin,
                // Back by more than is published ahead: no instant lies in all their windows, and no call waits for one to come.
                Some(_) | None => break observed,
            }
        };
        match self.hold_all(needs, observed, (&ask.attempt.subject.tenant, ask.now), requests) {
            Tried::Held(permit) => {
                let permit = Permit { admitted_at: ask.now, answer: answer(ask.bound), ..permit };
                Tried::Held(self.sliced(&ask, needs, permit))
            }
            tried => tried,
        }
    }

    /// Says of a permit what of it is held slice by slice.
    fn sliced(&self, ask: &Ask<'_>, needs: &[Need], permit: Permit) -> Permit {
        let sliced = needs.iter().filter(|need| need.sliced);
        let of: Vec<InstanceId> = sliced.filter_map(|need| Some(self.slots.get(need.place)?.id)).collect();
        match (ask.slice, ask.bound) {
            (Some(slice), Bound::AtMost(most)) if !of.is_empty() => {
                let sliced = Some(Box::new(Sliced { most: *most, room: slice.min(most.output), of }));
                Permit { sliced, ..permit }
            }
            _ => permit,
        }
    }

    /// Whether every limit of a call has a window at an instant.
    pub(super) fn are_published(&self, ask: &Ask<'_>, at: Time) -> bool {
        self.touched(ask.attempt).iter().all(|(limit, ..)| self.windows.at(*limit, at).is_some())
    }

    /// Tries to hold more for an attempt that is under way.
    pub(crate) fn try_extend(&mut self, extension: &Extension, requests: &mut Requests) -> Tried {
        let needs = extension.growth.iter().filter_map(|hold| {
            let place = *self.places.get(&hold.instance)?;
            let window = self.slots.get(place)?.window(hold.window);
            Some(Need { place, window, amount: hold.amount, nothing: hold.amount == 0, sliced: true })
        });
        let needs: Vec<Need> = needs.collect();
        let tried = self.hold_all(&needs, Vec::new(), (&extension.subject.tenant, extension.now), requests);
        if matches!(tried, Tried::Held(_)) {
            self.close(&needs);
        }
        tried
    }

    /// What is held for these is a part of other holds, and is settled with them.
    pub(super) fn close(&mut self, needs: &[Need]) {
        for need in needs {
            self.slots.get_mut(need.place).into_iter().for_each(|slot| slot.close(need.window.0));
        }
    }

    /// Holds everything or nothing, and asks for what is short.
    pub(super) fn hold_all(
        &mut self,
        needs: &[Need],
        mut observed: Vec<Refusal>,
        (tenant, now): (&str, Time),
        requests: &mut Requests,
    ) -> Tried {
        let mut lacks = Vec::new();
        let mut late = None;
        for need in needs {
            let Some(slot) = self.slots.get(need.place) else { continue };
            let refusal = |code| Box::new(self.refusal(slot, need, (now, requests.at), code, String::new()));
            match slot.terms.mode {
                Mode::Hard => {
                    // Of what nobody knows the most of, nothing is held: it passes as long as there is any left.
                    if need.amount == 0 && !need.nothing && self.reached(slot, need) {
                        return Tried::Refused(refusal(ErrorCode::HardLimitReached));
                    }
                    // Nothing always fits, also where more is used than is leased.
                    let short = if need.nothing { 0 } else { slot.short(self.me, need.window.0, need.amount) };
                    let is_heard = self.is_heard(slot.home, requests);
                    if short <= 0 {
                        if !is_heard {
                            late.get_or_insert_with(|| Box::new(self.unheard(slot, need, (now, requests.at))));
                        }
                        continue;
                    }
                    let (me, window) = (self.me, need.window.0);
                    let is_enough = || short <= slot.free(me, window) || slot.others_may_return(me, window);
                    if slot.view.is_some() && (slot.is_spent(me, window, need.amount) || !is_enough()) {
                        return Tried::Refused(refusal(ErrorCode::HardLimitReached));
                    }
                    late.get_or_insert_with(|| refusal(ErrorCode::LeaseNotObtained));
                    // What others give back by themselves is not asked for.
                    if slot.lacks(need.window.0, need.amount) > 0 && !under_way(slot, &self.heard, requests.at) {
                        lacks.push(need.lack(slot, true));
                    }
                }
                Mode::Soft if !need.nothing && self.reached(slot, need) => {
                    return Tried::Refused(refusal(ErrorCode::SoftLimitReached));
                }
                Mode::Observe if !need.nothing && self.reached(slot, need) => {
                    observed.push(*refusal(ErrorCode::HardLimitReached));
                }
                Mode::Soft | Mode::Observe => {}
            }
        }
        if let Some(late) = late {
            self.request((tenant, now), &lacks, requests);
            return Tried::Short(late);
        }
        Tried::Held(self.hold(needs, observed, (tenant, now), requests))
    }

    /// A limit that needs no lease is reached when what is known to be used, or stays held, leaves no room. What an open call may
    /// use is not known yet, but that it is a request is.
    fn reached(&self, slot: &Slot, need: &Need) -> bool {
        let (me, window) = (self.me, need.window.0);
        let certain = match slot.terms.unit {
            Unit::Requests | Unit::Concurrent => slot.held(me, window),
            _ => slot.unknown(me, window),
        };
        slot.settled(me, window) + certain >= slot.limit.amount
    }

    fn hold(&mut self, needs: &[Need], observed: Vec<Refusal>, ask: (&str, Time), requests: &mut Requests) -> Permit {
        let mut permit = Permit { holds: Vec::with_capacity(needs.len()), observed, ..Permit::default() };
        let (mut ahead, mut unknown) = (Vec::new(), false);
        for need in needs {
            let Some(slot) = self.slots.get_mut(need.place) else { continue };
            list(&mut self.listed, need.place, slot);
            unknown |= slot.view.is_none();
            permit.holds.push(slot.take(need.window, need.amount, requests.at));
            let hard = slot.terms.mode == Mode::Hard;
            permit.hard |= hard;
            if hard && slot.terms.unit.is_of_output() {
                permit.output = permit.output.max(if need.sliced { OutputHeld::BySlices } else { OutputHeld::Whole });
            }
            let seen = self.heard.get(usize::from(slot.home.0)).and_then(|heard| heard.at);
            permit.balance_age_ms = permit.balance_age_ms.max(age_ms(seen, requests.at));
            // Ask for more before it is needed, while there is plenty: an outage of the log may begin at any time.
            let left = -slot.short(self.me, need.window.0, 0);
            if hard
                && left < slot.enough(need.amount, self.horizon)
                && !under_way(slot, &self.heard, requests.at)
                && slot.free(self.me, need.window.0) > need.amount.saturating_mul(16)
            {
                ahead.push(need.lack(slot, false));
            }
        }
        self.request(ask, &ahead, requests);
        for need in needs.iter().filter(|_| unknown) {
            self.make_known(need.place, need.window.0, ask.1, requests);
        }
        permit
    }

    /// Asks for what is lacking, in the tenant's own lane first; of several lanes one is asked at a time, so that nothing is leased
    /// in one that the call cannot use for want of another.
    fn request(&mut self, (tenant, now): (&str, Time), lacks: &[Lack], requests: &mut Requests) {
        if lacks.is_empty() {
            return;
        }
        let tenant = Lane::of(tenant.as_bytes(), self.lanes);
        let Some(lane) = lacks.iter().map(|lack| lack.home).min_by_key(|lane| (*lane != tenant, *lane)) else {
            return;
        };
        let Some(heard) = self.heard.get_mut(usize::from(lane.0)) else { return };
        heard.asked += 1;
        let (number, horizon) = (heard.asked, self.horizon);
        let mut wants = Vec::with_capacity(lacks.len());
        for lack in lacks.iter().filter(|lack| lack.home == lane) {
            let Some(slot) = self.slots.get_mut(lack.place) else { continue };
            slot.asked = Some((number, requests.at));
            wants.push(slot.want(lack.window, lack.call, lack.is_short, (horizon, requests.at)));
        }
        requests.sent.push((lane, LeaseRequested { at: now, number, wants }));
    }

    /// Finds what a call falls under and what it needs of each; gives what limits that only observe would have refused.
    pub(super) fn needs(
        &mut self,
        ask: &Ask<'_>,
        requests: &mut Requests,
        needs: &mut Vec<Need>,
    ) -> Result<Vec<Refusal>, Tried> {
        let attempt = ask.attempt;
        let target = Target { subject: &attempt.subject, provider: &attempt.provider, model: &attempt.model };
        let way = ways::name(target, self.rules.dimensions(&target.subject.tenant));
        let (slots, windows) = (&mut self.slots, &self.windows);
        let known = self.ways.get(&way).is_some_and(|places| {
            places.iter().all(|place| {
                let slot = slots.get_mut(*place);
                let window = slot.and_then(|slot| slot.lasting(ask.now).or_else(|| windows.turn(slot, ask.now)));
                needs.extend(window.map(|window| Need::unknown(*place, window)));
                window.is_some()
            })
        });
        if !known {
            needs.clear();
            self.find(target, &way, (ask, requests), needs)?;
        }
        self.amounts(ask, requests.at, needs)
    }

    /// Finds rule by rule what a call falls under; what is met for the first time is made known to metering.
    fn find(
        &mut self,
        target: Target<'_>,
        way: &ways::Name,
        (ask, requests): (&Ask<'_>, &mut Requests),
        needs: &mut Vec<Need>,
    ) -> Result<(), Tried> {
        let groups = self.rules.groups(&target.subject.tenant);
        let (mut places, mut fixed) = (Vec::new(), true);
        for rule in groups.iter().flatten().flat_map(|group| &group.rules) {
            let Some(values) = rule.limit.values_for(target) else { continue };
            // Which counter a value has changes with each decision where there may only be so many.
            fixed &= rule.limit.max_instances.is_none();
            let found = self.instance(rule, values, ask, requests).and_then(|place| {
                let window = self.slots.get(place)?.current()?;
                Some(Need::unknown(place, window))
            });
            let Some(need) = found else { return Err(Tried::Short(Box::new(unknown_window(rule, ask.now)))) };
            places.push(need.place);
            needs.push(need);
        }
        if fixed {
            self.ways.insert(way, &places);
        }
        Ok(())
    }

    /// What a call needs of each that it falls under.
    fn amounts(&self, ask: &Ask<'_>, at: Instant, needs: &mut [Need]) -> Result<Vec<Refusal>, Tried> {
        let mut observed = Vec::new();
        let slice = ask.slice.or(fault::is(Fault::HiddenOutputNotHeld).then_some(16));
        let slice = match (slice, ask.bound) {
            (Some(slice), Bound::AtMost(most)) => Some(Bound::AtMost(most.with_output(slice))),
            _ => None,
        };
        for need in needs {
            let Some(slot) = self.slots.get(need.place) else { continue };
            let slice = slice.as_ref().filter(|_| slot.terms.slices);
            need.sliced = slice.is_some();
            match amount(slot.terms, slice.unwrap_or(ask.bound)) {
                Ok(_) if ask.attempt.attempt > 1 && fault::is(Fault::RetryUnderFirstHold) => need.amount = 0,
                Ok(amount) => {
                    need.amount = amount;
                    need.nothing = amount == 0 && is_nothing(slot.terms, ask.bound);
                }
                Err(_) if slot.terms.mode == Mode::Soft => {}
                Err((code, detail)) => {
                    let refusal = self.refusal(slot, need, (ask.now, at), code, detail);
                    if slot.terms.mode == Mode::Hard {
                        return Err(Tried::Refused(Box::new(refusal)));
                    }
                    observed.push(refusal);
                }
            }
        }
        Ok(observed)
    }

    /// The refusal of a hold on what is leased by a gateway that lives off that for too long.
    fn unheard(&self, slot: &Slot, need: &Need, at: (Time, Instant)) -> Refusal {
        let detail =
            format!("metering has accepted no report of this gateway within the last {} s", self.silence.as_secs());
        self.refusal(slot, need, at, ErrorCode::LeaseNotObtained, detail)
    }

    fn refusal(
        &self,
        slot: &Slot,
        need: &Need,
        (now, at): (Time, Instant),
        code: ErrorCode,
        detail: String,
    ) -> Refusal {
        let (start, end) = need.window;
        let reset_at = (end != Time::MAX).then_some(end);
        let retry_after = match code {
            ErrorCode::LeaseNotObtained => Some(RETRY_SOON),
            // What others hold they may not use: the call fits once enough of them have settled.
            ErrorCode::HardLimitReached
                if slot.settled(self.me, start) + slot.unknown(self.me, start) + need.amount <= slot.limit.amount =>
            {
                Some(RETRY_SOON)
            }
            ErrorCode::SoftLimitReached
                if slot.settled(self.me, start) + slot.unknown(self.me, start) < slot.limit.amount =>
            {
                Some(RETRY_SOON)
            }
            ErrorCode::HardLimitReached | ErrorCode::SoftLimitReached => {
                // A call that is larger than the whole amount is refused in the next window as well.
                reset_at.filter(|_| need.amount <= slot.limit.amount).map(|at| at.since(now))
            }
            _ => None,
        };
        Refusal {
            code,
            instance: slot.id,
            limit: slot.limit.name.clone(),
            unit: slot.limit.unit,
            amount: slot.limit.amount,
            settled: slot.settled(self.me, start),
            held: slot.held(self.me, start),
            needed: need.amount,
            reset_at,
            retry_after,
            balance_age_ms: age_ms(self.seen(slot.home), at),
            detail,
            on_exceed: slot.limit.on_exceed.clone(),
        }
    }
}

/// The most that a call can answer, if each of its calls of tools is a part of that.
pub(super) fn answer(bound: &Bound) -> Option<u64> {
    bound.most().filter(|most| most.tool_calls <= most.output).map(|most| most.output)
}

/// Whether a request for a slot was sent and is neither answered nor overdue.
fn under_way(slot: &Slot, heard: &[Heard], at: Instant) -> bool {
    let answered = heard.get(usize::from(slot.home.0)).map_or(0, |heard| heard.answered);
    slot.asked.is_some_and(|(number, since)| answered < number && at.duration_since(since) < ASK_AGAIN)
}

/// The refusal where metering has not published the windows of a limit in time.
fn unknown_window(rule: &Rule, now: Time) -> Refusal {
    Refusal {
        code: ErrorCode::LeaseNotObtained,
        instance: InstanceId::of::<&str>(rule.id, &[], None),
        limit: rule.limit.name.clone(),
        unit: rule.limit.unit,
        amount: rule.limit.amount,
        settled: 0,
        held: 0,
        needed: 0,
        reset_at: Some(now.after(RETRY_SOON)),
        retry_after: Some(RETRY_SOON),
        balance_age_ms: u64::MAX,
        detail: "metering has not published this limit's windows yet".to_owned(),
        on_exceed: rule.limit.on_exceed.clone(),
    }
}
