//! Partial groups are kept in no order, so that a step which runs out of memory can hand on what it has.
//!
//! Where its rows come in the order of some of its groups, the engine's partial step hands on only the groups that are complete, and fails
//! when none is. A column that a condition makes constant (`WHERE billing_period = '2026-09'`) is in order too, and its one group is never
//! complete before the end. Without an order the same step hands on any group early, and the final step, which spills, adds up the
//! rest. An order that something above relies on stays, unless it is of constants, which are in order anyhow.

use std::{fmt, sync::Arc};

use datafusion::{
    common::{
        Result, internal_datafusion_err,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::{EquivalenceProperties, PhysicalExpr},
    physical_plan::{
        ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, InputOrderMode, PlanProperties,
        ReplaceChildrenOptions,
        aggregates::{AggregateExec, AggregateMode},
    },
};

const RECOMPUTE: ReplaceChildrenOptions = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
const KEEP: ReplaceChildrenOptions = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep);

/// The same plan, whose partial groups are in no order that nobody needs.
pub(crate) fn unordered(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        let keeps = node.maintains_input_order();
        let inputs: Vec<_> = node.children().into_iter().map(Arc::clone).collect();
        let mut changed = Vec::with_capacity(inputs.len());
        for (input, keeps) in inputs.iter().zip(keeps) {
            let step = input.downcast_ref::<AggregateExec>().filter(|step| waits(step, keeps));
            changed.push(match step {
                Some(step) => {
                    let linear =
                        Arc::clone(input).replace_children(vec![UnorderedExec::over(step.input())], RECOMPUTE)?;
                    // What was known of constants stays known above: windows and sorts were planned by it.
                    Arc::new(UnorderedExec { input: linear, properties: Arc::clone(input.properties()) })
                }
                None => Arc::clone(input),
            });
        }
        if inputs.iter().zip(&changed).all(|(before, after)| Arc::ptr_eq(before, after)) {
            return Ok(Transformed::no(node));
        }
        Ok(Transformed::yes(node.replace_children(changed, KEEP)?))
    })
    .map(|changed| changed.data)
}

/// Whether a step waits for groups to be complete, for an order that nobody needs.
fn waits(step: &AggregateExec, order_is_kept: bool) -> bool {
    let InputOrderMode::PartiallySorted(sorted) = step.input_order_mode() else { return false };
    let known = &step.input().properties().eq_properties;
    let groups = step.group_expr().expr();
    let is_constant =
        |group: &usize| groups.get(*group).is_some_and(|(expr, _)| known.is_expr_constant(expr).is_some());
    *step.mode() == AggregateMode::Partial && (!order_is_kept || sorted.iter().all(is_constant))
}

/// The rows of its input, of which other things are said: that they are in no order, or what was said before.
#[derive(Debug)]
struct UnorderedExec {
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl UnorderedExec {
    fn over(input: &Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(input.schema()),
            input.properties().partitioning.clone(),
            input.properties().emission_type,
            input.properties().boundedness,
        );
        Arc::new(Self { input: Arc::clone(input), properties: Arc::new(properties) })
    }
}

impl DisplayAs for UnorderedExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnorderedExec")
    }
}

impl ExecutionPlan for UnorderedExec {
    fn name(&self) -> &'static str {
        "UnorderedExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
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
        Ok(Arc::new(Self { input, properties: Arc::clone(&self.properties) }))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, RECOMPUTE)
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.input.execute(partition, context)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use datafusion::{
        physical_plan::{collect, displayable},
        prelude::{SessionConfig, SessionContext},
    };

    use super::{
        super::{provider::in_memory, session},
        *,
    };

    /// 200,000 groups in 4 MiB, of which a condition makes the first column constant.
    #[tokio::test]
    async fn groups_beside_a_constant_spill() {
        let mut config = SessionConfig::new().with_target_partitions(2);
        config.options_mut().execution.enable_migration_aggregate = false;
        let context = SessionContext::new_with_config_rt(config, session::runtime(4 << 20).unwrap());
        let rows = 200_000;
        let month: ArrayRef = Arc::new(StringArray::from(vec!["2026-09"; rows]));
        let call: ArrayRef = Arc::new(Int64Array::from_iter_values(0..i64::try_from(rows).unwrap()));
        let all = RecordBatch::try_from_iter([("month", month), ("call", call)]).unwrap();
        context.register_table("t", in_memory(all).unwrap()).unwrap();
        let sql = "SELECT month, call, sum(call) FROM t WHERE month = '2026-09' GROUP BY 1, 2";
        let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        assert!(displayable(plan.as_ref()).indent(false).to_string().contains("PartiallySorted"));
        let plan = unordered(plan).unwrap();
        let shown = displayable(plan.as_ref()).indent(false).to_string();
        let waits = |step: &str| step.contains("mode=Partial,") && step.contains("PartiallySorted");
        assert!(!shown.lines().any(waits), "{shown}");
        let groups: usize = collect(plan, context.task_ctx()).await.unwrap().iter().map(RecordBatch::num_rows).sum();
        assert_eq!(groups, rows);
    }
}
