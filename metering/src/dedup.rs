//! Each event once, in order: go-back-N over the sequence of its producer.
//!
//! The next sequence is accepted; what is below was accepted before; what is above is dropped, because the outbox sends
//! everything from the first unconfirmed event again. So there is never a gap, and one number a producer is enough.

use schemas::{
    decision::{LaneState, ProducerMark},
    id::{ProducerId, Seq},
    time::Time,
};

use crate::fault::{self, Fault};

/// Who sent an event, which of theirs it is, and the hash of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The producer.
    pub producer: ProducerId,
    /// Its sequence in this lane.
    pub seq: Seq,
    /// The hash of the body.
    pub hash: u64,
}

/// What to do with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the next one.
    Accept,
    /// It was accepted before.
    Duplicate,
    /// An event before it is missing; it will be sent again.
    Gap,
    /// Its sequence was taken by an event with other bytes.
    Conflict,
}

/// Judges an event against what its producer has had accepted.
pub fn judge(mark: Option<&ProducerMark>, origin: Origin) -> Verdict {
    let (last, hash) = mark.map_or((0, 0), |mark| (mark.seq.0, mark.hash));
    if origin.seq.0 == last.saturating_add(1) || origin.seq.0 > last && fault::is(Fault::GapAccepted) {
        Verdict::Accept
    } else if origin.seq.0 > last {
        Verdict::Gap
    } else if origin.seq.0 == last && origin.hash != hash {
        Verdict::Conflict
    } else {
        Verdict::Duplicate
    }
}

/// The mark of a producer.
pub fn mark(state: &LaneState, producer: ProducerId) -> Option<&ProducerMark> {
    // Few producers are live at a time and the newest talk most, so the search from the end is short.
    state.producers.iter().rev().find(|mark| mark.producer == producer)
}

/// The mark of a producer, to be changed.
pub fn mark_mut(state: &mut LaneState, producer: ProducerId) -> Option<&mut ProducerMark> {
    state.producers.iter_mut().rev().find(|mark| mark.producer == producer)
}

/// Who speaks for a producer now: itself, or the last of those that took over one from the other.
pub fn heir(state: &LaneState, producer: ProducerId) -> ProducerId {
    let next = |of: &ProducerId| mark(state, *of).and_then(|mark| mark.heir);
    // Nobody can take over from one that comes after; the bound is for a state that says so all the same.
    let line = std::iter::successors(Some(producer), next).take(state.producers.len() + 1);
    line.last().unwrap_or(producer)
}

/// Those whose journal goes on in a copy while nobody has taken over from them: the original lives, or it is gone and an operator has to
/// say so.
pub fn copied(state: &LaneState) -> impl Iterator<Item = &ProducerMark> {
    state.producers.iter().filter(|mark| mark.copy.is_some() && !mark.closed)
}

/// Records that an event was accepted.
pub fn accept(state: &mut LaneState, origin: Origin) {
    let accepted_at = state.recorded_at;
    match mark_mut(state, origin.producer) {
        Some(mark) => {
            mark.seq = origin.seq;
            mark.hash = origin.hash;
            mark.accepted_at = accepted_at;
        }
        None => state.producers.push(ProducerMark {
            producer: origin.producer,
            seq: origin.seq,
            hash: origin.hash,
            gateway: String::new(),
            low_watermark: Time::ZERO,
            heard_at: Time::ZERO,
            answered: 0,
            closed: false,
            forked: false,
            heir: None,
            copy: None,
            accepted_at,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(accepted: &[(u64, u64)], next: (u64, u64), expected: Verdict) {
        let producer = ProducerId::from_bytes([7; 16]);
        let origin = |(seq, hash): (u64, u64)| Origin { producer, seq: Seq(seq), hash };
        let mut state = LaneState::default();
        for event in accepted {
            assert_eq!(judge(mark(&state, producer), origin(*event)), Verdict::Accept);
            accept(&mut state, origin(*event));
        }
        assert_eq!(judge(mark(&state, producer), origin(next)), expected, "{accepted:?} then {next:?}");
    }

    #[test]
    fn sequences_are_accepted_without_a_gap() {
        check(&[], (1, 10), Verdict::Accept);
        check(&[], (2, 10), Verdict::Gap);
        check(&[(1, 10)], (1, 10), Verdict::Duplicate);
        check(&[(1, 10)], (1, 11), Verdict::Conflict);
        check(&[(1, 10), (2, 20)], (1, 99), Verdict::Duplicate);
        check(&[(1, 10), (2, 20)], (3, 30), Verdict::Accept);
        check(&[(1, 10), (2, 20)], (4, 40), Verdict::Gap);
    }
}
