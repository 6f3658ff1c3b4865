//! A report as a page that stands by itself: a chart and a table. It loads nothing and runs nothing, and every text in it is escaped.

use query::{described::Described, reports::Period};
use serde_json::Value;

use super::chart;
use crate::rows;

const STYLE: &str = "body{font:14px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1c2430}\
    h1{font-size:1.4rem;margin:0}p{margin:.3rem 0 1rem;color:#4a5568}table{border-collapse:collapse;width:100%}\
    th,td{padding:.3rem .6rem;border-bottom:1px solid #e2e8f0;text-align:left;vertical-align:top}\
    td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}th{position:sticky;top:0;background:#fff}\
    th small{display:block;font-weight:400;color:#718096}svg{width:100%;height:auto;margin:1rem 0}footer{margin-top:1rem;color:#718096}";

/// The page.
pub(super) fn page(report: &Described, period: &Period, said: &[(String, String)], answer: &Value) -> String {
    let [from, to] = period.bounds().map(|at| at.to_string());
    let mut subtitle = format!("{from} to {to}, days of {}", period.zone());
    for (name, value) in said {
        subtitle.push_str(&format!(", {name} {value}"));
    }
    let through = answer["as_of"]["complete_through"].as_str().unwrap_or("(nothing yet)");
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
         <title>{name}</title><style>{STYLE}</style></head><body>\n<h1>{name}</h1>\n<p>{about}<br>{subtitle}</p>\n{chart}\n{table}\n\
         <footer>Complete through {through}. Dollars are exact; columns marked as statistics are not.</footer>\n</body></html>\n",
        name = escaped(report.name),
        about = escaped(&report.about),
        subtitle = escaped(&subtitle),
        chart = chart::chart(report, said, answer),
        table = table(report, answer),
        through = escaped(through),
    )
}

fn table(report: &Described, answer: &Value) -> String {
    let names = rows::names(answer);
    let kinds =
        answer["columns"].as_array().into_iter().flatten().map(|column| column["type"].as_str().unwrap_or_default());
    let numbers: Vec<bool> = kinds
        .map(|kind| ["DECIMAL", "BIGINT", "INTEGER", "DOUBLE"].iter().any(|number| kind.starts_with(number)))
        .collect();
    let class = |column: usize| if numbers.get(column) == Some(&true) { " class=\"n\"" } else { "" };
    let mut text = String::from("<table><thead><tr>");
    for (at, name) in names.iter().enumerate() {
        let unit = report.columns.iter().find(|column| column.name == *name).map_or("", |column| column.unit);
        text.push_str(&format!("<th{}>{}<small>{}</small></th>", class(at), escaped(name), escaped(unit)));
    }
    text.push_str("</tr></thead><tbody>\n");
    for row in rows::cells(answer) {
        text.push_str("<tr>");
        for (at, cell) in row.iter().enumerate() {
            text.push_str(&format!("<td{}>{}</td>", class(at), escaped(cell)));
        }
        text.push_str("</tr>\n");
    }
    text.push_str("</tbody></table>");
    text
}

/// A text as HTML and XML show it.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}
