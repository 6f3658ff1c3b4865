//! A chart of an answer, as SVG inside the page: bars, or lines over time. Where a head says `all:NAME`, rows are drawn that are of every
//! NAME together, and not its parts.
//!
//! Only where things are drawn is reckoned with floating point; what is written beside them is the answer's own text. What is NULL is
//! not drawn, since it is not zero.

use std::collections::BTreeMap;

use query::described::Described;
use serde_json::Value;

use super::page::escaped;
use crate::rows;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 220.0;
const ROW: f64 = 22.0;
/// The most bars and lines that can be told apart.
const MOST_BARS: usize = 25;
const MOST_LINES: usize = 8;
const COLOURS: [&str; MOST_LINES] =
    ["#2b6cb0", "#c05621", "#2f855a", "#6b46c1", "#b7791f", "#b83280", "#2c7a7b", "#4a5568"];

/// The chart that a report's head asks for; empty where there is nothing to draw.
pub(super) fn chart(report: &Described, answer: &Value) -> String {
    let rows: Vec<&Value> = answer["rows"].as_array().into_iter().flatten().collect();
    match report.chart.as_slice() {
        ["bars", label, value] => bars(&points(&rows, answer, report, label, value)),
        ["lines", x, value, names @ ..] => {
            let (sums, names): (Vec<&str>, Vec<&str>) =
                names.iter().copied().partition(|name| name.starts_with("all:"));
            let is_sum = |row: &&Value| sums.iter().all(|name| row[name.trim_start_matches("all:")].is_null());
            lines(&rows.into_iter().filter(is_sum).collect::<Vec<_>>(), answer, report, (*x, *value), &names)
        }
        _ => String::new(),
    }
}

/// What a row is called: a column, or all the dimensions of the report where the column is `by`.
fn label(row: &Value, answer: &Value, report: &Described, name: &str) -> String {
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| if value.is_null() { "(none)".to_owned() } else { value.to_string() }, str::to_owned)
    };
    if name != "by" {
        return text(&row[name]);
    }
    let known = |name: &str| report.columns.iter().any(|column| column.name == name);
    let names = rows::names(answer);
    names.iter().filter(|name| !known(name)).map(|name| text(&row[*name])).collect::<Vec<_>>().join(" / ")
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok()).filter(|number| number.is_finite())
}

fn points(rows: &[&Value], answer: &Value, report: &Described, name: &str, value: &str) -> Vec<(String, f64)> {
    let point = |row: &&Value| Some((label(row, answer, report, name), number(&row[value])?));
    rows.iter().filter_map(point).take(MOST_BARS).collect()
}

fn bars(points: &[(String, f64)]) -> String {
    let (least, most) =
        points.iter().fold((0.0_f64, 0.0_f64), |(least, most), (_, value)| (least.min(*value), most.max(*value)));
    if most - least <= 0.0 {
        return String::new();
    }
    let at = |value: f64| LEFT + (value - least) / (most - least) * (WIDTH - LEFT - 120.0);
    let height = ROW * f64::from(u32::try_from(points.len()).unwrap_or(0)) + 8.0;
    let mut svg = begun(height);
    let mut top = 4.0;
    for (label, value) in points {
        let (from, to) = (at(value.min(0.0)), at(value.max(0.0)));
        let text = escaped(label);
        svg.push_str(&format!(
            "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{text}</text><rect x=\"{from:.1}\" y=\"{top:.0}\" width=\"{:.1}\" height=\"16\" \
             fill=\"{}\"><title>{text}: {value}</title></rect><text x=\"{:.1}\" y=\"{:.0}\">{}</text>",
            LEFT - 8.0,
            top + 13.0,
            (to - from).max(0.5),
            if *value < 0.0 { COLOURS[1] } else { COLOURS[0] },
            to + 6.0,
            top + 13.0,
            rounded(*value),
        ));
        top += ROW;
    }
    svg.push_str("</svg>");
    svg
}

fn lines(rows: &[&Value], answer: &Value, report: &Described, (x, value): (&str, &str), series: &[&str]) -> String {
    // What is counted adds up where several rows are of one line and place; of a statistic the last one stands.
    let adds = report.columns.iter().all(|column| column.name != value || !column.unit.contains("a statistic"));
    let mut places: Vec<String> = rows.iter().map(|row| label(row, answer, report, x)).collect();
    places.sort();
    places.dedup();
    let mut found: BTreeMap<String, BTreeMap<usize, f64>> = BTreeMap::new();
    for row in rows {
        if let (Some(number), Ok(place)) = (number(&row[value]), places.binary_search(&label(row, answer, report, x))) {
            let names: Vec<String> = series.iter().map(|name| label(row, answer, report, name)).collect();
            let at = found.entry(names.join(" / ")).or_default().entry(place).or_default();
            *at = if adds { *at + number } else { number };
        }
    }
    let most = found.values().flat_map(BTreeMap::values).copied().fold(0.0_f64, f64::max);
    if most <= 0.0 {
        return String::new();
    }
    let mut series: Vec<_> = found.into_iter().collect();
    let sum = |points: &BTreeMap<usize, f64>| points.values().sum::<f64>();
    series.sort_by(|(_, one), (_, other)| sum(other).total_cmp(&sum(one)));
    let steps = f64::from(u32::try_from(places.len().saturating_sub(1).max(1)).unwrap_or(1));
    let at = |place: usize| 70.0 + f64::from(u32::try_from(place).unwrap_or(0)) / steps * (WIDTH - 260.0);
    let mut svg = begun(HEIGHT);
    svg.push_str(&format!(
        "<text x=\"62\" y=\"24\" text-anchor=\"end\">{}</text><text x=\"62\" y=\"264\" text-anchor=\"end\">0</text>",
        rounded(most)
    ));
    for (name, anchor, place) in [(places.first(), "start", 0), (places.last(), "end", places.len().saturating_sub(1))]
    {
        let name = name.map(|name| escaped(name)).unwrap_or_default();
        svg.push_str(&format!("<text x=\"{:.0}\" y=\"286\" text-anchor=\"{anchor}\">{name}</text>", at(place)));
    }
    for (index, ((name, points), colour)) in series.iter().zip(COLOURS).enumerate() {
        let path: Vec<String> = points
            .iter()
            .map(|(place, value)| format!("{:.1},{:.1}", at(*place), 260.0 - value / most * 240.0))
            .collect();
        let dots: String = path
            .iter()
            .filter_map(|point| point.split_once(','))
            .map(|(x, y)| format!("<circle cx=\"{x}\" cy=\"{y}\" r=\"2.5\"/>"))
            .collect();
        let top = 24.0 + 18.0 * f64::from(u32::try_from(index).unwrap_or(0));
        svg.push_str(&format!(
            "<g fill=\"{colour}\"><polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>{dots}<text x=\"{:.0}\" y=\"{top:.0}\">{}</text></g>",
            path.join(" "),
            WIDTH - 170.0,
            escaped(name),
        ));
    }
    svg.push_str("</svg>");
    svg
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
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_null_is_not_drawn_and_every_name_is_escaped() {
        let report = query::reports::by_name("spend").unwrap();
        let row = |period: &str, tenant: &str, usd: Value| json!({"period": period, "tenant": tenant, "cost_usd": usd});
        let rows = [
            row("2026-11-01", "<b>&\"", json!("1.5")),
            row("2026-11-02", "<b>&\"", json!(null)),
            row("2026-11-03", "x", json!("3")),
        ];
        let answer = json!({"columns": [{"name": "period"}, {"name": "tenant"}, {"name": "cost_usd"}], "rows": rows});
        let svg = chart(report, &answer);
        assert_eq!(svg.matches("<circle").count(), 2, "{svg}");
        assert!(svg.contains("&lt;b&gt;&amp;&quot;") && !svg.contains("<b>") && svg.ends_with("</svg>"), "{svg}");
        let bars = chart(
            query::reports::by_name("movers").unwrap(),
            &json!({"columns": [{"name": "tenant"}, {"name": "change_usd"}],
            "rows": [{"tenant": "a", "change_usd": "-2"}, {"tenant": "b", "change_usd": "4"}, {"tenant": "c", "change_usd": null}]}),
        );
        assert_eq!(bars.matches("<rect").count(), 2, "{bars}");
        assert_eq!(chart(report, &json!({"columns": [], "rows": []})), "");
    }

    #[test]
    fn a_statistic_is_drawn_and_never_added_up() {
        let report = query::reports::by_name("effective-prices").unwrap();
        let row = |provider: &str, class: Value, price: f64| json!({"period": "2026-11", "provider": provider, "model": "m", "token_class": class, "usd_per_mtok": price});
        let rows = [
            row("a", json!(null), 2.5),
            row("a", json!("input"), 1.0),
            row("a", json!("output"), 4.0),
            row("b", json!(null), 0.000_000_25),
        ];
        let svg = chart(report, &json!({"columns": [], "rows": rows}));
        assert!(svg.contains(">2.5</text>") && svg.contains(">a / m</text>") && svg.contains(">b / m</text>"), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 2, "{svg}");
        assert_eq!(rounded(0.000_000_25), "0.00000025");
    }
}
