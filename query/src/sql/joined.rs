//! `string_agg`, whose text may be as long as what any function makes of a batch, and is counted as memory of its query.
//!
//! The engine's own grows without a bound. Here a group whose text becomes longer ends the query before that is joined, and what a group
//! keeps is counted again for the column that it becomes, and for that as it is written. So as many groups have long texts as there is memory
//! for, and a call is one of those that make text longer (`growth.rs`). It is no window function (`statement/check.rs`), since each row would
//! have a copy that nobody counts. Those of `DISTINCT` are in order, as in Postgres.

use std::{collections::BTreeSet, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray},
    compute::cast,
    datatypes::{DataType, Field, FieldRef},
};
use datafusion::{
    common::{Result, ScalarValue, plan_err},
    functions_aggregate::string_agg::string_agg_udaf,
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, Expr,
        function::{AccumulatorArgs, StateFieldsArgs},
        planner::{ExprPlanner, PlannerResult, RawAggregateExpr},
    },
    physical_expr::expressions::Literal,
};

use super::{error::refused, shape::as_inner};

/// What it is called.
pub(super) const NAME: &str = "string_agg";

/// The longest text of a group: as much as a function makes of a batch.
const MAX_BYTES: usize = super::functions::MAX_BATCH_BYTES as usize;

/// The copies of a text beside that which is kept: in a column, and as that is written.
const COPIES: usize = 2;

/// What a text that is kept takes beside its letters: at its place in a tree that may be half full, and in the order that is made at the end.
const PLACE_BYTES: usize = 2 * size_of::<String>() + size_of::<&str>();

/// The function.
pub(crate) fn string_agg() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(Joined { inner: string_agg_udaf() }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Joined {
    inner: Arc<AggregateUDF>,
}

impl AggregateUDFImpl for Joined {
    as_inner!(name, signature, return_type);

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        if args.is_distinct {
            let text = Field::new_list_field(DataType::LargeUtf8, true);
            return Ok(vec![Arc::new(Field::new_list(format!("{}[texts]", args.name), text, true))]);
        }
        self.inner.state_fields(args)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let between = args.exprs.get(1).and_then(|between| between.downcast_ref::<Literal>());
        let Some(between) = between else { return plan_err!("what string_agg puts between texts is a constant") };
        let between = between.value().try_as_str().flatten().unwrap_or_default().to_owned();
        if args.is_distinct {
            let is_descending = match (args.order_bys, args.exprs) {
                ([], _) => false,
                ([order], [text, ..]) if order.expr.eq(text) => order.options.descending,
                _ => return plan_err!("string_agg(DISTINCT …) is ordered by the text itself, if by anything"),
            };
            return Ok(Box::new(Distinct { texts: BTreeSet::new(), between, is_descending, joined: 0 }));
        }
        if args.order_bys.is_empty() {
            return Ok(Box::new(AsTheyCome { text: None, between }));
        }
        Ok(Box::new(InOrder { between: between.len(), inner: self.inner.accumulator(args)?, joined: 0 }))
    }
}

/// Takes away from an order a query that is the same for all rows. The engine writes its answer into the type of what it keeps, which was
/// another while there was none.
#[derive(Debug)]
pub(super) struct Unordered;

impl ExprPlanner for Unordered {
    fn plan_aggregate(&self, mut of: RawAggregateExpr) -> Result<PlannerResult<RawAggregateExpr>> {
        if of.func.name() == NAME && !of.distinct {
            let is_alike = |key: &Expr| matches!(key, Expr::ScalarSubquery(of) if of.outer_ref_columns.is_empty());
            of.order_by.retain(|key| !is_alike(&key.expr));
        }
        Ok(PlannerResult::Original(of))
    }
}

/// Refuses a text that would become so long.
fn within(length: usize) -> Result<usize> {
    if length > MAX_BYTES {
        return refused(format!("string_agg() may make {MAX_BYTES} bytes of text for a group; join fewer"));
    }
    Ok(length)
}

/// Texts of one type.
fn texts(of: &ArrayRef) -> Result<ArrayRef> {
    Ok(cast(of, &DataType::LargeUtf8)?)
}

/// Texts in the order in which they come.
#[derive(Debug)]
struct AsTheyCome {
    text: Option<String>,
    between: String,
}

impl AsTheyCome {
    fn add(&mut self, of: &[ArrayRef]) -> Result<()> {
        let Some(of) = of.first() else { return Ok(()) };
        let of = texts(of)?;
        for text in of.as_string::<i64>().iter().flatten() {
            match &mut self.text {
                None => {
                    within(text.len())?;
                    self.text = Some(text.to_owned());
                }
                Some(all) => {
                    within(all.len() + self.between.len() + text.len())?;
                    all.push_str(&self.between);
                    all.push_str(text);
                }
            }
        }
        Ok(())
    }
}

impl Accumulator for AsTheyCome {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::LargeUtf8(self.text.take()))
    }

    fn size(&self) -> usize {
        let (room, length) = self.text.as_ref().map_or((0, 0), |text| (text.capacity(), text.len()));
        size_of_val(self) + self.between.capacity() + room + COPIES * length
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.add(states)
    }
}

/// Texts that are ordered when all are there.
#[derive(Debug)]
struct InOrder {
    inner: Box<dyn Accumulator>,
    /// The bytes between two.
    between: usize,
    /// What they come to.
    joined: usize,
}

impl InOrder {
    fn count(&mut self, of: &ArrayRef) -> Result<()> {
        let of = texts(of)?;
        for text in of.as_string::<i64>().iter().flatten() {
            self.joined = within(self.joined + self.between + text.len())?;
        }
        Ok(())
    }
}

impl Accumulator for InOrder {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        values.first().map_or(Ok(()), |of| self.count(of))?;
        self.inner.update_batch(values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.inner.evaluate()
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size() + COPIES * self.joined
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for of in lists(states) {
            self.count(&of)?;
        }
        self.inner.merge_batch(states)
    }
}

/// Texts of which each is there once, in their order.
#[derive(Debug)]
struct Distinct {
    texts: BTreeSet<String>,
    between: String,
    is_descending: bool,
    /// What they come to.
    joined: usize,
}

impl Distinct {
    fn add(&mut self, of: &ArrayRef) -> Result<()> {
        let of = texts(of)?;
        for text in of.as_string::<i64>().iter().flatten() {
            if !self.texts.contains(text) {
                self.joined = within(self.joined + self.between.len() + text.len())?;
                self.texts.insert(text.to_owned());
            }
        }
        Ok(())
    }
}

impl Accumulator for Distinct {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        values.first().map_or(Ok(()), |of| self.add(of))
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut all: Vec<&str> = self.texts.iter().map(String::as_str).collect();
        if self.is_descending {
            all.reverse();
        }
        Ok(ScalarValue::LargeUtf8((!all.is_empty()).then(|| all.join(&self.between))))
    }

    fn size(&self) -> usize {
        let kept = self.texts.len() * PLACE_BYTES + self.joined;
        size_of_val(self) + self.between.capacity() + kept + COPIES * self.joined
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let texts = std::mem::take(&mut self.texts).into_iter();
        let texts: Vec<ScalarValue> = texts.map(|text| ScalarValue::LargeUtf8(Some(text))).collect();
        Ok(vec![ScalarValue::List(ScalarValue::new_list(&texts, &DataType::LargeUtf8, true))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        lists(states).try_for_each(|of| self.add(&of))
    }
}

/// The texts that others kept, each as many.
fn lists(states: &[ArrayRef]) -> impl Iterator<Item = ArrayRef> {
    states.first().and_then(|state| state.as_list_opt::<i32>()).into_iter().flat_map(|lists| lists.iter().flatten())
}
