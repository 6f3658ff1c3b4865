//! Times, spans of time and bytes as Postgres writes them, where a session makes text of them: `time::text`, `time || ''`.
//!
//! The engine would write an instant as RFC 3339 has it, and in UTC where nothing put it into a zone, a span by units of its own, and bytes
//! as the letters that they may be. Here it is the text that the session would be shown: in its zone, without what is zero. Over HTTP and
//! Flight text stays as the engine writes it, but for floats: one that is whole has no point anywhere (`date_part('hour', time)::text`).

use std::{
    fmt::{self, Write as _},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, AsArray, StringArray},
    compute::cast,
    datatypes::{
        DataType, Float32Type, Float64Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
        TimeUnit,
    },
    error::ArrowError,
    util::display::{ArrayFormatter, FormatOptions},
};
use datafusion::{
    common::{DFSchema, Result, config::ConfigOptions, exec_err, tree_node::Transformed},
    functions::utils::make_scalar_function,
    logical_expr::{
        ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
        expr_rewriter::FunctionRewrite,
    },
};

use super::bytea;

/// How times are written before what is zero is left out.
pub(crate) const PLAIN: FormatOptions<'static> = FormatOptions::new()
    .with_date_format(Some("%Y-%m-%d"))
    .with_time_format(Some("%H:%M:%S%.6f"))
    .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.6f"))
    .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.6f%:z"));

/// A time that is written so, and its zone if it has one, without a part of a second and minutes of the zone that are none.
pub(crate) fn short(text: &str, zoned: bool) -> [&str; 2] {
    let (text, zone) = match text.len().checked_sub("+00:00".len()).and_then(|at| text.split_at_checked(at)) {
        Some((text, zone)) if zoned => (text, zone.strip_suffix(":00").unwrap_or(zone)),
        _ => (text, ""),
    };
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text };
    [text, zone]
}

/// A day or a time as Postgres counts years, of which none is 0, and what it writes behind one before the first.
pub(crate) fn in_era(text: String) -> (String, &'static str) {
    let (is_before, years) = text.strip_prefix('-').map_or((false, text.as_str()), |years| (true, years));
    let parts = years.split_once('-').filter(|(year, _)| is_before || *year == "0000");
    match parts.and_then(|(year, rest)| Some((year.parse::<u32>().ok()?, rest))) {
        Some((year, rest)) => (format!("{:04}-{rest}", year.saturating_add(1)), " BC"),
        None => (text, ""),
    }
}

const MICROS_A_SECOND: u64 = 1_000_000;

/// A span of time: years to days as far as there are any, and what a clock shows of the rest. Behind what is negative a sign says what is not.
pub(crate) fn span(of: IntervalMonthDayNano) -> String {
    let (mut text, mut is_before) = (String::new(), false);
    for (number, unit) in [(of.months / 12, "year"), (of.months % 12, "mon"), (of.days, "day")] {
        if number == 0 {
            continue;
        }
        let space = if text.is_empty() { "" } else { " " };
        let sign = if is_before && number > 0 { "+" } else { "" };
        let many = if number == 1 { "" } else { "s" };
        put(&mut text, format_args!("{space}{sign}{number} {unit}{many}"));
        is_before = number < 0;
    }
    let micros = of.nanoseconds.div_euclid(1_000);
    if micros == 0 && !text.is_empty() {
        return text;
    }
    let space = if text.is_empty() { "" } else { " " };
    let sign = match micros < 0 {
        true => "-",
        false if is_before => "+",
        false => "",
    };
    let (seconds, part) = (micros.unsigned_abs() / MICROS_A_SECOND, micros.unsigned_abs() % MICROS_A_SECOND);
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    put(&mut text, format_args!("{space}{sign}{hours:02}:{minutes:02}:{seconds:02}.{part:06}"));
    let [short, _] = short(&text, false);
    short.to_owned()
}

fn put(text: &mut String, arguments: fmt::Arguments<'_>) {
    let written = text.write_fmt(arguments);
    debug_assert!(written.is_ok(), "a text that grows takes everything");
}

/// The functions that make text of what they are given.
const MAKES_TEXT: &[&str] = &["||", "concat", "concat_ws", "format"];

/// Writes times, spans and bytes where text is made of them, and reads bytes that text is cast to.
#[derive(Debug)]
pub(crate) struct InText {
    /// The session's.
    zone: Arc<str>,
    /// Whether there is a session; elsewhere only floats are written otherwise than the engine does.
    in_session: bool,
}

impl InText {
    /// In the zone of a session; in UTC if it has none, or there is no session.
    pub(crate) fn of(zone: Option<Arc<str>>, in_session: bool) -> Self {
        Self { zone: zone.unwrap_or_else(|| "UTC".into()), in_session }
    }

    /// Whether Postgres writes values of a type otherwise than the engine.
    fn is_shown(&self, kind: &DataType) -> bool {
        let is_ours = matches!(kind, DataType::Timestamp(..) | DataType::Interval(_) | DataType::Duration(_));
        is_float(kind) || self.in_session && (is_ours || kind.is_binary())
    }
}

impl FunctionRewrite for InText {
    fn name(&self) -> &'static str {
        "in text"
    }

    fn rewrite(&self, mut expr: Expr, schema: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        // Of bytes `||` makes bytes.
        let mut joins = false;
        let args: Vec<&mut Expr> = match &mut expr {
            Expr::Cast(cast) if cast.field.data_type().is_binary() => {
                if !self.in_session || !cast.expr.get_type(schema).is_ok_and(|kind| kind.is_string()) {
                    return Ok(Transformed::no(expr));
                }
                let read = bytea::of_text().call(vec![cast.expr.as_ref().clone()]);
                *cast.expr = read;
                return Ok(Transformed::yes(expr));
            }
            Expr::Cast(cast) if cast.field.data_type().is_string() => vec![cast.expr.as_mut()],
            Expr::ScalarFunction(call) if MAKES_TEXT.contains(&call.func.name()) => {
                joins = call.func.name() == "||";
                call.args.iter_mut().collect()
            }
            _ => return Ok(Transformed::no(expr)),
        };
        let mut changed = false;
        for arg in args {
            if arg.get_type(schema).is_ok_and(|kind| self.is_shown(&kind) && !(joins && kind.is_binary())) {
                let text = Text { zone: Arc::clone(&self.zone), signature: Signature::any(1, Volatility::Immutable) };
                *arg = ScalarUDF::from(text).call(vec![arg.clone()]);
                changed = true;
            }
        }
        Ok(if changed { Transformed::yes(expr) } else { Transformed::no(expr) })
    }
}

const fn is_float(kind: &DataType) -> bool {
    matches!(kind, DataType::Float32 | DataType::Float64)
}

/// A time, a span, bytes or a float as text.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Text {
    zone: Arc<str>,
    signature: Signature,
}

impl ScalarUDFImpl for Text {
    fn name(&self) -> &'static str {
        "text"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        make_scalar_function(
            |arrays| {
                let [array] = arrays else { return exec_err!("text of one value") };
                let texts: StringArray = match array.data_type() {
                    DataType::Interval(_) | DataType::Duration(_) => spans(array)?,
                    DataType::Float32 => {
                        let floats = array.as_primitive::<Float32Type>().iter();
                        floats.map(|float| float.map(|float| real(float.into(), &float, REAL_DIGITS))).collect()
                    }
                    DataType::Float64 => {
                        let floats = array.as_primitive::<Float64Type>().iter();
                        floats.map(|float| float.map(|float| real(float, &float, DOUBLE_DIGITS))).collect()
                    }
                    kind if kind.is_binary() => {
                        let array = cast(array, &DataType::Binary)?;
                        array.as_binary::<i32>().iter().map(|bytes| bytes.map(bytea::written)).collect()
                    }
                    _ => times(array, &self.zone)?,
                };
                Ok(Arc::new(texts))
            },
            Vec::new(),
        )(&args.args)
    }
}

/// The digits before the point from which on Postgres writes a float with an exponent.
const REAL_DIGITS: i32 = 6;
const DOUBLE_DIGITS: i32 = 15;

/// A float, which is `shown` so where it is finite: with an exponent where it has more digits, or begins behind the fourth decimal.
fn real(float: f64, shown: &(impl fmt::Display + fmt::LowerExp), digits: i32) -> String {
    if float.is_infinite() {
        return if float > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let written = format!("{shown:e}");
    match written.split_once('e').and_then(|(number, exponent)| Some((number, exponent.parse::<i32>().ok()?))) {
        Some((number, exponent)) if exponent < -4 || exponent >= digits => format!("{number}e{exponent:+03}"),
        _ => shown.to_string(),
    }
}

/// Spans of time as text.
pub(crate) fn spans(array: &ArrayRef) -> Result<StringArray, ArrowError> {
    let array = intervals(array)?;
    Ok(array.as_primitive::<IntervalMonthDayNanoType>().iter().map(|of| of.map(span)).collect())
}

/// Spans of time as intervals. A difference of times has as many days as there are whole ones in it, as in Postgres.
pub(crate) fn intervals(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    const DAY: i64 = 86_400;
    let a_second = match array.data_type() {
        DataType::Duration(TimeUnit::Second) => 1,
        DataType::Duration(TimeUnit::Millisecond) => 1_000,
        DataType::Duration(TimeUnit::Microsecond) => 1_000_000,
        DataType::Duration(TimeUnit::Nanosecond) => 1_000_000_000,
        _ => return cast(array, &DataType::Interval(IntervalUnit::MonthDayNano)),
    };
    let units = cast(array, &DataType::Int64)?;
    let interval = |units: i64| -> Result<IntervalMonthDayNano, ArrowError> {
        let (days, rest) = (units / (DAY * a_second), units % (DAY * a_second));
        let days = i32::try_from(days).map_err(|error| ArrowError::ComputeError(format!("overflow: {error}")))?;
        Ok(IntervalMonthDayNano::new(0, days, rest * (1_000_000_000 / a_second)))
    };
    Ok(Arc::new(units.as_primitive::<Int64Type>().try_unary::<_, IntervalMonthDayNanoType, _>(interval)?))
}

/// Times, instants among them in a zone.
fn times(array: &ArrayRef, zone: &Arc<str>) -> Result<StringArray> {
    let zoned = matches!(array.data_type(), DataType::Timestamp(_, Some(_)));
    let zone = zoned.then(|| Arc::clone(zone));
    let array = cast(array, &DataType::Timestamp(TimeUnit::Microsecond, zone))?;
    let shown = ArrayFormatter::try_new(&array, &PLAIN)?;
    let texts = (0..array.len()).map(|row| -> Result<Option<String>> {
        if array.is_null(row) {
            return Ok(None);
        }
        let (text, era) = in_era(shown.value(row).try_to_string()?);
        let [time, zone] = short(&text, zoned);
        Ok(Some([time, zone, era].concat()))
    });
    texts.collect()
}

#[cfg(test)]
mod tests {
    use arrow::array::{DurationMicrosecondArray, DurationSecondArray};

    use super::*;

    #[test]
    fn a_difference_has_days() {
        let check = |array: ArrayRef, wanted: &str| assert_eq!(spans(&array).unwrap().value(0), wanted);
        let micros = |micros: i64| Arc::new(DurationMicrosecondArray::from(vec![micros]));
        check(micros(1_644_300_000_000), "19 days 00:45:00");
        check(micros(-1_644_300_500_000), "-19 days -00:45:00.5");
        check(micros(0), "00:00:00");
        // Beyond what nanoseconds can count.
        check(micros(i64::MAX), "106751991 days 04:00:54.775807");
        check(Arc::new(DurationSecondArray::from(vec![90_000])), "1 day 01:00:00");
    }

    #[test]
    fn a_float_is_written_as_short_as_it_can_be() {
        for (float, wanted) in [
            (3.0, "3"),
            (-0.5, "-0.5"),
            (0.0, "0"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
            (123_456_789_012_345.0, "123456789012345"),
            (1e15, "1e+15"),
            (-1.5e300, "-1.5e+300"),
            (0.000_1, "0.0001"),
            (1e-7, "1e-07"),
        ] {
            assert_eq!(real(float, &float, DOUBLE_DIGITS), wanted);
        }
        assert_eq!(real(0.1_f32.into(), &0.1_f32, REAL_DIGITS), "0.1");
        assert_eq!(real(1e10_f32.into(), &1e10_f32, REAL_DIGITS), "1e+10");
    }

    #[test]
    fn a_span_is_written_as_postgres_does() {
        let check = |months: i32, days: i32, nanos: i64, wanted: &str| {
            assert_eq!(span(IntervalMonthDayNano::new(months, days, nanos)), wanted);
        };
        check(0, 0, 0, "00:00:00");
        check(0, 40, 3_500_000_000, "40 days 00:00:03.5");
        check(1, 1, 0, "1 mon 1 day");
        check(14, 2, 3_723_000_004_000, "1 year 2 mons 2 days 01:02:03.000004");
        check(-14, 3, 0, "-1 years -2 mons +3 days");
        check(0, -1, 75_600_000_000_000, "-1 days +21:00:00");
        check(0, 1, -60_000_000_000, "1 day -00:01:00");
        check(0, 0, 100 * 3_600_000_000_000, "100:00:00");
        check(24, 0, -500_000_000, "2 years -00:00:00.5");
    }
}
