use http::HeaderValue;
use schemas::limit::Dimension;

use super::*;

const CALLS: u64 = 10_000;

fn call(number: u64) -> CallId {
    CallId::of(schemas::time::Time::ZERO, &[&number.to_string()])
}

/// Targets `a`, `b`, … with these weights.
fn route(strategy: Strategy, weights: &[u8]) -> ModelRoute {
    let target = |(name, weight): (char, &u8)| Target { weight: *weight, ..Target::new(name.to_string(), None) };
    ModelRoute {
        name: "m".into(),
        targets: ('a'..).zip(weights).map(target).collect(),
        strategy,
        ..ModelRoute::default()
    }
}

fn serves(count: usize) -> Vec<Chance> {
    vec![Chance { serves: true, ..Chance::default() }; count]
}

fn ordered(route: &ModelRoute, number: u64, user: &str, chances: &[Chance]) -> Vec<usize> {
    let subject = Subject { tenant: "t".into(), user: user.into(), ..Subject::default() };
    let asker = Asker { call: call(number), subject: &subject, headers: &HeaderMap::new() };
    let order = order(0, route, &asker, chances);
    (0..order.len()).filter_map(|turn| order.turn(turn)).collect()
}

/// How often each target comes first.
fn firsts(route: &ModelRoute, user: impl Fn(u64) -> String, chances: &[Chance]) -> Vec<u64> {
    let mut firsts = vec![0; route.targets.len()];
    for number in 0..CALLS {
        firsts[ordered(route, number, &user(number), chances)[0]] += 1;
    }
    firsts
}

fn about(count: u64, percent: u64) -> bool {
    count.abs_diff(CALLS * percent / 100) < CALLS / 50
}

#[test]
fn a_path_without_an_api_is_answered_in_the_dialect_that_it_looks_like() {
    let mut headers = HeaderMap::new();
    assert_eq!(dialect_of_path("/v1/whatever", &headers), Dialect::OpenAi);
    assert_eq!(dialect_of_path("/v1/messages/batches", &headers), Dialect::Anthropic);
    assert_eq!(dialect_of_path("/anthropic/v1/x", &headers), Dialect::Anthropic);
    assert_eq!(dialect_of_path("/v1beta/models/x:fly", &headers), Dialect::Gemini);
    assert_eq!(dialect_of_path("/model/x/fly", &headers), Dialect::Bedrock);
    assert_eq!(dialect_of_path("/v2/fly", &headers), Dialect::Cohere);
    headers.insert("anthropic-version", HeaderValue::from_static("2023-06-01"));
    assert_eq!(dialect_of_path("/v1/models", &headers), Dialect::Anthropic);
    assert_eq!(dialect_of_path("/v1/chat/completions", &headers), Dialect::OpenAi);
}

#[test]
fn priorities_come_first_and_open_circuits_last() {
    let mut route = route(Strategy::Priority, &[1, 1, 1, 1]);
    let mut chances = serves(4);
    assert_eq!(ordered(&route, 1, "", &chances), [0, 1, 2, 3]);
    route.targets[0].priority = 2;
    route.targets[3].priority = 1;
    assert_eq!(ordered(&route, 1, "", &chances), [1, 2, 3, 0]);
    chances[1].seen.cools_ms = Some(9);
    chances[2].seen.cools_ms = Some(3);
    assert_eq!(ordered(&route, 1, "", &chances), [3, 0, 2, 1]);
    chances[0].serves = false;
    assert_eq!(ordered(&route, 1, "", &chances), [3, 2, 1]);
    assert_eq!(ordered(&route, 1, "", &[Chance::default(); 4]), [0; 0]);
}

#[test]
fn weights_are_shares_and_without_one_a_target_is_the_last_resort() {
    let route = route(Strategy::Weighted, &[70, 30, 0]);
    let firsts = firsts(&route, |_| String::new(), &serves(3));
    assert!(about(firsts[0], 70) && about(firsts[1], 30) && firsts[2] == 0, "{firsts:?}");
    assert!((0..100).all(|number| ordered(&route, number, "", &serves(3))[2] == 2));
    assert_eq!(ordered(&route, 5, "", &serves(3)), ordered(&route, 5, "", &serves(3)), "a call has one order");
}

#[test]
fn what_is_least_is_asked_first_and_lots_decide_where_nothing_else_does() {
    let mut chances = serves(3);
    chances[0].seen.ttft_ms = Some(300);
    chances[1].seen.ttft_ms = Some(200);
    let fastest = route(Strategy::LeastLatency, &[1, 1, 1]);
    assert_eq!(ordered(&fastest, 1, "", &chances), [2, 1, 0], "of one nothing is known");
    chances[2].seen.ttft_ms = Some(250);
    assert_eq!(ordered(&fastest, 1, "", &chances), [1, 2, 0]);
    (chances[0].cost, chances[1].cost) = (Some(7), Some(9));
    assert_eq!(ordered(&route(Strategy::LeastCost, &[1, 1, 1]), 1, "", &chances), [0, 1, 2], "no price comes last");
    (chances[0].seen.open, chances[1].seen.open, chances[2].seen.open) = (3, 2, 2);
    assert_eq!(ordered(&route(Strategy::LeastBusy, &[2, 1, 0]), 1, "", &chances), [0, 1, 2]);
    let firsts = firsts(&route(Strategy::LeastBusy, &[1, 1]), |_| String::new(), &serves(2));
    assert!(about(firsts[0], 50), "{firsts:?}");
}

#[test]
fn the_same_caller_has_the_same_target_and_moves_only_if_that_is_gone() {
    let users = |number: u64| format!("user-{number}");
    let before = route(Strategy::Sticky(By::User), &[50, 25, 25]);
    let firsts = firsts(&before, users, &serves(3));
    assert!(about(firsts[0], 50) && about(firsts[1], 25) && about(firsts[2], 25), "{firsts:?}");
    let mut without = serves(3);
    without[1].serves = false;
    for number in 0..500 {
        let order = ordered(&before, number, &users(number), &serves(3));
        assert_eq!(order, ordered(&before, number + 1, &users(number), &serves(3)), "whatever the call");
        let rest: Vec<usize> = order.iter().copied().filter(|place| *place != 1).collect();
        assert_eq!(ordered(&before, number, &users(number), &without), rest);
    }
    let stray: Vec<usize> = (0..100).map(|number| ordered(&before, number, "", &serves(3))[0]).collect();
    assert!((0..3).all(|place| stray.contains(&place)), "who cannot be told apart is dealt by lot");
}

#[test]
fn sessions_of_two_tenants_are_not_one() {
    let route = route(Strategy::Sticky(By::Session), &[1, 1, 1, 1]);
    let mut headers = HeaderMap::new();
    headers.insert(SESSION, HeaderValue::from_static("s1"));
    let first = |tenant: &str| {
        let subject = Subject { tenant: tenant.into(), ..Subject::default() };
        order(0, &route, &Asker { call: call(1), subject: &subject, headers: &headers }, &serves(4)).turn(0)
    };
    let tenants: Vec<_> = (0..20).map(|tenant| first(&tenant.to_string())).collect();
    assert!(tenants.iter().any(|place| *place != tenants[0]), "{tenants:?}");
}

#[test]
fn a_target_takes_what_all_of_its_conditions_are_true_of() {
    let subject = Subject { tenant: "acme".into(), tags: vec![("env".into(), "prod-eu".into())], ..Subject::default() };
    let mut headers = HeaderMap::new();
    headers.insert("x-tier", HeaderValue::from_static("gold"));
    let asker = Asker { call: call(1), subject: &subject, headers: &headers };
    let tag = |value: &str| When::Is(Dimension::Tag("env".into()), value.into());
    let tenant = |value: &str| When::Is(Dimension::Tenant, value.into());
    let header = |value: &str| When::Header("x-tier".into(), value.into());
    let left = |percent| When::Left("l".into(), percent);
    for (when, wanted) in [
        (vec![], true),
        (vec![tenant("acme"), tag("prod-*"), header("gold"), left(20)], true),
        (vec![tenant("acme"), tag("prod")], false),
        (vec![tenant("other")], false),
        (vec![header("silver")], false),
        (vec![left(21)], false),
        (vec![When::Left("of others".into(), 100)], true),
        (vec![When::Is(Dimension::User, "*".into())], false),
    ] {
        let target = Target { when: when.clone(), ..Target::new("a".into(), None) };
        let known = |limit: &str| (limit == "l").then_some(20);
        assert_eq!(takes(&target, &asker, known), wanted, "{when:?}");
    }
}

#[test]
fn turns_come_round() {
    let order = order(3, &route(Strategy::Priority, &[1, 1]), &asker_of_nobody(&Subject::default()), &serves(2));
    assert_eq!((order.route, order.len()), (3, 2));
    assert_eq!([0, 1, 2, 3].map(|turn| order.turn(turn)), [Some(0), Some(1), Some(0), Some(1)]);
    assert_eq!(Order::one(4).turn(7), Some(0));
    assert!((1..50).all(|attempt| drawn(call(1), attempt, 7) < 7) && drawn(call(1), 1, 0) == 0);
}

fn asker_of_nobody(subject: &Subject) -> Asker<'_> {
    static NONE: std::sync::LazyLock<HeaderMap> = std::sync::LazyLock::new(HeaderMap::new);
    Asker { call: call(1), subject, headers: &NONE }
}
