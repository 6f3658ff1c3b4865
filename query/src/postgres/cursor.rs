//! Cursors: portals that a statement makes, takes rows of and closes, as psycopg's named ones and ODBC do.
//!
//! A cursor is a query of which rows are taken a few at a time while it runs; nothing of it is kept but the piece that was begun. It is planned
//! when it is declared, so that what is wrong with it is said then, and begins with the first `FETCH`, whose format all its rows have. It goes
//! forward only and ends with its transaction. Like any portal it may wait a minute to be asked for more.

use std::num::NonZeroU32;

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    command::Command,
    error::Wrong,
    extended::Portal,
    message::{Column, Transaction, format},
    parameter::Values,
    session::{Failed, Session},
    value::{Kind, columns},
};

/// The most cursors of a session: one less than the queries that a token alone may run at once, so that it can ask beside them.
const MAX_CURSORS: usize = 3;

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Session<S> {
    /// Makes a cursor.
    pub(super) async fn declare(
        &mut self,
        name: &str,
        sql: &str,
        is_binary: bool,
        values: Option<Values>,
    ) -> Result<(), Failed> {
        self.allowed()?;
        if self.transaction == Transaction::None {
            return Err(Wrong::new("25P01", "DECLARE CURSOR can only be used in transaction blocks").into());
        }
        if self.portals.contains_key(name) {
            return Err(Wrong::new("42P03", format!("cursor \"{name}\" already exists")).into());
        }
        if self.portals.values().filter(|portal| portal.cursor.is_some()).count() >= MAX_CURSORS {
            return Err(Wrong::new("54000", format!("a session may have {MAX_CURSORS} cursors; close some")).into());
        }
        let command = Command::Query(sql.to_owned());
        let question = self.asked(&command, values.clone())?;
        let (caller, engine) = (self.caller()?, self.entry.engine.clone());
        let described = self.until(engine.describe(&caller, question)).await??;
        let kinds = described.schema.fields().iter().map(|field| Kind::of(field.data_type())).collect();
        let portal = Portal {
            command,
            values,
            results: vec![i16::from(is_binary)],
            promised: Some(kinds),
            running: None,
            cursor: Some(columns(&described.schema)),
        };
        self.portals.insert(name.to_owned(), portal);
        self.told.complete("DECLARE CURSOR");
        Ok(())
    }

    /// The columns of a cursor, and the formats of its rows where a statement does not say.
    pub(super) fn cursor(&self, name: &str) -> Result<(&[Column], &[i16]), Wrong> {
        self.allowed()?;
        let portal = self.portals.get(name).ok_or_else(|| no_cursor(name))?;
        let columns = portal.cursor.as_deref().ok_or_else(|| no_cursor(name))?;
        Ok((columns, &portal.results))
    }

    /// Sends rows of a cursor, in these formats where any are said.
    pub(super) async fn fetch(&mut self, name: &str, rows: Option<NonZeroU32>, formats: &[i16]) -> Result<(), Failed> {
        let (columns, own) = self.cursor(name)?;
        let formats = if formats.is_empty() { own } else { formats };
        let same = (0..columns.len()).all(|at| format(formats, at) == format(own, at));
        let formats = formats.to_vec();
        let mut portal = self.portals.remove(name).ok_or_else(|| no_cursor(name))?;
        if portal.running.is_none() {
            portal.results = formats;
            self.start(&mut portal).await?;
        } else if !same {
            let what = "the rows of a cursor are all in text or all in binary, as the first that were fetched";
            return Err(Wrong::new("0A000", what).into());
        }
        if let Some(running) = portal.running.as_mut() {
            let before = running.sent;
            self.send(running, rows.map_or(0, NonZeroU32::get)).await?;
            self.told.complete(&format!("FETCH {}", running.sent - before));
        }
        self.portals.insert(name.to_owned(), portal);
        Ok(())
    }

    /// Closes a cursor, or all.
    pub(super) fn close(&mut self, name: Option<&str>) -> Result<(), Wrong> {
        match name {
            None => self.portals.retain(|_, portal| portal.cursor.is_none()),
            Some(name) => drop(self.portals.remove(name).ok_or_else(|| no_cursor(name))?),
        }
        Ok(())
    }
}

fn no_cursor(name: &str) -> Wrong {
    Wrong::new("34000", format!("cursor \"{name}\" does not exist"))
}
