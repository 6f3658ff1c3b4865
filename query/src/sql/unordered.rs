//! Partial groups are kept in no order, so that a step which runs out of memory can hand on what it has.
//!
//! Where its rows come in the order of some of its groups, the engine's partial step hands on only the groups that are complete, and fails
//! when none is. A column that a condition makes constant (`WHERE billing_period = '2026-09'`) is in order too, and its one group is never
//! complete before the end. Without an order the same step hands on any group early, and the final step, which spills, adds up the
//! rest. An order that something above relies on stays, unless it is of constants, which are in order anyhow.

use std::sync::Arc;

use datafusion::{
    common::{
        Result,
        tree_node::{Transformed, TreeNode},
    },
    physical_expr::EquivalenceProperties,
    physical_plan::{
        ChildrenPropertiesMode, ExecutionPlan, InputOrderMode, PlanProperties, ReplaceChildrenOptions,
        aggregates::{AggregateExec, AggregateMode},
    },
};

use super::pass::{self, Pass};

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
                    let linear = Arc::clone(input).replace_children(vec![unknown(step.input())], RECOMPUTE)?;
                    // What was known of constants stays known above: windows and sorts were planned by it.
                    pass::over(Said(Arc::clone(input.properties())), linear)
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

/// Rows of which other things are said than of the input's: that they are in no order, or what was said before.
#[derive(Clone, Debug)]
struct Said(Arc<PlanProperties>);

impl Pass for Said {
    const NAME: &'static str = "UnorderedExec";
    const IN_ORDER: bool = false;

    fn properties(&self) -> Option<&Arc<PlanProperties>> {
        Some(&self.0)
    }
}

/// Rows in no order.
fn unknown(input: &Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    let properties = PlanProperties::new(
        EquivalenceProperties::new(input.schema()),
        input.properties().partitioning.clone(),
        input.properties().emission_type,
        input.properties().boundedness,
    );
    pass::over(Said(Arc::new(properties)), Arc::clone(input))
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
