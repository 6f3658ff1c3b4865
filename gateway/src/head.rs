//! Whether the head of a request can be read in one way only.
//!
//! What hyper can know to be wrong it refuses itself, with an empty answer; this looks at what it lets pass, on every route and
//! before anything else. A good request costs three lookups and nothing else.

use axum::body::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Version, header};
use schemas::{error_code::ErrorCode, id::CallId};

use crate::{error::Fault, metrics, route};

/// The answer to a request whose head is not good; nothing for a good one.
pub(crate) fn refusal<B>(request: &Request<B>) -> Option<Response<Body>> {
    let (headers, version) = (request.headers(), request.version());
    let why = check(headers, version).err()?;
    let fault = Fault::new(ErrorCode::BadHeaders, why);
    metrics::refused(fault.code);
    let mut response = fault.response(route::dialect_of_path(request.uri().path(), headers), CallId::fresh());
    if version < Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Some(response)
}

pub(crate) fn check(headers: &HeaderMap, version: Version) -> Result<(), &'static str> {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        if !is_only(headers, header::TRANSFER_ENCODING, b"chunked") {
            return Err("`transfer-encoding` is `chunked`, once, or absent");
        }
        if headers.contains_key(header::CONTENT_LENGTH) {
            return Err("`content-length` and `transfer-encoding` exclude each other");
        }
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    if hosts.next().is_none() && version == Version::HTTP_11 {
        return Err("`host` is missing");
    }
    if hosts.next().is_some() {
        return Err("`host` stands twice");
    }
    if headers.contains_key(header::EXPECT) && !is_only(headers, header::EXPECT, b"100-continue") {
        return Err("`expect` is `100-continue` or absent");
    }
    Ok(())
}

/// Whether a header stands once and has this value.
fn is_only(headers: &HeaderMap, name: HeaderName, wanted: &[u8]) -> bool {
    let mut values = headers.get_all(name).iter();
    values.next().is_some_and(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(wanted))
        && values.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_has_one_meaning() {
        let check = |version, pairs: &[(&'static str, &'static str)], good: bool| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(*name, HeaderValue::from_static(value));
            }
            assert_eq!(super::check(&headers, version).is_ok(), good, "{version:?} {pairs:?}");
        };
        let host = ("host", "x");
        for (pairs, good) in [
            (&[host][..], true),
            (&[], false),
            (&[host, host], false),
            (&[host, ("transfer-encoding", "Chunked")], true),
            (&[host, ("transfer-encoding", "gzip, chunked")], false),
            (&[host, ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], false),
            (&[host, ("transfer-encoding", "chunked"), ("content-length", "3")], false),
            (&[host, ("content-length", "3"), ("expect", "100-Continue")], true),
            (&[host, ("expect", "200-ok")], false),
        ] {
            check(Version::HTTP_11, pairs, good);
        }
        check(Version::HTTP_10, &[], true);
        check(Version::HTTP_2, &[], true);
        check(Version::HTTP_2, &[host, host], false);
    }
}
