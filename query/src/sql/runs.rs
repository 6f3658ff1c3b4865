//! Groups that stand together are added up where they stand, without a look into a table of groups.
//!
//! Files are sorted by tenant and time, so rows of one tenant, or of one tenant's day or hour, follow each other. Where a question groups by
//! nothing else, each run of rows becomes one partial result, for which neighbours are compared and nothing is hashed; the final step,
//! which hashes and spills, gets a few runs in place of all rows. Rows in any other order give the same answer, only later.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array},
    compute::{partition, take},
    datatypes::SchemaRef,
};
use datafusion::{
    common::{
        Result,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    datasource::source::DataSourceExec,
    execution::{SendableRecordBatchStream, TaskContext},
    logical_expr::EmitTo,
    physical_expr::{PhysicalExpr, utils::collect_columns},
    physical_plan::{
        ExecutionPlan, Partitioning, PlanProperties,
        aggregates::{AggregateExec, AggregateMode},
        filter::FilterExec,
        projection::ProjectionExec,
        repartition::RepartitionExec,
        stream::RecordBatchStreamAdapter,
        union::UnionExec,
    },
};
use futures::StreamExt;

use super::{
    gate::GateExec,
    pass::{self, Pass},
};

/// The columns that tables of facts are sorted by.
const SORTED: [&str; 2] = ["tenant", "time"];

/// The same plan, which adds up runs where the order of the files makes some.
pub(crate) fn by_runs(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        let Some(partial) = node.downcast_ref::<AggregateExec>().filter(|partial| has_runs(partial)) else {
            return Ok(Transformed::no(node));
        };
        Ok(Transformed::yes(pass::over(Runs(Arc::new(partial.clone())), Arc::clone(partial.input()))))
    })
    .map(|changed| changed.data)
}

/// Whether groups of this step are likely to stand together, and whether it can be done by runs.
fn has_runs(partial: &AggregateExec) -> bool {
    let groups = partial.group_expr();
    let sorted = |expr: &Arc<dyn PhysicalExpr>| {
        let columns = collect_columns(expr);
        !columns.is_empty() && columns.iter().all(|column| SORTED.contains(&column.name()))
    };
    let by_runs = partial.aggr_expr().iter().all(|function| {
        function.groups_accumulator_supported() && !function.is_distinct() && function.order_bys().is_empty()
    });
    *partial.mode() == AggregateMode::Partial
        && groups.is_single()
        && !groups.is_empty()
        && groups.expr().iter().all(|(expr, _)| sorted(expr))
        && by_runs
        && partial.limit_options().is_none()
        && is_scan(partial.input())
}

/// Whether rows come as they stand in the files.
fn is_scan(plan: &Arc<dyn ExecutionPlan>) -> bool {
    if plan.is::<DataSourceExec>() || plan.is::<GateExec>() {
        return true;
    }
    // Whole batches are dealt out.
    let deals = |repartition: &RepartitionExec| matches!(repartition.partitioning(), Partitioning::RoundRobinBatch(_));
    let passes = plan.is::<FilterExec>()
        || plan.is::<ProjectionExec>()
        || plan.is::<UnionExec>()
        || plan.downcast_ref::<RepartitionExec>().is_some_and(deals);
    passes && plan.children().into_iter().all(is_scan)
}

/// Makes a partial result of each run of rows with equal groups, in the place of this step; that one's input is not looked at.
#[derive(Clone, Debug)]
struct Runs(Arc<AggregateExec>);

impl Pass for Runs {
    const NAME: &'static str = "RunsExec";
    const IN_ORDER: bool = false;

    fn properties(&self) -> Option<&Arc<PlanProperties>> {
        Some(self.0.properties())
    }

    fn expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.0.apply_expressions(f)
    }

    fn pass(&self, rows: SendableRecordBatchStream, _: &TaskContext) -> SendableRecordBatchStream {
        let (partial, schema) = (Arc::clone(&self.0), self.0.schema());
        let runs = rows.map(move |batch| runs(&partial, &batch?));
        Box::pin(RecordBatchStreamAdapter::new(schema, runs))
    }
}

/// A row for each run: its groups, and what the functions have of it.
fn runs(partial: &AggregateExec, batch: &RecordBatch) -> Result<RecordBatch> {
    let schema: SchemaRef = partial.schema();
    let rows = batch.num_rows();
    if rows == 0 {
        return Ok(RecordBatch::new_empty(schema));
    }
    let value = |expr: &Arc<dyn PhysicalExpr>| expr.evaluate(batch)?.into_array(rows);
    let groups = partial.group_expr().expr().iter().map(|(expr, _)| value(expr)).collect::<Result<Vec<ArrayRef>>>()?;
    let ranges = partition(&groups)?.ranges();
    let mut run_of = Vec::with_capacity(rows);
    for (run, range) in ranges.iter().enumerate() {
        run_of.resize(range.end, run);
    }
    let firsts: UInt32Array = ranges.iter().map(|range| u32::try_from(range.start).unwrap_or(u32::MAX)).collect();
    let mut columns = groups.iter().map(|group| Ok(take(group, &firsts, None)?)).collect::<Result<Vec<_>>>()?;
    for (function, filter) in partial.aggr_expr().iter().zip(partial.filter_expr()) {
        let values = function.expressions().iter().map(value).collect::<Result<Vec<_>>>()?;
        let filter = filter.as_ref().map(value).transpose()?;
        let filter: Option<&BooleanArray> = filter.as_ref().map(|filter| filter.as_boolean());
        let mut accumulator = function.create_groups_accumulator()?;
        accumulator.update_batch(&values, &run_of, filter, ranges.len())?;
        columns.extend(accumulator.state(EmitTo::All)?);
    }
    Ok(RecordBatch::try_new(schema, columns)?)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};
    use datafusion::{
        physical_plan::displayable,
        prelude::{SessionConfig, SessionContext},
    };

    use super::{super::provider::in_memory, *};

    #[tokio::test]
    async fn only_what_stands_together_is_added_up_by_runs() {
        let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
        let text = || Arc::new(StringArray::from(vec!["a", "a", "b"])) as ArrayRef;
        let number = Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef;
        let rows = [("tenant", text()), ("model", text()), ("time", Arc::clone(&number)), ("n", number)];
        context.register_table("t", in_memory(RecordBatch::try_from_iter(rows).unwrap()).unwrap()).unwrap();
        for (sql, wanted) in [
            ("SELECT tenant, sum(n) FROM t GROUP BY tenant", true),
            ("SELECT tenant, time / 2, sum(n), count(*) FROM t WHERE n > 1 GROUP BY 1, 2", true),
            ("SELECT tenant, model, sum(n) FROM t GROUP BY 1, 2", false),
            ("SELECT tenant, count(DISTINCT n), median(n), avg(n) FROM t GROUP BY 1", false),
            ("SELECT sum(n) FROM t", false),
            ("SELECT a.tenant, sum(a.n) FROM t a JOIN t b ON a.n = b.n GROUP BY 1", false),
        ] {
            let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
            let plan = by_runs(plan).unwrap();
            let shown = displayable(plan.as_ref()).indent(false).to_string();
            assert_eq!(shown.contains("RunsExec"), wanted, "{sql}\n{shown}");
        }
    }
}
