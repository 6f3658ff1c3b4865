//! The body of a request as a tree, read once, with its duplicate keys kept: which copy a provider takes is not ours to know.
//!
//! Numbers are integers where they say one, whatever they are written like: `64.0` and `6.4e1` are 64.

use std::{borrow::Cow, collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};

use super::BoundError;

/// A JSON value.
#[derive(Debug)]
pub(super) enum Node<'a> {
    Null,
    Bool(bool),
    Count(u64),
    /// A number that is no count.
    Other(f64),
    Text(Cow<'a, str>),
    List(Vec<Node<'a>>),
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
}

/// Where in the body something stands.
#[derive(Clone, Copy)]
pub(super) enum Path<'a> {
    Body,
    Field(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
}

pub(super) fn parse(body: &[u8]) -> Result<Node<'_>, BoundError> {
    serde_json::from_slice(body).map_err(|error| BoundError::NotJson(error.to_string()))
}

/// The members of an object that are not null; two of one name are an error.
pub(super) fn members<'n, 'a>(
    node: &'n Node<'a>,
    path: &Path<'_>,
) -> Result<Option<Vec<(&'n str, &'n Node<'a>)>>, BoundError> {
    let Node::Object(members) = node else { return Ok(None) };
    // Few members are compared with each other; many, which only an attack has, through a set.
    let mut seen = HashSet::new();
    for (place, (name, _)) in members.iter().enumerate() {
        let twice = match members.len() {
            0..=32 => members.iter().take(place).any(|(earlier, _)| earlier == name),
            _ => !seen.insert(&**name),
        };
        if twice {
            return Err(BoundError::Duplicate(Path::Field(path, name).to_string()));
        }
    }
    Ok(Some(
        members
            .iter()
            .filter(|(_, value)| !matches!(value, Node::Null))
            .map(|(name, value)| (&**name, value))
            .collect(),
    ))
}

impl Node<'_> {
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Writes the value as JSON without spaces.
    pub(super) fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Count(value) => out.push_str(&value.to_string()),
            Self::Other(value) => out.push_str(&value.to_string()),
            Self::Text(text) => quote(text, out),
            Self::List(items) => {
                out.push('[');
                for (place, item) in items.iter().enumerate() {
                    if place > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (place, (name, value)) in members.iter().enumerate() {
                    if place > 0 {
                        out.push(',');
                    }
                    quote(name, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
    out.push('"');
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body => Ok(()),
            Self::Field(Self::Body, name) => f.write_str(name),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Item(parent, place) => write!(f, "{parent}[{place}]"),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Node<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node<'de>, E> {
        Ok(Node::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node<'de>, E> {
        Ok(Node::Count(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node<'de>, E> {
        Ok(u64::try_from(value).map_or(Node::Other(value as f64), Node::Count))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node<'de>, E> {
        // The cast saturates; a count that large is more than any limit.
        Ok(if value >= 0.0 && value.trunc() == value { Node::Count(value as u64) } else { Node::Other(value) })
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_string<E>(self, text: String) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Owned(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node<'de>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(name) = access.next_key_seed(NameSeed)? {
            members.push((name, access.next_value()?));
        }
        Ok(Node::Object(members))
    }
}

/// A key, borrowed where it has no escapes.
struct NameSeed;

impl<'de> serde::de::DeserializeSeed<'de> for NameSeed {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        match deserializer.deserialize_str(NodeVisitor)? {
            Node::Text(text) => Ok(text),
            _ => Ok(Cow::Borrowed("")),
        }
    }
}
