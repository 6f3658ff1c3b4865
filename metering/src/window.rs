//! The calendar: where the windows of a limit begin, as UTC instants.
//!
//! Metering alone computes them and publishes them ahead, so that a gateway with other time zone rules, or none, counts in the
//! same windows. Windows are aligned to the calendar of the limit's zone; days there may have 23 or 25 hours.

use std::time::Duration;

use jiff::{RoundMode, Timestamp, ToSpan as _, Unit, Zoned, ZonedRound, civil::Weekday, tz::TimeZone};
use schemas::{
    limit::{Limit, Schedule, Window},
    time::Time,
};

/// The most boundaries in one schedule: a second's windows for as long as the log may be away, and half as many again.
const MOST: usize = 4_096;

/// How far the clock of a gateway may be behind and still find the windows that it is in, however short they are.
const SLOW: Duration = Duration::from_secs(60);

/// The windows of `limit` from the one before that of `now`, or before that of a slow gateway, to the one after that of `now + ahead`.
///
/// `None` if the zone is unknown or the instant is beyond the calendar.
pub fn schedule(limit: &Limit, now: Time, ahead: Duration) -> Option<Schedule> {
    if limit.window == Window::Total {
        return Some(Schedule { limit: limit.id(), boundaries: vec![Time::ZERO, Time::MAX] });
    }
    let zone = TimeZone::get(&limit.zone).ok()?;
    let current = start(limit.window, &at(now, &zone)?)?;
    let before = current.checked_sub(1.nanosecond()).ok()?.min(at(now.earlier(SLOW), &zone)?);
    let until = now.after(ahead);
    let mut last = start(limit.window, &before)?;
    let mut boundaries = vec![instant(&last)];
    while boundaries.len() < MOST {
        let is_after = instant(&last) > now;
        last = next(limit.window, &last)?;
        boundaries.push(instant(&last));
        if instant(&last) > until && is_after {
            break;
        }
    }
    Some(Schedule { limit: limit.id(), boundaries })
}

/// Whether a schedule has less than `ahead` left.
pub fn runs_out(schedule: &Schedule, now: Time, ahead: Duration) -> bool {
    let covered = schedule.boundaries.last().is_none_or(|end| *end <= now.after(ahead));
    // The window after the current one is always known, however long windows are.
    covered
        || schedule.boundaries.len().saturating_sub(schedule.boundaries.partition_point(|start| *start <= now)) < 2
            && schedule.boundaries.last() != Some(&Time::MAX)
}

fn at(time: Time, zone: &TimeZone) -> Option<Zoned> {
    Some(Timestamp::from_microsecond(time.as_micros()).ok()?.to_zoned(zone.clone()))
}

fn instant(zoned: &Zoned) -> Time {
    Time::from_micros(zoned.timestamp().as_microsecond())
}

/// The start of the window that holds `zoned`.
fn start(window: Window, zoned: &Zoned) -> Option<Zoned> {
    let unit = match window {
        Window::Second => Unit::Second,
        Window::Minute => Unit::Minute,
        Window::Hour => Unit::Hour,
        Window::Day => return zoned.start_of_day().ok(),
        Window::Week => {
            let back = zoned.weekday().since(Weekday::Monday);
            return zoned.checked_sub(i64::from(back).days()).ok()?.start_of_day().ok();
        }
        Window::Month => return zoned.first_of_month().ok()?.start_of_day().ok(),
        Window::Total => return None,
    };
    zoned.round(ZonedRound::new().smallest(unit).mode(RoundMode::Trunc)).ok()
}

/// The start of the window after the one that starts at `from`.
fn next(window: Window, from: &Zoned) -> Option<Zoned> {
    let step = match window {
        Window::Second => 1.second(),
        Window::Minute => 1.minute(),
        Window::Hour => 1.hour(),
        Window::Day => 1.day(),
        Window::Week => 7.days(),
        Window::Month => 1.month(),
        Window::Total => return None,
    };
    let later = from.checked_add(step).ok()?;
    match window {
        Window::Day | Window::Week | Window::Month => later.start_of_day().ok(),
        // Where the clock is set by half an hour the next whole hour is nearer than an hour, or is this one again.
        _ => start(window, &later).filter(|start| start > from).or(Some(later)),
    }
}

#[cfg(test)]
mod tests;
