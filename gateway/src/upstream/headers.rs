//! Which headers pass: requests by a list of what may, answers by a list of what may not.
//!
//! Credentials, cookies, organisation and project of a client never reach a provider; a provider's cookies, transport
//! promises, organisation and rate limits, which belong to the gateway's own account, never reach a client. Nor does what a
//! browser would take for the word of this gateway's origin: who may read answers is said by `cors` alone.

use http::{HeaderMap, HeaderName, header};

/// Request headers that go on as they are.
const ALLOWED: [&str; 9] = [
    "content-type",
    "accept",
    "user-agent",
    "anthropic-version",
    "anthropic-beta",
    "openai-beta",
    "idempotency-key",
    "traceparent",
    "tracestate",
];

/// Never sent on, whatever `forward` says.
const SECRET: [&str; 9] = [
    "authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "cookie",
    "proxy-authorization",
    "host",
    "content-length",
    "accept-encoding",
];

const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
];

/// Copies what may go on to a provider.
pub(crate) fn copy_allowed(from: &HeaderMap, forward: &[String], to: &mut HeaderMap) {
    let named: Vec<HeaderName> = hops(from).collect();
    for (name, value) in from {
        let text = name.as_str();
        let may = ALLOWED.contains(&text)
            || text.starts_with("x-stainless-")
            // Guardrails, tracing, tiers: what is asked of Bedrock beside the body.
            || text.starts_with("x-amzn-bedrock-")
            || (forward.iter().any(|wanted| wanted.eq_ignore_ascii_case(text)) && !SECRET.contains(&text));
        let hops = HOP_BY_HOP.contains(&text) || named.contains(name);
        if may && !hops {
            to.append(name.clone(), value.clone());
        }
    }
}

/// Whether a header that may go on to a provider with this list can change what it answers.
pub(crate) fn changes_answers(name: &str, forward: &[String]) -> bool {
    let reports = ["user-agent", "idempotency-key", "traceparent", "tracestate"];
    let asks = ALLOWED.contains(&name) && !reports.contains(&name);
    asks || name.starts_with("x-amzn-bedrock-") || forward.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
}

/// Removes from an answer's head what is not for the client.
pub(crate) fn answer_headers(headers: &mut HeaderMap) {
    let mut gone: Vec<HeaderName> = hops(headers).collect();
    gone.extend(headers.keys().filter(|name| is_private_answer(name.as_str())).cloned());
    for name in gone {
        headers.remove(name);
    }
}

/// The headers that `connection` names for one hop. What is no name, which may be any bytes, does not hide those beside it.
fn hops(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    let named =
        headers.get_all(header::CONNECTION).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    named.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
}

fn is_private_answer(name: &str) -> bool {
    HOP_BY_HOP.contains(&name)
        || matches!(
            name,
            "set-cookie"
                | "set-cookie2"
                | "alt-svc"
                | "strict-transport-security"
                | "request-id"
                | "x-request-id"
                | "location"
                | "www-authenticate"
                | "authorization"
                | "authentication-info"
                | "proxy-authentication-info"
                | "nel"
                | "report-to"
                | "reporting-endpoints"
                | "clear-site-data"
                | "timing-allow-origin"
        )
        || name.starts_with("access-control-")
        || name.starts_with("cross-origin-")
        || name.starts_with("openai-organization")
        || name.starts_with("openai-project")
        || name.starts_with("anthropic-organization")
        || name.starts_with("x-ratelimit")
        || name.starts_with("x-trial-endpoint-")
        || name.starts_with("x-endpoint-monthly-")
        || name.starts_with("ratelimit")
        || name.starts_with("anthropic-ratelimit-")
        || name.starts_with("anthropic-priority-")
        || name.starts_with("anthropic-fast-")
        || name.starts_with("x-tollgate-")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn only_what_is_listed_goes_to_a_provider() {
        let from = map(&[
            ("content-type", "application/json"),
            ("anthropic-version", "2023-06-01"),
            ("x-stainless-lang", "python"),
            ("tracestate", "a=b"),
            ("connection", "close, tracestate"),
            ("authorization", "Bearer tg-secret"),
            ("cookie", "a=b"),
            ("openai-organization", "org"),
            ("x-custom", "1"),
            ("x-other", "1"),
            ("te", "trailers"),
        ]);
        let mut to = HeaderMap::new();
        copy_allowed(&from, &["X-Custom".into(), "authorization".into(), "te".into()], &mut to);
        let mut names: Vec<&str> = to.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["anthropic-version", "content-type", "x-custom", "x-stainless-lang"]);
    }

    #[test]
    fn what_is_no_name_hides_no_name_beside_it() {
        let mut headers = map(&[("x-hop", "1"), ("x-custom", "1")]);
        headers.insert("connection", HeaderValue::from_bytes(b"X-Hop, \xe9").unwrap());
        let mut to = HeaderMap::new();
        copy_allowed(&headers, &["x-hop".into(), "x-custom".into()], &mut to);
        assert_eq!(to, map(&[("x-custom", "1")]));
        answer_headers(&mut headers);
        assert_eq!(headers, to);
    }

    #[test]
    fn a_providers_own_business_stays_with_it() {
        let mut headers = map(&[
            ("content-type", "text/event-stream"),
            ("set-cookie", "__cf_bm=1"),
            ("set-cookie2", "a=b"),
            ("access-control-allow-origin", "*"),
            ("access-control-allow-credentials", "true"),
            ("timing-allow-origin", "*"),
            ("cross-origin-resource-policy", "same-origin"),
            ("www-authenticate", "Bearer realm=\"api\""),
            ("authorization", "Bearer sk-secret"),
            ("authentication-info", "nextnonce=\"1\""),
            ("nel", "{}"),
            ("report-to", "{}"),
            ("reporting-endpoints", "a=\"b\""),
            ("clear-site-data", "\"*\""),
            ("server-timing", "total;dur=12"),
            ("x-ratelimit-remaining-tokens", "1"),
            ("anthropic-ratelimit-tokens-limit", "1"),
            ("anthropic-organization-id", "x"),
            ("transfer-encoding", "chunked"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("retry-after", "3"),
            ("openai-processing-ms", "12"),
        ]);
        answer_headers(&mut headers);
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-type", "openai-processing-ms", "retry-after", "server-timing"]);
    }
}
