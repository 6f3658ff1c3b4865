//! Any value of every type that travels.

use std::sync::Arc;

use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::{
    decision::{Awaited, Claim, Holder, Instance, Key, LaneState, Passed, ProducerMark, State, Waiting, WindowState},
    error_code::ErrorCode,
    event::{
        Admitted, Api, Attempt, Avoided, CallEnd, Counter, Event, Found, Hold, Learned, LeaseRequested, Move, Moved,
        Opened, Outcome, Posting, Predecessor, Refused, Reported, Settled, Streamed, Want, Was, Why,
    },
    id::{BookHash, CallId, ClaimId, InstanceId, Lane, LimitId, Offset, ProducerId, Seq},
    ledger::{
        Adjusted, Alarm, AlarmKind, Alerted, Begun, BookInForce, Changed, Charge, Charged, Corrected, Entry, Fact,
        Heard, KeyInForce, KeysInForce, Late, LimitsInForce, Overrun, Rated, Unpriced,
    },
    limit::{Dimension, Limit, Match, Mode, OnExceed, OnUnbounded, Schedule, Share, Unit, Window},
    money::Pico,
    subject::Subject,
    time::Time,
    tokens::{Completeness, Doubt, Part, TokenClass, Usage, Vector},
};

macro_rules! strategies {
    () => { Just(()) };
    ($first:expr $(, $rest:expr)*) => { ($first, strategies!($($rest),*)) };
}

macro_rules! names {
    () => { () };
    ($first:ident $(, $rest:ident)*) => { ($first, names!($($rest),*)) };
}

/// A function that gives any value of a struct, from strategies for its fields.
macro_rules! any_of {
    ($($function:ident = $name:ident { $($field:ident: $strategy:expr),* $(,)? })*) => {
        $(fn $function() -> BoxedStrategy<$name> {
            strategies!($($strategy),*).prop_map(|names!($($field),*)| $name { $($field),* }).boxed()
        })*
    };
}

fn text() -> BoxedStrategy<String> {
    prop_oneof![Just(String::new()), "[a-z0-9.-]{1,12}", "\\PC{0,6}"].boxed()
}

fn shared() -> BoxedStrategy<Arc<str>> {
    text().prop_map(Arc::from).boxed()
}

fn amount() -> BoxedStrategy<i128> {
    prop_oneof![Just(0), -300_i128..300, any::<i64>().prop_map(i128::from), any::<i128>()].boxed()
}

fn pico() -> BoxedStrategy<Pico> {
    amount().prop_map(Pico).boxed()
}

fn count() -> BoxedStrategy<u64> {
    prop_oneof![Just(0), 1_u64..100_000, any::<u64>()].boxed()
}

fn time() -> BoxedStrategy<Time> {
    prop_oneof![Just(Time::ZERO), Just(Time::MAX), any::<i64>().prop_map(Time::from_micros)].boxed()
}

fn share() -> BoxedStrategy<Share> {
    prop_oneof![Just(0), any::<u32>()].prop_map(Share).boxed()
}

fn seq() -> BoxedStrategy<Seq> {
    count().prop_map(Seq).boxed()
}

fn offset() -> BoxedStrategy<Offset> {
    count().prop_map(Offset).boxed()
}

fn lane() -> BoxedStrategy<Lane> {
    any::<u16>().prop_map(Lane).boxed()
}

fn call_id() -> BoxedStrategy<CallId> {
    any::<[u8; 16]>().prop_map(CallId::from_bytes).boxed()
}

fn producer() -> BoxedStrategy<ProducerId> {
    any::<[u8; 16]>().prop_map(ProducerId::from_bytes).boxed()
}

fn instance_id() -> BoxedStrategy<InstanceId> {
    any::<[u8; 16]>().prop_map(InstanceId).boxed()
}

fn limit_id() -> BoxedStrategy<LimitId> {
    any::<[u8; 16]>().prop_map(LimitId).boxed()
}

fn book() -> BoxedStrategy<BookHash> {
    any::<[u8; 32]>().prop_map(BookHash).boxed()
}

fn some<T: Clone + std::fmt::Debug + 'static>(strategy: BoxedStrategy<T>) -> BoxedStrategy<Vec<T>> {
    vec(strategy, 0..4).boxed()
}

fn unit() -> BoxedStrategy<Unit> {
    select(vec![Unit::Requests, Unit::Tokens, Unit::InputTokens, Unit::OutputTokens, Unit::Usd, Unit::Concurrent])
        .boxed()
}

fn on_exceed() -> BoxedStrategy<OnExceed> {
    prop_oneof![Just(OnExceed::Refuse), Just(OnExceed::Finish), text().prop_map(OnExceed::Downgrade)].boxed()
}

fn completeness() -> BoxedStrategy<Completeness> {
    let doubt = || select(Doubt::ALL.to_vec());
    prop_oneof![
        Just(Completeness::Exact),
        doubt().prop_map(Completeness::LowerBound),
        doubt().prop_map(Completeness::Estimated),
        doubt().prop_map(Completeness::Missing),
    ]
    .boxed()
}

any_of! {
    hold = Hold { instance: instance_id(), window: time(), amount: amount() }

    predecessor = Predecessor {
        producer: producer(), last: seq(), provisions: some(hold()), used: some(hold()), counters: some(counter()),
        copied: any::<bool>(),
    }

    opened = Opened { gateway: text(), at: time(), predecessor: option::of(predecessor()) }

    subject = Subject {
        tenant: text(), team: text(), project: text(), user: text(), key: text(), tags: some((text(), text()).boxed()),
    }

    attempt = Attempt {
        call: call_id(), attempt: any::<u16>(), admitted_at: time(), subject: subject().prop_map(Arc::new),
        api: select(Api::ALL.to_vec()), provider: text(), model: text(), model_requested: text(), stream: any::<bool>(),
        book: book(), gateway: shared(),
    }

    admitted = Admitted { attempt: attempt(), holds: some(hold()) }

    vector = Vector {
        uncached_input: count(), cache_read: count(), cache_write_5m: count(), cache_write_1h: count(), output: count(),
        audio_input: count(), audio_output: count(), web_searches: count(), reasoning: count(), search_units: count(),
        guardrails: count(),
        tool_calls: count(),
        image_input: count(),
        image_output: count(),
        cache_read_audio: count(),
        code_sessions: count(),
    }

    part = Part { model: option::of(text()), vector: vector() }

    streamed = Streamed {
        call: call_id(), attempt: any::<u16>(), at: time(), so_far: vector(), reported: some(part()), posted: some(posting()),
        holds: some(hold()),
    }

    usage = Usage { parts: some(part()), completeness: completeness() }

    posting = Posting { instance: instance_id(), window: time(), used: amount(), provision: amount() }

    counter = Counter {
        instance: instance_id(), window: time(), used: amount(), returned: amount(), held: amount(),
        unknown: amount(), version: count(), recall: count(),
    }

    call_end = CallEnd {
        attempts: any::<u16>(), outcome: select(Outcome::ALL.to_vec()), accepted_at: time(), balance_age_ms: count(),
        session_id: text(), earlier: vector(), earlier_cost: option::of(pico()), earlier_unknown: any::<bool>(),
    }

    avoided = Avoided { parts: some(part()), cost: option::of(pico()) }

    found = Found { producer: producer(), seq: seq() }

    settled = Settled {
        attempt: attempt(), settled_at: time(), outcome: select(Outcome::ALL.to_vec()), status: any::<u16>(),
        usage: usage(), raw_usage: text(), model_answered: text(), service_tier: text(), region: text(),
        provider_cost: option::of(pico()), response_id: text(), ttft_ms: option::of(count()), posted: some(posting()),
        counters: some(counter()), call: option::of(call_end()), avoided: option::of(avoided()),
        found: option::of(found()), apart: any::<bool>(),
    }

    refused = Refused {
        at: time(), call: call_id(), subject: subject().prop_map(Arc::new), api: select(Api::ALL.to_vec()),
        provider: text(), model: text(), model_requested: text(), stream: any::<bool>(), count: count(),
        code: select(ErrorCode::ALL.to_vec()), observed: any::<bool>(), limit: text(), unit: unit(), amount: amount(),
        settled: amount(), held: amount(), estimated_cost: option::of(pico()), balance_age_ms: count(),
        gateway: shared(),
    }

    want = Want {
        limit: limit_id(), values: some(text()), window: time(), need: amount(), want: amount(), counter: counter(),
    }

    lease_requested = LeaseRequested { at: time(), number: count(), wants: some(want()) }

    reported = Reported { at: time(), low_watermark: time(), counters: some(counter()), last: any::<bool>() }

    was = Was { why: select(Why::ALL.to_vec()), usage: usage(), book: book(), number: any::<u32>(), charged_at: time() }

    a_move = Move { home: lane(), limit: limit_id(), values: some(text()), window: time(), amount: amount(), clears: amount() }

    learned = Learned {
        source: text(), id: text(), at: time(), content: any::<u64>(), was: option::of(was()), is: settled(),
        moves: some(a_move()), awaits: any::<bool>(),
    }

    moved = Moved {
        from: lane(), number: count(), source: text(), id: text(), call: call_id(), attempt: any::<u16>(),
        moves: some(a_move()), learned: option::of(learned().prop_map(Box::new)),
    }

    corrected = Corrected {
        source: text(), id: text(), was: was(), reversed: some(charge()), charged: charged(),
    }

    adjusted = Adjusted {
        source: text(), id: text(), call: call_id(), attempt: any::<u16>(), posted: some(posting()), gone: some(a_move()),
        late: some(late()),
    }

    late = Late { limit: limit_id(), values: some(text()), start: time(), end: time(), amount: amount() }

    claim = Claim { at: time(), content: any::<u64>(), lacks: any::<bool>() }

    charge = Charge {
        model: option::of(text()), class: select(TokenClass::ALL.to_vec()), quantity: count(), price: rated(),
    }

    charged = Charged { settled: settled(), charges: some(charge()) }

    limit = Limit {
        name: text(), scope: some((dimension(), matcher()).boxed()), unit: unit(), amount: amount(),
        window: select(vec![
            Window::Second, Window::Minute, Window::Hour, Window::Day, Window::Week, Window::Month, Window::Total,
        ]),
        zone: text(), mode: select(vec![Mode::Hard, Mode::Soft, Mode::Observe]),
        unbounded: select(vec![OnUnbounded::Hold, OnUnbounded::Refuse, OnUnbounded::Admit]), values: some(text()),
        max_instances: option::of(any::<u32>()), on_exceed: on_exceed(), slices: any::<bool>(),
        alerts: some(share()), backfill: any::<bool>(),
    }

    limits = LimitsInForce { policy: offset(), limits: some(limit()) }

    book_in_force = BookInForce { policy: offset(), book: book() }

    heard = Heard { producer: producer(), gateway: text(), at: time(), low_watermark: time(), closed: any::<bool>() }

    overrun = Overrun {
        instance: instance_id(), window: time(), amount: amount(), settled: amount(), limit: option::of(limit_id()),
        values: some(text()), until: time(), held: amount(),
    }

    alerted = Alerted {
        instance: instance_id(), limit: limit_id(), values: some(text()), window: time(), until: time(), share: share(),
        amount: amount(), settled: amount(), held: amount(),
    }

    alarm = Alarm { producer: producer(), seq: seq(), kind: select(AlarmKind::ALL.to_vec()), detail: text() }

    mark = ProducerMark {
        producer: producer(), seq: seq(), hash: any::<u64>(), gateway: text(), low_watermark: time(), heard_at: time(),
        answered: count(), closed: any::<bool>(), forked: any::<bool>(), accepted_at: time(),
        heir: option::of(producer()), copy: option::of(producer()),
    }

    waiting = Waiting { producer: producer(), number: count(), since: time(), wants: some(want()) }

    passed = Passed { lane: lane(), number: count() }

    lane_state = LaneState {
        input: offset(), policy: offset(), recorded_at: time(), producers: some(mark()), waiting: some(waiting()),
        claims: count(), passed: some(passed()), taken: some(passed()),
    }

    window_state = WindowState {
        start: time(), end: time(), adjusted: amount(), cleared: amount(), alerted: share(), passed: share(),
        filled: time(),
    }

    holder = Holder {
        producer: producer(), granted: amount(), returned: amount(), used: some((time(), amount()).boxed()),
        unknown: some((time(), amount()).boxed()), held: amount(), version: count(), recall: count(),
    }

    instance = Instance {
        id: instance_id(), limit: limit_id(), values: some(text()), amount: amount(), windows: some(window_state()),
        holders: some(holder()), recall: count(),
    }

    key_in_force = KeyInForce {
        subject: subject().prop_map(Arc::new).boxed(), expires: option::of(time()).boxed(), disabled: any::<bool>().boxed(), models: some(text()),
        former_until: option::of(time()).boxed(), corrects: any::<bool>().boxed(),
    }

    changed = Changed {
        policy: offset(), at: option::of(time()).boxed(), by: text(), kind: text(), tenant: text(), name: text(), detail: text(),
        refused: text(),
    }

    keys = KeysInForce { policy: offset(), keys: some(key_in_force()) }

    schedule = Schedule { limit: limit_id(), boundaries: some(time()) }
}

fn rated() -> BoxedStrategy<Rated> {
    let priced = (pico(), pico(), shared(), shared()).prop_map(|(unit_price, cost, price_id, source)| Rated::Priced {
        unit_price,
        cost,
        price_id,
        source,
    });
    prop_oneof![priced, select(Unpriced::ALL.to_vec()).prop_map(Rated::Unpriced)].boxed()
}

fn dimension() -> BoxedStrategy<Dimension> {
    let plain = vec![
        Dimension::Tenant,
        Dimension::Team,
        Dimension::Project,
        Dimension::User,
        Dimension::Key,
        Dimension::Model,
        Dimension::Provider,
    ];
    prop_oneof![select(plain), text().prop_map(Dimension::Tag)].boxed()
}

fn matcher() -> BoxedStrategy<Match> {
    prop_oneof![Just(Match::Each), text().prop_map(Match::Is)].boxed()
}

pub(super) fn event() -> BoxedStrategy<Event> {
    prop_oneof![
        opened().prop_map(Event::Opened),
        admitted().prop_map(|it| Event::Admitted(Box::new(it))),
        streamed().prop_map(Event::Streamed),
        settled().prop_map(|it| Event::Settled(Box::new(it))),
        refused().prop_map(|it| Event::Refused(Box::new(it))),
        lease_requested().prop_map(Event::LeaseRequested),
        reported().prop_map(Event::Reported),
        learned().prop_map(|it| Event::Learned(Box::new(it))),
        moved().prop_map(Event::Moved),
    ]
    .boxed()
}

pub(super) fn entry() -> BoxedStrategy<Entry> {
    let fact = prop_oneof![
        (admitted(), option::of(producer())).prop_map(|(Admitted { attempt, holds }, producer)| {
            Fact::Admitted(Box::new(Begun { attempt, holds, producer }))
        }),
        streamed().prop_map(Fact::Streamed),
        charged().prop_map(|it| Fact::Charged(Box::new(it))),
        refused().prop_map(|it| Fact::Refused(Box::new(it))),
        instance().prop_map(|it| Fact::Balance(Box::new(it))),
        limits().prop_map(Fact::Limits),
        keys().prop_map(Fact::Keys),
        changed().prop_map(|it| Fact::Changed(Box::new(it))),
        book_in_force().prop_map(Fact::Book),
        heard().prop_map(Fact::Heard),
        overrun().prop_map(Fact::Overrun),
        alarm().prop_map(Fact::Alarm),
        corrected().prop_map(|it| Fact::Corrected(Box::new(it))),
        adjusted().prop_map(Fact::Adjusted),
        alerted().prop_map(|it| Fact::Alerted(Box::new(it))),
    ];
    (time(), fact).prop_map(|(recorded_at, fact)| Entry { recorded_at, fact }).boxed()
}

pub(super) fn decision() -> BoxedStrategy<(Key, State)> {
    prop_oneof![
        (lane(), lane_state()).prop_map(|(lane, state)| (Key::Lane(lane), State::Lane(state))),
        instance().prop_map(|state| (Key::Instance(state.id), State::Instance(Box::new(state)))),
        (lane(), schedule()).prop_map(|(lane, state)| (Key::Schedule(lane, state.limit), State::Schedule(state))),
        (lane(), any::<[u8; 16]>(), claim())
            .prop_map(|(lane, id, claim)| (Key::Claim(lane, ClaimId(id)), State::Claim(claim))),
        (lane(), any::<[u8; 16]>(), some(learned()))
            .prop_map(|(lane, id, attempts)| { (Key::Claim(lane, ClaimId(id)), State::Awaited(Awaited { attempts })) }),
    ]
    .boxed()
}
