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
/// The most bytes that the buffer keeps for later after a burst.
const KEPT: usize = 1 << 20;

/// What takes the events: the journal, or in tests something that fails.
pub(crate) type Append = dyn Fn(&[Draft<'_>]) -> Result<(), journal::Error> + Send + Sync;

/// One worker's way to the journal.
pub(crate) struct Emitter {
    queue: Mutex<Queue>,
    work: Notify,
    append: Box<Append>,
    on_written: Box<dyn Fn(&[u32]) + Send + Sync>,
}

#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    drafts: Vec<(Lane, Range<usize>)>,
    /// Flights that are over once this is written.
    closing: Vec<u32>,
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
    pub(crate) fn new(append: Box<Append>, on_written: Box<dyn Fn(&[u32]) + Send + Sync>) -> Arc<Self> {
        Arc::new(Self { queue: Mutex::default(), work: Notify::new(), append, on_written })
    }

    /// Appends an event to the buffer; `closes` is a flight that ends with it.
    pub(crate) fn write(self: &Arc<Self>, lane: Lane, event: &Event, closes: Option<u32>) -> Ticket {
        let mut queue = self.lock();
        let start = queue.bytes.len();
        wire::encode_event_into(event, &mut queue.bytes);
        let end = queue.bytes.len();
        queue.drafts.push((lane, start..end));
        queue.closing.extend(closes);
        queue.last += 1;
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
            while self.flush().is_err() {
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// One append of all that waits.
    pub(crate) fn flush(&self) -> Result<(), journal::Error> {
        let (bytes, drafts, last) = {
            let mut queue = self.lock();
            if queue.drafts.is_empty() {
                return Ok(());
            }
            let spare = std::mem::take(&mut queue.spare);
            (std::mem::replace(&mut queue.bytes, spare), std::mem::take(&mut queue.drafts), queue.last)
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
            std::mem::take(&mut queue.closing)
        } else {
            queue.failed = last;
            queue.failing_since.get_or_insert(started);
            queue.put_back(bytes, drafts);
            Vec::new()
        };
        let waiters = std::mem::take(&mut queue.waiters);
        drop(queue);
        (self.on_written)(&closed);
        waiters.into_iter().for_each(Waker::wake);
        result
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
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
