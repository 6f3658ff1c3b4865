//! How long it takes on disk from an event appended to the decision that a follower holds, beside one `fdatasync`.
//!
//! The circle is that of the road alone: append, group fsync, poll, one transaction with a ledger entry and a decision, push.
//! `cargo bench -p journal --bench circle`. The first argument is the number of circles, 1,000 by default.

#![expect(clippy::unwrap_used, reason = "a benchmark ends where it fails")]
#![expect(clippy::print_stdout, reason = "a benchmark says what it measured")]

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use journal::{Disk, Draft, Options, Outputs, Polled, Road as _};
use schemas::id::{Lane, Offset};

const WAIT: Duration = Duration::from_secs(10);

fn main() {
    let circles = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(1_000);
    let dir = tempfile::tempdir_in(".").unwrap();
    let (circle_p50, circle_p99) = percentiles(circle(dir.path(), circles));
    let (fsync_p50, fsync_p99) = percentiles(fsync(dir.path(), circles));
    println!("append to decision: p50 {circle_p50:?}, p99 {circle_p99:?}");
    println!("one fdatasync of 512 bytes: p50 {fsync_p50:?}, p99 {fsync_p99:?}");
    let ratio = |circle: Duration, fsync: Duration| circle.as_secs_f64() / fsync.as_secs_f64();
    println!("ratio: p50 {:.1}, p99 {:.1}", ratio(circle_p50, fsync_p50), ratio(circle_p99, fsync_p99));
}

fn circle(dir: &Path, circles: usize) -> Vec<Duration> {
    let disk = Disk::open(&dir.join("log"), &Options::default()).unwrap();
    let journal = disk.journal().unwrap();
    let metering = std::thread::spawn({
        let mut member = disk.member().unwrap();
        move || {
            let mut left = circles;
            while left > 0 {
                match member.poll(WAIT).unwrap() {
                    Polled::Assigned(lane, _) => member.resume(lane, Offset(0)).unwrap(),
                    Polled::Records(lane, records) => {
                        left -= records.len();
                        let outputs = Outputs {
                            input: Offset(records.last().unwrap().offset.0 + 1),
                            ledger: records.iter().map(|record| record.body.clone()).collect(),
                            decisions: vec![(Bytes::from_static(b"key"), records.last().map(|last| last.body.clone()))],
                            passed: Vec::new(),
                        };
                        member.commit(lane, &outputs).unwrap();
                    }
                    Polled::Idle | Polled::Revoked(_) => {}
                }
            }
        }
    });
    let mut follower = disk.follower().unwrap();
    let mut took = Vec::with_capacity(circles);
    for number in 0..circles {
        let body = format!("{number:0400}");
        let begun = Instant::now();
        journal.append(&[Draft { lane: Lane(0), body: body.as_bytes() }]).unwrap();
        while !follower.poll(WAIT).unwrap().iter().any(|change| change.state.as_deref() == Some(body.as_bytes())) {}
        took.push(begun.elapsed());
    }
    metering.join().unwrap();
    took
}

fn fsync(dir: &Path, times: usize) -> Vec<Duration> {
    let file = File::create(dir.join("plain")).unwrap();
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, (times * 512) as u64).unwrap();
    let write = |number: usize| {
        let begun = Instant::now();
        file.write_all_at(&[7; 512], (number * 512) as u64).unwrap();
        file.sync_data().unwrap();
        begun.elapsed()
    };
    (0..times).map(write).collect()
}

fn percentiles(mut took: Vec<Duration>) -> (Duration, Duration) {
    took.sort_unstable();
    (took[took.len() / 2], took[took.len() * 99 / 100])
}
