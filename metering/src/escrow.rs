//! Leases: what a gateway may spend of an instance without asking.
//!
//! A request names a whole vector and is granted whole or not at all. Far from the end of an amount a lease covers what the
//! gateway says it wants; near it, what one call needs. Where others hold leases that they do not use, they are asked to return
//! them and the request waits. What a request that waits lacks is set aside in every instance of its vector, so younger ones are
//! not granted it; of the rest they are, since what one limit is waited for says nothing of the others.

use std::collections::{HashMap, HashSet};

use schemas::{
    decision::{Holder, Instance, Waiting},
    event::Want,
    id::{InstanceId, ProducerId},
    time::Time,
};

use crate::{
    fault::{self, Fault},
    invariant, post,
};

/// A grant leaves at least this part of what is free to the other gateways.
const SHARE: i128 = 2;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// All of it was granted.
    Granted,
    /// It can be granted if others return what they do not use.
    Wait,
    /// There is not enough, and nobody has any to return.
    Denied,
}

/// The instances of one lane, and which of them a step changed.
#[derive(Debug, Default)]
pub struct Instances {
    /// By id.
    pub all: HashMap<InstanceId, Instance>,
    /// Changed since the last commit.
    pub dirty: HashSet<InstanceId>,
    /// Who has not been heard for so long that no request waits for what it may return.
    pub silent: HashSet<ProducerId>,
}

/// A want whose instance was found.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The instance.
    pub instance: InstanceId,
    /// What is wanted of it.
    pub want: &'a Want,
}

/// What requests that wait lack, by instance.
#[derive(Debug, Default)]
pub struct SetAside(HashMap<InstanceId, i128>);

impl SetAside {
    fn of(&self, id: InstanceId) -> i128 {
        self.0.get(&id).copied().unwrap_or(0)
    }
}

impl Instances {
    /// Sets aside what a request lacks of an instance.
    pub fn set_aside(&self, aside: &mut SetAside, asker: ProducerId, wanted: &Wanted<'_>) {
        let lacking = self.all.get(&wanted.instance).map_or(0, |instance| wanted.want.need - lease(instance, asker));
        if lacking > 0 {
            *aside.0.entry(wanted.instance).or_default() += lacking;
        }
    }

    /// Answers a request. Nothing is granted of what is set aside for older ones.
    pub fn answer(&mut self, asker: ProducerId, wants: &[Wanted<'_>], aside: &SetAside) -> Answer {
        let short: Vec<&Wanted<'_>> = wants.iter().filter(|wanted| self.short(asker, wanted, aside)).collect();
        if short.is_empty() {
            for wanted in wants {
                self.grant(asker, wanted, aside);
            }
            return Answer::Granted;
        }
        if short.iter().any(|wanted| aside.of(wanted.instance) == 0 && !self.others_can_return(asker, wanted)) {
            return Answer::Denied;
        }
        for wanted in &short {
            self.recall(wanted.instance, asker);
        }
        Answer::Wait
    }

    fn short(&self, asker: ProducerId, wanted: &Wanted<'_>, aside: &SetAside) -> bool {
        let Some(instance) = self.all.get(&wanted.instance) else { return true };
        let lacking = wanted.want.need - lease(instance, asker);
        let grantable = || invariant::grantable(instance, wanted.want.window, asker) - aside.of(wanted.instance);
        lacking > 0 && lacking > grantable()
    }

    fn grant(&mut self, asker: ProducerId, wanted: &Wanted<'_>, aside: &SetAside) {
        let Some(instance) = self.all.get_mut(&wanted.instance) else { return };
        let free = invariant::grantable(instance, wanted.want.window, asker) - aside.of(wanted.instance);
        let lease = lease(instance, asker);
        let generous = if recalled(instance) { 0 } else { (wanted.want.want - lease).min(free / SHARE) };
        let granted = (wanted.want.need - lease).max(generous).max(0);
        post::holder_mut(instance, asker).granted += granted;
        debug_assert!(granted == 0 || invariant::l1(instance, wanted.want.window), "L-1 after a grant");
        self.dirty.insert(wanted.instance);
    }

    /// Whether anyone but the asker may have something to give back: a lease beyond its use and holds, or a recall unobeyed. What is set
    /// aside while a request waits for one that is gone would be kept from everybody.
    fn others_can_return(&self, asker: ProducerId, wanted: &Wanted<'_>) -> bool {
        self.all.get(&wanted.instance).is_some_and(|instance| {
            let others = instance.holders.iter().filter(|holder| holder.producer != asker);
            let mut heard = others.filter(|holder| !self.silent.contains(&holder.producer));
            heard.any(|holder| holder.may_return(wanted.want.window, instance.recall))
        })
    }

    /// Asks all holders to return what they do not hold, unless all that have some are being asked already. One that does not answer
    /// (it is cut off, or gone for good) is no reason not to ask the others again.
    fn recall(&mut self, id: InstanceId, asker: ProducerId) {
        let Some(instance) = self.all.get_mut(&id) else { return };
        let idle_again = instance.holders.iter().any(|holder| {
            let answered = holder.producer != asker && !holder.closed() && holder.recall >= instance.recall;
            answered && holder.lease() > holder.most_spent() + holder.held
        });
        if (!recalled(instance) || idle_again) && !fault::is(Fault::NothingRecalled) {
            instance.recall += 1;
            self.dirty.insert(id);
        }
    }

    /// Answers what waits, oldest first; returns what was answered. `now` ends those that waited longer than `patience`.
    pub fn answer_waiting(
        &mut self,
        waiting: &mut Vec<Waiting>,
        expired: impl Fn(Time) -> bool,
        resolve: impl Fn(&Want) -> InstanceId,
    ) -> Vec<(ProducerId, u64)> {
        let mut answered = Vec::new();
        let mut aside = SetAside::default();
        waiting.retain(|request| {
            let wants: Vec<Wanted<'_>> =
                request.wants.iter().map(|want| Wanted { instance: resolve(want), want }).collect();
            let answer = self.answer(request.producer, &wants, &aside);
            if answer == Answer::Wait && !expired(request.since) {
                wants.iter().for_each(|wanted| self.set_aside(&mut aside, request.producer, wanted));
                return true;
            }
            answered.push((request.producer, request.number));
            false
        });
        answered
    }
}

/// What a producer has leased.
fn lease(instance: &Instance, of: ProducerId) -> i128 {
    instance.holders.iter().find(|holder| holder.producer == of).map_or(0, Holder::lease)
}

/// Whether a recall is out that somebody with a lease has not obeyed.
fn recalled(instance: &Instance) -> bool {
    instance.recall > 0
        && instance
            .holders
            .iter()
            .any(|holder| !holder.closed() && holder.lease() > 0 && holder.recall < instance.recall)
}

#[cfg(test)]
mod tests;
