//! Server-sent events, cut at blank lines and otherwise untouched.
//!
//! Lines end in `\n`, `\r\n` or `\r`, mixed as they come. Only a frame that crosses chunks is copied, to be looked at; it is held
//! back only where a frame may have to be withheld, else its pieces pass as they arrive. Above [`FRAME_MAX`] a frame passes
//! without being looked at. Frames that follow each other in one chunk come out as one piece.

use std::{borrow::Cow, collections::VecDeque};

use bytes::Bytes;
use memchr::memchr2;

use super::{Frame, Seen, Tally, Verdict};

/// The largest frame that is looked into.
pub(super) const FRAME_MAX: usize = 1024 * 1024;

/// Cuts a body into frames.
#[derive(Debug)]
pub(super) struct Splitter {
    /// Whether an unfinished frame is held back.
    hold: bool,
    /// Whether a frame of usage alone is withheld.
    strip: bool,
    /// Whether each frame comes out by itself.
    each: bool,
    lines: Lines,
    /// The beginning of a frame that is not finished.
    carry: Vec<u8>,
    /// Whether the unfinished frame is too large to be looked at.
    oversize: bool,
    first: bool,
    /// Whether the frame before was withheld.
    stripped: bool,
}

impl Splitter {
    pub(super) const fn new(strip: bool) -> Self {
        let lines = Lines { empty: true, after_cr: false };
        Self {
            hold: strip,
            strip,
            each: false,
            lines,
            carry: Vec::new(),
            oversize: false,
            first: true,
            stripped: false,
        }
    }

    /// From now on each frame comes out by itself and whole.
    pub(super) const fn by_frame(&mut self) {
        (self.hold, self.each) = (true, true);
    }

    pub(super) fn push(&mut self, chunk: &Bytes, tally: &mut Tally, out: &mut VecDeque<Frame>) {
        // What is before `given` has come out or is carried; `start` is where the frame begins, or goes on.
        let (mut given, mut start) = (0, 0);
        if self.is_behind_cr() && chunk.first() == Some(&b'\n') {
            // It still belongs to the frame before, and shares its fate.
            self.lines.after_cr = false;
            start = 1;
            if self.stripped {
                out.push_back(Frame { bytes: chunk.slice(..start), verdict: Verdict::Strip });
                given = start;
            }
        }
        while let Some(end) = self.lines.frame_end(chunk, start) {
            let (seen, carried) = self.finish(chunk.get(start..end).unwrap_or_default(), tally);
            self.stripped = self.verdict(seen) == Verdict::Strip;
            if let Some(bytes) = carried {
                out.push_back(Frame { bytes, verdict: self.verdict(seen) });
                given = end;
            } else if self.each || self.verdict(seen) != Verdict::Pass {
                pass(chunk, given, start, out);
                out.push_back(Frame { bytes: chunk.slice(start..end), verdict: self.verdict(seen) });
                given = end;
            }
            start = end;
        }
        let end = self.keep(chunk, start, tally, out);
        pass(chunk, given, end, out);
    }

    pub(super) fn close(&mut self, tally: &mut Tally, out: &mut VecDeque<Frame>) {
        if self.carry.is_empty() {
            return;
        }
        let carry = std::mem::take(&mut self.carry);
        // A frame may lack its blank line at the very end; one that is cut says nothing.
        let seen = tally.frame(self.data(&carry), true);
        if self.hold {
            out.push_back(Frame { bytes: Bytes::from(carry), verdict: self.verdict(seen) });
        }
    }

    /// Whether what came out ends between two frames.
    pub(super) const fn between_frames(&self) -> bool {
        !self.oversize && (self.hold || (self.carry.is_empty() && self.lines.empty))
    }

    /// Whether what came ends between two frames with a `\r`, to which a `\n` would still belong.
    const fn is_behind_cr(&self) -> bool {
        self.lines.after_cr && self.carry.is_empty() && !self.oversize
    }

    const fn verdict(&self, seen: Seen) -> Verdict {
        match seen {
            Seen::Ordinary => Verdict::Pass,
            Seen::UsageOnly if self.strip => Verdict::Strip,
            Seen::UsageOnly => Verdict::Pass,
            Seen::End => Verdict::Last,
        }
    }

    /// A frame ends with `piece`. Returns what it is, and its bytes where they were held back.
    fn finish(&mut self, piece: &[u8], tally: &mut Tally) -> (Seen, Option<Bytes>) {
        let whole = self.carry.len() + piece.len();
        if self.oversize || whole > FRAME_MAX {
            self.first = false;
            tally.too_large();
            self.oversize = false;
            // What was held back of it is released in front of the piece, which is then a frame of its own.
            let held = std::mem::take(&mut self.carry);
            let held = (self.hold && !held.is_empty()).then(|| Bytes::from([held.as_slice(), piece].concat()));
            return (Seen::Ordinary, held);
        }
        if self.carry.is_empty() {
            let seen = tally.frame(self.data(piece), false);
            self.first = false;
            return (seen, None);
        }
        self.carry.extend_from_slice(piece);
        let carry = std::mem::take(&mut self.carry);
        let seen = tally.frame(self.data(&carry), false);
        self.first = false;
        if self.hold {
            return (seen, Some(Bytes::from(carry)));
        }
        self.carry = carry;
        self.carry.clear();
        (seen, None)
    }

    /// Keeps the unfinished frame from `start` on. Returns where in the chunk that ends which may come out.
    fn keep(&mut self, chunk: &Bytes, start: usize, tally: &mut Tally, out: &mut VecDeque<Frame>) -> usize {
        let tail = chunk.get(start..).unwrap_or_default();
        if tail.is_empty() || self.oversize {
            return chunk.len();
        }
        if self.carry.len() + tail.len() > FRAME_MAX {
            tally.too_large();
            self.oversize = true;
            let carry = std::mem::take(&mut self.carry);
            // With something carried the frame began before this chunk, so nothing else of the chunk waits to come out.
            if self.hold && !carry.is_empty() {
                out.push_back(Frame { bytes: Bytes::from(carry), verdict: Verdict::Pass });
            }
            return chunk.len();
        }
        self.carry.extend_from_slice(tail);
        if self.hold { start } else { chunk.len() }
    }

    /// The data of a frame.
    fn data<'a>(&self, frame: &'a [u8]) -> Cow<'a, [u8]> {
        data(if self.first { frame.strip_prefix(b"\xef\xbb\xbf").unwrap_or(frame) } else { frame })
    }
}

fn pass(chunk: &Bytes, from: usize, to: usize, out: &mut VecDeque<Frame>) {
    if from < to {
        out.push_back(Frame { bytes: chunk.slice(from..to), verdict: Verdict::Pass });
    }
}

/// Where the lines of a stream end, across chunks.
#[derive(Debug)]
struct Lines {
    /// Whether the line so far has no character.
    empty: bool,
    /// Whether the byte before was `\r`, to which a `\n` would still belong.
    after_cr: bool,
}

impl Lines {
    /// The end of the frame that goes on at `from`, behind its blank line; nothing if it is not in this chunk.
    fn frame_end(&mut self, chunk: &[u8], from: usize) -> Option<usize> {
        let mut at = from;
        loop {
            let rest = chunk.get(at..).unwrap_or_default();
            let Some(next) = memchr2(b'\n', b'\r', rest) else {
                if !rest.is_empty() {
                    (self.empty, self.after_cr) = (false, false);
                }
                return None;
            };
            let cr = rest.get(next) == Some(&b'\r');
            at += next + 1;
            if next == 0 && !cr && self.after_cr {
                self.after_cr = false;
                continue;
            }
            let blank = next == 0 && self.empty;
            (self.empty, self.after_cr) = (true, cr);
            if blank {
                if cr && chunk.get(at) == Some(&b'\n') {
                    self.after_cr = false;
                    at += 1;
                }
                return Some(at);
            }
        }
    }
}

/// The data of a frame: its `data` lines, joined by line feeds.
pub(crate) fn data(frame: &[u8]) -> Cow<'_, [u8]> {
    let mut found: Option<Cow<'_, [u8]>> = None;
    let mut rest = frame;
    while !rest.is_empty() {
        let end = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let (line, after) = rest.split_at(end);
        rest = after.get(1..).unwrap_or_default();
        let Some(value) = line.strip_prefix(b"data") else { continue };
        let value = match value.split_first() {
            Some((b':', value)) => value.strip_prefix(b" ").unwrap_or(value),
            Some(_) => continue,
            None => value,
        };
        found = Some(match found {
            None => Cow::Borrowed(value),
            Some(before) => Cow::Owned([before.as_ref(), b"\n", value].concat()),
        });
    }
    found.unwrap_or_default()
}
