//! Appending, rolling, fsyncing, trimming and closing.
//!
//! The lock of the writer is held for one `pwrite` and never for an fsync. A new segment is made before it is needed, by
//! whoever fsyncs; if it is needed sooner, or there was no room for it, the append makes it or is refused with nothing written.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::Path,
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use rustix::io::Errno;
use schemas::{
    id::{Lane, ProducerId, Seq},
    time, wire,
};

use crate::{
    Draft,
    error::Error,
    fault::Point,
    segment::{
        Log, Options, Writer,
        facts::{Facts, Heads},
        files::{self, io as refused},
        frame::{self, Builder},
        held,
    },
};

/// How much may be written before an fsync is due at once. 1 MiB is what a slow disk takes in the 5 ms of a group.
const GROUP_BYTES: u64 = 1 << 20;

/// How large a batch [`Log::append_bodies`] makes: well below the largest frame, so that readers need little memory.
const BATCH_BYTES: usize = 8 << 20;

/// What [`Log::wait_due`] waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// An fsync.
    Sync,
    /// A trim.
    Trim,
    /// Nothing any more.
    Never,
}

/// What one fsync covers.
struct Work {
    end: u64,
    sealed: Vec<(Arc<Facts>, Arc<File>)>,
    active: Arc<File>,
}

/// Makes the segment that starts at `base`, ready to be appended to.
pub(crate) fn create(
    dir: &Path,
    salt: u32,
    base: u64,
    before: Heads,
    options: &Options,
) -> Result<(Facts, File), Error> {
    let file = spare(dir, options)?;
    let mut bytes = Vec::new();
    opening(&mut bytes, base, base, &before, salt);
    let path = files::segment(dir, base);
    file.write_all_at(&bytes, 0).and_then(|()| file.sync_all()).map_err(refused("write", &path))?;
    fs::rename(dir.join("next"), &path).map_err(refused("rename", &path))?;
    let mut facts = Facts::new(base, before);
    facts.bytes = bytes.len() as u64;
    Ok((facts, file))
}

/// Opens the segment that was written last.
pub(crate) fn reopen(dir: &Path, facts: Facts, options: &Options) -> Result<(Facts, File), Error> {
    let path = files::segment(dir, facts.base);
    let file = File::options().read(true).write(true).open(&path).map_err(refused("open", &path))?;
    options
        .faults
        .hit(Point::Create)
        .and_then(|()| files::preallocate(&file, options.segment_bytes))
        .map_err(|error| no_room(dir, &path, error))?;
    file.sync_all().map_err(refused("fsync", &path))?;
    Ok((facts, file))
}

/// The file `next`, with room for a segment.
fn spare(dir: &Path, options: &Options) -> Result<File, Error> {
    let path = dir.join("next");
    let make = || {
        options.faults.hit(Point::Create)?;
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        files::preallocate(&file, options.segment_bytes)?;
        Ok(file)
    };
    make().map_err(|error| no_room(dir, &path, error))
}

fn no_room(dir: &Path, path: &Path, error: io::Error) -> Error {
    match Errno::from_io_error(&error) {
        Some(Errno::NOSPC | Errno::DQUOT) => Error::Full { path: dir.to_owned(), why: error.to_string() },
        _ => refused("create", path)(error),
    }
}

fn opening(buffer: &mut Vec<u8>, base: u64, synced: u64, before: &Heads, salt: u32) {
    let mut frame = Builder::new(buffer);
    frame.push_raw(&before.encode());
    frame.seal(base, synced, time::now(), before.producer, salt);
}

impl Log {
    /// Appends all drafts as one batch: one `pwrite`, handed to the operating system when this returns. Gives the offset of
    /// the first; the others follow it.
    pub(crate) fn append(&self, drafts: &[Draft<'_>]) -> Result<u64, Error> {
        let payload = frame::payload(drafts.iter().map(|draft| draft.body.len()));
        if payload > frame::LARGEST {
            return Err(Error::TooLarge { bytes: payload, most: frame::LARGEST });
        }
        if let Some(draft) = drafts.iter().find(|draft| draft.lane.0 >= self.options.lanes) {
            return Err(Error::NoSuchLane { lane: draft.lane, lanes: self.options.lanes });
        }
        let mut writer = held(&self.writer);
        self.check(&writer)?;
        if writer.closed {
            return Err(Error::Closed);
        }
        let first = writer.active.end;
        if drafts.is_empty() {
            return Ok(first);
        }
        let kept = writer.sealed_bytes + writer.active.bytes;
        if kept + payload > self.options.most_bytes {
            let why =
                format!("{kept} of {} bytes are taken by records that are not confirmed", self.options.most_bytes);
            return Err(Error::Full { path: self.dir.clone(), why });
        }
        writer.buffer.clear();
        let full = writer.active.bytes + frame::HEADER as u64 + payload > self.options.segment_bytes;
        let opening = if full && writer.active.end > writer.active.base { self.roll(&mut writer)? } else { 0 };
        self.write(&mut writer, drafts, opening)?;
        Ok(first)
    }

    /// Starts the next segment; the bytes that open it are put into the buffer, for the write that follows.
    fn roll(&self, writer: &mut Writer) -> Result<u64, Error> {
        let base = writer.active.end;
        let file = match writer.spare.take() {
            Some(file) => file,
            None => spare(&self.dir, &self.options)?,
        };
        let path = files::segment(&self.dir, base);
        fs::rename(self.dir.join("next"), &path).map_err(refused("rename", &path))?;
        let before = writer.active.heads();
        opening(&mut writer.buffer, base, writer.synced, &before, self.salt);
        let sealed = Arc::new(std::mem::replace(&mut writer.active, Facts::new(base, before)));
        let old = std::mem::replace(&mut writer.file, Arc::new(file));
        writer.sealed_bytes += sealed.bytes;
        writer.unsealed.push_back((Arc::clone(&sealed), old));
        writer.sealed.insert(sealed.base, sealed);
        Ok(writer.buffer.len() as u64)
    }

    fn write(&self, writer: &mut Writer, drafts: &[Draft<'_>], opening: u64) -> Result<(), Error> {
        let producer = self.options.producer;
        let (first, at) = (writer.active.end, time::now());
        let mut frame = Builder::new(&mut writer.buffer);
        for draft in drafts {
            let seq = match writer.last.get_mut(usize::from(draft.lane.0)) {
                Some(last) if producer != ProducerId::NONE => {
                    *last += 1;
                    *last
                }
                _ => 0,
            };
            frame.push(draft.lane, Seq(seq), wire::hash(draft.body), draft.body);
            writer.active.record(producer, draft.lane, seq);
        }
        frame.seal(first, writer.synced, at, producer, self.salt);
        let written = self
            .options
            .faults
            .hit(Point::Write)
            .and_then(|()| writer.file.write_all_at(&writer.buffer, writer.active.bytes));
        if let Err(error) = written {
            return Err(self.break_off(writer, "a write failed", &error));
        }
        writer.active.bytes += opening;
        let whole = writer.buffer.len() as u64 - opening;
        let end = first + drafts.len() as u64;
        writer.active.frame(whole, end, at, producer);
        let before = writer.unsynced_bytes;
        writer.unsynced_bytes += whole;
        let crossed = before < GROUP_BYTES && writer.unsynced_bytes >= GROUP_BYTES;
        if writer.dirty_since.is_none() || crossed {
            writer.dirty_since.get_or_insert_with(Instant::now);
            self.dirty.notify_all();
        }
        Ok(())
    }

    /// Puts all that has been appended on the platter and gives the offset after it. Callers at the same time share the work.
    pub(crate) fn sync(&self) -> Result<u64, Error> {
        let alone = held(&self.syncing);
        let work = {
            let mut writer = held(&self.writer);
            self.check(&writer)?;
            if writer.synced == writer.active.end && writer.unsealed.is_empty() {
                return Ok(writer.synced);
            }
            writer.syncing_since = writer.dirty_since.take();
            writer.last_sync = Some(Instant::now());
            writer.unsynced_bytes = 0;
            Work {
                end: writer.active.end,
                sealed: std::mem::take(&mut writer.unsealed).into(),
                active: Arc::clone(&writer.file),
            }
        };
        let flushed = self.flush(&work);
        let mut writer = held(&self.writer);
        if let Err(error) = flushed {
            return Err(self.break_off(&mut writer, "an fsync failed", &error));
        }
        writer.syncing_since = None;
        writer.synced = work.end;
        let wants_spare = writer.spare.is_none() && writer.active.bytes > self.options.segment_bytes / 2;
        drop(writer);
        self.settle(&work, wants_spare);
        drop(alone);
        Ok(work.end)
    }

    fn flush(&self, work: &Work) -> io::Result<()> {
        self.options.faults.hit(Point::Sync)?;
        for (_, file) in &work.sealed {
            file.sync_data()?;
        }
        work.active.sync_data()?;
        if !work.sealed.is_empty() {
            File::open(&self.dir)?.sync_all()?;
        }
        Ok(())
    }

    /// What is better done now than later. If it fails, nothing is wrong yet: a segment without a sidecar is scanned at the
    /// next opening, and an append that needs a new segment reports why it cannot have one.
    fn settle(&self, work: &Work, wants_spare: bool) {
        for (facts, _) in &work.sealed {
            let sidecar = files::sidecar(&self.dir, facts.base);
            if let Err(error) = files::write_whole(&sidecar, &facts.encode(self.salt)) {
                tracing::warn!(%error, "a segment stays without its sidecar");
            }
        }
        if wants_spare {
            let made = spare(&self.dir, &self.options);
            let mut writer = held(&self.writer);
            if let Ok(file) = made
                && !writer.closed
            {
                writer.spare = Some(file);
            }
        }
    }

    /// Waits until an fsync is due (something was written, and `every` has passed since the last one or much was written), or
    /// [`Self::nudge`] was called. [`Due::Never`] once the log is closed or broken.
    pub(crate) fn wait_due(&self, every: Duration) -> Due {
        let mut writer = held(&self.writer);
        loop {
            if writer.closed || writer.broken.is_some() {
                return Due::Never;
            }
            if std::mem::take(&mut writer.nudged) {
                return Due::Trim;
            }
            let rest = writer.last_sync.map_or(Duration::ZERO, |last| every.saturating_sub(last.elapsed()));
            if writer.dirty_since.is_none() {
                writer = self.dirty.wait(writer).unwrap_or_else(PoisonError::into_inner);
            } else if rest.is_zero() || writer.unsynced_bytes >= GROUP_BYTES {
                return Due::Sync;
            } else {
                writer = self.dirty.wait_timeout(writer, rest).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    /// Lets [`Self::wait_due`] return [`Due::Trim`] now.
    pub(crate) fn nudge(&self) {
        held(&self.writer).nudged = true;
        self.dirty.notify_all();
    }

    /// Removes the oldest segments for as long as `done` says so. The one that is written, and any that the platter does not
    /// know the successor of, stay.
    pub(crate) fn trim(&self, done: impl Fn(&Facts) -> bool) -> Result<(), Error> {
        loop {
            let facts = {
                let mut writer = held(&self.writer);
                let synced = writer.synced;
                match writer.sealed.first_entry().filter(|entry| entry.get().end < synced && done(entry.get())) {
                    Some(entry) => {
                        let facts = entry.remove();
                        writer.sealed_bytes -= facts.bytes;
                        facts
                    }
                    None => return Ok(()),
                }
            };
            files::remove(&files::segment(&self.dir, facts.base))?;
            files::remove(&files::sidecar(&self.dir, facts.base))?;
            files::sync_dir(&self.dir)?;
        }
    }

    /// Takes no more, puts what there is on the platter, and leaves the mark that spares the next opening a scan. Gives the
    /// end, once: the owner then publishes what is to be seen and calls [`Self::wake_for_close`].
    pub(crate) fn close(&self) -> Result<Option<u64>, Error> {
        let already = std::mem::replace(&mut held(&self.writer).closed, true);
        self.dirty.notify_all();
        if already {
            return Ok(None);
        }
        let end = self.sync()?;
        self.leave_mark()?;
        Ok(Some(end))
    }

    /// Takes nothing more because of `why`.
    pub(crate) fn break_with(&self, why: &str) {
        held(&self.writer).broken.get_or_insert_with(|| why.to_owned());
    }

    /// Appends all bodies to lane 0, in batches of a bounded size. If it fails after the first batch, the log is broken.
    pub(crate) fn append_bodies(&self, bodies: &[Bytes]) -> Result<(), Error> {
        let mut rest = bodies;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |body: &&Bytes| {
                bytes += body.len();
                bytes <= BATCH_BYTES
            };
            let (batch, later) = rest.split_at(rest.iter().take_while(fits).count().max(1).min(rest.len()));
            let drafts: Vec<_> = batch.iter().map(|body| Draft { lane: Lane(0), body }).collect();
            self.append(&drafts).inspect_err(|error| {
                if rest.len() < bodies.len() {
                    self.break_with(&format!("a part of a transaction could not be written: {error}"));
                }
            })?;
            rest = later;
        }
        Ok(())
    }

    fn leave_mark(&self) -> Result<(), Error> {
        let facts = {
            let mut writer = held(&self.writer);
            writer.spare = None;
            writer.active.clone()
        };
        files::remove(&self.dir.join("next"))?;
        files::write_whole(&files::sidecar(&self.dir, facts.base), &facts.encode(self.salt))
    }

    fn check(&self, writer: &Writer) -> Result<(), Error> {
        match &writer.broken {
            Some(why) => Err(Error::Broken { path: self.dir.clone(), why: why.clone() }),
            None => Ok(()),
        }
    }

    fn break_off(&self, writer: &mut Writer, what: &str, error: &io::Error) -> Error {
        let why = format!("{what}: {error}");
        tracing::error!(dir = %self.dir.display(), "{why}");
        writer.broken.get_or_insert_with(|| why.clone());
        self.dirty.notify_all();
        Error::Broken { path: self.dir.clone(), why }
    }
}
