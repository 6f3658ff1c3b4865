//! Schedules by which limits are broken elsewhere, each as what happens here instead.

use schemas::config::MeteringConfig;
use schemas::{event::Want, limit::Mode, tokens::Vector};

use super::*;

fn exact(tokens: u64) -> Usage {
    Usage::exact(Vector { uncached_input: tokens, ..Vector::default() })
}

impl Bench {
    /// What was needed by what was asked for last.
    fn last_need(&self) -> Option<i128> {
        self.last_want().map(|want| want.need)
    }

    /// What was asked for last.
    fn last_want(&self) -> Option<Want> {
        let written = self.paper.written.lock().unwrap();
        let asked = |event: &Event| match event {
            Event::LeaseRequested(request) => request.wants.first().cloned(),
            _ => None,
        };
        written.iter().rev().find_map(asked)
    }

    /// A call of ten tokens a second later, which is settled at once; whether it passed.
    fn passes(&mut self) -> bool {
        self.at += Duration::from_secs(1);
        let Tried::Held(permit) = self.hold(time(1), 10) else { return false };
        let usage = exact(10);
        self.settle(permit, &Spent { usage: &usage, cost: Cost::of(Pico(0)), whole: true });
        true
    }
}

/// Metering may be away for as long as another member takes to notice, to fence it and to read: journal and metering's tests say that
/// this is less than half a minute. A lease is asked for that lasts for `outage_budget`.
#[test]
fn what_is_leased_lasts_for_the_outage_budget_at_the_demand_of_now() {
    let mut bench = Bench::new(Window::Day);
    bench.limits.lock().rule(std::slice::from_ref(&bench.limit), &MeteringConfig::default());
    drop(bench.hold(time(1), 10));
    bench.decide(time(0), 100, 0);
    // Ten tokens a second, half of the lease, and then more than is left.
    for _ in 0..10 {
        bench.at += Duration::from_secs(1);
        let Tried::Held(permit) = bench.hold(time(2), 10) else { panic!("it is leased") };
        let usage = exact(10);
        bench.settle(permit, &Spent { usage: &usage, cost: Cost::of(Pico(0)), whole: true });
    }
    bench.at += Duration::from_secs(1);
    assert!(!matches!(bench.hold(time(3), 1), Tried::Held(_)), "the lease is used up");
    let mut book = bench.limits.lock();
    let slot = book.slot_mut(bench.instance(time(0))).unwrap();
    let want = slot.want(time(0), 1, true, (Duration::from_secs(60), bench.at));
    assert_eq!(want.need, 101);
    assert!(want.want - 100 >= 500, "{} is wanted: a minute of some ten a second, after what is used", want.want);
}

/// More is asked for when less than that is left.
#[test]
fn at_every_moment_there_is_a_lease_for_the_outage_budget() {
    for begins in 30..100 {
        let mut bench = Bench::under(fixture::limit(1_000_000, Window::Day));
        let mut passed = 0;
        while passed < begins {
            passed += usize::from(bench.passes());
            let want = bench.last_want().unwrap();
            bench.decide(time(0), want.want.max(want.need), 0);
            bench.hear();
        }
        // A lease that nobody hears of is good for that long, and one that was asked for and not answered for no more than twice that.
        let alone = (0..1_000).take_while(|_| bench.passes()).count();
        assert_eq!(alone, 60, "an outage after {begins} s");
        let more = std::iter::repeat_with(|| {
            bench.hear();
            bench.passes()
        });
        let lasts = alone + more.take_while(|passes| *passes).count();
        assert!(lasts <= 120, "{lasts} s are leased after {begins} s");
    }
}

/// A machine that stands still has a clock that goes on, or one that does not, or finds its decisions waiting for it that are old by then.
#[test]
fn who_was_not_heard_for_the_outage_budget_holds_nothing_of_its_lease_until_it_is() {
    let lease = || {
        let bench = Bench::new(Window::Day);
        drop(bench.hold(time(1), 10));
        bench.decide(time(0), 100, 0);
        let written = time(0);
        bench.limits.lock().lane(Lane(0), &fixture::heard(me(), written), (written, bench.at));
        bench
    };
    let second = 1_000_000;
    let mut bench = lease();
    assert!(matches!(bench.hold(time(60 * second), 1), Tried::Held(_)));
    assert!(matches!(bench.hold(time(61 * second), 1), Tried::Short(_)), "by the clock that everybody has");
    bench.at += Duration::from_secs(61);
    let Tried::Short(why) = bench.hold(time(1), 1) else { panic!("by the clock that only goes forward") };
    assert!(why.detail.contains("no report of this gateway within the last 60 s"), "{}", why.detail);
    // What it reads now was said when it stood still.
    let old = time(second);
    bench.limits.lock().lane(Lane(0), &fixture::heard(me(), old), (time(62 * second), bench.at));
    assert!(matches!(bench.hold(time(62 * second), 1), Tried::Short(_)));
    let new = time(62 * second);
    bench.limits.lock().lane(Lane(0), &fixture::heard(me(), new), (new, bench.at));
    assert!(matches!(bench.hold(new, 1), Tried::Held(_)));
}

#[test]
fn what_is_open_under_a_soft_limit_counts_when_it_becomes_hard() {
    let soft = Limit { mode: Mode::Soft, ..fixture::limit(100, Window::Day) };
    let bench = Bench::under(soft.clone());
    let Tried::Held(open) = bench.hold(time(1), 30) else { panic!("a soft limit waits for no lease") };
    let hard = Limit { mode: Mode::Hard, ..soft };
    bench.limits.lock().rule(std::slice::from_ref(&hard), &MeteringConfig::default());
    assert!(matches!(bench.hold(time(2), 10), Tried::Short(_)), "nothing of it is leased");
    assert_eq!(bench.last_need(), Some(40), "what is open has to be leased as well");
    bench.decide(time(0), 40, 0);
    let Tried::Held(second) = bench.hold(time(3), 10) else { panic!("it is leased") };
    assert!(!matches!(bench.hold(time(3), 1), Tried::Held(_)));
    // The open one settles where it was admitted, without a lease of its own.
    let mut said = Vec::new();
    for (permit, tokens) in [(open, 30), (second, 10)] {
        let usage = exact(tokens);
        let spent = Spent { usage: &usage, cost: Cost::of(Pico(0)), whole: true };
        let (_, counters) = bench.settle(permit, &spent);
        said.extend(counters.iter().map(|counter| (counter.used, counter.held)));
    }
    assert_eq!(said, [(30, 10), (40, 0)]);
}

#[test]
fn a_limit_that_became_another_one_has_nothing_of_what_was_leased() {
    let bench = Bench::new(Window::Day);
    drop(bench.hold(time(1), 10));
    bench.decide(time(0), 100, 0);
    let Tried::Held(open) = bench.hold(time(1), 10) else { panic!("it is leased") };
    let other = Limit { zone: "Europe/Berlin".into(), ..bench.limit.clone() };
    bench.limits.lock().rule(std::slice::from_ref(&other), &MeteringConfig::default());
    let boundaries = (0..5).map(|day| time(day * DAY)).collect();
    bench.limits.lock().schedule(Schedule { limit: other.id(), boundaries });
    assert!(!matches!(bench.hold(time(2), 1), Tried::Held(_)), "the lease was of the one before");
    let usage = exact(10);
    let (posted, _) = bench.settle(open, &Spent { usage: &usage, cost: Cost::of(Pico(0)), whole: true });
    assert_eq!(
        posted.iter().map(|posting| (posting.instance, posting.used)).collect::<Vec<_>>(),
        [(bench.instance(time(0)), 10)]
    );
}

#[test]
fn a_call_across_the_end_of_a_window_belongs_to_the_one_in_which_it_was_admitted() {
    for window in [Window::Day, Window::Hour] {
        let bench = Bench::new(window);
        drop(bench.hold(time(1), 10));
        bench.decide(time(0), 50, 0);
        let Tried::Held(permit) = bench.hold(time(DAY - 1), 40) else { panic!("it is leased") };
        // The window ends; others of the next one come and go.
        bench.limits.report_dirty(time(DAY + 1), time(DAY + 1)).unwrap();
        bench.limits.lock().sweep(time(DAY + 1));
        if let Tried::Held(first) = bench.hold(time(DAY + 1), 10) {
            bench.limits.give_back(first);
        }
        bench.decide(time(DAY), 50, 0);
        let Tried::Held(next) = bench.hold(time(DAY + 1), 50) else { panic!("nothing of the next is taken by it") };
        let usage = exact(40);
        let spent = Spent { usage: &usage, cost: Cost::of(Pico(0)), whole: true };
        let (posted, _) = bench.settle(permit, &spent);
        assert_eq!(posted.iter().map(|posting| (posting.window, posting.used)).collect::<Vec<_>>(), [(time(0), 40)]);
        bench.limits.give_back(next);
    }
}

/// The counters that the next report says.
fn said(bench: &Bench, now: i64) -> Vec<(i128, i128)> {
    let counters = bench.limits.report(Lane(0), time(now));
    counters.iter().map(|counter| (counter.used, counter.returned)).collect()
}

/// The recall is obeyed while what is leased is held, and finds nothing.
#[test]
fn of_a_lowered_amount_no_more_passes_than_is_left_however_much_is_leased() {
    for window in [Window::Day, Window::Hour] {
        let mut bench = Bench::new(window);
        drop(bench.hold(time(1), 10));
        bench.decide(time(0), 100, 0);
        let Tried::Held(open) = bench.hold(time(1), 60) else { panic!("it is leased") };
        bench.limit.amount = 20;
        bench.limits.lock().rule(std::slice::from_ref(&bench.limit), &MeteringConfig::default());
        assert!(!matches!(bench.hold(time(1), 1), Tried::Held(_)), "before metering says anything");
        bench.decide(time(0), 100, 1);
        bench.limits.lock().return_recalled();
        assert_eq!(said(&bench, 2), [(0, 40)], "{window:?}");
        let usage = exact(5);
        drop(bench.settle(open, &Spent { usage: &usage, cost: Cost::of(Pico(0)), whole: true }));
        assert!(matches!(bench.hold(time(2), 16), Tried::Refused(_)), "{window:?}");
        let Tried::Held(last) = bench.hold(time(2), 15) else { panic!("it is left") };
        // What it may not spend goes back by itself, and only that.
        assert_eq!(said(&bench, 3), [(5, 80)], "{window:?}");
        drop(bench.settle(last, &Spent { usage: &exact(15), cost: Cost::of(Pico(0)), whole: true }));
        assert!(matches!(bench.hold(time(3), 1), Tried::Refused(_)), "{window:?}");
        assert_eq!(said(&bench, 4), [(0, 0); 0], "{window:?}");
    }
}

/// In each window nothing of the lease is spare when it is looked for.
#[test]
fn a_standing_lease_is_spent_up_to_a_lowered_amount_in_every_window() {
    let mut bench = Bench::new(Window::Hour);
    drop(bench.hold(time(1), 10));
    bench.decide(time(0), 100, 0);
    let all = |bench: &Bench, now: i64| (0..100).filter(|_| matches!(bench.hold(time(now), 1), Tried::Held(_))).count();
    assert_eq!(all(&bench, 1), 100);
    bench.limit.amount = 20;
    bench.limits.lock().rule(std::slice::from_ref(&bench.limit), &MeteringConfig::default());
    bench.decide(time(0), 100, 1);
    bench.limits.lock().return_recalled();
    assert_eq!((all(&bench, 2), all(&bench, DAY), all(&bench, 2 * DAY)), (0, 20, 20));
}

/// Who has nothing of it that it may spend waits for what the others give back of themselves, and asks for what it lacks then.
#[test]
fn what_others_have_of_a_lowered_amount_is_not_spent_twice() {
    let other = |returned| Holder { granted: 40, returned, ..Holder::new(ProducerId::from_bytes([2; 16])) };
    let own = || Holder { granted: 60, ..Holder::new(me()) };
    let mut bench = Bench::new(Window::Hour);
    drop(bench.hold(time(1), 10));
    bench.limit.amount = 20;
    bench.limits.lock().rule(std::slice::from_ref(&bench.limit), &MeteringConfig::default());
    bench.decide_among(time(0), vec![own(), other(0)], 0, &[]);
    let asked = bench.asked().len();
    assert!(matches!(bench.hold(time(2), 1), Tried::Short(_)));
    assert_eq!((bench.asked().len(), said(&bench, 3)), (asked, vec![(0, 60)]), "it has enough, and gives it back");
    bench.decide_among(time(0), vec![own(), other(40)], 0, &[]);
    bench.at += Duration::from_secs(2);
    assert!(matches!(bench.hold(time(4), 1), Tried::Short(_)));
    assert_eq!(bench.asked().len(), asked + 1, "now it lacks it");
    // Another system has used all of it: whatever the others give back is not enough, and nobody waits for it.
    let id = bench.decide_among(time(0), vec![own(), other(0)], 0, &[]);
    let mut told = Instance::clone(bench.limits.lock().slot(id).unwrap().view.as_ref().unwrap());
    told.windows[0].adjusted = 20;
    bench.limits.lock().view(id, Some(Arc::new(told)));
    assert!(matches!(bench.hold(time(5), 1), Tried::Refused(_)));
}

/// Another system used all of it while calls were open, and then their holds are free.
#[test]
fn a_limit_that_an_event_overdraws_lets_nothing_pass_that_needs_any_of_it() {
    let bench = Bench::new(Window::Day);
    drop(bench.hold(time(1), 10));
    bench.decide(time(0), 60, 0);
    let Tried::Held(open) = bench.hold(time(1), 60) else { panic!("it is leased") };
    let view = bench.limits.lock().slot(bench.instance(time(0))).unwrap().view.clone().unwrap();
    let mut told = Instance::clone(&view);
    (told.windows[0].adjusted, told.recall) = (100, 1);
    bench.limits.lock().view(told.id, Some(Arc::new(told.clone())));
    bench.limits.lock().return_recalled();
    drop(bench.settle(open, &Spent { usage: &exact(5), cost: Cost::of(Pico(0)), whole: true }));
    assert!(matches!(bench.hold(time(2), 1), Tried::Refused(_)));
    assert!(matches!(bench.hold(time(2), 0), Tried::Held(_)), "it needs nothing");
    // It is corrected before anything went back.
    told.windows[0].adjusted = 90;
    bench.limits.lock().view(told.id, Some(Arc::new(told)));
    assert!(matches!(bench.hold(time(3), 6), Tried::Refused(_)));
    assert!(matches!(bench.hold(time(3), 5), Tried::Held(_)), "there is room again");
}

/// They hold nothing of it: then their windows have to be known as long as they are open, and the one that lasts in any case.
#[test]
fn calls_that_outlast_many_windows_take_nothing_from_the_one_that_lasts() {
    let bench = Bench::new(Window::Hour);
    let boundaries = (0..9).map(|day| time(day * DAY)).collect();
    bench.limits.lock().schedule(Schedule { limit: bench.limit.id(), boundaries });
    drop(bench.hold(time(1), 10));
    bench.decide(time(0), 100, 0);
    let held = |now: i64, tokens| match bench.hold(time(now), tokens) {
        Tried::Held(permit) => permit,
        tried => panic!("{tried:?}"),
    };
    let used = |permit, tokens| {
        let usage = exact(tokens);
        let (_, counters) = bench.settle(permit, &Spent { usage: &usage, cost: Cost::of(Pico(0)), whole: true });
        counters.iter().map(|counter| (counter.window, counter.used)).collect::<Vec<_>>()
    };
    let old: Vec<_> = (0..3).map(|_| held(1, 0)).collect();
    assert_eq!(used(held(1, 5), 5), [(time(0), 5)]);
    let open: Vec<_> = (1..4).map(|day| held(day * DAY, 10)).collect();
    drop(bench.limits.report(Lane(0), time(4 * DAY)));
    assert_eq!(used(held(4 * DAY, 100), 100), [(time(4 * DAY), 100)]);
    // What one of them used counts with what was used of its window before.
    let wanted = [5, 12, 12];
    for (permit, (tokens, wanted)) in old.into_iter().zip([0, 7, 0].into_iter().zip(wanted)) {
        assert_eq!(used(permit, tokens), [(time(0), wanted)]);
        assert!(!matches!(bench.hold(time(4 * DAY + 1), 1), Tried::Held(_)), "all of it is used");
    }
    // What nobody is in any more is forgotten.
    let windows = || bench.limits.lock().slot(bench.instance(time(0))).unwrap().counters().len();
    assert_eq!((windows(), open.len()), (5, 3));
    drop(bench.limits.report(Lane(0), time(4 * DAY + 2)));
    assert_eq!(windows(), 4);
}

/// It is over, and nothing of it is held.
#[test]
fn a_window_that_a_call_is_open_in_which_holds_nothing_is_not_forgotten() {
    let bench = Bench::under(Limit { mode: Mode::Soft, ..fixture::limit(100, Window::Day) });
    let Tried::Held(open) = bench.hold(time(1), 0) else { panic!("a soft limit with room holds") };
    let sweep = || {
        drop(bench.limits.report(Lane(0), time(DAY)));
        bench.limits.lock().sweep(time(DAY + 1));
    };
    sweep();
    let usage = exact(7);
    let (posted, _) = bench.settle(open, &Spent { usage: &usage, cost: Cost::of(Pico(0)), whole: true });
    assert_eq!(posted.iter().map(|posting| (posting.window, posting.used)).collect::<Vec<_>>(), [(time(0), 7)]);
    sweep();
    assert!(bench.limits.lock().slot(bench.instance(time(0))).is_none(), "nobody is in it any more");
}

#[test]
fn a_clock_that_is_far_ahead_is_in_no_window_and_asks_for_none() {
    let bench = Bench::new(Window::Day);
    let decades = time(25_000 * DAY);
    assert!(matches!(bench.hold(decades, 10), Tried::Short(_)), "metering has not published it");
    assert_eq!(bench.asked(), [""; 0]);
    // It is set right, and has closed nothing.
    drop(bench.hold(time(1), 10));
    bench.decide(time(0), 50, 0);
    assert_eq!(window_of(&bench.hold(time(2), 10)), Some(time(0)));
}

/// The last unit of two limits lies at one gateway each. Who waits for both keeps nothing back that it was asked for.
#[test]
fn a_gateway_that_waits_for_more_gives_back_what_its_call_cannot_use_alone() {
    let bench = Bench::new(Window::Day);
    let second = Limit { name: "m".into(), ..fixture::limit(100, Window::Day) };
    let both = [bench.limit.clone(), second.clone()];
    bench.limits.lock().rule(&both, &MeteringConfig::default());
    let boundaries = (0..5).map(|day| time(day * DAY)).collect();
    bench.limits.lock().schedule(Schedule { limit: second.id(), boundaries });
    assert!(matches!(bench.hold(time(1), 10), Tried::Short(_)));
    // One of them is granted, and at once called back for somebody else.
    bench.decide(time(0), 10, 1);
    assert!(matches!(bench.hold(time(1), 10), Tried::Short(_)), "the other is not");
    bench.limits.lock().return_recalled();
    bench.limits.report_dirty(time(2), time(2)).unwrap();
    let said: Vec<_> =
        bench.reported().iter().map(|counter| (counter.held, counter.returned, counter.recall)).collect();
    assert_eq!(said, [(0, 10, 1)]);
}

/// A provider bills more than the bound before it fails. The record is kept back until another attempt is admitted: that meets the debt.
#[test]
fn what_an_attempt_used_beyond_its_hold_is_not_free_to_the_one_after_it() {
    let bench = Bench::new(Window::Day);
    drop(bench.hold(time(1), 10));
    bench.decide(time(0), 100, 0);
    let Tried::Held(mut first) = bench.hold(time(1), 30) else { panic!("it is leased") };
    let usage = Usage {
        completeness: schemas::tokens::Completeness::LowerBound(schemas::tokens::Doubt::TimedOut),
        ..exact(95)
    };
    let spent = Spent { usage: &usage, cost: Cost::of(Pico(0)), whole: false };
    bench.limits.let_go(&mut first, &spent);
    assert!(!matches!(bench.hold(time(2), 30), Tried::Held(_)), "95 of 100 are used");
    let Tried::Held(second) = bench.hold(time(2), 5) else { panic!("five are left") };
    let (_, counters) = bench.settle(first, &spent);
    assert_eq!(counters.iter().map(|counter| (counter.used, counter.held)).collect::<Vec<_>>(), [(95, 5)]);
    drop(second);
}
