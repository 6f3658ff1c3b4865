//! Recorded exchanges against their bounds: usage is never more than the bound, or the bound says that there is none.
//!
//! The corpus stands beside the checkout or where `TOLLGATE_CORPUS` says. Without it this says so loudly and passes, unless
//! `TOLLGATE_REQUIRE_CORPUS=1`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a corpus that cannot be read is a failure")]

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

use schemas::{
    bound::{AtMost, Beside, Bound, Measure, Why, bound},
    event::Api,
    json::Tree,
    price::{Book, Encoding, Key, ModelFacts, cost, rate},
    time::Time,
    tokens::{Part, Vector},
};
use serde_json::Value;

/// 2026-11-22: today's prices are valid, and those of every model that the recordings name.
const TODAY: Time = Time::from_micros(1_795_305_600_000_000);

struct Exchange {
    id: String,
    api: Api,
    provider: String,
    model: String,
    answered: String,
    tier: String,
    body: Value,
    used: Vector,
}

fn corpus() -> Option<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus");
    let place = env::var_os("TOLLGATE_CORPUS").map_or(beside, PathBuf::from);
    if place.join("README.md").exists() {
        return Some(place);
    }
    let required = env::var("TOLLGATE_REQUIRE_CORPUS").is_ok_and(|value| value == "1");
    assert!(!required, "TOLLGATE_REQUIRE_CORPUS=1 and there is no corpus at {}", place.display());
    eprintln!("SKIPPED: no corpus at {}; TOLLGATE_CORPUS names another place", place.display());
    None
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every exchange of the metered APIs whose request was recorded and whose usage is exact.
fn exchanges() -> Vec<Exchange> {
    let Some(place) = corpus() else { return Vec::new() };
    let mut names: Vec<_> = fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    let ids = names.iter().filter_map(|name| name.to_str()?.strip_suffix(".meta.json"));
    let found: Vec<Exchange> = ids.filter_map(|id| exchange(&place, id)).collect();
    assert!(found.len() > 400, "only {} exchanges", found.len());
    found
}

fn exchange(place: &Path, id: &str) -> Option<Exchange> {
    let meta = read(&place.join(format!("{id}.meta.json")));
    let word = |name: &str| meta[name].as_str().unwrap_or_default().to_owned();
    let api = Api::ALL.into_iter().find(|api| api.name() == word("api"))?;
    let expected = &meta["expected_usage"];
    if meta["request_recorded"] == Value::Bool(false) || expected["completeness"] != "exact" {
        return None;
    }
    let count = |name: &str| expected[name].as_u64().unwrap_or(0);
    let used = Vector {
        uncached_input: count("uncached_input"),
        cache_read: count("cache_read"),
        cache_write_5m: count("cache_write_5m"),
        cache_write_1h: count("cache_write_1h"),
        output: count("output"),
        audio_input: count("audio_input"),
        audio_output: count("audio_output"),
        web_searches: count("web_searches"),
        reasoning: count("reasoning"),
        search_units: 0,
        guardrails: 0,
        tool_calls: 0,
        image_input: 0,
        image_output: 0,
        cache_read_audio: 0,
        code_sessions: 0,
    };
    Some(Exchange {
        id: id.to_owned(),
        api,
        provider: word("provider"),
        model: word("model_requested"),
        answered: word("model_answered"),
        tier: word("service_tier"),
        body: read(&place.join(format!("{id}.request.json")))["body"].clone(),
        used,
    })
}

impl Exchange {
    fn key(&self) -> Key<'_> {
        let Self { provider, model, tier, .. } = self;
        Key { provider, vendor: self.api.vendor(), model, tier, at: TODAY }
    }

    fn facts(&self, book: &Book) -> ModelFacts {
        book.facts(&self.provider, self.api.vendor(), &self.model)
    }

    fn bound(&self, book: &Book, facts: &ModelFacts, tightened: bool) -> Bound {
        let body = serde_json::to_vec(&self.body).unwrap();
        let measure = match facts.encoding {
            Encoding::O200kBase if tightened => {
                Measure::Tokens(|text| tiktoken_rs::o200k_base_singleton().encode_ordinary(text).len() as u64)
            }
            Encoding::Cl100kBase if tightened => {
                Measure::Tokens(|text| tiktoken_rs::cl100k_base_singleton().encode_ordinary(text).len() as u64)
            }
            _ => Measure::Bytes,
        };
        let tree = Tree::read(&body).unwrap();
        bound(self.api, (&tree, &Beside::default()), facts, book, &self.key(), measure)
            .unwrap_or_else(|error| panic!("{}: {error}", self.id))
    }

    /// Whether the request is nothing but texts, sampling parameters and a cap.
    fn is_plain_text(&self) -> bool {
        const FIELDS: [&str; 19] = [
            "messages",
            "model",
            "stream",
            "stream_options",
            "temperature",
            "n",
            "max_completion_tokens",
            "max_tokens",
            "top_p",
            "top_k",
            "stop",
            "seed",
            "user",
            "system",
            "metadata",
            "input",
            "encoding_format",
            "dimensions",
            "presence_penalty",
        ];
        let is_text = |content: &Value| match content {
            Value::Array(parts) => parts.iter().all(|part| part["type"] == "text"),
            content => content.is_string(),
        };
        let fields = self.body.as_object().unwrap();
        if self.api == Api::OpenAiResponses && !self.body["input"].is_string() {
            return false;
        }
        let messages = self.body["messages"].as_array().map_or(&[][..], Vec::as_slice);
        fields.keys().all(|name| FIELDS.contains(&name.as_str()))
            && messages.iter().all(|message| is_text(&message["content"]))
    }
}

#[test]
fn usage_is_within_the_bound() {
    let book = Book::builtin();
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let (mut bounded, mut wrong) = (0, Vec::new());
    for exchange in exchanges() {
        let facts = exchange.facts(&book);
        for tightened in [false, true] {
            let found = exchange.bound(&book, &facts, tightened);
            if let Some(most) = found.most() {
                wrong.extend(exceeded(&exchange, &book, most).map(|what| format!("{} {what} {found:?}", exchange.id)));
            }
            match found {
                Bound::AtMost(_) => bounded += usize::from(tightened),
                Bound::Unbounded(unbounded) if tightened => {
                    // Of many models of others no maximum is known; that alone is no fault of the request.
                    let no_maximum = unbounded.why == Why::OutputMaximumUnknown && facts.max_output_tokens.is_none();
                    if exchange.is_plain_text() && !facts.runs_own_tools && !no_maximum {
                        wrong.push(format!("{} is plain text, and {unbounded}", exchange.id));
                    }
                    *reasons.entry(format!("{:?} {}", unbounded.why, unbounded.field)).or_default() += 1;
                }
                Bound::Unbounded(_) => {}
            }
        }
    }
    println!("{bounded} bounded; unbounded: {reasons:#?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What of the usage is more than the bound, or has no price.
fn exceeded(exchange: &Exchange, book: &Book, most: &AtMost) -> Option<String> {
    let (model, used) = (&exchange.model, exchange.used);
    let parts = [Part { model: None, vector: used }];
    match cost(&rate(Some(book), &exchange.key(), &exchange.answered, &parts)) {
        _ if used.input() > most.input => Some(format!("{model} input {} > {}", used.input(), most.input)),
        _ if used.all_output() > most.output => Some(format!("{model} output {} > {}", used.all_output(), most.output)),
        // What has no price is said to have none beforehand.
        Err(_) if most.cost.is_err() => None,
        Err(why) => Some(format!("{model} as {} has no price: {why:?}", exchange.answered)),
        Ok(cost) if most.cost.is_ok_and(|most| cost > most) => Some(format!("{model} cost {cost} > {:?}", most.cost)),
        Ok(_) => None,
    }
}

#[test]
fn a_tightened_bound_is_not_looser_than_it_must_be() {
    let book = Book::builtin();
    let mut groups: BTreeMap<&str, Vec<(u64, String)>> = BTreeMap::new();
    for exchange in exchanges() {
        let facts = exchange.facts(&book);
        for tightened in [false, true] {
            let Bound::AtMost(most) = exchange.bound(&book, &facts, tightened) else { continue };
            let group = match (exchange.api, exchange.is_plain_text(), tightened) {
                (Api::AnthropicMessages, true, false) => "anthropic text, bytes",
                (Api::AnthropicMessages, false, false) => "anthropic tools, bytes",
                (Api::AnthropicMessages, ..) => continue,
                (Api::GeminiGenerateContent, _, false) => "gemini, bytes",
                (Api::BedrockConverse | Api::BedrockConverseStream, _, false) => "bedrock, bytes",
                (Api::OpenAiResponses, _, false) => "responses, bytes",
                (Api::OpenAiResponses, _, true) => "responses, tightened",
                (api, ..) if !matches!(api, Api::OpenAiChat | Api::OpenAiEmbeddings) => continue,
                (_, true, false) => "openai text, bytes",
                (_, true, true) => "openai text, tightened",
                (_, false, false) => "openai tools, bytes",
                (_, false, true) => "openai tools, tightened",
            };
            let used = exchange.used.input();
            let what = format!("{} {} {used} <= {}", exchange.id, exchange.model, most.input);
            groups.entry(group).or_default().push((most.input * 100 / used.max(1), what));
        }
    }
    for (group, found) in &mut groups {
        found.sort();
        let at = |percent: usize| &found[(found.len() - 1) * percent / 100];
        println!("{group}: n {} min {:?} p50 {:?} p80 {:?} max {:?}", found.len(), at(0), at(50), at(80), at(100));
        if *group == "openai text, tightened" {
            let within = found.iter().filter(|(percent, _)| *percent <= 300).count();
            assert!(within * 100 >= found.len() * 80, "{within} of {} within 3x", found.len());
        }
    }
}
