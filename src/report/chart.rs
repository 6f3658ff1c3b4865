//! A chart of an answer, as SVG inside the page: bars, lines over time, or how many rows there are of each day.
//!
//! The head of a report says what is drawn: `bars VALUE NAME …`, `lines PLACE VALUE NAME …` or `days TIME`. Where it says `ONE|OTHER` for
//! the value it is the first in which anything is, and where it says `all:NAME`, rows are drawn that are of every NAME together, and not its
//! parts. Only where things are drawn is reckoned with floating point; what is written beside them is rounded, and the table has it exactly.
//! What is NULL is not drawn, since it is not zero.

use std::collections::BTreeMap;

use query::described::Described;
use serde_json::Value;

use super::page::escaped;
use crate::rows;

mod bars;
mod lines;
mod scale;

const WIDTH: f64 = 960.0;
const COLOURS: [&str; 8] = ["#2b6cb0", "#c05621", "#2f855a", "#6b46c1", "#b7791f", "#b83280", "#2c7a7b", "#4a5568"];
/// What is drawn of all that has no bar or line of its own.
const OTHERS: &str = "#a0aec0";

/// What is drawn.
struct Column<'a> {
    name: &'a str,
    unit: &'a str,
    /// Whether several of it can be one: it is no statistic, and all of it is of one unit.
    adds: bool,
}

impl<'a> Column<'a> {
    fn of(report: &Described, rows: &[&Value], names: &'a str) -> Self {
        let is_there = |name: &&str| rows.iter().any(|row| number(&row[*name]).is_some_and(|value| value.abs() > 0.0));
        let name = names.split('|').find(is_there).or_else(|| names.split('|').next()).unwrap_or(names);
        let unit = report.columns.iter().find(|column| column.name == name).map_or("", |column| column.unit);
        Self { name, unit, adds: !unit.contains("a statistic") && unit != "the unit" }
    }

    fn title(&self) -> String {
        if self.unit.is_empty() { escaped(self.name) } else { escaped(&format!("{} [{}]", self.name, self.unit)) }
    }
}

/// The chart that a report's head asks for, or why there is none, of an answer to what was said.
pub(super) fn chart(report: &Described, said: &[(String, String)], answer: &Value) -> String {
    let rows: Vec<&Value> = answer["rows"].as_array().into_iter().flatten().collect();
    if rows.is_empty() {
        return nothing("Nothing in this period.");
    }
    match report.chart.as_slice() {
        ["bars", value, names @ ..] => {
            let column = Column::of(report, &rows, value);
            let point = |row: &&Value| (label(row, answer, report, names), number(&row[column.name]));
            bars::bars(&column, &rows.iter().map(point).collect::<Vec<_>>())
        }
        ["lines", place, value, names @ ..] => {
            let (sums, names): (Vec<&str>, Vec<&str>) =
                names.iter().copied().partition(|name| name.starts_with("all:"));
            let is_sum = |row: &&Value| sums.iter().all(|name| row[name.trim_start_matches("all:")].is_null());
            let rows: Vec<&Value> = rows.into_iter().filter(is_sum).collect();
            let column = Column::of(report, &rows, value);
            let point = |row: &&Value| {
                let number = number(&row[column.name])?;
                Some((label(row, answer, report, &[*place]), label(row, answer, report, &names), number))
            };
            let points: Vec<_> = rows.iter().filter_map(point).collect();
            lines::lines(&column, place, grain(report, said).unwrap_or(place), &points)
        }
        ["days", time] => {
            let mut days: BTreeMap<&str, u32> = BTreeMap::new();
            for day in rows.iter().filter_map(|row| row[*time].as_str()?.get(..10)) {
                *days.entry(day).or_default() += 1;
            }
            let points: Vec<_> = days.iter().map(|(day, count)| ((*day).to_owned(), Some(f64::from(*count)))).collect();
            bars::bars(&Column { name: "how many", unit: "by UTC day", adds: true }, &points)
        }
        _ => String::new(),
    }
}

/// How long the periods of a report are, where that can be said to it; else the column of them is named so.
fn grain<'a>(report: &'a Described, said: &'a [(String, String)]) -> Option<&'a str> {
    let parameter = report.parameters.iter().find(|parameter| parameter.kind == "grain")?;
    let value = said.iter().rev().find(|(name, _)| name == parameter.name).map(|(_, value)| value.as_str());
    Some(value.unwrap_or(parameter.default))
}

fn nothing(why: &str) -> String {
    format!("<p class=\"none\">{}</p>", escaped(why))
}

/// What a row is called by columns of it, of which `by` is all the dimensions of the report. A column that says the same as the one before
/// it is left out; a dimension is not, since rows that only it tells apart would be one.
fn label(row: &Value, answer: &Value, report: &Described, names: &[&str]) -> String {
    let known = |name: &str| report.columns.iter().any(|column| column.name == name);
    let mut parts: Vec<String> = Vec::new();
    for name in names {
        if *name == "by" {
            parts.extend(rows::names(answer).into_iter().filter(|name| !known(name)).map(|name| text(&row[name])));
            continue;
        }
        let part = text(&row[*name]);
        if parts.last() != Some(&part) {
            parts.push(part);
        }
    }
    parts.join(" / ")
}

/// A value as a label has it: an instant to the minute, where it is no longer.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "(none)".to_owned(),
        Value::String(text) => text.strip_suffix(":00.000000Z").map_or_else(|| text.clone(), |at| format!("{at}Z")),
        other => other.to_string(),
    }
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok()).filter(|number| number.is_finite())
}

/// A text that may be too long for its place, with all of it where one points at it.
fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return escaped(text);
    }
    let short: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("<title>{}</title>{}…", escaped(text), escaped(&short))
}

fn begun(height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH:.0} {height:.0}\" role=\"img\" font-size=\"12\" fill=\"#1c2430\">"
    )
}

/// A number as it stands beside what is drawn; the table has it exactly.
fn rounded(value: f64) -> String {
    if value.abs() < 1.0 {
        return rows::statistic(value);
    }
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests;
