//! What is known of a segment without reading it, and its sidecar on disk.
//!
//! A sidecar `<base>.idx` is written only when its segment is on the platter and complete: sealed by the next one, or left by
//! a clean close. So its presence proves that the segment needs no scan. It is removed before its segment is written again.

use std::collections::BTreeMap;

use schemas::{
    id::{Lane, ProducerId},
    time::Time,
};

/// How far apart the places in the sparse index are. 64 KiB, so that finding an offset reads at most one block.
const STRIDE: u64 = 64 << 10;

const MAGIC: [u8; 4] = *b"TGi1";

/// The last sequence of each lane of the last producer that wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heads {
    pub(crate) producer: ProducerId,
    pub(crate) last: BTreeMap<Lane, u64>,
}

impl Heads {
    pub(crate) const NONE: Self = Self { producer: ProducerId::NONE, last: BTreeMap::new() };

    pub(crate) fn encode(&self) -> Vec<u8> {
        self.last.iter().flat_map(|(lane, seq)| [&lane.0.to_le_bytes()[..], &seq.to_le_bytes()].concat()).collect()
    }

    pub(crate) fn decode(producer: ProducerId, mut bytes: &[u8]) -> Option<Self> {
        let mut last = BTreeMap::new();
        while !bytes.is_empty() {
            let lane = Lane(u16::from_le_bytes(take(&mut bytes)?));
            last.insert(lane, u64::from_le_bytes(take(&mut bytes)?));
        }
        Some(Self { producer, last })
    }
}

/// The sequences of one producer and lane that a segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) producer: ProducerId,
    pub(crate) lane: Lane,
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// What is known of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The offset of its first record; its name.
    pub(crate) base: u64,
    /// The offset after its last.
    pub(crate) end: u64,
    /// The byte after its last frame.
    pub(crate) bytes: u64,
    /// When its last frame was written.
    pub(crate) at: Time,
    /// What had been written before it.
    pub(crate) before: Heads,
    /// Who wrote its last frame.
    pub(crate) producer: ProducerId,
    /// Whose sequences it holds, in the order of their first record here.
    pub(crate) spans: Vec<Span>,
    /// Offsets and the byte their frame starts at, ascending.
    index: Vec<(u64, u64)>,
}

impl Facts {
    pub(crate) fn new(base: u64, before: Heads) -> Self {
        let producer = before.producer;
        Self { base, end: base, bytes: 0, at: Time::ZERO, before, producer, spans: Vec::new(), index: Vec::new() }
    }

    /// Takes note that a frame of records starts at the current end.
    pub(crate) fn frame(&mut self, whole: u64, end: u64, at: Time, producer: ProducerId) {
        if self.index.last().is_none_or(|(_, position)| self.bytes >= position + STRIDE) {
            self.index.push((self.end, self.bytes));
        }
        self.bytes += whole;
        self.end = end;
        self.at = at;
        self.producer = producer;
    }

    /// Takes note of a record's sequence.
    pub(crate) fn record(&mut self, producer: ProducerId, lane: Lane, seq: u64) {
        match self.spans.iter_mut().rev().find(|span| span.lane == lane && span.producer == producer) {
            Some(span) => span.last = seq,
            None => self.spans.push(Span { producer, lane, first: seq, last: seq }),
        }
    }

    /// Where to start looking for `offset`: a byte at which a frame of records starts.
    pub(crate) fn place(&self, offset: u64) -> Option<u64> {
        let after = self.index.partition_point(|(at, _)| *at <= offset);
        self.index.get(after.checked_sub(1)?).map(|(_, position)| *position)
    }

    /// The last producer and its sequences, as of this segment's end.
    pub(crate) fn heads(&self) -> Heads {
        let mut heads = if self.producer == self.before.producer {
            self.before.clone()
        } else {
            Heads { producer: self.producer, last: BTreeMap::new() }
        };
        for span in self.spans.iter().filter(|span| span.producer == heads.producer) {
            heads.last.insert(span.lane, span.last);
        }
        heads
    }

    /// The sidecar's bytes.
    pub(crate) fn encode(&self, salt: u32) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        let before = self.before.encode();
        for number in [self.base, self.end, self.bytes, self.at.as_micros().cast_unsigned()] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(self.producer.as_bytes());
        out.extend_from_slice(self.before.producer.as_bytes());
        for len in [before.len(), self.spans.len(), self.index.len()] {
            out.extend_from_slice(&(len as u64).to_le_bytes());
        }
        out.extend_from_slice(&before);
        for span in &self.spans {
            out.extend_from_slice(span.producer.as_bytes());
            out.extend_from_slice(&span.lane.0.to_le_bytes());
            out.extend_from_slice(&span.first.to_le_bytes());
            out.extend_from_slice(&span.last.to_le_bytes());
        }
        for (offset, position) in &self.index {
            out.extend_from_slice(&offset.to_le_bytes());
            out.extend_from_slice(&position.to_le_bytes());
        }
        let crc = checksum(&out, salt);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a sidecar; `None` if it is not one, or not whole: then the segment is scanned instead.
    pub(crate) fn decode(sidecar: &[u8], salt: u32) -> Option<Self> {
        let (bytes, crc) = sidecar.split_last_chunk::<4>()?;
        if checksum(bytes, salt) != u32::from_le_bytes(*crc) {
            return None;
        }
        let mut bytes = bytes.strip_prefix(&MAGIC)?;
        let [base, end, size, at] = numbers(&mut bytes)?;
        let producer = ProducerId::from_bytes(take(&mut bytes)?);
        let before = ProducerId::from_bytes(take(&mut bytes)?);
        let [lasts, spans, index] = numbers(&mut bytes)?;
        let (lasts, mut bytes) = bytes.split_at_checked(usize::try_from(lasts).ok()?)?;
        let mut facts = Self::new(base, Heads::decode(before, lasts)?);
        for _ in 0..spans {
            let producer = ProducerId::from_bytes(take(&mut bytes)?);
            let lane = Lane(u16::from_le_bytes(take(&mut bytes)?));
            let [first, last] = numbers(&mut bytes)?;
            facts.spans.push(Span { producer, lane, first, last });
        }
        for _ in 0..index {
            let [offset, position] = numbers(&mut bytes)?;
            facts.index.push((offset, position));
        }
        (facts.end, facts.bytes) = (end, size);
        (facts.at, facts.producer) = (Time::from_micros(at.cast_signed()), producer);
        Some(facts)
    }
}

fn checksum(bytes: &[u8], salt: u32) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(salt);
    hasher.update(bytes);
    hasher.finalize()
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*first)
}

fn numbers<const N: usize>(bytes: &mut &[u8]) -> Option<[u64; N]> {
    let mut out = [0; N];
    for number in &mut out {
        *number = u64::from_le_bytes(take(bytes)?);
    }
    Some(out)
}
