//! The canonical form of a book: what its hash is of, and what travels.
//!
//! JSON with every text once, in order, and rows of numbers that point at them: two books of the same rows and models are the same
//! bytes, and the built-in one is a tenth of a megabyte. Ids of rows are not in it, because they are made of the rows.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{Content, Model, Pattern, Row};
use crate::{money::Pico, time::Time, tokens::TokenClass};

/// Why bytes are not a book.
#[derive(Debug, thiserror::Error)]
pub enum NotABook {
    /// They are not its form.
    #[error("these bytes are not a price book: {0}")]
    Form(#[from] serde_json::Error),
    /// A row says something that no row can.
    #[error("row {0} of this price book is none: it was written by another version, or damaged")]
    Row(usize),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    texts: Vec<Arc<str>>,
    rows: Vec<Line>,
    models: Vec<Model>,
}

/// Provider, model, class, tier, above, valid from, valid to (none for ever), price, source, source date, layered.
type Line = (usize, usize, usize, usize, u64, i64, Option<i64>, i64, usize, usize, bool);

/// Writes `content`, which is in canonical order.
pub(super) fn write(content: &Content) -> Vec<u8> {
    let texts: BTreeSet<&str> = content.rows.iter().flat_map(texts_of).collect();
    let places: BTreeMap<&str, usize> = texts.iter().enumerate().map(|(place, text)| (*text, place)).collect();
    let line = |row: &Row| -> Option<Line> {
        let [provider, model, class, tier, source, source_date] = texts_of(row).map(|text| places.get(text).copied());
        let to = (row.valid_to != Time::MAX).then(|| row.valid_to.as_micros());
        let (from, price) = (row.valid_from.as_micros(), row.unit_price.row()?);
        Some((provider?, model?, class?, tier?, row.above, from, to, price, source?, source_date?, row.layered))
    };
    let rows = content.rows.iter().filter_map(line).collect();
    let form = Form { texts: texts.into_iter().map(Into::into).collect(), rows, models: content.models.clone() };
    // Texts and whole numbers always have a form in JSON.
    serde_json::to_vec(&form).unwrap_or_default()
}

fn texts_of(row: &Row) -> [&str; 6] {
    [&row.provider, row.model.as_str(), row.class.name(), &row.tier, &row.source, &row.source_date]
}

pub(super) fn read(bytes: &[u8]) -> Result<Content, NotABook> {
    let Form { texts, rows, models } = serde_json::from_slice(bytes)?;
    let row = |(place, line): (usize, &Line)| row(&texts, line).ok_or(NotABook::Row(place));
    Ok(Content { rows: rows.iter().enumerate().map(row).collect::<Result<_, _>>()?, models })
}

fn row(texts: &[Arc<str>], line: &Line) -> Option<Row> {
    let &(provider, model, class, tier, above, from, to, price, source, source_date, layered) = line;
    let text = |place: usize| texts.get(place).cloned();
    let (provider, model, tier) = (text(provider)?, Pattern::parse(texts.get(model)?)?, text(tier)?);
    let class = TokenClass::parse(texts.get(class)?)?;
    let valid_from = Time::from_micros(from);
    let unit_price = Pico(price.into());
    unit_price.row()?;
    Some(Row {
        price_id: Row::id_of(&provider, &model, class, &tier, above, valid_from),
        provider,
        model,
        class,
        tier,
        above,
        valid_from,
        valid_to: to.map_or(Time::MAX, Time::from_micros),
        unit_price,
        source: text(source)?,
        source_date: text(source_date)?,
        layered,
    })
}
