//! The query surface over HTTP: `POST /v1/sql` and the ready-made questions, behind tokens.
//!
//! Connections are served by one thread, queries by a runtime of their own, so that a long query delays no other request.
//! Bounded: connections, bodies, queries at a time, how long one may take, and the bytes of an answer. A client that goes
//! away takes its query with it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequest as _, Query, Request, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures::StreamExt;
use schemas::{error_code::ErrorCode, policy::Tenants, time};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{runtime::Handle, sync::Semaphore, task::JoinHandle};

use crate::{
    access::Access,
    cut::Cuts,
    sql::{
        Caller, Engine, QueryError,
        encode::{Encoder, Format, sql_type},
    },
    table,
};

pub(crate) mod listen;

/// The largest body: a statement of 64 KiB, each byte of it escaped.
const MAX_BODY: usize = 512 << 10;

/// How long a body may take to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Queries that run at once; each has its share of memory.
const RUNNING: usize = 8;

/// How long a query may take, waiting included.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How long a query waits for its turn.
const TURN: Duration = Duration::from_secs(10);

/// What the handlers share.
pub(crate) struct Surface {
    engine: Arc<Engine>,
    cuts: Arc<Cuts>,
    access: Arc<Access>,
    running: Arc<Semaphore>,
    queries: Handle,
}

impl Surface {
    /// A surface that runs its queries on `queries`.
    pub(crate) fn new(engine: Arc<Engine>, cuts: Arc<Cuts>, access: Arc<Access>, queries: Handle) -> Arc<Self> {
        Arc::new(Self { engine, cuts, access, running: Arc::new(Semaphore::new(RUNNING)), queries })
    }
}

/// The routes.
pub(crate) fn router(surface: Arc<Surface>) -> Router {
    Router::new()
        .route("/v1/sql", post(sql))
        .route("/v1/tables", get(tables))
        .route("/v1/balances", get(balances))
        .route("/v1/watermark", get(watermark))
        .fallback(async || {
            failure(ErrorCode::UnknownRoute, "there is no such route; see GET /v1/tables and POST /v1/sql")
        })
        .method_not_allowed_fallback(async || {
            failure(ErrorCode::MethodNotAllowed, "this route does not take this method")
        })
        // Statements are small; nothing else has a body.
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(surface)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    sql: String,
    #[serde(default)]
    format: Format,
}

async fn sql(State(surface): State<Arc<Surface>>, request: Request) -> Result<Response, Failure> {
    let caller = surface.caller(request.headers())?;
    // After the token, so that a stranger's body is not even read.
    let body = tokio::time::timeout(BODY_TIMEOUT, Bytes::from_request(request, &())).await;
    let body = body.map_err(|_| failure(ErrorCode::BodyTooSlow, "the body did not come in time"))?;
    let body = body.map_err(|rejection| match rejection.into_response().status() {
        StatusCode::PAYLOAD_TOO_LARGE => failure(ErrorCode::BodyTooLarge, &format!("a body may have {MAX_BODY} bytes")),
        _ => failure(ErrorCode::MalformedJson, "the body broke off"),
    })?;
    let question: Question = serde_json::from_slice(&body).map_err(|error| {
        let wanted = r#"send {"sql": "SELECT …", "format": "json"}; format is json, csv, arrow or parquet"#;
        failure(ErrorCode::MalformedJson, &format!("the body is not what this route takes: {error}; {wanted}"))
    })?;
    surface.answer(caller, question.sql, question.format).await
}

#[derive(Deserialize)]
struct OfTenant {
    tenant: Option<String>,
}

async fn balances(
    State(surface): State<Arc<Surface>>,
    headers: HeaderMap,
    of: Result<Query<OfTenant>, QueryRejection>,
) -> Result<Response, Failure> {
    let caller = surface.caller(&headers)?;
    let Query(of) = of.map_err(|error| failure(ErrorCode::BadValue, &format!("say ?tenant=<name>: {error}")))?;
    let of = of.tenant.map_or_else(String::new, |tenant| format!("WHERE tenant = '{}' ", tenant.replace('\'', "''")));
    let sql = format!("SELECT * FROM balances {of}ORDER BY tenant, limit_name, instance, window_start");
    surface.answer(caller, sql, Format::Json).await
}

async fn tables(State(surface): State<Arc<Surface>>, headers: HeaderMap) -> Result<Response, Failure> {
    let caller = surface.caller(&headers)?;
    let rows: Vec<_> = table::ALL.iter().map(|table| described(table, &caller.tenants)).collect();
    Ok(surface.rows(&[("name", "VARCHAR"), ("description", "VARCHAR"), ("columns", "JSON")], rows))
}

fn described(table: &table::TableDef, tenants: &Tenants) -> Value {
    let shown = crate::sql::shown(table, tenants);
    let columns: Vec<_> = table
        .columns()
        .filter_map(|column| {
            let field = shown.field_with_name(column.name).ok()?;
            Some(json!({"name": column.name, "type": sql_type(field.data_type()), "description": column.doc}))
        })
        .collect();
    json!({"name": table.name, "description": table.doc, "columns": columns})
}

async fn watermark(State(surface): State<Arc<Surface>>, headers: HeaderMap) -> Result<Response, Failure> {
    surface.caller(&headers)?;
    let row = surface.cuts.as_of(time::now()).json();
    Ok(surface.rows(&[("offsets", "JSON"), ("complete_through", "TIMESTAMP"), ("waiting_for", "JSON")], vec![row]))
}

impl Surface {
    /// Who asks.
    fn caller(&self, headers: &HeaderMap) -> Result<Caller, Failure> {
        if !self.access.is_known() {
            return Err(failure(ErrorCode::LogUnreachable, "the policy has not been read yet; try again in a moment"));
        }
        let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(bearer);
        token.and_then(|token| self.access.caller(token)).ok_or_else(|| {
            let why = "send Authorization: Bearer <token> with a token that the configuration lists under access";
            failure(ErrorCode::UnknownToken, why)
        })
    }

    /// Runs a statement on the queries' runtime and encodes its answer there.
    async fn answer(&self, caller: Caller, sql: String, format: Format) -> Result<Response, Failure> {
        let turn = tokio::time::timeout(TURN, Arc::clone(&self.running).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(refusal(&QueryError::Busy)) };
        let begun = Instant::now();
        let engine = Arc::clone(&self.engine);
        let work = async move {
            let _turn = turn;
            encoded(&engine, &caller, &sql, format).await
        };
        let mut query = Running(self.queries.spawn(tokio::time::timeout(TIMEOUT, work)));
        let answer = match (&mut query.0).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(QueryError::Timeout(TIMEOUT.as_secs())),
            Err(panic) => {
                tracing::error!(%panic, "a query ended in a panic");
                Err(QueryError::Internal)
            }
        };
        let outcome = answer.as_ref().map_or_else(|error| error.code().code(), |_| "ok");
        metrics::counter!("tollgate_queries_total", "outcome" => outcome).increment(1);
        metrics::histogram!("tollgate_query_seconds").record(begun.elapsed());
        let (body, as_of) = answer.map_err(|error| refusal(&error))?;
        let mut response = ([(header::CONTENT_TYPE, format.media_type())], body).into_response();
        if let (true, Ok(as_of)) = (format != Format::Json, HeaderValue::from_str(&as_of)) {
            response.headers_mut().insert("x-tollgate-as-of", as_of);
        }
        Ok(response)
    }

    /// An answer that needs no query.
    fn rows(&self, columns: &[(&str, &str)], rows: Vec<Value>) -> Response {
        let columns: Vec<_> = columns.iter().map(|(name, kind)| json!({"name": name, "type": kind})).collect();
        let as_of = self.cuts.as_of(time::now()).json();
        axum::Json(json!({"columns": columns, "rows": rows, "as_of": as_of})).into_response()
    }
}

/// A query that ends when whoever waits for it is gone.
struct Running<T>(JoinHandle<T>);

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn encoded(engine: &Engine, caller: &Caller, sql: &str, format: Format) -> Result<(Vec<u8>, String), QueryError> {
    let mut answer = engine.answer(caller, sql).await?;
    let mut encoder = Encoder::new(format, &answer.schema)?;
    while let Some(batch) = answer.rows.next().await {
        encoder.write(&batch?)?;
    }
    let as_of = answer.as_of.json();
    Ok((encoder.finish(&as_of)?, as_of.to_string()))
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Why a request is not answered.
struct Failure {
    code: ErrorCode,
    message: String,
}

fn refusal(error: &QueryError) -> Failure {
    failure(error.code(), &error.to_string())
}

fn failure(code: ErrorCode, message: &str) -> Failure {
    Failure { code, message: message.to_owned() }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = json!({"error": {"code": self.code.code(), "message": self.message}});
        let mut response = (status, axum::Json(body)).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
