//! What is published for all roles to obey: tenants and keys, limits, models, who may read what, who may ask for others, and price
//! books.
//!
//! A file's record is whole: the last one is all that files say. What is changed while it is in force is a record of its own and lies
//! over it; [`Fold`] makes one policy of all. Keys and tokens are in it as SHA-256 only.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub mod change;
pub mod diff;
mod fold;
mod once;
mod over;
pub mod secret;
pub mod shown;
pub mod told;

pub use change::{Change, Expiry, Once, What};
pub use fold::{Fold, Refusal, Sharing, Step};

use crate::{
    config::{MeteringConfig, ModelRoute},
    id::BookHash,
    limit::Limit,
    price::Book,
    time::Time,
};

/// One record of the `policy` topic.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A price book, before the policy that names it.
    Book(Box<Book>),
    /// What a file says from here on.
    Policy(Box<Policy>),
    /// A change of what is in force.
    Change(Box<Change>),
}

/// The policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// The tenants and their keys.
    pub tenants: Vec<Tenant>,
    /// The limits.
    pub limits: Vec<Limit>,
    /// What clients may ask for, and where it goes.
    pub models: Vec<ModelRoute>,
    /// Who may read what on the query surfaces.
    pub access: Vec<Access>,
    /// The other proxies that may ask for tenants.
    #[serde(default)]
    pub proxies: Vec<Proxy>,
    /// How metering works.
    pub metering: MeteringConfig,
    /// The price book in force.
    pub book: BookHash,
    /// The sections of the file that are not published, by name, each as the SHA-256 of what it says: whether it is another. None in what
    /// was published before they were told.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub beside: BTreeMap<String, Digest>,
}

impl Policy {
    /// The tenant of a name.
    pub fn tenant(&self, name: &str) -> Option<&Tenant> {
        self.tenants.iter().find(|tenant| tenant.name == name)
    }
}

/// The part of a policy's limits that the next one does not have in the same order: mostly one limit.
pub fn changed<'a>(before: &'a [Limit], after: &[Limit]) -> &'a [Limit] {
    fn is_same((one, other): &(&Limit, &Limit)) -> bool {
        one == other
    }
    let head = before.iter().zip(after).take_while(is_same).count();
    let (before, after) = (&before[head..], &after[head..]);
    let tail = before.iter().rev().zip(after.iter().rev()).take_while(is_same).count();
    &before[..before.len() - tail]
}

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// Its name.
    pub name: String,
    /// Its keys.
    pub keys: Vec<ApiKey>,
}

impl Tenant {
    /// Its key of a name.
    pub fn key(&self, name: &str) -> Option<&ApiKey> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// A key that a client calls with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Its name, unique in the tenant.
    pub name: String,
    /// The SHA-256 of the key.
    pub sha256: Digest,
    /// Whose it is.
    pub team: String,
    /// What for.
    pub project: String,
    /// Who uses it.
    pub user: String,
    /// Tags of every call made with it; a call's own cannot change them.
    pub tags: Vec<(String, String)>,
    /// The first instant at which it is not good any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Time>,
    /// The models that it may ask for: names, and beginnings with `*`. Nothing for every model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// Whether it is out of use.
    #[serde(default, skip_serializing_if = "is_false")]
    pub disabled: bool,
    /// The secret that it had before, for as long as that is still good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<Former>,
    /// Whether what it says of attempts of its tenant is the whole: it may amend those of other keys, and frees what is held for what
    /// nobody knew of them.
    #[serde(default)]
    pub corrects: bool,
}

/// The secret that a key had before it was given another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Former {
    /// Its SHA-256.
    pub sha256: Digest,
    /// The first instant at which it is not good any more.
    pub until: Time,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_false(value: &bool) -> bool {
    !value
}

/// Another proxy, which may ask what its callers may spend, and tell what they spent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proxy {
    /// Its name.
    pub name: String,
    /// The SHA-256 of its token.
    pub token_sha256: Digest,
    /// The tenants that it may speak for.
    pub tenants: Tenants,
}

/// A token that reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// The SHA-256 of the token.
    pub token_sha256: Digest,
    /// The tenants it may read.
    pub tenants: Tenants,
}

/// The tenants that a token is good for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tenants {
    /// Every one.
    All,
    /// These.
    Only(Vec<String>),
}

impl Tenants {
    /// Whether this tenant is among them.
    pub fn has(&self, tenant: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.iter().any(|name| name == tenant),
        }
    }
}

/// A SHA-256, as 64 hexadecimal digits in text.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

crate::id::hex_id!(Digest);

impl Digest {
    /// The SHA-256 of a key or token in clear.
    pub fn of(secret: &str) -> Self {
        Self(<sha2::Sha256 as sha2::Digest>::digest(secret.as_bytes()).into())
    }
}
