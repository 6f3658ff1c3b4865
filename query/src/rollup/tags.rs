//! Rows by one tag: with all that they have there are too many sets of them, by one there are as many values as people look at.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashSet},
};

use arrow::{
    array::{Array, AsArray, StringArray, UInt32Array},
    compute::take,
};
use datafusion::common::HashMap;

use super::{numbered::Numbered, reduce::Source};
use crate::{error::Error, sql::tag_of, table::tags_json};

/// Of how many tags there are rollups of a file: of those that most rows have.
const MOST_TAGS: usize = 8;

/// The longest name of a tag that has rollups: it is part of a file's name.
const LONGEST_TAG: usize = 64;

/// The tags of rows, each set of them once.
pub(super) struct Sets {
    texts: Vec<Option<String>>,
    /// How many rows have it.
    rows: Vec<usize>,
}

/// The tags of rows by their numbers.
fn numbered(source: &Source) -> Result<&Numbered, Error> {
    source.numbered.get("tags").map(|tags| &**tags).ok_or(Error::Shape)
}

impl Sets {
    /// Those of rows.
    pub(super) fn of(source: &Source) -> Result<Self, Error> {
        let tags = numbered(source)?;
        let column = source.rows.column_by_name("tags").and_then(|tags| tags.as_string_opt::<i32>());
        let column = column.ok_or(Error::Shape)?;
        let (mut texts, mut rows) = (Vec::new(), Vec::new());
        for (row, set) in tags.of.iter().enumerate() {
            let set = *set as usize;
            // They are numbered as they come.
            if set == texts.len() {
                texts.push(column.is_valid(row).then(|| column.value(row).to_owned()));
                rows.push(0);
            }
            if let Some(rows) = rows.get_mut(set) {
                *rows += 1;
            }
        }
        Ok(Self { texts, rows })
    }

    /// The tags that most rows have.
    pub(super) fn most_had(&self) -> Vec<String> {
        let mut had: BTreeMap<String, usize> = BTreeMap::new();
        for (text, rows) in self.texts.iter().zip(&self.rows) {
            let tags = text.as_deref().and_then(|text| serde_json::from_str::<BTreeMap<String, String>>(text).ok());
            for (name, _) in tags.into_iter().flatten() {
                *had.entry(name).or_default() += rows;
            }
        }
        let mut had: Vec<(String, usize)> = had.into_iter().filter(|(name, _)| name.len() <= LONGEST_TAG).collect();
        had.sort_by_key(|(_, rows)| Reverse(*rows));
        // There are file systems for which the names of two such are one.
        let mut small = HashSet::new();
        had.retain(|(name, _)| small.insert(name.to_lowercase()));
        had.into_iter().take(MOST_TAGS).map(|(name, _)| name).collect()
    }

    /// The same rows with no tag but this.
    pub(super) fn alone(&self, tag: &str, source: &Source) -> Result<Source, Error> {
        let mut known = HashMap::new();
        let (mut texts, mut of_set) = (Vec::new(), Vec::with_capacity(self.texts.len()));
        for set in &self.texts {
            let value = set.as_deref().and_then(|set| tag_of(set, tag));
            let next = u32::try_from(texts.len()).map_err(|_| Error::Shape)?;
            let number = *known.entry(value.clone()).or_insert(next);
            if number == next {
                texts.push(value.map(|value| tags_json(&[(tag.to_owned(), value)])));
            }
            of_set.push(number);
        }
        let of = numbered(source)?.of.iter().map(|set| of_set.get(*set as usize).copied().unwrap_or_default());
        let of: Vec<u32> = of.collect();
        let column = take(&StringArray::from(texts), &UInt32Array::from(of.clone()), None)?;
        source.with("tags", column, Numbered { of, values: known.len() as u64 })
    }
}
