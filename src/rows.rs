//! Rows of an answer, as commands print them: under their names, as wide as the widest.

use serde_json::Value;

/// The names of the columns of an answer.
pub(crate) fn names(answer: &Value) -> Vec<&str> {
    answer["columns"].as_array().into_iter().flatten().filter_map(|column| column["name"].as_str()).collect()
}

/// The cells of an answer as text, row by row; NULL is a dash.
pub(crate) fn cells(answer: &Value) -> Vec<Vec<String>> {
    // What is no decimal is text, whatever it looks like.
    let is_decimal = |column: &Value| column["type"].as_str().is_none_or(|kind| kind.starts_with("DECIMAL"));
    let columns = answer["columns"].as_array().into_iter().flatten().map(is_decimal);
    let columns: Vec<(&str, bool)> = names(answer).into_iter().zip(columns).collect();
    let rows = answer["rows"].as_array().into_iter().flatten();
    rows.map(|row| columns.iter().map(|(name, is_decimal)| shown(&row[name], *is_decimal)).collect()).collect()
}

fn shown(value: &Value, is_decimal: bool) -> String {
    match value {
        Value::String(text) if is_decimal => trimmed(text).to_owned(),
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        Value::Number(number) if number.is_f64() => statistic(number.as_f64().unwrap_or_default()),
        other => other.to_string(),
    }
}

/// A statistic to six decimals, or, where those would say less, to six digits.
pub(crate) fn statistic(value: f64) -> String {
    let (mut digits, mut scaled) = (5_usize, value.abs());
    while scaled < 1.0 && digits < 24 {
        (digits, scaled) = (digits + 1, scaled * 10.0);
    }
    trimmed(&format!("{value:.*}", digits.max(6))).to_owned()
}

/// A decimal without the zeros at its end.
fn trimmed(text: &str) -> &str {
    let decimal = text.contains('.') && text.chars().all(|char| char.is_ascii_digit() || "-.".contains(char));
    if decimal { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// The rows as text, a line each, indented by `indent`.
pub(crate) fn table(answer: &Value, indent: &str) -> String {
    let (names, rows) = (names(answer), cells(answer));
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(names.get(column).map(|name| name.chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..names.len()).map(width).collect();
    let line = |cells: &[&str]| {
        let cells: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{indent}{}\n", cells.join("  ").trim_end())
    };
    let mut text = line(&names);
    if rows.is_empty() {
        text.push_str(&format!("{indent}(none)\n"));
    }
    for row in &rows {
        text.push_str(&line(&row.iter().map(String::as_str).collect::<Vec<_>>()));
    }
    text
}
