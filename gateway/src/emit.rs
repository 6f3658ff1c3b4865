//! Events on their way to the journal: one flusher a worker.
//!
//! Whoever writes an event appends its bytes to the worker's buffer and gets a ticket; the flusher, a task of the same
//! runtime, hands everything that waits to the journal with one append and wakes them all. So a call costs no system call
//! of its own and no thread switch. A ticket is good when its event is in the hands of the operating system.
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
use schemas::{event::Event, id::Lane, wire};
use tokio::sync::Notify;

/// After this long without a finished append the journal counts as behind.
pub(crate) const BEHIND: Duration = Duration::from_secs(1);
/// How long a failed append waits before it is tried again.
const RETRY: Duration = Duration::from_millis(50);
/// The most bytes of one append, or one event that is larger: far less than the journal takes, and records are bounded.
const BATCH: usize = 8 << 20;
/// The most bytes that the buffer keeps for later after a burst.
const KEPT: usize = 1 << 20;

/// What takes the events: the journal, or in tests something that fails.
pub(crate) type Append = dyn Fn(&[Draft<'_>]) -> Result<(), journal::Error> + Send + Sync;

/// Who is told which flights are over, since their last event has been written.
pub(crate) type OnWritten = dyn Fn(&[u32]) + Send + Sync;

/// One worker's way to the journal.
pub(crate) struct Emitter {
    queue: Mutex<Queue>,
    work: Notify,
    append: Box<Append>,
    on_written: Box<OnWritten>,
}

#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    drafts: Vec<(Lane, Range<usize>)>,
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

/// A place in the buffer. As a future it ends when the event is written, or with [`Unwritten`].
pub(crate) struct Ticket {
    emitter: Arc<Emitter>,
    number: u64,
}

/// The journal could not take the event now; it stays in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unwritten;

impl Emitter {
    /// `on_written` is told the flights whose last event has been written.
    pub(crate) fn new(append: Box<Append>, on_written: Box<OnWritten>) -> Arc<Self> {
        Arc::new(Self { queue: Mutex::default(), work: Notify::new(), append, on_written })
    }

    /// Appends an event to the buffer; `closes` is a flight that ends with it.
    pub(crate) fn write(self: &Arc<Self>, lane: Lane, event: &Event, closes: Option<u32>) -> Ticket {
        let mut queue = self.lock();
        let start = queue.bytes.len();
        wire::encode_event_into(event, &mut queue.bytes);
        let end = queue.bytes.len();
        queue.drafts.push((lane, start..end));
        queue.last += 1;
        let last = queue.last;
        queue.closing.extend(closes.map(|flight| (last, flight)));
        let number = queue.last;
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
    pub(crate) fn flush(&self) -> Result<bool, journal::Error> {
        let (bytes, drafts, last) = {
            let mut queue = self.lock();
            if queue.drafts.is_empty() {
                return Ok(false);
            }
            queue.batch()
        };
        let started = Instant::now();
        let list: Vec<Draft<'_>> = drafts
            .iter()
            .filter_map(|(lane, range)| Some(Draft { lane: *lane, body: bytes.get(range.clone())? }))
            .collect();
        let result = (self.append)(&list);
        drop(list);
        let mut queue = self.lock();
        queue.slow = started.elapsed() > BEHIND;
        let closed = if result.is_ok() {
            queue.written = last;
            queue.failing_since = None;
            if bytes.capacity() <= KEPT {
                queue.spare = bytes;
                queue.spare.clear();
            }
            let done = queue.closing.partition_point(|(number, _)| *number <= last);
            queue.closing.drain(..done).map(|(_, flight)| flight).collect()
        } else {
            queue.failed = last;
            queue.failing_since.get_or_insert(started);
            queue.put_back(bytes, drafts);
            Vec::new()
        };
        let waiters = std::mem::take(&mut queue.waiters);
        let more = !queue.drafts.is_empty();
        drop(queue);
        (self.on_written)(&closed);
        waiters.into_iter().for_each(Waker::wake);
        result.map(|()| more)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Events on their way: their bytes, where each is, and the number of the last.
type Batch = (Vec<u8>, Vec<(Lane, Range<usize>)>, u64);

impl Queue {
    /// Takes what waits, up to a batch: what piled up while nothing could be written may be more than the journal takes at once.
    fn batch(&mut self) -> Batch {
        let fits = self.drafts.partition_point(|(_, range)| range.end <= BATCH).max(1);
        let later = self.drafts.split_off(fits.min(self.drafts.len()));
        let at = later.first().map_or(self.bytes.len(), |(_, range)| range.start);
        let mut rest = std::mem::take(&mut self.spare);
        rest.extend_from_slice(self.bytes.get(at..).unwrap_or_default());
        self.bytes.truncate(at);
        let number = self.last - later.len() as u64;
        let later = later.into_iter().map(|(lane, range)| (lane, range.start - at..range.end - at)).collect();
        (std::mem::replace(&mut self.bytes, rest), std::mem::replace(&mut self.drafts, later), number)
    }

    /// Puts events that could not be written before those that came since.
    fn put_back(&mut self, mut bytes: Vec<u8>, mut drafts: Vec<(Lane, Range<usize>)>) {
        let shift = bytes.len();
        bytes.append(&mut self.bytes);
        drafts.extend(self.drafts.drain(..).map(|(lane, range)| (lane, range.start + shift..range.end + shift)));
        self.bytes = bytes;
        self.drafts = drafts;
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
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use schemas::{event::Reported, time::Time};

    use super::*;

    fn event(at: i64) -> Event {
        let at = Time::from_micros(at);
        Event::Reported(Reported { at, low_watermark: at, counters: Vec::new(), last: false })
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_told_kept_in_order_and_written_later() {
        let (full, appends) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
        let written: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let closed: Arc<Mutex<Vec<u32>>> = Arc::default();
        let (is_full, count, kept, ended) = (full.clone(), appends.clone(), written.clone(), closed.clone());
        let append = move |drafts: &[Draft<'_>]| {
            count.fetch_add(1, Ordering::Relaxed);
            if is_full.load(Ordering::Relaxed) {
                return Err(journal::Error::Closed);
            }
            kept.lock().unwrap().extend(drafts.iter().map(|draft| draft.body.to_vec()));
            Ok(())
        };
        let on_written = move |flights: &[u32]| ended.lock().unwrap().extend_from_slice(flights);
        let emitter = Emitter::new(Box::new(append), Box::new(on_written));
        let flusher = tokio::spawn(Arc::clone(&emitter).run());
        let (first, second) = (emitter.write(Lane(0), &event(1), Some(7)), emitter.write(Lane(0), &event(2), None));
        assert_eq!((first.await, second.await), (Err(Unwritten), Err(Unwritten)));
        assert!(emitter.failing() && closed.lock().unwrap().is_empty());
        let third = emitter.write(Lane(0), &event(3), Some(8));
        full.store(false, Ordering::Relaxed);
        // It may be told of one more failure; its event is written all the same.
        let _ = third.await;
        assert_eq!(emitter.write(Lane(0), &event(4), None).await, Ok(()));
        let wanted: Vec<Vec<u8>> = (1..=4).map(|at| wire::encode_event(&event(at))).collect();
        assert_eq!(*written.lock().unwrap(), wanted);
        assert_eq!(*closed.lock().unwrap(), [7, 8]);
        assert!(!emitter.failing() && !emitter.behind());
        flusher.abort();
    }

    #[tokio::test]
    async fn what_piled_up_is_written_in_batches() {
        let written: Arc<Mutex<Vec<usize>>> = Arc::default();
        let closed: Arc<Mutex<Vec<u32>>> = Arc::default();
        let (kept, ended) = (written.clone(), closed.clone());
        let append = move |drafts: &[Draft<'_>]| {
            kept.lock().unwrap().push(drafts.iter().map(|draft| draft.body.len()).sum());
            Ok(())
        };
        let on_written = move |flights: &[u32]| ended.lock().unwrap().extend_from_slice(flights);
        let emitter = Emitter::new(Box::new(append), Box::new(on_written));
        let large = |gateway: usize| {
            let opened = schemas::event::Opened { gateway: "g".repeat(gateway), at: Time::ZERO, predecessor: None };
            Event::Opened(opened)
        };
        let tickets = [3 << 20, 3 << 20, 3 << 20, 9 << 20, 1].map(large);
        let tickets: Vec<Ticket> =
            tickets.iter().zip(1..).map(|(event, flight)| emitter.write(Lane(0), event, Some(flight))).collect();
        assert!(emitter.flush().unwrap());
        assert_eq!(*closed.lock().unwrap(), [1, 2]);
        while emitter.flush().unwrap() {}
        assert!(futures::future::join_all(tickets).await.iter().all(Result::is_ok));
        let sizes: Vec<usize> = written.lock().unwrap().iter().map(|size| size >> 20).collect();
        assert_eq!((sizes, closed.lock().unwrap().clone()), (vec![6, 3, 9, 0], vec![1, 2, 3, 4, 5]));
    }

    #[tokio::test]
    async fn one_append_takes_all_that_waits() {
        let appends = Arc::new(AtomicUsize::new(0));
        let count = appends.clone();
        let append = move |_: &[Draft<'_>]| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        let emitter = Emitter::new(Box::new(append), Box::new(|_| {}));
        let flusher = tokio::spawn(Arc::clone(&emitter).run());
        let tickets: Vec<Ticket> = (0..100).map(|at| emitter.write(Lane(0), &event(at), None)).collect();
        assert!(futures::future::join_all(tickets).await.iter().all(Result::is_ok));
        assert_eq!(appends.load(Ordering::Relaxed), 1);
        flusher.abort();
    }
}
