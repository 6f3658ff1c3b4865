//! HTTP/2 in, agreed on by TLS or known beforehand, as clients of gRPC speak it.
//!
//! Bounded beside the connections: the requests of one at a time, and how long a connection may stand on which nothing was ever asked by
//! somebody who may ask. One that stands later is of a client with a token; that it is still there is looked at by pings.

use std::time::Duration;

use axum::{Router, body::Body};
use hyper::{body::Incoming, header::HeaderValue, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::{Bounds, HEAD_TIMEOUT, Tls, connections, handshake};

/// Requests of a connection at a time; clients wait with more.
const STREAMS: u32 = 16;

/// What a connection may have sent before it is read.
const WINDOW: u32 = 1 << 20;

/// The most bytes of a request's head.
const MAX_HEAD: u32 = 16 << 10;

/// How often it is looked whether a client is still there, and how long it may take to say so.
const PING: Duration = Duration::from_secs(20);

/// The status of gRPC that says that nobody knows who asks.
const UNAUTHENTICATED: &str = "16";

/// Serves HTTP/2 until `shutdown`, then lets requests end.
pub async fn http2(
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
                None => requests(stream, router, shutdown).await,
                Some(tls) => {
                    if let Some(stream) = handshake(stream, &tls).await {
                        requests(stream, router, shutdown).await;
                    }
                }
            }
        }
    })
    .await;
}

async fn requests<S>(stream: S, router: Router, shutdown: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let asked = CancellationToken::new();
    let first = asked.clone();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (router, first) = (router.clone(), first.clone());
        async move {
            let answer = router.oneshot(request.map(Body::new)).await;
            let is_refused = |status: &HeaderValue| status == UNAUTHENTICATED;
            if !answer.iter().any(|answer| answer.headers().get("grpc-status").is_some_and(is_refused)) {
                first.cancel();
            }
            answer
        }
    });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(MAX_HEAD)
        .initial_connection_window_size(WINDOW)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let silent = async {
        if tokio::time::timeout(HEAD_TIMEOUT, asked.cancelled()).await.is_ok() {
            std::future::pending().await
        }
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = silent => return tracing::debug!("a client said nothing in time"),
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
