//! The limits of the policy in force, by the tenants whose calls can fall under them.

use std::{collections::BTreeSet, sync::Arc};

use schemas::{
    id::LimitId,
    limit::{Dimension, Limit, Match},
    map::Map,
};

/// A limit with its id.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) id: LimitId,
    pub(super) limit: Arc<Limit>,
}

/// Limits that belong together.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) rules: Vec<Rule>,
    /// Beside the tenant, the dimensions on whose values it depends what a call that can fall under them does fall under. Many groups
    /// have the same.
    pub(super) dimensions: Arc<[Dimension]>,
}

/// All limits. Groups are shared, so that going through one leaves the books free to change.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// Limits whose scope names one tenant, by it.
    of_tenant: Map<String, Arc<Group>>,
    /// All others.
    of_all: Arc<Group>,
}

impl Rules {
    /// Puts these limits in the place of all before; gives them by their ids.
    pub(super) fn replace(&mut self, limits: Vec<Limit>) -> Map<LimitId, Arc<Limit>> {
        let (mut of_tenant, mut of_all) = (Map::<String, Group>::default(), Group::default());
        let mut by_id = Map::default();
        for mut limit in limits {
            limit.scope.shrink_to_fit();
            let rule = Rule { id: limit.id(), limit: Arc::new(limit) };
            by_id.insert(rule.id, Arc::clone(&rule.limit));
            let tenant = rule.limit.scope.iter().find_map(|(dimension, matcher)| match matcher {
                Match::Is(value) if *dimension == Dimension::Tenant && !value.ends_with('*') => Some(value.clone()),
                _ => None,
            });
            tenant.map_or(&mut of_all, |tenant| of_tenant.entry(tenant).or_default()).rules.push(rule);
        }
        let mut known = BTreeSet::new();
        of_all.look(&[], &mut known);
        for group in of_tenant.values_mut() {
            group.look(&of_all.dimensions, &mut known);
        }
        self.of_tenant = of_tenant.into_iter().map(|(tenant, group)| (tenant, Arc::new(group))).collect();
        self.of_all = Arc::new(of_all);
        by_id
    }

    /// The dimensions on whose values it depends what a call of a tenant falls under, beside the tenant.
    pub(super) fn dimensions(&self, tenant: &str) -> &[Dimension] {
        &self.of_tenant.get(tenant).unwrap_or(&self.of_all).dimensions
    }

    /// The limits that calls of a tenant can fall under: its own, then those of all.
    pub(super) fn groups(&self, tenant: &str) -> [Option<Arc<Group>>; 2] {
        [self.of_tenant.get(tenant).cloned(), Some(Arc::clone(&self.of_all))]
    }

    /// The same, one by one.
    pub(super) fn of(&self, tenant: &str) -> impl Iterator<Item = &Rule> {
        let own = self.of_tenant.get(tenant).into_iter().flat_map(|own| &own.rules);
        own.chain(&self.of_all.rules)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Rule> {
        self.of_tenant.values().chain([&self.of_all]).flat_map(|group| &group.rules)
    }
}

impl Group {
    /// Finds the dimensions that count, beside some others.
    fn look(&mut self, others: &[Dimension], known: &mut BTreeSet<Arc<[Dimension]>>) {
        self.rules.shrink_to_fit();
        let own = self.rules.iter().flat_map(|rule| rule.limit.scope.iter().map(|(dimension, _)| dimension));
        let all: BTreeSet<&Dimension> = own.chain(others).filter(|named| **named != Dimension::Tenant).collect();
        let all: Arc<[Dimension]> = all.into_iter().cloned().collect();
        self.dimensions = known.get(&all).cloned().unwrap_or_else(|| Arc::clone(&all));
        known.insert(all);
    }
}
