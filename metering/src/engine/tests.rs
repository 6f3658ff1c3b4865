use std::sync::Arc;

use schemas::{
    decision::{Holder, Instance},
    event::{Counter, Found, Hold, LeaseRequested, Move, Opened, Outcome, Predecessor, Reported, Settled, Want},
    fixture,
    id::{CallId, InstanceId, ProducerId, Seq},
    limit::{Dimension, Match, Share, Unit, Window},
    policy::ApiKey,
    tokens::{Usage, Vector},
};

use super::*;

mod schedules;

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

fn charges(ledger: &[Entry]) -> Vec<usize> {
    let charged = ledger.iter().filter_map(|entry| match &entry.fact {
        Fact::Charged(charged) => Some(charged.charges.len()),
        _ => None,
    });
    charged.collect()
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
fn a_share_is_said_once_for_each_window_whatever_is_given_back_and_who_goes_on() {
    fn said(engine: &mut Engine) -> Vec<(u32, i128, i128)> {
        let ledger = engine.take().map(|commit| commit.ledger).unwrap_or_default();
        let alerts = ledger.iter().filter_map(|entry| match &entry.fact {
            Fact::Alerted(alerted) => Some((alerted.share.0, alerted.settled, alerted.held)),
            _ => None,
        });
        alerts.collect()
    }
    let alerts = vec![Share(50), Share(80), Share(100)];
    let mut bench = Bench::under(Limit { alerts, ..fixture::limit(100, Window::Month) });
    bench.ask(1, 100, bench.counter(0, 0, 1));
    assert_eq!(said(&mut bench.engine), [], "what is leased is not taken");
    for (used, held, wanted) in
        [(30, 19, vec![]), (30, 50, vec![(50, 30, 50), (80, 30, 50)]), (40, 0, vec![]), (50, 40, vec![])]
    {
        let version = bench.said[&1].0 + 10;
        bench.report(1, vec![bench.counter(used, held, version)]);
        assert_eq!(said(&mut bench.engine), wanted, "{used} used and {held} held");
    }
    let (seq, full) = (bench.said[&1].0 + 1, bench.counter(100, 0, 99));
    let report =
        |counter| Event::Reported(Reported { at: NOW, low_watermark: NOW, counters: vec![counter], last: false });
    // The same by an engine that was restored.
    bench.report(1, vec![bench.counter(51, 0, 98)]);
    let mut restored = bench.restored();
    restored.apply(policy(&bench.limit, 1), bench.at);
    let origin = Origin { producer: producer(1), seq: Seq(seq + 1), hash: 7 };
    restored.apply(Input::Event(origin, Ok(report(full))), bench.at);
    assert_eq!(said(&mut restored), [(100, 100, 0)]);
    // The next month begins anew.
    bench.at = bench.at.after(Duration::from_secs(31 * 86_400));
    bench.engine.apply(Input::Tick, bench.at);
    bench.ask(1, 60, bench.counter(0, 0, 1));
    bench.report(1, vec![bench.counter(55, 0, 2)]);
    assert_eq!(said(&mut bench.engine), [(50, 55, 0)]);
}

#[test]
fn a_share_of_another_amount_is_said_anew_and_once() {
    let alerts = vec![Share(50), Share(100)];
    let mut bench = Bench::under(Limit { alerts, ..fixture::limit(100, Window::Month) });
    bench.ask(1, 100, bench.counter(0, 0, 1));
    bench.report(1, vec![bench.counter(60, 0, 2)]);
    let said = |bench: &mut Bench| {
        let ledger = bench.engine.take().map(|commit| commit.ledger).unwrap_or_default();
        let alerts = ledger.iter().filter_map(|entry| match &entry.fact {
            Fact::Alerted(alerted) => Some((alerted.share.0, alerted.amount)),
            _ => None,
        });
        alerts.collect::<Vec<_>>()
    };
    assert_eq!(said(&mut bench), [(50, 100)]);
    for (next, (amount, used, wanted)) in
        [(200, 99, vec![]), (200, 101, vec![(50, 200)]), (40, 101, vec![(50, 40), (100, 40)]), (40, 110, vec![])]
            .into_iter()
            .enumerate()
    {
        let limit = Limit { amount, ..bench.limit.clone() };
        bench.engine.apply(policy(&limit, next as u64 + 2), bench.at);
        bench.report(1, vec![bench.counter(used, 0, next as u64 + 3)]);
        assert_eq!(said(&mut bench), wanted, "{used} of {amount}");
    }
}

#[test]
fn that_a_limit_was_passed_is_said_at_first_and_each_time_that_it_was_by_twice_as_much() {
    let mut bench = Bench::leased(Window::Month, 90);
    bench.engine.take();
    let mut limit = bench.limit.clone();
    for (version, (amount, used, held, said)) in [
        (100, 120, 0, 1),
        (100, 120, 5, 0),
        (100, 120, 0, 0),
        (100, 139, 0, 0),
        (100, 140, 0, 1),
        // What is used already passes the lowered amount; one report that adds to it says so, and the next ones add little.
        (80, 141, 0, 1),
        (80, 142, 0, 0),
        (80, 143, 0, 0),
    ]
    .into_iter()
    .enumerate()
    {
        limit.amount = amount;
        bench.engine.apply(policy(&limit, version as u64 + 2), bench.at);
        bench.report(1, vec![bench.counter(used, held, version as u64 + 2)]);
        let ledger = bench.engine.take().map(|commit| commit.ledger).unwrap_or_default();
        let overruns = ledger.iter().filter(|entry| matches!(entry.fact, Fact::Overrun(_)));
        assert_eq!(overruns.count(), said, "{used} used of {amount}, {held} held");
    }
}

#[test]
fn what_changed_of_the_policy_is_told_once_and_keys_when_they_are_others() {
    let plain = Arc::new(fixture::policy(Vec::new(), BookHash([0; 32])));
    let mut keyed = Policy::clone(&plain);
    keyed.tenants[0].keys.push(ApiKey { name: "ci".into(), ..ApiKey::default() });
    let keyed = Arc::new(keyed);
    let changed = |offset| {
        let word = String::new;
        Input::Changed(Arc::new(Changed {
            policy: Offset(offset),
            at: Some(NOW),
            by: "ops".into(),
            kind: "key.create".into(),
            tenant: word(),
            name: word(),
            detail: word(),
            refused: word(),
        }))
    };
    // How many changes and lists of keys are told of these inputs, and what is committed of the lane.
    let told = |engine: &mut Engine, inputs: Vec<Input>| {
        inputs.into_iter().for_each(|input| engine.apply(input, NOW));
        let commit = engine.take().unwrap_or_default();
        let count = |is: fn(&Fact) -> bool| commit.ledger.iter().filter(|entry| is(&entry.fact)).count();
        let states: Vec<_> = commit.decisions.into_iter().filter_map(|(key, state)| Some((key, state?))).collect();
        ((count(|fact| matches!(fact, Fact::Changed(_))), count(|fact| matches!(fact, Fact::Keys(_)))), states)
    };
    let policy = |policy: &Arc<Policy>, next| Input::Policy(Arc::clone(policy), Offset(next));
    let mut engine = Engine::new(Lane(0), 2, Vec::new());
    assert_eq!(told(&mut engine, vec![policy(&plain, 1)]).0, (0, 1));
    assert_eq!(told(&mut engine, vec![changed(1), policy(&keyed, 2)]).0, (1, 1));
    // One that is refused leaves the policy as it is.
    let (counts, states) = told(&mut engine, vec![changed(2), policy(&keyed, 3)]);
    assert_eq!(counts, (1, 0));
    // Whoever takes over is told all of it again, and tells only what came since.
    let mut next = Engine::new(Lane(0), 2, states);
    let again = || vec![changed(1), changed(2), policy(&keyed, 3)];
    assert_eq!(told(&mut next, again()).0, (0, 0));
    assert_eq!(told(&mut next, vec![changed(3), policy(&plain, 4)]).0, (1, 1));
    // One lane tells for all.
    assert_eq!(told(&mut Engine::new(Lane(1), 2, Vec::new()), again()).0, (0, 0));
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
