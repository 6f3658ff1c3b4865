//! Connections to providers: resolved, checked, timed, encrypted.
//!
//! A name may resolve to anything at any time, so addresses are checked at each connect and not at start: private and
//! link-local ones, where metadata services live, need `allow_private`. Loopback is allowed.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
    vec,
};

use http::Uri;
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{HttpConnector, dns::Name};
use schemas::config::{Provider, is_private};
use tower::Service;

type Tls = HttpsConnector<HttpConnector<Checked>>;
type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

/// Connects to a provider within a time that covers name, connection and handshake.
#[derive(Clone)]
pub(crate) struct Connector {
    inner: Tls,
    within: Duration,
}

/// A resolver that leaves out what may not be connected to.
#[derive(Clone)]
pub(crate) struct Checked {
    allow_private: bool,
}

/// The connector of a provider.
pub(crate) fn connector(provider: &Provider) -> Result<Connector, &'static str> {
    let mut tcp = HttpConnector::new_with_resolver(Checked { allow_private: provider.allow_private });
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls()?).https_or_http();
    let inner = if provider.http2 {
        builder.enable_all_versions().wrap_connector(tcp)
    } else {
        builder.enable_http1().wrap_connector(tcp)
    };
    Ok(Connector { inner, within: provider.timeouts.connect })
}

/// How certificates are checked: by the roots that browsers trust.
pub(super) fn tls() -> Result<rustls::ClientConfig, &'static str> {
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(ring).with_safe_default_protocol_versions();
    Ok(builder.map_err(|_| "TLS cannot be set up")?.with_webpki_roots().with_no_client_auth())
}

impl Service<Uri> for Connector {
    type Response = <Tls as Service<Uri>>::Response;
    type Error = BoxError;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.inner.call(uri);
        let within = self.within;
        Box::pin(async move {
            tokio::time::timeout(within, connecting).await.unwrap_or_else(|_| {
                Err(io::Error::new(io::ErrorKind::TimedOut, "no connection within the connect timeout").into())
            })
        })
    }
}

impl Service<Name> for Checked {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let kept: Vec<SocketAddr> =
                found.iter().copied().filter(|address| allow_private || !is_private(address.ip())).collect();
            if kept.is_empty() && !found.is_empty() {
                return Err(
                    "the name resolves to a private address only; say `allow_private: true` if that is meant".into()
                );
            }
            Ok(kept.into_iter())
        })
    }
}
