//! How long a call may still wait. No wait is too long to be added to an instant.

use std::time::{Duration, Instant};

/// The moment until which a call may wait; `None` if no clock reaches it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    pub(crate) fn after(wait: Duration) -> Self {
        Self(Instant::now().checked_add(wait))
    }

    /// What is left; zero once it has passed.
    pub(crate) fn rest(self) -> Duration {
        self.0.map_or(Duration::from_secs(3600), |end| end.saturating_duration_since(Instant::now()))
    }
}
