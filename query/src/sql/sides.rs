//! The sides of a union one after the other, where nothing else puts their rows in order.
//!
//! The engine reads all sides at once and gives what comes first: the same question over the same rows had answers in another order, and under
//! a LIMIT other rows. The queries of callers behind the fence run in one part anyway, so none of their unions does that; of those of others
//! no union that a LIMIT stands over, whose sides are still read in parts.

use std::{fmt, sync::Arc};

use datafusion::{
    common::{
        Result,
        config::ConfigOptions,
        internal_err,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::{EquivalenceProperties, PhysicalExpr},
    physical_optimizer::{PhysicalOptimizerRule, optimizer::PhysicalOptimizer},
    physical_plan::{
        ChildrenPropertiesMode, DisplayAs, DisplayFormatType, Distribution, ExecutionPlan,
        InputDistributionRequirements, Partitioning, PlanProperties, ReplaceChildrenOptions,
        limit::{GlobalLimitExec, LocalLimitExec},
        projection::ProjectionExec,
        stream::RecordBatchStreamAdapter,
        union::UnionExec,
    },
};
use futures::{StreamExt, TryStreamExt, stream};

use super::{fence::FenceExec, gate::GateExec};

const RECOMPUTE: ReplaceChildrenOptions = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);

/// The engine's rules, and before them this one: of `all` unions, or of those under a LIMIT.
pub(super) fn rules(all: bool) -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let mut rules = PhysicalOptimizer::new().rules;
    rules.insert(0, Arc::new(InTurn { all }));
    rules
}

#[derive(Debug)]
struct InTurn {
    all: bool,
}

impl PhysicalOptimizerRule for InTurn {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_down(|node| {
            if node.is::<FenceExec>() {
                // Which puts what it reads in order itself.
                return Ok(Transformed::new(node, false, TreeNodeRecursion::Jump));
            }
            let is_over = self.all || node.is::<GlobalLimitExec>();
            let changed = if is_over { in_turn(&node)? } else { None };
            Ok(changed.map_or_else(|| Transformed::no(node), Transformed::yes))
        })
        .map(|changed| changed.data)
    }

    fn name(&self) -> &'static str {
        "sides in turn"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The same with the union in order that it is, or that comes to it as it stands; nothing where there is none.
fn in_turn(node: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if let Some(union) = node.downcast_ref::<UnionExec>() {
        // Files and the tail are one table.
        let is_table = union.inputs().first().is_some_and(|first| first.is::<GateExec>());
        return Ok((!is_table).then(|| InTurnExec::over(Arc::clone(node))));
    }
    let children = node.children();
    let ([input], true) = (children.as_slice(), passes(node)) else { return Ok(None) };
    let input = in_turn(input)?;
    input.map(|input| Arc::clone(node).replace_children(vec![input], RECOMPUTE)).transpose()
}

fn passes(node: &Arc<dyn ExecutionPlan>) -> bool {
    node.is::<GlobalLimitExec>() || node.is::<LocalLimitExec>() || node.is::<ProjectionExec>()
}

/// A union whose sides are read one after the other.
#[derive(Debug)]
struct InTurnExec {
    union: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl InTurnExec {
    fn over(union: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        let of = union.properties();
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(union.schema()),
            Partitioning::UnknownPartitioning(1),
            of.emission_type,
            of.boundedness,
        ));
        Arc::new(Self { union, properties })
    }
}

impl DisplayAs for InTurnExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl ExecutionPlan for InTurnExec {
    fn name(&self) -> &'static str {
        "InTurnExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::SinglePartition; self.children().len()])
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false; self.children().len()]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.union.children()
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Self::over(Arc::clone(&self.union).replace_children(children, RECOMPUTE)?))
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
        if partition != 0 {
            return internal_err!("the sides of a union in turn are one partition, and not {partition}");
        }
        let sides: Vec<_> = self.children().into_iter().map(Arc::clone).collect();
        // One is begun when the one before it has ended.
        let rows = stream::iter(sides).map(move |side| side.execute(0, Arc::clone(&context))).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}
