//! The time that a benchmark's own thread takes: that on a processor counts, not that on the wall.

use std::{fs, time::Duration};

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
