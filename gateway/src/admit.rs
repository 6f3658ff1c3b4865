//! Admission: every limit that a call falls under is held, or the call is refused.
//!
//! Where what is leased does not suffice, metering is asked and the call waits a bounded time for its decision. Nothing is held
//! while it waits, so calls cannot block each other.

use std::time::{Duration, Instant};

use tokio::time;

use crate::limits::{Ask, Extension, Limits, Permit, Refusal, Tried};

/// The longest that a call waits for a lease.
const PATIENCE: Duration = Duration::from_millis(2_000);

impl Limits {
    /// Takes a hold on every limit that the attempt falls under.
    pub async fn admit(&self, ask: Ask<'_>) -> Result<Permit, Box<Refusal>> {
        self.obtain(|at| self.try_admit(&ask, at)).await
    }

    /// Holds more for an attempt that is under way; what is held before does not change.
    pub async fn extend(&self, extension: &Extension) -> Result<Permit, Box<Refusal>> {
        self.obtain(|at| self.try_extend(extension, at)).await
    }

    /// Tries until everything is held, refused, or not to be had in time.
    async fn obtain(
        &self,
        attempt: impl Fn(Instant) -> (Tried, Result<(), journal::Error>),
    ) -> Result<Permit, Box<Refusal>> {
        let deadline = time::Instant::now() + PATIENCE;
        let mut changes = self.changes();
        loop {
            changes.mark_unchanged();
            // A request that the journal cannot take is as one that is not answered: the deadline speaks.
            let (tried, sent) = attempt(Instant::now());
            match tried {
                Tried::Held(permit) => return Ok(permit),
                Tried::Refused(refusal) => return Err(refusal),
                Tried::Short(late) => {
                    let decided = time::timeout_at(deadline, changes.changed()).await;
                    if sent.is_err() || decided.is_err() {
                        return Err(late);
                    }
                }
            }
        }
    }
}
