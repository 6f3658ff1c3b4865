//! A dialect as data: where in its documents things stand, and how its usage object is read.
//!
//! Of several documents of a stream the last that reports counts, and replaces what was reported before: so cumulative reports are
//! not added up, and counts may fall. A report is the whole only if it stands where the answer says that it ends, or behind that.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use schemas::{
    json::{Tree, Value},
    price::joined,
};

use super::{
    Begun, Seen,
    fold::{Fold, Reported, Unreadable, has_object, kind},
    tally::{Counts, Facts},
    tools::Tools,
};
use crate::json;

/// Names of members, each within the one before.
pub(super) type Path = &'static [&'static str];

/// The path to the document itself, where its members are usage.
pub(super) const WHOLE: Path = &[];

/// Where things stand in the documents of a dialect. Of several paths the first that leads somewhere counts.
pub(super) struct Shape {
    /// The members that hold output text in the documents of a stream.
    pub(super) text: Keys,
    /// The member that has an object where a document of a stream reports; nothing where that cannot be told so.
    pub(super) sign: Option<&'static str>,
    pub(super) id: &'static [Path],
    pub(super) model: &'static [Path],
    pub(super) tier: &'static [Path],
    /// The second word of the tier.
    pub(super) latency: &'static [Path],
    pub(super) usage: &'static [Path],
    pub(super) error: &'static [Path],
    /// The provider's word for it where a document says that its model has failed to answer, by what was found before; `true` says that the
    /// document is all of the answer.
    pub(super) failed: fn(&mut Facts, Value<'_>, bool) -> Option<String>,
    /// Reads a usage object; nothing if it states no count.
    pub(super) read: fn(Value<'_>) -> Result<Option<Reported>, Unreadable>,
    /// What is kept of the usage object.
    pub(super) raw: fn(Value<'_>) -> String,
    /// What a document says of the end of the answer, by its name and what is in it.
    pub(super) mark: fn(&str, Value<'_>) -> Mark,
    pub(super) tools: &'static Tools,
    /// Among the items of the answer, the place of the call of a tool that a document of a stream tells of, where several may tell of it.
    pub(super) call: fn(Value<'_>) -> Option<u64>,
    /// When what it tells of was begun, if it is worked on apart from this exchange.
    pub(super) background: fn(Value<'_>) -> Option<Begun>,
}

/// The names of members in quotes, to be searched for.
pub(super) type Keys = LazyLock<Vec<Finder<'static>>>;

/// What a document says of the end of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// Nothing.
    None,
    /// All of it has come, though more may follow.
    Finished,
    /// It is the last one.
    Last,
    /// It is the last one, and the answer has failed.
    Failed,
}

/// No document says that it is of the background.
pub(super) const fn in_front(_: Value<'_>) -> Option<Begun> {
    None
}

/// No document tells of a call that another one may tell of.
pub(super) const fn untold(_: Value<'_>) -> Option<u64> {
    None
}

/// No document says that a model has failed, or it says so as an error.
pub(super) const fn never(_: &mut Facts, _: Value<'_>, _: bool) -> Option<String> {
    None
}

/// What was found of an answer of some shape.
pub(super) struct Shaped {
    shape: &'static Shape,
    sign: Option<Finder<'static>>,
    reported: Option<Reported>,
    /// Whether that stands where the answer ends, and is no count on the way to it.
    is_last: bool,
    finished: bool,
    /// How many documents were parsed only to learn who answers.
    introduced: u8,
}

/// How many documents at the start are parsed to learn model and id.
const INTRODUCTION: u8 = 3;

impl std::fmt::Debug for Shaped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shaped").field("reported", &self.reported).field("finished", &self.finished).finish()
    }
}

impl Shaped {
    pub(super) fn new(shape: &'static Shape) -> Self {
        let sign = shape.sign.map(Finder::new);
        Self { shape, sign, reported: None, is_last: false, finished: false, introduced: 0 }
    }

    /// Takes a document of any kind: of a stream by its name, or `whole`.
    fn document(
        &mut self,
        facts: &mut Facts,
        name: &str,
        document: Value<'_>,
        whole: bool,
    ) -> Result<Mark, Unreadable> {
        let text = |paths| first(document, paths).and_then(|value| value.word().map(String::from));
        let (mark, usage) = ((self.shape.mark)(name, document), first(document, self.shape.usage));
        Facts::name(&mut facts.id, text(self.shape.id));
        Facts::name(&mut facts.model, text(self.shape.model));
        // What a stream begins with may be the tier that was asked for.
        if whole || usage.is_some() || mark != Mark::None {
            let said = match (text(self.shape.tier), text(self.shape.latency)) {
                (Some(tier), Some(latency)) => Some(joined(&tier, &latency)),
                (tier, latency) => tier.or(latency),
            };
            Facts::rename(&mut facts.service_tier, said);
        }
        facts.background = match (self.shape.background)(document) {
            Some(Begun::Unsaid) => facts.background.or(Some(Begun::Unsaid)),
            said => said.or(facts.background),
        };
        let is_whole = whole && !facts.is_brief;
        if let Some(error) = first(document, self.shape.error) {
            facts.fail(kind(error));
        } else if let Some(word) = (self.shape.failed)(facts, document, is_whole) {
            facts.fail(Some(word));
        }
        if let Some(usage) = usage {
            let reported = (self.shape.read)(usage)?;
            if reported.is_some() || !self.shape.usage.contains(&WHOLE) {
                facts.raw.clear();
                facts.raw(&(self.shape.raw)(usage));
            }
            if let Some(reported) = &reported {
                facts.report(reported);
            }
            self.is_last = if reported.is_some() { whole || self.finished || mark != Mark::None } else { self.is_last };
            self.reported = reported.or(self.reported);
        }
        Ok(mark)
    }
}

impl Fold for Shaped {
    fn event(&mut self, facts: &mut Facts, name: &str, data: &[u8]) -> Result<Seen, Unreadable> {
        if data == b"[DONE]" {
            facts.ended = true;
            return Ok(Seen::End);
        }
        facts.called.count(self.shape.tools.frame, data);
        let keep = self.reported.is_none();
        let says = self.shape.text.iter().any(|key| facts.visible.take(data, key, keep));
        let known = !facts.model.is_empty() && !facts.id.is_empty() || self.introduced >= INTRODUCTION;
        if says && known && self.sign.as_ref().is_some_and(|sign| !has_object(data, sign)) {
            return Ok(Seen::Ordinary);
        }
        self.introduced = self.introduced.saturating_add(1);
        let tree = Tree::read_answer(data).map_err(|_| Unreadable)?;
        if let Some(place) = (self.shape.call)(tree.root()) {
            facts.call(place);
        }
        let mark = self.document(facts, name, tree.root(), false)?;
        self.finished |= mark == Mark::Finished;
        facts.ended |= mark == Mark::Last;
        if mark == Mark::Failed && facts.error.is_none() {
            facts.fail(None);
        }
        Ok(if matches!(mark, Mark::Last | Mark::Failed) { Seen::End } else { Seen::Ordinary })
    }

    fn whole(&mut self, facts: &mut Facts, document: Value<'_>) -> Result<(), Unreadable> {
        facts.called.count(self.shape.tools.whole, document.raw().as_bytes());
        if document.members().is_none() {
            return Err(Unreadable);
        }
        self.document(facts, "", document, true)?;
        self.finished = true;
        Ok(())
    }

    fn counts(&self, _: &Facts) -> Counts {
        match self.reported {
            None => Counts::None,
            Some(reported) if reported.whole && self.is_last => Counts::Whole(reported.parts()),
            Some(reported) => Counts::Part(reported.parts()),
        }
    }

    fn has_ended(&self) -> bool {
        self.finished
    }

    fn tools(&self) -> &'static Tools {
        self.shape.tools
    }
}

/// The value that the first of these paths leads to.
pub(super) fn first<'t>(document: Value<'t>, paths: &[Path]) -> Option<Value<'t>> {
    paths.iter().find_map(|path| at(document, path))
}

/// The value that a path leads to; nothing for `null`.
pub(super) fn at<'t>(document: Value<'t>, path: &[&str]) -> Option<Value<'t>> {
    path.iter().try_fold(document, |value, name| json::members(value, &[name])?.value(0))
}

/// A usage object as it was sent.
pub(super) fn verbatim(usage: Value<'_>) -> String {
    usage.raw().to_owned()
}
