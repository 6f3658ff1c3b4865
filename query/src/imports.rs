//! Where imported tables are kept: in the lake's folder `imported`, a Parquet file for each import, of which the newest counts.
//!
//! A file is put there whole or not at all, and none is ever changed; so a query reads one import or the next, and earlier ones stay.

use std::{fmt, sync::Arc};

use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, path::Path};
use parquet::arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder};
use uuid::Uuid;

use crate::error::Error;
pub use crate::table::imported::{ALL, Imported, by_name};

/// How often an import is tried again whose name another one took.
const TRIES: usize = 20;

/// The imports of a lake.
#[derive(Clone)]
pub struct Imports {
    store: Arc<dyn ObjectStore>,
    folder: Path,
}

impl fmt::Debug for Imports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Imports").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// Why something was not imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file is not what the table takes.
    #[error("{0}")]
    File(String),
    /// The lake could not be written.
    #[error(transparent)]
    Lake(#[from] Error),
}

impl Imports {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, folder: Path) -> Self {
        Self { store, folder }
    }

    /// Puts what a CSV file says in the place of the table; gives how many rows that are.
    ///
    /// # Errors
    /// With the line, if the file is not what the table takes.
    pub async fn replace(&self, table: &'static Imported, csv: &[u8]) -> Result<usize, ImportError> {
        let records = crate::csv::records(csv).map_err(ImportError::File)?;
        let rows = table.parse(&records).map_err(ImportError::File)?;
        let mut writer = ArrowWriter::try_new(Vec::new(), table.schema(), None).map_err(Error::from)?;
        writer.write(&rows).map_err(Error::from)?;
        let bytes = writer.into_inner().map_err(Error::from)?;
        let (bytes, mut tries) = (Bytes::from(bytes), 0);
        loop {
            let name = self.next(table).await?;
            let path = self.folder.clone().join(table.name).join(format!("{name}.parquet"));
            let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            match self.store.put_opts(&path, bytes.clone().into(), create).await {
                Ok(_) => return Ok(rows.num_rows()),
                // Another import took the name in this moment.
                Err(object_store::Error::AlreadyExists { .. }) if tries < TRIES => tries += 1,
                Err(error) => return Err(Error::from(error).into()),
            }
        }
    }

    /// The rows of the newest import of a table; none where there is none.
    pub(crate) async fn rows(&self, table: &'static Imported) -> Result<Vec<RecordBatch>, Error> {
        let Some(newest) = self.newest(table).await? else { return Ok(Vec::new()) };
        let bytes: Bytes = self.store.get(&newest).await?.bytes().await?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)?.build()?;
        let schema = table.schema();
        // By name: an earlier version may have had fewer columns.
        let of_now = |batch: RecordBatch| {
            let columns = schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
                Some(column) => Arc::clone(column),
                None => arrow::array::new_null_array(field.data_type(), batch.num_rows()),
            });
            RecordBatch::try_new(Arc::clone(&schema), columns.collect())
        };
        reader.map(|batch| Ok(of_now(batch?)?)).collect()
    }

    /// The file of the newest import of a table.
    async fn newest(&self, table: &Imported) -> Result<Option<Path>, Error> {
        let folder = self.folder.clone().join(table.name);
        let found: Vec<_> = self.store.list(Some(&folder)).try_collect().await?;
        Ok(found.into_iter().map(|file| file.location).max())
    }

    /// The name of the next one: behind every name that is there, whatever clock that came from.
    async fn next(&self, table: &Imported) -> Result<Uuid, Error> {
        let named = |path: Path| Uuid::try_parse(path.filename()?.strip_suffix(".parquet")?).ok();
        let (newest, now) = (self.newest(table).await?.and_then(named), Uuid::now_v7());
        let ahead = newest.filter(|newest| *newest >= now);
        Ok(ahead.map_or(now, |newest| Uuid::from_u128(newest.as_u128().saturating_add(1))))
    }
}

#[cfg(test)]
mod tests {
    use arrow::{array::AsArray as _, datatypes::Decimal128Type};
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn the_last_import_counts_though_one_before_came_from_a_clock_that_was_ahead() {
        let imports = Imports::new(Arc::new(InMemory::new()), Path::from("imported"));
        let table = by_name("business_metrics").unwrap();
        for value in 1..5_i128 {
            let csv = format!("time,tenant,metric,value\n2026-11-01,acme,tickets,{value}\n");
            imports.replace(table, csv.as_bytes()).await.unwrap();
            let rows = imports.rows(table).await.unwrap();
            let found = rows[0].column_by_name("value").unwrap().as_primitive::<Decimal128Type>().value(0);
            assert_eq!(found, value * 1_000_000_000_000);
            if value == 1 {
                let first = imports.newest(table).await.unwrap().unwrap();
                let bytes = imports.store.get(&first).await.unwrap().bytes().await.unwrap();
                let ahead = first.as_ref().replace("/0", "/1");
                assert_ne!(ahead, first.as_ref());
                imports.store.put(&Path::from(ahead), bytes.into()).await.unwrap();
            }
        }
    }
}
