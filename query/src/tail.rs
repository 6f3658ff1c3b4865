//! The tail: rows of the ledger that the lake does not have yet, in memory, visible as soon as they are read.
//!
//! Per table and lane it holds batches in the order of the ledger, each with its range of offsets. A query takes one
//! [`Pin`]: under one lock, how far the tail is (H, one vector for all tables) and for each table the newest version of the
//! lake (files up to C) with the batches in (C, H]. So a row is never in both and never in neither, whatever is committed,
//! evicted or compacted while the query runs: what a pin refers to lives as long as the pin.
//!
//! It is bounded in rows and bytes: when it is full, nothing more is read until the lake has taken some of it. It does no
//! I/O.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arrow::{
    array::{AsArray, RecordBatch},
    compute::concat_batches,
    datatypes::{Int32Type, Int64Type},
};
use bytes::Bytes;
use schemas::{
    id::{Lane, Offset},
    ledger::Entry,
    wire::{self, WireError},
};

use crate::{
    error::Error,
    fault::{self, Fault},
    lake::Version,
    table::{self, Builder, LOG_OFFSET, Place, Policies, PushError, TableDef},
};

/// Small batches are joined up to this many rows, so that a scan of the tail does not end in thousands of crumbs.
const JOINED_ROWS: usize = 8_192;

/// How much a tail may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Rows of all tables.
    pub rows: usize,
    /// Bytes in memory.
    pub bytes: usize,
}

/// The tail of every table. Shared by the loop that fills it and the queries that read it.
#[derive(Debug)]
pub struct Tail {
    inner: Mutex<Inner>,
    bounds: Bounds,
    shelves: bool,
    /// By lane, what the archive had of the ledger when the tail began.
    archived: Vec<Offset>,
}

#[derive(Debug)]
struct Inner {
    /// By lane: the next record of the ledger that is not in the tail.
    high: Vec<Offset>,
    /// By table: its batches and what it has of the lake.
    tables: Vec<TableTail>,
    held: Bounds,
}

#[derive(Debug)]
struct TableTail {
    /// The newest version of the lake.
    version: Arc<Version>,
    /// By lane, in the order of the ledger.
    lanes: Vec<VecDeque<Arc<Chunk>>>,
}

/// Rows of one lane, in the order of the ledger.
#[derive(Debug)]
struct Chunk {
    rows: RecordBatch,
    /// The offset of the last row.
    last: Offset,
    bytes: usize,
}

/// A record of the ledger: an entry and its place.
#[derive(Clone, Debug)]
pub struct Placed {
    /// Where it stands.
    pub place: Place,
    /// The offset from which on it was looked for: after the record before it. On Kafka there may be marks between them.
    pub follows: Offset,
    /// What it says.
    pub entry: Entry,
    /// What it says, byte for byte.
    pub body: Bytes,
}

impl Placed {
    /// Reads a record.
    pub fn read(place: Place, follows: Offset, body: Bytes) -> Result<Self, WireError> {
        Ok(Self { place, follows, entry: wire::decode_entry(&body)?, body })
    }
}

/// Why entries were not applied. None of them was.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// They name something that the policy defines and that has not been read yet: try again.
    #[error("the policy that the entries name has not been read yet")]
    PolicyBehind,
    /// The rows could not be made.
    #[error(transparent)]
    Rows(#[from] Error),
}

impl From<PushError> for ApplyError {
    fn from(error: PushError) -> Self {
        match error {
            PushError::PolicyBehind => Self::PolicyBehind,
            PushError::Misfit(_) => Self::Rows(Error::Shape),
        }
    }
}

impl Tail {
    /// An empty tail over these versions of the lake, by table; the ledger is to be read from [`Tail::high`].
    pub fn new(versions: Vec<Arc<Version>>, lanes: u16, bounds: Bounds) -> Self {
        let start = |lane: usize| {
            let covered = versions.iter().map(|version| version.covered_of(lane));
            if fault::is(Fault::LakeWriterSkips) { covered.max() } else { covered.min() }.unwrap_or_default()
        };
        let high = (0..usize::from(lanes)).map(start).collect();
        let archived = versions.get(table::ARCHIVE.index()).map(|archive| archive.covered.clone()).unwrap_or_default();
        let tables = versions
            .into_iter()
            .map(|version| TableTail { version, lanes: (0..lanes).map(|_| VecDeque::new()).collect() })
            .collect();
        let held = Bounds { rows: 0, bytes: 0 };
        Self { inner: Mutex::new(Inner { high, tables, held }), bounds, shelves: true, archived }
    }

    /// Of a process that writes no lake: without the rows of tables that no query sees.
    pub fn for_queries(self) -> Self {
        Self { shelves: false, ..self }
    }

    /// By lane, the next record of the ledger that is not in the tail.
    pub fn high(&self) -> Vec<Offset> {
        self.lock().high.clone()
    }

    /// By lane, what the archive had of the ledger when the tail began.
    pub fn archived(&self) -> &[Offset] {
        &self.archived
    }

    /// What it holds.
    pub fn held(&self) -> Bounds {
        self.lock().held
    }

    /// Whether it holds rows that queries see.
    pub fn has_shown(&self) -> bool {
        let inner = self.lock();
        let tables = inner.tables.iter().zip(table::ALL).filter(|(_, table)| !table.hidden);
        tables.flat_map(|(tail, _)| &tail.lanes).any(|chunks| !chunks.is_empty())
    }

    /// Whether nothing more should be read until the lake has taken some of it.
    pub fn is_full(&self) -> bool {
        let held = self.lock().held;
        held.rows >= self.bounds.rows || held.bytes >= self.bounds.bytes
    }

    /// Takes entries in, each lane in the order of the ledger; those that it or the lake already has are left out. All of
    /// them become visible at once, or none on an error.
    pub fn apply(&self, entries: &[Placed], policies: &dyn Policies) -> Result<(), ApplyError> {
        let (high, covered) = {
            let inner = self.lock();
            (inner.high.clone(), inner.tables.iter().map(|table| table.version.clone()).collect::<Vec<_>>())
        };
        let mut next = high.clone();
        let mut made = Vec::new();
        for lane in 0..high.len() {
            let start = high.get(lane).copied().unwrap_or_default();
            let is_new = |place: &Place| usize::from(place.lane.0) == lane && place.offset >= start;
            let new = || entries.iter().filter(|placed| is_new(&placed.place));
            let Some(Placed { place: last, .. }) = new().next_back() else { continue };
            if let Some(archive) = covered.get(table::ARCHIVE.index()) {
                reaches(archive, lane, start, new())?;
            }
            if let Some(next) = next.get_mut(lane) {
                *next = Offset(last.offset.0 + 1);
            }
            let kept = |def: &TableDef| !def.hidden || self.shelves;
            let mut rows: Vec<Builder> = table::ALL.iter().map(TableDef::builder).collect();
            for placed in new() {
                // Table by table for each entry, which is in the processor's cache then.
                for ((def, version), rows) in table::ALL.iter().zip(&covered).zip(&mut rows) {
                    if kept(def) && placed.place.offset >= version.covered_of(lane) {
                        (def.push)(rows, placed, policies)?;
                    }
                }
            }
            for (index, mut rows) in rows.into_iter().enumerate().filter(|(_, rows)| rows.rows() > 0) {
                made.push((index, lane, Chunk::of(rows.finish()?)?));
            }
        }
        let mut inner = self.lock();
        for (table, lane, chunk) in made {
            inner.add(table, lane, chunk)?;
        }
        inner.high = next;
        Ok(())
    }

    /// Takes note of a newer version of a table, and drops what it covers.
    pub fn loaded(&self, table: &TableDef, version: Arc<Version>) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let Some(tail) = inner.tables.get_mut(table.index()) else { return };
        if version.number < tail.version.number {
            return;
        }
        for (lane, chunks) in tail.lanes.iter_mut().enumerate() {
            while let Some(chunk) = chunks.front().filter(|chunk| chunk.last < version.covered_of(lane)) {
                inner.held.rows -= chunk.rows.num_rows();
                inner.held.bytes -= chunk.bytes;
                chunks.pop_front();
            }
        }
        tail.version = version;
    }

    /// Everything that one query reads.
    pub fn pin(&self) -> Pin {
        let inner = self.lock();
        let tables = inner
            .tables
            .iter()
            .zip(table::ALL)
            .map(|(tail, table)| Pinned {
                table,
                version: tail.version.clone(),
                chunks: tail.lanes.iter().map(|chunks| chunks.iter().cloned().collect()).collect(),
            })
            .collect();
        Pin { high: inner.high.clone(), tables }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Refuses entries that come to where a version of the archive ends, and have another one there: it is of another log. They begin at
/// `start`.
fn reaches<'a>(
    archive: &Version,
    lane: usize,
    start: Offset,
    mut entries: impl Iterator<Item = &'a Placed>,
) -> Result<(), Error> {
    let Some((last, checksum)) = archive.last_of(lane).filter(|(last, _)| *last >= start) else { return Ok(()) };
    match entries.find(|placed| placed.place.offset >= last) {
        Some(Placed { place, body, .. })
            if place.offset != last || table::checksum(place.lane.0, place.offset, body) != checksum =>
        {
            Err(Error::OtherLog { lane: place.lane, offset: last.0 })
        }
        _ => Ok(()),
    }
}

impl Inner {
    /// Adds a chunk, joined with the small ones before it. A chunk is joined with those no larger than itself, so that each
    /// row is copied a few times at most.
    fn add(&mut self, table: usize, lane: usize, mut chunk: Chunk) -> Result<(), Error> {
        let Some(chunks) = self.tables.get_mut(table).and_then(|tail| tail.lanes.get_mut(lane)) else { return Ok(()) };
        while let Some(before) = chunks.back() {
            let joined = before.rows.num_rows() + chunk.rows.num_rows();
            if before.rows.num_rows() > chunk.rows.num_rows() || joined > JOINED_ROWS {
                break;
            }
            let rows = concat_batches(&before.rows.schema(), [&before.rows, &chunk.rows])?;
            self.held.rows -= before.rows.num_rows();
            self.held.bytes -= before.bytes;
            chunk = Chunk::of(rows)?;
            chunks.pop_back();
        }
        self.held.rows += chunk.rows.num_rows();
        self.held.bytes += chunk.bytes;
        chunks.push_back(Arc::new(chunk));
        Ok(())
    }
}

impl Chunk {
    fn of(rows: RecordBatch) -> Result<Self, Error> {
        let last = offsets(&rows)?.last().copied().ok_or(Error::Shape)?;
        let bytes = rows.get_array_memory_size();
        Ok(Self { last: Offset(u64::try_from(last).unwrap_or(0)), bytes, rows })
    }
}

fn offsets(rows: &RecordBatch) -> Result<&[i64], Error> {
    let column = rows.column_by_name(LOG_OFFSET).ok_or(Error::Shape)?;
    Ok(column.as_primitive_opt::<Int64Type>().ok_or(Error::Shape)?.values())
}

/// What one query reads: for every table a version of the lake and the tail after it, up to one vector of offsets.
#[derive(Clone, Debug)]
pub struct Pin {
    high: Vec<Offset>,
    tables: Vec<Pinned>,
}

/// What one query reads of one table.
#[derive(Clone, Debug)]
pub struct Pinned {
    /// The table.
    pub table: &'static TableDef,
    /// The version of the lake.
    pub version: Arc<Version>,
    chunks: Vec<Vec<Arc<Chunk>>>,
}

impl Pin {
    /// H: by lane, the first record of the ledger that the answer does not have.
    pub fn high(&self) -> &[Offset] {
        &self.high
    }

    /// Every table, in the order of [`table::ALL`].
    pub fn tables(&self) -> &[Pinned] {
        &self.tables
    }

    /// A table.
    pub fn table(&self, name: &str) -> Option<&Pinned> {
        self.tables.iter().find(|pinned| pinned.table.name == name)
    }

    /// The lanes in which some table's files have rows of `high` and later: another process has shelved more than this one
    /// has read. Rows of these lanes with `log_offset` of at least this have to be left out, so that all tables end alike.
    pub fn beyond(&self) -> Vec<(Lane, Offset)> {
        let ahead = |lane: usize, high: Offset| self.tables.iter().any(|table| table.version.covered_of(lane) > high);
        let lanes = self.high.iter().enumerate().filter(|(lane, high)| ahead(*lane, **high));
        lanes.filter_map(|(lane, high)| Some((Lane(u16::try_from(lane).ok()?), *high))).collect()
    }
}

impl Pinned {
    /// The rows in (C, H], with the columns that are stored.
    pub fn tail(&self) -> Result<Vec<RecordBatch>, Error> {
        let lanes = (0..self.chunks.len()).map(|lane| (lane, self.version.covered_of(lane), None));
        self.between(lanes)
    }

    /// Whether it has rows that this version of the lake does not have.
    pub fn has_tail(&self) -> bool {
        let newer = |(lane, chunks): (usize, &Vec<Arc<Chunk>>)| {
            chunks.last().is_some_and(|chunk| chunk.last >= self.version.covered_of(lane))
        };
        self.chunks.iter().enumerate().any(newer)
    }

    /// Refuses positions of the archive before which it has another record: they are of another log.
    pub(crate) fn follows(&self, positions: &[Offset], last: &[Option<i32>]) -> Result<(), Error> {
        for (lane, (position, last)) in (0..).zip(positions.iter().zip(last)) {
            let own = self.checksum_before(usize::from(lane), *position);
            if own.zip(*last).is_some_and(|(own, last)| own != last) {
                return Err(Error::OtherLog { lane: Lane(lane), offset: position.0.saturating_sub(1) });
            }
        }
        Ok(())
    }

    /// The checksum of the record before a position of a lane, where the tail of the archive has it.
    pub(crate) fn checksum_before(&self, lane: usize, position: Offset) -> Option<i32> {
        let offset = i64::try_from(position.0.checked_sub(1)?).ok()?;
        self.chunks.get(lane)?.iter().rev().find_map(|chunk| {
            let row = offsets(&chunk.rows).ok()?.binary_search(&offset).ok()?;
            Some(chunk.rows.column_by_name("checksum")?.as_primitive_opt::<Int32Type>()?.value(row))
        })
    }

    /// The rows of each lane from an offset to before another.
    pub fn between(
        &self,
        lanes: impl Iterator<Item = (usize, Offset, Option<Offset>)>,
    ) -> Result<Vec<RecordBatch>, Error> {
        let mut out = Vec::new();
        for (lane, from, to) in lanes {
            for chunk in self.chunks.get(lane).into_iter().flatten() {
                let offsets = offsets(&chunk.rows)?;
                let before =
                    |end: Offset| offsets.partition_point(|offset| u64::try_from(*offset).unwrap_or(0) < end.0);
                let (start, end) = (before(from), to.map_or(offsets.len(), before));
                if start < end {
                    out.push(chunk.rows.slice(start, end - start));
                }
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests;
