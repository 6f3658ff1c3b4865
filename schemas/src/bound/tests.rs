//! Bounds by table.
//!
//! What is spelled out is bounded, what is not understood is named with its path, a client's mistake is an error. That real usage
//! stays within the bound is the corpus test's to show.

use super::*;
use crate::{price::Encoding, time::Time};

mod bedrock;
mod caps;
mod media;
mod prices;
mod proxied;

const TODAY: Time = Time::from_micros(1_795_305_600_000_000);

fn of(api: Api, model: &str, body: &str) -> Result<Bound, BoundError> {
    let book = Book::builtin();
    let key = Key { provider: api.vendor(), vendor: api.vendor(), model, tier: "", at: TODAY };
    let facts = book.facts(key.provider, key.vendor, model);
    let tree = Tree::read(body.as_bytes()).unwrap_or_else(|error| panic!("{body}: {error:?}"));
    let bytes = bound(api, (&tree, &Beside::default()), &facts, &book, &key, Measure::Bytes);
    assert_eq!(
        bytes,
        bound(api, (&tree, &Beside::default()), &facts, &book, &key, Measure::Tokens(|text| text.len() as u64)),
        "{body}"
    );
    bytes
}

fn at_most(api: Api, model: &str, body: &str) -> AtMost {
    match of(api, model, body) {
        Ok(Bound::AtMost(most)) => most,
        other => panic!("{body}: {other:?}"),
    }
}

fn chat(more: &str) -> String {
    format!(r#"{{"model":"gpt-4o","messages":[{{"role":"user","content":"hello"}}]{more}}}"#)
}

fn messages(more: &str) -> String {
    format!(
        r#"{{"model":"claude-sonnet-4-5","max_tokens":100,"messages":[{{"role":"user","content":"hello"}}]{more}}}"#
    )
}

fn said(content: &str) -> String {
    format!(r#"{{"max_tokens":100,"messages":[{{"role":"user","content":{content}}}]}}"#)
}

#[test]
fn what_is_spelled_out_is_bounded() {
    let input = |body: &str| at_most(Api::OpenAiChat, "gpt-4o", body).input;
    let plain = input(&chat(""));
    assert!((5..60).contains(&plain), "{plain}");
    #[rustfmt::skip]
    let same = [
        r#","stream":true,"stream_options":{"include_usage":true},"temperature":0.5,"seed":1,"user":"u""#,
        r#","logit_bias":{"1":1},"stop":["a long stop sequence"],"metadata":{"a":"b"},"store":true"#,
        r#","tools":null,"audio":null,"unheard_of":null,"n":null,"max_tokens":null"#,
        r#","response_format":{"type":"text"},"modalities":["text"],"tools":[]"#,
    ];
    for more in same {
        assert_eq!(input(&chat(more)), plain, "{more}");
    }
    #[rustfmt::skip]
    let more = [
        r#","tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"}}}]"#,
        r#","functions":[{"name":"f"}]"#,
        r#","response_format":{"type":"json_schema","json_schema":{"name":"s","schema":{"type":"object"}}}"#,
    ];
    for more in more {
        assert!(input(&chat(more)) > plain, "{more}");
    }
}

#[test]
fn what_is_not_understood_is_named() {
    let openai = |more: &str| (Api::OpenAiChat, "gpt-4o", chat(more));
    let content = |content: &str| (Api::OpenAiChat, "gpt-4o", said(content));
    let anthropic = |more: &str| (Api::AnthropicMessages, "claude-sonnet-4-5", messages(more));
    let block = |content: &str| (Api::AnthropicMessages, "claude-sonnet-4-5", said(content));
    #[rustfmt::skip]
    let cases = [
        (openai(r#","web_search_options":{}"#), "web_search_options", Why::ServerTool, false),
        (openai(r#","plugins":[{"id":"web"}]"#), "plugins", Why::ServerTool, false),
        (openai(r#","prediction":{"type":"content","content":"x"}"#), "prediction", Why::UnknownField, false),
        (openai(r#","modalities":["text","audio"]"#), "modalities", Why::Audio, true),
        (openai(r#","tools":[{"type":"web_search"}]"#), "tools[0].type", Why::ServerTool, false),
        (openai(r#","tools":[{"type":"function","server_url":"x"}]"#), "tools[0].server_url", Why::UnknownField, false),
        (content(r#"[{"type":"image_url","image_url":{"url":"https://x/y.png"}}]"#), "messages[0].content[0].image_url", Why::Reference, true),
        (content(r#"[{"type":"input_audio","input_audio":{"data":"x"}}]"#), "messages[0].content[0].input_audio", Why::Audio, true),
        (content(r#"[{"type":"file","file":{"file_id":"x"}}]"#), "messages[0].content[0].file", Why::Reference, true),
        (content(r#"[{"type":"file","file":{"file_data":"x"}}]"#), "messages[0].content[0].file", Why::Document, true),
        (content(r#"[{"type":"video"}]"#), "messages[0].content[0].type", Why::UnknownShape, false),
        (content("5"), "messages[0].content", Why::UnknownShape, false),
        ((Api::OpenAiChat, "o3-mini", said(r#"[{"type":"image_url","image_url":{"url":"data:image/png;base64,AA"}}]"#)),
            "messages[0].content[0].image_url", Why::ImageMaximumUnknown, true),
        ((Api::OpenAiChat, "unheard", chat("")), "max_tokens", Why::OutputMaximumUnknown, false),
        ((Api::OpenAiChat, "gpt-4o-search-preview", chat("")), "", Why::ModelRunsTools, false),
        ((Api::OpenAiChat, "gpt-4o:online", chat(r#","max_tokens":5"#)), "", Why::ModelRunsTools, false),
        ((Api::OpenAiChat, "openai/gpt-oss-20b:free:online", chat(r#","max_tokens":5"#)), "", Why::ModelRunsTools, false),
        ((Api::OpenAiChat, "openai/gpt-4o@preset/mine", chat(r#","max_tokens":5"#)), "", Why::ModelRunsTools, false),
        ((Api::AnthropicMessages, "anthropic/claude-sonnet-4.5:online", messages("")), "", Why::ModelRunsTools, false),
        ((Api::OpenAiEmbeddings, "text-embedding-3-small", r#"{"input":[{"image":"x"}]}"#.into()), "input[0]", Why::UnknownShape, false),
        (anthropic(r#","mcp_servers":[]"#), "mcp_servers", Why::ServerTool, false),
        (anthropic(r#","context_management":{}"#), "context_management", Why::UnknownField, false),
        (anthropic(r#","tools":[{"type":"web_search_20250305","name":"web_search"}]"#), "tools[0].type", Why::ServerTool, false),
        (anthropic(r#","tools":[{"type":"memory_20250818","name":"memory"}]"#), "tools[0].type", Why::HiddenToolPrompt, true),
        (anthropic(r#","tools":[{"name":"f","input_schema":{},"allowed_callers":["code_execution_20260120"]}]"#), "tools[0].allowed_callers", Why::ServerTool, false),
        (block(r#"[{"type":"image","source":{"type":"url","url":"x"}}]"#), "messages[0].content[0].source", Why::Reference, true),
        (block(r#"[{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"x"}}]"#), "messages[0].content[0].source", Why::Document, true),
        (block(r#"[{"type":"container_upload","file_id":"x"}]"#), "messages[0].content[0].file_id", Why::UnknownShape, false),
        (block(r#"[{"text":"x"}]"#), "messages[0].content[0].text", Why::UnknownShape, false),
        (block(r#"[{"type":"text","text":"x","cache_control":{"type":"ephemeral","ttl":"1d"}}]"#), "messages[0].content[0].cache_control.ttl", Why::UnknownShape, false),
    ];
    for ((api, model, body), field, why, has_most) in cases {
        match of(api, model, &body) {
            Ok(Bound::Unbounded(found)) => {
                assert_eq!((&*found.field, found.why, found.most.is_some()), (field, why, has_most), "{body}");
            }
            other => panic!("{body}: {other:?}"),
        }
    }
}

#[test]
fn what_nothing_bounds_is_named_before_what_the_window_bounds() {
    let body = r#"{"messages":[{"role":"user","content":[{"type":"file","file":{}}]}],"plugins":[]}"#;
    let Ok(Bound::Unbounded(found)) = of(Api::OpenAiChat, "gpt-4o", body) else { panic!("bounded") };
    assert_eq!((&*found.field, found.most), ("plugins", None));
    assert_eq!(found.to_string(), "`plugins` lets the provider run tools, whose results are input");
    let Ok(Bound::Unbounded(found)) = of(Api::Passthrough, "m", "{}") else { panic!("bounded") };
    assert_eq!(found.to_string(), "the request has a form whose effect on usage is not known");
    let Ok(Bound::Unbounded(found)) = of(Api::OpenAiChat, "gpt-4o-search-preview", &chat("")) else {
        panic!("bounded")
    };
    assert_eq!(found.to_string(), "the model runs tools of its own, whose results are input");
}

#[test]
fn a_clients_mistake_is_an_error() {
    let duplicate = |path: &str| BoundError::Duplicate(path.to_owned());
    let no_count = |path: &str| BoundError::NotACount(path.to_owned());
    #[rustfmt::skip]
    let cases = [
        (chat(r#","max_tokens":1,"max_tokens":2"#), duplicate("max_tokens")),
        (chat(r#","max_tokens":null,"max_tok\u0065ns":2"#), duplicate("max_tokens")),
        (r#"{"messages":[{"role":"user","content":"a","content":"b"}]}"#.into(), duplicate("messages[0].content")),
        (chat(r#","tools":[{"type":"function","type":"function"}]"#), duplicate("tools[0].type")),
        (chat(r#","n":-1"#), no_count("n")),
        (chat(r#","n":"1""#), no_count("n")),
        (chat(r#","max_tokens":1.5"#), no_count("max_tokens")),
        ("[]".into(), BoundError::NotAnObject),
    ];
    for (body, expected) in cases {
        assert_eq!(of(Api::OpenAiChat, "gpt-4o", &body), Err(expected), "{body}");
    }
    // What the tool's own schema repeats is not acted on here, and both copies are counted.
    let schema = chat(r#","tools":[{"type":"function","function":{"parameters":{"a":1,"a":1}}}]"#);
    assert!(of(Api::OpenAiChat, "gpt-4o", &schema).is_ok());
    let many: Vec<_> = (0..100).map(|n| format!(r#""f{n}":1"#)).collect();
    let many = format!(r#"{{{},"f7":1}}"#, many.join(","));
    assert_eq!(of(Api::OpenAiChat, "gpt-4o", &many), Err(duplicate("f7")));
}

#[test]
fn text_that_a_tokenizer_may_lengthen_counts_as_lengthened() {
    let growth = |text: &str| super::text::growth(text);
    assert_eq!(growth("plain “quotes” – dashes, 漢字, emoji 🦀, é"), 0);
    assert_eq!(growth("\u{fdfa}"), 30);
    assert_eq!(growth("\u{3316}\u{1d160}"), 15 + 8);
    let book = Book::builtin();
    let key = Key { provider: "p", vendor: "openai", model: "m", tier: "", at: TODAY };
    for (encoding, tokens) in [(Encoding::None, 35), (Encoding::Cl100kBase, 5)] {
        let facts = ModelFacts { encoding, ..ModelFacts::default() };
        for body in ["{\"input\":\"\u{fdfa}\"}", r#"{"input":"\ufdfa"}"#] {
            let tree = Tree::read(body.as_bytes()).unwrap();
            let found = bound(Api::OpenAiEmbeddings, (&tree, &Beside::default()), &facts, &book, &key, Measure::Bytes);
            assert_eq!(found.unwrap().most().unwrap().input, tokens);
        }
    }
}

#[test]
fn a_call_of_a_tool_takes_output_and_needs_a_tool() {
    let chat = |more: &str| at_most(Api::OpenAiChat, "gpt-4o", &chat(&format!(r#","max_tokens":50{more}"#))).tool_calls;
    let tools = r#","tools":[{"type":"function","function":{"name":"f"}}]"#;
    assert_eq!(chat(""), 0);
    assert_eq!(chat(r#","tools":[]"#), 0);
    assert_eq!(chat(r#","tools":null,"tool_choice":"auto""#), 0);
    assert_eq!(chat(tools), 50);
    assert_eq!(chat(&format!(r#"{tools},"n":2"#)), 100);
    assert_eq!(chat(&format!(r#"{tools},"tool_choice":"none""#)), 0);
    assert_eq!(chat(&format!(r#"{tools},"parallel_tool_calls":true"#)), 50);
    assert_eq!(chat(&format!(r#"{tools},"parallel_tool_calls":false,"n":2"#)), 2);
    let messages = |more: &str| {
        let tools = r#","tools":[{"name":"f","input_schema":{"type":"object"}}]"#;
        at_most(Api::AnthropicMessages, "claude-sonnet-4-5", &messages(&format!("{tools}{more}"))).tool_calls
    };
    assert_eq!(messages(""), 100);
    assert_eq!(messages(r#","tool_choice":{"type":"none"}"#), 0);
    assert_eq!(messages(r#","tool_choice":{"type":"auto","disable_parallel_tool_use":true}"#), 1);
    assert_eq!(messages(r#","tool_choice":{"type":"auto","disable_parallel_tool_use":false}"#), 100);
}
