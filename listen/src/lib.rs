//! The threshold: connections in, for every listener but the gateway's, which spreads its own over cores.
//!
//! Bounded: how many connections are open, how long a client may take to say what it wants, and how long what it wants may go on
//! after the end was asked for. What is spoken is the business of whoever listens; HTTP is here, since four of them speak it.

use std::{io, sync::Arc, time::Duration};

use axum::Router;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

mod http1;
mod http2;

/// Gives what a connection that begins now is served with.
pub type Tls = Arc<dyn Fn() -> Arc<rustls::ServerConfig> + Send + Sync>;

/// How long a client may take to shake hands, and to send the head of a request.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// After an accept failed: the usual cause, too many open files, does not go away at once.
const PAUSE: Duration = Duration::from_millis(100);

/// What a listener takes on.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections at once; more wait in the operating system's queue.
    pub connections: usize,
    /// How long they may go on after the end was asked for.
    pub drain: Duration,
}

/// For the listeners of operators and admins.
pub const SMALL: Bounds = Bounds { connections: 256, drain: Duration::from_secs(10) };

/// Serves each connection by `serve` until `shutdown`, then lets them end. It is for `serve` to look at `shutdown` and come to an end.
pub async fn connections<F>(
    listener: TcpListener,
    bounds: Bounds,
    shutdown: &CancellationToken,
    serve: impl Fn(TcpStream) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(bounds.connections));
    let mut open = JoinSet::new();
    loop {
        while open.try_join_next().is_some() {}
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, place)) => {
                let served = serve(stream);
                open.spawn(async move {
                    served.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    let ended = tokio::time::timeout(bounds.drain, async { while open.join_next().await.is_some() {} }).await;
    if ended.is_err() {
        // What goes on longer is cut off with the set.
        tracing::warn!("connections were cut off at the end of the drain");
    }
}

async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, place))
}

/// Shakes hands; nothing if the client does not, or not in time.
pub async fn handshake(stream: TcpStream, tls: &Tls) -> Option<TlsStream<TcpStream>> {
    let handshake = TlsAcceptor::from(tls()).accept(stream);
    match tokio::time::timeout(HEAD_TIMEOUT, handshake).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!("a handshake took too long");
            None
        }
    }
}

/// What is spoken on a listener.
#[derive(Clone, Copy, Debug)]
pub enum Version {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, agreed on by TLS or known beforehand.
    Http2,
}

/// Serves HTTP until `shutdown`, then lets requests end.
pub async fn http(
    version: Version,
    listener: TcpListener,
    router: Router,
    tls: Option<Tls>,
    bounds: Bounds,
    shutdown: &CancellationToken,
) {
    connections(listener, bounds, shutdown, |stream| {
        let (router, tls, shutdown) = (router.clone(), tls.clone(), shutdown.clone());
        async move {
            match tls {
                None => requests(version, stream, router, shutdown).await,
                Some(tls) => {
                    if let Some(stream) = handshake(stream, &tls).await {
                        requests(version, stream, router, shutdown).await;
                    }
                }
            }
        }
    })
    .await;
}

async fn requests<S>(version: Version, stream: S, router: Router, shutdown: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let ended = match version {
        Version::Http1 => http1::requests(TokioIo::new(stream), router, shutdown).await,
        Version::Http2 => http2::requests(TokioIo::new(stream), router, shutdown).await,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
