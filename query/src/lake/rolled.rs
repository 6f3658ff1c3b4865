//! Where the rollups of files are: in `rollups/<table>/<format>/<rollup>`, by the path of their file, beside the tables and not in them.
//!
//! The log of the table names those that a file has, in the tags of the file, so that whoever has a version knows them with it. They come
//! after their file, and go when it has gone.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use arrow::{array::RecordBatch, compute::concat_batches};
use futures::TryStreamExt as _;
use object_store::{ObjectStore, ObjectStoreExt, path::Path};

use super::{delta::Written, file, stats, store::Place};
use crate::{
    error::Error,
    rollup::{self, Made, Rollup},
    table::TableDef,
};

/// A rollup of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// What is added up.
    pub(crate) rollup: &'static Rollup,
    /// By which tag, where there is one of each.
    pub(crate) tag: Option<Arc<str>>,
    /// How many rows it has.
    pub(crate) rows: u64,
    /// Its size in bytes.
    pub(crate) size: u64,
}

impl Stored {
    /// What it is called in the log, and its folder.
    fn name(&self) -> String {
        let name = self.rollup.name;
        self.tag.as_ref().map_or_else(|| name.to_owned(), |tag| format!("{name}:{tag}"))
    }
}

/// The folder of all rollups of a table.
pub(super) fn folder(place: &Place, table: &TableDef) -> Result<Path, Error> {
    Ok(place.path("rollups")?.join(table.name))
}

/// Where the rollup of a file is; `below` is the path of the file in its table. Those by other columns have another path, so that no
/// process overwrites what one of another version reads.
pub(super) fn path(folder: &Path, stored: &Stored, below: &str) -> Path {
    Path::from_iter(folder.clone().join(rollup::FORMAT).join(stored.name()).parts().chain(Path::from(below).parts()))
}

/// What a table's log says of the rollups of a file.
pub(super) fn tags(stored: &[Stored]) -> Option<HashMap<String, Option<String>>> {
    let named: BTreeMap<_, _> = stored.iter().map(|stored| (stored.name(), (stored.rows, stored.size))).collect();
    Some(HashMap::from([(rollup::FORMAT.to_owned(), Some(serde_json::to_string(&named).ok()?))]))
}

/// The rollups that a table's log says a file has; nothing if it does not say.
pub(super) fn listed(table: &TableDef, tags: Option<&HashMap<String, Option<String>>>) -> Option<Vec<Stored>> {
    let named = tags?.get(rollup::FORMAT)?.as_deref()?;
    let named: BTreeMap<String, (u64, u64)> = serde_json::from_str(named).ok()?;
    let known = |(name, (rows, size)): (String, (u64, u64))| {
        let (name, tag) = name.split_once(':').map_or((&*name, None), |(name, tag)| (name, Some(tag.into())));
        let rollup = rollup::of_table(table).find(|rollup| rollup.name == name && rollup.by_tag == tag.is_some())?;
        Some(Stored { rollup, tag, rows, size })
    };
    Some(named.into_iter().filter_map(known).collect())
}

/// Makes the rollups of a file that are worth keeping, and writes them, durably. Nobody reads them before they are in the log. Whoever
/// makes those of the same file makes the same ones.
pub(super) async fn make(
    place: &Place,
    table: &'static TableDef,
    below: &str,
    rows: Vec<RecordBatch>,
) -> Result<Written, Error> {
    let made = tokio::task::spawn_blocking(move || {
        let rows = concat_batches(&table.stored_schema(), &rows)?;
        let made = rollup::made(table, &rows)?.into_iter();
        let made = made.map(|Made { rollup, tag, rows }| {
            let bytes = file::encode_rollup(&rows)?;
            let (rows, size) = (rows.num_rows() as u64, bytes.len() as u64);
            Ok((Stored { rollup, tag: tag.map(Into::into), rows, size }, bytes))
        });
        Ok::<_, Error>((made.collect::<Result<Vec<_>, Error>>()?, stats::of(table, &rows)?))
    });
    let (made, stats) = made.await.map_err(|source| object_store::Error::JoinError { source })??;
    let (folder, mut stored) = (folder(place, table)?, Vec::with_capacity(made.len()));
    for (made, bytes) in made {
        place.store.put(&path(&folder, &made, below), bytes.into()).await?;
        stored.push(made);
    }
    Ok(Written { path: below.to_owned(), size: 0, day: None, stats, rollups: Some(stored) })
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
    let unused = rollups.into_iter().filter(|path| below(path, &folder, 2).is_some_and(|file| !there.contains(&file)));
    for path in unused {
        match place.store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
