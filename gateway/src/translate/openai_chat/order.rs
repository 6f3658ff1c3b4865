//! Where reasoning stood among the words and calls of a chat's message, which has one list for each.
//!
//! Claude thinks between its calls, and refuses thinking that comes back elsewhere. So an entry of `reasoning_details` that stood behind
//! something says behind how much: `after`, with the characters of text and the calls before it. One that says nothing stood in front.

use std::collections::VecDeque;

use crate::translate::{
    fields::{Fields, Read},
    hub::{Part, What},
    json::{Json, object},
    seal::Kind,
};

/// How much of a message there was before something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct After {
    pub(crate) chars: u64,
    pub(crate) calls: u64,
}

impl After {
    pub(crate) fn say(&mut self, text: &str) {
        self.chars = self.chars.saturating_add(count(text));
    }

    /// Writes it into an entry, unless nothing was before it.
    pub(crate) fn write(self, detail: &mut Json) {
        if self != Self::default() {
            detail.put("after", object! { "text": self.chars, "calls": self.calls });
        }
    }

    pub(crate) fn read(detail: &mut Fields<'_>) -> Read<Self> {
        let Some(mut after) = detail.object("after")? else { return Ok(Self::default()) };
        let found =
            Self { chars: after.count("text")?.unwrap_or_default(), calls: after.count("calls")?.unwrap_or_default() };
        after.done().map(|()| found)
    }
}

fn count(text: &str) -> u64 {
    u64::try_from(text.chars().count()).unwrap_or(u64::MAX)
}

/// Puts reasoning to where it stood. Of text and calls in between the text came first, as models write them.
pub(crate) fn put_back(parts: Vec<Part>, reasoning: Vec<(After, Part)>) -> Vec<Part> {
    let is_called = |part: &Part| {
        matches!(&part.what, What::Call(_)) || matches!(&part.what, What::Sealed(seal) if seal.kind == Kind::Call)
    };
    let (calls, words): (VecDeque<Part>, VecDeque<Part>) = parts.into_iter().partition(is_called);
    let (mut put, mut words, mut calls, mut said) = (Vec::new(), words, calls, After::default());
    for (after, part) in reasoning {
        while said.chars < after.chars
            && let Some(next) = words.pop_front()
        {
            let (before, behind) = split(next, after.chars - said.chars);
            said.say(before.text().map_or("", String::as_str));
            put.push(before);
            behind.into_iter().for_each(|behind| words.push_front(behind));
        }
        while said.calls < after.calls
            && let Some(next) = calls.pop_front()
        {
            said.calls += u64::from(matches!(next.what, What::Call(_)));
            put.push(next);
        }
        put.push(part);
    }
    put.extend(words);
    put.extend(calls);
    put
}

/// A text up to so many characters, and what is behind them; another part is whole.
fn split(part: Part, chars: u64) -> (Part, Option<Part>) {
    let place = usize::try_from(chars).unwrap_or(usize::MAX);
    let cut = part.text().and_then(|text| {
        let (end, _) = text.char_indices().nth(place)?;
        text.split_at_checked(end).map(|(before, behind)| (before.to_owned(), behind.to_owned()))
    });
    let Some((before, behind)) = cut else { return (part, None) };
    (Part::new(part.at.clone(), What::Text(before)), Some(Part { what: What::Text(behind), ..part }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::translate::{hub::Call, seal::Seal};

    fn call(id: &str) -> Part {
        Part::new(id, What::Call(Call { id: id.to_owned(), ..Call::default() }))
    }

    fn text(said: &str) -> Part {
        Part::new("t", What::Text(said.to_owned()))
    }

    fn check(parts: Vec<Part>, reasoning: &[(u64, u64, &str)], wanted: &[&str]) {
        let thought = |(chars, calls, said): &(u64, u64, &str)| {
            let part = Part::new("r", What::Thinking((*said).to_owned(), Seal::none()));
            (After { chars: *chars, calls: *calls }, part)
        };
        let put = put_back(parts, reasoning.iter().map(thought).collect());
        let said = put.iter().map(|part| match &part.what {
            What::Text(said) | What::Thinking(said, _) => said.clone(),
            What::Call(call) => call.id.clone(),
            _ => "proof".to_owned(),
        });
        assert_eq!(said.collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn reasoning_goes_to_where_it_stood() {
        let parts = || vec![text("first"), call("a"), call("b")];
        check(parts(), &[(0, 0, "1"), (5, 1, "2")], &["1", "first", "a", "2", "b"]);
        check(parts(), &[(0, 0, "1"), (0, 0, "2")], &["1", "2", "first", "a", "b"]);
        check(parts(), &[(2, 0, "1"), (2, 1, "2")], &["fi", "1", "a", "2", "rst", "b"]);
        check(parts(), &[(99, 0, "1"), (99, 99, "2")], &["first", "1", "a", "b", "2"]);
        check(vec![text("\u{e9}t\u{e9}"), call("a")], &[(1, 0, "1")], &["\u{e9}", "1", "t\u{e9}", "a"]);
        check(vec![text("ab"), text("cd")], &[(2, 0, "1"), (3, 0, "2")], &["ab", "1", "c", "2", "d"]);
        let proof = Part::new("p", What::Sealed(Seal { kind: Kind::Call, ..Seal::none() }));
        check(vec![call("a"), proof, call("b")], &[(0, 1, "1")], &["a", "1", "proof", "b"]);
    }
}
