//! One table of one cut, as one caller may see it.
//!
//! Rows come from the files of the pinned version and from the tail after it. For a caller who may read only some tenants
//! they pass a [`FenceExec`]; of the caller's conditions only comparisons of a bare column with a constant are known below
//! it, where they serve to skip files and pages and cannot fail.

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    datatypes::{Schema, SchemaRef},
};
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    common::{
        DFSchema, DataFusionError, Result, ScalarValue, ToDFSchema,
        tree_node::{Transformed, TreeNode},
    },
    datasource::{
        listing::PartitionedFile,
        memory::MemorySourceConfig,
        physical_plan::{
            FileGroup, FileScanConfigBuilder, ParquetFileReaderFactory, ParquetSource,
            parquet::CachedParquetFileReaderFactory,
        },
        source::DataSourceExec,
        table_schema::TableSchema,
    },
    execution::object_store::ObjectStoreUrl,
    logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType, col, lit, utils::conjunction},
    physical_expr::{PhysicalExpr, PhysicalSortExpr, expressions::Column},
    physical_plan::{ExecutionPlan, collect, union::UnionExec},
};
use object_store::path::Path;
use schemas::policy::Tenants;

use super::{fence::FenceExec, gate::Gate, indexed::Indexed, pass, span::span};
use crate::{
    cut::Slice,
    lake::DataFile,
    table::{LOG_OFFSET, LOG_PARTITION, Resolve, TableDef},
};

/// The column that says whose a row is.
pub(super) const TENANT: &str = "tenant";

/// The columns of a table that a caller sees. Places in the log count the records of every tenant, so they are shown only
/// to callers who may read every tenant.
pub(crate) fn shown(table: &TableDef, tenants: &Tenants) -> SchemaRef {
    let fields = table.schema().fields().clone();
    let place = |name: &str| [LOG_PARTITION, LOG_OFFSET, "policy_offset"].contains(&name);
    let fields: Vec<_> =
        fields.iter().filter(|field| *tenants == Tenants::All || !place(field.name())).map(Arc::clone).collect();
    Arc::new(Schema::new(fields))
}

/// The table.
#[derive(Debug)]
pub(crate) struct Fenced {
    slice: Slice,
    store: ObjectStoreUrl,
    tenants: Tenants,
    schema: SchemaRef,
}

impl Fenced {
    /// The table of a slice for a caller who may read `tenants`.
    pub(crate) fn new(slice: Slice, store: ObjectStoreUrl, tenants: Tenants) -> Self {
        let schema = shown(slice.table, &tenants);
        Self { slice, store, tenants, schema }
    }

    /// Whose rows the caller may see; nothing if everyone's.
    fn visible(&self) -> Option<&[String]> {
        match &self.tenants {
            Tenants::Only(tenants) if !self.slice.table.shared => Some(tenants),
            _ => None,
        }
    }

    /// What a row has to satisfy to exist for this caller; nothing if every row does.
    fn barrier(&self) -> Option<Expr> {
        let tenants = self.visible()?.iter().map(|tenant| lit(tenant.as_str())).collect();
        Some(col(TENANT).in_list(tenants, false))
    }

    /// What a stored row has to satisfy to be in this cut; nothing if every row is.
    fn end(&self) -> Option<Expr> {
        conjunction(self.slice.beyond.iter().map(|(lane, end)| {
            let end = i64::try_from(end.0).unwrap_or(i64::MAX);
            col(LOG_PARTITION).not_eq(lit(i32::from(lane.0))).or(col(LOG_OFFSET).lt(lit(end)))
        }))
    }

    /// The table.
    pub(super) fn table(&self) -> &'static TableDef {
        self.slice.table
    }

    /// Whether there may be rows that the caller may not see.
    pub(super) fn is_fenced(&self) -> bool {
        self.visible().is_some()
    }

    /// Whether all rows of a file are in this cut.
    pub(super) fn has_all(&self, file: &DataFile) -> bool {
        let ends = self.slice.beyond.iter();
        ends.map(|(_, end)| *end).min().is_none_or(|end| file.last_offset.is_some_and(|last| last < end))
    }

    /// The files that can have rows for this caller and these conditions.
    pub(super) fn wanted(&self, conditions: &[Expr]) -> Vec<&Arc<DataFile>> {
        let span = self.slice.table.day.map(|column| span(conditions, column));
        let timely = |file: &DataFile| match (&span, file.times()) {
            (Some(span), Some((start, end))) => start.as_micros() <= *span.end() && end.as_micros() > *span.start(),
            _ => true,
        };
        let visible = |file: &DataFile| match (self.visible(), &file.tenants) {
            (Some(tenants), Some((least, greatest))) => {
                tenants.iter().any(|tenant| (least..=greatest).contains(&tenant))
            }
            _ => true,
        };
        self.slice.files.iter().filter(|file| timely(file) && visible(file)).collect()
    }

    /// Reads columns of the rows of these files and of the tail, as far as they are in this cut, whoever they are of.
    pub(super) fn rows_of(
        &self,
        state: &dyn Session,
        columns: &[usize],
        files: &[&Arc<DataFile>],
        skip: &[Expr],
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.stored(state, columns, files, skip, self.end())
    }

    /// Reads columns of the stored rows that pass `barrier`; `skip` may leave out rows that do not satisfy it.
    fn stored(
        &self,
        state: &dyn Session,
        columns: &[usize],
        files: &[&Arc<DataFile>],
        skip: &[Expr],
        barrier: Option<Expr>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let skip: Vec<Expr> = barrier.iter().chain(skip).cloned().collect();
        let Some(barrier) = barrier else { return self.rows(state, columns, files, &skip) };
        let schema = self.slice.table.stored_schema();
        let Barred { read, predicate, order } = self.barred(state, barrier, &schema, columns)?;
        Ok(FenceExec::new(self.rows(state, &read, files, &skip)?, predicate, order, columns.len())?)
    }

    /// Reads columns of the tail and of these files.
    fn rows(
        &self,
        state: &dyn Session,
        columns: &[usize],
        files: &[&Arc<DataFile>],
        skip: &[Expr],
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = self.slice.table.stored_schema();
        let tail: Arc<dyn ExecutionPlan> = MemorySourceConfig::try_new_exec(
            std::slice::from_ref(&self.slice.tail),
            Arc::clone(&schema),
            Some(columns.to_vec()),
        )?;
        if files.is_empty() {
            return Ok(tail);
        }
        let files = files.iter().map(|file| (file.path.clone(), file.size)).collect();
        UnionExec::try_new(vec![self.parquet(state, &schema, columns, files, (skip, true))?, tail])
    }

    /// Reads columns of files of this schema; `skip` may leave out rows that do not satisfy all of it, page by page, and `by_row` before their
    /// other columns are read. What a join finds out about its other side leaves out pages alone, where nothing else was asked: nearly all rows
    /// have a partner, and to look for it twice costs a fifth.
    pub(super) fn parquet(
        &self,
        state: &dyn Session,
        schema: &SchemaRef,
        columns: &[usize],
        files: Vec<(Path, u64)>,
        (skip, by_row): (&[Expr], bool),
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let files: Vec<_> = files.into_iter().map(|(path, size)| in_store(path, size)).collect();
        let store = state.runtime_env().object_store(&self.store)?;
        let metadata = state.runtime_env().cache_manager.get_file_metadata_cache();
        let reader = CachedParquetFileReaderFactory::new(store, metadata);
        let reader: Arc<dyn ParquetFileReaderFactory> =
            if skip.is_empty() { Arc::new(reader) } else { Arc::new(Indexed(reader)) };
        let mut source = ParquetSource::new(TableSchema::from(Arc::clone(schema)))
            .with_table_parquet_options(state.table_options().parquet.clone())
            .with_pushdown_filters(by_row && !skip.is_empty())
            .with_parquet_file_reader_factory(reader);
        if let Some(skip) = conjunction(skip.iter().cloned()) {
            let schema = DFSchema::try_from(Arc::clone(schema))?;
            source = source.with_predicate(state.create_physical_expr(skip, &schema)?);
        }
        let groups = match state.config().target_partitions() {
            // In the order of the table's log: splitting would sort by name, which is random.
            1 => vec![FileGroup::new(files)],
            partitions => FileGroup::new(files).split_files(partitions),
        };
        let config = FileScanConfigBuilder::new(self.store.clone(), Arc::new(source))
            .with_file_groups(groups)
            .with_projection_indices(Some(columns.to_vec()))?
            .build();
        Ok(pass::over(Gate, DataSourceExec::from_data_source(config)))
    }

    /// Reads all stored rows and makes what is shown of them. The rows of others are needed for it (a marker belongs to
    /// nobody), so here the fence stands above.
    async fn resolved(
        &self,
        state: &dyn Session,
        resolve: Resolve,
        columns: &[usize],
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let table = self.slice.table;
        let all: Vec<usize> = (0..table.stored_schema().fields().len()).collect();
        let stored = self.stored(state, &all, &self.wanted(&[]), &[], self.end())?;
        let rows = collect(stored, state.task_ctx()).await?;
        let rows = [vec![resolve(table, &rows).map_err(|error| DataFusionError::External(error.into()))?]];
        let shown = |columns: Vec<usize>| MemorySourceConfig::try_new_exec(&rows, table.schema(), Some(columns));
        let Some(barrier) = self.barrier() else { return Ok(shown(columns.to_vec())?) };
        let Barred { read, predicate, order } = self.barred(state, barrier, &table.schema(), columns)?;
        Ok(FenceExec::new(shown(read)?, predicate, order, columns.len())?)
    }

    /// The fence of a caller who may not see every tenant, over columns of another schema that has tenants, without an order.
    pub(super) fn fence(&self, state: &dyn Session, schema: &SchemaRef, columns: &[usize]) -> Result<Option<Barred>> {
        let barred = |barrier| self.predicate(state, barrier, schema, columns);
        self.barrier().map(barred).transpose()
    }

    /// What a fence over these columns needs: `barrier`, and for callers who may not see every tenant the order.
    fn barred(&self, state: &dyn Session, barrier: Expr, schema: &SchemaRef, columns: &[usize]) -> Result<Barred> {
        let mut barred = self.predicate(state, barrier, schema, columns)?;
        for name in ORDER.iter().filter(|_| self.visible().is_some()) {
            let Ok(index) = schema.index_of(name) else { continue };
            let column = Arc::new(Column::new(name, barred.read.len()));
            barred.order.push(PhysicalSortExpr::new_default(column));
            barred.read.push(index);
        }
        Ok(barred)
    }

    fn predicate(&self, state: &dyn Session, barrier: Expr, schema: &SchemaRef, columns: &[usize]) -> Result<Barred> {
        let named = barrier.column_refs();
        let needed = named.iter().map(|column| schema.index_of(&column.name)).collect::<Result<Vec<_>, _>>()?;
        let row = Schema::new(needed.iter().map(|index| schema.field(*index).clone()).collect::<Vec<_>>());
        let predicate = state.create_physical_expr(barrier, &row.to_dfschema()?)?;
        let by = columns.len();
        let predicate = predicate.transform(|node| match node.downcast_ref::<Column>() {
            Some(column) => Ok(Transformed::yes(Arc::new(Column::new(column.name(), column.index() + by)) as _)),
            None => Ok(Transformed::no(node)),
        })?;
        let read = columns.iter().chain(&needed).copied().collect();
        Ok(Barred { read, predicate: predicate.data, order: Vec::new() })
    }
}

/// The order of the ledger, and of the rows of one entry; columns that a table does not have are left out.
const ORDER: &[&str] = &[LOG_PARTITION, LOG_OFFSET, "token_class", "model", "window_start", "limit_name"];

/// What a fence needs.
pub(super) struct Barred {
    /// The columns to read: those that are asked for, then those of the barrier, then those of the order.
    pub(super) read: Vec<usize>,
    pub(super) predicate: Arc<dyn PhysicalExpr>,
    pub(super) order: Vec<PhysicalSortExpr>,
}

#[async_trait]
impl TableProvider for Fenced {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let source = self.slice.table.schema();
        let wanted = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let mut columns = Vec::with_capacity(wanted.len());
        for index in wanted {
            columns.push(source.index_of(self.schema.field(index).name())?);
        }
        match self.slice.table.resolve {
            Some(resolve) => self.resolved(state, resolve, &columns).await,
            None => {
                let barrier = conjunction(self.barrier().into_iter().chain(self.end()));
                self.stored(state, &columns, &self.wanted(filters), filters, barrier)
            }
        }
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let resolved = self.slice.table.resolve.is_some();
        Ok(filters
            .iter()
            .map(|filter| match !resolved && harmless(filter, &self.schema) {
                true => TableProviderFilterPushDown::Inexact,
                false => TableProviderFilterPushDown::Unsupported,
            })
            .collect())
    }
}

/// A file as the engine names it. Built with its path as it is: a path made of text again would be escaped again.
fn in_store(path: Path, size: u64) -> PartitionedFile {
    let mut named = PartitionedFile::new("", size);
    named.object_meta.location = path;
    named
}

/// Whether an expression compares a bare column with constants of its own type: it cannot fail and calls nothing.
fn harmless(expr: &Expr, schema: &Schema) -> bool {
    let typed = |column: &Expr, constants: &[&Expr]| {
        let Expr::Column(column) = column else { return false };
        let Ok(field) = schema.field_with_name(&column.name) else { return false };
        constants
            .iter()
            .all(|constant| constant_of(constant).is_some_and(|value| value.data_type() == *field.data_type()))
    };
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            use Operator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
            matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq) && (typed(left, &[right]) || typed(right, &[left]))
        }
        Expr::Between(between) => typed(&between.expr, &[&between.low, &between.high]),
        Expr::InList(list) => typed(&list.expr, &list.list.iter().collect::<Vec<_>>()),
        Expr::IsNull(column) | Expr::IsNotNull(column) => typed(column, &[]),
        _ => false,
    }
}

fn constant_of(expr: &Expr) -> Option<&ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Some(value),
        _ => None,
    }
}

/// All rows of one batch, for tables that are made and not read.
pub(crate) fn in_memory(rows: RecordBatch) -> Result<Arc<dyn TableProvider>> {
    Ok(Arc::new(datafusion::datasource::MemTable::try_new(rows.schema(), vec![vec![rows]])?))
}
