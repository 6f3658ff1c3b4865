//! A gateway's journal: what its producer did, in order, on this machine.
//!
//! One open of a journal is one producer: a fresh random id, sequences from 1 in each lane, and the name of its predecessor.
//! A record is with the operating system when [`Journal::append`] returns, and on the platter at the next group fsync (5 ms
//! after the last one, or at 1 MiB); only then can anybody read it. On the disk road this is the topic `usage` itself; on
//! Kafka the outbox ships it.
//!
//! Nothing is trimmed but whole segments in which every record is confirmed (metering's word) and older than
//! [`Journal::keep_from`], which starts at the first record kept: a gateway moves it once it has recovered.
//! The journal does not know what a record means, and cannot tell that its directory was copied: metering does.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};

use schemas::{
    id::{Lane, ProducerId, Seq},
    topics::Topic,
};

use crate::{
    Draft, Record,
    error::Error,
    fault::Faults,
    segment::{
        self, Cursor, Log,
        facts::{Facts, Span},
        files, held,
        open::Bounds,
    },
};

mod flusher;
mod place;

#[cfg(test)]
mod tests;

/// When an append is on the platter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fsync {
    /// At the next group fsync, which nobody waits for.
    #[default]
    Group,
    /// When it returns.
    Always,
}

/// How a journal is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many lanes the log has.
    pub lanes: u16,
    /// When an append is on the platter.
    pub fsync: Fsync,
    /// The size of a segment, and so the grain of trimming.
    pub segment_bytes: u64,
    /// The most that may be kept; beyond it [`Journal::append`] is refused with [`Error::Full`].
    pub most_bytes: u64,
    #[cfg(test)]
    pub(crate) faults: Faults,
}

impl Options {
    /// The planted faults: none but in tests.
    #[cfg(not(test))]
    pub(crate) fn faults(&self) -> Faults {
        Faults::default()
    }

    /// The planted faults.
    #[cfg(test)]
    pub(crate) fn faults(&self) -> Faults {
        self.faults.clone()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lanes: 1,
            fsync: Fsync::Group,
            segment_bytes: 64 << 20,
            most_bytes: 8 << 30,
            #[cfg(test)]
            faults: Faults::default(),
        }
    }
}

/// A place in a journal: before it stand all records that were appended earlier. On the disk road it is the offset in `usage`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position(pub u64);

/// Who wrote the journal before this producer, and how far, as its files say. Metering, which may have seen more or other
/// records, judges whether the files are a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Predecessor {
    /// The predecessor.
    pub producer: ProducerId,
    /// Its last sequence in each lane that it wrote to.
    pub last: BTreeMap<Lane, Seq>,
    /// Whether this is a copy of its journal, which it may go on with.
    pub is_copied: bool,
}

/// A hole between what metering has of a journal and what the journal still has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// In which lane.
    pub lane: Lane,
    /// The last that metering has.
    pub confirmed: Seq,
    /// The first that is kept.
    pub kept: Seq,
}

/// What [`Journal::append`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The place of the first record; those that follow it stand at the next ones.
    pub first: Position,
    /// The place after the last.
    pub end: Position,
}

/// A gateway's journal. Every method may be called from any thread.
#[derive(Debug)]
pub struct Journal {
    log: Arc<Log>,
    producer: ProducerId,
    predecessor: Option<Predecessor>,
    /// Everybody who wrote a record that was kept when it was opened.
    ancestors: HashSet<ProducerId>,
    /// The records before this one were found at opening.
    opened_at: u64,
    always: bool,
    most_bytes: u64,
    shared: Arc<Shared>,
    flusher: Mutex<Option<JoinHandle<()>>>,
    _lock: files::Lock,
}

/// What the flusher needs to know, beside the log.
#[derive(Debug)]
struct Shared {
    /// Metering's watermarks.
    confirmed: Mutex<HashMap<(ProducerId, Lane), u64>>,
    keep_from: AtomicU64,
    /// The log has the records before this one. On disk the journal is the log.
    shipped: AtomicU64,
}

impl Journal {
    /// Opens the journal in `dir`, creating it if need be: a new producer. [`Error::Locked`] while another process has it.
    pub fn open(dir: &Path, options: &Options) -> Result<Arc<Self>, Error> {
        Self::open_from(dir, options, 0, place::is_copy)
    }

    /// Opens the journal of a log that is whole in itself, so that a copy of it has nothing in common with it. The records before `floor`
    /// are known to have been durable.
    pub(crate) fn open_alone(dir: &Path, options: &Options, floor: u64) -> Result<Arc<Self>, Error> {
        Self::open_from(dir, options, floor, |_, _| Ok(false))
    }

    fn open_from(
        dir: &Path,
        options: &Options,
        floor: u64,
        is_copy: impl FnOnce(&Path, ProducerId) -> Result<bool, Error>,
    ) -> Result<Arc<Self>, Error> {
        let lock = files::lock(dir)?;
        let producer = ProducerId::fresh();
        let opened = segment::Options {
            topic: Topic::Usage,
            producer,
            lanes: options.lanes,
            segment_bytes: options.segment_bytes,
            most_bytes: options.most_bytes,
            faults: options.faults(),
        };
        let log = Log::open(dir, opened, Bounds { floor, ceiling: None })?;
        let heads = log.heads();
        let is_copied = is_copy(dir, heads.producer)?;
        let predecessor = (heads.producer != ProducerId::NONE).then(|| Predecessor {
            producer: heads.producer,
            last: heads.last.into_iter().map(|(lane, seq)| (lane, Seq(seq))).collect(),
            is_copied,
        });
        let mut ancestors = HashSet::new();
        log.inspect(|facts| ancestors.extend(facts.spans.iter().map(|span| span.producer)));
        let shared = Arc::new(Shared {
            confirmed: Mutex::default(),
            keep_from: AtomicU64::new(log.first()),
            shipped: AtomicU64::new(u64::MAX),
        });
        let flusher = flusher::start(&log, &shared)?;
        Ok(Arc::new(Self {
            opened_at: log.end(),
            log,
            producer,
            predecessor,
            ancestors,
            always: options.fsync == Fsync::Always,
            most_bytes: options.most_bytes,
            shared,
            flusher: Mutex::new(Some(flusher)),
            _lock: lock,
        }))
    }

    /// This open of the journal.
    pub fn producer(&self) -> ProducerId {
        self.producer
    }

    /// Who wrote here before; nobody in a new directory.
    pub fn predecessor(&self) -> Option<&Predecessor> {
        self.predecessor.as_ref()
    }

    /// All records of all predecessors that are still kept, oldest first, about 1 MiB in memory at a time. After an error the
    /// iterator ends.
    pub fn recovered(&self) -> impl Iterator<Item = Result<Record, Error>> + use<> {
        let mut cursor = Cursor::new(&self.log, self.log.first());
        let end = self.opened_at;
        let mut failed = false;
        std::iter::from_fn(move || {
            if failed {
                return None;
            }
            let batch = cursor.read(end);
            failed = batch.is_err();
            match batch {
                Ok(records) if records.is_empty() => None,
                Ok(records) => Some(records.into_iter().map(Ok).collect::<Vec<_>>()),
                Err(error) => Some(vec![Err(error)]),
            }
        })
        .flatten()
    }

    /// Appends all drafts, or none of them, with one write, giving each the next sequence of its lane.
    ///
    /// [`Error::Full`] wrote nothing and may pass; after [`Error::Broken`] every append fails until the process restarts.
    pub fn append(&self, drafts: &[Draft<'_>]) -> Result<Appended, Error> {
        let first = self.log.append(drafts)?;
        if self.always {
            self.log.publish(self.log.sync()?);
        }
        Ok(Appended { first: Position(first), end: Position(first + drafts.len() as u64) })
    }

    /// A caller waits for what comes of what was appended: a request for a lease goes out with the next fsync, so that comes a
    /// millisecond after the last and not five.
    pub fn awaited(&self) {
        self.log.awaited();
    }

    /// The place after the last record appended.
    pub fn position(&self) -> Position {
        Position(self.log.end())
    }

    /// The place after the last record on the platter, which is also the last that can be read.
    pub fn synced(&self) -> Position {
        Position(self.log.visible().end)
    }

    /// Waits up to `wait` until the records before `position` are on the platter, and says whether they are.
    pub fn wait_synced(&self, position: Position, wait: Duration) -> bool {
        position.0 == 0 || self.log.wait_visible(position.0 - 1, wait).end >= position.0
    }

    /// Waits up to `wait` for the end, and says whether it has come.
    pub(crate) fn wait_closed(&self, wait: Duration) -> bool {
        self.log.wait_visible(u64::MAX, wait).closed
    }

    /// Puts on the platter what has been appended, now.
    pub fn sync(&self) -> Result<Position, Error> {
        let end = self.log.sync()?;
        self.log.publish(end);
        Ok(Position(end))
    }

    /// Whether everything that was appended is in the log: on disk it always is, on Kafka once brokers have taken it.
    pub fn is_shipped(&self) -> bool {
        self.shared.shipped.load(Relaxed) >= self.position().0
    }

    /// The log is elsewhere: nothing is there until [`Self::shipped`] says so.
    #[cfg(feature = "kafka")]
    pub(crate) fn ships(&self) {
        self.shared.shipped.store(0, Relaxed);
    }

    /// The log has all records before `position`.
    #[cfg(feature = "kafka")]
    pub(crate) fn shipped(&self, position: Position) {
        self.shared.shipped.fetch_max(position.0, Relaxed);
    }

    /// Forbids trimming the record at `position` and those after it: those of attempts that are still open, and those that a
    /// successor would need to know the final counters. Until the first call nothing is trimmed. It never goes back.
    pub fn keep_from(&self, position: Position) {
        if self.shared.keep_from.fetch_max(position.0, Relaxed) < position.0 {
            self.trim_if_done();
        }
    }

    /// Metering has committed all records of `producer` in `lane` up to `seq`. The word on others than this producer and
    /// those before it here is of no interest, but does no harm.
    pub fn confirm(&self, producer: ProducerId, lane: Lane, seq: Seq) {
        if producer != self.producer && !self.ancestors.contains(&producer) {
            return;
        }
        {
            let mut confirmed = held(&self.shared.confirmed);
            let known = confirmed.entry((producer, lane)).or_default();
            if seq.0 <= *known {
                return;
            }
            *known = seq.0;
        }
        self.trim_if_done();
    }

    /// The last record of `producer` in `lane` that metering is known to have committed.
    #[cfg(feature = "kafka")]
    pub(crate) fn confirmed(&self, producer: ProducerId, lane: Lane) -> Seq {
        Seq(held(&self.shared.confirmed).get(&(producer, lane)).copied().unwrap_or(0))
    }

    /// Wakes the flusher if it could remove something. It may also come to it by itself, after an fsync.
    fn trim_if_done(&self) {
        if self.log.oldest_sealed().is_some_and(|facts| self.shared.done_with(&facts)) {
            self.log.nudge();
        }
    }

    /// How many records kept here are not known to be confirmed.
    pub fn unconfirmed(&self) -> u64 {
        let mut spans = Vec::new();
        self.log.inspect(|facts| spans.extend_from_slice(&facts.spans));
        let confirmed = held(&self.shared.confirmed);
        let open = |span: &Span| {
            let known = confirmed.get(&(span.producer, span.lane)).copied().unwrap_or(0);
            span.last.saturating_sub(known.max(span.first.saturating_sub(1)))
        };
        spans.iter().map(open).sum()
    }

    /// The age of the oldest record that is not on the platter.
    pub fn behind(&self) -> Duration {
        self.log.behind()
    }

    /// Whether new calls may be admitted. A sixteenth of the journal, or half a segment of a full disk, is for what settles
    /// the calls that are already open.
    pub fn has_room(&self) -> bool {
        self.log.room() > self.most_bytes / 16
    }

    /// Makes sure of the room for what is appended next. [`Error::Full`] may pass: ask again.
    pub fn make_room(&self) -> Result<(), Error> {
        self.log.make_room()
    }

    /// Records of the producer before this one that metering does not have and nobody can send any more: they were let go of because
    /// metering had them, so the log is another one now. To be asked when all of metering's word is here.
    pub fn gap(&self) -> Option<Gap> {
        let before = self.predecessor.as_ref()?;
        let mut kept: BTreeMap<Lane, u64> = before.last.iter().map(|(lane, last)| (*lane, last.0 + 1)).collect();
        self.log.inspect(|facts| {
            for span in facts.spans.iter().filter(|span| span.producer == before.producer) {
                kept.entry(span.lane).and_modify(|first| *first = span.first.min(*first));
            }
        });
        let confirmed = held(&self.shared.confirmed);
        kept.into_iter().find_map(|(lane, first)| {
            let confirmed = confirmed.get(&(before.producer, lane)).copied().unwrap_or(0);
            (first > confirmed + 1).then_some(Gap { lane, confirmed: Seq(confirmed), kept: Seq(first) })
        })
    }

    /// The bytes of all records kept.
    pub fn bytes_retained(&self) -> u64 {
        self.log.bytes()
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        self.log.dir()
    }

    /// Reads the records on the platter from `position` on: metering's input on disk, the outbox's on Kafka.
    pub fn read_from(&self, position: Position) -> Result<JournalReader, Error> {
        self.log.check_kept(position.0)?;
        Ok(JournalReader { cursor: Cursor::new(&self.log, position.0) })
    }

    /// The place of the first record kept.
    pub fn first(&self) -> Position {
        Position(self.log.first())
    }

    /// Takes no more records, puts all there are on the platter, and wakes its readers, which get [`Error::Closed`] once they
    /// have read all. The directory stays locked until the journal is dropped.
    pub fn close(&self) -> Result<(), Error> {
        let closed = self.log.close();
        if let Ok(Some(end)) = closed {
            self.log.publish(end);
        }
        self.log.wake_for_close();
        if let Some(flusher) = held(&self.flusher).take() {
            let _ = flusher.join();
        }
        closed.map(drop)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "the journal was not closed cleanly");
        }
    }
}

impl Shared {
    /// Whether a segment has nothing in it that anybody will ask for.
    fn done_with(&self, facts: &Facts) -> bool {
        let confirmed = held(&self.confirmed);
        facts.end <= self.keep_from.load(Relaxed)
            && facts
                .spans
                .iter()
                .all(|span| confirmed.get(&(span.producer, span.lane)).is_some_and(|confirmed| *confirmed >= span.last))
    }
}

/// A reader of the part of a journal that is on the platter.
#[derive(Debug)]
pub struct JournalReader {
    cursor: Cursor,
}

impl JournalReader {
    /// Waits up to `wait` for records and gives those there are, about 1 MiB at most. [`Error::Closed`] after the last record
    /// of a closed journal.
    pub fn poll(&mut self, wait: Duration) -> Result<Vec<Record>, Error> {
        self.cursor.poll(wait)
    }

    /// The place of the record that is read next.
    pub fn next(&self) -> Position {
        Position(self.cursor.next())
    }
}
