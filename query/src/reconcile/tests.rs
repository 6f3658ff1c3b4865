//! Files as providers write them, against charges whose sums are known.

use schemas::{
    event::Operation,
    money::{PICO_PER_USD, Pico},
    tokens::TokenClass::{self, CacheRead, CacheWrite1h, CacheWrite5m, Output, UncachedInput},
};

use super::*;

const MONDAY: &str = "2026-11-02";
const TUESDAY: &str = "2026-11-03";

fn ours(cells: &[(&str, &str, TokenClass, i128, Option<i128>)]) -> Book {
    let mut book = Book::new();
    for (day, model, class, quantity, cost) in cells {
        let cell = Cell { day: (*day).into(), model: plain(model), class: Some(*class), account: "openai".into() };
        let unpriced = if cost.is_none() { *quantity } else { 0 };
        book.insert(cell, Side { quantity: Some(*quantity), cost: cost.map(Pico), unpriced });
    }
    book
}

/// The lines of a file of one page.
fn lines_of(vendor: Vendor, bytes: &[u8]) -> Vec<Line> {
    read(vendor, bytes).unwrap().into_iter().flat_map(|page| page.lines).collect()
}

fn invoice_of(vendor: Vendor, files: &[&[u8]]) -> Invoice {
    let pages = files.iter().flat_map(|bytes| read(vendor, bytes).unwrap()).collect();
    Export::of(pages).unwrap().invoice(&Names::default())
}

/// An invoice with these quantities.
fn counted(book: Book) -> Invoice {
    let days = book
        .keys()
        .map(|cell| (cell.day.clone(), Stated { usage: Endpoints::of(Endpoint::All), costs: false }))
        .collect();
    Invoice { book, days }
}

fn doubts(through: &str) -> Doubts {
    Doubts { inexact: BTreeSet::new(), settled_through: through.into() }
}

/// What was found, as day, class, status and cause.
fn told(report: &Report) -> Vec<(String, &'static str, &'static str, &'static str)> {
    let told = |found: &Found| {
        (found.cell.day.clone(), found.cell.class.map_or("", TokenClass::name), found.status.name(), found.cause.name())
    };
    report.found.iter().map(told).collect()
}

const OPENAI_USAGE: &str = r#"{"object":"page","data":[{"object":"bucket","start_time":1793577600,"end_time":1793664000,"results":[
    {"object":"organization.usage.completions.result","input_tokens":1000,"input_cached_tokens":200,"output_tokens":50,"num_model_requests":3,
     "project_id":null,"user_id":null,"api_key_id":"key_a","model":"gpt-5-mini-2025-08-07","batch":null}]},
    {"object":"bucket","start_time":1793664000,"end_time":1793750400,"results":[]}],"has_more":false,"next_page":null}"#;

#[test]
fn openai_counts_cached_input_in_its_input() {
    let lines = lines_of(Vendor::OpenAi, OPENAI_USAGE.as_bytes());
    let counts: Vec<_> = lines.iter().map(|line| (line.class.unwrap(), line.quantity.unwrap())).collect();
    assert_eq!(counts, [(UncachedInput, 800), (CacheRead, 200), (Output, 50)]);
    assert!(lines.iter().all(|line| line.day == MONDAY && line.key.as_deref() == Some("key_a")));
    let same = ours(&[
        (MONDAY, "gpt-5-mini", UncachedInput, 800, Some(1)),
        (MONDAY, "gpt-5-mini", CacheRead, 200, Some(1)),
        (MONDAY, "gpt-5-mini", Output, 50, Some(1)),
    ]);
    let report =
        compare(&invoice_of(Vendor::OpenAi, &[OPENAI_USAGE.as_bytes()]), &same, &doubts(TUESDAY), Tolerance::default());
    assert_eq!(report.count(Status::Matched), 3, "{report:?}");
}

#[test]
fn each_difference_has_its_side_and_its_cause() {
    let invoice = invoice_of(Vendor::OpenAi, &[OPENAI_USAGE.as_bytes()]);
    let check = |cells: &[(&str, &str, TokenClass, i128, Option<i128>)],
                 doubts: &Doubts,
                 wanted: &[(&str, &str, &str, &str)]| {
        let report = compare(&invoice, &ours(cells), doubts, Tolerance::default());
        let wanted: Vec<_> =
            wanted.iter().map(|(day, class, status, cause)| ((*day).to_owned(), *class, *status, *cause)).collect();
        assert_eq!(told(&report), wanted);
    };
    let (mini, known) = ("gpt-5-mini", doubts(TUESDAY));
    let input = (MONDAY, mini, UncachedInput, 800, Some(1));
    let output = (MONDAY, mini, Output, 50, Some(1));
    let alike = (MONDAY, "input", "matched", "");
    // Nothing of it passed here.
    let matched = (MONDAY, "output", "matched", "");
    check(&[input, output], &known, &[alike, (MONDAY, "cache_read", "missing", "not_seen"), matched]);
    // We have what the invoice does not.
    let extra = (MONDAY, "gpt-4o", Output, 9, Some(1));
    check(
        &[input, output, (MONDAY, mini, CacheRead, 200, Some(1)), extra],
        &known,
        &[alike, (MONDAY, "cache_read", "matched", ""), matched, (MONDAY, "output", "excess", "not_on_invoice")],
    );
    // The invoice is not whole for that day.
    check(
        &[input, output],
        &doubts("2026-11-01"),
        &[alike, (MONDAY, "cache_read", "missing", "not_billed_yet"), matched],
    );
    // Classes are told apart otherwise.
    check(
        &[(MONDAY, mini, UncachedInput, 1_000, Some(1)), output],
        &known,
        &[(MONDAY, "input", "excess", "class_differs"), (MONDAY, "cache_read", "missing", "class_differs"), matched],
    );
    // Around midnight.
    check(
        &[input, output, (MONDAY, mini, CacheRead, 120, Some(1)), (TUESDAY, mini, CacheRead, 80, Some(1))],
        &known,
        &[
            alike,
            (MONDAY, "cache_read", "missing", "other_day"),
            matched,
            (TUESDAY, "cache_read", "excess", "other_day"),
        ],
    );
    // Attempts that nobody knows the end of.
    let inexact = Doubts { inexact: BTreeSet::from([(MONDAY.to_owned(), plain(mini))]), ..known };
    check(
        &[input, output, (MONDAY, mini, CacheRead, 100, Some(1))],
        &inexact,
        &[alike, (MONDAY, "cache_read", "missing", "usage_unknown"), matched],
    );
}

#[test]
fn what_is_within_the_tolerance_of_its_class_and_day_is_alike() {
    let (mini, known) = ("gpt-5-mini", doubts(TUESDAY));
    // A tenth of a percent.
    let near = compare(
        &counted(ours(&[(MONDAY, mini, Output, 100_000, None)])),
        &ours(&[(MONDAY, mini, Output, 99_900, None)]),
        &known,
        Tolerance::default(),
    );
    assert_eq!(near.count(Status::Matched), 1);
    let far = compare(
        &counted(ours(&[(MONDAY, mini, Output, 100_000, None)])),
        &ours(&[(MONDAY, mini, Output, 99_899, None)]),
        &known,
        Tolerance::default(),
    );
    assert_eq!((far.count(Status::Missing), far.found[0].cause), (1, Cause::Quantity));
    // What is short of one class on one day is within the tolerance of all classes, and of two days.
    let days = |output| {
        let of = |day, output| [(day, mini, UncachedInput, 1_000_000, None), (day, mini, Output, output, None)];
        ours(&[of(MONDAY, output), of(TUESDAY, 500_000)].concat())
    };
    let short = told(&compare(&counted(days(50_000)), &days(49_900), &known, Tolerance::default()));
    let [_, found, ..] = short.as_slice() else { panic!("{short:?}") };
    assert_eq!(*found, (MONDAY.to_owned(), "output", "missing", "quantity"));
}

#[test]
fn money_is_compared_where_the_file_has_it() {
    let costs = r#"{"object":"page","data":[{"object":"bucket","start_time":1793577600,"results":[
        {"object":"organization.costs.result","amount":{"value":6e-05,"currency":"usd"},"line_item":"gpt-5-mini-2025-08-07, input","quantity":240.0},
        {"object":"organization.costs.result","amount":{"value":0.5,"currency":"usd"},"line_item":"gpt-5-mini-2025-08-07, output","quantity":250000}]}]}"#;
    let invoice = invoice_of(Vendor::OpenAi, &[costs.as_bytes()]);
    let report = compare(
        &invoice,
        &ours(&[
            (MONDAY, "gpt-5-mini", UncachedInput, 240, Some(60_000_000)),
            (MONDAY, "gpt-5-mini", Output, 250_000, Some(PICO_PER_USD)),
        ]),
        &doubts(TUESDAY),
        Tolerance::default(),
    );
    assert_eq!(
        told(&report),
        [(MONDAY.to_owned(), "input", "matched", ""), (MONDAY.to_owned(), "output", "excess", "price_differs")]
    );
    let unpriced = ours(&[
        (MONDAY, "gpt-5-mini", UncachedInput, 240, Some(60_000_000)),
        (MONDAY, "gpt-5-mini", Output, 250_000, None),
    ]);
    let report = compare(&invoice, &unpriced, &doubts(TUESDAY), Tolerance::default());
    assert_eq!(report.found[1].cause, Cause::Unpriced);
    let euros = costs.replace("\"usd\"", "\"eur\"");
    assert!(read(Vendor::OpenAi, euros.as_bytes()).unwrap_err().contains("eur"));
}

#[test]
fn a_key_of_the_invoice_is_an_account_of_ours_or_another() {
    let export = Export::of(read(Vendor::OpenAi, OPENAI_USAGE.as_bytes()).unwrap()).unwrap();
    let names = |key: &str| Names { keys: [(key.to_owned(), "openai".to_owned())].into(), ..Names::default() };
    assert!(export.invoice(&names("key_a")).book.keys().all(|cell| cell.account == "openai"));
    let strange = compare(&export.invoice(&names("key_b")), &Book::new(), &doubts(TUESDAY), Tolerance::default());
    assert!(strange.found.iter().all(|found| found.cause == Cause::OtherKey && found.status == Status::Missing));
}

#[test]
fn anthropic_writes_cents_and_tells_writes_to_the_cache_apart() {
    let usage = r#"{"data":[{"starting_at":"2026-11-02T00:00:00Z","ending_at":"2026-11-03T00:00:00Z","results":[
        {"uncached_input_tokens":1500,"cache_creation":{"ephemeral_1h_input_tokens":0,"ephemeral_5m_input_tokens":500},"cache_read_input_tokens":200,
         "output_tokens":70,"server_tool_use":{"web_search_requests":2},"api_key_id":null,"workspace_id":null,"model":"claude-sonnet-4-5-20250929",
         "service_tier":"standard","context_window":"0-200k"}]}],"has_more":false,"next_page":null}"#;
    let lines = lines_of(Vendor::Anthropic, usage.as_bytes());
    let counts: Vec<_> = lines.iter().map(|line| (line.class.unwrap(), line.quantity.unwrap())).collect();
    let wanted =
        [(UncachedInput, 1500), (CacheRead, 200), (CacheWrite5m, 500), (Output, 70), (TokenClass::WebSearch, 2)];
    assert_eq!(counts, wanted);
    let costs = r#"{"data":[{"starting_at":"2026-11-02T00:00:00Z","results":[{"currency":"USD","amount":"123.78912","description":"Claude Sonnet 4.5 Usage",
        "cost_type":"tokens","token_type":"output_tokens","model":"claude-sonnet-4-5-20250929","service_tier":"standard"}]}]}"#;
    let [line] = lines_of(Vendor::Anthropic, costs.as_bytes()).try_into().unwrap();
    assert_eq!((line.class, line.cost), (Some(Output), Some(Pico(1_237_891_200_000))));
    assert!(
        read(Vendor::Anthropic, b"{}").is_err()
            && read(Vendor::Anthropic, br#"{"data":[{"starting_at":"2026-11-02","results":[{}]}]}"#).is_err()
    );
}

const CUR: &str = "line_item_usage_start_date,line_item_usage_type,line_item_usage_amount,line_item_unblended_cost,line_item_product_code,line_item_line_item_type,pricing_unit,line_item_currency_code\n\
    2026-11-02T00:00:00.000Z,USE1-ClaudeSonnet4.5-input-tokens,1.5,0.0045,AmazonBedrock,Usage,1K tokens,USD\n\
    2026-11-02T05:00:00.000Z,USE1-ClaudeSonnet4.5-input-tokens,0.5,0.0015,AmazonBedrock,Usage,1K tokens,USD\n\
    2026-11-02T00:00:00.000Z,USE1-ClaudeSonnet4.5-cache-read-input-token-count,2,0.0006,AmazonBedrock,Usage,1K tokens,USD\n\
    2026-11-02T00:00:00.000Z,BoxUsage:t3.micro,24,0.25,AmazonEC2,Usage,Hrs,USD\n";

#[test]
fn a_cost_and_usage_report_has_a_line_for_each_token_type() {
    let check = |bytes: &[u8]| {
        let invoice = invoice_of(Vendor::Bedrock, &[bytes]);
        let ours = ours(&[
            (MONDAY, "us.anthropic.claude-sonnet-4-5-20250929-v1:0", UncachedInput, 2_000, Some(6_000_000_000)),
            (MONDAY, "us.anthropic.claude-sonnet-4-5-20250929-v1:0", CacheRead, 2_000, Some(600_000_000)),
        ]);
        let report = compare(&invoice, &ours, &doubts(TUESDAY), Tolerance::default());
        assert_eq!((report.count(Status::Matched), report.found.len()), (2, 2), "{report:?}");
    };
    check(CUR.as_bytes());
    check(&parquet(CUR, None));
    assert!(read(Vendor::Bedrock, b"a,b\n1,2\n").unwrap_err().contains("line_item_usage_start_date"));
    let euros = CUR.replacen("USD", "EUR", 1);
    assert!(read(Vendor::Bedrock, euros.as_bytes()).unwrap_err().contains("line 2"));
}

/// What is given back stands by itself with a cause, what a savings plan covers was used, and the rest is told as left out.
#[test]
fn no_line_of_bedrock_is_dropped_in_silence() {
    let back = ["Credit", "Refund", "EdpDiscount", "PrivateRateDiscount", "BundledDiscount"];
    let row = |kind: &str, amount: &str, dollars: &str| {
        format!(
            "2026-11-02T00:00:00Z,USE1-NovaPro-input-tokens,{amount},{dollars},AmazonBedrock,{kind},1K tokens,USD\n"
        )
    };
    let mut report = format!("{}\n", CUR.lines().next().unwrap());
    report += &row("SavingsPlanCoveredUsage", "1", "1");
    for kind in back {
        report += &row(kind, "0", "-0.5");
    }
    for (kind, dollars) in [("Tax", "0.25"), ("Tax", "0.5"), ("SavingsPlanNegation", "-1")] {
        report += &row(kind, "0", dollars);
    }
    let mine = ours(&[(MONDAY, "us.amazon.nova-pro-v1:0", UncachedInput, 1_000, Some(PICO_PER_USD))]);
    let found =
        compare(&invoice_of(Vendor::Bedrock, &[report.as_bytes()]), &mine, &doubts(TUESDAY), Tolerance::default());
    let causes: Vec<_> = found.found.iter().map(|found| found.cause).collect();
    assert_eq!(causes.iter().filter(|cause| **cause == Cause::Credit).count(), back.len(), "{found:?}");
    assert_eq!((found.count(Status::Matched), found.found.len()), (1, back.len() + 1), "{found:?}");
    let export = Export::of(read(Vendor::Bedrock, report.as_bytes()).unwrap()).unwrap();
    let left = |lines, pico| LeftOut { lines, cost: Some(Pico(pico)) };
    let wanted = [("SavingsPlanNegation", left(1, -PICO_PER_USD)), ("Tax", left(2, 3 * PICO_PER_USD / 4))];
    assert_eq!(export.left_out, BTreeMap::from(wanted.map(|(what, left)| (what.to_owned(), left))));
}

#[test]
fn an_instant_with_a_zone_is_of_its_day_in_utc() {
    let at = |text: &str| CUR.lines().take(2).collect::<Vec<_>>().join("\n").replace("2026-11-02T00:00:00.000Z", text);
    let check = |bytes: &[u8], wanted: &str| {
        let export = Export::of(read(Vendor::Bedrock, bytes).unwrap()).unwrap();
        let days: Vec<_> =
            export.lines.iter().map(|line| line.day.as_str()).chain(export.days.keys().map(String::as_str)).collect();
        assert_eq!(days, [wanted; 2]);
    };
    for (text, wanted) in [
        ("2026-11-02T23:30:00Z", MONDAY),
        ("2026-11-02T23:30:00.000Z", MONDAY),
        ("2026-11-02 23:30:00", MONDAY),
        ("2026-11-02", MONDAY),
        ("2026-11-02T19:00:00-08:00", TUESDAY),
        ("2026-11-03T04:00:00+09:00", MONDAY),
    ] {
        check(at(text).as_bytes(), wanted);
    }
    for zone in [None, Some("+00:00"), Some("-08:00"), Some("+09:00")] {
        check(&parquet(&at("2026-11-02T23:30:00Z"), zone), MONDAY);
    }
    assert!(read(Vendor::Bedrock, at("yesterday").as_bytes()).unwrap_err().contains("line 2"));
}

#[test]
fn what_is_written_to_the_cache_for_an_hour_has_a_class_of_its_own() {
    let check = |usage: &str, class: TokenClass| {
        let head = CUR.lines().next().unwrap();
        let product = r#""{""servicename"":""Claude Sonnet 4.5 (Amazon Bedrock Edition)""}""#;
        let row = format!("2026-11-02T00:00:00Z,{usage},2,0.012,AmazonBedrock,Usage,1K tokens,USD,{product}");
        let report = format!("{head},product\n{row}\n");
        let [line] = lines_of(Vendor::Bedrock, report.as_bytes()).try_into().unwrap();
        let wanted = (Some(class), Some(2_000), plain("claude-sonnet-4-5"));
        assert_eq!((line.class, line.quantity, plain(&line.model)), wanted, "{usage}");
    };
    check("USE1-MP:USE1_CacheWriteInputTokenCount-Units", CacheWrite5m);
    check("USE1-MP:USE1_CacheWrite1hInputTokenCount-Units", CacheWrite1h);
    check("USE1-MP:USE1_CacheWriteInputTokenCount1h-Units", CacheWrite1h);
    check("USE1-MP:USE1_InputTokenCount-Units", UncachedInput);
    check("USE1-ClaudeSonnet4.5-cache-write-input-token-count", CacheWrite5m);
    check("USE1-ClaudeSonnet4.5-cache-write-5m-input-token-count", CacheWrite5m);
    check("USE1-ClaudeSonnet4.5-cache-write-1h-input-token-count", CacheWrite1h);
    check("USE1-ClaudeSonnet4.5-cache-write-input-token-count-1-hour", CacheWrite1h);
    check("USE1-ClaudeSonnet4.5-cache-read-input-token-count", CacheRead);
    check("USE1-ClaudeSonnet4.5-output-token-count", Output);
}

/// The same report as Parquet: amounts as numbers and times as such, as AWS writes them, or as shown in a zone, and maps.
fn parquet(csv: &str, zone: Option<&str>) -> Vec<u8> {
    use std::sync::Arc;

    use arrow::{
        array::{ArrayRef, Float64Array, MapBuilder, RecordBatch, StringArray, StringBuilder},
        compute::cast,
        datatypes::{DataType, TimeUnit},
    };
    let records = crate::csv::records(csv.as_bytes()).unwrap();
    let columns = records[0].iter().enumerate().map(|(at, name)| {
        let cells = || records[1..].iter().map(move |row| row[at].as_str());
        let array: ArrayRef = if name.ends_with("amount") || name.ends_with("cost") {
            Arc::new(cells().map(|cell| cell.parse::<f64>().ok()).collect::<Float64Array>())
        } else if name.ends_with("date") {
            let texts = StringArray::from_iter_values(cells());
            let utc = cast(&texts, &DataType::Timestamp(TimeUnit::Millisecond, Some("+00:00".into()))).unwrap();
            cast(&utc, &DataType::Timestamp(TimeUnit::Millisecond, zone.map(Into::into))).unwrap()
        } else {
            Arc::new(StringArray::from_iter_values(cells()))
        };
        (name.clone(), array)
    });
    let mut product = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for row in &records[1..] {
        let is_model = row.iter().any(|cell| cell == "AmazonBedrock");
        if is_model {
            product.keys().append_value("servicename");
            product.values().append_value("Claude Sonnet 4.5 (Amazon Bedrock Edition)");
        }
        product.append(is_model).unwrap();
    }
    let product: ArrayRef = Arc::new(product.finish());
    let rows = RecordBatch::try_from_iter(columns.chain([("product".to_owned(), product)])).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(Vec::new(), rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.into_inner().unwrap()
}

/// A page of OpenAI: buckets of a day, with the results of each.
fn page(has_more: bool, buckets: &[(&str, &[serde_json::Value])]) -> Vec<u8> {
    let data = buckets.iter().map(|(day, results)| {
        let starts = schemas::time::Time::parse(day).unwrap().as_micros() / 1_000_000;
        serde_json::json!({"object": "bucket", "start_time": starts, "end_time": starts + 86_400, "results": results})
    });
    let data: Vec<_> = data.collect();
    serde_json::json!({"object": "page", "data": data, "has_more": has_more}).to_string().into_bytes()
}

fn usage(model: &str, input: i128, output: i128) -> serde_json::Value {
    serde_json::json!({"object": "organization.usage.completions.result", "model": model, "input_tokens": input as i64, "output_tokens": output as i64})
}

fn cost(item: Option<&str>, dollars: &str, quantity: Option<i64>) -> serde_json::Value {
    let value: serde_json::Number = dollars.parse().unwrap();
    serde_json::json!({"object": "organization.costs.result", "amount": {"value": value, "currency": "usd"}, "line_item": item, "quantity": quantity})
}

#[test]
fn a_day_that_is_stated_to_have_nothing_is_compared() {
    let mine = ours(&[
        (MONDAY, "m1", UncachedInput, 1_000, Some(PICO_PER_USD)),
        (TUESDAY, "m1", UncachedInput, 2_000, Some(PICO_PER_USD)),
        ("2026-11-04", "m1", UncachedInput, 3_000, Some(PICO_PER_USD)),
    ]);
    let check = |files: &[Vec<u8>], wanted: &[(&str, &str, &str)]| {
        let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
        let report = compare(&invoice_of(Vendor::OpenAi, &files), &mine, &doubts("2026-11-05"), Tolerance::default());
        let got: Vec<_> = told(&report).into_iter().map(|(day, _, status, cause)| (day, status, cause)).collect();
        let wanted: Vec<_> = wanted.iter().map(|(day, status, cause)| ((*day).to_owned(), *status, *cause)).collect();
        assert_eq!(got, wanted);
    };
    let extra = |day| (day, "excess", "not_on_invoice");
    // Of Wednesday the export says nothing.
    check(
        &[page(false, &[(MONDAY, &[usage("m1", 1_000, 0)]), (TUESDAY, &[])])],
        &[(MONDAY, "matched", ""), extra(TUESDAY)],
    );
    check(
        &[page(false, &[(MONDAY, &[cost(Some("m1, input"), "1", None)]), (TUESDAY, &[])])],
        &[(MONDAY, "matched", ""), extra(TUESDAY)],
    );
    // Nobody knows of which endpoint.
    check(&[page(false, &[(MONDAY, &[]), (TUESDAY, &[])])], &[extra(MONDAY), extra(TUESDAY)]);
    // In two pages, of which the second has nothing at all, and in any order.
    let pages = [page(true, &[(MONDAY, &[usage("m1", 1_000, 0)])]), page(false, &[(TUESDAY, &[])])];
    check(&pages, &[(MONDAY, "matched", ""), extra(TUESDAY)]);
    check(&[pages[1].clone(), pages[0].clone()], &[(MONDAY, "matched", ""), extra(TUESDAY)]);
}

#[test]
fn an_export_that_goes_on_is_not_taken_for_the_whole() {
    let check = |files: &[Vec<u8>], whole: bool| {
        let pages = files.iter().flat_map(|bytes| read(Vendor::OpenAi, bytes).unwrap()).collect();
        let got = Export::of(pages);
        assert_eq!(got.is_ok(), whole, "{got:?}");
        assert!(got.is_ok() || got.is_err_and(|why| why.contains("has_more")));
    };
    let first = page(true, &[(MONDAY, &[usage("m1", 1, 0)])]);
    check(std::slice::from_ref(&first), false);
    check(&[first.clone(), page(false, &[(TUESDAY, &[usage("m1", 1, 0)])])], true);
    // What is between them is missing.
    check(&[first.clone(), page(false, &[("2026-11-04", &[usage("m1", 1, 0)])])], false);
    // Costs are not the rest of usage.
    check(&[first, page(false, &[(TUESDAY, &[cost(Some("m1"), "1", None)])])], false);
    let anthropic =
        br#"{"data":[{"starting_at":"2026-11-02T00:00:00Z","results":[]}],"has_more":true,"next_page":"p"}"#;
    assert!(Export::of(read(Vendor::Anthropic, anthropic).unwrap()).is_err());
}

#[test]
fn money_without_a_class_is_compared_over_all_of_them_beside_tokens_by_class() {
    let mine = ours(&[
        (MONDAY, "m1", UncachedInput, 1_000, Some(PICO_PER_USD)),
        (MONDAY, "m1", Output, 500, Some(2 * PICO_PER_USD)),
        (MONDAY, "m2", Output, 100, Some(PICO_PER_USD)),
    ]);
    let check = |results: &[&[serde_json::Value]], wanted: &[(&str, &str, &str)]| {
        let files: Vec<_> = results.iter().map(|results| page(false, &[(MONDAY, results)])).collect();
        let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
        let report = compare(&invoice_of(Vendor::OpenAi, &files), &mine, &doubts(TUESDAY), Tolerance::default());
        let got = report.found.iter().map(|found| {
            (found.cell.model.as_str(), found.cell.class.map_or("", TokenClass::name), found.status.name())
        });
        assert_eq!(got.collect::<Vec<_>>(), wanted, "{report:?}");
    };
    let tokens = [usage("m1", 1_000, 500), usage("m2", 0, 100)];
    let by_class = [("m-1", "", "matched"), ("m-1", "input", "matched"), ("m-1", "output", "matched")];
    let [all, input, output] = by_class;
    check(
        &[&tokens, &[cost(Some("m1"), "3", None), cost(Some("m2, output"), "1", Some(100))]],
        &[all, input, output, ("m-2", "output", "matched")],
    );
    // A class on one line only, and no usage: nobody knows whose tokens the other line is of, and all of the money is compared.
    check(
        &[&[
            cost(Some("m1, input"), "1", Some(1_000)),
            cost(Some("m1"), "2", None),
            cost(Some("m2, output"), "1", Some(100)),
        ]],
        &[all, ("m-2", "output", "matched")],
    );
    // Tiers are such lines.
    check(
        &[&[
            cost(Some("m1, input"), "0.25", Some(400)),
            cost(Some("m1, batch input"), "0.75", Some(600)),
            cost(Some("m1, output"), "2", Some(500)),
            cost(Some("m2, output"), "1", Some(100)),
        ]],
        &[all, ("m-2", "output", "matched")],
    );
    check(
        &[&[cost(Some("m1, input"), "1", None), cost(Some("m1"), "2.5", None), cost(Some("m2, output"), "1", None)]],
        &[("m-1", "", "missing"), ("m-2", "output", "matched")],
    );
    // Costs that nobody grouped are those of all models.
    check(&[&tokens, &[cost(None, "4", None)]], &[("", "", "matched"), input, output, ("m-2", "output", "matched")]);
    // Costs repeat the quantities of usage.
    check(
        &[
            &tokens,
            &[
                cost(Some("m1, input"), "1", Some(1_000)),
                cost(Some("m1, output"), "2", Some(500)),
                cost(Some("m2, output"), "1", Some(100)),
            ],
        ],
        &[input, output, ("m-2", "output", "matched")],
    );
    // What has no price is not known to cost the nothing that the invoice says.
    let unpriced = ours(&[(MONDAY, "m3", Output, 9, None)]);
    let invoice = invoice_of(Vendor::OpenAi, &[&page(false, &[(MONDAY, &[cost(Some("m1"), "1", None)])])]);
    let report = compare(&invoice, &unpriced, &doubts(TUESDAY), Tolerance::default());
    assert_eq!(report.found.iter().map(|found| found.status).collect::<Vec<_>>(), [Status::Missing, Status::Excess]);
}

/// Of what an endpoint does not count its usage says nothing, and nothing is said of it here.
#[test]
fn usage_is_compared_with_what_its_endpoint_counts() {
    let result = |kind: &str, rest: &str| {
        serde_json::from_str(&format!(r#"{{"object": "organization.usage.{kind}.result", {rest}}}"#)).unwrap()
    };
    let embedded: serde_json::Value = result("embeddings", r#""input_tokens": 900, "model": "e1""#);
    let drawn: serde_json::Value = result("images", r#""images": 3, "num_model_requests": 2, "model": "i1""#);
    let answers = page(false, &[(MONDAY, &[usage("m1", 1_000, 50)])]);
    let embeddings = page(false, &[(MONDAY, &[embedded])]);
    let images = page(false, &[(MONDAY, std::slice::from_ref(&drawn)), (TUESDAY, &[])]);
    let said = |files: &[&[u8]], day: &str| {
        let invoice = invoice_of(Vendor::OpenAi, files);
        let counts = |operation, class| invoice.counts(day, operation, Some(class));
        [
            counts(Operation::Chat, UncachedInput),
            counts(Operation::Unknown, Output),
            counts(Operation::Embeddings, UncachedInput),
            counts(Operation::Chat, TokenClass::WebSearch),
            counts(Operation::Image, TokenClass::ImageOutput),
        ]
    };
    assert_eq!(said(&[&answers], MONDAY), [true, true, false, false, false]);
    assert_eq!(said(&[&embeddings], MONDAY), [false, false, true, false, false]);
    assert_eq!(said(&[&answers, &embeddings, &images], MONDAY), [true, true, true, false, false]);
    // Costs are of everything, and so is Anthropic's usage.
    let paid = page(false, &[(MONDAY, &[cost(Some("m1, input"), "1", Some(1_000))])]);
    assert_eq!(said(&[&paid], MONDAY), [true; 5]);
    let other = br#"{"data":[{"starting_at":"2026-11-02T00:00:00Z","results":[{"output_tokens":1,"model":"m1"}]}]}"#;
    assert!(invoice_of(Vendor::Anthropic, &[other]).counts(MONDAY, Operation::Chat, Some(TokenClass::WebSearch)));
    // What has no quantity on our side is compared by its money alone.
    let mut mine = ours(&[
        (MONDAY, "m1", UncachedInput, 1_000, Some(PICO_PER_USD)),
        (MONDAY, "m1", Output, 50, Some(1)),
        (MONDAY, "e1", UncachedInput, 900, Some(PICO_PER_USD)),
    ]);
    mine.values_mut().filter(|side| side.quantity == Some(900)).for_each(|side| side.quantity = None);
    let report = compare(&invoice_of(Vendor::OpenAi, &[&answers]), &mine, &doubts(TUESDAY), Tolerance::default());
    assert_eq!((report.found.len(), report.count(Status::Matched)), (2, 2), "{report:?}");
    let paid = page(false, &[(MONDAY, &[cost(Some("m1"), "1", None), cost(Some("e1"), "1", None)])]);
    let report =
        compare(&invoice_of(Vendor::OpenAi, &[&answers, &paid]), &mine, &doubts(TUESDAY), Tolerance::default());
    assert_eq!((report.found.len(), report.count(Status::Matched)), (4, 4), "{report:?}");
    // Images are told as left out, and their empty day is no statement.
    let export = Export::of(read(Vendor::OpenAi, &images).unwrap()).unwrap();
    let left = BTreeMap::from([("organization.usage.images.result".to_owned(), LeftOut { lines: 1, cost: None })]);
    assert_eq!((export.days.len(), export.left_out), (0, left));
}

/// Money for searches that names no model is that of all of them, beside tokens by model.
#[test]
fn searches_without_a_model_are_those_of_all_models() {
    let mine = ours(&[
        (MONDAY, "m1", UncachedInput, 1_000, Some(PICO_PER_USD)),
        (MONDAY, "m1", TokenClass::WebSearch, 2, Some(PICO_PER_USD / 50)),
        (MONDAY, "m2", TokenClass::WebSearch, 3, Some(3 * PICO_PER_USD / 100)),
        (MONDAY, "m2", Output, 7, Some(PICO_PER_USD)),
    ]);
    let check = |vendor: Vendor, bytes: &[u8]| {
        let report = compare(&invoice_of(vendor, &[bytes]), &mine, &doubts(TUESDAY), Tolerance::default());
        let got: Vec<_> = report.found.iter().map(|found| (found.cell.model.as_str(), found.status.name())).collect();
        assert_eq!(got, [("", "matched"), ("m-1", "matched"), ("m-2", "matched")], "{report:?}");
    };
    check(
        Vendor::OpenAi,
        &page(
            false,
            &[(
                MONDAY,
                &[
                    cost(Some("m1, input"), "1", Some(1_000)),
                    cost(Some("m2, output"), "1", Some(7)),
                    cost(Some("web search tool calls"), "0.05", Some(5)),
                ],
            )],
        ),
    );
    check(
        Vendor::Anthropic,
        br#"{"data":[{"starting_at":"2026-11-02T00:00:00Z","results":[
            {"currency":"USD","amount":"100","cost_type":"tokens","token_type":"uncached_input_tokens","model":"m1","description":"M1 Usage"},
            {"currency":"USD","amount":"100","cost_type":"tokens","token_type":"output_tokens","model":"m2","description":"M2 Usage"},
            {"currency":"USD","amount":"5","cost_type":"web_search","token_type":null,"model":null,"description":"Web Search Usage"}]}]}"#,
    );
}

#[test]
fn a_cost_and_usage_report_is_about_every_day_between_its_lines() {
    let mine =
        ours(&[(TUESDAY, "m1", Output, 9, Some(PICO_PER_USD)), ("2026-11-05", "m1", Output, 9, Some(PICO_PER_USD))]);
    let report = format!("{CUR}2026-11-04T00:00:00.000Z,BoxUsage:t3.micro,24,0.25,AmazonEC2,Usage,Hrs,USD\n");
    let found =
        compare(&invoice_of(Vendor::Bedrock, &[report.as_bytes()]), &mine, &doubts("2026-11-06"), Tolerance::default());
    let extra: Vec<_> = told(&found).into_iter().filter(|(.., cause)| *cause == "not_on_invoice").collect();
    assert_eq!(extra, [(TUESDAY.to_owned(), "output", "excess", "not_on_invoice")]);
}

#[test]
fn names_of_one_model_come_to_the_same() {
    let check = |one: &str, other: &str| assert_eq!(plain(one), plain(other));
    check("gpt-5-mini-2025-08-07", "gpt-5-mini");
    check("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "ClaudeSonnet4.5");
    check("Claude4.5Sonnet", "claude-sonnet-4-5");
    for place in ["us.", "eu.", "jp.", "au.", "ca.", "apac.", "global.", "us-gov."] {
        let profile = format!("{place}anthropic.claude-sonnet-4-5-20250929-v1:0");
        check(&profile, "claude-sonnet-4-5");
        check(&format!("arn:aws:bedrock:us-east-1:123456789012:inference-profile/{profile}"), "claude-sonnet-4-5");
    }
    check("arn:aws:bedrock:eu-west-1::foundation-model/amazon.nova-pro-v1:0", "NovaPro");
    assert_ne!(plain("gpt-5"), plain("gpt-5-mini"));
    assert_ne!(plain("claude-sonnet-4"), plain("claude-sonnet-4-5"));
    // Fine-tunes by their whole names.
    let tuned = ["gpt-4.1-mini-2025-04-14:org::A1b", "gpt-4.1-2025-04-14:org::A1b", "gpt-4.1-mini-2025-04-14:org::a1b"];
    let tuned = tuned.map(|name| format!("ft:{name}"));
    let names: BTreeSet<_> = tuned.iter().map(|name| plain(name)).collect();
    assert_eq!((names.len(), plain(&format!(" {} ", tuned[0]))), (3, tuned[0].clone()));
    let item = format!("{}, cached input", tuned[0]);
    let [line] = lines_of(Vendor::OpenAi, costs(&[(Some(item.as_str()), "2")]).as_bytes()).try_into().unwrap();
    assert_eq!((Names::default().theirs(&line.model), line.class), (tuned[0].clone(), Some(CacheRead)));
}

/// Of two models that are told apart by their versions alone the differences do not cancel.
#[test]
fn versions_of_a_model_are_models_of_their_own_where_several_are_in_use() {
    let (one, two) = ("amazon.titan-embed-text-v1", "amazon.titan-embed-text-v2:0");
    let line = |usage: &str, thousands: u32| {
        format!("2026-11-02T00:00:00Z,USE1-{usage}-input-tokens,{thousands},0.01,AmazonBedrock,Usage,1K tokens,USD\n")
    };
    let head = CUR.lines().next().unwrap();
    let swapped = format!("{head}\n{}{}", line("TitanEmbeddingsG1-Text", 800), line("TitanEmbeddingV2-Text", 400));
    let export = Export::of(read(Vendor::Bedrock, swapped.as_bytes()).unwrap()).unwrap();
    let called = [("TitanEmbeddingsG1-Text", one), ("TitanEmbeddingV2-Text", two)];
    let called = BTreeMap::from(called.map(|(theirs, ours)| (theirs.to_owned(), ours.to_owned())));
    let check = |ours: &[(&str, i128)], wanted: &[(&str, Status)]| {
        let mut names = Names::of(BTreeMap::new(), called.clone());
        names.heed(&export, ours.iter().map(|(model, _)| *model));
        let mut mine = Book::new();
        for (model, quantity) in ours {
            let (model, account) = (names.ours(model), "bedrock".to_owned());
            let cell = Cell { day: MONDAY.into(), model, class: Some(UncachedInput), account };
            mine.insert(cell, Side { quantity: Some(*quantity), cost: Some(Pico(PICO_PER_USD / 100)), unpriced: 0 });
        }
        let report = compare(&export.invoice(&names), &mine, &doubts(TUESDAY), Tolerance::default());
        let got: Vec<_> = report.found.iter().map(|found| (found.cell.model.as_str(), found.status)).collect();
        assert_eq!(got, wanted);
    };
    let [first, second] = ["embed-text-titan-v1", "embed-text-titan-v2"];
    check(&[(one, 400_000), (two, 800_000)], &[(first, Status::Missing), (second, Status::Excess)]);
    check(&[(one, 800_000), (two, 400_000)], &[(first, Status::Matched), (second, Status::Matched)]);
    // What the file calls by a version that nobody used here is not what is used here.
    check(&[(two, 1_200_000)], &[(first, Status::Missing), (second, Status::Excess)]);
    // One version is the model, and behind a date a number says nothing.
    let mut names = Names::default();
    let dated = ["anthropic.claude-3-5-sonnet-20240620-v1:0", "claude-3-5-sonnet-20240620"];
    names.heed(&Export::default(), ["amazon.nova-pro-v1:0", "us.amazon.nova-pro-v1"].into_iter().chain(dated));
    assert_eq!(names.ours("amazon.nova-pro-v1:0"), names.theirs("NovaPro"));
    assert_eq!(names.ours(dated[0]), names.theirs("Claude3.5Sonnet"));
    names.heed(&Export::default(), ["anthropic.claude-v2", "anthropic.claude-v2:1"].into_iter());
    assert_ne!(names.ours("anthropic.claude-v2:0"), names.ours("anthropic.claude-v2:1"));
}

/// A date is a version: of two snapshots that are swapped the differences do not cancel, and a name without a date is that of the one that
/// it can be.
#[test]
fn snapshots_of_a_model_are_told_apart_and_meet_a_name_without_a_date() {
    let (bare, may, august) = ("gpt-4o", "gpt-4o-2024-05-13", "gpt-4o-20240806");
    let check = |theirs: &[(&str, i128)], ours: &[(&str, i128)], wanted: &[(&str, i128, i128)]| {
        let results: Vec<_> = theirs.iter().map(|(model, input)| usage(model, *input, 0)).collect();
        let bytes = page(false, &[(MONDAY, results.as_slice())]);
        let export = Export::of(read(Vendor::OpenAi, &bytes).unwrap()).unwrap();
        let mut names = Names::default();
        names.heed(&export, ours.iter().map(|(model, _)| *model));
        let mut mine = Book::new();
        for (model, quantity) in ours {
            let (model, account) = (names.ours(model), "openai".to_owned());
            let side = mine.entry(Cell { day: MONDAY.into(), model, class: Some(UncachedInput), account }).or_default();
            *side.quantity.get_or_insert_default() += quantity;
        }
        let report = compare(&export.invoice(&names), &mine, &doubts(TUESDAY), Tolerance::default());
        let quantity = |side: Side| side.quantity.unwrap_or(0);
        let found = report.found.iter().filter(|found| found.cell.class == Some(UncachedInput));
        let got: Vec<_> =
            found.map(|found| (found.cell.model.as_str(), quantity(found.invoice), quantity(found.ours))).collect();
        assert_eq!(got, wanted, "{theirs:?} {ours:?}");
    };
    let (any, first, second) = ("gpt-o-4", "gpt-o-4-20240513", "gpt-o-4-20240806");
    check(&[(may, 800), (august, 400)], &[(may, 400), (august, 800)], &[(first, 800, 400), (second, 400, 800)]);
    check(&[(may, 400), (august, 800)], &[(august, 1_200)], &[(first, 400, 0), (second, 800, 1_200)]);
    // One of them is in use.
    check(&[(bare, 400)], &[(may, 400)], &[(any, 400, 400)]);
    check(&[(may, 1_200)], &[(may, 400), (bare, 800)], &[(any, 1_200, 1_200)]);
    // Of two one is named on both sides, so that it is the other.
    check(&[(may, 400), (august, 800)], &[(may, 400), (bare, 800)], &[(any, 800, 800), (first, 400, 400)]);
    check(&[(may, 400), (bare, 800)], &[(may, 400), (august, 800)], &[(any, 800, 800), (first, 400, 400)]);
    // Who names none tells none apart.
    check(&[(bare, 1_200)], &[(may, 400), (august, 800)], &[(any, 1_200, 1_200)]);
    check(&[(may, 400), (august, 800)], &[(bare, 1_200)], &[(any, 1_200, 1_200)]);
    check(&[(bare, 1_200)], &[(bare, 0), (may, 400), (august, 800)], &[(any, 1_200, 1_200)]);
    // On both sides without a date it is the same one.
    check(
        &[(bare, 100), (may, 200)],
        &[(bare, 100), (august, 200)],
        &[(any, 100, 100), (first, 200, 0), (second, 0, 200)],
    );
}

/// A page of costs of Monday with these line items and dollars.
fn costs(items: &[(Option<&str>, &str)]) -> String {
    let result = |(item, value): &(Option<&str>, &str)| {
        let item = item.map_or("null".to_owned(), |item| format!("{item:?}"));
        format!(
            r#"{{"object":"organization.costs.result","amount":{{"value":{value},"currency":"usd"}},"line_item":{item},"project_id":null}}"#
        )
    };
    let results: Vec<_> = items.iter().map(result).collect();
    format!(r#"{{"data":[{{"start_time":1793577600,"end_time":1793664000,"results":[{}]}}]}}"#, results.join(","))
}

#[test]
fn a_credit_stands_by_itself_and_hides_no_model() {
    let page = costs(&[
        (Some("gpt-5-mini-2025-08-07, input"), "2"),
        (Some("gpt-5-mini-2025-08-07, output"), "3"),
        (None, "-0.5"),
    ]);
    let own = ours(&[
        (MONDAY, "gpt-5-mini", UncachedInput, 10, Some(2 * PICO_PER_USD)),
        (MONDAY, "gpt-5-mini", Output, 10, Some(3 * PICO_PER_USD)),
    ]);
    let report = compare(&invoice_of(Vendor::OpenAi, &[page.as_bytes()]), &own, &doubts(TUESDAY), Tolerance::default());
    let monday = |class, status, cause| (MONDAY.to_owned(), class, status, cause);
    let wanted = [monday("", "excess", "credit"), monday("input", "matched", ""), monday("output", "matched", "")];
    assert_eq!(told(&report), wanted);
}

/// A steady job counts the same in each hour; pages of hours and minutes break within a day.
#[test]
fn buckets_of_one_day_are_told_apart_by_when_they_begin() {
    let hour = |hour: usize, page: usize| {
        let results = if hour == 2 { r#"{"uncached_input_tokens":1000,"output_tokens":10,"model":"m1"}"# } else { "" };
        let (starts, ends) = (page * 12 + hour, page * 12 + hour + 1);
        format!(
            r#"{{"starting_at":"2026-11-02T{starts:02}:00:00Z","ending_at":"2026-11-02T{ends:02}:00:00Z","results":[{results}]}}"#
        )
    };
    let half = |page: usize, more: bool| {
        let buckets: Vec<_> = (0..12).map(|of| hour(of, page)).collect();
        format!(r#"{{"data":[{}],"has_more":{more}}}"#, buckets.join(",")).replace("T24:00:00", "T23:59:59")
    };
    let of = |files: &[String]| {
        Export::of(files.iter().flat_map(|file| read(Vendor::Anthropic, file.as_bytes()).unwrap()).collect())
    };
    let [morning, evening] = [half(0, true), half(1, false)];
    let invoice = of(&[morning.clone(), evening.clone()]).unwrap().invoice(&Names::default());
    let quantities: Vec<_> = invoice.book.values().map(|side| side.quantity).collect();
    assert_eq!(quantities, [Some(2_000), Some(20)]);
    let why = of(&[morning.clone(), evening, morning]).unwrap_err();
    assert!(why.contains("the bucket of 2026-11-02T02:00:00.000000Z is given twice"), "{why}");
}

/// AWS breaks a large report into files anywhere.
#[test]
fn a_report_of_hours_may_come_in_several_files() {
    let head = CUR.lines().next().unwrap();
    let half = |hours: std::ops::Range<usize>| {
        let row = |day: &str, hour: usize| {
            format!("{day}T{hour:02}:00:00Z,USE1-NovaMicro-input-tokens,1,0.01,AmazonBedrock,Usage,1K tokens,USD\n")
        };
        let rows = hours.flat_map(|hour| [MONDAY, TUESDAY].map(|day| row(day, hour)));
        format!("{head}\n{}", rows.collect::<String>())
    };
    let of = |files: &[String]| {
        Export::of(files.iter().flat_map(|file| read(Vendor::Bedrock, file.as_bytes()).unwrap()).collect())
    };
    let [morning, evening] = [half(0..12), half(12..24)];
    let invoice = of(&[morning.clone(), evening.clone()]).unwrap().invoice(&Names::default());
    let quantities: Vec<_> = invoice.book.values().map(|side| side.quantity).collect();
    assert_eq!((quantities, invoice.days.len()), (vec![Some(24_000); 2], 2));
    assert!(of(&[morning.clone(), evening, morning]).unwrap_err().contains("2026-11-02 is given twice"));
    // What two reports have both is told as well.
    assert!(of(&[half(0..12), half(11..24)]).unwrap_err().contains("2026-11-02T11:00:00.000000Z is given twice"));
}

/// Lines may be equal but for what the report itself tells them apart by; one that stands twice is one, a tax too.
#[test]
fn lines_of_a_report_are_told_apart_by_what_names_them() {
    let head = format!("{},identity_line_item_id,identity_time_interval", CUR.lines().next().unwrap());
    let hour = |hour: u32| format!("2026-11-02T{hour:02}:00:00Z/2026-11-02T{:02}:00:00Z", hour + 1);
    let row = |id: &str, at: u32, kind: &str| {
        let usage = "USE1-NovaMicro-input-tokens,1,0.01,AmazonBedrock";
        format!("2026-11-02T00:00:00Z,{usage},{kind},1K tokens,USD,{id},{}\n", hour(at))
    };
    let file = |rows: &[String]| format!("{head}\n{}", rows.concat()).into_bytes();
    let of =
        |files: &[Vec<u8>]| Export::of(files.iter().flat_map(|bytes| read(Vendor::Bedrock, bytes).unwrap()).collect());
    let check = |files: &[Vec<u8>], thousands: i128, again: u64| {
        let export = of(files).unwrap();
        let quantities: Vec<_> = export.invoice(&Names::default()).book.values().map(|side| side.quantity).collect();
        assert_eq!((quantities, export.again), (vec![Some(thousands * 1_000)], again));
    };
    let [one, other] = ["a", "b"].map(|id| file(&[row(id, 0, "Usage")]));
    check(&[one.clone(), other.clone()], 2, 0);
    check(&[one.clone(), other, one.clone()], 2, 1);
    // One name in two intervals, and twice in one file.
    check(&[file(&[row("a", 0, "Usage"), row("a", 1, "Usage"), row("a", 0, "Usage")])], 2, 1);
    check(&[parquet(&String::from_utf8(one.clone()).unwrap(), None), one.clone()], 1, 1);
    // Two states of one report are not its two halves.
    let changed = String::from_utf8(one.clone()).unwrap().replace(",0.01,", ",0.02,");
    assert!(of(&[one.clone(), changed.into_bytes()]).unwrap_err().contains("given twice, and not alike"));
    let tax = file(&[row("t", 0, "Tax")]);
    let left = of(&[one, tax.clone(), tax]).unwrap();
    assert_eq!((left.again, left.left_out["Tax"].lines), (1, 1));
}

/// Which columns a report has is chosen by who has it made.
#[test]
fn lines_with_a_name_and_no_interval_are_told_apart_by_when_they_begin() {
    let row = |hour: u32, cost: &str| {
        format!("2026-11-02T{hour:02}:00:00Z,USE1-NovaMicro-input-tokens,1,{cost},AmazonBedrock,Usage,1K tokens,USD,a")
    };
    let file = |rows: &[String], interval: &str| {
        let rows: String = rows.iter().map(|row| format!("{row}{interval}\n")).collect();
        let columns = if interval.is_empty() { "" } else { ",identity_time_interval" };
        format!("{},identity_line_item_id{columns}\n{rows}", CUR.lines().next().unwrap())
    };
    let of = |text: &str| Export::of(read(Vendor::Bedrock, text.as_bytes()).unwrap());
    for interval in ["", ","] {
        let export = of(&file(&[row(0, "0.01"), row(1, "0.01"), row(0, "0.01")], interval)).unwrap();
        let quantities: Vec<_> = export.invoice(&Names::default()).book.values().map(|side| side.quantity).collect();
        assert_eq!((quantities, export.again), (vec![Some(2_000)], 1), "{interval:?}");
        let changed = of(&file(&[row(0, "0.01"), row(0, "0.02")], interval));
        assert!(changed.unwrap_err().contains("given twice, and not alike"), "{interval:?}");
    }
}

/// All that is in it would be of its first day.
#[test]
fn a_bucket_of_more_than_one_day_is_refused() {
    let page = costs(&[(Some("gpt-5-mini-2025-08-07, input"), "2")]);
    let of = |starts: &str, ends: &str| {
        let page = page.replace("1793577600", starts).replace("1793664000", ends);
        Export::of(read(Vendor::OpenAi, page.as_bytes()).unwrap())
    };
    for (starts, ends) in [("1793577600", "1793664000"), ("1793577600", "1793581200"), ("1793660400", "1793664000")] {
        assert!(of(starts, ends).is_ok(), "{starts} to {ends}");
    }
    for (starts, ends) in [("1793577600", "1793836800"), ("1793595600", "1793682000")] {
        assert!(of(starts, ends).unwrap_err().contains("fetch it by days"), "{starts} to {ends}");
    }
}

#[test]
fn a_bucket_that_is_given_twice_is_told() {
    let page = costs(&[(Some("gpt-5-mini-2025-08-07, input"), "2")]);
    let other = costs(&[(Some("gpt-5-mini-2025-08-07, output"), "2")]);
    let joined =
        |one: &str, next: &str| one.replacen("]}]}", &format!("]}},{}", next.trim_start_matches(r#"{"data":["#)), 1);
    let twice = joined(&page, &page);
    let (thrice, between) = (joined(&twice, &page), joined(&joined(&page, &other), &page));
    let both = [(Some("gpt-5-mini-2025-08-07, input"), "2"), (Some("gpt-5-mini-2025-08-07, output"), "3")];
    let (straight, reversed) = (costs(&both), costs(&[both[1], both[0]]));
    let of = |files: &[&str]| {
        Export::of(files.iter().flat_map(|file| read(Vendor::OpenAi, file.as_bytes()).unwrap()).collect())
    };
    assert!(of(&[&page, &other]).is_ok());
    for files in [vec![&*page, &*page], vec![&*straight, &*reversed], vec![&*twice], vec![&*thrice], vec![&*between]] {
        assert!(of(&files).unwrap_err().contains("2026-11-02 is given twice"), "{files:?}");
    }
}

/// A bucket of OpenAI's that begins so long after Monday does and is so many hours long, with these results.
fn bucket(after_hours: i64, hours: i64, results: &[serde_json::Value]) -> Vec<u8> {
    let starts = schemas::time::Time::parse(MONDAY).unwrap().as_micros() / 1_000_000 + after_hours * 3_600;
    let data = serde_json::json!([{"start_time": starts, "end_time": starts + hours * 3_600, "results": results}]);
    serde_json::json!({"data": data, "has_more": false}).to_string().into_bytes()
}

/// One fetch groups a bucket's results and has buckets of one width; what another fetch says of the same would be added up.
#[test]
fn a_day_that_is_fetched_twice_is_told_in_another_grain_and_with_other_numbers_too() {
    let with = |name: &str, value: serde_json::Value, mut result: serde_json::Value| {
        result[name] = value;
        result
    };
    let asked = |files: &[Vec<u8>]| {
        Export::of(files.iter().flat_map(|file| read(Vendor::OpenAi, file).unwrap()).collect()).map(|_| ())
    };
    let (one, grown) = (usage("m1", 1_000, 50), usage("m1", 2_000, 90));
    let day = bucket(0, 24, std::slice::from_ref(&one));
    // The next page of the bucket, a filter, an account, the day after, another endpoint, and money.
    let embedded = with("object", "organization.usage.embeddings.result".into(), one.clone());
    for other in [
        bucket(0, 24, &[usage("m2", 1_000, 50)]),
        bucket(0, 24, &[with("project_id", "p".into(), one.clone())]),
        bucket(0, 24, &[with("api_key_id", "k".into(), one.clone())]),
        bucket(24, 24, std::slice::from_ref(&one)),
        bucket(0, 24, std::slice::from_ref(&embedded)),
        bucket(7, 1, &[embedded]),
        bucket(7, 1, &[]),
        bucket(0, 24, &[cost(Some("m1, input"), "1", Some(1_000))]),
    ] {
        for files in [[day.clone(), other.clone()], [other.clone(), day.clone()]] {
            assert_eq!(asked(&files), Ok(()), "{}", String::from_utf8_lossy(&other));
        }
    }
    // What is told apart by tier and so on is one with what is not, and not with another tier.
    let fine =
        with("user_id", "u".into(), with("batch", false.into(), with("service_tier", "flex".into(), one.clone())));
    for (name, value) in [("batch", true.into()), ("service_tier", "default".into()), ("user_id", "v".into())] {
        let other = with(name, value, fine.clone());
        assert_eq!(asked(&[bucket(0, 24, std::slice::from_ref(&fine)), bucket(0, 24, &[other])]), Ok(()), "{name}");
    }
    let whole = [one.clone(), usage("m2", 7, 7)];
    for (other, why) in [
        (bucket(0, 24, &whole), "2026-11-02 is given twice"),
        (bucket(0, 24, std::slice::from_ref(&grown)), "2026-11-02 is given twice"),
        (bucket(0, 24, &[fine]), "2026-11-02 is given twice"),
        (bucket(7, 1, std::slice::from_ref(&one)), "2026-11-02T07:00:00.000000Z is given twice, in that of 2026-11-02"),
        (bucket(0, 1, std::slice::from_ref(&grown)), "given twice"),
        (bucket(23, 1, &[usage("m2", 7, 7)]), "2026-11-02T23:00:00.000000Z is given twice, in that of 2026-11-02"),
    ] {
        for files in [[day.clone(), other.clone()], [other, day.clone()]] {
            let told = asked(&files).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
    }
    // Costs that have changed since, and what Anthropic groups.
    let paid = |dollars| bucket(0, 24, &[cost(Some("m1, input"), dollars, None)]);
    assert!(asked(&[paid("1"), paid("2")]).unwrap_err().contains("2026-11-02 is given twice"));
    let anthropic = |ends: &str, rest: &str, output: u32| {
        let result = format!(r#"{{"output_tokens":{output},"model":"m1"{rest}}}"#);
        let bucket = format!(r#"{{"starting_at":"2026-11-02T00:00:00Z","ending_at":"{ends}","results":[{result}]}}"#);
        read(Vendor::Anthropic, format!(r#"{{"data":[{bucket}]}}"#).as_bytes()).unwrap().remove(0)
    };
    let (day, hour) = ("2026-11-03T00:00:00Z", "2026-11-02T01:00:00Z");
    let finer = r#","service_tier":"standard","context_window":"0-200k","inference_geo":"global""#;
    let other = |was: &str, is: &str| finer.replace(was, is);
    for (ends, rest, is_twice) in [
        (day, finer.to_owned(), true),
        (day, String::new(), true),
        (hour, finer.to_owned(), true),
        (hour, other("standard", "batch"), true),
        (day, other("standard", "batch"), false),
        (day, other("0-200k", "200k-1M"), false),
        (day, other("global", "us"), false),
        (day, format!(r#"{finer},"workspace_id":"w""#), false),
        (day, format!(r#"{finer},"api_key_id":"k""#), false),
    ] {
        let both = Export::of(vec![anthropic(day, finer, 1), anthropic(ends, &rest, 2)]);
        assert_eq!(both.is_err_and(|why| why.contains("is given twice")), is_twice, "{ends} {rest}");
    }
}

/// What is taken once is still in its bucket when buckets are held against each other.
#[test]
fn a_bucket_that_is_given_twice_is_told_beside_lines_that_are_taken_once() {
    let line = |day: &str, id: Option<&str>| Line {
        day: day.into(),
        starts: Time::parse(day).unwrap(),
        model: "m".into(),
        class: Some(Output),
        key: None,
        grouped: Grouped { by: "m".into(), ..Grouped::default() },
        quantity: Some(1),
        cost: None,
        id: id.map(str::to_owned),
    };
    let page = |days: &[(&str, &[Option<&str>])]| {
        let bucket = |(day, ids): &(&str, &[Option<&str>])| export::Bucket {
            starts: Time::parse(day).unwrap(),
            ends: None,
            lines: ids.len(),
        };
        let lines = days.iter().flat_map(|(day, ids)| ids.iter().map(move |id| line(day, *id)));
        Page { buckets: days.iter().map(bucket).collect(), lines: lines.collect(), ..Page::default() }
    };
    let one = page(&[(MONDAY, &[Some("a"), Some("a")]), (TUESDAY, &[None])]);
    let export = Export::of(vec![one.clone(), page(&[(MONDAY, &[Some("a")])])]).unwrap();
    assert_eq!((export.lines.len(), export.again), (2, 2));
    let why = Export::of(vec![one, page(&[(TUESDAY, &[Some("b"), None])])]).unwrap_err();
    assert!(why.contains("2026-11-03 is given twice"), "{why}");
}
