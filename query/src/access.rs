//! Who may read what: the tokens of the policy in force, by SHA-256, and nothing of their text.
//!
//! Whoever reads the `policy` topic applies each record; readers see one whole policy or the next, never a mixture.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use schemas::policy::{Digest, Policy, Tenants};

use crate::sql::Caller;

/// The view of the policy that the query surfaces go by.
#[derive(Debug, Default)]
pub struct Access {
    view: RwLock<Option<Arc<View>>>,
}

#[derive(Debug)]
struct View {
    tokens: HashMap<Digest, Tenants>,
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
        let view = Arc::new(View { tokens, abandon_after: policy.metering.abandon_after });
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Some(view);
    }

    /// Who shows this token; nothing if no policy in force knows it.
    pub fn caller(&self, token: &str) -> Option<Caller> {
        let view = self.view()?;
        let tenants = view.tokens.get(&Digest::of(token))?.clone();
        Some(Caller { tenants })
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
