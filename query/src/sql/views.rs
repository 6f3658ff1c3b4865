//! The views: documented queries that everybody sees as tables.
//!
//! A view is planned over the caller's own tables, behind the same fence, and only where a statement names it. It may build on views
//! before it in [`ALL`].

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, LazyLock},
};

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::{
    catalog::{SchemaProvider, TableProvider},
    common::{Result, internal_datafusion_err},
    datasource::ViewTable,
    execution::session_state::SessionState,
    sql::parser::Statement,
};
use futures::FutureExt as _;
use schemas::policy::Tenants;

use super::{made, moments, provider, session, statement};
use crate::{
    described::{Described, Documented},
    table::TableDef,
};

macro_rules! views {
    ($($name:literal)*) => {
        &[$(($name, include_str!(concat!("../views/", $name, ".sql"))),)*]
    };
}

/// The files, each after those that it builds on.
const FILES: &[(&str, &str)] = views! {
    "attempts" "daily_spend" "effective_prices" "unpriced" "budgets" "overspend" "other_prices" "cache_savings" "corrections" "cash_and_accrual"
    "refused_demand" "ownership" "commitment_use" "lateness" "focus"
};

/// A view, as far as it is known without a caller.
pub(crate) struct View {
    /// What it is.
    pub(crate) described: Described,
    /// The tables and views that it reads.
    reads: HashSet<String>,
}

/// What the file of each says, without its statement being read.
static HEADS: LazyLock<Vec<Described>> =
    LazyLock::new(|| FILES.iter().map(|(name, text)| Described::of(name, text)).collect());

/// Every view.
pub(crate) static ALL: LazyLock<Vec<View>> = LazyLock::new(|| {
    let view = |described: &Described| {
        // A test plans every view; one that could not be parsed would be missing.
        let reads = statement::parse(described.sql, None).map(|statement| named(&statement)).unwrap_or_default();
        View { described: described.clone(), reads }
    };
    HEADS.iter().map(view).collect()
});

/// How many tables a statement comes to that names a view, by its name. By the words of its file, since the statement that asks is
/// still being read.
pub(crate) fn costs() -> HashMap<String, u64> {
    static COSTS: LazyLock<HashMap<String, u64>> = LazyLock::new(|| {
        let tables = |text: &str| text.matches("FROM ").count() + text.matches("JOIN ").count();
        let cost = |(name, text): &(&str, &str)| ((*name).to_owned(), u64::try_from(tables(text)).unwrap_or(u64::MAX));
        FILES.iter().map(cost).collect()
    });
    COSTS.clone()
}

/// The names of all views.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(name, _)| *name)
}

/// Whether there is a view among what a statement reads.
pub(crate) fn are_among(read: &HashSet<String>) -> bool {
    names().any(|name| read.contains(name))
}

/// What the file of a view says of it.
pub(crate) fn described(name: &str) -> Option<&'static Described> {
    HEADS.iter().find(|view| view.name == name)
}

/// The columns of a view, as its file documents them.
pub(crate) fn columns_of(name: &str) -> &'static [Documented] {
    described(name).map_or(&[], |view| &view.columns)
}

/// The names of all tables in a statement.
pub(crate) fn named(statement: &Statement) -> HashSet<String> {
    let found = datafusion::sql::resolve::resolve_table_references(statement, true);
    let (tables, _) = found.unwrap_or_default();
    tables.iter().map(|table| table.table().to_owned()).collect()
}

/// Everything that a statement reads, with what the views that it names read.
pub(crate) fn read(statement: &Statement) -> HashSet<String> {
    let mut read = named(statement);
    for view in ALL.iter().rev() {
        if read.contains(view.described.name) {
            read.extend(view.reads.iter().cloned());
        }
    }
    read
}

/// Makes the views among `read` tables of a session.
pub(crate) fn register(state: &SessionState, public: &dyn SchemaProvider, read: &HashSet<String>) -> Result<()> {
    for view in ALL.iter().filter(|view| read.contains(view.described.name)) {
        let table = planned(state, view)?;
        public.register_table(view.described.name.to_owned(), table)?;
    }
    Ok(())
}

fn planned(state: &SessionState, view: &View) -> Result<Arc<dyn TableProvider>> {
    let name = view.described.name;
    let statement =
        statement::parse(view.described.sql, None).map_err(|error| internal_datafusion_err!("view {name}: {error}"))?;
    // All tables are in memory, so nothing of it waits.
    let plan = state.statement_to_plan(statement).now_or_never();
    let plan = plan.ok_or_else(|| internal_datafusion_err!("view {name} waits for something"))??;
    Ok(Arc::new(ViewTable::new(plan, None)))
}

/// The schema of every view.
pub(crate) fn shapes() -> &'static [(&'static str, SchemaRef)] {
    static SHAPES: LazyLock<Vec<(&'static str, SchemaRef)>> = LazyLock::new(|| {
        let shapes = try_shapes();
        if let Err(error) = &shapes {
            tracing::error!(%error, "a view cannot be planned; its columns are not listed");
        }
        shapes.unwrap_or_default()
    });
    &SHAPES
}

fn try_shapes() -> Result<Vec<(&'static str, SchemaRef)>> {
    let nobody = Tenants::Only(Vec::new());
    let mut tables = made::empty()?;
    for table in TableDef::shown() {
        let rows = arrow::array::RecordBatch::new_empty(provider::shown(table, &nobody));
        tables.insert(table.name, provider::in_memory(rows)?);
    }
    let names: HashSet<String> = names().map(str::to_owned).collect();
    let (state, public) = session::open(&session::runtime(1 << 20)?, &nobody, tables, &[], None, false)?;
    register(&state, public.as_ref(), &names)?;
    let mut shapes = Vec::with_capacity(FILES.len());
    for (name, _) in FILES {
        let table = public.table(name).now_or_never().transpose()?.flatten();
        // Types are settled by the rules that come before a plan is run: money may be a whole number until then. Times are of
        // microseconds after that, as in every answer.
        let plan = table.as_ref().and_then(|table| table.get_logical_plan());
        let plan = plan.map(|plan| moments::in_micros(state.optimize(&plan)?)).transpose()?;
        let schema = plan.map_or_else(|| Arc::new(Schema::empty()), |plan| session::plain(plan.schema().as_arrow()));
        shapes.push((*name, schema));
    }
    Ok(shapes)
}
