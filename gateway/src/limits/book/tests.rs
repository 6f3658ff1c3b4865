//! What a call falls under is found once, and not remembered longer than it is right.

use std::{sync::Arc, time::Instant};

use journal::Draft;
use schemas::{
    bound::{AtMost, Bound, OutputCap},
    config::MeteringConfig,
    decision::{Instance, WindowState},
    event::Hold,
    fixture,
    id::{CallId, InstanceId, Lane, ProducerId, Seq},
    limit::{Dimension, Limit, Match, Mode, Schedule, Window},
    money::Pico,
    time::Time,
};

use super::Tried;
use crate::limits::{Ask, Limits, Outlet};

const DAY: i64 = 86_400_000_000;

struct Nowhere;

impl Outlet for Nowhere {
    fn append(&self, _: &[Draft<'_>]) -> Result<(), journal::Error> {
        Ok(())
    }

    fn confirm(&self, _: ProducerId, _: Lane, _: Seq) {}
}

fn time(micros: i64) -> Time {
    Time::from_micros(10 * DAY + micros)
}

/// A limit that needs no lease, with a counter for each value of a dimension.
fn each(dimension: Dimension, window: Window) -> Limit {
    let scope = vec![(Dimension::Tenant, Match::Is("acme".into())), (dimension.clone(), Match::Each)];
    Limit { name: dimension.name(), scope, mode: Mode::Soft, ..fixture::limit(1_000, window) }
}

fn whole(window: Window) -> Limit {
    Limit { mode: Mode::Soft, ..fixture::limit(1_000, window) }
}

fn under(limits: &[Limit]) -> Arc<Limits> {
    let gateway = Limits::over(ProducerId::from_bytes([1; 16]), Arc::new(Nowhere), 1);
    rule(&gateway, limits);
    gateway
}

fn rule(gateway: &Limits, limits: &[Limit]) {
    let mut book = gateway.lock();
    book.rule(limits, &MeteringConfig::default());
    for limit in limits {
        let boundaries = (0..5).map(|day| time(day * DAY)).collect();
        book.schedule(Schedule { limit: limit.id(), boundaries });
    }
}

/// What is held for a call, by limit in their order.
fn hold(gateway: &Limits, now: Time, team: &str, user: &str) -> Vec<Hold> {
    match tried(gateway, now, team, user) {
        Tried::Held(permit) => permit.holds,
        tried => panic!("{tried:?}"),
    }
}

fn tried(gateway: &Limits, now: Time, team: &str, user: &str) -> Tried {
    let mut attempt = fixture::attempt(CallId::from_bytes([1; 16]), now);
    let subject = Arc::make_mut(&mut attempt.subject);
    (subject.team, subject.user) = (team.into(), user.into());
    let most = AtMost {
        input: 1,
        output: 0,
        requests: 1,
        tool_calls: 0,
        cost: Ok(Pico(0)),
        output_price: Pico(0),
        output_cap: OutputCap::NoOutput,
    };
    let ask = Ask { attempt: &attempt, bound: &Bound::AtMost(most), slice: None, now };
    gateway.try_admit(&ask, Instant::now()).0
}

fn windows(holds: &[Hold]) -> Vec<Time> {
    holds.iter().map(|hold| hold.window).collect()
}

#[test]
fn a_window_that_another_call_has_led_on_is_not_gone_back_into() {
    for window in [Window::Day, Window::Hour] {
        let gateway = under(&[whole(window), each(Dimension::User, window)]);
        assert_eq!(windows(&hold(&gateway, time(1), "", "alice")), [time(0), time(0)]);
        assert_eq!(windows(&hold(&gateway, time(DAY), "", "bob")), [time(DAY), time(DAY)]);
        let back = hold(&gateway, time(DAY - 1), "", "alice");
        assert_eq!(windows(&back), [time(DAY); 2], "one instant for all, though the clock went back, of {window:?}");
    }
}

#[test]
fn a_policy_holds_for_calls_that_were_made_before() {
    let (tenant, user) = (whole(Window::Day), each(Dimension::User, Window::Day));
    let gateway = under(std::slice::from_ref(&tenant));
    assert_eq!(hold(&gateway, time(1), "", "alice").len(), 1);
    rule(&gateway, &[tenant.clone(), user.clone()]);
    assert_eq!(hold(&gateway, time(1), "", "alice").len(), 2);
    let reached = Limit { amount: 0, ..user.clone() };
    rule(&gateway, &[tenant, reached]);
    assert!(matches!(tried(&gateway, time(1), "", "alice"), Tried::Refused(_)), "the amount changed in place");
    rule(&gateway, &[user]);
    assert_eq!(hold(&gateway, time(1), "", "alice").len(), 1);
}

#[test]
fn a_slot_that_is_made_where_a_forgotten_one_was_is_of_its_own_instance() {
    let (tenant, user) = (whole(Window::Day), each(Dimension::User, Window::Day));
    let gateway = under(&[tenant.clone(), user.clone()]);
    let of = |day: i64, name: &str| {
        let start = Some(time(day * DAY));
        [InstanceId::of::<&str>(tenant.id(), &[], start), InstanceId::of(user.id(), &[name], start)]
    };
    for (day, names) in [(0, ["alice", "bob"]), (2, ["bob", "alice"])] {
        for name in names {
            for _ in 0..2 {
                let holds = hold(&gateway, time(day * DAY), "", name);
                assert_eq!(holds.iter().map(|hold| hold.instance).collect::<Vec<_>>(), of(day, name));
                gateway.give_back(crate::limits::Permit { holds, ..Default::default() });
            }
        }
        drop(gateway.report(Lane(0), time(day * DAY)));
        gateway.lock().sweep(time((day + 1) * DAY));
        assert!(gateway.lock().slot(of(day, "bob")[1]).is_none(), "it is forgotten");
    }
}

#[test]
fn values_that_read_alike_one_after_the_other_have_counters_of_their_own() {
    let gateway = under(&[each(Dimension::Team, Window::Day), each(Dimension::User, Window::Day)]);
    let of = |team, user| hold(&gateway, time(1), team, user).iter().map(|hold| hold.instance).collect::<Vec<_>>();
    let (one, other) = (of("ab", "c"), of("a", "bc"));
    assert_eq!((one.len(), other.len()), (2, 2));
    assert!(one.iter().all(|instance| !other.contains(instance)));
    assert_eq!(of("", "c"), one[1..], "a limit on what a call has no value of does not match it");
}

/// The values of a counter of acme's, where it can be told from here.
fn named(gateway: &Limits, id: InstanceId) -> Option<Vec<String>> {
    gateway.lock().named("acme", id).map(|named| named.values)
}

#[test]
fn a_counter_is_known_whether_its_limit_is_in_force_or_not() {
    let (tenant, user) = (whole(Window::Day), each(Dimension::User, Window::Day));
    let values = vec!["alice".to_owned()];
    let id = InstanceId::of(user.id(), &values, Some(time(0)));
    let windows = vec![WindowState::new(time(0), time(DAY))];
    let (limit, holders) = (user.id(), Vec::new());
    let view = Arc::new(Instance { id, limit, values: values.clone(), amount: 1, windows, holders, recall: 0 });
    let gateway = under(&[tenant.clone(), user.clone()]);
    assert_eq!(named(&gateway, id), None, "metering has none");
    gateway.lock().view(id, Some(Arc::clone(&view)));
    for limits in [vec![tenant.clone()], Vec::new(), vec![user.clone(), tenant.clone()], vec![tenant.clone()]] {
        rule(&gateway, &limits);
        assert_eq!(named(&gateway, id), Some(values.clone()));
        assert_eq!(gateway.lock().named_of_past(id).is_some(), !limits.contains(&user));
    }
    gateway.lock().view(id, None);
    rule(&gateway, &[]);
    gateway.lock().view(id, Some(Arc::clone(&view)));
    assert_eq!(named(&gateway, id), Some(values.clone()), "its first word may come long after its limit went");
    // A gateway that starts reads policies that are never in force there.
    let later = under(&[]);
    later.lock().view(id, Some(view));
    assert!(later.lock().is_nameless("acme", id), "no policy that was read has it");
    later.lock().skip(std::iter::once(user));
    rule(&later, &[tenant]);
    assert_eq!(named(&later, id), Some(values));
}
