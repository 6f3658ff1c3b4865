//! `tollgate release`: who may still have something of a limit, and an operator's word that a gateway never comes back.
//!
//! A release is a succession without a journal. What the gateway's last records would tell, the ledger tells as far as they came: the
//! command opens the lanes in its place, settles as unknown what was admitted and has no end, and metering closes the leases as it does
//! for any successor. What the gateway had not shipped is lost with its disk: it is in no table, and what it spent of its leases
//! in that time counts nowhere. So one that is heard is not released, and one that comes back has to start again.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use gateway::recover::Left;
use journal::{Predecessor, Road};
use schemas::{
    config::Config,
    decision::{Instance, State},
    error_code::ErrorCode,
    event::{Admitted, Counter, Event, Opened},
    id::{InstanceId, Lane, ProducerId, Seq},
    ledger::{Entry, Fact},
    limit::Unit,
    money::Pico,
    policy::Policy,
    time::{self, Time},
};

use crate::{
    failure::Failure,
    history::{self, History},
    load::load,
    publish::published,
    roles::open_road,
    scribe::{self, Scribe},
};

/// List the gateways that may still have something leased, or release one whose disk is lost for good.
///
/// Without a name it reads only. With one, what metering has accepted of the gateway is all there is: attempts without an end are settled
/// as unknown and stay held until their windows end, and the rest of its leases is free for others. It is refused while the gateway is
/// heard; stop one that lives instead. A log on disk has one process, so stop that first; on Kafka metering has to run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Release the gateway of this name, as the list shows it.
    #[arg(long, value_name = "NAME", conflicts_with = "producer")]
    gateway: Option<String>,
    /// Release this producer alone: one run of a gateway.
    #[arg(long, value_name = "ID", value_parser = producer)]
    producer: Option<ProducerId>,
    /// The configuration file; only its `log` is used.
    #[arg(long, value_name = "FILE", default_value = "tollgate.yaml")]
    config: PathBuf,
}

fn producer(text: &str) -> Result<ProducerId, &'static str> {
    ProducerId::parse(text).ok_or("write a producer's id as the list shows it")
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let loaded = match load(&args.config) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let done = if args.gateway.is_none() && args.producer.is_none() {
        open_road(&loaded.config).and_then(|road| Standing::read(&*road)).map(|standing| standing.list(time::now()))
    } else {
        Scribe::open(&loaded.config).and_then(|scribe| release(args, &loaded.config, scribe))
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One run of a gateway.
#[derive(Default)]
struct Run {
    gateway: String,
    /// When metering last accepted something of it, in any lane.
    heard: Time,
    /// How far it was accepted, in the lanes where nobody has succeeded it.
    last: BTreeMap<Lane, Seq>,
}

/// How things stand by metering's word.
struct Standing {
    runs: BTreeMap<ProducerId, Run>,
    instances: Vec<(Lane, Instance)>,
    policy: Arc<Policy>,
    /// Metering's own time, when it last wrote.
    now: Time,
}

impl Standing {
    fn read(road: &dyn Road) -> Result<Self, Failure> {
        let policy = published(road)?.0.in_force().cloned();
        let policy = policy.ok_or("no policy was ever published, so nobody can have leased anything")?;
        let mut standing = Self { runs: BTreeMap::new(), instances: Vec::new(), policy, now: Time::ZERO };
        for (lane, state) in history::states(road)? {
            match state {
                State::Lane(state) => {
                    standing.now = standing.now.max(state.recorded_at);
                    for mark in state.producers {
                        let run = standing.runs.entry(mark.producer).or_default();
                        run.heard = run.heard.max(mark.accepted_at);
                        run.gateway = mark.gateway;
                        if !mark.closed {
                            run.last.insert(lane, mark.seq);
                        }
                    }
                }
                State::Instance(instance) => standing.instances.push((lane, *instance)),
                State::Schedule(_) | State::Claim(_) => {}
            }
        }
        let name = |instance: &Instance| (instance.limit, instance.values.clone(), instance.id);
        standing.instances.sort_by_cached_key(|(_, instance)| name(instance));
        Ok(standing)
    }

    /// Lists who was not succeeded, and what it has.
    fn list(&self, now: Time) {
        let budget = self.policy.metering.outage_budget;
        let open = self.runs.iter().filter(|(_, run)| !run.last.is_empty() && run.gateway != scribe::NAME);
        for (producer, run) in open {
            let silence = now.since(run.heard);
            let silent = if silence > budget { ", silent" } else { "" };
            println!("{:<32} {producer}  last heard {} ({} s ago{silent})", run.gateway, run.heard, silence.as_secs());
            self.show(*producer);
        }
        println!("silent: not heard for more than {} s, and may be released", budget.as_secs());
    }

    /// What a producer has of each counter.
    fn show(&self, producer: ProducerId) {
        for (_, instance) in &self.instances {
            let Some(holder) = instance.holders.iter().find(|holder| holder.producer == producer) else { continue };
            let used = instance.current().map_or(0, |window| holder.used_in(window.start));
            if (holder.lease(), holder.held, used) == (0, 0, 0) {
                continue;
            }
            let limit = self.policy.limits.iter().find(|limit| limit.id() == instance.limit);
            let unit = limit.map_or(Unit::Requests, |limit| limit.unit);
            let name = limit.map_or_else(|| instance.limit.to_string(), |limit| limit.name.clone());
            let [leased, used, held] = [holder.lease(), used, holder.held].map(|amount| match unit {
                Unit::Usd => Pico(amount).to_string(),
                _ => amount.to_string(),
            });
            let of = std::iter::once(name).chain(instance.values.iter().cloned()).collect::<Vec<_>>().join(" ");
            println!("  {of:<40} {} leased {leased}, used {used}, held {held}", unit.name());
        }
    }

    /// The counters that metering keeps, and from which window on.
    fn kept(&self) -> HashMap<InstanceId, Time> {
        let first = |instance: &Instance| instance.windows.first().map_or(Time::ZERO, |window| window.start);
        self.instances.iter().map(|(_, instance)| (instance.id, first(instance))).collect()
    }

    /// How many counters of a producer say more than the calls that came: it reported use in one lane, and what used it in another did
    /// not come any more.
    fn untold(&self, producer: ProducerId, left: &Left) -> usize {
        let holders = self.instances.iter().filter_map(|(_, instance)| {
            Some((instance.id, instance.holders.iter().find(|holder| holder.producer == producer)?))
        });
        let used = holders.flat_map(|(id, holder)| holder.used.iter().map(move |(window, used)| (id, *window, *used)));
        used.filter(|(instance, window, used)| *used > left.used(*instance, *window)).count()
    }

    /// The runs that are meant and may be released.
    fn silent(&self, args: &Args) -> Result<Vec<ProducerId>, Failure> {
        let budget = self.policy.metering.outage_budget;
        let is_meant = |(producer, run): &(&ProducerId, &Run)| {
            args.producer == Some(**producer) || args.gateway.as_ref() == Some(&run.gateway)
        };
        let meant: Vec<_> = self.runs.iter().filter(is_meant).filter(|(_, run)| run.gateway != scribe::NAME).collect();
        if meant.is_empty() {
            let text = "metering knows no such gateway; `tollgate release` without a name lists those that it knows";
            return Err(Failure::coded(ErrorCode::NothingToRelease, text));
        }
        let open = meant.into_iter().filter(|(_, run)| !run.last.is_empty());
        let (silent, heard): (Vec<_>, Vec<_>) = open.partition(|(_, run)| self.now.since(run.heard) > budget);
        for (producer, run) in &heard {
            eprintln!("{} (producer {producer}) was heard {} s ago", run.gateway, self.now.since(run.heard).as_secs());
        }
        if silent.is_empty() && !heard.is_empty() {
            return Err(heard_lately(budget));
        }
        Ok(silent.into_iter().map(|(producer, _)| *producer).collect())
    }
}

fn heard_lately(budget: Duration) -> Failure {
    let text = format!(
        "it was heard within {} s, so it keeps its leases; stop it, or wait until it is silent",
        budget.as_secs()
    );
    Failure::coded(ErrorCode::GatewayHeard, text)
}

fn release(args: &Args, config: &Config, mut scribe: Scribe) -> Result<(), Failure> {
    let standing = Standing::read(scribe.road())?;
    let silent = standing.silent(args)?;
    if silent.is_empty() {
        println!("its journal was opened again or it was released before: it has nothing any more");
        return scribe.leave();
    }
    let mut left: Vec<(ProducerId, Left)> =
        silent.iter().map(|producer| (*producer, Left::of(Some(*producer)))).collect();
    let kept = standing.kept();
    History::new(scribe.road(), config).entries(|lane, entry| {
        left.iter_mut().for_each(|(producer, left)| tell(left, *producer, lane, &entry, &kept));
    })?;
    // To read the ledger takes a while, and whoever spoke in it is alive.
    let now = Standing::read(scribe.road())?;
    for (producer, left) in left {
        let (Some(run), Some(before)) = (now.runs.get(&producer), standing.runs.get(&producer)) else { continue };
        if run.last != before.last {
            return Err(heard_lately(now.policy.metering.outage_budget));
        }
        println!("{} (producer {producer}), last heard {}:", run.gateway, run.heard);
        now.show(producer);
        let untold = now.untold(producer, &left);
        if untold > 0 {
            println!(
                "  {untold} of these counters count calls that are lost with its journal: `tollgate replay` will name them"
            );
        }
        let unknown = succeed(&mut scribe, &Predecessor { producer, last: run.last.clone() }, left)?;
        println!("  {unknown} attempts without an end are settled as unknown");
    }
    scribe.confirmed()?;
    let after = Standing::read(scribe.road())?;
    scribe.leave()?;
    if silent.iter().any(|producer| after.runs.get(producer).is_some_and(|run| !run.last.is_empty())) {
        return Err(heard_lately(after.policy.metering.outage_budget));
    }
    println!("released; of its leases there stays:");
    silent.iter().for_each(|producer| after.show(*producer));
    Ok(())
}

/// Takes what the ledger tells of a producer, as its journal would have told it: of counters, those that are kept.
fn tell(left: &mut Left, producer: ProducerId, lane: Lane, entry: &Entry, kept: &HashMap<InstanceId, Time>) {
    match &entry.fact {
        Fact::Admitted(begun) if begun.producer == Some(producer) => {
            let (attempt, holds) = (begun.attempt.clone(), begun.holds.clone());
            left.take(producer, lane, Event::Admitted(Box::new(Admitted { attempt, holds })));
        }
        Fact::Streamed(streamed) if left.is_open(streamed.call, streamed.attempt) => {
            left.take(producer, lane, Event::Streamed(streamed.clone()));
        }
        Fact::Charged(charged) if left.is_open(charged.settled.attempt.call, charged.settled.attempt.attempt) => {
            let mut settled = charged.settled.clone();
            let is_kept = |counter: &Counter| kept.get(&counter.instance).is_some_and(|first| counter.window >= *first);
            settled.counters.retain(is_kept);
            left.take(producer, lane, Event::Settled(Box::new(settled)));
        }
        Fact::Balance(instance) if kept.contains_key(&instance.id) => left.lives(instance.id, lane),
        _ => {}
    }
}

/// Takes a producer's place in every lane where nobody has; says how many attempts it left open.
fn succeed(scribe: &mut Scribe, before: &Predecessor, left: Left) -> Result<usize, Failure> {
    let at = time::now();
    for lane in before.last.keys() {
        let predecessor = Some(left.predecessor(before, *lane));
        let opened = Opened { gateway: scribe::NAME.to_owned(), at, predecessor };
        scribe.write(&[*lane], &Event::Opened(opened))?;
    }
    let ends = left.ends(at);
    let unknown = ends.len();
    for (lane, end) in ends {
        scribe.write(&[lane], &end)?;
    }
    Ok(unknown)
}
