//! Which past attempts other limits would have refused.
//!
//! The ledger's attempts are gone through in the order of their admission, over limits that are empty at first, and each is judged by
//! what it used in the end: a gateway has to hold the most that a call can use, so it may have refused a little earlier. All corrections
//! count as if they had been known. What is refused uses nothing of any limit. What passed elsewhere and was only told of uses, and is
//! not judged. Windows are those of metering's own calendar.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap, HashSet},
    sync::Arc,
};

use schemas::{
    event::{Outcome, Settled},
    id::{CallId, LimitId},
    ledger::{Charge, Entry, Fact},
    limit::{Limit, Mode, Schedule, Target, Unit},
    money::Pico,
    price,
    subject::Subject,
    time::Time,
    tokens::Vector,
};

use crate::window;

/// The most attempts that are gone through: some 250 bytes each are 1 GB.
pub const MOST: usize = 4_000_000;

/// What one limit would have done to one tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Attempts that fall under it.
    pub attempts: u64,
    /// Of those, refused by it.
    pub refused: u64,
    /// What they used.
    pub tokens: u128,
    /// What they cost, as far as that is known.
    pub cost: Pico,
    /// Attempts whose use is not known in its unit, so that nobody can say.
    pub unknown: u64,
    /// The first that was refused.
    pub first: Option<(Time, CallId)>,
}

/// Attempts of a time, under other limits.
#[derive(Debug)]
pub struct Backtest {
    limits: Vec<Limit>,
    from: Time,
    to: Time,
    past: Vec<Past>,
    corrected: HashMap<(CallId, u16), (Option<Vector>, Option<Pico>)>,
    subjects: HashSet<Arc<Subject>>,
}

/// An attempt that was made.
#[derive(Debug)]
struct Past {
    at: Time,
    ended: Time,
    call: CallId,
    attempt: u16,
    subject: Arc<Subject>,
    provider: String,
    model: String,
    used: Option<Vector>,
    cost: Option<Pico>,
    elsewhere: bool,
    apart: bool,
}

/// What would have happened.
#[derive(Debug, Default)]
pub struct Findings {
    /// By limit and tenant.
    pub verdicts: BTreeMap<(String, String), Verdict>,
    /// What was refused, in order, and by which limits.
    pub refused: Vec<(Time, CallId, u16, Vec<String>)>,
}

/// Where the counters stand: by the place of the limit and the values of its `*`.
type Counters = HashMap<(usize, Vec<String>), Counter>;

/// The counters that client tags have made of a limit of which there may only be so many: by its place, its window and the counter that
/// all others share.
type Seats = HashMap<(usize, Time, Vec<String>), HashSet<Vec<String>>>;

/// The values of the counter that an attempt falls under: its own, or the shared one where there are as many as there may be.
fn seated((place, limit): (usize, &Limit), values: Vec<String>, start: Time, seats: &mut Seats) -> Vec<String> {
    let Some(most) = limit.max_instances else { return values };
    let shared = limit.shared(&values);
    // Where leases stand a counter is one for all windows.
    let start = if limit.window.stands() { Time::ZERO } else { start };
    let made = seats.entry((place, start, shared.clone())).or_default();
    if values == shared || made.contains(&values) {
        return values;
    }
    if made.len() >= usize::try_from(most).unwrap_or(usize::MAX) {
        return shared;
    }
    made.insert(values.clone());
    values
}

/// What is used of a counter in the window that begins so, and when what is open of it ends.
#[derive(Debug)]
struct Counter {
    start: Time,
    used: i128,
    open: BinaryHeap<Reverse<Time>>,
}

impl Counter {
    const fn new(start: Time) -> Self {
        Self { start, used: 0, open: BinaryHeap::new() }
    }

    /// Goes on to an instant: another window, or the ends of what was open.
    fn advance(&mut self, start: Time, at: Time) {
        if self.start != start {
            *self = Self::new(start);
        }
        while self.open.peek().is_some_and(|Reverse(end)| *end <= at) {
            self.open.pop();
            self.used -= 1;
        }
    }
}

impl Backtest {
    /// Judges what was admitted at `from` or later and before `to`.
    pub fn new(limits: Vec<Limit>, from: Time, to: Time) -> Self {
        Self { limits, from, to, past: Vec::new(), corrected: HashMap::new(), subjects: HashSet::new() }
    }

    /// Takes the next entry of the ledger; false if there are too many.
    pub fn take(&mut self, entry: Entry) -> bool {
        match entry.fact {
            // What a gateway answered from its cache falls under no limit.
            Fact::Charged(charged) if charged.settled.avoided.is_some() => {}
            Fact::Charged(charged) if self.is_meant(&charged.settled) => {
                let (used, cost) = sums(&charged.settled, &charged.charges);
                let ended = charged.settled.settled_at;
                // A call that another proxy made and asked for ends here like any other, with whatever it says of itself.
                let ends = charged.settled.call.is_some();
                let elsewhere = charged.settled.outcome == Outcome::Complete && charged.settled.status == 0 && !ends;
                let apart = charged.settled.apart;
                let attempt = charged.settled.attempt;
                let known = self.subjects.get(&attempt.subject).cloned();
                let subject = known.unwrap_or_else(|| {
                    self.subjects.insert(Arc::clone(&attempt.subject));
                    attempt.subject
                });
                self.past.push(Past {
                    at: attempt.admitted_at,
                    ended,
                    call: attempt.call,
                    attempt: attempt.attempt,
                    subject,
                    provider: attempt.provider,
                    model: attempt.model,
                    used,
                    cost,
                    elsewhere,
                    apart,
                });
            }
            Fact::Corrected(corrected) if self.is_meant(&corrected.charged.settled) => {
                let attempt = &corrected.charged.settled.attempt;
                let sums = sums(&corrected.charged.settled, &corrected.charged.charges);
                self.corrected.insert((attempt.call, attempt.attempt), sums);
            }
            _ => {}
        }
        self.past.len() <= MOST
    }

    fn is_meant(&self, settled: &Settled) -> bool {
        (self.from..self.to).contains(&settled.attempt.admitted_at)
    }

    /// Goes through them.
    pub fn judge(mut self) -> Findings {
        for past in &mut self.past {
            if let Some((used, cost)) = self.corrected.get(&(past.call, past.attempt)) {
                (past.used, past.cost) = (*used, *cost);
            }
        }
        self.past.sort_by_key(|past| (past.at, past.call, past.attempt));
        let (mut findings, mut counters) = (Findings::default(), Counters::new());
        let (mut calendars, mut seats) = (HashMap::new(), Seats::new());
        for past in &self.past {
            judge(&self.limits, past, &mut findings, &mut counters, (&mut calendars, &mut seats));
        }
        findings
    }
}

/// What an attempt used and cost; nothing where that is not known.
fn sums(settled: &Settled, charges: &[Charge]) -> (Option<Vector>, Option<Pico>) {
    let used = settled.usage.total();
    (used, used.and_then(|_| price::cost(charges).ok()))
}

fn judge(
    limits: &[Limit],
    past: &Past,
    findings: &mut Findings,
    counters: &mut Counters,
    (calendars, seats): (&mut HashMap<LimitId, Schedule>, &mut Seats),
) {
    let target = Target { subject: &past.subject, provider: &past.provider, model: &past.model };
    let (mut uses, mut refusing) = (Vec::new(), Vec::new());
    for (place, limit) in limits.iter().enumerate() {
        let Some(values) = limit.values_for(target) else { continue };
        let Some(start) = start(limit, past.at, calendars) else { continue };
        let values = values.into_iter().map(str::to_owned).collect();
        let key = (place, seated((place, limit), values, start, seats));
        let counter = counters.entry(key.clone()).or_insert_with(|| Counter::new(start));
        counter.advance(start, past.at);
        let amount = match limit.unit {
            // One is open from its admission to its end; what passed elsewhere was never open here.
            Unit::Concurrent => Some(i128::from(!past.elsewhere)),
            // Whatever nobody knows of it, it was one; unless another was, of whose use it is.
            Unit::Requests => Some(i128::from(!past.apart)),
            unit => past.used.and_then(|used| unit.amount(&used, past.cost)),
        };
        let verdict = findings.verdicts.entry((limit.name.clone(), past.subject.tenant.clone())).or_default();
        let judged = !past.elsewhere;
        verdict.attempts += u64::from(judged);
        verdict.unknown += u64::from(amount.is_none());
        let over = match limit.mode {
            // What used nothing of it needed none, also where more was told of than it has.
            _ if amount == Some(0) => false,
            Mode::Hard => counter.used + amount.unwrap_or(0) > limit.amount,
            Mode::Soft | Mode::Observe => counter.used >= limit.amount,
        };
        if judged && over {
            verdict.refused += 1;
            verdict.tokens += past.used.map_or(0, |used| u128::from(used.total()));
            verdict.cost += past.cost.unwrap_or_default();
            verdict.first.get_or_insert((past.at, past.call));
            if limit.mode != Mode::Observe {
                refusing.push(limit.name.clone());
            }
        }
        uses.push((key, limit.unit, amount.unwrap_or(0)));
    }
    if !refusing.is_empty() {
        return findings.refused.push((past.at, past.call, past.attempt, refusing));
    }
    for (key, unit, amount) in uses {
        let Some(counter) = counters.get_mut(&key) else { continue };
        counter.used += amount;
        if unit == Unit::Concurrent && amount > 0 {
            counter.open.push(Reverse(past.ended));
        }
    }
}

/// The start of the window of a limit that an instant is in.
fn start(limit: &Limit, at: Time, calendars: &mut HashMap<LimitId, Schedule>) -> Option<Time> {
    let id = limit.id();
    if let Some((start, _)) = calendars.get(&id).and_then(|schedule| schedule.window(at)) {
        return Some(start);
    }
    let schedule = window::schedule(limit, at, std::time::Duration::ZERO)?;
    let (start, _) = schedule.window(at)?;
    calendars.insert(id, schedule);
    Some(start)
}

#[cfg(test)]
mod tests {
    use schemas::{
        event::{Attempt, Avoided, Was, Why},
        fixture,
        id::BookHash,
        ledger::{Charged, Corrected, Rated},
        limit::{Dimension, Match, Window},
        tokens::{Doubt, TokenClass, Usage},
    };

    use super::*;

    const DAY: i64 = 86_400_000_000;

    fn limit(unit: Unit, amount: i128, window: Window, mode: Mode) -> Limit {
        Limit { scope: vec![(Dimension::Tenant, Match::Each)], unit, mode, ..fixture::limit(amount, window) }
    }

    fn charged(number: u8, tenant: &str, at: i64, tokens: u64) -> Charged {
        let vector = Vector { output: tokens, ..Vector::default() };
        let price = Rated::Priced {
            unit_price: Pico(2),
            cost: Pico(2 * i128::from(tokens)),
            price_id: "p".into(),
            source: "s".into(),
        };
        let at = Time::from_micros(20_000 * DAY + at);
        let subject = Arc::new(Subject { tenant: tenant.into(), ..Subject::default() });
        let settled = Settled {
            attempt: Attempt { subject, ..fixture::attempt(CallId::from_bytes([number; 16]), at) },
            settled_at: Time::from_micros(at.as_micros() + 10),
            outcome: Outcome::Complete,
            status: 200,
            usage: Usage::exact(vector),
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
            avoided: None,
            found: None,
            apart: false,
        };
        Charged { settled, charges: vec![Charge { model: None, class: TokenClass::Output, quantity: tokens, price }] }
    }

    /// Goes through attempts (number, tenant, time, tokens), in any order; gives the numbers of those refused.
    fn check(limit: Limit, attempts: &[(u8, &str, i64, u64)], refused: &[u8]) -> Findings {
        let mut backtest = Backtest::new(vec![limit], Time::ZERO, Time::MAX);
        for (number, tenant, at, tokens) in attempts {
            let fact = Fact::Charged(Box::new(charged(*number, tenant, *at, *tokens)));
            assert!(backtest.take(Entry { recorded_at: Time::ZERO, fact }));
        }
        let findings = backtest.judge();
        let found: Vec<u8> = findings.refused.iter().map(|(_, call, ..)| call.as_bytes()[0]).collect();
        assert_eq!(found, refused, "{attempts:?}");
        findings
    }

    #[test]
    fn calls_are_judged_in_the_order_of_their_admission_window_by_window() {
        let day = |mode| limit(Unit::Tokens, 10, Window::Day, mode);
        let three = [(3, "a", 30, 5), (1, "a", 10, 4), (2, "a", 20, 6)];
        let findings = check(day(Mode::Hard), &three, &[3]);
        let verdict = &findings.verdicts[&("l".to_owned(), "a".to_owned())];
        assert_eq!((verdict.attempts, verdict.refused, verdict.tokens, verdict.cost), (3, 1, 5, Pico(10)));
        assert_eq!(verdict.first.map(|(_, call)| call), Some(CallId::from_bytes([3; 16])));
        // What is refused uses nothing, so that a smaller one passes.
        check(day(Mode::Hard), &[(1, "a", 1, 8), (2, "a", 2, 5), (3, "a", 3, 2)], &[2]);
        check(day(Mode::Hard), &[(1, "a", 1, 10), (2, "a", DAY, 10), (3, "b", 2, 10)], &[]);
        // A soft limit refuses once it is reached, and an observed one never.
        check(day(Mode::Soft), &[(1, "a", 1, 9), (2, "a", 2, 9), (3, "a", 3, 1)], &[3]);
        let seen = check(day(Mode::Observe), &[(1, "a", 1, 10), (2, "a", 2, 1)], &[]);
        assert_eq!(seen.verdicts[&("l".to_owned(), "a".to_owned())].refused, 1);
        check(limit(Unit::Usd, 20, Window::Total, Mode::Hard), &[(1, "a", 1, 10), (2, "a", 2 * DAY, 1)], &[2]);
    }

    #[test]
    fn counters_that_client_tags_make_are_as_many_as_there_may_be() {
        let tags = |at: i64, feature: &str| {
            let mut charged = charged(u8::try_from(at % DAY).unwrap(), "a", at, 1);
            Arc::make_mut(&mut charged.settled.attempt.subject).tags = vec![("feature".into(), feature.into())];
            Entry { recorded_at: Time::ZERO, fact: Fact::Charged(Box::new(charged)) }
        };
        let limit = Limit {
            scope: vec![(Dimension::Tag("feature".into()), Match::Each)],
            unit: Unit::Requests,
            max_instances: Some(2),
            ..fixture::limit(3, Window::Day)
        };
        let hours = Limit { window: Window::Hour, ..limit.clone() };
        let mut backtest = Backtest::new(vec![limit], Time::ZERO, Time::MAX);
        for (at, feature) in (1..).zip(["a", "b", "c", "d", "e", "a", "b", "c", "d", "e"]) {
            assert!(backtest.take(tags(at, feature)));
        }
        // The next day others are first.
        for (at, feature) in (DAY + 11..).zip(["c", "d", "c", "d", "c", "d"]) {
            assert!(backtest.take(tags(at, feature)));
        }
        let refused: Vec<u8> = backtest.judge().refused.iter().map(|(_, call, ..)| call.as_bytes()[0]).collect();
        assert_eq!(refused, [8, 9, 10], "three of six that share one counter");
        let mut backtest = Backtest::new(vec![hours], Time::ZERO, Time::MAX);
        for (at, feature) in (1..).zip(["a", "b"]) {
            assert!(backtest.take(tags(at, feature)));
        }
        for (at, feature) in (DAY + 11..).zip(["c", "other", "d", "c", "a"]) {
            assert!(backtest.take(tags(at, feature)));
        }
        let refused: Vec<u8> = backtest.judge().refused.iter().map(|(_, call, ..)| call.as_bytes()[0]).collect();
        assert_eq!(refused, [14], "who was first in one hour keeps its counter in the next");
    }

    /// Its proxy does not say with what status it ended.
    #[test]
    fn what_another_proxy_asked_for_is_judged_and_what_was_told_is_not() {
        let day = limit(Unit::Tokens, 10, Window::Day, Mode::Hard);
        let mut backtest = Backtest::new(vec![day], Time::ZERO, Time::MAX);
        for (number, ends) in [(1, false), (2, true), (3, true)] {
            let mut charged = charged(number, "a", i64::from(number), 6);
            charged.settled.status = 0;
            charged.settled.call = ends.then(|| schemas::event::CallEnd::begun(Time::ZERO, 0, String::new()));
            assert!(backtest.take(Entry { recorded_at: Time::ZERO, fact: Fact::Charged(Box::new(charged)) }));
        }
        let findings = backtest.judge();
        let verdict = &findings.verdicts[&("l".to_owned(), "a".to_owned())];
        assert_eq!((verdict.attempts, verdict.refused), (2, 2));
    }

    #[test]
    fn what_used_nothing_of_a_limit_is_not_refused_by_it() {
        let day = limit(Unit::OutputTokens, 10, Window::Day, Mode::Hard);
        let mut backtest = Backtest::new(vec![day], Time::ZERO, Time::MAX);
        for (number, output) in [(1, 11), (2, 0), (3, 1), (4, 0)] {
            let mut charged = charged(number, "a", i64::from(number), output);
            if number == 1 {
                // It passed elsewhere, and overdraws what is judged here.
                charged.settled.status = 0;
            }
            if number == 4 {
                // Nobody knows what it used.
                (charged.settled.usage, charged.charges) = (Usage::missing(Doubt::Crashed), Vec::new());
            }
            assert!(backtest.take(Entry { recorded_at: Time::ZERO, fact: Fact::Charged(Box::new(charged)) }));
        }
        let refused: Vec<u8> = backtest.judge().refused.iter().map(|(_, call, ..)| call.as_bytes()[0]).collect();
        assert_eq!(refused, [3, 4]);
    }

    #[test]
    fn what_is_open_at_a_time_is_judged_by_who_was_open_then() {
        let open = |amount| limit(Unit::Concurrent, amount, Window::Total, Mode::Hard);
        // Each takes ten: the second comes while the first is open, the third when that ends; the fourth is another's.
        let four = [(1, "a", 10, 1), (2, "a", 15, 1), (3, "a", 20, 1), (4, "b", 21, 1)];
        check(open(1), &four, &[2]);
        check(open(2), &four, &[]);
        check(open(2), &[(1, "a", 10, 1), (2, "a", 11, 1), (3, "a", 12, 1), (4, "a", 20, 1), (5, "a", 20, 1)], &[3, 5]);
    }

    #[test]
    fn what_was_answered_from_the_cache_falls_under_no_limit_and_what_is_told_of_another_is_no_request() {
        let requests = limit(Unit::Requests, 1, Window::Day, Mode::Hard);
        let mut backtest = Backtest::new(vec![requests], Time::ZERO, Time::MAX);
        let mut hit = charged(1, "a", 1, 0);
        (hit.settled.usage, hit.settled.avoided) = (Usage::none(), Some(Avoided { parts: Vec::new(), cost: None }));
        let mut told = charged(4, "a", 1, 1);
        (told.settled.apart, told.settled.status) = (true, 0);
        for charged in [hit, told, charged(2, "a", 2, 1), charged(3, "a", 3, 1)] {
            let fact = Fact::Charged(Box::new(charged));
            assert!(backtest.take(Entry { recorded_at: Time::ZERO, fact }));
        }
        let findings = backtest.judge();
        assert_eq!(findings.refused.iter().map(|(_, call, ..)| call.as_bytes()[0]).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn what_nobody_knows_anything_of_is_a_request_and_no_more() {
        let check = |unit: Unit, refused: &[u8], unknown: u64| {
            let mut backtest = Backtest::new(vec![limit(unit, 2, Window::Day, Mode::Hard)], Time::ZERO, Time::MAX);
            for (number, outcome) in [(1, Outcome::Unknown), (2, Outcome::Timeout), (3, Outcome::Unknown)] {
                let mut lost = charged(number, "a", i64::from(number), 0);
                (lost.settled.outcome, lost.settled.status) = (outcome, 0);
                (lost.settled.usage, lost.charges) = (Usage::missing(Doubt::Crashed), Vec::new());
                assert!(backtest.take(Entry { recorded_at: Time::ZERO, fact: Fact::Charged(Box::new(lost)) }));
            }
            let findings = backtest.judge();
            let found: Vec<u8> = findings.refused.iter().map(|(_, call, ..)| call.as_bytes()[0]).collect();
            let verdict = &findings.verdicts[&("l".to_owned(), "a".to_owned())];
            assert_eq!((&found[..], verdict.attempts, verdict.unknown), (refused, 3, unknown), "{unit:?}");
        };
        check(Unit::Requests, &[3], 0);
        check(Unit::Tokens, &[], 3);
        check(Unit::Usd, &[], 3);
    }

    #[test]
    fn corrections_count_and_what_passed_elsewhere_is_not_judged() {
        let mut backtest = Backtest::new(vec![limit(Unit::Tokens, 10, Window::Day, Mode::Hard)], Time::ZERO, Time::MAX);
        let mut elsewhere = charged(1, "a", 1, 8);
        elsewhere.settled.status = 0;
        let late = charged(2, "a", 2, 1);
        let was = Was {
            why: Why::Amended,
            usage: late.settled.usage.clone(),
            book: BookHash::NONE,
            number: 0,
            charged_at: Time::ZERO,
        };
        let (source, id, reversed) = ("s".to_owned(), "1".to_owned(), Vec::new());
        let corrected = Corrected { source, id, was, reversed, charged: charged(2, "a", 2, 3) };
        for fact in
            [Fact::Charged(Box::new(elsewhere)), Fact::Charged(Box::new(late)), Fact::Corrected(Box::new(corrected))]
        {
            assert!(backtest.take(Entry { recorded_at: Time::ZERO, fact }));
        }
        let findings = backtest.judge();
        assert_eq!(findings.refused.iter().map(|(_, call, ..)| call.as_bytes()[0]).collect::<Vec<_>>(), [2]);
    }
}
