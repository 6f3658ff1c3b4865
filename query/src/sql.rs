//! The one function that all query surfaces go through: [`Engine::ask`].
//!
//! A question becomes an answer in this order: its turn → [`threads`] of its own → [`statement`] (what may be said) → a cut
//! (`crate::cut`) → [`provider`] (the caller's tables, behind the [`fence`]) → [`session`] (a fresh one) → plan, checked
//! again → [`rows`], a piece at a time, as the surface writes them ([`encode`]). Whoever drops the answer ends the query.

use std::{collections::HashSet, sync::Arc, time::Duration};

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::{
    catalog::TableProvider,
    common::{
        ScalarValue,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    execution::{
        SendableRecordBatchStream, context::SQLOptions, object_store::ObjectStoreUrl, runtime_env::RuntimeEnv,
        session_state::SessionState,
    },
    logical_expr::{Expr, LogicalPlan},
    physical_plan::execute_stream,
};
use schemas::{
    policy::{Digest, Tenants},
    time,
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::{
    encode::{Encoder, Format},
    instant::Instants,
    turns::{Turn, Turns},
};
pub(crate) use self::{
    question::Question,
    reading::{Reading, arrays, bytea, shown as in_text, types},
    rows::{Head, Rows, Write},
};
use crate::{
    access::Grant,
    cut::{AsOf, Cut, Cuts},
    imports,
    table::TableDef,
};

mod accounted;
mod age;
mod around;
mod beside;
mod bucket;
mod ceiled;
mod chr;
mod clock;
mod coalesce;
mod dated;
pub mod encode;
pub mod error;
mod exact;
mod fence;
mod figures;
mod format;
mod from_parts;
mod functions;
mod gate;
mod growth;
mod implied;
mod indexed;
mod instant;
mod interpolated;
mod interval;
mod joined;
mod json;
mod keys;
mod lengths;
mod logarithm;
mod made;
mod md5;
mod modulo;
pub(crate) mod moment;
mod moments;
mod numeric;
mod ordered;
mod parts;
mod pass;
mod pattern;
mod percentile;
mod provider;
mod question;
mod quotient;
mod ranked;
mod reading;
mod reads;
mod replacement;
mod rolled;
mod rounded;
mod rowless;
mod rows;
mod runs;
mod scaled;
mod series;
mod session;
mod shape;
mod shared;
mod shifted;
mod sides;
mod span;
mod statement;
mod steps;
mod summed;
mod sums;
mod tag;
mod threads;
mod trunc;
mod turns;
mod typed;
mod united;
mod unordered;
pub(crate) mod views;
mod whole;

pub(crate) use clock::offset;
pub use error::QueryError;
pub(crate) use interval::in_units;
pub(crate) use made::MADE;
pub(crate) use percentile::Sketch;
pub(crate) use provider::shown;
/// For the target of fuzz/, which is nobody else's.
#[doc(hidden)]
pub use reading::arrays::elements as array_elements;
pub(crate) use reading::catalog::{DATABASE, SCHEMA, Shown, remarks};
pub(crate) use statement::MAX_SQL_BYTES;
pub(crate) use tag::tag_of;

/// Who asks, and what they may read.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The tenants whose rows exist for them.
    pub tenants: Tenants,
    /// The access that says so; none where no token was shown, as by this process itself.
    grant: Option<Grant>,
}

impl Caller {
    /// Who may read these tenants, whatever becomes of the policy.
    #[must_use]
    pub const fn of(tenants: Tenants) -> Self {
        Self { tenants, grant: None }
    }

    /// Who may read these tenants by the access of a token.
    pub(crate) const fn by(tenants: Tenants, grant: Grant) -> Self {
        Self { tenants, grant: Some(grant) }
    }

    /// The token that was shown.
    fn token(&self) -> Option<Digest> {
        self.grant.as_ref().map(Grant::token)
    }

    /// Whether they may still read what they could when they asked.
    fn stands(&mut self) -> bool {
        self.grant.as_mut().is_none_or(|grant| grant.covers(&self.tenants))
    }

    /// Who may read these tenants only, as far as this one may.
    #[must_use]
    pub fn narrowed(&self, mut tenants: Vec<String>) -> Self {
        if let Tenants::Only(own) = &self.tenants {
            tenants.retain(|tenant| own.contains(tenant));
        }
        Self { tenants: Tenants::Only(tenants), grant: self.grant.clone() }
    }
}

/// Answers questions.
pub struct Engine {
    cuts: Arc<Cuts>,
    runtime: Arc<RuntimeEnv>,
    store: ObjectStoreUrl,
    turns: Arc<Turns>,
    time: Duration,
}

/// Queries that run at once, of all tokens ([`turns`]); each has its share of memory.
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
        // What the catalog tells of views is worked out once, and not while somebody waits for an answer.
        let shapes = || async {
            views::shapes();
        };
        threads::spawn(1, (), CancellationToken::new(), shapes)?;
        Self::with(cuts, POOL_BYTES, TIMEOUT)
    }

    fn with(cuts: Arc<Cuts>, pool_bytes: usize, time: Duration) -> Result<Self, QueryError> {
        let runtime = session::runtime(pool_bytes)?;
        let store = ObjectStoreUrl::parse("lake://tables")?;
        runtime.register_object_store(store.as_ref(), cuts.store());
        Ok(Self { cuts, runtime, store, turns: Turns::new(RUNNING), time })
    }

    /// Answers one statement with what the caller may see: the one way in. The answer is made a piece at a time, by what `writer`
    /// makes of its columns.
    pub(crate) async fn ask<W: Write>(
        self: &Arc<Self>,
        caller: &Caller,
        question: Question,
        writer: impl FnOnce(&Head) -> Result<W, QueryError> + Send + 'static,
    ) -> Result<(Head, Rows<W::Piece>), QueryError> {
        let turn = self.turn(caller).await.inspect_err(|error| rows::count(error.code().code()))?;
        let time = question.within.map_or(self.time, |within| within.min(self.time));
        let (giving, gone, asked) = rows::channel(time, caller.clone());
        let (engine, caller, ending) = (Arc::clone(self), caller.clone(), gone.clone());
        let workers = session::partitions(&caller.tenants);
        let work = async move || {
            let begun = engine.begin(&caller, question, &ending).await;
            giving.all(begun.and_then(|(rows, head)| Ok((rows, writer(&head)?, head)))).await;
        };
        threads::spawn(workers, turn, gone, work)?;
        asked.begun().await
    }

    /// A whole answer to a plain statement.
    pub(crate) async fn answer(
        self: &Arc<Self>,
        caller: &Caller,
        sql: &str,
        format: Format,
    ) -> Result<Vec<u8>, QueryError> {
        self.whole(caller, Question::plain(sql), format).await
    }

    /// A whole answer.
    pub(crate) async fn whole(
        self: &Arc<Self>,
        caller: &Caller,
        question: Question,
        format: Format,
    ) -> Result<Vec<u8>, QueryError> {
        let (of, tenants) = (format, caller.tenants.clone());
        let (_, mut rows) = self.ask(caller, question, move |head| Encoder::new(of, head, &tenants)).await?;
        let mut bytes = Vec::new();
        while let Some(piece) = rows.next().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// What a statement takes and gives, without running it: with the values of its parameters, if those came.
    pub(crate) async fn describe(
        self: &Arc<Self>,
        caller: &Caller,
        question: Question,
    ) -> Result<Described, QueryError> {
        let turn = self.turn(caller).await?;
        let time = question.within.map_or(self.time, |within| within.min(self.time));
        let (giving, gone, asked) = rows::channel(time, caller.clone());
        let (engine, caller) = (Arc::clone(self), caller.clone());
        let work = async move || {
            let planned = engine.plan(&caller, &question, None).await;
            giving.one(planned.and_then(|planned| planned.described(question))).await;
        };
        threads::spawn(1, turn, gone, work)?;
        let mut rows = asked.rows;
        rows.next().await?.ok_or(QueryError::Internal)
    }

    /// Waits for a place among the queries that run.
    async fn turn(&self, caller: &Caller) -> Result<Turn, QueryError> {
        match timeout(TURN, self.turns.ask(caller.token())).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(QueryError::Busy),
        }
    }

    /// The tables of a cut as a caller may see them.
    async fn tables(&self, cut: &Cut, tenants: &Tenants, read: &HashSet<String>) -> Result<made::Tables, QueryError> {
        let mut tables = made::tables(&cut.as_of, tenants, read, self.cuts.imports()).await?;
        tables.extend(cut.slices.iter().map(|slice| {
            let table = provider::Fenced::new(slice.clone(), self.store.clone(), tenants.clone());
            (slice.table.name, Arc::new(table) as Arc<dyn TableProvider>)
        }));
        Ok(tables)
    }

    /// A plan over the caller's tables, and how complete they are. What has to be asked first to make a table is asked until `gone`, and
    /// not at all where the plan is only looked at.
    async fn plan(
        &self,
        caller: &Caller,
        question: &Question,
        gone: Option<&CancellationToken>,
    ) -> Result<Planned, QueryError> {
        let reading = question.reading.as_deref();
        let statement = statement::parse(&question.sql, reading)?;
        let read = views::read(&statement);
        let cut = self.cuts.cut(time::now())?;
        let mut tables = self.tables(&cut, &caller.tenants, &read).await?;
        if let Some(gone) = gone {
            self.add_made(&cut, &caller.tenants, &read, &mut tables, gone).await?;
        }
        if let Some(limits) = self.cuts.limits_of(&caller.tenants)
            && let Some(refusals) = tables.remove("refusals")
        {
            tables.insert("refusals", made::own_counters(refusals, &limits)?);
        }
        let reading = reading.map(|reading| reading.over(views::are_among(&read)));
        let (state, public) = session::open(
            &self.runtime,
            &caller.tenants,
            tables,
            views::shapes(),
            reading.as_deref(),
            question.rollups,
        )?;
        views::register(&state, public.as_ref(), &read)?;
        let instants = Instants::of(reading.as_ref().and_then(|reading| reading.zone.clone()), reading.is_some());
        let plan = question::agreed(series::asked(state.statement_to_plan(statement).await?)?)?;
        let plan = united::united(plan, &instants)?;
        let plan = around::sound(keys::in_sets(rowless::nullable(summed::divided(plan)?)?)?)?;
        SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false)
            .verify_plan(&plan)?;
        Ok(Planned { state, plan, as_of: cut.as_of })
    }

    async fn begin(
        &self,
        caller: &Caller,
        question: Question,
        gone: &CancellationToken,
    ) -> Result<(SendableRecordBatchStream, Head), QueryError> {
        let Planned { state, plan, as_of } = self.plan(caller, &question, Some(gone)).await?;
        let plan = question.bound(plan, zone(&state))?;
        let rows = execute(&state, &plan, gone).await?;
        let schema = session::plain(&rows.schema());
        Ok((rows, Head { schema, as_of }))
    }
}

/// The text of a statement that may be planned, or why it may not: for the target of fuzz/, which is nobody else's. No feature
/// hides it, because only the root package's own tests could turn one on, and they may be built without this crate.
#[doc(hidden)]
pub fn understood(sql: &str) -> Result<String, QueryError> {
    statement::parse(sql, None).map(|statement| statement.to_string())
}

#[cfg(test)]
impl Engine {
    /// How many queries could begin now.
    pub(crate) fn idle_turns(&self) -> usize {
        self.turns.free()
    }
}

/// A statement that is planned.
struct Planned {
    state: SessionState,
    plan: LogicalPlan,
    as_of: AsOf,
}

/// What a statement takes and gives.
#[derive(Clone, Debug)]
pub(crate) struct Described {
    /// By number, the types of its parameters, as far as they are known.
    pub(crate) parameters: Vec<Option<DataType>>,
    /// Its columns.
    pub(crate) schema: SchemaRef,
}

impl Planned {
    fn described(self, question: Question) -> Result<Described, QueryError> {
        growth::check(&self.plan)?;
        let parameters = question::described(&self.plan, question.reading.as_deref())?;
        // Types of columns are settled by the rules that come before a plan is run, and those want values.
        let known = parameters.clone();
        let question = if question.is_bound() { question } else { question.with(move |_, _| absent(&known)) };
        let plan = question.bound(self.plan, zone(&self.state))?;
        let plan = moments::in_micros(self.state.optimize(&plan)?)?;
        Ok(Described { parameters, schema: session::plain(plan.schema().as_arrow()) })
    }
}

/// The zone that a statement is read in.
fn zone(state: &SessionState) -> &str {
    state.config_options().execution.time_zone.as_deref().unwrap_or("UTC")
}

/// A NULL for each parameter, of its type as far as that is known.
fn absent(types: &[Option<DataType>]) -> Result<Vec<ScalarValue>, QueryError> {
    Ok(types
        .iter()
        .map(|kind| ScalarValue::try_from(kind.as_ref().unwrap_or(&DataType::Utf8)))
        .collect::<Result<_, _>>()?)
}

/// The tables of a caller, and the views over these, in the order of their names.
pub(crate) fn relations(tenants: &Tenants) -> Vec<Shown> {
    let tables = TableDef::shown().map(|table| (table.name, shown(table, tenants)));
    let others = imports::ALL.iter().chain(MADE).map(|table| (table.name, table.schema()));
    let tables = tables.chain(others);
    let tables = tables.map(|(name, schema)| Shown { name, schema, is_view: false });
    let views = views::shapes().iter().map(|(name, schema)| Shown { name, schema: Arc::clone(schema), is_view: true });
    let mut all: Vec<Shown> = tables.chain(views).collect();
    all.sort_by_key(|one| one.name);
    all
}

/// What the engine has no plan for, and would say in words of its own.
const APART: &str = "a query within another names columns of that, and cannot be joined with it: write a JOIN, or for the first rows of each \
                     row_number() OVER (PARTITION BY …) in a query within FROM";

/// The same of what is looked for in a query and shown.
const SHOWN: &str = "what is looked for in a query is a condition of WHERE, HAVING or ON; where it is shown, write EXISTS (SELECT 1 FROM … WHERE \
                     y = x) in the place of x IN (SELECT y FROM …)";

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
        node.apply_expressions(|expr| {
            expr.apply(|part| match part {
                Expr::OuterReferenceColumn(..) => error::refused(APART),
                Expr::InSubquery(_) | Expr::SetComparison(_) => error::refused(SHOWN),
                _ => Ok(TreeNodeRecursion::Continue),
            })
        })
    })?;
    let plan = keys::called(moments::in_micros(plan)?)?;
    let physical = state.query_planner().create_physical_plan(&plan, state).await?;
    let physical = accounted::accounted(unordered::unordered(runs::by_runs(physical)?)?, gone)?;
    Ok(execute_stream(physical, state.task_ctx())?)
}

#[cfg(test)]
pub(crate) mod tests;
