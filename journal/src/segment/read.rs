//! Reading by offset, in blocks whose slices the records are.
//!
//! A cursor holds a file descriptor and no lock; it reads only frames below what was published, so what it reads is never
//! being written. It checks every CRC: a byte that changed after its segment was sealed is found here.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::PathBuf,
    sync::{Arc, PoisonError},
    time::Duration,
};

use bytes::Bytes;

use crate::{
    Record,
    deadline::Deadline,
    error::Error,
    segment::{
        Log, Writer,
        files::{self, io as refused},
        frame::{self, Head},
        held,
    },
};

/// How much is read at once, and about how much one [`Cursor::read`] gives.
const BLOCK: usize = 1 << 20;

/// What readers may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Visible {
    /// The offset after the last record to be seen.
    pub(crate) end: u64,
    /// No more will come.
    pub(crate) closed: bool,
}

/// A place in a log.
#[derive(Debug)]
pub(crate) struct Cursor {
    log: Arc<Log>,
    next: u64,
    place: Option<Place>,
}

#[derive(Debug)]
struct Place {
    file: File,
    path: PathBuf,
    base: u64,
    position: u64,
    /// The byte after the last frame, as far as known.
    bytes: u64,
}

impl Log {
    /// Lets readers see the records before `end`.
    pub(crate) fn publish(&self, end: u64) {
        let mut visible = held(&self.visible);
        if end > visible.end {
            visible.end = end;
            self.readable.notify_all();
        }
    }

    /// What readers may see now.
    pub(crate) fn visible(&self) -> Visible {
        *held(&self.visible)
    }

    /// Wakes all readers: nothing will be published any more.
    pub(crate) fn wake_for_close(&self) {
        held(&self.visible).closed = true;
        self.readable.notify_all();
    }

    /// Waits up to `wait` until there is something to see at `offset`, or the log is closed.
    pub(crate) fn wait_visible(&self, offset: u64, wait: Duration) -> Visible {
        let deadline = Deadline::after(wait);
        let mut visible = held(&self.visible);
        while visible.end <= offset && !visible.closed {
            let rest = deadline.rest();
            if rest.is_zero() {
                break;
            }
            visible = self.readable.wait_timeout(visible, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
        *visible
    }

    /// Refuses an offset that is neither kept nor the next to come.
    pub(crate) fn check_kept(&self, offset: u64) -> Result<(), Error> {
        let writer = held(&self.writer);
        if (writer.first()..=writer.active.end).contains(&offset) {
            Ok(())
        } else {
            Err(self.not_kept(offset, &writer))
        }
    }

    fn not_kept(&self, asked: u64, writer: &Writer) -> Error {
        Error::NotKept {
            topic: self.options.topic,
            lane: schemas::id::Lane(0),
            asked,
            first: writer.first(),
            end: writer.active.end,
        }
    }

    /// The segment that holds `offset`, and a byte of it at or before which its frame starts.
    fn locate(&self, offset: u64) -> Result<(u64, u64, u64), Error> {
        let writer = held(&self.writer);
        let facts = if offset >= writer.active.base {
            Some(&writer.active)
        } else {
            writer.sealed.range(..=offset).next_back().map(|(_, facts)| &**facts)
        };
        match facts {
            Some(facts) => Ok((facts.base, facts.place(offset).unwrap_or(0), facts.bytes)),
            None => Err(self.not_kept(offset, &writer)),
        }
    }
}

impl Cursor {
    /// A cursor at `next`, which may be the end.
    pub(crate) fn new(log: &Arc<Log>, next: u64) -> Self {
        Self { log: Arc::clone(log), next, place: None }
    }

    /// The offset of the record that is read next.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Waits up to `wait` for records and gives those that are there, about 1 MiB of them at most. [`Error::Closed`] once the
    /// log is closed and read to its end.
    pub(crate) fn poll(&mut self, wait: Duration) -> Result<Vec<Record>, Error> {
        let visible = self.log.wait_visible(self.next, wait);
        if visible.end <= self.next && visible.closed {
            return Err(Error::Closed);
        }
        self.read(visible.end)
    }

    /// The records from here to `end`, about 1 MiB of them at most; none only if there are none.
    pub(crate) fn read(&mut self, end: u64) -> Result<Vec<Record>, Error> {
        let mut out = Vec::new();
        while self.next < end && out.is_empty() {
            let mut place = self.find()?;
            self.block(&mut place, end, &mut out)?;
            self.place = Some(place);
        }
        Ok(out)
    }

    /// A place with bytes to read: the last one, or the same segment that has grown, or the next.
    fn find(&mut self) -> Result<Place, Error> {
        let last = match self.place.take() {
            Some(place) if place.position < place.bytes => return Ok(place),
            last => last,
        };
        let (base, position, bytes) = self.log.locate(self.next)?;
        let path = files::segment(&self.log.dir, base);
        match last {
            Some(place) if place.base == base && place.position < bytes => Ok(Place { bytes, ..place }),
            Some(place) if place.base == base => Err(self.damaged(path, place.position)),
            _ => match File::open(&path) {
                Ok(file) => Ok(Place { file, path, base, position, bytes }),
                Err(error) => {
                    // Trimmed in between: say so. Else somebody else removed it.
                    self.log.locate(self.next)?;
                    Err(refused("open", &path)(error))
                }
            },
        }
    }

    /// Reads one block.
    fn block(&mut self, place: &mut Place, end: u64, out: &mut Vec<Record>) -> Result<(), Error> {
        let left = place.bytes.saturating_sub(place.position);
        let mut block = read_at(place, usize::try_from(left).unwrap_or(BLOCK).min(BLOCK))?;
        let mut used = 0;
        while self.next < end && (used < block.len() || used == 0) {
            let rest = block.get(used..).unwrap_or_default();
            let head = match Head::parse(rest) {
                Some(head) => head,
                None if used > 0 && rest.len() < frame::HEADER => break,
                None => return Err(self.damaged(place.path.clone(), place.position)),
            };
            if rest.len() < head.whole() {
                if used > 0 {
                    break;
                }
                block = read_at(place, head.whole())?;
            }
            let frame = block.slice(used..(used + head.whole()).min(block.len()));
            let payload = frame.slice(frame::HEADER.min(frame.len())..);
            let fits = head.base <= self.next || head.end() <= self.next;
            if !fits || !head.holds(&frame, self.log.salt) || !frame::records(&head, &payload, self.next, out) {
                return Err(self.damaged(place.path.clone(), place.position));
            }
            used += frame.len();
            place.position += frame.len() as u64;
            self.next = self.next.max(head.end());
        }
        Ok(())
    }

    fn damaged(&self, path: PathBuf, position: u64) -> Error {
        let why = format!("the batch that should hold offset {} is not what was written", self.next);
        Error::Corrupt { path, position, why }
    }
}

fn read_at(place: &Place, len: usize) -> Result<Bytes, Error> {
    let mut block = vec![0; len];
    let mut filled = 0;
    while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match place.file.read_at(rest, place.position + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(refused("read", &place.path)(error)),
        }
    }
    block.truncate(filled);
    Ok(Bytes::from(block))
}
