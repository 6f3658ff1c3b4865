//! `string_agg`, whose text may be as long as any that stands for many rows.
//!
//! The engine's own grows without a bound. Here a group whose text becomes longer ends the query: without `DISTINCT` and `ORDER BY` at once,
//! with them at its end, until when the engine counts what it keeps. It is no window function (`statement/check.rs`), since each row
//! would have a copy that nobody counts.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray},
    compute::cast,
    datatypes::{DataType, FieldRef},
};
use datafusion::{
    common::{Result, ScalarValue, plan_err},
    functions_aggregate::string_agg::string_agg_udaf,
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, Signature,
        function::{AccumulatorArgs, StateFieldsArgs},
    },
    physical_expr::expressions::Literal,
};

use super::{error::refused, functions::MAX_SCALAR_BYTES};

/// The function.
pub(crate) fn string_agg() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(Joined { inner: string_agg_udaf() }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Joined {
    inner: Arc<AggregateUDF>,
}

impl AggregateUDFImpl for Joined {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct || !args.order_bys.is_empty() {
            return Ok(Box::new(InOrder(self.inner.accumulator(args)?)));
        }
        let between = args.exprs.get(1).and_then(|between| between.downcast_ref::<Literal>());
        let Some(between) = between else { return plan_err!("what string_agg puts between texts is a constant") };
        let between = between.value().try_as_str().flatten().unwrap_or_default().to_owned();
        Ok(Box::new(AsTheyCome { text: None, between }))
    }
}

/// Refuses a text that is too long.
fn within(text: &str) -> Result<()> {
    if text.len() as u128 > MAX_SCALAR_BYTES {
        return refused(format!("string_agg() may make {MAX_SCALAR_BYTES} bytes of text for a group; join fewer"));
    }
    Ok(())
}

/// Texts in the order in which they come.
#[derive(Debug)]
struct AsTheyCome {
    text: Option<String>,
    between: String,
}

impl AsTheyCome {
    fn add(&mut self, texts: &[ArrayRef]) -> Result<()> {
        let Some(texts) = texts.first() else { return Ok(()) };
        let texts = cast(texts, &DataType::LargeUtf8)?;
        for text in texts.as_string::<i64>().iter().flatten() {
            match &mut self.text {
                None => self.text = Some(text.to_owned()),
                Some(all) => {
                    all.push_str(&self.between);
                    all.push_str(text);
                }
            }
            within(self.text.as_deref().unwrap_or_default())?;
        }
        Ok(())
    }
}

impl Accumulator for AsTheyCome {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::LargeUtf8(self.text.clone()))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.between.capacity() + self.text.as_ref().map_or(0, String::capacity)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.add(states)
    }
}

/// Texts that are ordered, or told apart, when all are there.
#[derive(Debug)]
struct InOrder(Box<dyn Accumulator>);

impl Accumulator for InOrder {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.update_batch(values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let text = self.0.evaluate()?;
        within(text.try_as_str().flatten().unwrap_or_default())?;
        Ok(text)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.0.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.0.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.0.merge_batch(states)
    }
}
