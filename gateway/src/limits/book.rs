//! The gateway's local books: limits by tenant, instances by name.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use schemas::{
    decision::{Instance, LaneState},
    event::{Attempt, Counter, Hold, LeaseRequested, Want},
    id::{InstanceId, Lane, LimitId, ProducerId},
    limit::{Dimension, Limit, Match, Mode, OTHER, Schedule, Target, Values},
    map::Map,
    standing,
    subject::Subject,
    time::Time,
};
use smallvec::SmallVec;

use super::{Ask, Standing, slot::Slot};
use crate::fault::{self, Fault};

mod claims;
mod hold;

use claims::Claims;
pub use hold::Tried;

/// A limit with its id.
#[derive(Clone, Debug)]
struct Rule {
    id: LimitId,
    limit: Arc<Limit>,
}

/// Where an instance is found by the values that name it.
#[derive(Clone, Copy, Debug)]
struct Named {
    window: (Time, Time),
    instance: InstanceId,
}

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
    /// Now, by the clock that only goes forward.
    pub(crate) at: Instant,
    /// Each goes to its lane.
    pub(crate) sent: Vec<(Lane, LeaseRequested)>,
}

/// What was heard of a lane.
#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    at: Option<Instant>,
    /// What metering has accepted last of the reports of this gateway: when it was written, by either clock.
    told: Option<(Time, Instant)>,
    answered: u64,
    asked: u64,
    claims: u64,
}

/// The local books.
pub(crate) struct Book {
    me: ProducerId,
    lanes: u16,
    horizon: Duration,
    /// Limits whose scope names one tenant, by it.
    of_tenant: Map<String, Arc<Vec<Rule>>>,
    /// All others.
    of_all: Arc<Vec<Rule>>,
    schedules: Map<LimitId, Schedule>,
    /// By limit, the first instant that may still be spent in: what was known of the time before has been let go of.
    floors: Map<LimitId, Time>,
    names: Map<LimitId, Map<Vec<u8>, Named>>,
    slots: Map<InstanceId, Slot>,
    views: Map<InstanceId, Arc<Instance>>,
    /// The limits of which there may only be so many counters.
    capped: Map<LimitId, Arc<Limit>>,
    /// How many counters client tags have made, by the id of the one that the others share.
    seats: Map<InstanceId, u32>,
    heard: Vec<Heard>,
    /// Instances of which something was called back and not returned yet.
    recalled: Vec<InstanceId>,
    claims: Claims,
}

impl Book {
    pub(crate) fn new(me: ProducerId, lanes: u16) -> Self {
        Self {
            me,
            lanes,
            horizon: Duration::from_secs(60),
            of_tenant: Map::default(),
            of_all: Arc::default(),
            schedules: Map::default(),
            floors: Map::default(),
            names: Map::default(),
            slots: Map::default(),
            views: Map::default(),
            capped: Map::default(),
            seats: Map::default(),
            heard: vec![Heard::default(); usize::from(lanes)],
            recalled: Vec::new(),
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
    pub(crate) fn rule(&mut self, limits: &[Limit], horizon: Duration) {
        self.horizon = horizon;
        self.of_tenant.clear();
        self.of_all = Arc::default();
        let mut by_id = Map::default();
        for limit in limits {
            let rule = Rule { id: limit.id(), limit: Arc::new(limit.clone()) };
            let tenant = limit.scope.iter().find_map(|(dimension, matcher)| match matcher {
                Match::Is(value) if *dimension == Dimension::Tenant && !value.ends_with('*') => Some(value.clone()),
                _ => None,
            });
            let rules = tenant.map_or(&mut self.of_all, |tenant| self.of_tenant.entry(tenant).or_default());
            by_id.insert(rule.id, Arc::clone(&rule.limit));
            Arc::make_mut(rules).push(rule);
        }
        for slot in self.slots.values_mut() {
            if let Some(limit) = by_id.get(&slot.limit_id) {
                slot.limit = Arc::clone(limit);
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
        let newer = self
            .schedules
            .get(&schedule.limit)
            .is_none_or(|known| known.boundaries.last() <= schedule.boundaries.last());
        if newer {
            self.schedules.insert(schedule.limit, schedule);
        }
    }

    pub(crate) fn lane(&mut self, lane: Lane, state: &LaneState, (now, at): (Time, Instant)) {
        let Some(heard) = self.heard.get_mut(usize::from(lane.0)) else { return };
        heard.at = Some(at);
        heard.claims = state.claims;
        if let Some(mark) = state.producers.iter().find(|mark| mark.producer == self.me) {
            heard.answered = mark.answered;
            if heard.told.is_none_or(|(last, _)| last != mark.heard_at) {
                heard.told = at.checked_sub(now.since(mark.heard_at)).map(|written| (mark.heard_at, written));
            }
        }
    }

    pub(crate) fn view(&mut self, id: InstanceId, view: Option<Arc<Instance>>) {
        let Some(view) = view else {
            let gone = self.views.remove(&id).and_then(|gone| self.shared(&gone));
            if let Some(seats) = gone.and_then(|shared| self.seats.get_mut(&shared)) {
                *seats = seats.saturating_sub(1);
            }
            return;
        };
        if let Some(slot) = self.slots.get_mut(&id)
            && slot.obey(Arc::clone(&view), self.me)
        {
            self.recalled.push(id);
        }
        let shared = self.shared(&view);
        if self.views.insert(id, view).is_none()
            && let Some(shared) = shared
        {
            *self.seats.entry(shared).or_default() += 1;
        }
    }

    pub(crate) const fn is_recalled(&self) -> bool {
        !self.recalled.is_empty()
    }

    /// Returns what was called back, as far as nobody here has taken it.
    pub(crate) fn return_recalled(&mut self) {
        for id in std::mem::take(&mut self.recalled) {
            if let Some(slot) = self.slots.get_mut(&id) {
                slot.give_back_recalled(self.me);
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
        let own = self.of_tenant.get(&subject.tenant).into_iter().flat_map(|rules| rules.iter());
        let touched = own.chain(self.of_all.iter()).filter_map(|rule| {
            let values = rule.limit.values_for(target)?;
            Some((rule.id, Arc::clone(&rule.limit), values.into_iter().map(str::to_owned).collect()))
        });
        touched.collect()
    }

    /// What a counter of a tenant's calls is called; nothing where metering keeps it no more, or its limit is not in force.
    pub(crate) fn named(&self, tenant: &str, id: InstanceId) -> Option<standing::Named> {
        let view = self.views.get(&id)?;
        let own = self.of_tenant.get(tenant).into_iter().flat_map(|rules| rules.iter());
        let rule = own.chain(self.of_all.iter()).find(|rule| rule.id == view.limit)?;
        let home = rule.limit.home(&view.values, self.lanes);
        Some(standing::Named { home, limit: view.limit, values: view.values.clone(), unit: rule.limit.unit })
    }

    /// How much of a limit is left to a target, in percent of its amount; nothing where the limit does not match it.
    pub(crate) fn left(&self, name: &str, target: Target<'_>, now: Time) -> Option<u8> {
        let own = self.of_tenant.get(&target.subject.tenant).into_iter().flat_map(|rules| rules.iter());
        let rule = own.chain(self.of_all.iter()).find(|rule| rule.limit.name == name)?;
        let mut values = rule.limit.values_for(target)?;
        if rule.limit.max_instances.is_some_and(|most| self.seat(rule, &values, most, now) == Seat::None) {
            rule.limit.tag_places().for_each(|place| values[place] = OTHER);
        }
        let window = self.schedules.get(&rule.id)?.window(now)?;
        let instance = InstanceId::of(rule.id, &values, (!rule.limit.window.stands()).then_some(window.0));
        let taken = match (self.slots.get(&instance), self.views.get(&instance)) {
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

    pub(crate) fn claims(&self, lane: Lane) -> u64 {
        self.heard.get(usize::from(lane.0)).map_or(0, |heard| heard.claims)
    }

    /// How the limit of a hold stands in the hold's window.
    pub(super) fn standing(&self, hold: &Hold) -> Option<Standing> {
        let slot = self.slots.get(&hold.instance)?;
        let (start, end) = slot.window(hold.window);
        let (settled, held) = (slot.settled(self.me, start), slot.held(self.me, start));
        Some(Standing { limit: Arc::clone(&slot.limit), settled, held, reset_at: (end != Time::MAX).then_some(end) })
    }

    pub(crate) fn slot(&self, id: InstanceId) -> Option<&Slot> {
        self.slots.get(&id)
    }

    pub(crate) fn slot_mut(&mut self, id: InstanceId) -> Option<&mut Slot> {
        self.slots.get_mut(&id)
    }

    pub(crate) fn seen(&self, lane: Lane) -> Option<Instant> {
        self.heard.get(usize::from(lane.0))?.at
    }

    /// Whether metering has heard this gateway within the outage budget, so that it will not think that it is gone before its calls
    /// are over.
    fn is_heard(&self, lane: Lane, at: Instant) -> bool {
        let told = self.heard.get(usize::from(lane.0)).and_then(|heard| heard.told);
        let recent = told.is_some_and(|(_, written)| at.duration_since(written) <= self.horizon);
        recent || fault::is(Fault::ConcurrentUnheard)
    }

    /// Finds the instance for some values in the window of now, which never goes back; nothing if no window is published.
    fn instance(
        &mut self,
        rule: &Rule,
        mut values: Values<'_>,
        ask: &Ask<'_>,
        requests: &mut Requests,
    ) -> Option<(InstanceId, (Time, Time))> {
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
        let named = self.names.get(&rule.id).and_then(|names| names.get(&joined(values)[..]));
        let window = named.map(|named| named.window).filter(|window| now < window.1).or_else(|| {
            let floor = self.floors.get(&rule.id).copied().unwrap_or(Time::ZERO);
            self.schedules.get(&rule.id)?.window(now.max(floor))
        });
        let start = window.filter(|_| !rule.limit.window.stands()).map(|(start, _)| start);
        if self.views.contains_key(&InstanceId::of(rule.id, values, start)) {
            return Seat::Own;
        }
        let made = self.seats.get(&InstanceId::of(rule.id, &rule.limit.shared(values), start));
        if made.is_none_or(|made| *made < most) { Seat::Free } else { Seat::None }
    }

    /// The counter of these very values.
    fn counter(
        &mut self,
        rule: &Rule,
        values: &[&str],
        ask: &Ask<'_>,
        requests: &mut Requests,
    ) -> Option<(InstanceId, (Time, Time))> {
        let names = self.names.entry(rule.id).or_default();
        let name = joined(values);
        if let Some(named) = names.get(&name[..])
            && ask.now < named.window.1
            && (ask.now >= named.window.0 || !fault::is(Fault::WindowGoesBack))
        {
            return Some((named.instance, named.window));
        }
        // The clock may have gone back since something was let go of; the window does not.
        let floor = self.floors.get(&rule.id).copied().unwrap_or(Time::ZERO);
        let mut window = self.schedules.get(&rule.id)?.window(ask.now.max(floor))?;
        if fault::is(Fault::OwnCalendar) && window.1 != Time::MAX {
            let off = |at: Time| at.after(Duration::from_secs(1_800));
            window = (off(window.0), off(window.1));
        }
        let stands = rule.limit.window.stands();
        let instance = InstanceId::of(rule.id, values, (!stands).then_some(window.0));
        names.insert(name.into_vec(), Named { window, instance });
        if !self.slots.contains_key(&instance) {
            let home = rule.limit.home(values, self.lanes);
            let values = values.iter().map(|value| (*value).to_owned()).collect();
            let mut slot = Slot::new(Arc::clone(&rule.limit), rule.id, instance, values, home, (window.1, requests.at));
            slot.view = self.views.get(&instance).cloned();
            let unknown = slot.view.is_none() && rule.limit.mode != Mode::Hard;
            let opening = unknown.then(|| {
                let want = slot.want(window.0, 0, false, (Duration::ZERO, requests.at));
                (home, Want { want: 0, ..want })
            });
            self.slots.insert(instance, slot);
            if let Some((lane, want)) = opening {
                let number = self.heard.get_mut(usize::from(lane.0)).map_or(0, |heard| {
                    heard.asked += 1;
                    heard.asked
                });
                requests.sent.push((lane, LeaseRequested { at: ask.now, number, wants: vec![want] }));
            }
        }
        Some((instance, window))
    }

    pub(crate) fn dirty_lanes(&self) -> BTreeSet<Lane> {
        self.slots.values().filter(|slot| slot.dirty).map(|slot| slot.home).collect()
    }

    pub(crate) fn report(&mut self, lane: Lane, now: Time) -> Vec<Counter> {
        let (me, mut counters) = (self.me, Vec::new());
        for slot in self.slots.values_mut().filter(|slot| slot.home == lane) {
            if slot.limit.window.stands() {
                slot.expire(me, now);
            }
            if slot.dirty || slot.is_untold() {
                counters.extend(slot.tell());
            }
        }
        // The map has another order in every process, and what is written should be a function of what happened.
        counters.sort_unstable_by_key(|counter| (counter.instance, counter.window));
        counters
    }

    pub(crate) const fn lanes(&self) -> u16 {
        self.lanes
    }

    pub(crate) fn return_all(&mut self) {
        let me = self.me;
        self.slots.values_mut().filter(|slot| slot.lease(me) > 0).for_each(|slot| slot.give_back(me));
    }

    /// Forgets instances of windows that are over.
    pub(crate) fn sweep(&mut self, now: Time) {
        let (floors, me) = (&mut self.floors, self.me);
        self.slots.retain(|_, slot| {
            if slot.limit.window.stands() || !slot.idle(now) {
                return true;
            }
            if slot.spare(me) > 0 {
                // By the clocks of others the window may last, and what is forgotten here could be used there.
                slot.give_back(me);
                return true;
            }
            let floor = floors.entry(slot.limit_id).or_insert(slot.until());
            *floor = slot.until().max(*floor);
            false
        });
        let slots = &self.slots;
        self.names.retain(|_, names| {
            names.retain(|_, named| slots.contains_key(&named.instance));
            !names.is_empty()
        });
    }
}

/// The values that name an instance, as one text: on the stack, but for very long ones.
fn joined(values: &[&str]) -> SmallVec<[u8; 128]> {
    let mut name = SmallVec::new();
    for (place, value) in values.iter().enumerate() {
        if place > 0 {
            name.push(0x1f);
        }
        name.extend_from_slice(value.as_bytes());
    }
    name
}
