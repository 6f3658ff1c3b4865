//! The grammar: from bytes to nodes, strictly, in one pass.
//!
//! Each function takes the offset where something begins and gives the one behind it, or says what is wrong. Lists and objects
//! call themselves, at most [`DEPTH`] deep. For texts, blocks of 64 bytes are looked at as a whole, without a branch and so with the
//! machine's vectors: a bit says that its byte ends a plain part. The rest of a text that is plain for a block is left to `memchr`.

use memchr::memchr2;

use super::{
    Malformed, Node, WIDE, Why,
    text::{escape, half},
};

/// One more than lists and objects may be nested, as in `serde_json`.
const DEPTH: u32 = 128;
/// The bytes of a block: a mask has as many bits.
const BLOCK: usize = 64;
/// The most digits, point and sign that are certainly no more than the largest float, 1.8e308.
const DIGITS: usize = 300;
/// The most nodes to make room for at first: 24 KiB. A value takes eight bytes of a dense body; one that is larger is not dense.
const ROOM: usize = 2_048;

struct Reader<'a> {
    body: &'a [u8],
    depth: u32,
    /// Whether a text may have half a character.
    halves: bool,
    nodes: Vec<Node>,
    /// What is wrong, where a function gave nothing: so an offset is given in a register.
    wrong: Malformed,
    blocks: &'a [[u8; BLOCK]],
    /// The rest of the body, filled up with spaces.
    last: [u8; BLOCK],
    /// The block that was looked at last, by its number, and its mask.
    seen: (usize, u64),
}

/// The nodes of the document that `body` is. It is UTF-8 and shorter than 2 GiB.
pub(super) fn nodes(body: &[u8], halves: bool) -> Result<Vec<Node>, Malformed> {
    let (blocks, rest) = body.as_chunks();
    let mut last = [b' '; BLOCK];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    let nodes = Vec::with_capacity((body.len() / 8 + 2).min(ROOM));
    let wrong = Malformed { why: Why::NotJson, at: 0 };
    let mut reader = Reader { body, depth: 0, halves, nodes, wrong, blocks, last, seen: (usize::MAX, 0) };
    let end = reader.value(reader.space(0)).map(|end| reader.space(end));
    match end.and_then(|end| if end < body.len() { reader.wrong(end) } else { Some(end) }) {
        Some(_) => Ok(reader.nodes),
        None => Err(reader.wrong),
    }
}

impl Reader<'_> {
    fn value(&mut self, at: usize) -> Option<usize> {
        match self.byte(at) {
            Some(b'"') => self.text(at),
            Some(b'{') => self.inside(at, b'}'),
            Some(b'[') => self.inside(at, b']'),
            Some(b'-' | b'0'..=b'9') => self.number(at),
            Some(b't') => self.word(at, b"true"),
            Some(b'f') => self.word(at, b"false"),
            Some(b'n') => self.word(at, b"null"),
            _ => self.wrong(at),
        }
    }

    /// A list or an object, up to the bracket that closes it.
    fn inside(&mut self, start: usize, close: u8) -> Option<usize> {
        let place = self.nodes.len();
        self.nodes.push(node(start, 0, 0));
        self.depth += 1;
        if self.depth == DEPTH {
            return self.fail(Why::TooDeep, start);
        }
        let mut at = self.space(start + 1);
        if self.byte(at) != Some(close) {
            at = self.entry(at, close)?;
            while self.byte(at) == Some(b',') {
                at = self.entry(self.space(at + 1), close)?;
            }
            self.expect(at, close)?;
        }
        self.depth -= 1;
        let node = node(start, at + 1, self.nodes.len());
        self.nodes.get_mut(place).into_iter().for_each(|open| *open = node);
        Some(at + 1)
    }

    /// An item, or a member, and the space behind it.
    fn entry(&mut self, at: usize, close: u8) -> Option<usize> {
        let mut at = at;
        if close == b'}' {
            self.expect(at, b'"')?;
            at = self.text(at)?;
            at = self.expect(self.space(at), b':')?;
            at = self.space(at);
        }
        let end = self.value(at)?;
        Some(self.space(end))
    }

    /// A text or a name.
    fn text(&mut self, start: usize) -> Option<usize> {
        let (mut saved, mut wide) = (0, 0);
        let mut at = self.plain(start + 1);
        loop {
            match self.byte(at) {
                Some(b'"') => break,
                Some(b'\\') => {}
                _ => return self.wrong(at),
            }
            let end = match self.byte(at + 1) {
                Some(b'n' | b't' | b'"' | b'\\' | b'/' | b'r') => {
                    saved += 1;
                    at + 2
                }
                _ => match escape(self.body, at).or_else(|wrong| self.half(at).ok_or(wrong)) {
                    Ok((char, end)) => {
                        saved += end - at - char.len_utf8();
                        wide |= if char.is_ascii() { 0 } else { WIDE };
                        end
                    }
                    Err(at) => return self.wrong(at),
                },
            };
            at = self.plain(end);
        }
        let node = node(start, at + 1, at - start - 1 - saved);
        self.nodes.push(Node { more: node.more | wide, ..node });
        Some(at + 1)
    }

    fn half(&self, at: usize) -> Option<(char, usize)> {
        if self.halves { half(self.body, at) } else { None }
    }

    /// The offset of the first byte from `at` on that is a quote, a backslash or a control character; else one behind the body.
    fn plain(&mut self, at: usize) -> usize {
        let block = at / BLOCK;
        let rest = self.mask(block) >> (at % BLOCK);
        if rest != 0 {
            return at + rest.trailing_zeros() as usize;
        }
        let next = (block + 1) * BLOCK;
        match self.mask(block + 1) {
            0 => long(self.body, next + BLOCK),
            rest => next + rest.trailing_zeros() as usize,
        }
    }

    /// The mask of a block. Behind the last one it is that one's again: whatever it finds lies behind the body, where nothing is.
    fn mask(&mut self, block: usize) -> u64 {
        if self.seen.0 != block {
            self.seen = (block, mask(self.blocks.get(block).unwrap_or(&self.last)));
        }
        self.seen.1
    }

    /// A number. One that is too large for a float is refused, and what that is is left to `serde_json` to say.
    fn number(&mut self, start: usize) -> Option<usize> {
        let mut at = start + usize::from(self.byte(start) == Some(b'-'));
        at = if self.byte(at) == Some(b'0') { at + 1 } else { self.digits(at)? };
        if self.byte(at) == Some(b'.') {
            at = self.digits(at + 1)?;
        }
        let scaled = matches!(self.byte(at), Some(b'e' | b'E'));
        if scaled {
            at = self.digits(at + 1 + usize::from(matches!(self.byte(at + 1), Some(b'+' | b'-'))))?;
        }
        let fits = |number| serde_json::from_slice::<serde_json::Number>(number).is_ok();
        if (scaled || at - start > DIGITS) && !self.body.get(start..at).is_some_and(fits) {
            return self.fail(Why::TooLarge, start);
        }
        Some(self.leaf(start, at))
    }

    /// One digit or more.
    fn digits(&mut self, start: usize) -> Option<usize> {
        let mut at = start;
        while self.byte(at).is_some_and(|byte| byte.is_ascii_digit()) {
            at += 1;
        }
        if at == start { self.wrong(at) } else { Some(at) }
    }

    fn word(&mut self, start: usize, word: &[u8]) -> Option<usize> {
        let mut at = start;
        for byte in word {
            at = self.expect(at, *byte)?;
        }
        Some(self.leaf(start, at))
    }

    /// What has nothing in it.
    fn leaf(&mut self, start: usize, end: usize) -> usize {
        self.nodes.push(node(start, end, self.nodes.len() + 1));
        end
    }

    fn expect(&mut self, at: usize, byte: u8) -> Option<usize> {
        if self.byte(at) == Some(byte) { Some(at + 1) } else { self.wrong(at) }
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.body.get(at).copied()
    }

    /// The offset of the next byte that is no space.
    fn space(&self, at: usize) -> usize {
        let mut at = at;
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.byte(at) {
            at += 1;
        }
        at
    }

    /// The byte at `at` is not what may stand there.
    #[cold]
    fn wrong(&mut self, at: usize) -> Option<usize> {
        self.fail(if at < self.body.len() { Why::NotJson } else { Why::EndsEarly }, at.min(self.body.len()))
    }

    #[cold]
    fn fail(&mut self, why: Why, at: usize) -> Option<usize> {
        self.wrong = Malformed { why, at };
        None
    }
}

/// The numbers fit, since no body is longer than 31 bits say.
const fn node(start: usize, end: usize, more: usize) -> Node {
    Node { start: start as u32, end: end as u32, more: more as u32 }
}

/// A bit for each byte of a block that is a quote, a backslash or a control character.
fn mask(block: &[u8; BLOCK]) -> u64 {
    /// Moves the lowest bits of eight bytes, the first of them lowest, into the topmost byte.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let ends = block.map(|byte| u8::from((byte == b'"') | (byte == b'\\') | (byte < b' ')));
    let (words, _) = ends.as_chunks();
    let bytes = words.iter().map(|word| u64::from_le_bytes(*word).wrapping_mul(GATHER) >> 56);
    bytes.enumerate().fold(0, |mask, (place, byte)| mask | byte << (place * 8))
}

/// As [`Reader::plain`], for a text that is long.
fn long(body: &[u8], at: usize) -> usize {
    let Some(rest) = body.get(at..) else { return body.len() };
    let run = memchr2(b'"', b'\\', rest).map_or(rest, |end| rest.get(..end).unwrap_or_default());
    // A minimum over all bytes is a loop without a branch; the search behind it runs once, in a body that is refused.
    let least = run.iter().fold(u8::MAX, |least, byte| least.min(*byte));
    let control = if least < b' ' { run.iter().position(|byte| *byte < b' ') } else { None };
    at + control.unwrap_or(run.len())
}
