//! The query surface over HTTP: `POST /v1/sql` and the ready-made questions, behind tokens.
//!
//! Connections are served by one thread, each query by threads of its own, so that a long query delays no other request.
//! Bounded: connections, bodies, and by the engine the queries at a time, how long one may take, and how long its answer may wait
//! to be taken. A client that goes away takes its query with it.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, FromRequest as _, Query, Request, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::BytesMut;
use futures::StreamExt as _;
use listen::Bounds;
use schemas::{error_code::ErrorCode, policy::Tenants, time};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    entry::{Entry, NoEntry},
    run::Readiness,
    sql::{
        Caller, Head, QueryError, Question, Rows,
        encode::{Encoder, Format, sql_type},
    },
    table,
};

mod listed;

#[cfg(test)]
mod tests;

/// The largest body: a statement of 64 KiB, each byte of it escaped.
const MAX_BODY: usize = 512 << 10;

/// How much of an answer is held back until it is sent: one that is no longer has a status that is true of all of it.
const HELD_BACK: usize = 1 << 20;

/// How long a body may take to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// What a listener of it takes on.
pub(crate) const BOUNDS: Bounds = Bounds { connections: 1_024, drain: Duration::from_secs(30) };

/// The routes.
pub(crate) fn router(surface: Arc<Entry>) -> Router {
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

/// What is told on every route while there is nothing to answer with.
pub(crate) fn closed(readiness: Readiness) -> Router {
    Router::new().fallback(move || {
        let no = readiness.closed();
        async move { failure(no.code(), &no.to_string()) }
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    sql: String,
    #[serde(default)]
    format: Format,
    /// The tenants whose rows are asked for, of those that the token may read.
    #[serde(default)]
    tenants: Option<Vec<String>>,
    #[serde(default)]
    settings: Settings,
}

/// What a session of Postgres may set.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Whether rollups are read where they know what is asked.
    #[serde(default, rename = "tollgate.rollups")]
    rollups: Switch,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Switch {
    #[default]
    On,
    Off,
}

async fn sql(State(surface): State<Arc<Entry>>, request: Request) -> Result<Response, Failure> {
    let caller = surface.asker(request.headers())?;
    // After the token, so that a stranger's body is not even read.
    let body = tokio::time::timeout(BODY_TIMEOUT, Bytes::from_request(request, &())).await;
    let body = body.map_err(|_| failure(ErrorCode::BodyTooSlow, "the body did not come in time"))?;
    let body = body.map_err(|rejection| match rejection.into_response().status() {
        StatusCode::PAYLOAD_TOO_LARGE => failure(ErrorCode::BodyTooLarge, &format!("a body may have {MAX_BODY} bytes")),
        _ => failure(ErrorCode::MalformedJson, "the body broke off"),
    })?;
    let sent: Sent = serde_json::from_slice(&body).map_err(|error| {
        let wanted = r#"send {"sql": "SELECT …", "format": "json"}; format is json, csv, arrow or parquet"#;
        failure(ErrorCode::MalformedJson, &format!("the body is not what this route takes: {error}; {wanted}"))
    })?;
    let caller = match sent.tenants {
        Some(tenants) => caller.narrowed(tenants),
        None => caller,
    };
    let question = Question::plain(sent.sql).rollups(sent.settings.rollups == Switch::On);
    surface.answer(caller, question, sent.format).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfTenant {
    tenant: Option<String>,
}

async fn balances(
    State(surface): State<Arc<Entry>>,
    headers: HeaderMap,
    of: Result<Query<OfTenant>, QueryRejection>,
) -> Result<Response, Failure> {
    let caller = surface.asker(&headers)?;
    let Query(of) = of.map_err(|error| failure(ErrorCode::BadValue, &format!("say ?tenant=<name>: {error}")))?;
    let of = of.tenant.map_or_else(String::new, |tenant| format!("WHERE tenant = '{}' ", tenant.replace('\'', "''")));
    let sql = format!("SELECT * FROM balances {of}ORDER BY tenant, limit_name, instance, window_start");
    surface.answer(caller, Question::plain(sql), Format::Json).await
}

async fn tables(State(surface): State<Arc<Entry>>, headers: HeaderMap) -> Result<Response, Failure> {
    let caller = surface.asker(&headers)?;
    let mut rows: Vec<_> = table::TableDef::shown().map(|table| described(table, &caller.tenants)).collect();
    rows.extend(listed::others());
    Ok(surface.rows(&caller, &[("name", "VARCHAR"), ("description", "VARCHAR"), ("columns", "JSON")], rows))
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

async fn watermark(State(surface): State<Arc<Entry>>, headers: HeaderMap) -> Result<Response, Failure> {
    let caller = surface.asker(&headers)?;
    let row = surface.cuts.as_of(time::now()).json(&caller.tenants);
    let mut columns = vec![("complete_through", "TIMESTAMP"), ("waiting_for", "JSON")];
    if caller.tenants == Tenants::All {
        columns.insert(0, ("offsets", "JSON"));
    }
    Ok(surface.rows(&caller, &columns, vec![row]))
}

impl Entry {
    /// Who sent this.
    fn asker(&self, headers: &HeaderMap) -> Result<Caller, Failure> {
        let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(bearer);
        self.caller(token).map_err(|no| match no {
            NoEntry::Stranger => {
                let why = "send Authorization: Bearer <token> with a token that the configuration lists under access";
                failure(no.code(), why)
            }
            _ => failure(no.code(), &no.to_string()),
        })
    }

    /// Runs a statement. Whoever drops this ends it.
    async fn answer(&self, caller: Caller, question: Question, format: Format) -> Result<Response, Failure> {
        let tenants = caller.tenants.clone();
        let writer = move |head: &Head| Encoder::new(format, head, &tenants);
        let (head, mut rows) = self.engine.ask(&caller, question, writer).await.map_err(|error| refusal(&error))?;
        let mut first = BytesMut::new();
        let body = loop {
            match rows.next().await.map_err(|error| refusal(&error))? {
                None => break Body::from(first.freeze()),
                Some(piece) => first.extend_from_slice(&piece),
            }
            if first.len() > HELD_BACK {
                break streamed(first.freeze(), rows);
            }
        };
        let mut response = ([(header::CONTENT_TYPE, format.media_type())], body).into_response();
        let as_of = HeaderValue::from_str(&head.as_of.json(&caller.tenants).to_string());
        if let (true, Ok(as_of)) = (format != Format::Json, as_of) {
            response.headers_mut().insert("x-tollgate-as-of", as_of);
        }
        Ok(response)
    }

    /// An answer that needs no query.
    fn rows(&self, caller: &Caller, columns: &[(&str, &str)], rows: Vec<Value>) -> Response {
        let columns: Vec<_> = columns.iter().map(|(name, kind)| json!({"name": name, "type": kind})).collect();
        let as_of = self.cuts.as_of(time::now()).json(&caller.tenants);
        axum::Json(json!({"columns": columns, "rows": rows, "as_of": as_of})).into_response()
    }
}

/// An answer that is sent while it is made. Where it fails the connection breaks off, so that nobody takes a part for the whole.
fn streamed(first: Bytes, rows: Rows<Bytes>) -> Body {
    let rest = futures::stream::try_unfold(rows, async |mut rows: Rows<Bytes>| match rows.next().await {
        Ok(piece) => Ok(piece.map(|piece| (piece, rows))),
        Err(error) => {
            tracing::info!(%error, "an answer broke off");
            Err(error)
        }
    });
    Body::from_stream(futures::stream::once(async { Ok(first) }).chain(rest))
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
