//! The role: what it needs, how its loops are wired, in which order they end.
//!
//! Threads: one follows the policy, one the ledger ([`crate::shelve`]), one serves HTTP; each
//! query has threads of its own, and the lake's store a runtime, so that a query delays neither a commit nor an accept.

use std::{
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use journal::{Follower, Reader, Road};
use listen::{Tls, Version};
use schemas::{
    decision::{Key, LaneState, State},
    error_code::ErrorCode,
    id::{Lane, Offset},
    ledger::Fact,
    topics::Topic,
    wire,
};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use crate::{
    config::ShelveConfig,
    cut::Cuts,
    entry::{Entry, NoEntry},
    error::Error,
    flight, http,
    lake::Lake,
    policies::PolicyLog,
    postgres,
    rank::Rank,
    shelve::{self, Shelver},
    sql::{Engine, QueryError},
    watermark::Watermark,
};

mod closed;

/// How long one look at a topic waits.
const LOOK: Duration = Duration::from_millis(100);

/// How long to wait after the log or the lake failed.
const PAUSE: Duration = Duration::from_secs(1);

/// Threads for the lake's store; they mostly wait.
const LAKE_THREADS: usize = 2;

/// What the role needs.
pub struct Deps {
    /// Where the log is.
    pub road: Arc<dyn Road>,
    /// `lake.url`.
    pub lake_url: String,
    /// Whether this process writes the lake (role `lake`).
    pub writes: bool,
    /// Where questions are answered (role `query`).
    pub doors: Option<Doors>,
    /// How the lake is kept.
    pub config: ShelveConfig,
}

/// Where questions are answered.
pub struct Doors {
    /// Over HTTP.
    pub http: Door,
    /// Over the protocol of Postgres, if at all.
    pub postgres: Option<Door>,
    /// Over Arrow Flight SQL, if at all.
    pub flight: Option<Door>,
}

/// One address.
pub struct Door {
    /// It.
    pub listener: TcpListener,
    /// What its connections are served with, if with TLS.
    pub tls: Option<Tls>,
}

/// Why the role ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The lake cannot be used as it is configured, or the last commit was not made.
    #[error(transparent)]
    Lake(#[from] Error),
    /// The log cannot be read.
    #[error("the log cannot be read: {0}")]
    Log(#[from] journal::Error),
    /// The lake has more of the ledger than the log has: what was spent since is not known here, and would be spent again.
    #[error(
        "the log ends at {end} of the ledger, and the lake has it up to {shelved}: it was put back to an older copy, or is another one. \
         Put back the log that belongs to this lake, or give this one a lake of its own (lake.url)"
    )]
    Older {
        /// The first offset that the log does not have.
        end: u64,
        /// The first offset that the lake does not have.
        shelved: u64,
    },
    /// A thread, a socket or a runtime could not be had.
    #[error("the operating system refused: {0}")]
    System(#[from] std::io::Error),
    /// The engine could not be set up.
    #[error("the query engine cannot start: {0}")]
    Engine(#[from] QueryError),
}

impl RunError {
    /// The code that users see, where it has one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Lake(error) => Some(error.code()),
            Self::Log(error) => Some(error.code()),
            Self::Older { .. } => Some(ErrorCode::LogReplaced),
            Self::System(_) | Self::Engine(_) => None,
        }
    }

    /// Whether trying again cannot help.
    fn is_permanent(&self) -> bool {
        match self {
            Self::Lake(error) => {
                matches!(
                    error,
                    Error::Url { .. } | Error::NoConditionalPut | Error::OtherSchema { .. } | Error::OtherLog { .. }
                )
            }
            Self::Log(_) => false,
            Self::Older { .. } | Self::System(_) | Self::Engine(_) => true,
        }
    }
}

/// The roles `lake` and `query`; in one process they share the tail.
pub struct Query {
    deps: Deps,
    readiness: Readiness,
}

/// Why it cannot answer at first.
const OPENING: &str = "the lake has not been opened yet";

/// Whether the role can answer; cheap to clone and to ask.
#[derive(Clone)]
pub struct Readiness {
    why_not: Arc<Mutex<Vec<String>>>,
    /// The code of why log and lake are not open.
    closed: Arc<Mutex<ErrorCode>>,
}

impl Readiness {
    /// Why the role cannot answer now; empty when it can.
    pub fn why_not(&self) -> Vec<String> {
        self.why_not.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether log and lake are still being opened for the first time.
    pub fn is_opening(&self) -> bool {
        self.why_not() == [OPENING]
    }

    /// Before anything is open.
    pub(crate) fn opening() -> Self {
        let why_not = Arc::new(Mutex::new(vec![OPENING.to_owned()]));
        Self { why_not, closed: Arc::new(Mutex::new(ErrorCode::LakeUnreachable)) }
    }

    /// Why nobody is let in while log and lake are not open.
    pub(crate) fn closed(&self) -> NoEntry {
        NoEntry::Closed(*self.closed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn failed(&self, error: &RunError) {
        if let Some(code) = error.code() {
            *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = code;
        }
        self.set(vec![error.code().map_or_else(|| error.to_string(), |code| format!("{code}: {error}"))]);
    }

    fn set(&self, why_not: Vec<String>) {
        *self.why_not.lock().unwrap_or_else(PoisonError::into_inner) = why_not;
    }
}

impl Query {
    /// The role; nothing runs yet.
    pub fn new(deps: Deps) -> Self {
        Self { deps, readiness: Readiness::opening() }
    }

    /// Whether it can answer.
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// Where it listens; nothing without the role `query`.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.deps.doors.as_ref().and_then(|doors| doors.http.listener.local_addr().ok())
    }

    /// Runs until `shutdown`; blocks. Then requests end, and what is not in the lake yet is committed. An error is a
    /// configuration that cannot work, or a last commit that was not made, which loses nothing.
    pub fn run(self, shutdown: &CancellationToken) -> Result<(), RunError> {
        let Self { deps, readiness } = self;
        let mut builder = Builder::new_multi_thread();
        let builder = builder.thread_name("lake").worker_threads(LAKE_THREADS);
        let lakes = builder.on_thread_start(|| Rank::Lake.take()).enable_all().build()?;
        let policies = Arc::new(PolicyLog::default());
        let watermark = Arc::new(Watermark::default());
        let opened = thread::scope(|scope| {
            let stop = shutdown.child_token();
            let _guard = stop.clone().drop_guard();
            if let Some(doors) = &deps.doors {
                closed::tell(scope, doors, &readiness, &stop)?;
            }
            open(&deps, &lakes, &policies, &watermark, &readiness, shutdown)
        });
        let Some(Opened { lake, shelver, policy }) = opened? else { return Ok(()) };

        let keeper = Keeper { policy, policies: policies.clone(), watermark: watermark.clone(), readiness };
        let cuts = Cuts::new(shelver.tail(), lake.store(), watermark, Arc::clone(&policies));
        let cuts = Arc::new(cuts.with_imports(lake.imports()?));
        thread::scope(|scope| {
            // Ends when the scope is left, also by an error.
            let stop = shutdown.child_token();
            let _guard = stop.clone().drop_guard();
            let (watched, ended) = (&shelver, stop.clone());
            scope.spawn(move || keeper.run(watched, &ended));
            match deps.doors {
                Some(doors) => open_doors(doors, cuts, &policies, &stop),
                None => {
                    lakes.block_on(shutdown.cancelled());
                    Ok(())
                }
            }
        })?;
        Ok(shelver.stop()?)
    }
}

/// Answers until `stop`: a thread each, so that none of them delays the others.
fn open_doors(doors: Doors, cuts: Arc<Cuts>, policies: &PolicyLog, stop: &CancellationToken) -> Result<(), RunError> {
    let Doors { http, postgres, flight } = doors;
    let engine = Arc::new(Engine::new(Arc::clone(&cuts))?);
    let entry = Arc::new(Entry { engine, cuts, access: Arc::clone(&policies.access) });
    thread::scope(|scope| {
        let beside = |served: Result<(), RunError>| {
            if served.is_err() {
                stop.cancel();
            }
            served
        };
        let postgres = postgres.map(|door| {
            let entry = Arc::clone(&entry);
            let run = async move |listener, tls| postgres::serve(listener, tls, entry, stop).await;
            scope.spawn(move || beside(serve(door, run)))
        });
        let flight = flight.map(|door| {
            let entry = Arc::clone(&entry);
            let run = async move |listener, tls| flight::serve(listener, tls, entry, stop).await;
            scope.spawn(move || beside(serve(door, run)))
        });
        let router = http::router(entry);
        let run = async |listener, tls| listen::http(Version::Http1, listener, router, tls, http::BOUNDS, stop).await;
        let served = beside(serve(http, run));
        postgres.into_iter().chain(flight).fold(served, |served, other| {
            served.and(other.join().unwrap_or_else(|_| Err(std::io::Error::other("a surface ended in a panic").into())))
        })
    })
}

/// Serves an address on this thread.
fn serve(door: Door, serve: impl AsyncFnOnce(tokio::net::TcpListener, Option<Tls>)) -> Result<(), RunError> {
    let Door { listener, tls } = door;
    listener.set_nonblocking(true)?;
    let serving = Builder::new_current_thread().enable_all().build()?;
    serving.block_on(async {
        serve(tokio::net::TcpListener::from_std(listener)?, tls).await;
        Ok(())
    })
}

pub(crate) struct Opened {
    pub(crate) lake: Arc<Lake>,
    pub(crate) shelver: Shelver,
    policy: Box<dyn Reader>,
}

/// Opens log and lake, again and again where that may help; nothing if the end was asked for before.
fn open(
    deps: &Deps,
    lakes: &Runtime,
    policies: &Arc<PolicyLog>,
    watermark: &Arc<Watermark>,
    readiness: &Readiness,
    shutdown: &CancellationToken,
) -> Result<Option<Opened>, RunError> {
    while !shutdown.is_cancelled() {
        match try_open(deps, lakes, policies, watermark) {
            Ok(opened) => return Ok(Some(opened)),
            Err(error) => {
                readiness.failed(&error);
                if error.is_permanent() {
                    return Err(error);
                }
                tracing::warn!(%error, "the lake or the log cannot be opened; trying again");
                lakes.block_on(async { tokio::time::timeout(PAUSE, shutdown.cancelled()).await.ok() });
            }
        }
    }
    Ok(None)
}

/// Opens log and lake, once.
pub(crate) fn try_open(
    deps: &Deps,
    lakes: &Runtime,
    policies: &Arc<PolicyLog>,
    watermark: &Arc<Watermark>,
) -> Result<Opened, RunError> {
    let lake = lakes.block_on(Lake::open(&deps.lake_url, deps.road.lanes()))?;
    if deps.writes {
        lakes.block_on(lake.begin(&deps.road.kept()?))?;
    }
    let mut policy = deps.road.reader(Topic::Policy, &[Offset(0)])?;
    catch_up(policy.as_mut(), policies)?;
    // Before the ledger's end is looked at: what metering remembered then is in the ledger up to that end.
    watermark.remember(&remembered(deps.road.follower()?.as_mut())?);
    let observed = Arc::clone(watermark);
    let shelver = Shelver::start(shelve::Deps {
        road: Arc::clone(&deps.road),
        lake: Arc::clone(&lake),
        policies: policies.clone(),
        observe: Box::new(move |entries| {
            for placed in entries {
                if let Fact::Heard(heard) = &placed.entry.fact {
                    observed.heard(placed.place.lane, heard);
                }
            }
        }),
        runtime: lakes.handle().clone(),
        writes: deps.writes,
        config: deps.config,
    })
    .map_err(older)?;
    Ok(Opened { lake, shelver, policy })
}

/// What an error is where a log ends before what its lake has of it.
fn older(error: Error) -> RunError {
    match error {
        Error::Log(journal::Error::NotKept { topic: Topic::Ledger, asked, end, .. }) if asked > end => {
            RunError::Older { end, shelved: asked }
        }
        other => RunError::Lake(other),
    }
}

/// Reads the policy as far as it goes, so that the first entries find what they name.
fn catch_up(policy: &mut dyn Reader, policies: &PolicyLog) -> Result<(), RunError> {
    let end = policy.ends()?.first().copied().unwrap_or_default();
    let mut next = Offset(0);
    while next < end {
        next = take(policy, policies, LOOK)?.unwrap_or(next);
    }
    Ok(())
}

/// Applies what comes within `wait`; gives the offset after it.
fn take(policy: &mut dyn Reader, policies: &PolicyLog, wait: Duration) -> Result<Option<Offset>, RunError> {
    let mut next = None;
    for record in policy.poll(wait)? {
        match wire::decode_policy(&record.body) {
            Ok(known) => policies.apply(record.offset, known),
            Err(error) => {
                tracing::error!(offset = record.offset.0, %error, "a policy record cannot be read; it is left out")
            }
        }
        next = Some(Offset(record.offset.0 + 1));
    }
    Ok(next)
}

/// What metering remembers of each lane.
fn remembered(decisions: &mut dyn Follower) -> Result<Vec<(Lane, LaneState)>, RunError> {
    let mut states = Vec::new();
    loop {
        for change in decisions.poll(LOOK)? {
            let Some(body) = change.state else { continue };
            if let Ok(Key::Lane(lane)) = wire::decode_key(&change.key)
                && let Ok(State::Lane(state)) = wire::decode_state(&Key::Lane(lane), &body)
            {
                states.push((lane, state));
            }
        }
        if decisions.caught_up() {
            return Ok(states);
        }
    }
}

/// Follows the policy, and says whether the role can answer.
struct Keeper {
    policy: Box<dyn Reader>,
    policies: Arc<PolicyLog>,
    watermark: Arc<Watermark>,
    readiness: Readiness,
}

impl Keeper {
    fn run(mut self, shelver: &Shelver, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let read = take(self.policy.as_mut(), &self.policies, LOOK);
            let status = shelver.status();
            if status.caught_up {
                self.watermark.restored();
            }
            let failed = read.err().map(|error| error.to_string());
            if failed.is_some() {
                thread::sleep(LOOK);
            }
            let mut why_not: Vec<String> = failed.into_iter().chain(status.degraded().map(str::to_owned)).collect();
            if !self.policies.access.is_known() {
                why_not.push("no policy has been published yet".into());
            }
            if !status.caught_up {
                why_not.push("the ledger is still being read".into());
            }
            self.readiness.set(why_not);
        }
    }
}

#[cfg(test)]
mod tests;
