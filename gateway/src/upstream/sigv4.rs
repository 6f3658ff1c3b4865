//! Amazon's signature of a request, version 4: what says to Bedrock and to STS who calls.
//!
//! All that is sent is signed but the headers that a way between may change: method, path, query, host, time, session and body. Nothing
//! secret is written into the request. Pure: the time comes from whoever calls.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use ring::hmac;
use schemas::{config::AwsKeys, time::Time};
use sha2::{Digest as _, Sha256};

const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// What is signed of a request beside its headers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signed<'a> {
    /// The service that the request is signed for.
    pub(super) service: &'a str,
    pub(super) method: &'a Method,
    pub(super) host: &'a str,
    /// The path as it is sent, escaped.
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
    pub(super) body: &'a [u8],
    pub(super) at: Time,
}

/// Adds the headers that sign a request; nothing where the keys cannot stand in a header.
pub(super) fn sign(keys: &AwsKeys, signed: Signed<'_>, headers: &mut HeaderMap) -> Option<()> {
    let time = stamp(signed.at);
    let token = keys.session_token.expose();
    let day = time.get(..8)?;
    let scope = format!("{day}/{}/{}/aws4_request", keys.region, signed.service);
    let mut named = vec![("host", signed.host), ("x-amz-date", time.as_str())];
    if !token.is_empty() {
        named.push(("x-amz-security-token", token));
    }
    let names = named.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let canonical = canonical(signed, &named, &names);
    let text = format!("{ALGORITHM}\n{time}\n{scope}\n{}", hex(&Sha256::digest(canonical.as_bytes())));
    let first = format!("AWS4{}", keys.secret_access_key.expose()).into_bytes();
    let key =
        [day, &keys.region, signed.service, "aws4_request"].iter().fold(first, |key, text| mac(&key, text.as_bytes()));
    let signature = hex(&mac(&key, text.as_bytes()));
    let id = keys.access_key_id.expose();
    let authorization = format!("{ALGORITHM} Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}");
    let secret = |text: &str| {
        let mut value = HeaderValue::from_str(text).ok()?;
        value.set_sensitive(true);
        Some(value)
    };
    headers.insert(header::AUTHORIZATION, secret(&authorization)?);
    headers.insert(DATE, HeaderValue::from_str(&time).ok()?);
    if !token.is_empty() {
        headers.insert(TOKEN, secret(token)?);
    }
    Some(())
}

/// The request in the one form that both sides sign.
fn canonical(signed: Signed<'_>, named: &[(&str, &str)], names: &str) -> String {
    let headers: String = named.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
    let pairs = signed.query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let mut pairs: Vec<(&str, &str)> = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
    // By name and then by value: much of what stands in names sorts before the `=` behind them.
    pairs.sort_unstable();
    let query = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
    let body = hex(&Sha256::digest(signed.body));
    // A path is escaped once more than it is sent, and has no empty steps.
    let path = escaped(&stepwise(signed.path), b"/");
    format!("{}\n{path}\n{query}\n{headers}\n{names}\n{body}", signed.method)
}

/// A path without the steps between slashes that stand next to each other.
fn stepwise(path: &str) -> String {
    let steps = path.split('/').filter(|step| !step.is_empty()).collect::<Vec<_>>().join("/");
    let end = if path.ends_with('/') && !steps.is_empty() { "/" } else { "" };
    format!("/{steps}{end}")
}

/// A time as `20261128T181500Z`.
fn stamp(at: Time) -> String {
    let text = at.to_string();
    let whole = text.split('.').next().unwrap_or_default().trim_end_matches('Z');
    whole.chars().filter(|char| *char != '-' && *char != ':').chain(['Z']).collect()
}

/// Text with all escaped but what may stand in a path as it is, and `also`.
pub(super) fn escaped(text: &str, also: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || also.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use schemas::config::Secret;

    use super::*;

    /// The derivation and the steps as Amazon documents them, with its own example key and its own intermediate results.
    #[test]
    fn a_key_is_derived_as_amazon_shows() {
        let first = b"AWS4wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_vec();
        let key =
            ["20120215", "us-east-1", "iam", "aws4_request"].iter().fold(first, |key, text| mac(&key, text.as_bytes()));
        assert_eq!(hex(&key), "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d");
    }

    #[test]
    fn a_request_has_one_form() {
        let (method, at) = (Method::POST, Time::parse("2026-11-28T18:15:00.5Z").unwrap());
        let signed = Signed {
            service: "bedrock",
            method: &method,
            host: "h",
            path: "/model//a%3A0/converse/",
            query: Some("x-1=2&x=1&b2=1&b=2&b=1&a"),
            body: b"",
            at,
        };
        let text = canonical(signed, &[("host", "h"), ("x-amz-date", &stamp(at))], "host;x-amz-date");
        let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let wanted = format!(
            "POST\n/model/a%253A0/converse/\na=&b=1&b=2&b2=1&x=1&x-1=2\nhost:h\nx-amz-date:20261128T181500Z\n\nhost;x-amz-date\n{nothing}"
        );
        assert_eq!(text, wanted);
        assert_eq!(["", "/", "//", "/a//b"].map(stepwise), ["/", "/", "/", "/a/b"]);
    }

    /// Signed by Amazon's own library for the same request, keys and time.
    #[test]
    fn signatures_are_those_of_amazons_own_library() {
        for (token, names, signature) in [
            ("", "host;x-amz-date", "eb29460b08ec69f13224e46e542441566775d44628c3fd83c2823cbc38d3f812"),
            (
                "session-token",
                "host;x-amz-date;x-amz-security-token",
                "435acee5c41d4e7f1e1c87afbfd758baba70ce44394efb22749d51430fd45c57",
            ),
        ] {
            let keys = AwsKeys {
                region: "us-east-1".into(),
                access_key_id: Secret::new("AKIDEXAMPLE"),
                secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
                session_token: Secret::new(token),
            };
            let (host, path) =
                ("bedrock-runtime.us-east-1.amazonaws.com", "/model/us.anthropic.claude-v1%3A0/converse");
            let (method, mut headers) = (Method::POST, HeaderMap::new());
            let at = Time::parse("2026-11-28T18:15:00Z").unwrap();
            let signed = Signed {
                service: "bedrock",
                method: &method,
                host,
                path,
                query: None,
                body: br#"{"messages":[]}"#,
                at,
            };
            sign(&keys, signed, &mut headers).unwrap();
            let scope = "AKIDEXAMPLE/20261128/us-east-1/bedrock/aws4_request";
            let wanted = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={names}, Signature={signature}");
            assert_eq!(headers["authorization"], wanted.as_str());
            assert!(headers["authorization"].is_sensitive() && headers["x-amz-date"] == "20261128T181500Z");
            assert_eq!(headers.contains_key("x-amz-security-token"), !token.is_empty());
        }
    }
}
