//! What producers that are gone left open: found at start in the journal, settled as unknown, and told to metering.
//!
//! An attempt that was admitted and not settled when its process ended may have been billed in full, and nobody knows. It
//! settles with outcome `unknown` and what its provider had reported by its last record, if anything; the rest of what it held
//! stays held. Its call ends with it, unless a later attempt of the call is open too: a next attempt is recorded before the record that
//! says of the one before that the call goes on, so that a call is never left between the two. The leases of the producer before this one
//! die with it; the first event in each lane names it, what stays held of them and what is known to be used. Where a journal is lost
//! for good, the ledger tells the same ([`Left`]), to an operator.

use std::collections::{BTreeMap, HashMap};

use journal::{Draft, Journal, Record};
use schemas::{
    event::{
        Admitted, Attempt, CallEnd, Counter, Event, Found, Hold, Opened, Outcome, Posting, Predecessor, Settled,
        Streamed,
    },
    id::{CallId, InstanceId, Lane, ProducerId, Seq},
    time::{Time, now},
    tokens::{Completeness, Doubt, Usage},
    wire,
};

use crate::{
    fault::{self, Fault},
    proxy::Earlier,
};

/// Events in one append. An append is in the journal whole or not at all after a crash, and the first has `Opened` for every lane: were
/// it cut between them, the next successor would name this producer in a lane that never heard who was before.
const BATCH: usize = 1_000;

/// An attempt without an end.
struct Open {
    found: Found,
    lane: Lane,
    admitted: Box<Admitted>,
    /// Where it stood when it was last heard of.
    streamed: Option<Streamed>,
}

impl Open {
    /// What it is known to have used of each instance it held, and what stays held.
    fn postings(&self) -> Vec<Posting> {
        let posted = self.streamed.as_ref().map_or(&[][..], |streamed| &streamed.posted);
        let holds = self.admitted.holds.iter();
        holds
            .map(|hold| {
                let provision = if fault::is(Fault::CrashSettlesZero) { 0 } else { hold.amount };
                let unknown = Posting { instance: hold.instance, window: hold.window, used: 0, provision };
                posted.iter().find(|posting| posting.instance == hold.instance).copied().unwrap_or(unknown)
            })
            .collect()
    }
}

/// Settles what predecessors left open and opens every lane for this producer. Its first events are these.
pub fn recover(journal: &Journal, lanes: u16, gateway: &str) -> Result<(), journal::Error> {
    go_on(journal, lanes, gateway).map(drop)
}

/// The same; says how attempts of earlier processes ended, as far as the journal has it.
pub(crate) fn go_on(journal: &Journal, lanes: u16, gateway: &str) -> Result<Earlier, journal::Error> {
    let left = read(journal.recovered(), journal.predecessor().map(|before| before.producer))?;
    let (events, earlier) = left.first_events(journal.predecessor(), lanes, gateway, now());
    let drafts: Vec<(Lane, Vec<u8>)> = events.iter().map(|(lane, event)| (*lane, wire::encode_event(event))).collect();
    for batch in drafts.chunks(BATCH.max(usize::from(lanes))) {
        let list: Vec<Draft<'_>> = batch.iter().map(|(lane, body)| Draft { lane: *lane, body }).collect();
        journal.append(&list)?;
    }
    Ok(earlier)
}

/// The first events of a producer, from what its journal holds: `Opened` in every lane, then the ends of what was left open.
pub fn first_events(
    recovered: impl Iterator<Item = Result<Record, journal::Error>>,
    before: Option<&journal::Predecessor>,
    lanes: u16,
    gateway: &str,
    at: Time,
) -> Result<Vec<(Lane, Event)>, journal::Error> {
    let left = read(recovered, before.map(|before| before.producer))?;
    Ok(left.first_events(before, lanes, gateway, at).0)
}

/// The last counters of one producer, as its journal has them.
#[derive(Default)]
struct Last {
    counters: BTreeMap<(InstanceId, Time), (Lane, Counter)>,
    /// Where instances are known to be at home: nothing but lease requests and reports travels there alone.
    homes: HashMap<InstanceId, Lane>,
}

impl Last {
    fn take(&mut self, lane: Lane, event: &Event) {
        match event {
            Event::Settled(settled) => {
                for counter in &settled.counters {
                    let known = self.counters.entry((counter.instance, counter.window)).or_insert((lane, *counter));
                    if counter.version >= known.1.version {
                        *known = (lane, *counter);
                    }
                }
            }
            Event::Reported(reported) => {
                self.homes.extend(reported.counters.iter().map(|counter| (counter.instance, lane)));
            }
            Event::LeaseRequested(request) => {
                self.homes.extend(request.wants.iter().map(|want| (want.counter.instance, lane)));
            }
            _ => {}
        }
    }

    /// Those that may be at home in a lane and were written in another. What was written in the lane itself is accepted there before
    /// anything that comes later.
    fn of(&self, here: Lane) -> Vec<Counter> {
        let may_be = |(lane, counter): &&(Lane, Counter)| {
            *lane != here && self.homes.get(&counter.instance).is_none_or(|home| *home == here)
        };
        self.counters.values().filter(may_be).map(|(_, counter)| *counter).collect()
    }
}

/// What producers left open, and the last counters of one of them, as far as what they wrote tells.
#[derive(Default)]
pub struct Left {
    open: BTreeMap<(CallId, u16), Open>,
    /// What settled attempts of calls that went on used; its cost nobody knows here.
    earlier: BTreeMap<CallId, CallEnd>,
    last: Last,
    /// Whose counters are the last.
    of: Option<ProducerId>,
    /// How attempts ended.
    ended: Earlier,
}

impl Left {
    /// Nothing yet; the counters are to be those of this producer.
    pub fn of(producer: Option<ProducerId>) -> Self {
        Self { of: producer, ..Self::default() }
    }

    /// The first events of a successor: `Opened` in every lane, then the ends of what is open; and how everything ended.
    fn first_events(
        mut self,
        before: Option<&journal::Predecessor>,
        lanes: u16,
        gateway: &str,
        at: Time,
    ) -> (Vec<(Lane, Event)>, Earlier) {
        let mut events = Vec::with_capacity(self.open.len() + usize::from(lanes));
        for lane in (0..lanes).map(Lane) {
            let predecessor = before.map(|before| self.predecessor(before, lane));
            events.push((lane, Event::Opened(Opened { gateway: gateway.to_owned(), at, predecessor })));
        }
        let mut earlier = std::mem::take(&mut self.ended);
        for (lane, end) in self.ends(at) {
            if let Event::Settled(settled) = &end {
                earlier.note(settled);
            }
            events.push((lane, end));
        }
        (events, earlier)
    }

    /// Takes the next of what a producer wrote to a lane, and where it was found.
    pub fn take(&mut self, found: Found, lane: Lane, event: Event) {
        if self.of == Some(found.producer) {
            self.last.take(lane, &event);
        }
        match event {
            Event::Admitted(admitted) => {
                let key = (admitted.attempt.call, admitted.attempt.attempt);
                self.open.insert(key, Open { found, lane, admitted, streamed: None });
            }
            Event::Streamed(streamed) => {
                if let Some(open) = self.open.get_mut(&(streamed.call, streamed.attempt)) {
                    if !streamed.holds.is_empty() && !fault::is(Fault::ExtensionForgotten) {
                        open.admitted.holds.clone_from(&streamed.holds);
                    }
                    open.streamed = Some(streamed);
                }
            }
            Event::Settled(settled) => {
                self.ended.note(&settled);
                self.open.remove(&(settled.attempt.call, settled.attempt.attempt));
                match settled.call {
                    Some(_) => drop(self.earlier.remove(&settled.attempt.call)),
                    None => self.goes_on(&settled.attempt, &settled.usage),
                }
            }
            _ => {}
        }
    }

    /// Whether nothing is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Where an attempt was found that was admitted and has not ended.
    pub fn found(&self, call: CallId, attempt: u16) -> Option<Found> {
        self.open.get(&(call, attempt)).map(|open| open.found)
    }

    /// What the counted producer used of an instance in a window, as far as its attempts say.
    pub fn used(&self, instance: InstanceId, window: Time) -> i128 {
        self.last.counters.get(&(instance, window)).map_or(0, |(_, counter)| counter.used)
    }

    /// Takes the lane that an instance is at home in.
    pub fn lives(&mut self, instance: InstanceId, home: Lane) {
        self.last.homes.insert(instance, home);
    }

    /// What is known of the producer before, in one lane. Metering takes of the provisions those that are at home there.
    pub fn predecessor(&self, before: &journal::Predecessor, lane: Lane) -> Predecessor {
        let last = before.last.get(&lane).copied().unwrap_or(Seq(0));
        let theirs = self.open.values().filter(|open| open.found.producer == before.producer);
        let postings: Vec<Posting> = theirs.flat_map(Open::postings).collect();
        let holds = |amount: fn(&Posting) -> i128| {
            let holds = postings.iter().map(|posting| Hold {
                instance: posting.instance,
                window: posting.window,
                amount: amount(posting),
            });
            holds.filter(|hold| hold.amount != 0).collect()
        };
        let (provisions, used) = (holds(|posting| posting.provision), holds(|posting| posting.used));
        let (counters, copied) = (self.last.of(lane), before.is_copied);
        Predecessor { producer: before.producer, last, provisions, used, counters, copied }
    }

    /// The ends of what is open, each in its lane: the last open attempt of a call ends that too.
    pub fn ends(mut self, at: Time) -> Vec<(Lane, Event)> {
        let mut ends = Vec::with_capacity(self.open.len());
        let mut rest = std::mem::take(&mut self.open).into_values().peekable();
        while let Some(open) = rest.next() {
            let (lane, mut settled) = (open.lane, unknown(open, at));
            let (call, number) = (settled.attempt.call, settled.attempt.attempt);
            if rest.peek().is_some_and(|next| next.admitted.attempt.call == call) {
                self.goes_on(&settled.attempt, &settled.usage);
            } else {
                let mut end = self.earlier.remove(&call).unwrap_or_else(|| begun(&settled.attempt));
                // Of attempts whose records are gone nothing is known here. Where several ran at once the last open one is not the last.
                end.earlier_unknown |= end.attempts + 1 < number;
                let attempts = number.max(end.attempts.saturating_add(1));
                settled.call = Some(CallEnd { attempts, outcome: Outcome::Unknown, ..end });
            }
            ends.push((lane, Event::Settled(Box::new(settled))));
        }
        ends
    }

    /// A call goes on after an attempt of it.
    fn goes_on(&mut self, attempt: &Attempt, usage: &Usage) {
        let end = self.earlier.remove(&attempt.call).unwrap_or_else(|| begun(attempt));
        let attempts = end.attempts + 1;
        self.earlier.insert(attempt.call, CallEnd { attempts, ..end.goes_on(usage, None) });
    }
}

/// A call of which the first that is known is this attempt. What session the client named is not: admissions, which every call waits for, do
/// not tell.
fn begun(attempt: &Attempt) -> CallEnd {
    CallEnd::begun(attempt.admitted_at, 0, String::new())
}

/// Every attempt of any predecessor that was admitted and not settled by the same or a later one, and the last counters of `before`.
fn read(
    recovered: impl Iterator<Item = Result<Record, journal::Error>>,
    before: Option<ProducerId>,
) -> Result<Left, journal::Error> {
    let mut left = Left::of(before);
    for record in recovered {
        let record = record?;
        match wire::decode_event(&record.body) {
            Ok(event) => {
                let journal::Header { producer, seq, .. } = record.header;
                left.take(Found { producer, seq }, record.lane, event);
            }
            // It keeps its place in the lane, where metering takes it as poisoned.
            Err(error) => {
                tracing::error!(offset = record.offset.0, %error, "an event of an earlier process cannot be read");
            }
        }
    }
    Ok(left)
}

fn unknown(open: Open, at: Time) -> Settled {
    let posted = open.postings();
    let reported = open.streamed.map(|streamed| streamed.reported).unwrap_or_default();
    let usage = if reported.is_empty() {
        Usage::missing(Doubt::Crashed)
    } else {
        Usage { parts: reported, completeness: Completeness::LowerBound(Doubt::Crashed) }
    };
    let (attempt, found) = (open.admitted.attempt, Some(open.found));
    Settled { posted, found, ..Settled::bare(attempt, at, Outcome::Unknown, usage) }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use schemas::{
        event::Reported,
        fixture,
        id::{InstanceId, Offset},
        tokens::Vector,
    };

    use super::*;

    fn counter(instance: u8, used: i128, version: u64) -> Counter {
        Counter { used, version, ..Counter::unused(InstanceId([instance; 16]), Time::ZERO) }
    }

    #[test]
    fn a_successor_tells_each_lane_what_its_predecessor_used_in_calls_of_others() {
        let producer = ProducerId::from_bytes([1; 16]);
        let settled = |counters| {
            let attempt = fixture::attempt(CallId::from_bytes([1; 16]), Time::ZERO);
            let usage = Usage::missing(Doubt::Crashed);
            let bare = Settled::bare(attempt, Time::ZERO, Outcome::Unknown, usage);
            Event::Settled(Box::new(Settled { counters, ..bare }))
        };
        // Instance 7 was last reported in lane 1, its home, before it was used again; of instance 8 nobody knows where it lives.
        let reported =
            Reported { at: Time::ZERO, low_watermark: Time::ZERO, counters: vec![counter(7, 3, 1)], last: false };
        let events = [
            (0, settled(vec![counter(7, 3, 1)])),
            (1, Event::Reported(reported)),
            (0, settled(vec![counter(7, 9, 4), counter(8, 2, 2)])),
        ];
        let records = events.iter().enumerate().map(|(place, (lane, event))| {
            let header = journal::Header { producer, seq: Seq(place as u64 + 1), hash: 0 };
            let body = Bytes::from(wire::encode_event(event));
            Ok(Record { lane: Lane(*lane), offset: Offset(place as u64), header, body })
        });
        let before = journal::Predecessor { producer, last: [(Lane(0), Seq(3))].into(), is_copied: false };
        let first = first_events(records, Some(&before), 3, "g", Time::ZERO).unwrap();
        let told: Vec<Vec<i128>> = first
            .iter()
            .filter_map(|(_, event)| match event {
                Event::Opened(opened) => opened.predecessor.as_ref(),
                _ => None,
            })
            .map(|predecessor| predecessor.counters.iter().map(|counter| counter.used).collect())
            .collect();
        assert_eq!(told, [vec![], vec![9, 2], vec![2]]);
    }

    fn records(events: Vec<Event>) -> Vec<Result<Record, journal::Error>> {
        let record = |(place, event): (usize, Event)| {
            let header =
                journal::Header { producer: ProducerId::from_bytes([1; 16]), seq: Seq(place as u64 + 1), hash: 0 };
            let body = Bytes::from(wire::encode_event(&event));
            Ok(Record { lane: Lane(0), offset: Offset(place as u64), header, body })
        };
        events.into_iter().enumerate().map(record).collect()
    }

    #[test]
    fn a_call_ends_once_wherever_between_its_attempts_the_process_died() {
        let attempt = |attempt: u16| {
            let at = Time::from_micros(i64::from(attempt));
            Attempt { attempt, ..fixture::attempt(CallId::from_bytes([1; 16]), at) }
        };
        let admitted = |number| Event::Admitted(Box::new(Admitted { attempt: attempt(number), holds: Vec::new() }));
        let used = Usage::exact(Vector { uncached_input: 5, ..Vector::default() });
        let goes_on = |number| {
            let bare = Settled::bare(attempt(number), Time::ZERO, Outcome::ProviderError, used.clone());
            Event::Settled(Box::new(bare))
        };
        // What was written, and what is found: the attempts that are open, what is known of those before, and when the call began.
        for (written, open, known, earlier) in [
            (vec![admitted(1)], vec![1], true, 0),
            (vec![admitted(1), admitted(2)], vec![1, 2], false, 0),
            (vec![admitted(1), admitted(2), goes_on(1)], vec![2], true, 5),
            (vec![admitted(1), admitted(2), goes_on(1), admitted(3)], vec![2, 3], false, 5),
            (vec![admitted(1), admitted(2), goes_on(1), admitted(3), goes_on(2)], vec![3], true, 10),
            (vec![admitted(3)], vec![3], false, 0),
        ] {
            let (events, last) = (written.len(), *open.last().unwrap());
            let first = first_events(records(written).into_iter(), None, 1, "g", Time::ZERO).unwrap();
            let ends: Vec<&Settled> = first
                .iter()
                .filter_map(|(_, event)| if let Event::Settled(settled) = event { Some(&**settled) } else { None })
                .collect();
            assert_eq!(ends.iter().map(|end| end.attempt.attempt).collect::<Vec<_>>(), open, "{events}");
            assert!(ends.iter().all(|end| end.call.is_some() == (end.attempt.attempt == last)));
            let end = ends.last().unwrap().call.as_ref().unwrap();
            assert_eq!((end.attempts, end.outcome, end.earlier_cost), (last, Outcome::Unknown, None));
            assert_eq!(end.session_id, "");
            assert_eq!((!end.earlier_unknown, end.earlier.uncached_input), (known, earlier), "{events}");
            assert_eq!(end.accepted_at, attempt(if events > 1 { 1 } else { last }).admitted_at);
        }
        // Of those that ran at once the first may be the last that is open.
        let written = records(vec![admitted(1), admitted(2), admitted(3), goes_on(3), goes_on(2)]);
        let events = first_events(written.into_iter(), None, 1, "g", Time::ZERO).unwrap();
        let [_, (_, Event::Settled(settled))] = events.as_slice() else { panic!("one is open: {events:?}") };
        let end = settled.call.as_ref().unwrap();
        assert_eq!((settled.attempt.attempt, end.attempts, end.earlier.uncached_input), (1, 3, 10));
        assert!(!end.earlier_unknown);
    }
}
