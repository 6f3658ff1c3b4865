//! Bodies of requests: edits change what they name and nothing else, and what is edited reads as it was meant.
//!
//! The first byte of an input chooses the API, the second the edits. The bound of the request is taken in passing: it may refuse or say
//! that nothing bounds it, but where it gives one that is at least the cap that the request states, or it says which is to be written.

use bytes::Bytes;
use gateway::request::{Cap, CapMember, Edits, Given, Parsed, parse, read};
use schemas::{
    bound::{Beside, Bound, Measure, OutputCap, bound},
    error_code::ErrorCode,
    event::Api,
    price::{Book, Key, ModelFacts},
    time::Time,
};
use serde_json::Value;

/// The members that edits write.
const EDITED: [&str; 7] = [
    "model",
    "max_tokens",
    "max_completion_tokens",
    "stream_options",
    "max_output_tokens",
    "generationConfig",
    "inferenceConfig",
];

/// Reads and edits a request.
pub fn check(input: &[u8]) {
    let Some(([api, choice], body)) = input.split_first_chunk::<2>() else { return };
    let api = Api::ALL[usize::from(*api) % Api::ALL.len()];
    let body = Bytes::copy_from_slice(body);
    form(api, &body);
    let (parsed, tree) = match parse(api, &body) {
        Ok(read) => read,
        Err(problem) => {
            let known = [ErrorCode::MalformedJson, ErrorCode::DuplicateJsonKey, ErrorCode::BadValue];
            return assert!(known.contains(&problem.code), "{problem}");
        }
    };
    if api.is_passed_on() || api == Api::OpenAiResponsesRetrieve {
        let edits = Edits { model: Some("other"), ask_usage: true, cap: None };
        return assert_eq!(parsed.edit(&edits), body, "what is not read is not edited");
    }
    assert!(!parsed.model.is_empty() && parsed.model.len() <= 256);
    assert_eq!(parsed.edit(&Edits::default()).as_ptr(), body.as_ptr());
    let facts = ModelFacts { context_window: Some(8_192), max_output_tokens: Some(4_096), ..ModelFacts::default() };
    let key = Key { provider: "openai", vendor: "openai", model: &parsed.model, tier: "", at: Time::ZERO };
    if let Ok(Bound::AtMost(most)) =
        bound(api, (&tree, &Beside::default()), &facts, &Book::builtin(), &key, Measure::Bytes)
    {
        let (least, misplaced) = (parsed.output_cap().unwrap_or(0), matches!(most.output_cap, OutputCap::Misplaced(_)));
        assert!(!api.operation().has_output() || misplaced || most.output >= least, "{most:?}");
    }
    let own = CapMember::of(api);
    let plain = matches!(api, Api::OpenAiChat | Api::OpenAiCompletions | Api::AnthropicMessages | Api::CohereChat);
    let capped = (plain || own.is_some()) && choice & 0x10 != 0;
    let member = match own {
        Some(own) => own,
        None if api == Api::OpenAiChat && choice & 0x20 != 0 => CapMember::MaxCompletionTokens,
        None => CapMember::MaxTokens,
    };
    let cap = Some(Cap { member, tokens: u64::from(choice >> 6) }).filter(|_| capped);
    edited(&parsed, &Edits { model: Some("a \"new\" one"), ask_usage: choice & 4 != 0, cap });
}

/// Reads and edits a form.
fn form(api: Api, body: &Bytes) {
    let given = Given { content_type: "multipart/form-data; boundary=b", ..Given::default() };
    let Ok((parsed, _)) = read(api, body, &given) else { return };
    if parsed.model.is_empty() || api.is_passed_on() || api == Api::OpenAiResponsesRetrieve {
        return;
    }
    let edited = parsed.edit(&Edits { model: Some("other"), ask_usage: true, cap: None });
    let (again, _) = read(api, &edited, &given).unwrap_or_else(|problem| panic!("{problem}"));
    assert_eq!((again.model.as_str(), again.stream), ("other", parsed.stream));
}

fn edited(parsed: &Parsed, edits: &Edits<'_>) {
    let (before, after) = (parsed.body().clone(), parsed.edit(edits));
    let shown = String::from_utf8_lossy(&after).into_owned();
    let (again, _) = parse(parsed.api(), &after).unwrap_or_else(|problem| panic!("{problem}: {shown}"));
    assert_eq!(edits.model, Some(again.model.as_str()), "{shown}");
    assert_eq!((again.stream, again.n), (parsed.stream, parsed.n), "{shown}");
    let can_ask = matches!(parsed.api(), Api::OpenAiChat | Api::OpenAiCompletions);
    let asks = edits.ask_usage && parsed.stream && can_ask;
    assert_eq!(again.wants_usage, parsed.wants_usage || asks, "{shown}");
    let caps = |of: &Parsed| [of.max_tokens, of.max_completion_tokens, of.other_cap];
    match edits.cap {
        None => assert_eq!(caps(&again), caps(parsed), "{shown}"),
        Some(cap) => {
            assert!(caps(&again).into_iter().flatten().all(|tokens| tokens <= cap.tokens), "{shown}");
            let own = match cap.member {
                CapMember::MaxTokens => again.max_tokens,
                CapMember::MaxCompletionTokens => again.max_completion_tokens,
                _ => again.other_cap,
            };
            assert!(own.is_some_and(|own| own > 0 || cap.tokens == 0), "{shown}");
            let stated = |of: &Parsed| caps(of).into_iter().flatten().count();
            // What caps another API caps nothing here.
            if CapMember::of(parsed.api()).is_none() {
                assert_eq!(stated(&again), stated(parsed).max(1), "none is added beside another: {shown}");
            }
        }
    }
    assert_eq!(again.edit(edits), after, "edited twice is edited once");
    // Everything else says what it said.
    let rest = |body: &[u8]| {
        let Ok(Value::Object(mut members)) = serde_json::from_slice(body) else { panic!("not an object: {shown}") };
        EDITED.iter().for_each(|name| drop(members.remove(*name)));
        members
    };
    assert_eq!(rest(&after), rest(&before));
}
