//! Compaction: small files of a day become one, with the same rows; and the rollups of what came of it, beside shelving, which does
//! not wait for them.
//!
//! Before the commit the new files are read back, and their rows, and the sums of the columns that money and tokens stand in,
//! are proved equal to those of the old ones. Every rewrite carries a transaction of its own and names the files that it
//! removes, so of two compactors one is told that it came too late. Queries go on with the version they have: a removed file
//! stays on the store for longer than any query runs.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{DataType, Decimal128Type, Int32Type, Int64Type},
};
use schemas::{
    time::{self, Time},
    wire,
};
use tokio_util::sync::CancellationToken;

use crate::{
    error::Error,
    lake::{self, DataFile, Encoded, Lake, Replaced, Version},
    rollup,
    table::{self, TableDef},
};

/// Files of a day are joined when it has this many small ones,
const MANY: usize = 8;

/// or some and nothing of it was recorded for this long,
const QUIET: Duration = Duration::from_secs(86_400);

/// and a file is small below this size,
const SMALL_BYTES: u64 = 32 << 20;

/// all below this size being alike,
const TINY_BYTES: u64 = 64 << 10;

/// taken together as far as this many bytes
const MOST_BYTES: u64 = 64 << 20;

/// and rows, so that a compaction fits in memory.
const MOST_ROWS: u64 = 1_000_000;

/// The log of a table is checkpointed and tidied after this many versions.
const TIDY_VERSIONS: u64 = 100;

/// A file with fewer rows has no rollups: it is read as fast, and soon joined with others.
const LEAST_ROWS: u64 = 1_000;

/// Of how many files the rollups are in one commit.
const ROLLED_AT_ONCE: usize = 8;

/// Compacts every table now and then until stopped, and makes rollups.
pub(crate) async fn run(lake: Arc<Lake>, every: Duration, stop: CancellationToken) {
    let mut tidied: BTreeMap<&str, u64> = BTreeMap::new();
    while stop.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
        for (def, version) in table::ALL.iter().zip(lake.pin()) {
            if let Err(error) = compact(&lake, def, &version).await {
                tracing::warn!(table = def.name, %error, "compaction failed and is tried again later");
            }
            if let Err(error) = roll(&lake, def).await {
                tracing::warn!(table = def.name, %error, "rollups could not be made and are tried again later");
            }
            let last = tidied.entry(def.name).or_insert(0);
            if version.number >= *last + TIDY_VERSIONS {
                *last = version.number;
                if let Err(error) = lake.tidy(def).await {
                    tracing::warn!(table = def.name, %error, "the table's log could not be tidied");
                }
            }
        }
    }
}

/// Joins the small files of each day of a table. Gives how many rewrites were committed; none of a table that has columns of a later
/// version.
pub async fn compact(lake: &Lake, def: &'static TableDef, version: &Version) -> Result<usize, Error> {
    if version.is_of_later {
        return Ok(0);
    }
    let mut done = 0;
    for files in candidates(version, time::now()) {
        let old = lake.read(def, &files).await?;
        let rewritten = tokio::task::spawn_blocking(move || rewrite(def, &old)).await;
        let encoded = rewritten.map_err(|source| object_store::Error::JoinError { source })??;
        let rows: usize = encoded.iter().map(|file| file.rows).sum();
        if lake.replace(def, &files, encoded).await? == Replaced::Done {
            tracing::debug!(table = def.name, files = files.len(), rows, "compacted");
            done += 1;
        }
    }
    Ok(done)
}

/// Makes the rollups of files that have none yet: of those that were just written, and of those that are from before there were any. Gives
/// of how many files they were made; none of a table that has columns of a later version.
pub async fn roll(lake: &Lake, def: &'static TableDef) -> Result<usize, Error> {
    if rollup::of_table(def).next().is_none() {
        return Ok(0);
    }
    let version = lake.refresh(def).await?;
    if version.is_of_later {
        return Ok(0);
    }
    let new = |file: &&Arc<DataFile>| file.rollups.is_none() && file.day.is_some() && file.rows >= LEAST_ROWS;
    let files: Vec<_> = version.files.iter().filter(new).cloned().collect();
    let (mut done, mut failed) = (0, None);
    for files in files.chunks(ROLLED_AT_ONCE) {
        match lake.roll(def, files).await {
            Ok(Replaced::Done) => done += files.len(),
            Ok(_) => {}
            // One file that cannot be read keeps none of the others from having theirs.
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(done), Err)
}

/// The files of each day that are worth joining: many of about the same size, and all that there are of a day of which nothing comes any more,
/// so that a row is rewritten a few times only.
fn candidates(version: &Version, now: Time) -> Vec<Vec<Arc<DataFile>>> {
    let mut days: BTreeMap<Option<&str>, Vec<Arc<DataFile>>> = BTreeMap::new();
    for file in &version.files {
        days.entry(file.day.as_deref()).or_default().push(Arc::clone(file));
    }
    let mut out = Vec::new();
    for mut files in days.into_values() {
        let is_quiet = |file: &Arc<DataFile>| file.recorded_to.is_some_and(|last| last < now.earlier(QUIET));
        if files.iter().all(is_quiet) {
            files.sort_by_key(|file| file.size);
            out.extend(joined(files, 2).filter(|files| files.first().is_some_and(is_small)));
        } else {
            let mut alike: BTreeMap<u32, Vec<Arc<DataFile>>> = BTreeMap::new();
            for file in files.into_iter().filter(is_small) {
                alike.entry(file.size.max(TINY_BYTES).ilog2() / 3).or_default().push(file);
            }
            out.extend(alike.into_values().filter_map(|files| joined(files, MANY)));
        }
    }
    out
}

fn is_small(file: &Arc<DataFile>) -> bool {
    file.size < SMALL_BYTES
}

/// As many of these files, in their order, as one may be made of, if those are enough: the last is not much larger than the others together.
fn joined(mut files: Vec<Arc<DataFile>>, least: usize) -> Option<Vec<Arc<DataFile>>> {
    let (mut bytes, mut rows) = (0, 0);
    files.retain(|file| {
        bytes += file.size;
        rows += file.rows;
        bytes <= MOST_BYTES && rows <= MOST_ROWS
    });
    while let Some((last, others)) = files.split_last()
        && last.size > 8 * others.iter().map(|file| file.size).sum::<u64>().max(TINY_BYTES)
    {
        files.pop();
    }
    (files.len() >= least).then_some(files)
}

/// New files with the rows of the old ones, proved to be the same.
fn rewrite(def: &'static TableDef, old: &[RecordBatch]) -> Result<Vec<Encoded>, Error> {
    let kept = def.condense.map_or_else(|| Ok(old.to_vec()), |condense| condense(old))?;
    let encoded = lake::encode(def, &kept)?;
    let mut new = Vec::new();
    for file in &encoded {
        new.extend(lake::decode(def, file.bytes.clone().into())?);
    }
    let (before, after) = (Measure::of(def, old)?, Measure::of(def, &new)?);
    match before.difference(&after) {
        None => Ok(encoded),
        Some(what) => Err(Error::NotEqual { table: def.name, what }),
    }
}

/// What rows add up to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Measure {
    rows: usize,
    /// By column: the sum of what is known, and how many rows do not know it.
    sums: BTreeMap<&'static str, (i128, usize)>,
}

impl Measure {
    fn of(def: &'static TableDef, batches: &[RecordBatch]) -> Result<Self, Error> {
        // Where rows replace each other, what queries see has to stay the same.
        let batches = match (def.condense, def.resolve) {
            (Some(_), Some(resolve)) => &[resolve(def, batches)?],
            _ => batches,
        };
        let mut out = Self::default();
        for batch in batches {
            out.rows += batch.num_rows();
            for name in def.sums {
                let column = batch.column_by_name(name).ok_or(Error::Shape)?;
                let (sum, unknown) = out.sums.entry(name).or_default();
                *sum = sum.wrapping_add(sum_of(column)?);
                *unknown += column.null_count();
            }
        }
        Ok(out)
    }

    fn difference(&self, other: &Self) -> Option<String> {
        if self.rows != other.rows {
            return Some(format!("rows from {} to {}", self.rows, other.rows));
        }
        let changed = self.sums.iter().find(|(name, sum)| other.sums.get(*name) != Some(sum));
        changed.map(|(name, _)| format!("sum of {name}"))
    }
}

fn sum_of(column: &dyn Array) -> Result<i128, Error> {
    // Wrapping is fine: equal rows wrap alike.
    let add = |sum: i128, value: i128| sum.wrapping_add(value);
    match column.data_type() {
        DataType::Decimal128(..) => Ok(column.as_primitive::<Decimal128Type>().iter().flatten().fold(0, add)),
        DataType::Int64 => Ok(column.as_primitive::<Int64Type>().iter().flatten().map(i128::from).fold(0, add)),
        DataType::Binary => {
            Ok(column.as_binary::<i32>().iter().flatten().map(|bytes| i128::from(wire::hash(bytes))).fold(0, add))
        }
        DataType::Int32 => Ok(column.as_primitive::<Int32Type>().iter().flatten().map(i128::from).fold(0, add)),
        _ => Err(Error::Shape),
    }
}

#[cfg(test)]
mod tests;
