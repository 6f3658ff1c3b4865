//! Limits that are out of force: what corrects an attempt moves what it has counted in for as long as metering keeps a counter of it, and a
//! limit that comes back goes on from there.
//!
//! Nothing is admitted or held by them.

use std::{collections::HashSet, sync::Arc};

use schemas::{
    decision::Instance,
    id::{InstanceId, LimitId},
    limit::Limit,
    map::Map,
    standing::Named,
};

use super::{Book, rules::Rule};

/// Limits that are out of force, by their ids.
pub(super) type Past = Map<LimitId, Arc<Limit>>;

/// More than these are not kept without a counter: some 300 bytes each. A counter's first word may come long after its limit went.
const MOST: usize = 1 << 16;

impl Book {
    /// Takes note of limits that a policy had which was never in force here, because another came after it at once.
    pub(crate) fn skip(&mut self, limits: impl Iterator<Item = Limit>) {
        self.past.extend(limits.map(|limit| (limit.id(), Arc::new(limit))));
    }

    /// Keeps what a policy takes out of force, and gives up what is in force again.
    pub(super) fn retire(&mut self, before: Vec<Rule>, in_force: &Map<LimitId, Arc<Limit>>) {
        if self.past.len() > MOST {
            let counted: HashSet<LimitId> = self.views.values().map(|view| view.limit).collect();
            self.past.retain(|id, _| counted.contains(id));
        }
        self.past.extend(before.into_iter().map(|rule| (rule.id, rule.limit)));
        self.past.retain(|id, _| !in_force.contains_key(id));
    }

    /// What a counter of a tenant's calls is called, whether its limit is in force or not; nothing where metering keeps it no more.
    pub(crate) fn named(&self, tenant: &str, id: InstanceId) -> Option<Named> {
        let view = self.views.get(&id)?;
        let rule = self.rules.of(tenant).find(|rule| rule.id == view.limit);
        let limit = rule.map(|rule| &rule.limit).or_else(|| self.past.get(&view.limit))?;
        Some(self.name(view, limit))
    }

    /// The same of one whose limit is out of force.
    pub(crate) fn named_of_past(&self, id: InstanceId) -> Option<Named> {
        let view = self.views.get(&id)?;
        Some(self.name(view, self.past.get(&view.limit)?))
    }

    /// Whether metering keeps a counter of a limit that no policy had which was read here.
    pub(crate) fn is_nameless(&self, tenant: &str, id: InstanceId) -> bool {
        self.views.contains_key(&id) && self.named(tenant, id).is_none()
    }

    fn name(&self, view: &Instance, limit: &Limit) -> Named {
        let home = limit.home(&view.values, self.lanes);
        Named { home, limit: view.limit, values: view.values.clone(), unit: limit.unit }
    }
}
