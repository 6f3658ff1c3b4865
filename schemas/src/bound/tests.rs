//! Bounds by table.
//!
//! What is spelled out is bounded, what is not understood is named with its path, a client's mistake is an error. That real usage
//! stays within the bound is the corpus test's to show.

use super::*;
use crate::{
    price::{CapField, Encoding},
    time::Time,
};

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
fn the_output_is_its_cap_for_every_answer_or_the_models_maximum() {
    #[rustfmt::skip]
    let cases = [
        ("", 16_384, OutputCap::Absent(16_384)),
        (r#","max_tokens":7"#, 7, OutputCap::Stated(7)),
        (r#","max_tokens":64.0"#, 64, OutputCap::Stated(64)),
        (r#","max_tokens":1e2,"n":3"#, 300, OutputCap::Stated(100)),
        (r#","n":2"#, 32_768, OutputCap::Absent(16_384)),
        (r#","max_tokens":1e30"#, u64::MAX, OutputCap::Stated(u64::MAX)),
    ];
    for (more, output, cap) in cases {
        let most = at_most(Api::OpenAiChat, "gpt-4o", &chat(more));
        assert_eq!((most.output, most.output_cap, most.requests), (output, cap, 1), "{more}");
    }
    assert_eq!(at_most(Api::OpenAiChat, "sandbox/70", &chat(r#","max_tokens":5"#)).output, 5);
    let embedded = at_most(Api::OpenAiEmbeddings, "text-embedding-3-small", r#"{"input":["abc",[1,2,3]],"model":"m"}"#);
    assert_eq!((embedded.input, embedded.output, embedded.output_cap), (10, 0, OutputCap::NoOutput));
    assert_eq!(at_most(Api::OpenAiEmbeddings, "m", r#"{"input":[1,2,3]}"#).input, 5);
    assert_eq!(at_most(Api::OpenAiEmbeddings, "m", r#"{"input":"abcd"}"#).input, 6);
    assert_eq!(at_most(Api::AnthropicCountTokens, "m", "{}").cost, Ok(Pico(0)));
}

/// The bound of a chat with these caps, at a model with this cap field, at a server that heeds all caps or may not.
fn capped(cap_field: CapField, heeds_caps: bool, caps: &str) -> (u64, OutputCap) {
    let facts = ModelFacts { max_output_tokens: Some(100), cap_field, heeds_caps, ..ModelFacts::default() };
    let key = Key { provider: "p", vendor: "openai", model: "m", tier: "", at: TODAY };
    let body = chat(caps);
    let tree = Tree::read(body.as_bytes()).unwrap();
    match bound(Api::OpenAiChat, (&tree, &Beside::default()), &facts, &Book::builtin(), &key, Measure::Bytes) {
        Ok(Bound::AtMost(most)) => (most.output, most.output_cap),
        other => panic!("{caps}: {other:?}"),
    }
}

#[test]
fn a_cap_counts_only_where_the_model_heeds_it() {
    use CapField::{MaxCompletionTokens, MaxTokens};
    use OutputCap::{Absent, Misplaced, Stated};
    #[rustfmt::skip]
    let cases = [
        // What the model's own field says and the other one; what counts where the other one may be passed over, and where not.
        ((None, None), Absent(100), Absent(100)),
        ((Some(7), None), Stated(7), Stated(7)),
        ((None, Some(7)), Misplaced(7), Stated(7)),
        ((Some(7), Some(9)), Misplaced(7), Stated(9)),
        ((Some(9), Some(7)), Stated(9), Stated(9)),
        ((Some(7), Some(7)), Stated(7), Stated(7)),
        // Some take 0 for no cap.
        ((Some(0), None), Absent(100), Stated(0)),
        ((None, Some(0)), Absent(100), Stated(0)),
        ((Some(0), Some(7)), Misplaced(7), Stated(7)),
        ((Some(7), Some(0)), Misplaced(7), Stated(7)),
        ((Some(0), Some(0)), Absent(100), Stated(0)),
    ];
    for ((own, other), passed_over, heeded) in cases {
        for field in [MaxTokens, MaxCompletionTokens] {
            let member = |field: CapField, cap: Option<u64>| {
                cap.map(|cap| format!(r#","{}":{cap}"#, field.name())).unwrap_or_default()
            };
            let caps = member(field, own) + &member(field.other(), other);
            for (heeds, wanted) in [(false, passed_over), (true, heeded)] {
                let (Absent(tokens) | Misplaced(tokens) | Stated(tokens)) = wanted else { panic!("{wanted:?}") };
                assert_eq!(capped(field, heeds, &caps), (tokens, wanted), "{caps}, {field:?}, heeds: {heeds}");
                let twice = caps.clone() + r#","n":2"#;
                assert_eq!(capped(field, heeds, &twice), (2 * tokens, wanted), "{twice}");
            }
        }
    }
}

#[test]
fn no_cap_is_zero_where_nobody_knows_what_that_is() {
    let content = r#""contents":[{"parts":[{"text":"x"}]}]"#;
    let converse = r#""messages":[{"role":"user","content":[{"text":"x"}]}]"#;
    let said = r#""messages":[{"role":"user","content":"x"}]"#;
    let cases = [
        (Api::AnthropicMessages, "claude-sonnet-4-5", format!(r#"{{{said},"max_tokens":0}}"#)),
        (Api::OpenAiResponses, "gpt-4o", r#"{"input":"x","max_output_tokens":0}"#.to_owned()),
        (Api::OpenAiCompletions, "gpt-3.5-turbo-instruct", r#"{"prompt":"x","max_tokens":0}"#.to_owned()),
        (
            Api::GeminiGenerateContent,
            "gemini-2.5-flash",
            format!(r#"{{{content},"generationConfig":{{"maxOutputTokens":0}}}}"#),
        ),
        (
            Api::BedrockConverse,
            "amazon.nova-lite-v1:0",
            format!(r#"{{{converse},"inferenceConfig":{{"maxTokens":0}}}}"#),
        ),
        (Api::CohereChat, "command-r-08-2024", format!(r#"{{{said},"max_tokens":0.0}}"#)),
    ];
    for (api, model, body) in cases {
        let most = at_most(api, model, &body);
        let zero = matches!(most.output_cap, OutputCap::Absent(tokens) if tokens > 0 && tokens == most.output);
        assert!(zero, "{body}: {most:?}");
    }
    // Nothing is written into these, so it is the model's maximum that is held.
    let nova = format!(r#"{{{converse},"inferenceConfig":{{"max_new_tokens":0,"maxTokens":5}}}}"#);
    let most = at_most(Api::BedrockInvoke, "amazon.nova-lite-v1:0", &nova);
    assert!(most.output > 5 && most.output_cap == OutputCap::Stated(most.output), "{most:?}");
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
fn the_cost_is_at_the_dearest_rates_that_can_be_reached() {
    let per_token = |model: &str, more: &str| {
        let most = at_most(Api::OpenAiChat, model, &chat(more));
        most.cost.map(|cost| cost.0 - i128::from(most.input) * INPUT[usize::from(more.contains("default"))])
    };
    // gpt-4o costs 2.50 and 10.00, and 4.25 and 17.00 with priority, which a project can be set to.
    const INPUT: [i128; 2] = [4_250_000, 2_500_000];
    assert_eq!(per_token("gpt-4o", r#","max_tokens":10"#), Ok(170_000_000));
    assert_eq!(per_token("gpt-4o", r#","max_tokens":10,"service_tier":"auto""#), Ok(170_000_000));
    assert_eq!(per_token("gpt-4o", r#","max_tokens":10,"service_tier":"default""#), Ok(100_000_000));
    assert_eq!(per_token("gpt-4o", r#","max_tokens":10,"service_tier":"scale""#), Err(Unpriced::UnknownTier));
    assert_eq!(per_token("unheard", r#","max_tokens":10"#), Err(Unpriced::UnknownModel));

    let claude = |more: &str| at_most(Api::AnthropicMessages, "claude-sonnet-4-5", &messages(more));
    let input_price = |most: AtMost| (most.cost.unwrap().0 - 100 * 15_000_000) / i128::from(most.input);
    assert_eq!(input_price(claude("")), 3_000_000);
    assert_eq!(input_price(claude(r#","cache_control":{"type":"ephemeral"}"#)), 3_750_000);
    assert_eq!(input_price(claude(r#","cache_control":{"type":"ephemeral","ttl":"1h"}"#)), 6_000_000);

    // Above 272,000 tokens of input gpt-5.4 costs twice as much for input, and the bound is above.
    let long = format!(
        r#"{{"messages":[{{"role":"user","content":"{}"}}],"service_tier":"flex","max_completion_tokens":1}}"#,
        "x".repeat(272_000)
    );
    let most = at_most(Api::OpenAiChat, "gpt-5.4", &long);
    assert_eq!(most.cost, Ok(Pico(i128::from(most.input) * 5_000_000) + most.output_price));
}

#[test]
fn images_count_as_the_stated_maximum() {
    let image = r#"[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA","detail":"high"}}]"#;
    let input = at_most(Api::OpenAiChat, "gpt-4o-mini", &said(image)).input;
    assert!((48_169..48_300).contains(&input), "{input}");
    let image = r#"[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}}]"#;
    let input = at_most(Api::AnthropicMessages, "claude-sonnet-4-5", &said(image)).input;
    assert!((1_700..2_000).contains(&input), "{input}");
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
fn what_another_proxy_states_is_bounded_at_the_dearest_tier_and_what_it_does_not_is_not() {
    let book = Book::builtin();
    let of = |api: Api, model, most: &Stated| {
        let key = Key { provider: "openai", vendor: "openai", model, tier: "", at: TODAY };
        stated(api, most, &book, &key)
    };
    let tokens = |input, output| Stated { input, output, ..Stated::default() };
    let Bound::AtMost(most) = of(Api::OpenAiChat, "gpt-4.1", &tokens(Some(1_000), Some(100))) else {
        panic!("it is stated")
    };
    assert_eq!((most.input, most.output, most.output_cap), (1_000, 100, OutputCap::Stated(100)));
    // The priority tier: 3.50 and 14.00 dollars a million tokens.
    assert_eq!(most.cost, Ok(Pico(1_000 * 3_500_000 + 100 * 14_000_000)));
    assert_eq!(most.with_output(0).cost, Ok(Pico(3_500_000_000)));
    for (most, field) in
        [(tokens(None, Some(1)), "input"), (tokens(Some(1), None), "output"), (tokens(None, None), "input")]
    {
        let Bound::Unbounded(unbounded) = of(Api::OpenAiChat, "gpt-4.1", &most) else {
            panic!("{most:?} bounds nothing")
        };
        assert_eq!((&*unbounded.field, unbounded.why, unbounded.most), (field, Why::NotStated, None));
    }
    let (some, none) = (tokens(Some(5), None), Stated::default());
    assert!(matches!(of(Api::OpenAiEmbeddings, "text-embedding-3-small", &some), Bound::AtMost(_)));
    assert!(matches!(of(Api::AnthropicCountTokens, "claude", &none), Bound::AtMost(_)));
    assert!(matches!(of(Api::GeminiCountTokens, "gemini", &none), Bound::AtMost(_)));
    assert!(matches!(of(Api::GeminiEmbeddings, "gemini", &some), Bound::AtMost(_)));
    assert!(matches!(of(Api::CohereRerank, "rerank", &some), Bound::Unbounded(_)));
}

#[test]
fn units_that_another_proxy_states_are_bounded_at_their_price() {
    let book = Book::builtin();
    let of = |api: Api, model, most: Stated| {
        let key = Key { provider: api.vendor(), vendor: api.vendor(), model, tier: "", at: TODAY };
        match stated(api, &most, &book, &key) {
            Bound::AtMost(most) => Ok(most),
            Bound::Unbounded(unbounded) => Err(unbounded.field),
        }
    };
    let tokens = Stated { input: Some(100), output: Some(10), ..Stated::default() };
    let claude = |more: Stated| of(Api::AnthropicMessages, "claude-sonnet-4-5", more).unwrap();
    // All of it written to the cache for an hour: 6.00 and 15.00 dollars a million tokens, and a cent for each search.
    let plain = 100 * 6_000_000 + 10 * 15_000_000;
    assert_eq!(claude(tokens).cost, Ok(Pico(plain)));
    let searches = claude(Stated { web_searches: Some(100), ..tokens });
    assert_eq!(searches.cost, Ok(Pico(plain + 1_000_000_000_000)));
    assert_eq!(searches.with_output(0).cost, Ok(Pico(plain - 10 * 15_000_000 + 1_000_000_000_000)));
    assert_eq!(claude(Stated { web_searches: Some(0), guardrails: Some(0), ..tokens }).cost, Ok(Pico(plain)));
    assert_eq!(claude(Stated { guardrails: Some(1), ..tokens }).cost, Err(Unpriced::UnknownClass));

    assert_eq!(claude(tokens).tool_calls, 10, "no more than there are tokens");
    for calls in [0, 4, 40] {
        assert_eq!(claude(Stated { tool_calls: Some(calls), ..tokens }).tool_calls, calls);
    }

    let ranked = |api, more| of(api, "rerank-v3.5", more);
    let searched = Stated { search_units: Some(3), ..Stated::default() };
    let most = ranked(Api::CohereRerank, searched).unwrap();
    assert_eq!((most.input, most.output, most.cost), (0, 0, Ok(Pico(3 * 2_000_000_000))));
    assert_eq!(ranked(Api::CohereRerank, tokens), Err("search_unit".into()));
    // Those that others rank are counted in tokens as well.
    assert_eq!(ranked(Api::OpenAiRerank, searched), Err("input".into()));
}

fn known(api: Api, model: &str, facts: ModelFacts, body: &str) -> Bound {
    let key = Key { provider: api.vendor(), vendor: api.vendor(), model, tier: "", at: TODAY };
    let tree = Tree::read(body.as_bytes()).unwrap_or_else(|error| panic!("{body}: {error:?}"));
    bound(api, (&tree, &Beside::default()), &facts, &Book::builtin(), &key, Measure::Bytes)
        .unwrap_or_else(|error| panic!("{body}: {error}"))
}

#[test]
fn an_image_is_as_many_tokens_as_its_size_and_quality_have() {
    let made = |model: &str, more: &str| of(Api::OpenAiImages, model, &format!(r#"{{"prompt":"a gate"{more}}}"#));
    for (more, output) in [
        ("", 6_240),
        (r#","size":"1024x1024","quality":"low""#, 272),
        (r#","size":"1536x1024","quality":"auto","n":3"#, 3 * 6_208),
        (r#","size":"auto","quality":"medium","stream":true,"partial_images":2"#, 1_584 + 200),
    ] {
        for model in ["gpt-image-1", "gpt-image-1.5-2025-12-16"] {
            let Ok(Bound::AtMost(most)) = made(model, more) else { panic!("{more}") };
            assert_eq!(most.output, output, "{more}");
            assert!((7..60).contains(&most.input) && matches!(most.output_cap, OutputCap::Stated(_)), "{most:?}");
        }
    }
    for (model, more, field, why) in [
        ("dall-e-3", "", "", Why::OutputMaximumUnknown),
        ("gpt-image-1", r#","size":"4096x4096""#, "", Why::OutputMaximumUnknown),
        ("gpt-image-1", r#","image[]":[true,true]"#, "image[]", Why::ImageMaximumUnknown),
        ("gpt-image-1", r#","images":[{"file_id":"f"}]"#, "images", Why::Reference),
        ("gpt-image-1", r#","later":1"#, "later", Why::UnknownField),
    ] {
        let Ok(Bound::Unbounded(unbounded)) = made(model, more) else { panic!("{model} {more}") };
        assert_eq!((unbounded.field.as_str(), unbounded.why, unbounded.most), (field, why, None), "{model} {more}");
    }
    let facts = ModelFacts { image_tokens: Some(1_000), max_output_tokens: Some(50), ..ModelFacts::default() };
    let Bound::AtMost(most) =
        known(Api::OpenAiImages, "mine", facts, r#"{"prompt":"x","image":true,"mask":true,"n":2}"#)
    else {
        panic!("it is known")
    };
    assert_eq!((most.input, most.output, most.output_cap), (32 + 1 + 2_000, 100, OutputCap::Stated(50)));
}

#[test]
fn sound_is_all_that_its_model_hears_or_says_at_most() {
    let facts = ModelFacts { context_window: Some(16_000), max_output_tokens: Some(2_000), ..ModelFacts::default() };
    let Bound::Unbounded(heard) = known(Api::OpenAiTranscriptions, "m", facts, r#"{"file":true,"model":"m"}"#) else {
        panic!("a file is not counted by its bytes")
    };
    let most = heard.most.map(|most| (most.input, most.output, most.output_cap));
    assert_eq!((heard.why, most), (Why::Audio, Some((16_000, 2_000, OutputCap::Stated(2_000)))));
    let refused = [
        (Api::OpenAiTranscriptions, facts, r#"{"file":true,"chunking_strategy":"auto"}"#, "chunking_strategy"),
        (Api::OpenAiTranscriptions, ModelFacts::default(), r#"{"file":true}"#, "file"),
        (Api::OpenAiSpeech, ModelFacts::default(), r#"{"input":"hi","voice":"v"}"#, ""),
    ];
    for (api, facts, body, field) in refused {
        let Bound::Unbounded(unbounded) = known(api, "m", facts, body) else { panic!("{body}") };
        assert_eq!((unbounded.field.as_str(), unbounded.most), (field, None), "{body}");
    }
    let Bound::AtMost(said) = known(Api::OpenAiSpeech, "m", facts, r#"{"input":"hello","voice":"v"}"#) else {
        panic!("what is said is spelled out")
    };
    assert_eq!((said.input, said.output, said.output_cap), (32 + 5, 2_000, OutputCap::Stated(2_000)));
}

#[test]
fn what_is_invoked_is_bounded_in_the_form_of_its_maker() {
    let invoked = |model: &str, body: &str| of(Api::BedrockInvoke, model, body);
    #[rustfmt::skip]
    let cases = [
        ("amazon.titan-text-lite-v1", r#"{"inputText":"hello","textGenerationConfig":{"maxTokenCount":9,"topP":1}}"#, 9, OutputCap::Stated(9)),
        ("amazon.titan-text-lite-v1", r#"{"inputText":"hello"}"#, 4_000, OutputCap::Stated(4_000)),
        ("us.amazon.nova-lite-v1:0", r#"{"messages":[{"role":"user","content":[{"text":"hello"}]}],"inferenceConfig":{"max_new_tokens":7}}"#, 7, OutputCap::Stated(7)),
        ("meta.llama3-1-70b-instruct-v1:0", r#"{"prompt":"hello","max_gen_len":5}"#, 5, OutputCap::Stated(5)),
        ("deepseek.r1-v1:0", r#"{"prompt":"hello"}"#, 8_192, OutputCap::Absent(8_192)),
        ("amazon.titan-embed-text-v2:0", r#"{"inputText":"hello","normalize":true}"#, 0, OutputCap::NoOutput),
        ("cohere.embed-english-v3", r#"{"texts":["hello"],"input_type":"x"}"#, 0, OutputCap::NoOutput),
        ("openai.gpt-oss-120b-1:0", r#"{"messages":[{"role":"user","content":"hello"}],"max_completion_tokens":6}"#, 6, OutputCap::Stated(6)),
        ("mistral.mistral-large-2407-v1:0", r#"{"messages":[{"role":"user","content":"hello"}],"max_tokens":6}"#, 6, OutputCap::Stated(6)),
        ("mistral.mistral-large-2407-v1:0", r#"{"messages":[{"role":"user","content":"hello"}],"max_completion_tokens":6}"#, 6, OutputCap::Misplaced(6)),
        ("mistral.mistral-7b-instruct-v0:2", r#"{"prompt":"hello","max_tokens":6}"#, 6, OutputCap::Stated(6)),
        ("arn:aws:bedrock:us-east-1:1:application-inference-profile/x", r#"{"anthropic_version":"v","max_tokens":3,"messages":[]}"#, 3, OutputCap::Stated(3)),
    ];
    for (model, body, output, cap) in cases {
        let Ok(Bound::AtMost(most)) = invoked(model, body) else { panic!("{body}: {:?}", invoked(model, body)) };
        assert_eq!((most.output, most.output_cap), (output, cap), "{model} {body}");
        assert!(most.input >= 5, "{model} {body}");
    }
    #[rustfmt::skip]
    let refused = [
        ("meta.llama3-1-70b-instruct-v1:0", r#"{"prompt":"hello","max_tokens":5}"#, "max_tokens"),
        ("amazon.titan-text-lite-v1", r#"{"inputText":"hello","textGenerationConfig":{"later":9}}"#, "textGenerationConfig.later"),
        ("arn:aws:bedrock:us-east-1:1:application-inference-profile/x", r#"{"prompt":"hello","max_tokens":5}"#, ""),
        ("stability.sd3-large-v1:0", r#"{"prompt":"hello"}"#, ""),
    ];
    for (model, body, field) in refused {
        let Ok(Bound::Unbounded(unbounded)) = invoked(model, body) else { panic!("{body}") };
        assert_eq!((unbounded.field.as_str(), unbounded.most), (field, None), "{model} {body}");
    }
}

#[test]
fn what_is_asked_beside_the_form_is_priced_as_it_is_served_or_has_no_price() {
    const MODEL: &str = "global.anthropic.claude-sonnet-4-5-20250929-v1:0";
    let prices = r#"
models:
  - provider: bedrock
    names: ["global.anthropic.claude-sonnet-4-5-20250929*"]
    source: here
    prices:
      - { tier: priority, per_million: { input: 5.25, output: 26.25 } }
      - { tier: optimized, per_million: { input: 4.00, output: 20.00 } }
      - { per_unit: { guardrail: 0.5 } }
"#;
    let priced = Book::layered(&[Book::parse(prices, "here").unwrap_or_else(|mistakes| panic!("{mistakes:?}"))]);
    let cost = |book: &Book, api: Api, more: &str, beside: &Beside| {
        let body = format!(
            r#"{{"messages":[{{"role":"user","content":[{{"text":"hi"}}]}}],"inferenceConfig":{{"maxTokens":100}}{more}}}"#
        );
        let body = if api == Api::BedrockConverse {
            body
        } else {
            said(r#""hi""#).replace('{', r#"{"anthropic_version":"v","#).replacen(
                r#"{"anthropic_version":"v","role""#,
                r#"{"role""#,
                1,
            )
        };
        let key = Key { provider: "bedrock", vendor: "bedrock", model: MODEL, tier: "", at: TODAY };
        let facts = book.facts("bedrock", "bedrock", MODEL);
        let tree = Tree::read(body.as_bytes()).unwrap();
        let found = bound(api, (&tree, beside), &facts, book, &key, Measure::Bytes).unwrap();
        let Bound::AtMost(most) = found else { panic!("{body}: {found:?}") };
        most.cost.map(|cost| cost.0 - i128::from(most.input) * 3_000_000 - 100 * 15_000_000)
    };
    let (plain, none) = (Book::builtin(), Beside::default());
    let converse = |book: &Book, more: &str| cost(book, Api::BedrockConverse, more, &none);
    for more in ["", r#","serviceTier":{"type":"default"},"performanceConfig":{"latency":"standard"}"#] {
        assert_eq!(converse(&plain, more), Ok(0), "{more}");
    }
    let beside = |tier: &str, guarded| Beside { tier: tier.into(), guarded, window: None };
    for (more, tier, guarded, dearer) in [
        (r#","serviceTier":{"type":"priority"}"#, "priority", false, Some((2_250_000, 11_250_000, 0))),
        (r#","performanceConfig":{"latency":"optimized"}"#, "optimized", false, Some((1_000_000, 5_000_000, 0))),
        (
            r#","performanceConfig":{"latency":"optimized"},"serviceTier":{"type":"priority"}"#,
            "optimized+priority",
            false,
            None,
        ),
        (r#","serviceTier":{"type":"reserved"}"#, "reserved", false, None),
        (r#","guardrailConfig":{"guardrailIdentifier":"g"}"#, "", true, Some((0, 0, 500_000_000_000))),
    ] {
        let why = if guarded { Unpriced::UnknownClass } else { Unpriced::UnknownTier };
        assert_eq!(converse(&plain, more), Err(why), "{more}");
        let invoked = |book: &Book| cost(book, Api::BedrockInvoke, "", &beside(tier, guarded));
        assert_eq!(invoked(&plain), Err(why), "{tier}");
        for found in [converse(&priced, more), invoked(&priced)] {
            match dearer {
                None => assert_eq!(found, Err(why), "{more}"),
                // The input is some dozen tokens, and each costs that much more.
                Some((input, output, once)) => {
                    let rest = found.unwrap() - 100 * output - once;
                    assert!(
                        rest >= 0 && (input == 0) == (rest == 0) && (input == 0 || rest % input == 0),
                        "{more}: {rest}"
                    );
                }
            }
        }
    }
}

#[test]
fn what_a_translation_writes_beside_converses_form_is_bounded_and_nothing_else_is() {
    let converse = |more: &str| {
        let body = format!(
            r#"{{"messages":[],"inferenceConfig":{{"maxTokens":9}},"additionalModelRequestFields":{{{more}}}}}"#
        );
        of(Api::BedrockConverse, "anthropic.claude-sonnet-4-6", &body)
    };
    for more in [
        r#""thinking":{"type":"enabled","budget_tokens":1024},"top_k":5"#,
        r#""thinking":{"type":"adaptive","display":"summarized"},"output_config":{"effort":"high"}"#,
        r#""reasoningConfig":{"type":"enabled","maxReasoningEffort":"low"}"#,
        r#""reasoning_effort":"low""#,
        r#""anthropic_beta":["interleaved-thinking-2025-05-14"]"#,
    ] {
        let Ok(Bound::AtMost(most)) = converse(more) else { panic!("{more}: {:?}", converse(more)) };
        assert_eq!(most.output, 9, "{more}");
    }
    for (more, field) in [
        (r#""tools":[{"type":"web_search_20250305"}]"#, "tools"),
        (r#""thinking":{"type":"later"}"#, "thinking.type"),
        (r#""output_config":{"later":1}"#, "output_config.later"),
    ] {
        let Ok(Bound::Unbounded(found)) = converse(more) else { panic!("{more}") };
        assert_eq!(found.field, format!("additionalModelRequestFields.{field}"), "{more}");
    }
}

#[test]
fn a_beta_for_a_larger_window_is_held_for_the_larger_window() {
    let source = r#"[{"type":"document","source":{"type":"url","url":"x"}}]"#;
    let body = said(source);
    let most = |body: &str, beside: &Beside| {
        let (book, model) = (Book::builtin(), "claude-sonnet-4-5");
        let key = Key { provider: "anthropic", vendor: "anthropic", model, tier: "", at: TODAY };
        let (facts, tree) = (book.facts("anthropic", "anthropic", model), Tree::read(body.as_bytes()).unwrap());
        let Ok(Bound::Unbounded(found)) =
            bound(Api::AnthropicMessages, (&tree, beside), &facts, &book, &key, Measure::Bytes)
        else {
            panic!("{body}")
        };
        found.most.map(|most| (most.input, most.cost))
    };
    // 3 and 15 dollars a million tokens; above 200,000 of input 6 and 22.50.
    let small = Some((200_000, Ok(Pico(200_000 * 3_000_000 + 100 * 15_000_000))));
    let large = Some((1_000_000, Ok(Pico(1_000_000 * 6_000_000 + 100 * 22_500_000))));
    let asked = Beside { window: window("context-1m-2025-08-07"), ..Beside::default() };
    assert_eq!((most(&body, &Beside::default()), most(&body, &asked)), (small, large));
    let within = |beta: &str| body.replacen('{', &format!(r#"{{"anthropic_beta":["x","{beta}"],"#), 1);
    assert_eq!(most(&within("context-1m-2025-08-07"), &Beside::default()), large);
    assert_eq!(most(&within("context-management-2025-06-27"), &Beside::default()), small);
    for (beta, wanted) in
        [("context-500k-x", Some(500_000)), ("context-1m", Some(1_000_000)), ("context-", None), ("context-é", None)]
    {
        assert_eq!(window(beta), wanted, "{beta}");
    }
}

#[test]
fn images_are_held_at_their_own_price() {
    let prices = r#"
models:
  - { provider: openai, names: ["gpt-image-1"], source: here, prices: [ { per_million: { input: 5, output: 10, image_input: 12, image_output: 40 } } ] }
  - { provider: google, names: ["painter"], max_output_tokens: 100, source: here, prices: [ { per_million: { input: 1, output: 2, image_output: 30 } } ] }
"#;
    let book = Book::layered(&[Book::parse(prices, "here").unwrap_or_else(|mistakes| panic!("{mistakes:?}"))]);
    for (api, model, body, input, output) in [
        (Api::OpenAiImages, "gpt-image-1", r#"{"prompt":"a gate","size":"1024x1024","quality":"low"}"#, 12, 272 * 40),
        (Api::GeminiGenerateContent, "painter", r#"{"contents":[{"parts":[{"text":"a gate"}]}]}"#, 1, 100 * 30),
    ] {
        let key = Key { provider: api.vendor(), vendor: api.vendor(), model, tier: "", at: TODAY };
        let (facts, tree) = (book.facts(key.provider, key.vendor, model), Tree::read(body.as_bytes()).unwrap());
        let found = bound(api, (&tree, &Beside::default()), &facts, &book, &key, Measure::Bytes).unwrap();
        let Bound::AtMost(most) = found else { panic!("{found:?}") };
        assert_eq!(most.cost, Ok(Pico((i128::from(most.input) * input + output) * 1_000_000)), "{model}");
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
