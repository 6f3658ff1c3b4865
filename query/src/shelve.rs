//! Shelving: the ledger, record by record, into the tail and from there into the lake, exactly once.
//!
//! One thread follows the ledger from where the lake ends (the least position of any table). What it reads is in the tail,
//! and so in answers, at once. When enough rows wait, or the oldest has waited long enough, a commit takes what is in the
//! tail into every table, while the thread reads on. The tail drops rows only when a version of the lake has them.
//!
//! If the lake is away the tail grows to its bounds and then nothing more is read: the ledger keeps the rest. Stopping makes
//! a last commit.

use std::{
    cmp::Ordering,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use journal::{Reader, Record, Road};
use schemas::{id::Offset, time, topics::Topic, wire};
use tokio::{runtime::Handle, task};
use tokio_util::sync::CancellationToken;

use crate::{
    compact,
    config::ShelveConfig,
    error::Error,
    lake::{Lake, Version},
    table::{self, Place, Policies},
    tail::{ApplyError, Pin, Placed, Tail},
};

mod origin;

/// How long one look at the ledger waits for records.
const LOOK: Duration = Duration::from_millis(20);

/// How often the log is asked to let go of what is old: a small part of the shortest time that anybody keeps it.
const TRIM: Duration = Duration::from_secs(10);

/// How long to wait after something failed.
const PAUSE: Duration = Duration::from_millis(200);

/// Looks at entries.
pub type Observe = Box<dyn FnMut(&[Placed]) + Send>;

/// What shelving needs.
pub struct Deps {
    /// Where the ledger is.
    pub road: Arc<dyn Road>,
    /// The lake.
    pub lake: Arc<Lake>,
    /// What the policy topic says.
    pub policies: Arc<dyn Policies>,
    /// Is shown every entry once it is in the tail, lane by lane in order.
    pub observe: Observe,
    /// A runtime with several threads, for the lake's store.
    pub runtime: Handle,
    /// Whether this process writes the lake, or only follows what another one writes.
    pub writes: bool,
    /// When to commit and how much to hold.
    pub config: ShelveConfig,
}

/// The running loop.
pub struct Shelver {
    tail: Arc<Tail>,
    status: Arc<Mutex<Status>>,
    stop: CancellationToken,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

/// How shelving is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Why the ledger cannot be read on at the moment; nothing if it can.
    pub ledger: Option<String>,
    /// Why the lake takes nothing at the moment; nothing if it does.
    pub lake: Option<String>,
    /// Whether everything that was in the ledger when shelving started has been read.
    pub caught_up: bool,
    /// The commits made so far, over all tables.
    pub commits: u64,
}

impl Status {
    /// What is wrong at the moment; nothing if all is well.
    pub fn degraded(&self) -> Option<&str> {
        self.lake.as_deref().or(self.ledger.as_deref())
    }
}

impl Shelver {
    /// Starts the loop.
    pub fn start(deps: Deps) -> Result<Self, Error> {
        let tail = Tail::new(deps.lake.pin(), deps.road.lanes(), deps.config.tail);
        let tail = Arc::new(if deps.writes { tail } else { tail.for_queries() });
        let next = tail.high();
        let mut reader = deps.road.reader(Topic::Ledger, &next)?;
        let ends = reader.ends()?;
        if let Some(archive) = tail.pin().table(table::ARCHIVE.name) {
            origin::check(deps.road.as_ref(), &archive.version, &next, &ends)?;
        }
        let status = Arc::new(Mutex::new(Status::default()));
        let stop = CancellationToken::new();
        if let Some(every) = deps.config.compact.filter(|_| deps.writes) {
            deps.runtime.spawn(compact::run(deps.lake.clone(), every, stop.clone()));
        }
        let worker = Worker {
            tail: tail.clone(),
            reader,
            next,
            ends,
            status: status.clone(),
            stop: stop.clone(),
            unread: Vec::new(),
            pending: Vec::new(),
            commit: None,
            waiting_since: None,
            not_before: Instant::now(),
            last_idle: Instant::now(),
            last_refresh: Instant::now(),
            last_trim: Instant::now(),
            deps,
        };
        let thread = thread::Builder::new().name("shelve".into()).spawn(move || worker.run());
        let thread =
            thread.map_err(|source| object_store::Error::Generic { store: "thread", source: Box::new(source) })?;
        Ok(Self { tail, status, stop, thread: Some(thread) })
    }

    /// The tail that it fills.
    pub fn tail(&self) -> Arc<Tail> {
        self.tail.clone()
    }

    /// How it is doing.
    pub fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops it after a last commit. Blocks; an error means that the last commit was not made, which loses nothing: the
    /// ledger still has the rows.
    pub fn stop(mut self) -> Result<(), Error> {
        self.stop.cancel();
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            _ => Ok(()),
        }
    }
}

impl Drop for Shelver {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Worker {
    deps: Deps,
    tail: Arc<Tail>,
    reader: Box<dyn Reader>,
    /// By lane, the offset after the last record that was read.
    next: Vec<Offset>,
    /// Where the ledger ended when shelving started.
    ends: Vec<Offset>,
    status: Arc<Mutex<Status>>,
    stop: CancellationToken,
    /// Polled, but not read.
    unread: Vec<Record>,
    /// Read, but naming a policy that has not been read yet.
    pending: Vec<Placed>,
    /// The commit that runs, or the look for those of others, which gives no number.
    commit: Option<task::JoinHandle<Result<Option<u64>, Error>>>,
    /// When the oldest row that a query sees and no commit has taken came. The archive alone waits until all is committed: what
    /// gateways say every second would else be a commit every half minute.
    waiting_since: Option<Instant>,
    /// After a failure, when the next commit is tried.
    not_before: Instant,
    last_idle: Instant,
    last_refresh: Instant,
    last_trim: Instant,
}

impl Worker {
    fn run(mut self) -> Result<(), Error> {
        while !self.stop.is_cancelled() {
            self.reap(false);
            let advanced = self.advance();
            if advanced.is_err() {
                thread::sleep(PAUSE);
            }
            self.note(|status| &mut status.ledger, advanced.err());
            self.start_commit();
            self.refresh();
            self.trim(TRIM);
        }
        self.reap(true);
        if self.deps.writes {
            let last = shelve(self.deps.lake.clone(), self.tail.clone(), true);
            self.deps.runtime.block_on(last)?;
            self.trim(Duration::ZERO);
        }
        Ok(())
    }

    /// Reads on, or waits where it must not.
    fn advance(&mut self) -> Result<(), Error> {
        if self.pending.is_empty() {
            if self.tail.is_full() {
                thread::sleep(LOOK);
                return Ok(());
            }
            if self.unread.is_empty() {
                self.unread = self.reader.poll(LOOK)?;
            }
            // What cannot be read is not passed over: it is tried again, and said, until it can.
            let mut next = self.next.clone();
            self.pending = self.unread.iter().map(|record| read(record, &mut next)).collect::<Result<_, _>>()?;
            self.next = next;
            self.unread.clear();
        }
        self.take()
    }

    fn take(&mut self) -> Result<(), Error> {
        match self.tail.apply(&self.pending, self.deps.policies.as_ref()) {
            Ok(()) => {
                let taken = mem::take(&mut self.pending);
                if !taken.is_empty() {
                    (self.deps.observe)(&taken);
                }
                if self.tail.has_shown() {
                    self.waiting_since.get_or_insert_with(Instant::now);
                }
                self.check_caught_up();
                Ok(())
            }
            Err(ApplyError::PolicyBehind) => {
                thread::sleep(LOOK);
                Ok(())
            }
            Err(ApplyError::Rows(error)) => Err(error),
        }
    }

    fn check_caught_up(&self) {
        let mut status = self.status();
        if !status.caught_up {
            let high = self.tail.high();
            status.caught_up = self.ends.iter().zip(&high).all(|(end, high)| high >= end);
        }
    }

    fn start_commit(&mut self) {
        if !self.deps.writes || self.commit.is_some() || Instant::now() < self.not_before {
            return;
        }
        let config = &self.deps.config;
        let aged = self.waiting_since.is_some_and(|since| since.elapsed() >= config.commit_age);
        let idle = self.last_idle.elapsed() >= config.idle_commit;
        if aged || idle || self.tail.held().rows >= config.commit_rows || self.tail.is_full() {
            self.waiting_since = None;
            if idle {
                self.last_idle = Instant::now();
            }
            let work = shelve(self.deps.lake.clone(), self.tail.clone(), idle);
            self.commit = Some(self.deps.runtime.spawn(async move { work.await.map(Some) }));
        }
    }

    /// Takes note of a commit that has ended; with `wait`, of the one that runs.
    fn reap(&mut self, wait: bool) {
        let Some(commit) = self.commit.take_if(|commit| wait || commit.is_finished()) else { return };
        let ended = self.deps.runtime.block_on(commit);
        let error = match ended {
            // That the lake can be read says nothing about why it takes nothing.
            Ok(Ok(None)) if self.deps.writes => return,
            Ok(Ok(None)) => None,
            Ok(Ok(Some(commits))) => {
                metrics::counter!("tollgate_lake_commits_total").increment(commits);
                self.status().commits += commits;
                None
            }
            Ok(Err(error)) => Some(error),
            Err(source) => Some(Error::Store(object_store::Error::JoinError { source })),
        };
        if error.is_some() {
            metrics::counter!("tollgate_lake_failures_total").increment(1);
            self.waiting_since = Some(Instant::now());
            self.not_before = Instant::now() + PAUSE;
        }
        self.note(|status| &mut status.lake, error);
    }

    /// Looks for what other processes have committed.
    fn refresh(&mut self) {
        if self.commit.is_some() || self.last_refresh.elapsed() < self.deps.config.refresh {
            return;
        }
        self.last_refresh = Instant::now();
        let (lake, tail) = (self.deps.lake.clone(), self.tail.clone());
        self.commit = Some(self.deps.runtime.spawn(async move {
            for def in table::ALL {
                let version = lake.refresh(def).await?;
                if def.hidden
                    && let Some(known) = tail.pin().table(def.name)
                {
                    known.follows(&version.covered, &version.last)?;
                }
                tail.loaded(def, version);
            }
            Ok(None)
        }));
    }

    /// Has the log let go of what every table has, the archive among them, and is old enough; at most so often.
    fn trim(&mut self, often: Duration) {
        let Some(keep) = self.deps.config.keep.filter(|_| self.deps.writes && self.last_trim.elapsed() >= often) else {
            return;
        };
        self.last_trim = Instant::now();
        let pin = self.tail.pin();
        let covered = |lane| pin.tables().iter().map(move |table| table.version.covered_of(lane));
        // Where the lake is further than was read, it is not known to be of this log.
        let is_known = |lane, high: &Offset| covered(lane).all(|covered| covered <= *high);
        let below = |(lane, high): (usize, &Offset)| covered(lane).min().filter(|_| is_known(lane, high));
        let below: Vec<Offset> = pin.high().iter().enumerate().map(|at| below(at).unwrap_or_default()).collect();
        if let Err(error) = self.deps.road.trim(&below, time::now().earlier(keep)) {
            tracing::warn!(%error, "the ledger could not be trimmed; it is tried again");
        }
    }

    /// Writes down how it went, and tells the log of changes.
    fn note(&self, which: fn(&mut Status) -> &mut Option<String>, error: Option<Error>) {
        let text = error.map(|error| format!("{}: {error}", error.code()));
        let mut status = self.status();
        let known = which(&mut status);
        if *known != text {
            match &text {
                Some(error) => tracing::warn!(error, "shelving is degraded"),
                None => tracing::info!("shelving goes on"),
            }
            *known = text;
        }
    }

    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a record; `next` has, by lane, the offset after the last one.
fn read(record: &Record, next: &mut [Offset]) -> Result<Placed, Error> {
    let Record { lane, offset, body, .. } = record;
    let next = next.get_mut(usize::from(lane.0)).ok_or(Error::Shape)?;
    let follows = mem::replace(next, Offset(offset.0 + 1));
    let unreadable = |error: wire::WireError| Error::Record { lane: *lane, offset: offset.0, why: error.to_string() };
    Placed::read(Place { lane: *lane, offset: *offset }, follows, body.clone()).map_err(unreadable)
}

/// Commits what the tail holds to every table that has rows in it; with `all`, the positions of the others too. Gives how
/// many commits were made. The archive is the first, since it knows which log it is of. Where another writer has put into it what the tail has
/// not read yet, nothing else is committed, for that is not known then; of what was in it when the tail began it is known.
pub(crate) async fn shelve(lake: Arc<Lake>, tail: Arc<Tail>, all: bool) -> Result<u64, Error> {
    let pin: Pin = tail.pin();
    let known: Vec<Offset> = pin.high().iter().zip(tail.archived()).map(|(high, known)| *high.max(known)).collect();
    let mut commits = 0;
    let (archive, others): (Vec<_>, Vec<_>) = pin.tables().iter().partition(|source| source.table.hidden);
    for source in archive.into_iter().chain(others) {
        let mut version = Arc::clone(&source.version);
        if some_lane(&version, Ordering::is_lt, pin.high()) && (all || source.has_tail()) {
            version = lake.shelve(source, pin.high()).await?;
            tail.loaded(source.table, Arc::clone(&version));
            commits += 1;
        }
        if source.table.hidden && some_lane(&version, Ordering::is_gt, &known) {
            break;
        }
    }
    Ok(commits)
}

/// Whether a version ends before, or behind, these offsets in some lane.
fn some_lane(version: &Version, is: fn(Ordering) -> bool, offsets: &[Offset]) -> bool {
    version.covered.iter().zip(offsets).any(|(covered, offset)| is(covered.cmp(offset)))
}

#[cfg(test)]
mod tests;
