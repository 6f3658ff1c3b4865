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
    view: Shared,
}

/// The policy in force, for all who go by it.
type Shared = Arc<RwLock<Option<Arc<View>>>>;

#[derive(Debug)]
struct View {
    tokens: HashMap<Digest, Tenants>,
    /// By name, whose counters a limit in force has: those of one tenant, or of each its own.
    limits: BTreeMap<String, Match>,
    abandon_after: Duration,
}

/// The access of a token by which something was asked, for as long as that is answered.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    token: Digest,
    view: Shared,
    /// The policy that last allowed what was asked.
    seen: Arc<View>,
}

impl Grant {
    /// The token.
    pub(crate) const fn token(&self) -> Digest {
        self.token
    }

    /// Whether the policy in force still lets the token read all of these tenants, as that did by which they were asked for.
    pub(crate) fn covers(&mut self, tenants: &Tenants) -> bool {
        let Some(view) = current(&self.view) else { return false };
        if Arc::ptr_eq(&view, &self.seen) {
            return true;
        }
        let covers = match (view.tokens.get(&self.token), tenants) {
            (None, _) | (Some(Tenants::Only(_)), Tenants::All) => false,
            (Some(Tenants::All), _) => true,
            (Some(Tenants::Only(own)), Tenants::Only(asked)) => asked.iter().all(|tenant| own.contains(tenant)),
        };
        if covers {
            self.seen = view;
        }
        covers
    }
}

fn current(view: &Shared) -> Option<Arc<View>> {
    view.read().unwrap_or_else(PoisonError::into_inner).clone()
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
        let token = Digest::of(token);
        let tenants = view.tokens.get(&token)?.clone();
        Some(Caller::by(tenants, Grant { token, view: Arc::clone(&self.view), seen: view }))
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
        current(&self.view)
    }
}

/// A token that is listed twice may read what both say.
fn union(one: &Tenants, other: &Tenants) -> Tenants {
    match (one, other) {
        (Tenants::Only(one), Tenants::Only(other)) => Tenants::Only(one.iter().chain(other).cloned().collect()),
        _ => Tenants::All,
    }
}
