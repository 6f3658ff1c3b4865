//! Days of zones on either side of UTC: the first day of a span and the mean of the days before it are those of the zone.

use futures::StreamExt as _;
use jiff::{ToSpan as _, civil::date, tz::TimeZone};
use schemas::time::Time;
use serde_json::json;

use super::{month::Call, *};

/// A tenth of a dollar half an hour into each day of a zone, from the end of September to the tenth of November; nothing on the
/// thirtieth of October, and ten times as much on the first of November.
async fn tenths(zone: &str) -> World {
    let (place, mut day, mut entries) = (TimeZone::get(zone).unwrap(), date(2026, 9, 25), Vec::new());
    while day <= date(2026, 11, 10) {
        let time = day.at(0, 30, 0, 0).to_zoned(place.clone()).unwrap().timestamp();
        let input = if day == date(2026, 11, 1) { 4_000_000 } else { 400_000 };
        if day != date(2026, 10, 30) {
            let time = Time::from_micros(time.as_microsecond());
            let number = u32::try_from(entries.len()).unwrap() + 1;
            entries.push(Call::new(number, time, "acme", "gpt-5-mini", [input, 0, 0]).entry());
        }
        day = day.checked_add(1.day()).unwrap();
    }
    World::new(&entries, entries.len() / 2).await
}

#[tokio::test(flavor = "multi_thread")]
async fn days_are_those_of_the_zone_on_either_side_of_utc() {
    let check = |zone: &'static str| async move {
        let world = tenths(zone).await;
        let span = |from: &str, to: &str| Span { zone: Some(zone.into()), ..span(from, to) };
        // Each day before it cost the same, so that there is nothing to measure by; none of those is told of.
        let around = span("2026-10-25", "2026-11-03");
        let odd = rows(&world, "anomalies", &around, &[("by", "tenant")], &["day", "cost_usd", "score"]).await;
        let [gap, spike] = odd.as_array().unwrap().as_slice() else { panic!("{zone}: {odd}") };
        assert_eq!(gap, "2026-10-30 0 null", "{zone}");
        assert!(spike.as_str().unwrap().starts_with("2026-11-01 1 48.6"), "{zone}: {spike}");
        let first = rows(&world, "anomalies", &span("2026-11-01", "2026-11-02"), &[], &["day", "mean_usd"]).await;
        assert_eq!(first, json!(["2026-11-01 0.096429"]), "{zone}");
        // 26 tenths and a dollar.
        let november = Span { zone: Some(zone.into()), ..november() };
        let mean = rows(&world, "forecast", &november, &[], &["daily_usd"]).await;
        assert_eq!(mean, json!(["0.128571"]), "{zone}");
        let total =
            rows(&world, "spend", &span("2026-11-01", "2026-11-02"), &[("grain", "total")], &["period", "cost_usd"])
                .await;
        assert_eq!(total, json!(["2026-11-01 1"]), "{zone}");
        let days = rows(&world, "spend", &span("2026-11-01", "2026-11-03"), &[], &["period", "cost_usd"]).await;
        assert_eq!(days, json!(["2026-11-01 1", "2026-11-02 0.1"]), "{zone}");
        let months = rows(&world, "as-of", &span("2026-10-30", "2026-11-03"), &[], &["month", "now_usd"]).await;
        assert_eq!(months, json!(["2026-10 0.1", "2026-11 1.1"]), "{zone}");
    };
    // The last is to SQL a clock that is never changed.
    let zones =
        ["UTC", "America/Los_Angeles", "Pacific/Honolulu", "Pacific/Auckland", "America/Havana", "Asia/Kolkata", "CET"];
    // Each has a world, whose queries have threads of their own.
    futures::stream::iter(zones).for_each_concurrent(2, check).await;
}

/// Of a day that is not over nobody knows that nothing was used.
#[tokio::test(flavor = "multi_thread")]
async fn a_day_without_use_is_told_of_once_it_is_over() {
    let world = tenths("UTC").await;
    // It is midnight: the eleventh has begun.
    assert_eq!(rows(&world, "anomalies", &span("2026-11-11", "2026-11-20"), &[], &["day"]).await, json!([]));
    let entries: Vec<_> = (1..=29)
        .map(|day| Call::new(day, month::at(i64::from(day) - 20, 1), "acme", "gpt-5-mini", [400, 0, 0]).entry())
        .collect();
    let world = World::new(&entries, 0).await;
    let odd = rows(&world, "anomalies", &span("2026-11-10", "2026-11-20"), &[], &["day", "cost_usd", "mean_usd"]).await;
    assert_eq!(odd, json!(["2026-11-10 0 0.0001"]));
}

/// Of a day that is not over, or not told of as a whole, nobody knows that it is cheap; that it is dear already they do.
#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_is_not_over_is_no_cheap_one() {
    let check = async |today: u64, span: Span, wanted: &[&str]| {
        let before = (-20..=10).map(|day| (month::at(day, 1), if day % 2 == 0 { 400 } else { 440 }));
        let calls = before.chain([(month::at(11, 0), today)]).zip(1..);
        let call = |((time, input), number)| Call::new(number, time, "acme", "gpt-5-mini", [input, 0, 0]).entry();
        let world = World::new(&calls.map(call).collect::<Vec<_>>(), 0).await;
        assert_eq!(rows(&world, "anomalies", &span, &[], &["day", "cost_usd"]).await, json!(wanted), "{span:?}");
    };
    let asked = |to: &str| span("2026-11-09", to);
    check(4, asked("2026-11-12"), &[]).await;
    check(4_000, asked("2026-11-12"), &["2026-11-11 0.001"]).await;
    check(4_000, asked("2026-11-10T00:30:00Z"), &[]).await;
    let known = Some("2026-11-10T00:30:00Z".into());
    check(4_000, Span { as_of: known, ..asked("2026-11-11") }, &[]).await;
}

/// What a month will come to, and what it is held against, goes by the clock of the instant that it is asked as of.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_known_then_is_looked_at_from_then() {
    let world = tenths("UTC").await;
    let check = async |from: Option<&str>, as_of: &str, forecast: &str, pace: &str| {
        let span = Span { from: from.map(str::to_owned), as_of: Some(as_of.into()), ..Span::default() };
        let got = rows(&world, "forecast", &span, &[], &["spent_usd", "forecast_usd"]).await;
        assert_eq!(got, json!([forecast]), "{span:?}");
        let columns = ["month_usd", "same_point_usd", "change_usd", "last_month_usd"];
        assert_eq!(rows(&world, "pace", &span, &[], &columns).await, json!([pace]), "{span:?}");
    };
    for from in [None, Some("2026-11-01")] {
        // A dollar and 7 tenths, and 22 days and a half of a 28th of a dollar and 26 tenths.
        check(from, "2026-11-08T12:00:00Z", "1.7 4.592857", "1.7 0.8 0.9 3").await;
        // What is to come changes nothing.
        check(from, "2027-01-01", "1.9 4.471429", "1.9 1 0.9 3").await;
    }
    for from in [None, Some("2026-10-01")] {
        // Of the 28 days before it the first two had nothing.
        check(from, "2026-10-21", "2 3.021429", "2 0 2 0.6").await;
    }
}
