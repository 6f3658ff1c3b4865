//! The admin API over HTTP: routes, who asks, versions, and the one place that makes answers of what goes wrong.
//!
//! Every answer carries the version of the policy as its `ETag`; a change that carries one in `If-Match` is made only of that version.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use schemas::{
    config::{Admin, Mistake, Remark, Role, Warning},
    error_code::ErrorCode,
    policy::{Digest, Once, Policy, Refusal, Tenants, What},
};
use serde_json::{Value, json};

use super::{
    Api,
    desk::{Desk, Now},
    limits, tenants,
};

/// The largest body: far beyond a limit with every member.
const MAX_BODY: usize = 64 << 10;

/// How long a body may take to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The routes.
pub(super) fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/v1/tenants", get(tenants::list).post(tenants::create))
        .route("/v1/tenants/{tenant}", get(tenants::one).delete(tenants::delete))
        .route("/v1/tenants/{tenant}/keys", get(tenants::keys).post(tenants::create_key))
        .route(
            "/v1/tenants/{tenant}/keys/{key}",
            get(tenants::key).patch(tenants::change_key).delete(tenants::delete_key),
        )
        .route("/v1/tenants/{tenant}/keys/{key}/rotate", post(tenants::rotate))
        .route("/v1/tenants/{tenant}/keys/{key}/disable", post(tenants::disable))
        .route("/v1/tenants/{tenant}/keys/{key}/enable", post(tenants::enable))
        .route("/v1/limits", get(limits::list).post(limits::create))
        // Names of limits may have slashes.
        .route("/v1/limits/{*name}", get(limits::one).patch(limits::change).delete(limits::delete))
        .route("/v1/policy/changes", get(changes))
        .fallback(async || Fault::new(ErrorCode::UnknownRoute, "see /v1/tenants, /v1/limits and /v1/policy/changes"))
        .method_not_allowed_fallback(async || Fault::new(ErrorCode::MethodNotAllowed, "the path takes another method"))
        .with_state(api)
}

/// Who asks, after the token was looked at.
pub(super) struct Asker {
    admin: Admin,
    desk: Arc<Desk>,
    expects: Option<u64>,
    /// What the request is called by whoever makes it, and its path.
    named: Option<(String, String)>,
}

impl Asker {
    /// Whoever asks, and the body, which of a stranger is not read.
    pub(super) fn of(api: &Api, request: Request) -> Result<(Self, Body), Fault> {
        let (head, body) = request.into_parts();
        let token = head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(bearer);
        let admin = token.and_then(|token| api.admins.of(token)).ok_or_else(|| {
            Fault::new(
                ErrorCode::UnknownToken,
                "send Authorization: Bearer <token> with a token that is listed under admins",
            )
        })?;
        let expects = expects(&head.headers)?;
        let named = named(&head.headers)?.map(|name| (name, head.uri.path().to_owned()));
        Ok((Self { admin, desk: Arc::clone(&api.desk), expects, named }, body))
    }

    /// The same, if it may change what is of a tenant; of none, if it may change everything.
    pub(super) fn may_change(self, tenant: Option<&str>) -> Result<Self, Fault> {
        if self.admin.role == Role::Read {
            return Err(Fault::new(ErrorCode::NotItsAdmin, "this token reads only"));
        }
        match tenant {
            None if self.admin.tenants != Tenants::All => {
                Err(Fault::new(ErrorCode::NotItsAdmin, "this token is for some tenants only"))
            }
            Some(tenant) if !self.admin.tenants.has(tenant) => Err(Fault::none("tenant")),
            _ => Ok(self),
        }
    }

    /// Whether it may see what is of a tenant.
    pub(super) fn sees(&self, tenant: &str) -> bool {
        self.admin.tenants.has(tenant)
    }

    /// Whether it may see everything.
    pub(super) fn sees_all(&self) -> bool {
        self.admin.tenants == Tenants::All
    }

    /// The policy in force now.
    pub(super) async fn now(&self) -> Result<Now, Fault> {
        let desk = Arc::clone(&self.desk);
        off(move || desk.now()).await
    }

    /// Makes a change of the policy in force; gives the one that is in force with it.
    pub(super) async fn change(
        &self,
        make: impl FnOnce(&Policy) -> Result<What, Fault> + Send + 'static,
    ) -> Result<Now, Fault> {
        let (desk, by, expects) = (Arc::clone(&self.desk), self.admin.name.clone(), self.expects);
        off(move || desk.change(&by, (expects, None), make)).await
    }

    /// The same for what there is one more of then, or another secret of, of which this body was sent: it is made once, however often it
    /// is asked for by the same name.
    pub(super) async fn create(
        &self,
        body: &str,
        make: impl FnOnce(&Policy) -> Result<What, Fault> + Send + 'static,
    ) -> Result<Now, Fault> {
        let (desk, by, expects) = (Arc::clone(&self.desk), self.admin.name.clone(), self.expects);
        let once = self.named.as_ref().map(|(name, path)| Once {
            // No name has a line feed, nor has a path.
            name: Digest::of(&format!("{by}\n{name}")),
            request: Digest::of(&format!("{path}\n{body}")),
        });
        off(move || desk.change(&by, (expects, once), make)).await
    }
}

/// A body, as text.
pub(super) async fn text(body: Body) -> Result<String, Fault> {
    let bytes = tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, MAX_BODY)).await;
    let bytes = bytes.map_err(|_| Fault::new(ErrorCode::BodyTooSlow, "the body did not come in time"))?;
    let bytes = bytes.map_err(|_| {
        Fault::new(ErrorCode::BodyTooLarge, format!("it broke off, or is longer than {MAX_BODY} bytes"))
    })?;
    String::from_utf8(bytes.to_vec()).map_err(|_| Fault::new(ErrorCode::BadChange, "the body is not UTF-8"))
}

/// Blocking work, off the thread that serves.
async fn off<T: Send + 'static>(work: impl FnOnce() -> Result<T, Fault> + Send + 'static) -> Result<T, Fault> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(Fault::away("the request was given up; this is a bug")))
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The version that a request is made for.
fn expects(headers: &HeaderMap) -> Result<Option<u64>, Fault> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let version = value.to_str().ok().and_then(|text| text.trim().strip_prefix('"')?.strip_suffix('"')?.parse().ok());
    version.map(Some).ok_or_else(|| Fault::new(ErrorCode::BadChange, "If-Match is not the ETag of an earlier answer"))
}

/// The longest name of a request.
const MOST_NAME: usize = 255;

/// What the request is called, so that it is known again.
fn named(headers: &HeaderMap) -> Result<Option<String>, Fault> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let name = value.to_str().ok().filter(|name| !name.is_empty() && name.len() <= MOST_NAME);
    let says = "Idempotency-Key is 1 to 255 visible characters, such as a UUID";
    name.map(|name| Some(name.to_owned())).ok_or_else(|| Fault::new(ErrorCode::BadChange, says))
}

/// What there is one more of, or was already when the same was asked for before: then its secret is not told again.
pub(super) fn created(now: &Now, body: &Value) -> Response {
    once(StatusCode::CREATED, now, body)
}

/// The answer to what is made once, however often it is asked for by the same name.
pub(super) fn once(status: StatusCode, now: &Now, body: &Value) -> Response {
    let mut response = answer(status, now.version, body);
    if now.was_made {
        response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
    }
    response
}

/// What was made, and what of the request was taken and is not as it reads.
pub(super) fn with_warnings(mut made: Value, warnings: &[Warning]) -> Value {
    let told = warnings.iter().map(|warning| json!({ "code": warning.code.code(), "message": said(warning) }));
    if let Some(members) = made.as_object_mut().filter(|_| !warnings.is_empty()) {
        members.insert("warnings".into(), told.collect());
    }
    made
}

/// What is wrong, and what to do.
fn said(remark: &Remark) -> String {
    match remark.remedy.as_str() {
        "" => remark.what.clone(),
        remedy => format!("{}; {remedy}", remark.what),
    }
}

/// An answer, with the version of the policy that it is of.
pub(super) fn answer(status: StatusCode, version: u64, body: &Value) -> Response {
    let mut response = (status, axum::Json(body)).into_response();
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{version}\"")) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    // It may hold a secret that is shown once.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn changes(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Fault> {
    let (asker, _) = Asker::of(&api, request)?;
    let desk = Arc::clone(&asker.desk);
    let (version, changes) = off(move || desk.changes()).await?;
    let seen =
        changes.iter().filter(|change| asker.sees_all() || asker.sees(&change.tenant) && !change.tenant.is_empty());
    let changes: Vec<Value> = seen
        .map(|change| {
            json!({
                "policy_offset": change.policy.0, "at": change.at.map(|at| at.to_string()), "by": change.by, "kind": change.kind,
                "tenant": change.tenant, "name": change.name, "refused": change.refused,
                "detail": serde_json::from_str::<Value>(&change.detail).unwrap_or_default(),
            })
        })
        .collect();
    Ok(answer(StatusCode::OK, version, &json!({ "changes": changes })))
}

/// Why a request is not answered.
#[derive(Debug)]
pub(super) struct Fault {
    code: ErrorCode,
    message: String,
}

impl Fault {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// What is asked for is not there, or not for whoever asks.
    pub(super) fn none(what: &str) -> Self {
        Self::new(ErrorCode::NoneOfThatName, format!("there is no such {what}"))
    }

    /// What a request makes is not there: if it was made by the same one before, it is gone since.
    pub(super) fn not_made(now: &Now, what: &str) -> Self {
        let message = format!("the same request made this {what} before, and it is gone since");
        if now.was_made { Self::new(ErrorCode::NoneOfThatName, message) } else { Self::none(what) }
    }

    /// The body is not what the path takes.
    pub(super) fn bad(mistakes: &[Mistake]) -> Self {
        let said: Vec<String> = mistakes.iter().map(said).collect();
        Self::new(ErrorCode::BadChange, said.join(". "))
    }

    pub(super) fn log(error: &journal::Error) -> Self {
        Self::away(error.to_string())
    }

    pub(super) fn away(why: impl Into<String>) -> Self {
        Self::new(ErrorCode::LogUnreachable, why)
    }

    /// The fold did not make the change.
    pub(super) fn refused(why: Refusal) -> Self {
        let code = match why {
            Refusal::NoPolicy => ErrorCode::LogUnreachable,
            Refusal::Unknown => ErrorCode::NoneOfThatName,
            Refusal::Exists | Refusal::SecretTaken => ErrorCode::OneOfThatName,
            // Whoever asks again is answered as if it was made now.
            Refusal::MadeBefore | Refusal::OtherRequest => ErrorCode::OtherRequest,
            Refusal::Moved(_) => ErrorCode::PolicyMoved,
        };
        Self::new(code, why.to_string())
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let message = format!("{}: {}", self.code.title(), self.message);
        let body = json!({ "error": { "code": self.code.code(), "message": message } });
        let mut response = (status, axum::Json(body)).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
