//! The road in memory: topics with lanes, transactions that fence, a compacted topic of decisions, and readers that lag.
//!
//! It keeps what Kafka promises and no more: order within a lane, committed transactions whole, one live owner a lane by its
//! epoch. Everything else is up to the dice: how far a reader gets, whether a commit stands although its answer was lost,
//! which member has a lane. It knows no meaning, but that it hands no more to a member at once than the oracle can look at one by one.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use journal::{Change, Error, Follower, Header, Member, Outputs, Polled, Reader, Record};
use schemas::{
    decision::{Holder, Key, State},
    event::Event,
    id::{Lane, LimitId, Offset, ProducerId, Seq},
    wire,
};

use super::{dice::Dice, plant::Plant};

/// The cluster, shared by all that reach it.
#[derive(Clone)]
pub(crate) struct Road(Arc<Mutex<Cluster>>);

/// One committed transaction, for the oracle and the lake.
#[derive(Clone, Debug)]
pub(crate) struct Committed {
    pub(crate) lane: Lane,
    pub(crate) ledger: Vec<Bytes>,
    pub(crate) decisions: Vec<(Bytes, Option<Bytes>)>,
}

pub(crate) struct Cluster {
    pub(crate) lanes: Vec<LaneLog>,
    policy: Vec<Record>,
    group: BTreeMap<u32, VecDeque<Decided>>,
    /// What brokers took last, which may come again.
    pub(crate) taken: VecDeque<Record>,
    /// What was committed and not yet looked at.
    pub(crate) committed: Vec<Committed>,
    /// A commit goes wrong once in so many; 0 for never.
    pub(crate) trouble: u64,
    /// Whether readers read all there is.
    pub(crate) calm: bool,
    pub(crate) plant: Option<Plant>,
    dice: Dice,
}

/// What the group tells a member.
#[derive(Clone, Copy, Debug)]
enum Decided {
    Given(Lane),
    Taken(Lane),
}

#[derive(Default)]
pub(crate) struct LaneLog {
    usage_first: u64,
    usage: VecDeque<Record>,
    pub(crate) ledger_first: u64,
    pub(crate) ledger: VecDeque<Bytes>,
    /// The same as far as it is kept for whoever looks back.
    pub(crate) past_first: u64,
    pub(crate) past: Vec<Bytes>,
    decisions: BTreeMap<u64, (Bytes, Option<Bytes>)>,
    next_decision: u64,
    latest: HashMap<Bytes, u64>,
    /// What the last transaction replaced, for a restore that does not see it.
    undo: Vec<(Bytes, Option<Bytes>)>,
    epoch: u64,
    owner: Option<u32>,
    input: u64,
}

impl Road {
    pub(crate) fn new(lanes: u16, dice: Dice, plant: Option<Plant>) -> Self {
        Self(Arc::new(Mutex::new(Cluster {
            lanes: (0..lanes).map(|_| LaneLog::default()).collect(),
            policy: Vec::new(),
            group: BTreeMap::new(),
            taken: VecDeque::new(),
            committed: Vec::new(),
            trouble: 0,
            calm: false,
            plant,
            dice,
        })))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Cluster> {
        self.0.lock().unwrap()
    }

    pub(crate) fn publish(&self, body: Bytes) {
        let mut cluster = self.lock();
        let offset = Offset(cluster.policy.len() as u64);
        cluster.policy.push(Record { lane: Lane(0), offset, header: NOBODY, body });
    }

    /// A broker takes a record of `usage`.
    pub(crate) fn take(&self, lane: Lane, header: Header, body: Bytes) {
        let mut cluster = self.lock();
        let record = cluster.lanes[usize::from(lane.0)].append(lane, header, body);
        cluster.taken.push_back(record);
        if cluster.taken.len() > REMEMBERED {
            cluster.taken.pop_front();
        }
    }

    pub(crate) fn member(&self, id: u32) -> Box<dyn Member> {
        let mut cluster = self.lock();
        cluster.group.insert(id, VecDeque::new());
        let dice = cluster.dice.another();
        Box::new(SimMember {
            road: self.clone(),
            id,
            dice,
            lanes: BTreeMap::new(),
            told: VecDeque::new(),
            full: BTreeSet::new(),
        })
    }

    pub(crate) fn policies(&self) -> Box<dyn Reader> {
        let dice = self.lock().dice.another();
        Box::new(PolicyReader { road: self.clone(), next: 0, dice })
    }

    pub(crate) fn follower(&self) -> Box<dyn Follower> {
        let mut cluster = self.lock();
        let dice = cluster.dice.another();
        let ends = cluster.lanes.iter().map(|log| log.next_decision).collect();
        let next = vec![0; cluster.lanes.len()];
        Box::new(SimFollower { road: self.clone(), next, ends, dice })
    }
}

/// How many records may come again long after they came.
const REMEMBERED: usize = 400;

pub(crate) const NOBODY: Header = Header { producer: ProducerId::NONE, seq: Seq(0), hash: 0 };

impl LaneLog {
    fn append(&mut self, lane: Lane, header: Header, body: Bytes) -> Record {
        let offset = Offset(self.usage_first + self.usage.len() as u64);
        let record = Record { lane, offset, header, body };
        self.usage.push_back(record.clone());
        record
    }
}

impl Cluster {
    /// The members that are in the group.
    pub(crate) fn members(&self) -> Vec<u32> {
        self.group.keys().copied().collect()
    }

    /// The group gives a lane to a member; the one that had it learns of it when it looks.
    pub(crate) fn give(&mut self, lane: usize, to: u32) {
        let log = &mut self.lanes[lane];
        if log.owner == Some(to) {
            return;
        }
        let lane = Lane(lane as u16);
        if let Some(queue) = log.owner.replace(to).and_then(|before| self.group.get_mut(&before)) {
            queue.push_back(Decided::Taken(lane));
        }
        if let Some(queue) = self.group.get_mut(&to) {
            queue.push_back(Decided::Given(lane));
        }
    }

    /// A member left the group, or its session ran out.
    pub(crate) fn leave(&mut self, id: u32) {
        self.group.remove(&id);
        for log in self.lanes.iter_mut().filter(|log| log.owner == Some(id)) {
            log.owner = None;
        }
    }

    /// Whether every lane has an owner that lives.
    pub(crate) fn is_served(&self, alive: &[u32]) -> bool {
        self.lanes.iter().all(|log| log.owner.is_some_and(|owner| alive.contains(&owner)))
    }

    pub(crate) fn ownerless(&self) -> Vec<usize> {
        (0..self.lanes.len()).filter(|lane| self.lanes[*lane].owner.is_none()).collect()
    }

    /// How far a producer will be accepted in a lane by what has come there: what is behind a gap is not taken.
    pub(crate) fn delivered(&self, producer: ProducerId, lane: Lane, accepted: u64) -> u64 {
        let log = &self.lanes[usize::from(lane.0)];
        let unread = log.usage.iter().filter(|record| record.offset.0 >= log.input);
        let theirs = unread.filter(|record| record.header.producer == producer);
        theirs.fold(accepted, |last, record| last + u64::from(record.header.seq.0 == last + 1))
    }

    /// Whether metering has read everything.
    pub(crate) fn is_read(&self) -> bool {
        self.lanes.iter().all(|log| log.input >= log.usage_first + log.usage.len() as u64)
    }

    /// Compaction, and what time removes: of decisions the last under each key stay, of `usage` what was not read.
    pub(crate) fn compact(&mut self, unread: bool) {
        for log in &mut self.lanes {
            if unread {
                // The last word about a counter goes as well, whoever has not read it yet.
                let counter = |key: &Bytes| matches!(wire::decode_key(key), Ok(Key::Instance(_)));
                let last = log.decisions.iter().rev().find(|(_, (key, _))| counter(key)).map(|(offset, _)| *offset);
                last.into_iter().for_each(|last| drop(log.decisions.remove(&last)));
            }
            let latest = &mut log.latest;
            log.decisions.retain(|offset, (key, state)| {
                let last = latest.get(key) == Some(offset);
                // A key that is gone is forgotten altogether, as a broker does after a while.
                if last && state.is_none() {
                    latest.remove(key);
                }
                last && state.is_some()
            });
            while log.usage_first < log.input && log.usage.pop_front().is_some() {
                log.usage_first += 1;
            }
        }
    }

    /// The newest state under every key of a lane.
    pub(crate) fn states(&self, lane: usize) -> Vec<(Bytes, Bytes)> {
        let log = &self.lanes[lane];
        log.decisions
            .iter()
            .filter(|(offset, (key, _))| log.latest.get(key) == Some(offset))
            .filter_map(|(_, (key, state))| Some((key.clone(), state.clone()?)))
            .collect()
    }

    /// By limit, the most that others than these have leased of one of its counters: at rest, those whose journals are lost.
    pub(crate) fn leased_by_others(&self, live: &BTreeSet<ProducerId>) -> BTreeMap<LimitId, i128> {
        let mut most: BTreeMap<_, i128> = BTreeMap::new();
        for (key, state) in (0..self.lanes.len()).flat_map(|lane| self.states(lane)) {
            let Ok(State::Instance(instance)) = wire::decode_state(&wire::decode_key(&key).unwrap(), &state) else {
                continue;
            };
            let others = instance.holders.iter().filter(|holder| !live.contains(&holder.producer));
            let leased: i128 = others.map(Holder::lease).sum();
            most.entry(instance.limit).and_modify(|most| *most = leased.max(*most)).or_insert(leased);
        }
        most
    }

    fn restore(&mut self, lane: Lane) -> Vec<(Bytes, Bytes)> {
        let mut states = self.states(usize::from(lane.0));
        let undo = &self.lanes[usize::from(lane.0)].undo;
        if self.plant != Some(Plant::RestoreToLastStable) {
            return states;
        }
        states.retain(|(key, _)| undo.iter().all(|(undone, _)| undone != key));
        states.extend(undo.iter().filter_map(|(key, state)| Some((key.clone(), state.clone()?))));
        states
    }

    fn commit(&mut self, lane: Lane, mut outputs: Outputs, half: Half) {
        if self.plant == Some(Plant::PassedLost) {
            outputs.passed.clear();
        }
        match half {
            Half::Whole => {}
            // The lane's own state, with its watermarks, but nothing of what was made of the events.
            Half::Claim => {
                outputs.ledger.clear();
                outputs.passed.clear();
                outputs.decisions.retain(|(key, _)| is_lane(key));
            }
            Half::Outputs => {
                outputs.decisions.clear();
                outputs.input = Offset(self.lanes[usize::from(lane.0)].input);
            }
        }
        for (lane, body) in outputs.passed {
            self.lanes[usize::from(lane.0)].append(lane, Header { hash: wire::hash(&body), ..NOBODY }, body);
        }
        let log = &mut self.lanes[usize::from(lane.0)];
        log.input = outputs.input.0;
        log.ledger.extend(outputs.ledger.iter().cloned());
        log.past.extend(outputs.ledger.iter().cloned());
        log.undo.clear();
        for (key, state) in &outputs.decisions {
            let before = log.latest.insert(key.clone(), log.next_decision);
            let before = before.and_then(|offset| log.decisions.get(&offset)).and_then(|(_, state)| state.clone());
            log.undo.push((key.clone(), before));
            log.decisions.insert(log.next_decision, (key.clone(), state.clone()));
            log.next_decision += 1;
        }
        self.committed.push(Committed { lane, ledger: outputs.ledger, decisions: outputs.decisions });
    }
}

/// Whether something is a lane's own state: its place in the input and its watermarks.
fn is_lane(key: &Bytes) -> bool {
    matches!(wire::decode_key(key), Ok(Key::Lane(_)))
}

/// What of a transaction becomes true; more than nothing and less than the whole only where a fault is planted.
#[derive(Clone, Copy)]
enum Half {
    Whole,
    Claim,
    Outputs,
}

/// Metering's side.
struct SimMember {
    road: Road,
    id: u32,
    dice: Dice,
    lanes: BTreeMap<Lane, Owned>,
    told: VecDeque<Polled>,
    /// Lanes of which no more is read before what was made of them is committed.
    full: BTreeSet<Lane>,
}

struct Owned {
    epoch: u64,
    next: Option<u64>,
}

impl SimMember {
    fn obey(&mut self, cluster: &mut Cluster) {
        let mut decided = cluster.group.get_mut(&self.id).map(std::mem::take).unwrap_or_default();
        if cluster.plant == Some(Plant::ZombieMember) {
            decided.retain(|decided| matches!(decided, Decided::Given(_)));
        }
        let mut given = BTreeSet::new();
        for decided in decided {
            match decided {
                Decided::Taken(lane) => {
                    given.remove(&lane);
                    if self.lanes.remove(&lane).is_some() {
                        self.told.push_back(Polled::Revoked(lane));
                    }
                }
                Decided::Given(lane) => drop(given.insert(lane)),
            }
        }
        for lane in given {
            let log = &mut cluster.lanes[usize::from(lane.0)];
            log.epoch += 1;
            self.lanes.insert(lane, Owned { epoch: log.epoch, next: None });
            self.told.push_back(Polled::Assigned(lane, cluster.restore(lane)));
        }
    }

    /// Of a lane that one wants more in it takes no more at once, so that what is committed is how things stood after every grant.
    fn records(&mut self, cluster: &Cluster) -> Option<Polled> {
        for (lane, owned) in self.lanes.iter_mut().filter(|(lane, _)| !self.full.contains(lane)) {
            let log = &cluster.lanes[usize::from(lane.0)];
            let Some(next) = owned.next else { continue };
            let from = next.saturating_sub(log.usage_first) as usize;
            let there = log.usage.len().saturating_sub(from);
            let count = if cluster.calm { there.min(1_000) } else { there.min(self.dice.index(40)) };
            if count > 0 {
                let mut records: Vec<Record> = log.usage.iter().skip(from).take(count).cloned().collect();
                let asks = |record: &Record| matches!(wire::decode_event(&record.body), Ok(Event::LeaseRequested(_)));
                if let Some(asked) = records.iter().position(asks) {
                    records.truncate(asked + 1);
                    self.full.insert(*lane);
                }
                owned.next = records.last().map(|record| record.offset.0 + 1);
                return Some(Polled::Records(*lane, records));
            }
        }
        None
    }
}

impl Member for SimMember {
    fn poll(&mut self, _: Duration) -> Result<Polled, Error> {
        let road = self.road.clone();
        let mut cluster = road.lock();
        // A member that is slow to look goes on as if nothing had happened: a zombie.
        if self.told.is_empty() && (cluster.calm || self.dice.one_in(2)) {
            self.obey(&mut cluster);
        }
        if let Some(told) = self.told.pop_front() {
            return Ok(told);
        }
        let idle = !cluster.calm && self.dice.one_in(3);
        let polled = if idle { None } else { self.records(&cluster) };
        if polled.is_none() {
            self.full.clear();
        }
        Ok(polled.unwrap_or(Polled::Idle))
    }

    fn resume(&mut self, lane: Lane, from: Offset) -> Result<(), Error> {
        let owned = self.lanes.get_mut(&lane).ok_or(Error::Fenced(lane))?;
        owned.next = Some(from.0);
        Ok(())
    }

    fn commit(&mut self, lane: Lane, outputs: &Outputs) -> Result<(), Error> {
        let road = self.road.clone();
        let mut cluster = road.lock();
        let epoch = self.lanes.get(&lane).map(|owned| owned.epoch);
        let zombie = cluster.plant == Some(Plant::ZombieMember) && epoch.is_some();
        let fenced = !zombie && epoch != Some(cluster.lanes[usize::from(lane.0)].epoch);
        if fenced {
            self.lanes.remove(&lane);
            return Err(Error::Fenced(lane));
        }
        let (trouble, stands) = (cluster.trouble, self.dice.one_in(2));
        if !cluster.calm && self.dice.one_in(trouble) {
            // Nobody knows whether it stands: the lane is read back.
            let half = match cluster.plant {
                Some(Plant::ClaimedBeforeCommit) => Some(Half::Claim),
                Some(Plant::StoreCommitLost) => Some(Half::Outputs),
                _ => stands.then_some(Half::Whole),
            };
            if let Some(half) = half {
                cluster.commit(lane, outputs.clone(), half);
            }
            self.lanes.remove(&lane);
            cluster.lanes[usize::from(lane.0)].owner = None;
            return Err(Error::Fenced(lane));
        }
        cluster.commit(lane, outputs.clone(), Half::Whole);
        Ok(())
    }
}

/// A reader of the policy; a poll that waits reads all.
struct PolicyReader {
    road: Road,
    next: usize,
    dice: Dice,
}

impl Reader for PolicyReader {
    fn poll(&mut self, wait: Duration) -> Result<Vec<Record>, Error> {
        let cluster = self.road.lock();
        let there = cluster.policy.len() - self.next;
        let all = cluster.calm || !wait.is_zero() || self.next == 0;
        let count = if all { there } else { self.dice.index(there + 1) };
        let records = cluster.policy[self.next..self.next + count].iter();
        self.next += count;
        Ok(records.cloned().collect())
    }

    fn ends(&mut self) -> Result<Vec<Offset>, Error> {
        Ok(vec![Offset(self.road.lock().policy.len() as u64)])
    }
}

/// A reader of decisions: of each lane as far as it happens to get, and further at once the more there is. What stood when it was opened
/// it reads at once: a gateway lets nobody in before.
struct SimFollower {
    road: Road,
    next: Vec<u64>,
    ends: Vec<u64>,
    dice: Dice,
}

impl Follower for SimFollower {
    fn poll(&mut self, _: Duration) -> Result<Vec<Change>, Error> {
        let cluster = self.road.lock();
        let mut changes = Vec::new();
        for (lane, log) in cluster.lanes.iter().enumerate() {
            let there = log.decisions.range(self.next[lane]..);
            let behind = (log.next_decision - self.next[lane]) as usize;
            let begins = self.next[lane] < self.ends[lane];
            let count = if cluster.calm || begins { usize::MAX } else { self.dice.index(12.max(behind / 2)) };
            for (offset, (key, state)) in there.take(count) {
                self.next[lane] = offset + 1;
                changes.push(Change { lane: Lane(lane as u16), key: key.clone(), state: state.clone() });
            }
        }
        Ok(changes)
    }

    fn caught_up(&self) -> bool {
        self.next.iter().zip(&self.ends).all(|(next, end)| next >= end)
    }
}
