//! The attempts that are open at a worker: their deadlines, and for each lane the instant before which nothing is admitted any more.
//!
//! Deadlines are looked at four times a second, all at once, instead of with a timer for each call and frame. An attempt
//! stays in the list until its last event is written, since the low watermark promises that nothing older is to come.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::task::AtomicWaker;
use journal::Position;
use schemas::{
    id::Lane,
    time::{Time, now},
};

/// How often the deadlines are looked at.
pub(crate) const EVERY: Duration = Duration::from_millis(250);

/// The attempts open at one worker.
pub(crate) struct Flights {
    slots: Mutex<Slots>,
    epoch: Instant,
}

#[derive(Default)]
struct Slots {
    flights: Vec<Option<Flight>>,
    free: Vec<u32>,
}

struct Flight {
    lane: Lane,
    /// No admission of its call is earlier.
    opened_at: Time,
    /// A place in the journal that is not after its first record.
    position: Position,
    watch: Arc<Watch>,
}

/// What the sweep and the owner of an attempt share. Times are milliseconds since the worker began.
pub(crate) struct Watch {
    epoch: Instant,
    progress_ms: AtomicU64,
    /// The longest silence allowed now.
    patience_ms: AtomicU64,
    ends_ms: AtomicU64,
    /// The silence after which the owner wants to be woken; it is no fault.
    nudge_ms: AtomicU64,
    fired: AtomicU8,
    waker: AtomicWaker,
}

/// Why an attempt has to end now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fired {
    /// A deadline passed.
    TimedOut,
    /// The gateway is going down.
    Cut,
}

impl Flights {
    pub(crate) fn new() -> Self {
        Self { slots: Mutex::default(), epoch: Instant::now() }
    }

    /// Opens a flight now. That instant is taken under the lock, so that no watermark taken later is above it; what it will be admitted
    /// at, after it has waited for its holds, is not before it.
    pub(crate) fn open(&self, lane: Lane, position: Position) -> (u32, Time, Arc<Watch>) {
        let watch = Arc::new(Watch::new(self.epoch));
        let mut slots = self.lock();
        let opened_at = now();
        let flight = Some(Flight { lane, opened_at, position, watch: Arc::clone(&watch) });
        let reused = slots.free.pop();
        let index = match reused.and_then(|index| Some((index, slots.flights.get_mut(index as usize)?))) {
            Some((index, slot)) => {
                *slot = flight;
                index
            }
            None => {
                slots.flights.push(flight);
                u32::try_from(slots.flights.len() - 1).unwrap_or(u32::MAX)
            }
        };
        (index, opened_at, watch)
    }

    /// A flight goes on with another attempt, from now on and not before the first one began. Its own time stays the first one's: until the call is over nothing
    /// newer than that is complete.
    pub(crate) fn go_on(&self, index: u32) -> (Time, Arc<Watch>) {
        let watch = Arc::new(Watch::new(self.epoch));
        let mut slots = self.lock();
        let mut opened_at = now();
        if let Some(Some(flight)) = slots.flights.get_mut(index as usize) {
            flight.watch = Arc::clone(&watch);
            // The clock may have gone back.
            opened_at = opened_at.max(flight.opened_at);
        }
        (opened_at, watch)
    }

    /// Forgets flights.
    pub(crate) fn close(&self, indexes: &[u32]) {
        if indexes.is_empty() {
            return;
        }
        let mut slots = self.lock();
        for index in indexes {
            if slots.flights.get_mut(*index as usize).is_some_and(|slot| slot.take().is_some()) {
                slots.free.push(*index);
            }
        }
    }

    /// How many are open.
    pub(crate) fn count(&self) -> usize {
        let slots = self.lock();
        slots.flights.len() - slots.free.len()
    }

    /// Lowers each lane's entry to the earliest instant of an admission that is open here or may still be made.
    pub(crate) fn oldest(&self, lanes: &mut [Time]) {
        for flight in self.lock().flights.iter().flatten() {
            if let Some(low) = lanes.get_mut(usize::from(flight.lane.0)) {
                *low = (*low).min(flight.opened_at);
            }
        }
    }

    /// The first place in the journal that is needed for what is open, if it is before `end`.
    pub(crate) fn needed_from(&self, end: Position) -> Position {
        self.lock().flights.iter().flatten().map(|flight| flight.position).min().map_or(end, |first| first.min(end))
    }

    /// Wakes those whose time has come.
    pub(crate) fn sweep(&self) {
        let at = millis(self.epoch.elapsed());
        for flight in self.lock().flights.iter().flatten() {
            flight.watch.look(at);
        }
    }

    /// Ends all: the gateway is going down.
    pub(crate) fn cut(&self) {
        for flight in self.lock().flights.iter().flatten() {
            flight.watch.fire(CUT);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const TIMED_OUT: u8 = 1;
const CUT: u8 = 2;

impl Watch {
    fn new(epoch: Instant) -> Self {
        let never = || AtomicU64::new(u64::MAX);
        Self {
            epoch,
            progress_ms: AtomicU64::new(millis(epoch.elapsed())),
            patience_ms: never(),
            ends_ms: never(),
            nudge_ms: never(),
            fired: AtomicU8::new(0),
            waker: AtomicWaker::new(),
        }
    }

    /// From now on: how long a silence may be.
    pub(crate) fn allow(&self, silence: Duration) {
        self.patience_ms.store(millis(silence), Ordering::Relaxed);
        self.progress();
    }

    /// When it has to be over.
    pub(crate) fn end_within(&self, span: Duration) {
        let at = millis(self.epoch.elapsed()).saturating_add(millis(span));
        self.ends_ms.fetch_min(at, Ordering::Relaxed);
    }

    /// After what silence the owner wants to be woken.
    pub(crate) fn nudge_after(&self, silence: Duration) {
        self.nudge_ms.store(millis(silence), Ordering::Relaxed);
    }

    /// Something came.
    pub(crate) fn progress(&self) {
        self.progress_ms.store(millis(self.epoch.elapsed()), Ordering::Relaxed);
    }

    /// How long nothing came.
    pub(crate) fn silence(&self) -> Duration {
        let at = millis(self.epoch.elapsed());
        Duration::from_millis(at.saturating_sub(self.progress_ms.load(Ordering::Relaxed)))
    }

    /// Says whom to wake, then whether it has to end. In this order, so that nothing is missed.
    pub(crate) fn fired(&self, waker: &std::task::Waker) -> Option<Fired> {
        self.waker.register(waker);
        match self.fired.load(Ordering::Acquire) {
            TIMED_OUT => Some(Fired::TimedOut),
            CUT => Some(Fired::Cut),
            _ => None,
        }
    }

    fn look(&self, at: u64) {
        let silence = at.saturating_sub(self.progress_ms.load(Ordering::Relaxed));
        if silence > self.patience_ms.load(Ordering::Relaxed) || at > self.ends_ms.load(Ordering::Relaxed) {
            self.fire(TIMED_OUT);
        } else if silence > self.nudge_ms.load(Ordering::Relaxed) {
            self.waker.wake();
        }
    }

    fn fire(&self, why: u8) {
        let _ = self.fired.compare_exchange(0, why, Ordering::AcqRel, Ordering::Relaxed);
        self.waker.wake();
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_open_attempt_of_a_lane_holds_its_watermark() {
        let flights = Flights::new();
        let (first, at, _) = flights.open(Lane(1), Position(0));
        let (second, _, _) = flights.open(Lane(1), Position(0));
        let mut lanes = [Time::MAX; 2];
        flights.oldest(&mut lanes);
        assert_eq!(lanes, [Time::MAX, at]);
        flights.close(&[first, first]);
        assert_eq!(flights.count(), 1);
        let (third, ..) = flights.open(Lane(0), Position(0));
        assert_eq!(third, first);
        flights.close(&[second, third]);
        assert_eq!(flights.count(), 0);
    }

    #[test]
    fn a_silence_fires_once_and_a_cut_does_not_replace_it() {
        let flights = Flights::new();
        let (_, _, watch) = flights.open(Lane(0), Position(0));
        let waker = futures::task::noop_waker();
        watch.allow(Duration::from_millis(10));
        watch.look(5);
        assert_eq!(watch.fired(&waker), None);
        watch.look(1_000_000);
        assert_eq!(watch.fired(&waker), Some(Fired::TimedOut));
        flights.cut();
        assert_eq!(watch.fired(&waker), Some(Fired::TimedOut));
    }
}
