//! What the oracle knows of a limit that comes late: all that stands in the ledger of its tenant's days counts in it, whether it was held or not.

use std::collections::BTreeMap;

use schemas::{event::Settled, id::LimitId, limit::Limit, time::Time, tokens::Usage};

use super::{Obligation, Oracle};
use crate::world::policy;

/// A day of UTC, as windows of it begin.
const DAY: i64 = 86_400_000_000;

/// What was used by the limit's tenant, by day: since the last rest, or, once the limit is there, since the one before it came.
#[derive(Default)]
pub(super) struct Late {
    limit: Option<(LimitId, Time)>,
    used: BTreeMap<Time, i128>,
}

impl Oracle {
    /// A limit comes that counts what is in the ledger since the last rest.
    pub(crate) fn comes_late(&mut self, limit: &Limit, now: Time) {
        self.late.limit = Some((limit.id(), day(now)));
    }

    /// What stands in the ledger by now is kept for no limit that comes later.
    pub(crate) fn forget(&mut self) {
        if self.late.limit.is_none() {
            self.late.used.clear();
        }
    }

    /// A row says that so much was used, where so much stood before.
    pub(super) fn counts_late(&mut self, settled: &Settled, was: Option<&Usage>) {
        let attempt = &settled.attempt;
        if attempt.subject.tenant == policy::TENANTS[1] {
            let tokens = |usage: &Usage| usage.total().map_or(0, |total| i128::from(total.total()));
            let more = tokens(&settled.usage) - was.map_or(0, tokens);
            *self.late.used.entry(day(attempt.admitted_at)).or_default() += more;
        }
    }

    /// At rest: what was not held when it was admitted is added, and nothing else is.
    pub(super) fn late_is_counted(&mut self) {
        let Some((limit, from)) = self.late.limit else { return };
        let mut broken = Vec::new();
        for (_, instance) in self.books.instances.values().filter(|(_, instance)| instance.limit == limit) {
            for window in instance.windows.iter().filter(|window| window.start >= from) {
                let held = self.spent.get(&(instance.id, window.start)).map_or(0, |spent| spent.used);
                let (used, added) = (self.late.used.get(&window.start).copied().unwrap_or(0), window.adjusted);
                if used != held + added {
                    broken.push(format!("of {used} in {} {held} were held, and {added} added", window.start));
                }
            }
        }
        broken.into_iter().for_each(|detail| self.broken(Obligation::BalancesAreTheLedger, detail));
    }
}

fn day(at: Time) -> Time {
    Time::from_micros(at.as_micros().div_euclid(DAY) * DAY)
}
