//! Who calls: the key in the request's head, and the tags that the client adds.
//!
//! A key may stand in several places, since each SDK has its own; two that differ are refused, because nobody could say who
//! pays. Only the SHA-256 of a key is ever compared or kept. A token whose key its issuer may have published meanwhile waits a moment for that.
//! This file reads heads and knows no policy.

use std::{borrow::Cow, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use schemas::{
    error_code::ErrorCode,
    id::Lane,
    map::Map,
    policy::Digest,
    subject::Subject,
    time::{Time, now},
};

use crate::{
    error::Fault,
    identity::{Identity, Look, not_published},
    obey::Caller,
};

/// The most tags a request may state, and the most bytes of a tag's name and value.
const MAX_TAGS: usize = 16;
const MAX_NAME: usize = 64;
const MAX_VALUE: usize = 256;

/// The longest that a call waits for the keys of its token's issuer.
const PATIENCE: Duration = Duration::from_secs(3);

/// The header that states tags: `feature=search,env=prod`.
pub(crate) const TAGS: HeaderName = HeaderName::from_static("x-tollgate-tags");

/// Where clients put a bare key.
const KEY_HEADERS: [HeaderName; 3] = [
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-goog-api-key"),
];

/// Where it is looked up who calls.
#[derive(Clone, Copy)]
pub(crate) struct Register<'a> {
    pub(crate) keys: &'a Map<[u8; 32], Caller>,
    pub(crate) tenants: &'a Map<String, Lane>,
    pub(crate) identity: &'a Identity,
}

/// Who calls, as [`authenticate`] finds it; where that is a token whose key is not known, once its issuer's keys were looked at again.
pub(crate) async fn caller(
    headers: &HeaderMap,
    query: Option<&str>,
    register: Register<'_>,
    at: Time,
) -> Result<Caller, Fault> {
    let fault = match authenticate(headers, query, register, at) {
        Err(fault) if fault.code == ErrorCode::IssuerAway => fault,
        found => return found,
    };
    let Some(look) = register.identity.look(&credential(headers, query)?) else { return Err(fault) };
    // Hardly any call comes here, and none is to be larger for it.
    let found = Box::pin(once_looked(headers, query, register, look));
    tokio::time::timeout(PATIENCE, found).await.unwrap_or(Err(fault))
}

async fn once_looked(
    headers: &HeaderMap,
    query: Option<&str>,
    register: Register<'_>,
    mut look: Look,
) -> Result<Caller, Fault> {
    loop {
        // In this order: what a look that ends meanwhile has brought is seen the next time.
        let came = look.came();
        let fault = match authenticate(headers, query, register, now()) {
            Err(fault) if fault.code == ErrorCode::IssuerAway => fault,
            found => return found,
        };
        match came {
            Some(true) => return Err(not_published()),
            Some(false) => return Err(fault),
            None => look.next(now()).await.map_err(|pause| fault.after(pause))?,
        }
    }
}

/// Who calls at an instant: the key of a request, or its token, looked up, with the tags of the request that the key does not set.
pub(crate) fn authenticate(
    headers: &HeaderMap,
    query: Option<&str>,
    register: Register<'_>,
    at: Time,
) -> Result<Caller, Fault> {
    let secret = credential(headers, query)?;
    let digest = Digest::of(&secret);
    let signed;
    let caller = match register.keys.get(&digest.0) {
        Some(caller) => caller,
        None => {
            let by_token = register.identity.caller(&secret, digest, register.tenants, at);
            let unknown = || Err(Fault::new(ErrorCode::UnknownKey, "check the key that the client sends"));
            signed = by_token.unwrap_or_else(unknown)?;
            &signed
        }
    };
    caller.is_good(at)?;
    let mut values = headers.get_all(TAGS).iter();
    let Some(first) = values.next() else { return Ok(caller.clone()) };
    let mut merged = Subject::clone(&caller.subject);
    for value in std::iter::once(first).chain(values) {
        add_tags(&mut merged, &caller.subject, value)?;
    }
    merged.tags.sort();
    Ok(Caller { subject: Arc::new(merged), ..caller.clone() })
}

/// The one credential of a request.
pub(crate) fn credential<'a>(headers: &'a HeaderMap, query: Option<&'a str>) -> Result<Cow<'a, str>, Fault> {
    let mut found: Option<Cow<'a, str>> = None;
    let mut take = |secret: Cow<'a, str>| match &found {
        Some(other) if *other != secret => Err(Fault::new(
            ErrorCode::KeysDisagree,
            "send one key, in one header; two clients' settings may have been mixed",
        )),
        _ => {
            found = Some(secret);
            Ok(())
        }
    };
    for value in headers.get_all(header::AUTHORIZATION) {
        let text = text(value)?;
        let Some((scheme, secret)) = text.split_once(' ') else { continue };
        let secret = match scheme {
            "AWS4-HMAC-SHA256" => signer(secret),
            _ if scheme.eq_ignore_ascii_case("bearer") => Some(secret.trim()),
            _ => None,
        };
        if let Some(secret) = secret.filter(|secret| !secret.is_empty()) {
            take(Cow::Borrowed(secret))?;
        }
    }
    for name in KEY_HEADERS {
        for value in headers.get_all(name) {
            let text = text(value)?.trim();
            if !text.is_empty() {
                take(Cow::Borrowed(text))?;
            }
        }
    }
    for pair in query.unwrap_or_default().split('&') {
        let Some((name, secret)) = pair.split_once('=') else { continue };
        if unescaped(name) == "key" && !secret.is_empty() {
            take(unescaped(secret))?;
        }
    }
    found.ok_or_else(|| {
        Fault::new(ErrorCode::MissingKey, "send it as `Authorization: Bearer <key>` or as `x-api-key: <key>`")
    })
}

/// The key that Amazon's clients sign as: it stands before day, region, service and a word. What they sign with is not known here, so
/// the signature says nothing; the key is as secret as in any other header.
fn signer(authorization: &str) -> Option<&str> {
    let stated = authorization.split(',').find_map(|part| part.trim().strip_prefix("Credential="))?;
    let mut parts = stated.rsplitn(5, '/');
    let (word, key) = (parts.next()?, parts.nth(3)?);
    (word == "aws4_request").then_some(key)
}

fn text(value: &HeaderValue) -> Result<&str, Fault> {
    value.to_str().map_err(|_| Fault::new(ErrorCode::UnknownKey, "a key is plain ASCII"))
}

/// Undoes percent escapes; what is not one stays as it is.
pub(crate) fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let hex = |digit: Option<&u8>| digit.and_then(|digit| char::from(*digit).to_digit(16));
        match (byte, hex(tail.first()), hex(tail.get(1))) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or(b'%'));
                rest = tail.get(2..).unwrap_or_default();
            }
            _ => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8(out).map_or(Cow::Borrowed(text), Cow::Owned)
}

/// The query without the key, as it may go on to a provider; nothing if nothing is left.
pub(crate) fn without_key(query: &str) -> Option<Cow<'_, str>> {
    // A provider reads the name of a parameter unescaped, as we do.
    let is_key = |pair: &str| pair.split_once('=').is_some_and(|(name, _)| unescaped(name) == "key");
    if !query.split('&').any(is_key) {
        return if query.is_empty() { None } else { Some(Cow::Borrowed(query)) };
    }
    let kept: Vec<&str> = query.split('&').filter(|pair| !is_key(pair) && !pair.is_empty()).collect();
    if kept.is_empty() { None } else { Some(Cow::Owned(kept.join("&"))) }
}

fn add_tags(merged: &mut Subject, owner: &Subject, value: &HeaderValue) -> Result<(), Fault> {
    let bad = |why: &'static str| Fault::new(ErrorCode::BadTags, why);
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| bad("tags are UTF-8"))?;
    for pair in text.split(',') {
        if pair.trim().is_empty() {
            continue;
        }
        let (name, value) = pair.split_once('=').ok_or_else(|| bad("write them as `name=value,name=value`"))?;
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() || name.len() > MAX_NAME || value.len() > MAX_VALUE {
            return Err(bad("a name has 1 to 64 bytes, a value at most 256"));
        }
        if name.chars().chain(value.chars()).any(char::is_control) {
            return Err(bad("names and values have no control characters"));
        }
        if owner.tag(name).is_some() {
            continue;
        }
        if merged.tag(name).is_some() {
            return Err(bad("a tag is stated twice"));
        }
        merged.tags.push((name.to_owned(), value.to_owned()));
        if merged.tags.len() - owner.tags.len() > MAX_TAGS {
            return Err(bad("a call has at most 16 tags"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
