//! A segmented log: records in batches, batches in files, files in a directory.
//!
//! ```text
//! <dir>/format                     version and salt
//! <dir>/00000000000000000000.log   a frame with no records (who wrote before), then one frame a batch
//! <dir>/00000000000000000000.idx   its sidecar, once it is complete and on the platter (see `facts`)
//! <dir>/next                       the next segment, preallocated before it is needed
//! ```
//!
//! What always holds: an append is one `pwrite`, whole or not at all after a crash; offsets have no gap; a file's name, its
//! directory entry and its bytes are fsynced before [`Log::sync`] returns; readers see nothing beyond what was published to
//! them; after a failed write or fsync nothing more is written. Who fsyncs, when, and what is published is the owner's word:
//! the journal does it in groups, the disk road with each transaction.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    fs::File,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use schemas::{id::ProducerId, topics::Topic};

use crate::{error::Error, fault::Faults};

pub(crate) mod facts;
pub(crate) mod files;
mod flush;
mod frame;
#[cfg(feature = "fuzz")]
pub mod fuzz;
pub(crate) mod glance;
pub(crate) mod open;
mod read;
mod scan;
mod write;

#[cfg(test)]
mod tests;

pub(crate) use flush::Due;
pub(crate) use read::{Cursor, Visible};

use facts::{Facts, Heads};

/// What a log is opened with.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The topic it holds, for errors.
    pub(crate) topic: Topic,
    /// Who writes; [`ProducerId::NONE`] gives no sequences.
    pub(crate) producer: ProducerId,
    /// How many lanes records may name.
    pub(crate) lanes: u16,
    /// The size of a segment; a batch that is larger has one of its own.
    pub(crate) segment_bytes: u64,
    /// The most that may be kept; beyond it, appending is refused.
    pub(crate) most_bytes: u64,
    /// For tests.
    pub(crate) faults: Faults,
}

/// One open log.
pub(crate) struct Log {
    dir: PathBuf,
    salt: u32,
    options: Options,
    writer: Mutex<Writer>,
    /// Told when there is something to fsync, or to stop for.
    dirty: Condvar,
    /// Held by who fsyncs; whoever waits for it may find its own records done.
    syncing: Mutex<()>,
    visible: Mutex<Visible>,
    readable: Condvar,
}

/// What changes with every append.
struct Writer {
    sealed: BTreeMap<u64, Arc<Facts>>,
    sealed_bytes: u64,
    active: Facts,
    file: Arc<File>,
    /// Sealed, but not fsynced yet.
    unsealed: VecDeque<(Arc<Facts>, Arc<File>)>,
    spare: Option<File>,
    /// The next segment could not be made in advance: what is left of this one is all there is.
    starved: bool,
    /// The active segment may not have the room that it needs.
    cramped: bool,
    /// The last sequence given out, by lane.
    last: Vec<u64>,
    buffer: Vec<u8>,
    /// The offset up to which all is on the platter.
    synced: u64,
    unsynced_bytes: u64,
    /// The first write that no fsync has begun to cover.
    dirty_since: Option<Instant>,
    /// The first write that the running fsync covers.
    syncing_since: Option<Instant>,
    last_sync: Option<Instant>,
    /// Somebody waits for what comes of a record that no fsync has begun to cover.
    awaited: bool,
    broken: Option<String>,
    closed: bool,
    nudged: bool,
}

impl Log {
    /// Opens `dir`, creating it if need be. All that is found and counts is on the platter and visible when this returns.
    pub(crate) fn open(dir: &Path, options: Options, bounds: open::Bounds) -> Result<Arc<Self>, Error> {
        files::create_dir(dir)?;
        let salt = files::salt(dir)?;
        let found = open::open(dir, salt, bounds)?;
        files::sweep(dir)?;
        let cramped = found.active.is_some();
        let (active, file) = match found.active {
            Some(active) => {
                let file = write::reopen(dir, &active)?;
                (active, file)
            }
            None => write::create(dir, salt, 0, Heads::NONE, &options)?,
        };
        files::sync_dir(dir)?;
        let end = active.end;
        let log = Self {
            dir: dir.to_owned(),
            salt,
            writer: Mutex::new(Writer {
                sealed_bytes: found.sealed.iter().map(|facts| facts.bytes).sum(),
                sealed: found.sealed.into_iter().map(|facts| (facts.base, Arc::new(facts))).collect(),
                active,
                file: Arc::new(file),
                unsealed: VecDeque::new(),
                spare: None,
                starved: false,
                cramped,
                last: vec![0; usize::from(options.lanes)],
                buffer: Vec::new(),
                synced: end,
                unsynced_bytes: 0,
                dirty_since: None,
                syncing_since: None,
                last_sync: None,
                awaited: false,
                broken: None,
                closed: false,
                nudged: false,
            }),
            dirty: Condvar::new(),
            syncing: Mutex::new(()),
            visible: Mutex::new(Visible { end, closed: false }),
            readable: Condvar::new(),
            options,
        };
        Ok(Arc::new(log))
    }

    /// The directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The offset after the last record appended.
    pub(crate) fn end(&self) -> u64 {
        held(&self.writer).active.end
    }

    /// The first offset kept.
    pub(crate) fn first(&self) -> u64 {
        held(&self.writer).first()
    }

    /// The bytes of all records kept.
    pub(crate) fn bytes(&self) -> u64 {
        let writer = held(&self.writer);
        writer.sealed_bytes + writer.active.bytes
    }

    /// The bytes that may still be appended, as far as known; none once only half a segment is left on a full disk.
    pub(crate) fn room(&self) -> u64 {
        let writer = held(&self.writer);
        if writer.starved {
            return 0;
        }
        self.options.most_bytes.saturating_sub(writer.sealed_bytes + writer.active.bytes)
    }

    /// The age of the oldest record that is not on the platter.
    pub(crate) fn behind(&self) -> Duration {
        let writer = held(&self.writer);
        writer.syncing_since.or(writer.dirty_since).map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// The last producer in the files, and its last sequences.
    pub(crate) fn heads(&self) -> Heads {
        held(&self.writer).active.heads()
    }

    /// What is known of the oldest segment that is not written any more.
    pub(crate) fn oldest_sealed(&self) -> Option<Arc<Facts>> {
        held(&self.writer).sealed.values().next().cloned()
    }

    /// Hands all that is known of each segment to `look`, oldest first.
    pub(crate) fn inspect(&self, mut look: impl FnMut(&Facts)) {
        let writer = held(&self.writer);
        writer.sealed.values().for_each(|facts| look(facts));
        look(&writer.active);
    }
}

impl fmt::Debug for Log {
    /// The directory alone: the rest holds what users said.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Writer {
    fn first(&self) -> u64 {
        self.sealed.keys().next().copied().unwrap_or(self.active.base)
    }
}

/// Locks, also after a panic elsewhere: every change under these locks is complete before anything in it can fail.
pub(crate) fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
