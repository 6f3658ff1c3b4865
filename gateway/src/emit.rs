//! Events on their way to the journal: one flusher a worker.
//!
//! Whoever writes an event appends its bytes to the worker's buffer and gets a ticket; the flusher, a task of the same
//! runtime, hands everything that waits to the journal with one append and wakes them all. So a call costs no system call
//! of its own and no thread switch. A ticket is good when its event is in the hands of the operating system.
//! What ends an attempt gets its counters when it is written, and not before.
//!
//! An append that fails loses nothing: its events stay in the buffer, in order, and are tried again, while those who wait
//! are told and new calls are refused.

use std::{
    future::Future,
    ops::Range,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use journal::Draft;
use schemas::{
    event::{Event, Settled},
    id::Lane,
    wire,
};
use tokio::sync::Notify;

use crate::limits::{Limits, Settling};

/// After this long without a finished append the journal counts as behind.
pub(crate) const BEHIND: Duration = Duration::from_secs(1);
/// How long a failed append waits before it is tried again.
const RETRY: Duration = Duration::from_millis(50);
/// One append ends with the event that reaches so many bytes: far less than the journal takes, and records are bounded.
const BATCH: usize = 8 << 20;
/// The most bytes that the buffer keeps for later after a burst.
const KEPT: usize = 1 << 20;

/// Who is told which flights are over, since their last event has been written.
pub type OnWritten = dyn Fn(&[u32]) + Send + Sync;

/// One worker's way to the journal.
pub struct Emitter {
    queue: Mutex<Queue>,
    work: Notify,
    limits: Arc<Limits>,
    on_written: Box<OnWritten>,
}

#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    events: Vec<Waiting>,
    /// Flights, each over once its last event, of this number, is written.
    closing: Vec<(u64, u32)>,
    last: u64,
    written: u64,
    failed: u64,
    failing_since: Option<Instant>,
    slow: bool,
    waiters: Vec<Waker>,
    spare: Vec<u8>,
}

/// An event that waits.
struct Waiting {
    lane: Lane,
    /// Where its bytes are.
    place: Range<usize>,
    /// What ends an attempt: it gets its counters, and its bytes, when it is written.
    end: Option<Box<Settled>>,
}

/// A place in the buffer. As a future it ends when the event is written, or with [`Unwritten`].
pub struct Ticket {
    emitter: Arc<Emitter>,
    number: u64,
}

/// The journal could not take the event now; it stays in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unwritten;

impl Emitter {
    /// A way to the journal of these limits. `on_written` is told the flights whose last event has been written.
    pub fn new(limits: Arc<Limits>, on_written: Box<OnWritten>) -> Arc<Self> {
        Arc::new(Self { queue: Mutex::default(), work: Notify::new(), limits, on_written })
    }

    /// Appends an event to the buffer; `closes` is a flight that ends with it.
    pub fn write(self: &Arc<Self>, lane: Lane, event: &Event, closes: Option<u32>) -> Ticket {
        self.queued(closes, |queue| {
            let start = queue.bytes.len();
            wire::encode_event_into(event, &mut queue.bytes);
            queue.events.push(Waiting { lane, place: start..queue.bytes.len(), end: None });
        })
    }

    /// The same for the record of an attempt that has ended: what it used counts once it is written.
    pub fn end(self: &Arc<Self>, lane: Lane, settled: Settled, closes: Option<u32>) -> Ticket {
        let end = Some(Box::new(settled));
        self.queued(closes, |queue| queue.events.push(Waiting { lane, place: 0..0, end }))
    }

    fn queued(self: &Arc<Self>, closes: Option<u32>, push: impl FnOnce(&mut Queue)) -> Ticket {
        let mut queue = self.lock();
        push(&mut queue);
        queue.last += 1;
        let number = queue.last;
        queue.closing.extend(closes.map(|flight| (number, flight)));
        drop(queue);
        self.work.notify_one();
        Ticket { emitter: Arc::clone(self), number }
    }

    /// Whether calls under a hard limit have to be refused, since what they do could not be recorded in time.
    pub(crate) fn behind(&self) -> bool {
        let queue = self.lock();
        queue.slow || queue.failing_since.is_some_and(|since| since.elapsed() > BEHIND)
    }

    /// Whether the last append failed.
    pub(crate) fn failing(&self) -> bool {
        self.lock().failing_since.is_some()
    }

    /// Writes what is there whenever something is there, for ever.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            self.work.notified().await;
            loop {
                match self.flush() {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(_) => tokio::time::sleep(RETRY).await,
                }
            }
        }
    }

    /// One append of what waits, up to a batch; says whether more does.
    pub fn flush(&self) -> Result<bool, journal::Error> {
        let started = Instant::now();
        let mut batch = self.lock().take();
        if batch.events.is_empty() {
            return Ok(false);
        }
        let own = batch.bytes.len();
        // The order of counters is that of records, so it is held until they are written.
        let mut settling = batch.events.iter().any(|event| event.end.is_some()).then(|| self.limits.settling());
        let count = batch.encode(settling.as_mut());
        let result = self.limits.write(&batch.drafts(count));
        let tried = batch.last - (batch.events.len() - count) as u64;
        if result.is_ok() {
            settling.into_iter().for_each(Settling::written);
            drop(batch.events.drain(..count));
        }
        let mut queue = self.lock();
        queue.slow = started.elapsed() > BEHIND;
        let closed = if result.is_ok() {
            queue.written = tried;
            queue.failing_since = None;
            let done = queue.closing.partition_point(|(number, _)| *number <= tried);
            queue.closing.drain(..done).map(|(_, flight)| flight).collect()
        } else {
            queue.failed = tried;
            queue.failing_since.get_or_insert(started);
            Vec::new()
        };
        if !batch.events.is_empty() {
            queue.put_back(batch, own);
        } else if batch.bytes.capacity() <= KEPT {
            queue.spare = batch.bytes;
            queue.spare.clear();
        }
        let waiters = std::mem::take(&mut queue.waiters);
        let more = !queue.events.is_empty();
        drop(queue);
        (self.on_written)(&closed);
        waiters.into_iter().for_each(Waker::wake);
        result.map(|()| more)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Events that are being written.
struct Batch {
    bytes: Vec<u8>,
    events: Vec<Waiting>,
    /// The number of the last of them.
    last: u64,
}

impl Batch {
    /// Gives the ends of attempts their counters and bytes, from the first event on, up to as much as the journal takes at once: what piled
    /// up while nothing could be written may be more. Says how many events that are.
    fn encode(&mut self, mut settling: Option<&mut Settling<'_>>) -> usize {
        let (mut count, mut size) = (0, 0);
        for event in &mut self.events {
            if let Some(mut settled) = event.end.take() {
                let counters = settling.as_mut().map(|settling| settling.counters(event.lane, &settled.posted));
                settled.counters = counters.unwrap_or_default();
                let start = self.bytes.len();
                let end = Event::Settled(settled);
                wire::encode_event_into(&end, &mut self.bytes);
                event.place = start..self.bytes.len();
                if let Event::Settled(settled) = end {
                    event.end = Some(settled);
                }
            }
            (count, size) = (count + 1, size + event.place.len());
            if size >= BATCH {
                break;
            }
        }
        count
    }

    fn drafts(&self, count: usize) -> Vec<Draft<'_>> {
        let draft = |event: &Waiting| Some(Draft { lane: event.lane, body: self.bytes.get(event.place.clone())? });
        self.events.iter().take(count).filter_map(draft).collect()
    }
}

impl Queue {
    /// Takes what waits.
    fn take(&mut self) -> Batch {
        let bytes = std::mem::replace(&mut self.bytes, std::mem::take(&mut self.spare));
        Batch { bytes, events: std::mem::take(&mut self.events), last: self.last }
    }

    /// Puts events that were not written before those that came since. `own` bytes are theirs; what was encoded behind is made anew.
    fn put_back(&mut self, Batch { mut bytes, mut events, .. }: Batch, own: usize) {
        bytes.truncate(own);
        // Those before it are written.
        let kept = events.iter().find(|event| event.end.is_none()).map_or(own, |event| event.place.start);
        drop(bytes.drain(..kept));
        let behind = own - kept;
        bytes.append(&mut self.bytes);
        events.iter_mut().filter(|event| event.end.is_none()).for_each(|event| {
            event.place = event.place.start - kept..event.place.end - kept;
        });
        events.extend(self.events.drain(..).map(|event| {
            let place = event.place.start + behind..event.place.end + behind;
            Waiting { place, ..event }
        }));
        (self.bytes, self.events) = (bytes, events);
    }
}

impl Future for Ticket {
    type Output = Result<(), Unwritten>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut queue = self.emitter.lock();
        if queue.written >= self.number {
            Poll::Ready(Ok(()))
        } else if queue.failed >= self.number {
            Poll::Ready(Err(Unwritten))
        } else {
            queue.waiters.push(cx.waker().clone());
            Poll::Pending
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use schemas::{event::Reported, id::ProducerId, time::Time};

    use super::*;
    use crate::limits::{Outlet, tests::Paper};

    /// A way to a sheet of paper, and the flights that are over.
    fn emitter() -> (Arc<Emitter>, Arc<Paper>, Arc<Mutex<Vec<u32>>>) {
        let (paper, closed) = (Arc::new(Paper::default()), Arc::<Mutex<Vec<u32>>>::default());
        let limits = Limits::over(ProducerId::from_bytes([7; 16]), Arc::clone(&paper) as Arc<dyn Outlet>, 1);
        let over = Arc::clone(&closed);
        let on_written = move |flights: &[u32]| over.lock().unwrap().extend_from_slice(flights);
        (Emitter::new(limits, Box::new(on_written)), paper, closed)
    }

    fn event(at: i64) -> Event {
        let at = Time::from_micros(at);
        Event::Reported(Reported { at, low_watermark: at, counters: Vec::new(), last: false })
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_told_kept_in_order_and_written_later() {
        let (emitter, paper, closed) = emitter();
        paper.full.store(true, Ordering::Relaxed);
        let flusher = tokio::spawn(Arc::clone(&emitter).run());
        let (first, second) = (emitter.write(Lane(0), &event(1), Some(7)), emitter.write(Lane(0), &event(2), None));
        assert_eq!((first.await, second.await), (Err(Unwritten), Err(Unwritten)));
        assert!(emitter.failing() && closed.lock().unwrap().is_empty());
        let third = emitter.write(Lane(0), &event(3), Some(8));
        paper.full.store(false, Ordering::Relaxed);
        // It may be told of one more failure; its event is written all the same.
        let _ = third.await;
        assert_eq!(emitter.write(Lane(0), &event(4), None).await, Ok(()));
        assert_eq!(*paper.written.lock().unwrap(), (1..=4).map(event).collect::<Vec<_>>());
        assert_eq!(*closed.lock().unwrap(), [7, 8]);
        assert!(!emitter.failing() && !emitter.behind());
        flusher.abort();
    }

    #[tokio::test]
    async fn what_piled_up_is_written_in_batches() {
        let (emitter, paper, closed) = emitter();
        let large = |gateway: usize| {
            let opened = schemas::event::Opened { gateway: "g".repeat(gateway), at: Time::ZERO, predecessor: None };
            Event::Opened(opened)
        };
        let tickets = [3 << 20, 3 << 20, 3 << 20, 9 << 20, 1].map(large);
        let tickets: Vec<Ticket> =
            tickets.iter().zip(1..).map(|(event, flight)| emitter.write(Lane(0), event, Some(flight))).collect();
        assert!(emitter.flush().unwrap());
        assert_eq!(*closed.lock().unwrap(), [1, 2, 3]);
        while emitter.flush().unwrap() {}
        assert!(futures::future::join_all(tickets).await.iter().all(Result::is_ok));
        let sizes: Vec<usize> = paper.sizes.lock().unwrap().iter().map(|size| size >> 20).collect();
        assert_eq!((sizes, closed.lock().unwrap().clone()), (vec![9, 9, 0], vec![1, 2, 3, 4, 5]));
    }

    #[tokio::test]
    async fn one_append_takes_all_that_waits() {
        let (emitter, paper, _) = emitter();
        let flusher = tokio::spawn(Arc::clone(&emitter).run());
        let tickets: Vec<Ticket> = (0..100).map(|at| emitter.write(Lane(0), &event(at), None)).collect();
        assert!(futures::future::join_all(tickets).await.iter().all(Result::is_ok));
        assert_eq!(paper.sizes.lock().unwrap().len(), 1);
        flusher.abort();
    }
}
