//! The one clock of a world, and the clocks of its machines, which are wrong by a skew that may jump.
//!
//! Time passes only when the world says so. What only goes forward in production is an [`Instant`]: here it is one base and the
//! world's time, so only differences of it are ever seen and every run sees the same.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use schemas::time::Time;

/// 2026-10-31T22:58:00Z, two minutes to midnight in Berlin: the turn of a day is near, and that of a month not far.
const START: i64 = 1_793_487_480_000_000;

/// A clock. Clones share the world's time; a skewed one has its own error.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    world: Arc<AtomicI64>,
    skew: Arc<AtomicI64>,
    base: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { world: Arc::new(AtomicI64::new(START)), skew: Arc::default(), base: Instant::now() }
    }

    /// The clock of a machine.
    pub(crate) fn of_machine(&self) -> Self {
        Self { skew: Arc::default(), ..self.clone() }
    }

    /// Whether it is wrong by seconds only.
    pub(crate) fn is_about_right(&self) -> bool {
        self.skew.load(Relaxed).abs() < 10_000_000
    }

    pub(crate) fn set_skew(&self, micros: i64) {
        self.skew.store(micros, Relaxed);
    }

    pub(crate) fn pass(&self, span: Duration) {
        self.world.fetch_add(i64::try_from(span.as_micros()).unwrap(), Relaxed);
    }

    pub(crate) fn now(&self) -> Time {
        Time::from_micros(self.world.load(Relaxed) + self.skew.load(Relaxed))
    }

    /// The time that only goes forward.
    pub(crate) fn at(&self) -> Instant {
        self.base + Duration::from_micros(u64::try_from(self.world.load(Relaxed) - START).unwrap())
    }
}
