//! The I/O loop: poll what there is → step → one transaction a lane, all at once.
//!
//! One thread owns every lane that this member was assigned. What the engine is told of the world, it is told here: records,
//! the policy as far as it was published, and the time.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use journal::{Member, Outputs, Polled, Reader, Record, Road};
use schemas::{
    decision::{Key, ProducerMark, State},
    event::{Event, Learned, Moved},
    id::{BookHash, Lane, LimitId, Offset, ProducerId},
    ledger::{Alarm, Alerted, Changed, Entry, Fact, Overrun},
    limit::{Limit, Share},
    policy,
    time::{self, Time},
    topics::Topic,
    wire,
};

use crate::{
    Error,
    backfill::Fold,
    dedup::{self, Origin},
    engine::{Commit, Engine, Input},
};

/// How long a poll waits when nothing comes; also how soon a stop is seen.
const POLL: Duration = Duration::from_millis(100);

/// How many records are taken in before what was made of them is committed.
const TURN: usize = 10_000;

/// How often the engine is told the time.
const TICK: Duration = Duration::from_secs(1);

/// How long an event waits for a price book that has not been read yet, before it is written down as not priced.
const BOOK_PATIENCE: Duration = Duration::from_secs(5);

/// How long the ledger may give nothing while it is read for new limits.
const PAST_PATIENCE: Duration = Duration::from_secs(30);

/// How many changes of the policy are kept for lanes that have not written them down: at about 500 bytes each 5 MB. What is older was
/// written down when it was made.
const MOST_TOLD: usize = 10_000;

/// How many limits are remembered that policies had before: at about 300 bytes each 20 MB. What is older has no counter any more.
const MOST_RETIRED: usize = 1 << 16;

/// The role that keeps the books.
pub struct Metering {
    road: Arc<dyn Road>,
    ready: Arc<AtomicBool>,
}

impl Metering {
    /// Metering on a road.
    pub fn new(road: Arc<dyn Road>) -> Self {
        Self { road, ready: Arc::new(AtomicBool::new(false)) }
    }

    /// Tells whether the role follows the log: true once it has read the policy and owns its lanes.
    pub fn ready(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.ready)
    }

    /// Keeps the books until told to stop; what was polled by then is committed.
    pub fn run(self, stop: &AtomicBool) -> Result<(), Error> {
        let policies = self.road.reader(Topic::Policy, &[Offset(0)])?;
        let desk = Desk::new(self.road.member()?, policies, self.road.lanes(), Box::new(time::now))?;
        let road = Arc::clone(&self.road);
        let mut desk = desk.with_past(Box::new(move |from| road.reader(Topic::Ledger, from)));
        while !stop.load(Ordering::Relaxed) {
            desk.turn()?;
            let ready = desk.policy.is_some() && !desk.engines.is_empty() && desk.unsaid.is_empty();
            self.ready.store(ready, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Tells the time. Engines are told it with every input, so that what they do is a function of what they are told.
pub type Clock = Box<dyn Fn() -> Time + Send>;

/// Opens the ledger at these offsets, by lane.
pub type Past = Box<dyn Fn(&[Offset]) -> Result<Box<dyn Reader>, journal::Error> + Send>;

/// What the loop works on: one member of metering, with the engines of the lanes it has.
pub struct Desk {
    member: Box<dyn Member>,
    policies: Box<dyn Reader>,
    lanes: u16,
    engines: BTreeMap<Lane, Engine>,
    books: Vec<Arc<schemas::price::Book>>,
    fold: policy::Fold,
    policy: Option<(Arc<policy::Policy>, Offset)>,
    /// What was said of the policy, for lanes that are assigned later and have not written it down.
    told: VecDeque<Arc<Changed>>,
    /// Limits that policies had before, for lanes that are assigned later: counters of them may be kept.
    retired: VecDeque<Arc<Limit>>,
    /// What lanes have to say and the log has no room for; nothing more is taken in until it has.
    unsaid: Vec<(Lane, Outputs)>,
    clock: Clock,
    ticked: Time,
    past: Option<Past>,
    /// The producers of which it was said that their journal goes on in a copy.
    named: HashSet<ProducerId>,
}

impl Desk {
    /// A desk for a member, which has read the policy from its first record as far as it goes.
    pub fn new(member: Box<dyn Member>, policies: Box<dyn Reader>, lanes: u16, clock: Clock) -> Result<Self, Error> {
        let (engines, ticked) = (BTreeMap::new(), clock());
        let (books, unsaid) = (Vec::new(), Vec::new());
        let mut desk = Self {
            member,
            policies,
            lanes,
            engines,
            books,
            fold: policy::Fold::default(),
            policy: None,
            told: VecDeque::new(),
            retired: VecDeque::new(),
            unsaid,
            clock,
            ticked,
            past: None,
            named: HashSet::new(),
        };
        desk.read_policy(Duration::ZERO)?;
        Ok(desk)
    }

    /// The same, where limits may count what was used before they came.
    pub fn with_past(self, past: Past) -> Self {
        Self { past: Some(past), ..self }
    }

    /// The engines of the lanes it has.
    pub fn engines(&self) -> &BTreeMap<Lane, Engine> {
        &self.engines
    }

    /// Takes in what there is, of all lanes, and commits what was made of it.
    pub fn turn(&mut self) -> Result<(), Error> {
        if !self.unsaid.is_empty() {
            std::thread::sleep(POLL);
            let again = std::mem::take(&mut self.unsaid);
            return self.say(again, true);
        }
        let (mut wait, mut taken) = (POLL, 0);
        while taken < TURN {
            match self.member.poll(wait)? {
                Polled::Assigned(lane, states) => self.assigned(lane, states)?,
                Polled::Revoked(lane) => drop(self.engines.remove(&lane)),
                Polled::Records(lane, records) => {
                    taken += records.len();
                    self.records(lane, records)?;
                }
                Polled::Idle => break,
            }
            wait = Duration::ZERO;
        }
        self.read_policy(Duration::ZERO)?;
        let now = (self.clock)();
        // A clock that is set back would else stop the ticks until it is where it was.
        if now.since(self.ticked) >= TICK || now < self.ticked {
            self.tick(now);
        }
        let policy = self.policy.as_ref().map(|(policy, _)| Arc::clone(policy));
        let said = self.engines.iter_mut().filter_map(|(lane, engine)| {
            let commit = engine.take()?;
            say_alerts(&commit, policy.as_deref());
            raise(*lane, &commit.ledger);
            Some((*lane, encode(engine.state().input, &commit)))
        });
        let said = said.collect();
        self.say(said, false)
    }

    fn assigned(&mut self, lane: Lane, states: Vec<(Bytes, Bytes)>) -> Result<(), Error> {
        let read = |(key, state): (Bytes, Bytes)| -> Result<(Key, State), wire::WireError> {
            let key = wire::decode_key(&key)?;
            Ok((key, wire::decode_state(&key, &state)?))
        };
        let states: Result<Vec<_>, _> = states.into_iter().map(read).collect();
        let states = states.map_err(|source| Error::State { lane: lane.0, source })?;
        let mut engine = Engine::new(lane, self.lanes, states);
        let now = (self.clock)();
        for book in &self.books {
            engine.apply(Input::Book(Arc::clone(book)), now);
        }
        if let Some((policy, next)) = &self.policy {
            self.told.iter().for_each(|told| engine.apply(Input::Changed(Arc::clone(told)), now));
            let past = self.past_of(lane, &engine, policy, *next)?;
            engine.apply(Input::Retired(self.retired.iter().cloned().collect()), now);
            engine.apply(Input::Policy(Arc::clone(policy), *next), now);
            past.into_iter().for_each(|fold| engine.apply(Input::Past(fold), now));
        }
        self.member.resume(lane, engine.state().input)?;
        self.engines.insert(lane, engine);
        Ok(())
    }

    fn records(&mut self, lane: Lane, records: Vec<Record>) -> Result<(), Error> {
        let Some(next) = records.last().map(|record| Offset(record.offset.0 + 1)) else { return Ok(()) };
        for record in records {
            let origin = Origin { producer: record.header.producer, seq: record.header.seq, hash: record.header.hash };
            let event = wire::decode_event(&record.body).map_err(|error| error.to_string());
            for book in books_of(&event) {
                self.await_book(lane, book)?;
            }
            if let Some(engine) = self.engines.get_mut(&lane) {
                engine.apply(Input::Event(origin, event), (self.clock)());
            }
        }
        if let Some(engine) = self.engines.get_mut(&lane) {
            engine.read_to(next);
        }
        Ok(())
    }

    /// A gateway may have read a book that this member has not: it is in the policy by then, so a short wait finds it.
    fn await_book(&mut self, lane: Lane, book: BookHash) -> Result<(), Error> {
        let looks = BOOK_PATIENCE.as_millis() / POLL.as_millis();
        for _ in 0..looks {
            if self.engines.get(&lane).is_none_or(|engine| engine.knows(book)) {
                break;
            }
            self.read_policy(POLL)?;
        }
        Ok(())
    }

    fn read_policy(&mut self, wait: Duration) -> Result<(), Error> {
        for record in self.policies.poll(wait)? {
            match wire::decode_policy(&record.body) {
                Ok(known) => self.take_policy(record.offset, known)?,
                Err(error) => {
                    tracing::error!(offset = record.offset.0, %error, "a policy record cannot be read; the one before it stays in force")
                }
            }
        }
        Ok(())
    }

    fn take_policy(&mut self, offset: Offset, record: policy::Record) -> Result<(), Error> {
        let before = self.fold.in_force().cloned();
        let (step, told) = policy::told::take(&mut self.fold, offset, record);
        if let policy::Step::Book(book) = step {
            let book = Arc::new(*book);
            self.books.push(Arc::clone(&book));
            self.tell(|| Input::Book(Arc::clone(&book)));
            return Ok(());
        }
        let (Some(told), Some(policy)) = (told, self.fold.in_force().cloned()) else { return Ok(()) };
        let (told, next) = (Arc::new(told), Offset(offset.0 + 1));
        if self.told.len() == MOST_TOLD {
            self.told.pop_front();
        }
        self.told.push_back(Arc::clone(&told));
        let before = before.as_ref().map_or(&[][..], |before| before.limits.as_slice());
        let stay: HashSet<LimitId> = policy::changed(&policy.limits, before).iter().map(Limit::id).collect();
        let gone = policy::changed(before, &policy.limits).iter().filter(|limit| !stay.contains(&limit.id()));
        self.retired.extend(gone.cloned().map(Arc::new));
        self.retired.drain(..self.retired.len().saturating_sub(MOST_RETIRED));
        self.policy = Some((Arc::clone(&policy), next));
        let mut past = Vec::new();
        for (lane, engine) in &self.engines {
            past.extend(self.past_of(*lane, engine, &policy, next)?.map(|fold| (*lane, fold)));
        }
        self.tell(|| Input::Changed(Arc::clone(&told)));
        self.tell(|| Input::Policy(Arc::clone(&policy), next));
        for (lane, fold) in past {
            if let Some(engine) = self.engines.get_mut(&lane) {
                engine.apply(Input::Past(fold), (self.clock)());
            }
        }
        Ok(())
    }

    /// What the ledger of a lane says of limits that a policy brings there. Metering waits for that: what they may grant depends on it.
    fn past_of(
        &self,
        lane: Lane,
        engine: &Engine,
        policy: &policy::Policy,
        next: Offset,
    ) -> Result<Option<Fold>, Error> {
        let lacking = engine.lacking(policy, next, (self.clock)());
        let (Some(open), Some(mut fold)) = (&self.past, lacking) else { return Ok(None) };
        let (mut reader, mut read, end) = past(open, lane, self.lanes)?;
        let mut silent = Duration::ZERO;
        while read < end {
            let records = reader.poll(POLL)?;
            silent = if records.is_empty() { silent + POLL } else { Duration::ZERO };
            if silent > PAST_PATIENCE {
                return Err(Error::Past { lane: lane.0, read: read.0, end: end.0 });
            }
            for record in records.iter().filter(|record| record.lane == lane && record.offset < end) {
                let entry = wire::decode_entry(&record.body);
                fold.take(&entry.map_err(|source| Error::State { lane: lane.0, source })?);
                read = Offset(record.offset.0 + 1);
            }
        }
        Ok(Some(fold))
    }

    fn tell(&mut self, input: impl Fn() -> Input) {
        for engine in self.engines.values_mut() {
            engine.apply(input(), (self.clock)());
        }
    }

    fn tick(&mut self, now: Time) {
        self.ticked = now;
        self.tell(|| Input::Tick);
        self.engines.iter().for_each(|(lane, engine)| publish(*lane, engine));
        self.name_copied(now);
    }

    /// Says once of each gateway whose journal goes on in a copy, and that is silent itself, what an operator has to do: nobody else can
    /// know whether it comes back.
    fn name_copied(&mut self, now: Time) {
        let Some(budget) = self.policy.as_ref().map(|(policy, _)| policy.metering.outage_budget) else { return };
        for mark in self.engines.values().flat_map(|engine| dedup::copied(engine.state())) {
            if now.since(mark.accepted_at) > budget && self.named.insert(mark.producer) {
                let ProducerMark { producer, gateway, .. } = mark;
                tracing::error!(
                    %producer, gateway,
                    "a gateway is silent, and its journal goes on in a copy: what it has open and leased waits for it. \
                     If its disk is lost for good: tollgate release --producer {producer}"
                );
            }
        }
    }

    /// Commits what each lane has to say. A lane that went to another member in the meantime is dropped: its new owner reads the
    /// state that was committed, and this one's is not.
    fn say(&mut self, mut said: Vec<(Lane, Outputs)>, again: bool) -> Result<(), Error> {
        let mut full = None;
        for (lane, committed) in self.member.commit_each(&said) {
            if !matches!(committed, Err(journal::Error::Full { .. })) {
                said.retain(|(waiting, _)| *waiting != lane);
            }
            match committed {
                Err(journal::Error::Fenced(_)) => {
                    tracing::warn!(lane = lane.0, "another member owns this lane now");
                    self.engines.remove(&lane);
                }
                Err(error @ journal::Error::Full { .. }) => full = Some(error),
                other => other?,
            }
        }
        match full {
            Some(error) if !again => tracing::error!(%error, "the books wait until there is room"),
            None if again => tracing::warn!("the books go on: there is room again"),
            _ => {}
        }
        self.unsaid = said;
        Ok(())
    }
}

/// Opens the ledger of one lane from the first entry that is kept; gives that offset and the end.
fn past(open: &Past, lane: Lane, lanes: u16) -> Result<(Box<dyn Reader>, Offset, Offset), Error> {
    let mut from = vec![Offset(0); usize::from(lanes)];
    let mut reader = loop {
        match open(&from) {
            Err(journal::Error::NotKept { lane, first, .. })
                if from.get(usize::from(lane.0)).is_some_and(|from| from.0 < first) =>
            {
                from.get_mut(usize::from(lane.0)).into_iter().for_each(|from| *from = Offset(first));
            }
            opened => break opened?,
        }
    };
    let (place, mut ends) = (usize::from(lane.0), reader.ends()?);
    let (Some(first), Some(end)) = (from.get(place).copied(), ends.get_mut(place)) else {
        return Ok((reader, Offset(0), Offset(0)));
    };
    // Of the others nothing is wanted.
    let end = std::mem::replace(end, first);
    Ok((open(&ends)?, first, end))
}

/// The price books that an event is charged by.
fn books_of(event: &Result<Event, String>) -> impl Iterator<Item = BookHash> + use<> {
    let of = |learned: &Learned| [Some(learned.is.attempt.book), learned.was.as_ref().map(|was| was.book)];
    let books = match event {
        Ok(Event::Settled(settled)) => [Some(settled.attempt.book), None],
        Ok(Event::Learned(learned) | Event::Moved(Moved { learned: Some(learned), .. })) => of(learned),
        _ => [None, None],
    };
    books.into_iter().flatten().filter(|book| *book != BookHash::NONE)
}

/// Tells the operator of what was set aside: in the ledger nobody looks for it.
fn raise(lane: Lane, ledger: &[Entry]) {
    for entry in ledger {
        let Fact::Alarm(Alarm { producer, seq, kind, detail }) = &entry.fact else { continue };
        tracing::error!(lane = lane.0, %producer, seq = seq.0, kind = kind.name(), detail, "an alarm of the books");
        metrics::counter!("tollgate_metering_alarms", "kind" => kind.name()).increment(1);
    }
}

fn encode(input: Offset, commit: &Commit) -> Outputs {
    Outputs {
        input,
        ledger: commit.ledger.iter().map(|entry| Bytes::from(wire::encode_entry(entry))).collect(),
        decisions: commit
            .decisions
            .iter()
            .map(|(key, state)| {
                let state = state.as_ref().map(|state| Bytes::from(wire::encode_state(state)));
                (Bytes::from(wire::encode_key(key)), state)
            })
            .collect(),
        passed: commit.passed.iter().map(|(lane, event)| (*lane, Bytes::from(wire::encode_event(event)))).collect(),
    }
}

/// Tells who looks at the log or the metrics what becomes a row of `alerts`.
fn say_alerts(commit: &Commit, policy: Option<&policy::Policy>) {
    for entry in &commit.ledger {
        match &entry.fact {
            Fact::Alerted(alerted) => {
                let Alerted { limit, values, window, share: Share(percent), amount, settled, held, .. } = &**alerted;
                let name = name_of(policy, *limit);
                tracing::warn!(name, ?values, %window, percent, amount, settled, held, "a limit's counter has reached a share of it");
                metrics::counter!("tollgate_metering_alerts", "limit" => name.to_owned()).increment(1);
            }
            Fact::Overrun(Overrun { limit: Some(limit), values, window, amount, settled, held, .. }) => {
                let name = name_of(policy, *limit);
                tracing::warn!(name, ?values, %window, amount, settled, held, "more was used of a hard limit than its amount");
                metrics::counter!("tollgate_metering_overruns", "limit" => name.to_owned()).increment(1);
            }
            _ => {}
        }
    }
}

fn name_of(policy: Option<&policy::Policy>, limit: LimitId) -> &str {
    let named = policy.and_then(|policy| policy.limits.iter().find(|known| known.id() == limit));
    named.map_or("", |limit| &limit.name)
}

fn publish(lane: Lane, engine: &Engine) {
    let (lane, counts) = (lane.0.to_string(), engine.counts());
    let copied = u32::try_from(dedup::copied(engine.state()).count()).unwrap_or(u32::MAX);
    metrics::gauge!("tollgate_metering_copied_journals", "lane" => lane.clone()).set(copied);
    let counters = [
        ("tollgate_metering_events_accepted", counts.accepted),
        ("tollgate_metering_events_duplicate", counts.duplicates),
        ("tollgate_metering_events_gap", counts.gaps),
        ("tollgate_metering_events_conflict", counts.conflicts),
        ("tollgate_metering_counters_stray", counts.strays),
        ("tollgate_metering_events_relearned", counts.relearned),
        ("tollgate_metering_ends_elsewhere", counts.ended_by_others),
        ("tollgate_metering_not_awaited", counts.not_awaited),
    ];
    for (name, count) in counters {
        metrics::counter!(name, "lane" => lane.clone()).absolute(count);
    }
}
