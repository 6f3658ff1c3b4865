//! Whether and when another attempt may follow, as far as the answer of the one that failed says.
//!
//! Headers say it, but Google's, which says in the body of an error how long to wait: what comes of that at once is looked at, and is still
//! what the client is told if nothing better comes.

use std::time::Duration;

use http::{HeaderMap, header};
use schemas::{
    config::{Cause, Dialect, Retry},
    json::Tree,
    time::{Time, now},
};

use crate::{
    error::{RETRY_AFTER_MS, say_wait},
    json::member,
    upstream::{Answer, Upstream},
};

/// So much is read of a body that may say how long to wait.
const SAID_MAX: usize = 64 << 10;
/// And only what comes within this.
const SAID_WITHIN: Duration = Duration::from_secs(1);
/// What Google calls the part of an error that says it.
const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// How long the provider asks to be left alone with a failure after which that counts. Where its body says so the client is told by headers.
pub(super) async fn leave_alone(answer: &mut Answer, upstream: &Upstream) -> Option<Duration> {
    if !matches!(answer.status.as_u16(), 429 | 503) {
        return None;
    }
    let is_said = [header::RETRY_AFTER, RETRY_AFTER_MS].iter().any(|name| answer.headers.contains_key(name));
    if is_said || !matches!(upstream.provider.dialect, Dialect::Gemini | Dialect::Vertex) {
        return retry_after(&answer.headers, now());
    }
    let wait = retry_delay(&answer.body.read_ahead(SAID_MAX, SAID_WITHIN).await)?;
    say_wait(&mut answer.headers, wait);
    Some(wait)
}

/// How long an error of Google's asks to wait.
fn retry_delay(error: &[u8]) -> Option<Duration> {
    let tree = Tree::read_answer(error).ok()?;
    let root = tree.root();
    // In place of a stream that is no stream of events it is the one item of a list.
    let root = match root.items() {
        Some(mut items) => items.next()?,
        None => root,
    };
    let details = member(member(root, "error")?, "details")?.items()?;
    let mut delays = details.filter_map(|detail| {
        let is_delay = member(detail, "@type")?.word()? == RETRY_INFO;
        member(detail, "retryDelay")?.word().filter(|_| is_delay)
    });
    delays.find_map(|delay| thousandths(delay.strip_suffix('s')?)).map(Duration::from_millis)
}

/// How long headers ask to be left alone: until an instant or for some seconds, or its milliseconds where it says those too.
fn retry_after(headers: &HeaderMap, now: Time) -> Option<Duration> {
    let stated = |name: &str| Some(headers.get(name)?.to_str().ok()?.trim());
    let number = |name: &str| thousandths(stated(name)?);
    let ms = number("retry-after-ms").map(Duration::from_micros);
    ms.or_else(|| number("retry-after").map(Duration::from_millis))
        .or_else(|| Some(Time::of_http(stated("retry-after")?)?.since(now)))
}

/// A number, with a fraction or without, in thousandths: rounded up, since nobody is asked sooner than it says, and what is too large for
/// that is as much as there is.
fn thousandths(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let whole = whole.parse().unwrap_or(u64::MAX);
    let (first, rest) = fraction.split_at(fraction.len().min(3));
    let first: u64 = format!("{first:0<3}").parse().ok()?;
    let more = u64::from(rest.bytes().any(|digit| digit != b'0'));
    Some(whole.saturating_mul(1_000).saturating_add(first + more))
}

/// Whether the provider says that the same may be tried again, as the SDKs of OpenAI and Anthropic heed it.
pub(super) fn should_retry(headers: &HeaderMap) -> Option<bool> {
    match headers.get("x-should-retry")?.as_bytes() {
        b"true" => Some(true),
        b"false" => Some(false),
        _ => None,
    }
}

/// Whether another attempt may follow a failure. Where a model says that nothing is tried again, no provider's word changes that.
pub(super) fn follows(retry: &Retry, (cause, status): (Option<Cause>, u16), again: Option<bool>) -> bool {
    retry.follows(cause, status) || (again == Some(true) && !retry.on.is_empty())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn a_provider_says_in_any_way_how_long_it_wants_to_be_left_alone() {
        let now = Time::of_http("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let check = |said: &[(&'static str, &'static str)], micros: Option<u64>| {
            let headers =
                said.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            let wanted = micros.map(Duration::from_micros);
            assert_eq!(retry_after(&HeaderMap::from_iter(headers), now), wanted, "{said:?}");
        };
        check(&[], None);
        check(&[("retry-after", " 60 ")], Some(60_000_000));
        check(&[("retry-after", "0")], Some(0));
        check(&[("retry-after", "2.5")], Some(2_500_000));
        check(&[("retry-after", "1.0001")], Some(1_001_000));
        check(&[("retry-after", "0.9990")], Some(999_000));
        check(&[("retry-after", "3.")], Some(3_000_000));
        check(&[("retry-after", "60"), ("retry-after-ms", "300")], Some(300_000));
        check(&[("retry-after-ms", "0.25")], Some(250));
        check(&[("retry-after", "Sun, 06 Nov 1994 08:49:47 GMT")], Some(10_000_000));
        check(&[("retry-after", "Sun, 06 Nov 1994 08:49:27 GMT")], Some(0));
        for other in ["", "-1", "1e3", ".", ".5", "1.2.3", "1,5", "soon", "+1"] {
            check(&[("retry-after", other)], None);
        }
    }

    #[test]
    fn google_says_it_in_the_details_of_an_error() {
        let check = |details: &str, ms: Option<u64>| {
            let error = format!(r#"{{"error":{{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED"{details}}}}}"#);
            for error in [format!("[{error}\n]"), error] {
                assert_eq!(retry_delay(error.as_bytes()), ms.map(Duration::from_millis), "{error}");
            }
        };
        let info = |delay: &str| format!(r#"{{"@type":"{RETRY_INFO}","retryDelay":{delay}}}"#);
        let help = r#"{"@type":"type.googleapis.com/google.rpc.Help","retryDelay":"1s","links":[]}"#;
        check("", None);
        check(r#","details":[]"#, None);
        check(&format!(r#","details":[{help}]"#), None);
        for (delay, ms) in [
            (r#""34.074824224s""#, Some(34_075)),
            (r#""60s""#, Some(60_000)),
            (r#""0s""#, Some(0)),
            (r#""34""#, None),
            (r#""-1s""#, None),
            ("34", None),
            ("null", None),
        ] {
            check(&format!(r#","details":[{help},{}]"#, info(delay)), ms);
        }
        for other in ["", "[]", "{}", "Service Unavailable", r#"{"error":"#, r#"{"error":null}"#] {
            assert_eq!(retry_delay(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn what_is_too_long_to_count_is_too_long_to_wait_for() {
        for said in ["99999999999999999999", "18446744073709551615.9", "18446744073709552"] {
            let headers = HeaderMap::from_iter([(http::header::RETRY_AFTER, HeaderValue::from_static(said))]);
            assert_eq!(retry_after(&headers, Time::ZERO), Some(Duration::from_millis(u64::MAX)), "{said}");
        }
    }
}
