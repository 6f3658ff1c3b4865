//! Tables that are made for a query and are not read from the ledger's tables: how complete the answer is, and what was imported.
//!
//! So is what a limit that others use too shows of them in `refusals` ([`own_counters`]).
//!
//! Rows that the caller may not see are left out here, so nothing above can know of them. Imports are read only where the statement
//! names them.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, TimestampMicrosecondArray},
    compute::{concat_batches, filter_record_batch},
};
use datafusion::{
    catalog::TableProvider,
    common::{Result, ScalarValue},
    datasource::{ViewTable, provider_as_source},
    logical_expr::{LogicalPlanBuilder, ident, lit, when},
};
use schemas::policy::Tenants;

use super::{QueryError, provider};
use crate::{
    cut::AsOf,
    error::Error,
    imports::{ALL, Imported, Imports},
    table::{Column, Kind, draws, parts},
};

/// The tables of a query, by name.
pub(crate) type Tables = HashMap<&'static str, Arc<dyn TableProvider>>;

/// How complete an answer is, as a table.
const WATERMARK: &str = "watermark";

/// What the tables that are made of no import mean.
pub(crate) const MADE: &[Imported] = &[
    Imported::made(
        WATERMARK,
        "How complete the answer is: one row.",
        &[
            Column {
                name: "complete_through",
                kind: Kind::Time,
                doc: "Every call admitted before this is in the answer; NULL while no gateway has been heard. Who may not read every tenant sees a \
                      moment that the open calls of others do not change: about an hour earlier.",
            },
            Column {
                name: "waiting_for",
                kind: Kind::Long,
                doc: "How many gateways hold it back; for who may not read every tenant, how many are silent.",
            },
        ],
    ),
    parts::TABLE,
    draws::TABLE,
];

/// The same tables without rows.
pub(crate) fn empty() -> Result<Tables> {
    let mut tables = Tables::new();
    for table in ALL.iter().chain(MADE) {
        tables.insert(table.name, provider::in_memory(RecordBatch::new_empty(table.schema()))?);
    }
    Ok(tables)
}

/// The tables, as a caller may see them, of a query that reads `read`.
pub(crate) async fn tables(
    as_of: &AsOf,
    tenants: &Tenants,
    read: &HashSet<String>,
    imports: Option<&Imports>,
) -> Result<Tables, QueryError> {
    let mut tables = empty()?;
    let through = as_of.through(tenants);
    let waiting = i64::try_from(as_of.waiting_for(tenants).count()).unwrap_or(i64::MAX);
    let through: ArrayRef =
        Arc::new(TimestampMicrosecondArray::from(vec![through.map(|time| time.as_micros())]).with_timezone("UTC"));
    let waiting: ArrayRef = Arc::new(Int64Array::from(vec![waiting]));
    let schema = MADE.iter().find(|made| made.name == WATERMARK).map(Imported::schema).ok_or(Error::Shape)?;
    let row = RecordBatch::try_new(schema, vec![through, waiting]).map_err(Error::from)?;
    tables.insert(WATERMARK, provider::in_memory(row)?);
    let Some(imports) = imports else { return Ok(tables) };
    for table in ALL.iter().filter(|table| read.contains(table.name)) {
        let rows = concat_batches(&table.schema(), &imports.rows(table).await?).map_err(Error::from)?;
        tables.insert(table.name, provider::in_memory(visible(&rows, tenants)?)?);
    }
    Ok(tables)
}

/// The refusals of a caller who may not read every tenant: what was settled and held only of `limits`, which are by tenant. Of any other, and
/// of one that is no more, these count the calls of others.
pub(crate) fn own_counters(refusals: Arc<dyn TableProvider>, limits: &[String]) -> Result<Arc<dyn TableProvider>> {
    let columns = refusals.schema();
    let names = columns.fields().iter().map(|field| field.name().clone());
    let plan = LogicalPlanBuilder::scan("refusals", provider_as_source(refusals), None)?;
    let shown = names.map(|name| {
        let value = ident(name.as_str());
        if !["settled", "held"].contains(&name.as_str()) {
            return Ok(value);
        }
        let limits: Vec<_> = limits.iter().map(|limit| lit(limit.as_str())).collect();
        let own = if limits.is_empty() { lit(false) } else { ident("limit_name").in_list(limits, false) };
        // What stands under a NULL goes out in Arrow as it is, so it has to be nothing before it is NULL.
        let zero = ScalarValue::new_zero(columns.field_with_name(&name)?.data_type())?;
        let scrubbed = when(own.clone(), value).otherwise(lit(zero))?;
        Ok(when(own, scrubbed).end()?.alias(name))
    });
    let plan = plan.project(shown.collect::<Result<Vec<_>>>()?)?.build()?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}

/// The rows of tenants that the caller may read; those of nobody only to who may read everybody's.
pub(super) fn visible(rows: &RecordBatch, tenants: &Tenants) -> Result<RecordBatch, Error> {
    let Tenants::Only(tenants) = tenants else { return Ok(rows.clone()) };
    let owners = rows.column_by_name("tenant").and_then(|column| column.as_string_opt::<i32>()).ok_or(Error::Shape)?;
    let seen: BooleanArray = owners
        .iter()
        .map(|owner| Some(owner.is_some_and(|owner| tenants.iter().any(|tenant| tenant == owner))))
        .collect();
    Ok(filter_record_batch(rows, &seen)?)
}
