//! A producer of its own, for a command that tells metering something: it opens a journal as a gateway does, writes, waits for
//! metering's word, and says goodbye, so that no watermark waits for it.
//!
//! On the embedded log the command is the one process, so it keeps the books itself meanwhile. On Kafka it has an outbox beside the
//! configured one, which stays: what a command that died had written is sent by the next.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use journal::{Draft, Follower, Journal, Road};
use metering::Metering;
use schemas::{
    config::{Config, Log},
    decision::{Key, State},
    event::{Event, Reported},
    id::{Lane, ProducerId},
    time, wire,
};

use crate::{
    failure::Failure,
    history::{LOOK, PATIENCE, Passages},
    roles::open_road,
};

/// The bytes of events that wait to be appended together; the journal takes far more at once.
const BATCH: usize = 1 << 20;

/// What stands for a gateway's name where a command tells something.
pub(crate) const NAME: &str = "tollgate command";

/// A command's way to metering.
pub(crate) struct Scribe {
    road: Arc<dyn Road>,
    journal: Arc<Journal>,
    follower: Box<dyn Follower>,
    passages: Passages,
    /// What lanes had passed to each other when it was opened.
    before: Option<Passages>,
    books: Option<Books>,
    batch: Vec<(Lane, Vec<u8>)>,
    bytes: usize,
}

/// Metering in this process.
struct Books {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), metering::Error>>,
}

impl Scribe {
    /// Opens the log of a configuration, and has all that was written before taken in.
    pub(crate) fn open(config: &Config) -> Result<Self, Failure> {
        let mut config = config.clone();
        if let Log::Kafka(kafka) = &mut config.log {
            let mut name = kafka.outbox.file_name().unwrap_or_default().to_owned();
            name.push("-commands");
            kafka.outbox.set_file_name(name);
        }
        let road = open_road(&config)?;
        let journal = road.journal()?;
        gateway::recover::recover(&journal, road.lanes(), NAME)?;
        let books = match config.log {
            Log::Disk { .. } => Some(Books::keep(&road)?),
            Log::Kafka(_) => None,
        };
        let follower = road.follower()?;
        let passages = Passages::default();
        let mut scribe = Self { road, journal, follower, passages, before: None, books, batch: Vec::new(), bytes: 0 };
        scribe.confirmed()?;
        Ok(scribe)
    }

    /// What it is to metering.
    pub(crate) fn producer(&self) -> ProducerId {
        self.journal.producer()
    }

    /// The log.
    pub(crate) fn road(&self) -> &dyn Road {
        &*self.road
    }

    /// Writes an event to a lane.
    pub(crate) fn write(&mut self, lane: Lane, event: &Event) -> Result<(), Failure> {
        let body = wire::encode_event(event);
        self.bytes += body.len();
        self.batch.push((lane, body));
        if self.bytes >= BATCH { self.append() } else { Ok(()) }
    }

    fn append(&mut self) -> Result<(), Failure> {
        let drafts: Vec<Draft<'_>> = self.batch.iter().map(|(lane, body)| Draft { lane: *lane, body }).collect();
        if !drafts.is_empty() {
            self.journal.append(&drafts)?;
        }
        self.batch.clear();
        self.bytes = 0;
        Ok(())
    }

    /// Waits until metering has taken all that was written, in every lane that it moves counters of.
    pub(crate) fn confirmed(&mut self) -> Result<(), Failure> {
        self.append()?;
        self.journal.sync()?;
        let (mut heard, mut left, mut then) = (Instant::now(), self.journal.unconfirmed(), None);
        while left > 0 {
            for change in self.follower.poll(LOOK)? {
                let key = wire::decode_key(&change.key)?;
                if let (Key::Lane(lane), Some(state)) = (key, change.state)
                    && let State::Lane(state) = wire::decode_state(&key, &state)?
                {
                    state.producers.iter().for_each(|mark| self.journal.confirm(mark.producer, lane, mark.seq));
                    self.passages.hear(lane, &state);
                }
            }
            let mut now = self.journal.unconfirmed();
            if now == 0 {
                let then = then.get_or_insert_with(|| self.passages.clone());
                let since = self.before.get_or_insert_with(|| then.clone());
                now = self.passages.missing_since(since, then);
            }
            let before = std::mem::replace(&mut left, now);
            if left < before {
                heard = Instant::now();
            }
            if self.books.as_ref().is_some_and(|books| books.thread.is_finished()) {
                self.books.take().map_or(Ok(()), Books::end)?;
            }
            if heard.elapsed() > PATIENCE {
                let dir = self.journal.dir().display().to_string();
                let why = format!(
                    "metering has not taken {left} events for {} s; is it running? They stay in {dir}, and the next such command \
                     sends them",
                    PATIENCE.as_secs()
                );
                return Err(why.into());
            }
        }
        Ok(())
    }

    /// Says that nothing more comes, and ends.
    pub(crate) fn leave(mut self) -> Result<(), Failure> {
        let now = time::now();
        let goodbye = Reported { at: now, low_watermark: now, counters: Vec::new(), last: true };
        let goodbye = Event::Reported(goodbye);
        for lane in 0..self.road.lanes() {
            self.write(Lane(lane), &goodbye)?;
        }
        self.confirmed()?;
        let kept = self.books.take().map_or(Ok(()), Books::end);
        self.road.close()?;
        kept
    }
}

impl Books {
    fn keep(road: &Arc<dyn Road>) -> Result<Self, Failure> {
        let (stop, metering) = (Arc::new(AtomicBool::new(false)), Metering::new(Arc::clone(road)));
        let flag = Arc::clone(&stop);
        let thread = thread::Builder::new().name("metering".into()).spawn(move || metering.run(&flag))?;
        Ok(Self { stop, thread })
    }

    fn end(self) -> Result<(), Failure> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.join() {
            Ok(done) => Ok(done?),
            Err(_) => Err("metering broke off; the log is as it was committed".into()),
        }
    }
}
