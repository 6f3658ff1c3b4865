//! Instants and what clocks show: sessions of Postgres are answered as Postgres answers, on days on which clocks are changed too.

use std::sync::Arc;

use serde_json::{Value, json};

use super::world::{World, charged, everyone};
use crate::sql::{Question, encode::Format, reading::Reading};

const HOUR: u32 = 3_600;

/// By the hour since 1 November 2026 in UTC: in New York that day is from the 4th to the 29th, and has 01:00 twice, in the 5th and the 6th.
async fn world(shelved: usize) -> World {
    let entries = [1, 5, 6, 28, 30].map(|hour| charged("acme", hour * HOUR, "alice", Some(1), 1));
    World::new(&entries, shelved).await
}

/// The first row of an answer to a session of Postgres whose zone is this.
async fn asked(world: &World, zone: Option<&str>, sql: &str) -> Result<Value, String> {
    let reading = Reading {
        user: "alice".into(),
        pid: 0,
        settings: Arc::default(),
        zone: zone.map(Into::into),
        parameters: Vec::new(),
        lists: Vec::new(),
    };
    let question = Question::plain(sql).read(Arc::new(reading));
    let answer = world.engine.whole(&everyone(), question, Format::Json).await.map_err(|error| error.to_string())?;
    Ok(serde_json::from_slice::<Value>(&answer).unwrap()["rows"][0].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_in_a_zone_is_what_its_clocks_show() {
    const LOCAL: &str = "time AT TIME ZONE 'America/New_York'";
    for shelved in [0, 5] {
        let world = world(shelved).await;
        for (condition, wanted) in [
            ("LOCAL >= '2026-11-01 00:00:00' AND LOCAL < '2026-11-02 00:00:00'", 3),
            ("LOCAL >= timestamp '2026-11-01 00:00:00' AND LOCAL < timestamp '2026-11-02 00:00:00'", 3),
            ("LOCAL BETWEEN '2026-11-01' AND '2026-11-01 23:59:59.999999'", 3),
            ("date_trunc('day', LOCAL) = '2026-11-01'", 3),
            ("(LOCAL)::timestamp >= '2026-11-01'", 4),
            ("(LOCAL)::date = '2026-11-01'", 3),
            ("timezone('America/New_York', time) = timestamp '2026-11-01 01:00'", 2),
            ("extract(hour from LOCAL) = 1", 3),
            ("date_trunc('day', time, 'America/New_York') = timestamptz '2026-11-01 04:00Z'", 3),
            ("date_trunc('day', time, 'utc') = timestamptz '2026-11-01 00:00Z'", 3),
            ("timestamptz '2026-11-01 06:00Z' AT TIME ZONE 'America/New_York' = timestamp '2026-11-01 01:00'", 5),
            ("timestamp '2026-11-01 01:00' AT TIME ZONE 'America/New_York' = time", 1),
        ] {
            let sql = format!("SELECT count(*) AS n FROM usage WHERE {}", condition.replace("LOCAL", LOCAL));
            assert_eq!(asked(&world, None, &sql).await, Ok(json!({"n": wanted})), "{sql}");
        }
        let by_day =
            format!("SELECT date_trunc('day', {LOCAL}) AS day, count(*) AS n FROM usage GROUP BY 1 ORDER BY 2 DESC");
        let day = json!({"day": "2026-11-01T00:00:00.000000Z", "n": 3});
        assert_eq!(asked(&world, Some("Asia/Tokyo"), &by_day).await, Ok(day));
        // An offset means one thing to Postgres, what is west of UTC, and another to everybody else.
        for (zone, wanted) in [
            ("+05:30", "2026-11-01 06:30:00"),
            ("-5", "2026-11-01 17:00:00"),
            ("5", "2026-11-01 07:00:00"),
            ("UTC+3", "2026-11-01 09:00:00"),
            ("GMT-05:30", "2026-11-01 17:30:00"),
            ("europe/BERLIN", "2026-11-01 13:00:00"),
            ("Z", "2026-11-01 12:00:00"),
            ("PST", "2026-11-01 04:00:00"),
            ("nzdt", "2026-11-02 01:00:00"),
        ] {
            let sql = format!("SELECT (timestamptz '2026-11-01 12:00:00Z' AT TIME ZONE '{zone}')::text AS v");
            assert_eq!(asked(&world, None, &sql).await, Ok(json!({"v": wanted})), "{zone}");
        }
        // What Postgres knows by letters is so in summer too.
        for (zone, wanted) in [
            ("'CET'", "2026-07-01 13:00:00"),
            ("'cest'", "2026-07-01 14:00:00"),
            ("interval '-3 hours'", "2026-07-01 09:00:00"),
            ("interval '05:30'", "2026-07-01 17:30:00"),
        ] {
            let sql = format!("SELECT (timestamptz '2026-07-01 12:00:00Z' AT TIME ZONE {zone})::text AS v");
            assert_eq!(asked(&world, None, &sql).await, Ok(json!({"v": wanted})), "{zone}");
        }
        let summer = "SELECT (timestamptz '2026-07-01 12:00:00Z')::timestamp::text AS v";
        assert_eq!(asked(&world, Some("CET"), summer).await, Ok(json!({"v": "2026-07-01 14:00:00"})));
        // Of what files and rollups are left out by: the day there begins at 05:30 in UTC, and two of five are before that.
        let day = "SELECT count(*) AS n FROM usage WHERE date_trunc('day', time AT TIME ZONE '+05:30') = '2026-11-01'";
        assert_eq!(asked(&world, None, day).await, Ok(json!({"n": 2})));
        for (zone, wanted) in [("+05:30", "05:30"), ("-03", "21:00"), ("UTC+3", "03:00"), ("-0", "00:00")] {
            let day = format!("date_trunc('day', timestamptz '2026-07-01 23:00:00Z', '{zone}')");
            let sql = format!("SELECT {day} = timestamptz '2026-07-01 {wanted}:00Z' AS v");
            for session in [None, Some("Asia/Tokyo")] {
                assert_eq!(asked(&world, session, &sql).await, Ok(json!({"v": true})), "{zone} in {session:?}");
            }
        }
        for wrong in [
            "time AT TIME ZONE '+0530'",
            "date_trunc('day', time, '+0530')",
            "time AT TIME ZONE interval '1 day'",
            "time AT TIME ZONE interval '1 second'",
        ] {
            let wrong = asked(&world, None, &format!("SELECT {wrong} FROM usage")).await.unwrap_err();
            assert!(wrong.contains("Europe/Berlin"), "{wrong}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_hour_is_out_of_range() {
    let world = world(5).await;
    let berlin = async |value: &str, wanted: &str| {
        let got = asked(&world, Some("Europe/Berlin"), &format!("SELECT {value} AS v")).await;
        assert_eq!(got, Ok(json!({"v": wanted})), "{value}");
    };
    berlin("timestamptz '2026-10-26 02:30:00' - interval '1 day'", "2026-10-25T01:30:00.000000Z").await;
    berlin("timestamptz '2026-10-24 02:30:00' + interval '1 day 1 hour'", "2026-10-25T02:30:00.000000Z").await;
    berlin("interval '1 month' + timestamptz '2026-02-28 02:30:00'", "2026-03-28T01:30:00.000000Z").await;
    berlin("timestamptz '2026-03-28 02:30:00' + interval '1 day'", "2026-03-29T01:30:00.000000Z").await;
    berlin("timestamptz '2026-10-25 00:00:00' + interval '24 hours'", "2026-10-25T22:00:00.000000Z").await;
    berlin("'2026-10-25 02:30'::timestamptz", "2026-10-25T01:30:00.000000Z").await;
    berlin("(timestamp '2026-10-25 02:30')::timestamptz", "2026-10-25T01:30:00.000000Z").await;
    let today = "SELECT now() >= 'today' AND now() < 'tomorrow' AND now() - 'today' < interval '25 hours' \
                 AND date_trunc('day', now()) IN ('today', 'epoch') AS v";
    for zone in ["Pacific/Kiritimati", "Pacific/Pago_Pago"] {
        assert_eq!(asked(&world, Some(zone), today).await, Ok(json!({"v": true})), "{zone}");
    }
    berlin("'epoch'::timestamptz", "1970-01-01T00:00:00.000000Z").await;
    berlin("date_bin('1 day', timestamptz '2026-10-24 12:00', '2026-10-01')", "2026-10-23T22:00:00.000000Z").await;
    let earliest = "SELECT min(date_trunc('hour', time) - interval '7 days') AS v FROM usage";
    let got = asked(&world, Some("Europe/Berlin"), earliest).await;
    assert_eq!(got, Ok(json!({"v": "2026-10-25T01:00:00.000000Z"})));

    // Over HTTP what is put into a zone stays the instant that it is.
    let week = "SELECT date_trunc('day', (time AT TIME ZONE 'America/New_York') + interval '7 days') AS v, count(*) AS n \
                FROM usage GROUP BY 1 ORDER BY 2 DESC LIMIT 1";
    let got = world.ask(&everyone(), week).await;
    assert_eq!(got, Ok(json!([{"v": "2026-11-08T05:00:00.000000Z", "n": 3}])));
    let day = "SELECT date_trunc('day', time, 'America/New_York') AS v, count(*) AS n FROM usage GROUP BY 1 ORDER BY 2 DESC LIMIT 1";
    assert_eq!(world.ask(&everyone(), day).await, Ok(json!([{"v": "2026-11-01T04:00:00.000000Z", "n": 3}])));
}

/// Whatever it is asked through: an offset is what a zone is behind UTC, and letters are what Postgres knows by them.
#[tokio::test(flavor = "multi_thread")]
async fn a_zone_is_read_alike_on_all_surfaces() {
    for shelved in [0, 5] {
        let world = world(shelved).await;
        for (condition, wanted) in [
            ("(time AT TIME ZONE '+05:30')::date = date '2026-11-01'", 2),
            ("(time AT TIME ZONE '-03')::date = date '2026-11-02'", 2),
            ("(time AT TIME ZONE 'pst')::date = date '2026-11-01'", 2),
            ("(time AT TIME ZONE 'america/new_york')::date = date '2026-11-01'", 3),
            ("extract(hour FROM time AT TIME ZONE 'UTC+3') = 3", 2),
            ("time >= timestamp '2026-11-01' AT TIME ZONE '+05:30'", 3),
            ("time >= timestamp '2026-11-01' AT TIME ZONE '-05:30'", 5),
            ("date_trunc('day', time, '+05:30') = timestamptz '2026-11-01 05:30Z'", 2),
        ] {
            let sql = format!("SELECT count(*) AS n FROM usage WHERE {condition}");
            assert_eq!(world.ask(&everyone(), &sql).await, Ok(json!([{"n": wanted}])), "{sql}");
            assert_eq!(asked(&world, None, &sql).await, Ok(json!({"n": wanted})), "{sql}");
        }
    }
}

/// Over HTTP as well, where it is an instant. In New York 1 November has three of the five, and one is before it.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_zone_is_of_that_of_the_instant_beside_it() {
    for shelved in [0, 5] {
        let world = world(shelved).await;
        for (condition, wanted) in [
            ("date_trunc('day', LOCAL) = date '2026-11-01'", 3),
            ("date_trunc('day', LOCAL) = '2026-11-01'", 3),
            ("date_trunc('day', LOCAL) = timestamp '2026-11-01'", 3),
            ("date_trunc('day', LOCAL) IN ('2026-11-01', '2026-11-02')", 4),
            ("date_trunc('month', LOCAL) = date '2026-11-01'", 4),
            ("LOCAL >= '2026-11-01'", 4),
            ("date '2026-11-01' <= LOCAL", 4),
            ("LOCAL >= (timestamp '2026-11-01' + interval '0 days')::date", 4),
            ("LOCAL BETWEEN '2026-11-01' AND date '2026-11-02'", 3),
            ("(LOCAL)::timestamp >= timestamp '2026-11-01'", 4),
            ("(LOCAL)::timestamp >= '2026-11-01'", 4),
            ("(LOCAL)::date = '2026-11-01'", 3),
            ("(time AT TIME ZONE '+05:30')::timestamp = timestamp '2026-11-01 00:30'", 1),
            ("time AT TIME ZONE '+05:30' >= date '2026-11-01'", 3),
            ("time AT TIME ZONE 'UTC' >= date '2026-11-02'", 2),
            ("time >= '2026-11-02'", 2),
        ] {
            let condition = condition.replace("LOCAL", "time AT TIME ZONE 'America/New_York'");
            let sql = format!("SELECT count(*) AS n FROM usage WHERE {condition}");
            assert_eq!(world.ask(&everyone(), &sql).await, Ok(json!([{"n": wanted}])), "{sql}");
            assert_eq!(asked(&world, None, &sql).await, Ok(json!({"n": wanted})), "{sql}");
        }
    }
}

/// The answers are those of Postgres. At 05:30 in UTC clocks in New York show 01:30 for the first time.
#[tokio::test(flavor = "multi_thread")]
async fn only_days_and_months_are_added_by_the_clock() {
    let world = world(5).await;
    for (shifted, wanted) in [
        ("t + interval '0 hours'", "05:30"),
        ("t + interval '1 hour'", "06:30"),
        ("t + interval '2 hours'", "07:30"),
        ("t - 0 * interval '1 hour'", "05:30"),
        ("t + interval '0 days'", "05:30"),
        ("t + n * interval '1 hour'", "05:30"),
        ("t + n * interval '1 day'", "05:30"),
        ("t - interval '1 hour' + interval '1 hour'", "05:30"),
        ("t + interval '1 day' - interval '1 day'", "06:30"),
        ("t - interval '1 month' + interval '1 month'", "06:30"),
        ("t + interval '1 month -30 days'", "06:30"),
    ] {
        let from = "FROM (VALUES (timestamptz '2026-11-01 05:30:00Z', 0)) v(t, n)";
        let got = asked(&world, Some("America/New_York"), &format!("SELECT {shifted} AS v {from}")).await;
        assert_eq!(got, Ok(json!({"v": format!("2026-11-01T{wanted}:00.000000Z")})), "{shifted}");
    }
    // The one does not change what the other is.
    let both = "SELECT count(*) AS n FROM usage WHERE time + CASE WHEN user_id = 'x' THEN interval '1 day' ELSE \
                interval '0 days' END = time";
    assert_eq!(asked(&world, Some("America/New_York"), both).await, Ok(json!({"n": 5})));
    let spring = "SELECT timestamptz '2026-02-07 02:30' + interval '1 month 1 day' AS v";
    let got = asked(&world, Some("America/New_York"), spring).await;
    assert_eq!(got, Ok(json!({"v": "2026-03-08T07:30:00.000000Z"})));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_between_two_instants_is_so_in_any_zone() {
    let world = world(2).await;
    for zone in [None, Some("Europe/Berlin"), Some("Etc/UTC"), Some("America/New_York")] {
        for value in [
            "timestamptz '2026-11-03 06:00Z' - max(time) = interval '1 day'",
            "timestamptz '2026-11-03 06:00Z' - max(time) < interval '25 hours'",
            "now() - max(time) IS NOT NULL",
            "current_timestamp - max(time) <> interval '1 microsecond'",
            "date_trunc('day', now()) - max(time) IS NOT NULL",
            "date_trunc('hour', max(time)) - max(time) = interval '0 hours'",
        ] {
            let got = asked(&world, zone, &format!("SELECT {value} AS v FROM usage")).await;
            assert_eq!(got, Ok(json!({"v": true})), "{value} in {zone:?}");
        }
    }
}

/// The last call was on 2 November at 07:00 in Berlin.
#[tokio::test(flavor = "multi_thread")]
async fn days_begin_at_midnight_of_the_session_in_differences_too() {
    let world = world(5).await;
    for value in [
        "max(time) - max(time)::date = interval '7 hours'",
        "max(time)::date + interval '1 day' - max(time) = interval '17 hours'",
        "max(time) - date '2026-11-02' = interval '7 hours'",
        "date '2026-11-03' - max(time) = interval '17 hours'",
        "max(time) - timestamp '2026-11-02 05:00' = interval '2 hours'",
        "extract(hour FROM max(time) - date_trunc('day', max(time))::date) = 7",
        "max(time) - current_date IS NOT NULL",
        "timestamptz '2026-11-01' - date '2026-10-20' = interval '12 days 1 hour'",
        "timestamptz '2026-11-01' - max(time)::timestamp = interval '-31 hours'",
        "max(time) - max(time)::timestamp = interval '0 hours'",
        "max(time) - '2026-11-01' = interval '1 day 7 hours'",
        "max(time) - '2026-11-01 12:00' = interval '19 hours'",
        "max(time) - '2026-11-02T05:00:00Z' = interval '1 hour'",
        "'2026-11-03' - max(time) = interval '17 hours'",
        "max(time)::timestamp - '2026-11-02 05:00' = interval '2 hours'",
        "max(time)::date - '2026-11-01' = 1",
        "max(time) + '1 day 02:00' = timestamptz '2026-11-03 09:00'",
        "interval '1 day' - '01:00' = interval '23 hours'",
        "'1 hour' + interval '1 day' > '1 day'",
    ] {
        let got = asked(&world, Some("Europe/Berlin"), &format!("SELECT {value} AS v FROM usage")).await;
        assert_eq!(got, Ok(json!({"v": true})), "{value}");
    }
    let utc = "SELECT max(time) - max(time)::date = interval '6 hours' AS v FROM usage";
    assert_eq!(asked(&world, None, utc).await, Ok(json!({"v": true})));
}

/// The last call was on 2 November at 07:00 in Berlin, which is an hour ahead of UTC since 25 October, and two before that.
#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_an_instant_is_of_the_zone_of_the_session() {
    const DAY: &str = "(VALUES (timestamptz '2026-10-01 12:00Z', NULL::timestamptz)) t(time, never)";
    let world = world(5).await;
    for (value, in_berlin, in_utc) in [
        ("greatest(time, '2026-11-01 12:00')", "2026-11-01T11:00:00", "2026-11-01T12:00:00"),
        ("least('2026-09-01 12:00', time, '2026-09-02')", "2026-09-01T10:00:00", "2026-09-01T12:00:00"),
        ("greatest(time, date '2026-11-01')", "2026-10-31T23:00:00", "2026-11-01T00:00:00"),
        ("greatest(timestamp '2026-11-01 12:00', time)", "2026-11-01T11:00:00", "2026-11-01T12:00:00"),
        ("coalesce(never, '2026-11-01 12:00')", "2026-11-01T11:00:00", "2026-11-01T12:00:00"),
        ("coalesce(never, '2026-11-01T12:00:00Z')", "2026-11-01T12:00:00", "2026-11-01T12:00:00"),
        ("coalesce(never, date '2026-11-01')", "2026-10-31T23:00:00", "2026-11-01T00:00:00"),
        ("CASE WHEN never IS NULL THEN '2026-09-01 12:00' ELSE time END", "2026-09-01T10:00:00", "2026-09-01T12:00:00"),
        ("CASE WHEN never IS NULL THEN date '2026-11-01' ELSE time END", "2026-10-31T23:00:00", "2026-11-01T00:00:00"),
        ("lag(time, 1, '2026-11-01 12:00') OVER ()", "2026-11-01T11:00:00", "2026-11-01T12:00:00"),
        ("lead(time, 1, date '2026-11-01') OVER ()", "2026-10-31T23:00:00", "2026-11-01T00:00:00"),
    ] {
        for (zone, wanted) in [(Some("Europe/Berlin"), in_berlin), (None, in_utc)] {
            let got = asked(&world, zone, &format!("SELECT {value} AS v FROM {DAY}")).await;
            assert_eq!(got, Ok(json!({"v": format!("{wanted}.000000Z")})), "{value} in {zone:?}");
        }
    }
    for (value, wanted) in [
        ("nullif(time, '2026-10-01 14:00') IS NULL", json!(true)),
        ("CASE time WHEN '2026-10-01 14:00' THEN 1 ELSE 0 END", json!(1)),
        ("coalesce(never::timestamp, '2026-11-01 12:00') = timestamp '2026-11-01 12:00'", json!(true)),
        ("coalesce(never::date, '2026-11-01') = date '2026-11-01'", json!(true)),
        ("coalesce(NULL::interval, '1 day') = interval '1 day'", json!(true)),
        ("date_trunc('day', coalesce(never, '2026-11-01')) = '2026-11-01'", json!(true)),
    ] {
        let got = asked(&world, Some("Europe/Berlin"), &format!("SELECT {value} AS v FROM {DAY}")).await;
        assert_eq!(got, Ok(json!({ "v": wanted })), "{value}");
    }
    for (other, in_berlin, in_utc) in [
        ("'2026-11-03 12:00'", "2026-11-03T11:00:00", "2026-11-03T12:00:00"),
        ("date '2026-11-03'", "2026-11-02T23:00:00", "2026-11-03T00:00:00"),
        ("timestamp '2026-11-03 12:00'", "2026-11-03T11:00:00", "2026-11-03T12:00:00"),
        ("timestamptz '2026-11-03 12:00Z'", "2026-11-03T12:00:00", "2026-11-03T12:00:00"),
    ] {
        for union in [
            format!("SELECT time FROM usage UNION ALL SELECT {other}"),
            format!("SELECT {other} AS time UNION SELECT time FROM usage"),
            format!("SELECT time FROM usage UNION SELECT {other} UNION ALL SELECT time FROM usage"),
        ] {
            for (zone, wanted) in [(Some("Europe/Berlin"), in_berlin), (None, in_utc)] {
                let latest = format!("SELECT max(time) AS v FROM ({union}) u WHERE time >= '2026-11-01'");
                let got = asked(&world, zone, &latest).await;
                assert_eq!(got, Ok(json!({"v": format!("{wanted}.000000Z")})), "{union} in {zone:?}");
            }
        }
    }
}

/// Midnight in New York is at 04:00 in UTC that day.
#[tokio::test(flavor = "multi_thread")]
async fn bins_begin_at_what_the_clocks_of_the_session_show() {
    let world = world(5).await;
    for (begin, wanted) in [
        ("'2026-11-01'", ("2026-10-31T04:00:00.000000Z", 1)),
        ("date '2026-11-01'", ("2026-10-31T04:00:00.000000Z", 1)),
        ("timestamp '2026-11-01 00:00'", ("2026-10-31T04:00:00.000000Z", 1)),
        ("'2026-11-01T00:00:00Z'", ("2026-11-01T00:00:00.000000Z", 3)),
        ("'epoch'", ("2026-11-01T00:00:00.000000Z", 3)),
        ("'epoch'::timestamptz", ("2026-11-01T00:00:00.000000Z", 3)),
    ] {
        let sql =
            format!("SELECT date_bin('1 day', time, {begin}) AS v, count(*) AS n FROM usage GROUP BY 1 ORDER BY 1");
        let got = asked(&world, Some("America/New_York"), &sql).await;
        assert_eq!(got, Ok(json!({"v": wanted.0, "n": wanted.1})), "{begin}");
        let utc = asked(&world, None, &sql).await;
        assert_eq!(utc, Ok(json!({"v": "2026-11-01T00:00:00.000000Z", "n": 3})), "{begin}");
    }
}

/// Calls are at 01:00, 05:00 and 06:00 in UTC on the first, and at 04:00 and 06:00 on the second.
#[tokio::test(flavor = "multi_thread")]
async fn a_text_beside_an_instant_is_of_the_offset_that_the_session_has_for_a_zone() {
    let world = world(5).await;
    for (zone, condition, wanted) in [
        ("-05:00", "time >= '2026-11-01' AND time < '2026-11-02'", 3),
        ("-05:00", "time >= '2026-11-01 00:00' AND time < '2026-11-01T24:00'", 3),
        ("-05:00", "time BETWEEN '2026-11-01 00:00:00' AND '2026-11-01 23:59:59.999999'", 3),
        ("-05:00", "time IN ('2026-11-01 01:00:00', '2026-11-01T00:00', '2026-10-31 20:00')", 3),
        ("-05:00", "time = '2026-11-01T00:00:00'", 1),
        ("-05:00", "time = '2026-11-01T05:00:00Z'", 1),
        ("-05:00", "time >= timestamp '2026-11-01 00:00' AND time < date '2026-11-02'", 3),
        ("-05:00", "time >= date '2026-11-01' AND time < timestamptz '2026-11-02 00:00'", 3),
        ("+05:30", "time < '2026-11-01 06:30:00'", 0),
        ("+05:30", "time <= '2026-11-01 06:30'", 1),
        ("+05:30", "date_bin('1 day', time, '2026-11-01') = '2026-11-01'", 3),
        ("+05:30", "time < to_timestamp('2026-11-01 11:00', 'YYYY-MM-DD HH24:MI')", 2),
    ] {
        let sql = format!("SELECT count(*) AS n FROM usage WHERE {condition}");
        assert_eq!(asked(&world, Some(zone), &sql).await, Ok(json!({"n": wanted})), "{condition} in {zone}");
    }
    let days = "SELECT min(g) AS v FROM generate_series(date '2026-11-01', date '2026-11-03', interval '1 day') g";
    for (days, wanted) in [
        (days.to_owned(), "2026-10-31T18:30:00.000000Z"),
        (format!("{days} WHERE g > '2026-11-01 00:00'"), "2026-11-01T18:30:00.000000Z"),
    ] {
        assert_eq!(asked(&world, Some("+05:30"), &days).await, Ok(json!({"v": wanted})), "{days}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clocks_show_is_compared_with_texts_of_any_length() {
    let world = world(5).await;
    let all = "SELECT count(*) AS n FROM usage WHERE time IS NOT NULL";
    for condition in [
        "date_trunc('hour', time AT TIME ZONE 'America/New_York') >= '2026-01-01 01:00'",
        "(time AT TIME ZONE 'Europe/Berlin') > '2026-01-01'",
        "time::timestamp BETWEEN '2026-01-01 01:00' AND '2027-01-01 00:00:00'",
        "date_trunc('year', time::timestamp) IN ('2026-01-01', '2026-01-01 00:00')",
    ] {
        for zone in [None, Some("America/New_York")] {
            let sql = format!("SELECT count(*) AS n FROM usage WHERE {condition}");
            assert_eq!(asked(&world, zone, &sql).await, asked(&world, zone, all).await, "{condition}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_are_cast_have_names_of_their_own() {
    let world = world(5).await;
    for sql in [
        "SELECT time, time::date FROM charges",
        "SELECT time::date, time FROM charges",
        "SELECT quantity, quantity::float FROM charges",
        "SELECT time::text FROM charges ORDER BY time",
        "SELECT c.time::text FROM charges c ORDER BY c.time",
        "SELECT *, time::date FROM charges",
        "SELECT CAST(input_tokens AS double) FROM usage ORDER BY input_tokens",
        "SELECT time::date, time::date, count(*), count(1) FROM charges GROUP BY time",
        "SELECT time AT TIME ZONE 'UTC', time AT TIME ZONE 'Asia/Tokyo', time FROM charges ORDER BY time",
    ] {
        asked(&world, None, sql).await.expect(sql);
        if !sql.contains("count(1)") {
            world.ask(&everyone(), sql).await.expect(sql);
        }
    }
}

/// The last is at 06:00 in UTC on the second of November.
#[tokio::test(flavor = "multi_thread")]
async fn an_instant_is_cast_to_what_the_clocks_of_the_session_show() {
    let world = world(5).await;
    for (zone, value, wanted) in [
        (None, "max(time)::timestamp", "2026-11-02 06:00:00"),
        (Some("Europe/Berlin"), "max(time)::timestamp", "2026-11-02 07:00:00"),
        (Some("Europe/Berlin"), "max(time::timestamp)", "2026-11-02 07:00:00"),
        (Some("Europe/Berlin"), "CAST(date_trunc('day', max(time)) AS timestamp)", "2026-11-02 00:00:00"),
        (Some("Europe/Berlin"), "date_trunc('day', max(time)::timestamp)", "2026-11-02 00:00:00"),
        (Some("Europe/Berlin"), "date_trunc('day', max(time)::timestamp)::date", "2026-11-02"),
        (Some("America/New_York"), "max(time)::timestamp", "2026-11-02 01:00:00"),
        (Some("America/New_York"), "min(time)::timestamp", "2026-10-31 21:00:00"),
        (Some("America/New_York"), "timestamptz '2026-11-01 06:30:00Z'::timestamp", "2026-11-01 01:30:00"),
        (Some("+05:30"), "max(time)::timestamp", "2026-11-02 11:30:00"),
        (Some("Asia/Kolkata"), "(max(time) AT TIME ZONE 'America/New_York')::timestamp", "2026-11-02 01:00:00"),
        (Some("Asia/Kolkata"), "max(time)::timestamp::timestamptz = max(time)", "true"),
        (Some("Asia/Kolkata"), "max(time)::timestamp = max(time)", "true"),
    ] {
        let got = asked(&world, zone, &format!("SELECT ({value})::text AS v FROM usage")).await;
        assert_eq!(got, Ok(json!({"v": wanted})), "{value} in {zone:?}");
    }
    for (zone, wanted) in [(None, 3), (Some("America/New_York"), 3), (Some("Asia/Tokyo"), 1)] {
        let sql = "SELECT count(*) AS n FROM usage WHERE time::timestamp < '2026-11-01 12:00'";
        assert_eq!(asked(&world, zone, sql).await, Ok(json!({"n": wanted})), "{zone:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn seconds_since_1970_are_the_same_instant_in_any_zone() {
    let world = world(2).await;
    for zone in [None, Some("America/New_York"), Some("Africa/Cairo"), Some("+05:30")] {
        for value in [
            "to_timestamp(1796029500) = timestamptz '2026-11-30 09:05:00Z'",
            "to_timestamp(1796029500) = to_timestamp(1796029500.0)",
            "to_timestamp(1796029500.000007::float8) = timestamptz '2026-11-30 09:05:00.000007Z'",
            "to_timestamp(1796029500.000007) = timestamptz '2026-11-30 09:05:00.000007Z'",
            "bool_and(to_timestamp(extract(epoch FROM time + interval '7 microseconds')) = time + interval '7 microseconds')",
            "to_timestamp(1796029500::int) = to_timestamp_seconds(1796029500)",
            "extract(epoch FROM to_timestamp(1796029500)) = 1796029500",
            "from_unixtime(1796029500) = timestamptz '2026-11-30 09:05:00Z'",
            "to_timestamp((extract(epoch FROM max(time))::bigint / 60) * 60) = date_trunc('minute', max(time))",
            "max(time) BETWEEN to_timestamp(1793400000) AND to_timestamp(1793600000)",
        ] {
            let got = asked(&world, zone, &format!("SELECT {value} AS v FROM usage")).await;
            assert_eq!(got, Ok(json!({"v": true})), "{value} in {zone:?}");
        }
    }
}

/// In Cairo midnight of 24 April 2026 is not there: clocks go from it to one o'clock.
#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_begins_late_is_there() {
    let world = world(1).await;
    let check = async |value: &str, wanted: Value| {
        let got = asked(&world, Some("Africa/Cairo"), &format!("SELECT {value}")).await;
        assert_eq!(got, Ok(json!({ "v": wanted })), "{value}");
    };
    let late = json!("2026-04-23T22:00:00.000000Z");
    check("date '2026-04-24'::timestamptz AS v", late.clone()).await;
    check("d::timestamptz AS v FROM (VALUES (date '2026-04-24')) t(d)", late.clone()).await;
    check("min(d::timestamptz) AS v FROM (VALUES (date '2026-04-24'), (date '2026-04-25')) t(d)", late).await;
    const APRIL: &str = "generate_series(timestamptz '2026-04-22', timestamptz '2026-04-27', interval '1 day') g";
    check(&format!("count(*) AS v FROM {APRIL}"), json!(5)).await;
    let both = json!("2026-04-22 00:00:00+02 2026-04-26 01:00:00+03");
    check(&format!("min(g)::text || ' ' || max(g)::text AS v FROM {APRIL}"), both).await;
    let back = "generate_series(timestamptz '2026-04-27', timestamptz '2026-04-22', interval '-1 day')";
    check(&format!("count(*) AS v FROM {back}"), json!(6)).await;
    let months = "generate_series(date '2026-03-24', date '2026-05-24', interval '1 month') g";
    check(&format!("max(g) AS v FROM {months}"), json!("2026-04-23T22:00:00.000000Z")).await;
    check(&format!("count(*) AS v FROM {months} WHERE g = timestamptz '2026-03-24'"), json!(1)).await;
    let hours =
        "generate_series(timestamptz '2026-04-23 22:00:00', timestamptz '2026-04-24 02:00:00', interval '1 hour')";
    check(&format!("count(*) AS v FROM {hours}"), json!(4)).await;
}
