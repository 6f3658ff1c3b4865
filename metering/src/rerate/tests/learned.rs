//! What another system tells of, in its time and long after: where it counts, and how often.

use schemas::event::{LeaseRequested, Want};

use super::*;

/// Use that another system tells of: 10 tokens of the tenant.
fn told(bench: &Bench, id: &str, at: Time, moves: Vec<Move>) -> Learned {
    let is = settled(attempt(99, at, &bench.books[0]), 10);
    Learned { source: "urn:x".into(), id: id.into(), at, content: 7, was: None, is, moves, awaits: false }
}

#[test]
fn what_is_told_twice_counts_once_in_every_lane() {
    let limits = vec![
        limit("acme", true, Unit::Tokens, Window::Month, 100),
        limit("house", false, Unit::Tokens, Window::Month, 100),
        limit("minute", false, Unit::Tokens, Window::Minute, 100),
    ];
    let mut bench = Bench::new(limits);
    let moves = (0..3).map(|place| bench.moves(place, NOW, 10)).collect();
    let learned = told(&bench, "1", NOW, moves);
    for _ in 0..3 {
        bench.learn(&learned);
    }
    assert_eq!((0..3).map(|place| bench.adjusted(place).iter().sum::<i128>()).collect::<Vec<_>>(), [10; 3]);
    assert_eq!(bench.facts(|fact| matches!(fact, Fact::Charged(_))), 1);
    bench.prove();
    // A new owner of a lane knows what was claimed.
    for engine in &mut bench.engines {
        engine.apply(Input::Tick, NOW);
    }
    bench.learn(&Learned { content: 8, ..learned.clone() });
    let conflicts = |fact: &Fact| matches!(fact, Fact::Alarm(alarm) if alarm.kind == AlarmKind::Conflict);
    assert_eq!(bench.facts(conflicts), 1);
    // An id of another source is another.
    bench.learn(&Learned { source: "urn:y".into(), ..learned });
    assert_eq!(bench.adjusted(0), [20]);
    bench.prove();
}

#[test]
fn what_was_over_long_ago_moves_no_counter_and_is_written_down() {
    let mut bench = Bench::new(vec![limit("day", true, Unit::Tokens, Window::Day, 100)]);
    let day = 86_400_000_000;
    let check = |bench: &mut Bench, id: &str, days: i64, adjusted: &[i128], late: usize| {
        let at = Time::from_micros(NOW.as_micros() - days * day);
        let learned = told(bench, id, at, vec![bench.moves(0, at, 7)]);
        bench.learn(&learned);
        let mut found = bench.adjusted(0);
        found.sort_unstable();
        assert_eq!(found, adjusted, "{days} days ago");
        let all = |fact: &Fact| matches!(fact, Fact::Adjusted(adjusted) if !adjusted.late.is_empty());
        assert_eq!(bench.facts(all), late, "{days} days ago");
        bench.prove();
    };
    check(&mut bench, "today", 0, &[7], 0);
    check(&mut bench, "yesterday", 1, &[7, 7], 0);
    check(&mut bench, "last week", 7, &[7, 7], 1);
    // Older than anybody remembers: set aside, and no row.
    let rows = bench.facts(|fact| matches!(fact, Fact::Charged(_)));
    check(&mut bench, "long ago", 40, &[7, 7], 1);
    assert_eq!(bench.facts(|fact| matches!(fact, Fact::Charged(_))), rows);
    assert_eq!(bench.facts(|fact| matches!(fact, Fact::Alarm(alarm) if alarm.kind == AlarmKind::Stale)), 1);
}

#[test]
fn a_counter_that_is_forgotten_does_not_begin_anew() {
    let mut bench = Bench::new(vec![limit("month", true, Unit::Tokens, Window::Month, 100)]);
    let moves = vec![bench.moves(0, NOW, 7)];
    bench.learn(&told(&bench, "1", NOW, moves.clone()));
    assert_eq!(bench.adjusted(0), [7]);
    bench.forget();
    assert_eq!(bench.adjusted(0), [0], "there is only the next window");
    for number in 2..5 {
        bench.learn(&told(&bench, &number.to_string(), NOW, moves.clone()));
        assert_eq!(bench.adjusted(0), [0], "not even by the {number}th");
    }
    assert_eq!(bench.late(), 21);
    bench.prove();
}

#[test]
fn other_prices_reach_what_was_told_of_a_window_that_was_over() {
    let mut bench = Bench::new(vec![limit("month", true, Unit::Usd, Window::Month, 1_000_000_000)]);
    bench.forget();
    let moves = vec![bench.moves(0, NOW, 10_000_000)];
    bench.learn(&told(&bench, "1", NOW, moves));
    assert_eq!(bench.late(), 10_000_000);
    for (price, wanted) in [("4.00", 40_000_000), ("4.00", 40_000_000), ("2.00", 20_000_000)] {
        let rerate = bench.rerate_over(&format!("per_million: {{ input: {price} }}"));
        rerate.books().into_iter().for_each(|book| bench.publish(book));
        rerate.corrections(bench.at).iter().for_each(|learned| bench.learn(learned));
        assert_eq!(bench.late(), wanted, "{price}");
        bench.prove();
    }
}

#[test]
fn claims_are_forgotten_when_nothing_as_old_is_taken() {
    let mut bench = Bench::new(vec![limit("acme", true, Unit::Tokens, Window::Total, 100)]);
    let learned = told(&bench, "1", NOW, vec![bench.moves(0, NOW, 1)]);
    bench.learn(&learned);
    let own = usize::from(Lane::of(b"acme", LANES).0);
    let check = |bench: &mut Bench, days: u64, claims: u64| {
        bench.at = NOW.after(std::time::Duration::from_secs(days * 86_400));
        let at = bench.at;
        bench.engines[own].apply(Input::Tick, at);
        bench.learn(&learned);
        assert_eq!((bench.engines[own].state().claims, bench.adjusted(0)), (claims, vec![1]), "after {days} days");
    };
    check(&mut bench, 35, 1);
    check(&mut bench, 36, 1);
    check(&mut bench, 37, 0);
}

#[test]
fn a_limit_that_is_overdrawn_grants_nothing_more() {
    let mut bench = Bench::new(vec![limit("acme", true, Unit::Tokens, Window::Month, 100)]);
    let learned = told(&bench, "1", NOW, vec![bench.moves(0, NOW, 150)]);
    bench.learn(&learned);
    let own = &bench.engines[usize::from(Lane::of(b"acme", LANES).0)];
    let instance = own.instances().all.values().next().unwrap();
    assert!(!crate::invariant::l1(instance, instance.windows[0].start) && instance.recall == 1);
    assert_eq!(bench.facts(|fact| matches!(fact, Fact::Overrun(_))), 1);
    bench.prove();
}

#[test]
fn what_a_correction_gives_back_can_be_leased() {
    let mut bench = Bench::new(vec![limit("acme", true, Unit::Tokens, Window::Month, 100)]);
    let own = Lane::of(b"acme", LANES);
    let (instance, window) = {
        let instance = bench.engines[usize::from(own.0)].instances().all.values().next().unwrap();
        (instance.id, instance.windows[0].start)
    };
    let mut check = |number: u64, adjust: i128, need: i128, granted: i128| {
        let learned = told(&bench, &number.to_string(), NOW, vec![bench.moves(0, NOW, adjust)]);
        bench.learn(&learned);
        let counter = Counter { used: 60, version: number, ..Counter::unused(instance, window) };
        let limit = bench.limits[0].id();
        let want = Want { limit, values: Vec::new(), window, need, want: need, counter };
        bench.event(own, Event::LeaseRequested(LeaseRequested { at: NOW, number, wants: vec![want] }));
        let holder = &bench.engines[usize::from(own.0)].instances().all[&instance].holders[0];
        assert_eq!(holder.granted, granted, "after {adjust}");
    };
    check(1, 0, 60, 60);
    check(2, 0, 140, 60);
    check(3, -50, 151, 60);
    check(4, 0, 150, 150);
    check(5, 1, 151, 150);
}

/// A lane that the log does not have has no counter: nothing is passed there, and it is said that what was to be moved is gone.
#[test]
fn what_names_a_lane_that_there_is_not_moves_nothing() {
    let mut bench = Bench::new(vec![limit("acme", true, Unit::Tokens, Window::Total, 100)]);
    let moved = Move { home: Lane(LANES), ..bench.moves(0, NOW, 10) };
    bench.learn(&told(&bench, "1", NOW, vec![moved]));
    let gone = |fact: &Fact| matches!(fact, Fact::Adjusted(adjusted) if adjusted.gone.len() == 1);
    assert_eq!((bench.facts(gone), bench.adjusted(0), bench.passed.len()), (1, vec![0], 0));
    bench.prove();
}
