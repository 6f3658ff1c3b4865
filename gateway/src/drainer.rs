//! Answers whose client went away: read to their end, so that what they cost is known.
//!
//! Bounded in number, time and bytes. Beyond that, and where only a slice is held of what could still come, the upstream connection is
//! closed and the attempt settles with what was seen, which takes no longer than to count it; the rest of its hold stays held.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
};

use crate::{
    attempt::Attempt,
    heading::Plan,
    relay::Flow,
    settlement::End,
    sweep::Fired,
    upstream::{Answer, SendError, Sending},
};

/// The most attempts that are drained at once, in all workers together.
pub(crate) const MOST: usize = 100;
/// The most bytes that are read of one.
const MOST_BYTES: usize = 8 << 20;

/// Takes over what clients left.
#[derive(Clone)]
pub(crate) struct Drainer {
    slots: Arc<Semaphore>,
    runtime: Handle,
    /// The longest that one is drained; where that is nothing none is.
    longest: Duration,
}

impl Drainer {
    /// A drainer on this runtime; `slots` is shared by all workers.
    pub(crate) fn new(slots: Arc<Semaphore>, runtime: Handle, longest: Duration) -> Self {
        Self { slots, runtime, longest }
    }

    /// A place to drain an attempt in, unless it is closed at once.
    fn slot(&self, attempt: &Attempt) -> Option<OwnedSemaphorePermit> {
        let is_drained = !self.longest.is_zero() && !attempt.may_outgrow();
        Arc::clone(&self.slots).try_acquire_owned().ok().filter(|_| is_drained)
    }

    /// Reads an answer to its end without its client.
    pub(crate) fn take(&self, mut flow: Box<Flow>) {
        let (slot, longest) = (self.slot(flow.attempt()), self.longest);
        flow.leave_client();
        if slot.is_none() {
            flow.close();
        }
        self.runtime.spawn(async move {
            match slot {
                Some(_slot) => drain(&mut flow, longest).await,
                None => flow.leave(End::ClientGone).await,
            }
        });
    }

    /// Waits for the head of an answer without its client, and then reads it to its end.
    pub(crate) fn take_sending(&self, sending: Sending, mut attempt: Attempt, plan: Plan) {
        let Some(slot) = self.slot(&attempt) else {
            drop(attempt.settle(End::ClientGone, None));
            return;
        };
        let longest = self.longest;
        self.runtime.spawn(async move {
            let waiting = Waiting { sending, attempt: Some(attempt) };
            if let Ok(Some((attempt, answer))) = tokio::time::timeout(longest, waiting).await {
                let mut flow = plan.flow(attempt, answer);
                flow.leave_client();
                drain(&mut flow, longest).await;
            }
            drop(slot);
        });
    }
}

async fn drain(flow: &mut Flow, longest: Duration) {
    let mut left = MOST_BYTES;
    let all = async {
        while let Some(Ok(bytes)) = poll_fn(|cx| flow.poll_next(cx)).await {
            match left.checked_sub(bytes.len()) {
                Some(less) => left = less,
                None => break,
            }
        }
    };
    // When the time is over, the attempt is settled below like one whose bytes are.
    let _ = tokio::time::timeout(longest, all).await;
    flow.leave(End::ClientGone).await;
}

/// A head that nobody waits for but us. Dropped, it settles as a client that left.
struct Waiting {
    sending: Sending,
    attempt: Option<Attempt>,
}

impl Future for Waiting {
    type Output = Option<(Attempt, Answer)>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let Some(attempt) = &mut this.attempt else { return Poll::Ready(None) };
        let end = match attempt.watch.fired(cx.waker()) {
            Some(Fired::TimedOut) => End::TimedOut,
            Some(Fired::Cut) => End::Cut,
            None => match Pin::new(&mut this.sending).poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(answer)) => return Poll::Ready(this.attempt.take().map(|attempt| (attempt, answer))),
                Poll::Ready(Err(SendError::NotSent(_))) => End::NotSent,
                Poll::Ready(Err(SendError::NoAnswer(_))) => End::NoAnswer,
            },
        };
        drop(attempt.settle(end, None));
        Poll::Ready(None)
    }
}
