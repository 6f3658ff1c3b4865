//! The baton of a call whose attempts do not follow each other in one hand: who goes on with the call when they have ended.
//!
//! Of the attempts that run with it each ends by itself and writes its own record, which says that the call goes on; the record of the last
//! one is kept back here. Whoever goes on takes it, and with it what all of them used; the next attempt's admission is written before it.
//! If nobody does, the call ends with it. So a crash at any moment finds an attempt of the call open, or the call ended, once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use schemas::{
    event::{CallEnd, Outcome},
    id::Lane,
};

use super::{Before, Flight, Kept, write_end};
use crate::{emit::Ticket, worker::Worker};

/// What the attempts of a call have in common while they run.
pub(crate) struct Baton {
    worker: Arc<Worker>,
    lane: Lane,
    state: Mutex<State>,
}

struct State {
    /// How many attempts run.
    open: usize,
    /// How many have ended.
    ended: u16,
    /// What is known of the call; nothing once another attempt has it, or a record.
    call: Option<CallEnd>,
    /// What the last one came to.
    last: Option<Before>,
}

impl Baton {
    /// For so many attempts of a call, which all run from now on.
    pub(crate) fn new(worker: &Arc<Worker>, lane: Lane, open: usize, call: CallEnd) -> Arc<Self> {
        let state = State { open, ended: 0, call: Some(call), last: None };
        Arc::new(Self { worker: Arc::clone(worker), lane, state: Mutex::new(state) })
    }

    /// An attempt has ended. Gives back what has to be written of it now; nothing if it is the last one and is kept.
    pub(super) fn ended(&self, (mut account, mut permit): Kept, flight: Option<Flight>) -> Option<Before> {
        let mut state = self.lock();
        state.open = state.open.saturating_sub(1);
        state.ended = state.ended.saturating_add(1);
        let (attempts, is_last) = (state.ended, state.open == 0);
        // Without a call somebody has gone on already.
        let call = state.call.take();
        let stays = is_last && call.is_some();
        if let (Some(call), Some(end)) = (call, account.call()) {
            *end = CallEnd { attempts, outcome: end.outcome, ..call };
            state.call = if is_last { None } else { account.go_on() };
        } else {
            account.go_on();
        }
        if !stays {
            return Some(Before { kept: (account, permit), flight });
        }
        account.let_go(&self.worker.shared.limits, &mut permit);
        state.last = Some(Before { kept: (account, permit), flight });
        None
    }

    /// Goes on with the call: what is known of it so far, and the record that has to be written after the next admission, if all have
    /// ended. Nothing if the call is over.
    pub(super) fn pass(&self) -> Option<(CallEnd, Option<Before>)> {
        let mut state = self.lock();
        if let Some(mut last) = state.last.take() {
            return Some((last.kept.0.go_on()?, Some(last)));
        }
        let call = state.call.take()?;
        // Of those that still run nobody knows what they will have used.
        Some((CallEnd { earlier_unknown: true, earlier_cost: None, ..call }, None))
    }

    /// Nobody goes on: the call ends with what ended last, if all have.
    pub(crate) fn conclude(&self) -> Option<Ticket> {
        let last = self.lock().last.take()?;
        Some(write_end(&self.worker, self.lane, last))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Baton {
    fn drop(&mut self) {
        // Nobody waited for what would have come next.
        if let Some(call) = self.lock().last.as_mut().and_then(|last| last.kept.0.call()) {
            call.outcome = Outcome::ClientGone;
        }
        drop(self.conclude());
    }
}
