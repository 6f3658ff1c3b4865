//! What benchmarks of pure code begin with, and the time that their own thread takes: that on a processor counts, not that on the wall.

use std::{fs, time::Duration};

use schemas::time::Time;

pub(crate) const NOW: Time = Time::from_micros(1_795_000_000_000_000);
/// What is to be committed is taken after so many events.
pub(crate) const BATCH: usize = 1_000;
pub(crate) const ROUNDS: usize = 5;

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How many events are asked for.
pub(crate) fn events() -> usize {
    std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(200_000)
}

/// The time that this thread has been on a processor.
fn on_cpu() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

pub(crate) fn timed(run: impl FnOnce()) -> Duration {
    let begun = on_cpu();
    run();
    on_cpu() - begun
}

pub(crate) fn median(mut took: Vec<Duration>) -> Duration {
    took.sort_unstable();
    took[took.len() / 2]
}
