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

use super::{
    delta::{Told, Written},
    file, stats,
    store::Place,
};
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

/// What a table's log says of a file beside where it is and what is in it.
pub(super) type Tags = HashMap<String, Option<String>>;

/// The same with the rollups of a file. What another version has said of its own stays: it would make them again.
pub(super) fn tags(stored: &[Stored], known: Option<&Tags>) -> Option<Tags> {
    let named: BTreeMap<_, _> = stored.iter().map(|stored| (stored.name(), (stored.rows, stored.size))).collect();
    let mut tags = known.cloned().unwrap_or_default();
    tags.insert(rollup::FORMAT.to_owned(), Some(serde_json::to_string(&named).ok()?));
    Some(tags)
}

/// The same without rollups of other formats than ours, where there are ours, and but for formats that somebody still writes. Says whether
/// there were any.
pub(super) fn forget(tags: Option<&mut Tags>, busy: &HashSet<String>) -> bool {
    let Some(tags) = tags.filter(|tags| tags.contains_key(rollup::FORMAT)) else { return false };
    let before = tags.len();
    tags.retain(|name, _| name == rollup::FORMAT || !name.starts_with(rollup::FORMATS) || busy.contains(name));
    tags.len() < before
}

/// The rollups that a table's log says a file has; nothing if it does not say.
pub(super) fn listed(table: &TableDef, tags: Option<&Tags>) -> Option<Vec<Stored>> {
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

/// Deletes rollups of files that are gone, and those of other formats that the log, which says so of files since before that time, does not
/// name. Rollups are looked for first: a file comes before its own. Gives the other formats in which somebody has made some since.
pub(super) async fn tidy(
    place: &Place,
    table: &TableDef,
    told: &HashMap<Path, Told>,
    before_ms: i64,
) -> Result<HashSet<String>, Error> {
    let folder = folder(place, table)?;
    let rollups: Vec<_> = place.store.list(Some(&folder)).try_collect().await?;
    let files = place.path(table.name)?;
    let listed: Vec<_> = place.store.list(Some(&files)).map_ok(|found| found.location).try_collect().await?;
    let there: HashSet<Path> = listed.iter().filter_map(|path| Some(path.prefix_match(&files)?.collect())).collect();
    let mut busy = HashSet::new();
    for found in rollups {
        let Some((format, file)) = parted(&found.location, &folder) else { continue };
        let (is_other, is_old) = (format != rollup::FORMAT, found.last_modified.timestamp_millis() <= before_ms);
        let is_unnamed = |told: &Told| told.at_ms <= before_ms && !told.formats.contains(&format);
        if !there.contains(&file) || is_other && is_old && told.get(&file).is_some_and(is_unnamed) {
            match place.store.delete(&found.location).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        } else if is_other && !is_old {
            busy.insert(format);
        }
    }
    Ok(busy)
}

/// The format of a rollup, and the path of its file in the table.
fn parted(path: &Path, folder: &Path) -> Option<(String, Path)> {
    let mut parts = path.prefix_match(folder)?;
    let first = parts.next()?;
    let format: &str = first.as_ref();
    Some((format.to_owned(), parts.skip(1).collect()))
}

#[cfg(test)]
mod tests;
