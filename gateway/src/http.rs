//! The stack: which request goes to which handler, one reason a layer.
//!
//! There are no layers around the metered routes: what every call needs is in `call`, in order, and what it does not need
//! costs nothing. Which they are `way` says, for every method and path that nothing else has. Everything that is not served is
//! answered in the dialect that it looks like.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::Path,
    routing::{MethodRouter, get, post},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header, request};
use schemas::{config::ModelRoute, error_code::ErrorCode, id::CallId, time::now};
use serde_json::Value;

use crate::{
    authenticate, call,
    error::{Dialect, Fault, stamp},
    metrics, models,
    proxy::{self, grpc, http::Asking},
    route, tell,
    way::Way,
    worker::Worker,
};

/// Each API has its path here and under each of these.
const PREFIXES: [&str; 3] = ["", "/openai", "/anthropic"];

/// The stack of a worker.
pub(crate) fn stack(worker: &Arc<Worker>) -> Router {
    let mut router = Router::new();
    for prefix in PREFIXES {
        let path = |path: &str| format!("{prefix}{path}");
        router = router
            // What a key may use. Ids may have slashes.
            .route(&path("/v1/models"), listing(worker))
            .route(&path("/v1/models/{*id}"), one(worker));
    }
    router = router.route("/openai/models", listing(worker)).route("/openai/models/{*id}", one(worker));
    for prefix in ["", "/gemini"] {
        let path = |path: &str| format!("{prefix}{path}");
        router =
            router.route(&path("/v1beta/models"), listing(worker)).route(&path("/v1beta/models/{*id}"), one(worker));
    }
    // Usage that passed elsewhere, as CloudEvents.
    router = router.route("/v1/events", events(worker));
    // The questions of other proxies, as JSON and as Envoy's rate limit service; Envoy looks whether that is healthy.
    router = router
        .route("/v1/check", asking(worker, Asking::Check))
        .route("/v1/settle", asking(worker, Asking::Settle))
        .route(grpc::SHOULD_RATE_LIMIT, rate_limit(worker))
        .route(grpc::HEALTH, health(worker));
    // The metered APIs: each passes to a provider of its own dialect. And everything that is not served.
    let worker = Arc::clone(worker);
    router.fallback(move |request: Request<Body>| metered(Arc::clone(&worker), request))
}

/// A call to a metered API, if it is one.
async fn metered(worker: Arc<Worker>, request: Request<Body>) -> Response<Body> {
    let path = request.uri().path();
    let Some(way) = Way::of(request.method(), path) else {
        return match Way::allow(path) {
            None => unknown(&request),
            Some(_) if request.method() == Method::OPTIONS => preflight(&worker, &request, "POST, OPTIONS"),
            Some(allow) => not_allowed(&request, allow),
        };
    };
    let origin = request.headers().get(header::ORIGIN).cloned();
    let shared = Arc::clone(&worker.shared);
    let mut response = Box::pin(call::serve(worker, way, request)).await;
    if let Some(origin) = origin {
        allow_origin(&shared.cors.origins, &origin, response.headers_mut());
    }
    response
}

fn events(worker: &Arc<Worker>) -> MethodRouter {
    let serving = Arc::clone(worker);
    post(move |request: Request<Body>| async move { Box::pin(tell::serve(&serving, request)).await })
        .fallback(|request: Request<Body>| async move { not_allowed(&request, "POST") })
}

fn asking(worker: &Arc<Worker>, asking: Asking) -> MethodRouter {
    let serving = Arc::clone(worker);
    post(move |request: Request<Body>| async move { Box::pin(proxy::http::serve(&serving, asking, request)).await })
        .fallback(|request: Request<Body>| async move { not_allowed(&request, "POST") })
}

fn rate_limit(worker: &Arc<Worker>) -> MethodRouter {
    let serving = Arc::clone(worker);
    post(move |request: Request<Body>| async move { Box::pin(grpc::should_rate_limit(&serving, request)).await })
        .fallback(|request: Request<Body>| async move { not_allowed(&request, "POST") })
}

fn health(worker: &Arc<Worker>) -> MethodRouter {
    let serving = Arc::clone(worker);
    post(move |request: Request<Body>| async move { grpc::health(&serving, &request) })
        .fallback(|request: Request<Body>| async move { not_allowed(&request, "POST") })
}

fn listing(worker: &Arc<Worker>) -> MethodRouter {
    let serving = Arc::clone(worker);
    let browsers = Arc::clone(worker);
    get(move |request: Request<Body>| async move { models_answer(&serving, request, None).await })
        .options(move |request: Request<Body>| async move { preflight(&browsers, &request, "GET, HEAD, OPTIONS") })
        .fallback(|request: Request<Body>| async move { not_allowed(&request, "GET,HEAD") })
}

fn one(worker: &Arc<Worker>) -> MethodRouter {
    let serving = Arc::clone(worker);
    let browsers = Arc::clone(worker);
    let calls = Arc::clone(worker);
    let listed = move |Path(id): Path<String>, request: Request<Body>| async move {
        models_answer(&serving, request, Some(&id)).await
    };
    get(listed)
        .options(move |request: Request<Body>| async move { preflight(&browsers, &request, "GET, HEAD, OPTIONS") })
        // Gemini's verbs stand behind the names of its models.
        .fallback(move |request: Request<Body>| async move {
            match Way::of(request.method(), request.uri().path()) {
                Some(_) => metered(calls, request).await,
                None => not_allowed(&request, "GET,HEAD"),
            }
        })
}

/// The list of models, or one of them.
async fn models_answer(worker: &Worker, request: Request<Body>, id: Option<&str>) -> Response<Body> {
    let call = CallId::fresh();
    let (head, _) = request.into_parts();
    let dialect = route::dialect_of_path(head.uri.path(), &head.headers);
    let mut response = match models_json(worker, &head, id, dialect).await {
        Ok(json) => {
            let mut response = Response::new(Body::from(Bytes::from(json.to_string())));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            stamp(response.headers_mut(), call);
            response
        }
        Err(fault) => fault_answer(&fault, dialect, call),
    };
    if let Some(origin) = head.headers.get(header::ORIGIN) {
        allow_origin(&worker.shared.cors.origins, origin, response.headers_mut());
    }
    response
}

async fn models_json(
    worker: &Worker,
    head: &request::Parts,
    id: Option<&str>,
    dialect: Dialect,
) -> Result<Value, Fault> {
    let view = worker.view()?;
    let caller = authenticate::caller(&head.headers, head.uri.query(), worker.register(&view), now()).await?;
    let Some(id) = id else {
        let vendor = |provider: &str| worker.upstreams.get(provider).and_then(|upstream| upstream.vendor());
        let mut names = models::names(&view.policy.models, &view.book, vendor);
        names.retain(|name, _| caller.may_use(Some(name)).is_ok());
        return Ok(models::list(&names, dialect));
    };
    caller.may_use(Some(id))?;
    let found = ModelRoute::find(&view.policy.models, id).and_then(|route| route.targets.first());
    match found {
        Some(target) => Ok(models::one(id, &target.provider, dialect)),
        None => {
            let message = format!("`{}` is not among the models of this gateway", route::short(id));
            Err(Fault::new(ErrorCode::UnknownModel, message))
        }
    }
}

fn unknown(request: &Request<Body>) -> Response<Body> {
    let dialect = route::dialect_of_path(request.uri().path(), request.headers());
    let message = format!("{} {} is not served", request.method(), route::short(request.uri().path()));
    fault_answer(&Fault::new(ErrorCode::UnknownRoute, message), dialect, CallId::fresh())
}

fn not_allowed(request: &Request<Body>, allow: &'static str) -> Response<Body> {
    let dialect = route::dialect_of_path(request.uri().path(), request.headers());
    let mut fault = Fault::new(ErrorCode::MethodNotAllowed, format!("it takes {allow}"));
    fault.allow = Some(allow);
    fault_answer(&fault, dialect, CallId::fresh())
}

fn fault_answer(fault: &Fault, dialect: Dialect, call: CallId) -> Response<Body> {
    metrics::refused(fault.code);
    fault.response(dialect, call)
}

/// Answers a browser that asks whether it may call.
fn preflight(worker: &Worker, request: &Request<Body>, methods: &'static str) -> Response<Body> {
    let origins = &worker.shared.cors.origins;
    let Some(origin) = request.headers().get(header::ORIGIN).filter(|origin| is_allowed(origins, origin)) else {
        return not_allowed(request, if methods.starts_with("POST") { "POST" } else { "GET,HEAD" });
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    allow_origin(origins, origin, headers);
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
    let asked = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.unwrap_or_else(|| HeaderValue::from_static("*")));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    stamp(headers, CallId::fresh());
    response
}

fn is_allowed(origins: &[String], origin: &HeaderValue) -> bool {
    origins.iter().any(|known| known == "*" || known.as_bytes() == origin.as_bytes())
}

/// Lets a browser's page read the answer, if its origin is configured.
fn allow_origin(origins: &[String], origin: &HeaderValue, headers: &mut HeaderMap) {
    if is_allowed(origins, origin) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.append(header::VARY, HeaderValue::from_static("origin"));
        let exposed = "x-request-id, request-id, x-tollgate-call-id, x-tollgate-capped, x-tollgate-served-by, \
            x-tollgate-attempts, x-tollgate-left-out, x-tollgate-cache, age, retry-after, retry-after-ms";
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(exposed));
    }
}
