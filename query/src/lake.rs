//! The lake: one Delta table each, of Parquet files that we write, sort and compact ourselves.
//!
//! A commit adds files and moves the positions of the ledger's lanes together, so a row is in the lake exactly once. It is
//! made on the very version whose positions it was computed from. After an error the newest version is loaded and its
//! positions are compared before anything else is decided: a commit that landed but reported failure is recognised, and rows
//! that another writer has shelved are not shelved again.
//!
//! Files and log entries are durable before they are reported. Compaction is in `compact`; what is not in the lake yet is in
//! `tail`.

mod delta;
mod file;
#[cfg(test)]
pub(crate) mod fixture;
mod local;
mod order;
mod rewrite;
mod rolled;
pub mod shelving;
mod stats;
mod store;

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use arrow::{array::RecordBatch, compute::kernels::cast_utils::Parser, datatypes::Date32Type};
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use schemas::{id::Offset, time::Time};
use tokio::sync::Mutex;
use url::Url;
use uuid::Uuid;

use self::{
    delta::{Change, Listed, Snapshot, TableLog, Written},
    shelving::{Shelving, Step},
    store::Place,
};
pub(crate) use self::{
    file::{Encoded, decode, encode},
    rewrite::Replaced,
    rolled::Stored,
};
use crate::{
    error::Error,
    imports::Imports,
    table::{self, TableDef},
    tail::Pinned,
};

/// How often a commit is tried while other writers come before it.
const ATTEMPTS: usize = 20;

/// How long a file stays that no version needs any more, in seconds: longer than any query runs.
const KEEP_UNUSED_SECONDS: u64 = 24 * 3_600;

/// All tables.
#[derive(Debug)]
pub struct Lake {
    place: Place,
    tables: Vec<Table>,
}

struct Table {
    def: &'static TableDef,
    log: TableLog,
    folder: Path,
    /// The folder of its rollups.
    rollups: Path,
    lanes: u16,
    /// The version that the next commit is made on. Locked for as long as a commit takes.
    head: Mutex<Head>,
    newest: RwLock<Arc<Version>>,
}

struct Head {
    snapshot: Snapshot,
    /// The positions in that very snapshot.
    positions: Vec<Offset>,
    /// By lane, the checksum of the record before its position, where the snapshot says it.
    last: Vec<Option<i32>>,
}

impl Head {
    async fn of(log: &TableLog, snapshot: Snapshot, lanes: u16) -> Result<Self, Error> {
        let positions = log.positions(&snapshot, lanes).await?;
        let last = log.last(&snapshot, &positions).await?;
        Ok(Self { snapshot, positions, last })
    }
}

/// A version of a table: it never changes, and its files stay for longer than any query runs.
#[derive(Clone, Debug, Default)]
pub struct Version {
    /// Its number.
    pub number: u64,
    /// Its files.
    pub files: Vec<Arc<DataFile>>,
    /// C: by lane, the first record of the ledger that is not in it.
    pub covered: Vec<Offset>,
    /// By lane, the checksum of the record before that, where it is known: of the archive.
    pub last: Vec<Option<i32>>,
    /// Whether it has columns that a later version than this has added: to write its files anew would lose them.
    pub is_of_later: bool,
}

/// A Parquet file of a table, with its stored columns in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFile {
    /// Its path from the root of [`Lake::store`].
    pub path: Path,
    /// Its size in bytes.
    pub size: u64,
    /// How many rows it has.
    pub rows: u64,
    /// The UTC day of all its rows, as `YYYY-MM-DD`; nothing for tables without days.
    pub day: Option<String>,
    /// A time at or before that at which the first of its rows was recorded; nothing if that is not known.
    pub recorded_from: Option<Time>,
    /// The least and the greatest tenant in it; nothing if that is not known.
    pub tenants: Option<(String, String)>,
    /// A time at or after that at which the last of its rows was recorded; nothing if that is not known.
    pub(crate) recorded_to: Option<Time>,
    /// The last record of the ledger in it, of any lane; nothing if that is not known.
    pub(crate) last_offset: Option<Offset>,
    /// Its rollups, and where they are; nothing if it was not looked yet which are worth keeping.
    pub(crate) rollups: Option<Vec<(Stored, Path)>>,
    /// Its path from the table's folder.
    below: String,
}

impl DataFile {
    /// The first instant of its day and of the next; nothing for tables without days.
    pub fn times(&self) -> Option<(Time, Time)> {
        let day = <Date32Type as Parser>::parse(self.day.as_deref()?)?;
        let start = |day: i64| Time::from_micros(day.saturating_mul(file::DAY_MICROS));
        Some((start(i64::from(day)), start(i64::from(day) + 1)))
    }
}

impl Version {
    /// C of a lane.
    pub fn covered_of(&self, lane: usize) -> Offset {
        self.covered.get(lane).copied().unwrap_or_default()
    }

    /// The last record of a lane and its checksum, where that is known.
    pub(crate) fn last_of(&self, lane: usize) -> Option<(Offset, i32)> {
        let offset = self.covered_of(lane).0.checked_sub(1)?;
        Some((Offset(offset), self.last.get(lane).copied().flatten()?))
    }
}

impl Lake {
    /// Opens the lake that `lake.url` names: a directory, or `s3://bucket/prefix`. Makes its tables if they are not there, and the
    /// columns that an earlier version did not have. Refuses a store without conditional put, and columns of other types. Needs a tokio runtime with several threads.
    pub async fn open(url: &str, lanes: u16) -> Result<Arc<Self>, Error> {
        Self::open_at(store::open(url).await?, lanes, KEEP_UNUSED_SECONDS).await
    }

    pub(crate) async fn open_at(place: Place, lanes: u16, keep_unused: u64) -> Result<Arc<Self>, Error> {
        let mut tables = Vec::with_capacity(table::ALL.len());
        for def in table::ALL {
            tables.push(Table::open(&place, def, lanes, keep_unused).await?);
        }
        Ok(Arc::new(Self { place, tables }))
    }

    /// Tables that have nothing yet begin where the log does, by lane: what it let go of before is in none of them. Where a table has
    /// something, what it does not have has to come from the log.
    pub async fn begin(&self, kept: &[Offset]) -> Result<(), Error> {
        for table in &self.tables {
            table.begin(kept).await?;
        }
        Ok(())
    }

    /// The newest version of one table of a lake, and the store that has its files; nothing where there is no such table. Writes
    /// nothing.
    pub(crate) async fn find(
        url: &str,
        def: &'static TableDef,
        lanes: u16,
    ) -> Result<Option<(Arc<Version>, Arc<dyn ObjectStore>)>, Error> {
        let place = store::place(url)?;
        let log = TableLog::new(&place, def, KEEP_UNUSED_SECONDS)?;
        let Some(snapshot) = log.find().await? else { return Ok(None) };
        let table = Table::of(&place, def, log, snapshot, lanes).await?;
        Ok(Some((table.newest(), place.store)))
    }

    /// The store; paths of [`DataFile`]s are paths in it.
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        self.place.store.clone()
    }

    /// Where what was imported is.
    pub fn imports(&self) -> Result<Imports, Error> {
        Ok(Imports::new(self.store(), self.place.path("imported")?))
    }

    /// Where what was imported into the lake of an address is; touches nothing.
    pub fn imports_of(url: &str) -> Result<Imports, Error> {
        let place = store::place(url)?;
        Ok(Imports::new(Arc::clone(&place.store), place.path("imported")?))
    }

    /// The folder of the lake: its scheme and host name the store.
    pub fn url(&self) -> &Url {
        &self.place.url
    }

    /// The newest known version of every table, in the order of [`table::ALL`]. Cheap.
    pub fn pin(&self) -> Vec<Arc<Version>> {
        self.tables.iter().map(Table::newest).collect()
    }

    /// Looks for commits of other processes.
    pub async fn refresh(&self, def: &'static TableDef) -> Result<Arc<Version>, Error> {
        let table = self.table(def)?;
        let mut head = table.head.lock().await;
        table.reload(&mut head).await?;
        Ok(table.newest())
    }

    /// Puts the rows of a table before `to` (by lane) that the lake does not have yet into it, and moves its positions.
    /// Gives the version that has them. On an error nothing or all of it has happened: it can be tried again.
    pub async fn shelve(&self, source: &Pinned, to: &[Offset]) -> Result<Arc<Version>, Error> {
        self.table(source.table)?.shelve(&self.place, source, to).await
    }

    /// The rows of files.
    pub async fn read(&self, def: &'static TableDef, files: &[Arc<DataFile>]) -> Result<Vec<RecordBatch>, Error> {
        let mut rows = Vec::new();
        for file in files {
            let bytes = self.place.store.get(&file.path).await?.bytes().await?;
            rows.extend(decode(def, bytes)?);
        }
        Ok(rows)
    }

    /// Writes a checkpoint of a table's log, and deletes log entries and files that are old and that the newest version does not need.
    /// What a removed file held can be read for a day after that, so queries that began before go on; and so can rollups of other formats
    /// than this version's, counted from when nobody writes such any more.
    pub async fn tidy(&self, def: &'static TableDef) -> Result<(), Error> {
        let table = self.table(def)?;
        table.log.tidy().await?;
        let before = table.log.unused_before_ms();
        let busy = rolled::tidy(&self.place, def, &table.log.told().await?, before).await?;
        table.log.forget(&busy, before).await?;
        self.refresh(def).await.map(|_| ())
    }

    fn table(&self, def: &'static TableDef) -> Result<&Table, Error> {
        self.tables.get(def.index()).ok_or(Error::Shape)
    }
}

impl Table {
    async fn open(place: &Place, def: &'static TableDef, lanes: u16, keep_unused: u64) -> Result<Self, Error> {
        let log = TableLog::new(place, def, keep_unused)?;
        let snapshot = log.open().await?;
        Self::of(place, def, log, snapshot, lanes).await
    }

    async fn of(
        place: &Place,
        def: &'static TableDef,
        log: TableLog,
        snapshot: Snapshot,
        lanes: u16,
    ) -> Result<Self, Error> {
        let head = Mutex::new(Head::of(&log, snapshot, lanes).await?);
        let table = Self {
            def,
            log,
            folder: place.path(def.name)?,
            rollups: rolled::folder(place, def)?,
            lanes,
            head,
            newest: RwLock::new(Arc::new(Version::default())),
        };
        table.publish(&*table.head.lock().await)?;
        Ok(table)
    }

    fn newest(&self) -> Arc<Version> {
        self.newest.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes the head's version the newest that queries see.
    fn publish(&self, head: &Head) -> Result<(), Error> {
        let before = self.newest();
        let known: HashMap<&str, &Arc<DataFile>> =
            before.files.iter().map(|file| (file.below.as_str(), file)).collect();
        let files = self
            .log
            .files(&head.snapshot)?
            .into_iter()
            .map(|listed| match known.get(listed.path.as_str()) {
                Some(file) if file.rollups.is_some() == listed.rollups.is_some() => Arc::clone(file),
                _ => Arc::new(self.data_file(listed)),
            })
            .collect();
        let is_of_later = self.log.is_of_later(&head.snapshot);
        let (covered, last) = (head.positions.clone(), head.last.clone());
        let version = Version { number: head.snapshot.number(), files, covered, last, is_of_later };
        *self.newest.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(version);
        Ok(())
    }

    fn data_file(&self, listed: Listed) -> DataFile {
        let Listed { path, size, day, stats, rollups } = listed;
        let path_in_store = Path::from_iter(self.folder.parts().chain(Path::from(path.as_str()).parts()));
        DataFile {
            path: path_in_store,
            size,
            rows: stats.num_records,
            day,
            recorded_from: stats.min_values.recorded_at.as_deref().and_then(|time| Time::parse(time).ok()),
            recorded_to: stats.max_values.recorded_at.as_deref().and_then(|time| Time::parse(time).ok()),
            last_offset: stats.max_values.log_offset.and_then(|offset| u64::try_from(offset).ok()).map(Offset),
            rollups: rollups.map(|all| all.into_iter().map(|stored| self.placed(stored, &path)).collect()),
            tenants: stats.min_values.tenant.zip(stats.max_values.tenant),
            below: path,
        }
    }

    /// A rollup of the file at `below`, and where it is.
    fn placed(&self, stored: Stored, below: &str) -> (Stored, Path) {
        let path = rolled::path(&self.rollups, &stored, below);
        (stored, path)
    }

    async fn begin(&self, kept: &[Offset]) -> Result<(), Error> {
        let nothing = |positions: &[Offset]| positions.iter().all(|position| position.0 == 0);
        if nothing(kept) {
            return Ok(());
        }
        let begun = |now: &Version| (!nothing(&now.covered)).then_some(());
        self.commit(Change::Shelved { files: &[], positions: kept, last: &[] }, begun).await
    }

    /// Loads the newest version with its positions.
    async fn reload(&self, head: &mut Head) -> Result<(), Error> {
        let snapshot = self.log.newest(&head.snapshot).await?;
        if snapshot.number() != head.snapshot.number() {
            *head = Head::of(&self.log, snapshot, self.lanes).await?;
            self.publish(head)?;
        }
        Ok(())
    }

    async fn shelve(&self, place: &Place, source: &Pinned, to: &[Offset]) -> Result<Arc<Version>, Error> {
        let mut head = self.head.lock().await;
        let mut shelving = Shelving::new(to.to_vec());
        let mut last = None;
        for _ in 0..ATTEMPTS {
            source.follows(&head.positions, &head.last)?;
            let from = head.positions.clone();
            let (positions, files) = match shelving.next(&from) {
                Step::Done => return Ok(self.newest()),
                Step::Commit { to, files } => (to, files),
                Step::Write { to, unused } => {
                    self.discard(place, &unused.unwrap_or_else(Vec::new)).await;
                    let files = self.write(place, source, &from, &to).await?;
                    (to, files)
                }
            };
            let checksums = self.checksums(&head, source, &positions);
            let change = Change::Shelved { files: &files, positions: &positions, last: &checksums };
            match self.log.commit(&head.snapshot, change).await {
                Ok(snapshot) => {
                    *head = Head { snapshot, positions, last: checksums };
                    self.publish(&head)?;
                    return Ok(self.newest());
                }
                Err(error) => {
                    tracing::info!(table = self.def.name, %error, "a commit was not confirmed; comparing positions");
                    last = Some(error);
                    self.reload(&mut head).await?;
                }
            }
            shelving.failed(from, files);
        }
        Err(last.unwrap_or(Error::Shape))
    }

    /// By lane, the checksum of the record before these positions, where it is known: of the archive, which has every record.
    fn checksums(&self, head: &Head, source: &Pinned, to: &[Offset]) -> Vec<Option<i32>> {
        if self.def.name != table::ARCHIVE.name {
            return Vec::new();
        }
        let known = |(lane, (to, from)): (usize, (&Offset, &Offset))| {
            if to == from { head.last.get(lane).copied().flatten() } else { source.checksum_before(lane, *to) }
        };
        to.iter().zip(&head.positions).enumerate().map(known).collect()
    }

    async fn write(
        &self,
        place: &Place,
        source: &Pinned,
        from: &[Offset],
        to: &[Offset],
    ) -> Result<Vec<Written>, Error> {
        let ranges = from.iter().zip(to).enumerate().map(|(lane, (from, to))| (lane, *from, Some(*to)));
        let rows = source.between(ranges)?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let def = self.def;
        let encoded = tokio::task::spawn_blocking(move || {
            let rows = def.condense.map_or_else(|| Ok(rows.clone()), |condense| condense(&rows))?;
            encode(def, &rows)
        });
        self.put(place, encoded.await.map_err(|source| object_store::Error::JoinError { source })??).await
    }

    /// Writes files, durably. Nobody sees them before they are committed.
    async fn put(&self, place: &Place, encoded: Vec<Encoded>) -> Result<Vec<Written>, Error> {
        let mut written = Vec::with_capacity(encoded.len());
        for Encoded { day, bytes, stats, .. } in encoded {
            let day = day.map(file::day_name);
            let name = format!("part-{}.parquet", Uuid::new_v4());
            let path = day.as_ref().map_or_else(|| name.clone(), |day| format!("day={day}/{name}"));
            let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            place.store.put(&self.in_store(&path), bytes.into()).await?;
            written.push(Written { path, size, day, stats, rollups: None });
        }
        Ok(written)
    }

    /// Deletes files that were never committed. What is left behind goes with the next clean-up.
    async fn discard(&self, place: &Place, files: &[Written]) {
        for file in files {
            if let Err(error) = place.store.delete(&self.in_store(&file.path)).await {
                tracing::warn!(table = self.def.name, path = file.path, %error, "an unused file was left behind");
            }
        }
    }

    fn in_store(&self, below: &str) -> Path {
        Path::from_iter(self.folder.parts().chain(Path::from(below).parts()))
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("name", &self.def.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
