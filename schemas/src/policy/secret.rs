//! Whose a secret is: one key's or one proxy's, over the file and what lies over it together.
//!
//! A secret that two have would charge one for what the other does, and go on when either of them is disabled. So nobody is given a second
//! one's, whether by a file or by a change; and where a log has such a secret all the same, it is good for neither.

use std::{collections::BTreeMap, fmt};

use super::{ApiKey, Digest, Policy, What};
use crate::time::Time;

/// Who calls with a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder<'a> {
    /// The key of a tenant.
    Key(&'a str, &'a str),
    /// A proxy.
    Proxy(&'a str),
}

impl fmt::Display for Holder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(tenant, key) => write!(f, "key {tenant}/{key}"),
            Self::Proxy(name) => write!(f, "proxy {name}"),
        }
    }
}

impl ApiKey {
    /// The secret that it has, and the one that it had before, if that is still good then.
    pub(super) fn secrets(&self, at: Time) -> impl Iterator<Item = Digest> {
        let former = self.former.filter(|former| at < former.until).map(|former| former.sha256);
        [Some(self.sha256), former].into_iter().flatten()
    }
}

impl Policy {
    /// Every secret that somebody may call with from an instant on.
    pub fn secrets(&self, at: Time) -> impl Iterator<Item = (Digest, Holder<'_>)> {
        let keys = self.tenants.iter().flat_map(|tenant| tenant.keys.iter().map(move |key| (tenant, key)));
        let keys = keys.flat_map(move |(tenant, key)| {
            key.secrets(at).map(move |secret| (secret, Holder::Key(&tenant.name, &key.name)))
        });
        keys.chain(self.proxies.iter().map(|proxy| (proxy.token_sha256, Holder::Proxy(&proxy.name))))
    }
}

impl What {
    /// The secret that it gives, and to whom.
    pub(super) fn secret(&self) -> Option<(Digest, Holder<'_>)> {
        match self {
            Self::CreateKey { tenant, key, .. } => Some((key.sha256, Holder::Key(tenant, &key.name))),
            Self::RotateKey { tenant, key, sha256, .. } => Some((*sha256, Holder::Key(tenant, key))),
            _ => None,
        }
    }
}

/// The secrets that several have, each with all who have it.
pub fn shared<'a>(secrets: impl Iterator<Item = (Digest, Holder<'a>)>) -> BTreeMap<Digest, Vec<Holder<'a>>> {
    let mut found: BTreeMap<Digest, Vec<Holder<'a>>> = BTreeMap::new();
    for (secret, holder) in secrets {
        let holders = found.entry(secret).or_default();
        if !holders.contains(&holder) {
            holders.push(holder);
        }
    }
    found.retain(|_, holders| holders.len() > 1);
    found
}
