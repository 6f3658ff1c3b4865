//! Counts what the engine keeps without counting it against the memory that queries may use, and ends a query for whose
//! answer nobody waits any more.
//!
//! Its window operators keep whole partitions and count none of it. Its joins keep one side and count its columns, but not
//! the batches themselves: a cross join of tables of which no column is asked for has nothing but those. Under both stands
//! a node that reserves what passes it until the query ends.
//!
//! A join can make rows for hours of one batch of its inputs, and what stands over it takes them without a pause: the
//! engine itself pauses only where tables are read. So the same node stands over joins and tables too, and there it looks
//! whether to go on.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::{
    common::{
        Result, exec_err, internal_datafusion_err,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    execution::{
        SendableRecordBatchStream, TaskContext,
        memory_pool::{MemoryConsumer, MemoryReservation},
    },
    physical_expr::PhysicalExpr,
    physical_plan::{
        ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, RecordBatchStream,
        ReplaceChildrenOptions,
        coop::make_cooperative,
        joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec},
        windows::{BoundedWindowAggExec, WindowAggExec},
    },
};
use futures::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;

/// What a batch takes beside its columns.
const BATCH_BYTES: usize = 256;

/// What is counted of a batch.
#[derive(Clone, Copy, Debug)]
enum Count {
    /// All of it.
    Whole,
    /// All but its columns.
    Frame,
    /// Nothing: it is not kept.
    Nothing,
}

/// The same plan with what its windows and joins keep counted, which ends when `gone` is cancelled.
pub(crate) fn accounted(plan: Arc<dyn ExecutionPlan>, gone: &CancellationToken) -> Result<Arc<dyn ExecutionPlan>> {
    let over =
        |input, count| -> Arc<dyn ExecutionPlan> { Arc::new(AccountedExec { input, count, gone: gone.clone() }) };
    plan.transform_up(|node| {
        let window = node.is::<WindowAggExec>() || node.is::<BoundedWindowAggExec>();
        let join = node.is::<CrossJoinExec>() || node.is::<NestedLoopJoinExec>() || node.is::<HashJoinExec>();
        let mut inputs: Vec<_> = node.children().into_iter().map(Arc::clone).collect();
        let table = inputs.is_empty();
        let mut node = node;
        if window || join {
            // Of a join the first input is the one that is kept.
            if let Some(kept) = inputs.first_mut() {
                *kept = over(Arc::clone(kept), if window { Count::Whole } else { Count::Frame });
            }
            node = node.replace_children(inputs, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep))?;
        }
        Ok(if join || table || node.is::<SortMergeJoinExec>() {
            Transformed::yes(over(node, Count::Nothing))
        } else {
            Transformed::new_transformed(node, window)
        })
    })
    .map(|changed| changed.data)
}

#[derive(Debug)]
struct AccountedExec {
    input: Arc<dyn ExecutionPlan>,
    count: Count,
    gone: CancellationToken,
}

impl DisplayAs for AccountedExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccountedExec")
    }
}

impl ExecutionPlan for AccountedExec {
    fn name(&self) -> &'static str {
        "AccountedExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        children
            .pop()
            .map(|input| Arc::new(Self { input, count: self.count, gone: self.gone.clone() }) as _)
            .ok_or_else(|| internal_datafusion_err!("an input is missing"))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let kept = MemoryConsumer::new("kept").register(context.memory_pool());
        let input = self.input.execute(partition, context)?;
        Ok(make_cooperative(Box::pin(Accounted { input, count: self.count, kept, gone: self.gone.clone() })))
    }
}

struct Accounted {
    input: SendableRecordBatchStream,
    count: Count,
    kept: MemoryReservation,
    gone: CancellationToken,
}

impl Stream for Accounted {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.gone.is_cancelled() {
            return Poll::Ready(Some(exec_err!("nobody waits for the answer")));
        }
        let next = futures::ready!(self.input.poll_next_unpin(context));
        if let Some(Ok(batch)) = &next {
            let bytes = match self.count {
                Count::Whole => batch.get_array_memory_size() + BATCH_BYTES,
                Count::Frame => BATCH_BYTES,
                Count::Nothing => 0,
            };
            self.kept.try_grow(bytes)?;
        }
        Poll::Ready(next)
    }
}

impl RecordBatchStream for Accounted {
    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }
}
