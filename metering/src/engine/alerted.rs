//! A counter comes near the end of its amount: said once for each share of it that its limit names.
//!
//! What is used and what is held count together, and what is held goes down again. So the highest share that was said is part of the
//! state of the window, and no restart and no call that ends says it a second time. Of another amount it is another share, which is said
//! anew.

use schemas::{
    id::InstanceId,
    ledger::{Alerted, Fact},
};

use super::Engine;

impl Engine {
    /// Says which shares the windows of a counter have reached since the last commit.
    pub(super) fn alert(&mut self, id: InstanceId) {
        let Some(instance) = self.instances.all.get_mut(&id) else { return };
        let Some(limit) = self.limits.get(&instance.limit).filter(|limit| !limit.alerts.is_empty()) else { return };
        let levels: Vec<(i128, i128)> =
            instance.windows.iter().map(|window| (instance.settled(window), instance.held(window))).collect();
        let mut reached = Vec::new();
        for (window, (settled, held)) in instance.windows.iter_mut().zip(levels) {
            let new = limit.alerts.iter().filter(|share| **share > window.alerted);
            for share in new.filter(|share| share.is_reached(settled.saturating_add(held), instance.amount)) {
                reached.push(Alerted {
                    instance: id,
                    limit: instance.limit,
                    values: instance.values.clone(),
                    window: window.start,
                    until: window.end,
                    share: *share,
                    amount: instance.amount,
                    settled,
                    held,
                });
            }
            window.alerted = reached
                .iter()
                .filter(|said| said.window == window.start)
                .map(|said| said.share)
                .fold(window.alerted, Ord::max);
        }
        reached.into_iter().for_each(|alerted| self.write(Fact::Alerted(Box::new(alerted))));
    }
}
