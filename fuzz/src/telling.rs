//! Requests that tell of usage, as CloudEvents in binary, structured and batch mode: each event says the same in whichever it comes.
//!
//! An input is lines of headers, an empty line, and the body.

use gateway::{external::External, fuzz::told};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use schemas::{config::Config, id::BookHash, time::Time};
use serde_json::{Value, json, value::RawValue};

/// 2026-11-20T12:00:00Z.
const NOW: Time = Time::from_micros(1_795_176_000_000_000);

/// The most events of a request.
const MOST: usize = 500;

/// Reads the input as a request.
pub fn check(input: &[u8]) {
    let Some((headers, body)) = read(input) else { return };
    let Some(taken) = events(&headers, body) else { return };
    assert!(taken.len() <= MOST);
    assert_eq!(events(&headers, body).as_ref(), Some(&taken), "read again");
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if kind.to_ascii_lowercase().contains("batch") {
        let parts: Vec<&RawValue> = serde_json::from_slice(body).unwrap_or_default();
        let each = parts.iter().map(|part| events(&of("application/cloudevents+json"), part.get().as_bytes()));
        assert_eq!(each.collect::<Option<Vec<_>>>().map(|each| each.concat()), Some(taken), "each by itself");
        return;
    }
    let structured =
        if kind.to_ascii_lowercase().contains("cloudevents") { body.to_vec() } else { structured(&headers, body) };
    let batch = [b"[", structured.as_slice(), b"]"].concat();
    assert_eq!(events(&of("application/cloudevents+json"), &structured).as_ref(), Some(&taken), "structured");
    assert_eq!(events(&of("application/cloudevents-batch+json"), &batch), Some(taken), "in a batch");
}

fn events(headers: &HeaderMap, body: &[u8]) -> Option<Vec<External>> {
    let (config, _) = Config::parse("", "none", &|_| None).ok()?;
    told(headers, body, &config.policy(BookHash([0; 32])), NOW)
}

fn of(kind: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))])
}

fn read(input: &[u8]) -> Option<(HeaderMap, &[u8])> {
    let end = input.windows(2).position(|pair| pair == b"\n\n")?;
    let mut headers = HeaderMap::new();
    for line in input[..end].split(|byte| *byte == b'\n') {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
        // Which of two would count is the server's to say.
        headers.insert(HeaderName::from_bytes(&line[..colon]).ok()?, value);
    }
    Some((headers, &input[end + 2..]))
}

/// What a binary event is in one document. Its attributes are written with escapes where they are not plain.
fn structured(headers: &HeaderMap, body: &[u8]) -> Vec<u8> {
    let mut event = json!({});
    for name in ["specversion", "id", "source", "type", "time"] {
        let value = headers.get(format!("ce-{name}")).and_then(|value| value.to_str().ok());
        if let Some(value) = value {
            event[name] = Value::from(unescaped(value.as_bytes()));
        }
    }
    let text = event.to_string();
    let open = text.strip_suffix('}').unwrap_or_default();
    let comma = if open == "{" { "" } else { "," };
    [open.as_bytes(), comma.as_bytes(), b"\"data\":", body, b"}"].concat()
}

fn unescaped(text: &[u8]) -> String {
    let (mut out, mut at) = (Vec::new(), 0);
    while let Some(byte) = text.get(at) {
        let digits =
            text.get(at + 1..at + 3).filter(|digits| *byte == b'%' && digits.iter().all(u8::is_ascii_hexdigit));
        let escaped = digits.and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok());
        out.push(escaped.unwrap_or(*byte));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}
