//! The log of one table, which is Delta's: the only file that knows `deltalake-core`.
//!
//! Of that crate only the log is used: snapshots, one commit, checkpoint, clean-up, vacuum. Two of its habits are kept out.
//! It accepts an application transaction that is already committed, and it moves a commit to a newer version if it finds no
//! conflict. Here a commit is made on exactly the version whose positions were read, or fails ([`TableLog::commit`] allows no
//! retry); so the caller's check of the positions holds at the commit.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use arrow::datatypes::Field;
use deltalake_core::{
    DeltaTable, DeltaTableError,
    kernel::{Action, Add, Remove, Transaction, transaction::CommitBuilder, transaction::CommitProperties},
    logstore::{CommitOrBytes, LogStore, LogStoreRef, StorageConfig, default_logstore},
    operations::vacuum::VacuumMode,
    protocol::{DeltaOperation, SaveMode, checkpoints},
    table::state::DeltaTableState,
};
use object_store::{path::Path, prefix::PrefixStore};
use schemas::{id::Offset, time};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    ATTEMPTS,
    rolled::{self, Stored, Tags},
    stats::Stats,
    store::Place,
};
use crate::{
    error::Error,
    rollup,
    table::{self, Column, Kind, TableDef},
};

/// The partition column.
const DAY: &str = "day";

/// The application transaction that every rewrite carries, so that two of them never both succeed.
const REWRITE: &str = "rewrite";

/// The application transaction that carries how far a lane of the ledger is in the table.
fn lane_id(lane: usize) -> String {
    format!("tollgate-ledger-{lane}")
}

/// The bits of a position that find room beside a checksum.
const LOW: u64 = 0x7fff_ffff;

/// The application transaction that carries which record of a lane is the last in the table.
fn last_id(lane: usize) -> String {
    format!("tollgate-ledger-{lane}-last")
}

/// A checksum as the number of a transaction, bound to the position that it stands before: an earlier version moves that alone.
fn bound(checksum: i32, position: Offset) -> i64 {
    i64::from(checksum.cast_unsigned()) | (signed(position.0 & LOW) << 32)
}

/// The checksum that was bound to this very position.
fn unbound(number: i64, position: Offset) -> Option<i32> {
    let checksum = u32::try_from(number & i64::from(u32::MAX)).ok()?.cast_signed();
    (bound(checksum, position) == number).then_some(checksum)
}

/// The log of a table.
#[derive(Clone)]
pub(super) struct TableLog {
    table: &'static TableDef,
    store: LogStoreRef,
    /// How long a removed file stays, in seconds.
    keep_unused: u64,
}

/// A version of a table.
#[derive(Clone, Debug)]
pub(super) struct Snapshot(DeltaTableState);

/// A file of a version.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    /// Its path from the table's folder.
    pub(super) path: String,
    pub(super) size: u64,
    pub(super) day: Option<String>,
    pub(super) stats: Stats,
    /// Its rollups; nothing if it was not looked yet which are worth keeping.
    pub(super) rollups: Option<Vec<Stored>>,
}

/// A file that was written and waits to be committed, or that is to be removed.
#[derive(Clone, Debug)]
pub(super) struct Written {
    /// Its path from the table's folder.
    pub(super) path: String,
    pub(super) size: u64,
    pub(super) day: Option<String>,
    /// Its statistics, as JSON.
    pub(super) stats: String,
    pub(super) rollups: Option<Vec<Stored>>,
}

/// What a version says of the rollups of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// The formats that it has some of.
    pub(super) formats: HashSet<String>,
    /// Since when it says so, in milliseconds.
    pub(super) at_ms: i64,
}

/// What a commit changes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change<'a> {
    /// Rows of the ledger were shelved: files are added and positions move. `last` has by lane the checksum of the record before, where it
    /// is known.
    Shelved { files: &'a [Written], positions: &'a [Offset], last: &'a [Option<i32>] },
    /// Files were written anew, or more is known of them; with the same rows.
    Rewritten { added: &'a [Written], removed: &'a [Written] },
}

impl TableLog {
    pub(super) fn new(place: &Place, table: &'static TableDef, keep_unused: u64) -> Result<Self, Error> {
        let below = format!("{}/", table.name);
        let url = place
            .url
            .join(&below)
            .map_err(|error| Error::Url { url: place.url.to_string(), why: error.to_string() })?;
        let folder = Arc::new(PrefixStore::new(place.store.clone(), place.path(table.name)?));
        let store = default_logstore(folder, place.store.clone(), &url, &StorageConfig::default());
        Ok(Self { table, store, keep_unused })
    }

    /// The newest version; makes the table if there is none, and the columns that an earlier version did not have. Any number of
    /// processes may do so at once.
    pub(super) async fn open(&self) -> Result<Snapshot, Error> {
        if !self.store.is_delta_table_location().await? {
            let first = CommitOrBytes::LogBytes(self.first_commit().into());
            let made = self.store.write_commit_entry(0, first, Uuid::new_v4()).await;
            // Another process may have made it, or this one did and was not told.
            if let Err(error) = made
                && !self.store.is_delta_table_location().await?
            {
                return Err(DeltaTableError::from(error).into());
            }
        }
        let mut snapshot = self.find().await?.ok_or(Error::Shape)?;
        for _ in 0..ATTEMPTS {
            let Some(widened) = self.widened(&snapshot)? else { return Ok(snapshot) };
            let widened = CommitOrBytes::LogBytes(widened.into());
            let made = self.store.write_commit_entry(snapshot.number() + 1, widened, Uuid::new_v4()).await;
            let newest = self.newest(&snapshot).await?;
            if let Err(error) = made
                && newest.number() == snapshot.number()
            {
                return Err(DeltaTableError::from(error).into());
            }
            snapshot = newest;
        }
        Err(Error::Shape)
    }

    /// The newest version, where there is a table; nothing is made or written.
    pub(super) async fn find(&self) -> Result<Option<Snapshot>, Error> {
        if !self.store.is_delta_table_location().await? {
            return Ok(None);
        }
        let snapshot = Snapshot(DeltaTableState::try_new(self.store.as_ref(), None).await?);
        self.check_schema(&snapshot)?;
        Ok(Some(snapshot))
    }

    /// The newest version.
    pub(super) async fn newest(&self, known: &Snapshot) -> Result<Snapshot, Error> {
        let mut state = known.0.clone();
        state.update(self.store.as_ref(), None).await?;
        Ok(Snapshot(state))
    }

    /// Commits on exactly this version. On an error it is not known whether the commit landed: load and compare.
    pub(super) async fn commit(&self, on: &Snapshot, change: Change<'_>) -> Result<Snapshot, Error> {
        let at = time::now().as_micros() / 1_000;
        let (actions, transactions) = match change {
            Change::Shelved { files, positions, last } => {
                let move_to = |(lane, to): (usize, &Offset)| Transaction::new(lane_id(lane), signed(to.0));
                let last = positions.iter().zip(last).enumerate();
                let last = last.filter_map(|(lane, (to, checksum))| Some((lane, bound((*checksum)?, *to))));
                let last = last.map(|(lane, number)| Transaction::new(last_id(lane), number));
                (
                    files.iter().map(|file| add(file, at, true, None)).collect(),
                    positions.iter().enumerate().map(move_to).chain(last).collect(),
                )
            }
            Change::Rewritten { added, removed } => {
                let next = self.position(on, REWRITE).await?.unwrap_or(0) + 1;
                let known = self.tags(on, added)?;
                let added = added.iter().map(|file| add(file, at, false, known.get(&file.path)));
                let removed = removed.iter().map(|file| remove(file, at));
                (added.chain(removed).collect::<Vec<_>>(), vec![Transaction::new(REWRITE, next)])
            }
        };
        self.write(on, actions, transactions).await
    }

    async fn write(
        &self,
        on: &Snapshot,
        actions: Vec<Action>,
        transactions: Vec<Transaction>,
    ) -> Result<Snapshot, Error> {
        let properties = CommitProperties::default()
            .with_max_retries(0)
            .with_create_checkpoint(false)
            .with_cleanup_expired_logs(Some(false))
            .with_application_transactions(transactions);
        let operation = DeltaOperation::Write {
            mode: SaveMode::Append,
            partition_by: self.table.day.map(|_| vec![DAY.to_owned()]),
            predicate: None,
        };
        let commit =
            CommitBuilder::from(properties).with_actions(actions).build(Some(&on.0), self.store.clone(), operation);
        Ok(Snapshot(commit.await?.snapshot))
    }

    /// How far each lane of the ledger is in this version: its next record.
    pub(super) async fn positions(&self, snapshot: &Snapshot, lanes: u16) -> Result<Vec<Offset>, Error> {
        let mut out = Vec::with_capacity(usize::from(lanes));
        for lane in 0..usize::from(lanes) {
            let next = self.position(snapshot, &lane_id(lane)).await?.unwrap_or(0);
            out.push(Offset(u64::try_from(next).unwrap_or(0)));
        }
        Ok(out)
    }

    /// By lane, the checksum of the record before its position in this version, where that is said: by the archive.
    pub(super) async fn last(&self, snapshot: &Snapshot, positions: &[Offset]) -> Result<Vec<Option<i32>>, Error> {
        let mut out = Vec::new();
        if self.table.name == table::ARCHIVE.name {
            for (lane, position) in positions.iter().enumerate() {
                let number = self.position(snapshot, &last_id(lane)).await?;
                out.push(number.and_then(|number| unbound(number, *position)));
            }
        }
        Ok(out)
    }

    async fn position(&self, snapshot: &Snapshot, id: &str) -> Result<Option<i64>, Error> {
        Ok(snapshot.0.transaction_version(self.store.as_ref(), id).await?)
    }

    /// The files of a version.
    pub(super) fn files(&self, snapshot: &Snapshot) -> Result<Vec<Listed>, Error> {
        let listed = adds(snapshot)?.into_iter().map(|mut add| Listed {
            size: u64::try_from(add.size).unwrap_or(0),
            day: add.partition_values.remove(DAY).flatten(),
            stats: add.stats.and_then(|stats| serde_json::from_str(&stats).ok()).unwrap_or_default(),
            rollups: rolled::listed(self.table, add.tags.as_ref()),
            path: add.path,
        });
        Ok(listed.collect())
    }

    /// What a version says of files of which more is to be said now.
    fn tags(&self, snapshot: &Snapshot, files: &[Written]) -> Result<HashMap<String, Tags>, Error> {
        if files.iter().all(|file| file.rollups.is_none()) {
            return Ok(HashMap::new());
        }
        Ok(adds(snapshot)?.into_iter().filter_map(|add| Some((add.path, add.tags?))).collect())
    }

    /// What the newest version says of the rollups of each file, by its path from the table's folder.
    pub(super) async fn told(&self) -> Result<HashMap<Path, Told>, Error> {
        let Some(newest) = self.find().await? else { return Ok(HashMap::new()) };
        let told = adds(&newest)?.into_iter().map(|add| {
            let formats = add.tags.unwrap_or_default().into_keys().filter(|name| name.starts_with(rollup::FORMATS));
            (Path::from(add.path), Told { formats: formats.collect(), at_ms: add.modification_time })
        });
        Ok(told.collect())
    }

    /// Says no more that files have rollups of other formats, where ours are said to be there since before that time, but for formats that
    /// somebody still writes.
    pub(super) async fn forget(&self, busy: &HashSet<String>, before_ms: i64) -> Result<(), Error> {
        let Some(newest) = self.find().await? else { return Ok(()) };
        let mut adds = adds(&newest)?;
        adds.retain_mut(|add| add.modification_time <= before_ms && rolled::forget(add.tags.as_mut(), busy));
        if adds.is_empty() {
            return Ok(());
        }
        let at = time::now().as_micros() / 1_000;
        let anew = |add: Add| Action::Add(Add { modification_time: at, data_change: false, ..add });
        let next = self.position(&newest, REWRITE).await?.unwrap_or(0) + 1;
        let actions = adds.into_iter().map(anew).collect();
        self.write(&newest, actions, vec![Transaction::new(REWRITE, next)]).await.map(|_| ())
    }

    /// The time before which it must have been that a file is needed by nobody, in milliseconds.
    pub(super) fn unused_before_ms(&self) -> i64 {
        time::now().earlier(Duration::from_secs(self.keep_unused)).as_micros() / 1_000
    }

    /// Writes a checkpoint, and deletes log entries and files that no version needs and that are old enough.
    pub(super) async fn tidy(&self) -> Result<(), Error> {
        let mut table = DeltaTable::new(self.store.clone());
        table.load().await?;
        checkpoints::create_checkpoint(&table, None).await?;
        checkpoints::cleanup_metadata(&table, None).await?;
        let quiet = CommitProperties::default().with_create_checkpoint(false).with_cleanup_expired_logs(Some(false));
        table.vacuum().with_mode(VacuumMode::Full).with_commit_properties(quiet).await?;
        Ok(())
    }

    fn first_commit(&self) -> String {
        let day = self.table.day.map(|_| field(DAY, "date"));
        let columns = self.table.stored_columns().map(|column| field(column.name, type_name(column.kind)));
        let fields: Vec<Value> = columns.chain(day).collect();
        let made_at = time::now().as_micros() / 1_000;
        let lines = [
            json!({ "commitInfo": { "timestamp": made_at, "operation": "CREATE TABLE", "operationParameters": {} } }),
            json!({ "protocol": { "minReaderVersion": 1, "minWriterVersion": 2 } }),
            json!({ "metaData": {
                "id": Uuid::new_v4().to_string(),
                "name": self.table.name,
                "description": self.table.doc,
                "format": { "provider": "parquet", "options": {} },
                "schemaString": json!({ "type": "struct", "fields": fields }).to_string(),
                "partitionColumns": self.table.day.map(|_| DAY).into_iter().collect::<Vec<_>>(),
                "createdTime": made_at,
                "configuration": {
                    "delta.enableExpiredLogCleanup": "false",
                    "delta.logRetentionDuration": "interval 7 days",
                    "delta.deletedFileRetentionDuration": format!("interval {} seconds", self.keep_unused),
                },
            } }),
        ];
        lines.map(|line| line.to_string()).join("\n")
    }

    /// The commit that adds the columns that the table does not have, after those that it has; nothing if it has all. In the files that
    /// are there they are NULL.
    fn widened(&self, snapshot: &Snapshot) -> Result<Option<String>, Error> {
        let found = snapshot.0.snapshot().arrow_schema();
        let missing = |column: &&Column| found.field_with_name(column.name).is_err();
        let added: Vec<&Column> = self.table.stored_columns().filter(missing).collect();
        if added.is_empty() {
            return Ok(None);
        }
        let metadata = snapshot.0.metadata();
        let mut schema: Value = serde_json::from_str(metadata.schema_string()).map_err(DeltaTableError::from)?;
        let fields = schema["fields"].as_array_mut().ok_or(Error::Shape)?;
        fields.extend(added.iter().map(|column| field(column.name, type_name(column.kind))));
        let mut metadata = serde_json::to_value(metadata).map_err(DeltaTableError::from)?;
        metadata["schemaString"] = schema.to_string().into();
        let names: Vec<&str> = added.iter().map(|column| column.name).collect();
        tracing::info!(table = self.table.name, columns = ?names, "columns are added to a table of the lake");
        let made_at = time::now().as_micros() / 1_000;
        let info = json!({ "timestamp": made_at, "operation": "ADD COLUMN", "operationParameters": {} });
        Ok(Some(
            [json!({ "commitInfo": info }), json!({ "metaData": metadata })].map(|line| line.to_string()).join("\n"),
        ))
    }

    /// A table made by another version may have fewer columns or more, but no column of another type.
    fn check_schema(&self, snapshot: &Snapshot) -> Result<(), Error> {
        let found = snapshot.0.snapshot().arrow_schema();
        for wanted in self.table.stored_schema().fields() {
            let is_other = |field: &Field| field.data_type() != wanted.data_type();
            if found.field_with_name(wanted.name()).is_ok_and(is_other) {
                return Err(Error::OtherSchema { table: self.table.name, column: wanted.name().clone() });
            }
        }
        Ok(())
    }

    /// Whether a later version than this has added columns to the table.
    pub(super) fn is_of_later(&self, snapshot: &Snapshot) -> bool {
        let known = self.table.stored_schema();
        let found = snapshot.0.snapshot().arrow_schema();
        found.fields().iter().any(|field| field.name() != DAY && known.field_with_name(field.name()).is_err())
    }
}

impl Snapshot {
    pub(super) fn number(&self) -> u64 {
        self.0.version()
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn partition(file: &Written) -> HashMap<String, Option<String>> {
    file.day.iter().map(|day| (DAY.to_owned(), Some(day.clone()))).collect()
}

/// The files of a version, as its log has them.
fn adds(snapshot: &Snapshot) -> Result<Vec<Add>, Error> {
    let files = snapshot.0.snapshot().try_log_data()?;
    #[expect(deprecated, reason = "nothing else gives the tags of a file")]
    let adds = files.iter().map(|file| file.add_action()).collect();
    Ok(adds)
}

fn add(file: &Written, at_ms: i64, data_change: bool, known: Option<&Tags>) -> Action {
    Action::Add(Add {
        path: file.path.clone(),
        partition_values: partition(file),
        size: signed(file.size),
        modification_time: at_ms,
        data_change,
        stats: Some(file.stats.clone()),
        tags: file.rollups.as_deref().and_then(|stored| rolled::tags(stored, known)),
        ..Add::default()
    })
}

fn remove(file: &Written, at_ms: i64) -> Action {
    Action::Remove(Remove {
        path: file.path.clone(),
        data_change: false,
        deletion_timestamp: Some(at_ms),
        extended_file_metadata: Some(true),
        partition_values: Some(partition(file)),
        size: Some(signed(file.size)),
        ..Remove::default()
    })
}

fn field(name: &str, kind: &str) -> Value {
    json!({ "name": name, "type": kind, "nullable": true, "metadata": {} })
}

/// The name of a type in a Delta schema.
fn type_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "string",
        Kind::Int => "integer",
        Kind::Long => "long",
        Kind::Flag => "boolean",
        Kind::Time => "timestamp",
        Kind::Usd => "decimal(18,12)",
        Kind::Price => "decimal(18,6)",
        Kind::Amount => "decimal(38,12)",
        Kind::Bytes => "binary",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_known_before_the_position_that_it_was_bound_to_and_before_no_other() {
        for checksum in [0, 1, -1, i32::MIN, i32::MAX] {
            for position in [1, 2, 1 << 31, u64::from(u32::MAX), 1 << 40] {
                let number = bound(checksum, Offset(position));
                assert_eq!(unbound(number, Offset(position)), Some(checksum), "{position}");
                assert_eq!(unbound(number, Offset(position + 1)), None, "an earlier version moved the position alone");
            }
        }
    }
}
