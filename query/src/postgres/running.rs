//! A query that runs for a session: begun, sent a few rows at a time, and given up when it is cancelled or the client is gone.

use std::{io, sync::Arc};

use arrow::datatypes::DataType;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    cancel::Ending,
    command::Command,
    error::Wrong,
    extended::Portal,
    message::Column,
    parameter::{Values, meant},
    session::{Failed, Session},
    value::{self, Block, Kind, columns},
};
use crate::sql::{Head, Question, Reading, Rows};

/// A query whose rows are on their way.
pub(super) struct Running {
    pub(super) columns: Vec<Column>,
    /// How many rows were sent.
    pub(super) sent: u64,
    rows: Rows<Block>,
    /// What of its rows is there, and how many of those were sent.
    block: Block,
    next: usize,
    ended: bool,
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Session<S> {
    /// A question to the engine, as this session asks it.
    pub(super) fn question(
        &self,
        command: &Command,
        parameters: Vec<Option<DataType>>,
        lists: Vec<Option<Vec<String>>>,
    ) -> Question {
        let sql = match command {
            // What is done for it is done where it is begun.
            Command::Query(sql) => Ending::of(sql).map_or_else(|| sql.clone(), |ending| ending.like()),
            _ => String::new(),
        };
        let reading = Reading {
            user: Arc::clone(&self.user),
            pid: self.cancel.pid,
            settings: Arc::clone(self.settings.all()),
            zone: self.settings.zone(),
            parameters,
            lists,
        };
        Question::plain(sql).read(Arc::new(reading)).within(self.settings.within()).rollups(self.settings.rollups())
    }

    /// The same with the values that came for its parameters, if any did.
    pub(super) fn asked(&self, command: &Command, mut values: Option<Values>) -> Result<Question, Failed> {
        let lists = match (&mut values, command) {
            (Some(values), Command::Query(sql)) => values.lists(sql)?,
            _ => Vec::new(),
        };
        let types = values.iter().flat_map(|values| &values.types).map(|oid| meant(*oid)).collect();
        let question = self.question(command, types, lists);
        Ok(match values {
            Some(values) => question.with(move |known, zone| values.scalars(known, zone)),
            None => question,
        })
    }

    /// Begins a portal's query, if that has not been done.
    pub(super) async fn start(&mut self, portal: &mut Portal) -> Result<(), Failed> {
        if portal.running.is_some() {
            return Ok(());
        }
        let (caller, engine, zone) = (self.caller()?, self.entry.engine.clone(), self.settings.zone());
        if let Command::Query(sql) = &portal.command
            && let Some(answer) = self.cancel.ended(sql, portal.values.as_ref())
        {
            (portal.command, portal.values) = (Command::Query(answer), None);
        }
        let question = self.asked(&portal.command, portal.values.take())?;
        let (formats, promised) = (portal.results.clone(), portal.promised.clone());
        let writer = move |head: &Head| {
            let kinds: Vec<Kind> = head.schema.fields().iter().map(|field| Kind::of(field.data_type())).collect();
            let changed = promised.is_some_and(|promised| promised != kinds);
            if changed {
                let why = "with these values the columns have other types than were described; cast them";
                return Err(crate::sql::QueryError::Refused(why.into()));
            }
            Ok(value::Rows { kinds, formats, zone })
        };
        let (head, rows) = self.until(engine.ask(&caller, question, writer)).await??;
        let columns = columns(&head.schema);
        portal.running = Some(Running { columns, sent: 0, rows, block: Block::default(), next: 0, ended: false });
        Ok(())
    }

    /// Sends rows, `most` at most, or all if that is 0; whether these were the last.
    pub(super) async fn send(&mut self, running: &mut Running, most: u32) -> Result<bool, Failed> {
        let mut left = if most == 0 { usize::MAX } else { most as usize };
        loop {
            // Rows of a piece may have waited for long.
            running.rows.stand()?;
            let Running { block, next, .. } = running;
            let rows = left.min(block.ends.len() - *next);
            let start = next.checked_sub(1).and_then(|last| block.ends.get(last)).copied().unwrap_or(0);
            *next += rows;
            let end = next.checked_sub(1).and_then(|last| block.ends.get(last)).copied().unwrap_or(0);
            self.told.0.extend_from_slice(block.bytes.get(start..end).unwrap_or(&[]));
            running.sent += rows as u64;
            left -= rows;
            self.spill().await?;
            if running.ended || left == 0 {
                return Ok(running.ended && running.next == running.block.ends.len());
            }
            match self.until(running.rows.next()).await?? {
                Some(block) => (running.block, running.next) = (block, 0),
                None => running.ended = true,
            }
        }
    }

    /// Waits, unless the query is cancelled or there is nobody to tell.
    pub(super) async fn until<T>(&self, what: impl Future<Output = T>) -> Result<T, Failed> {
        tokio::select! {
            biased;
            () = self.cancelled.cancelled() => {
                Err(Wrong::new("57014", "canceling statement due to user request").into())
            }
            () = self.left.cancelled() => Err(Failed::Lost(io::ErrorKind::BrokenPipe.into())),
            done = what => Ok(done),
        }
    }
}
