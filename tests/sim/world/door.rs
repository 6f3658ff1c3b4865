//! A gateway of the world: its machine, its journal, and its process while it runs.
//!
//! The limits, the obeying, the settling, the buffers, the recovery and the order of shipping are the gateway's own code. What is here is
//! what stands around them: when a buffer goes to the journal, the way of the records to the brokers, and death.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use gateway::{
    emit::Emitter,
    limits::Limits,
    obey::{Obey, View},
    recover,
};
use journal::{Record, shipping::Shipping};
use schemas::{
    event::Event,
    id::{Lane, LimitId, ProducerId},
    time::Time,
};

use super::{
    call::{Before, Call, Stage},
    clock::Clock,
    dice::Dice,
    plant::Plant,
    platter::{Pen, Platter},
    policy::HOUR,
    road::Road,
};

/// How many buffers a process has.
pub(crate) const WORKERS: usize = 2;

/// A gateway's machine.
pub(crate) struct Door {
    pub(crate) name: String,
    pub(crate) clock: Clock,
    pub(crate) platter: Arc<Mutex<Platter>>,
    pub(crate) process: Option<Process>,
    /// A copy of the journal's directory that somebody made.
    pub(crate) copy: Option<Platter>,
    /// How far the oracle has read the journal.
    pub(crate) read: u64,
    /// Whether the log cannot be reached.
    pub(crate) cut_off: bool,
    /// Whether it was first started on a copy of a journal that another one goes on with.
    pub(crate) is_beside: bool,
    last: Option<ProducerId>,
}

/// A gateway's process.
pub(crate) struct Process {
    pub(crate) me: ProducerId,
    pub(crate) limits: Arc<Limits>,
    pub(crate) view: Arc<View>,
    pub(crate) calls: Vec<Call>,
    obey: Obey,
    pen: Pen,
    workers: [Worker; WORKERS],
    shipping: Shipping,
    next: u64,
    way: Vec<VecDeque<Record>>,
    pub(crate) reported: std::time::Instant,
    reported_to: (u64, u64),
}

/// A buffer of a process. A call stays with the one that it began with.
struct Worker {
    emitter: Arc<Emitter>,
    is_empty: bool,
    /// Where calls began whose last record is in the buffer.
    closing: Vec<u64>,
}

impl Door {
    pub(crate) fn new(number: usize, clock: &Clock) -> Self {
        let mut platter = Platter::default();
        platter.fsync_always = number == 0;
        let platter = Arc::new(Mutex::new(platter));
        let (name, clock) = (format!("g{number}"), clock.of_machine());
        Self { name, clock, platter, process: None, copy: None, read: 0, cut_off: false, is_beside: false, last: None }
    }

    /// Starts the process: a new producer, which first settles what its journal left open.
    pub(crate) fn start(&mut self, road: &Road, lanes: u16, dice: &mut Dice, plant: Option<Plant>) {
        let fresh = ProducerId::from_bytes(dice.bytes());
        let me = self.last.filter(|_| plant == Some(Plant::ProducerReused)).unwrap_or(fresh);
        self.last = Some(me);
        let (before, records) = self.platter.lock().unwrap().open(me);
        let records = records.into_iter().map(Ok);
        let events = recover::first_events(records, before.as_ref(), lanes, &self.name, self.clock.now()).unwrap();
        let pen = Pen { platter: Arc::clone(&self.platter), me };
        let seen = if plant == Some(Plant::LanesDiffer) && self.name == "g1" { lanes - 1 } else { lanes };
        let limits = Limits::over(me, Arc::new(pen.clone()), seen);
        let view = Arc::new(View::default());
        let mut process = Process {
            me,
            obey: Obey::over(road.follower(), road.policies(), Arc::clone(&limits), Arc::clone(&view)),
            workers: std::array::from_fn(|_| Worker::new(&limits)),
            limits,
            view,
            calls: Vec::new(),
            pen,
            shipping: Shipping::default(),
            next: self.platter.lock().unwrap().first(),
            way: vec![VecDeque::new(); usize::from(lanes)],
            reported: self.clock.at(),
            reported_to: (0, 0),
        };
        for (lane, event) in &events {
            process.write(0, *lane, event);
        }
        // Where there is no room for that it does not start, and is started again.
        self.process = process.flush(0).then_some(process);
    }
}

impl Worker {
    fn new(limits: &Arc<Limits>) -> Self {
        Self { emitter: Emitter::new(Arc::clone(limits), Box::new(|_| {})), is_empty: true, closing: Vec::new() }
    }
}

/// Which buffer a call has that began at this place of the journal.
pub(crate) fn worker_of(position: u64) -> usize {
    position as usize % WORKERS
}

impl Process {
    /// Puts an event into the buffer of a worker.
    pub(crate) fn write(&mut self, worker: usize, lane: Lane, event: &Event) {
        let worker = &mut self.workers[worker];
        worker.is_empty = false;
        drop(worker.emitter.write(lane, event, None));
    }

    /// Settles an attempt whose record was kept back, and writes it: its call goes on, or ends with it. Until its last record is written
    /// the journal keeps its first.
    pub(crate) fn finish(&mut self, before: Option<Box<Before>>, goes_on: bool) {
        let Some(before) = before else { return };
        let Before { lane, position, mut account, permit } = *before;
        if goes_on {
            account.go_on();
        }
        let settled = account.post(&self.limits, permit);
        let worker = &mut self.workers[worker_of(position)];
        worker.is_empty = false;
        worker.closing.extend((!goes_on).then_some(position));
        drop(worker.emitter.end(lane, settled, None));
    }

    /// Hands a buffer to the operating system; then its calls whose admission is written are sent.
    pub(crate) fn flush(&mut self, worker: usize) -> bool {
        let worker = &mut self.workers[worker];
        let written = worker.emitter.flush().is_ok();
        if written {
            worker.is_empty = true;
            worker.closing.clear();
        }
        written
    }

    /// The limit that it knows by the name that limits have one after the other.
    pub(crate) fn named(&self) -> Option<LimitId> {
        self.limits.limit(HOUR).map(|limit| limit.id())
    }

    /// Follows the log.
    pub(crate) fn obey(&mut self, clock: &Clock) {
        self.obey.turn(clock.now(), clock.at()).unwrap();
    }

    /// What it says each second.
    pub(crate) fn report(&mut self, clock: &Clock, lanes: u16) {
        let at = clock.now();
        let low = |lane: u16| {
            let here = |call: &&Call| {
                let is_open = call.stage != Stage::Waiting || call.before.is_some();
                is_open && Lane::of(call.facts.subject.tenant.as_bytes(), lanes) == Lane(lane)
            };
            self.calls.iter().filter(here).map(|call| call.since).min().map_or(at, |low| low.min(at))
        };
        let lows: Vec<Time> = (0..lanes).map(low).collect();
        let closing = self.workers.iter().flat_map(|worker| worker.closing.iter().copied());
        let needed = self.calls.iter().map(|call| call.position).chain(closing).min();
        {
            let mut platter = self.pen.platter.lock().unwrap();
            let end = platter.end();
            let (before, written) = self.reported_to;
            if platter.synced() >= written {
                platter.keep_from(before);
            }
            self.reported_to = (needed.unwrap_or(end).min(written), end);
        }
        for (lane, event) in self.limits.reports(at, &lows) {
            self.write(0, lane, &event);
        }
        self.reported = clock.at();
    }

    /// Sends what is on the platter on its way.
    pub(crate) fn ship(&mut self, clock: &Clock, unsynced_too: bool) {
        let platter = self.pen.platter.lock().unwrap();
        for record in platter.readable(self.next, unsynced_too) {
            self.next = record.offset.0 + 1;
            let confirmed = || platter.confirmed(record.header.producer, record.lane);
            if self.shipping.wants(record, confirmed, clock.at()) {
                self.way[usize::from(record.lane.0)].push_back(record.clone());
            }
        }
        let away = self.way.iter().any(|way| !way.is_empty());
        if self.shipping.look(away, |producer, lane| platter.confirmed(producer, lane), clock.at()) {
            self.next = platter.first();
        }
    }

    /// Brokers take some of what is on its way in a lane.
    pub(crate) fn deliver(&mut self, road: &Road, lane: usize, most: usize) {
        for _ in 0..most {
            let Some(record) = self.way[lane].pop_front() else { return };
            road.take(record.lane, record.header, record.body);
        }
    }

    /// The lane with most on its way.
    pub(crate) fn longest(&self) -> usize {
        (0..self.way.len()).max_by_key(|lane| self.way[*lane].len()).unwrap_or(0)
    }

    /// Of what is on its way in a lane the first part is lost and the rest arrives.
    pub(crate) fn lose_first(&mut self, road: &Road, lane: usize, most: usize) {
        let lost = most.min(self.way[lane].len());
        self.way[lane].drain(..lost);
        self.deliver(road, lane, usize::MAX);
    }

    /// A delivery failed: of what was on its way nobody knows what arrived.
    pub(crate) fn lose_way(&mut self, clock: &Clock) {
        self.way.iter_mut().for_each(VecDeque::clear);
        let platter = self.pen.platter.lock().unwrap();
        self.shipping.start_over(|producer, lane| platter.confirmed(producer, lane), clock.at());
        self.next = platter.first();
    }

    pub(crate) fn position(&self) -> u64 {
        self.pen.platter.lock().unwrap().end()
    }

    /// Whether it has read what stood when it began.
    pub(crate) fn is_ready(&self) -> bool {
        self.obey.ready().load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Whether nothing of it is on its way any more.
    pub(crate) fn is_quiet(&self) -> bool {
        self.workers.iter().all(|worker| worker.is_empty)
            && self.way.iter().all(VecDeque::is_empty)
            && self.pen.platter.lock().unwrap().unconfirmed() == 0
    }
}

/// Bodies of records, for the oracle.
pub(crate) fn bodies(records: &[Record]) -> Vec<Bytes> {
    records.iter().map(|record| record.body.clone()).collect()
}
