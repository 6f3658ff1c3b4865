//! The roles of this process: made in one place, stopped in a stated order.
//!
//! Going down: the gateway takes no new calls and lets open ones end; its leases go back; metering and the outbox go on until
//! everything that was written is confirmed, or the deadline passes; then metering, and last the lake, which commits what is
//! not in the tables yet.

#[cfg(feature = "query")]
use std::net::TcpListener;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use gateway::{
    Gateway, GatewayDeps,
    identity::Identity,
    limits::{Limits, SUCCEEDED},
    obey::{Obey, View},
};
use journal::{Disk, Gap, Journal, Road};
use metering::Metering;
use schemas::{
    config::{Config, Listener, Log},
    error_code::ErrorCode,
};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{admin::Office, failure::Failure, jwks, load::Loaded, ops::Check, publish::publish, tls, up::Role};

/// How long calls wait at the start for log and lake to be opened; where the lake is not reached they do not wait for it.
#[cfg(feature = "query")]
const OPENING: Duration = Duration::from_secs(10);

/// How long a gateway that has shipped everything waits for metering's word.
const CONFIRMING: Duration = Duration::from_secs(2);

/// A role ended although nobody asked it to.
pub(crate) struct Ended {
    /// Which.
    pub(crate) role: &'static str,
    /// Why.
    pub(crate) why: Failure,
}

/// What stayed behind when all roles had stopped.
#[derive(Default)]
pub(crate) struct Left {
    /// Events in the journal that the log could not be given, and the directory that keeps them.
    pub(crate) unshipped: Option<(u64, String)>,
    /// Attempts that had to be cut.
    pub(crate) cut: usize,
}

/// The roles of this process.
pub(crate) struct Roles {
    door: Option<Door>,
    metering: Option<Loop>,
    office: Option<Office>,
    rooms: Option<Rooms>,
    drain: Duration,
    /// Closes when it is dropped, so it stays until the last role has stopped.
    road: Arc<dyn Road>,
    /// What has to be true before the process is ready.
    pub(crate) checks: Vec<Check>,
}

/// The gateway and what follows metering's word for it.
struct Door {
    limits: Arc<Limits>,
    journal: Arc<Journal>,
    close: CancellationToken,
    gateway: JoinHandle<usize>,
    obey: Loop,
    identity: Arc<Identity>,
    /// Whoever fetches the keys of token issuers goes with it.
    _jwks: DropGuard,
}

/// A thread that runs until its flag is set.
struct Loop {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// The lake and the query service.
struct Rooms {
    close: CancellationToken,
    thread: JoinHandle<()>,
}

/// Publishes the policy if metering is among the roles, and makes sure of the journal and its room if the gateway is. Nothing runs
/// yet, so that this can be tried again while the log is away or the disk is full.
pub(crate) fn prepare(road: &dyn Road, loaded: &Loaded, roles: &[Role]) -> Result<(), Failure> {
    if roles.contains(&Role::Metering) {
        publish(road, loaded.config.policy(loaded.book.hash()), &loaded.book)?;
    }
    if roles.contains(&Role::Gateway) {
        road.journal()?.make_room()?;
    }
    Ok(())
}

/// Opens the log that the configuration names.
pub(crate) fn open_road(config: &Config) -> Result<Arc<dyn Road>, Failure> {
    match &config.log {
        Log::Disk { dir, .. } => Ok(Disk::open(dir, &journal::Options::default())?),
        #[cfg(feature = "kafka")]
        Log::Kafka(kafka) => {
            let (brokers, prefix) = (kafka.brokers.clone(), kafka.prefix.clone());
            let options = journal::kafka::Options::new(brokers, prefix, kafka.lanes, kafka.outbox.clone());
            Ok(journal::kafka::Kafka::open(options)?)
        }
        #[cfg(not(feature = "kafka"))]
        Log::Kafka(_) => Err("this build has no Kafka: build it with the feature `kafka`".into()),
    }
}

impl Roles {
    /// Starts the roles on their road, those that others depend on first.
    pub(crate) fn start(
        loaded: &Loaded,
        roles: &[Role],
        road: Arc<dyn Road>,
        ended: &mpsc::UnboundedSender<Ended>,
    ) -> Result<Self, Failure> {
        let drain = loaded.config.server.drain;
        let mut started = Self {
            door: None,
            metering: None,
            office: None,
            rooms: None,
            drain,
            road: Arc::clone(&road),
            checks: Vec::new(),
        };
        if roles.contains(&Role::Metering) {
            started.metering = Some(started_metering(&road, ended, &mut started.checks)?);
            started.office = Office::open(&loaded.config, &road)?;
        }
        if roles.contains(&Role::Lake) || roles.contains(&Role::Query) {
            started.rooms = rooms(&loaded.config, &road, roles, ended, &mut started.checks)?;
        }
        if roles.contains(&Role::Gateway) {
            let alone = roles.len() == 1;
            started.door = Some(door(&loaded.config, &road, alone, ended, &mut started.checks)?);
        }
        Ok(started)
    }

    /// Puts the policy of another configuration in force, where metering runs; says whether anything of it was new.
    pub(crate) fn publish(&self, loaded: &Loaded, started: &Config) -> Result<Option<bool>, Failure> {
        let policy = || loaded.config.policy_after(started, loaded.book.hash());
        self.metering.as_ref().map(|_| publish(&*self.road, policy(), &loaded.book)).transpose()
    }

    /// Puts other admins in the place of those of this process; says whether any is another.
    pub(crate) fn admit(&self, config: &Config) -> bool {
        self.office.as_ref().is_some_and(|office| office.admins.replace(config))
    }

    /// Puts other issuers of tokens in the place of those of this process's gateway; says whether any is another.
    pub(crate) fn trust(&self, config: &Config) -> bool {
        self.door.as_ref().is_some_and(|door| door.identity.replace(&config.issuers))
    }

    /// Stops all roles in order.
    pub(crate) fn stop(self) -> Left {
        let mut left = Left { unshipped: None, cut: 0 };
        let deadline = Instant::now() + self.drain.max(Duration::from_secs(5));
        if let Some(office) = self.office {
            office.close();
        }
        if let Some(door) = self.door {
            door.close.cancel();
            left.cut = door.gateway.join().unwrap_or(0);
            if let Err(error) = door.limits.leave(schemas::time::now()) {
                tracing::warn!(%error, "leases could not be returned; the next start does it");
            }
            wait_confirmed(&door.journal, deadline);
            door.obey.stop();
            let dir = || door.journal.dir().display().to_string();
            // What metering has confirmed was shipped, even if the outbox has not heard of it yet.
            let unconfirmed = door.journal.unconfirmed();
            left.unshipped = (unconfirmed > 0 && !door.journal.is_shipped()).then(|| (unconfirmed, dir()));
        }
        if let Some(metering) = self.metering {
            metering.stop();
        }
        if let Some(rooms) = self.rooms {
            rooms.close.cancel();
            // A panic was reported when it happened.
            let _ = rooms.thread.join();
        }
        left
    }
}

/// Waits until the log has everything, and then a while for metering, which may be going down as well, to confirm it. What it
/// does not confirm now is sent once more by the next start.
fn wait_confirmed(journal: &Journal, deadline: Instant) {
    if journal.sync().is_err() {
        return;
    }
    let mut last = deadline;
    while journal.unconfirmed() > 0 && Instant::now() < last {
        if last == deadline && journal.is_shipped() {
            last = deadline.min(Instant::now() + CONFIRMING);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

impl Loop {
    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        // A panic was reported when it happened.
        let _ = self.thread.join();
    }
}

/// Starts a thread; if it ends with an error the process is told.
fn spawn<T: Default + Send + 'static>(
    role: &'static str,
    ended: &mpsc::UnboundedSender<Ended>,
    run: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let ended = ended.clone();
    thread::Builder::new().name(role.to_owned()).spawn(move || match run() {
        Ok(done) => done,
        Err(why) => {
            // Nobody listens any more while the process goes down; then the reason is in the log.
            tracing::error!(role, %why, "a role ended");
            let _ = ended.send(Ended { role, why });
            T::default()
        }
    })
}

fn started_metering(
    road: &Arc<dyn Road>,
    ended: &mpsc::UnboundedSender<Ended>,
    checks: &mut Vec<Check>,
) -> Result<Loop, Failure> {
    let metering = Metering::new(Arc::clone(road));
    let (stop, ready) = (Arc::new(AtomicBool::new(false)), metering.ready());
    checks.push(Box::new(move || {
        let reason = "metering has not read the policy and its lanes yet, or waits for room in its log";
        if ready.load(Ordering::Relaxed) { Vec::new() } else { vec![reason.to_owned()] }
    }));
    let flag = Arc::clone(&stop);
    let thread = spawn("metering", ended, move || Ok(metering.run(&flag)?))?;
    Ok(Loop { stop, thread })
}

fn door(
    config: &Config,
    road: &Arc<dyn Road>,
    alone: bool,
    ended: &mpsc::UnboundedSender<Ended>,
    checks: &mut Vec<Check>,
) -> Result<Door, Failure> {
    let journal = road.journal()?;
    let limits = Limits::new(Arc::clone(&journal), road.lanes());
    let view = Arc::new(View::default());
    let obey = Obey::new(&**road, Arc::clone(&limits), Arc::clone(&view))?;
    let (ready, kept) = (obey.ready(), Arc::clone(&journal));
    checks.push(Box::new(move || {
        if !ready.load(Ordering::Relaxed) {
            return vec!["the gateway has not read policy and decisions to their ends yet".to_owned()];
        }
        kept.gap().map(|gap| lacking(&kept, gap)).into_iter().collect()
    }));
    let own = Arc::clone(&limits);
    checks.push(Box::new(move || if own.is_succeeded() { vec![SUCCEEDED.to_owned()] } else { Vec::new() }));
    let identity = Arc::new(Identity::new(&config.issuers));
    let jwks = jwks::follow(&identity)?;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let gateway = Gateway::new(GatewayDeps {
        name: format!("{}:{}", host(), config.listen.gateway.port()),
        listen: config.listen.gateway,
        tls: tls::of(config, Listener::Gateway)?,
        identity: Arc::clone(&identity),
        // Beside other roles the gateway leaves them half of the machine.
        workers: if alone { cores } else { cores.div_ceil(2) },
        server: config.server,
        cors: config.cors.clone(),
        providers: config.providers.clone(),
        surroundings: gateway::Surroundings::default(),
        journal: Arc::clone(&journal),
        road: Some(Arc::clone(road)),
        lanes: road.lanes(),
        limits: Arc::clone(&limits),
        view,
        low_watermark: obey.low_watermark(),
    })?;
    let (stop, close) = (Arc::new(AtomicBool::new(false)), CancellationToken::new());
    let (flag, closed) = (Arc::clone(&stop), close.clone());
    let thread = spawn("obey", ended, move || Ok(obey.run(&flag)?))?;
    let gateway = spawn("gateway", ended, move || Ok(gateway.run(&closed)?.cut))?;
    Ok(Door { limits, journal, close, gateway, obey: Loop { stop, thread }, identity, _jwks: jwks })
}

/// Why a gateway whose journal and log do not meet cannot be used.
fn lacking(journal: &Journal, Gap { lane, confirmed, kept }: Gap) -> String {
    format!(
        "{}: in lane {} the journal in {} begins at event {} and the log ends at {}: topics that were made anew, or another cluster",
        ErrorCode::LogReplaced,
        lane.0,
        journal.dir().display(),
        kept.0,
        confirmed.0,
    )
}

#[cfg(feature = "query")]
fn rooms(
    config: &Config,
    road: &Arc<dyn Road>,
    roles: &[Role],
    ended: &mpsc::UnboundedSender<Ended>,
    checks: &mut Vec<Check>,
) -> Result<Option<Rooms>, Failure> {
    let query = query::Query::new(query::Deps {
        road: Arc::clone(road),
        lake_url: config.lake.to_string(),
        writes: roles.contains(&Role::Lake),
        doors: roles.contains(&Role::Query).then(|| doors(config)).transpose()?,
        config: query::config::ShelveConfig { keep: kept(&config.log), ..query::config::ShelveConfig::default() },
    });
    let (readiness, close) = (query.readiness(), CancellationToken::new());
    let closed = close.clone();
    let thread = spawn("query", ended, move || Ok(query.run(&closed)?))?;
    // A log that is older than its lake ends the process before a call spends what was spent already.
    let until = Instant::now() + OPENING;
    while readiness.is_opening() && !thread.is_finished() && Instant::now() < until {
        thread::sleep(Duration::from_millis(5));
    }
    if thread.is_finished() {
        return Err(readiness.why_not().join("; ").into());
    }
    checks.push(Box::new(move || readiness.why_not()));
    Ok(Some(Rooms { close, thread }))
}

/// Where questions are answered.
#[cfg(feature = "query")]
fn doors(config: &Config) -> Result<query::Doors, Failure> {
    let door = |address, listener| {
        let bound = TcpListener::bind(address).map_err(|error| Failure::listen(address, &error))?;
        Ok::<_, Failure>(query::Door { listener: bound, tls: tls::of(config, listener)? })
    };
    let listen = &config.listen;
    Ok(query::Doors {
        http: door(listen.query, Listener::Query)?,
        postgres: listen.postgres.map(|address| door(address, Listener::Postgres)).transpose()?,
        flight: listen.flight.map(|address| door(address, Listener::Flight)).transpose()?,
    })
}

/// How long the log is to keep what the lake has; nothing for as long as it does by itself.
#[cfg(feature = "query")]
fn kept(log: &Log) -> Option<Duration> {
    match log {
        Log::Disk { keep, .. } => *keep,
        Log::Kafka(_) => None,
    }
}

#[cfg(not(feature = "query"))]
fn rooms(
    config: &Config,
    _: &Arc<dyn Road>,
    _: &[Role],
    _: &mpsc::UnboundedSender<Ended>,
    _: &mut Vec<Check>,
) -> Result<Option<Rooms>, Failure> {
    match config.log {
        // There the process always has every role, so it goes on with those that it was built with.
        Log::Disk { .. } => {
            tracing::warn!(
                "this build has no lake and no query service, so nothing is shelved or answered, and the ledger is kept; the feature `query` has both"
            );
            Ok(None)
        }
        Log::Kafka(_) => Err("this build has no lake and no query service: build it with the feature `query`".into()),
    }
}

/// The name of this machine, or what stands for it.
fn host() -> String {
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy();
    if name.is_empty() { "gateway".to_owned() } else { name.into_owned() }
}
