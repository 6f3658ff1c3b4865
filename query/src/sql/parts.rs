//! Parts of a time, of the types that Postgres has for them: `extract` gives decimals (but `epoch` as a float, as before version 14) and
//! `date_part` floats, so that either is divided without cutting. The engine gives integers, and cuts off what is finer than a second.
//!
//! What is between two times is days, hours, minutes and seconds, as an interval is.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, Decimal128Array, Int32Array, IntervalMonthDayNanoArray},
    compute::{cast, cast_with_options},
    datatypes::{
        DataType, DurationMicrosecondType, Field, FieldRef, Int32Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
        IntervalUnit, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
    },
};
use datafusion::{
    common::{Result, ScalarValue, exec_err, format::DEFAULT_CAST_OPTIONS, plan_err},
    functions::datetime,
    logical_expr::{
        ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, lit,
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
/// Microseconds of a minute have so many digits, and those of the longest interval.
const MINUTE_DIGITS: u8 = 8;
const EPOCH_DIGITS: u8 = 22;
/// A part that is whole has those of any integer, so that it is compared with one as it stands.
const WHOLE_DIGITS: u8 = 20;
/// The decimals of a second.
const MICROS: i8 = 6;

/// What the functions are called.
pub(super) const NAMES: &[&str] = &[EXTRACT, DATE_PART];

const EXTRACT: &str = "extract";
const DATE_PART: &str = "date_part";

/// Plans `extract`.
#[derive(Debug)]
pub(super) struct Extract;

impl ExprPlanner for Extract {
    fn plan_extract(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        let extract = Part { is_exact: true, inner: datetime::date_part() };
        Ok(PlannerResult::Planned(ScalarUDF::from(extract).call(args)))
    }
}

/// The seconds of a time, as its `epoch`.
pub(super) fn epoch(of: Expr) -> Expr {
    let extract = Part { is_exact: true, inner: datetime::date_part() };
    ScalarUDF::from(extract).call(vec![lit(EPOCH), of])
}

/// `date_part`.
pub(super) fn date_part() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Part { is_exact: false, inner: datetime::date_part() }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Part {
    /// Whether it is `extract`.
    is_exact: bool,
    inner: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for Part {
    fn name(&self) -> &'static str {
        if self.is_exact { EXTRACT } else { DATE_PART }
    }

    fn aliases(&self) -> &[String] {
        if self.is_exact { &[] } else { self.inner.aliases() }
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        plan_err!("the type of {} depends on its arguments", self.name())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let kind = match (args.scalar_arguments, args.arg_fields) {
            ([Some(part), _], [_, time]) if self.is_exact => exact(&named(part), time.data_type()),
            _ => DataType::Float64,
        };
        // Which refuses what is no constant.
        let is_nullable = self.inner.return_field_from_args(args)?.is_nullable();
        Ok(Arc::new(Field::new(self.name(), kind, is_nullable)))
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let kind = args.return_field.data_type().clone();
        let [ColumnarValue::Scalar(asked), time] = args.args.as_mut_slice() else {
            return exec_err!("{} takes the part as a constant", self.name());
        };
        let part = named(asked);
        let is_scalar = matches!(time, ColumnarValue::Scalar(_));
        let times = in_micros(&time.to_array(1)?)?;
        let parts: ArrayRef = match decimals(&part) {
            Some(decimals) if is_fine(times.data_type()) => {
                Arc::new(micros_of_minute(&times)?.with_precision_and_scale(MINUTE_DIGITS, decimals)?)
            }
            _ if part == EPOCH && is_fine(times.data_type()) => {
                Arc::new(micros_of(&times)?.with_precision_and_scale(EPOCH_DIGITS, MICROS)?)
            }
            _ => {
                let many = Years::of(&part);
                if many.is_some() {
                    *asked = ScalarValue::from("year");
                }
                let is_span = matches!(times.data_type(), DataType::Interval(_));
                let asked = asked.clone();
                *time = given(&times, is_scalar)?;
                let scalars = [Some(&asked), None];
                let types = ReturnFieldArgs { arg_fields: &args.arg_fields, scalar_arguments: &scalars };
                args.return_field = self.inner.return_field_from_args(types)?;
                let parts = self.inner.invoke_with_args(args)?.to_array(1)?;
                match many {
                    Some(many) => {
                        let years = parts.as_primitive::<Int32Type>();
                        let counted: Int32Array = years.unary(|year| many.counted(year, is_span));
                        Arc::new(counted)
                    }
                    None => parts,
                }
            }
        };
        given(&cast_with_options(&parts, &kind, &DEFAULT_CAST_OPTIONS)?, is_scalar)
    }

    /// The engine knows what times are of a year, which it takes for an integer.
    fn preimage(&self, args: &[Expr], value: &Expr, info: &SimplifyContext) -> Result<PreimageResult> {
        let Expr::Literal(value, _) = value else { return Ok(PreimageResult::None) };
        let year = value.cast_to(&DataType::Int32).ok();
        let year = year.filter(|year| year.cast_to(&value.data_type()).is_ok_and(|again| again == *value));
        year.map_or(Ok(PreimageResult::None), |year| self.inner.preimage(args, &lit(year), info))
    }
}

/// What counts years by the ten and more.
#[derive(Clone, Copy)]
pub(super) enum Years {
    Decade,
    Century,
    Millennium,
}

impl Years {
    pub(super) fn of(part: &str) -> Option<Self> {
        Some(match part {
            "dec" | "decs" | "decade" | "decades" => Self::Decade,
            "c" | "cent" | "century" | "centuries" => Self::Century,
            "mil" | "mils" | "millenium" | "millennium" | "millennia" => Self::Millennium,
            _ => return None,
        })
    }

    const fn each(self) -> i32 {
        match self {
            Self::Decade => 10,
            Self::Century => 100,
            Self::Millennium => 1_000,
        }
    }

    /// The first of the years that are counted with this one.
    pub(super) const fn first(self, year: i32) -> i32 {
        let begin = if matches!(self, Self::Decade) { year } else { year - 1 };
        year - begin.rem_euclid(self.each())
    }

    /// The first century and the first millennium begin with the year 1, and there is none that is 0; an interval has so many whole ones.
    const fn counted(self, year: i32, is_span: bool) -> i32 {
        let each = self.each();
        match self {
            _ if is_span => year / each,
            Self::Decade => year.div_euclid(each),
            Self::Century | Self::Millennium if year > 0 => (year - 1) / each + 1,
            Self::Century | Self::Millennium => (year - 1).div_euclid(each),
        }
    }
}

pub(super) fn given(array: &ArrayRef, is_scalar: bool) -> Result<ColumnarValue> {
    Ok(match is_scalar {
        true => ColumnarValue::Scalar(ScalarValue::try_from_array(array, 0)?),
        false => ColumnarValue::Array(Arc::clone(array)),
    })
}

/// What a part is called.
pub(super) fn named(part: &ScalarValue) -> String {
    part.try_as_str().flatten().unwrap_or_default().trim_matches(['\'', '"']).to_ascii_lowercase()
}

/// Since 1970, or the whole of an interval.
const EPOCH: &str = "epoch";

/// What `extract` gives: a decimal, but seconds since 1970 a float.
fn exact(part: &str, of: &DataType) -> DataType {
    match decimals(part) {
        Some(decimals) if is_fine(of) => DataType::Decimal128(MINUTE_DIGITS, decimals),
        // A decimal of so many digits could hardly be multiplied with itself, as for a trend.
        None if part == EPOCH => DataType::Float64,
        _ => DataType::Decimal128(WHOLE_DIGITS, 0),
    }
}

/// How many decimals of a part of a minute are microseconds; nothing of other parts.
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

/// The seconds since 1970, or since midnight, or of an interval, in microseconds: of what [`in_micros`] gave.
fn micros_of(times: &ArrayRef) -> Result<Decimal128Array> {
    Ok(match times.data_type() {
        DataType::Timestamp(..) => times.as_primitive::<TimestampMicrosecondType>().unary(i128::from),
        DataType::Time32(_) | DataType::Time64(_) => {
            let clock = cast(times, &DataType::Time64(TimeUnit::Microsecond))?;
            clock.as_primitive::<Time64MicrosecondType>().unary(i128::from)
        }
        DataType::Interval(_) => times.as_primitive::<IntervalMonthDayNanoType>().unary(|span| {
            let (years, months) = (i64::from(span.months / 12), i64::from(span.months % 12));
            let days = months * MONTH_DAYS + i64::from(span.days);
            let seconds = years * YEAR_SECONDS + days * DAY_SECONDS;
            i128::from(seconds) * 1_000_000 + i128::from(span.nanoseconds / 1_000)
        }),
        other => return exec_err!("{other} has no seconds"),
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

#[cfg(test)]
mod tests {
    use super::Years::{Century, Decade, Millennium};

    /// The answers are those of Postgres, which calls the year 0 the first before Christ.
    #[test]
    fn years_are_counted_by_tens_and_more() {
        for (year, wanted) in [
            (2026, [202, 21, 3]),
            (2001, [200, 21, 3]),
            (2000, [200, 20, 2]),
            (1, [0, 1, 1]),
            (0, [0, -1, -1]),
            (-99, [-10, -1, -1]),
            (-100, [-10, -2, -1]),
        ] {
            assert_eq!([Decade, Century, Millennium].map(|by| by.counted(year, false)), wanted, "{year}");
        }
        assert_eq!([Decade, Century, Millennium].map(|by| by.counted(-2026, true)), [-202, -20, -2]);
        for (year, wanted) in
            [(2026, [2020, 2001, 2001]), (2000, [2000, 1901, 1001]), (0, [0, -99, -999]), (-1, [-10, -99, -999])]
        {
            assert_eq!([Decade, Century, Millennium].map(|by| by.first(year)), wanted, "{year}");
        }
    }
}
