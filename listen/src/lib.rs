//! The threshold: connections in, for every listener but the gateway's, which spreads its own over cores.
//!
//! Bounded: how many connections are open ([`places`]), how long a client may take to say what it wants, and how long what it wants may go
//! on after the end was asked for. What is spoken is the business of whoever listens; HTTP is here, since four of them speak it.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
    response::Response,
};
use hyper::body::{Frame, SizeHint};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

mod http1;
mod http2;
mod places;

pub use places::{Place, Work};
use places::{Places, Taken};

/// Gives what a connection that begins now is served with.
pub type Tls = Arc<dyn Fn() -> Arc<rustls::ServerConfig> + Send + Sync>;

/// How long a client may take to shake hands, and to send the head of a request.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// After an accept failed: the usual cause, too many open files, does not go away at once.
const PAUSE: Duration = Duration::from_millis(100);

/// What a listener takes on.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections at once. Who comes then takes the place of the one for which nothing has been done for longest; where something is done
    /// for all, it waits for the first that is ready.
    pub connections: usize,
    /// How long they may go on after the end was asked for.
    pub drain: Duration,
}

/// For the listeners of operators and admins.
pub const SMALL: Bounds = Bounds { connections: 256, drain: Duration::from_secs(10) };

/// Serves each connection by `serve` until `shutdown`, then lets them end. It is for `serve` to say when something is done for the
/// connection, and to come to an end when its place says so.
pub async fn connections<F>(
    listener: TcpListener,
    bounds: Bounds,
    shutdown: &CancellationToken,
    serve: impl Fn(TcpStream, Place) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let places = Places::new(bounds.connections);
    let mut open = JoinSet::new();
    loop {
        while open.try_join_next().is_some() {}
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &places, shutdown) => accepted,
        };
        match accepted {
            Ok((stream, taken)) => {
                let served = serve(stream, taken.place.clone());
                open.spawn(async move {
                    tokio::select! {
                        () = served => {}
                        () = taken.left() => {}
                    }
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

/// The next connection, which waits here for its place: one more is open than there are.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Places>,
    shutdown: &CancellationToken,
) -> io::Result<(TcpStream, Taken)> {
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, places.take(shutdown).await?))
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
    connections(listener, bounds, shutdown, |stream, place| {
        let (router, tls) = (router.clone(), tls.clone());
        async move {
            match tls {
                None => requests(version, stream, router, place).await,
                Some(tls) => {
                    let shaken = place.ending().run_until_cancelled(handshake(stream, &tls)).await;
                    if let Some(stream) = shaken.flatten() {
                        requests(version, stream, router, place).await;
                    }
                }
            }
        }
    })
    .await;
}

async fn requests<S>(version: Version, stream: S, router: Router, place: Place)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let ended = match version {
        Version::Http1 => http1::requests(TokioIo::new(stream), router, place).await,
        Version::Http2 => http2::requests(TokioIo::new(stream), router, place).await,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// An answer whose request is under way until its last piece is taken to be sent. What is not sent by then has the time of a goodbye.
fn under_way(answer: Response, work: Work) -> Response {
    answer.map(|body| Body::new(Sent { body, _work: work }))
}

struct Sent {
    body: Body,
    _work: Work,
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// In less time than they may be silent.
    #[tokio::test]
    async fn who_says_nothing_keeps_nobody_out() {
        for version in [Version::Http1, Version::Http2] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let (address, end) = (listener.local_addr().unwrap(), CancellationToken::new());
            let router = Router::new().route("/", get(async || "here"));
            let (ending, bounds) = (end.clone(), Bounds { connections: 2, ..SMALL });
            let served = tokio::spawn(async move { http(version, listener, router, None, bounds, &ending).await });
            let mut silent = Vec::new();
            for _ in 0..20 {
                silent.push(TcpStream::connect(address).await.unwrap());
            }
            let mut asks = TcpStream::connect(address).await.unwrap();
            let said: &[u8] = match version {
                Version::Http1 => b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
                // The preface, and a frame of no settings.
                Version::Http2 => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
            };
            asks.write_all(said).await.unwrap();
            let mut answer = vec![0; 9];
            let read = tokio::time::timeout(HEAD_TIMEOUT / 2, asks.read_exact(&mut answer)).await;
            read.unwrap().unwrap();
            match version {
                Version::Http1 => assert_eq!(answer, b"HTTP/1.1 "),
                Version::Http2 => assert_eq!(answer.get(3), Some(&4)),
            }
            drop((asks, silent));
            end.cancel();
            served.await.unwrap();
        }
    }
}
