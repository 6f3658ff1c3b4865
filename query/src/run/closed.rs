//! What is told at every address until log and lake are open for the first time: by its code why not, and nothing else. What failed has the
//! names of places in it, and who asks is not known before the policy is read. Mostly they are open in a moment, and whoever comes before
//! that just waits.

use std::{io, thread::Scope, time::Duration};

use listen::{Bounds, Tls, Version};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Door, Doors, Readiness, RunError, serve};
use crate::{flight, http, postgres};

/// What a listener takes on. Whoever is still being told when all is open is cut off: questions wait for that.
const BOUNDS: Bounds = Bounds { connections: 64, drain: Duration::from_millis(50) };

/// How long whoever comes waits before he is told.
const PATIENCE: Duration = Duration::from_secs(1);

/// Tells whoever comes, until `stop`: a thread each, as when there is something to answer with.
pub(super) fn tell<'scope>(
    scope: &'scope Scope<'scope, '_>,
    doors: &Doors,
    readiness: &Readiness,
    stop: &CancellationToken,
) -> Result<(), RunError> {
    let (router, end) = (http::closed(readiness.clone()), stop.clone());
    at(scope, &doors.http, stop, async move |listener, tls| {
        listen::http(Version::Http1, listener, router, tls, BOUNDS, &end).await;
    })?;
    if let Some(door) = &doors.postgres {
        let (readiness, end) = (readiness.clone(), stop.clone());
        at(scope, door, stop, async move |listener, tls| {
            postgres::closed(listener, tls, BOUNDS, readiness, &end).await;
        })?;
    }
    if let Some(door) = &doors.flight {
        let (router, end) = (flight::closed(readiness.clone()), stop.clone());
        at(scope, door, stop, async move |listener, tls| {
            listen::http(Version::Http2, listener, router, tls, BOUNDS, &end).await;
        })?;
    }
    Ok(())
}

/// Tells whoever comes to an address, once that has taken long.
fn at<'scope>(
    scope: &'scope Scope<'scope, '_>,
    door: &Door,
    stop: &CancellationToken,
    tells: impl AsyncFnOnce(TcpListener, Option<Tls>) + Send + 'scope,
) -> Result<(), RunError> {
    let (door, stop) = (door.again()?, stop.clone());
    scope.spawn(move || {
        said(serve(door, async move |listener, tls| {
            if stop.run_until_cancelled(tokio::time::sleep(PATIENCE)).await.is_some() {
                tells(listener, tls).await;
            }
        }));
    });
    Ok(())
}

fn said(served: Result<(), RunError>) {
    if let Err(error) = served {
        tracing::warn!(%error, "nobody is told that the lake is not open yet");
    }
}

impl Door {
    /// The same address once more.
    fn again(&self) -> io::Result<Self> {
        Ok(Self { listener: self.listener.try_clone()?, tls: self.tls.clone() })
    }
}
