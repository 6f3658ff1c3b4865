//! Worlds without chance: schedules by which limits are broken elsewhere, step by step through gateways, metering and the log, with the
//! oracle looking on.

use std::time::Duration;

use gateway::settlement::End;

use super::{
    World,
    call::{Bill, Stage, Wish, ending},
    dice::Dice,
    policy::{LONGEST, of_a_second},
};

/// How long a failover of metering takes at most: `journal/src/kafka/lane.rs` says so.
const FAILOVER: Duration = Duration::from_secs(26);

impl World {
    /// A world in which nothing goes wrong by itself.
    fn scripted(doors: usize) -> Self {
        let mut world = Self::over(1, doors, None);
        world.road.lock().calm = true;
        world.settle_down();
        world
    }

    fn settle_down(&mut self) {
        assert!(self.come_to_rest(), "{:?}", self.oracle.violations);
        let now = self.clock.now();
        self.oracle.quiet(now);
        assert!(self.oracle.violations.is_empty(), "{:?}", self.oracle.violations);
    }

    /// Somebody calls, and tries for so many rounds; says whether the call passed.
    fn try_call(&mut self, place: usize, wish: Wish, rounds: usize) -> bool {
        let before = self.passed;
        assert!(self.call(place, wish, None), "nobody took it up");
        for _ in 0..rounds {
            if self.passed > before {
                break;
            }
            self.round();
            let waits = |call: &super::call::Call| call.stage == Stage::Waiting;
            let process = self.doors[place].process.as_ref().unwrap();
            if let Some(at) = process.calls.iter().position(waits) {
                self.admit(place, at);
            }
        }
        self.passed > before
    }
}

fn wish(tenant: usize, input: u64, output: u64) -> Wish {
    let bill = Bill { input, output };
    Wish { tenant, user: 0, provider: 0, model: 0, feature: None, bound: bill, bill, hidden: false }
}

/// Every member of metering is gone, for as long as it takes another one to take over. What gateways have leased lasts for longer: every
/// call goes on, each at once.
#[test]
fn calls_go_on_while_metering_fails_over() {
    let mut world = World::scripted(2);
    let call = wish(0, 20, 10);
    // Demand becomes known.
    for turn in 0..20 {
        assert!(world.try_call(turn % 2, call, 100), "{}", world.refused);
        world.come_to_rest();
        world.clock.pass(Duration::from_secs(2));
    }
    world.members.iter_mut().for_each(|member| *member = None);
    let until = world.clock.at() + FAILOVER;
    let mut turn = 0;
    while world.clock.at() < until {
        assert!(world.try_call(turn % 2, call, 0), "after {turn} calls: {}", world.refused);
        world.round();
        (0..2).for_each(|place| world.end_calls(place));
        world.clock.pass(Duration::from_secs(2));
        turn += 1;
    }
    (0..2).for_each(|place| world.start_again(place));
    world.settle_down();
    assert!(turn > 10, "{turn} calls were made");
}

/// Ten gateways have some of an amount each, and nobody has what one call needs. It passes at any of them within a second: one round to
/// ask, one in which the others return what they do not use, and one in which it is granted.
#[test]
fn of_ten_gateways_that_each_have_some_any_gets_all_of_it() {
    let mut world = World::scripted(10);
    for place in 0..10 {
        assert!(world.try_call(place, wish(0, 10, 10), 200), "{}", world.refused);
        world.settle_down();
    }
    for place in [3, 7] {
        let now = world.clock.now();
        let left = world.oracle.affordable(&wish(0, 1, 0), 0, now).unwrap();
        assert!(left > 1_000, "{left} are left");
        let most = wish(0, u64::try_from(left).unwrap() / 2, 0);
        assert!(world.try_call(place, most, 50), "half of {left} at {place}: {}", world.refused);
        world.settle_down();
    }
    let now = world.clock.now();
    let left = world.oracle.affordable(&wish(0, 1, 0), 0, now).unwrap();
    let last = wish(0, u64::try_from(left).unwrap(), 0);
    assert!(world.try_call(9, last, 50), "the last {left}: {}", world.refused);
    world.settle_down();
    assert!(!world.try_call(0, wish(0, 1, 0), 50), "nothing is left");
}

/// A call that holds nothing of a limit of a second goes on for longer than windows are remembered. When it ends, nothing is forgotten of
/// what others used of the second that lasts.
#[test]
fn a_call_that_holds_nothing_of_a_second_takes_nothing_from_the_one_that_it_ends_in() {
    let mut world = World::scripted(1);
    world.limits.push(of_a_second());
    world.publish(0);
    world.settle_down();
    let second = |world: &World| world.clock.now().as_micros().div_euclid(1_000_000);
    let next_second = |world: &mut World| {
        let into = world.clock.now().as_micros().rem_euclid(1_000_000);
        world.clock.pass(Duration::from_micros(u64::try_from(1_000_000 - into).unwrap()));
    };
    // Now and then a hold is given back at once.
    let passes = |world: &mut World, wish: Wish| {
        let passed = (0..3).any(|_| world.try_call(0, wish, 40));
        world.flush_all(0);
        assert!(passed, "{}", world.refused);
    };
    passes(&mut world, wish(0, 10, 0));
    for _ in 0..3 {
        next_second(&mut world);
        passes(&mut world, wish(0, 1, 10));
    }
    next_second(&mut world);
    let begun = second(&world);
    for _ in 0..5 {
        passes(&mut world, wish(0, 1, 10));
        let last = world.doors[0].process.as_ref().unwrap().calls.len() - 1;
        world.end(0, last, End::Complete);
        world.flush_all(0);
    }
    assert!(!world.try_call(0, wish(0, 1, 10), 0), "all of it is used");
    world.end(0, 0, End::Complete);
    world.flush_all(0);
    assert!(!world.try_call(0, wish(0, 1, 10), 0), "and still is");
    assert_eq!(second(&world), begun, "it lasts");
    world.settle_down();
}

/// A model thinks in silence, and then bills what it thought. It holds its whole cap, also where a stream that is seen would hold a slice;
/// what does not fit with that is refused, though nothing has been relayed, and the bill is within the amount.
#[test]
fn output_that_nobody_sees_is_held_whole_until_it_is_billed() {
    let mut world = World::scripted(1);
    let hidden = Wish { hidden: true, bill: Bill { input: 100, output: 7_900 }, ..wish(2, 100, 8_000) };
    assert!(world.try_call(0, hidden, 100), "{}", world.refused);
    world.flush_all(0);
    let other = Wish { hidden: true, ..wish(2, 500, 500) };
    assert!(!world.try_call(0, other, 50), "what is held for it is not free");
    // Another stream, which is seen, begins with a slice of what is left.
    assert!(world.try_call(0, wish(2, 100, 800), 50), "{}", world.refused);
    world.flush_all(0);
    world.clock.pass(LONGEST / 2);
    assert!(world.oracle.violations.is_empty(), "{:?}", world.oracle.violations);
    world.end(0, 0, End::Complete);
    world.settle_down();
}

/// What was reported may be all that a journal has of an attempt when its gateway dies: no bill of nothing may follow it, as no amendment
/// may lower what stands.
#[test]
fn a_provider_that_has_reported_usage_does_not_turn_the_call_down() {
    let mut dice = Dice::new(1);
    let mut is_free = |reported| (0..1_000).any(|_| matches!(ending(&mut dice, reported), End::Refused | End::NotSent));
    assert!(is_free(false), "a call of which nothing was reported is turned down now and then");
    assert!(!is_free(true));
}
