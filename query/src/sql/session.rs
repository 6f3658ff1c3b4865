//! A fresh session for each request: its own catalog with the caller's tables, the allowed functions, and limits.
//!
//! Sessions share only the runtime: memory pool, temporary files, metadata cache and object store. The engine's own
//! information schema is off; ours names the caller's tables and nothing else.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{ArrayRef, Int32Array, RecordBatch, StringArray},
    datatypes::{Schema, SchemaRef},
};
use datafusion::{
    catalog::{
        CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, MemorySchemaProvider,
        SchemaProvider, TableProvider,
    },
    common::{DFSchema, Result},
    execution::{
        FunctionRegistry, SessionStateBuilder,
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        memory_pool::FairSpillPool,
        runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
        session_state::SessionState,
    },
    functions, functions_aggregate, functions_window,
    logical_expr::{
        Expr,
        expr::ScalarFunction,
        planner::{ExprPlanner, PlannerResult, RawBinaryExpr},
    },
    optimizer::{Optimizer, OptimizerRule, push_down_filter::PushDownFilter},
    prelude::SessionConfig,
    sql::sqlparser::ast::BinaryOperator,
};
use schemas::policy::Tenants;

use super::{
    beside::Beside,
    clock::Shifts,
    dated::Dated,
    encode, exact, functions as allowed,
    implied::Implied,
    instant::Instants,
    joined, lengths, moments,
    parts::Extract,
    provider,
    quotient::Divide,
    ranked::Ranked,
    reading::{
        Reading,
        catalog::{Catalog, DATABASE as CATALOG, MadeOf, SCHEMA, Shown},
        shown::InText,
        zone::InZone,
    },
    rolled::Rollups,
    scaled::Scale,
    series, shifted, sides,
    typed::Typed,
    whole,
};

/// The temporary space that all queries together may use.
const SPILL_BYTES: u64 = 4 << 30;

/// The memory in which footers and page indexes of files are kept, beside the pool.
const FOOTER_BYTES: usize = 128 << 20;

/// What sessions share.
pub(crate) fn runtime(pool_bytes: usize) -> Result<Arc<RuntimeEnv>> {
    let disk = DiskManagerBuilder::default()
        .with_mode(DiskManagerMode::OsTmpDirectory)
        .with_max_temp_directory_size(SPILL_BYTES);
    RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(pool_bytes)))
        .with_disk_manager_builder(disk)
        .with_metadata_cache_limit(FOOTER_BYTES)
        .build_arc()
}

/// A session in which only these tables exist, and its schema, which those of `views` that are read may still be added to. Its plans may
/// read `rollups` in the place of rows, or not.
pub(crate) fn open(
    runtime: &Arc<RuntimeEnv>,
    tenants: &Tenants,
    tables: HashMap<&'static str, Arc<dyn TableProvider>>,
    views: &[(&'static str, SchemaRef)],
    reading: Option<&Reading>,
    rollups: bool,
) -> Result<(SessionState, Arc<dyn SchemaProvider>)> {
    let others = beside(&tables, views, reading)?;
    let public: Arc<dyn SchemaProvider> = Arc::new(MemorySchemaProvider::new());
    for (name, table) in tables {
        public.register_table(name.to_owned(), table)?;
    }
    let catalog = MemoryCatalogProvider::new();
    catalog.register_schema(SCHEMA, Arc::clone(&public))?;
    for (name, schema) in others {
        catalog.register_schema(name, schema)?;
    }
    let catalogs = MemoryCatalogProviderList::new();
    catalogs.register_catalog(CATALOG.to_owned(), Arc::new(catalog));
    let zone = reading.and_then(|reading| reading.zone.clone());
    let instants = Arc::new(Instants::of(zone.clone(), reading.is_some()));
    let mut state = SessionStateBuilder::new()
        .with_config(config(tenants, reading))
        .with_runtime_env(Arc::clone(runtime))
        .with_catalog_list(Arc::new(catalogs))
        .with_scalar_functions(allowed::scalar())
        .with_aggregate_functions(allowed::aggregate())
        .with_window_functions(allowed::window())
        .with_table_function_list(vec![series::series()])
        .with_expr_planners(planners(&instants))
        .with_optimizer_rules(optimizers(rollups))
        .with_physical_optimizer_rules(sides::rules(*tenants != Tenants::All))
        .build();
    for rule in exact::rules() {
        state.add_analyzer_rule(rule);
    }
    state.add_analyzer_rule(Arc::new(lengths::Ordered));
    state.register_function_rewrite(Arc::new(Beside))?;
    state.register_function_rewrite(Arc::new(Dated))?;
    state.register_function_rewrite(Arc::new(whole::Places))?;
    state.register_function_rewrite(instants)?;
    state.register_function_rewrite(Arc::new(InText::of(zone.clone(), reading.is_some())))?;
    if let Some(zone) = zone {
        state.register_function_rewrite(Arc::new(InZone(zone)))?;
    }
    state.register_function_rewrite(Arc::new(Shifts))?;
    state.register_function_rewrite(Arc::new(moments::Fit))?;
    state.register_function_rewrite(Arc::new(lengths::Compared { settled: false }))?;
    // The instant that `now()` and `current_date` stand for; without it they fail.
    state.mark_start_execution();
    Ok((state, public))
}

/// In how many parts a query is run. Those of callers behind the fence run in one, so that the order of rows, and which
/// error is met first, do not depend on how the rows of others split the work.
pub(crate) fn partitions(tenants: &Tenants) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if *tenants == Tenants::All { cores } else { 1 }
}

fn config(tenants: &Tenants, reading: Option<&Reading>) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(false)
        .with_target_partitions(partitions(tenants));
    let options = config.options_mut();
    options.execution.enable_recursive_ctes = false;
    // The newer aggregation fails where this one spills (measured with 55.2).
    options.execution.enable_migration_aggregate = false;
    options.execution.parquet.pushdown_filters = true;
    options.execution.parquet.reorder_filters = true;
    // `cost_usd * 1.1` stays exact.
    options.sql_parser.parse_float_as_decimal = true;
    options.explain.logical_plan_only = true;
    // Without one, what is written as an instant (`timestamptz '…Z'`) would be a time without a zone.
    let zone = reading.and_then(|reading| reading.zone.as_deref()).unwrap_or("UTC");
    options.execution.time_zone = Some(zone.to_owned());
    config
}

/// The engine's rules, and ours where each has what it needs: what conditions imply of the time once constants are calculated, and again
/// for those that were brought below groups, as a view's are, before they are brought to the scans; and rollups, if they may be read, after
/// everything.
fn optimizers(rollups: bool) -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = Vec::new();
    for rule in Optimizer::new().rules {
        let (simple, pushed) = (rule.name() == "simplify_expressions", rule.name() == "push_down_filter");
        rules.push(rule);
        if simple || pushed {
            rules.push(Arc::new(Implied));
        }
        if pushed {
            rules.push(Arc::new(PushDownFilter::new()));
        }
    }
    if rollups {
        rules.push(Arc::new(Rollups));
    }
    rules
}

/// How operators become functions. Arrays, maps and structs have no planner and so cannot be written.
fn planners(instants: &Arc<Instants>) -> Vec<Arc<dyn ExprPlanner>> {
    let instants = Arc::clone(instants);
    vec![
        Arc::new(Typed),
        instants,
        Arc::new(Concat),
        Arc::new(Scale),
        Arc::new(Divide),
        Arc::new(lengths::Quoted),
        Arc::new(moments::Fit),
        Arc::new(Extract),
        Arc::new(Ranked),
        Arc::new(shifted::Defaulted),
        Arc::new(joined::Unordered),
        Arc::new(functions::unicode::planner::UnicodeFunctionPlanner),
        Arc::new(functions_aggregate::planner::AggregateFunctionPlanner),
        Arc::new(functions_window::planner::WindowFunctionPlanner),
    ]
}

/// Plans `||` as a function with a bound; the engine's own operator has none.
#[derive(Debug)]
struct Concat;

impl ExprPlanner for Concat {
    fn plan_binary_op(&self, expr: RawBinaryExpr, _: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        if expr.op != BinaryOperator::StringConcat {
            return Ok(PlannerResult::Original(expr));
        }
        let concat = ScalarFunction::new_udf(allowed::strict_concat(), vec![expr.left, expr.right]);
        Ok(PlannerResult::Planned(Expr::ScalarFunction(concat)))
    }
}

/// The schemas beside that of the tables, by name.
fn beside(
    tables: &HashMap<&'static str, Arc<dyn TableProvider>>,
    views: &[(&'static str, SchemaRef)],
    reading: Option<&Reading>,
) -> Result<Vec<(&'static str, Arc<dyn SchemaProvider>)>> {
    let Some(reading) = reading else {
        return Ok(vec![("information_schema", Arc::new(information_schema(tables, views)?))]);
    };
    let tables = tables.iter().map(|(name, table)| Shown { name, schema: table.schema(), is_view: false });
    let views = views.iter().map(|(name, schema)| Shown { name, schema: Arc::clone(schema), is_view: true });
    let made_of = MadeOf::new(tables.chain(views).collect(), reading);
    let catalog = |name| (name, Catalog::new(name, &made_of) as Arc<dyn SchemaProvider>);
    Ok(["pg_catalog", "information_schema"].map(catalog).to_vec())
}

/// `information_schema.tables` and `.columns` of the caller's tables and of the views.
fn information_schema(
    tables: &HashMap<&'static str, Arc<dyn TableProvider>>,
    views: &[(&'static str, SchemaRef)],
) -> Result<MemorySchemaProvider> {
    let mut named: Vec<(&str, SchemaRef)> = tables.iter().map(|(name, table)| (*name, table.schema())).collect();
    named.extend(views.iter().map(|(name, schema)| (*name, Arc::clone(schema))));
    named.sort_by_key(|(name, _)| *name);
    let columns: Vec<(&str, usize, &arrow::datatypes::Field)> = named
        .iter()
        .flat_map(|(name, schema)| schema.fields().iter().enumerate().map(|(at, field)| (*name, at, field.as_ref())))
        .collect();
    let kinds = named.iter().map(|(name, _)| if tables.contains_key(name) { "BASE TABLE" } else { "VIEW" });
    let kinds: ArrayRef = Arc::new(StringArray::from_iter_values(kinds));
    let same = |text: &str, rows: usize| -> ArrayRef { Arc::new(StringArray::from(vec![text; rows])) };
    let tables = RecordBatch::try_from_iter([
        ("table_catalog", same(CATALOG, named.len())),
        ("table_schema", same(SCHEMA, named.len())),
        ("table_name", Arc::new(StringArray::from_iter_values(named.iter().map(|(name, _)| *name))) as ArrayRef),
        ("table_type", kinds),
    ])?;
    let positions = columns.iter().map(|(_, at, _)| i32::try_from(*at).map_or(i32::MAX, |at| at.saturating_add(1)));
    let columns = RecordBatch::try_from_iter([
        ("table_catalog", same(CATALOG, columns.len())),
        ("table_schema", same(SCHEMA, columns.len())),
        ("table_name", Arc::new(StringArray::from_iter_values(columns.iter().map(|(name, ..)| *name))) as ArrayRef),
        ("column_name", Arc::new(StringArray::from_iter_values(columns.iter().map(|(.., field)| field.name())))),
        ("ordinal_position", Arc::new(Int32Array::from_iter_values(positions))),
        ("is_nullable", same("YES", columns.len())),
        (
            "data_type",
            Arc::new(StringArray::from_iter_values(
                columns.iter().map(|(.., field)| encode::sql_type(field.data_type())),
            )),
        ),
    ])?;
    let provider = MemorySchemaProvider::new();
    provider.register_table("tables".to_owned(), provider::in_memory(tables)?)?;
    provider.register_table("columns".to_owned(), provider::in_memory(columns)?)?;
    Ok(provider)
}

/// A schema without its metadata, as answers show it.
pub(crate) fn plain(schema: &Schema) -> SchemaRef {
    Arc::new(Schema::new(schema.fields().clone()))
}
