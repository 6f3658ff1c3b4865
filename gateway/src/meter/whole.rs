//! An answer that is one JSON document, of any size, read once as it arrives; or, where its API answers so, sound or plain text, which
//! says nothing of its use and ends where its body ends.
//!
//! Up to [`KEPT_MAX`] it is kept by reference and parsed at its end. Beyond that, or where it breaks off, a scanner follows depth
//! and strings only and copies out the top-level members that matter, and of what an answer has several of why each ended, so a document
//! of 60 MB costs no memory; it does not check that the rest is valid JSON. One chunk is always held back, so that the attempt can be settled before the client has all of it.

use std::collections::VecDeque;

use bytes::Bytes;
use memchr::memchr2;
use schemas::json::{Kind, Tree, Value};

use super::{Frame, Tally, Verdict, tools::Counter};

/// The top-level members that any dialect reads.
const WANTED: [&[u8]; 31] = [
    b"id",
    b"model",
    b"service_tier",
    b"usage",
    b"x_groq",
    b"error",
    b"type",
    b"object",
    b"status",
    b"background",
    b"created_at",
    b"stop_reason",
    b"stopReason",
    b"finish_reason",
    b"usageMetadata",
    b"modelVersion",
    b"responseId",
    b"meta",
    b"response_id",
    b"generation_id",
    b"prompt_eval_count",
    b"eval_count",
    b"done",
    b"prompt_token_count",
    b"generation_token_count",
    b"inputTextTokenCount",
    b"totalTokens",
    b"serviceTier",
    b"performanceConfig",
    b"amazon-bedrock-guardrailAction",
    b"container",
];
/// The top-level lists of what an answer has several of, and the members of their items that say that one has failed.
const LISTS: [&[u8]; 2] = [b"choices", b"candidates"];
const REASONS: [&[u8]; 3] = [b"finish_reason", b"finishReason", b"error"];
/// The most that is copied out of one of these lists; of a longer one nothing is.
const LISTED_MAX: usize = 16 * 1024;
/// The longest of all these names is shorter than this; a longer key is none of them.
const KEY_MAX: usize = 32;
/// The most that is copied out of a document.
const COPIED_MAX: usize = 256 * 1024;
/// The largest document that is kept until its end; most have a few kilobytes.
const KEPT_MAX: usize = 256 * 1024;
/// The members that hold output text, wherever they stand in the answer.
const TEXT: [&str; 7] = ["content", "text", "arguments", "reasoning_content", "reasoning", "refusal", "thinking"];

/// The body of an answer that is not streamed.
#[derive(Debug)]
pub(super) struct Whole {
    held: Option<Bytes>,
    reading: Reading,
}

/// How a document is read.
#[derive(Debug)]
enum Reading {
    /// Not at all, or not any more.
    Not,
    /// At its end: what has come, and how much that is.
    Kept(Vec<Bytes>, usize),
    /// As it comes, since it is large.
    Scanned(Box<Scanner>),
}

impl Whole {
    pub(super) const fn new(look: bool) -> Self {
        Self { held: None, reading: if look { Reading::Kept(Vec::new(), 0) } else { Reading::Not } }
    }

    pub(super) fn push(&mut self, chunk: Bytes, tally: &Tally, out: &mut VecDeque<Frame>) {
        if chunk.is_empty() {
            return;
        }
        match &mut self.reading {
            Reading::Not => {}
            Reading::Scanned(scanner) => scanner.scan(&chunk),
            Reading::Kept(chunks, size) => {
                *size = size.saturating_add(chunk.len());
                chunks.push(chunk.clone());
                if *size > KEPT_MAX {
                    let mut scanner = Box::new(Scanner::new(tally));
                    chunks.iter().for_each(|chunk| scanner.scan(chunk));
                    self.reading = Reading::Scanned(scanner);
                }
            }
        }
        if let Some(bytes) = self.held.replace(chunk) {
            out.push_back(Frame { bytes, verdict: Verdict::Pass });
        }
    }

    /// Whether with this chunk it turns out to be a list.
    pub(super) fn begins_list(&self, chunk: &[u8]) -> bool {
        let Reading::Kept(before, _) = &self.reading else { return false };
        let is_blank = before.iter().all(|chunk| chunk.trim_ascii().is_empty());
        is_blank && chunk.trim_ascii_start().first() == Some(&b'[')
    }

    /// What is held back.
    pub(super) const fn take_held(&mut self) -> Option<Bytes> {
        self.held.take()
    }

    pub(super) fn close(&mut self, tally: &mut Tally, out: &mut VecDeque<Frame>) {
        match std::mem::replace(&mut self.reading, Reading::Not) {
            Reading::Not => {}
            Reading::Scanned(scanner) => scanned(&scanner, tally),
            Reading::Kept(chunks, _) => {
                let document = match chunks.as_slice() {
                    [one] => one.clone(),
                    several => Bytes::from(several.concat()),
                };
                kept(&document, tally);
            }
        }
        out.extend(self.held.take().map(|bytes| Frame { bytes, verdict: Verdict::Last }));
    }
}

/// Reads a document that has come to its end.
fn kept(document: &[u8], tally: &mut Tally) {
    if tally.whole(document) {
        tally.facts.ended = true;
    } else {
        let mut scanner = Scanner::new(tally);
        scanner.scan(document);
        scanned(&scanner, tally);
    }
    if tally.wants_text()
        && let Ok(tree) = Tree::read_answer(document)
    {
        collect(tree.root(), tally);
    }
}

/// Takes what a scanner found.
fn scanned(scanner: &Scanner, tally: &mut Tally) {
    tally.facts.ended = scanner.depth == 0 && scanner.begun;
    tally.facts.is_brief = true;
    // Of what was only scanned there is no text to estimate usage from: if it is not reported, it is not known.
    // Whether it has failed may depend on whether it calls anything, which is not in what was copied.
    tally.facts.called = scanner.calls.counted;
    let read = tally.whole(scanner.summary().as_bytes()) && scanner.is_readable();
    if !(read && tally.facts.ended) && tally.may_be_no_document() {
        tally.facts.ended = true;
    } else if !read || tally.facts.ended && tally.wants_text() {
        tally.unreadable();
    }
}

fn collect(value: Value<'_>, tally: &mut Tally) {
    match value.kind() {
        Kind::List(items) => items.for_each(|item| collect(item, tally)),
        Kind::Object(members) => {
            for (name, member) in members {
                match member.text() {
                    Some(text) if TEXT.iter().any(|known| name == **known) => tally.text(&text.decoded()),
                    _ => collect(member, tally),
                }
            }
        }
        _ => {}
    }
}

/// Where in the document the scanner is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Where a key may come, or in one.
    #[default]
    Key,
    /// Behind a key, up to the comma.
    Value {
        /// Whether it is copied out.
        wanted: bool,
    },
}

/// Where it is in one of [`LISTS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum List {
    /// In none.
    #[default]
    None,
    /// Behind its name.
    Named,
    /// Between its items.
    Open,
    /// In an item, which is an object.
    Item,
}

/// Follows a document byte by byte and copies out what is wanted.
#[derive(Debug, Default)]
struct Scanner {
    depth: u32,
    in_string: bool,
    escaped: bool,
    begun: bool,
    not_an_object: bool,
    too_large: bool,
    place: Place,
    list: List,
    key: Vec<u8>,
    /// The wanted members, as `"key":value,` one after the other.
    copied: Vec<u8>,
    /// How much of `copied` is whole members.
    whole: usize,
    calls: Counter,
}

impl Scanner {
    fn new(tally: &Tally) -> Self {
        Self { calls: Counter::new(tally.tools().whole), ..Self::default() }
    }

    fn is_readable(&self) -> bool {
        self.begun && !self.not_an_object && !self.too_large
    }

    /// The document without what is not wanted.
    fn summary(&self) -> String {
        let members = String::from_utf8_lossy(self.copied.get(..self.whole).unwrap_or_default());
        format!("{{{}}}", members.trim_end_matches(','))
    }

    fn scan(&mut self, chunk: &[u8]) {
        self.calls.push(chunk);
        // What is wanted is copied from `from` on when it ends, or with the chunk.
        let (mut at, mut from) = (0, 0);
        while let Some(byte) = chunk.get(at).copied() {
            if self.in_string {
                at = self.skip_string(chunk, at);
                continue;
            }
            match byte {
                b'"' => self.open_string(),
                b'{' | b'[' => self.open(byte),
                b'}' | b']' => self.close(chunk.get(from..at)),
                b':' if self.has_members() && self.place == Place::Key => {
                    self.begin_value();
                    from = at + 1;
                }
                b',' if self.has_members() => self.end_value(chunk.get(from..at)),
                b' ' | b'\t' | b'\r' | b'\n' => {}
                _ => self.not_an_object |= !self.begun,
            }
            at += 1;
        }
        self.copy(chunk.get(from..));
    }

    /// Whether members stand here that may be wanted: at the top, or in an item of a list.
    fn has_members(&self) -> bool {
        self.depth == if self.list == List::Item { 3 } else { 1 }
    }

    fn open(&mut self, byte: u8) {
        self.not_an_object |= !self.begun && byte == b'[';
        self.begun = true;
        match (self.list, self.depth, byte) {
            (List::Named, 1, b'[') if self.copied.len() < COPIED_MAX => {
                self.list = List::Open;
                self.copied.push(b'"');
                self.copied.append(&mut self.key);
                self.copied.extend_from_slice(b"\":[");
            }
            (List::Open, 2, b'{') if self.listed() > LISTED_MAX => self.leave_list(),
            (List::Open, 2, b'{') => {
                (self.list, self.place) = (List::Item, Place::Key);
                self.key.clear();
                self.copied.push(b'{');
            }
            _ => {}
        }
        self.depth = self.depth.saturating_add(1);
    }

    fn close(&mut self, rest: Option<&[u8]>) {
        if self.has_members() {
            self.end_value(rest);
        }
        match (self.list, self.depth) {
            (List::Item, 3) => {
                self.end_copied(b"},");
                (self.list, self.place) = (List::Open, Place::Value { wanted: false });
            }
            (List::Open, 2) => {
                self.end_copied(b"],");
                (self.list, self.whole) = (List::None, self.copied.len());
            }
            _ => {}
        }
        self.depth = self.depth.saturating_sub(1);
    }

    /// Ends what was copied of a list or of its item.
    fn end_copied(&mut self, end: &[u8]) {
        if self.copied.ends_with(b",") {
            self.copied.pop();
        }
        self.copied.extend_from_slice(end);
    }

    /// How much was copied of the list that is open.
    const fn listed(&self) -> usize {
        self.copied.len().saturating_sub(self.whole)
    }

    /// Nothing of the list that is open is copied.
    fn leave_list(&mut self) {
        self.copied.truncate(self.whole);
        (self.list, self.place) = (List::None, Place::Value { wanted: false });
    }

    fn open_string(&mut self) {
        self.not_an_object |= !self.begun;
        self.in_string = true;
        if self.has_members() && self.place == Place::Key {
            self.key.clear();
        }
    }

    /// Goes to behind the quote that closes the string, or to the end of the chunk.
    fn skip_string(&mut self, chunk: &[u8], from: usize) -> usize {
        let mut at = from;
        if self.escaped {
            self.escaped = false;
            at += 1;
        }
        let next = memchr2(b'"', b'\\', chunk.get(at..).unwrap_or_default()).map(|next| at + next);
        let end = next.unwrap_or(chunk.len());
        if self.has_members() && self.place == Place::Key && self.key.len() < KEY_MAX {
            let piece = chunk.get(from..end).unwrap_or_default();
            self.key.extend_from_slice(piece.get(..KEY_MAX.min(piece.len())).unwrap_or_default());
        }
        match next.and_then(|next| chunk.get(next)) {
            Some(b'"') => self.in_string = false,
            Some(_) => self.escaped = true,
            None => return chunk.len(),
        }
        end + 1
    }

    fn begin_value(&mut self) {
        let names: &[&[u8]] = if self.list == List::Item { &REASONS } else { &WANTED };
        let wanted = !self.too_large && names.contains(&self.key.as_slice());
        self.place = Place::Value { wanted };
        if self.list != List::Item {
            let is_list = !self.too_large && LISTS.contains(&self.key.as_slice());
            self.list = if is_list { List::Named } else { List::None };
        }
        if wanted {
            self.copied.push(b'"');
            self.copied.append(&mut self.key);
            self.copied.extend_from_slice(b"\":");
        }
    }

    fn end_value(&mut self, rest: Option<&[u8]>) {
        self.copy(rest);
        if (self.place == Place::Value { wanted: true }) {
            self.copied.push(b',');
            if self.list != List::Item {
                self.whole = self.copied.len();
            }
        }
        self.place = Place::Key;
        self.key.clear();
    }

    fn copy(&mut self, piece: Option<&[u8]>) {
        if let (Place::Value { wanted: true }, Some(piece)) = (self.place, piece) {
            if self.list == List::Item && self.listed() + piece.len() > LISTED_MAX {
                self.leave_list();
            } else if self.copied.len() + piece.len() > COPIED_MAX {
                // Of what was copied of it nothing is used: how much that is depends on the pieces in which it came.
                self.too_large = true;
                self.place = Place::Value { wanted: false };
                self.copied.clear();
                self.whole = 0;
            } else {
                self.copied.extend_from_slice(piece);
            }
        }
    }
}
