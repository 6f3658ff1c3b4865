//! YAML, and so JSON, as a tree whose every node knows its place.
//!
//! Scalars stay text: what kind of value they are is for the reader to say, so that `100.10` is never a float and
//! `"${PORT}"` may be a number. Keys that stand twice are kept, for the reader to report. `${VAR}` and `${VAR:-default}` are
//! expanded inside scalar values; an expanded value is never shown, only what the file says.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span};

use super::remark::{Place, Remark};
use crate::error_code::ErrorCode;

/// The most nodes that a file may have, those that aliases repeat included.
const MAX_NODES: usize = 1_000_000;
/// The deepest that a file may nest.
const MAX_DEPTH: usize = 64;

/// Reads an environment variable.
pub(super) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A node and where it begins.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: Place,
    pub(super) value: Value,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    /// A scalar that could not be expanded; the mistake is reported already.
    Broken,
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A text: as it counts, and as the file has it.
#[derive(Clone, Debug)]
pub(super) struct Scalar {
    pub(super) text: String,
    pub(super) written: String,
}

/// The name of an entry.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) at: Place,
    pub(super) name: String,
}

/// Reads a file. The tree is there wherever one can be made, so that the reader can go on to report the rest.
pub(super) fn parse(text: &str, env: Env<'_>, mistakes: &mut Vec<Remark>) -> Option<Node> {
    let mut builder = Builder { env, mistakes, open: Vec::new(), anchors: HashMap::new(), nodes: 0, root: None };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for event in Parser::new_from_str(text) {
        let step = match event {
            Ok((event, span)) => builder.take(event, span),
            Err(error) => Err(unreadable(place(error.marker()), format!("not YAML: {}", error.info()))),
        };
        if let Err(mistake) = step {
            builder.mistakes.push(mistake);
            return None;
        }
    }
    let empty = Node { at: Place { line: 1, column: 1 }, value: Value::Null };
    Some(builder.root.unwrap_or(empty))
}

fn place(marker: &Marker) -> Place {
    Place { line: marker.line(), column: marker.col() + 1 }
}

fn unreadable(at: Place, what: String) -> Remark {
    let remedy = "check the indentation, quotes and brackets here and in the lines before";
    Remark::new(at, ErrorCode::ConfigUnreadable, what, remedy)
}

/// A collection whose end is still to come.
struct Open {
    anchor: usize,
    at: Place,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Node>),
    Map(Vec<(Key, Node)>, Option<Key>),
}

struct Builder<'a> {
    env: Env<'a>,
    mistakes: &'a mut Vec<Remark>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Remark> {
        let at = place(&span.start);
        match event {
            Event::Scalar(text, style, anchor, _) => {
                if let Some(Open { kind: OpenKind::Map(_, key @ None), .. }) = self.open.last_mut() {
                    *key = Some(Key { at, name: text.into_owned() });
                    return Ok(());
                }
                let value = self.scalar(at, &text, style);
                self.close(anchor, Node { at, value })
            }
            Event::SequenceStart(anchor, _) => self.open(anchor, at, OpenKind::List(Vec::new())),
            Event::MappingStart(anchor, _) => self.open(anchor, at, OpenKind::Map(Vec::new(), None)),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open { anchor, at, kind: OpenKind::List(items) }) => {
                    self.close(anchor, Node { at, value: Value::List(items) })
                }
                Some(Open { anchor, at, kind: OpenKind::Map(entries, _) }) => {
                    self.close(anchor, Node { at, value: Value::Map(entries) })
                }
                None => Ok(()),
            },
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some(node) => {
                    self.nodes += size(&node);
                    self.close(0, Node { at, ..node })
                }
                None => Err(unreadable(at, "an alias to an anchor that is not complete".into())),
            },
            Event::DocumentStart(_) if self.root.is_some() => {
                Err(unreadable(at, "a second document begins here; a configuration is one document".into()))
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, anchor: usize, at: Place, kind: OpenKind) -> Result<(), Remark> {
        if let Some(Open { kind: OpenKind::Map(_, None), .. }) = self.open.last() {
            return Err(unreadable(at, "a key has to be a plain text".into()));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(unreadable(at, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.open.push(Open { anchor, at, kind });
        Ok(())
    }

    fn close(&mut self, anchor: usize, node: Node) -> Result<(), Remark> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(unreadable(node.at, format!("more than {MAX_NODES} values")));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.kind) {
            Some(OpenKind::List(items)) => items.push(node),
            Some(OpenKind::Map(entries, key)) => match key.take() {
                Some(key) => entries.push((key, node)),
                None => return Err(unreadable(node.at, "a key has to be a plain text".into())),
            },
            None => self.root = Some(node),
        }
        Ok(())
    }

    fn scalar(&mut self, at: Place, text: &str, style: ScalarStyle) -> Value {
        if style == ScalarStyle::Plain && matches!(text, "" | "~" | "null" | "Null" | "NULL") {
            return Value::Null;
        }
        let expanded = match expand(text, self.env) {
            Ok(expanded) => expanded,
            Err((what, remedy)) => {
                self.mistakes.push(Remark::new(at, ErrorCode::UnsetVariable, what, remedy));
                return Value::Broken;
            }
        };
        Value::Scalar(Scalar { text: expanded, written: text.into() })
    }
}

fn size(node: &Node) -> usize {
    match &node.value {
        Value::Null | Value::Broken | Value::Scalar(_) => 1,
        Value::List(items) => items.iter().map(size).sum::<usize>() + 1,
        Value::Map(entries) => entries.iter().map(|(_, node)| size(node)).sum::<usize>() + 1,
    }
}

/// Puts variables in; `$${` stands for `${`.
fn expand(text: &str, env: Env<'_>) -> Result<String, (String, String)> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(kept) = before.strip_suffix('$') {
            out.push_str(kept);
            out.push_str("${");
            rest = after;
            continue;
        }
        out.push_str(before);
        let Some((inside, after)) = after.split_once('}') else {
            return Err((
                "\"${\" without \"}\"".into(),
                "write ${NAME} or ${NAME:-default}, or $${ for a literal ${".into(),
            ));
        };
        out.push_str(&variable(inside, env)?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

fn variable(inside: &str, env: Env<'_>) -> Result<String, (String, String)> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if name.is_empty() || !name.bytes().all(word) || name.starts_with(|first: char| first.is_ascii_digit()) {
        let remedy = "write ${NAME} or ${NAME:-default}; a name has letters, digits and underscores";
        return Err(("\"${…}\" does not name an environment variable".into(), remedy.into()));
    }
    match (env(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.into()),
        (None, None) => Err((
            format!("the environment variable {name} is not set"),
            format!("set {name}, or write ${{{name}:-}} if it may be empty"),
        )),
    }
}
