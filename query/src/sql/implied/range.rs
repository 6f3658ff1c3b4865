//! Ranges of time, and of which range a step makes one.
//!
//! A step goes from instants to what clocks show, back, or to where a day or a bin begins. Each leaves the order of what it is given but
//! for the hours around a change of clocks, where a range becomes wider.

use arrow::array::timezone::Tz;
use datafusion::common::ScalarValue;
use jiff::{Timestamp, civil, tz::TimeZone};

use crate::sql::trunc::{HOUR_SECONDS, seconds_ahead};

const SECOND: i64 = 1_000_000;
pub(super) const DAY: i64 = 24 * HOUR_SECONDS * SECOND;

/// How far from a change of clocks an instant is to have nothing of it: no clock is set by more.
const AROUND_SECONDS: i64 = 3 * HOUR_SECONDS;

/// Microseconds: the first, if there is one, and the one after the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) from: Option<i64>,
    pub(super) to: Option<i64>,
}

impl Range {
    /// What is in both.
    pub(super) fn and(self, other: Self) -> Self {
        let to = match (self.to, other.to) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        Self { from: self.from.max(other.from), to }
    }

    /// What is in either, and between them.
    pub(super) fn or(self, other: Self) -> Self {
        Self { from: self.from.min(other.from), to: self.to.zip(other.to).map(|(one, other)| one.max(other)) }
    }
}

/// What is made of microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// What clocks show at an instant.
    Shown(Tz),
    /// The instant at which clocks show something.
    Read(Tz),
    /// Where what it is in begins.
    Floored(Floor),
}

impl Step {
    /// Of which range everything comes that becomes one of this range.
    pub(super) fn before(self, range: Range) -> Range {
        let Range { from, to } = range;
        match self {
            Self::Shown(place) => Range {
                from: from.and_then(|from| shown(from, place).map(|(first, _)| first)),
                to: to.and_then(|to| shown(to, place).map(|(_, last)| last)),
            },
            Self::Read(place) => Range {
                from: from.and_then(|from| read(from, place).map(|(least, _)| least)),
                to: to.and_then(|to| read(to, place).map(|(_, most)| most)),
            },
            // Nothing that begins from there on has begun before the next beginning, and nothing that begins before has after it.
            Self::Floored(floor) => {
                Range { from: from.and_then(|from| floor.next(from)), to: to.and_then(|to| floor.next(to)) }
            }
        }
    }
}

/// The first instant at which clocks show a time, and the last; of a time that they leave out one before it and one after it.
fn shown(clock: i64, place: Tz) -> Option<(i64, i64)> {
    const DAY_SECONDS: i64 = 24 * HOUR_SECONDS;
    let (second, part) = (clock.div_euclid(SECOND), clock.rem_euclid(SECOND));
    let before = seconds_ahead(second.checked_sub(DAY_SECONDS)?, place)?;
    let after = seconds_ahead(second.checked_add(DAY_SECONDS)?, place)?;
    let is_shown = |ahead: i64| seconds_ahead(second - ahead, place) == Some(ahead);
    let (most, least) = match (is_shown(before), is_shown(after)) {
        (true, false) => (before, before),
        (false, true) => (after, after),
        _ => (before.max(after), before.min(after)),
    };
    let instant = |ahead: i64| (second - ahead).checked_mul(SECOND)?.checked_add(part);
    Some((instant(most)?, instant(least)?))
}

/// The least that clocks can have shown where an instant, or a later one, is what came of it; and the most for an earlier one.
fn read(instant: i64, place: Tz) -> Option<(i64, i64)> {
    let second = instant.div_euclid(SECOND);
    let before = seconds_ahead(second.checked_sub(AROUND_SECONDS)?, place)?;
    let now = seconds_ahead(second, place)?;
    let after = seconds_ahead(second.checked_add(AROUND_SECONDS)?, place)?;
    let clock = |ahead: i64| instant.checked_add(ahead.checked_mul(SECOND)?);
    Some((clock(before.min(now).min(after))?, clock(before.max(now))?))
}

/// Where something begins.
#[derive(Clone, Copy, Debug)]
pub(super) enum Floor {
    /// So many microseconds after each other.
    Bins { stride: i64, origin: i64 },
    /// So many months after each other.
    Months(i64),
}

impl Floor {
    pub(super) const DAY: Self = Self::Bins { stride: DAY, origin: 0 };

    /// By what `date_trunc` is given; and whether that goes by clocks. What is shorter than an hour does not.
    pub(super) fn of_grain(grain: &str) -> Option<(Self, bool)> {
        let bins = |stride| Self::Bins { stride, origin: 0 };
        Some(match grain.to_lowercase().as_str() {
            "second" => (bins(SECOND), false),
            "minute" => (bins(60 * SECOND), false),
            "hour" => (bins(HOUR_SECONDS * SECOND), true),
            "day" => (Self::DAY, true),
            // The first Monday of 1970 is the fifth of January.
            "week" => (Self::Bins { stride: 7 * DAY, origin: 4 * DAY }, true),
            "month" => (Self::Months(1), true),
            "quarter" => (Self::Months(3), true),
            "year" => (Self::Months(12), true),
            _ => return None,
        })
    }

    /// By what `date_bin` is given, if that is whole microseconds.
    pub(super) fn of_bins(stride: &ScalarValue, origin: i64) -> Option<Self> {
        let ScalarValue::IntervalMonthDayNano(Some(stride)) = stride else { return None };
        let nanos = i64::from(stride.days).checked_mul(DAY.checked_mul(1_000)?)?.checked_add(stride.nanoseconds)?;
        let whole = stride.months == 0 && nanos > 0 && nanos % 1_000 == 0;
        whole.then_some(Self::Bins { stride: nanos / 1_000, origin })
    }

    /// The first beginning that is not before a time.
    fn next(self, micros: i64) -> Option<i64> {
        match self {
            Self::Bins { stride, origin } => {
                let over = micros.checked_sub(origin)?.rem_euclid(stride);
                if over == 0 { Some(micros) } else { micros.checked_add(stride - over) }
            }
            Self::Months(months) => {
                let date = TimeZone::UTC.to_datetime(Timestamp::from_microsecond(micros).ok()?).date();
                let month = i64::from(date.year()) * 12 + i64::from(date.month()) - 1;
                let begun = month - month.rem_euclid(months);
                let begin = first_of(begun)?;
                if begin == micros { Some(micros) } else { first_of(begun + months) }
            }
        }
    }
}

/// Where a month begins, by its number since the year 0.
fn first_of(month: i64) -> Option<i64> {
    let year = i16::try_from(month.div_euclid(12)).ok()?;
    let month = i8::try_from(month.rem_euclid(12) + 1).ok()?;
    let since = civil::Date::new(year, month, 1).ok()?.duration_since(civil::date(1970, 1, 1));
    since.as_secs().checked_mul(SECOND)
}
