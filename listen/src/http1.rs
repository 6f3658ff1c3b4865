//! HTTP/1.1 in.

use axum::{Router, body::Body};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tower::ServiceExt as _;

use super::{HEAD_TIMEOUT, Place, under_way};

pub(super) async fn requests<S>(stream: TokioIo<S>, router: Router, place: Place) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let ending = place.ending().clone();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (router, work) = (router.clone(), place.work());
        async move { router.oneshot(request.map(Body::new)).await.map(|answer| under_way(answer, work)) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let mut connection = std::pin::pin!(builder.serve_connection(stream, service));
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = ending.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}
