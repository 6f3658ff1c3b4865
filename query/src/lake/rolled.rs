//! Where the rollups of files are: in `rollups/<table>/<rollup>`, by the path of their file, beside the tables and not in them.
//!
//! The log of the table names those that a file has, in the tags of the file, so that whoever has a version knows them with it. They are
//! written after their file and before the commit, and go when their file has gone.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures::TryStreamExt as _;
use object_store::{ObjectStore, ObjectStoreExt, path::Path};

use super::store::Place;
use crate::{
    error::Error,
    rollup::{self, Rollup},
    table::TableDef,
};

/// A rollup of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// What is added up.
    pub(crate) rollup: &'static Rollup,
    /// How many rows it has.
    pub(crate) rows: u64,
    /// Its size in bytes.
    pub(crate) size: u64,
}

/// The folder of all rollups of a table.
pub(super) fn folder(place: &Place, table: &TableDef) -> Result<Path, Error> {
    Ok(place.path("rollups")?.join(table.name))
}

/// Where the rollup of a file is; `below` is the path of the file in its table.
pub(super) fn path(folder: &Path, rollup: &Rollup, below: &str) -> Path {
    Path::from_iter(folder.clone().join(rollup.name).parts().chain(Path::from(below).parts()))
}

/// What a table's log says of the rollups of a file.
pub(super) fn tags(stored: &[Stored]) -> Option<HashMap<String, Option<String>>> {
    let named: BTreeMap<_, _> =
        stored.iter().map(|Stored { rollup, rows, size }| (rollup.name, (rows, size))).collect();
    let text = serde_json::to_string(&named).ok().filter(|_| !named.is_empty())?;
    Some(HashMap::from([(rollup::FORMAT.to_owned(), Some(text))]))
}

/// The rollups that a table's log says a file has, as far as they are known.
pub(super) fn listed(table: &TableDef, tags: Option<&HashMap<String, Option<String>>>) -> Vec<Stored> {
    let text = tags.and_then(|tags| tags.get(rollup::FORMAT)).and_then(Option::as_deref);
    let named: BTreeMap<String, (u64, u64)> = text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let known = |rollup: &'static Rollup| {
        named.get(rollup.name).map(|(rows, size)| Stored { rollup, rows: *rows, size: *size })
    };
    rollup::of_table(table).filter_map(known).collect()
}

/// Deletes rollups of files that are gone. They are looked for first: a file comes before its rollups.
pub(super) async fn tidy(place: &Place, table: &TableDef) -> Result<(), Error> {
    let folder = folder(place, table)?;
    let rollups: Vec<_> = place.store.list(Some(&folder)).map_ok(|found| found.location).try_collect().await?;
    let files = place.path(table.name)?;
    let listed: Vec<_> = place.store.list(Some(&files)).map_ok(|found| found.location).try_collect().await?;
    let below = |path: &Path, folder: &Path, depth: usize| -> Option<Path> {
        Some(path.prefix_match(folder)?.skip(depth).collect())
    };
    let there: HashSet<Path> = listed.iter().filter_map(|path| below(path, &files, 0)).collect();
    let unused = rollups.into_iter().filter(|path| below(path, &folder, 1).is_some_and(|file| !there.contains(&file)));
    for path in unused {
        place.store.delete(&path).await?;
    }
    Ok(())
}
