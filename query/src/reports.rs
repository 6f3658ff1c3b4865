//! The reports: documented questions with parameters, each one SQL statement that runs like anybody's own.
//!
//! A report is a file in `reports`, in the form that [`described`](crate::described) reads; what it answers, what can be said to it and
//! what its columns mean stand in it. Filling it in is pure: names become columns of a list, and everything else a quoted constant.

use std::sync::LazyLock;

use crate::described::Described;

mod period;
#[cfg(test)]
mod tests;

pub use period::{Period, Span};

macro_rules! reports {
    ($($name:literal)*) => {
        &[$(($name, include_str!(concat!("reports/", $name, ".sql"))),)*]
    };
}

const FILES: &[(&str, &str)] = reports! {
    "spend" "sessions" "movers" "pace" "effective-prices" "unit-economics" "tokens" "cache-savings" "response-cache" "failures" "refused"
    "reasoning" "budgets" "overspend" "forecast" "anomalies" "showback" "untagged" "ownership" "commitments" "credits" "discounts"
    "what-if" "variance" "corrections" "cash-and-accrual" "frontier" "tiers" "completeness" "policy-changes" "as-of"
};

/// Every report, in the order of the questions.
pub static ALL: LazyLock<Vec<Described>> =
    LazyLock::new(|| FILES.iter().map(|(name, text)| Described::of(name, text)).collect());

/// The columns of `charges` that may be grouped by, beside tags.
pub const DIMENSIONS: &[&str] = &[
    "tenant",
    "team",
    "project",
    "user_id",
    "key_name",
    "api",
    "provider",
    "provider_account",
    "model",
    "model_requested",
    "stream",
    "service_tier",
    "region",
    "gateway",
    "token_class",
    "price_source",
    "entry",
    "billing_period",
];

/// Those of them that say who bears a cost.
const OWNERS: &[&str] = &["tenant", "team", "project", "user_id", "key_name"];

/// The most dimensions of a report.
const MAX_DIMENSIONS: usize = 8;

/// The report of a name.
pub fn by_name(name: &str) -> Option<&'static Described> {
    ALL.iter().find(|report| report.name == name)
}

/// The statement that a report comes to.
///
/// # Errors
/// What of `set` the report does not take, and what it takes.
pub fn fill(report: &Described, period: &Period, set: &[(String, String)]) -> Result<String, String> {
    if let Some((name, _)) =
        set.iter().find(|(name, _)| report.parameters.iter().all(|parameter| parameter.name != name))
    {
        let known: Vec<_> = report.parameters.iter().map(|parameter| parameter.name).collect();
        let known = if known.is_empty() { "nothing".to_owned() } else { known.join(", ") };
        return Err(format!("the report {} takes no {name:?}; it takes {known}", report.name));
    }
    takes(report, period)?;
    let mut sql = String::with_capacity(report.sql.len() * 2);
    let mut rest = report.sql;
    while let Some((before, after)) = rest.split_once('$') {
        sql.push_str(before);
        let end = after.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(after.len());
        let (name, mut tail) = after.split_at(end);
        let mut part = "";
        if let Some(named) = tail.strip_prefix(':') {
            let end = named.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(named.len());
            (part, tail) = named.split_at(end);
        }
        sql.push_str(&value(report, period, set, name, part)?);
        rest = tail;
    }
    sql.push_str(rest);
    Ok(sql)
}

/// Refuses a time that the report would leave out of account.
fn takes(report: &Described, period: &Period) -> Result<(), String> {
    // `$to` is not part of `$today`.
    let stands = |word: &str| {
        report.sql.match_indices(word).any(|(at, _)| {
            let next = report.sql.get(at + word.len()..).and_then(|rest| rest.chars().next());
            !next.is_some_and(|letter| letter.is_ascii_alphanumeric() || letter == '_')
        })
    };
    let names = |words: &[&str]| words.iter().any(|word| stands(word));
    for (option, words) in
        [("--from", &["$from", "$from_day", "$month", "$month_name"][..]), ("--to", &["$to"]), ("--as-of", &["$as_of"])]
    {
        if period.given(option) && !names(words) {
            return Err(format!("the report {} takes no {option}: `--describe` shows what it asks", report.name));
        }
    }
    if names(&["day >= $from", "to_char($from"]) && !period.is_whole_utc_days() {
        return Err(format!(
            "the report {} counts whole days in UTC: leave --time-zone out, and write --from and --to as days",
            report.name
        ));
    }
    Ok(())
}

/// What stands for `$name:part`.
fn value(
    report: &Described,
    period: &Period,
    set: &[(String, String)],
    name: &str,
    part: &str,
) -> Result<String, String> {
    let Some(parameter) = report.parameters.iter().find(|parameter| parameter.name == name) else {
        return period
            .value(name)
            .ok_or_else(|| format!("the report {} has a parameter that nobody knows: {name}", report.name));
    };
    let said = set.iter().rev().find(|(set, _)| set == name).map_or(parameter.default, |(_, value)| value);
    match parameter.kind {
        "dimensions" => dimensions(said, part, DIMENSIONS),
        "owners" => dimensions(said, part, OWNERS),
        "grain" => grain(said, period, part),
        "count" => {
            // As many rows as there can be.
            let whole = said.parse::<u32>().is_ok() && said.bytes().all(|byte| byte.is_ascii_digit());
            whole.then(|| said.to_owned()).ok_or_else(|| format!("{name} is {said:?}, and is to be a whole number"))
        }
        "number" => {
            let plain = said.parse::<f64>().is_ok_and(f64::is_finite)
                && said.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            plain.then(|| said.to_owned()).ok_or_else(|| format!("{name} is {said:?}, and is to be a plain number"))
        }
        _ => Ok(quoted(said)),
    }
}

fn dimensions(said: &str, part: &str, known: &[&str]) -> Result<String, String> {
    let names: Vec<&str> = said.split(',').map(str::trim).collect();
    if names.len() > MAX_DIMENSIONS {
        return Err(format!("a report groups by at most {MAX_DIMENSIONS} dimensions"));
    }
    if let Some(name) = names.iter().enumerate().find_map(|(at, name)| names.get(..at)?.contains(name).then_some(name))
    {
        return Err(format!("the dimension {name} is said twice: say it once"));
    }
    let written = |name: &&str| {
        let column = match name.strip_prefix("tag:") {
            Some(tag) => format!("tag(tags, {})", quoted(tag)),
            None if known.contains(name) => (*name).to_owned(),
            None => {
                return Err(format!("there is no dimension {name:?}; there are tag:NAME and {}", known.join(", ")));
            }
        };
        let alias = format!("\"{}\"", name.replace('"', "\"\""));
        Ok(match part {
            "select" => format!("{column} AS {alias}"),
            "group" => column,
            _ => alias,
        })
    };
    Ok(names.iter().map(written).collect::<Result<Vec<_>, _>>()?.join(", "))
}

fn grain(said: &str, period: &Period, part: &str) -> Result<String, String> {
    const GRAINS: [(&str, &str); 5] = [
        ("hour", "%Y-%m-%dT%H:%M%:z"),
        ("day", "%Y-%m-%d"),
        ("week", "%Y-%m-%d"),
        ("month", "%Y-%m"),
        ("total", "%Y-%m-%d"),
    ];
    let Some((name, format)) = GRAINS.iter().find(|(name, _)| *name == said) else {
        return Err(format!("there is no grain {said:?}; there are hour, day, week, month and total"));
    };
    Ok(match (part, *name) {
        ("format", _) => quoted(format),
        (_, "total") => {
            format!("({} AT TIME ZONE {})", period.value("from").unwrap_or_default(), period.zone_in_sql())
        }
        _ => format!("date_trunc('{name}', time AT TIME ZONE {})", period.zone_in_sql()),
    })
}

/// A text as a constant of SQL.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
