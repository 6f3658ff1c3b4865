//! The extended protocol: statements that are prepared, portals that are bound to values, and rows a few at a time.
//!
//! A query is planned and begun when its portal is described or executed, whichever comes first; between the two it waits. A portal
//! whose client does not come back keeps its place among the queries that run for a minute at most.

use std::collections::HashMap;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    array,
    command::{self, Command},
    error::Wrong,
    message::Column,
    parameter::{Values, meant},
    running::Running,
    session::{Failed, Session},
    value::{Kind, columns},
};
use crate::sql::{Described, MAX_SQL_BYTES, arrays};

/// The most prepared statements, and the most portals, of a session.
const MAX_STATEMENTS: usize = 1_000;
const MAX_PORTALS: usize = 64;

/// The most bytes of all statements of a session.
const MAX_STATEMENT_BYTES: usize = 4 << 20;

/// A statement that is prepared.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    command: Command,
    /// The numbers of the types that its client gave to its parameters.
    types: Vec<u32>,
    described: Option<Described>,
}

impl Statement {
    fn size(&self) -> usize {
        self.command.sql().map_or(0, str::len)
    }
}

/// A statement with values.
pub(super) struct Portal {
    pub(super) command: Command,
    pub(super) values: Option<Values>,
    pub(super) results: Vec<i16>,
    /// The types of its columns, where its client was told.
    pub(super) promised: Option<Vec<Kind>>,
    /// Its rows, once it has begun.
    pub(super) running: Option<Running>,
    /// Its columns, if it is a cursor.
    pub(super) cursor: Option<Vec<Column>>,
}

impl Portal {
    /// One without values, whose rows are text.
    pub(super) fn plain(command: Command) -> Self {
        Self { command, values: None, results: Vec::new(), promised: None, running: None, cursor: None }
    }

    /// What it is called when it is done.
    pub(super) fn tag(&self) -> String {
        format!("SELECT {}", self.running.as_ref().map_or(0, |running| running.sent))
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Session<S> {
    pub(super) fn parse(&mut self, name: String, sql: &str, types: Vec<u32>) -> Result<(), Failed> {
        let mut commands = command::commands(sql)?;
        let (Some(command), true) = (commands.pop(), commands.is_empty()) else {
            return Err(Wrong::new("42601", "cannot insert multiple commands into a prepared statement").into());
        };
        if !name.is_empty() && self.statements.contains_key(&name) {
            return Err(Wrong::new("42P05", format!("prepared statement \"{name}\" already exists")).into());
        }
        if command.sql().is_some_and(|sql| sql.len() > MAX_SQL_BYTES) {
            return Err(Wrong::new("54000", format!("a statement may be {MAX_SQL_BYTES} bytes long")).into());
        }
        let kept: usize = self.statements.values().map(Statement::size).sum();
        if kept + sql.len() > MAX_STATEMENT_BYTES {
            let what = format!("the prepared statements of a session may have {MAX_STATEMENT_BYTES} bytes; close some");
            return Err(Wrong::new("54000", what).into());
        }
        if self.statements.len() >= MAX_STATEMENTS && !self.statements.contains_key(&name) {
            let what = format!("a session may have {MAX_STATEMENTS} prepared statements; close some");
            return Err(Wrong::new("54000", what).into());
        }
        self.statements.insert(name, Statement { command, types, described: None });
        self.told.bare(b'1');
        Ok(())
    }

    pub(super) fn bind(
        &mut self,
        name: String,
        statement: &str,
        formats: Vec<i16>,
        values: Vec<Option<Bytes>>,
        results: Vec<i16>,
    ) -> Result<(), Failed> {
        let Statement { command, types, described } = self.statement(statement)?.clone();
        if formats.iter().chain(&results).any(|format| !matches!(format, 0 | 1)) {
            return Err(Wrong::new("08P01", "a format is neither text nor binary").into());
        }
        if self.portals.len() >= MAX_PORTALS && !self.portals.contains_key(&name) {
            return Err(Wrong::new("54000", format!("a session may have {MAX_PORTALS} portals; close some")).into());
        }
        let kinds =
            |described: &Described| described.schema.fields().iter().map(|field| Kind::of(field.data_type())).collect();
        let promised = described.as_ref().map(kinds);
        let values = Some(Values { types, formats, values });
        self.portals.insert(name, Portal { command, values, results, promised, running: None, cursor: None });
        self.told.bare(b'2');
        Ok(())
    }

    pub(super) async fn describe_statement(&mut self, name: &str) -> Result<(), Failed> {
        let Statement { command, types, described } = self.statement(name)?.clone();
        if !matches!(command, Command::Query(_)) {
            // Those of a cursor's query, as far as they were said.
            self.told.parameters(if matches!(command, Command::Declare { .. }) { &types } else { &[] });
            return self.describe_own(&command, &[]);
        }
        self.allowed()?;
        let described = match described {
            Some(described) => described,
            None => {
                let question = self.question(&command, types.iter().map(|oid| meant(*oid)).collect(), Vec::new());
                let (caller, engine) = (self.caller()?, self.entry.engine.clone());
                self.until(engine.describe(&caller, question)).await??
            }
        };
        let lists = if let Command::Query(sql) = &command { arrays::parameters(sql) } else { HashMap::new() };
        let own = described.parameters.iter().enumerate().map(|(at, kind)| match types.get(at) {
            Some(oid) if *oid != 0 => *oid,
            _ => match lists.get(&(at + 1)) {
                Some(said) => array::of(*said, kind.as_ref()),
                None => kind.as_ref().map_or(Kind::Text, Kind::of).oid(),
            },
        });
        self.told.parameters(&own.collect::<Vec<_>>());
        self.told.columns(&columns(&described.schema), &[]);
        if let Some(statement) = self.statements.get_mut(name) {
            statement.described = Some(described);
        }
        Ok(())
    }

    pub(super) async fn describe_portal(&mut self, name: &str) -> Result<(), Failed> {
        let mut portal = self.portals.remove(name).ok_or_else(|| no_portal(name))?;
        if let Some(columns) = &portal.cursor {
            self.told.columns(columns, &portal.results);
        } else if matches!(portal.command, Command::Query(_)) {
            self.allowed()?;
            self.start(&mut portal).await?;
            if let Some(running) = &portal.running {
                self.told.columns(&running.columns, &portal.results);
            }
        } else {
            self.describe_own(&portal.command, &portal.results)?;
        }
        self.portals.insert(name.to_owned(), portal);
        Ok(())
    }

    fn describe_own(&mut self, command: &Command, formats: &[i16]) -> Result<(), Failed> {
        match self.own_columns(command, formats)? {
            Some((columns, formats)) => self.told.columns(&columns, &formats),
            None => self.told.bare(b'n'),
        }
        Ok(())
    }

    pub(super) async fn execute(&mut self, name: &str, most: u32) -> Result<(), Failed> {
        let mut portal = self.portals.remove(name).ok_or_else(|| no_portal(name))?;
        match &portal.command {
            Command::Query(_) => {}
            Command::Declare { name, sql, binary } => {
                return self.declare(name, sql, *binary, portal.values.take()).await;
            }
            Command::Fetch { name, rows } => return self.fetch(name, *rows, &portal.results).await,
            own => return self.own(own),
        }
        self.allowed()?;
        self.start(&mut portal).await?;
        let ended = match portal.running.as_mut() {
            Some(running) => self.send(running, most).await?,
            None => true,
        };
        if ended {
            self.told.complete(&portal.tag());
        } else {
            self.told.bare(b's');
        }
        self.portals.insert(name.to_owned(), portal);
        Ok(())
    }

    fn statement(&self, name: &str) -> Result<&Statement, Wrong> {
        let found = self.statements.get(name);
        found.ok_or_else(|| Wrong::new("26000", format!("prepared statement \"{name}\" does not exist")))
    }
}

fn no_portal(name: &str) -> Wrong {
    Wrong::new("34000", format!("portal \"{name}\" does not exist"))
}
