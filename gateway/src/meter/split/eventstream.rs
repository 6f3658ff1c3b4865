//! Amazon's event stream: binary messages, each with its length, two checksums and named headers.
//!
//! A message is `total length · headers' length · CRC of these · headers · payload · CRC of all`, numbers big-endian. A length that no
//! message can have loses the stream, since nothing else says where the next one begins; a checksum that is wrong spoils its message
//! only. Nothing is copied. Of the headers those are read that say what a message is, and what an error says; the others are
//! skipped by their types.

use crc32fast::hash;

/// Lengths, and the checksum of them.
const PRELUDE: usize = 12;
/// What a message has beside headers and payload.
const AROUND: usize = 16;
/// The longest message: 16 MiB of payload, 128 KiB of headers, and what is around them, as the format allows.
const MESSAGE_MAX: u32 = (16 << 20) + (128 << 10) + 16;
/// The most headers of a message that are looked at; services send three or four.
const HEADERS_MAX: usize = 64;

/// A message, as far as it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// `event`, `exception` or `error`; empty if it does not say.
    pub message_type: &'a str,
    /// The kind of the event, the exception or the error.
    pub kind: &'a str,
    /// What an error says, which has no payload; what an exception says is in its payload.
    pub says: &'a str,
    /// What it carries.
    pub payload: &'a [u8],
}

impl Message<'_> {
    /// Whether it is an event and no error. One that does not say is taken for one.
    pub const fn is_event(&self) -> bool {
        !matches!(self.message_type.as_bytes(), b"exception" | b"error")
    }
}

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMessage {
    /// Its lengths do not fit each other or the bytes.
    #[error("its lengths do not fit")]
    Lengths,
    /// A checksum is wrong.
    #[error("a checksum is wrong")]
    Checksum,
    /// A header cannot be read.
    #[error("a header cannot be read")]
    Header,
}

/// Reads one message, all of it.
pub fn read(bytes: &[u8]) -> Result<Message<'_>, BadMessage> {
    let number = |at| u32_at(bytes, at).ok_or(BadMessage::Lengths);
    let (total, headers) = (number(0)? as usize, number(4)? as usize);
    if total != bytes.len() || total < AROUND || headers > total - AROUND {
        return Err(BadMessage::Lengths);
    }
    let part = |from, to| bytes.get(from..to).ok_or(BadMessage::Lengths);
    let (lengths, all) = (part(0, 8)?, part(0, total - 4)?);
    if hash(lengths) != number(8)? || hash(all) != number(total - 4)? {
        return Err(BadMessage::Checksum);
    }
    let mut message = Message { message_type: "", kind: "", says: "", payload: part(PRELUDE + headers, total - 4)? };
    let mut rest = part(PRELUDE, PRELUDE + headers)?;
    for _ in 0..HEADERS_MAX {
        if rest.is_empty() {
            return Ok(message);
        }
        let (name, value, after) = header(rest).ok_or(BadMessage::Header)?;
        match (name, value) {
            (b":message-type", Some(value)) => message.message_type = value,
            (b":event-type" | b":exception-type" | b":error-code", Some(value)) => message.kind = value,
            (b":error-message", Some(value)) => message.says = value,
            _ => {}
        }
        rest = after;
    }
    Err(BadMessage::Header)
}

/// The name of the first header, its value if that is text, and what follows it.
fn header(bytes: &[u8]) -> Option<(&[u8], Option<&str>, &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    let (kind, rest) = rest.split_first()?;
    let size = match kind {
        0 | 1 => 0,
        2 => 1,
        3 => 2,
        4 => 4,
        5 | 8 => 8,
        9 => 16,
        6 | 7 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            let (value, after) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
            let text = if *kind == 7 { Some(std::str::from_utf8(value).ok()?) } else { None };
            return Some((name, text, after));
        }
        _ => return None,
    };
    rest.split_at_checked(size).map(|(_, after)| (name, None, after))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes))
}

/// Where messages end, across chunks.
#[derive(Debug)]
pub(super) struct Lengths {
    /// The bytes of the length that have come, and how many these are.
    length: [u8; 4],
    has: usize,
    /// What is to come of the message, once its length is known.
    left: usize,
    /// Whether a length came that no message has.
    pub(super) lost: bool,
}

impl Lengths {
    pub(super) const START: Self = Self { length: [0; 4], has: 0, left: 0, lost: false };

    /// The end of the message that goes on at `from`; nothing if it is not in this chunk.
    pub(super) fn frame_end(&mut self, chunk: &[u8], from: usize) -> Option<usize> {
        let mut at = from;
        while self.has < self.length.len() && !self.lost {
            *self.length.get_mut(self.has)? = *chunk.get(at)?;
            self.has += 1;
            at += 1;
            if self.has == self.length.len() {
                let total = u32::from_be_bytes(self.length);
                self.lost = total > MESSAGE_MAX || (total as usize) < AROUND;
                self.left = (total as usize).saturating_sub(self.length.len());
            }
        }
        if self.lost {
            return None;
        }
        let come = chunk.len().saturating_sub(at);
        if come < self.left {
            self.left -= come;
            return None;
        }
        at += self.left;
        *self = Self::START;
        Some(at)
    }
}

/// Writes a message with these text headers, as a service does.
pub fn write(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        block.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        block.extend_from_slice(name.as_bytes());
        block.push(7);
        block.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        block.extend_from_slice(value.as_bytes());
    }
    let size = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    let mut message = size(AROUND + block.len() + payload.len()).to_vec();
    message.extend_from_slice(&size(block.len()));
    message.extend_from_slice(&hash(&message).to_be_bytes());
    message.extend_from_slice(&block);
    message.extend_from_slice(payload);
    message.extend_from_slice(&hash(&message).to_be_bytes());
    message
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EVENT: [(&str, &str); 2] = [(":message-type", "event"), (":event-type", "metadata")];

    #[test]
    fn a_message_says_what_it_is() {
        let bytes = write(&EVENT, b"{}");
        assert_eq!(read(&bytes), Ok(Message { message_type: "event", kind: "metadata", says: "", payload: b"{}" }));
        let bytes = write(&[(":message-type", "exception"), (":exception-type", "throttlingException")], b"");
        let message = read(&bytes).unwrap();
        assert!(!message.is_event() && message.kind == "throttlingException");
        let bytes =
            write(&[(":message-type", "error"), (":error-code", "InternalError"), (":error-message", "no")], b"");
        let message = read(&bytes).unwrap();
        assert!(!message.is_event());
        assert_eq!((message.kind, message.says, message.payload), ("InternalError", "no", b"".as_slice()));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let bytes = write(&EVENT, b"{}");
        for at in 0..bytes.len() {
            let mut spoilt = bytes.clone();
            spoilt[at] ^= 1;
            assert!(read(&spoilt).is_err(), "byte {at}");
            assert!(read(&bytes[..at]).is_err(), "cut at {at}");
        }
        let unknown = {
            let mut block = write(&[("x", "")], b"");
            block[PRELUDE + 2] = 10;
            let end = block.len() - 4;
            let sum = hash(&block[..end]).to_be_bytes();
            block[end..].copy_from_slice(&sum);
            block
        };
        assert_eq!(read(&unknown), Err(BadMessage::Header));
    }

    proptest! {
        #[test]
        fn messages_end_where_they_end_in_whatever_pieces(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6), size in 1_usize..50,
        ) {
            let messages: Vec<Vec<u8>> = payloads.iter().map(|payload| write(&EVENT, payload)).collect();
            let (mut lengths, mut ends, mut gone) = (Lengths::START, Vec::new(), 0);
            for chunk in messages.concat().chunks(size) {
                let mut from = 0;
                while let Some(end) = lengths.frame_end(chunk, from) {
                    ends.push(gone + end);
                    from = end;
                }
                gone += chunk.len();
            }
            let wanted: Vec<usize> = messages.iter().scan(0, |sum, message| { *sum += message.len(); Some(*sum) }).collect();
            prop_assert_eq!(ends, wanted);
        }
    }
}
