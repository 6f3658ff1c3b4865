//! Nodes of a plan with one input that answer most of what a node is asked for with what their input answers.

use std::{fmt, sync::Arc};

use arrow::datatypes::Schema;
use datafusion::{
    common::{Result, config::ConfigOptions, internal_datafusion_err, tree_node::TreeNodeRecursion},
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::{PhysicalExpr, expressions::Column},
    physical_plan::{
        ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
        filter_pushdown::{ChildFilterDescription, FilterDescription, FilterPushdownPhase},
    },
};

/// What a node does with the rows of its input.
pub(super) trait Pass: fmt::Debug + Clone + Send + Sync + 'static {
    /// The name of the node.
    const NAME: &'static str;

    /// Whether rows come in the order of the input.
    const IN_ORDER: bool = true;

    /// What is known of the rows that it gives, if that is something else than of those that it gets.
    fn properties(&self) -> Option<&Arc<PlanProperties>> {
        None
    }

    /// Whether a condition on its rows may go down to its input.
    fn lets_down(_: &Arc<dyn PhysicalExpr>, _: &Schema) -> bool {
        false
    }

    /// Shows the expressions that it evaluates.
    fn expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    /// The rows that it gives for those of the input.
    fn pass(&self, rows: SendableRecordBatchStream, _: &TaskContext) -> SendableRecordBatchStream {
        rows
    }
}

/// A node with one input.
#[derive(Debug)]
pub(super) struct PassExec<P> {
    input: Arc<dyn ExecutionPlan>,
    pass: P,
}

/// A node over its input.
pub(super) fn over<P: Pass>(pass: P, input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    Arc::new(PassExec { input, pass })
}

impl<P: Pass> DisplayAs for PassExec<P> {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(P::NAME)
    }
}

impl<P: Pass> ExecutionPlan for PassExec<P> {
    fn name(&self) -> &'static str {
        P::NAME
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.pass.properties().unwrap_or_else(|| self.input.properties())
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![P::IN_ORDER]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn supports_limit_pushdown(&self) -> bool {
        P::IN_ORDER
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.pop().ok_or_else(|| internal_datafusion_err!("an input is missing"))?;
        Ok(over(self.pass.clone(), input))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.pass.expressions(f)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        Ok(self.pass.pass(self.input.execute(partition, Arc::clone(&context))?, &context))
    }

    fn gather_filters_for_pushdown(
        &self,
        _: FilterPushdownPhase,
        mut conditions: Vec<Arc<dyn PhysicalExpr>>,
        _: &ConfigOptions,
    ) -> Result<FilterDescription> {
        let schema = self.schema();
        for condition in &mut conditions {
            if !P::lets_down(condition, &schema) {
                // What names a column that is not there is kept above; conditions are told apart by their place.
                *condition = Arc::new(Column::new("", usize::MAX));
            }
        }
        Ok(FilterDescription::new().with_child(ChildFilterDescription::from_child(&conditions, &self.input)?))
    }
}
