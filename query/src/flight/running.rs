//! The answers that are on their way, by their tickets: who may ask as the one who began it may end it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use schemas::policy::Tenants;
use tokio_util::sync::CancellationToken;

use crate::sql::Caller;

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Running {
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    last: u64,
    answers: HashMap<u64, Answer>,
}

#[derive(Debug)]
struct Answer {
    id: Bytes,
    tenants: Tenants,
    ends: CancellationToken,
}

/// One of them, for as long as this is kept.
#[derive(Debug)]
pub(super) struct Begun {
    all: Arc<Running>,
    number: u64,
    /// Somebody said that it is to end.
    pub(super) ends: CancellationToken,
}

impl Running {
    /// Takes note of an answer to the ticket with this id.
    pub(super) fn begin(self: &Arc<Self>, id: Bytes, tenants: Tenants) -> Begun {
        let ends = CancellationToken::new();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.last += 1;
        let number = open.last;
        open.answers.insert(number, Answer { id, tenants, ends: ends.clone() });
        Begun { all: Arc::clone(self), number, ends }
    }

    /// Ends the answers to a ticket; whether there were any of this caller's.
    pub(super) fn end(&self, id: &Bytes, caller: &Caller) -> bool {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |answer: &&Answer| !id.is_empty() && answer.id == *id && answer.tenants == caller.tenants;
        open.answers.values().filter(of).map(|answer| answer.ends.cancel()).count() > 0
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.all.open.lock().unwrap_or_else(PoisonError::into_inner).answers.remove(&self.number);
    }
}
