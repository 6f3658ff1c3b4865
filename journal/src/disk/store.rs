//! The transactional store beside the segments: decisions by key, and the offsets that say what counts.
//!
//! redb's one-phase commit: one fsync, and after a crash the last whole commit. No key of this file is written outside of
//! [`Store::commit`] and [`Store::commit_policy`].

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::Mutex,
};

use bytes::Bytes;
use redb::{Database, ReadTransaction, ReadableDatabase as _, TableDefinition, WriteTransaction};

use crate::{
    Outputs,
    error::Error,
    segment::{files, held},
};

const DECISIONS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("decisions");
const ENDS: TableDefinition<'_, &str, u64> = TableDefinition::new("ends");

/// What redb may keep in memory; by default it takes up to 1 GiB. Hot keys are few, and snapshots are read through once.
const CACHE_BYTES: usize = 16 << 20;

/// About how much [`View::after`] gives at once.
const CHUNK_BYTES: usize = 1 << 20;

/// How far the input has been read, and how far each output counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) input: u64,
    pub(super) ledger: u64,
    pub(super) policy: u64,
}

pub(super) struct Store {
    /// None from a change for which there was no room to the next that is tried: redb takes nothing after a failed write.
    db: Mutex<Option<Database>>,
    path: PathBuf,
}

/// The decisions as they were at one moment.
pub(super) struct View {
    txn: ReadTransaction,
    path: PathBuf,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.path).finish_non_exhaustive()
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("path", &self.path).finish_non_exhaustive()
    }
}

fn refused<E: Into<redb::Error>>(path: &Path) -> impl Fn(E) -> Error {
    move |error| match error.into() {
        redb::Error::Io(error) => files::io("write", path)(error),
        error => Error::Store { path: path.to_owned(), why: error.to_string() },
    }
}

fn database(path: &Path) -> Result<Database, Error> {
    Database::builder().set_cache_size(CACHE_BYTES).open(path).map_err(refused(path))
}

impl Store {
    /// Opens the store. If there is none, `may_be_new` is asked, and one is made elsewhere and put in place whole: half of one
    /// would be damage for ever.
    pub(super) fn open(path: &Path, may_be_new: impl FnOnce() -> Result<(), Error>) -> Result<Self, Error> {
        if !path.try_exists().map_err(files::io("look for", path))? {
            may_be_new()?;
            let draft = path.with_extension("tmp");
            files::remove(&draft)?;
            let make = || -> Result<(), redb::Error> {
                let txn = Database::create(&draft)?.begin_write()?;
                txn.open_table(DECISIONS)?;
                txn.open_table(ENDS)?;
                Ok(txn.commit()?)
            };
            make().map_err(refused(&draft))?;
            fs::rename(&draft, path).map_err(files::io("rename", &draft))?;
            path.parent().map_or(Ok(()), files::sync_dir)?;
        }
        Ok(Self { db: Mutex::new(Some(database(path)?)), path: path.to_owned() })
    }

    /// Does something with the database, which is opened again if need be.
    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, Error> {
        let mut db = held(&self.db);
        let open = match db.take() {
            Some(open) => open,
            None => database(&self.path)?,
        };
        let done = work(&open).map_err(refused(&self.path));
        if !matches!(done, Err(Error::Full { .. })) {
            *db = Some(open);
        }
        done
    }

    pub(super) fn ends(&self) -> Result<Ends, Error> {
        self.with(|db| {
            let ends = db.begin_read()?.open_table(ENDS)?;
            let get = |name| Ok::<_, redb::Error>(ends.get(name)?.map_or(0, |end| end.value()));
            Ok(Ends { input: get("input")?, ledger: get("ledger")?, policy: get("policy")? })
        })
    }

    /// Commits one transaction whose ledger entries end before `ledger`.
    pub(super) fn commit(&self, outputs: &Outputs, ledger: u64) -> Result<(), Error> {
        self.write(|txn| {
            let mut ends = txn.open_table(ENDS)?;
            ends.insert("input", outputs.input.0)?;
            ends.insert("ledger", ledger)?;
            let mut decisions = txn.open_table(DECISIONS)?;
            for (key, state) in &outputs.decisions {
                match state {
                    Some(state) => decisions.insert(&key[..], &state[..])?,
                    None => decisions.remove(&key[..])?,
                };
            }
            Ok(())
        })
    }

    /// Commits the end of `policy`.
    pub(super) fn commit_policy(&self, end: u64) -> Result<(), Error> {
        self.write(|txn| {
            txn.open_table(ENDS)?.insert("policy", end)?;
            Ok(())
        })
    }

    fn write(&self, change: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>) -> Result<(), Error> {
        self.with(|db| {
            let txn = db.begin_write()?;
            change(&txn)?;
            Ok(txn.commit()?)
        })
    }

    pub(super) fn view(&self) -> Result<View, Error> {
        let txn = self.with(|db| Ok(db.begin_read()?))?;
        Ok(View { txn, path: self.path.clone() })
    }
}

impl View {
    /// The keys after `last` and their states, about 1 MiB of them, and whether that is all there is.
    pub(super) fn after(&self, last: Option<&Bytes>) -> Result<(Vec<(Bytes, Bytes)>, bool), Error> {
        let read = || -> Result<(Vec<(Bytes, Bytes)>, bool), redb::Error> {
            let table = self.txn.open_table(DECISIONS)?;
            let start = last.map_or(std::ops::Bound::Unbounded, |last| std::ops::Bound::Excluded(&last[..]));
            let (mut out, mut bytes) = (Vec::new(), 0);
            for entry in table.range::<&[u8]>((start, std::ops::Bound::Unbounded))? {
                let (key, state) = entry?;
                let (key, state) = (Bytes::copy_from_slice(key.value()), Bytes::copy_from_slice(state.value()));
                bytes += key.len() + state.len();
                out.push((key, state));
                if bytes >= CHUNK_BYTES {
                    return Ok((out, false));
                }
            }
            Ok((out, true))
        };
        read().map_err(refused(&self.path))
    }
}
