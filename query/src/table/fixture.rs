//! Entries for tests: made of a number, so that every test can say what the rows of a range of them add up to.

use std::{collections::HashMap, sync::Arc};

use schemas::{
    decision::{Holder, Instance, WindowState},
    error_code::ErrorCode,
    event::{Api, Attempt, CallEnd, Outcome, Refused, Settled},
    id::{BookHash, CallId, InstanceId, Lane, LimitId, Offset, ProducerId},
    ledger::{BookInForce, Charge, Charged, Entry, Fact, LimitsInForce, Rated, Unpriced},
    limit::{Dimension, Limit, Match, Mode, OnUnbounded, Unit, Window},
    money::{PICO_PER_USD, Pico},
    price::Book,
    subject::Subject,
    time::Time,
    tokens::{Doubt, TokenClass, Usage, Vector},
    wire,
};

use super::{Place, Policies};
use crate::tail::Placed;

/// 2026-11-20T12:00:00Z.
pub(crate) const NOON: Time = Time::from_micros(1_795_176_000_000_000);

/// A policy that is known from the start.
pub(crate) struct Known {
    pub(crate) books: HashMap<BookHash, Book>,
    pub(crate) limits: HashMap<LimitId, Arc<Limit>>,
}

impl Known {
    pub(crate) fn with(limits: &[Limit]) -> Self {
        let book = Book::builtin();
        Self {
            books: HashMap::from([(book.hash(), book)]),
            limits: limits.iter().map(|limit| (limit.id(), Arc::new(limit.clone()))).collect(),
        }
    }
}

/// The book that the entries here name, and no limit.
impl Default for Known {
    fn default() -> Self {
        Self::with(&[])
    }
}

impl Policies for Known {
    fn book(&self, hash: BookHash) -> Option<Book> {
        self.books.get(&hash).cloned()
    }

    fn limit(&self, id: LimitId) -> Option<Arc<Limit>> {
        self.limits.get(&id).cloned()
    }
}

pub(crate) fn at(seconds: i64) -> Time {
    Time::from_micros(NOON.as_micros() + seconds * 1_000_000)
}

pub(crate) fn entry(seconds: i64, fact: Fact) -> Entry {
    Entry { recorded_at: at(seconds), fact }
}

pub(crate) fn placed(lane: u16, offset: u64, entry: Entry) -> Placed {
    let body = wire::encode_entry(&entry).into();
    Placed { place: Place { lane: Lane(lane), offset: Offset(offset) }, follows: Offset(offset), entry, body }
}

pub(crate) fn subject(tenant: &str) -> Subject {
    Subject {
        tenant: tenant.into(),
        team: "search".into(),
        user: "alice".into(),
        key: "ci".into(),
        tags: vec![("env".into(), "prod".into()), ("quote".into(), "\"".into())],
        ..Subject::default()
    }
}

pub(crate) fn attempt(number: u64, tenant: &str) -> Attempt {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    Attempt {
        call: CallId::from_bytes(id),
        attempt: 1,
        admitted_at: at(i64::try_from(number).unwrap()),
        subject: Arc::new(subject(tenant)),
        api: Api::OpenAiChat,
        provider: "openai".into(),
        model: "gpt-5-mini".into(),
        model_requested: "mini".into(),
        stream: true,
        book: Book::builtin().hash(),
        gateway: "gw-1".into(),
    }
}

/// An exact attempt of `number` input tokens and one output token, at a pico-dollar a token; it ends its call.
pub(crate) fn charged(number: u64, tenant: &str) -> Charged {
    let vector = Vector { uncached_input: number, output: 1, ..Vector::default() };
    let attempt = attempt(number, tenant);
    let price = |quantity: u64| Rated::Priced {
        unit_price: Pico(1),
        cost: Pico(i128::from(quantity)),
        price_id: "openai/gpt-5-mini/input".into(),
        source: "test".into(),
    };
    let settled_at = Time::from_micros(attempt.admitted_at.as_micros() + 250_000);
    let charge = |class, quantity| Charge { model: None, class, quantity, price: price(quantity) };
    Charged {
        charges: vec![charge(TokenClass::UncachedInput, number), charge(TokenClass::Output, 1)],
        settled: Settled {
            settled_at,
            outcome: Outcome::Complete,
            status: 200,
            usage: Usage::exact(vector),
            raw_usage: r#"{"prompt_tokens":1}"#.into(),
            model_answered: "gpt-5-mini-2026".into(),
            service_tier: String::new(),
            region: String::new(),
            provider_cost: None,
            response_id: format!("resp-{number}"),
            ttft_ms: Some(20),
            posted: Vec::new(),
            counters: Vec::new(),
            call: Some(CallEnd {
                attempts: 1,
                outcome: Outcome::Complete,
                ..CallEnd::begun(attempt.admitted_at, 7, String::new())
            }),
            avoided: None,
            found: None,
            apart: false,
            attempt,
        },
    }
}

/// The same without any knowledge of what was used.
pub(crate) fn missing(number: u64, tenant: &str) -> Charged {
    let mut charged = charged(number, tenant);
    charged.settled.usage = Usage::missing(Doubt::NoAnswer);
    charged.settled.status = 0;
    charged.charges.clear();
    charged
}

/// The same with a class that has no price.
pub(crate) fn unpriced(number: u64, tenant: &str) -> Charged {
    let mut charged = charged(number, tenant);
    charged.charges[1].price = Rated::Unpriced(Unpriced::UnknownModel);
    charged
}

pub(crate) fn refused(number: u64, tenant: &str) -> Refused {
    let attempt = attempt(number, tenant);
    Refused {
        at: attempt.admitted_at,
        call: attempt.call,
        subject: attempt.subject,
        api: attempt.api,
        provider: attempt.provider,
        model: attempt.model,
        model_requested: attempt.model_requested,
        stream: false,
        count: 3,
        code: ErrorCode::HardLimitReached,
        observed: false,
        limit: "acme-month".into(),
        unit: Unit::Usd,
        amount: 100 * PICO_PER_USD,
        settled: PICO_PER_USD / 2,
        held: 0,
        estimated_cost: Some(Pico(5)),
        balance_age_ms: 4,
        gateway: attempt.gateway,
    }
}

pub(crate) fn limit(name: &str, unit: Unit, scope: Vec<(Dimension, Match)>, window: Window) -> Limit {
    Limit {
        name: name.into(),
        scope,
        unit,
        amount: if unit == Unit::Usd { 100 * PICO_PER_USD } else { 200_000 },
        window,
        zone: "UTC".into(),
        mode: Mode::Hard,
        unbounded: OnUnbounded::Hold,
        values: Vec::new(),
        max_instances: None,
        on_exceed: schemas::limit::OnExceed::Refuse,
        slices: false,
        alerts: Vec::new(),
        backfill: false,
    }
}

/// `acme-month`, 100 dollars, and `per-user-tpm`, 200,000 tokens a minute for each user of acme.
pub(crate) fn limits() -> Vec<Limit> {
    let acme = || (Dimension::Tenant, Match::Is("acme".into()));
    vec![
        limit("acme-month", Unit::Usd, vec![acme()], Window::Month),
        limit("per-user-tpm", Unit::Tokens, vec![acme(), (Dimension::User, Match::Each)], Window::Minute),
    ]
}

/// A counter of a limit, with this much used in each of the windows that begin at these seconds.
pub(crate) fn balance(limit: &Limit, values: &[&str], used: &[(i64, i128)]) -> Instance {
    let windows = used.iter().map(|(start, _)| WindowState::new(at(*start), at(start + 60)));
    let holder = Holder {
        producer: ProducerId::from_bytes([7; 16]),
        granted: 50,
        returned: 10,
        used: used.iter().map(|(start, used)| (at(*start), *used)).collect(),
        held: 5,
        unknown: Vec::new(),
        version: 1,
        recall: 0,
    };
    Instance {
        id: InstanceId::of(limit.id(), values, None),
        limit: limit.id(),
        values: values.iter().map(|value| (*value).to_owned()).collect(),
        amount: limit.amount,
        windows: windows.collect(),
        holders: vec![holder],
        recall: 0,
    }
}

pub(crate) fn limits_in_force(limits: Vec<Limit>) -> Fact {
    Fact::Limits(LimitsInForce { policy: Offset(1), limits })
}

pub(crate) fn book_in_force() -> Fact {
    Fact::Book(BookInForce { policy: Offset(0), book: Book::builtin().hash() })
}

/// A ledger of one lane: entry `n` is an attempt of `n` input tokens, by two tenants in turn.
pub(crate) fn calls(lane: u16, offsets: std::ops::Range<u64>) -> Vec<Placed> {
    let tenant = |number: u64| if number.is_multiple_of(2) { "acme" } else { "globex" };
    let call =
        |number: u64| entry(i64::try_from(number).unwrap(), Fact::Charged(Box::new(charged(number, tenant(number)))));
    offsets.map(|number| placed(lane, number, call(number))).collect()
}
