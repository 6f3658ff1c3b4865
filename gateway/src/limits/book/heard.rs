//! What was heard of metering, lane by lane, and whether it hears this gateway.

use std::time::Instant;

use schemas::{decision::LaneState, id::Lane, time::Time};

use super::{Book, Requests};
use crate::fault::{self, Fault};

/// What was heard of a lane.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Heard {
    pub(super) at: Option<Instant>,
    /// What metering has accepted last of the reports of this gateway: when it was written, by either clock.
    told: Option<(Time, Instant)>,
    pub(super) answered: u64,
    pub(super) asked: u64,
    claims: u64,
}

impl Book {
    pub(crate) fn lane(&mut self, lane: Lane, state: &LaneState, (now, at): (Time, Instant)) {
        let Some(heard) = self.heard.get_mut(usize::from(lane.0)) else { return };
        heard.at = Some(at);
        heard.claims = state.claims;
        if let Some(mark) = state.producers.iter().find(|mark| mark.producer == self.me) {
            heard.answered = mark.answered;
            if heard.told.is_none_or(|(last, _)| last != mark.heard_at) {
                heard.told = at.checked_sub(now.since(mark.heard_at)).map(|written| (mark.heard_at, written));
            }
        }
    }

    pub(crate) fn claims(&self, lane: Lane) -> u64 {
        self.heard.get(usize::from(lane.0)).map_or(0, |heard| heard.claims)
    }

    pub(crate) fn seen(&self, lane: Lane) -> Option<Instant> {
        self.heard.get(usize::from(lane.0))?.at
    }

    /// Whether metering has accepted something of late that this gateway wrote. Before that is over nobody is told by an operator that it
    /// is gone, or frees what it has of what is open at a time. By either clock: of a process that was stopped both go on, of a machine that
    /// slept the one that everybody has; where a hypervisor stops both, decisions that are read tell it first, or calls of that moment pass.
    pub(super) fn is_heard(&self, lane: Lane, &Requests { now, at, .. }: &Requests) -> bool {
        let told = self.heard.get(usize::from(lane.0)).and_then(|heard| heard.told);
        let recent = told.is_some_and(|(wrote, written)| {
            at.duration_since(written) <= self.silence && now.since(wrote) <= self.silence
        });
        recent || fault::is(Fault::UnheardHolds)
    }
}
