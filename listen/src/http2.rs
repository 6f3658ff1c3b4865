//! HTTP/2 in, as clients of gRPC speak it.
//!
//! Bounded beside the connections: the requests of one at a time, and how long a connection may stand on which nothing was ever asked by
//! somebody who may ask. One that stands later is of a client with a token; that it is still there is looked at by pings.

use std::{sync::Arc, time::Duration};

use axum::{Router, body::Body};
use hyper::{body::Incoming, header::HeaderValue, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::{HEAD_TIMEOUT, Place, under_way};

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

pub(super) async fn requests<S>(stream: TokioIo<S>, router: Router, place: Place) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (known, answers, ending) = (CancellationToken::new(), Arc::new(()), place.ending().clone());
    let (first, each) = (known.clone(), Arc::clone(&answers));
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (router, first, answering, work) = (router.clone(), first.clone(), Arc::clone(&each), place.work());
        async move {
            let answer = router.oneshot(request.map(Body::new)).await;
            let is_refused = |status: &HeaderValue| status == UNAUTHENTICATED;
            if !answer.iter().any(|answer| answer.headers().get("grpc-status").is_some_and(is_refused)) {
                first.cancel();
            }
            drop(answering);
            answer.map(|answer| under_way(answer, work))
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
    let mut connection = std::pin::pin!(builder.serve_connection(stream, service));
    // One is here and one in the service. An answer that takes its time is somebody's: who asks is looked at first.
    let is_nobodys = || !known.is_cancelled() && Arc::strong_count(&answers) == 2;
    let silent = async {
        while tokio::time::timeout(HEAD_TIMEOUT, known.cancelled()).await.is_err() {
            if is_nobodys() {
                return;
            }
        }
        std::future::pending().await
    };
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = silent => {
            tracing::debug!("a client said nothing in time");
            Ok(())
        }
        // One that has not even said that it speaks HTTP/2 would not hear that this is the end.
        () = ending.cancelled() => {
            if is_nobodys() {
                return Ok(());
            }
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::post;
    use hyper::client::conn::http2::{SendRequest, handshake};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::{SMALL, Version, http};

    async fn asks(address: std::net::SocketAddr, path: &str) -> (SendRequest<Body>, hyper::Result<()>) {
        let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let (mut asking, connection) = handshake(TokioExecutor::new(), stream).await.unwrap();
        drop(tokio::spawn(connection));
        let request = hyper::Request::post(format!("http://localhost{path}")).body(Body::empty()).unwrap();
        let answer = asking.send_request(request).await.map(drop);
        (asking, answer)
    }

    /// Takes as long as the timeout, and a little.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_first_answer_may_take_longer_than_a_client_may_be_silent_and_one_who_may_not_ask_is_silent() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, end) = (listener.local_addr().unwrap(), CancellationToken::new());
        let slow = async || tokio::time::sleep(HEAD_TIMEOUT + Duration::from_secs(2)).await;
        let router = Router::new()
            .route("/slow", post(slow))
            .route("/stranger", post(async || ([("grpc-status", UNAUTHENTICATED)], "")));
        let ending = end.clone();
        let served = tokio::spawn(async move { http(Version::Http2, listener, router, None, SMALL, &ending).await });
        let ((slow, answer), (stranger, refused)) = tokio::join!(asks(address, "/slow"), asks(address, "/stranger"));
        answer.unwrap();
        refused.unwrap();
        assert!(!slow.is_closed() && stranger.is_closed());
        drop((slow, stranger));
        end.cancel();
        served.await.unwrap();
    }
}
