//! Reading the archive back: what the log has let go of, record by record, from the lake.
//!
//! Each lane comes in its order, as it did from the log, and all of it or an error: every row has to follow the one before it and to
//! be what was written. Files are read in the order of their times, one at a time but where their times overlap, so that memory does not
//! grow with the archive: a file is 64 MiB or less, or one commit. It writes nothing, also where there is no lake.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::Arc,
};

use arrow::{
    array::{Array, AsArray, BinaryArray, Int32Array, Int64Array, RecordBatch, TimestampMicrosecondArray},
    datatypes::{Int32Type, Int64Type, TimestampMicrosecondType},
};
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use schemas::{
    error_code::ErrorCode,
    id::{Lane, Offset},
    time::Time,
};
use tokio::runtime::{Builder, Runtime};

use crate::{
    error::Error,
    lake::{DataFile, Lake, Version},
    table::{self, LOG_OFFSET, LOG_PARTITION, checksum},
};

/// How many rows of a file are decoded at once: some 2 MiB of bodies.
const BATCH: usize = 4_096;

/// Why the archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The lake cannot be read.
    #[error(transparent)]
    Lake(#[from] Error),
    /// No runtime could be had.
    #[error("the operating system refused: {0}")]
    System(#[from] io::Error),
    /// The archive does not have what the log has let go of.
    #[error("offsets {} to {} of lane {} are neither in the log nor in the lake", .from.0, .to.0.saturating_sub(1), .lane.0)]
    Gap {
        /// The lane.
        lane: Lane,
        /// The first offset that is missing.
        from: Offset,
        /// The one after the last.
        to: Offset,
    },
    /// It is not what was written.
    #[error("the archive of the ledger is damaged: {0}")]
    Damaged(String),
}

impl ArchiveError {
    /// The code that users see, where it has one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Lake(error) => Some(error.code()),
            Self::System(_) => None,
            Self::Gap { .. } => Some(ErrorCode::HistoryGap),
            Self::Damaged(_) => Some(ErrorCode::ArchiveDamaged),
        }
    }
}

/// A version of the archive of a ledger.
#[derive(Debug)]
pub struct Archive {
    runtime: Runtime,
    /// Nothing where the lake has none.
    found: Option<(Arc<Version>, Arc<dyn ObjectStore>)>,
}

impl Archive {
    /// The newest version in the lake that `lake.url` names.
    pub fn open(url: &str, lanes: u16) -> Result<Self, ArchiveError> {
        let runtime = Builder::new_multi_thread().thread_name("archive").worker_threads(1).enable_all().build()?;
        let found = runtime.block_on(Lake::find(url, table::ARCHIVE, lanes))?;
        Ok(Self { runtime, found })
    }

    /// Hands over all records before these offsets, by lane, each lane in its order. An error of `take` says why what it was given
    /// is not a record.
    pub fn read(
        &self,
        to: &[Offset],
        mut take: impl FnMut(Lane, &[u8]) -> Result<(), String>,
    ) -> Result<(), ArchiveError> {
        let covered = |lane| self.found.as_ref().map_or(Offset(0), |(version, _)| version.covered_of(lane));
        let mut chains: Vec<Chain> =
            (0..).zip(to).map(|(lane, to)| Chain { lane: Lane(lane), to: *to, next: None, done: to.0 == 0 }).collect();
        for chain in &chains {
            chain.reaches(covered(usize::from(chain.lane.0)))?;
        }
        let mut files = Files::new(self.found.as_ref().map_or(&[], |(version, _)| &version.files));
        while chains.iter().any(|chain| !chain.done)
            && let Some(mut file) = files.next(|file| self.open_file(file))?
        {
            loop {
                let row = file.row();
                if let Some(chain) = chains.get_mut(usize::from(row.lane.0))
                    && chain.link(&row)?
                {
                    let unreadable = |why| damaged(row.lane, row.offset, &why);
                    take(row.lane, row.body).map_err(unreadable)?;
                }
                if !file.advance()? {
                    break;
                }
                if !files.is_first(&file) {
                    files.put_back(file);
                    break;
                }
            }
        }
        chains.iter().filter(|chain| !chain.done).try_for_each(|chain| chain.ends(covered(usize::from(chain.lane.0))))
    }

    /// A file at its first row; nothing if it has none.
    fn open_file(&self, file: &DataFile) -> Result<Option<OpenFile>, ArchiveError> {
        let Some((_, store)) = &self.found else { return Ok(None) };
        let bytes = self.runtime.block_on(async { store.get(&file.path).await?.bytes().await });
        let bytes = bytes.map_err(|error| match error {
            StoreError::NotFound { .. } => ArchiveError::Damaged(format!("{} is gone", file.path)),
            other => Error::from(other).into(),
        })?;
        let path = file.path.to_string();
        let reader =
            ParquetRecordBatchReaderBuilder::try_new(bytes).and_then(|file| file.with_batch_size(BATCH).build());
        let reader = reader.map_err(|error| ArchiveError::Damaged(format!("{path}: {error}")))?;
        OpenFile::at_first(path, reader)
    }
}

fn damaged(lane: Lane, offset: Offset, why: &dyn std::fmt::Display) -> ArchiveError {
    ArchiveError::Damaged(format!("offset {} of lane {}: {why}", offset.0, lane.0))
}

/// What is known of a lane while it is read.
struct Chain {
    lane: Lane,
    /// The first offset that is not wanted.
    to: Offset,
    /// What the next row has to follow; nothing before the first.
    next: Option<Offset>,
    /// Nothing more is wanted, and nothing was missing.
    done: bool,
}

impl Chain {
    /// Refuses a version that does not have all that is wanted.
    fn reaches(&self, covered: Offset) -> Result<(), ArchiveError> {
        if self.done || covered >= self.to { Ok(()) } else { Err(self.gap(covered, self.to)) }
    }

    /// Whether the row is wanted. The first that is not wanted is looked at as well: it follows the last one that is.
    fn link(&mut self, row: &Row<'_>) -> Result<bool, ArchiveError> {
        if self.done {
            return Ok(false);
        }
        match self.next {
            None if row.follows.0 > 0 => return Err(self.gap(Offset(0), row.follows)),
            Some(next) if row.follows > next => return Err(self.missing(next, row.follows)),
            Some(next) if row.follows < next => return Err(damaged(self.lane, row.offset, &"it stands twice")),
            _ => {}
        }
        if row.offset < row.follows || checksum(self.lane.0, row.offset, row.body) != row.checksum {
            return Err(damaged(self.lane, row.offset, &"it is not what was written"));
        }
        self.next = Some(Offset(row.offset.0 + 1));
        self.done = row.offset >= self.to;
        Ok(!self.done)
    }

    /// Refuses an end before that of the version.
    fn ends(&self, covered: Offset) -> Result<(), ArchiveError> {
        match self.next {
            None => Err(self.gap(Offset(0), covered)),
            Some(next) if next < covered => Err(self.missing(next, covered)),
            Some(_) => Ok(()),
        }
    }

    fn gap(&self, from: Offset, to: Offset) -> ArchiveError {
        ArchiveError::Gap { lane: self.lane, from, to }
    }

    fn missing(&self, from: Offset, to: Offset) -> ArchiveError {
        let (lane, from, last) = (self.lane.0, from.0, to.0.saturating_sub(1));
        ArchiveError::Damaged(format!("offsets {from} to {last} of lane {lane} are missing"))
    }
}

/// Where a row stands in the order in which rows are read; the last is to tell files apart.
type Key = (Time, i32, i64, usize);

/// Files in the order of their times: those that have not begun, and those that overlap.
struct Files<'v> {
    waiting: VecDeque<(Time, &'v DataFile)>,
    open: BTreeMap<Key, OpenFile>,
    opened: usize,
}

impl<'v> Files<'v> {
    fn new(files: &'v [Arc<DataFile>]) -> Self {
        let begin = |file: &DataFile| file.recorded_from.or_else(|| Some(file.times()?.0)).unwrap_or(Time::ZERO);
        let mut waiting: Vec<_> = files.iter().map(|file| (begin(file), &**file)).collect();
        waiting.sort_by_key(|(begin, _)| *begin);
        Self { waiting: waiting.into(), open: BTreeMap::new(), opened: 0 }
    }

    /// Takes out the file that has the next row.
    fn next(
        &mut self,
        open: impl Fn(&DataFile) -> Result<Option<OpenFile>, ArchiveError>,
    ) -> Result<Option<OpenFile>, ArchiveError> {
        while let Some((begin, file)) = self.waiting.front()
            && self.open.first_key_value().is_none_or(|(first, _)| *begin <= first.0)
        {
            if let Some(mut file) = open(file)? {
                self.opened += 1;
                file.number = self.opened;
                self.put_back(file);
            }
            self.waiting.pop_front();
        }
        Ok(self.open.pop_first().map(|(_, file)| file))
    }

    /// Whether no other file has a row before the next one of this.
    fn is_first(&self, file: &OpenFile) -> bool {
        let key = file.key();
        self.open.first_key_value().is_none_or(|(first, _)| key < *first)
            && self.waiting.front().is_none_or(|(begin, _)| key.0 < *begin)
    }

    fn put_back(&mut self, file: OpenFile) {
        self.open.insert(file.key(), file);
    }
}

/// A file at one of its rows.
struct OpenFile {
    path: String,
    number: usize,
    reader: ParquetRecordBatchReader,
    rows: Rows,
    at: usize,
}

/// Rows in memory.
struct Rows {
    lane: Int32Array,
    offset: Int64Array,
    recorded_at: TimestampMicrosecondArray,
    follows: Int64Array,
    checksum: Int32Array,
    body: BinaryArray,
}

/// One row.
struct Row<'r> {
    lane: Lane,
    offset: Offset,
    follows: Offset,
    checksum: i32,
    body: &'r [u8],
}

impl OpenFile {
    fn at_first(path: String, mut reader: ParquetRecordBatchReader) -> Result<Option<Self>, ArchiveError> {
        let rows = Rows::next(&path, &mut reader)?;
        Ok(rows.map(|rows| Self { path, number: 0, reader, rows, at: 0 }))
    }

    /// Goes to the next row; says whether there is one.
    fn advance(&mut self) -> Result<bool, ArchiveError> {
        self.at += 1;
        if self.at >= self.rows.body.len() {
            let Some(rows) = Rows::next(&self.path, &mut self.reader)? else { return Ok(false) };
            (self.rows, self.at) = (rows, 0);
        }
        Ok(true)
    }

    fn key(&self) -> Key {
        let Rows { lane, offset, recorded_at, .. } = &self.rows;
        (Time::from_micros(recorded_at.value(self.at)), lane.value(self.at), offset.value(self.at), self.number)
    }

    fn row(&self) -> Row<'_> {
        let (rows, at) = (&self.rows, self.at);
        let offset = |value: i64| Offset(u64::try_from(value).unwrap_or(u64::MAX));
        Row {
            lane: Lane(u16::try_from(rows.lane.value(at)).unwrap_or(u16::MAX)),
            offset: offset(rows.offset.value(at)),
            follows: offset(rows.follows.value(at)),
            checksum: rows.checksum.value(at),
            body: rows.body.value(at),
        }
    }
}

impl Rows {
    /// The next rows of a file; nothing at its end.
    fn next(path: &str, reader: &mut ParquetRecordBatchReader) -> Result<Option<Self>, ArchiveError> {
        let is_empty = |batch: &Result<RecordBatch, _>| batch.as_ref().is_ok_and(|batch| batch.num_rows() == 0);
        let Some(batch) = reader.find(|batch| !is_empty(batch)) else { return Ok(None) };
        let batch = batch.map_err(|error| ArchiveError::Damaged(format!("{path}: {error}")))?;
        let rows = Self::of(&batch).filter(|_| batch.columns().iter().all(|column| column.null_count() == 0));
        rows.map(Some).ok_or_else(|| ArchiveError::Damaged(format!("{path} has other columns than were written")))
    }

    fn of(batch: &RecordBatch) -> Option<Self> {
        let ints = |name| batch.column_by_name(name)?.as_primitive_opt::<Int32Type>().cloned();
        let longs = |name| batch.column_by_name(name)?.as_primitive_opt::<Int64Type>().cloned();
        let recorded_at = batch.column_by_name("recorded_at")?.as_primitive_opt::<TimestampMicrosecondType>()?.clone();
        Some(Self {
            lane: ints(LOG_PARTITION)?,
            offset: longs(LOG_OFFSET)?,
            recorded_at,
            follows: longs("follows")?,
            checksum: ints("checksum")?,
            body: batch.column_by_name("body")?.as_binary_opt::<i32>()?.clone(),
        })
    }
}

#[cfg(test)]
mod tests;
