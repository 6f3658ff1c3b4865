//! Which models a row is about: one name, or all names with one beginning.
//!
//! A pattern is checked when it is read, so that none has a `*` in its middle. It does not say which of two patterns wins: the
//! index does.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A model name, or the beginning of some and `*`; `*` alone is every model.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern(Arc<str>);

impl Pattern {
    /// Reads a pattern; nothing if it is empty or has a `*` before its end.
    pub fn parse(text: &str) -> Option<Self> {
        let inner = text.strip_suffix('*').unwrap_or(text);
        (!text.is_empty() && !inner.contains('*')).then(|| Self(text.into()))
    }

    /// Every model.
    pub fn any() -> Self {
        Self("*".into())
    }

    /// The text it was read from.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The beginning that it asks for; nothing if it is one exact name.
    pub fn prefix(&self) -> Option<&str> {
        self.0.strip_suffix('*')
    }

    /// What stands for the `*` in `model`; empty for an exact name, nothing if it does not match.
    pub fn rest<'a>(&self, model: &'a str) -> Option<&'a str> {
        match self.prefix() {
            Some(prefix) => model.strip_prefix(prefix),
            None => (*self.0 == *model).then_some(""),
        }
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("not a model pattern"))
    }
}
