//! What the fuzz targets in `fuzz/` reach of segments, and of what stands beside a record on Kafka. Only they turn the feature on; it is for nobody else.
//!
//! A segment is written with the builder and read with the scanner that a start uses, from a file without a name. All records are
//! one producer's, and offsets begin at 0.

use std::{fs::File, io::Write as _};

use bytes::Bytes;
use rustix::fs::MemfdFlags;
use schemas::{
    id::{Lane, ProducerId, Seq},
    time::Time,
};

use super::{
    facts::Facts,
    frame::{Builder, HEADER, Head, records},
    scan,
};
use crate::{Header, Record};

const PRODUCER: ProducerId = ProducerId::from_bytes([7; 16]);

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its lane.
    pub lane: u16,
    /// Its sequence.
    pub seq: u64,
    /// Its body; the hash beside it is its length.
    pub body: Vec<u8>,
}

impl From<&Record> for Entry {
    fn from(record: &Record) -> Self {
        Self { lane: record.lane.0, seq: record.header.seq.0, body: record.body.to_vec() }
    }
}

/// A segment of these frames.
pub fn written(frames: &[&[Entry]], salt: u32) -> Vec<u8> {
    let (mut segment, mut base) = (Vec::new(), 0);
    Builder::new(&mut segment).seal(0, 0, Time::ZERO, PRODUCER, salt);
    for entries in frames {
        let mut frame = Builder::new(&mut segment);
        for Entry { lane, seq, body } in *entries {
            frame.push(Lane(*lane), Seq(*seq), body.len() as u64, body);
        }
        frame.seal(base, base, Time::ZERO, PRODUCER, salt);
        base += entries.len() as u64;
    }
    segment
}

/// The records that count in the bytes of a segment: what a start takes, read as readers do.
pub fn read(segment: &[u8], salt: u32) -> Vec<Entry> {
    let Some(facts) = scanned(segment, salt) else { return Vec::new() };
    let mut out = Vec::new();
    let mut rest = segment.get(..facts.bytes as usize).unwrap_or_default();
    while let Some(head) = Head::parse(rest).filter(|_| !rest.is_empty()) {
        let Some((frame, after)) = rest.split_at_checked(head.whole()).filter(|(frame, _)| head.holds(frame, salt))
        else {
            break;
        };
        let payload = Bytes::copy_from_slice(frame.get(HEADER..).unwrap_or_default());
        if !records(&head, &payload, 0, &mut out) {
            break;
        }
        rest = after;
    }
    assert!(rest.is_empty() && out.len() as u64 == facts.end, "readers and the scanner disagree");
    assert!(out.iter().zip(0..).all(|(record, offset)| record.offset.0 == offset), "offsets have a gap");
    out.iter().map(Entry::from).collect()
}

/// The sidecar of a segment.
pub fn sidecar(segment: &[u8], salt: u32) -> Vec<u8> {
    scanned(segment, salt).map(|facts| facts.encode(salt)).unwrap_or_default()
}

/// Whether these bytes are taken for a sidecar; one is written again as it was.
pub fn is_sidecar(bytes: &[u8], salt: u32) -> bool {
    let facts = Facts::decode(bytes, salt);
    assert!(facts.as_ref().is_none_or(|facts| facts.encode(salt) == bytes), "a sidecar is written otherwise");
    facts.is_some()
}

/// The records before the first contradiction in a payload that is said to have `count`.
pub fn contradictory(payload: &[u8], count: u32) -> Vec<Entry> {
    let mut header = Vec::new();
    Builder::new(&mut header).seal(0, 0, Time::ZERO, PRODUCER, 0);
    header.splice(12..16, count.to_le_bytes());
    let mut out = Vec::new();
    if let Some(head) = Head::parse(&header) {
        records(&head, &Bytes::copy_from_slice(payload), 0, &mut out);
    }
    out.iter().map(Entry::from).collect()
}

fn scanned(segment: &[u8], salt: u32) -> Option<Facts> {
    let mut file = File::from(rustix::fs::memfd_create("segment", MemfdFlags::CLOEXEC).ok()?);
    file.write_all(segment).ok()?;
    scan::scan(&file, 0, salt, None).ok()
}

/// Who wrote a record with these headers on Kafka.
pub fn named<'a>(headers: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>) -> Option<Header> {
    Header::named(headers)
}
