//! What a request adds up to while its fields are looked at one by one.
//!
//! Every count saturates, so that no size of a request makes a small bound. What is not understood is noted with its path and does not
//! stop the count, so that a client's mistake further on is still found.

use super::{
    BoundError, Why,
    json::{Node, Path, members},
    text::growth,
};
use crate::price::{Encoding, ModelFacts};

/// The sum so far.
pub(super) struct Tally<'m> {
    facts: &'m ModelFacts,
    measure: &'m dyn Fn(&str) -> u64,
    /// Tokens of input.
    pub(super) input: u64,
    /// The first thing that nothing bounds.
    pub(super) unbounded: Option<(String, Why)>,
    /// The output cap that the request states.
    pub(super) cap: Option<u64>,
    /// How many answers it asks for.
    pub(super) answers: u64,
    /// Whether it asks for cache writes of five minutes, and of an hour.
    pub(super) writes: (bool, bool),
}

impl<'m> Tally<'m> {
    pub(super) fn new(facts: &'m ModelFacts, measure: &'m dyn Fn(&str) -> u64) -> Self {
        Self { facts, measure, input: 0, unbounded: None, cap: None, answers: 1, writes: (false, false) }
    }

    /// Counts tokens that the request does not spell out.
    pub(super) fn add(&mut self, tokens: u64) {
        self.input = self.input.saturating_add(tokens);
    }

    /// Counts a text.
    pub(super) fn text(&mut self, text: &str) {
        self.add((self.measure)(text));
        if self.facts.encoding == Encoding::None {
            self.add(growth(text));
        }
    }

    /// Counts a value that the provider shows the model in some written form: as its JSON.
    pub(super) fn value(&mut self, node: &Node<'_>) {
        let mut written = String::new();
        node.write(&mut written);
        self.text(&written);
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
    pub(super) fn members<'n, 'a>(
        &mut self,
        node: &'n Node<'a>,
        path: &Path<'_>,
    ) -> Result<Vec<(&'n str, &'n Node<'a>)>, BoundError> {
        let found = members(node, path)?;
        if found.is_none() {
            self.unbounded(path, Why::UnknownShape);
        }
        Ok(found.unwrap_or_default())
    }

    /// The items of a list; something else is not understood.
    pub(super) fn items<'n, 'a>(&mut self, node: &'n Node<'a>, path: &Path<'_>) -> &'n [Node<'a>] {
        match node {
            Node::List(items) => items,
            _ => {
                self.unbounded(path, Why::UnknownShape);
                &[]
            }
        }
    }

    /// A text; something else is not understood.
    pub(super) fn word<'n>(&mut self, node: &'n Node<'_>, path: &Path<'_>) -> &'n str {
        node.text().unwrap_or_else(|| {
            self.unbounded(path, Why::UnknownShape);
            ""
        })
    }

    /// Counts a text; something else is not understood.
    pub(super) fn text_at(&mut self, node: &Node<'_>, path: &Path<'_>) {
        let text = self.word(node, path);
        self.text(text);
    }
}

/// A count: what is no whole number or below zero is the client's mistake.
pub(super) fn count(node: &Node<'_>, path: &Path<'_>) -> Result<u64, BoundError> {
    match node {
        Node::Count(value) => Ok(*value),
        _ => Err(BoundError::NotACount(path.to_string())),
    }
}

/// The member called `name`.
pub(super) fn member<'n, 'a>(members: &[(&'n str, &'n Node<'a>)], name: &str) -> Option<&'n Node<'a>> {
    members.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}
