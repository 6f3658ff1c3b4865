//! A session: one client, its settings, its prepared statements, and one thing at a time.
//!
//! Messages are read ahead by a task of their own, a few at most, so that a client that goes away in the middle of a query is noticed.
//! After an error in the extended protocol everything is passed over up to the next `Sync`, as clients expect.

use std::{collections::HashMap, io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader, ReadHalf, WriteHalf},
    sync::mpsc,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    cancel::Cancel,
    command::{self, Command},
    error::Wrong,
    extended::{Portal, Statement},
    message::{self, Column, MAX_MESSAGE, Malformed, Said, Told, TooLong, Transaction},
    setting::Settings,
    startup::Begin,
};
use crate::{entry::Entry, sql::Caller};

/// Messages that are read ahead.
const AHEAD: usize = 4;

/// How long a client may take to read what it is sent.
const PATIENCE: Duration = Duration::from_secs(60);

/// The most bytes of a message that is too long which are passed over, so that its client reads why it is not taken.
const MAX_PASSED: u64 = 64 << 20;

/// How much is kept before it is sent.
const FULL: usize = 64 << 10;

/// Why what a client asked for was not done to its end.
pub(super) enum Failed {
    /// It is told.
    Wrong(Wrong),
    /// There is nobody to tell.
    Lost(io::Error),
}

impl<W: Into<Wrong>> From<W> for Failed {
    fn from(wrong: W) -> Self {
        Self::Wrong(wrong.into())
    }
}

/// Columns, and the formats of their values.
type Shown = (Vec<Column>, Vec<i16>);

/// A session.
pub(super) struct Session<S> {
    pub(super) entry: Arc<Entry>,
    token: String,
    pub(super) user: Arc<str>,
    pub(super) settings: Settings,
    pub(super) told: Told,
    to: WriteHalf<S>,
    pub(super) transaction: Transaction,
    pub(super) statements: HashMap<String, Statement>,
    pub(super) portals: HashMap<String, Portal>,
    pub(super) cancel: Cancel,
    /// Ends what is done now.
    pub(super) cancelled: CancellationToken,
    /// The client is gone.
    pub(super) left: CancellationToken,
}

/// Runs a session until its client leaves, or until `shutdown`.
pub(super) async fn run<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    stream: S,
    begin: Begin,
    entry: Arc<Entry>,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let (from, to) = tokio::io::split(stream);
    let left = CancellationToken::new();
    let (sender, mut said) = mpsc::channel(AHEAD);
    // Ends the reader with the session.
    let (_ends, ending) = guard();
    tokio::spawn(read(from, sender, left.clone(), ending));
    let Begin { token, user, settings, cancel } = begin;
    let mut session = Session {
        entry,
        token,
        user,
        settings,
        told: Told::default(),
        to,
        transaction: Transaction::None,
        statements: HashMap::new(),
        portals: HashMap::new(),
        cancelled: cancel.renew(),
        cancel,
        left,
    };
    session.greet().await?;
    let mut skipping = false;
    loop {
        let message = tokio::select! {
            biased;
            message = said.recv() => message,
            () = shutdown.cancelled() => {
                Wrong::fatal("57P01", "terminating connection: the server is going down").tell(&mut session.told);
                return session.flush().await;
            }
        };
        let message = match message.transpose() {
            Ok(message) => message,
            Err(wrong) => return session.fail(Failed::Wrong(wrong)).await,
        };
        match message {
            None | Some(Said::Terminate) => return Ok(()),
            Some(Said::Sync) => {
                skipping = false;
                session.sync().await?;
            }
            Some(_) if skipping => {}
            Some(message) => {
                let simple = matches!(message, Said::Query(_));
                if let Err(failed) = session.take(message).await {
                    session.fail(failed).await?;
                    skipping = !simple;
                    // Of what is passed over nothing is answered, `Flush` neither, and some clients read before they say `Sync`.
                    if skipping {
                        session.flush().await?;
                    }
                }
                if simple {
                    session.ready().await?;
                }
            }
        }
    }
}

fn guard() -> (DropGuard, CancellationToken) {
    let token = CancellationToken::new();
    (token.clone().drop_guard(), token)
}

/// Reads messages until there are no more, or one that is none; what follows that is passed over until the session has said so.
async fn read<S: AsyncRead>(
    from: ReadHalf<S>,
    said: mpsc::Sender<Result<Said, Wrong>>,
    left: CancellationToken,
    ending: CancellationToken,
) {
    let mut from = BufReader::new(from);
    let reading = async {
        loop {
            match message::read(&mut from, MAX_MESSAGE).await {
                Ok(message) => {
                    if said.send(Ok(message)).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "a client left, or sent what is no message");
                    if let Some((wrong, bytes)) = told_of(&error)
                        && passed(&mut from, bytes).await
                        && said.send(Err(wrong)).await.is_ok()
                    {
                        passed(&mut from, u64::MAX).await;
                    }
                    return left.cancel();
                }
            }
        }
    };
    ending.run_until_cancelled(reading).await;
}

/// What is told of a message that is none, and how much of it was not read.
fn told_of(error: &io::Error) -> Option<(Wrong, u64)> {
    let inner = error.get_ref()?;
    if let Some(long) = inner.downcast_ref::<TooLong>() {
        let rest = u64::try_from(long.length).unwrap_or(u64::MAX).saturating_sub(4);
        return Some((Wrong::fatal("54000", long.to_string()), rest.min(MAX_PASSED)));
    }
    inner.downcast_ref::<Malformed>().map(|wrong| (Wrong::fatal("08P01", wrong.to_string()), 0))
}

/// Passes over bytes; whether the client still sends.
async fn passed(from: &mut (impl AsyncRead + Unpin), bytes: u64) -> bool {
    tokio::io::copy(&mut from.take(bytes), &mut tokio::io::sink()).await.is_ok()
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Session<S> {
    async fn greet(&mut self) -> io::Result<()> {
        self.told.authentication(0);
        for (name, value) in self.settings.told() {
            self.told.setting(name, value);
        }
        self.told.key(self.cancel.pid, self.cancel.secret);
        self.ready().await
    }

    /// Says that the next thing may be asked for.
    async fn ready(&mut self) -> io::Result<()> {
        self.told.ready(self.transaction);
        self.flush().await
    }

    /// The end of a series of messages, and with it of what was open outside of a transaction.
    async fn sync(&mut self) -> io::Result<()> {
        if self.transaction == Transaction::None {
            self.portals.clear();
        }
        self.ready().await
    }

    /// Tells what went wrong.
    async fn fail(&mut self, failed: Failed) -> io::Result<()> {
        let wrong = match failed {
            Failed::Wrong(wrong) => wrong,
            Failed::Lost(error) => return Err(error),
        };
        self.portals.clear();
        if self.transaction == Transaction::Open {
            self.transaction = Transaction::Failed;
        }
        wrong.tell(&mut self.told);
        if wrong.fatal {
            self.flush().await?;
            return Err(io::Error::other(wrong.message));
        }
        Ok(())
    }

    async fn take(&mut self, message: Said) -> Result<(), Failed> {
        match message {
            Said::Query(sql) => {
                self.cancelled = self.cancel.renew();
                for command in command::commands(&sql)? {
                    self.simple(command).await?;
                }
                Ok(())
            }
            Said::Parse { statement, sql, types } => self.parse(statement, &sql, types),
            Said::Bind { portal, statement, formats, values, results } => {
                self.bind(portal, &statement, formats, values, results)
            }
            Said::DescribeStatement(name) => {
                self.cancelled = self.cancel.renew();
                self.describe_statement(&name).await
            }
            Said::DescribePortal(name) => {
                self.cancelled = self.cancel.renew();
                self.describe_portal(&name).await
            }
            Said::Execute { portal, most } => {
                self.cancelled = self.cancel.renew();
                self.execute(&portal, most).await
            }
            Said::CloseStatement(name) => {
                self.statements.remove(&name);
                self.told.bare(b'3');
                Ok(())
            }
            Said::ClosePortal(name) => {
                self.portals.remove(&name);
                self.told.bare(b'3');
                Ok(())
            }
            Said::Flush => self.flush().await.map_err(Failed::Lost),
            Said::Password(_) | Said::Other(_) | Said::Sync | Said::Terminate => {
                Err(Wrong::fatal("08P01", "a message of the protocol that has no place here").into())
            }
        }
    }

    /// One statement of a simple query.
    async fn simple(&mut self, command: Command) -> Result<(), Failed> {
        let Command::Query(_) = &command else {
            if let Some((columns, formats)) = self.own_columns(&command, &[])? {
                self.told.columns(&columns, &formats);
            }
            return match &command {
                Command::Declare { name, sql, binary } => self.declare(name, sql, *binary, None).await,
                Command::Fetch { name, rows } => self.fetch(name, *rows, &[]).await,
                own => self.own(own),
            };
        };
        let mut portal = Portal::plain(command);
        self.allowed()?;
        self.start(&mut portal).await?;
        if let Some(running) = portal.running.as_mut() {
            self.told.columns(&running.columns, &[]);
            self.send(running, 0).await?;
        }
        self.told.complete(&portal.tag());
        Ok(())
    }

    /// Whether a query may be made now.
    pub(super) fn allowed(&self) -> Result<(), Wrong> {
        match self.transaction {
            Transaction::Failed => Err(Wrong::new(
                "25P02",
                "current transaction is aborted, commands ignored until end of transaction block",
            )),
            Transaction::None | Transaction::Open => Ok(()),
        }
    }

    /// Who asks, now.
    pub(super) fn caller(&self) -> Result<Caller, Wrong> {
        Ok(self.entry.caller(Some(&self.token))?)
    }

    /// The columns of what the session answers itself, and the formats of those, where these are asked for.
    pub(super) fn own_columns(&self, command: &Command, formats: &[i16]) -> Result<Option<Shown>, Wrong> {
        let text = |name: &str| Column { name: name.to_owned(), oid: 25, length: -1, modifier: -1 };
        Ok(match command {
            Command::Show(name) if name == "all" => Some((vec![text("name"), text("setting")], Vec::new())),
            Command::Show(name) => Some((vec![text(self.settings.get(name)?.0)], Vec::new())),
            Command::Fetch { name, .. } => {
                let (columns, own) = self.cursor(name)?;
                let formats = if formats.is_empty() { own } else { formats };
                Some((columns.to_vec(), formats.to_vec()))
            }
            _ => None,
        })
    }

    /// Does what is the session's own.
    pub(super) fn own(&mut self, command: &Command) -> Result<(), Failed> {
        if !matches!(command, Command::End { .. } | Command::Back | Command::Empty) {
            self.allowed()?;
        }
        let tag = match command {
            // Of the latter there is nothing here.
            Command::Empty | Command::Query(_) | Command::Declare { .. } | Command::Fetch { .. } => {
                self.told.bare(b'I');
                return Ok(());
            }
            Command::Begin => {
                self.transaction = Transaction::Open;
                "BEGIN"
            }
            Command::End { commit } => {
                self.portals.clear();
                let failed = self.transaction == Transaction::Failed;
                self.transaction = Transaction::None;
                if *commit && !failed { "COMMIT" } else { "ROLLBACK" }
            }
            Command::Back => {
                if self.transaction == Transaction::Failed {
                    self.transaction = Transaction::Open;
                }
                "ROLLBACK"
            }
            Command::Nothing(tag) => *tag,
            Command::Set(name, value) => {
                if let Some((name, value)) = self.settings.set(name, value.as_deref())? {
                    self.told.setting(name, &value);
                }
                if value.is_some() { "SET" } else { "RESET" }
            }
            Command::ResetAll => {
                self.reset();
                "RESET"
            }
            Command::Show(name) => {
                self.show(name)?;
                "SHOW"
            }
            Command::Close(name) => {
                self.close(name.as_deref())?;
                "CLOSE CURSOR"
            }
            Command::Deallocate(name) => {
                match name {
                    Some(name) => drop(self.statements.remove(name)),
                    None => self.statements.clear(),
                }
                "DEALLOCATE"
            }
            Command::Discard => {
                self.reset();
                self.statements.clear();
                self.portals.clear();
                "DISCARD ALL"
            }
        };
        self.told.complete(tag);
        Ok(())
    }

    fn reset(&mut self) {
        self.settings = Settings::new(&self.user);
        for (name, value) in self.settings.told() {
            self.told.setting(name, value);
        }
    }

    fn show(&mut self, name: &str) -> Result<(), Wrong> {
        let rows: Vec<Vec<String>> = if name == "all" {
            self.settings.all().iter().map(|(name, value)| vec![(*name).to_owned(), value.clone()]).collect()
        } else {
            vec![vec![self.settings.get(name)?.1.to_owned()]]
        };
        for row in rows {
            let written = self.told.row(row.len(), |column, body| {
                body.extend_from_slice(row.get(column).map_or(&b""[..], |text| text.as_bytes()));
                Ok::<_, std::convert::Infallible>(true)
            });
            let Ok(()) = written;
        }
        Ok(())
    }

    /// Sends what was told, if it is much.
    pub(super) async fn spill(&mut self) -> Result<(), Failed> {
        if self.told.0.len() < FULL {
            return Ok(());
        }
        self.flush().await.map_err(Failed::Lost)
    }

    /// Sends what was told.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        let told = self.told.0.split();
        let sending = async {
            self.to.write_all(&told).await?;
            self.to.flush().await
        };
        tokio::select! {
            sent = tokio::time::timeout(PATIENCE, sending) => sent?,
            () = self.left.cancelled() => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}
