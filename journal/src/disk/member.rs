//! Metering's side of the log on disk: reads the journal in place, commits what it made of it.
//!
//! There is one at a time. A commit that has no room is made again and goes on where it stopped. After one that failed for
//! another reason nothing more is committed until the log is opened again, which cuts what the failed one left.

use std::{
    sync::{Arc, atomic::Ordering::Release},
    time::Duration,
};

use schemas::id::{Lane, Offset};

use crate::{
    Change, Member, Outputs, Polled,
    disk::Shared,
    error::Error,
    fault::Point,
    journal::{JournalReader, Position},
    segment::{files, held},
};

const LANE: Lane = Lane(0);

#[derive(Debug)]
pub(super) struct DiskMember {
    shared: Arc<Shared>,
    assigned: bool,
    input: Option<JournalReader>,
    /// The input offset last committed.
    committed: u64,
    /// How many ledger entries are appended of a transaction that has had no room yet.
    appended: usize,
}

impl DiskMember {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared), assigned: false, input: None, committed: 0, appended: 0 }
    }

    fn assign(&mut self) -> Result<Polled, Error> {
        self.committed = self.shared.store.ends()?.input;
        let view = self.shared.store.view()?;
        let (mut state, mut all) = view.after(None)?;
        while !all {
            let (chunk, last) = view.after(state.last().map(|(key, _)| key))?;
            state.extend(chunk);
            all = last;
        }
        self.assigned = true;
        Ok(Polled::Assigned(LANE, state))
    }

    fn check(&self, lane: Lane, Outputs { input, passed, .. }: &Outputs) -> Result<(), Error> {
        if !passed.is_empty() {
            return Err(Error::Misused("a log of one lane has no other to pass anything to"));
        }
        if lane != LANE {
            return Err(Error::NoSuchLane { lane, lanes: 1 });
        }
        if input.0 < self.committed {
            return Err(Error::Misused("a transaction may not move the input back"));
        }
        if input.0 > self.shared.journal.synced().0 {
            return Err(Error::Misused("a transaction may not name input that is not durable yet"));
        }
        Ok(())
    }

    /// Appends and fsyncs the ledger entries, then commits the store. Gives the end of the ledger. Where there is no room for
    /// all of it, what has been appended is not appended again.
    fn write(&mut self, outputs: &Outputs) -> Result<u64, Error> {
        let Shared { ledger, store, options, .. } = &*self.shared;
        let fault = |error| files::io("commit", ledger.dir())(error);
        let mut write = || {
            ledger.append_bodies(&outputs.ledger, &mut self.appended)?;
            let end = ledger.sync()?;
            options.faults().hit(Point::Commit).map_err(fault)?;
            store.commit(outputs, end)?;
            Ok(end)
        };
        let end = write().inspect_err(|error| {
            if !matches!(error, Error::Full { .. }) {
                ledger.break_with(&error.to_string());
            }
        })?;
        self.appended = 0;
        options.faults().hit(Point::Committed).map_err(fault)?;
        Ok(end)
    }
}

impl Member for DiskMember {
    fn poll(&mut self, wait: Duration) -> Result<Polled, Error> {
        if !self.assigned {
            return self.assign();
        }
        let Some(input) = &mut self.input else {
            // Nothing is read before `resume`; there is nothing to wait for either, but the end.
            return if self.shared.journal.wait_closed(wait) { Err(Error::Closed) } else { Ok(Polled::Idle) };
        };
        let records = input.poll(wait)?;
        Ok(if records.is_empty() { Polled::Idle } else { Polled::Records(LANE, records) })
    }

    fn resume(&mut self, lane: Lane, from: Offset) -> Result<(), Error> {
        if lane != LANE {
            return Err(Error::NoSuchLane { lane, lanes: 1 });
        }
        self.input = Some(self.shared.journal.read_from(Position(from.0))?);
        Ok(())
    }

    fn commit(&mut self, lane: Lane, outputs: &Outputs) -> Result<(), Error> {
        self.check(lane, outputs)?;
        let shared = Arc::clone(&self.shared);
        let followers = held(&shared.followers);
        let end = self.write(outputs)?;
        self.committed = outputs.input.0;
        shared.ledger.publish(end);
        let changes = outputs.decisions.iter().cloned().map(|(key, state)| Change { lane, key, state });
        super::follower::tell(followers, changes);
        Ok(())
    }
}

impl Drop for DiskMember {
    fn drop(&mut self) {
        self.shared.has_member.store(false, Release);
    }
}
