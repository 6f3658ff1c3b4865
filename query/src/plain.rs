//! The tables as plain Parquet in Hive's folders (`TABLE/day=YYYY-MM-DD/…`), for readers that know no Delta and look for files.
//!
//! One version of each table is copied, file by file, and a file that lacks columns of today is written anew with them, since readers that
//! look for files take the columns of the first; tables whose rows end or replace each other are written as queries see them. The
//! manifest names every file and how far each table goes. Everything is written into a folder that is not there yet, and is
//! durable before this returns; putting it in the place of another is the caller's.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

use arrow::array::RecordBatch;
use bytes::Bytes;
use object_store::{ObjectStore, ObjectStoreExt as _};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use crate::{
    error::Error,
    lake::{DataFile, Lake, Version, decode, encode},
    table::TableDef,
};

/// The manifest's name. What begins with `_` is not data, for readers of Hive's folders.
pub const MANIFEST: &str = "_manifest.json";

/// Why nothing was written, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum PlainError {
    /// The lake cannot be read.
    #[error(transparent)]
    Lake(#[from] Error),
    /// There is nothing to write.
    #[error("the lake {0} has no tables yet; is it the one that lake.url names where Tollgate runs?")]
    Empty(String),
    /// The folder cannot be written.
    #[error("{path} cannot be written: {error}")]
    Write {
        /// What.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// An earlier export cannot be read.
    #[error("{path} cannot be read: {error}")]
    Read {
        /// What.
        path: String,
        /// Why.
        error: std::io::Error,
    },
}

/// Which days of the tables that have days, as YYYY-MM-DD; the last one is not in it.
#[derive(Clone, Debug, Default)]
pub struct Days {
    /// The first day.
    pub from: Option<String>,
    /// The first day after them.
    pub to: Option<String>,
}

impl Days {
    fn hold(&self, day: &str) -> bool {
        self.from.as_deref().is_none_or(|from| day >= from) && self.to.as_deref().is_none_or(|to| day < to)
    }
}

/// Writes every table of the lake of an address into a new folder; gives the manifest. Needs a tokio runtime with several threads.
pub async fn write(lake_url: &str, lanes: u16, days: &Days, folder: &Path) -> Result<Value, PlainError> {
    made(folder)?;
    let mut tables = Vec::new();
    for table in TableDef::shown() {
        let Some((version, store)) = Lake::find(lake_url, table, lanes).await? else { continue };
        let files = match table.resolve {
            None => copied(table, &version, store.as_ref(), days, folder).await?,
            Some(_) => resolved(table, &version, store.as_ref(), folder).await?,
        };
        let offsets: Vec<u64> = version.covered.iter().map(|offset| offset.0).collect();
        let rows: u64 = files.iter().filter_map(|file| file["rows"].as_u64()).sum();
        tables.push(
            json!({"table": table.name, "version": version.number, "offsets": offsets, "rows": rows, "files": files}),
        );
    }
    if tables.is_empty() {
        return Err(PlainError::Empty(lake_url.to_owned()));
    }
    let manifest = json!({"format": 1, "written_at": schemas::time::now().to_string(), "from": days.from, "to": days.to, "tables": tables});
    put(&folder.join(MANIFEST), manifest.to_string().as_bytes())?;
    synced(folder)?;
    Ok(manifest)
}

/// What is in the folder of an export and is not of it, such as a file that somebody put there, by its path in the folder.
///
/// # Errors
/// If the folder or its manifest cannot be read.
pub fn strange(folder: &Path) -> Result<Vec<PathBuf>, PlainError> {
    let manifest = folder.join(MANIFEST);
    let text = fs::read(&manifest).map_err(failed_to_read(&manifest))?;
    let said: Value =
        serde_json::from_slice(&text).map_err(|error| failed_to_read(&manifest)(std::io::Error::other(error)))?;
    let tables = said["tables"].as_array().into_iter().flatten();
    let files = tables.flat_map(|table| table["files"].as_array().into_iter().flatten());
    let mut own: BTreeSet<PathBuf> = files.filter_map(|file| Some(file["path"].as_str()?.into())).collect();
    own.insert(MANIFEST.into());
    let mut found = Vec::new();
    listed(folder, folder, &mut found)?;
    found.retain(|path| !own.contains(path));
    found.sort();
    Ok(found)
}

/// Every file below, by its path in the folder; links are not followed.
fn listed(folder: &Path, below: &Path, found: &mut Vec<PathBuf>) -> Result<(), PlainError> {
    for entry in fs::read_dir(below).map_err(failed_to_read(below))? {
        let entry = entry.map_err(failed_to_read(below))?;
        let path = entry.path();
        if entry.file_type().map_err(failed_to_read(&path))?.is_dir() {
            listed(folder, &path, found)?;
        } else {
            found.push(path.strip_prefix(folder).unwrap_or(&path).to_owned());
        }
    }
    Ok(())
}

async fn copied(
    table: &'static TableDef,
    version: &Version,
    store: &dyn ObjectStore,
    days: &Days,
    folder: &Path,
) -> Result<Vec<Value>, PlainError> {
    let mut listed = Vec::new();
    for file in &version.files {
        let Some(day) = file.day.as_deref().filter(|day| days.hold(day)) else { continue };
        let partition = folder.join(table.name).join(format!("day={day}"));
        made(&partition)?;
        let bytes = whole(table, fetched(store, file).await?)?;
        let name = file.path.filename().unwrap_or("part.parquet");
        put(&partition.join(name), &bytes)?;
        listed
            .push(json!({"path": format!("{}/day={day}/{name}", table.name), "rows": file.rows, "bytes": bytes.len()}));
    }
    Ok(listed)
}

async fn resolved(
    table: &'static TableDef,
    version: &Version,
    store: &dyn ObjectStore,
    folder: &Path,
) -> Result<Vec<Value>, PlainError> {
    let mut stored: Vec<RecordBatch> = Vec::new();
    for file in &version.files {
        stored.extend(decode(table, fetched(store, file).await?)?);
    }
    let Some(resolve) = table.resolve else { return Ok(Vec::new()) };
    let rows = resolve(table, &stored)?;
    let mut writer = parquet::arrow::ArrowWriter::try_new(Vec::new(), rows.schema(), None).map_err(Error::from)?;
    writer.write(&rows).map_err(Error::from)?;
    let bytes = writer.into_inner().map_err(Error::from)?;
    made(&folder.join(table.name))?;
    put(&folder.join(table.name).join("all.parquet"), &bytes)?;
    Ok(vec![json!({"path": format!("{}/all.parquet", table.name), "rows": rows.num_rows(), "bytes": bytes.len()})])
}

/// A file with every column of its table: as it is, if it has them.
fn whole(table: &'static TableDef, bytes: Bytes) -> Result<Bytes, Error> {
    let file = ParquetRecordBatchReaderBuilder::try_new(bytes.clone())?;
    if table.stored_columns().all(|column| file.schema().field_with_name(column.name).is_ok()) {
        return Ok(bytes);
    }
    // All its rows are of one day.
    let written = encode(table, &decode(table, bytes)?)?.into_iter().next().ok_or(Error::Shape)?;
    Ok(written.bytes.into())
}

async fn fetched(store: &dyn ObjectStore, file: &DataFile) -> Result<Bytes, Error> {
    Ok(store.get(&file.path).await?.bytes().await?)
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> PlainError + use<'_> {
    move |error| PlainError::Write { path: path.display().to_string(), error }
}

fn failed_to_read(path: &Path) -> impl FnOnce(std::io::Error) -> PlainError + use<'_> {
    move |error| PlainError::Read { path: path.display().to_string(), error }
}

fn made(folder: &Path) -> Result<(), PlainError> {
    fs::create_dir_all(folder).map_err(failed(folder))
}

fn put(path: &Path, bytes: &[u8]) -> Result<(), PlainError> {
    let written = File::create_new(path).and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.map_err(failed(path))
}

/// Makes the names in a folder, and in those below it, durable.
fn synced(folder: &Path) -> Result<(), PlainError> {
    for entry in fs::read_dir(folder).map_err(failed(folder))? {
        let path = entry.map_err(failed(folder))?.path();
        if path.is_dir() {
            synced(&path)?;
        }
    }
    File::open(folder).and_then(|open| open.sync_all()).map_err(failed(folder))
}
