//! What a crash, a full disk and a flipped bit do to a log: each on a copy of a directory that was being written.

use std::{
    fs,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustix::io::Errno;
use schemas::{
    error_code::ErrorCode,
    id::{Lane, ProducerId},
    topics::Topic,
};
use tempfile::TempDir;

use super::{Cursor, Due, Log, Options, facts::Facts, files, open::Bounds};
use crate::{
    Draft,
    error::Error,
    fault::{Faults, Point},
};

const ANY: Bounds = Bounds { floor: 0, ceiling: None };

fn options(segment_bytes: u64, faults: &Faults) -> Options {
    let faults = faults.clone();
    Options {
        topic: Topic::Ledger,
        producer: ProducerId::fresh(),
        lanes: 4,
        segment_bytes,
        most_bytes: 1 << 30,
        faults,
    }
}

fn open(dir: &Path, segment_bytes: u64) -> Result<Arc<Log>, Error> {
    Log::open(dir, options(segment_bytes, &Faults::default()), ANY)
}

fn append(log: &Log, bodies: &[&str]) -> Result<u64, Error> {
    let drafts: Vec<_> = bodies.iter().map(|body| Draft { lane: Lane(1), body: body.as_bytes() }).collect();
    log.append(&drafts)
}

/// All records that are visible, or the error met; also that their offsets have no gap.
fn read(log: &Arc<Log>) -> Result<Vec<String>, Error> {
    let first = log.first();
    let mut cursor = Cursor::new(log, first);
    let mut out = Vec::new();
    while cursor.next() < log.visible().end {
        for record in cursor.poll(Duration::ZERO)? {
            assert_eq!(record.offset.0, first + out.len() as u64);
            out.push(String::from_utf8(record.body.to_vec()).unwrap());
        }
    }
    Ok(out)
}

/// The directory as a process that dies now would leave it.
fn crashed(dir: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    copy
}

fn files_of(dir: &Path) -> Vec<PathBuf> {
    files::segments(dir).unwrap().into_iter().map(|(_, path)| path).collect()
}

fn change(path: &Path, with: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    with(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// A log of one segment: two batches on the platter, a third that is not. Gives where each batch starts and the third ends.
fn three_batches() -> (TempDir, Arc<Log>, [usize; 4]) {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), 1 << 16).unwrap();
    let bytes = |log: &Log| usize::try_from(log.bytes()).unwrap();
    let mut marks = [bytes(&log); 4];
    for (index, bodies) in [["a", "b"], ["c", "d"], ["torn", "too"]].iter().enumerate() {
        append(&log, bodies).unwrap();
        marks[index + 1] = bytes(&log);
        if index < 2 {
            log.sync().unwrap();
        }
    }
    (dir, log, marks)
}

/// Opening after `damage` gives `expected`, now and after another append and another crash.
fn check_cut(dir: &Path, damage: impl FnOnce(&mut Vec<u8>), expected: &[&str], case: &str) {
    let copy = crashed(dir);
    change(&files_of(copy.path())[0], damage);
    let log = open(copy.path(), 1 << 16).unwrap();
    assert_eq!(read(&log).unwrap(), expected, "{case}");
    append(&log, &["after"]).unwrap();
    let again = crashed(copy.path());
    drop(log);
    let log = open(again.path(), 1 << 16).unwrap();
    assert_eq!(read(&log).unwrap(), [expected, &["after"]].concat(), "{case}");
}

#[test]
fn a_tail_cut_at_any_byte_is_cut_off() {
    let (dir, _log, [.., start, end]) = three_batches();
    for len in start..end {
        check_cut(dir.path(), |bytes| bytes.truncate(len), &["a", "b", "c", "d"], &format!("cut at {len}"));
    }
    check_cut(dir.path(), |bytes| bytes.truncate(end), &["a", "b", "c", "d", "torn", "too"], "whole");
}

#[test]
fn what_is_torn_is_counted_to_its_last_byte() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(3 << 20).unwrap();
    assert_eq!(super::scan::written(&file, 100).unwrap(), 0);
    for (at, from, expected) in
        [(99, 100, 0), (100, 100, 1), (4_195, 100, 4_096), (1 << 20, 100, (1 << 20) - 99), (1 << 20, 1 << 20, 1)]
    {
        file.write_all_at(&[7], at).unwrap();
        assert_eq!(super::scan::written(&file, from).unwrap(), expected, "{at} {from}");
    }
    file.write_all_at(&[7], (3 << 20) - 1).unwrap();
    assert_eq!(super::scan::written(&file, 0).unwrap(), 3 << 20);
}

#[test]
fn a_tail_flipped_at_any_byte_is_cut_off() {
    let (dir, _log, [.., start, end]) = three_batches();
    for at in start..end {
        check_cut(dir.path(), |bytes| bytes[at] ^= 0x10, &["a", "b", "c", "d"], &format!("flipped at {at}"));
    }
}

#[test]
fn a_flip_before_the_tail_is_damage_and_changes_nothing() {
    let (dir, _log, [first, second, ..]) = three_batches();
    for at in 0..second {
        let copy = crashed(dir.path());
        let path = &files_of(copy.path())[0];
        change(path, |bytes| bytes[at] ^= 0x10);
        let before = fs::read(path).unwrap();
        let Err(error) = open(copy.path(), 1 << 16) else { panic!("a flip at {at} went unseen") };
        assert_eq!(error.code(), ErrorCode::JournalCorrupt);
        let Error::Corrupt { path: named, position, .. } = error else { panic!("{error}") };
        assert_eq!((&named, position), (path, if at < first { 0 } else { first as u64 }));
        assert_eq!(fs::read(path).unwrap(), before);
    }
}

#[test]
fn what_others_know_to_be_durable_is_missed() {
    let (dir, _log, [.., last, _]) = three_batches();
    let copy = crashed(dir.path());
    change(&files_of(copy.path())[0], |bytes| bytes[last] ^= 1);
    let known = Bounds { floor: 6, ceiling: None };
    let opened = Log::open(copy.path(), options(1 << 16, &Faults::default()), known);
    assert!(matches!(opened, Err(Error::Corrupt { position, .. }) if position == last as u64));
    assert_eq!(read(&open(copy.path(), 1 << 16).unwrap()).unwrap().len(), 4);
}

#[test]
fn what_never_counted_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), 512).unwrap();
    let bodies: Vec<String> = (0..40).map(|number| format!("record {number:030}")).collect();
    for body in &bodies {
        append(&log, &[body]).unwrap();
    }
    log.sync().unwrap();
    for ceiling in 0..=40 {
        let copy = crashed(dir.path());
        let bounds = Bounds { floor: ceiling, ceiling: Some(ceiling) };
        let log = Log::open(copy.path(), options(512, &Faults::default()), bounds).unwrap();
        assert_eq!(read(&log).unwrap(), bodies[..usize::try_from(ceiling).unwrap()]);
        append(&log, &["next"]).unwrap();
        drop(log);
        let log = open(crashed(copy.path()).path(), 512).unwrap();
        assert_eq!(log.end(), ceiling + 1);
    }
}

#[test]
fn a_power_loss_keeps_what_was_fsynced_and_a_prefix_of_the_rest() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), 3000).unwrap();
    let bodies: Vec<String> = (0..60).map(|number| format!("{number:0100}")).collect();
    let mut synced = Vec::new();
    for (index, body) in bodies.iter().enumerate() {
        append(&log, &[body]).unwrap();
        if index == 20 {
            log.sync().unwrap();
            synced = files_of(dir.path()).iter().map(|path| fs::read(path).unwrap()).collect();
        }
    }
    for case in 0..100 {
        let copy = crashed(dir.path());
        for (index, path) in files_of(copy.path()).iter().enumerate() {
            let old = synced.get(index).cloned().unwrap_or_default();
            change(path, |bytes| {
                for start in (0..bytes.len()).step_by(64).filter(|_| next(8) == 0) {
                    // This block never reached the platter.
                    for (at, byte) in bytes.iter_mut().enumerate().skip(start).take(64) {
                        *byte = old.get(at).copied().unwrap_or(0);
                    }
                }
            });
        }
        let log = open(copy.path(), 3000).unwrap();
        let kept = read(&log).unwrap();
        assert!(kept.len() >= 21, "case {case}: {} of 21 fsynced records are left", kept.len());
        assert_eq!(kept, bodies[..kept.len()], "case {case}");
        // What lay behind the cut does not line up behind a batch of the same size.
        let after = format!("{:x>100}", "after");
        append(&log, &[&after]).unwrap();
        let copy = crashed(copy.path());
        let again = open(copy.path(), 3000).unwrap();
        assert_eq!(read(&again).unwrap(), [&kept[..], &[after]].concat(), "case {case}");
    }
}

#[test]
fn a_flip_in_a_sealed_segment_is_found_when_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), 512).unwrap();
    for number in 0..20 {
        append(&log, &[&format!("record {number:060}")]).unwrap();
        log.sync().unwrap();
    }
    drop(log);
    let paths = files_of(dir.path());
    let opening = usize::try_from(open(dir.path(), 512).unwrap().oldest_sealed().unwrap().place(0).unwrap()).unwrap();
    change(&paths[0], |bytes| bytes[opening + 70] ^= 1);
    let log = open(dir.path(), 512).unwrap();
    let Err(Error::Corrupt { path, position, .. }) = read(&log) else { panic!("unseen") };
    assert_eq!((path, position), (paths[0].clone(), opening as u64));
}

#[test]
fn a_lost_file_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), 512).unwrap();
    for number in 0..20 {
        append(&log, &[&format!("record {number:060}")]).unwrap();
        log.sync().unwrap();
    }
    let count = files_of(dir.path()).len();
    assert!(count > 3);
    for lost in 1..count - 1 {
        let copy = crashed(dir.path());
        fs::remove_file(&files_of(copy.path())[lost]).unwrap();
        assert!(matches!(open(copy.path(), 512), Err(Error::Corrupt { .. })), "segment {lost}");
    }
    let copy = crashed(dir.path());
    fs::remove_file(copy.path().join("format")).unwrap();
    assert!(matches!(open(copy.path(), 512), Err(Error::Corrupt { .. })));
}

#[test]
fn a_clean_close_spares_the_scan() {
    let (dir, log, [first, .., end]) = three_batches();
    log.close().unwrap();
    drop(log);
    let copy = crashed(dir.path());
    change(&files_of(copy.path())[0], |bytes| bytes[first] ^= 1);
    // Had it been scanned, it would have been refused.
    let log = open(copy.path(), 1 << 16).unwrap();
    assert_eq!((log.end(), log.bytes()), (6, end as u64));
    assert!(matches!(read(&log), Err(Error::Corrupt { .. })));
    assert!(!files::sidecar(copy.path(), 0).exists());
    assert_eq!(read(&open(dir.path(), 1 << 16).unwrap()).unwrap(), ["a", "b", "c", "d", "torn", "too"]);
}

#[test]
fn what_a_crash_left_half_made_goes() {
    let (dir, log, _) = three_batches();
    let copy = crashed(dir.path());
    let left = ["next", "format.tmp", "00000000000000000000.tmp", "00000000000000000007.idx"];
    for name in left {
        fs::write(copy.path().join(name), b"half").unwrap();
    }
    let again = open(copy.path(), 1 << 16).unwrap();
    assert_eq!(again.end(), log.end());
    assert!(left.iter().all(|name| !copy.path().join(name).exists()));
}

#[test]
fn a_sidecar_says_what_a_scan_finds() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), 1 << 14).unwrap();
    for number in 0..600 {
        append(&log, &[&format!("record {number:060}"), "x"]).unwrap();
    }
    log.sync().unwrap();
    let sealed = log.oldest_sealed().unwrap();
    let salt = files::salt(dir.path()).unwrap();
    let bytes = fs::read(files::sidecar(dir.path(), 0)).unwrap();
    assert_eq!(Facts::decode(&bytes, salt).as_ref(), Some(&*sealed));
    let file = fs::File::open(&files_of(dir.path())[0]).unwrap();
    assert_eq!(super::scan::scan(&file, 0, salt, None).unwrap(), *sealed);
    for len in 0..bytes.len() {
        assert_eq!(Facts::decode(&bytes[..len], salt), None);
    }
}

#[test]
fn no_room_for_a_segment_refuses_and_passes() {
    let faults = Faults::default();
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), options(4096, &faults), ANY).unwrap();
    let body = "x".repeat(1500);
    append(&log, &[&body]).unwrap();
    append(&log, &[&body]).unwrap();
    faults.plant(Point::Create, Errno::NOSPC);
    let error = append(&log, &[&body]).unwrap_err();
    assert!(matches!(error, Error::Full { .. }), "{error}");
    assert_eq!(error.code(), ErrorCode::JournalFull);
    append(&log, &[&body]).unwrap();
    log.publish(log.sync().unwrap());
    assert_eq!(read(&log).unwrap().len(), 3);
}

#[test]
fn a_log_on_a_full_disk_is_opened_and_read() {
    let (dir, _log, _) = three_batches();
    let copy = crashed(dir.path());
    let faults = Faults::default();
    let log = Log::open(copy.path(), options(1 << 16, &faults), ANY).unwrap();
    faults.plant(Point::Create, Errno::NOSPC);
    assert_eq!(read(&log).unwrap().len(), 6);
    assert!(matches!(append(&log, &["no room"]), Err(Error::Full { .. })));
    append(&log, &["room"]).unwrap();
    log.publish(log.sync().unwrap());
    assert_eq!(read(&log).unwrap()[6..], ["room"]);
}

#[test]
fn a_failed_write_or_fsync_is_final() {
    for point in [Point::Write, Point::Sync] {
        let faults = Faults::default();
        let dir = tempfile::tempdir().unwrap();
        let log = Log::open(dir.path(), options(4096, &faults), ANY).unwrap();
        append(&log, &["before"]).unwrap();
        log.publish(log.sync().unwrap());
        faults.plant(point, if point == Point::Write { Errno::NOSPC } else { Errno::IO });
        let failed = append(&log, &["lost"]).and_then(|_| log.sync());
        assert!(matches!(failed, Err(Error::Broken { .. })), "{failed:?}");
        assert!(matches!(append(&log, &["more"]), Err(Error::Broken { .. })));
        assert!(matches!(log.sync(), Err(Error::Broken { .. })));
        assert_eq!(read(&log).unwrap(), ["before"]);
        drop(log);
        let log = open(dir.path(), 4096).unwrap();
        assert_eq!(read(&log).unwrap()[0], "before");
        append(&log, &["again"]).unwrap();
    }
}

#[test]
fn trimming_takes_whole_segments_and_leaves_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), 512).unwrap();
    let bodies: Vec<String> = (0..40).map(|number| format!("record {number:060}")).collect();
    for body in &bodies {
        append(&log, &[body]).unwrap();
    }
    let bytes = log.bytes();
    // Nothing goes before its successor is on the platter.
    log.trim(|_| true).unwrap();
    assert_eq!(log.first(), 0);
    log.publish(log.sync().unwrap());
    log.trim(|facts| facts.end <= 21).unwrap();
    let first = log.first();
    assert!((1..=21).contains(&first) && log.bytes() < bytes);
    assert!(matches!(log.check_kept(first - 1), Err(Error::NotKept { first: kept, .. }) if kept == first));
    assert!(Cursor::new(&log, 0).poll(Duration::ZERO).is_err());
    assert_eq!(read(&log).unwrap(), bodies[usize::try_from(first).unwrap()..]);
    let log = open(crashed(dir.path()).path(), 512).unwrap();
    assert_eq!((log.first(), log.end()), (first, 40));
}

#[test]
fn a_batch_larger_than_a_segment_has_one_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), 512).unwrap();
    let large = "y".repeat(3 << 20);
    let bodies = ["small", &large, "small"];
    for body in bodies {
        append(&log, &[body]).unwrap();
    }
    log.publish(log.sync().unwrap());
    assert_eq!(read(&log).unwrap(), bodies);
    let too_large = "z".repeat(65 << 20);
    assert!(matches!(append(&log, &[&too_large]), Err(Error::TooLarge { .. })));
    assert!(matches!(
        log.append(&[Draft { lane: Lane(4), body: b"" }]),
        Err(Error::NoSuchLane { lane: Lane(4), lanes: 4 })
    ));
}

#[test]
fn a_waiting_reader_wakes_for_records_and_for_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), 1 << 16).unwrap();
    let reader = std::thread::spawn({
        let mut cursor = Cursor::new(&log, 0);
        move || {
            let first = cursor.poll(Duration::from_secs(60)).map(|records| records.len());
            let second = cursor.poll(Duration::from_secs(60)).map(|records| records.len());
            (first, second)
        }
    });
    append(&log, &["one"]).unwrap();
    log.publish(log.sync().unwrap());
    log.close().unwrap();
    log.wake_for_close();
    let (first, second) = reader.join().unwrap();
    assert_eq!(first.unwrap(), 1);
    assert!(matches!(second, Err(Error::Closed)));
}

#[test]
fn what_somebody_waits_for_is_not_left_until_the_next_group() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), 1 << 20).unwrap();
    let due = || {
        let waiting = Arc::clone(&log);
        std::thread::spawn(move || waiting.wait_due(Duration::from_secs(3_600), Duration::ZERO))
    };
    append(&log, &["first"]).unwrap();
    assert_eq!(due().join().unwrap(), Due::Sync, "nothing was put there for an hour");
    log.sync().unwrap();
    append(&log, &["second"]).unwrap();
    let waiting = due();
    log.awaited();
    assert_eq!(waiting.join().unwrap(), Due::Sync);
    log.sync().unwrap();
    // Nothing is appended that anybody could wait for, and of the next one nobody has said so.
    log.awaited();
    append(&log, &["third"]).unwrap();
    let waiting = due();
    std::thread::sleep(Duration::from_millis(50));
    assert!(!waiting.is_finished());
    log.nudge();
    assert_eq!(waiting.join().unwrap(), Due::Trim);
}
