use std::sync::Arc;

use schemas::{
    decision::{Holder, Instance},
    event::{Counter, Hold, LeaseRequested, Move, Opened, Outcome, Predecessor, Reported, Settled, Want},
    fixture,
    id::{CallId, InstanceId, ProducerId, Seq},
    limit::{Dimension, Match, Unit, Window},
    tokens::{Usage, Vector},
};

use super::*;

mod said;
mod schedules;
mod successors;

const NOW: Time = Time::from_micros(1_795_000_000_000_000);

/// An engine under policy, and what gateways say to it.
struct Bench {
    engine: Engine,
    /// The limit that it starts with and that they speak of.
    limit: Limit,
    /// Events and lease requests of each gateway so far.
    said: HashMap<u8, (u64, u64)>,
    at: Time,
}

fn producer(number: u8) -> schemas::id::ProducerId {
    ProducerId::from_bytes([number; 16])
}

fn policy(limit: &Limit, next: u64) -> Input {
    Input::Policy(Arc::new(fixture::policy(vec![limit.clone()], BookHash([0; 32]))), Offset(next))
}

/// What a successor says of the one before it.
fn gone(before: u8, last: u64) -> Predecessor {
    fixture::predecessor(producer(before), Seq(last))
}

impl Bench {
    /// An engine under a limit of 100, and the first gateway.
    fn new(window: Window) -> Self {
        Self::under(fixture::limit(100, window))
    }

    /// An engine under a limit, and the first gateway.
    fn under(limit: Limit) -> Self {
        let mut engine = Engine::new(Lane(0), 1, Vec::new());
        engine.apply(policy(&limit, 1), NOW);
        let mut bench = Self { engine, limit, said: HashMap::new(), at: NOW };
        bench.opened(1, None);
        bench
    }

    /// The same, and the first gateway has a lease.
    fn leased(window: Window, lease: i128) -> Self {
        let mut bench = Self::new(window);
        bench.ask(1, lease, bench.counter(0, 0, 1));
        bench
    }

    fn event(&mut self, from: u8, event: Event) {
        let (seq, _) = self.said.entry(from).or_default();
        *seq += 1;
        let origin = Origin { producer: producer(from), seq: Seq(*seq), hash: *seq };
        self.engine.apply(Input::Event(origin, Ok(event)), self.at);
    }

    fn opened(&mut self, from: u8, predecessor: Option<Predecessor>) {
        self.event(from, Event::Opened(Opened { gateway: format!("g{from}"), at: self.at, predecessor }));
    }

    fn window(&self) -> Time {
        self.engine.schedules[&self.limit.id()].window(self.at).unwrap().0
    }

    fn counter(&self, used: i128, held: i128, version: u64) -> Counter {
        let window = self.window();
        let named = (!self.limit.window.stands()).then_some(window);
        let instance = InstanceId::of::<&str>(self.limit.id(), &[], named);
        Counter { used, held, version, ..Counter::unused(instance, window) }
    }

    /// Asks for so much more than it has.
    fn ask(&mut self, from: u8, more: i128, counter: Counter) {
        let need = more + if self.engine.instances.all.is_empty() { 0 } else { self.lease(from) };
        let (limit, values, window) = (self.limit.id(), Vec::new(), counter.window);
        let want = Want { limit, values, window, need, want: need, counter };
        let (_, number) = self.said.entry(from).or_default();
        *number += 1;
        let asked = LeaseRequested { at: self.at, number: *number, wants: vec![want] };
        self.event(from, Event::LeaseRequested(asked));
    }

    /// How many requests wait.
    fn waiting(&self) -> usize {
        self.engine.state.waiting.len()
    }

    /// Time passes.
    fn wait(&mut self, seconds: u64) {
        self.at = self.at.after(Duration::from_secs(seconds));
        self.engine.apply(Input::Tick, self.at);
    }

    fn report(&mut self, from: u8, counters: Vec<Counter>) {
        self.event(from, Event::Reported(Reported { at: self.at, low_watermark: self.at, counters, last: false }));
    }

    fn instance(&self) -> &Instance {
        self.engine.instances.all.values().max_by_key(|instance| instance.windows.last().map(|w| w.start)).unwrap()
    }

    fn lease(&self, of: u8) -> i128 {
        self.instance().holders.iter().find(|holder| holder.producer == producer(of)).map_or(0, Holder::lease)
    }

    /// The engine that another member would restore from what this one has committed.
    fn restored(&mut self) -> Engine {
        let commit = self.engine.take();
        assert!(commit.is_some());
        let mut states = vec![(Key::Lane(Lane(0)), State::Lane(self.engine.state.clone()))];
        for instance in self.engine.instances.all.values() {
            states.push((Key::Instance(instance.id), State::Instance(Box::new(instance.clone()))));
        }
        for schedule in self.engine.schedules.values() {
            states.push((Key::Schedule(Lane(0), schedule.limit), State::Schedule(schedule.clone())));
        }
        Engine::new(Lane(0), 1, states)
    }
}

fn charges(ledger: &[Entry]) -> Vec<usize> {
    let charged = ledger.iter().filter_map(|entry| match &entry.fact {
        Fact::Charged(charged) => Some(charged.charges.len()),
        _ => None,
    });
    charged.collect()
}

#[test]
fn what_a_gateway_has_that_is_gone_keeps_nothing_free_from_others() {
    for (seconds, waiting, granted) in [(30, 1, 0), (90, 0, 5)] {
        let mut bench = Bench::leased(Window::Total, 40);
        bench.wait(seconds);
        bench.opened(2, None);
        bench.opened(3, None);
        // All of what is left, and some of what the first one has: as long as that may come back, it is kept for this.
        bench.ask(2, 80, bench.counter(0, 0, 1));
        bench.ask(3, 5, bench.counter(0, 0, 1));
        assert_eq!((bench.lease(2), bench.lease(3)), (0, granted), "after {seconds} s");
        assert_eq!(bench.waiting() > 0, waiting > 0, "after {seconds} s");
    }
}

#[test]
fn a_limit_with_one_counter_has_it_as_soon_as_it_is_in_force() {
    let mut bench = Bench::new(Window::Month);
    let commit = bench.engine.take().unwrap();
    assert!(commit.ledger.iter().any(|entry| matches!(&entry.fact, Fact::Balance(balance) if balance.amount == 100)));
    assert!(commit.decisions.iter().any(|(key, _)| matches!(key, Key::Schedule(..))));
    assert!(bench.engine.take().is_none(), "nothing changed since");
}

#[test]
fn a_lease_is_granted_up_to_the_amount_and_answered() {
    let mut bench = Bench::leased(Window::Month, 100);
    assert_eq!(bench.lease(1), 100);
    bench.ask(1, 1, bench.counter(100, 0, 2));
    assert_eq!(bench.lease(1), 100);
    assert_eq!(bench.engine.state.producers[0].answered, 2);
}

#[test]
fn reports_in_any_order_give_the_same_balance() {
    let mut bench = Bench::new(Window::Month);
    let (early, late) = (bench.counter(10, 5, 1), bench.counter(30, 0, 2));
    bench.report(1, vec![late]);
    bench.report(1, vec![early, early]);
    let instance = bench.instance();
    let window = instance.current().unwrap();
    assert_eq!((instance.settled(window), instance.held(window)), (30, 0));
}

#[test]
fn a_standing_lease_is_good_for_the_next_window_without_a_message() {
    let mut bench = Bench::leased(Window::Minute, 60);
    bench.report(1, vec![bench.counter(60, 0, 2)]);
    bench.wait(60);
    bench.report(1, vec![bench.counter(50, 0, 3)]);
    let instance = bench.instance();
    assert_eq!(instance.settled(instance.current().unwrap()), 50);
    assert_eq!(bench.lease(1), 60);
    bench.opened(2, None);
    bench.ask(2, 40, bench.counter(0, 0, 1));
    assert_eq!(bench.lease(2), 40);
}

#[test]
fn a_restored_engine_goes_on_as_the_one_that_committed() {
    let mut bench = Bench::leased(Window::Month, 60);
    let mut restored = bench.restored();
    restored.apply(policy(&bench.limit, 1), bench.at);
    let event = Event::Reported(Reported {
        at: bench.at,
        low_watermark: bench.at,
        counters: vec![bench.counter(20, 0, 2)],
        last: false,
    });
    let origin = Origin { producer: producer(1), seq: Seq(3), hash: 3 };
    restored.apply(Input::Event(origin, Ok(event.clone())), bench.at);
    bench.event(1, event);
    assert_eq!(restored.state, bench.engine.state);
    assert_eq!(restored.instances.all, bench.engine.instances.all);
}

#[test]
fn a_lowered_amount_grants_nothing_until_l1_holds() {
    let mut bench = Bench::leased(Window::Month, 90);
    let after = Limit { amount: 50, ..bench.limit.clone() };
    assert_eq!(bench.limit.id(), after.id());
    bench.engine.apply(policy(&after, 2), bench.at);
    assert_eq!((bench.instance().amount, bench.instance().recall), (50, 1));
    bench.opened(2, None);
    bench.ask(2, 1, bench.counter(0, 0, 1));
    assert_eq!(bench.lease(2), 0);
    bench.report(1, vec![Counter { returned: 80, recall: 1, ..bench.counter(10, 0, 2) }]);
    bench.engine.take();
    assert_eq!(bench.lease(2), 1, "the request that waited is granted");
}

#[test]
fn a_body_that_cannot_be_read_takes_its_place() {
    let mut bench = Bench::new(Window::Month);
    let origin = Origin { producer: producer(1), seq: Seq(2), hash: 9 };
    bench.engine.apply(Input::Event(origin, Err("truncated".into())), bench.at);
    assert_eq!(bench.engine.state.producers[0].seq, Seq(2));
}

#[test]
fn what_was_used_in_a_window_that_is_shown_is_never_forgotten() {
    let mut bench = Bench::leased(Window::Minute, 60);
    bench.report(1, vec![bench.counter(60, 0, 2)]);
    bench.opened(2, Some(gone(1, 3)));
    bench.wait(3_600);
    let instance = bench.instance();
    assert_eq!(instance.windows.iter().map(|window| instance.settled(window)).sum::<i128>(), 60);
}

#[test]
fn one_that_does_not_answer_a_recall_is_no_reason_not_to_ask_the_others_again() {
    let mut bench = Bench::leased(Window::Month, 30);
    bench.opened(2, None);
    bench.opened(3, None);
    bench.ask(2, 30, bench.counter(0, 0, 1));
    bench.ask(3, 50, bench.counter(0, 0, 1));
    assert_eq!(bench.instance().recall, 1);
    // The second returns what it can, and gets some again; the first is silent for good.
    let returned = Counter { returned: 10, recall: 1, ..bench.counter(0, 20, 2) };
    bench.report(2, vec![returned]);
    bench.engine.take();
    assert_eq!(bench.lease(3), 50);
    let free = Counter { returned: 10, recall: 1, ..bench.counter(0, 0, 3) };
    bench.report(2, vec![free]);
    bench.ask(3, 20, bench.counter(0, 50, 2));
    assert_eq!(bench.instance().recall, 2, "the second has 20 that it does not hold");
}

/// What is leased after a gateway that leased 3 of 10 and holds 2 was silent for so long, or was succeeded.
fn concurrent(silence: Duration, successor: bool, wanted: i128) {
    let mut bench = Bench::under(Limit { unit: Unit::Concurrent, ..fixture::limit(10, Window::Total) });
    bench.opened(2, None);
    bench.ask(1, 3, bench.counter(0, 2, 1));
    bench.at = bench.at.after(silence);
    bench.report(2, Vec::new());
    if successor {
        let counter = bench.counter(0, 2, 1);
        let provisions = vec![Hold { instance: counter.instance, window: counter.window, amount: 2 }];
        bench.opened(3, Some(Predecessor { provisions, ..gone(1, 2) }));
    }
    bench.engine.apply(Input::Tick, bench.at);
    let (free, window) = (wanted == 0, *bench.instance().current().unwrap());
    let (leased, held) = (bench.instance().leased(), bench.instance().held(&window));
    assert_eq!((leased, held), (wanted, if free { 0 } else { 2 }), "after {silence:?}");
    // Who was given up and speaks again has nothing, and can ask for it.
    if free && !successor {
        bench.report(1, vec![bench.counter(0, 0, 5)]);
        assert_eq!(bench.lease(1), 0);
        bench.ask(1, 4, bench.counter(0, 0, 6));
        assert_eq!(bench.lease(1), 4);
    }
}

#[test]
fn what_is_open_at_a_time_is_over_when_its_gateway_is_gone_or_long_silent() {
    let day = schemas::config::MeteringConfig::default().abandon_after;
    concurrent(day, false, 3);
    concurrent(day + Duration::from_secs(1), false, 0);
    concurrent(Duration::ZERO, true, 0);
}

#[test]
fn client_tags_make_as_many_counters_as_they_may_in_a_window() {
    let scope = vec![(Dimension::Tag("feature".into()), Match::Each)];
    let limit = Limit { scope, max_instances: Some(2), ..fixture::limit(10, Window::Day) };
    let mut bench = Bench::under(limit.clone());
    let start = bench.window();
    let open = |engine: &mut Engine, value: &str, start| engine.open(limit.id(), &[value.to_owned()], start).is_some();
    let made = ["a", "b", "c", "other", "a"].map(|value| open(&mut bench.engine, value, start));
    assert_eq!(made, [true, true, false, true, true]);
    let (mut restored, at) = (bench.restored(), bench.at);
    restored.apply(policy(&limit, 1), at);
    assert!(!open(&mut restored, "c", start), "another member knows how many there are");
    let moved = |value: &str| Move {
        home: Lane(0),
        limit: limit.id(),
        values: vec![value.to_owned()],
        window: at,
        amount: 3,
        clears: 0,
    };
    let of = |window: Time| InstanceId::of(limit.id(), &["other"], Some(window));
    assert_eq!(restored.find(&moved("c")), Some((of(start), start)), "what passed elsewhere counts in the shared one");
    bench.wait(24 * 3_600);
    let next = bench.window();
    assert!(next > start && open(&mut bench.engine, "c", next), "a new window has none yet");
}

#[test]
fn what_another_lane_passed_and_nobody_can_read_is_poisoned_and_no_conflict() {
    let mut bench = Bench::new(Window::Month);
    let origin = Origin { producer: ProducerId::NONE, seq: Seq(0), hash: 7 };
    bench.engine.apply(Input::Event(origin, Err("it is cut".into())), bench.at);
    let commit = bench.engine.take().unwrap();
    let alarms = commit.ledger.iter().filter_map(|entry| match &entry.fact {
        Fact::Alarm(alarm) => Some(alarm.kind),
        _ => None,
    });
    assert_eq!(alarms.collect::<Vec<_>>(), [AlarmKind::Poisoned]);
    assert_eq!(bench.engine.counts().conflicts, 0);
}
