//! The policy changed: limits, amounts and the price book in force from here on.

use std::{collections::HashMap, sync::Arc, time::Duration};

use schemas::{
    id::{InstanceId, LimitId, Offset},
    ledger::{BookInForce, Changed, Fact, KeyInForce, KeysInForce, LimitsInForce},
    limit::{Limit, Match, Share},
    policy::Policy,
    subject::Subject,
    time::Time,
};

use super::Engine;

impl Engine {
    pub(super) fn policy(&mut self, policy: &Arc<Policy>, next: Offset) {
        let limits = policy.limits.iter().map(|limit| (limit.id(), limit.clone())).collect();
        let before = std::mem::replace(&mut self.limits, limits);
        self.retire(before);
        self.seats.clear();
        for instance in self.instances.all.values() {
            if let Some(shared) = self.limits.get(&instance.limit).and_then(|limit| instance.shared(limit)) {
                *self.seats.entry(shared).or_default() += 1;
            }
        }
        self.ahead = policy.metering.outage_budget;
        self.abandon_after = policy.metering.abandon_after;
        self.remembers = Duration::from_secs(u64::from(policy.metering.dedup_days) * 24 * 3_600);
        let keys = keys(policy);
        if next > self.state.policy {
            self.touched = true;
            self.state.policy = next;
            self.fill_no_more();
            let offset = Offset(next.0.saturating_sub(1));
            // Every lane reads the policy; one of them tells the lake.
            if self.lane.0 == 0 {
                self.write(Fact::Limits(LimitsInForce { policy: offset, limits: policy.limits.clone() }));
                if self.keys.as_ref() != Some(&keys) {
                    self.write(Fact::Keys(KeysInForce { policy: offset, keys: keys.clone() }));
                }
                self.write(Fact::Book(BookInForce { policy: offset, book: policy.book }));
            }
            self.change_amounts();
        }
        self.keys = Some(keys);
        self.tick();
    }

    /// Writes down what a record changed, if that is not done already. The policy that comes next says how far the topic was read.
    pub(super) fn changed_policy(&mut self, changed: &Changed) {
        if self.lane.0 == 0 && changed.policy >= self.state.policy {
            self.touched = true;
            self.write(Fact::Changed(Box::new(changed.clone())));
        }
    }

    /// Limits keep what was spent of them when their amount changes; a lowered one calls its leases back.
    fn change_amounts(&mut self) {
        for instance in self.instances.all.values_mut() {
            let Some(limit) = self.limits.get(&instance.limit).filter(|limit| limit.amount != instance.amount) else {
                continue;
            };
            if limit.amount < instance.amount {
                instance.recall += 1;
            }
            instance.amount = limit.amount;
            // What was said was said of another amount.
            instance.windows.iter_mut().for_each(|window| (window.alerted, window.passed) = (Share(0), Share(0)));
            self.instances.dirty.insert(instance.id);
        }
        let gone: Vec<LimitId> = self.schedules.keys().filter(|id| !self.limits.contains_key(id)).copied().collect();
        for id in gone {
            self.schedules.remove(&id);
            self.changed.insert(id);
        }
    }

    /// Opens the counter of every limit that has exactly one and is at home here, so that it is seen before it is used.
    pub(super) fn open_fixed(&mut self, now: Time) {
        let fixed: HashMap<LimitId, Limit> = self
            .limits
            .iter()
            .filter(|(_, limit)| self.fixed_here(limit))
            .map(|(id, limit)| (*id, limit.clone()))
            .collect();
        for id in fixed.into_keys() {
            let Some((window, _)) = self.schedules.get(&id).and_then(|schedule| schedule.window(now)) else { continue };
            let exists = self.instances.all.contains_key(&InstanceId::of::<&str>(id, &[], None));
            if !exists {
                self.open(id, &[], window);
            }
        }
    }

    fn fixed_here(&self, limit: &Limit) -> bool {
        let fixed = limit.scope.iter().all(|(_, matcher)| matches!(matcher, Match::Is(_)));
        fixed && limit.home::<&str>(&[], self.lanes) == self.lane
    }

    /// Whether counters of a limit may be at home in this lane.
    pub(super) fn may_be_home(&self, limit: &Limit) -> bool {
        limit.scope.iter().any(|(_, matcher)| *matcher == Match::Each) || self.fixed_here(limit)
    }
}

/// The keys of a policy, as the ledger tells of them.
fn keys(policy: &Policy) -> Vec<KeyInForce> {
    let keys = policy.tenants.iter().flat_map(|tenant| tenant.keys.iter().map(move |key| (&tenant.name, key)));
    keys.map(|(tenant, key)| KeyInForce {
        subject: Arc::new(Subject {
            tenant: tenant.clone(),
            team: key.team.clone(),
            project: key.project.clone(),
            user: key.user.clone(),
            key: key.name.clone(),
            tags: key.tags.clone(),
        }),
        expires: key.expires,
        disabled: key.disabled,
        models: key.models.clone(),
        former_until: key.former.map(|former| former.until),
        corrects: key.corrects,
    })
    .collect()
}
