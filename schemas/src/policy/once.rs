//! Which requests for changes have been made lately, so that one that comes again is not made again.
//!
//! Part of the fold, so that it holds whichever admin server a request comes to. Bounded in time, by the changes' own clock, and in number.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::{Digest, Refusal, change::Once};
use crate::time::Time;

/// How long a request is known again.
const KEPT: Duration = Duration::from_secs(24 * 3_600);
/// The most that are known, some 150 bytes each; from there on the oldest is forgotten.
const MOST: usize = 10_000;

#[derive(Clone, Debug, Default)]
pub(super) struct Requests {
    known: BTreeMap<Digest, Digest>,
    in_order: VecDeque<(Time, Digest)>,
}

impl Requests {
    /// Why a request is not made: it was already, or its name is another's.
    pub(super) fn refuse(&self, once: Option<&Once>) -> Result<(), Refusal> {
        match once.and_then(|once| Some((once, self.known.get(&once.name)?))) {
            None => Ok(()),
            Some((once, request)) if once.request == *request => Err(Refusal::MadeBefore),
            Some(_) => Err(Refusal::OtherRequest),
        }
    }

    /// One was made at an instant.
    pub(super) fn made(&mut self, once: Option<&Once>, at: Time) {
        let is_over = |made: Time| at.since(made) > KEPT;
        while let Some((made, name)) = self.in_order.front().copied()
            && (is_over(made) || self.in_order.len() >= MOST)
        {
            self.in_order.pop_front();
            self.known.remove(&name);
        }
        if let Some(once) = once {
            self.in_order.push_back((at, once.name));
            self.known.insert(once.name, once.request);
        }
    }
}
