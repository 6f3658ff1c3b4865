//! One suite for both roads: whatever a role relies on is asked of each of them here, in the same words.
//!
//! A road brings a [`Ground`], on which the suite opens it and opens it again; [`suite`] makes a test of each case. What only
//! one road promises (offsets without gaps, crash points of files) is tested beside that road.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use schemas::{
    id::{Lane, Offset, ProducerId, Seq},
    topics::Topic,
    wire,
};

use crate::{Draft, Follower, Journal, Member, Outputs, Polled, Reader, Record, Road};

pub(crate) mod cases;

/// The longest that anything here may take; a slow broker on a busy machine is still within it.
pub(crate) const LONG: Duration = Duration::from_secs(90);

/// How long a poll waits.
const POLL: Duration = Duration::from_millis(200);

/// Where a road stands: what is written survives from one `open` to the next. The road opened before is gone by then.
pub(crate) trait Ground {
    /// Opens the road; its journal has small segments, so that there is something to trim.
    fn open(&mut self) -> Arc<dyn Road>;

    /// Has the log let go of what the ledger has before these offsets, by lane.
    fn trim(&self, road: &dyn Road, below: &[Offset]);
}

/// Makes one test of each case, on fresh ground each.
macro_rules! suite {
    ($ground:expr) => {
        $crate::conformance::suite! { $ground;
            events_come_once_and_in_order
            uncommitted_input_comes_again
            a_transaction_is_seen_whole_or_not_at_all
            decisions_are_the_last_word_on_each_key
            followers_get_every_change
            policy_keeps_its_order
            readers_do_not_disturb_each_other
            a_crash_loop_is_recovered_whole
            metering_s_word_lets_the_journal_go
            what_the_ledger_let_go_of_is_not_passed_over
            idleness_is_not_an_error
            closing_wakes_all_that_wait
        }
    };
    ($ground:expr; $($case:ident)*) => {
        $(#[test]
        fn $case() {
            $crate::conformance::cases::$case(&mut $ground);
        })*
    };
}
pub(crate) use suite;

/// Polls until `done` says so.
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not within {LONG:?}");
    }
}

/// Appends one record a body, spread over all lanes.
pub(crate) fn append(road: &dyn Road, journal: &Journal, bodies: impl IntoIterator<Item = String>) {
    let bodies: Vec<_> = bodies.into_iter().collect();
    for (number, batch) in bodies.chunks(7).enumerate() {
        let lane = |index: usize| Lane(u16::try_from((number + index) % usize::from(road.lanes())).unwrap());
        let drafts: Vec<_> =
            batch.iter().enumerate().map(|(index, body)| Draft { lane: lane(index), body: body.as_bytes() }).collect();
        journal.append(&drafts).unwrap();
    }
}

/// A metering of few words: accepts each record once, makes a ledger entry of it and counts it under its producer's key.
pub(crate) struct Books {
    member: Box<dyn Member>,
    pub(crate) state: BTreeMap<(Lane, Bytes), Bytes>,
    staged: BTreeMap<Lane, Vec<Record>>,
    next: BTreeMap<Lane, Offset>,
}

impl Books {
    pub(crate) fn open(road: &dyn Road) -> Self {
        Self { member: road.member().unwrap(), state: BTreeMap::new(), staged: BTreeMap::new(), next: BTreeMap::new() }
    }

    /// The last sequence of `producer` accepted in `lane`.
    pub(crate) fn accepted(&self, lane: Lane, producer: ProducerId) -> u64 {
        let staged = self.staged.get(&lane).into_iter().flatten().filter(|r| r.header.producer == producer);
        staged.map(|r| r.header.seq.0).max().unwrap_or_else(|| self.number(lane, &key(producer)))
    }

    fn number(&self, lane: Lane, key: &Bytes) -> u64 {
        self.state.get(&(lane, key.clone())).map_or(0, |value| u64::from_be_bytes(value[..].try_into().unwrap()))
    }

    /// How many lanes it has.
    #[cfg(feature = "kafka")]
    pub(crate) fn lanes(&self) -> usize {
        self.next.len()
    }

    /// How many records are staged.
    #[cfg(feature = "kafka")]
    pub(crate) fn staged(&self) -> usize {
        self.staged.values().map(Vec::len).sum()
    }

    /// Polls once and stages what is new.
    pub(crate) fn step(&mut self) {
        match self.member.poll(POLL).unwrap() {
            Polled::Idle => {}
            Polled::Revoked(lane) => self.forget(lane),
            Polled::Assigned(lane, state) => {
                self.state.extend(state.into_iter().map(|(key, value)| ((lane, key), value)));
                let from = Offset(self.number(lane, &Bytes::from_static(b"input")));
                self.next.insert(lane, from);
                self.member.resume(lane, from).unwrap();
            }
            Polled::Records(lane, records) => records.into_iter().for_each(|record| self.accept(lane, record)),
        }
    }

    fn forget(&mut self, lane: Lane) {
        self.state.retain(|(of, _), _| *of != lane);
        self.staged.remove(&lane);
        self.next.remove(&lane);
    }

    fn accept(&mut self, lane: Lane, record: Record) {
        let next = self.next.get_mut(&lane).unwrap();
        assert!(record.lane == lane && record.offset >= *next, "{record:?} after {next:?} in {lane:?}");
        *next = Offset(record.offset.0 + 1);
        assert_eq!(record.header.hash, wire::hash(&record.body));
        let accepted = self.accepted(lane, record.header.producer);
        assert!(record.header.seq.0 <= accepted + 1, "a gap after {accepted}: {record:?}");
        if record.header.seq.0 == accepted + 1 {
            self.staged.entry(lane).or_default().push(record);
        }
    }

    /// Polls until `count` records are staged, and gives them by lane.
    pub(crate) fn stage(&mut self, count: usize) -> BTreeMap<Lane, Vec<Record>> {
        until("the input", || {
            let staged = self.staged.values().map(Vec::len).sum::<usize>();
            assert!(staged <= count, "{staged} of {count}");
            if staged < count {
                self.step();
            }
            staged == count
        });
        self.staged.clone()
    }

    /// What is to be committed of one lane.
    fn outputs(&self, lane: Lane) -> Outputs {
        let input = self.next[&lane];
        let records = self.staged.get(&lane).map_or(&[][..], Vec::as_slice);
        let mut decisions = vec![(Bytes::from_static(b"input"), Some(Bytes::copy_from_slice(&input.0.to_be_bytes())))];
        for record in records {
            let seq = Bytes::copy_from_slice(&record.header.seq.0.to_be_bytes());
            decisions.push((key(record.header.producer), Some(seq)));
        }
        let ledger = records.iter().map(|record| record.body.clone()).collect();
        Outputs { input, ledger, decisions, passed: Vec::new() }
    }

    /// Commits all that is staged, lane by lane.
    pub(crate) fn commit(&mut self) {
        for lane in self.staged.keys().copied().collect::<Vec<_>>() {
            let outputs = self.outputs(lane);
            self.commit_outputs(lane, outputs);
        }
        self.staged.clear();
    }

    /// Polls once and commits what is staged, of the lanes that are still ours; says how many records stand by that.
    #[cfg(feature = "kafka")]
    pub(crate) fn step_and_commit(&mut self) -> usize {
        self.step();
        let lanes: Vec<_> = self.staged.keys().copied().collect();
        let committed = lanes.into_iter().map(|lane| match self.member.commit(lane, &self.outputs(lane)) {
            Ok(()) => {
                self.note(lane, &self.outputs(lane));
                self.staged.remove(&lane).map_or(0, |records| records.len())
            }
            Err(crate::Error::Fenced(lane)) => {
                self.forget(lane);
                0
            }
            Err(error) => panic!("{error}"),
        });
        committed.sum()
    }

    /// Commits decisions alone.
    pub(crate) fn decide(&mut self, lane: Lane, decisions: Vec<(Bytes, Option<Bytes>)>) {
        let mut outputs = self.outputs(lane);
        outputs.decisions.extend(decisions);
        self.commit_outputs(lane, outputs);
    }

    fn commit_outputs(&mut self, lane: Lane, outputs: Outputs) {
        self.note(lane, &outputs);
        self.member.commit(lane, &outputs).unwrap();
    }

    fn note(&mut self, lane: Lane, outputs: &Outputs) {
        for (key, value) in &outputs.decisions {
            match value {
                Some(value) => self.state.insert((lane, key.clone()), value.clone()),
                None => self.state.remove(&(lane, key.clone())),
            };
        }
    }

    /// Polls until the member has all lanes.
    pub(crate) fn settle_in(&mut self, road: &dyn Road) {
        until("the assignment", || {
            if self.next.len() < usize::from(road.lanes()) {
                self.step();
            }
            self.next.len() == usize::from(road.lanes())
        });
    }

    /// Tells the journal how far its records are committed.
    pub(crate) fn confirm(&self, road: &dyn Road, journal: &Journal, producer: ProducerId) {
        for lane in (0..road.lanes()).map(Lane) {
            journal.confirm(producer, lane, Seq(self.number(lane, &key(producer))));
        }
    }
}

fn key(producer: ProducerId) -> Bytes {
    Bytes::copy_from_slice(producer.as_bytes())
}

/// A reader of the whole topic.
pub(crate) fn from_start(road: &dyn Road, topic: Topic) -> Box<dyn Reader> {
    let lanes = if topic == Topic::Policy { 1 } else { road.lanes() };
    road.reader(topic, &vec![Offset(0); usize::from(lanes)]).unwrap()
}

/// Reads `count` records, in order within each lane.
pub(crate) fn read(reader: &mut dyn Reader, count: usize) -> Vec<Record> {
    let mut out: Vec<Record> = Vec::new();
    until("the records", || {
        if out.len() < count {
            out.extend(reader.poll(POLL).unwrap());
        }
        out.len() >= count
    });
    let mut last: BTreeMap<Lane, Offset> = BTreeMap::new();
    for record in &out {
        let before = last.insert(record.lane, record.offset);
        assert!(before.is_none_or(|before| before < record.offset), "{record:?} after {before:?}");
        assert_eq!((record.header.producer, record.header.seq), (ProducerId::NONE, Seq(0)));
        assert_eq!(record.header.hash, wire::hash(&record.body));
    }
    assert_eq!(out.len(), count);
    out
}

/// A follower and what it has made of the changes.
pub(crate) struct View {
    follower: Box<dyn Follower>,
    pub(crate) state: BTreeMap<(Lane, Bytes), Bytes>,
}

impl View {
    pub(crate) fn open(road: &dyn Road) -> Self {
        Self { follower: road.follower().unwrap(), state: BTreeMap::new() }
    }

    pub(crate) fn step(&mut self) {
        for change in self.follower.poll(POLL).unwrap() {
            match change.state {
                Some(state) => self.state.insert((change.lane, change.key), state),
                None => self.state.remove(&(change.lane, change.key)),
            };
        }
    }

    /// Polls until all that was committed when it was opened has been seen.
    pub(crate) fn catch_up(&mut self) {
        until("catching up", || {
            if !self.follower.caught_up() {
                self.step();
            }
            self.follower.caught_up()
        });
    }

    /// Polls until it sees `expected`.
    pub(crate) fn reach(&mut self, expected: &BTreeMap<(Lane, Bytes), Bytes>) {
        until("the decisions", || {
            if self.state != *expected {
                self.step();
            }
            self.state == *expected
        });
    }
}
