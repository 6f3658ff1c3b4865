//! What the fuzz targets in `fuzz/` reach of this crate's insides. Only they turn the feature on; it is for nobody else.

use std::{borrow::Cow, sync::Arc};

use http::{HeaderMap, Version};
use schemas::{error_code::ErrorCode, id::Lane, map::Map, policy::Digest, subject::Subject};

use crate::{authenticate, head, json::number, obey::Caller, upstream};

/// Reads a count of an answer.
pub fn count(text: &str) -> Option<u64> {
    number::count(text).ok()
}

/// Reads an amount of an answer, as an integer of its last of `scale` decimals.
pub fn scaled(text: &str, scale: u32) -> Option<i128> {
    number::scaled(text, scale)
}

/// The headers of a request that go on to a provider.
pub fn forwarded(headers: &HeaderMap, forward: &[String]) -> HeaderMap {
    let mut to = HeaderMap::new();
    upstream::copy_allowed(headers, forward, &mut to);
    to
}

/// Takes out of an answer's head what is not for the client.
pub fn answered(headers: &mut HeaderMap) {
    upstream::answer_headers(headers);
}

/// The query that goes on to a provider.
pub fn without_key(query: &str) -> Option<Cow<'_, str>> {
    authenticate::without_key(query)
}

/// Who calls, where `key` is the only key there is and `owner` has it.
pub fn caller(headers: &HeaderMap, query: Option<&str>, key: &str, owner: &Subject) -> Result<Subject, ErrorCode> {
    let mut keys = Map::default();
    keys.insert(Digest::of(key).0, Caller { subject: Arc::new(owner.clone()), lane: Lane(0) });
    let caller = authenticate::authenticate(headers, query, &keys).map_err(|fault| fault.code)?;
    Ok(Subject::clone(&caller.subject))
}

/// Whether the head of a request can be read in one way only.
pub fn is_clear(headers: &HeaderMap, version: Version) -> bool {
    head::check(headers, version).is_ok()
}
