//! A stream, cut into its frames and otherwise untouched.
//!
//! What a frame is, the framing says: an event, a line, a binary message. Only a frame that crosses chunks is copied, to be looked
//! at; it is held back only where a frame may have to be withheld, else its pieces pass as they arrive. Above [`FRAME_MAX`] a frame
//! passes without being looked at. Frames that follow each other in one chunk come out as one piece.

use std::collections::VecDeque;

use bytes::Bytes;
use memchr::memchr;

use super::{Frame, Framing, Seen, Tally, Verdict};

pub mod eventstream;
pub(crate) mod sse;

use eventstream::Lengths;
use sse::Lines;

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
    cutter: Cutter,
    /// The beginning of a frame that is not finished.
    carry: Vec<u8>,
    /// Whether the unfinished frame is too large to be looked at.
    oversize: bool,
    first: bool,
    /// Whether the frame before was withheld.
    stripped: bool,
}

/// Finds where frames end, across chunks.
#[derive(Debug)]
enum Cutter {
    /// At blank lines.
    Events(Lines),
    /// At line feeds.
    Lines,
    /// Where their lengths say.
    Messages(Lengths),
}

impl Splitter {
    pub(super) const fn new(framing: Framing, strip: bool) -> Self {
        let cutter = match framing {
            Framing::Lines => Cutter::Lines,
            Framing::Messages => Cutter::Messages(Lengths::START),
            Framing::Events | Framing::Whole => Cutter::Events(Lines::START),
        };
        Self {
            hold: strip,
            strip,
            each: false,
            cutter,
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
            if let Cutter::Events(lines) = &mut self.cutter {
                lines.after_cr = false;
            }
            start = 1;
            if self.stripped {
                out.push_back(Frame { bytes: chunk.slice(..start), verdict: Verdict::Strip });
                given = start;
            }
        }
        while let Some(end) = self.cutter.frame_end(chunk, start) {
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
        if self.cutter.is_lost() && !self.oversize {
            tally.unreadable();
            self.oversize = true;
            self.release(out);
        }
        let end = self.keep(chunk, start, tally, out);
        pass(chunk, given, end, out);
    }

    pub(super) fn close(&mut self, tally: &mut Tally, out: &mut VecDeque<Frame>) {
        if self.carry.is_empty() {
            return;
        }
        let carry = std::mem::take(&mut self.carry);
        if carry.trim_ascii().is_empty() {
            return if self.hold {
                out.push_back(Frame { bytes: Bytes::from(carry), verdict: Verdict::Pass })
            };
        }
        // A frame may lack its blank line at the very end; one that is cut says nothing.
        let seen = self.look(&carry, tally, true);
        if self.hold {
            out.push_back(Frame { bytes: Bytes::from(carry), verdict: self.verdict(seen) });
        }
    }

    /// Whether what came out ends between two frames.
    pub(super) const fn between_frames(&self) -> bool {
        let Cutter::Events(lines) = &self.cutter else { return false };
        !self.oversize && (self.hold || (self.carry.is_empty() && lines.empty))
    }

    /// Whether what came ends between two frames with a `\r`, to which a `\n` would still belong.
    const fn is_behind_cr(&self) -> bool {
        let Cutter::Events(lines) = &self.cutter else { return false };
        lines.after_cr && self.carry.is_empty() && !self.oversize
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
            let seen = self.look(piece, tally, false);
            self.first = false;
            return (seen, None);
        }
        self.carry.extend_from_slice(piece);
        let carry = std::mem::take(&mut self.carry);
        let seen = self.look(&carry, tally, false);
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
            // With something carried the frame began before this chunk, so nothing else of the chunk waits to come out.
            self.release(out);
            return chunk.len();
        }
        self.carry.extend_from_slice(tail);
        if self.hold { start } else { chunk.len() }
    }

    /// Shows a frame to the tally. `tail` says that the stream ended before the frame did.
    fn look(&self, frame: &[u8], tally: &mut Tally, tail: bool) -> Seen {
        match &self.cutter {
            Cutter::Events(_) => {
                let first = self.first.then(|| frame.strip_prefix(b"\xef\xbb\xbf")).flatten();
                tally.frame("", &sse::data(first.unwrap_or(frame)), tail)
            }
            Cutter::Lines => tally.frame("", frame, tail),
            Cutter::Messages(_) => match eventstream::read(frame) {
                Ok(message) if message.is_event() => tally.frame(message.kind, message.payload, tail),
                Ok(message) => tally.fail(message.kind),
                Err(_) => {
                    if tail {
                        tally.cut()
                    } else {
                        tally.unreadable()
                    }
                    Seen::Ordinary
                }
            },
        }
    }

    /// Lets go of what was held back.
    fn release(&mut self, out: &mut VecDeque<Frame>) {
        let carry = std::mem::take(&mut self.carry);
        if self.hold && !carry.is_empty() {
            out.push_back(Frame { bytes: Bytes::from(carry), verdict: Verdict::Pass });
        }
    }
}

impl Cutter {
    /// The end of the frame that goes on at `from`; nothing if it is not in this chunk.
    fn frame_end(&mut self, chunk: &[u8], from: usize) -> Option<usize> {
        match self {
            Self::Events(lines) => lines.frame_end(chunk, from),
            Self::Lines => memchr(b'\n', chunk.get(from..)?).map(|at| from + at + 1),
            Self::Messages(lengths) => lengths.frame_end(chunk, from),
        }
    }

    /// Whether nobody can say any more where frames end.
    const fn is_lost(&self) -> bool {
        matches!(self, Self::Messages(lengths) if lengths.lost)
    }
}

fn pass(chunk: &Bytes, from: usize, to: usize, out: &mut VecDeque<Frame>) {
    if from < to {
        out.push_back(Frame { bytes: chunk.slice(from..to), verdict: Verdict::Pass });
    }
}
