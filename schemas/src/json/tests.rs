//! The reader against `serde_json`: the same documents are accepted, and they say the same.

use proptest::prelude::*;
use serde_json::Value as Json;

use super::*;

/// What a tree says, as `serde_json` would give it: of a name that stands twice the last one.
fn said(value: Value<'_>) -> Json {
    match value.kind() {
        Kind::Null => Json::Null,
        Kind::Bool(value) => Json::from(value),
        Kind::Number(number) => serde_json::from_str(number).unwrap(),
        Kind::Text(text) => {
            let decoded = text.decoded();
            assert_eq!((decoded.len(), decoded.is_ascii()), (text.len(), text.is_ascii()), "{text:?}");
            assert!(text == *decoded && text.starts_with(&decoded), "{text:?}");
            assert!(!text.starts_with(&format!("{decoded}x")) && text != *format!("{decoded}x"), "{text:?}");
            Json::from(&*decoded)
        }
        Kind::List(items) => items.map(said).collect(),
        Kind::Object(members) => {
            Json::Object(members.map(|(name, value)| (name.decoded().into_owned(), said(value))).collect())
        }
    }
}

/// Each value's bytes are a document that says the same, and lie in those of what holds it.
fn spans(value: Value<'_>, body: &str) {
    assert_eq!(&body[value.span()], value.raw());
    let alone = serde_json::from_str::<Json>(value.raw()).ok();
    // What is nested deepest is not too deep alone, so it is always one.
    assert_eq!(alone, Some(said(value)), "{}", value.raw());
    let inner =
        value.items().into_iter().flatten().chain(value.members().into_iter().flatten().map(|(_, value)| value));
    let mut behind = value.span().start;
    for inner in inner {
        assert!(behind < inner.span().start && inner.span().end < value.span().end);
        behind = inner.span().end;
        spans(inner, body);
    }
}

fn check(body: &[u8]) -> bool {
    let (theirs, ours) = (serde_json::from_slice::<Json>(body), Tree::read(body));
    let shown = String::from_utf8_lossy(body);
    match (theirs, ours) {
        (Ok(theirs), Ok(ours)) => {
            assert_eq!(said(ours.root()), theirs, "{shown}");
            true
        }
        (Err(_), Err(Malformed { at, why })) => {
            assert!(
                at <= body.len() && (at == body.len()) == (why == Why::EndsEarly) || why == Why::NotUtf8,
                "{shown}"
            );
            false
        }
        (theirs, ours) => panic!("{theirs:?} and {ours:?}: {shown}"),
    }
}

#[test]
fn odd_documents_are_read_as_by_serde_json() {
    #[rustfmt::skip]
    let good = [
        "0", "-0", "-0.0", "1.5e+3", "1E-2", "18446744073709551615", "18446744073709551616", "1.7976931348623157e308",
        "0e999999999999", "0.0e99999999999999999999", "1e-999999999999", "123456789012345678901234567890.5",
        "\"\"", r#""\u0000""#, r#""\/\b\f\n\r\t\"\\""#, r#""\ud83d\ude00""#, r#""\uDBFF\uDFFF""#, r#""é\u00e9""#, "\"\u{7f}\u{80}\u{2028}\"",
        "[]", "{}", " \t\r\n[ \n] ", r#"{"":{"":[]}}"#, r#"{"a":1,"a":2,"\u0061":3}"#, "[null,true,false]", "[[],{},[[]]]",
    ];
    #[rustfmt::skip]
    let bad = [
        "", " ", "\u{feff}1", "01", "-", "-a", "+1", ".5", "1.", "1.e2", "1e", "1e+", "0x1", "00", "-01", "1_000", "Infinity", "NaN", "1e309",
        "-1e309", "1e999999999999999999999", "tru", "truex", "nul", "True", "[1,]", "[,1]", "[1 2]", "[1", "{", "{\"a\"", "{\"a\":", "{\"a\":1",
        "{\"a\":1,", "{\"a\":1,}", "{,}", "{a:1}", "{'a':1}", "{\"a\" 1}", "{1:1}", "[}", "{]", "[1]]", "1 1", "\"", "\"a", "\"\\", "\"\\\"",
        "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"\\u+123\"", "\"\\ud800\"", "\"\\ud800\\n\"", "\"\\ud800\\u0041\"", "\"\\ud800\\ud800\"",
        "\"\\udc00\"", "\"\\ud83d", "\"\n\"", "\"\u{1f}\"", "\"\u{0}\"", "\u{c}1", "\u{a0}1", "/**/1", "1//",
    ];
    good.iter().for_each(|body| assert!(check(body.as_bytes()), "{body}"));
    bad.iter().for_each(|body| assert!(!check(body.as_bytes()), "{body}"));
    for body in [b"\"\xff\"".as_slice(), b"\"\xed\xa0\x80\"", b"\"\xc3\"", b"\xc0\xaf", b"[\"\\\xc3\xa9\"]"] {
        assert!(!check(body), "{body:?}");
    }
    for digits in [299, 300, 301, 308, 309, 310, 400] {
        for number in [
            "1".repeat(digits),
            "9".repeat(digits),
            format!("-{}.5", "9".repeat(digits)),
            format!("0.{}e{digits}", "0".repeat(digits)),
            format!("0.{}1e{}", "0".repeat(digits), digits + 309),
        ] {
            check(number.as_bytes());
        }
    }
}

#[test]
fn what_is_nested_too_deep_is_refused() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"a\":", "}]")] {
        for depth in 60..130 {
            let inner = if open.len() > 5 { "[]" } else { "1" };
            check(format!("{}{inner}{}", open.repeat(depth), close.repeat(depth)).as_bytes());
        }
    }
    assert!(check(format!("{}{}", "[".repeat(127), "]".repeat(127)).as_bytes()));
    assert!(check(format!("[{}{}]", "[".repeat(126), "]".repeat(126)).as_bytes()));
    assert!(check(format!("[{}1]", "[[]],".repeat(1_000)).as_bytes()));
    let deep = "[".repeat(1_000_000);
    assert_eq!(Tree::read(deep.as_bytes()).unwrap_err(), Malformed { why: Why::TooDeep, at: 127 });
}

/// What ends a plain part is found wherever it stands, in short texts and in long ones.
#[test]
fn every_byte_of_a_text_is_looked_at() {
    for length in 0..150 {
        for place in 0..length {
            for odd in ["\"", "\\n", "\\u00e9", "\n", "\u{1f}", "\u{7f}", "é", "\u{80}"] {
                let text = format!("{}{odd}{}", "x".repeat(place), "~".repeat(length - place - 1));
                check(format!("\"{text}\"").as_bytes());
            }
        }
    }
}

/// Any text, as it may be sent: plain or escaped, character by character.
fn text() -> impl Strategy<Value = String> {
    let char = (any::<char>(), 0_u8..8).prop_map(|(char, how)| match how {
        0 => char.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
        1 => char.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04X}")).collect(),
        2 => "\\n\\\"\\\\\\/\\t\\b\\f\\r".to_owned(),
        3 => "some words of plain text, ".repeat(6),
        _ if u32::from(char) < 0x20 || matches!(char, '"' | '\\') => "q".to_owned(),
        _ => char.to_string(),
    });
    prop::collection::vec(char, 0..6).prop_map(|chars| format!("\"{}\"", chars.concat()))
}

/// Any document, written in any way.
fn document() -> impl Strategy<Value = String> {
    let number = "-?(0|[1-9][0-9]{0,22})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?";
    let leaf = prop_oneof![Just("null".to_owned()), any::<bool>().prop_map(|value| value.to_string()), number, text()];
    let space = || prop::sample::select(vec!["", "", " ", "\r\n\t "]);
    leaf.prop_recursive(5, 40, 5, move |inner| {
        let item =
            (space(), inner.clone(), space()).prop_map(|(before, value, after)| format!("{before}{value}{after}"));
        let name = prop_oneof![text(), Just("\"a\"".to_owned()), Just("\"\\u0061\"".to_owned())];
        let member = (space(), name, space(), item.clone())
            .prop_map(|(before, name, after, value)| format!("{before}{name}{after}:{value}"));
        prop_oneof![
            prop::collection::vec(item, 0..5).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(member, 0..5).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

/// A byte that stands for something, or any.
fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![
        prop::sample::select(b"{}[]:,\"\\/bfnrtue0123456789-+.EdD \n\t\r\x00\x1f\x7f\x80\xc3\xa9\xed".to_vec()),
        any::<u8>()
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_document_is_read_as_by_serde_json(document in document()) {
        if check(document.as_bytes()) {
            spans(Tree::read(document.as_bytes()).unwrap().root(), &document);
        }
    }

    #[test]
    fn a_damaged_document_is_read_as_by_serde_json(
        document in document(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..4, byte()), 1..4),
    ) {
        let mut body = document.into_bytes();
        for (at, what, byte) in damage {
            let at = at.index(body.len() + 1);
            match what {
                0 => body.truncate(at),
                1 => body.insert(at, byte),
                _ if at == body.len() => {}
                2 => drop(body.remove(at)),
                _ => body[at] = byte,
            }
        }
        check(&body);
    }

    #[test]
    fn what_only_looks_like_a_document_is_read_as_by_serde_json(body in prop::collection::vec(byte(), 0..24)) {
        check(&body);
        check(&[b"[\"", &*body, b"\"]"].concat());
        check(&[b"{\"a\":", &*body, b"}"].concat());
    }
}
