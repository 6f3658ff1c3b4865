//! A stream, cut into its frames and otherwise untouched.
//!
//! What a frame is, the framing says: an event, a line, a binary message, an item of a list. Only a frame that crosses chunks is
//! copied, to be looked at; it is held back only where a frame may have to be withheld, else its pieces pass as they arrive. Above [`FRAME_MAX`] its pieces
//! pass in any case, and what is looked at is brief. Frames that follow each other in one chunk come out as one piece.

use std::collections::VecDeque;

use bytes::Bytes;
use memchr::memchr;

use super::{Frame, Framing, Seen, Tally, Verdict};

mod brief;
pub mod eventstream;
mod items;
pub(crate) mod sse;

use brief::Brief;
use eventstream::Lengths;
use items::{Item, Items};
use sse::Lines;

/// The largest frame that is copied whole to be looked at, and the most that is kept of a larger one.
pub(super) const FRAME_MAX: usize = 1 << 20;
/// The largest frame that is held back where each has to come out whole, as large as an answer that is not streamed may be there.
const HELD_MAX: usize = 64 << 20;

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
    /// What is looked at of an unfinished frame that is too large to be carried.
    large: Option<Large>,
    first: bool,
    /// Whether the frame before was withheld.
    stripped: bool,
}

/// A frame whose pieces pass as they arrive.
#[derive(Debug)]
enum Large {
    Brief(Brief),
    /// Its checksum is over all of it, or nobody knows where it ends.
    Unread,
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
    /// Where the items of a list end.
    Items(Items),
}

impl Splitter {
    pub(super) const fn new(framing: Framing, strip: bool) -> Self {
        let cutter = match framing {
            Framing::Lines => Cutter::Lines,
            Framing::Messages => Cutter::Messages(Lengths::START),
            Framing::List => Cutter::Items(Items::START),
            Framing::Events | Framing::Whole => Cutter::Events(Lines::START),
        };
        Self { hold: strip, strip, each: false, cutter, carry: Vec::new(), large: None, first: true, stripped: false }
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
        if self.cutter.is_lost() && self.large.is_none() {
            tally.unreadable();
            self.large = Some(Large::Unread);
            self.release(out);
        }
        let end = self.keep(chunk, start, tally, out);
        pass(chunk, given, end, out);
    }

    pub(super) fn close(&mut self, tally: &mut Tally, out: &mut VecDeque<Frame>) {
        if let Some(large) = self.large.take() {
            self.look_at(large, tally, true);
        }
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
        self.large.is_none() && (self.hold || (self.carry.is_empty() && lines.empty))
    }

    /// Whether what came ends between two frames with a `\r`, to which a `\n` would still belong.
    const fn is_behind_cr(&self) -> bool {
        let Cutter::Events(lines) = &self.cutter else { return false };
        lines.after_cr && self.carry.is_empty() && self.large.is_none()
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
        let held = self.make_room(piece.len(), tally);
        if let Some(mut large) = self.large.take() {
            large.push(piece);
            let seen = self.look_at(large, tally, false);
            self.first = false;
            return (seen, held.map(|held| Bytes::from([held.as_slice(), piece].concat())));
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
        if tail.is_empty() {
            return chunk.len();
        }
        // With something carried the frame began before this chunk, so nothing else of the chunk waits to come out.
        let held = self.make_room(tail.len(), tally);
        out.extend(held.map(|held| Frame { bytes: Bytes::from(held), verdict: Verdict::Pass }));
        if let Some(large) = &mut self.large {
            large.push(tail);
            return chunk.len();
        }
        self.carry.extend_from_slice(tail);
        if self.hold { start } else { chunk.len() }
    }

    /// Makes the unfinished frame a large one if with so many bytes more it is too large to be carried. Returns what was held back of it.
    fn make_room(&mut self, more: usize, tally: &mut Tally) -> Option<Vec<u8>> {
        let most = if self.each { HELD_MAX } else { FRAME_MAX };
        if self.large.is_some() || self.carry.len() + more <= most {
            return None;
        }
        let carry = std::mem::take(&mut self.carry);
        tally.too_large();
        let mut large = match &self.cutter {
            Cutter::Messages(_) => Large::Unread,
            Cutter::Events(_) | Cutter::Lines | Cutter::Items(_) => Large::Brief(Brief::default()),
        };
        large.push(&carry);
        self.large = Some(large);
        (self.hold && !carry.is_empty()).then_some(carry)
    }

    /// Shows what there is of a large frame to the tally. It is no frame of usage alone, and has gone out but for its last piece.
    fn look_at(&self, large: Large, tally: &mut Tally, tail: bool) -> Seen {
        let Large::Brief(brief) = large else { return Seen::Ordinary };
        match brief.finish().map(|frame| self.look(&frame, tally, tail)) {
            Some(Seen::End) => Seen::End,
            Some(Seen::Ordinary | Seen::UsageOnly) | None => Seen::Ordinary,
        }
    }

    /// Shows a frame to the tally. `tail` says that the stream ended before the frame did.
    fn look(&self, frame: &[u8], tally: &mut Tally, tail: bool) -> Seen {
        match &self.cutter {
            Cutter::Events(_) => {
                let first = self.first.then(|| frame.strip_prefix(b"\xef\xbb\xbf")).flatten();
                tally.frame("", &sse::data(first.unwrap_or(frame)), tail)
            }
            Cutter::Lines => tally.frame("", frame, tail),
            Cutter::Items(_) => match items::item(frame) {
                Item::Document(document) => tally.frame("", document, tail),
                Item::End => tally.end(),
            },
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

impl Large {
    fn push(&mut self, piece: &[u8]) {
        if let Self::Brief(brief) = self {
            brief.push(piece, FRAME_MAX);
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
            Self::Items(items) => items.frame_end(chunk, from),
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
