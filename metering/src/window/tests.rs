use schemas::fixture;

use super::*;

fn time(text: &str) -> Time {
    Time::from_micros(text.parse::<Timestamp>().unwrap().as_microsecond())
}

fn limit(window: Window, zone: &str) -> Limit {
    Limit { zone: zone.into(), ..fixture::limit(1, window) }
}

fn check(window: Window, zone: &str, now: &str, start: &str, end: &str) {
    let schedule = super::schedule(&limit(window, zone), time(now), Duration::from_secs(60)).unwrap();
    assert_eq!(schedule.window(time(now)), Some((time(start), time(end))), "{window:?} in {zone} at {now}");
    assert!(schedule.boundaries.windows(2).all(|pair| pair[0] < pair[1]), "boundaries grow");
    assert!(schedule.window(time(end)).is_some(), "the next window is published");
    assert!(!runs_out(&schedule, time(now), Duration::from_secs(30)));
}

#[test]
fn windows_follow_the_calendar_of_their_zone() {
    check(Window::Second, "UTC", "2026-11-22T10:00:00.5Z", "2026-11-22T10:00:00Z", "2026-11-22T10:00:01Z");
    check(Window::Minute, "UTC", "2026-11-22T10:00:59.9Z", "2026-11-22T10:00:00Z", "2026-11-22T10:01:00Z");
    check(Window::Hour, "Asia/Kolkata", "2026-11-22T10:00:00Z", "2026-11-22T09:30:00Z", "2026-11-22T10:30:00Z");
    check(Window::Day, "America/New_York", "2026-11-01T12:00:00Z", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z");
    check(Window::Day, "Europe/Berlin", "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z");
    check(Window::Week, "UTC", "2026-11-22T10:00:00Z", "2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z");
    check(Window::Month, "UTC", "2026-11-22T10:00:00Z", "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z");
    check(Window::Month, "Asia/Tokyo", "2026-11-30T15:00:00Z", "2026-11-30T15:00:00Z", "2026-12-31T15:00:00Z");
}

#[test]
fn the_hour_that_occurs_twice_is_two_windows() {
    check(Window::Hour, "America/New_York", "2026-11-01T05:30:00Z", "2026-11-01T05:00:00Z", "2026-11-01T06:00:00Z");
    check(Window::Hour, "America/New_York", "2026-11-01T06:30:00Z", "2026-11-01T06:00:00Z", "2026-11-01T07:00:00Z");
}

#[test]
fn a_slow_clock_finds_the_windows_that_it_is_in() {
    let now = time("2026-11-22T10:00:00.5Z");
    for window in [Window::Second, Window::Minute, Window::Hour, Window::Day, Window::Week, Window::Month] {
        let schedule = super::schedule(&limit(window, "UTC"), now, Duration::ZERO).unwrap();
        for behind in [0, 1, 10, 59, 60] {
            assert!(schedule.window(now.earlier(Duration::from_secs(behind))).is_some(), "{window:?}, {behind} s");
        }
        let before = schedule.boundaries.partition_point(|start| *start <= now);
        assert!(before >= 2 && schedule.boundaries.len() - before >= 2, "{window:?}: the one before and the one after");
    }
}

#[test]
fn a_total_never_ends_and_never_runs_out() {
    let schedule = super::schedule(&limit(Window::Total, "UTC"), time("2026-11-22T10:00:00Z"), Duration::ZERO).unwrap();
    assert_eq!(schedule.window(time("2400-01-01T00:00:00Z")), Some((Time::ZERO, Time::MAX)));
    assert!(!runs_out(&schedule, time("2026-11-22T10:00:00Z"), Duration::from_secs(1_000_000)));
}
