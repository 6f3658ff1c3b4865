//! What changes say of tenants, keys and limits, as it lies over what a file says.
//!
//! Of what a change made, all of it is kept; of what a file has, only what was changed, so that the rest goes on as the file says. What
//! a file says as well is let go of, and belongs to the file from then on. So is what lies over something that no file has now: a limit
//! that was changed, and what was deleted, come back as the file says. Only what was changed of a key waits for it: if it comes back, one
//! that was disabled is disabled.
//!
//! It lies over a thing and never over a name: over the limit of an id, and over the keys of a tenant for as long as that tenant is there.
//! A limit of the file has its name before one that was made and is another, which ends.

use std::collections::{BTreeMap, BTreeSet};

use super::{ApiKey, Digest, Expiry, Former, Policy, Tenant, What, secret::Holder};
use crate::{
    id::LimitId,
    limit::{Limit, Mode, Share},
    time::Time,
};

#[derive(Clone, Debug, Default)]
pub(super) struct Over {
    tenants: BTreeMap<String, OnTenant>,
    /// By tenant and name.
    keys: BTreeMap<(String, String), OnKey>,
    limits: BTreeMap<(String, LimitId), OnLimit>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnTenant {
    Made,
    Gone,
}

#[derive(Clone, Debug)]
enum OnKey {
    Made(ApiKey),
    Changed(KeyChanged),
    Gone,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct KeyChanged {
    disabled: Option<bool>,
    sha256: Option<Digest>,
    former: Option<Former>,
    team: Option<String>,
    models: Option<Vec<String>>,
    expires: Option<Expiry>,
}

#[derive(Clone, Debug)]
enum OnLimit {
    Made(Limit),
    Changed(LimitChanged),
    Gone,
}

#[derive(Clone, Debug, PartialEq)]
struct LimitChanged {
    amount: Option<i128>,
    mode: Option<Mode>,
    alerts: Option<Vec<Share>>,
}

impl Over {
    pub(super) fn is_empty(&self) -> bool {
        self.tenants.is_empty() && self.keys.is_empty() && self.limits.is_empty()
    }

    /// Takes a change that can be made of the policy in force.
    pub(super) fn make(&mut self, policy: &Policy, what: &What) {
        let of = |tenant: &str, key: &str| (tenant.to_owned(), key.to_owned());
        match what {
            What::CreateTenant { tenant } => drop(self.tenants.insert(tenant.clone(), OnTenant::Made)),
            What::DeleteTenant { tenant } => {
                // Each is gone by itself, so that none comes back with another tenant of the name.
                let keys = policy.tenant(tenant).into_iter().flat_map(|tenant| &tenant.keys);
                keys.for_each(|key| self.delete(policy, (tenant, &key.name)));
                self.tenants.insert(tenant.clone(), OnTenant::Gone);
            }
            What::CreateKey { tenant, key, budgets } => {
                self.keys.insert(of(tenant, &key.name), OnKey::Made(key.clone()));
                budgets.iter().for_each(|limit| self.make_limit(limit));
            }
            What::RotateKey { tenant, key: name, sha256, former_until } => {
                let had = policy.tenant(tenant).and_then(|tenant| tenant.key(name)).map(|key| key.sha256);
                let former = had.zip(*former_until).map(|(sha256, until)| Former { sha256, until });
                match self.key(of(tenant, name)) {
                    OnKey::Made(key) => (key.sha256, key.former) = (*sha256, former),
                    OnKey::Changed(changed) => (changed.sha256, changed.former) = (Some(*sha256), former),
                    OnKey::Gone => {}
                }
            }
            What::ChangeKey { tenant, key, team, models, expires } => {
                let (team, models, expires) = (team.clone(), models.clone(), *expires);
                let change = KeyChanged { team, models, expires, ..KeyChanged::default() };
                match self.key(of(tenant, key)) {
                    OnKey::Made(key) => change.place(key),
                    OnKey::Changed(before) => before.add(change),
                    OnKey::Gone => {}
                }
            }
            What::DisableKey { tenant, key } => self.disable(of(tenant, key), true),
            What::EnableKey { tenant, key } => self.disable(of(tenant, key), false),
            What::DeleteKey { tenant, key } => self.delete(policy, (tenant, key)),
            What::CreateLimit { limit } => self.make_limit(limit),
            What::ChangeLimit { limit, id, amount, mode, alerts } => {
                let change = LimitChanged { amount: *amount, mode: *mode, alerts: alerts.clone() };
                let of = (limit.clone(), *id);
                match self.limits.get_mut(&of) {
                    Some(OnLimit::Made(limit)) => change.apply(limit),
                    Some(OnLimit::Changed(before)) => before.add(change),
                    Some(OnLimit::Gone) | None => drop(self.limits.insert(of, OnLimit::Changed(change))),
                }
            }
            What::DeleteLimit { limit, id } => drop(self.limits.insert((limit.clone(), *id), OnLimit::Gone)),
        }
    }

    fn make_limit(&mut self, limit: &Limit) {
        self.limits.insert((limit.name.clone(), limit.id()), OnLimit::Made(limit.clone()));
    }

    /// A key is gone, and what it brought along.
    fn delete(&mut self, policy: &Policy, (tenant, key): (&str, &str)) {
        let its = policy.limits.iter().filter(|limit| limit.is_budget_of(tenant, key));
        self.limits.extend(its.map(|limit| ((limit.name.clone(), limit.id()), OnLimit::Gone)));
        self.keys.insert((tenant.to_owned(), key.to_owned()), OnKey::Gone);
    }

    /// What lies over a key; the file has it if nothing does.
    fn key(&mut self, of: (String, String)) -> &mut OnKey {
        self.keys.entry(of).or_insert_with(|| OnKey::Changed(KeyChanged::default()))
    }

    fn disable(&mut self, of: (String, String), disabled: bool) {
        match self.key(of) {
            OnKey::Made(key) => key.disabled = disabled,
            OnKey::Changed(changed) => changed.disabled = Some(disabled),
            OnKey::Gone => {}
        }
    }

    /// Every secret that was given to a key, whether that is there or not.
    pub(super) fn secrets(&self) -> impl Iterator<Item = (Digest, Holder<'_>)> {
        self.keys.iter().flat_map(|((tenant, name), on)| {
            let (secret, former) = match on {
                OnKey::Made(key) => (Some(key.sha256), key.former),
                OnKey::Changed(changed) => (changed.sha256, changed.former),
                OnKey::Gone => (None, None),
            };
            let secrets = [secret, former.map(|former| former.sha256)].into_iter().flatten();
            secrets.map(move |secret| (secret, Holder::Key(tenant, name)))
        })
    }

    /// Whether a key of the file was deleted.
    pub(super) fn is_gone(&self, holder: Holder<'_>) -> bool {
        matches!(self.on(holder), Some(OnKey::Gone))
    }

    /// Whether a key was made, be it in the place of one of the file.
    pub(super) fn is_made(&self, holder: Holder<'_>) -> bool {
        matches!(self.on(holder), Some(OnKey::Made(_)))
    }

    fn on(&self, holder: Holder<'_>) -> Option<&OnKey> {
        let Holder::Key(tenant, name) = holder else { return None };
        self.keys.get(&(tenant.to_owned(), name.to_owned()))
    }

    /// Lets go of secrets whose time was over at an instant.
    pub(super) fn forget_former(&mut self, at: Time) {
        for on in self.keys.values_mut() {
            let former = match on {
                OnKey::Made(key) => &mut key.former,
                OnKey::Changed(changed) => &mut changed.former,
                OnKey::Gone => continue,
            };
            *former = former.filter(|former| former.until > at);
        }
    }

    /// Lets go of what a file says as well, and of what was made of something that is no more.
    pub(super) fn absorb(&mut self, file: &Policy) {
        self.tenants.retain(|name, on| (*on == OnTenant::Gone) == file.tenant(name).is_some());
        self.end_with_tenants(file);
        self.keys.retain(|(tenant, name), on| on.absorb(file.tenant(tenant).and_then(|tenant| tenant.key(name))));
        self.limits.retain(|(name, id), on| on.absorb(named(file, name).filter(|limit| limit.id() == *id)));
        self.yield_names(file);
    }

    /// Lets go of keys that were made, and what they brought along, of tenants that are neither the file's nor made.
    fn end_with_tenants(&mut self, file: &Policy) {
        let Self { tenants, keys, limits } = self;
        keys.retain(|(tenant, name), on| {
            let stays = !matches!(on, OnKey::Made(_)) || tenants.contains_key(tenant) || file.tenant(tenant).is_some();
            if !stays {
                limits.retain(|_, on| !matches!(on, OnLimit::Made(limit) if limit.is_budget_of(tenant, name)));
            }
            stays
        });
    }

    /// Lets go of limits that were made where another limit of the file has the name, unless that one was deleted.
    fn yield_names(&mut self, file: &Policy) {
        let gone = self.limits.iter().filter(|(_, on)| matches!(on, OnLimit::Gone));
        let gone: BTreeSet<LimitId> = gone.map(|((_, id), _)| *id).collect();
        self.limits.retain(|(name, id), on| {
            let has = named(file, name).map(Limit::id).filter(|has| has != id && !gone.contains(has));
            has.is_none() || !matches!(on, OnLimit::Made(_))
        });
    }

    /// A file's policy with all of this over it.
    pub(super) fn lay_over(&self, file: &Policy) -> Policy {
        let mut policy = file.clone();
        policy.tenants.retain(|tenant| self.tenants.get(&tenant.name) != Some(&OnTenant::Gone));
        let made = self.tenants.iter().filter(|(_, on)| **on == OnTenant::Made);
        policy.tenants.extend(made.map(|(name, _)| Tenant { name: name.clone(), keys: Vec::new() }));
        for ((tenant, name), on) in &self.keys {
            let Some(tenant) = policy.tenants.iter_mut().find(|known| known.name == *tenant) else { continue };
            let place = tenant.keys.iter_mut().find(|key| key.name == *name);
            match (on, place) {
                (OnKey::Made(key), Some(place)) => place.clone_from(key),
                (OnKey::Made(key), None) => tenant.keys.push(key.clone()),
                (OnKey::Changed(changed), Some(place)) => changed.apply(place),
                (OnKey::Gone, Some(_)) => tenant.keys.retain(|key| key.name != *name),
                (OnKey::Changed(_) | OnKey::Gone, None) => {}
            }
        }
        for ((name, id), on) in &self.limits {
            let place = policy.limits.iter().position(|limit| limit.name == *name && limit.id() == *id);
            match (on, place.and_then(|place| policy.limits.get_mut(place))) {
                (OnLimit::Made(limit), Some(place)) => place.clone_from(limit),
                (OnLimit::Made(limit), None) => policy.limits.push(limit.clone()),
                (OnLimit::Changed(changed), Some(place)) => changed.apply(place),
                (OnLimit::Gone, _) => drop(place.map(|place| policy.limits.remove(place))),
                (OnLimit::Changed(_), None) => {}
            }
        }
        policy
    }

    /// Each in a few words.
    pub(super) fn said(&self) -> Vec<String> {
        let tenants = self.tenants.iter().map(|(name, on)| match on {
            OnTenant::Made => format!("tenant {name}: created"),
            OnTenant::Gone => format!("tenant {name}: deleted"),
        });
        let keys = self.keys.iter().map(|((tenant, name), on)| format!("key {tenant}/{name}: {}", on.said()));
        let limits = self.limits.iter().map(|((name, _), on)| format!("limit {name}: {}", on.said()));
        tenants.chain(keys).chain(limits).collect()
    }
}

impl OnKey {
    /// Lets go of what the file's key says; whether anything is left.
    fn absorb(&mut self, file: Option<&ApiKey>) -> bool {
        match (&mut *self, file) {
            (Self::Gone, file) => file.is_some(),
            (Self::Made(made), Some(file)) if ApiKey { former: None, ..made.clone() } == *file => {
                *self = Self::Changed(KeyChanged { former: made.former, ..KeyChanged::default() });
                self.absorb(Some(file))
            }
            (Self::Changed(changed), Some(file)) => {
                changed.disabled = changed.disabled.filter(|disabled| *disabled != file.disabled);
                changed.sha256 = changed.sha256.filter(|sha256| *sha256 != file.sha256);
                changed.team = changed.team.take().filter(|team| *team != file.team);
                changed.models = changed.models.take().filter(|models| *models != file.models);
                changed.expires = changed.expires.filter(|expires| expires.instant() != file.expires);
                *changed != KeyChanged::default()
            }
            _ => true,
        }
    }

    fn said(&self) -> String {
        match self {
            Self::Made(_) => "created".into(),
            Self::Gone => "deleted".into(),
            Self::Changed(KeyChanged { disabled, sha256, former, team, models, expires }) => {
                let state = disabled.map(|disabled| if disabled { "disabled" } else { "enabled" });
                let secret = sha256.map(|_| "has another secret");
                let former = former.map(|former| format!("its former secret is good until {}", former.until));
                let parts =
                    [team.as_ref().map(|_| "team"), models.as_ref().map(|_| "models"), expires.map(|_| "expires")];
                let parts: Vec<&str> = parts.into_iter().flatten().collect();
                let changed = (!parts.is_empty()).then(|| format!("changed ({})", parts.join(", ")));
                let words = state.into_iter().chain(secret).map(str::to_owned);
                words.chain(changed).chain(former).collect::<Vec<_>>().join(", ")
            }
        }
    }
}

impl KeyChanged {
    fn apply(&self, key: &mut ApiKey) {
        key.disabled = self.disabled.unwrap_or(key.disabled);
        key.sha256 = self.sha256.unwrap_or(key.sha256);
        key.former = self.former;
        self.place(key);
    }

    /// Puts what it says of team, models and end into a key.
    fn place(&self, key: &mut ApiKey) {
        self.team.iter().for_each(|team| key.team.clone_from(team));
        self.models.iter().for_each(|models| key.models.clone_from(models));
        key.expires = self.expires.map_or(key.expires, Expiry::instant);
    }

    fn add(&mut self, later: Self) {
        self.team = later.team.or_else(|| self.team.take());
        self.models = later.models.or_else(|| self.models.take());
        self.expires = later.expires.or(self.expires);
    }
}

impl Expiry {
    /// The instant, if there is one.
    const fn instant(self) -> Option<Time> {
        match self {
            Self::Never => None,
            Self::At(at) => Some(at),
        }
    }
}

/// A file's limit of a name.
fn named<'a>(file: &'a Policy, name: &str) -> Option<&'a Limit> {
    file.limits.iter().find(|limit| limit.name == name)
}

impl OnLimit {
    /// Lets go of what the file's limit says, if it has that limit; whether anything is left.
    fn absorb(&mut self, file: Option<&Limit>) -> bool {
        match (self, file) {
            (Self::Gone, file) => file.is_some(),
            (Self::Made(made), file) => file.is_none_or(|file| made != file),
            (Self::Changed(changed), Some(file)) => {
                changed.amount = changed.amount.filter(|amount| *amount != file.amount);
                changed.mode = changed.mode.filter(|mode| *mode != file.mode);
                changed.alerts = changed.alerts.take().filter(|alerts| *alerts != file.alerts);
                changed.amount.is_some() || changed.mode.is_some() || changed.alerts.is_some()
            }
            // The one that was changed is the file's no more, whatever else has its name.
            (Self::Changed(_), None) => false,
        }
    }

    fn said(&self) -> String {
        match self {
            Self::Made(_) => "created".into(),
            Self::Gone => "deleted".into(),
            Self::Changed(LimitChanged { amount, mode, alerts }) => {
                let parts = [amount.map(|_| "amount"), mode.map(|_| "mode"), alerts.as_ref().map(|_| "alerts")];
                format!("changed ({})", parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
            }
        }
    }
}

impl LimitChanged {
    fn apply(&self, limit: &mut Limit) {
        limit.amount = self.amount.unwrap_or(limit.amount);
        limit.mode = self.mode.unwrap_or(limit.mode);
        self.alerts.iter().for_each(|alerts| limit.alerts.clone_from(alerts));
    }

    fn add(&mut self, later: Self) {
        self.amount = later.amount.or(self.amount);
        self.mode = later.mode.or(self.mode);
        self.alerts = later.alerts.or_else(|| self.alerts.take());
    }
}
