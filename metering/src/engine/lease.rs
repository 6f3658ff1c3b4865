//! A gateway asks for more of some instances, all of this lane.

use schemas::{
    decision::{Instance, Waiting, WindowState},
    event::{LeaseRequested, Want},
    id::{InstanceId, LimitId, ProducerId},
    time::Time,
};

use super::Engine;
use crate::{
    dedup::{self, Origin},
    escrow::{Answer, SetAside, Wanted},
    fault::{self, Fault},
    post,
};

/// The most requests that wait in a lane; beyond it a request is refused at once.
const MOST_WAITING: usize = 1_024;

/// How long a request waits for others to return; the gateway that sent it waits less.
const PATIENCE_MICROS: i64 = 5_000_000;

impl Engine {
    pub(super) fn lease_requested(&mut self, origin: Origin, request: LeaseRequested) {
        let opened: Option<Vec<InstanceId>> =
            request.wants.iter().map(|want| self.open(want.limit, &want.values, want.window)).collect();
        let Some(opened) = opened else {
            // A limit or a window that this lane does not have: the gateway follows another policy and will see ours soon.
            return self.answered(origin.producer, request.number);
        };
        for (want, id) in request.wants.iter().zip(&opened) {
            if let Some(instance) = self.instances.all.get_mut(id) {
                post::take(instance, origin.producer, &want.counter);
                self.instances.dirty.insert(*id);
            }
        }
        let wanted: Vec<Wanted<'_>> =
            request.wants.iter().zip(opened).map(|(want, instance)| Wanted { instance, want }).collect();
        let aside = self.aside();
        match self.instances.answer(origin.producer, &wanted, &aside) {
            Answer::Wait if self.state.waiting.len() < MOST_WAITING => self.state.waiting.push(Waiting {
                producer: origin.producer,
                number: request.number,
                since: self.state.recorded_at,
                wants: request.wants,
            }),
            Answer::Granted | Answer::Denied | Answer::Wait => self.answered(origin.producer, request.number),
        }
    }

    /// What the requests that wait lack.
    fn aside(&self) -> SetAside {
        let mut aside = SetAside::default();
        for waiting in &self.state.waiting {
            for want in &waiting.wants {
                let wanted = Wanted { instance: self.name_of(want), want };
                self.instances.set_aside(&mut aside, waiting.producer, &wanted);
            }
        }
        aside
    }

    /// Answers what waits for returns, as far as it can be answered now.
    pub(super) fn answer_waiting(&mut self) {
        if self.state.waiting.is_empty() {
            return;
        }
        let mut waiting = std::mem::take(&mut self.state.waiting);
        let now = self.state.recorded_at;
        let expired = |since: Time| now.as_micros() - since.as_micros() > PATIENCE_MICROS;
        let names: std::collections::HashMap<_, _> = waiting
            .iter()
            .flat_map(|request| &request.wants)
            .map(|want| ((want.limit, want.values.clone(), want.window), self.name_of(want)))
            .collect();
        let resolve = |want: &Want| {
            let known = names.get(&(want.limit, want.values.clone(), want.window)).copied();
            known.unwrap_or_else(|| InstanceId::of(want.limit, &want.values, None))
        };
        for (producer, number) in self.instances.answer_waiting(&mut waiting, expired, resolve) {
            self.answered(producer, number);
        }
        self.state.waiting = waiting;
    }

    fn answered(&mut self, producer: ProducerId, number: u64) {
        self.touched = true;
        if let Some(mark) = dedup::mark_mut(&mut self.state, producer) {
            mark.answered = mark.answered.max(number);
        }
    }

    fn name_of(&self, want: &Want) -> InstanceId {
        self.name(want.limit, &want.values, want.window)
    }

    /// The id of the counter of a limit for these values in the window that starts there.
    pub(super) fn name(&self, limit: LimitId, values: &[String], window: Time) -> InstanceId {
        let stands = self.limits.get(&limit).is_some_and(|limit| limit.window.stands());
        InstanceId::of(limit, values, (!stands).then_some(window))
    }

    /// Finds that counter, or opens it; nothing if the limit or the window is not one of ours, or there may be no more of them.
    pub(super) fn open(&mut self, limit: LimitId, values: &[String], window: Time) -> Option<InstanceId> {
        let rule = self.limits.get(&limit)?;
        let amount = rule.amount;
        let (start, end) = self.schedules.get(&limit)?.window(window).filter(|(start, _)| *start == window)?;
        let (id, fills) = (self.name(limit, values, window), self.fills(limit, end));
        if let Some(most) = rule.max_instances
            && !self.instances.all.contains_key(&id)
        {
            let shared = self.name(limit, &rule.shared(values), window);
            if shared != id {
                let seats = self.seats.entry(shared).or_default();
                if *seats >= most && !fault::is(Fault::TagsUncounted) {
                    return None;
                }
                *seats += 1;
            }
            if fault::is(Fault::NothingCounted) {
                return None;
            }
        }
        let instance = self.instances.all.entry(id).or_insert_with(|| {
            self.instances.dirty.insert(id);
            let (windows, holders) = (Vec::new(), Vec::new());
            Instance { id, limit, values: values.to_vec(), amount, windows, holders, recall: 0 }
        });
        if instance.windows.iter().all(|window| window.start != start) {
            let filled = if fills { Time::MAX } else { Time::ZERO };
            instance.windows.push(WindowState { filled, ..WindowState::new(start, end) });
            instance.windows.sort_by_key(|window| window.start);
            post::forget_old_windows(instance);
            self.instances.dirty.insert(id);
        }
        Some(id)
    }
}
