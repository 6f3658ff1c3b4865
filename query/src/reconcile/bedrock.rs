//! A Cost and Usage Report 2.0 of AWS, CSV or Parquet: the lines of Amazon Bedrock.
//!
//! There is one line for each token type, region and tier. Model and type stand in the usage type, such as
//! `USE1-ClaudeSonnet4.5-input-tokens`, or for models of the marketplace in the product and `…InputTokenCount-Units`; how many tokens a unit is,
//! the pricing unit says. Other services are passed over, but their lines say that the report is about that day, as it is about all days
//! between its first and its last: what it has no line for was not billed. What is given back has lines under the name of its kind; taxes, fees
//! and what a savings plan takes back are left out, and told. Two lines may be equal but for what the report itself tells them apart by.

use std::collections::{BTreeSet, HashMap};

use arrow::{array::AsArray, compute::cast, datatypes::DataType};
use jiff::{
    Timestamp, ToSpan as _,
    civil::{Date, DateTime},
    tz::TimeZone,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use schemas::{time::Time, tokens::TokenClass};

use super::{
    Grouped, Line, Page, amount,
    export::{Aside, Bucket},
};

/// The columns that are read; earlier reports write `lineItem/UsageType`, which is the same without its signs and case.
const COLUMNS: &[&str] = &[
    "line_item_usage_start_date",
    "line_item_usage_type",
    "line_item_usage_amount",
    "line_item_unblended_cost",
    "line_item_product_code",
    "line_item_line_item_type",
    "line_item_currency_code",
    "line_item_iam_principal",
    "line_item_usage_account_id",
    "line_item_line_item_description",
    "pricing_unit",
    "product",
    "product_servicecode",
    "identity_line_item_id",
    "identity_time_interval",
];

/// What begins a Parquet file.
const PARQUET: &[u8] = b"PAR1";

/// Reads the report.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Page>, String> {
    let records = if bytes.starts_with(PARQUET) { of_parquet(bytes)? } else { crate::csv::records(bytes)? };
    let Some((head, rows)) = records.split_first() else { return Err("the report is empty".into()) };
    let same = |name: &str| name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let places: HashMap<&str, usize> = COLUMNS
        .iter()
        .filter_map(|column| Some((*column, head.iter().position(|name| same(name) == same(column))?)))
        .collect();
    for needed in &COLUMNS[..4] {
        if !places.contains_key(needed) {
            return Err(format!("the report has no column {needed}"));
        }
    }
    let (mut page, mut days) = (Page::default(), BTreeSet::new());
    for (index, row) in rows.iter().enumerate() {
        let cell = |column: &str| places.get(column).and_then(|place| row.get(*place)).map_or("", String::as_str);
        let at = |why: &str| format!("line {}: {why}", index + 2);
        let starts = instant(cell("line_item_usage_start_date")).ok_or_else(|| at("it has no day"))?;
        days.insert(day(starts));
        line(starts, &cell, &mut page).map_err(|why| at(&why))?;
    }
    let (Some(first), Some(last)) = (days.first(), days.last()) else { return Ok(Vec::new()) };
    let days = first.series(1.day()).take_while(|day| day <= last);
    let starts = days.filter_map(midnight);
    page.buckets = starts.map(|starts| Bucket { starts, ends: None, lines: 0 }).collect();
    Ok(vec![page])
}

/// An instant, or a time without a zone, which is UTC's.
fn instant(text: &str) -> Option<Timestamp> {
    text.parse().ok().or_else(|| TimeZone::UTC.to_timestamp(text.parse::<DateTime>().ok()?).ok())
}

/// The day in UTC of an instant.
fn day(instant: Timestamp) -> Date {
    instant.to_zoned(TimeZone::UTC).date()
}

/// When a day begins.
fn midnight(day: Date) -> Option<Time> {
    Time::parse(&day.to_string()).ok()
}

/// What a line is.
enum Kind {
    /// Something that was used. What a savings plan covers stands at its price on demand, and is taken back by another line.
    Used,
    /// Money that is given back.
    Back,
    /// What has nothing to do with single models: taxes, fees, what a savings plan takes back.
    Other,
}

impl Kind {
    fn of(kind: &str) -> Self {
        match kind {
            "" | "Usage" | "DiscountedUsage" | "SavingsPlanCoveredUsage" => Self::Used,
            "Credit" | "Refund" => Self::Back,
            discount if discount.ends_with("Discount") => Self::Back,
            _ => Self::Other,
        }
    }
}

/// A line that begins at an instant: reports of several files may break within a day, and a steady job's hours are alike.
fn line<'a>(starts: Timestamp, cell: &dyn Fn(&str) -> &'a str, page: &mut Page) -> Result<(), String> {
    let product = format!("{} {} {}", cell("line_item_product_code"), cell("product_servicecode"), cell("product"));
    if !product.to_ascii_lowercase().contains("bedrock") {
        return Ok(());
    }
    let currency = cell("line_item_currency_code");
    if !matches!(currency, "" | "USD") {
        return Err(format!("it is in {currency}; only USD can be compared"));
    }
    let cost = amount::dollars(cell("line_item_unblended_cost")).ok_or("line_item_unblended_cost is no amount")?;
    let key =
        [cell("line_item_iam_principal"), cell("line_item_usage_account_id")].into_iter().find(|key| !key.is_empty());
    // It names a line in its billing period, and a line may be of several intervals; a report without them says when each begins.
    let id = Some(cell("identity_line_item_id")).filter(|id| !id.is_empty());
    let id = id.map(|id| match cell("identity_time_interval") {
        "" => format!("{id} {starts}"),
        interval => format!("{id} {interval}"),
    });
    let line = |model, class, quantity| Line {
        day: day(starts).to_string(),
        starts: Time::from_micros(starts.as_microsecond()),
        model,
        class,
        key: key.map(str::to_owned),
        grouped: Grouped::default(),
        quantity,
        cost: Some(cost),
        id: id.clone(),
    };
    let (usage, kind) = (cell("line_item_usage_type"), cell("line_item_line_item_type"));
    match Kind::of(kind) {
        Kind::Used => {}
        Kind::Back => {
            page.lines.push(line(kind.to_owned(), None, None));
            return Ok(());
        }
        Kind::Other => {
            page.left_out.push(Aside { what: kind.to_owned(), id: id.clone(), cost: Some(cost) });
            return Ok(());
        }
    }
    let (model, class) = model_and_class(usage, cell("product"));
    // What is no model is something else that is paid for, not all of them.
    let model = if model.is_empty() { usage.to_owned() } else { model };
    let quantity = amount::scaled(cell("line_item_usage_amount"), 12).ok_or("line_item_usage_amount is no number")?;
    let quantity =
        class.map(|_| (quantity * tokens_a_unit(cell("pricing_unit")) + 500_000_000_000).div_euclid(1_000_000_000_000));
    page.lines.push(line(model, class, quantity));
    Ok(())
}

/// How many tokens one of a pricing unit is; the marketplace's units are a million.
fn tokens_a_unit(unit: &str) -> i128 {
    let unit = unit.to_ascii_lowercase();
    if unit.contains("1k") || unit.contains("1000 ") || unit == "1000" {
        1_000
    } else if unit.contains("1m") || unit.contains("million") || unit.contains("unit") {
        1_000_000
    } else {
        1
    }
}

/// The model and the token class of a usage type; what is no token has no class. How it spells that a write to the cache is kept for an
/// hour is documented nowhere, so any place behind the write will do.
fn model_and_class(usage: &str, product: &str) -> (String, Option<TokenClass>) {
    const KINDS: [(&str, TokenClass); 8] = [
        ("-cache-read-input-token", TokenClass::CacheRead),
        ("-cache-write-", TokenClass::CacheWrite5m),
        ("-input-token", TokenClass::UncachedInput),
        ("-output-token", TokenClass::Output),
        ("cachereadinputtokencount", TokenClass::CacheRead),
        ("cachewrite", TokenClass::CacheWrite5m),
        ("inputtokencount", TokenClass::UncachedInput),
        ("outputtokencount", TokenClass::Output),
    ];
    let lower = usage.to_ascii_lowercase();
    let class_of = |(word, class): &(&str, TokenClass)| {
        let at = lower.find(word)?;
        let kind = lower.get(at..).filter(|kind| kind.contains("token"))?;
        let is_kept = *class == TokenClass::CacheWrite5m && ["1h", "1-h"].iter().any(|hour| kind.contains(hour));
        Some((at, if is_kept { TokenClass::CacheWrite1h } else { *class }))
    };
    let found = KINDS.iter().find_map(class_of);
    // Behind the region, before the type.
    let named = usage.split_once('-').map_or("", |(_, rest)| rest);
    let model = found.and_then(|(at, _)| named.get(..(at + named.len()).checked_sub(usage.len())?)).unwrap_or_default();
    let model = if model.is_empty() || lower.contains("mp:") { of_product(product) } else { model.to_owned() };
    (model, found.map(|(_, class)| class))
}

/// The model that the map `product` names: `{"model": …}`, or the name of a product of the marketplace without what is in parentheses.
fn of_product(product: &str) -> String {
    let map: serde_json::Map<String, serde_json::Value> = serde_json::from_str(product).unwrap_or_default();
    let named = ["model", "product_name", "servicename"].iter().find_map(|name| map.get(*name)?.as_str());
    named.and_then(|name| name.split('(').next()).unwrap_or_default().trim().to_owned()
}

/// The columns of a Parquet file as text, the first record their names.
fn of_parquet(bytes: &[u8]) -> Result<Vec<Vec<String>>, String> {
    let unreadable = |error: &dyn std::fmt::Display| format!("the Parquet file cannot be read: {error}");
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::copy_from_slice(bytes))
        .map_err(|error| unreadable(&error))?;
    let mut records: Vec<Vec<String>> = Vec::new();
    for batch in reader.build().map_err(|error| unreadable(&error))? {
        let batch = batch.map_err(|error| unreadable(&error))?;
        let known: Vec<_> = batch
            .schema()
            .fields()
            .iter()
            .enumerate()
            .map(|(at, field)| (at, field.name().clone()))
            .filter(|(_, name)| COLUMNS.contains(&name.as_str()))
            .collect();
        if records.is_empty() {
            records.push(known.iter().map(|(_, name)| name.clone()).collect());
        }
        let columns = known
            .iter()
            .map(|(at, _)| as_text(batch.column(*at)))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| unreadable(&error))?;
        for row in 0..batch.num_rows() {
            records.push(columns.iter().map(|column| column.get(row).cloned().unwrap_or_default()).collect());
        }
    }
    Ok(records)
}

/// The cells of a column as text, NULL empty; those of a map as a JSON object.
fn as_text(column: &arrow::array::ArrayRef) -> Result<Vec<String>, arrow::error::ArrowError> {
    if let Some(maps) = column.as_map_opt() {
        let object = |entries: arrow::array::StructArray| {
            let [names, values] = [0, 1].map(|at| cast(entries.column(at), &DataType::Utf8));
            let (names, values) = (names?, values?);
            let pairs = names.as_string::<i32>().iter().zip(values.as_string::<i32>());
            let object: serde_json::Map<_, _> =
                pairs.filter_map(|(name, value)| Some((name?.to_owned(), value?.into()))).collect();
            Ok::<_, arrow::error::ArrowError>(serde_json::Value::Object(object).to_string())
        };
        return maps.iter().map(|entries| entries.map_or(Ok(String::new()), object)).collect();
    }
    // An instant reads as that of UTC, whatever zone the file shows it in.
    let column = match column.data_type() {
        DataType::Timestamp(unit, Some(_)) => cast(column, &DataType::Timestamp(*unit, Some("+00:00".into())))?,
        _ => column.clone(),
    };
    let texts = cast(&column, &DataType::Utf8)?;
    Ok(texts.as_string::<i32>().iter().map(|text| text.unwrap_or_default().to_owned()).collect())
}
