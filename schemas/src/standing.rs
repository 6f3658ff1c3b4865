//! What stands of an attempt by the ledger, and the correction that takes its place.
//!
//! An attempt is what its last correction says, else what its gateway settled. Corrections are numbered by how many there were before, and
//! each says what the attempt has posted to counters in all from there on: so what one moves is the difference of two facts, and nobody's
//! word. It never posts less than stood, unless that was an estimate; what it clears of a provision is what it says to be known.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    event::{Learned, Move, Outcome, Posting, Settled, Was, Why},
    id::{BookHash, CallId, InstanceId, Lane, LimitId},
    ledger::{Charge, Charged, Entry, Fact, Rated, Unpriced},
    limit::Unit,
    price::{self, Cost},
    time::Time,
    tokens::{Completeness, Usage},
};

/// Names an attempt: the call, and its number in it.
pub type Key = (CallId, u16);

/// Of so many amendments of one attempt it is remembered who made them; metering knows the others.
const REMEMBERED: usize = 64;

/// An attempt as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// As it was charged last.
    pub charged: Charged,
    /// When it was charged first.
    pub charged_at: Time,
    /// How often it was corrected.
    pub number: u32,
    /// The source and the id of what amended it, the last one last.
    pub amended: VecDeque<(String, String)>,
    /// The counters of its lane, with their windows, that anything told of it has moved.
    pub counted: BTreeSet<(InstanceId, Time)>,
}

/// Attempts that are looked for in a ledger, and what it has of them so far.
#[derive(Debug, Default)]
pub struct Standings {
    /// Each of them.
    pub all: BTreeMap<Key, Option<Standing>>,
}

/// A counter, as a correction names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The lane that it is at home in.
    pub home: Lane,
    /// Its limit.
    pub limit: LimitId,
    /// The values of the limit's `*`.
    pub values: Vec<String>,
    /// The limit's unit.
    pub unit: Unit,
}

/// What a correction may clear of a provision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clears {
    /// As much as it adds: who says so may be told less than the whole, so it gives no room.
    Added,
    /// All of it: what is said is the whole. What has no price keeps it.
    Known,
    /// All of it, whatever it may have cost.
    Everything,
}

impl Standings {
    /// Looks for these.
    pub fn of(wanted: impl Iterator<Item = Key>) -> Self {
        Self { all: wanted.map(|key| (key, None)).collect() }
    }

    /// Takes the next entry of their lane.
    pub fn take(&mut self, entry: &Entry) {
        match &entry.fact {
            Fact::Charged(charged) => {
                let Some(known) = self.all.get_mut(&key(&charged.settled)) else { return };
                // Earlier versions gave what a copy of a journal left open a second row, which says less.
                if known.is_none() || charged.settled.outcome != Outcome::Unknown {
                    let (amended, counted) = (VecDeque::new(), BTreeSet::new());
                    let (charged, charged_at) = ((**charged).clone(), entry.recorded_at);
                    *known = Some(Standing { charged, charged_at, number: 0, amended, counted });
                }
            }
            Fact::Corrected(corrected) => {
                let Some(Some(known)) = self.all.get_mut(&key(&corrected.charged.settled)) else { return };
                known.charged = corrected.charged.clone();
                known.number += 1;
                if corrected.was.why == Why::Amended {
                    if known.amended.len() >= REMEMBERED {
                        known.amended.pop_front();
                    }
                    known.amended.push_back((corrected.source.clone(), corrected.id.clone()));
                }
            }
            Fact::Adjusted(adjusted) => {
                let Some(Some(known)) = self.all.get_mut(&(adjusted.call, adjusted.attempt)) else { return };
                known.counted.extend(adjusted.posted.iter().map(|posting| (posting.instance, posting.window)));
            }
            _ => {}
        }
    }
}

impl Standing {
    /// What is known of its use, and what that is sure of once somebody has stated more of it.
    pub fn usage(&self) -> &Usage {
        &self.charged.settled.usage
    }

    /// What it has posted to counters in all.
    pub fn posted(&self) -> &[Posting] {
        &self.charged.settled.posted
    }

    /// What it costs, as far as it has a price.
    pub fn cost(&self) -> Cost {
        price::sum(&self.charged.charges)
    }

    /// Whether what stands is our own estimate, and no provider's word.
    pub const fn is_estimate(&self) -> bool {
        matches!(self.charged.settled.usage.completeness, Completeness::Estimated(_))
    }

    /// How sure somebody is who adds to it.
    pub fn added(&self) -> Completeness {
        match &self.usage().completeness {
            Completeness::LowerBound(why) | Completeness::Missing(why) => Completeness::LowerBound(*why),
            // More than an estimate is an estimate and something.
            sure @ (Completeness::Exact | Completeness::Estimated(_)) => sure.clone(),
        }
    }

    /// The correction that says that it used this, at this cost by its book. A counter that `name` does not know is not moved.
    pub fn correct(
        &self,
        (usage, cost): (Usage, Cost),
        (why, clears): (Why, Clears),
        (source, id, content): (String, String, u64),
        at: Time,
        name: impl Fn(&Posting) -> Option<Named>,
    ) -> Learned {
        let settled = &self.charged.settled;
        let total = usage.total().unwrap_or_default();
        let (mut posted, mut moves) = (settled.posted.clone(), Vec::new());
        for posting in &mut posted {
            let Some(named) = name(posting).filter(|named| named.unit != Unit::Concurrent) else { continue };
            let known = named.unit.amount(&total, Some(cost.known)).unwrap_or(posting.used);
            let is_whole = named.unit != Unit::Usd || cost.lacks.is_none();
            // What was never more than an estimate gives way to what is so.
            let lowers = clears == Clears::Known && is_whole && self.is_estimate();
            let used = if lowers { known } else { known.max(posting.used) };
            let amount = used - posting.used;
            let provision = match clears {
                Clears::Everything => 0,
                Clears::Known if is_whole => 0,
                Clears::Known | Clears::Added => (posting.provision - amount).max(0),
            };
            let clears = posting.provision - provision;
            (posting.used, posting.provision) = (used, provision);
            if amount != 0 || clears != 0 {
                let Named { home, limit, values, .. } = named;
                moves.push(Move { home, limit, values, window: posting.window, amount, clears });
            }
        }
        let was = Some(self.was(why));
        let is = Settled { usage, posted, counters: Vec::new(), call: None, ..settled.clone() };
        Learned { source, id, at, content, was, is, moves, awaits: false }
    }

    /// What a correction takes the place of.
    pub fn was(&self, why: Why) -> Was {
        let unknown = self.charged.charges.iter().any(is_of_unknown_book);
        let book = if unknown { BookHash::NONE } else { self.charged.settled.attempt.book };
        Was { why, usage: self.usage().clone(), book, number: self.number, charged_at: self.charged_at }
    }
}

/// The attempt that something is about.
pub fn key(settled: &Settled) -> Key {
    (settled.attempt.call, settled.attempt.attempt)
}

/// Whether a charge was made without its book.
pub fn is_of_unknown_book(charge: &Charge) -> bool {
    charge.price == Rated::Unpriced(Unpriced::UnknownBook)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixture,
        money::Pico,
        tokens::{Doubt, Vector},
    };

    fn vector(output: u64) -> Usage {
        Usage::exact(Vector { output, ..Vector::default() })
    }

    /// An attempt of which 10 were reported, with these postings, and the next correction of it.
    fn corrected(postings: &[(Unit, i128, i128)], to: (u64, Option<i128>), clears: Clears) -> Vec<(i128, i128)> {
        let doubt = Completeness::LowerBound(Doubt::ClientLeft);
        corrected_from(doubt, postings, to, clears)
    }

    /// The same, of one that stood so.
    fn corrected_from(
        completeness: Completeness,
        postings: &[(Unit, i128, i128)],
        to: (u64, Option<i128>),
        clears: Clears,
    ) -> Vec<(i128, i128)> {
        let instance = |place: usize| InstanceId([u8::try_from(place).unwrap(); 16]);
        let posted = postings.iter().enumerate().map(|(place, (_, used, provision))| Posting {
            instance: instance(place),
            window: Time::ZERO,
            used: *used,
            provision: *provision,
        });
        let attempt = fixture::attempt(CallId::from_bytes([1; 16]), Time::ZERO);
        let usage = Usage { completeness, ..vector(10) };
        let bare = Settled::bare(attempt, Time::ZERO, Outcome::ClientGone, usage);
        let settled = Settled { posted: posted.collect(), ..bare };
        let mut standings = Standings::of(std::iter::once(key(&settled)));
        let charged = Fact::Charged(Box::new(Charged { settled, charges: Vec::new() }));
        standings.take(&Entry { recorded_at: Time::ZERO, fact: charged });
        let standing = standings.all.into_values().next().unwrap().unwrap();
        let units: Vec<Unit> = postings.iter().map(|(unit, ..)| *unit).collect();
        let name = |posting: &Posting| {
            let unit = units[usize::from(posting.instance.0[0])];
            Some(Named { home: Lane(0), limit: LimitId(posting.instance.0), values: Vec::new(), unit })
        };
        let said = ("s".into(), "1".into(), 1);
        let lacks = Some(Unpriced::UnknownModel).filter(|_| to.1.is_none());
        let (usage, cost) = (vector(to.0), Cost { known: Pico(to.1.unwrap_or(0)), lacks });
        let learned = standing.correct((usage, cost), (Why::Amended, clears), said, Time::ZERO, name);
        let after = learned.is.posted.iter().zip(postings);
        for (is, (_, used, provision)) in after {
            let moved = learned.moves.iter().find(|moved| moved.limit.0 == is.instance.0);
            let (amount, clears) = moved.map_or((0, 0), |moved| (moved.amount, moved.clears));
            assert_eq!((is.used, is.provision), (used + amount, provision - clears), "what it says is what it moves");
        }
        learned.moves.iter().map(|moved| (moved.amount, moved.clears)).collect()
    }

    #[test]
    fn a_correction_moves_what_the_ledger_lacks_and_clears_what_it_may() {
        use Clears::{Added, Everything, Known};
        let tokens = [(Unit::Tokens, 10, 90)];
        assert_eq!(corrected(&tokens, (30, None), Added), [(20, 20)], "no room is given");
        assert_eq!(corrected(&tokens, (30, None), Known), [(20, 90)]);
        assert_eq!(corrected(&tokens, (120, None), Added), [(110, 90)], "a bill beyond the bound");
        assert_eq!(corrected(&tokens, (10, None), Everything), [(0, 90)]);
        assert_eq!(corrected(&[(Unit::Tokens, 10, 0)], (10, None), Known), []);
        assert_eq!(corrected(&[(Unit::Requests, 0, 1)], (10, None), Added), [(1, 1)], "it was a request");
        assert_eq!(corrected(&[(Unit::Concurrent, 0, 1)], (10, None), Known), [], "it is over");
        let dollars = [(Unit::Usd, 7, 50)];
        assert_eq!(corrected(&dollars, (30, Some(9)), Known), [(2, 50)]);
        assert_eq!(corrected(&dollars, (30, None), Known), [], "what it costs is not known");
        assert_eq!(corrected(&dollars, (10, None), Everything), [(0, 50)]);
        assert_eq!(corrected(&dollars, (30, Some(3)), Known), [(0, 50)], "never less than stood");
        let estimated = |clears| {
            let doubt = Completeness::Estimated(Doubt::Truncated);
            corrected_from(doubt, &[(Unit::Tokens, 10, 90), (Unit::Usd, 7, 50)], (4, Some(3)), clears)
        };
        assert_eq!(estimated(Known), [(-6, 90), (-4, 50)], "unless it was an estimate, and what is said is the whole");
        assert_eq!(estimated(Added), [], "who may only add lowers nothing");
    }
}
