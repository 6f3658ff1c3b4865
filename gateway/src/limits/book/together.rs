//! The try to hold for several attempts of one call: all of them at one instant, or none.
//!
//! What two of them need of one counter is one need, so that it is seen whether both fit; what is held of it is dealt out again, a permit
//! to each attempt, which is settled by itself from then on. What is open at a time counts as one call where the last attempt, which
//! outlasts the others, falls under such a counter: it holds it for all. Where it does not, each attempt holds its own, since none of the
//! others is known to outlast the rest.

use std::time::Instant;

use schemas::{
    event::Hold,
    limit::{Mode, Unit},
    time::Time,
};

use super::{
    Book, Requests,
    hold::{Need, Tried, answer},
};
use crate::limits::{Ask, Limits, OutputHeld, Permit, slot::Slot};

impl Limits {
    /// One try to hold everything that several attempts of a call need, or nothing.
    pub(crate) fn try_admit_together(
        &self,
        asks: &[Ask<'_>],
        at: Instant,
    ) -> (Tried<Vec<Permit>>, Result<(), journal::Error>) {
        let now = asks.iter().map(|ask| ask.now).min().unwrap_or(Time::ZERO);
        let mut requests = Requests { at, now, sent: Vec::new() };
        let tried = self.lock().try_hold_together(asks, &mut requests);
        (tried, self.send(requests.sent))
    }
}

impl Book {
    /// Tries to hold everything that these attempts need; `requests` takes what has to be asked for. None is held slice by slice.
    pub(crate) fn try_hold_together(&mut self, asks: &[Ask<'_>], requests: &mut Requests) -> Tried<Vec<Permit>> {
        let Some(first) = asks.first() else { return Tried::Held(Vec::new()) };
        let mut now = asks.iter().fold(first.now, |latest, ask| latest.max(ask.now));
        let (mut needs, observed) = loop {
            let (mut needs, mut observed) = (Vec::with_capacity(asks.len()), Vec::new());
            for ask in asks {
                let mut its = Vec::new();
                match self.needs(&Ask { now, slice: None, ..*ask }, requests, &mut its) {
                    Ok(more) => observed.extend(more),
                    Err(tried) => return tried.map(|permit| vec![permit]),
                }
                needs.push(its);
            }
            // As with one attempt: no window goes back, so the instant is the begin of the latest one.
            match needs.iter().flatten().map(|need: &Need| need.window.0).max().filter(|begin| *begin > now) {
                Some(begin) if asks.iter().all(|ask| self.are_published(ask, begin)) => now = begin,
                Some(_) | None => break (needs, observed),
            }
        };
        self.open_once(&mut needs);
        let all = merged(&needs);
        let tried = self.hold_all(&all, observed, (&first.attempt.subject.tenant, now), requests);
        if matches!(tried, Tried::Held(_)) {
            // Each of its parts is settled by itself.
            for need in needs.iter().flatten() {
                self.slots.get_mut(need.place).into_iter().for_each(|slot| slot.part(need.window.0));
            }
            self.close(&all);
        }
        tried.map(|mut whole| {
            whole.admitted_at = now;
            let permits = needs
                .iter()
                .zip(asks)
                .map(|(needs, ask)| Permit { answer: answer(ask.bound), ..self.dealt(needs, &mut whole) });
            permits.collect()
        })
    }

    /// Of what counts open calls only the last attempt needs anything, if it falls under it: no other outlasts the rest.
    fn open_once(&self, needs: &mut [Vec<Need>]) {
        let counts_calls =
            |need: &Need| self.slots.get(need.place).is_some_and(|slot| slot.terms.unit == Unit::Concurrent);
        let Some((last, others)) = needs.split_last_mut() else { return };
        for of in others {
            of.retain(|need| !(counts_calls(need) && last.iter().any(|other| other.place == need.place)));
        }
    }

    /// The part of what is held that one attempt needs. What would have been refused is said with the first.
    fn dealt(&self, needs: &[Need], whole: &mut Permit) -> Permit {
        let slots = || needs.iter().filter_map(|need| Some((need, self.slots.get(need.place)?)));
        let is_hard = |slot: &Slot| slot.terms.mode == Mode::Hard;
        let grows = slots().any(|(_, slot)| is_hard(slot) && slot.terms.unit.is_of_output());
        let holds = slots().map(|(need, slot)| Hold { instance: slot.id, window: need.window.0, amount: need.amount });
        Permit {
            admitted_at: whole.admitted_at,
            holds: holds.collect(),
            balance_age_ms: whole.balance_age_ms,
            hard: slots().any(|(_, slot)| is_hard(slot)),
            output: if grows { OutputHeld::Whole } else { OutputHeld::Not },
            sliced: None,
            answer: None,
            observed: std::mem::take(&mut whole.observed),
        }
    }
}

/// What all of them need, each counter once.
fn merged(needs: &[Vec<Need>]) -> Vec<Need> {
    let mut all: Vec<Need> = Vec::new();
    for need in needs.iter().flatten() {
        match all.iter_mut().find(|known| known.place == need.place) {
            Some(known) => {
                known.amount += need.amount;
                known.nothing &= need.nothing;
            }
            None => all.push(*need),
        }
    }
    all
}
