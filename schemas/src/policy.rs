//! What metering publishes for all roles to obey: tenants and keys, limits, models, who may read what, who may ask for others, and price
//! books.
//!
//! A policy record is whole: the last one is all of it. Keys and tokens are in it as SHA-256 only.

use serde::{Deserialize, Serialize};

use crate::{
    config::{MeteringConfig, ModelRoute},
    id::BookHash,
    limit::Limit,
    price::Book,
};

/// One record of the `policy` topic.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A price book, before the policy that names it.
    Book(Box<Book>),
    /// The policy in force from here on.
    Policy(Box<Policy>),
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
}

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// Its name.
    pub name: String,
    /// Its keys.
    pub keys: Vec<ApiKey>,
}

/// A key that a client calls with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Whether what it says of attempts of its tenant is the whole: it may amend those of other keys, and frees what is held for what
    /// nobody knew of them.
    #[serde(default)]
    pub corrects: bool,
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
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

crate::id::hex_id!(Digest);

impl Digest {
    /// The SHA-256 of a key or token in clear.
    pub fn of(secret: &str) -> Self {
        Self(<sha2::Sha256 as sha2::Digest>::digest(secret.as_bytes()).into())
    }
}
