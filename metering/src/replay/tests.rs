//! A ledger that the engine wrote proves itself; one in which anything was changed is told from it.

use schemas::{
    decision::{Key as StateKey, State},
    event::{Attempt, Counter, Event, Opened, Outcome, Posting},
    fixture,
    id::{Lane, Offset, ProducerId, Seq},
    limit::{Limit, Mode, Window},
    tokens::{Usage, Vector},
};

use super::*;
use crate::{
    dedup::Origin,
    engine::{Commit, Engine, Input},
};

const NOW: Time = Time::from_micros(1_795_000_000_000_000);

fn limit() -> Limit {
    Limit { name: "month".into(), mode: Mode::Soft, ..fixture::limit(1_000_000, Window::Month) }
}

/// What the engine commits of three attempts of 10 tokens each, the book that prices them, and the limit's counter as it stands.
fn committed() -> (Vec<Entry>, Arc<Book>, Instance) {
    let book = Arc::new(Book::builtin());
    let mut engine = Engine::new(Lane(0), 1, Vec::new());
    let policy = fixture::policy(vec![limit()], book.hash());
    engine.apply(Input::Book(Arc::clone(&book)), NOW);
    engine.apply(Input::Policy(Arc::new(policy), Offset(1)), NOW);
    let Commit { mut ledger, decisions, .. } = engine.take().unwrap();
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
        let counter = Counter { used, version: number.into(), ..Counter::unused(instance, window) };
        let usage = Usage::exact(Vector { uncached_input: 7, output: 3, ..Vector::default() });
        let call = CallId::from_bytes([number; 16]);
        let attempt = Attempt { book: book.hash(), ..fixture::attempt(call, NOW) };
        let settled = Settled {
            status: 200,
            posted: vec![Posting { instance, window, used: 10, provision: 0 }],
            counters: vec![counter],
            ..Settled::bare(attempt, NOW, Outcome::Complete, usage)
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
    assert_eq!(counts, Counts { entries: entries.len() as u64, attempts: 3, charges: 6, corrections: 0, balances: 1 });
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
