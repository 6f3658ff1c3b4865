//! The checks that are open, of all workers of the process, and for a while those that were settled.
//!
//! Each is known by its call id and, where the proxy gave one, by a name of the proxy's own; only who asked it finds it. It is
//! settled once: the same again gets the same answer until it would have expired, anything else is a conflict. What is open at its
//! deadline, or when its worker goes down, is taken out, and ends with its usage unknown.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use schemas::{error_code::ErrorCode, id::CallId};

use super::{Name, Settlement};
use crate::{attempt::Attempt, error::Fault, worker::Worker};

/// The most that are open. An attempt with eight holds and its names is 1.5 KiB: 150 MiB.
const OPEN_MAX: usize = 100_000;
/// The most settled ones that are remembered; beyond it those that expire first are forgotten. 200 bytes each, 40 MiB; at 300 a second
/// that is every one until its ten minutes are over.
const SETTLED_MAX: usize = 200_000;

/// The checks of a process.
#[derive(Default)]
pub(crate) struct Checks(Mutex<Table>);

#[derive(Default)]
struct Table {
    checks: HashMap<CallId, Kept>,
    named: HashMap<(Arc<str>, String), CallId>,
    /// Those that are open, by deadline.
    open: BTreeSet<(Instant, CallId)>,
    /// Those that are settled, by when they are forgotten.
    settled: BTreeSet<(Instant, CallId)>,
    /// The gateway goes down: nothing opens any more.
    is_closed: bool,
}

struct Kept {
    owner: Arc<str>,
    name: Option<String>,
    deadline: Instant,
    state: State,
}

enum State {
    /// Its limits are being asked.
    Asked,
    Open(Box<Attempt>),
    /// By what was said then.
    Settled(u64),
}

/// A place for a check whose limits are being asked; free again if it is dropped.
pub(super) struct Place<'a> {
    checks: &'a Checks,
    call: CallId,
}

/// What a settlement finds.
pub(super) enum Found {
    /// The attempt to settle.
    Open(Box<Attempt>),
    /// It was settled, by the same words.
    Again,
}

impl Checks {
    /// A place for a check of this owner.
    pub(super) fn place(&self, call: CallId, owner: Arc<str>, name: Option<String>) -> Result<Place<'_>, Fault> {
        let mut table = self.lock();
        if table.is_closed {
            return Err(Fault::new(ErrorCode::TooManyChecks, "this gateway is going down; ask another"));
        }
        if table.checks.len() - table.settled.len() >= OPEN_MAX {
            return Err(Fault::new(ErrorCode::TooManyChecks, format!("{OPEN_MAX} are open; settle some")));
        }
        if let Some(name) = &name {
            match table.named.entry((Arc::clone(&owner), name.clone())) {
                Entry::Occupied(_) => {
                    let what = "a check of this `call` is known already; name each call otherwise";
                    return Err(Fault::new(ErrorCode::CheckConflict, what));
                }
                Entry::Vacant(free) => drop(free.insert(call)),
            }
        }
        table.checks.insert(call, Kept { owner, name, deadline: Instant::now(), state: State::Asked });
        Ok(Place { checks: self, call })
    }

    /// Takes out what a settlement of this owner names; nothing if it is not open here.
    pub(super) fn settle(&self, owner: &Arc<str>, settlement: &Settlement) -> Result<Option<(CallId, Found)>, Fault> {
        let mut table = self.lock();
        let table = &mut *table;
        let call = match &settlement.name {
            Name::Id(call) => Some(*call),
            Name::Call(name) => table.named.get(&(Arc::clone(owner), name.clone())).copied(),
        };
        let kept = call.and_then(|call| Some((call, table.checks.get_mut(&call)?)));
        let Some((call, kept)) = kept.filter(|(_, kept)| kept.owner == *owner) else { return Ok(None) };
        match &kept.state {
            State::Asked => return Ok(None),
            State::Settled(content) if *content == settlement.content => return Ok(Some((call, Found::Again))),
            State::Settled(_) => {
                return Err(Fault::new(ErrorCode::CheckConflict, "it was settled by other words, which stand"));
            }
            State::Open(_) => {}
        }
        let deadline = kept.deadline;
        let State::Open(attempt) = std::mem::replace(&mut kept.state, State::Settled(settlement.content)) else {
            return Ok(None);
        };
        table.open.remove(&(deadline, call));
        table.settled.insert((deadline, call));
        if table.settled.len() > SETTLED_MAX
            && let Some((_, first)) = table.settled.pop_first()
        {
            table.forget(first);
        }
        Ok(Some((call, Found::Open(attempt))))
    }

    /// Takes out what is open at its deadline, and forgets what was settled by then.
    pub(crate) fn expired(&self, at: Instant) -> Vec<Attempt> {
        let mut table = self.lock();
        while let Some((_, call)) = table.settled.first().copied().filter(|(deadline, _)| *deadline <= at) {
            table.settled.pop_first();
            table.forget(call);
        }
        let mut expired = Vec::new();
        while let Some((_, call)) = table.open.first().copied().filter(|(deadline, _)| *deadline <= at) {
            table.open.pop_first();
            expired.extend(table.forget(call));
        }
        expired
    }

    /// The gateway goes down: nothing opens any more, and what is open may be settled yet.
    pub(crate) fn refuse(&self) {
        self.lock().is_closed = true;
    }

    /// Whether any is open.
    pub(crate) fn are_open(&self) -> bool {
        !self.lock().open.is_empty()
    }

    /// Takes out what is open of a worker's, which goes down.
    pub(crate) fn close(&self, worker: &Arc<Worker>) -> Vec<Attempt> {
        let mut table = self.lock();
        let is_its = |kept: &Kept| matches!(&kept.state, State::Open(attempt) if Arc::ptr_eq(&attempt.worker, worker));
        let its = table.checks.iter().filter(|(_, kept)| is_its(kept)).map(|(call, kept)| (kept.deadline, *call));
        let its: Vec<(Instant, CallId)> = its.collect();
        let mut taken = Vec::with_capacity(its.len());
        for (deadline, call) in its {
            table.open.remove(&(deadline, call));
            taken.extend(table.forget(call));
        }
        taken
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Forgets a check; gives its attempt, if it is open.
    fn forget(&mut self, call: CallId) -> Option<Attempt> {
        let Kept { owner, name, state, .. } = self.checks.remove(&call)?;
        if let Some(name) = name {
            self.named.remove(&(owner, name));
        }
        if let State::Open(attempt) = state { Some(*attempt) } else { None }
    }
}

impl Place<'_> {
    /// Opens the check for so long. The attempt comes back if the gateway goes down.
    pub(super) fn open(self, attempt: Box<Attempt>, expires_in: Duration) -> Result<(), Box<Attempt>> {
        let mut table = self.checks.lock();
        if table.is_closed {
            return Err(attempt);
        }
        let deadline = Instant::now() + expires_in;
        let Some(kept) = table.checks.get_mut(&self.call) else { return Err(attempt) };
        kept.deadline = deadline;
        kept.state = State::Open(attempt);
        table.open.insert((deadline, self.call));
        Ok(())
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut table = self.checks.lock();
        if table.checks.get(&self.call).is_some_and(|kept| matches!(kept.state, State::Asked)) {
            table.forget(self.call);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_are_open_than_the_table_takes() {
        let checks = Checks::default();
        let place = || checks.place(CallId::fresh(), "o".into(), None);
        let places: Vec<_> = (0..OPEN_MAX).map(|_| place().ok().unwrap()).collect();
        assert_eq!(place().err().map(|fault| fault.code), Some(ErrorCode::TooManyChecks));
        drop(places);
        assert!(place().is_ok());
        checks.refuse();
        assert_eq!(place().err().map(|fault| fault.code), Some(ErrorCode::TooManyChecks));
    }

    #[test]
    fn a_name_is_free_again_where_nothing_was_opened_and_is_its_owners_only() {
        let checks = Checks::default();
        let place = |owner: &str| checks.place(CallId::fresh(), owner.into(), Some("r".into()));
        let asked = place("one");
        assert_eq!(place("one").err().map(|fault| fault.code), Some(ErrorCode::CheckConflict));
        assert!(asked.is_ok() && place("other").is_ok());
        drop(asked);
        assert!(place("one").is_ok());
    }
}
