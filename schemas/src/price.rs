//! The price book, and the one function that rates usage with it.
//!
//! A book is price rows and a catalogue of models, named by the SHA-256 of its canonical form, so that a hold, a charge and a
//! re-rating that name the same book are the same function. Prices are whole pico-dollars for one token: nothing is rounded.
//! What the book does not say is [`crate::ledger::Unpriced`], never zero. A book never changes; another one has another hash.

use std::{fmt, sync::Arc};

use sha2::{Digest, Sha256};

use crate::{id::BookHash, money::Pico, time::Time, tokens::TokenClass};

mod canonical;
mod file;
mod index;
mod model;
mod pattern;
mod rate;

pub use canonical::NotABook;
pub use file::{Mistake, PriceFile};
pub use index::{Key, joined};
pub(crate) use index::{Rates, Shelf, standard};
pub use model::{CapField, Encoding, Model, ModelFacts, OutputMaximum};
pub use pattern::Pattern;
pub use rate::{Cost, Listed, cost, list, rate, sum};

/// The book that every installation starts from.
const BUILTIN: &str = include_str!("../prices/builtin.yaml");

/// A price book. Cheap to clone.
#[derive(Clone)]
pub struct Book(Arc<Inner>);

struct Inner {
    content: Content,
    hash: BookHash,
    shelf: Shelf,
    /// When a price begins or ends, in order.
    turns: Vec<Time>,
}

/// What a book holds, in canonical order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Content {
    rows: Vec<Row>,
    models: Vec<Model>,
}

/// What one class of one model costs, under a condition, for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The provider's configured name, or its vendor.
    pub provider: Arc<str>,
    /// The models.
    pub model: Pattern,
    /// The class.
    pub class: TokenClass,
    /// The service tier; empty for the standard one.
    pub tier: Arc<str>,
    /// Holds for requests with more input tokens than this; 0 for all of them. The highest one that holds prices the whole request.
    pub above: u64,
    /// The first instant it is valid at.
    pub valid_from: Time,
    /// The first instant after it.
    pub valid_to: Time,
    /// Pico-dollars for one token or unit.
    pub unit_price: Pico,
    /// Names the row in the `price_id` column; made of what tells rows apart, so that it stays the same in later books.
    pub price_id: Arc<str>,
    /// Where the price was read.
    pub source: Arc<str>,
    /// The day it was read, such as `2026-11-20`.
    pub source_date: Arc<str>,
    /// Whether it stands on top of the built-in book: then it beats every built-in row for its model, class and tier.
    pub layered: bool,
}

impl Row {
    /// What tells this row from the others: a later row with the same words replaces it. One on top of a built-in row does not: that
    /// still says what the list price is.
    fn identity(&self) -> (&str, &str, TokenClass, &str, u64, Time, bool) {
        (&self.provider, self.model.as_str(), self.class, &self.tier, self.above, self.valid_from, self.layered)
    }

    /// Whether another row is this one on top of the built-in book, by the same id.
    fn is_under(&self, other: &Self) -> bool {
        !self.layered && other.layered && self.price_id == other.price_id
    }

    /// The id of a row: its identity in words.
    pub(crate) fn id_of(
        provider: &str,
        model: &Pattern,
        class: TokenClass,
        tier: &str,
        above: u64,
        from: Time,
    ) -> Arc<str> {
        use fmt::Write;
        let mut id = format!("{provider}:{}:{}", model.as_str(), class.name());
        // Writing to a string cannot fail.
        if !tier.is_empty() {
            let _ = write!(id, ":{tier}");
        }
        if above > 0 {
            let _ = write!(id, ":above-{above}");
        }
        if from > Time::ZERO {
            let _ = write!(id, "@{}", from.to_string().get(..10).unwrap_or_default());
        }
        id.into()
    }
}

impl Book {
    /// The book that is part of this build.
    pub fn builtin() -> Self {
        static BOOK: std::sync::OnceLock<Book> = std::sync::OnceLock::new();
        // A test proves that the built-in file has no mistake; with one, its model would be unpriced and seen as such.
        BOOK.get_or_init(|| Self::new(Self::parse(BUILTIN, "builtin").unwrap_or_default().into())).clone()
    }

    /// The built-in book with the files on top, a later one over an earlier one.
    pub fn layered(files: &[PriceFile]) -> Self {
        let mut content = Self::builtin().0.content.clone();
        // What a pattern states goes before what the built-in book says of each model under it, a longer one before a shorter.
        let mut patterns: Vec<&Model> = files.iter().flat_map(|file| &file.models).collect();
        patterns.sort_by_key(|stated| stated.model.as_str().len());
        for stated in patterns {
            content.models.iter_mut().for_each(|known| known.heed(stated));
        }
        for file in files {
            content.rows.extend(file.rows_on_top());
            content.models.extend(file.models.iter().cloned());
        }
        Self::new(content)
    }

    /// A book of these files alone.
    pub fn of(files: &[PriceFile]) -> Self {
        let mut content = Content::default();
        for file in files {
            content.rows.extend(file.rows.iter().cloned());
            content.models.extend(file.models.iter().cloned());
        }
        Self::new(content)
    }

    /// This book with the prices of a file on top, as if the file had been the last of those that made it. What it says of models besides
    /// makes no difference to what a past attempt costs, and is left.
    #[must_use]
    pub fn repriced(&self, file: &PriceFile) -> Self {
        let mut content = self.0.content.clone();
        content.rows.extend(file.rows_on_top());
        Self::new(content)
    }

    /// Reads a price file; `name` is what mistakes call it.
    pub fn parse(text: &str, name: &str) -> Result<PriceFile, Vec<Mistake>> {
        file::parse(text, name)
    }

    fn new(mut content: Content) -> Self {
        // The last of equals wins: a stable sort keeps their order, and of each run the last is kept.
        content.rows.sort_by(|a, b| a.identity().cmp(&b.identity()));
        content.rows.reverse();
        content.rows.dedup_by(|a, b| a.identity() == b.identity());
        content.rows.reverse();
        content.models.sort_by(|a, b| a.identity().cmp(&b.identity()));
        content.models.reverse();
        content.models.dedup_by(|earlier, last| {
            let same = earlier.identity() == last.identity();
            if same {
                // Who states one fact anew leaves the others as they were.
                last.fill(earlier);
            }
            same
        });
        content.models.reverse();
        let hash = BookHash(Sha256::digest(canonical::write(&content)).into());
        let shelf = Shelf::new(&content.rows, &content.models);
        let ends = content.rows.iter().flat_map(|row| [row.valid_from, row.valid_to]);
        let mut turns: Vec<Time> = ends.filter(|at| (Time::from_micros(1)..Time::MAX).contains(at)).collect();
        turns.sort_unstable();
        turns.dedup();
        Self(Arc::new(Inner { content, hash, shelf, turns }))
    }

    /// The hash of its canonical form, which names it.
    pub fn hash(&self) -> BookHash {
        self.0.hash
    }

    /// Its rows, in canonical order.
    pub fn rows(&self) -> &[Row] {
        &self.0.content.rows
    }

    /// Its rows without those of the built-in book that have another of the same id on top.
    pub fn rows_on_top(&self) -> impl Iterator<Item = &Row> {
        let rows = self.rows();
        // Such a row stands right behind.
        let covered = |place: usize, row: &Row| rows.get(place + 1).is_some_and(|next| row.is_under(next));
        rows.iter().enumerate().filter(move |(place, row)| !covered(*place, row)).map(|(_, row)| row)
    }

    /// Its models, in canonical order.
    pub fn models(&self) -> &[Model] {
        &self.0.content.models
    }

    /// Whether any price begins or ends after one instant and not after another.
    pub fn turns_between(&self, after: Time, until: Time) -> bool {
        let next = self.0.turns.partition_point(|turn| *turn <= after);
        self.0.turns.get(next).is_some_and(|turn| *turn <= until)
    }

    /// What the catalogue says of a model of a provider, or else of its vendor.
    pub fn facts(&self, provider: &str, vendor: &str, model: &str) -> ModelFacts {
        self.0.shelf.facts(&self.0.content.models, provider, vendor, model)
    }

    /// The canonical form: JSON, whose hash is [`Self::hash`].
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::write(&self.0.content)
    }

    /// Reads back what [`Self::to_bytes`] wrote, with the same hash.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NotABook> {
        Ok(Self::new(canonical::read(bytes)?))
    }

    fn shelf(&self) -> &Shelf {
        &self.0.shelf
    }
}

impl PartialEq for Book {
    fn eq(&self, other: &Self) -> bool {
        self.0.hash == other.0.hash
    }
}

impl Eq for Book {}

impl fmt::Debug for Book {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Content { rows, models } = &self.0.content;
        write!(f, "Book({}, {} rows, {} models)", self.0.hash, rows.len(), models.len())
    }
}

impl From<PriceFile> for Content {
    fn from(file: PriceFile) -> Self {
        Self { rows: file.rows, models: file.models }
    }
}

#[cfg(test)]
mod tests;
