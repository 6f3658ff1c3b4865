//! The log from its beginning, and the decisions as they stand, for the commands that look back.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use journal::Road;
use schemas::{
    decision::State,
    id::{Lane, Offset},
    ledger::Entry,
    policy,
    price::Book,
    topics::Topic,
    wire::{self, WireError},
};

use crate::failure::Failure;

/// How long one look at the log may take.
pub(crate) const LOOK: Duration = Duration::from_millis(200);
/// How long the log may give nothing before it counts as away.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Every entry of the ledger, of each lane in order, up to where it ended at the call.
pub(crate) fn entries(road: &dyn Road, mut take: impl FnMut(Lane, Entry)) -> Result<(), Failure> {
    read(road, Topic::Ledger, road.lanes(), |lane, body| {
        take(lane, wire::decode_entry(body)?);
        Ok(())
    })
}

/// Every price book that was published.
pub(crate) fn books(road: &dyn Road, mut take: impl FnMut(Arc<Book>)) -> Result<(), Failure> {
    read(road, Topic::Policy, 1, |_, body| {
        if let policy::Record::Book(book) = wire::decode_policy(body)? {
            take(Arc::new(*book));
        }
        Ok(())
    })
}

/// Everything that gateways obey, and the lane that it is of.
pub(crate) fn states(road: &dyn Road) -> Result<Vec<(Lane, State)>, Failure> {
    let (mut follower, mut found) = (road.follower()?, HashMap::new());
    let mut heard = Instant::now();
    while !follower.caught_up() {
        for change in follower.poll(LOOK)? {
            heard = Instant::now();
            let key = wire::decode_key(&change.key)?;
            match change.state {
                Some(state) => drop(found.insert(key, (change.lane, wire::decode_state(&key, &state)?))),
                None => drop(found.remove(&key)),
            }
        }
        if heard.elapsed() > PATIENCE {
            return Err("the decisions cannot be read to their end; is the log away?".into());
        }
    }
    Ok(found.into_values().collect())
}

fn read(
    road: &dyn Road,
    topic: Topic,
    lanes: u16,
    mut take: impl FnMut(Lane, &[u8]) -> Result<(), WireError>,
) -> Result<(), Failure> {
    let mut next = vec![Offset(0); usize::from(lanes)];
    let mut reader = road.reader(topic, &next)?;
    let ends = reader.ends()?;
    let mut heard = Instant::now();
    while ends.iter().zip(&next).any(|(end, next)| next < end) {
        for record in reader.poll(LOOK)? {
            heard = Instant::now();
            let (lane, offset) = (usize::from(record.lane.0), record.offset);
            if ends.get(lane).is_some_and(|end| offset < *end) {
                take(record.lane, &record.body)
                    .map_err(|error| format!("{topic:?}, lane {lane}, offset {}: {error}", offset.0))?;
            }
            next.get_mut(lane).into_iter().for_each(|next| *next = Offset(offset.0 + 1));
        }
        if heard.elapsed() > PATIENCE {
            return Err("the log cannot be read to its end; is it away?".into());
        }
    }
    Ok(())
}
