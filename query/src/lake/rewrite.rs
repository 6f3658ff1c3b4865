//! Commits after which a table has the same rows in other files, or more is known of its files.
//!
//! Each carries a transaction of its own, so of two that meet one is told that it came too late.

use std::sync::Arc;

use super::{
    ATTEMPTS, DataFile, Encoded, Head, Lake, Table, Version,
    delta::{Change, Written},
    rolled,
    store::Place,
};
use crate::{error::Error, table::TableDef};

/// What became of a rewrite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replaced {
    /// It is so.
    Done,
    /// Another rewrite came first.
    Overtaken,
}

impl Lake {
    /// Replaces files by one commit; both have to hold the same rows. Nothing happens and the new files go if another rewrite
    /// has removed one of the old ones in the meantime.
    pub(crate) async fn replace(
        &self,
        def: &'static TableDef,
        old: &[Arc<DataFile>],
        encoded: Vec<Encoded>,
    ) -> Result<Replaced, Error> {
        let table = self.table(def)?;
        let added = table.put(&self.place, encoded).await?;
        table.replace(&self.place, old, &added).await
    }

    /// Makes the rollups of files that are worth keeping, and says by one commit which those are.
    pub(crate) async fn roll(&self, def: &'static TableDef, files: &[Arc<DataFile>]) -> Result<Replaced, Error> {
        let mut known = Vec::with_capacity(files.len());
        for file in files {
            let rows = self.read(def, std::slice::from_ref(file)).await?;
            let made = rolled::make(&self.place, def, &file.below, rows).await?;
            known.push(Written { size: file.size, day: file.day.clone(), ..made });
        }
        self.table(def)?.tell(&known).await
    }
}

impl Table {
    async fn replace(&self, place: &Place, old: &[Arc<DataFile>], added: &[Written]) -> Result<Replaced, Error> {
        let named = |file: &Arc<DataFile>| {
            let (path, day) = (file.below.clone(), file.day.clone());
            Written { path, size: file.size, day, stats: String::new(), rollups: None }
        };
        let removed: Vec<_> = old.iter().map(named).collect();
        let became = self.commit(Change::Rewritten { added, removed: &removed }, |now| {
            let has = |file: &Written| now.files.iter().any(|known| known.below == file.path);
            let gone = !removed.iter().all(has);
            if added.iter().any(has) { Some(Replaced::Done) } else { gone.then_some(Replaced::Overtaken) }
        });
        let became = became.await?;
        if became == Replaced::Overtaken {
            self.discard(place, added).await;
        }
        Ok(became)
    }

    /// Says which rollups files have. Those of files that are gone stay until it is tidied: queries may read them.
    async fn tell(&self, files: &[Written]) -> Result<Replaced, Error> {
        let became = self.commit(Change::Rewritten { added: files, removed: &[] }, |now| {
            let known = |file: &Written| now.files.iter().find(|known| known.below == file.path);
            let gone = files.iter().any(|file| known(file).is_none());
            let told = files.iter().all(|file| known(file).is_some_and(|known| known.rollups.is_some()));
            if gone { Some(Replaced::Overtaken) } else { told.then_some(Replaced::Done) }
        });
        became.await
    }

    /// Commits a change on the newest version, until a version says what became of it.
    pub(super) async fn commit<T>(
        &self,
        change: Change<'_>,
        became: impl Fn(&Version) -> Option<T>,
    ) -> Result<T, Error> {
        let mut head = self.head.lock().await;
        let mut last = None;
        for _ in 0..ATTEMPTS {
            if let Some(became) = became(&self.newest()) {
                return Ok(became);
            }
            match self.log.commit(&head.snapshot, change).await {
                Ok(snapshot) => {
                    let (positions, last) = match change {
                        Change::Shelved { positions, last, .. } => (positions.to_vec(), last.to_vec()),
                        Change::Rewritten { .. } => (head.positions.clone(), head.last.clone()),
                    };
                    *head = Head { snapshot, positions, last };
                    self.publish(&head)?;
                }
                Err(error) => {
                    last = Some(error);
                    self.reload(&mut head).await?;
                }
            }
        }
        Err(last.unwrap_or(Error::Shape))
    }
}
