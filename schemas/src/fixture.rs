//! What the tests of several crates begin with: a limit, a policy, an attempt. A test says only what it is about.
//!
//! Compiled under the feature `fixture` alone, which only tests turn on. A new field gets its plain value here, once.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    bound::{AtMost, OutputCap},
    config::MeteringConfig,
    decision::{LaneState, ProducerMark},
    event::{Api, Attempt, Predecessor},
    id::{BookHash, CallId, ProducerId, Seq},
    limit::{Dimension, Limit, Match, Mode, OnExceed, OnUnbounded, Scope, Unit, Window},
    money::Pico,
    policy::{Policy, Tenant},
    subject::Subject,
    time::Time,
};

/// Everything that the tenant `acme` does.
pub fn of_acme() -> Scope {
    vec![(Dimension::Tenant, Match::Is("acme".into()))]
}

/// A hard limit of acme's tokens.
pub fn limit(amount: i128, window: Window) -> Limit {
    Limit {
        name: "l".into(),
        scope: of_acme(),
        unit: Unit::Tokens,
        amount,
        window,
        zone: "UTC".into(),
        mode: Mode::Hard,
        unbounded: OnUnbounded::Hold,
        values: Vec::new(),
        max_instances: None,
        on_exceed: OnExceed::Refuse,
        slices: false,
        alerts: Vec::new(),
        backfill: false,
    }
}

/// A policy of nothing but these limits and the tenant `acme`, which has no keys.
pub fn policy(limits: Vec<Limit>, book: BookHash) -> Policy {
    Policy {
        tenants: vec![Tenant { name: "acme".into(), keys: Vec::new() }],
        limits,
        models: Vec::new(),
        access: Vec::new(),
        proxies: Vec::new(),
        metering: MeteringConfig::default(),
        book,
        beside: BTreeMap::new(),
    }
}

/// The first attempt of a call of acme's, under no book.
pub fn attempt(call: CallId, admitted_at: Time) -> Attempt {
    Attempt {
        call,
        attempt: 1,
        admitted_at,
        subject: Arc::new(Subject { tenant: "acme".into(), ..Subject::default() }),
        api: Api::OpenAiChat,
        provider: "openai".into(),
        model: "gpt-4o-mini".into(),
        model_requested: "gpt-4o-mini".into(),
        stream: false,
        book: BookHash([0; 32]),
        gateway: "g".into(),
    }
}

/// A request of at most a hundred tokens each way, whose cost is known.
pub fn at_most() -> AtMost {
    let (cost, output_cap) = (Ok(Pico(50_000)), OutputCap::Stated(100));
    AtMost { input: 100, output: 100, cost, output_cap, ..AtMost::NOTHING }
}

/// A producer that left nothing open.
pub const fn predecessor(producer: ProducerId, last: Seq) -> Predecessor {
    Predecessor { producer, last, provisions: Vec::new(), used: Vec::new(), counters: Vec::new(), copied: false }
}

/// What a lane says that has accepted something which a producer wrote then.
pub fn heard(producer: ProducerId, heard_at: Time) -> LaneState {
    let mark = ProducerMark {
        producer,
        seq: Seq(1),
        hash: 0,
        gateway: "g".into(),
        low_watermark: Time::ZERO,
        heard_at,
        accepted_at: Time::ZERO,
        answered: 0,
        closed: false,
        forked: false,
        heir: None,
        copy: None,
    };
    LaneState { producers: vec![mark], ..LaneState::default() }
}
