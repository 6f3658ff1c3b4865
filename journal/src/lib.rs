//! The road: append keyed bytes durably, read them from an offset, commit {outputs, offset} atomically.
//!
//! One port, two roads behind it: `disk`, our own segments with a transactional store beside them, and `kafka`. Both pass
//! one conformance suite. The road moves bytes and knows no meaning: roles tell it what is confirmed.
//!
//! The life of a record, in travel order:
//! 1. a gateway appends it to its [`Journal`] (`journal`, on `segment`): it is with the operating system at the return;
//! 2. the next group fsync puts it on the platter (`journal/flusher`), and only then can it be read;
//! 3. it is `usage`: in place on disk (`disk`), shipped by the `outbox` on Kafka (`kafka`);
//! 4. a [`Member`] polls it and commits what it made of it, outputs and offset at once;
//! 5. [`Reader`]s follow the ledger and the policy, [`Follower`]s the decisions, never more than what is committed;
//! 6. metering's word comes back through the decisions, the gateway confirms, and the journal lets go of it.
//!
//! "Durable" means: `Journal::append` survives the death of the process at its return and a power loss at the next fsync;
//! `Member::commit` and `Road::publish` survive both at their return.
//!
//! Every call here blocks, and none needs a runtime: a role gives each loop a thread of its own.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use schemas::{
    id::{Lane, Offset, ProducerId, Seq},
    time::Time,
    topics::Topic,
};

mod deadline;
mod disk;
mod error;
pub mod fault;
mod journal;
#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(feature = "kafka")]
mod outbox;
mod segment;
pub mod shipping;

#[cfg(test)]
mod conformance;

#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub use crate::segment::fuzz;

pub use crate::{
    disk::Disk,
    error::Error,
    journal::{Appended, Fsync, Gap, Journal, JournalReader, Options, Position, Predecessor},
};

/// Who wrote a record, and its place among theirs. Outside `usage`, and of what a member passed, `producer` is [`ProducerId::NONE`] and
/// `seq` is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The producer.
    pub producer: ProducerId,
    /// Its sequence in the record's lane.
    pub seq: Seq,
    /// A hash of the body.
    pub hash: u64,
}

#[cfg(any(feature = "kafka", feature = "fuzz"))]
impl Header {
    /// Who wrote a record that has these headers; nobody of ours if one is missing or has another length.
    pub(crate) fn named<'a>(headers: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>) -> Option<Self> {
        let (mut producer, mut seq, mut hash) = (None, None, None);
        for (name, value) in headers {
            match name {
                "producer" => producer = value?.try_into().ok().map(ProducerId::from_bytes),
                "seq" => seq = value?.try_into().ok().map(|bytes| Seq(u64::from_be_bytes(bytes))),
                "hash" => hash = value?.try_into().ok().map(u64::from_be_bytes),
                _ => {}
            }
        }
        Some(Self { producer: producer?, seq: seq?, hash: hash? })
    }
}

/// One record of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its lane.
    pub lane: Lane,
    /// Its place in that lane of the topic.
    pub offset: Offset,
    /// Who wrote it.
    pub header: Header,
    /// The body. The road never looks into it.
    pub body: Bytes,
}

/// A record to be appended to a journal.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// The lane it goes to.
    pub lane: Lane,
    /// The body.
    pub body: &'a [u8],
}

/// Where all of Tollgate's topics are: a directory, or a Kafka cluster.
pub trait Road: Send + Sync {
    /// How many lanes every topic has; fixed when the topics were created.
    fn lanes(&self) -> u16;

    /// Opens the gateway's journal: a new producer. Once a process.
    fn journal(&self) -> Result<Arc<Journal>, Error>;

    /// Joins metering, the only reader of `usage`.
    fn member(&self) -> Result<Box<dyn Member>, Error>;

    /// By lane, the first record of the ledger that is kept; where none is, the one to come.
    fn kept(&self) -> Result<Vec<Offset>, Error>;

    /// From where, by lane, a reader of the ledger has all that was written to one lane at a time or later, as far as it is kept; in the
    /// others it begins at their ends. The time is that of whoever wrote it, so it may be a little off.
    fn since(&self, lane: Lane, time: Time) -> Result<Vec<Offset>, Error>;

    /// Lets go of what the ledger has before these offsets, by lane, and was written before a time: whoever asks knows that nobody
    /// will read it here. Only the disk does; a cluster keeps what it was told to, whoever asks.
    fn trim(&self, below: &[Offset], before: Time) -> Result<(), Error>;

    /// Reads `ledger` or `policy` from the given offsets, by lane. `policy` has one lane. [`Error::NotKept`] if one of them is before
    /// the first record kept.
    fn reader(&self, topic: Topic, from: &[Offset]) -> Result<Box<dyn Reader>, Error>;

    /// Follows `decisions`: first the whole state, then every change.
    fn follower(&self) -> Result<Box<dyn Follower>, Error>;

    /// Appends to `policy`, durably.
    fn publish(&self, bodies: &[Bytes]) -> Result<(), Error>;

    /// The orderly end: takes no more, makes durable what was taken, and wakes all that wait here; they get
    /// [`Error::Closed`] once they have polled the rest. Dropping the road does the same, without an answer.
    fn close(&self) -> Result<(), Error>;
}

/// Metering's side: exclusive input, atomic output.
pub trait Member: Send {
    /// Waits up to `wait` for something to happen.
    fn poll(&mut self, wait: Duration) -> Result<Polled, Error>;

    /// After [`Polled::Assigned`], says where the state that was restored wants `usage` read from.
    fn resume(&mut self, lane: Lane, from: Offset) -> Result<(), Error>;

    /// Commits what was made of the input of one lane: all of it or nothing. After [`Error::Full`] nothing stands yet, and
    /// the next commit of that lane has to be of the same outputs.
    fn commit(&mut self, lane: Lane, outputs: &Outputs) -> Result<(), Error>;

    /// Commits lanes side by side, each by itself; says what became of each.
    fn commit_each(&mut self, outputs: &[(Lane, Outputs)]) -> Vec<(Lane, Result<(), Error>)> {
        outputs.iter().map(|(lane, outputs)| (*lane, self.commit(*lane, outputs))).collect()
    }
}

/// What happened at a [`Member`].
#[derive(Debug)]
pub enum Polled {
    /// A lane is ours from here on; this is its whole state as last committed, by key.
    Assigned(Lane, Vec<(Bytes, Bytes)>),
    /// A lane is no longer ours: forget it.
    Revoked(Lane),
    /// Records of one lane, in order, bounded in bytes.
    Records(Lane, Vec<Record>),
    /// Nothing.
    Idle,
}

/// One transaction.
#[derive(Clone, Debug, Default)]
pub struct Outputs {
    /// The next record of `usage` to read in this lane.
    pub input: Offset,
    /// Appended to the lane of `ledger`.
    pub ledger: Vec<Bytes>,
    /// Put into the lane of `decisions`, by key; no value removes the key.
    pub decisions: Vec<(Bytes, Option<Bytes>)>,
    /// Appended to `usage` of other lanes, where nobody wrote it: its producer is [`ProducerId::NONE`], its sequence 0.
    pub passed: Vec<(Lane, Bytes)>,
}

/// A reader of a topic that is kept in order.
pub trait Reader: Send {
    /// Waits up to `wait` for records; sorted by offset within each lane, bounded in bytes. Only what is committed.
    fn poll(&mut self, wait: Duration) -> Result<Vec<Record>, Error>;

    /// The offset after the last committed record, by lane, at the time of the call.
    fn ends(&mut self) -> Result<Vec<Offset>, Error>;
}

/// A reader of `decisions`.
pub trait Follower: Send {
    /// Waits up to `wait` for changes of state.
    fn poll(&mut self, wait: Duration) -> Result<Vec<Change>, Error>;

    /// Whether all that was committed when the follower was opened has been polled.
    fn caught_up(&self) -> bool;
}

/// One key of `decisions` as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The lane it is of.
    pub lane: Lane,
    /// The key.
    pub key: Bytes,
    /// Its state; nothing if it is gone.
    pub state: Option<Bytes>,
}
