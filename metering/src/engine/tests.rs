use std::sync::Arc;

use schemas::{
    decision::{Holder, Instance},
    event::{Counter, Hold, LeaseRequested, Opened, Predecessor, Reported, Want},
    id::{InstanceId, ProducerId, Seq},
    limit::{Dimension, Match, Mode, OnUnbounded, Unit, Window},
    policy::Tenant,
};

use super::*;

const NOW: Time = Time::from_micros(1_795_000_000_000_000);

struct Bench {
    engine: Engine,
    next: HashMap<u8, u64>,
    at: Time,
}

fn producer(number: u8) -> schemas::id::ProducerId {
    ProducerId::from_bytes([number; 16])
}

fn limit(window: Window, amount: i128) -> Limit {
    Limit {
        name: "l".into(),
        scope: vec![(Dimension::Tenant, Match::Is("acme".into()))],
        unit: Unit::Tokens,
        amount,
        window,
        zone: "UTC".into(),
        mode: Mode::Hard,
        unbounded: OnUnbounded::Hold,
        values: Vec::new(),
        max_instances: None,
    }
}

fn policy(limits: Vec<Limit>) -> Arc<Policy> {
    Arc::new(Policy {
        tenants: vec![Tenant { name: "acme".into(), keys: Vec::new() }],
        limits,
        models: Vec::new(),
        access: Vec::new(),
        metering: schemas::config::MeteringConfig::default(),
        book: BookHash([0; 32]),
    })
}

impl Bench {
    fn new(limits: Vec<Limit>) -> Self {
        let mut engine = Engine::new(Lane(0), 1, Vec::new());
        engine.apply(Input::Policy(policy(limits), Offset(1)), NOW);
        Self { engine, next: HashMap::new(), at: NOW }
    }

    fn event(&mut self, from: u8, event: Event) {
        let seq = self.next.entry(from).or_default();
        *seq += 1;
        let origin = Origin { producer: producer(from), seq: Seq(*seq), hash: *seq };
        self.engine.apply(Input::Event(origin, Ok(event)), self.at);
    }

    fn opened(&mut self, from: u8, predecessor: Option<(u8, u64, Vec<Hold>)>) {
        let predecessor = predecessor.map(|(before, last, provisions)| Predecessor {
            producer: producer(before),
            last: Seq(last),
            provisions,
            used: Vec::new(),
            counters: Vec::new(),
        });
        self.event(from, Event::Opened(Opened { gateway: format!("g{from}"), at: self.at, predecessor }));
    }

    fn window(&self, limit: &Limit) -> Time {
        self.engine.schedules[&limit.id()].window(self.at).unwrap().0
    }

    fn counter(&self, limit: &Limit, used: i128, held: i128, version: u64) -> Counter {
        let window = self.window(limit);
        let named = (!limit.window.stands()).then_some(window);
        let instance = InstanceId::of::<&str>(limit.id(), &[], named);
        Counter { instance, window, used, returned: 0, held, provisioned: 0, version, recall: 0 }
    }

    /// Asks for so much more than it has.
    fn ask(&mut self, from: u8, limit: &Limit, number: u64, more: i128, counter: Counter) {
        let need = more + if self.engine.instances.all.is_empty() { 0 } else { self.lease(from) };
        let want = Want { limit: limit.id(), values: Vec::new(), window: counter.window, need, want: need, counter };
        self.event(from, Event::LeaseRequested(LeaseRequested { at: self.at, number, wants: vec![want] }));
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

#[test]
fn a_limit_with_one_counter_has_it_as_soon_as_it_is_in_force() {
    let mut bench = Bench::new(vec![limit(Window::Month, 100)]);
    let commit = bench.engine.take().unwrap();
    assert!(commit.ledger.iter().any(|entry| matches!(&entry.fact, Fact::Balance(balance) if balance.amount == 100)));
    assert!(commit.decisions.iter().any(|(key, _)| matches!(key, Key::Schedule(..))));
    assert!(bench.engine.take().is_none(), "nothing changed since");
}

#[test]
fn a_lease_is_granted_up_to_the_amount_and_answered() {
    let limit = limit(Window::Month, 100);
    let mut bench = Bench::new(vec![limit.clone()]);
    bench.opened(1, None);
    bench.ask(1, &limit, 1, 100, bench.counter(&limit, 0, 0, 1));
    assert_eq!(bench.lease(1), 100);
    bench.ask(1, &limit, 2, 1, bench.counter(&limit, 100, 0, 2));
    assert_eq!(bench.lease(1), 100);
    assert_eq!(bench.engine.state.producers[0].answered, 2);
}

#[test]
fn reports_in_any_order_give_the_same_balance() {
    let limit = limit(Window::Month, 100);
    let mut bench = Bench::new(vec![limit.clone()]);
    bench.opened(1, None);
    let (early, late) = (bench.counter(&limit, 10, 5, 1), bench.counter(&limit, 30, 0, 2));
    bench.report(1, vec![late]);
    bench.report(1, vec![early, early]);
    let instance = bench.instance();
    assert_eq!((instance.settled(instance.current().unwrap()), instance.held()), (30, 0));
}

#[test]
fn the_successor_frees_what_is_known_and_keeps_what_is_not() {
    let limit = limit(Window::Month, 100);
    let mut bench = Bench::new(vec![limit.clone()]);
    bench.opened(1, None);
    bench.ask(1, &limit, 1, 100, bench.counter(&limit, 0, 0, 1));
    bench.report(1, vec![bench.counter(&limit, 30, 40, 2)]);
    let open = Hold { instance: bench.instance().id, window: bench.window(&limit), amount: 40 };
    bench.opened(2, Some((1, 3, vec![open])));
    assert_eq!(bench.lease(1), 70, "30 used and 40 unknown");
    assert_eq!(bench.instance().held(), 40);
    bench.ask(2, &limit, 1, 31, bench.counter(&limit, 0, 0, 1));
    assert_eq!(bench.lease(2), 0);
    bench.ask(2, &limit, 2, 30, bench.counter(&limit, 0, 0, 1));
    assert_eq!(bench.lease(2), 30);
}

#[test]
fn the_successor_of_a_copied_journal_frees_nothing() {
    let limit = limit(Window::Month, 100);
    let mut bench = Bench::new(vec![limit.clone()]);
    bench.opened(1, None);
    bench.ask(1, &limit, 1, 100, bench.counter(&limit, 0, 0, 1));
    bench.report(1, vec![bench.counter(&limit, 30, 0, 2)]);
    bench.opened(2, Some((1, 2, Vec::new())));
    assert_eq!(bench.lease(1), 100);
    let commit = bench.engine.take().unwrap();
    let alarms = commit
        .ledger
        .iter()
        .filter(|entry| matches!(&entry.fact, Fact::Alarm(alarm) if alarm.kind == AlarmKind::Forked));
    assert_eq!(alarms.count(), 1);
}

#[test]
fn a_standing_lease_is_good_for_the_next_window_without_a_message() {
    let limit = limit(Window::Minute, 100);
    let mut bench = Bench::new(vec![limit.clone()]);
    bench.opened(1, None);
    bench.ask(1, &limit, 1, 60, bench.counter(&limit, 0, 0, 1));
    bench.report(1, vec![bench.counter(&limit, 60, 0, 2)]);
    bench.at = bench.at.after(Duration::from_secs(60));
    bench.engine.apply(Input::Tick, bench.at);
    bench.report(1, vec![bench.counter(&limit, 50, 0, 3)]);
    let instance = bench.instance();
    assert_eq!(instance.settled(instance.current().unwrap()), 50);
    assert_eq!(bench.lease(1), 60);
    bench.opened(2, None);
    bench.ask(2, &limit, 1, 40, bench.counter(&limit, 0, 0, 1));
    assert_eq!(bench.lease(2), 40);
}

#[test]
fn who_is_gone_takes_nothing_of_a_window_it_was_not_in() {
    let limit = limit(Window::Minute, 100);
    let mut bench = Bench::new(vec![limit.clone()]);
    bench.opened(1, None);
    bench.ask(1, &limit, 1, 60, bench.counter(&limit, 0, 0, 1));
    bench.report(1, vec![bench.counter(&limit, 60, 0, 2)]);
    bench.opened(2, Some((1, 3, Vec::new())));
    bench.ask(2, &limit, 1, 41, bench.counter(&limit, 0, 0, 1));
    assert_eq!(bench.lease(2), 0);
    bench.at = bench.at.after(Duration::from_secs(60));
    bench.engine.apply(Input::Tick, bench.at);
    bench.ask(2, &limit, 2, 100, bench.counter(&limit, 0, 0, 2));
    assert_eq!(bench.lease(2), 100);
}

#[test]
fn a_restored_engine_goes_on_as_the_one_that_committed() {
    let limit = limit(Window::Month, 100);
    let mut bench = Bench::new(vec![limit.clone()]);
    bench.opened(1, None);
    bench.ask(1, &limit, 1, 60, bench.counter(&limit, 0, 0, 1));
    let mut restored = bench.restored();
    restored.apply(Input::Policy(policy(vec![limit.clone()]), Offset(1)), bench.at);
    let event = Event::Reported(Reported {
        at: bench.at,
        low_watermark: bench.at,
        counters: vec![bench.counter(&limit, 20, 0, 2)],
        last: false,
    });
    let origin = Origin { producer: producer(1), seq: Seq(3), hash: 3 };
    restored.apply(Input::Event(origin, Ok(event.clone())), bench.at);
    bench.event(1, event);
    assert_eq!(restored.state, bench.engine.state);
    assert_eq!(restored.instances.all, bench.engine.instances.all);
}

#[test]
fn what_a_crash_leaves_is_kept_although_its_producer_never_asked_or_reported() {
    let limit = limit(Window::Month, 100);
    let mut bench = Bench::new(vec![limit.clone()]);
    bench.opened(1, None);
    let opening = Want {
        limit: limit.id(),
        values: Vec::new(),
        window: bench.window(&limit),
        need: 0,
        want: 0,
        counter: bench.counter(&limit, 0, 0, 0),
    };
    bench.engine.open(&opening).unwrap();
    let hold = |amount| Hold { instance: opening.counter.instance, window: opening.window, amount };
    bench.event(
        2,
        Event::Opened(Opened {
            gateway: "g".into(),
            at: bench.at,
            predecessor: Some(Predecessor {
                producer: producer(1),
                last: Seq(1),
                provisions: vec![hold(30)],
                used: vec![hold(12)],
                counters: Vec::new(),
            }),
        }),
    );
    let instance = bench.instance();
    let window = instance.current().unwrap();
    assert_eq!((instance.settled(window), instance.holders[0].held), (12, 30));
    assert_eq!(instance.taken(window), 42);
}

#[test]
fn a_lowered_amount_grants_nothing_until_l1_holds() {
    let before = limit(Window::Month, 100);
    let mut bench = Bench::new(vec![before.clone()]);
    bench.opened(1, None);
    bench.ask(1, &before, 1, 90, bench.counter(&before, 0, 0, 1));
    let after = limit(Window::Month, 50);
    assert_eq!(before.id(), after.id());
    bench.engine.apply(Input::Policy(policy(vec![after.clone()]), Offset(2)), bench.at);
    assert_eq!((bench.instance().amount, bench.instance().recall), (50, 1));
    bench.opened(2, None);
    bench.ask(2, &after, 1, 1, bench.counter(&after, 0, 0, 1));
    assert_eq!(bench.lease(2), 0);
    let returned = Counter { returned: 80, recall: 1, ..bench.counter(&after, 10, 0, 2) };
    bench.report(1, vec![returned]);
    bench.engine.take();
    assert_eq!(bench.lease(2), 1, "the request that waited is granted");
}

#[test]
fn a_body_that_cannot_be_read_takes_its_place() {
    let mut bench = Bench::new(Vec::new());
    bench.opened(1, None);
    let origin = Origin { producer: producer(1), seq: Seq(2), hash: 9 };
    bench.engine.apply(Input::Event(origin, Err("truncated".into())), bench.at);
    assert_eq!(bench.engine.state.producers[0].seq, Seq(2));
}

#[test]
fn what_was_used_in_a_window_that_is_shown_is_never_forgotten() {
    let limit = limit(Window::Minute, 100);
    let mut bench = Bench::new(vec![limit.clone()]);
    bench.opened(1, None);
    bench.ask(1, &limit, 1, 60, bench.counter(&limit, 0, 0, 1));
    bench.report(1, vec![bench.counter(&limit, 60, 0, 2)]);
    bench.opened(2, Some((1, 3, Vec::new())));
    bench.at = bench.at.after(Duration::from_secs(3_600));
    bench.engine.apply(Input::Tick, bench.at);
    let instance = bench.instance();
    assert_eq!(instance.windows.iter().map(|window| instance.settled(window)).sum::<i128>(), 60);
}

#[test]
fn a_successor_whose_predecessor_is_still_under_way_waits_and_one_that_is_succeeded_is_set_aside() {
    let mut bench = Bench::new(Vec::new());
    bench.opened(1, None);
    bench.opened(2, Some((1, 2, Vec::new())));
    assert_eq!(bench.engine.counts().gaps, 1, "the second event of the first was lost and comes again");
    bench.report(1, Vec::new());
    bench.next.insert(2, 0);
    bench.opened(2, Some((1, 2, Vec::new())));
    bench.engine.take();
    bench.report(1, Vec::new());
    let ledger = bench.engine.take().unwrap().ledger;
    assert!(matches!(&ledger[..], [Entry { fact: Fact::Alarm(_), .. }]), "{ledger:?}");
    assert_eq!(bench.engine.state.producers[0].seq, Seq(3));
}

/// Opens a journal whose predecessor is said to have ended at `last`, and settles an attempt that it left open.
fn succeed(bench: &mut Bench, from: u8, before: u8, last: u64) -> Vec<Entry> {
    bench.opened(from, Some((before, last, Vec::new())));
    let usage = schemas::tokens::Usage::exact(schemas::tokens::Vector { uncached_input: 5, ..Default::default() });
    bench.event(from, Event::Settled(Box::new(calls::unknown(usage))));
    bench.engine.take().unwrap().ledger
}

fn charges(ledger: &[Entry]) -> Vec<usize> {
    let charged = ledger.iter().filter_map(|entry| match &entry.fact {
        Fact::Charged(charged) => Some(charged.charges.len()),
        _ => None,
    });
    charged.collect()
}

#[test]
fn what_a_copied_journal_left_open_is_a_row_that_charges_nothing() {
    let mut bench = Bench::new(Vec::new());
    bench.opened(1, None);
    assert_eq!(charges(&succeed(&mut bench, 2, 1, 1)), [1], "nobody else can have settled it");
    assert_eq!(charges(&succeed(&mut bench, 3, 2, 1)), [0], "more of the predecessor was accepted");
    assert_eq!(charges(&succeed(&mut bench, 4, 1, 1)), [0], "another has succeeded it");
    let alarms = |engine: &Engine| engine.state.producers.iter().filter(|mark| mark.forked).count();
    assert_eq!(alarms(&bench.engine), 2);
}

#[test]
fn what_a_producer_used_elsewhere_and_never_reported_is_told_by_its_successor() {
    // Of one that was copied the use is believed and the lease stays.
    for (last, leased) in [(2, 25), (1, 60)] {
        let limit = limit(Window::Month, 100);
        let mut bench = Bench::new(vec![limit.clone()]);
        bench.opened(1, None);
        bench.ask(1, &limit, 1, 60, bench.counter(&limit, 0, 0, 1));
        let counters = vec![Counter { returned: 10, ..bench.counter(&limit, 25, 0, 4) }];
        let (provisions, used) = (Vec::new(), Vec::new());
        let predecessor = Predecessor { producer: producer(1), last: Seq(last), provisions, used, counters };
        let opened = Opened { gateway: "g".into(), at: bench.at, predecessor: Some(predecessor) };
        bench.event(2, Event::Opened(opened));
        assert_eq!((bench.instance().settled(bench.instance().current().unwrap()), bench.lease(1)), (25, leased));
    }
}

#[test]
fn one_that_does_not_answer_a_recall_is_no_reason_not_to_ask_the_others_again() {
    let limit = limit(Window::Month, 100);
    let mut bench = Bench::new(vec![limit.clone()]);
    for gateway in [1, 2, 3] {
        bench.opened(gateway, None);
    }
    bench.ask(1, &limit, 1, 30, bench.counter(&limit, 0, 0, 1));
    bench.ask(2, &limit, 1, 30, bench.counter(&limit, 0, 0, 1));
    bench.ask(3, &limit, 1, 50, bench.counter(&limit, 0, 0, 1));
    assert_eq!(bench.instance().recall, 1);
    // The second returns what it can, and gets some again; the first is silent for good.
    let returned = Counter { returned: 10, recall: 1, ..bench.counter(&limit, 0, 20, 2) };
    bench.report(2, vec![returned]);
    bench.engine.take();
    assert_eq!(bench.lease(3), 50);
    let free = Counter { returned: 10, recall: 1, ..bench.counter(&limit, 0, 0, 3) };
    bench.report(2, vec![free]);
    bench.ask(3, &limit, 2, 20, bench.counter(&limit, 0, 50, 2));
    assert_eq!(bench.instance().recall, 2, "the second has 20 that it does not hold");
}

mod calls {
    //! A settlement of an attempt that was found open.

    use schemas::{
        event::{Api, Attempt, Outcome, Settled},
        id::{BookHash, CallId},
        tokens::Usage,
    };

    pub(super) fn unknown(usage: Usage) -> Settled {
        let attempt = Attempt {
            call: CallId::from_bytes([1; 16]),
            attempt: 1,
            admitted_at: super::NOW,
            subject: std::sync::Arc::default(),
            api: Api::OpenAiChat,
            provider: "openai".into(),
            model: "m".into(),
            model_requested: "m".into(),
            stream: false,
            book: BookHash([0; 32]),
            gateway: "g".into(),
        };
        Settled {
            attempt,
            settled_at: super::NOW,
            outcome: Outcome::Unknown,
            status: 0,
            usage,
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
        }
    }
}
