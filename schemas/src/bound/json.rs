//! What a bound asks of the tree of a request: members of which none stands twice, counts, and a value written out.
//!
//! Numbers are integers where they say one, whatever they are written like: `64.0` and `6.4e1` are 64.

use std::{borrow::Cow, collections::HashSet, fmt};

use super::BoundError;
use crate::json::{Kind, Members, Piece, Text, Value};

/// So many members are compared with each other; more, which only an attack has, through a set.
const FEW: usize = 32;

/// Where in the body something stands.
#[derive(Clone, Copy)]
pub(super) enum Path<'a> {
    Body,
    Field(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
}

/// The members of an object that are not null, by name.
#[derive(Clone)]
pub(super) struct Fields<'t>(Option<Members<'t>>);

/// A number.
enum Number {
    Count(u64),
    /// One that is no count.
    Other(f64),
}

/// The members of an object; two of one name are an error.
pub(super) fn members<'t>(value: Value<'t>, path: &Path<'_>) -> Result<Option<Fields<'t>>, BoundError> {
    let Some(members) = value.members() else { return Ok(None) };
    let names = || members.clone().map(|(name, _)| name);
    let twice = if names().nth(FEW).is_none() {
        names().enumerate().find(|(place, name)| names().take(*place).any(|earlier| earlier == *name))
    } else {
        let mut seen = HashSet::new();
        names().enumerate().find(|(_, name)| !seen.insert(name.decoded()))
    };
    match twice {
        Some((_, name)) => Err(BoundError::Duplicate(Path::Field(path, &name.decoded()).to_string())),
        None => Ok(Some(Fields(Some(members)))),
    }
}

impl<'t> Fields<'t> {
    /// Of what is no object.
    pub(super) const NONE: Self = Self(None);

    /// The member called `name`.
    pub(super) fn get(&self, name: &str) -> Option<Value<'t>> {
        let mut members = self.0.clone()?.filter(|(_, value)| !value.is_null());
        members.find(|(known, _)| known == name).map(|(_, value)| value)
    }
}

impl<'t> Iterator for Fields<'t> {
    type Item = (Cow<'t, str>, Value<'t>);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, value) = self.0.as_mut()?.find(|(_, value)| !value.is_null())?;
        Some((name.decoded(), value))
    }
}

/// The count that a value is.
pub(super) fn count(value: Value<'_>) -> Option<u64> {
    let Kind::Number(number) = value.kind() else { return None };
    if let Number::Count(count) = Number::of(number) { Some(count) } else { None }
}

impl Number {
    fn of(text: &str) -> Self {
        if let Ok(count) = text.parse() {
            return Self::Count(count);
        }
        // The reader has refused what this cannot read.
        let value = serde_json::from_str(text).unwrap_or(f64::NAN);
        // The cast saturates; a count that large is more than any limit.
        if value >= 0.0 && value.trunc() == value { Self::Count(value as u64) } else { Self::Other(value) }
    }
}

/// Writes a value as JSON without spaces.
pub(super) fn write(value: Value<'_>, out: &mut String) {
    match value.kind() {
        Kind::Null => out.push_str("null"),
        Kind::Bool(value) => out.push_str(if value { "true" } else { "false" }),
        Kind::Number(number) => match Number::of(number) {
            Number::Count(count) => out.push_str(&count.to_string()),
            Number::Other(value) => out.push_str(&value.to_string()),
        },
        Kind::Text(text) => quote(text, out),
        Kind::List(items) => {
            out.push('[');
            for (place, item) in items.enumerate() {
                if place > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Kind::Object(members) => {
            out.push('{');
            for (place, (name, value)) in members.enumerate() {
                if place > 0 {
                    out.push(',');
                }
                quote(name, out);
                out.push(':');
                write(value, out);
            }
            out.push('}');
        }
    }
}

/// Writes a text with as few escapes as can be: where it has none there is nothing to escape.
fn quote(text: Text<'_>, out: &mut String) {
    out.push('"');
    if let Some(plain) = text.plain() {
        out.push_str(plain);
        return out.push('"');
    }
    for piece in text.pieces() {
        match piece {
            Piece::Plain(part) => out.push_str(part),
            Piece::Escape('"') => out.push_str("\\\""),
            Piece::Escape('\\') => out.push_str("\\\\"),
            Piece::Escape('\n') => out.push_str("\\n"),
            Piece::Escape(char) => out.push(char),
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
