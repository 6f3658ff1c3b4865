//! What a gateway that is gone leaves behind: to whom it counts, who may end it, and what is free after it.

use schemas::event::Found;

use super::*;

#[test]
fn the_successor_frees_what_is_known_and_keeps_what_is_not() {
    let mut bench = Bench::leased(Window::Month, 100);
    bench.report(1, vec![bench.counter(30, 40, 2)]);
    let open = Hold { instance: bench.instance().id, window: bench.window(), amount: 40 };
    bench.opened(2, Some(Predecessor { provisions: vec![open], ..gone(1, 3) }));
    let instance = bench.instance();
    let window = instance.current().unwrap();
    assert_eq!((bench.lease(1), instance.held(window), instance.taken(window)), (0, 40, 70), "30 used and 40 unknown");
    bench.ask(2, 31, bench.counter(0, 0, 1));
    assert_eq!(bench.lease(2), 0);
    bench.ask(2, 30, bench.counter(0, 0, 1));
    assert_eq!(bench.lease(2), 30);
}

#[test]
fn what_is_granted_to_one_that_is_leaving_is_free_again() {
    // It was asked for before it left, so it is granted after all that it returned; a hold is of a call that is still open.
    for (held, unknown, leased) in [(0, 0, 0), (0, 20, 0), (20, 0, 60)] {
        let mut bench = Bench::leased(Window::Month, 60);
        let counters = vec![Counter { unknown, ..bench.counter(30, held, 2) }];
        bench.event(1, Event::Reported(Reported { at: NOW, low_watermark: NOW, counters, last: true }));
        assert_eq!(bench.lease(1), leased, "{held} held");
        bench.opened(2, Some(gone(1, 3)));
        let instance = bench.instance();
        assert_eq!(instance.taken(instance.current().unwrap()), 30 + unknown, "its successor changes nothing of that");
    }
}

#[test]
fn the_successor_of_a_copied_journal_frees_nothing() {
    let mut bench = Bench::leased(Window::Month, 100);
    bench.report(1, vec![bench.counter(30, 0, 2)]);
    bench.opened(2, Some(gone(1, 2)));
    assert_eq!(bench.lease(1), 100);
    let commit = bench.engine.take().unwrap();
    let alarms = commit
        .ledger
        .iter()
        .filter(|entry| matches!(&entry.fact, Fact::Alarm(alarm) if alarm.kind == AlarmKind::Forked));
    assert_eq!(alarms.count(), 1);
}

/// Of a gateway that only stands still, metering has no more than the copy of its journal: that it is a copy is all there is to know.
#[test]
fn the_successor_in_a_copy_frees_nothing_however_far_it_goes() {
    let mut bench = Bench::leased(Window::Month, 100);
    bench.report(1, vec![bench.counter(30, 0, 2)]);
    bench.opened(2, Some(Predecessor { copied: true, ..gone(1, 3) }));
    assert_eq!(bench.lease(1), 100);
    // Its own word counts on.
    bench.report(1, vec![bench.counter(40, 0, 3)]);
    let instance = bench.instance();
    assert_eq!(instance.settled(instance.current().unwrap()), 40);
    // Where it is the same directory it is over with the process.
    let mut bench = Bench::leased(Window::Month, 100);
    bench.report(1, vec![bench.counter(30, 0, 2)]);
    bench.opened(2, Some(gone(1, 3)));
    assert_eq!(bench.lease(1), 0);
}

#[test]
fn who_is_gone_takes_nothing_of_a_window_it_was_not_in() {
    let mut bench = Bench::leased(Window::Minute, 60);
    bench.report(1, vec![bench.counter(60, 0, 2)]);
    bench.opened(2, Some(gone(1, 3)));
    bench.ask(2, 41, bench.counter(0, 0, 1));
    assert_eq!(bench.lease(2), 0);
    bench.wait(60);
    bench.ask(2, 100, bench.counter(0, 0, 2));
    assert_eq!(bench.lease(2), 100);
}

#[test]
fn what_a_crash_leaves_is_kept_although_its_producer_never_asked_or_reported() {
    let mut bench = Bench::new(Window::Month);
    let counter = bench.counter(0, 0, 0);
    let (limit, values, window) = (bench.limit.id(), Vec::new(), counter.window);
    bench.engine.open(limit, &values, window).unwrap();
    let hold = |amount| Hold { instance: counter.instance, window, amount };
    bench.opened(2, Some(Predecessor { provisions: vec![hold(30)], used: vec![hold(12)], ..gone(1, 1) }));
    let instance = bench.instance();
    let window = instance.current().unwrap();
    assert_eq!((instance.settled(window), instance.held(window)), (12, 30));
    assert_eq!(instance.taken(window), 42);
}

#[test]
fn a_successor_whose_predecessor_is_still_under_way_waits_and_one_that_is_succeeded_is_set_aside() {
    let mut bench = Bench::new(Window::Month);
    bench.opened(2, Some(gone(1, 2)));
    assert_eq!(bench.engine.counts().gaps, 1, "the second event of the first was lost and comes again");
    bench.report(1, Vec::new());
    bench.said.insert(2, (0, 0));
    bench.opened(2, Some(gone(1, 2)));
    bench.engine.take();
    bench.report(1, Vec::new());
    let ledger = bench.engine.take().unwrap().ledger;
    assert!(matches!(&ledger[..], [Entry { fact: Fact::Alarm(_), .. }]), "{ledger:?}");
    assert_eq!(bench.engine.state.producers[0].seq, Seq(3));
}

#[test]
fn what_an_operator_releases_is_free_and_its_gateway_is_not_listened_to_any_more() {
    let mut bench = Bench::leased(Window::Month, 100);
    bench.report(1, vec![bench.counter(30, 20, 2)]);
    let open = Hold { instance: bench.instance().id, window: bench.window(), amount: 20 };
    // The operator's own producer, which has opened the lane before and takes the place of a second one.
    bench.opened(9, None);
    bench.opened(2, None);
    bench.opened(9, Some(Predecessor { provisions: vec![open], ..gone(1, 3) }));
    bench.opened(9, Some(gone(2, 1)));
    assert_eq!((bench.lease(1), bench.engine.state.producers.iter().filter(|mark| mark.closed).count()), (0, 2));
    let ledger = bench.engine.take().unwrap().ledger;
    let closed = ledger.iter().filter(|entry| matches!(&entry.fact, Fact::Heard(heard) if heard.closed));
    assert_eq!(closed.count(), 2, "no watermark waits for them");
    bench.opened(3, None);
    bench.ask(3, 51, bench.counter(0, 0, 1));
    assert_eq!(bench.lease(3), 0);
    bench.ask(3, 50, bench.counter(0, 0, 1));
    assert_eq!(bench.lease(3), 50);
    // It was only cut off, and has spent on: nothing of that counts, and it gets nothing.
    bench.engine.take();
    bench.report(1, vec![bench.counter(90, 0, 7)]);
    bench.ask(1, 10, bench.counter(90, 0, 8));
    let ledger = bench.engine.take().unwrap().ledger;
    assert!(ledger.iter().all(|entry| matches!(entry.fact, Fact::Alarm(_))), "{ledger:?}");
    assert_eq!((bench.lease(1), bench.instance().settled(bench.instance().current().unwrap())), (0, 30));
}

#[test]
fn events_that_are_lost_for_good_are_waited_for_until_an_operator_releases_their_producer() {
    let mut bench = Bench::new(Window::Month);
    bench.opened(2, Some(gone(1, 5)));
    bench.report(2, Vec::new());
    assert_eq!(bench.engine.counts().gaps, 2, "it is not heard while four of the first are missing");
    bench.opened(9, None);
    bench.opened(9, Some(gone(1, 1)));
    bench.said.insert(2, (0, 0));
    bench.opened(2, Some(gone(1, 5)));
    bench.report(2, Vec::new());
    let mark = bench.engine.state.producers.iter().find(|mark| mark.producer == producer(2)).unwrap();
    assert_eq!((mark.seq, bench.engine.counts().gaps), (Seq(2), 2));
}

/// Opens a journal whose predecessor is said to have ended at `last`, and settles an attempt that it left open.
fn succeed(bench: &mut Bench, from: u8, before: u8, last: u64) -> Vec<Entry> {
    bench.opened(from, Some(gone(before, last)));
    ends(bench, from, (1, 1));
    bench.engine.take().unwrap().ledger
}

/// Says of an attempt that somebody admitted by this record of theirs that it is over, and that it was found open.
fn ends(bench: &mut Bench, from: u8, (by, seq): (u8, u64)) {
    let attempt = fixture::attempt(CallId::from_bytes([1; 16]), NOW);
    let usage = Usage::exact(Vector { uncached_input: 5, ..Vector::default() });
    let found = Some(Found { producer: producer(by), seq: Seq(seq) });
    let bare = Settled::bare(attempt, NOW, Outcome::Unknown, usage);
    bench.event(from, Event::Settled(Box::new(Settled { found, ..bare })));
}

#[test]
fn what_several_find_open_is_ended_by_the_one_that_took_over() {
    // The first lives and has written more than there is in the copy: it ends what it has open, and no copy of its journal does.
    let mut bench = Bench::new(Window::Month);
    bench.report(1, Vec::new());
    assert!(charges(&succeed(&mut bench, 2, 1, 1)).is_empty());
    // A process after that one is its heir, and no more of the first than it was itself.
    let last = bench.said[&2].0;
    assert!(charges(&succeed(&mut bench, 3, 2, last)).is_empty());
    let alarms = |engine: &Engine| engine.state.producers.iter().filter(|mark| mark.forked).count();
    assert_eq!((alarms(&bench.engine), bench.engine.counts().ended_by_others), (1, 2));
    // The one that opens the journal itself ends it, or one after it, if it did not come to that.
    let last = bench.said[&1].0;
    bench.opened(4, Some(gone(1, last)));
    assert_eq!(charges(&succeed(&mut bench, 5, 4, 1)), [1]);
    assert!(charges(&succeed(&mut bench, 6, 4, 1)).is_empty(), "another has succeeded it");
}

#[test]
fn what_was_never_admitted_here_is_ended_by_the_first_that_finds_it_and_charges_nothing() {
    let mut bench = Bench::new(Window::Month);
    // An operator released the first, and then it is started again with what it had not sent.
    bench.opened(9, None);
    bench.opened(9, Some(gone(1, 1)));
    bench.opened(2, Some(gone(1, 3)));
    bench.opened(3, Some(gone(1, 3)));
    bench.engine.take();
    ends(&mut bench, 2, (1, 1));
    ends(&mut bench, 2, (1, 3));
    let commit = bench.engine.take().unwrap();
    assert_eq!(charges(&commit.ledger), [0], "what was accepted of it was the operator's to end");
    assert!(
        commit.decisions.iter().any(|(key, _)| matches!(key, Key::Claim(..))),
        "a new owner of the lane knows it too"
    );
    ends(&mut bench, 3, (1, 3));
    assert!(charges(&bench.engine.take().unwrap().ledger).is_empty());
}

#[test]
fn what_a_producer_used_elsewhere_and_never_reported_is_told_by_its_successor() {
    // Of one that was copied the use is believed and the lease stays.
    for (last, leased) in [(2, 0), (1, 60)] {
        let mut bench = Bench::leased(Window::Month, 60);
        let counters = vec![Counter { returned: 10, ..bench.counter(25, 0, 4) }];
        bench.opened(2, Some(Predecessor { counters, ..gone(1, last) }));
        assert_eq!((bench.instance().settled(bench.instance().current().unwrap()), bench.lease(1)), (25, leased));
    }
}
