//! The fence: the last node that sees rows of other tenants.
//!
//! It holds the tenant filter itself, so no rule of the optimizer can move the filter away or an expression of the caller
//! below it: it accepts no filter, limit, projection or sort from above and shows no statistics. What leaves it stands in
//! the order of the ledger, and in batches of one size, so that neither the order of rows nor the shape of a batch depends
//! on rows that the caller may not see.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use arrow::{array::RecordBatch, compute::BatchCoalescer, datatypes::SchemaRef};
use datafusion::{
    common::{Result, Statistics, internal_datafusion_err, internal_err, tree_node::TreeNodeRecursion},
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::{EquivalenceProperties, LexOrdering, PhysicalExpr, PhysicalSortExpr},
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, RecordBatchStream,
        ReplaceChildrenOptions,
        coalesce_partitions::CoalescePartitionsExec,
        execution_plan::{Boundedness, EmissionType},
        filter::FilterExec,
        sorts::sort::SortExec,
    },
};
use futures::{Stream, StreamExt};

/// Lets through the rows that satisfy its predicate, in order, and of them the first `width` columns.
#[derive(Debug)]
pub(crate) struct FenceExec {
    input: Arc<dyn ExecutionPlan>,
    predicate: Arc<dyn PhysicalExpr>,
    order: Vec<PhysicalSortExpr>,
    width: usize,
    properties: Arc<PlanProperties>,
}

impl FenceExec {
    /// A fence over `input`. The columns after the first `width` are for the predicate and the order only; without an order
    /// the partitions of the input are given one after the other.
    pub(crate) fn new(
        input: Arc<dyn ExecutionPlan>,
        predicate: Arc<dyn PhysicalExpr>,
        order: Vec<PhysicalSortExpr>,
        width: usize,
    ) -> Result<Arc<Self>> {
        let columns: Vec<usize> = (0..width).collect();
        let schema = Arc::new(input.schema().project(&columns)?);
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        Ok(Arc::new(Self { input, predicate, order, width, properties }))
    }

    /// The rows that pass. Built here and not in the plan, where a rule could find that nobody asked for a filter or a sort.
    fn passing(&self) -> Result<Arc<dyn ExecutionPlan>> {
        let passing: Arc<dyn ExecutionPlan> =
            Arc::new(FilterExec::try_new(Arc::clone(&self.predicate), Arc::clone(&self.input))?);
        let Some(order) = LexOrdering::new(self.order.iter().cloned()) else { return Ok(passing) };
        Ok(Arc::new(SortExec::new(order, Arc::new(CoalescePartitionsExec::new(passing)))))
    }
}

impl DisplayAs for FenceExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FenceExec")
    }
}

impl ExecutionPlan for FenceExec {
    fn name(&self) -> &'static str {
        "FenceExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = <[_; 1]>::try_from(children)
            .map_err(|children| internal_datafusion_err!("a fence has one input, not {}", children.len()))?;
        Ok(Self::new(input, Arc::clone(&self.predicate), self.order.clone(), self.width)?)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        use datafusion::physical_plan::ChildrenPropertiesMode::Recompute;
        self.replace_children(children, ReplaceChildrenOptions::new(Recompute))
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        f(&self.predicate)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return internal_err!("a fence has one partition, not {partition}");
        }
        let passing = self.passing()?;
        let inputs = (0..passing.properties().partitioning.partition_count())
            .rev()
            .map(|partition| passing.execute(partition, Arc::clone(&context)))
            .collect::<Result<Vec<_>>>()?;
        let coalescer = BatchCoalescer::new(self.schema(), context.session_config().batch_size());
        let columns = (0..self.width).collect();
        Ok(Box::pin(FenceStream { inputs, columns, coalescer, schema: self.schema() }))
    }

    fn statistics_from_inputs(
        &self,
        _: &[Arc<Statistics>],
        _: &datafusion::physical_plan::statistics::StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        Ok(Arc::new(Statistics::new_unknown(&self.schema())))
    }
}

struct FenceStream {
    /// Those not read to their end; the last is read.
    inputs: Vec<SendableRecordBatchStream>,
    columns: Vec<usize>,
    coalescer: BatchCoalescer,
    schema: SchemaRef,
}

impl Stream for FenceStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(batch) = self.coalescer.next_completed_batch() {
                return Poll::Ready(Some(Ok(batch)));
            }
            let Some(input) = self.inputs.last_mut() else {
                if self.coalescer.is_empty() {
                    return Poll::Ready(None);
                }
                self.coalescer.finish_buffered_batch()?;
                continue;
            };
            match futures::ready!(input.poll_next_unpin(context)) {
                Some(batch) => {
                    let rows = batch?.project(&self.columns)?;
                    if rows.num_rows() > 0 {
                        self.coalescer.push_batch(rows)?;
                    }
                }
                None => drop(self.inputs.pop()),
            }
        }
    }
}

impl RecordBatchStream for FenceStream {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}
