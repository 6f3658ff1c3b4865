//! A bar for each row: the longest where there are many, and one for all the others where they add up.

use super::{COLOURS, Column, OTHERS, WIDTH, begun, nothing, rounded, scale::Scale, shortened};

const LEFT: f64 = 320.0;
const RIGHT: f64 = 110.0;
const TOP: f64 = 26.0;
const ROW: f64 = 22.0;
/// The most that are looked at one by one.
const MOST: usize = 25;
/// The most letters before a bar.
const LETTERS: usize = 46;

/// A bar for each point, in their order. What is not known has a place and no bar.
pub(super) fn bars(column: &Column<'_>, points: &[(String, Option<f64>)]) -> String {
    if points.iter().all(|(_, value)| value.is_none()) {
        return nothing(&format!("Nothing that is known of {}.", column.name));
    }
    let (shown, others) = most(points);
    let rest =
        column.adds.then(|| others.iter().filter_map(|(_, value)| *value).reduce(|sum, value| sum + value)).flatten();
    let scale = Scale::of(shown.iter().filter_map(|(_, value)| *value).chain(rest));
    let at = |value: f64| LEFT + scale.part(value) * (WIDTH - LEFT - RIGHT);
    let rows = shown.len() + usize::from(!others.is_empty());
    let bottom = TOP + ROW * f64::from(u32::try_from(rows).unwrap_or(0));
    let mut svg = begun(bottom + 24.0);
    svg.push_str(&format!("<text x=\"{LEFT:.0}\" y=\"14\" font-weight=\"600\">{}</text>", column.title()));
    for tick in scale.ticks() {
        let (x, text) = (at(tick), rounded(tick));
        svg.push_str(&format!(
            "<path d=\"M{x:.1} {TOP:.0}V{bottom:.0}\" stroke=\"#e2e8f0\"/><text x=\"{x:.1}\" y=\"{:.0}\" text-anchor=\"middle\" fill=\"#718096\">{text}</text>",
            bottom + 16.0
        ));
    }
    let mut top = TOP + 3.0;
    let mut bar = |label: &str, value: Option<f64>, colour: &str, unknown: &str| {
        svg.push_str(&format!(
            "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            top + 13.0,
            shortened(label, LETTERS)
        ));
        let (from, to) = (at(value.unwrap_or(0.0).min(0.0)), at(value.unwrap_or(0.0).max(0.0)));
        if value.is_some() {
            let width = (to - from).max(0.5);
            svg.push_str(&format!(
                "<rect x=\"{from:.1}\" y=\"{top:.0}\" width=\"{width:.1}\" height=\"16\" fill=\"{colour}\"/>"
            ));
        }
        let said = value.map_or_else(|| unknown.to_owned(), rounded);
        svg.push_str(&format!("<text x=\"{:.1}\" y=\"{:.0}\">{said}</text>", to + 6.0, top + 13.0));
        top += ROW;
    };
    for (label, value) in shown {
        let [plain, less, ..] = COLOURS;
        bar(label, *value, if value.is_some_and(|value| value < 0.0) { less } else { plain }, "not known");
    }
    if !others.is_empty() {
        let unknown = if column.adds { "not known" } else { "in the table" };
        bar(&format!("{} others", others.len()), rest, OTHERS, unknown);
    }
    svg.push_str("</svg>");
    svg
}

type Points<'a> = Vec<&'a (String, Option<f64>)>;

/// Those that are furthest from zero, and the others.
fn most(points: &[(String, Option<f64>)]) -> (Points<'_>, Points<'_>) {
    let size = |at: usize| points.get(at).and_then(|(_, value)| *value).map_or(-1.0, f64::abs);
    let mut order: Vec<usize> = (0..points.len()).collect();
    order.sort_by(|one, other| size(*other).total_cmp(&size(*one)));
    order.truncate(MOST);
    let (shown, others): (Vec<_>, Vec<_>) = points.iter().enumerate().partition(|(at, _)| order.contains(at));
    let plain = |of: Vec<(usize, _)>| of.into_iter().map(|(_, point)| point).collect::<Vec<_>>();
    (plain(shown), plain(others))
}
