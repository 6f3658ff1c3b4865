//! The book, its lookups and the rating function, by table.
//!
//! The built-in file is checked whole: no mistake, a source and a day for every row, and the prices of some models that everybody
//! can look up.

use super::*;
use crate::{
    ledger::{Charge, Rated, Unpriced},
    tokens::{Part, Vector},
};

const FILE: &str = r#"
models:
  - provider: openai
    names: [m, "m-2024-*"]
    context_window: 1000
    max_output_tokens: 100
    encoding: o200k_base
    cap_field: max_completion_tokens
    source: page
    source_date: 2026-01-02
    prices:
      - { to: 2026-01-01, per_million: { input: 3.00, output: 6 }, per_unit: { web_search: 0.01 } }
      - { from: 2026-01-01, per_million: { input: 2.50, cache_read: 0.000001, output: "10.00" } }
      - { above: 200, from: 2026-01-01, per_million: { input: 5.00, output: 20.00 } }
      - { tier: flex, from: 2026-01-01, per_million: { input: 1.25, output: 5.00 } }
  - provider: openai
    names: ["m*"]
    all_output_visible: true
    bytes_per_token: 3
    prices: [ { per_million: { audio_input: 7 } } ]
  - provider: openai
    names: ["m-mini*"]
    max_output_tokens: "*"
    prices: [ { per_million: { input: 1 } } ]
  - provider: mine
    names: ["*"]
    prices: [ { per_million: { input: 9 } } ]
  - { provider: openai, names: [old], prices: [ { to: 2020-01-01, per_million: { input: 1 } } ] }
"#;

/// 2025-06-01 and 2026-06-01.
const BEFORE: Time = Time::from_micros(1_748_736_000_000_000);
const AFTER: Time = Time::from_micros(1_780_272_000_000_000);

fn book() -> Book {
    Book::of(&[Book::parse(FILE, "test.yaml").unwrap()])
}

fn key(model: &'static str) -> Key<'static> {
    Key { provider: "p", vendor: "openai", model, tier: "", at: AFTER }
}

fn vector(class: TokenClass, quantity: u64) -> Vector {
    let mut vector = Vector::default();
    match class {
        TokenClass::UncachedInput => vector.uncached_input = quantity,
        TokenClass::CacheRead => vector.cache_read = quantity,
        TokenClass::CacheWrite5m => vector.cache_write_5m = quantity,
        TokenClass::CacheWrite1h => vector.cache_write_1h = quantity,
        TokenClass::Output => vector.output = quantity,
        TokenClass::AudioInput => vector.audio_input = quantity,
        TokenClass::AudioOutput => vector.audio_output = quantity,
        TokenClass::WebSearch => vector.web_searches = quantity,
        TokenClass::SearchUnit => vector.search_units = quantity,
        TokenClass::ImageInput => vector.image_input = quantity,
        TokenClass::ImageOutput => vector.image_output = quantity,
        TokenClass::Guardrail => vector.guardrails = quantity,
        TokenClass::CacheReadAudio => vector.cache_read_audio = quantity,
        TokenClass::CodeSession => vector.code_sessions = quantity,
    }
    vector
}

#[test]
fn the_built_in_book_is_whole() {
    let mistakes = Book::parse(BUILTIN, "builtin.yaml").err().unwrap_or_default();
    assert!(mistakes.is_empty(), "{}", mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    let book = Book::builtin();
    let models = |provider: &str| book.models().iter().filter(|model| &*model.provider == provider).count();
    assert!(models("openai") > 60 && models("anthropic") > 20 && models("google") > 15, "{book:?}");
    for row in book.rows() {
        assert!(!row.source.is_empty() && row.source_date.len() == 10, "{} has no source", row.price_id);
        assert!(row.class.is_unit() || row.unit_price.0 < 1_000_000_000, "{} is too dear", row.price_id);
    }
    let mut ids: Vec<_> = book.rows().iter().map(|row| &row.price_id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), book.rows().len(), "two rows have one id");
}

#[test]
fn the_built_in_book_prices_what_is_asked_for() {
    #[rustfmt::skip]
    let cases = [
        ("openai", "gpt-4o-2024-08-06", TokenClass::Output, 10, "", Some(10_000_000)),
        ("openai", "gpt-4o-2024-05-13", TokenClass::Output, 10, "", Some(15_000_000)),
        ("openai", "gpt-4o-mini-2024-07-18", TokenClass::CacheRead, 10, "", Some(75_000)),
        ("openai", "gpt-4", TokenClass::UncachedInput, 10, "", Some(30_000_000)),
        ("openai", "gpt-4-1106-vision-preview", TokenClass::UncachedInput, 10, "", Some(10_000_000)),
        ("openai", "gpt-5.4-2026-03-05", TokenClass::UncachedInput, 272_000, "", Some(2_500_000)),
        ("openai", "gpt-5.4-2026-03-05", TokenClass::UncachedInput, 272_001, "", Some(5_000_000)),
        ("openai", "gpt-5", TokenClass::Output, 10, "priority", Some(20_000_000)),
        ("openai", "gpt-5", TokenClass::Output, 10, "Default", Some(10_000_000)),
        ("openai", "gpt-4o-audio-preview-2025-06-03", TokenClass::AudioOutput, 10, "", Some(80_000_000)),
        ("openai", "text-embedding-ada-002-v2", TokenClass::UncachedInput, 10, "", Some(100_000)),
        ("openai", "gpt-99", TokenClass::UncachedInput, 10, "", None),
        ("anthropic", "claude-3-5-haiku-latest", TokenClass::UncachedInput, 10, "standard", Some(800_000)),
        ("anthropic", "claude-sonnet-4-5-20250929", TokenClass::CacheWrite1h, 10, "", Some(6_000_000)),
        ("anthropic", "claude-opus-5-5", TokenClass::UncachedInput, 10, "", Some(4_000_000)),
        ("anthropic", "claude-haiku-4-5", TokenClass::WebSearch, 1, "batch", Some(10_000_000_000)),
        ("anthropic", "claude-opus-5-5", TokenClass::Output, 10, "fast", Some(40_000_000)),
        ("anthropic", "claude-opus-5-5", TokenClass::UncachedInput, 10, "us", Some(4_400_000)),
        ("anthropic", "claude-opus-5-5", TokenClass::CacheRead, 10, "fast+us", Some(440_000)),
        ("anthropic", "claude-haiku-5-5", TokenClass::UncachedInput, 100_001, "us", Some(550_000)),
        ("anthropic", "claude-haiku-5-5", TokenClass::Output, 10, "fast", None),
        ("anthropic", "claude-opus-4-5", TokenClass::Output, 10, "us", None),
        ("google", "gemini-2.5-pro", TokenClass::Output, 10, "", Some(10_000_000)),
        ("sandbox", "sandbox/500", TokenClass::Output, 10, "", Some(2_000_000)),
        ("bedrock", "us.meta.llama3-3-70b-instruct-v1:0", TokenClass::Output, 10, "", Some(720_000)),
        ("bedrock", "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.meta.llama3-3-70b-instruct-v1:0", TokenClass::Output, 10, "", Some(720_000)),
        ("bedrock", "arn:aws:bedrock:us-east-1::foundation-model/meta.llama3-3-70b-instruct-v1:0", TokenClass::Output, 10, "", Some(720_000)),
        // An id names no model, and what another profile costs nobody has published.
        ("bedrock", "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/us.meta.llama3-3-70b", TokenClass::Output, 10, "", None),
        ("bedrock", "jp.meta.llama3-3-70b-instruct-v1:0", TokenClass::Output, 10, "", None),
    ];
    for (vendor, model, class, quantity, tier, expected) in cases {
        let key = Key { provider: vendor, vendor, model, tier, at: Time::from_micros(1_795_305_600_000_000) };
        let parts = [Part { model: None, vector: vector(class, quantity) }];
        let charges = rate(Some(&Book::builtin()), &key, "", &parts);
        let found = match &charges[..] {
            [Charge { price: Rated::Priced { unit_price, cost, .. }, .. }] => {
                assert_eq!(cost.0, unit_price.0 * i128::from(quantity), "{model}");
                Some(unit_price.0)
            }
            _ => None,
        };
        assert_eq!(found, expected, "{model} {class:?} {tier}: {charges:?}");
    }
}

#[test]
fn rows_are_found() {
    use TokenClass::{AudioInput, CacheWrite5m, Output, UncachedInput, WebSearch};
    use Unpriced::{OutsideValidity, UnknownApi, UnknownClass, UnknownModel, UnknownTier};
    let at = |model, at| Key { at, ..key(model) };
    let tier = |model, tier| Key { tier, ..key(model) };
    #[rustfmt::skip]
    let cases = [
        (key("m"), "", UncachedInput, 200, Ok("openai:m:input@2026-01-01")),
        (key("m"), "", UncachedInput, 201, Ok("openai:m:input:above-200@2026-01-01")),
        (at("m", BEFORE), "", UncachedInput, 201, Ok("openai:m:input")),
        (at("m", BEFORE), "", WebSearch, 1, Ok("openai:m:web_search")),
        (key("m"), "", WebSearch, 1, Err(OutsideValidity)),
        (key("m-2024-08-06"), "", UncachedInput, 1, Ok("openai:m-2024-*:input@2026-01-01")),
        (key("m-mini"), "", UncachedInput, 1, Ok("openai:m-mini*:input")),
        (key("m-mini"), "", AudioInput, 1, Ok("openai:m*:audio_input")),
        (key("m-mini"), "", Output, 1, Err(UnknownClass)),
        (key("m-maxi"), "", Output, 1, Err(UnknownClass)),
        (key("n"), "", Output, 1, Err(UnknownModel)),
        (key("old"), "", UncachedInput, 1, Err(OutsideValidity)),
        (key("m"), "", CacheWrite5m, 1, Err(UnknownClass)),
        (tier("m", "flex"), "", UncachedInput, 500, Ok("openai:m:input:flex@2026-01-01")),
        (tier("m", "ON_DEMAND"), "", UncachedInput, 1, Ok("openai:m:input@2026-01-01")),
        (tier("m", "auto"), "", UncachedInput, 1, Ok("openai:m:input@2026-01-01")),
        (tier("m", "scale"), "", UncachedInput, 1, Err(UnknownTier)),
        (key("asked"), "m-mini-1", UncachedInput, 1, Ok("openai:m-mini*:input")),
        (key("m"), "unheard", UncachedInput, 1, Ok("openai:m:input@2026-01-01")),
        (Key { provider: "mine", ..key("m") }, "m", UncachedInput, 1, Ok("mine:*:input")),
        (Key { vendor: "", ..key("m") }, "m", UncachedInput, 1, Err(UnknownApi)),
        (Key { provider: "mine", vendor: "", ..key("m") }, "m", UncachedInput, 1, Ok("mine:*:input")),
        (Key { provider: "mine", ..key("m") }, "m", Output, 1, Err(UnknownClass)),
    ];
    for (key, answered, class, quantity, expected) in cases {
        let parts = [Part { model: None, vector: vector(class, quantity) }];
        let charges = rate(Some(&book()), &key, answered, &parts);
        assert_eq!(charges.len(), 1, "{key:?}");
        let found = match &charges[0].price {
            Rated::Priced { price_id, .. } => Ok(&**price_id),
            Rated::Unpriced(why) => Err(*why),
        };
        assert_eq!(found, expected, "{key:?} {answered} {class:?} {quantity}");
        assert_eq!(cost(&charges).err(), expected.err());
    }
}

/// Cached sound has neither the price of sound nor that of cached text, and without a price of its own it has none.
#[test]
fn cached_sound_has_a_price_of_its_own() {
    let vector =
        Vector { uncached_input: 200, audio_input: 300, cache_read_audio: 500, output: 2, ..Vector::default() };
    let cost = |model| {
        let key = Key { provider: "google", vendor: "google", model, tier: "", at: AFTER };
        cost(&rate(Some(&Book::builtin()), &key, "", &[Part { model: None, vector }]))
    };
    assert_eq!(cost("gemini-2.5-flash"), Ok(Pico(415_000_000)));
    assert_eq!(cost("gemini-2.5-pro"), Err(Unpriced::UnknownClass));
    let code = [Part { model: None, vector: Vector { code_sessions: 1, ..Vector::default() } }];
    let claude = Key { provider: "anthropic", vendor: "anthropic", model: "claude-sonnet-4-5", tier: "", at: AFTER };
    assert_eq!(super::cost(&rate(Some(&Book::builtin()), &claude, "", &code)), Err(Unpriced::UnknownClass));
}

#[test]
fn every_class_of_every_part_is_charged_at_its_own_price() {
    let vector = Vector { uncached_input: 100, cache_read: 50, output: 10, reasoning: 4, ..Vector::default() };
    let parts = [Part { model: None, vector }, Part { model: Some("m-mini-x".into()), vector }];
    let charges = rate(Some(&book()), &key("m"), "m", &parts);
    let costs: Vec<_> = charges
        .iter()
        .map(|charge| match &charge.price {
            Rated::Priced { cost, source, .. } => Ok((cost.0, &**source)),
            Rated::Unpriced(why) => Err(*why),
        })
        .collect();
    #[rustfmt::skip]
    assert_eq!(costs, [
        Ok((250_000_000, "page")), Ok((50, "page")), Ok((100_000_000, "page")),
        Ok((100_000_000, "test.yaml")), Err(Unpriced::UnknownClass), Err(Unpriced::UnknownClass),
    ]);
    assert_eq!(charges[0].model, None);
    assert_eq!(charges[3].model.as_deref(), Some("m-mini-x"));
    assert_eq!(cost(&charges[..3]), Ok(Pico(350_000_050)));
    assert_eq!(cost(&charges), Err(Unpriced::UnknownClass));
    assert_eq!(cost(&[]), Ok(Pico(0)));
}

#[test]
fn what_cannot_be_rated_is_charged_all_the_same() {
    let usage = |count| [Part { model: None, vector: vector(TokenClass::UncachedInput, count) }];
    assert_eq!(cost(&rate(None, &key("m"), "", &usage(1))), Err(Unpriced::UnknownBook));
    assert_eq!(cost(&rate(Some(&book()), &key("m"), "", &usage(u64::MAX))), Err(Unpriced::TooLarge));
    assert_eq!(rate(Some(&book()), &key("m"), "", &usage(0)), []);
    assert_eq!(rate(None, &key("m"), "", &[]), []);
}

#[test]
fn a_book_keeps_its_hash_and_a_later_file_wins() {
    let book = book();
    assert_eq!(Book::from_bytes(&book.to_bytes()).unwrap(), book);
    assert_eq!(Book::from_bytes(&book.to_bytes()).unwrap().hash(), book.hash());
    assert!(Book::from_bytes(b"{}").is_err() && Book::from_bytes(b"").is_err());
    let no_text = br#"{"texts":[],"rows":[[0,0,0,0,0,0,null,0,0,0,false]],"models":[]}"#;
    assert!(matches!(Book::from_bytes(no_text), Err(NotABook::Row(0))));
    let builtin = Book::builtin();
    let read = Book::from_bytes(&builtin.to_bytes()).unwrap();
    assert_eq!((read.rows(), read.models(), read.hash()), (builtin.rows(), builtin.models(), builtin.hash()));
    let size = builtin.to_bytes().len();
    assert!(size < 250_000, "a book has to fit a record of the log: {size}");

    let file = |price: &str, source: &str| {
        let text = format!(
            "models: [{{provider: p, names: [x], source: {source}, prices: [{{per_million: {{input: {price}}}}}]}}]"
        );
        Book::parse(&text, "f").unwrap()
    };
    let (one, two) = (file("1", "a"), file("2", "a"));
    let layered = Book::of(&[one.clone(), two.clone()]);
    assert_eq!(layered, Book::of(std::slice::from_ref(&two)));
    assert_ne!(layered, Book::of(&[two.clone(), one.clone()]));
    assert_ne!(Book::of(&[one]), Book::of(&[file("1", "b")]));
    let (builtin, on_top) = (Book::builtin(), Book::layered(&[two]));
    assert_eq!(on_top.rows().len(), builtin.rows().len() + 1);
    assert_eq!(Book::layered(&[]), builtin);
}

#[test]
fn a_book_with_other_prices_on_top_is_as_if_their_file_had_been_the_last() {
    let file = |text: &str| Book::parse(text, "f").unwrap();
    let own = file(
        r#"models: [ { provider: p, names: ["x*"], context_window: 9, prices: [ { per_million: { input: 1, output: 2 } } ] },
            { provider: openai, names: [gpt-4o], prices: [ { per_million: { input: 3 } } ] } ]"#,
    );
    for (price, input) in [("input: 5", 5_000_000), ("output: 5", 1_000_000), ("input: 1, output: 2", 1_000_000)] {
        let text =
            format!("models: [ {{ provider: p, names: [\"x*\"], prices: [ {{ per_million: {{ {price} }} }} ] }} ]");
        let (base, other) = (Book::layered(std::slice::from_ref(&own)), file(&text));
        let book = base.repriced(&other);
        assert_eq!(book, Book::layered(&[own.clone(), other.clone()]), "{price}");
        assert_eq!(book.repriced(&other), book, "{price}");
        let key = Key { provider: "p", ..key("x1") };
        let rates = book.rates(&key, &[key.model]).unwrap();
        assert_eq!(rates.find(TokenClass::UncachedInput, "", 1, AFTER).unwrap().unit_price, Pico(input), "{price}");
    }
    assert_eq!(Book::builtin().repriced(&PriceFile::default()), Book::builtin());
}

#[test]
fn a_price_file_beats_the_built_in_book() {
    let file = r#"
models:
  - { provider: openai, names: [gpt-4o-mini, "claude-sonnet-4-6*"], source: contract, prices: [ { per_million: { input: 7 } } ] }
  - { provider: edge, names: ["gpt-*"], source: edge, prices: [ { per_million: { input: 8 } } ] }
"#;
    let book = Book::layered(&[Book::parse(file, "f").unwrap()]);
    let today = Time::from_micros(1_795_305_600_000_000);
    let key = |provider: &'static str, model: &'static str, tier: &'static str| Key {
        provider,
        vendor: "openai",
        model,
        tier,
        at: today,
    };
    #[rustfmt::skip]
    let cases = [
        // The answer names a snapshot that the built-in book has a price for; the file's price of what was asked for holds.
        (key("openai", "gpt-4o-mini", ""), "gpt-4o-mini-2024-07-18", TokenClass::UncachedInput, Ok(7_000_000)),
        (key("openai", "gpt-4o-mini", ""), "gpt-4o-mini-2024-07-18", TokenClass::Output, Ok(600_000)),
        (key("openai", "gpt-4o-mini", "priority"), "gpt-4o-mini-2024-07-18", TokenClass::UncachedInput, Ok(250_000)),
        (key("openai", "gpt-4o", ""), "gpt-4o-mini", TokenClass::UncachedInput, Ok(7_000_000)),
        (key("openai", "gpt-4o", ""), "gpt-4o-2024-08-06", TokenClass::UncachedInput, Ok(2_500_000)),
        (key("edge", "gpt-4o", ""), "gpt-4o-2024-08-06", TokenClass::UncachedInput, Ok(8_000_000)),
        (key("edge", "o3", ""), "o3", TokenClass::UncachedInput, Ok(2_000_000)),
        (key("edge", "o3", "scale"), "o3", TokenClass::UncachedInput, Err(Unpriced::UnknownTier)),
    ];
    for (key, answered, class, expected) in cases {
        let charges = rate(Some(&book), &key, answered, &[Part { model: None, vector: vector(class, 1) }]);
        assert_eq!(cost(&charges), expected.map(Pico), "{key:?} {answered} {class:?}");
    }
    assert_eq!(Book::from_bytes(&book.to_bytes()).unwrap().rows(), book.rows());
}

/// What is said of an ARN goes before what is said of the model that it ends in, and that before what is said of every model.
#[test]
fn an_arn_is_the_model_that_it_ends_in_unless_a_row_names_it() {
    let (plain, own) =
        ("arn:aws:bedrock:eu-west-1:1:inference-profile/eu.m", "arn:aws:bedrock:us-east-1:1:inference-profile/us.m");
    let file = "models:\n- { provider: p, names: ['*'], source: s, prices: [ { per_million: { output: 1 } } ] }\n\
        - { provider: p, names: ['eu.m', 'us.m'], source: s, prices: [ { per_million: { output: 2 } } ] }\n\
        - { provider: p, names: ['arn:aws:bedrock:us-east-1:1:*'], source: s, prices: [ { per_million: { output: 3 } } ] }\n";
    let book = Book::of(&[Book::parse(file, "test.yaml").unwrap()]);
    for (model, price) in [(plain, 2_000_000), (own, 3_000_000), ("other", 1_000_000)] {
        let parts = [Part { model: None, vector: vector(TokenClass::Output, 1) }];
        let charges = rate(Some(&book), &key(model), "", &parts);
        let [Charge { price: Rated::Priced { unit_price, .. }, .. }] = &charges[..] else { panic!("{charges:?}") };
        assert_eq!(unit_price.0, price, "{model}");
    }
}

#[test]
fn facts_come_from_the_most_specific_row_that_states_them() {
    let facts = book().facts("p", "openai", "m-2024-08-06");
    let expected = ModelFacts {
        context_window: Some(1000),
        max_output_tokens: Some(100),
        encoding: Encoding::O200kBase,
        cap_field: CapField::MaxCompletionTokens,
        all_output_visible: true,
        bytes_per_token: 3,
        ..ModelFacts::default()
    };
    assert_eq!(facts, expected);
    assert_eq!(book().facts("p", "openai", "unheard"), ModelFacts::default());
    assert_eq!(Book::builtin().facts("sandbox", "openai", "sandbox/700").max_output_tokens, Some(700));
    assert_eq!(Book::builtin().facts("sandbox", "openai", "sandbox/x").max_output_tokens, None);
}

#[test]
fn what_a_pattern_on_top_states_goes_before_what_the_built_in_book_says_of_models_under_it() {
    let of = |file: &str| {
        let book = Book::layered(&[Book::parse(file, "test").unwrap()]);
        let facts = book.facts("anthropic", "anthropic", "claude-sonnet-4-5");
        (facts.all_output_visible, facts.bytes_per_token, facts.context_window.is_some())
    };
    let pattern =
        "models:\n- { provider: anthropic, names: ['claude-*'], all_output_visible: true, bytes_per_token: 3 }\n";
    assert_eq!(of(pattern), (true, 3, true));
    let longer = format!("{pattern}- {{ provider: anthropic, names: ['claude-sonnet-*'], bytes_per_token: 2 }}\n");
    assert_eq!(of(&longer), (true, 2, true), "a longer one before a shorter");
}

#[test]
fn stating_one_fact_anew_leaves_the_others_as_they_were() {
    let file = "models: [ { provider: openai, names: [\"gpt-4.1-mini\"], bytes_per_token: 2 } ]";
    let (before, after) = (Book::builtin(), Book::layered(&[Book::parse(file, "f").unwrap()]));
    let [before, after] = [before, after].map(|book| book.facts("openai", "openai", "gpt-4.1-mini"));
    assert_eq!(after, ModelFacts { bytes_per_token: 2, ..before });
    assert!(before.all_output_visible && before.max_output_tokens.is_some(), "{before:?}");
}

#[test]
fn mistakes_are_told_with_their_lines() {
    #[rustfmt::skip]
    let cases = [
        ("models: 1", vec!["f:1: expected a list"]),
        ("model: []", vec!["f:1: unknown key `model`"]),
        ("models: [", vec!["f:2: "]),
        ("models:\n- provider: p\n- names: [a]\n", vec!["f:2: `names` is missing", "f:3: `provider` is missing"]),
        ("models:\n- provider: p\n  provider: q\n  names: [a]\n", vec!["f:"]),
        ("models:\n- provider: p\n  names: [a]\n", vec!["f:2: this says neither a price nor a fact"]),
        ("models:\n- provider: p\n  names: [a*b, '*']\n  x: 1\n  context_window: -1\n  prices:\n  - per_million: { input: -1, outputs: 1, output: 1.0000001 }\n    to: 2026-13-01\n",
         vec!["f:3: expected a name, or a beginning and `*`", "f:4: unknown key `x`", "f:5: expected a whole number",
              "f:7: expected a decimal", "f:7: `outputs` is not a class of tokens", "f:7: expected a decimal", "f:8: expected a day", "f:7: this prices nothing"]),
        ("models:\n- provider: p\n  names: [a]\n  prices: [ { from: 2026-02-01, to: 2026-01-01, per_unit: { input: 1 } } ]",
         vec!["f:4: `input` is not priced by the unit", "f:4: this prices nothing", "f:4: `to` is not after `from`"]),
        ("models:\n- provider: p\n  names: [a]\n  prices: [ { per_million: { input: 1e-3 } } ]", vec!["f:4: expected a decimal", "f:4: this prices"]),
    ];
    for (text, expected) in cases {
        let mistakes = Book::parse(text, "f").err().unwrap_or_default();
        let found: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        let alike = found.len() == expected.len() && found.iter().zip(&expected).all(|(a, b)| a.starts_with(b));
        assert!(alike, "{text}\nfound {found:#?}\nexpected {expected:#?}");
    }
    assert_eq!(Book::parse("", "f"), Ok(PriceFile::default()));
}

#[test]
fn a_row_of_the_users_beats_the_built_in_ones_whoever_it_names() {
    let file = "models:\n- { provider: openai, names: [\"gpt-4*\"], source: s, source_date: 2026-01-02, prices: [ { per_million: { input: 99 } } ] }\n\
        - { provider: mine, names: [gpt-4o-mini], source: s, source_date: 2026-01-02, prices: [ { per_million: { output: 55 } } ] }\n";
    let book = Book::layered(&[Book::parse(file, "f").unwrap()]);
    let check = |provider, class, per_million: i128| {
        let key = Key { provider, vendor: "openai", model: "gpt-4o-mini", tier: "", at: AFTER };
        let row = book.rates(&key, &[key.model]).unwrap().find(class, "", 10, AFTER).unwrap();
        assert_eq!(row.unit_price, Pico(per_million * 1_000_000), "{provider} {class:?}");
    };
    check("mine", TokenClass::Output, 55);
    check("mine", TokenClass::UncachedInput, 99);
    check("openai", TokenClass::UncachedInput, 99);
}

#[test]
fn images_cost_what_text_does_unless_a_row_says_otherwise() {
    let prices = r#"
models:
  - { provider: openai, names: ["plain"], source: here, prices: [ { per_million: { input: 5, output: 10 } } ] }
  - provider: openai
    names: ["painter"]
    source: here
    prices:
      - { per_million: { input: 5, output: 10, image_input: 8, image_output: 32 } }
      - { tier: flex, per_million: { input: 2, output: 5 } }
"#;
    let book = Book::of(&[Book::parse(prices, "here").unwrap()]);
    let check = |model: &'static str, tier: &'static str, class: TokenClass, wanted: Result<i128, Unpriced>| {
        let key = Key { provider: "openai", vendor: "openai", model, tier, at: Time::ZERO };
        let charges = rate(Some(&book), &key, "", &[Part { model: None, vector: vector(class, 3) }]);
        assert_eq!(charges[0].class, class);
        assert_eq!(
            super::cost(&charges),
            wanted.map(|price| crate::money::Pico(3 * price * 1_000_000)),
            "{model} {class:?}"
        );
    };
    check("plain", "", TokenClass::ImageInput, Ok(5));
    check("plain", "", TokenClass::ImageOutput, Ok(10));
    check("painter", "", TokenClass::ImageInput, Ok(8));
    check("painter", "", TokenClass::ImageOutput, Ok(32));
    // Who prices images apart does so in each tier, or not at all.
    check("painter", "flex", TokenClass::ImageOutput, Err(Unpriced::UnknownTier));
    check("plain", "", TokenClass::AudioInput, Err(Unpriced::UnknownClass));
}

#[test]
fn the_list_price_is_that_of_the_built_in_book_under_what_stands_on_top() {
    let vector = Vector { uncached_input: 1_000, output: 10, ..Vector::default() };
    let parts = [Part { model: None, vector }];
    let costs = |book: &Book, model: &str| {
        let key =
            Key { provider: "openai", vendor: "openai", model, tier: "", at: Time::from_micros(1_795_305_600_000_000) };
        let charged = rate(Some(book), &key, "", &parts);
        let charged: Vec<_> =
            charged.iter().map(|charge| cost(std::slice::from_ref(charge)).ok().map(|cost| cost.0)).collect();
        let listed: Vec<_> = list(book, &key, "", &parts).iter().map(|listed| listed.cost.map(|cost| cost.0)).collect();
        (charged, listed)
    };
    let known = costs(&Book::builtin(), "gpt-5");
    assert!(known.0 == known.1 && known.0.iter().all(Option::is_some), "{known:?}");
    // By the very name of the built-in row, and by a pattern; of output nothing is said, and of `mine` nothing is built in.
    let file = "models:\n  - { provider: openai, names: [gpt-5], prices: [ { per_million: { input: 0.50 } } ] }\n  - { provider: openai, names: [mine], prices: [ { per_million: { input: 1, output: 2 } } ] }\n";
    let layered = Book::layered(&[Book::parse(file, "mine").unwrap()]);
    let (charged, listed) = costs(&layered, "gpt-5");
    assert_eq!(listed, known.0);
    assert_eq!((charged[0], charged[1]), (Some(500_000_000), known.0[1]));
    assert_eq!(costs(&layered, "mine"), (vec![Some(1_000_000_000), Some(20_000_000)], vec![None, None]));
    // It travels, and shows one row of an id.
    assert_eq!(Book::from_bytes(&layered.to_bytes()).unwrap().hash(), layered.hash());
    let mut ids: Vec<_> = layered.rows_on_top().map(|row| row.price_id.clone()).collect();
    let shown = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), layered.rows().len()), (shown, shown + 1));
}
