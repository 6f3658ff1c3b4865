//! Parts of a time: seconds and milliseconds with what is finer, as Postgres gives them. The engine would cut that off.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, Decimal128Array},
    compute::cast,
    datatypes::{
        DataType, Decimal128Type, Field, FieldRef, IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType,
        TimeUnit, TimestampMicrosecondType,
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
        let part = args.scalar_arguments.first().copied().flatten().and_then(decimals);
        match (part, args.arg_fields) {
            (Some(decimals), [_, time]) if is_fine(time.data_type()) => {
                Ok(Arc::new(Field::new(self.name(), DataType::Decimal128(DIGITS, decimals), true)))
            }
            _ => self.inner.return_field_from_args(args),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let part = match args.args.first() {
            Some(ColumnarValue::Scalar(part)) => decimals(part),
            _ => None,
        };
        let (Some(decimals), [_, time]) = (part, args.args.as_slice()) else {
            return self.inner.invoke_with_args(args);
        };
        if !is_fine(&time.data_type()) {
            return self.inner.invoke_with_args(args);
        }
        let micros = micros_of_minute(&time.to_array(1)?)?.with_precision_and_scale(DIGITS, decimals)?;
        Ok(match time {
            ColumnarValue::Scalar(_) => ColumnarValue::Scalar(ScalarValue::try_from_array(&micros, 0)?),
            ColumnarValue::Array(_) => ColumnarValue::Array(Arc::new(micros)),
        })
    }

    fn preimage(&self, args: &[Expr], value: &Expr, info: &SimplifyContext) -> Result<PreimageResult> {
        self.inner.preimage(args, value, info)
    }
}

/// How many decimals of a part are microseconds; nothing of parts that are whole.
fn decimals(part: &ScalarValue) -> Option<i8> {
    let part = part.try_as_str().flatten()?.trim_matches(['\'', '"']).to_ascii_lowercase();
    match part.as_str() {
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

fn micros_of_minute(times: &ArrayRef) -> Result<Decimal128Array> {
    let of = |micros: i64| i128::from(micros % MINUTE_MICROS);
    Ok(match times.data_type() {
        // A zone is whole minutes from UTC, but for long ago.
        DataType::Timestamp(_, zone) => {
            let clock = cast(times, &DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))?;
            let clock = clock.as_primitive::<TimestampMicrosecondType>();
            clock.unary(|micros| i128::from(micros.rem_euclid(MINUTE_MICROS)))
        }
        DataType::Time32(_) | DataType::Time64(_) => {
            let clock = cast(times, &DataType::Time64(TimeUnit::Microsecond))?;
            clock.as_primitive::<Time64MicrosecondType>().unary(of)
        }
        DataType::Interval(_) | DataType::Duration(_) => {
            let spans = cast(times, &DataType::Interval(IntervalUnit::MonthDayNano))?;
            spans
                .as_primitive::<IntervalMonthDayNanoType>()
                .unary::<_, Decimal128Type>(|span| of(span.nanoseconds / 1_000))
        }
        other => return exec_err!("{other} has no seconds"),
    })
}
