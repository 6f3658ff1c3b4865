//! A small world to ask about: ledger entries by hand, in the tail or shelved in a lake on disk.

use std::{sync::Arc, time::Duration};

use schemas::{
    decision::{Holder, Instance, WindowState},
    error_code::ErrorCode,
    event::{Api, Attempt, CallEnd, Outcome, Refused, Settled},
    id::{CallId, InstanceId, Offset, ProducerId},
    ledger::{Alerted, BookInForce, Charge, Charged, Entry, Fact, Heard, LimitsInForce, Rated, Unpriced},
    limit::{Dimension, Limit, Match, Mode, OnUnbounded, Share, Unit, Window},
    money::Pico,
    policy::{Access as Token, Digest, Policy, Record, Tenants},
    price::Book,
    subject::Subject,
    time::Time,
    tokens::{Completeness, Doubt, Part, TokenClass, Usage, Vector},
};

use crate::{
    access::Access,
    compact,
    cut::Cuts,
    lake::Lake,
    policies::PolicyLog,
    shelve,
    sql::{Engine, encode::Format},
    table::{self, fixture},
    tail::{Bounds, Placed, Tail},
    watermark::Watermark,
};

pub(crate) use crate::sql::Caller;

/// An instant of the test day, 2026-11-01, by second.
pub(crate) fn second(second: i64) -> Time {
    Time::from_micros((1_793_491_200 + second) * 1_000_000)
}

pub(crate) fn only(tenants: &[&str]) -> Caller {
    Caller::of(Tenants::Only(tenants.iter().map(|tenant| (*tenant).to_owned()).collect()))
}

pub(crate) fn everyone() -> Caller {
    Caller::of(Tenants::All)
}

/// An attempt of `tenant` that cost `pico` for `input` tokens; `None` where nothing was reported.
pub(crate) fn charged(tenant: &str, number: u32, user: &str, input: Option<u64>, pico: i128) -> Entry {
    let subject = Subject {
        tenant: tenant.into(),
        team: "search".into(),
        project: String::new(),
        user: user.into(),
        key: "ci".into(),
        tags: vec![("env".into(), if number.is_multiple_of(2) { "prod" } else { "dev" }.into())],
    };
    let attempt = Attempt {
        call: CallId::from_bytes(u128::from(number).to_be_bytes()),
        attempt: 1,
        admitted_at: second(i64::from(number)),
        subject: Arc::new(subject),
        api: Api::OpenAiChat,
        provider: "openai".into(),
        model: "gpt-5-mini".into(),
        model_requested: "gpt-5-mini".into(),
        stream: false,
        book: Book::builtin().hash(),
        gateway: "gw-1".into(),
    };
    let vector = Vector { uncached_input: input.unwrap_or(0), output: 10, ..Vector::default() };
    let usage = match input {
        Some(_) => Usage { parts: vec![Part { model: None, vector }], completeness: Completeness::Exact },
        None => Usage::missing(Doubt::NoAnswer),
    };
    let priced = |quantity: u64, cost: i128| Rated::Priced {
        unit_price: Pico(cost / i128::from(quantity.max(1))),
        cost: Pico(cost),
        price_id: "openai:gpt-5-mini:input".into(),
        source: "builtin".into(),
    };
    let charges = input.map_or_else(Vec::new, |input| {
        vec![Charge { model: None, class: TokenClass::UncachedInput, quantity: input, price: priced(input, pico) }]
    });
    let settled = Settled {
        attempt,
        settled_at: second(i64::from(number) + 2),
        outcome: Outcome::Complete,
        status: 200,
        usage,
        raw_usage: r#"{"prompt_tokens":1}"#.into(),
        model_answered: String::new(),
        service_tier: String::new(),
        region: String::new(),
        provider_cost: None,
        response_id: format!("resp-{number}"),
        ttft_ms: Some(100),
        posted: Vec::new(),
        counters: Vec::new(),
        call: Some(CallEnd {
            attempts: 1,
            outcome: Outcome::Complete,
            ..CallEnd::begun(second(i64::from(number)), 0, String::new())
        }),
        avoided: None,
        found: None,
        apart: false,
    };
    Entry { recorded_at: second(i64::from(number) + 3), fact: Fact::Charged(Box::new(Charged { settled, charges })) }
}

/// Calls of `tenant` that were refused.
pub(crate) fn refused(tenant: &str, number: u32, count: u64) -> Entry {
    let subject = Subject { tenant: tenant.into(), user: "bob".into(), key: "ci".into(), ..Subject::default() };
    let refused = Refused {
        at: second(i64::from(number)),
        call: CallId::from_bytes(u128::from(number).to_be_bytes()),
        subject: Arc::new(subject),
        api: Api::OpenAiChat,
        provider: "openai".into(),
        model: "gpt-5-mini".into(),
        model_requested: "gpt-5-mini".into(),
        stream: false,
        count,
        code: ErrorCode::HardLimitReached,
        observed: false,
        limit: format!("{tenant}-month"),
        unit: Unit::Usd,
        amount: 100,
        settled: 99,
        held: 1,
        estimated_cost: None,
        balance_age_ms: 5,
        gateway: "gw-1".into(),
    };
    Entry { recorded_at: second(i64::from(number)), fact: Fact::Refused(Box::new(refused)) }
}

pub(crate) fn limit(tenant: &str) -> Limit {
    Limit {
        name: format!("{tenant}-month"),
        scope: vec![(Dimension::Tenant, Match::Is(tenant.into()))],
        unit: Unit::Usd,
        amount: 100 * schemas::money::PICO_PER_USD,
        window: Window::Month,
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

/// How far the month of `tenant` is.
pub(crate) fn balance(tenant: &str, number: u32, used: i128) -> Entry {
    counter(&limit(tenant), second(0), second(i64::from(number)), [used, 2 * used, 1])
}

/// What is used, granted and held of the counter of a limit that has one, in a window of thirty days.
pub(crate) fn counter(limit: &Limit, start: Time, recorded_at: Time, [used, granted, held]: [i128; 3]) -> Entry {
    let end = start.after(Duration::from_secs(30 * 86_400));
    let holder = Holder {
        producer: ProducerId::from_bytes([1; 16]),
        granted,
        returned: 0,
        used: vec![(start, used)],
        held,
        version: 1,
        recall: 0,
        unknown: Vec::new(),
    };
    let instance = Instance {
        id: InstanceId::of::<&str>(limit.id(), &[], Some(start)),
        limit: limit.id(),
        values: Vec::new(),
        amount: limit.amount,
        windows: vec![WindowState::new(start, end)],
        holders: vec![holder],
        recall: 0,
    };
    Entry { recorded_at, fact: Fact::Balance(Box::new(instance)) }
}

/// The month of `tenant` has reached four fifths.
pub(crate) fn alerted(tenant: &str, number: u32, settled: i128) -> Entry {
    let (limit, window, until) = (limit(tenant), second(0), second(30 * 86_400));
    let instance = InstanceId::of::<&str>(limit.id(), &[], Some(window));
    let (share, amount, limit) = (Share(80), limit.amount, limit.id());
    let alerted = Alerted { instance, limit, values: Vec::new(), window, until, share, amount, settled, held: 1 };
    Entry { recorded_at: second(i64::from(number)), fact: Fact::Alerted(Box::new(alerted)) }
}

pub(crate) fn limits(number: u32, tenants: &[&str]) -> Entry {
    let limits = tenants.iter().map(|tenant| limit(tenant)).collect();
    Entry {
        recorded_at: second(i64::from(number)),
        fact: Fact::Limits(LimitsInForce { policy: Offset(u64::from(number)), limits }),
    }
}

pub(crate) fn book(number: u32) -> Entry {
    let book = Book::builtin().hash();
    Entry { recorded_at: second(i64::from(number)), fact: Fact::Book(BookInForce { policy: Offset(0), book }) }
}

pub(crate) fn heard(at: i64) -> Entry {
    busy(at, at)
}

/// The gateway says that its oldest call is open since `low_watermark`.
pub(crate) fn busy(at: i64, low_watermark: i64) -> Entry {
    let heard = Heard {
        producer: ProducerId::from_bytes([1; 16]),
        gateway: "gw-1".into(),
        at: second(at),
        low_watermark: second(low_watermark),
        closed: false,
    };
    Entry { recorded_at: second(at), fact: Fact::Heard(heard) }
}

/// An attempt without a price.
pub(crate) fn unpriced(tenant: &str, number: u32) -> Entry {
    let mut entry = charged(tenant, number, "eve", Some(7), 0);
    if let Fact::Charged(charged) = &mut entry.fact {
        for charge in &mut charged.charges {
            charge.price = Rated::Unpriced(Unpriced::UnknownModel);
        }
    }
    entry
}

/// The policy that the entries go by: tokens `tgq-all` and `tgq-acme`.
pub(crate) fn policy(tenants: &[&str]) -> Policy {
    let token = |text: &str, tenants| Token { token_sha256: Digest::of(text), tenants };
    Policy {
        tenants: Vec::new(),
        limits: tenants.iter().map(|tenant| limit(tenant)).collect(),
        models: Vec::new(),
        access: vec![
            token("tgq-all", Tenants::All),
            token("tgq-acme", Tenants::Only(vec!["acme".into()])),
            token("tgq-none", Tenants::Only(vec![])),
        ],
        proxies: Vec::new(),
        metering: schemas::config::MeteringConfig::default(),
        book: Book::builtin().hash(),
        beside: std::collections::BTreeMap::new(),
    }
}

/// A world, and the engine that answers about it.
pub(crate) struct World {
    pub(crate) engine: Arc<Engine>,
    pub(crate) cuts: Arc<Cuts>,
    pub(crate) access: Arc<Access>,
    pub(crate) imports: crate::imports::Imports,
    /// Keeps the lake's folder.
    folder: Arc<tempfile::TempDir>,
}

impl World {
    /// A world of these entries. The first `shelved` of them are put into the lake, in several commits; the rest stands in
    /// the tail.
    pub(crate) async fn new(entries: &[Entry], shelved: usize) -> Self {
        Self::made(entries, shelved, (3, false), &[]).await
    }

    /// A world in which these price books were published too.
    pub(crate) async fn with(entries: &[Entry], shelved: usize, books: &[Book]) -> Self {
        Self::made(entries, shelved, (3, false), books).await
    }

    /// The same in so many commits, compacted after them or not.
    pub(crate) async fn of(entries: &[Entry], shelved: usize, commits: usize, compacted: bool) -> Self {
        Self::made(entries, shelved, (commits, compacted), &[]).await
    }

    async fn made(entries: &[Entry], shelved: usize, (commits, compacted): (usize, bool), books: &[Book]) -> Self {
        let policies = Arc::new(PolicyLog::default());
        policies.apply(Offset(0), Record::Book(Box::new(Book::builtin())));
        for book in books {
            policies.apply(Offset(0), Record::Book(Box::new(book.clone())));
        }
        policies.apply(Offset(1), Record::Policy(Box::new(policy(&["acme", "globex"]))));
        let folder = tempfile::tempdir().unwrap();
        let lake = Lake::open(folder.path().to_str().unwrap(), 1).await.unwrap();
        let tail = Arc::new(Tail::new(lake.pin(), 1, Bounds { rows: 1_000_000, bytes: 1 << 30 }));
        let placed: Vec<Placed> =
            (0..).zip(entries).map(|(offset, entry)| fixture::placed(0, offset, entry.clone())).collect();
        let (first, rest) = placed.split_at(shelved);
        for chunk in first.chunks(first.len().div_ceil(commits).max(1)) {
            tail.apply(chunk, policies.as_ref()).unwrap();
            shelve::shelve(lake.clone(), tail.clone(), true).await.unwrap();
        }
        for (def, version) in table::ALL.iter().zip(lake.pin()) {
            if compacted {
                compact::compact(&lake, def, &version).await.unwrap();
            }
            compact::roll(&lake, def).await.unwrap();
            tail.loaded(def, lake.refresh(def).await.unwrap());
        }
        tail.apply(rest, policies.as_ref()).unwrap();
        let watermark = Arc::new(Watermark::default());
        for placed in &placed {
            if let Fact::Heard(heard) = &placed.entry.fact {
                watermark.heard(placed.place.lane, heard);
            }
        }
        watermark.restored();
        let imports = lake.imports().unwrap();
        let cuts = Cuts::new(tail, lake.store(), watermark, Arc::clone(&policies)).with_imports(imports.clone());
        let cuts = Arc::new(cuts);
        let engine = Engine::with(Arc::clone(&cuts), 64 << 20, Duration::from_secs(60)).unwrap();
        let access = Arc::clone(&policies.access);
        Self { engine: Arc::new(engine), cuts, access, imports, folder: Arc::new(folder) }
    }

    /// The same world with an engine of its own, whose memory and places nobody shares.
    pub(crate) fn beside(&self) -> Self {
        let engine = Engine::with(Arc::clone(&self.cuts), 64 << 20, Duration::from_secs(60)).unwrap();
        Self {
            engine: Arc::new(engine),
            cuts: Arc::clone(&self.cuts),
            access: Arc::clone(&self.access),
            imports: self.imports.clone(),
            folder: Arc::clone(&self.folder),
        }
    }

    /// The same world, where a query may take only so long.
    pub(crate) fn within(self, time: Duration) -> Self {
        let engine = Engine::with(Arc::clone(&self.cuts), 64 << 20, time).unwrap();
        Self { engine: Arc::new(engine), ..self }
    }

    /// Puts these tokens in force, and no others.
    pub(crate) fn grants(&self, tokens: &[(&str, Tenants)]) {
        let access =
            tokens.iter().map(|(text, tenants)| Token { token_sha256: Digest::of(text), tenants: tenants.clone() });
        self.access.apply(&Policy { access: access.collect(), ..policy(&["acme", "globex"]) });
    }

    /// An answer as JSON, or the text of the error.
    pub(crate) async fn answer(&self, caller: &Caller, sql: &str) -> Result<serde_json::Value, String> {
        let answer = self.engine.answer(caller, sql, Format::Json).await;
        let answer = answer.map_err(|error| format!("{} {error}", error.code().code()))?;
        Ok(serde_json::from_slice(&answer).unwrap())
    }

    /// The rows of an answer as JSON, or the text of the error.
    pub(crate) async fn ask(&self, caller: &Caller, sql: &str) -> Result<serde_json::Value, String> {
        Ok(self.answer(caller, sql).await?["rows"].take())
    }
}
