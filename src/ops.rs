//! The listener for operators: `/healthz` (alive), `/readyz` (every role can answer, or why not), `/metrics` (Prometheus).
//!
//! It serves all roles of the process, needs no token and so listens on loopback unless told otherwise: metrics name tenants.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Says why a role cannot answer now; nothing when it can.
pub(crate) type Check = Box<dyn Fn() -> Vec<String> + Send + Sync>;

/// How often the recorder lets go of what histograms keep.
const UPKEEP: Duration = Duration::from_secs(5);

/// The listener, before it serves.
pub(crate) struct Ops {
    listener: TcpListener,
    metrics: PrometheusHandle,
}

impl Ops {
    /// Takes the address, and makes this process's metrics count from here on.
    pub(crate) async fn bind(address: SocketAddr) -> Result<Self, String> {
        let listener =
            TcpListener::bind(address).await.map_err(|error| format!("cannot listen on {address}: {error}"))?;
        let metrics = PrometheusBuilder::new().install_recorder().map_err(|error| error.to_string())?;
        Ok(Self { listener, metrics })
    }

    /// Serves until closed.
    pub(crate) async fn serve(self, checks: Vec<Check>, closed: CancellationToken) {
        let metrics = self.metrics.clone();
        let upkeep = tokio::spawn(async move {
            loop {
                tokio::time::sleep(UPKEEP).await;
                metrics.run_upkeep();
            }
        });
        let (checks, metrics) = (Arc::new(checks), self.metrics);
        let router = Router::new()
            .route("/healthz", get(async || "alive\n"))
            .route("/readyz", get(async move || ready(&checks)))
            .route("/metrics", get(async move || metrics.render()));
        let serving = axum::serve(self.listener, router).with_graceful_shutdown(closed.cancelled_owned());
        if let Err(error) = serving.await {
            tracing::error!(%error, "the ops listener ended");
        }
        upkeep.abort();
    }
}

fn ready(checks: &[Check]) -> Response {
    let reasons: Vec<String> = checks.iter().flat_map(|check| check()).collect();
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(serde_json::json!({ "ready": reasons.is_empty(), "reasons": reasons }))).into_response()
}
