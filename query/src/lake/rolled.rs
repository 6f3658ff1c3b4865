//! Where the rollups of files are: in `rollups/<table>/<format>/<rollup>`, by the path of their file, beside the tables and not in them.
//!
//! The log of the table names those that a file has, in the tags of the file, so that whoever has a version knows them with it. They come
//! after their file, and go when it has gone.

use std::collections::{BTreeMap, HashMap, HashSet};

use arrow::{array::RecordBatch, compute::concat_batches};
use futures::TryStreamExt as _;
use object_store::{ObjectStore, ObjectStoreExt, path::Path};

use super::{delta::Written, file, stats, store::Place};
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

/// Where the rollup of a file is; `below` is the path of the file in its table. Those by other columns have another path, so that no
/// process overwrites what one of another version reads.
pub(super) fn path(folder: &Path, rollup: &Rollup, below: &str) -> Path {
    Path::from_iter(folder.clone().join(rollup::FORMAT).join(rollup.name).parts().chain(Path::from(below).parts()))
}

/// What a table's log says of the rollups of a file.
pub(super) fn tags(stored: &[Stored]) -> Option<HashMap<String, Option<String>>> {
    let named: BTreeMap<_, _> =
        stored.iter().map(|Stored { rollup, rows, size }| (rollup.name, (rows, size))).collect();
    Some(HashMap::from([(rollup::FORMAT.to_owned(), Some(serde_json::to_string(&named).ok()?))]))
}

/// The rollups that a table's log says a file has; nothing if it does not say.
pub(super) fn listed(table: &TableDef, tags: Option<&HashMap<String, Option<String>>>) -> Option<Vec<Stored>> {
    let named = tags?.get(rollup::FORMAT)?.as_deref()?;
    let named: BTreeMap<String, (u64, u64)> = serde_json::from_str(named).ok()?;
    let known = |rollup: &'static Rollup| {
        named.get(rollup.name).map(|(rows, size)| Stored { rollup, rows: *rows, size: *size })
    };
    Some(rollup::of_table(table).filter_map(known).collect())
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
        let made = made.map(|(rollup, rows)| Ok((rollup, rows.num_rows(), file::encode_rollup(&rows)?)));
        Ok::<_, Error>((made.collect::<Result<Vec<_>, Error>>()?, stats::of(table, &rows)?))
    });
    let (made, stats) = made.await.map_err(|source| object_store::Error::JoinError { source })??;
    let (folder, mut stored) = (folder(place, table)?, Vec::with_capacity(made.len()));
    for (rollup, rows, bytes) in made {
        let (rows, size) = (u64::try_from(rows).unwrap_or(u64::MAX), u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        place.store.put(&path(&folder, rollup, below), bytes.into()).await?;
        stored.push(Stored { rollup, rows, size });
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
