//! A ledger that the engine wrote proves itself; one in which anything was changed is told from it.

use schemas::{
    config::MeteringConfig,
    decision::{Key as StateKey, State},
    event::{Api, Attempt, Counter, Event, Opened, Outcome, Posting},
    id::{Lane, Offset, ProducerId, Seq},
    limit::{Dimension, Limit, Match, Mode, OnUnbounded, Unit, Window},
    policy::Policy,
    subject::Subject,
    tokens::{Usage, Vector},
};

use super::*;
use crate::{
    dedup::Origin,
    engine::{Commit, Engine, Input},
};

const NOW: Time = Time::from_micros(1_795_000_000_000_000);

fn limit() -> Limit {
    Limit {
        name: "month".into(),
        scope: vec![(Dimension::Tenant, Match::Is("acme".into()))],
        unit: Unit::Tokens,
        amount: 1_000_000,
        window: Window::Month,
        zone: "UTC".into(),
        mode: Mode::Soft,
        unbounded: OnUnbounded::Hold,
        values: Vec::new(),
        max_instances: None,
    }
}

fn attempt(number: u8, book: BookHash) -> Attempt {
    Attempt {
        call: CallId::from_bytes([number; 16]),
        attempt: 1,
        admitted_at: NOW,
        subject: Arc::new(Subject { tenant: "acme".into(), ..Subject::default() }),
        api: Api::OpenAiChat,
        provider: "openai".into(),
        model: "gpt-4o-mini".into(),
        model_requested: "gpt-4o-mini".into(),
        stream: false,
        book,
        gateway: "g".into(),
    }
}

/// What the engine commits of three attempts of 10 tokens each, the book that prices them, and the limit's counter as it stands.
fn committed() -> (Vec<Entry>, Arc<Book>, Instance) {
    let book = Arc::new(Book::builtin());
    let mut engine = Engine::new(Lane(0), 1, Vec::new());
    let policy = Policy {
        tenants: Vec::new(),
        limits: vec![limit()],
        models: Vec::new(),
        access: Vec::new(),
        metering: MeteringConfig::default(),
        book: book.hash(),
    };
    engine.apply(Input::Book(Arc::clone(&book)), NOW);
    engine.apply(Input::Policy(Arc::new(policy), Offset(1)), NOW);
    let Commit { mut ledger, decisions } = engine.take().unwrap();
    let (instance, window) = decisions
        .iter()
        .find_map(|(key, state)| match (key, state) {
            (StateKey::Instance(id), Some(State::Instance(instance))) => Some((*id, instance.windows[0].start)),
            _ => None,
        })
        .unwrap();
    let mut event = |seq: u64, event| {
        let origin = Origin { producer: ProducerId::from_bytes([1; 16]), seq: Seq(seq), hash: seq };
        engine.apply(Input::Event(origin, Ok(event)), NOW);
    };
    event(1, Event::Opened(Opened { gateway: "g".into(), at: NOW, predecessor: None }));
    for number in 1..=3_u8 {
        let used = i128::from(number) * 10;
        let counter =
            Counter { instance, window, used, returned: 0, held: 0, provisioned: 0, version: number.into(), recall: 0 };
        let vector = Vector { uncached_input: 7, output: 3, ..Vector::default() };
        let settled = Settled {
            attempt: attempt(number, book.hash()),
            settled_at: NOW,
            outcome: Outcome::Complete,
            status: 200,
            usage: Usage::exact(vector),
            raw_usage: String::new(),
            model_answered: String::new(),
            service_tier: String::new(),
            region: String::new(),
            provider_cost: None,
            response_id: String::new(),
            ttft_ms: None,
            posted: vec![Posting { instance, window, used: 10, provision: 0 }],
            counters: vec![counter],
            call: None,
        };
        event(u64::from(number) + 1, Event::Settled(Box::new(settled)));
    }
    ledger.extend(engine.take().unwrap().ledger);
    let live = engine.instances().all[&instance].clone();
    (ledger, book, live)
}

fn proof(entries: Vec<Entry>, book: &Arc<Book>, live: &Instance) -> (Counts, Option<Difference>) {
    let mut replay = Replay::default();
    replay.book(Arc::clone(book));
    entries.into_iter().for_each(|entry| replay.take(entry));
    replay.live(live);
    replay.end()
}

#[test]
fn what_the_engine_wrote_is_proved_equal() {
    let (entries, book, live) = committed();
    let (counts, difference) = proof(entries.clone(), &book, &live);
    assert_eq!(difference, None);
    assert_eq!(counts, Counts { entries: entries.len() as u64, attempts: 3, charges: 6, balances: 1 });
}

#[test]
fn the_first_difference_is_named() {
    let (entries, book, live) = committed();
    let check = |change: &dyn Fn(&mut Vec<Entry>), live: &Instance| {
        let mut entries = entries.clone();
        change(&mut entries);
        proof(entries, &book, live).1.unwrap().to_string()
    };
    let is_charged = |entry: &Entry| matches!(entry.fact, Fact::Charged(_));
    let lost = check(&|entries| drop(entries.remove(entries.iter().position(is_charged).unwrap())), &live);
    assert!(lost.contains("limit `month`") && lost.contains("shows 30 settled, the ledger adds up to 20"), "{lost}");
    let twice = check(&|entries| entries.push(entries.iter().rfind(|entry| is_charged(entry)).unwrap().clone()), &live);
    assert!(twice.contains("shows 30 settled, the ledger adds up to 40"), "{twice}");
    let dearer = check(
        &|entries| {
            let charged = entries.iter_mut().find_map(|entry| match &mut entry.fact {
                Fact::Charged(charged) => Some(charged),
                _ => None,
            });
            charged.unwrap().charges[0].quantity += 1;
        },
        &live,
    );
    assert!(dearer.contains("the charges of attempt 1 of call 01010101-"), "{dearer}");
    let mut moved = live.clone();
    moved.holders[0].used[0].1 += 1;
    let moved = check(&|_| {}, &moved);
    assert!(moved.contains("shows 31 settled, the ledger adds up to 30"), "{moved}");
}
