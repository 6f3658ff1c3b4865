//! Reading a segment frame by frame to learn what it holds, and to tell a torn tail from damage.
//!
//! After a crash the file system may have kept any part of what was not fsynced, in any order; so what follows the first bad
//! frame is thrown away, unless a later frame says that this place had been on the platter. Then it is damage.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use crate::segment::{
    facts::{Facts, Heads},
    frame::{self, Head, Stamps},
};

/// How much is read at once.
const BLOCK: usize = 1 << 20;

/// A file seen through one block that moves along with the reader.
struct Window<'a> {
    file: &'a File,
    start: u64,
    block: Vec<u8>,
}

impl<'a> Window<'a> {
    fn new(file: &'a File) -> Self {
        Self { file, start: 0, block: Vec::new() }
    }

    /// `len` bytes from `position` on; fewer where the file ends.
    fn get(&mut self, position: u64, len: usize) -> io::Result<&[u8]> {
        let inside = position.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok());
        let skip = match inside.filter(|skip| skip + len <= self.block.len()) {
            Some(skip) => skip,
            None => {
                self.fill(position, len.max(BLOCK))?;
                0
            }
        };
        let rest = self.block.get(skip..).unwrap_or_default();
        Ok(rest.get(..len).unwrap_or(rest))
    }

    fn fill(&mut self, position: u64, len: usize) -> io::Result<()> {
        self.block.resize(len, 0);
        let mut filled = 0;
        while let Some(rest) = self.block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, position + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.block.truncate(filled);
        self.start = position;
        Ok(())
    }

    /// The frame at `position`, if it is whole.
    fn frame(&mut self, position: u64, salt: u32) -> io::Result<Option<(Head, &[u8])>> {
        let Some(head) = Head::parse(self.get(position, frame::HEADER)?) else { return Ok(None) };
        let bytes = self.get(position, head.whole())?;
        Ok(head.holds(bytes, salt).then(|| (head, bytes.get(frame::HEADER..).unwrap_or_default())))
    }
}

/// What the segment that starts at offset `base` holds, up to its first bad frame or to offset `limit`, whichever is first.
/// With no byte in it, not even the frame that opens a segment is whole.
pub(crate) fn scan(file: &File, base: u64, salt: u32, limit: Option<u64>) -> io::Result<Facts> {
    let mut window = Window::new(file);
    let Some(mut facts) = opening(&mut window, base, salt)? else { return Ok(Facts::new(base, Heads::NONE)) };
    while limit.is_none_or(|limit| facts.end < limit) {
        let (end, position) = (facts.end, facts.bytes);
        let Some((head, payload)) = window.frame(position, salt)? else { break };
        if head.base != end || head.count == 0 || limit.is_some_and(|limit| head.end() > limit) {
            break;
        }
        let Some(stamps) = Stamps::new(&head, payload).collect::<Option<Vec<_>>>() else { break };
        for stamp in stamps {
            facts.record(head.producer, stamp.lane, stamp.seq.0);
        }
        facts.frame(head.whole() as u64, head.end(), head.at, head.producer);
    }
    Ok(facts)
}

fn opening(window: &mut Window<'_>, base: u64, salt: u32) -> io::Result<Option<Facts>> {
    let Some((head, payload)) = window.frame(0, salt)? else { return Ok(None) };
    if head.base != base || head.count != 0 {
        return Ok(None);
    }
    let Some(before) = Heads::decode(head.producer, payload) else { return Ok(None) };
    let mut facts = Facts::new(base, before);
    facts.bytes = head.whole() as u64;
    facts.at = head.at;
    Ok(Some(facts))
}

/// How many bytes there are from byte `from` to the last that is not zero, as a preallocated byte is that was never written.
pub(crate) fn written(file: &File, from: u64) -> io::Result<u64> {
    const ZEROS: [u8; 4096] = [0; 4096];
    let (mut window, mut position, mut written) = (Window::new(file), from, 0);
    loop {
        let block = window.get(position, BLOCK)?;
        for (index, piece) in block.chunks(ZEROS.len()).enumerate() {
            // Nearly all of up to a segment is zero, and is compared whole.
            if Some(piece) != ZEROS.get(..piece.len())
                && let Some(last) = piece.iter().rposition(|byte| *byte != 0)
            {
                written = position - from + (index * ZEROS.len() + last) as u64 + 1;
            }
        }
        position += block.len() as u64;
        if block.len() < BLOCK {
            return Ok(written);
        }
    }
}

/// Whether a frame at or after byte `from` says that more than the records before `offset` had been on the platter.
pub(crate) fn was_durable(file: &File, from: u64, offset: u64, salt: u32) -> io::Result<bool> {
    let mut window = Window::new(file);
    let mut position = from;
    loop {
        let block = window.get(position, BLOCK)?;
        let (len, found) = (block.len() as u64, frame::find(block, 0));
        let Some(at) = found else {
            // A magic may begin in the last three bytes of the block.
            if len < BLOCK as u64 {
                return Ok(false);
            }
            position += len - 3;
            continue;
        };
        position += at as u64;
        match window.frame(position, salt)? {
            Some((head, _)) if head.synced > offset => return Ok(true),
            Some((head, _)) => position += head.whole() as u64,
            None => position += 1,
        }
    }
}
