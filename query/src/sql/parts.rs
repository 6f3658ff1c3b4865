//! Parts of a time: seconds and milliseconds with what is finer, as Postgres gives them. The engine would cut that off.
//!
//! What is between two times is days, hours, minutes and seconds, as an interval is.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, Decimal128Array, Float64Array, IntervalMonthDayNanoArray},
    compute::cast,
    datatypes::{
        DataType, DurationMicrosecondType, Field, FieldRef, IntervalMonthDayNano, IntervalMonthDayNanoType,
        IntervalUnit, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
    },
};
use datafusion::{
    common::{Result, ScalarValue, exec_err, plan_err},
    functions::datetime,
    logical_expr::{
        ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
        planner::{ExprPlanner, PlannerResult},
        preimage::PreimageResult,
        simplify::SimplifyContext,
    },
};

const MINUTE_MICROS: i64 = 60_000_000;
const DAY_SECONDS: i64 = 86_400;
const DAY_MICROS: i64 = DAY_SECONDS * 1_000_000;
/// Of 365.25 days, as Postgres counts in `epoch`; a month that is left has 30.
const YEAR_SECONDS: i64 = 31_557_600;
const MONTH_DAYS: i64 = 30;
/// Microseconds of a minute have so many digits.
const DIGITS: u8 = 8;

/// Plans `extract`.
#[derive(Debug)]
pub(super) struct Extract;

impl ExprPlanner for Extract {
    fn plan_extract(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(date_part().call(args)))
    }
}

/// `date_part`.
pub(super) fn date_part() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(DatePart { inner: datetime::date_part() }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DatePart {
    inner: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for DatePart {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        plan_err!("the type of {} depends on its arguments", self.name())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let part = args.scalar_arguments.first().copied().flatten().and_then(|part| decimals(&named(part)));
        match (part, args.arg_fields) {
            (Some(decimals), [_, time]) if is_fine(time.data_type()) => {
                Ok(Arc::new(Field::new(self.name(), DataType::Decimal128(DIGITS, decimals), true)))
            }
            _ => self.inner.return_field_from_args(args),
        }
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [ColumnarValue::Scalar(part), time] = args.args.as_mut_slice() else {
            return self.inner.invoke_with_args(args);
        };
        let part = named(part);
        let is_scalar = matches!(time, ColumnarValue::Scalar(_));
        let times = in_micros(&time.to_array(1)?)?;
        let parts: ArrayRef = match (decimals(&part), times.data_type()) {
            (Some(decimals), kind) if is_fine(kind) => {
                Arc::new(micros_of_minute(&times)?.with_precision_and_scale(DIGITS, decimals)?)
            }
            (_, DataType::Interval(_)) if part == "epoch" => Arc::new(seconds_of(&times)),
            _ => {
                *time = given(&times, is_scalar)?;
                return self.inner.invoke_with_args(args);
            }
        };
        given(&parts, is_scalar)
    }

    fn preimage(&self, args: &[Expr], value: &Expr, info: &SimplifyContext) -> Result<PreimageResult> {
        self.inner.preimage(args, value, info)
    }
}

fn given(array: &ArrayRef, is_scalar: bool) -> Result<ColumnarValue> {
    Ok(match is_scalar {
        true => ColumnarValue::Scalar(ScalarValue::try_from_array(array, 0)?),
        false => ColumnarValue::Array(Arc::clone(array)),
    })
}

/// What a part is called.
fn named(part: &ScalarValue) -> String {
    part.try_as_str().flatten().unwrap_or_default().trim_matches(['\'', '"']).to_ascii_lowercase()
}

/// How many decimals of a part are microseconds; nothing of parts that are whole.
fn decimals(part: &str) -> Option<i8> {
    match part {
        "s" | "sec" | "secs" | "second" | "seconds" => Some(6),
        "ms" | "msec" | "msecs" | "msecond" | "mseconds" | "millisecond" | "milliseconds" => Some(3),
        _ => None,
    }
}

/// Whether there is anything finer than a day in it.
const fn is_fine(kind: &DataType) -> bool {
    use DataType::{Duration, Interval, Time32, Time64, Timestamp};
    matches!(kind, Timestamp(..) | Time32(_) | Time64(_) | Interval(_) | Duration(_))
}

/// Times of microseconds, as Postgres has no finer, and what is between times as an interval of whole days and a time.
pub(super) fn in_micros(times: &ArrayRef) -> Result<ArrayRef> {
    Ok(match times.data_type() {
        DataType::Timestamp(_, zone) => cast(times, &DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))?,
        DataType::Interval(_) => cast(times, &DataType::Interval(IntervalUnit::MonthDayNano))?,
        DataType::Duration(_) => {
            let lengths = cast(times, &DataType::Duration(TimeUnit::Microsecond))?;
            let span =
                |micros: i64| IntervalMonthDayNano::new(0, (micros / DAY_MICROS) as i32, micros % DAY_MICROS * 1_000);
            let spans: IntervalMonthDayNanoArray = lengths.as_primitive::<DurationMicrosecondType>().unary(span);
            Arc::new(spans)
        }
        _ => Arc::clone(times),
    })
}

/// How many seconds intervals are, which is their `epoch`.
fn seconds_of(spans: &ArrayRef) -> Float64Array {
    spans.as_primitive::<IntervalMonthDayNanoType>().unary(|span| {
        let (years, months) = (i64::from(span.months / 12), i64::from(span.months % 12));
        let days = months * MONTH_DAYS + i64::from(span.days);
        let seconds = years * YEAR_SECONDS + days * DAY_SECONDS;
        let micros = i128::from(seconds) * 1_000_000 + i128::from(span.nanoseconds / 1_000);
        micros as f64 / 1e6
    })
}

/// Of what [`in_micros`] gave.
fn micros_of_minute(times: &ArrayRef) -> Result<Decimal128Array> {
    let of = |micros: i64| i128::from(micros % MINUTE_MICROS);
    Ok(match times.data_type() {
        // A zone is whole minutes from UTC, but for long ago.
        DataType::Timestamp(..) => {
            let clock = times.as_primitive::<TimestampMicrosecondType>();
            clock.unary(|micros| i128::from(micros.rem_euclid(MINUTE_MICROS)))
        }
        DataType::Time32(_) | DataType::Time64(_) => {
            let clock = cast(times, &DataType::Time64(TimeUnit::Microsecond))?;
            clock.as_primitive::<Time64MicrosecondType>().unary(of)
        }
        DataType::Interval(_) => {
            times.as_primitive::<IntervalMonthDayNanoType>().unary(|span| of(span.nanoseconds / 1_000))
        }
        other => return exec_err!("{other} has no seconds"),
    })
}
