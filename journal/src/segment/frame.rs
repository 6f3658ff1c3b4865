//! A frame: one batch of records as it lies in a segment.
//!
//! 56 bytes of header, then the records. Integers are little-endian. The CRC covers everything but the magic and itself, and
//! starts from the log's own salt: bytes of another log, or bytes that a caller smuggled into a body, never pass for a frame.
//!
//! `synced` is the offset up to which the log was known to be on the platter when the frame was written. It is what tells a
//! torn tail (nothing later claims it was durable) from damage (something does).

use bytes::Bytes;
use schemas::{
    id::{Lane, Offset, ProducerId, Seq},
    time::Time,
};

use crate::{Header, Record};

const MAGIC: [u8; 4] = *b"TGj1";

/// The length of a frame's header.
pub(crate) const HEADER: usize = 56;

/// The length of what stands before each body.
const STAMP: usize = 22;

/// The largest payload of a frame. A length beyond it is damage, not a reason to allocate.
pub(crate) const LARGEST: u64 = 64 << 20;

/// What a frame says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The bytes after the header.
    pub(crate) len: u32,
    crc: u32,
    /// How many records; 0 in the frame that opens a segment.
    pub(crate) count: u32,
    /// The offset of the first.
    pub(crate) base: u64,
    /// What was on the platter when this was written.
    pub(crate) synced: u64,
    /// When it was written.
    pub(crate) at: Time,
    /// By whom.
    pub(crate) producer: ProducerId,
}

impl Head {
    /// The offset after the last record.
    pub(crate) fn end(&self) -> u64 {
        self.base.saturating_add(u64::from(self.count))
    }

    /// Header and payload.
    pub(crate) fn whole(&self) -> usize {
        HEADER + self.len as usize
    }

    /// Reads a header; `None` if these bytes cannot be one.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(&MAGIC)?;
        let head = Self {
            len: u32::from_le_bytes(take(&mut rest)?),
            crc: u32::from_le_bytes(take(&mut rest)?),
            count: u32::from_le_bytes(take(&mut rest)?),
            base: u64::from_le_bytes(take(&mut rest)?),
            synced: u64::from_le_bytes(take(&mut rest)?),
            at: Time::from_micros(i64::from_le_bytes(take(&mut rest)?)),
            producer: ProducerId::from_bytes(take(&mut rest)?),
        };
        (u64::from(head.len) <= LARGEST).then_some(head)
    }

    /// Whether `frame`, which this is the header of, is what was written.
    pub(crate) fn holds(&self, frame: &[u8], salt: u32) -> bool {
        frame.len() == self.whole() && checksum(frame, salt) == self.crc
    }
}

/// The first place in `bytes` at or after `from` where a frame could start.
pub(crate) fn find(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    memchr::memmem::find(rest, &MAGIC).map(|at| from + at)
}

fn checksum(frame: &[u8], salt: u32) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(salt);
    hasher.update(frame.get(4..8).unwrap_or_default());
    hasher.update(frame.get(12..).unwrap_or_default());
    hasher.finalize()
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*first)
}

/// A frame being built at the end of a buffer.
pub(crate) struct Builder<'a> {
    buffer: &'a mut Vec<u8>,
    start: usize,
    count: u32,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(buffer: &'a mut Vec<u8>) -> Self {
        let start = buffer.len();
        buffer.resize(start + HEADER, 0);
        Self { buffer, start, count: 0 }
    }

    pub(crate) fn push(&mut self, lane: Lane, seq: Seq, hash: u64, body: &[u8]) {
        let mut stamp = [0; STAMP];
        stamp[..2].copy_from_slice(&lane.0.to_le_bytes());
        stamp[2..10].copy_from_slice(&seq.0.to_le_bytes());
        stamp[10..18].copy_from_slice(&hash.to_le_bytes());
        stamp[18..].copy_from_slice(&(body.len() as u32).to_le_bytes());
        self.buffer.extend_from_slice(&stamp);
        self.buffer.extend_from_slice(body);
        self.count += 1;
    }

    /// Pushes payload that is not a record.
    pub(crate) fn push_raw(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Writes the header. The payload is at most [`LARGEST`]: the caller has measured it with [`payload`].
    pub(crate) fn seal(self, base: u64, synced: u64, at: Time, producer: ProducerId, salt: u32) {
        let Some(frame) = self.buffer.get_mut(self.start..) else { return };
        let len = (frame.len() - HEADER) as u32;
        frame[..4].copy_from_slice(&MAGIC);
        frame[4..8].copy_from_slice(&len.to_le_bytes());
        frame[12..16].copy_from_slice(&self.count.to_le_bytes());
        frame[16..24].copy_from_slice(&base.to_le_bytes());
        frame[24..32].copy_from_slice(&synced.to_le_bytes());
        frame[32..40].copy_from_slice(&at.as_micros().to_le_bytes());
        frame[40..56].copy_from_slice(producer.as_bytes());
        let crc = checksum(frame, salt);
        frame[8..12].copy_from_slice(&crc.to_le_bytes());
    }
}

/// The payload that bodies of these lengths make.
pub(crate) fn payload(lengths: impl Iterator<Item = usize>) -> u64 {
    lengths.map(|len| (len + STAMP) as u64).sum()
}

/// One record in a payload, without its body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    pub(crate) lane: Lane,
    pub(crate) seq: Seq,
    hash: u64,
    start: usize,
    end: usize,
}

/// The records of one payload; `None` where its inside contradicts itself.
pub(crate) struct Stamps<'a> {
    payload: &'a [u8],
    position: usize,
    left: u32,
}

impl<'a> Stamps<'a> {
    pub(crate) fn new(head: &Head, payload: &'a [u8]) -> Self {
        Self { payload, position: 0, left: head.count }
    }

    fn next_stamp(&mut self) -> Option<Stamp> {
        let mut rest = self.payload.get(self.position..)?;
        let lane = Lane(u16::from_le_bytes(take(&mut rest)?));
        let seq = Seq(u64::from_le_bytes(take(&mut rest)?));
        let hash = u64::from_le_bytes(take(&mut rest)?);
        let len = u32::from_le_bytes(take(&mut rest)?) as usize;
        let start = self.position + STAMP;
        let end = start.checked_add(len).filter(|end| *end <= self.payload.len())?;
        self.position = end;
        Some(Stamp { lane, seq, hash, start, end })
    }
}

impl Iterator for Stamps<'_> {
    type Item = Option<Stamp>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let stamp = self.next_stamp();
        if stamp.is_none() {
            self.left = 0;
        }
        Some(stamp)
    }
}

/// Hands the records of `payload` from offset `from` on to `out`, as slices of it; false where it contradicts itself.
pub(crate) fn records(head: &Head, payload: &Bytes, from: u64, out: &mut Vec<Record>) -> bool {
    for (offset, stamp) in (head.base..).zip(Stamps::new(head, payload)) {
        let Some(stamp) = stamp else { return false };
        if offset >= from {
            out.push(Record {
                lane: stamp.lane,
                offset: Offset(offset),
                header: Header { producer: head.producer, seq: stamp.seq, hash: stamp.hash },
                body: payload.slice(stamp.start..stamp.end),
            });
        }
    }
    true
}

#[cfg(test)]
mod tests;
