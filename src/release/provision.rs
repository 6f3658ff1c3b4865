//! What is held because nobody knows what an attempt that has ended used, and an operator's word that it was nothing more.
//!
//! It is a correction like any other: numbered within its attempt, taken back and charged anew at the same cost, and proved by replay.

use std::collections::{BTreeMap, BTreeSet};

use schemas::{
    config::Config,
    error_code::ErrorCode,
    event::{Event, Posting, RELEASE, Settled, Why},
    id::InstanceId,
    ledger::{Entry, Fact},
    limit::Unit,
    standing::{Clears, Key, Named, Standings, key},
    time::{self, Time},
    tokens::{Completeness, Usage},
    wire,
};

use super::{Standing, shown};
use crate::{failure::Failure, history::History, scribe::Scribe};

/// So many attempts are kept for the list, the oldest; some 200 bytes each.
const KEPT: usize = 100_000;
/// So many of them are listed.
const LISTED: usize = 50;

/// Says that an attempt used nothing beyond what is known of it.
pub(super) fn release(of: Key, config: &Config, mut scribe: Scribe) -> Result<(), Failure> {
    let nothing = |text: String| Failure::coded(ErrorCode::NothingToRelease, text);
    let mut standings = Standings::of(std::iter::once(of));
    History::new(scribe.road(), config).entries(|_, entry| standings.take(&entry))?;
    let now = Standing::read(scribe.road())?;
    let (call, attempt) = of;
    let stands = standings.all.remove(&of).flatten();
    let Some(stands) = stands else {
        scribe.leave()?;
        return Err(nothing(format!("the ledger has no attempt {attempt} of call {call} that has ended")));
    };
    let name = |posting: &Posting| {
        let (home, instance) = now.instances.iter().find(|(_, instance)| instance.id == posting.instance)?;
        let unit = now.limit(instance)?.unit;
        Some(Named { home: *home, limit: instance.limit, values: instance.values.clone(), unit })
    };
    let usage = Usage { parts: stands.usage().parts.clone(), completeness: Completeness::Exact };
    let id = format!("{call}/{attempt}/{}", stands.number);
    let said = (RELEASE.to_owned(), id.clone(), wire::hash(RELEASE.as_bytes()));
    let why = (Why::Released, Clears::Everything);
    let learned = stands.correct((usage, stands.cost()), why, said, time::now(), name);
    if learned.moves.is_empty() {
        scribe.leave()?;
        return Err(nothing(format!("nothing of attempt {attempt} of call {call} is held in a window that is kept")));
    }
    let (lane, moves) = (learned.lane(scribe.road().lanes()), learned.moves.clone());
    scribe.write(lane, &Event::Learned(Box::new(learned)))?;
    scribe.confirmed()?;
    scribe.leave()?;
    println!("attempt {attempt} of call {call} used nothing more than is known; what was held for it is free:");
    for moved in moves {
        let limit = now.limit_of(moved.limit);
        let (unit, limit) = limit.map_or((Unit::Requests, ""), |limit| (limit.unit, &limit.name));
        println!("  {limit:<40} {} {}", unit.name(), shown(unit, moved.clears));
    }
    Ok(())
}

/// The attempts of which something is held, in windows that last.
pub(super) struct Held {
    /// The counters that hold something for what nobody knows, and their windows.
    lasting: BTreeSet<(InstanceId, Time)>,
    held: BTreeMap<Key, Vec<Posting>>,
    more: usize,
}

impl Held {
    /// None yet.
    pub(super) fn of(standing: &Standing, now: Time) -> Self {
        let lasting = standing.instances.iter().flat_map(|(_, instance)| {
            let counts = standing.limit(instance).is_some_and(|limit| limit.unit != Unit::Concurrent);
            let windows = instance.windows.iter().filter(move |window| counts && window.end > now);
            windows.filter(|window| instance.unknown(window) > 0).map(|window| (instance.id, window.start))
        });
        Self { lasting: lasting.collect(), held: BTreeMap::new(), more: 0 }
    }

    /// Whether there may be any.
    pub(super) fn is_wanted(&self) -> bool {
        !self.lasting.is_empty()
    }

    /// Takes the next entry.
    pub(super) fn take(&mut self, entry: &Entry) {
        match &entry.fact {
            Fact::Charged(charged) => self.stands(&charged.settled, true),
            Fact::Corrected(corrected) => self.stands(&corrected.charged.settled, false),
            _ => {}
        }
    }

    fn stands(&mut self, settled: &Settled, is_first: bool) {
        let is_held =
            |posting: &&Posting| posting.provision > 0 && self.lasting.contains(&(posting.instance, posting.window));
        let (of, posted) = (key(settled), settled.posted.iter().filter(is_held).copied().collect::<Vec<_>>());
        match (posted.is_empty(), self.held.contains_key(&of)) {
            (true, _) => drop(self.held.remove(&of)),
            (false, false) if self.held.len() >= KEPT => self.more += usize::from(is_first),
            (false, _) => drop(self.held.insert(of, posted)),
        }
    }

    /// Lists them.
    pub(super) fn list(&self, standing: &Standing) {
        if self.lasting.is_empty() {
            return;
        }
        println!(
            "held for what nobody knows of attempts that have ended (`tollgate release --call CALL_ID` frees it):"
        );
        for ((call, attempt), posted) in self.held.iter().take(LISTED) {
            println!("{call} attempt {attempt}");
            for posting in posted {
                let instance = standing.instances.iter().find(|(_, instance)| instance.id == posting.instance);
                let Some((_, instance)) = instance else { continue };
                let unit = standing.limit(instance).map_or(Unit::Requests, |limit| limit.unit);
                println!("  {:<40} {} {}", standing.name(instance), unit.name(), shown(unit, posting.provision));
            }
        }
        let more = self.more + self.held.len().saturating_sub(LISTED);
        if more > 0 {
            println!("and {more} more");
        }
    }
}
