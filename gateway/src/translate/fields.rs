//! Reading a body member by member, so that none can be forgotten.
//!
//! Whoever reads an object takes its members by name; what is left when it is done is what nobody knew, and then there are two ways:
//! [`Fields::done`] refuses it by its path, [`Fields::rest`] hands its names over to be listed. A hint, which changes nothing of the
//! answer or which nobody promises to follow, is listed by name. `null` is absence. Where a name stands twice the last one counts, and
//! only that is written.

use std::borrow::Cow;

use schemas::{
    error_code::ErrorCode,
    json::{Tree, Value},
};

use crate::{json::number, translate::json::Json};

/// Why a body is not translated, and the member that is to blame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}{why}", at, if at.is_empty() { "" } else { ": " })]
pub struct Refused {
    /// Whether the body is none of its dialect, or says what cannot be carried over.
    pub blame: Blame,
    /// The path of the member, such as `messages[2].content[0]`; empty for the whole.
    pub at: String,
    /// What is wrong with it.
    pub why: Cow<'static, str>,
}

/// What is wrong with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// It is not of the dialect that it should be.
    Form,
    /// There is no place for a part of it at the target.
    Target,
}

impl Refused {
    /// The code of the error that a client gets whose request it is.
    pub const fn code(&self) -> ErrorCode {
        match self.blame {
            Blame::Form => ErrorCode::NotOfDialect,
            Blame::Target => ErrorCode::NotCarried,
        }
    }
}

pub(crate) type Read<T> = Result<T, Refused>;

impl Refused {
    pub(crate) fn form(at: impl Into<String>, why: impl Into<Cow<'static, str>>) -> Self {
        Self { blame: Blame::Form, at: at.into(), why: why.into() }
    }

    pub(crate) fn target(at: impl Into<String>, why: impl Into<Cow<'static, str>>) -> Self {
        Self { blame: Blame::Target, at: at.into(), why: why.into() }
    }
}

/// What is not carried over and not refused for it, by path. It goes into a header, so it has an end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    lines: Vec<String>,
}

/// The most that is listed: a header of 4 KiB at some 60 bytes a path. What is beyond is said to be.
const LISTED_MAX: usize = 64;

impl Ledger {
    pub(crate) fn note(&mut self, what: impl Into<String>) {
        let what = what.into();
        if self.lines.len() < LISTED_MAX && !self.lines.contains(&what) {
            self.lines.push(what);
        } else if self.lines.len() == LISTED_MAX {
            self.lines.push("and more".to_owned());
        }
    }

    pub(crate) fn lines(self) -> Vec<String> {
        self.lines
    }
}

/// The document that a body is.
pub(crate) fn document(body: &[u8]) -> Read<Tree<'_>> {
    Tree::read_answer(body).map_err(|malformed| Refused::form("", format!("it is no JSON ({:?})", malformed.why)))
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Item<'t> {
    pub(crate) at: String,
    value: Value<'t>,
}

impl<'t> Item<'t> {
    pub(crate) fn root(tree: &'t Tree<'t>) -> Self {
        Self { at: String::new(), value: tree.root() }
    }

    fn wrong(&self, what: &str) -> Refused {
        wrong(self.at.clone(), what)
    }

    pub(crate) fn object(self) -> Read<Fields<'t>> {
        let Some(members) = self.value.members() else { return Err(self.wrong("an object")) };
        let members = members.map(|(name, value)| (name.decoded(), value)).collect();
        Ok(Fields { at: self.at, members })
    }

    /// An object without the members that say nothing: a stream repeats in each event what is known.
    pub(crate) fn without(self, names: &[&str]) -> Read<Fields<'t>> {
        let Some(members) = self.value.members() else { return Err(self.wrong("an object")) };
        let members = members.filter(|(member, _)| !names.iter().any(|name| *member == **name));
        let members = members.map(|(name, value)| (name.decoded(), value)).collect();
        Ok(Fields { at: self.at, members })
    }

    pub(crate) fn list(self) -> Read<Vec<Self>> {
        let Some(items) = self.value.items() else { return Err(self.wrong("a list")) };
        Ok((0_usize..).zip(items).map(|(place, value)| Self { at: format!("{}[{place}]", self.at), value }).collect())
    }

    pub(crate) fn text(self) -> Read<String> {
        self.as_text().ok_or_else(|| self.wrong("a text"))
    }

    pub(crate) fn as_text(&self) -> Option<String> {
        self.value.word().map(Cow::into_owned)
    }

    pub(crate) fn is_list(&self) -> bool {
        self.value.items().is_some()
    }

    pub(crate) fn raw(&self) -> &'t str {
        self.value.raw()
    }

    /// The value as it was sent.
    pub(crate) fn json(&self) -> Json {
        Json::raw(self.raw()).unwrap_or(Json::Null)
    }

    pub(crate) fn refuse(&self, why: impl Into<Cow<'static, str>>) -> Refused {
        Refused::target(self.at.clone(), why)
    }
}

/// The members of an object that nobody has taken yet.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'t> {
    pub(crate) at: String,
    members: Vec<(Cow<'t, str>, Value<'t>)>,
}

impl<'t> Fields<'t> {
    pub(crate) fn path(&self, name: &str) -> String {
        if self.at.is_empty() { name.to_owned() } else { [self.at.as_str(), ".", name].concat() }
    }

    /// A member without its path, which is made only where somebody is told of it: a stream has thousands of small objects.
    fn value(&mut self, name: &str) -> Option<Value<'t>> {
        let mut found = None;
        self.members.retain(|(member, value)| {
            let is = member == name;
            if is {
                found = Some(*value);
            }
            !is
        });
        found.filter(|value| !value.is_null())
    }

    pub(crate) fn take(&mut self, name: &str) -> Option<Item<'t>> {
        let value = self.value(name)?;
        Some(Item { at: self.path(name), value })
    }

    /// A member under one of two names: some dialects have an older one, or two spellings.
    pub(crate) fn take_either(&mut self, name: &str, other: &str) -> Option<Item<'t>> {
        let second = self.take(other);
        self.take(name).or(second)
    }

    pub(crate) fn need(&mut self, name: &str) -> Read<Item<'t>> {
        self.take(name).ok_or_else(|| Refused::form(self.path(name), "it is missing"))
    }

    pub(crate) fn text(&mut self, name: &str) -> Read<Option<String>> {
        Ok(self.word(name)?.map(Cow::into_owned))
    }

    /// A text that is only looked at.
    pub(crate) fn word(&mut self, name: &str) -> Read<Option<Cow<'t, str>>> {
        let Some(value) = self.value(name) else { return Ok(None) };
        value.word().map(Some).ok_or_else(|| wrong(self.path(name), "a text"))
    }

    pub(crate) fn need_text(&mut self, name: &str) -> Read<String> {
        self.need(name)?.text()
    }

    pub(crate) fn list(&mut self, name: &str) -> Read<Vec<Item<'t>>> {
        self.take(name).map_or_else(|| Ok(Vec::new()), Item::list)
    }

    pub(crate) fn object(&mut self, name: &str) -> Read<Option<Self>> {
        self.take(name).map(Item::object).transpose()
    }

    pub(crate) fn count(&mut self, name: &str) -> Read<Option<u64>> {
        let Some(value) = self.value(name) else { return Ok(None) };
        number::count(value.raw()).map(Some).map_err(|_| wrong(self.path(name), "a count"))
    }

    pub(crate) fn flag(&mut self, name: &str) -> Read<Option<bool>> {
        let Some(item) = self.take(name) else { return Ok(None) };
        match item.raw() {
            "true" => Ok(Some(true)),
            "false" => Ok(Some(false)),
            _ => Err(item.wrong("true or false")),
        }
    }

    pub(crate) fn json(&mut self, name: &str) -> Option<Json> {
        self.take(name).map(|item| item.json())
    }

    /// Members that change nothing of the answer: they are listed if they say anything.
    pub(crate) fn hints(&mut self, names: &[&str], ledger: &mut Ledger) {
        for name in names {
            if let Some(item) = self.take(name).filter(|item| !says_nothing(item.raw())) {
                ledger.note(item.at);
            }
        }
    }

    /// Members that matter only with another value than the one which the API takes where there is none.
    pub(crate) fn neutral(&mut self, values: &[(&str, &str)]) -> Read<()> {
        for (name, value) in values {
            if let Some(item) = self.take(name).filter(|item| item.raw() != *value && !says_nothing(item.raw())) {
                return Err(item.refuse("no other provider takes this"));
            }
        }
        Ok(())
    }

    /// Takes members that have a meaning only where they come from.
    pub(crate) fn skip(&mut self, names: &[&str]) {
        self.members.retain(|(member, _)| !names.contains(&&**member));
    }

    /// Refuses what nobody took. Of a member that is not known an empty object may ask for what has no options.
    pub(crate) fn done(self) -> Read<()> {
        let asks = self.members.iter().find(|(_, value)| value.raw() == "{}").map(|(name, _)| self.path(name));
        match asks.or_else(|| self.unknown().next()) {
            Some(at) => Err(Refused::target(at, "this member is not known here and so cannot be carried over")),
            None => Ok(()),
        }
    }

    /// Whether there is anything that nobody took.
    pub(crate) fn tells(&self) -> bool {
        self.unknown().next().is_some()
    }

    /// Lists what nobody took.
    pub(crate) fn rest(self, ledger: &mut Ledger) {
        for at in self.unknown() {
            ledger.note(at);
        }
    }

    fn unknown(&self) -> impl Iterator<Item = String> {
        // Of a member that is not known, `false` may be what matters.
        let telling = self.members.iter().filter(|(_, value)| value.raw() == "false" || !says_nothing(value.raw()));
        telling.map(|(name, _)| self.path(name))
    }
}

fn wrong(at: String, what: &str) -> Refused {
    Refused::form(at, format!("it should be {what}"))
}

/// Whether a value is the same as none.
fn says_nothing(raw: &str) -> bool {
    matches!(raw, "null" | "\"\"" | "[]" | "{}" | "false")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str, check: impl FnOnce(Fields<'_>)) {
        let tree = document(text.as_bytes()).unwrap();
        check(Item::root(&tree).object().unwrap());
    }

    #[test]
    fn what_nobody_takes_is_refused_by_its_path() {
        fields(r#"{"a":[{"x":1,"y":null,"z":[]}],"b":2}"#, |mut all| {
            let mut inner = all.list("a").unwrap().remove(0).object().unwrap();
            assert_eq!(inner.count("x"), Ok(Some(1)));
            assert_eq!(inner.done(), Ok(()));
            assert_eq!(all.clone().done().unwrap_err().at, "b");
            let mut ledger = Ledger::default();
            all.rest(&mut ledger);
            assert_eq!(ledger.lines(), ["b"]);
        });
    }

    #[test]
    fn hints_are_listed_and_only_neutral_values_pass() {
        fields(r#"{"store":false,"user":"u","n":1,"logprobs":true,"n":2}"#, |mut all| {
            let mut ledger = Ledger::default();
            all.hints(&["store", "user"], &mut ledger);
            assert_eq!(ledger.lines(), ["user"]);
            let refused = all.clone().neutral(&[("n", "1")]).unwrap_err();
            assert_eq!(refused.to_string(), "n: no other provider takes this");
            assert_eq!(all.flag("logprobs"), Ok(Some(true)));
            assert_eq!(all.text("n").unwrap_err().to_string(), "n: it should be a text");
        });
    }

    #[test]
    fn the_list_has_an_end() {
        let mut ledger = Ledger::default();
        (0..200).for_each(|place| ledger.note(format!("messages[{place}]")));
        let lines = ledger.lines();
        assert_eq!((lines.len(), lines.last().map(String::as_str)), (LISTED_MAX + 1, Some("and more")));
    }
}
