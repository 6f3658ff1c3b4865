//! What is said of a limit and of the policy: once, whoever goes on.

use schemas::{limit::Share, policy::ApiKey};

use super::*;

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
