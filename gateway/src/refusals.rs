//! Refusals, counted: one record for each instance, key and second, however many calls it turned away.
//!
//! A client that keeps calling against an exhausted limit must not fill the journal. The map is bounded too: beyond that
//! the call is refused all the same and only the metrics count it.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Mutex, PoisonError},
};

use schemas::{error_code::ErrorCode, event::Refused, id::InstanceId};

/// The most records of one second at one worker.
const MOST: usize = 10_000;

/// What is counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    instance: InstanceId,
    tenant: String,
    key: String,
    code: ErrorCode,
    observed: bool,
}

/// The refusals of the current second.
#[derive(Default)]
pub(crate) struct Refusals(Mutex<HashMap<Kind, Refused>>);

impl Refusals {
    /// Counts a refusal; `made` gives its record, should it be the first of its kind.
    pub(crate) fn count(&self, instance: InstanceId, made: Refused) {
        let kind = Kind {
            instance,
            tenant: made.subject.tenant.clone(),
            key: made.subject.key.clone(),
            code: made.code,
            observed: made.observed,
        };
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = map.len() >= MOST;
        match map.entry(kind) {
            Entry::Occupied(mut known) => known.get_mut().count += made.count,
            Entry::Vacant(_) if is_full => {}
            Entry::Vacant(free) => {
                free.insert(made);
            }
        }
    }

    /// Takes what was counted.
    pub(crate) fn take(&self) -> Vec<Refused> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *map).into_values().collect()
    }
}
