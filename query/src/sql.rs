//! The one function that all query surfaces go through: [`Engine::answer`].
//!
//! A question becomes an answer in this order: its turn → [`threads`] of its own → [`statement`] (what may be said) → a cut
//! (`crate::cut`) → [`provider`] (the caller's tables, behind the [`fence`]) → [`session`] (a fresh one) → plan, checked
//! again → a stream of rows → [`encode`]. Whoever drops the answer ends the query.

use std::{sync::Arc, time::Duration};

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
use futures::StreamExt;
use schemas::{policy::Tenants, time};
use tokio::{sync::Semaphore, time::timeout};
use tokio_util::sync::CancellationToken;

use self::encode::{Encoder, Format};
use crate::cut::{AsOf, Cut, Cuts};

mod accounted;
pub mod encode;
pub mod error;
mod exact;
mod fence;
mod functions;
mod growth;
mod json;
mod made;
mod provider;
mod session;
mod span;
mod statement;
mod tag;
mod threads;
pub(crate) mod views;

pub use error::QueryError;
pub(crate) use made::{WATERMARK, WATERMARK_COLUMNS, watermark_schema};
pub(crate) use provider::shown;

/// Who asks, and what they may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The tenants whose rows exist for them.
    pub tenants: Tenants,
}

impl Caller {
    /// Who may read these tenants only, as far as this one may.
    #[must_use]
    pub fn narrowed(&self, mut tenants: Vec<String>) -> Self {
        if let Tenants::Only(own) = &self.tenants {
            tenants.retain(|tenant| own.contains(tenant));
        }
        Self { tenants: Tenants::Only(tenants) }
    }
}

/// An answer, whole.
pub struct Answer {
    /// Its rows, as its format has them.
    pub bytes: Vec<u8>,
    /// How complete it is, as JSON.
    pub as_of: String,
}

/// Answers questions.
pub struct Engine {
    cuts: Arc<Cuts>,
    runtime: Arc<RuntimeEnv>,
    store: ObjectStoreUrl,
    turns: Arc<Semaphore>,
    time: Duration,
}

/// Queries that run at once; each has its share of memory.
const RUNNING: usize = 8;

/// How long a query may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How long a query waits for its turn.
const TURN: Duration = Duration::from_secs(10);

/// The memory that all queries together may use for groups, sorts, joins and windows; beyond it they spill or end.
const POOL_BYTES: usize = 1 << 30;

/// The most columns that a step of a plan may have: 256 columns × 8 MiB of constants = 2 GiB at worst.
const MAX_COLUMNS: usize = 256;

impl Engine {
    /// An engine over the tables of `cuts`.
    pub fn new(cuts: Arc<Cuts>) -> Result<Self, QueryError> {
        Self::with(cuts, POOL_BYTES, TIMEOUT)
    }

    fn with(cuts: Arc<Cuts>, pool_bytes: usize, time: Duration) -> Result<Self, QueryError> {
        let runtime = session::runtime(pool_bytes)?;
        let store = ObjectStoreUrl::parse("lake://tables")?;
        runtime.register_object_store(store.as_ref(), cuts.store());
        Ok(Self { cuts, runtime, store, turns: Arc::new(Semaphore::new(RUNNING)), time })
    }

    /// Answers one statement with what the caller may see.
    pub async fn answer(self: &Arc<Self>, caller: &Caller, sql: &str, format: Format) -> Result<Answer, QueryError> {
        let turn = timeout(TURN, Arc::clone(&self.turns).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(QueryError::Busy) };
        let (engine, caller, sql) = (Arc::clone(self), caller.clone(), sql.to_owned());
        let workers = session::partitions(&caller.tenants);
        let work = move |gone| async move { engine.encoded(&caller, &sql, format, &gone).await };
        let answer = timeout(self.time, threads::run(workers, turn, work)).await;
        answer.unwrap_or_else(|_| Err(QueryError::Timeout(self.time.as_secs())))
    }

    async fn encoded(
        &self,
        caller: &Caller,
        sql: &str,
        format: Format,
        gone: &CancellationToken,
    ) -> Result<Answer, QueryError> {
        let (mut rows, as_of) = self.rows(caller, sql, gone).await?;
        let schema = session::plain(&rows.schema());
        unique(&schema)?;
        let mut encoder = Encoder::new(format, &schema)?;
        while let Some(batch) = rows.next().await {
            encoder.write(&batch?)?;
        }
        let as_of = as_of.json(&caller.tenants);
        Ok(Answer { bytes: encoder.finish(&as_of)?, as_of: as_of.to_string() })
    }

    async fn rows(
        &self,
        caller: &Caller,
        sql: &str,
        gone: &CancellationToken,
    ) -> Result<(SendableRecordBatchStream, AsOf), QueryError> {
        let statement = statement::parse(sql)?;
        let read = views::read(&statement);
        let Cut { slices, as_of } = self.cuts.cut(time::now())?;
        let mut tables = made::tables(&as_of, &caller.tenants, &read, self.cuts.imports()).await?;
        tables.extend(slices.into_iter().map(|slice| {
            let name = slice.table.name;
            let table = provider::Fenced::new(slice, self.store.clone(), caller.tenants.clone());
            (name, Arc::new(table) as Arc<dyn TableProvider>)
        }));
        let (state, public) = session::open(&self.runtime, &caller.tenants, tables, views::shapes())?;
        views::register(&state, public.as_ref(), &read)?;
        let plan = state.statement_to_plan(statement).await?;
        SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false)
            .verify_plan(&plan)?;
        Ok((execute(&state, &plan, gone).await?, as_of))
    }
}

/// The text of a statement that may be planned, or why it may not: for the target of fuzz/, which is nobody else's. No feature
/// hides it, because only the root package's own tests could turn one on, and they may be built without this crate.
#[doc(hidden)]
pub fn understood(sql: &str) -> Result<String, QueryError> {
    statement::parse(sql).map(|statement| statement.to_string())
}

#[cfg(test)]
impl Engine {
    /// How many queries could begin now.
    pub(crate) fn idle_turns(&self) -> usize {
        self.turns.available_permits()
    }
}

async fn execute(
    state: &SessionState,
    plan: &LogicalPlan,
    gone: &CancellationToken,
) -> Result<SendableRecordBatchStream, QueryError> {
    growth::check(plan)?;
    let plan = state.optimize(plan)?;
    growth::calls(&plan)?;
    plan.apply_with_subqueries(|node| {
        let columns = node.schema().fields().len();
        if columns > MAX_COLUMNS {
            return error::refused(format!("a step of the query has {columns} columns; {MAX_COLUMNS} are allowed"));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    let physical = state.query_planner().create_physical_plan(&plan, state).await?;
    Ok(execute_stream(accounted::accounted(physical, gone)?, state.task_ctx())?)
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
