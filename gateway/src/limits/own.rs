//! Metering's word on this gateway itself, in any lane: whether another speaks for it, and whether its journal is a copy. Each is said once.

use std::sync::atomic::{AtomicBool, Ordering};

use schemas::{decision::ProducerMark, error_code::ErrorCode};

/// What a gateway says whose producer has been succeeded while it lives.
pub const SUCCEEDED: &str =
    "an operator released this gateway, or its journal was copied: nothing that it writes counts; start it again";

/// What was heard of it.
#[derive(Debug, Default)]
pub(super) struct Own {
    succeeded: AtomicBool,
    copied: AtomicBool,
}

impl Own {
    /// Hears the next word.
    pub(super) fn hear(&self, mark: &ProducerMark) {
        if mark.closed && !self.succeeded.swap(true, Ordering::Relaxed) {
            tracing::error!("{}: {SUCCEEDED}", ErrorCode::JournalCopied);
        }
        if mark.forked && !self.copied.swap(true, Ordering::Relaxed) {
            tracing::error!(
                "{}: this journal is a copy, or was restored from one, and metering has more of it. Calls pass, but what the original \
                 has open and leased is its own. If that runs, stop this gateway; if its disk is lost for good, `tollgate release` names \
                 what is to be released",
                ErrorCode::JournalCopied
            );
        }
    }

    /// Whether another has taken this gateway's place.
    pub(super) fn is_succeeded(&self) -> bool {
        self.succeeded.load(Ordering::Relaxed)
    }
}
