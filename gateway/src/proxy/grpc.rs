//! Envoy's rate limit service, and gRPC's health service, on the gateway's own address: unary calls over HTTP/2, framed here.
//!
//! A call that may not be made (a limit, a client's key that is nobody's or not this proxy's, a name that is in use) is `OVER_LIMIT`
//! with the refusal as its body, so that no failure mode of Envoy lets it pass. A question that is wrong, or cannot be answered
//! now, is an error, of which Envoy's failure mode makes what its operator said.

use std::sync::Arc;

use axum::body::Body;
use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;
use schemas::{
    error_code::ErrorCode,
    id::CallId,
    limit::{Limit, Unit, Window},
    money::PICO_PER_USD,
    time::{Time, now},
};

use super::{
    Wrong,
    asker::{Asker, fault},
    descriptors::{Question, question},
    desk, envoy, wrong,
};
use crate::{
    body,
    error::{Dialect, Fault},
    limits::Standing,
    metrics,
    worker::Worker,
};

/// The paths of the methods.
pub(crate) const SHOULD_RATE_LIMIT: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";
pub(crate) const HEALTH: &str = "/grpc.health.v1.Health/Check";

/// The most bytes of a message: 64 descriptors of a few entries are some 20 KiB.
const MESSAGE_MAX: usize = 64 << 10;
/// A frame begins with whether it is compressed, and its length.
const PREFIX: usize = 5;

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const CALL_ID: &str = "x-tollgate-call-id";

/// What of a refusal's head is for Envoy's client.
const TOLD: [&str; 5] = ["content-type", "retry-after", "retry-after-ms", "x-should-retry", CALL_ID];

/// How a call of gRPC ends without an answer.
#[derive(Clone, Copy, Debug)]
enum Code {
    InvalidArgument = 3,
    NotFound = 5,
    AlreadyExists = 6,
    Unavailable = 14,
    Unauthenticated = 16,
}

/// Answers `ShouldRateLimit`.
pub(crate) async fn should_rate_limit(worker: &Arc<Worker>, request: Request<Body>) -> Response<Body> {
    if let Some(refusal) = not_grpc(&request) {
        return refusal;
    }
    match ask(worker, request).await {
        Ok(response) => answered(&response.encode_to_vec()),
        Err(fault) => {
            metrics::refused(fault.code);
            failed(code(fault.code), &format!("{}: {}: {}", fault.code.code(), fault.code.title(), fault.message))
        }
    }
}

/// Answers `Check` of gRPC's health service: serving, once a policy is known.
pub(crate) fn health(worker: &Worker, request: &Request<Body>) -> Response<Body> {
    const SERVING: &[u8] = &[8, 1];
    const NOT_SERVING: &[u8] = &[8, 2];
    not_grpc(request).unwrap_or_else(|| answered(if worker.view().is_ok() { SERVING } else { NOT_SERVING }))
}

async fn ask(worker: &Arc<Worker>, request: Request<Body>) -> Result<envoy::Response, Fault> {
    let (head, body) = request.into_parts();
    let view = worker.view()?;
    let asker = Asker::of(&head.headers, head.uri.query(), (&**worker, &*view), now()).await?;
    let too_large = || Fault::new(ErrorCode::BadCheck, format!("a message has at most {MESSAGE_MAX} bytes"));
    if body.size_hint().lower() > (MESSAGE_MAX + PREFIX) as u64 {
        return Err(too_large());
    }
    let (bytes, _taken) = body::read(&worker.shared, &head.headers, body).await?;
    if bytes.len() > MESSAGE_MAX + PREFIX {
        return Err(too_large());
    }
    let call = CallId::fresh();
    let (question, descriptors) = question_of(&bytes).map_err(fault)?;
    let held = match question {
        Question::Check(check) => desk::check(worker, &view, &asker, call, check).await.map(|passed| passed.holds),
        Question::Final(both) => desk::take(worker, &view, &asker, call, *both).await,
        Question::Settle(settlement) => {
            let call = desk::settle(worker, &asker, settlement).await?;
            return Ok(passed(call, descriptors, None));
        }
    };
    match held {
        Ok(holds) => Ok(passed(call, descriptors, worker.shared.limits.tightest(&holds))),
        Err(fault) if is_refusal(&fault) => {
            metrics::refused(fault.code);
            let limit = fault.limit.as_ref().and_then(|at| worker.shared.limits.limit(&at.name));
            Ok(refused(&fault, call, descriptors, limit.as_deref()).await)
        }
        Err(fault) => Err(fault),
    }
}

/// Reads the body of a request: what it asks, in how many descriptors.
pub(crate) fn question_of(body: &[u8]) -> Result<(Question, usize), Wrong> {
    let message = message(body).ok_or_else(|| wrong("one frame, not compressed, is taken"))?;
    let request = envoy::Request::decode(message).map_err(|_| wrong("the message is no RateLimitRequest"))?;
    Ok((question(&request, message)?, request.descriptors.len()))
}

/// Whether the call may not be made, and not: whether the question can be answered.
fn is_refusal(fault: &Fault) -> bool {
    let of_call = matches!(fault.code, ErrorCode::UnknownKey | ErrorCode::NotItsTenant | ErrorCode::CheckConflict)
        || matches!(fault.code, ErrorCode::KeyDisabled | ErrorCode::KeyExpired | ErrorCode::ModelNotAllowed);
    fault.code.status() == 429 || of_call
}

fn passed(call: CallId, descriptors: usize, standing: Option<Standing>) -> envoy::Response {
    let status = standing.map_or_else(
        || envoy::Status { code: envoy::OK, ..envoy::Status::default() },
        |standing| {
            let Standing { limit, reset_at, .. } = &standing;
            status(envoy::OK, limit, standing.left(), *reset_at)
        },
    );
    let id = envoy::Entry { key: CALL_ID.into(), value: call.to_string() };
    envoy::Response {
        overall_code: envoy::OK,
        statuses: vec![status; descriptors],
        response_headers_to_add: vec![id],
        raw_body: Bytes::new(),
    }
}

async fn refused(fault: &Fault, call: CallId, descriptors: usize, limit: Option<&Limit>) -> envoy::Response {
    let (head, body) = fault.response(Dialect::OpenAi, call).into_parts();
    let header = |name: &&str| {
        let value = head.headers.get(*name)?.to_str().ok()?;
        Some(envoy::Entry { key: (*name).to_owned(), value: value.to_owned() })
    };
    let plain = || envoy::Status { code: envoy::OVER_LIMIT, ..envoy::Status::default() };
    let status = fault.limit.as_ref().map_or_else(plain, |at| {
        let left = (at.amount - at.settled - at.held).max(0);
        limit.map_or_else(plain, |limit| status(envoy::OVER_LIMIT, limit, left, at.reset_at))
    });
    envoy::Response {
        overall_code: envoy::OVER_LIMIT,
        statuses: vec![status; descriptors],
        response_headers_to_add: TOLD.iter().filter_map(header).collect(),
        // It is in memory already.
        raw_body: body.collect().await.map(|body| body.to_bytes()).unwrap_or_default(),
    }
}

/// A limit in Envoy's terms: whole dollars, or a count, as far as it has numbers for it.
fn status(code: i32, limit: &Limit, left: i128, reset_at: Option<Time>) -> envoy::Status {
    let whole = |amount: i128| {
        let unit = if limit.unit == Unit::Usd { PICO_PER_USD } else { 1 };
        u32::try_from(amount / unit).unwrap_or(u32::MAX)
    };
    let unit = match limit.window {
        Window::Second => 1,
        Window::Minute => 2,
        Window::Hour => 3,
        Window::Day => 4,
        Window::Month => 5,
        Window::Week | Window::Total => 0,
    };
    let until = reset_at.filter(|at| *at < Time::MAX).map(|at| at.since(now()));
    envoy::Status {
        code,
        current_limit: Some(envoy::Limit { requests_per_unit: whole(limit.amount), unit, name: limit.name.clone() }),
        limit_remaining: whole(left),
        duration_until_reset: until.map(|span| envoy::Span {
            seconds: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
            nanos: i32::try_from(span.subsec_nanos()).unwrap_or(0),
        }),
    }
}

fn code(code: ErrorCode) -> Code {
    match code {
        ErrorCode::MissingKey | ErrorCode::UnknownKey | ErrorCode::KeysDisagree => Code::Unauthenticated,
        ErrorCode::KeyDisabled | ErrorCode::KeyExpired | ErrorCode::TokenNotValid => Code::Unauthenticated,
        ErrorCode::CheckNotOpen => Code::NotFound,
        ErrorCode::CheckConflict => Code::AlreadyExists,
        _ if code.status() >= 500 => Code::Unavailable,
        _ => Code::InvalidArgument,
    }
}

/// The message of a body that is one whole frame.
fn message(body: &[u8]) -> Option<&[u8]> {
    let (prefix, message) = body.split_first_chunk::<PREFIX>()?;
    let [0, length @ ..] = prefix else { return None };
    (usize::try_from(u32::from_be_bytes(*length)).ok()? == message.len()).then_some(message)
}

fn not_grpc(request: &Request<Body>) -> Option<Response<Body>> {
    let kind = request.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    if kind.starts_with(b"application/grpc") {
        return None;
    }
    let mut response = Response::new(Body::from("this is a gRPC method"));
    *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    Some(response)
}

fn answered(message: &[u8]) -> Response<Body> {
    let mut frame = BytesMut::with_capacity(PREFIX + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.extend_from_slice(message);
    let mut trailers = HeaderMap::new();
    trailers.insert(STATUS, HeaderValue::from_static("0"));
    let body = Full::new(frame.freeze()).with_trailers(std::future::ready(Some(Ok(trailers))));
    grpc(Body::new(body))
}

fn failed(code: Code, why: &str) -> Response<Body> {
    let mut response = grpc(Body::empty());
    response.headers_mut().insert(STATUS, HeaderValue::from(code as u16));
    if let Ok(message) = HeaderValue::from_str(&escaped(why)) {
        response.headers_mut().insert(MESSAGE, message);
    }
    response
}

fn grpc(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// Text as `grpc-message` carries it: what is not plain ASCII, and `%`, as escapes.
fn escaped(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            out.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}
