//! The one function that all query surfaces go through: [`Engine::answer`].
//!
//! A question becomes an answer in this order: [`statement`] (what may be said) → a cut (`crate::cut`) → [`provider`] (the
//! caller's tables, behind the [`fence`]) → [`session`] (a fresh one) → plan, checked again → a stream of rows.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::{
    catalog::TableProvider,
    common::tree_node::TreeNodeRecursion,
    execution::{
        SendableRecordBatchStream, context::SQLOptions, object_store::ObjectStoreUrl, runtime_env::RuntimeEnv,
        session_state::SessionState,
    },
    logical_expr::LogicalPlan,
    physical_plan::execute_stream,
};
use schemas::{policy::Tenants, time};

use crate::cut::{AsOf, Cut, Cuts};

mod accounted;
pub mod encode;
pub mod error;
mod fence;
mod functions;
mod growth;
mod provider;
mod session;
mod span;
mod statement;
mod tag;

pub use error::QueryError;
pub(crate) use provider::shown;

/// Who asks, and what they may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The tenants whose rows exist for them.
    pub tenants: Tenants,
}

/// The rows of an answer, and how complete they are.
pub struct Answer {
    /// Its columns.
    pub schema: SchemaRef,
    /// Its rows, and what they are read from.
    pub rows: SendableRecordBatchStream,
    /// The cut they are of.
    pub as_of: AsOf,
}

/// Answers questions.
pub struct Engine {
    cuts: Arc<Cuts>,
    runtime: Arc<RuntimeEnv>,
    store: ObjectStoreUrl,
}

/// The memory that all queries together may use for groups, sorts, joins and windows; beyond it they spill or end.
const POOL_BYTES: usize = 1 << 30;

/// The most columns that a step of a plan may have: 256 columns × 8 MiB of constants = 2 GiB at worst.
const MAX_COLUMNS: usize = 256;

impl Engine {
    /// An engine over the tables of `cuts`.
    pub fn new(cuts: Arc<Cuts>) -> Result<Self, QueryError> {
        Self::with_pool(cuts, POOL_BYTES)
    }

    fn with_pool(cuts: Arc<Cuts>, pool_bytes: usize) -> Result<Self, QueryError> {
        let runtime = session::runtime(pool_bytes)?;
        let store = ObjectStoreUrl::parse("lake://tables")?;
        runtime.register_object_store(store.as_ref(), cuts.store());
        Ok(Self { cuts, runtime, store })
    }

    /// Answers one statement with what the caller may see.
    pub async fn answer(&self, caller: &Caller, sql: &str) -> Result<Answer, QueryError> {
        let statement = statement::parse(sql)?;
        let Cut { slices, as_of } = self.cuts.cut(time::now())?;
        let tables = slices.into_iter().map(|slice| {
            let name = slice.table.name;
            let table = provider::Fenced::new(slice, self.store.clone(), caller.tenants.clone());
            (name, Arc::new(table) as Arc<dyn TableProvider>)
        });
        let state = session::session(&self.runtime, &caller.tenants, tables.collect())?;
        let plan = state.statement_to_plan(statement).await?;
        SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false)
            .verify_plan(&plan)?;
        let rows = execute(&state, &plan).await?;
        let schema = session::plain(&rows.schema());
        unique(&schema)?;
        Ok(Answer { schema, rows, as_of })
    }
}

async fn execute(state: &SessionState, plan: &LogicalPlan) -> Result<SendableRecordBatchStream, QueryError> {
    growth::check(plan)?;
    let plan = state.optimize(plan)?;
    plan.apply_with_subqueries(|node| {
        let columns = node.schema().fields().len();
        if columns > MAX_COLUMNS {
            return error::refused(format!("a step of the query has {columns} columns; {MAX_COLUMNS} are allowed"));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    let physical = state.query_planner().create_physical_plan(&plan, state).await?;
    Ok(execute_stream(accounted::accounted(physical)?, state.task_ctx())?)
}

/// Refuses two columns of one name: an answer in JSON could show only one of them.
fn unique(schema: &SchemaRef) -> Result<(), QueryError> {
    let mut names: Vec<_> = schema.fields().iter().map(|field| field.name()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair.first() == pair.last()).and_then(|pair| pair.first()) {
        Some(name) => Err(QueryError::Invalid(format!("two columns are named {name}: give one another name with AS"))),
        None => Ok(()),
    }
}

#[cfg(test)]
pub(crate) mod tests;
