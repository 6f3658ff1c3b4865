//! Attempts that are held together fit together, or none is held.

use super::*;

fn held(bench: &Bench, tokens: &[u64]) -> Tried<Vec<Permit>> {
    let attempt = fixture::attempt(CallId::from_bytes([1; 16]), time(1));
    let bounds: Vec<Bound> =
        tokens.iter().map(|tokens| Bound::AtMost(AtMost { input: *tokens, ..AtMost::NOTHING })).collect();
    let asks: Vec<Ask<'_>> =
        bounds.iter().map(|bound| Ask { attempt: &attempt, bound, slice: None, now: time(1) }).collect();
    bench.limits.try_admit_together(&asks, bench.at).0
}

#[test]
fn several_attempts_are_held_as_a_whole_and_settled_one_by_one() {
    let bench = Bench::new(Window::Day);
    assert!(matches!(held(&bench, &[30, 20]), Tried::Short(_)));
    bench.decide(time(0), 100, 0);
    // Each would fit, and both do not.
    let Tried::Refused(refusal) = held(&bench, &[60, 41]) else { panic!("101 of 100") };
    assert_eq!((refusal.needed, refusal.held), (101, 0));
    let Tried::Held(permits) = held(&bench, &[60, 30, 10]) else { panic!("100 of 100") };
    let amounts: Vec<i128> = permits.iter().map(|permit| permit.holds[0].amount).collect();
    assert_eq!(amounts, [60, 30, 10]);
    let is_held = |permit: &Permit| permit.hard && permit.output == OutputHeld::Whole && permit.admitted_at == time(1);
    assert!(permits.iter().all(is_held));
    assert!(matches!(held(&bench, &[1]), Tried::Refused(_)));
    let mut rest = permits.into_iter();
    let (first, second) = (rest.next().unwrap(), rest.next().unwrap());
    let usage = Usage::exact(schemas::tokens::Vector { uncached_input: 10, ..Default::default() });
    drop(bench.settle(first, &Spent { usage: &usage, cost: Cost::of(Pico(0)), whole: true }));
    assert!(matches!(held(&bench, &[51]), Tried::Refused(_)));
    bench.limits.give_back(second);
    let Tried::Held(_) = held(&bench, &[50, 30]) else { panic!("what was not used is free") };
}

#[test]
fn attempts_need_nothing_of_a_limit_that_is_overdrawn_only_if_none_does() {
    let bench = Bench::new(Window::Day);
    drop(bench.hold(time(1), 10));
    bench.decide(time(0), 10, 0);
    let Tried::Held(permit) = bench.hold(time(1), 10) else { panic!("it is leased") };
    let usage = Usage::exact(schemas::tokens::Vector { uncached_input: 120, ..Default::default() });
    drop(bench.settle(permit, &Spent { usage: &usage, cost: Cost::of(Pico(0)), whole: true }));
    for some in [[0, 1], [1, 0]] {
        assert!(matches!(held(&bench, &some), Tried::Refused(_)), "{some:?}");
    }
    let Tried::Held(permits) = held(&bench, &[0, 0]) else { panic!("they need nothing") };
    assert!(permits.iter().all(|permit| permit.holds.len() == 1));
}

#[test]
fn what_is_open_counts_once_only_where_the_last_attempt_falls_under_it() {
    let scope = vec![(Dimension::Model, Match::Is("m".into()))];
    let limit = fixture::limit(100, Window::Day);
    let bench = Bench::under(Limit { unit: Unit::Concurrent, mode: Mode::Soft, scope, ..limit });
    let bound = Bound::AtMost(AtMost::NOTHING);
    let held = |models: &[&str]| {
        let of =
            |model: &&str| Attempt { model: (*model).into(), ..fixture::attempt(CallId::from_bytes([1; 16]), time(1)) };
        let attempts: Vec<Attempt> = models.iter().map(of).collect();
        let ask = |attempt| Ask { attempt, bound: &bound, slice: None, now: time(1) };
        let asks: Vec<Ask<'_>> = attempts.iter().map(ask).collect();
        bench.limits.try_admit_together(&asks, bench.at).0
    };
    for (models, wanted) in [
        (["m", "m", "m"], [0, 0, 1]),
        (["m", "x", "m"], [0, 0, 1]),
        (["m", "m", "x"], [1, 1, 0]),
        (["x", "m", "x"], [0, 1, 0]),
    ] {
        let Tried::Held(permits) = held(&models) else { panic!("{models:?} do not fit") };
        let amounts = permits.iter().map(|permit| permit.holds.iter().map(|hold| hold.amount).sum::<i128>());
        assert_eq!(amounts.collect::<Vec<_>>(), wanted, "{models:?}");
    }
}
