//! What a client is told when its call does not pass: one type, and one place that makes it an HTTP answer.
//!
//! The answer has the error shape of the dialect that the client speaks, a code with a page, and says whether waiting helps.
//! It never carries a provider's secret, a provider's 401 or 403 body, or anything of another tenant.

use std::{borrow::Cow, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use schemas::{error_code::ErrorCode, id::CallId, json::Tree, limit::Unit, money::Pico, time::Time};
use serde_json::{Value, json};

use crate::metrics;

/// The shape of requests, answers and errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    OpenAi,
    Anthropic,
    Gemini,
    Bedrock,
    Cohere,
}

/// Whether the same call can succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// It cannot, or not before somebody changes something.
    Never,
    /// It can, after this long.
    After(Duration),
    /// Nobody knows; clients follow their own rules for the status.
    AsUsual,
}

/// Why a call does not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: ErrorCode,
    pub(crate) message: Cow<'static, str>,
    pub(crate) retry: Retry,
    pub(crate) limit: Option<Box<AtLimit>>,
    pub(crate) allow: Option<&'static str>,
}

/// The limit that a call ran into, in its own unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AtLimit {
    pub(crate) name: String,
    pub(crate) unit: Unit,
    pub(crate) amount: i128,
    pub(crate) settled: i128,
    pub(crate) held: i128,
    pub(crate) reset_at: Option<Time>,
    /// Whether it comes round soon enough to be a rate and not a budget.
    pub(crate) is_rate: bool,
}

impl Fault {
    pub(crate) fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        let retry = match code.status() {
            400..=407 | 409..=428 => Retry::Never,
            _ => Retry::AsUsual,
        };
        Self { code, message: message.into(), retry, limit: None, allow: None }
    }

    pub(crate) fn never(mut self) -> Self {
        self.retry = Retry::Never;
        self
    }

    pub(crate) fn after(mut self, wait: Duration) -> Self {
        self.retry = Retry::After(wait);
        self
    }

    /// The answer in a dialect.
    pub(crate) fn response(&self, dialect: Dialect, call: CallId) -> Response<Body> {
        let body = self.body(dialect, call);
        let mut response = Response::new(Body::from(Bytes::from(body.to_string())));
        *response.status_mut() = StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if dialect == Dialect::Bedrock {
            headers.insert(ERROR_TYPE, HeaderValue::from_static(self.kind(dialect)));
        }
        self.say_when(headers);
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        stamp(headers, call);
        response
    }

    /// The body of the answer in a dialect: in each our code, and the limit if there is one, where its clients look for neither.
    fn body(&self, dialect: Dialect, call: CallId) -> Value {
        let message = format!("{}: {}", self.code.title(), self.message);
        let (kind, code) = (self.kind(dialect), self.code.code());
        let mut error = match dialect {
            Dialect::OpenAi => json!({ "message": message, "type": kind, "param": null, "code": code }),
            Dialect::Anthropic => json!({ "message": message, "type": kind, "code": code }),
            Dialect::Gemini => json!({
                "code": self.code.status(), "message": message, "status": kind,
                "details": [{ "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": code, "domain": "tollgate" }],
            }),
            Dialect::Bedrock | Dialect::Cohere => json!({ "message": message, "code": code }),
        };
        if let (Some(limit), Some(members)) = (&self.limit, error.as_object_mut()) {
            members.insert("limit".into(), limit.to_json());
        }
        match dialect {
            Dialect::OpenAi | Dialect::Gemini => json!({ "error": error }),
            Dialect::Anthropic => json!({ "type": "error", "error": error, "request_id": call.to_string() }),
            Dialect::Bedrock | Dialect::Cohere => error,
        }
    }

    /// The same as a member of an answer that is cut.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "code": self.code.code(),
            "message": format!("{}: {}", self.code.title(), self.message),
            "limit": self.limit.as_ref().map(|limit| limit.to_json()),
        })
    }

    fn say_when(&self, headers: &mut HeaderMap) {
        match self.retry {
            Retry::AsUsual => {}
            Retry::Never => {
                headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
            }
            Retry::After(wait) => {
                let worth = if wait <= RATE { "true" } else { "false" };
                headers.insert(SHOULD_RETRY, HeaderValue::from_static(worth));
                say_wait(headers, wait);
            }
        }
    }

    fn kind(&self, dialect: Dialect) -> &'static str {
        let is_rate = self.limit.as_ref().is_none_or(|limit| limit.is_rate);
        match (dialect, self.code.status()) {
            (Dialect::OpenAi, 429) if is_rate => "rate_limit_exceeded",
            (Dialect::OpenAi, 429) => "insufficient_quota",
            (Dialect::OpenAi, 500..) => "server_error",
            (Dialect::OpenAi, _) => "invalid_request_error",
            (Dialect::Anthropic, 401) => "authentication_error",
            (Dialect::Anthropic, 403) => "permission_error",
            (Dialect::Anthropic, 404) => "not_found_error",
            (Dialect::Anthropic, 413) => "request_too_large",
            (Dialect::Anthropic, 429) => "rate_limit_error",
            (Dialect::Anthropic, 503) => "overloaded_error",
            (Dialect::Anthropic, 500..) => "api_error",
            (Dialect::Anthropic, _) => "invalid_request_error",
            (Dialect::Gemini, 401) => "UNAUTHENTICATED",
            (Dialect::Gemini, 403) => "PERMISSION_DENIED",
            (Dialect::Gemini, 404) => "NOT_FOUND",
            (Dialect::Gemini, 429) => "RESOURCE_EXHAUSTED",
            (Dialect::Gemini, 500) => "INTERNAL",
            (Dialect::Gemini, 501..) => "UNAVAILABLE",
            (Dialect::Gemini, _) => "INVALID_ARGUMENT",
            (Dialect::Bedrock, 401 | 403) => "AccessDeniedException",
            (Dialect::Bedrock, 404) => "ResourceNotFoundException",
            (Dialect::Bedrock, 429) if is_rate => "ThrottlingException",
            (Dialect::Bedrock, 429) => "ServiceQuotaExceededException",
            (Dialect::Bedrock, 500) => "InternalServerException",
            (Dialect::Bedrock, 501..) => "ServiceUnavailableException",
            (Dialect::Bedrock, _) => "ValidationException",
            (Dialect::Cohere, _) => "",
        }
    }
}

/// What a route of our own answers: its JSON, stamped with the call that it is of, or a fault in the dialect of who asked as `call`.
pub(crate) fn told(
    (dialect, call): (Dialect, CallId),
    status: StatusCode,
    said: Result<(CallId, Value), Fault>,
) -> Response<Body> {
    match said {
        Ok((call, said)) => {
            let mut response = Response::new(Body::from(Bytes::from(said.to_string())));
            *response.status_mut() = status;
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            stamp(response.headers_mut(), call);
            response
        }
        Err(fault) => {
            metrics::refused(fault.code);
            fault.response(dialect, call)
        }
    }
}

/// A body that has to be JSON, read.
pub(crate) fn json_of(body: &[u8]) -> Result<Tree<'_>, Fault> {
    Tree::read(body)
        .map_err(|error| Fault::new(ErrorCode::MalformedJson, format!("{:?} at byte {}", error.why, error.at)))
}

/// A limit that comes round within this is a rate to clients, and worth waiting for; beyond it, it is a budget.
pub(crate) const RATE: Duration = Duration::from_secs(3_600);

// Made once: a name that is made of its text with every call is read byte by byte.
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
pub(crate) const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const CALL_ID: HeaderName = HeaderName::from_static("x-tollgate-call-id");

impl AtLimit {
    fn to_json(&self) -> Value {
        let amount = |value: i128| match self.unit {
            Unit::Usd => Value::from(Pico(value).to_string()),
            _ => i64::try_from(value).map_or_else(|_| Value::from(value.to_string()), Value::from),
        };
        json!({
            "name": self.name,
            "unit": self.unit.name(),
            "amount": amount(self.amount),
            "settled": amount(self.settled),
            "held": amount(self.held),
            "reset_at": self.reset_at.filter(|at| *at < Time::MAX).map(|at| at.to_string()),
        })
    }
}

/// The headers that every answer carries, so that a client can name its call.
pub(crate) fn stamp(headers: &mut HeaderMap, call: CallId) {
    let Ok(id) = HeaderValue::from_str(&call.to_string()) else { return };
    headers.insert(REQUEST_ID, id.clone());
    headers.insert(X_REQUEST_ID, id.clone());
    headers.insert(CALL_ID, id);
}

/// Says how long to wait, to those who read milliseconds and to those who do not.
pub(crate) fn say_wait(headers: &mut HeaderMap, wait: Duration) {
    let ms = wait.as_millis().max(1);
    headers.insert(header::RETRY_AFTER, number(ms.div_ceil(1_000)));
    headers.insert(RETRY_AFTER_MS, number(ms));
}

fn number(value: u128) -> HeaderValue {
    HeaderValue::from(u64::try_from(value).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn read(fault: &Fault, dialect: Dialect) -> (Value, HeaderMap) {
        let response = fault.response(dialect, CallId::from_bytes([7; 16]));
        assert_eq!(response.status().as_u16(), fault.code.status());
        let (head, body) = response.into_parts();
        let bytes = futures::executor::block_on(body.collect()).unwrap().to_bytes();
        assert!(head.headers.contains_key("x-tollgate-call-id") && head.headers.contains_key("request-id"));
        (serde_json::from_slice(&bytes).unwrap(), head.headers)
    }

    fn check(fault: &Fault, dialect: Dialect, status: u16, kind: &str) -> (Value, HeaderMap) {
        let (value, headers) = read(fault, dialect);
        assert_eq!((fault.code.status(), &value["error"]["type"]), (status, &json!(kind)));
        assert_eq!(value["error"]["code"], fault.code.code());
        (value, headers)
    }

    #[test]
    fn each_dialect_has_its_shape() {
        let unknown = Fault::new(ErrorCode::UnknownKey, "nobody has it");
        let (value, headers) = check(&unknown, Dialect::OpenAi, 401, "invalid_request_error");
        assert_eq!(value["error"]["param"], Value::Null);
        assert_eq!(headers["x-should-retry"], "false");
        let (value, _) = check(&unknown, Dialect::Anthropic, 401, "authentication_error");
        assert_eq!(value["type"], "error");
        assert_eq!(value["request_id"], headers["request-id"].to_str().unwrap());
        check(&Fault::new(ErrorCode::ProviderUnreachable, "gone"), Dialect::Anthropic, 502, "api_error");
    }

    #[test]
    fn the_younger_dialects_have_theirs() {
        let limited = Fault::new(ErrorCode::HardLimitReached, "no");
        let (value, _) = read(&limited, Dialect::Gemini);
        assert_eq!((&value["error"]["code"], &value["error"]["status"]), (&json!(429), &json!("RESOURCE_EXHAUSTED")));
        assert_eq!(value["error"]["details"][0]["reason"], limited.code.code());
        let (value, headers) = read(&limited, Dialect::Bedrock);
        assert_eq!(headers["x-amzn-errortype"], "ThrottlingException");
        assert!(value["message"].as_str().unwrap().ends_with("no") && value["code"] == limited.code.code());
        let (value, _) = read(&limited, Dialect::Cohere);
        assert!(value["message"].is_string() && value.get("error").is_none());
    }

    #[test]
    fn a_refusal_states_the_limit_and_whether_waiting_helps() {
        let mut fault = Fault::new(ErrorCode::HardLimitReached, "no").after(Duration::from_millis(1_500));
        let limit = AtLimit {
            name: "acme-month".into(),
            unit: Unit::Usd,
            amount: 100_000_000_000_000,
            settled: 99_500_000_000_000,
            held: 1,
            reset_at: Some(Time::from_micros(0)),
            is_rate: false,
        };
        fault.limit = Some(Box::new(limit));
        let (value, headers) = check(&fault, Dialect::OpenAi, 429, "insufficient_quota");
        assert_eq!(value["error"]["limit"]["amount"], "100.00");
        assert_eq!(value["error"]["limit"]["settled"], "99.50");
        assert_eq!([&headers["retry-after"], &headers["retry-after-ms"]], ["2", "1500"]);
        let fault = fault.after(Duration::from_secs(86_400));
        let (_, headers) = check(&fault, Dialect::OpenAi, 429, "insufficient_quota");
        assert_eq!([&headers["retry-after"], &headers["x-should-retry"]], ["86400", "false"]);
        let (_, headers) = check(&fault.never(), Dialect::Anthropic, 429, "rate_limit_error");
        assert_eq!(headers["x-should-retry"], "false");
    }
}
