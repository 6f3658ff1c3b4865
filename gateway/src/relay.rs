//! An answer on its way to the client: every byte as it came, shown to the meter, settled before the last one is released.
//!
//! One body is pulled through another: the client's pace is the provider's pace, and nothing is queued but the frame in
//! hand. What can be the last of an answer is held back until the attempt is settled in the journal, so that an answer which
//! a client has in full is in the journal in full. If the client goes away, what is open goes to the drainer.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use schemas::{config::TokenEvents, time::now, tokens::Completeness};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
    time::Sleep,
};

use crate::{
    attempt::Attempt,
    emit::Ticket,
    error::Fault,
    gate::{Gate, Gated},
    meter::{Finish, Measured},
    request::Parsed,
    settlement::End,
    sweep::Fired,
    upstream::AnswerBody,
    witness::{Estimable, Witness},
};

mod body;
mod broken;

pub(crate) use body::{NotBegun, Relay};
pub(crate) use broken::Broken;

/// Keeps proxies between us and the client awake; clients ignore it.
const COMMENT: Bytes = Bytes::from_static(b": keep-alive\n\n");
/// A running attempt is reported after so much text, about 500 tokens, whatever the clock says.
const BYTES_BETWEEN_REPORTS: u64 = 2_000;
/// How long an upstream that has said all may take to close its answer.
const LINGER: Duration = Duration::from_secs(5);

/// The most estimates of answers that broke off at once: each keeps its request until it is made, and a provider that fails breaks off all
/// that it has open.
static ESTIMATES: Semaphore = Semaphore::const_new(500);

/// Whether a piece of an answer is a word of the gateway's own between the frames of a provider.
pub(crate) fn is_ours(piece: &[u8]) -> bool {
    piece == COMMENT || piece.starts_with(b": tollgate: ")
}

/// How an answer is relayed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// After what silence a comment is sent; nothing where comments have no place.
    pub(crate) comment: Option<Duration>,
    /// How often a running attempt is reported.
    pub(crate) token_events: TokenEvents,
    /// How long a silence may be once it has begun.
    pub(crate) idle: Duration,
    /// How long after the attempt began the first token of a stream may come; nothing where it may take its time, or has come.
    pub(crate) first_token: Option<Duration>,
}

/// An answer that is open: the attempt, its upstream body and its meter.
pub(crate) struct Flow {
    attempt: Attempt,
    body: AnswerBody,
    witness: Witness,
    /// What lets through no more than is held for, where an answer is held slice by slice.
    gate: Option<Box<Gate>>,
    /// Whether the answer has come to its end, and waits at the gate.
    all_came: bool,
    /// Whether it has ended, and said that it failed.
    has_failed: bool,
    phase: Phase,
    out: VecDeque<Bytes>,
    pace: Pace,
    /// How the attempt ends if the answer comes to its end.
    at_end: End,
    /// The request, for an estimate.
    parsed: Arc<Parsed>,
    reported_at: Instant,
    reported_bytes: u64,
    commented_at: Instant,
    /// Held while the upstream connection is in use, where a provider has a limit of them.
    _slot: Option<OwnedSemaphorePermit>,
}

enum Phase {
    /// The upstream body is open.
    Open,
    /// All has come that will; what it used is being estimated.
    Estimating(JoinHandle<Measured>, Then),
    /// Settled; the record is on its way to the journal.
    Recording(Ticket, Option<Broken>),
    /// Recorded: what was held back goes out.
    Releasing(Option<Broken>),
    /// All that came was given out; the connection is cut once what was given had a turn to be written.
    Breaking(Broken),
    /// The end was seen and settled; what upstream still sends goes on.
    Lingering(Option<Pin<Box<Sleep>>>),
    Done,
}

/// What follows an estimate.
enum Then {
    /// It ends like this, and breaks off for the client if it does.
    Ends(End, Option<Broken>),
    /// It is we who end it, for a reason that the client is told.
    IsCut(Box<Fault>),
}

impl Flow {
    pub(crate) fn new(
        attempt: Attempt,
        body: AnswerBody,
        (witness, gate): (Witness, Option<Gate>),
        at_end: End,
        pace: Pace,
        (parsed, slot): (Arc<Parsed>, Option<OwnedSemaphorePermit>),
    ) -> Self {
        let now = Instant::now();
        if let Some(silence) = pace.comment {
            attempt.watch.nudge_after(silence);
        }
        Self {
            attempt,
            body,
            witness,
            gate: gate.map(Box::new),
            all_came: false,
            has_failed: false,
            phase: Phase::Open,
            out: VecDeque::new(),
            pace,
            at_end,
            parsed,
            reported_at: now,
            reported_bytes: 0,
            commented_at: now,
            _slot: slot,
        }
    }

    /// Whether the client may get other bytes than the provider sent.
    pub(crate) const fn changes_bytes(&self) -> bool {
        self.witness.is_stream()
    }

    /// Whether the attempt still has to be settled.
    pub(crate) const fn is_open(&self) -> bool {
        !self.attempt.is_settled()
    }

    /// The attempt.
    pub(crate) fn attempt(&mut self) -> &mut Attempt {
        &mut self.attempt
    }

    /// Nothing more is read of it.
    pub(crate) fn close(&mut self) {
        self.body = AnswerBody::Closed;
    }

    /// The client has gone: if the answer comes to its end, it was read without it.
    pub(crate) fn leave_client(&mut self) {
        self.pace.comment = None;
        // Nothing more goes to anybody.
        self.gate = None;
        self.attempt.is_last();
        if self.at_end == End::Complete {
            self.at_end = End::ClientGoneDrained;
        }
    }

    /// The next bytes for the client; nothing at the end.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        loop {
            match &mut self.phase {
                Phase::Open => {
                    if let Some(bytes) = self.out.pop_front() {
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                    if let Some(step) = ready!(self.poll_upstream(cx)) {
                        return Poll::Ready(Some(Ok(step)));
                    }
                }
                Phase::Estimating(estimate, then) => {
                    let measured = ready!(Pin::new(estimate).poll(cx)).ok();
                    match std::mem::replace(then, Then::Ends(End::Cut, None)) {
                        Then::Ends(end, broken) => self.settle(end, measured, broken),
                        Then::IsCut(why) => self.settle_cut(&why, measured),
                    }
                }
                Phase::Recording(ticket, broken) => {
                    let written = ready!(Pin::new(ticket).poll(cx));
                    let broken = if written.is_err() { Some(Broken::Unrecorded) } else { *broken };
                    if written.is_err() {
                        self.out.clear();
                    }
                    self.phase = Phase::Releasing(broken);
                }
                Phase::Releasing(broken) => {
                    let broken = *broken;
                    if let Some(bytes) = self.out.pop_front() {
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                    self.phase = match broken {
                        Some(broken) => {
                            // With the error hyper drops what it has not written yet; it writes when a body has to wait.
                            self.phase = Phase::Breaking(broken);
                            cx.waker().wake_by_ref();
                            return Poll::Pending;
                        }
                        None if self.body.is_at_end() => Phase::Done,
                        None => Phase::Lingering(None),
                    };
                }
                Phase::Breaking(broken) => {
                    let broken = *broken;
                    self.phase = Phase::Done;
                    return Poll::Ready(Some(Err(broken)));
                }
                Phase::Lingering(_) => return self.poll_rest(cx),
                Phase::Done => return Poll::Ready(None),
            }
        }
    }

    /// Reads from upstream until there is something to release or the phase changes; gives a comment where one is due.
    fn poll_upstream(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match self.attempt.watch.fired(cx.waker()) {
            Some(Fired::TimedOut) => {
                self.end(End::TimedOut, Some(Broken::TimedOut));
                return Poll::Ready(None);
            }
            Some(Fired::Cut) => {
                self.end(End::Cut, Some(Broken::Cut));
                return Poll::Ready(None);
            }
            None => {}
        }
        if let Some(gate) = &mut self.gate {
            match gate.poll(cx, &mut self.attempt, &self.witness, &mut self.out) {
                Gated::Full if self.out.is_empty() => return Poll::Pending,
                Gated::Refused(why) if self.out.is_empty() => {
                    self.cut(why);
                    return Poll::Ready(None);
                }
                Gated::Open if self.all_came => {}
                _ if !self.out.is_empty() => return Poll::Ready(None),
                _ => {}
            }
        }
        if self.all_came {
            self.end(self.at_end, None);
            return Poll::Ready(None);
        }
        match self.body.poll_data(cx) {
            Poll::Pending if self.comment_due() => Poll::Ready(Some(COMMENT)),
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(data))) => {
                let is_first = self.attempt.came();
                self.take(data);
                self.progressed(is_first);
                if self.body.is_at_end() || self.witness.is_terminal() {
                    self.came_to_its_end();
                } else {
                    self.report();
                }
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(_))) => {
                self.end(End::Truncated, Some(Broken::Upstream));
                Poll::Ready(None)
            }
            Poll::Ready(None) => {
                self.came_to_its_end();
                Poll::Ready(None)
            }
        }
    }

    /// Something came. Where the first token has a deadline, what comes before it is no progress.
    fn progressed(&mut self, is_first: bool) {
        match self.pace.first_token {
            Some(most) if self.witness.seen_bytes() == 0 && is_first => {
                self.attempt.watch.allow(most.saturating_sub(now().since(self.attempt.facts.admitted_at)));
            }
            Some(_) if self.witness.seen_bytes() == 0 => {}
            None if !is_first => self.attempt.watch.progress(),
            Some(_) | None => {
                self.pace.first_token = None;
                self.attempt.watch.allow(self.pace.idle);
            }
        }
    }

    fn take(&mut self, data: Bytes) {
        match &mut self.gate {
            Some(gate) => {
                self.witness.take(data, &mut gate.came);
                gate.look();
            }
            None => self.witness.take(data, &mut self.out),
        }
    }

    fn came_to_its_end(&mut self) {
        match &mut self.gate {
            Some(gate) => {
                self.witness.close(&mut gate.came);
                gate.look();
                self.all_came = true;
            }
            None => self.end(self.at_end, None),
        }
    }

    /// Ends a stream whose limit gives no more. Where the provider has not said what it used so far, what was relayed is estimated; but not
    /// as more than was held for it.
    fn cut(&mut self, why: Fault) {
        let mut rest = VecDeque::new();
        self.witness.close(&mut rest);
        self.body = AnswerBody::Closed;
        let is_to_estimate = self.gate.as_ref().is_some_and(|gate| gate.is_to_estimate());
        match self.witness.measured(End::Cut.of_body()) {
            Some(measured) if is_to_estimate && measured.usage.completeness != Completeness::Exact => {
                self.estimate_so_far(measured, Then::IsCut(Box::new(why)));
            }
            measured => self.settle_cut(&why, measured),
        }
    }

    /// Of what was relayed an estimate is made before it is settled, never of more than is held for: the rest of that stays held.
    /// Where too many are being made already, what is known stands, and all else that is held stays held.
    fn estimate_so_far(&mut self, measured: Measured, then: Then) {
        let Ok(turn) = ESTIMATES.try_acquire() else {
            return match then {
                Then::IsCut(why) => self.settle_cut(&why, Some(measured)),
                Then::Ends(end, broken) => self.settle(end, Some(measured), broken),
            };
        };
        let (estimable, most) = (self.estimable(measured), self.attempt.held_for());
        let estimate = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            estimable.so_far(most.as_ref())
        });
        self.phase = Phase::Estimating(estimate, then);
    }

    fn estimable(&self, measured: Measured) -> Estimable {
        let facts = &self.attempt.facts;
        Estimable::new(facts.api, facts.model.clone(), Arc::clone(&self.parsed), measured)
    }

    /// Ends it for the client as one that reached its cap.
    fn settle_cut(&mut self, why: &Fault, measured: Option<Measured>) {
        let wants_usage = self.parsed.wants_usage;
        let ending = self.gate.as_ref().and_then(|gate| gate.ending(why, measured.as_ref(), wants_usage));
        let broken = if ending.is_some() { None } else { Some(Broken::Cut) };
        self.out.extend(ending);
        self.settle(End::Cut, measured, broken);
    }

    /// Ends the attempt, with an estimate where a whole answer states no usage, or one that broke off had said something before.
    fn end(&mut self, end: End, broken: Option<Broken>) {
        let mut rest = VecDeque::new();
        self.witness.close(&mut rest);
        if self.gate.is_none() {
            self.out.append(&mut rest);
        }
        if self.witness.lacks_mark(self.attempt.facts.api) {
            self.attempt.note(None);
        }
        let measured = self.measured(end);
        self.has_failed = measured.as_ref().is_some_and(|it| matches!(it.finish, Finish::ErrorInStream { .. }));
        let is_whole = matches!(end, End::Complete | End::ClientGoneDrained);
        // It may have ended as bodies end, but not as answers do.
        let lacks = is_whole && measured.as_ref().is_some_and(|it| it.finish != Finish::Complete);
        let end = if lacks { End::Truncated } else { end };
        match measured {
            Some(measured) if is_whole && Estimable::is_needed(self.attempt.facts.api, &measured) => {
                let estimable = self.estimable(measured);
                let estimate = tokio::task::spawn_blocking(|| estimable.estimate());
                self.phase = Phase::Estimating(estimate, Then::Ends(end, broken));
            }
            Some(measured)
                if Estimable::has_begun(self.attempt.facts.api, &measured)
                    // What was relayed beyond its hold stays held nowhere.
                    || (self.attempt.is_let_finish() && matches!(measured.usage.completeness, Completeness::LowerBound(_))) =>
            {
                self.estimate_so_far(measured, Then::Ends(end, broken));
            }
            measured => self.settle(end, measured, broken),
        }
    }

    /// What the answer says that it used. An error says nothing of that: its status does.
    fn measured(&mut self, end: End) -> Option<Measured> {
        self.witness.measured(end.of_body()).filter(|_| self.at_end != End::Refused)
    }

    fn settle(&mut self, end: End, measured: Option<Measured>, broken: Option<Broken>) {
        self.phase = match self.attempt.settle(end, measured) {
            Some(ticket) => Phase::Recording(ticket, broken),
            // Who may go on looks where an answer is left that broke off, however it did.
            None => {
                let is_left = self.attempt.is_kept() && self.attempt.wreck().is_some();
                Phase::Releasing(broken.or(is_left.then_some(Broken::Ended)))
            }
        };
    }

    /// Ends what nobody reads any more, and waits until that is written down.
    pub(crate) async fn leave(&mut self, end: End) {
        self.close();
        if matches!(self.phase, Phase::Open) {
            self.end(end, None);
        }
        while poll_fn(|cx| self.poll_next(cx)).await.is_some() {}
    }

    /// Settles now what nobody will wait for: nothing can be estimated.
    fn abandon(&mut self, end: End) {
        if self.is_open() {
            self.witness.close(&mut self.out);
            let measured = self.measured(end);
            drop(self.attempt.settle(end, measured));
        }
        self.phase = Phase::Done;
    }

    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        let next = self.body.poll_data(cx);
        let Phase::Lingering(timer) = &mut self.phase else { return Poll::Ready(None) };
        match next {
            Poll::Ready(Some(Ok(bytes))) => Poll::Ready(Some(Ok(bytes))),
            Poll::Ready(_) => {
                self.phase = Phase::Done;
                Poll::Ready(None)
            }
            Poll::Pending => {
                let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
                ready!(timer.as_mut().poll(cx));
                self.phase = Phase::Done;
                Poll::Ready(None)
            }
        }
    }

    fn comment_due(&mut self) -> bool {
        let due = self.pace.comment.is_some_and(|silence| {
            self.attempt.watch.silence() >= silence
                && self.commented_at.elapsed() >= silence
                && self.witness.is_between_frames()
        });
        if due {
            self.commented_at = Instant::now();
        }
        due
    }

    /// Tells how far the attempt is, now and then.
    fn report(&mut self) {
        if !self.witness.is_stream() {
            return;
        }
        let is_due = match self.pace.token_events {
            TokenEvents::Every => true,
            TokenEvents::After(span) => {
                let seen = self.witness.seen_bytes();
                seen >= self.reported_bytes + BYTES_BETWEEN_REPORTS || self.reported_at.elapsed() >= span
            }
        };
        if is_due {
            self.reported_at = Instant::now();
            self.reported_bytes = self.witness.seen_bytes();
            self.attempt.streamed(self.witness.so_far(), self.witness.reported());
        }
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.abandon(End::ClientGone);
    }
}

#[cfg(test)]
mod tests;
