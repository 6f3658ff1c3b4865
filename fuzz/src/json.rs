//! The reader of JSON from outside says of every document what `serde_json` says of it.
//!
//! Beyond that: each value's bytes are a document that says the same, and the reader of answers takes exactly what is JSON once
//! half a character reads as U+FFFD. Where a name stands twice both are kept, and the last one is compared.

use schemas::json::{Kind, Malformed, Tree, Value, Why};
use serde_json::Value as Json;

/// Compares the readers.
pub fn check(input: &[u8]) {
    let theirs = serde_json::from_slice::<Json>(input);
    match (&theirs, Tree::read(input)) {
        (Ok(theirs), Ok(ours)) => {
            assert_eq!(said(ours.root()), *theirs);
            spans(ours.root(), input, &mut 256);
        }
        (Err(_), Err(Malformed { why, at })) => {
            let early = (at == input.len()) == (why == Why::EndsEarly);
            assert!(at <= input.len() && early || why == Why::NotUtf8, "{why:?} at {at}");
        }
        (theirs, ours) => panic!("serde_json: {theirs:?}, ours: {ours:?}"),
    }
    let Ok(answer) = Tree::read_answer(input) else {
        assert!(theirs.is_err(), "the reader of answers refuses what is JSON");
        return;
    };
    let whole = serde_json::from_slice::<Json>(&made_whole(input));
    assert_eq!(whole.ok(), Some(said(answer.root())));
}

/// What a value says, as `serde_json` would give it.
fn said(value: Value<'_>) -> Json {
    match value.kind() {
        Kind::Null => Json::Null,
        Kind::Bool(value) => Json::from(value),
        Kind::Number(number) => serde_json::from_str(number).unwrap_or_else(|_| panic!("not a number: {number}")),
        Kind::Text(text) => {
            let decoded = text.decoded();
            assert_eq!((decoded.len(), decoded.is_ascii()), (text.len(), text.is_ascii()), "{text:?}");
            assert!(text == *decoded && text.starts_with(&decoded), "{text:?}");
            Json::from(&*decoded)
        }
        Kind::List(items) => items.map(said).collect(),
        Kind::Object(members) => {
            Json::Object(members.map(|(name, value)| (name.decoded().into_owned(), said(value))).collect())
        }
    }
}

/// Each value stands in its bytes, and they in those of what holds it; `left` bounds how many are looked at.
fn spans(value: Value<'_>, body: &[u8], left: &mut u32) {
    let span = value.span();
    assert_eq!(&body[span.clone()], value.raw().as_bytes());
    if *left == 0 {
        return;
    }
    *left -= 1;
    assert_eq!(serde_json::from_str::<Json>(value.raw()).ok(), Some(said(value)), "{}", value.raw());
    let members = value.members().into_iter().flatten().map(|(_, value)| value);
    let mut behind = span.start;
    for inner in value.items().into_iter().flatten().chain(members) {
        assert!(behind < inner.span().start && inner.span().end < span.end);
        behind = inner.span().end;
        spans(inner, body, left);
    }
}

/// The document with half characters written as U+FFFD.
fn made_whole(json: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::with_capacity(json.len()), json);
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let (kept, length): (&[u8], usize) = match (unit(rest), rest.get(6..).and_then(unit)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (&rest[..12], 12),
            (Some(0xd800..=0xdfff), _) => (b"\\ufffd", 6),
            _ => (&rest[..rest.len().min(2)], rest.len().min(2)),
        };
        out.extend_from_slice(kept);
        rest = &rest[length..];
    }
    out.extend_from_slice(rest);
    out
}

/// The unit of UTF-16 that is escaped at the beginning.
fn unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.get(..4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
    u16::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}
