//! How many events of 400 bytes a second the journal takes from one thread, and how that compares with a plain file.
//!
//! The baseline writes the same bytes in the same batches to one preallocated file and calls `fdatasync` by the same rule
//! (5 ms or 1 MiB) in the writing thread, without framing, checksum, hash, index or readers. Both survive `kill -9` at every batch. Run it on one
//! core, where the flusher competes with the appending thread, as it does beside a gateway:
//! `taskset -c 0 cargo bench -p journal --bench append`. The first argument is the number of events, 1,000,000 by default.

#![expect(clippy::unwrap_used, reason = "a benchmark ends where it fails")]
#![expect(clippy::print_stdout, reason = "a benchmark says what it measured")]

use std::{
    fs::File,
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use journal::{Draft, Journal, Options};
use schemas::id::Lane;

const EVENT_BYTES: usize = 400;
const ROUNDS: usize = 3;

fn main() {
    let events = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(1_000_000);
    for batch in [64, 256] {
        let mut best = (0.0_f64, 0.0_f64);
        // Rounds alternate, so that a slow minute of the machine hits both.
        for _ in 0..ROUNDS {
            best.0 = best.0.max(rate(events, |dir| journal(dir, events, batch)));
            best.1 = best.1.max(rate(events, |dir| plain(dir, events, batch)));
        }
        let (ours, baseline) = best;
        println!(
            "append, batches of {batch}: {ours:.0} events/s; plain write + fdatasync {baseline:.0} events/s; ratio {:.2}",
            ours / baseline
        );
    }
}

fn rate(events: usize, run: impl FnOnce(&Path)) -> f64 {
    let dir = tempfile::tempdir_in(".").unwrap();
    let begun = Instant::now();
    run(dir.path());
    events as f64 / begun.elapsed().as_secs_f64()
}

fn bodies(batch: usize) -> Vec<Vec<u8>> {
    (0..batch).map(|number| format!("{number:0EVENT_BYTES$}").into_bytes()).collect()
}

fn journal(dir: &Path, events: usize, batch: usize) {
    let journal = Journal::open(dir, &Options::default()).unwrap();
    let bodies = bodies(batch);
    let drafts: Vec<_> = bodies.iter().map(|body| Draft { lane: Lane(0), body }).collect();
    for _ in 0..events / batch {
        journal.append(&drafts).unwrap();
    }
    journal.sync().unwrap();
}

fn plain(dir: &Path, events: usize, batch: usize) {
    let mut file = File::create(dir.join("plain")).unwrap();
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, (events * EVENT_BYTES) as u64).unwrap();
    let bytes = bodies(batch).concat();
    let (mut synced, mut unsynced) = (Instant::now(), 0);
    for _ in 0..events / batch {
        file.write_all(&bytes).unwrap();
        unsynced += bytes.len();
        if unsynced >= 1 << 20 || synced.elapsed() >= Duration::from_millis(5) {
            file.sync_data().unwrap();
            (synced, unsynced) = (Instant::now(), 0);
        }
    }
    file.sync_data().unwrap();
}
