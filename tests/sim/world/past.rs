//! The ledger as it is kept for whoever looks back: since the last rest, whatever the lake has let go of. And a limit that comes late.

use std::time::Duration;

use journal::{Error, Reader, Record};
use schemas::{
    id::{Lane, Offset},
    topics::Topic,
};

use super::{
    World, policy,
    road::{NOBODY, Road},
};

/// What has to happen in some worlds.
pub(crate) const LATE: &str = "a limit comes late and counts what was before it";

/// Reads the ledger of all lanes.
struct PastReader {
    road: Road,
    next: Vec<u64>,
}

impl Road {
    /// Opens the ledger at these offsets.
    pub(crate) fn past(&self, from: &[Offset]) -> Result<Box<dyn Reader>, Error> {
        let cluster = self.lock();
        for (lane, (log, from)) in (0..).zip(cluster.lanes.iter().zip(from)) {
            if from.0 < log.past_first {
                let (first, end) = (log.past_first, log.past_first + log.past.len() as u64);
                return Err(Error::NotKept { topic: Topic::Ledger, lane: Lane(lane), asked: from.0, first, end });
            }
        }
        Ok(Box::new(PastReader { road: self.clone(), next: from.iter().map(|from| from.0).collect() }))
    }

    /// Time has passed: what is in the ledger by now is kept no more.
    pub(crate) fn forget(&self) {
        for log in &mut self.lock().lanes {
            log.past_first += log.past.len() as u64;
            log.past.clear();
        }
    }
}

impl Reader for PastReader {
    fn poll(&mut self, _: Duration) -> Result<Vec<Record>, Error> {
        let cluster = self.road.lock();
        let mut records = Vec::new();
        for (lane, (log, next)) in (0..).zip(cluster.lanes.iter().zip(&mut self.next)) {
            let from = (*next - log.past_first) as usize;
            for body in log.past.iter().skip(from).cloned() {
                let (lane, offset) = (Lane(lane), Offset(*next));
                records.push(Record { lane, offset, header: NOBODY, body });
                *next += 1;
            }
        }
        Ok(records)
    }

    fn ends(&mut self) -> Result<Vec<Offset>, Error> {
        let cluster = self.road.lock();
        Ok(cluster.lanes.iter().map(|log| Offset(log.past_first + log.past.len() as u64)).collect())
    }
}

impl World {
    /// At rest: a limit comes that counts what was used since the last one, as far as it was in the window that lasts.
    pub(super) fn bring_late(&mut self) {
        let late = policy::late();
        if self.limits.contains(&late) {
            return;
        }
        self.oracle.comes_late(&late, self.clock.now());
        self.limits.push(late);
        let book = self.more.index(2);
        self.publish(book);
        self.happens(LATE);
        if self.come_to_rest() {
            self.oracle.quiet(self.clock.now());
        }
    }
}
