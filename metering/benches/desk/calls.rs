//! Calls for benchmarks of metering: what a gateway writes of them, under three limits.

use std::sync::Arc;

use metering::{
    dedup::Origin,
    engine::{Engine, Input},
};
use schemas::{
    decision::State,
    event::{
        Admitted, Attempt, CallEnd, Counter, Event, Hold, LeaseRequested, Opened, Outcome, Posting, Settled, Want,
    },
    fixture,
    id::{CallId, Lane, Offset, ProducerId, Seq},
    limit::{Limit, Mode, Unit, Window},
    policy::Policy,
    price::Book,
    subject::Subject,
    time::Time,
    tokens::{Usage, Vector},
};

const HUGE: i128 = 1_000_000_000_000_000_000;

/// What stands before the first call: limits in force, their counters, and leases on the hard ones.
pub(crate) struct Desk {
    pub(crate) at: Time,
    producer: ProducerId,
    pub(crate) book: Arc<Book>,
    subject: Arc<Subject>,
    gateway: Arc<str>,
    limits: Vec<Limit>,
    holds: Vec<Hold>,
}

impl Desk {
    pub(crate) fn new(at: Time) -> Self {
        let limits = vec![
            limit("month", Unit::Usd, Window::Month, Mode::Hard),
            limit("tokens", Unit::Tokens, Window::Minute, Mode::Soft),
            limit("calls", Unit::Requests, Window::Month, Mode::Hard),
        ];
        let subject = Subject {
            tenant: "acme".into(),
            team: "search".into(),
            project: "bot".into(),
            user: "alice".into(),
            key: "ci".into(),
            tags: vec![("env".into(), "prod".into())],
        };
        let mut desk = Self {
            at,
            producer: ProducerId::from_bytes([7; 16]),
            book: Arc::new(Book::builtin()),
            subject: Arc::new(subject),
            gateway: "gateway-1".into(),
            limits,
            holds: Vec::new(),
        };
        let commit = desk.engine().take().unwrap();
        let opened = |limit: &Limit| {
            commit.decisions.iter().find_map(|(_, state)| match state {
                Some(State::Instance(instance)) if instance.limit == limit.id() => {
                    Some(Hold { instance: instance.id, window: instance.windows[0].start, amount: 1_000_000 })
                }
                _ => None,
            })
        };
        desk.holds = desk.limits.iter().map(|limit| opened(limit).unwrap()).collect();
        desk
    }

    pub(crate) fn policy(&self) -> Policy {
        fixture::policy(self.limits.clone(), self.book.hash())
    }

    /// An engine under the policy.
    fn engine(&self) -> Engine {
        let mut engine = Engine::new(Lane(0), 1, Vec::new());
        engine.apply(Input::Book(Arc::clone(&self.book)), self.at);
        engine.apply(Input::Policy(Arc::new(self.policy()), Offset(1)), self.at);
        engine
    }

    /// An engine that knows the gateway and has given it leases.
    pub(crate) fn leased(&self) -> Engine {
        let mut engine = self.engine();
        let opened = Opened { gateway: self.gateway.to_string(), at: self.at, predecessor: None };
        let asked = self.ask(1, HUGE / 2);
        for (number, event) in [Event::Opened(opened), asked].into_iter().enumerate() {
            engine.apply(Input::Event(self.origin(number), Ok(event)), self.at);
        }
        engine.take().unwrap();
        engine
    }

    /// Asks for a lease of so much of each hard limit.
    pub(crate) fn ask(&self, number: u64, need: i128) -> Event {
        let want = |(limit, hold): (&Limit, &Hold)| {
            let need = if limit.mode == Mode::Hard { need } else { 0 };
            let (limit, counter) = (limit.id(), self.counter(hold, 0));
            Want { limit, values: Vec::new(), window: hold.window, need, want: need, counter }
        };
        let wants = self.limits.iter().zip(&self.holds).map(want).collect();
        Event::LeaseRequested(LeaseRequested { at: self.at, number, wants })
    }

    pub(crate) fn origin(&self, number: usize) -> Origin {
        Origin { producer: self.producer, seq: Seq(number as u64 + 1), hash: number as u64 }
    }

    fn counter(&self, hold: &Hold, calls: u64) -> Counter {
        let used = i128::from(calls) * 1_000;
        Counter { used, held: 64_000, version: calls + 1, ..Counter::unused(hold.instance, hold.window) }
    }

    /// The two events of a call.
    pub(crate) fn call(&self, number: usize) -> [Event; 2] {
        let at = Time::from_micros(self.at.as_micros() + number as i64);
        let attempt = Attempt {
            subject: Arc::clone(&self.subject),
            book: self.book.hash(),
            gateway: Arc::clone(&self.gateway),
            ..fixture::attempt(CallId::fresh(), at)
        };
        let vector =
            Vector { uncached_input: 420, cache_read: 1_024, output: 300, reasoning: 128, ..Vector::default() };
        let posting = |hold: &Hold| Posting { instance: hold.instance, window: hold.window, used: 1_000, provision: 0 };
        let settled = Settled {
            status: 200,
            raw_usage: USAGE.into(),
            model_answered: "gpt-4o-mini-2024-07-18".into(),
            service_tier: "default".into(),
            response_id: format!("chatcmpl-{number:029}"),
            ttft_ms: Some(312),
            posted: self.holds.iter().map(posting).collect(),
            counters: self.holds.iter().map(|hold| self.counter(hold, number as u64 + 1)).collect(),
            call: Some(CallEnd { attempts: 1, outcome: Outcome::Complete, ..CallEnd::begun(at, 40, String::new()) }),
            ..Settled::bare(attempt.clone(), at, Outcome::Complete, Usage::exact(vector))
        };
        [Event::Admitted(Box::new(Admitted { attempt, holds: self.holds.clone() })), Event::Settled(Box::new(settled))]
    }
}

const USAGE: &str = r#"{"prompt_tokens":1444,"completion_tokens":300,"total_tokens":1744,"prompt_tokens_details":{"cached_tokens":1024,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":128,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}"#;

fn limit(name: &str, unit: Unit, window: Window, mode: Mode) -> Limit {
    Limit { name: name.into(), unit, mode, ..fixture::limit(HUGE, window) }
}
