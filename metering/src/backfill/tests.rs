//! A limit that comes late counts what it would have counted, once, whatever is open, corrected, or taken out and put back.

use std::{collections::HashMap, sync::Arc};

use schemas::{
    decision::{Instance, Key, State},
    event::{
        Attempt, Avoided, Counter, Event, Learned, LeaseRequested, Move, Opened, Outcome, Posting, Settled, Want, Was,
        Why,
    },
    fixture,
    id::{BookHash, CallId, InstanceId, Lane, Offset, ProducerId, Seq},
    ledger::{Charged, Entry, Fact},
    limit::{Limit, Schedule, Unit, Window},
    policy::{Policy, changed},
    time::Time,
    tokens::{Doubt, Usage, Vector},
};

use super::Fold;
use crate::{
    dedup::Origin,
    engine::{Engine, Input},
    replay::Replay,
};

/// Noon of some day in UTC.
const NOON: Time = Time::from_micros(20_000 * DAY + DAY / 2);
const DAY: i64 = 86_400_000_000;

/// An engine, and what it has committed.
struct Bench {
    engine: Engine,
    committed: Vec<Entry>,
    states: HashMap<Key, State>,
    limits: Vec<Limit>,
    /// Limits that policies had before.
    retired: Vec<Arc<Limit>>,
    seq: u64,
    policies: u64,
}

fn limit() -> Limit {
    Limit { backfill: true, ..fixture::limit(1_000, Window::Day) }
}

impl Bench {
    fn new() -> Self {
        let mut bench = Self {
            engine: Engine::new(Lane(0), 1, Vec::new()),
            committed: Vec::new(),
            states: HashMap::new(),
            limits: Vec::new(),
            retired: Vec::new(),
            seq: 0,
            policies: 0,
        };
        bench.policy(Vec::new());
        bench.event(Event::Opened(Opened { gateway: "g".into(), at: NOON, predecessor: None }));
        bench
    }

    fn event(&mut self, event: Event) {
        self.seq += 1;
        let origin = Origin { producer: ProducerId::from_bytes([1; 16]), seq: Seq(self.seq), hash: self.seq };
        self.engine.apply(Input::Event(origin, Ok(event)), NOON);
    }

    /// A policy comes, as the loop brings it.
    fn policy(&mut self, limits: Vec<Limit>) {
        self.policies += 1;
        self.retired.extend(changed(&self.limits, &limits).iter().cloned().map(Arc::new));
        self.limits.clone_from(&limits);
        let (policy, next) = (fixture::policy(limits, BookHash([0; 32])), Offset(self.policies));
        let past = self.engine.lacking(&policy, next, NOON).map(|mut fold| {
            self.committed.iter().for_each(|entry| fold.take(entry));
            fold
        });
        let policy: Arc<Policy> = Arc::new(policy);
        self.engine.apply(Input::Policy(policy, next), NOON);
        past.into_iter().for_each(|fold| self.engine.apply(Input::Past(fold), NOON));
    }

    fn commit(&mut self) {
        let Some(commit) = self.engine.take() else { return };
        self.committed.extend(commit.ledger);
        for (key, state) in commit.decisions {
            match state {
                Some(state) => drop(self.states.insert(key, state)),
                None => drop(self.states.remove(&key)),
            }
        }
    }

    /// Another member goes on from what was committed.
    fn restart(&mut self) {
        self.commit();
        let states = self.states.iter().map(|(key, state)| (*key, state.clone())).collect();
        self.engine = Engine::new(Lane(0), 1, states);
        self.engine.apply(Input::Retired(self.retired.clone()), NOON);
        let policy = fixture::policy(self.limits.clone(), BookHash([0; 32]));
        self.engine.apply(Input::Policy(Arc::new(policy), Offset(self.policies)), NOON);
    }

    /// A call of 10 tokens that names no counter turns out to have had 15, as whoever reads the ledger says it.
    fn corrected(&mut self, call: u8, why: Why) {
        self.commit();
        let id = CallId::from_bytes([call; 16]);
        let is_its = |fact: &Fact| matches!(fact, Fact::Charged(charged) if charged.settled.attempt.call == id);
        let row = self.committed.iter().find(|entry| is_its(&entry.fact));
        let charged_at = row.expect("its row").recorded_at;
        let Event::Learned(mut learned) = amended(call, Vec::new()) else { unreachable!("it is learned") };
        learned.was = learned.was.take().map(|was| Was { why, charged_at, ..was });
        self.event(Event::Learned(learned));
    }

    /// What is settled of today.
    fn settled_of(&self, limit: &Limit) -> i128 {
        let instance = &self.engine.instances().all[&instance_of(limit)];
        instance.settled(&instance.windows[0])
    }

    /// An attempt ends that was admitted so many hours from noon.
    fn settled(&mut self, call: u8, hours: i64, usage: Usage, posted: Vec<Posting>) {
        let settled = Settled { posted, ..settled(call, hours, usage) };
        self.event(Event::Settled(Box::new(settled)));
    }

    fn today(&self) -> Option<&Instance> {
        self.engine.instances().all.get(&instance())
    }

    fn settles(&self, wanted: i128) {
        let today = self.today().expect("the counter of today");
        assert_eq!(today.settled(today.current().expect("its window")), wanted);
    }
}

fn instance() -> InstanceId {
    instance_of(&limit())
}

fn instance_of(limit: &Limit) -> InstanceId {
    InstanceId::of::<&str>(limit.id(), &[], Some(Time::from_micros(20_000 * DAY)))
}

/// What replay says of a ledger, and of these counters as they stand.
fn proof(ledger: &[Entry], counters: &[Instance]) -> Option<String> {
    let mut replay = Replay::default();
    ledger.iter().for_each(|entry| replay.take(entry.clone()));
    counters.iter().for_each(|counter| replay.live(counter));
    let mut chain = replay.chain().expect("corrections");
    ledger.iter().for_each(|entry| chain.take(entry.clone()));
    chain.end().or(replay.end().1).map(|difference| difference.to_string())
}

fn tokens(count: u64) -> Usage {
    Usage::exact(Vector { output: count, ..Vector::default() })
}

fn settled(call: u8, hours: i64, usage: Usage) -> Settled {
    let at = Time::from_micros(NOON.as_micros() + hours * DAY / 24);
    let attempt: Attempt = fixture::attempt(CallId::from_bytes([call; 16]), at);
    Settled::bare(attempt, NOON, Outcome::Complete, usage)
}

/// Somebody says that a call of 10 tokens had 15.
fn amended(call: u8, moves: Vec<Move>) -> Event {
    let was =
        Some(Was { why: Why::Amended, usage: tokens(10), book: BookHash([0; 32]), number: 0, charged_at: Time::ZERO });
    let is = settled(call, -1, tokens(15));
    let (source, id) = ("s".to_owned(), call.to_string());
    Event::Learned(Box::new(Learned { source, id, at: NOON, content: 1, was, is, moves, awaits: false }))
}

#[test]
fn a_late_limit_counts_what_was_before_it_and_what_was_open() {
    let mut bench = Bench::new();
    bench.settled(1, -1, tokens(10), Vec::new());
    bench.settled(2, -2, tokens(20), Vec::new());
    bench.settled(3, -30, tokens(400), Vec::new());
    bench.settled(4, -3, Usage::missing(Doubt::Crashed), Vec::new());
    bench.event(amended(1, Vec::new()));
    bench.commit();
    // Not committed yet when the policy comes.
    bench.settled(5, -1, tokens(3), Vec::new());
    bench.policy(vec![limit()]);
    bench.settles(10 + 20 + 5 + 3);
    bench.commit();
    assert_eq!(bench.engine.instances().all.len(), 1, "yesterday is over");
    // Open when the limit came, and admitted by a gateway that knows it.
    bench.settled(6, 0, tokens(100), Vec::new());
    let window = Time::from_micros(20_000 * DAY);
    let known = Posting { instance: instance(), window, used: 7, provision: 0 };
    bench.settled(7, 0, tokens(7), vec![known]);
    bench.settles(138);
    // Corrected by one that does not know the limit, and by one that moves it.
    bench.settled(8, -1, tokens(10), Vec::new());
    bench.event(amended(8, Vec::new()));
    bench.settles(138 + 15);
    let moved = Move { home: Lane(0), limit: limit().id(), values: Vec::new(), window, amount: 5, clears: 0 };
    bench.settled(9, -1, tokens(10), Vec::new());
    bench.event(amended(9, vec![moved]));
    bench.settles(153 + 15);
    // Taken out, and put back: only what was used in between is new.
    bench.commit();
    bench.policy(Vec::new());
    bench.settled(10, 0, tokens(50), Vec::new());
    bench.commit();
    bench.settles(168);
    bench.policy(vec![limit()]);
    bench.settles(168 + 50);
    bench.commit();
    let mut replay = Replay::default();
    // What the gateway says of the seventh would come in its counters, which are not what this is about.
    let all = bench.committed.iter().filter(
        |entry| !matches!(&entry.fact, Fact::Charged(c) if c.settled.attempt.call == CallId::from_bytes([7; 16])),
    );
    all.cloned().for_each(|entry| replay.take(entry));
    replay.live(bench.today().expect("the counter of today"));
    assert_eq!(replay.end().1, None);
}

/// The amendment of a call that names the counter of today, and has been amended so many times.
fn amended_named(call: u8, number: u32, (from, to): (u64, u64)) -> Event {
    let window = Time::from_micros(20_000 * DAY);
    let posted = vec![Posting { instance: instance(), window, used: to.into(), provision: 0 }];
    let is = Settled { posted, ..settled(call, -1, tokens(to)) };
    let was =
        Some(Was { why: Why::Amended, usage: tokens(from), book: BookHash([0; 32]), number, charged_at: Time::ZERO });
    let amount = i128::from(to) - i128::from(from);
    let moves = vec![Move { home: Lane(0), limit: limit().id(), values: Vec::new(), window, amount, clears: 0 }];
    let (source, id) = ("s".to_owned(), format!("{call}/{number}"));
    Event::Learned(Box::new(Learned { source, id, at: NOON, content: 1, was, is, moves, awaits: false }))
}

#[test]
fn a_limit_that_comes_back_has_what_was_amended_before_while_it_was_away_and_after() {
    let window = Time::from_micros(20_000 * DAY);
    let twin = Limit { name: "twin".into(), ..limit() };
    let twins = InstanceId::of::<&str>(twin.id(), &[], Some(window));
    for backfill in [true, false] {
        let limit = Limit { backfill, ..limit() };
        let mut bench = Bench::new();
        bench.policy(vec![limit.clone()]);
        let counter = Counter::unused(instance(), window);
        let want = Want { limit: limit.id(), values: Vec::new(), window, need: 100, want: 500, counter };
        bench.event(Event::LeaseRequested(LeaseRequested { at: NOON, number: 1, wants: vec![want] }));
        let end = Settled {
            posted: vec![Posting { instance: instance(), window, used: 10, provision: 0 }],
            counters: vec![Counter { used: 10, version: 1, ..counter }],
            ..settled(1, -1, tokens(10))
        };
        bench.event(Event::Settled(Box::new(end)));
        bench.event(amended_named(1, 0, (10, 15)));
        bench.settles(15);
        bench.commit();
        assert_eq!(bench.today().map(|today| (today.holders[0].lease(), today.recall)), Some((500, 0)));
        bench.policy(Vec::new());
        bench.event(amended_named(1, 1, (15, 600)));
        bench.commit();
        bench.event(amended_named(1, 2, (600, 700)));
        bench.settles(700);
        assert!(bench.today().is_some_and(|today| today.recall > 0), "what is leased of it does not fit any more");
        bench.commit();
        bench.policy(vec![limit, twin.clone()]);
        bench.settles(700);
        bench.event(amended_named(1, 3, (700, 705)));
        bench.settles(705);
        bench.commit();
        let counters = [instance(), twins].map(|id| bench.engine.instances().all[&id].clone());
        let shown = counters.each_ref().map(|counter| counter.settled(&counter.windows[0]));
        assert_eq!(shown, [705, 705], "as if it had been in force all the time");
        let mut replay = Replay::default();
        bench.committed.iter().for_each(|entry| replay.take(entry.clone()));
        counters.iter().for_each(|counter| replay.live(counter));
        let mut chain = replay.chain().expect("amendments");
        bench.committed.iter().for_each(|entry| chain.take(entry.clone()));
        assert_eq!((chain.end(), replay.end().1), (None, None));
    }
}

#[test]
fn a_limit_counts_what_was_before_it_only_where_it_says_so_and_only_when_it_is_new() {
    let mut bench = Bench::new();
    bench.settled(1, -1, tokens(10), Vec::new());
    bench.commit();
    bench.policy(vec![Limit { backfill: false, ..limit() }]);
    bench.settles(0);
    // It is the same limit, and not new: what it has not counted is not corrected in it either.
    bench.policy(vec![limit()]);
    bench.settles(0);
    bench.corrected(1, Why::Amended);
    bench.settles(0);
    bench.settled(2, 0, tokens(10), Vec::new());
    bench.settles(0);
}

#[test]
fn what_was_filled_in_is_corrected_in_its_counter_whatever_became_of_its_limit_and_nothing_else_is() {
    let twin = Limit { name: "twin".into(), ..limit() };
    let kept = Limit { backfill: false, ..limit() };
    // The flag is taken out of it, then it is taken out itself; or it goes at once.
    for between in [vec![vec![kept.clone(), twin.clone()], vec![twin.clone()]], vec![vec![twin.clone()]]] {
        let mut bench = Bench::new();
        (1..=6).for_each(|call| bench.settled(call, -1, tokens(10), Vec::new()));
        bench.commit();
        bench.policy(vec![limit(), twin.clone()]);
        bench.corrected(1, Why::Amended);
        let stands = |bench: &Bench| (bench.settled_of(&kept), bench.settled_of(&twin));
        assert_eq!(stands(&bench), (65, 65));
        let mut calls = 2..;
        for limits in between {
            bench.commit();
            bench.policy(limits);
            let before = bench.settled_of(&kept);
            bench.corrected(calls.next().expect("one more"), Why::Rerated);
            bench.restart();
            bench.corrected(calls.next().expect("one more"), Why::Amended);
            assert_eq!(bench.settled_of(&kept), before + 10);
        }
        let (before, twins) = stands(&bench);
        assert_eq!(before, twins);
        // What ended since is not in it, so what corrects that is not either.
        bench.settled(7, 0, tokens(10), Vec::new());
        bench.corrected(7, Why::Amended);
        assert_eq!(stands(&bench), (before, twins + 15));
        bench.policy(vec![kept.clone(), twin.clone()]);
        bench.restart();
        bench.corrected(6, Why::Amended);
        assert_eq!(stands(&bench), (before + 5, twins + 20));
        bench.commit();
        let ids = [instance(), instance_of(&twin)];
        let mut counters = ids.map(|id| bench.engine.instances().all[&id].clone());
        assert_eq!(proof(&bench.committed, &counters), None);
        // A correction that one of them lost, in all that was written of it since.
        let last = bench.committed.iter().rposition(|entry| matches!(entry.fact, Fact::Adjusted(_))).expect("one");
        for entry in &mut bench.committed[last..] {
            match &mut entry.fact {
                Fact::Adjusted(adjusted) => adjusted.posted.retain(|posting| posting.instance != instance()),
                Fact::Balance(balance) if balance.id == instance() => balance.windows[0].adjusted -= 5,
                _ => {}
            }
        }
        counters[0].windows[0].adjusted -= 5;
        let lost = proof(&bench.committed, &counters).expect("a difference");
        assert!(lost.contains("filled by `backfill`, and lacks 5 of what") && lost.contains("06060606-"), "{lost}");
    }
}

#[test]
fn what_was_answered_from_the_cache_is_no_request_and_what_is_told_of_another_neither() {
    let requests = Limit { unit: Unit::Requests, ..limit() };
    let boundaries = [20_000, 20_001].map(|day| Time::from_micros(day * DAY)).to_vec();
    let schedule = Schedule { limit: requests.id(), boundaries };
    let mut fold = Fold::new(std::iter::once((requests, schedule)));
    let hit = Settled { avoided: Some(Avoided { parts: Vec::new(), cost: None }), ..settled(1, -1, Usage::none()) };
    let told = Settled { apart: true, ..settled(3, -1, tokens(1)) };
    for settled in [settled(2, -1, tokens(1)), hit, told] {
        let charged = Charged { settled, charges: Vec::new() };
        fold.take(&Entry { recorded_at: NOON, fact: Fact::Charged(Box::new(charged)) });
    }
    assert_eq!(fold.drain().into_iter().map(|(_, sum)| sum).collect::<Vec<_>>(), [1]);
}
