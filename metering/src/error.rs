//! What can stop metering. Nothing that a gateway sends can: that is accepted, dropped or set aside with an alarm.

use schemas::error_code::ErrorCode;

/// Why metering stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log failed.
    #[error("metering cannot use the log: {0}")]
    Log(#[from] journal::Error),
    /// A state that was committed cannot be read: another version of Tollgate wrote it, or the store is damaged.
    #[error(
        "lane {lane} of `decisions` holds a state that this version cannot read: {source}; run the version that wrote it"
    )]
    State {
        /// The lane.
        lane: u16,
        /// What is wrong with it.
        source: schemas::wire::WireError,
    },
    /// The ledger could not be read for a limit that counts what was used before it.
    #[error("lane {lane} of `ledger` gives nothing from offset {read} on, and ends at {end}: is the log away?")]
    Past {
        /// The lane.
        lane: u16,
        /// How far it was read.
        read: u64,
        /// Where it ends.
        end: u64,
    },
    /// The thread could not be started.
    #[error("metering cannot start its thread: {0}")]
    Thread(#[from] std::io::Error),
}

impl Error {
    /// The code that users see, where it has one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Log(error) => Some(error.code()),
            Self::Past { .. } => Some(ErrorCode::LogUnreachable),
            Self::State { .. } => Some(ErrorCode::JournalCorrupt),
            Self::Thread(_) => None,
        }
    }
}
