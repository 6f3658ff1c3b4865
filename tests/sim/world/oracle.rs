//! The oracle: naive books of everything that happened, and the obligations that they must satisfy.
//!
//! It sees what a bystander sees: which calls were made and what providers billed for them, what gateways held, what a power
//! failure or a restored disk took away, and every message that was committed. It shares no code with the engine: it matches,
//! prices and adds by rules of its own (`tariff`), which know only this world's few limits. Of the product it takes the vocabulary:
//! messages as they are read, and the names of counters, by which it finds them and from which it concludes nothing. `attempts`
//! and `journals` are told what happens, `books` and `told` read what was committed, `quiet` adds everything up when nothing is under way.

mod attempts;
mod books;
mod journals;
mod late;
mod obligation;
mod open;
mod quiet;
mod tariff;
mod told;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use schemas::{
    event::Hold,
    id::{CallId, InstanceId, Lane, LimitId, ProducerId, Seq},
    limit::{Limit, Mode, OnExceed},
    time::Time,
};

pub(crate) use self::obligation::Obligation;
use super::{
    call::{Bill, Ending, Wish},
    policy::HOUR,
    road::Committed,
};

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
    late: late::Late,
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
    /// Those who began on a copy of a journal that its original goes on with.
    beside: BTreeSet<ProducerId>,
    /// What gateways wrote and metering has not accepted, by lane and producer.
    due: BTreeMap<(Lane, ProducerId), BTreeMap<Seq, journals::Due>>,
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
    /// Whether it ever let a stream go on to its end.
    may_finish: bool,
    /// Whether it was ever soft: then more may be used of it, and not leased, than the amount that it has since.
    was_soft: bool,
    /// Whether it is in the policy that was published last.
    in_force: bool,
}

impl Rule {
    /// Whether a gateway knows it that of the limits of a name knows this one.
    fn is_known(&self, named: Option<LimitId>) -> bool {
        self.limit.name != HOUR || named == Some(self.id)
    }

    /// Whether nothing is ever used of it that was not leased.
    fn is_hard(&self) -> bool {
        self.limit.mode == Mode::Hard && !self.was_soft
    }
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
    /// Limits that let it go on to its end whatever it uses.
    unheld: BTreeSet<InstanceId>,
    /// So much output was given to its client.
    relayed: u64,
    /// How it ended, if it did, and what was written of it while it ran.
    ending: Option<Ending>,
    written: Vec<Bill>,
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
    /// What rows say stays held: of a stream that was held slice by slice more than is sure.
    said: i128,
    /// By how much the balance differed from the ledger when the world was last at rest: from then on that is exact.
    pinned: i128,
    /// What died since on its way to the journal and may be in counters that came there first.
    overtaken: i128,
    /// The same of what is not known of them.
    doubted: i128,
    /// What a restored disk may have kept since from being reported in another lane; the lease is out of reach instead.
    short: i128,
    /// All that was so kept, ever.
    away: i128,
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
        self.rules.iter_mut().for_each(|rule| rule.in_force = false);
        for limit in limits {
            let id = limit.id();
            match self.rules.iter_mut().find(|rule| rule.id == id) {
                Some(rule) => {
                    rule.most = rule.most.max(limit.amount);
                    rule.amounts.insert(limit.amount);
                    rule.was_soft |= limit.mode == Mode::Soft;
                    rule.may_finish |= limit.on_exceed == OnExceed::Finish;
                    rule.limit = limit.clone();
                    rule.in_force = true;
                }
                None => {
                    let (most, amounts) = (limit.amount, BTreeSet::from([limit.amount]));
                    let may_finish = limit.on_exceed == OnExceed::Finish;
                    let was_soft = limit.mode == Mode::Soft;
                    self.rules.push(Rule {
                        id,
                        limit: limit.clone(),
                        most,
                        amounts,
                        may_finish,
                        was_soft,
                        in_force: true,
                    });
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
