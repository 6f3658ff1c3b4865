//! Whether and when another attempt may follow, as far as the answer of the one that failed says.

use std::time::Duration;

use http::HeaderMap;
use schemas::{
    config::{Cause, Retry},
    time::Time,
};

/// How long the provider asks to be left alone: until an instant or for some seconds, or its milliseconds where it says those too.
pub(super) fn retry_after(headers: &HeaderMap, now: Time) -> Option<Duration> {
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
    fn what_is_too_long_to_count_is_too_long_to_wait_for() {
        for said in ["99999999999999999999", "18446744073709551615.9", "18446744073709552"] {
            let headers = HeaderMap::from_iter([(http::header::RETRY_AFTER, HeaderValue::from_static(said))]);
            assert_eq!(retry_after(&headers, Time::ZERO), Some(Duration::from_millis(u64::MAX)), "{said}");
        }
    }
}
