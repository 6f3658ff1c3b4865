//! Time passed: windows are published ahead, the next ones opened, and what is long over is forgotten.

use std::time::Duration;

use schemas::{
    decision::{Instance, Key, ProducerMark},
    id::{InstanceId, ProducerId},
    limit::Unit,
    time::Time,
};

use super::Engine;
use crate::{
    dedup,
    fault::{self, Fault},
    post, window,
};

/// How long a counter is kept after its window ended: what is learned later is written down, and moves nothing that anybody spends from.
pub(crate) const KEPT: Duration = Duration::from_secs(2 * 24 * 3_600);

/// How long a closed producer is remembered: longer than any journal keeps what it could send again.
const PRODUCER_KEPT: Duration = Duration::from_secs(35 * 24 * 3_600);

impl Engine {
    pub(super) fn tick(&mut self) {
        let now = self.state.recorded_at;
        if fault::is(Fault::SilentLeaseFreed) {
            self.free_silent(now);
        }
        for (id, limit) in &self.limits {
            let known = self.schedules.get(id);
            let stale = known.is_none_or(|schedule| window::runs_out(schedule, now, self.ahead));
            if stale
                && self.may_be_home(limit)
                && let Some(schedule) = window::schedule(limit, now, self.ahead.saturating_mul(2))
                && known != Some(&schedule)
            {
                self.schedules.insert(*id, schedule);
                self.changed.insert(*id);
            }
        }
        self.refresh_late();
        self.open_fixed(now);
        // A failover of metering takes less: nobody is silent because nobody listened.
        let silent = |mark: &&ProducerMark| !mark.closed && now.since(mark.accepted_at) > self.ahead;
        self.instances.silent = self.state.producers.iter().filter(silent).map(|mark| mark.producer).collect();
        // Forgetting looks at every counter, so it is done once a minute.
        let minute = now.as_micros() / 60_000_000;
        if self.swept != minute {
            self.swept = minute;
            self.free_abandoned(now);
            self.forget(now);
        }
    }

    /// Frees what producers that have long been silent have of what is open at a time: by now their calls are over, and they take no
    /// new ones before they are heard. The only safety rule with a clock; it is metering's own.
    fn free_abandoned(&mut self, now: Time) {
        let is_silent = |producer: ProducerId| {
            let mark = dedup::mark(&self.state, producer);
            mark.is_none_or(|mark| mark.closed || now.since(mark.accepted_at) > self.abandon_after)
        };
        for instance in self.instances.all.values_mut() {
            if !self.limits.get(&instance.limit).is_some_and(|limit| limit.unit == Unit::Concurrent) {
                continue;
            }
            // Who is gone has nothing of it, and is forgotten with all else of him.
            let known = instance.holders.len();
            instance.holders.retain(|holder| !holder.closed() || dedup::mark(&self.state, holder.producer).is_some());
            let mut freed = instance.holders.len() != known;
            for holder in instance.holders.iter_mut().filter(|holder| is_silent(holder.producer)) {
                freed |= holder.lease() > 0 || holder.held > 0;
                holder.returned = holder.granted;
                holder.held = 0;
            }
            if freed {
                self.instances.dirty.insert(instance.id);
            }
        }
    }

    /// What no engine may do: a planted fault.
    fn free_silent(&mut self, now: Time) {
        let silent = |mark: &&ProducerMark| now.since(mark.accepted_at) > Duration::from_secs(10);
        for mark in self.state.producers.iter().filter(silent) {
            for instance in self.instances.all.values_mut() {
                if post::close(instance, mark.producer, &[], &[]) {
                    self.instances.dirty.insert(instance.id);
                }
            }
        }
    }

    fn forget(&mut self, now: Time) {
        let mut over = Vec::new();
        for instance in self.instances.all.values_mut() {
            let stands = self
                .limits
                .get(&instance.limit)
                .and_then(|limit| limit.window.longest().filter(|_| limit.window.stands()));
            if let Some(longest) = stands
                && post::forget_closed(instance, |window| now.since(window) <= longest.saturating_mul(2))
            {
                self.instances.dirty.insert(instance.id);
            }
            // What was moved a moment ago is shown once before it goes.
            if is_over(instance, now) && !self.instances.dirty.contains(&instance.id) {
                over.push(instance.id);
            }
        }
        for id in over {
            let gone = self.instances.all.remove(&id);
            let shared = gone.and_then(|gone| gone.shared(self.limits.get(&gone.limit)?));
            if let Some(seats) = shared.and_then(|shared| self.seats.get_mut(&shared)) {
                *seats = seats.saturating_sub(1);
            }
            self.instances.dirty.remove(&id);
            self.gone.push(Key::Instance(id));
        }
        self.forget_filled();
        self.forget_claims(now);
        let known = self.state.producers.len();
        self.state.producers.retain(|mark| !mark.closed || now.since(mark.heard_at) < PRODUCER_KEPT);
        self.touched |= self.state.producers.len() != known;
    }
}

/// Whether nothing can happen to an instance any more: its last window ended long ago and nobody live has any of it.
///
/// A lease that stands outlives its windows, so its instance stays until the lease is returned.
fn is_over(instance: &Instance, now: Time) -> bool {
    let Some(window) = instance.current() else { return false };
    let ended = window.end != Time::MAX && now.since(window.end) > KEPT;
    let named_by_window = || instance.id == InstanceId::of(instance.limit, &instance.values, Some(window.start));
    ended
        && instance.holders.iter().all(|holder| holder.held == 0)
        && (instance.holders.iter().all(|holder| holder.lease() == 0) || named_by_window())
}
