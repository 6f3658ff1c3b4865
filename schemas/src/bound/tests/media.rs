//! Images and sound: what they come to at most.

use super::*;

#[test]
fn images_count_as_the_stated_maximum() {
    let image = r#"[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA","detail":"high"}}]"#;
    let input = at_most(Api::OpenAiChat, "gpt-4o-mini", &said(image)).input;
    assert!((48_169..48_300).contains(&input), "{input}");
    let image = r#"[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}}]"#;
    let input = at_most(Api::AnthropicMessages, "claude-sonnet-4-5", &said(image)).input;
    assert!((1_700..2_000).contains(&input), "{input}");
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
fn a_ranking_is_at_most_the_searches_that_its_documents_are_chunks_of() {
    let searches = |query: &str, documents: &[String]| {
        let body = serde_json::json!({ "model": "rerank-v3.5", "query": query, "documents": documents }).to_string();
        let most = at_most(Api::CohereRerank, "rerank-v3.5", &body);
        let cost = most.cost.unwrap_or_else(|why| panic!("{why:?}")).0;
        // 0.002 dollars a search, and nothing for tokens.
        assert_eq!(cost % 2_000_000_000, 0, "{cost}");
        (cost / 2_000_000_000, most.output, most.tool_calls)
    };
    for (query, documents, bytes, wanted) in
        [(1, 1, 5, 1), (1, 100, 400, 1), (1, 101, 400, 2), (1, 100, 600, 2), (300, 100, 300, 2), (9_000, 1, 98, 1)]
    {
        let found = searches(&"q".repeat(query), &vec!["a".repeat(bytes); documents]);
        assert_eq!(found, (wanted, 0, 0), "{query} {documents} {bytes}");
    }
    let text = of(Api::CohereRerank, "rerank-v3.5", r#"{"query":"q","documents":"d"}"#);
    let Ok(Bound::Unbounded(unbounded)) = text else { panic!("its documents are no list") };
    assert_eq!((unbounded.field.as_str(), unbounded.why), ("documents", Why::UnknownShape));
}
