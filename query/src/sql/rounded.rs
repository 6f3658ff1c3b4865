//! Times of so many decimals of a second, as `timestamp(0)` says: the nearest such time, where the engine would cut off what is finer.
//!
//! Of two that are as near it is the one that is further from the year 2000, from which Postgres counts.

use std::{slice, sync::Arc};

use arrow::{
    array::{AsArray, TimestampMicrosecondArray},
    datatypes::{DataType, TimeUnit, TimestampMicrosecondType},
};
use datafusion::{
    common::{Result, ScalarValue, exec_datafusion_err, exec_err, plan_err},
    functions::utils::make_scalar_function,
    logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
};

/// The beginning of the year 2000, in microseconds since 1970.
const COUNTED_FROM: i64 = 946_684_800_000_000;
/// The decimals of microseconds.
const DECIMALS: u32 = 6;

/// The function `timestamp(time, decimals)`, which Postgres casts by as well.
pub(super) fn timestamp() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Rounded { signature: Signature::user_defined(Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Rounded {
    signature: Signature,
}

impl ScalarUDFImpl for Rounded {
    fn name(&self) -> &'static str {
        "timestamp"
    }

    /// A cast has no part in the name of a column.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(args.iter().take(1).map(|of| of.schema_name().to_string()).collect())
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [DataType::Timestamp(_, zone), decimals] if decimals.is_integer() => {
                Ok(vec![DataType::Timestamp(TimeUnit::Microsecond, zone.clone()), DataType::Int64])
            }
            _ => plan_err!("timestamp() takes a time, and how many decimals of its seconds are left"),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::Timestamp(_, zone), _] => Ok(DataType::Timestamp(TimeUnit::Microsecond, zone.clone())),
            _ => plan_err!("timestamp() takes a time"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [times, ColumnarValue::Scalar(ScalarValue::Int64(Some(decimals)))] = args.args.as_slice() else {
            return exec_err!("timestamp() takes the number of decimals as a constant");
        };
        let less = u32::try_from(*decimals).ok().and_then(|decimals| DECIMALS.checked_sub(decimals));
        let Some(unit) = less.map(|less| 10_i64.pow(less)) else {
            return exec_err!("a time has 0 to {DECIMALS} decimals of a second");
        };
        make_scalar_function(
            |times| {
                let [times] = times else { return exec_err!("one time is rounded") };
                let times = times.as_primitive::<TimestampMicrosecondType>();
                let rounded: TimestampMicrosecondArray = times.try_unary(|micros| {
                    rounded(micros, unit).ok_or_else(|| exec_datafusion_err!("timestamp out of range"))
                })?;
                Ok(Arc::new(rounded.with_data_type(args.return_field.data_type().clone())))
            },
            Vec::new(),
        )(slice::from_ref(times))
    }
}

/// The nearest time of whole units.
fn rounded(micros: i64, unit: i64) -> Option<i64> {
    let since = micros.checked_sub(COUNTED_FROM)?;
    let half = if since < 0 { -(unit / 2) } else { unit / 2 };
    (since.checked_add(half)? / unit).checked_mul(unit)?.checked_add(COUNTED_FROM)
}

#[cfg(test)]
mod tests {
    use super::{COUNTED_FROM, rounded};

    #[test]
    fn halves_are_away_from_the_year_2000() {
        for (since, unit, wanted) in [
            (1_499_999, 1_000_000, 1_000_000),
            (1_500_000, 1_000_000, 2_000_000),
            (-1_500_000, 1_000_000, -2_000_000),
            (-1_499_999, 1_000_000, -1_000_000),
            (123_450, 100, 123_500),
            (123_449, 100, 123_400),
            (-7, 1, -7),
        ] {
            assert_eq!(rounded(COUNTED_FROM + since, unit), Some(COUNTED_FROM + wanted), "{since}");
        }
        assert_eq!(rounded(i64::MIN, 10), None);
        assert_eq!(rounded(i64::MAX, 1), Some(i64::MAX));
    }
}
