//! `tollgate release`: who may still have something of a limit, and an operator's word that a gateway never comes back.
//!
//! A release is a succession without a journal. What the gateway's last records would tell, the ledger tells as far as they came: the
//! command opens the lanes in its place, settles as unknown what was admitted and has no end, and metering closes the leases as it does
//! for any successor. What the gateway had not shipped is lost with its disk: it is in no table, and what it spent of its leases
//! in that time counts nowhere. So one that is heard is not released, and one that comes back has to start again. What an attempt that has
//! ended may have used stays held as well; `provision` has what is to be said of that.
//!
//! `succession` is what a release writes, `open` what it has to end.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use gateway::recover::Left;
use journal::Road;
use metering::dedup;
use schemas::{
    config::Log,
    decision::{Instance, State},
    error_code::ErrorCode,
    id::{CallId, InstanceId, Lane, LimitId, ProducerId, Seq},
    limit::{Limit, Unit},
    money::Pico,
    policy::{Policy, changed},
    time::{self, Time},
};

use self::{open::Open, provision::Held};
use crate::{
    failure::Failure,
    history::{self, History},
    load::load,
    publish::published_each,
    roles::open_road,
    scribe::{self, Scribe},
};

mod open;
mod provision;
mod succession;

/// List what is leased by gateways and held for what nobody knows, or release it.
///
/// Without a name it reads only. With a call it says that an attempt that has ended used nothing beyond what is known of it: what was held
/// for that is free. With the name of a gateway whose disk is lost for good, what metering has accepted of the gateway is all there is:
/// attempts without an end are settled as unknown and stay held until their windows end, and the rest of its leases is free for others. It
/// is refused while the gateway is heard; stop one that lives instead. A log on disk has one process, so stop that first; on Kafka
/// metering has to run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Release the gateway of this name, as the list shows it.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["producer", "call"])]
    gateway: Option<String>,
    /// Release this producer alone: one run of a gateway.
    #[arg(long, value_name = "ID", value_parser = producer, conflicts_with = "call")]
    producer: Option<ProducerId>,
    /// Release what is held for what nobody knows of an attempt at this call.
    #[arg(long, value_name = "CALL_ID", value_parser = call)]
    call: Option<CallId>,
    /// Which attempt at the call.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "call")]
    attempt: u16,
    /// The configuration file; only its `log` and `lake` are used.
    #[arg(long, value_name = "FILE", default_value = "tollgate.yaml")]
    config: PathBuf,
}

fn producer(text: &str) -> Result<ProducerId, &'static str> {
    ProducerId::parse(text).ok_or("write a producer's id as the list shows it")
}

fn call(text: &str) -> Result<CallId, &'static str> {
    CallId::parse(text).ok_or("write a call's id as `x-tollgate-call-id` and the list show it")
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let loaded = match load(&args.config) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let config = &loaded.config;
    let done = match args.call {
        Some(call) => Scribe::open(config).and_then(|scribe| provision::release((call, args.attempt), config, scribe)),
        None if args.gateway.is_none() && args.producer.is_none() => open_road(config).and_then(|road| {
            let standing = Standing::read(&*road)?;
            let (now, on_disk) = (time::now(), matches!(config.log, Log::Disk { .. }));
            let mut open = if on_disk { Open::default() } else { Open::of(&standing, now) };
            let mut held = Held::of(&standing, now);
            if open.is_wanted() || held.is_wanted() {
                History::new(&*road, config).entries(|lane, entry| {
                    open.take(lane, &entry);
                    held.take(&entry);
                })?;
            }
            standing.list(&open, now, on_disk);
            held.list(&standing);
            Ok(())
        }),
        None => Scribe::open(config).and_then(|scribe| succession::release(args, config, scribe)),
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
    /// Those that it took over from, by lane: what they left open was its to end.
    before: BTreeSet<(Lane, ProducerId)>,
    /// Who speaks for it where it does not itself.
    heirs: BTreeSet<ProducerId>,
    /// Who opened its journal as a copy, where nobody has taken over from it.
    copies: BTreeSet<ProducerId>,
}

impl Run {
    /// Whether it is one of a command, and no gateway's.
    fn is_command(&self) -> bool {
        self.gateway == scribe::NAME
    }
}

/// How things stand by metering's word.
struct Standing {
    runs: BTreeMap<ProducerId, Run>,
    instances: Vec<(Lane, Instance)>,
    policy: Arc<Policy>,
    /// Limits that are out of force: counters of them may be kept still.
    past: HashMap<LimitId, Limit>,
    /// Metering's own time, when it last wrote.
    now: Time,
}

impl Standing {
    fn read(road: &dyn Road) -> Result<Self, Failure> {
        let (mut before, mut past) = (Vec::new(), HashMap::new());
        let (fold, _) = published_each(road, |policy| {
            past.extend(changed(&before, &policy.limits).iter().map(|limit| (limit.id(), limit.clone())));
            before.clone_from(&policy.limits);
        })?;
        let policy = fold.in_force().cloned();
        let policy = policy.ok_or("no policy was ever published, so nobody can have leased anything")?;
        let mut standing = Self { runs: BTreeMap::new(), instances: Vec::new(), policy, past, now: Time::ZERO };
        for (lane, state) in history::states(road)? {
            match state {
                State::Lane(state) => {
                    standing.now = standing.now.max(state.recorded_at);
                    for mark in &state.producers {
                        let heir = dedup::heir(&state, mark.producer);
                        if heir != mark.producer {
                            standing.runs.entry(heir).or_default().before.insert((lane, mark.producer));
                            standing.runs.entry(mark.producer).or_default().heirs.insert(heir);
                        }
                    }
                    for mark in state.producers {
                        let run = standing.runs.entry(mark.producer).or_default();
                        run.heard = run.heard.max(mark.accepted_at);
                        run.gateway = mark.gateway;
                        if !mark.closed {
                            run.last.insert(lane, mark.seq);
                            run.copies.extend(mark.copy);
                        }
                    }
                }
                State::Instance(instance) => standing.instances.push((lane, *instance)),
                State::Schedule(_) | State::Claim(_) | State::Awaited(_) => {}
            }
        }
        let name = |instance: &Instance| (instance.limit, instance.values.clone(), instance.id);
        standing.instances.sort_by_cached_key(|(_, instance)| name(instance));
        Ok(standing)
    }

    /// Lists who was not succeeded, and what it has. What a gateway on a log on disk left is taken over by whoever opens it next, so there
    /// is nothing to release.
    fn list(&self, open: &Open, now: Time, on_disk: bool) {
        let budget = self.policy.metering.silence();
        let out = self.runs.iter().filter(|(_, run)| !run.last.is_empty() && !run.is_command());
        for (producer, run) in out {
            let silence = now.since(run.heard);
            let is_silent = silence > budget && !on_disk;
            // One that has nothing is waited for all the same, in every `as_of`.
            let silent = match self.has_any(*producer) {
                _ if is_silent => ", silent",
                true => "",
                false => ", has nothing",
            };
            println!("{:<32} {producer}  last heard {} ({} s ago{silent})", run.gateway, run.heard, silence.as_secs());
            self.show(*producer);
            for copy in &run.copies {
                let copy = self.runs.get(copy).map_or_else(|| copy.to_string(), |run| run.gateway.clone());
                println!("  its journal goes on in a copy at {copy}, which ends nothing of it");
            }
            if is_silent {
                println!("  attempts without an end: {}", open.left_to(*producer));
                println!("  if its disk is lost for good: tollgate release --producer {producer}");
            }
        }
        for (producer, left) in open.broken_off(self) {
            let name = self.runs.get(&producer).map_or("", |run| &run.gateway);
            println!("{name:<32} {producer}  its release broke off, and {left} attempts still have no end");
            println!("  go on with it: tollgate release --producer {producer}");
        }
        if on_disk {
            println!("a log on disk has one gateway: what it left is taken over when it is started again");
        } else {
            println!("silent: not heard for more than {} s, and may be released", budget.as_secs());
        }
    }

    /// Whether a producer has anything that a release would free.
    fn has_any(&self, producer: ProducerId) -> bool {
        let holders = self.instances.iter().flat_map(|(_, instance)| &instance.holders);
        let mut own = holders.filter(|holder| holder.producer == producer);
        own.any(|holder| holder.lease() > 0 || holder.held > 0)
    }

    /// The limit that a counter is of, as the policy has it, or had it last.
    fn limit(&self, instance: &Instance) -> Option<&Limit> {
        self.limit_of(instance.limit)
    }

    fn limit_of(&self, id: LimitId) -> Option<&Limit> {
        self.policy.limits.iter().find(|limit| limit.id() == id).or_else(|| self.past.get(&id))
    }

    /// A counter's name, for people.
    fn name(&self, instance: &Instance) -> String {
        let name = self.limit(instance).map_or_else(|| instance.limit.to_string(), |limit| limit.name.clone());
        std::iter::once(name).chain(instance.values.iter().cloned()).collect::<Vec<_>>().join(" ")
    }

    /// What a producer has of each counter.
    fn show(&self, producer: ProducerId) {
        for (_, instance) in &self.instances {
            let Some(holder) = instance.holders.iter().find(|holder| holder.producer == producer) else { continue };
            // What corrections have cleared is not told apart by producer: of all that was unknown no more than this is held.
            let (used, unknown) = instance.current().map_or((0, 0), |window| {
                let held = instance.unknown(window).max(0);
                (holder.used_in(window.start), holder.unknown_in(window.start).min(held))
            });
            let all = [holder.lease(), used, holder.held, unknown];
            if all == [0; 4] {
                continue;
            }
            let unit = self.limit(instance).map_or(Unit::Requests, |limit| limit.unit);
            let [leased, used, held, unknown] = all.map(|amount| shown(unit, amount));
            let of = self.name(instance);
            println!("  {of:<40} {} leased {leased}, used {used}, held {held}, unknown {unknown}", unit.name());
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

    /// The runs that are meant and may be released. A command that took one over and died stands in its place.
    fn silent(&self, args: &Args, me: ProducerId) -> Result<Vec<ProducerId>, Failure> {
        let budget = self.policy.metering.silence();
        let is_meant = |(producer, run): &(&ProducerId, &Run)| {
            !run.is_command() && (args.producer == Some(**producer) || args.gateway.as_ref() == Some(&run.gateway))
        };
        let meant: Vec<_> = self.runs.iter().filter(is_meant).collect();
        if meant.is_empty() {
            let text = "metering knows no such gateway; `tollgate release` without a name lists those that it knows";
            return Err(Failure::coded(ErrorCode::NothingToRelease, text));
        }
        let heirs = meant.iter().flat_map(|(_, run)| &run.heirs).filter(|heir| **heir != me);
        let commands = heirs.filter_map(|heir| self.runs.get_key_value(heir)).filter(|(_, run)| run.is_command());
        let all: BTreeMap<_, _> = meant.iter().copied().chain(commands).collect();
        let open = all.into_iter().filter(|(_, run)| !run.last.is_empty());
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

/// An amount in its unit.
fn shown(unit: Unit, amount: i128) -> String {
    if unit == Unit::Usd { Pico(amount).to_string() } else { amount.to_string() }
}

fn heard_lately(budget: Duration) -> Failure {
    let text = format!(
        "it was heard within {} s, so it keeps its leases; stop it, or wait until it is silent",
        budget.as_secs()
    );
    Failure::coded(ErrorCode::GatewayHeard, text)
}
