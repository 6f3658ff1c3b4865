//! Changes of the policy that are made while it is in force: who, when, what.
//!
//! A change says all that it needs, so that whoever reads it makes the same of it. It carries a secret as SHA-256 only.

use serde::{Deserialize, Serialize};

use super::{ApiKey, Digest};
use crate::{
    id::LimitId,
    limit::{Limit, Mode, Share},
    time::Time,
};

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// A fresh name, by which whoever appended it finds it again.
    pub id: String,
    /// When it was asked for, by the clock of whoever appended it.
    pub at: Time,
    /// Who asked for it.
    pub by: String,
    /// The version of the policy that it was made for; nothing if for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expects: Option<u64>,
    /// By which it is made once, however often it is asked for; nothing if each asking is another change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub once: Option<Once>,
    /// What.
    pub what: What,
}

/// What tells a request that comes again from another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Once {
    /// The SHA-256 of who asks and of the name that they gave the request.
    pub name: Digest,
    /// The SHA-256 of what they ask for.
    pub request: Digest,
}

/// When a key is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expiry {
    /// Not by itself.
    Never,
    /// At this instant.
    At(Time),
}

/// What is changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// There is a tenant more.
    CreateTenant {
        /// Its name.
        tenant: String,
    },
    /// A tenant is gone, with its keys and the limits that they brought along. What it used stays where it is.
    DeleteTenant {
        /// Its name.
        tenant: String,
    },
    /// There is a key more.
    CreateKey {
        /// Whose.
        tenant: String,
        /// The key.
        key: ApiKey,
        /// The limits that it brings along.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        budgets: Vec<Limit>,
    },
    /// A key has another secret.
    RotateKey {
        /// Whose.
        tenant: String,
        /// Its name.
        key: String,
        /// The SHA-256 of the new secret.
        sha256: Digest,
        /// Until when the one that it has is good as well; nothing if it is not good any more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        former_until: Option<Time>,
    },
    /// What may change of a key in place.
    ChangeKey {
        /// Whose.
        tenant: String,
        /// Its name.
        key: String,
        /// The team; empty for none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        team: Option<String>,
        /// The models that it may use; an empty list for all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        models: Option<Vec<String>>,
        /// When it is over.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires: Option<Expiry>,
    },
    /// A key is taken out of use.
    DisableKey {
        /// Whose.
        tenant: String,
        /// Its name.
        key: String,
    },
    /// A key is put into use again.
    EnableKey {
        /// Whose.
        tenant: String,
        /// Its name.
        key: String,
    },
    /// A key is gone, and the limits that it brought along.
    DeleteKey {
        /// Whose.
        tenant: String,
        /// Its name.
        key: String,
    },
    /// There is a limit more.
    CreateLimit {
        /// The limit.
        limit: Limit,
    },
    /// What may change of a limit in place.
    ChangeLimit {
        /// Its name.
        limit: String,
        /// Its id: another limit of that name is not meant.
        id: LimitId,
        /// The amount, in its unit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        amount: Option<i128>,
        /// The mode.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mode: Option<Mode>,
        /// The alerts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        alerts: Option<Vec<Share>>,
    },
    /// A limit is gone.
    DeleteLimit {
        /// Its name.
        limit: String,
        /// Its id: another limit of that name is not meant.
        id: LimitId,
    },
}

impl What {
    /// What kind of change it is, as `policy_changes` names it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::CreateTenant { .. } => "tenant.create",
            Self::DeleteTenant { .. } => "tenant.delete",
            Self::CreateKey { .. } => "key.create",
            Self::ChangeKey { .. } => "key.change",
            Self::RotateKey { .. } => "key.rotate",
            Self::DisableKey { .. } => "key.disable",
            Self::EnableKey { .. } => "key.enable",
            Self::DeleteKey { .. } => "key.delete",
            Self::CreateLimit { .. } => "limit.create",
            Self::ChangeLimit { .. } => "limit.change",
            Self::DeleteLimit { .. } => "limit.delete",
        }
    }

    /// The tenant that it names; empty for limits, whose scope may name one.
    pub fn tenant(&self) -> &str {
        match self {
            Self::CreateTenant { tenant }
            | Self::DeleteTenant { tenant }
            | Self::CreateKey { tenant, .. }
            | Self::ChangeKey { tenant, .. }
            | Self::RotateKey { tenant, .. }
            | Self::DisableKey { tenant, .. }
            | Self::EnableKey { tenant, .. }
            | Self::DeleteKey { tenant, .. } => tenant,
            Self::CreateLimit { .. } | Self::ChangeLimit { .. } | Self::DeleteLimit { .. } => "",
        }
    }

    /// What is changed is called so.
    pub fn name(&self) -> &str {
        match self {
            Self::CreateTenant { tenant } | Self::DeleteTenant { tenant } => tenant,
            Self::CreateKey { key, .. } => &key.name,
            Self::RotateKey { key, .. }
            | Self::ChangeKey { key, .. }
            | Self::DisableKey { key, .. }
            | Self::EnableKey { key, .. }
            | Self::DeleteKey { key, .. } => key,
            Self::CreateLimit { limit } => &limit.name,
            Self::ChangeLimit { limit, .. } | Self::DeleteLimit { limit, .. } => limit,
        }
    }
}
