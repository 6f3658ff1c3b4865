//! The functions that a caller may use: an allow-list, because a function that is new in DataFusion is not yet known to be safe.
//!
//! None of them reads a file or names one, and none allocates more than [`MAX_BATCH_BYTES`] for a batch: those that can make
//! text longer than what they were given are wrapped in [`Bounded`], which refuses before anything is allocated. A value
//! that is the same for every row may be [`MAX_SCALAR_BYTES`] long, because the engine repeats it for every row of a batch:
//! 8,192 rows × 1 KiB = 8 MiB a column.

use std::sync::{Arc, LazyLock};

use arrow::{
    array::{Array, ArrayRef, AsArray},
    datatypes::DataType,
};
use datafusion::{
    common::{Result, ScalarValue},
    functions, functions_aggregate, functions_window,
    logical_expr::{AggregateUDF, ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, WindowUDF},
};

use super::{
    age, bucket, ceiled, chr, clock, coalesce, dated,
    error::refused,
    exact, figures, format, from_parts, interpolated, joined, json, logarithm, md5, modulo, numeric, ordered, parts,
    percentile, quotient,
    reading::catalog::{regclass, typename, viewdef},
    replacement, rounded,
    shape::as_inner,
    shifted, tag, trunc,
};

/// The most that one function may make of one batch.
pub(crate) const MAX_BATCH_BYTES: u128 = 16 << 20;

/// The longest that a letter of a time's format becomes: `%+` is a whole time.
const FORMATTED_BYTES: u128 = 20;

/// The longest text that is the same for every row.
pub(crate) const MAX_SCALAR_BYTES: u128 = 1 << 10;

/// Scalar functions whose result is not longer than their arguments, but for a constant.
const PLAIN: &str = "\
    abs acos acosh arrow_typeof ascii asin asinh atan atan2 atanh bit_length btrim cbrt ceil character_length chr \
    coalesce contains cos cosh cot current_date current_time date_bin date_part date_trunc degrees ends_with exp \
    factorial find_in_set floor from_unixtime gcd greatest initcap isnan iszero lcm least left ln log log10 log2 \
    lower ltrim make_date nanvl now nullif nvl nvl2 octet_length pi power radians random regexp_count regexp_instr \
    regexp_like reverse right round rtrim signum sin sinh split_part sqrt starts_with strpos substr substr_index \
    tan tanh to_date to_hex to_local_time to_timestamp to_timestamp_micros to_timestamp_millis \
    to_timestamp_nanos to_timestamp_seconds to_unixtime translate trunc upper";

/// Scalar functions that can make text longer, and how.
const GROWING: &[(&str, Growth)] = &[
    ("concat", Growth::Sum),
    ("concat_ws", Growth::Joined),
    ("json_object", Growth::Escaped),
    ("overlay", Growth::Sum),
    ("repeat", Growth::Times),
    ("to_char", Growth::Formatted),
    ("lpad", Growth::Padded),
    ("rpad", Growth::Padded),
    ("replace", Growth::Replaced),
    ("regexp_replace", Growth::Replaced),
];

/// What Postgres calls some of them, too.
const OTHERWISE: &[(&str, &str)] = &[("signum", "sign"), ("ceil", "ceiling")];

/// The engine's own.
const AGGREGATES: &str = "\
    any_value approx_distinct approx_median approx_percentile_cont approx_percentile_cont_with_weight avg bit_and \
    bit_or bit_xor bool_and bool_or corr count covar_pop covar_samp first_value grouping last_value max median min \
    nth_value percentile_cont regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy \
    regr_syy stddev stddev_pop sum var var_pop";

/// How long the result of a function can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Growth {
    /// As its arguments together.
    Sum,
    /// As its arguments together, each letter written as `\u0000`, with three signs around each.
    Escaped,
    /// As its arguments together, and the first between any two of them.
    Joined,
    /// As the first argument, as often as the second says.
    Times,
    /// As many characters as the second argument says.
    Padded,
    /// As the second argument, with up to so many bytes for each of its letters.
    Formatted,
    /// As the first argument with the third put in before and after each of its characters.
    Replaced,
}

/// The scalar functions of a session.
pub(crate) fn scalar() -> Vec<Arc<ScalarUDF>> {
    static ALLOWED: LazyLock<Vec<Arc<ScalarUDF>>> = LazyLock::new(allowed);
    ALLOWED.clone()
}

fn allowed() -> Vec<Arc<ScalarUDF>> {
    let own = [
        md5::md5(),
        age::age(),
        bucket::width_bucket(),
        dated::date(),
        modulo::modulo(),
        figures::to_char(),
        format::format(),
        from_parts::make_timestamp(),
        numeric::numeric(),
        numeric::scale(),
        rounded::timestamp(),
    ];
    let mut allowed = vec![
        tag::tag(),
        strict_concat(),
        clock::timezone(),
        viewdef::pg_get_viewdef(),
        regclass::regclass(),
        typename::format_type(),
        typename::pg_typeof(),
    ];
    allowed.extend(own);
    for function in functions::all_default_functions().into_iter().chain([json::json_object()]).map(ceiled::ceiled) {
        let name = function.name();
        if let Some((_, growth)) = GROWING.iter().find(|(known, _)| *known == name) {
            allowed.push(Arc::new(ScalarUDF::from(Bounded { inner: function, growth: *growth })));
        } else if name == "coalesce" {
            allowed.push(coalesce::coalesce(function));
        } else if name == chr::NAME {
            allowed.push(chr::chr(function));
        } else if name == "date_trunc" {
            allowed.push(trunc::date_trunc(function));
        } else if logarithm::NAMES.contains(&name) {
            allowed.push(logarithm::checked(function));
        } else if name == "date_part" {
            allowed.push(parts::date_part());
        } else if let Some((_, other)) = OTHERWISE.iter().find(|(own, _)| *own == name) {
            allowed.push(Arc::new(ScalarUDF::clone(&function).with_aliases([*other])));
        } else if PLAIN.split(' ').any(|known| known == name) {
            allowed.push(function);
        }
    }
    allowed
}

/// The names on the allow-list.
#[cfg(test)]
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    PLAIN.split(' ').chain(GROWING.iter().map(|(name, _)| *name))
}

/// The aggregate functions of a session.
pub(crate) fn aggregate() -> Vec<Arc<AggregateUDF>> {
    let mut allowed = functions_aggregate::all_default_aggregate_functions();
    let ours = [
        exact::sum(),
        interpolated::percentile_cont(),
        joined::string_agg(),
        ordered::mode(),
        ordered::percentile_disc(),
        percentile::approx_percentile_cont(),
        quotient::avg(),
    ];
    let is_ours = |name: &str| ours.iter().any(|function| function.name() == name);
    allowed.retain(|function| AGGREGATES.split(' ').any(|known| known == function.name() && !is_ours(known)));
    for function in &mut allowed {
        // As Postgres calls them, too.
        let other = match function.name() {
            "bool_and" => "every",
            "var" => "variance",
            _ => continue,
        };
        *function = Arc::new(AggregateUDF::clone(function).with_aliases([other]));
    }
    allowed.extend(ours);
    allowed
}

/// The window functions of a session: all there are, none of which allocates by argument.
pub(crate) fn window() -> Vec<Arc<WindowUDF>> {
    let all = functions_window::all_default_window_functions();
    let is_shifted = |function: &Arc<WindowUDF>| shifted::NAMES.contains(&function.name());
    all.into_iter().map(|function| if is_shifted(&function) { shifted::shifted(function) } else { function }).collect()
}

/// What `a || b` is planned as: `concat` that is NULL where either is.
pub(crate) fn strict_concat() -> Arc<ScalarUDF> {
    let inner = functions::string::concat();
    Arc::new(ScalarUDF::from(StrictConcat { inner: Bounded { inner, growth: Growth::Sum } }))
}

/// Whether what a function makes can be longer than what it was given.
pub(crate) fn grows(function: &ScalarUDF) -> bool {
    let is_own = viewdef::is_viewdef(function) || format::is_format(function);
    is_own || function.inner().is::<Bounded>() || function.inner().is::<StrictConcat>()
}

/// A function that refuses what would become too long.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    growth: Growth,
}

impl Bounded {
    fn check(&self, args: &ScalarFunctionArgs) -> Result<()> {
        let rows = args.number_rows.max(1) as u128;
        let scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let bytes = |index: usize| args.args.get(index).map_or(0, |arg| text_bytes(arg, rows));
        let longest = |index: usize| args.args.get(index).map_or(0, longest_text);
        let count = |index: usize| args.args.get(index).map_or(0, largest_count);
        let all: u128 = (0..args.args.len()).map(bytes).sum();
        let result = match self.growth {
            Growth::Sum => all,
            Growth::Escaped => all.saturating_mul(6).saturating_add(rows.saturating_mul(3 * args.args.len() as u128)),
            Growth::Joined => all.saturating_add(bytes(0).saturating_mul(args.args.len() as u128)),
            Growth::Times => bytes(0).saturating_mul(count(1)),
            Growth::Formatted => bytes(1).saturating_mul(FORMATTED_BYTES),
            Growth::Padded => rows.saturating_mul(count(1)).saturating_mul(4),
            Growth::Replaced => bytes(0).saturating_add(bytes(0).saturating_add(rows).saturating_mul(longest(2))),
        };
        let (limit, per) =
            if scalar { (MAX_SCALAR_BYTES * rows, "a constant") } else { (MAX_BATCH_BYTES, "a batch of rows") };
        if result > limit {
            let name = self.inner.name();
            return refused(format!(
                "{name}() could make more than {limit} bytes of text for {per}; ask for shorter text"
            ));
        }
        Ok(())
    }
}

impl ScalarUDFImpl for Bounded {
    as_inner!(name, aliases, signature, coerce_types, return_type, return_field_from_args);

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.check(&args)?;
        if self.inner.name() == "regexp_replace"
            && let Some(given) = args.args.get_mut(2)
        {
            *given = replacement::spelled(given)?;
        }
        self.inner.invoke_with_args(args)
    }
}

/// `||`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct StrictConcat {
    inner: Bounded,
}

impl ScalarUDFImpl for StrictConcat {
    fn name(&self) -> &'static str {
        "||"
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(chain_name(self.name(), args))
    }

    as_inner!(signature, coerce_types, return_type);

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if scalar { 1 } else { args.number_rows };
        let mut nulls = None;
        for arg in &args.args {
            let array = arg.to_array(rows)?;
            nulls = arrow::buffer::NullBuffer::union(nulls.as_ref(), array.logical_nulls().as_ref());
        }
        let joined = self.inner.invoke_with_args(args)?.into_array(rows)?;
        let nulls = arrow::buffer::NullBuffer::union(nulls.as_ref(), joined.nulls());
        let joined = arrow::array::make_array(joined.to_data().into_builder().nulls(nulls).build()?);
        if scalar {
            Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&joined, 0)?))
        } else {
            Ok(ColumnarValue::Array(joined))
        }
    }
}

/// The name of a column `a + b + c`, where the operators are functions. The engine asks for it at each step of the chain,
/// so it is written in one go.
pub(crate) fn chain_name(operator: &str, args: &[Expr]) -> String {
    let (mut operator, mut args, mut rights) = (operator, args, Vec::new());
    while let [left, right] = args {
        rights.push((operator, right));
        match left {
            Expr::ScalarFunction(below) if ["+", "-", "*", "/", "||"].contains(&below.name()) => {
                (operator, args) = (below.name(), &below.args);
            }
            _ => {
                args = std::slice::from_ref(left);
            }
        }
    }
    let mut name: String = args.iter().map(|first| first.schema_name().to_string()).collect();
    for (operator, right) in rights.iter().rev() {
        name.push_str(&format!(" {operator} {}", right.schema_name()));
    }
    name
}

/// The bytes of text in an argument over all rows; a value of another type is at most as long as 64 bytes of text.
fn text_bytes(arg: &ColumnarValue, rows: u128) -> u128 {
    match arg {
        ColumnarValue::Scalar(scalar) => scalar_bytes(scalar).saturating_mul(rows),
        ColumnarValue::Array(array) => lengths(array).map_or(64 * array.len() as u128, |all| all.map(u128::from).sum()),
    }
}

fn longest_text(arg: &ColumnarValue) -> u128 {
    match arg {
        ColumnarValue::Scalar(scalar) => scalar_bytes(scalar),
        ColumnarValue::Array(array) if array.data_type().is_string() => longest(array).into(),
        ColumnarValue::Array(_) => 64,
    }
}

/// The longest text in an array, in bytes; 0 where it holds none.
pub(crate) fn longest(array: &ArrayRef) -> u64 {
    lengths(array).and_then(Iterator::max).unwrap_or(0)
}

fn scalar_bytes(scalar: &ScalarValue) -> u128 {
    scalar.try_as_str().map_or(64, |text| text.map_or(0, str::len) as u128)
}

fn lengths(array: &dyn Array) -> Option<Box<dyn Iterator<Item = u64> + '_>> {
    Some(match array.data_type() {
        DataType::Utf8 => Box::new(array.as_string::<i32>().iter().map(length)),
        DataType::LargeUtf8 => Box::new(array.as_string::<i64>().iter().map(length)),
        DataType::Utf8View => Box::new(array.as_string_view().iter().map(length)),
        _ => return None,
    })
}

fn length(text: Option<&str>) -> u64 {
    text.map_or(0, str::len) as u64
}

/// The largest count in an argument; one that is not a whole number counts as too large.
fn largest_count(arg: &ColumnarValue) -> u128 {
    let numbers = match arg {
        ColumnarValue::Scalar(scalar) => scalar.to_array(),
        ColumnarValue::Array(array) => Ok(Arc::clone(array)),
    };
    let numbers = numbers.and_then(|array| Ok(arrow::compute::cast(&array, &DataType::Int64)?));
    let Ok(numbers) = numbers else { return u128::from(u64::MAX) };
    let numbers = numbers.as_primitive::<arrow::datatypes::Int64Type>();
    u128::try_from(arrow::compute::max(numbers).unwrap_or(0)).unwrap_or(0)
}
