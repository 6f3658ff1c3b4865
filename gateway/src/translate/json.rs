//! JSON that is written: members stay in the order in which they were put, and what was read raw goes out as it came.
//!
//! The order of a schema's members is the order in which a model writes them, and a prompt cache goes by bytes, so neither may pass
//! through a map that sorts. A raw text is JSON that was checked when it was taken; nothing here reads JSON.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
};

use schemas::json::Tree;

/// A value to write.
#[derive(Clone, Debug)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Count(u64),
    Text(String),
    Raw(Box<str>),
    List(Vec<Self>),
    Object(Vec<(Cow<'static, str>, Self)>),
    /// What a [`Mold`] is filled with.
    Gap,
}

/// An event that is written once and then again and again with another text in its gap, and before that, where it has two, another count.
#[derive(Debug)]
pub(crate) struct Mold {
    pieces: Vec<String>,
}

/// What is written for a gap: no JSON has it, whoever wrote it.
const GAP: char = '\0';

impl Mold {
    pub(crate) fn new(name: Option<&str>, event: &Json) -> Self {
        let mut written = String::new();
        event.write_event(name, &mut written);
        Self { pieces: written.split(GAP).map(str::to_owned).collect() }
    }

    /// Writes the event with these in its gaps.
    pub(crate) fn fill(&self, count: Option<u64>, text: &str, out: &mut String) {
        let mut pieces = self.pieces.iter();
        out.extend(pieces.next().map(String::as_str));
        if let Some(count) = count {
            Json::Count(count).write(out);
            out.extend(pieces.next().map(String::as_str));
        }
        write_text(text, out);
        out.extend(pieces.next().map(String::as_str));
    }
}

impl Json {
    /// A text that is JSON itself; nothing if it is not.
    pub(crate) fn raw(text: &str) -> Option<Self> {
        Tree::read_answer(text.as_bytes()).ok()?;
        Some(Self::Raw(text.trim().into()))
    }

    /// A text that is a JSON object; the empty text is one without members.
    pub(crate) fn raw_object(text: &str) -> Option<Self> {
        match text.trim() {
            "" => Some(object! {}),
            text if text.starts_with('{') => Self::raw(text),
            _ => None,
        }
    }

    /// Adds a member to an object.
    pub(crate) fn put(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Self>) {
        if let Self::Object(members) = self {
            members.push((name.into(), value.into()));
        }
    }

    /// Adds a member if there is a value for it.
    pub(crate) fn put_some(&mut self, name: &'static str, value: Option<impl Into<Self>>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }

    /// Adds a member if the list is not empty.
    pub(crate) fn put_full(&mut self, name: &'static str, list: Vec<Self>) {
        if !list.is_empty() {
            self.put(name, list);
        }
    }

    /// Whether it is an object without members.
    pub(crate) fn is_bare(&self) -> bool {
        matches!(self, Self::Object(members) if members.is_empty())
    }
}

impl From<bool> for Json {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u64> for Json {
    fn from(value: u64) -> Self {
        Self::Count(value)
    }
}

impl From<usize> for Json {
    fn from(value: usize) -> Self {
        Self::Count(u64::try_from(value).unwrap_or(u64::MAX))
    }
}

impl From<&str> for Json {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<&String> for Json {
    fn from(value: &String) -> Self {
        Self::Text(value.clone())
    }
}

impl From<String> for Json {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<Vec<Self>> for Json {
    fn from(value: Vec<Self>) -> Self {
        Self::List(value)
    }
}

impl<T: Into<Self>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl Json {
    /// The event of a stream that has this for its data, and a name where its dialect gives one.
    pub(crate) fn write_event(&self, name: Option<&str>, out: &mut String) {
        if let Some(name) = name {
            out.extend(["event: ", name, "\n"]);
        }
        out.push_str("data: ");
        self.write(out);
        out.push_str("\n\n");
    }

    /// Writes it behind what is there; most events of a stream are a frame and a few words, so this copies them once.
    fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            // A string takes whatever is written.
            Self::Count(value) => write!(out, "{value}").unwrap_or_default(),
            Self::Text(text) => write_text(text, out),
            Self::Raw(raw) => out.push_str(raw),
            Self::Gap => out.push(GAP),
            Self::List(values) => {
                out.push('[');
                for (place, value) in values.iter().enumerate() {
                    out.push_str(if place > 0 { "," } else { "" });
                    value.write(out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (place, (name, value)) in members.iter().enumerate() {
                    out.push_str(if place > 0 { "," } else { "" });
                    write_text(name, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

/// Writes a text in quotes; what has to be escaped is rare, and serde's to do.
fn write_text(text: &str, out: &mut String) {
    if text.bytes().any(|byte| byte < b' ' || matches!(byte, b'"' | b'\\')) {
        out.push_str(&serde_json::Value::from(text).to_string());
    } else {
        out.extend(["\"", text, "\""]);
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut written = String::new();
        self.write(&mut written);
        f.write_str(&written)
    }
}

/// An object of members in this order.
macro_rules! object {
    ($($name:literal: $value:expr),* $(,)?) => {
        $crate::translate::json::Json::Object(vec![
            $((std::borrow::Cow::Borrowed($name), $crate::translate::json::Json::from($value))),*
        ])
    };
}
pub(crate) use object;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_and_raw_text_its_bytes() {
        let schema = Json::raw(r#" {"z": 1.50, "a": "\u00e9"} "#).unwrap();
        let mut written = object! { "b": "x\n", "a": 1_u64, "n": None::<u64>, "list": vec![schema] };
        written.put_some("gone", None::<bool>);
        written.put("last", true);
        let text = r#"{"b":"x\n","a":1,"n":null,"list":[{"z": 1.50, "a": "\u00e9"}],"last":true}"#;
        assert_eq!(written.to_string(), text);
        let mold = Mold::new(Some("e"), &object! { "n": Json::Gap, "\0": "\0", "t": Json::Gap, "z": 1_u64 });
        let mut filled = String::new();
        mold.fill(Some(7), "\"", &mut filled);
        assert_eq!(filled, "event: e\ndata: {\"n\":7,\"\\u0000\":\"\\u0000\",\"t\":\"\\\"\",\"z\":1}\n\n");
        let hard = "a \"b\" \\ \u{1} é\u{2028}";
        assert_eq!(Json::from(hard).to_string(), serde_json::to_string(hard).unwrap());
    }

    #[test]
    fn arguments_are_an_object_or_nothing() {
        let check = |text: &str| Json::raw_object(text).map(|json| json.to_string());
        assert_eq!(check(""), Some("{}".into()));
        assert_eq!(check(" {\"a\":1}"), Some("{\"a\":1}".into()));
        assert_eq!([check("[]"), check("{\"a\":"), check("no")], [None, None, None]);
    }
}
