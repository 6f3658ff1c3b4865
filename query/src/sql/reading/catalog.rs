//! What clients of Postgres look up before they ask anything: `pg_catalog`, and `information_schema` as they know it.
//!
//! Made of the caller's tables and the views over them, and of nothing else, when a statement names it. What Tollgate does not have
//! (indexes, constraints, functions, other users) is a table without rows.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{ArrayRef, BooleanArray, Int16Array, Int32Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use async_trait::async_trait;
use datafusion::{
    catalog::{SchemaProvider, TableProvider},
    common::{DataFusionError, Result},
};

use super::Reading;
use crate::sql::provider;

mod known;

pub(crate) mod regclass;
mod relations;
pub(crate) mod typename;
pub(crate) mod viewdef;

use relations::RELATIONS;

/// The name of the one database.
pub(crate) const DATABASE: &str = "tollgate";

/// The schema of the tables.
pub(crate) const SCHEMA: &str = "public";

/// A table of the caller's, or a view over these.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its columns.
    pub(crate) schema: SchemaRef,
    /// Whether it is a view.
    pub(crate) is_view: bool,
}

/// What the columns of a table or view mean, by name.
pub(crate) fn remarks(table: &str) -> Vec<(&'static str, &'static str)> {
    known::of(table).map_or_else(Vec::new, |known| known.columns)
}

/// A value of a catalog.
#[derive(Clone, Debug, PartialEq)]
enum Cell {
    Null,
    Int(i32),
    Flag(bool),
    Text(String),
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i32> for Cell {
    fn from(number: i32) -> Self {
        Self::Int(number)
    }
}

impl From<bool> for Cell {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

/// One schema of catalogs.
#[derive(Debug)]
pub(crate) struct Catalog {
    schema: &'static str,
    made_of: Arc<MadeOf>,
}

/// What catalogs are made of.
#[derive(Debug)]
pub(crate) struct MadeOf {
    tables: Vec<Shown>,
    user: Arc<str>,
    settings: Arc<BTreeMap<&'static str, String>>,
}

impl MadeOf {
    /// Of these tables, for a session.
    pub(crate) fn new(mut tables: Vec<Shown>, reading: &Reading) -> Arc<Self> {
        tables.sort_by_key(|table| table.name);
        Arc::new(Self { tables, user: Arc::clone(&reading.user), settings: Arc::clone(&reading.settings) })
    }
}

impl Catalog {
    /// The catalogs of a schema.
    pub(crate) fn new(schema: &'static str, made_of: &Arc<MadeOf>) -> Arc<Self> {
        Arc::new(Self { schema, made_of: Arc::clone(made_of) })
    }
}

/// The words of SQL: a function in Postgres, a catalog here.
pub(crate) const KEYWORDS: &str = "pg_get_keywords";

/// Whether there is a schema of this name.
pub(crate) fn is_schema(name: &str) -> bool {
    name == SCHEMA || RELATIONS.iter().any(|(schema, ..)| *schema == name)
}

/// Whether a catalog never has a row.
pub(crate) fn is_empty(name: &str) -> bool {
    is_catalog(name) && !relations::HAS_ROWS.contains(&name)
}

/// Whether a name without a schema is that of a catalog.
pub(crate) fn is_catalog(name: &str) -> bool {
    RELATIONS.iter().any(|(schema, known, _)| *schema == "pg_catalog" && *known == name)
}

#[async_trait]
impl SchemaProvider for Catalog {
    fn table_names(&self) -> Vec<String> {
        let named = RELATIONS.iter().filter(|(schema, ..)| *schema == self.schema);
        named.map(|(_, name, _)| (*name).to_owned()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let Some((_, name, columns)) =
            RELATIONS.iter().find(|(schema, known, _)| *schema == self.schema && *known == name)
        else {
            return Ok(None);
        };
        let rows = relations::rows(self.schema, name, &self.made_of);
        provider::in_memory(batch(columns, &rows)?).map(Some)
    }

    fn table_exist(&self, name: &str) -> bool {
        RELATIONS.iter().any(|(schema, known, _)| *schema == self.schema && *known == name)
    }
}

/// A row: the value under each name; what is not said is 0, false or NULL.
type Row = Vec<(&'static str, Cell)>;

/// Rows of columns that are named with the first letter of their type: text, integer, small integer, boolean.
fn batch(columns: &'static str, rows: &[Row]) -> Result<RecordBatch> {
    let mut fields = Vec::new();
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for column in columns.split_whitespace() {
        let (name, kind) = column.split_once(':').unwrap_or((column, "t"));
        let values = rows.iter().map(|row| row.iter().find(|(of, _)| *of == name).map(|(_, cell)| cell));
        let number = |cell: Option<&Cell>| match cell {
            Some(Cell::Int(number)) => Some(*number),
            Some(Cell::Null) => None,
            _ => Some(0),
        };
        let (kind, array): (_, ArrayRef) = match kind {
            "i" => (DataType::Int32, Arc::new(values.map(number).collect::<Int32Array>())),
            "s" => {
                let small = |cell| number(cell).map(|number| i16::try_from(number).unwrap_or(i16::MAX));
                (DataType::Int16, Arc::new(values.map(small).collect::<Int16Array>()))
            }
            "b" => {
                let flag = |cell: Option<&Cell>| Some(matches!(cell, Some(Cell::Flag(true))));
                (DataType::Boolean, Arc::new(values.map(flag).collect::<BooleanArray>()))
            }
            _ => {
                let text = |cell: Option<&Cell>| match cell {
                    Some(Cell::Text(text)) => Some(text.clone()),
                    _ => None,
                };
                (DataType::Utf8, Arc::new(values.map(text).collect::<StringArray>()))
            }
        };
        fields.push(Field::new(name, kind, true));
        arrays.push(array);
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use schemas::policy::Tenants;

    use super::*;
    use crate::{
        sql::{made, views},
        table::TableDef,
    };

    /// Everything that a session has is in the catalogs, under the number that its name has in statements, with what it means.
    #[test]
    fn every_relation_has_a_number_of_its_own_and_says_what_its_columns_mean() {
        for tenants in [Tenants::All, Tenants::Only(Vec::new())] {
            let shown = |name, schema, is_view| Shown { name, schema, is_view };
            let mut all: Vec<Shown> = TableDef::shown()
                .map(|table| shown(table.name, provider::shown(table, &tenants), false))
                .chain(made::empty().unwrap().iter().map(|(name, table)| shown(*name, table.schema(), false)))
                .collect();
            all.extend(views::shapes().iter().map(|(name, schema)| shown(*name, Arc::clone(schema), true)));
            let numbers: BTreeSet<i32> = all.iter().map(|table| known::number_of(table.name).unwrap()).collect();
            assert_eq!(numbers.len(), all.len());
            assert!(all.iter().any(|table| table.is_view));
            let wanted: usize = all.iter().map(|table| 1 + table.schema.fields().len()).sum();
            let reading = Reading {
                user: "alice".into(),
                pid: 0,
                settings: Arc::default(),
                zone: None,
                parameters: Vec::new(),
                lists: Vec::new(),
            };
            let described = relations::rows("pg_catalog", "pg_description", &MadeOf::new(all, &reading));
            assert_eq!(described.len(), wanted);
        }
    }
}
