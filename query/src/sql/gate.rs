//! What may be looked at while a file is read: conditions that cannot fail.
//!
//! The engine hands conditions to the reader of a file, which leaves out rows before their other columns are read. A condition that fails
//! there comes back as if the file could not be read, while it is the question that is wrong. So only what compares columns with each
//! other or with constants passes; everything else stays above, where its errors are its own.

use std::{fmt, sync::Arc};

use arrow::datatypes::{DataType, Schema};
use datafusion::{
    common::{Result, config::ConfigOptions, internal_datafusion_err, tree_node::TreeNodeRecursion},
    execution::{SendableRecordBatchStream, TaskContext},
    logical_expr::Operator,
    physical_expr::{
        PhysicalExpr, ScalarFunctionExpr,
        expressions::{
            BinaryExpr, CastExpr, Column, DynamicFilterPhysicalExpr, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr,
            Literal, NotExpr,
        },
    },
    physical_plan::{
        ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
        filter_pushdown::{ChildFilterDescription, FilterDescription, FilterPushdownPhase},
    },
};

/// Functions that have an answer to everything.
const TOTAL: &[&str] = &["tag", "lower", "upper", "starts_with"];

/// The rows of a file.
#[derive(Debug)]
pub(super) struct GateExec {
    input: Arc<dyn ExecutionPlan>,
}

impl GateExec {
    pub(super) fn over(input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        Arc::new(Self { input })
    }
}

/// Whether a condition has an answer for every row.
fn cannot_fail(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> bool {
    if !expr.children().into_iter().all(|part| cannot_fail(part, schema)) {
        return false;
    }
    if let Some(of) = expr.downcast_ref::<BinaryExpr>() {
        use Operator::{And, Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq, Or};
        return matches!(of.op(), And | Or | Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom);
    }
    if let Some(cast) = expr.downcast_ref::<CastExpr>() {
        return cast.expr().data_type(schema).is_ok_and(|from| is_alike(&from, cast.cast_type()));
    }
    if let Some(call) = expr.downcast_ref::<ScalarFunctionExpr>() {
        return TOTAL.contains(&call.name());
    }
    expr.is::<Column>()
        || expr.is::<Literal>()
        || expr.is::<NotExpr>()
        || expr.is::<IsNullExpr>()
        || expr.is::<IsNotNullExpr>()
        || expr.is::<InListExpr>()
        || expr.is::<LikeExpr>()
        // Made by the engine out of comparisons of its parts.
        || expr.is::<DynamicFilterPhysicalExpr>()
}

/// Whether each value of one type is one of the other, written otherwise.
fn is_alike(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        (DataType::Timestamp(from, Some(_)), DataType::Timestamp(to, Some(_))) => from == to,
        (from, to) => from == to || from.is_string() && to.is_string(),
    }
}

impl DisplayAs for GateExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GateExec")
    }
}

impl ExecutionPlan for GateExec {
    fn name(&self) -> &'static str {
        "GateExec"
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

    fn supports_limit_pushdown(&self) -> bool {
        true
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        children.pop().map(Self::over).ok_or_else(|| internal_datafusion_err!("an input is missing"))
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
        self.input.execute(partition, context)
    }

    fn gather_filters_for_pushdown(
        &self,
        _: FilterPushdownPhase,
        mut conditions: Vec<Arc<dyn PhysicalExpr>>,
        _: &ConfigOptions,
    ) -> Result<FilterDescription> {
        let schema = self.schema();
        for condition in &mut conditions {
            if !cannot_fail(condition, &schema) {
                // What names a column that is not there is kept above; conditions are told apart by their place.
                *condition = Arc::new(Column::new("", usize::MAX));
            }
        }
        Ok(FilterDescription::new().with_child(ChildFilterDescription::from_child(&conditions, &self.input)?))
    }
}
