//! What a request adds up to while its fields are looked at one by one.
//!
//! Every count saturates, so that no size of a request makes a small bound. What is not understood is noted with its path and does not
//! stop the count, so that a client's mistake further on is still found.

use super::{
    BoundError, Measure, Why,
    json::{self, Fields, Path},
    text::growth,
};
use crate::{
    json::{Piece, Text, Value},
    price::{CapField, Encoding, ModelFacts},
};

/// The sum so far.
pub(super) struct Tally<'m> {
    facts: &'m ModelFacts,
    measure: Measure,
    /// Tokens of input.
    pub(super) input: u64,
    /// The first thing that nothing bounds.
    pub(super) unbounded: Option<(String, Why)>,
    /// The output cap that the request states, the largest of several.
    cap: Option<u64>,
    /// Whether it states one that may be taken for none.
    uncapped: bool,
    /// Whether its cap stands where it may not be heeded, or a larger one does.
    pub(super) misplaced: bool,
    /// How many answers it asks for.
    pub(super) answers: u64,
    /// What it makes.
    pub(super) makes: Makes,
    /// Whether it asks for cache writes of five minutes, and of an hour.
    pub(super) writes: (bool, bool),
    /// The tier that it names; empty where it names none.
    pub(super) tier: String,
    /// Whether a guardrail looks at it.
    pub(super) guarded: bool,
    /// The window that it asks for, where a model can have a larger one than its own.
    pub(super) window: Option<u64>,
}

/// What a request makes, and whether a cap can be written into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Makes {
    /// Output, for which its API has a member that caps it.
    Capped,
    /// Output, for which it has none, or none that is written here.
    Uncapped,
    /// No output.
    Nothing,
}

/// Tokens around what a request spells out: for models whose encoding is published, and for others.
#[derive(Clone, Copy)]
pub(super) struct Framing {
    pub(super) published: u64,
    pub(super) other: u64,
}

impl<'m> Tally<'m> {
    pub(super) fn new(facts: &'m ModelFacts, measure: Measure) -> Self {
        Self {
            facts,
            measure,
            input: 0,
            unbounded: None,
            cap: None,
            uncapped: false,
            misplaced: false,
            answers: 1,
            makes: Makes::Capped,
            writes: (false, false),
            tier: String::new(),
            guarded: false,
            window: None,
        }
    }

    /// Takes a cap of the output. Some servers take 0 for none, so it is one only where that is known to be what its API says.
    pub(super) fn state(&mut self, cap: u64) {
        self.uncapped |= !self.counts(cap);
        self.cap = Some(self.cap.map_or(cap, |other| other.max(cap)));
    }

    /// Takes the two caps that a chat may state, of which a model's own is the one that has `cap_field`. Where the other one may not be
    /// heeded it bounds nothing before it stands in the place of the own one; beside that it may not be larger.
    pub(super) fn state_either(&mut self, own: Option<u64>, other: Option<u64>) {
        if self.facts.heeds_caps {
            self.cap = own.max(other);
            return;
        }
        self.cap = own.filter(|cap| self.counts(*cap)).or_else(|| other.filter(|cap| self.counts(*cap)));
        self.misplaced = own != self.cap || other.is_some_and(|other| !self.counts(other) || Some(other) > own);
    }

    const fn counts(&self, cap: u64) -> bool {
        cap > 0 || self.facts.heeds_caps
    }

    /// The cap that the request states.
    pub(super) fn cap(&self) -> Option<u64> {
        self.cap.filter(|_| !self.uncapped)
    }

    /// The field that caps the output of the model.
    pub(super) const fn cap_field(&self) -> CapField {
        self.facts.cap_field
    }

    /// Counts tokens that the request does not spell out.
    pub(super) fn add(&mut self, tokens: u64) {
        self.input = self.input.saturating_add(tokens);
    }

    /// Counts what the model's format puts around something.
    pub(super) fn frame(&mut self, framing: Framing) {
        self.add(if self.facts.encoding == Encoding::None { framing.other } else { framing.published });
    }

    /// Counts a text. Its bytes are known without decoding it.
    pub(super) fn text(&mut self, text: Text<'_>) {
        self.add(match self.measure {
            Measure::Bytes => text.len() as u64,
            Measure::Tokens(measure) => measure(&text.decoded()),
        });
        if self.facts.encoding == Encoding::None && !text.is_ascii() {
            let grown = text.pieces().map(|piece| match piece {
                Piece::Plain(part) => growth(part),
                Piece::Escape(char) => growth(char.encode_utf8(&mut [0; 4])),
            });
            self.add(grown.fold(0, u64::saturating_add));
        }
    }

    /// Counts a value that the provider shows the model in some written form: as its JSON.
    pub(super) fn value(&mut self, value: Value<'_>) {
        let mut written = String::with_capacity(value.span().len());
        json::write(value, &mut written);
        self.add(match self.measure {
            Measure::Bytes => written.len() as u64,
            Measure::Tokens(measure) => measure(&written),
        });
        if self.facts.encoding == Encoding::None {
            self.add(growth(&written));
        }
    }

    /// Counts an image whose bytes are in the request.
    pub(super) fn image(&mut self, path: &Path<'_>) {
        match self.facts.image_tokens {
            Some(tokens) => self.add(tokens),
            None => self.unbounded(path, Why::ImageMaximumUnknown),
        }
    }

    /// Notes that nothing bounds what stands at `path`; the first one is named.
    pub(super) fn unbounded(&mut self, path: &Path<'_>, why: Why) {
        let worse = self.unbounded.as_ref().is_none_or(|(_, known)| known.is_one_pass() && !why.is_one_pass());
        if worse {
            self.unbounded = Some((path.to_string(), why));
        }
    }

    /// The members of an object; something else is not understood.
    pub(super) fn members<'t>(&mut self, value: Value<'t>, path: &Path<'_>) -> Result<Fields<'t>, BoundError> {
        let found = json::members(value, path)?;
        if found.is_none() {
            self.unbounded(path, Why::UnknownShape);
        }
        Ok(found.unwrap_or(Fields::NONE))
    }

    /// The items of a list; something else is not understood.
    pub(super) fn items<'t>(&mut self, value: Value<'t>, path: &Path<'_>) -> impl Iterator<Item = Value<'t>> + use<'t> {
        let items = value.items();
        if items.is_none() {
            self.unbounded(path, Why::UnknownShape);
        }
        items.into_iter().flatten()
    }

    /// Counts a text; something else is not understood.
    pub(super) fn text_at(&mut self, value: Value<'_>, path: &Path<'_>) {
        match value.text() {
            Some(text) => self.text(text),
            None => self.unbounded(path, Why::UnknownShape),
        }
    }
}

/// A count: what is no whole number or below zero is the client's mistake.
pub(super) fn count(value: Value<'_>, path: &Path<'_>) -> Result<u64, BoundError> {
    json::count(value).ok_or_else(|| BoundError::NotACount(path.to_string()))
}
