//! The books made anew from the ledger alone, and what they do not agree with.
//!
//! Two things are computed again from the facts. Every charge: the attempt's usage rated by the book that it was stamped with. Every
//! balance: what an instance has settled in a window is what the attempts that name it used. Both have to be equal to what metering
//! wrote, to the unit. Grants are facts and are taken as such: nothing is decided again. Of a window that metering has let go of, what
//! was settled since is in no balance, so there the sum may be larger than what was last shown, and never smaller. Corrections are
//! rated again like charges and what they moved and cleared is added up; that each takes the place of what stood, and moves what that
//! differs by, is looked at by itself ([`Chain`]), and so is that what an amended attempt has used is in every counter that it names, and what
//! is corrected of others in every counter that was filled with them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::Arc,
};

use schemas::{
    decision::{Instance, WindowState},
    event::Settled,
    id::{BookHash, CallId, InstanceId, LimitId},
    ledger::{Charge, Charged, Corrected, Entry, Fact, Rated, Unpriced},
    limit::Limit,
    price::{self, Book, Key},
    time::Time,
    tokens::Usage,
};

mod chain;
mod filled;

pub use chain::Chain;
use filled::Filled;

/// The charges of some usage of an attempt by a book; without one nothing has a price.
pub fn charges(settled: &Settled, usage: &Usage, book: Option<&Book>) -> Vec<Charge> {
    let attempt = &settled.attempt;
    let key = Key {
        provider: &attempt.provider,
        vendor: attempt.api.vendor(),
        model: &attempt.model,
        tier: &settled.service_tier,
        at: attempt.admitted_at,
    };
    price::rate(book, &key, &settled.model_answered, &usage.parts)
}

/// The books as the entries so far make them.
#[derive(Debug, Default)]
pub struct Replay {
    books: HashMap<BookHash, Arc<Book>>,
    /// What attempts used, by instance and the start of the window.
    used: BTreeMap<(InstanceId, Time), i128>,
    /// What was added to them by anything else.
    moved: BTreeMap<(InstanceId, Time), i128>,
    /// What was cleared of their provisions.
    cleared: BTreeMap<(InstanceId, Time), i128>,
    /// Attempts that were corrected.
    corrected: BTreeSet<(CallId, u16)>,
    /// What metering showed last.
    shown: BTreeMap<(InstanceId, Time), Shown>,
    /// Those that metering has not let go of.
    live: BTreeSet<(InstanceId, Time)>,
    limits: HashMap<LimitId, Limit>,
    first: Option<Difference>,
    /// What was gone through.
    pub counts: Counts,
}

/// What was gone through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Entries of the ledger.
    pub entries: u64,
    /// Attempts that ended.
    pub attempts: u64,
    /// Charges that were computed again.
    pub charges: u64,
    /// Corrections.
    pub corrections: u64,
    /// Balances that were added up again: an instance in a window each.
    pub balances: u64,
}

#[derive(Clone, Copy, Debug)]
struct Shown {
    limit: LimitId,
    until: Time,
    filled: Time,
    adjusted: i128,
    cleared: i128,
    settled: i128,
}

/// What does not agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The charges of an attempt.
    Charges {
        /// The call.
        call: CallId,
        /// The attempt at it.
        attempt: u16,
        /// As the ledger has them.
        ledger: Vec<Charge>,
        /// As they come out now.
        replay: Vec<Charge>,
    },
    /// What a correction takes the place of, or what it moves of counters.
    Correction {
        /// The call.
        call: CallId,
        /// The attempt at it.
        attempt: u16,
        /// What is wrong with it.
        what: String,
    },
    /// What corrections cleared of the provisions of an instance in a window, in the limit's unit.
    Cleared {
        /// The name of the limit, or its id where no name is known.
        limit: String,
        /// The instance.
        instance: InstanceId,
        /// The start of the window.
        window: Time,
        /// As metering shows it.
        shown: i128,
        /// As the corrections add up.
        replay: i128,
    },
    /// What a counter that was filled has of attempts that do not name it and of what corrects them, since it was filled.
    Filled {
        /// The limit's name.
        limit: String,
        /// The instance.
        instance: InstanceId,
        /// The start of the window.
        window: Time,
        /// What it lacks, in the limit's unit.
        lacks: i128,
        /// A call that was corrected meanwhile.
        call: CallId,
    },
    /// What is settled of an instance in a window, in the limit's unit.
    Balance {
        /// The name of the limit, or its id where no name is known.
        limit: String,
        /// The instance.
        instance: InstanceId,
        /// The start of the window.
        window: Time,
        /// As metering shows it.
        shown: i128,
        /// As the attempts add up.
        replay: i128,
    },
}

impl Replay {
    /// Makes a price book of the policy known.
    pub fn book(&mut self, book: Arc<Book>) {
        self.books.insert(book.hash(), book);
    }

    /// Takes the next entry of a lane.
    pub fn take(&mut self, entry: Entry) {
        self.counts.entries += 1;
        match entry.fact {
            Fact::Charged(charged) => self.charged(&charged),
            Fact::Corrected(corrected) => self.correction(&corrected),
            Fact::Adjusted(adjusted) => {
                for posting in &adjusted.posted {
                    let place = (posting.instance, posting.window);
                    *self.moved.entry(place).or_default() += posting.used;
                    *self.cleared.entry(place).or_default() -= posting.provision;
                }
            }
            Fact::Balance(instance) => self.show(&instance),
            Fact::Limits(limits) => {
                self.limits.extend(limits.limits.into_iter().map(|limit| (limit.id(), limit)));
            }
            _ => {}
        }
    }

    fn charged(&mut self, charged: &Charged) {
        self.counts.attempts += 1;
        for posting in &charged.settled.posted {
            *self.used.entry((posting.instance, posting.window)).or_default() += posting.used;
        }
        self.rate_again(&charged.settled, &charged.settled.usage, charged.settled.attempt.book, &charged.charges);
    }

    fn correction(&mut self, corrected: &Corrected) {
        let Corrected { was, reversed, charged, .. } = corrected;
        let settled = &charged.settled;
        self.counts.corrections += 1;
        self.corrected.insert((settled.attempt.call, settled.attempt.attempt));
        self.rate_again(settled, &was.usage, was.book, reversed);
        self.rate_again(settled, &settled.usage, settled.attempt.book, &charged.charges);
    }

    fn rate_again(&mut self, settled: &Settled, usage: &Usage, book: BookHash, ledger: &[Charge]) {
        let unknown = |charge: &Charge| charge.price == Rated::Unpriced(Unpriced::UnknownBook);
        // What metering could not know then is a fact, whatever is known now.
        let book = self.books.get(&book).filter(|_| !ledger.iter().any(unknown));
        let replay = charges(settled, usage, book.map(AsRef::as_ref));
        self.counts.charges += replay.len() as u64;
        if replay != ledger {
            let (call, attempt) = (settled.attempt.call, settled.attempt.attempt);
            self.differs(Difference::Charges { call, attempt, ledger: ledger.to_vec(), replay });
        }
    }

    /// What has to be looked at in a second pass: whether every correction took back what stood. Nothing without corrections.
    pub fn chain(&self) -> Option<Chain> {
        let counters = self.shown.iter().filter_map(|(place, shown)| {
            Some((*place, chain::Counter { unit: self.limits.get(&shown.limit)?.unit, until: shown.until }))
        });
        // What was corrected after metering let go of a counter is not in it.
        let live = self.shown.iter().filter(|(place, shown)| shown.filled > Time::ZERO && self.live.contains(*place));
        let filled = live.filter_map(|((id, start), shown)| {
            Some((self.limits.get(&shown.limit)?, (*id, (*start, shown.until)), shown.filled))
        });
        (!self.corrected.is_empty()).then(|| Chain::of(&self.corrected, counters.collect(), Filled::of(filled)))
    }

    fn show(&mut self, instance: &Instance) {
        for window in &instance.windows {
            self.shown.insert((instance.id, window.start), Shown::of(instance, window));
        }
    }

    /// Compares what was shown last with the live state of an instance, when its lane's ledger has been read to the end.
    pub fn live(&mut self, instance: &Instance) {
        for window in &instance.windows {
            self.live.insert((instance.id, window.start));
            let (live, limit) = (instance.settled(window), self.name(instance.limit));
            let shown = self.shown.get(&(instance.id, window.start)).copied();
            let (settled, cleared) = shown.map_or((0, 0), |shown| (shown.settled, shown.cleared));
            let (instance, cleared_here, window) = (instance.id, window.cleared, window.start);
            if live != settled {
                self.differs(Difference::Balance { limit, instance, window, shown: live, replay: settled });
            } else if cleared_here != cleared {
                self.differs(Difference::Cleared { limit, instance, window, shown: cleared_here, replay: cleared });
            }
        }
    }

    /// Adds everything up: the first difference, if there is one.
    pub fn end(mut self) -> (Counts, Option<Difference>) {
        for (key, shown) in std::mem::take(&mut self.shown) {
            self.counts.balances += 1;
            let [used, moved, cleared] =
                [&self.used, &self.moved, &self.cleared].map(|sums| sums.get(&key).copied().unwrap_or(0));
            let agrees = if self.live.contains(&key) {
                moved == shown.adjusted && used + moved == shown.settled
            } else {
                used >= shown.settled - shown.adjusted
            };
            let replay = used + moved;
            if !agrees {
                let (limit, (instance, window)) = (self.name(shown.limit), key);
                self.differs(Difference::Balance { limit, instance, window, shown: shown.settled, replay });
            }
            if cleared < shown.cleared || self.live.contains(&key) && cleared != shown.cleared {
                let (limit, (instance, window)) = (self.name(shown.limit), key);
                self.differs(Difference::Cleared { limit, instance, window, shown: shown.cleared, replay: cleared });
            }
        }
        (self.counts, self.first)
    }

    fn differs(&mut self, difference: Difference) {
        self.first.get_or_insert(difference);
    }

    fn name(&self, limit: LimitId) -> String {
        self.limits.get(&limit).map_or_else(|| limit.to_string(), |limit| limit.name.clone())
    }
}

impl Shown {
    fn of(instance: &Instance, window: &WindowState) -> Self {
        let WindowState { end: until, filled, adjusted, cleared, .. } = *window;
        Self { limit: instance.limit, until, filled, adjusted, cleared, settled: instance.settled(window) }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Charges { call, attempt, ledger, replay } => {
                write!(
                    f,
                    "the charges of attempt {attempt} of call {call}: the ledger has {ledger:?}, replay {replay:?}"
                )
            }
            Self::Correction { call, attempt, what } => {
                write!(f, "a correction of attempt {attempt} of call {call}: {what}")
            }
            Self::Cleared { limit, instance, window, shown, replay } => write!(
                f,
                "limit `{limit}`, instance {instance}, window from {window}: metering shows {shown} cleared of provisions, the ledger adds up to {replay}"
            ),
            Self::Filled { limit, instance, window, lacks, call } => write!(
                f,
                "limit `{limit}`, instance {instance}, window from {window}: it was filled by `backfill`, and lacks {lacks} of what ended or was \
                 corrected since, call {call} with it"
            ),
            Self::Balance { limit, instance, window, shown, replay } => write!(
                f,
                "limit `{limit}`, instance {instance}, window from {window}: metering shows {shown} settled, the ledger adds up to {replay}"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
