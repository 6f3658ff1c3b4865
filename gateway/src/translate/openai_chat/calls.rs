//! The calls of a chat's answer, one after the other: the blocks of an answer do not overlap, and the calls of some servers do.
//!
//! A call that begins before the arguments of the one before it are whole waits until they are, or until the answer has come to its end.

use std::collections::{BTreeMap, VecDeque};

use crate::translate::{
    fields::{Fields, Item, Ledger, Read, Refused},
    hub::{Block, Blocks, Event},
    ids::Ids,
};

/// The most calls that wait for another.
const MOST: usize = 128;

#[derive(Debug)]
pub(crate) struct Calls {
    ids: Ids,
    /// The ids of those that have begun, by the provider's index.
    known: BTreeMap<u64, Option<String>>,
    begun: u64,
    /// The index of the one that is said, or was last, and how far its arguments are.
    now: Option<(u64, Extent)>,
    waiting: VecDeque<Call>,
}

#[derive(Debug)]
struct Call {
    place: u64,
    id: String,
    name: String,
    arguments: String,
}

/// How far a JSON object is that comes in pieces.
#[derive(Debug, Default)]
struct Extent {
    has_begun: bool,
    depth: u32,
    in_string: bool,
    is_escaped: bool,
}

impl Extent {
    fn take(&mut self, piece: &str) {
        for byte in piece.bytes() {
            match byte {
                _ if std::mem::take(&mut self.is_escaped) => {}
                b'\\' => self.is_escaped = self.in_string,
                b'"' => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'{' | b'[' => (self.has_begun, self.depth) = (true, self.depth.saturating_add(1)),
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }

    const fn is_whole(&self) -> bool {
        self.has_begun && self.depth == 0
    }
}

impl Calls {
    pub(crate) fn new(ids: Ids) -> Self {
        Self { ids, known: BTreeMap::new(), begun: 0, now: None, waiting: VecDeque::new() }
    }

    /// Takes a piece of a call.
    pub(crate) fn read(
        &mut self,
        call: Item<'_>,
        blocks: &mut Blocks,
        out: &mut Vec<Event>,
        ledger: &mut Ledger,
    ) -> Read<()> {
        let mut call = call.object()?;
        let id = call.text("id")?.filter(|id| !id.is_empty());
        let index = call.count("index")?;
        let Some(function) = call.object("function")? else {
            ledger.note(call.at);
            return Ok(());
        };
        // Who numbers none says one after the other.
        let is_more = id.is_none() && function.clone().text("name")?.is_none_or(|name| name.is_empty());
        let last = self.now.as_ref().filter(|_| is_more).map(|(now, _)| *now);
        self.take((index.or(last).unwrap_or(self.begun), id), function, blocks, out)
    }

    /// Takes a piece of what the call at an index calls.
    pub(crate) fn take(
        &mut self,
        (place, id): (u64, Option<String>),
        mut function: Fields<'_>,
        blocks: &mut Blocks,
        out: &mut Vec<Event>,
    ) -> Read<()> {
        let name = function.text("name")?.filter(|name| !name.is_empty());
        let arguments = function.text("arguments")?.unwrap_or_default();
        if name.is_none() && arguments.is_empty() {
            return Ok(());
        }
        let known = self.known.get(&place);
        // Some servers number every call 0, so it is the id that tells them apart.
        if known.is_none_or(|known| id.is_some() && *known != id) {
            let name = name.ok_or_else(|| Refused::form(function.path("name"), "a call begins without a name"))?;
            self.known.insert(place, id.clone());
            self.begun += 1;
            let call = Call { place, id: id.unwrap_or_else(|| self.ids.make()), name, arguments };
            if !self.waits(place, blocks) {
                self.begin(call, blocks, out);
            } else if self.waiting.len() < MOST {
                self.waiting.push_back(call);
            } else {
                return Err(Refused::form(function.at, "more calls have begun than are taken before one is whole"));
            }
        } else if let Some(call) = self.waiting.iter_mut().rfind(|call| call.place == place) {
            call.arguments.push_str(&arguments);
        } else if !arguments.is_empty() {
            let is_said = self.now.as_ref().is_some_and(|(now, _)| *now == place);
            if !is_said || !matches!(blocks.is_open(), Some(Block::Call { .. })) {
                return Err(Refused::form(function.at, "a call goes on after another has begun"));
            }
            self.more(arguments, out);
        }
        while self.now.as_ref().is_some_and(|(_, extent)| extent.is_whole())
            && let Some(call) = self.waiting.pop_front()
        {
            self.begin(call, blocks, out);
        }
        Ok(())
    }

    /// Says all that waits: nothing more comes.
    pub(crate) fn end(&mut self, blocks: &mut Blocks, out: &mut Vec<Event>) {
        while let Some(call) = self.waiting.pop_front() {
            self.begin(call, blocks, out);
        }
    }

    /// Whether the call that is said has more to come before another may begin.
    fn waits(&self, place: u64, blocks: &Blocks) -> bool {
        self.goes_on(blocks) && self.now.as_ref().is_some_and(|(now, _)| *now != place)
    }

    /// Whether a call is open that has more to come.
    pub(crate) fn goes_on(&self, blocks: &Blocks) -> bool {
        let is_open = matches!(blocks.is_open(), Some(Block::Call { .. }));
        is_open && self.now.as_ref().is_some_and(|(_, extent)| !extent.is_whole())
    }

    fn begin(&mut self, call: Call, blocks: &mut Blocks, out: &mut Vec<Event>) {
        let Call { place, id, name, arguments } = call;
        blocks.close(out);
        blocks.open(Block::Call { id, name }, out);
        self.now = Some((place, Extent::default()));
        self.more(arguments, out);
    }

    fn more(&mut self, arguments: String, out: &mut Vec<Event>) {
        if let Some((_, extent)) = self.now.as_mut().filter(|_| !arguments.is_empty()) {
            extent.take(&arguments);
            out.push(Event::More(arguments));
        }
    }
}

#[cfg(test)]
mod tests {
    use schemas::json::Tree;

    use super::*;
    use crate::translate::seal::Maker;

    /// What is said of calls that come in these pieces: each call's id and arguments, in one line.
    fn said(pieces: &[&str]) -> Read<String> {
        let (mut calls, mut blocks) = (Calls::new(Ids::new("c")), Blocks::new(Maker::Chat));
        let (mut out, mut ledger) = (Vec::new(), Ledger::default());
        for piece in pieces {
            let tree = Tree::read(piece.as_bytes()).unwrap();
            calls.read(Item::root(&tree), &mut blocks, &mut out, &mut ledger)?;
        }
        calls.end(&mut blocks, &mut out);
        blocks.close(&mut out);
        let line = out.into_iter().map(|event| match event {
            Event::Open(Block::Call { id, .. }) => format!("{id}("),
            Event::More(more) => more,
            Event::Close => ")".to_owned(),
            other => panic!("{other:?}"),
        });
        Ok(line.collect())
    }

    fn begins(index: u64, id: &str, arguments: &str) -> String {
        let arguments = serde_json::to_string(arguments).unwrap();
        format!(r#"{{"index":{index},"id":"{id}","function":{{"name":"f","arguments":{arguments}}}}}"#)
    }

    fn goes_on(index: u64, arguments: &str) -> String {
        let arguments = serde_json::to_string(arguments).unwrap();
        format!(r#"{{"index":{index},"function":{{"arguments":{arguments}}}}}"#)
    }

    #[test]
    fn calls_are_said_one_after_the_other_however_they_come() {
        let check = |pieces: &[String], wanted: &str| {
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            assert_eq!(said(&pieces).unwrap(), wanted, "{pieces:?}");
        };
        let [a, b] = [r#"{"x":"}\"{"}"#, r#"{"y":[1]}"#];
        let both = format!("a({a})b({b})");
        check(&[begins(0, "a", a), begins(1, "b", b)], &both);
        check(&[begins(0, "a", b), begins(0, "b", b)], &format!("a({b})b({b})"));
        for first in [0, 1] {
            let second = first + 1;
            check(&[begins(first, "a", ""), goes_on(first, a), begins(second, "b", ""), goes_on(second, b)], &both);
            check(
                &[
                    begins(first, "a", ""),
                    begins(second, "b", ""),
                    goes_on(second, &b[..3]),
                    goes_on(first, &a[..6]),
                    goes_on(second, &b[3..]),
                    goes_on(first, &a[6..]),
                ],
                &both,
            );
            check(
                &[
                    begins(first, "a", &a[..2]),
                    begins(second, "b", &b[..2]),
                    goes_on(first, &a[2..]),
                    goes_on(second, &b[2..]),
                ],
                &both,
            );
        }
        check(&[begins(0, "a", ""), begins(1, "b", b)], &format!("a()b({b})"));
        let unnumbered = |piece: String| piece.replace(r#""index":0,"#, "");
        check(&[begins(0, "a", ""), goes_on(0, a), begins(0, "b", ""), goes_on(0, b)].map(unnumbered), &both);
        let late = [begins(0, "a", a), begins(1, "b", b), goes_on(0, "{}")];
        assert!(said(&late.each_ref().map(String::as_str)).is_err(), "it has ended");
    }
}
