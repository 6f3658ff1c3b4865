//! Requests of Bedrock: in the forms of many makers, with what is asked beside them.

use super::*;

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
