//! Heads of requests and answers: no secret and nothing that is meant for one hop passes, whatever the configuration forwards.
//!
//! An input is lines: `?` and a query, `+` and a header that is to be forwarded, or a header. What may not pass is listed here once
//! more, so that a name that falls out of the gateway's list is missed.

use gateway::fuzz::{answered, caller, forwarded, is_clear, without_key};
use http::{HeaderMap, HeaderName, HeaderValue, Version, header};
use schemas::subject::Subject;

/// The one key that is known.
pub const KEY: &str = "tg-fuzz-key";

const SECRET: [&str; 6] = ["authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie", "proxy-authorization"];
const HOP: [&str; 8] =
    ["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "expect"];
const PRIVATE: [&str; 10] = [
    "set-cookie",
    "www-authenticate",
    "authorization",
    "location",
    "openai-organization",
    "anthropic-organization-id",
    "x-ratelimit-limit-requests",
    "anthropic-ratelimit-tokens-limit",
    "access-control-allow-origin",
    "x-tollgate-call-id",
];

/// Takes the input as the head of a request, and as that of an answer.
pub fn check(input: &[u8]) {
    let (mut headers, mut query, mut forward) = (HeaderMap::new(), None, Vec::new());
    for line in input.split(|byte| *byte == b'\n') {
        if let Some(text) = line.strip_prefix(b"?") {
            query = str::from_utf8(text).ok();
        } else if let Some(name) = line.strip_prefix(b"+") {
            forward.extend(str::from_utf8(name).ok().map(str::to_owned));
        } else if let Some(colon) = line.iter().position(|byte| *byte == b':') {
            let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(&line[..colon]), value) {
                headers.append(name, value);
            }
        }
    }
    request(&headers, &forward);
    answer(&headers);
    query.into_iter().for_each(keyless);
    who(&headers, query);
    one_meaning(&headers);
}

/// The headers that `connection` names, in the plainest way.
fn hops(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(header::CONNECTION).iter();
    let names = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    names.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()).collect()
}

fn request(headers: &HeaderMap, forward: &[String]) {
    let passed = forwarded(headers, forward);
    for (name, value) in &passed {
        assert!(!SECRET.contains(&name.as_str()) && !HOP.contains(&name.as_str()), "{name} goes to a provider");
        assert!(![header::HOST, header::CONTENT_LENGTH, header::ACCEPT_ENCODING].contains(name), "{name} goes on");
        assert!(headers.get_all(name).iter().any(|own| own == value), "{name} is made up");
    }
    for name in hops(headers) {
        assert!(!passed.contains_key(&name), "{name} is for one hop");
    }
}

fn answer(headers: &HeaderMap) {
    let mut left = headers.clone();
    answered(&mut left);
    for name in HOP.iter().chain(&PRIVATE) {
        assert!(!left.contains_key(*name), "{name} goes to a client");
    }
    for name in hops(headers) {
        assert!(!left.contains_key(&name), "{name} is for one hop");
    }
    let mut again = left.clone();
    answered(&mut again);
    assert_eq!(again, left);
}

/// No pair of what is left of a query is called `key` by a reader of percent escapes.
fn keyless(query: &str) {
    let Some(left) = without_key(query) else { return };
    for pair in left.split('&') {
        let name = pair.split_once('=').map_or("", |(name, _)| name);
        assert_ne!(unescaped(name.as_bytes()), b"key", "{query:?} goes on as {left:?}");
    }
    assert_eq!(without_key(&left).as_deref(), Some(&*left));
    let kept = query.split('&').filter(|pair| left.split('&').any(|other| other == *pair)).count();
    assert!(kept >= left.split('&').count(), "{query:?} goes on as {left:?}");
}

fn unescaped(text: &[u8]) -> Vec<u8> {
    let (mut out, mut at) = (Vec::new(), 0);
    while let Some(byte) = text.get(at) {
        let digits = text.get(at + 1..at + 3).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        match digits.and_then(|digits| str::from_utf8(digits).ok()).filter(|_| *byte == b'%') {
            Some(digits) => {
                out.extend(u8::from_str_radix(digits, 16));
                at += 3;
            }
            None => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    out
}

/// Only who sends the key is taken for its owner, and tags of a call neither change the owner's nor are without bound.
fn who(headers: &HeaderMap, query: Option<&str>) {
    let tags = |pairs: &[(&str, &str)]| pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let owner =
        Subject { tenant: "acme".into(), user: "alice".into(), tags: tags(&[("env", "prod")]), ..Subject::default() };
    let Ok(caller) = caller(headers, query, KEY, &owner) else { return };
    let says = |bytes: &[u8]| bytes.windows(KEY.len()).any(|window| window == KEY.as_bytes());
    let sent = headers.values().any(|value| says(value.as_bytes()))
        || query.is_some_and(|query| says(&unescaped(query.as_bytes())));
    assert!(sent, "nobody sent the key");
    assert_eq!(caller.tag("env"), Some("prod"));
    assert!(caller.tags.is_sorted() && caller.tags.len() <= 17, "{:?}", caller.tags);
    for (at, (name, value)) in caller.tags.iter().enumerate() {
        assert!((1..=64).contains(&name.len()) && value.len() <= 256, "{name:?}: {value:?}");
        assert!(!name.chars().chain(value.chars()).any(char::is_control), "{name:?}: {value:?}");
        assert!(caller.tags[..at].iter().all(|(other, _)| other != name), "{name:?} stands twice");
    }
    assert_eq!(Subject { tags: owner.tags.clone(), ..caller }, owner);
}

fn one_meaning(headers: &HeaderMap) {
    for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
        let stands = |name: HeaderName| headers.get_all(name).iter().count();
        let (lengths, codings) = (stands(header::CONTENT_LENGTH), stands(header::TRANSFER_ENCODING));
        let one_host = stands(header::HOST) == 1 || stands(header::HOST) == 0 && version != Version::HTTP_11;
        if is_clear(headers, version) {
            assert!(codings <= 1 && (codings == 0 || lengths == 0) && one_host, "{version:?} {headers:?}");
        }
    }
}
