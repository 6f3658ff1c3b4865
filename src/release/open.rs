//! Attempts that were admitted and have no end by the ledger, of those who write none any more.

use std::collections::BTreeMap;

use schemas::{
    id::{Lane, ProducerId},
    ledger::{Entry, Fact},
    standing::{Key, key},
    time::Time,
};

use super::Standing;

/// The open attempts of those who are silent, and of those whose place a silent command has taken, as far as the ledger was read.
#[derive(Default)]
pub(super) struct Open {
    /// Who would have to end what one has admitted in a lane.
    heirs: BTreeMap<(Lane, ProducerId), ProducerId>,
    /// Those that are open: who has admitted each, and who would have to end it.
    open: BTreeMap<Key, (ProducerId, ProducerId)>,
}

impl Open {
    /// None yet.
    pub(super) fn of(standing: &Standing, now: Time) -> Self {
        let mut heirs = BTreeMap::new();
        let budget = standing.policy.metering.silence();
        for (heir, run) in standing.runs.iter().filter(|(_, run)| now.since(run.heard) > budget) {
            let own = run.last.keys().map(|lane| (*lane, *heir));
            heirs.extend(own.chain(run.before.iter().copied()).map(|of| (of, *heir)));
        }
        Self { heirs, open: BTreeMap::new() }
    }

    /// Whether there may be any.
    pub(super) fn is_wanted(&self) -> bool {
        !self.heirs.is_empty()
    }

    /// Takes the next entry of a lane.
    pub(super) fn take(&mut self, lane: Lane, entry: &Entry) {
        match &entry.fact {
            Fact::Admitted(begun) => {
                let of = begun.producer.and_then(|by| Some((by, *self.heirs.get(&(lane, by))?)));
                self.open.extend(of.map(|of| ((begun.attempt.call, begun.attempt.attempt), of)));
            }
            Fact::Charged(charged) => {
                self.open.remove(&key(&charged.settled));
            }
            _ => {}
        }
    }

    /// How many one would have to end.
    pub(super) fn left_to(&self, heir: ProducerId) -> usize {
        self.open.values().filter(|(_, of)| *of == heir).count()
    }

    /// How many a command would have to end that has died, by who has admitted them.
    pub(super) fn broken_off(&self, standing: &Standing) -> BTreeMap<ProducerId, usize> {
        let mut left = BTreeMap::new();
        let is_command = |heir: &ProducerId| standing.runs.get(heir).is_some_and(super::Run::is_command);
        for (by, _) in self.open.values().filter(|(_, heir)| is_command(heir)) {
            *left.entry(*by).or_default() += 1;
        }
        left
    }
}
