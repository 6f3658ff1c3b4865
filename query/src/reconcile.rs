//! A provider's own numbers held against ours: by UTC day, model, token class and account, with what the difference may come from.
//!
//! The life of a line. A file of the provider becomes [`Page`]s of [`Line`]s ([`openai`], [`anthropic`], [`bedrock`]), each with the quantity, the
//! money, or both → pages become one [`Export`], which also knows what is said of a day without lines → lines of one [`Cell`] add up, and so
//! do our charges, as coarse as the export tells them apart ([`grain`]) → [`compare`] says of each cell whether the two are alike within a
//! tolerance, and if not on which side there is more and why that may be.
//!
//! Everything here is pure and exact: quantities are integers, money pico-dollars. What one side does not state is not compared; a day that
//! is stated to have nothing is stated.

use std::collections::{BTreeMap, BTreeSet};

use schemas::{money::Pico, time::Time, tokens::TokenClass};

use crate::described::known_sums;

mod amount;
mod anthropic;
mod bedrock;
mod compare;
mod endpoint;
mod export;
mod grain;
mod openai;
#[cfg(test)]
mod tests;

pub use compare::{Cause, Found, Report, Status, Tolerance, compare};
pub use endpoint::{Endpoint, Endpoints};
pub use export::{Aside, Export, Invoice, LeftOut, Page, Stated};

/// Whose file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    /// OpenAI: `/v1/organization/costs` and `/v1/organization/usage/…`.
    OpenAi,
    /// Anthropic: `cost_report` and `usage_report/messages`.
    Anthropic,
    /// Amazon Bedrock: a Cost and Usage Report 2.0, as CSV or Parquet.
    Bedrock,
}

/// How the name of a fine-tune begins.
const FINE_TUNE: &str = "ft:";

/// What is compared: one of these.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// The UTC day, as YYYY-MM-DD.
    pub day: String,
    /// What the model's name comes to ([`Names::ours`]); empty where the file names none.
    pub model: String,
    /// The token class; nothing where the file does not tell them apart.
    pub class: Option<TokenClass>,
    /// The provider as configured here, whose key was used; empty where the file does not say which.
    pub account: String,
}

/// What a line of a file says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    /// The UTC day.
    pub day: String,
    /// When the bucket begins that it stands in.
    pub starts: Time,
    /// The model as the file names it, or what else is paid for; empty where the file does not tell them apart.
    pub model: String,
    /// The token class, if it states one.
    pub class: Option<TokenClass>,
    /// The key, project or principal, if it states one.
    pub key: Option<String>,
    /// What its result is grouped by, where lines come as results of a bucket.
    pub grouped: Grouped,
    /// How many tokens or units.
    pub quantity: Option<i128>,
    /// What that cost.
    pub cost: Option<Pico>,
    /// What the file itself tells it from all others by, where it does: then two that say the same are two, and one that stands twice is one.
    pub id: Option<String>,
}

/// What a result is grouped by: no two results of one bucket have all of it alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grouped {
    /// Model, item, key and so on.
    pub by: String,
    /// What else it may be grouped by, as JSON; `null` where it is not, since this says nothing of whose it is.
    pub finer: [String; 3],
}

impl Grouped {
    /// Whether both may be of the same usage: what one does not tell apart has all that the other does.
    fn meets(&self, other: &Self) -> bool {
        let is_any = |name: &String| name == "null";
        self.by == other.by
            && self.finer.iter().zip(&other.finer).all(|(one, next)| one == next || is_any(one) || is_any(next))
    }
}

/// What one side says of a cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// How many tokens or units; nothing if it is not said.
    pub quantity: Option<i128>,
    /// What they cost; nothing if it is not said.
    pub cost: Option<Pico>,
    /// How many of them have no price.
    pub unpriced: i128,
}

/// One side.
pub type Book = BTreeMap<Cell, Side>;

/// Names that mean the same on both sides.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Keys of the file → the provider as configured here.
    pub keys: BTreeMap<String, String>,
    /// Models of the file → models here.
    pub models: BTreeMap<String, String>,
    /// What names come to with the versions that are told apart.
    apart: BTreeSet<String>,
}

/// The versions by which a side names a model; nothing where it names it without one.
type Versions = BTreeSet<Option<String>>;

impl Names {
    /// These names.
    pub const fn of(keys: BTreeMap<String, String>, models: BTreeMap<String, String>) -> Self {
        Self { keys, models, apart: BTreeSet::new() }
    }

    /// Takes note of the models of both sides: where two of them come to the same but for their versions, as `titan-embed-text-v1` and
    /// `titan-embed-text-v2:0` do, or `gpt-4o-2024-05-13` and `gpt-4o-2024-08-06`, each is a model of its own.
    pub fn heed<'a>(&mut self, export: &Export, ours: impl Iterator<Item = &'a str>) {
        let mut used: BTreeMap<String, (Versions, Versions)> = BTreeMap::new();
        for (name, version) in ours.map(parted) {
            used.entry(name).or_default().0.insert(version);
        }
        for (name, version) in export.lines.iter().map(|line| parted(self.here(&line.model))) {
            used.entry(name).or_default().1.insert(version);
        }
        let mut apart = BTreeSet::new();
        for (name, (ours, theirs)) in &used {
            apart.extend(told_apart(ours, theirs).into_iter().map(|version| format!("{name}-{version}")));
        }
        self.apart = apart;
    }

    /// What a model of ours comes to.
    pub fn ours(&self, model: &str) -> String {
        let (name, version) = parted(model);
        let whole = version.map(|version| format!("{name}-{version}"));
        whole.filter(|whole| self.apart.contains(whole)).unwrap_or(name)
    }

    /// What a model of the file comes to.
    pub fn theirs(&self, model: &str) -> String {
        self.ours(self.here(model))
    }

    /// What a model of the file is called here, if that is said.
    fn here<'a>(&'a self, model: &'a str) -> &'a str {
        self.models.get(model).map_or(model, String::as_str)
    }
}

/// What of ours is doubtful.
#[derive(Clone, Debug, Default)]
pub struct Doubts {
    /// Days and models with attempts whose usage is not exactly known.
    pub inexact: BTreeSet<(String, String)>,
    /// The last day that the file can be whole for.
    pub settled_through: String,
}

/// Reads a file: its pages.
///
/// # Errors
/// What of it is not what the provider writes.
pub fn read(vendor: Vendor, bytes: &[u8]) -> Result<Vec<Page>, String> {
    match vendor {
        Vendor::OpenAi => openai::read(bytes),
        Vendor::Anthropic => anthropic::read(bytes),
        Vendor::Bedrock => bedrock::read(bytes),
    }
}

/// The question what was charged here, of the charges that `of` chooses.
pub fn charged(of: &str) -> String {
    known_sums(&format!(
        "SELECT to_char(time, '%Y-%m-%d') AS day, provider, model, token_class, api, sum(quantity) AS quantity, \
         known_sum(cost_usd) AS cost_usd, coalesce(sum(CASE WHEN cost_usd IS NULL THEN quantity END), 0) AS unpriced \
         FROM charges WHERE {of} GROUP BY to_char(time, '%Y-%m-%d'), provider, model, token_class, api"
    ))
}

/// The question whose answer is [`Doubts::inexact`], of the attempts that `of` chooses: what was stated whole since is known.
pub fn inexact(of: &str) -> String {
    format!("SELECT DISTINCT to_char(time, '%Y-%m-%d') AS day, model FROM attempts WHERE NOT is_whole AND {of}")
}

/// What a model's name comes to, so that the names of two sides meet: without what providers put around it (a region and vendor before it,
/// a date or version after it), its words in the order of the alphabet, then its numbers in their own.
pub fn plain(model: &str) -> String {
    parted(model).0
}

/// The versions of a model that are told apart, where there are several. If only one side also names it without a version, that may be any
/// which this side does not name, so those are one with it; and a side that names no version tells none apart.
fn told_apart<'v>(ours: &'v Versions, theirs: &'v Versions) -> BTreeSet<&'v String> {
    let all: BTreeSet<&String> = ours.union(theirs).flatten().collect();
    let without = |side: &Versions| side.iter().any(Option::is_none);
    match (without(ours), without(theirs)) {
        _ if all.len() < 2 => BTreeSet::new(),
        (true, false) => ours.iter().flatten().collect(),
        (false, true) => theirs.iter().flatten().collect(),
        (true, true) if ours.len() == 1 || theirs.len() == 1 => BTreeSet::new(),
        _ => all,
    }
}

/// What a name comes to, and the version that was taken off it, such as `v1`, `v2:1` or `20240513`. Behind a date a number says nothing more.
fn parted(model: &str) -> (String, Option<String>) {
    let model = model.trim();
    // A fine-tune is a model of its own, whatever it was made of: `ft:BASE:ORGANISATION:NAME:ID`.
    if model.starts_with(FINE_TUNE) {
        return (model.to_owned(), None);
    }
    // An ARN names it behind what it is, such as `inference-profile/`.
    let model = model.strip_prefix("arn:").and_then(|arn| arn.split_once('/')).map_or(model, |(_, named)| named);
    let mut name = String::with_capacity(model.len());
    for letter in model.chars() {
        // `ClaudeSonnet` is two words.
        if letter.is_ascii_uppercase()
            && name.ends_with(|last: char| last.is_ascii_lowercase() || last.is_ascii_digit())
        {
            name.push('-');
        }
        name.push(letter);
    }
    let mut name = name.to_ascii_lowercase();
    // The regions that an inference profile spans: `us`, `jp`, and others of two letters.
    let place = name.split_once('.').filter(|(place, _)| {
        matches!(*place, "apac" | "global" | "us-gov")
            || place.len() == 2 && place.bytes().all(|byte| byte.is_ascii_lowercase())
    });
    name = place.map_or(name.clone(), |(_, rest)| rest.to_owned());
    for before in ["anthropic.", "amazon.", "meta.", "mistral.", "cohere.", "openai."] {
        name = name.strip_prefix(before).map_or(name.clone(), str::to_owned);
    }
    let mut ends = name.split(':');
    let (name, minor) = (ends.next().unwrap_or_default(), ends.next());
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (name, major) = match name.rsplit_once("-v").filter(|(_, after)| number(after)) {
        Some((name, major)) => (name, Some(major)),
        None => (name, None),
    };
    let mut parts: Vec<&str> = name.split(['-', '.', '_', ' ', '/']).filter(|part| !part.is_empty()).collect();
    let digits = |part: &str, length: usize| part.len() == length && number(part);
    let dated = match parts.as_slice() {
        [.., year, month, day] if digits(year, 4) && digits(month, 2) && digits(day, 2) => 3,
        [.., date] if digits(date, 8) => 1,
        _ => 0,
    };
    let date = parts.split_off(parts.len() - dated).concat();
    let version = if date.is_empty() {
        major.map(|major| match minor.filter(|minor| number(minor) && *minor != "0") {
            Some(minor) => format!("v{major}:{minor}"),
            None => format!("v{major}"),
        })
    } else {
        Some(date)
    };
    let chunks = parts
        .iter()
        .flat_map(|part| part.as_bytes().chunk_by(|one, next| one.is_ascii_digit() == next.is_ascii_digit()));
    let chunks = chunks.map(|chunk| String::from_utf8_lossy(chunk).into_owned());
    let (numbers, mut words): (Vec<String>, Vec<String>) = chunks.partition(|chunk| number(chunk));
    words.sort();
    (words.into_iter().chain(numbers).collect::<Vec<_>>().join("-"), version)
}
