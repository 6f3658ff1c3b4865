//! The gate of a stream that is held slice by slice: no more goes to the client than is held for and written down.
//!
//! When less than half a slice is left, more is asked for while relaying goes on. Only when a frame does not fit what is held, and more
//! is refused or does not come in time, the stream is over; what it was by then `Script` ends properly. Of a stream that cannot be looked at
//! frame by frame nothing is read before all that it can be is held. An answer that is no stream although one was asked for passes
//! whatever is held: all of that is used already.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use schemas::{error_code::ErrorCode, limit::OnExceed, tokens::Usage};

use crate::{
    admit::fault_of,
    attempt::Attempt,
    emit::Ticket,
    error::Fault,
    limits::{Permit, Refusal, SLICE, Sliced},
    meter::Measured,
    script::{Brings, Ending, Script},
    witness::Witness,
};

/// What stands between a sliced stream and its client.
pub(crate) struct Gate {
    script: Option<Script>,
    /// The most output that the request allows.
    cap: u64,
    /// For so much output holds are taken and written down.
    room: u64,
    /// So much has come, at most.
    seen: u64,
    /// What has come since the last look.
    pub(crate) came: VecDeque<Bytes>,
    /// What was looked at and not let through, with how much output there is up to its end.
    waiting: VecDeque<(Bytes, u64, Brings)>,
    growth: Growth,
    /// How much more is asked for: less where a whole slice is not to be had.
    step: u64,
    /// Whether what came had to wait when that was asked for.
    was_full: bool,
    /// What the client is told between two frames: that a limit lets the stream finish.
    note: Option<Bytes>,
    refused: Option<Fault>,
}

/// Less than this is not asked for.
const LEAST: u64 = 16;

/// How far an extension is.
enum Growth {
    None,
    Asking(Pin<Box<dyn Future<Output = Result<Permit, Box<Refusal>>> + Send>>, u64),
    Recording(Ticket, u64),
}

/// Whether a stream may go on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Gated {
    /// All that came went through.
    Open,
    /// What came waits for more to be held.
    Full,
    /// It has to end.
    Refused(Fault),
}

impl Gate {
    /// A gate for an attempt with these holds; without a script nothing can be looked at, so all that there can be is asked for at once.
    pub(crate) const fn new(sliced: &Sliced, script: Option<Script>) -> Self {
        Self {
            script,
            cap: sliced.most.output,
            room: sliced.room,
            seen: 0,
            came: VecDeque::new(),
            waiting: VecDeque::new(),
            growth: Growth::None,
            step: SLICE,
            was_full: false,
            note: None,
            refused: None,
        }
    }

    /// Looks at what has come. What the provider reports of all so far makes what waits smaller too.
    pub(crate) fn look(&mut self) {
        for frame in self.came.drain(..) {
            let brings = self.script.as_mut().map(|script| script.look(&frame)).unwrap_or_default();
            // What cannot be looked at is all that there can be.
            self.seen = self.script.as_ref().map_or(self.cap, Script::seen);
            for (_, upto, _) in &mut self.waiting {
                *upto = self.seen.min(*upto);
            }
            self.waiting.push_back((frame, self.seen, brings));
        }
    }

    /// Lets through what is held for, and sees to it that more is.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        attempt: &mut Attempt,
        witness: &Witness,
        out: &mut VecDeque<Bytes>,
    ) -> Gated {
        if self.lacks_whole(witness) {
            self.seen = self.cap;
        }
        self.let_through(out);
        while self.grow(cx, attempt, witness) {}
        out.extend(self.note.take().filter(|_| self.script.is_some() && witness.takes_comments()));
        self.let_through(out);
        match (&self.growth, &self.refused) {
            _ if self.waiting.is_empty() && !self.lacks_whole(witness) => Gated::Open,
            (Growth::None, Some(fault)) => Gated::Refused(fault.clone()),
            _ => Gated::Full,
        }
    }

    /// Whether it is a stream that cannot be looked at, and not all that it can be is held.
    pub(crate) const fn lacks_whole(&self, witness: &Witness) -> bool {
        self.script.is_none() && witness.is_stream() && self.room < self.cap
    }

    /// Why no more is held, if more was refused.
    pub(crate) const fn refused(&self) -> Option<&Fault> {
        self.refused.as_ref()
    }

    /// What is held for goes on.
    fn let_through(&mut self, out: &mut VecDeque<Bytes>) {
        while let Some((frame, _, brings)) =
            self.waiting.pop_front_if(|(_, upto, _)| *upto <= self.room || self.room >= self.cap)
        {
            if let Some(script) = &mut self.script {
                script.pass(brings);
            }
            out.push_back(frame);
        }
    }

    /// One step of an extension; false if there is nothing to do but to wait.
    fn grow(&mut self, cx: &mut Context<'_>, attempt: &mut Attempt, witness: &Witness) -> bool {
        match &mut self.growth {
            Growth::None => {
                let enough = self.room >= self.cap || self.seen.saturating_add(self.step / 2) <= self.room;
                let is_full = !self.waiting.is_empty();
                // What was refused while there was room is asked for once more when there is none.
                if enough || self.refused.is_some() && (!is_full || self.was_full) {
                    return false;
                }
                self.was_full = is_full;
                let room = self.room.max(self.seen).saturating_add(self.step).min(self.cap);
                let Some(extension) = attempt.extension(room) else {
                    // Whatever it uses, no limit ends it.
                    self.room = self.cap;
                    return false;
                };
                let limits = Arc::clone(&attempt.worker.shared.limits);
                self.growth = Growth::Asking(Box::pin(async move { limits.extend(&extension).await }), room);
            }
            Growth::Asking(asking, room) => {
                let Poll::Ready(asked) = asking.as_mut().poll(cx) else { return false };
                self.growth = match asked {
                    Ok(more) => {
                        attempt.grow(more, *room);
                        Growth::Recording(attempt.record(witness.so_far(), witness.reported()), *room)
                    }
                    Err(refusal) => {
                        // What a provider gives whole although it was asked for a stream is used, whether or not it is relayed.
                        if refusal.on_exceed == OnExceed::Finish || !witness.is_stream() {
                            attempt.hold_no_more(refusal.instance);
                            let note = format!(
                                ": tollgate: limit {:?} is used up, and lets this answer finish\n\n",
                                refusal.limit
                            );
                            self.note = Some(note.into());
                        } else if self.step > LEAST && refusal.code != ErrorCode::LeaseNotObtained {
                            self.step /= 2;
                        } else {
                            self.refused = Some(fault_of(&refusal, attempt.facts.admitted_at));
                        }
                        Growth::None
                    }
                };
            }
            Growth::Recording(ticket, room) => {
                let Poll::Ready(written) = Pin::new(ticket).poll(cx) else { return false };
                match written {
                    Ok(()) => (self.room, self.refused) = (*room, None),
                    Err(_) => {
                        self.refused =
                            Some(Fault::new(ErrorCode::JournalFull, "what more is held cannot be written down"))
                    }
                }
                self.growth = Growth::None;
            }
        }
        true
    }

    /// Whether what was relayed is to be estimated: it can be looked at, and the provider does not say it itself.
    pub(crate) fn is_to_estimate(&self) -> bool {
        self.script.as_ref().is_some_and(|script| !script.is_reported())
    }

    /// The end of the stream in the client's own dialect, with the usage so far; nothing where that is not known.
    pub(crate) fn ending(&self, why: &Fault, measured: Option<&Measured>, wants_usage: bool) -> Option<Bytes> {
        let script = self.script.as_ref()?;
        let usage = measured.map(|measured| &measured.usage);
        let mut why = why.to_json();
        why["completeness"] = usage.map_or("missing", |usage| usage.completeness.name()).into();
        let total = usage.and_then(Usage::total);
        Some(Bytes::from(script.ending(&Ending { why: &why, usage: total.as_ref(), wants_usage })))
    }
}
