//! The oracle: naive books of everything that happened, and the obligations that they must satisfy.
//!
//! It sees what a bystander sees: which calls were made and what providers billed for them, what gateways held, what a power
//! failure or a restored disk took away, and every message that was committed. It shares no code with the engine: it matches,
//! prices and adds by rules of its own, which know only this world's few limits. `quiet` adds everything up when nothing is
//! under way.

mod books;
mod open;
mod quiet;
mod told;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use bytes::Bytes;
use journal::Record;
use schemas::{
    event::{Event, Hold, Settled},
    id::{CallId, InstanceId, Lane, LimitId, ProducerId, Seq},
    limit::{Dimension, Limit, Match, Mode, Unit, Window},
    time::Time,
    wire,
};

use super::{
    call::{Bill, Call, Wish},
    policy::{TENANTS, USERS, price},
    road::Committed,
};

/// What has to be so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obligation {
    /// L-1, before every grant.
    NoGrantBeyondTheAmount,
    /// L-2, before every hold.
    NoHoldBeyondTheLease,
    /// A call holds on every limit that it falls under.
    EveryLimitIsHeld,
    /// A hard limit is never billed past, for bounded calls.
    HardLimitsAreNotBilledPast,
    /// Nothing is charged twice.
    NothingIsChargedTwice,
    /// Between two rests calls pass.
    CallsKeepPassing,
    /// What is charged is what the provider reported, at the price in force at admission.
    ChargesAreExact,
    /// No admitted call is unaccounted for.
    NoCallIsUnaccounted,
    /// Of the rows of a call's attempts one ends the call.
    ACallEndsOnce,
    /// Ledger = balances.
    BalancesAreTheLedger,
    /// Ledger = rows of the lake.
    #[cfg(feature = "query")]
    RowsAreTheLedger,
    /// The last affordable unit is usable once faults heal.
    TheLastUnitIsUsable,
    /// What is out of reach stays counted.
    LeasesOutOfReachStayCounted,
    /// What nobody knows stays held.
    TheUnknownStaysHeld,
    /// What turns out to be known of it frees so much as it may, once.
    AmendmentsAreExact,
    /// No more calls are open at a time than may be.
    NoMoreAreOpen,
    /// Client tags make no more counters than they may.
    NoMoreAreCounted,
    /// No more of a stream is relayed than is held and written down.
    NothingIsRelayedUnheld,
    /// A gateway does not go back to an earlier window.
    WindowsDoNotGoBack,
    /// Totals only grow, and alarms have a cause.
    TheLogIsSane,
    /// Everything is shipped, confirmed and read once faults heal.
    ItComesToRest,
}

/// An obligation that was broken.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) obligation: Obligation,
    pub(crate) detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.obligation, self.detail)
    }
}

#[derive(Default)]
pub(crate) struct Oracle {
    rules: Vec<Rule>,
    attempts: BTreeMap<(CallId, u16), Seen>,
    spent: BTreeMap<(InstanceId, Time), Spent>,
    mine: BTreeMap<(ProducerId, InstanceId), Mine>,
    /// The attempts that are open, by who makes them, and the counters of what is open at a time that they hold.
    open: BTreeMap<(CallId, u16), (ProducerId, Counted)>,
    /// By producer, limit and values, the last window that was entered.
    entered: BTreeMap<(ProducerId, usize, Vec<&'static str>), Time>,
    books: books::Books,
    told: told::Told,
    /// Producers whose journal was restored behind what was delivered of them, by lane.
    forked: BTreeMap<(ProducerId, Lane), u64>,
    /// Everybody who wrote in a journal that was put back to a copy; and whom each producer names as the one before it.
    torn: BTreeSet<ProducerId>,
    before: BTreeMap<ProducerId, ProducerId>,
    /// By producer and counter, the last window for which it asked for a lease.
    asked: BTreeMap<(ProducerId, InstanceId), Time>,
    /// How much may be billed of a window: the most that its limit was while metering knew it, or what was leased when it began.
    allowed: BTreeMap<(InstanceId, Time), i128>,
    /// Those of the forked of whom nothing more is to come.
    away: BTreeSet<(ProducerId, Lane)>,
    pub(crate) violations: Vec<Violation>,
}

/// Counters, each with the place of its rule.
type Counted = Vec<(InstanceId, usize)>;

/// A limit as the oracle knows it.
struct Rule {
    id: LimitId,
    limit: Limit,
    /// The largest amount it ever had.
    most: i128,
    amounts: BTreeSet<i128>,
}

/// An attempt that was made.
struct Seen {
    producer: ProducerId,
    wish: Wish,
    book: usize,
    /// What it holds as far as that is written down, and in all.
    holds: Vec<(Hold, usize)>,
    taken: Vec<(Hold, usize)>,
    /// What it held at first.
    first: Vec<(Hold, usize)>,
    /// So much output was given to its client.
    relayed: u64,
    sent: bool,
    lost: bool,
    /// A restored disk took its records; whoever has some of them cannot know its end.
    gone: bool,
    /// Where its end stood among them: what metering has accepted of it is known all the same.
    end: Option<(Lane, ProducerId, Seq)>,
    admitted: bool,
    rows: u32,
    /// How many of them end the call.
    ends: u32,
    charges: u32,
    done: bool,
    /// What its row posted of each counter.
    left: Vec<Left>,
}

/// What an attempt used of a counter, and what stays held of it.
#[derive(Clone, Copy, Debug)]
struct Left {
    hold: Hold,
    rule: usize,
    used: i128,
    /// As its row says: of a stream that was held slice by slice this may be more than is sure.
    unknown: i128,
    sure: i128,
}

/// One window of one counter.
#[derive(Clone, Debug, Default)]
struct Spent {
    rule: usize,
    /// What providers bill of it.
    billed: i128,
    /// The part that is beyond the bound, or that a failed disk took from the books.
    excused: i128,
    /// What the ledger says was used, and what stays unknown.
    used: i128,
    unknown: i128,
    /// What died on its way to the journal and may be in counters that came there first.
    overtaken: i128,
    /// The same of what is not known of them.
    doubted: i128,
    /// What a restored disk may have kept from being reported in another lane; the lease is out of reach instead.
    short: i128,
    /// What the ledger says was used, by who held it.
    by: BTreeMap<ProducerId, i128>,
}

/// What one producer has of one counter.
#[derive(Clone, Debug, Default)]
struct Mine {
    granted: i128,
    returned: i128,
    /// Used and held, by window.
    busy: BTreeMap<Time, i128>,
}

impl Oracle {
    /// A policy was published.
    pub(crate) fn published(&mut self, limits: &[Limit]) {
        for limit in limits {
            let id = limit.id();
            match self.rules.iter_mut().find(|rule| rule.id == id) {
                Some(rule) => {
                    rule.most = rule.most.max(limit.amount);
                    rule.amounts.insert(limit.amount);
                    rule.limit = limit.clone();
                }
                None => {
                    let (most, amounts) = (limit.amount, BTreeSet::from([limit.amount]));
                    self.rules.push(Rule { id, limit: limit.clone(), most, amounts });
                }
            }
        }
    }

    pub(crate) fn broken(&mut self, obligation: Obligation, detail: impl Into<String>) {
        self.violations.push(Violation { obligation, detail: detail.into() });
    }

    /// Where in the ledger its charges stand.
    #[cfg(feature = "query")]
    pub(crate) fn rows(&self) -> impl Iterator<Item = (usize, u64)> {
        self.books.charged.iter().copied()
    }

    /// What corrections add to what the originals cost.
    #[cfg(feature = "query")]
    pub(crate) fn corrected_by(&self) -> i128 {
        self.books.corrected
    }

    /// Whether so many tokens, at this cost, are what the ledger charges.
    #[cfg(feature = "query")]
    pub(crate) fn is_the_ledger(&self, tokens: i64, cost: i128) -> bool {
        self.books.tokens == i128::from(tokens) && self.books.cost == cost
    }

    #[cfg(feature = "query")]
    pub(crate) fn ledger(&self) -> String {
        let books = &self.books;
        format!("{} rows, {} tokens and {} in the ledger", books.charged.len(), books.tokens, books.cost)
    }

    /// How far metering has accepted a producer in a lane.
    pub(crate) fn accepted(&self, producer: ProducerId, lane: Lane) -> u64 {
        self.books.marks.get(&(lane, producer)).map_or(0, |seq| seq.0)
    }

    /// How much of a window of a counter may be billed in all.
    pub(super) fn allowed(&self, hold: &Hold, place: usize) -> i128 {
        let known = self.allowed.get(&(hold.instance, hold.window)).copied();
        known.unwrap_or_else(|| {
            // Metering has not heard of this window, and who is in it lives off leases that stand.
            let leased = self.books.instances.get(&hold.instance).map(|(_, instance)| books::leased(instance));
            self.rules[place].limit.amount.max(leased.unwrap_or(self.rules[place].most))
        })
    }

    /// A gateway let an attempt pass with these holds.
    pub(crate) fn held(&mut self, producer: ProducerId, call: &Call, wish: Wish, book: usize) {
        let key = (call.facts.call, call.facts.attempt);
        let holds = call.permit.as_ref().map(|permit| permit.holds.clone()).unwrap_or_default();
        let (mut matched, mut broken, mut back) = (Vec::new(), Vec::new(), Vec::new());
        for (place, rule) in self.rules.iter().enumerate() {
            let Some(values) = values(&rule.limit, &wish) else { continue };
            let shared: Vec<&str> = values.iter().map(|_| "other").collect();
            let is_its = |hold: &&Hold| {
                let window = (!stands(rule.limit.window)).then_some(hold.window);
                let shared =
                    rule.limit.max_instances.is_some() && InstanceId::of(rule.id, &shared, window) == hold.instance;
                shared || InstanceId::of(rule.id, &values, window) == hold.instance
            };
            match holds.iter().find(is_its) {
                Some(hold) => {
                    matched.push((*hold, place));
                    // Who has no counter of his own any more, or at last, may find the other in another window.
                    let window = (!stands(rule.limit.window)).then_some(hold.window);
                    let own = InstanceId::of(rule.id, &values, window) == hold.instance;
                    let counter = (producer, place, if own { values } else { shared });
                    let last = self.entered.entry(counter).or_insert(hold.window);
                    if hold.window < *last {
                        back.push(format!("{} at {producer} goes back to {}", rule.limit.name, hold.window));
                    }
                    *last = hold.window.max(*last);
                }
                None => broken.push(format!("{key:?} holds nothing of {}", rule.limit.name)),
            }
        }
        if matched.len() != holds.len() {
            broken.push(format!("{key:?} holds {} counters, of which {} are its own", holds.len(), matched.len()));
        }
        broken.into_iter().for_each(|detail| self.broken(Obligation::EveryLimitIsHeld, detail));
        back.into_iter().for_each(|detail| self.broken(Obligation::WindowsDoNotGoBack, detail));
        for (hold, place) in &matched {
            let mine = self.mine.entry((producer, hold.instance)).or_default();
            let busy = mine.busy.entry(hold.window).or_default();
            *busy += hold.amount;
            let (busy, lease) = (*busy, mine.granted - mine.returned);
            if self.rules[*place].limit.mode == Mode::Hard && busy > lease {
                let detail = format!(
                    "{} of {} is used and held at {producer} with a lease of {lease}",
                    busy, self.rules[*place].limit.name
                );
                self.broken(Obligation::NoHoldBeyondTheLease, detail);
            }
        }
        self.opened(key, producer, &matched);
        let seen = Seen {
            producer,
            wish,
            book,
            taken: matched.clone(),
            first: matched.clone(),
            holds: matched,
            relayed: 0,
            sent: false,
            lost: false,
            gone: false,
            end: None,
            admitted: false,
            rows: 0,
            ends: 0,
            charges: 0,
            done: false,
            left: Vec::new(),
        };
        self.attempts.insert(key, seen);
    }

    /// The hold was given back unused.
    pub(crate) fn given_back(&mut self, call: &Call) {
        self.open.remove(&(call.facts.call, call.facts.attempt));
        if let Some(seen) = self.attempts.remove(&(call.facts.call, call.facts.attempt)) {
            for (hold, _) in &seen.taken {
                self.let_go(seen.producer, hold, 0);
            }
        }
    }

    /// The provider has the request: it may bill all of it.
    pub(crate) fn sent(&mut self, key: (CallId, u16)) {
        let Some(seen) = self.attempts.get_mut(&key) else { return };
        seen.sent = true;
        let seen = &self.attempts[&key];
        let (holds, wish, book) = (seen.holds.clone(), seen.wish, seen.book);
        for (hold, place) in holds {
            let (bill, bound) = self.billable(place, &wish, book, 0);
            let spent = self.spent.entry((hold.instance, hold.window)).or_default();
            spent.rule = place;
            spent.billed += bill;
            spent.excused += (bill - bound).max(0);
            let told = |sums: &BTreeMap<_, i128>| sums.get(&(hold.instance, hold.window)).copied().unwrap_or(0);
            let billed = spent.billed - spent.excused + told(&self.told.moved) - told(&self.told.amended);
            let most = self.allowed(&hold, place).max(told(&self.told.overdrawn));
            if self.rules[place].limit.mode == Mode::Hard && billed > most {
                let detail = format!("{billed} of {} is billed of {most}", self.rules[place].limit.name);
                self.broken(Obligation::HardLimitsAreNotBilledPast, detail);
            }
        }
    }

    /// It turns out that the provider bills nothing.
    pub(crate) fn not_billed(&mut self, key: (CallId, u16)) {
        let Some(seen) = self.attempts.get_mut(&key) else { return };
        let (holds, wish, book, relayed) = (seen.holds.clone(), seen.wish, seen.book, seen.relayed);
        seen.wish.bill = Bill::default();
        for (hold, place) in holds {
            let unit = self.rules[place].limit.unit;
            let (bill, bound) = self.billable(place, &wish, book, relayed);
            let spent = self.spent.entry((hold.instance, hold.window)).or_default();
            if unit != Unit::Requests {
                spent.billed -= bill;
                spent.excused -= (bill - bound).max(0);
            }
        }
    }

    /// The gateway has settled an attempt, of which this is known.
    pub(crate) fn settled(&mut self, key: (CallId, u16), known: Option<Bill>, whole: bool) {
        self.open.remove(&key);
        let Some(seen) = self.attempts.get(&key) else { return };
        let (producer, wish, book, holds) = (seen.producer, seen.wish, seen.book, seen.taken.clone());
        for (hold, place) in holds {
            let unit = self.rules[place].limit.unit;
            let used = known.map_or(i128::from(unit == Unit::Requests), |known| amount(unit, &wish, book, known));
            let keeps = !whole && !matches!(unit, Unit::Requests | Unit::Concurrent);
            self.let_go(producer, &hold, used + if keeps { (hold.amount - used).max(0) } else { 0 });
        }
    }

    /// The process died before the settlement was written. Counters that were written first count it, and its holds stay: too much
    /// is counted then, never too little.
    pub(crate) fn unwritten(&mut self, settled: &Settled) {
        let key = (settled.attempt.call, settled.attempt.attempt);
        let Some(seen) = self.attempts.get(&key) else { return };
        let known = settled.usage.total().map(|total| Bill { input: total.uncached_input, output: total.output });
        let counted = |(_, place): &&(Hold, usize)| self.rules[*place].limit.unit != Unit::Concurrent;
        for (hold, place) in seen.taken.iter().filter(counted) {
            let unit = self.rules[*place].limit.unit;
            let used = known.map_or(1, |known| amount(unit, &seen.wish, seen.book, known));
            let spent = self.spent.entry((hold.instance, hold.window)).or_default();
            spent.rule = *place;
            spent.overtaken += used;
            spent.doubted += (hold.amount - used).max(0);
        }
    }

    fn let_go(&mut self, producer: ProducerId, hold: &Hold, keep: i128) {
        if let Some(busy) =
            self.mine.get_mut(&(producer, hold.instance)).and_then(|mine| mine.busy.get_mut(&hold.window))
        {
            *busy += keep - hold.amount;
        }
    }

    /// A gateway wrote something into its journal: what it says to have returned it may not spend any more.
    pub(crate) fn wrote(&mut self, producer: ProducerId, body: &[u8]) {
        let counters = match wire::decode_event(body) {
            Ok(Event::Reported(reported)) => reported.counters,
            Ok(Event::LeaseRequested(request)) => {
                for want in &request.wants {
                    let asked = self.asked.entry((producer, want.counter.instance)).or_insert(want.window);
                    *asked = want.window.max(*asked);
                }
                request.wants.iter().map(|want| want.counter).collect()
            }
            Ok(Event::Opened(opened)) => {
                self.before.extend(opened.predecessor.map(|before| (producer, before.producer)));
                return;
            }
            Ok(Event::Settled(settled)) => settled.counters,
            Ok(Event::Learned(learned)) => return self.told_written(&learned, true),
            _ => return,
        };
        for counter in counters {
            let mine = self.mine.entry((producer, counter.instance)).or_default();
            mine.returned = mine.returned.max(counter.returned);
        }
    }

    /// Records that a failing disk took before anybody else had them.
    pub(crate) fn lost(&mut self, bodies: &[Bytes]) {
        for body in bodies {
            match wire::decode_event(body) {
                Ok(Event::Admitted(admitted)) => self.excuse((admitted.attempt.call, admitted.attempt.attempt)),
                Ok(Event::Settled(settled)) => self.unwritten(&settled),
                Ok(Event::Streamed(streamed)) => self.forgotten((streamed.call, streamed.attempt)),
                Ok(Event::Learned(learned)) => self.told_written(&learned, false),
                _ => {}
            }
        }
    }

    fn excuse(&mut self, key: (CallId, u16)) {
        let Some(seen) = self.attempts.get_mut(&key).filter(|seen| !seen.lost) else { return };
        seen.lost = true;
        if seen.sent {
            let (holds, wish, book, relayed) = (seen.holds.clone(), seen.wish, seen.book, seen.relayed);
            for (hold, place) in holds {
                let (bill, bound) = self.billable(place, &wish, book, relayed);
                self.spent.entry((hold.instance, hold.window)).or_default().excused += bill.min(bound);
            }
        }
    }

    /// A journal was put back to a copy: what it had since, as far as nobody else has it, is gone. Of what is at home in another
    /// lane than the call, a copy takes more than metering can see.
    pub(crate) fn restored(
        &mut self,
        writers: &[ProducerId],
        gone: &[Record],
        lost: &[Bytes],
        forked: Vec<((ProducerId, Lane), u64)>,
    ) {
        self.torn.extend(writers);
        self.forked.extend(forked);
        for Record { lane, header, body, .. } in gone {
            let mut end = None;
            let key = match wire::decode_event(body) {
                Ok(Event::Admitted(admitted)) => (admitted.attempt.call, admitted.attempt.attempt),
                Ok(Event::Settled(settled)) => {
                    end = Some((*lane, header.producer, header.seq));
                    (settled.attempt.call, settled.attempt.attempt)
                }
                Ok(Event::Streamed(streamed)) => {
                    self.forgotten((streamed.call, streamed.attempt));
                    continue;
                }
                Ok(Event::Learned(learned)) => {
                    self.told_written(&learned, false);
                    continue;
                }
                _ => continue,
            };
            let Some(seen) = self.attempts.get_mut(&key) else { continue };
            seen.end = end.or(seen.end);
            if std::mem::replace(&mut seen.gone, true) {
                continue;
            }
            for (hold, place) in &seen.holds {
                let bill = amount(self.rules[*place].limit.unit, &seen.wish, seen.book, seen.wish.bill);
                let spent = self.spent.entry((hold.instance, hold.window)).or_default();
                spent.rule = *place;
                spent.short += bill;
            }
        }
        self.lost(lost);
    }

    /// A transaction was committed.
    pub(crate) fn committed(&mut self, committed: &Committed) {
        let marks = &self.books.marks;
        let done = |((producer, lane), delivered): (&(ProducerId, Lane), &u64)| {
            (marks.get(&(*lane, *producer)).map_or(0, |seq| seq.0) >= *delivered).then_some((*producer, *lane))
        };
        self.away = self.forked.iter().filter_map(done).collect();
        for body in &committed.ledger {
            let end = self.books.ends.entry(committed.lane).or_default();
            let place = (usize::from(committed.lane.0), *end);
            *end += 1;
            self.entry(place, body);
        }
        for (key, state) in &committed.decisions {
            self.decision(committed.lane, key, state.as_ref());
        }
    }
}

/// Whether one counter serves every window.
const fn stands(window: Window) -> bool {
    matches!(window, Window::Second | Window::Minute | Window::Hour)
}

/// The values of `*` for a call; nothing if the limit is not about it.
fn values(limit: &Limit, wish: &Wish) -> Option<Vec<&'static str>> {
    let mut values = Vec::new();
    for (dimension, matcher) in &limit.scope {
        let value = match dimension {
            Dimension::Tenant => TENANTS[wish.tenant],
            Dimension::User => USERS[wish.user],
            Dimension::Provider => ["p1", "p2"][wish.provider],
            Dimension::Model => super::policy::MODELS[wish.model],
            Dimension::Tag(_) => super::policy::FEATURES[wish.feature?],
            _ => return None,
        };
        match matcher {
            Match::Is(wanted) if wanted != value => return None,
            Match::Is(_) => {}
            Match::Each => values.push(value),
        }
    }
    Some(values)
}

/// A bill in the unit of a limit.
fn amount(unit: Unit, wish: &Wish, book: usize, bill: Bill) -> i128 {
    let (input, output) = (i128::from(bill.input), i128::from(bill.output));
    match unit {
        Unit::Requests => 1,
        // Nothing of it is ever used up.
        Unit::Concurrent => 0,
        Unit::Tokens => input + output,
        Unit::InputTokens => input,
        Unit::OutputTokens => output,
        Unit::Usd => price(book, wish.model) * (input + 2 * output),
    }
}
