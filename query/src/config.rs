//! How the lake and its tail are kept: what the role's part of the configuration becomes, with its defaults.

use std::time::Duration;

use crate::tail::Bounds;

/// How the ledger is shelved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShelveConfig {
    /// A commit is made when the tail holds this many rows of a table that the lake does not have,
    pub commit_rows: usize,
    /// or when the oldest of them is this old.
    pub commit_age: Duration,
    /// A table without new rows still commits how far it has read this often, so that a restart reads little again.
    pub idle_commit: Duration,
    /// How much may wait in memory.
    pub tail: Bounds,
    /// How often the lake is looked at for the commits of other processes.
    pub refresh: Duration,
    /// How often small files are joined; nothing for never.
    pub compact: Option<Duration>,
    /// How old what the log has of the ledger is, once every table has it, before the log may let go of it; nothing for never.
    pub keep: Option<Duration>,
}

impl Default for ShelveConfig {
    fn default() -> Self {
        Self {
            commit_rows: 250_000,
            commit_age: Duration::from_secs(30),
            idle_commit: Duration::from_secs(600),
            tail: Bounds { rows: 2_000_000, bytes: 512 << 20 },
            refresh: Duration::from_secs(30),
            compact: Some(Duration::from_secs(60)),
            keep: None,
        }
    }
}
