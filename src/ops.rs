//! The listener for operators: `/healthz` (alive), `/readyz` (every role can answer, or why not), `/metrics` (Prometheus).
//!
//! It serves all roles of the process, from before they start until after they stopped; it needs no token and so listens on
//! loopback unless told otherwise: metrics name tenants.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use listen::{Tls, Version};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use schemas::config::{Config, Listener};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{failure::Failure, tls};

/// Says why a role cannot answer now; nothing when it can.
pub(crate) type Check = Box<dyn Fn() -> Vec<String> + Send + Sync>;

/// Whether the process can answer, and why not. It is told by whoever starts and stops the roles.
pub(crate) struct Readiness(Mutex<Phase>);

enum Phase {
    /// What is waited for.
    Starting(String),
    Up(Vec<Check>),
    Stopping,
}

impl Readiness {
    pub(crate) fn starting() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Phase::Starting("the roles are being started".into()))))
    }

    pub(crate) fn waiting(&self, why: String) {
        self.set(Phase::Starting(why));
    }

    pub(crate) fn up(&self, checks: Vec<Check>) {
        self.set(Phase::Up(checks));
    }

    pub(crate) fn stopping(&self) {
        self.set(Phase::Stopping);
    }

    fn set(&self, phase: Phase) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    fn why_not(&self) -> Vec<String> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Phase::Starting(why) => vec![why.clone()],
            Phase::Up(checks) => checks.iter().flat_map(|check| check()).collect(),
            Phase::Stopping => vec!["the process is going down".into()],
        }
    }
}

/// How often the recorder lets go of what histograms keep.
const UPKEEP: Duration = Duration::from_secs(5);

/// The listener, before it serves.
pub(crate) struct Ops {
    listener: TcpListener,
    tls: Option<Tls>,
    metrics: PrometheusHandle,
}

impl Ops {
    /// Takes the address, and makes this process's metrics count from here on.
    pub(crate) async fn bind(config: &Config) -> Result<Self, Failure> {
        let (address, tls) = (config.listen.ops, tls::of(config, Listener::Ops)?);
        let listener = TcpListener::bind(address).await.map_err(|error| Failure::listen(address, &error))?;
        let metrics = PrometheusBuilder::new().install_recorder().map_err(|error| error.to_string())?;
        Ok(Self { listener, tls, metrics })
    }

    /// Serves for as long as the process lives.
    pub(crate) async fn serve(self, readiness: Arc<Readiness>) {
        let metrics = self.metrics.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(UPKEEP).await;
                metrics.run_upkeep();
            }
        });
        let metrics = self.metrics;
        let router = Router::new()
            .route("/healthz", get(async || "alive\n"))
            .route("/readyz", get(async move || ready(&readiness.why_not())))
            .route("/metrics", get(async move || metrics.render()));
        listen::http(Version::Http1, self.listener, router, self.tls, listen::SMALL, &CancellationToken::new()).await;
    }
}

fn ready(reasons: &[String]) -> Response {
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(serde_json::json!({ "ready": reasons.is_empty(), "reasons": reasons }))).into_response()
}
