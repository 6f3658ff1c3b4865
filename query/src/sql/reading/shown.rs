//! Times as Postgres writes them, where a session makes text of them: `time::text`, `time || ''`.
//!
//! The engine would write an instant as RFC 3339 has it, and in UTC where nothing put it into a zone. Here it is the text that the session
//! would be shown: in its zone, without what is zero. Over HTTP and Flight text stays as the engine writes it.

use std::sync::Arc;

use arrow::{
    array::{Array, StringArray},
    compute::cast,
    datatypes::{DataType, TimeUnit},
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

/// The functions that make text of what they are given.
const MAKES_TEXT: &[&str] = &["||", "concat", "concat_ws", "format"];

/// Writes times where text is made of them.
#[derive(Debug)]
pub(crate) struct InText {
    /// The session's.
    zone: Arc<str>,
}

impl InText {
    /// In the zone of a session; in UTC if it has none.
    pub(crate) fn of(zone: Option<Arc<str>>) -> Self {
        Self { zone: zone.unwrap_or_else(|| "UTC".into()) }
    }
}

impl FunctionRewrite for InText {
    fn name(&self) -> &'static str {
        "in text"
    }

    fn rewrite(&self, mut expr: Expr, schema: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        let args: Vec<&mut Expr> = match &mut expr {
            Expr::Cast(cast) if cast.field.data_type().is_string() => vec![cast.expr.as_mut()],
            Expr::ScalarFunction(call) if MAKES_TEXT.contains(&call.func.name()) => call.args.iter_mut().collect(),
            _ => return Ok(Transformed::no(expr)),
        };
        let mut changed = false;
        for arg in args {
            if matches!(arg.get_type(schema), Ok(DataType::Timestamp(..))) {
                let text = Text { zone: Arc::clone(&self.zone), signature: Signature::any(1, Volatility::Immutable) };
                *arg = ScalarUDF::from(text).call(vec![arg.clone()]);
                changed = true;
            }
        }
        Ok(if changed { Transformed::yes(expr) } else { Transformed::no(expr) })
    }
}

/// A time as text.
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
                let [array] = arrays else { return exec_err!("text of one time") };
                let zoned = matches!(array.data_type(), DataType::Timestamp(_, Some(_)));
                let zone = zoned.then(|| Arc::clone(&self.zone));
                let array = cast(array, &DataType::Timestamp(TimeUnit::Microsecond, zone))?;
                let shown = ArrayFormatter::try_new(&array, &PLAIN)?;
                let texts = (0..array.len()).map(|row| -> Result<Option<String>> {
                    if array.is_null(row) {
                        return Ok(None);
                    }
                    Ok(Some(short(&shown.value(row).try_to_string()?, zoned).concat()))
                });
                Ok(Arc::new(texts.collect::<Result<StringArray>>()?))
            },
            Vec::new(),
        )(&args.args)
    }
}
