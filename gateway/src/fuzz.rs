//! What the fuzz targets in `fuzz/` reach of this crate's insides. Only they turn the feature on; it is for nobody else.

use std::{borrow::Cow, collections::VecDeque, io::Write as _, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use schemas::{
    error_code::ErrorCode,
    event::Api,
    id::Lane,
    json::Tree,
    map::Map,
    policy::{Digest, Policy},
    subject::Subject,
    time::Time,
    tokens::Vector,
};

use crate::{
    authenticate, body,
    external::External,
    head,
    identity::Identity,
    json::number,
    meter::{End, Measured},
    obey::Caller,
    proxy::{Check, Name, Settlement, Told, Who, descriptors::Question, grpc, stated},
    tell, upstream,
    witness::Witness,
};

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
    let owner = Caller { subject: Arc::new(owner.clone()), lane: Lane(0), terms: None, corrects: false };
    keys.insert(Digest::of(key).0, owner);
    let (tenants, identity) = (Map::default(), Identity::default());
    let register = authenticate::Register { keys: &keys, tenants: &tenants, identity: &identity };
    let caller = authenticate::authenticate(headers, query, register, Time::ZERO).map_err(|fault| fault.code)?;
    Ok(Subject::clone(&caller.subject))
}

/// Whether the head of a request can be read in one way only.
pub fn is_clear(headers: &HeaderMap, version: Version) -> bool {
    head::check(headers, version).is_ok()
}

/// What another proxy says, as far as all of it has that: each text that is kept, and what was used. The first byte says whether the
/// rest is a check or a settlement in JSON, or a frame of Envoy's.
pub fn question(input: &[u8]) -> Option<(Vec<String>, Option<Vector>)> {
    let (form, input) = input.split_first()?;
    let of_check = |check: Check| {
        assert!(!check.expires_in.is_zero() && check.expires_in.as_secs() <= 3_600);
        let subject = if let Who::Stated(subject) = check.who { subject } else { Subject::default() };
        let Subject { tenant, team, project, user, key, tags } = subject;
        let tags = tags.into_iter().chain(check.tags).flat_map(|(name, value)| [name, value]);
        tags.chain([tenant, team, project, user, key, check.provider]).chain(check.call).collect()
    };
    let of_settlement = |settlement: Settlement| {
        let Told { model, service_tier, response_id, tokens, .. } = settlement.told;
        let name = if let Name::Call(name) = settlement.name { Some(name) } else { None };
        ([model, service_tier, response_id].into_iter().chain(name).collect(), tokens)
    };
    let json = || Tree::read(input).ok();
    match form % 3 {
        0 => Some((of_check(stated::check(json()?.root()).ok()?), None)),
        1 => Some(of_settlement(stated::settlement(json()?.root()).ok()?)),
        _ => match grpc::question_of(input).ok()?.0 {
            Question::Check(check) => Some((of_check(check), None)),
            Question::Final(both) => Some((of_check(both.0), both.1.tokens)),
            Question::Settle(settlement) => Some(of_settlement(settlement)),
        },
    }
}

/// The events of a request that tells of usage.
pub fn told(headers: &HeaderMap, body: &[u8], policy: &Policy, now: Time) -> Option<Vec<External>> {
    tell::events(policy, headers, body, now).ok()
}

/// How a body may be encoded.
pub const CODINGS: [&str; 4] = ["identity", "gzip", "zstd", "br"];

/// A body encoded so; nothing where that is not one of those that can be read.
pub fn encoded(coding: &str, body: &[u8]) -> Option<Vec<u8>> {
    match coding {
        "identity" => Some(body.to_vec()),
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(body).ok()?;
            encoder.finish().ok()
        }
        "zstd" => zstd::encode_all(body, 1).ok(),
        _ => None,
    }
}

/// A request's body as it was before it was encoded, if that is at most so long.
pub fn decoded(coding: &'static str, body: &[u8], most: u64) -> Result<Bytes, ErrorCode> {
    body::decoded(&coded(coding), body, most).map_err(|fault| fault.code)
}

/// What came of an answer that was encoded so and arrived in these pieces: what passed, and what was read in it.
pub fn witnessed(api: Api, coding: &'static str, pieces: &[&[u8]]) -> (Vec<u8>, Option<Measured>) {
    let mut witness = Witness::new(api, &coded(coding), StatusCode::OK, crate::witness::Reading::default());
    let mut out = VecDeque::new();
    pieces.iter().for_each(|piece| witness.take(Bytes::copy_from_slice(piece), &mut out));
    witness.close(&mut out);
    (out.iter().flatten().copied().collect(), witness.measured(End::Closed))
}

fn coded(coding: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers
}
