//! A gateway reports its counters and how far it is.

use schemas::{
    decision::Holder,
    event::{Counter, Reported},
    id::{InstanceId, ProducerId},
    ledger::{Fact, Heard, Overrun},
    limit::Mode,
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

    /// A hard limit that was passed becomes a fact of the ledger, once for each report that carried it further.
    pub(super) fn note_overrun(&mut self, id: InstanceId, start: Time) {
        let Some(instance) = self.instances.all.get(&id) else { return };
        let hard = self.limits.get(&instance.limit).is_some_and(|limit| limit.mode == Mode::Hard);
        let Some(window) = instance.windows.iter().find(|window| window.start == start) else { return };
        let settled = instance.settled(window);
        if hard && settled > instance.amount {
            let overrun = Overrun {
                instance: instance.id,
                window: window.start,
                amount: instance.amount,
                settled,
                limit: Some(instance.limit),
                values: instance.values.clone(),
                until: window.end,
                held: instance.held(window),
            };
            self.write(Fact::Overrun(overrun));
        }
    }
}
