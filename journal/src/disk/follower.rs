//! Following decisions on disk: first the state as a snapshot, then what each commit changed.
//!
//! What a follower has not polled yet stands in its mailbox, once a key, the newest state only. A mailbox that grows beyond
//! its bound is emptied, and its follower reads the whole state again, with a removal for each key that is gone.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use bytes::Bytes;
use schemas::id::Lane;

use crate::{
    Change, Follower,
    deadline::Deadline,
    disk::{Shared, store::View},
    error::Error,
    segment::held,
};

/// The most that a mailbox holds. 16 MiB is a second of a hundred thousand changes; who is that late reads the snapshot.
const MAILBOX_BYTES: usize = 16 << 20;

/// What a change takes beside its bytes, about.
const CHANGE_BYTES: usize = 128;

/// What was committed and is not polled yet.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    waiting: Mutex<Waiting>,
    ready: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    changes: HashMap<Bytes, Change>,
    bytes: usize,
    overflowed: bool,
    closed: bool,
}

impl Mailbox {
    fn put(&self, change: &Change) {
        let mut waiting = held(&self.waiting);
        if waiting.overflowed {
            return;
        }
        waiting.bytes += CHANGE_BYTES + change.key.len() + change.state.as_ref().map_or(0, Bytes::len);
        waiting.changes.insert(change.key.clone(), change.clone());
        if waiting.bytes > MAILBOX_BYTES {
            waiting.changes = HashMap::new();
            waiting.overflowed = true;
        }
    }

    pub(super) fn close(&self) {
        held(&self.waiting).closed = true;
        self.ready.notify_all();
    }

    /// Waits for changes and takes them all; `None` if it has overflowed.
    fn take(&self, wait: Duration) -> Result<Option<Vec<Change>>, Error> {
        let deadline = Deadline::after(wait);
        let mut waiting = held(&self.waiting);
        loop {
            if waiting.overflowed {
                return Ok(None);
            }
            if !waiting.changes.is_empty() {
                waiting.bytes = 0;
                return Ok(Some(std::mem::take(&mut waiting.changes).into_values().collect()));
            }
            if waiting.closed {
                return Err(Error::Closed);
            }
            let rest = deadline.rest();
            if rest.is_zero() {
                return Ok(Some(Vec::new()));
            }
            waiting = self.ready.wait_timeout(waiting, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Tells all followers what a commit changed.
pub(super) fn tell(mut followers: MutexGuard<'_, Vec<Weak<Mailbox>>>, changes: impl Iterator<Item = Change>) {
    followers.retain(|mailbox| mailbox.strong_count() > 0);
    let mailboxes: Vec<_> = followers.iter().filter_map(Weak::upgrade).collect();
    for change in changes {
        mailboxes.iter().for_each(|mailbox| mailbox.put(&change));
    }
    mailboxes.iter().for_each(|mailbox| mailbox.ready.notify_all());
}

/// A snapshot that is being handed out.
#[derive(Debug)]
struct Snapshot {
    view: View,
    last: Option<Bytes>,
    /// Keys handed out earlier and not met again yet.
    unmet: HashSet<Bytes>,
}

#[derive(Debug)]
pub(super) struct DiskFollower {
    shared: Arc<Shared>,
    mailbox: Arc<Mailbox>,
    snapshot: Option<Snapshot>,
    /// The keys that its owner believes to exist.
    known: HashSet<Bytes>,
    caught_up: bool,
}

impl DiskFollower {
    pub(super) fn new(shared: &Arc<Shared>) -> Result<Self, Error> {
        let mailbox = Arc::new(Mailbox::default());
        let mut followers = held(&shared.followers);
        let view = shared.store.view()?;
        followers.push(Arc::downgrade(&mailbox));
        drop(followers);
        Ok(Self {
            shared: Arc::clone(shared),
            mailbox,
            snapshot: Some(Snapshot { view, last: None, unmet: HashSet::new() }),
            known: HashSet::new(),
            caught_up: false,
        })
    }

    /// Takes a new snapshot, which includes whatever the mailbox lost.
    fn start_over(&mut self) -> Result<(), Error> {
        let followers = held(&self.shared.followers);
        let mut waiting = held(&self.mailbox.waiting);
        let view = self.shared.store.view()?;
        (waiting.bytes, waiting.overflowed) = (0, false);
        drop(waiting);
        drop(followers);
        self.snapshot = Some(Snapshot { view, last: None, unmet: std::mem::take(&mut self.known) });
        Ok(())
    }

    fn note(&mut self, changes: &[Change]) {
        for change in changes {
            match &change.state {
                Some(_) => self.known.insert(change.key.clone()),
                None => self.known.remove(&change.key),
            };
        }
    }

    /// The next part of the snapshot; with its last part, removals of what it no longer has.
    fn next_part(&mut self, mut snapshot: Snapshot) -> Result<Vec<Change>, Error> {
        let (chunk, all) = snapshot.view.after(snapshot.last.as_ref())?;
        snapshot.last = chunk.last().map(|(key, _)| key.clone());
        for (key, _) in &chunk {
            snapshot.unmet.remove(key);
            self.known.insert(key.clone());
        }
        let lane = Lane(0);
        let mut changes: Vec<_> =
            chunk.into_iter().map(|(key, state)| Change { lane, key, state: Some(state) }).collect();
        if all {
            changes.extend(snapshot.unmet.into_iter().map(|key| Change { lane, key, state: None }));
            self.caught_up = true;
        } else {
            self.snapshot = Some(snapshot);
        }
        Ok(changes)
    }
}

impl Follower for DiskFollower {
    fn poll(&mut self, wait: Duration) -> Result<Vec<Change>, Error> {
        if self.snapshot.is_none() {
            if let Some(changes) = self.mailbox.take(wait)? {
                self.note(&changes);
                return Ok(changes);
            }
            self.start_over()?;
        }
        match self.snapshot.take() {
            Some(snapshot) => self.next_part(snapshot),
            None => Ok(Vec::new()),
        }
    }

    fn caught_up(&self) -> bool {
        self.caught_up
    }
}
