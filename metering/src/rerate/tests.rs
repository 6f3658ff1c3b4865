//! What is learned has its effect once, exactly, in whichever lanes it moves counters, and the ledger proves it.

use std::{collections::HashMap, sync::Arc};

use schemas::{
    decision::{Key, State},
    event::{Attempt, Counter, Event, Opened, Outcome, Posting, Reported},
    fixture,
    id::{CallId, Offset, ProducerId, Seq},
    ledger::AlarmKind,
    limit::{Limit, Window},
    price::PriceFile,
    standing::Standings,
    tokens::{Doubt, Vector},
};

use super::*;
use crate::{
    dedup::Origin,
    engine::{Engine, Input},
    replay::Replay,
};

mod amended;
mod awaited;
mod learned;

const NOW: Time = Time::from_micros(1_795_000_000_000_000);
const LANES: u16 = 3;
const NOBODY: Origin = Origin { producer: ProducerId::NONE, seq: Seq(0), hash: 0 };

/// Metering of all lanes, and the ledger it wrote.
struct Bench {
    engines: Vec<Engine>,
    ledger: Vec<(Lane, Entry)>,
    books: Vec<Arc<Book>>,
    limits: Vec<Limit>,
    /// How many policies there were, and the limits that those before had.
    policies: u64,
    retired: Vec<Arc<Limit>>,
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
        apart: false,
    }
}

impl Bench {
    fn new(limits: Vec<Limit>) -> Self {
        let mut bench = Self {
            engines: (0..LANES).map(|lane| Engine::new(Lane(lane), LANES, Vec::new())).collect(),
            ledger: Vec::new(),
            books: vec![prices("1.00"), prices("3.00")],
            limits,
            policies: 1,
            retired: Vec::new(),
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
        engine.apply(Input::Retired(self.retired.clone()), self.at);
        let policy = fixture::policy(self.limits.clone(), self.books[0].hash());
        engine.apply(Input::Policy(Arc::new(policy), Offset(self.policies)), self.at);
    }

    /// A policy comes to every lane, as the loop brings it.
    fn policy(&mut self, limits: Vec<Limit>) {
        self.policies += 1;
        self.retired.extend(std::mem::replace(&mut self.limits, limits.clone()).into_iter().map(Arc::new));
        let (policy, next) = (Arc::new(fixture::policy(limits, self.books[0].hash())), Offset(self.policies));
        for lane in (0..LANES).map(Lane) {
            let engine = &mut self.engines[usize::from(lane.0)];
            let past = engine.lacking(&policy, next, self.at).map(|mut fold| {
                let own = self.ledger.iter().filter(|(of, _)| *of == lane);
                own.for_each(|(_, entry)| fold.take(entry));
                fold
            });
            engine.apply(Input::Policy(Arc::clone(&policy), next), self.at);
            past.into_iter().for_each(|fold| engine.apply(Input::Past(fold), self.at));
            self.commit(lane);
        }
    }

    fn event(&mut self, lane: Lane, event: Event) {
        let place = usize::from(lane.0);
        self.seqs[place] += 1;
        let seq = self.seqs[place];
        let origin = Origin { producer: ProducerId::from_bytes([1; 16]), seq: Seq(seq), hash: seq };
        self.apply(lane, origin, event);
    }

    fn apply(&mut self, lane: Lane, origin: Origin, event: Event) {
        self.input(lane, Input::Event(origin, Ok(event)));
    }

    fn input(&mut self, lane: Lane, input: Input) {
        self.engines[usize::from(lane.0)].apply(input, self.at);
        self.commit(lane);
    }

    /// What a lane passes to others comes there with its commit.
    fn commit(&mut self, lane: Lane) {
        let Some(commit) = self.engines[usize::from(lane.0)].take() else { return };
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
        // Counters that were filled up to then have it.
        let charged_at =
            |all: &[Learned]| all.iter().all(|it| it.was.as_ref().is_some_and(|was| was.charged_at == NOW));
        assert!(charged_at(&corrections));
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
        assert!(back.iter().all(|learned| learned.id.ends_with("/1/1")) && charged_at(&back), "{back:?}");
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
    let was = Some(Was {
        why: Why::Amended,
        usage: Usage::none(),
        book: bench.books[0].hash(),
        number: 0,
        charged_at: Time::ZERO,
    });
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
