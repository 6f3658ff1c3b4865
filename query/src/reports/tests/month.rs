//! A month whose sums are known: a few calls of three tenants, at the built-in prices of gpt-5-mini and gpt-5.

use std::sync::Arc;

use schemas::{
    event::{Api, Attempt, Avoided, CallEnd, Outcome, Settled, Was, Why},
    id::{CallId, Offset},
    ledger::{Changed, Charged, Corrected, Entry, Fact, KeyInForce, KeysInForce},
    money::{PICO_PER_USD, Pico},
    price::{self, Book, Key},
    subject::Subject,
    time::Time,
    tokens::{Completeness, Doubt, Part, Usage, Vector},
};

use crate::sql::tests::world::{self, World};

pub(super) const DAY: i64 = 86_400;

/// An instant of November 2026; days before the first are of October.
pub(super) fn at(day: i64, hour: i64) -> Time {
    world::second((day - 1) * DAY + hour * 3_600)
}

/// What a call is made of.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) number: u32,
    pub(super) time: Time,
    pub(super) tenant: &'static str,
    pub(super) user: &'static str,
    pub(super) model: &'static str,
    pub(super) vector: Vector,
    pub(super) completeness: Completeness,
    pub(super) outcome: Outcome,
    pub(super) attempt: u16,
    pub(super) ends: bool,
    pub(super) session: &'static str,
    pub(super) tagged: bool,
    pub(super) stream: bool,
    pub(super) ttft_ms: Option<u64>,
    pub(super) book: Book,
}

impl Call {
    pub(super) fn new(
        number: u32,
        time: Time,
        tenant: &'static str,
        model: &'static str,
        [input, read, output]: [u64; 3],
    ) -> Self {
        let vector = Vector { uncached_input: input, cache_read: read, output, ..Vector::default() };
        let (user, completeness) = (if tenant == "acme" { "alice" } else { "carol" }, Completeness::Exact);
        Self {
            number,
            time,
            tenant,
            user,
            model,
            vector,
            completeness,
            outcome: Outcome::Complete,
            attempt: 1,
            ends: true,
            session: "",
            tagged: true,
            stream: false,
            ttft_ms: Some(100),
            book: Book::builtin(),
        }
    }

    pub(super) fn charged(&self) -> Charged {
        let of_acme = self.tenant == "acme";
        let subject = Subject {
            tenant: self.tenant.into(),
            team: if of_acme { "search".into() } else { String::new() },
            project: String::new(),
            user: self.user.into(),
            key: if of_acme { "ci".into() } else { "app".into() },
            tags: if self.tagged { vec![("env".into(), "prod".into())] } else { Vec::new() },
        };
        let book = &self.book;
        let attempt = Attempt {
            call: CallId::from_bytes(u128::from(self.number).to_be_bytes()),
            attempt: self.attempt,
            admitted_at: self.time,
            subject: Arc::new(subject),
            api: Api::OpenAiChat,
            provider: "openai".into(),
            model: self.model.into(),
            model_requested: self.model.into(),
            stream: self.stream,
            book: book.hash(),
            gateway: "gw-1".into(),
        };
        let known = !matches!(self.completeness, Completeness::Missing(_));
        let parts = if known { vec![Part { model: None, vector: self.vector }] } else { Vec::new() };
        let key = Key { provider: "openai", vendor: "openai", model: self.model, tier: "", at: self.time };
        let charges = price::rate(Some(book), &key, "", &parts);
        let end = CallEnd {
            attempts: self.attempt,
            outcome: self.outcome,
            ..CallEnd::begun(self.time, 7, self.session.into())
        };
        let settled = Settled {
            attempt,
            settled_at: self.time.after(std::time::Duration::from_secs(2)),
            outcome: self.outcome,
            status: 200,
            usage: Usage { parts, completeness: self.completeness.clone() },
            raw_usage: String::new(),
            model_answered: String::new(),
            service_tier: String::new(),
            region: String::new(),
            provider_cost: None,
            response_id: String::new(),
            ttft_ms: self.ttft_ms,
            posted: Vec::new(),
            counters: Vec::new(),
            call: self.ends.then_some(end),
            avoided: None,
            found: None,
            apart: false,
        };
        Charged { settled, charges }
    }

    pub(super) fn entry(&self) -> Entry {
        self.recorded(self.time.after(std::time::Duration::from_secs(3)))
    }

    fn recorded(&self, recorded_at: Time) -> Entry {
        Entry { recorded_at, fact: Fact::Charged(Box::new(self.charged())) }
    }
}

/// What the ledger says, in order; `mini` is 0.25, 0.025 and 2 dollars a million (input, cache, output), `gpt-5` 1.25, 0.125 and 10.
pub(super) fn entries() -> Vec<Entry> {
    let (mini, big) = ("gpt-5-mini", "gpt-5");
    let october = Call::new(3, at(-16, 12), "globex", mini, [2_000, 0, 0]);
    let mut large =
        Call { user: "bob", tagged: false, session: "s1", ..Call::new(2, at(1, 23), "acme", big, [1_000, 2_000, 100]) };
    large.vector.reasoning = 40;
    large.time = at(1, 23).after(std::time::Duration::from_secs(1_800));
    let failed =
        Call { outcome: Outcome::ProviderError, ends: false, ..Call::new(5, at(3, 9), "acme", mini, [400, 0, 0]) };
    let again = Call { attempt: 2, ..Call::new(5, at(3, 9), "acme", mini, [400, 0, 50]) };
    let gone = Call {
        outcome: Outcome::ClientGone,
        completeness: Completeness::LowerBound(Doubt::ClientLeft),
        ..Call::new(6, at(3, 10), "acme", mini, [400, 0, 0])
    };
    let missing = Call {
        outcome: Outcome::Timeout,
        completeness: Completeness::Missing(Doubt::NoAnswer),
        ..Call::new(7, at(3, 11), "globex", mini, [0, 0, 0])
    };
    let late = Call::new(10, at(-11, 12), "globex", mini, [4_000, 0, 0]);
    vec![
        world::limits(0, &["acme", "globex"]),
        world::book(0),
        october.entry(),
        keys(at(1, 0), "search"),
        Call { session: "s1", ..Call::new(1, at(1, 10), "acme", mini, [1_000, 0, 100]) }.entry(),
        large.entry(),
        Call::new(4, at(2, 9), "acme", "gpt-unheard", [7, 0, 0]).entry(),
        failed.entry(),
        again.entry(),
        gone.entry(),
        missing.entry(),
        changed(at(4, 0)),
        hit(at(4, 10)),
        corrected(&october, 3_000, at(5, 12)),
        Call::new(11, at(6, 1), "initech", mini, [1_000, 0, 0]).entry(),
        Call::new(12, at(6, 2), "initech", big, [1_000, 0, 0]).entry(),
        Call::new(13, at(7, 1), "initech", mini, [3_000, 0, 0]).entry(),
        Call::new(14, at(7, 2), "initech", big, [1_000, 0, 0]).entry(),
        keys(at(8, 0), "growth"),
        refused(at(8, 1), 3, None, false),
        refused(at(8, 2), 2, Some(PICO_PER_USD / 50), false),
        refused(at(8, 3), 5, None, true),
        late.recorded(at(10, 0)),
        balance("acme", schemas::time::now().earlier(std::time::Duration::from_secs(10 * 86_400)), 60),
        balance("globex", at(-30, 0), 120),
        world::heard(10 * DAY),
    ]
}

fn hit(time: Time) -> Entry {
    let kept = Call::new(8, time, "acme", "gpt-5-mini", [1_000, 0, 100]);
    let mut charged = Call { vector: Vector::default(), ..kept.clone() }.charged();
    let cost = price::cost(&kept.charged().charges).ok();
    charged.settled.avoided = Some(Avoided { parts: kept.charged().settled.usage.parts, cost });
    Entry { recorded_at: time, fact: Fact::Charged(Box::new(charged)) }
}

/// Another count of input for a call.
fn corrected(call: &Call, input: u64, recorded_at: Time) -> Entry {
    stated(call, &Call { vector: Vector { uncached_input: input, ..call.vector }, ..call.clone() }, recorded_at)
}

/// A call that is found to have been another.
pub(super) fn stated(was: &Call, is: &Call, recorded_at: Time) -> Entry {
    let (was, is) = (was.charged(), is.charged());
    let was_so = Was {
        why: Why::Amended,
        usage: was.settled.usage,
        book: was.settled.attempt.book,
        number: 0,
        charged_at: Time::ZERO,
    };
    let corrected =
        Corrected { source: "bill".into(), id: "1".into(), was: was_so, reversed: was.charges, charged: is };
    Entry { recorded_at, fact: Fact::Corrected(Box::new(corrected)) }
}

/// The key `ci` of acme under a team.
fn keys(recorded_at: Time, team: &str) -> Entry {
    let subject = Subject { tenant: "acme".into(), team: team.into(), key: "ci".into(), ..Subject::default() };
    let key = KeyInForce {
        subject: Arc::new(subject),
        expires: None,
        disabled: false,
        models: Vec::new(),
        former_until: None,
        corrects: false,
    };
    Entry { recorded_at, fact: Fact::Keys(KeysInForce { policy: Offset(1), keys: vec![key] }) }
}

fn changed(at: Time) -> Entry {
    let changed = Changed {
        policy: Offset(2),
        at: Some(at),
        by: "ops".into(),
        kind: "limit.update".into(),
        tenant: "acme".into(),
        name: "acme-month".into(),
        detail: "{}".into(),
        refused: String::new(),
    };
    Entry { recorded_at: at, fact: Fact::Changed(Box::new(changed)) }
}

fn refused(at: Time, count: u64, most: Option<i128>, observed: bool) -> Entry {
    let mut entry = world::refused("acme", 20, count);
    if let Fact::Refused(refused) = &mut entry.fact {
        (refused.at, refused.observed, refused.estimated_cost) = (at, observed, most.map(Pico));
    }
    Entry { recorded_at: at, ..entry }
}

/// So many dollars used of the month of a tenant, of thirty days.
fn balance(tenant: &str, start: Time, used: i128) -> Entry {
    let used = used * PICO_PER_USD;
    world::counter(&world::limit(tenant), start, start, [used, used, 0])
}

const METRICS: &str = "time,tenant,metric,value\n2026-11-05,acme,tickets,5\n2026-11-05,globex,other,7\n";
const SHARED: &str = "period,name,cost_usd,method,tenant,share\n2026-11,gateway,3,even,,\n2026-11,support,0.71,proportional,,\n\
    2026-11,license,10,fixed,acme,0.25\n2026-10,gateway,3,even,,\n2026-09,gateway,3,even,,\n";
const COMMITMENTS: &str = "commitment_id,kind,provider,model,starts,ends,unit,quantity,cost_usd\n\
    ptu,provisioned,openai,gpt-5,2026-11-01,2026-11-05,tokens,6200,1.00\ncredit-1,credit,openai,,2026-10-01,,usd,10,9\n";

/// The month, with imports, half of it in the lake.
pub(super) async fn world() -> World {
    let entries = entries();
    let world = World::new(&entries, entries.len() / 2).await;
    for (table, csv) in [("business_metrics", METRICS), ("shared_costs", SHARED), ("commitments", COMMITMENTS)] {
        world.imports.replace(crate::imports::by_name(table).unwrap(), csv.as_bytes()).await.unwrap();
    }
    world
}
