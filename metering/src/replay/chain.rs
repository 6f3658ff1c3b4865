//! Whether every correction takes the place of what stood, and moves what that differs by.
//!
//! What an attempt is charged, and what it has posted to counters, is its original and then, one after the other, its corrections. To
//! keep all attempts for the few that are corrected would take the memory of the whole ledger, so this is a second pass that keeps only
//! those. A correction has to be of an attempt that there is, to take back exactly what stands, to leave no more provision than stood, and
//! to have moved counters by exactly the difference: no provision is cleared twice, nor one that nobody posted. After the last amendment
//! the attempt has to have posted what it used to every counter that it names and that was kept by then, in force or not; what a
//! counter lacks of that may have been filled in since, for a limit with `backfill`. What such a counter has that its attempts do not name
//! is gone through beside ([`Filled`]).

use std::collections::{BTreeMap, BTreeSet};

use schemas::{
    event::{Outcome, Posting, Why},
    id::InstanceId,
    ledger::{Adjusted, Charge, Charged, Corrected, Entry, Fact},
    limit::Unit,
    price,
    standing::{Key, key},
    time::Time,
    tokens::Usage,
};

use super::{Difference, filled::Filled};
use crate::{backfill::SOURCE, engine::KEPT};

/// A counter in a window: its instance, and the start.
type Place = (InstanceId, Time);

/// What a counter in a window counts, and until when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counter {
    pub(super) unit: Unit,
    pub(super) until: Time,
}

/// What stands of the attempts that were corrected.
#[derive(Debug, Default)]
pub struct Chain {
    standing: BTreeMap<Key, Standing>,
    counters: BTreeMap<Place, Counter>,
    /// What was filled in of what they had not counted.
    filled: BTreeMap<Place, i128>,
    late: Filled,
    first: Option<Difference>,
}

/// One of them.
#[derive(Debug, Default)]
struct Standing {
    charged: Option<(Usage, Vec<Charge>)>,
    posted: Vec<Posting>,
    /// By counter, what its corrections say to move and clear, less what was moved and cleared.
    unmoved: BTreeMap<Place, (i128, i128)>,
    /// When it was amended last.
    amended: Option<Time>,
    /// Whether something of it found its counter gone, and whether any correction said that less was used.
    gone: bool,
    lowered: bool,
}

impl Chain {
    pub(super) fn of(corrected: &BTreeSet<Key>, counters: BTreeMap<Place, Counter>, late: Filled) -> Self {
        let standing = corrected.iter().map(|key| (*key, Standing::default())).collect();
        Self { standing, counters, late, ..Self::default() }
    }

    /// Takes the next entry of a lane. Lanes come in any order, so what was moved may come before the correction that says so.
    pub fn take(&mut self, entry: Entry) {
        self.late.take(&entry);
        match entry.fact {
            Fact::Charged(charged) => {
                let Charged { settled, charges } = *charged;
                // Earlier versions gave what a copy of a journal left open a second row, which says less.
                let copied =
                    |standing: &&mut Standing| standing.charged.is_some() && settled.outcome == Outcome::Unknown;
                if let Some(standing) = self.standing.get_mut(&key(&settled)).filter(|standing| !copied(standing)) {
                    (standing.charged, standing.posted) = (Some((settled.usage, charges)), settled.posted);
                }
            }
            Fact::Corrected(corrected) => self.corrected(*corrected, entry.recorded_at),
            Fact::Adjusted(adjusted) => self.adjusted(&adjusted),
            _ => {}
        }
    }

    fn corrected(&mut self, corrected: Corrected, at: Time) {
        let Corrected { was, reversed, charged, .. } = corrected;
        let Charged { settled, charges } = charged;
        let key @ (call, attempt) = key(&settled);
        let standing = self.standing.entry(key).or_default();
        if was.why == Why::Amended {
            standing.amended = Some(at);
        }
        let stood = standing.charged.replace((settled.usage, charges));
        let wrong = |what| Some(Difference::Correction { call, attempt, what });
        let wrong = match stood {
            None => wrong("there is no such attempt before it".into()),
            Some((_, replay)) if replay != reversed => {
                Some(Difference::Charges { call, attempt, ledger: reversed, replay })
            }
            Some((usage, _)) if usage != was.usage => {
                wrong(format!("it takes the place of {:?}, and {usage:?} stood", was.usage))
            }
            Some(_) => standing.posts(settled.posted).err().and_then(wrong),
        };
        if let Some(wrong) = wrong {
            self.first.get_or_insert(wrong);
        }
    }

    fn adjusted(&mut self, adjusted: &Adjusted) {
        if adjusted.source == SOURCE && adjusted.attempt == 0 {
            for posting in &adjusted.posted {
                *self.filled.entry((posting.instance, posting.window)).or_default() += posting.used;
            }
        }
        let Some(standing) = self.standing.get_mut(&(adjusted.call, adjusted.attempt)) else { return };
        standing.gone |= !adjusted.gone.is_empty();
        for posting in &adjusted.posted {
            let unmoved = standing.unmoved.entry((posting.instance, posting.window)).or_default();
            *unmoved = (unmoved.0 - posting.used, unmoved.1 + posting.provision);
        }
    }

    /// The first correction that is not one of what stood.
    pub fn end(self) -> Option<Difference> {
        let lacking = self.lacking();
        let late = self.late.end();
        let moved = self.standing.into_iter().find_map(|((call, attempt), standing)| {
            // What was told of calls that passed elsewhere names no counters in its rows.
            let named = |instance| standing.posted.iter().any(|posting| posting.instance == instance);
            let wrong = standing.unmoved.iter().find(|((instance, _), (used, cleared))| {
                let gone = *used < 0 && !standing.lowered || *cleared < 0;
                let wrong = if standing.gone { gone } else { (*used, *cleared) != (0, 0) };
                wrong && (named(*instance) || *cleared != 0)
            });
            let ((instance, window), (used, cleared)) = wrong?;
            let what = format!(
                "of instance {instance}, window from {window}, {used} that its rows say were not moved and {cleared} not cleared"
            );
            Some(Difference::Correction { call, attempt, what })
        });
        self.first.or(moved).or(lacking).or(late)
    }

    /// The first counter that lacks what attempts have used that name it and were amended, with the first of them.
    fn lacking(&self) -> Option<Difference> {
        let mut lacking = BTreeMap::<Place, (Key, i128)>::new();
        for (key, standing) in &self.standing {
            for (place, lacks) in standing.lacks(&self.counters) {
                lacking.entry(place).or_insert((*key, 0)).1 += lacks;
            }
        }
        lacking.into_iter().find_map(|(place, ((call, attempt), lacks))| {
            let lacks = lacks - self.filled.get(&place).copied().unwrap_or(0);
            let (instance, window) = place;
            let what = format!(
                "instance {instance}, window from {window}, lacks {lacks} of what it is said to have used, and it names that counter"
            );
            (lacks > 0).then_some(Difference::Correction { call, attempt, what })
        })
    }
}

impl Standing {
    /// What it has used and not posted to counters that it names, if it was amended and they were kept then. That it was a request its end
    /// has said.
    fn lacks(&self, counters: &BTreeMap<Place, Counter>) -> Vec<(Place, i128)> {
        let Some((amended, (usage, charges))) = self.amended.zip(self.charged.as_ref()) else { return Vec::new() };
        let (total, cost) = (usage.total().unwrap_or_default(), price::sum(charges).known);
        let lacks = self.posted.iter().filter_map(|posting| {
            let place = (posting.instance, posting.window);
            let counter = counters.get(&place).filter(|counter| counter.unit != Unit::Requests)?;
            let lacks = counter.unit.amount(&total, Some(cost))? - posting.used;
            let was_kept = counter.until == Time::MAX || amended.since(counter.until) <= KEPT;
            (was_kept && lacks > 0).then_some((place, lacks))
        });
        lacks.collect()
    }

    /// Takes what a correction says to be posted in all.
    fn posts(&mut self, posted: Vec<Posting>) -> Result<(), String> {
        let stood = std::mem::replace(&mut self.posted, posted);
        let place = |posting: &Posting| (posting.instance, posting.window);
        if !stood.iter().map(place).eq(self.posted.iter().map(place)) {
            return Err("it posts to other counters than the attempt".into());
        }
        for (before, after) in stood.iter().zip(&self.posted) {
            let (used, cleared) = (after.used - before.used, before.provision - after.provision);
            if cleared < 0 || after.provision < 0 {
                let (stood, of) = (before.provision, before.instance);
                return Err(format!("of instance {of} it clears {cleared} of a provision of {stood}"));
            }
            self.lowered |= used < 0;
            let unmoved = self.unmoved.entry(place(after)).or_default();
            *unmoved = (unmoved.0 + used, unmoved.1 + cleared);
        }
        Ok(())
    }
}
