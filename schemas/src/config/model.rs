//! Models: what clients may ask for, where it goes, and what the configuration says of it on top of the price book.
//!
//! What it says of its targets' shares and of retries is read by [`super::routing`]. What it says of its window, its encoding and
//! its prices becomes rows of the price book, so that gateways and metering read it from one place.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    judge::{self, Judge},
    reader::{Fields, Reader, shown},
    routing::{self, KNOWN_OF_TARGET, MOST_TARGETS, Patience, Retry, Strategy, When},
    store::Log,
    unique::Unique,
    yaml::Node,
};
use crate::{
    error_code::ErrorCode,
    money::{Pico, parse_decimal},
    price::{Encoding, Model, OutputMaximum, Pattern, PriceFile, Row},
    time::Time,
    tokens::TokenClass,
};

/// What clients may ask for, and where it goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRoute {
    /// The name that clients use: exact, or a beginning and `*`, or `*` alone.
    pub name: String,
    /// Where it goes; at least one, and at most [`MOST_TARGETS`].
    pub targets: Vec<Target>,
    /// In which order they are tried.
    #[serde(default)]
    pub strategy: Strategy,
    /// What follows when one fails.
    #[serde(default)]
    pub retry: Retry,
    /// How long answers are kept for calls that are the same; nothing keeps none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Caching>,
    /// Who judges the answers of all targets; without one a single target answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge: Option<Box<Judge>>,
}

/// How answers of a model are kept, for the same tenant to be given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caching {
    /// How long an answer is given again.
    pub ttl: Duration,
    /// The most bytes of an answer that is kept.
    pub max_answer: u64,
}

/// The largest answer that is kept, where nothing else is said.
const MAX_ANSWER: u64 = 1 << 20;

/// One place that a model's calls go to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The provider, by its configured name.
    pub provider: String,
    /// The model asked of it; nothing keeps the client's name.
    pub model: Option<String>,
    /// Its share, of all shares, where they count; without one it is the last resort.
    #[serde(default = "one")]
    pub weight: u8,
    /// The lower it is, the earlier its turn.
    #[serde(default)]
    pub priority: u16,
    /// What all has to be so for it to take a call.
    #[serde(default)]
    pub when: Vec<When>,
    /// The patience with it, where it is another than with its provider.
    #[serde(default)]
    pub timeouts: Patience,
    /// How long it is passed over after failures; nothing is the gateway's own default.
    #[serde(default)]
    pub cooldown: Option<Duration>,
}

const fn one() -> u8 {
    1
}

impl Target {
    /// A target that takes every call.
    pub const fn new(provider: String, model: Option<String>) -> Self {
        let timeouts = Patience { connect: None, first_byte: None, first_token: None, idle: None, total: None };
        Self { provider, model, weight: 1, priority: 0, when: Vec::new(), timeouts, cooldown: None }
    }
}

impl ModelRoute {
    /// The place of a model's route: the one of its very name, else of the longest beginning, whatever the order.
    pub fn place(routes: &[Self], name: &str) -> Option<usize> {
        let rank = |route: &Self| match route.name.strip_suffix('*') {
            None => (route.name == name).then_some(usize::MAX),
            Some(prefix) => name.starts_with(prefix).then_some(prefix.len()),
        };
        let ranked = routes.iter().enumerate().filter_map(|(place, route)| Some((rank(route)?, place)));
        ranked.max_by_key(|(rank, _)| *rank).map(|(_, place)| place)
    }

    /// The route of a model.
    pub fn find<'a>(routes: &'a [Self], name: &str) -> Option<&'a Self> {
        routes.get(Self::place(routes, name)?)
    }
}

const KNOWN: &[&str] = &[
    "name",
    "targets",
    "strategy",
    "sticky",
    "retry",
    "cache",
    "judge",
    "context_window",
    "max_output_tokens",
    "encoding",
    "all_output_visible",
    "bytes_per_token",
    "prices",
];
const KNOWN_OF_PRICE: &[&str] = &["per_million", "per_unit", "tier", "above", "from", "to", "source", "source_date"];

/// What the section says: routes, and rows for the price book.
#[derive(Debug, Default)]
pub(super) struct Models {
    pub(super) routes: Vec<ModelRoute>,
    pub(super) book: PriceFile,
}

/// The names that the configuration defines.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) providers: &'a [String],
    pub(super) limits: &'a [String],
    /// The bytes of answers that a gateway keeps.
    pub(super) cache: u64,
    pub(super) log: &'a Log,
}

/// Reads the section.
pub(super) fn read(reader: &mut Reader, node: &Node, known: Known<'_>) -> Models {
    let mut names = Unique::new("model");
    let mut models = Models::default();
    let routes = reader.list(node, "models", |reader, item| {
        let fields = reader.fields(item, "a model", KNOWN)?;
        let name = reader.need(&fields, "name", |reader, node| pattern(reader, node, &mut names));
        let targets = reader.need(&fields, "targets", |reader, node| targets(reader, node, known));
        let rows = overlay(reader, &fields);
        let strategy = routing::strategy(reader, &fields, targets.as_deref().unwrap_or_default());
        let retry = routing::retry(reader, &fields, targets.as_ref().map_or(0, Vec::len));
        let cache = reader.maybe(&fields, "cache", |reader, node| caching(reader, node, known.cache));
        let judge = reader.maybe(&fields, "judge", |reader, node| judge::judge(reader, node, known).map(Box::new));
        if fields.get("judge").is_some() {
            judge::beside(reader, &fields);
        }
        let (pattern, targets) = (name?, targets?);
        for target in &targets {
            let model = target.model.as_deref().and_then(Pattern::parse).unwrap_or_else(|| pattern.clone());
            rows.put(&target.provider, &model, &mut models.book);
        }
        Some(ModelRoute { name: pattern.as_str().into(), targets, strategy, retry, cache, judge })
    });
    models.routes = routes.unwrap_or_default();
    models
}

fn caching(reader: &mut Reader, node: &Node, room: u64) -> Option<Caching> {
    let fields = reader.fields(node, "cache", &["ttl", "max_answer"])?;
    let ttl = reader.need(&fields, "ttl", Reader::duration);
    let max_answer = reader.or(&fields, "max_answer", MAX_ANSWER.min(room), Reader::size);
    if max_answer > room {
        let at = fields.place("max_answer").unwrap_or(fields.at);
        let what = "max_answer is more than server.cache, so that the largest answer could never be kept";
        reader.bad(at, what, "raise server.cache or lower max_answer");
    }
    Some(Caching { ttl: ttl?, max_answer })
}

fn pattern(reader: &mut Reader, node: &Node, names: &mut Unique) -> Option<Pattern> {
    let name = reader.text(node)?;
    names.add(reader, node.at, &name);
    let pattern = Pattern::parse(&name);
    if pattern.is_none() {
        reader.bad(node.at, format!("{name:?} has a * before its end"), "write a name, a beginning and *, or * alone");
    }
    pattern
}

fn targets(reader: &mut Reader, node: &Node, known: Known<'_>) -> Option<Vec<Target>> {
    let targets = reader.list(node, "targets", |reader, item| target(reader, item, known))?;
    let all = match &node.value {
        super::yaml::Value::List(items) => items.len(),
        _ => 0,
    };
    if all == 0 {
        reader.bad(node.at, "a model without a target goes nowhere", "name a provider: targets: [ { provider: … } ]");
    }
    if all > MOST_TARGETS {
        reader.bad(node.at, format!("a model with {all} targets"), format!("keep {MOST_TARGETS} at most"));
    }
    if targets.is_empty() { None } else { Some(targets) }
}

fn target(reader: &mut Reader, node: &Node, known: Known<'_>) -> Option<Target> {
    let fields = reader.fields(node, "a target", KNOWN_OF_TARGET)?;
    let (provider, model) = at_provider(reader, &fields, known);
    let mut target = Target::new(provider.clone().unwrap_or_default(), model);
    routing::target(reader, &fields, known.limits, &mut target);
    provider.map(|_| target)
}

/// The provider and the model that calls go to, where they are named.
pub(super) fn at_provider(
    reader: &mut Reader,
    fields: &Fields<'_>,
    known: Known<'_>,
) -> (Option<String>, Option<String>) {
    let provider = reader.need(fields, "provider", |reader, node| {
        let name = reader.text(node)?;
        if !known.providers.contains(&name) {
            let what = format!("no provider is called {name:?}");
            match known.log {
                Log::Disk { .. } => {
                    let remedy = "name one that stands under providers, or add it there";
                    reader.mistake(node.at, ErrorCode::DanglingReference, what, remedy);
                }
                // Every process has a file of its own, and the providers are the gateways' business.
                Log::Kafka(_) => {
                    let remedy = "the files of all gateways have to define it";
                    reader.warn(node.at, ErrorCode::DanglingReference, format!("{what} in this file"), remedy);
                }
            }
        }
        Some(name)
    });
    let model = reader.maybe(fields, "model", |reader, node| {
        let name = reader.text(node)?;
        if name.contains('*') {
            let remedy = "write one model, or leave it out to keep the name that the client sent";
            reader.bad(node.at, format!("{name:?} is not the name of one model"), remedy);
        }
        Some(name)
    });
    (provider, model)
}

/// What a model says for the price book, before it is known of which provider and model.
struct Overlay {
    facts: Model,
    prices: Vec<Row>,
}

impl Overlay {
    fn put(&self, provider: &str, model: &Pattern, book: &mut PriceFile) {
        let provider: Arc<str> = provider.into();
        let facts = Model { provider: provider.clone(), model: model.clone(), ..self.facts.clone() };
        if facts != Model::new(provider.clone(), model.clone()) {
            book.models.push(facts);
        }
        for row in &self.prices {
            let price_id = Row::id_of(&provider, model, row.class, &row.tier, row.above, row.valid_from);
            book.rows.push(Row { provider: provider.clone(), model: model.clone(), price_id, ..row.clone() });
        }
    }
}

fn overlay(reader: &mut Reader, fields: &Fields<'_>) -> Overlay {
    let mut facts = Model::new("".into(), Pattern::any());
    facts.context_window = reader.maybe(fields, "context_window", tokens);
    facts.max_output_tokens = reader.maybe(fields, "max_output_tokens", tokens).map(OutputMaximum::Tokens);
    facts.encoding = reader.maybe(fields, "encoding", |reader, node| {
        reader.parsed(node, "an encoding: o200k_base, cl100k_base or none", Encoding::parse)
    });
    facts.bytes_per_token = reader.maybe(fields, "bytes_per_token", |reader, node| reader.number(node, 1..=16));
    facts.all_output_visible = reader.maybe(fields, "all_output_visible", Reader::boolean);
    let prices = reader.maybe(fields, "prices", |reader, node| reader.list(node, "prices", price));
    Overlay { facts, prices: prices.unwrap_or_default().into_iter().flatten().collect() }
}

fn tokens(reader: &mut Reader, node: &Node) -> Option<u64> {
    reader.number(node, 1..=1_000_000_000)
}

/// One price as in a price file: amounts by class under one condition.
fn price(reader: &mut Reader, node: &Node) -> Option<Vec<Row>> {
    let fields = reader.fields(node, "a price", KNOWN_OF_PRICE)?;
    let text = |reader: &mut Reader, name: &str, default: &str| -> Arc<str> {
        reader.maybe(&fields, name, Reader::text).map_or_else(|| default.into(), Into::into)
    };
    let blank = Row {
        provider: "".into(),
        model: Pattern::any(),
        class: TokenClass::UncachedInput,
        tier: text(reader, "tier", ""),
        above: reader.or(&fields, "above", 0, |reader, node| reader.number(node, 0..=1_000_000_000)),
        valid_from: reader.or(&fields, "from", Time::ZERO, day),
        valid_to: reader.or(&fields, "to", Time::MAX, day),
        unit_price: Pico(0),
        price_id: "".into(),
        source: text(reader, "source", "configuration"),
        source_date: reader
            .maybe(&fields, "source_date", |reader, node| day(reader, node).and(reader.text(node)))
            .unwrap_or_default()
            .into(),
        layered: false,
    };
    if blank.valid_from >= blank.valid_to {
        reader.bad(fields.at, "\"to\" is not after \"from\"", "");
    }
    let mut rows = Vec::new();
    for (name, decimals) in [("per_million", 6), ("per_unit", 12)] {
        if let Some(node) = fields.get(name) {
            amounts(reader, node, decimals, &blank, &mut rows);
        }
    }
    if fields.get("per_million").is_none() && fields.get("per_unit").is_none() {
        let remedy = "write per_million: { input: 2.50, output: 10 }";
        reader.mistake(fields.at, ErrorCode::MissingConfigKey, "a price without per_million or per_unit", remedy);
    }
    Some(rows)
}

fn amounts(reader: &mut Reader, node: &Node, decimals: u32, blank: &Row, rows: &mut Vec<Row>) {
    // Six decimals of a dollar per million tokens are whole pico-dollars per token, as are twelve of a dollar per unit.
    let by_unit = decimals == 12;
    let classes = TokenClass::ALL.into_iter().filter(|class| class.is_unit() == by_unit);
    let known: Vec<&str> = classes.map(TokenClass::name).collect();
    let Some(fields) = reader.fields(node, "a list of prices by class", &known) else { return };
    for (key, node) in fields.entries().filter(|(key, _)| known.contains(&key.name.as_str())) {
        let wanted = format!("a decimal number of dollars, not negative, with at most {decimals} decimals");
        let amount = reader.parsed(node, &wanted, |text| {
            parse_decimal(text, decimals).map(Pico).filter(|amount| amount.0 >= 0 && amount.row().is_some())
        });
        if let (Some(class), Some(unit_price)) = (TokenClass::parse(&key.name), amount) {
            rows.push(Row { class, unit_price, ..blank.clone() });
        }
    }
}

fn day(reader: &mut Reader, node: &Node) -> Option<Time> {
    let scalar = reader.scalar(node)?;
    match Time::of_day(&scalar.text) {
        Some(midnight) => Some(midnight),
        None => {
            reader.bad(node.at, format!("{} is not a day such as 2026-11-20", shown(scalar)), "");
            None
        }
    }
}
