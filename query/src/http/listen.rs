//! The accept loop: connections in, bounded in number and in how long they may take to say what they want.

use std::{net::TcpListener, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::Semaphore,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::run::Tls;

/// Connections at once; more wait in the operating system's queue.
const CONNECTIONS: usize = 1_024;

/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a request may go on after the end was asked for.
const DRAIN: Duration = Duration::from_secs(30);

/// After an accept failed: the usual cause, too many open files, does not go away at once.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown`, then lets requests end.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    tls: Option<Tls>,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut open = JoinSet::new();
    loop {
        while open.try_join_next().is_some() {}
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, place)) => {
                let (router, shutdown, tls) = (router.clone(), shutdown.clone(), tls.as_ref().map(|tls| tls()));
                open.spawn(async move {
                    match tls {
                        None => connection(stream, router, shutdown).await,
                        Some(tls) => {
                            let handshake = TlsAcceptor::from(tls).accept(stream);
                            match tokio::time::timeout(HEAD_TIMEOUT, handshake).await {
                                Ok(Ok(stream)) => connection(stream, router, shutdown).await,
                                Ok(Err(error)) => tracing::debug!(%error, "a handshake failed"),
                                Err(_) => tracing::debug!("a handshake took too long"),
                            }
                        }
                    }
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
    let ended = tokio::time::timeout(DRAIN, async { while open.join_next().await.is_some() {} }).await;
    if ended.is_err() {
        tracing::warn!("requests were cut off at the end of the drain");
    }
    Ok(())
}

async fn accept(
    listener: &tokio::net::TcpListener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, place))
}

async fn connection<S>(stream: S, router: Router, shutdown: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request: hyper::Request<Incoming>| router.clone().oneshot(request.map(Body::new)));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
