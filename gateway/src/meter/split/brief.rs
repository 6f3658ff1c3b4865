//! A frame too large to be kept, kept without its long strings: an image, or the request's own words that an answer repeats.
//!
//! What a meter reads stands in short strings and in numbers, at whatever depth, so that a brief JSON says the same. A frame is cut
//! short as it comes; what is kept of it has a limit all the same.

use memchr::{memchr, memchr2};

/// The longest string that is kept; a longer one is left empty.
const STRING_MAX: usize = 1024;

/// What was kept of a frame so far.
#[derive(Debug, Default)]
pub(super) struct Brief {
    kept: Vec<u8>,
    /// Where the string began that is not over, behind its quote.
    string: Option<usize>,
    /// Whether that string is longer than what is kept.
    long: bool,
    /// Whether the byte before was a backslash in a string.
    escaped: bool,
    /// Whether even so too much would be kept.
    over: bool,
}

impl Brief {
    /// Takes the next piece of a frame of which at most `most` bytes are kept.
    pub(super) fn push(&mut self, mut piece: &[u8], most: usize) {
        while !piece.is_empty() && !self.over {
            let end = match self.string {
                None => memchr(b'"', piece),
                Some(_) if self.escaped => Some(0),
                Some(_) => memchr2(b'"', b'\\', piece),
            };
            let (taken, rest) = piece.split_at(end.map_or(piece.len(), |end| end + 1));
            self.keep(taken);
            match (taken.last().filter(|_| end.is_some()), self.string) {
                (Some(_), None) => self.string = Some(self.kept.len()),
                (Some(b'"'), Some(_)) if !self.escaped => self.close(),
                (Some(last), Some(_)) => self.escaped = !self.escaped && *last == b'\\',
                (None, _) => {}
            }
            self.over = self.kept.len() > most;
            piece = rest;
        }
    }

    fn keep(&mut self, taken: &[u8]) {
        if self.long {
            return;
        }
        self.kept.extend_from_slice(taken);
        if let Some(start) = self.string.filter(|start| self.kept.len() - start > STRING_MAX) {
            self.kept.truncate(start);
            self.long = true;
        }
    }

    fn close(&mut self) {
        if self.long {
            self.kept.push(b'"');
        }
        (self.string, self.long) = (None, false);
    }

    /// The frame; nothing where it is too large even so.
    pub(super) fn finish(self) -> Option<Vec<u8>> {
        (!self.over).then_some(self.kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_strings_are_left_empty_in_whatever_pieces_they_come() {
        let (long, escaped) = ("x".repeat(STRING_MAX + 1), "\\\"".repeat(STRING_MAX));
        let text = |image: &str, words: &str| {
            format!("data: {{\"a\\\"b\":\"{image}\",\"n\":[1,\"\\\\\",\"{words}\"],\"z\":\"é\\u00e9\",\"k\":\"\"}}\n\n")
        };
        let (frame, brief) = (text(&long, &escaped), text("", ""));
        for size in [1, 2, 3, 7, 1_000, usize::MAX] {
            let mut kept = Brief::default();
            frame.as_bytes().chunks(size).for_each(|piece| kept.push(piece, 1_000_000));
            assert_eq!(String::from_utf8(kept.finish().unwrap()).unwrap(), brief, "in pieces of {size}");
        }
        let mut kept = Brief::default();
        kept.push(frame.as_bytes(), 20);
        assert_eq!(kept.finish(), None);
    }
}
