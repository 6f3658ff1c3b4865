//! Answers that are kept for calls that are the same, so that no provider is asked twice.
//!
//! The same is what a tenant sends by the same path, with the same headers that reach a provider and the same body, byte for byte: [`Key`]
//! is the SHA-256 of all that, and of the tenant first, so that nobody is given what another was told; one that was deleted and made anew is
//! another. In memory only, bounded over the whole process; what was asked for least recently goes first. It reads no clock and knows no
//! policy: who asks says how old an answer may be. [`copy`] keeps an answer beside the client's as it passes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::HeaderMap;
use schemas::{
    event::{Api, Attempt, Avoided, Settled},
    map::Map,
    money::Pico,
    tokens::Part,
};
use sha2::{Digest as _, Sha256};

pub(crate) mod copy;
pub(crate) mod lead;

use lead::Leads;

/// What an answer takes beside its body and its headers' values: the key in both orders, names, counts; measured below that.
const BESIDE: u64 = 1_024;

/// Which calls are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key([u8; 32]);

/// A key on its way. Parts go in with their lengths, so that no two lists of parts are one.
#[derive(Clone)]
pub(crate) struct Keying(Sha256);

/// An answer that is kept, as its client got it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) made: Made,
}

/// How an answer was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) api: Api,
    pub(crate) provider: String,
    pub(crate) model: String,
    pub(crate) parts: Vec<Part>,
    pub(crate) model_answered: String,
    pub(crate) service_tier: String,
    pub(crate) region: String,
    pub(crate) response_id: String,
}

/// The answers of a process.
pub(crate) struct Cache {
    shelf: Mutex<Shelf>,
    most: u64,
    leads: Leads,
}

#[derive(Default)]
struct Shelf {
    places: Map<Key, Place>,
    /// By when they were asked for last.
    by_use: BTreeMap<u64, Key>,
    uses: u64,
    bytes: u64,
}

struct Place {
    kept: Arc<Kept>,
    since: Instant,
    used: u64,
}

impl Keying {
    /// A key of this tenant's, and not of the one of the name that ended then.
    pub(crate) fn of(tenant: &str, ended: u64) -> Self {
        let mut keying = Self(Sha256::new());
        keying.add(tenant.as_bytes());
        keying.add(&ended.to_le_bytes());
        keying
    }

    pub(crate) fn add(&mut self, part: &[u8]) {
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
    }

    pub(crate) fn key(self) -> Key {
        Key(self.0.finalize().into())
    }
}

impl Made {
    /// By the attempt that ends so.
    pub(crate) fn by(settled: &Settled) -> Self {
        Self {
            api: settled.attempt.api,
            provider: settled.attempt.provider.clone(),
            model: settled.attempt.model.clone(),
            parts: settled.usage.parts.clone(),
            model_answered: settled.model_answered.clone(),
            service_tier: settled.service_tier.clone(),
            region: settled.region.clone(),
            response_id: settled.response_id.clone(),
        }
    }

    /// The record of a call that is given the answer again, without what is known of the call alone.
    pub(crate) fn given(&self, bare: Settled, cost: Option<Pico>) -> Settled {
        Settled {
            model_answered: self.model_answered.clone(),
            service_tier: self.service_tier.clone(),
            region: self.region.clone(),
            response_id: self.response_id.clone(),
            avoided: Some(Avoided { parts: self.parts.clone(), cost }),
            ..bare
        }
    }

    /// Whether that is where an attempt of these facts goes.
    pub(crate) fn is_by(&self, provider: &str, model: &str) -> bool {
        self.provider == provider && self.model == model
    }

    /// The facts of a call, as those of an attempt there.
    pub(crate) fn attempt(&self, call: Attempt) -> Attempt {
        Attempt { api: self.api, provider: self.provider.clone(), model: self.model.clone(), ..call }
    }
}

impl Kept {
    fn weight(&self) -> u64 {
        let headers: usize = self.headers.values().map(http::HeaderValue::len).sum();
        (self.body.len() + headers) as u64 + BESIDE
    }
}

impl Cache {
    pub(crate) fn new(most: u64) -> Self {
        Self { shelf: Mutex::default(), most, leads: Leads::default() }
    }

    /// The answer that is kept, and its age, if it is younger than `ttl` at this time; one that is not is forgotten.
    pub(crate) fn get(&self, key: &Key, ttl: Duration, at: Instant) -> Option<(Arc<Kept>, Duration)> {
        let mut shelf = self.lock();
        let age = at.saturating_duration_since(shelf.places.get(key)?.since);
        if age >= ttl {
            shelf.remove(key);
            return None;
        }
        Some((shelf.touch(key)?, age))
    }

    /// Keeps an answer, in the place of what was kept before; not if it is larger than all that may be kept.
    pub(crate) fn put(&self, key: Key, kept: Kept, at: Instant) {
        let weight = kept.weight();
        let mut shelf = self.lock();
        shelf.remove(&key);
        if weight > self.most {
            return;
        }
        while shelf.bytes + weight > self.most {
            let Some((_, oldest)) = shelf.by_use.pop_first() else { break };
            shelf.remove(&oldest);
        }
        shelf.bytes += weight;
        shelf.places.insert(key, Place { kept: Arc::new(kept), since: at, used: 0 });
        shelf.touch(&key);
    }

    /// How many answers are kept, and in how many bytes.
    pub(crate) fn standing(&self) -> (usize, u64) {
        let shelf = self.lock();
        (shelf.places.len(), shelf.bytes)
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    fn touch(&mut self, key: &Key) -> Option<Arc<Kept>> {
        let place = self.places.get_mut(key)?;
        self.by_use.remove(&place.used);
        self.uses += 1;
        place.used = self.uses;
        self.by_use.insert(place.used, *key);
        Some(Arc::clone(&place.kept))
    }

    fn remove(&mut self, key: &Key) {
        if let Some(place) = self.places.remove(key) {
            self.by_use.remove(&place.used);
            self.bytes -= place.kept.weight();
        }
    }
}

#[cfg(test)]
mod tests;
