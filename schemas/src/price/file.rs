//! Price files: YAML that people write, checked as a whole, every mistake with its line.
//!
//! ```yaml
//! models:
//!   - provider: openai                   # a provider's configured name, or a vendor
//!     names: [gpt-4o, "gpt-4o-2024-*"]   # exact, or a beginning and `*`
//!     context_window: 128000             # the catalogue's fields, all optional
//!     source: https://…
//!     prices:
//!       - { per_million: { input: 2.50, output: 10 }, per_unit: { web_search: 0.01 } }
//! ```
//! A price may also say `tier`, `above` (input tokens), `from` and `to` (days, UTC) and its own `source` and `source_date`.

use std::{fmt, sync::Arc};

use saphyr::{MarkedYaml, YamlData, YamlLoader};
use saphyr_parser::Parser;

use super::{CapField, Encoding, Model, OutputMaximum, Pattern, Row};
use crate::{money::Pico, money::parse_decimal, time::Time, tokens::TokenClass};

/// The rows and models of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PriceFile {
    /// Its prices.
    pub rows: Vec<Row>,
    /// What it says of models.
    pub models: Vec<Model>,
}

impl PriceFile {
    /// Its rows as they stand on top of a book.
    pub(super) fn rows_on_top(&self) -> impl Iterator<Item = Row> {
        self.rows.iter().map(|row| Row { layered: true, ..row.clone() })
    }
}

/// What is wrong with a price file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The file.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong and what is expected.
    pub what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

type Node<'a> = MarkedYaml<'a>;

struct Reader {
    file: Arc<str>,
    mistakes: Vec<Mistake>,
    out: PriceFile,
}

/// A model entry as far as it is read.
struct Entry<'a> {
    provider: Option<Arc<str>>,
    names: Vec<Pattern>,
    facts: Model,
    source: Arc<str>,
    source_date: Arc<str>,
    prices: Option<&'a Node<'a>>,
    states_facts: bool,
}

/// A price as far as it is read.
struct Price {
    tier: Arc<str>,
    above: u64,
    from: Time,
    to: Time,
    source: Arc<str>,
    source_date: Arc<str>,
    amounts: Vec<(TokenClass, Pico)>,
}

pub(super) fn parse(text: &str, name: &str) -> Result<PriceFile, Vec<Mistake>> {
    let mut reader = Reader { file: name.into(), mistakes: Vec::new(), out: PriceFile::default() };
    match load(text) {
        Ok(documents) => match documents.as_slice() {
            [] => {}
            [document] => reader.document(document),
            [_, second, ..] => reader.wrong(second, "a price file is one document"),
        },
        Err((line, what)) => reader.mistakes.push(Mistake { file: reader.file.clone(), line, what }),
    }
    if reader.mistakes.is_empty() { Ok(reader.out) } else { Err(reader.mistakes) }
}

/// The documents with their scalars as they are written: a price must not pass through a binary fraction.
fn load(text: &str) -> Result<Vec<Node<'_>>, (usize, String)> {
    let mut loader = YamlLoader::default();
    loader.early_parse(false);
    let at = |error: &saphyr::ScanError| (error.marker().line(), error.info().to_owned());
    Parser::new_from_str(text).load(&mut loader, true).map_err(|error| at(&error))?;
    match loader.error() {
        Some(error) => Err(at(error)),
        None => Ok(loader.into_documents()),
    }
}

impl Reader {
    fn wrong(&mut self, node: &Node<'_>, what: impl Into<String>) {
        self.mistakes.push(Mistake { file: self.file.clone(), line: node.span.start.line(), what: what.into() });
    }

    fn fields<'a>(&mut self, node: &'a Node<'a>) -> Vec<(&'a str, &'a Node<'a>)> {
        let YamlData::Mapping(mapping) = &node.data else {
            self.wrong(node, "expected a mapping");
            return Vec::new();
        };
        let mut fields = Vec::with_capacity(mapping.len());
        for (key, value) in mapping {
            match scalar(key) {
                Some(name) => fields.push((name, value)),
                None => self.wrong(key, "expected a name"),
            }
        }
        fields
    }

    fn items<'a>(&mut self, node: &'a Node<'a>) -> &'a [Node<'a>] {
        match &node.data {
            YamlData::Sequence(items) => items,
            _ => {
                self.wrong(node, "expected a list");
                &[]
            }
        }
    }

    fn text<'a>(&mut self, node: &'a Node<'a>) -> &'a str {
        match scalar(node) {
            Some(text) if !text.is_empty() => text,
            _ => {
                self.wrong(node, "expected a text");
                ""
            }
        }
    }

    /// A scalar that `read` understands; a mistake where it does not.
    fn value<T>(&mut self, node: &Node<'_>, expected: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let value = scalar(node).and_then(read);
        if value.is_none() {
            self.wrong(node, format!("expected {expected}"));
        }
        value
    }

    fn count(&mut self, node: &Node<'_>) -> Option<u64> {
        self.value(node, "a whole number", |text| text.parse().ok())
    }

    fn flag(&mut self, node: &Node<'_>) -> Option<bool> {
        self.value(node, "true or false", |text| text.parse().ok())
    }

    fn document(&mut self, node: &Node<'_>) {
        for (name, value) in self.fields(node) {
            match name {
                "models" => self.items(value).iter().for_each(|entry| self.entry(entry)),
                _ => self.wrong(value, format!("unknown key `{name}`")),
            }
        }
    }

    fn entry(&mut self, node: &Node<'_>) {
        let blank = Model::new("".into(), Pattern::any());
        let mut entry = Entry {
            provider: None,
            names: Vec::new(),
            facts: blank.clone(),
            source: self.file.clone(),
            source_date: "".into(),
            prices: None,
            states_facts: false,
        };
        for (name, value) in self.fields(node) {
            self.entry_field(&mut entry, name, value);
        }
        entry.states_facts = entry.facts != blank;
        let Some(provider) = entry.provider.clone() else { return self.wrong(node, "`provider` is missing") };
        if entry.names.is_empty() {
            return self.wrong(node, "`names` is missing");
        }
        let prices: Vec<Price> = match entry.prices {
            Some(list) => self.items(list).iter().map(|price| self.price(price, &entry)).collect(),
            None => Vec::new(),
        };
        if prices.is_empty() && !entry.states_facts {
            self.wrong(node, "this says neither a price nor a fact");
        }
        for model in entry.names {
            if entry.states_facts {
                self.out.models.push(Model { provider: provider.clone(), model: model.clone(), ..entry.facts.clone() });
            }
            prices.iter().for_each(|price| self.out.rows.extend(price.rows(&provider, &model)));
        }
    }

    fn entry_field<'a>(&mut self, entry: &mut Entry<'a>, name: &str, value: &'a Node<'a>) {
        match name {
            "provider" => entry.provider = Some(self.text(value).into()),
            "names" => {
                for item in self.items(value) {
                    entry.names.extend(self.value(item, "a name, or a beginning and `*`", Pattern::parse));
                }
            }
            "context_window" => entry.facts.context_window = self.count(value),
            "max_output_tokens" => {
                entry.facts.max_output_tokens = self.value(value, "a whole number, or `*`", |text| match text {
                    "*" => Some(OutputMaximum::Named),
                    _ => text.parse().ok().map(OutputMaximum::Tokens),
                });
            }
            "encoding" => {
                entry.facts.encoding = self.value(value, "o200k_base, cl100k_base or none", Encoding::parse);
            }
            "cap_field" => {
                entry.facts.cap_field = self.value(value, "max_tokens or max_completion_tokens", CapField::parse);
            }
            "bytes_per_token" => {
                entry.facts.bytes_per_token =
                    self.value(value, "1 to 16", |text| text.parse().ok().filter(|bytes| (1..=16).contains(bytes)));
            }
            "all_output_visible" => entry.facts.all_output_visible = self.flag(value),
            "image_tokens" => entry.facts.image_tokens = self.count(value),
            "runs_own_tools" => entry.facts.runs_own_tools = self.flag(value),
            "source" => entry.source = self.text(value).into(),
            "source_date" => entry.source_date = self.day_text(value),
            "prices" => entry.prices = Some(value),
            _ => self.wrong(value, format!("unknown key `{name}`")),
        }
    }

    fn price(&mut self, node: &Node<'_>, entry: &Entry<'_>) -> Price {
        let mut price = Price {
            tier: "".into(),
            above: 0,
            from: Time::ZERO,
            to: Time::MAX,
            source: entry.source.clone(),
            source_date: entry.source_date.clone(),
            amounts: Vec::new(),
        };
        for (name, value) in self.fields(node) {
            match name {
                // Six decimals of a dollar per million tokens are whole pico-dollars per token.
                "per_million" => self.amounts(&mut price, value, 6),
                "per_unit" => self.amounts(&mut price, value, 12),
                "tier" => price.tier = super::index::standard(self.text(value)).into(),
                "above" => price.above = self.count(value).unwrap_or_default(),
                "from" => price.from = self.day(value).unwrap_or(Time::ZERO),
                "to" => price.to = self.day(value).unwrap_or(Time::MAX),
                "source" => price.source = self.text(value).into(),
                "source_date" => price.source_date = self.day_text(value),
                _ => self.wrong(value, format!("unknown key `{name}`")),
            }
        }
        if price.amounts.is_empty() {
            self.wrong(node, "this prices nothing: `per_million` or `per_unit` is missing");
        }
        if price.from >= price.to {
            self.wrong(node, "`to` is not after `from`");
        }
        price
    }

    fn amounts(&mut self, price: &mut Price, node: &Node<'_>, decimals: u32) {
        for (name, value) in self.fields(node) {
            let class = TokenClass::parse(name).filter(|class| class.is_unit() == (decimals == 12));
            let expected = format!("a decimal number of dollars with at most {decimals} decimals, not negative");
            let amount = self.value(value, &expected, |text| {
                let amount = Pico(parse_decimal(text, decimals)?);
                (amount.0 >= 0 && amount.row().is_some()).then_some(amount)
            });
            match (class, amount) {
                (None, _) if decimals == 12 => self.wrong(value, format!("`{name}` is not priced by the unit")),
                (None, _) => self.wrong(value, format!("`{name}` is not a class of tokens")),
                (Some(class), Some(amount)) => price.amounts.push((class, amount)),
                (Some(_), None) => {}
            }
        }
    }

    fn day(&mut self, node: &Node<'_>) -> Option<Time> {
        self.value(node, "a day such as 2026-11-20", Time::of_day)
    }

    fn day_text(&mut self, node: &Node<'_>) -> Arc<str> {
        self.day(node).and(scalar(node)).unwrap_or_default().into()
    }
}

impl Price {
    fn rows(&self, provider: &Arc<str>, model: &Pattern) -> impl Iterator<Item = Row> {
        self.amounts.iter().map(move |&(class, unit_price)| Row {
            provider: provider.clone(),
            model: model.clone(),
            class,
            tier: self.tier.clone(),
            above: self.above,
            valid_from: self.from,
            valid_to: self.to,
            unit_price,
            price_id: Row::id_of(provider, model, class, &self.tier, self.above, self.from),
            source: self.source.clone(),
            source_date: self.source_date.clone(),
            layered: false,
        })
    }
}

fn scalar<'a>(node: &'a Node<'_>) -> Option<&'a str> {
    match &node.data {
        YamlData::Representation(text, ..) => Some(text),
        YamlData::Value(saphyr::Scalar::String(text)) => Some(text),
        _ => None,
    }
}
