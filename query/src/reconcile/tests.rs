//! Files as providers write them, against charges whose sums are known.

use schemas::{
    money::{PICO_PER_USD, Pico},
    tokens::TokenClass::{self, CacheRead, CacheWrite5m, Output, UncachedInput},
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
    let lines = read(Vendor::OpenAi, OPENAI_USAGE.as_bytes()).unwrap();
    let counts: Vec<_> = lines.iter().map(|line| (line.class.unwrap(), line.quantity.unwrap())).collect();
    assert_eq!(counts, [(UncachedInput, 800), (CacheRead, 200), (Output, 50)]);
    assert!(lines.iter().all(|line| line.day == MONDAY && line.key.as_deref() == Some("key_a")));
    let same = ours(&[
        (MONDAY, "gpt-5-mini", UncachedInput, 800, Some(1)),
        (MONDAY, "gpt-5-mini", CacheRead, 200, Some(1)),
        (MONDAY, "gpt-5-mini", Output, 50, Some(1)),
    ]);
    let report = compare(&book(&lines, &Names::default()), &same, &doubts(TUESDAY), Tolerance::default());
    assert_eq!(report.count(Status::Matched), 3, "{report:?}");
}

#[test]
fn each_difference_has_its_side_and_its_cause() {
    let invoice = book(&read(Vendor::OpenAi, OPENAI_USAGE.as_bytes()).unwrap(), &Names::default());
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
    let inexact = Doubts { inexact: BTreeSet::from([(MONDAY.to_owned(), plain(mini))]), ..known.clone() };
    check(
        &[input, output, (MONDAY, mini, CacheRead, 100, Some(1))],
        &inexact,
        &[alike, (MONDAY, "cache_read", "missing", "usage_unknown"), matched],
    );
    // Within the tolerance: a tenth of a percent.
    let near = compare(
        &ours(&[(MONDAY, mini, Output, 100_000, None)]),
        &ours(&[(MONDAY, mini, Output, 99_900, None)]),
        &known,
        Tolerance::default(),
    );
    assert_eq!(near.count(Status::Matched), 1);
    let far = compare(
        &ours(&[(MONDAY, mini, Output, 100_000, None)]),
        &ours(&[(MONDAY, mini, Output, 99_899, None)]),
        &known,
        Tolerance::default(),
    );
    assert_eq!((far.count(Status::Missing), far.found[0].cause), (1, Cause::Quantity));
}

#[test]
fn money_is_compared_where_the_file_has_it() {
    let costs = r#"{"object":"page","data":[{"object":"bucket","start_time":1793577600,"results":[
        {"object":"organization.costs.result","amount":{"value":6e-05,"currency":"usd"},"line_item":"gpt-5-mini-2025-08-07, input","quantity":240.0},
        {"object":"organization.costs.result","amount":{"value":0.5,"currency":"usd"},"line_item":"gpt-5-mini-2025-08-07, output","quantity":250000}]}]}"#;
    let invoice = book(&read(Vendor::OpenAi, costs.as_bytes()).unwrap(), &Names::default());
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
    let lines = read(Vendor::OpenAi, OPENAI_USAGE.as_bytes()).unwrap();
    let names = |key: &str| Names { keys: [(key.to_owned(), "openai".to_owned())].into(), ..Names::default() };
    assert!(book(&lines, &names("key_a")).keys().all(|cell| cell.account == "openai"));
    let strange = compare(&book(&lines, &names("key_b")), &Book::new(), &doubts(TUESDAY), Tolerance::default());
    assert!(strange.found.iter().all(|found| found.cause == Cause::OtherKey && found.status == Status::Missing));
}

#[test]
fn anthropic_writes_cents_and_tells_writes_to_the_cache_apart() {
    let usage = r#"{"data":[{"starting_at":"2026-11-02T00:00:00Z","ending_at":"2026-11-03T00:00:00Z","results":[
        {"uncached_input_tokens":1500,"cache_creation":{"ephemeral_1h_input_tokens":0,"ephemeral_5m_input_tokens":500},"cache_read_input_tokens":200,
         "output_tokens":70,"server_tool_use":{"web_search_requests":2},"api_key_id":null,"workspace_id":null,"model":"claude-sonnet-4-5-20250929",
         "service_tier":"standard","context_window":"0-200k"}]}],"has_more":false,"next_page":null}"#;
    let lines = read(Vendor::Anthropic, usage.as_bytes()).unwrap();
    let counts: Vec<_> = lines.iter().map(|line| (line.class.unwrap(), line.quantity.unwrap())).collect();
    let wanted =
        [(UncachedInput, 1500), (CacheRead, 200), (CacheWrite5m, 500), (Output, 70), (TokenClass::WebSearch, 2)];
    assert_eq!(counts, wanted);
    let costs = r#"{"data":[{"starting_at":"2026-11-02T00:00:00Z","results":[{"currency":"USD","amount":"123.78912","description":"Claude Sonnet 4.5 Usage",
        "cost_type":"tokens","token_type":"output_tokens","model":"claude-sonnet-4-5-20250929","service_tier":"standard"}]}]}"#;
    let [line] = read(Vendor::Anthropic, costs.as_bytes()).unwrap().try_into().unwrap();
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
    let check = |lines: &[Line]| {
        let invoice = book(lines, &Names::default());
        let ours = ours(&[
            (MONDAY, "us.anthropic.claude-sonnet-4-5-20250929-v1:0", UncachedInput, 2_000, Some(6_000_000_000)),
            (MONDAY, "us.anthropic.claude-sonnet-4-5-20250929-v1:0", CacheRead, 2_000, Some(600_000_000)),
        ]);
        let report = compare(&invoice, &ours, &doubts(TUESDAY), Tolerance::default());
        assert_eq!((report.count(Status::Matched), report.found.len()), (2, 2), "{report:?}");
    };
    check(&read(Vendor::Bedrock, CUR.as_bytes()).unwrap());
    check(&read(Vendor::Bedrock, &parquet(CUR)).unwrap());
    assert!(read(Vendor::Bedrock, b"a,b\n1,2\n").unwrap_err().contains("line_item_usage_start_date"));
    let euros = CUR.replacen("USD", "EUR", 1);
    assert!(read(Vendor::Bedrock, euros.as_bytes()).unwrap_err().contains("line 2"));
}

/// The same report as Parquet: amounts as numbers, as AWS writes them.
fn parquet(csv: &str) -> Vec<u8> {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
    let records = crate::csv::records(csv.as_bytes()).unwrap();
    let columns = records[0].iter().enumerate().map(|(at, name)| {
        let cells = || records[1..].iter().map(move |row| row[at].as_str());
        let array: ArrayRef = if name.ends_with("amount") || name.ends_with("cost") {
            Arc::new(cells().map(|cell| cell.parse::<f64>().ok()).collect::<Float64Array>())
        } else {
            Arc::new(StringArray::from_iter_values(cells()))
        };
        (name.clone(), array)
    });
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(Vec::new(), rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.into_inner().unwrap()
}

#[test]
fn names_of_one_model_come_to_the_same() {
    let check = |one: &str, other: &str| assert_eq!(plain(one), plain(other));
    check("gpt-5-mini-2025-08-07", "gpt-5-mini");
    check("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "ClaudeSonnet4.5");
    check("Claude4.5Sonnet", "claude-sonnet-4-5");
    assert_ne!(plain("gpt-5"), plain("gpt-5-mini"));
    assert_ne!(plain("claude-sonnet-4"), plain("claude-sonnet-4-5"));
}
