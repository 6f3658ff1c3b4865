//! Counts what the engine keeps without counting it against the memory that queries may use.
//!
//! Its window operators keep whole partitions and count none of it. Its joins keep one side and count its columns, but not
//! the batches themselves: a cross join of tables of which no column is asked for has nothing but those. Under both stands
//! a node that reserves what passes it until the query ends.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::{
    common::{
        Result, internal_datafusion_err,
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
        joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec},
        windows::{BoundedWindowAggExec, WindowAggExec},
    },
};
use futures::{Stream, StreamExt};

/// What a batch takes beside its columns.
const BATCH_BYTES: usize = 256;

/// What is counted of a batch.
#[derive(Clone, Copy, Debug)]
enum Count {
    /// All of it.
    Whole,
    /// All but its columns.
    Frame,
}

/// The same plan with what its windows and joins keep counted.
pub(crate) fn accounted(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        let count = if node.is::<WindowAggExec>() || node.is::<BoundedWindowAggExec>() {
            Count::Whole
        } else if node.is::<CrossJoinExec>() || node.is::<NestedLoopJoinExec>() || node.is::<HashJoinExec>() {
            Count::Frame
        } else {
            return Ok(Transformed::no(node));
        };
        let mut inputs: Vec<_> = node.children().into_iter().map(Arc::clone).collect();
        // Of a join the first input is the one that is kept.
        if let Some(kept) = inputs.first_mut() {
            *kept = AccountedExec::over(Arc::clone(kept), count);
        }
        Ok(Transformed::yes(node.replace_children(inputs, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep))?))
    })
    .map(|changed| changed.data)
}

#[derive(Debug)]
struct AccountedExec {
    input: Arc<dyn ExecutionPlan>,
    count: Count,
}

impl AccountedExec {
    fn over(input: Arc<dyn ExecutionPlan>, count: Count) -> Arc<dyn ExecutionPlan> {
        Arc::new(Self { input, count })
    }
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
            .map(|input| Self::over(input, self.count))
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
        Ok(Box::pin(Accounted { input: self.input.execute(partition, context)?, count: self.count, kept }))
    }
}

struct Accounted {
    input: SendableRecordBatchStream,
    count: Count,
    kept: MemoryReservation,
}

impl Stream for Accounted {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = futures::ready!(self.input.poll_next_unpin(context));
        if let Some(Ok(batch)) = &next {
            let columns = match self.count {
                Count::Whole => batch.get_array_memory_size(),
                Count::Frame => 0,
            };
            self.kept.try_grow(columns + BATCH_BYTES)?;
        }
        Poll::Ready(next)
    }
}

impl RecordBatchStream for Accounted {
    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }
}
