//! The engine: one lane's books as a pure function of what was put in.
//!
//! `apply` takes an event, a change of policy or a tick, each with the time; `take` gives what to commit. An engine restored
//! from what was committed goes on exactly as the one that committed it. It never fails: what cannot be understood is set aside
//! with an alarm and its place is taken, so nothing after it waits.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use schemas::{
    decision::{Awaited, Claim, Instance, Key, LaneState, State},
    event::{Admitted, Event},
    id::{BookHash, ClaimId, InstanceId, Lane, LimitId, Offset, ProducerId},
    ledger::{Alarm, AlarmKind, Begun, Changed, Entry, Fact, KeyInForce},
    limit::{Limit, Schedule},
    policy::Policy,
    price::Book,
    time::Time,
};

use crate::{
    backfill::Fold,
    dedup::{self, Origin, Verdict},
    escrow::Instances,
    fault::{self, Fault},
};

mod alerted;
mod awaited;
mod learned;
mod lease;
mod moved;
mod opened;
mod past;
mod policy;
mod reported;
mod settled;
mod tick;

pub(crate) use tick::KEPT;

/// What is put in.
#[derive(Debug)]
pub enum Input {
    /// A record of `usage`; the text says why its body could not be read.
    Event(Origin, Result<Event, String>),
    /// A price book of the policy.
    Book(Arc<Book>),
    /// What a record of the policy changed; before the policy that it makes.
    Changed(Arc<Changed>),
    /// Limits that policies before had: counters of them may be kept still. Before the policy in force.
    Retired(Vec<Arc<Limit>>),
    /// A change of policy and the record after it.
    Policy(Arc<Policy>, Offset),
    /// What the committed ledger of the lane says of limits that the policy before it has brought.
    Past(Fold),
    /// Time passed.
    Tick,
}

/// What is to be committed together.
#[derive(Debug, Default)]
pub struct Commit {
    /// Entries of the ledger, in order.
    pub ledger: Vec<Entry>,
    /// Changed states; nothing where a key is gone.
    pub decisions: Vec<(Key, Option<State>)>,
    /// What other lanes are to take of it.
    pub passed: Vec<(Lane, Event)>,
}

/// How often something happened that an operator counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events accepted.
    pub accepted: u64,
    /// Events that were accepted before.
    pub duplicates: u64,
    /// Events dropped because one before them is missing.
    pub gaps: u64,
    /// Events of other bytes under a sequence that was taken.
    pub conflicts: u64,
    /// Counters of instances that are gone.
    pub strays: u64,
    /// Things learned before.
    pub relearned: u64,
    /// Attempts that somebody found open in a copy of a journal, and that are others' to end.
    pub ended_by_others: u64,
    /// Attempts that await what is told by an id, and are not remembered, since too many are, or do not say all that they hold: it stays held.
    pub not_awaited: u64,
}

/// One lane's books.
#[derive(Debug)]
pub struct Engine {
    lane: Lane,
    lanes: u16,
    state: LaneState,
    instances: Instances,
    /// How many counters client tags have made, by the id of the one that the others share.
    seats: HashMap<InstanceId, u32>,
    schedules: HashMap<LimitId, Schedule>,
    limits: HashMap<LimitId, Limit>,
    /// The keys of the policy that was put in last, so that they are written down only when they change.
    keys: Option<Vec<KeyInForce>>,
    books: HashMap<BookHash, Arc<Book>>,
    /// Limits of which counters were filled with what was admitted without them, and whether they still are.
    filled: HashMap<LimitId, bool>,
    /// Limits that are out of force.
    past: HashMap<LimitId, Arc<Limit>>,
    /// What their counters lack of what is being taken in.
    late: Fold,
    ahead: Duration,
    abandon_after: Duration,
    /// What was learned, and what of it is new since the last commit.
    claims: HashMap<ClaimId, Claim>,
    claimed: HashSet<ClaimId>,
    awaited: HashMap<ClaimId, Awaited>,
    /// How many attempts are in it.
    awaiting: usize,
    remembers: Duration,
    changed: HashSet<LimitId>,
    gone: Vec<Key>,
    ledger: Vec<Entry>,
    passed: Vec<(Lane, Event)>,
    touched: bool,
    swept: i64,
    counts: Counts,
}

impl Engine {
    /// An engine for one of `lanes` lanes, with the states that were committed for it.
    pub fn new(lane: Lane, lanes: u16, states: Vec<(Key, State)>) -> Self {
        let mut engine = Self {
            lane,
            lanes,
            state: LaneState::default(),
            instances: Instances::default(),
            seats: HashMap::new(),
            schedules: HashMap::new(),
            limits: HashMap::new(),
            keys: None,
            books: HashMap::new(),
            filled: HashMap::new(),
            past: HashMap::new(),
            late: Fold::default(),
            ahead: Duration::from_secs(60),
            abandon_after: Duration::MAX,
            claims: HashMap::new(),
            claimed: HashSet::new(),
            awaited: HashMap::new(),
            awaiting: 0,
            remembers: Duration::MAX,
            changed: HashSet::new(),
            gone: Vec::new(),
            ledger: Vec::new(),
            passed: Vec::new(),
            touched: false,
            swept: 0,
            counts: Counts::default(),
        };
        for (key, state) in states {
            match state {
                State::Lane(state) => engine.state = state,
                State::Instance(instance) => engine.restore(*instance),
                State::Schedule(schedule) => {
                    engine.schedules.insert(schedule.limit, schedule);
                }
                State::Claim(claim) => {
                    if let Key::Claim(_, id) = key {
                        engine.claims.insert(id, claim);
                    }
                }
                State::Awaited(awaited) => {
                    if let Key::Claim(_, id) = key {
                        engine.awaiting += awaited.attempts.len();
                        engine.awaited.insert(id, awaited);
                    }
                }
            }
        }
        engine
    }

    fn restore(&mut self, mut instance: Instance) {
        if fault::is(Fault::ReExecutedDecision) {
            instance.holders.iter_mut().filter(|holder| !holder.closed()).for_each(|holder| {
                holder.granted = holder.granted.min(holder.returned + holder.most_spent() + holder.held);
            });
        }
        for window in instance.windows.iter().filter(|window| window.filled > Time::ZERO) {
            *self.filled.entry(instance.limit).or_default() |= window.filled == Time::MAX;
        }
        self.instances.all.insert(instance.id, instance);
    }

    /// Where the lane stands.
    pub fn state(&self) -> &LaneState {
        &self.state
    }

    /// The counters of the lane.
    pub fn instances(&self) -> &Instances {
        &self.instances
    }

    /// What was counted since the engine was made.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether a price book is known.
    pub fn knows(&self, book: BookHash) -> bool {
        self.books.contains_key(&book)
    }

    /// Takes an input at a time; time does not go back.
    pub fn apply(&mut self, input: Input, at: Time) {
        self.state.recorded_at = self.state.recorded_at.max(at);
        match input {
            Input::Event(origin, event) => {
                let from = self.ledger.len();
                self.event(origin, event);
                self.count_late(from);
            }
            Input::Book(book) => {
                self.books.insert(book.hash(), book);
            }
            Input::Changed(changed) => self.changed_policy(&changed),
            Input::Retired(limits) => self.retired(limits),
            Input::Policy(policy, next) => self.policy(&policy, next),
            Input::Past(fold) => self.past(fold),
            Input::Tick => self.tick(),
        }
    }

    fn event(&mut self, origin: Origin, event: Result<Event, String>) {
        let event = match event {
            Ok(Event::Moved(moved)) if origin.producer == ProducerId::NONE => return self.moved(origin, moved),
            // What another lane passed has no sequence, so it is no conflict with anything.
            Err(reason) if origin.producer == ProducerId::NONE => {
                return self.alarm(origin, AlarmKind::Poisoned, reason);
            }
            event => event,
        };
        let verdict = match &event {
            Ok(Event::Opened(opened)) if self.is_early(opened) => Verdict::Gap,
            _ => dedup::judge(dedup::mark(&self.state, origin.producer), origin),
        };
        match verdict {
            Verdict::Accept => {}
            Verdict::Duplicate => return self.counts.duplicates += 1,
            Verdict::Gap => return self.counts.gaps += 1,
            Verdict::Conflict => {
                self.counts.conflicts += 1;
                let detail = "the same sequence came with other bytes; the first stands".to_owned();
                return self.alarm(origin, AlarmKind::Conflict, detail);
            }
        }
        let succeeded = dedup::mark(&self.state, origin.producer).is_some_and(|mark| mark.closed);
        dedup::accept(&mut self.state, origin);
        self.counts.accepted += 1;
        self.touched = true;
        match event {
            // Its successor has settled what it left open, and its leases are others': who still speaks for it is a copy.
            _ if succeeded => {
                let detail =
                    "its producer has been succeeded: the journal was copied or restored; it is set aside".to_owned();
                self.alarm(origin, AlarmKind::Forked, detail);
            }
            Ok(Event::Opened(opened)) => self.opened(origin, opened),
            Ok(Event::Admitted(admitted)) => {
                let (Admitted { attempt, holds }, producer) = (*admitted, Some(origin.producer));
                self.write(Fact::Admitted(Box::new(Begun { attempt, holds, producer })));
            }
            Ok(Event::Streamed(streamed)) => self.write(Fact::Streamed(streamed)),
            Ok(Event::Settled(settled)) => self.settled(origin, settled),
            Ok(Event::Refused(refused)) => self.write(Fact::Refused(refused)),
            Ok(Event::LeaseRequested(request)) => self.lease_requested(origin, request),
            Ok(Event::Reported(reported)) => self.reported(origin, reported),
            Ok(Event::Learned(learned)) => self.learned(origin, *learned),
            Ok(Event::Moved(_)) => self.alarm(origin, AlarmKind::Poisoned, "only metering says this".to_owned()),
            Err(reason) => self.alarm(origin, AlarmKind::Poisoned, reason),
        }
    }

    fn write(&mut self, fact: Fact) {
        self.ledger.push(Entry { recorded_at: self.state.recorded_at, fact });
    }

    fn alarm(&mut self, origin: Origin, kind: AlarmKind, detail: String) {
        self.touched = true;
        self.write(Fact::Alarm(Alarm { producer: origin.producer, seq: origin.seq, kind, detail }));
    }

    /// Notes that `usage` was read up to here, also where nothing of it was accepted.
    pub fn read_to(&mut self, next: Offset) {
        self.touched |= self.state.input != next;
        self.state.input = next;
    }

    /// Gives everything that changed since the last call; nothing if nothing did.
    pub fn take(&mut self) -> Option<Commit> {
        self.answer_waiting();
        let dirty = sorted(std::mem::take(&mut self.instances.dirty));
        if !self.touched && dirty.is_empty() && self.changed.is_empty() && self.gone.is_empty() {
            return None;
        }
        self.touched = false;
        let mut decisions = Vec::with_capacity(1 + dirty.len());
        for id in sorted(std::mem::take(&mut self.changed)) {
            let state = self.schedules.get(&id).cloned().map(State::Schedule);
            decisions.push((Key::Schedule(self.lane, id), state));
        }
        for id in sorted(std::mem::take(&mut self.claimed)) {
            let awaited = || self.awaited.get(&id).cloned().map(State::Awaited);
            decisions
                .push((Key::Claim(self.lane, id), self.claims.get(&id).copied().map(State::Claim).or_else(awaited)));
        }
        for id in dirty {
            self.alert(id);
            if let Some(instance) = self.instances.all.get(&id).cloned() {
                self.write(Fact::Balance(Box::new(instance.clone())));
                decisions.push((Key::Instance(id), Some(State::Instance(Box::new(instance)))));
            }
        }
        self.gone.sort_unstable();
        decisions.extend(self.gone.drain(..).map(|key| (key, None)));
        // Who reads that it was heard has read before what it lost for not being heard.
        decisions.push((Key::Lane(self.lane), Some(State::Lane(self.state.clone()))));
        let (ledger, passed) = (std::mem::take(&mut self.ledger), std::mem::take(&mut self.passed));
        Some(Commit { ledger, decisions, passed })
    }
}

/// The order of a set is another one in every process; what is committed is a function of what was put in.
fn sorted<T: Ord>(set: HashSet<T>) -> Vec<T> {
    let mut list: Vec<T> = set.into_iter().collect();
    list.sort_unstable();
    list
}

#[cfg(test)]
mod tests;
