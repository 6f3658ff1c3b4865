//! What is learned has its effect once, exactly, in whichever lanes it moves counters, and the ledger proves it.

use std::{collections::HashMap, sync::Arc};

use schemas::{
    decision::{Key, State},
    event::{Attempt, Counter, Event, LeaseRequested, Opened, Outcome, Posting, Reported, Want},
    fixture,
    id::{CallId, Offset, ProducerId, Seq},
    ledger::AlarmKind,
    limit::{Limit, Window},
    price::{Cost, PriceFile},
    standing::{Clears, Named, Standings},
    tokens::{Doubt, Vector},
};

use super::*;
use crate::{
    dedup::Origin,
    engine::{Engine, Input},
    replay::Replay,
};

mod awaited;

const NOW: Time = Time::from_micros(1_795_000_000_000_000);
const LANES: u16 = 3;
const NOBODY: Origin = Origin { producer: ProducerId::NONE, seq: Seq(0), hash: 0 };

/// Metering of all lanes, and the ledger it wrote.
struct Bench {
    engines: Vec<Engine>,
    ledger: Vec<(Lane, Entry)>,
    books: Vec<Arc<Book>>,
    limits: Vec<Limit>,
    seqs: Vec<u64>,
    at: Time,
    /// What lanes have passed to others.
    passed: Vec<(Lane, Event)>,
    /// What each lane has committed.
    states: Vec<HashMap<Key, State>>,
}

fn prices(input: &str) -> Arc<Book> {
    let text = format!(
        "models:\n  - provider: openai\n    names: [m]\n    context_window: 100\n    max_output_tokens: 10\n    source: test\n    \
         source_date: 2026-10-30\n    prices:\n      - {{ per_million: {{ input: {input}, output: 2.00 }} }}\n"
    );
    Arc::new(Book::of(&[Book::parse(&text, "test").unwrap()]))
}

/// A file that says one thing of the same model.
fn file(price: &str) -> PriceFile {
    let text = format!("models: [ {{ provider: openai, names: [m], source: other, prices: [ {{ {price} }} ] }} ]");
    Book::parse(&text, "test").unwrap()
}

fn limit(name: &str, tenant: bool, unit: Unit, window: Window, amount: i128) -> Limit {
    let scope = if tenant { fixture::of_acme() } else { Vec::new() };
    Limit { name: name.into(), scope, unit, ..fixture::limit(amount, window) }
}

fn attempt(number: u8, at: Time, book: &Book) -> Attempt {
    let of_call = fixture::attempt(CallId::from_bytes([number; 16]), at);
    Attempt { model: "m".into(), book: book.hash(), ..of_call }
}

fn settled(attempt: Attempt, input: u64) -> Settled {
    Settled {
        settled_at: attempt.admitted_at,
        attempt,
        outcome: Outcome::Complete,
        status: 200,
        usage: Usage::exact(Vector { uncached_input: input, ..Vector::default() }),
        raw_usage: String::new(),
        model_answered: String::new(),
        service_tier: String::new(),
        region: String::new(),
        provider_cost: None,
        response_id: String::new(),
        ttft_ms: None,
        posted: Vec::new(),
        counters: Vec::new(),
        call: None,
        avoided: None,
        found: None,
    }
}

impl Bench {
    fn new(limits: Vec<Limit>) -> Self {
        let mut bench = Self {
            engines: (0..LANES).map(|lane| Engine::new(Lane(lane), LANES, Vec::new())).collect(),
            ledger: Vec::new(),
            books: vec![prices("1.00"), prices("3.00")],
            limits,
            seqs: vec![0; usize::from(LANES)],
            at: NOW,
            passed: Vec::new(),
            states: vec![HashMap::new(); usize::from(LANES)],
        };
        for lane in 0..LANES {
            bench.begin(Lane(lane));
        }
        for lane in 0..LANES {
            bench.event(Lane(lane), Event::Opened(Opened { gateway: "g".into(), at: NOW, predecessor: None }));
        }
        bench
    }

    /// A new owner of a lane goes on from what was committed.
    fn begin(&mut self, lane: Lane) {
        let place = usize::from(lane.0);
        let states = self.states[place].iter().map(|(key, state)| (*key, state.clone())).collect();
        let engine = &mut self.engines[place];
        *engine = Engine::new(lane, LANES, states);
        self.books.iter().for_each(|book| engine.apply(Input::Book(Arc::clone(book)), self.at));
        let policy = fixture::policy(self.limits.clone(), self.books[0].hash());
        engine.apply(Input::Policy(Arc::new(policy), Offset(1)), self.at);
    }

    fn event(&mut self, lane: Lane, event: Event) {
        let place = usize::from(lane.0);
        self.seqs[place] += 1;
        let seq = self.seqs[place];
        let origin = Origin { producer: ProducerId::from_bytes([1; 16]), seq: Seq(seq), hash: seq };
        self.apply(lane, origin, event);
    }

    /// What a lane passes to others comes there with its commit.
    fn apply(&mut self, lane: Lane, origin: Origin, event: Event) {
        let engine = &mut self.engines[usize::from(lane.0)];
        engine.apply(Input::Event(origin, Ok(event)), self.at);
        let Some(commit) = engine.take() else { return };
        self.ledger.extend(commit.ledger.into_iter().map(|entry| (lane, entry)));
        let states = &mut self.states[usize::from(lane.0)];
        for (key, state) in commit.decisions {
            match state {
                Some(state) => drop(states.insert(key, state)),
                None => drop(states.remove(&key)),
            }
        }
        for (to, event) in commit.passed {
            assert_ne!(to, lane);
            self.passed.push((to, event.clone()));
            self.apply(to, NOBODY, event);
        }
    }

    fn learn(&mut self, learned: &Learned) {
        self.event(learned.lane(LANES), Event::Learned(Box::new(learned.clone())));
    }

    /// A move of the limit at a place of the list.
    fn moves(&self, place: usize, window: Time, amount: i128) -> Move {
        let limit = &self.limits[place];
        Move { home: limit.home::<&str>(&[], LANES), limit: limit.id(), values: Vec::new(), window, amount, clears: 0 }
    }

    /// An attempt of a gateway that counted its cost in a limit.
    fn call(&mut self, number: u8, input: u64, place: usize, used: i128) {
        let limit = &self.limits[place];
        let home = limit.home::<&str>(&[], LANES);
        let start =
            self.engines[usize::from(home.0)].instances().all.values().find(|it| it.limit == limit.id()).unwrap();
        let (instance, window) = (start.id, start.windows[0].start);
        let mut end = settled(attempt(number, NOW, &self.books[0]), input);
        end.posted = vec![Posting { instance, window, used, provision: 0 }];
        self.event(Lane::of(b"acme", LANES), Event::Settled(Box::new(end)));
        let total = start_used(&self.ledger, instance);
        let counter = Counter { used: total, version: number.into(), ..Counter::unused(instance, window) };
        let report = Reported { at: NOW, low_watermark: NOW, counters: vec![counter], last: false };
        self.event(home, Event::Reported(report));
    }

    /// What is adjusted of a limit with one counter, by window.
    fn adjusted(&self, place: usize) -> Vec<i128> {
        let id = self.limits[place].id();
        let all = self.engines.iter().flat_map(|engine| engine.instances().all.values());
        all.filter(|it| it.limit == id).flat_map(|it| it.windows.iter().map(|window| window.adjusted)).collect()
    }

    /// The month is over for so long that its counters are forgotten.
    fn forget(&mut self) {
        self.at = NOW.after(std::time::Duration::from_secs(33 * 86_400));
        let own = usize::from(Lane::of(b"acme", LANES).0);
        for _ in 0..2 {
            self.at = self.at.after(std::time::Duration::from_secs(60));
            self.engines[own].apply(Input::Tick, self.at);
            self.engines[own].take();
        }
    }

    /// What was written down for counters that are forgotten.
    fn late(&self) -> i128 {
        let late = self.ledger.iter().filter_map(|(_, entry)| match &entry.fact {
            Fact::Adjusted(adjusted) => Some(adjusted.late.iter().map(|late| late.amount).sum::<i128>()),
            _ => None,
        });
        late.sum()
    }

    fn facts(&self, of: impl Fn(&Fact) -> bool) -> usize {
        self.ledger.iter().filter(|(_, entry)| of(&entry.fact)).count()
    }

    fn prove(&self) {
        assert_eq!(self.difference(), None);
    }

    /// What replay finds.
    fn difference(&self) -> Option<crate::replay::Difference> {
        let mut replay = Replay::default();
        self.books.iter().for_each(|book| replay.book(Arc::clone(book)));
        self.ledger.iter().for_each(|(_, entry)| replay.take(entry.clone()));
        self.engines.iter().flat_map(|engine| engine.instances().all.values()).for_each(|it| replay.live(it));
        let chained = replay.chain().and_then(|mut chain| {
            self.ledger.iter().for_each(|(_, entry)| chain.take(entry.clone()));
            chain.end()
        });
        chained.or(replay.end().1)
    }

    fn rerate(&self, book: &Book) -> Rerate {
        self.rated(Prices::only(book.clone()))
    }

    /// By a file on top of every book that was published; of what metering knew no book of, on top of the second.
    fn rerate_over(&self, price: &str) -> Rerate {
        let mut prices = Prices::new(file(price), &self.books[1]);
        self.books.iter().for_each(|book| prices.know(book));
        self.rated(prices)
    }

    fn rated(&self, prices: Prices) -> Rerate {
        let mut rerate = Rerate::new(prices, Time::ZERO, Time::MAX);
        self.ledger.iter().for_each(|(lane, entry)| rerate.take(*lane, entry.clone()));
        rerate
    }

    /// A book is published.
    fn publish(&mut self, book: Book) {
        let book = Arc::new(book);
        for engine in &mut self.engines {
            engine.apply(Input::Book(Arc::clone(&book)), self.at);
        }
        self.books.push(book);
    }

    /// What the attempts of the model cost now, and by other prices.
    fn sums_of(rerate: &Rerate) -> Sums {
        rerate.sums[&("acme".to_owned(), "m".to_owned())]
    }
}

/// What the ledger says that attempts used of a counter.
fn start_used(ledger: &[(Lane, Entry)], instance: InstanceId) -> i128 {
    let charged = ledger.iter().filter_map(|(_, entry)| match &entry.fact {
        Fact::Charged(charged) => Some(&charged.settled.posted),
        _ => None,
    });
    charged.flatten().filter(|posting| posting.instance == instance).map(|posting| posting.used).sum()
}

/// Use that another system tells of: 10 tokens of the tenant.
fn told(bench: &Bench, id: &str, at: Time, moves: Vec<Move>) -> Learned {
    let is = settled(attempt(99, at, &bench.books[0]), 10);
    Learned { source: "urn:x".into(), id: id.into(), at, content: 7, was: None, is, moves, awaits: false }
}

#[test]
fn corrections_are_made_once_and_count_where_the_original_does() {
    // The second spans tenants, and is at home wherever it is.
    let limits = vec![
        limit("acme", true, Unit::Usd, Window::Month, 1_000_000_000),
        limit("house", false, Unit::Usd, Window::Month, 1_000_000_000),
    ];
    for place in 0..2 {
        let mut bench = Bench::new(limits.clone());
        bench.call(1, 10, place, 10_000_000);
        bench.call(2, 5, place, 5_000_000);
        let dearer = Arc::clone(&bench.books[1]);
        let rerate = bench.rerate(&dearer);
        let sums = rerate.sums[&("acme".to_owned(), "m".to_owned())];
        assert_eq!((sums.before.cost, sums.after.cost), (Pico(15_000_000), Pico(45_000_000)));
        let corrections = rerate.corrections(NOW);
        assert_eq!(corrections.len(), 2);
        for learned in corrections.iter().chain(&corrections) {
            bench.learn(learned);
        }
        assert_eq!(bench.adjusted(place), [30_000_000]);
        assert_eq!(bench.facts(|fact| matches!(fact, Fact::Corrected(_))), 2);
        let again = bench.rerate(&dearer);
        assert_eq!((again.differing(), again.sums[&("acme".to_owned(), "m".to_owned())].before), (0, sums.after));
        bench.prove();
        // And back again, which is another correction.
        let first = Arc::clone(&bench.books[0]);
        let back = bench.rerate(&first).corrections(NOW);
        assert!(back.iter().all(|learned| learned.id.ends_with("/1/1")), "{back:?}");
        back.iter().for_each(|learned| bench.learn(learned));
        assert_eq!(bench.adjusted(place), [0]);
        bench.prove();
    }
}

/// Of 10 tokens in and 5 out, by the first book and by one that metering does not know.
#[test]
fn what_a_file_does_not_name_costs_what_it_did() {
    let mut bench = Bench::new(vec![limit("acme", true, Unit::Usd, Window::Month, 1_000_000_000)]);
    for (number, book) in [(1, bench.books[0].hash()), (2, BookHash([9; 32]))] {
        let attempt = Attempt { book, ..attempt(number, NOW, &bench.books[0]) };
        let usage = Usage::exact(Vector { output: 5, ..tokens(10) });
        let end = Settled { usage, ..settled(attempt, 0) };
        bench.event(Lane::of(b"acme", LANES), Event::Settled(Box::new(end)));
    }
    let check = |bench: &mut Bench, price: &str, (differing, cost): (usize, i128)| {
        let rerate = bench.rerate_over(price);
        let after = Side { cost: Pico(cost), unpriced: 0 };
        assert_eq!((rerate.differing(), Bench::sums_of(&rerate).after), (differing, after), "{price}");
        assert_eq!(rerate.losing(), None, "{price}");
        rerate.books().into_iter().for_each(|book| bench.publish(book));
        rerate.corrections(NOW).iter().for_each(|learned| bench.learn(learned));
        let again = bench.rerate_over(price);
        let Sums { before, after: still, .. } = Bench::sums_of(&again);
        assert_eq!((again.differing(), before, still), (0, after, after), "{price}");
        bench.prove();
    };
    let dearer_output = "per_million: { output: 9.00 }";
    // Where no book was read nothing is rated: nobody knows what would stay. What had none is rated all the same.
    let unread = bench.rated(Prices::new(file(dearer_output), &bench.books[1]));
    assert_eq!((unread.differing(), Bench::sums_of(&unread).after.cost), (1, Pico(20_000_000 + 75_000_000)));
    check(&mut bench, dearer_output, (2, 55_000_000 + 75_000_000));
    // What is corrected next stands on top of that.
    check(&mut bench, "per_million: { input: 4.00 }", (2, 2 * 85_000_000));
    check(&mut bench, "per_million: { input: 4.00, output: 9.00 }", (0, 2 * 85_000_000));
    // Of so much a row can hold one token's price and not that of ten.
    let lost = bench.rerate_over("per_million: { input: 900000000000.00 }").losing();
    assert_eq!(lost, Some((2, "m".to_owned())));
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

#[test]
fn what_is_not_known_of_usage_is_counted_with_its_reason_until_it_is_known() {
    let mut bench = Bench::new(vec![limit("acme", true, Unit::Usd, Window::Month, 1_000_000_000)]);
    let lane = Lane::of(b"acme", LANES);
    let lower = Usage { completeness: Completeness::LowerBound(Doubt::Truncated), ..Usage::exact(tokens(10)) };
    let (missing, nothing) = (Usage::missing(Doubt::NoAnswer), Usage::none());
    for (number, usage) in [(1, missing.clone()), (2, missing), (3, lower), (4, nothing), (5, Usage::exact(tokens(1)))]
    {
        let end = Settled { usage, ..settled(attempt(number, NOW, &bench.books[0]), 0) };
        bench.event(lane, Event::Settled(Box::new(end)));
    }
    let check = |bench: &Bench, attempts: u64, inexact: &[(Completeness, u64)]| {
        let book = Arc::clone(&bench.books[1]);
        let rerate = bench.rerate(&book);
        let known = |(known, count): &(Completeness, u64)| (("acme".into(), "m".into(), known.clone()), *count);
        let found: BTreeMap<_, _> = rerate.inexact.clone().into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(found, inexact.iter().map(known).collect());
        assert_eq!(rerate.sums[&("acme".to_owned(), "m".to_owned())].attempts, attempts);
    };
    let (lost, cut) = (Completeness::Missing(Doubt::NoAnswer), Completeness::LowerBound(Doubt::Truncated));
    check(&bench, 3, &[(lost.clone(), 2), (cut.clone(), 1)]);
    // Somebody knows one of them better.
    let is = settled(attempt(1, NOW, &bench.books[0]), 7);
    let was = Some(Was { why: Why::Amended, usage: Usage::none(), book: bench.books[0].hash(), number: 0 });
    let amended = Learned {
        source: "urn:x".into(),
        id: "1".into(),
        at: NOW,
        content: 7,
        was,
        is,
        moves: Vec::new(),
        awaits: false,
    };
    bench.learn(&amended);
    check(&bench, 4, &[(lost, 1), (cut, 1)]);
}

fn tokens(input: u64) -> Vector {
    Vector { uncached_input: input, ..Vector::default() }
}
