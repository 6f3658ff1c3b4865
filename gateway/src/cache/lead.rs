//! Of calls that are the same and come together one asks the provider, and the others wait for its answer.
//!
//! Who leads has a [`Lead`] for as long as its answer may still be kept; whatever becomes of it, dropping that lets the others look again. They
//! hold nothing while they wait, and are bounded in number and in time: a leader's client may be slow to read.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use schemas::map::Map;
use tokio::sync::{Semaphore, watch};

use super::{Cache, Key};

/// The most calls that wait at once, in the process: each is a connection with its request in memory.
const MOST: usize = 1_000;
/// The longest that one waits.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who leads, and who waits for that.
pub(super) struct Leads {
    /// What tells that a leader is gone: nothing is ever sent.
    leads: std::sync::Mutex<Map<Key, watch::Receiver<()>>>,
    waiting: Semaphore,
}

impl Default for Leads {
    fn default() -> Self {
        Self { leads: std::sync::Mutex::default(), waiting: Semaphore::new(MOST) }
    }
}

/// The part of the call that makes the answer.
pub(crate) struct Lead {
    cache: Arc<Cache>,
    key: Key,
    _gone: watch::Sender<()>,
}

/// What a call does that finds no answer.
pub(crate) enum Part {
    /// It makes the answer.
    Leads(Lead),
    /// Another one makes it.
    Waits(watch::Receiver<()>),
}

impl Cache {
    /// Makes a call the leader of those with its key, unless there is one.
    pub(crate) fn lead(self: &Arc<Self>, key: Key) -> Part {
        let mut leads = self.leads.leads.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gone) = leads.get(&key) {
            return Part::Waits(gone.clone());
        }
        let (sender, receiver) = watch::channel(());
        leads.insert(key, receiver);
        Part::Leads(Lead { cache: Arc::clone(self), key, _gone: sender })
    }

    /// Waits until a leader is gone; not if too many do already, or for too long.
    pub(crate) async fn wait(&self, mut gone: watch::Receiver<()>) {
        if let Ok(_place) = self.leads.waiting.try_acquire() {
            // Either it is gone, which is an error of the channel, or the time is over: the call looks for itself.
            let _ = tokio::time::timeout(PATIENCE, gone.changed()).await;
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.cache.leads.leads.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
