use schemas::{
    decision::{Holder, WindowState},
    event::Counter,
    id::LimitId,
};

use super::*;

const WINDOW: Time = Time::ZERO;

/// Granted, returned, used, held.
type Counts = (i128, i128, i128, i128);

fn producer(number: u8) -> ProducerId {
    ProducerId::from_bytes([number; 16])
}

fn id(number: u8) -> InstanceId {
    InstanceId([number; 16])
}

/// An instance of `amount` with (granted, returned, used, held) for producers 1, 2, ….
fn instances(amounts: &[(i128, &[Counts])]) -> Instances {
    let mut all = Instances::default();
    for (number, (amount, holders)) in (1..).zip(amounts) {
        let holders = (1..).zip(*holders).map(|(number, (granted, returned, used, held))| Holder {
            granted: *granted,
            returned: *returned,
            used: vec![(WINDOW, *used)],
            held: *held,
            version: 1,
            ..Holder::new(producer(number))
        });
        let instance = Instance {
            id: id(number),
            limit: LimitId([0; 16]),
            values: Vec::new(),
            amount: *amount,
            windows: vec![WindowState::new(WINDOW, Time::MAX)],
            holders: holders.collect(),
            recall: 0,
        };
        all.all.insert(instance.id, instance);
    }
    all
}

fn want(number: u8, need: i128, want: i128) -> Want {
    let counter = Counter::unused(id(number), WINDOW);
    Want { limit: LimitId([0; 16]), values: Vec::new(), window: WINDOW, need, want, counter }
}

/// Asks for so much more than there is: (instance, need, want).
fn ask(instances: &mut Instances, asker: u8, wants: &[(u8, i128, i128)]) -> Answer {
    let wants: Vec<(u8, Want)> = wants
        .iter()
        .map(|(number, need, more)| {
            let leased = lease(instances, *number, asker);
            (*number, want(*number, leased + need, leased + more))
        })
        .collect();
    let wanted: Vec<Wanted<'_>> = wants.iter().map(|(number, want)| Wanted { instance: id(*number), want }).collect();
    instances.answer(producer(asker), &wanted, &SetAside::default())
}

fn lease(instances: &Instances, instance: u8, of: u8) -> i128 {
    let instance = instances.all.get(&id(instance)).unwrap();
    instance.holders.iter().find(|holder| holder.producer == producer(of)).map_or(0, Holder::lease)
}

#[test]
fn far_from_the_end_a_lease_covers_what_is_wanted() {
    let mut all = instances(&[(1_000, &[])]);
    assert_eq!(ask(&mut all, 1, &[(1, 10, 100)]), Answer::Granted);
    assert_eq!(lease(&all, 1, 1), 100);
}

#[test]
fn a_request_that_comes_twice_is_granted_once() {
    let mut all = instances(&[(1_000, &[(30, 0, 10, 5)])]);
    for _ in 0..3 {
        let wanted = want(1, 40, 100);
        let answer = all.answer(producer(1), &[Wanted { instance: id(1), want: &wanted }], &SetAside::default());
        assert_eq!((answer, lease(&all, 1, 1)), (Answer::Granted, 100));
    }
}

#[test]
fn a_grant_leaves_a_part_to_others_but_never_less_than_one_call() {
    let mut all = instances(&[(100, &[])]);
    assert_eq!(ask(&mut all, 1, &[(1, 10, 1_000)]), Answer::Granted);
    assert_eq!(lease(&all, 1, 1), 50);
    assert_eq!(ask(&mut all, 2, &[(1, 50, 1_000)]), Answer::Granted);
    assert_eq!(lease(&all, 1, 2), 50);
}

#[test]
fn the_last_unit_is_granted_and_not_one_more() {
    let mut all = instances(&[(10, &[(9, 0, 9, 0)])]);
    assert_eq!(ask(&mut all, 1, &[(1, 2, 2)]), Answer::Denied);
    assert_eq!(ask(&mut all, 1, &[(1, 1, 1)]), Answer::Granted);
    assert_eq!(ask(&mut all, 1, &[(1, 1, 1)]), Answer::Denied);
}

#[test]
fn a_vector_is_granted_whole_or_not_at_all() {
    let mut all = instances(&[(100, &[]), (5, &[])]);
    assert_eq!(ask(&mut all, 1, &[(1, 10, 10), (2, 10, 10)]), Answer::Denied);
    assert_eq!((lease(&all, 1, 1), lease(&all, 2, 1)), (0, 0));
    assert_eq!(ask(&mut all, 1, &[(1, 10, 10), (2, 5, 5)]), Answer::Granted);
    assert_eq!((lease(&all, 1, 1), lease(&all, 2, 1)), (10, 5));
}

#[test]
fn what_others_do_not_use_is_called_back_and_then_granted() {
    let mut all = instances(&[(100, &[(100, 0, 20, 30)])]);
    assert_eq!(ask(&mut all, 2, &[(1, 40, 40)]), Answer::Wait);
    assert_eq!(all.all[&id(1)].recall, 1);
    let holder = post::holder_mut(all.all.get_mut(&id(1)).unwrap(), producer(1));
    holder.returned = 50;
    holder.recall = 1;
    assert_eq!(ask(&mut all, 2, &[(1, 40, 40)]), Answer::Granted);
    assert_eq!(ask(&mut all, 2, &[(1, 11, 11)]), Answer::Denied, "the rest is used or held");
}

#[test]
fn debt_beyond_a_lease_is_not_forgotten() {
    let mut all = instances(&[(100, &[(10, 0, 95, 0)])]);
    assert_eq!(ask(&mut all, 2, &[(1, 6, 6)]), Answer::Denied);
    assert_eq!(ask(&mut all, 2, &[(1, 5, 5)]), Answer::Granted);
}

#[test]
fn a_grant_that_covers_a_debt_takes_it_from_nobody_else() {
    let mut all = instances(&[(100, &[(10, 0, 60, 0), (20, 0, 0, 0)])]);
    assert_eq!(ask(&mut all, 1, &[(1, 71, 71)]), Answer::Wait, "the second has the rest");
    assert_eq!(ask(&mut all, 1, &[(1, 70, 70)]), Answer::Granted);
    assert_eq!(lease(&all, 1, 1), 80);
}

#[test]
fn older_requests_are_answered_first_for_an_instance() {
    let mut all = instances(&[(100, &[(100, 0, 0, 0)])]);
    let waiting = |asker: u8, number: u64, need: i128| Waiting {
        producer: producer(asker),
        number,
        since: Time::ZERO,
        wants: vec![want(1, need, need)],
    };
    let mut queue = vec![waiting(2, 1, 80), waiting(3, 1, 10)];
    let answered = all.answer_waiting(&mut queue, |_| false, |_| id(1));
    assert!(answered.is_empty() && queue.len() == 2);
    let holder = post::holder_mut(all.all.get_mut(&id(1)).unwrap(), producer(1));
    holder.returned = 40;
    let answered = all.answer_waiting(&mut queue, |_| false, |_| id(1));
    assert!(answered.is_empty(), "40 would do for the second, but the first came first");
    let holder = post::holder_mut(all.all.get_mut(&id(1)).unwrap(), producer(1));
    holder.returned = 90;
    holder.recall = 1;
    let answered = all.answer_waiting(&mut queue, |_| false, |_| id(1));
    assert_eq!(answered, vec![(producer(2), 1), (producer(3), 1)]);
    assert_eq!((lease(&all, 1, 2), lease(&all, 1, 3)), (80, 10));
}

/// One waits for the only place of a limit and needs 30 of another, of which there is plenty.
#[test]
fn what_a_request_waits_for_in_one_limit_keeps_back_of_the_others_what_it_lacks_and_no_more() {
    let mut all = instances(&[(1, &[(1, 0, 0, 0)]), (100, &[])]);
    let waiting =
        |asker: u8, wants: Vec<Want>| Waiting { producer: producer(asker), number: 1, since: Time::ZERO, wants };
    let first = waiting(2, vec![want(1, 1, 1), want(2, 30, 100)]);
    let rest = |asker: u8, need: i128| waiting(asker, vec![want(2, need, 100)]);
    let mut queue = vec![first, rest(3, 70), rest(4, 1)];
    let answered = all.answer_waiting(&mut queue, |_| false, |numbered| numbered.counter.instance);
    assert_eq!(answered, [(producer(3), 1)]);
    assert_eq!([2, 3, 4].map(|of| lease(&all, 2, of)), [0, 70, 0]);
}

/// The last unit of two limits lies at one gateway each, and both have a call that needs a unit of both.
#[test]
fn two_that_hold_what_the_other_needs_do_not_wait_for_ever() {
    let mut all = instances(&[(1, &[(1, 0, 0, 0)]), (1, &[(0, 0, 0, 0), (1, 0, 0, 0)])]);
    let both = |since: i64, asker: u8| Waiting {
        producer: producer(asker),
        number: 1,
        since: Time::from_micros(since),
        wants: vec![want(1, 1, 1), want(2, 1, 1)],
    };
    let mut waiting = vec![both(1, 1), both(2, 2)];
    let resolve = |numbered: &Want| numbered.counter.instance;
    let mut answer = |all: &mut Instances| all.answer_waiting(&mut waiting, |_| false, resolve);
    assert_eq!(answer(&mut all), []);
    assert_eq!((all.all[&id(1)].recall, all.all[&id(2)].recall), (1, 1), "each is asked for the other's");
    // Whoever answers first, the older request is served first, and whole.
    let give = |all: &mut Instances, number: u8, of: u8| {
        let instance = all.all.get_mut(&id(number)).unwrap();
        let recall = instance.recall;
        let holder = post::holder_mut(instance, producer(of));
        (holder.returned, holder.recall) = (holder.granted, recall);
    };
    give(&mut all, 2, 2);
    assert_eq!(answer(&mut all), [(producer(1), 1)]);
    assert_eq!((lease(&all, 1, 1), lease(&all, 2, 1), lease(&all, 2, 2)), (1, 1, 0));
    // Its call uses nothing in the end, and then the other has its turn.
    assert_eq!(answer(&mut all), []);
    give(&mut all, 1, 1);
    give(&mut all, 2, 1);
    assert_eq!(answer(&mut all), [(producer(2), 1)]);
    assert_eq!((lease(&all, 1, 2), lease(&all, 2, 2)), (1, 1));
}
