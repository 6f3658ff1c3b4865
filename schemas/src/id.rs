//! Identifiers. Each is a type of its own, so that a lane is never passed for a sequence.

use std::{cell::RefCell, fmt};

use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use crate::{
    config::Secret,
    time::{Time, now},
};

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// The 16 bytes that travel on the wire.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// Reads back what [`Self::as_bytes`] gave.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// Reads what its `Display` writes.
            pub fn parse(text: &str) -> Option<Self> {
                (text.len() == 36).then(|| Uuid::parse_str(text).ok()).flatten().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0.hyphenated())
            }
        }
    };
}

uuid_id! {
    /// One client call, as `x-tollgate-call-id` shows it: a UUIDv7, so that it sorts by time.
    CallId
}

uuid_id! {
    /// One open of one gateway's journal: random and never reused, because a reused one would make new events look old.
    ProducerId
}

/// Ids of calls that begin one after the other: their time to a quarter of a microsecond, and an end that all of them have. So they
/// sort by time, tell nobody how many lie between two of them, cost neither a system call nor a lot, and a table that has millions of
/// them keeps each in seven bytes.
#[derive(Debug)]
pub struct CallIds {
    end: u64,
    /// The time of the last one, in parts of a millisecond of which there are 4,096.
    last: u64,
}

impl CallIds {
    /// Those that end with 62 bits of `end`, by which they differ from all others: drawn by lot, and of one thread.
    pub const fn new(end: u64) -> Self {
        Self { end, last: 0 }
    }

    /// The id of a call that begins then.
    pub fn next(&mut self, begun: Time) -> CallId {
        let micros = u64::try_from(begun.as_micros()).unwrap_or_default();
        let time = micros.saturating_mul(4_096 / 8) / (1_000 / 8);
        if time >> 12 < self.last >> 12 {
            // The clock was set back: what it said before may come again.
            *self = Self::new(rand::random());
        }
        self.last = time.max(self.last + 1);
        let mut tail = [0; 10];
        tail[..2].copy_from_slice(&(self.last & 0xfff).to_be_bytes()[6..]);
        tail[2..].copy_from_slice(&self.end.to_be_bytes());
        CallId(Builder::from_unix_timestamp_millis(self.last >> 12, &tail).into_uuid())
    }
}

impl CallId {
    /// A fresh id for a call that starts now.
    pub fn fresh() -> Self {
        thread_local! {
            static IDS: RefCell<CallIds> = RefCell::new(CallIds::new(rand::random()));
        }
        IDS.with_borrow_mut(|ids| ids.next(now()))
    }
}

impl CallId {
    /// When it began, to a millisecond, as far as its id says: it is one of ours, or of a call that was told.
    pub fn time(&self) -> Time {
        let begun = self.0.get_timestamp().map(|begun| begun.to_unix());
        let micros =
            begun.map(|(seconds, nanos)| i64::try_from(seconds).unwrap_or(0) * 1_000_000 + i64::from(nanos / 1_000));
        micros.map_or(Time::ZERO, Time::from_micros)
    }

    /// The id of a call of that time that is named by these words: the same words have the same id.
    pub fn of(time: Time, words: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for word in words {
            hash.update((word.len() as u64).to_be_bytes());
            hash.update(word.as_bytes());
        }
        let millis = u64::try_from(time.as_micros() / 1_000).unwrap_or_default();
        let digest = first_16(&hash.finalize());
        let mut tail = [0; 10];
        tail.copy_from_slice(&digest[..10]);
        Self(Builder::from_unix_timestamp_millis(millis, &tail).into_uuid())
    }
}

impl ProducerId {
    /// A fresh id for a journal that opens now.
    pub fn fresh() -> Self {
        Self(Uuid::new_v4())
    }

    /// The id of records that no gateway wrote.
    pub const NONE: Self = Self(Uuid::nil());
}

/// A fresh key for a client: 32 random bytes, in characters that a header carries.
pub fn fresh_key() -> Secret {
    Secret::new(format!("tg-{}", crate::policy::Digest(rand::random())))
}

/// A lane of the log; on Kafka, a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lane(pub u16);

impl Lane {
    /// The lane that `key` (a tenant, or an instance that spans tenants) lives in, of `lanes`.
    pub fn of(key: &[u8], lanes: u16) -> Self {
        let hash = Sha256::digest(key);
        let word = u64::from_be_bytes([hash[0], hash[1], hash[2], hash[3], hash[4], hash[5], hash[6], hash[7]]);
        Self((word % u64::from(lanes.max(1))) as u16)
    }
}

/// The place of an event among those of its producer and lane; the first is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seq(pub u64);

/// The place of a record in a lane of a topic; the first is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Offset(pub u64);

/// The content hash that names a price book.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BookHash(pub [u8; 32]);

impl BookHash {
    /// Names no book: what is rated by it has no price.
    pub const NONE: Self = Self([0; 32]);
}

/// The name, scope, unit, window and zone of a limit: what may not change in place.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LimitId(pub [u8; 16]);

/// One counter of a limit: the limit, the values its `*` took and, unless its leases stand, its window.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId(pub [u8; 16]);

/// What somebody said once: a tenant, whether it is its own word or the operator's, the source and its id there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClaimId(pub [u8; 16]);

impl ClaimId {
    /// Names what these words say together.
    pub fn of(words: [&str; 4]) -> Self {
        let mut hash = Sha256::new();
        for word in words {
            hash.update((word.len() as u64).to_be_bytes());
            hash.update(word.as_bytes());
        }
        Self(first_16(&hash.finalize()))
    }
}

impl InstanceId {
    /// Names the counter of `limit` for `values` (one for each `*`, in scope order); `window` is its start, absent where
    /// one counter serves every window.
    pub fn of<S: AsRef<str>>(limit: LimitId, values: &[S], window: Option<Time>) -> Self {
        let mut hash = Sha256::new();
        hash.update(limit.0);
        for value in values {
            hash.update((value.as_ref().len() as u64).to_be_bytes());
            hash.update(value.as_ref().as_bytes());
        }
        if let Some(start) = window {
            hash.update(start.as_micros().to_be_bytes());
        }
        Self(first_16(&hash.finalize()))
    }
}

pub(crate) fn first_16(digest: &[u8]) -> [u8; 16] {
    let mut out = [0; 16];
    out.copy_from_slice(&digest[..16]);
    out
}

macro_rules! hex_id {
    ($name:ident) => {
        impl $name {
            /// Reads the hexadecimal digits, in either case, that its `Display` writes in lower case.
            pub fn parse(hex: &str) -> Option<Self> {
                $crate::id::from_hex(hex).map(Self)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                // All digits in one write: it is done for each row of the lake.
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                let mut text = String::with_capacity(2 * self.0.len());
                for byte in self.0 {
                    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
                    text.extend([digit(byte >> 4), digit(byte & 15)]);
                }
                f.write_str(&text)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not hexadecimal digits of the right number"))
            }
        }
    };
}

pub(crate) use hex_id;

hex_id!(BookHash);
hex_id!(LimitId);
hex_id!(InstanceId);
hex_id!(ClaimId);

pub(crate) fn from_hex<const N: usize>(hex: &str) -> Option<[u8; N]> {
    let digits = hex.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            *byte = *byte << 4 | u8::try_from(char::from(*digit).to_digit(16)?).ok()?;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_calls_sort_by_time_and_none_comes_twice_even_when_the_clock_is_set_back() {
        let begun = |micros: i64| Time::from_micros(1_789_516_800_000_000 + micros);
        let mut ids = CallIds::new(7);
        // The second and third begin in one microsecond, the last two before the first.
        let made = [0, 999, 999, 1_000, 5_000_000, 1, 2].map(|micros| (begun(micros), ids.next(begun(micros))));
        for (begun, id) in &made {
            assert_eq!(id.time().as_micros(), begun.as_micros() / 1_000 * 1_000);
            assert_eq!((id.0.get_version_num(), id.0.get_variant()), (7, uuid::Variant::RFC4122));
        }
        let ids: Vec<CallId> = made.iter().map(|(_, id)| *id).collect();
        assert!(ids[..5].is_sorted_by(|one, next| one < next) && ids[5] < ids[6], "{ids:?}");
        assert!(ids[..5].iter().all(|id| id.as_bytes()[8..] == ids[0].as_bytes()[8..]));
        assert_ne!(ids[5].as_bytes()[8..], ids[0].as_bytes()[8..]);
    }

    #[test]
    fn ids_of_two_threads_differ_though_their_calls_begin_at_once() {
        let ends: std::collections::HashSet<[u8; 8]> = (0..8)
            .map(|_| std::thread::spawn(CallId::fresh).join().unwrap())
            .map(|id| *id.as_bytes().last_chunk().unwrap())
            .collect();
        assert_eq!(ends.len(), 8);
    }
}
