//! What this gateway knows and spends of one instance of a limit: its lease, its use, its holds.
//!
//! L-2 stands before every hold of anything: `used + unknown + held ≤ granted − returned`, in the window of the hold; where more is
//! taken of that than the amount, so much less. `used`, `unknown` and `returned` are this gateway's alone and only grow; `granted` comes
//! with the decisions. `unknown` is provisions: what attempts of the window may have used that ended without anybody knowing. A
//! correction clears them in the books of metering, which then may grant so much more.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use schemas::{
    decision::{Instance, WindowState},
    event::{Counter, Hold, Want},
    id::{InstanceId, Lane, LimitId, ProducerId},
    limit::{Limit, OTHER, Unit},
    time::Time,
};
use smallvec::SmallVec;

use super::amount::Terms;
use crate::fault::{self, Fault};

mod back;

/// How many windows of an instance whose leases stand are remembered beside those that attempts are open in.
const WINDOWS_KEPT: usize = 4;

/// A lease request names this many times what one call needs, until demand is known.
const FIRST_WANT: i128 = 16;

/// Demand is measured over this time.
const DEMAND_SPAN: Duration = Duration::from_secs(10);

/// One instance at this gateway.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) limit: Arc<Limit>,
    /// What of its limit every call asks for: the limit itself lies elsewhere in memory.
    pub(crate) terms: Terms,
    pub(crate) limit_id: LimitId,
    pub(crate) id: InstanceId,
    values: Box<[Box<str>]>,
    pub(crate) home: Lane,
    /// The last decision about it, if there was one.
    pub(crate) view: Option<Arc<Instance>>,
    /// What this producer was granted, as that decision says.
    granted: i128,
    /// Whether more may be taken of a window than the amount, as that decision and the limit say.
    is_over: bool,
    /// The number of the request that is under way, and when it was sent.
    pub(crate) asked: Option<(u64, Instant)>,
    /// Whether its home has to be told of a change in a report of its own.
    dirty: bool,
    /// Whether the books look at it when they report.
    pub(crate) listed: bool,
    /// The window that calls are in.
    current: (Time, Time),
    /// Whether they have to look for another: they are in that of another slot, or what was known of this one was let go of.
    passed: bool,
    /// What metering was last told to be held.
    told: i128,
    /// The windows in which something happened, by start.
    windows: SmallVec<[Spent; 1]>,
    returned: i128,
    version: u64,
    recall: u64,
    /// A recall that was heard and is obeyed next.
    due: Option<u64>,
    /// What was said last of the two before. They go out with the use of every window or not at all: use that is not known yet must
    /// not look free.
    said: (i128, u64),
    demand: Demand,
}

/// One window of a slot.
#[derive(Clone, Copy, Debug)]
struct Spent {
    start: Time,
    end: Time,
    used: i128,
    unknown: i128,
    held: i128,
    /// Holds in it that are not settled, also such of nothing: until they are it is remembered, since metering has its totals.
    open: u32,
    /// What of the held the records that are being written say to be used, and not to be known.
    ending: (i128, i128),
    /// Whether it has ended, where leases stand: then its use needs no lease any more.
    over: bool,
}

impl Spent {
    const fn new(start: Time, end: Time) -> Self {
        Self { start, end, used: 0, unknown: 0, held: 0, open: 0, ending: (0, 0), over: false }
    }

    const fn busy(&self) -> i128 {
        self.used + self.unknown + self.held
    }
}

/// What was held in this span and the one before.
#[derive(Debug)]
struct Demand {
    since: Instant,
    now: i128,
    before: i128,
}

impl Slot {
    /// The values of its limit's `*`.
    pub(crate) fn values(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(AsRef::as_ref)
    }

    /// Whether it counts for these values of its limit, by themselves or among others.
    pub(crate) fn is_of(&self, values: &[String]) -> bool {
        self.values.len() == values.len() && self.values().zip(values).all(|(own, value)| own == value || own == OTHER)
    }

    /// An instance that this gateway meets for the first time.
    pub(crate) fn new(
        limit: Arc<Limit>,
        limit_id: LimitId,
        id: InstanceId,
        values: &[&str],
        home: Lane,
        (current, at): ((Time, Time), Instant),
    ) -> Self {
        Self {
            terms: Terms::from(&*limit),
            limit,
            limit_id,
            id,
            values: values.iter().map(|value| Box::from(*value)).collect(),
            home,
            view: None,
            granted: 0,
            is_over: false,
            asked: None,
            dirty: false,
            listed: false,
            current,
            passed: false,
            told: 0,
            windows: SmallVec::new(),
            returned: 0,
            version: 0,
            recall: 0,
            due: None,
            said: (0, 0),
            demand: Demand { since: at, now: 0, before: 0 },
        }
    }

    /// Takes over its limit as a newer policy has it.
    pub(crate) fn rule(&mut self, limit: &Arc<Limit>, me: ProducerId) {
        if self.terms.mode != limit.mode {
            // What was asked for served another mode: a counter that is only made known gets no lease.
            self.asked = None;
        }
        (self.terms, self.limit) = (Terms::from(&**limit), Arc::clone(limit));
        self.look(me);
    }

    /// What this producer may spend of each window.
    pub(crate) const fn lease(&self) -> i128 {
        self.granted - self.returned
    }

    /// What has to be leased more, or given back by others, before `need` can be held in `window`; zero or less if L-2 allows it now.
    pub(crate) fn short(&self, me: ProducerId, window: Time, need: i128) -> i128 {
        let over = if self.is_over { self.over(me, window) } else { 0 };
        self.lacks(window, need) + over
    }

    /// What has to be leased more for that in any case.
    pub(crate) fn lacks(&self, window: Time, need: i128) -> i128 {
        self.spent(window).busy() + need - self.lease()
    }

    /// The window that calls are in, which never goes back; nothing if they have to look for another.
    pub(crate) fn lasting(&self, now: Time) -> Option<(Time, Time)> {
        let (start, end) = self.current;
        let lasts = !self.passed && now < end && (now >= start || !fault::is(Fault::WindowGoesBack));
        lasts.then_some(self.current)
    }

    /// Calls go on in this window.
    pub(crate) const fn enter(&mut self, window: (Time, Time)) {
        (self.current, self.passed) = (window, false);
    }

    /// Calls have to look for another window than the one that they are in.
    pub(crate) const fn pass(&mut self) {
        self.passed = true;
    }

    /// The window that calls are in, if none was let go of since.
    pub(crate) const fn current(&self) -> Option<(Time, Time)> {
        if self.passed { None } else { Some(self.current) }
    }

    /// What happened here in one window.
    fn spent(&self, window: Time) -> Spent {
        // Most ask for the newest.
        let spent = self.windows.iter().rev().find(|spent| spent.start == window).copied();
        spent.unwrap_or(Spent::new(window, Time::MAX))
    }

    /// Settled by everybody in one window, as far as is known here.
    pub(crate) fn settled(&self, me: ProducerId, window: Time) -> i128 {
        let adjusted = self.known(window).map_or(0, |known| known.adjusted);
        self.spent(window).used + self.others(me, |holder| holder.used_in(window)) + adjusted
    }

    /// Held by everybody in one window, as far as is known here: for what is open, and for what nobody knows.
    pub(crate) fn held(&self, me: ProducerId, window: Time) -> i128 {
        self.all_held() + self.others(me, |holder| holder.held) + self.unknown(me, window)
    }

    /// The part of what is held that stays so until a correction clears it or its window ends.
    pub(crate) fn unknown(&self, me: ProducerId, window: Time) -> i128 {
        let cleared = self.known(window).map_or(0, |known| known.cleared);
        self.spent(window).unknown + self.others(me, |holder| holder.unknown_in(window)) - cleared
    }

    /// What metering could still grant us in `window` as far as is known here. What we used beyond our lease is not taken from it:
    /// a grant has to cover that first.
    pub(crate) fn free(&self, me: ProducerId, window: Time) -> i128 {
        let moved = self.known(window).map_or(0, |known| known.moved());
        self.limit.amount - moved - self.lease() - self.others(me, |holder| holder.taken(window))
    }

    /// Whether another gateway may have some of it that it does not use: as metering asks, so that neither waits for what the other knows
    /// not to come.
    pub(crate) fn others_may_return(&self, me: ProducerId, window: Time) -> bool {
        let Some(view) = &self.view else { return true };
        view.holders.iter().any(|holder| holder.producer != me && holder.may_return(window, view.recall))
    }

    /// A window as metering shows it.
    fn known(&self, window: Time) -> Option<&WindowState> {
        self.view.as_ref()?.windows.iter().find(|known| known.start == window)
    }

    fn others(&self, me: ProducerId, of: impl Fn(&schemas::decision::Holder) -> i128) -> i128 {
        let holders = self.view.iter().flat_map(|view| &view.holders);
        holders.filter(|holder| holder.producer != me).map(of).sum()
    }

    /// Takes a hold. The caller has seen that L-2 allows it, or it is of nothing, or the limit needs no lease.
    pub(crate) fn take(&mut self, (start, end): (Time, Time), amount: i128, at: Instant) -> Hold {
        let spent = self.open(start, end);
        spent.held += amount;
        spent.open += 1;
        self.version += 1;
        self.demand.add(amount, at);
        Hold { instance: self.id, window: start, amount }
    }

    fn open(&mut self, start: Time, end: Time) -> &mut Spent {
        let known = self.windows.iter().rposition(|spent| spent.start == start);
        let place = known.unwrap_or_else(|| {
            self.windows.push(Spent::new(start, end));
            self.windows.len() - 1
        });
        &mut self.windows[place]
    }

    /// One more hold in a window is settled by itself.
    pub(crate) fn part(&mut self, window: Time) {
        self.windows.iter_mut().filter(|spent| spent.start == window).for_each(|spent| spent.open += 1);
    }

    /// One fewer is: it has ended, or is a part of another.
    pub(crate) fn close(&mut self, window: Time) {
        let spent = self.windows.iter_mut().filter(|spent| spent.start == window);
        spent.for_each(|spent| spent.open = spent.open.saturating_sub(1));
    }

    /// The window that starts then, as far as something is held in it.
    pub(crate) fn window(&self, start: Time) -> (Time, Time) {
        let known = self.windows.iter().find(|spent| spent.start == start);
        (start, known.map_or(Time::MAX, |spent| spent.end))
    }

    /// Makes a hold as large as what it will be settled with: mostly smaller, and larger where more was used than was held.
    pub(crate) fn resize(&mut self, hold: &mut Hold, amount: i128) {
        if hold.amount != amount {
            let (_, end) = self.window(hold.window);
            self.open(hold.window, end).held += amount - hold.amount;
            hold.amount = amount;
            self.version += 1;
        }
    }

    /// A record is about to be written by which so much of a window was used, and so much is not known of what was held for it.
    pub(super) fn begin(&mut self, window: Time, used: i128, unknown: i128) {
        let (_, end) = self.window(window);
        let spent = self.open(window, end);
        spent.ending = (spent.ending.0 + used, spent.ending.1 + unknown);
    }

    /// The totals of a window as of that record.
    pub(super) fn ending(&mut self, window: Time) -> Counter {
        self.version += 1;
        let ending = |spent: &Spent| spent.ending.0 + spent.ending.1;
        self.told = self.all_held() - self.windows.iter().map(ending).sum::<i128>();
        let (used, unknown) = self.spent(window).ending;
        let before = self.counter(window);
        Counter { used: before.used + used, unknown: before.unknown + unknown, held: self.told, ..before }
    }

    /// The records that settle in a window are written, or they are not: said once for each hold.
    pub(super) fn end(&mut self, window: Time, is_written: bool) {
        let Some(spent) = self.windows.iter_mut().rev().find(|spent| spent.start == window) else { return };
        let (used, unknown) = std::mem::take(&mut spent.ending);
        if is_written {
            spent.open = spent.open.saturating_sub(1);
            let held = used + unknown;
            spent.held -= if fault::is(Fault::HoldReleasedTwice) { 2 * held } else { held };
            spent.used += used;
            spent.unknown += unknown;
            self.version += 1;
        }
    }

    /// The totals to report for one window.
    pub(crate) fn counter(&self, window: Time) -> Counter {
        let spent = self.spent(window);
        Counter {
            instance: self.id,
            window,
            used: spent.used,
            returned: self.said.0,
            unknown: spent.unknown,
            held: self.all_held(),
            version: self.version,
            recall: self.said.1,
        }
    }

    /// One counter for each window in which something happened; if none did, one of nothing in the newest that metering knows.
    pub(crate) fn counters(&self) -> Vec<Counter> {
        if self.windows.is_empty() {
            let newest = self.view.as_ref().and_then(|view| view.current());
            return newest.map(|window| self.counter(window.start)).into_iter().collect();
        }
        self.windows.iter().map(|spent| self.counter(spent.start)).collect()
    }

    /// Has a report say its counters; gives where.
    pub(crate) const fn mark(&mut self) -> Lane {
        self.dirty = true;
        self.home
    }

    /// Whether there is something that a report says: of late, or held now and not when metering was told.
    fn is_untold(&self) -> bool {
        self.dirty || self.told != self.all_held()
    }

    /// Whether a report may have to say something of it although nothing happens any more: the end of a window.
    pub(crate) fn awaits(&self) -> bool {
        self.is_untold() || (self.terms.stands && self.windows.iter().any(|spent| !spent.over))
    }

    /// The counters to report, once.
    pub(crate) fn tell(&mut self) -> Vec<Counter> {
        if !self.is_untold() {
            return Vec::new();
        }
        self.dirty = false;
        self.said = (self.returned, self.recall);
        self.told = self.all_held();
        let mut counters = self.counters();
        if fault::is(Fault::UsedIsReturned) {
            counters.iter_mut().for_each(|counter| counter.returned += std::mem::take(&mut counter.used));
        }
        counters
    }

    fn all_held(&self) -> i128 {
        self.windows.iter().map(|spent| spent.held).sum()
    }

    /// Reads a decision as one that meets it for the first time does.
    pub(crate) fn see(&mut self, view: Arc<Instance>, me: ProducerId) {
        self.granted = view.holders.iter().find(|holder| holder.producer == me).map_or(0, |holder| holder.granted);
        self.view = Some(view);
        self.look(me);
    }

    /// Goes on where it was forgotten, as metering was told last.
    pub(crate) fn resume(&mut self, view: Arc<Instance>, me: ProducerId) {
        if let Some(holder) = view.holders.iter().find(|holder| holder.producer == me) {
            (self.returned, self.version, self.recall) = (holder.returned, holder.version, holder.recall);
        }
        self.see(view, me);
    }

    /// Takes over a decision; says whether it calls for something to be returned.
    pub(crate) fn obey(&mut self, view: Arc<Instance>, me: ProducerId) -> bool {
        // Metering lets go of what a gateway has of what is open at a time once it thinks that it is gone.
        let holder = view.holders.iter().find(|holder| holder.producer == me);
        self.returned = holder.map_or(self.returned, |holder| holder.returned.max(self.returned));
        let recalled = view.recall > self.recall.max(self.due.unwrap_or(0));
        if recalled {
            self.due = Some(view.recall);
        }
        self.see(view, me);
        recalled
    }

    /// Where leases stand: takes note of windows that have ended. The lease that their use needed is for the next ones; whoever lacks
    /// it there asks. The oldest are forgotten once they were reported as ended and nothing can settle in them any more.
    pub(crate) fn expire(&mut self, now: Time) {
        while self.windows.len() > WINDOWS_KEPT {
            let closed = self.windows.iter().enumerate().filter(|(_, spent)| spent.over && spent.open == 0);
            let Some((oldest, _)) = closed.min_by_key(|(_, spent)| spent.start) else { break };
            self.windows.remove(oldest);
        }
        if fault::is(Fault::WindowForgotten) {
            self.windows.retain(|spent| spent.held > 0);
        }
        for spent in self.windows.iter_mut().filter(|spent| spent.end <= now) {
            spent.over = true;
        }
    }

    /// Whether it can be forgotten, where leases do not stand: its window is over, used or not, and no attempt is open in it. Before that
    /// it knows what was returned of its lease, and that has to stay known.
    pub(crate) fn idle(&self, now: Time) -> bool {
        let is_done = |spent: &Spent| spent.held == 0 && spent.open == 0;
        !self.listed && !self.dirty && self.current.1 <= now && self.windows.iter().all(is_done)
    }

    /// The end of the window that calls are in, or were.
    pub(crate) const fn until(&self) -> Time {
        self.current.1
    }

    /// What may be left before more is asked for: the reserve for `horizon`, and some calls.
    pub(crate) fn enough(&self, call: i128, horizon: Duration) -> i128 {
        self.reserve(horizon).max(call.saturating_mul(4))
    }

    /// What has to be there whenever metering falls silent: what recent demand says will last for `horizon`; of what is open at a time half
    /// as much again as is open.
    fn reserve(&self, horizon: Duration) -> i128 {
        if self.terms.unit == Unit::Concurrent { self.all_held() / 2 } else { self.demand.known(horizon) }
    }

    /// What to ask for: the lease with which `call` fits, if it is short of that, and one with half as much again as the reserve for
    /// `horizon`, so that the reserve is there until the next is asked for.
    pub(crate) fn want(
        &mut self,
        window: Time,
        call: i128,
        is_short: bool,
        (horizon, at): (Duration, Instant),
    ) -> Want {
        self.demand.roll(at);
        let reserve = self.reserve(horizon);
        let demand = (reserve + reserve / 2).max(call.saturating_mul(FIRST_WANT));
        let busy = self.spent(window).busy();
        Want {
            limit: self.limit_id,
            values: self.values.iter().map(|value| String::from(&**value)).collect(),
            window,
            need: if is_short { busy + call } else { 0 },
            want: busy + demand,
            counter: self.counter(window),
        }
    }
}

impl Demand {
    fn add(&mut self, amount: i128, at: Instant) {
        self.roll(at);
        self.now += amount;
    }

    fn roll(&mut self, at: Instant) {
        let spans = at.duration_since(self.since).as_secs() / DEMAND_SPAN.as_secs();
        if spans > 0 {
            self.before = if spans == 1 { self.now } else { 0 };
            self.now = 0;
            self.since = at;
        }
    }

    /// What would last for `horizon`, as of the last hold.
    fn known(&self, horizon: Duration) -> i128 {
        let spans = i128::from(horizon.as_secs() / DEMAND_SPAN.as_secs().max(1)).max(1);
        self.now.max(self.before).saturating_mul(spans)
    }
}
