//! Leases: what a gateway may spend of an instance without asking.
//!
//! A request names a whole vector and is granted whole or not at all. Far from the end of an amount a lease covers what the
//! gateway says it wants; near it, what one call needs. Where others hold leases that they do not use, they are asked to return
//! them and the request waits; requests are answered in order for each instance.

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
}

/// A want whose instance was found.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The instance.
    pub instance: InstanceId,
    /// What is wanted of it.
    pub want: &'a Want,
}

impl Instances {
    /// Answers a request. `blocked` are the instances that older requests wait for; nothing of those is granted.
    pub fn answer(&mut self, asker: ProducerId, wants: &[Wanted<'_>], blocked: &HashSet<InstanceId>) -> Answer {
        let short: Vec<&Wanted<'_>> = wants.iter().filter(|wanted| self.short(asker, wanted, blocked)).collect();
        if short.is_empty() {
            for wanted in wants {
                self.grant(asker, wanted);
            }
            return Answer::Granted;
        }
        if short.iter().any(|wanted| !blocked.contains(&wanted.instance) && !self.others_can_return(asker, wanted)) {
            return Answer::Denied;
        }
        for wanted in &short {
            self.recall(wanted.instance, asker);
        }
        Answer::Wait
    }

    fn short(&self, asker: ProducerId, wanted: &Wanted<'_>, blocked: &HashSet<InstanceId>) -> bool {
        let Some(instance) = self.all.get(&wanted.instance) else { return true };
        let lacking = wanted.want.need - lease(instance, asker);
        let grantable = || invariant::grantable(instance, wanted.want.window, asker);
        lacking > 0 && (blocked.contains(&wanted.instance) || lacking > grantable())
    }

    fn grant(&mut self, asker: ProducerId, wanted: &Wanted<'_>) {
        let Some(instance) = self.all.get_mut(&wanted.instance) else { return };
        let (free, lease) = (invariant::grantable(instance, wanted.want.window, asker), lease(instance, asker));
        let generous = if recalled(instance) { 0 } else { (wanted.want.want - lease).min(free / SHARE) };
        let granted = (wanted.want.need - lease).max(generous).max(0);
        post::holder_mut(instance, asker).granted += granted;
        debug_assert!(granted == 0 || invariant::l1(instance, wanted.want.window), "L-1 after a grant");
        self.dirty.insert(wanted.instance);
    }

    /// Whether anyone but the asker may have something to give back: a lease beyond its use and holds, or a recall unobeyed.
    fn others_can_return(&self, asker: ProducerId, wanted: &Wanted<'_>) -> bool {
        self.all.get(&wanted.instance).is_some_and(|instance| {
            let may =
                |holder: &Holder| holder.producer != asker && holder.may_return(wanted.want.window, instance.recall);
            instance.holders.iter().any(may)
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
        let mut blocked = HashSet::new();
        waiting.retain(|request| {
            let wants: Vec<Wanted<'_>> =
                request.wants.iter().map(|want| Wanted { instance: resolve(want), want }).collect();
            let answer = self.answer(request.producer, &wants, &blocked);
            if answer == Answer::Wait && !expired(request.since) {
                blocked.extend(wants.iter().filter(|wanted| wanted.want.need > 0).map(|wanted| wanted.instance));
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
