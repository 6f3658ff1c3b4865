//! What a worker has: its own journal buffer, clients, open attempts and refusals, and what it shares with the others.
//!
//! A call stays with the worker that accepted its connection, so nothing here is contended but by the reports, once a second.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use journal::Journal;
use schemas::{
    config::{Cors, Server},
    event::{Event, Settled},
    id::Lane,
    map::Map,
    time::Time,
};

use crate::{
    authenticate::Register,
    cache::Cache,
    drainer::Drainer,
    emit::{Emitter, Ticket},
    identity::Identity,
    limits::Limits,
    lookup::Ledger,
    makers::Makers,
    metrics::Meters,
    obey::{PolicyView, View},
    proxy::{Checks, Earlier},
    refusals::Refusals,
    sweep::Flights,
    upstream::Upstream,
};

/// What all workers share.
pub(crate) struct Shared {
    pub(crate) gateway: Arc<str>,
    pub(crate) lanes: u16,
    pub(crate) server: Server,
    pub(crate) cors: Cors,
    pub(crate) limits: Arc<Limits>,
    pub(crate) view: Arc<View>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) body_bytes: ByteBudget,
    pub(crate) cache: Arc<Cache>,
    pub(crate) drain_slots: Arc<tokio::sync::Semaphore>,
    pub(crate) connection_slots: Arc<tokio::sync::Semaphore>,
    pub(crate) connections: AtomicUsize,
    pub(crate) tls: Option<listen::Tls>,
    pub(crate) identity: Arc<Identity>,
    /// The checks of other proxies.
    pub(crate) checks: Checks,
    /// What is read of it is read once at a time.
    pub(crate) ledger: Ledger,
    /// How those ended that earlier processes answered.
    pub(crate) earlier: Earlier,
    /// Who made the responses that may be asked for later.
    pub(crate) makers: Makers,
    /// When this process began to listen.
    pub(crate) since: Time,
}

/// One worker.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) emitter: Arc<Emitter>,
    pub(crate) flights: Arc<Flights>,
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) upstreams: Map<String, Arc<Upstream>>,
    pub(crate) drainer: Drainer,
    pub(crate) meters: Meters,
    pub(crate) view: CachedView,
}

impl Worker {
    /// Writes an event of a tenant or lane to this worker's buffer.
    pub(crate) fn write(&self, lane: Lane, event: &Event, closes: Option<u32>) -> Ticket {
        self.emitter.write(lane, event, closes)
    }

    /// Writes the record of an attempt that has ended.
    pub(crate) fn end(&self, lane: Lane, settled: Settled, closes: Option<u32>) -> Ticket {
        self.emitter.end(lane, settled, closes)
    }

    /// Where it is looked up who calls, under a policy.
    pub(crate) fn register<'a>(&'a self, view: &'a PolicyView) -> Register<'a> {
        Register { keys: &view.keys, tenants: &view.tenants, identity: &self.shared.identity }
    }

    /// Whether nothing new can be written down: the last append failed, or what room is left is for calls that are open.
    pub(crate) fn is_full(&self) -> bool {
        self.emitter.failing() || !self.shared.journal.has_room()
    }

    /// Whether what calls do cannot be recorded in time.
    pub(crate) fn is_behind(&self) -> bool {
        self.emitter.behind() || self.shared.journal.behind() > crate::emit::BEHIND
    }

    /// The lane of a tenant.
    pub(crate) fn lane(&self, tenant: &str) -> Lane {
        Lane::of(tenant.as_bytes(), self.shared.lanes)
    }
}

/// The worker's copy of the policy, exchanged when the shared one changed.
#[derive(Default)]
pub(crate) struct CachedView(Mutex<(u64, Option<Arc<PolicyView>>)>);

impl CachedView {
    /// The policy in force; nothing until one was read.
    pub(crate) fn load(&self, view: &View) -> Option<Arc<PolicyView>> {
        let generation = view.generation();
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.0 != generation || cached.1.is_none() {
            *cached = (generation, view.load());
        }
        cached.1.clone()
    }
}

/// The bytes of request bodies that may be in memory at once.
pub(crate) struct ByteBudget {
    used: AtomicU64,
    most: u64,
}

/// A part of the budget; freed when dropped.
pub(crate) struct Taken {
    shared: Arc<Shared>,
    bytes: u64,
}

impl ByteBudget {
    pub(crate) const fn new(most: u64) -> Self {
        Self { used: AtomicU64::new(0), most }
    }
}

impl Taken {
    pub(crate) const fn nothing(shared: Arc<Shared>) -> Self {
        Self { shared, bytes: 0 }
    }

    /// Takes so much more; false if there is not so much left.
    pub(crate) fn grow(&mut self, bytes: u64) -> bool {
        let budget = &self.shared.body_bytes;
        let before = budget.used.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        before.saturating_add(bytes) <= budget.most
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.shared.body_bytes.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
