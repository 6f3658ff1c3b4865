//! Reads typed values out of a tree and collects every mistake on the way.
//!
//! Each reading function gives nothing where it has reported a mistake, so that the caller goes on with the rest.

use std::{fmt::Display, net::SocketAddr, ops::RangeInclusive, str::FromStr, time::Duration};

use super::{
    remark::{Place, Remark},
    unit,
    yaml::{Key, Node, Scalar, Value},
};
use crate::error_code::ErrorCode;

/// What is reported so far.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) mistakes: Vec<Remark>,
    pub(super) warnings: Vec<Remark>,
}

/// The entries of a map whose keys are all known and stand once.
pub(super) struct Fields<'n> {
    pub(super) at: Place,
    what: &'static str,
    entries: Vec<(&'n Key, &'n Node)>,
}

impl<'n> Fields<'n> {
    /// The entry, if it is there and not null.
    pub(super) fn get(&self, name: &str) -> Option<&'n Node> {
        let found = self.entries.iter().find(|(key, _)| key.name == name)?;
        if matches!(found.1.value, Value::Null) { None } else { Some(found.1) }
    }

    /// Where the key stands, even if its value is null.
    pub(super) fn place(&self, name: &str) -> Option<Place> {
        self.entries.iter().find(|(key, _)| key.name == name).map(|(key, _)| key.at)
    }

    /// Every entry.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'n Key, &'n Node)> {
        self.entries.iter().copied()
    }
}

impl Reader {
    pub(super) fn mistake(&mut self, at: Place, code: ErrorCode, what: impl Into<String>, remedy: impl Into<String>) {
        self.mistakes.push(Remark::new(at, code, what, remedy));
    }

    pub(super) fn warn(&mut self, at: Place, code: ErrorCode, what: impl Into<String>, remedy: impl Into<String>) {
        self.warnings.push(Remark::new(at, code, what, remedy));
    }

    /// A value that is not valid.
    pub(super) fn bad(&mut self, at: Place, what: impl Into<String>, remedy: impl Into<String>) {
        self.mistake(at, ErrorCode::BadConfigValue, what, remedy);
    }

    /// Something of the contract that this version cannot do.
    pub(super) fn not_built(&mut self, at: Place, what: &str, remedy: &str) {
        self.mistake(at, ErrorCode::NotBuilt, format!("{what} is not built yet"), remedy);
    }

    /// A map with these keys; `what` names it with its article.
    pub(super) fn fields<'n>(&mut self, node: &'n Node, what: &'static str, known: &[&str]) -> Option<Fields<'n>> {
        let fields = self.any_fields(node, what)?;
        for (key, _) in fields.entries() {
            if !known.contains(&key.name.as_str()) {
                let remedy = unit::nearest(&key.name, known).map_or_else(
                    || format!("{what} knows {}", known.join(", ")),
                    |near| format!("did you mean {near:?}?"),
                );
                let shown = shown_key(&key.name, known);
                self.mistake(key.at, ErrorCode::UnknownConfigKey, format!("unknown key {shown} in {what}"), remedy);
            }
        }
        Some(fields)
    }

    /// A map with keys of the user's own.
    pub(super) fn any_fields<'n>(&mut self, node: &'n Node, what: &'static str) -> Option<Fields<'n>> {
        let all = match &node.value {
            Value::Map(all) => all,
            Value::Broken => return None,
            other => {
                self.bad(node.at, format!("{what} is written as {}", kind(other)), "write key: value pairs");
                return None;
            }
        };
        let mut entries: Vec<(&Key, &Node)> = Vec::with_capacity(all.len());
        for (key, value) in all {
            match entries.iter().find(|(earlier, _)| earlier.name == key.name) {
                Some((earlier, _)) => {
                    let what = format!("a key stands twice in {what}, first in line {}", earlier.at.line);
                    self.mistake(key.at, ErrorCode::DuplicateConfig, what, "keep one of them");
                }
                None => entries.push((key, value)),
            }
        }
        Some(Fields { at: node.at, what, entries })
    }

    /// What `read` makes of an entry; a mistake if the entry is not there.
    pub(super) fn need<'n, T>(
        &mut self,
        fields: &Fields<'n>,
        name: &str,
        read: impl FnOnce(&mut Self, &'n Node) -> Option<T>,
    ) -> Option<T> {
        match fields.get(name) {
            Some(node) => read(self, node),
            None => {
                let at = fields.place(name).unwrap_or(fields.at);
                let what = format!("{} lacks {name:?}", fields.what);
                self.mistake(at, ErrorCode::MissingConfigKey, what, format!("add {name}: …"));
                None
            }
        }
    }

    /// What `read` makes of an entry, or the default if it is not there or not valid.
    pub(super) fn or<'n, T>(
        &mut self,
        fields: &Fields<'n>,
        name: &str,
        default: T,
        read: impl FnOnce(&mut Self, &'n Node) -> Option<T>,
    ) -> T {
        fields.get(name).and_then(|node| read(self, node)).unwrap_or(default)
    }

    /// What `read` makes of an entry that may be absent.
    pub(super) fn maybe<'n, T>(
        &mut self,
        fields: &Fields<'n>,
        name: &str,
        read: impl FnOnce(&mut Self, &'n Node) -> Option<T>,
    ) -> Option<T> {
        fields.get(name).and_then(|node| read(self, node))
    }

    /// The items of a list, each as `read` makes it.
    pub(super) fn list<'n, T>(
        &mut self,
        node: &'n Node,
        what: &str,
        mut read: impl FnMut(&mut Self, &'n Node) -> Option<T>,
    ) -> Option<Vec<T>> {
        match &node.value {
            Value::List(items) => Some(items.iter().filter_map(|item| read(self, item)).collect()),
            Value::Broken => None,
            other => {
                self.bad(node.at, format!("{what} is written as {}", kind(other)), "write a list: [ …, … ]");
                None
            }
        }
    }

    /// A text as written, whatever it says.
    pub(super) fn scalar<'n>(&mut self, node: &'n Node) -> Option<&'n Scalar> {
        match &node.value {
            Value::Scalar(scalar) => Some(scalar),
            Value::Broken => None,
            other => {
                self.bad(
                    node.at,
                    format!("a single value is expected, not {}", kind(other)),
                    "write one text or number",
                );
                None
            }
        }
    }

    /// A text that is not empty and has no control characters; at most 256 bytes.
    pub(super) fn text(&mut self, node: &Node) -> Option<String> {
        let scalar = self.scalar(node)?;
        let text = &scalar.text;
        if text.is_empty() || text.len() > 256 || text.trim() != text || text.chars().any(char::is_control) {
            let remedy = "write 1 to 256 bytes without control characters or spaces around them";
            self.bad(node.at, "a text that is empty, too long or not printable", remedy);
            return None;
        }
        Some(text.clone())
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, node: &Node) -> Option<bool> {
        self.parsed(node, "true or false", |text| text.parse().ok())
    }

    /// A whole number in a range.
    pub(super) fn number<T>(&mut self, node: &Node, range: RangeInclusive<T>) -> Option<T>
    where
        T: FromStr + PartialOrd + Display,
    {
        let wanted = format!("a whole number from {} to {}", range.start(), range.end());
        self.parsed(node, &wanted, |text| text.parse().ok().filter(|number| range.contains(number)))
    }

    /// A time longer than zero.
    pub(super) fn duration(&mut self, node: &Node) -> Option<Duration> {
        let wanted = "a time longer than zero, such as 100ms, 5s, 15m or 24h";
        self.parsed(node, wanted, |text| unit::duration(text).filter(|span| !span.is_zero()))
    }

    /// A time, zero included.
    pub(super) fn duration_or_zero(&mut self, node: &Node) -> Option<Duration> {
        self.parsed(node, "a time such as 100ms, 5s, 15m or 24h", unit::duration)
    }

    /// A number of bytes above zero.
    pub(super) fn size(&mut self, node: &Node) -> Option<u64> {
        self.parsed(node, "a size above zero, such as 512KiB, 64MiB or 1GiB", |text| {
            unit::size(text).filter(|size| *size > 0)
        })
    }

    /// An address to listen on.
    pub(super) fn address(&mut self, node: &Node) -> Option<SocketAddr> {
        self.parsed(node, "an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080", |text| {
            text.strip_prefix("localhost:")
                .map_or_else(|| text.parse().ok(), |port| format!("127.0.0.1:{port}").parse().ok())
        })
    }

    /// One of some names.
    pub(super) fn one_of<T: Copy>(&mut self, node: &Node, choices: &[(&str, T)]) -> Option<T> {
        let scalar = self.scalar(node)?;
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == scalar.text) {
            return Some(*value);
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let what = format!("{} is none of the choices", shown(scalar));
        self.bad(node.at, what, format!("write {}", names.join(" or ")));
        None
    }

    /// What `parse` makes of a text; `wanted` says what it takes.
    pub(super) fn parsed<T>(&mut self, node: &Node, wanted: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let scalar = self.scalar(node)?;
        let value = parse(&scalar.text);
        if value.is_none() {
            self.bad(node.at, format!("{} is not {wanted}", shown(scalar)), "");
        }
        value
    }
}

/// A key as the file has it, for a message. `{ name: ci, key sk-1234 }` makes a key of a secret, so only what can be the slip
/// of a word is shown.
pub(super) fn shown_key(name: &str, known: &[&str]) -> String {
    let word = name.len() <= 32 && name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if word || unit::nearest(name, known).is_some() { format!("{name:?}") } else { "(not shown)".into() }
}

/// A value as the file has it, for a message; what came from the environment is not in it.
pub(super) fn shown(scalar: &Scalar) -> String {
    let mut text: String = scalar.written.chars().take(60).collect();
    if text.len() < scalar.written.len() {
        text.push('…');
    }
    format!("{text:?}")
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null | Value::Broken => "nothing",
        Value::Scalar(_) => "a single value",
        Value::List(_) => "a list",
        Value::Map(_) => "key: value pairs",
    }
}
