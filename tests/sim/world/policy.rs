//! The policy of a world: who calls, what it costs, and the limits, small enough that calls meet them all the time.
//!
//! The oracle prices by the numbers here, not by the book that is made of them.

use std::time::Duration;

use bytes::Bytes;
use schemas::{
    config::MeteringConfig,
    fixture,
    limit::{Dimension, Limit, Match, Mode, OnExceed, Scope, Unit, Window},
    policy::{Policy, Record, Tenant},
    price::Book,
    wire,
};

pub(crate) const TENANTS: [&str; 3] = ["acme", "globex", "initech"];
pub(crate) const USERS: [&str; 2] = ["alice", "bob"];
pub(crate) const MODELS: [&str; 2] = ["cheap", "dear"];
/// What clients say in a tag; only so many of them have a counter of their own.
pub(crate) const FEATURES: [&str; 4] = ["search", "chat", "batch", "eval"];
pub(crate) const FEATURES_COUNTED: u32 = 2;

/// After what silence a gateway's calls are over: those of this world last for half a minute, and it counts on being heard for a
/// minute.
pub(crate) const ABANDON_AFTER: Duration = Duration::from_secs(90);
/// How long calls last at most.
pub(crate) const LONGEST: Duration = Duration::from_secs(25);

/// Pico-dollars for a token of input; output costs twice that. Books differ in the first.
pub(crate) const fn price(book: usize, model: usize) -> i128 {
    let cheap = if book == 0 { 1_000_000 } else { 7_000_000 };
    if model == 0 { cheap } else { 10_000_000 }
}

pub(crate) fn book(number: usize) -> Book {
    let model = |model: usize| {
        let input = price(number, model) / 1_000_000;
        format!(
            "  - provider: openai\n    names: [{}]\n    context_window: 100000\n    max_output_tokens: 10000\n    source: sim\n    \
             source_date: 2026-10-30\n    prices:\n      - {{ per_million: {{ input: {input}.00, output: {}.00 }} }}\n",
            MODELS[model],
            2 * input
        )
    };
    let text = format!("models:\n{}{}", model(0), model(1));
    Book::of(&[Book::parse(&text, "sim").unwrap()])
}

fn limit(name: &str, scope: Scope, unit: Unit, amount: i128, window: Window, mode: Mode) -> Limit {
    let (name, zone) = (name.to_owned(), if window == Window::Day { "Europe/Berlin" } else { "UTC" }.to_owned());
    Limit { name, scope, unit, zone, mode, ..fixture::limit(amount, window) }
}

/// The limit that is of an hour at first, and of a day after.
pub(crate) const HOUR: &str = "p2-hour";

/// The limit that is soft at first.
pub(crate) const SOFT: &str = "initech-soft";

/// How much of a stream is held at a time.
pub(crate) const SLICE: u64 = 40;

fn sliced(limit: Limit) -> Limit {
    Limit { slices: true, ..limit }
}

/// Calls that it refuses are made with the other model.
fn downgraded(limit: Limit) -> Limit {
    Limit { on_exceed: OnExceed::Downgrade(MODELS[0].to_owned()), ..limit }
}

fn counted(limit: Limit) -> Limit {
    Limit { max_instances: Some(FEATURES_COUNTED), ..limit }
}

/// The limits at first.
pub(crate) fn limits() -> Vec<Limit> {
    use Dimension::{Model, Provider, Tag, Tenant, User};
    let is = |value: &str| Match::Is(value.to_owned());
    vec![
        limit("acme-total", vec![(Tenant, is("acme"))], Unit::Tokens, 20_000, Window::Total, Mode::Hard),
        limit("house-month", Vec::new(), Unit::Usd, 150_000_000_000, Window::Month, Mode::Hard),
        limit("each-minute", vec![(Tenant, Match::Each)], Unit::Requests, 60, Window::Minute, Mode::Hard),
        limit("each-second", vec![(Tenant, Match::Each)], Unit::Requests, 30, Window::Second, Mode::Hard),
        limit(
            "user-day",
            vec![(Tenant, is("globex")), (User, Match::Each)],
            Unit::Tokens,
            9_000,
            Window::Day,
            Mode::Hard,
        ),
        limit(HOUR, vec![(Provider, is("p2"))], Unit::OutputTokens, 8_000, Window::Hour, Mode::Hard),
        limit(SOFT, vec![(Tenant, is("initech"))], Unit::Tokens, 30_000, Window::Month, Mode::Soft),
        limit("acme-at-once", vec![(Tenant, is("acme"))], Unit::Concurrent, 8, Window::Total, Mode::Hard),
        downgraded(limit("dear-at-once", vec![(Model, is("dear"))], Unit::Concurrent, 1, Window::Total, Mode::Hard)),
        sliced(limit("initech-slices", vec![(Tenant, is("initech"))], Unit::Tokens, 9_000, Window::Month, Mode::Hard)),
        counted(limit(
            "feature-day",
            vec![(Tag("feature".into()), Match::Each)],
            Unit::Tokens,
            12_000,
            Window::Day,
            Mode::Hard,
        )),
        limit("dear-seen", vec![(Model, is("dear"))], Unit::Requests, 10, Window::Hour, Mode::Observe),
    ]
}

/// A limit that comes late, and counts what was used of the day before it came.
pub(crate) fn late() -> Limit {
    let scope = vec![(Dimension::Tenant, Match::Is(TENANTS[1].to_owned()))];
    let late = limit("globex-late", scope, Unit::Tokens, 40_000, Window::Day, Mode::Hard);
    Limit { zone: "UTC".to_owned(), backfill: true, ..late }
}

/// A limit of a second, of which many calls hold nothing.
#[cfg(any(test, feature = "query"))]
pub(crate) fn of_a_second() -> Limit {
    limit("output-second", Vec::new(), Unit::OutputTokens, 50, Window::Second, Mode::Hard)
}

/// Puts the other limit of its name in the place of one.
pub(crate) fn turn(named: &mut Limit) {
    named.window = if named.window == Window::Hour { Window::Day } else { Window::Hour };
}

/// Every limit that there may ever be, of whatever amount.
#[cfg(feature = "query")]
pub(crate) fn ever() -> Vec<Limit> {
    let first = limits();
    let mut other = first.iter().find(|limit| limit.name == HOUR).cloned().unwrap();
    turn(&mut other);
    first.into_iter().chain([other, late(), of_a_second()]).collect()
}

pub(crate) fn record(limits: &[Limit], book: &Book) -> Bytes {
    let tenants = TENANTS.iter().map(|name| Tenant { name: (*name).to_owned(), keys: Vec::new() });
    let metering = MeteringConfig { abandon_after: ABANDON_AFTER, ..MeteringConfig::default() };
    let policy = Policy { tenants: tenants.collect(), metering, ..fixture::policy(limits.to_vec(), book.hash()) };
    wire::encode_policy(&Record::Policy(Box::new(policy))).into()
}

pub(crate) fn book_record(book: &Book) -> Bytes {
    wire::encode_policy(&Record::Book(Box::new(book.clone()))).into()
}
