//! Which counters calls fall under that have the same values: found rule by rule once, and by one look-up from then on.
//!
//! What a call falls under is a function of the policy and of its values in the dimensions that limits of its tenant look at. So the
//! places found are right until the policy changes or a slot is removed; that the windows of the slots last is asked each time.

use schemas::{
    limit::{Dimension, Target},
    map::Map,
};
use smallvec::SmallVec;

use super::slab::Place;

/// The most ways that are remembered, some 200 bytes each; more are found anew. Clients choose models and tags as they like.
const MOST: usize = 1 << 17;

/// The values that a way is of: on the stack, but for very long ones.
pub(super) type Name = SmallVec<[u8; 192]>;

/// The ways that calls took.
#[derive(Debug, Default)]
pub(super) struct Ways(Map<Box<[u8]>, Box<[Place]>>);

impl Ways {
    pub(super) fn get(&self, name: &Name) -> Option<&[Place]> {
        self.0.get(&name[..]).map(|places| &**places)
    }

    pub(super) fn insert(&mut self, name: &Name, places: &[Place]) {
        if self.0.len() >= MOST {
            self.clear();
        }
        self.0.insert(Box::from(&name[..]), Box::from(places));
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// The tenant of a target, which says what dimensions count, and its values in them. Each has its length before it: clients choose
/// some of them. What a target has no value of is as what it has an empty one of: no limit on it matches.
pub(super) fn name(target: Target<'_>, dimensions: &[Dimension]) -> Name {
    let mut name = Name::new();
    let mut put = |value: &str| {
        name.extend_from_slice(&value.len().to_ne_bytes());
        name.extend_from_slice(value.as_bytes());
    };
    put(&target.subject.tenant);
    for dimension in dimensions {
        put(dimension.of(target).unwrap_or_default());
    }
    name
}
