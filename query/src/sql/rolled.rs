//! Rollups in the place of rows, where a question allows it and no answer changes.
//!
//! A row of a rollup ([`crate::rollup`]) stands for rows that are alike. So a question that groups, chooses and tells apart by nothing
//! else ([`alike`]), and only adds up or counts ([`added`]), has the same answer over the one as over the others. This rule finds such a
//! question in a plan, an aggregate over conditions and projections over one table, and puts [`scan::Rolled`] in the place of the
//! table: for each file its smallest rollup that knows everything that is asked, and its rows where there is none, as for the tail.
//!
//! Whether there are rollups depends on the rows of all tenants. So for callers behind the fence the plan changes whether or not there
//! are any, and what leaves the fence stands in an order that does not tell: nothing that they see depends on which were read.

use std::{collections::HashMap, sync::Arc};

use datafusion::{
    catalog::default_table_source::{provider_as_source, source_as_provider},
    common::{
        Column, DFSchema, Result, TableReference,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{
        Aggregate, Expr, ExprSchemable, Filter, LogicalPlan, LogicalPlanBuilder, Projection, SubqueryAlias, TableScan,
        expr::Alias, expr_rewriter::unnormalize_cols, utils::conjunction,
    },
    optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule},
};

use self::{
    added::{Added, added, summed},
    alike::Alike,
    scan::Rolled,
};
use super::provider::Fenced;

mod added;
mod alike;
mod scan;

/// The rule. It comes after all others: they make many questions plain.
#[derive(Debug)]
pub(super) struct Rollups;

impl OptimizerRule for Rollups {
    fn name(&self) -> &'static str {
        "rollups"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let rolled = match &plan {
            LogicalPlan::Aggregate(aggregate) => rolled(aggregate)?,
            _ => None,
        };
        Ok(rolled.map_or_else(|| Transformed::no(plan), Transformed::yes))
    }
}

/// The same aggregate over rollups; nothing where it needs rows.
fn rolled(aggregate: &Aggregate) -> Result<Option<LogicalPlan>> {
    let Some(under) = Under::of(&aggregate.input)? else { return Ok(None) };
    let provider = source_as_provider(&under.scan.source)?;
    let Some(fenced) = provider.downcast_ref::<Fenced>() else { return Ok(None) };
    let (table, schema) = (fenced.table(), under.scan.projected_schema.as_ref());
    let mut alike = Alike::new(table, &under.scan.table_name, schema);
    let filters = under.filters;
    if !filters.iter().all(|filter| alike.is(filter)) {
        return Ok(None);
    }
    let mut groups = Vec::with_capacity(aggregate.group_expr.len());
    for (number, group) in aggregate.group_expr.iter().enumerate() {
        let group = written_out(group, &under.columns)?;
        if !alike.is(&group) {
            return Ok(None);
        }
        groups.push(group.alias(format!("group {number}")));
    }
    let mut sums = Vec::with_capacity(aggregate.aggr_expr.len());
    for (number, of) in aggregate.aggr_expr.iter().enumerate() {
        let of = written_out(of, &under.columns)?;
        let added = match under.is_summed {
            true => summed(&of, &mut alike, !groups.is_empty())?,
            false => added(&of, &mut alike)?,
        };
        let Some(added) = added else { return Ok(None) };
        sums.push(added.named(number));
    }
    let over: Vec<Expr> = sums.iter().map(|sum| sum.over.clone()).collect();
    let columns = groups.iter().chain(&over).chain(&filters).flat_map(|expr| expr.column_refs().into_iter().cloned());
    let columns = columns.map(|column| column.name).collect();
    let known = (alike.times, alike.tags);
    let Some(rolled) = Rolled::new(&provider, columns, known, unnormalize_cols(under.scan.filters.clone())) else {
        return Ok(None);
    };
    let read = scan(&under.scan.table_name, rolled)?;
    let read = match conjunction(filters) {
        Some(filter) => LogicalPlan::Filter(Filter::try_new(filter, Arc::new(read))?),
        None => read,
    };
    let added = Aggregate::try_new(Arc::new(read), groups, over)?;
    let finished = finished(&added, &sums, &aggregate.schema)?;
    Ok(Some(LogicalPlan::Projection(Projection::try_new(finished, Arc::new(LogicalPlan::Aggregate(added)))?)))
}

/// A scan of the columns of rollups that are needed.
fn scan(name: &TableReference, rolled: Rolled) -> Result<LogicalPlan> {
    let columns = rolled.columns();
    LogicalPlanBuilder::scan(name.clone(), provider_as_source(Arc::new(rolled)), Some(columns))?.build()
}

/// The columns of the aggregate as they were, by name and type.
fn finished(over: &Aggregate, sums: &[Added], wanted: &DFSchema) -> Result<Vec<Expr>> {
    let groups = over.group_expr.len();
    let mut columns = Vec::with_capacity(wanted.fields().len());
    for (number, (column, (relation, field))) in over.schema.columns().into_iter().zip(wanted.iter()).enumerate() {
        let column = Expr::Column(column);
        let column = match number.checked_sub(groups).and_then(|number| sums.get(number)) {
            Some(sum) => {
                sum.finished(column, over.schema.as_ref())?.cast_to(field.data_type(), over.schema.as_ref())?
            }
            None => column,
        };
        columns.push(Expr::Alias(Alias::new(column, relation.cloned(), field.name())));
    }
    Ok(columns)
}

/// What stands under an aggregate: one table, conditions, and what its columns are called and made of; and perhaps sums, as in a view,
/// whose groups make no difference where they are added up again.
struct Under {
    scan: TableScan,
    /// Whether some columns are sums.
    is_summed: bool,
    /// The conditions, in columns of the table.
    filters: Vec<Expr>,
    /// What the columns are, in columns of the table.
    columns: HashMap<Column, Expr>,
}

impl Under {
    /// Nothing where something else stands there.
    fn of(plan: &LogicalPlan) -> Result<Option<Self>> {
        let mut under = match plan {
            LogicalPlan::TableScan(scan) if scan.fetch.is_none() => {
                let columns = scan.projected_schema.columns().into_iter();
                let columns = columns.map(|column| (column.clone(), Expr::Column(column))).collect();
                return Ok(Some(Self { scan: scan.clone(), is_summed: false, filters: Vec::new(), columns }));
            }
            // Without groups it gives a row even of nothing.
            LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty() => return Ok(None),
            LogicalPlan::Filter(Filter { input, .. })
            | LogicalPlan::Projection(Projection { input, .. })
            | LogicalPlan::SubqueryAlias(SubqueryAlias { input, .. })
            | LogicalPlan::Aggregate(Aggregate { input, .. }) => match Self::of(input)? {
                Some(under) if !under.is_summed || !matches!(plan, LogicalPlan::Aggregate(_)) => under,
                _ => return Ok(None),
            },
            _ => return Ok(None),
        };
        match plan {
            LogicalPlan::Filter(filter) => under.filters.push(written_out(&filter.predicate, &under.columns)?),
            LogicalPlan::Projection(projection) => {
                let mut columns = HashMap::new();
                for (column, expr) in projection.schema.columns().into_iter().zip(&projection.expr) {
                    columns.insert(column, written_out(expr, &under.columns)?);
                }
                under.columns = columns;
            }
            LogicalPlan::Aggregate(aggregate) => {
                let mut columns = HashMap::new();
                let exprs = aggregate.group_expr.iter().chain(&aggregate.aggr_expr);
                for (column, expr) in aggregate.schema.columns().into_iter().zip(exprs) {
                    if matches!(expr, Expr::GroupingSet(_)) {
                        return Ok(None);
                    }
                    columns.insert(column, written_out(expr, &under.columns)?);
                }
                (under.columns, under.is_summed) = (columns, true);
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let inner = alias.input.schema().columns();
                let named = alias.schema.columns().into_iter().zip(&inner);
                let named = named.filter_map(|(column, inner)| Some((column, under.columns.get(inner)?.clone())));
                under.columns = named.collect();
            }
            _ => {}
        }
        Ok(Some(under))
    }
}

/// An expression in columns of the table, without names.
fn written_out(expr: &Expr, columns: &HashMap<Column, Expr>) -> Result<Expr> {
    let expr = expr.clone().transform_up(|part| {
        Ok(match part {
            Expr::Column(column) => match columns.get(&column) {
                Some(of) => Transformed::yes(of.clone()),
                None => Transformed::no(Expr::Column(column)),
            },
            part => Transformed::no(part),
        })
    })?;
    Ok(expr.data.unalias_nested().data)
}

#[cfg(test)]
mod tests;
