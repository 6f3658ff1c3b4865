//! What a request caps its output by, and where that counts.

use super::*;
use crate::price::CapField;

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
