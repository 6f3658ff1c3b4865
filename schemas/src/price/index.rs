//! Finds the rows of a model: those on top of the built-in book before its own, the provider before its vendor, exact names before
//! patterns, longer patterns before shorter ones.
//!
//! A lookup is a few hashes and a binary search, and allocates nothing: metering rates every event through it.

use std::sync::Arc;

use super::{Model, ModelFacts, Row, model};
use crate::{ledger::Unpriced, map::Map, money::Pico, time::Time, tokens::TokenClass};

/// What a price is looked up by.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// The provider's configured name: its own rows come first.
    pub provider: &'a str,
    /// The vendor whose dialect it speaks, whose rows come next.
    pub vendor: &'a str,
    /// The model asked of the provider.
    pub model: &'a str,
    /// The service tier, as the answer (for a charge) states it; empty for the standard one.
    pub tier: &'a str,
    /// The time of admission.
    pub at: Time,
}

/// The rows on top of the built-in book, and its own.
const LAYERS: usize = 2;

/// The index of a book.
pub(crate) struct Shelf(Map<Arc<str>, Provider>);

/// The rows of one provider.
#[derive(Default)]
struct Provider {
    /// Which layers it has rows in.
    layers: [bool; LAYERS],
    exact: Map<Arc<str>, Entry>,
    /// By prefix, so that the longest prefix of a name is the last one before it, or an ancestor of that.
    patterns: Vec<Prefix>,
}

/// The rows of one pattern.
struct Prefix {
    prefix: Arc<str>,
    /// The longest other prefix that this one begins with.
    parent: Option<usize>,
    entry: Entry,
}

/// The rows of one name or pattern, and behind its own those of every shorter pattern that it falls under.
#[derive(Clone, Default)]
struct Entry {
    /// By layer, then by class, since every lookup is of one.
    rows: [[Vec<Tier>; TokenClass::ALL.len()]; LAYERS],
    models: Vec<usize>,
}

/// The rows of one class in one tier, as places in the book: those of the most specific name first.
#[derive(Clone)]
struct Tier {
    name: Arc<str>,
    groups: Vec<Vec<usize>>,
}

/// The rows that apply to one model, by layer.
#[derive(Clone, Copy)]
pub(crate) struct Rates<'a> {
    rows: &'a [Row],
    /// In a layer of the user's the provider's, then its vendor's; of the built-in book the first of them that has any.
    entries: [[Option<&'a Entry>; 2]; LAYERS],
}

impl Shelf {
    pub(super) fn new(rows: &[Row], models: &[Model]) -> Self {
        let mut shelf: Map<Arc<str>, Provider> = Map::default();
        for (place, row) in rows.iter().enumerate() {
            let provider = shelf.entry(row.provider.clone()).or_default();
            let layer = usize::from(!row.layered);
            provider.layers[layer] = true;
            let tiers = &mut provider.entry(&row.model).rows[layer][row.class as usize];
            match tiers.iter_mut().find(|tier| tier.name == row.tier) {
                Some(tier) => tier.groups.iter_mut().for_each(|own| own.push(place)),
                None => tiers.push(Tier { name: row.tier.clone(), groups: vec![vec![place]] }),
            }
        }
        for (place, model) in models.iter().enumerate() {
            shelf.entry(model.provider.clone()).or_default().entry(&model.model).models.push(place);
        }
        for provider in shelf.values_mut() {
            provider.link();
        }
        Self(shelf)
    }

    /// The rows for the first of these models that the provider has any for, or else the vendor, in each layer.
    pub(crate) fn rates<'a>(&'a self, rows: &'a [Row], key: &Key<'_>, models: &[&str]) -> Option<Rates<'a>> {
        let vendor = (key.provider != key.vendor).then_some(key.vendor);
        let owners = || [Some(key.provider), vendor].into_iter().flatten().filter_map(|owner| self.0.get(owner));
        let mut entries = [0, 1].map(|layer| {
            let mut found = owners().filter_map(|owner| owner.priced(layer, models));
            [found.next(), found.next()]
        });
        entries[1][1] = None;
        entries.iter().flatten().any(Option::is_some).then_some(Rates { rows, entries })
    }

    pub(super) fn facts(&self, models: &[Model], provider: &str, vendor: &str, model: &str) -> ModelFacts {
        let entries = [provider, vendor].into_iter().filter_map(|owner| self.0.get(owner)?.find(model));
        let rows = entries.flat_map(|entry| &entry.models).filter_map(|place| models.get(*place));
        model::facts(rows, model)
    }
}

impl Entry {
    fn of(&self, layer: usize, class: TokenClass) -> &[Tier] {
        self.rows.get(layer).map_or(&[], |classes| &classes[class as usize])
    }

    /// Puts what a shorter pattern says behind what this one says.
    fn inherit(&mut self, parent: &Self) {
        for (own, classes) in self.rows.iter_mut().zip(&parent.rows) {
            for (own, tiers) in own.iter_mut().zip(classes) {
                for tier in tiers {
                    match own.iter_mut().find(|known| known.name == tier.name) {
                        Some(known) => known.groups.extend(tier.groups.iter().cloned()),
                        None => own.push(tier.clone()),
                    }
                }
            }
        }
        self.models.extend(&parent.models);
    }
}

impl Provider {
    fn entry(&mut self, pattern: &super::Pattern) -> &mut Entry {
        let Some(prefix) = pattern.prefix() else { return self.exact.entry(pattern.as_str().into()).or_default() };
        let place = match self.patterns.binary_search_by(|known| (*known.prefix).cmp(prefix)) {
            Ok(place) => place,
            Err(place) => {
                self.patterns.insert(place, Prefix { prefix: prefix.into(), parent: None, entry: Entry::default() });
                place
            }
        };
        &mut self.patterns[place].entry
    }

    /// Lets each entry inherit: a parent stands before its children, and so is complete when they take from it.
    fn link(&mut self) {
        for place in 0..self.patterns.len() {
            let prefix = self.patterns[place].prefix.clone();
            let parent = self.longest(place, &prefix);
            self.patterns[place].parent = parent;
            if let Some(parent) = parent {
                let inherited = self.patterns[parent].entry.clone();
                self.patterns[place].entry.inherit(&inherited);
            }
        }
        let mut exact = std::mem::take(&mut self.exact);
        for (name, entry) in &mut exact {
            if let Some(parent) = self.pattern(name) {
                entry.inherit(&parent.entry);
            }
        }
        self.exact = exact;
    }

    /// The longest prefix of `name` among the first `count`, whose parents are linked.
    fn longest(&self, count: usize, name: &str) -> Option<usize> {
        let mut place = count.checked_sub(1);
        while let Some(prefix) = place.and_then(|place| self.patterns.get(place)) {
            if name.starts_with(&*prefix.prefix) {
                return place;
            }
            place = prefix.parent;
        }
        None
    }

    fn pattern(&self, name: &str) -> Option<&Prefix> {
        let before = self.patterns.partition_point(|known| *known.prefix <= *name);
        self.patterns.get(self.longest(before, name)?)
    }

    /// What is known of a model: by its name, or else by the longest pattern that it falls under. An ARN of AWS that ends in a model's name is
    /// that model, but for what is said of the ARN itself.
    fn find(&self, model: &str) -> Option<&Entry> {
        let known = |name: &str| self.exact.get(name).or_else(|| Some(&self.pattern(name)?.entry));
        let Some(name) = named(model) else { return known(model) };
        let of_arn = || self.pattern(model).filter(|pattern| pattern.prefix.starts_with(ARN));
        self.exact.get(model).or_else(|| Some(&of_arn()?.entry)).or_else(|| known(name))
    }

    /// The rows for the first of these models that has any in this layer.
    fn priced(&self, layer: usize, models: &[&str]) -> Option<&Entry> {
        if !*self.layers.get(layer)? {
            return None;
        }
        let found = models.iter().filter(|model| !model.is_empty()).filter_map(|model| self.find(model));
        let has_rows =
            |entry: &&Entry| entry.rows.get(layer).is_some_and(|classes| classes.iter().any(|tiers| !tiers.is_empty()));
        { found }.find(has_rows)
    }
}

/// How the name of anything at AWS begins.
const ARN: &str = "arn:";

/// The model that an ARN ends in. Those of profiles and throughput of one's own end in an id, which names none.
fn named(model: &str) -> Option<&str> {
    let (kind, name) = model.strip_prefix(ARN)?.rsplit_once('/')?;
    [":inference-profile", ":foundation-model"].iter().any(|end| kind.ends_with(end)).then_some(name)
}

impl<'a> Rates<'a> {
    /// The row that prices a class of a request with so many input tokens, in a tier, at a time.
    pub(crate) fn find(self, class: TokenClass, tier: &str, input: u64, at: Time) -> Result<&'a Row, Unpriced> {
        let tier = standard(tier);
        let found = self.search(class, tier, input, at);
        let found = match class.plain() {
            Some(plain) if found == Err(Unpriced::UnknownClass) => self.search(plain, tier, input, at),
            _ => found,
        };
        // Searches are priced by the call, whatever tier the tokens are in.
        match found {
            Err(Unpriced::UnknownTier) if class.is_unit() => self.search(class, "", input, at),
            _ => found,
        }
    }

    /// Looks in each layer, and tells why in the words of the one that knows most.
    fn search(self, class: TokenClass, tier: &str, input: u64, at: Time) -> Result<&'a Row, Unpriced> {
        let mut why = Unpriced::UnknownClass;
        for (layer, entry) in self.layers() {
            let tiers = entry.of(layer, class);
            let Some(of_tier) = tiers.iter().find(|known| *known.name == *tier) else {
                if why == Unpriced::UnknownClass && !tiers.is_empty() {
                    why = Unpriced::UnknownTier;
                }
                continue;
            };
            for group in &of_tier.groups {
                let mut best: Option<&Row> = None;
                for row in group.iter().filter_map(|place| self.rows.get(*place)) {
                    if at < row.valid_from || at >= row.valid_to {
                        why = Unpriced::OutsideValidity;
                    } else if row.applies(input) && best.is_none_or(|best| best.rank() < row.rank()) {
                        best = Some(row);
                    }
                }
                if let Some(row) = best {
                    return Ok(row);
                }
            }
        }
        Err(why)
    }

    /// The same without what stands on top of the built-in book.
    pub(crate) fn listed(self) -> Self {
        let [_, builtin] = self.entries;
        Self { entries: [[None; 2], builtin], ..self }
    }

    /// The highest price of a class for a request with at most so many input tokens.
    pub(crate) fn dearest(self, class: TokenClass, tier: &str, input: u64, at: Time) -> Result<Pico, Unpriced> {
        let tier = standard(tier);
        let mut dearest = self.search(class, tier, 0, at).map(|row| row.unit_price);
        for (layer, entry) in self.layers() {
            let groups =
                entry.of(layer, class).iter().filter(|known| *known.name == *tier).flat_map(|tier| &tier.groups);
            for row in groups.flatten().filter_map(|place| self.rows.get(*place)) {
                let reached = row.above > 0 && row.above < input;
                if reached && let Ok(found) = self.search(class, tier, row.above.saturating_add(1), at) {
                    dearest = Ok(dearest.map_or(found.unit_price, |known| known.max(found.unit_price)));
                }
            }
        }
        dearest
    }

    /// Every tier that any class has a price in.
    pub(crate) fn tiers(self) -> impl Iterator<Item = &'a str> {
        let classes = self.layers().flat_map(|(layer, entry)| entry.rows.get(layer).into_iter().flatten());
        classes.flatten().map(|tier| &*tier.name)
    }

    fn layers(self) -> impl Iterator<Item = (usize, &'a Entry)> {
        let entries = self.entries.into_iter().enumerate();
        entries.flat_map(|(layer, owners)| owners.into_iter().flatten().map(move |entry| (layer, entry)))
    }
}

impl Row {
    const fn applies(&self, input: u64) -> bool {
        self.above == 0 || input > self.above
    }

    const fn rank(&self) -> (u64, i64) {
        (self.above, self.valid_from.as_micros())
    }
}

/// The tier of what was asked for, or served, in two respects, such as Bedrock's service tier and its latency: the one that is not
/// standard, or both in the order of the alphabet.
pub fn joined(one: &str, other: &str) -> String {
    match (standard(one), standard(other)) {
        ("", "") => if one.is_empty() { other } else { one }.to_owned(),
        ("", tier) | (tier, "") => tier.to_owned(),
        (one, other) if one == other => one.to_owned(),
        (one, other) => format!("{}+{}", one.min(other), one.max(other)),
    }
}

/// The tier as rows write it: the standard one has many names.
pub(crate) fn standard(tier: &str) -> &str {
    const NAMES: [&str; 4] = ["default", "standard", "auto", "on_demand"];
    if NAMES.iter().any(|name| name.eq_ignore_ascii_case(tier)) { "" } else { tier }
}
