//! The past, for the commands that look back: every entry of the ledger, every price book, and the decisions as they stand.
//!
//! What the log has let go of comes from the archive in the lake, up to the first record that the log has; then the log goes on. So
//! the entries are the same, in the same order, whatever was trimmed; where something is in neither place there is an error that names
//! it, and never less of the past. It writes nothing.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use journal::Road;
use schemas::{
    config::Config,
    decision::{LaneState, State},
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

/// The past of a log.
pub(crate) struct History<'r> {
    road: &'r dyn Road,
    lake: String,
}

impl<'r> History<'r> {
    /// That of a road and of the lake that a configuration names.
    pub(crate) fn new(road: &'r dyn Road, config: &Config) -> Self {
        Self { road, lake: config.lake.to_string() }
    }

    /// Every entry of the ledger, of each lane in order, up to where it ended at the call.
    pub(crate) fn entries(&self, mut take: impl FnMut(Lane, Entry)) -> Result<(), Failure> {
        let kept = self.road.kept()?;
        if kept.iter().any(|first| first.0 > 0) {
            archived(&self.lake, &kept, &mut take)?;
        }
        read(self.road, Topic::Ledger, kept, |lane, body| {
            take(lane, wire::decode_entry(body)?);
            Ok(())
        })
    }

    /// Every price book that was published.
    pub(crate) fn books(&self, mut take: impl FnMut(Arc<Book>)) -> Result<(), Failure> {
        read(self.road, Topic::Policy, vec![Offset(0)], |_, body| {
            if let policy::Record::Book(book) = wire::decode_policy(body)? {
                take(Arc::new(*book));
            }
            Ok(())
        })
    }
}

/// The entries before these offsets, by lane, from the lake.
#[cfg(feature = "query")]
fn archived(lake: &str, to: &[Offset], take: &mut impl FnMut(Lane, Entry)) -> Result<(), Failure> {
    let lanes = u16::try_from(to.len()).unwrap_or(u16::MAX);
    query::archive::Archive::open(lake, lanes)?.read(to, |lane, body| {
        take(lane, wire::decode_entry(body).map_err(|error| error.to_string())?);
        Ok(())
    })?;
    Ok(())
}

#[cfg(not(feature = "query"))]
fn archived(lake: &str, to: &[Offset], _: &mut impl FnMut(Lane, Entry)) -> Result<(), Failure> {
    Err(Failure::trimmed(lake, to))
}

/// How far what lanes pass to each other goes, by the lane that passed it and the one it was passed to, and how far it was taken.
#[derive(Clone, Default)]
pub(crate) struct Passages(BTreeMap<(Lane, Lane), (u64, u64)>);

impl Passages {
    /// A lane says how far it is.
    pub(crate) fn hear(&mut self, lane: Lane, state: &LaneState) {
        for passed in &state.passed {
            self.0.entry((lane, passed.lane)).or_default().0 = passed.number;
        }
        for taken in &state.taken {
            self.0.entry((taken.lane, lane)).or_default().1 = taken.number;
        }
    }

    /// How much of what was passed is not taken.
    pub(crate) fn missing(&self) -> u64 {
        self.0.values().map(|(passed, taken)| passed.saturating_sub(*taken)).sum()
    }

    /// How much of what was passed by `then` is not taken now, where something was passed since `since`. What is lost stays missing until
    /// something comes after it.
    pub(crate) fn missing_since(&self, since: &Self, then: &Self) -> u64 {
        let of = |passages: &Self, way: &(Lane, Lane)| passages.0.get(way).copied().unwrap_or_default();
        let newer = then.0.iter().filter(|(way, (passed, _))| *passed > of(since, way).0);
        newer.map(|(way, (passed, _))| passed.saturating_sub(of(self, way).1)).sum()
    }
}

/// The same as [`states`], at a moment at which lanes have taken all that others passed to them; where that never comes it is said.
pub(crate) fn states_in_step(road: &dyn Road) -> Result<Vec<(Lane, State)>, Failure> {
    let begun = Instant::now();
    loop {
        let (states, mut passages) = (states(road)?, Passages::default());
        for (lane, state) in &states {
            if let State::Lane(state) = state {
                passages.hear(*lane, state);
            }
        }
        let missing = passages.missing();
        if missing > 0 && begun.elapsed() > PATIENCE {
            eprintln!(
                "warning: {missing} that lanes passed to each other are not taken; metering is not running, or they are lost"
            );
        } else if missing > 0 {
            std::thread::sleep(LOOK);
            continue;
        }
        return Ok(states);
    }
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
    mut next: Vec<Offset>,
    mut take: impl FnMut(Lane, &[u8]) -> Result<(), WireError>,
) -> Result<(), Failure> {
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
