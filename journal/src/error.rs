//! What can go wrong on the road, whose fault it is and whether to try again.
//!
//! Users see [`Error::code`]; roles look at the variant only to tell "wait" ([`Error::may_pass`]) from "stop" (all others).
//! No error carries a record's body.

use std::{io, path::PathBuf};

use schemas::{error_code::ErrorCode, id::Lane, topics::Topic};
use thiserror::Error;

/// Why the road could not do what was asked.
#[derive(Debug, Error)]
pub enum Error {
    /// The file system refused. The machine is at fault; opening again may help.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// There is no room, and nothing was written. Goes on by itself once records are confirmed or the disk has room again.
    #[error("{} has no room: {why}", path.display())]
    Full {
        /// The directory.
        path: PathBuf,
        /// What ran out.
        why: String,
    },
    /// A write or an fsync failed once: what is on the platter is not known any more, so nothing is written until the
    /// directory is opened again. What was reported durable is.
    #[error("{} takes nothing more until it is opened again: {why}", path.display())]
    Broken {
        /// The directory.
        path: PathBuf,
        /// The first failure.
        why: String,
    },
    /// Bytes that had been durable are not what was written. Restore them or take the file away: nothing is skipped silently.
    #[error("{} is damaged at byte {position}: {why}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where the first damaged batch starts.
        position: u64,
        /// What is wrong with it.
        why: String,
    },
    /// Another process has the directory open; its death frees it.
    #[error("{} is in use by {holder}", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The process that holds it, as it wrote itself down.
        holder: String,
    },
    /// The records asked for have been trimmed, or never were. The reader came too late, or its offset is of another log.
    #[error("the log has offsets {first} to {end} of {topic}; {asked} was asked for", topic = topic.name())]
    NotKept {
        /// The topic.
        topic: Topic,
        /// The lane of it; the first, where lanes stand together.
        lane: Lane,
        /// The offset asked for.
        asked: u64,
        /// The first one kept.
        first: u64,
        /// The one after the last.
        end: u64,
    },
    /// The caller's mistake: there is no such lane here.
    #[error("there is no lane {}; the log has {lanes}", lane.0)]
    NoSuchLane {
        /// The lane asked for.
        lane: Lane,
        /// How many there are.
        lanes: u16,
    },
    /// The caller's mistake: a record, or a transaction, that no batch can hold.
    #[error("a batch of {bytes} bytes is more than the {most} that the log takes")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The most.
        most: u64,
    },
    /// The caller's mistake: a second member, or a topic that cannot be read so.
    #[error("{0}")]
    Misused(&'static str),
    /// The road was closed; the process is on its way out.
    #[error("the log is closed")]
    Closed,
    /// The store of positions and decisions refused. Nothing of the transaction stands.
    #[error("{}: {why}", path.display())]
    Store {
        /// The store.
        path: PathBuf,
        /// Its answer.
        why: String,
    },
    /// Another member has taken the lane over; nothing of the transaction stands.
    #[error("lane {} belongs to another member now", .0.0)]
    Fenced(Lane),
    /// A topic has another number of partitions than the configuration has lanes. Lanes are fixed when topics are created.
    #[error("topic {topic} has {found} partitions, and there are to be {lanes} lanes")]
    Lanes {
        /// The topic.
        topic: String,
        /// Its partitions.
        found: usize,
        /// The lanes configured.
        lanes: u16,
    },
    /// A topic is configured so that it would lose what must be kept, or keep what must go. Configure it as it says.
    #[error("topic {topic}: {why}")]
    Topic {
        /// The topic.
        topic: String,
        /// What is wrong with it.
        why: String,
    },
    /// The cluster cannot be reached or answered with an error; the caller may try again later.
    #[error("the log cannot be reached: {0}")]
    Unreachable(String),
}

impl Error {
    /// Whether to wait and try again: there is no room, or the cluster is away.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::Unreachable(_))
    }

    /// The code that users see.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Full { .. } | Self::Broken { .. } => ErrorCode::JournalFull,
            Self::Corrupt { .. } => ErrorCode::JournalCorrupt,
            Self::Locked { .. } => ErrorCode::DirectoryLocked,
            Self::NotKept { .. } => ErrorCode::LogTrimmed,
            Self::NoSuchLane { .. } | Self::Lanes { .. } => ErrorCode::LanesDiffer,
            Self::Topic { .. } => ErrorCode::TopicConfiguration,
            Self::Io { .. }
            | Self::TooLarge { .. }
            | Self::Misused(_)
            | Self::Closed
            | Self::Store { .. }
            | Self::Fenced(_)
            | Self::Unreachable(_) => ErrorCode::LogUnreachable,
        }
    }
}
