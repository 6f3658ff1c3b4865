//! Prices that change, books that calls are rated by anew, and what is only known later.

use schemas::{
    event::{Avoided, Outcome},
    ledger::Charge,
    price::Book,
    tokens::{Completeness, Doubt, Part, TokenClass, Vector},
};
use serde_json::json;

use super::{
    month::{Call, at, stated},
    *,
};

/// A model whose price doubles on the tenth, and another whose price is lower for three days, all of them left open where they may be.
const PRICES: &str = "models:
  - provider: openai
    names: [m1]
    source: test
    prices:
      - { per_million: { input: 1.00, cache_read: 0.10, output: 4.00 } }
      - { tier: batch, per_million: { input: 0.50, cache_read: 0.05, output: 2.00 } }
      - { from: 2026-11-10, per_million: { input: 2.00, cache_read: 0.20, output: 8.00 } }
      - { from: 2026-11-10, tier: batch, per_million: { input: 1.50, cache_read: 0.15, output: 6.00 } }
";

fn book(text: &str) -> Book {
    Book::layered(&[Book::parse(text, "test").unwrap()])
}

/// A call whose price was taken back: of what it costs nothing is known any more.
pub(super) async fn taken_back() -> World {
    const MILLION: u64 = 1_000_000;
    let over = book(
        "models:\n  - { provider: openai, names: [m1], source: test, prices: [{ to: 2020-01-01, per_million: { input: 1.00, cache_read: 0.10, output: 4.00 } }] }\n",
    );
    let was = call(1, 5, [MILLION; 3]);
    let entries = [was.entry(), stated(&was, &Call { book: over.clone(), ..was.clone() }, at(6, 0))];
    World::with(&entries, 1, &[book(PRICES), over]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_drawn_of_a_cost_that_was_taken_back_is_not_known() {
    let world = taken_back().await;
    let credit = b"commitment_id,kind,provider,model,starts,ends,unit,quantity,cost_usd\nc1,credit,openai,m1,2026-11-01,,usd,3,2\n";
    world.imports.replace(crate::imports::by_name("commitments").unwrap(), credit).await.unwrap();
    let drawn = ["drawn", "remaining", "unpriced_quantity"];
    assert_eq!(rows(&world, "credits", &november(), &[], &drawn).await, json!(["null null 3000000"]));
    let prices = ["token_class", "quantity", "cost_usd", "usd_per_mtok", "unpriced_quantity"];
    assert_eq!(
        rows(&world, "effective-prices", &november(), &[], &prices).await,
        json!([
            "null 0 null null 3000000",
            "cache_read 0 null null 1000000",
            "input 0 null null 1000000",
            "output 0 null null 1000000"
        ])
    );
    let tiers = ["cost_usd", "other_tier_usd", "available_usd", "unknown_quantity"];
    assert_eq!(rows(&world, "tiers", &november(), &[], &tiers).await, json!(["null null null 3000000"]));
    let saved = ["saved_usd", "premium_usd", "net_usd", "unknown_tokens"];
    assert_eq!(rows(&world, "cache-savings", &november(), &[], &saved).await, json!(["null 0 null 1000000"]));
    let (nothing, million) = ("0.000000000000", 1_000_000);
    for (sql, wanted) in [
        (
            "SELECT used, unused, on_demand_usd, covered_usd, utilisation FROM commitment_use",
            json!([{"used": null, "unused": null, "on_demand_usd": null, "covered_usd": null, "utilisation": null}]),
        ),
        ("SELECT count(*) AS n, count(cost_usd) AS known FROM effective_prices", json!([{"n": 3, "known": 0}])),
        // Each row is of what has a price, or of what has none.
        (
            "SELECT quantity, cost_usd, unpriced_quantity FROM daily_spend WHERE token_class = 'input' ORDER BY quantity",
            json!([
                {"quantity": 0, "cost_usd": nothing, "unpriced_quantity": 0},
                {"quantity": million, "cost_usd": null, "unpriced_quantity": million},
            ]),
        ),
        (
            &format!("SELECT DISTINCT cost_usd, unpriced FROM ({})", crate::reconcile::charged("TRUE")),
            json!([{"cost_usd": null, "unpriced": million}]),
        ),
    ] {
        assert_eq!(world.ask(&everyone(), sql).await, Ok(wanted), "{sql}");
    }
}

/// A contract for some classes of a model, beside a list that prices all of it, a band of input and another tier, under a pattern.
const CONTRACT: &str = "models:
  - provider: openai
    names: ['m2*']
    source: list
    prices:
      - { per_million: { input: 3.00, cache_read: 0.30, output: 15.00 } }
      - { above: 200, per_million: { input: 6.00, cache_read: 0.60, output: 20.00 } }
      - { tier: batch, per_million: { input: 1.50, cache_read: 0.15, output: 7.50 } }
      - { tier: batch, above: 200, per_million: { input: 3.00, cache_read: 0.30, output: 10.00 } }
  - provider: openai
    names: [m2]
    source: contract
    prices:
      - { per_million: { cache_read: 0.20, output: 12.00 } }
";

/// What a name has no price for has that of the pattern, in reports as in charges.
#[tokio::test(flavor = "multi_thread")]
async fn other_prices_are_chosen_as_those_are_that_are_charged() {
    let contract = book(CONTRACT);
    let call = |number, tokens| Call { model: "m2", book: contract.clone(), ..call(number, 5, tokens) };
    let entries = [call(1, [100, 100, 100]).entry(), call(2, [100, 200, 10]).entry()];
    let world = World::with(&entries, 1, std::slice::from_ref(&contract)).await;
    let tiers = ["quantity", "cost_usd", "other_tier_usd", "available_usd", "unknown_quantity"];
    // 0.00152 and, with more than 200 of input, 0.00076; in batch 0.000915 and 0.00046.
    let told = rows(&world, "tiers", &november(), &[], &tiers).await;
    assert_eq!(told, json!(["610 0.00228 0.001375 0.000905 0"]));
    // 100 at 3.00 less 0.20, and 200 at 6.00 less 0.20.
    let saved = ["read_tokens", "saved_usd", "premium_usd", "net_usd", "unknown_tokens"];
    let told = rows(&world, "cache-savings", &november(), &[], &saved).await;
    assert_eq!(told, json!(["300 0.00144 0 0.00144 0"]));
    let bands = "SELECT token_class AS class, above_input_tokens AS above, up_to_input_tokens AS upto, price_per_mtok_usd AS usd FROM other_prices \
        WHERE price_id = 'openai:m2:cache_read' AND service_tier IS NULL AND token_class <> 'output' \
        AND valid_from <= TIMESTAMP '2026-11-05T01:00:00Z' AND (valid_to IS NULL OR valid_to > TIMESTAMP '2026-11-05T01:00:00Z') ORDER BY 1, 2";
    let wanted = json!([
        {"class": "cache_read", "above": 0, "upto": null, "usd": "0.200000"},
        {"class": "input", "above": 0, "upto": 200, "usd": "3.000000"},
        {"class": "input", "above": 200, "upto": null, "usd": "6.000000"},
    ]);
    assert_eq!(world.ask(&everyone(), bands).await, Ok(wanted));

    // A contract for all of it, by which it is rated anew, has no batch either.
    let anew =
        book(&CONTRACT.replace("cache_read: 0.20, output: 12.00", "input: 1.00, cache_read: 0.10, output: 4.00"));
    let was = call(1, [100, 100, 100]);
    let entries = [was.entry(), stated(&was, &Call { book: anew.clone(), ..was.clone() }, at(6, 0))];
    let world = World::with(&entries, 1, &[contract.clone(), anew]).await;
    let told = rows(&world, "tiers", &november(), &[], &tiers).await;
    assert_eq!(told, json!(["300 0.00051 0.000915 -0.000405 0"]));
}

/// What is found with some cost is found once.
#[tokio::test(flavor = "multi_thread")]
async fn other_prices_are_looked_for_once() {
    let world = month::world().await;
    let period = Period::new(&november(), month::at(11, 0)).unwrap();
    for name in ["cache-savings", "tiers"] {
        let sql = fill(by_name(name).unwrap(), &period, &[]).unwrap();
        let plan = world.ask(&everyone(), &format!("EXPLAIN {sql}")).await.unwrap().to_string();
        assert_eq!(plan.matches("SubqueryAlias: other_prices").count(), 1, "{name}: {plan}");
    }
}

/// A model of sound that is cached, and code that runs in a container.
const SOUND: &str = "models:
  - provider: openai
    names: [m3]
    source: test
    prices:
      - per_million: { input: 1.00, audio_input: 10.00, cache_read_audio: 2.00, output: 4.00 }
        per_unit: { code_session: 0.05 }
";

/// What is counted in units is no token, and what was read from a cache is told so, of whatever class it is.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_code_are_units_and_cached_sound_is_cached() {
    let sound = book(SOUND);
    let heard =
        Vector { audio_input: 1_000, cache_read_audio: 3_000, code_sessions: 2, ..call(1, 5, [1_000, 0, 500]).vector };
    let heard = Call { model: "m3", vector: heard, book: sound.clone(), ..call(1, 5, [0; 3]) };
    let world = World::with(&[heard.entry()], 0, &[sound]).await;
    let focus = "SELECT x_TokenClass AS class, SkuMeter AS meter, PricingUnit AS priced, PricingQuantity AS q, ContractedUnitPrice AS price, \
        ConsumedUnit AS unit, BilledCost AS usd, SkuPriceDetails AS details FROM focus WHERE x_TokenClass IN ('code_session', 'cache_read_audio') ORDER BY 1";
    let told = world.ask(&everyone(), focus).await.unwrap();
    let row =
        |row: &Value| ["class", "meter", "priced", "q", "price", "unit", "usd"].map(|name| shown(&row[name])).join(" ");
    let rows_of_focus: Vec<_> = told.as_array().unwrap().iter().map(row).collect();
    let cached = "cache_read_audio Cache Read Audio Input Tokens 1000000 Tokens 0.003 2 Tokens 0.006";
    assert_eq!(rows_of_focus, [cached, "code_session Code Sessions Sessions 2 0.05 Sessions 0.1"]);
    let details: Value = serde_json::from_str(told[0]["details"].as_str().unwrap()).unwrap();
    assert_eq!((&details["x_TokenDirection"], &details["x_TokenCacheAction"]), (&json!("Input"), &json!("Read")));
    // 0.001, 0.01, 0.006 and 0.002 for 5,500 tokens.
    let blended = rows(&world, "effective-prices", &november(), &[], &["token_class", "quantity", "cost_usd"]).await;
    assert_eq!(blended[0], json!("null 5500 0.019"));
    // Units are no tokens, but where all that was used is one number; those without a price are told all the same, since they are in no cost.
    for (name, columns, wanted) in [
        ("spend", ["tokens", "unpriced_quantity"], "5502 0"),
        ("tiers", ["quantity", "unknown_quantity"], "5500 5502"),
        ("what-if", ["quantity", "unknown_quantity"], "5500 5502"),
    ] {
        assert_eq!(rows(&world, name, &november(), &[], &columns).await, json!([wanted]), "{name}");
    }
    let capacity = b"commitment_id,kind,provider,model,starts,ends,unit,quantity,cost_usd\nc1,provisioned,openai,m3,2026-11-01,,tokens,10000,2\n";
    world.imports.replace(crate::imports::by_name("commitments").unwrap(), capacity).await.unwrap();
    let used = ["used", "unused", "on_demand_usd"];
    assert_eq!(rows(&world, "commitments", &november(), &[], &used).await, json!(["5500 4500 0.119"]));
    // 3,000 at 10.00 less 2.00, of 5,000.
    let saved = ["hit_share", "read_tokens", "saved_usd", "premium_usd", "net_usd", "unknown_tokens"];
    assert_eq!(rows(&world, "cache-savings", &november(), &[], &saved).await, json!(["0.6 3000 0.024 0 0.024 0"]));
}

/// Models that price images as text, apart, and apart in another tier only.
const IMAGES: &str = "models:
  - provider: openai
    names: [m4]
    source: test
    prices:
      - { per_million: { input: 1.00, output: 4.00 } }
      - { tier: batch, per_million: { input: 0.50, output: 2.00 } }
  - provider: openai
    names: [painter]
    source: test
    prices:
      - { per_million: { input: 5.00, output: 10.00, image_input: 8.00 } }
  - provider: openai
    names: [sketcher]
    source: test
    prices:
      - { per_million: { input: 2.00, output: 3.00 } }
      - { tier: flex, per_million: { image_input: 1.00 } }
";

/// Images cost what text does unless a price says otherwise, in reports as in charges.
#[tokio::test(flavor = "multi_thread")]
async fn images_would_cost_what_text_does_unless_the_other_model_prices_them() {
    let own = book(IMAGES);
    let mut put = world::book(0);
    let Fact::Book(in_force) = &mut put.fact else { panic!("it is a book") };
    in_force.book = own.hash();
    let vector = Vector { image_input: 1_000, image_output: 1_000, ..call(1, 5, [1_000, 0, 0]).vector };
    let seen = Call { model: "m4", vector, book: own.clone(), ..call(1, 5, [0; 3]) };
    let world = World::with(&[put, seen.entry()], 0, &[own]).await;
    let columns = ["quantity", "cost_usd", "other_usd", "change_usd", "unknown_quantity"];
    for (model, wanted) in [
        // 0.001, 0.001 and 0.004.
        ("m4", "3000 0.006 0.006 0 0"),
        // 0.005, 0.008 and 0.01.
        ("painter", "3000 0.006 0.023 0.017 0"),
        // Who prices images apart does so in each tier, or not at all: 0.002 and 0.003.
        ("sketcher", "3000 0.005 0.005 0 1000"),
    ] {
        let told = rows(&world, "what-if", &november(), &[("to_model", model)], &columns).await;
        assert_eq!(told, json!([wanted]), "{model}");
    }
    let tiers = ["quantity", "cost_usd", "other_tier_usd", "available_usd", "unknown_quantity"];
    let told = rows(&world, "tiers", &november(), &[], &tiers).await;
    assert_eq!(told, json!(["3000 0.006 0.003 0.003 0"]));
}

/// Of an answer that two models made each has its own input, and the price of its band.
#[tokio::test(flavor = "multi_thread")]
async fn each_model_of_an_answer_has_a_band_of_its_own() {
    let mut entry = Call::new(1, at(5, 1), "acme", "gpt-5", [150_000, 0, 0]).entry();
    let Fact::Charged(charged) = &mut entry.fact else { panic!("it is charged") };
    let advised = Charge { model: Some("gpt-5-mini".into()), ..charged.charges[0].clone() };
    let part = Part { model: advised.model.clone(), ..charged.settled.usage.parts[0].clone() };
    charged.charges.push(advised);
    charged.settled.usage.parts.push(part);
    let world = World::new(&[world::book(0), entry], 0).await;
    // Above 200,000 of input it would be 2.50 a million, and not 1.25.
    let set = [("provider", "google"), ("to_model", "gemini-2.5-pro")];
    let told = rows(&world, "what-if", &november(), &set, &["model", "other_usd", "unknown_quantity"]).await;
    assert_eq!(told, json!(["gpt-5 0.1875 0", "gpt-5-mini 0.1875 0"]));
}

/// What a response in the background used has a row of its own, and was asked for once.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_response_in_the_background_used_is_no_second_attempt() {
    let asked = Call { completeness: Completeness::Missing(Doubt::NoAnswer), ..call(1, 5, [0; 3]) };
    let mut told = Call { ends: false, ..call(2, 5, [1_000, 0, 0]) }.entry();
    let Fact::Charged(charged) = &mut told.fact else { panic!("it is charged") };
    charged.settled.apart = true;
    let mut hit = Call { vector: Vector::default(), ..call(3, 5, [0; 3]) }.entry();
    let Fact::Charged(charged) = &mut hit.fact else { panic!("it is charged") };
    charged.settled.avoided = Some(Avoided { parts: Vec::new(), cost: None });
    let world = World::with(&[asked.entry(), told, hit], 1, &[book(PRICES)]).await;
    for (name, columns, wanted) in [
        ("failures", ["attempts", "cost_usd"], "2 0.001"),
        ("frontier", ["attempts", "usd_per_mtok"], "1 1"),
        ("response-cache", ["hits", "asked"], "1 1"),
    ] {
        assert_eq!(rows(&world, name, &november(), &[], &columns).await, json!([wanted]), "{name}");
    }
}

/// A class of units that is added is told from tokens wherever they are.
#[test]
fn every_class_of_units_is_named_where_one_is() {
    let units = TokenClass::ALL.into_iter().filter(|class| class.is_unit());
    let units: Vec<_> = units.map(|class| format!("'{}'", class.name())).collect();
    let (all, first) = (format!("({})", units.join(", ")), format!("({}", units[0]));
    for asked in crate::sql::views::ALL.iter().map(|view| &view.described).chain(ALL.iter()) {
        assert_eq!(asked.sql.matches(&first).count(), asked.sql.matches(&all).count(), "{}", asked.name);
    }
}

fn call(number: u32, day: i64, tokens: [u64; 3]) -> Call {
    Call { book: book(PRICES), ..Call::new(number, at(day, 1), "acme", "m1", tokens) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_that_is_followed_by_another_counts_once() {
    const MILLION: u64 = 1_000_000;
    let entries = [call(1, 5, [MILLION, MILLION, 0]).entry(), call(2, 12, [MILLION, 2 * MILLION, 0]).entry()];
    let world = World::with(&entries, 1, &[book(PRICES)]).await;
    let span = span("2026-11-01", "2026-11-30");
    // Reads are 0.90 cheaper before the tenth, 1.80 after.
    let saved = ["read_tokens", "saved_usd", "net_usd", "unknown_tokens"];
    assert_eq!(rows(&world, "cache-savings", &span, &[], &saved).await, json!(["3000000 4.5 4.5 0"]));
    let tiers = ["quantity", "cost_usd", "other_tier_usd", "unknown_quantity"];
    // 1.10 and 2.40; in batch half of the one, and three quarters of the other.
    assert_eq!(rows(&world, "tiers", &span, &[], &tiers).await, json!(["5000000 3.5 2.35 0"]));
    let sums = "SELECT (SELECT sum(input_tokens + read_tokens + write_tokens) FROM cache_savings) - (SELECT sum(quantity) FROM charges) AS apart";
    assert_eq!(world.ask(&everyone(), sums).await, Ok(json!([{"apart": 0}])));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_rated_anew_has_the_prices_of_the_book_that_it_was_rated_by() {
    let anew = book(&PRICES.replace("input: 1.00", "input: 3.00").replace("output: 4.00", "output: 5.00"));
    let was =
        Call { vector: Vector { reasoning: 100, ..call(1, 5, [1_000, 1_000, 400]).vector }, ..call(1, 5, [0; 3]) };
    let entries = [was.entry(), stated(&was, &Call { book: anew.clone(), ..was.clone() }, at(6, 0))];
    let world = World::with(&entries, 1, &[book(PRICES), anew.clone()]).await;
    let span = span("2026-11-01", "2026-11-30");
    // By the first book 900 pico-dollars a token less and taken back, by the second 2.90 a million.
    let saved = rows(&world, "cache-savings", &span, &[], &["read_tokens", "saved_usd", "unknown_tokens"]).await;
    assert_eq!(saved, json!(["1000 0.0029 0"]));
    let tiers =
        rows(&world, "tiers", &span, &[], &["quantity", "cost_usd", "other_tier_usd", "unknown_quantity"]).await;
    assert_eq!(tiers, json!(["2400 0.0051 0.00135 0"]));
    let thought =
        rows(&world, "reasoning", &span, &[], &["reasoning_tokens", "reasoning_usd", "unpriced_tokens"]).await;
    assert_eq!(thought, json!(["100 0.0005 0"]));
    // The books were published, and neither was ever in force.
    let sql = "SELECT count(*) FILTER (WHERE in_force_to IS NULL OR in_force_from IS NOT NULL) AS in_force, count(DISTINCT price_book) AS books \
        FROM prices WHERE model = 'm1'";
    assert_eq!(world.ask(&only(&["acme"]), sql).await, Ok(json!([{"in_force": 0, "books": 2}])));
}

/// What nobody knows of one day is no zero because of another on which there was nothing.
#[tokio::test(flavor = "multi_thread")]
async fn days_without_reads_do_not_make_unknown_savings_none() {
    const MILLION: u64 = 1_000_000;
    // Before the tenth it has no price.
    let late = book(
        "models:\n  - { provider: openai, names: [m1], source: test, prices: [{ from: 2026-11-10, per_million: { input: 2.00, cache_read: 0.20, output: 8.00 } }] }\n",
    );
    let call = |number, day, tokens| Call { book: late.clone(), ..call(number, day, tokens) }.entry();
    let entries = [call(1, 5, [MILLION, MILLION, 0]), call(2, 12, [MILLION, 0, 0]), call(3, 13, [0, MILLION, 0])];
    let columns = ["read_tokens", "saved_usd", "premium_usd", "net_usd", "unknown_tokens"];
    let span = span("2026-11-01", "2026-11-30");
    for (known, wanted) in [(2, "1000000 null 0 null 1000000"), (3, "2000000 1.8 0 1.8 1000000")] {
        let world = World::with(&entries[..known], 1, std::slice::from_ref(&late)).await;
        assert_eq!(rows(&world, "cache-savings", &span, &[], &columns).await, json!([wanted]));
    }
}

/// The same of months and of tags.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_price_up_to_a_day_or_under_a_tag_is_null() {
    let mini = Call { tagged: false, ..Call::new(2, at(-10, 1), "acme", "gpt-5-mini", [400, 0, 0]) };
    let entries = [Call::new(1, at(-29, 1), "acme", "gpt-unheard", [7, 0, 0]).entry(), mini.entry()];
    let world = World::new(&entries, 1).await;
    let columns = ["month_usd", "same_point_usd", "last_month_usd", "unpriced_quantity"];
    assert_eq!(rows(&world, "pace", &november(), &[], &columns).await, json!(["0 null 0.0001 7"]));
    let columns = ["cost_usd", "untagged_usd", "coverage", "unpriced_quantity"];
    let october = span("2026-10-01", "2026-11-01");
    assert_eq!(rows(&world, "untagged", &october, &[], &columns).await, json!(["0.0001 0.0001 null 7"]));
    let world = World::new(&[Call::new(1, at(-10, 1), "acme", "gpt-unheard", [7, 0, 0]).entry()], 0).await;
    let columns = ["spent_usd", "daily_usd", "forecast_usd", "low_usd", "high_usd", "unpriced_quantity"];
    assert_eq!(rows(&world, "forecast", &november(), &[], &columns).await, json!(["0 null null null null 7"]));
}

/// An attempt of which nothing was known, and then everything.
#[tokio::test(flavor = "multi_thread")]
async fn usage_that_is_stated_whole_later_is_known() {
    let lost =
        Call { outcome: Outcome::Timeout, completeness: Completeness::Missing(Doubt::NoAnswer), ..call(1, 5, [0; 3]) };
    let broken = Call {
        outcome: Outcome::ClientGone,
        completeness: Completeness::LowerBound(Doubt::ClientLeft),
        ..call(2, 5, [0; 3])
    };
    let whole = Call { completeness: Completeness::Exact, ..call(1, 5, [1_000, 0, 0]) };
    let entries = [lost.entry(), broken.entry(), world::heard(20 * month::DAY)];
    let columns = ["kind", "outcome", "attempts", "cost_usd", "unknown_attempts"];
    let span = span("2026-11-01", "2026-11-30");
    let check = async |entries: &[_], told: &[&str], unknown: &str, left: Value| {
        let world = World::with(entries, 1, &[book(PRICES)]).await;
        assert_eq!(rows(&world, "failures", &span, &[], &columns).await, json!(told));
        assert_eq!(rows(&world, "completeness", &span, &[], &["attempts", "unknown_attempts"]).await, json!([unknown]));
        let october = crate::focus::Month::parse("2026-11").unwrap().left_out();
        assert_eq!(world.ask(&everyone(), &october).await, Ok(left));
        // A lower bound of nothing is not what a session cost.
        let unknown = rows(&world, "sessions", &span, &[], &["calls", "cost_usd", "unknown_calls"]).await;
        assert_eq!(unknown, json!(["2 null 2"]));
    };
    let missing = json!([{"reason": "usage_missing", "quantity": null, "attempts": 1}]);
    check(&entries, &["broken_off client_gone 1 null 1", "failed timeout 1 null 1"], "2 2", missing).await;
    let told = [&entries[..], &[stated(&lost, &whole, at(6, 0))]].concat();
    check(&told, &["failed timeout 1 0.001 0", "broken_off client_gone 1 null 1"], "2 1", json!([])).await;
    // Nor is it what a bill may differ by.
    let amended = [lost.entry(), stated(&lost, &whole, at(6, 0))];
    for (entries, wanted) in [(&amended[..1], json!([{"day": "2026-11-05", "model": "m1"}])), (&amended[..], json!([]))]
    {
        let world = World::with(entries, 1, &[book(PRICES)]).await;
        let doubtful = crate::reconcile::inexact("provider IN ('openai') AND time >= TIMESTAMP '2026-11-05T00:00:00Z'");
        assert_eq!(world.ask(&everyone(), &doubtful).await, Ok(wanted));
    }
}

/// By the month that it would be billed in, which of what becomes known after its own was closed is a later one.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_month_of_focus_leaves_out_is_what_would_be_billed_in_it() {
    let unheard = |number, day| Call { model: "gpt-unheard", ..call(number, day, [7, 0, 0]) };
    let lost = |number, day| Call {
        outcome: Outcome::Timeout,
        completeness: Completeness::Missing(Doubt::NoAnswer),
        ..call(number, day, [0; 3])
    };
    let mut entries = vec![unheard(1, 5).entry(), lost(2, 5).entry(), unheard(3, 6).entry()];
    // November is closed when the fourth of December begins.
    for mut late in [unheard(4, 6).entry(), lost(5, 6).entry()] {
        late.recorded_at = at(35, 0);
        entries.push(late);
    }
    entries.push(stated(&unheard(3, 6), &call(3, 6, [7, 0, 0]), at(35, 1)));
    entries.push(unheard(6, 36).entry());
    let world = World::with(&entries, 1, &[book(PRICES)]).await;
    let left = |quantity: u64, lost: u64| {
        let mut rows = vec![json!({"reason": "unknown_model", "quantity": quantity, "attempts": quantity / 7})];
        rows.extend((lost > 0).then(|| json!({"reason": "usage_missing", "quantity": null, "attempts": lost})));
        json!(rows)
    };
    for (month, wanted) in [("2026-10", json!([])), ("2026-11", left(7, 1)), ("2026-12", left(14, 1))] {
        let sql = crate::focus::Month::parse(month).unwrap().left_out();
        assert_eq!(world.ask(&everyone(), &sql).await, Ok(wanted), "{month}");
    }
}

/// Members of an ensemble are answers; what is told by other systems has no speed and is no client's request.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_answer_is_and_what_it_costs() {
    let member = Call { ends: false, ..call(1, 5, [1_000, 0, 0]) };
    let judge = Call { attempt: 2, ..call(1, 5, [1_000, 0, 0]) };
    let streamed = Call { stream: true, ..call(2, 5, [1_000, 0, 100]) };
    let mut told = Call { ends: false, ttft_ms: None, ..call(3, 5, [8_000, 0, 5_000]) }.entry();
    if let Fact::Charged(told) = &mut told.fact {
        (told.settled.status, told.settled.settled_at) = (0, told.settled.attempt.admitted_at);
    }
    let entries = [member.entry(), judge.entry(), streamed.entry(), told];
    let world = World::with(&entries, 2, &[book(PRICES)]).await;
    world
        .imports
        .replace(
            crate::imports::by_name("business_metrics").unwrap(),
            b"time,tenant,metric,value\n2026-11-05,acme,tickets,2\n2026-11-05,globex,tickets,7\n",
        )
        .await
        .unwrap();
    let span = span("2026-11-01", "2026-11-30");
    let failures = rows(&world, "failures", &span, &[], &["kind", "attempts", "cost_usd"]).await;
    assert_eq!(failures, json!(["answered 4 0.0314"]));
    // 100 tokens in the 1,900 ms after the first byte.
    let speed =
        rows(&world, "frontier", &span, &[], &["attempts", "ttft_p50_ms", "duration_p50_ms", "tokens_per_s"]).await;
    assert_eq!(speed, json!(["4 100 2000 52.631579"]));
    let columns = ["tenant", "cost_usd", "told_usd", "requests", "usd_per_request", "metric_value", "usd_per_metric"];
    let unit = rows(&world, "unit-economics", &span, &[("metric", "tickets")], &columns).await;
    assert_eq!(unit, json!(["acme 0.0314 0.028 2 0.0017 2 0.0157", "globex 0 0 0 null 7 0"]));
}

/// What has a price by now is not among what has none, and what a token cost is of the tokens that it is the cost of.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_corrected_is_counted_as_it_is_now() {
    let unheard = |number| Call { book: Book::builtin(), ..call(number, 5, [7, 0, 0]) };
    let entries = [unheard(1).entry(), unheard(2).entry(), stated(&unheard(1), &call(1, 5, [7, 0, 0]), at(6, 0))];
    let world = World::with(&entries, 1, &[book(PRICES)]).await;
    let left = world.ask(&everyone(), "SELECT reason, quantity, attempts FROM unpriced").await;
    assert_eq!(left, Ok(json!([{"reason": "unknown_model", "quantity": 7, "attempts": 1}])));

    let was = call(3, 5, [1_000, 0, 0]);
    let entries = [was.entry(), stated(&was, &call(3, 5, [3_000, 0, 0]), at(6, 0))];
    let world = World::with(&entries, 1, &[book(PRICES)]).await;
    let span = span("2026-11-01", "2026-11-30");
    assert_eq!(rows(&world, "frontier", &span, &[], &["attempts", "usd_per_mtok"]).await, json!(["1 1"]));
}

/// Another attempt followed, whenever it was.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_at_the_end_of_a_period_was_retried_after_it() {
    let failed = Call { time: at(5, 23), outcome: Outcome::ProviderError, ends: false, ..call(1, 5, [1_000, 0, 0]) };
    let again = Call { time: at(6, 0), attempt: 2, ..call(1, 5, [1_000, 0, 0]) };
    let world = World::with(&[failed.entry(), again.entry()], 1, &[book(PRICES)]).await;
    let span = span("2026-11-01", "2026-11-06");
    let told = rows(&world, "failures", &span, &[], &["kind", "outcome", "attempts", "cost_usd"]).await;
    assert_eq!(told, json!(["retried provider_error 1 0.001"]));
}
