//! The gateway's local books: limits by tenant, instances by name, and the try to hold.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use schemas::{
    decision::{Instance, LaneState},
    error_code::ErrorCode,
    event::{Counter, LeaseRequested, Want},
    id::{InstanceId, Lane, LimitId, ProducerId},
    limit::{Dimension, Limit, Match, Mode, OTHER, Schedule, Target},
    time::Time,
};

use super::{Ask, Permit, Refusal, age_ms, amount::amount, slot::Slot};

/// A request that was not answered after this long is sent again: its answer may have been lost with a metering member.
const ASK_AGAIN: Duration = Duration::from_millis(1_000);

/// How long a refused caller should wait where others hold what it needs.
const RETRY_SOON: Duration = Duration::from_secs(1);

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

/// What was heard of a lane.
#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    at: Option<Instant>,
    answered: u64,
    asked: u64,
}

/// The local books.
pub(crate) struct Book {
    me: ProducerId,
    lanes: u16,
    horizon: Duration,
    /// Limits whose scope names one tenant, by it.
    of_tenant: HashMap<String, Vec<Rule>>,
    /// All others.
    of_all: Vec<Rule>,
    schedules: HashMap<LimitId, Schedule>,
    names: HashMap<LimitId, HashMap<String, Named>>,
    slots: HashMap<InstanceId, Slot>,
    views: HashMap<InstanceId, Arc<Instance>>,
    heard: Vec<Heard>,
}

/// What came of a try to hold.
pub(crate) enum Tried {
    /// Everything is held.
    Held(Permit),
    /// It cannot be.
    Refused(Box<Refusal>),
    /// Something has to be leased first; the refusal says what if it does not come in time.
    Short(Box<Refusal>),
}

/// One instance that a call falls under, and what of it.
struct Need {
    instance: InstanceId,
    window: (Time, Time),
    amount: i128,
    mode: Mode,
}

impl Book {
    pub(crate) fn new(me: ProducerId, lanes: u16) -> Self {
        Self {
            me,
            lanes,
            horizon: Duration::from_secs(60),
            of_tenant: HashMap::new(),
            of_all: Vec::new(),
            schedules: HashMap::new(),
            names: HashMap::new(),
            slots: HashMap::new(),
            views: HashMap::new(),
            heard: vec![Heard::default(); usize::from(lanes)],
        }
    }

    /// Takes over the limits of a policy. Instances keep what was spent of them; their amounts change in place.
    pub(crate) fn rule(&mut self, limits: &[Limit], horizon: Duration) {
        self.horizon = horizon;
        self.of_tenant.clear();
        self.of_all.clear();
        for limit in limits {
            let rule = Rule { id: limit.id(), limit: Arc::new(limit.clone()) };
            let tenant = limit.scope.iter().find_map(|(dimension, matcher)| match matcher {
                Match::Is(value) if *dimension == Dimension::Tenant && !value.ends_with('*') => Some(value.clone()),
                _ => None,
            });
            for slot in self.slots.values_mut().filter(|slot| slot.limit_id == rule.id) {
                slot.limit = Arc::clone(&rule.limit);
            }
            match tenant {
                Some(tenant) => self.of_tenant.entry(tenant).or_default().push(rule),
                None => self.of_all.push(rule),
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

    pub(crate) fn lane(&mut self, lane: Lane, state: &LaneState) {
        let Some(heard) = self.heard.get_mut(usize::from(lane.0)) else { return };
        heard.at = Some(Instant::now());
        if let Some(mark) = state.producers.iter().find(|mark| mark.producer == self.me) {
            heard.answered = mark.answered;
        }
    }

    pub(crate) fn view(&mut self, id: InstanceId, view: Option<Arc<Instance>>) {
        match (view, self.slots.get_mut(&id)) {
            (Some(view), Some(slot)) => {
                slot.obey(Arc::clone(&view), self.me);
                self.views.insert(id, view);
            }
            (Some(view), None) => {
                self.views.insert(id, view);
            }
            (None, _) => {
                self.views.remove(&id);
            }
        }
    }

    pub(crate) fn slot_mut(&mut self, id: InstanceId) -> Option<&mut Slot> {
        self.slots.get_mut(&id)
    }

    pub(crate) fn seen(&self, lane: Lane) -> Option<Instant> {
        self.heard.get(usize::from(lane.0))?.at
    }

    /// Tries to hold everything a call needs; `requests` takes what has to be asked for.
    pub(crate) fn try_hold(&mut self, ask: &Ask<'_>, requests: &mut Vec<(Lane, LeaseRequested)>) -> Tried {
        let (needs, mut observed) = match self.needs(ask, requests) {
            Ok(needs) => needs,
            Err(tried) => return tried,
        };
        let mut wants: Vec<(Lane, Want)> = Vec::new();
        let mut late = None;
        for need in &needs {
            let Some(slot) = self.slots.get(&need.instance) else { continue };
            let refusal = || self.refusal(slot, need, ask.now, ErrorCode::HardLimitReached, String::new());
            match need.mode {
                Mode::Hard => {
                    let short = slot.short(self.me, need.window.0, need.amount);
                    if short <= 0 {
                        continue;
                    }
                    let known = slot.view.is_some();
                    if known
                        && short > slot.free(self.me, need.window.0)
                        && !slot.others_may_return(self.me, need.window.0)
                    {
                        return Tried::Refused(Box::new(refusal()));
                    }
                    late.get_or_insert_with(|| {
                        self.refusal(slot, need, ask.now, ErrorCode::LeaseNotObtained, String::new())
                    });
                    wants.extend(self.ask_for(need, short));
                }
                Mode::Soft if self.reached(slot, need) => {
                    return Tried::Refused(Box::new(self.refusal(
                        slot,
                        need,
                        ask.now,
                        ErrorCode::SoftLimitReached,
                        String::new(),
                    )));
                }
                Mode::Observe if self.reached(slot, need) => observed.push(refusal()),
                Mode::Soft | Mode::Observe => {}
            }
        }
        if let Some(late) = late {
            self.request(ask, wants, requests);
            return Tried::Short(Box::new(late));
        }
        Tried::Held(self.hold(&needs, observed, ask, requests))
    }

    /// A limit that needs no lease is reached when what is known to be used and held leaves no room.
    fn reached(&self, slot: &Slot, need: &Need) -> bool {
        slot.settled(self.me, need.window.0) + slot.held(self.me) >= slot.limit.amount
    }

    fn hold(
        &mut self,
        needs: &[Need],
        observed: Vec<Refusal>,
        ask: &Ask<'_>,
        requests: &mut Vec<(Lane, LeaseRequested)>,
    ) -> Permit {
        let mut permit = Permit { holds: Vec::with_capacity(needs.len()), balance_age_ms: 0, hard: false, observed };
        let mut ahead = Vec::new();
        for need in needs {
            let Some(slot) = self.slots.get_mut(&need.instance) else { continue };
            permit.holds.push(slot.take(need.window, need.amount));
            permit.hard |= need.mode == Mode::Hard;
            let seen = self.heard.get(usize::from(slot.home.0)).and_then(|heard| heard.at);
            permit.balance_age_ms = permit.balance_age_ms.max(age_ms(seen));
            // Ask for more before it is needed, while there is plenty.
            let left = -slot.short(self.me, need.window.0, 0);
            if need.mode == Mode::Hard
                && left < need.amount.saturating_mul(4)
                && !under_way(slot, &self.heard)
                && slot.free(self.me, need.window.0) > need.amount.saturating_mul(16)
            {
                ahead.push((slot.home, slot.want(need.window.0, 0, need.amount, self.horizon)));
            }
        }
        self.request(ask, ahead, requests);
        permit
    }

    /// The wants for one short instance, unless a request for it is under way.
    fn ask_for(&self, need: &Need, short: i128) -> Option<(Lane, Want)> {
        let slot = self.slots.get(&need.instance)?;
        if under_way(slot, &self.heard) {
            return None;
        }
        Some((
            slot.home,
            Want {
                limit: slot.limit_id,
                values: slot.values.clone(),
                window: need.window.0,
                need: short,
                want: need.amount,
                counter: slot.counter(need.window.0),
            },
        ))
    }

    /// Numbers the requests for some wants, the tenant's own lane first; of several lanes one is asked at a time, so that nothing
    /// is leased in one that the call cannot use for want of another.
    fn request(&mut self, ask: &Ask<'_>, mut wants: Vec<(Lane, Want)>, requests: &mut Vec<(Lane, LeaseRequested)>) {
        let tenant = Lane::of(ask.attempt.subject.tenant.as_bytes(), self.lanes);
        let Some(lane) = wants.iter().map(|(lane, _)| *lane).min_by_key(|lane| (*lane != tenant, *lane)) else {
            return;
        };
        wants.retain(|(home, _)| *home == lane);
        let Some(heard) = self.heard.get_mut(usize::from(lane.0)) else { return };
        heard.asked += 1;
        let number = heard.asked;
        let horizon = self.horizon;
        let mut asked = Vec::with_capacity(wants.len());
        for (_, want) in wants {
            let Some(slot) = self.slots.get_mut(&want.counter.instance) else { continue };
            slot.asked = Some((number, Instant::now()));
            let more = slot.want(want.window, want.need, want.want, horizon);
            asked.push(more);
        }
        requests.push((lane, LeaseRequested { at: ask.now, number, wants: asked }));
    }

    /// The instances a call falls under and what it needs of each; those met for the first time are made known to metering.
    fn needs(
        &mut self,
        ask: &Ask<'_>,
        requests: &mut Vec<(Lane, LeaseRequested)>,
    ) -> Result<(Vec<Need>, Vec<Refusal>), Tried> {
        let target =
            Target { subject: &ask.attempt.subject, provider: &ask.attempt.provider, model: &ask.attempt.model };
        let rules: Vec<(Rule, Vec<String>)> = self
            .of_tenant
            .get(&target.subject.tenant)
            .into_iter()
            .flatten()
            .chain(&self.of_all)
            .filter_map(|rule| {
                let values = rule.limit.values_for(target)?;
                Some((rule.clone(), values.into_iter().map(str::to_owned).collect()))
            })
            .collect();
        let (mut needs, mut observed) = (Vec::with_capacity(rules.len()), Vec::new());
        for (rule, values) in rules {
            let Some((instance, window)) = self.instance(&rule, values, ask, requests) else {
                return Err(Tried::Short(Box::new(unknown_window(&rule, ask.now))));
            };
            let need = Need { instance, window, amount: 0, mode: rule.limit.mode };
            match amount(&rule.limit, ask.bound) {
                Ok(amount) => needs.push(Need { amount, ..need }),
                Err(_) if rule.limit.mode == Mode::Soft => needs.push(need),
                Err((code, detail)) => {
                    let Some(slot) = self.slots.get(&instance) else { continue };
                    let refusal = self.refusal(slot, &need, ask.now, code, detail);
                    if rule.limit.mode == Mode::Hard {
                        return Err(Tried::Refused(Box::new(refusal)));
                    }
                    observed.push(refusal);
                    needs.push(need);
                }
            }
        }
        Ok((needs, observed))
    }

    /// Finds the instance for some values in the window of now, which never goes back; nothing if no window is published.
    fn instance(
        &mut self,
        rule: &Rule,
        mut values: Vec<String>,
        ask: &Ask<'_>,
        requests: &mut Vec<(Lane, LeaseRequested)>,
    ) -> Option<(InstanceId, (Time, Time))> {
        let names = self.names.entry(rule.id).or_default();
        let mut name = values.join("\u{1f}");
        if !names.contains_key(&name) && rule.limit.max_instances.is_some_and(|most| names.len() >= most as usize) {
            share(&rule.limit, &mut values);
            name = values.join("\u{1f}");
        }
        if let Some(named) = names.get(&name)
            && ask.now < named.window.1
        {
            return Some((named.instance, named.window));
        }
        let window = self.schedules.get(&rule.id)?.window(ask.now)?;
        let stands = rule.limit.window.stands();
        let instance = InstanceId::of(rule.id, &values, (!stands).then_some(window.0));
        names.insert(name, Named { window, instance });
        if !self.slots.contains_key(&instance) {
            let home = rule.limit.home(&values, self.lanes);
            let mut slot = Slot::new(Arc::clone(&rule.limit), rule.id, instance, values, home);
            slot.view = self.views.get(&instance).cloned();
            let unknown = slot.view.is_none() && rule.limit.mode != Mode::Hard;
            let opening = unknown.then(|| (home, Want { want: 0, ..slot.want(window.0, 0, 0, Duration::ZERO) }));
            self.slots.insert(instance, slot);
            if let Some((lane, want)) = opening {
                let number = self.heard.get_mut(usize::from(lane.0)).map_or(0, |heard| {
                    heard.asked += 1;
                    heard.asked
                });
                requests.push((lane, LeaseRequested { at: ask.now, number, wants: vec![want] }));
            }
        }
        Some((instance, window))
    }

    fn refusal(&self, slot: &Slot, need: &Need, now: Time, code: ErrorCode, detail: String) -> Refusal {
        let (start, end) = need.window;
        let reset_at = (end != Time::MAX).then_some(end);
        let retry_after = match code {
            ErrorCode::LeaseNotObtained => Some(RETRY_SOON),
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
            held: slot.held(self.me),
            needed: need.amount,
            reset_at,
            retry_after,
            balance_age_ms: age_ms(self.seen(slot.home)),
            detail,
        }
    }

    pub(crate) fn dirty_lanes(&self) -> BTreeSet<Lane> {
        self.slots.values().filter(|slot| slot.dirty).map(|slot| slot.home).collect()
    }

    pub(crate) fn report(&mut self, lane: Lane, now: Time) -> Vec<Counter> {
        let mut counters = Vec::new();
        for slot in self.slots.values_mut().filter(|slot| slot.home == lane) {
            if slot.limit.window.stands() {
                slot.expire(now);
            }
            if slot.dirty {
                slot.dirty = false;
                counters.extend(slot.counters());
            }
        }
        counters
    }

    pub(crate) fn return_all(&mut self) {
        let me = self.me;
        self.slots.values_mut().filter(|slot| slot.lease(me) > 0).for_each(|slot| slot.give_back(me));
    }

    /// Forgets instances of windows that are over.
    pub(crate) fn sweep(&mut self, now: Time) {
        self.slots.retain(|_, slot| slot.limit.window.stands() || !slot.idle(now));
        let slots = &self.slots;
        self.names.retain(|_, names| {
            names.retain(|_, named| slots.contains_key(&named.instance));
            !names.is_empty()
        });
    }
}

/// Whether a request for a slot was sent and is neither answered nor overdue.
fn under_way(slot: &Slot, heard: &[Heard]) -> bool {
    let answered = heard.get(usize::from(slot.home.0)).map_or(0, |heard| heard.answered);
    slot.asked.is_some_and(|(number, at)| answered < number && at.elapsed() < ASK_AGAIN)
}

/// Client tags beyond those that have a counter of their own share one.
fn share(limit: &Limit, values: &mut [String]) {
    let each = limit.scope.iter().filter(|(_, matcher)| *matcher == Match::Each);
    for ((dimension, _), value) in each.zip(values) {
        if matches!(dimension, Dimension::Tag(_)) {
            OTHER.clone_into(value);
        }
    }
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
    }
}
