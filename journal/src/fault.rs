//! Planted faults: the points at which a test can make the disk fail or the process "die", and a mistake of our own that the
//! simulation has to catch.
//!
//! Outside of tests `Faults` is empty and `Faults::hit` does nothing; how a mistake is planted is in `schemas::fault`.

use std::io;

pub(crate) use schemas::fault::is;

/// A deliberate mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// What was sent once counts as sent, whether metering confirms it or not.
    NotSentAgain,
}

/// Where a fault can be planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    /// A batch is about to be written.
    Write,
    /// A file is about to be fsynced.
    Sync,
    /// A segment is about to be created and preallocated.
    Create,
    /// A transaction's ledger entries are fsynced, its store is not yet committed.
    Commit,
    /// A transaction is committed, nobody has been told.
    Committed,
}

/// The faults of one log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    #[cfg(test)]
    planted: std::sync::Arc<std::sync::Mutex<Vec<(Point, i32)>>>,
}

#[cfg(not(test))]
impl Faults {
    pub(crate) fn hit(&self, _: Point) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
impl Faults {
    /// From now on `point` fails with the system's error `errno`, once for each time it was planted.
    pub(crate) fn plant(&self, point: Point, errno: rustix::io::Errno) {
        self.planted.lock().unwrap().push((point, errno.raw_os_error()));
    }

    pub(crate) fn hit(&self, point: Point) -> io::Result<()> {
        let mut planted = self.planted.lock().unwrap();
        match planted.iter().position(|(at, _)| *at == point) {
            Some(index) => Err(io::Error::from_raw_os_error(planted.remove(index).1)),
            None => Ok(()),
        }
    }
}
