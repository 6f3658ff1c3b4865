//! The road in a directory: one process, one lane, no broker.
//!
//! ```text
//! <dir>/lock         held by the process
//! <dir>/usage/       the gateway's journal, which metering reads in place
//! <dir>/ledger/      segments
//! <dir>/policy/      segments
//! <dir>/state.redb   decisions, and how far the input has been read and the outputs count
//! ```
//!
//! A transaction appends its ledger entries, fsyncs them, and then commits {input offset, decisions, end of the ledger} in the
//! store. That commit is the only truth: readers stop at the end that it names, and opening cuts what lies beyond. So a crash
//! anywhere leaves all of a transaction or nothing, for two fsyncs (segment and store) and none that waits for another.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, Ordering::AcqRel},
    },
    time::Duration,
};

use bytes::Bytes;
use schemas::{
    id::{Lane, Offset, ProducerId},
    time::Time,
    topics::Topic,
};

use crate::{
    Follower, Member, Reader, Record, Road,
    error::Error,
    journal::{Journal, Options},
    segment::{self, Cursor, Log, facts::Facts, files, held, open::Bounds},
};

mod follower;
mod member;
mod store;

#[cfg(test)]
mod tests;

use follower::{DiskFollower, Mailbox};
use member::DiskMember;
use store::Store;

/// The size of a segment of `policy`, which is small and never trimmed.
const POLICY_SEGMENT_BYTES: u64 = 1 << 20;

/// The road in a directory.
#[derive(Debug)]
pub struct Disk {
    shared: Arc<Shared>,
}

/// What the disk and all its readers and writers hold together.
#[derive(Debug)]
struct Shared {
    journal: Arc<Journal>,
    ledger: Arc<Log>,
    policy: Arc<Log>,
    store: Store,
    /// Those who follow decisions. Held while a commit becomes visible, so that a snapshot is of before or of after it.
    followers: Mutex<Vec<Weak<Mailbox>>>,
    /// Held while policy is appended and committed.
    publishing: Mutex<()>,
    has_member: AtomicBool,
    options: Options,
    _lock: files::Lock,
}

impl Disk {
    /// Opens the log in `dir`, creating it if need be. `options.lanes` is not looked at: there is one.
    ///
    /// [`Error::Locked`] while another process has it; [`Error::Corrupt`] if anything that had been committed is damaged.
    pub fn open(dir: &Path, options: &Options) -> Result<Arc<Self>, Error> {
        let lock = files::lock(dir)?;
        let state = dir.join("state.redb");
        let store = Store::open(&state, || refuse_orphans(dir, &state))?;
        let ends = store.ends()?;
        let exactly = |end| Bounds { floor: end, ceiling: Some(end) };
        let ledger = Log::open(&dir.join("ledger"), outputs(Topic::Ledger, options), exactly(ends.ledger))?;
        let policy = Log::open(&dir.join("policy"), outputs(Topic::Policy, options), exactly(ends.policy))?;
        let one_lane = Options { lanes: 1, ..options.clone() };
        let journal = Journal::open_alone(&dir.join("usage"), &one_lane, ends.input)?;
        let shared = Shared {
            journal,
            ledger,
            policy,
            store,
            followers: Mutex::default(),
            publishing: Mutex::default(),
            has_member: AtomicBool::new(false),
            options: one_lane,
            _lock: lock,
        };
        Ok(Arc::new(Self { shared: Arc::new(shared) }))
    }

    /// The records of `policy` in the log in `dir`, which another process may have open: nothing is locked or changed. None if there is
    /// no log there.
    pub fn look_at_policy(dir: &Path) -> Result<Vec<Record>, Error> {
        segment::glance::glance(&dir.join("policy"))
    }

    /// The bytes that the ledger takes.
    pub fn ledger_bytes(&self) -> u64 {
        self.shared.ledger.bytes()
    }
}

/// Segments whose store is gone are not cut to nothing: that would take every charge with it.
fn refuse_orphans(dir: &Path, state: &Path) -> Result<(), Error> {
    for part in ["usage", "ledger", "policy"] {
        let part = dir.join(part);
        if part.is_dir() && !files::segments(&part)?.is_empty() {
            let why = format!("it is missing or empty although {} is there", part.display());
            return Err(Error::Corrupt { path: state.to_owned(), position: 0, why });
        }
    }
    Ok(())
}

fn outputs(topic: Topic, options: &Options) -> segment::Options {
    let small = topic == Topic::Policy;
    segment::Options {
        topic,
        producer: ProducerId::NONE,
        lanes: 1,
        segment_bytes: if small { options.segment_bytes.min(POLICY_SEGMENT_BYTES) } else { options.segment_bytes },
        most_bytes: u64::MAX,
        faults: options.faults(),
    }
}

impl Road for Disk {
    fn lanes(&self) -> u16 {
        1
    }

    fn journal(&self) -> Result<Arc<Journal>, Error> {
        Ok(Arc::clone(&self.shared.journal))
    }

    fn member(&self) -> Result<Box<dyn Member>, Error> {
        if self.shared.has_member.swap(true, AcqRel) {
            return Err(Error::Misused("there is one member of a log on disk, and it is taken"));
        }
        Ok(Box::new(DiskMember::new(&self.shared)))
    }

    fn kept(&self) -> Result<Vec<Offset>, Error> {
        Ok(vec![Offset(self.shared.ledger.first())])
    }

    /// To a segment, and with one lane.
    fn since(&self, _: Lane, time: Time) -> Result<Vec<Offset>, Error> {
        let mut first = None;
        self.shared.ledger.inspect(|facts| {
            if facts.at >= time && first.is_none() {
                first = Some(facts.base);
            }
        });
        // Nothing was written since; but who writes now may have begun before.
        let last = || {
            let mut last = 0;
            self.shared.ledger.inspect(|facts| last = facts.base);
            last
        };
        Ok(vec![Offset(first.unwrap_or_else(last))])
    }

    /// In whole segments. The one that is written is sealed if all of it may go, so that what is old goes also where little is written.
    fn trim(&self, below: &[Offset], before: Time) -> Result<(), Error> {
        let (ledger, below) = (&self.shared.ledger, below.first().copied().unwrap_or_default());
        let done = |facts: &Facts| facts.end <= below.0 && facts.at < before;
        ledger.trim(done)?;
        if ledger.seal(done)? { ledger.trim(done) } else { Ok(()) }
    }

    fn reader(&self, topic: Topic, from: &[Offset]) -> Result<Box<dyn Reader>, Error> {
        let log = match topic {
            Topic::Ledger => &self.shared.ledger,
            Topic::Policy => &self.shared.policy,
            Topic::Usage => return Err(Error::Misused("only a member reads usage")),
            Topic::Decisions => return Err(Error::Misused("decisions are followed, not read")),
        };
        let from = from.first().copied().unwrap_or_default();
        log.check_kept(from.0)?;
        Ok(Box::new(DiskReader { log: Arc::clone(log), cursor: Cursor::new(log, from.0) }))
    }

    fn follower(&self) -> Result<Box<dyn Follower>, Error> {
        Ok(Box::new(DiskFollower::new(&self.shared)?))
    }

    fn publish(&self, bodies: &[Bytes]) -> Result<(), Error> {
        let shared = &self.shared;
        let _alone = held(&shared.publishing);
        let mut done = 0;
        let mut publish = || {
            shared.policy.append_bodies(bodies, &mut done)?;
            let end = shared.policy.sync()?;
            shared.store.commit_policy(end)?;
            shared.policy.publish(end);
            Ok(())
        };
        publish().inspect_err(|error: &Error| {
            if done > 0 {
                shared.policy.break_with(&error.to_string());
            }
        })
    }

    fn close(&self) -> Result<(), Error> {
        self.shared.close()
    }
}

impl Shared {
    fn close(&self) -> Result<(), Error> {
        let journal = self.journal.close();
        let outputs = [&self.ledger, &self.policy].map(|log| {
            let closed = log.close();
            log.wake_for_close();
            closed.map(drop)
        });
        for mailbox in held(&self.followers).iter().filter_map(Weak::upgrade) {
            mailbox.close();
        }
        outputs.into_iter().fold(journal, Result::and)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Err(error) = self.shared.close() {
            tracing::error!(%error, "the log was not closed cleanly");
        }
    }
}

/// A reader of `ledger` or `policy`.
#[derive(Debug)]
struct DiskReader {
    log: Arc<Log>,
    cursor: Cursor,
}

impl Reader for DiskReader {
    fn poll(&mut self, wait: Duration) -> Result<Vec<Record>, Error> {
        self.cursor.poll(wait)
    }

    fn ends(&mut self) -> Result<Vec<Offset>, Error> {
        Ok(vec![Offset(self.log.visible().end)])
    }
}
