//! The admin API: keys and limits that are created, changed and listed while the policy is in force.
//!
//! It has no state of its own. Each change is a record of the policy topic, and what becomes of it the fold says that everyone makes
//! of that topic ([`schemas::policy::Fold`]): so two of these at once need no lock, and a configuration file is only another way
//! to say the same. It serves where metering runs, on an address of its own, and only if the configuration gives it one.

use std::{
    net::{SocketAddr, TcpListener},
    sync::{Arc, PoisonError, RwLock},
    thread::JoinHandle,
};

use journal::Road;
use listen::Version;
use schemas::{
    config::{Admin, Config, Issuer, Listener, Warning},
    policy::Digest,
};
use tokio_util::sync::CancellationToken;

use crate::{failure::Failure, tls};

mod desk;
mod http;
mod limits;
mod tenants;

use desk::Desk;

/// What the handlers share.
pub(crate) struct Api {
    desk: Arc<Desk>,
    admins: Arc<Admins>,
}

/// Who may use it, and whose tokens clients may call with beside keys, as the configuration that was read last says.
pub(crate) struct Admins(RwLock<(Vec<Admin>, Vec<Issuer>)>);

impl Admins {
    fn new(config: &Config) -> Self {
        Self(RwLock::new((config.admins.clone(), config.issuers.clone())))
    }

    /// Puts others in their place; says whether any admin is another.
    pub(crate) fn replace(&self, config: &Config) -> bool {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let is_other = known.0 != config.admins;
        *known = (config.admins.clone(), config.issuers.clone());
        is_other
    }

    fn of(&self, token: &str) -> Option<Admin> {
        let digest = Digest::of(token);
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.0.iter().find(|admin| admin.token_sha256 == digest).cloned()
    }

    /// What is to be said of the name of a tenant's key.
    fn warn_of(&self, tenant: &str, key: &str) -> Option<Warning> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.1.iter().find_map(|issuer| issuer.named_as(tenant, key))
    }
}

/// The listener and its thread.
pub(crate) struct Office {
    /// Who may use it.
    pub(crate) admins: Arc<Admins>,
    close: CancellationToken,
    thread: JoinHandle<()>,
}

impl Office {
    /// Serves the address that a configuration names for it, if it names one.
    pub(crate) fn open(config: &Config, road: &Arc<dyn Road>) -> Result<Option<Self>, Failure> {
        let Some(address) = config.listen.admin else { return Ok(None) };
        let listener = listen(address).map_err(|error| Failure::listen(address, &error))?;
        let tls = tls::of(config, Listener::Admin)?;
        let admins = Arc::new(Admins::new(config));
        let api = Api { desk: Arc::new(Desk::new(Arc::clone(road))), admins: Arc::clone(&admins) };
        let router = http::router(Arc::new(api));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let close = CancellationToken::new();
        let ending = close.clone();
        let run = move || {
            runtime.block_on(async move {
                match tokio::net::TcpListener::from_std(listener) {
                    Ok(listener) => listen::http(Version::Http1, listener, router, tls, listen::SMALL, &ending).await,
                    Err(error) => tracing::error!(%error, "the admin API cannot listen"),
                }
            });
        };
        let thread = std::thread::Builder::new().name("admin".into()).spawn(run)?;
        Ok(Some(Self { admins, close, thread }))
    }

    /// Lets requests end.
    pub(crate) fn close(self) {
        self.close.cancel();
        // A panic was reported when it happened.
        let _ = self.thread.join();
    }
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
