//! Limits that were passed, by the amounts that were in force then, and when they were.

use schemas::{
    decision::WindowState,
    id::{InstanceId, Offset},
    ledger::{Entry, Fact, LimitsInForce, Overrun},
    limit::Limit,
    money::PICO_PER_USD,
    time::{self, Time},
};
use serde_json::json;

use super::{
    month::{Call, at},
    *,
};

fn limit(tenant: &str, usd: i128) -> Limit {
    Limit { amount: usd * PICO_PER_USD, ..world::limit(tenant) }
}

fn in_force(policy: u64, recorded_at: Time, limits: &[Limit]) -> Entry {
    let limits = LimitsInForce { policy: Offset(policy), limits: limits.to_vec() };
    Entry { recorded_at, fact: Fact::Limits(limits) }
}

/// What is used of the month of a tenant, in thousandths of a dollar.
fn used(limit: &Limit, start: Time, recorded_at: Time, thousandths: i128) -> Entry {
    world::counter(limit, start, recorded_at, [thousandths * PICO_PER_USD / 1_000; 3])
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_goes_by_the_amounts_that_were_in_force() {
    // A million tokens of input are a quarter of a dollar.
    let call = |number, day, tenant, millions: u64| {
        Call::new(number, at(day, 1), tenant, "gpt-5-mini", [millions * 1_000_000, 0, 0])
    };
    let told = |call: Call| Call { ends: false, ttft_ms: None, ..call }.entry();
    let entries = [
        in_force(1, at(1, 0), &[limit("acme", 1), limit("globex", 100)]),
        told(call(1, 2, "acme", 18)),
        call(2, 2, "globex", 200).entry(),
        in_force(2, at(8, 0), &[limit("acme", 20), limit("globex", 10)]),
        told(call(3, 9, "acme", 8)),
        used(&limit("acme", 20), at(1, 0), at(10, 0), 6_500),
        used(&limit("globex", 10), at(1, 0), at(10, 0), 50_000),
    ];
    let world = World::new(&entries, 3).await;
    let columns = ["limit_name", "amount", "settled", "over", "oldest_balance_ms", "why"];
    let audit = rows(&world, "overspend", &november(), &[], &columns).await;
    assert_eq!(
        audit,
        json!([
            "acme-month 1 4.5 3.5 null use that was told afterwards; the amount was changed later",
            "globex-month 10 50 40 7 the amount was lowered"
        ])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_amount_that_was_raised_before_anything_was_used_was_not_passed() {
    let entries = [
        in_force(1, at(1, 0), &[limit("acme", 1)]),
        in_force(2, at(1, 1), &[limit("acme", 100)]),
        Call::new(1, at(2, 1), "acme", "gpt-5-mini", [20_000_000, 0, 0]).entry(),
        used(&limit("acme", 100), at(1, 0), at(10, 0), 5_000),
    ];
    let world = World::new(&entries, 2).await;
    assert_eq!(rows(&world, "overspend", &november(), &[], &["limit_name", "amount", "why"]).await, json!([]));
}

/// A limit counts what was used while it was in force, so nothing else let it pass: neither what was told before nor, of a limit that
/// went away and came back, what was told meanwhile; but for one with `backfill`.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_before_a_limit_was_in_force_let_it_pass_by_nothing() {
    let call =
        |number, day, millions: u64| Call::new(number, at(day, 1), "acme", "gpt-5-mini", [millions * 1_000_000, 0, 0]);
    let told = |number, day, millions| Call { ends: false, ttft_ms: None, ..call(number, day, millions) }.entry();
    let (four, none) = (limit("acme", 4), limit("globex", 100));
    let filled = Limit { backfill: true, ..four.clone() };
    let is = |policy, day, limit: &Limit| in_force(policy, at(day, 0), std::slice::from_ref(limit));
    let settled = |amount, thousandths| used(&limit("acme", amount), at(1, 0), at(10, 2), thousandths);
    let of_old = Entry { recorded_at: at(9, 0), ..told(1, 2, 20) };
    let cases = [
        (
            vec![told(1, 2, 4), call(2, 3, 4).entry(), is(1, 8, &four), call(3, 9, 20).entry(), settled(4, 5_000)],
            "4 5 1 7 a bill beyond its bound",
        ),
        (
            vec![call(1, 2, 4).entry(), is(1, 8, &four), told(2, 9, 20), settled(4, 5_000)],
            "4 5 1 null use that was told afterwards",
        ),
        // Of whenever it is, what is told counts where it falls.
        (vec![is(1, 8, &four), of_old, settled(4, 5_000)], "4 5 1 null use that was told afterwards"),
        (
            vec![
                is(1, 1, &four),
                is(2, 3, &none),
                told(1, 4, 4),
                is(3, 6, &four),
                call(2, 9, 20).entry(),
                settled(4, 5_000),
            ],
            "4 5 1 7 a bill beyond its bound",
        ),
        (
            vec![told(1, 2, 20), call(2, 3, 4).entry(), is(1, 8, &filled), settled(4, 6_000)],
            "4 6 2 7 use that was told afterwards",
        ),
        (
            vec![
                call(1, 2, 12).entry(),
                is(1, 8, &four),
                call(2, 9, 18).entry(),
                is(2, 10, &limit("acme", 20)),
                call(3, 10, 8).entry(),
                settled(20, 6_500),
            ],
            "4 4.5 0.5 7 a bill beyond its bound; the amount was changed later",
        ),
    ];
    for (entries, wanted) in cases {
        let world = World::new(&entries, 2).await;
        let columns = ["amount", "settled", "over", "oldest_balance_ms", "why"];
        assert_eq!(rows(&world, "overspend", &november(), &[], &columns).await, json!([wanted]));
    }
}

/// Ten days of thirty are over. A limit that came into force later has its pace since then.
#[tokio::test(flavor = "multi_thread")]
async fn a_budget_is_exhausted_when_its_pace_says() {
    let ago = |days: u64| time::now().earlier(std::time::Duration::from_secs(days * 86_400));
    let cases = [
        // 60 of 100 used in ten days: nothing is left after 16 days and two thirds.
        (40, false, 60, 180.0, Some(10.0 * 100.0 / 60.0)),
        // 20 used in two days, and twenty are to come: nothing is left ten days after the eighth.
        (2, false, 20, 220.0, Some(18.0)),
        // The same of ten days.
        (2, true, 20, 60.0, None),
    ];
    for (days, backfill, dollars, projected, exhausted) in cases {
        let limit = Limit { backfill, ..limit("acme", 100) };
        let entries =
            [in_force(1, ago(days), std::slice::from_ref(&limit)), used(&limit, ago(10), time::now(), dollars * 1_000)];
        let world = World::new(&entries, 1).await;
        let sql = "SELECT elapsed_share, projected, CAST(to_unixtime(exhausted_at) - to_unixtime(window_start) AS DOUBLE) / 86400 AS days FROM budgets";
        let row = world.ask(&everyone(), sql).await.unwrap()[0].clone();
        let near =
            |name: &str, wanted: f64| assert!((row[name].as_f64().unwrap() - wanted).abs() < 0.01, "{name}: {row}");
        near("elapsed_share", 1.0 / 3.0);
        near("projected", projected);
        match exhausted {
            Some(wanted) => near("days", wanted),
            None => assert!(row["days"].is_null(), "{row}"),
        }
    }
}

/// So little of it is used that no calendar has a time at which nothing would be left. Whether it ends is said by its window.
#[tokio::test(flavor = "multi_thread")]
async fn a_budget_that_never_ends_may_outlast_the_calendar() {
    let ago = time::now().earlier(std::time::Duration::from_secs(10 * 86_400));
    let limit = limit("acme", 100);
    for (picos, exhausted) in [(50 * PICO_PER_USD, Some(10.0)), (1, None)] {
        let Fact::Balance(mut instance) = world::counter(&limit, ago, time::now(), [picos; 3]).fact else {
            panic!("a balance")
        };
        instance.windows = vec![WindowState::new(Time::ZERO, Time::MAX)];
        for holder in &mut instance.holders {
            holder.used = vec![(Time::ZERO, picos)];
        }
        let balance = Entry { recorded_at: time::now(), fact: Fact::Balance(instance) };
        let world = World::new(&[in_force(1, ago, std::slice::from_ref(&limit)), balance], 1).await;
        let sql = "SELECT projected, CAST(to_unixtime(exhausted_at) - to_unixtime(now()) AS DOUBLE) / 86400 AS days FROM budgets";
        let row = world.ask(&everyone(), sql).await.unwrap()[0].clone();
        let is_near = row["days"].as_f64().zip(exhausted).is_some_and(|(days, wanted)| (days - wanted).abs() < 0.01);
        assert!(row["projected"].is_null() && (is_near || row["days"].is_null() && exhausted.is_none()), "{row}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_that_is_passed_says_when_it_was() {
    let start = time::now().earlier(std::time::Duration::from_secs(10 * 86_400));
    let reached = at(3, 5);
    let passed = limit("acme", 100);
    let overrun = Overrun {
        instance: InstanceId::of::<&str>(passed.id(), &[], Some(start)),
        window: start,
        amount: passed.amount,
        settled: passed.amount + 1,
        limit: Some(passed.id()),
        values: Vec::new(),
        until: start.after(std::time::Duration::from_secs(30 * 86_400)),
        held: 0,
    };
    let entries = [
        Entry { recorded_at: reached, fact: Fact::Overrun(overrun) },
        used(&passed, start, start, 120_000),
        used(&limit("globex", 0), start, start, 0),
    ];
    let world = World::new(&entries, 1).await;
    let columns = ["limit_name", "used_share", "exhausted_at"];
    let budgets = rows(&world, "budgets", &november(), &[], &columns).await;
    assert_eq!(budgets, json!([format!("acme-month 1.2 {reached}"), "globex-month null null"]));
}
