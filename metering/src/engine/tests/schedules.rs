//! Schedules by which limits and exactly-once are broken elsewhere, each as what happens here instead.

use schemas::{ledger::Rated, limit::Mode, price::Book};

use super::*;
use crate::window;

/// An engine of each of `lanes` lanes under these limits.
fn house(lanes: u16, limits: &[Limit]) -> Vec<Engine> {
    let policy = Arc::new(fixture::policy(limits.to_vec(), BookHash([0; 32])));
    let engine = |lane| {
        let mut engine = Engine::new(Lane(lane), lanes, Vec::new());
        engine.apply(Input::Policy(Arc::clone(&policy), Offset(1)), NOW);
        engine
    };
    (0..lanes).map(engine).collect()
}

/// The first gateway asks this engine for so much of a limit in the current window; gives its lease.
fn asks(engine: &mut Engine, from: u8, seq: u64, limit: &Limit, need: i128) -> i128 {
    let stands = limit.window.stands();
    let start = window::schedule(limit, NOW, Duration::from_secs(60)).unwrap().window(NOW).unwrap().0;
    let instance = InstanceId::of::<&str>(limit.id(), &[], (!stands).then_some(start));
    let counter = Counter::unused(instance, start);
    let want = Want { limit: limit.id(), values: Vec::new(), window: start, need, want: need, counter };
    let request = LeaseRequested { at: NOW, number: seq, wants: vec![want] };
    let origin = Origin { producer: producer(from), seq: Seq(seq), hash: seq };
    engine.apply(Input::Event(origin, Ok(Event::LeaseRequested(request))), NOW);
    engine.take();
    let known = engine.instances.all.get(&instance);
    known
        .and_then(|known| known.holders.iter().find(|holder| holder.producer == producer(from)))
        .map_or(0, Holder::lease)
}

#[test]
fn a_limit_that_spans_tenants_is_granted_by_one_lane_and_by_no_other() {
    let provider = vec![(Dimension::Provider, Match::Is("openai".into()))];
    for scope in [Vec::new(), provider] {
        let limit = Limit { scope, ..fixture::limit(100, Window::Month) };
        let mut lanes = house(8, std::slice::from_ref(&limit));
        let leases: Vec<i128> = lanes.iter_mut().map(|engine| asks(engine, 1, 1, &limit, 100)).collect();
        let home = usize::from(limit.home::<&str>(&[], 8).0);
        assert_eq!((leases.iter().sum::<i128>(), leases[home]), (100, 100), "{:?}: {leases:?}", limit.scope);
    }
}

#[test]
fn of_a_journal_that_two_go_on_with_one_is_heard_and_nothing_is_granted_twice() {
    let mut bench = Bench::leased(Window::Month, 60);
    bench.report(1, vec![bench.counter(20, 0, 2)]);
    // The copy is opened while the first lives; metering has what the copy has.
    bench.opened(2, Some(gone(1, 3)));
    bench.ask(2, 80, bench.counter(0, 0, 1));
    assert_eq!((bench.lease(1), bench.lease(2)), (0, 80), "what the first used counts as used");
    // The first spends on, asks, and is opened again: none of it counts, and it gets nothing.
    bench.engine.take();
    bench.report(1, vec![bench.counter(60, 0, 3)]);
    bench.ask(1, 10, bench.counter(60, 0, 4));
    bench.opened(3, Some(gone(1, 5)));
    let ledger = bench.engine.take().unwrap().ledger;
    let alarms =
        ledger.iter().filter(|entry| matches!(&entry.fact, Fact::Alarm(alarm) if alarm.kind == AlarmKind::Forked));
    assert_eq!(alarms.count(), 3);
    bench.ask(3, 1, bench.counter(0, 0, 1));
    assert_eq!((bench.lease(1), bench.lease(2), bench.lease(3)), (0, 80, 0));
    // The copy is opened again as any journal is, and may be used on.
    let last = bench.said[&2].0;
    bench.opened(4, Some(gone(2, last)));
    bench.engine.take();
    bench.ask(4, 79, bench.counter(0, 0, 1));
    assert_eq!((bench.lease(3), bench.lease(4)), (1, 79), "what the copy did not use is free, and no more than that");
}

#[test]
fn a_journal_that_lost_what_was_shipped_is_not_believed_although_its_sequences_begin_again() {
    // Three events arrived, and the power failed before the last two were on the disk.
    let mut bench = Bench::leased(Window::Month, 60);
    bench.report(1, vec![bench.counter(20, 10, 2)]);
    bench.opened(2, Some(gone(1, 1)));
    assert_eq!(bench.lease(1), 60, "what it leased may be spent by whoever has the rest");
    bench.report(2, vec![bench.counter(5, 0, 1)]);
    let window = *bench.instance().current().unwrap();
    assert_eq!(bench.instance().settled(&window), 25, "the events of the new one count from their first on");
}

#[test]
fn what_is_shipped_twice_stands_once_in_the_ledger() {
    let mut bench = Bench::new(Window::Month);
    let settle = |number: u8| {
        let attempt = fixture::attempt(CallId::from_bytes([number; 16]), NOW);
        let usage = Usage::exact(Vector { uncached_input: 5, ..Vector::default() });
        Event::Settled(Box::new(Settled::bare(attempt, NOW, Outcome::Complete, usage)))
    };
    let mut rows = 0;
    // The acknowledgement is lost again and again, and all that is not confirmed comes once more, in batches of another size.
    for (from, to) in [(2, 4), (2, 6), (3, 5), (2, 9)] {
        for seq in from..=to {
            let origin = Origin { producer: producer(1), seq: Seq(seq), hash: seq };
            bench.engine.apply(Input::Event(origin, Ok(settle(u8::try_from(seq).unwrap()))), NOW);
        }
        rows += charges(&bench.engine.take().map(|commit| commit.ledger).unwrap_or_default()).len();
    }
    assert_eq!((rows, bench.engine.counts().duplicates), (8, 3 + 3 + 5));
}

#[test]
fn an_attempt_is_charged_by_the_book_of_its_admission_whatever_is_in_force() {
    let book = |input: &str| {
        let text = format!(
            "models:\n  - provider: openai\n    names: [gpt-4o-mini]\n    context_window: 1000\n    max_output_tokens: 100\n    \
             source: test\n    source_date: 2026-10-30\n    prices:\n      - {{ per_million: {{ input: {input}, output: 1 }} }}\n"
        );
        Arc::new(Book::of(&[Book::parse(&text, "test").unwrap()]))
    };
    let (before, after) = (book("1.00"), book("10.00"));
    let mut bench = Bench::new(Window::Month);
    for book in [&before, &after] {
        bench.engine.apply(Input::Book(Arc::clone(book)), NOW);
    }
    let now = fixture::policy(vec![bench.limit.clone()], after.hash());
    bench.engine.apply(Input::Policy(Arc::new(now), Offset(2)), NOW);
    bench.engine.take();
    let mut costs = Vec::new();
    for (number, book) in [(1, &before), (2, &after)] {
        let attempt = fixture::attempt(CallId::from_bytes([number; 16]), NOW);
        let attempt = schemas::event::Attempt { book: book.hash(), ..attempt };
        let usage = Usage::exact(Vector { uncached_input: 3, ..Vector::default() });
        bench.event(1, Event::Settled(Box::new(Settled::bare(attempt, NOW, Outcome::Complete, usage))));
        let ledger = bench.engine.take().unwrap().ledger;
        let charges = ledger.iter().flat_map(|entry| match &entry.fact {
            Fact::Charged(charged) => charged.charges.clone(),
            _ => Vec::new(),
        });
        costs.extend(charges.map(|charge| if let Rated::Priced { cost, .. } = charge.price { cost.0 } else { 0 }));
    }
    assert_eq!(costs, [3_000_000, 30_000_000]);
}

#[test]
fn ten_gateways_at_the_end_of_an_amount_give_it_to_the_one_call_that_it_is_for() {
    let mut bench = Bench::new(Window::Month);
    for gateway in 1..=10 {
        if gateway > 1 {
            bench.opened(gateway, None);
        }
        bench.ask(gateway, 10, bench.counter(0, 0, 1));
    }
    bench.engine.take();
    assert_eq!((1..=10).map(|gateway| bench.lease(gateway)).collect::<Vec<_>>(), [10; 10]);
    // A call of fifty units fits, if five of them give back.
    bench.ask(1, 40, bench.counter(0, 0, 2));
    let recall = bench.instance().recall;
    for gateway in 2..=10 {
        assert_eq!((bench.lease(1), recall), (10, 1), "it waits until {gateway} has answered");
        let returned = Counter { returned: 10, recall, ..bench.counter(0, 0, 2) };
        bench.report(gateway, vec![returned]);
        bench.engine.take();
        if bench.lease(1) == 50 {
            assert_eq!(gateway, 5, "the fourth return is enough");
            break;
        }
    }
    assert_eq!(bench.lease(1), 50);
    assert!(bench.engine.state.waiting.is_empty());
}

#[test]
fn who_is_open_when_a_soft_limit_becomes_hard_counts_and_more_than_is_left_is_not_granted() {
    let soft = Limit { mode: Mode::Soft, ..fixture::limit(100, Window::Month) };
    let mut bench = Bench::under(soft.clone());
    bench.opened(2, None);
    let window = bench.window();
    bench.engine.open(soft.id(), &[], window).unwrap();
    bench.report(1, vec![bench.counter(30, 40, 1)]);
    let hard = Limit { mode: Mode::Hard, ..soft.clone() };
    assert_eq!(soft.id(), hard.id(), "it is the same counter");
    bench.limit = hard.clone();
    bench.engine.apply(policy(&hard, 2), bench.at);
    // The gateway asks for what it has used and holds, and one call more.
    bench.ask(1, 71, bench.counter(30, 40, 2));
    assert_eq!(bench.lease(1), 71);
    bench.ask(2, 30, bench.counter(0, 0, 1));
    assert_eq!(bench.lease(2), 0);
    bench.engine.take();
    bench.ask(2, 29, bench.counter(0, 0, 2));
    bench.engine.take();
    let taken = bench.instance().taken(bench.instance().current().unwrap());
    assert!(taken <= 100, "{taken}");
}

#[test]
fn a_limit_with_another_window_unit_or_scope_is_another_one_and_begins_at_zero() {
    let zone = |limit: &Limit| Limit { zone: "Europe/Berlin".into(), ..limit.clone() };
    let unit = |limit: &Limit| Limit { unit: Unit::Requests, ..limit.clone() };
    let window = |limit: &Limit| Limit { window: Window::Day, ..limit.clone() };
    let scope = |limit: &Limit| Limit { scope: Vec::new(), ..limit.clone() };
    for (number, change) in [zone, unit, window, scope].into_iter().enumerate() {
        let mut bench = Bench::leased(Window::Month, 60);
        bench.report(1, vec![bench.counter(60, 0, 2)]);
        let old = bench.counter(60, 0, 3);
        let (before, after) = (bench.limit.clone(), change(&bench.limit));
        assert_ne!(before.id(), after.id(), "{number}");
        bench.engine.apply(policy(&after, 2), bench.at);
        // What is still said of the old one opens nothing and is granted nothing.
        bench.ask(1, 10, old);
        bench.limit = after.clone();
        let of = |engine: &Engine| -> Vec<i128> {
            let known = engine.instances.all.values().filter(|instance| instance.limit == after.id());
            known.map(|instance| instance.taken(instance.current().unwrap())).collect()
        };
        assert_eq!(of(&bench.engine), [0], "{number}");
        let leased: i128 =
            bench.engine.instances.all.values().flat_map(|known| &known.holders).map(Holder::lease).sum();
        assert_eq!(leased, 60, "{number}: and the old one is granted no more");
    }
}

#[test]
fn a_clock_that_is_far_ahead_or_behind_opens_no_window_that_metering_has_not_published() {
    let mut bench = Bench::new(Window::Day);
    let known = bench.engine.instances.all.len();
    for year in [-30_i64, 1, 73] {
        let start = Time::from_micros(bench.window().as_micros() + year * 365 * 86_400_000_000);
        let counter = Counter::unused(InstanceId::of::<&str>(bench.limit.id(), &[], Some(start)), start);
        bench.ask(1, 100, counter);
        bench.engine.take();
        assert_eq!(bench.engine.instances.all.len(), known, "{year} years off");
        assert!(bench.engine.state.waiting.is_empty());
    }
}

#[test]
fn a_counter_whose_window_is_over_is_tombstoned_once_nothing_of_it_is_held() {
    let mut bench = Bench::leased(Window::Day, 60);
    let id = bench.instance().id;
    bench.report(1, vec![bench.counter(20, 15, 2)]);
    let late = bench.counter(30, 0, 3);
    bench.engine.take();
    let gone = |engine: &mut Engine| {
        let commit = engine.take().unwrap();
        commit.decisions.iter().any(|(key, state)| *key == Key::Instance(id) && state.is_none())
    };
    bench.wait(86_400 + tick::KEPT.as_secs());
    bench.wait(60);
    assert!(!gone(&mut bench.engine), "an attempt of it is under way");
    bench.report(1, vec![late]);
    let commit = bench.engine.take().unwrap();
    let mut last = commit.ledger.iter().filter_map(|entry| match &entry.fact {
        Fact::Balance(balance) if balance.id == id => Some(balance.settled(balance.current().unwrap())),
        _ => None,
    });
    assert_eq!(last.next_back(), Some(30), "its final row");
    bench.wait(60);
    assert!(gone(&mut bench.engine));
    assert!(!bench.engine.instances.all.contains_key(&id));
}
