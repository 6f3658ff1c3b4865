//! Who may read what: the tokens of the policy in force, by SHA-256, and nothing of their text.
//!
//! Whoever reads the `policy` topic applies each record; readers see one whole policy or the next, never a mixture.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use schemas::{
    limit::{Dimension, Limit, Match},
    policy::{Digest, Policy, Tenants},
};

use crate::sql::Caller;

/// The view of the policy that the query surfaces go by.
#[derive(Debug, Default)]
pub struct Access {
    view: RwLock<Option<Arc<View>>>,
}

#[derive(Debug)]
struct View {
    tokens: HashMap<Digest, Tenants>,
    /// By name, whose counters a limit in force has: those of one tenant, or of each its own.
    limits: BTreeMap<String, Match>,
    abandon_after: Duration,
}

impl Access {
    /// Puts a policy in force.
    pub fn apply(&self, policy: &Policy) {
        let mut tokens = HashMap::with_capacity(policy.access.len());
        for access in &policy.access {
            tokens
                .entry(access.token_sha256)
                .and_modify(|known| *known = union(known, &access.tenants))
                .or_insert_with(|| access.tenants.clone());
        }
        let of_tenants = |limit: &Limit| {
            let (_, whose) = limit.scope.iter().find(|(dimension, _)| *dimension == Dimension::Tenant)?;
            Some((limit.name.clone(), whose.clone()))
        };
        let limits = policy.limits.iter().filter_map(of_tenants).collect();
        let view = Arc::new(View { tokens, limits, abandon_after: policy.metering.abandon_after });
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Some(view);
    }

    /// Who shows this token; nothing if no policy in force knows it.
    pub fn caller(&self, token: &str) -> Option<Caller> {
        let view = self.view()?;
        let tenants = view.tokens.get(&Digest::of(token))?.clone();
        Some(Caller { tenants })
    }

    /// The limits whose counters count calls of these tenants only, as far as these may know of them, by name; nothing if everything may be
    /// known.
    pub(crate) fn limits_of(&self, tenants: &Tenants) -> Option<Vec<String>> {
        let Tenants::Only(tenants) = tenants else { return None };
        let own = |whose: &Match| match whose {
            Match::Is(tenant) => tenants.contains(tenant),
            Match::Each => true,
        };
        let view = self.view();
        let limits = view.iter().flat_map(|view| &view.limits);
        Some(limits.filter(|(_, whose)| own(whose)).map(|(name, _)| name.clone()).collect())
    }

    /// Whether a policy has been read.
    pub fn is_known(&self) -> bool {
        self.view().is_some()
    }

    /// How long a silent gateway is waited for.
    pub fn abandon_after(&self) -> Duration {
        self.view().map_or(Duration::MAX, |view| view.abandon_after)
    }

    fn view(&self) -> Option<Arc<View>> {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A token that is listed twice may read what both say.
fn union(one: &Tenants, other: &Tenants) -> Tenants {
    match (one, other) {
        (Tenants::Only(one), Tenants::Only(other)) => Tenants::Only(one.iter().chain(other).cloned().collect()),
        _ => Tenants::All,
    }
}
