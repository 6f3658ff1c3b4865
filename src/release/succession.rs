//! What a release writes: it takes the place of whoever is gone, and ends what that left open.
//!
//! Both are records of the command's own producer, and it may die between any two of them. What it has written is in its journal, or with
//! metering; what it has not written the ledger still shows: attempts without an end, of those whose place it has taken. So the next release
//! goes on from there, whoever runs it: it ends what it is heir to. Metering takes an end of an attempt from its heir alone, and this
//! command reads the ledger when all that it and its predecessors wrote is in it, so none is ended twice.

use std::collections::{BTreeSet, HashMap};

use gateway::recover::Left;
use journal::Predecessor;
use schemas::{
    config::Config,
    event::{Admitted, Counter, Event, Found, Opened},
    id::{InstanceId, Lane, ProducerId, Seq},
    ledger::{Entry, Fact},
    standing::{Key, key},
    time::{self, Time},
};

use super::{Args, Standing, heard_lately};
use crate::{
    failure::Failure,
    history::History,
    scribe::{self, Scribe},
};

/// Releases what is meant, and goes on with releases that broke off.
pub(super) fn release(args: &Args, config: &Config, mut scribe: Scribe) -> Result<(), Failure> {
    let standing = Standing::read(scribe.road())?;
    let (me, is_command) =
        (scribe.producer(), |of: &ProducerId| standing.runs.get(of).is_some_and(super::Run::is_command));
    let silent = standing.silent(args, me)?;
    let (mut left, taken) = read(&standing, (&silent, me), &History::new(scribe.road(), config))?;
    // A command has no leases: its place is taken for what it has not ended.
    left.retain(|(producer, left)| !left.is_empty() || !is_command(producer));
    if left.is_empty() && taken.is_empty() {
        println!("its journal was opened again or it was released before: it has nothing any more");
        return scribe.leave();
    }
    // To read the ledger takes a while, and whoever spoke in it is alive.
    let now = Standing::read(scribe.road())?;
    for (producer, left) in &left {
        open_in_its_place(&mut scribe, &standing, &now, *producer, left)?;
    }
    let producers: Vec<ProducerId> = left.iter().map(|(producer, _)| *producer).collect();
    if !taken.is_empty() {
        println!("a release broke off here, and is gone on with:");
    }
    end(&mut scribe, left.into_iter().map(|(_, left)| left).chain([taken]))?;
    scribe.confirmed()?;
    let after = Standing::read(scribe.road())?;
    scribe.leave()?;
    if producers.iter().any(|producer| after.runs.get(producer).is_some_and(|run| !run.last.is_empty())) {
        return Err(heard_lately(after.policy.metering.silence()));
    }
    println!("released; of its leases there stays:");
    producers.iter().for_each(|producer| after.show(*producer));
    Ok(())
}

/// What the ledger tells of each of these, and of those whose place this command has taken before.
fn read(
    standing: &Standing,
    (silent, me): (&[ProducerId], ProducerId),
    history: &History<'_>,
) -> Result<(Vec<(ProducerId, Left)>, Left), Failure> {
    let mut left: Vec<_> = silent.iter().map(|producer| (*producer, Left::of(Some(*producer)))).collect();
    let (mut taken, kept) = (Left::default(), standing.kept());
    let has = |heir: ProducerId, of| standing.runs.get(&heir).is_some_and(|run| run.before.contains(&of));
    if left.is_empty() && standing.runs.get(&me).is_none_or(|run| run.before.is_empty()) {
        return Ok((left, taken));
    }
    history.entries(|lane, entry| {
        for (producer, left) in &mut left {
            tell(left, |by| by == *producer || has(*producer, (lane, by)), lane, &entry, &kept);
        }
        tell(&mut taken, |by| has(me, (lane, by)), lane, &entry, &HashMap::new());
    })?;
    Ok((left, taken))
}

/// Takes what the ledger tells of a producer, as its journal would have told it: of counters, those that are kept.
fn tell(
    left: &mut Left,
    is_its: impl Fn(ProducerId) -> bool,
    lane: Lane,
    entry: &Entry,
    kept: &HashMap<InstanceId, Time>,
) {
    match &entry.fact {
        Fact::Admitted(begun) => {
            let Some(producer) = begun.producer.filter(|producer| is_its(*producer)) else { return };
            let found = Found { producer, seq: Seq(0) };
            let (attempt, holds) = (begun.attempt.clone(), begun.holds.clone());
            left.take(found, lane, Event::Admitted(Box::new(Admitted { attempt, holds })));
        }
        Fact::Streamed(streamed) => {
            let Some(found) = left.found(streamed.call, streamed.attempt) else { return };
            left.take(found, lane, Event::Streamed(streamed.clone()));
        }
        Fact::Charged(charged) => {
            let attempt = &charged.settled.attempt;
            let Some(found) = left.found(attempt.call, attempt.attempt) else { return };
            let mut settled = charged.settled.clone();
            let is_kept = |counter: &Counter| kept.get(&counter.instance).is_some_and(|first| counter.window >= *first);
            settled.counters.retain(is_kept);
            left.take(found, lane, Event::Settled(Box::new(settled)));
        }
        Fact::Balance(instance) if kept.contains_key(&instance.id) => left.lives(instance.id, lane),
        _ => {}
    }
}

/// Takes a producer's place in every lane where nobody has.
fn open_in_its_place(
    scribe: &mut Scribe,
    standing: &Standing,
    now: &Standing,
    producer: ProducerId,
    left: &Left,
) -> Result<(), Failure> {
    let (Some(run), Some(before)) = (now.runs.get(&producer), standing.runs.get(&producer)) else { return Ok(()) };
    if run.last != before.last {
        return Err(heard_lately(now.policy.metering.silence()));
    }
    println!("{} (producer {producer}), last heard {}:", run.gateway, run.heard);
    now.show(producer);
    let untold = now.untold(producer, left);
    if untold > 0 {
        println!(
            "  {untold} of these counters count calls that are lost with its journal: `tollgate replay` will name them"
        );
    }
    let before = Predecessor { producer, last: run.last.clone(), is_copied: false };
    for lane in before.last.keys() {
        let predecessor = Some(left.predecessor(&before, *lane));
        let opened = Opened { gateway: scribe::NAME.to_owned(), at: time::now(), predecessor };
        scribe.write(*lane, &Event::Opened(opened))?;
    }
    Ok(())
}

/// Ends what is open, each once: what one had taken over from another is found with both.
fn end(scribe: &mut Scribe, left: impl Iterator<Item = Left>) -> Result<(), Failure> {
    let (at, mut ended) = (time::now(), BTreeSet::<Key>::new());
    for (lane, end) in left.flat_map(|left| left.ends(at)) {
        let Event::Settled(settled) = &end else { continue };
        if ended.insert(key(settled)) {
            scribe.write(lane, &end)?;
        }
    }
    println!("  {} attempts without an end are settled as unknown", ended.len());
    Ok(())
}
