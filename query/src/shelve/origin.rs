//! Whether a lake is of the log that is read.
//!
//! The archive in the lake says of each lane which record is the last that it has; where the log still has a record at that place it has to be
//! the same one. Two logs have no record in common: each says when it was written, and in whose journal it began. Where the log has let go of
//! the place, all that is left is that it goes on exactly there: a log that begins later is refused by whoever reads it, as one that lacks
//! records. A lake without records has nothing that could be of another log.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use journal::{Error as LogError, Road};
use schemas::{
    id::{Lane, Offset},
    topics::Topic,
};

use crate::{error::Error, lake::Version, table::checksum};

/// How long one look at the ledger waits for records.
const LOOK: Duration = Duration::from_millis(100);

/// How long to wait for records that are there.
const PATIENCE: Duration = Duration::from_secs(30);

/// Refuses a version of the archive that is of another log than this, which is read from `next` on and ends at `ends`, by lane.
pub(super) fn check(road: &dyn Road, archive: &Version, next: &[Offset], ends: &[Offset]) -> Result<(), Error> {
    let kept = road.kept()?;
    let (mut wanted, mut from) = (BTreeMap::new(), next.to_vec());
    for (lane, from) in (0..).zip(&mut from) {
        let place = usize::from(lane);
        let of = |offsets: &[Offset]| offsets.get(place).copied().unwrap_or_default();
        let (first, end) = (of(&kept), of(ends));
        let Some((last, checksum)) = archive.last_of(place).filter(|(last, _)| *last >= first) else { continue };
        if last >= end {
            let (topic, lane, asked) = (Topic::Ledger, Lane(lane), archive.covered_of(place).0);
            return Err(LogError::NotKept { topic, lane, asked, first: first.0, end: end.0 }.into());
        }
        *from = last;
        wanted.insert(Lane(lane), (last, checksum));
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let (mut reader, until) = (road.reader(Topic::Ledger, &from)?, Instant::now() + PATIENCE);
    while !wanted.is_empty() {
        for record in reader.poll(LOOK)? {
            // The first of each lane is the one that stands there, or behind a gap.
            let Some((last, known)) = wanted.remove(&record.lane) else { continue };
            if record.offset != last || checksum(record.lane.0, record.offset, &record.body) != known {
                return Err(Error::OtherLog { lane: record.lane, offset: last.0 });
            }
        }
        if Instant::now() > until {
            return Err(LogError::Unreachable("records that it has do not come".into()).into());
        }
    }
    Ok(())
}
