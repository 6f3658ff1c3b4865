//! The body that a client reads: its flow, one frame after the other, and what becomes of that when nobody reads any more.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::PoisonError,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{Broken, COMMENT, Flow, Phase};
use crate::error::Fault;

/// What is held back of a stream until its first token comes, where another attempt may follow. A role, an id and a ping are a tenth.
const MOST_TRIED: usize = 4_096;

/// The body that the client reads.
pub(crate) struct Relay {
    flow: Option<Box<Flow>>,
    /// The first bytes of it, if they were waited for.
    first: Option<Bytes>,
}

impl Relay {
    pub(crate) fn new(flow: Flow) -> Self {
        Self { flow: Some(Box::new(flow)), first: None }
    }

    /// Waits, unless the answer is a stream, for the first bytes that may go: they go with the head then, in one write, and
    /// what breaks before them can still be answered with an error. So it does for a stream of which none may go before all that it can be
    /// is held. Where another attempt may follow it waits for the first token of a stream too: what breaks before that is given back with
    /// its flow.
    pub(crate) async fn begun(mut self) -> Result<Self, NotBegun> {
        let Some(flow) = &mut self.flow else { return Ok(self) };
        let (is_stream, on_trial) = (flow.witness.is_stream(), flow.attempt.goes_on());
        let for_token = is_stream && on_trial;
        let for_first = !is_stream || flow.gate.as_ref().is_some_and(|gate| gate.lacks_whole(&flow.witness));
        while on_trial || (for_first && self.first.is_none()) {
            let next = poll_fn(|cx| flow.poll_next(cx)).await;
            if let Some(Err(broken)) = next {
                return Err(NotBegun { broken, flow: self.flow.take(), said: VecDeque::new() });
            }
            if flow.attempt.is_kept() {
                let mut said: VecDeque<Bytes> =
                    self.first.take().into_iter().chain(next.and_then(Result::ok)).collect();
                while let Some(Ok(bytes)) = poll_fn(|cx| flow.poll_next(cx)).await {
                    said.push_back(bytes);
                }
                if !flow.has_failed {
                    said.clear();
                }
                return Err(NotBegun { broken: Broken::Upstream, flow: self.flow.take(), said });
            }
            let Some(Ok(bytes)) = next else { break };
            if on_trial && bytes == COMMENT {
                continue;
            }
            self.first = Some(match self.first.take() {
                Some(before) => [before, bytes].concat().into(),
                None => bytes,
            });
            let tried = self.first.as_ref().is_some_and(|first| first.len() >= MOST_TRIED);
            if !for_token || tried || flow.witness.seen_bytes() > 0 || flow.attempt.is_settled() {
                break;
            }
        }
        if !is_stream || flow.attempt.wreck().is_none() {
            flow.attempt.is_last();
        }
        Ok(self)
    }

    /// The answer broke off: it is left where somebody may go on from it, if there is such a place.
    fn leave(&mut self, why: Broken) {
        if let Some(flow) = self.flow.take_if(|flow| flow.attempt.is_kept())
            && let Some(wreck) = flow.attempt.wreck()
        {
            *wreck.lock().unwrap_or_else(PoisonError::into_inner) = Some((flow, why));
        }
    }
}

/// An answer that was over before any of it went out, where another attempt may follow.
pub(crate) struct NotBegun {
    pub(crate) broken: Broken,
    pub(crate) flow: Option<Box<Flow>>,
    /// All of an answer in which the provider says that it failed.
    pub(crate) said: VecDeque<Bytes>,
}

impl Flow {
    /// Why a limit ended it, if one did.
    pub(crate) fn refused(&self) -> Option<&Fault> {
        self.gate.as_ref()?.refused()
    }
}

impl Body for Relay {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let Some(flow) = &mut self.flow else { return Poll::Ready(None) };
        let next = ready!(flow.poll_next(cx));
        if let Some(Err(why)) = next {
            self.leave(why);
        }
        Poll::Ready(next.map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.flow.as_ref().is_none_or(|flow| matches!(flow.phase, Phase::Done))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(flow) = self.flow.take().filter(|flow| flow.is_open()) {
            let drainer = flow.attempt.worker.drainer.clone();
            drainer.take(flow);
        }
    }
}
