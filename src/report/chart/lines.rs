//! A line for each name over time: the greatest where there are many, and one for all the others where they add up.
//!
//! A place without a value is a gap, and so is a period in which there was nothing: nothing joins what is on its two sides.

use std::collections::BTreeMap;

use schemas::time::Time;

use super::{COLOURS, Column, OTHERS, WIDTH, begun, nothing, rounded, scale::Scale, shortened};
use crate::report::page::escaped;

const LEFT: f64 = 90.0;
const RIGHT: f64 = 200.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 270.0;
/// What the name of a place takes, in width.
const NAME: f64 = 150.0;
/// The most letters of the name of a line.
const LETTERS: usize = 26;

/// What a line goes through, by place.
type Points = BTreeMap<usize, f64>;

/// Where something is drawn.
struct Place {
    name: String,
    /// When it is, or its number where places are no times.
    minute: i32,
    x: f64,
}

/// Lines through points: a place, the name of a line, and a value. Those of periods that follow on each other are joined, of what is by the
/// hour, day, week or month.
pub(super) fn lines(column: &Column<'_>, place: &str, grain: &str, points: &[(String, String, f64)]) -> String {
    if points.is_empty() {
        return nothing(&format!("Nothing that is known of {}.", column.name));
    }
    let places = placed(points);
    let (series, left_out) = sorted(column, &places, points);
    let scale = Scale::of(series.iter().flat_map(|(_, points)| points.values()).copied());
    let y = |value: f64| BOTTOM - scale.part(value) * (BOTTOM - TOP);
    let mut svg = begun(BOTTOM + 52.0);
    svg.push_str(&format!("<text x=\"8\" y=\"14\" font-weight=\"600\">{}</text>", column.title()));
    for tick in scale.ticks() {
        svg.push_str(&format!(
            "<path d=\"M{LEFT:.0} {:.1}H{:.0}\" stroke=\"#e2e8f0\"/><text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#718096\">{}</text>",
            y(tick),
            WIDTH - RIGHT,
            LEFT - 8.0,
            y(tick) + 4.0,
            rounded(tick)
        ));
    }
    let mut free = f64::MIN;
    for Place { name, x, .. } in &places {
        if *x >= free {
            let (name, below) = (escaped(name), BOTTOM + 18.0);
            svg.push_str(&format!(
                "<path d=\"M{x:.1} {BOTTOM:.0}v4\" stroke=\"#718096\"/><text x=\"{x:.1}\" y=\"{below:.0}\" text-anchor=\"middle\" fill=\"#718096\">{name}</text>"
            ));
            free = x + NAME;
        }
    }
    let middle = f64::midpoint(LEFT, WIDTH - RIGHT);
    svg.push_str(&format!(
        "<text x=\"{middle:.0}\" y=\"{:.0}\" text-anchor=\"middle\" font-weight=\"600\">{}</text>",
        BOTTOM + 40.0,
        escaped(place)
    ));
    let mut top = TOP + 4.0;
    for ((name, points), colour) in series.iter().zip(COLOURS.into_iter().chain([OTHERS])) {
        svg.push_str(&format!("<g fill=\"{colour}\">{}", path(points, &places, step(grain), colour, y)));
        svg.push_str(&format!(
            "<text x=\"{:.0}\" y=\"{top:.0}\">{}</text></g>",
            WIDTH - RIGHT + 14.0,
            shortened(name, LETTERS)
        ));
        top += 18.0;
    }
    if left_out > 0 {
        svg.push_str(&format!(
            "<text x=\"{:.0}\" y=\"{top:.0}\">{left_out} others: in the table</text>",
            WIDTH - RIGHT + 14.0
        ));
    }
    svg.push_str("</svg>");
    svg
}

/// The most minutes from the beginning of a period to that of the next: half a period more than it mostly is.
fn step(grain: &str) -> i32 {
    match grain {
        "hour" => 90,
        "day" => 36 * 60,
        "week" => 252 * 60,
        "month" => 45 * 24 * 60,
        _ => i32::MAX,
    }
}

/// Dots, and what joins those that are next to each other.
fn path(points: &Points, places: &[Place], step: i32, colour: &str, y: impl Fn(f64) -> f64) -> String {
    let (mut svg, mut line) = (String::new(), String::new());
    let mut before: Option<(usize, i32)> = None;
    for (at, value) in points {
        let Some(Place { x, minute, .. }) = places.get(*at) else { continue };
        let y = y(*value);
        svg.push_str(&format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\"/>"));
        let is_next = before.is_some_and(|(last, from)| last + 1 == *at && minute - from <= step);
        line.push_str(&format!("{}{x:.1} {y:.1}", if is_next { "L" } else { "M" }));
        before = Some((*at, *minute));
    }
    svg.push_str(&format!("<path d=\"{line}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"));
    svg
}

/// Lines, the greatest first, and how many are not drawn.
fn sorted(column: &Column<'_>, places: &[Place], points: &[(String, String, f64)]) -> (Vec<(String, Points)>, usize) {
    let mut found: BTreeMap<&str, Points> = BTreeMap::new();
    {
        let index: BTreeMap<&str, usize> =
            places.iter().enumerate().map(|(at, place)| (place.name.as_str(), at)).collect();
        for (place, name, value) in points {
            let Some(at) = index.get(place.as_str()) else { continue };
            let sum = found.entry(name).or_default().entry(*at).or_default();
            // What is counted adds up where several rows are of one line and place; of a statistic the last one stands.
            *sum = if column.adds { *sum + value } else { *value };
        }
    }
    let mut series: Vec<(String, Points)> = found.into_iter().map(|(name, points)| (name.to_owned(), points)).collect();
    let size = |points: &Points| {
        let sizes = points.values().map(|value| value.abs());
        if column.adds { sizes.sum::<f64>() } else { sizes.fold(0.0, f64::max) }
    };
    series.sort_by(|(_, one), (_, other)| size(other).total_cmp(&size(one)));
    let others = series.split_off(COLOURS.len().min(series.len()));
    if others.is_empty() || !column.adds {
        return (series, others.len());
    }
    let mut rest = Points::new();
    for (at, value) in others.iter().flat_map(|(_, points)| points) {
        *rest.entry(*at).or_default() += value;
    }
    series.push((format!("{} others", others.len()), rest));
    (series, 0)
}

/// Places in the order of time, as far from each other as they are in it; one after the other where they are no times.
fn placed(points: &[(String, String, f64)]) -> Vec<Place> {
    let mut names: Vec<&String> = points.iter().map(|(place, _, _)| place).collect();
    names.sort_unstable();
    names.dedup();
    let minutes: Option<Vec<i32>> = names.iter().map(|name| minute(name)).collect();
    let minutes = minutes.unwrap_or_else(|| (0..).take(names.len()).collect());
    let (least, most) = (minutes.iter().min().copied().unwrap_or(0), minutes.iter().max().copied().unwrap_or(0));
    let mut places: Vec<(i32, &String)> = minutes.into_iter().zip(names).collect();
    places.sort_unstable();
    let width = WIDTH - LEFT - RIGHT - 60.0;
    let x = |minute: i32| {
        let part = if most > least {
            (f64::from(minute) - f64::from(least)) / (f64::from(most) - f64::from(least))
        } else {
            0.5
        };
        LEFT + 30.0 + part * width
    };
    places.into_iter().map(|(minute, name)| Place { name: name.clone(), minute, x: x(minute) }).collect()
}

/// The minute since 1970 that an hour, a day or a month, as reports write them, begins in.
fn minute(text: &str) -> Option<i32> {
    let whole = match text.len() {
        7 => format!("{text}-01"),
        22 => text.split_at_checked(16).map(|(local, zone)| format!("{local}:00{zone}"))?,
        _ => text.to_owned(),
    };
    i32::try_from(Time::parse(&whole).ok()?.as_micros() / 60_000_000).ok()
}
