//! The gateway's local books: limits by tenant, instances by name.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use schemas::{
    config::MeteringConfig,
    decision::{Holder, Instance},
    event::{Attempt, Counter, Hold, LeaseRequested, Want},
    id::{InstanceId, Lane, LimitId, ProducerId},
    limit::{Limit, Mode, OTHER, Schedule, Target, Values},
    map::Map,
    subject::Subject,
    time::Time,
};

use self::{
    hold::Need,
    past::Past,
    rules::{Rule, Rules},
    slab::Slab,
    ways::Ways,
    windows::Windows,
};
use super::{Ask, Standing, slot::Slot};

mod claims;
mod heard;
mod hold;
mod past;
mod rules;
mod slab;
#[cfg(test)]
mod tests;
mod together;
mod ways;
mod windows;

use claims::Claims;
pub(crate) use claims::{Contradicts, Number, Told};
use heard::Heard;
use hold::ASK_AGAIN;
pub use hold::Tried;
pub(super) use slab::Place;

/// What a value of client tags has of a limit of which there may only be so many counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seat {
    /// A counter of its own.
    Own,
    /// None, and it may get one.
    Free,
    /// None, and there may be no more.
    None,
}

/// What a try to hold asks metering for.
pub(crate) struct Requests {
    /// Now, by the clock that only goes forward, and by the other one.
    pub(crate) at: Instant,
    pub(crate) now: Time,
    /// Each goes to its lane.
    pub(crate) sent: Vec<(Lane, LeaseRequested)>,
}

/// The local books.
pub(crate) struct Book {
    me: ProducerId,
    lanes: u16,
    horizon: Duration,
    /// How long it lives off its leases unheard.
    silence: Duration,
    rules: Rules,
    past: Past,
    windows: Windows,
    slots: Slab,
    places: Map<InstanceId, Place>,
    /// Where the window is part of an instance's name: the slot that calls are in, by the name without a window.
    names: Map<InstanceId, Place>,
    ways: Ways,
    /// What the try to hold needs that is under way; kept for its room.
    needs: Vec<Need>,
    views: Map<InstanceId, Arc<Instance>>,
    /// The limits of which there may only be so many counters.
    capped: Map<LimitId, Arc<Limit>>,
    /// How many counters client tags have made, by the id of the one that the others share.
    seats: Map<InstanceId, u32>,
    heard: Vec<Heard>,
    /// Instances of which something was called back and not returned yet.
    recalled: Vec<InstanceId>,
    /// By home, the slots of which the next report may say something.
    listed: Vec<Vec<Place>>,
    /// The lanes that are to be told at once.
    dirty: BTreeSet<Lane>,
    claims: Claims,
}

impl Book {
    pub(crate) fn new(me: ProducerId, lanes: u16) -> Self {
        Self {
            me,
            lanes,
            horizon: MeteringConfig::default().outage_budget,
            silence: MeteringConfig::default().silence(),
            rules: Rules::default(),
            past: Past::default(),
            windows: Windows::default(),
            slots: Slab::default(),
            places: Map::default(),
            names: Map::default(),
            ways: Ways::default(),
            needs: Vec::new(),
            views: Map::default(),
            capped: Map::default(),
            seats: Map::default(),
            heard: vec![Heard::default(); usize::from(lanes)],
            recalled: Vec::new(),
            listed: vec![Vec::new(); usize::from(lanes)],
            dirty: BTreeSet::new(),
            claims: Claims::default(),
        }
    }

    /// What metering has learned once.
    pub(crate) const fn claimed(&self) -> &Claims {
        &self.claims
    }

    pub(crate) const fn claimed_mut(&mut self) -> &mut Claims {
        &mut self.claims
    }

    /// Takes over the limits of a policy. Instances keep what was spent of them; their amounts change in place.
    pub(crate) fn rule(&mut self, limits: impl Into<Vec<Limit>>, metering: &MeteringConfig) {
        (self.horizon, self.silence) = (metering.outage_budget, metering.silence());
        let before = self.rules.all().cloned().collect();
        let by_id = self.rules.replace(limits.into());
        self.retire(before, &by_id);
        self.ways.clear();
        for (place, slot) in self.slots.iter_mut() {
            if let Some(limit) = by_id.get(&slot.limit_id) {
                slot.rule(limit, self.me);
                list_over(&mut self.listed, place, slot);
            }
        }
        self.capped = by_id.into_iter().filter(|(_, limit)| limit.max_instances.is_some()).collect();
        self.seats.clear();
        for view in self.views.values() {
            if let Some(shared) = self.capped.get(&view.limit).and_then(|limit| view.shared(limit)) {
                *self.seats.entry(shared).or_default() += 1;
            }
        }
    }

    pub(crate) fn schedule(&mut self, schedule: Schedule) {
        self.windows.publish(schedule);
    }

    pub(crate) fn view(&mut self, id: InstanceId, view: Option<Arc<Instance>>) {
        let Some(view) = view else {
            let gone = self.views.remove(&id).and_then(|gone| self.shared(&gone));
            if let Some(seats) = gone.and_then(|shared| self.seats.get_mut(&shared)) {
                *seats = seats.saturating_sub(1);
            }
            return;
        };
        if self.is_owed(id, &view) {
            self.remember(id, &view);
        }
        if let Some(place) = self.places.get(&id).copied()
            && let Some(slot) = self.slots.get_mut(place)
        {
            if slot.obey(Arc::clone(&view), self.me) {
                self.recalled.push(id);
            }
            list_over(&mut self.listed, place, slot);
        }
        let shared = self.shared(&view);
        if self.views.insert(id, view).is_none()
            && let Some(shared) = shared
        {
            *self.seats.entry(shared).or_default() += 1;
        }
    }

    /// Whether something is called back of a counter that was forgotten here: by this clock its window was over before the grant came.
    fn is_owed(&self, id: InstanceId, view: &Instance) -> bool {
        let owes = |holder: &Holder| holder.producer == self.me && holder.lease() > 0 && holder.recall < view.recall;
        view.recall > 0 && !self.places.contains_key(&id) && view.holders.iter().any(owes)
    }

    /// A slot for a counter that was forgotten, as metering knows it.
    fn remember(&mut self, id: InstanceId, view: &Arc<Instance>) {
        let Some(rule) = self.rules.all().find(|rule| rule.id == view.limit) else { return };
        let values: Vec<&str> = view.values.iter().map(String::as_str).collect();
        let home = rule.limit.home(&values, self.lanes);
        let Some((window, at)) = view.current().zip(self.seen(home)) else { return };
        let made = ((window.start, window.end), at);
        let mut slot = Slot::new(Arc::clone(&rule.limit), rule.id, id, &values, home, made);
        slot.resume(Arc::clone(view), self.me);
        self.places.insert(id, self.slots.insert(slot));
    }

    pub(crate) const fn is_recalled(&self) -> bool {
        !self.recalled.is_empty()
    }

    /// Returns what was called back, as far as nobody here has taken it.
    pub(crate) fn return_recalled(&mut self) {
        for id in std::mem::take(&mut self.recalled) {
            if let Some(slot) = self.slot_mut(id) {
                slot.give_back_recalled();
                let home = slot.home;
                self.dirty.insert(home);
            }
        }
    }

    /// The counter that client tags share which have none of their own as this one.
    fn shared(&self, view: &Instance) -> Option<InstanceId> {
        view.shared(self.capped.get(&view.limit)?)
    }

    /// The limits that an attempt falls under, with the values of their `*`.
    pub(crate) fn touched(&self, attempt: &Attempt) -> Vec<(LimitId, Arc<Limit>, Vec<String>)> {
        let subject: &Subject = &attempt.subject;
        let target = Target { subject, provider: &attempt.provider, model: &attempt.model };
        let touched = self.rules.of(&subject.tenant).filter_map(|rule| {
            let values = rule.limit.values_for(target)?;
            Some((rule.id, Arc::clone(&rule.limit), values.into_iter().map(str::to_owned).collect()))
        });
        touched.collect()
    }

    /// How much of a limit is left to a target, in percent of its amount; nothing where the limit does not match it.
    pub(crate) fn left(&self, name: &str, target: Target<'_>, now: Time) -> Option<u8> {
        let rule = self.rules.of(&target.subject.tenant).find(|rule| rule.limit.name == name)?;
        let mut values = rule.limit.values_for(target)?;
        if rule.limit.max_instances.is_some_and(|most| self.seat(rule, &values, most, now) == Seat::None) {
            rule.limit.tag_places().for_each(|place| values[place] = OTHER);
        }
        let window = self.windows.at(rule.id, now)?;
        let instance = InstanceId::of(rule.id, &values, (!rule.limit.window.stands()).then_some(window.0));
        let taken = match (self.slot(instance), self.views.get(&instance)) {
            (Some(slot), _) => slot.settled(self.me, window.0) + slot.held(self.me, window.0),
            (None, Some(view)) => view
                .windows
                .iter()
                .find(|known| known.start == window.0)
                .map_or(0, |known| view.settled(known) + view.held(known)),
            (None, None) => 0,
        };
        let left = (rule.limit.amount - taken).max(0);
        let percent = left.saturating_mul(100).checked_div(rule.limit.amount).unwrap_or(0);
        Some(u8::try_from(percent).unwrap_or(100))
    }

    /// How the limit of a hold stands in the hold's window.
    pub(super) fn standing(&self, hold: &Hold) -> Option<Standing> {
        let slot = self.slot(hold.instance)?;
        let (start, end) = slot.window(hold.window);
        let (settled, held) = (slot.settled(self.me, start), slot.held(self.me, start));
        Some(Standing { limit: Arc::clone(&slot.limit), settled, held, reset_at: (end != Time::MAX).then_some(end) })
    }

    /// A limit by its name.
    pub(crate) fn limit(&self, name: &str) -> Option<&Arc<Limit>> {
        self.rules.all().map(|rule| &rule.limit).find(|limit| limit.name == name)
    }

    pub(crate) fn slot(&self, id: InstanceId) -> Option<&Slot> {
        self.slots.get(*self.places.get(&id)?)
    }

    /// A slot of which something changes, so that the next report looks at it.
    pub(crate) fn slot_mut(&mut self, id: InstanceId) -> Option<&mut Slot> {
        Some(self.place_mut(id)?.1)
    }

    /// The same, with its place.
    pub(super) fn place_mut(&mut self, id: InstanceId) -> Option<(Place, &mut Slot)> {
        let place = *self.places.get(&id)?;
        Some((place, self.at_mut(place)?))
    }

    /// The same by its place.
    pub(super) fn at_mut(&mut self, place: Place) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(place)?;
        list(&mut self.listed, place, slot);
        Some(slot)
    }

    /// Has what is marked in this lane reported at once.
    pub(crate) fn hurry(&mut self, home: Lane) {
        self.dirty.insert(home);
    }

    /// Finds the counter for some values in the window of now, which never goes back; nothing if no window is published.
    fn instance(
        &mut self,
        rule: &Rule,
        mut values: Values<'_>,
        ask: &Ask<'_>,
        requests: &mut Requests,
    ) -> Option<Place> {
        if let Some(most) = rule.limit.max_instances {
            // Only who leases waits until metering has made a counter; any other call counts in the shared one meanwhile.
            let (seat, waits) = (self.seat(rule, &values, most, ask.now), rule.limit.mode == Mode::Hard);
            if seat == Seat::Free && !waits {
                self.counter(rule, &values, ask, requests)?;
            }
            if seat == Seat::None || (seat == Seat::Free && !waits) {
                for place in rule.limit.tag_places() {
                    values[place] = OTHER;
                }
            }
        }
        self.counter(rule, &values, ask, requests)
    }

    /// Whether values have a counter of their own where there may be `most` of them. Metering makes them, and its word counts.
    fn seat(&self, rule: &Rule, values: &[&str], most: u32, now: Time) -> Seat {
        let named = self.slot_of(rule, values).and_then(|place| self.slots.get(place)?.current());
        let window = named.filter(|window| now < window.1).or_else(|| self.windows.of(rule.id, now));
        let start = window.filter(|_| !rule.limit.window.stands()).map(|(start, _)| start);
        if self.views.contains_key(&InstanceId::of(rule.id, values, start)) {
            return Seat::Own;
        }
        let made = self.seats.get(&InstanceId::of(rule.id, &rule.limit.shared(values), start));
        if made.is_none_or(|made| *made < most) { Seat::Free } else { Seat::None }
    }

    /// The slot that calls with these values are in, or were.
    fn slot_of(&self, rule: &Rule, values: &[&str]) -> Option<Place> {
        let name = InstanceId::of(rule.id, values, None);
        let named = if rule.limit.window.stands() { &self.places } else { &self.names };
        named.get(&name).copied()
    }

    /// The counter of these very values.
    fn counter(&mut self, rule: &Rule, values: &[&str], ask: &Ask<'_>, requests: &mut Requests) -> Option<Place> {
        let before = self.slot_of(rule, values);
        if let Some(place) = before
            && self.slots.get(place)?.lasting(ask.now).is_some()
        {
            return before;
        }
        let window = self.windows.of_call(rule.id, ask.now)?;
        let stands = rule.limit.window.stands();
        let instance = InstanceId::of(rule.id, values, (!stands).then_some(window.0));
        let known = self.places.get(&instance).copied();
        let place = known.unwrap_or_else(|| self.open((rule, values), instance, window, ask, requests));
        if !stands {
            self.names.insert(InstanceId::of(rule.id, values, None), place);
            before.and_then(|before| self.slots.get_mut(before)).into_iter().for_each(Slot::pass);
        }
        self.slots.get_mut(place)?.enter(window);
        Some(place)
    }

    /// A slot for an instance that this gateway meets for the first time.
    fn open(
        &mut self,
        (rule, values): (&Rule, &[&str]),
        instance: InstanceId,
        window: (Time, Time),
        ask: &Ask<'_>,
        requests: &mut Requests,
    ) -> Place {
        let home = rule.limit.home(values, self.lanes);
        let mut slot = Slot::new(Arc::clone(&rule.limit), rule.id, instance, values, home, (window, requests.at));
        if let Some(view) = self.views.get(&instance) {
            slot.see(Arc::clone(view), self.me);
        }
        let place = self.slots.insert(slot);
        self.places.insert(instance, place);
        self.make_known(place, window.0, ask.now, requests);
        place
    }

    /// Tells metering of a counter that no lease has to be asked for, until it is known there: what was told may have been lost, or have
    /// come before metering had the window.
    fn make_known(&mut self, place: Place, window: Time, now: Time, requests: &mut Requests) {
        let unknown = |slot: &&mut Slot| slot.view.is_none() && slot.terms.mode != Mode::Hard;
        let Some(slot) = self.slots.get_mut(place).filter(unknown) else { return };
        let Some(heard) = self.heard.get_mut(usize::from(slot.home.0)) else { return };
        if slot.asked.is_some_and(|(_, since)| requests.at.duration_since(since) < ASK_AGAIN) {
            return;
        }
        heard.asked += 1;
        slot.asked = Some((heard.asked, requests.at));
        let wants = vec![Want { want: 0, ..slot.want(window, 0, false, (Duration::ZERO, requests.at)) }];
        requests.sent.push((slot.home, LeaseRequested { at: now, number: heard.asked, wants }));
    }

    pub(crate) fn dirty_lanes(&self) -> BTreeSet<Lane> {
        self.dirty.clone()
    }

    pub(crate) fn report(&mut self, lane: Lane, now: Time) -> Vec<Counter> {
        let Self { me, slots, listed, dirty, .. } = self;
        let mut counters = Vec::new();
        dirty.remove(&lane);
        let listed = listed.get_mut(usize::from(lane.0)).into_iter();
        listed.for_each(|listed| {
            listed.retain(|place| {
                let Some(slot) = slots.get_mut(*place) else { return false };
                if slot.terms.stands {
                    slot.expire(now);
                }
                slot.give_back_over(*me, now);
                counters.extend(slot.tell());
                slot.listed = slot.awaits();
                slot.listed
            });
        });
        // The list has another order in every process, and what is written should be a function of what happened.
        counters.sort_unstable_by_key(|counter| (counter.instance, counter.window));
        counters
    }

    pub(crate) const fn lanes(&self) -> u16 {
        self.lanes
    }

    pub(crate) fn return_all(&mut self) {
        let Self { slots, listed, dirty, .. } = self;
        for (place, slot) in slots.iter_mut().filter(|(_, slot)| slot.lease() > 0) {
            slot.give_back();
            list(listed, place, slot);
            dirty.insert(slot.home);
        }
    }

    /// Forgets instances of windows that are over.
    pub(crate) fn sweep(&mut self, now: Time) {
        let Self { slots, places, listed, dirty, windows, .. } = self;
        let removed = slots.retain(|place, slot| {
            if slot.terms.stands || !slot.idle(now) {
                return true;
            }
            if slot.spare() > 0 {
                // By the clocks of others the window may last, and what is forgotten here could be used there.
                slot.give_back();
                list(listed, place, slot);
                dirty.insert(slot.home);
                return true;
            }
            windows.close(slot.limit_id, slot.until());
            places.remove(&slot.id);
            false
        });
        if removed {
            self.names.retain(|_, place| slots.get(*place).is_some());
            self.ways.clear();
        }
    }
}

/// Has the next report look whether a slot has something that it may not spend.
fn list_over(listed: &mut [Vec<Place>], place: Place, slot: &mut Slot) {
    if slot.is_over() {
        list(listed, place, slot);
    }
}

/// Has the next report look at a slot.
fn list(listed: &mut [Vec<Place>], place: Place, slot: &mut Slot) {
    if !slot.listed
        && let Some(listed) = listed.get_mut(usize::from(slot.home.0))
    {
        slot.listed = true;
        listed.push(place);
    }
}
