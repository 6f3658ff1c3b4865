//! One client's connection: HTTP/1.1 or HTTP/2, told apart by its first bytes, or by the handshake of TLS where that is spoken, with a time for each head and each write.
//!
//! `axum::serve` sets no timers, and hyper's automatic builder waits for the first byte for ever; both are why this is here.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body};
use futures::future::{Either, ready};
use hyper::{body::Incoming, server::conn, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use schemas::config::Server;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use crate::{head, worker::Shared};

mod patient;

use patient::Patient;

/// The most calls at once on one HTTP/2 connection.
const STREAMS: u32 = 256;
/// An HTTP/2 client that does not answer for so long is gone.
const PING: Duration = Duration::from_secs(30);
/// How often the first bytes are looked at again while there are too few of them.
const GLANCE: Duration = Duration::from_millis(5);

/// Serves the connections of one worker.
pub(crate) struct Serving {
    stack: Router,
    shared: Arc<Shared>,
    open: Arc<AtomicUsize>,
    shutdown: CancellationToken,
}

/// Counts a connection for as long as it lives.
struct Counted {
    shared: Arc<Shared>,
    open: Arc<AtomicUsize>,
    _slot: OwnedSemaphorePermit,
}

impl Serving {
    pub(crate) fn new(stack: Router, shared: &Arc<Shared>, shutdown: CancellationToken) -> Self {
        Self { stack, shared: Arc::clone(shared), open: Arc::default(), shutdown }
    }

    /// How many connections are open at this worker.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Serves a connection until it ends.
    pub(crate) fn spawn(&self, socket: TcpStream, slot: OwnedSemaphorePermit) {
        let counted = Counted::new(&self.shared, &self.open, slot);
        let (stack, shutdown, shared) = (self.stack.clone(), self.shutdown.clone(), Arc::clone(&self.shared));
        tokio::spawn(async move {
            let served = accept(socket, stack, shutdown, &shared).await;
            if let Err(error) = served {
                // Clients leave in the middle of things all the time.
                tracing::debug!(%error, "a connection ended early");
            }
            drop(counted);
        });
    }
}

impl Counted {
    fn new(shared: &Arc<Shared>, open: &Arc<AtomicUsize>, slot: OwnedSemaphorePermit) -> Self {
        shared.connections.fetch_add(1, Ordering::Relaxed);
        open.fetch_add(1, Ordering::Relaxed);
        Self { shared: Arc::clone(shared), open: Arc::clone(open), _slot: slot }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.shared.connections.fetch_sub(1, Ordering::Relaxed);
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Finds out what is spoken, and serves it.
async fn accept(
    socket: TcpStream,
    stack: Router,
    shutdown: CancellationToken,
    shared: &Shared,
) -> Result<(), BoxError> {
    let server = &shared.server;
    socket.set_nodelay(true)?;
    if let Some(tls) = &shared.tls {
        let handshake = TlsAcceptor::from(tls()).accept(socket);
        let socket = tokio::select! {
            greeted = tokio::time::timeout(server.header_timeout, handshake) => greeted??,
            () = shutdown.cancelled() => return Ok(()),
        };
        let is_http2 = socket.get_ref().1.alpn_protocol() == Some(b"h2");
        return serve(socket, is_http2, stack, shutdown, server).await;
    }
    let is_http2 = tokio::select! {
        version = tokio::time::timeout(server.header_timeout, is_http2(&socket)) => version??,
        () = shutdown.cancelled() => return Ok(()),
    };
    serve(socket, is_http2, stack, shutdown, server).await
}

async fn serve<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    socket: S,
    is_http2: bool,
    stack: Router,
    shutdown: CancellationToken,
    server: &Server,
) -> Result<(), BoxError> {
    let service = service_fn(move |request: hyper::Request<Incoming>| match head::refusal(&request) {
        Some(refusal) => Either::Left(ready(Ok(refusal))),
        None => Either::Right(stack.clone().call(request.map(Body::new))),
    });
    // A client is given as much time to take bytes as to send them.
    let io = TokioIo::new(Patient::new(socket, server.body_timeout));
    if is_http2 {
        let mut builder = conn::http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING);
        let mut connection = std::pin::pin!(builder.serve_connection(io, service));
        tokio::select! {
            ended = connection.as_mut() => return Ok(ended?),
            () = shutdown.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        return Ok(connection.await?);
    }
    let mut builder = conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(server.header_timeout);
    let mut connection = std::pin::pin!(builder.serve_connection(io, service));
    tokio::select! {
        ended = connection.as_mut() => return Ok(ended?),
        () = shutdown.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    Ok(connection.await?)
}

/// Whether the first bytes are those of HTTP/2: no method of HTTP/1.1 begins with `PRI`.
async fn is_http2(socket: &TcpStream) -> io::Result<bool> {
    let mut start = [0; 3];
    loop {
        let size = socket.peek(&mut start).await?;
        let seen = start.get(..size).unwrap_or_default();
        if size == 0 || !b"PRI".starts_with(seen) {
            return Ok(false);
        }
        if size == start.len() {
            return Ok(true);
        }
        tokio::time::sleep(GLANCE).await;
    }
}
