//! The gateway as a role: an acceptor, workers with a runtime each, and a drain in a stated order.
//!
//! Each worker is one thread with a runtime, clients and a journal buffer of its own; the acceptor deals connections to them
//! in turn. Going down: the open checks of other proxies may be settled, if there are any; no new connections; open calls may end
//! until `server.drain`; what is left is cut and settled; what is buffered is written; the journal is synced.

use std::{net::SocketAddr, sync::Arc, thread, time::Duration};

use journal::{Journal, Road};
use schemas::{
    config::{Cors, Provider, Server},
    error_code::ErrorCode,
    map::Map,
    time::now,
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    runtime::{Builder, Runtime},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    cache::Cache,
    connection,
    drainer::{self, Drainer},
    emit::Emitter,
    http,
    identity::Identity,
    limits::Limits,
    lookup::Ledger,
    makers::Makers,
    metrics::Meters,
    obey::View,
    proxy::{Checks, Earlier},
    recover,
    refusals::Refusals,
    report::Reporter,
    settlement::End,
    sweep::{self, Flights},
    upstream::{BadProvider, Source, Surroundings, Upstream, World},
    worker::{ByteBudget, CachedView, Shared, Worker},
};

/// Connections that may wait to be accepted: more than any burst that was seen.
const BACKLOG: u32 = 4_096;
/// How long the acceptor rests when the system has no descriptor left.
const REST: Duration = Duration::from_millis(50);
/// How long cut calls may take to settle.
const SETTLING: Duration = Duration::from_secs(2);

/// What a gateway needs.
pub struct GatewayDeps {
    /// Its name, as the `gateway` column shows it.
    pub name: String,
    /// Where it listens.
    pub listen: SocketAddr,
    /// What its connections are served with, if with TLS.
    pub tls: Option<listen::Tls>,
    /// Whose tokens clients may call with, beside keys.
    pub identity: Arc<Identity>,
    /// Threads; one for each core that it may use.
    pub workers: usize,
    /// What it takes from clients.
    pub server: Server,
    /// Who may call from a browser.
    pub cors: Cors,
    /// Where calls go.
    pub providers: Vec<Provider>,
    /// Where the credentials of those that have none in the configuration are looked for.
    pub surroundings: Surroundings,
    /// Its journal.
    pub journal: Arc<Journal>,
    /// The log that attempts are looked up in which are amended; without one none is.
    pub road: Option<Arc<dyn Road>>,
    /// How many lanes the log has.
    pub lanes: u16,
    /// Its limits, over the same journal.
    pub limits: Arc<Limits>,
    /// The policy.
    pub view: Arc<View>,
    /// Where it writes the low watermark of each full report, in microseconds.
    pub low_watermark: Arc<std::sync::atomic::AtomicI64>,
}

/// Why a gateway cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The address is taken or not ours: another process has it, or the configuration is wrong.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A provider cannot be used as configured.
    #[error(transparent)]
    Provider(#[from] BadProvider),
    /// The journal refused. See its own words.
    #[error("the journal: {0}")]
    Journal(#[from] journal::Error),
    /// The system gave no thread or no event loop.
    #[error("a worker cannot start: {0}")]
    Worker(std::io::Error),
}

impl GatewayError {
    /// The code that users see, where it has one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Listen { .. } => Some(ErrorCode::CannotListen),
            Self::Provider(_) => Some(ErrorCode::BadConfigValue),
            Self::Journal(error) => Some(error.code()),
            Self::Worker(_) => None,
        }
    }
}

/// What was left when the gateway had drained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Attempts that had to be cut.
    pub cut: usize,
}

/// A gateway that listens and does not serve yet.
pub struct Gateway {
    deps: GatewayDeps,
    acceptor: Runtime,
    listener: TcpListener,
    /// The source of each provider's credential.
    sources: Vec<Arc<Source>>,
    /// How attempts of earlier processes ended.
    earlier: Earlier,
}

impl Gateway {
    /// Recovers the journal, opens its lanes and starts to listen.
    pub fn new(deps: GatewayDeps) -> Result<Self, GatewayError> {
        let earlier = recover::go_on(&deps.journal, deps.lanes, &deps.name)?;
        let acceptor = Builder::new_current_thread().enable_all().build().map_err(GatewayError::Worker)?;
        let guard = acceptor.enter();
        let world = World::new(&deps.surroundings).map_err(|why| GatewayError::Worker(std::io::Error::other(why)))?;
        let (world, mut sources) = (Arc::new(world), Vec::with_capacity(deps.providers.len()));
        for provider in &deps.providers {
            let source = Source::new(provider, &world).map_err(|why| BadProvider::new(provider, why))?;
            let source = Arc::new(source);
            sources.push(Arc::clone(&source));
            // Mistakes show here and not in a worker.
            Upstream::new(Arc::new(provider.clone()), source, None)?;
        }
        let address = deps.listen;
        let listener = listen(address).map_err(|source| GatewayError::Listen { address, source })?;
        drop(guard);
        Ok(Self { deps, acceptor, listener, sources, earlier })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap_or(self.deps.listen)
    }

    /// Serves until `shutdown`, then drains. Blocks; needs a thread of its own and no runtime.
    pub fn run(self, shutdown: &CancellationToken) -> Result<Drained, GatewayError> {
        let Self { deps, acceptor, listener, sources, earlier } = self;
        let count = deps.workers.max(1);
        let shared = Arc::new(shared(&deps, earlier));
        // Credentials are renewed beside whoever accepts connections: both do little, and neither waits for the other.
        sources
            .iter()
            .filter(|source| source.is_renewed())
            .for_each(|source| drop(acceptor.spawn(Arc::clone(source).run())));
        let providers: Vec<Ours> = deps
            .providers
            .iter()
            .zip(sources)
            .map(|(provider, source)| Ours {
                provider: Arc::new(provider.clone()),
                source,
                slots: Arc::new(Semaphore::new(provider.max_connections)),
            })
            .collect();
        let flights: Vec<Arc<Flights>> = (0..count).map(|_| Arc::new(Flights::new())).collect();
        let refusals: Vec<Arc<Refusals>> = (0..count).map(|_| Arc::default()).collect();
        let closing = CancellationToken::new();
        let mut reporter =
            Some(Reporter::new(Arc::clone(&shared), flights.clone(), refusals.clone(), deps.low_watermark));
        let mut senders = Vec::with_capacity(count);
        let mut threads = Vec::with_capacity(count);
        for (index, (flights, refusals)) in flights.iter().zip(&refusals).enumerate() {
            let (sender, sockets) = mpsc::unbounded_channel();
            senders.push(sender);
            let desk = Desk {
                shared: Arc::clone(&shared),
                providers: providers.clone(),
                flights: Arc::clone(flights),
                refusals: Arc::clone(refusals),
                sockets,
                shutdown: closing.clone(),
                reporter: reporter.take(),
            };
            let thread = thread::Builder::new().name(format!("gateway-{index}")).spawn(move || desk.run());
            threads.push(thread.map_err(GatewayError::Worker)?);
        }
        acceptor.block_on(async {
            let close = async {
                shutdown.cancelled().await;
                last_settlements(&shared).await;
                closing.cancel();
            };
            tokio::join!(accept(listener, &senders, &shared, &closing), close);
        });
        drop(senders);
        let mut drained = Drained::default();
        for thread in threads {
            if let Ok(cut) = thread.join().unwrap_or(Ok(0)).map_err(GatewayError::Worker) {
                drained.cut += cut;
            }
        }
        deps.journal.sync()?;
        Ok(drained)
    }
}

fn shared(deps: &GatewayDeps, earlier: Earlier) -> Shared {
    Shared {
        gateway: deps.name.as_str().into(),
        lanes: deps.lanes,
        server: deps.server,
        cors: deps.cors.clone(),
        limits: Arc::clone(&deps.limits),
        view: Arc::clone(&deps.view),
        journal: Arc::clone(&deps.journal),
        body_bytes: ByteBudget::new(deps.server.max_body_in_flight),
        cache: Arc::new(Cache::new(deps.server.cache)),
        drain_slots: Arc::new(Semaphore::new(drainer::MOST)),
        connection_slots: Arc::new(Semaphore::new(deps.server.max_connections)),
        connections: 0.into(),
        tls: deps.tls.clone(),
        identity: Arc::clone(&deps.identity),
        checks: Checks::default(),
        ledger: Ledger::new(deps.road.clone()),
        earlier,
        makers: Makers::default(),
        since: now(),
    }
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Lets the checks that are open be settled while there is a door to do it at; what is not by then stays held as unknown.
async fn last_settlements(shared: &Shared) {
    shared.checks.refuse();
    let deadline = Instant::now() + shared.server.drain / 2;
    while shared.checks.are_open() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A connection on its way to a worker, with its place among those that may be open.
type Dealt = (std::net::TcpStream, OwnedSemaphorePermit);

/// Takes connections as long as there is room for them, and deals them to the workers in turn.
async fn accept(
    listener: TcpListener,
    workers: &[mpsc::UnboundedSender<Dealt>],
    shared: &Shared,
    shutdown: &CancellationToken,
) {
    for worker in workers.iter().cycle() {
        let next = async {
            let slot = Arc::clone(&shared.connection_slots).acquire_owned().await.ok()?;
            let socket = listener.accept().await.and_then(|(socket, _)| socket.into_std());
            Some((socket, slot))
        };
        let (socket, slot) = tokio::select! {
            () = shutdown.cancelled() => return,
            Some(next) = next => next,
            else => return,
        };
        match socket {
            Ok(socket) => drop(worker.send((socket, slot))),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

/// What all workers share of a provider.
#[derive(Clone)]
struct Ours {
    provider: Arc<Provider>,
    source: Arc<Source>,
    slots: Arc<Semaphore>,
}

/// What a worker's thread starts with.
struct Desk {
    shared: Arc<Shared>,
    providers: Vec<Ours>,
    flights: Arc<Flights>,
    refusals: Arc<Refusals>,
    sockets: mpsc::UnboundedReceiver<Dealt>,
    shutdown: CancellationToken,
    reporter: Option<Reporter>,
}

impl Desk {
    /// Serves and drains; says how many attempts were cut.
    fn run(self) -> std::io::Result<usize> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (worker, cut) = runtime.block_on(async {
            let Self { shared, providers, flights, refusals, mut sockets, shutdown, reporter } = self;
            let worker = Arc::new(worker(&shared, &providers, flights, refusals));
            tokio::spawn(Arc::clone(&worker.emitter).run());
            tokio::spawn(sweeps(Arc::clone(&worker)));
            let reports = reporter.map(|reporter| tokio::spawn(reporter.run(Arc::clone(&worker))));
            let stack = http::stack(&worker);
            let serving = connection::Serving::new(stack, &shared, shutdown.clone());
            loop {
                tokio::select! {
                    dealt = sockets.recv() => match dealt {
                        Some((socket, slot)) => serve(&serving, socket, slot),
                        None => break,
                    },
                    () = shutdown.cancelled() => break,
                }
            }
            drop(sockets);
            let cut = drain(&worker, &serving).await;
            if let Some(reports) = reports {
                reports.abort();
            }
            (worker, cut)
        });
        // What still hangs on a connection is dropped with the runtime, and settles by that.
        drop(runtime);
        let mut flushed = Ok(true);
        while let Ok(true) = flushed {
            flushed = worker.emitter.flush();
        }
        if let Err(error) = flushed {
            tracing::error!(%error, "the last events of this worker could not be written; the next start will find their calls open");
        }
        Ok(cut)
    }
}

fn serve(serving: &connection::Serving, socket: std::net::TcpStream, slot: OwnedSemaphorePermit) {
    match TcpStream::from_std(socket) {
        Ok(socket) => serving.spawn(socket, slot),
        Err(error) => tracing::warn!(%error, "a connection could not be taken over"),
    }
}

fn worker(shared: &Arc<Shared>, providers: &[Ours], flights: Arc<Flights>, refusals: Arc<Refusals>) -> Worker {
    let upstreams: Map<String, Arc<Upstream>> = providers
        .iter()
        .filter_map(|Ours { provider, source, slots }| {
            let upstream = Upstream::new(Arc::clone(provider), Arc::clone(source), Some(Arc::clone(slots)));
            upstream.ok().map(|upstream| (provider.name.clone(), Arc::new(upstream)))
        })
        .collect();
    let closing = Arc::clone(&flights);
    let emitter = Emitter::new(Arc::clone(&shared.limits), Box::new(move |closed| closing.close(closed)));
    Worker {
        shared: Arc::clone(shared),
        emitter,
        flights,
        refusals,
        upstreams,
        drainer: Drainer::new(
            Arc::clone(&shared.drain_slots),
            tokio::runtime::Handle::current(),
            shared.server.read_on,
        ),
        meters: Meters::default(),
        view: CachedView::default(),
    }
}

async fn sweeps(worker: Arc<Worker>) {
    let mut ticks = tokio::time::interval(sweep::EVERY);
    loop {
        ticks.tick().await;
        worker.flights.sweep();
        for mut attempt in worker.shared.checks.expired(std::time::Instant::now()) {
            drop(attempt.settle(End::TimedOut, None));
        }
    }
}

/// Lets open calls end, then ends them; says how many had to be.
async fn drain(worker: &Arc<Worker>, serving: &connection::Serving) -> usize {
    // Nobody can settle them any more.
    let checks = worker.shared.checks.close(worker);
    let closed = checks.len();
    checks.into_iter().for_each(|mut attempt| drop(attempt.settle(End::Cut, None)));
    let deadline = Instant::now() + worker.shared.server.drain;
    let is_idle = || serving.open() == 0 && worker.flights.count() == 0;
    while !is_idle() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let cut = worker.flights.count();
    worker.flights.cut();
    let deadline = Instant::now() + SETTLING;
    while worker.flights.count() > 0 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for refused in worker.refusals.take() {
        let lane = worker.lane(&refused.subject.tenant);
        drop(worker.write(lane, &schemas::event::Event::Refused(Box::new(refused)), None));
    }
    cut + closed
}
