//! One table of one cut by its rollups: for each file the smallest that knows what is asked, and the rows where there is none.
//!
//! A row stands for itself there: one row, whose sums are its numbers. All of it passes the same fence as rows do, and leaves it in the
//! order of what the question sees, so that what is read makes no difference above.

use std::{collections::BTreeSet, sync::Arc};

use arrow::datatypes::{DataType, Field, SchemaRef};
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    common::{Result, ScalarValue, internal_datafusion_err},
    logical_expr::{Expr, TableType},
    physical_expr::{
        PhysicalExpr, PhysicalSortExpr, ScalarFunctionExpr,
        expressions::{CastExpr, Column, IsNullExpr, Literal},
    },
    physical_plan::{ExecutionPlan, projection::ProjectionExec, union::UnionExec},
};
use object_store::path::Path;

use super::alike::{TAGS, Tags, Times};
use crate::{
    lake::{DataFile, Stored},
    rollup::{self, RECORDED_AT, ROWS, Rollup, TIME},
    sql::{
        fence::FenceExec,
        percentile,
        provider::{Fenced, TENANT},
        tag,
    },
    table::TableDef,
};

/// The table.
#[derive(Debug)]
pub(super) struct Rolled {
    /// The same by its rows.
    rows: Arc<dyn TableProvider>,
    /// The columns that the question names.
    columns: BTreeSet<String>,
    times: Times,
    tags: Tags,
    /// Conditions that only compare a column with constants, by which files are left out.
    skip: Vec<Expr>,
    schema: SchemaRef,
}

impl Rolled {
    /// The table of a question; nothing where no rollup knows what it asks, or it would not read less.
    pub(super) fn new(
        rows: &Arc<dyn TableProvider>,
        mut columns: BTreeSet<String>,
        (times, tags): (Times, Tags),
        skip: Vec<Expr>,
    ) -> Option<Self> {
        let fenced = rows.downcast_ref::<Fenced>()?;
        columns.insert(ROWS.to_owned());
        let schema = rollup::schema(fenced.table());
        let rolled = Self { rows: Arc::clone(rows), columns, times, tags, skip, schema };
        let mut rollups = rollup::of_table(fenced.table());
        let some = rollups.any(|rollup| rolled.times.may_be_known(rollup.grain) && rolled.knows(rollup, None, fenced));
        (some && (fenced.is_fenced() || rolled.pays(fenced))).then_some(rolled)
    }

    /// The columns that the question names, by number.
    pub(super) fn columns(&self) -> Vec<usize> {
        let fields = self.schema.fields().iter().enumerate();
        fields.filter(|(_, field)| self.columns.contains(field.name())).map(|(number, _)| number).collect()
    }

    /// Whether a rollup has all columns, and that of the fence; and all that is asked of tags, if it is by one.
    fn knows(&self, rollup: &Rollup, tag: Option<&str>, fenced: &Fenced) -> bool {
        (!rollup.by_tag || self.tags.are_known(tag))
            && (!fenced.is_fenced() || rollup.has(TENANT))
            && self.columns.iter().all(|column| rollup.keeps(fenced.table(), column))
    }

    /// The smallest rollup of a file that knows what is asked.
    fn of_file<'a>(&self, fenced: &Fenced, file: &'a DataFile) -> Option<&'a (Stored, Path)> {
        let known = |(Stored { rollup, tag, .. }, _): &&(Stored, _)| {
            self.knows(rollup, tag.as_deref(), fenced) && self.times.are_known(file, rollup.grain)
        };
        let rollups = file.rollups.iter().flatten().filter(|_| fenced.has_all(file));
        rollups.filter(known).min_by_key(|(stored, _)| stored.rows)
    }

    /// Whether rollups stand for most of the rows.
    fn pays(&self, fenced: &Fenced) -> bool {
        let (mut rolled, mut all) = (0, 0);
        for file in fenced.wanted(&self.skip) {
            all += file.rows;
            rolled += self.of_file(fenced, file).map_or(0, |_| file.rows);
        }
        rolled * 2 > all
    }

    /// The rows of files and of the tail, each as a row of a rollup.
    fn of_rows(
        &self,
        fenced: &Fenced,
        state: &dyn Session,
        columns: &[usize],
        files: &[&Arc<DataFile>],
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (table, stored) = (fenced.table(), fenced.table().stored_schema());
        let mut read = Vec::with_capacity(columns.len());
        let mut made: Vec<(Arc<dyn PhysicalExpr>, String)> = Vec::with_capacity(columns.len());
        for field in columns.iter().map(|column| self.schema.field(*column)) {
            let name = field.name();
            let measure = rollup::measured(name).unwrap_or(name);
            let column = || Arc::new(Column::new(measure, read.len()));
            let value: Arc<dyn PhysicalExpr> = match name.as_str() {
                ROWS => Arc::new(Literal::new(ScalarValue::Int64(Some(1)))),
                name if rollup::is_measure(table, name) => {
                    Arc::new(CastExpr::new(column(), field.data_type().clone(), None))
                }
                name if measure != name => {
                    let (of, kind) = (percentile::sketch_of_one(), Arc::new(field.clone()));
                    let options = Arc::clone(state.config().options());
                    Arc::new(ScalarFunctionExpr::new(name, of, vec![column()], kind, options))
                }
                _ => column(),
            };
            made.push((value, name.clone()));
            if name != ROWS {
                read.push(stored.index_of(measure)?);
            }
        }
        let rows = fenced.rows_of(state, &read, files, &self.skip)?;
        Ok(Arc::new(ProjectionExec::try_new(made, rows)?))
    }

    /// The rows of rollups of one kind.
    fn of_rollup(
        &self,
        fenced: &Fenced,
        state: &dyn Session,
        columns: &[usize],
        (rollup, files): (&Rollup, Vec<&(Stored, Path)>),
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = rollup.schema(fenced.table());
        let names = columns.iter().map(|column| self.schema.field(*column).name());
        let columns = names.map(|name| schema.index_of(name)).collect::<Result<Vec<_>, _>>()?;
        let known = |filter: &&Expr| {
            let mut columns = filter.column_refs().into_iter();
            columns.all(|column| rollup.has(&column.name) || [TIME, RECORDED_AT].contains(&column.name.as_str()))
        };
        let skip = self.skip.iter().filter(known).cloned().collect::<Vec<_>>();
        let files = files.into_iter().map(|(stored, path)| (path.clone(), stored.size)).collect();
        fenced.parquet(state, &schema, &columns, files, (&skip, false))
    }
}

#[async_trait]
impl TableProvider for Rolled {
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
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let fenced = self.rows.downcast_ref::<Fenced>();
        let fenced = fenced.ok_or_else(|| internal_datafusion_err!("rollups of another table"))?;
        let columns = projection.cloned().unwrap_or_else(|| self.columns());
        let mut rows = Vec::new();
        let mut rolled: Vec<(&Rollup, Vec<_>)> = Vec::new();
        for file in fenced.wanted(&self.skip) {
            match self.of_file(fenced, file) {
                None => rows.push(file),
                Some(found) => match rolled.iter_mut().find(|(rollup, _)| *rollup == found.0.rollup) {
                    Some((_, files)) => files.push(found),
                    None => rolled.push((found.0.rollup, vec![found])),
                },
            }
        }
        let fence = fenced.fence(state, &self.schema, &columns)?;
        let read = fence.as_ref().map_or(&columns, |fence| &fence.read);
        let mut parts = vec![self.of_rows(fenced, state, read, &rows)?];
        for part in rolled {
            parts.push(self.of_rollup(fenced, state, read, part)?);
        }
        let all = UnionExec::try_new(parts)?;
        let Some(fence) = fence else { return Ok(all) };
        let order = self.order(state, fenced.table(), &columns);
        Ok(FenceExec::new(all, fence.predicate, order, columns.len())?)
    }
}

impl Rolled {
    /// The order of what the question sees: the columns, which numbers are NULL, and times last. Rows that a row stands for follow each
    /// other where it stands, so that groups come in one order whichever is read.
    fn order(&self, state: &dyn Session, table: &TableDef, columns: &[usize]) -> Vec<PhysicalSortExpr> {
        let named = columns.iter().map(|column| self.schema.field(*column).name().as_str()).enumerate();
        let mut seen: Vec<(u8, usize, Arc<dyn PhysicalExpr>)> = Vec::new();
        for (at, name) in named {
            let column = Arc::new(Column::new(name, at));
            match name {
                name if name == ROWS || rollup::measured(name).is_some() => {}
                TAGS if let Some(tag) = self.tags.one() => {
                    let tag = Arc::new(Literal::new(ScalarValue::from(tag)));
                    let (kind, options) = (Field::new(TAGS, DataType::Utf8, true), state.config().options());
                    let one = ScalarFunctionExpr::new(
                        "tag",
                        tag::tag(),
                        vec![column, tag],
                        Arc::new(kind),
                        Arc::clone(options),
                    );
                    seen.push((0, at, Arc::new(one)));
                }
                RECORDED_AT => seen.push((2, at, column)),
                TIME => seen.push((3, at, column)),
                name if rollup::is_measure(table, name) => seen.push((1, at, Arc::new(IsNullExpr::new(column)))),
                _ => seen.push((0, at, column)),
            }
        }
        seen.sort_by_key(|(rank, at, _)| (*rank, *at));
        seen.into_iter().map(|(.., by)| PhysicalSortExpr::new_default(by)).collect()
    }
}
