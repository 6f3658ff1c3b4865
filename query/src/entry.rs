//! What every surface begins with: who asks, and whether there is anything to answer with yet.

use std::sync::Arc;

use schemas::error_code::ErrorCode;

use crate::{
    access::Access,
    cut::Cuts,
    sql::{Caller, Engine},
};

/// What the surfaces share.
pub(crate) struct Entry {
    /// Answers.
    pub(crate) engine: Arc<Engine>,
    /// What it reads.
    pub(crate) cuts: Arc<Cuts>,
    /// Who may read what.
    pub(crate) access: Arc<Access>,
}

/// Why nobody is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoEntry {
    /// No policy has been read.
    #[error("the policy has not been read yet; try again in a moment")]
    NoPolicy,
    /// The token is nobody's, or there was none.
    #[error("the token is none that the configuration lists under access")]
    Stranger,
    /// Log and lake have not been opened, for a reason with this code.
    #[error(
        "log and lake are not open yet, and nothing can be answered; try again in a moment, or see /readyz for what is wrong"
    )]
    Closed(ErrorCode),
    /// Rows would be missing.
    #[error("the ledger is still being read, and rows would be missing; try again in a moment")]
    Behind,
}

impl NoEntry {
    /// The code that goes with it.
    pub(crate) const fn code(self) -> ErrorCode {
        match self {
            Self::NoPolicy | Self::Behind => ErrorCode::LogUnreachable,
            Self::Stranger => ErrorCode::UnknownToken,
            Self::Closed(code) => code,
        }
    }
}

impl Entry {
    /// Who shows this token.
    pub(crate) fn caller(&self, token: Option<&str>) -> Result<Caller, NoEntry> {
        if !self.access.is_known() {
            return Err(NoEntry::NoPolicy);
        }
        let caller = token.and_then(|token| self.access.caller(token)).ok_or(NoEntry::Stranger)?;
        if !self.cuts.is_caught_up() {
            return Err(NoEntry::Behind);
        }
        Ok(caller)
    }
}
