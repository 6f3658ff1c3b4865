//! What an answer says of a response that is worked on apart from it, and apart from every other answer that it stands in.
//!
//! An answer that shows what it used tells that by its id, before its own record, so that who has the end of the answer finds it in the
//! journal. The attempt that had it made says behind its own record that it awaits this: until then what it held stays held, and when it
//! is told that is free, and what was used is charged to it, whoever read it.

use schemas::{
    event::{Event, Learned, RESPONSES, Settled},
    id::Lane,
    time::{Time, now},
};

use super::Attempt;
use crate::{
    emit::Ticket,
    external::{External, Scene},
    meter::{Begun, Measured},
    worker::Worker,
};

/// What is worked on apart from an answer.
#[derive(Debug)]
pub(crate) struct Apart {
    source: String,
    id: String,
    begun: Time,
    /// Whether the attempt had it made, and did not only read it.
    is_made: bool,
    /// What it used, if the answer says so.
    told: Option<Box<Learned>>,
}

impl Apart {
    /// What an attempt's answer says of it, if it is one.
    pub(super) fn of(attempt: &Attempt, measured: &Measured) -> Option<Self> {
        let begun = begun(attempt.facts.admitted_at, measured)?;
        let shared = &attempt.worker.shared;
        // Ids are a service's own. It may be configured as several providers, for keys of several accounts, say.
        let provider = attempt.worker.upstreams.get(&attempt.facts.provider);
        let service = provider.and_then(|upstream| Some(upstream.provider.base_url.as_ref()?.to_string()));
        let source = format!("{RESPONSES}{}", service.unwrap_or_else(|| attempt.facts.provider.clone()));
        let told = External::of_response(&attempt.facts, &source, measured, begun).map(|told| {
            let scene = Scene { subject: &attempt.facts.subject, book: &attempt.book, gateway: &shared.gateway };
            Box::new(told.learn(scene, &shared.limits))
        });
        let (id, is_made) = (measured.response_id.clone(), !attempt.facts.api.is_free());
        Some(Self { source, id, begun, is_made, told }).filter(|apart| !apart.id.is_empty())
    }

    /// Writes the attempt's end, with what is told before and what is awaited behind it.
    pub(super) fn write(self, worker: &Worker, lane: Lane, settled: Settled, closes: Option<u32>) -> Ticket {
        let shared = &worker.shared;
        if let Some(told) = self.told {
            let lane = told.lane(shared.lanes);
            drop(worker.write(lane, &Event::Learned(told), None));
        }
        let awaits = self.is_made.then(|| Learned {
            source: self.source,
            id: self.id,
            at: self.begun,
            content: 0,
            was: None,
            moves: shared.limits.holding(&settled.posted),
            is: Settled { counters: Vec::new(), call: None, ..settled.clone() },
            awaits: true,
        });
        let ticket = worker.end(lane, settled, closes);
        // What the client has in full is in the journal in full.
        match awaits {
            Some(awaits) => worker.write(lane, &Event::Learned(Box::new(awaits)), None),
            None => ticket,
        }
    }
}

/// When a response was begun that is worked on apart from every answer that it stands in: not after now, whatever a provider says. Where
/// an answer does not say it, that is when it was asked for. Nothing that tells one from another depends on this: only, where nobody here
/// had it made, which rows it stands with, and from when on it is too old to be told.
fn begun(asked: Time, measured: &Measured) -> Option<Time> {
    let said = match measured.background? {
        Begun::At(second) => i64::try_from(second).ok().and_then(|second| second.checked_mul(1_000_000)),
        Begun::Unsaid => return Some(asked),
    };
    Some(said.map_or(Time::MAX, Time::from_micros).min(now()))
}
