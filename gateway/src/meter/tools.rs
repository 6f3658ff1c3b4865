//! How many calls of tools an answer has, of its client's and of its provider's, and how many searches that no usage object counts; and whether
//! its provider ran what is billed by the session or the image, which no answer states.
//!
//! A dialect says where each stands as a path of members, in an answer and in a frame of one. A document is followed byte by byte,
//! so that one of any size and in any pieces counts the same; what a tool is called with lies beside that path and never on it.

use std::sync::LazyLock;

use memchr::{memchr2, memmem::Finder};

/// Where the calls of a dialect stand.
#[derive(Debug)]
pub(super) struct Tools {
    /// In an answer that is one document.
    pub(super) whole: &'static [&'static Where],
    /// In a frame of one that is streamed.
    pub(super) frame: &'static [&'static Where],
}

/// Where they stand in a document.
#[derive(Debug)]
pub(super) struct Where {
    /// What every document with any has, to be searched for first.
    pub(super) sign: LazyLock<Finder<'static>>,
    pub(super) places: &'static [Place],
}

/// A text that each of them has once: the names of the members that lead to it, `*` for the items of a list, and how it ends. An empty text
/// is none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    of: Of,
    path: &'static [&'static str],
    end: &'static str,
}

/// What stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    /// A call of a tool.
    Call,
    /// A search that the provider ran.
    Search,
    /// A query of a search, of which each document has all so far.
    Query,
    /// A search of what is not the web.
    Other,
    /// A query of such a search, of which each document has all so far.
    OtherQuery,
    /// What such a search found; it is one for all of an answer.
    Found,
    /// What is billed by what no answer states.
    Untold,
    /// That the provider searched, and not how often.
    Searched,
    /// What code that the provider ran gave back.
    Ran,
    /// Who called, if that was such code.
    Within,
    /// One of these of a document that has all of them.
    All(Once),
}

/// What is told one by one, and once more with all the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Once {
    Call,
    Search,
    Other,
}

impl Place {
    /// A call that has a text there.
    pub(super) const fn call(path: &'static [&'static str]) -> Self {
        Self { of: Of::Call, path, end: "" }
    }

    /// A call that has a text there which ends so.
    pub(super) const fn call_of(path: &'static [&'static str], end: &'static str) -> Self {
        Self { of: Of::Call, path, end }
    }

    /// A search that has a text there which ends so.
    pub(super) const fn search_of(path: &'static [&'static str], end: &'static str) -> Self {
        Self { of: Of::Search, path, end }
    }

    /// The same where all of them stand together, told before or not.
    pub(super) const fn of_all(what: Once, path: &'static [&'static str], end: &'static str) -> Self {
        Self { of: Of::All(what), path, end }
    }

    /// A query of a search.
    pub(super) const fn query(path: &'static [&'static str]) -> Self {
        Self { of: Of::Query, path, end: "" }
    }

    /// A search of what is not the web that has a text there which ends so.
    pub(super) const fn other_of(path: &'static [&'static str], end: &'static str) -> Self {
        Self { of: Of::Other, path, end }
    }

    /// A query of such a search.
    pub(super) const fn other_query(path: &'static [&'static str]) -> Self {
        Self { of: Of::OtherQuery, path, end: "" }
    }

    /// What such a search found.
    pub(super) const fn found(path: &'static [&'static str]) -> Self {
        Self { of: Of::Found, path, end: "" }
    }

    /// What is billed by what no answer states, and has a text there which ends so.
    pub(super) const fn untold_of(path: &'static [&'static str], end: &'static str) -> Self {
        Self { of: Of::Untold, path, end }
    }

    /// That the provider searched, by a text there which ends so.
    pub(super) const fn searched_of(path: &'static [&'static str], end: &'static str) -> Self {
        Self { of: Of::Searched, path, end }
    }

    /// What code that the provider ran gave back, which has a text there that ends so.
    pub(super) const fn ran_of(path: &'static [&'static str], end: &'static str) -> Self {
        Self { of: Of::Ran, path, end }
    }

    /// Who called, by a text that begins with [`WITHIN`] where it was such code.
    pub(super) const fn within(path: &'static [&'static str]) -> Self {
        Self { of: Of::Within, path, end: "" }
    }
}

impl Tools {
    /// What calls no tools.
    pub(super) const NONE: Self = Self { whole: &[], frame: &[] };
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) calls: u64,
    pub(super) searches: u64,
    queries: u64,
    /// Searches of what is not the web: one by one, by the query, and whether any found something.
    others: (u64, u64, bool),
    /// Whether there is anything that is billed by what no answer states.
    pub(super) untold: bool,
    /// Whether the provider searched, which may be as often as only its usage says.
    pub(super) searched: bool,
    /// Whether the provider ran code, and whether that called something.
    pub(super) ran: bool,
    pub(super) within: bool,
    /// Calls, searches and searches of something else, of a document that has all of them.
    all: (u64, u64, u64),
}

impl Counted {
    /// Counts what is in a document.
    pub(super) fn count(&mut self, stand: &[&Where], document: &[u8]) {
        for stand in stand.iter().filter(|stand| stand.sign.find(document).is_some()) {
            let mut counter = Counter::new(std::slice::from_ref(stand));
            counter.push(document);
            self.add(counter.counted);
        }
    }

    /// Takes what was counted in another document.
    pub(super) fn add(&mut self, other: Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.searches = self.searches.saturating_add(other.searches);
        self.queries = self.queries.max(other.queries);
        // Who comes late to a stream is told of the first of them only at its end.
        let (all, more) = (self.all, other.all);
        self.all = (all.0.max(more.0), all.1.max(more.1), all.2.max(more.2));
        (self.calls, self.searches) = (self.calls.max(self.all.0), self.searches.max(self.all.1));
        let (ours, theirs) = (self.others, other.others);
        let one_by_one = ours.0.saturating_add(theirs.0).max(self.all.2);
        self.others = (one_by_one, ours.1.max(theirs.1), ours.2 || theirs.2);
        self.untold |= other.untold;
        self.searched |= other.searched;
        self.ran |= other.ran;
        self.within |= other.within;
    }

    /// The searches of what is not the web: files, maps, images.
    pub(super) fn others(&self) -> u64 {
        let (one_by_one, queries, found) = self.others;
        one_by_one.saturating_add(queries).saturating_add(found.into())
    }

    /// The searches that are billed: of each query, or of older models of Google one for all of an answer.
    pub(super) fn billed(&self, model: &str) -> u64 {
        let older = ["gemini-1", "gemini-2"].iter().any(|older| model.contains(older));
        self.searches.saturating_add(if older { self.queries.min(1) } else { self.queries })
    }
}

/// What calls from within code are marked with, with a date behind it.
const WITHIN: &[u8] = b"code_execution_";
/// The most places of a dialect.
const PLACES: usize = 32;
/// The longest path is shorter.
const DEEPEST: usize = 64;
/// The longest name of a member on a path, and the longest end of a text, are shorter.
const KEPT: usize = 24;

/// Follows a document, piece by piece.
#[derive(Debug, Default)]
pub(super) struct Counter {
    places: Vec<Place>,
    /// How many members of each path lead to where the document is.
    led: [usize; PLACES],
    /// Whether the member that has been named last is the next one on each path.
    named: [bool; PLACES],
    /// How many lists and objects are open, and which of the outer ones are lists.
    depth: usize,
    lists: u64,
    in_text: bool,
    escaped: bool,
    /// The end of the text that was read last.
    text: Vec<u8>,
    pub(super) counted: Counted,
}

impl Counter {
    pub(super) fn new(stand: &[&Where]) -> Self {
        let places: Vec<Place> = stand.iter().flat_map(|stand| stand.places).copied().collect();
        debug_assert!(places.len() <= PLACES, "a dialect has more places");
        Self { places, text: Vec::with_capacity(2 * KEPT), ..Self::default() }
    }

    /// Takes the next piece.
    pub(super) fn push(&mut self, piece: &[u8]) {
        if self.places.is_empty() {
            return;
        }
        let mut at = 0;
        while let Some(byte) = piece.get(at).copied() {
            if self.in_text {
                at = self.pass_text(piece, at);
                continue;
            }
            match byte {
                b'"' => {
                    self.in_text = true;
                    self.text.clear();
                }
                b':' => self.name(),
                b',' => self.named = [false; PLACES],
                b'{' | b'[' => self.open(byte == b'['),
                b'}' | b']' => self.close(),
                _ => {}
            }
            at += 1;
        }
    }

    /// Goes behind the quote that ends the text, or to the end of the piece.
    fn pass_text(&mut self, piece: &[u8], from: usize) -> usize {
        if std::mem::take(&mut self.escaped) {
            self.keep(piece.get(from..=from));
            return from + 1;
        }
        let rest = piece.get(from..).unwrap_or_default();
        let Some(length) = memchr2(b'"', b'\\', rest) else {
            self.keep(Some(rest));
            return piece.len();
        };
        self.keep(rest.get(..length));
        if rest.get(length) == Some(&b'\\') {
            self.escaped = true;
        } else {
            self.in_text = false;
            self.value();
        }
        from + length + 1
    }

    fn keep(&mut self, text: Option<&[u8]>) {
        let text = text.unwrap_or_default();
        self.text.extend_from_slice(text.get(text.len().saturating_sub(KEPT)..).unwrap_or_default());
        self.text.drain(..self.text.len().saturating_sub(KEPT));
    }

    /// Whether the next value is what a path leads to behind the members before.
    fn is_next(&self, place: usize, path: &[&str]) -> bool {
        let Some(outer) = self.depth.checked_sub(1).filter(|outer| *outer < path.len()) else { return false };
        let leads = self.led.get(place) == Some(&outer);
        let is_list = self.lists >> outer & 1 == 1;
        leads && if is_list { path.get(outer) == Some(&"*") } else { self.named.get(place) == Some(&true) }
    }

    /// The text that was read last is the name of a member.
    fn name(&mut self) {
        for (named, place) in self.named.iter_mut().zip(&self.places) {
            let wanted = self.depth.checked_sub(1).and_then(|outer| place.path.get(outer));
            *named = wanted.is_some_and(|name| self.text == name.as_bytes());
        }
    }

    /// The text that was read last is a value, unless it turns out to be a name, which no member before it has named.
    fn value(&mut self) {
        for (number, place) in self.places.iter().enumerate() {
            let fits = !self.text.is_empty() && self.text.ends_with(place.end.as_bytes());
            if fits && place.path.len() == self.depth && self.is_next(number, place.path) {
                match place.of {
                    Of::Call => self.counted.calls += 1,
                    Of::Search => self.counted.searches += 1,
                    Of::Query => self.counted.queries += 1,
                    Of::Other => self.counted.others.0 += 1,
                    Of::OtherQuery => self.counted.others.1 += 1,
                    Of::Found => self.counted.others.2 = true,
                    Of::Untold => self.counted.untold = true,
                    Of::Searched => self.counted.searched = true,
                    Of::Ran => self.counted.ran = true,
                    Of::Within => self.counted.within |= self.text.starts_with(WITHIN),
                    Of::All(Once::Call) => self.counted.all.0 += 1,
                    Of::All(Once::Search) => self.counted.all.1 += 1,
                    Of::All(Once::Other) => self.counted.all.2 += 1,
                }
            }
        }
    }

    fn open(&mut self, is_list: bool) {
        for (number, place) in self.places.iter().enumerate() {
            if self.is_next(number, place.path) {
                self.led[number] = self.depth;
            }
        }
        // Beyond what a path leads to it does not matter which are lists.
        if self.depth < DEEPEST {
            self.lists = self.lists & !(1 << self.depth) | u64::from(is_list) << self.depth;
        }
        self.depth += 1;
        self.named = [false; PLACES];
    }

    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        for led in &mut self.led {
            *led = (*led).min(self.depth.saturating_sub(1));
        }
        self.named = [false; PLACES];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACES: &[Place] = &[
        Place::call(&["choices", "*", "message", "tool_calls", "*", "function", "name"]),
        Place::call_of(&["output", "*", "type"], "_call"),
        Place::call(&["*", "name"]),
    ];
    static STAND: Where = Where { sign: LazyLock::new(|| Finder::new("")), places: PLACES };

    fn check(document: &str, calls: u64) {
        for size in [1, 2, 3, 7, usize::MAX] {
            let mut counter = Counter::new(&[&STAND]);
            document.as_bytes().chunks(size).for_each(|piece| counter.push(piece));
            assert_eq!(counter.counted.calls, calls, "in pieces of {size}: {document}");
        }
    }

    #[test]
    fn a_call_counts_where_it_stands_and_nowhere_else() {
        let call =
            |name: &str| format!(r#"{{"id":"c","function":{{"arguments":"{{\"name\":\"x\"}}","name":"{name}"}}}}"#);
        let (one, none) = (call("look"), call(""));
        check(
            &format!(
                r#"{{"choices":[{{"message":{{"tool_calls":[{one},{one}]}}}},{{"message":{{"tool_calls":[{one}]}}}}]}}"#
            ),
            3,
        );
        check(&format!(r#"{{"choices":[{{"message":{{"tool_calls":[{none}],"name":"a"}}}}],"name":"b"}}"#), 0);
        // Elsewhere, though the names are the same.
        check(
            &format!(
                r#"{{"x":[{{"message":{{"tool_calls":[{one}]}}}}],"choices":{{"message":{{"tool_calls":[{one}]}}}}}}"#
            ),
            0,
        );
        check(&format!(r#"{{"choices":[[{{"message":{{"tool_calls":[{one}]}}}}]]}}"#), 0);
        check(
            r#"{"output":[{"type":"message"},{"type":"function_call","arguments":"_call"},{"type":"web_search_call"}]}"#,
            2,
        );
        check(
            r#"{"output":[{"type":["function_call"]},{"type":{"type":"function_call"}},{"a":"type","b":"x_call"}]}"#,
            0,
        );
        check(r#"[{"name":"a\"\\"},{"name":"b"},{"name":1,"c":"d"}]"#, 2);
        let (open, close) = ("[{\"name\":".repeat(DEEPEST), "}]".repeat(DEEPEST));
        check(&format!(r#"{open}"a"{close}"#), 0);
    }
}
