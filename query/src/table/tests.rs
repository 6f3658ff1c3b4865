use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    util::display::{ArrayFormatter, FormatOptions},
};
use schemas::{
    decision::Instance,
    event::{Avoided, CallEnd, Outcome, Settled, Was, Why},
    id::{CallId, InstanceId, Offset},
    ledger::{Adjusted, Alerted, Changed, Corrected, Fact, KeyInForce, KeysInForce, Late, Overrun},
    limit::{Dimension, Match, Share, Unit, Window},
    money::Pico,
    price::{self, Book, Key},
    tokens::{Usage, Vector},
};

use super::{
    ALL, PushError, TableDef, by_name,
    fixture::{self, Known, entry, placed},
};
use crate::tail::Placed;

/// The rows that queries see of a table, with the named columns as text, NULL as `-`.
fn shown(table: &TableDef, entries: &[Placed], columns: &[&str]) -> Vec<String> {
    let known = Known::with(&fixture::limits());
    let mut rows = table.builder();
    for placed in entries {
        (table.push)(&mut rows, placed, &known).expect("rows");
    }
    let stored = rows.finish().expect("a batch");
    let batch = table
        .resolve
        .map_or_else(|| stored.clone(), |resolve| resolve(table, std::slice::from_ref(&stored)).expect("resolved"));
    assert_eq!(batch.schema(), table.schema());
    texts(&batch, columns)
}

fn texts(batch: &RecordBatch, columns: &[&str]) -> Vec<String> {
    let options = FormatOptions::default().with_null("-");
    let columns: Vec<_> = columns
        .iter()
        .map(|name| ArrayFormatter::try_new(batch.column_by_name(name).expect(name), &options).expect(name))
        .collect();
    let row = |row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join(" | ");
    (0..batch.num_rows()).map(row).collect()
}

fn check(table: &str, entries: &[Placed], columns: &[&str], wanted: &[&str]) {
    assert_eq!(shown(by_name(table).expect(table), entries, columns), wanted, "{table} {columns:?}");
}

fn fact(offset: u64, fact: Fact) -> Placed {
    placed(0, offset, entry(i64::try_from(offset).unwrap(), fact))
}

#[test]
fn every_table_has_a_name_a_doc_and_a_place_in_the_log() {
    for table in ALL {
        assert!(table.doc.ends_with('.'), "{}", table.name);
        assert!(table.columns().all(|column| column.doc.ends_with('.')), "{}", table.name);
        assert!(table.schema().column_with_name(super::LOG_OFFSET).is_some(), "{}", table.name);
        assert!(
            table.sort.iter().chain(table.sums).all(|name| table.stored_columns().any(|column| column.name == *name))
        );
        assert_eq!(ALL[table.index()].name, table.name);
        let mut names: Vec<_> = table.columns().map(|column| column.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), table.columns().count(), "{} names a column twice", table.name);
    }
}

#[test]
fn the_columns_that_outside_tests_rely_on_are_there() {
    let who = "tenant team project user_id key_name tags";
    let what = "time settled_at recorded_at call_id api provider provider_account model model_requested stream service_tier region gateway";
    let own = [
        (
            "usage",
            "attempt outcome status input_tokens cache_read_tokens cache_write_tokens output_tokens reasoning_tokens completeness completeness_reason cost_usd provider_cost_usd cache_hit avoided_cost_usd duration_ms ttft_ms provider_response_id raw_usage",
        ),
        ("calls", "attempts outcome input_tokens output_tokens cost_usd duration_ms balance_age_ms session_id"),
        (
            "charges",
            "attempt token_class quantity price_per_mtok_usd price_id price_source cost_usd list_cost_usd unpriced_reason billing_period entry corrects requests",
        ),
        ("refusals", "count limit_name unit amount settled held code estimated_cost_usd balance_age_ms"),
        ("alerts", "time limit_name instance share_percent unit amount settled held window_start window_end"),
        ("balances", "limit_name instance unit amount settled held leased window_start window_end"),
        ("limits", "limit_name unit amount mode valid_from valid_to"),
        ("policy_changes", "time changed_by kind name detail refused"),
        ("keys", "expires disabled models former_until valid_from valid_to"),
        ("prices", "provider model token_class price_per_mtok_usd price_id valid_from valid_to"),
    ];
    for (name, columns) in own {
        let schema = by_name(name).expect(name).schema();
        let calls = if ["usage", "calls", "charges", "refusals"].contains(&name) { what } else { "" };
        let who = if name == "prices" { "" } else { who };
        for column in [who, calls, columns].iter().flat_map(|columns| columns.split_whitespace()) {
            assert!(schema.column_with_name(column).is_some(), "{name}.{column}");
        }
    }
}

#[test]
fn an_attempt_is_a_row_of_usage_and_of_calls_and_a_charge_for_each_class() {
    let entries = [fact(3, Fact::Charged(Box::new(fixture::charged(1_500, "acme"))))];
    check(
        "usage",
        &entries,
        &[
            "tenant",
            "project",
            "tags",
            "time",
            "status",
            "input_tokens",
            "output_tokens",
            "cost_usd",
            "duration_ms",
            "log_offset",
        ],
        &[
            r#"acme | - | {"env":"prod","quote":"\""} | 2026-11-20T12:25:00Z | 200 | 1500 | 1 | 0.000000001501 | 250 | 3"#,
        ],
    );
    check(
        "calls",
        &entries,
        &["attempts", "outcome", "input_tokens", "cost_usd"],
        &["1 | complete | 1500 | 0.000000001501"],
    );
    check(
        "charges",
        &entries,
        &["token_class", "quantity", "price_per_mtok_usd", "cost_usd", "billing_period", "requests"],
        &[
            "input | 1500 | 0.000001 | 0.000000001500 | 2026-11 | 1",
            "output | 1 | 0.000001 | 0.000000000001 | 2026-11 | 0",
        ],
    );
}

#[test]
fn what_an_attempt_used_apart_from_its_answer_is_no_request_beside_it() {
    let mut own = fixture::missing(5, "acme");
    let mut told = fixture::charged(6, "acme");
    (told.settled.apart, told.settled.call) = (true, None);
    own.settled.response_id.clone_from(&told.settled.response_id);
    let entries = [own, told].map(|charged| fact(0, Fact::Charged(Box::new(charged))));
    let columns = ["provider_response_id", "completeness", "requests"];
    check("usage", &entries, &columns, &["resp-6 | missing | 1", "resp-6 | exact | 0"]);
    check("calls", &entries, &["requests"], &["1"]);
    // Only what was used is charged, so there the one request stands with that.
    check("charges", &entries, &["token_class", "requests"], &["input | 1", "output | 0"]);
}

#[test]
fn the_list_price_is_what_a_price_file_stands_on() {
    let file = "models:\n  - { provider: openai, names: [gpt-5], prices: [ { per_million: { input: 0.50 } } ] }\n  - { provider: openai, names: [mine], prices: [ { per_million: { input: 1 } } ] }\n";
    let book = Book::layered(&[Book::parse(file, "mine").unwrap()]);
    let mut known = Known::with(&[]);
    known.books.insert(book.hash(), book.clone());
    let table = by_name("charges").unwrap();
    let push = |model: &str, known: &Known| {
        let mut charged = fixture::charged(1_000_000, "acme");
        charged.settled.model_answered = String::new();
        let attempt = &mut charged.settled.attempt;
        (attempt.model, attempt.provider, attempt.book) = (model.into(), "openai".into(), book.hash());
        let key = Key { provider: "openai", vendor: attempt.api.vendor(), model, tier: "", at: attempt.admitted_at };
        charged.charges = price::rate(Some(&book), &key, "", &charged.settled.usage.parts);
        let mut rows = table.builder();
        (table.push)(&mut rows, &fact(0, Fact::Charged(Box::new(charged))), known)?;
        Ok::<_, PushError>(texts(&rows.finish().unwrap(), &["cost_usd", "list_cost_usd"]).remove(0))
    };
    let check = |model: &str, wanted: &str| assert_eq!(push(model, &known).as_deref(), Ok(wanted));
    check("gpt-5", "0.500000000000 | 1.250000000000");
    check("mine", "1.000000000000 | -");
    check("gpt-5-mini", "0.250000000000 | 0.250000000000");
    let behind = push("gpt-5", &Known::with(&[]));
    assert_eq!(behind, Err(PushError::PolicyBehind), "a row is not made before its book is known");
}

#[test]
fn what_is_not_known_is_null_and_says_why() {
    let columns = [
        "completeness",
        "completeness_reason",
        "status",
        "input_tokens",
        "output_tokens",
        "cost_usd",
        "unpriced_reason",
    ];
    let missing = [fact(0, Fact::Charged(Box::new(fixture::missing(5, "acme"))))];
    check("usage", &missing, &columns, &["missing | no_answer | - | - | - | - | usage_missing"]);
    check("calls", &missing, &["input_tokens", "cost_usd"], &["- | -"]);
    check("charges", &missing, &["quantity"], &[]);
    let unpriced = [fact(0, Fact::Charged(Box::new(fixture::unpriced(5, "acme"))))];
    check("usage", &unpriced, &columns, &["exact | - | 200 | 5 | 1 | - | unknown_model"]);
    check(
        "charges",
        &unpriced,
        &["token_class", "quantity", "cost_usd", "unpriced_reason"],
        &["input | 5 | 0.000000000005 | -", "output | 1 | - | unknown_model"],
    );
}

#[test]
fn what_nobody_measured_took_no_time_that_is_known() {
    let told = |settled: fn(&mut Settled), durations: [&str; 2]| {
        let mut charged = fixture::charged(5, "acme");
        settled(&mut charged.settled);
        let entries = [fact(0, Fact::Charged(Box::new(charged)))];
        for (table, duration) in ["usage", "calls"].into_iter().zip(durations) {
            let rows: Vec<&str> = Some(duration).filter(|duration| !duration.is_empty()).into_iter().collect();
            check(table, &entries, &["duration_ms"], &rows);
        }
    };
    told(|_| (), ["250", "250"]);
    // An event is told without a call, and another proxy's last word of a check at once.
    let event = |settled: &mut Settled| {
        (settled.status, settled.ttft_ms, settled.call) = (0, None, None);
        settled.settled_at = settled.attempt.admitted_at;
    };
    told(event, ["-", ""]);
    told(|settled| (settled.status, settled.ttft_ms) = (0, None), ["-", "-"]);
    // A check that is settled with what was answered took as long as its proxy had it open.
    told(|settled| settled.ttft_ms = None, ["250", "250"]);
    told(|settled| settled.outcome = Outcome::Unknown, ["-", "-"]);
    told(|settled| (settled.outcome, settled.status) = (Outcome::ProviderError, 0), ["250", "250"]);
    let hit = |settled: &mut Settled| {
        (settled.status, settled.avoided) = (0, Some(Avoided { parts: Vec::new(), cost: None }));
    };
    told(hit, ["250", "250"]);
}

#[test]
fn a_correction_takes_back_what_was_charged_and_charges_anew() {
    let (was, now) = (fixture::charged(10, "acme"), fixture::charged(25, "acme"));
    let (usage, book) = (was.settled.usage.clone(), was.settled.attempt.book);
    let corrected = Corrected {
        source: "s".into(),
        id: "1".into(),
        was: Was { why: Why::Amended, usage, book, number: 0, charged_at: schemas::time::Time::ZERO },
        reversed: was.charges.clone(),
        charged: now,
    };
    let entries = [fact(0, Fact::Charged(Box::new(was))), fact(1, Fact::Corrected(Box::new(corrected)))];
    check(
        "charges",
        &entries,
        &["token_class", "quantity", "cost_usd", "entry", "requests"],
        &[
            "input | 10 | 0.000000000010 | original | 1",
            "output | 1 | 0.000000000001 | original | 0",
            "input | -10 | -0.000000000010 | reversal | -1",
            "output | -1 | -0.000000000001 | reversal | 0",
            "input | 25 | 0.000000000025 | correction | 1",
            "output | 1 | 0.000000000001 | correction | 0",
        ],
    );
    // What an attempt was when it ended stays what it was.
    check("usage", &entries, &["input_tokens", "entry"], &["10 | original"]);
    check("calls", &entries, &["input_tokens", "entry"], &["10 | original"]);
}

#[test]
fn a_call_sums_its_attempts_and_says_nothing_of_what_is_not_known_of_any() {
    let columns = ["attempts", "input_tokens", "output_tokens", "cost_usd"];
    let calls = |cost: Option<i128>, unknown: bool, row: &str| {
        let mut charged = fixture::charged(10, "acme");
        let end = charged.settled.call.as_mut().expect("the end of a call");
        (end.attempts, end.earlier) = (2, Vector { uncached_input: 30, output: 4, ..Vector::default() });
        (end.earlier_cost, end.earlier_unknown) = (cost.map(Pico), unknown);
        check("calls", &[fact(0, Fact::Charged(Box::new(charged)))], &columns, &[row]);
    };
    calls(Some(7_000_000_000_000), false, "2 | 40 | 5 | 7.000000000011");
    calls(None, false, "2 | 40 | 5 | -");
    calls(None, true, "2 | - | - | -");
}

#[test]
fn what_the_cache_answered_cost_nothing_and_says_what_that_saved() {
    let hit = |cost: Option<Pico>| {
        let mut charged = fixture::charged(1_500, "acme");
        charged.charges.clear();
        let parts = std::mem::take(&mut charged.settled.usage.parts);
        let call = charged.settled.call.take().map(|call| CallEnd { attempts: 0, ..call });
        let avoided = Some(Avoided { parts, cost });
        charged.settled = Settled { status: 0, usage: Usage::none(), avoided, call, ..charged.settled };
        [fact(0, Fact::Charged(Box::new(charged)))]
    };
    let columns = ["provider", "status", "input_tokens", "completeness", "cost_usd", "cache_hit", "avoided_cost_usd"];
    let known = hit(Some(Pico(1_501)));
    check("usage", &known, &columns, &["openai | - | 0 | exact | 0.000000000000 | true | 0.000000001501"]);
    check("usage", &hit(None), &columns[4..], &["0.000000000000 | true | -"]);
    check("calls", &known, &["attempts", "input_tokens", "cost_usd"], &["0 | 0 | 0.000000000000"]);
    check("charges", &known, &["quantity"], &[]);
    let paid = [fact(0, Fact::Charged(Box::new(fixture::charged(1_500, "acme"))))];
    check("usage", &paid, &columns[4..], &["0.000000001501 | false | 0.000000000000"]);
}

#[test]
fn refusals_are_in_the_unit_of_their_limit() {
    let entries = [fact(0, Fact::Refused(Box::new(fixture::refused(1, "acme"))))];
    check(
        "refusals",
        &entries,
        &["count", "limit_name", "unit", "amount", "settled", "held", "code", "estimated_cost_usd"],
        &["3 | acme-month | usd | 100.000000000000 | 0.500000000000 | 0.000000000000 | TG2001 | 0.000000000005"],
    );
}

#[test]
fn a_hard_limit_that_was_passed_is_a_row_above_its_amount() {
    let minutes = fixture::balance(&fixture::limits()[1], &["bob"], &[(60, 200_001)]);
    let window = minutes.windows[0];
    let overrun = Overrun {
        instance: minutes.id,
        window: window.start,
        amount: 200_000,
        settled: 200_001,
        limit: Some(minutes.limit),
        values: minutes.values.clone(),
        until: window.end,
        held: 5,
    };
    // Older records do not say of which limit.
    let older = Overrun { limit: None, ..overrun.clone() };
    check(
        "alerts",
        &[fact(61, Fact::Overrun(overrun)), fact(62, Fact::Overrun(older))],
        &["tenant", "user_id", "limit_name", "share_percent", "amount", "settled", "held"],
        &["acme | bob | per-user-tpm | 101 | 200000.000000000000 | 200001.000000000000 | 5.000000000000"],
    );
}

#[test]
fn a_share_that_is_reached_is_a_row_of_whose_counter_it_is() {
    let minutes = fixture::balance(&fixture::limits()[1], &["bob"], &[(60, 150_000)]);
    let window = minutes.windows[0];
    let alerted = Alerted {
        instance: minutes.id,
        limit: minutes.limit,
        values: minutes.values.clone(),
        window: window.start,
        until: window.end,
        share: Share(80),
        amount: minutes.amount,
        settled: 150_000,
        held: 10_000,
    };
    check(
        "alerts",
        &[fact(61, Fact::Alerted(Box::new(alerted)))],
        &[
            "time",
            "tenant",
            "user_id",
            "limit_name",
            "instance",
            "share_percent",
            "unit",
            "amount",
            "settled",
            "held",
            "window_start",
        ],
        &[
            "2026-11-20T12:01:01Z | acme | bob | per-user-tpm | tenant=acme,user=bob | 80 | tokens | 200000.000000000000 | 150000.000000000000 | 10000.000000000000 | 2026-11-20T12:01:00Z",
        ],
    );
}

#[test]
fn balances_show_the_newest_state_of_each_counter() {
    let limits = fixture::limits();
    let month = |used| Fact::Balance(Box::new(fixture::balance(&limits[0], &[], &[(0, used)])));
    let minutes = |used: &[(i64, i128)]| Fact::Balance(Box::new(fixture::balance(&limits[1], &["bob"], used)));
    let columns = ["limit_name", "instance", "tenant", "user_id", "unit", "settled", "held", "leased", "window_start"];
    let entries =
        [fact(0, month(7)), fact(1, minutes(&[(0, 3)])), fact(2, month(9)), fact(3, minutes(&[(0, 4), (60, 1)]))];
    check(
        "balances",
        &entries,
        &columns,
        &[
            "acme-month | acme-month | acme | - | usd | 0.000000000009 | 0.000000000005 | 0.000000000040 | 2026-11-20T12:00:00Z",
            "per-user-tpm | tenant=acme,user=bob | acme | bob | tokens | 4.000000000000 | - | - | 2026-11-20T12:00:00Z",
            "per-user-tpm | tenant=acme,user=bob | acme | bob | tokens | 1.000000000000 | 5.000000000000 | 40.000000000000 | 2026-11-20T12:01:00Z",
        ],
    );
    check("balances", &[fact(0, minutes(&[(0, 3)])), fact(1, minutes(&[]))], &["limit_name"], &[]);
}

#[test]
fn what_is_learned_late_is_added_to_the_last_state_of_its_counter() {
    let limits = fixture::limits();
    let (start, end) = (fixture::at(0), fixture::at(60));
    let late = |second, limit: usize, values: &[&str], amount| {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        let late = Late { limit: limits[limit].id(), values, start, end, amount };
        let (source, call) = ("s".to_owned(), CallId::from_bytes([1; 16]));
        let (id, posted, gone, late) = (String::new(), Vec::new(), Vec::new(), vec![late]);
        fact(second, Fact::Adjusted(Adjusted { source, id, call, attempt: 1, posted, gone, late }))
    };
    let month = |second, used| {
        let id = InstanceId::of::<&str>(limits[0].id(), &[], Some(start));
        let balance = Instance { id, ..fixture::balance(&limits[0], &[], &[(0, used)]) };
        fact(second, Fact::Balance(Box::new(balance)))
    };
    let columns = ["limit_name", "instance", "settled", "held", "window_start", "window_end"];
    let entries = [month(0, 7), month(1, 9), late(2, 0, &[], 30), late(3, 0, &[], -5), late(4, 1, &["bob"], 2)];
    let rows = [
        "acme-month | acme-month | 0.000000000034 | 0.000000000005 | 2026-11-20T12:00:00Z | 2026-11-20T12:01:00Z",
        "per-user-tpm | tenant=acme,user=bob | 2.000000000000 | - | 2026-11-20T12:00:00Z | 2026-11-20T12:01:00Z",
    ];
    check("balances", &entries, &columns, &rows);
}

#[test]
fn a_limit_is_one_row_for_as_long_as_it_stays_the_same() {
    let [month, minute] = fixture::limits().try_into().expect("two limits");
    let mut raised = month.clone();
    raised.amount *= 2;
    let entries = [
        fact(0, fixture::limits_in_force(vec![month.clone(), minute.clone()])),
        fact(10, fixture::limits_in_force(vec![raised.clone(), minute])),
        fact(20, fixture::limits_in_force(vec![raised])),
        fact(30, fixture::limits_in_force(vec![])),
        fact(40, fixture::limits_in_force(vec![month])),
    ];
    check(
        "limits",
        &entries,
        &["limit_name", "scope", "amount", "valid_from", "valid_to"],
        &[
            "acme-month | tenant=acme | 100.000000000000 | 2026-11-20T12:00:00Z | 2026-11-20T12:00:10Z",
            "per-user-tpm | tenant=acme,user=* | 200000.000000000000 | 2026-11-20T12:00:00Z | 2026-11-20T12:00:20Z",
            "acme-month | tenant=acme | 200.000000000000 | 2026-11-20T12:00:10Z | 2026-11-20T12:00:30Z",
            "acme-month | tenant=acme | 100.000000000000 | 2026-11-20T12:00:40Z | -",
        ],
    );
}

#[test]
fn a_history_is_the_same_however_many_lanes_report_it() {
    let limits = || fixture::limits_in_force(fixture::limits());
    let both = [placed(0, 0, entry(0, limits())), placed(1, 0, entry(5, limits()))];
    check(
        "limits",
        &both,
        &["limit_name", "valid_from"],
        &["acme-month | 2026-11-20T12:00:00Z", "per-user-tpm | 2026-11-20T12:00:00Z"],
    );
}

#[test]
fn prices_are_the_rows_of_the_books_in_force() {
    let entries = [fact(0, fixture::book_in_force()), fact(9, fixture::book_in_force())];
    let rows = shown(by_name("prices").expect("prices"), &entries, &["price_id", "in_force_from", "in_force_to"]);
    assert_eq!(rows.len(), schemas::price::Book::builtin().rows().len());
    assert!(rows.iter().all(|row| row.ends_with("2026-11-20T12:00:00Z | -")), "{:?}", rows.first());
}

#[test]
fn an_entry_that_names_an_unknown_limit_waits() {
    let stranger = fixture::limit("other", Unit::Tokens, vec![(Dimension::Tenant, Match::Each)], Window::Day);
    let placed = fact(0, Fact::Balance(Box::new(fixture::balance(&stranger, &["acme"], &[(0, 1)]))));
    let table = by_name("balances").expect("balances");
    let pushed = (table.push)(&mut table.builder(), &placed, &Known::default());
    assert_eq!(pushed, Err(super::PushError::PolicyBehind));
}

#[test]
fn a_key_is_one_row_for_as_long_as_it_stays_the_same() {
    let key = |disabled| KeyInForce {
        subject: Arc::new(fixture::subject("acme")),
        expires: Some(fixture::at(99)),
        disabled,
        models: vec!["gpt-*".into()],
        former_until: None,
        corrects: false,
    };
    let keys =
        |offset: u64, keys: Vec<KeyInForce>| fact(offset, Fact::Keys(KeysInForce { policy: Offset(offset), keys }));
    let entries = [keys(0, vec![key(false)]), keys(5, vec![key(false)]), keys(10, vec![key(true)]), keys(20, vec![])];
    check(
        "keys",
        &entries,
        &["tenant", "team", "key_name", "expires", "disabled", "models", "valid_from", "valid_to"],
        &[
            r#"acme | search | ci | 2026-11-20T12:01:39Z | false | ["gpt-*"] | 2026-11-20T12:00:00Z | 2026-11-20T12:00:10Z"#,
            r#"acme | search | ci | 2026-11-20T12:01:39Z | true | ["gpt-*"] | 2026-11-20T12:00:10Z | 2026-11-20T12:00:20Z"#,
        ],
    );
}

#[test]
fn a_change_of_the_policy_is_a_row_with_who_made_it() {
    let changed = Changed {
        policy: Offset(7),
        at: Some(fixture::at(3)),
        by: "ops".into(),
        kind: "key.disable".into(),
        tenant: "acme".into(),
        name: "ci".into(),
        detail: "{}".into(),
        refused: String::new(),
    };
    let file = Changed {
        at: None,
        by: String::new(),
        kind: "file".into(),
        tenant: String::new(),
        name: String::new(),
        ..changed.clone()
    };
    let entries = [fact(4, Fact::Changed(Box::new(changed))), fact(9, Fact::Changed(Box::new(file)))];
    check(
        "policy_changes",
        &entries,
        &["tenant", "key_name", "time", "changed_by", "kind", "name", "refused", "policy_offset"],
        &[
            "acme | ci | 2026-11-20T12:00:03Z | ops | key.disable | ci | - | 7",
            "- | - | 2026-11-20T12:00:09Z | - | file | - | - | 7",
        ],
    );
}
