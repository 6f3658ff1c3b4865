//! Whether every correction takes the place of what stood, and moves what that differs by.
//!
//! What an attempt is charged, and what it has posted to counters, is its original and then, one after the other, its corrections. To
//! keep all attempts for the few that are corrected would take the memory of the whole ledger, so this is a second pass that keeps only
//! those. A correction has to be of an attempt that there is, to take back exactly what stands, to leave no more provision than stood, and to have moved counters by exactly the difference: no provision is cleared twice, nor one that nobody posted.

use std::collections::{BTreeMap, BTreeSet};

use schemas::{
    event::{Outcome, Posting},
    id::InstanceId,
    ledger::{Adjusted, Charge, Charged, Corrected, Entry, Fact},
    standing::{Key, key},
    time::Time,
    tokens::Usage,
};

use super::Difference;

/// What stands of the attempts that were corrected.
#[derive(Debug, Default)]
pub struct Chain {
    standing: BTreeMap<Key, Standing>,
    first: Option<Difference>,
}

/// One of them.
#[derive(Debug, Default)]
struct Standing {
    charged: Option<(Usage, Vec<Charge>)>,
    posted: Vec<Posting>,
    /// By counter, what its corrections say to move and clear, less what was moved and cleared.
    unmoved: BTreeMap<(InstanceId, Time), (i128, i128)>,
    /// Whether something of it found its counter gone, and whether any correction said that less was used.
    gone: bool,
    lowered: bool,
}

impl Chain {
    pub(super) fn of(corrected: &BTreeSet<Key>) -> Self {
        Self { standing: corrected.iter().map(|key| (*key, Standing::default())).collect(), first: None }
    }

    /// Takes the next entry of a lane. Lanes come in any order, so what was moved may come before the correction that says so.
    pub fn take(&mut self, entry: Entry) {
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
            Fact::Corrected(corrected) => self.corrected(*corrected),
            Fact::Adjusted(adjusted) => self.adjusted(&adjusted),
            _ => {}
        }
    }

    fn corrected(&mut self, corrected: Corrected) {
        let Corrected { was, reversed, charged, .. } = corrected;
        let Charged { settled, charges } = charged;
        let key @ (call, attempt) = key(&settled);
        let standing = self.standing.entry(key).or_default();
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
        let Some(standing) = self.standing.get_mut(&(adjusted.call, adjusted.attempt)) else { return };
        standing.gone |= !adjusted.gone.is_empty();
        for posting in &adjusted.posted {
            let unmoved = standing.unmoved.entry((posting.instance, posting.window)).or_default();
            *unmoved = (unmoved.0 - posting.used, unmoved.1 + posting.provision);
        }
    }

    /// The first correction that is not one of what stood.
    pub fn end(self) -> Option<Difference> {
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
        self.first.or(moved)
    }
}

impl Standing {
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
