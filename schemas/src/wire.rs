//! How events, ledger entries, decisions and policy look as bytes: Protobuf, as `proto/tollgate/v1` says.
//!
//! Encoding is deterministic and writes straight from the domain's types. Decoding checks everything (lengths, ranges, enum
//! values, UTF-8, presence) and never panics; fields that a later version added are skipped. What was once written decodes
//! for ever: `golden/v1` holds one record of each kind.
//!
//! The `.proto` files are the contract, and a test holds this module to them. No code is generated from them: a message is a
//! table of tags and fields, see [`message`].

use thiserror::Error;
use twox_hash::XxHash3_64;

use crate::{
    decision::{Key, State},
    event::Event,
    ledger::Entry,
    policy::Record,
};

mod decision;
mod field;
mod ledger;
mod message;
mod policy;
mod usage;

use message::Message as _;

/// Why bytes are not the message they should be. Whoever wrote them is at fault, or the disk; reading again will not help.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// The bytes end too early, or are not Protobuf.
    #[error("{0} is cut short or is not Protobuf")]
    Malformed(&'static str),
    /// A field has another Protobuf type.
    #[error("{0} has another wire type than the contract gives it")]
    WrongType(&'static str),
    /// A field that has to be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// An enum value, or a kind of message, that this version does not know.
    #[error("{field} has the unknown value {value}; a later version may have written it")]
    Unknown {
        /// The field, as `Message.field`.
        field: &'static str,
        /// Its value; for a kind of message, 0.
        value: u64,
    },
    /// A number, or the length of an id or amount, that the field cannot have.
    #[error("{0} is out of its range")]
    OutOfRange(&'static str),
    /// Text that is not UTF-8, or not what the field can say.
    #[error("{0} is not valid text")]
    BadText(&'static str),
    /// A state that is not of its key.
    #[error("the state is not that of its key")]
    OtherKey,
}

/// The content hash in the header of a record: XXH3, 64 bits, seed 0. It tells a duplicate from a conflict; it is no seal.
pub fn hash(body: &[u8]) -> u64 {
    XxHash3_64::oneshot(body)
}

/// The bytes of an event.
pub fn encode_event(event: &Event) -> Vec<u8> {
    encode(event)
}

/// Appends the bytes of an event to `out`.
pub fn encode_event_into(event: &Event, out: &mut Vec<u8>) {
    event.write(out);
}

/// Reads an event back.
pub fn decode_event(body: &[u8]) -> Result<Event, WireError> {
    Event::read(body)
}

/// The bytes of a ledger entry.
pub fn encode_entry(entry: &Entry) -> Vec<u8> {
    encode(entry)
}

/// Appends the bytes of a ledger entry to `out`.
pub fn encode_entry_into(entry: &Entry, out: &mut Vec<u8>) {
    entry.write(out);
}

/// Reads a ledger entry back.
pub fn decode_entry(body: &[u8]) -> Result<Entry, WireError> {
    Entry::read(body)
}

/// The bytes of a decision's key; the same key always has the same bytes, which compaction needs.
pub fn encode_key(key: &Key) -> Vec<u8> {
    encode(key)
}

/// Reads a key back.
pub fn decode_key(body: &[u8]) -> Result<Key, WireError> {
    Key::read(body)
}

/// The bytes of a decision's state.
pub fn encode_state(state: &State) -> Vec<u8> {
    encode(state)
}

/// Reads the state back that stands under `key`.
pub fn decode_state(key: &Key, body: &[u8]) -> Result<State, WireError> {
    let state = State::read(body)?;
    let fits = match (key, &state) {
        (Key::Lane(_), State::Lane(_)) => true,
        (Key::Instance(id), State::Instance(instance)) => *id == instance.id,
        (Key::Claim(..), State::Claim(_) | State::Awaited(_)) => true,
        (Key::Schedule(_, limit), State::Schedule(schedule)) => *limit == schedule.limit,
        _ => false,
    };
    if fits { Ok(state) } else { Err(WireError::OtherKey) }
}

/// The bytes of a policy record.
pub fn encode_policy(record: &Record) -> Vec<u8> {
    policy::write(record)
}

/// Reads a policy record back.
pub fn decode_policy(body: &[u8]) -> Result<Record, WireError> {
    policy::read(body)
}

fn encode<M: message::Message>(message: &M) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    message.write(&mut out);
    out
}

#[cfg(test)]
mod tests;
