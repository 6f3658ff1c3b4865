//! A journal was opened: its producer begins, and the one before it, if there was one, is closed.

use schemas::{
    event::{Counter, Hold, Opened, Predecessor},
    id::{ProducerId, Seq},
    ledger::{AlarmKind, Fact, Heard},
    limit::Unit,
};

use super::Engine;
use crate::{
    dedup::{self, Origin},
    fault::{self, Fault},
    post,
};

impl Engine {
    /// Whether events of the predecessor are still to come: they were lost on their way and are sent again, and so is this. Of one that
    /// has been succeeded none is waited for: they would be set aside, and may be lost for good.
    pub(super) fn is_early(&self, opened: &Opened) -> bool {
        opened.predecessor.as_ref().is_some_and(|predecessor| {
            let mark = dedup::mark(&self.state, predecessor.producer);
            let (seen, succeeded) = mark.map_or((Seq(0), false), |mark| (mark.seq, mark.closed));
            !succeeded && seen < predecessor.last
        })
    }

    pub(super) fn opened(&mut self, origin: Origin, opened: Opened) {
        if let Some(mark) = dedup::mark_mut(&mut self.state, origin.producer) {
            mark.gateway = opened.gateway;
            mark.heard_at = opened.at;
            mark.low_watermark = opened.at;
        }
        if let Some(predecessor) = opened.predecessor {
            self.succeed(origin, &predecessor);
        }
    }

    /// Closes the predecessor's leases, unless metering has seen more of it than its successor has, or another successor: then the
    /// journal was copied or restored, its lease may be spent by the other copy, and stays counted as spent.
    fn succeed(&mut self, origin: Origin, predecessor: &Predecessor) {
        let mark = dedup::mark(&self.state, predecessor.producer);
        let (seen, succeeded) = mark.map_or((0, false), |mark| (mark.seq.0, mark.closed));
        let copied = predecessor.copied && !fault::is(Fault::CopyAccepted);
        if (seen != predecessor.last.0 || succeeded || copied) && !fault::is(Fault::ForkAccepted) {
            let more = match (succeeded, copied) {
                (true, _) => " and another has succeeded it",
                (_, true) => ", and its files are not those that it wrote",
                _ => "",
            };
            let detail = format!(
                "the journal of producer {} ends at {} here, but {seen} of it are accepted{more}: it was copied or restored; \
                 its lease stays counted as spent, and what it has open is its own to end; if it lives, stop the copy, and if its disk is \
                 lost for good: `tollgate release --producer {0}`",
                predecessor.producer, predecessor.last.0,
            );
            if let Some(mark) = dedup::mark_mut(&mut self.state, predecessor.producer) {
                mark.copy = Some(origin.producer);
            }
            if let Some(mark) = dedup::mark_mut(&mut self.state, origin.producer) {
                mark.forked = true;
            }
            for counter in &predecessor.counters {
                // What it says to have used, before it was copied or since, it has used, though no report of it may come.
                self.take_counter(predecessor.producer, &Counter { returned: 0, version: 0, ..*counter });
            }
            if fault::is(Fault::ForkedLeaseFreed) {
                self.close_leases(predecessor);
            }
            return self.alarm(origin, AlarmKind::Forked, detail);
        }
        let Some(mark) = dedup::mark_mut(&mut self.state, predecessor.producer).filter(|mark| !mark.closed) else {
            return;
        };
        mark.closed = true;
        mark.heir = Some(origin.producer);
        let heard = Heard {
            producer: predecessor.producer,
            gateway: mark.gateway.clone(),
            at: mark.heard_at,
            low_watermark: mark.low_watermark,
            closed: true,
        };
        self.write(Fact::Heard(heard));
        self.state.waiting.retain(|waiting| waiting.producer != predecessor.producer);
        for counter in &predecessor.counters {
            // Most of them are not of this lane.
            self.take_counter(predecessor.producer, counter);
        }
        self.close_leases(predecessor);
    }

    fn close_leases(&mut self, predecessor: &Predecessor) {
        let producer: ProducerId = predecessor.producer;
        for (id, instance) in &mut self.instances.all {
            let here =
                |holds: &[Hold]| -> Vec<Hold> { holds.iter().filter(|hold| hold.instance == *id).copied().collect() };
            // The calls of a process that is gone are not open any more.
            let concurrent = self.limits.get(&instance.limit).is_some_and(|limit| limit.unit == Unit::Concurrent);
            let unknown = if concurrent { Vec::new() } else { here(&predecessor.provisions) };
            if post::close(instance, producer, &unknown, &here(&predecessor.used)) {
                self.instances.dirty.insert(*id);
            }
        }
    }
}
