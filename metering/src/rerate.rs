//! What past attempts would have cost by other prices, and the corrections that make it so.
//!
//! An attempt is rated as it was then, by the class, tier and time of its own facts; only the prices are others ([`Prices`]). What it
//! costs now is what the ledger says with all its corrections, so what was applied once makes no difference a second time. What has no
//! price in one of the books is counted apart and never as nothing, and so is what nobody knows of an attempt's usage. The ledger stays as
//! it is: a correction is another event, numbered within its attempt, so that however often and from wherever it is sent, there is one.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use schemas::{
    event::{Learned, Move, Settled, Was, Why},
    id::{BookHash, InstanceId, Lane, LimitId},
    ledger::{Charge, Charged, Corrected, Entry, Fact, Late, Rated},
    limit::Unit,
    money::Pico,
    price::{self, Book},
    standing::{Key, is_of_unknown_book, key},
    time::Time,
    tokens::{Completeness, Usage},
};

use crate::replay::charges;

mod prices;

pub use prices::Prices;

/// The source of the corrections that are made here.
pub const SOURCE: &str = "tollgate:rerate";

/// The most attempts that are corrected at once: some 2 KB each are 1 GB.
pub const MOST: usize = 500_000;

/// The sums of the attempts of one tenant and model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Attempts of which something is known, were it only that they used nothing.
    pub attempts: u64,
    /// As the ledger has them.
    pub before: Side,
    /// By the other prices.
    pub after: Side,
}

/// Charges by one book.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// What those that have a price cost.
    pub cost: Pico,
    /// How many have none.
    pub unpriced: i64,
}

/// Attempts of a time, rated again.
#[derive(Debug)]
pub struct Rerate {
    prices: Prices,
    from: Time,
    to: Time,
    /// By tenant and model.
    pub sums: BTreeMap<(String, String), Sums>,
    /// How many attempts are not known exactly, by tenant, model and what is known: those of which nothing is known are in no sum.
    pub inexact: BTreeMap<(String, String, Completeness), u64>,
    /// What those are, as they stand: one that is corrected is known better.
    doubted: HashMap<Key, Completeness>,
    /// Attempts that cost something else by the prices, as they stand.
    differ: BTreeMap<Key, Standing>,
    /// How often attempts were corrected.
    corrected: BTreeMap<Key, u32>,
    /// Counters that were moved for attempts, beside those that their gateways posted to.
    moved: BTreeMap<Key, BTreeSet<(InstanceId, Time)>>,
    counters: HashMap<InstanceId, (Lane, LimitId, Vec<String>)>,
    in_dollars: BTreeSet<LimitId>,
    /// Corrections that were made here, and how many counters each of them found gone.
    made: BTreeMap<String, usize>,
}

/// An attempt, what it is charged now, and the book by which it would cost something else.
#[derive(Clone, Debug)]
struct Standing {
    settled: Settled,
    charges: Vec<Charge>,
    book: Book,
    /// When metering charged it first.
    charged_at: Time,
}

impl Rerate {
    /// Rates what was admitted at `from` or later and before `to`.
    pub fn new(prices: Prices, from: Time, to: Time) -> Self {
        Self {
            prices,
            from,
            to,
            sums: BTreeMap::new(),
            inexact: BTreeMap::new(),
            doubted: HashMap::new(),
            differ: BTreeMap::new(),
            corrected: BTreeMap::new(),
            moved: BTreeMap::new(),
            counters: HashMap::new(),
            in_dollars: BTreeSet::new(),
            made: BTreeMap::new(),
        }
    }

    /// Takes the next entry of a lane of the ledger.
    pub fn take(&mut self, lane: Lane, entry: Entry) {
        match entry.fact {
            Fact::Charged(charged) => self.charged(*charged, entry.recorded_at),
            Fact::Corrected(corrected) => self.correction(*corrected),
            Fact::Adjusted(adjusted) => {
                let known = self.moved.entry((adjusted.call, adjusted.attempt)).or_default();
                known.extend(adjusted.posted.iter().map(|posting| (posting.instance, posting.window)));
                for Late { limit, values, start, .. } in adjusted.late {
                    let instance = InstanceId::of(limit, &values, Some(start));
                    known.insert((instance, start));
                    self.counters.entry(instance).or_insert((lane, limit, values));
                }
                if adjusted.source == SOURCE {
                    *self.made.entry(adjusted.id).or_default() += adjusted.gone.len();
                }
            }
            Fact::Balance(instance) => {
                self.counters.entry(instance.id).or_insert((lane, instance.limit, instance.values));
            }
            Fact::Limits(limits) => {
                let dollars = limits.limits.iter().filter(|limit| limit.unit == Unit::Usd);
                self.in_dollars.extend(dollars.map(schemas::limit::Limit::id));
            }
            _ => {}
        }
    }

    fn charged(&mut self, charged: Charged, at: Time) {
        if !self.is_meant(&charged.settled) {
            return;
        }
        self.count(&charged.settled, true);
        let (after, book) = self.again(&charged);
        let sums = self.sums_of(&charged.settled);
        sums.before.add(&charged.charges, 1);
        sums.after.add(&after, 1);
        self.stands((charged, at), book, &after);
    }

    fn correction(&mut self, corrected: Corrected) {
        let Corrected { was, reversed, charged, .. } = corrected;
        if !self.is_meant(&charged.settled) {
            return;
        }
        let (before, _) = self.rate(&charged.settled, &was.usage, (was.book, &reversed));
        let (after, book) = self.again(&charged);
        self.count(&charged.settled, false);
        let sums = self.sums_of(&charged.settled);
        sums.before.add(&reversed, -1);
        sums.before.add(&charged.charges, 1);
        sums.after.add(&before, -1);
        sums.after.add(&after, 1);
        *self.corrected.entry(key(&charged.settled)).or_default() += 1;
        self.stands((charged, was.charged_at), book, &after);
    }

    /// What an attempt costs by the prices, and by which book.
    fn again(&self, charged: &Charged) -> (Vec<Charge>, Option<Book>) {
        let Charged { settled, charges } = charged;
        self.rate(settled, &settled.usage, (settled.attempt.book, charges))
    }

    /// The same of some usage of an attempt that was charged so by a book. What was charged by one that is not known stays as it is: it was
    /// published since the books were read.
    fn rate(&self, of: &Settled, usage: &Usage, (by, before): (BookHash, &[Charge])) -> (Vec<Charge>, Option<Book>) {
        let book = self.prices.in_place_of(charged_by(by, before));
        let after = book.map_or_else(|| before.to_vec(), |book| charges(of, usage, Some(book)));
        (after, book.cloned())
    }

    /// Counts an attempt by what is known of it now. One that is corrected may be known better than before.
    fn count(&mut self, settled: &Settled, is_new: bool) {
        let (known, key) = (&settled.usage.completeness, key(settled));
        let place = |known: &Completeness| {
            (settled.attempt.subject.tenant.clone(), settled.attempt.model.clone(), known.clone())
        };
        let is_missing = |known: &Completeness| matches!(known, Completeness::Missing(_));
        let before = self.doubted.remove(&key);
        if let Some(count) = before.as_ref().and_then(|before| self.inexact.get_mut(&place(before))) {
            *count -= 1;
        }
        if known.doubt().is_some() {
            *self.inexact.entry(place(known)).or_default() += 1;
            self.doubted.insert(key, known.clone());
        }
        let is_first = is_new || before.as_ref().is_some_and(is_missing);
        if is_first && !is_missing(known) {
            self.sums_of(settled).attempts += 1;
        }
    }

    /// Remembers an attempt that would cost something else; what was known of it is over.
    fn stands(&mut self, (charged, charged_at): (Charged, Time), book: Option<Book>, after: &[Charge]) {
        let Charged { mut settled, charges } = charged;
        self.differ.remove(&key(&settled));
        let Some(book) = book.filter(|_| !is_same(&charges, after)) else { return };
        (settled.raw_usage, settled.counters, settled.call) = (String::new(), Vec::new(), None);
        // One too many says that there are too many.
        if self.differ.len() <= MOST {
            self.differ.insert(key(&settled), Standing { settled, charges, book, charged_at });
        }
    }

    fn is_meant(&self, settled: &Settled) -> bool {
        (self.from..self.to).contains(&settled.attempt.admitted_at)
    }

    fn sums_of(&mut self, settled: &Settled) -> &mut Sums {
        let attempt = &settled.attempt;
        self.sums.entry((attempt.subject.tenant.clone(), attempt.model.clone())).or_default()
    }

    /// How many attempts cost something else.
    pub fn differing(&self) -> usize {
        self.differ.len()
    }

    /// Charges that have a price and would have none, and the model of the first; nothing if there are none.
    pub fn losing(&self) -> Option<(usize, String)> {
        let (mut charged, mut first) = (0, None);
        for Standing { settled, charges: before, book, .. } in self.differ.values() {
            let after = charges(settled, &settled.usage, Some(book));
            let pairs = before.iter().zip(&after);
            for (lost, _) in pairs.filter(|(before, after)| is_priced(before) && !is_priced(after)) {
                charged += 1;
                first.get_or_insert_with(|| lost.model.as_ref().unwrap_or(&settled.attempt.model).clone());
            }
        }
        first.map(|model| (charged, model))
    }

    /// How many of the attempts that cost something else at an earlier look still do.
    pub fn still_differing(&self, earlier: &Self) -> usize {
        earlier.differ.keys().filter(|key| self.differ.contains_key(*key)).count()
    }

    /// Of these corrections, how many counters were gone when they came.
    pub fn gone(&self, ids: &BTreeSet<String>) -> usize {
        self.made.iter().filter(|(id, _)| ids.contains(*id)).map(|(_, gone)| gone).sum()
    }

    /// The books that the corrections name, each once.
    pub fn books(&self) -> Vec<Book> {
        let all = self.differ.values().map(|standing| (standing.book.hash(), &standing.book));
        all.collect::<BTreeMap<_, _>>().into_values().cloned().collect()
    }

    /// The corrections that are missing, made at a time.
    pub fn corrections(&self, at: Time) -> Vec<Learned> {
        self.differ.iter().map(|(key, standing)| self.correct(*key, standing, at)).collect()
    }

    fn correct(&self, key: Key, standing: &Standing, at: Time) -> Learned {
        let (call, attempt) = key;
        let number = self.corrected.get(&key).copied().unwrap_or(0);
        let Standing { settled, charges: before, book, charged_at } = standing;
        let stood = charged_by(settled.attempt.book, before);
        let was = Was { why: Why::Rerated, usage: settled.usage.clone(), book: stood, number, charged_at: *charged_at };
        let after = charges(settled, &settled.usage, Some(book));
        let amount = counted(&after) - counted(before);
        let posted = settled.posted.iter().map(|posting| (posting.instance, posting.window));
        let named: BTreeSet<(InstanceId, Time)> =
            posted.chain(self.moved.get(&key).into_iter().flatten().copied()).collect();
        let moved = |instance| {
            let (home, limit, values) = self.counters.get(&instance)?;
            (self.in_dollars.contains(limit) && amount != 0).then_some((home, limit, values))
        };
        let moves = named.into_iter().filter_map(|(instance, window)| {
            let (home, limit, values) = moved(instance)?;
            Some(Move { home: *home, limit: *limit, values: values.clone(), window, amount, clears: 0 })
        });
        let hash = book.hash();
        let mut is = settled.clone();
        is.attempt.book = hash;
        for posting in is.posted.iter_mut().filter(|posting| moved(posting.instance).is_some()) {
            posting.used += amount;
        }
        Learned {
            source: SOURCE.into(),
            id: format!("{call}/{attempt}/{number}"),
            at,
            content: schemas::wire::hash(&hash.0),
            was: Some(was),
            moves: moves.collect(),
            is,
            awaits: false,
        }
    }
}

/// The book that something was charged by, if metering knew it then.
fn charged_by(book: BookHash, charges: &[Charge]) -> BookHash {
    if charges.iter().any(is_of_unknown_book) { BookHash::NONE } else { book }
}

/// What a limit in dollars counts of charges: those that have a price.
fn counted(charges: &[Charge]) -> i128 {
    price::sum(charges).known.0
}

const fn is_priced(charge: &Charge) -> bool {
    matches!(charge.price, Rated::Priced { .. })
}

/// Whether they come to the same money; where a price was read makes no difference.
fn is_same(one: &[Charge], other: &[Charge]) -> bool {
    let price = |charge: &Charge| match &charge.price {
        Rated::Priced { unit_price, .. } => Ok(*unit_price),
        Rated::Unpriced(_) => Err(()),
    };
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| price(one) == price(other))
}

impl Side {
    fn add(&mut self, charges: &[Charge], times: i64) {
        for charge in charges {
            match charge.price {
                Rated::Priced { cost, .. } => self.cost += Pico(cost.0 * i128::from(times)),
                Rated::Unpriced(_) => self.unpriced += times,
            }
        }
    }
}

#[cfg(test)]
mod tests;
