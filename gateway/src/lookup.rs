//! Looking attempts up in the ledger, for what amends them: the log is where a gateway meets what metering wrote.
//!
//! One read at a time in a process, off the async threads, from the calls' time on to the end: an attempt stands as its last correction
//! says. Whoever would wait too long for its turn, or whose read takes too long, is told to come again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use journal::Road;
use schemas::{
    decision::Claim,
    error_code::ErrorCode,
    id::{Lane, Offset},
    standing::{Key, Standings},
    time::Time,
    topics::Topic,
    wire,
};
use tokio::sync::Semaphore;

use crate::error::Fault;

/// How long a request waits for the read of another to be over.
const TURN: Duration = Duration::from_secs(5);
/// How long a read may take: some hundred thousand entries a second.
const READ: Duration = Duration::from_secs(15);
/// How long one look at the log may take.
const LOOK: Duration = Duration::from_millis(100);
/// When to come again.
const AGAIN: Duration = Duration::from_secs(2);

/// The ledger, of which one read is made at a time.
pub(crate) struct Ledger {
    road: Option<Arc<dyn Road>>,
    turn: Arc<Semaphore>,
}

/// What a read has found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) standings: Standings,
    /// The first entry that is kept, where there were others before it and something was not found.
    pub(crate) begins: Option<Time>,
}

impl Ledger {
    pub(crate) fn new(road: Option<Arc<dyn Road>>) -> Self {
        Self { road, turn: Arc::new(Semaphore::new(1)) }
    }

    /// What the lane of their tenant says of attempts.
    pub(crate) async fn look_up(&self, lane: Lane, keys: Vec<Key>) -> Result<Found, Fault> {
        if keys.is_empty() {
            return Ok(Found { standings: Standings::default(), begins: None });
        }
        let Some(road) = self.road.clone() else { return Err(not_read("this gateway has no ledger to read".into())) };
        let turn = tokio::time::timeout(TURN, Arc::clone(&self.turn).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(not_read("others are looking attempts up".into())) };
        let read = move || {
            let found = read(&*road, lane, keys);
            // Not before it is over, whether anybody waits for it or not.
            drop(turn);
            found
        };
        let found = tokio::task::spawn_blocking(read).await;
        found.unwrap_or_else(|_| Err("the read broke off".into())).map_err(not_read)
    }
}

fn not_read(why: String) -> Fault {
    Fault::new(ErrorCode::LedgerNotRead, format!("{why}; send the same again, it counts once")).after(AGAIN)
}

fn read(road: &dyn Road, lane: Lane, keys: Vec<Key>) -> Result<Found, String> {
    let begun = keys.iter().map(|(call, _)| call.time()).min().unwrap_or(Time::ZERO);
    let mut standings = Standings::of(keys.into_iter());
    let early = i64::try_from(Claim::SKEW.as_micros()).unwrap_or(i64::MAX);
    let from = road.since(lane, Time::from_micros(begun.as_micros().saturating_sub(early))).map_err(said)?;
    entries(road, lane, from, |entry| {
        standings.take(&entry);
        true
    })?;
    let mut begins = None;
    if standings.all.values().any(Option::is_none) {
        let first = road.kept().map_err(said)?.get(usize::from(lane.0)).copied().unwrap_or_default();
        if first > Offset(0) {
            let mut from = road.since(lane, Time::MAX).map_err(said)?;
            from.get_mut(usize::from(lane.0)).into_iter().for_each(|from| *from = first);
            entries(road, lane, from, |entry| {
                begins = Some(entry.recorded_at);
                false
            })?;
        }
    }
    Ok(Found { standings, begins })
}

/// The entries of a lane from there to its end at the call, as long as they are wanted.
fn entries(
    road: &dyn Road,
    lane: Lane,
    from: Vec<Offset>,
    mut take: impl FnMut(schemas::ledger::Entry) -> bool,
) -> Result<(), String> {
    let deadline = Instant::now() + READ;
    let mut reader = road.reader(Topic::Ledger, &from).map_err(said)?;
    let place = |of: &[Offset]| of.get(usize::from(lane.0)).copied().unwrap_or_default();
    let (end, mut next) = (place(&reader.ends().map_err(said)?), place(&from));
    while next < end {
        for record in reader.poll(LOOK).map_err(said)?.into_iter().filter(|record| record.lane == lane) {
            next = Offset(record.offset.0 + 1);
            if record.offset < end && !take(wire::decode_entry(&record.body).map_err(|error| error.to_string())?) {
                return Ok(());
            }
        }
        if Instant::now() > deadline {
            return Err(format!("what was written since the calls was not read in {} s", READ.as_secs()));
        }
    }
    Ok(())
}

fn said(error: journal::Error) -> String {
    error.to_string()
}
