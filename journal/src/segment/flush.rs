//! Fsyncing, trimming and closing.
//!
//! Nothing here holds the writer's lock while it waits for the disk, so appends go on. A failed fsync is final: what the
//! system dropped from its cache it would call clean the next time.

use std::{
    fs::File,
    io,
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    error::Error,
    fault::Point,
    segment::{Log, Writer, facts::Facts, files, held, write},
};

/// How much may be written before an fsync is due at once. 1 MiB is what a slow disk takes in the 5 ms of a group.
const GROUP_BYTES: u64 = 1 << 20;

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

impl Log {
    /// Takes note of a write.
    pub(super) fn note_dirty(&self, writer: &mut Writer, bytes: u64) {
        let before = writer.unsynced_bytes;
        writer.unsynced_bytes += bytes;
        let crossed = before < GROUP_BYTES && writer.unsynced_bytes >= GROUP_BYTES;
        if writer.dirty_since.is_none() || crossed {
            writer.dirty_since.get_or_insert_with(Instant::now);
            self.dirty.notify_all();
        }
    }

    /// Puts all that has been appended on the platter and gives the offset after it, or a later one: callers at the same time
    /// share the work.
    pub(crate) fn sync(&self) -> Result<u64, Error> {
        let asked = self.end();
        let alone = held(&self.syncing);
        let work = {
            let mut writer = held(&self.writer);
            self.check(&writer)?;
            // A segment that was ended has a next one to be put there, although no record waits.
            if writer.synced >= asked && writer.unsealed.is_empty() {
                return Ok(writer.synced);
            }
            writer.syncing_since = writer.dirty_since.take();
            writer.last_sync = Some(Instant::now());
            writer.awaited = false;
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
            let made = write::make(&self.dir.join("next"), &self.options);
            let mut writer = held(&self.writer);
            writer.starved = made.is_err();
            if let Ok(file) = made
                && !writer.closed
            {
                writer.spare = Some(file);
            }
        }
    }

    /// Waits until an fsync is due (something was written, and `every` has passed since the last one, or `soon` where
    /// [`Self::awaited`] says so, or much was written), or [`Self::nudge`] was called. [`Due::Never`] once the log is closed or broken.
    pub(crate) fn wait_due(&self, every: Duration, soon: Duration) -> Due {
        let mut writer = held(&self.writer);
        loop {
            if writer.closed || writer.broken.is_some() {
                return Due::Never;
            }
            if std::mem::take(&mut writer.nudged) {
                return Due::Trim;
            }
            let least = if writer.awaited { soon } else { every };
            let rest = writer.last_sync.map_or(Duration::ZERO, |last| least.saturating_sub(last.elapsed()));
            if writer.dirty_since.is_none() {
                writer = self.dirty.wait(writer).unwrap_or_else(PoisonError::into_inner);
            } else if rest.is_zero() || writer.unsynced_bytes >= GROUP_BYTES {
                return Due::Sync;
            } else {
                writer = self.dirty.wait_timeout(writer, rest).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    /// Somebody waits for what comes of what was appended: its fsync is due soon.
    pub(crate) fn awaited(&self) {
        let mut writer = held(&self.writer);
        if writer.dirty_since.is_some() && !std::mem::replace(&mut writer.awaited, true) {
            self.dirty.notify_all();
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
        while let Some(facts) = self.oldest_sealed().filter(|facts| done(facts)) {
            {
                // While nobody fsyncs, what waits for no fsync any more is on the platter, and its successor with it.
                let _still = held(&self.syncing);
                let mut writer = held(&self.writer);
                let sealed = writer.unsealed.is_empty() && writer.broken.is_none();
                let has_successor = facts.end < writer.synced || (facts.end == writer.synced && sealed);
                if !has_successor || writer.sealed.remove(&facts.base).is_none() {
                    return Ok(());
                }
                writer.sealed_bytes -= facts.bytes;
            }
            files::remove(&files::segment(&self.dir, facts.base))?;
            files::remove(&files::sidecar(&self.dir, facts.base))?;
            files::sync_dir(&self.dir)?;
        }
        Ok(())
    }

    /// Ends the segment that is written, if it has records and `done` says so of it; then the next one is on the platter, empty, when
    /// this returns. Says whether it did.
    pub(crate) fn seal(&self, done: impl Fn(&Facts) -> bool) -> Result<bool, Error> {
        {
            let mut writer = held(&self.writer);
            self.check(&writer)?;
            if writer.closed || writer.active.end == writer.active.base || !done(&writer.active) {
                return Ok(false);
            }
            self.begin_next(&mut writer)?;
        }
        self.sync()?;
        Ok(true)
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

    fn leave_mark(&self) -> Result<(), Error> {
        let facts = {
            let mut writer = held(&self.writer);
            writer.spare = None;
            writer.active.clone()
        };
        files::remove(&self.dir.join("next"))?;
        files::write_whole(&files::sidecar(&self.dir, facts.base), &facts.encode(self.salt))
    }

    pub(super) fn check(&self, writer: &Writer) -> Result<(), Error> {
        match &writer.broken {
            Some(why) => Err(Error::Broken { path: self.dir.clone(), why: why.clone() }),
            None => Ok(()),
        }
    }

    pub(super) fn break_off(&self, writer: &mut Writer, what: &str, error: &io::Error) -> Error {
        let why = format!("{what}: {error}");
        tracing::error!(dir = %self.dir.display(), "{why}");
        writer.broken.get_or_insert_with(|| why.clone());
        self.dirty.notify_all();
        Error::Broken { path: self.dir.clone(), why }
    }
}
