//! Requests are read strictly where it matters, and edited without touching a byte that no edit names.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

fn read(api: Api, body: &Bytes) -> Result<Parsed, Problem> {
    parse(api, body).map(|(parsed, _)| parsed)
}

fn chat(body: &str) -> Result<Parsed, Problem> {
    read(Api::OpenAiChat, &Bytes::copy_from_slice(body.as_bytes()))
}

#[test]
fn what_is_acted_on_is_read() {
    let body = r#" {"mod\u0065l":"gpt-\u0034o","stream":true,"stream_options":{"include_usage":true},"max_tokens":64.0,
        "max_completion_tokens":1e2,"n":null,"user":"mallory","zz":1,"zz":2}"#;
    let parsed = chat(body).expect("a request");
    assert_eq!((parsed.model.as_str(), parsed.stream, parsed.wants_usage, parsed.n), ("gpt-4o", true, true, 1));
    assert_eq!(
        (parsed.max_tokens, parsed.max_completion_tokens, parsed.output_cap()),
        (Some(64), Some(100), Some(100))
    );
    let message = Bytes::from_static(br#"{"model":"claude","max_tokens":5,"stream":null,"n":"x","stream_options":3}"#);
    let parsed = read(Api::AnthropicMessages, &message).expect("a request");
    assert_eq!((parsed.max_tokens, parsed.stream, parsed.wants_usage), (Some(5), false, false));
    for unnamed in [br#"{"input":"x"}"#.as_slice(), br#"{"model":null,"input":"x"}"#] {
        let moderation = read(Api::OpenAiModerations, &Bytes::copy_from_slice(unnamed)).expect("a request");
        assert_eq!(moderation.model, "omni-moderation-latest", "as its documentation has it");
    }
    let input = Bytes::from_static(br#"{"model":"e","input":"x","max_tokens":-1,"stream":7}"#);
    assert!(read(Api::OpenAiEmbeddings, &input).is_ok());
}

#[test]
fn newer_tools_of_the_web_make_code_free() {
    let check = |api: Api, tools: &str, wanted: Option<bool>| {
        let body = Bytes::from(format!(r#"{{"model":"claude","max_tokens":5,"tools":{tools}}}"#));
        assert_eq!(read(api, &body).expect("a request").code_is_free, wanted, "{tools}");
    };
    for (tools, wanted) in [
        (r#"[{"type":"code_execution_20250825"},{"type":"web_search_20260209"}]"#, true),
        (r#"[{"type":"web_fetch_20260318"}]"#, true),
        (r#"[{"type":"code_execution_20260521"},{"type":"web_search_20250305"}]"#, false),
        (r#"[{"name":"web_search_20260209","input_schema":{}},{"type":"web_search_"},"x"]"#, false),
        ("null", false),
    ] {
        check(Api::AnthropicMessages, tools, Some(wanted));
    }
    check(Api::OpenAiResponses, r#"[{"type":"web_search_20260209"}]"#, None);
}

#[test]
fn what_is_wrong_is_refused_by_name() {
    for (body, code, message) in [
        ("", ErrorCode::MalformedJson, "it ends too early, at line 1 column 0"),
        ("[1]", ErrorCode::MalformedJson, "it is not an object"),
        ("{\"model\":\n  nope}", ErrorCode::MalformedJson, "it is not JSON, at line 2 column 4"),
        ("{\"model\":\"x\"", ErrorCode::MalformedJson, "it ends too early, at line 1 column 12"),
        ("{\"model\":\"x\"} x", ErrorCode::MalformedJson, "it is not JSON, at line 1 column 15"),
        ("{\"model\":\"x\n\"}", ErrorCode::MalformedJson, "it is not JSON, at line 1 column 12"),
        ("{\"model\":\"\\u12\"}", ErrorCode::MalformedJson, "it is not JSON, at line 1 column 15"),
        ("{\"n\":1,\n\"seed\":1e400}", ErrorCode::MalformedJson, "a number is too large, at line 2 column 8"),
        ("\u{feff}{\"model\":\"x\"}", ErrorCode::MalformedJson, "it begins with a byte order mark"),
        ("{}", ErrorCode::BadValue, "`model` is missing"),
        (r#"{"model":null}"#, ErrorCode::BadValue, "`model` is missing"),
        (r#"{"model":""}"#, ErrorCode::BadValue, "`model` must be a name"),
        (r#"{"model":["x"]}"#, ErrorCode::BadValue, "`model` must be a name"),
        (
            concat!(
                "{\"model\":\"",
                "0123456789012345678901234567890123456789012345678901234567890123\\u0041\\u0041",
                "0123456789012345678901234567890123456789012345678901234567890123",
                "0123456789012345678901234567890123456789012345678901234567890123",
                "0123456789012345678901234567890123456789012345678901234567890123\"}"
            ),
            ErrorCode::BadValue,
            "`model` may have 256 bytes",
        ),
        (r#"{"model":"a","model":"b"}"#, ErrorCode::DuplicateJsonKey, "`model` may stand once"),
        (r#"{"model":"a","n":1,"\u006e":9}"#, ErrorCode::DuplicateJsonKey, "`n` may stand once"),
        (r#"{"model":"a","messages":[],"messages":[]}"#, ErrorCode::DuplicateJsonKey, "`messages` may stand once"),
        (r#"{"model":"a","stream":"yes"}"#, ErrorCode::BadValue, "`stream` must be true or false"),
        (r#"{"model":"a","stream_options":[]}"#, ErrorCode::BadValue, "`stream_options` must be an object"),
        (
            r#"{"model":"a","stream_options":{"include_usage":1}}"#,
            ErrorCode::BadValue,
            "`stream_options.include_usage` must be true or false",
        ),
        (
            r#"{"model":"a","stream_options":{"include_usage":true,"include_usage":false}}"#,
            ErrorCode::DuplicateJsonKey,
            "`stream_options.include_usage` may stand once",
        ),
        (r#"{"model":"a","max_tokens":-1}"#, ErrorCode::BadValue, "`max_tokens` may not be negative"),
        (r#"{"model":"a","n":1.5}"#, ErrorCode::BadValue, "`n` must be a whole number"),
        (
            r#"{"model":"a","max_completion_tokens":"9"}"#,
            ErrorCode::BadValue,
            "`max_completion_tokens` must be a number",
        ),
    ] {
        let problem = chat(body).expect_err(body);
        assert_eq!((problem.code, problem.message.as_str()), (code, message), "{body}");
    }
    let deep = format!("{{\"model\":{}", "[".repeat(127));
    assert_eq!(chat(&deep).expect_err("deep").message, "it is nested too deep, at line 1 column 136");
    let problem = read(Api::OpenAiChat, &Bytes::from_static(b"{\"model\":\"\xff\"}")).expect_err("no UTF-8");
    assert_eq!((problem.code, problem.message.as_str()), (ErrorCode::MalformedJson, "it is not UTF-8 from byte 10 on"));
}

fn check(body: &str, edits: Edits<'_>, expected: &str) {
    let edited = chat(body).expect("a request").edit(&edits);
    assert_eq!(std::str::from_utf8(&edited).expect("text"), expected);
    assert_eq!(chat(expected).expect("still a request").edit(&edits), edited, "an edit made twice changes nothing");
}

#[test]
fn an_edit_that_changes_nothing_hands_on_the_same_bytes() {
    let body =
        Bytes::from_static(br#"{"model":"a","stream":true,"stream_options":{"include_usage":true},"max_tokens":5}"#);
    let cap = Some(Cap { member: CapMember::MaxTokens, tokens: 5 });
    let edited =
        read(Api::OpenAiChat, &body).expect("a request").edit(&Edits { model: Some("a"), ask_usage: true, cap });
    assert_eq!(edited.as_ptr(), body.as_ptr());
}

#[test]
fn a_model_is_renamed_in_place() {
    let edits = Edits { model: Some("b\"2"), ..Edits::default() };
    check(r#"{ "messages" : [] , "model" : "a" }"#, edits, r#"{ "messages" : [] , "model" : "b\"2" }"#);
}

#[test]
fn usage_is_asked_for_beside_what_else_is_asked() {
    let ask = Edits { ask_usage: true, ..Edits::default() };
    for (options, expected) in [
        (r#""stream_options":{"include_usage":false}"#, r#""stream_options":{"include_usage":true}"#),
        (r#""stream_options":{"a":1, "include_usage" : null}"#, r#""stream_options":{"a":1, "include_usage" : true}"#),
        (r#""stream_options":null"#, r#""stream_options":{"include_usage":true}"#),
        (r#""stream_options":{ }"#, r#""stream_options":{"include_usage":true }"#),
        (
            r#""stream_options":{"include_obfuscation":false}"#,
            r#""stream_options":{"include_usage":true,"include_obfuscation":false}"#,
        ),
    ] {
        let whole = |options: &str| format!(r#"{{"model":"a",{options},"stream":true}}"#);
        check(&whole(options), ask, &whole(expected));
    }
    check(
        r#"{"model":"a","stream":true}"#,
        ask,
        r#"{"stream_options":{"include_usage":true},"model":"a","stream":true}"#,
    );
    check(r#"{"model":"a"}"#, ask, r#"{"model":"a"}"#);
    let message = Bytes::from_static(br#"{"model":"a","stream":true}"#);
    assert_eq!(read(Api::AnthropicMessages, &message).expect("a request").edit(&ask), message);
}

#[test]
fn a_cap_is_written_where_it_is_missing_or_too_high() {
    let cap = |member| Edits { cap: Some(Cap { member, tokens: 7 }), ..Edits::default() };
    let (old, new) = (cap(CapMember::MaxTokens), cap(CapMember::MaxCompletionTokens));
    check(r#"{"model":"a"}"#, old, r#"{"max_tokens":7,"model":"a"}"#);
    check("\n{\n\"model\":\"a\"}", new, "\n{\"max_completion_tokens\":7,\n\"model\":\"a\"}");
    check(r#"{"max_tokens":null,"model":"a"}"#, old, r#"{"max_tokens":7,"model":"a"}"#);
    check(r#"{"max_tokens":null,"model":"a"}"#, new, r#"{"max_completion_tokens":7,"max_tokens":null,"model":"a"}"#);
    check(r#"{"max_tokens":8,"model":"a"}"#, old, r#"{"max_tokens":7,"model":"a"}"#);
    check(r#"{"max_tokens":6,"model":"a"}"#, old, r#"{"max_tokens":6,"model":"a"}"#);
    check(r#"{"max_tokens":0,"model":"a"}"#, old, r#"{"max_tokens":7,"model":"a"}"#);
    check(
        r#"{"max_tokens":1e3,"model":"a","max_completion_tokens":900}"#,
        old,
        r#"{"max_tokens":7,"model":"a","max_completion_tokens":7}"#,
    );
}

#[test]
fn a_cap_that_a_model_may_not_heed_goes_where_it_does() {
    let cap = |member| Edits { cap: Some(Cap { member, tokens: 7 }), ..Edits::default() };
    let (old, new) = (cap(CapMember::MaxTokens), cap(CapMember::MaxCompletionTokens));
    check(r#"{"model":"a", "max_tokens" : 8}"#, new, r#"{"model":"a", "max_completion_tokens" : 7}"#);
    check(r#"{"max_tokens":6.0,"model":"a"}"#, new, r#"{"max_completion_tokens":6.0,"model":"a"}"#);
    check(r#"{"max_completion_tokens":6,"model":"a"}"#, old, r#"{"max_tokens":6,"model":"a"}"#);
    check(r#"{"max\u005fcompletion_tokens":0,"model":"a"}"#, old, r#"{"max_tokens":7,"model":"a"}"#);
    let nulls = r#"{"max_completion_tokens":9,"max_tokens":null,"model":"a"}"#;
    check(nulls, old, r#"{"max_completion_tokens":null,"max_tokens":7,"model":"a"}"#);
    check(nulls, new, r#"{"max_completion_tokens":7,"max_tokens":null,"model":"a"}"#);
    let nulls = r#"{"max_completion_tokens":6,"max_tokens":null,"model":"a"}"#;
    check(nulls, old, r#"{"max_completion_tokens":null,"max_tokens":6,"model":"a"}"#);
    for (given, expected) in [((5, 9), (5, 7)), ((9, 5), (7, 5)), ((0, 5), (7, 5)), ((5, 0), (5, 7)), ((5, 5), (5, 5))]
    {
        let body = |(old, new)| format!(r#"{{"max_tokens":{old},"model":"a","max_completion_tokens":{new},"n":2}}"#);
        check(&body(given), old, &body(expected));
    }
    // The other members that cap are of APIs that have one each.
    let responses = Bytes::from_static(br#"{"max_tokens":9,"model":"a"}"#);
    let edited = read(Api::OpenAiResponses, &responses).expect("a request").edit(&cap(CapMember::MaxOutputTokens));
    assert_eq!(edited, r#"{"max_output_tokens":7,"max_tokens":7,"model":"a"}"#);
    let invoked = Bytes::from_static(br#"{"max_completion_tokens":9,"messages":[]}"#);
    let given = Given { model: Some("openai.gpt-oss-120b"), ..Given::default() };
    let (parsed, _) = super::read(Api::BedrockInvoke, &invoked, &given).expect("a request");
    assert_eq!(parsed.edit(&old), r#"{"max_tokens":7,"messages":[]}"#);
}

#[test]
fn what_is_told_of_a_cap_is_that_it_is_lower() {
    let lowered =
        |body: &str| chat(body).expect("a request").is_lowered_by(Cap { member: CapMember::MaxTokens, tokens: 7 });
    let body = |caps: &str| format!(r#"{{"model":"a"{caps}}}"#);
    for (caps, is_lowered) in [
        ("", true),
        (r#","max_tokens":0"#, true),
        (r#","max_tokens":8"#, true),
        (r#","max_tokens":7,"max_completion_tokens":8"#, true),
        (r#","max_tokens":7"#, false),
        (r#","max_completion_tokens":7"#, false),
        (r#","max_tokens":6,"max_completion_tokens":7"#, false),
    ] {
        assert_eq!(lowered(&body(caps)), is_lowered, "{caps}");
    }
}

/// Any JSON of a small size.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("\\PC{0,6}", inner), 0..4)
                .prop_map(|members| Value::Object(Map::from_iter(members))),
        ]
    })
}

/// A body whose text is known piece by piece: keys and values as written, and the space around each.
#[derive(Clone, Debug)]
struct Draft {
    space: &'static str,
    members: Vec<(String, String)>,
}

impl Draft {
    /// The text, with `first` behind the opening brace.
    fn text(&self, first: &str) -> String {
        let space = self.space;
        let member = |(key, value): &(String, String)| format!("{space}{key}{space}:{space}{value}{space}");
        let members: Vec<String> = self.members.iter().map(member).collect();
        format!("{space}{{{first}{}}}{space}", members.join(","))
    }

    fn value(&self, name: &str) -> Option<String> {
        let key = format!("\"{name}\"");
        self.members.iter().find(|(given, _)| *given == key).map(|(_, value)| value.clone())
    }

    fn rename(&mut self, name: &str, to: &str) {
        let (old, new) = (format!("\"{name}\""), format!("\"{to}\""));
        self.members.iter_mut().filter(|(given, _)| *given == old).for_each(|(key, _)| key.clone_from(&new));
    }

    fn set(&mut self, name: &str, value: String) {
        let key = format!("\"{name}\"");
        self.members.iter_mut().filter(|(given, _)| *given == key).for_each(|(_, old)| old.clone_from(&value));
    }
}

/// A chat request with the members that an edit may touch, in any of their forms, among others, in any order and spacing.
fn request() -> impl Strategy<Value = Draft> {
    let cap =
        || prop_oneof![Just(None), Just(Some("null".to_owned())), (0_u64..2_000).prop_map(|cap| Some(cap.to_string()))];
    let options = prop::option::of(prop::sample::select(vec![
        "null",
        "{}",
        "{ }",
        r#"{"x":{"include_usage":false}}"#,
        r#"{"include_usage":false}"#,
        r#"{"x":[1,"}"],"include_usage":null}"#,
        r#"{ "include_usage" : true, "x":0}"#,
    ]));
    let space = prop::sample::select(vec!["", " ", "\r\n\t "]);
    let others = prop::collection::btree_map("x[a-z\u{e9}\"\\\\]{0,6}", value(), 0..5);
    let parts = ("[a-z\"\\\\\u{e9}/-]{1,12}", (cap(), cap(), options, any::<bool>()), others, space);
    parts.prop_flat_map(|(model, (old, new, options, stream), others, space)| {
        let mut members = vec![("model", json!(model).to_string()), ("stream", stream.to_string())];
        members.extend(old.map(|cap| ("max_tokens", cap)));
        members.extend(new.map(|cap| ("max_completion_tokens", cap)));
        members.extend(options.map(|options| ("stream_options", options.to_owned())));
        let mut members: Vec<(String, String)> =
            members.into_iter().map(|(name, value)| (format!("\"{name}\""), value)).collect();
        members.extend(others.into_iter().map(|(key, value)| (json!(key).to_string(), value.to_string())));
        Just(members).prop_shuffle().prop_map(move |members| Draft { space, members })
    })
}

/// What an edit makes of a draft, worked out on its pieces.
fn expected(draft: &Draft, edits: &Edits<'_>) -> String {
    let (mut draft, mut first) = (draft.clone(), String::new());
    if let Some(model) = edits.model {
        draft.set("model", json!(model).to_string());
    }
    if edits.ask_usage && draft.value("stream").as_deref() == Some("true") {
        match draft.value("stream_options").as_deref() {
            None => first.push_str(r#""stream_options":{"include_usage":true},"#),
            Some(options) => draft.set(
                "stream_options",
                match options {
                    "null" | "{}" => r#"{"include_usage":true}"#,
                    "{ }" => r#"{"include_usage":true }"#,
                    r#"{"x":{"include_usage":false}}"# => r#"{"include_usage":true,"x":{"include_usage":false}}"#,
                    r#"{"include_usage":false}"# => r#"{"include_usage":true}"#,
                    r#"{"x":[1,"}"],"include_usage":null}"# => r#"{"x":[1,"}"],"include_usage":true}"#,
                    asked => asked,
                }
                .to_owned(),
            ),
        }
    }
    if let Some(Cap { member, tokens }) = edits.cap {
        let given = |name| draft.value(name).and_then(|cap| cap.parse::<u64>().ok());
        let (own, other) = match member {
            CapMember::MaxTokens => ("max_tokens", "max_completion_tokens"),
            _ => ("max_completion_tokens", "max_tokens"),
        };
        let lowered = |cap: u64| if cap == 0 { tokens } else { cap.min(tokens) }.to_string();
        match (draft.value(own), given(own), given(other).map(lowered)) {
            (_, Some(cap), both) => {
                draft.set(own, lowered(cap));
                both.into_iter().for_each(|cap| draft.set(other, cap));
            }
            (Some(_), None, Some(cap)) => {
                draft.set(own, cap);
                draft.set(other, "null".to_owned());
            }
            (Some(_), None, None) => draft.set(own, tokens.to_string()),
            (None, None, Some(cap)) => {
                draft.set(other, cap);
                draft.rename(other, own);
            }
            (None, None, None) => first.push_str(&format!("\"{own}\":{tokens},")),
        }
    }
    draft.text(&first)
}

proptest! {
    #[test]
    fn every_other_byte_is_kept(
        draft in request(),
        model in prop::option::of("[a-z\"]{1,5}"),
        ask_usage: bool,
        cap in prop::option::of((any::<bool>(), 0_u64..2_000)),
    ) {
        let member = |old| if old { CapMember::MaxTokens } else { CapMember::MaxCompletionTokens };
        let cap = cap.map(|(old, tokens)| Cap { member: member(old), tokens });
        let edits = Edits { model: model.as_deref(), ask_usage, cap };
        let body = draft.text("");
        let parsed = chat(&body).expect("a request");
        let edited = parsed.edit(&edits);
        let expected = expected(&draft, &edits);
        prop_assert_eq!(std::str::from_utf8(&edited).expect("text"), &expected);
        prop_assert_eq!(edited.as_ptr() == parsed.body().as_ptr(), expected == body);
    }

    #[test]
    fn nothing_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..200), api in 0_usize..4) {
        let _ = read(Api::ALL[api], &Bytes::from(body));
    }

    #[test]
    fn nothing_like_json_makes_it_panic(body in "[{}\\[\\]:,\"a-z\\\\0-9eu.+ -]{0,80}", api in 0_usize..4) {
        let _ = read(Api::ALL[api], &Bytes::from(format!("{{\"model\":\"m\",{body}}}")));
        let _ = read(Api::ALL[api], &Bytes::from(body));
    }

    #[test]
    fn a_cut_request_is_refused(draft in request(), at in any::<prop::sample::Index>()) {
        let body = draft.text("");
        let whole = body.trim_end().len();
        let cuts: Vec<usize> = body.char_indices().map(|(at, _)| at).filter(|at| *at < whole).collect();
        prop_assert_eq!(chat(&body[..*at.get(&cuts)]).expect_err("cut").code, ErrorCode::MalformedJson);
    }
}
