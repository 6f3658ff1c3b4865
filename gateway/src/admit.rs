//! Admission: every limit that a call falls under is held, or the call is refused.
//!
//! Where what is leased does not suffice, metering is asked and the call waits a bounded time for its decision. Nothing is held
//! while it waits, so calls cannot block each other.

use std::time::Duration;

use tokio::time::Instant;

use crate::limits::{Ask, Limits, Permit, Refusal, Tried};

/// The longest that a call waits for a lease.
const PATIENCE: Duration = Duration::from_millis(2_000);

impl Limits {
    /// Takes a hold on every limit that the attempt falls under.
    pub async fn admit(&self, ask: Ask<'_>) -> Result<Permit, Box<Refusal>> {
        let deadline = Instant::now() + PATIENCE;
        let mut changes = self.changes();
        loop {
            changes.mark_unchanged();
            let mut requests = Vec::new();
            let tried = self.lock().try_hold(&ask, &mut requests);
            // A request that the journal cannot take is as one that is not answered: the deadline speaks.
            let sent = self.send(requests);
            match tried {
                Tried::Held(permit) => return Ok(permit),
                Tried::Refused(refusal) => return Err(refusal),
                Tried::Short(late) => {
                    let decided = tokio::time::timeout_at(deadline, changes.changed()).await;
                    if sent.is_err() || decided.is_err() {
                        return Err(late);
                    }
                }
            }
        }
    }
}
