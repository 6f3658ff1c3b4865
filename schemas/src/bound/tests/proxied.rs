//! Bounds that another proxy states of a request that is not seen.

use super::*;

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
    // What is stated of it holds whatever is not.
    let known = |api, most: &Stated| match of(api, "gpt-4.1", most) {
        Bound::Unbounded(unbounded) => unbounded.known,
        other => panic!("{other:?}"),
    };
    let seven = Some((7, OutputCap::Stated(7)));
    let wanted = Known { input: None, output: seven, tool_calls: Some(7) };
    assert_eq!(known(Api::OpenAiChat, &tokens(None, Some(7))), wanted);
    assert_eq!(known(Api::OpenAiChat, &tokens(Some(5), None)), Known { input: Some(5), ..Known::default() });
    let wanted = Known { input: None, output: Some((0, OutputCap::NoOutput)), tool_calls: Some(0) };
    assert_eq!(known(Api::OpenAiModerations, &Stated::default()), wanted);
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
