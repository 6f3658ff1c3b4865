//! What a response used is charged once, to whoever had it made, and what was held for it is free then, whoever reads it, when and where.

use schemas::event::RESPONSES;

use super::*;

const HELD: i128 = 50_000_000;
/// What ten tokens cost by the first book, in the limits' unit.
const COST: i128 = 10_000_000;

fn own() -> Lane {
    Lane::of(b"acme", LANES)
}

fn bench() -> Bench {
    Bench::new(vec![
        limit("acme", true, Unit::Usd, Window::Month, 1_000_000_000),
        limit("house", false, Unit::Usd, Window::Month, 1_000_000_000),
    ])
}

/// An attempt of acme's ends with a response that is still worked on, and holds something for that in both limits. Gives what it says then.
fn made(bench: &mut Bench, number: u8, id: &str) -> Learned {
    let mut end = ended(bench, number);
    for place in 0..2 {
        let limit = bench.limits[place].clone();
        let home = limit.home::<&str>(&[], LANES);
        let mut all = bench.engines[usize::from(home.0)].instances().all.values();
        let counter = all.find(|it| it.limit == limit.id()).unwrap();
        let (instance, window) = (counter.id, counter.windows[0].start);
        end.posted.push(Posting { instance, window, used: 0, provision: HELD });
        let (unknown, version) = (HELD * i128::from(number), number.into());
        let counter = Counter { unknown, version, ..Counter::unused(instance, window) };
        let report = Reported { at: NOW, low_watermark: NOW, counters: vec![counter], last: false };
        bench.event(home, Event::Reported(report));
    }
    let moves = (0..2).map(|place| Move { clears: HELD, ..bench.moves(place, end.posted[place].window, 0) }).collect();
    awaits(bench, end, moves, id)
}

/// An attempt of acme's that ends with a response that is still worked on.
fn ended(bench: &Bench, number: u8) -> Settled {
    Settled { usage: Usage::missing(Doubt::NotReported), ..settled(attempt(number, NOW, &bench.books[0]), 0) }
}

/// It ends, and awaits this response.
fn awaits(bench: &mut Bench, end: Settled, moves: Vec<Move>, id: &str) -> Learned {
    bench.event(own(), Event::Settled(Box::new(end.clone())));
    let source = format!("{RESPONSES}https://api");
    Learned { source, id: id.into(), at: NOW, content: 0, was: None, is: end, moves, awaits: true }
}

/// Somebody reads the response, at a gateway that knows another book and counts what all tenants use.
fn read(bench: &Bench, tenant: &str, id: &str) -> Learned {
    let mut by = attempt(if tenant == "acme" { 98 } else { 99 }, NOW, &bench.books[1]);
    Arc::make_mut(&mut by.subject).tenant = tenant.into();
    let moves = vec![bench.moves(1, NOW, 3 * COST)];
    let source = format!("{RESPONSES}https://api");
    Learned { source, id: id.into(), at: NOW, content: 7, was: None, is: settled(by, 10), moves, awaits: false }
}

/// Who was charged for what was told.
fn charged(bench: &Bench) -> Vec<(String, i128)> {
    let charged = bench.ledger.iter().filter_map(|(lane, entry)| match &entry.fact {
        Fact::Charged(charged) if !charged.charges.is_empty() => {
            let tenant = charged.settled.attempt.subject.tenant.clone();
            assert_eq!(*lane, Lane::of(tenant.as_bytes(), LANES), "a row stands in the lane of its tenant");
            Some((tenant, price::sum(&charged.charges).known.0))
        }
        _ => None,
    });
    charged.collect()
}

/// What is used of the limits, and what of them is held for what nobody knows.
fn stands(bench: &Bench) -> Vec<(i128, i128)> {
    let stands = bench.limits.iter().map(|limit| {
        let all = bench.engines.iter().flat_map(|engine| engine.instances().all.values());
        let windows = all.filter(|it| it.limit == limit.id()).flat_map(|it| it.windows.iter().map(move |at| (it, at)));
        windows.fold((0, 0), |sums, (it, window)| (sums.0 + it.settled(window), sums.1 + it.held(window)))
    });
    stands.collect()
}

/// Ids whose lanes are that of the tenant, and the others.
fn ids(bench: &Bench) -> Vec<String> {
    let ids: Vec<String> = (0..9).map(|number| format!("resp_{number}")).collect();
    let mut lanes: Vec<u16> = ids.iter().map(|id| read(bench, "acme", id).lane(LANES).0).collect();
    lanes.sort_unstable();
    lanes.dedup();
    assert_eq!(lanes.len(), usize::from(LANES));
    ids
}

#[test]
fn a_response_is_charged_once_to_who_had_it_made_and_nothing_stays_held_for_it() {
    for id in ids(&bench()) {
        let mut bench = bench();
        let awaits = made(&mut bench, 1, &id);
        bench.learn(&awaits);
        assert_eq!(stands(&bench), [(0, HELD); 2], "{id}");
        (0..LANES).for_each(|lane| bench.begin(Lane(lane)));
        for tenant in ["birch", "acme", "birch"] {
            let told = read(&bench, tenant, &id);
            bench.learn(&told);
            assert_eq!(charged(&bench), [("acme".to_owned(), COST)], "{id}");
            assert_eq!(stands(&bench), [(COST, 0); 2], "{id}");
            (0..LANES).for_each(|lane| bench.begin(Lane(lane)));
        }
        assert_eq!(bench.facts(|fact| matches!(fact, Fact::Corrected(_))), 1);
        // A release of it by an operator finds nothing that is held.
        let mut standings = Standings::of(std::iter::once((CallId::from_bytes([1; 16]), 1)));
        bench.ledger.iter().for_each(|(_, entry)| standings.take(entry));
        let stood = standings.all.into_values().next().flatten().unwrap();
        assert!(stood.number == 1 && stood.posted().iter().all(|posting| posting.provision == 0));
        bench.prove();
    }
}

/// Time passes, in every lane.
fn later(bench: &mut Bench, seconds: u64) {
    bench.at = bench.at.after(std::time::Duration::from_secs(seconds));
    (0..LANES).for_each(|lane| bench.input(Lane(lane), Input::Tick));
}

fn stale(bench: &Bench) -> usize {
    bench.facts(|fact| matches!(fact, Fact::Alarm(alarm) if alarm.kind == AlarmKind::Stale))
}

#[test]
fn what_is_awaited_is_as_old_as_the_attempt_that_awaits_it_whatever_the_provider_says() {
    let long_ago = Time::from_micros(NOW.as_micros() - 40 * 86_400_000_000);
    for at in [Time::from_micros(1_000_000), long_ago] {
        for id in ids(&bench()) {
            let mut bench = bench();
            let awaits = Learned { at, ..made(&mut bench, 1, &id) };
            bench.learn(&awaits);
            // Nor is it forgotten sooner.
            later(&mut bench, 60);
            (0..LANES).for_each(|lane| bench.begin(Lane(lane)));
            for _ in 0..2 {
                let mut told = Learned { at, ..read(&bench, "birch", &id) };
                (told.is.attempt.admitted_at, told.is.settled_at) = (at, at);
                bench.learn(&told);
                assert_eq!(charged(&bench), [("acme".to_owned(), COST)], "{id} of {at}");
                assert_eq!((stands(&bench), stale(&bench)), (vec![(COST, 0); 2], 0), "{id} of {at}");
            }
            bench.prove();
            // Of what nobody here had made there is only what is stated.
            let told = Learned { at, ..read(&bench, "birch", "resp_other") };
            bench.learn(&told);
            assert_eq!((charged(&bench).len(), stale(&bench)), (1, 1), "{id} of {at}");
        }
    }
}

#[test]
fn what_was_told_and_is_forgotten_is_charged_no_second_time_where_it_is_awaited_late() {
    let mut bench = bench();
    let mut awaits = made(&mut bench, 1, "resp_1");
    let told = read(&bench, "birch", "resp_1");
    bench.learn(&told);
    // Longer than a claim is remembered.
    later(&mut bench, 37 * 86_400);
    awaits.at = bench.at;
    bench.learn(&awaits);
    for (number, at) in (1..).zip([Time::from_micros(1_000_000), NOW, bench.at]) {
        let told = Learned { at, ..read(&bench, "acme", "resp_1") };
        bench.learn(&told);
        assert_eq!((charged(&bench).len(), stale(&bench)), (1, number), "of {at}");
    }
}

#[test]
fn what_no_limit_held_anything_for_is_known_afterwards_as_well() {
    let mut bench = bench();
    let end = ended(&bench, 1);
    let awaits = awaits(&mut bench, end, Vec::new(), "resp_1");
    let told = read(&bench, "birch", "resp_1");
    [&awaits, &told, &told].into_iter().for_each(|said| bench.learn(said));
    assert_eq!(charged(&bench), [("acme".to_owned(), COST)]);
    let mut standings = Standings::of(std::iter::once((CallId::from_bytes([1; 16]), 1)));
    bench.ledger.iter().for_each(|(_, entry)| standings.take(entry));
    let stood = standings.all.into_values().next().flatten().unwrap();
    assert_eq!((stood.number, stood.usage()), (1, &Usage::none()));
    bench.prove();
}

#[test]
fn of_attempts_that_were_answered_with_one_response_one_is_charged_and_all_let_go() {
    for id in ids(&bench()) {
        let mut bench = bench();
        for number in 1..=2 {
            let awaits = made(&mut bench, number, &id);
            bench.learn(&awaits);
        }
        let told = read(&bench, "acme", &id);
        bench.learn(&told);
        // And one more, after it is known.
        let awaits = made(&mut bench, 3, &id);
        assert_eq!(stands(&bench), [(COST, HELD); 2]);
        bench.learn(&awaits);
        assert_eq!((charged(&bench), stands(&bench)), (vec![("acme".to_owned(), COST)], vec![(COST, 0); 2]), "{id}");
        bench.prove();
    }
}

#[test]
fn what_is_told_before_it_is_awaited_lets_go_all_the_same_and_what_nobody_made_is_charged_once() {
    for id in ids(&bench()) {
        let mut bench = bench();
        let awaits = made(&mut bench, 1, &id);
        for tenant in ["birch", "acme"] {
            let told = read(&bench, tenant, &id);
            bench.learn(&told);
        }
        assert_eq!(charged(&bench), [("birch".to_owned(), 3 * COST)], "who asked first, by its own book");
        assert_eq!(stands(&bench), [(0, HELD), (3 * COST, HELD)], "{id}");
        bench.learn(&awaits);
        assert_eq!(stands(&bench), [(0, 0), (3 * COST, 0)], "{id}");
        assert_eq!(charged(&bench).len(), 1);
        bench.prove();
    }
}

#[test]
fn what_has_no_price_of_it_stays_held_where_dollars_are_counted() {
    let mut bench = bench();
    let awaits = made(&mut bench, 1, "resp_1");
    bench.learn(&awaits);
    let mut told = read(&bench, "acme", "resp_1");
    told.is.usage = Usage::exact(Vector { uncached_input: 10, web_searches: 1, ..Vector::default() });
    bench.learn(&told);
    assert_eq!(stands(&bench), [(COST, HELD - COST); 2]);
    bench.prove();
}

#[test]
fn what_was_told_before_and_had_no_price_stays_held_where_dollars_are_counted() {
    let mut bench = bench();
    let awaits = made(&mut bench, 1, "resp_1");
    let mut told = read(&bench, "birch", "resp_1");
    told.is.usage = Usage::exact(Vector { uncached_input: 10, web_searches: 1, ..Vector::default() });
    bench.learn(&told);
    (0..LANES).for_each(|lane| bench.begin(Lane(lane)));
    bench.learn(&awaits);
    assert_eq!(stands(&bench), [(0, HELD), (3 * COST, HELD)]);
    bench.prove();
}

#[test]
fn the_attempt_that_had_a_response_made_was_its_request() {
    let mut bench = Bench::new(vec![
        limit("acme", true, Unit::Usd, Window::Month, 1_000_000_000),
        limit("calls", false, Unit::Requests, Window::Month, 1_000_000_000),
    ]);
    let awaits = made(&mut bench, 1, "resp_1");
    bench.learn(&awaits);
    let told = read(&bench, "birch", "resp_1");
    bench.learn(&told);
    assert_eq!(stands(&bench), [(COST, 0), (0, 0)]);
    // What nobody here had made is the request of who tells it.
    let mut told = read(&bench, "birch", "resp_2");
    told.is.attempt.call = CallId::from_bytes([97; 16]);
    bench.learn(&told);
    let rows = bench.ledger.iter().filter_map(|(_, entry)| match &entry.fact {
        Fact::Charged(charged) => Some((charged.settled.attempt.subject.tenant.as_str(), charged.settled.apart)),
        _ => None,
    });
    let mut rows: Vec<_> = rows.collect();
    rows.sort_unstable();
    assert_eq!(rows, [("acme", false), ("acme", true), ("birch", false)]);
    bench.prove();
}

#[test]
fn what_the_lane_that_decides_cannot_count_stays_held() {
    let mut bench = bench();
    let home = bench.limits[1].home::<&str>(&[], LANES);
    let mut ids = ids(&bench).into_iter();
    let elsewhere = |id: &String| ![own(), home].contains(&read(&bench, "acme", id).lane(LANES));
    let id = ids.find(elsewhere).unwrap();
    let awaits = made(&mut bench, 1, &id);
    bench.learn(&awaits);
    let told = read(&bench, "acme", &id);
    // It knows none of the limits.
    let limits = std::mem::take(&mut bench.limits);
    bench.begin(told.lane(LANES));
    bench.limits = limits;
    bench.learn(&told);
    assert_eq!((charged(&bench), stands(&bench)), (vec![("acme".to_owned(), COST)], vec![(0, HELD); 2]));
}

/// New owners of all lanes go on, if so.
fn begin_if(restarts: bool, bench: &mut Bench) {
    if restarts {
        (0..LANES).for_each(|lane| bench.begin(Lane(lane)));
    }
}

#[test]
fn what_is_told_while_its_limits_are_out_of_force_is_counted_there_once_and_nothing_stays_held() {
    for (backfill, restarts) in [(false, false), (true, false), (false, true), (true, true)] {
        for id in ids(&bench()) {
            let mut bench = bench();
            let other = format!("{id}x");
            for (number, id) in [(1, &id), (2, &other)] {
                let awaits = made(&mut bench, number, id);
                bench.learn(&awaits);
            }
            let awaits_late = made(&mut bench, 3, &id);
            let (told, told_later) = (read(&bench, "birch", &id), read(&bench, "acme", &other));
            assert_eq!(stands(&bench), [(0, 3 * HELD); 2], "{id}");
            let mut limits = bench.limits.clone();
            bench.policy(Vec::new());
            begin_if(restarts, &mut bench);
            bench.learn(&told);
            begin_if(restarts, &mut bench);
            bench.learn(&awaits_late);
            // The second spans tenants, so it cannot have what was before it.
            limits[0].backfill = backfill;
            bench.policy(limits);
            assert_eq!(stands(&bench), [(COST, HELD); 2], "{id} {backfill} {restarts}");
            begin_if(restarts, &mut bench);
            bench.learn(&told_later);
            assert_eq!(stands(&bench), [(2 * COST, 0); 2], "{id} {backfill} {restarts}");
            assert_eq!(charged(&bench), [("acme".to_owned(), COST), ("acme".to_owned(), COST)]);
            bench.prove();
        }
    }
}

#[test]
fn what_was_filled_has_once_what_is_told_while_it_is_out_of_force() {
    for restarts in [false, true] {
        let mut bench = bench();
        let awaits = made(&mut bench, 1, "resp_1");
        bench.learn(&awaits);
        let told = read(&bench, "birch", "resp_1");
        // It comes back as one that is filled, beside one that the attempt does not name.
        let mut limits = bench.limits.clone();
        limits[0].backfill = true;
        limits.push(Limit { name: "twin".into(), ..limits[0].clone() });
        for limits in [Vec::new(), limits.clone(), Vec::new()] {
            bench.policy(limits);
            begin_if(restarts, &mut bench);
        }
        bench.learn(&told);
        bench.policy(limits);
        assert_eq!(stands(&bench), [(COST, 0); 3], "{restarts}");
        bench.prove();
    }
}
