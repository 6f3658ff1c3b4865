//! Appending and rolling.
//!
//! The lock of the writer is held for one `pwrite` and never for an fsync. A new segment is made before it is needed, by
//! whoever fsyncs; if it is needed sooner, or there was no room for it, the append makes it or is refused with nothing written.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
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

/// The largest buffer kept for the next append: a large batch is rare and may allocate again.
const KEPT_BUFFER_BYTES: usize = 1 << 20;

/// How large a batch [`Log::append_bodies`] makes: well below the largest frame, so that readers need little memory.
const BATCH_BYTES: usize = 8 << 20;

/// Makes the segment that starts at `base`, ready to be appended to.
pub(crate) fn create(
    dir: &Path,
    salt: u32,
    base: u64,
    before: Heads,
    options: &Options,
) -> Result<(Facts, File), Error> {
    let path = files::segment(dir, base);
    let file = make(&path, options)?;
    let mut bytes = Vec::new();
    opening(&mut bytes, base, base, &before, salt);
    file.write_all_at(&bytes, 0).and_then(|()| file.sync_all()).map_err(refused("write", &path))?;
    let mut facts = Facts::new(base, before);
    facts.bytes = bytes.len() as u64;
    Ok((facts, file))
}

/// Opens the segment that was written last.
pub(crate) fn reopen(dir: &Path, facts: &Facts) -> Result<File, Error> {
    let path = files::segment(dir, facts.base);
    let file = File::options().read(true).write(true).open(&path).map_err(refused("open", &path))?;
    file.sync_all().map_err(refused("fsync", &path))?;
    Ok(file)
}

/// A new file at `path` with room for a segment; if there is no room, no file.
pub(super) fn make(path: &Path, options: &Options) -> Result<File, Error> {
    let made = options.faults.hit(Point::Create).and_then(|()| {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
        files::preallocate(&file, options.segment_bytes)?;
        Ok(file)
    });
    made.map_err(|error| {
        // If it cannot be removed either, the next opening does it.
        let _ = files::remove(path);
        refused("create", path)(error)
    })
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
        self.preallocate(&mut writer)?;
        writer.buffer.clear();
        let full = writer.active.bytes + frame::HEADER as u64 + payload > self.options.segment_bytes;
        let opening = if full && writer.active.end > writer.active.base { self.roll(&mut writer)? } else { 0 };
        self.write(&mut writer, drafts, opening)?;
        Ok(first)
    }

    /// Preallocates the segment that was opened again, as the first append would.
    pub(crate) fn make_room(&self) -> Result<(), Error> {
        let mut writer = held(&self.writer);
        self.check(&writer)?;
        self.preallocate(&mut writer)
    }

    /// Preallocates the segment that was opened again: not when it is opened, so that a log on a full disk can still be read,
    /// shipped and trimmed.
    fn preallocate(&self, writer: &mut Writer) -> Result<(), Error> {
        if writer.cramped {
            let made = self.options.faults.hit(Point::Create);
            made.and_then(|()| files::preallocate(&writer.file, self.options.segment_bytes))
                .map_err(refused("preallocate", &files::segment(&self.dir, writer.active.base)))?;
            writer.cramped = false;
        }
        Ok(())
    }

    /// Starts the next segment; the bytes that open it are put into the buffer, for the write that follows.
    fn roll(&self, writer: &mut Writer) -> Result<u64, Error> {
        let base = writer.active.end;
        let path = files::segment(&self.dir, base);
        let file = match writer.spare.take() {
            Some(file) => {
                fs::rename(self.dir.join("next"), &path).map_err(refused("rename", &path))?;
                file
            }
            None => make(&path, &self.options)?,
        };
        writer.starved = false;
        let before = writer.active.heads();
        opening(&mut writer.buffer, base, writer.synced, &before, self.salt);
        let sealed = Arc::new(std::mem::replace(&mut writer.active, Facts::new(base, before)));
        let old = std::mem::replace(&mut writer.file, Arc::new(file));
        writer.sealed_bytes += sealed.bytes;
        writer.unsealed.push_back((Arc::clone(&sealed), old));
        writer.sealed.insert(sealed.base, sealed);
        Ok(writer.buffer.len() as u64)
    }

    /// Starts the next segment before there is a record for it.
    pub(super) fn begin_next(&self, writer: &mut Writer) -> Result<(), Error> {
        writer.buffer.clear();
        let opening = self.roll(writer)?;
        let written = self.options.faults.hit(Point::Write).and_then(|()| writer.file.write_all_at(&writer.buffer, 0));
        if let Err(error) = written {
            return Err(self.break_off(writer, "a write failed", &error));
        }
        writer.active.bytes += opening;
        Ok(())
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
        if writer.buffer.capacity() > KEPT_BUFFER_BYTES {
            writer.buffer = Vec::new();
        }
        self.note_dirty(writer, whole);
        Ok(())
    }

    /// Appends the bodies that are not yet `done` to lane 0, in batches of a bounded size, each of which counts as done.
    pub(crate) fn append_bodies(&self, bodies: &[Bytes], done: &mut usize) -> Result<(), Error> {
        while let Some(rest) = bodies.get(*done..).filter(|rest| !rest.is_empty()) {
            let mut bytes = 0;
            let fits = |body: &&Bytes| {
                bytes += body.len();
                bytes <= BATCH_BYTES
            };
            let batch = rest.iter().take_while(fits).count().max(1);
            let drafts: Vec<_> = rest.iter().take(batch).map(|body| Draft { lane: Lane(0), body }).collect();
            self.append(&drafts)?;
            *done += batch;
        }
        Ok(())
    }
}
