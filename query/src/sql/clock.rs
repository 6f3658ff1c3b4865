//! Between instants and what the clocks of a zone show, as Postgres goes.
//!
//! `time AT TIME ZONE 'Europe/Berlin'` of a session of Postgres is `timezone('Europe/Berlin', time)`: of an instant what the clocks there
//! show, of what clocks show the instant. Days and months that are added to an instant of a zone are added to its clock ([`Shifts`]).
//! A time that clocks show twice is the second, and one that they leave out is as far behind the jump as it is into it; the engine's
//! own arithmetic fails at either, and with it the whole question.

use std::{slice, sync::Arc};

use arrow::{
    array::{
        ArrayRef, AsArray, BooleanArray, Datum, IntervalMonthDayNanoArray, TimestampMicrosecondArray, timezone::Tz,
    },
    compute::{
        cast,
        kernels::{numeric, zip::zip},
    },
    datatypes::{DataType, FieldRef, IntervalMonthDayNano, IntervalUnit, TimeUnit, TimestampMicrosecondType},
};
use datafusion::{
    common::{DFSchema, Result, ScalarValue, config::ConfigOptions, exec_err, plan_err, tree_node::Transformed},
    functions::utils::make_scalar_function,
    logical_expr::{
        BinaryExpr, ColumnarValue, Expr, ExprSchemable, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
        ScalarUDFImpl, Signature, Volatility,
        expr_rewriter::FunctionRewrite,
        lit,
        simplify::{ExprSimplifyResult, SimplifyContext},
    },
};

use jiff::tz::TimeZone;

use super::trunc::{HOUR_SECONDS, is_utc, seconds_ahead};

const SECOND: i64 = 1_000_000;
const DAY_SECONDS: i64 = 24 * HOUR_SECONDS;

/// What the function is called, here and in Postgres.
const TIMEZONE: &str = "timezone";
/// What it is once its zone is known, which is written as the engine has it then: of Postgres `+05:30` is behind UTC.
pub(super) const IN_ZONE: &str = "in_zone";
const MINUTE_NANOS: i64 = 60_000_000_000;

/// The function `timezone(zone, time)`.
pub(super) fn timezone() -> Arc<ScalarUDF> {
    of(true)
}

/// The same of a zone as the engine writes it.
pub(super) fn in_zone() -> Arc<ScalarUDF> {
    of(false)
}

fn of(is_postgres: bool) -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::from(Timezone { is_postgres, signature }))
}

/// What clocks of one of the engine's zones show at a time, or when they show it; nothing where the zone has no name.
pub(super) fn at_zone(time: Expr, zone: &str) -> Option<Expr> {
    let is_named = zone.starts_with(|letter: char| letter.is_ascii_alphabetic());
    is_named.then(|| in_zone().call(vec![lit(zone), time]))
}

const fn micros(zone: Option<Arc<str>>) -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, zone)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Timezone {
    /// Whether the zone is written as Postgres has it.
    is_postgres: bool,
    signature: Signature,
}

impl ScalarUDFImpl for Timezone {
    fn name(&self) -> &'static str {
        if self.is_postgres { TIMEZONE } else { IN_ZONE }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [zone, time] = types else { return plan_err!("timezone() takes a zone and a time") };
        let time = match time {
            DataType::Timestamp(_, zone) => micros(zone.clone()),
            DataType::Date32 | DataType::Date64 => micros(None),
            // A text is an instant, and so is nothing.
            kind if kind.is_string() || kind.is_null() => micros(Some("UTC".into())),
            other => return plan_err!("timezone() takes a time, not {other}"),
        };
        let zone = match zone {
            // Of a parameter nothing else is known.
            kind if kind.is_string() || kind.is_null() => DataType::Utf8,
            DataType::Interval(_) => DataType::Interval(IntervalUnit::MonthDayNano),
            other => return plan_err!("timezone() takes the name of a zone, as 'Europe/Berlin', not {other}"),
        };
        Ok(vec![zone, time])
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(match types {
            [_, DataType::Timestamp(_, Some(_))] => micros(None),
            _ => micros(Some("UTC".into())),
        })
    }

    /// What looks at conditions knows the engine's zones.
    fn simplify(&self, mut args: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let zone = match args.as_slice() {
            [Expr::Literal(zone, _), _] if self.is_postgres => written(zone),
            _ => None,
        };
        Ok(match (zone, args.pop()) {
            (Some(zone), Some(time)) => ExprSimplifyResult::Simplified(in_zone().call(vec![lit(zone), time])),
            (None, time) => {
                args.extend(time);
                ExprSimplifyResult::Original(args)
            }
            (Some(_), None) => ExprSimplifyResult::Original(args),
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [ColumnarValue::Scalar(zone), time] = args.args.as_slice() else {
            return exec_err!("timezone() takes the zone as a constant");
        };
        if zone.is_null() {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from(args.return_field.data_type())?));
        }
        let place = self.place(zone)?;
        let of_instant = matches!(time.data_type(), DataType::Timestamp(_, Some(_)));
        make_scalar_function(
            |times| {
                let [times] = times else { return exec_err!("timezone() takes one time") };
                let moved = Clocks { place, known: None }.moved(times.as_primitive(), of_instant)?;
                Ok(Arc::new(moved.with_data_type(args.return_field.data_type().clone())))
            },
            Vec::new(),
        )(slice::from_ref(time))
    }
}

impl Timezone {
    fn place(&self, zone: &ScalarValue) -> Result<Tz> {
        let text = zone.try_as_str().flatten();
        let name = if self.is_postgres { written(zone) } else { text.map(str::to_owned) };
        match name.and_then(|name| name.parse().ok()) {
            Some(place) => Ok(place),
            None => exec_err!("{}", unknown(&text.map_or_else(|| zone.to_string(), str::to_owned))),
        }
    }
}

/// A zone of Postgres as the engine writes it: by its name, by what it is behind UTC, or as an interval by what it is ahead; nothing of
/// what is none.
fn written(zone: &ScalarValue) -> Option<String> {
    let ScalarValue::IntervalMonthDayNano(ahead) = zone else { return spelled(zone.try_as_str().flatten()?) };
    let ahead = (*ahead)?;
    let minutes = ahead.nanoseconds / MINUTE_NANOS;
    let is_clock = ahead.months == 0 && ahead.days == 0 && ahead.nanoseconds % MINUTE_NANOS == 0;
    let [hours, rest] = [minutes.abs() / 60, minutes.abs() % 60].map(|part| part.to_string());
    offset(minutes >= 0, &hours, &rest).filter(|_| is_clock)
}

/// What Postgres calls clocks that are always so many hours ahead of UTC, also where a zone of that name changes them. Those that once meant
/// something else are not among them.
const ABBREVIATIONS: &[(&str, i8)] = &[
    ("ADT", -3),
    ("AEDT", 11),
    ("AEST", 10),
    ("AKDT", -8),
    ("AKST", -9),
    ("AST", -4),
    ("AWST", 8),
    ("BST", 1),
    ("CDT", -5),
    ("CEST", 2),
    ("CET", 1),
    ("CST", -6),
    ("EDT", -4),
    ("EEST", 3),
    ("EET", 2),
    ("EST", -5),
    ("HST", -10),
    ("JST", 9),
    ("KST", 9),
    ("MDT", -6),
    ("MEST", 2),
    ("MET", 1),
    ("MST", -7),
    ("NZDT", 13),
    ("NZST", 12),
    ("PDT", -7),
    ("PST", -8),
    ("WEST", 1),
    ("WET", 0),
    ("Z", 0),
];

/// What a zone of Postgres is as the engine writes it, by its name in any case or by what it is behind UTC.
pub(super) fn spelled(zone: &str) -> Option<String> {
    if let Some((_, ahead)) = ABBREVIATIONS.iter().find(|(name, _)| zone.eq_ignore_ascii_case(name)) {
        return offset(*ahead >= 0, &ahead.unsigned_abs().to_string(), "0");
    }
    if zone.starts_with(|letter: char| letter.is_ascii_alphabetic()) {
        if is_known(zone) {
            return Some(zone.to_owned());
        }
        let place = TimeZone::get(zone).ok();
        if let Some(name) = place.as_ref().and_then(TimeZone::iana_name).filter(|name| is_known(name)) {
            return Some(name.to_owned());
        }
    }
    behind(zone)
}

fn is_known(name: &str) -> bool {
    name.parse::<Tz>().is_ok()
}

/// What is said of a zone that is none.
pub(super) fn unknown(zone: &str) -> String {
    format!("time zone {zone:?} is not known: write the name of one, as 'Europe/Berlin' or 'UTC'")
}

/// What `+05:30`, `5` or `GMT+5` is as the engine writes it: to Postgres, as to POSIX, it is as far behind UTC.
fn behind(zone: &str) -> Option<String> {
    let time = zone.trim_start_matches(|letter: char| letter.is_ascii_alphabetic());
    let (is_minus, time) = match time.strip_prefix('-') {
        Some(time) => (true, time),
        None => (false, time.strip_prefix('+').unwrap_or(time)),
    };
    let (hours, minutes) = time.split_once(':').unwrap_or((time, "0"));
    offset(is_minus, hours, minutes)
}

/// So many hours and minutes ahead of UTC, or behind it, as the engine writes them.
pub(crate) fn offset(is_ahead: bool, hours: &str, minutes: &str) -> Option<String> {
    let number = |text: &str, most: u8| {
        let is_number = text.bytes().all(|digit| digit.is_ascii_digit());
        text.parse::<u8>().ok().filter(|number| is_number && *number <= most)
    };
    let sign = if is_ahead { '+' } else { '-' };
    Some(format!("{sign}{:02}:{:02}", number(hours, 15)?, number(minutes, 59)?))
}

/// The clocks of a zone.
struct Clocks {
    place: Tz,
    /// Of the hour that was looked at last, if it is one throughout: which one, and how far clocks are ahead of UTC in it.
    known: Option<(i64, i64)>,
}

impl Clocks {
    /// What clocks show at instants, or the instants at which they show something.
    fn moved(&mut self, times: &TimestampMicrosecondArray, of_instants: bool) -> Result<TimestampMicrosecondArray> {
        let mut moved = TimestampMicrosecondArray::builder(times.len());
        for time in times {
            let Some(tick) = time else {
                moved.append_null();
                continue;
            };
            let second = tick.div_euclid(SECOND);
            let by = if of_instants { self.ahead(second) } else { self.behind(second).map(|behind| -behind) };
            match by.and_then(|by| tick.checked_add(by.checked_mul(SECOND)?)) {
                Some(tick) => moved.append_value(tick),
                None => return exec_err!("timestamp out of range"),
            }
        }
        Ok(moved.finish())
    }

    /// By how many seconds clocks are ahead of UTC at an instant.
    fn ahead(&mut self, second: i64) -> Option<i64> {
        let hour = second.div_euclid(HOUR_SECONDS);
        if let Some((_, ahead)) = self.known.filter(|(known, _)| *known == hour) {
            return Some(ahead);
        }
        let [begin, end] = [0, HOUR_SECONDS - 1].map(|at| seconds_ahead(hour * HOUR_SECONDS + at, self.place));
        if begin == end {
            self.known = begin.map(|ahead| (hour, ahead));
            return begin;
        }
        seconds_ahead(second, self.place)
    }

    /// By how many seconds UTC is behind what clocks show.
    fn behind(&self, clock: i64) -> Option<i64> {
        let before = seconds_ahead(clock.checked_sub(DAY_SECONDS)?, self.place)?;
        let after = seconds_ahead(clock.checked_add(DAY_SECONDS)?, self.place)?;
        let is_after = before == after || seconds_ahead(clock - after, self.place)? == after;
        Some(if is_after { after } else { before })
    }
}

/// Puts a function that knows clocks in the place of the engine's `+` and `-` of an instant in a zone and an interval.
#[derive(Debug)]
pub(super) struct Shifts;

impl FunctionRewrite for Shifts {
    fn name(&self) -> &'static str {
        "shifts"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        let Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::Plus | Operator::Minus), right }) = &expr else {
            return Ok(Transformed::no(expr));
        };
        let kind = |side: &Expr| side.get_type(schema).ok();
        let in_zone = |side| matches!(kind(side), Some(DataType::Timestamp(_, Some(zone))) if !is_utc(&zone));
        let is_interval = |side| matches!(kind(side), Some(DataType::Interval(_)));
        let (time, interval) = if in_zone(left) && is_interval(right) {
            (left, right)
        } else if *op == Operator::Plus && is_interval(left) && in_zone(right) {
            (right, left)
        } else {
            return Ok(Transformed::no(expr));
        };
        let shift = Shift { back: *op == Operator::Minus, signature: Signature::any(2, Volatility::Immutable) };
        let args = vec![time.as_ref().clone(), interval.as_ref().clone()];
        Ok(Transformed::yes(ScalarUDF::from(shift).call(args)))
    }
}

/// An instant of a zone and an interval added up: its months by the clock, then its days, and then its hours, which no clock has a part in.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Shift {
    back: bool,
    signature: Signature,
}

impl ScalarUDFImpl for Shift {
    fn name(&self) -> &str {
        if self.back { "-" } else { "+" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::Timestamp(_, zone), _] => Ok(micros(zone.clone())),
            _ => plan_err!("an interval is added to a time"),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<_> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(Arc::new(arrow::datatypes::Field::new(self.name(), self.return_type(&types)?, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let kind = args.return_field.data_type();
        let DataType::Timestamp(_, Some(zone)) = kind else { return exec_err!("a time without a zone") };
        make_scalar_function(
            |arrays| {
                let [times, intervals] = arrays else { return exec_err!("a time and an interval are added up") };
                let times = cast(times, kind)?;
                let intervals = cast(intervals, &DataType::Interval(IntervalUnit::MonthDayNano))?;
                let times: &TimestampMicrosecondArray = times.as_primitive();
                let intervals: &IntervalMonthDayNanoArray = intervals.as_primitive();
                let mut shifted: ArrayRef = Arc::new(times.clone().with_data_type(micros(None)));
                let mut clocks = Clocks { place: zone.parse()?, known: None };
                let parts: [fn(IntervalMonthDayNano) -> IntervalMonthDayNano; 2] = [
                    |all| IntervalMonthDayNano::new(all.months, 0, 0),
                    |all| IntervalMonthDayNano::new(0, all.days, 0),
                ];
                for part in parts {
                    shifted = self.by_clock(&shifted, &intervals.unary(part), &mut clocks)?;
                }
                let hours: IntervalMonthDayNanoArray =
                    intervals.unary(|all| IntervalMonthDayNano::new(0, 0, all.nanoseconds));
                let instants = self.shifted(&shifted, &hours)?;
                let instants = instants.as_primitive::<TimestampMicrosecondType>().clone().with_data_type(kind.clone());
                Ok(Arc::new(instants))
            },
            Vec::new(),
        )(&args.args)
    }
}

impl Shift {
    /// Instants moved by what their clocks show; those that are not moved stay what they are, since what clocks show twice is the second.
    fn by_clock(&self, instants: &ArrayRef, by: &IntervalMonthDayNanoArray, clocks: &mut Clocks) -> Result<ArrayRef> {
        let moves = |by: Option<IntervalMonthDayNano>| by.is_some_and(|by| by != IntervalMonthDayNano::ZERO);
        let moves: BooleanArray = by.iter().map(|by| Some(moves(by))).collect();
        if moves.true_count() == 0 {
            return Ok(Arc::clone(instants));
        }
        let shown = clocks.moved(instants.as_primitive(), true)?.with_data_type(micros(None));
        let shown = self.shifted(&shown, by)?;
        let moved = clocks.moved(shown.as_primitive(), false)?.with_data_type(micros(None));
        Ok(zip(&moves, &moved, instants)?)
    }

    fn shifted(&self, times: &dyn Datum, by: &dyn Datum) -> Result<ArrayRef> {
        Ok(if self.back { numeric::sub(times, by)? } else { numeric::add(times, by)? })
    }
}
