//! `date_trunc`, by the arithmetic of integers where that is exact.
//!
//! The engine's own looks each instant that has a zone up in its calendar, and every instant of the tables has one: it takes four times
//! as long as the sum that is grouped by it. In UTC nothing has to be looked up. In another zone an hour of the clock is an hour since
//! 1970 as long as the zone is whole hours from UTC from the beginning of that hour to its end. Where it is not (half-hour zones, and
//! hours in which clocks are changed) the engine's own answers. Where a midnight comes twice the engine gives back the one that is nearer
//! to what was truncated; a day and what is longer begins at the first of them here, for all of its hours. Of decades, centuries and millennia
//! it knows nothing.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, AsArray, Int64Array, TimestampMicrosecondArray, make_array,
        temporal_conversions::as_datetime_with_timezone, timezone::Tz,
    },
    compute::{cast, cast_with_options},
    datatypes::{DataType, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampSecondType},
};
use datafusion::{
    common::{Result, ScalarValue, exec_datafusion_err, exec_err, format::DEFAULT_CAST_OPTIONS, plan_err},
    logical_expr::{
        ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
        sort_properties::{ExprProperties, SortProperties},
    },
};
use jiff::{
    Timestamp,
    civil::{Date, Time},
    tz::TimeZone,
};

use super::{
    moment::{place, shown_in},
    parts::{self, Years},
    shape::as_inner,
};

pub(super) const HOUR_SECONDS: i64 = 3_600;

/// Names of UTC, as they stand in types.
const UTC: &[&str] = &["UTC", "Etc/UTC", "GMT", "Etc/GMT", "Zulu", "Z", "+00:00", "+00", "+0000"];

/// Whether a zone is UTC.
pub(super) fn is_utc(zone: &str) -> bool {
    UTC.contains(&zone)
}

/// The function, over the engine's own.
pub(super) fn date_trunc(inner: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(DateTrunc { inner }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DateTrunc {
    inner: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for DateTrunc {
    as_inner!(name, aliases, signature, return_field_from_args);

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        plan_err!("the type of {} depends on its arguments", self.name())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if let [ColumnarValue::Scalar(grain), times] = args.args.as_slice()
            && let Some(many) = Years::of(&parts::named(grain))
        {
            return by_years(many, times);
        }
        let of_days = matches!(args.args.first(), Some(ColumnarValue::Scalar(grain)) if is_days(grain));
        let truncated = self.truncated(args)?;
        match (of_days, truncated.data_type()) {
            (true, DataType::Timestamp(unit, Some(zone))) if !is_utc(&zone) => earlier(truncated, unit, &zone),
            _ => Ok(truncated),
        }
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.inner.inner().output_ordering(inputs)
    }
}

impl DateTrunc {
    fn truncated(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [ColumnarValue::Scalar(grain), ColumnarValue::Array(times)] = args.args.as_slice() else {
            return self.inner.invoke_with_args(args);
        };
        let DataType::Timestamp(unit, Some(zone)) = times.data_type().clone() else {
            return self.inner.invoke_with_args(args);
        };
        if is_utc(&zone) {
            let rows = times.len();
            let plain = retyped(times, DataType::Timestamp(unit, None))?;
            args.args = vec![ColumnarValue::Scalar(grain.clone()), ColumnarValue::Array(plain)];
            let truncated = self.inner.inner().invoke_with_args(args)?.into_array(rows)?;
            return Ok(ColumnarValue::Array(retyped(&truncated, DataType::Timestamp(unit, Some(zone)))?));
        }
        if is_hour(grain)
            && let Some(hours) = hours(times, unit, &zone)?
        {
            return Ok(ColumnarValue::Array(hours));
        }
        self.inner.invoke_with_args(args)
    }
}

/// Times as the beginning of the first of the years that they are counted with.
fn by_years(many: Years, times: &ColumnarValue) -> Result<ColumnarValue> {
    let values = times.to_array(1)?;
    let DataType::Timestamp(_, zone) = values.data_type() else { return exec_err!("a time of a day has no year") };
    let Some(place) = zone.as_deref().map_or(Some(TimeZone::UTC), place) else {
        return exec_err!("a zone is not known");
    };
    let micros = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
    let begun = |micros| {
        let year = Timestamp::from_microsecond(micros).ok()?.to_zoned(place.clone()).year();
        let first = i16::try_from(many.first(year.into())).ok()?;
        Some(shown_in(Date::new(first, 1, 1).ok()?.to_datetime(Time::midnight()), &place)?.as_microsecond())
    };
    let begins: TimestampMicrosecondArray = cast(&values, &micros)?
        .as_primitive::<TimestampMicrosecondType>()
        .try_unary(|micros| begun(micros).ok_or_else(|| exec_datafusion_err!("timestamp out of range")))?;
    let begins = cast_with_options(&begins.with_data_type(micros), values.data_type(), &DEFAULT_CAST_OPTIONS)?;
    parts::given(&begins, matches!(times, ColumnarValue::Scalar(_)))
}

/// The same values as another type of the same width.
fn retyped(values: &ArrayRef, kind: DataType) -> Result<ArrayRef> {
    Ok(make_array(values.to_data().into_builder().data_type(kind).build()?))
}

fn is_hour(grain: &ScalarValue) -> bool {
    grain.try_as_str().flatten().is_some_and(|grain| grain.eq_ignore_ascii_case("hour"))
}

fn is_days(grain: &ScalarValue) -> bool {
    const DAYS: [&str; 5] = ["day", "week", "month", "quarter", "year"];
    grain.try_as_str().flatten().is_some_and(|grain| DAYS.iter().any(|days| grain.eq_ignore_ascii_case(days)))
}

/// Beginnings of days, each the first instant at which the clocks of the zone show it.
fn earlier(begins: ColumnarValue, unit: TimeUnit, zone: &str) -> Result<ColumnarValue> {
    let Ok(place) = zone.parse::<Tz>() else { return Ok(begins) };
    let is_scalar = matches!(begins, ColumnarValue::Scalar(_));
    let begins = begins.into_array(1)?;
    let ticks = retyped(&begins, DataType::Int64)?;
    let mut known = (0, 0);
    let first = ticks.as_primitive::<Int64Type>().iter().map(|tick| {
        let tick = tick?;
        // Rows of a day stand together.
        if known.0 != tick {
            known = (tick, back_ticks(tick, per_second(unit), place));
        }
        Some(tick.saturating_sub(known.1))
    });
    let first: Int64Array = first.collect();
    let first: ArrayRef = Arc::new(first);
    let first = retyped(&first, begins.data_type().clone())?;
    Ok(if is_scalar {
        ColumnarValue::Scalar(ScalarValue::try_from_array(&first, 0)?)
    } else {
        ColumnarValue::Array(first)
    })
}

/// The longest before that clocks may have been set back for a time to be one that they show twice.
const SET_BACK_SECONDS: i64 = 3 * HOUR_SECONDS;

/// By how much earlier clocks showed the same as they do at an instant; nothing where they did not.
fn back_ticks(tick: i64, per_second: i64, place: Tz) -> i64 {
    let second = tick.div_euclid(per_second);
    let ahead = |second| seconds_ahead(second, place);
    let (Some(before), Some(now)) = (ahead(second.saturating_sub(SET_BACK_SECONDS)), ahead(second)) else { return 0 };
    let back = before - now;
    if back > 0 && ahead(second.saturating_sub(back)) == Some(before) { back * per_second } else { 0 }
}

/// The hours of instants in a zone; nothing if the zone is not whole hours from UTC for all of one of them.
fn hours(times: &ArrayRef, unit: TimeUnit, zone: &str) -> Result<Option<ArrayRef>> {
    let Ok(place) = zone.parse::<Tz>() else { return Ok(None) };
    let hour = HOUR_SECONDS * per_second(unit);
    let ticks = retyped(times, DataType::Int64)?;
    let ticks = ticks.as_primitive::<Int64Type>();
    let mut known = None;
    for tick in ticks.iter().flatten() {
        let number = tick.div_euclid(hour);
        // Rows of a tenant stand in the order of time, so that neighbours mostly share their hour.
        if known == Some(number) {
            continue;
        }
        if !is_whole(number, place) {
            return Ok(None);
        }
        known = Some(number);
    }
    let truncated: Int64Array = ticks.unary(|tick| tick.wrapping_sub(tick.rem_euclid(hour)));
    let truncated: ArrayRef = Arc::new(truncated);
    Ok(Some(retyped(&truncated, times.data_type().clone())?))
}

const fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// Whether a zone is whole hours from UTC in every hour since 1970 of a range.
pub(super) fn are_whole(mut hours: std::ops::Range<i64>, zone: &str) -> bool {
    is_utc(zone) || zone.parse().is_ok_and(|place| hours.all(|hour| is_whole(hour, place)))
}

/// Whether a zone is the same whole hours from UTC at the beginning of an hour since 1970 and at its end.
fn is_whole(hour: i64, place: Tz) -> bool {
    let begin = hour.saturating_mul(HOUR_SECONDS);
    let ahead = seconds_ahead(begin, place);
    ahead.is_some_and(|ahead| ahead % HOUR_SECONDS == 0) && ahead == seconds_ahead(begin + HOUR_SECONDS - 1, place)
}

/// How far a zone's clocks are ahead of UTC at a second since 1970; nothing where the calendar does not reach.
pub(super) fn seconds_ahead(second: i64, place: Tz) -> Option<i64> {
    let at = as_datetime_with_timezone::<TimestampSecondType>(second, place)?;
    Some((at.naive_local() - at.naive_utc()).num_seconds())
}

#[cfg(test)]
mod tests;
