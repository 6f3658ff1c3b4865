//! What a bound costs: by the dearest rates that can be reached.

use super::*;

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
fn claude_is_held_at_the_price_of_the_place_that_a_workspace_may_be_set_to() {
    // Output at 25 dollars a million tokens, in the fast mode at 50, and in the place `us` at a tenth more.
    for (more, output) in [
        ("", 27_500_000),
        (r#","inference_geo":"us""#, 27_500_000),
        (r#","inference_geo":"global""#, 25_000_000),
        (r#","inference_geo":"global","speed":"standard""#, 25_000_000),
        (r#","inference_geo":"global","speed":"fast""#, 50_000_000),
        (r#","speed":"fast""#, 55_000_000),
    ] {
        let body = said(r#""hello""#).replacen(r#""max_tokens":100"#, &format!(r#""max_tokens":100{more}"#), 1);
        let most = at_most(Api::AnthropicMessages, "claude-opus-4-8", &body);
        assert_eq!(most.output_price, Pico(output), "{more}");
    }
    let unheard = said(r#""hello""#).replacen('{', r#"{"inference_geo":"mars","#, 1);
    assert!(matches!(of(Api::AnthropicMessages, "claude-opus-4-8", &unheard), Ok(Bound::Unbounded(_))));
}
