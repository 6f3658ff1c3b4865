//! Server-sent events: where they end, and their data.
//!
//! Lines end in `\n`, `\r\n` or `\r`, mixed as they come; an event ends at a blank line. Names of events are not looked at: every
//! API that names them says the same in the data.

use std::borrow::Cow;

use memchr::memchr2;

/// Where the lines of a stream end, across chunks.
#[derive(Debug)]
pub(super) struct Lines {
    /// Whether the line so far has no character.
    pub(super) empty: bool,
    /// Whether the byte before was `\r`, to which a `\n` would still belong.
    pub(super) after_cr: bool,
}

impl Lines {
    pub(super) const START: Self = Self { empty: true, after_cr: false };

    /// The end of the frame that goes on at `from`, behind its blank line; nothing if it is not in this chunk.
    pub(super) fn frame_end(&mut self, chunk: &[u8], from: usize) -> Option<usize> {
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
