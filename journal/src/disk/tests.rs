//! The disk road does what the port promises, and what only a disk can do wrong it does right.

use std::time::Duration;

use bytes::Bytes;
use schemas::{
    id::{Lane, Offset},
    topics::Topic,
};

use super::Disk;
use crate::{Draft, Options, Outputs, Polled, Road as _};

const SOON: Duration = Duration::from_secs(10);

#[test]
fn an_append_becomes_a_ledger_entry_and_a_decision() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::open(dir.path(), &Options { segment_bytes: 1 << 20, ..Options::default() }).unwrap();
    let journal = disk.journal().unwrap();
    let mut member = disk.member().unwrap();
    let mut follower = disk.follower().unwrap();
    assert!(matches!(member.poll(SOON).unwrap(), Polled::Assigned(Lane(0), state) if state.is_empty()));
    member.resume(Lane(0), Offset(0)).unwrap();
    journal.append(&[Draft { lane: Lane(0), body: b"one" }, Draft { lane: Lane(0), body: b"two" }]).unwrap();
    let Polled::Records(Lane(0), records) = member.poll(SOON).unwrap() else { panic!() };
    assert_eq!(records.iter().map(|record| &record.body[..]).collect::<Vec<_>>(), [b"one", b"two"]);
    assert_eq!(records.iter().map(|record| record.header.seq.0).collect::<Vec<_>>(), [1, 2]);
    let outputs = Outputs {
        input: Offset(2),
        ledger: vec![Bytes::from_static(b"charge")],
        decisions: vec![(Bytes::from_static(b"key"), Some(Bytes::from_static(b"state")))],
    };
    member.commit(Lane(0), outputs).unwrap();
    let changes = follower.poll(SOON).unwrap();
    assert_eq!(changes[0].state.as_deref(), Some(&b"state"[..]));
    let mut reader = disk.reader(Topic::Ledger, &[]).unwrap();
    assert_eq!(&reader.poll(SOON).unwrap()[0].body[..], b"charge");
}
