//! A text as it was sent, escapes and all, and what it says.
//!
//! The reader has checked it, so every escape in it is one. Half a character, which only an answer may have, reads as U+FFFD. It is
//! decoded piece by piece; only [`Text::decoded`] makes a copy, and only if there is an escape.

use std::borrow::Cow;

use memchr::memchr;

/// A text of a tree.
#[derive(Clone, Copy, Debug)]
pub struct Text<'t> {
    pub(super) raw: &'t str,
    pub(super) length: u32,
    pub(super) wide: bool,
}

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'t> {
    /// A part without an escape.
    Plain(&'t str),
    /// The character that an escape stands for.
    Escape(char),
}

impl<'t> Text<'t> {
    /// How many bytes it is, decoded.
    pub const fn len(self) -> usize {
        self.length as usize
    }

    /// Whether it says nothing.
    pub const fn is_empty(self) -> bool {
        self.length == 0
    }

    /// Whether it is ASCII, decoded.
    pub fn is_ascii(self) -> bool {
        !self.wide && self.raw.is_ascii()
    }

    /// The text, where no escape is in it: none is as short as what it stands for.
    pub fn plain(self) -> Option<&'t str> {
        (self.raw.len() == self.len()).then_some(self.raw)
    }

    /// What it says.
    pub fn decoded(self) -> Cow<'t, str> {
        if let Some(plain) = self.plain() {
            return Cow::Borrowed(plain);
        }
        let mut decoded = String::with_capacity(self.len());
        for piece in self.pieces() {
            match piece {
                Piece::Plain(part) => decoded.push_str(part),
                Piece::Escape(char) => decoded.push(char),
            }
        }
        Cow::Owned(decoded)
    }

    /// Whether what it says begins with `prefix`.
    pub fn starts_with(self, prefix: &str) -> bool {
        let mut rest = prefix;
        for piece in self.pieces() {
            let (begins, behind) = match piece {
                Piece::Plain(part) => (part.starts_with(rest), rest.strip_prefix(part)),
                Piece::Escape(char) => (rest.is_empty(), rest.strip_prefix(char)),
            };
            match behind {
                _ if begins => return true,
                Some(behind) => rest = behind,
                None => return false,
            }
        }
        rest.is_empty()
    }

    /// Its parts, in their order.
    pub fn pieces(self) -> impl Iterator<Item = Piece<'t>> {
        let mut rest = self.raw;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let plain = memchr(b'\\', rest.as_bytes()).unwrap_or(rest.len());
            let (piece, end) = match plain {
                0 => {
                    let (char, end) = escape(rest.as_bytes(), 0).ok().or_else(|| half(rest.as_bytes(), 0))?;
                    (Piece::Escape(char), end)
                }
                _ => (Piece::Plain(rest.get(..plain)?), plain),
            };
            rest = rest.get(end..)?;
            Some(piece)
        })
    }
}

impl PartialEq for Text<'_> {
    /// Whether both say the same.
    fn eq(&self, other: &Self) -> bool {
        self.length == other.length
            && match (self.plain(), other.plain()) {
                (Some(plain), Some(other)) => plain == other,
                _ => self.decoded() == other.decoded(),
            }
    }
}

impl PartialEq<str> for Text<'_> {
    fn eq(&self, other: &str) -> bool {
        self.len() == other.len() && self.plain().map_or_else(|| self.starts_with(other), |plain| plain == other)
    }
}

/// What the escape at `at` stands for, and where it ends; else the offset of the byte that makes it none.
pub(super) fn escape(text: &[u8], at: usize) -> Result<(char, usize), usize> {
    let char = match text.get(at + 1) {
        Some(char @ (b'"' | b'\\' | b'/')) => char::from(*char),
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unicode(text, at + 2),
        _ => return Err(at + 1),
    };
    Ok((char, at + 2))
}

/// What the digits at `at`, behind `\u`, stand for: one character, or the first half of one whose second follows.
fn unicode(text: &[u8], at: usize) -> Result<(char, usize), usize> {
    let (first, end) = hex(text, at)?;
    let (code, end) = match first {
        0xd800..=0xdbff => {
            for (at, byte) in [(end, b'\\'), (end + 1, b'u')] {
                if text.get(at) != Some(&byte) {
                    return Err(at);
                }
            }
            match hex(text, end + 2)? {
                (second @ 0xdc00..=0xdfff, end) => (0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00), end),
                _ => return Err(end),
            }
        }
        code => (code, end),
    };
    char::from_u32(code).map(|char| (char, end)).ok_or(at)
}

/// Half a character at `at`, as what stands for it, and where it ends.
pub(super) fn half(text: &[u8], at: usize) -> Option<(char, usize)> {
    let (code, end) = hex(text, at + 2).ok().filter(|_| text.get(at + 1) == Some(&b'u'))?;
    (0xd800..=0xdfff).contains(&code).then_some((char::REPLACEMENT_CHARACTER, end))
}

/// The number that the four digits at `at` are, and where they end.
fn hex(text: &[u8], at: usize) -> Result<(u32, usize), usize> {
    let digit = |at| text.get(at).and_then(|byte| char::from(*byte).to_digit(16)).ok_or(at);
    let code = (at..at + 4).try_fold(0, |code, at| digit(at).map(|digit| code * 16 + digit))?;
    Ok((code, at + 4))
}
