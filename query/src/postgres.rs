//! Questions over the protocol of Postgres, for everything that connects to one: psql, drivers, BI tools.
//!
//! A connection comes in → [`startup`]: TLS, where the listener has it, then a password, which is an access token, in clear, since of
//! tokens only a hash is known here → a [`session`] takes [`message`]s: settings, transactions and cursors it does itself ([`command`],
//! [`setting`], [`cursor`]), everything else is a question to the engine like any other, read as Postgres would where that differs
//! (`crate::sql::reading`) → rows go out as they are made ([`value`]).
//!
//! Bounded: connections, the bytes of a message (few before the password), statements, portals and cursors of a session, how long a client
//! may take to log in and to read. A client that goes away, or asks by another connection to cancel, ends its query.

use std::{sync::Arc, time::Duration};

use listen::{Bounds, HEAD_TIMEOUT, Tls};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::{entry::Entry, run::Readiness};

mod array;
mod cancel;
mod command;
mod cursor;
mod error;
mod extended;
pub mod message;
mod parameter;
mod running;
mod session;
mod setting;
mod startup;
mod value;

#[cfg(test)]
mod tests;

pub use array::understood;
use cancel::Cancels;

/// What the listener takes on. Sessions are not drained: one that waits for nothing ends at once.
const BOUNDS: Bounds = Bounds { connections: 256, drain: Duration::from_secs(30) };

/// Serves until `shutdown`, then lets queries end.
pub(crate) async fn serve(listener: TcpListener, tls: Option<Tls>, entry: Arc<Entry>, shutdown: &CancellationToken) {
    let cancels = Arc::new(Cancels::default());
    listen::connections(listener, BOUNDS, shutdown, |stream| {
        let (tls, entry, cancels) = (tls.clone(), Arc::clone(&entry), Arc::clone(&cancels));
        let shutdown = shutdown.clone();
        async move {
            if let Err(error) = connection(stream, tls, entry, cancels, shutdown).await {
                // Clients leave in the middle of things all the time.
                tracing::debug!(%error, "a connection ended early");
            }
        }
    })
    .await;
}

/// Tells whoever comes, until `shutdown`, that there is nothing to answer with yet.
pub(crate) async fn closed(
    listener: TcpListener,
    tls: Option<Tls>,
    bounds: Bounds,
    readiness: Readiness,
    shutdown: &CancellationToken,
) {
    listen::connections(listener, bounds, shutdown, |stream| {
        let (tls, no) = (tls.clone(), readiness.closed());
        async move {
            let cancels = Cancels::default();
            let told = startup::begin(stream, tls, Err(no), &cancels);
            if let Ok(Err(error)) = tokio::time::timeout(HEAD_TIMEOUT, told).await {
                tracing::debug!(%error, "a connection ended early");
            }
        }
    })
    .await;
}

async fn connection(
    stream: TcpStream,
    tls: Option<Tls>,
    entry: Arc<Entry>,
    cancels: Arc<Cancels>,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let begun = tokio::select! {
        begun = tokio::time::timeout(HEAD_TIMEOUT, startup::begin(stream, tls, Ok(&entry), &cancels)) => begun??,
        () = shutdown.cancelled() => None,
    };
    match begun {
        Some(startup::Begun::Plain(stream, begin)) => session::run(stream, begin, entry, cancels, shutdown).await,
        Some(startup::Begun::Tls(stream, begin)) => session::run(*stream, begin, entry, cancels, shutdown).await,
        None => Ok(()),
    }
}
