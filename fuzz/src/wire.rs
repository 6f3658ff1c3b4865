//! Records as they travel: what decodes is written again as what decodes to the same, and in no more bytes.
//!
//! The first byte of an input says which message it is. A state stands behind its key, whose length is a byte. Configuration
//! travels as text, which may be longer written again.

use std::fmt::Debug;

use schemas::wire::{
    self, WireError, decode_entry, decode_event, decode_key, decode_policy, decode_state, encode_entry, encode_event,
    encode_key, encode_policy, encode_state,
};

/// The kinds of message, by the first byte of an input.
pub const KINDS: [&str; 5] = ["event", "entry", "key", "state", "policy"];

/// Decodes and writes again.
pub fn check(input: &[u8]) {
    let Some((kind, body)) = input.split_first() else { return };
    match usize::from(*kind) % KINDS.len() {
        0 => shorter(body, again(body, decode_event, encode_event)),
        1 => shorter(body, again(body, decode_entry, encode_entry)),
        2 => shorter(body, again(body, decode_key, encode_key)),
        3 => state(body),
        _ => drop(again(body, decode_policy, encode_policy)),
    }
}

/// The bytes that a message is written as, if `body` is one.
fn again<M: PartialEq + Debug>(
    body: &[u8],
    decode: impl Fn(&[u8]) -> Result<M, WireError>,
    encode: impl Fn(&M) -> Vec<u8>,
) -> Option<Vec<u8>> {
    let message = decode(body).ok()?;
    let written = encode(&message);
    let read = decode(&written);
    assert_eq!(read.as_ref(), Ok(&message), "written as {written:02x?}");
    assert_eq!(read.map(|message| encode(&message)), Ok(written.clone()), "not always written the same");
    assert_eq!(wire::hash(&written), wire::hash(&encode(&message)));
    Some(written)
}

fn shorter(body: &[u8], written: Option<Vec<u8>>) {
    if let Some(written) = written {
        assert!(written.len() <= body.len(), "{} bytes are written as {}", body.len(), written.len());
    }
}

fn state(input: &[u8]) {
    let Some((length, rest)) = input.split_first() else { return };
    let Some((key, body)) = rest.split_at_checked(usize::from(*length)) else { return };
    if let Ok(key) = decode_key(key) {
        shorter(body, again(body, |body| decode_state(&key, body), encode_state));
    }
}
