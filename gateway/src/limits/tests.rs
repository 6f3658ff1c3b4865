//! What a gateway knows of its leases outlives sweeps, clocks that go back, and a journal that takes nothing for a while.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};

use schemas::{
    bound::{AtMost, Known, OutputCap, Unbounded, Why},
    config::MeteringConfig,
    decision::{Holder, Instance, LaneState, WindowState},
    fixture,
    id::CallId,
    limit::{Dimension, Limit, Match, Mode, OnUnbounded, Schedule, Window},
    money::Pico,
};

use super::*;

mod schedules;
mod together;

const DAY: i64 = 86_400_000_000;

/// A journal that may be full, and what it has.
#[derive(Default)]
pub(crate) struct Paper {
    pub(crate) full: AtomicBool,
    pub(crate) written: Mutex<Vec<Event>>,
    /// The bytes of each append.
    pub(crate) sizes: Mutex<Vec<usize>>,
}

impl Outlet for Paper {
    fn append(&self, drafts: &[Draft<'_>]) -> Result<(), journal::Error> {
        if self.full.load(Relaxed) {
            return Err(journal::Error::Closed);
        }
        self.sizes.lock().unwrap().push(drafts.iter().map(|draft| draft.body.len()).sum());
        self.written.lock().unwrap().extend(drafts.iter().map(|draft| wire::decode_event(draft.body).unwrap()));
        Ok(())
    }

    fn confirm(&self, _: ProducerId, _: Lane, _: Seq) {}
}

struct Bench {
    limits: Arc<Limits>,
    paper: Arc<Paper>,
    limit: Limit,
    at: Instant,
}

fn time(micros: i64) -> Time {
    Time::from_micros(10 * DAY + micros)
}

impl Bench {
    /// Ends an attempt, with its record in the journal.
    fn settle(&self, permit: Permit, spent: &Spent<'_>) -> (Vec<Posting>, Vec<Counter>) {
        let posted = self.limits.settle(permit, spent);
        let mut settling = self.limits.settling();
        let counters = settling.counters(Lane(0), &posted);
        settling.written();
        (posted, counters)
    }

    fn new(window: Window) -> Self {
        Self::under(fixture::limit(100, window))
    }

    fn under(limit: Limit) -> Self {
        let paper = Arc::new(Paper::default());
        let limits = Limits::over(me(), Arc::clone(&paper) as Arc<dyn Outlet>, 1);
        limits.lock().rule(std::slice::from_ref(&limit), &MeteringConfig::default());
        let boundaries = (0..5).map(|day| time(day * DAY)).collect();
        limits.lock().schedule(Schedule { limit: limit.id(), boundaries });
        let bench = Self { limits, paper, limit, at: Instant::now() };
        bench.hear();
        bench
    }

    /// Metering has accepted something that was written now, and by the other clock after all that a test looks at.
    fn hear(&self) {
        static HEARD: AtomicI64 = AtomicI64::new(0);
        let written = Time::from_micros(i64::MAX - HEARD.fetch_add(1, Relaxed));
        self.limits.lock().lane(Lane(0), &fixture::heard(me(), written), (time(0), self.at));
    }

    fn hold(&self, now: Time, tokens: u64) -> Tried {
        self.hold_of(now, tokens, "")
    }

    fn hold_of(&self, now: Time, tokens: u64, feature: &str) -> Tried {
        let mut attempt = fixture::attempt(CallId::from_bytes([1; 16]), now);
        Arc::make_mut(&mut attempt.subject).tags = vec![("feature".into(), feature.into())];
        let output_cap = OutputCap::NoOutput;
        let bound = Bound::AtMost(AtMost {
            input: tokens,
            output: 0,
            requests: 1,
            tool_calls: 0,
            cost: Ok(Pico(0)),
            output_price: Pico(0),
            output_cap,
        });
        self.limits.try_admit(&Ask { attempt: &attempt, bound: &bound, slice: None, now }, self.at).0
    }

    fn decide(&self, start: Time, granted: i128, recall: u64) {
        self.decide_of(start, granted, recall, &[]);
    }

    fn decide_of(&self, start: Time, granted: i128, recall: u64, values: &[&str]) -> InstanceId {
        self.decide_among(start, vec![Holder { granted, ..Holder::new(me()) }], recall, values)
    }

    fn decide_among(&self, start: Time, holders: Vec<Holder>, recall: u64, values: &[&str]) -> InstanceId {
        let named = (!self.limit.window.stands()).then_some(start);
        let id = InstanceId::of(self.limit.id(), values, named);
        let instance = Instance {
            id,
            limit: self.limit.id(),
            values: values.iter().map(|value| (*value).to_owned()).collect(),
            amount: self.limit.amount,
            windows: vec![WindowState::new(start, Time::from_micros(start.as_micros() + DAY))],
            holders,
            recall,
        };
        self.limits.lock().view(id, Some(Arc::new(instance)));
        id
    }

    /// The values of the counters that were asked for so far.
    fn asked(&self) -> Vec<String> {
        let written = self.paper.written.lock().unwrap();
        let wants = written.iter().filter_map(|event| match event {
            Event::LeaseRequested(request) => Some(request.wants.iter().map(|want| want.values.concat())),
            _ => None,
        });
        wants.flatten().collect()
    }

    fn instance(&self, start: Time) -> InstanceId {
        InstanceId::of::<&str>(self.limit.id(), &[], (!self.limit.window.stands()).then_some(start))
    }

    /// The counters in reports so far.
    fn reported(&self) -> Vec<Counter> {
        let written = self.paper.written.lock().unwrap();
        let reports = written.iter().filter_map(|event| match event {
            Event::Reported(reported) => Some(reported.counters.clone()),
            _ => None,
        });
        reports.flatten().collect()
    }
}

pub(crate) fn me() -> ProducerId {
    ProducerId::from_bytes([1; 16])
}

fn window_of(tried: &Tried) -> Option<Time> {
    if let Tried::Held(permit) = tried { permit.holds.first().map(|hold| hold.window) } else { None }
}

#[test]
fn what_was_returned_of_a_lease_that_nobody_used_stays_returned() {
    let bench = Bench::new(Window::Day);
    assert!(matches!(bench.hold(time(1), 10), Tried::Short(_)));
    bench.decide(time(0), 10, 1);
    bench.limits.lock().return_recalled();
    bench.limits.report_dirty(time(2), time(2)).unwrap();
    assert_eq!(bench.reported().iter().map(|counter| counter.returned).collect::<Vec<_>>(), [10]);
    bench.limits.lock().sweep(time(3));
    assert!(matches!(bench.hold(time(4), 10), Tried::Short(_)), "the lease was given back");
}

/// Where many gateways ask for the last of a limit, each grant is called back for the next as it comes. Were it returned at once,
/// nobody would ever use it.
#[test]
fn calls_that_wait_here_have_the_first_go_at_what_is_called_back_as_it_comes() {
    let bench = Bench::new(Window::Day);
    assert!(matches!(bench.hold(time(1), 10), Tried::Short(_)));
    bench.decide(time(0), 15, 1);
    assert!(bench.limits.lock().is_recalled());
    assert!(matches!(bench.hold(time(1), 10), Tried::Held(_)));
    bench.limits.lock().return_recalled();
    assert!(!bench.limits.lock().is_recalled());
    bench.limits.report_dirty(time(2), time(2)).unwrap();
    let said: Vec<_> =
        bench.reported().iter().map(|counter| (counter.held, counter.returned, counter.recall)).collect();
    assert_eq!(said, [(10, 5, 1)]);
}

/// Another gateway was asked for what it has and has not answered: what it has used up is not waited for, whatever it answers.
#[test]
fn a_lease_that_another_has_used_up_is_not_waited_for() {
    let bench = Bench::new(Window::Day);
    drop(bench.hold(time(1), 10));
    let other =
        |used| Holder { granted: 100, used: vec![(time(0), used)], ..Holder::new(ProducerId::from_bytes([2; 16])) };
    bench.decide_among(time(0), vec![other(90)], 1, &[]);
    assert!(matches!(bench.hold(time(2), 10), Tried::Short(_)), "ten may come back");
    bench.decide_among(time(0), vec![other(100)], 1, &[]);
    assert!(matches!(bench.hold(time(3), 10), Tried::Refused(_)));
}

#[test]
fn a_clock_that_goes_back_leads_into_no_window_that_was_let_go_of() {
    let bench = Bench::new(Window::Day);
    for day in [0, 1] {
        drop(bench.hold(time(day * DAY), 10));
        bench.decide(time(day * DAY), 50, 0);
    }
    assert_eq!(window_of(&bench.hold(time(DAY - 2), 10)), Some(time(DAY)), "it is in the next day already");
    let other = Bench::new(Window::Day);
    drop(other.hold(time(0), 10));
    other.decide(time(0), 50, 0);
    let Tried::Held(permit) = other.hold(time(1), 10) else { panic!("it is leased") };
    other.limits.give_back(permit);
    other.limits.report_dirty(time(DAY), time(DAY)).unwrap();
    other.limits.lock().sweep(time(DAY));
    other.limits.report_dirty(time(DAY), time(DAY)).unwrap();
    assert_eq!(other.reported().last().map(|counter| counter.returned), Some(50), "others may use it");
    other.limits.lock().sweep(time(DAY));
    other.decide(time(DAY), 50, 0);
    assert_eq!(window_of(&other.hold(time(2), 10)), Some(time(DAY)), "the first day was forgotten");
}

#[test]
fn a_provision_stays_in_its_window_and_takes_nothing_of_the_next() {
    let bench = Bench::new(Window::Hour);
    drop(bench.hold(time(1), 10));
    bench.decide(time(0), 10, 0);
    let Tried::Held(permit) = bench.hold(time(1), 10) else { panic!("it is leased") };
    let usage = Usage::missing(schemas::tokens::Doubt::NoAnswer);
    let spent = Spent { usage: &usage, cost: Cost::of(Pico(0)), whole: false };
    drop(bench.settle(permit, &spent));
    let counters = bench.limits.report(Lane(0), time(2));
    let said: Vec<_> = counters.iter().map(|counter| (counter.used, counter.unknown, counter.held)).collect();
    assert_eq!(said, Vec::new(), "the record of the attempt has said it");
    drop(bench.limits.report(Lane(0), time(DAY)));
    assert!(matches!(bench.hold(time(2), 10), Tried::Short(_)), "the clock went back, and it is there still");
    assert_eq!(window_of(&bench.hold(time(DAY), 10)), Some(time(DAY)));
}

#[test]
fn counters_that_the_journal_did_not_take_are_said_again() {
    let bench = Bench::new(Window::Day);
    drop(bench.hold(time(1), 10));
    bench.decide(time(0), 10, 1);
    bench.limits.lock().return_recalled();
    bench.paper.full.store(true, Relaxed);
    assert!(bench.limits.report_dirty(time(2), time(2)).is_err());
    bench.paper.full.store(false, Relaxed);
    bench.limits.report_dirty(time(3), time(3)).unwrap();
    assert_eq!(bench.reported().len(), 1);
}

#[test]
fn what_was_billed_beyond_a_lease_leaves_the_rest_of_the_amount_to_be_leased() {
    let bench = Bench::new(Window::Day);
    drop(bench.hold(time(1), 10));
    bench.decide(time(0), 10, 0);
    let Tried::Held(permit) = bench.hold(time(1), 10) else { panic!("it is leased") };
    let usage = Usage::exact(schemas::tokens::Vector { uncached_input: 95, ..Default::default() });
    drop(bench.settle(permit, &Spent { usage: &usage, cost: Cost::of(Pico(0)), whole: true }));
    assert!(matches!(bench.hold(time(2), 5), Tried::Short(_)));
    assert!(matches!(bench.hold(time(2), 6), Tried::Refused(_)));
}

/// Of these there is nothing to hold, so it is what is known to be used that says whether there is any left.
#[test]
fn what_nobody_bounds_passes_as_long_as_there_is_any_left_and_what_needs_nothing_always() {
    let unknown = Bound::Unbounded(Unbounded {
        field: "tools".into(),
        why: Why::ServerTool,
        most: None,
        known: Known::default(),
    });
    for (mode, told, passes) in [
        (Mode::Hard, 99, true),
        (Mode::Hard, 100, false),
        (Mode::Hard, 500, false),
        (Mode::Soft, 99, true),
        (Mode::Soft, 100, false),
        (Mode::Observe, 500, true),
    ] {
        let bench = Bench::under(Limit { mode, unbounded: OnUnbounded::Admit, ..fixture::limit(100, Window::Day) });
        drop(bench.hold(time(1), 1));
        bench.decide(time(0), 10, 0);
        let view = bench.limits.lock().slot(bench.instance(time(0))).unwrap().view.clone().unwrap();
        let mut used = Instance::clone(&view);
        used.windows[0].adjusted = told;
        bench.limits.lock().view(used.id, Some(Arc::new(used)));
        let attempt = fixture::attempt(CallId::from_bytes([1; 16]), time(2));
        let ask = Ask { attempt: &attempt, bound: &unknown, slice: None, now: time(2) };
        let tried = bench.limits.try_admit(&ask, bench.at).0;
        assert_eq!(matches!(tried, Tried::Held(_)), passes, "{mode:?} {told}");
        let Tried::Held(permit) = bench.hold(time(2), 0) else { panic!("it needs nothing: {mode:?} {told}") };
        assert!(permit.observed.is_empty(), "{mode:?} {told}");
    }
}

/// Whether its own answers overdrew it or what was told of.
#[test]
fn a_limit_that_is_overdrawn_refuses_no_call_that_needs_nothing_of_it() {
    for (used, told) in [(120, 0), (10, 120)] {
        let bench = Bench::new(Window::Day);
        drop(bench.hold(time(1), 10));
        bench.decide(time(0), 10, 0);
        let settle = |permit, tokens| {
            let usage = Usage::exact(schemas::tokens::Vector { uncached_input: tokens, ..Default::default() });
            bench.settle(permit, &Spent { usage: &usage, cost: Cost::of(Pico(0)), whole: true }).0
        };
        let Tried::Held(permit) = bench.hold(time(1), 10) else { panic!("it is leased") };
        drop(settle(permit, used));
        let view = bench.limits.lock().slot(bench.instance(time(0))).unwrap().view.clone().unwrap();
        let mut overdrawn = Instance::clone(&view);
        overdrawn.windows[0].adjusted = told;
        bench.limits.lock().view(overdrawn.id, Some(Arc::new(overdrawn)));
        assert!(matches!(bench.hold(time(2), 1), Tried::Refused(_)), "{used} and {told} are used of 100");
        let Tried::Held(permit) = bench.hold(time(2), 0) else { panic!("it needs nothing, of {used} and {told}") };
        assert_eq!(permit.holds.iter().map(|hold| hold.amount).collect::<Vec<_>>(), [0]);
        let posted = settle(permit, 3);
        assert_eq!(posted.iter().map(|posting| posting.used).collect::<Vec<_>>(), [3], "it counts all the same");
    }
}

/// A standing share is one of every window until it is returned: what its use needed in one that is over is there in the next, also where
/// others asked in between, and the log need not be.
#[test]
fn what_was_used_in_a_window_that_is_over_is_leased_in_the_next_until_others_ask_there() {
    let bench = Bench::new(Window::Hour);
    drop(bench.hold(time(1), 10));
    bench.decide(time(0), 50, 0);
    let Tried::Held(permit) = bench.hold(time(1), 10) else { panic!("it is leased") };
    bench.decide(time(0), 50, 1);
    bench.limits.lock().return_recalled();
    let usage = Usage::exact(schemas::tokens::Vector { uncached_input: 10, ..Default::default() });
    let (_, counters) = bench.settle(permit, &Spent { usage: &usage, cost: Cost::of(Pico(0)), whole: true });
    let said =
        |counters: &[Counter]| counters.iter().map(|counter| (counter.used, counter.returned)).collect::<Vec<_>>();
    assert_eq!(said(&counters), [(10, 0)], "a return is said with the use of every window");
    assert_eq!(said(&bench.limits.report(Lane(0), time(2))), [(10, 40)]);
    assert_eq!(said(&bench.limits.report(Lane(0), time(DAY))), []);
    bench.decide(time(DAY), 50, 2);
    bench.limits.lock().return_recalled();
    assert_eq!(said(&bench.limits.report(Lane(0), time(DAY))), [(10, 50)]);
}

#[test]
fn metering_says_which_client_tags_have_a_counter_of_their_own() {
    let scope = vec![(Dimension::Tag("feature".into()), Match::Each)];
    let hard = Limit { scope, max_instances: Some(1), ..fixture::limit(100, Window::Day) };
    let bench = Bench::under(hard.clone());
    assert!(matches!(bench.hold_of(time(1), 10, "a"), Tried::Short(_)));
    assert_eq!(bench.asked(), ["a"], "there may be one");
    let taken = bench.decide_of(time(0), 50, 0, &["b"]);
    assert!(matches!(bench.hold_of(time(1), 10, "a"), Tried::Short(_)));
    assert_eq!(bench.asked(), ["a", "other"], "another gateway was first");
    let shared = bench.decide_of(time(0), 50, 0, &["other"]);
    let held = |bench: &Bench, feature| match bench.hold_of(time(1), 10, feature) {
        Tried::Held(permit) => permit.holds[0].instance,
        tried => panic!("{tried:?}"),
    };
    assert_eq!(["a", "b", "c"].map(|feature| held(&bench, feature)), [shared, taken, shared]);
    bench.limits.lock().view(taken, None);
    assert!(matches!(bench.hold_of(time(1), 10, "c"), Tried::Short(_)), "its place is free again");

    // What waits for nothing counts in the shared counter until there is one of its own.
    let soft = Bench::under(Limit { mode: schemas::limit::Mode::Soft, ..hard });
    assert_eq!(held(&soft, "a"), shared);
    assert_eq!(soft.asked(), ["a", "other"]);
    let own = soft.decide_of(time(0), 0, 0, &["a"]);
    assert_eq!((held(&soft, "a"), held(&soft, "b")), (own, shared));
    assert_eq!(soft.asked(), ["a", "other"], "there is no place for another");
}

#[test]
fn a_gateway_that_was_released_holds_no_more_than_was_left_to_it_and_says_that_it_is_out() {
    let bench = Bench::new(Window::Day);
    drop(bench.hold(time(0), 10));
    bench.decide(time(0), 60, 0);
    let Tried::Held(_open) = bench.hold(time(1), 20) else { panic!("it is leased") };
    let mark = |closed| ProducerMark {
        producer: me(),
        seq: Seq(7),
        hash: 0,
        gateway: "g".into(),
        low_watermark: time(1),
        heard_at: time(1),
        answered: 0,
        closed,
        forked: false,
        heir: None,
        copy: None,
        accepted_at: time(1),
    };
    bench.limits.heed(Lane(0), &mark(false));
    assert!(!bench.limits.is_succeeded());
    // Metering knows of the open call, which stays held, and of nothing else.
    let mut released =
        Instance::clone(bench.limits.lock().slot(bench.instance(time(0))).unwrap().view.as_ref().unwrap());
    let holder = &mut released.holders[0];
    (holder.returned, holder.unknown, holder.version) = (60, vec![(time(0), 20)], Holder::CLOSED);
    bench.limits.lock().view(released.id, Some(Arc::new(released)));
    bench.limits.heed(Lane(0), &mark(true));
    assert!(bench.limits.is_succeeded());
    assert!(matches!(bench.hold(time(2), 1), Tried::Short(_)));
}

#[test]
fn what_has_a_price_is_used_and_the_rest_of_the_hold_stays_for_what_has_none() {
    let usage = Usage::none();
    let check = |unit, cost, whole, wanted| {
        assert_eq!(split(unit, 10, &Spent { usage: &usage, cost, whole }), wanted, "{cost:?}");
    };
    let part = Cost { known: Pico(4), lacks: Some(schemas::ledger::Unpriced::UnknownClass) };
    check(Unit::Usd, part, true, (4, 6));
    check(Unit::Usd, Cost { known: Pico(14), ..part }, true, (14, 0));
    check(Unit::Usd, Cost::of(Pico(4)), true, (4, 0));
    check(Unit::Tokens, part, true, (0, 0));
}

/// Whatever ended the answer: what holds no more of its output holds for no more calls in it.
#[test]
fn no_more_calls_of_tools_stay_held_than_the_output_can_have_that_does() {
    for (most, room, output, wanted) in [
        (900, Some(96), Some(16), (3, 80)),
        (900, Some(96), Some(96), (3, 0)),
        (900, None, Some(16), (3, 884)),
        (900, None, Some(1), (3, 897)),
        // It went on beyond its slice, or beyond all that it could be.
        (900, Some(96), Some(200), (3, 700)),
        (900, Some(96), Some(950), (3, 897)),
        (900, Some(96), None, (0, 900)),
        // Calls that were stated apart from the output are not in it.
        (10, None, Some(5), (3, 897)),
    ] {
        let bench = Bench::under(Limit { unit: Unit::ToolCalls, ..fixture::limit(1_000, Window::Day) });
        let most = AtMost { output: most, tool_calls: 900, ..AtMost::NOTHING };
        let (attempt, bound) = (fixture::attempt(CallId::from_bytes([1; 16]), time(1)), Bound::AtMost(most));
        let ask = Ask { attempt: &attempt, bound: &bound, slice: None, now: time(1) };
        drop(bench.limits.try_admit(&ask, bench.at));
        bench.decide(time(0), 1_000, 0);
        let Tried::Held(permit) = bench.limits.try_admit(&ask, bench.at).0 else { panic!("it is leased") };
        let sliced = room.map(|room| Box::new(Sliced { most, room, of: Vec::new() }));
        let vector = |output| schemas::tokens::Vector { output, tool_calls: 3, ..Default::default() };
        let usage = output.map_or(Usage::missing(schemas::tokens::Doubt::Truncated), |output| Usage {
            completeness: schemas::tokens::Completeness::Estimated(schemas::tokens::Doubt::Truncated),
            ..Usage::exact(vector(output))
        });
        let spent = Spent { usage: &usage, cost: Cost::of(Pico(0)), whole: false };
        let (posted, _) = bench.settle(Permit { sliced, ..permit }, &spent);
        assert_eq!((posted[0].used, posted[0].provision), wanted, "{most:?} {room:?} {output:?}");
    }
}

#[test]
fn what_an_attempt_will_not_need_is_free_before_it_is_settled_and_nothing_is_used_before() {
    for (usage, whole, kept) in [
        (Usage::none(), true, 0),
        (Usage::exact(schemas::tokens::Vector { uncached_input: 4, ..Default::default() }), true, 4),
        (Usage::missing(schemas::tokens::Doubt::NoAnswer), false, 10),
    ] {
        let bench = Bench::new(Window::Day);
        drop(bench.hold(time(1), 10));
        bench.decide(time(0), 10, 0);
        let Tried::Held(mut permit) = bench.hold(time(1), 10) else { panic!("it is leased") };
        let spent = Spent { usage: &usage, cost: Cost::of(Pico(0)), whole };
        bench.limits.let_go(&mut permit, &spent);
        let counters = bench.limits.report(Lane(0), time(2));
        assert!(counters.iter().all(|counter| (counter.used, counter.held) == (0, kept)), "{counters:?}");
        let free = 10 - u64::try_from(kept).unwrap();
        assert!(!matches!(bench.hold(time(2), free + 1), Tried::Held(_)));
        assert!(free == 0 || matches!(bench.hold(time(2), free), Tried::Held(_)));
        let (posted, _) = bench.settle(permit, &spent);
        assert_eq!(posted[0].used + posted[0].provision, kept, "{usage:?}");
    }
}

/// Whoever reports meanwhile says nothing of what no record says, and what could not be written is written again, once.
#[test]
fn what_was_used_counts_once_its_record_is_written() {
    let bench = Bench::new(Window::Day);
    drop(bench.hold(time(1), 10));
    bench.decide(time(0), 100, 0);
    let Tried::Held(permit) = bench.hold(time(1), 10) else { panic!("it is leased") };
    let usage = Usage::exact(schemas::tokens::Vector { uncached_input: 7, ..Default::default() });
    let posted = bench.limits.settle(permit, &Spent { usage: &usage, cost: Cost::of(Pico(0)), whole: true });
    let attempt = fixture::attempt(CallId::from_bytes([1; 16]), time(1));
    let ended = schemas::event::Settled::bare(attempt, time(2), schemas::event::Outcome::Complete, usage);
    let emitter = crate::emit::Emitter::new(Arc::clone(&bench.limits), Box::new(|_| {}));
    drop(emitter.end(Lane(0), schemas::event::Settled { posted, ..ended }, None));
    let said = || {
        bench.limits.lock().slot_mut(bench.instance(time(0))).unwrap().mark();
        let counters = bench.limits.report(Lane(0), time(2));
        counters.iter().map(|counter| (counter.used, counter.held)).collect::<Vec<_>>()
    };
    assert_eq!(said(), [(0, 7)]);
    bench.paper.full.store(true, Relaxed);
    assert!(emitter.flush().is_err() && emitter.flush().is_err());
    assert_eq!(said(), [(0, 7)]);
    // While a batch is on its way others may report.
    let mut settling = bench.limits.settling();
    let posting = Posting { instance: bench.instance(time(0)), window: time(0), used: 7, provision: 0 };
    let counters = settling.counters(Lane(0), &[posting]);
    assert_eq!((counters[0].used, counters[0].held, said()), (7, 0, vec![(0, 7)]));
    drop(settling);
    bench.paper.full.store(false, Relaxed);
    assert!(!emitter.flush().unwrap());
    let written = bench.paper.written.lock().unwrap();
    let [.., Event::Settled(settled)] = &written[..] else { panic!("{written:?}") };
    assert_eq!((settled.counters[0].used, settled.counters[0].held), (7, 0));
    assert_eq!(said(), [(7, 0)]);
}

/// A call that nothing bounds holds nothing of a soft limit, and its window may be over for long when it ends.
#[test]
fn what_was_used_of_a_window_that_is_long_over_counts_in_it() {
    let bench = Bench::under(Limit { mode: Mode::Soft, ..fixture::limit(100, Window::Minute) });
    let hold = |at: i64| Hold { instance: bench.instance(time(0)), window: time(at), amount: 0 };
    drop(bench.hold(time(1), 0));
    for window in 1..6 {
        let mut book = bench.limits.lock();
        let slot = book.slot_mut(bench.instance(time(0))).unwrap();
        slot.take((time(window), time(window + 1)), i128::from(window > 1), bench.at);
    }
    let permit = Permit { holds: vec![hold(1)], ..Permit::default() };
    let usage = Usage::exact(schemas::tokens::Vector { uncached_input: 7, ..Default::default() });
    let (_, counters) = bench.settle(permit, &Spent { usage: &usage, cost: Cost::of(Pico(0)), whole: true });
    assert_eq!(counters.iter().map(|counter| (counter.window, counter.used)).collect::<Vec<_>>(), [(time(1), 7)]);
    let mut book = bench.limits.lock();
    let slot = book.slot_mut(bench.instance(time(0))).unwrap();
    assert_eq!((slot.counter(time(1)).used, slot.counter(time(1)).held), (7, 4), "four of other windows are open");
}

#[test]
fn what_is_left_of_a_limit_is_known_as_far_as_it_was_heard() {
    let bench = Bench::new(Window::Day);
    let attempt = fixture::attempt(CallId::from_bytes([1; 16]), time(1));
    let left = |tenant: &str| {
        let subject = Subject { tenant: tenant.into(), ..Subject::clone(&attempt.subject) };
        bench.limits.left("l", Target { subject: &subject, provider: "p", model: "m" }, time(1))
    };
    assert_eq!((left("acme"), left("globex")), (Some(100), None));
    bench.decide(time(0), 60, 0);
    assert_eq!(left("acme"), Some(100), "what is leased is not taken");
    drop(bench.hold(time(1), 10));
    let Tried::Held(permit) = bench.hold(time(1), 33) else { panic!("it is leased") };
    assert_eq!(left("acme"), Some(57));
    bench.limits.give_back(permit);
    assert_eq!(left("acme"), Some(90), "ten are held");
}

#[test]
fn what_a_correction_cleared_of_a_provision_can_be_held_again_once_it_is_granted() {
    let bench = Bench::new(Window::Day);
    drop(bench.hold(time(1), 100));
    bench.decide(time(0), 100, 0);
    let Tried::Held(permit) = bench.hold(time(1), 100) else { panic!("it is leased") };
    let usage = Usage::missing(schemas::tokens::Doubt::NoAnswer);
    let spent = Spent { usage: &usage, cost: Cost::of(Pico(0)), whole: false };
    let (posted, counters) = bench.settle(permit, &spent);
    assert_eq!((posted[0].provision, counters[0].unknown, counters[0].held), (100, 100, 0));
    assert!(matches!(bench.hold(time(2), 1), Tried::Refused(refusal) if (refusal.settled, refusal.held) == (0, 100)));
    // It used 30; metering has cleared the rest and grants it.
    let view = bench.limits.lock().slot(bench.instance(time(0))).unwrap().view.clone().unwrap();
    let mut corrected = Instance::clone(&view);
    (corrected.windows[0].adjusted, corrected.windows[0].cleared) = (30, 100);
    bench.limits.lock().view(corrected.id, Some(Arc::new(corrected.clone())));
    assert!(matches!(bench.hold(time(3), 70), Tried::Short(_)), "it is free");
    assert!(matches!(bench.hold(time(3), 71), Tried::Refused(refusal) if (refusal.settled, refusal.held) == (30, 0)));
    corrected.holders[0].granted = 170;
    bench.limits.lock().view(corrected.id, Some(Arc::new(corrected)));
    assert!(matches!(bench.hold(time(4), 70), Tried::Held(_)));
}

#[test]
fn the_instant_of_an_admission_lies_in_the_windows_that_it_counts_in() {
    let bench = Bench::under(Limit { mode: Mode::Soft, ..fixture::limit(100, Window::Day) });
    let check = |asked: i64, admitted: i64, window: i64| {
        let Tried::Held(permit) = bench.hold(time(asked), 1) else { panic!("a soft limit with room holds") };
        assert_eq!((permit.admitted_at, permit.holds[0].window), (time(admitted), time(window)), "asked at {asked}");
    };
    check(5, 5, 0);
    check(DAY + 5, DAY + 5, DAY);
    // The window has turned for others, and does not go back for who asked before that, or when the clock does.
    check(DAY - 5, DAY, DAY);
    check(DAY + 7, DAY + 7, DAY);
    // Where the windows of two limits have no instant in common the clock's stands, and the call need not wait.
    let other = Limit { name: "other".into(), mode: Mode::Soft, ..fixture::limit(100, Window::Hour) };
    bench.limits.lock().rule(&[bench.limit.clone(), other.clone()], &MeteringConfig::default());
    bench.limits.lock().schedule(Schedule { limit: other.id(), boundaries: vec![time(0), time(DAY - 1)] });
    check(DAY - 5, DAY - 5, DAY);
}

#[tokio::test]
async fn a_call_that_waited_for_its_holds_is_admitted_when_it_has_them() {
    let begun = schemas::time::now();
    let start = Time::from_micros(begun.as_micros() - begun.as_micros() % DAY);
    let bench = Bench::new(Window::Day);
    let boundaries = vec![start, Time::from_micros(start.as_micros() + 2 * DAY)];
    bench.limits.lock().schedule(Schedule { limit: bench.limit.id(), boundaries });
    let attempt = fixture::attempt(CallId::from_bytes([1; 16]), begun);
    let bound = Bound::AtMost(AtMost {
        input: 10,
        output: 0,
        requests: 1,
        tool_calls: 0,
        cost: Ok(Pico(0)),
        output_price: Pico(0),
        output_cap: OutputCap::NoOutput,
    });
    let asked = bench.limits.admit(Ask { attempt: &attempt, bound: &bound, slice: None, now: begun });
    let granted = async {
        // It has asked, and waits.
        assert_eq!(bench.asked().len(), 1);
        let granted = schemas::time::now();
        bench.decide(start, 100, 0);
        bench.limits.changed();
        granted
    };
    let (permit, granted) = tokio::join!(asked, granted);
    let permit = permit.unwrap();
    assert!(permit.admitted_at >= granted, "{:?} {granted:?}", permit.admitted_at);
    assert_eq!(permit.holds[0].window, start);
}

#[test]
fn what_is_called_back_of_a_counter_that_was_forgotten_is_returned() {
    let bench = Bench::new(Window::Day);
    bench.limits.lock().lane(Lane(0), &LaneState::default(), (time(0), bench.at));
    drop(bench.hold(time(1), 10));
    // By this clock the day is over before the grant comes.
    bench.limits.lock().sweep(time(DAY + 1));
    bench.decide(time(0), 60, 0);
    assert!(!bench.limits.lock().is_recalled());
    bench.decide(time(0), 60, 1);
    bench.limits.lock().return_recalled();
    bench.limits.report_dirty(time(DAY + 2), time(DAY + 2)).unwrap();
    assert_eq!(bench.reported().last().map(|counter| (counter.returned, counter.recall)), Some((60, 1)));
}
