//! A gateway reports its counters and how far it is.

use schemas::{
    decision::Holder,
    event::{Counter, Reported},
    id::{InstanceId, ProducerId},
    ledger::{Fact, Heard, Overrun},
    limit::{Mode, Share},
    time::Time,
};

use super::Engine;
use crate::{
    dedup::{self, Origin},
    post,
};

impl Engine {
    pub(super) fn reported(&mut self, origin: Origin, reported: Reported) {
        if let Some(mark) = dedup::mark_mut(&mut self.state, origin.producer) {
            mark.low_watermark = reported.low_watermark;
            mark.heard_at = reported.at;
            let heard = Heard {
                producer: origin.producer,
                gateway: mark.gateway.clone(),
                at: reported.at,
                low_watermark: reported.low_watermark,
                closed: reported.last,
            };
            self.write(Fact::Heard(heard));
        }
        for counter in &reported.counters {
            if !self.take_counter(origin.producer, counter) {
                self.counts.strays += 1;
            }
        }
        if reported.last {
            self.left(origin.producer);
        }
    }

    /// A gateway has left in order, and has returned what it knew to have. What was granted since it said so it will never see, and no
    /// successor may ever come: so that is closed here, unless an attempt of it is open, which a successor settles.
    fn left(&mut self, producer: ProducerId) {
        self.state.waiting.retain(|waiting| waiting.producer != producer);
        for (id, instance) in &mut self.instances.all {
            let over = |holder: &Holder| holder.producer == producer && holder.held == 0;
            if instance.holders.iter().any(over) && post::close(instance, producer, &[], &[]) {
                self.instances.dirty.insert(*id);
            }
        }
    }

    /// Takes over one counter; false if its instance is not of this lane or gone.
    pub(super) fn take_counter(&mut self, producer: ProducerId, counter: &Counter) -> bool {
        let Some(instance) = self.instances.all.get_mut(&counter.instance) else { return false };
        if let Some(schedule) = self.schedules.get(&instance.limit)
            && instance.windows.iter().all(|window| window.start != counter.window)
            && let Some((start, end)) = schedule.window(counter.window).filter(|(start, _)| *start == counter.window)
        {
            instance.windows.push(schemas::decision::WindowState::new(start, end));
            instance.windows.sort_by_key(|window| window.start);
            post::forget_old_windows(instance);
        }
        let taken = post::take(instance, producer, counter);
        if taken.any {
            self.instances.dirty.insert(counter.instance);
        }
        if taken.used {
            self.note_overrun(counter.instance, counter.window);
        }
        true
    }

    /// A hard limit that was passed becomes a fact of the ledger: once for each amount in a window, and again each time that it was passed
    /// by twice as much, since one fact for each report that carries it further would tell nothing more.
    pub(super) fn note_overrun(&mut self, id: InstanceId, start: Time) {
        let Some(instance) = self.instances.all.get_mut(&id) else { return };
        let hard = self.limits.get(&instance.limit).is_some_and(|limit| limit.mode == Mode::Hard);
        let Some(window) = instance.windows.iter().find(|window| window.start == start).copied() else { return };
        let settled = instance.settled(&window);
        if !hard || settled <= instance.amount {
            return;
        }
        let overrun = Overrun {
            instance: instance.id,
            window: window.start,
            amount: instance.amount,
            settled,
            limit: Some(instance.limit),
            values: instance.values.clone(),
            until: window.end,
            held: instance.held(&window),
        };
        let share = Share(u32::try_from(overrun.percent()).unwrap_or(u32::MAX));
        let next = window.passed.0.saturating_sub(100).saturating_mul(2).saturating_add(100);
        if share <= window.passed || share.0 < next {
            return;
        }
        instance.windows.iter_mut().filter(|window| window.start == start).for_each(|window| window.passed = share);
        self.write(Fact::Overrun(overrun));
    }
}
