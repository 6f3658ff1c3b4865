//! What there is to ask, as clients of Flight SQL look it up before they do: catalogs, schemas, tables, their columns, and keys.
//!
//! The one catalog has one schema. It is the caller's tables and the views over these; nothing of what stands in them is here.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{ArrayRef, BinaryArray, BooleanArray, RecordBatch, Scalar, StringArray},
    compute::{filter_record_batch, kernels::comparison::like},
    datatypes::{DataType, Field, Schema},
};
use schemas::policy::Tenants;
use tonic::Status;

use super::{
    command::Command,
    info, ipc,
    message::{GetDbSchemas, GetTables},
};
use crate::sql::{DATABASE, SCHEMA, encode::sql_type, relations, remarks};

const TABLE: &str = "TABLE";
const VIEW: &str = "VIEW";

/// The answer to what is not a statement.
pub(super) fn answer(command: &Command, tenants: &Tenants) -> Result<RecordBatch, Status> {
    Ok(match command {
        // Asked of the engine, and not here.
        Command::Ask(_) => RecordBatch::new_empty(Arc::new(Schema::empty())),
        Command::Catalogs => rows(&[("catalog_name", false)], vec![text([DATABASE])])?,
        Command::Schemas(of) => schemas(of)?,
        Command::Tables(of) => tables(of, tenants)?,
        Command::TableTypes => rows(&[("table_type", false)], vec![text([TABLE, VIEW])])?,
        Command::PrimaryKeys => RecordBatch::new_empty(Arc::new(Schema::new(primary_keys()))),
        Command::ForeignKeys => RecordBatch::new_empty(Arc::new(Schema::new(foreign_keys()))),
        Command::SqlInfo(of) => info::sql(&of.info)?,
        Command::TypeInfo(of) => info::types(of.data_type)?,
    })
}

fn schemas(GetDbSchemas { catalog, schema_pattern }: &GetDbSchemas) -> Result<RecordBatch, Status> {
    let all = rows(&[("catalog_name", true), ("db_schema_name", false)], vec![text([DATABASE]), text([SCHEMA])])?;
    let all = of_catalog(all, catalog.as_deref());
    matching(all, 1, schema_pattern.as_deref())
}

fn tables(of: &GetTables, tenants: &Tenants) -> Result<RecordBatch, Status> {
    let kind = |is_view: bool| if is_view { VIEW } else { TABLE };
    let mut all = relations(tenants);
    all.retain(|one| of.table_types.is_empty() || of.table_types.iter().any(|wanted| wanted == kind(one.is_view)));
    let mut fields = vec![
        Field::new("catalog_name", DataType::Utf8, true),
        Field::new("db_schema_name", DataType::Utf8, true),
        Field::new("table_name", DataType::Utf8, false),
        Field::new("table_type", DataType::Utf8, false),
    ];
    let mut columns = vec![
        text(all.iter().map(|_| DATABASE)),
        text(all.iter().map(|_| SCHEMA)),
        text(all.iter().map(|one| one.name)),
        text(all.iter().map(|one| kind(one.is_view))),
    ];
    if of.include_schema {
        let schemas = all.iter().map(|one| ipc::schema(&described(one.name, &one.schema)));
        let schemas = schemas.collect::<Result<Vec<_>, _>>()?;
        fields.push(Field::new("table_schema", DataType::Binary, false));
        columns.push(Arc::new(BinaryArray::from_iter_values(schemas)));
    }
    let all = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(ipc::failed)?;
    let all = of_catalog(all, of.catalog.as_deref());
    let all = matching(all, 1, of.schema_pattern.as_deref())?;
    matching(all, 2, of.table_pattern.as_deref())
}

/// A table's columns, with what clients show of them.
fn described(table: &str, schema: &Schema) -> Schema {
    let remarks: HashMap<&str, &str> = remarks(table).into_iter().collect();
    let field = |field: &Arc<Field>| {
        let kind = field.data_type();
        let mut said = HashMap::from([
            ("ARROW:FLIGHT:SQL:CATALOG_NAME".to_owned(), DATABASE.to_owned()),
            ("ARROW:FLIGHT:SQL:DB_SCHEMA_NAME".to_owned(), SCHEMA.to_owned()),
            ("ARROW:FLIGHT:SQL:TABLE_NAME".to_owned(), table.to_owned()),
            ("ARROW:FLIGHT:SQL:TYPE_NAME".to_owned(), sql_type(kind)),
            ("ARROW:FLIGHT:SQL:IS_READ_ONLY".to_owned(), "1".to_owned()),
        ]);
        if let DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) = kind {
            said.insert("ARROW:FLIGHT:SQL:PRECISION".to_owned(), precision.to_string());
            said.insert("ARROW:FLIGHT:SQL:SCALE".to_owned(), scale.to_string());
        }
        if let Some(remark) = remarks.get(field.name().as_str()) {
            said.insert("ARROW:FLIGHT:SQL:REMARKS".to_owned(), (*remark).to_owned());
        }
        field.as_ref().clone().with_metadata(said)
    };
    Schema::new(ipc::nullable(schema).fields().iter().map(field).collect::<Vec<_>>())
}

/// What is of a catalog; an empty name means what is of none.
fn of_catalog(all: RecordBatch, catalog: Option<&str>) -> RecordBatch {
    if catalog.is_none_or(|catalog| catalog == DATABASE) { all } else { all.slice(0, 0) }
}

/// What is `LIKE` a pattern in a column of text.
fn matching(all: RecordBatch, column: usize, pattern: Option<&str>) -> Result<RecordBatch, Status> {
    let Some(pattern) = pattern else { return Ok(all) };
    let pattern = Scalar::new(StringArray::from(vec![pattern]));
    let kept: BooleanArray = like(all.column(column), &pattern).map_err(ipc::failed)?;
    filter_record_batch(&all, &kept).map_err(ipc::failed)
}

fn text<'a>(values: impl IntoIterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

/// Columns of text, by whether one may be NULL.
fn rows(names: &[(&str, bool)], columns: Vec<ArrayRef>) -> Result<RecordBatch, Status> {
    let fields = names.iter().map(|(name, null)| Field::new(*name, DataType::Utf8, *null)).collect::<Vec<_>>();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(ipc::failed)
}

fn primary_keys() -> Vec<Field> {
    vec![
        Field::new("catalog_name", DataType::Utf8, true),
        Field::new("db_schema_name", DataType::Utf8, true),
        Field::new("table_name", DataType::Utf8, false),
        Field::new("column_name", DataType::Utf8, false),
        Field::new("key_name", DataType::Utf8, true),
        Field::new("key_sequence", DataType::Int32, false),
    ]
}

fn foreign_keys() -> Vec<Field> {
    let side = |side: &str| {
        [("catalog_name", true), ("db_schema_name", true), ("table_name", false), ("column_name", false)]
            .map(|(name, null)| Field::new(format!("{side}_{name}"), DataType::Utf8, null))
    };
    let mut fields: Vec<Field> = side("pk").into_iter().chain(side("fk")).collect();
    fields.extend([
        Field::new("key_sequence", DataType::Int32, false),
        Field::new("fk_key_name", DataType::Utf8, true),
        Field::new("pk_key_name", DataType::Utf8, true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ]);
    fields
}
