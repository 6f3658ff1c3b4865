//! A world: gateways, metering, the log and the lake on one seeded clock, with everything going wrong that may.
//!
//! One thread, no sleeps, no real clock: a step is one throw of the dice, so a seed replays exactly. Now and then the world comes
//! to rest: faults heal, everything is shipped, read and followed, the oracle adds up, and the last affordable unit is asked for.

mod call;
mod calls;
mod clock;
mod dice;
mod door;
mod lowered;
mod mishaps;
mod oracle;
mod past;
mod plant;
mod platter;
mod policy;
mod rest;
mod road;
#[cfg(test)]
mod schedules;
#[cfg(feature = "query")]
mod shelf;
mod told;

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use metering::run::Desk;
use schemas::{id::Lane, limit::Limit, price::Book, wire};

use self::{
    clock::Clock,
    dice::Dice,
    door::{Door, Process, WORKERS},
    oracle::Oracle,
    road::Road,
};
pub(crate) use self::{
    oracle::{Obligation, Violation},
    plant::{PLANTED, Plant},
};

/// As in the binary: in a long run most of the time would be spent in looking for free memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How many lanes the log has.
const LANES: u16 = 3;

/// How many steps there are between rests.
const REST: u64 = 1_500;

/// How many calls pass at least in so many steps a gateway in which one and metering are there; mostly it is twenty times as many.
const FAIR: u64 = 700;
const KEEP_PASSING: u64 = 6;

/// What has to happen in some worlds, or they prove nothing of it.
#[cfg(test)]
pub(crate) const HAPPENS: &[&str] =
    &[mishaps::BESIDE, mishaps::IDENTITY, mishaps::MODE, calls::DOWNGRADED, told::RIVALS, past::LATE, lowered::LOWERED];

/// A world.
pub(crate) struct World {
    dice: Dice,
    clock: Clock,
    road: Road,
    doors: Vec<Door>,
    members: Vec<Option<Member>>,
    #[cfg(feature = "query")]
    shelf: shelf::Shelf,
    /// The lake's own, so that a seed is the same world in a build without it.
    #[cfg(feature = "query")]
    lake: Dice,
    oracle: Oracle,
    /// What was added to the world later has chance of its own, so that it changes nothing of what was there.
    more: Dice,
    /// What other systems tell has chance of its own, and is repeated.
    outside: Dice,
    tellings: Vec<told::Telling>,
    told: u64,
    /// The ledger since the last rest.
    recent: Vec<(Lane, Bytes)>,
    limits: Vec<Limit>,
    books: [Book; 2],
    plant: Option<Plant>,
    /// The number of the next member, since none comes back.
    next_member: u32,
    /// Why the last call that did not pass did not.
    refused: String,
    /// All that has happened, as a number.
    trace: u64,
    /// Steps made.
    pub(crate) steps: u64,
    /// Calls that passed.
    pub(crate) passed: u64,
    /// What has to happen now and then, and how often it did.
    pub(crate) happened: BTreeMap<&'static str, u64>,
    /// How often the last that was left of the limits was asked for, and passed.
    pub(crate) probes: u64,
    /// Calls that had passed when the last rest ended.
    passed_before: u64,
    /// Steps in which calls could pass since that was looked at, and the calls that did.
    fair: u64,
    passed_since: u64,
    /// The fewest calls that passed in so many.
    pub(crate) fewest: u64,
}

/// A process of metering.
struct Member {
    id: u32,
    desk: Desk,
}

/// Where and how a world broke an obligation.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) seed: u64,
    /// After so many steps, and, if they were all, the rest that closes a world.
    pub(crate) steps: u64,
    pub(crate) plant: Option<Plant>,
    /// All that had happened by then.
    pub(crate) trace: u64,
    pub(crate) violation: Violation,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { seed, steps, plant, trace, violation } = self;
        let plant = plant.map(|plant| format!(" --plant {plant:?}")).unwrap_or_default();
        write!(
            f,
            "seed {seed}, {steps} steps: {violation}\n\
             replay: cargo run -p tollgate --example sim -- --seed {seed} --steps {steps}{plant} --trace {trace:016x}"
        )
    }
}

/// Runs a world from a seed; `plant` is the fault to be caught.
pub(crate) fn run(seed: u64, steps: u64, plant: Option<Plant>) -> Result<World, Box<Failure>> {
    Plant::switch(plant);
    let mut world = World::new(seed, plant);
    let failed = |world: &mut World| {
        let violation = world.oracle.violations.drain(..).next()?;
        Some(Box::new(Failure { seed, steps: world.steps, plant, trace: world.trace, violation }))
    };
    let mut failure = None;
    while world.steps < steps && failure.is_none() {
        world.step();
        failure = failed(&mut world);
        if world.steps.is_multiple_of(50_000) {
            eprintln!("{} steps, {} attempts passed", world.steps, world.passed);
        }
    }
    if failure.is_none() {
        world.rest();
        failure = failed(&mut world);
    }
    Plant::switch(None);
    failure.map_or(Ok(world), Err)
}

impl World {
    fn new(seed: u64, plant: Option<Plant>) -> Self {
        // Every third world has more gateways.
        let world = Self::over(seed, if seed.is_multiple_of(3) { 5 } else { 3 }, plant);
        world.road.lock().trouble = 60;
        world
    }

    /// A world of so many gateways in which nothing has gone wrong yet.
    fn over(seed: u64, doors: usize, plant: Option<Plant>) -> Self {
        let mut dice = Dice::new(seed);
        let clock = Clock::new();
        let road = Road::new(LANES, dice.another(), plant);
        let (limits, books) = (policy::limits(), [policy::book(0), policy::book(1)]);
        for body in [policy::book_record(&books[0]), policy::book_record(&books[1]), policy::record(&limits, &books[0])]
        {
            road.publish(body);
        }
        let mut oracle = Oracle::default();
        oracle.published(&limits);
        let doors = (0..doors).map(|number| Door::new(number, &clock)).collect();
        let mut world = Self {
            dice,
            clock,
            road,
            doors,
            members: vec![None, None],
            #[cfg(feature = "query")]
            shelf: shelf::Shelf::new(LANES, &policy::ever(), plant),
            #[cfg(feature = "query")]
            lake: Dice::new(!seed),
            oracle,
            more: Dice::new(!seed.rotate_left(16)),
            outside: Dice::new(seed.rotate_left(32)),
            tellings: Vec::new(),
            told: 0,
            recent: Vec::new(),
            limits,
            books,
            plant,
            next_member: 0,
            refused: String::new(),
            trace: 0,
            steps: 0,
            passed: 0,
            happened: BTreeMap::new(),
            probes: 0,
            passed_before: 0,
            fair: 0,
            passed_since: 0,
            fewest: u64::MAX,
        };
        (0..world.members.len()).for_each(|place| world.start_member(place));
        (0..world.doors.len()).for_each(|place| world.start_door(place));
        world
    }

    /// All that has happened, as a number: runs that have equal ones are the same in every step and every committed byte.
    pub(crate) const fn trace(&self) -> u64 {
        self.trace
    }

    fn traced(&mut self, what: u64) {
        self.trace = (self.trace.rotate_left(7) ^ what).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    /// Where everything stands after a step becomes part of the trace.
    fn trace_step(&mut self) {
        let now = self.clock.now().as_micros() as u64;
        let chance = [self.dice.clone().throw(), self.outside.clone().throw(), now, self.passed];
        let doors = self.doors.iter().flat_map(|door| {
            let platter = door.platter.lock().unwrap();
            let calls = door.process.as_ref().map_or(u64::MAX, |process| process.calls.len() as u64);
            [platter.first(), platter.synced(), platter.end(), calls]
        });
        let all: Vec<u64> = chance.into_iter().chain(doors).collect();
        all.into_iter().for_each(|what| self.traced(what));
    }

    pub(crate) fn happens(&mut self, what: &'static str) {
        *self.happened.entry(what).or_default() += 1;
    }

    /// One throw of the dice.
    fn step(&mut self) {
        self.steps += 1;
        let micros = if self.dice.one_in(300) { self.dice.below(3_000_000) } else { self.dice.below(3_000) };
        self.clock.pass(Duration::from_micros(micros));
        let door = self.dice.index(self.doors.len());
        match self.dice.weighted(&[24, 60, 22, 12, 16, 40, 28, 28, 2, 4]) {
            0 => self.new_call(door),
            1 => self.go_on(door),
            2 => {
                let worker = self.dice.index(WORKERS);
                self.flush(door, worker);
            }
            3 => self.doors[door].platter.lock().unwrap().sync(),
            4 => self.ship(door),
            5 => self.deliver(door),
            6 => self.obey(door),
            7 => {
                let place = self.dice.index(self.members.len());
                self.turn(place);
            }
            8 => self.mishap(),
            _ => self.shelve(),
        }
        if self.outside.one_in(120) {
            let place = self.outside.index(self.doors.len());
            self.tell(place);
        }
        if self.more.one_in(300) {
            let place = self.more.index(self.doors.len());
            self.lose_some(place);
        }
        if self.more.one_in(100) {
            self.run_beside();
        }
        if self.more.one_in(600) {
            self.change_limit();
        }
        for place in 0..self.doors.len() {
            self.report(place);
            self.time_out(place);
        }
        self.fair += u64::from(self.is_fair());
        self.trace_step();
        if self.steps.is_multiple_of(REST) && self.oracle.violations.is_empty() {
            self.progressed();
            self.rest();
            self.passed_before = self.passed;
        }
    }

    /// Whether somebody is there who lets calls pass and has read what he has to know, and somebody who keeps the books for it in
    /// every lane. By a clock that is wrong by more than windows are published ahead nothing passes.
    fn is_fair(&self) -> bool {
        let ready = |door: &Door| door.process.as_ref().is_some_and(Process::is_ready);
        let can = |door: &Door| ready(door) && !door.cut_off && !door.platter.lock().unwrap().full;
        let works = |door: &Door| can(door) && door.clock.is_about_right();
        let alive: Vec<u32> = self.members.iter().flatten().map(|member| member.id).collect();
        self.road.lock().is_served(&alive) && self.doors.iter().any(works)
    }

    /// Whatever goes wrong, calls keep passing: a world that starves proves nothing. Steps in which every gateway is away or
    /// out of time, or whoever keeps the books of a lane is away, do not count.
    fn progressed(&mut self) {
        self.passed_since += self.passed - self.passed_before;
        if self.fair < FAIR * self.doors.len() as u64 {
            return;
        }
        let (passed, steps) = (std::mem::take(&mut self.passed_since), std::mem::take(&mut self.fair));
        self.fewest = self.fewest.min(passed);
        if passed < KEEP_PASSING {
            let detail = format!("{passed} calls passed in {steps} steps; the last that did not: {}", self.refused);
            self.oracle.broken(Obligation::CallsKeepPassing, detail);
        }
    }

    fn start_member(&mut self, place: usize) {
        let id = self.next_member;
        self.next_member += 1;
        let clock = self.clock.of_machine();
        clock.set_skew(self.dice.below(4_000_000) as i64 - 2_000_000);
        let (member, policies) = (self.road.member(id), self.road.policies());
        let (desk, road) =
            (Desk::new(member, policies, LANES, Box::new(move || clock.now())).unwrap(), self.road.clone());
        let desk = desk.with_past(Box::new(move |from| road.past(from)));
        self.members[place] = Some(Member { id, desk });
    }

    /// A process of metering does what there is to do.
    fn turn(&mut self, place: usize) {
        {
            let mut cluster = self.road.lock();
            let members = cluster.members();
            for lane in cluster.ownerless() {
                if !members.is_empty() {
                    let to = members[self.dice.index(members.len())];
                    cluster.give(lane, to);
                }
            }
        }
        // What a gateway has said is known before metering hears it.
        (0..self.doors.len()).for_each(|place| self.read(place));
        if let Some(member) = &mut self.members[place]
            && let Err(error) = member.desk.turn()
        {
            panic!("metering failed: {error}");
        }
        self.look();
    }

    /// The oracle, and the lake, look at what was committed.
    fn look(&mut self) {
        let committed = std::mem::take(&mut self.road.lock().committed);
        for committed in &committed {
            let states =
                committed.decisions.iter().map(|(key, state)| wire::hash(key) ^ state.as_deref().map_or(1, wire::hash));
            let bodies = committed.ledger.iter().map(|body| wire::hash(body));
            let all: Vec<u64> = states.chain(bodies).collect();
            all.into_iter().for_each(|what| self.traced(what));
            self.oracle.committed(committed);
            self.recent.extend(committed.ledger.iter().map(|body| (committed.lane, body.clone())));
        }
    }

    #[cfg(feature = "query")]
    fn shelve(&mut self) {
        self.shelf.step(&self.road, &mut self.lake, &mut self.oracle);
    }

    #[cfg(not(feature = "query"))]
    fn shelve(&mut self) {
        // Without the lake nobody reads the ledger but the oracle, which has seen it.
        for log in &mut self.road.lock().lanes {
            log.ledger_first += log.ledger.len() as u64;
            log.ledger.clear();
        }
    }
}
