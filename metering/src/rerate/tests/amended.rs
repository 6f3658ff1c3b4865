//! Amendments of one attempt: what they clear of what is held for it, and which of two that race holds.

use schemas::{
    price::Cost,
    standing::{Clears, Named},
};

use super::*;

/// An attempt that used 10 tokens of the first limit, and may have used 40 more.
fn left_open(bench: &mut Bench) -> (Lane, InstanceId, Time) {
    left_open_as(bench, Completeness::LowerBound(Doubt::ClientLeft))
}

/// The same, of which what is known is so sure.
fn left_open_as(bench: &mut Bench, completeness: Completeness) -> (Lane, InstanceId, Time) {
    let home = bench.limits[0].home::<&str>(&[], LANES);
    let engine = &bench.engines[usize::from(home.0)];
    let counter = engine.instances().all.values().find(|it| it.limit == bench.limits[0].id()).unwrap();
    let (instance, window) = (counter.id, counter.windows[0].start);
    let mut end = settled(attempt(1, NOW, &bench.books[0]), 10);
    end.usage.completeness = completeness;
    end.posted = vec![Posting { instance, window, used: 10, provision: 40 }];
    bench.event(Lane::of(b"acme", LANES), Event::Settled(Box::new(end)));
    let counter = Counter { used: 10, unknown: 40, version: 1, ..Counter::unused(instance, window) };
    let report = Reported { at: NOW, low_watermark: NOW, counters: vec![counter], last: false };
    bench.event(home, Event::Reported(report));
    (home, instance, window)
}

/// The amendment that says that it used so many, of what stands now.
fn amendment(bench: &Bench, id: &str, input: u64, clears: Clears) -> Learned {
    let mut standings = Standings::of(std::iter::once((CallId::from_bytes([1; 16]), 1)));
    bench.ledger.iter().for_each(|(_, entry)| standings.take(entry));
    let standing = standings.all.into_values().next().unwrap().unwrap();
    let limit = &bench.limits[0];
    let home = limit.home::<&str>(&[], LANES);
    let name = |_: &Posting| Some(Named { home, limit: limit.id(), values: Vec::new(), unit: limit.unit });
    let usage = Usage::exact(Vector { uncached_input: input, ..Vector::default() });
    let content = schemas::wire::hash(id.as_bytes());
    standing.correct((usage, Cost::default()), (Why::Amended, clears), ("urn:x".into(), id.into(), content), NOW, name)
}

#[test]
fn what_is_cleared_of_a_provision_can_be_leased_once_and_replay_names_what_is_not_so() {
    for tenant in [true, false] {
        let mut bench = Bench::new(vec![limit("l", tenant, Unit::Tokens, Window::Total, 100)]);
        let (home, id, window) = left_open(&mut bench);
        let at = usize::from(home.0);
        let stands = |bench: &Bench| {
            let instance = &bench.engines[at].instances().all[&id];
            let window = instance.windows[0];
            (instance.settled(&window), instance.held(&window), crate::invariant::free(instance, window.start))
        };
        assert_eq!(stands(&bench), (10, 40, 50));
        bench.prove();
        // Who may only add frees nothing, however often the same comes; and it is told from what came in its place.
        let (first, other) = (amendment(&bench, "1", 15, Clears::Added), amendment(&bench, "2", 20, Clears::Known));
        for learned in [&first, &first, &other, &first] {
            bench.learn(learned);
        }
        assert_eq!(stands(&bench), (15, 35, 50));
        let conflicts = |fact: &Fact| matches!(fact, Fact::Alarm(alarm) if alarm.kind == AlarmKind::Conflict);
        assert_eq!(bench.facts(conflicts), 1);
        bench.prove();
        bench.learn(&amendment(&bench, "3", 30, Clears::Known));
        assert_eq!(stands(&bench), (30, 0, 70));
        bench.prove();
        // A report that is late or repeated brings nothing back.
        let late = Counter { used: 10, unknown: 40, version: 1, ..Counter::unused(id, window) };
        let report = Reported { at: NOW, low_watermark: NOW, counters: vec![late, late], last: false };
        bench.event(home, Event::Reported(report));
        assert_eq!(stands(&bench), (30, 0, 70));
        // What clears what is cleared already, and what is of no attempt, is in no gateway's power; replay names it.
        let mut forged = amendment(&bench, "4", 30, Clears::Known);
        let move_of = |clears| Move { clears, ..bench.moves(0, window, 0) };
        forged.moves = vec![move_of(40)];
        let mut nobodys = amendment(&bench, "5", 30, Clears::Known);
        nobodys.is.attempt.call = CallId::from_bytes([9; 16]);
        let mut false_was = amendment(&bench, "6", 31, Clears::Known);
        false_was.was = false_was.was.map(|was| Was { usage: Usage::none(), ..was });
        for (forged, says) in [(forged, "40 not cleared"), (nobodys, "no such attempt"), (false_was, "the charges of")]
        {
            let mut bench = Bench::new(bench.limits.clone());
            left_open(&mut bench);
            for learned in [("1", 15, Clears::Added), ("3", 30, Clears::Known)] {
                bench.learn(&amendment(&bench, learned.0, learned.1, learned.2));
            }
            bench.learn(&forged);
            let said = bench.difference().unwrap().to_string();
            assert!(said.contains(says), "{said}");
        }
    }
}

/// A limit of all tenants that is at home in another lane than the one that calls.
fn abroad() -> Limit {
    let named = |number| limit(&format!("house-{number}"), false, Unit::Tokens, Window::Total, 100);
    let is_abroad = |limit: &Limit| limit.home::<&str>(&[], LANES) != Lane::of(b"acme", LANES);
    (0..).map(named).find(is_abroad).unwrap()
}

/// Two gateways have taken different amendments of one attempt, each before it could know of the other.
#[test]
fn of_two_amendments_that_race_one_holds_in_every_lane() {
    for first in 0..2 {
        let mut bench = Bench::new(vec![abroad()]);
        let (home, id, _) = left_open(&mut bench);
        let rivals = [amendment(&bench, "1", 15, Clears::Added), amendment(&bench, "2", 30, Clears::Known)];
        let (wins, loses) = (&rivals[first], &rivals[1 - first]);
        // What a version before wrote to every lane is decided in the tenant's all the same.
        bench.event(home, Event::Learned(Box::new(loses.clone())));
        bench.learn(wins);
        bench.learn(loses);
        let stands = |bench: &Bench| {
            let instance = &bench.engines[usize::from(home.0)].instances().all[&id];
            (instance.settled(&instance.windows[0]), instance.held(&instance.windows[0]))
        };
        let expected = [(15, 35), (30, 0)][first];
        assert_eq!(stands(&bench), expected);
        let conflicts = |fact: &Fact| matches!(fact, Fact::Alarm(alarm) if alarm.kind == AlarmKind::Conflict);
        assert_eq!((bench.facts(conflicts), bench.passed.len()), (1, 1));
        bench.prove();
        // What comes twice, though it cannot, moves nothing; nor does what no lane has passed.
        let (to, event) = bench.passed[0].clone();
        bench.apply(to, NOBODY, event.clone());
        bench.event(to, event);
        assert_eq!((stands(&bench), bench.facts(|fact| matches!(fact, Fact::Adjusted(_)))), (expected, 1));
        bench.prove();
    }
}

/// What was passed to a lane and is not kept any more when that is read again is said to be lost, and replay names the counter.
#[test]
fn what_was_passed_and_never_came_is_named() {
    let mut bench = Bench::new(vec![abroad()]);
    left_open(&mut bench);
    let (own, first) = (Lane::of(b"acme", LANES), amendment(&bench, "1", 15, Clears::Added));
    let origin =
        Origin { seq: Seq(bench.seqs[usize::from(own.0)] + 1), hash: 1, producer: ProducerId::from_bytes([1; 16]) };
    bench.seqs[usize::from(own.0)] += 1;
    let engine = &mut bench.engines[usize::from(own.0)];
    engine.apply(Input::Event(origin, Ok(Event::Learned(Box::new(first)))), NOW);
    let lost = engine.take().unwrap();
    assert_eq!(lost.passed.len(), 1);
    bench.ledger.extend(lost.ledger.into_iter().map(|entry| (own, entry)));
    bench.learn(&amendment(&bench, "2", 20, Clears::Added));
    assert_eq!(bench.facts(|fact| matches!(fact, Fact::Alarm(alarm) if alarm.kind == AlarmKind::Lost)), 1);
    let said = bench.difference().unwrap().to_string();
    assert!(said.contains("5 that its rows say were not moved"), "{said}");
}

/// A gateway that could not tell a counter from a limit out of force moved nothing: so did earlier versions.
#[test]
fn what_an_amended_attempt_used_and_a_counter_that_it_names_lacks_is_named_until_it_is_there() {
    for tenant in [true, false] {
        let mut bench = Bench::new(vec![limit("l", tenant, Unit::Tokens, Window::Total, 100)]);
        let (home, id, window) = left_open(&mut bench);
        let mut unmoved = amendment(&bench, "1", 15, Clears::Added);
        unmoved.moves.clear();
        unmoved.is.posted = vec![Posting { instance: id, window, used: 10, provision: 40 }];
        bench.learn(&unmoved);
        let said = bench.difference().unwrap().to_string();
        assert!(said.contains("lacks 5 of what it is said to have used"), "{said}");
        // Filled in by a limit that came back with `backfill`.
        let filled = |used| {
            let mut replay = Replay::default();
            bench.ledger.iter().for_each(|(_, entry)| replay.take(entry.clone()));
            let mut chain = replay.chain().unwrap();
            bench.ledger.iter().for_each(|(_, entry)| chain.take(entry.clone()));
            let posted = vec![Posting { instance: id, window, used, provision: 0 }];
            let (source, id, call) = (crate::backfill::SOURCE.to_owned(), String::new(), CallId::from_bytes([0; 16]));
            let (gone, late) = (Vec::new(), Vec::new());
            let adjusted = schemas::ledger::Adjusted { source, id, call, attempt: 0, posted, gone, late };
            chain.take(Entry { recorded_at: NOW, fact: Fact::Adjusted(adjusted) });
            chain.end().is_none()
        };
        assert_eq!([4, 5].map(filled), [false, true]);
        // The next amendment moves all that its counters lack.
        bench.learn(&amendment(&bench, "2", 20, Clears::Known));
        let instance = &bench.engines[usize::from(home.0)].instances().all[&id];
        assert_eq!(instance.settled(&instance.windows[0]), 20);
        bench.prove();
    }
}

#[test]
fn an_estimate_gives_way_to_what_is_so_and_the_books_follow_it_down() {
    for tenant in [true, false] {
        let mut bench = Bench::new(vec![limit("l", tenant, Unit::Tokens, Window::Total, 100)]);
        let (home, id, window) = left_open_as(&mut bench, Completeness::Estimated(Doubt::Truncated));
        bench.learn(&amendment(&bench, "1", 4, Clears::Known));
        let instance = &bench.engines[usize::from(home.0)].instances().all[&id];
        let shown = instance.windows[0];
        let free = crate::invariant::free(instance, window);
        assert_eq!((instance.settled(&shown), instance.held(&shown), free), (4, 0, 96));
        bench.prove();
    }
}
