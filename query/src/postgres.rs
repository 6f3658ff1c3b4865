//! Questions over the protocol of Postgres, for everything that connects to one: psql, drivers, BI tools.
//!
//! A connection comes in → [`startup`]: TLS, where the listener has it, then a password, which is an access token, in clear, since of
//! tokens only a hash is known here → a [`session`] takes [`message`]s: settings, transactions and cursors it does itself ([`command`],
//! [`setting`], [`cursor`]), everything else is a question to the engine like any other, read as Postgres would where that differs
//! (`crate::sql::reading`) → rows go out as they are made ([`value`]).
//!
//! Bounded: sessions, of each token and of all ([`cancel`]), who is told so; connections that are none yet, of which the oldest gives way;
//! the bytes of a message (few before the password), statements, portals and cursors of a session, how long a client may take to log in and
//! to read. A client that goes away, or asks by another connection to cancel, ends its query.

use std::{sync::Arc, time::Duration};

use listen::{Bounds, HEAD_TIMEOUT, Place, Tls};
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
use cancel::{Cancels, SESSIONS};

/// Connections that are no session (yet): they log in, or ask to cancel.
const OPENING: usize = 128;

/// What the listener takes on. Sessions are not drained: one that waits for nothing ends at once.
const BOUNDS: Bounds = Bounds { connections: SESSIONS + OPENING, drain: Duration::from_secs(30) };

/// Serves until `shutdown`, then lets queries end.
pub(crate) async fn serve(listener: TcpListener, tls: Option<Tls>, entry: Arc<Entry>, shutdown: &CancellationToken) {
    within(BOUNDS, listener, tls, entry, shutdown).await;
}

async fn within(
    bounds: Bounds,
    listener: TcpListener,
    tls: Option<Tls>,
    entry: Arc<Entry>,
    shutdown: &CancellationToken,
) {
    let cancels = Arc::new(Cancels::default());
    listen::connections(listener, bounds, shutdown, |stream, place| {
        let (tls, entry, cancels) = (tls.clone(), Arc::clone(&entry), Arc::clone(&cancels));
        let shutdown = shutdown.clone();
        async move {
            if let Err(error) = connection(stream, place, tls, entry, cancels, shutdown).await {
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
    listen::connections(listener, bounds, shutdown, |stream, place| {
        let (tls, no) = (tls.clone(), readiness.closed());
        async move {
            let cancels = Arc::default();
            let told = startup::begin(stream, tls, Err(no), &cancels);
            tokio::select! {
                told = tokio::time::timeout(HEAD_TIMEOUT, told) => {
                    if let Ok(Err(error)) = told {
                        tracing::debug!(%error, "a connection ended early");
                    }
                }
                () = place.ending().cancelled() => {}
            }
        }
    })
    .await;
}

async fn connection(
    stream: TcpStream,
    place: Place,
    tls: Option<Tls>,
    entry: Arc<Entry>,
    cancels: Arc<Cancels>,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let begun = tokio::select! {
        begun = tokio::time::timeout(HEAD_TIMEOUT, startup::begin(stream, tls, Ok(&entry), &cancels)) => begun??,
        () = place.ending().cancelled() => None,
    };
    // A session gives its place to nobody, however long it is idle.
    let _work = place.work();
    match begun {
        Some(startup::Begun::Plain(stream, begin)) => session::run(stream, begin, entry, shutdown).await,
        Some(startup::Begun::Tls(stream, begin)) => session::run(*stream, begin, entry, shutdown).await,
        None => Ok(()),
    }
}
