//! The JSON of a request, read once into a flat tree that copies nothing.
//!
//! What is accepted is exactly what `serde_json` accepts as a `Value`, and a property test holds them to each other. It is not used
//! here because it would have to be asked twice: it says where a value stands only by skipping it, and it unescapes every text
//! that it gives. A [`Tree`] has both: each value knows the bytes that it stands in, and a text stays as it was sent, with
//! the length that it has decoded, until somebody asks for it ([`Text`]). Names that stand twice are all kept, since which one a
//! provider takes is not ours to know. Numbers are checked and not interpreted.
//!
//! A tree is one vector of 12 bytes a value, in the order of the body; a name is a text before its value. That is up to six times
//! the size of a body of nothing but digits and commas, so a tree is dropped as soon as it has been looked at.

use std::{borrow::Cow, ops::Range};

mod read;
#[cfg(test)]
mod tests;
mod text;

pub use text::{Piece, Text};

/// The longest body: a node has 31 bits for a length.
const LENGTH_MAX: usize = i32::MAX as usize;
/// In a text's `more`: one of its escapes stands for a character beyond ASCII.
const WIDE: u32 = 1 << 31;

/// Why bytes are no JSON, and the offset of the byte that shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// What is wrong.
    pub why: Why,
    /// The offset; the length of the body where it ends too early.
    pub at: usize,
}

/// What is wrong with bytes that are no JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// They are not UTF-8.
    NotUtf8,
    /// They end too early.
    EndsEarly,
    /// They break the grammar.
    NotJson,
    /// They are nested deeper than 127 lists and objects.
    TooDeep,
    /// A number is larger than a float can be.
    TooLarge,
    /// They are more than 2 GiB.
    TooLong,
}

/// A JSON document, over the bytes that it was read from.
#[derive(Debug)]
pub struct Tree<'a> {
    text: &'a str,
    nodes: Vec<Node>,
}

/// A value, or the name of a member. Its first byte says of what kind it is.
#[derive(Clone, Copy, Debug)]
struct Node {
    start: u32,
    end: u32,
    /// Of a text, the length that it has decoded, and [`WIDE`]; of anything else, the place of the node behind it and all in it.
    more: u32,
}

/// A value of a tree.
#[derive(Clone, Copy, Debug)]
pub struct Value<'t> {
    tree: &'t Tree<'t>,
    place: usize,
    node: Node,
}

/// What a value is.
#[derive(Clone, Debug)]
pub enum Kind<'t> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as it was written.
    Number(&'t str),
    /// A text.
    Text(Text<'t>),
    /// A list.
    List(Items<'t>),
    /// An object.
    Object(Members<'t>),
}

/// The items of a list.
#[derive(Clone, Debug)]
pub struct Items<'t>(Values<'t>);

/// The members of an object, in their order, every copy of a name.
#[derive(Clone, Debug)]
pub struct Members<'t>(Values<'t>);

/// The values from one place to another, without what is in them.
#[derive(Clone, Debug)]
struct Values<'t> {
    tree: &'t Tree<'t>,
    place: usize,
    end: usize,
}

impl<'a> Tree<'a> {
    /// Reads a document.
    pub fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        Self::of(body, false)
    }

    /// Reads what a provider sent: a text may have half a character, where a stream was cut into pieces without regard to them.
    pub fn read_answer(body: &'a [u8]) -> Result<Self, Malformed> {
        Self::of(body, true)
    }

    fn of(body: &'a [u8], halves: bool) -> Result<Self, Malformed> {
        if body.len() > LENGTH_MAX {
            return Err(Malformed { why: Why::TooLong, at: LENGTH_MAX });
        }
        let text =
            std::str::from_utf8(body).map_err(|error| Malformed { why: Why::NotUtf8, at: error.valid_up_to() })?;
        read::nodes(body, halves).map(|nodes| Self { text, nodes })
    }

    /// The value that the document is.
    pub fn root(&self) -> Value<'_> {
        // The reader gives no tree without one; an empty node is here only because that is not in its type.
        self.value(0).unwrap_or(Value { tree: self, place: 0, node: Node { start: 0, end: 0, more: 0 } })
    }

    fn value(&self, place: usize) -> Option<Value<'_>> {
        self.nodes.get(place).map(|node| Value { tree: self, place, node: *node })
    }
}

impl<'t> Value<'t> {
    /// The bytes that it stands in, as they were sent.
    pub fn raw(self) -> &'t str {
        self.tree.text.get(self.node.start as usize..self.node.end as usize).unwrap_or_default()
    }

    /// Where in the body it stands.
    pub const fn span(self) -> Range<usize> {
        self.node.start as usize..self.node.end as usize
    }

    /// What it is.
    pub fn kind(self) -> Kind<'t> {
        let inside = || Values { tree: self.tree, place: self.place + 1, end: self.node.more as usize };
        match self.first() {
            b'"' => Kind::Text(self.as_text()),
            b'{' => Kind::Object(Members(inside())),
            b'[' => Kind::List(Items(inside())),
            b't' => Kind::Bool(true),
            b'f' => Kind::Bool(false),
            b'-' | b'0'..=b'9' => Kind::Number(self.raw()),
            _ => Kind::Null,
        }
    }

    /// Whether it is `null`.
    pub fn is_null(self) -> bool {
        self.first() == b'n'
    }

    /// The text that it is.
    pub fn text(self) -> Option<Text<'t>> {
        (self.first() == b'"').then(|| self.as_text())
    }

    /// The text that it is, decoded: for a word, which is seldom escaped.
    pub fn word(self) -> Option<Cow<'t, str>> {
        self.text().map(Text::decoded)
    }

    /// The items of the list that it is.
    pub fn items(self) -> Option<Items<'t>> {
        if let Kind::List(items) = self.kind() { Some(items) } else { None }
    }

    /// The members of the object that it is.
    pub fn members(self) -> Option<Members<'t>> {
        if let Kind::Object(members) = self.kind() { Some(members) } else { None }
    }

    fn first(self) -> u8 {
        self.tree.text.as_bytes().get(self.node.start as usize).copied().unwrap_or(b'n')
    }

    /// The text that stands between its quotes.
    fn as_text(self) -> Text<'t> {
        let between = self.node.start as usize + 1..(self.node.end as usize).saturating_sub(1);
        let raw = self.tree.text.get(between).unwrap_or_default();
        Text { raw, length: self.node.more & !WIDE, wide: self.node.more & WIDE != 0 }
    }
}

impl<'t> Iterator for Values<'t> {
    type Item = Value<'t>;

    fn next(&mut self) -> Option<Value<'t>> {
        if self.place >= self.end {
            return None;
        }
        let value = self.tree.value(self.place)?;
        self.place = if value.first() == b'"' { self.place + 1 } else { value.node.more as usize };
        Some(value)
    }
}

impl<'t> Iterator for Items<'t> {
    type Item = Value<'t>;

    fn next(&mut self) -> Option<Value<'t>> {
        self.0.next()
    }
}

impl<'t> Iterator for Members<'t> {
    type Item = (Text<'t>, Value<'t>);

    fn next(&mut self) -> Option<Self::Item> {
        Some((self.0.next()?.as_text(), self.0.next()?))
    }
}
